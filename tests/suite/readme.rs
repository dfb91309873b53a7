//! The README and what the first run prints, pasted line by line. Docs that lie are bugs.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::support::free_port;
use super::support::tool;
use super::support::tour::{copy, shell};

/// The first run in a folder of its own, on free ports.
struct FirstRun {
    child: Child,
    folder: tempfile::TempDir,
    printed: Vec<String>,
    ports: [(&'static str, u16); 3],
}

impl Drop for FirstRun {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn first_run() -> FirstRun {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    copy(&root.join("config"), &folder.path().join("config"));
    let ports = [("8443", free_port()), ("8080", free_port()), ("9080", free_port())];
    let file = folder.path().join("config/foreshore.toml");
    let mut text = std::fs::read_to_string(&file).unwrap();
    for (usual, port) in ports {
        text = text.replace(&format!(":{usual}"), &format!(":{port}"));
    }
    std::fs::write(&file, text).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_foreshore"))
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut printed = Vec::new();
    while printed.iter().filter(|line: &&String| line.starts_with("  curl")).count() < 6 {
        printed.push(lines.next().expect("the edge prints six lines").unwrap());
    }
    // The access log follows on the same stream; it must not fill the pipe.
    std::thread::spawn(move || lines.for_each(drop));
    FirstRun { child, folder, printed, ports }
}

#[test]
fn what_the_first_run_prints_works_when_pasted() {
    if !tool::have(&[tool::CURL]) {
        return;
    }
    let run = first_run();
    let lines: Vec<&String> =
        run.printed.iter().filter(|line| line.starts_with("  curl")).collect();
    let expected: [&[&str]; 6] = [
        &["200", "Miss from"],
        &["200", "age: ", "Hit from"],
        &["time,height_m", "2026-01-01T00:30,"],
        &["304"],
        &["\"Completed\""],
        &["200", "Miss from"],
    ];
    for (line, expected) in lines.iter().zip(expected) {
        let out = shell(run.folder.path(), line);
        for words in expected {
            assert!(out.contains(words), "{line}\ngave {out}\nwithout {words:?}");
        }
    }
}

#[test]
fn the_readmes_tour_gives_what_it_says() {
    if !tool::have(&[tool::CURL]) {
        return;
    }
    let run = first_run();
    let readme =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let tour = readme
        .split("```sh tour\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .expect("the README has a tour");
    let mut out = String::new();
    let mut compared = 0;
    for line in tour.lines() {
        if let Some(expected) = line.strip_prefix("#> ") {
            assert!(out.contains(expected), "expected {expected:?} in\n{out}");
            compared += 1;
            continue;
        }
        let mut command = line.to_string();
        for (usual, port) in run.ports {
            command = command.replace(&format!(":{usual}"), &format!(":{port}"));
        }
        out = shell(run.folder.path(), &command);
    }
    assert!(compared >= 12, "the tour compares too little");
}

const PAGES: [&str; 4] =
    ["README.md", "config/GUIDE.md", "config/CLOUDFRONT.md", "config/FUNCTIONS.md"];

// The blocks of one language in all pages, with the page each stands in.
fn blocks(language: &str) -> Vec<(&'static str, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = Vec::new();
    for page in PAGES {
        let text = std::fs::read_to_string(root.join(page)).unwrap();
        let fence = format!("```{language}\n");
        let begun = text
            .split(&fence)
            .skip(1)
            .map(|rest| rest.split("```").next().unwrap_or("").to_string());
        all.extend(begun.map(|block| (page, block)));
    }
    all
}

#[test]
fn what_the_pages_configure_loads() {
    let folder = tempfile::tempdir().unwrap();
    let base = super::support::edge::plain("127.0.0.1:1".parse().unwrap(), "");
    let all = blocks("toml");
    assert!(all.len() >= 2, "the pages have lost their examples");
    for (page, block) in all {
        let path = folder.path().join("page.toml");
        std::fs::write(&path, format!("{base}{block}")).unwrap();
        let out = Command::new(env!("CARGO_BIN_EXE_foreshore"))
            .args(["check", "--config", path.to_str().unwrap()])
            .env("FORESHORE_ADMIN_SECRET", "a secret of some length")
            .env("FORESHORE_TICKET_KEY", "0123456789abcdef".repeat(4))
            .env("FORESHORE_EVENTS_TOKEN", "another one")
            .output()
            .unwrap();
        assert!(out.status.success(), "{page}:\n{block}\n{}", String::from_utf8_lossy(&out.stderr));
    }
}

// Whether such a command is there, with such options; what it does has tests of its own.
#[test]
fn what_the_pages_run_can_be_run() {
    let mut tried = 0;
    for (page, block) in blocks("sh") {
        let commands = block
            .lines()
            .flat_map(|line| line.split("&&"))
            .map(str::trim)
            .filter(|line| line.starts_with("foreshore "));
        for command in commands {
            let words: Vec<&str> = command.split_whitespace().skip(1).collect();
            let named: Vec<&str> =
                words.iter().copied().take_while(|word| !word.starts_with('-')).collect();
            let helps = (1..=named.len().min(2)).rev().find_map(|len| {
                let out = Command::new(env!("CARGO_BIN_EXE_foreshore"))
                    .args(&named[..len])
                    .arg("--help")
                    .output()
                    .unwrap();
                out.status.success().then(|| String::from_utf8_lossy(&out.stdout).into_owned())
            });
            let help = helps.unwrap_or_else(|| panic!("{page}: no such command: {command}"));
            for option in words.iter().filter(|word| word.starts_with('-')) {
                assert!(
                    help.contains(option.trim_matches('`')),
                    "{page}: {command}: no {option} in\n{help}"
                );
            }
            tried += 1;
        }
    }
    assert!(tried >= 3, "the pages have lost their commands");
}

#[test]
fn the_guide_knows_every_call() {
    let guide =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/GUIDE.md"))
            .unwrap();
    let table = foreshore::control::routes::table();
    assert!(guide.contains(&table), "config/GUIDE.md is to have this table:\n{table}");
}
