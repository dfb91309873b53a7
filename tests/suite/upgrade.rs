//! A new process takes the place of a running edge: what viewers, operators and a service manager
//! see of it, and that one which fails changes nothing.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::support::edge::{certificates, command, plain};
use super::support::origin::{answer, fresh};
use super::support::tool::{self, Tool};
use super::support::viewer::{Seen, request};
use super::support::{Edge, Origin, Say, Viewer, eventually, free_port};

const DISK: &str = "[store.disk]\nsize = \"64MiB\"\n";

/// The body of a purge of what is looked at.
const PURGE: &str = "{\"paths\": [\"/p\"]}";

/// A process that has taken over; killed when dropped.
pub(super) struct Next(Pid);

impl Next {
    fn of(said: &str) -> Self {
        let digits: String = said.chars().filter(char::is_ascii_digit).collect();
        Self(Pid::from_raw(digits.parse().unwrap()).unwrap())
    }
}

impl Drop for Next {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::KILL);
    }
}

// Until then a core that has not heard yet that it is over may accept one connection more, and each
// process has a memory of its own. Upgrades are counted before they are answered; lines of the log
// come here in their own time.
pub(super) fn wait_for_end_of_the_one_before(edge: &Edge) {
    let upgrades = edge.metric("foreshore_upgrades_total") as usize;
    eventually("the process before has ended", || {
        edge.log().matches("the process before has ended").count() == upgrades
    });
}

// What the new process answers, and how often the origin was asked for it, while the one before
// goes on. That may have accepted the connection, and says then that this is the last answer on it.
fn get_of_the_new_one(edge: &Edge, origin: &Origin, path: &str) -> (Seen, usize) {
    let mut got = None;
    eventually("the new process answers", || {
        let before = origin.count();
        let seen = edge.get(path);
        let is_of_the_new_one = seen.field("connection").is_none_or(|word| word != "close");
        got = Some((seen, origin.count() - before));
        is_of_the_new_one
    });
    got.expect("an answer")
}

// Once the process before has ended, where there was one.
pub(super) fn upgrade(edge: &Edge) -> Next {
    wait_for_end_of_the_one_before(edge);
    let (status, said) = edge.admin("POST", "/v1/upgrade", "");
    assert_eq!(status, 200, "{said}\n{}", edge.log());
    Next::of(&said)
}

// How often in a row; more with FORESHORE_UPGRADES.
fn rounds() -> u32 {
    let asked = std::env::var("FORESHORE_UPGRADES").ok();
    asked.map_or(3, |text| text.parse().expect("FORESHORE_UPGRADES is a number"))
}

/// Ends what goes on beside a test, also when that fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

// Asks over and over, each time over a new connection, or over one for as long as it is there;
// gives how often it was answered.
fn ask_on(address: SocketAddr, keeps: bool, is_over: &AtomicBool) -> usize {
    let (mut kept, mut count) = (None, 0);
    while !is_over.load(Ordering::Relaxed) {
        let mut viewer: Viewer = kept.take().unwrap_or_else(|| Viewer::connect(address));
        viewer.send(&request("GET", "/a", &[]));
        let seen = viewer.read("GET").expect("what was asked is answered");
        assert_eq!((seen.status, seen.whole, seen.text().as_str()), (200, true, "x"));
        count += 1;
        let is_last = seen.field("connection").is_some_and(|word| word == "close");
        kept = (keeps && !is_last).then_some(viewer);
        // At a pace that leaves the machine ports of its own.
        std::thread::park_timeout(Duration::from_millis(1));
    }
    count
}

#[test]
fn no_viewer_notices_and_counters_go_on() {
    let origin = Origin::start(|_| fresh(b"x"));
    let mut edge = Edge::before(origin.address, DISK);
    let address = edge.http;
    let is_over = AtomicBool::new(false);
    let mut all = Vec::new();
    let answered: usize = std::thread::scope(|scope| {
        let asking: Vec<_> = [false, true, true]
            .into_iter()
            .map(|keeps| {
                let is_over = &is_over;
                scope.spawn(move || ask_on(address, keeps, is_over))
            })
            .collect();
        let over = Over(&is_over);
        let mut counted = edge.metric("foreshore_requests_total");
        for round in 1..=rounds() {
            all.push(upgrade(&edge));
            let now = edge.metric("foreshore_requests_total");
            assert!(now >= counted, "round {round}: {now} after {counted}");
            counted = now;
            assert_eq!(edge.metric("foreshore_upgrades_total"), f64::from(round));
        }
        drop(over);
        asking.into_iter().map(|one| one.join().expect("no viewer notices")).sum()
    });
    assert!(edge.wait(), "the first process ends in order");
    eventually("all that was answered is counted", || {
        edge.metric("foreshore_requests_total") >= answered as f64
    });
    assert_eq!(edge.metric("foreshore_upgrades_failed_total"), 0.0);
}

/// Upgrades an edge a few times while `/p` is purged over and over; `next` has the origin say another
/// version, and gives it. No answer is older than a purge that was acknowledged. Gives the processes.
pub(super) fn purge_and_look(edge: &Edge, next: impl Fn() -> usize + Sync) -> Vec<Next> {
    let (address, is_over) = (edge.http, AtomicBool::new(false));
    let see = |viewer: &mut Viewer, what: &str| {
        viewer.send(&request("GET", "/p", &[]));
        viewer.read("GET").map(|seen| {
            assert_eq!(seen.status, 200, "{what}: {}", seen.head);
            let is_last = seen.field("connection").is_some_and(|word| word == "close");
            (seen.text().parse::<usize>().unwrap(), is_last)
        })
    };
    let mut all = Vec::new();
    std::thread::scope(|scope| {
        let purging = scope.spawn(|| {
            let (mut kept, mut purges) = (None, 0);
            while !is_over.load(Ordering::Relaxed) {
                let least = next();
                let (status, said) = edge.admin("POST", "/v1/invalidations", PURGE);
                // No process answers on a connection that came too late for the old one.
                if status == 0 {
                    continue;
                }
                assert_eq!(status, 201, "{said}");
                purges += 1;
                let mut viewer = kept.take().unwrap_or_else(|| Viewer::connect(address));
                // One that was idle for longer than a drain leaves it is closed.
                let (seen, is_last) = see(&mut viewer, "kept").unwrap_or_else(|| {
                    viewer = Viewer::connect(address);
                    see(&mut viewer, "anew").expect("an answer")
                });
                assert!(seen >= least, "{seen} after {least} was acknowledged, kept connection");
                kept = (!is_last).then_some(viewer);
                let (seen, _) = see(&mut Viewer::connect(address), "new").expect("an answer");
                assert!(seen >= least, "{seen} after {least} was acknowledged, new connection");
            }
            purges
        });
        let over = Over(&is_over);
        for _ in 0..rounds() {
            all.push(upgrade(edge));
        }
        drop(over);
        assert!(purging.join().expect("no purge is lost") >= 3);
    });
    wait_for_end_of_the_one_before(edge);
    all
}

#[test]
fn a_purge_is_believed_before_during_and_after() {
    let version = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&version);
    let origin = Origin::start(move |_| fresh(told.load(Ordering::SeqCst).to_string().as_bytes()));
    let edge = Edge::before(origin.address, DISK);
    let _all = purge_and_look(&edge, || version.fetch_add(1, Ordering::SeqCst) + 1);
    version.fetch_add(1, Ordering::SeqCst);
    edge.purge(&["/p"]);
    let newest = version.load(Ordering::SeqCst).to_string();
    assert_eq!(edge.get("/p").text(), newest);
    let before = origin.count();
    assert_eq!((edge.get("/p").text(), origin.count()), (newest, before), "and it is kept");
}

// A new process reads the lists of its segments while it serves.
fn wait_for_disk(edge: &Edge) {
    eventually("the disk store is loaded", || {
        edge.admin("GET", "/v1/store", "").1.contains("\"is_loaded\": true")
    });
}

// Blocks until a file is there.
fn wait_for(path: &Path) {
    eventually("the file is there", || path.exists());
}

#[test]
fn what_is_under_way_ends_there_and_its_writes_count_here() {
    let gate = tempfile::tempdir().unwrap();
    let opened = gate.path().join("open");
    let (version, file) = (Arc::new(AtomicUsize::new(1)), opened.clone());
    let told = Arc::clone(&version);
    let origin = Origin::start(move |asked| {
        if asked.method == "POST" {
            wait_for(&file);
            told.store(2, Ordering::SeqCst);
        }
        if asked.target == "/long" {
            let half = vec![b'y'; 100_000];
            let mut said = answer(200, "Cache-Control: no-store", &[half.clone(), half].concat());
            let Some(Say::Bytes(bytes)) = said.pop() else { unreachable!() };
            let (first, second) = bytes.split_at(50_000);
            std::fs::write(file.with_extension("half"), "").unwrap();
            // The second half comes after the upgrade.
            let second = second.to_vec();
            return vec![
                Say::Bytes(first.to_vec()),
                Say::Wait(Duration::from_secs(2)),
                Say::Bytes(second),
            ];
        }
        fresh(told.load(Ordering::SeqCst).to_string().as_bytes())
    });
    // The write is under way for as long as an upgrade takes.
    let config = plain(origin.address, DISK).replace("response = \"3s\"", "response = \"60s\"");
    let mut edge = Edge::start(&(config + "methods = \"all\"\n"));
    assert_eq!(edge.get("/doc").text(), "1");
    let mut writer = edge.viewer();
    writer.send(b"POST /doc HTTP/1.1\r\nHost: h.test\r\nContent-Length: 1\r\n\r\nz");
    let mut reader = edge.viewer();
    reader.send(&request("GET", "/long", &[]));
    wait_for(&opened.with_extension("half"));
    eventually("the origin has the write", || {
        origin.seen().iter().any(|asked| asked.method == "POST")
    });
    let _next = upgrade(&edge);
    wait_for_disk(&edge);
    let (seen, asked) = get_of_the_new_one(&edge, &origin, "/doc");
    assert_eq!((seen.text().as_str(), seen.cache().as_str()), ("1", "Hit"), "found on the disk");
    assert_eq!(asked, 0);
    std::fs::write(&opened, "").unwrap();
    assert_eq!(writer.read("POST").expect("an answer").status, 200);
    let (seen, _) = get_of_the_new_one(&edge, &origin, "/doc");
    assert_eq!(seen.text(), "2", "the write made old what the new process has");
    let seen = reader.read("GET").expect("an answer");
    assert!(seen.whole && seen.body.len() == 200_000, "{}", seen.body.len());
    assert!(edge.wait());
}

// A program that does what a script says, in the place of a new process. Another process writes it:
// what this one has open for writing is for a moment open in each that another test starts too, and
// a program that is open for writing cannot be run.
pub(super) fn impostor(folder: &Path, name: &str, script: &str) -> PathBuf {
    let path = folder.join(name);
    let writes = "printf %s \"$1\" > \"$0\" && chmod 755 \"$0\"";
    let written = Command::new("sh").args(["-c", writes]).arg(&path).arg(script).status();
    assert!(written.unwrap().success(), "{}", path.display());
    path
}

// Nothing has changed: the edge serves what it had, purges, and writes to its disk.
fn goes_on(edge: &Edge, origin: &Origin) {
    let before = origin.count();
    assert_eq!(edge.get("/kept").text(), "x", "{}", edge.log());
    assert_eq!(origin.count(), before, "what was stored is served");
    assert_eq!(edge.purge(&["/kept"])["status"], "Completed");
    assert_eq!(edge.get("/kept").text(), "x");
    assert_eq!(origin.count(), before + 1);
    let (status, said) = edge.admin("POST", "/v1/reload", "");
    assert_eq!(status, 200, "{said}");
}

#[test]
fn a_new_process_that_fails_changes_nothing() {
    let origin = Origin::start(|_| fresh(b"x"));
    let edge = Edge::before(origin.address, DISK);
    let folder = edge.path();
    assert_eq!(edge.get("/kept").text(), "x");
    let hangs = impostor(folder, "hangs", "#!/bin/sh\nexec sleep 600\n");
    let open = impostor(folder, "open", "#!/bin/sh\n");
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
    let open = open.to_str().unwrap();
    let mut failed = 0.0;
    for (binary, words) in [
        ("/bin/false", "ended before it served (exit status: 1)"),
        (hangs.to_str().unwrap(), "did not load its configuration within 1s"),
        ("/nowhere/foreshore", "No such file"),
        ("foreshore", "by its whole path"),
        (open, "nobody else may write to it"),
    ] {
        let wait = if words.ends_with("within 1s") { 1 } else { 15 };
        let body = serde_json::json!({ "binary": binary, "wait": wait }).to_string();
        let (status, said) = edge.admin("POST", "/v1/upgrade", &body);
        assert!(status == 409 && said.contains(words), "{binary}: {status} {said}");
        failed += 1.0;
        assert_eq!(edge.metric("foreshore_upgrades_failed_total"), failed);
        goes_on(&edge, &origin);
    }
    // A configuration with mistakes is told with each of them, and so is one on other data.
    let config = folder.join("edge.toml");
    let good = std::fs::read_to_string(&config).unwrap();
    for (text, words) in [
        ("[lisen]\n".to_string(), "lisen"),
        (good.replace("data = \"data\"", "data = \"elsewhere\""), "that needs a restart"),
    ] {
        std::fs::write(&config, text).unwrap();
        let (status, said) = edge.admin("POST", "/v1/upgrade", "");
        assert!(status == 409 && said.contains(words), "{status} {said}");
    }
    std::fs::write(&config, &good).unwrap();
    goes_on(&edge, &origin);
    let _next = upgrade(&edge);
    wait_for_disk(&edge);
    wait_for_end_of_the_one_before(&edge);
    goes_on(&edge, &origin);
}

/// Speaks as a new process does, up to a step, and is gone or says nothing more.
pub(super) const HALFWAY: &str = r#"#!/usr/bin/env python3
import json, os, socket, struct, sys, time
last, then = "LAST", "THEN"
data = os.path.join(os.path.dirname(sys.argv[sys.argv.index("--config") + 1]), "data")
line = socket.socket(fileno=0)
def say(word):
    octets = json.dumps(word).encode()
    line.sendall(struct.pack(">I", len(octets)) + octets)
def read(length):
    octets = b""
    while len(octets) < length:
        octets += line.recv(length - len(octets)) or sys.exit(3)
    return octets
def hear(step):
    while True:
        word = json.loads(read(struct.unpack(">I", read(4))[0]))
        if word == step or isinstance(word, dict) and step in word:
            return
for word, answer in [({"Hello": {"protocol": 1, "version": "x", "data": data}}, "Sockets"),
                     ("Prepared", "Yours"), ("Opened", "Go")]:
    say(word)
    hear(answer)
    if answer == last:
        break
if then == "hang":
    time.sleep(600)
if then == "fail":
    say({"Failed": {"why": "of my own accord"}})
if then in ("serve", "wait"):
    here = os.path.dirname(data)
    with open(os.path.join(here, "part"), "w") as pid:
        pid.write(str(os.getpid()))
    os.rename(os.path.join(here, "part"), os.path.join(here, "pid"))
    until = time.time() + 8
    while not os.path.exists(os.path.join(here, "told")) and time.time() < until:
        time.sleep(0.01)
    if then == "wait":
        sys.exit(4)
    say("Serving")
    time.sleep(600)
if then == "babble":
    say("Yours")
    time.sleep(600)
"#;

#[test]
fn a_new_process_that_fails_halfway_changes_nothing() {
    if !tool::have(&[Tool::Program("python3")]) {
        return;
    }
    let origin = Origin::start(|_| fresh(b"x"));
    let edge = Edge::before(origin.address, DISK);
    assert_eq!(edge.get("/kept").text(), "x");
    let loads = || edge.log().matches("the disk store is loaded").count();
    // And how often the disk store was loaded by then.
    for (last, then, words, loaded) in [
        ("Sockets", "end", "ended before it served", 1),
        ("Yours", "end", "ended before it served", 2),
        ("Yours", "fail", "of my own accord", 3),
        ("Yours", "babble", "what makes no sense", 4),
        ("Yours", "hang", "did not read the data folder within", 5),
        // Another process may have written there: it is looked at anew.
        ("Go", "end", "ended before it served", 6),
        ("Yours", "end", "ended before it served", 7),
    ] {
        let script = HALFWAY.replace("LAST", last).replace("THEN", then);
        let path = impostor(edge.path(), "halfway", &script);
        let body = serde_json::json!({ "binary": path }).to_string();
        let (status, said) = edge.admin("POST", "/v1/upgrade", &body);
        assert!(status == 409 && said.contains(words), "{last}, {then}: {status} {said}");
        goes_on(&edge, &origin);
        eventually("the disk store is loaded", || loads() >= loaded);
    }
    let log = edge.log();
    assert!(log.contains("the upgrade failed; this process goes on"), "{log}");
    let _next = upgrade(&edge);
    wait_for_disk(&edge);
    wait_for_end_of_the_one_before(&edge);
    // Seven times before, and by the new process.
    eventually("the new process has it", || loads() >= 8);
    assert_eq!(loads(), 8, "{}", edge.log());
    let before = origin.count();
    assert_eq!((edge.get("/kept").text().as_str(), origin.count()), ("x", before), "on the disk");
    goes_on(&edge, &origin);
}

// Whatever the other process may do meanwhile: a purge that comes in a phase is in force when it is
// answered, and where the other might know of more nothing is answered from the store.
#[test]
fn a_purge_in_each_phase_is_believed_where_the_upgrade_fails() {
    if !tool::have(&[Tool::Program("python3")]) {
        return;
    }
    let version = Arc::new(AtomicUsize::new(1));
    let said = Arc::clone(&version);
    let origin = Origin::start(move |_| fresh(said.load(Ordering::SeqCst).to_string().as_bytes()));
    let edge = Edge::before(origin.address, DISK);
    let (pid, told) = (edge.path().join("pid"), edge.path().join("told"));
    let is_now = |version: usize| {
        assert_eq!(edge.get("/p").text(), version.to_string());
    };
    for (round, last) in (1..).zip(["Sockets", "Yours", "Go"]) {
        is_now(round);
        let script = HALFWAY.replace("LAST", last).replace("THEN", "wait");
        let binary = impostor(edge.path(), "waits", &script);
        let body = serde_json::json!({ "binary": binary }).to_string();
        std::thread::scope(|scope| {
            let upgrading = scope.spawn(|| edge.admin("POST", "/v1/upgrade", &body));
            wait_for(&pid);
            version.store(round + 1, Ordering::SeqCst);
            let purging = scope.spawn(|| edge.admin("POST", "/v1/invalidations", PURGE));
            match last {
                "Sockets" => eventually("it is in force at once", || {
                    edge.get("/p").text() == (round + 1).to_string()
                }),
                "Go" => is_now(round + 1),
                _ => {}
            }
            std::fs::write(&told, "").unwrap();
            let (status, said) = upgrading.join().unwrap();
            assert!(status == 409 && said.contains("ended before it served"), "{status} {said}");
            let (status, said) = purging.join().unwrap();
            assert_eq!(status, 201, "{last}: {said}");
        });
        is_now(round + 1);
        std::fs::remove_file(&pid).unwrap();
        std::fs::remove_file(&told).unwrap();
    }
}

/// Looks, while the data folder is its own, whether a key value store comes to be there.
const WATCHES: &str = r#"
    if answer == "Yours":
        here = os.path.dirname(data)
        open(os.path.join(here, "held"), "w").close()
        until = time.time() + 8
        while not os.path.exists(os.path.join(here, "told")) and time.time() < until:
            time.sleep(0.01)
        # An edge that does not hold reloads at once.
        until, late = time.time() + 1, os.path.join(data, "key-value-stores", "late.kv")
        while not os.path.exists(late) and time.time() < until:
            time.sleep(0.01)
        with open(os.path.join(here, "seen"), "w") as seen:
            seen.write("written" if os.path.exists(late) else "nothing")
    if answer == last:
"#;

#[test]
fn a_reload_waits_while_another_process_reads_the_data_folder() {
    if !tool::have(&[Tool::Program("python3")]) {
        return;
    }
    let origin = Origin::start(|_| fresh(b"x"));
    let edge = Edge::before(origin.address, "");
    let folder = edge.path();
    let script = HALFWAY.replace("LAST", "Yours").replace("THEN", "end");
    let script = script.replace("\n    if answer == last:\n", WATCHES);
    assert!(script.contains("late.kv"), "{script}");
    let body = serde_json::json!({ "binary": impostor(folder, "watches", &script) }).to_string();
    std::thread::scope(|scope| {
        let upgrading = scope.spawn(|| edge.admin("POST", "/v1/upgrade", &body));
        wait_for(&folder.join("held"));
        let more = plain(origin.address, "[key_value_store.late]\n");
        std::fs::write(folder.join("edge.toml"), more).unwrap();
        edge.signal(Signal::HUP);
        std::fs::write(folder.join("told"), "").unwrap();
        let (status, said) = upgrading.join().unwrap();
        assert!(status == 409 && said.contains("ended before it served"), "{status} {said}");
    });
    assert_eq!(std::fs::read_to_string(folder.join("seen")).unwrap(), "nothing");
    wait_for(&folder.join("data/key-value-stores/late.kv"));
}

// Whether a process is there no more, but perhaps for someone to wait for it.
fn has_ended(pid: &str) -> bool {
    let stat = format!("/proc/{}/stat", pid.trim());
    std::fs::read_to_string(stat).map_or(true, |stat| stat.contains(") Z "))
}

// Asks for an upgrade, waits until the new process is as far as it writes its number, and has the
// edge told to end; gives that number.
fn told_to_end(edge: &Edge, binary: &Path, then: impl FnOnce()) -> String {
    let pid = edge.path().join("pid");
    let body = serde_json::json!({ "binary": binary, "wait": 600 }).to_string();
    std::thread::scope(|scope| {
        // It may or may not be answered before the edge ends.
        scope.spawn(|| edge.admin("POST", "/v1/upgrade", &body));
        wait_for(&pid);
        edge.signal(Signal::TERM);
        eventually("the edge knows that it is to end", || edge.log().contains("told to end while"));
        then();
    });
    std::fs::read_to_string(&pid).unwrap()
}

#[test]
fn an_edge_that_is_told_to_end_leaves_no_new_process_behind() {
    let origin = Origin::start(|_| fresh(b"x"));
    let mut edge = Edge::before(origin.address, DISK);
    let pid = edge.path().join("pid");
    let script =
        format!("#!/bin/sh\necho $$ > {0}.part\nmv {0}.part {0}\nexec sleep 600\n", pid.display());
    let hangs = impostor(edge.path(), "hangs", &script);
    let pid = told_to_end(&edge, &hangs, || {});
    assert!(edge.wait(), "{}", edge.log());
    assert!(has_ended(&pid), "{}", edge.log());
}

#[test]
fn a_new_process_that_serves_by_then_is_told_to_end_too() {
    if !tool::have(&[Tool::Program("python3")]) {
        return;
    }
    let origin = Origin::start(|_| fresh(b"x"));
    let mut edge = Edge::before(origin.address, DISK);
    let script = HALFWAY.replace("LAST", "Go").replace("THEN", "serve");
    let serves = impostor(edge.path(), "serves", &script);
    let told = edge.path().join("told");
    let pid = told_to_end(&edge, &serves, || std::fs::write(told, "").unwrap());
    assert!(edge.wait(), "{}", edge.log());
    eventually("the new process has ended", || has_ended(&pid));
}

// Those who send slowly have no turn yet, whoever they are.
#[test]
fn callers_that_never_end_their_bodies_hold_up_nobody() {
    let origin = Origin::start(|_| fresh(b"x"));
    let edge = Edge::before(origin.address, "");
    let token = edge.token();
    let slow = |head: &str| {
        let mut caller = Viewer::connect(edge.admin);
        let head = format!("{head}Host: a\r\nContent-Length: 100\r\n\r\n<");
        caller.send(head.as_bytes());
        caller
    };
    let _callers = [
        slow("POST /2020-05-31/distribution/E1/invalidation HTTP/1.1\r\n"),
        slow(&format!("POST /v1/invalidations HTTP/1.1\r\nAuthorization: Bearer {token}\r\n")),
        slow("POST /v1/events/s3 HTTP/1.1\r\nx-amz-sns-message-type: Notification\r\n"),
        slow("POST /v1/edge/invalidations HTTP/1.1\r\n"),
    ];
    let _next = upgrade(&edge);
    assert_eq!(edge.get("/").text(), "x");
}

#[test]
fn what_a_reload_cannot_change_is_in_force_at_the_new_process() {
    let origin = Origin::start(|_| fresh(b"x"));
    let edge = Edge::before(origin.address, "");
    let more: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let config = edge.path().join("edge.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text.replace("workers = 2", "workers = 3");
    let both = format!("http = [\"127.0.0.1:0\", \"{more}\"]");
    std::fs::write(&config, text.replace("http = [\"127.0.0.1:0\"]", &both)).unwrap();
    let _next = upgrade(&edge);
    assert_eq!(Viewer::connect(more).get("/", &[]).status, 200);
    wait_for_end_of_the_one_before(&edge);
    // Two queues and three workers: whoever comes is in one that is served.
    for _ in 0..50 {
        assert_eq!(edge.get("/").text(), "x");
    }
}

#[test]
fn a_service_manager_hears_which_process_is_the_main_one() {
    let origin = Origin::start(|_| fresh(b"x"));
    let folder = Arc::new(tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("edge.toml"), plain(origin.address, "")).unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    let hear = || {
        let mut said = [0; 4096];
        let length = socket.recv(&mut said).expect("the manager hears something");
        String::from_utf8(said[..length].to_vec()).unwrap()
    };
    let environment = [("NOTIFY_SOCKET", path.as_path())];
    let mut edge = Edge::try_start_with(Arc::clone(&folder), &environment).unwrap();
    assert!(hear().starts_with("READY=1\n"));
    // By the signal, as `systemctl kill --signal=SIGUSR2` sends it.
    edge.signal(Signal::USR2);
    let main = std::iter::repeat_with(hear).find(|said| said.starts_with("MAINPID=")).unwrap();
    let next = Next::of(main.lines().next().unwrap());
    assert_ne!(u32::try_from(next.0.as_raw_nonzero().get()).unwrap(), edge.pid());
    assert!(main.contains("READY=1"), "{main}");
    assert!(edge.wait());
    assert_eq!(edge.get("/").text(), "x");
    kill_process(next.0, Signal::TERM).unwrap();
    let said = std::iter::repeat_with(hear).find(|said| !said.starts_with("READY=1")).unwrap();
    assert!(said.starts_with("STOPPING=1\n"), "of the new one, and none of the old: {said}");
}

#[test]
fn the_command_says_what_happened() {
    let origin = Origin::start(|_| fresh(b"x"));
    let edge = Edge::before(origin.address, "");
    let token = edge.path().join("data/admin-token");
    let admin = edge.admin.to_string();
    let run = |more: &[&str]| {
        let mut args =
            vec!["upgrade", "--admin", admin.as_str(), "--token-file", token.to_str().unwrap()];
        args.extend_from_slice(more);
        command(edge.path(), &args)
    };
    let (code, _, said) = run(&["--binary", "/bin/false"]);
    assert!(code == 1 && said.contains("exit status: 1") && said.contains("Nothing has changed"));
    let (code, said, err) = run(&[]);
    assert_eq!(code, 0, "{err}");
    let _next = Next::of(said.split(" serves").next().unwrap());
    assert_eq!(edge.get("/").text(), "x");
}

#[test]
fn tls_sessions_are_resumed_at_the_new_process() {
    if !tool::have(&[tool::OPENSSL]) {
        return;
    }
    let origin = Origin::start(|_| fresh(b"x"));
    let folder = Arc::new(tempfile::tempdir().unwrap());
    certificates(folder.path(), &["h.test"]);
    let own = "[[certificate]]\nchain = \"tls/h.test.pem\"\nkey = \"tls/h.test.key\"\n";
    let config =
        plain(origin.address, own).replace("[listen]\n", "[listen]\nhttps = [\"127.0.0.1:0\"]\n");
    std::fs::write(folder.path().join("edge.toml"), config).unwrap();
    let edge = Edge::start_in(folder);
    let session = edge.path().join("session.pem");
    let file = session.to_str().unwrap();
    let shake = |more: &str| {
        let line = format!(
            "printf 'GET /a HTTP/1.1\\r\\nHost: h.test\\r\\nConnection: close\\r\\n\\r\\n' | openssl s_client -ign_eof -tls1_3 -servername h.test -connect {} {more} {file} 2>&1",
            edge.https.unwrap()
        );
        super::support::tour::shell(edge.path(), &line)
    };
    assert!(shake("-sess_out").contains("New, TLSv1.3"));
    let _next = upgrade(&edge);
    wait_for_end_of_the_one_before(&edge);
    let said = shake("-sess_in");
    assert!(said.contains("Reused, TLSv1.3"), "{said}");
}

#[test]
fn the_lines_of_the_guide_do_what_it_says() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/GUIDE.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let lines = guide.split("```sh upgrade\n").nth(1).and_then(|rest| rest.split("```").next());
    let lines: Vec<&str> = lines.expect("the guide has lines to paste").lines().collect();
    let origin = Origin::start(|_| fresh(b"x"));
    let edge = Edge::before(origin.address, DISK);
    let mut all = Vec::new();
    for line in &lines {
        // A person is slower than a drain.
        wait_for_end_of_the_one_before(&edge);
        let line = format!(
            "export FORESHORE_ADMIN={} FORESHORE_ADMIN_TOKEN_FILE=data/admin-token; {line}; echo code $?",
            edge.admin
        );
        let said = super::support::tour::shell(edge.path(), &line);
        assert!(said.contains("code 0"), "{line}\n{said}");
        if let Some((process, _)) = said.split_once(" serves") {
            all.push(Next::of(process));
        }
        assert_eq!(edge.get("/").text(), "x");
    }
    assert_eq!((lines.len(), all.len()), (4, 2));
}

#[cfg(feature = "http3")]
#[test]
fn http3_goes_on_at_the_new_process_once_the_other_has_ended() {
    use super::support::quic::Quic;
    let origin = Origin::start(|_| fresh(b"x"));
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let (ca, chain, key) = certificates(folder.path(), &["h.test"]);
    let more =
        format!("[limits]\ndrain = \"2s\"\n[[certificate]]\nchain = {chain:?}\nkey = {key:?}\n");
    let spoken = "[listen]\nhttps = [\"127.0.0.1:0\"]\nhttp3 = true\n";
    let config = plain(origin.address, &more).replace("[listen]\n", spoken);
    std::fs::write(folder.path().join("edge.toml"), config).unwrap();
    let mut edge = Edge::start_in(folder);
    let https = edge.https.unwrap();
    let mut viewer = Quic::begin(https, &ca);
    assert_eq!(viewer.get("/a", &[]).status(), "200");
    let _next = upgrade(&edge);
    let mut over_tcp = Viewer::connect_tls(https, "h.test", &ca).unwrap();
    assert_eq!(over_tcp.get("/a", &[]).status, 200, "TCP is there at once");
    assert!(edge.wait());
    eventually("the new process has the sockets", || {
        edge.log().matches("listening on UDP").count() == 2
    });
    assert_eq!(Quic::begin(https, &ca).get("/a", &[]).status(), "200");
}
