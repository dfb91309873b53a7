//! What a node of Redis hears of an edge: its name, its passwords, and which node is read from.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use foreshore::base::secret::Secret;
use foreshore::crypto::sigv4::Credentials;
use foreshore::distribution::tier as configured;
use foreshore::distribution::tier::{Engine, MemcachedMode, RedisMode};
use foreshore::tier::Found;
use foreshore::tier::miss::Miss;
use tokio::time::Instant;

use super::support::tool;
use super::support::{eventually, free_port};
use super::tier::{
    MEMCACHED, REDIS, SINGLE, Server, auth, found, on_a_core, plain_redis, put, redis, response,
    round_trip, settings, start, until_found,
};
use super::tier_access::Access;

/// A Redis that holds nothing, and remembers what it was told on each connection.
#[derive(Default)]
struct Scripted {
    told: Mutex<Vec<(usize, Vec<String>)>>,
}

impl Scripted {
    fn start() -> (Arc<Self>, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let this = Arc::new(Self::default());
        let serving = Arc::clone(&this);
        std::thread::spawn(move || {
            for (which, tcp) in listener.incoming().map_while(Result::ok).enumerate() {
                let one = Arc::clone(&serving);
                std::thread::spawn(move || one.serve(which, tcp));
            }
        });
        (this, port)
    }

    fn serve(&self, which: usize, mut tcp: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(tcp.try_clone().ok()?);
        loop {
            let words = command(&mut reader)?;
            let answer: &[u8] = match words.first()?.to_ascii_uppercase().as_str() {
                "GETRANGE" => b"$0\r\n\r\n",
                "PTTL" => b":-2\r\n",
                "PING" => b"+PONG\r\n",
                "AUTH" | "CLIENT" | "READONLY" => b"+OK\r\n",
                _ => b"-ERR unknown command\r\n",
            };
            self.told.lock().unwrap().push((which, words));
            tcp.write_all(answer).ok()?;
        }
    }

    // The commands with this first word, each with its connection.
    fn heard(&self, word: &str) -> Vec<(usize, Vec<String>)> {
        let told = self.told.lock().unwrap();
        told.iter().filter(|(_, words)| words[0].eq_ignore_ascii_case(word)).cloned().collect()
    }
}

fn line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    (reader.read_line(&mut line).ok()? > 0).then(|| line.trim_end().to_string())
}

// `*2`, and a length and a text for each word.
fn command(reader: &mut impl BufRead) -> Option<Vec<String>> {
    let count: usize = line(reader)?.strip_prefix('*')?.parse().ok()?;
    let mut words = Vec::new();
    for _ in 0..count {
        let len: usize = line(reader)?.strip_prefix('$')?.parse().ok()?;
        let mut octets = vec![0; len + 2];
        reader.read_exact(&mut octets).ok()?;
        words.push(String::from_utf8_lossy(&octets[..len]).into_owned());
    }
    Some(words)
}

#[test]
fn an_iam_password_is_shown_again_before_its_connection_ends() {
    let (node, port) = Scripted::start();
    let iam = configured::Iam {
        cache: "shop-cache".into(),
        region: "eu-central-1".into(),
        is_serverless: false,
        credentials: Credentials {
            id: "AKIDEXAMPLE".into(),
            secret: Secret::new("secret".to_string()),
            session_token: None,
        },
        again: Duration::from_millis(50),
    };
    let auth = configured::TierAuth {
        user: Some("edge".into()),
        password: configured::Password::Iam(Box::new(iam)),
        method: configured::AuthMethod::Text,
    };
    let settings = configured::Tier { auth: Some(auth), ..settings(SINGLE, port) };
    on_a_core(async {
        let tier = start(&settings);
        let absent = response("/a", 1);
        until_found(&tier, &absent.key, |got| matches!(got, Err(Miss::Absent))).await;
        let until = Instant::now() + Duration::from_secs(15);
        let first = || node.heard("AUTH").iter().filter(|(which, _)| *which == 0).count();
        while first() < 3 {
            assert!(Instant::now() < until, "{:?}", node.heard("AUTH"));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // The connection goes on in between.
        until_found(&tier, &absent.key, |got| matches!(got, Err(Miss::Absent))).await;
    });
    for (_, words) in node.heard("AUTH") {
        assert_eq!(words[1], "edge");
        assert!(
            words[2].starts_with("shop-cache/?Action=connect&User=edge&X-Amz-Alg"),
            "{words:?}"
        );
        assert!(words[2].contains("eu-central-1%2Felasticache%2Faws4_request"), "{words:?}");
    }
}

#[test]
fn an_engine_is_told_which_edge_this_is() {
    let (node, port) = Scripted::start();
    on_a_core(async {
        let tier = start(&settings(SINGLE, port));
        let absent = response("/a", 1);
        until_found(&tier, &absent.key, |got| matches!(got, Err(Miss::Absent))).await;
    });
    let named = node.heard("CLIENT");
    assert!(
        named.iter().any(|(_, words)| words[1..] == ["SETNAME", "foreshore-test"]),
        "{named:?}"
    );
    assert!(node.heard("READONLY").is_empty(), "it is no cluster");
}

#[test]
fn a_sentinel_that_wants_a_password_is_shown_it() {
    if !tool::have(&[REDIS]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let _primary = redis(folder.path(), port, &format!("port {port}\nrequirepass secret"));
    let (path, watching) = (folder.path().join("sentinel.conf"), free_port());
    let text = format!(
        "port {watching}\ndir {}\nrequirepass secret\nsentinel monitor main 127.0.0.1 {port} 1\n\
         sentinel auth-pass main secret\n",
        folder.path().display()
    );
    std::fs::write(&path, text).unwrap();
    let mut command = Command::new("redis-server");
    let _sentinel = Server::start(command.arg(&path).arg("--sentinel"), watching);
    let engine = Engine::Redis(RedisMode::Sentinel { primary: "main".into() });
    let without = settings(engine, watching);
    let with = configured::Tier { auth: Some(auth("default", "secret")), ..without.clone() };
    let stored = response("/a", 100);
    on_a_core(async {
        let tier = start(&with);
        put(&tier, &stored).await;
        assert!(found(&tier, &stored.key).await.is_ok());
        assert_eq!(tier.status().len(), 1, "the sentinel told: {:?}", tier.status());
        // Where none tells, status says why.
        let tier = start(&without);
        let is_said = || {
            let all = tier.status().into_iter();
            let mut why = all.filter(|node| node.name.ends_with(&watching.to_string()));
            why.any(|node| node.trouble.is_some_and(|why| why.contains("NOAUTH")))
        };
        until_found(&tier, &stored.key, |_| is_said()).await;
    });
}

// Over TLS a node may want a certificate of the edge, beside its password.
#[test]
fn a_node_that_wants_a_certificate_is_shown_one() {
    if !tool::have(&[REDIS, MEMCACHED]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let access = Access::guarded(folder.path());
    let Access::Guarded(papers) = &access else { unreachable!() };
    let redis = access.redis(folder.path(), "");
    let memcached = access.memcached(free_port());
    for (engine, door) in
        [(SINGLE, redis.door), (Engine::Memcached(MemcachedMode::Fixed), memcached.door)]
    {
        let right = access.settings(engine, door);
        round_trip(&right);
        let bare = configured::Tier { tls: Some(papers.trusting()), ..right.clone() };
        let nameless = configured::Tier { auth: None, ..right };
        on_a_core(async {
            for settings in [bare, nameless] {
                let tier = start(&settings);
                let kept_out = |got: &Result<Box<Found>, Miss>| {
                    matches!(got, Err(Miss::Denied | Miss::Unreachable | Miss::Paused))
                };
                until_found(&tier, &response("/a", 1).key, kept_out).await;
                assert!(tier.status()[0].trouble.is_some(), "{:?}", tier.status());
            }
        });
    }
}

// One that is well answers; without one the primary does.
#[test]
fn entries_are_read_from_a_replica_where_one_is_well() {
    if !tool::have(&[REDIS]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let primary = plain_redis(folder.path(), free_port());
    let port = free_port();
    let follows =
        format!("port {port}\nreplicaof 127.0.0.1 {}\nrepl-diskless-sync-delay 0", primary.port);
    let replica = redis(folder.path(), port, &follows);
    eventually("the replica follows", || primary.tells("INFO replication", "state=online"));
    let node = |port| configured::TierNode { host: "127.0.0.1".into(), port };
    let settings = configured::Tier {
        nodes: vec![node(primary.port), node(replica.port)],
        read: configured::ReadFrom::Replica,
        ..settings(SINGLE, primary.port)
    };
    on_a_core(async {
        let tier = start(&settings);
        let stored = response("/a", 100_000);
        put(&tier, &stored).await;
        let at = |port: u16| format!("127.0.0.1:{port}");
        let from = |port: u16| {
            let place = at(port);
            until_found(&tier, &stored.key, move |got| {
                got.as_ref().is_ok_and(|found| found.node == place)
            })
        };
        from(replica.port).await;
        // Writes go to the primary alone.
        put(&tier, &response("/b", 10)).await;
        drop(replica);
        from(primary.port).await;
        let again = redis(folder.path(), port, &follows);
        from(again.port).await;
        assert!(found(&tier, &stored.key).await.is_ok());
    });
}
