//! Continuous deployment: a staging distribution on some viewers, and on all of them once it is
//! promoted.

use super::support::edge::command;
use super::support::origin::answer;
use super::support::{Edge, Origin};

fn edge(old: &Origin, new: &Origin, who: &str) -> Edge {
    let more = format!(
        "[[distribution]]\nid = \"ENEW\"\nstaging = {{ of = \"E1\", {who} }}\n[[distribution.origin]]\nid = \"n\"\nurl = \"http://{}\"\n",
        new.address
    );
    Edge::before(old.address, &more)
}

fn origins() -> (Origin, Origin) {
    let one = |body: &'static [u8]| {
        Origin::start(move |_| answer(200, "Cache-Control: max-age=600", body))
    };
    (one(b"old"), one(b"new"))
}

#[test]
fn a_header_chooses_and_the_caches_are_apart() {
    let (old, new) = origins();
    let edge = edge(&old, &new, "header = { name = \"aws-cf-cd-try\", value = \"1\" }");
    let ask = |fields: &[&str]| {
        let seen = edge.get_with("/a", fields);
        (seen.text(), seen.cache())
    };
    assert_eq!(ask(&[]), ("old".into(), "Miss".into()));
    assert_eq!(ask(&["aws-cf-cd-try: 1"]), ("new".into(), "Miss".into()));
    assert_eq!(ask(&[]), ("old".into(), "Hit".into()));
    assert_eq!(ask(&["aws-cf-cd-try: 1"]), ("new".into(), "Hit".into()));
    assert_eq!(ask(&["aws-cf-cd-try: 2"]), ("old".into(), "Hit".into()));
    // Promoted by one command: every viewer sees it, over a restart too, until it is taken back.
    let admin = format!("{}", edge.admin);
    let token = edge.path().join("data/admin-token");
    let promote = |edge: &Edge, admin: &str, more: &[&str]| {
        let args =
            [&["promote", "ENEW", "--admin", admin, "--token-file", token.to_str().unwrap()], more]
                .concat();
        command(edge.path(), &args)
    };
    let (code, said, why) = promote(&edge, &admin, &[]);
    assert!(code == 0 && said.contains("promoted now: ENEW"), "{said}{why}");
    assert_eq!(ask(&[]), ("new".into(), "Hit".into()));
    // What is said of the primary holds for what its viewers see.
    edge.admin("POST", "/v1/invalidations", r#"{"distribution":"E1","paths":["/*"]}"#);
    assert_eq!(ask(&[]), ("new".into(), "Miss".into()));
    let edge = Edge::start_in(edge.kill());
    assert_eq!(edge.get("/a").text(), "new");
    let (code, said, _) = promote(&edge, &edge.admin.to_string(), &["--undo"]);
    assert!(code == 0 && said.contains("none"), "{said}");
    assert_eq!(edge.get("/a").text(), "old");
    let (code, _, why) = command(
        edge.path(),
        &[
            "promote",
            "E1",
            "--admin",
            &edge.admin.to_string(),
            "--token-file",
            token.to_str().unwrap(),
        ],
    );
    assert!(code == 1 && why.contains("no staging distribution"), "{why}");
}

#[test]
fn a_share_of_the_viewers_stays_on_its_side() {
    let (old, new) = origins();
    let edge = edge(&old, &new, "percent = 50, sticky = { idle = \"5m\", max = \"10m\" }");
    let mut sides = std::collections::HashMap::new();
    for _ in 0..40 {
        let first = edge.get("/a");
        let cookie = first.field("set-cookie").expect("a new viewer is told its side");
        let cookie = format!("Cookie: {}", cookie.split(';').next().unwrap());
        *sides.entry(first.text()).or_insert(0) += 1;
        for _ in 0..3 {
            let again = edge.get_with("/a", &[&cookie]);
            assert_eq!(
                (again.text(), again.cache(), again.field("set-cookie")),
                (first.text(), "Hit".into(), None)
            );
        }
    }
    assert!(sides.len() == 2 && sides.values().all(|count| *count > 5), "{sides:?}");
}

#[test]
fn mistakes_are_said() {
    let folder = tempfile::tempdir().unwrap();
    for (staging, words) in [
        ("{ of = \"ENONE\", percent = 5 }", "there is no distribution \"ENONE\" with hosts"),
        ("{ of = \"E1\" }", "say who sees it"),
        ("{ of = \"E1\", header = { name = \"x-try\", value = \"1\" } }", "begins with"),
        ("{ percent = 5 }", "staging.of is missing"),
    ] {
        let text = format!(
            "[listen]\nhttp = [\"127.0.0.1:0\"]\n[[distribution]]\nid = \"E1\"\nhosts = [\"*\"]\n[[distribution.origin]]\nid = \"o\"\nurl = \"http://o.test\"\n\
             [[distribution]]\nid = \"ENEW\"\nstaging = {staging}\n[[distribution.origin]]\nid = \"o\"\nurl = \"http://o.test\"\n"
        );
        std::fs::write(folder.path().join("x.toml"), text).unwrap();
        let (code, _, told) = command(folder.path(), &["check", "--config", "x.toml"]);
        assert!(code == 1 && told.contains(words), "{staging}: {told}");
    }
}
