//! The real binary on a disk that fails: what libc says is what a failing disk says
//! (support/failing.c). No viewer sees any of it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use super::disk::is_written_again;
use super::support::origin::{answer, fresh};
use super::support::tool::{self, Tool};
use super::support::{Edge, Origin, eventually};

/// An edge whose disk fails as it is told.
struct Faulty {
    edge: Edge,
    word: PathBuf,
}

// The folder of the edge, the library that makes its disk fail, and the file that says how.
fn faulty_folder(origin: &Origin, memory: &str) -> (Arc<tempfile::TempDir>, PathBuf, PathBuf) {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let settings =
        format!("[store]\nmemory = \"{memory}\"\n[store.disk]\nsize = \"64MiB\"\nscrub = \"0B\"");
    std::fs::write(
        folder.path().join("edge.toml"),
        super::support::edge::plain(origin.address, &settings),
    )
    .unwrap();
    let (library, word) = (folder.path().join("failing.so"), folder.path().join("word"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/support/failing.c");
    let made = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(source)
        .arg("-ldl")
        .status()
        .unwrap();
    assert!(made.success());
    std::fs::write(&word, "nothing").unwrap();
    (folder, library, word)
}

impl Faulty {
    fn start_in(folder: Arc<tempfile::TempDir>, library: &Path, word: PathBuf) -> Self {
        let store = folder.path().join("data/store");
        let environment =
            [("LD_PRELOAD", library), ("FAULT_FOLDER", &*store), ("FAULT_WORD", &*word)];
        let edge = Edge::try_start_with(folder, &environment)
            .unwrap_or_else(|log| panic!("it did not start: {log}"));
        Self { edge, word }
    }

    fn start(origin: &Origin, memory: &str) -> Self {
        let (folder, library, word) = faulty_folder(origin, memory);
        Self::start_in(folder, &library, word)
    }

    fn fails(&self, how: &str) {
        std::fs::write(&self.word, how).unwrap();
    }
}

fn origin() -> Origin {
    Origin::start(|asked| {
        let len = if asked.target.starts_with("/large") { 2_000_000 } else { 3_000 };
        answer(
            200,
            "Cache-Control: max-age=600",
            &asked.target.as_bytes().repeat(len / asked.target.len()),
        )
    })
}

fn is_right(path: &str, seen: &super::support::viewer::Seen) -> bool {
    seen.status == 200
        && !seen.body.is_empty()
        && seen.body.chunks(path.len()).all(|piece| piece == path.as_bytes())
}

// Input and output errors, a full disk, one that has become read-only: written to again once it
// works.
#[test]
fn slow_writes_that_fail_are_nobodys_error() {
    if !tool::have(&[Tool::Program("cc")]) {
        return;
    }
    for how in ["write", "full", "readonly"] {
        let origin = origin();
        let faulty = Faulty::start(&origin, "16MiB");
        let edge = &faulty.edge;
        assert!(is_right("/before", &edge.get("/before")));
        eventually("it is written", || edge.metric("foreshore_disk_objects") >= 1.0);
        faulty.fails(how);
        for at in 0..20 {
            let path = format!("/{}{at}", if at % 5 == 0 { "large" } else { "a" });
            assert!(is_right(&path, &edge.get(&path)), "{how} {path}");
        }
        // All at once: after a few seconds it is tried again.
        eventually("the trouble is seen, told, and left alone", || {
            edge.metric("foreshore_disk_writing") == 0.0
                && edge.metric("foreshore_disk_write_errors_total") > 0.0
                && edge.log().contains("the disk store cannot be written")
        });
        assert!(is_right("/before", &edge.get("/before")), "{how}");
        edge.purge(&["/before"]);
        assert_eq!(
            edge.get("/before").cache(),
            "Miss",
            "{how}: an invalidation needs no disk store to be in effect"
        );
        faulty.fails("nothing");
        is_written_again(edge);
    }
}

// What cannot be read is fetched again, and what is slow is not waited for.
#[test]
fn reads_that_fail_are_misses() {
    if !tool::have(&[Tool::Program("cc")]) {
        return;
    }
    let origin = origin();
    // Hardly anything has room in memory.
    let faulty = Faulty::start(&origin, "1MiB");
    let edge = &faulty.edge;
    let paths: Vec<String> = (0..400).map(|at| format!("/a{at}")).collect();
    paths.iter().for_each(|path| assert_eq!(edge.get(path).cache(), "Miss"));
    eventually("they are written", || {
        edge.metric("foreshore_disk_objects") >= 400.0
            && edge.metric("foreshore_disk_waiting_bytes") == 0.0
    });
    assert_eq!(edge.get("/a0").cache(), "Hit", "from the disk");
    faulty.fails("slow");
    let began = std::time::Instant::now();
    assert!(is_right("/a1", &edge.get("/a1")));
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "waited for a disk");
    assert!(edge.metric("foreshore_disk_slow_total") >= 1.0);
    faulty.fails("read");
    for path in &paths[2..40] {
        let seen = edge.get(path);
        assert!(is_right(path, &seen) && seen.cache() == "Miss", "{path}: {}", seen.head);
    }
    assert!(edge.metric("foreshore_disk_read_errors_total") >= 30.0);
    faulty.fails("nothing");
    assert_eq!(edge.get("/a300").cache(), "Hit", "from the disk again");
}

// A disk that cannot even be opened is served without; what lies there by the time it can be is
// older than what was served.
#[test]
fn an_edge_starts_without_its_disk() {
    if !tool::have(&[Tool::Program("cc")]) {
        return;
    }
    let asked = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let origin = Origin::start(move |_| {
        fresh(format!("{}", count.fetch_add(1, std::sync::atomic::Ordering::Relaxed)).as_bytes())
    });
    let (folder, library, word) = faulty_folder(&origin, "16MiB");
    let faulty = Faulty::start_in(Arc::clone(&folder), &library, word.clone());
    assert_eq!(faulty.edge.get("/a").text(), "0");
    eventually("it is written", || faulty.edge.metric("foreshore_disk_objects") == 1.0);
    faulty.edge.kill();
    std::fs::write(&word, "readonly").unwrap();
    let faulty = Faulty::start_in(Arc::clone(&folder), &library, word.clone());
    assert_eq!(faulty.edge.metric("foreshore_disk_open"), 0.0);
    assert_eq!(
        (faulty.edge.get("/a").text(), faulty.edge.get("/a").cache()),
        ("1".into(), "Hit".into())
    );
    // A restart in between does not make what lies there any newer.
    faulty.edge.kill();
    std::fs::write(&word, "nothing").unwrap();
    let faulty = Faulty::start_in(Arc::clone(&folder), &library, word.clone());
    assert_eq!(
        (faulty.edge.metric("foreshore_disk_open"), faulty.edge.get("/a").text()),
        (1.0, "2".into())
    );
    eventually("it is written", || faulty.edge.metric("foreshore_disk_objects") == 1.0);
    faulty.edge.kill();
    std::fs::write(&word, "readonly").unwrap();
    let faulty = Faulty::start_in(folder, &library, word);
    assert_eq!(faulty.edge.get("/a").text(), "3");
    faulty.fails("nothing");
    eventually("it is opened", || faulty.edge.metric("foreshore_disk_open") == 1.0);
    assert_eq!(faulty.edge.metric("foreshore_disk_objects"), 0.0, "it begins empty");
    assert_eq!(faulty.edge.get("/b").text(), "4");
    eventually("it is written to", || faulty.edge.metric("foreshore_disk_objects") >= 1.0);
}

// A folder that no process could use is a mistake of the settings, and said so.
#[test]
fn a_folder_that_cannot_be_one_is_refused() {
    let origin = origin();
    let (folder, ..) = faulty_folder(&origin, "16MiB");
    std::fs::create_dir(folder.path().join("data")).unwrap();
    std::fs::write(folder.path().join("data/store"), "a file").unwrap();
    let Err(log) = Edge::try_start_with(folder, &[]) else { panic!("it started") };
    assert!(log.contains("the disk store") && log.contains("data/store"), "{log}");
}
