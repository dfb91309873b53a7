//! Fetches for the store that no viewer has asked for: of what was changed a moment ago, so that
//! the next viewer finds it there.
//!
//! They go the way of a viewer's GET, behind the gate: what they bring is given to nobody here.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{Method, header};

use super::exchange::Exchange;
use super::hit::Declined;
use super::{Edge, Proxy};
use crate::cache::ask::{self, MethodIntent};
use crate::message::request::ViewerRequest;
use crate::message::verdict::Outcome;

/// What browsers accept; the answers of most viewers are kept under it.
const CODINGS: &str = "gzip, deflate, br, zstd";
/// Refills behind writes at a time, over all cores; beyond them what was written is fetched when it
/// is asked for.
const BEHIND_WRITES: usize = 64;
/// The most that one may take, body and all.
const PATIENCE: Duration = Duration::from_secs(300);

/// What became of a refill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refilled {
    /// It is in the store.
    Kept,
    /// It could not be had, or not be kept.
    Not,
}

impl Proxy {
    /// Fetches what a browser would be given for a URL, if the site has it.
    pub async fn refill(self: &Arc<Self>, url: &str) -> Refilled {
        let running = self.edge.running();
        let request = ViewerRequest::get(url)
            .with_field("accept-encoding", CODINGS)
            .with_arrival(self.edge.clock.now(), self.edge.invalidations.head());
        match self.edge.begin(running, request, Declined::default()) {
            Ok(exchange) => self.refill_within(&exchange).await,
            Err(_) => Refilled::Not,
        }
    }

    /// Fetches what was written, as the viewer who wrote it would be given it. Behind the viewer's
    /// back; not at all while very many are under way, nor where code changed the write: what it makes
    /// of a GET is known when there is one.
    pub(super) fn refill_behind(self: &Arc<Self>, exchange: &Exchange) {
        if exchange.shaped.is_some() {
            return;
        }
        let Some(place) = Place::take(&self.edge) else { return };
        let request = self.get_of(&exchange.request);
        let Some(exchange) = exchange.aside(request) else { return };
        let this = Arc::clone(self);
        tokio::spawn(Box::pin(async move {
            let _place = place;
            this.refill_within(&exchange).await;
        }));
    }

    async fn refill_within(self: &Arc<Self>, exchange: &Exchange) -> Refilled {
        let done = tokio::time::timeout(PATIENCE, Box::pin(self.refill_now(exchange))).await;
        done.unwrap_or(Refilled::Not)
    }

    async fn refill_now(self: &Arc<Self>, exchange: &Exchange) -> Refilled {
        let exchange = first_slice(exchange);
        if exchange.wants.method != MethodIntent::Get {
            return Refilled::Not;
        }
        let head = exchange.request.head();
        let mut key = Vec::new();
        ask::write_key(&mut key, &exchange.routed(&head));
        let asked = exchange.asked(&head, &key, None);
        let Ok(mut response) = self.answer_unasked(&exchange, &asked).await else {
            return Refilled::Not;
        };
        // Or a viewer was first.
        let is_kept = response.verdict.stored
            || response.status == 206
            || matches!(response.verdict.outcome, Outcome::Hit | Outcome::RefreshHit);
        // To its end, so that as many are under way as are said to be.
        while let Some(piece) = response.body.piece().await {
            if piece.is_err() {
                return Refilled::Not;
            }
        }
        if is_kept { Refilled::Kept } else { Refilled::Not }
    }

    // A GET by the viewer of a write, of what it wrote to. It follows no fetch of before.
    fn get_of(&self, own: &ViewerRequest) -> ViewerRequest {
        let of_the_write = [
            header::RANGE,
            header::IF_RANGE,
            header::IF_MATCH,
            header::IF_NONE_MATCH,
            header::IF_MODIFIED_SINCE,
            header::IF_UNMODIFIED_SINCE,
            header::CACHE_CONTROL,
            header::CONTENT_ENCODING,
            header::CONTENT_LENGTH,
            header::CONTENT_TYPE,
            header::EXPECT,
            header::TRANSFER_ENCODING,
        ];
        let mut fields = own.fields.clone();
        fields.retain(|name, _| !name.is_any(&of_the_write));
        let number = self.edge.invalidations.head();
        let mut request = own
            .arriving_at(number)
            .with_arrival(self.edge.clock.now(), number)
            .with_method(Method::GET)
            .with_fields(fields);
        // Interim responses are for requests that viewers know of.
        request.interim = None;
        request
    }
}

// Of an object that is kept in slices the first one is enough: nobody may ever ask for the others.
fn first_slice(exchange: &Exchange) -> Exchange {
    let (_, behavior) = exchange.chosen();
    if behavior.slice.is_none() {
        return exchange.clone();
    }
    let number = exchange.request.arrived_number;
    let request = exchange.request.arriving_at(number).with_field("range", "bytes=0-0");
    Exchange { request: Arc::new(request), ..exchange.clone() }
}

/// A place among the refills behind writes, given back when dropped.
struct Place(Arc<Edge>);

impl Place {
    fn take(edge: &Arc<Edge>) -> Option<Self> {
        let taken = edge.refills.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
            (now < BEHIND_WRITES).then_some(now + 1)
        });
        taken.is_ok().then(|| Self(Arc::clone(edge)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.refills.fetch_sub(1, Ordering::Relaxed);
    }
}
