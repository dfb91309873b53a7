//! What the benches of the hit step stand on: an edge, responses in its store, and requests for
//! them.

use std::mem::MaybeUninit;
use std::sync::Arc;

use foreshore::clock::Clock;
use foreshore::config::{self, MissingCertificates};
use foreshore::deliver::sink::Http1Lines;
use foreshore::distribution::limits::FIELDS_MAX;
use foreshore::distribution::limits::Limits;
use foreshore::listen::h1::head as h1_head;
use foreshore::listen::h1::write as h1_write;
use foreshore::message::connection::Connection;
use foreshore::message::stored::{Life, Reuse, Stored, TtlRule};
use foreshore::proxy::{Edge, hit};
use foreshore::semantics::fields::FieldSection;
use foreshore::semantics::time::Timestamp;
use http::Method;

pub const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
/// Responses that are asked for.
pub const OBJECTS: usize = 10_000;

/// An edge with stored responses, and requests for some of them.
pub struct Stage {
    pub edge: Arc<Edge>,
    plain: Vec<Vec<u8>>,
    browser: Vec<Vec<u8>>,
    connection: Connection,
    limits: Limits,
}

impl Stage {
    /// So many responses in so much memory.
    pub fn new(objects: usize, memory: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bench.toml");
        let text = format!(
            "[store]\nmemory = \"{memory}\"\n[listen]\nhttp = [\"127.0.0.1:1\"]\n[[distribution]]\nid = \"E\"\nhosts = [\"*\"]\n[[distribution.origin]]\nid = \"o\"\n\
            url = \"http://o.test\"\n[[distribution.behavior]]\npath = \"*\"\norigin = \"o\"\n"
        );
        std::fs::write(&path, text).unwrap();
        let site = config::load(&path, NOW, MissingCertificates::Done)
            .map_err(|report| report.render(false))
            .unwrap()
            .site;
        let edge = Edge::new(site, "bench".into(), Clock::starting_at(NOW));
        for at in 0..objects {
            put(&edge, &format!("E\0/s/{at}"), 1024);
        }
        let more = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0)\r\nAccept: text/html,application/xhtml+xml,*/*;q=0.8\r\n\
            Accept-Language: de-DE,de;q=0.9\r\nAccept-Encoding: gzip, deflate, br\r\nCookie: a=1; b=2\r\nSec-Fetch-Dest: document\r\n\
            Sec-Fetch-Mode: navigate\r\nSec-Fetch-Site: none\r\nUpgrade-Insecure-Requests: 1\r\nDNT: 1\r\nPriority: u=0, i\r\n";
        let head = |at: usize, more: &str| {
            format!("GET /s/{at} HTTP/1.1\r\nHost: h.test\r\n{more}\r\n").into_bytes()
        };
        Self {
            edge,
            plain: (0..OBJECTS).map(|at| head(at, "")).collect(),
            browser: (0..OBJECTS).map(|at| head(at, more)).collect(),
            connection: Connection::from(std::net::SocketAddr::from(([127, 0, 0, 1], 1))),
            limits: Limits::default(),
        }
    }

    /// Everything between the octets that came and those that go, for one hit.
    pub fn hit(&self, at: usize, is_browser: bool, key: &mut Vec<u8>, out: &mut Vec<u8>) -> usize {
        let bytes =
            if is_browser { &self.browser[at % OBJECTS] } else { &self.plain[at % OBJECTS] };
        let len = h1_head::reach(bytes, &self.limits).unwrap();
        let mut lines = [const { MaybeUninit::uninit() }; FIELDS_MAX];
        let mut method = Method::GET;
        let Ok(head) =
            h1_head::read(bytes, len, &mut lines, &mut method, &self.connection, &self.limits)
        else {
            return 0;
        };
        let running = self.edge.running_cell().load();
        let Ok(hit) = hit::hit(&self.edge, &running, &head.request, key, NOW) else { return 0 };
        out.clear();
        h1_write::write_status(out, hit.status());
        hit.write(&mut Http1Lines(out), NOW);
        h1_write::write_end(out, head.request.version, head.after);
        out.extend_from_slice(hit.stored.content.whole().unwrap());
        out.len()
    }
}

/// Stores one more response.
pub fn put(edge: &Edge, key: &str, body: usize) {
    let stored = stored(key.as_bytes(), body);
    edge.store.reserve(stored.weight(body as u64)).unwrap();
    edge.store.insert(&stored);
}

/// A response as origins send them.
pub fn stored(key: &[u8], body: usize) -> Arc<Stored> {
    let mut fields = FieldSection::new();
    for (name, value) in [
        ("server", "origin"),
        ("date", "Sat, 21 Nov 2026 10:00:00 GMT"),
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "public, max-age=86400"),
        ("etag", "\"400-1\""),
        ("last-modified", "Mon, 01 Jan 2024 00:00:00 GMT"),
        ("accept-ranges", "bytes"),
        ("via", "1.1 foreshore"),
    ] {
        fields.insert(name, value);
    }
    let life = Life {
        fresh: 86_400_000,
        stale_while_revalidate: 0,
        stale_if_error: 0,
        reuse: Reuse::WhileFresh,
        rule: TtlRule::Default,
    };
    let stored = Stored::example()
        .with_key(key)
        .with_fields(&fields)
        .with_birth(NOW)
        .with_life(life)
        .with_content(&vec![b'x'; body]);
    stored.live.accounted.store(stored.weight(body as u64), std::sync::atomic::Ordering::Relaxed);
    Arc::new(stored)
}
