//! What settings promise that are CloudFront's: how long a whole answer may take, by which scheme an
//! origin is asked and at which of its addresses, and that answers to OPTIONS are kept.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::support::edge::{TIMEOUTS, certificates, command, plain};
use super::support::origin::{answer, fresh};
use super::support::viewer::request;
use super::support::{Edge, Origin, Say, Viewer, eventually};
use super::wire::server_config;

/// One octet after the other: an origin that is never silent for long.
fn dribble(octets: usize, pause: u64) -> Vec<Say> {
    let head =
        format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: {octets}\r\n\r\n");
    let mut steps = vec![Say::Bytes(head.into_bytes())];
    for _ in 0..octets {
        steps.push(Say::Wait(Duration::from_millis(pause)));
        steps.push(Say::Bytes(b"x".to_vec()));
    }
    steps
}

fn bounded(origin: &Origin, timeouts: &str, more: &str) -> Edge {
    let config = plain(origin.address, "").replace(TIMEOUTS, timeouts);
    Edge::start(&(config + more))
}

#[test]
fn an_answer_that_is_not_whole_in_time_breaks_off_and_is_not_kept() {
    let origin = Origin::start(|asked| match asked.target.as_str() {
        "/short" => dribble(4, 100),
        _ => dribble(100, 100),
    });
    let timeouts = "timeouts = { response = \"1s\", complete = \"2s\" }";
    for behavior in ["", "cache_policy = \"CachingDisabled\"\n"] {
        let edge = bounded(&origin, timeouts, behavior);
        let short = edge.get("/short");
        assert!(short.whole && short.text() == "xxxx", "{short:?}");
        let began = Instant::now();
        let long = edge.get("/long");
        assert!(!long.whole && long.status == 200, "{long:?}");
        let took = began.elapsed();
        assert!(took > Duration::from_secs(1) && took < Duration::from_secs(8), "{took:?}");
        eventually("the log says who broke it off", || {
            let log = std::fs::read_to_string(edge.path().join("access.log")).unwrap_or_default();
            log.lines().any(|line| {
                line.contains("\"/long\"") && line.contains("\"aborted_by\":\"origin\"")
            })
        });
        // Nothing of it is kept.
        let asked = origin.count();
        assert!(!edge.get("/long").whole);
        assert_eq!(origin.count(), asked + 1);
    }
}

#[test]
fn a_head_that_does_not_come_in_time_is_504() {
    let origin = Origin::start(|_| vec![Say::Wait(Duration::from_secs(20))]);
    let timeouts = "timeouts = { response = \"1s\", complete = \"1s\" }";
    let edge = bounded(&origin, timeouts, "");
    let late = edge.get("/late");
    assert_eq!(late.status, 504);
    let status = late.field("cache-status").unwrap_or_default();
    assert!(status.contains("detail=http_response_timeout"), "{status}");
    eventually("the reason is in the log", || edge.log().contains("timeouts.complete"));
}

#[test]
fn a_whole_may_not_be_shorter_than_its_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let config = plain("127.0.0.1:1".parse().unwrap(), "")
        .replace("response = \"3s\"", "response = \"3s\", complete = \"2s\"");
    std::fs::write(folder.path().join("edge.toml"), config).unwrap();
    let (code, said, wrong) = command(folder.path(), &["check", "--config", "edge.toml"]);
    assert_ne!(code, 0);
    let told = said + &wrong;
    assert!(told.contains("timeouts.complete is shorter than timeouts.response"), "{told}");
}

// The next member has a time of its own, and the viewer sees no break.
#[test]
fn a_group_goes_on_where_a_member_takes_too_long() {
    let slow = Origin::start(|_| vec![Say::Wait(Duration::from_secs(20))]);
    let quick = Origin::start(|_| fresh(b"from the other"));
    let config = plain(slow.address, "").replace(
        TIMEOUTS,
        &format!(
            "timeouts = {{ response = \"1s\", complete = \"1s\" }}\n\
             [[distribution.origin]]\nid = \"p\"\nurl = \"http://{}\"\n\
             [[distribution.origin_group]]\nid = \"g\"\nmembers = [\"o\", \"p\"]",
            quick.address
        ),
    );
    let edge = Edge::start(&config.replace("origin = \"o\"\n", "origin = \"g\"\n"));
    assert_eq!(edge.get("/a").text(), "from the other");
}

/// A distribution with one origin of these settings goes in and out again: the configuration that
/// is made of it, what is told, and the origin as it is exported.
fn in_and_out(origin: Value) -> (String, String, Value) {
    let folder = tempfile::tempdir().unwrap();
    let config = json!({
        "Aliases": { "Quantity": 1, "Items": ["www.example.com"] },
        "Origins": { "Quantity": 1, "Items": [origin] },
        "DefaultCacheBehavior": {
            "TargetOriginId": "o", "ViewerProtocolPolicy": "allow-all",
            "CachePolicyId": "658327ea-f89d-4fab-a63d-7e88639e58f6",
        },
    });
    std::fs::write(folder.path().join("d.json"), config.to_string()).unwrap();
    let (code, _, told) = command(folder.path(), &["import", "cloudfront", "d.json"]);
    assert_eq!(code, 0, "{told}");
    let toml = std::fs::read_to_string(folder.path().join("imported.toml")).unwrap();
    let (code, out, wrong) =
        command(folder.path(), &["export", "cloudfront", "--config", "imported.toml"]);
    assert_eq!(code, 0, "{wrong}\n{toml}");
    let mut out: Value = serde_json::from_str(&out).unwrap();
    (toml, told, out["DistributionConfig"]["Origins"]["Items"][0].take())
}

#[test]
fn the_time_of_a_whole_answer_comes_in_and_goes_out() {
    let origin = |whole: u64| {
        json!({
            "Id": "o", "DomainName": "o.test", "ResponseCompletionTimeout": whole,
            "CustomOriginConfig": { "OriginProtocolPolicy": "https-only", "OriginReadTimeout": 20 },
        })
    };
    let (toml, _, out) = in_and_out(origin(90));
    assert!(toml.contains("timeouts = { response = \"20s\", complete = \"90s\" }"), "{toml}");
    assert_eq!(out["ResponseCompletionTimeout"], 90);
    let (toml, told, out) = in_and_out(origin(19));
    assert!(!toml.contains("complete = "), "{toml}");
    assert!(told.contains("ResponseCompletionTimeout = 19 is shorter"), "{told}");
    assert_eq!(out["ResponseCompletionTimeout"], Value::Null);
}

/// One origin at two addresses, asked over TLS for viewers over TLS and in clear text for others.
struct Matched {
    edge: Edge,
    secure: Origin,
    clear: Origin,
    ca: PathBuf,
}

fn matched(behavior: &str) -> Matched {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let (ca, chain, key) = certificates(folder.path(), &["localhost", "h.test"]);
    let secure =
        Origin::start_tls(server_config(folder.path(), "localhost"), |_| fresh(b"over tls"));
    let clear = Origin::start(|_| fresh(b"in clear"));
    let more = format!("[[certificate]]\nchain = {chain:?}\nkey = {key:?}\n");
    let config = plain("127.0.0.1:1".parse().unwrap(), &more)
        .replace("[listen]", "[listen]\nhttps = [\"127.0.0.1:0\"]")
        .replace(
            "url = \"http://127.0.0.1:1\"",
            &format!(
                "url = \"https://localhost:{}/below\"\nmatch_viewer = true\nhttp_port = {}\n\
                 http_version = \"http2\"\ntls = {{ ca = {ca:?} }}",
                secure.address.port(),
                clear.address.port()
            ),
        )
        + behavior;
    std::fs::write(folder.path().join("edge.toml"), config).unwrap();
    Matched { edge: Edge::start_in(folder), secure, clear, ca }
}

impl Matched {
    fn over_tls(&self, path: &str) -> String {
        let https = self.edge.https.unwrap();
        Viewer::connect_tls(https, "h.test", &self.ca).unwrap().get(path, &[]).text()
    }
}

#[test]
fn an_origin_that_matches_is_asked_by_the_scheme_the_viewer_came_by() {
    for (behavior, asked) in [("", 1), ("cache_policy = \"CachingDisabled\"\n", 2)] {
        let stage = matched(behavior);
        for _ in 0..2 {
            assert_eq!(stage.over_tls("/a"), "over tls");
            assert_eq!(stage.edge.get("/a").text(), "in clear");
        }
        // What came by one scheme is not shown to viewers of the other.
        assert_eq!((stage.secure.count(), stage.clear.count()), (asked, asked), "{behavior}");
        for origin in [&stage.secure, &stage.clear] {
            let seen = &origin.seen()[0];
            let own = format!("localhost:{}", origin.address.port());
            assert_eq!(
                (seen.target.as_str(), seen.field("host")),
                ("/below/a", Some(own)),
                "each by its own port"
            );
        }
        // One invalidation covers both.
        stage.edge.purge(&["/a"]);
        assert_eq!(stage.over_tls("/a"), "over tls");
        assert_eq!(stage.edge.get("/a").text(), "in clear");
        assert_eq!((stage.secure.count(), stage.clear.count()), (asked + 1, asked + 1));
    }
}

#[test]
fn an_origin_matches_only_where_it_has_an_https_address() {
    let folder = tempfile::tempdir().unwrap();
    for (origin, why) in [
        ("match_viewer = true", "match_viewer needs an https url"),
        ("http_port = 8080", "http_port is of no meaning without match_viewer"),
    ] {
        let config = plain("127.0.0.1:1".parse().unwrap(), "")
            .replace("timeouts", &format!("{origin}\ntimeouts"));
        std::fs::write(folder.path().join("edge.toml"), config).unwrap();
        let (code, said, wrong) = command(folder.path(), &["check", "--config", "edge.toml"]);
        assert!(code != 0 && (said.clone() + &wrong).contains(why), "{said}{wrong}");
    }
}

#[test]
fn match_viewer_comes_in_and_goes_out() {
    let origin = |ports: &[(&str, u64)]| {
        let mut custom = json!({ "OriginProtocolPolicy": "match-viewer" });
        for (name, port) in ports {
            custom[*name] = (*port).into();
        }
        json!({ "Id": "o", "DomainName": "o.test", "CustomOriginConfig": custom })
    };
    let (toml, told, out) = in_and_out(origin(&[("HTTPPort", 8080), ("HTTPSPort", 8443)]));
    assert!(
        toml.contains("url = \"https://o.test:8443\"\nmatch_viewer = true\nhttp_port = 8080\n"),
        "{toml}"
    );
    assert!(!told.contains("HTTPPort"), "{told}");
    let custom = &out["CustomOriginConfig"];
    assert_eq!(custom["OriginProtocolPolicy"], "match-viewer");
    assert_eq!((&custom["HTTPPort"], &custom["HTTPSPort"]), (&json!(8080), &json!(8443)));
    let (toml, ..) = in_and_out(origin(&[]));
    assert!(toml.contains("match_viewer = true") && !toml.contains("http_port"), "{toml}");
}

// An origin at the IPv6 loopback address alone; `None` where there is no such address.
fn at_v6() -> Option<u16> {
    let listener = TcpListener::bind("[::1]:0").ok()?;
    let port = listener.local_addr().ok()?.port();
    std::thread::spawn(move || {
        for mut tcp in listener.incoming().map_while(Result::ok) {
            let (mut head, mut octet) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && matches!(tcp.read(&mut octet), Ok(1)) {
                head.push(octet[0]);
            }
            let _ = tcp.write_all(
                b"HTTP/1.1 200 OK\r\nConnection: close\r\nCache-Control: no-store\r\nContent-Length: 2\r\n\r\nv6",
            );
        }
    });
    Some(port)
}

#[test]
fn an_origin_is_asked_at_the_addresses_it_is_to_be_asked_at() {
    let v4 = Origin::start(|_| answer(200, "Cache-Control: no-store", b"v4"));
    let asked = |port: u16, family: &str| {
        let config = plain("127.0.0.1:1".parse().unwrap(), "")
            .replace("http://127.0.0.1:1", &format!("http://localhost:{port}"))
            .replace("timeouts", &format!("{family}timeouts"));
        let edge = Edge::start(&config);
        let seen = edge.get("/a");
        (seen.status, if seen.status == 200 { seen.text() } else { String::new() })
    };
    // One that is not at all of its addresses is found where it is.
    let found = |text: &str| (200, text.to_string());
    for family in ["", "ip = \"dualstack\"\n", "ip = \"ipv4\"\n"] {
        assert_eq!(asked(v4.address.port(), family), found("v4"), "{family}");
    }
    assert_eq!(asked(v4.address.port(), "ip = \"ipv6\"\n").0, 502);
    let Some(v6) = at_v6() else { return };
    for family in ["", "ip = \"ipv6\"\n"] {
        assert_eq!(asked(v6, family), found("v6"), "{family}");
    }
    assert_eq!(asked(v6, "ip = \"ipv4\"\n").0, 502);
}

#[test]
fn a_kind_of_addresses_is_for_names() {
    let folder = tempfile::tempdir().unwrap();
    for (url, family, why) in [
        ("http://192.0.2.1", "ipv6", "ip = \"ipv6\", and url has the address 192.0.2.1"),
        ("http://[2001:db8::1]:8080", "ipv4", "and url has the address 2001:db8::1"),
        ("file:/", "ipv4", "ip is of no meaning for a folder"),
    ] {
        let config = plain("127.0.0.1:1".parse().unwrap(), "")
            .replace("http://127.0.0.1:1", url)
            .replace("timeouts", &format!("ip = \"{family}\"\ntimeouts"));
        std::fs::write(folder.path().join("edge.toml"), config).unwrap();
        let (code, said, wrong) = command(folder.path(), &["check", "--config", "edge.toml"]);
        assert!(code != 0 && (said.clone() + &wrong).contains(why), "{url}: {said}{wrong}");
    }
}

#[test]
fn the_kind_of_addresses_comes_in_and_goes_out() {
    for family in ["ipv4", "ipv6", "dualstack"] {
        let (toml, _, out) = in_and_out(json!({
            "Id": "o", "DomainName": "o.test",
            "CustomOriginConfig": { "OriginProtocolPolicy": "https-only", "IpAddressType": family },
        }));
        assert!(toml.contains(&format!("ip = \"{family}\"\n")), "{toml}");
        assert_eq!(out["CustomOriginConfig"]["IpAddressType"], family);
    }
}

#[test]
fn options_are_kept_where_they_may_be_asked() {
    let folder = tempfile::tempdir().unwrap();
    let rfc = "[cache_policy.rfc]\nsemantics = \"rfc9111\"\n";
    let allowed = "methods = [\"GET\", \"HEAD\", \"OPTIONS\"]\ncache_policy = \"rfc\"\n";
    for (policy, behavior, why) in [
        ("", "", "this behavior does not allow OPTIONS"),
        (rfc, allowed, "answers to OPTIONS are not kept under semantics"),
    ] {
        let config = plain("127.0.0.1:1".parse().unwrap(), policy) + behavior;
        let config = config + "cache_options = true\n";
        std::fs::write(folder.path().join("edge.toml"), config).unwrap();
        let (code, said, wrong) = command(folder.path(), &["check", "--config", "edge.toml"]);
        assert!(code != 0 && (said.clone() + &wrong).contains(why), "{said}{wrong}");
    }
}

#[test]
fn a_preflight_is_answered_from_the_store_and_a_purge_covers_it() {
    let origin =
        Origin::start(|asked| answer(200, "Cache-Control: max-age=60", asked.method.as_bytes()));
    let edge = Edge::before_with(
        origin.address,
        "",
        "methods = [\"GET\", \"HEAD\", \"OPTIONS\"]\ncache_options = true\n",
    );
    let mut viewer = edge.viewer();
    let mut ask = |method: &str| {
        viewer.send(&request(method, "/a", &["Origin: https://a.test"]));
        let seen = viewer.read(method).unwrap();
        (seen.text(), seen.cache())
    };
    let is = |text: &str, cache: &str| (text.to_string(), cache.to_string());
    assert_eq!(ask("OPTIONS"), is("OPTIONS", "Miss"));
    assert_eq!(ask("GET"), is("GET", "Miss"));
    assert_eq!(ask("OPTIONS"), is("OPTIONS", "Hit"));
    assert_eq!(ask("GET"), is("GET", "Hit"));
    assert_eq!(origin.count(), 2);
    edge.purge(&["/a"]);
    assert_eq!(ask("OPTIONS"), is("OPTIONS", "Miss"));
    assert_eq!(ask("GET"), is("GET", "Miss"));
}
