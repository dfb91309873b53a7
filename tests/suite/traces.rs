//! Traces on the wire: what origins are told, who is believed, which spans a collector gets and how
//! they hang together, and what becomes of them when it is slow, dead or refuses.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use super::parent::introduced;
use super::support::edge::{certificates, plain};
use super::support::origin::{answer, fresh};
use super::support::{Edge, Origin, Say, eventually, free_port};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A span as the collector reads it.
#[derive(Clone, Debug, Default)]
struct Span {
    trace: String,
    id: String,
    parent: String,
    name: String,
    kind: u64,
    attributes: Vec<(String, String)>,
    links: Vec<(String, String)>,
    took: u64,
    is_failed: bool,
}

impl Span {
    fn says(&self, key: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }
}

// The fields of a message of protobuf: number, and the octets or the number that it holds.
fn fields(mut octets: &[u8]) -> Vec<(u64, Vec<u8>, u64)> {
    fn varint(octets: &mut &[u8]) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let octet = octets[0];
            *octets = &octets[1..];
            value |= u64::from(octet & 0x7f) << shift;
            shift += 7;
            if octet < 0x80 {
                return value;
            }
        }
    }
    let mut all = Vec::new();
    while !octets.is_empty() {
        let tag = varint(&mut octets);
        let (number, wire) = (tag >> 3, tag & 7);
        match wire {
            0 => all.push((number, Vec::new(), varint(&mut octets))),
            1 => {
                let value = u64::from_le_bytes(octets[..8].try_into().unwrap());
                octets = &octets[8..];
                all.push((number, Vec::new(), value));
            }
            2 => {
                let len = varint(&mut octets) as usize;
                all.push((number, octets[..len].to_vec(), 0));
                octets = &octets[len..];
            }
            other => panic!("wire type {other}"),
        }
    }
    all
}

fn parts(octets: &[u8], wanted: u64) -> Vec<Vec<u8>> {
    let found = fields(octets).into_iter().filter(|(number, ..)| *number == wanted);
    found.map(|(_, octets, _)| octets).collect()
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

fn value(octets: &[u8]) -> String {
    match fields(octets).into_iter().next() {
        Some((1, octets, _)) => text(&octets),
        Some((3, _, number)) => number.to_string(),
        Some((5, array, _)) => {
            parts(&array, 1).iter().map(|one| value(one)).collect::<Vec<_>>().join(",")
        }
        other => panic!("no such value: {other:?}"),
    }
}

fn span(octets: &[u8]) -> Span {
    let (mut span, mut start) = (Span::default(), 0);
    for (number, octets, held) in fields(octets) {
        match number {
            1 => span.trace = hex(&octets),
            2 => span.id = hex(&octets),
            4 => span.parent = hex(&octets),
            5 => span.name = text(&octets),
            6 => span.kind = held,
            7 => start = held,
            8 => span.took = held.checked_sub(start).expect("no span ends before it starts"),
            9 => {
                let (key, of) = (parts(&octets, 1), parts(&octets, 2));
                span.attributes.push((text(&key[0]), value(&of[0])));
            }
            13 => {
                let (trace, id) = (parts(&octets, 1), parts(&octets, 2));
                span.links.push((hex(&trace[0]), hex(&id[0])));
            }
            15 => span.is_failed = true,
            _ => {}
        }
    }
    span
}

/// A collector that answers with a status of the test's choice; 0: with nothing at all.
struct Collector {
    address: SocketAddr,
    status: Arc<AtomicU16>,
    heads: Arc<Mutex<Vec<String>>>,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    fn start(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let one = Self {
            address: listener.local_addr().unwrap(),
            status: Arc::new(AtomicU16::new(status)),
            heads: Arc::default(),
            spans: Arc::default(),
        };
        let (status, heads, spans) =
            (Arc::clone(&one.status), Arc::clone(&one.heads), Arc::clone(&one.spans));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (status, heads, spans) =
                    (Arc::clone(&status), Arc::clone(&heads), Arc::clone(&spans));
                std::thread::spawn(move || take(stream, &status, &heads, &spans));
            }
        });
        one
    }

    fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap().clone()
    }

    // Waits for as many spans of a name.
    fn named(&self, name: &str, count: usize) -> Vec<Span> {
        let found =
            || -> Vec<Span> { self.spans().into_iter().filter(|span| span.name == name).collect() };
        eventually(&format!("{count} spans {name:?}"), || found().len() >= count);
        found()
    }

    fn config(&self, more: &str) -> String {
        format!("[traces]\nendpoint = \"http://{}\"\n{more}\n", self.address)
    }
}

fn take(
    mut stream: TcpStream,
    status: &AtomicU16,
    heads: &Mutex<Vec<String>>,
    spans: &Mutex<Vec<Span>>,
) {
    let (mut all, mut piece) = (Vec::new(), [0; 4096]);
    let (head, body) = loop {
        let Ok(read @ 1..) = stream.read(&mut piece) else { return };
        all.extend_from_slice(&piece[..read]);
        let Some(end) = all.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = text(&all[..end]).to_lowercase();
        let len = head.split("content-length: ").nth(1).unwrap();
        let len: usize = len.lines().next().unwrap().trim().parse().unwrap();
        if all.len() >= end + 4 + len {
            break (head, all[end + 4..].to_vec());
        }
    };
    heads.lock().unwrap().push(head);
    let status = status.load(Ordering::SeqCst);
    if status == 0 {
        // Until the edge gives up.
        let _ = stream.read(&mut piece);
        return;
    }
    if status == 200 {
        for scope in parts(&body, 1).iter().flat_map(|resource| parts(resource, 2)) {
            spans.lock().unwrap().extend(parts(&scope, 2).iter().map(|one| span(one)));
        }
    }
    let _ = write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
}

// An edge that traces everything.
fn edge(origin: SocketAddr, collector: &Collector, more: &str) -> Edge {
    Edge::before(origin, &collector.config(&format!("rate = \"100%\"\n{more}")))
}

const TRUSTED: &str = "trusted = [\"127.0.0.0/8\"]";

#[test]
fn a_miss_is_one_trace_that_goes_on_with_the_callers_and_on_to_the_origin() {
    let collector = Collector::start(200);
    let origin = Origin::start(|_| fresh(b"x"));
    let edge = edge(origin.address, &collector, TRUSTED);
    let said = format!("traceparent: 00-{TRACE}-{PARENT}-01");
    assert_eq!(edge.get_with("/a", &[&said, "tracestate: a=1"]).cache(), "Miss");
    let server = &collector.named("GET *", 1)[0];
    let fill = &collector.named("fill", 1)[0];
    let call = &collector.named("origin", 1)[0];
    let connect = &collector.named("connect", 1)[0];
    assert_eq!((server.trace.as_str(), server.parent.as_str()), (TRACE, PARENT));
    assert_eq!((&*fill.parent, &*call.parent), (&*server.id, &*server.id));
    assert_eq!(connect.parent, call.id);
    assert_eq!((server.kind, call.kind, fill.kind), (2, 3, 1));
    assert!(fill.took >= call.took && call.took >= connect.took);
    assert!(collector.spans().iter().all(|span| span.trace == TRACE));
    for (key, expected) in [
        ("distribution", "E1"),
        ("behavior", "*"),
        ("result", "Miss"),
        ("http.response.status_code", "200"),
        ("aws.xray.annotations", "distribution,behavior,result"),
        ("annotation.distribution", "E1"),
        ("annotation.behavior", "*"),
        ("annotation.result", "Miss"),
    ] {
        assert_eq!(server.says(key), Some(expected), "{key}");
    }
    assert!(server.attributes.iter().all(|(_, value)| !value.contains("/a")), "{server:?}");
    let asked = &origin.seen()[0];
    assert_eq!(asked.field("traceparent"), Some(format!("00-{TRACE}-{}-01", call.id)));
    assert_eq!(asked.field("tracestate").as_deref(), Some("a=1"));
    assert_eq!(asked.field("x-amzn-trace-id"), None);
    // A hit is a span alone, and its line has its ids.
    assert_eq!(edge.get("/a").cache(), "Hit");
    let hit = &collector.named("GET *", 2)[1];
    assert_eq!((hit.says("result"), hit.parent.as_str()), (Some("Hit"), ""));
    assert_ne!(hit.trace, TRACE);
    let line = format!("\"trace_id\":\"{}\",\"span_id\":\"{}\"", hit.trace, hit.id);
    let log = edge.path().join("access.log");
    eventually("the line", || std::fs::read_to_string(&log).is_ok_and(|all| all.contains(&line)));
}

#[test]
fn viewers_that_are_not_trusted_are_not_believed_and_nothing_of_theirs_goes_on() {
    let collector = Collector::start(200);
    let origin = Origin::start(|_| answer(200, "Cache-Control: no-store", b"x"));
    let policy = "cache_policy = \"CachingDisabled\"\norigin_request_policy = \"AllViewer\"\n";
    let config = plain(
        origin.address,
        &collector.config("rate = \"100%\"\npropagate = [\"w3c\", \"xray\"]"),
    ) + policy;
    let edge = Edge::start(&config);
    let (w3c, xray) = (
        format!("traceparent: 00-{TRACE}-{PARENT}-00"),
        "x-amzn-trace-id: Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Sampled=0",
    );
    edge.get_with("/", &[&w3c, "tracestate: a=1", xray]);
    let server = &collector.named("GET *", 1)[0];
    let call = &collector.named("origin", 1)[0];
    assert_ne!(server.trace, TRACE);
    assert_eq!(server.parent, "");
    let asked = &origin.seen()[0];
    assert_eq!(asked.field("traceparent"), Some(format!("00-{}-{}-01", server.trace, call.id)));
    assert_eq!(asked.field("tracestate"), None);
    let (first, rest) = server.trace.split_at(8);
    let root = format!("Root=1-{first}-{rest};Parent={};Sampled=1", call.id);
    assert_eq!(asked.field("x-amzn-trace-id"), Some(root));
    assert_eq!(asked.head.to_lowercase().matches("traceparent:").count(), 1);
}

#[test]
fn a_trusted_caller_decides_and_else_the_rate_does() {
    let collector = Collector::start(200);
    let origin = Origin::start(|_| fresh(b"x"));
    let config = collector.config(&format!("rate = \"0%\"\n{TRUSTED}"));
    let edge = Edge::before(origin.address, &config);
    // Not sampled, and the origin is told so under ids of one trace.
    edge.get_with("/1", &[&format!("traceparent: 00-{TRACE}-{PARENT}-00")]);
    edge.get_with("/2", &["traceparent: 00-garbage"]);
    edge.get_with("/3", &["x-amzn-trace-id: Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Sampled=1"]);
    let server = &collector.named("GET *", 1)[0];
    assert_eq!((server.trace.as_str(), server.parent.as_str()), (TRACE, ""));
    let told: Vec<String> =
        origin.seen().iter().map(|asked| asked.field("traceparent").unwrap()).collect();
    assert!(told[0].starts_with(&format!("00-{TRACE}-")) && told[0].ends_with("-00"), "{told:?}");
    assert!(!told[1].contains(TRACE) && told[1].ends_with("-00"), "{told:?}");
    assert!(told[2].ends_with("-01"), "{told:?}");
    // Of both at once, W3C's counts.
    let w3c = format!("traceparent: 00-{TRACE}-{PARENT}-01");
    let other = "x-amzn-trace-id: Root=1-5bf92f35-77b34da6a3ce929d0e0e4736;Sampled=0";
    edge.get_with("/4", &[&w3c, other]);
    assert_eq!(collector.named("GET *", 2)[1].parent, PARENT);
    // All of them of the third and fourth request.
    assert!(collector.spans().iter().all(|span| span.trace == TRACE));
    assert_eq!(edge.metric("foreshore_spans_dropped_total"), 0.0);
}

#[test]
fn an_edge_and_its_parent_are_one_trace() {
    let collector = Collector::start(200);
    let origin = Origin::start(|_| fresh(b"x"));
    let (https, admin) = (free_port(), free_port());
    let folders = [(); 2].map(|()| Arc::new(tempfile::tempdir().unwrap()));
    let (ca, chain, key) = certificates(folders[0].path(), &["localhost"]);
    let traces = collector.config("rate = \"100%\"");
    let parent = format!(
        "{traces}[[certificate]]\nchain = {chain:?}\nkey = {key:?}\n\
         [[trusted_edge]]\nid = \"e1\"\ntoken = {{ file = \"token\" }}\n"
    );
    let edge = format!(
        "{traces}[region]\nkind = \"parent\"\nedge_id = \"e1\"\ntoken = {{ file = \"token\" }}\nca = {ca:?}\n\
         timeout = \"15s\"\n[[region.parent]]\nurl = \"https://localhost:{https}\"\nadmin = \"http://127.0.0.1:{admin}\"\n"
    );
    let parent = plain(origin.address, &parent)
        .replace("[listen]\n", &format!("[listen]\nhttps = [\"127.0.0.1:{https}\"]\n"))
        .replace("listen = \"127.0.0.1:0\"", &format!("listen = \"127.0.0.1:{admin}\""));
    for (folder, text) in folders.iter().zip([parent, plain(origin.address, &edge)]) {
        std::fs::write(folder.path().join("token"), "between-us").unwrap();
        std::fs::write(folder.path().join("edge.toml"), text).unwrap();
    }
    let [parent, edge] = folders.map(Edge::start_in);
    let edge = introduced(edge);
    assert_eq!(edge.get("/a").status, 200);
    let servers = collector.named("GET *", 2);
    let (to_parent, to_origin) =
        (&collector.named("parent", 1)[0], &collector.named("origin", 1)[0]);
    let of = |id: &str| servers.iter().find(|server| server.parent == id).expect("a server's span");
    let (first, second) = (of(""), of(&to_parent.id));
    assert_eq!((&to_parent.parent, &to_origin.parent), (&first.id, &second.id));
    let all = [second, to_parent, to_origin];
    assert!(all.iter().all(|span| span.trace == first.trace), "{first:?} {all:?}");
    let told = origin.seen()[0].field("traceparent");
    assert_eq!(told, Some(format!("00-{}-{}-01", first.trace, to_origin.id)));
    eventually("the parent's spans", || parent.metric("foreshore_spans_sent_total") >= 4.0);
}

#[test]
fn those_that_wait_for_a_fetch_point_to_it() {
    let collector = Collector::start(200);
    let all_wait = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&all_wait);
    let origin =
        Origin::start(move |_| [vec![Say::Until(Arc::clone(&gate))], fresh(b"x")].concat());
    let config = plain(origin.address, &collector.config("rate = \"100%\""));
    let edge = Edge::start(&config.replace("response = \"3s\"", "response = \"60s\""));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| edge.get("/a"));
        }
        eventually("three wait for the fourth", || edge.metric("foreshore_followers_total") == 3.0);
        all_wait.store(true, Ordering::SeqCst);
    });
    assert_eq!(origin.count(), 1);
    let fill = &collector.named("fill", 1)[0];
    for waited in collector.named("collapsed", 3) {
        assert_ne!(waited.trace, fill.trace);
        assert_eq!(waited.links, [(fill.trace.clone(), fill.id.clone())]);
    }
}

#[test]
fn a_refresh_behind_a_viewer_is_a_trace_of_its_own() {
    let collector = Collector::start(200);
    let origin =
        Origin::start(|_| answer(200, "Cache-Control: max-age=1, stale-while-revalidate=60", b"x"));
    let edge = edge(origin.address, &collector, "");
    eventually("a refresh", || {
        edge.get("/a");
        origin.count() >= 2
    });
    let fills = collector.named("fill", 2);
    let behind = fills.iter().find(|fill| fill.parent.is_empty()).expect("a fill without parent");
    let (trace, id) = &behind.links[0];
    let servers = || collector.named("GET *", 2);
    eventually("the cause", || {
        servers().iter().any(|server| server.trace == *trace && server.id == *id)
    });
    assert!(servers().iter().all(|server| server.trace != behind.trace));
}

#[test]
fn an_origin_that_cannot_be_reached_is_a_span_that_failed() {
    let collector = Collector::start(200);
    let nowhere = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let edge = edge(nowhere, &collector, "");
    assert!(edge.get("/a").status >= 500);
    assert!(collector.named("GET *", 1)[0].is_failed);
    assert!(collector.named("origin", 1)[0].is_failed);
    assert!(collector.named("connect", 1).iter().all(|span| span.is_failed));
}

#[test]
fn no_viewer_waits_for_a_collector_and_what_finds_no_room_is_counted() {
    let collector = Collector::start(0);
    let origin = Origin::start(|_| fresh(b"x"));
    let edge = edge(origin.address, &collector, "queue = 10\ntimeout = \"60s\"");
    for at in 0..100 {
        assert_eq!(edge.get(&format!("/{at}")).status, 200);
    }
    eventually("drops", || edge.metric("foreshore_spans_dropped_total") > 0.0);
    assert_eq!(edge.metric("foreshore_spans_sent_total"), 0.0);
    assert!(edge.metric("foreshore_spans_waiting") <= 10.0);
}

#[test]
fn a_collector_that_is_down_costs_its_spans_and_no_viewer() {
    let origin = Origin::start(|_| fresh(b"x"));
    let nowhere = free_port();
    let config = format!("[traces]\nendpoint = \"http://127.0.0.1:{nowhere}\"\nrate = \"100%\"\n");
    let edge = Edge::before(origin.address, &config);
    for _ in 0..10 {
        assert_eq!(edge.get("/a").status, 200);
    }
    eventually("losses", || edge.metric("foreshore_spans_failed_total") >= 10.0);
    assert_eq!(edge.metric("foreshore_spans_sent_total"), 0.0);
    assert_eq!(edge.metric("foreshore_spans_dropped_total"), 0.0);
}

#[test]
fn what_a_collector_refuses_is_lost_and_what_it_puts_off_is_sent_again() {
    let collector = Collector::start(500);
    let origin = Origin::start(|_| fresh(b"x"));
    let edge = edge(origin.address, &collector, "headers = { x-key = \"k\" }");
    edge.get("/a");
    eventually("a refusal", || edge.metric("foreshore_spans_failed_total") >= 4.0);
    // They may have gone in two batches; each of these would have been sent three times.
    let refused = collector.heads.lock().unwrap().len();
    assert!(refused < 3, "a refusal is final");
    collector.status.store(503, Ordering::SeqCst);
    edge.get("/a");
    eventually("a batch", || collector.heads.lock().unwrap().len() > refused);
    collector.status.store(200, Ordering::SeqCst);
    assert_eq!(collector.named("GET *", 1)[0].says("result"), Some("Hit"));
    let heads = collector.heads.lock().unwrap().clone();
    assert!(heads[0].starts_with("post /v1/traces http/1.1"), "{}", heads[0]);
    assert!(heads.iter().all(|head| head.contains("x-key: k")), "{heads:?}");
}

#[test]
fn an_edge_that_leaves_sends_what_it_has_within_a_bounded_time() {
    let collector = Collector::start(200);
    let origin = Origin::start(|_| fresh(b"x"));
    let mut edge = edge(origin.address, &collector, "");
    edge.get("/a");
    edge.signal(rustix::process::Signal::TERM);
    assert!(edge.wait());
    assert_eq!(collector.named("GET *", 1).len(), 1);
}

#[test]
fn without_traces_what_viewers_say_passes_as_any_field() {
    let origin = Origin::start(|_| answer(200, "Cache-Control: no-store", b"x"));
    let policy = "cache_policy = \"CachingDisabled\"\norigin_request_policy = \"AllViewer\"\n";
    let edge = Edge::before_with(origin.address, "", policy);
    let said = format!("00-{TRACE}-{PARENT}-00");
    edge.get_with("/", &[&format!("traceparent: {said}")]);
    assert_eq!(origin.seen()[0].field("traceparent"), Some(said));
}
