//! Which of an edge's threads stand behind viewers: the one that compiles, and none that a request
//! may wait for, whatever is started meanwhile.

use std::sync::Arc;

use super::control_plane::{Wanted, call, change, configure, folder};
use super::support::origin::fresh;
use super::support::{Edge, Origin, eventually};

// How nice each thread is, by its name.
fn niceness(edge: &Edge) -> Vec<(String, i32)> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", edge.pid())).unwrap();
    // One that ends meanwhile has nothing to say.
    let told = tasks.filter_map(|task| {
        let stat = std::fs::read_to_string(task.ok()?.path().join("stat")).ok()?;
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
        Some((name.to_string(), rest.split_whitespace().nth(16)?.parse().ok()?))
    });
    told.collect()
}

// A thread that has only just begun has the name of the one that began it.
fn assert_only_compiling_stands_back(edge: &Edge) {
    eventually("only what compiles stands back", || {
        let all = niceness(edge);
        let own = all.iter().find(|(name, _)| name == "core-0").unwrap().1;
        let want = |name: &str| if name == "compile" { (own + 5).min(19) } else { own };
        all.iter().all(|(name, nice)| *nice == want(name))
    });
}

#[test]
fn compiling_alone_stands_behind_viewers() {
    let origin = Origin::start(|_| fresh(b"page"));
    let folder = folder("");
    let edge = Edge::start_in(Arc::clone(&folder));
    let mut wanted = Wanted::new("r", &origin);
    let made = call(&edge, "POST", "distribution", &wanted.xml()).expect(201);
    let has = |name: &str| niceness(&edge).iter().any(|(known, _)| known == name);
    assert!(has("compile"));
    assert_only_compiling_stands_back(&edge);
    // The next change takes the file as it is, and so starts what runs lambdas.
    std::fs::create_dir(folder.path().join("code")).unwrap();
    std::fs::write(folder.path().join("code/index.js"), "exports.handler = () => {}").unwrap();
    let lambda =
        "[lambda.f]\ncode = \"code\"\nhandler = \"index.handler\"\nruntime = \"nodejs20.x\"\n";
    configure(&folder, lambda);
    wanted.enabled = false;
    let target = format!("distribution/{}/config", made.element("Id"));
    change(&edge, "PUT", &target, &made.etag(), &wanted.xml()).expect(200);
    eventually("its thread has its name", || has("lambdas"));
    assert_only_compiling_stands_back(&edge);
    let (status, said) = edge.admin("POST", "/v1/reload", "");
    assert_eq!(status, 200, "{said}");
    assert_only_compiling_stands_back(&edge);
}
