//! The trace of one request while it is under way: it names spans, times them, and hands them to
//! the queue as each of them ends.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use super::context::{
    Formats, Incoming, Place, SpanId, TRACEPARENT, TRACESTATE, TraceId, XRAY, write_traceparent,
    write_xray,
};
use super::queue::SpanQueue;
use super::span::{Span, SpanKind, Told};
use crate::semantics::fields::{By, FieldSection};
use crate::semantics::time::Timestamp;

/// Where spans go, and what the configuration says of them.
#[derive(Clone)]
pub struct Sink {
    pub queue: Arc<SpanQueue>,
    /// Spans that may wait.
    pub most: usize,
    /// Which fields tell others of a trace.
    pub formats: Formats,
}

/// The trace of a request, or of a fetch that no viewer waits for.
pub struct Trace {
    /// The span of the request as a whole, of which the others are parts.
    own: Place,
    /// The caller's span.
    parent: Option<SpanId>,
    is_sampled: bool,
    /// `tracestate` as it came.
    state: Option<Box<str>>,
    /// The request that a fetch behind a viewer's back was begun for.
    link: Option<Place>,
    sink: Sink,
    /// Nanoseconds since the epoch, and the same moment by the clock that never goes back.
    began_at: u64,
    began: Instant,
    /// What span ids are made of.
    seed: AtomicU64,
}

impl Trace {
    /// Goes on with the trace that a request says it belongs to, or begins one.
    pub fn begin(
        sink: Sink,
        incoming: Option<Incoming>,
        is_sampled: bool,
        at: Timestamp,
    ) -> Arc<Self> {
        let (id, seed) = fresh(at);
        let seed = AtomicU64::new(seed);
        let (trace, parent, state) = match incoming {
            Some(Incoming { trace, parent, state, .. }) => (trace, parent, state),
            None => (id, None, None),
        };
        let own = Place { trace, span: next_span(&seed) };
        Arc::new(Self {
            own,
            parent,
            is_sampled,
            state,
            link: None,
            sink,
            began_at: at.0.saturating_mul(1_000_000),
            began: Instant::now(),
            seed,
        })
    }

    /// A trace of its own for what is done behind this request's back, and which says so.
    #[must_use]
    pub fn behind(&self) -> Arc<Self> {
        let at = Timestamp(self.now() / 1_000_000);
        let (trace, seed) = fresh(at);
        let seed = AtomicU64::new(seed);
        Arc::new(Self {
            own: Place { trace, span: next_span(&seed) },
            parent: None,
            is_sampled: self.is_sampled,
            state: None,
            link: Some(self.own),
            sink: self.sink.clone(),
            began_at: self.now(),
            began: Instant::now(),
            seed,
        })
    }

    /// The span of the request as a whole.
    pub const fn own(&self) -> Place {
        self.own
    }

    /// Whether its spans are kept.
    pub const fn is_sampled(&self) -> bool {
        self.is_sampled
    }

    /// Nanoseconds since the epoch.
    fn now(&self) -> u64 {
        let nanos = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.began_at.saturating_add(nanos)
    }

    /// Begins a part of what is done for the request; `None` where no spans are kept.
    pub fn open(self: &Arc<Self>, name: &'static str, kind: SpanKind) -> Option<OpenSpan> {
        self.open_in(self.own.span, name, kind)
    }

    fn open_in(
        self: &Arc<Self>,
        parent: SpanId,
        name: &'static str,
        kind: SpanKind,
    ) -> Option<OpenSpan> {
        self.is_sampled.then(|| {
            let place = Place { trace: self.own.trace, span: next_span(&self.seed) };
            self.opened(place, Some(parent), name, kind)
        })
    }

    /// Begins the span of a fetch: a part of the request, or all that there is of a trace that
    /// began [`behind`](Self::behind) one.
    pub fn open_fetch(self: &Arc<Self>, name: &'static str) -> Option<OpenSpan> {
        let Some(link) = self.link else { return self.open(name, SpanKind::Internal) };
        self.is_sampled.then(|| {
            let mut span = self.opened(self.own, None, name, SpanKind::Internal);
            span.link(link);
            span
        })
    }

    fn opened(
        self: &Arc<Self>,
        place: Place,
        parent: Option<SpanId>,
        name: &'static str,
        kind: SpanKind,
    ) -> OpenSpan {
        let start = self.now();
        let span = Span {
            place,
            parent,
            name: Cow::Borrowed(name),
            kind,
            start,
            end: start,
            attributes: Vec::new(),
            link: None,
            failure: None,
        };
        OpenSpan { trace: Arc::clone(self), span: Some(Box::new(span)) }
    }

    /// Hands over the span of the request as a whole, which took so many microseconds.
    pub fn end(
        &self,
        name: String,
        micros: u64,
        attributes: Vec<(&'static str, Told)>,
        failure: Option<String>,
    ) {
        if !self.is_sampled {
            return;
        }
        let span = Span {
            place: self.own,
            parent: self.parent,
            name: Cow::Owned(name),
            kind: SpanKind::Server,
            start: self.began_at,
            end: self.began_at.saturating_add(micros.saturating_mul(1000)),
            attributes,
            link: None,
            failure: failure.map(Cow::Owned),
        };
        self.sink.queue.offer(span, self.sink.most);
    }

    /// Tells whoever is asked of the trace; whatever the viewer said of one is dropped. `asking` is
    /// the span of the call, where there is one.
    pub fn tell(&self, asking: Option<&OpenSpan>, fields: &mut FieldSection) {
        forget(fields);
        let place = asking.and_then(OpenSpan::place).unwrap_or(self.own);
        let Formats { w3c, xray } = self.sink.formats;
        if w3c {
            fields.append(
                TRACEPARENT,
                By(|out: &mut Vec<u8>| write_traceparent(out, place, self.is_sampled)),
            );
            if let Some(state) = &self.state {
                fields.push(TRACESTATE, state.as_bytes());
            }
        }
        if xray {
            fields.append(XRAY, By(|out: &mut Vec<u8>| write_xray(out, place, self.is_sampled)));
        }
    }
}

// Drops what a request says of a trace.
fn forget(fields: &mut FieldSection) {
    fields.retain(|name, _| {
        let is_ours = match name.octets().len() {
            10 => name == TRACESTATE,
            11 => name == TRACEPARENT,
            15 => name == XRAY,
            _ => false,
        };
        !is_ours
    });
}

// The id of a trace that begins here, whose first half word is the time as X-Ray wants it; and what
// its spans' ids are made of.
fn fresh(at: Timestamp) -> (TraceId, u64) {
    let mut random = [0; 20];
    if aws_lc_rs::rand::fill(&mut random).is_err() {
        // Without randomness ids are still ids, of the moment.
        random[..8].copy_from_slice(&at.0.to_le_bytes());
    }
    let mut id = [0; 16];
    let seconds = u32::try_from(at.secs()).unwrap_or(u32::MAX);
    id[..4].copy_from_slice(&seconds.to_be_bytes());
    id[4..].copy_from_slice(&random[..12]);
    // Never all zeros.
    if id == [0; 16] {
        id[15] = 1;
    }
    let mut seed = [0; 8];
    seed.copy_from_slice(&random[12..]);
    (TraceId(id), u64::from_le_bytes(seed))
}

// SplitMix64: every step gives another number.
fn next_span(seed: &AtomicU64) -> SpanId {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let state = seed.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
    let mut bits = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^= bits >> 31;
    SpanId(bits.max(1).to_be_bytes())
}

/// A span that was begun. It ends when it is dropped, whatever became of what it times.
pub struct OpenSpan {
    trace: Arc<Trace>,
    /// `None` once it was handed over.
    span: Option<Box<Span>>,
}

impl OpenSpan {
    /// Where it is, for others to point to.
    pub fn place(&self) -> Option<Place> {
        self.span.as_ref().map(|span| span.place)
    }

    /// Says one more thing of it.
    pub fn say(&mut self, key: &'static str, value: impl Into<Told>) {
        if let Some(span) = &mut self.span {
            span.attributes.push((key, value.into()));
        }
    }

    /// Points to a span of another request.
    pub fn link(&mut self, place: Place) {
        if let Some(span) = &mut self.span {
            span.link = Some(place);
        }
    }

    /// Says that it failed, and why.
    pub fn fail(&mut self, why: impl Into<Cow<'static, str>>) {
        if let Some(span) = &mut self.span {
            span.failure = Some(why.into());
        }
    }

    /// Of what is done for it in turn.
    pub fn within(&self) -> Option<Within> {
        self.place().map(|place| Within { trace: Arc::clone(&self.trace), span: place.span })
    }
}

impl Drop for OpenSpan {
    fn drop(&mut self) {
        if let Some(mut span) = self.span.take() {
            span.end = self.trace.now();
            self.trace.sink.queue.offer(*span, self.trace.sink.most);
        }
    }
}

/// A span whose parts are begun elsewhere.
#[derive(Clone)]
pub struct Within {
    trace: Arc<Trace>,
    span: SpanId,
}

impl Within {
    /// Begins a part of it.
    pub fn open(&self, name: &'static str, kind: SpanKind) -> Option<OpenSpan> {
        self.trace.open_in(self.span, name, kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::context::traceparent;

    const AT: Timestamp = Timestamp(1_800_000_000_000);

    fn sink(w3c: bool, xray: bool) -> Sink {
        Sink { queue: Arc::default(), most: 4, formats: Formats { w3c, xray } }
    }

    fn incoming() -> Incoming {
        let text = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        Incoming { state: Some("a=1".into()), ..traceparent(text).unwrap() }
    }

    #[tokio::test(start_paused = true)]
    async fn parts_point_to_the_request_and_end_when_they_are_dropped() {
        let sink = sink(true, false);
        let trace = Trace::begin(sink.clone(), Some(incoming()), true, AT);
        let mut origin = trace.open("origin", SpanKind::Client).unwrap();
        origin.say("server.address", "o.test");
        let connect = origin.within().unwrap().open("connect", SpanKind::Client).unwrap();
        tokio::time::advance(std::time::Duration::from_millis(3)).await;
        drop(connect);
        drop(origin);
        trace.end("GET *".into(), 5000, vec![("result", Told::from("Miss"))], None);
        let spans = sink.queue.take();
        let names: Vec<_> = spans.iter().map(|span| span.name.as_ref()).collect();
        assert_eq!(names, ["connect", "origin", "GET *"]);
        assert!(spans.iter().all(|span| span.place.trace == incoming().trace));
        assert_eq!(spans[0].parent, Some(spans[1].place.span));
        assert_eq!(spans[1].parent, Some(trace.own().span));
        assert_eq!(spans[2].parent, incoming().parent);
        assert_eq!(spans[0].end - spans[0].start, 3_000_000);
        assert_eq!(spans[2].end - spans[2].start, 5_000_000);
    }

    #[tokio::test]
    async fn what_is_not_sampled_makes_no_spans_and_is_passed_on() {
        let sink = sink(true, true);
        let trace = Trace::begin(sink.clone(), Some(incoming()), false, AT);
        assert!(trace.open("origin", SpanKind::Client).is_none());
        trace.end("GET *".into(), 1, Vec::new(), None);
        assert!(sink.queue.is_empty());
        let mut fields = FieldSection::new();
        fields.append("Traceparent", "of the viewer");
        fields.append("X-Amzn-Trace-Id", "of the viewer");
        trace.tell(None, &mut fields);
        let said = fields.get("traceparent").unwrap().to_str().unwrap().to_string();
        let read = traceparent(said.as_bytes()).unwrap();
        assert_eq!((read.trace, read.sampled), (incoming().trace, Some(false)));
        assert_eq!(read.parent, Some(trace.own().span));
        assert_eq!(fields.get("tracestate").unwrap().as_bytes(), b"a=1");
        let xray = fields.get("x-amzn-trace-id").unwrap().to_str().unwrap().to_string();
        assert!(xray.starts_with("Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent="), "{xray}");
        assert!(xray.ends_with(";Sampled=0"), "{xray}");
        assert_eq!(fields.len(), 3);
    }

    #[tokio::test]
    async fn a_full_queue_drops_and_counts() {
        let sink = sink(true, false);
        let trace = Trace::begin(sink.clone(), None, true, AT);
        for _ in 0..6 {
            drop(trace.open("origin", SpanKind::Client));
        }
        assert_eq!(sink.queue.len(), 4);
        assert_eq!(sink.queue.counts.dropped.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_fetch_behind_a_request_is_a_trace_of_its_own_that_points_to_it() {
        let sink = sink(true, false);
        let trace = Trace::begin(sink.clone(), None, true, AT);
        let behind = trace.behind();
        drop(behind.open_fetch("fill"));
        let spans = sink.queue.take();
        assert_eq!((spans[0].place, spans[0].parent), (behind.own(), None));
        assert_eq!(spans[0].link, Some(trace.own()));
        assert_ne!(behind.own().trace, trace.own().trace);
        // X-Ray wants the time in front.
        assert_eq!(trace.own().trace.0[..4], 1_800_000_000_u32.to_be_bytes());
    }
}
