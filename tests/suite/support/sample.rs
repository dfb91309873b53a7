//! Samples of several processes, as their one command starts them, on free ports.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::free_port;

/// A folder below `config` whose `start` runs, and what it printed to be pasted.
pub struct Sample {
    script: Child,
    pub folder: tempfile::TempDir,
    pub lines: Vec<String>,
    /// The free ports, in the order of the usual ones.
    pub ports: Vec<u16>,
}

impl Drop for Sample {
    // Only a signal that it hears has it end its children.
    fn drop(&mut self) {
        if matches!(self.script.try_wait(), Ok(None)) {
            self.end();
        }
    }
}

impl Sample {
    /// Starts `config/NAME/start`, with other ports in the place of these.
    pub fn start(name: &str, usual: &[u16]) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = tempfile::tempdir().unwrap();
        let ports: Vec<u16> = usual.iter().map(|_| free_port()).collect();
        let change = |text: String| {
            usual.iter().zip(&ports).fold(text, |text, (from, to)| with_number(&text, *from, *to))
        };
        copy(&root.join("config"), &folder.path().join("config"), name, &change);
        let said = std::fs::File::create(folder.path().join("said")).unwrap();
        let mut script = Command::new("bash")
            .arg(folder.path().join(format!("config/{name}/start")))
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

    /// Ends it as Ctrl-C does, and gives its exit code back.
    pub fn end(&mut self) -> Option<i32> {
        let id = rustix::process::Pid::from_child(&self.script);
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        self.script.wait().ok().and_then(|status| status.code())
    }

    /// What a line that is pasted into a shell prints.
    pub fn paste(&self, line: &str) -> String {
        let out = Command::new("bash")
            .args(["-c", line])
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
    }

    pub fn expect(&self, line: &str, expected: &[&str]) {
        let out = self.paste(line);
        for words in expected {
            assert!(out.contains(words), "{line}\ngave {out}\nwithout {words:?}");
        }
    }
}

// A text with one number in the place of another, where it is a number of its own.
fn with_number(text: &str, from: u16, to: u16) -> String {
    let (from, to) = (from.to_string(), to.to_string());
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(&from) {
        let (before, after) = (&rest[..at], &rest[at + from.len()..]);
        out += before;
        let is_digit = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_digit());
        let is_part = is_digit(out.bytes().last()) || is_digit(after.bytes().next());
        out += if is_part { from.as_str() } else { to.as_str() };
        rest = after;
    }
    out + rest
}

fn copy(from: &Path, to: &Path, changed: &str, change: &dyn Fn(String) -> String) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target, changed, change);
        } else if to.ends_with(changed) {
            std::fs::write(target, change(std::fs::read_to_string(path).unwrap())).unwrap();
        } else {
            std::fs::copy(path, target).unwrap();
        }
    }
}
