//! A request that goes on for its viewer alone, and what the store learns from it: a write makes
//! old, the answer to a POST may be kept, that to a HEAD may confirm.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::exchange::Exchange;
use super::fetch_request::FetchRequest;
use super::serve::verdict;
use super::tunnels::TunnelPlace;
use super::unanswered::Unanswered;
use super::{Proxy, Tally};
use crate::body::Body;
use crate::cache::arrival::{self, HeadNews};
use crate::cache::ask::{CacheRequest, MethodIntent};
use crate::cache::invalidations::Validity;
use crate::cache::lookup::{choose, may_stand_in};
use crate::cache::unsafe_methods;
use crate::deliver;
use crate::message::failure::{Failure, FailureKind};
use crate::message::key::InvalidationNumber;
use crate::message::response::{Reply, ViewerResponse};
use crate::message::stored::Stored;
use crate::message::verdict::{Outcome, PassReason, Reason};
use crate::origin::request::FetchKind;
use crate::semantics::coding::{note_coding, vary_on_coding};
use crate::semantics::freshness::Exchanged;

impl Proxy {
    fn tunnel_place(&self, exchange: &Exchange) -> Result<TunnelPlace, Failure> {
        let most = exchange.running.site.limits.tunnels;
        TunnelPlace::take(&self.edge, most).ok_or_else(|| {
            Failure::new(FailureKind::ConnectionLimit, "limits.tunnels are open already")
        })
    }

    /// Fetches for this viewer alone. What is stored learns from it: a write makes old, a HEAD may
    /// confirm.
    pub(super) async fn pass(
        self: &Arc<Self>,
        exchange: &Exchange,
        asked: &CacheRequest<'_>,
        why: PassReason,
        mut body: Body,
    ) -> Result<ViewerResponse, Failure> {
        let place = match why {
            PassReason::Upgrade => Some(self.tunnel_place(exchange)?),
            _ => None,
        };
        let number = self.edge.invalidations.head();
        let unanswered = Unanswered::of(&self.edge.invalidation, asked);
        let came = match why {
            PassReason::Grpc => {
                Box::pin(self.call(exchange, asked, std::mem::take(&mut body))).await
            }
            _ => {
                let fetch = FetchRequest::of(exchange, asked, FetchKind::Pass);
                pin!(self.fetch_from_hops(&fetch, &mut body)).await
            }
        };
        // What no hop took of it is read no more.
        drop(body);
        let in_doubt = unanswered.ended(&came);
        if !in_doubt.is_empty() {
            Box::pin(self.written(exchange, asked, in_doubt)).await;
        }
        if asked.wants.method == MethodIntent::Head
            && came.as_ref().map_or(true, |reply| arrival::is_origin_failure(reply.status))
            && let Some(stored) = self.stand_in_for_head(asked)
        {
            let told = verdict(Outcome::Hit, Reason::StaleIfError);
            return self.open(asked, &stored, told, self.edge.clock.now());
        }
        let mut reply = came?;
        if let (Body::Tunnel(tunnel), Some(place)) = (&mut reply.body, place) {
            Tally::add(&self.edge.tally.tunnels);
            tunnel.held.push(Box::new(place));
        }
        let status = reply.status;
        let when = Exchanged { asked_at: reply.asked_at, arrived_at: reply.arrived_at };
        let matchers = unsafe_methods::invalidates(asked, status, &reply.fields);
        // Boxed, as all that most requests do not need.
        let is_unspread =
            !matchers.is_empty() && Box::pin(self.written(exchange, asked, matchers)).await;
        if let Some(keeping) = arrival::keeping_of_post(asked, status, &reply.fields, when) {
            let mut response = self
                .store_post_response(exchange, asked, keeping, reply, Reason::Pass(why))
                .await?;
            response.told.is_unspread = is_unspread;
            return Ok(response);
        }
        if asked.wants.method == MethodIntent::Head {
            if self.learn_from_head(asked, &reply, when, number) {
                // The tiers above would confirm what they have.
                drop(self.outdate(exchange, asked).await);
            }
            tell_as_of_get(asked, &mut reply, when);
        }
        let outcome = if status >= 400 { Outcome::Error } else { Outcome::Miss };
        let mut response =
            deliver::from_reply(asked.head(), reply, verdict(outcome, Reason::Pass(why)));
        response.told.is_unspread = is_unspread;
        Ok(response)
    }

    // What a GET would be answered with while the origin fails.
    fn stand_in_for_head(&self, asked: &CacheRequest<'_>) -> Option<Arc<Stored>> {
        let found = self.edge.store.find(asked.key);
        let stored = choose(asked.head().fields, &found)?;
        may_stand_in(stored, &self.edge.invalidations, self.edge.clock.now())
            .then(|| Arc::clone(stored))
    }

    // True if what is stored turns out to be old, which is said once.
    fn learn_from_head(
        &self,
        asked: &CacheRequest<'_>,
        reply: &Reply,
        when: Exchanged,
        number: InvalidationNumber,
    ) -> bool {
        let found = self.edge.store.find(asked.key);
        let Some(stored) = choose(asked.head().fields, &found) else { return false };
        if self.edge.invalidations.validity(stored) != Validity::Valid {
            return false;
        }
        match arrival::on_head(asked, stored, reply.status, &reply.fields, when) {
            HeadNews::Freshen(keeping, mut fields) => {
                arrival::strip_for_storage(asked, &mut fields);
                self.freshen(&stored.key, stored, keeping, &fields, number);
                false
            }
            HeadNews::Differs => !stored.flags.suspect.swap(true, Ordering::Relaxed),
            HeadNews::Nothing => false,
        }
    }
}

// Gives the answer to a HEAD the fields that a GET would find here.
fn tell_as_of_get(asked: &CacheRequest<'_>, reply: &mut Reply, when: Exchanged) {
    if let Some(coding) = arrival::coding_of_get(asked, reply.status, &reply.fields, when) {
        note_coding(&mut reply.fields, coding);
    } else if arrival::is_encoded_for_others(asked, reply.status, &reply.fields) {
        vary_on_coding(&mut reply.fields);
    }
}
