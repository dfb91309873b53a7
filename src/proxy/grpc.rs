//! A call of gRPC: a pass whose origin must be asked over HTTP/2, which has the deadline that its
//! caller gives, and whose end says how it went, whatever happens to the origin meanwhile.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::time::Sleep;

use super::exchange::Exchange;
use super::fetch_request::FetchRequest;
use super::stop::Stop;
use super::{Proxy, Tally};
use crate::body::{Body, BodyError, Source};
use crate::cache::ask::CacheRequest;
use crate::deliver;
use crate::message::connection::Version;
use crate::message::failure::{Failure, FailureKind};
use crate::message::response::{Reply, ViewerResponse};
use crate::origin::request::FetchKind;
use crate::semantics::fields::FieldSection;
use crate::semantics::grpc;

type Deadline = Option<Pin<Box<Sleep>>>;

impl Exchange {
    /// Whether its viewer reads answers as gRPC has them: what went wrong is said so.
    pub(super) fn is_call(&self) -> bool {
        self.wants.is_call() && self.request.version == Version::Http2
    }
}

impl Proxy {
    /// Asks the origin on behalf of a call, for as long as its caller waits.
    pub(super) async fn call(
        self: &Arc<Self>,
        exchange: &Exchange,
        asked: &CacheRequest<'_>,
        mut body: Body,
    ) -> Result<Reply, Failure> {
        Tally::add(&self.edge.tally.grpc);
        let mut deadline: Deadline = asked
            .head()
            .fields
            .get_all("grpc-timeout")
            .next()
            .and_then(grpc::timeout)
            .map(|limit| Box::pin(tokio::time::sleep(limit)));
        let fetch = FetchRequest::of(exchange, asked, FetchKind::Pass);
        let fetching = self.fetch_from_hops(&fetch, &mut body);
        let mut reply = match &mut deadline {
            None => fetching.await?,
            Some(over) => tokio::select! {
                biased;
                came = fetching => came?,
                () = over.as_mut() => {
                    let why = "grpc-timeout is over, and no head has come";
                    return Err(Failure::new(FailureKind::Deadline, why));
                }
            },
        };
        // Trailers stand behind a body whose length is not known; that of an answer that is a head
        // alone says how the call went in it.
        if !matches!(reply.body, Body::Empty) {
            let body = std::mem::take(&mut reply.body).unmeasured();
            reply.fields.remove(&http::header::CONTENT_LENGTH);
            reply.body = Body::Wire(Box::new(Answer { body, deadline, end: None }), None);
        }
        Ok(reply)
    }
}

/// What a caller of gRPC is told in the place of an error page.
pub(super) fn stopped_call(exchange: &Exchange, stop: Stop) -> ViewerResponse {
    let (compat, id) = (exchange.compat(), exchange.request.id);
    match stop {
        Stop::Refused(refusal) => deliver::grpc::refusal(&refusal, compat, id),
        Stop::Failed(failure) => deliver::grpc::failure(failure, compat, id),
        Stop::Answered(response) | Stop::Made(response) => *response,
    }
}

/// The messages of an answer, which end with a status.
struct Answer {
    body: Body,
    deadline: Deadline,
    /// How it ended, where the origin did not say it.
    end: Option<FieldSection>,
}

impl Answer {
    // The exchange with the origin is given up here.
    fn end(&mut self, trailers: FieldSection) -> Poll<Option<Result<Bytes, BodyError>>> {
        self.body = Body::Empty;
        self.deadline = None;
        self.end = Some(trailers);
        Poll::Ready(None)
    }
}

impl Source for Answer {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if self.end.is_some() {
            return Poll::Ready(None);
        }
        let polled = self.body.poll_piece(cx);
        match polled {
            // An origin that calls it off has its own word for that, which is passed on.
            Poll::Ready(Some(Err(why))) if why != BodyError::Cancelled => {
                self.end(deliver::grpc::broken(why))
            }
            Poll::Pending
                if self.deadline.as_mut().is_some_and(|over| over.as_mut().poll(cx).is_ready()) =>
            {
                self.end(deliver::grpc::late())
            }
            other => other,
        }
    }

    fn take_trailers(&mut self) -> FieldSection {
        self.end.take().unwrap_or_else(|| self.body.take_trailers())
    }

    fn poll_beside(&mut self, cx: &mut Context<'_>) {
        self.body.poll_beside(cx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::time::Duration;

    struct Script(VecDeque<Result<Bytes, BodyError>>);

    impl Source for Script {
        fn poll_piece(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
            self.0.pop_front().map_or(Poll::Pending, |piece| Poll::Ready(Some(piece)))
        }
    }

    fn answer(pieces: Vec<Result<Bytes, BodyError>>, limit: Option<u64>) -> Body {
        let deadline =
            limit.map(|millis| Box::pin(tokio::time::sleep(Duration::from_millis(millis))));
        let body = Body::Wire(Box::new(Script(pieces.into())), None);
        Body::Wire(Box::new(Answer { body, deadline, end: None }), None)
    }

    fn status(body: &mut Body) -> String {
        let trailers = body.take_trailers();
        let status = trailers.get("grpc-status").unwrap();
        status.to_str().unwrap().to_string()
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_breaks_off_or_is_late_ends_with_a_status() {
        let piece = || Ok(Bytes::from_static(b"message"));
        for (last, limit, expected) in [
            (Some(BodyError::Truncated), None, "14"),
            (Some(BodyError::Stalled), Some(1000), "14"),
            (Some(BodyError::TooLarge), None, "8"),
            (None, Some(10), "4"),
        ] {
            let pieces = std::iter::once(piece()).chain(last.map(Err)).collect();
            let mut body = answer(pieces, limit);
            assert_eq!(body.piece().await, Some(piece()));
            assert_eq!(body.piece().await, None, "{last:?}");
            assert_eq!(body.piece().await, None);
            assert_eq!(status(&mut body), expected, "{last:?}");
        }
    }

    #[tokio::test]
    async fn an_origin_that_calls_off_is_heard() {
        let mut body = answer(vec![Err(BodyError::Cancelled)], None);
        assert_eq!(body.piece().await, Some(Err(BodyError::Cancelled)));
    }
}
