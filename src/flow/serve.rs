//! The viewer's sentence: route, admit, ask, find, look up, and then hit, refresh, fetch or pass.
//!
//! Anything with a rule in it is a call into another room. A request is judged at the moment it arrived.

use std::sync::Arc;

use super::{Core, Running};
use crate::body::Body;
use crate::cache::arrival::{self, HeadNews};
use crate::cache::ask::{self, Asked, Wanted};
use crate::cache::invalidations::Validity;
use crate::cache::lookup::{Lookup, choose, lookup, may_stand_in};
use crate::cache::written;
use crate::deliver::{self, page};
use crate::exchange::connection::{Asker, Connection};
use crate::exchange::failure::{Failure, FailureKind};
use crate::exchange::key::LogNumber;
use crate::exchange::request::ViewerRequest;
use crate::exchange::response::{Reply, ViewerResponse};
use crate::exchange::stored::Stored;
use crate::exchange::verdict::{MissReason, Outcome, PassReason, Reason, Verdict};
use crate::gate;
use crate::origin::request::Asking;
use crate::region;
use crate::semantics::freshness::Exchanged;
use crate::semantics::hop_by_hop;
use crate::semantics::time::Timestamp;

/// What the steps of one request share.
pub(super) struct Errand {
    pub running: Arc<Running>,
    pub request: Arc<ViewerRequest>,
}

impl Core {
    /// Serves one request, whatever happens to it.
    pub async fn serve(self: &Arc<Self>, request: ViewerRequest, body: Body) -> ViewerResponse {
        let mut request = request;
        // A field that dies here must not be in the key either: it would choose an answer it had no part in.
        hop_by_hop::strip_listed(&mut request.fields);
        let running = self.edge.running();
        let from_edge = self.recognise_edge(&running, &mut request);
        let errand = Errand { running, request: Arc::new(request) };
        let head = errand.request.head();
        let site = &*errand.running.site;
        let routed = match gate::route(site, &head) {
            Ok(routed) => routed,
            Err(refusal) => return page::refusal(&refusal, "foreshore"),
        };
        let name = &routed.distribution.x_cache_name;
        let mut key = Vec::with_capacity(128);
        let mut response = match gate::admit(&routed, &self.edge.node) {
            Err(refusal) => page::refusal(&refusal, name),
            Ok(()) if body.length().is_some_and(|len| len > site.limits.request_body) => {
                page::refusal(&crate::exchange::refusal::Refusal::TooLarge, name)
            }
            Ok(()) => {
                ask::write_key(&mut key, &routed);
                let asked = Asked { routed, key: &key, wants: ask::wants(&routed) };
                match self.travel(&errand, &asked, body).await {
                    Ok(response) => response,
                    Err(failure) => page::failure(failure, name),
                }
            }
        };
        response.behavior = Some(routed.behavior.ordinal);
        if let Some(applied) = from_edge {
            response.fields.insert(region::APPLIED, applied.0.into());
        }
        response
    }

    // An edge that proves itself is told how far its log was in effect when it asked, never how far it is
    // when the answer leaves: a response found in between could be older.
    fn recognise_edge(&self, running: &Running, request: &mut ViewerRequest) -> Option<LogNumber> {
        let log = region::trusted_edge(&running.site, &request.head())?;
        let connection = Connection { asker: Asker::Edge, ..Connection::clone(&request.connection) };
        request.connection = Arc::new(connection);
        let applied = self.edge.applied.of(&log);
        // After `applied`: it must not join a fetch older than what we claim.
        request.arrived_number = self.edge.invalidations.head();
        Some(applied)
    }

    async fn travel(self: &Arc<Self>, errand: &Errand, asked: &Asked<'_>, body: Body) -> Result<ViewerResponse, Failure> {
        let now = errand.request.arrived_at;
        let found = self.edge.store.find(asked.key);
        match lookup(asked, &found, &self.edge.invalidations, now) {
            Lookup::Fresh(stored) => match self.open(asked, stored, verdict(Outcome::Hit, Reason::Fresh), now) {
                // It outgrew the store between being found and being opened.
                Err(_) => self.fetch(errand, asked, Asking::Fill, Reason::Miss(MissReason::Absent)).await,
                opened => opened,
            },
            Lookup::Stale(stored) => {
                self.refresh_behind(errand, asked, stored);
                self.open(asked, stored, verdict(Outcome::Hit, Reason::StaleWhileRevalidate), now)
            }
            Lookup::Revalidate(stored, _) if self.stands_in(stored, now) => {
                self.open(asked, stored, verdict(Outcome::Hit, Reason::StaleIfError), now)
            }
            Lookup::Revalidate(stored, why) => {
                self.fetch(errand, asked, Asking::Revalidate(Arc::clone(stored)), Reason::Revalidated(why)).await
            }
            Lookup::Miss(why) => self.fetch(errand, asked, Asking::Fill, Reason::Miss(why)).await,
            Lookup::Pass(why) => self.relay(errand, asked, why, body).await,
            Lookup::Unavailable => Err(Failure::new(FailureKind::NotStored, "only-if-cached, and nothing usable is stored")),
        }
    }

    /// Makes the answer from a stored response.
    pub(super) fn open(
        &self,
        asked: &Asked<'_>,
        stored: &Arc<Stored>,
        verdict: Verdict,
        now: Timestamp,
    ) -> Result<ViewerResponse, Failure> {
        stored.live.used();
        let name = &asked.routed.distribution.x_cache_name;
        deliver::from_stored(asked.head(), stored, verdict, name, now)
            .ok_or_else(|| Failure::new(FailureKind::Internal, "the stored response can no longer be read from its start"))
    }

    // The origin failed a moment ago: it is left in peace for the error caching minimum TTL.
    fn stands_in(&self, stored: &Stored, now: Timestamp) -> bool {
        now.0 < stored.live.stands_in_until.load(std::sync::atomic::Ordering::Relaxed)
            && may_stand_in(stored, &self.edge.invalidations, now)
    }

    /// Fetches for this viewer alone. What is stored learns from it: a write makes old, a HEAD may confirm.
    pub(super) async fn relay(
        self: &Arc<Self>,
        errand: &Errand,
        asked: &Asked<'_>,
        why: PassReason,
        body: Body,
    ) -> Result<ViewerResponse, Failure> {
        let number = self.edge.invalidations.head();
        let reply = self.ask_the_hops(errand, asked, &Asking::Pass, body).await?;
        let name = &asked.routed.distribution.x_cache_name;
        let status = reply.status;
        let when = Exchanged { asked_at: reply.asked_at, arrived_at: reply.arrived_at };
        let matchers = written::matchers(asked, status, &reply.fields);
        if !matchers.is_empty() {
            self.edge.written(asked.routed.distribution.id.clone(), matchers).await;
        }
        if let Some(keeping) = arrival::keeping_of_post(asked, status, &reply.fields, when) {
            return self.adopt(errand, asked, keeping, reply, Reason::Pass(why)).await;
        }
        if asked.wants.method == Wanted::Head {
            self.learn_from_head(asked, &reply, when, number);
        }
        let outcome = if status >= 400 { Outcome::Error } else { Outcome::Miss };
        Ok(deliver::from_reply(asked.head(), reply, verdict(outcome, Reason::Pass(why)), name))
    }

    fn learn_from_head(&self, asked: &Asked<'_>, reply: &Reply, when: Exchanged, number: LogNumber) {
        let found = self.edge.store.find(asked.key);
        let Some(stored) = choose(asked.head().fields, &found) else { return };
        if self.edge.invalidations.validity(stored) != Validity::Valid {
            return;
        }
        match arrival::on_head(asked, stored, reply.status, &reply.fields, when) {
            HeadNews::Freshen(keeping, mut fields) => {
                arrival::strip_for_storage(asked, &mut fields);
                self.freshen(&stored.key, stored, *keeping, &fields, number);
            }
            HeadNews::Differs => stored.live.suspect.store(true, std::sync::atomic::Ordering::Relaxed),
            HeadNews::Nothing => {}
        }
    }
}

/// A verdict without a collapse.
pub(super) const fn verdict(outcome: Outcome, reason: Reason) -> Verdict {
    deliver::no_cache(outcome, reason)
}
