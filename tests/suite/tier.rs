//! The tier on real engines, and on a memcached of our own that can be told to misbehave: what is
//! put there comes back whole, what is not ours is a miss with a name, and a node in trouble costs
//! no caller more than its deadline.

use std::collections::HashMap;
use std::future::Future;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use foreshore::base::secret::Secret;
use foreshore::body::Content;
use foreshore::distribution::origin::{OriginTls, Roots, TlsVersion};
use foreshore::distribution::tier as configured;
use foreshore::distribution::tier::{Engine, MemcachedMode, RedisMode};
use foreshore::fleet::protocol::{Epoch, FleetNumber, Stamp};
use foreshore::invalidation::chain::RecordId;
use foreshore::message::key::{CacheKey, InvalidationNumber};
use foreshore::message::stored::{
    Flags, Life, Live, Reuse, Selector, Stored, StoredHead, Tags, TtlRule,
};
use foreshore::semantics::fields::FieldSection;
use foreshore::semantics::time::Timestamp;
use foreshore::tier::codec::Address;
use foreshore::tier::miss::Miss;
use foreshore::tier::room::Holds;
use foreshore::tier::{Found, Got, Tier};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::time::Instant;

use super::support::edge::certificates;
use super::support::tool::{self, Tool};
use super::support::{eventually, free_port};
use super::tier_access::{Access, ORDERS, PASSWORD};

pub const REDIS: Tool = Tool::Program("redis-server");
pub const MEMCACHED: Tool = Tool::Program("memcached");
const SASLPASSWD: Tool = Tool::Program("saslpasswd2");
pub const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
pub const STAMP: Stamp =
    Stamp { epoch: Epoch(RecordId::from_octets([1; 16])), number: FleetNumber(7) };
/// What a call may take beyond its deadline on a machine that has much else to do.
const SLACK: Duration = Duration::from_millis(900);

pub fn on_a_core<T>(does: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(does)
}

pub fn start(settings: &configured::Tier) -> Arc<Tier> {
    Tier::start(settings, Arc::default()).unwrap()
}

pub fn settings(engine: Engine, port: u16) -> configured::Tier {
    configured::Tier {
        engine,
        nodes: vec![configured::TierNode { host: "localhost".into(), port }],
        tls: None,
        auth: None,
        timeouts: configured::TierTimeouts {
            // A handshake of a new connection may be part of it, on a machine that is busy.
            first: Duration::from_secs(1),
            ..configured::TierTimeouts::default()
        },
        key: Some(key("current")),
        queue: 16 << 20,
        read: configured::ReadFrom::Primary,
        client: "foreshore-test".into(),
    }
}

fn key(secret: &str) -> configured::TierKey {
    configured::TierKey { current: Secret::new(secret.to_string()), previous: None }
}

pub fn auth(user: &str, password: &str) -> configured::TierAuth {
    configured::TierAuth {
        user: Some(user.to_string()),
        password: configured::Password::Given(Secret::new(password.to_string())),
        method: configured::AuthMethod::Text,
    }
}

pub fn trusting(ca: &Path) -> OriginTls {
    let ca = CertificateDer::from_pem_file(ca).unwrap();
    OriginTls {
        roots: Roots::Given(vec![ca.to_vec()]),
        server_name: None,
        identity: None,
        min: TlsVersion::V1_2,
        more_names: Vec::new(),
    }
}

pub fn response(path: &str, len: usize) -> Arc<Stored> {
    let body: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
    let mut fields = FieldSection::new();
    fields.append("etag", "\"a\"");
    Arc::new(Stored {
        key: CacheKey::new(format!("E1\0{path}\0").as_bytes()),
        selector: Selector::default(),
        status: 200,
        head: StoredHead::new(&fields),
        born: Timestamp(NOW.0 - 3000),
        came_aged: false,
        date: NOW,
        life: Life {
            fresh: 600_000,
            stale_while_revalidate: 0,
            stale_if_error: 0,
            reuse: Reuse::WhileFresh,
            rule: TtlRule::Default,
        },
        asked_at: InvalidationNumber(1),
        tags: Tags::default(),
        part: None,
        content: Content::complete(&body),
        live: Live::default(),
        flags: Flags::default(),
    })
}

/// Hands a response in and waits until it lies there, which may take as many times as a node that
/// has just begun needs.
pub async fn put(tier: &Arc<Tier>, stored: &Arc<Stored>) {
    let until = Instant::now() + Duration::from_secs(15);
    loop {
        let written = || tier.counts.written.load(Ordering::Relaxed);
        let failed = || tier.counts.failed_writes.read().map(|(_, count)| count).sum::<u64>();
        let before = (written(), failed());
        tier.put(stored, STAMP, NOW).unwrap();
        while (written(), failed()) == before {
            assert!(Instant::now() < until, "{:?}", tier.status());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if written() > before.0 {
            return;
        }
    }
}

pub async fn found(tier: &Arc<Tier>, key: &CacheKey) -> Result<Box<Found>, Miss> {
    let began = Instant::now();
    let deadline = tier.first_deadline();
    let got = tier.get(key, deadline).await;
    assert!(began.elapsed() < deadline - began + SLACK, "{:?} {got:?}", began.elapsed());
    match got {
        Got::Found(found) => Ok(found),
        Got::Miss(trouble) => Err(trouble.miss),
    }
}

/// Asks until the tier says what is wanted.
pub async fn until_found(
    tier: &Arc<Tier>,
    key: &CacheKey,
    wanted: impl Fn(&Result<Box<Found>, Miss>) -> bool,
) {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let got = found(tier, key).await;
        if wanted(&got) {
            return;
        }
        assert!(Instant::now() < until, "{got:?} {:?}", tier.status());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub async fn body(tier: &Arc<Tier>, stored: &Stored) -> Vec<u8> {
    let found = found(tier, &stored.key).await.unwrap();
    let mut octets = found.meta.body.as_deref().unwrap_or_default().to_vec();
    for number in 0..found.meta.pieces() {
        let piece =
            tier.piece(&stored.key, &found.meta.outline, number, tier.total_deadline()).await;
        octets.extend_from_slice(&piece.unwrap());
    }
    octets
}

// A caller that comes after the first hears only that the breaker is open.
fn is_kept_out(got: &Result<Box<Found>, Miss>) -> bool {
    matches!(got, Err(Miss::Denied | Miss::Unreachable | Miss::Paused))
}

/// What every engine has to do.
pub fn round_trip(settings: &configured::Tier) {
    on_a_core(async {
        let tier = start(settings);
        for (at, len) in [0, 10, 16 << 10, (16 << 10) + 1, 200_000].into_iter().enumerate() {
            let stored = response(&format!("/{at}"), len);
            put(&tier, &stored).await;
            assert_eq!(body(&tier, &stored).await.len(), len);
            assert!(body(&tier, &stored).await == stored.content.whole().unwrap());
            let found = found(&tier, &stored.key).await.unwrap();
            assert_eq!((found.meta.status, found.meta.outline.stamp), (200, STAMP));
            assert!((3000..20_000).contains(&found.age), "{}", found.age);
        }
        let missing = response("/missing", 1);
        assert_eq!(found(&tier, &missing.key).await.err(), Some(Miss::Absent));
        let locked = |deadline| tier.lock(&missing.key, 5, deadline);
        assert_eq!(locked(tier.total_deadline()).await, Ok(true));
        assert_eq!(locked(tier.total_deadline()).await, Ok(false));
        assert_eq!(
            found(&tier, &missing.key).await.err(),
            Some(Miss::Absent),
            "a lock is no entry"
        );

        // An edge with another key, and one without.
        let first = response("/0", 0);
        let other = configured::Tier { key: Some(key("other")), ..settings.clone() };
        let other = start(&other);
        until_found(&other, &first.key, |got| matches!(got, Err(Miss::WrongSeal))).await;
        let open = start(&configured::Tier { key: None, ..settings.clone() });
        until_found(&open, &first.key, |got| matches!(got, Err(Miss::Sealed))).await;
        put(&open, &first).await;
        assert_eq!(found(&tier, &first.key).await.err(), Some(Miss::Unsealed));
    });
}

// What stops answering is stepped over after a few calls, each within its deadline, and is asked
// again when it answers.
fn comes_back(settings: &configured::Tier, stop: impl Fn(), go_on: impl Fn()) {
    on_a_core(async {
        let tier = start(settings);
        let stored = response("/a", 100);
        put(&tier, &stored).await;
        assert!(found(&tier, &stored.key).await.is_ok());
        stop();
        let mut misses = Vec::new();
        // A signal takes a moment to be heard.
        while misses.len() < 6 {
            misses.extend(found(&tier, &stored.key).await.err());
        }
        assert_eq!(misses.last(), Some(&Miss::Paused), "{misses:?}");
        assert!(
            misses
                .iter()
                .all(|miss| matches!(miss, Miss::TimedOut | Miss::Unreachable | Miss::Paused))
        );
        go_on();
        until_found(&tier, &stored.key, |got| matches!(got, Ok(_) | Err(Miss::Absent))).await;
    });
}

/// An engine in a process of its own. Killed when dropped.
pub struct Server {
    child: Child,
    /// Where tests give it orders, in clear text.
    pub port: u16,
    /// Where edges come in; the same where nothing is guarded.
    pub door: u16,
}

impl Server {
    pub fn start(command: &mut Command, port: u16) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { child, port, door: port };
        eventually("the engine listens", || {
            TcpStream::connect_timeout(&server.address(), Duration::from_secs(1)).is_ok()
        });
        server
    }

    /// The same, which lets edges in by another port, and gives orders a name.
    pub fn behind(mut self, door: u16) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], door));
        eventually("the engine listens", || {
            TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
        });
        self.door = door;
        self
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    // A command in the inline form of Redis, or a line of memcached's; the first line of the answer.
    pub fn says(&self, command: &str) -> String {
        line_of(&mut self.ordered(command))
    }

    // Whether a longer answer has these words in it.
    pub fn tells(&self, command: &str, words: &str) -> bool {
        let mut read = [0; 8192];
        let len = self.ordered(command).read(&mut read).unwrap();
        String::from_utf8_lossy(&read[..len]).contains(words)
    }

    // A number of a longer answer, behind a name and a colon or a space.
    pub fn number(&self, command: &str, name: &str) -> u64 {
        let mut answer = self.ordered(command);
        loop {
            let line = line_of(&mut answer);
            assert!(!line.is_empty() && line != "END", "{command} tells no {name}");
            let rest = line.trim_start_matches("STAT ").strip_prefix(name);
            if let Some(rest) = rest.and_then(|rest| rest.strip_prefix([':', ' '])) {
                let digits = rest.trim_start_matches("calls=");
                let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
                return digits[..end].parse().unwrap();
            }
        }
    }

    // Behind its name, where it is asked for one.
    fn ordered(&self, command: &str) -> BufReader<TcpStream> {
        let mut tcp = TcpStream::connect(self.address()).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let is_guarded = self.door != self.port;
        let login = format!("AUTH {ORDERS} {PASSWORD}\r\n");
        let before = if is_guarded { login.as_str() } else { "" };
        tcp.write_all(format!("{before}{command}\r\n").as_bytes()).unwrap();
        let mut answer = BufReader::new(tcp);
        if is_guarded {
            assert_eq!(line_of(&mut answer), "+OK");
        }
        answer
    }

    /// `redis-cli` that gives it orders.
    pub fn cli(&self) -> Command {
        let mut command = Command::new("redis-cli");
        command.args(["-p", &self.port.to_string()]);
        if self.door != self.port {
            command.args(["--user", ORDERS]).env("REDISCLI_AUTH", PASSWORD);
        }
        command
    }
}

fn line_of(answer: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    answer.read_line(&mut line).unwrap();
    line.trim().to_string()
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn redis(folder: &Path, port: u16, more: &str) -> Server {
    let path = folder.join(format!("redis-{port}.conf"));
    let text = format!(
        "bind 127.0.0.1\nsave \"\"\nappendonly no\ndir {}\ndbfilename {port}.rdb\n{more}\n",
        folder.display()
    );
    std::fs::write(&path, text).unwrap();
    Server::start(Command::new("redis-server").arg(&path), port)
}

pub fn plain_redis(folder: &Path, port: u16) -> Server {
    redis(folder, port, &format!("port {port}"))
}

pub fn memcached(port: u16, more: &[&str]) -> Server {
    let mut command = Command::new("memcached");
    command.args(["-l", "127.0.0.1", "-U", "0", "-u", "root", "-p", &port.to_string()]);
    Server::start(command.args(more), port)
}

pub const SINGLE: Engine = Engine::Redis(RedisMode::Single);
const FIXED: Engine = Engine::Memcached(MemcachedMode::Fixed);

#[test]
fn a_node_that_evicts_nothing_is_told_of() {
    if !tool::have(&[REDIS]) {
        return;
    }
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let more = format!("port {port}\nmaxmemory 64mb\nmaxmemory-policy noeviction");
    let server = redis(folder.path(), port, &more);
    on_a_core(async {
        let tier = start(&settings(SINGLE, server.port));
        let _ = tier.get(&CacheKey::new(b"E1\0/a\0"), tier.total_deadline()).await;
        let told = async {
            loop {
                if let Some(room) = tier.status().into_iter().find_map(|node| node.room) {
                    return room;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let room = tokio::time::timeout(Duration::from_secs(15), told).await.unwrap();
        assert_eq!((room.policy.as_str(), room.limit), ("noeviction", 64 << 20));
        assert!(room.wrong(Holds::Cache).unwrap().contains("allkeys-lru"));
    });
}

#[test]
fn redis_gives_back_what_it_was_given() {
    if !tool::have(&[REDIS]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = plain_redis(folder.path(), free_port());
    round_trip(&settings(SINGLE, server.port));
}

#[test]
fn redis_over_tls_lets_in_who_has_the_password() {
    if !tool::have(&[REDIS]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (ca, chain, private) = certificates(folder.path(), &["localhost"]);
    let port = free_port();
    let more = format!(
        "port 0\ntls-port {port}\ntls-auth-clients no\ntls-cert-file {}\ntls-key-file {}\n\
         tls-ca-cert-file {}\nuser default off\nuser edge on >secret ~f1:* +@all",
        chain.display(),
        private.display(),
        ca.display()
    );
    let _server = redis(folder.path(), port, &more);
    let right = configured::Tier {
        tls: Some(trusting(&ca)),
        auth: Some(auth("edge", "secret")),
        ..settings(SINGLE, port)
    };
    round_trip(&right);
    let wrong = configured::Tier { auth: Some(auth("edge", "wrong")), ..right.clone() };
    // Another CA: nobody is trusted.
    let other = tempfile::tempdir().unwrap();
    let (stranger, ..) = certificates(other.path(), &["localhost"]);
    let untrusted = configured::Tier { tls: Some(trusting(&stranger)), ..right };
    on_a_core(async {
        let absent = response("/a", 1);
        let tier = start(&wrong);
        until_found(&tier, &absent.key, is_kept_out).await;
        let tier = start(&untrusted);
        until_found(&tier, &absent.key, is_kept_out).await;
        assert!(tier.status()[0].trouble.as_ref().unwrap().contains("certificate"));
    });
}

#[test]
fn a_redis_that_is_stopped_or_killed_costs_nobody_more_than_a_deadline() {
    if !tool::have(&[REDIS]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = plain_redis(folder.path(), free_port());
    let port = server.port;
    let settings = settings(SINGLE, port);
    comes_back(&settings, || server.signal("-STOP"), || server.signal("-CONT"));
    let place = Mutex::new(Some(server));
    comes_back(
        &settings,
        || drop(place.lock().unwrap().take()),
        || *place.lock().unwrap() = Some(plain_redis(folder.path(), port)),
    );
}

#[test]
fn what_others_write_into_redis_is_a_miss() {
    if !tool::have(&[REDIS]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = plain_redis(folder.path(), free_port());
    on_a_core(async {
        let tier = start(&settings(SINGLE, server.port));
        let stored = response("/a", 100_000);
        put(&tier, &stored).await;
        let meta = Address::of(&stored.key).meta();
        let whole = found(&tier, &stored.key).await.unwrap();
        assert_eq!(server.says(&format!("PERSIST {meta}")), ":1");
        assert_eq!(found(&tier, &stored.key).await.err(), Some(Miss::Unlimited));
        assert_eq!(server.says(&format!("EXPIRE {meta} 1000000")), ":1");
        assert_eq!(found(&tier, &stored.key).await.err(), Some(Miss::Malformed));
        assert_eq!(server.says(&format!("SETRANGE {meta} 100 xyzxyz")).chars().next(), Some(':'));
        assert_eq!(server.says(&format!("EXPIRE {meta} 60")), ":1");
        assert_eq!(found(&tier, &stored.key).await.err(), Some(Miss::WrongSeal));
        assert_eq!(server.says(&format!("SETRANGE {meta} 1000000 x")), ":1000001");
        assert_eq!(found(&tier, &stored.key).await.err(), Some(Miss::Oversized));
        assert_eq!(server.says(&format!("SET {meta} short EX 60")), "+OK");
        assert_eq!(found(&tier, &stored.key).await.err(), Some(Miss::Truncated));
        assert_eq!(server.says(&format!("DEL {meta}")), ":1");
        assert_eq!(server.says(&format!("LPUSH {meta} x")), ":1");
        assert_eq!(found(&tier, &stored.key).await.err(), Some(Miss::Refused));
        let piece = Address::of(&stored.key).piece(whole.meta.outline.generation, 1);
        assert_eq!(server.says(&format!("DEL {piece}")), ":1");
        let pieces =
            |number| tier.piece(&stored.key, &whole.meta.outline, number, tier.total_deadline());
        assert!(pieces(0).await.is_ok());
        assert_eq!(pieces(1).await, Err(Miss::PieceMissing));
    });
}

#[test]
fn a_redis_without_room_refuses_and_hurts_nobody() {
    if !tool::have(&[REDIS]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let more = format!("port {port}\nmaxmemory 4mb\nmaxmemory-policy noeviction");
    let _server = redis(folder.path(), port, &more);
    on_a_core(async {
        let tier = start(&settings(SINGLE, port));
        let small = response("/small", 10);
        put(&tier, &small).await;
        for at in 0..5 {
            tier.put(&response(&format!("/{at}"), 1 << 20), STAMP, NOW).unwrap();
        }
        let full = || tier.counts.failed_writes.read().any(|(miss, n)| miss == Miss::Full && n > 0);
        let until = Instant::now() + Duration::from_secs(15);
        while !full() {
            assert!(Instant::now() < until, "{:?}", tier.counts);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(found(&tier, &small.key).await.is_ok());
    });
}

/// A primary and its replica, under a sentinel that calls them `main`.
pub struct Watched {
    pub primary: Server,
    pub replica: Server,
    pub sentinel: Server,
}

/// Starts them, and waits until the replica follows.
pub fn watched(folder: &Path, access: &Access) -> Watched {
    let primary = access.redis(folder, "");
    let more = format!("replicaof 127.0.0.1 {}\nrepl-diskless-sync-delay 0", primary.door);
    let replica = access.redis(folder, &more);
    eventually("the replica follows", || primary.tells("INFO replication", "state=online"));
    let sentinel = access.sentinel(folder, primary.door);
    Watched { primary, replica, sentinel }
}

#[test]
fn slow_the_primary_is_whom_the_sentinel_names() {
    if !tool::have(&[REDIS]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    follows_the_sentinel(folder.path(), &Access::guarded(folder.path()));
    let folder = tempfile::tempdir().unwrap();
    follows_the_sentinel(folder.path(), &Access::Open);
}

// A sentinel fails the primary over; the tier follows.
fn follows_the_sentinel(folder: &Path, access: &Access) {
    let Watched { primary, replica, sentinel } = watched(folder, access);
    let engine = Engine::Redis(RedisMode::Sentinel { primary: "main".into() });
    let settings = access.settings(engine, sentinel.door);
    round_trip(&settings);
    on_a_core(async {
        let tier = start(&settings);
        let stored = response("/a", 10);
        put(&tier, &stored).await;
        let names =
            |port: u16| tier.status().iter().any(|node| node.name.ends_with(&port.to_string()));
        assert!(names(primary.door));
        eventually("the sentinel fails over", || sentinel.says("SENTINEL FAILOVER main") == "+OK");
        drop(primary);
        until_found(&tier, &stored.key, |got| {
            names(replica.door) && matches!(got, Ok(_) | Err(Miss::Absent))
        })
        .await;
        put(&tier, &stored).await;
    });
}

#[test]
fn memcached_gives_back_what_it_was_given() {
    if !tool::have(&[MEMCACHED]) {
        return;
    }
    let server = memcached(free_port(), &[]);
    round_trip(&settings(FIXED, server.port));
    let meta = Address::of(&response("/1", 0).key).meta();
    assert_eq!(server.says(&format!("set {meta} 0 60 5\r\nshort")), "STORED");
    on_a_core(async {
        let tier = start(&settings(FIXED, server.port));
        let key = response("/1", 0).key.clone();
        until_found(&tier, &key, |got| matches!(got, Err(Miss::Truncated))).await;
    });
}

#[test]
fn memcached_over_tls_and_with_a_password() {
    if !tool::have(&[MEMCACHED]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (ca, chain, private) = certificates(folder.path(), &["localhost"]);
    let passwords = folder.path().join("passwords");
    std::fs::write(&passwords, "edge:secret\n").unwrap();
    let with_tls = format!("ssl_chain_cert={},ssl_key={}", chain.display(), private.display());
    let secured = memcached(free_port(), &["-Z", "-o", &with_tls]);
    let right = configured::Tier { tls: Some(trusting(&ca)), ..settings(FIXED, secured.port) };
    round_trip(&right);
    let guarded = memcached(free_port(), &["-Y", passwords.to_str().unwrap()]);
    let right =
        configured::Tier { auth: Some(auth("edge", "secret")), ..settings(FIXED, guarded.port) };
    round_trip(&right);
    on_a_core(async {
        let absent = response("/a", 1);
        for auth in [None, Some(auth("edge", "wrong"))] {
            let tier = start(&configured::Tier { auth, ..right.clone() });
            until_found(&tier, &absent.key, is_kept_out).await;
            let trouble = tier.status()[0].trouble.clone().unwrap();
            assert!(trouble.contains("name and"), "{trouble}");
        }
    });
}

// Its passwords are in cyrus-sasl's own database.
#[test]
fn memcached_with_sasl_is_spoken_to_in_binary() {
    if !tool::have(&[MEMCACHED, SASLPASSWD]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("database");
    let text = format!(
        "mech_list: plain\npwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {}\n",
        database.display()
    );
    std::fs::write(folder.path().join("memcached.conf"), text).unwrap();
    let mut adding = Command::new("saslpasswd2")
        .args(["-p", "-c", "-a", "memcached", "-u", "localhost", "-f"])
        .args([database.as_os_str(), "edge".as_ref()])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    adding.stdin.take().unwrap().write_all(b"secret").unwrap();
    assert!(adding.wait().unwrap().success());
    let port = free_port();
    let mut command = Command::new("memcached");
    command
        .args(["-S", "-l", "127.0.0.1", "-U", "0", "-u", "root", "-p", &port.to_string()])
        .env("SASL_CONF_PATH", folder.path());
    let _server = Server::start(&mut command, port);
    let with = |password: &str| configured::Tier {
        auth: Some(configured::TierAuth {
            method: configured::AuthMethod::Sasl,
            ..auth("edge@localhost", password)
        }),
        ..settings(FIXED, port)
    };
    round_trip(&with("secret"));
    on_a_core(async {
        let tier = start(&with("wrong"));
        until_found(&tier, &response("/a", 1).key, is_kept_out).await;
    });
}

#[test]
fn a_memcached_that_is_stopped_or_killed_costs_nobody_more_than_a_deadline() {
    if !tool::have(&[MEMCACHED]) {
        return;
    }
    let server = memcached(free_port(), &[]);
    let port = server.port;
    comes_back(&settings(FIXED, port), || server.signal("-STOP"), || server.signal("-CONT"));
    let place = Mutex::new(Some(server));
    comes_back(
        &settings(FIXED, port),
        || drop(place.lock().unwrap().take()),
        || *place.lock().unwrap() = Some(memcached(port, &[])),
    );
}

/// A memcached of our own: the requests a tier makes, and what no real one does when told to.
#[derive(Default)]
pub(super) struct Scripted {
    pub(super) items: Mutex<HashMap<String, (Vec<u8>, u64)>>,
    /// It reads and does not answer.
    pub(super) is_silent: AtomicBool,
    /// Octets of the largest value that it takes; no bound where it is zero.
    pub(super) largest: AtomicUsize,
    /// What it says of that; as usual where it is zero.
    pub(super) item_size: AtomicUsize,
    /// It closes each connection that asks something.
    is_closing: AtomicBool,
    cluster: Mutex<Option<String>>,
    open: Mutex<Vec<TcpStream>>,
}

impl Scripted {
    pub(super) fn start() -> (Arc<Self>, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let this = Arc::new(Self::default());
        let serving = Arc::clone(&this);
        std::thread::spawn(move || {
            for tcp in listener.incoming().map_while(Result::ok) {
                let one = Arc::clone(&serving);
                one.open.lock().unwrap().push(tcp.try_clone().unwrap());
                std::thread::spawn(move || one.serve(tcp));
            }
        });
        (this, port)
    }

    fn serve(&self, mut tcp: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(tcp.try_clone().ok()?);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let answer = self.answer(&words, &mut reader)?;
            if self.is_closing.load(Ordering::Relaxed) {
                let _ = tcp.shutdown(Shutdown::Both);
                return None;
            }
            if !self.is_silent.load(Ordering::Relaxed) {
                tcp.write_all(&answer).ok()?;
            }
        }
    }

    fn answer(&self, words: &[&str], reader: &mut impl Read) -> Option<Vec<u8>> {
        let mut items = self.items.lock().unwrap();
        let answer = match *words {
            ["mn"] => b"MN\r\n".to_vec(),
            ["stats", "settings"] => {
                let size = match self.item_size.load(Ordering::Relaxed) {
                    0 => 1 << 20,
                    size => size,
                };
                format!("STAT item_size_max {size}\r\nEND\r\n").into_bytes()
            }
            ["mg", key, "v", "t"] => match items.get(key) {
                None => b"EN\r\n".to_vec(),
                Some((octets, ttl)) => {
                    let head = format!("VA {} t{ttl}\r\n", octets.len());
                    [head.as_bytes(), octets, b"\r\n"].concat()
                }
            },
            ["mg", key, ttl, "t"] if ttl.starts_with('N') => {
                let secs = ttl[1..].parse().ok()?;
                let word = match items.insert(key.to_string(), (Vec::new(), secs)) {
                    None => 'W',
                    Some(_) => 'Z',
                };
                format!("HD t{secs} {word}\r\n").into_bytes()
            }
            ["ms", key, len, ttl] => {
                let mut octets = vec![0; len.parse::<usize>().ok()? + 2];
                reader.read_exact(&mut octets).ok()?;
                octets.truncate(octets.len() - 2);
                if (1..octets.len()).contains(&self.largest.load(Ordering::Relaxed)) {
                    return Some(b"SERVER_ERROR object too large for cache\r\n".to_vec());
                }
                let ttl = ttl.strip_prefix('T')?.parse().ok()?;
                items.insert(key.to_string(), (octets, ttl));
                b"HD\r\n".to_vec()
            }
            ["config", "get", "cluster"] => match &*self.cluster.lock().unwrap() {
                None => b"ERROR\r\n".to_vec(),
                Some(body) => {
                    format!("CONFIG cluster 0 {}\r\n{body}\r\nEND\r\n", body.len()).into_bytes()
                }
            },
            _ => b"ERROR\r\n".to_vec(),
        };
        Some(answer)
    }

    // As idle connections are cut.
    fn cut(&self) {
        for tcp in self.open.lock().unwrap().drain(..) {
            let _ = tcp.shutdown(Shutdown::Both);
        }
    }
}

#[test]
fn the_meta_protocol_is_spoken() {
    let (_, port) = Scripted::start();
    round_trip(&settings(FIXED, port));
}

#[test]
fn a_node_that_does_not_answer_costs_nobody_more_than_a_deadline() {
    let (node, port) = Scripted::start();
    comes_back(
        &settings(FIXED, port),
        || node.is_silent.store(true, Ordering::Relaxed),
        || node.is_silent.store(false, Ordering::Relaxed),
    );
    comes_back(
        &settings(FIXED, port),
        || node.is_closing.store(true, Ordering::Relaxed),
        || node.is_closing.store(false, Ordering::Relaxed),
    );
}

#[test]
fn a_connection_that_was_cut_is_made_anew_for_whoever_asks() {
    let (node, port) = Scripted::start();
    on_a_core(async {
        let tier = start(&settings(FIXED, port));
        let stored = response("/a", 100);
        put(&tier, &stored).await;
        for _ in 0..20 {
            node.cut();
            assert!(found(&tier, &stored.key).await.is_ok(), "{:?}", tier.status());
        }
    });
}

#[test]
fn keys_of_a_node_that_is_away_lie_elsewhere() {
    let nodes: Vec<_> = (0..3).map(|_| Scripted::start()).collect();
    let mut settings = settings(FIXED, 0);
    settings.nodes = nodes
        .iter()
        .map(|(_, port)| configured::TierNode { host: "127.0.0.1".into(), port: *port })
        .collect();
    on_a_core(async {
        let tier = start(&settings);
        let all: Vec<_> = (0..30).map(|at| response(&format!("/{at}"), 10)).collect();
        for stored in &all {
            put(&tier, stored).await;
        }
        assert!(nodes.iter().all(|(node, _)| !node.items.lock().unwrap().is_empty()));
        nodes[0].0.is_closing.store(true, Ordering::Relaxed);
        nodes[0].0.cut();
        for stored in &all {
            put(&tier, stored).await;
            assert!(found(&tier, &stored.key).await.is_ok(), "{:?}", tier.status());
        }
        nodes[0].0.is_closing.store(false, Ordering::Relaxed);
        let node = format!("127.0.0.1:{}", nodes[0].1);
        let own = |found: &Found| found.node == node;
        for stored in &all {
            until_found(&tier, &stored.key, |got| got.is_ok()).await;
        }
        let homes = all.iter().filter(|stored| {
            let tag = Address::of(&stored.key).meta();
            nodes[0].0.items.lock().unwrap().contains_key(&tag)
        });
        for stored in homes {
            until_found(&tier, &stored.key, |got| got.as_ref().is_ok_and(|found| own(found))).await;
        }
    });
}

#[test]
fn nodes_are_discovered() {
    let nodes: Vec<_> = (0..2).map(|_| Scripted::start()).collect();
    let (endpoint, port) = Scripted::start();
    let named: Vec<String> =
        nodes.iter().map(|(_, port)| format!("127.0.0.1|127.0.0.1|{port}")).collect();
    let settings = settings(Engine::Memcached(MemcachedMode::Discovery), port);
    on_a_core(async {
        let tier = start(&settings);
        let stored = response("/a", 10);
        assert_eq!(found(&tier, &stored.key).await.err(), Some(Miss::Paused), "no node is known");
        *endpoint.cluster.lock().unwrap() = Some(format!("1\n{}\n", named.join(" ")));
        until_found(&tier, &stored.key, |got| matches!(got, Err(Miss::Absent))).await;
        put(&tier, &stored).await;
        assert_eq!(tier.status().len(), 2);
        assert!(endpoint.items.lock().unwrap().is_empty());
    });
}

#[test]
fn a_full_queue_takes_no_more() {
    let (node, port) = Scripted::start();
    node.is_silent.store(true, Ordering::Relaxed);
    let settings = configured::Tier { queue: 1000, ..settings(FIXED, port) };
    on_a_core(async {
        let tier = start(&settings);
        // One that is longer than the queue goes in alone.
        assert_eq!(tier.put(&response("/a", 5000), STAMP, NOW), Ok(()));
        assert!(tier.put(&response("/b", 10), STAMP, NOW).is_err());
        assert_eq!(tier.counts.not_queued.load(Ordering::Relaxed), 1);
        assert_eq!(tier.queued(), (5000, 1000));
    });
}
