//! The Redis Cluster, the edges and the parent of `config/tier`, as their one command starts them, on
//! free ports.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::support::tool::{self, Tool};
use super::support::{eventually, free_port};
use super::tier::REDIS;

/// The ports as the samples have them: of the nodes, for viewers, for operators.
const PORTS: [u16; 15] =
    [7630, 7631, 7632, 7633, 7634, 7635, 8660, 8663, 8671, 8672, 8673, 9660, 9671, 9672, 9673];

struct Sample {
    script: Child,
    folder: tempfile::TempDir,
    /// What it prints to be pasted.
    lines: Vec<String>,
    ports: Vec<u16>,
}

impl Drop for Sample {
    // Only a signal that it hears has it end its children.
    fn drop(&mut self) {
        if matches!(self.script.try_wait(), Ok(None)) {
            self.end();
        }
    }
}

fn copy(from: &Path, to: &Path, change: &dyn Fn(String) -> String) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target, change);
        } else if to.ends_with("config/tier") {
            std::fs::write(target, change(std::fs::read_to_string(path).unwrap())).unwrap();
        } else {
            std::fs::copy(path, target).unwrap();
        }
    }
}

impl Sample {
    fn start() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = tempfile::tempdir().unwrap();
        let ports: Vec<u16> = PORTS.iter().map(|_| free_port()).collect();
        let change = |text: String| {
            let one = |text: String, (usual, port): (&u16, &u16)| {
                text.replace(&usual.to_string(), &port.to_string())
            };
            PORTS.iter().zip(&ports).fold(text, one)
        };
        copy(&root.join("config"), &folder.path().join("config"), &change);
        let said = std::fs::File::create(folder.path().join("said")).unwrap();
        let mut script = Command::new("bash")
            .arg(folder.path().join("config/tier/start"))
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
        let sample = Self { script, folder, lines, ports };
        let said = std::fs::read_to_string(sample.folder.path().join("said")).unwrap();
        assert_eq!(sample.lines.len(), 6, "it printed {:?}, and\n{said}", sample.lines);
        sample
    }

    fn end(&mut self) -> Option<i32> {
        let id = rustix::process::Pid::from_child(&self.script);
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        self.script.wait().ok().and_then(|status| status.code())
    }

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
fn slow_one_command_starts_a_cluster_and_all_that_share_it() {
    if !tool::have(&[tool::CURL, REDIS, Tool::Program("redis-cli")]) {
        return;
    }
    let mut sample = Sample::start();
    sample.expect(&sample.lines[0], &["200", "Foreshore-tier; fwd=uri-miss"]);
    eventually("another edge takes it from the cluster, or has it by now", || {
        let out = sample.paste(&sample.lines[1]);
        out.contains("Foreshore-tier; hit") || out.contains("Foreshore; hit")
    });
    sample.expect(&sample.lines[2], &["200"]);
    sample.expect(&sample.lines[3], &["in effect everywhere"]);
    sample.expect(&sample.lines[4], &["demo-tier", "edge-3", "applied"]);
    sample.expect(&sample.lines[5], &["\"breaker\": \"closed\""]);
    assert_eq!(sample.end(), Some(143));
    for port in sample.ports.clone() {
        eventually("each of them is gone", || TcpStream::connect(("127.0.0.1", port)).is_err());
    }
}
