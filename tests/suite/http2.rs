//! HTTP/2 as only frames show it (RFC 9113): what is refused, how windows are kept, what an attack
//! gets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};

use super::support::edge::{certificates, plain};
use super::support::frames::*;
use super::support::origin::{after, answer, fresh};
use super::support::{Edge, Origin, Say, Viewer, eventually};

fn edge_with(origin: &Origin, more: &str) -> (Edge, std::path::PathBuf) {
    edge_before(&format!("http://{}", origin.address), more)
}

fn edge_before(url: &str, more: &str) -> (Edge, std::path::PathBuf) {
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let (ca, chain, key) = certificates(folder.path(), &["h.test"]);
    let certificate = format!("{more}\n[[certificate]]\nchain = {chain:?}\nkey = {key:?}\n");
    let nobody = ([127, 0, 0, 1], 1).into();
    let config = plain(nobody, &certificate)
        .replace(&format!("http://{nobody}"), url)
        .replace("[listen]\n", "[listen]\nhttps = [\"127.0.0.1:0\"]\n")
        // Some origins here take their time.
        .replace("response = \"3s\"", "response = \"30s\"")
        .replace("origin = \"o\"\n", "origin = \"o\"\nmethods = \"all\"\n");
    std::fs::write(folder.path().join("edge.toml"), config).unwrap();
    (Edge::start_in(folder), ca)
}

enum Expect {
    Goaway(i64),
    Reset(u32, i64),
    Status(u32, &'static str),
}

#[test]
fn what_breaks_the_rules_is_refused_with_the_right_code() {
    use Expect::{Goaway, Reset, Status};
    let origin = Origin::start(|_| fresh(b"hello"));
    let (edge, ca) = edge_with(&origin, "");
    let post_of = |len| {
        frame(HEADERS, END_HEADERS, 1, &block(&fields("POST", "/p", &[("content-length", len)])))
    };
    let with = |more: &[(&str, &str)]| {
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&fields("GET", "/a", more)))
    };
    // Kept already: a request for it is over as soon as it is read.
    assert!(Frames::connect(edge.https.unwrap(), &ca, &[]).get(1, "/a").whole);
    let slow = frame(HEADERS, END_HEADERS, 1, &block(&fields("POST", "/p", &[])));
    let half = block(&fields("GET", "/a", &[]));
    let big = "v".repeat(9_000);
    let cases: Vec<(&str, Vec<u8>, Expect)> = vec![
        ("4.2 a frame that is too large", frame(DATA, 0, 1, &[0; 16_385]), Goaway(6)),
        (
            "4.3 a block that is no HPACK",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x80]),
            Goaway(9),
        ),
        (
            "4.3 another frame within a block",
            [frame(HEADERS, END_STREAM, 1, &half), frame(PING, 0, 0, &[0; 8])].concat(),
            Goaway(1),
        ),
        ("5.1 DATA on an idle stream", frame(DATA, END_STREAM, 1, b"x"), Goaway(1)),
        ("5.1 RST_STREAM on an idle stream", frame(RST_STREAM, 0, 1, &[0; 4]), Goaway(1)),
        (
            "5.1 WINDOW_UPDATE on an idle stream",
            frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]),
            Goaway(1),
        ),
        ("5.1 CONTINUATION of nothing", frame(CONTINUATION, END_HEADERS, 1, &half), Goaway(1)),
        (
            "5.1 DATA on a closed stream",
            [get(1, "/a"), frame(DATA, END_STREAM, 1, b"x")].concat(),
            Goaway(5),
        ),
        ("5.1 HEADERS on a closed stream", [get(1, "/a"), get(1, "/a")].concat(), Goaway(5)),
        ("5.1.1 an even stream", get(2, "/a"), Goaway(1)),
        ("5.1.1 a stream below the last", [get(5, "/a"), get(3, "/a")].concat(), Goaway(5)),
        (
            "5.3.1 a stream that depends on itself",
            frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 0]),
            Reset(1, 1),
        ),
        ("6.1 DATA on no stream", frame(DATA, 0, 0, b"x"), Goaway(1)),
        (
            "6.1 padding longer than the frame",
            [slow.clone(), frame(DATA, PADDED, 1, &[9, 0])].concat(),
            Goaway(1),
        ),
        ("6.2 HEADERS on no stream", get(0, "/a"), Goaway(1)),
        ("6.3 PRIORITY on no stream", frame(PRIORITY, 0, 0, &[0; 5]), Goaway(1)),
        ("6.3 a short PRIORITY", frame(PRIORITY, 0, 1, &[0; 4]), Reset(1, 6)),
        ("6.4 RST_STREAM on no stream", frame(RST_STREAM, 0, 0, &[0; 4]), Goaway(1)),
        (
            "6.4 a short RST_STREAM",
            [get(1, "/a"), frame(RST_STREAM, 0, 1, &[0; 3])].concat(),
            Goaway(6),
        ),
        ("6.5 an ACK with settings", frame(SETTINGS, ACK, 0, &[0; 6]), Goaway(6)),
        ("6.5 SETTINGS on a stream", frame(SETTINGS, 0, 1, &[]), Goaway(1)),
        ("6.5 SETTINGS cut short", frame(SETTINGS, 0, 0, &[0; 5]), Goaway(6)),
        ("6.5.2 ENABLE_PUSH of 2", frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2]), Goaway(1)),
        (
            "6.5.2 a window beyond the largest",
            frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0]),
            Goaway(3),
        ),
        (
            "6.5.2 a frame size below the least",
            frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0x3f, 0xff]),
            Goaway(1),
        ),
        ("6.6 a push from a client", frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]), Goaway(1)),
        ("6.7 PING on a stream", frame(PING, 0, 1, &[0; 8]), Goaway(1)),
        ("6.7 a short PING", frame(PING, 0, 0, &[0; 6]), Goaway(6)),
        ("6.8 GOAWAY on a stream", frame(GOAWAY, 0, 1, &[0; 8]), Goaway(1)),
        (
            "6.9 the connection's window opened by nothing",
            frame(WINDOW_UPDATE, 0, 0, &[0; 4]),
            Goaway(1),
        ),
        (
            "6.9 a stream's window opened by nothing",
            [slow.clone(), frame(WINDOW_UPDATE, 0, 1, &[0; 4])].concat(),
            Reset(1, 1),
        ),
        ("6.9 a short WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 0, &[0; 3]), Goaway(6)),
        (
            "6.9.1 the connection's window beyond the largest",
            frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
            Goaway(3),
        ),
        (
            "6.9.1 a stream's window beyond the largest",
            [slow.clone(), frame(WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff])].concat(),
            Reset(1, 3),
        ),
        (
            "8.1 a second HEADERS that ends nothing",
            [slow.clone(), frame(HEADERS, END_HEADERS, 1, &block(&[("a", "b")]))].concat(),
            Reset(1, 1),
        ),
        (
            "8.1 a pseudo field in a trailer",
            [slow.clone(), frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[(":path", "/")]))]
                .concat(),
            Reset(1, 1),
        ),
        (
            "8.1.1 a body shorter than announced",
            [post_of("5"), frame(DATA, END_STREAM, 1, b"hell")].concat(),
            Reset(1, 1),
        ),
        (
            "8.1.1 a body longer than announced",
            [post_of("3"), frame(DATA, 0, 1, b"hell")].concat(),
            Reset(1, 1),
        ),
        ("8.1.1 no body where one is announced", with(&[("content-length", "3")]), Reset(1, 1)),
        ("8.2 an upper-case name", with(&[("Upper", "x")]), Reset(1, 1)),
        ("8.2.2 a field of HTTP/1's connections", with(&[("connection", "close")]), Reset(1, 1)),
        ("8.2.2 TE beyond trailers", with(&[("te", "gzip")]), Reset(1, 1)),
        ("8.3 an unknown pseudo field", with(&[(":x", "y")]), Reset(1, 1)),
        (
            "8.3.1 a Host that says something else",
            with(&[("host", "other.test")]),
            Status(1, "400"),
        ),
        (
            "8.3.1 a path that climbs",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&fields("GET", "/a/../b", &[]))),
            Status(1, "400"),
        ),
        (
            "10.5.1 more fields than we take",
            [
                frame(HEADERS, END_STREAM, 1, &block(&fields("GET", "/a", &[("a", &big)]))),
                frame(CONTINUATION, END_HEADERS, 1, &block(&[("b", &big), ("c", &big[..4_000])])),
            ]
            .concat(),
            Status(1, "431"),
        ),
        (
            "an answer to a request that goes on",
            frame(HEADERS, END_HEADERS, 1, &block(&fields("POST", "/../p", &[]))),
            Status(1, "400"),
        ),
        (
            "8.1 and its end",
            frame(HEADERS, END_HEADERS, 1, &block(&fields("POST", "/../p", &[]))),
            Reset(1, 0),
        ),
        ("a path that is too long", get(1, &format!("/{big}")), Status(1, "414")),
    ];
    for (what, bytes, expected) in cases {
        let mut viewer = Frames::connect(edge.https.unwrap(), &ca, &[]);
        viewer.send(&bytes);
        match expected {
            Goaway(code) => {
                assert_eq!(viewer.goaway(), code, "{what}");
                while viewer.next().is_some() {}
            }
            Reset(stream, code) => {
                assert_eq!(viewer.reset(stream), code, "{what}");
                assert_eq!(
                    viewer.get(7, "/a").statuses(),
                    ["200"],
                    "{what}: the connection goes on"
                );
            }
            Status(stream, status) => {
                assert_eq!(viewer.answer(stream).statuses(), [status], "{what}");
                assert_eq!(
                    viewer.get(7, "/a").statuses(),
                    ["200"],
                    "{what}: the connection goes on"
                );
            }
        }
    }
    let mut viewer = Frames::connect_silent(edge.https.unwrap(), &ca);
    viewer.send(b"GET / HTTP/1.1\r\nHost: h.test\r\n\r\n");
    assert_eq!(viewer.goaway(), 1, "3.4 not the preface");
    let mut viewer = Frames::connect_silent(edge.https.unwrap(), &ca);
    viewer
        .send(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(PING, 0, 0, &[0; 8])].concat());
    assert_eq!(viewer.goaway(), 1, "3.4 no settings behind the preface");
}

#[test]
fn what_is_allowed_is_understood() {
    let origin = Origin::start(|asked| match asked.method.as_str() {
        "POST" => answer(200, "Cache-Control: no-store", asked.body.to_string().as_bytes()),
        _ => fresh(b"hello"),
    });
    let (edge, ca) = edge_with(&origin, "");
    let mut viewer = Frames::connect(edge.https.unwrap(), &ca, &[(0x9999, 1)]);
    assert_eq!(viewer.find(|f| f.kind == SETTINGS && f.flags & ACK != 0).unwrap().payload, b"");
    // Unknown frames and flags, PRIORITY on an idle stream, PING, a block in three pieces with
    // padding.
    viewer.send(&frame(0x77, 0xff, 5, b"whatever"));
    viewer.send(&frame(PRIORITY, 0, 99, &[0, 0, 0, 1, 5]));
    viewer.send(&frame(PING, 0, 0, b"12345678"));
    assert_eq!(
        viewer.find(|f| f.kind == PING).unwrap(),
        Frame { kind: PING, flags: ACK, stream: 0, payload: b"12345678".to_vec() }
    );
    let half = block(&fields("GET", "/a", &[("x", "y")]));
    let padded = [&[3u8][..], &half[..10], &[0; 3]].concat();
    viewer.send(&frame(HEADERS, END_STREAM | PADDED, 1, &padded));
    viewer.send(&frame(CONTINUATION, 0, 1, &half[10..20]));
    viewer.send(&frame(CONTINUATION, END_HEADERS, 1, &half[20..]));
    let answer = viewer.answer(1);
    assert_eq!(
        (answer.statuses(), answer.body, answer.whole),
        (vec!["200".to_string()], b"hello".to_vec(), true)
    );
    // A body with padding, and a trailer, for which a length leaves no place.
    viewer.send(&frame(
        HEADERS,
        END_HEADERS,
        3,
        &block(&fields("POST", "/p", &[("content-length", "6")])),
    ));
    viewer.send(&frame(DATA, PADDED, 3, b"\x04abc\0\0\0\0"));
    viewer.send(&frame(DATA, 0, 3, b"def"));
    viewer.send(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &block(&[("t", "1")])));
    assert_eq!(viewer.answer(3).body, b"6");
    assert!(origin.seen().iter().all(|asked| asked.field("t").is_none()));
    // Cookies in crumbs are one field.
    viewer.send(&frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        5,
        &block(&fields("POST", "/c", &[("cookie", "a=1"), ("cookie", "b=2")])),
    ));
    assert!(viewer.answer(5).whole);
    // A hit, with HEAD and with conditions.
    let hit = viewer.get(7, "/a");
    assert_eq!(
        (hit.field("x-cache").unwrap().as_str(), hit.field("content-length").unwrap().as_str()),
        ("Hit from foreshore", "5")
    );
    viewer.send(&frame(HEADERS, END_HEADERS | END_STREAM, 9, &block(&fields("HEAD", "/a", &[]))));
    let head = viewer.answer(9);
    assert_eq!(
        (head.field("content-length").unwrap().as_str(), head.body.len(), head.whole),
        ("5", 0, true)
    );
    viewer.send(&frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        11,
        &block(&fields("GET", "/a", &[("range", "bytes=1-2")])),
    ));
    assert_eq!(
        (viewer.answer(11).body, viewer.kept.iter().any(|f| f.kind == GOAWAY)),
        (b"el".to_vec(), false)
    );
}

#[test]
fn interim_responses_pass_over_http2_and_leave_no_trace() {
    let seen = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&seen);
    let origin = Origin::start(move |_| {
        let mut steps = vec![
            Say::Bytes(b"HTTP/1.1 102 Processing\r\nX-Interim: a\r\n\r\n".to_vec()),
            Say::Wait(Duration::from_millis(100)),
            Say::Bytes(b"HTTP/1.1 103 Early Hints\r\nLink: </s.css>; rel=preload\r\n\r\n".to_vec()),
            // They come as they are said: no final one is said before.
            Say::Until(Arc::clone(&gate)),
        ];
        steps.extend(fresh(b"final"));
        steps
    });
    let (edge, ca) = edge_with(&origin, "");
    let mut viewer = Frames::connect(edge.https.unwrap(), &ca, &[]);
    viewer.send(&get(1, "/a"));
    for _ in 0..2 {
        let interim = viewer.next_head();
        assert_eq!(interim.flags & END_STREAM, 0);
        viewer.kept.push(interim);
    }
    seen.store(true, Ordering::Relaxed);
    let answer = viewer.answer(1);
    assert_eq!(answer.statuses(), ["102", "103", "200"]);
    assert!(answer.heads[1].contains(&("link".into(), "</s.css>; rel=preload".into())));
    assert_eq!((answer.field("link"), answer.field("x-interim")), (None, None));
    let hit = viewer.get(3, "/a");
    assert_eq!((hit.statuses(), hit.field("link")), (vec!["200".to_string()], None));
}

#[test]
fn a_body_is_sent_for_when_somebody_wants_it() {
    let origin = Origin::start(|asked| {
        answer(200, "Cache-Control: no-store", asked.body.to_string().as_bytes())
    });
    let (edge, ca) = edge_with(&origin, "");
    let mut viewer = Frames::connect(edge.https.unwrap(), &ca, &[]);
    let expects = fields("POST", "/p", &[("expect", "100-continue"), ("content-length", "5")]);
    viewer.send(&frame(HEADERS, END_HEADERS, 1, &block(&expects)));
    let first = viewer.next_head();
    viewer.kept.push(first);
    viewer.send(&frame(DATA, END_STREAM, 1, b"hello"));
    let answer = viewer.answer(1);
    assert_eq!(
        (answer.statuses(), answer.body),
        (vec!["100".to_string(), "200".into()], b"5".to_vec())
    );
}

#[test]
fn no_octet_goes_beyond_a_window() {
    let body: Vec<u8> = (0..200_000u32).map(|at| at as u8).collect();
    let origin = {
        let body = body.clone();
        Origin::start(move |_| fresh(&body))
    };
    let (edge, ca) = edge_with(&origin, "");
    for path in ["/a", "/a", "/b"] {
        // A stream's window of three octets, then none, then plenty; the connection's is 65,535
        // throughout.
        let mut viewer = Frames::connect(edge.https.unwrap(), &ca, &[(4, 3)]);
        viewer.send(&get(1, path));
        let first = viewer.find(|f| f.kind == DATA).unwrap();
        assert_eq!(first.payload, &body[..3], "{path}");
        // A ping's answer shows that nothing else was on its way.
        viewer.send(&frame(PING, 0, 0, &[1; 8]));
        viewer.find(|f| f.kind == PING && f.payload == [1; 8]).unwrap();
        assert!(viewer.kept.iter().all(|f| f.kind != DATA));
        viewer.send(&frame(SETTINGS, 0, 0, &[0, 4, 0, 3, 0xff, 0xff]));
        let mut got = 3;
        while got < 65_535 {
            got += viewer.find(|f| f.kind == DATA).unwrap().payload.len();
        }
        assert_eq!(got, 65_535);
        viewer.send(&frame(PING, 0, 0, &[2; 8]));
        viewer.find(|f| f.kind == PING && f.payload == [2; 8]).unwrap();
        assert!(viewer.kept.iter().all(|f| f.kind != DATA));
        viewer.send(&frame(WINDOW_UPDATE, 0, 0, &200_000u32.to_be_bytes()));
        let rest = viewer.answer(1);
        assert_eq!((rest.body.len(), rest.whole), (200_000 - 65_535, true));
        assert_eq!(rest.body, &body[65_535..]);
    }
}

#[test]
fn uploads_keep_to_our_windows_and_get_them_back() {
    let origin = Origin::start(|asked| {
        answer(200, "Cache-Control: no-store", asked.body.to_string().as_bytes())
    });
    let (edge, ca) = edge_with(&origin, "");
    let mut viewer = Frames::connect(edge.https.unwrap(), &ca, &[]);
    viewer.send(&frame(
        HEADERS,
        END_HEADERS,
        1,
        &block(&fields("POST", "/p", &[("content-length", "3145728")])),
    ));
    let (mut stream, mut connection, mut left) = (256 * 1024i64, 1 << 20, 3i64 << 20);
    while left > 0 {
        while stream >= 16_384 && connection >= 16_384 && left > 0 {
            left -= 16_384;
            stream -= 16_384;
            connection -= 16_384;
            viewer.send(&frame(DATA, if left == 0 { END_STREAM } else { 0 }, 1, &[7; 16_384]));
        }
        if left > 0 {
            let more = viewer.find(|f| f.kind == WINDOW_UPDATE).unwrap();
            let by = i64::from(u32::from_be_bytes(more.payload[..4].try_into().unwrap()));
            if more.stream == 0 { connection += by } else { stream += by }
        }
    }
    assert_eq!(viewer.answer(1).body, (3 << 20).to_string().as_bytes());
}

#[test]
fn more_than_its_window_ends_a_stream_and_not_the_connection() {
    // Whose handshake ends for nobody: what is sent to it is not taken, and no window given back.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (edge, ca) = edge_before(&format!("https://{}", silent.local_addr().unwrap()), "");
    let mut viewer = Frames::connect(edge.https.unwrap(), &ca, &[]);
    viewer.send(&frame(HEADERS, END_HEADERS, 1, &block(&fields("POST", "/p", &[]))));
    for _ in 0..80 {
        viewer.send(&frame(DATA, 0, 1, &[7; 16_384]));
    }
    assert_eq!(viewer.reset(1), 3, "FLOW_CONTROL_ERROR");
    // What was on its way to a stream that is gone is given back, so that others go on.
    viewer.send(&frame(PING, 0, 0, &[7; 8]));
    assert!(viewer.find(|f| f.kind == PING && f.flags == 1 && f.payload == [7; 8]).is_some());
}

#[test]
fn a_flood_of_resets_or_of_empty_frames_ends_the_connection() {
    let origin = Origin::start(|_| after(3_000, fresh(b"slow")));
    let (edge, ca) = edge_with(&origin, "");
    let rapid = |at: u32| {
        let id = 1 + 2 * at;
        [get(id, &format!("/{id}")), frame(RST_STREAM, 0, id, &[0, 0, 0, 8])].concat()
    };
    type Flood = Box<dyn Fn(u32) -> Vec<u8>>;
    let floods: [(&str, Flood); 5] = [
        ("rapid reset (CVE-2023-44487)", Box::new(rapid)),
        ("PING", Box::new(|_| frame(PING, 0, 0, &[0; 8]))),
        ("SETTINGS", Box::new(|_| frame(SETTINGS, 0, 0, &[]))),
        ("PRIORITY", Box::new(|_| frame(PRIORITY, 0, 3, &[0, 0, 0, 1, 5]))),
        (
            "made to reset (CVE-2025-8671)",
            Box::new(|at| {
                let id = 1 + 2 * at;
                [get(id, &format!("/m{id}")), frame(WINDOW_UPDATE, 0, id, &[0; 4])].concat()
            }),
        ),
    ];
    for (what, flood) in floods {
        let mut viewer = Frames::connect(edge.https.unwrap(), &ca, &[]);
        for from in (0..3_000).step_by(100) {
            let bytes: Vec<u8> = (from..from + 100).flat_map(&flood).collect();
            viewer.send(&bytes);
        }
        assert_eq!(viewer.goaway(), 11, "{what}");
    }
    // A block without end (CVE-2024-27316 and its kin).
    let mut viewer = Frames::connect(edge.https.unwrap(), &ca, &[]);
    viewer.send(&frame(HEADERS, END_STREAM, 1, &block(&fields("GET", "/a", &[]))));
    for _ in 0..100 {
        viewer.send(&frame(CONTINUATION, 0, 1, &block(&[("x", &"y".repeat(1_000))])));
    }
    assert_eq!(viewer.goaway(), 11);
    assert!(origin.count() < 300, "{}", origin.count());
}

#[test]
fn more_streams_than_allowed_are_refused_and_may_come_again() {
    let origin = Origin::start(|_| after(1_000, fresh(b"slow")));
    let (edge, ca) = edge_with(&origin, "[limits]\nstreams = 4\n");
    let mut viewer = Frames::connect(edge.https.unwrap(), &ca, &[]);
    let all: Vec<u8> = (0..5).flat_map(|at| get(1 + 2 * at, &format!("/{at}"))).collect();
    viewer.send(&all);
    assert_eq!(viewer.reset(9), 7, "REFUSED_STREAM");
    for id in [1, 3, 5, 7] {
        assert_eq!(viewer.answer(id).body, b"slow");
    }
    assert_eq!(viewer.get(11, "/4").body, b"slow");
}

#[test]
fn a_drain_lets_streams_finish_and_says_which_was_the_last() {
    let origin = Origin::start(|_| after(1_500, fresh(b"slow")));
    let (mut edge, ca) = edge_with(&origin, "");
    let mut viewer = Frames::connect(edge.https.unwrap(), &ca, &[]);
    viewer.send(&get(1, "/a"));
    eventually("the origin is asked", || origin.count() == 1);
    edge.signal(rustix::process::Signal::TERM);
    let first = viewer.find(|f| f.kind == GOAWAY).unwrap();
    assert_eq!(&first.payload[..4], &0x7fff_ffffu32.to_be_bytes());
    // What was on its way before the viewer heard of it is answered too.
    viewer.send(&get(3, "/b"));
    viewer.send(&frame(PING, ACK, 0, b"last one"));
    let last = viewer.find(|f| f.kind == GOAWAY).unwrap();
    assert_eq!(&last.payload[..8], [3u32.to_be_bytes(), 0u32.to_be_bytes()].concat());
    assert_eq!(
        (viewer.answer(1).body, viewer.answer(3).body),
        (b"slow".to_vec(), b"slow".to_vec())
    );
    assert!(viewer.next().is_none() && edge.wait());
}

#[test]
fn viewers_that_say_nothing_do_not_stay() {
    let origin = Origin::start(|_| fresh(b"hello"));
    let (edge, ca) =
        edge_with(&origin, "[limits]\nidle = \"1s\"\nhead_time = \"1s\"\nstall = \"1s\"\n");
    let ends = |viewer: &mut Frames| {
        let began = Instant::now();
        while viewer.next().is_some() {}
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    };
    ends(&mut Frames::connect_silent(edge.https.unwrap(), &ca));
    let mut idle = Frames::connect(edge.https.unwrap(), &ca, &[]);
    assert_eq!(idle.get(1, "/a").body, b"hello");
    ends(&mut idle);
    let mut half = Frames::connect(edge.https.unwrap(), &ca, &[]);
    half.send(&frame(HEADERS, END_STREAM, 1, &block(&fields("GET", "/a", &[]))));
    ends(&mut half);
    let mut cut = Frames::connect(edge.https.unwrap(), &ca, &[]);
    cut.send(&get(1, "/a")[..12]);
    ends(&mut cut);
    // A body that does not come: the request fails, the connection goes on.
    let mut upload = Frames::connect(edge.https.unwrap(), &ca, &[]);
    upload.send(&frame(
        HEADERS,
        END_HEADERS,
        1,
        &block(&fields("POST", "/p", &[("content-length", "5")])),
    ));
    let answer = upload.answer(1);
    assert!(
        matches!(answer.statuses()[0].as_str(), "408" | "400" | "504" | "502"),
        "{:?}",
        answer.statuses()
    );
}

fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn a_viewer_that_stops_reading_costs_nothing() {
    let origin = Origin::start(|_| fresh(&vec![b'x'; 16 << 20]));
    let (edge, ca) = edge_with(&origin, "");
    let wide = [(4, 0x7fff_ffff)];
    assert_eq!(
        Frames::connect(edge.https.unwrap(), &ca, &wide)
            .get_with_window(1, "/a", 32 << 20)
            .body
            .len(),
        16 << 20
    );
    let mut viewer = Frames::connect(edge.https.unwrap(), &ca, &wide);
    viewer.send(&frame(WINDOW_UPDATE, 0, 0, &(1u32 << 30).to_be_bytes()));
    viewer.send(&get(1, "/a"));
    // Once there is no more room for octets on their way, which a busy machine takes a while to fill.
    eventually("less than a tenth of a core is spent on it", || {
        let before = cpu_ticks(edge.pid());
        std::thread::sleep(Duration::from_secs(2));
        cpu_ticks(edge.pid()) - before < 20
    });
    assert_eq!(viewer.answer(1).body.len(), 16 << 20, "and it may go on");
}

#[test]
fn requests_that_wait_for_room_are_not_slow_requests() {
    let origin = Origin::start(|_| fresh(&vec![b'x'; 15_000]));
    let (edge, ca) = edge_with(&origin, "[limits]\nhead_time = \"1s\"\n");
    let mut viewer = Frames::connect(edge.https.unwrap(), &ca, &[(4, 0x7fff_ffff)]);
    viewer.send(&frame(WINDOW_UPDATE, 0, 0, &(1u32 << 30).to_be_bytes()));
    viewer.send(&get(1, "/a"));
    assert!(viewer.answer(1).whole);
    let many: Vec<u8> = (1..1_500).flat_map(|at| get(1 + 2 * at, "/a")).collect();
    viewer.send(&many);
    std::thread::sleep(Duration::from_secs(3));
    for at in 1..1_500 {
        assert!(viewer.answer(1 + 2 * at).whole, "{at}");
    }
}

#[test]
fn window_updates_that_were_paid_for_are_no_flood() {
    let origin = Origin::start(|_| fresh(&vec![b'x'; 5 << 20]));
    let (edge, ca) = edge_with(&origin, "");
    let mut viewer = Frames::connect(edge.https.unwrap(), &ca, &[(4, 16 << 20)]);
    assert_eq!(viewer.get_with_window(1, "/a", 16 << 20).body.len(), 5 << 20);
    for _ in 0..5 << 20 >> 12 {
        viewer.send(&frame(WINDOW_UPDATE, 0, 0, &4096u32.to_be_bytes()));
    }
    assert!(viewer.get_with_window(3, "/a", 1).whole);
}

#[test]
fn an_end_needs_no_window() {
    let origin = Origin::start(|_| {
        let mut all = b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n".to_vec();
        all.extend(vec![b'x'; 65_535]);
        all.extend(b"\r\n0\r\n\r\n");
        vec![Say::Bytes(all)]
    });
    let (edge, ca) = edge_with(&origin, "");
    let mut viewer = Frames::connect(edge.https.unwrap(), &ca, &[(4, 1 << 20)]);
    let began = Instant::now();
    let answer = viewer.get(1, "/a");
    assert_eq!((answer.body.len(), answer.whole), (65_535, true));
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[test]
fn frames_on_their_way_when_a_drain_ends_harm_nobody() {
    let origin = Origin::start(|_| after(2_500, fresh(b"slow")));
    let (edge, ca) = edge_with(&origin, "");
    let mut viewer = Frames::connect(edge.https.unwrap(), &ca, &[]);
    viewer.send(&get(1, "/a"));
    eventually("the origin is asked", || origin.count() == 1);
    edge.signal(rustix::process::Signal::TERM);
    for _ in 0..2 {
        viewer.find(|f| f.kind == GOAWAY).unwrap();
    }
    viewer.send(&frame(HEADERS, END_HEADERS, 3, &block(&fields("POST", "/p", &[]))));
    viewer.send(&frame(DATA, 0, 3, b"hello"));
    viewer.send(&frame(WINDOW_UPDATE, 0, 3, &[0, 0, 0, 9]));
    assert_eq!(viewer.reset(3), 7, "REFUSED_STREAM: it may be asked elsewhere");
    assert_eq!(viewer.answer(1).body, b"slow");
}

#[test]
fn uploads_that_were_answered_early_harm_nobody() {
    let origin = Origin::start(|_| fresh(b"hello"));
    let (edge, ca) = edge_with(&origin, "");
    let mut viewer = Frames::connect(edge.https.unwrap(), &ca, &[]);
    let heads: Vec<u8> = (0..100)
        .flat_map(|at| {
            frame(HEADERS, END_HEADERS, 1 + 2 * at, &block(&fields("POST", "/../p", &[])))
        })
        .collect();
    viewer.send(&heads);
    for at in 0..100 {
        assert_eq!(viewer.answer(1 + 2 * at).statuses(), ["400"]);
        assert_eq!(viewer.reset(1 + 2 * at), 0);
    }
    let late: Vec<u8> = (0..100).flat_map(|at| frame(DATA, 0, 1 + 2 * at, b"late")).collect();
    viewer.send(&late);
    assert_eq!(viewer.get(301, "/a").body, b"hello");
}

#[test]
fn no_interim_follows_the_final_head() {
    let origin = Origin::start(|asked| {
        if asked.field("if-none-match").is_some() {
            let interim = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".to_vec();
            return vec![Say::Bytes(interim), Say::Wait(Duration::from_secs(1)), Say::Close];
        }
        answer(
            200,
            "Cache-Control: max-age=1, stale-while-revalidate=60\r\nETag: \"a\"",
            &[b'x'; 50_000],
        )
    });
    let (edge, ca) = edge_with(&origin, "");
    let mut viewer = Frames::connect(edge.https.unwrap(), &ca, &[(4, 10)]);
    viewer.send(&get(1, "/a"));
    viewer.send(&frame(WINDOW_UPDATE, 0, 1, &60_000u32.to_be_bytes()));
    assert!(viewer.answer(1).whole);
    std::thread::sleep(Duration::from_millis(1_200));
    viewer.send(&get(3, "/a"));
    eventually("it is refreshed", || origin.count() == 2);
    std::thread::sleep(Duration::from_millis(300));
    viewer.send(&frame(WINDOW_UPDATE, 0, 0, &60_000u32.to_be_bytes()));
    viewer.send(&frame(WINDOW_UPDATE, 0, 3, &60_000u32.to_be_bytes()));
    let stale = viewer.answer(3);
    assert_eq!(
        (stale.statuses(), stale.body.len(), stale.whole),
        (vec!["200".to_string()], 50_000, true)
    );
}

#[test]
fn a_body_octet_by_octet_takes_no_more_memory_than_its_octets() {
    let origin = Origin::start(|_| after(4_000, fresh(b"slow")));
    let (edge, ca) = edge_with(&origin, "");
    let mut viewer = Frames::connect(edge.https.unwrap(), &ca, &[]);
    viewer.send(&frame(HEADERS, END_HEADERS, 1, &block(&fields("POST", "/p", &[]))));
    let octets: Vec<u8> = (0..1_000).flat_map(|_| frame(DATA, 0, 1, b"x")).collect();
    let mut send = |times: usize| {
        (0..times).for_each(|_| viewer.send(&octets));
        viewer.send(&frame(PING, 0, 0, &[3; 8]));
        viewer.find(|f| f.kind == PING && f.payload == [3; 8]).unwrap();
        edge.memory().0
    };
    // An edge that has just begun to listen takes some megabytes more once it does anything.
    let before = send(1);
    let after = send(249);
    assert!(after < before + 8 * 1024, "{before} -> {after}");
}

// What a viewer and the edge agree on that offers both.
fn agreed(address: std::net::SocketAddr, ca: &std::path::Path, name: &'static str) -> Vec<u8> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = ServerName::try_from(name).unwrap();
    let mut session = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut tcp = std::net::TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    while session.is_handshaking() {
        session.complete_io(&mut tcp).unwrap();
    }
    session.alpn_protocol().unwrap_or_default().to_vec()
}

#[test]
fn a_distribution_may_do_without() {
    let origin = Origin::start(|_| fresh(b"hello"));
    for version in ["http1.1", "http3"] {
        let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
        let (ca, chain, key) = certificates(folder.path(), &["h.test", "a.test"]);
        let other = format!(
            "[[certificate]]\nchain = {chain:?}\nkey = {key:?}\n[[distribution]]\nid = \"E2\"\nhosts = [\"h.test\"]\n\
             [[distribution.origin]]\nid = \"o\"\nurl = \"http://{}\"\n",
            origin.address
        );
        let config = plain(origin.address, &other)
            .replace("[listen]\n", "[listen]\nhttps = [\"127.0.0.1:0\"]\n")
            .replace(
                "hosts = [\"*\"]\n",
                &format!("hosts = [\"*\"]\nhttp_version = \"{version}\"\n"),
            );
        std::fs::write(folder.path().join("edge.toml"), config).unwrap();
        let edge = Edge::start_in(folder);
        let https = edge.https.unwrap();
        assert_eq!(agreed(https, &ca, "h.test"), b"h2");
        assert_eq!(agreed(https, &ca, "a.test"), b"http/1.1");
        let mut old = Viewer::connect_tls(https, "a.test", &ca).unwrap();
        assert_eq!(old.get("/a", &["Host: a.test"]).status, 200);
        // Nor over a connection that another name was asked for with.
        let mut frames = Frames::connect(https, &ca, &[]);
        let host = |authority: &'static str| {
            vec![
                (":method", "GET"),
                (":scheme", "https"),
                (":authority", authority),
                (":path", "/a"),
            ]
        };
        for (stream, authority, status) in [(1, "a.test", "421"), (3, "h.test", "200")] {
            let head = block(&host(authority));
            frames.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &head));
            assert_eq!(frames.answer(stream).statuses(), [status], "{authority}");
        }
    }
}

// RFC 9110 §9.3.2: clients take content behind the head of an answer to HEAD for a broken stream.
#[test]
fn a_head_that_is_refused_is_answered_by_a_head_alone() {
    let origin = Origin::start(|_| fresh(b"hello"));
    let (edge, ca) = edge_with(&origin, "");
    let mut frames = Frames::connect(edge.https.unwrap(), &ca, &[]);
    let long = format!("/{}", "a".repeat(9000));
    let cases = [(1, "/a/../b", "400"), (5, "/%2e%2e/b", "400"), (9, &long[..], "414")];
    for (stream, path, status) in cases {
        let asks = |method: &str| block(&fields(method, path, &[]));
        frames.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &asks("HEAD")));
        let head = frames.answer(stream);
        assert_eq!(head.statuses(), [status], "{path:.20}");
        assert!(head.whole && head.body.is_empty(), "{path:.20}");
        // With the fields that a GET has; the connection goes on.
        frames.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream + 2, &asks("GET")));
        let get = frames.answer(stream + 2);
        assert_eq!(get.statuses(), [status], "{path:.20}");
        assert_eq!(get.field("content-length"), Some(get.body.len().to_string()));
        assert_eq!(head.field("content-length"), get.field("content-length"));
        assert!(get.whole && !get.body.is_empty(), "{path:.20}");
    }
}
