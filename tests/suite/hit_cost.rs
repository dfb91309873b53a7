//! What a hit may not cost: an allocation.
//!
//! The allocator of this test program counts, thread by thread; the steps of a hit are run as a
//! connection runs them.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::sync::Arc;

use foreshore::clock::Clock;
use foreshore::config::{self, MissingCertificates};
use foreshore::deliver::sink::Http1Lines;
use foreshore::distribution::limits::FIELDS_MAX;
use foreshore::distribution::limits::Limits;
use foreshore::listen::h1::head as h1_head;
use foreshore::listen::h1::write as h1_write;
use foreshore::listen::h2::hpack;
use foreshore::listen::h2::hpack::block::HpackBlock;
use foreshore::message::connection::Connection;
use foreshore::proxy::{Edge, hit};
use foreshore::semantics::time::Timestamp;
use http::Method;

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator as it came; counting touches nothing of it.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        unsafe { System.realloc(at, layout, size) }
    }
}

/// Allocations of this thread so far.
pub fn allocations() -> u64 {
    COUNT.with(Cell::get)
}

#[global_allocator]
static COUNTING: Counting = Counting;

const START: Timestamp = Timestamp::from_secs(1_800_000_000);

const PLAIN: &str = "GET /a?x=1 HTTP/1.1\r\nHost: h.test\r\n\r\n";
const BROWSER: &str = "GET /a?x=1 HTTP/1.1\r\nHost: h.test\r\nConnection: keep-alive\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\
    Accept: text/html,application/xhtml+xml\r\nAccept-Language: de-DE,de;q=0.9\r\nAccept-Encoding: gzip, deflate, br\r\nReferer: https://h.test/\r\n\
    Cookie: a=1; b=2; c=3\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nUpgrade-Insecure-Requests: 1\r\nCache-Control: max-age=0\r\n\r\n";
const RANGE: &str = "GET /a?x=1 HTTP/1.1\r\nHost: h.test\r\nRange: bytes=10-19\r\n\r\n";
const UNCHANGED: &str = "GET /a?x=1 HTTP/1.1\r\nHost: h.test\r\nIf-None-Match: \"tag\"\r\n\r\n";

fn edge() -> Arc<Edge> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hit.toml");
    let text = "[listen]\nhttp = [\"127.0.0.1:1\"]\n[[distribution]]\nid = \"E\"\nhosts = [\"*\"]\n[[distribution.origin]]\nid = \"o\"\n\
        url = \"http://o.test\"\n[[distribution.behavior]]\npath = \"/other/*\"\norigin = \"o\"\n[[distribution.behavior]]\npath = \"*\"\norigin = \"o\"\n";
    std::fs::write(&path, text).unwrap();
    let site = config::load(&path, START, MissingCertificates::Done)
        .unwrap_or_else(|report| panic!("{}", report.render(false)))
        .site;
    Edge::new(site, "hits".into(), Clock::starting_at(START))
}

// One hit on octets as they come from a socket: true if it was one.
fn one_hit(
    edge: &Edge,
    connection: &Connection,
    limits: &Limits,
    bytes: &[u8],
    key: &mut Vec<u8>,
    out: &mut Vec<u8>,
    block: &mut Vec<u8>,
) -> bool {
    let len = h1_head::reach(bytes, limits).expect("a whole head");
    let mut lines = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut method = Method::GET;
    let Ok(head) = h1_head::read(bytes, len, &mut lines, &mut method, connection, limits) else {
        panic!("a good head")
    };
    let running = edge.running_cell().load();
    let Ok(hit) = hit::hit(edge, &running, &head.request, key, START) else { return false };
    out.clear();
    h1_write::write_status(out, hit.status());
    hit.write(&mut Http1Lines(out), START);
    h1_write::write_end(out, head.request.version, head.after);
    block.clear();
    hpack::encode::status(block, hit.status());
    hit.write(&mut HpackBlock(block), START);
    true
}

#[test]
fn a_hit_allocates_nothing() {
    let edge = edge();
    let stored = super::support::stored(
        b"E\0/a?x=1",
        &[("etag", "\"tag\""), ("content-type", "text/plain"), ("date", "x")],
        &[b'x'; 1024],
        START,
    );
    edge.store.reserve(stored.weight(1024)).unwrap();
    edge.store.insert(&stored);
    let connection = Connection::from(std::net::SocketAddr::from(([127, 0, 0, 1], 1)));
    let limits = Limits::default();
    let (mut key, mut out, mut block) =
        (Vec::with_capacity(256), Vec::with_capacity(8192), Vec::with_capacity(1024));
    for (what, request) in
        [("plain", PLAIN), ("browser", BROWSER), ("range", RANGE), ("304", UNCHANGED)]
    {
        // The first may set up what belongs to the thread.
        assert!(
            one_hit(
                &edge,
                &connection,
                &limits,
                request.as_bytes(),
                &mut key,
                &mut out,
                &mut block
            ),
            "{what} is a hit"
        );
        let before = COUNT.with(Cell::get);
        for _ in 0..100 {
            one_hit(
                &edge,
                &connection,
                &limits,
                request.as_bytes(),
                &mut key,
                &mut out,
                &mut block,
            );
        }
        assert_eq!(COUNT.with(Cell::get) - before, 0, "{what}");
    }
}

#[cfg(feature = "functions")]
#[test]
fn a_remembered_call_is_found_without_allocating() {
    use foreshore::distribution::functions::{Function, FunctionLimits, Kept, Level, Runtime};
    use foreshore::functions::engine::Engine;
    use foreshore::functions::event::{Event, IdFacts, Place, RequestFacts};
    use foreshore::message::request::Fields;
    use foreshore::semantics::fields::FieldSection;
    use std::time::Duration;

    let source = "function handler(event) { var request = event.request; \
                  if (request.headers.host && request.cookies.b && request.querystring.a) {} return request }";
    let function = Function {
        name: "f".into(),
        runtime: Runtime::Js2,
        level: Level::CloudFront,
        source: source.into(),
        digest: [1; 32],
        store: None,
        kept: Kept::File,
    };
    let mut fields = FieldSection::new();
    fields.push("Host", b"h.test");
    fields.push("Cookie", b"a=1; b=2; c=3");
    let event = Event {
        place: Place::ViewerRequest,
        domain_name: None,
        distribution_id: "E",
        request_id: IdFacts::Text("id"),
        viewer: "192.0.2.1".parse().unwrap(),
        request: RequestFacts {
            method: "GET",
            uri: b"/a",
            query: Some(b"a=1&b=2"),
            fields: Fields::Section(&fields),
            extra: &[],
        },
        response: None,
        edge: None,
    };
    let limits = FunctionLimits { stop: Duration::from_secs(5), ..FunctionLimits::default() };
    let mut engine = Engine::new(limits);
    // A result is used once two calls came to it; the third sets up what the lookup needs.
    for _ in 0..3 {
        if engine.recall(&function, &event).is_none() {
            let (returned, _) = engine.ask(&function, &event, None, 0, &mut |_| {});
            assert!(returned.is_ok(), "{returned:?}");
        }
    }
    let before = allocations();
    for _ in 0..100 {
        assert!(engine.recall(&function, &event).is_some());
    }
    assert_eq!(allocations(), before);
}
