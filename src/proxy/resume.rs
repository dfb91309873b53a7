//! Bodies that break off are gone on with: the rest comes from the next hop, so that no viewer sees
//! the break.
//!
//! A strong validator and a known length say that the rest is of the same octets (RFC 9110 §13.1.5,
//! §14.2). Without them a body may only begin anew, before the viewer has been sent an octet of it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::{CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_RANGE, RANGE};

use super::exchange::Exchange;
use super::fetch_request::FetchRequest;
use super::{Proxy, Tally};
use crate::body::{Body, BodyError, Source};
use crate::message::key::CacheKey;
use crate::message::response::Reply;
use crate::origin::request::FetchKind;
use crate::semantics::fields::FieldSection;
use crate::semantics::lists::trim;
use crate::semantics::ranges::{ContentRange, Span, parse_content_range};

/// A body shows its first octet within this, or its head goes on without it.
const BEGINS_WITHIN: Duration = Duration::from_millis(500);

/// Octets of one representation.
#[derive(Clone, Debug)]
pub(super) struct Rest {
    /// Which of them are wanted.
    span: Span,
    /// How many there are.
    complete: u64,
    /// What they must be octets of.
    tag: Box<[u8]>,
}

impl Rest {
    /// What a reply brings, if another hop can send the rest of it too: of known extent, under a
    /// strong tag.
    pub fn of(reply: &Reply) -> Option<Self> {
        let tag = reply.fields.get(&ETAG).filter(|tag| tag.as_bytes().starts_with(b"\""))?;
        let tag = tag.as_bytes().into();
        let length = reply.body.length().filter(|length| *length > 0)?;
        let (span, complete) = match reply.status {
            200 => (Span { start: 0, end: length }, length),
            206 => {
                let part = content_range(&reply.fields).filter(|part| part.span.len() == length)?;
                // Of a whole of unknown length only its end could be taken.
                (part.span, part.complete.unwrap_or(part.span.end))
            }
            _ => return None,
        };
        Some(Self { span, complete, tag })
    }

    /// Has a request ask for this and nothing else.
    pub fn ask_for(&self, fields: &mut FieldSection) {
        fields.insert(&RANGE, format!("bytes={}-{}", self.span.start, self.span.end - 1));
        fields.insert(&IF_RANGE, self.tag.clone());
    }

    /// The body of a reply, if it is exactly this. Of a whole, what lies before it is passed over,
    /// and what lies behind it is not waited for.
    fn take(&self, reply: Reply) -> Option<Body> {
        if reply.fields.get(&ETAG).is_none_or(|tag| tag != self.tag[..]) {
            return None;
        }
        let length = reply.body.length();
        match reply.status {
            206 if content_range(&reply.fields)?.span == self.span => {
                Some(reply.body.held_to(self.span.len()))
            }
            200 if length == Some(self.complete) => {
                let cut = Cut {
                    body: reply.body,
                    before: self.span.start,
                    left: self.span.len(),
                    has_more: self.span.end < self.complete,
                };
                Some(Body::Wire(Box::new(cut), Some(self.span.len())))
            }
            _ => None,
        }
    }
}

fn content_range(fields: &FieldSection) -> Option<ContentRange> {
    parse_content_range(fields.get(&CONTENT_RANGE)?.as_bytes())
}

/// A part of a body.
struct Cut {
    body: Body,
    /// Octets before it.
    before: u64,
    /// Octets of it that have not come yet.
    left: u64,
    /// There are others behind it.
    has_more: bool,
}

impl Source for Cut {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            // Where none are behind it the true end is waited for: its connection serves again.
            if self.left == 0 && self.has_more {
                self.body = Body::Empty;
                return Poll::Ready(None);
            }
            match ready!(self.body.poll_piece(cx)) {
                Some(Ok(mut piece)) => {
                    let passed = self.before.min(piece.len() as u64);
                    self.before -= passed;
                    let mut piece = piece.split_off(passed as usize);
                    piece.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
                    self.left -= piece.len() as u64;
                    if !piece.is_empty() {
                        return Poll::Ready(Some(Ok(piece)));
                    }
                }
                other => return Poll::Ready(other),
            }
        }
    }
}

type Coming = Pin<Box<dyn Future<Output = Option<(Body, usize)>> + Send>>;

/// A body with others behind it that have the same octets.
struct Resumed {
    core: Arc<Proxy>,
    exchange: Exchange,
    key: CacheKey,
    body: Body,
    /// What has not come yet.
    rest: Rest,
    /// The member of the target that is asked next.
    next: usize,
    coming: Option<Coming>,
    /// Why the body broke off that is being gone on with.
    why: BodyError,
}

impl Source for Resumed {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            if let Some(coming) = &mut self.coming {
                let came = ready!(coming.as_mut().poll(cx));
                self.coming = None;
                let Some((body, asked)) = came else { return Poll::Ready(Some(Err(self.why))) };
                (self.body, self.next) = (body, asked + 1);
            }
            match ready!(self.body.poll_piece(cx)) {
                Some(Ok(piece)) => {
                    self.rest.span.start += piece.len() as u64;
                    return Poll::Ready(Some(Ok(piece)));
                }
                None => return Poll::Ready(None),
                Some(Err(why)) => {
                    self.why = why;
                    // Its connection is closed here.
                    self.body = Body::Empty;
                    let (core, exchange, key) =
                        (Arc::clone(&self.core), self.exchange.clone(), self.key.clone());
                    self.coming =
                        Some(Box::pin(core.go_on(exchange, key, self.rest.clone(), self.next)));
                }
            }
        }
    }
}

/// A body whose first piece was waited for.
struct Begun {
    first: Option<Bytes>,
    rest: Body,
}

impl Source for Begun {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(Ok(first))),
            None => self.rest.poll_piece(cx),
        }
    }
}

impl Proxy {
    /// Has a reply's body go on with the members of the target from `next` on, if it breaks off.
    /// Where it could not, it is held until it begins: `None` if it broke off before its first
    /// octet, and the next hop is to be asked as if this one had failed.
    pub(super) async fn resumed(
        self: &Arc<Self>,
        fetch: &FetchRequest<'_>,
        mut reply: Reply,
        next: usize,
    ) -> Option<Reply> {
        let FetchRequest { exchange, asked, .. } = *fetch;
        // Most replies are whole when their heads are.
        if next >= exchange.members()
            || *asked.head().method != Method::GET
            || !matches!(reply.body, Body::Wire(..))
        {
            return Some(reply);
        }
        let (rest, length) = (Rest::of(&reply), reply.body.length());
        let body = std::mem::take(&mut reply.body);
        reply.body = match rest {
            Some(rest) => {
                let (core, exchange, key) =
                    (Arc::clone(self), exchange.clone(), CacheKey::new(asked.key));
                let why = BodyError::Truncated;
                Body::Wire(
                    Box::new(Resumed { core, exchange, key, body, rest, next, coming: None, why }),
                    length,
                )
            }
            None if is_event_stream(&reply.fields) => body,
            None => begun(body, length).await?,
        };
        Some(reply)
    }

    // The rest from the first member that has it, and which one that was.
    async fn go_on(
        self: Arc<Self>,
        exchange: Exchange,
        key: CacheKey,
        rest: Rest,
        next: usize,
    ) -> Option<(Body, usize)> {
        let head = exchange.request.head();
        let asked = exchange.asked(&head, key.as_bytes(), None);
        let fetch = FetchRequest::of(&exchange, &asked, FetchKind::Fill);
        for at in next..exchange.members() {
            let Some(origin) = exchange.member(at) else { break };
            let Ok(reply) = self.ask_for_rest(&fetch, origin, &rest).await else { continue };
            if let Some(body) = rest.take(reply) {
                Tally::add(&self.edge.tally.bodies_resumed);
                return Some((body, at));
            }
        }
        None
    }
}

// Such a stream may begin with silence, and its head alone tells the viewer that it is open.
fn is_event_stream(fields: &FieldSection) -> bool {
    let kind = fields.get(&CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
    let essence = kind.split(|b| *b == b';').next().unwrap_or_default();
    trim(essence).eq_ignore_ascii_case(b"text/event-stream")
}

// Waits for the first piece of a body, but not for long: `None` if there is none where there should
// be.
async fn begun(mut body: Body, length: Option<u64>) -> Option<Body> {
    let first = match tokio::time::timeout(BEGINS_WITHIN, body.piece()).await {
        Ok(Some(Ok(first))) => Some(first),
        Ok(Some(Err(_))) => return None,
        Ok(None) => return Some(Body::Empty),
        Err(_) => None,
    };
    Some(Body::Wire(Box::new(Begun { first, rest: body }), length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::response::ReplyFrom;
    use crate::semantics::time::Timestamp;

    fn reply(status: u16, fields: &[(&'static str, &'static str)], body: &'static [u8]) -> Reply {
        let fields = fields.iter().map(|(name, value)| (*name, *value)).collect();
        let at = Timestamp(0);
        let body = Body::Bytes(Bytes::from_static(body));
        Reply { status, fields, body, asked_at: at, arrived_at: at, from: ReplyFrom::Origin }
    }

    #[test]
    fn a_head_is_not_held_for_an_event() {
        for (kind, want) in [
            ("text/event-stream", true),
            ("Text/Event-Stream ; charset=utf-8", true),
            ("text/event-streams", false),
            ("text/html", false),
        ] {
            let fields = FieldSection::from_iter([("content-type", kind)]);
            assert_eq!(is_event_stream(&fields), want, "{kind}");
        }
        assert!(!is_event_stream(&FieldSection::new()));
    }

    #[test]
    fn only_octets_that_others_have_too_can_be_gone_on_with() {
        for (status, fields, body, want) in [
            (200, &[("etag", "\"a\"")][..], &b"0123456789"[..], Some((0, 10))),
            (206, &[("etag", "\"a\""), ("content-range", "bytes 5-9/20")], b"56789", Some((5, 10))),
            (206, &[("etag", "\"a\""), ("content-range", "bytes 5-9/20")], b"567", None),
            (206, &[("etag", "\"a\"")], b"56789", None),
            (200, &[("etag", "W/\"a\"")], b"0123456789", None),
            (200, &[("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")], b"0123456789", None),
            (200, &[("etag", "\"a\"")], b"", None),
            (404, &[("etag", "\"a\"")], b"gone", None),
        ] {
            let rest = Rest::of(&reply(status, fields, body));
            assert_eq!(
                rest.map(|rest| (rest.span.start, rest.span.end)),
                want,
                "{status} {fields:?}"
            );
        }
    }

    #[tokio::test]
    async fn the_rest_is_exactly_the_rest_of_the_same_octets() {
        let rest =
            |start, end| Rest { span: Span { start, end }, complete: 10, tag: b"\"a\""[..].into() };
        for (status, fields, body, want) in [
            (
                206,
                &[("etag", "\"a\""), ("content-range", "bytes 4-9/10")][..],
                &b"456789"[..],
                Some(&b"456789"[..]),
            ),
            (200, &[("etag", "\"a\"")], b"0123456789", Some(b"456789")),
            (200, &[("etag", "\"a\"")], b"01234567890", None),
            (200, &[("etag", "\"b\"")], b"0123456789", None),
            (206, &[("etag", "\"b\""), ("content-range", "bytes 4-9/10")], b"456789", None),
            (206, &[("etag", "\"a\""), ("content-range", "bytes 3-9/10")], b"3456789", None),
            (206, &[("content-range", "bytes 4-9/10")], b"456789", None),
            (503, &[("etag", "\"a\"")], b"0123456789", None),
        ] {
            let mut got = None;
            if let Some(mut body) = rest(4, 10).take(reply(status, fields, body)) {
                let all = got.get_or_insert_with(Vec::new);
                while let Some(Ok(piece)) = body.piece().await {
                    all.extend_from_slice(&piece);
                }
            }
            assert_eq!(got.as_deref(), want, "{status} {fields:?}");
        }
        // Of a part that ends before the whole does.
        for (status, fields, body, want) in [
            (
                206,
                &[("etag", "\"a\""), ("content-range", "bytes 4-7/10")][..],
                &b"4567"[..],
                Some(&b"4567"[..]),
            ),
            (200, &[("etag", "\"a\"")], b"0123456789", Some(b"4567")),
            (200, &[("etag", "\"a\"")], b"01234567", None),
            (200, &[("etag", "\"b\"")], b"0123456789", None),
            (206, &[("etag", "\"a\""), ("content-range", "bytes 4-9/10")], b"456789", None),
        ] {
            let taken = rest(4, 8).take(reply(status, fields, body));
            assert_eq!(taken.is_some(), want.is_some(), "{status} {fields:?}");
            let Some(mut body) = taken else { continue };
            let mut got = Vec::new();
            while let Some(piece) = body.piece().await {
                got.extend_from_slice(&piece.unwrap());
            }
            assert_eq!(Some(&got[..]), want, "{status} {fields:?}");
        }
    }
}
