//! Which trace a request belongs to, and whether its spans are kept.

use std::sync::Arc;

use super::{Edge, Running};
use crate::distribution::traces::{Traces, WHOLE};
use crate::message::connection::Asker;
use crate::message::request::{RequestHead, ViewerRequest};
use crate::semantics::time::Timestamp;
use crate::trace::context::{
    Incoming, TRACEPARENT, TRACESTATE, XRAY, traceparent, tracestate, xray,
};
use crate::trace::live::{Sink, Trace};

impl Edge {
    /// The trace of a hit, where its spans are kept.
    #[inline]
    pub fn trace_hit(
        &self,
        running: &Running,
        head: &RequestHead<'_>,
        at: Timestamp,
    ) -> Option<Arc<Trace>> {
        let settings = running.site.traces.as_ref()?;
        let (incoming, is_sampled) = decide(settings, head);
        is_sampled.then(|| self.begin_trace(settings, incoming, true, at))
    }

    /// The trace of a request that is served: kept or not, origins and parents are told of it.
    pub(super) fn trace(&self, running: &Running, request: &ViewerRequest) -> Option<Arc<Trace>> {
        let settings = running.site.traces.as_ref()?;
        let (incoming, is_sampled) = decide(settings, &request.head());
        Some(self.begin_trace(settings, incoming, is_sampled, request.arrived_at))
    }

    fn begin_trace(
        &self,
        settings: &Traces,
        incoming: Option<Incoming>,
        is_sampled: bool,
        at: Timestamp,
    ) -> Arc<Trace> {
        let sink = Sink {
            queue: Arc::clone(&self.spans),
            most: settings.queue,
            formats: settings.formats,
        };
        Trace::begin(sink, incoming, is_sampled, at)
    }
}

// What a trusted caller says, and whether spans are kept: as that caller has decided, or else by
// the rate.
fn decide(settings: &Traces, head: &RequestHead<'_>) -> (Option<Incoming>, bool) {
    let incoming = if is_trusted(settings, head) { said(head) } else { None };
    let decided = incoming.as_ref().and_then(|incoming| incoming.sampled);
    let by_rate = || head.id.sample(u64::from(WHOLE)) < u64::from(settings.rate);
    (incoming, decided.unwrap_or_else(by_rate))
}

fn is_trusted(settings: &Traces, head: &RequestHead<'_>) -> bool {
    let peer = head.connection.peer.ip();
    head.connection.asker == Asker::Edge
        || settings.trusted.iter().any(|network| network.contains(peer))
}

// W3C's fields come first: what is on the way in front of us may know those alone, and pass an
// older X-Amzn-Trace-Id on.
fn said(head: &RequestHead<'_>) -> Option<Incoming> {
    let mut parents = head.fields.get_all(TRACEPARENT);
    // More than one is as good as none.
    let one = match (parents.next(), parents.next()) {
        (Some(one), None) => traceparent(one),
        _ => None,
    };
    match one {
        Some(incoming) => {
            Some(Incoming { state: tracestate(head.fields.get_all(TRACESTATE)), ..incoming })
        }
        None => xray(head.fields.get_all(XRAY).next()?),
    }
}
