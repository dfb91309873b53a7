//! One exchange: a request, the site it is answered under, and what was decided about it.
//!
//! It is made once, where a request was read. Serving borrows it; fills, slices and whatever else
//! outlives the viewer's task get a clone, which costs two counts of references; the record keeps
//! what it tells of.

use std::sync::Arc;

use bytes::Bytes;

use super::hit::{Decided, Declined};
use super::speak::Spoken;
use super::{Edge, Running};
use crate::access::{self, Route, Routed};
use crate::body::Body;
use crate::cache::ask::{self, CacheIntent, CacheRequest};
use crate::cache::invalidations;
use crate::deliver::error_response;
use crate::deliver::status_fields::tell;
use crate::distribution::behavior::Behavior;
use crate::distribution::compat::Compat;
use crate::distribution::origin::Origin;
use crate::distribution::site::Distribution;
use crate::fleet::protocol::Stamp;
use crate::invalidation::chain::Mark;
use crate::message::forwarding;
use crate::message::ran::Ran;
use crate::message::refusal::Refusal;
use crate::message::request::{RequestHead, ViewerRequest};
use crate::message::response::ViewerResponse;
use crate::message::verdict::{FunctionEnd, Outcome, Reason};
use crate::region;
use crate::semantics::ranges::Span;
use crate::store::memory::Found;

/// A request on its way to an answer, with everything that was decided about it.
#[derive(Clone)]
pub struct Exchange {
    /// What it is answered under, whatever is put in force meanwhile.
    pub running: Arc<Running>,
    pub request: Arc<ViewerRequest>,
    /// What the viewer's host and path chose: indexes into `running`'s site.
    pub route: Route,
    /// What it wants of the cache.
    pub wants: CacheIntent,
    /// The body of a POST that may be answered from the store, whole.
    pub content: Option<Bytes>,
    pub(super) from_edge: FromEdge,
    /// What the hit step found in memory under the request's key; serving takes it, and does not
    /// look again.
    pub(super) found: Option<Found>,
    /// What code at the edge made of it; `None` where none changed anything.
    pub(super) shaped: Option<Arc<Shaped>>,
    /// The code that ran for it, for its record.
    pub(super) ran: Option<Box<Ran>>,
    /// What viewer-request code said in the hit step, which has taken from the address's rate.
    pub(super) spoken: Option<Box<Spoken>>,
    /// The shared tier was asked before a fetch was begun, in vain: that asks it no more.
    pub(super) in_vain: Option<Arc<InVain>>,
}

/// Why the shared tier has nothing for a request.
pub(super) struct InVain {
    /// The member that it gets in Cache-Status (RFC 9211 §2).
    pub said: String,
    /// It is well, and has nothing that may be used: what is fetched takes that place.
    pub is_vacant: bool,
}

/// What viewer-request code made of a request, beside the request itself.
pub(super) struct Shaped {
    /// The request as the viewer sent it: logs tell of that one.
    pub viewer: Arc<ViewerRequest>,
    /// The origins that are asked in the place of the behavior's.
    pub origins: Option<ChosenOrigins>,
}

/// Origins that code chose, in the order in which they are asked.
pub(super) struct ChosenOrigins {
    pub members: Vec<Arc<Origin>>,
    /// The statuses that send a request on.
    pub failover: Vec<u16>,
}

/// Whether a trusted edge asks, and what it is told of the log that it follows: how far that was in
/// effect here before an answer was looked for. `None` inside: nothing, because its log is not
/// known here.
pub(super) type FromEdge = Option<Option<InEffect>>;

/// How far a log was in effect.
#[derive(Clone, Copy)]
pub(super) enum InEffect {
    /// The edge's own.
    OfEdge(Mark),
    /// That of the fleet which both are members of.
    OfFleet(Stamp),
}

impl std::fmt::Display for InEffect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OfEdge(mark) => mark.fmt(f),
            Self::OfFleet(stamp) => stamp.fmt(f),
        }
    }
}

/// An exchange, or a request that has no route.
pub type Begun = Result<Exchange, Box<Unrouted>>;

/// A request that found no distribution or behavior.
pub struct Unrouted {
    pub running: Arc<Running>,
    pub request: Arc<ViewerRequest>,
    refusal: Refusal,
    from_edge: FromEdge,
}

/// The request, routed or not.
pub fn request_of(begun: &Begun) -> &Arc<ViewerRequest> {
    match begun {
        Ok(exchange) => &exchange.request,
        Err(unrouted) => &unrouted.request,
    }
}

/// What the request is answered under, routed or not.
pub fn running_of(begun: &Begun) -> &Arc<Running> {
    match begun {
        Ok(exchange) => &exchange.running,
        Err(unrouted) => &unrouted.running,
    }
}

impl Edge {
    /// Takes up a request that was read: names its edge, if one asks, and finds its route, unless
    /// the hit step has found it.
    pub fn begin(
        &self,
        running: Arc<Running>,
        mut request: ViewerRequest,
        declined: Declined,
    ) -> Begun {
        let claim = access::prepare::prepare(&mut request, &running.site);
        let from_edge = claim.map(|claim| self.applied_of(&claim, &mut request));
        request.trace = self.trace(&running, &request);
        let request = request.shared();
        let decided = declined.0.unwrap_or_else(|| {
            let head = request.head();
            access::route(&running.site, &head, request.arrived_at).map(|routed| Decided {
                route: routed.route,
                wants: ask::wants(&routed, self.clock.wall(request.arrived_at)),
                found: None,
                spoken: None,
            })
        });
        match decided {
            Ok(Decided { route, wants, found, spoken }) => {
                let (content, shaped, ran, in_vain) = (None, None, None, None);
                Ok(Exchange {
                    running,
                    request,
                    route,
                    wants,
                    content,
                    from_edge,
                    found,
                    shaped,
                    ran,
                    spoken,
                    in_vain,
                })
            }
            Err(refusal) => Err(Box::new(Unrouted { running, request, refusal, from_edge })),
        }
    }

    // An edge that proves itself is told how far its log was in effect when it asked, never how far
    // it is when the answer leaves: a response found in between could be older. One whose log is
    // not known here is told nothing.
    fn applied_of(&self, claim: &str, request: &mut ViewerRequest) -> Option<InEffect> {
        let applied = match self.fleet.get() {
            Some(member) => Some(InEffect::OfFleet(member.stamp())),
            None => self.applied.of(claim, request.arrived_at).map(InEffect::OfEdge),
        };
        // After `applied`: it must not join a fetch older than what we claim.
        request.arrived_number = self.invalidations.head();
        applied
    }
}

impl Exchange {
    /// Notes the code that its request says ran, for its record.
    pub(super) fn note_code(&mut self) {
        let request = Arc::clone(&self.request);
        self.note_code_of(&request);
    }

    /// The same by the request that it had when that code ran.
    pub(super) fn note_code_of(&mut self, request: &ViewerRequest) {
        if let Some(ran) = request.notes.take_code() {
            self.ran.get_or_insert_default().join(*ran);
        }
    }

    /// What code at the origin failed with, where that is the answer: another may have stood in.
    pub(super) fn failed_for(&self, response: &ViewerResponse) -> Option<FunctionEnd> {
        let is_error = response.verdict.outcome == Outcome::Error && response.status >= 500;
        self.ran.as_ref().filter(|_| is_error).and_then(|ran| ran.end)
    }

    /// Says whether its distribution has a page of its own for the place of this answer. What code
    /// answered stays as it is, and no caller of gRPC has a use for a page.
    pub(super) fn has_page(&self, response: &ViewerResponse) -> bool {
        let (distribution, behavior) = self.chosen();
        distribution.error_response(behavior, response.status).is_some()
            && !self.is_call()
            && !matches!(response.verdict.reason, Reason::Function(end) if end.is_generated())
    }

    /// Another exchange on behalf of the same viewer, which has its own route; `None` if it has
    /// none.
    pub(super) fn aside(&self, request: ViewerRequest) -> Option<Self> {
        let (running, request) = (Arc::clone(&self.running), Arc::new(request));
        let (route, wants) = {
            let head = request.head();
            let routed = access::route(&running.site, &head, request.arrived_at).ok()?;
            (routed.route, ask::wants(&routed, request.arrived_at))
        };
        let (content, from_edge, found) = (None, self.from_edge, None);
        let (shaped, ran, spoken, in_vain) = (None, None, None, None);
        Some(Self {
            running,
            request,
            route,
            wants,
            content,
            from_edge,
            found,
            shaped,
            ran,
            spoken,
            in_vain,
        })
    }

    /// The distribution and the behavior that answer it.
    pub fn chosen(&self) -> (&Arc<Distribution>, &Behavior) {
        self.route.of(&self.running.site)
    }

    /// The origins that code chose for it.
    pub(super) fn chosen_origins(&self) -> Option<&ChosenOrigins> {
        self.shaped.as_ref()?.origins.as_ref()
    }

    /// How many origins may be asked for it.
    pub(super) fn members(&self) -> usize {
        let (distribution, behavior) = self.chosen();
        match self.chosen_origins() {
            Some(chosen) => chosen.members.len(),
            None => distribution.members(behavior.target).0.len(),
        }
    }

    /// One of them, in the order in which they are asked.
    pub(super) fn member(&self, at: usize) -> Option<&Arc<Origin>> {
        let (distribution, behavior) = self.chosen();
        let member = match self.chosen_origins() {
            Some(chosen) => chosen.members.get(at),
            None => distribution.origins.get(*distribution.members(behavior.target).0.get(at)?),
        };
        member.map(|origin| self.request.scheme.origin(origin))
    }

    /// By what an invalidation of the viewer's URI finds the answer that code had kept under
    /// another; empty where the two are the same.
    pub(super) fn viewer_uri_hashes(&self) -> Vec<u64> {
        let Some(shaped) = &self.shaped else { return Vec::new() };
        if *shaped.viewer.target == *self.request.target {
            return Vec::new();
        }
        let (behavior, head) = (self.chosen().1, shaped.viewer.head());
        let mut url = Vec::new();
        forwarding::write_keyed_url(&mut url, behavior, head.path, head.query);
        invalidations::viewer_uri_hashes(&invalidations::canonical(&url)).collect()
    }

    /// How its distribution names itself.
    pub fn compat(&self) -> &Compat {
        &self.chosen().0.compat
    }

    /// The exchange as the decisions see it, under a head of its request.
    pub fn routed<'e>(&'e self, head: &'e RequestHead<'e>) -> Routed<'e> {
        self.route.on(&self.running.site, head)
    }

    /// The same with the key that the cache is asked by.
    pub fn asked<'e>(
        &'e self,
        head: &'e RequestHead<'e>,
        key: &'e [u8],
        slice: Option<Span>,
    ) -> CacheRequest<'e> {
        CacheRequest { routed: self.routed(head), key, wants: self.wants, slice }
    }

    /// What is sent along with a request for the store.
    pub fn body(&self) -> Body {
        self.content.clone().map_or(Body::Empty, Body::Bytes)
    }
}

impl Unrouted {
    /// What the viewer is told.
    pub(super) fn refused(&self, node: &str) -> ViewerResponse {
        let mut refused =
            error_response::refusal(&self.refusal, &Compat::default(), self.request.id);
        tell(&mut refused, &Compat::default(), self.request.id);
        if self.from_edge.is_some() {
            region::name_node(node, &mut refused.fields);
        }
        refused
    }
}
