//! HTTP/3 as only frames show it (RFC 9114, RFC 9204): what is answered, what is refused, what a
//! viewer that moves sees.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use foreshore::listen::h3::frame::{self, kind, read_integer};
use quinn_proto::ConnectionError;

use super::support::edge::{certificates, command, plain};
use super::support::origin::{answer, fresh, held_back};
use super::support::quic::{Quic, begin_many, fields, first_words, framed, headers};
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
    // A HEAD that is refused gets a head alone (RFC 9110 §9.3.2).
    let head = viewer.request(&headers(&fields("HEAD", "/a/../b", &[])), true);
    let head = viewer.answer(head);
    assert_eq!((head.status(), head.body.len()), ("400", 0));
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
fn a_hit_comes_whole_through_any_window() {
    let octets = large();
    let origin = Origin::start(|asked| {
        let len: usize = asked.target[1..].parse().expect("the length of a body");
        fresh(&large()[..len])
    });
    let (edge, ca) = edge_with(&origin, "", "");
    // Less than a head, less than head and body, more than most of them.
    for window in [150, 700, 5_000] {
        let mut viewer = Quic::begin_narrow(edge.https.unwrap(), &ca, window);
        // Copied, lent, kept in one piece, sent in turns.
        for len in [1, 511, 512, 4_096, 4_097, 16_384, 16_385] {
            let path = format!("/{len}");
            for _ in 0..2 {
                let answer = viewer.get(&path, &[]);
                assert_eq!(answer.status(), "200");
                assert!(answer.body == octets[..len], "{len} octets through {window}");
            }
            if len > 1 {
                let part = viewer.get(&path, &[("range", "bytes=1-")]);
                assert_eq!(part.status(), "206");
                assert!(part.body == octets[1..len], "all but one of {len} through {window}");
            }
        }
    }
    assert_eq!(origin.count(), 7);
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
        ("7.1 DATA that ends with its stream", then(get(&[]), vec![0, 5, b'a']), End(0x106)),
        ("7.1 an unknown frame does", then(get(&[]), vec![0x21, 5, b'a']), End(0x106)),
        ("7.1 a frame's head does", then(get(&[]), vec![0x40]), End(0x106)),
        ("7.2.3 CANCEL_PUSH on a request", framed(kind::CANCEL_PUSH, &[0]), End(0x105)),
        ("7.2.4 SETTINGS on a request", framed(kind::SETTINGS, &[]), End(0x105)),
        ("7.2.5 PUSH_PROMISE of a client", framed(kind::PUSH_PROMISE, &[0, 0, 0]), End(0x105)),
        ("7.2.6 GOAWAY on a request", framed(kind::GOAWAY, &[0]), End(0x105)),
        ("7.2.7 MAX_PUSH_ID on a request", framed(kind::MAX_PUSH_ID, &[0]), End(0x105)),
        ("7.2.8 a frame of HTTP/2", framed(0x6, &[0; 8]), End(0x105)),
        ("7.2.8 PRIORITY of HTTP/2", framed(0x2, &[0; 5]), End(0x105)),
        ("7.2.8 WINDOW_UPDATE of HTTP/2", framed(0x8, &[0; 4]), End(0x105)),
        ("7.2.8 CONTINUATION of HTTP/2", then(get(&[]), framed(0x9, &[])), End(0x105)),
        ("9204 2.2.3 a field of a dynamic table", raw(&[2, 0, 0x80]), End(0x200)),
        ("9204 3.1 beyond the static table", raw(&[0, 0, 0xff, 36]), End(0x200)),
        ("9204 4.5 a section that breaks off", raw(&[0, 0, 0x51, 9, b'/']), End(0x200)),
        ("9204 4.5.1 no prefix", raw(&[]), End(0x200)),
        ("9204 4.5.1.2 a base below zero", raw(&[0, 0x80, 0xd1]), End(0x200)),
        ("9204 4.5.3 a post-base index", raw(&[0, 0, 0x10]), End(0x200)),
        ("9204 4.5.4 a name of a dynamic table", raw(&[0, 0, 0x40, 1, b'a']), End(0x200)),
        ("9204 4.5.5 a post-base name", raw(&[0, 0, 0x00, 1, b'a']), End(0x200)),
        (
            "9204 4.1.1 an integer beyond all bounds",
            raw(&[&[0, 0][..], &[0xff; 11], &[0x7f]].concat()),
            End(0x200),
        ),
        (
            "9204 4.1.2 Huffman's end of a string within it",
            raw(&[0, 0, 0x51, 0x84, 0xff, 0xff, 0xff, 0xff]),
            End(0x200),
        ),
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

// Requests whose fields are not in order.
fn of_fields() -> Vec<(&'static str, Vec<u8>, Expect)> {
    use Expect::{Reset, Status};
    let get = |more: &[(&str, &str)]| headers(&fields("GET", "/a", more));
    let without = |name: &str| {
        let mut all = fields("GET", "/a", &[]);
        all.retain(|(known, _)| *known != name);
        headers(&all)
    };
    let malformed = [
        ("4.2 a name in capitals", and_line(&[0x23, b'X', b'-', b'A', 1, b'b'])),
        ("4.2 no name", get(&[("", "b")])),
        ("4.2 a colon in a name", get(&[("a:b", "c")])),
        ("4.2 a line's end in a value", get(&[("x", "a\nb")])),
        ("4.2 a carriage return in a value", get(&[("x", "a\rb")])),
        ("4.2 NUL in a value", get(&[("x", "a\0b")])),
        ("4.2 Transfer-Encoding", get(&[("transfer-encoding", "chunked")])),
        ("4.2 Keep-Alive", get(&[("keep-alive", "x")])),
        ("4.2 Upgrade", get(&[("upgrade", "x")])),
        ("4.2 Proxy-Connection", get(&[("proxy-connection", "x")])),
        ("4.2 TE of more than trailers", get(&[("te", "gzip")])),
        ("4.3 a pseudo field that there is not", get(&[(":x", "y")])),
        ("4.3 a pseudo field of answers", get(&[(":status", "200")])),
        ("4.3 a pseudo field behind others", get(&[("x", "y"), (":authority", "h.test")])),
        ("4.3.1 a path twice", get(&[(":path", "/b")])),
        ("4.3.1 no method", without(":method")),
        ("4.3.1 no scheme", without(":scheme")),
        ("4.3.1 no path at all", without(":path")),
        ("4.3.1 an empty path", headers(&fields("GET", "", &[]))),
        ("4.1.2 a length that is no number", get(&[("content-length", "x")])),
        ("4.1.2 two lengths", get(&[("content-length", "0"), ("content-length", "1")])),
        ("4.1.2 a length without a body", get(&[("content-length", "1")])),
    ];
    // A server may answer what is malformed (§4.1.2).
    let answered = [
        ("4.2 TE of trailers", get(&[("te", "trailers")]), "200"),
        ("4.3.1 a host beside the same authority", get(&[("host", "h.test")]), "200"),
        ("4.3.1 a host beside another authority", get(&[("host", "other.test")]), "400"),
        ("4.3.1 neither authority nor host", without(":authority"), "400"),
        ("9204 4.5.6 a field never to be indexed", and_line(&[0x31, b'x', 1, b'y']), "200"),
    ];
    let malformed = malformed.into_iter().map(|(what, octets)| (what, octets, Reset(0x10e)));
    let answered =
        answered.into_iter().map(|(what, octets, status)| (what, octets, Status(status)));
    malformed.chain(answered).collect()
}

// A GET and one more field line, as its octets are: our encoder has names in lower case, and no bit
// that no table may keep a field.
fn and_line(line: &[u8]) -> Vec<u8> {
    let mut octets = headers(&fields("GET", "/a", &[]));
    let (_, _, head) = frame::read_head(&octets).unwrap();
    let mut section = octets.split_off(head);
    section.extend_from_slice(line);
    framed(kind::HEADERS, &section)
}

#[test]
fn what_breaks_the_rules_of_requests_gets_the_right_code() {
    let origin = site();
    let (edge, ca) = edge_with(&origin, "", "");
    for (what, octets, expected) in on_a_request().into_iter().chain(of_fields()) {
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
        (
            "7.2.5 PUSH_PROMISE on the control stream",
            vec![control(&[(kind::PUSH_PROMISE, &[0])])],
            0x105,
        ),
        ("7.2.6 a GOAWAY of two numbers", vec![control(&[(kind::GOAWAY, &[0, 0])])], 0x106),
        ("7.2.6 a GOAWAY of none", vec![control(&[(kind::GOAWAY, &[])])], 0x106),
        ("7.2.3 a CANCEL_PUSH of two", vec![control(&[(kind::CANCEL_PUSH, &[0, 0])])], 0x106),
        ("7.2.7 a MAX_PUSH_ID of none", vec![control(&[(kind::MAX_PUSH_ID, &[])])], 0x106),
        ("7.2.4.1 the reserved setting", vec![settings(&[0, 1])], 0x109),
        ("7.2.4 settings without end", vec![vec![0, 4, 0x80, 1, 0, 0]], 0x107),
        ("6.2.1 DATA first", vec![[&[0][..], &framed(kind::DATA, b"x")].concat()], 0x10a),
        ("6.2.1 an unknown frame first", vec![[&[0][..], &framed(0x21, &[])].concat()], 0x10a),
        ("9204 4.2 two decoder streams", vec![settings(&[]), vec![3], vec![3]], 0x103),
        (
            "9204 4.3.2 a name that is referred to",
            vec![settings(&[]), vec![2, 0xc0, 1, b'a']],
            0x201,
        ),
        ("9204 4.3.3 a name and a value", vec![settings(&[]), vec![2, 0x41, b'a', 1, b'b']], 0x201),
        ("9204 4.3.4 a duplicate", vec![settings(&[]), vec![2, 0x00]], 0x201),
        ("9204 4.4.3 an increment of nothing", vec![settings(&[]), vec![3, 0x00]], 0x202),
        ("9204 4.4.3 an increment of one", vec![settings(&[]), vec![3, 0x01]], 0x202),
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
    // So do those of QPACK, and a reset is an end (RFC 9204 §4.2).
    for kind in [2, 3] {
        let mut viewer = Quic::begin(edge.https.unwrap(), &ca);
        let id = viewer.uni(&[kind]);
        viewer.say(id, &[], true);
        assert_eq!(viewer.end(), 0x104, "{kind}");
    }
    let mut viewer = Quic::connect(edge.https.unwrap(), &ca);
    let id = viewer.uni(&settings(&[]));
    assert_eq!(viewer.get("/a", &[]).status(), "200", "the settings are read by now");
    let _ = viewer.connection.send_stream(id).reset(0x100u32.into());
    assert_eq!(viewer.end(), 0x104);
    // Ours is to stay, too (§6.2.1).
    let mut viewer = Quic::begin(edge.https.unwrap(), &ca);
    viewer.until("settings", |viewer| viewer.control().len() > 3);
    viewer.stop_control();
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
    let (origin, let_go) = held_back();
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
    let_go.store(true, Ordering::Relaxed);
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

#[test]
fn each_datagram_by_itself_is_as_good() {
    let origin = site();
    let (edge, ca) = edge_with(&origin, "gso = false", "");
    let mut viewer = Quic::begin(edge.https.unwrap(), &ca);
    for _ in 0..2 {
        assert!(viewer.get("/large", &[]).body == large(), "from the origin, then from the store");
    }
}

#[test]
fn a_viewer_over_tls_is_told_when_it_is_over() {
    let origin = site();
    let (edge, ca) = edge_with(&origin, "", "");
    let told = |edge: &Edge, path: &str| {
        let mut viewer = Viewer::connect_tls(edge.https.unwrap(), "h.test", &ca).unwrap();
        viewer.get(path, &["Host: h.test"]).field("alt-svc")
    };
    let port = edge.https.unwrap().port();
    let spoken = Some(format!("h3=\":{port}\"; ma=86400"));
    assert_eq!(told(&edge, "/a"), spoken);
    let path = edge.path().join("edge.toml");
    let with = std::fs::read_to_string(&path).unwrap();
    let without = with.replace("hosts = [\"*\"]\n", "hosts = [\"*\"]\nhttp_version = \"http2\"\n");
    std::fs::write(&path, &without).unwrap();
    assert_eq!(edge.admin("POST", "/v1/reload", "").0, 200);
    for path in ["/a", "/b"] {
        assert_eq!(told(&edge, path).as_deref(), Some("clear"), "a hit, then a miss");
    }
    assert_eq!(edge.get("/a").field("alt-svc"), None, "clear text");
    // It may be switched on again, and off at the listener, which takes a restart.
    std::fs::write(&path, &with).unwrap();
    assert_eq!(edge.admin("POST", "/v1/reload", "").0, 200);
    assert_eq!(told(&edge, "/a"), spoken);
    let folder = edge.kill();
    std::fs::write(&path, with.replace("http3 = true\n", "")).unwrap();
    let edge = Edge::start_in(folder);
    assert_eq!(told(&edge, "/a").as_deref(), Some("clear"));
    let kept = std::fs::read_to_string(edge.path().join("data/alt-svc")).unwrap();
    assert!(kept.starts_with("E1 ") && kept != "E1 told\n", "{kept}");
}

#[test]
fn the_longest_idle_makes_room() {
    let origin = site();
    let (edge, ca) = edge_with(&origin, "", "[limits]\nconnections = 2\n");
    let https = edge.https.unwrap();
    let mut first = Quic::begin(https, &ca);
    assert_eq!(first.get("/a", &[]).status(), "200");
    // What has not arrived, as far as the edge knows, keeps a connection from being idle.
    first.acknowledge();
    let mut second = Quic::begin(https, &ca);
    assert_eq!(second.get("/a", &[]).status(), "200");
    second.acknowledge();
    // Those that have only just been answered are left alone: a newcomer is refused until then.
    let mut third = None;
    eventually("a place", || {
        third = Some(Quic::connect(https, &ca)).filter(|viewer| viewer.lost.is_none());
        third.is_some()
    });
    let mut third = third.unwrap();
    third.uni(&[0, 4, 0]);
    assert_eq!(third.get("/a", &[]).status(), "200");
    assert_eq!(first.end(), 0x100, "it has been idle longest");
    assert_eq!(second.get("/a", &[]).status(), "200", "it goes on");
    assert!(edge.metric("foreshore_idle_connections_closed_total") >= 1.0);
}

#[test]
fn udp_that_another_has_is_said() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let (_, chain, key) = certificates(folder.path(), &["h.test"]);
    let certificate = format!("[[certificate]]\nchain = {chain:?}\nkey = {key:?}\n");
    let config = plain(address, &certificate)
        .replace("[listen]\n", &format!("[listen]\nhttps = [\"{address}\"]\nhttp3 = true\n"));
    std::fs::write(folder.path().join("edge.toml"), config).unwrap();
    let (code, out, _) = command(folder.path(), &["check", "--config", "edge.toml"]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains(&format!("warning: listen.http3, UDP {address}: ")), "{out}");
    let Err(log) = Edge::try_start_in(folder) else {
        panic!("an edge without the HTTP/3 that it is to have");
    };
    assert!(log.contains(&format!("listen.http3, UDP {address}: ")), "{log}");
}

#[test]
fn a_network_that_loses_repeats_and_reorders_changes_no_octet() {
    let origin = site();
    let (edge, ca) = edge_with(&origin, "", "");
    for seed in 1..=4 {
        let mut viewer = Quic::connect_shaken(edge.https.unwrap(), &ca, seed);
        viewer.uni(&[0, 4, 0]);
        assert!(viewer.get("/large", &[]).body == large(), "seed {seed}");
        let many: Vec<_> =
            (0..20).map(|_| viewer.request(&headers(&fields("GET", "/a", &[])), true)).collect();
        for id in many {
            assert_eq!(viewer.answer(id).body, b"hello", "seed {seed}");
        }
        let post = fields("POST", "/echo", &[("content-length", "262144")]);
        let id = viewer.request(&headers(&post), false);
        viewer.say(id, &framed(kind::DATA, &large()[..262_144]), true);
        assert_eq!(viewer.answer(id).body, b"262144", "seed {seed}");
    }
}

// A thousand handshakes may be under way on a core: from one port all come to the same.
#[test]
fn viewers_prove_their_address_while_many_handshakes_are_under_way() {
    let origin = site();
    let (edge, ca) = edge_with(&origin, "", "[limits]\nhandshake = \"30s\"\n");
    let https = edge.https.unwrap();
    begin_many(https, &ca, 1_100, |number| {
        // Not faster than they are read: the kernel has room for some hundred.
        if number % 25 == 24 {
            eventually("a read socket", || {
                let retried = edge.metric("foreshore_quic_retried_total");
                let begun = edge.metric("foreshore_quic_half_open") + retried;
                begun >= number as f64 - 24.0
            });
        }
    });
    assert!(edge.metric("foreshore_quic_half_open") <= 1_000.0);
    assert!(edge.metric("foreshore_quic_retried_total") >= 1.0);
    let mut viewer = Quic::begin(https, &ca);
    assert_eq!(viewer.get("/a", &[]).status(), "200", "one that proves it is served");
    assert_eq!(edge.metric("foreshore_quic_refused_total"), 0.0);
}

#[test]
fn a_head_that_does_not_end_is_given_up() {
    let origin = site();
    let (edge, ca) = edge_with(&origin, "", "[limits]\nhead_time = \"1s\"\n");
    let mut viewer = Quic::begin(edge.https.unwrap(), &ca);
    let whole = headers(&fields("GET", "/a", &[]));
    let id = viewer.request(&whole[..9], false);
    assert_eq!(viewer.code(id), 0x10d);
    assert_eq!(viewer.get("/a", &[]).status(), "200", "others go on");
}

#[test]
fn a_body_that_does_not_end_is_given_up() {
    let origin = site();
    let (edge, ca) = edge_with(&origin, "", "[limits]\nstall = \"1s\"\n");
    let mut viewer = Quic::begin(edge.https.unwrap(), &ca);
    let id = viewer.request(&headers(&fields("POST", "/echo", &[("content-length", "9")])), false);
    viewer.say(id, &framed(kind::DATA, b"half"), false);
    assert_eq!(viewer.answer(id).status(), "400");
    assert_eq!(viewer.get("/a", &[]).status(), "200", "others go on");
}

#[test]
fn status_says_whether_datagrams_ever_came() {
    let origin = site();
    let told = |edge: &Edge| -> serde_json::Value {
        let status: serde_json::Value =
            serde_json::from_str(&edge.admin("GET", "/v1/status", "").1).unwrap();
        status["http3"].clone()
    };
    let without = Edge::before(origin.address, "");
    assert_eq!(told(&without), serde_json::json!({ "listening": false, "datagrams": 0 }));
    let (edge, ca) = edge_with(&origin, "", "");
    let silent = serde_json::json!({ "listening": true, "datagrams": 0 });
    assert_eq!(told(&edge), silent, "bound, and nobody came");
    assert_eq!(Quic::begin(edge.https.unwrap(), &ca).get("/a", &[]).status(), "200");
    assert!(told(&edge)["datagrams"].as_u64().unwrap() > 1);
}

#[test]
fn a_viewer_that_only_pings_is_ended() {
    let origin = site();
    let (edge, ca) = edge_with(&origin, "", "");
    let mut viewer = Quic::begin(edge.https.unwrap(), &ca);
    viewer.until("an end", |viewer| {
        for _ in 0..20 {
            viewer.connection.ping();
            viewer.transmit();
        }
        viewer.lost.is_some()
    });
    assert_eq!(viewer.end(), 0x107);
}

#[test]
fn an_address_that_is_not_proved_is_sent_three_times_what_came_from_it_at_most() {
    let origin = site();
    let (edge, ca) = edge_with(&origin, "", "");
    let (said, came) = first_words(edge.https.unwrap(), &ca);
    assert!(said >= 1_200 && came > 0, "{said} octets, {came} back");
    // `quinn-proto` ends with the datagram that goes beyond.
    assert!(came < 3 * said + 1_500, "{said} octets, {came} back");
}

#[test]
fn viewers_hear_at_once_that_an_edge_was_started_anew() {
    let origin = site();
    let (edge, ca) = edge_with(&origin, "", "");
    let https = edge.https.unwrap();
    let mut viewer = Quic::begin(https, &ca);
    assert_eq!(viewer.get("/a", &[]).status(), "200");
    let path = edge.path().join("edge.toml");
    let folder = edge.kill();
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("https = [\"127.0.0.1:0\"]", &format!("https = [\"{https}\"]"));
    std::fs::write(&path, text).unwrap();
    let edge = Edge::start_in(folder);
    assert_eq!(edge.https, Some(https));
    // Signed with the key that the data folder kept (RFC 9000 §10.3).
    viewer.request(&headers(&fields("GET", "/a", &[])), true);
    viewer.until("a reset", |viewer| viewer.lost.is_some());
    assert!(matches!(viewer.lost, Some(ConnectionError::Reset)), "{:?}", viewer.lost);
}
