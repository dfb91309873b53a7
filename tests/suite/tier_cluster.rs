//! A Redis Cluster whose slots move while it is asked, over TLS and by name, and whose primary of
//! the fleet's log is killed.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use foreshore::distribution::tier as configured;
use foreshore::distribution::tier::{Engine, RedisMode};
use foreshore::tier::codec::Address;
use foreshore::tier::slots::slot;

use super::support::edge::{Edge, certificates};
use super::support::origin::answer;
use super::support::{Origin, eventually, free_port, tool};
use super::tier::{
    REDIS, Server, body, found, on_a_core, put, redis, response, round_trip, settings, start,
    trusting,
};
use super::tier_access::Access;
use super::tier_engines::{REDIS_CLI, cluster_of_six, is_primary, is_well, nodes_of};
use super::tier_sequence::{fleet_of, has_lease, member_on, progress};

/// Two nodes with half of the slots each. Orders reach them in clear text, edges over TLS by name.
struct Pair {
    one: Server,
    two: Server,
    /// The port of `one` over TLS.
    port: u16,
    ca: PathBuf,
}

impl Pair {
    fn start(folder: &Path) -> Self {
        // For the name alone: redirections tell addresses.
        let (ca, chain, private) = certificates(folder, &["localhost"]);
        let node = || {
            let (port, secured) = (free_port(), free_port());
            let more = format!(
                "port {port}\ntls-port {secured}\ntls-cluster yes\ntls-auth-clients no\n\
                 tls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {}\ncluster-enabled yes\n\
                 cluster-config-file nodes-{port}.conf\ncluster-node-timeout 2000\n\
                 cluster-announce-hostname localhost",
                chain.display(),
                private.display(),
                ca.display()
            );
            (redis(folder, port, &more), secured)
        };
        let ((one, port), (two, other)) = (node(), node());
        assert_eq!(one.says("CLUSTER ADDSLOTSRANGE 0 8191"), "+OK");
        assert_eq!(two.says("CLUSTER ADDSLOTSRANGE 8192 16383"), "+OK");
        // Different epochs, or they would have to agree on them first.
        assert_eq!(two.says("CLUSTER SET-CONFIG-EPOCH 2"), "+OK");
        assert_eq!(one.says(&format!("CLUSTER MEET 127.0.0.1 {other}")), "+OK");
        eventually("the cluster is well", || is_well(&one) && is_well(&two));
        // Until then their names are not known to each other.
        let is_named =
            |words: &Vec<String>| words.get(1).is_some_and(|place| place.ends_with(",localhost"));
        let knows =
            |node: &Server| nodes_of(node).iter().filter(|line| is_named(line)).count() == 2;
        eventually("they know their names", || knows(&one) && knows(&two));
        Self { one, two, port, ca }
    }

    fn settings(&self) -> configured::Tier {
        let tls = Some(trusting(&self.ca));
        configured::Tier { tls, ..settings(Engine::Redis(RedisMode::Cluster), self.port) }
    }

    /// The node that has a slot, and the other one.
    fn of(&self, slot: u16) -> (&Server, &Server) {
        if slot < 8192 { (&self.one, &self.two) } else { (&self.two, &self.one) }
    }
}

fn id_of(server: &Server) -> String {
    let mut tcp = TcpStream::connect(server.address()).unwrap();
    tcp.write_all(b"CLUSTER MYID\r\n").unwrap();
    BufReader::new(tcp).lines().nth(1).unwrap().unwrap()
}

// A slot is moved behind our back.
#[test]
fn slow_a_cluster_is_asked_where_the_slot_is() {
    if !tool::have(&[REDIS, REDIS_CLI]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::start(folder.path());
    let settings = pair.settings();
    round_trip(&settings);
    on_a_core(async {
        let tier = start(&settings);
        for at in 0..20 {
            let stored = response(&format!("/spread/{at}"), 70_000);
            put(&tier, &stored).await;
            assert_eq!(body(&tier, &stored).await.len(), 70_000);
        }
        assert_eq!(tier.status().len(), 2, "keys lie on both: {:?}", tier.status());
        // The slot of a key that is asked next goes to the other node.
        let moved = response("/moved", 10);
        let slot = slot(Address::of(&moved.key).meta().as_bytes());
        let (from, to) = pair.of(slot);
        let id = id_of(to);
        for server in [to, from] {
            assert_eq!(server.says(&format!("CLUSTER SETSLOT {slot} NODE {id}")), "+OK");
        }
        put(&tier, &moved).await;
        assert!(found(&tier, &moved.key).await.is_ok());
        assert_eq!(to.says(&format!("CLUSTER COUNTKEYSINSLOT {slot}")), ":1");
        assert_eq!(tier.status().len(), 2, "by their names: {:?}", tier.status());
    });
}

// A slot is on its way: what has gone is asked of the other node (ASK), what has not is where it was.
#[test]
fn slow_a_slot_that_is_on_its_way_is_asked_at_both_nodes() {
    if !tool::have(&[REDIS, REDIS_CLI]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::start(folder.path());
    on_a_core(async {
        let tier = start(&pair.settings());
        let stored = response("/on-its-way", 70_000);
        put(&tier, &stored).await;
        let before = found(&tier, &stored.key).await.unwrap().node.clone();
        let slot = slot(Address::of(&stored.key).meta().as_bytes());
        let (from, to) = pair.of(slot);
        let count = |server: &Server| server.says(&format!("CLUSTER COUNTKEYSINSLOT {slot}"));
        let (id, of_from) = (id_of(to), id_of(from));
        assert_eq!(to.says(&format!("CLUSTER SETSLOT {slot} IMPORTING {of_from}")), "+OK");
        assert_eq!(from.says(&format!("CLUSTER SETSLOT {slot} MIGRATING {id}")), "+OK");
        assert_eq!(body(&tier, &stored).await.len(), 70_000);
        assert_eq!((count(from), count(to)), (":3".into(), ":0".into()));

        // What is not there any more is written to the other node, and read from it.
        assert_eq!(from.says("FLUSHALL"), "+OK");
        put(&tier, &stored).await;
        assert!(body(&tier, &stored).await == stored.content.whole().unwrap());
        assert_eq!((count(from), count(to)), (":0".into(), ":3".into()));
        let node = found(&tier, &stored.key).await.unwrap().node.clone();
        assert!(node != before && node.starts_with("localhost:"), "{before} {node}");
        let missing = response("/missing", 1);
        assert!(found(&tier, &missing.key).await.is_err());

        // It has arrived.
        for server in [to, from] {
            assert_eq!(server.says(&format!("CLUSTER SETSLOT {slot} NODE {id}")), "+OK");
        }
        assert!(body(&tier, &stored).await == stored.content.whole().unwrap());
        assert_eq!(tier.status().len(), 2, "by their names: {:?}", tier.status());
    });
}

// The node of a cluster that has a slot: its port.
fn port_of(nodes: &[Server], slot: u16) -> u16 {
    let has = |words: &Vec<String>| {
        words.iter().skip(8).map(String::as_str).any(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last): (u16, u16) = (first.parse().unwrap(), last.parse().unwrap());
            (first..=last).contains(&slot)
        })
    };
    let all = nodes_of(&nodes[0]);
    let words = all.iter().find(|words| is_primary(words) && has(words)).unwrap();
    words[1].split('@').next().unwrap().rsplit(':').next().unwrap().parse().unwrap()
}

#[test]
fn slow_a_fleet_goes_on_when_a_cluster_loses_the_primary_of_its_log() {
    if !tool::have(&[REDIS, REDIS_CLI]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let access = Access::guarded(folder.path());
    let mut nodes = cluster_of_six(folder.path(), &access);
    let origin =
        Origin::start(|asked| answer(200, "Cache-Control: max-age=600", asked.target.as_bytes()));
    let doors: Vec<u16> = nodes.iter().map(|node| node.door).collect();
    let tier = access.tier("redis", &doors) + "\nmode = \"cluster\"";
    let member = |name: &str| member_on(origin.address, &tier, name);
    let (one, two) = (member("one"), member("two"));
    let both: [&Edge; 2] = [&one, &two];
    let both_have_leases = || {
        both.iter().for_each(|edge| eventually("it has a lease", || has_lease(edge)));
    };
    both_have_leases();
    let first = one.purge(&["/first"]);
    assert_eq!(first["status"], "Completed", "{first}");

    let epoch = fleet_of(&one)["epoch"].clone();
    let port = port_of(&nodes, slot(b"{foreshore:own}:head"));
    let victim = nodes.iter().position(|node| node.port == port).unwrap();
    // Dropped is kill -9.
    drop(nodes.remove(victim));
    eventually("a new epoch has begun", || {
        both.iter().all(|edge| fleet_of(edge)["epoch"] != epoch)
    });
    both_have_leases();
    eventually("what was acknowledged is known", || {
        progress(&one, first["id"].as_str().unwrap()) == "Completed"
    });
    two.get("/a");
    // Under a lease, which a busy machine may let end for a moment.
    eventually("a hit", || two.get("/a").cache() == "Hit");
    let done = one.purge(&["/a"]);
    assert_eq!(done["status"], "Completed", "{done}");
    assert_eq!(done["scope"]["members"].as_array().map(Vec::len), Some(2), "{done}");
    assert_ne!(two.get("/a").cache(), "Hit");
}
