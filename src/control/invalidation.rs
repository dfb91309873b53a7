//! Invalidations as an operator asks for them: checked, written to the log, in effect, and then
//! answered.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Control;
use crate::cache::invalidations::{Matcher, Severity, canonical};
use crate::fleet::status::MemberProof;
use crate::invalidation::log::{InvalidationRecord, new_id};
use crate::invalidation::service::Durability;
use crate::message::key::{distribution_of, readable, url_of};
use crate::message::stored::Stored;
use crate::region::confirm::Answer;
use crate::region::forward::Forwarded;
use crate::region::receive::{ReceiveContext, ReceiveError};
use crate::region::standings::{ParentState, Status};
use crate::semantics::time::{Timestamp, format_rfc3339};
use crate::store::disk::segment_list::Brief;

/// Items of one request.
pub const ITEMS_MAX: usize = 3000;
/// While the memory holds no more responses than this, an invalidation says how many it covers: a
/// millisecond's work.
const COUNTED_MAX: u64 = 5000;
/// The most seconds that a call may wait for a fleet.
pub const WAIT_MAX: u64 = 60;
/// Responses that a dry run lists.
const LISTED_MAX: usize = 1000;

/// The body of `POST /v1/invalidations`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// May be left out if there is only one distribution.
    pub distribution: Option<String>,
    #[serde(default)]
    pub paths: Vec<String>,
    #[serde(default)]
    pub tags: Vec<String>,
    #[serde(default)]
    pub soft: bool,
    #[serde(default)]
    pub dry_run: bool,
    /// Seconds that the answer waits for a fleet, at most `WAIT_MAX`; 0 answers at once, with
    /// `InProgress`. Left out, it is as `[fleet]` says.
    pub wait: Option<u64>,
}

/// What was done.
#[derive(Debug, Serialize)]
pub struct Done {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// `Completed`, `InProgress` while a parent is behind, or `DryRun`.
    pub status: &'static str,
    pub distribution: String,
    pub items: Vec<String>,
    pub soft: bool,
    /// Stored responses it covers: in memory, and in a dry run on the disk too. Not told of an
    /// invalidation while very many are stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub covered: Option<u64>,
    /// Their URLs, in a dry run; at most a thousand.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub responses: Vec<String>,
    pub scope: Scope,
}

/// Where it is in effect.
#[derive(Debug, Serialize)]
pub struct Scope {
    pub node: String,
    /// Each parent, and whether it has applied this invalidation already.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<ParentState>,
    /// Each member of the fleet, and what is known of it in regard to this invalidation.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<MemberProof>,
}

/// Why a request cannot be taken.
#[derive(Debug, PartialEq, Eq)]
pub enum Wrong {
    /// 400 and why.
    Bad(String),
    /// 404: no such distribution.
    Unknown(String),
    /// 507: the log could not be written; nothing happened.
    NotWritten(String),
}

/// One invalidation, as listed.
#[derive(Debug, Serialize)]
pub struct Listed {
    pub id: String,
    pub number: u64,
    pub status: &'static str,
    pub distribution: String,
    pub items: Vec<String>,
    pub soft: bool,
    pub at: String,
}

impl Listed {
    /// A record, and how far it has come.
    pub fn new(record: InvalidationRecord, status: Status) -> Self {
        Self {
            id: record.id,
            number: record.number,
            status: status.as_str(),
            distribution: record.distribution,
            items: record.matchers.iter().map(Matcher::to_string).collect(),
            soft: record.severity == Severity::Soft,
            at: format_rfc3339(Timestamp(record.at)),
        }
    }
}

impl Control {
    /// Takes an invalidation, or shows what it would cover.
    pub async fn invalidate(self: &Arc<Self>, asked: Asked) -> Result<Done, Wrong> {
        let (distribution, matchers) = self.check(&asked)?;
        let severity = if asked.soft { Severity::Soft } else { Severity::Hard };
        let items: Vec<String> = matchers.iter().map(Matcher::to_string).collect();
        let node = self.edge.node.clone();
        if asked.dry_run {
            // Whatever lies on the disk is looked through too, by a thread that may wait for it.
            let (this, about, shown) = (Arc::clone(self), distribution.clone(), matchers.clone());
            let looking =
                tokio::task::spawn_blocking(move || this.covered(&about, &shown, LISTED_MAX));
            let (covered, responses) =
                looking.await.map_err(|error| Wrong::NotWritten(error.to_string()))?;
            let scope = Scope { node, parents: Vec::new(), members: Vec::new() };
            let (covered, soft) = (Some(covered), asked.soft);
            return Ok(Done {
                id: None,
                number: None,
                status: "DryRun",
                distribution,
                items,
                soft,
                covered,
                responses,
                scope,
            });
        }
        let record = InvalidationRecord::new(
            new_id(),
            distribution.clone(),
            matchers,
            severity,
            self.edge.clock.now().0,
        );
        let (record, covered) = self.accept(record).await?;
        let spread = self.spread(&record, asked.wait.map(Duration::from_secs)).await;
        Ok(Done {
            id: Some(record.id),
            number: Some(record.number),
            status: spread.status.as_str(),
            distribution,
            items,
            soft: asked.soft,
            covered,
            responses: Vec::new(),
            scope: Scope { node, parents: spread.parents, members: spread.members },
        })
    }

    /// Writes a record down, puts it in force, and counts what it covers, where few are stored.
    pub async fn accept(
        self: &Arc<Self>,
        record: InvalidationRecord,
    ) -> Result<(InvalidationRecord, Option<u64>), Wrong> {
        let this = Arc::clone(self);
        let work = tokio::task::spawn_blocking(move || {
            // Before it frees what is to be counted. The caller does not wait for more than
            // `COUNTED_MAX` responses to be looked through.
            let is_few = this.edge.store.stats().objects <= COUNTED_MAX;
            let covered = is_few.then(|| this.covered(&record.distribution, &record.matchers, 0).0);
            let record = this.edge.invalidation.accept(record, Durability::Synced)?;
            Ok::<_, std::io::Error>((record, covered))
        });
        let done = work.await.map_err(|error| Wrong::NotWritten(error.to_string()))?;
        done.map_err(|error| Wrong::NotWritten(error.to_string()))
    }

    /// Does what a trusted edge says; how its log stands here now.
    pub async fn take_from_edge(&self, edge: &str, said: Forwarded) -> Result<Answer, Wrong> {
        let ids = || -> Vec<String> {
            let running = self.edge.running();
            running.site.distributions.iter().map(|one| one.id.clone()).collect()
        };
        let context = ReceiveContext {
            invalidation: &self.edge.invalidation,
            clock: &self.edge.clock,
            ids: &ids,
        };
        self.edge.applied.take(&context, edge, said).await.map_err(|error| match error {
            ReceiveError::Malformed(why) => Wrong::Bad(why),
            ReceiveError::NotWritten(error) => Wrong::NotWritten(error.to_string()),
        })
    }

    fn check(&self, asked: &Asked) -> Result<(String, Vec<Matcher>), Wrong> {
        let running = self.edge.running();
        let known: Vec<&str> = running.site.distributions.iter().map(|d| d.id.as_str()).collect();
        let distribution = match (&asked.distribution, &known[..]) {
            (Some(id), _) if known.contains(&id.as_str()) => id.clone(),
            (Some(id), _) => {
                return Err(Wrong::Unknown(format!(
                    "there is no distribution {id:?}; known: {}",
                    known.join(", ")
                )));
            }
            (None, [only]) => (*only).to_string(),
            (None, _) => {
                return Err(Wrong::Bad(format!(
                    "name the distribution; known: {}",
                    known.join(", ")
                )));
            }
        };
        let items = asked
            .paths
            .iter()
            .cloned()
            .chain(asked.tags.iter().map(|tag| format!("#{}", tag.trim_start_matches('#'))));
        let matchers: Vec<Matcher> = items
            .map(|item| Matcher::parse(&item))
            .collect::<Result<_, _>>()
            .map_err(Wrong::Bad)?;
        if matchers.is_empty() {
            return Err(Wrong::Bad("name at least one of paths or tags".into()));
        }
        if matchers.len() > ITEMS_MAX {
            return Err(Wrong::Bad(format!(
                "at most {ITEMS_MAX} items at once, these are {}",
                matchers.len()
            )));
        }
        if let Some(seconds) = asked.wait.filter(|seconds| *seconds > WAIT_MAX) {
            return Err(Wrong::Bad(format!(
                "wait is at most {WAIT_MAX} seconds, this is {seconds}; ask later how far it has come, GET /v1/invalidations/ID"
            )));
        }
        Ok((distribution, matchers))
    }

    fn covered(&self, distribution: &str, matchers: &[Matcher], list: usize) -> (u64, Vec<String>) {
        let (mut count, mut listed) = (0, Vec::new());
        let is_covered = |key: &[u8], tags: &[u64]| {
            let url = canonical(url_of(key));
            distribution_of(key) == distribution.as_bytes()
                && matchers.iter().any(|matcher| matcher.covers(&url, tags))
        };
        let mut count_in = |key: &[u8]| {
            count += 1;
            if listed.len() < list {
                listed.push(readable(key));
            }
        };
        let mut in_both = HashSet::new();
        self.edge.store.visit(|stored: &Arc<Stored>| {
            if is_covered(stored.key.as_bytes(), &stored.tags) {
                in_both.insert(stored.live.on_disk.load(Ordering::Relaxed));
                count_in(stored.key.as_bytes());
            }
        });
        // To look through the disk takes time; an invalidation does not wait for that to be in
        // effect.
        if let Some(disk) = self.edge.disk().filter(|_| list > 0) {
            let wanted = |brief: &Brief<'_>| is_covered(brief.key, &brief.tags);
            disk.visit(wanted, |entry, brief| {
                if !in_both.contains(&entry.version.0) {
                    count_in(brief.key);
                }
            });
        }
        listed.sort_unstable();
        (count, listed)
    }
}
