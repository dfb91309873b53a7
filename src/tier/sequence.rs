//! The sequencer of a fleet on the Redis or Valkey that its tier is on: a few scripts, each of which
//! the engine runs as one step, over six keys under one hash tag.
//!
//! The rules are those of `fleet::sequencer`, with two differences. Digests of the chain are made
//! here, because scripts cannot: an append names the place that it thinks is last, and is told a
//! newer one. And an epoch is bound to one life of one primary, by its `run_id` and `master_replid`:
//! whoever finds another begins a new epoch, because a restart or a failover may have lost records.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::RwLock;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::link::Trouble;
use super::node::Size;
use super::redis::Redis;
use crate::distribution::fleet::Prefer;
use crate::distribution::tier::{Engine, ReadFrom, Tier};
use crate::fleet::protocol::{
    ChainId, Change, Epoch, FleetNumber, Kept, MemberId, Name, Payload, Place, Record, Refusal,
};
use crate::fleet::sequence::{Answered, CallError, Sequence};
use crate::fleet::sequencer::{
    Held, KEPT_MAX, KEPT_OCTETS_MAX, KeptPage, Listed, MEMBERS_MAX, PAGE_OCTETS, RECORDS_MAX,
    Renew, Renewal, Roster,
};
use crate::fleet::wire::{self, Call, Reply};
use crate::invalidation::chain::{Incarnation, RecordId};

/// How long one script may take, connecting included.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a reading is held by the engine at a time; one that its caller gave up holds up the next
/// for no longer.
const HELD: Duration = Duration::from_secs(1);
/// How often an append is tried again because another was first.
const ATTEMPTS: usize = 64;
/// How often a roster is looked at for a caller that waits, at first and later.
const LOOKS: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(25));
/// Records that are kept for members that were away, how often older ones are let go, and how many
/// at once.
const KEPT: u64 = 100_000;
const TRIMMED: Duration = Duration::from_secs(60);
const TRIMMED_AT_ONCE: u64 = 1000;
/// A member that was not heard of for so long is written out.
const ABSENT: u64 = 60 * 60 * 1000;

macro_rules! script {
    ($is_begin:literal, $file:literal) => {
        concat!(
            "local is_begin = ",
            $is_begin,
            "\n",
            include_str!("scripts/shared.lua"),
            include_str!($file)
        )
    };
}

const APPEND: &str = script!("false", "scripts/append.lua");
const RENEW: &str = script!("false", "scripts/renew.lua");
const READ: &str = script!("false", "scripts/read.lua");
const ROSTER: &str = script!("false", "scripts/roster.lua");
const TRIM: &str = script!("false", "scripts/trim.lua");
const KEPT_ALIKE: &str = script!("false", "scripts/kept.lua");
const BEGIN: &str = script!("true", "scripts/begin.lua");

type Told = Result<Reply, CallError>;
/// What a script answers: a word, and what goes with it.
type Words = Vec<String>;

/// A sequencer on an engine.
pub struct TierSequence {
    used: RwLock<Used>,
    /// Where clients of the engine live.
    runtime: Handle,
    /// `head`, `log`, `ids`, `edges`, `seen`, `kept`.
    keys: [String; 6],
    /// How long this member's leases are, in milliseconds.
    lease: String,
    /// They are as long as no other member's.
    is_other: AtomicBool,
    /// Where the log ended when this process last appended. One append at a time: two of one process
    /// would only be in each other's way.
    last: Mutex<Place>,
}

/// A client of the engine, and the settings that it was made by.
struct Used {
    tier: Tier,
    redis: Arc<Redis>,
}

impl Used {
    fn start(tier: &Tier) -> Result<Self, String> {
        let Engine::Redis(mode) = &tier.engine else {
            return Err("only Redis and Valkey give the numbers of a fleet's log".into());
        };
        let redis = Arc::new(Redis::start(tier, mode, ReadFrom::Primary)?);
        Ok(Self { tier: tier.clone(), redis })
    }
}

impl TierSequence {
    /// Begins to use the engine of a tier, within a runtime that lasts. Nothing is connected yet; the
    /// error says what is wrong with the settings.
    pub fn start(tier: &Tier, fleet: &Name, lease: Duration) -> Result<Arc<Self>, String> {
        let (used, runtime) = (RwLock::new(Used::start(tier)?), Handle::current());
        let key = |name: &str| format!("{{foreshore:{}}}:{name}", fleet.as_str());
        let keys = ["head", "log", "ids", "edges", "seen", "kept"].map(key);
        let lease = lease.as_millis().to_string();
        let (is_other, last) = (AtomicBool::new(false), Mutex::new(Place::START));
        let this = Arc::new(Self { used, runtime, keys, lease, is_other, last });
        tokio::spawn(keep_short(Arc::downgrade(&this)));
        Ok(this)
    }

    // The client that is used now. A call ends with the one it began with.
    fn redis(&self) -> Arc<Redis> {
        Arc::clone(&self.used.read().redis)
    }

    async fn answer(&self, call: Call) -> Told {
        if !wire::is_bounded(&call) {
            return Err(CallError::Refused(Refusal::TooLarge));
        }
        match call {
            Call::Kept { after } => self.kept(&after).await,
            Call::Append { epoch, id, payload } => self.append(epoch, id, payload).await,
            Call::Renew(renew) => {
                let told = self.renew(&renew).await;
                let is_other = told == Err(CallError::Refused(Refusal::OtherLease));
                self.is_other.store(is_other, Ordering::Relaxed);
                told
            }
            Call::Read { from, most, wait } => self.read(from, most, wait).await,
            // Whoever waits for others would wait for a lease of its own.
            Call::Roster { .. } if self.is_other.load(Ordering::Relaxed) => {
                Err(CallError::Refused(Refusal::OtherLease))
            }
            Call::Roster { id, wait } => self.roster(id, wait).await,
            Call::Trim { epoch, upto } => self.trim(epoch, upto).await,
            Call::Fence { old } => {
                let words = self.eval(BEGIN, &beginning(&old.0.to_string())).await?;
                match words.as_slice() {
                    [word, epoch] if word == "begun" => Ok(Reply::Fenced(epoch_of(epoch)?)),
                    other => Err(odd(other)),
                }
            }
        }
    }

    async fn append(&self, epoch: Epoch, id: RecordId, payload: Payload) -> Told {
        let text =
            serde_json::to_string(&payload).map_err(|_| CallError::Refused(Refusal::Malformed))?;
        // It has to fit a message as a part of an answer, too.
        if text.len() > wire::MESSAGE_MAX {
            return Err(CallError::Refused(Refusal::TooLarge));
        }
        let mut last = self.last.lock().await;
        for _ in 0..ATTEMPTS {
            let next = last.after(id);
            let mut arguments = vec![epoch.0.to_string(), id.to_string()];
            arguments.extend(written(*last));
            arguments.push(next.chain.record_id().to_string());
            arguments.extend([text.clone(), RECORDS_MAX.to_string(), MEMBERS_MAX.to_string()]);
            arguments.extend(of_member(&payload));
            arguments.extend(payload.kept().into_iter().flat_map(of_kept));
            let words = self.ask(APPEND, &arguments).await?;
            match words.as_slice() {
                [word, number, chain] if word == "appended" => {
                    let place = place_of(number, chain)?;
                    if place == next {
                        *last = place;
                    }
                    return Ok(Reply::Appended(place));
                }
                [word, number, chain] if word == "head" => *last = place_of(number, chain)?,
                other => return Err(odd(other)),
            }
        }
        Err(failed("others append all the time"))
    }

    async fn renew(&self, renew: &Renew) -> Told {
        let member = &renew.member;
        let mut arguments = vec![
            renew.epoch.0.to_string(),
            member.name.as_str().to_string(),
            member.incarnation.to_string(),
        ];
        arguments.extend(written(renew.applied));
        arguments.push(self.lease.clone());
        let words = self.ask(RENEW, &arguments).await?;
        let [word, epoch, number, chain, listed, rest @ ..] = words.as_slice() else {
            return Err(odd(&words));
        };
        if word != "renewed" {
            return Err(odd(&words));
        }
        let landmarks = rest.chunks_exact(2).map(|pair| place_of(&pair[0], &pair[1]));
        Ok(Reply::Renewed(Renewal {
            epoch: epoch_of(epoch)?,
            head: place_of(number, chain)?,
            is_listed: listed == "1",
            landmarks: landmarks.collect::<Result<_, _>>()?,
        }))
    }

    async fn read(&self, from: Place, most: usize, wait: u64) -> Told {
        let until = Instant::now() + Duration::from_millis(wait);
        loop {
            let records = self.read_now(from, most).await?;
            let left = until.saturating_duration_since(Instant::now()).min(HELD);
            if !records.is_empty() || left.is_zero() {
                return Ok(Reply::Records(records));
            }
            self.wait_for_more(from, left).await?;
        }
    }

    async fn read_now(&self, from: Place, most: usize) -> Result<Vec<Record>, CallError> {
        let [number, chain] = written(from);
        let arguments = [number, chain, most.to_string(), wire::READ_OCTETS.to_string()];
        let words = self.ask(READ, &arguments).await?;
        let [word, rest @ ..] = words.as_slice() else { return Err(odd(&words)) };
        if word != "records" {
            return Err(odd(&words));
        }
        let mut place = from;
        let mut records = Vec::new();
        for fields in rest.chunks_exact(4) {
            let record = Record {
                epoch: epoch_of(&fields[1])?,
                id: id_of(&fields[0])?,
                prev: place,
                payload: serde_json::from_str(&fields[2]).map_err(|_| {
                    failed("a record cannot be read; is a member of a later version?")
                })?,
            };
            place = record.place();
            if place.chain.record_id().to_string() != fields[3] {
                return Err(failed("the digests of its log do not hold"));
            }
            records.push(record);
        }
        Ok(records)
    }

    // On the other connection of the node: the engine answers in order, and this one late.
    async fn wait_for_more(&self, from: Place, at_most: Duration) -> Result<(), CallError> {
        let millis = u64::try_from(at_most.as_millis()).unwrap_or(1).max(1);
        let mut command = redis::cmd("XREAD");
        command.arg("BLOCK").arg(millis).arg("COUNT").arg(1).arg("STREAMS");
        command.arg(self.keys[1].as_str()).arg(format!("{}-0", from.number.0));
        let deadline = Instant::now() + at_most + PATIENCE;
        let redis = self.redis();
        let waited = redis.command::<redis::Value>(&self.keys[1], Size::Large, &command, deadline);
        waited.await.map(drop).map_err(|trouble| told(&trouble))
    }

    async fn roster(&self, id: RecordId, wait: u64) -> Told {
        let until = Instant::now() + Duration::from_millis(wait);
        let mut pause = LOOKS.0;
        loop {
            let (roster, _) = self.roster_now(id).await?;
            let is_news = roster.number.is_none_or(|number| {
                let mut members = roster.members.values();
                !roster.members.is_empty() && members.all(|listed| listed.applied >= number)
            });
            let left = until.saturating_duration_since(Instant::now());
            if is_news || left.is_zero() {
                return Ok(Reply::Roster(roster));
            }
            sleep(pause.min(left)).await;
            pause = (pause * 2).min(LOOKS.1);
        }
    }

    // The roster, and the number of the last record.
    async fn roster_now(&self, id: RecordId) -> Result<(Roster, FleetNumber), CallError> {
        let words = self.ask(ROSTER, &[id.to_string()]).await?;
        let [word, epoch, number, last_join, head, rest @ ..] = words.as_slice() else {
            return Err(odd(&words));
        };
        if word != "roster" {
            return Err(odd(&words));
        }
        let number = if number.is_empty() { None } else { Some(number_of(number)?) };
        let mut roster = Roster {
            epoch: epoch_of(epoch)?,
            number,
            last_join: number_of(last_join)?,
            members: BTreeMap::new(),
            silent_for: BTreeMap::new(),
        };
        for fields in rest.chunks_exact(3) {
            let unread = || failed("its roster cannot be read");
            let name = Name::parse(&fields[0]).ok_or_else(unread)?;
            let listed = listed_of(&fields[1]).ok_or_else(unread)?;
            if let Ok(silent) = fields[2].parse() {
                roster.silent_for.insert(name.clone(), silent);
            }
            roster.members.insert(name, listed);
        }
        Ok((roster, number_of(head)?))
    }

    async fn kept(&self, after: &str) -> Told {
        let words = self.ask(KEPT_ALIKE, &[after.to_string(), PAGE_OCTETS.to_string()]).await?;
        let [word, epoch, last, is_end, rest @ ..] = words.as_slice() else {
            return Err(odd(&words));
        };
        if word != "kept" {
            return Err(odd(&words));
        }
        let mut page = KeptPage {
            epoch: epoch_of(epoch)?,
            last: number_of(last)?,
            held: Vec::new(),
            is_end: is_end == "1",
        };
        for fields in rest.chunks_exact(4) {
            let (number, id) = (number_of(&fields[1])?, id_of(&fields[2])?);
            let held = Held { id, number, content: fields[3].clone() };
            page.held.push((fields[0].clone(), held));
        }
        Ok(Reply::Kept(page))
    }

    async fn trim(&self, epoch: Epoch, upto: u64) -> Told {
        let arguments = [epoch.0.to_string(), upto.to_string(), TRIMMED_AT_ONCE.to_string()];
        let words = self.ask(TRIM, &arguments).await?;
        match words.as_slice() {
            [word, number, chain] if word == "trimmed" => {
                Ok(Reply::Trimmed(place_of(number, chain)?))
            }
            other => Err(odd(other)),
        }
    }

    // Runs a script; where it finds another life of the engine, or a log that is not whole, a new
    // epoch begins first.
    async fn ask(&self, script: &str, arguments: &[String]) -> Result<Words, CallError> {
        let words = self.eval(script, arguments).await?;
        let old = match words.as_slice() {
            [word, old] if word == "begin" => old.clone(),
            _ => return Ok(words),
        };
        tracing::warn!("the engine of the fleet's log is another, or lost some of it: a new epoch");
        match self.eval(BEGIN, &beginning(&old)).await {
            // Another member has begun it.
            Ok(_) | Err(CallError::Refused(Refusal::OtherEpoch)) => {}
            Err(error) => return Err(error),
        }
        let words = self.eval(script, arguments).await?;
        if words.first().is_some_and(|word| word == "begin") {
            return Err(failed("its log ends again and again; does the engine evict keys?"));
        }
        Ok(words)
    }

    async fn eval(&self, script: &str, arguments: &[String]) -> Result<Words, CallError> {
        let mut command = redis::cmd("EVAL");
        command.arg(script).arg(self.keys.len());
        for argument in self.keys.iter().chain(arguments) {
            command.arg(argument.as_str());
        }
        let deadline = Instant::now() + PATIENCE;
        let redis = self.redis();
        let asked = redis.command::<Words>(&self.keys[0], Size::Small, &command, deadline);
        let words = asked.await.map_err(|trouble| told(&trouble))?;
        match words.as_slice() {
            [word, name] if word == "refused" => {
                let known = Refusal::ALL.into_iter().find(|refusal| refusal.name() == name);
                Err(known.map_or_else(|| odd(&words), CallError::Refused))
            }
            _ => Ok(words),
        }
    }

    // Lets go of what no member has to read any more, and of members that were not heard of.
    async fn tidy(&self) -> Result<(), CallError> {
        let (roster, head) = self.roster_now(RecordId::NONE).await?;
        let absent = roster.silent_for.iter().filter(|(_, silent)| **silent > ABSENT);
        for (name, _) in absent {
            let Some(listed) = roster.members.get(name) else { continue };
            let member = MemberId { name: name.clone(), incarnation: listed.incarnation };
            let (change, prefer) = (Change::Leave, listed.prefer);
            let payload = Payload::Member { change, member, prefer, program: None };
            self.append(roster.epoch, RecordId::random(), payload).await?;
        }
        let upto = head.0.saturating_sub(KEPT);
        if upto > 0 {
            self.trim(roster.epoch, upto).await?;
        }
        Ok(())
    }
}

impl Sequence for TierSequence {
    fn call(&self, call: Call) -> Answered<'_> {
        Box::pin(self.answer(call))
    }

    fn follow_tier(&self, tier: &Tier) {
        let is_left = {
            let used = self.used.read();
            // Elsewhere is another log: members would go over to it one by one, and what is
            // invalidated on one would not be heard of on the other.
            used.tier.is_same(tier) || !used.tier.has_same_nodes(tier)
        };
        if is_left {
            return;
        }
        let _within = self.runtime.enter();
        match Used::start(tier) {
            Ok(used) => *self.used.write() = used,
            Err(why) => tracing::warn!(%why, "the fleet's log is reached as before"),
        }
    }
}

// Every member does this: what one has done the next finds done.
async fn keep_short(of: Weak<TierSequence>) {
    loop {
        sleep(TRIMMED).await;
        let Some(this) = of.upgrade() else { return };
        if let Err(error) = this.tidy().await {
            tracing::debug!(?error, "the fleet's log was not trimmed");
        }
    }
}

// What NEW_EPOCH is told: the epoch that it ends, a new one, and the digest of no history.
fn beginning(old: &str) -> [String; 3] {
    let start = ChainId::START.record_id();
    [old.to_string(), RecordId::random().to_string(), start.to_string()]
}

fn written(place: Place) -> [String; 2] {
    [place.number.0.to_string(), place.chain.record_id().to_string()]
}

// How a record changes the roster, if it does.
fn of_member(payload: &Payload) -> Vec<String> {
    let Payload::Member { change, member, prefer, program } = payload else { return Vec::new() };
    let change = match change {
        Change::Join => "join",
        Change::Leave => "leave",
    };
    let name = member.name.as_str();
    let (incarnation, prefer) = (member.incarnation.to_string(), word_of(*prefer));
    let program = program.as_ref().map_or("-", Name::as_str);
    let kept = format!("{incarnation} {prefer} {program}");
    vec![change.to_string(), name.to_string(), incarnation, kept]
}

// What a record says of what all members keep alike, and how much of that there may be.
fn of_kept(kept: &Kept) -> Vec<String> {
    let after = kept.after.0.to_string();
    let mut all =
        vec!["kept".to_string(), after, KEPT_MAX.to_string(), KEPT_OCTETS_MAX.to_string()];
    for entry in &kept.entries {
        let is_there = if entry.content.is_some() { "1" } else { "0" };
        let content = entry.content.clone().unwrap_or_default();
        all.extend([entry.name.clone(), is_there.to_string(), content]);
    }
    all
}

const fn word_of(prefer: Prefer) -> &'static str {
    match prefer {
        Prefer::Freshness => "freshness",
        Prefer::Availability => "availability",
    }
}

// A member as it is written down: incarnation, preference, program or a dash, and the last number
// that it has reported.
fn listed_of(text: &str) -> Option<Listed> {
    let mut words = text.split(' ');
    let incarnation = Incarnation::parse(words.next()?)?;
    let prefer = words.next()?;
    let prefer = [Prefer::Freshness, Prefer::Availability]
        .into_iter()
        .find(|one| word_of(*one) == prefer)?;
    let program = match words.next()? {
        "-" => None,
        program => Some(Name::parse(program)?),
    };
    let applied = FleetNumber(words.next()?.parse().ok()?);
    Some(Listed { incarnation, prefer, program, applied })
}

fn id_of(text: &str) -> Result<RecordId, CallError> {
    RecordId::parse(text).ok_or_else(|| failed("it names a record by what is no id"))
}

fn epoch_of(text: &str) -> Result<Epoch, CallError> {
    id_of(text).map(Epoch)
}

fn number_of(text: &str) -> Result<FleetNumber, CallError> {
    text.parse().map(FleetNumber).map_err(|_| failed("it gives what is no number"))
}

fn place_of(number: &str, chain: &str) -> Result<Place, CallError> {
    Ok(Place { number: number_of(number)?, chain: ChainId::from_record_id(id_of(chain)?) })
}

fn odd(words: &[String]) -> CallError {
    let first = words.first().map_or("", String::as_str);
    failed(&format!("its script answered {first:?} and {} more", words.len().saturating_sub(1)))
}

fn told(trouble: &Trouble) -> CallError {
    let node = trouble.node.as_deref().unwrap_or("the tier");
    failed(&format!("{node}: {}", trouble.why))
}

fn failed(why: &str) -> CallError {
    CallError::Failed(format!("the fleet's log on the tier: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_engine_answers_is_read_strictly() {
        let incarnation = Incarnation::random();
        let (prefer, program) = (Prefer::Availability, Name::parse("0.2.0"));
        let listed = Listed { incarnation, prefer, program, applied: FleetNumber(7) };
        assert_eq!(listed_of(&format!("{incarnation} availability 0.2.0 7")), Some(listed.clone()));
        let unsaid = Listed { program: None, ..listed };
        assert_eq!(listed_of(&format!("{incarnation} availability - 7")), Some(unsaid));
        for bad in ["", "x freshness - 7", "freshness 7"] {
            assert_eq!(listed_of(bad), None, "{bad}");
        }
        let place = Place::START.after(RecordId::random());
        let [number, chain] = written(place);
        assert_eq!(place_of(&number, &chain), Ok(place));
        assert!(place_of("-1", &chain).is_err() && place_of(&number, "c1").is_err());
        assert!(matches!(odd(&[]), CallError::Failed(_)));
    }

    #[test]
    fn every_refusal_of_a_script_is_one_that_members_know() {
        for script in [APPEND, RENEW, READ, ROSTER, TRIM, KEPT_ALIKE, BEGIN] {
            for rest in script.split("{'refused', '").skip(1) {
                let name = rest.split('\'').next().unwrap();
                assert!(Refusal::ALL.iter().any(|refusal| refusal.name() == name), "{name}");
            }
        }
    }
}
