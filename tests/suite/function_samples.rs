//! The sample of code at the edge, pasted line by line as `config/FUNCTIONS.md` has it.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::support::tool;
use super::support::{eventually, free_port};

/// A running edge of the sample; killed when dropped.
struct Sample(Child);

impl Drop for Sample {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn copy(from: &Path, to: &Path) {
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

fn paste(folder: &Path, line: &str) -> String {
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

#[test]
fn the_samples_of_functions_do_what_their_page_says() {
    if !tool::have(&[tool::CURL]) {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    copy(&root.join("config"), &folder.path().join("config"));
    let ports = [("8080", free_port()), ("9080", free_port())];
    let moved = |text: &str| {
        let port = |text: String, (usual, port): &(&str, u16)| {
            text.replace(&format!(":{usual}"), &format!(":{port}"))
        };
        ports.iter().fold(text.to_string(), port)
    };
    let file = folder.path().join("config/functions.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, moved(&text)).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_foreshore"))
        .args(["run", "--quiet", "--config", "config/functions.toml"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _sample = Sample(child);
    for (_, port) in ports {
        eventually("the sample listens", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
    }
    let page = std::fs::read_to_string(root.join("config/FUNCTIONS.md")).unwrap();
    let tours = page.split("```sh tour\n").skip(1).filter_map(|rest| rest.split("```").next());
    let (mut said, mut last, mut compared) = (String::new(), "", 0);
    for line in tours.flat_map(str::lines) {
        if let Some(expected) = line.strip_prefix("#> ") {
            assert!(said.contains(expected), "{last}\nwithout {expected:?} in\n{said}");
            compared += 1;
            continue;
        }
        said = paste(folder.path(), &moved(line));
        last = line;
    }
    assert!(compared >= 20, "the page compares too little");
}
