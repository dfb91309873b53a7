//! Changed objects of buckets, as S3 and what speaks like it tell of them: each becomes an
//! invalidation of exactly its paths, in every distribution that has the bucket as an origin.
//!
//! Senders repeat and reorder what they tell. A repeat changes nothing, and an event that comes late
//! only costs a fetch: nothing here says what content is, only that it is to be asked for.

mod certificates;
pub mod event;
mod fold;
mod paths;
mod refiller;
mod seen;
pub mod sns;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::request::Parts;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;

use super::invalidation::{ITEMS_MAX, Wrong};
use super::sessions::Trial;
use super::{Control, login};
use crate::base::secret::Secret;
use crate::cache::invalidations::{Matcher, Severity};
use crate::distribution::events::{Refill, Sns, Subscriptions};
use crate::invalidation::log::{InvalidationRecord, new_id};
use crate::proxy::Proxy;
use crate::region::standings::Status;
use certificates::Certificates;
use event::{Change, Kind, Posted};
use fold::{Fold, Written};
use paths::Old;
use refiller::Refiller;
use seen::Seen;
use sns::{Envelope, Purpose};

/// Octets of a body: SNS and EventBridge have no longer ones.
pub const BODY_MAX: usize = 256 << 10;
/// So long an answer waits for parents and fleet; most senders give up after five seconds and tell
/// everything again.
const WAIT: Duration = Duration::from_secs(3);
/// Letters of a refusal: what it repeats of a body may be anybody's.
const WORDS_MAX: usize = 512;
/// Said by SNS of each of its messages, before any of the body is read.
const OF_SNS: &str = "x-amz-sns-message-type";

/// What of these events outlives a call.
pub struct S3Desk {
    seen: Mutex<Seen>,
    fold: Fold,
    certificates: Certificates,
    refiller: Arc<Refiller>,
    counts: Counts,
}

/// What is counted.
#[derive(Default)]
struct Counts {
    events: AtomicU64,
    repeated: AtomicU64,
    passed_over: AtomicU64,
    unmatched: AtomicU64,
    refused: AtomicU64,
    invalidations: AtomicU64,
}

impl S3Desk {
    /// One whose refills go through `proxy`.
    pub fn new(proxy: Arc<Proxy>) -> Self {
        Self {
            seen: Mutex::default(),
            fold: Fold::default(),
            certificates: Certificates::default(),
            refiller: Refiller::new(proxy),
            counts: Counts::default(),
        }
    }

    /// What is counted, and what it is called: name, help, value.
    pub fn counts(&self) -> [(&'static str, &'static str, u64); 8] {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let counts = &self.counts;
        [
            ("foreshore_s3_events_total", "Changed objects that were told of.", of(&counts.events)),
            (
                "foreshore_s3_events_repeated_total",
                "Those of them that were told of before.",
                of(&counts.repeated),
            ),
            (
                "foreshore_s3_events_unmatched_total",
                "Those of them whose bucket is no origin here.",
                of(&counts.unmatched),
            ),
            (
                "foreshore_s3_events_passed_over_total",
                "Events that say nothing of an object's content.",
                of(&counts.passed_over),
            ),
            (
                "foreshore_s3_events_refused_total",
                "Calls that were refused: no right, or no known shape.",
                of(&counts.refused),
            ),
            (
                "foreshore_s3_events_invalidations_total",
                "Invalidations that followed from them.",
                of(&counts.invalidations),
            ),
            (
                "foreshore_s3_events_refilled_total",
                "Changed objects that were fetched before they were asked for.",
                of(&self.refiller.fetched),
            ),
            (
                "foreshore_s3_events_not_refilled_total",
                "Those that were to be and were not: too many at once, or nothing to keep.",
                of(&self.refiller.left_out),
            ),
        ]
    }

    /// Changed objects that wait to be fetched.
    pub fn waiting(&self) -> u64 {
        self.refiller.waiting()
    }
}

/// How a caller shows that it may tell of changed objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    Token,
    /// Nothing but, perhaps, a signature in the body.
    PerhapsSignature,
}

/// Why a call is not taken.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// 400: not a shape that is known.
    Shape(String),
    /// 403: the signature or the topic does not hold.
    Unproven(String),
    /// 503: it cannot be checked now.
    Later(String),
    /// 507: the log could not be written.
    NotWritten(String),
}

impl Refused {
    fn shortened(self) -> Self {
        let short = |why: String| -> String { why.chars().take(WORDS_MAX).collect() };
        match self {
            Self::Shape(why) => Self::Shape(short(why)),
            Self::Unproven(why) => Self::Unproven(short(why)),
            Self::Later(why) => Self::Later(short(why)),
            Self::NotWritten(why) => Self::NotWritten(short(why)),
        }
    }
}

/// What was done.
#[derive(Debug, Default, Serialize)]
pub struct Taken {
    /// Changed objects that were told of.
    events: u64,
    /// Those of them that were told of before; they are invalidated already.
    repeated: u64,
    /// Those whose bucket is no origin here.
    unmatched: u64,
    /// Events about something else than an object's content.
    passed_over: u64,
    /// `Completed` once all invalidations are in effect everywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    invalidations: Vec<One>,
    /// What else there is to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

/// An invalidation, as it may be asked for later.
#[derive(Debug, Serialize)]
struct One {
    id: String,
    distribution: String,
    status: &'static str,
}

impl Control {
    /// What the fields of a call show. An error where nothing in the body could make it good, with
    /// how long its sender has to wait, if it has to: who has the token of `[events.s3]` never has,
    /// whoever else is wrong at its address.
    pub fn shown_for_s3(&self, parts: &Parts) -> Result<Shown, Option<Duration>> {
        let running = self.edge.running();
        let settings = &running.site.s3_events;
        let given = parts.headers.get(AUTHORIZATION).map(http::HeaderValue::as_bytes);
        let is_shown = |token: &Secret<String>| {
            given.is_some_and(|given| token.is_borne_by(given) || token.is_password_of(given))
        };
        if settings.token.as_ref().is_some_and(is_shown) {
            return Ok(Shown::Token);
        }
        let trial = login::judge_sender(self, parts, || is_shown(&self.token));
        let is_of_sns = settings.sns.is_some() && parts.headers.contains_key(OF_SNS);
        match trial {
            Some(Trial::Right) => Ok(Shown::Token),
            _ if is_of_sns => Ok(Shown::PerhapsSignature),
            Some(Trial::Wait(wait)) => Err(Some(wait)),
            Some(Trial::Wrong { .. }) | None => Err(None),
        }
    }

    /// Counts a call that was refused before its body was read.
    pub fn count_refused_s3(&self) {
        self.s3.counts.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Does what follows from a body.
    pub async fn s3_posted(self: &Arc<Self>, body: &[u8], shown: Shown) -> Result<Taken, Refused> {
        let done = self.take_posted(body, shown).await.map_err(Refused::shortened);
        match &done {
            Ok(taken) => tracing::info!(
                events = taken.events,
                repeated = taken.repeated,
                unmatched = taken.unmatched,
                invalidations = ?taken.invalidations.iter().map(|one| &*one.id).collect::<Vec<_>>(),
                "changed objects were told of"
            ),
            Err(why) => {
                self.count_refused_s3();
                tracing::warn!(?why, "what was told of changed objects was not taken");
            }
        }
        done
    }

    async fn take_posted(self: &Arc<Self>, body: &[u8], shown: Shown) -> Result<Taken, Refused> {
        let value = event::json(body).map_err(Refused::Shape)?;
        let envelope = Envelope::of(&value).map_err(Refused::Shape)?;
        let running = self.edge.running();
        let sns = running.site.s3_events.sns.as_ref();
        match (envelope, shown, sns) {
            (None, Shown::Token, _) => self.take_value(&value).await,
            (None, Shown::PerhapsSignature, _) => {
                Err(Refused::Unproven("this is no message of SNS, and there is no token".into()))
            }
            (Some(envelope), Shown::PerhapsSignature, None) => {
                Err(Refused::Unproven(format!("{:?}: see [events.s3.sns]", envelope.topic)))
            }
            (Some(envelope), Shown::PerhapsSignature, Some(sns)) => {
                self.check_signature(&envelope, sns).await?;
                self.take_envelope(&envelope, Some(sns)).await
            }
            (Some(envelope), Shown::Token, sns) => self.take_envelope(&envelope, sns).await,
        }
    }

    // A topic that is wanted, and the signature of SNS: every account's topics have that.
    async fn check_signature(&self, envelope: &Envelope<'_>, sns: &Sns) -> Result<(), Refused> {
        if !envelope.is_of(sns) {
            let topic = envelope.topic;
            return Err(Refused::Unproven(format!("{topic:?} is not among events.s3.sns.topics")));
        }
        let signed = envelope.signed(sns).map_err(Refused::Unproven)?;
        let now = self.edge.clock.now();
        let key = self.s3.certificates.key(&signed.certificate, sns, now).await;
        let key = key.map_err(Refused::Later)?;
        if signed.holds(&key) {
            return Ok(());
        }
        Err(Refused::Unproven("the signature is another's".into()))
    }

    async fn take_envelope(
        self: &Arc<Self>,
        envelope: &Envelope<'_>,
        sns: Option<&Sns>,
    ) -> Result<Taken, Refused> {
        match envelope.purpose {
            Purpose::Notification => {
                let value = event::json(envelope.message.as_bytes());
                let value = value.map_err(|why| Refused::Shape(format!("in Message, {why}")))?;
                self.take_value(&value).await
            }
            Purpose::Subscription => self.subscribe(envelope, sns).await,
            Purpose::Unsubscription => {
                tracing::warn!(topic = envelope.topic, "SNS will send no more events");
                Ok(Taken { note: Some("unsubscribed"), ..Taken::default() })
            }
        }
    }

    // Followed where that is set, and for a topic that is named: else whoever reaches this address
    // could have it subscribe to theirs.
    async fn subscribe(
        &self,
        envelope: &Envelope<'_>,
        sns: Option<&Sns>,
    ) -> Result<Taken, Refused> {
        let topic = envelope.topic;
        let wanted =
            sns.filter(|sns| sns.subscriptions == Subscriptions::Confirm && envelope.is_of(sns));
        let Some(sns) = wanted else {
            tracing::warn!(
                topic,
                "SNS asks whether this address wants events; set events.s3.sns.subscriptions = \"confirm\" and name the topic"
            );
            return Ok(Taken { note: Some("not confirmed"), ..Taken::default() });
        };
        let url = envelope.confirmation(sns).map_err(Refused::Unproven)?;
        self.s3.certificates.confirm(&url, sns).await.map_err(Refused::Later)?;
        tracing::info!(topic, "a subscription was confirmed");
        Ok(Taken { note: Some("confirmed"), ..Taken::default() })
    }

    async fn take_value(self: &Arc<Self>, value: &Value) -> Result<Taken, Refused> {
        match event::parse(value).map_err(Refused::Shape)? {
            Posted::Test => Ok(Taken { note: Some("a test"), ..Taken::default() }),
            Posted::Events { changes, passed_over } => {
                self.take_changes(changes, passed_over).await
            }
        }
    }

    async fn take_changes(
        self: &Arc<Self>,
        changes: Vec<Change>,
        passed_over: u64,
    ) -> Result<Taken, Refused> {
        let mut taken = Taken { passed_over, events: changes.len() as u64, ..Taken::default() };
        let fresh: Vec<Change> = {
            let seen = self.s3.seen.lock();
            changes.into_iter().filter(|change| !seen.has(change)).collect()
        };
        taken.repeated = taken.events - fresh.len() as u64;
        let (old, urls, unmatched) = self.made_old(&fresh);
        taken.unmatched = unmatched;
        self.count(&taken);
        if !old.is_empty() {
            let records = self.folded(old).await.map_err(Refused::NotWritten)?;
            self.spread_all(&records, &mut taken).await;
        }
        // What was not written down is taken when it comes again.
        let mut seen = self.s3.seen.lock();
        fresh.iter().for_each(|change| seen.note(change));
        drop(seen);
        self.s3.refiller.fetch(urls);
        Ok(taken)
    }

    fn count(&self, taken: &Taken) {
        let counts = &self.s3.counts;
        for (count, more) in [
            (&counts.events, taken.events),
            (&counts.repeated, taken.repeated),
            (&counts.unmatched, taken.unmatched),
            (&counts.passed_over, taken.passed_over),
        ] {
            count.fetch_add(more, Ordering::Relaxed);
        }
    }

    // What is old, what is to be fetched, and how many of the changes are of no bucket here.
    fn made_old(&self, changes: &[Change]) -> (Old, Vec<String>, u64) {
        let running = self.edge.running();
        let site = &running.site;
        let refills = site.s3_events.refill == Refill::AtOnce;
        let (mut old, mut urls, mut unmatched) = (Old::new(), Vec::new(), 0);
        for change in changes {
            let mut own = Old::new();
            for key in &change.keys {
                let shown = paths::add(&mut own, site, &change.bucket, key);
                if refills && change.kind == Kind::Written {
                    urls.extend(shown);
                }
            }
            unmatched += u64::from(own.is_empty());
            for (distribution, mut matchers) in own {
                old.entry(distribution).or_default().append(&mut matchers);
            }
        }
        (old, urls, unmatched)
    }

    // Written down and in force here, together with what others tell meanwhile.
    async fn folded(self: &Arc<Self>, old: Old) -> Written {
        self.s3.fold.written(old, |all| self.write_down(all)).await
    }

    async fn write_down(self: &Arc<Self>, old: Old) -> Written {
        let mut records = Vec::new();
        for (distribution, matchers) in old {
            let matchers: Vec<Matcher> = matchers.into_iter().collect();
            for some in matchers.chunks(ITEMS_MAX) {
                let (id, at) = (new_id(), self.edge.clock.now().0);
                let record = InvalidationRecord::new(
                    id,
                    distribution.clone(),
                    some.to_vec(),
                    Severity::Hard,
                    at,
                );
                match self.accept(record).await {
                    Ok((record, _)) => records.push(record),
                    Err(Wrong::Bad(why) | Wrong::Unknown(why) | Wrong::NotWritten(why)) => {
                        return Err(why);
                    }
                }
                self.s3.counts.invalidations.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(records)
    }

    // Waits a while until they are in effect everywhere.
    async fn spread_all(&self, records: &[InvalidationRecord], taken: &mut Taken) {
        let mut is_all = true;
        let until = self.edge.clock.now().plus(WAIT);
        for record in records {
            let left = Duration::from_millis(until.millis_since(self.edge.clock.now()));
            let spread = self.spread(record, Some(left)).await;
            is_all &= spread.status == Status::Completed;
            taken.invalidations.push(One {
                id: record.id.clone(),
                distribution: record.distribution.clone(),
                status: spread.status.as_str(),
            });
        }
        let status = if is_all { Status::Completed } else { Status::InProgress };
        taken.status = Some(status.as_str());
    }
}
