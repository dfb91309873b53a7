//! What single steps of a hit cost: `cargo bench`. With HITS=n in the environment it runs the hit step n times and
//! prints nothing, for callgrind (`tests/bench/instructions`).

use std::mem::MaybeUninit;
use std::sync::Arc;

use divan::{Bencher, black_box};
use foreshore::body::Content;
use foreshore::clock::Clock;
use foreshore::config::{self, Making};
use foreshore::distribution::limits::Limits;
use foreshore::exchange::connection::{Asker, Connection, Scheme};
use foreshore::exchange::key::{CacheKey, LogNumber};
use foreshore::exchange::stored::{Life, Live, Reuse, Selector, Stored, StoredHead, TtlRule};
use foreshore::flow::{Edge, hit};
use foreshore::listen::h1_head::{self, FIELDS_MAX};
use foreshore::listen::h1_write;
use foreshore::listen::hpack::decode::{Decoder, FieldList};
use foreshore::listen::hpack::encode;
use foreshore::semantics::time::Timestamp;
use http::{HeaderMap, HeaderValue, Method};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const OBJECTS: usize = 10_000;

fn main() {
    match std::env::var("HITS").ok().and_then(|hits| hits.parse::<usize>().ok()) {
        Some(hits) => {
            let stage = Stage::new();
            let (mut key, mut out) = (Vec::new(), Vec::new());
            for at in 0..hits {
                black_box(stage.hit(at, false, &mut key, &mut out));
            }
        }
        None => divan::main(),
    }
}

struct Stage {
    edge: Arc<Edge>,
    plain: Vec<Vec<u8>>,
    browser: Vec<Vec<u8>>,
    connection: Connection,
    limits: Limits,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bench.toml");
        let text = "[listen]\nhttp = [\"127.0.0.1:1\"]\n[[distribution]]\nid = \"E\"\nhosts = [\"*\"]\n[[distribution.origin]]\nid = \"o\"\n\
            url = \"http://o.test\"\n[[distribution.behavior]]\npath = \"*\"\norigin = \"o\"\n";
        std::fs::write(&path, text).unwrap();
        let site = config::load(&path, NOW, Making::Done).map_err(|report| report.render(false)).unwrap().site;
        let edge = Edge::new(site, "bench".into(), Clock::starting_at(NOW));
        for at in 0..OBJECTS {
            let stored = stored(format!("E\0/s/{at}").as_bytes());
            edge.store.reserve(stored.weight(1024)).unwrap();
            edge.store.insert(&stored);
        }
        let more = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0)\r\nAccept: text/html,application/xhtml+xml,*/*;q=0.8\r\n\
            Accept-Language: de-DE,de;q=0.9\r\nAccept-Encoding: gzip, deflate, br\r\nCookie: a=1; b=2\r\nSec-Fetch-Dest: document\r\n\
            Sec-Fetch-Mode: navigate\r\nSec-Fetch-Site: none\r\nUpgrade-Insecure-Requests: 1\r\nDNT: 1\r\nPriority: u=0, i\r\n";
        let head = |at: usize, more: &str| format!("GET /s/{at} HTTP/1.1\r\nHost: h.test\r\n{more}\r\n").into_bytes();
        let at = "127.0.0.1:1".parse().unwrap();
        Self {
            edge,
            plain: (0..OBJECTS).map(|at| head(at, "")).collect(),
            browser: (0..OBJECTS).map(|at| head(at, more)).collect(),
            connection: Connection { peer: at, local: at, scheme: Scheme::Http, tls: None, asker: Asker::Viewer },
            limits: Limits::default(),
        }
    }

    // Everything between the octets that came and those that go, for one hit.
    fn hit(&self, at: usize, is_browser: bool, key: &mut Vec<u8>, out: &mut Vec<u8>) -> usize {
        let bytes = if is_browser { &self.browser[at % OBJECTS] } else { &self.plain[at % OBJECTS] };
        let len = h1_head::find_end(bytes, &self.limits).unwrap();
        let mut lines = [const { MaybeUninit::uninit() }; FIELDS_MAX];
        let mut method = Method::GET;
        let Ok(head) = h1_head::read(bytes, len, &mut lines, &mut method, &self.connection, &self.limits) else { return 0 };
        let running = self.edge.running_cell().load();
        let Some(hit) = hit::hit(&self.edge, &running, &head.request, key, NOW) else { return 0 };
        out.clear();
        h1_write::write_status(out, hit.status());
        hit.write_lines(out, NOW);
        h1_write::write_end(out, head.request.version, head.after);
        out.extend_from_slice(hit.stored.content.whole().unwrap());
        out.len()
    }
}

fn stored(key: &[u8]) -> Arc<Stored> {
    let mut fields = HeaderMap::new();
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
        fields.insert(name, HeaderValue::from_static(value));
    }
    let life = Life { fresh: 86_400_000, stale_while_revalidate: 0, stale_if_error: 0, reuse: Reuse::WhileFresh, rule: TtlRule::Default };
    let stored = Stored {
        key: CacheKey::new(key),
        selector: Selector::default(),
        status: 200,
        head: StoredHead::new(&fields),
        born: NOW,
        came_aged: false,
        date: NOW,
        life,
        asked_at: LogNumber(0),
        tags: Box::default(),
        part: None,
        content: Content::complete(&[b'x'; 1024]),
        live: Live::default(),
    };
    stored.live.accounted.store(stored.weight(1024), std::sync::atomic::Ordering::Relaxed);
    Arc::new(stored)
}

#[divan::bench(args = [false, true])]
fn hit_step_plain_or_browser(bencher: Bencher<'_, '_>, is_browser: bool) {
    let stage = Stage::new();
    let (mut key, mut out, mut at) = (Vec::new(), Vec::new(), 0);
    bencher.bench_local(|| {
        at += 7919;
        stage.hit(at, is_browser, &mut key, &mut out)
    });
}

#[divan::bench(threads = [1, 2])]
fn find_among_10000(bencher: Bencher<'_, '_>) {
    let stage = Stage::new();
    let keys: Vec<Vec<u8>> = (0..OBJECTS).map(|at| format!("E\0/s/{at}").into_bytes()).collect();
    let at = std::sync::atomic::AtomicUsize::new(0);
    bencher.bench(|| stage.edge.store.find(&keys[at.fetch_add(7919, std::sync::atomic::Ordering::Relaxed) % OBJECTS]).len());
}

#[divan::bench]
fn head_of_a_stored_response(bencher: Bencher<'_, '_>) {
    let stored = stored(b"E\0/s/1");
    let mut out = Vec::with_capacity(1024);
    bencher.bench_local(|| {
        out.clear();
        out.extend_from_slice(stored.head.lines());
        out.len()
    });
}

#[divan::bench]
fn hpack_block_of_a_request(bencher: Bencher<'_, '_>) {
    let mut block = Vec::new();
    for (name, value) in
        [(":method", "GET"), (":scheme", "https"), (":authority", "h.test"), (":path", "/s/1"), ("user-agent", "bench/1.0")]
    {
        encode::field(&mut block, name.as_bytes(), value.as_bytes());
    }
    let (mut decoder, mut list) = (Decoder::new(4096), FieldList::default());
    bencher.bench_local(|| {
        list.clear(20_480);
        decoder.decode(black_box(&block), &mut list).unwrap();
        list.iter().count()
    });
}
