//! What viewer-request code makes of a request that no viewer sent: `explain` tells it. No cache and no
//! origin is asked.

use std::sync::Arc;

use super::hit::Declined;
use super::stop::Stop;
use super::{Edge, functions};
use crate::clock::Clock;
use crate::distribution::functions::Attached;
use crate::distribution::site::Site;
use crate::message::request::ViewerRequest;
use crate::message::verdict::Outcome;

/// What code made of a request.
pub enum Rehearsed {
    /// It goes on as this one, to these origins where code chose some.
    Request { request: Arc<ViewerRequest>, origins: Vec<String> },
    /// It ends here, with this status, in X-Cache's word, and for this reason where code failed.
    Answer { status: u16, word: &'static str, why: Option<String> },
}

/// Runs the function that stands at the viewer's request of the request's behavior; `None` if there
/// is none.
pub fn rehearse(site: &Arc<Site>, request: ViewerRequest) -> Option<Rehearsed> {
    let edge = Edge::new(Arc::clone(site), "explain".to_string(), Clock::system());
    let mut exchange = edge.begin(edge.running(), request, Declined::default()).ok()?;
    let hooks = exchange.chosen().1.hooks.as_deref()?;
    let Some(Attached::Function(at)) = hooks.viewer_request else { return None };
    let came = functions::request_on((&*edge, 0), &mut exchange, at);
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
