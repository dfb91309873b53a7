//! The tier on real engines that fail over, reshard, run full and lie, under two edges
//! whose viewers are asked all the time: no error reaches one, no wrong octet, and nothing older
//! than a purge that was acknowledged.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::support::edge::{Edge, plain};
use super::support::origin::answer;
use super::support::tool::{self, Tool};
use super::support::viewer::Seen;
use super::support::{Dice, Origin, eventually, free_port};
use super::tier::{REDIS, Server, Watched, plain_redis, redis, watched};

const REDIS_CLI: Tool = Tool::Program("redis-cli");
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
struct Oracle {
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

fn edge(origin: SocketAddr, tier: &str, fleet: &str) -> Edge {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let more = format!(
        "[fleet]\nname = \"f\"\nlease = \"3s\"\n{fleet}\n[tier]\n{tier}\n\
         key = {{ file = \"token\" }}\ntimeouts = {{ first = \"200ms\", total = \"1s\" }}\n"
    );
    std::fs::write(folder.path().join("token"), "between-us").unwrap();
    std::fs::write(folder.path().join("edge.toml"), plain(origin, &more)).unwrap();
    Edge::start_in(folder)
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
        let here = "member = \"one\"\nsequencer = \"here\"\n[[trusted_edge]]\nid = \"two\"\n\
                    token = { file = \"token\" }";
        let one = edge(origin.address, tier, here);
        let there = format!(
            "member = \"two\"\nsequencer = \"parent\"\n[fleet.parent]\nadmin = \"http://{}\"\n\
             edge_id = \"two\"\ntoken = {{ file = \"token\" }}",
            one.admin
        );
        let two = edge(origin.address, tier, &there);
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
    fn is_used(&self, more: f64) {
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
fn under_load(tier: &str, does: impl FnOnce(&Oracle)) {
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

fn single(port: u16) -> String {
    format!("kind = \"redis\"\nurls = [\"redis://127.0.0.1:{port}\"]")
}

fn cluster_cli(arguments: &[&str]) -> String {
    let out = Command::new("redis-cli").arg("--cluster").args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{said} {}", String::from_utf8_lossy(&out.stderr));
    said
}

// The lines of `CLUSTER NODES` as a node sees them.
fn nodes_of(server: &Server) -> Vec<Vec<String>> {
    let port = server.port.to_string();
    let out = Command::new("redis-cli").args(["-p", &port, "cluster", "nodes"]).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    text.lines().map(|line| line.split(' ').map(str::to_string).collect()).collect()
}

fn is_primary(words: &[String]) -> bool {
    words.get(2).is_some_and(|flags| {
        flags.split(',').any(|flag| flag == "master") && !flags.contains("fail")
    })
}

fn a_cluster_in_trouble(read: &str) {
    if !tool::have(&[REDIS, REDIS_CLI]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let node = || {
        let port = free_port();
        let more = format!(
            "port {port}\ncluster-enabled yes\ncluster-config-file nodes-{port}.conf\n\
             cluster-node-timeout 1000\ncluster-replica-validity-factor 0\n\
             repl-diskless-sync-delay 0"
        );
        redis(folder.path(), port, &more)
    };
    let mut nodes: Vec<Server> = (0..6).map(|_| node()).collect();
    let places: Vec<String> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
    let mut create = vec!["create"];
    create.extend(places.iter().map(String::as_str));
    create.extend(["--cluster-replicas", "1", "--cluster-yes"]);
    cluster_cli(&create);
    let is_well = |node: &Server| node.tells("CLUSTER INFO", "cluster_state:ok");
    eventually("the cluster is well", || nodes.iter().all(is_well));
    let follows = |node: &Server| node.tells("INFO replication", "master_link_status:up");
    eventually("replicas follow", || nodes.iter().filter(|node| follows(node)).count() == 3);
    let urls: Vec<String> = places.iter().map(|place| format!("\"redis://{place}\"")).collect();
    let tier = format!(
        "kind = \"redis\"\nmode = \"cluster\"\nread = \"{read}\"\nurls = [{}]",
        urls.join(", ")
    );
    under_load(&tier, |oracle| {
        let all = nodes_of(&nodes[0]);
        let primaries: Vec<&Vec<String>> = all.iter().filter(|words| is_primary(words)).collect();
        let (from, to) = (primaries[0][0].as_str(), primaries[1][0].as_str());
        cluster_cli(&[
            "reshard",
            &places[0],
            "--cluster-from",
            from,
            "--cluster-to",
            to,
            "--cluster-slots",
            "1500",
            "--cluster-yes",
        ]);
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
    let Watched { primary, replica, sentinel } = watched(folder.path());
    let port = sentinel.port;
    let knows = || sentinel.tells("SENTINEL REPLICAS main", &replica.port.to_string());
    eventually("the sentinel knows the replica", knows);
    for read in ["primary", "replica"] {
        let tier = format!(
            "kind = \"redis\"\nmode = \"sentinel\"\nprimary = \"main\"\nread = \"{read}\"\n\
             urls = [\"redis://127.0.0.1:{port}\"]"
        );
        if read == "replica" {
            under_load(&tier, |oracle| {
                primary.signal("-STOP");
                let is_new = || {
                    !sentinel
                        .tells("SENTINEL GET-MASTER-ADDR-BY-NAME main", &primary.port.to_string())
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
fn slow_an_engine_that_is_full_hurts_no_viewer() {
    if !tool::have(&[REDIS]) {
        return;
    }
    for policy in ["allkeys-lru", "noeviction"] {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        // The long bodies of one version alone are 1.8 MB, and each version lies there beside the
        // one before it.
        let more = format!("port {port}\nmaxmemory 4mb\nmaxmemory-policy {policy}");
        let server = redis(folder.path(), port, &more);
        under_load(&single(port), |oracle| {
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
    let server = plain_redis(folder.path(), free_port());
    let script = "local k = redis.call('RANDOMKEY') if k then \
                  redis.call('SETRANGE', k, ARGV[1] % redis.call('STRLEN', k), 'xyz') end return 1";
    under_load(&single(server.port), |oracle| {
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
