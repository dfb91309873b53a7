//! The tier that the fleet shares, as a hop: what is taken from it, and what is written there.
//!
//! It is asked before parents and origins, and stepped over in any trouble. A response is written
//! behind the answer that it was fetched for, under the place in the fleet's log at which its
//! request began.

use std::sync::Arc;
use std::time::Duration;

use super::Proxy;
use super::exchange::{Exchange, InVain};
use super::fetch_request::FetchRequest;
use crate::body::Body;
use crate::cache::ask::CacheRequest;
use crate::cache::invalidations::Validity;
use crate::fleet::node::Node as Member;
use crate::fleet::protocol::Stamp;
use crate::message::key::{CacheKey, InvalidationNumber};
use crate::message::own_fields::SHARED_TIER;
use crate::message::response::{Reply, ReplyFrom, TakenFrom};
use crate::message::stored::Stored;
use crate::origin::itinerary::{NoTier, no_tier};
use crate::origin::request::FetchKind;
use crate::semantics::time::Timestamp;
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
    /// See [`InVain::is_vacant`].
    is_vacant: bool,
}

impl TierAnswer {
    fn in_vain(why: &InVain) -> Self {
        Self { reply: None, said: why.said.clone(), is_vacant: why.is_vacant }
    }
}

/// Where an entry is looked for.
pub(super) struct Place<'a> {
    pub seat: &'a Seat,
    member: &'a Member,
    pub tier: &'a Arc<Tier>,
    pub key: CacheKey,
}

/// An entry that may be used here, and what it is worth.
pub(super) struct Usable {
    pub found: Box<Found>,
    pub taken: TakenFrom,
    pub asked_at: Timestamp,
    pub arrived_at: Timestamp,
}

impl Usable {
    /// The member that the tier gets in Cache-Status.
    pub fn said(&self) -> String {
        format!("{SHARED_TIER}; hit; detail=\"{}\"", plain(&self.taken.node))
    }
}

impl Proxy {
    /// What is known now, before a request upstream begins.
    pub(super) fn begins(&self, fetch: &FetchRequest<'_>) -> Began {
        let number = self.edge.invalidations.head();
        let is_written = fetch.exchange.running.tier.is_some()
            && matches!(no_tier(fetch.asked, &fetch.kind), None | Some(NoTier::Anew));
        let member = self.edge.fleet.get().filter(|_| is_written);
        Began { number, stamp: member.map(|member| member.stamp()) }
    }

    /// Asks the tier; `None` where none can be asked. Where another edge is fetching what is not
    /// there, that is waited for, if the operator wants it.
    pub(super) async fn ask_shared_tier(&self, fetch: &FetchRequest<'_>) -> Option<TierAnswer> {
        let FetchRequest { exchange, asked, kind } = fetch;
        let place = self.tier_place(exchange, asked)?;
        let answer = match &exchange.in_vain {
            Some(why) => TierAnswer::in_vain(why),
            None => self.take_whole(&place, asked).await,
        };
        let is_led = answer.is_vacant && self.may_follow(kind);
        if !is_led || place.tier.follow().is_zero() {
            return Some(answer);
        }
        match place.tier.lock_fill(&place.key, place.member.stamp()).await {
            Ok(false) => Some(self.follow(&place, asked, answer).await),
            Ok(true) | Err(_) => Some(answer),
        }
    }

    /// Where the tier is asked for a key; `None` where none can be asked.
    pub(super) fn tier_place<'e>(
        &'e self,
        exchange: &'e Exchange,
        asked: &CacheRequest<'_>,
    ) -> Option<Place<'e>> {
        let seat = exchange.running.tier.as_ref()?;
        let member = self.edge.fleet.get()?;
        // Without a lease nothing that is stored may be used, wherever it lies.
        if !self.edge.invalidations.is_usable(self.edge.clock.now()) {
            return None;
        }
        Some(Place { seat, member, tier: seat.tier()?, key: CacheKey::new(asked.key) })
    }

    // Whether what another edge fetches is worth waiting for: what is not stored here, or was
    // invalidated. What is merely too old may be that at each request, and a lock lasts for
    // seconds.
    fn may_follow(&self, kind: &FetchKind) -> bool {
        match kind {
            FetchKind::Fill => true,
            FetchKind::Revalidate(stored) => {
                self.edge.invalidations.validity(stored) != Validity::Valid
            }
            FetchKind::Pass | FetchKind::Unkept => false,
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
            answer = self.take_whole(place, asked).await;
        }
        answer
    }

    // A whole response, where the tier has one.
    async fn take_whole(&self, place: &Place<'_>, asked: &CacheRequest<'_>) -> TierAnswer {
        let usable = match self.look(place, asked).await {
            Ok(usable) => usable,
            Err(why) => return TierAnswer::in_vain(&why),
        };
        let Some(body) = body_of(place.tier, place.key.clone(), &usable.found).await else {
            return TierAnswer::in_vain(&broken_off(&usable));
        };
        Counts::add(&place.seat.counts.used);
        let said = usable.said();
        let reply = Reply {
            status: usable.found.meta.status,
            fields: fields_of(&usable.found),
            body,
            asked_at: usable.asked_at,
            arrived_at: usable.arrived_at,
            from: ReplyFrom::Shared(Box::new(usable.taken)),
        };
        TierAnswer { reply: Some(reply), said, is_vacant: false }
    }

    /// Looks for an entry that may be used; none of its pieces is read.
    pub(super) async fn look(
        &self,
        place: &Place<'_>,
        asked: &CacheRequest<'_>,
    ) -> Result<Usable, InVain> {
        let Place { seat, member, tier, key } = place;
        let asked_at = self.edge.clock.now();
        let found = match tier.get(key, tier.first_deadline()).await {
            Got::Found(found) => found,
            Got::Miss(trouble) => return Err(stepped_over(&trouble)),
        };
        let arrived_at = self.edge.clock.now();
        let adopt = |stamp| member.adopt(stamp);
        match judge(&found, asked, &self.edge.invalidations, adopt, arrived_at) {
            Ok(taken) => Ok(Usable { found, taken, asked_at, arrived_at }),
            Err(miss) => {
                seat.counts.misses.count(miss);
                Err(passed(miss, &found.node))
            }
        }
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

/// A piece of an entry cannot be had; the reason was counted with the piece.
pub(super) fn broken_off(usable: &Usable) -> InVain {
    passed(Miss::PieceMissing, &usable.found.node)
}

fn stepped_over(trouble: &Trouble) -> InVain {
    let said = match (trouble.miss, &trouble.node) {
        (Miss::Absent, _) => format!("{SHARED_TIER}; fwd=uri-miss"),
        (miss, None) => format!("{SHARED_TIER}; fwd=miss; detail=\"{}\"", miss.name()),
        (miss, Some(node)) => return passed(miss, node),
    };
    InVain { said, is_vacant: trouble.miss == Miss::Absent }
}

fn passed(miss: Miss, node: &str) -> InVain {
    let said = format!("{SHARED_TIER}; fwd=miss; detail=\"{} at {}\"", miss.name(), plain(node));
    let is_vacant = matches!(miss, Miss::Outdated | Miss::Invalidated | Miss::Expired);
    InVain { said, is_vacant }
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
