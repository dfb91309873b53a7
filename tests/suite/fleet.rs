//! Three edges and their parent as real processes: killed, stopped and started again while a
//! version oracle reads and purges; and what else an operator and a stranger may do to them.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use foreshore::base::secret::Secret;
use foreshore::crypto::sigv4::{self, Credentials, PathForm, Scope, Signed};
use foreshore::fleet::protocol::{MemberId, Name, Place};
use foreshore::fleet::sequencer::Renew;
use foreshore::fleet::wire::{self, Call};
use foreshore::invalidation::chain::Incarnation;
use foreshore::semantics::time::Timestamp;
use serde_json::Value;

use super::support::fleet::{
    Door, EDGES, FENCE, Fleet, Member, PURGE_TOKEN, SECRET, Told, edge_token,
};
use super::support::origin::answer;
use super::support::viewer::{Seen, request};
use super::support::{Dice, Origin, Viewer, eventually};

pub(super) const FRESHNESS: [&str; 3] = ["freshness"; 3];
/// What is read and purged.
const PATH: &str = "/v";

/// An origin whose content is a version.
pub(super) struct Versions {
    pub(super) origin: Origin,
    now: Arc<AtomicU64>,
}

impl Versions {
    fn start() -> Self {
        let now = Arc::new(AtomicU64::new(1));
        let told = Arc::clone(&now);
        let origin = Origin::start(move |asked| {
            let version = told.load(SeqCst);
            let tag = format!("\"{version}\"");
            let fields = format!("Cache-Control: max-age=600\nETag: {tag}");
            match asked.field("if-none-match") {
                Some(known) if known == tag => answer(304, &fields, b""),
                _ => answer(200, &fields, version.to_string().as_bytes()),
            }
        });
        Self { origin, now }
    }

    /// The next version; the origin says it from now on.
    fn next(&self) -> u64 {
        self.now.fetch_add(1, SeqCst) + 1
    }
}

/// What no read may be older than, and what was read.
pub(super) struct Oracle {
    pub(super) versions: Versions,
    /// The version of the last purge that was answered with Completed.
    floor: AtomicU64,
    is_over: AtomicBool,
    reads: AtomicU64,
    hits: AtomicU64,
    purges: AtomicU64,
    wrong: Mutex<Vec<String>>,
}

impl Oracle {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            versions: Versions::start(),
            floor: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            reads: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            purges: AtomicU64::new(0),
            wrong: Mutex::default(),
        })
    }

    /// Judges an answer to a request that was sent after `floor` was noted.
    fn judge(&self, who: &str, floor: u64, seen: &Seen) {
        if seen.status != 200 || !seen.whole {
            return;
        }
        self.reads.fetch_add(1, SeqCst);
        if seen.cache() == "Hit" {
            self.hits.fetch_add(1, SeqCst);
        }
        let version: u64 = seen.text().parse().unwrap_or(0);
        if version < floor {
            let head = &seen.head;
            self.wrong.lock().unwrap().push(format!("{who}: {version} after {floor}: {head}"));
        }
    }

    /// A new version, and a purge of the old one by a member; what it was answered, if it was.
    fn purge(&self, door: &Door, wait: u64) -> Option<(u64, Told)> {
        let version = self.versions.next();
        let told = door.purge(PATH, wait)?;
        self.purges.fetch_add(1, SeqCst);
        if told.is_completed() {
            self.floor.fetch_max(version, SeqCst);
        }
        Some((version, told))
    }

    /// The same by a member that runs.
    pub(super) fn purged(&self, door: &Door, wait: u64) -> (u64, Told) {
        self.purge(door, wait).unwrap_or_else(|| panic!("{} does not answer", door.name))
    }

    /// A read that has to be right.
    pub(super) fn check(&self, door: &Door, at_least: u64) {
        let version = door.version(PATH);
        assert!(version >= at_least, "{}: {version} after {at_least}", door.name);
    }

    fn read_on(&self, door: &Door, keeps: bool) {
        let mut kept: Option<Viewer> = None;
        while !self.is_over.load(SeqCst) {
            let viewer = kept.take().or_else(|| Viewer::try_connect(door.http));
            let Some(mut viewer) = viewer else {
                std::thread::park_timeout(Duration::from_millis(20));
                continue;
            };
            let fields: &[&str] = if keeps { &[] } else { &["Connection: close"] };
            let floor = self.floor.load(SeqCst);
            viewer.send(&request("GET", PATH, fields));
            let seen = viewer.read("GET");
            if let Some(seen) = &seen {
                self.judge(&door.name, floor, seen);
            }
            kept = seen.filter(|_| keeps).map(|_| viewer);
            // Its pace: two cores have four processes to run, too.
            std::thread::park_timeout(Duration::from_millis(2));
        }
    }

    // Purges by one edge after another, and reads there at once: in force there, whatever was
    // answered.
    fn purge_on(&self, doors: &[Door]) {
        let mut dice = Dice::new(17, 1);
        while !self.is_over.load(SeqCst) {
            let door = &doors[dice.roll(doors.len() as u64) as usize];
            if let Some((version, _)) = self.purge(door, 8)
                && let Some(seen) = door.get(PATH)
            {
                self.judge(&format!("{} after its own purge", door.name), version, &seen);
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

/// The threads of an oracle; over when this is.
pub(super) struct Watch {
    oracle: Arc<Oracle>,
    threads: Vec<JoinHandle<()>>,
}

impl Watch {
    pub(super) fn start(oracle: &Arc<Oracle>, fleet: &Fleet) -> Self {
        let doors: Vec<Door> = fleet.edges.iter().map(|edge| edge.door.clone()).collect();
        let mut threads = Vec::new();
        for door in &doors {
            for keeps in [false, true] {
                let (oracle, door) = (Arc::clone(oracle), door.clone());
                threads.push(std::thread::spawn(move || oracle.read_on(&door, keeps)));
            }
        }
        let purger = Arc::clone(oracle);
        threads.push(std::thread::spawn(move || purger.purge_on(&doors)));
        Self { oracle: Arc::clone(oracle), threads }
    }

    /// Goes on until so many more purges were answered.
    pub(super) fn go_on(&self, more: u64) {
        let purges = || self.oracle.purges.load(SeqCst);
        let until = purges() + more;
        eventually("purges go on", || purges() >= until);
        self.is_right();
    }

    fn is_right(&self) {
        let wrong = self.oracle.wrong.lock().unwrap();
        assert!(wrong.is_empty(), "{} old answers, the first: {}", wrong.len(), wrong[0]);
    }

    pub(super) fn end(mut self) {
        self.oracle.is_over.store(true, SeqCst);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
        self.is_right();
        let count = |of: &AtomicU64| of.load(SeqCst);
        let (reads, hits) = (count(&self.oracle.reads), count(&self.oracle.hits));
        assert!(reads > 300 && hits > 30, "{reads} reads, {hits} hits: that proves little");
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.oracle.is_over.store(true, SeqCst);
    }
}

// Requests that reach a process while it is stopped, over connections of before and of now.
fn asked_while_stopped(edge: &Member, before: Vec<Viewer>) -> Vec<Viewer> {
    let fresh = (0..2).filter_map(|_| Viewer::try_connect(edge.door.http));
    let mut viewers: Vec<Viewer> = before.into_iter().chain(fresh).collect();
    for viewer in &mut viewers {
        viewer.send(&request("GET", PATH, &[]));
    }
    viewers
}

// While an edge is stopped a purge is Completed once it is fenced, and not before. What it is asked
// meanwhile, and first thing afterwards, it answers with nothing that it missed.
fn stop_and_go_on(oracle: &Oracle, fleet: &Fleet, at: usize) {
    let (edge, caller) = (&fleet.edges[at], &fleet.edges[(at + 1) % 3].door);
    oracle.check(&edge.door, 1);
    let mut before: Vec<Viewer> = (0..2).map(|_| edge.edge().viewer()).collect();
    for viewer in &mut before {
        assert_eq!(viewer.get(PATH, &[]).status, 200);
    }
    edge.stop();
    let (version, told) = oracle.purged(caller, 10);
    assert!(told.is_completed() && told.of(&edge.door.name) == "fenced", "{told:?}");
    assert!(told.took >= FENCE - Duration::from_millis(10), "proven too early: {told:?}");
    assert!(told.took < FENCE + Duration::from_secs(4), "{told:?}");
    let mut asked = asked_while_stopped(edge, before);
    edge.go_on();
    for viewer in &mut asked {
        let seen = viewer.read("GET").expect("an answer");
        let read: u64 = seen.text().parse().unwrap();
        assert!(read >= version, "{}: {read} after {version}: {}", edge.door.name, seen.head);
    }
    oracle.check(&edge.door, version);
    fleet.all_have_leases();
}

// An edge is away while things are purged, and comes back with the disk that it had.
fn away_and_back(oracle: &Oracle, fleet: &mut Fleet, at: usize, leave: fn(&mut Member)) {
    let caller = fleet.edges[(at + 1) % 3].door.clone();
    oracle.check(&fleet.edges[at].door, 1);
    leave(&mut fleet.edges[at]);
    let (version, told) = oracle.purged(&caller, 10);
    let name = EDGES[at];
    assert!(told.is_completed() && matches!(told.of(name), "fenced" | ""), "{told:?}");
    fleet.edges[at].restart_with_its_disk();
    oracle.check(&fleet.edges[at].door, version);
    fleet.all_have_leases();
    let (version, told) = oracle.purged(&caller, 10);
    assert!(told.is_completed() && told.of(name) == "applied", "{told:?}");
    oracle.check(&fleet.edges[at].door, version);
}

// Without the parent a purge is in force here at once, and never said to be everywhere; once the
// parent is back it comes everywhere, and is said to.
fn without_the_parent(oracle: &Oracle, fleet: &mut Fleet) {
    fleet.parent.kill();
    let caller = fleet.edges[0].door.clone();
    let (version, told) = oracle.purged(&caller, 1);
    assert_eq!(told.status, "InProgress", "{told:?}");
    assert!(told.took < Duration::from_secs(5), "{told:?}");
    oracle.check(&caller, version);
    assert_eq!(caller.progress(&told.id), "InProgress");
    fleet.parent.restart();
    eventually("it comes everywhere", || caller.progress(&told.id) == "Completed");
    oracle.floor.fetch_max(version, SeqCst);
    for edge in &fleet.edges {
        oracle.check(&edge.door, version);
    }
    fleet.all_have_leases();
}

#[test]
fn slow_no_read_is_older_than_a_purge_that_was_said_to_be_everywhere() {
    let oracle = Oracle::new();
    let mut fleet = Fleet::start(oracle.versions.origin.address, FRESHNESS);
    let watch = Watch::start(&oracle, &fleet);
    watch.go_on(20);
    for at in 0..3 {
        stop_and_go_on(&oracle, &fleet, at);
        watch.go_on(3);
        away_and_back(&oracle, &mut fleet, at, Member::kill);
        watch.go_on(3);
    }
    for _ in 0..2 {
        without_the_parent(&oracle, &mut fleet);
        watch.go_on(3);
    }
    away_and_back(&oracle, &mut fleet, 2, Member::end);
    watch.go_on(3);
    watch.end();
}

// The same without other purges: each one's time and its list of members are what they have to be,
// and its own answer is never heard before the record is read back, or the other way round.
#[test]
fn slow_a_member_is_fenced_when_its_lease_is_over_and_not_before() {
    let oracle = Oracle::new();
    let fleet = Fleet::start(oracle.versions.origin.address, FRESHNESS);
    // After a member has joined, a fence has to go by before the roster alone proves anything.
    let (_, told) = oracle.purged(&fleet.edges[0].door, 10);
    assert!(told.is_completed(), "{told:?}");
    for turn in 0..60 {
        let (version, told) = oracle.purged(&fleet.edges[turn % 3].door, 10);
        assert!(told.is_completed() && told.members.len() == 4, "{told:?}");
        for member in told.members.keys() {
            let is_applied = told.of(member) == "applied";
            assert!(is_applied || told.took >= FENCE - Duration::from_millis(10), "{told:?}");
        }
        for edge in &fleet.edges {
            oracle.check(&edge.door, version);
        }
    }
    for at in 0..3 {
        stop_and_go_on(&oracle, &fleet, at);
    }
}

#[test]
fn slow_an_edge_that_prefers_availability_serves_and_is_said_to_be_unproven() {
    let versions = Versions::start();
    let mut fleet =
        Fleet::start(versions.origin.address, ["freshness", "freshness", "availability"]);
    let (fresh, available) = (fleet.edges[0].door.clone(), fleet.edges[2].door.clone());
    let kept = versions.now.load(SeqCst);
    for door in [&fresh, &available] {
        assert_eq!((door.version(PATH), door.version(PATH)), (kept, kept));
    }
    assert_eq!(available.get(PATH).unwrap().cache(), "Hit");
    // Without the parent, once its lease is over.
    fleet.parent.kill();
    eventually("the leases end", || fresh.lease_left() == 0 && available.lease_left() == 0);
    let new = versions.next();
    let seen = available.get(PATH).unwrap();
    assert_eq!((seen.text(), seen.cache()), (kept.to_string(), "Hit".into()), "{}", seen.head);
    assert!(seen.head.contains("; detail=unproven"), "{}", seen.head);
    let counted = fleet.edges[2].edge().metric("foreshore_fleet_unproven_total");
    assert!(counted >= 1.0, "{counted}");
    assert_eq!(fresh.version(PATH), new, "what is stored is validated");
    // With the parent, and the edge stopped.
    fleet.parent.restart();
    fleet.all_have_leases();
    fleet.edges[2].stop();
    let told = fresh.purge(PATH, 4).unwrap();
    fleet.edges[2].go_on();
    assert_eq!((&*told.status, told.of("edge-3")), ("InProgress", "unproven"), "{told:?}");
    eventually("it applies it", || fresh.progress(&told.id) == "Completed");
    assert_eq!(available.version(PATH), new);
}

// A call of CloudFront's API, signed: status and body.
fn cloudfront(member: &Member, method: &str, path: &str, body: &str) -> (u16, String) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let date = sigv4::amz_date(Timestamp(u64::try_from(now.as_millis()).unwrap()));
    let payload = sigv4::sha256(body.as_bytes());
    let lines = [("host", "admin".to_string()), ("x-amz-date", date.clone())];
    let signed = Signed { method, path, query: None, fields: &lines, payload: &payload };
    let credentials = Credentials {
        id: "AKIDEXAMPLE".into(),
        secret: Secret::new(SECRET.to_string()),
        session_token: None,
    };
    let scope = Scope { region: "us-east-1", service: "cloudfront" };
    let proof = sigv4::authorization(&signed, PathForm::Twice, &date, scope, &credentials);
    let fields = format!("X-Amz-Date: {date}\r\nAuthorization: {proof}\r\n");
    member.edge().admin_with(method, path, body, &fields)
}

fn by_cloudfronts_api(member: &Member) {
    let batch = format!(
        "<InvalidationBatch xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"><Paths><Quantity>1</Quantity>\
         <Items><Path>{PATH}</Path></Items></Paths><CallerReference>by-hand</CallerReference></InvalidationBatch>"
    );
    let all = "/2020-05-31/distribution/E1/invalidation";
    let (status, made) = cloudfront(member, "POST", all, &batch);
    assert_eq!(status, 201, "{made}");
    let id = made.split("<Id>").nth(1).and_then(|rest| rest.split('<').next()).unwrap();
    eventually("it is completed", || {
        cloudfront(member, "GET", &format!("{all}/{id}"), "").1.contains("Completed")
    });
}

fn said(member: &Member, method: &str, fields: &[&str]) -> Seen {
    let mut viewer = member.edge().viewer();
    viewer.send(&request(method, PATH, fields));
    viewer.read(method).unwrap()
}

// Every edge has stored the version that is now, and the origin says the next.
fn stored_everywhere_and_changed(versions: &Versions, fleet: &Fleet) -> u64 {
    let now = versions.now.load(SeqCst);
    for edge in &fleet.edges {
        assert_eq!((edge.door.version(PATH), edge.door.version(PATH)), (now, now));
        // Under a lease, which a busy machine may let end for a moment.
        eventually("a hit", || edge.door.get(PATH).is_some_and(|seen| seen.cache() == "Hit"));
    }
    versions.next()
}

// Whichever member is asked for its status lists all of them, with what each runs.
fn status_lists_the_members(fleet: &Fleet) {
    for asked in fleet.members() {
        let (_, status) = asked.door.call("GET", "/v1/status", "").unwrap();
        let (_, whole) = asked.door.call("GET", "/v1/fleet", "").unwrap();
        let told = |of: &Value| -> Vec<[Value; 2]> {
            let members = of["members"].as_array().unwrap().iter();
            members.map(|one| [one["name"].clone(), one["program"].clone()]).collect()
        };
        let version = env!("CARGO_PKG_VERSION");
        let want: Vec<[Value; 2]> =
            EDGES.iter().chain(&["parent"]).map(|name| [(*name).into(), version.into()]).collect();
        assert_eq!(told(&status["fleet"]), want, "{status}");
        assert_eq!(told(&whole), want, "{whole}");
    }
}

#[test]
fn whoever_invalidates_and_however_it_reaches_every_edge() {
    let versions = Versions::start();
    let fleet = Fleet::start(versions.origin.address, FRESHNESS);
    status_lists_the_members(&fleet);
    let everywhere = |version: u64, how: &str| {
        for edge in &fleet.edges {
            assert_eq!(edge.door.version(PATH), version, "{how}: {}", edge.door.name);
        }
    };
    let version = stored_everywhere_and_changed(&versions, &fleet);
    let token = format!("Authorization: Bearer {PURGE_TOKEN}");
    let done = said(&fleet.edges[0], "PURGE", &[token.as_str()]);
    assert!(done.status == 200 && done.text().contains("Completed"), "{}", done.text());
    everywhere(version, "PURGE");
    let version = stored_everywhere_and_changed(&versions, &fleet);
    by_cloudfronts_api(&fleet.edges[1]);
    everywhere(version, "CloudFront's API");
    for method in ["PUT", "DELETE"] {
        let version = stored_everywhere_and_changed(&versions, &fleet);
        assert_eq!(said(&fleet.edges[2], method, &["Content-Length: 0"]).status, 200);
        // In force at once where it was written, and a moment later at the others.
        assert_eq!(fleet.edges[2].door.version(PATH), version, "{method}");
        for edge in &fleet.edges {
            eventually(&format!("{method} reaches {}", edge.door.name), || {
                edge.door.version(PATH) == version
            });
        }
    }
    let version = stored_everywhere_and_changed(&versions, &fleet);
    let told = fleet.parent.door.purge(PATH, 8).unwrap();
    assert!(told.is_completed(), "{told:?}");
    everywhere(version, "by the parent");
}

// What an edge's token says to the sequencer as it is: status and body.
fn raw(fleet: &Fleet, body: &str) -> (u16, String) {
    let token = edge_token("edge-1");
    let fields = format!("Foreshore-Edge: edge-1\r\nAuthorization: Bearer {token}\r\n");
    fleet.parent.edge().admin_with("POST", "/v1/fleet/call", body, &fields)
}

fn refused(fleet: &Fleet, name: &str) -> u64 {
    let (_, text) = fleet.parent.edge().admin("GET", "/metrics", "");
    let line = format!("foreshore_sequencer_refused_total{{refusal=\"{name}\"}} ");
    text.lines().find_map(|found| found.strip_prefix(&line)?.parse().ok()).unwrap()
}

fn bad_calls() -> Vec<(String, u16, &'static str)> {
    let roster = |version: u64, fleet: &str| {
        format!(
            "{{\"version\":{version},\"fleet\":\"{fleet}\",\"call\":{{\"roster\":{{\"id\":\"{}\",\"wait\":0}}}}}}",
            "0".repeat(32)
        )
    };
    let name = |text: &str| Name::parse(text).unwrap();
    let other = MemberId { name: name("edge-2"), incarnation: Incarnation::random() };
    let renew = Renew { member: other, epoch: Default::default(), applied: Place::START };
    let foreign = wire::encode(&name("own"), &Call::Renew(renew)).unwrap();
    vec![
        ("garbage".into(), 400, "malformed"),
        ("{\"version\":1,".into(), 400, "malformed"),
        (roster(0, "own"), 400, "older_version"),
        (roster(2, "own"), 400, "newer_version"),
        (roster(1, "other"), 403, "foreign_fleet"),
        (roster(1, "own").replace("roster", "rooster"), 400, "unknown"),
        (" ".repeat(wire::MESSAGE_MAX + 1), 400, "too_large"),
        (String::from_utf8(foreign).unwrap(), 403, "foreign_member"),
    ]
}

#[test]
fn what_is_bad_is_refused_by_name_and_the_fleet_goes_on() {
    let versions = Versions::start();
    let fleet = Fleet::start(versions.origin.address, FRESHNESS);
    for (body, status, name) in bad_calls() {
        let before = refused(&fleet, name);
        let (told, answer) = raw(&fleet, &body);
        assert_eq!(told, status, "{name}: {answer}");
        assert!(answer.contains(&format!("\"refused\":\"{name}\"")), "{name}: {answer}");
        assert_eq!(refused(&fleet, name), before + 1, "{name}");
    }
    // Leases of another length might end later than callers wait for.
    let before = refused(&fleet, "other_lease");
    let token = edge_token("edge-1");
    let fields = format!(
        "Foreshore-Edge: edge-1\r\nAuthorization: Bearer {token}\r\nForeshore-Lease: 2001\r\n"
    );
    let name = |text: &str| Name::parse(text).unwrap();
    let member = MemberId { name: name("edge-1"), incarnation: Incarnation::random() };
    let renew = Renew { member, epoch: Default::default(), applied: Place::START };
    let renew = wire::encode(&name("own"), &Call::Renew(renew)).unwrap();
    let renew = String::from_utf8(renew).unwrap();
    let (told, answer) = fleet.parent.edge().admin_with("POST", "/v1/fleet/call", &renew, &fields);
    assert!(told == 403 && answer.contains("\"refused\":\"other_lease\""), "{told}: {answer}");
    assert_eq!(refused(&fleet, "other_lease"), before + 1);
    // Who is not known is not even listened to.
    for fields in [
        "Foreshore-Edge: edge-1\r\nAuthorization: Bearer wrong\r\n".to_string(),
        format!("Foreshore-Edge: edge-1\r\nAuthorization: Bearer {}\r\n", edge_token("edge-2")),
        format!("Foreshore-Edge: edge-9\r\nAuthorization: Bearer {}\r\n", edge_token("edge-1")),
    ] {
        let told = fleet.parent.edge().admin_with("POST", "/v1/fleet/call", "{}", &fields).0;
        assert_eq!(told, 401, "{fields}");
    }
    let version = stored_everywhere_and_changed(&versions, &fleet);
    let told = fleet.edges[1].door.purge(PATH, 8).unwrap();
    assert!(told.is_completed() && told.members.len() == 4, "{told:?}");
    for edge in &fleet.edges {
        assert_eq!(edge.door.version(PATH), version);
    }
}

#[test]
fn a_member_whose_settings_are_not_the_fleets_says_once_what_helps_and_has_no_lease() {
    let versions = Versions::start();
    let fleet = Fleet::start(versions.origin.address, FRESHNESS);
    for (settings, refusal, helps) in [
        (("name = \"own\"", "name = \"other\""), "foreign_fleet", "fleet.name has to be the same"),
        (("lease = \"2s\"", "lease = \"9s\""), "other_lease", "fleet.lease has to be the same"),
    ] {
        let stranger = fleet.edge_but("edge-1", "freshness", settings);
        let before = refused(&fleet, refusal);
        eventually("it asks again and again", || refused(&fleet, refusal) > before + 3);
        let (_, status) = stranger.edge().admin("GET", "/v1/fleet", "");
        assert!(status.contains(helps), "{status}");
        let log = stranger.edge().log();
        assert_eq!(log.matches("is not followed at the moment").count(), 1, "{log}");
        assert_eq!(stranger.door.lease_left(), 0, "{status}");
    }
    let told = fleet.edges[1].door.purge(PATH, 8).unwrap();
    assert!(told.is_completed() && told.members.len() == 4, "{told:?}");
}

#[test]
fn two_edges_by_one_name_are_told_of_and_serve_nothing_old() {
    let versions = Versions::start();
    let fleet = Fleet::start(versions.origin.address, FRESHNESS);
    let twin = fleet.edge_named("edge-1", "freshness");
    let both = [&fleet.edges[0], &twin];
    eventually("it is reported", || {
        both.iter().any(|edge| edge.edge().log().contains("another process is a member"))
    });
    let superseded = both.map(|edge| edge.edge().metric("foreshore_fleet_superseded_total") as u64);
    assert!(superseded.iter().sum::<u64>() >= 2, "{superseded:?}");
    // Said less and less often while both go on.
    let said = |edge: &Member| edge.edge().log().matches("another process is a member").count();
    let one = both.iter().find(|edge| said(edge) > 0).unwrap();
    let metric = || one.edge().metric("foreshore_fleet_superseded_total") as u64;
    eventually("both go on", || metric() >= 6);
    assert!(said(one) <= 3 + metric() as usize / 8, "{}", one.edge().log());
    // Whichever of them is listed: none serves what a purge said to be everywhere has covered.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        let version = versions.next();
        let told = fleet.edges[1].door.purge(PATH, 8).unwrap();
        if told.is_completed() {
            for edge in fleet.edges.iter().chain([&twin]) {
                assert!(edge.door.version(PATH) >= version, "{}: {told:?}", edge.door.name);
            }
        }
    }
}
