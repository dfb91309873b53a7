//! The tier on real engines that fail over, reshard, run full and lie, under two edges
//! whose viewers are asked all the time: no error reaches one, no wrong octet, and nothing older
//! than a purge that was acknowledged. Engines speak TLS and let in who has a name, a
//! password and a certificate.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::support::edge::{Edge, plain};
use super::support::origin::answer;
use super::support::tool::{self, Tool};
use super::support::viewer::Seen;
use super::support::{Dice, Origin, eventually, free_port};
use super::tier::{MEMCACHED, REDIS, Server, Watched, watched};
use super::tier_access::Access;

pub(super) const REDIS_CLI: Tool = Tool::Program("redis-cli");
/// So many paths are read; every other one has a body of several pieces.
const PATHS: u64 = 24;
const LONG: usize = 150_000;
/// Until the first sign, all that is asked of the tier, and what a busy machine adds.
const BOUND: Duration = Duration::from_millis(200 + 1000 + 1800);

fn content(path: &str, version: u64) -> Vec<u8> {
    let is_long = path.trim_start_matches("/v/").parse::<u64>().is_ok_and(|at| at % 2 == 0);
    let head = format!("{version} {path} ");
    let len = if is_long { LONG } else { head.len() };
    let fill = (0..len).map(|at| b'a' + (at as u64 * 7 + version) as u8 % 26);
    head.bytes().chain(fill.skip(head.len())).collect()
}

/// Two edges that share a tier, and what their viewers may see.
pub(super) struct Oracle {
    one: Edge,
    two: Edge,
    _origin: Origin,
    version: Arc<AtomicU64>,
    /// The version of the last purge that was answered with Completed.
    floor: AtomicU64,
    is_over: AtomicBool,
    purges: AtomicU64,
    took: Mutex<Vec<Duration>>,
    wrong: Mutex<Vec<String>>,
}

fn edge(origin: SocketAddr, tier: &str, fleet: &str, more: &Settings<'_>) -> Edge {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let before = format!(
        "[fleet]\nname = \"f\"\nlease = \"3s\"\n{fleet}\n[tier]\n{tier}\n\
         key = {{ file = \"token\" }}\ntimeouts = {{ {} }}\n{}",
        more.timeouts.unwrap_or(PATIENT),
        more.edge
    );
    std::fs::write(folder.path().join("token"), "between-us").unwrap();
    let text = plain(origin, &before) + more.behavior;
    std::fs::write(folder.path().join("edge.toml"), text).unwrap();
    Edge::start_in(folder)
}

/// Longer than a busy machine needs: for tests of what comes from a tier, and not of when.
const PATIENT: &str = "first = \"10s\", total = \"20s\", connect = \"5s\"";

/// More settings of two edges that share a tier.
#[derive(Default)]
pub(super) struct Settings<'s> {
    /// Without any, the tier is waited for however busy the machine is.
    pub timeouts: Option<&'s str>,
    pub edge: &'s str,
    pub behavior: &'s str,
}

/// Two edges of a fleet that share a tier.
pub(super) fn two_edges_on(origin: SocketAddr, tier: &str, more: &Settings<'_>) -> (Edge, Edge) {
    let here = "member = \"one\"\nsequencer = \"here\"\n[[trusted_edge]]\nid = \"two\"\n\
                token = { file = \"token\" }";
    let one = edge(origin, tier, here, more);
    let there = format!(
        "member = \"two\"\nsequencer = \"parent\"\n[fleet.parent]\nadmin = \"http://{}\"\n\
         edge_id = \"two\"\ntoken = {{ file = \"token\" }}",
        one.admin
    );
    let two = edge(origin, tier, &there, more);
    (one, two)
}

impl Oracle {
    fn new(tier: &str) -> Self {
        let version = Arc::new(AtomicU64::new(1));
        let told = Arc::clone(&version);
        let origin = Origin::start(move |asked| {
            let version = told.load(SeqCst);
            let fields = format!("Cache-Control: max-age=600\nETag: \"{version}\"");
            answer(200, &fields, &content(&asked.target, version))
        });
        let hasty =
            Settings { timeouts: Some("first = \"200ms\", total = \"1s\""), ..Settings::default() };
        let (one, two) = two_edges_on(origin.address, tier, &hasty);
        Self {
            one,
            two,
            _origin: origin,
            version,
            floor: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            purges: AtomicU64::new(0),
            took: Mutex::default(),
            wrong: Mutex::default(),
        }
    }

    fn judge(&self, path: &str, floor: u64, seen: &Seen) {
        let version: u64 = seen.text().split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        // Of a body that broke off once its origin had moved on, no server has the rest.
        let tag = seen.field("etag").and_then(|tag| tag.trim_matches('"').parse::<u64>().ok());
        let is_gone = tag.is_some_and(|tag| tag >= floor && self.version.load(SeqCst) > tag);
        if seen.status == 200 && !seen.whole && is_gone {
            return;
        }
        let is_right = seen.status == 200 && seen.whole && version >= floor;
        if !is_right || seen.body != content(path, version) {
            let head = &seen.head;
            self.wrong.lock().unwrap().push(format!("{path}: {version} after {floor}: {head}"));
        }
    }

    fn read_on(&self, edge: &Edge, who: u64) {
        let mut dice = Dice::new(5, who);
        while !self.is_over.load(SeqCst) {
            let path = format!("/v/{}", dice.roll(PATHS));
            let (floor, began) = (self.floor.load(SeqCst), Instant::now());
            let seen = edge.get(&path);
            self.took.lock().unwrap().push(began.elapsed());
            self.judge(&path, floor, &seen);
            // Its pace: two cores have the engines to run, too.
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    fn purge_on(&self) {
        while !self.is_over.load(SeqCst) {
            let version = self.version.fetch_add(1, SeqCst) + 1;
            let told = self.one.purge(&["/v/*"]);
            if told["status"] == "Completed" {
                self.floor.fetch_max(version, SeqCst);
                self.purges.fetch_add(1, SeqCst);
            }
            // Between two purges both edges have to come by what one of them has fetched.
            std::thread::park_timeout(Duration::from_millis(600));
        }
    }

    fn used(&self) -> f64 {
        self.one.metric("foreshore_tier_used_total") + self.two.metric("foreshore_tier_used_total")
    }

    /// Until entries of the tier have answered so many more requests.
    pub(super) fn is_used(&self, more: f64) {
        let before = self.used();
        // Two cores have the engines, two edges and their viewers to run.
        let until = Instant::now() + Duration::from_secs(60);
        while self.used() < before + more {
            assert!(Instant::now() < until, "the tier is used no more: {} times", self.used());
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    fn misses(&self, reason: &str) -> bool {
        let label = format!("reason=\"{reason}\"");
        [&self.one, &self.two].iter().any(|edge| {
            let (_, text) = edge.admin("GET", "/metrics", "");
            let mut lines = text
                .lines()
                .filter(|line| line.starts_with("foreshore_tier_") && line.contains(&label));
            lines.any(|line| !line.ends_with(" 0"))
        })
    }

    fn is_right(&self) {
        let wrong = self.wrong.lock().unwrap();
        assert!(wrong.is_empty(), "{} wrong answers, the first: {}", wrong.len(), wrong[0]);
        let mut took = self.took.lock().unwrap();
        took.sort_unstable();
        let p99 = took[took.len() * 99 / 100];
        assert!(p99 < BOUND, "p99 of {} reads: {p99:?}", took.len());
        let purges = self.purges.load(SeqCst);
        assert!(took.len() > 100 && purges > 2, "{} reads, {purges} purges", took.len());
    }
}

/// Ends what runs beside when dropped, so that a failing assertion does not wait for it for ever.
struct Ends<'o>(&'o Oracle);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, SeqCst);
    }
}

/// Does something to the engine while viewers ask and purges go on.
pub(super) fn under_load(tier: &str, does: impl FnOnce(&Oracle)) {
    // One load at a time is enough for two cores.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let oracle = Oracle::new(tier);
    std::thread::scope(|scope| {
        let _ends = Ends(&oracle);
        for (who, edge) in
            [&oracle.one, &oracle.two, &oracle.one, &oracle.two].into_iter().enumerate()
        {
            let oracle = &oracle;
            scope.spawn(move || oracle.read_on(edge, who as u64));
        }
        scope.spawn(|| oracle.purge_on());
        oracle.is_used(3.0);
        does(&oracle);
        eventually("enough was purged", || oracle.purges.load(SeqCst) > 2);
    });
    oracle.is_right();
}

fn cluster_cli(access: &Access, arguments: &[&str]) -> String {
    let out = access.cli().arg("--cluster").args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{said} {}", String::from_utf8_lossy(&out.stderr));
    said
}

/// The lines of `CLUSTER NODES` as a node sees them.
pub(super) fn nodes_of(server: &Server) -> Vec<Vec<String>> {
    let out = server.cli().args(["cluster", "nodes"]).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    text.lines().map(|line| line.split(' ').map(str::to_string).collect()).collect()
}

/// Says whether such a line is of a primary that is there.
pub(super) fn is_primary(words: &[String]) -> bool {
    words.get(2).is_some_and(|flags| {
        flags.split(',').any(|flag| flag == "master") && !flags.contains("fail")
    })
}

/// Three primaries and a replica each.
pub(super) fn cluster_of_six(folder: &Path, access: &Access) -> Vec<Server> {
    let bus = match access {
        Access::Open => "no",
        Access::Guarded(_) => "yes",
    };
    let node = |at: usize| {
        let more = format!(
            "tls-cluster {bus}\ncluster-enabled yes\ncluster-config-file nodes-{at}.conf\n\
             cluster-node-timeout 1000\ncluster-replica-validity-factor 0\n\
             repl-diskless-sync-delay 0"
        );
        access.redis(folder, &more)
    };
    let nodes: Vec<Server> = (0..6).map(node).collect();
    let places: Vec<String> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.door)).collect();
    let mut create = vec!["create"];
    create.extend(places.iter().map(String::as_str));
    create.extend(["--cluster-replicas", "1", "--cluster-yes"]);
    cluster_cli(access, &create);
    eventually("the cluster is well", || nodes.iter().all(is_well));
    let follows = |node: &Server| node.tells("INFO replication", "master_link_status:up");
    eventually("replicas follow", || nodes.iter().filter(|node| follows(node)).count() == 3);
    nodes
}

/// As a node of a cluster sees it.
pub(super) fn is_well(node: &Server) -> bool {
    node.tells("CLUSTER INFO", "cluster_state:ok")
}

fn a_cluster_in_trouble(read: &str) {
    if !tool::have(&[REDIS, REDIS_CLI]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let access = Access::guarded(folder.path());
    let mut nodes = cluster_of_six(folder.path(), &access);
    let doors: Vec<u16> = nodes.iter().map(|node| node.door).collect();
    let tier = access.tier("redis", &doors) + &format!("\nmode = \"cluster\"\nread = \"{read}\"");
    under_load(&tier, |oracle| {
        let all = nodes_of(&nodes[0]);
        let primaries: Vec<&Vec<String>> = all.iter().filter(|words| is_primary(words)).collect();
        let (from, to) = (primaries[0][0].as_str(), primaries[1][0].as_str());
        let place = format!("127.0.0.1:{}", doors[0]);
        let mut reshard = vec!["reshard", place.as_str(), "--cluster-from", from];
        reshard.extend(["--cluster-to", to, "--cluster-slots", "1500", "--cluster-yes"]);
        cluster_cli(&access, &reshard);
        oracle.is_used(3.0);
        let place = primaries[1][1].split('@').next().unwrap().to_string();
        let victim = nodes.iter().position(|node| place.ends_with(&node.port.to_string())).unwrap();
        // Dropped is kill -9.
        drop(nodes.remove(victim));
        eventually("a replica takes over", || {
            let all = nodes_of(&nodes[0]);
            all.iter().filter(|words| is_primary(words)).count() == 3 && is_well(&nodes[0])
        });
        oracle.is_used(5.0);
    });
}

#[test]
fn slow_a_cluster_fails_over_and_reshards_while_viewers_ask() {
    a_cluster_in_trouble("primary");
}

#[test]
fn slow_a_cluster_that_is_read_from_replicas_fails_over_while_viewers_ask() {
    a_cluster_in_trouble("replica");
}

#[test]
fn slow_a_sentinel_fails_over_while_viewers_ask() {
    if !tool::have(&[REDIS]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let access = Access::guarded(folder.path());
    let Watched { primary, replica, sentinel } = watched(folder.path(), &access);
    let knows = || sentinel.tells("SENTINEL REPLICAS main", &replica.door.to_string());
    eventually("the sentinel knows the replica", knows);
    for read in ["primary", "replica"] {
        let tier = access.tier("redis", &[sentinel.door])
            + &format!("\nmode = \"sentinel\"\nprimary = \"main\"\nread = \"{read}\"");
        if read == "replica" {
            under_load(&tier, |oracle| {
                primary.signal("-STOP");
                let is_new = || {
                    !sentinel
                        .tells("SENTINEL GET-MASTER-ADDR-BY-NAME main", &primary.door.to_string())
                };
                eventually("the sentinel fails over", is_new);
                oracle.is_used(5.0);
                primary.signal("-CONT");
                oracle.is_used(3.0);
            });
        } else {
            under_load(&tier, |oracle| oracle.is_used(3.0));
        }
    }
}

#[test]
fn slow_nodes_of_memcached_stop_and_die_while_viewers_ask() {
    if !tool::have(&[MEMCACHED]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let access = Access::guarded(folder.path());
    let mut nodes: Vec<Server> = (0..3).map(|_| access.memcached(free_port())).collect();
    let doors: Vec<u16> = nodes.iter().map(|node| node.door).collect();
    under_load(&access.tier("memcached", &doors), |oracle| {
        nodes[0].signal("-STOP");
        oracle.is_used(5.0);
        nodes[0].signal("-CONT");
        let port = nodes[1].port;
        // Dropped is kill -9.
        drop(nodes.remove(1));
        oracle.is_used(5.0);
        nodes.push(access.memcached(port));
        oracle.is_used(5.0);
    });
}

#[test]
fn slow_an_engine_that_is_full_hurts_no_viewer() {
    if !tool::have(&[REDIS]) {
        return;
    }
    for policy in ["allkeys-lru", "noeviction"] {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::guarded(folder.path());
        // The long bodies of one version alone are 1.8 MB, and each version lies there beside the
        // one before it.
        let more = format!("maxmemory 4mb\nmaxmemory-policy {policy}");
        let server = access.redis(folder.path(), &more);
        under_load(&access.tier("redis", &[server.door]), |oracle| {
            let is_full = || match policy {
                "noeviction" => oracle.misses("full"),
                _ => !server.tells("INFO stats", "evicted_keys:0\r"),
            };
            eventually("the engine is full", is_full);
        });
    }
}

#[test]
fn slow_entries_that_are_damaged_hurt_no_viewer() {
    if !tool::have(&[REDIS]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let access = Access::guarded(folder.path());
    let server = access.redis(folder.path(), "");
    let script = "local k = redis.call('RANDOMKEY') if k then \
                  redis.call('SETRANGE', k, ARGV[1] % redis.call('STRLEN', k), 'xyz') end return 1";
    under_load(&access.tier("redis", &[server.door]), |oracle| {
        let mut dice = Dice::new(23, 1);
        eventually("damage is found", || {
            for _ in 0..20 {
                server.says(&format!("EVAL \"{script}\" 0 {}", dice.roll(100_000)));
            }
            oracle.misses("wrong-seal")
        });
        oracle.is_used(3.0);
    });
}
