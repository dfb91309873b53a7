//! What code makes of a request that no viewer sent: `explain` tells it. No cache and no origin is
//! asked.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::exchange::Exchange;
use super::hit::Declined;
use super::stop::Stop;
use super::{Edge, Proxy, functions, lambdas};
use crate::body::Body;
use crate::clock::Clock;
use crate::distribution::functions::Attached;
use crate::distribution::origin::Origin;
use crate::distribution::site::Site;
use crate::lambda::{OnDemand, Settings};
use crate::message::failure::Failure;
use crate::message::request::ViewerRequest;
use crate::message::response::Reply;
use crate::message::verdict::Outcome;
use crate::origin::Upstream;
use crate::origin::request::OriginRequest;

/// How long workers that have a call may take to end.
const LEAVE: Duration = Duration::from_secs(1);

/// What code at a viewer's request made of it.
pub enum Rehearsed {
    /// It goes on as this one, to these origins where code chose some.
    Request { request: Arc<ViewerRequest>, origins: Vec<String> },
    /// It ends here, with this status, in X-Cache's word, and for this reason where code failed.
    Answer { status: u16, word: &'static str, why: Option<String> },
}

/// What a lambda at an origin's request made of it.
pub enum AtOrigin {
    /// It goes there as this one.
    Request { origin: Arc<Origin>, request: Box<OriginRequest> },
    /// It goes nowhere: the answer has this status, and this reason where code failed.
    Answer { status: u16, why: Option<String> },
}

/// Runs the function that stands at the viewer's request of the request's behavior; `None` if there
/// is none.
pub fn rehearse(site: &Arc<Site>, request: ViewerRequest) -> Option<Rehearsed> {
    let edge = Edge::new(Arc::clone(site), "explain".to_string(), Clock::system());
    let mut exchange = edge.begin(edge.running(), request, Declined::default()).ok()?;
    let hooks = exchange.chosen().1.hooks.as_deref()?;
    let Some(Attached::Function(at)) = hooks.viewer_request else { return None };
    let came = functions::request_on((&*edge, 0), &mut exchange, at);
    outcome(exchange, came)
}

fn outcome(mut exchange: Exchange, came: Result<(), Stop>) -> Option<Rehearsed> {
    let why = exchange.ran.take().and_then(|ran| ran.error);
    match came {
        Ok(()) => {
            let chosen = exchange.chosen_origins().map(|chosen| &chosen.members[..]);
            let origins = chosen.unwrap_or_default().iter().map(|one| one.id.clone()).collect();
            Some(Rehearsed::Request { request: exchange.request, origins })
        }
        Err(Stop::Made(response)) => {
            let (status, word) = (response.status, response.verdict.word());
            Some(Rehearsed::Answer { status, word, why })
        }
        Err(Stop::Refused(refusal)) => Some(Rehearsed::Answer {
            status: refusal.status(),
            word: Outcome::Error.word(),
            why: Some(refusal.words().to_string()),
        }),
        Err(Stop::Answered(_) | Stop::Failed(_)) => None,
    }
}

/// An edge whose lambdas run, in workers of its own.
pub struct Stage {
    core: Proxy,
}

impl Stage {
    /// Of a site.
    pub fn new(site: &Arc<Site>, settings: Settings) -> Self {
        let edge = Edge::new(Arc::clone(site), "explain".to_string(), Clock::system());
        edge.lambdas.get_or_init(|| OnDemand::new(settings)).follow(&site.lambdas);
        Self { core: Proxy { index: 0, edge, upstream: Arc::new(Nowhere) } }
    }

    /// Runs the lambda that stands at the viewer's request; `None` if there is none.
    pub async fn viewer_request(&self, request: ViewerRequest) -> Option<Rehearsed> {
        let edge = &self.core.edge;
        let mut exchange = edge.begin(edge.running(), request, Declined::default()).ok()?;
        let hooks = exchange.chosen().1.hooks.as_deref()?;
        let Some(Attached::Lambda { at, with_body }) = hooks.viewer_request else { return None };
        let (arrived, mut body) = (Arc::clone(&exchange.request), Body::Empty);
        let attached = (at, with_body);
        let came = lambdas::on_viewer_request(&self.core, &mut exchange, attached, &mut body).await;
        exchange.note_code_of(&arrived);
        outcome(exchange, came)
    }

    /// Runs the lambda that stands at the origin's request; `None` if there is none. `left` is what
    /// code at the viewer's made of the request, where it made another.
    pub async fn origin_request(
        &self,
        arrived: ViewerRequest,
        left: Option<Arc<ViewerRequest>>,
        origin: &Arc<Origin>,
        request: OriginRequest,
    ) -> Option<AtOrigin> {
        let edge = &self.core.edge;
        let mut exchange = edge.begin(edge.running(), arrived, Declined::default()).ok()?;
        if let Some(left) = left {
            exchange.request = left;
        }
        let hooks = exchange.chosen().1.hooks.as_deref()?;
        let Some(Attached::Lambda { at, with_body }) = hooks.origin_request else { return None };
        let attached = (at, with_body);
        let went =
            lambdas::on_origin_request(&self.core, &exchange, attached, origin, request).await;
        let why = exchange.request.notes.take_code().and_then(|ran| ran.error);
        Some(match went {
            Ok((origin, request)) => AtOrigin::Request { origin, request: Box::new(request) },
            Err(reply) => AtOrigin::Answer { status: reply.status, why },
        })
    }

    /// Ends the workers.
    pub async fn end(&self) {
        if let Some(lambdas) = self.core.edge.lambdas.get().and_then(OnDemand::get) {
            lambdas.drain(LEAVE).await;
        }
    }
}

/// No origin can be asked.
struct Nowhere;

impl Upstream for Nowhere {
    fn ask<'a>(
        &'a self,
        _: &'a Arc<Origin>,
        _: OriginRequest,
    ) -> Pin<Box<dyn Future<Output = Result<Reply, Failure>> + Send + 'a>> {
        Box::pin(std::future::ready(Err(Failure::internal("no origin is asked here"))))
    }
}
