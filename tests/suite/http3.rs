//! HTTP/3 as only frames show it (RFC 9114, RFC 9204): what is answered, what is refused, what a
//! viewer that moves sees.

use std::path::PathBuf;
use std::sync::Arc;

use foreshore::listen::h3::frame::{self, kind, read_integer};

use super::support::edge::{certificates, plain};
use super::support::origin::{answer, fresh};
use super::support::quic::{Quic, fields, framed, headers};
use super::support::{Edge, Origin, Say, Viewer, eventually};

fn edge_with(origin: &Origin, listen: &str, more: &str) -> (Edge, PathBuf) {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let (ca, chain, key) = certificates(folder.path(), &["h.test"]);
    let certificate = format!("{more}\n[[certificate]]\nchain = {chain:?}\nkey = {key:?}\n");
    let spoken = format!("[listen]\nhttps = [\"127.0.0.1:0\"]\nhttp3 = true\n{listen}\n");
    let config = plain(origin.address, &certificate)
        .replace("[listen]\n", &spoken)
        .replace("origin = \"o\"\n", "origin = \"o\"\nmethods = \"all\"\n");
    std::fs::write(folder.path().join("edge.toml"), config).unwrap();
    (Edge::start_in(folder), ca)
}

// 1 MiB in which no two places look the same.
fn large() -> Vec<u8> {
    (0..1u32 << 18).flat_map(u32::to_be_bytes).collect()
}

fn site() -> Origin {
    Origin::start(|asked| match asked.target.as_str() {
        "/large" => fresh(&large()),
        "/echo" => answer(200, "Cache-Control: no-store", asked.body.to_string().as_bytes()),
        "/hints" => {
            let hints = b"HTTP/1.1 103 Early Hints\r\nLink: </s.css>; rel=preload\r\n\r\n".to_vec();
            let mut steps = vec![Say::Bytes(hints)];
            steps.extend(fresh(b"hinted"));
            steps
        }
        _ => fresh(b"hello"),
    })
}

#[test]
fn a_miss_a_hit_and_what_is_told_of_them() {
    let origin = site();
    let (edge, ca) = edge_with(&origin, "", "");
    let https = edge.https.unwrap();
    let mut viewer = Quic::begin(https, &ca);
    let miss = viewer.get("/a", &[]);
    assert_eq!((miss.status(), &miss.body[..]), ("200", &b"hello"[..]));
    assert_eq!(miss.field("x-cache"), Some("Miss from foreshore"));
    let hit = viewer.get("/a", &[]);
    assert_eq!((hit.status(), &hit.body[..]), ("200", &b"hello"[..]));
    assert_eq!(hit.field("x-cache"), Some("Hit from foreshore"));
    assert!(hit.field("age").is_some() && hit.field("content-length") == Some("5"));
    assert_eq!(hit.field("alt-svc"), None, "it is here already");
    let part = viewer.get("/a", &[("range", "bytes=1-2")]);
    assert_eq!((part.status(), &part.body[..]), ("206", &b"el"[..]));
    let head = viewer.request(&headers(&fields("HEAD", "/a", &[])), true);
    let head = viewer.answer(head);
    assert_eq!(
        (head.status(), head.field("content-length"), head.body.len()),
        ("200", Some("5"), 0)
    );
    assert_eq!(origin.count(), 1);
    let refused = viewer.get("/a", &[("host", "other.test")]);
    assert_eq!(refused.status(), "400");
    // Over TLS viewers are told where else; over clear text they are not.
    let port = https.port();
    let told = Viewer::connect_tls(https, "h.test", &ca)
        .unwrap()
        .get("/a", &["Host: h.test"])
        .field("alt-svc");
    assert_eq!(told, Some(format!("h3=\":{port}\"; ma=86400")));
    assert_eq!(edge.get("/a").field("alt-svc"), None);
    eventually("the log", || {
        let log = std::fs::read_to_string(edge.path().join("access.log")).unwrap_or_default();
        log.matches("\"protocol\":\"3.0\"").count() >= 4
    });
    assert!(edge.metric("foreshore_quic_datagrams_total") > 3.0);
}

#[test]
fn bodies_go_both_ways_whole() {
    let origin = site();
    let (edge, ca) = edge_with(&origin, "", "");
    let mut viewer = Quic::begin(edge.https.unwrap(), &ca);
    for _ in 0..2 {
        assert!(viewer.get("/large", &[]).body == large(), "from the origin, then from the store");
    }
    let ids: Vec<_> = (0..20)
        .map(|_| {
            viewer.request(&headers(&fields("GET", "/large", &[("range", "bytes=0-99999")])), true)
        })
        .collect();
    for id in ids {
        assert!(viewer.answer(id).body == large()[..100_000], "many at once");
    }
    // The scripted origin counts what is framed as it comes.
    let post = fields("POST", "/echo", &[("content-length", "1048576")]);
    let id = viewer.request(&headers(&post), false);
    for piece in large().chunks(70_000) {
        viewer.say(id, &framed(kind::DATA, piece), false);
    }
    viewer.say(id, &headers(&[("x-trailer", "t")]), true);
    assert_eq!(viewer.answer(id).body, (1 << 20).to_string().as_bytes());
    let hinted = viewer.get("/hints", &[]);
    assert_eq!(hinted.heads.len(), 2, "{hinted:?}");
    assert!(hinted.heads[0].starts_with(":status: 103\nlink: "), "{hinted:?}");
}

#[test]
fn a_viewer_that_changes_its_port_goes_on() {
    let origin = site();
    let (edge, ca) = edge_with(&origin, "", "");
    let mut viewer = Quic::begin(edge.https.unwrap(), &ca);
    assert!(viewer.get("/large", &[]).body == large());
    // Some of the ports lead to the other core, which hands over what comes there.
    for round in 0..16 {
        let id = viewer.request(&headers(&fields("GET", "/large", &[])), true);
        viewer.until("some octets", |viewer| viewer.came(id).octets.len() > 100_000);
        viewer.rebind();
        assert!(viewer.answer(id).body == large(), "round {round}");
    }
    assert!(edge.metric("foreshore_quic_handed_over_total") > 0.0);
}

enum Expect {
    /// The connection ends with this code.
    End(u64),
    /// The stream does.
    Reset(u64),
    Status(&'static str),
}

// What is said on a request stream, after all that has to be said first.
fn on_a_request() -> Vec<(&'static str, Vec<u8>, Expect)> {
    use Expect::{End, Reset, Status};
    let get = |more: &[(&str, &str)]| headers(&fields("GET", "/a", more));
    let raw = |section: &[u8]| framed(kind::HEADERS, section);
    let then = |mut head: Vec<u8>, more: Vec<u8>| {
        head.extend(more);
        head
    };
    vec![
        ("4.1 DATA before HEADERS", framed(kind::DATA, b"x"), End(0x105)),
        ("4.1 no HEADERS at all", framed(0x21, b"grease"), Reset(0x10d)),
        ("4.1 unknown frames are skipped", then(framed(0x40, b"??"), get(&[])), Status("200")),
        ("4.1.2 a malformed field", get(&[("connection", "close")]), Reset(0x10e)),
        (
            "4.1.2 more than was announced",
            {
                let post = headers(&fields("POST", "/echo", &[("content-length", "1")]));
                then(post, framed(kind::DATA, b"xx"))
            },
            Reset(0x10e),
        ),
        (
            "4.1.2 less than was announced",
            {
                let post = headers(&fields("POST", "/echo", &[("content-length", "3")]));
                then(post, framed(kind::DATA, b"xx"))
            },
            Reset(0x10e),
        ),
        (
            "4.1 frames behind the trailers",
            then(get(&[]), then(headers(&[("t", "x")]), framed(kind::DATA, b"x"))),
            End(0x105),
        ),
        (
            "4.3 a pseudo field in trailers",
            then(get(&[]), headers(&[(":path", "/")])),
            Reset(0x10e),
        ),
        ("4.3.1 no path", headers(&fields("GET", "/a", &[])[..3]), Reset(0x10e)),
        (
            "4.4 CONNECT",
            headers(&[(":method", "CONNECT"), (":authority", "h.test:443")]),
            Status("405"),
        ),
        ("7.1 a frame that ends with its stream", get(&[])[..9].to_vec(), End(0x106)),
        ("7.2.3 CANCEL_PUSH on a request", framed(kind::CANCEL_PUSH, &[0]), End(0x105)),
        ("7.2.4 SETTINGS on a request", framed(kind::SETTINGS, &[]), End(0x105)),
        ("7.2.5 PUSH_PROMISE of a client", framed(kind::PUSH_PROMISE, &[0, 0, 0]), End(0x105)),
        ("7.2.6 GOAWAY on a request", framed(kind::GOAWAY, &[0]), End(0x105)),
        ("7.2.7 MAX_PUSH_ID on a request", framed(kind::MAX_PUSH_ID, &[0]), End(0x105)),
        ("7.2.8 a frame of HTTP/2", framed(0x6, &[0; 8]), End(0x105)),
        ("9204 2.2.3 a field of a dynamic table", raw(&[2, 0, 0x80]), End(0x200)),
        ("9204 3.1 beyond the static table", raw(&[0, 0, 0xff, 36]), End(0x200)),
        ("9204 4.5 a section that breaks off", raw(&[0, 0, 0x51, 9, b'/']), End(0x200)),
        (
            "a section beyond all bounds",
            {
                let mut head = vec![1];
                frame::write_integer(&mut head, 1 << 24);
                head
            },
            End(0x107),
        ),
        ("more fields than a head may have", get(&[("x", &"v".repeat(30_000))]), Status("431")),
    ]
}

#[test]
fn what_breaks_the_rules_of_requests_gets_the_right_code() {
    let origin = site();
    let (edge, ca) = edge_with(&origin, "", "");
    for (what, octets, expected) in on_a_request() {
        let mut viewer = Quic::begin(edge.https.unwrap(), &ca);
        let id = viewer.request(&octets, true);
        match expected {
            Expect::End(code) => assert_eq!(viewer.end(), code, "{what}"),
            Expect::Reset(code) => {
                assert_eq!(viewer.code(id), code, "{what}");
                assert_eq!(viewer.get("/a", &[]).status(), "200", "{what}: others go on");
            }
            Expect::Status(status) => assert_eq!(viewer.answer(id).status(), status, "{what}"),
        }
    }
}

#[test]
fn what_breaks_the_rules_of_other_streams_gets_the_right_code() {
    let origin = site();
    let (edge, ca) = edge_with(&origin, "", "");
    let settings = |payload: &[u8]| [&[0][..], &framed(kind::SETTINGS, payload)].concat();
    let control = |more: &[(u64, &[u8])]| {
        let mut all = settings(&[]);
        more.iter().for_each(|(kind, payload)| all.extend(framed(*kind, payload)));
        all
    };
    let cases: Vec<(&str, Vec<Vec<u8>>, u64)> = vec![
        ("6.2.1 two control streams", vec![settings(&[]), settings(&[])], 0x103),
        ("6.2.1 no settings first", vec![[&[0][..], &framed(kind::GOAWAY, &[0])].concat()], 0x10a),
        ("6.2.2 a push of a client", vec![vec![1, 0]], 0x103),
        ("7.2.1 DATA on the control stream", vec![control(&[(kind::DATA, b"x")])], 0x105),
        ("7.2.2 HEADERS on the control stream", vec![control(&[(kind::HEADERS, b"x")])], 0x105),
        (
            "7.2.3 a push that was never promised",
            vec![control(&[(kind::CANCEL_PUSH, &[0])])],
            0x108,
        ),
        ("7.2.4 settings twice", vec![control(&[(kind::SETTINGS, &[])])], 0x105),
        ("7.2.4 a setting twice", vec![settings(&[6, 1, 6, 1])], 0x109),
        ("7.2.4.1 a setting of HTTP/2", vec![settings(&[2, 0])], 0x109),
        ("7.2.4 settings that break off", vec![settings(&[6])], 0x106),
        (
            "7.2.6 a GOAWAY that goes back",
            vec![control(&[(kind::GOAWAY, &[1]), (kind::GOAWAY, &[2])])],
            0x108,
        ),
        (
            "7.2.7 a MAX_PUSH_ID that goes back",
            vec![control(&[(kind::MAX_PUSH_ID, &[2]), (kind::MAX_PUSH_ID, &[1])])],
            0x108,
        ),
        (
            "7.2.7 a MAX_PUSH_ID of two numbers",
            vec![control(&[(kind::MAX_PUSH_ID, &[2, 2])])],
            0x106,
        ),
        ("7.2.8 a frame of HTTP/2", vec![control(&[(0x2, &[])])], 0x105),
        ("9204 4.2 two encoder streams", vec![settings(&[]), vec![2], vec![2]], 0x103),
        ("9204 4.3 a table that there is not", vec![settings(&[]), vec![2, 0x3f, 0x01]], 0x201),
        ("9204 4.4 word of what was not sent", vec![settings(&[]), vec![3, 0x80]], 0x202),
        (
            "nothing but frames that ask for nothing",
            vec![control(&[(0x21, &b"g"[..]); 1_100])],
            0x107,
        ),
    ];
    for (what, streams, code) in cases {
        let mut viewer = Quic::connect(edge.https.unwrap(), &ca);
        for octets in &streams {
            viewer.uni(octets);
        }
        assert_eq!(viewer.end(), code, "{what}");
    }
    // The control stream stays for as long as the connection does.
    let mut viewer = Quic::connect(edge.https.unwrap(), &ca);
    let id = viewer.uni(&settings(&[]));
    viewer.say(id, &[], true);
    assert_eq!(viewer.end(), 0x104);
    // What is not known is not wanted, and no harm.
    let mut viewer = Quic::begin(edge.https.unwrap(), &ca);
    let grease = viewer.uni(&[0x40, 0x21, 7, 7, 7]);
    assert_eq!(viewer.code(grease), 0x103);
    viewer.uni(&[2, 0x20]);
    viewer.uni(&[3, 0x44]);
    assert_eq!(viewer.get("/a", &[]).status(), "200");
}

#[test]
fn the_edge_says_what_it_takes() {
    let origin = site();
    let (edge, ca) = edge_with(&origin, "", "");
    let mut viewer = Quic::begin(edge.https.unwrap(), &ca);
    viewer.until("settings", |viewer| viewer.control().len() > 3);
    let (kind, len, head) = frame::read_head(viewer.control()).unwrap();
    assert_eq!(kind, kind::SETTINGS);
    let settings = viewer.control()[head..head + len as usize].to_vec();
    let (id, used) = read_integer(&settings).unwrap();
    let (value, more) = read_integer(&settings[used..]).unwrap();
    assert_eq!((id, used + more), (6, settings.len()), "no table, nothing that waits for one");
    assert!(value >= 16 * 1024);
}

#[test]
fn a_viewer_that_takes_back_all_it_asks_is_ended() {
    let origin = Origin::start(|_| vec![Say::Wait(std::time::Duration::from_secs(30))]);
    let (edge, ca) = edge_with(&origin, "", "");
    let mut viewer = Quic::begin(edge.https.unwrap(), &ca);
    for _ in 0..400 {
        let asked = viewer.try_request(&headers(&fields("GET", "/slow", &[])), true);
        let Some(id) = asked else { break };
        viewer.reset(id, 0x10c);
    }
    assert_eq!(viewer.end(), 0x107);
}

#[test]
fn an_edge_that_leaves_says_so_twice_and_answers_what_is_under_way() {
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let origin = Origin::start(move |asked| {
        if asked.target == "/slow" {
            let _ = gate.lock().unwrap().recv();
        }
        fresh(b"late")
    });
    let (mut edge, ca) = edge_with(&origin, "", "");
    let mut viewer = Quic::begin(edge.https.unwrap(), &ca);
    let id = viewer.request(&headers(&fields("GET", "/slow", &[])), true);
    viewer.until("a request at the origin", |_| origin.count() == 1);
    edge.signal(rustix::process::Signal::TERM);
    let goaways = |octets: &[u8]| {
        let (mut rest, mut found) = (octets, Vec::new());
        while let Some((kind, len, head)) = frame::read_head(rest) {
            let Some(payload) = rest.get(head..head + len as usize) else { break };
            if kind == kind::GOAWAY {
                found.push(read_integer(payload).unwrap().0);
            }
            rest = &rest[head + len as usize..];
        }
        found
    };
    viewer.until("two GOAWAYs", |viewer| goaways(viewer.control()).len() == 2);
    assert_eq!(goaways(viewer.control()), [(1 << 62) - 4, 4]);
    let late = viewer.request(&headers(&fields("GET", "/a", &[])), true);
    assert_eq!(viewer.code(late), 0x10b, "it may be asked again elsewhere");
    go.send(()).unwrap();
    assert_eq!(viewer.answer(id).body, b"late");
    assert_eq!(viewer.end(), 0x100);
    assert!(edge.wait());
}

#[test]
fn a_distribution_may_do_without() {
    let origin = site();
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let (ca, chain, key) = certificates(folder.path(), &["h.test"]);
    let certificate = format!("[[certificate]]\nchain = {chain:?}\nkey = {key:?}\n");
    let config = plain(origin.address, &certificate)
        .replace("[listen]\n", "[listen]\nhttps = [\"127.0.0.1:0\"]\nhttp3 = true\n")
        .replace("hosts = [\"*\"]\n", "hosts = [\"*\"]\nhttp_version = \"http2\"\n");
    std::fs::write(folder.path().join("edge.toml"), config).unwrap();
    let edge = Edge::start_in(folder);
    let https = edge.https.unwrap();
    assert_eq!(Quic::begin(https, &ca).get("/a", &[]).status(), "421");
    let mut viewer = Viewer::connect_tls(https, "h.test", &ca).unwrap();
    assert_eq!(viewer.get("/a", &["Host: h.test"]).field("alt-svc"), None);
}

#[test]
fn viewers_are_told_the_port_that_is_configured() {
    let origin = site();
    let (edge, ca) = edge_with(&origin, "alt_svc_port = 443", "");
    let mut viewer = Viewer::connect_tls(edge.https.unwrap(), "h.test", &ca).unwrap();
    for _ in 0..2 {
        let told = viewer.get("/a", &["Host: h.test"]).field("alt-svc");
        assert_eq!(told.as_deref(), Some("h3=\":443\"; ma=86400"), "a miss, then a hit");
    }
}
