//! A request keeps the route that its host and path chose.

use std::sync::Arc;

use foreshore::access;
use foreshore::config::{self, MissingCertificates};
use foreshore::distribution::site::Site;
use foreshore::message::key::InvalidationNumber;
use foreshore::message::request::ViewerRequest;
use foreshore::semantics::time::Timestamp;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn site() -> Arc<Site> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("routes.toml");
    let text = "[listen]\nhttp = [\"127.0.0.1:1\"]\n\
        [[distribution]]\nid = \"E1\"\nhosts = [\"one.test\"]\n[[distribution.origin]]\nid = \"o\"\nurl = \"http://o.test\"\n\
        [[distribution.behavior]]\npath = \"*\"\norigin = \"o\"\n\
        [[distribution]]\nid = \"E2\"\nhosts = [\"two.test\"]\ndefault_root_object = \"index.html\"\n\
        [[distribution.origin]]\nid = \"o\"\nurl = \"http://o.test\"\n\
        [[distribution.behavior]]\npath = \"/img/*\"\norigin = \"o\"\n[[distribution.behavior]]\npath = \"*.html\"\norigin = \"o\"\n\
        [[distribution.behavior]]\npath = \"*\"\norigin = \"o\"\n";
    std::fs::write(&path, text).unwrap();
    config::load(&path, NOW, MissingCertificates::Done)
        .unwrap_or_else(|report| panic!("{}", report.render(false)))
        .site
}

fn request(host: &str, target: &str) -> ViewerRequest {
    ViewerRequest::get(&format!("http://{host}{target}")).with_arrival(NOW, InvalidationNumber(0))
}

#[test]
fn a_route_says_what_host_and_path_chose() {
    let site = site();
    for (host, target, distribution, pattern, path) in [
        ("one.test", "/img/a", "E1", "*", "/img/a"),
        ("two.test", "/img/a", "E2", "/img/*", "/img/a"),
        ("two.test", "/", "E2", "*.html", "/index.html"),
        ("two.test", "/a", "E2", "*", "/a"),
    ] {
        let request = request(host, target);
        let head = request.head();
        let Ok(routed) = access::route(&site, &head, NOW) else {
            panic!("{host}{target} has a route")
        };
        let again = routed.route.on(&site, &head);
        for seen in [routed, again] {
            let said = (seen.distribution.id.as_str(), seen.behavior.pattern.as_str(), seen.path);
            assert_eq!(said, (distribution, pattern, path), "{host}{target}");
        }
        assert_eq!(again.behavior.ordinal, routed.behavior.ordinal);
    }
}

#[test]
fn a_rewritten_uri_keeps_the_behavior_that_the_viewers_path_chose() {
    let site = site();
    let asked = request("two.test", "/img/a");
    let Ok(routed) = access::route(&site, &asked.head(), NOW).map(|routed| routed.route) else {
        panic!("it has a route")
    };
    let rewritten = request("two.test", "/other/b.html?x=1");
    let head = rewritten.head();
    let kept = routed.on(&site, &head);
    assert_eq!((kept.behavior.pattern.as_str(), kept.path), ("/img/*", "/other/b.html"));
    let Ok(anew) = access::route(&site, &head, NOW) else { panic!("it has a route of its own") };
    assert_eq!(anew.behavior.pattern.as_str(), "*.html");
}
