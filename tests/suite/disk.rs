//! The disk tier under the real binary: restarts, kill -9 under load, a limit that holds, a disk
//! that goes away.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::support::edge::{command, try_purge};
use super::support::origin::{answer, fresh};
use super::support::{Dice, Edge, Origin, eventually};

/// Settings of a store with a disk behind it.
fn with_disk(memory: &str, size: &str, more: &str) -> String {
    format!(
        "[store]\nmemory = \"{memory}\"\nmax_object = \"{memory}\"\n[store.disk]\nsize = \"{size}\"\n{more}\n[limits]\nidle = \"30s\""
    )
}

/// The octets of version `version` of a path.
fn body(path: &str, version: u64, len: usize) -> Vec<u8> {
    let seed = path.bytes().fold(version.wrapping_mul(0x9e37_79b9), |sum, b| {
        sum.wrapping_mul(31).wrapping_add(u64::from(b))
    });
    (0..len as u64).map(|at| (seed.wrapping_add(at.wrapping_mul(7)) >> (at % 5)) as u8).collect()
}

/// How long the body of a path is: most are short, some are kept in files of their own.
fn len_of(path: usize) -> usize {
    match path % 10 {
        0 => 1_300_000,
        1..=3 => 40_000,
        _ => 700,
    }
}

fn written(edge: &Edge, least: f64) {
    eventually("what was offered is written", || {
        edge.metric("foreshore_disk_objects") >= least
            && edge.metric("foreshore_disk_waiting_bytes") == 0.0
    });
}

// It serves at once; what lies on the disk is there a moment later.
fn loaded(edge: Edge) -> Edge {
    eventually("the store is loaded", || edge.metric("foreshore_disk_loaded") == 1.0);
    edge
}

#[test]
fn a_restart_finds_everything_again() {
    let origin = Origin::start(|asked| {
        let path: usize = asked.target.trim_start_matches("/k").parse().unwrap();
        answer(
            200,
            &format!("Cache-Control: max-age=600\nETag: \"{path}\""),
            &body(&asked.target, 1, len_of(path)),
        )
    });
    let edge = Edge::before(origin.address, &with_disk("64MiB", "64MiB", ""));
    for path in 0..40 {
        assert_eq!(edge.get(&format!("/k{path}")).cache(), "Miss");
    }
    written(&edge, 40.0);
    let store = edge.path().join("data/store");
    assert_eq!(std::fs::metadata(&store).unwrap().permissions().mode() & 0o777, 0o700);
    for entry in std::fs::read_dir(&store).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    let edge = loaded(Edge::start_in(edge.kill()));
    for path in 0..40 {
        let (name, len) = (format!("/k{path}"), len_of(path));
        let whole = body(&name, 1, len);
        let seen = edge.get(&name);
        assert_eq!(
            (seen.cache(), seen.body == whole, seen.field("etag")),
            ("Hit".into(), true, Some(format!("\"{path}\""))),
            "{name}"
        );
        let part = edge.get_with(&name, &[&format!("Range: bytes={}-", len - 100)]);
        assert_eq!(
            (part.status, part.body == whole[len - 100..], part.cache()),
            (206, true, "Hit".into()),
            "{name}"
        );
        // A large one was read through by now; from here on the kernel sends it.
        assert!(edge.get(&name).body == whole, "{name}");
        assert_eq!(edge.get_with(&name, &[&format!("If-None-Match: \"{path}\"")]).status, 304);
    }
    assert_eq!(origin.count(), 40, "nothing was asked for twice");
    // An orderly end loses nothing either.
    edge.signal(rustix::process::Signal::TERM);
    let mut edge = edge;
    assert!(edge.wait());
    let edge = loaded(Edge::start_in(Arc::clone(&edge.folder)));
    assert_eq!(edge.get("/k7").cache(), "Hit");
}

#[test]
fn what_was_invalidated_does_not_come_back() {
    let origin = Origin::start(|asked| match (asked.method.as_str(), asked.target.as_str()) {
        ("POST", _) => answer(204, "", b""),
        (_, target) => answer(200, "Cache-Control: max-age=600\nCache-Tag: all", target.as_bytes()),
    });
    let config = super::support::edge::plain(origin.address, &with_disk("64MiB", "64MiB", ""))
        + "methods = \"all\"\n";
    let edge = Edge::start(&config);
    let paths = ["/path", "/prefix/a", "/written", "/kept"];
    paths.iter().for_each(|path| drop(edge.get(path)));
    written(&edge, 4.0);
    edge.purge(&["/path", "/prefix/*"]);
    let mut viewer = edge.viewer();
    viewer.send(b"POST /written HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(viewer.read("POST").unwrap().status, 204);
    let edge = loaded(Edge::start_in(edge.kill()));
    let seen: Vec<String> = paths.iter().map(|path| edge.get(path).cache()).collect();
    assert_eq!(seen, ["Miss", "Miss", "Miss", "Hit"]);
    // What is dead gives its room back without being asked for.
    edge.purge(&["/*"]);
    eventually("the dead are gone", || {
        edge.metric("foreshore_disk_objects") == 0.0 && edge.metric("foreshore_disk_bytes") < 4096.0
    });
}

#[test]
fn the_limit_holds_and_what_is_used_stays() {
    let origin = Origin::start(|asked| fresh(&body(&asked.target, 1, 30_000)));
    let edge = Edge::before(origin.address, &with_disk("2MiB", "16MiB", ""));
    let store = edge.path().join("data/store");
    let octets = || -> u64 {
        let files =
            std::fs::read_dir(&store).unwrap().filter_map(|entry| entry.ok()?.metadata().ok());
        files.map(|file| file.len()).sum()
    };
    for path in 0..1500 {
        edge.get(&format!("/f{path}"));
        if path % 20 == 0 {
            edge.get("/f0");
            assert!(octets() <= (16 << 20) + 100, "{} octets", octets());
        }
    }
    written(&edge, 100.0);
    assert!(octets() > 8 << 20, "room was left unused: {}", octets());
    assert!(edge.metric("foreshore_disk_evictions_total") > 500.0);
    let edge = loaded(Edge::start_in(edge.kill()));
    assert_eq!(edge.get("/f0").cache(), "Hit", "it was used all along");
    assert_eq!(edge.get("/f3").cache(), "Miss", "it was used once, long ago");
}

#[test]
fn a_disk_that_goes_away_and_comes_back_is_nobodys_error() {
    let origin = Origin::start(|asked| fresh(&body(&asked.target, 1, 3_000_000)));
    let edge = Edge::before(origin.address, &with_disk("4MiB", "64MiB", ""));
    let (store, aside) = (edge.path().join("data/store"), edge.path().join("data/aside"));
    assert_eq!(edge.get("/a").cache(), "Miss");
    written(&edge, 1.0);
    std::fs::rename(&store, &aside).unwrap();
    for path in ["/b", "/c", "/d", "/a"] {
        let seen = edge.get(path);
        assert!(
            seen.status == 200 && seen.body == body(path, 1, 3_000_000),
            "{path}: {}",
            seen.status
        );
    }
    // All at once: after a few seconds it is tried again.
    eventually("the trouble is seen, told, and left alone", || {
        edge.metric("foreshore_disk_write_errors_total") > 0.0
            && edge.metric("foreshore_disk_writing") == 0.0
            && edge.log().contains("cannot be written")
    });
    std::fs::rename(&aside, &store).unwrap();
    is_written_again(&edge);
}

/// Waits until a disk that was left alone is written to; no viewer waits with us.
pub fn is_written_again(edge: &Edge) {
    let (before, mut at) = (edge.metric("foreshore_disk_writes_total"), 0);
    eventually("it is written to again", || {
        at += 1;
        assert_eq!(edge.get(&format!("/again{at}")).status, 200);
        edge.metric("foreshore_disk_writes_total") > before
    });
}

#[test]
fn under_a_key_nothing_can_be_read_without_it() {
    let origin = Origin::start(|_| {
        answer(
            200,
            "Cache-Control: max-age=600\nX-Mark: MARKED-HEAD",
            &b"MARKED-BODY ".repeat(1000),
        )
    });
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let config = super::support::edge::plain(
        origin.address,
        &with_disk("64MiB", "64MiB", "key = { file = \"key\" }"),
    );
    std::fs::write(folder.path().join("edge.toml"), config).unwrap();
    std::fs::write(folder.path().join("key"), "correct horse").unwrap();
    let edge = Edge::start_in(folder);
    assert_eq!(edge.get("/a").cache(), "Miss");
    written(&edge, 1.0);
    let folder = edge.kill();
    let all: Vec<u8> = std::fs::read_dir(folder.path().join("data/store"))
        .unwrap()
        .flat_map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
        .collect();
    assert!(
        all.len() > 12_000 && !all.windows(6).any(|octets| octets == b"MARKED"),
        "something lies there in clear"
    );
    let edge = loaded(Edge::start_in(folder));
    let seen = edge.get("/a");
    assert_eq!(
        (seen.cache(), seen.body.len(), seen.field("x-mark")),
        ("Hit".into(), 12_000, Some("MARKED-HEAD".into()))
    );
    let folder = edge.kill();
    std::fs::write(folder.path().join("key"), "another horse").unwrap();
    let edge = Edge::start_in(folder);
    assert_eq!(edge.get("/a").cache(), "Miss");
    assert!(
        edge.log().contains("written under another key") && !edge.log().contains("horse"),
        "{}",
        edge.log()
    );
}

#[test]
fn slow_slices_of_a_large_object_come_from_the_disk_with_little_memory() {
    let whole = Arc::new(body("/large", 1, 24 << 20));
    let told = Arc::clone(&whole);
    let origin = Origin::start(move |asked| {
        let whole = &told;
        let range = asked.field("range").unwrap_or_default();
        let (start, end) = range.trim_start_matches("bytes=").split_once('-').unwrap_or(("0", ""));
        let start: usize = start.parse().unwrap_or(0);
        let end = end.parse::<usize>().map_or(whole.len(), |end| (end + 1).min(whole.len()));
        let fields = format!(
            "Cache-Control: max-age=600\nETag: \"v\"\nContent-Range: bytes {start}-{}/{}",
            end - 1,
            whole.len()
        );
        answer(206, &fields, &whole[start..end])
    });
    let config = super::support::edge::plain(origin.address, &with_disk("8MiB", "64MiB", ""))
        + "slice = \"1MiB\"\n";
    let edge = Edge::start(&config);
    assert!(edge.get("/large").body == *whole);
    let asked = origin.count();
    assert!((24..=26).contains(&asked), "{asked}");
    written(&edge, 24.0);
    let edge = loaded(Edge::start_in(edge.kill()));
    assert!(edge.get("/large").body == *whole);
    let part = edge.get_with("/large", &["Range: bytes=10000000-12000000"]);
    assert!(part.status == 206 && part.body == whole[10_000_000..=12_000_000]);
    assert_eq!(origin.count(), asked, "everything came from the disk");
    assert!(edge.metric("foreshore_store_bytes") <= (8 << 20) as f64);
}

/// One GET that may fail: version and whether the body is what that version says.
fn try_get(address: SocketAddr, path: &str, len: usize) -> Option<(u64, bool, bool)> {
    let mut tcp = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
    tcp.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    tcp.write_all(
        format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").as_bytes(),
    )
    .ok()?;
    let mut all = Vec::new();
    tcp.read_to_end(&mut all).ok()?;
    let at = all.windows(4).position(|octets| octets == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&all[..at]).into_owned();
    if !head.starts_with("HTTP/1.1 200") || all.len() - at != len {
        return None;
    }
    let version = head.lines().find_map(|line| line.strip_prefix("X-Version: "))?.parse().ok()?;
    Some((version, all[at..] == body(path, version, len), head.contains("X-Cache: Hit")))
}

const ROUNDS: u64 = 100;
const PATHS: usize = 40;

// Viewers read, an operator invalidates, the edge is killed in the middle of it; again and again on
// one folder. Every viewer gets whole bodies, and none older than the last acknowledged
// invalidation of its path.
#[test]
fn slow_kill_9_under_load_leaves_whole_bodies_and_no_old_ones() {
    let seed = std::env::var("CRASH_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("seed {seed}; another with CRASH_SEED");
    let current: Arc<Vec<AtomicU64>> = Arc::new((0..PATHS).map(|_| AtomicU64::new(1)).collect());
    let floors: Arc<Vec<AtomicU64>> = Arc::new((0..PATHS).map(|_| AtomicU64::new(0)).collect());
    let at_origin = Arc::clone(&current);
    let origin = Origin::start(move |asked| {
        let path: usize = asked.target.trim_start_matches("/k").parse().unwrap();
        let version = at_origin[path].load(Ordering::SeqCst);
        answer(
            200,
            &format!("Cache-Control: max-age=600\nX-Version: {version}"),
            &body(&asked.target, version, len_of(path)),
        )
    });
    // Less memory than there is content, and little disk: both evict all the time.
    let mut edge = Edge::before(origin.address, &with_disk("3MiB", "24MiB", "scrub = \"64MiB\""));
    let (mut reads, mut hits_after) = (0, 0);
    for round in 0..ROUNDS {
        let stop = Arc::new(AtomicBool::new(false));
        let read = Arc::new(AtomicU64::new(0));
        let (http, admin, token) = (edge.http, edge.admin, edge.token());
        let mut threads = Vec::new();
        for thread in 0..2 {
            let (stop, floors) = (Arc::clone(&stop), Arc::clone(&floors));
            let read = Arc::clone(&read);
            threads.push(std::thread::spawn(move || {
                let mut dice = Dice::new(seed + round, thread);
                while !stop.load(Ordering::Relaxed) {
                    let path = dice.roll(PATHS as u64) as usize;
                    let least = floors[path].load(Ordering::SeqCst);
                    let Some((version, is_right, _)) = try_get(http, &format!("/k{path}"), len_of(path)) else { continue };
                    assert!(is_right, "seed {seed}, round {round}: wrong octets under /k{path}, version {version}");
                    assert!(version >= least, "seed {seed}, round {round}: /k{path} gave {version} after {least} was acknowledged");
                    read.fetch_add(1, Ordering::SeqCst);
                }
            }));
        }
        let (purging, floors_too, current_too) =
            (Arc::clone(&stop), Arc::clone(&floors), Arc::clone(&current));
        threads.push(std::thread::spawn(move || {
            let mut dice = Dice::new(seed + round, 9);
            while !purging.load(Ordering::Relaxed) {
                let path = dice.roll(PATHS as u64) as usize;
                let version = current_too[path].fetch_add(1, Ordering::SeqCst) + 1;
                if try_purge(admin, &token, &format!("/k{path}")).is_some() {
                    floors_too[path].fetch_max(version, Ordering::SeqCst);
                }
                std::thread::park_timeout(Duration::from_millis(3));
            }
        }));
        // Somewhere in the middle, at another place each round, however long the middle takes to come.
        eventually("viewers read", || read.load(Ordering::SeqCst) > 10);
        std::thread::park_timeout(Duration::from_millis(30 + Dice::new(seed + round, 5).roll(90)));
        let folder = edge.kill();
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        reads += read.load(Ordering::SeqCst);
        edge = Edge::start_in(folder);
        // All of it, every few rounds: what is there now is what the next round begins with.
        for path in (0..PATHS).skip((round % 4) as usize).step_by(4) {
            let (name, least) = (format!("/k{path}"), floors[path].load(Ordering::SeqCst));
            let (version, is_right, is_hit) = try_get(edge.http, &name, len_of(path))
                .unwrap_or_else(|| panic!("no answer for {name}"));
            assert!(
                is_right,
                "seed {seed}, round {round}: wrong octets under {name}, version {version}, after the restart"
            );
            assert!(
                version >= least,
                "seed {seed}, round {round}: {name} gave {version} after {least}, after the restart"
            );
            hits_after += u64::from(is_hit);
        }
    }
    assert!(
        reads > ROUNDS * 10 && hits_after > ROUNDS,
        "{reads} reads, {hits_after} hits after restarts"
    );
    assert_eq!(edge.metric("foreshore_disk_corrupt_total"), 0.0);
}

#[test]
fn the_operator_sees_checks_and_removes() {
    let origin = Origin::start(|asked| {
        let tag = if asked.target.contains("7") { "seven" } else { "other" };
        answer(
            200,
            &format!("Cache-Control: max-age=600\nCache-Tag: {tag}"),
            &body(&asked.target, 1, 5_000),
        )
    });
    let edge = Edge::before(origin.address, &with_disk("64MiB", "64MiB", ""));
    for path in 0..30 {
        edge.get(&format!("/p/{path}"));
    }
    written(&edge, 30.0);
    let folder = edge.path().to_path_buf();
    let store = |args: &[&str]| {
        let mut all = vec!["store"];
        all.extend(args);
        all.extend(["--config", "edge.toml"]);
        command(&folder, &all)
    };
    let admin = format!("http://{}", edge.admin);
    // Of a running edge, which has its files locked.
    let (code, out, err) = store(&["stat", "--admin", &admin]);
    assert!(code == 0 && out.contains("30 responses"), "{code} {out} {err}");
    let (code, out, err) = store(&["ls", "--prefix", "/p/1", "--admin", &admin]);
    assert!(code == 0 && out.lines().count() == 11 && out.contains("/p/19"), "{code} {out} {err}");
    let (status, dry) =
        edge.admin("POST", "/v1/invalidations", "{\"paths\":[\"/p/1*\"],\"dry_run\":true}");
    assert!(
        status == 200 && dry.contains("\"covered\": 11"),
        "each counts once, wherever it lies: {dry}"
    );
    let (code, out, err) = store(&["verify", "--admin", &admin]);
    assert!(code == 0 && out.contains("30 whole, 0 damaged"), "{code} {out} {err}");
    let (code, _, err) = store(&["stat"]);
    assert!(
        code != 0 && err.contains("--admin"),
        "a running edge is not asked behind its back: {err}"
    );
    let _kept = edge.kill();
    // Offline, on the files.
    let (code, out, err) = store(&["stat"]);
    assert!(code == 0 && out.contains("30 responses"), "{code} {out} {err}");
    let (code, out, err) = store(&["ls", "--tag", "seven"]);
    assert!(code == 0 && out.lines().count() == 3, "{code} {out} {err}");
    let (code, out, err) = store(&["rm", "--prefix", "/p/2"]);
    assert!(code == 0 && out.contains("11 removed"), "{code} {out} {err}");
    let (_, out, _) = store(&["stat"]);
    assert!(out.contains("19 responses"), "{out}");
    let segment =
        std::fs::read_dir(folder.join("data/store")).unwrap().map(|entry| entry.unwrap().path());
    let segment = segment
        .filter(|path| path.extension().is_some_and(|is| is == "seg"))
        .max_by_key(|path| path.metadata().unwrap().len())
        .unwrap();
    let mut octets = std::fs::read(&segment).unwrap();
    octets[3_000] ^= 1;
    std::fs::write(&segment, octets).unwrap();
    let (code, out, _) = store(&["verify"]);
    assert!(code == 1 && out.contains("18 whole, 1 damaged"), "{code} {out}");
}
