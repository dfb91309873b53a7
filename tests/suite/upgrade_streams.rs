//! What a viewer has under way while a new process takes the place of an edge: it ends whole in the
//! old one, or when its grace is over.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use super::support::edge::{certificates, plain};
use super::support::frames::{
    ACK, DATA, END_STREAM, Frames, GOAWAY, PING, WINDOW_UPDATE, frame, get,
};
use super::support::origin::fresh;
use super::support::{Edge, Origin};
use super::tunnel::{agreeing, connect, handshake, head, open, secure, to_the_end};
use super::upgrade::upgrade;

/// A text from a viewer, under a mask of zeros, and what is answered to it.
const SAID: &[u8; 9] = b"\x81\x83\0\0\0\0hey";
const ANSWERED: &[u8; 5] = b"\x81\x03hey";
/// "Going away".
const GOODBYE: &[u8] = b"\x88\x02\x03\xe9";

// Answers each text until the other says goodbye.
fn converse(mut tcp: TcpStream) {
    let mut said = [0; SAID.len()];
    while tcp.read_exact(&mut said[..2]).is_ok() && said[0] == SAID[0] {
        if tcp.read_exact(&mut said[2..]).is_err() || tcp.write_all(ANSWERED).is_err() {
            return;
        }
    }
}

fn say(viewer: &mut TcpStream) {
    viewer.write_all(SAID).unwrap();
    let mut heard = [0; ANSWERED.len()];
    viewer.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, ANSWERED);
}

fn say_over_http2(viewer: &mut Frames) {
    viewer.send(&frame(DATA, 0, 1, SAID));
    assert_eq!(viewer.data(1, ANSWERED.len()), ANSWERED);
}

#[test]
fn tunnels_go_on_in_the_old_process_until_their_grace_is_over() {
    let origin = agreeing("", converse);
    // A grace of eight seconds.
    let (mut edge, ca) = secure(origin.address, "[limits]\ndrain = \"10s\"");
    let https = edge.https.unwrap();
    let begin = |edge: &Edge| {
        let mut viewer = connect(edge);
        viewer.write_all(handshake("/").as_bytes()).unwrap();
        assert!(head(&mut viewer).unwrap().contains(" 101 "));
        viewer
    };
    let mut plain = begin(&edge);
    say(&mut plain);
    let mut viewer = Frames::connect(https, &ca, &[]);
    assert_eq!(open(&mut viewer, 1, "/", b"").statuses(), ["200"]);
    say_over_http2(&mut viewer);
    let _next = upgrade(&edge);
    say(&mut plain);
    say_over_http2(&mut viewer);
    assert!(viewer.find(|frame| frame.kind == GOAWAY).is_some(), "no new stream comes there");
    assert_eq!(to_the_end(&mut plain), GOODBYE);
    drop(plain);
    assert_eq!(viewer.data(1, usize::MAX), GOODBYE);
    viewer.send(&frame(DATA, END_STREAM, 1, b""));
    assert!(edge.wait(), "{}", edge.log());
    let mut later = begin(&edge);
    say(&mut later);
    let mut viewer = Frames::connect(https, &ca, &[]);
    assert_eq!(open(&mut viewer, 1, "/", b"").statuses(), ["200"]);
    say_over_http2(&mut viewer);
}

// Octets that are in no order by which a part could pass for another.
fn long() -> Vec<u8> {
    (0u32..300_000).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[test]
fn a_slow_http2_download_ends_whole_in_the_old_process() {
    let origin = Origin::start(|asked| match asked.target.as_str() {
        "/long" => fresh(&long()),
        _ => fresh(b"x"),
    });
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let (ca, chain, key) = certificates(folder.path(), &["h.test"]);
    let more = format!("[[certificate]]\nchain = {chain:?}\nkey = {key:?}\n");
    let spoken = "[listen]\nhttps = [\"127.0.0.1:0\"]\n";
    let config = plain(origin.address, &more).replace("[listen]\n", spoken);
    std::fs::write(folder.path().join("edge.toml"), config).unwrap();
    let mut edge = Edge::start_in(folder);
    let https = edge.https.unwrap();
    let mut viewer = Frames::connect(https, &ca, &[]);
    // As far as the windows of a connection reach that the viewer never opens.
    viewer.send(&get(1, "/long"));
    assert_eq!(viewer.head(1).statuses(), ["200"]);
    let mut came = viewer.data(1, 65_535);
    assert_eq!(came.len(), 65_535);
    let _next = upgrade(&edge);
    let first = viewer.find(|frame| frame.kind == GOAWAY).unwrap();
    assert_eq!(first.payload[..4], 0x7fff_ffffu32.to_be_bytes());
    // What was on its way before the viewer heard of it is answered too.
    viewer.send(&get(3, "/short"));
    viewer.send(&frame(PING, ACK, 0, b"last one"));
    let last = viewer.find(|frame| frame.kind == GOAWAY).unwrap();
    assert_eq!(last.payload[..8], [3u32.to_be_bytes(), 0u32.to_be_bytes()].concat());
    let more = (1u32 << 20).to_be_bytes();
    viewer.send(&[frame(WINDOW_UPDATE, 0, 0, &more), frame(WINDOW_UPDATE, 0, 1, &more)].concat());
    came.extend(viewer.data(1, usize::MAX));
    assert!(came == long(), "{} octets", came.len());
    assert_eq!(viewer.answer(3).body, b"x");
    while viewer.next().is_some() {}
    assert!(edge.wait(), "{}", edge.log());
    assert_eq!(Frames::connect(https, &ca, &[]).get(1, "/short").body, b"x");
}

#[cfg(feature = "http3")]
#[test]
fn an_http3_request_is_answered_by_the_old_process() {
    use super::support::eventually;
    use super::support::origin::held_back;
    use super::support::quic::{Quic, fields, headers};
    let (origin, let_go) = held_back();
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let (ca, chain, key) = certificates(folder.path(), &["h.test"]);
    let more = format!("[[certificate]]\nchain = {chain:?}\nkey = {key:?}\n");
    let spoken = "[listen]\nhttps = [\"127.0.0.1:0\"]\nhttp3 = true\n";
    // The answer is under way for as long as an upgrade takes.
    let config = plain(origin.address, &more)
        .replace("[listen]\n", spoken)
        .replace("response = \"3s\"", "response = \"60s\"");
    std::fs::write(folder.path().join("edge.toml"), config).unwrap();
    let mut edge = Edge::start_in(folder);
    let https = edge.https.unwrap();
    let mut viewer = Quic::begin(https, &ca);
    let id = viewer.request(&headers(&fields("GET", "/slow", &[])), true);
    viewer.until("a request at the origin", |_| origin.count() == 1);
    let _next = upgrade(&edge);
    let_go.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(viewer.answer(id).body, b"late");
    assert_eq!(viewer.end(), 0x100, "the old process leaves in order");
    assert!(edge.wait(), "{}", edge.log());
    eventually("the new process has the sockets", || {
        edge.log().matches("listening on UDP").count() == 2
    });
    assert_eq!(Quic::begin(https, &ca).get("/short", &[]).status(), "200");
}
