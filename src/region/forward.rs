//! Invalidations go from an edge to its parents, in the order of the edge's log, until each has
//! them all.
//!
//! The rules are in `confirm`: what is said to a parent, what it does, and what is made of its
//! answer. What a parent does is in `receive`.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::confirm::{Answer, Heard, Standing, Step, hear};
use super::standings::{Standings, Status};
use crate::cache::invalidations::{Matcher, Severity};
use crate::clock::Clock;
use crate::distribution::region::Region as Configured;
use crate::distribution::site::Site;
use crate::invalidation::chain::{Incarnation, Mark};
use crate::invalidation::log::{InvalidationLog, InvalidationRecord, new_id};
use crate::invalidation::service::{Durability, Invalidator};
use crate::message::key::InvalidationNumber;
use crate::origin::admin_line::{Callee, Line, Post, post};
use crate::origin::connect::Resolver;

/// Records of one batch, and about how many octets.
pub(super) const BATCH: usize = 500;
const BATCH_OCTETS: usize = 256 << 10;
/// How long an operator's call waits for the parents, all of them.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// How long the edge waits for its parents before it serves, and again when it leaves.
const FIRST_WORDS: Duration = Duration::from_secs(1);
/// Octets of a parent's answer.
const ANSWER_MAX: usize = 1 << 20;
/// A parent is told for so long at a time; what is left waits for the next turn.
const TURN: Duration = Duration::from_secs(30);
/// Distributions that one edge may name at once, and octets of a name.
pub(super) const DISTRIBUTIONS: usize = 1000;
pub(super) const NAME: usize = 256;

/// What an edge sends.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forwarded {
    /// The node whose log it is.
    pub log: String,
    /// Which life of its holder speaks.
    pub incarnation: Incarnation,
    pub step: Step,
    /// Where the parent is taken to stand; in other steps than `Continue`, the log's last record.
    pub at: Mark,
    /// The incarnation that `Succeed` follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heir_of: Option<Incarnation>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<ForwardedRecord>,
    /// Where the log is in effect up to once these have been taken; absent if more is to come
    /// before that holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upto: Option<Mark>,
    /// The edge's distributions, in `Begin`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub distributions: Vec<String>,
}

/// What one invalidation of the edge's log says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForwardedRecord {
    /// Empty if it follows from a viewer's write.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    pub distribution: String,
    pub matchers: Vec<Matcher>,
    pub severity: Severity,
}

/// The edge that forwards its log.
pub struct ForwardContext {
    /// This node's id.
    pub node: String,
    pub clock: Clock,
    pub log: Arc<InvalidationLog>,
    pub invalidation: Arc<Invalidator>,
    pub standings: Arc<Standings>,
    /// Gives the site in force.
    pub site: Box<dyn Fn() -> Arc<Site> + Send + Sync>,
    /// Takes another incarnation, which no parent knows.
    pub reincarnate: Box<dyn Fn() + Send + Sync>,
}

/// The sending side.
pub struct Forwarder {
    context: ForwardContext,
    parents: Mutex<Vec<Arc<Receiver>>>,
    resolver: Resolver,
    /// Marks of records that this log lost, for which everything was invalidated already.
    atoned: Mutex<Vec<Mark>>,
    /// One parent that is far behind has the log read for it at a time.
    folding: tokio::sync::Mutex<()>,
    /// Another process may speak for this log: nothing is said any more.
    is_silent: AtomicBool,
}

struct Receiver {
    name: String,
    /// There is something to tell it.
    kick: tokio::sync::Notify,
    /// One exchange at a time, over one connection that is kept.
    line: tokio::sync::Mutex<Option<Line>>,
    /// The distributions that it was told of as ours when our log began there, or since.
    named: Mutex<HashSet<String>>,
    is_failing: AtomicBool,
}

struct Batch {
    records: Vec<ForwardedRecord>,
    upto: Option<Mark>,
}

impl Forwarder {
    /// One that knows no parent yet.
    pub fn new(context: ForwardContext) -> Arc<Self> {
        Arc::new(Self {
            context,
            parents: Mutex::default(),
            resolver: Resolver::default(),
            atoned: Mutex::default(),
            folding: tokio::sync::Mutex::default(),
            is_silent: AtomicBool::new(false),
        })
    }

    // One receiver per parent of the site in force, each with a task of its own; what is known of
    // one that stays is kept.
    fn receivers(&self) -> Vec<Arc<Receiver>> {
        let site = (self.context.site)();
        let parents = match &site.region {
            // A fleet's members follow one log, and need not be told of each other's.
            Some(Configured::Parents(configured)) if site.fleet.is_none() => &configured.all[..],
            _ => &[],
        };
        let names: Vec<String> = parents.iter().map(|parent| parent.url.to_string()).collect();
        let mut known = self.parents.lock();
        if !known.iter().map(|receiver| &receiver.name).eq(&names) {
            let of = |name: String| {
                known
                    .iter()
                    .find(|receiver| receiver.name == name)
                    .cloned()
                    .unwrap_or_else(|| Receiver::new(name))
            };
            *known = names.iter().cloned().map(of).collect();
        }
        self.context.standings.keep(&names);
        known.clone()
    }

    fn is_mine(&self, receiver: &Arc<Receiver>) -> bool {
        self.parents.lock().iter().any(|known| Arc::ptr_eq(known, receiver))
    }

    /// The first words to every parent, before the edge serves: all at once, and not for long.
    ///
    /// `heir_of` is the incarnation that ended in order on this data folder. Every parent must have
    /// heard that it did, or none is believed for it: one that has not may know of records that
    /// neither the edge nor another parent has any more.
    pub async fn introduce(self: &Arc<Self>, heir_of: Option<Incarnation>) {
        let receivers = self.receivers();
        let tail = self.context.log.tail();
        if let Some(heir_of) = heir_of.filter(|_| !receivers.is_empty()) {
            let said =
                Forwarded { heir_of: Some(heir_of), ..self.context.say(Step::Succeed, tail) };
            let answers = self.ask_all(&receivers, &said).await;
            if answers == receivers.len() {
                for receiver in &receivers {
                    *receiver.named.lock() = self.context.ids().into_iter().collect();
                    self.context.standings.set(&receiver.name, Standing::At(tail));
                }
                return tracing::info!(
                    number = tail.number,
                    "every parent confirmed the invalidation log"
                );
            }
        }
        let mut begun = JoinSet::new();
        for receiver in receivers {
            let this = Arc::clone(self);
            begun.spawn(async move {
                let _ = tokio::time::timeout(FIRST_WORDS, this.bring_up(&receiver)).await;
            });
        }
        while begun.join_next().await.is_some() {}
    }

    /// The last words: this log ends here, and no more is given out. Nothing may be accepted any
    /// more, and nothing is said before `speak_again`.
    pub async fn seal(self: &Arc<Self>) {
        let receivers = self.receivers();
        let all = async {
            let mut told = JoinSet::new();
            for receiver in &receivers {
                let (this, receiver) = (Arc::clone(self), Arc::clone(receiver));
                told.spawn(async move { this.bring_up(&receiver).await });
            }
            while told.join_next().await.is_some() {}
            self.is_silent.store(true, Ordering::Release);
            let said = self.context.say(Step::Seal, self.context.log.tail());
            self.ask_all(&receivers, &said).await
        };
        let _ = tokio::time::timeout(FIRST_WORDS, all).await;
        self.is_silent.store(true, Ordering::Release);
    }

    /// This process goes on with the log, which had ended.
    pub fn speak_again(&self) {
        self.is_silent.store(false, Ordering::Release);
    }

    // Says the same to all of them at once; how many answered that they stand where it says.
    async fn ask_all(self: &Arc<Self>, receivers: &[Arc<Receiver>], said: &Forwarded) -> usize {
        let Ok(body) = serde_json::to_vec(said) else { return 0 };
        let (body, at, step) = (Bytes::from(body), said.at, said.step);
        let mut asked = JoinSet::new();
        for receiver in receivers {
            let (this, receiver, body) = (Arc::clone(self), Arc::clone(receiver), body.clone());
            asked.spawn(async move {
                let answer =
                    tokio::time::timeout(FIRST_WORDS, this.exchange(&receiver, step, body)).await;
                matches!(answer, Ok(Ok(Answer { mark: Some(mark), .. })) if mark == at)
            });
        }
        let mut stand = 0;
        while let Some(stands) = asked.join_next().await {
            stand += usize::from(stands.unwrap_or(false));
        }
        stand
    }

    /// Has every parent told, and says how far an invalidation has come once all were, or after a
    /// while.
    pub async fn forward(&self, number: u64) -> Status {
        // Whoever speaks for the log tells them.
        if self.is_silent.load(Ordering::Acquire) {
            return self.context.standings.status(number);
        }
        self.receivers().iter().for_each(|receiver| receiver.kick.notify_one());
        self.context.standings.settle(number, PATIENCE).await
    }

    /// Brings parents that are behind up to date, for as long as the process lives. Each is asked
    /// once a second where it stands.
    pub async fn keep_up(self: Arc<Self>) {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let mut tended: Vec<Arc<Receiver>> = Vec::new();
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = self.context.invalidation.log_grew.notified() => {}
            }
            let receivers = self.receivers();
            tended.retain(|old| {
                let stays = receivers.iter().any(|receiver| Arc::ptr_eq(old, receiver));
                if !stays {
                    // So that its task sees that it is over.
                    old.kick.notify_one();
                }
                stays
            });
            for receiver in receivers {
                if !tended.iter().any(|old| Arc::ptr_eq(old, &receiver)) {
                    tended.push(Arc::clone(&receiver));
                    tokio::spawn(tend(Arc::clone(&self), Arc::clone(&receiver)));
                }
                receiver.kick.notify_one();
            }
        }
    }

    // Tells one parent everything it has yet to hear. What fails is tried again at the next turn.
    async fn bring_up(&self, receiver: &Receiver) {
        if self.is_silent.load(Ordering::Acquire) {
            return;
        }
        let goal = self.context.log.tail().number;
        let done = self.bring_up_to(receiver, goal).await;
        match done {
            Ok(()) if receiver.is_failing.swap(false, Ordering::Relaxed) => {
                tracing::info!(parent = receiver.name, "a parent takes our invalidations again");
            }
            Ok(()) => {}
            // Once, until it is over.
            Err(why) if !receiver.is_failing.swap(true, Ordering::Relaxed) => {
                tracing::warn!(
                    parent = receiver.name,
                    why,
                    "a parent does not take our invalidations; it is tried each second"
                );
            }
            Err(_) => {}
        }
        self.context.standings.set_tried(&receiver.name, goal);
    }

    async fn bring_up_to(&self, receiver: &Receiver, goal: u64) -> Result<(), String> {
        // Each round tells some more; one that changed nothing is the last.
        loop {
            let before = self.context.standings.of(&receiver.name);
            let stands = match before {
                Standing::Unconfirmed => {
                    let own = self.context.ids();
                    // Too many to be named are all that the parent has.
                    let distributions =
                        if own.len() > DISTRIBUTIONS { Vec::new() } else { own.clone() };
                    let said = self.context.say(Step::Begin, self.context.log.tail());
                    let stands = self.tell(receiver, Forwarded { distributions, ..said }).await?;
                    *receiver.named.lock() = own.into_iter().collect();
                    stands
                }
                Standing::At(mark) => {
                    self.name_new(receiver, mark).await?;
                    let mut stands = before;
                    for batch in self.batches(mark).await? {
                        let said = Forwarded {
                            records: batch.records,
                            upto: batch.upto,
                            ..self.context.say(Step::Continue, at(stands))
                        };
                        let expected = said.upto.map_or(stands, Standing::At);
                        stands = self.tell(receiver, said).await?;
                        // It stands elsewhere than we thought: the next round begins from there.
                        if stands != expected {
                            break;
                        }
                    }
                    stands
                }
            };
            match stands {
                Standing::At(mark) if mark.number >= goal => return Ok(()),
                _ if stands == before => return Ok(()),
                _ => {}
            }
        }
    }

    // Distributions that came with a reload begin at the parent too: what was once accepted for
    // them may be in no log any more.
    async fn name_new(&self, receiver: &Receiver, mark: Mark) -> Result<(), String> {
        let fresh: Vec<String> = {
            let named = receiver.named.lock();
            self.context.ids().into_iter().filter(|id| !named.contains(id)).take(BATCH).collect()
        };
        if fresh.is_empty() {
            return Ok(());
        }
        let records = everything_of(fresh.clone());
        let said = Forwarded { records, ..self.context.say(Step::Continue, mark) };
        let stands = self.tell(receiver, said).await?;
        if stands == Standing::At(mark) {
            receiver.named.lock().extend(fresh);
        }
        Ok(())
    }

    // Says one thing to a parent and does what its answer asks for; where it stands now.
    async fn tell(&self, receiver: &Receiver, said: Forwarded) -> Result<Standing, String> {
        let (standings, name) = (&self.context.standings, &receiver.name);
        let body = serde_json::to_vec(&said).map_err(|error| error.to_string())?;
        let answer = self.exchange(receiver, said.step, Bytes::from(body)).await?;
        if said.incarnation != standings.incarnation() {
            return Err("another incarnation speaks for this log by now".into());
        }
        if standings.set_contested(name, answer.is_contested) {
            tracing::error!(
                parent = name,
                node = self.context.node,
                "another edge runs on a copy of this data folder: the same edge_id and node id. No parent's answer is taken while both run. \
                 Give each its own data folder"
            );
        }
        let last = match standings.of(name) {
            Standing::At(mark) => Some(mark),
            Standing::Unconfirmed => None,
        };
        let standing = match hear(&answer, last, |mark| self.context.log.has(mark)) {
            Heard::Stands(mark) => Standing::At(mark),
            Heard::Unknown => Standing::Unconfirmed,
            Heard::Lost(mark, lost) => {
                self.atone(name, lost).await;
                Standing::At(mark)
            }
            Heard::Foreign(mark) => {
                tracing::error!(parent = name, %mark, "another process gave records in the name of this one; this one takes another incarnation");
                standings.contests.fetch_add(1, Ordering::Relaxed);
                (self.context.reincarnate)();
                self.atone(name, vec![mark]).await;
                Standing::Unconfirmed
            }
        };
        standings.set(name, standing);
        Ok(standing)
    }

    // A parent has records of our log that we do not have: the disk went back to an older state, or
    // another edge runs on a copy of it. What they said is unknown, so everything is declared old,
    // once, under numbers that no node has seen.
    async fn atone(&self, parent: &str, lost: Vec<Mark>) {
        {
            let mut atoned = self.atoned.lock();
            if lost.iter().all(|mark| atoned.contains(mark)) {
                return;
            }
            atoned.extend(&lost);
            let surplus = atoned.len().saturating_sub(256);
            atoned.drain(..surplus);
        }
        let context = &self.context;
        let highest = lost.iter().map(|mark| mark.number).max().unwrap_or(0);
        tracing::error!(
            ours = context.log.last().0,
            parent,
            theirs = highest,
            "a parent has records of the invalidation log that are not in it: the log lost them, or another edge runs on a copy of this data \
             folder; everything is invalidated"
        );
        context.standings.losses.fetch_add(1, Ordering::Relaxed);
        context.log.skip_to(InvalidationNumber(highest));
        for distribution in context.ids() {
            let everything = vec![Matcher::Prefix("/".into())];
            let at = context.clock.now().0;
            let record =
                InvalidationRecord::new(new_id(), distribution, everything, Severity::Hard, at);
            if let Err(error) = context.invalidation.submit(record, Durability::Synced).await {
                tracing::error!(%error, "not even that could be written down");
            }
        }
    }

    // What a parent has yet to hear, in pieces that it takes. One empty batch asks where it stands.
    async fn batches(&self, mark: Mark) -> Result<Vec<Batch>, String> {
        if let Some(records) = self.context.log.after(InvalidationNumber(mark.number), BATCH) {
            return Ok(batched(records, None));
        }
        // Too far behind for that: what is in force since, of each matcher the latest. It counts
        // once all of it was taken.
        let _one = self.folding.lock().await;
        let log = Arc::clone(&self.context.log);
        let folded = tokio::task::spawn_blocking(move || log.in_force_after(mark.number))
            .await
            .map_err(|error| error.to_string())?;
        let (records, last) = folded.map_err(|error| error.to_string())?;
        tracing::info!(
            after = mark.number,
            upto = last.number,
            records = records.len(),
            "a parent is far behind; it is told what is in force since"
        );
        Ok(batched(records, Some(last)))
    }

    // One request over the kept connection, which is made anew if it went away meanwhile.
    async fn exchange(
        &self,
        receiver: &Receiver,
        step: Step,
        body: Bytes,
    ) -> Result<Answer, String> {
        let site = (self.context.site)();
        let Some(Configured::Parents(configured)) = &site.region else {
            return Err("no longer configured".into());
        };
        let admin = configured
            .all
            .iter()
            .find(|parent| parent.url.to_string() == receiver.name)
            .map(|parent| &parent.admin)
            .ok_or("no longer configured")?;
        let callee = Callee {
            admin,
            edge_id: &configured.edge_id,
            token: &configured.token,
            tls: &configured.tls,
        };
        let call = Post { path: "/v1/edge/invalidations", body, limit: ANSWER_MAX, lease: None };
        let mut line = receiver.line.lock().await;
        // Behind the last words, which went over the same line, nothing may come.
        if step != Step::Seal && self.is_silent.load(Ordering::Acquire) {
            return Err("another process speaks for this log by now".into());
        }
        // Taken out: an exchange that is dropped in the middle leaves no connection with half an
        // answer.
        let asked = post(line.take(), callee, &self.resolver, PATIENCE, call);
        let (used, answer) = tokio::time::timeout(PATIENCE, asked)
            .await
            .map_err(|_| "the parent did not answer in time".to_string())??;
        *line = Some(used);
        if !answer.status.is_success() {
            return Err(format!("the parent answered {}", answer.status));
        }
        serde_json::from_slice(&answer.body).map_err(|error| error.to_string())
    }
}

// One parent's own task, so that one that does not answer delays no other.
async fn tend(forwarder: Arc<Forwarder>, receiver: Arc<Receiver>) {
    while forwarder.is_mine(&receiver) {
        receiver.kick.notified().await;
        let _ = tokio::time::timeout(TURN, forwarder.bring_up(&receiver)).await;
    }
}

impl Receiver {
    fn new(name: String) -> Arc<Self> {
        let (kick, line, named, is_failing) = Default::default();
        Arc::new(Self { name, kick, line, named, is_failing })
    }
}

impl ForwardContext {
    // What this edge says, without its records.
    fn say(&self, step: Step, at: Mark) -> Forwarded {
        Forwarded {
            log: self.node.clone(),
            incarnation: self.standings.incarnation(),
            step,
            at,
            heir_of: None,
            records: Vec::new(),
            upto: None,
            distributions: Vec::new(),
        }
    }

    // The distributions of the site in force.
    fn ids(&self) -> Vec<String> {
        (self.site)().distributions.iter().map(|one| one.id.clone()).collect()
    }
}

fn at(standing: Standing) -> Mark {
    match standing {
        Standing::At(mark) => mark,
        Standing::Unconfirmed => Mark::START,
    }
}

/// A record for each of these distributions, by which everything of it is gone.
pub(super) fn everything_of(distributions: Vec<String>) -> Vec<ForwardedRecord> {
    let one = |distribution| {
        let matchers = vec![Matcher::Prefix("/".into())];
        ForwardedRecord { id: new_id(), distribution, matchers, severity: Severity::Hard }
    };
    distributions.into_iter().map(one).collect()
}

fn octets(matcher: &Matcher) -> usize {
    let (Matcher::Path(text) | Matcher::Prefix(text) | Matcher::Tag(text)) = matcher;
    text.len() + 24
}

// Cuts records into batches. Each says up to which record the log is in effect with it; those of a
// folded list say it at the very end alone, because an earlier record's number may stand for a
// later one.
fn batched(records: Vec<InvalidationRecord>, folded_upto: Option<Mark>) -> Vec<Batch> {
    let mut all = vec![Batch { records: Vec::new(), upto: None }];
    let mut size = 0;
    for record in records {
        let mark = record.mark();
        let mut rest = record.matchers.into_iter().peekable();
        loop {
            if size >= BATCH_OCTETS || all.last().is_some_and(|batch| batch.records.len() >= BATCH)
            {
                all.push(Batch { records: Vec::new(), upto: None });
                size = 0;
            }
            let mut matchers = Vec::new();
            while let Some(matcher) = rest.next_if(|_| size < BATCH_OCTETS) {
                size += octets(&matcher);
                matchers.push(matcher);
            }
            size += 100;
            let piece = ForwardedRecord {
                id: record.id.clone(),
                distribution: record.distribution.clone(),
                matchers,
                severity: record.severity,
            };
            let Some(batch) = all.last_mut() else { break };
            batch.records.push(piece);
            if rest.peek().is_none() {
                batch.upto = folded_upto.is_none().then_some(mark);
                break;
            }
            // The record goes on in the next batch; until that is taken, this one counts for
            // nothing.
            batch.upto = None;
        }
    }
    if let (Some(last), Some(upto)) = (all.last_mut(), folded_upto) {
        last.upto = Some(upto);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invalidation::chain::RecordId;

    fn record(number: u64, paths: usize) -> InvalidationRecord {
        let matchers = (0..paths)
            .map(|at| Matcher::Path(format!("/{number}/{at}/{}", "x".repeat(1000))))
            .collect();
        let record =
            InvalidationRecord::new(String::new(), "E".into(), matchers, Severity::Hard, 0);
        InvalidationRecord {
            number,
            identity: RecordId::of_octets(&number.to_le_bytes()),
            ..record
        }
    }

    // Everything is in it, in order, in pieces that are taken, and no batch claims more than it
    // brings.
    #[test]
    fn batches_bring_everything_and_claim_no_more() {
        for sizes in [&[][..], &[1], &[1, 0, 2], &[3000], &[10, 3000, 1, 700, 0], &[1; 1200]] {
            let records: Vec<InvalidationRecord> =
                sizes.iter().enumerate().map(|(at, size)| record(at as u64 + 1, *size)).collect();
            let said: Vec<Matcher> =
                records.iter().flat_map(|record| record.matchers.clone()).collect();
            let last = records.last().map(InvalidationRecord::mark);
            for folded in [None, last] {
                let all = batched(records.clone(), folded);
                let brought: Vec<Matcher> =
                    all.iter().flat_map(|b| &b.records).flat_map(|r| r.matchers.clone()).collect();
                assert_eq!(brought, said);
                assert_eq!(all.last().and_then(|batch| batch.upto), last);
                assert!(all.iter().all(|b| b.records.len() <= BATCH
                    && serde_json::to_vec(&b.records).unwrap().len() < 2 * BATCH_OCTETS));
                let mut so_far = 0;
                for batch in &all {
                    so_far +=
                        batch.records.iter().map(|record| record.matchers.len()).sum::<usize>();
                    if let Some(upto) = batch.upto {
                        assert!(so_far >= sizes[..upto.number as usize].iter().sum::<usize>());
                    }
                }
            }
        }
    }
}
