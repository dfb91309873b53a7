//! Rules that no compiler knows: captions, what pure files must not touch, where clocks,
//! environment and tasks belong, what may be linked, and papers that keep up with the code.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::support::code::{functions, has_word, shipped};

fn files(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            files(&entry.path(), all);
        } else if entry.path().extension().is_some_and(|e| e == "rs") {
            all.push(entry.path());
        }
    }
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file below `src`, by its path there.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    files(&root, &mut all);
    all.into_iter()
        .map(|path| {
            (
                path.strip_prefix(&root).unwrap().display().to_string(),
                std::fs::read_to_string(&path).unwrap(),
            )
        })
        .collect()
}

#[test]
fn every_file_says_what_it_is_for() {
    for (name, text) in sources() {
        assert!(text.starts_with("//! ") || name == "lib.rs", "{name} has no caption");
    }
}

/// A function is read at once. A longer one is split by what its steps are for.
const LINES: usize = 70;

/// Those that are longer still. The list gets no longer.
const LONG: &[(&str, &str)] = &[("origin/client.rs", "ask"), ("origin/connection.rs", "exchange")];

#[test]
fn functions_are_read_at_once() {
    let mut seen = 0;
    for (name, text) in sources() {
        // Files that are compiled for tests alone.
        if name.split('/').any(|part| matches!(part, "tests" | "tests.rs")) {
            continue;
        }
        for (function, lines) in functions(&shipped(&text)) {
            let is_listed = LONG.contains(&(name.as_str(), function));
            assert!(lines <= LINES || is_listed, "{name}: {function} has {lines} lines");
            seen += 1;
        }
    }
    assert!(seen > 4_000, "only {seen} functions were seen");
}

/// What a pure file does without: it is given moments, octets and settings, and gives back values.
/// Addresses of `std::net` are values; sockets are not.
const IMPURE: &[&str] = &[
    "async",
    ".await",
    "tokio",
    "hyper",
    "std::fs",
    "std::{",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "ToSocketAddrs",
    "Instant::now",
    "SystemTime",
    "std::thread",
    "std::env",
    "spawn(",
    "spawn_blocking(",
];

fn assert_pure(name: &str, text: &str) {
    // A thread's own memory is memory still.
    let code = shipped(text).replace("std::thread::LocalKey", "");
    for word in IMPURE {
        assert!(!has_word(&code, word), "{name} is to be pure and has {word:?}");
    }
}

#[test]
fn files_that_call_themselves_pure_are() {
    let pure: Vec<_> =
        sources().into_iter().filter(|(_, text)| text.starts_with("//! Pure")).collect();
    assert!(pure.len() > 20, "only {} files begin with the word", pure.len());
    for (name, text) in pure {
        assert_pure(&name, &text);
    }
}

/// Rooms that are pure throughout: those that the map says touch nothing of the world.
fn pure_rooms() -> BTreeSet<String> {
    let map = read("src/ARCHITECTURE.md");
    let rows = map.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter(|row| row.ends_with("| no |"))
        .filter_map(|row| Some(row.split_once('`')?.0.to_string()))
        .collect()
}

#[test]
fn pure_rooms_are_pure_throughout() {
    let rooms = pure_rooms();
    for room in ["semantics", "crypto", "distribution", "message", "access", "cache", "deliver"] {
        assert!(rooms.contains(room), "the map no longer says that {room} touches nothing");
    }
    let mut seen = BTreeSet::new();
    for (name, text) in sources() {
        let room = name.split_once('/').map_or("", |(room, _)| room);
        if rooms.contains(room) {
            assert_pure(&name, &text);
            seen.insert(room.to_string());
        }
    }
    assert_eq!(seen, rooms, "the map names rooms that have no files");
}

/// A file, and why it may do what a list is about.
type Reasons = &'static [(&'static str, &'static str)];

/// Files that look at a clock themselves. All others are given moments, or a `Clock`.
const CLOCKS: Reasons = &[
    ("clock.rs", "the one clock, by which everything is dated"),
    ("body/tunnel.rs", "how long a tunnel may be silent"),
    ("cli/admin_client.rs", "a command has a clock of its own: it outlives no second"),
    ("cli/certs.rs", "the same"),
    ("cli/check.rs", "the same"),
    ("cli/explain.rs", "the same"),
    ("cli/function/lambda.rs", "the same"),
    ("cli/function/test.rs", "the same"),
    ("cli/import_export.rs", "the same"),
    ("cli/sign.rs", "the same"),
    ("cli/store.rs", "the same"),
    ("cli/workplace.rs", "the same"),
    ("cli/run.rs", "makes the edge's clock; a deadline for draining"),
    ("fleet/settle.rs", "how long a caller waits"),
    ("functions/engine/watch.rs", "when a call of code has to be over, and how long it took"),
    ("invalidation/sweep.rs", "rests in proportion to how long the work took"),
    ("lambda/mod.rs", "how long a call that is tried out took"),
    ("lambda/service.rs", "when workers are started and ended"),
    ("lambda/worker.rs", "deadlines of a call"),
    ("listen/exchange_log.rs", "how long an answer took"),
    ("listen/mod.rs", "a deadline for lingering"),
    ("listen/places.rs", "who has been idle for longest"),
    ("listen/h1/mod.rs", "deadlines of a connection"),
    ("listen/h1/waits.rs", "the same"),
    ("listen/h2/answers.rs", "deadlines of a connection"),
    ("listen/h2/mod.rs", "deadlines of a connection"),
    ("listen/h2/requests.rs", "deadlines of a connection"),
    ("listen/h2/stream.rs", "how long a body has stalled"),
    ("listen/h2/time.rs", "deadlines of a connection"),
    ("listen/quic/driver.rs", "what QUIC's deadlines are looked at by"),
    ("origin/connect.rs", "what is left of a deadline once a name has its address"),
    ("origin/h2_driver.rs", "when a connection is looked after"),
    ("origin/h2_link.rs", "how long a connection has been idle"),
    ("origin/h2_pool.rs", "the same; how long an origin's choice of HTTP/1.1 is remembered"),
    ("origin/patience.rs", "deadlines of an exchange and its pieces"),
    ("origin/pool.rs", "how long a connection has been idle"),
    ("origin/race.rs", "when the next address is tried"),
    ("proxy/rehearsal.rs", "`explain` makes an edge of its own, by the clock of the command"),
    ("proxy/lambdas.rs", "the deadline of a call"),
    ("record/queue.rs", "when a log is flushed, tried again and turned"),
    ("region/ask.rs", "how long a parent takes"),
    ("region/mod.rs", "one budget for all parents of a request"),
    ("region/watch.rs", "the pace of a parent's body"),
    ("store/disk/threads.rs", "when to sync, and how long to rest"),
    ("trace/live.rs", "when spans begin and end"),
    ("tier/body.rs", "how long a piece was waited for"),
    ("tier/memcached.rs", "how old a node is whose items end by its uptime"),
    ("tier/mod.rs", "deadlines of what is asked of the tier"),
    ("tier/node.rs", "the breaker's moments"),
    ("tier/redis.rs", "a deadline for what a node says of itself"),
    ("tier/sequence.rs", "deadlines of what the fleet's log is asked, and how long a call is held"),
];

/// Files that read the environment.
const ENVIRONMENT: Reasons = &[
    ("config/credentials.rs", "credentials that a configuration names by variable"),
    ("cli/run.rs", "PATH, where the interpreters of lambdas are looked for"),
    ("supervisor/handover.rs", "names of the sockets that a service manager hands over"),
    ("supervisor/notify.rs", "where a service manager listens, and how often it wants to hear"),
    ("cli/mod.rs", "FORESHORE_CONFIG and FORESHORE_LOG, declared with their options"),
    ("cli/admin_client.rs", "FORESHORE_ADMIN and its token file, declared with their options"),
];

/// Files that begin a task or a thread. What they begin ends by itself or with the process, and is
/// bounded by what stands here.
const TASKS: Reasons = &[
    ("acme/keeper.rs", "four orders at most, and a reload on the blocking pool, awaited"),
    ("acme/proofs.rs", "a command for DNS on the blocking pool, awaited, with an end"),
    ("body/compress.rs", "an encoder on the blocking pool; one piece of a body at a time"),
    ("cli/admin_client.rs", "a command's one connection"),
    ("cli/disk_tier.rs", "one thread that opens the disk, however long that takes"),
    (
        "cli/hand_over.rs",
        "one process that takes this one's place, and what waits for it, at a time",
    ),
    ("cli/cores.rs", "one thread per core, and a task for each of its sockets"),
    ("cli/run.rs", "the operator's side, once each"),
    ("cli/take_over.rs", "one thread that hears the process before, until that is gone"),
    ("control/calls.rs", "what may take long on the blocking pool, awaited"),
    ("control/compiling.rs", "the one thread that compiles while viewers are served"),
    ("control/invalidation.rs", "file work on the blocking pool, awaited"),
    ("control/reload.rs", "file work on the blocking pool, awaited"),
    ("control/s3/refiller.rs", "fetches of changed objects, limited in number"),
    ("control/server.rs", "one task for each admin connection, limited in number"),
    ("control/succession.rs", "a call that changes something, with the place of its connection"),
    ("control/values.rs", "file work on the blocking pool, awaited"),
    ("fleet/keep.rs", "file work and compiling on the blocking pool, awaited"),
    ("fleet/learn.rs", "file work on the blocking pool, awaited"),
    ("fleet/writer.rs", "the log's file work on the blocking pool, one thread at most"),
    ("lambda/mod.rs", "the one thread that keeps all workers"),
    ("lambda/process.rs", "a worker's process; how many there are a pool says"),
    ("lambda/runtime_api.rs", "a look at who connects on the blocking pool, awaited"),
    (
        "lambda/service.rs",
        "one task for each worker, one for each function that watches its code, the end of code in no use",
    ),
    (
        "lambda/worker.rs",
        "one task for each connection and each stream of a worker; the end of its folder, awaited",
    ),
    ("listen/accept.rs", "one task for each connection that has a place"),
    ("listen/h1/file.rs", "a read of a file on the blocking pool, awaited"),
    ("origin/admin_line.rs", "one for each connection to another's admin listener, limited there"),
    ("origin/directory.rs", "a read of a file on the blocking pool, awaited"),
    ("origin/h2_body.rs", "the last frame of a stream all of whose octets have come, for a second"),
    ("origin/h2_pool.rs", "one task for each HTTP/2 connection, which has a place among them"),
    ("origin/lookups.rs", "64 questions to DNS that outlive who asked, half a minute each"),
    ("origin/pool.rs", "one sweep of idle connections for each pool, until it is dropped"),
    (
        "proxy/collapse.rs",
        "what is left of a fill that its viewer drove, with its place among the fills",
    ),
    ("proxy/fetch.rs", "a fill: it outlives its viewer, and has a place among the fills"),
    ("proxy/fill.rs", "the same, for what is to be stored of a fetch for one viewer"),
    ("proxy/refill.rs", "fetches of what was written, limited in number"),
    ("proxy/tiers.rs", "reads from the disk, limited in number"),
    ("proxy/unanswered.rs", "the invalidation of a write whose viewer left"),
    ("record/queue.rs", "one thread that writes all logs"),
    ("region/ask.rs", "one probe of a parent at a time"),
    ("region/checks.rs", "one task for each parent that is checked"),
    ("region/forward.rs", "one forwarder for each parent"),
    ("invalidation/log.rs", "one thread that compacts the log, at most"),
    ("invalidation/service.rs", "the log's file work on the blocking pool, awaited"),
    ("invalidation/sweep.rs", "one sweep at a time"),
    ("store/disk/body.rs", "a read of a file on the blocking pool, awaited"),
    ("store/disk/threads.rs", "the two threads of the disk tier"),
    ("tier/memcached.rs", "two tasks for each connection, and one that discovers nodes"),
    ("tier/mod.rs", "a few tasks that write what waits, one response after the other"),
    ("tier/node.rs", "one connection being made for each place, and one probe at a time"),
    (
        "tier/redis.rs",
        "one driver for each connection, one that watches the topology, and one that asks about memory",
    ),
    ("tier/sequence.rs", "one task that keeps a fleet's log short"),
];

// Exactly the listed files have one of the words in the code that ships.
fn only_in(list: Reasons, words: &[&str]) {
    let mut listed: BTreeSet<&str> = list.iter().map(|(name, _)| *name).collect();
    assert_eq!(listed.len(), list.len(), "a file is listed twice");
    for (name, text) in sources() {
        let code = shipped(&text);
        let found = words.iter().find(|word| has_word(&code, word));
        if let Some(word) = found {
            assert!(listed.remove(name.as_str()), "{name} has {word:?} and is not listed for it");
        }
    }
    assert!(listed.is_empty(), "strike what needs it no longer: {listed:?}");
}

#[test]
fn clocks_are_read_where_a_reason_is_given() {
    only_in(
        CLOCKS,
        &["Instant::now", "SystemTime::now", "Clock::system()", "now_utc", "now_local"],
    );
}

#[test]
fn the_environment_is_read_where_a_reason_is_given() {
    only_in(ENVIRONMENT, &["env::var", "env::var_os", "env::vars", "env::args", "env ="]);
}

#[test]
fn tasks_and_threads_begin_where_a_reason_is_given() {
    only_in(TASKS, &["spawn(", "spawn_blocking(", "spawn_local(", "thread::scope("]);
}

#[test]
fn only_config_reads_toml() {
    for (name, text) in sources()
        .into_iter()
        .filter(|(name, _)| !name.starts_with("config/") && !name.starts_with("cli/"))
    {
        assert!(!has_word(&shipped(&text), "toml::"), "{name}");
    }
}

/// The packages that name ring in Cargo.lock although nothing builds it: as an optional dependency
/// with a weak feature, which the lock cannot tell from one that is used.
const NAME_RING: [&str; 3] = ["hickory-proto", "quinn-proto", "rustls-webpki"];

#[test]
fn what_is_banned_is_not_linked() {
    let rules: toml::Table = toml::from_str(&read(".github/deny.toml")).unwrap();
    let entries = |list: &str| -> Vec<(String, String)> {
        let entries = rules["bans"][list].as_array().expect("a list");
        let word = |entry: &toml::Value, key: &str| entry[key].as_str().unwrap().to_string();
        entries.iter().map(|entry| (word(entry, "crate"), word(entry, "reason"))).collect()
    };
    let banned: Vec<String> = entries("deny").into_iter().map(|(name, _)| name).collect();
    for name in ["openssl", "openssl-sys", "native-tls", "ring"] {
        assert!(banned.iter().any(|banned| banned == name), "{name} is to be banned");
    }
    for (name, reason) in entries("skip") {
        assert!(reason.len() > 10, "{name} stands twice without a reason");
    }
    let lock: toml::Table = toml::from_str(&read("Cargo.lock")).unwrap();
    for package in lock["package"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        assert!(name == "ring" || !banned.iter().any(|banned| banned == name), "{name} is banned");
        let wants = package.get("dependencies").and_then(toml::Value::as_array);
        let wants_ring = wants.into_iter().flatten().any(|wanted| {
            wanted.as_str().is_some_and(|wanted| wanted.split(' ').next() == Some("ring"))
        });
        assert!(!wants_ring || NAME_RING.contains(&name), "{name} brings ring in");
    }
    let built = built();
    for name in &banned {
        assert!(!built.contains(name), "{name} is built");
    }
    assert!(built.contains("rustls"), "cargo tree no longer tells what is built");
}

/// The crates that cargo would build here, by name; without a network.
fn built() -> BTreeSet<String> {
    let told = std::process::Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["tree", "--offline", "--locked", "--edges", "normal,build,dev"])
        .args(["--prefix", "none", "--format", "{p}"])
        .output()
        .expect("cargo is there, it runs this test");
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let told = String::from_utf8(told.stdout).unwrap();
    told.lines().filter_map(|line| line.split(' ').next()).map(str::to_string).collect()
}

/// What stands between single backticks, in order.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

// A path as the papers write it: from the root, or from `src`.
fn source_at(path: &str) -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let beside = [root.join("src").join(path), root.join(path)];
    beside.iter().find_map(|path| std::fs::read_to_string(path).ok())
}

#[test]
fn files_that_papers_name_are_there() {
    for paper in ["src/ARCHITECTURE.md", "src/DECISIONS.md", "tests/README.md", "tests/RULES.md"] {
        let text = read(paper);
        let paths = quoted(&text).filter(|path| {
            path.contains('/') && path.ends_with(".rs") && !path.contains(['*', ' '])
        });
        for path in paths {
            let is_there =
                source_at(path).is_some() || source_at(&format!("tests/{path}")).is_some();
            assert!(is_there, "{paper} names {path}, which is not there");
        }
    }
}

// Looks for each name that a text quotes in the file that it quoted last; says how many there were.
fn assert_names_exist(paper: &str, text: &str) -> usize {
    let is_name = |word: &str| word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let (mut file, mut names) = (None, 0);
    for word in quoted(text) {
        if word.ends_with(".rs") {
            file = source_at(word).map(|text| (word, shipped(&text)));
        } else if let Some((path, code)) = file.as_ref().filter(|_| is_name(word)) {
            let is_function = word.starts_with(|c: char| c.is_ascii_lowercase());
            let wanted = if is_function { format!("fn {word}") } else { word.to_string() };
            assert!(has_word(code, &wanted), "{paper}: {word} is not in {path}");
            names += 1;
        }
    }
    names
}

#[test]
fn the_life_of_a_request_goes_through_functions_that_exist() {
    let map = read("src/ARCHITECTURE.md");
    let life = map.split("\n## ").find(|part| part.starts_with("The life of a request")).unwrap();
    let steps = assert_names_exist("The life of a request", life);
    assert!(steps > 60, "only {steps} steps were looked for");
}

// What viewers may do over HTTP/3: each row names a bound and a test, and each metric is told.
#[test]
fn rows_of_what_viewers_may_do_over_http3_are_proved() {
    let map = read("src/ARCHITECTURE.md");
    let part = map.split("\n### ").find(|part| part.starts_with("What a viewer may do")).unwrap();
    let rows: Vec<Vec<&str>> = part
        .lines()
        .filter_map(|line| line.strip_prefix("| "))
        .map(|line| line.split(" |").map(str::trim).collect())
        .skip(1)
        .collect();
    assert!(rows.len() >= 12, "{rows:?}");
    let mut all = Vec::new();
    for folder in ["src", "tests/suite"] {
        files(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut all);
    }
    let mut code = read("tests/real/http3.py");
    code.extend(all.iter().map(|path| std::fs::read_to_string(path).unwrap()));
    for row in rows {
        assert!(row.len() >= 4 && !row[1].is_empty(), "{row:?} has no bound");
        let tests: Vec<&str> = quoted(row[3]).collect();
        assert!(!tests.is_empty(), "{row:?} has no test");
        for test in tests {
            let is_there =
                ["fn", "def"].iter().any(|word| code.contains(&format!("{word} {test}(")));
            assert!(is_there, "{test} of {row:?} is not there");
        }
        for metric in quoted(row[2]) {
            assert!(code.contains(metric), "{metric} of {row:?} is not told");
        }
    }
}

#[test]
fn rules_name_functions_that_exist() {
    let rules = read("tests/RULES.md");
    let places = rules.lines().filter_map(|line| line.strip_prefix('|')?.split('|').nth(1));
    let names: usize = places.map(|place| assert_names_exist("tests/RULES.md", place)).sum();
    assert!(names > 200, "only {names} names were looked for");
}

#[test]
fn decisions_say_what_they_cost_and_are_there_where_code_cites_them() {
    let decisions = read("src/DECISIONS.md");
    let mut titles = BTreeSet::new();
    for entry in decisions.split("\n### ").skip(1) {
        let (title, text) = entry.split_once('\n').unwrap();
        for part in ["\n2026-", "\n- *Cost:* ", "\n- *Would change if:* "] {
            assert!(text.contains(part), "{title:?} lacks {part:?}");
        }
        assert!(titles.insert(title.replace('`', "")), "{title:?} stands twice");
    }
    let mut cited = 0;
    for (name, text) in sources() {
        // A citation may go over several lines of a comment.
        let words = text.lines().map(|line| line.trim_start().trim_start_matches('/').trim_start());
        let text = words.map(|line| line.trim_start_matches("! ")).collect::<Vec<_>>().join(" ");
        for citation in text.split("src/DECISIONS.md, \"").skip(1) {
            let title = citation.split('"').next().unwrap();
            assert!(titles.contains(title), "{name} cites {title:?}, which is no decision");
            cited += 1;
        }
    }
    assert!(cited >= 8, "only {cited} citations were found");
}

#[test]
fn decisions_are_read_without_scrolling() {
    let decisions = read("src/DECISIONS.md");
    for (at, line) in decisions.lines().enumerate().filter(|(_, line)| !line.starts_with('|')) {
        let columns = line.chars().count();
        assert!(columns <= 160, "src/DECISIONS.md:{}: {columns} columns", at + 1);
    }
}

#[test]
fn what_is_unreleased_is_sorted_by_kind() {
    let changes = read("CHANGELOG.md");
    let all = changes.split("\n## ").find(|part| part.starts_with("Unreleased")).unwrap();
    let mut kinds = all.split("\n### ");
    let unsorted = kinds.next().unwrap();
    assert!(!unsorted.contains("\n- "), "CHANGELOG.md: put this under its kind:\n{unsorted}");
    let mut seen = BTreeSet::new();
    for kind in kinds {
        let (title, entries) = kind.split_once('\n').unwrap();
        assert!(seen.insert(title), "CHANGELOG.md: {title:?} stands twice");
        for entry in entries.split("\n- ").skip(1) {
            assert!(seen.insert(entry.trim()), "CHANGELOG.md: this stands twice:\n{entry}");
        }
    }
}
