//! What our HTTP/1 head parser accepts, hyper reads identically: two readings of one head are where smuggling lives.
//!
//! Heads are made from proper ones by cutting, doubling and replacing octets, from fixed seeds.

use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex};

use foreshore::body::framing::Framing;
use foreshore::distribution::limits::Limits;
use foreshore::exchange::connection::{Asker, Connection, Scheme};
use foreshore::listen::h1_head::{self, FIELDS_MAX};
use http::Method;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;

use super::support::Dice;

/// A request as somebody read it.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    method: String,
    path: String,
    fields: Vec<(String, Vec<u8>)>,
    body: Option<Vec<u8>>,
}

const HEADS: [&str; 8] = [
    "GET /a/b?c=d HTTP/1.1\r\nHost: h.test\r\nAccept: */*\r\nUser-Agent: x y z\r\n\r\n",
    "POST /p HTTP/1.1\r\nHost: h.test\r\nContent-Length: 5\r\n\r\nhelloGET /next HTTP/1.1\r\nHost: h.test\r\n\r\n",
    "POST /p HTTP/1.1\r\nHost: h.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "GET http://h.test/abs?x HTTP/1.1\r\nHost: h.test\r\n\r\n",
    "HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: h.test:80\r\nX-Empty:\r\nX-Tab:\t a \t\r\n\r\n",
    "\r\nGET /%41%2f;x HTTP/1.1\r\nhOST: h.test\r\nCookie: a=\"b\"; c\r\nRange: bytes=0-1\r\n\r\n",
    "M-SEARCH /x HTTP/1.1\r\nHost: [::1]:8080\r\nContent-Length: 0\r\nIf-None-Match: \"a\", W/\"b\"\r\n\r\n",
];

/// Octets that parsers trip over.
const ODD: &[u8] = b"\r\n\t :;,\0\x0b\x7f\x80\xff0129aAfFxX/%?#\"=+-_[]@";

fn shaken(dice: &mut Dice) -> Vec<u8> {
    let mut roll = |sides: usize| dice.roll(sides as u64) as usize;
    let mut bytes = HEADS[roll(HEADS.len())].as_bytes().to_vec();
    for _ in 0..roll(4) {
        let at = roll(bytes.len());
        match roll(5) {
            0 => drop(bytes.remove(at)),
            1 => bytes.insert(at, ODD[roll(ODD.len())]),
            2 => bytes[at] = ODD[roll(ODD.len())],
            3 => {
                let to = (at + 1 + roll(12)).min(bytes.len());
                let piece = bytes[at..to].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                // A line twice: two lengths, two hosts.
                let lines: Vec<&[u8]> = bytes.split_inclusive(|b| *b == b'\n').collect();
                let line = lines[roll(lines.len())].to_vec();
                let place = lines[..1].concat().len();
                bytes.splice(place..place, line);
            }
        }
    }
    bytes
}

fn ours(bytes: &[u8]) -> Option<(Read, Framing)> {
    let at = "127.0.0.1:1".parse().unwrap();
    let connection = Connection { peer: at, local: at, scheme: Scheme::Http, tls: None, asker: Asker::Viewer };
    let limits = Limits::default();
    let len = h1_head::find_end(bytes, &limits).ok()?;
    let mut lines = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut method = Method::GET;
    let head = h1_head::read(bytes, len, &mut lines, &mut method, &connection, &limits).ok()?;
    let request = &head.request;
    let fields = request.fields.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec())).collect();
    let path = request.query.map_or(request.path.to_string(), |query| format!("{}?{query}", request.path));
    Some((Read { method: request.method.to_string(), path, fields, body: None }, head.framing))
}

async fn hypers(bytes: &[u8]) -> Option<Read> {
    let seen = Arc::new(Mutex::new(None));
    let slot = Arc::clone(&seen);
    let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let slot = Arc::clone(&slot);
        async move {
            let (parts, body) = request.into_parts();
            let path = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_string();
            let fields = parts.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
            let body = body.collect().await.ok().map(|all| all.to_bytes().to_vec());
            slot.lock().unwrap().get_or_insert(Read { method: parts.method.to_string(), path, fields, body });
            Ok::<_, std::convert::Infallible>(hyper::Response::new(Full::new(bytes::Bytes::new())))
        }
    });
    let (mut near, far) = tokio::io::duplex(1 << 16);
    near.write_all(bytes).await.unwrap();
    near.shutdown().await.unwrap();
    let _ = hyper::server::conn::http1::Builder::new().half_close(true).serve_connection(TokioIo::new(far), service).await;
    seen.lock().unwrap().take()
}

#[test]
fn what_we_accept_hyper_reads_identically() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut dice = Dice::new(1, 1);
    let (mut accepted, mut compared) = (0, 0);
    for round in 0..12_000 {
        let bytes = shaken(&mut dice);
        let Some((mine, framing)) = ours(&bytes) else { continue };
        accepted += 1;
        let shown = || String::from_utf8_lossy(&bytes).into_owned();
        let Some(theirs) = runtime.block_on(hypers(&bytes)) else {
            // hyper knows fewer forms of an absolute target and of HTTP/1.0; refusing is always right.
            continue;
        };
        compared += 1;
        let sorted = |mut fields: Vec<(String, Vec<u8>)>| {
            fields.sort();
            fields
        };
        assert_eq!(mine.method, theirs.method, "round {round}: {:?}", shown());
        let target = if mine.path == "/*" { "*" } else { mine.path.as_str() };
        assert!(theirs.path == target || theirs.path == mine.path, "round {round}: {:?} {:?}: {:?}", theirs.path, mine.path, shown());
        assert_eq!(sorted(mine.fields), sorted(theirs.fields), "round {round}: {:?}", shown());
        // The same end of the body: what stands behind it is the next request for both.
        if let Some(body) = theirs.body {
            match framing {
                Framing::None => assert!(body.is_empty(), "round {round}: {:?}", shown()),
                Framing::Length(len) => assert_eq!(body.len() as u64, len, "round {round}: {:?}", shown()),
                Framing::Chunked => {}
                Framing::Close => panic!("round {round}: {:?}", shown()),
            }
        }
    }
    assert!(accepted > 2_000 && compared * 10 > accepted * 9, "{accepted} accepted, {compared} compared");
}
