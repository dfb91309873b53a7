//! The numbers of a fleet's log from a real Redis: the same answers as the rules give, and a fleet
//! whose engine is killed, loses everything, or stands still.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use foreshore::cache::invalidations::{Matcher, Severity};
use foreshore::distribution::fleet::Prefer;
use foreshore::fleet::protocol::{
    Change, Epoch, FleetNumber, Kept, KeptEntry, MemberId, Name, Payload, Place, Refusal,
};
use foreshore::fleet::sequence::{CallError, Sequence};
use foreshore::fleet::sequencer::{Proposal, Renew, Roster, Sequencer};
use foreshore::fleet::wire::{Call, Reply};
use foreshore::invalidation::chain::{Incarnation, RecordId};
use foreshore::tier::sequence::TierSequence;

use super::support::edge::{Edge, plain};
use super::support::origin::answer;
use super::support::{Dice, Origin, eventually, free_port, tool};
use super::tier::{REDIS, SINGLE, Server, on_a_core, redis, settings};

const LEASE: Duration = Duration::from_secs(2);

fn engine(folder: &Path, port: u16) -> Server {
    redis(folder, port, &format!("port {port}"))
}

fn fleet() -> Name {
    Name::parse("own").unwrap()
}

/// The rules, and the engine, asked the same.
struct Both {
    rules: Sequencer,
    engine: Arc<TierSequence>,
}

impl Both {
    async fn start(port: u16) -> Self {
        let engine = TierSequence::start(&settings(SINGLE, port), &fleet(), LEASE).unwrap();
        let epoch = epoch_of(&engine).await;
        Self { rules: Sequencer::new(epoch), engine }
    }

    async fn ask(&mut self, call: Call) {
        let found = self.engine.call(call.clone()).await;
        let found = found.map(|reply| match reply {
            // How long ago each was heard of is for people.
            Reply::Roster(roster) => {
                Reply::Roster(Roster { silent_for: Default::default(), ..roster })
            }
            reply => reply,
        });
        let wanted = self.answer(&call, &found).map_err(CallError::Refused);
        assert_eq!(found, wanted, "{call:?}");
    }

    fn answer(&mut self, call: &Call, found: &Result<Reply, CallError>) -> Result<Reply, Refusal> {
        let rules = &mut self.rules;
        Ok(match call.clone() {
            Call::Append { epoch, id, payload } => match rules.propose(epoch, id, payload)? {
                Proposal::Known(place) => Reply::Appended(place),
                Proposal::New(record) => Reply::Appended(rules.commit(Arc::new(record))?),
            },
            Call::Renew(renew) => Reply::Renewed(rules.renew(&renew)?),
            Call::Read { from, most, .. } => {
                let records = rules.read(from, most)?;
                Reply::Records(records.iter().map(|record| (**record).clone()).collect())
            }
            Call::Roster { id, .. } => Reply::Roster(rules.roster_about(id)),
            Call::Trim { epoch, upto } if epoch == rules.epoch() => {
                Reply::Trimmed(rules.trim(FleetNumber(upto)))
            }
            Call::Trim { .. } => return Err(Refusal::OtherEpoch),
            Call::Fence { old } => {
                // Which one it is the engine has by chance.
                let new = match found {
                    Ok(Reply::Fenced(new)) => *new,
                    _ => Epoch(RecordId::random()),
                };
                rules.fence(old, new)?;
                Reply::Fenced(new)
            }
            Call::Kept { after } => Reply::Kept(rules.kept_after(&after)),
        })
    }
}

async fn epoch_of(engine: &TierSequence) -> Epoch {
    match engine.call(Call::Roster { id: RecordId::NONE, wait: 0 }).await {
        Ok(Reply::Roster(roster)) => roster.epoch,
        other => panic!("{other:?}"),
    }
}

fn invalidation(path: &str) -> Payload {
    Payload::Invalidation {
        name: String::new(),
        distribution: "E1".into(),
        matchers: vec![Matcher::Path(path.into())],
        severity: Severity::Hard,
    }
}

/// A change of a few things with names that often meet; now and then by one who came late.
fn kept(roll: &mut impl FnMut(u64) -> u64, rules: &Sequencer) -> Payload {
    let names = ["a/b/c", "value/s", "value/s/\u{e9}", "value/s/c/d", "value/t/c"];
    let last = rules.kept_after("").last;
    let after = if roll(5) == 0 { FleetNumber(roll(60)) } else { last };
    let mut entries = Vec::new();
    for name in names {
        let content = match roll(6) {
            0..=2 => continue,
            3 => None,
            _ => Some(" \"\u{e9}".repeat(roll(40) as usize)),
        };
        entries.push(KeptEntry { name: name.into(), content });
    }
    if entries.is_empty() {
        entries.push(KeptEntry { name: "a/b/c".into(), content: None });
    }
    Payload::Value(Kept { after, entries })
}

/// A call out of a few that often meet: members of three names, places of the log and others.
fn thrown(dice: &mut Dice, both: &Both, lives: &[Incarnation], ids: &mut Vec<RecordId>) -> Call {
    let mut roll = |sides: u64| dice.roll(sides);
    let rules = &both.rules;
    let epoch = if roll(8) == 0 { Epoch(RecordId::random()) } else { rules.epoch() };
    let member = {
        let name = Name::parse(["a", "b", "c"][roll(3) as usize]).unwrap();
        MemberId { name, incarnation: lives[roll(lives.len() as u64) as usize] }
    };
    let place = {
        let kept = rules.kept();
        match roll(6) {
            0 => Place::START,
            1 => rules.head().after(RecordId::random()),
            2 | 3 => rules.head(),
            _ if kept.is_empty() => rules.floor(),
            _ => kept[roll(kept.len() as u64) as usize].place(),
        }
    };
    let id = match roll(4) {
        0 if !ids.is_empty() => ids[roll(ids.len() as u64) as usize],
        _ => RecordId::random(),
    };
    match roll(13) {
        0..=3 => {
            ids.push(id);
            let payload = match roll(6) {
                0 => Payload::Member {
                    change: Change::Join,
                    member,
                    prefer: Prefer::Freshness,
                    program: Name::parse("0.2.0"),
                },
                1 => Payload::Member {
                    change: Change::Leave,
                    member,
                    prefer: Prefer::Availability,
                    program: None,
                },
                2 => Payload::TicketKeys { wrapped: "k".repeat(roll(500) as usize) },
                3 | 4 => kept(&mut roll, rules),
                _ => invalidation("/a\"\\\u{e9}"),
            };
            Call::Append { epoch, id, payload }
        }
        4..=6 => Call::Renew(Renew { member, epoch, applied: place }),
        7 | 8 => Call::Read { from: place, most: roll(30) as usize + 1, wait: 0 },
        9 => Call::Roster { id, wait: 0 },
        12 => Call::Kept { after: ["", "a/b", "value/s", "value/s/c"][roll(4) as usize].into() },
        10 => Call::Trim { epoch, upto: roll(rules.head().number.0 + 3) },
        _ if roll(6) == 0 => Call::Fence { old: epoch },
        _ => Call::Roster { id: RecordId::NONE, wait: 0 },
    }
}

#[test]
fn an_engine_answers_as_the_rules_do() {
    if !tool::have(&[REDIS]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = engine(folder.path(), free_port());
    for seed in 0..4 {
        server.says("FLUSHALL");
        on_a_core(async {
            let mut dice = Dice::new(seed, 1);
            let mut both = Both::start(server.port).await;
            let lives: Vec<Incarnation> = (0..3).map(|_| Incarnation::random()).collect();
            let mut ids = Vec::new();
            for _ in 0..600 {
                let call = thrown(&mut dice, &both, &lives, &mut ids);
                both.ask(call).await;
            }
            assert!(both.rules.head().number.0 > 50);
            assert!(both.rules.kept_after("").last.0 > 10);
        });
    }
}

#[test]
fn a_member_whose_lease_is_another_is_refused_until_it_is_alone() {
    if !tool::have(&[REDIS]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = engine(folder.path(), free_port());
    on_a_core(async {
        let of = |lease| TierSequence::start(&settings(SINGLE, server.port), &fleet(), lease);
        let (own, other) = (of(LEASE).unwrap(), of(LEASE * 5).unwrap());
        let epoch = epoch_of(&own).await;
        let member = |name: &str| MemberId {
            name: Name::parse(name).unwrap(),
            incarnation: Incarnation::random(),
        };
        let (a, b) = (member("a"), member("b"));
        let renew = |member: &MemberId| {
            Call::Renew(Renew { member: member.clone(), epoch, applied: Place::START })
        };
        let append = |change: Change, member: &MemberId| {
            let (member, prefer) = (member.clone(), Prefer::Freshness);
            let payload = Payload::Member { change, member, prefer, program: None };
            Call::Append { epoch, id: RecordId::random(), payload }
        };
        own.call(append(Change::Join, &a)).await.unwrap();
        own.call(renew(&a)).await.unwrap();
        let refused: Result<Reply, CallError> = Err(CallError::Refused(Refusal::OtherLease));
        assert_eq!(other.call(renew(&b)).await, refused);
        // It waits for nobody either: the others' leases may be longer than its own.
        let roster = Call::Roster { id: RecordId::NONE, wait: 0 };
        assert_eq!(other.call(roster.clone()).await, refused);
        own.call(renew(&a)).await.unwrap();
        own.call(append(Change::Leave, &a)).await.unwrap();
        other.call(renew(&b)).await.unwrap();
        other.call(append(Change::Join, &b)).await.unwrap();
        other.call(roster).await.unwrap();
        assert_eq!(own.call(renew(&a)).await, refused);
    });
}

#[test]
fn a_log_of_which_a_part_was_evicted_is_none() {
    if !tool::have(&[REDIS]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = engine(folder.path(), free_port());
    on_a_core(async {
        let engine = TierSequence::start(&settings(SINGLE, server.port), &fleet(), LEASE).unwrap();
        for part in ["head", "log", "ids", "edges", "kept"] {
            let epoch = epoch_of(&engine).await;
            let name = Name::parse("a").unwrap();
            let member = MemberId { name, incarnation: Incarnation::random() };
            let (change, prefer) = (Change::Join, Prefer::Freshness);
            let payload = Payload::Member { change, member, prefer, program: None };
            let id = RecordId::random();
            engine.call(Call::Append { epoch, id, payload }).await.unwrap();
            let entries = vec![KeptEntry { name: "a/b".into(), content: Some("c".into()) }];
            let payload = Payload::Document(Kept { after: FleetNumber(0), entries });
            let id = RecordId::random();
            engine.call(Call::Append { epoch, id, payload }).await.unwrap();
            server.says(&format!("DEL {{foreshore:own}}:{part}"));
            let again = Call::Append { epoch, id: RecordId::random(), payload: invalidation("/a") };
            let refused = engine.call(again).await;
            assert_eq!(refused, Err(CallError::Refused(Refusal::OtherEpoch)), "{part}");
            let read = engine.call(Call::Read { from: Place::START, most: 9, wait: 0 }).await;
            assert_eq!(read, Ok(Reply::Records(Vec::new())), "{part}");
        }
    });
}

fn member(origin: SocketAddr, redis: u16, name: &str) -> Edge {
    let tier = format!("kind = \"redis\"\nurls = [\"redis://127.0.0.1:{redis}\"]");
    member_on(origin, &tier, name)
}

/// A member of the fleet `own`, whose log is on its tier.
pub(super) fn member_on(origin: SocketAddr, tier: &str, name: &str) -> Edge {
    member_with(origin, tier, name, "2s")
}

fn member_with(origin: SocketAddr, tier: &str, name: &str, lease: &str) -> Edge {
    let more = format!(
        "[fleet]\nname = \"own\"\nmember = {name:?}\nsequencer = \"tier\"\nlease = {lease:?}\nwait = \"8s\"\n\
         [tier]\n{tier}\n"
    );
    Edge::start(&plain(origin, &more))
}

pub(super) fn fleet_of(edge: &Edge) -> serde_json::Value {
    serde_json::from_str(&edge.admin("GET", "/v1/fleet", "").1).unwrap()
}

pub(super) fn has_lease(edge: &Edge) -> bool {
    fleet_of(edge)["lease_left_ms"].as_u64().is_some_and(|left| left > 0)
}

pub(super) fn progress(edge: &Edge, id: &str) -> String {
    let (_, one) = edge.admin("GET", &format!("/v1/invalidations/{id}"), "");
    let one: serde_json::Value = serde_json::from_str(&one).unwrap();
    one["status"].as_str().unwrap_or_default().to_string()
}

#[test]
fn an_edge_whose_lease_is_another_says_so_once_and_has_none() {
    if !tool::have(&[REDIS]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let _server = engine(folder.path(), port);
    let origin = Origin::start(|_| answer(200, "Cache-Control: max-age=600", b"x"));
    let one = member(origin.address, port, "one");
    eventually("it has a lease", || has_lease(&one));
    let tier = format!("kind = \"redis\"\nurls = [\"redis://127.0.0.1:{port}\"]");
    let other = member_with(origin.address, &tier, "two", "9s");
    eventually("it asks again and again", || other.metric("foreshore_fleet_failures_total") >= 4.0);
    let why = fleet_of(&other)["sequencer"]["failure"].to_string();
    assert!(why.contains("fleet.lease has to be the same"), "{why}");
    assert!(has_lease(&one) && !has_lease(&other));
    let log = other.log();
    assert_eq!(log.matches("is not followed at the moment").count(), 1, "{log}");
}

#[test]
fn a_fleet_without_a_parent_follows_the_log_on_its_tier() {
    if !tool::have(&[REDIS]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let server = engine(folder.path(), port);
    let origin =
        Origin::start(|asked| answer(200, "Cache-Control: max-age=600", asked.target.as_bytes()));
    let (one, two) = (member(origin.address, port, "one"), member(origin.address, port, "two"));
    let both_have_leases = || {
        for edge in [&one, &two] {
            eventually("it has a lease", || has_lease(edge));
        }
    };
    both_have_leases();
    // Under a lease, which a busy machine may let end for a moment.
    eventually("a hit", || two.get("/a").cache() == "Hit");
    let done = one.purge(&["/a"]);
    assert_eq!(done["status"], "Completed", "{done}");
    assert_eq!(done["scope"]["members"].as_array().map(Vec::len), Some(2), "{done}");
    assert_ne!(two.get("/a").cache(), "Hit", "what one invalidated the other does not serve");
    assert_eq!(fleet_of(&one)["sequencer"]["at"], "tier");

    // Killed, with everything that it had: what members have applied is put back, and goes on.
    let epoch = fleet_of(&one)["epoch"].clone();
    drop(server);
    let server = engine(folder.path(), port);
    eventually("a new epoch has begun", || {
        [&one, &two].iter().all(|edge| fleet_of(edge)["epoch"] != epoch)
    });
    both_have_leases();
    eventually("what was lost is back", || {
        progress(&one, done["id"].as_str().unwrap()) == "Completed"
    });
    two.get("/b");
    let done = one.purge(&["/b"]);
    assert_eq!(done["status"], "Completed", "{done}");
    assert_ne!(two.get("/b").cache(), "Hit");

    // Standing still: what is invalidated holds here at once, and everywhere afterwards.
    server.signal("-STOP");
    one.get("/c");
    let body = r#"{"paths":["/c"],"wait":1}"#;
    let (status, said) = one.admin("POST", "/v1/invalidations", body);
    assert!(status == 201 && said.contains("InProgress"), "{said}");
    assert_ne!(one.get("/c").cache(), "Hit");
    server.signal("-CONT");
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    eventually("it goes out", || progress(&one, said["id"].as_str().unwrap()) == "Completed");
    both_have_leases();
}

#[test]
fn a_changed_password_of_the_engine_reaches_the_log_by_a_reload() {
    if !tool::have(&[REDIS]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (port, secret) = (free_port(), folder.path().join("secret"));
    let guarded = |password: &str| {
        let lines = format!("port {port}\nrequirepass {password}");
        redis(folder.path(), port, &lines)
    };
    std::fs::write(&secret, "first").unwrap();
    let server = guarded("first");
    let origin = Origin::start(|_| answer(200, "Cache-Control: max-age=600", b"x"));
    let tier = format!(
        "kind = \"redis\"\nurls = [\"redis://127.0.0.1:{port}\"]\n\
         auth = {{ password = {{ file = {secret:?} }} }}"
    );
    let edge = member_on(origin.address, &tier, "one");
    eventually("it has a lease", || has_lease(&edge));
    drop(server);
    let _server = guarded("second");
    eventually("the cause is told", || {
        fleet_of(&edge)["sequencer"]["failure"].to_string().contains("tier.auth")
    });
    std::fs::write(&secret, "second").unwrap();
    let reload = || {
        let (status, said) = edge.admin("POST", "/v1/reload", "");
        assert_eq!(status, 200, "{said}");
        serde_json::from_str::<serde_json::Value>(&said).unwrap()
    };
    assert_eq!(reload()["needs_restart"], serde_json::json!([]));
    eventually("it has a lease again", || has_lease(&edge));
    assert_eq!(edge.purge(&["/a"])["status"], "Completed");

    // Another engine has another log.
    let path = edge.path().join("edge.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let moved = text.replace(&format!("redis://127.0.0.1:{port}"), "redis://127.0.0.1:1");
    assert_ne!(moved, text);
    std::fs::write(&path, moved).unwrap();
    assert_eq!(reload()["needs_restart"], serde_json::json!(["tier.urls"]));
    assert_eq!(edge.purge(&["/a"])["status"], "Completed", "the log is where it was");
}
