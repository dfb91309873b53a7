//! A range of a long response that lies in the tier which the fleet shares: no more of it is read
//! than the pieces that the range touches, and nothing of it is kept (src/DECISIONS.md, "A range is
//! read from a tier by pieces, and kept nowhere").
//!
//! What cannot be answered so is fetched like everything else; a tier that was asked in vain is not
//! asked once more.

use std::sync::Arc;

use http::header::CONTENT_RANGE;

use super::Proxy;
use super::exchange::{Exchange, InVain};
use super::fetch_request::FetchRequest;
use super::shared_tier::{Place, Usable, broken_off};
use super::storing::assemble;
use crate::body::{Body, Content};
use crate::cache::arrival::{Arrived, on_arrival, strip_for_storage};
use crate::cache::ask::CacheRequest;
use crate::cache::lookup::{Lookup, worth};
use crate::deliver::form::{self, ResponseForm};
use crate::deliver::{self, CACHE_STATUS};
use crate::message::failure::Failure;
use crate::message::request::Known;
use crate::message::response::{Reply, ReplyFrom, ViewerResponse};
use crate::message::stored::Stored;
use crate::message::tier::Standing;
use crate::message::verdict::{Outcome, Reason};
use crate::origin::itinerary::no_tier;
use crate::origin::request::FetchKind;
use crate::semantics::coding::{may_encode, vary_on_coding};
use crate::semantics::freshness::Exchanged;
use crate::semantics::ranges::{self, Span};
use crate::tier::Counts;
use crate::tier::body::{Pieces, Waited};
use crate::tier::codec::Outline;
use crate::tier::judge::{fields_of, is_strong};
use crate::trace::span::SpanKind;

/// What the tier has for a request for a range.
enum InTier {
    Answer(Box<ViewerResponse>),
    InVain(InVain),
    /// The whole is to be taken in, wherever that comes from.
    Whole,
}

impl Proxy {
    /// Says whether a request may be answered by pieces of what lies in the tier.
    pub(super) fn may_take_part(&self, fetch: &FetchRequest<'_>) -> bool {
        let FetchRequest { exchange, asked, .. } = *fetch;
        exchange.running.tier.is_some()
            && asks_for_range(asked)
            && no_tier(asked, &FetchKind::Fill).is_none()
            // What is not kept lies in no tier.
            && !self.edge.collapses.is_marked(asked.key, self.edge.clock.now())
    }

    /// Answers by pieces of what lies in the tier, and fetches where that cannot be.
    pub(super) async fn part_or_fetch(
        self: &Arc<Self>,
        fetch: FetchRequest<'_>,
        reason: Reason,
        found: &[Arc<Stored>],
    ) -> Result<ViewerResponse, Failure> {
        let asked_in_vain = match self.part_of_tier(&fetch, reason).await {
            InTier::Answer(response) => return Ok(*response),
            InTier::InVain(why) => {
                Some(Exchange { in_vain: Some(Arc::new(why)), ..fetch.exchange.clone() })
            }
            InTier::Whole => None,
        };
        let exchange = asked_in_vain.as_ref().unwrap_or(fetch.exchange);
        self.fetch(FetchRequest::of(exchange, fetch.asked, fetch.kind), reason, found).await
    }

    async fn part_of_tier(self: &Arc<Self>, fetch: &FetchRequest<'_>, reason: Reason) -> InTier {
        let FetchRequest { exchange, asked, .. } = *fetch;
        let Some(place) = self.tier_place(exchange, asked) else { return InTier::Whole };
        let trace = exchange.request.trace.as_ref();
        let mut span = trace.and_then(|trace| trace.open("tier", SpanKind::Client));
        let looked = self.look(&place, asked).await;
        if let Some(span) = &mut span {
            let said = match &looked {
                Ok(usable) => usable.said(),
                Err(why) => why.said.clone(),
            };
            span.say("foreshore.tier", said);
        }
        drop(span);
        match looked {
            Ok(usable) => self.cut(fetch, &place, usable, reason).await,
            Err(why) => InTier::InVain(why),
        }
    }

    // The answer in the form that the viewer asks for, if that takes less than the whole.
    async fn cut(
        self: &Arc<Self>,
        fetch: &FetchRequest<'_>,
        place: &Place<'_>,
        usable: Usable,
        reason: Reason,
    ) -> InTier {
        let asked = fetch.asked;
        let outline = usable.found.meta.outline;
        let Some(stored) = self.as_kept(asked, place, &usable) else { return InTier::Whole };
        let now = usable.arrived_at;
        let answer = form::answer_of(asked.head(), &stored, now, || Some(outline.length));
        let spans: &[Span] = match &answer {
            ResponseForm::Whole => return InTier::Whole,
            ResponseForm::Part(span) => std::slice::from_ref(span),
            ResponseForm::Parts(spans) => spans,
            ResponseForm::NotModified
            | ResponseForm::Unsatisfiable(_)
            | ResponseForm::PreconditionFailed => &[],
        };
        if !is_less(&outline, spans) {
            return InTier::Whole;
        }
        let Some(bodies) = self.bodies_of(fetch, place, &usable, spans).await else {
            return InTier::InVain(broken_off(&usable));
        };
        Counts::add(&place.seat.counts.used);
        let reason = match reason {
            Reason::Revalidated(why) => Reason::Replaced(why),
            other => other,
        };
        let told = deliver::no_cache(Outcome::Miss, reason);
        let mut response =
            deliver::from_elsewhere(&stored, &answer, bodies, outline.length, told, now);
        self.tell_edge(asked, &stored, reason, &mut response.fields);
        response.fields.append(&CACHE_STATUS, usable.said());
        InTier::Answer(Box::new(response))
    }

    // The response as this edge would keep it, but for its content; `None` where it would not use
    // it for another viewer as it is.
    fn as_kept(
        &self,
        asked: &CacheRequest<'_>,
        place: &Place<'_>,
        usable: &Usable,
    ) -> Option<Arc<Stored>> {
        let Usable { found, taken, asked_at, arrived_at } = usable;
        let (status, length) = (found.meta.status, found.meta.outline.length);
        if status != 200 || taken.facts.standing != Standing::Fresh {
            return None;
        }
        let mut fields = fields_of(found);
        let when = Exchanged { asked_at: *asked_at, arrived_at: *arrived_at };
        let arrived = on_arrival(asked, None, status, &fields, when, &self.edge.invalidations);
        let Arrived::Store(mut keeping) = arrived else { return None };
        keeping.hold_to(Some(taken.facts), *arrived_at);
        keeping.tags.clone_from(&taken.tags);
        strip_for_storage(asked, &mut fields);
        let is_encodable = !asked.routed.behavior.cache.compress.is_empty()
            && may_encode(status, &fields, Some(length));
        if is_encodable {
            // It would be kept encoded here, and other octets are in its pieces.
            if keeping.coding.is_some() {
                return None;
            }
            vary_on_coding(&mut fields);
        }
        let content = Content::complete(b"");
        let stored =
            Arc::new(assemble(&place.key, keeping, status, &fields, taken.number, content));
        matches!(worth(&stored, *arrived_at), Lookup::Fresh(_)).then_some(stored)
    }

    // The octets of each part. What breaks off is gone on with at the origin; where that could not
    // be, all of it is read first, and `None` if it cannot be had.
    async fn bodies_of(
        self: &Arc<Self>,
        fetch: &FetchRequest<'_>,
        place: &Place<'_>,
        usable: &Usable,
        spans: &[Span],
    ) -> Option<Vec<Body>> {
        let Usable { found, taken, asked_at, arrived_at } = usable;
        let outline = found.meta.outline;
        let can_go_on = is_strong(found.meta.head.etag());
        let (mut bodies, waited) = (Vec::with_capacity(spans.len()), Waited::default());
        for span in spans {
            let (tier, key) = (Arc::clone(place.tier), place.key.clone());
            let pieces = Pieces::of(tier, key, outline, *span, waited.clone());
            if !can_go_on {
                bodies.push(Body::Bytes(pieces.collect().await?));
                continue;
            }
            let mut fields = fields_of(found);
            let range = form::ContentRange { span: Some(*span), complete: outline.length };
            fields.insert(&CONTENT_RANGE, range);
            let reply = Reply {
                status: 206,
                fields,
                body: Body::Wire(Box::new(pieces), Some(span.len())),
                asked_at: *asked_at,
                arrived_at: *arrived_at,
                from: ReplyFrom::Shared(Box::new(taken.clone())),
            };
            let reply = self.resumed(fetch, reply, 0).await?;
            bodies.push(reply.body);
        }
        Some(bodies)
    }
}

// Of a range that is not understood the whole is sent.
fn asks_for_range(asked: &CacheRequest<'_>) -> bool {
    let known = &asked.head().known;
    let range = known.get(Known::Range).filter(|_| !known.is_repeated(Known::Range));
    range.is_some_and(|range| ranges::parse(range) != ranges::Asked::Whole)
}

// Whether fewer pieces are read than the whole has. A piece in which two parts lie is read for
// both: what is asked for at once is bounded by the number of parts.
fn is_less(outline: &Outline, spans: &[Span]) -> bool {
    spans.iter().map(|span| outline.pieces_of(*span).len()).sum::<usize>()
        < outline.pieces() as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::protocol::{Epoch, FleetNumber, Stamp};
    use crate::invalidation::chain::RecordId;
    use crate::tier::codec::{INLINE_MAX, PIECE};
    use crate::tier::seal::Generation;

    #[test]
    fn a_range_that_touches_all_pieces_takes_in_the_whole() {
        let piece = PIECE as u64;
        let of = |length| Outline {
            stamp: Stamp { epoch: Epoch(RecordId::from_octets([1; 16])), number: FleetNumber(7) },
            generation: Generation([1; 16]),
            age: 0,
            ttl: 60,
            length,
        };
        let span = |start, end| Span { start, end };
        for (length, spans, is_part) in [
            (3 * piece, &[span(0, 1)][..], true),
            (3 * piece, &[span(0, 2 * piece)], true),
            (3 * piece, &[span(0, 2 * piece + 1)], false),
            (3 * piece, &[span(0, 1), span(2 * piece, 2 * piece + 1)], true),
            (3 * piece, &[span(0, 1), span(9, 10), span(19, 20)], false),
            (3 * piece, &[], true),
            (piece, &[span(0, 1)], false),
            // It lies in the meta.
            (INLINE_MAX as u64, &[span(0, 1)], false),
            (INLINE_MAX as u64, &[], false),
        ] {
            assert_eq!(is_less(&of(length), spans), is_part, "{length} {spans:?}");
        }
    }
}
