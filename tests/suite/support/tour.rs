//! A page of a sample, pasted line by line beside a running edge, on free ports.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{eventually, free_port};

/// A copy of `config`, what runs in it, and the ports that stand in the place of the usual ones.
pub struct Tour {
    folder: tempfile::TempDir,
    ports: Vec<(u16, u16)>,
    children: Vec<Child>,
}

impl Drop for Tour {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Tour {
    /// A copy of `config`, with free ports in one file of it.
    pub fn new(file: &str, usual: &[u16]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy(&root().join("config"), &folder.path().join("config"));
        let ports = usual.iter().map(|usual| (*usual, free_port())).collect();
        let tour = Self { folder, ports, children: Vec::new() };
        let file = tour.path().join("config").join(file);
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, tour.moved(&text)).unwrap();
        tour
    }

    /// Where commands run.
    pub fn path(&self) -> PathBuf {
        self.folder.path().to_path_buf()
    }

    /// The port in the place of a usual one.
    pub fn port(&self, usual: u16) -> u16 {
        let found = self.ports.iter().find(|(known, _)| *known == usual);
        found.unwrap_or_else(|| panic!("{usual} is none of the ports")).1
    }

    // A text with the free ports.
    fn moved(&self, text: &str) -> String {
        self.ports.iter().fold(text.to_string(), |text, (usual, port)| {
            text.replace(&format!(":{usual}"), &format!(":{port}"))
        })
    }

    /// Starts a program; it is killed with the tour.
    pub fn start(&mut self, program: &str, args: &[&str]) {
        let child = Command::new(program)
            .args(args)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.children.push(child);
    }

    /// Waits until something listens on every port.
    pub fn listens(&self) {
        for (_, port) in &self.ports {
            eventually("the sample listens", || {
                std::net::TcpStream::connect(("127.0.0.1", *port)).is_ok()
            });
        }
    }

    /// Pastes the blocks of a page that begin with this fence; says how much was compared.
    pub fn paste(&self, page: &str, fence: &str) -> usize {
        let page = std::fs::read_to_string(root().join(page)).unwrap();
        let fence = format!("```{fence}\n");
        let tours = page.split(&fence).skip(1).filter_map(|rest| rest.split("```").next());
        let (mut said, mut last, mut compared) = (String::new(), "", 0);
        for line in tours.flat_map(str::lines) {
            if let Some(expected) = line.strip_prefix("#> ") {
                assert!(said.contains(expected), "{last}\nwithout {expected:?} in\n{said}");
                compared += 1;
                continue;
            }
            said = shell(self.folder.path(), &self.moved(line));
            last = line;
        }
        compared
    }
}

/// Pastes a line into a shell that finds the binary; says what it prints.
pub fn shell(folder: &Path, line: &str) -> String {
    let binary = Path::new(env!("CARGO_BIN_EXE_foreshore")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let out = Command::new("bash")
        .arg("-c")
        .arg(line)
        .current_dir(folder)
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Copies a folder with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
