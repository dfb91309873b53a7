//! Which room may know which: every `use` in `src` is held against the floors that
//! `src/ARCHITECTURE.md` draws, and nothing goes up. Inside a room no files know each other in a
//! circle.
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

// The lines of a file that are held to anything: its own tests and comments left out.
fn code_of(text: &str) -> impl Iterator<Item = &str> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    code.lines().filter(|line| !line.trim_start().starts_with("//"))
}

// The rooms that a file names behind `crate::`.
fn named(text: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for line in code_of(text) {
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

// Which of them come back to themselves.
fn in_circles(below: &BTreeMap<String, BTreeSet<String>>) -> Vec<&str> {
    let returns = |start: &String| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![start]);
        while let Some(at) = open.pop() {
            open.extend(below.get(at).into_iter().flatten().filter(|next| seen.insert(*next)));
        }
        seen.contains(start)
    };
    below.keys().filter(|name| returns(name)).map(String::as_str).collect()
}

#[test]
fn no_rooms_stand_in_a_circle() {
    let plan = Plan::read();
    let mut below: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (from, to) in arrows().into_keys() {
        if !plan.upward.contains(&(from.clone(), to.clone())) {
            below.entry(from).or_default().insert(to);
        }
    }
    assert!(in_circles(&below).is_empty(), "rooms in circles: {:?}", in_circles(&below));
}

// The path of a file's module behind `crate::`.
fn module_of(path: &Path) -> String {
    let path = path.strip_prefix("src").unwrap().with_extension("");
    let mut names: Vec<&str> = path.iter().map(|name| name.to_str().unwrap()).collect();
    if names.last() == Some(&"mod") {
        names.pop();
    }
    names.join("::")
}

// The paths in code that begin with `crate`, `super` or `self`; each branch of a `use` is one.
fn paths(code: &str) -> Vec<Vec<&str>> {
    let mut found = Vec::new();
    for root in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(root) {
            let is_inside =
                code[..at].ends_with(|c: char| c == ':' || c == '_' || c.is_ascii_alphanumeric());
            if !is_inside {
                branches(&code[at..], &[], &mut found);
            }
        }
    }
    found
}

// Reads one branch, or the branches in braces; gives what comes after it.
fn branches<'c>(code: &'c str, before: &[&'c str], found: &mut Vec<Vec<&'c str>>) -> &'c str {
    if let Some(mut group) = code.strip_prefix('{') {
        loop {
            group = group.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
            if let Some(rest) = group.strip_prefix('}') {
                return rest;
            }
            let rest = branches(group, before, found);
            // What stands between a branch and its end: `as name`, `*`.
            let Some(end) = rest.find([',', '}']) else { return "" };
            group = &rest[end..];
        }
    }
    let end = code.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(code.len());
    let (name, rest) = code.split_at(end);
    let path: Vec<&str> = before.iter().copied().chain([name]).collect();
    match rest.strip_prefix("::") {
        Some(rest) => branches(rest, &path, found),
        None => {
            found.push(path);
            rest
        }
    }
}

// The module that a path in `own` leads into: the longest beginning of it that is one.
fn leads_to(path: &[&str], own: &str, modules: &BTreeMap<String, PathBuf>) -> Option<String> {
    let (mut whole, mut rest): (Vec<&str>, &[&str]) = match path.split_first()? {
        (&"crate", rest) => (Vec::new(), rest),
        (&"self", rest) => (own.split("::").collect(), rest),
        _ => (own.split("::").collect(), path),
    };
    while let Some((&"super", after)) = rest.split_first() {
        whole.pop();
        rest = after;
    }
    whole.extend(rest);
    while !whole.is_empty() {
        let module = whole.join("::");
        if modules.contains_key(&module) {
            return Some(module);
        }
        whole.pop();
    }
    None
}

// True for a room's `mod.rs` and a file of that room: it is put together from them, and they say
// what it says for all of them.
fn is_face_of(face: &str, other: &str, modules: &BTreeMap<String, PathBuf>) -> bool {
    modules[face].ends_with("mod.rs") && other.starts_with(&format!("{face}::"))
}

#[test]
fn no_files_stand_in_a_circle() {
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    let modules: BTreeMap<String, PathBuf> = files
        .into_iter()
        .filter(|path| !path.ends_with("lib.rs") && !path.ends_with("main.rs"))
        .map(|path| (module_of(&path), path))
        .collect();
    let upward = Plan::read().upward;
    let room = |module: &str| module.split("::").next().unwrap().to_string();
    let mut below: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (own, path) in &modules {
        let text = std::fs::read_to_string(path).unwrap();
        let code: String = code_of(&text).flat_map(|line| [line, "\n"]).collect();
        let found = paths(&code).into_iter().filter_map(|path| leads_to(&path, own, &modules));
        let counted = found.filter(|other| {
            other != own
                && !is_face_of(own, other, &modules)
                && !is_face_of(other, own, &modules)
                && !upward.contains(&(room(own), room(other)))
        });
        below.insert(own.clone(), counted.collect());
    }
    // Else this looks at nothing.
    assert!(below["config::compile"].contains("config::scope"));
    assert!(in_circles(&below).is_empty(), "files in circles: {:?}", in_circles(&below));
}

#[test]
fn paths_are_found_where_code_names_them() {
    let code = "use super::{\n    a::{B, c as d},\n    *,\n};\nuse crate::x::Y;\n\
                fn f(z: &super::super::Z) -> crate::w<T> { own_self::g() }\n";
    let mut found: Vec<String> = paths(code).iter().map(|path| path.join("::")).collect();
    found.sort();
    let want =
        ["crate::w", "crate::x::Y", "super::", "super::a::B", "super::a::c", "super::super::Z"];
    assert_eq!(found, want);
    let modules: BTreeMap<String, PathBuf> =
        BTreeMap::from(["p", "p::a", "q::r"].map(|name| (name.into(), PathBuf::new())));
    let leads = |path: &[&str]| leads_to(path, "p::b", &modules);
    assert_eq!(leads(&["super", "a", "c", "D"]).as_deref(), Some("p::a"));
    assert_eq!(leads(&["super", "B"]).as_deref(), Some("p"));
    assert_eq!(leads(&["crate", "q", "r"]).as_deref(), Some("q::r"));
    assert_eq!(leads(&["crate", "q"]), None);
    let circle = |pairs: &[(&str, &str)]| {
        let mut below: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, to) in pairs {
            below.entry((*from).into()).or_default().insert((*to).into());
        }
        in_circles(&below).join(" ")
    };
    assert_eq!(circle(&[("a", "b"), ("b", "c"), ("c", "b")]), "b c");
    assert_eq!(circle(&[("a", "b"), ("a", "c"), ("b", "c")]), "");
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
