//! What an operator chooses of the logs: fields and their order, behaviors, and what is told of
//! connections.

use std::io::Read;

use super::support::edge::plain;
use super::support::origin::fresh;
use super::support::{Edge, Origin, eventually};

fn edge(origin: &Origin, log: &str, behaviors: &str) -> Edge {
    let text = plain(origin.address, "")
        .replace("access = \"access.log\"", &format!("access = \"access.log\"\n{log}"))
        .replace("[[distribution.behavior]]\npath = \"*\"", behaviors);
    Edge::start(&text)
}

const ALL: &str = "[[distribution.behavior]]\npath = \"*\"";

// The edge's log once it has left.
fn left(mut edge: Edge, file: &str) -> String {
    edge.signal(rustix::process::Signal::TERM);
    assert!(edge.wait());
    std::fs::read_to_string(edge.path().join(file)).unwrap_or_default()
}

#[test]
fn requests_of_one_connection_are_known_by_it() {
    let origin = Origin::start(|_| fresh(b"x"));
    let realtime =
        "realtime = { file = \"rt.log\", fields = [\"connection-id\", \"cs-uri-stem\"] }";
    let edge = edge(&origin, realtime, ALL);
    let mut viewer = edge.viewer();
    for path in ["/a", "/a", "/b"] {
        viewer.get(path, &[]);
    }
    drop(viewer);
    edge.get("/c");
    let path = edge.path().to_path_buf();
    let folder = std::sync::Arc::clone(&edge.folder);
    let told = left(edge, "rt.log");
    let lines: Vec<(&str, &str)> =
        told.lines().map(|line| line.split_once('\t').unwrap()).collect();
    assert_eq!(lines.len(), 4, "{told}");
    // The request's path comes first in CloudFront's order.
    let id = |path: &str| lines.iter().find(|(stem, _)| *stem == path).unwrap().1;
    assert!(id("/a") == id("/b") && id("/a") != id("/c"), "{told}");
    assert!(id("/a").len() == 16 && id("/a").bytes().all(|octet| octet.is_ascii_hexdigit()));
    let access = std::fs::read_to_string(path.join("access.log")).unwrap();
    let same = access.lines().filter(|line| line.contains(id("/a"))).count();
    assert_eq!(same, 3, "{access}");
    for line in access.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["connection"].as_str().map(str::len), Some(16));
        assert!(line.get("client_subject").is_none());
    }
    drop(folder);
}

#[test]
fn the_standard_log_has_the_fields_that_were_named() {
    let origin = Origin::start(|_| fresh(b"x"));
    let log = "standard = { folder = \"std\", fields = [\"sc-status\", \"timestamp(ms)\", \"cs-uri-stem\", \"connection-id\", \"distributionid\"] }";
    let mut edge = edge(&origin, log, ALL);
    edge.get("/a");
    edge.get("/b");
    edge.signal(rustix::process::Signal::TERM);
    assert!(edge.wait());
    let mut all = String::new();
    for entry in std::fs::read_dir(edge.path().join("std")).unwrap() {
        let file = std::fs::File::open(entry.unwrap().path()).unwrap();
        flate2::read::MultiGzDecoder::new(file).read_to_string(&mut all).unwrap();
    }
    let head = "#Version: 1.0\n#Fields: sc-status timestamp(ms) cs-uri-stem connection-id distributionid\n";
    assert!(all.starts_with(head), "{all}");
    let lines: Vec<Vec<&str>> = all
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split('\t').collect())
        .collect();
    assert_eq!(lines.len(), 2, "{all}");
    for line in &lines {
        assert_eq!((line[0], line[4], line.len()), ("200", "E1", 5), "{all}");
        assert!(line[1].parse::<u64>().unwrap() > 1_700_000_000_000, "{all}");
    }
    assert!(lines[0][3] != lines[1][3], "{all}");
}

#[test]
fn the_realtime_log_tells_of_the_behaviors_that_say_so() {
    let origin = Origin::start(|_| fresh(b"x"));
    let behavior = |path: &str, says: &str| {
        format!("[[distribution.behavior]]\npath = \"{path}\"\norigin = \"o\"\n{says}\n")
    };
    let behaviors = behavior("/yes/*", "realtime_log = true")
        + &behavior("/no/*", "realtime_log = false")
        + ALL;
    for (more, want) in [("", vec!["/yes/a", "/a"]), (", behaviors = \"named\"", vec!["/yes/a"])] {
        let log = format!("realtime = {{ file = \"rt.log\", fields = [\"cs-uri-stem\"]{more} }}");
        let edge = edge(&origin, &log, &behaviors);
        let mut viewer = edge.viewer();
        for path in ["/yes/a", "/no/a", "/a"] {
            // A miss and a hit.
            viewer.get(path, &[]);
            viewer.get(path, &[]);
        }
        drop(viewer);
        let folder = std::sync::Arc::clone(&edge.folder);
        let told = left(edge, "rt.log");
        let mut lines: Vec<&str> = told.lines().collect();
        lines.dedup();
        assert_eq!(lines, want, "{told}");
        drop(folder);
    }
}

#[test]
fn each_behavior_has_the_realtime_log_that_it_names() {
    let origin = Origin::start(|_| fresh(b"x"));
    let behavior = |path: &str, says: &str| {
        format!("[[distribution.behavior]]\npath = \"{path}\"\norigin = \"o\"\n{says}\n")
    };
    let behaviors = behavior("/shop/*", "realtime_config = \"shop\"")
        + &behavior("/few/*", "realtime_config = \"few\"")
        + &behavior("/no/*", "realtime_log = false")
        + ALL;
    let log = "realtime = { file = \"rt.log\", fields = [\"cs-uri-stem\"] }\n\
        realtime_config.shop = { file = \"shop.log\", fields = [\"cs-method\", \"cs-uri-stem\"] }\n\
        realtime_config.few = { file = \"few.log\", fields = [\"cs-uri-stem\"], sampling = 30 }";
    let edge = edge(&origin, log, &behaviors);
    let mut viewer = edge.viewer();
    for path in ["/shop/a", "/no/a", "/a"] {
        // A miss and a hit.
        viewer.get(path, &[]);
        viewer.get(path, &[]);
    }
    for _ in 0..200 {
        viewer.get("/few/a", &[]);
    }
    drop(viewer);
    let folder = std::sync::Arc::clone(&edge.folder);
    assert_eq!(left(edge, "rt.log"), "/a\n/a\n");
    let told = |file: &str| std::fs::read_to_string(folder.path().join(file)).unwrap();
    assert_eq!(told("shop.log"), "GET\t/shop/a\nGET\t/shop/a\n");
    let few = told("few.log");
    assert!(few.lines().all(|line| line == "/few/a"), "{few}");
    assert!((20..=100).contains(&few.lines().count()), "{}", few.lines().count());
}

#[test]
fn other_fields_begin_other_files() {
    let origin = Origin::start(|_| fresh(b"x"));
    let log = |field: &str| format!("standard = {{ folder = \"std\", fields = [\"{field}\"] }}");
    let mut edge = edge(&origin, &log("cs-method"), ALL);
    edge.get("/a");
    let path = edge.path().join("edge.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace(&log("cs-method"), &log("sc-status"))).unwrap();
    edge.signal(rustix::process::Signal::HUP);
    eventually("lines are of the new kind", || {
        edge.get("/a");
        all_lines(&edge).iter().any(|line| line == "200")
    });
    edge.signal(rustix::process::Signal::TERM);
    assert!(edge.wait());
}

// Whatever stands in the files of the standard log so far, whole or not.
fn all_lines(edge: &Edge) -> Vec<String> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(edge.path().join("std")).into_iter().flatten().flatten() {
        let Ok(file) = std::fs::File::open(entry.path()) else { continue };
        let mut text = Vec::new();
        let _ = flate2::read::GzDecoder::new(file).read_to_end(&mut text);
        all.extend(String::from_utf8_lossy(&text).lines().map(str::to_string));
    }
    all
}
