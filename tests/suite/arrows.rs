//! Who may know whom: every `use` in `src` is held against the floors that `src/ARCHITECTURE.md`
//! draws, and nothing goes up.
//!
//! Code behind the first `#[cfg(test)] mod tests` of a file is not held to it: tests may reach for
//! anything.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The floors as they are drawn: which rooms stand where, which on one floor know each other, and
/// which arrows still go up.
struct Plan {
    floors: Vec<Vec<String>>,
    beside: BTreeSet<(String, String)>,
    upward: BTreeSet<(String, String)>,
}

impl Plan {
    fn read() -> Self {
        let text = std::fs::read_to_string("src/ARCHITECTURE.md").unwrap();
        let block = text
            .split("```text floors\n")
            .nth(1)
            .and_then(|rest| rest.split("```").next())
            .expect("the floors are drawn");
        let mut plan =
            Self { floors: Vec::new(), beside: BTreeSet::new(), upward: BTreeSet::new() };
        for line in block.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let arrow = |line: &str| {
                let (from, to) =
                    line.split_once(" -> ").unwrap_or_else(|| panic!("no arrow: {line}"));
                (from.trim().to_string(), to.trim().to_string())
            };
            if let Some(rest) = line.strip_prefix("beside") {
                plan.beside.insert(arrow(rest));
            } else if let Some(rest) = line.strip_prefix("upward") {
                plan.upward.insert(arrow(rest));
            } else {
                plan.floors.push(line.split_whitespace().map(str::to_string).collect());
            }
        }
        plan
    }

    fn floor(&self, room: &str) -> Option<usize> {
        self.floors.iter().position(|floor| floor.iter().any(|name| name == room))
    }

    // Downwards, or to a neighbour by name.
    fn allows(&self, from: &str, to: &str) -> bool {
        let (Some(own), Some(other)) = (self.floor(from), self.floor(to)) else { return false };
        other < own || self.beside.contains(&(from.to_string(), to.to_string()))
    }
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
}

fn room_of(path: &Path) -> String {
    let first = path.strip_prefix("src").unwrap().components().next().unwrap();
    first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_string()
}

// The rooms that a file names behind `crate::`, its own tests and comments left out.
fn named(text: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let mut rooms = BTreeSet::new();
    for line in lines {
        for rest in line.split("crate::").skip(1) {
            let room: String =
                rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            if !room.is_empty() {
                rooms.insert(room);
            }
        }
    }
    rooms
}

/// All arrows between rooms, and the files that draw each.
fn arrows() -> BTreeMap<(String, String), Vec<PathBuf>> {
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    let mut all: BTreeMap<(String, String), Vec<PathBuf>> = BTreeMap::new();
    for path in files.iter().filter(|path| !path.ends_with("lib.rs") && !path.ends_with("main.rs"))
    {
        let room = room_of(path);
        for other in named(&std::fs::read_to_string(path).unwrap()) {
            if other != room {
                all.entry((room.clone(), other)).or_default().push(path.clone());
            }
        }
    }
    all
}

#[test]
fn no_arrow_goes_up_but_those_that_are_named() {
    let plan = Plan::read();
    let found = arrows();
    let up: BTreeMap<_, _> =
        found.iter().filter(|((from, to), _)| !plan.allows(from, to)).collect();
    for (arrow, files) in &up {
        assert!(plan.upward.contains(*arrow), "{} must not know {}: {files:?}", arrow.0, arrow.1);
    }
    for arrow in &plan.upward {
        assert!(
            up.contains_key(arrow),
            "{} -> {} is gone: strike it from the floors",
            arrow.0,
            arrow.1
        );
    }
    for arrow in &plan.beside {
        assert!(
            found.contains_key(arrow),
            "{} -> {} is not used: strike it from the floors",
            arrow.0,
            arrow.1
        );
    }
}

#[test]
fn every_room_stands_on_one_floor() {
    let plan = Plan::read();
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    let rooms: BTreeSet<String> = files
        .iter()
        .map(|path| room_of(path))
        .filter(|room| room != "lib" && room != "main")
        .collect();
    let drawn: Vec<&String> = plan.floors.iter().flatten().collect();
    assert_eq!(
        drawn.iter().copied().collect::<BTreeSet<_>>().len(),
        drawn.len(),
        "a room stands twice"
    );
    for room in &rooms {
        assert!(plan.floor(room).is_some(), "{room} stands nowhere");
    }
    for room in drawn {
        assert!(rooms.contains(room), "{room} is drawn and not there");
    }
}

#[test]
fn no_rooms_stand_in_a_circle() {
    let found = arrows();
    let mut below: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (from, to) in found.keys() {
        below.entry(from).or_default().insert(to);
    }
    let plan = Plan::read();
    let reaches = |from: &str, wanted: &str| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from.to_string()]);
        while let Some(at) = open.pop() {
            for next in below.get(at.as_str()).into_iter().flatten() {
                let is_named = plan.upward.contains(&(at.clone(), (*next).to_string()));
                if !is_named && seen.insert((*next).to_string()) {
                    open.push((*next).to_string());
                }
            }
        }
        seen.contains(wanted)
    };
    for room in below.keys() {
        assert!(!reaches(room, room), "{room} stands in a circle");
    }
}

#[test]
fn names_are_found_where_code_names_them() {
    let text = "use crate::semantics::time;\n// crate::listen\nlet x = crate::proxy::y(crate::access::z);\n#[cfg(test)]\nmod tests {\n use crate::cli::a;\n}\n";
    assert_eq!(named(text).into_iter().collect::<Vec<_>>(), ["access", "proxy", "semantics"]);
    // `use crate::{a, b}` would hide from this; it is not how modules are named here.
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    for path in files {
        assert!(
            !std::fs::read_to_string(&path).unwrap().contains("use crate::{"),
            "{}: name each room in a line of its own",
            path.display()
        );
    }
}
