//! Invalidations come from trusted edges, in the order of each edge's log.
//!
//! A parent writes what it is told into its own log, marked with the edge's log, the incarnation
//! that spoke, and the record up to which that is in effect. Nothing is skipped: what does not
//! follow on where the parent stands is answered with where it stands. The rules are in `confirm`.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use parking_lot::RwLock;

use super::confirm::{Answer, Lives, Ruling};
use super::forward::{BATCH, DISTRIBUTIONS, Forwarded, ForwardedRecord, NAME, everything_of};
use crate::cache::invalidations::Severity;
use crate::clock::Clock;
use crate::invalidation::chain::{Incarnation, Mark};
use crate::invalidation::log::{InvalidationRecord, Passage, Passed};
use crate::invalidation::service::{Durability, Invalidator};
use crate::semantics::time::Timestamp;

/// The receiving side: how far the logs of trusted edges are in effect here.
#[derive(Default)]
pub struct Passages {
    lives: RwLock<Lives>,
    /// What edges say is judged, written down and noted one at a time.
    turn: tokio::sync::Mutex<()>,
}

impl Passages {
    /// Notes what the log has of an edge, at the start.
    pub fn note(&self, passed: &Passed, now: Timestamp) {
        // A number without the record's identity proves nothing: that edge begins anew.
        if let Passed::Marked(passage) = passed {
            self.lives.write().note(passage, now);
        }
    }

    /// How far a log is in effect here, `claim` being `edge-id/node-id/incarnation`. `None` if this
    /// node cannot say.
    pub fn of(&self, claim: &str, now: Timestamp) -> Option<Mark> {
        let (log, incarnation) = claim.rsplit_once('/')?;
        self.lives.read().applied(log, Incarnation::parse(incarnation)?, now)
    }
}

/// What a node has that takes invalidations from edges.
pub struct ReceiveContext<'c> {
    pub invalidation: &'c Arc<Invalidator>,
    pub clock: &'c Clock,
    /// Gives the ids of the distributions of the site in force.
    pub ids: &'c (dyn Fn() -> Vec<String> + Send + Sync),
}

/// Why nothing, or not all, of what an edge said was done.
#[derive(Debug)]
pub enum ReceiveError {
    /// It is not what an edge says, and why.
    Malformed(String),
    /// The log could not be written.
    NotWritten(io::Error),
}

impl Passages {
    /// Does what an edge says; how its log stands here now.
    pub async fn take(
        &self,
        context: &ReceiveContext<'_>,
        edge: &str,
        said: Forwarded,
    ) -> Result<Answer, ReceiveError> {
        check(&said).map_err(ReceiveError::Malformed)?;
        let log = format!("{edge}/{}", said.log);
        let _turn = self.turn.lock().await;
        let (incarnation, step, now) = (said.incarnation, said.step, context.clock.now());
        // What is told of others is where they stood before this step.
        let before = self.lives.read().answer(&log, incarnation, step, now);
        self.lives.write().heard(&log, incarnation, step, now);
        let ruling = self.lives.read().judge(&log, incarnation, (step, said.at), said.heir_of);
        let passage =
            |mark, is_sealed| Some(Passage { log: log.clone(), incarnation, mark, is_sealed });
        let (records, passage) = match ruling {
            Ruling::Tell => (Vec::new(), None),
            Ruling::Succeed => (Vec::new(), passage(said.at, false)),
            Ruling::Begin => {
                tracing::warn!(
                    log,
                    number = said.at.number,
                    "an edge's log begins here; everything of its distributions is invalidated"
                );
                let all = if said.distributions.is_empty() {
                    (context.ids)()
                } else {
                    said.distributions
                };
                (everything_of(all), passage(said.at, false))
            }
            Ruling::Take => {
                (grouped(said.records), said.upto.and_then(|upto| passage(upto, false)))
            }
            Ruling::Seal => (Vec::new(), passage(said.at, true)),
        };
        write_down(context, records, passage.clone()).await.map_err(ReceiveError::NotWritten)?;
        let mut lives = self.lives.write();
        if let Some(passage) = &passage {
            lives.note(passage, now);
        }
        let after = lives.answer(&log, incarnation, step, now);
        if after.is_contested && !before.is_contested {
            tracing::error!(
                log,
                "two edges run on copies of one data folder, and speak for the same log; neither is told how far it is in effect"
            );
        }
        Ok(Answer { others: before.others, ..after })
    }
}

// In effect and synced when this returns; the last record says how far the edge's log is in effect
// with it.
async fn write_down(
    context: &ReceiveContext<'_>,
    records: Vec<ForwardedRecord>,
    passage: Option<Passage>,
) -> io::Result<()> {
    let at = context.clock.now().0;
    let record = |one: ForwardedRecord| {
        InvalidationRecord::new(one.id, one.distribution, one.matchers, one.severity, at)
    };
    let mut all: Vec<InvalidationRecord> = records.into_iter().map(record).collect();
    if let Some(passage) = passage {
        if all.is_empty() {
            // Nothing is invalidated, but it must not be forgotten.
            all.push(InvalidationRecord::new(
                String::new(),
                String::new(),
                Vec::new(),
                Severity::Hard,
                at,
            ));
        }
        if let Some(last) = all.last_mut() {
            last.from = Some(Passed::Marked(passage));
        }
    }
    for record in all {
        context.invalidation.submit(record, Durability::Synced).await?;
    }
    Ok(())
}

// What follows from viewers' writes has no name: of one distribution and severity it becomes one
// record, which is synced once.
fn grouped(records: Vec<ForwardedRecord>) -> Vec<ForwardedRecord> {
    let mut all: Vec<ForwardedRecord> = Vec::new();
    let mut places: HashMap<(String, Severity), usize> = HashMap::new();
    for record in records {
        let place = (record.distribution.clone(), record.severity);
        match places.get(&place) {
            Some(at) if record.id.is_empty() => {
                let known = &mut all[*at].matchers;
                known.extend(record.matchers);
            }
            _ => {
                if record.id.is_empty() {
                    places.insert(place, all.len());
                }
                all.push(record);
            }
        }
    }
    for writes in all.iter_mut().filter(|one| one.id.is_empty()) {
        writes.matchers.sort_unstable();
        writes.matchers.dedup();
    }
    all
}

// What an edge may say, beside what its form allows.
fn check(said: &Forwarded) -> Result<(), String> {
    if said.log.is_empty() || said.log.len() > NAME || said.log.contains('/') {
        return Err(format!("log is a node id: 1 to {NAME} octets without a slash"));
    }
    if said.distributions.len() > DISTRIBUTIONS
        || said.distributions.iter().any(|id| id.len() > NAME)
    {
        return Err(format!(
            "at most {DISTRIBUTIONS} distributions, each with at most {NAME} octets in its id"
        ));
    }
    if said.records.len() > BATCH
        || said
            .records
            .iter()
            .any(|record| record.distribution.len() > NAME || record.id.len() > NAME)
    {
        return Err(format!(
            "at most {BATCH} records at once, with at most {NAME} octets in an id"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::invalidations::Matcher;

    #[test]
    fn writes_become_one_record_and_purges_keep_their_names() {
        let one = |id: &str, path: &str, severity| ForwardedRecord {
            id: id.into(),
            distribution: "E".into(),
            matchers: vec![Matcher::Path(path.into())],
            severity,
        };
        let all = grouped(vec![
            one("", "/a", Severity::Hard),
            one("I1", "/p", Severity::Hard),
            one("", "/b", Severity::Hard),
            one("", "/a", Severity::Hard),
            one("", "/c", Severity::Soft),
            one("I2", "/p", Severity::Hard),
        ]);
        let shown: Vec<(&str, usize)> =
            all.iter().map(|record| (record.id.as_str(), record.matchers.len())).collect();
        assert_eq!(shown, [("", 2), ("I1", 1), ("", 1), ("I2", 1)]);
    }
}
