//! The fleet of `config/fleet`, as its one command starts it, on free ports.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::support::{eventually, free_port, tool};

/// The ports as the samples have them: for viewers, then for operators.
const VIEWERS: [u16; 5] = [8640, 8643, 8651, 8652, 8653];
const OPERATORS: [u16; 4] = [9640, 9651, 9652, 9653];

struct Fleet {
    script: Child,
    folder: tempfile::TempDir,
    /// What it prints to be pasted.
    lines: Vec<String>,
    operators: Vec<u16>,
}

impl Drop for Fleet {
    // Only a signal that it hears has it end its children.
    fn drop(&mut self) {
        if !matches!(self.script.try_wait(), Ok(None)) {
            return;
        }
        let id = rustix::process::Pid::from_child(&self.script);
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        let _ = self.script.wait();
    }
}

fn copy(from: &Path, to: &Path, change: &dyn Fn(String) -> String) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target, change);
        } else if to.ends_with("fleet") {
            std::fs::write(target, change(std::fs::read_to_string(path).unwrap())).unwrap();
        } else {
            std::fs::copy(path, target).unwrap();
        }
    }
}

fn start() -> Fleet {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let ports: Vec<(u16, u16)> =
        VIEWERS.into_iter().chain(OPERATORS).map(|usual| (usual, free_port())).collect();
    let change = |text: String| {
        let one = |text: String, (usual, port): &(u16, u16)| {
            text.replace(&format!(":{usual}"), &format!(":{port}"))
        };
        ports.iter().fold(text, one)
    };
    copy(&root.join("config"), &folder.path().join("config"), &change);
    let said = std::fs::File::create(folder.path().join("said")).unwrap();
    let mut script = Command::new("bash")
        .arg(folder.path().join("config/fleet/start"))
        .arg(env!("CARGO_BIN_EXE_foreshore"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(said)
        .spawn()
        .unwrap();
    let out = BufReader::new(script.stdout.take().unwrap());
    let mut lines: Vec<String> = Vec::new();
    for line in out.lines().map(Result::unwrap) {
        if line.contains("Ctrl-C") {
            break;
        }
        lines.extend(line.strip_prefix("  ").map(str::to_string));
    }
    let operators = ports[VIEWERS.len()..].iter().map(|(_, port)| *port).collect();
    let fleet = Fleet { script, folder, lines, operators };
    let said = || std::fs::read_to_string(fleet.folder.path().join("said")).unwrap();
    assert_eq!(fleet.lines.len(), 6, "it printed {:?}, and\n{}", fleet.lines, said());
    fleet
}

impl Fleet {
    fn paste(&self, line: &str) -> String {
        let out = Command::new("bash")
            .args(["-c", line])
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
    }

    fn expect(&self, line: &str, expected: &[&str]) {
        let out = self.paste(line);
        for words in expected {
            assert!(out.contains(words), "{line}\ngave {out}\nwithout {words:?}");
        }
    }
}

#[test]
fn one_command_starts_it_and_ends_it() {
    if !tool::have(&[tool::CURL]) {
        return;
    }
    let mut fleet = start();
    fleet.expect(&fleet.lines[0], &["200", "fwd=uri-miss"]);
    // The parent, whose name has its node's id, has a lease, so it answers from its store.
    for line in &fleet.lines[1..3] {
        fleet.expect(line, &["200", "Foreshore-", "; hit; ttl=", "Foreshore; fwd=uri-miss"]);
    }
    fleet.expect(&fleet.lines[3], &["in effect everywhere"]);
    fleet.expect(&fleet.lines[5], &["\"Completed\""]);
    let id = rustix::process::Pid::from_child(&fleet.script);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    assert_eq!(fleet.script.wait().unwrap().code(), Some(143));
    for port in fleet.operators.clone() {
        eventually("each of them is gone", || TcpStream::connect(("127.0.0.1", port)).is_err());
    }
}

#[test]
fn every_member_is_shown_and_answers_for_a_purge() {
    if !tool::have(&[tool::CURL]) {
        return;
    }
    let fleet = start();
    let all = ["parent", "edge-1", "edge-2", "edge-3"];
    fleet.expect(&fleet.lines[4], &[&all[..], &["demo", "availability", "applied"]].concat());
    fleet.expect(
        &fleet.lines[3],
        &all.map(|name| format!("edge {name}  applied")).each_ref().map(String::as_str),
    );
    fleet.expect(
        &fleet.lines[5],
        &all.map(|name| format!("\"{name}\"")).each_ref().map(String::as_str),
    );
}
