//! The tier that the fleet shares, as a hop: what is taken from it, and what is written there.
//!
//! It is asked before parents and origins, and stepped over in any trouble. A response is written
//! behind the answer that it was fetched for, under the place in the fleet's log at which its
//! request began.

use std::sync::Arc;
use std::time::Duration;

use super::Proxy;
use super::exchange::Exchange;
use crate::body::Body;
use crate::cache::ask::CacheRequest;
use crate::fleet::node::Node as Member;
use crate::fleet::protocol::Stamp;
use crate::message::key::{CacheKey, InvalidationNumber};
use crate::message::own_fields::SHARED_TIER;
use crate::message::response::{Reply, ReplyFrom};
use crate::message::stored::Stored;
use crate::origin::itinerary::{NoTier, no_tier};
use crate::origin::request::FetchKind;
use crate::tier::body::Pieces;
use crate::tier::judge::{HELD_MAX, fields_of, is_strong, judge};
use crate::tier::link::Trouble;
use crate::tier::miss::Miss;
use crate::tier::seat::Seat;
use crate::tier::{Counts, Found, Got, Tier};

/// The first pause of a request that waits for another edge's fetch, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// What was known when a request upstream began.
#[derive(Clone, Copy)]
pub(super) struct Began {
    /// The log's head.
    pub number: InvalidationNumber,
    /// The place in the fleet's log, where what comes is to be written to the tier.
    pub stamp: Option<Stamp>,
}

impl Began {
    /// What a reply may be kept under. One of the tier's own is as old as its stamp, and is not
    /// written there again; nor is one that is given only because the origin could not be reached.
    pub fn of(self, reply: &Reply) -> Self {
        match reply.shared() {
            Some(taken) => Self { number: taken.number, stamp: None },
            None if reply.is_stale() => Self { stamp: None, ..self },
            None => self,
        }
    }
}

/// What became of asking the tier.
pub(super) struct TierAnswer {
    pub reply: Option<Reply>,
    /// The member that it gets in Cache-Status (RFC 9211 §2).
    pub said: String,
    /// The tier is well, and has nothing that may be used: what is fetched takes that place.
    is_vacant: bool,
}

/// Where an entry is looked for.
struct Place<'a> {
    seat: &'a Seat,
    member: &'a Member,
    tier: &'a Arc<Tier>,
    key: CacheKey,
}

impl Proxy {
    /// What is known now, before a request upstream begins.
    pub(super) fn begins(
        &self,
        exchange: &Exchange,
        asked: &CacheRequest<'_>,
        asking: &FetchKind,
    ) -> Began {
        let number = self.edge.invalidations.head();
        let is_written = exchange.running.tier.is_some()
            && matches!(no_tier(asked, asking), None | Some(NoTier::Anew));
        let member = self.edge.fleet.get().filter(|_| is_written);
        Began { number, stamp: member.map(|member| member.stamp()) }
    }

    /// Asks the tier; `None` where none can be asked. Where another edge is fetching what is not
    /// there, that is waited for, if the operator wants it.
    pub(super) async fn ask_shared_tier(
        &self,
        exchange: &Exchange,
        asked: &CacheRequest<'_>,
        asking: &FetchKind,
    ) -> Option<TierAnswer> {
        let seat = exchange.running.tier.as_ref()?;
        let member = self.edge.fleet.get()?;
        // Without a lease nothing that is stored may be used, wherever it lies.
        if !self.edge.invalidations.is_usable(self.edge.clock.now()) {
            return None;
        }
        let place = Place { seat, member, tier: seat.tier()?, key: CacheKey::new(asked.key) };
        let answer = self.look(&place, asked).await;
        let is_led = matches!(asking, FetchKind::Fill) && answer.is_vacant;
        if !is_led || place.tier.follow().is_zero() {
            return Some(answer);
        }
        match place.tier.lock_fill(&place.key, member.stamp()).await {
            Ok(false) => Some(self.follow(&place, asked, answer).await),
            Ok(true) | Err(_) => Some(answer),
        }
    }

    // Looks again until the edge that has the lock has written what it fetches, or for long enough.
    async fn follow(
        &self,
        place: &Place<'_>,
        asked: &CacheRequest<'_>,
        mut answer: TierAnswer,
    ) -> TierAnswer {
        let (mut left, mut pause) = (place.tier.follow(), FIRST_PAUSE);
        while answer.is_vacant && !left.is_zero() {
            let rest = pause.min(left);
            tokio::time::sleep(rest).await;
            left -= rest;
            pause = (pause * 2).min(LONGEST_PAUSE);
            answer = self.look(place, asked).await;
        }
        answer
    }

    async fn look(&self, place: &Place<'_>, asked: &CacheRequest<'_>) -> TierAnswer {
        let Place { seat, member, tier, key } = place;
        let asked_at = self.edge.clock.now();
        let found = match tier.get(key, tier.first_deadline()).await {
            Got::Found(found) => found,
            Got::Miss(trouble) => return stepped_over(&trouble),
        };
        let now = self.edge.clock.now();
        let adopt = |stamp| member.adopt(stamp);
        let taken = match judge(&found, asked, &self.edge.invalidations, adopt, now) {
            Ok(taken) => taken,
            Err(miss) => return in_vain(&seat.counts, miss, &found.node),
        };
        let said = format!("{SHARED_TIER}; hit; detail=\"{}\"", plain(&taken.node));
        let Some(body) = body_of(tier, key.clone(), &found).await else {
            // The reason was counted with the piece.
            return passed(Miss::PieceMissing, &found.node);
        };
        Counts::add(&seat.counts.used);
        let reply = Reply {
            status: found.meta.status,
            fields: fields_of(&found),
            body,
            asked_at,
            arrived_at: now,
            from: ReplyFrom::Shared(taken),
        };
        TierAnswer { reply: Some(reply), said, is_vacant: false }
    }

    /// Offers a response that is complete and kept to the tier, under what was known when its
    /// request began.
    pub(super) fn share(&self, exchange: &Exchange, stored: &Arc<Stored>, stamp: Option<Stamp>) {
        let (Some(stamp), Some(seat)) = (stamp, &exchange.running.tier) else { return };
        // What lies in a file was written to the tier when it came.
        if stored.content.is_filed() {
            return;
        }
        let is_long = stored.content.length().is_none_or(|length| length > HELD_MAX);
        if is_long && !is_strong(stored.head.etag()) {
            return;
        }
        if let Some(tier) = seat.tier()
            && let Err(why) = tier.put(stored, stamp, self.edge.clock.now())
        {
            tracing::debug!(?why, "a response is not written to the tier");
        }
    }
}

// The body, where it can be had. A body that could not be gone on with elsewhere is held until it
// is whole.
async fn body_of(tier: &Arc<Tier>, key: CacheKey, found: &Found) -> Option<Body> {
    let (meta, outline) = (&found.meta, found.meta.outline);
    if let Some(octets) = &meta.body {
        return Some(if octets.is_empty() { Body::Empty } else { Body::Bytes(octets.clone()) });
    }
    let pieces = Pieces::new(Arc::clone(tier), key, outline);
    if is_strong(meta.head.etag()) {
        return Some(Body::Wire(Box::new(pieces), Some(outline.length)));
    }
    pieces.collect().await.map(Body::Bytes)
}

fn stepped_over(trouble: &Trouble) -> TierAnswer {
    let said = match (trouble.miss, &trouble.node) {
        (Miss::Absent, _) => format!("{SHARED_TIER}; fwd=uri-miss"),
        (miss, None) => format!("{SHARED_TIER}; fwd=miss; detail=\"{}\"", miss.name()),
        (miss, Some(node)) => return passed(miss, node),
    };
    TierAnswer { reply: None, said, is_vacant: trouble.miss == Miss::Absent }
}

fn in_vain(counts: &Counts, miss: Miss, node: &str) -> TierAnswer {
    counts.misses.count(miss);
    passed(miss, node)
}

fn passed(miss: Miss, node: &str) -> TierAnswer {
    let said = format!("{SHARED_TIER}; fwd=miss; detail=\"{} at {}\"", miss.name(), plain(node));
    let is_vacant = matches!(miss, Miss::Outdated | Miss::Invalidated | Miss::Expired);
    TierAnswer { reply: None, said, is_vacant }
}

// A node's name as it may stand in a field: an engine tells the names of others.
fn plain(node: &str) -> String {
    let is_plain = |c: &char| c.is_ascii_graphic() && !matches!(c, '"' | '\\');
    node.chars().filter(is_plain).take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_tier_did_is_a_member_of_cache_status() {
        let said = |miss, node: Option<&str>| {
            let node = node.map(str::to_string);
            stepped_over(&Trouble { node, ..Trouble::new(miss, "x") }).said
        };
        assert_eq!(said(Miss::Absent, Some("a:1")), "Foreshore-tier; fwd=uri-miss");
        assert_eq!(
            said(Miss::TimedOut, Some("a:1")),
            "Foreshore-tier; fwd=miss; detail=\"timed-out at a:1\""
        );
        assert_eq!(said(Miss::Paused, None), "Foreshore-tier; fwd=miss; detail=\"paused\"");
        let is_vacant = |miss| stepped_over(&Trouble::new(miss, "x")).is_vacant;
        assert!(is_vacant(Miss::Absent) && !is_vacant(Miss::TimedOut) && !is_vacant(Miss::Paused));
        assert!(passed(Miss::Invalidated, "a:1").is_vacant);
        assert_eq!(plain("a\"\r\n; b:1\\é"), "a;b:1");
    }
}
