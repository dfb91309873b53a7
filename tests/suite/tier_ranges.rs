//! Ranges of long responses that lie in a tier, and slices: what an engine is asked for them, as it
//! counts commands and octets itself, and that no part is taken for a whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use foreshore::tier::codec::PIECE;

use super::support::edge::Edge;
use super::support::origin::{Asked, Origin, Say, answer};
use super::support::viewer::{Seen, request};
use super::support::{eventually, eventually_within, free_port, tool};
use super::tier::{
    MEMCACHED, NOW, REDIS, SINGLE, STAMP, Scripted, Server, found, memcached, on_a_core,
    plain_redis, put, response, start,
};
use super::tier_access::Access;
use super::tier_engines::{Settings, two_edges_on};
use super::tier_fleet::{WRITTEN, asked_for, says, shared};

/// Twenty pieces and the beginning of another.
const LEN: usize = 20 * PIECE + 100;
/// Beyond what is read of values: what the engine tells us of itself.
const TALK: u64 = 40_000;
/// How long 100 MiB may take to lie in a tier, with other tests beside.
const WRITING: Duration = Duration::from_secs(180);

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8 ^ (at >> 16) as u8).collect()
}

/// An origin of one long content, which it gives in parts, too.
fn long(len: usize) -> (Origin, Arc<Vec<u8>>) {
    let whole = Arc::new(content(len));
    let told = Arc::clone(&whole);
    let origin = Origin::start(move |asked| match asked.target.starts_with("/small") {
        true => part_of(asked, b"0123456789"),
        false => part_of(asked, &told),
    });
    (origin, whole)
}

fn part_of(asked: &Asked, whole: &[u8]) -> Vec<Say> {
    let tag = if asked.target.contains("weak") { "W/\"a\"" } else { "\"a\"" };
    let fields = format!("Cache-Control: max-age=600\nETag: {tag}");
    let len = whole.len();
    if asked.method == "HEAD" {
        let head = format!(
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nETag: {tag}\r\n\
             Content-Length: {len}\r\n\r\n"
        );
        return vec![Say::Bytes(head.into_bytes())];
    }
    let range = asked.field("range");
    let numbers = range.as_deref().and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    let Some((first, last)) = numbers else { return answer(200, &fields, whole) };
    let (first, last) = (first.parse::<usize>().unwrap(), last.parse::<usize>().unwrap());
    let last = last.min(len - 1);
    answer(
        206,
        &format!("{fields}\nContent-Range: bytes {first}-{last}/{len}"),
        &whole[first..=last],
    )
}

/// An engine that counts.
struct Counting {
    server: Server,
    kind: &'static str,
}

impl Counting {
    /// How many values were asked of it, and how many octets it has sent.
    fn counts(&self) -> (u64, u64) {
        let Self { server, kind } = self;
        match *kind {
            "redis" => (
                server.number("INFO commandstats", "cmdstat_getrange"),
                server.number("INFO stats", "total_net_output_bytes"),
            ),
            _ => (server.number("stats", "cmd_get"), server.number("stats", "bytes_written")),
        }
    }

    /// Does something that reads so many pieces beside one meta, or nothing at all.
    fn reads<T>(&self, pieces: Option<u64>, what: &str, does: impl FnOnce() -> T) -> T {
        let before = self.counts();
        let done = does();
        let after = self.counts();
        let (values, octets) = (after.0 - before.0, after.1 - before.1);
        assert_eq!(values, pieces.map_or(0, |pieces| 1 + pieces), "{what}");
        let most = pieces.unwrap_or(0) * (PIECE as u64 + 1000) + TALK;
        assert!(octets < most, "{what}: {octets} octets");
        done
    }
}

fn redis_that_counts(folder: &tempfile::TempDir) -> Counting {
    Counting { server: plain_redis(folder.path(), free_port()), kind: "redis" }
}

/// Two edges that share what counts, and have found out that they do.
fn edges_of(origin: &Origin, engine: &Counting, more: &Settings<'_>) -> (Edge, Edge) {
    let tier = Access::Open.tier(engine.kind, &[engine.server.door]);
    let (one, two) = two_edges_on(origin.address, &tier, more);
    shared(&one, &two, "small");
    (one, two)
}

/// Has an edge fetch something whole, and waits until it lies in the tier.
fn lies_there(edge: &Edge, path: &str) {
    let before = edge.metric(WRITTEN);
    let seen = edge.get(path);
    assert!(seen.status == 200 && seen.whole, "{}", seen.head);
    eventually_within(WRITING, "it is written to the tier", || edge.metric(WRITTEN) > before);
}

fn range(edge: &Edge, path: &str, range: &str) -> Seen {
    edge.get_with(path, &[&format!("Range: bytes={range}")])
}

fn is_part(seen: &Seen, whole: &[u8], first: usize, last: usize) {
    assert_eq!(seen.status, 206, "{}", seen.head);
    let wanted = format!("bytes {first}-{last}/{}", whole.len());
    assert_eq!(seen.field("content-range").as_deref(), Some(wanted.as_str()));
    assert!(seen.whole && seen.body == whole[first..=last], "{}", seen.head);
}

fn came_from_the_tier(seen: &Seen) {
    assert!(says(seen, "Foreshore-tier; hit"), "{}", seen.head);
    assert_eq!(seen.cache(), "Miss", "{}", seen.head);
}

fn head(edge: &Edge, path: &str) -> Seen {
    let mut viewer = edge.viewer();
    viewer.send(&request("HEAD", path, &[]));
    viewer.read("HEAD").unwrap()
}

fn ranges_read_what_they_touch(engine: &Counting) {
    let (origin, whole) = long(LEN);
    let (one, two) = edges_of(&origin, engine, &Settings::default());
    lies_there(&one, "/long");
    // The same twice: nothing is kept, and each reads what it touches.
    for (asked, first, last, pieces) in [
        ("0-9", 0, 9, 1),
        ("0-9", 0, 9, 1),
        ("65530-65545", 65_530, 65_545, 2),
        ("131072-196607", 131_072, 196_607, 1),
        ("1200000-", 1_200_000, LEN - 1, 3),
        ("-10", LEN - 10, LEN - 1, 1),
    ] {
        let seen = engine.reads(Some(pieces), asked, || range(&two, "/long", asked));
        is_part(&seen, &whole, first, last);
        came_from_the_tier(&seen);
    }
    let several = "100-199,1000000-1000099";
    let seen = engine.reads(Some(2), several, || range(&two, "/long", several));
    came_from_the_tier(&seen);
    let has = |part: &[u8]| seen.body.windows(part.len()).any(|window| window == part);
    assert!(seen.status == 206 && seen.whole, "{}", seen.head);
    assert!(has(&whole[100..200]) && has(&whole[1_000_000..1_000_100]));
    assert!(seen.body.len() < 1000, "{}", seen.body.len());
    // What has no octets reads no piece.
    let known = ["Range: bytes=0-9", "If-None-Match: \"a\""];
    let seen = engine.reads(Some(0), "304", || two.get_with("/long", &known));
    assert_eq!((seen.status, seen.body.len()), (304, 0), "{}", seen.head);
    let seen = engine.reads(Some(0), "416", || range(&two, "/long", "9999999-"));
    assert_eq!(seen.status, 416, "{}", seen.head);
    assert_eq!(seen.field("content-range"), Some(format!("bytes */{LEN}")));
    assert_eq!(asked_for(&origin, "/long"), 1);
    let seen = engine.reads(None, "HEAD", || head(&two, "/long"));
    assert_eq!(seen.field("content-length"), Some(LEN.to_string()));
    // No part was kept, for the whole or for anything else.
    let other = ["Range: bytes=0-9", "If-Range: \"b\""];
    let seen = two.get_with("/long", &other);
    came_from_the_tier(&seen);
    assert!(seen.status == 200 && seen.whole && seen.body == *whole, "{}", seen.head);
    assert_eq!(asked_for(&origin, "/long"), 2, "the whole once, and the HEAD");
    let seen = engine.reads(None, "a hit", || range(&two, "/long", "5-6"));
    assert_eq!(seen.cache(), "Hit");
    is_part(&seen, &whole, 5, 6);
}

#[test]
fn a_range_reads_of_redis_what_it_touches() {
    if !tool::have(&[REDIS]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    ranges_read_what_they_touch(&redis_that_counts(&folder));
}

#[test]
fn a_range_reads_of_memcached_what_it_touches() {
    if !tool::have(&[MEMCACHED]) {
        return;
    }
    let server = memcached(free_port(), &[]);
    ranges_read_what_they_touch(&Counting { server, kind: "memcached" });
}

// And what it says goes for the fetch that follows.
#[test]
fn a_tier_that_has_nothing_is_asked_once_for_a_range() {
    if !tool::have(&[REDIS]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let engine = redis_that_counts(&folder);
    let (origin, whole) = long(LEN);
    let (one, _two) = edges_of(&origin, &engine, &Settings::default());
    let seen = engine.reads(Some(0), "nothing", || range(&one, "/long", "0-9"));
    is_part(&seen, &whole, 0, 9);
    assert!(says(&seen, "Foreshore-tier; fwd=uri-miss"), "{}", seen.head);
    // As an origin's answer always was: the whole is fetched and kept.
    eventually("it is kept", || range(&one, "/long", "7-8").cache() == "Hit");
    assert_eq!(asked_for(&origin, "/long"), 1);
}

// The rest comes from the origin, octet by octet the same; where nothing says that it would be, the
// viewer has not been sent anything yet, and the whole is fetched.
#[test]
fn a_piece_that_is_gone_costs_a_request_and_no_answer() {
    if !tool::have(&[REDIS]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let engine = redis_that_counts(&folder);
    let gone = |number: u32| {
        let script = format!(
            "for _, k in ipairs(redis.call('KEYS', '*:{number}')) do redis.call('DEL', k) end \
             return 1"
        );
        assert_eq!(engine.server.says(&format!("EVAL \"{script}\" 0")), ":1");
    };
    let last_range = |origin: &Origin| {
        let last = origin.seen().pop().unwrap();
        (last.field("range").unwrap_or_default(), last.field("if-range").unwrap_or_default())
    };
    let (origin, whole) = long(LEN);
    let (one, two) = edges_of(&origin, &engine, &Settings::default());
    lies_there(&one, "/long");
    gone(5);
    let seen = range(&two, "/long", "327670-327690");
    is_part(&seen, &whole, 327_670, 327_690);
    assert_eq!(last_range(&origin), ("bytes=327680-327690".into(), "\"a\"".into()));
    let seen = range(&two, "/long", "0-9,327680-327689");
    assert!(seen.status == 206 && seen.whole, "{}", seen.head);
    assert!(seen.body.windows(10).any(|window| *window == whole[327_680..327_690]));
    assert_eq!(last_range(&origin), ("bytes=327680-327689".into(), "\"a\"".into()));

    let (origin, whole) = long(300_000);
    let (one, two) = edges_of(&origin, &engine, &Settings::default());
    lies_there(&one, "/long/weak");
    let seen = engine.reads(Some(1), "held", || range(&two, "/long/weak", "140000-140009"));
    is_part(&seen, &whole, 140_000, 140_009);
    came_from_the_tier(&seen);
    gone(2);
    let seen = range(&two, "/long/weak", "140000-140009");
    is_part(&seen, &whole, 140_000, 140_009);
    assert!(says(&seen, "piece-missing at"), "{}", seen.head);
    assert_eq!(asked_for(&origin, "/long/weak"), 2);
    eventually("it is kept", || range(&two, "/long/weak", "7-8").cache() == "Hit");
}

// Its meta and its pieces lie there still.
#[test]
fn a_range_of_what_was_purged_is_read_from_no_tier() {
    let (_node, port) = Scripted::start();
    let (origin, whole) = long(LEN);
    let tier = Access::Open.tier("memcached", &[port]);
    let (one, two) = two_edges_on(origin.address, &tier, &Settings::default());
    shared(&one, &two, "small");
    lies_there(&one, "/long");
    came_from_the_tier(&range(&two, "/long", "0-9"));
    one.purge(&["/long"]);
    let seen = range(&two, "/long", "0-9");
    is_part(&seen, &whole, 0, 9);
    assert!(says(&seen, "invalidated at") || says(&seen, "outdated at"), "{}", seen.head);
    assert_eq!(asked_for(&origin, "/long"), 2);
}

// The origin has another version by then: none of its octets stands behind those of the tier's.
#[test]
fn a_range_is_gone_on_with_by_the_same_version_alone() {
    let (node, port) = Scripted::start();
    let whole = Arc::new(content(LEN));
    let (version, told) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&whole));
    let said = Arc::clone(&version);
    let origin = Origin::start(move |asked| match said.load(Ordering::SeqCst) {
        _ if asked.target.starts_with("/small") => part_of(asked, b"0123456789"),
        0 => part_of(asked, &told),
        // As If-Range has it, and as an origin does that does not know it.
        1 => answer(200, "Cache-Control: max-age=600\nETag: \"b\"", &vec![b'b'; LEN]),
        2 => {
            let part = format!("Content-Range: bytes 327680-327690/{LEN}\nETag: \"b\"");
            answer(206, &part, &[b'b'; 11])
        }
        // The same version, of an origin that knows no ranges.
        _ => answer(200, "Cache-Control: max-age=600\nETag: \"a\"", &told),
    });
    let tier = Access::Open.tier("memcached", &[port]);
    let (one, two) = two_edges_on(origin.address, &tier, &Settings::default());
    shared(&one, &two, "small");
    lies_there(&one, "/long");
    node.items.lock().unwrap().retain(|key, _| !key.ends_with(":5"));
    for number in [1, 2] {
        version.store(number, Ordering::SeqCst);
        let mut viewer = two.viewer();
        viewer.send(&request("GET", "/long", &["Range: bytes=327670-327690"]));
        // It may have been cut off before a head was sent.
        if let Some(seen) = viewer.read("GET") {
            assert!(seen.status == 206 && !seen.whole, "{}", seen.head);
            assert!(whole[327_670..327_680].starts_with(&seen.body), "{:?}", seen.body);
        }
        let last = origin.seen().pop().unwrap();
        assert_eq!(last.field("if-range").as_deref(), Some("\"a\""), "{}", last.target);
    }
    for number in [0, 3] {
        version.store(number, Ordering::SeqCst);
        is_part(&range(&two, "/long", "327670-327690"), &whole, 327_670, 327_690);
    }
}

// A slice from the tier is named like a whole response, once; it is kept.
#[test]
fn a_slice_names_the_tier_that_it_came_from() {
    let (_node, port) = Scripted::start();
    let (origin, whole) = long(LEN);
    let more = Settings { behavior: "slice = \"1MiB\"\n", ..Settings::default() };
    let tier = Access::Open.tier("memcached", &[port]);
    let (one, two) = two_edges_on(origin.address, &tier, &more);
    shared(&one, &two, "small");
    let before = one.metric(WRITTEN);
    is_part(&range(&one, "/long", "0-9"), &whole, 0, 9);
    eventually("the slice is written to the tier", || one.metric(WRITTEN) > before);
    let seen = range(&two, "/long", "10-19");
    is_part(&seen, &whole, 10, 19);
    came_from_the_tier(&seen);
    assert!(says(&seen, &format!("detail=\"127.0.0.1:{port}\"")), "{}", seen.head);
    assert!(!says(&seen, "Foreshore; hit"), "{}", seen.head);
    assert_eq!(asked_for(&origin, "/long"), 1);
    let seen = range(&two, "/long", "20-29");
    is_part(&seen, &whole, 20, 29);
    assert_eq!(seen.cache(), "Hit");
    assert!(!says(&seen, "Foreshore-tier"), "{}", seen.head);
    // One that was not there says so, and is the origin's.
    let seen = range(&two, "/long", "1200000-1200009");
    is_part(&seen, &whole, 1_200_000, 1_200_009);
    assert!(says(&seen, "Foreshore-tier; fwd=uri-miss"), "{}", seen.head);
    assert_eq!((seen.cache().as_str(), asked_for(&origin, "/long")), ("Miss", 2));
}

// Over TLS, with a name and a password.
#[test]
fn slow_a_range_of_100_mib_costs_a_piece() {
    if !tool::have(&[REDIS]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let access = Access::guarded(folder.path());
    let engine = Counting { server: access.redis(folder.path(), ""), kind: "redis" };
    let (origin, whole) = long(100 << 20);
    let more = Settings {
        edge: "[store]\nmemory = \"256MiB\"\nmax_object = \"128MiB\"\n",
        ..Settings::default()
    };
    let tier = access.tier("redis", &[engine.server.door]);
    let (one, two) = two_edges_on(origin.address, &tier, &more);
    shared(&one, &two, "small");
    lies_there(&one, "/long");
    let (_, before) = two.memory();
    for at in [0, 33_333_333, 99_999_990] {
        let asked = format!("{at}-{}", at + 9);
        let pieces = ((at + 9) / PIECE - at / PIECE + 1) as u64;
        let seen = engine.reads(Some(pieces), &asked, || range(&two, "/long", &asked));
        is_part(&seen, &whole, at, at + 9);
        came_from_the_tier(&seen);
    }
    let (_, most) = two.memory();
    assert!(most < before + (16 << 10), "at most {before} and then {most} KiB");
    assert_eq!(asked_for(&origin, "/long"), 1);
}

// Pieces go one by one, on a connection of their own: what is asked meanwhile waits for no more
// than one.
#[test]
fn slow_a_node_answers_while_it_is_given_100_mib() {
    if !tool::have(&[REDIS]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let access = Access::guarded(folder.path());
    let server = access.redis(folder.path(), "");
    on_a_core(async {
        let mut settings = access.settings(SINGLE, server.door);
        // How long a read waits is looked at below.
        let timeouts = &mut settings.timeouts;
        (timeouts.first, timeouts.total) = (Duration::from_secs(10), Duration::from_secs(20));
        let tier = start(&settings);
        let small = response("/small", 10);
        put(&tier, &small).await;
        let large = response("/large", 100 << 20);
        let written = || tier.counts.written.load(Ordering::Relaxed);
        let before = written();
        tier.put(&large, STAMP, NOW).unwrap();
        let (mut took, until) = (Vec::new(), Instant::now() + WRITING);
        while written() == before {
            let began = Instant::now();
            assert!(began < until, "{:?} {:?}", tier.counts, tier.status());
            assert!(found(&tier, &small.key).await.is_ok(), "{:?}", tier.status());
            took.push(began.elapsed());
        }
        took.sort_unstable();
        // Of the time that the whole took, which grows with how busy the machine is, as a piece's
        // does. Who waited for more than a few of the 1600 pieces waited for longer.
        let (whole, p99) = (took.iter().sum::<Duration>(), took[took.len() * 99 / 100]);
        let is_little = took.len() > 100 && p99 < whole / 30;
        assert!(is_little, "p99 of {} reads: {p99:?} of {whole:?}", took.len());
        assert_eq!(found(&tier, &large.key).await.unwrap().meta.outline.length, 100 << 20);
    });
}
