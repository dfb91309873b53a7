//! Requests to origins over HTTP/2 (RFC 9113): one stream each, on a connection that others share.
//!
//! The sending of a body and the reading of its answer are polled side by side, as over HTTP/1.1.
//! An answer's body is read at the pace of its reader: the origin may send more only once what it
//! sent was taken. A request that the origin has not looked at is asked again, and so is one that
//! may be seen twice and whose connection died.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use ::h2::client::ResponseFuture;
use ::h2::{Reason, RecvStream};
use http::uri::Scheme;
use http::{Method, Request, Response};
use tokio::time::Sleep;

use super::connect::Stream;
use super::connection::{INTERIMS_MAX, pass_on};
use super::counts::OriginCounts;
use super::h2_body::{H2Body, Upload, is_called_off};
use super::h2_head;
use super::h2_pool::{Granted, H2Pool, Lease};
use super::patience::Patience;
use super::request::{OriginRequest, receive, spelled};
use super::request_writer::NotSent;
use crate::body::{Body, BodyError};
use crate::clock::Clock;
use crate::distribution::origin::Origin;
use crate::message::failure::{Failure, FailureKind};
use crate::message::interim::InterimSink;
use crate::message::response::{Reply, ReplyFrom};
use crate::semantics::fields::FieldSection;

/// How often a request is asked at most.
const TRIES: u32 = 3;

/// Characters of an origin's own words that are repeated in a log.
const WORDS_MAX: usize = 200;

/// What became of a request.
pub enum Asked {
    Answer(Reply),
    /// It is to go over HTTP/1.1, and over this connection, if there is one.
    Http1(OriginRequest, Option<Stream>),
}

/// Asks an origin and waits for the head of its answer.
pub async fn ask(
    pool: &Arc<H2Pool>,
    name: &Arc<str>,
    origin: &Arc<Origin>,
    mut request: OriginRequest,
    clock: &Clock,
) -> Result<Asked, Failure> {
    let asked_at = clock.now();
    let length = request.body.length();
    let is_repeatable = request.method.is_safe() && matches!(request.body, Body::Empty);
    // A body that is all there can be sent again.
    let held = match &request.body {
        Body::Bytes(octets) => Some(octets.clone()),
        _ => None,
    };
    let scheme = if pool.is_tls() { Scheme::HTTPS } else { Scheme::HTTP };
    let (mut tries, mut patience) = (0, None);
    loop {
        let target = spelled(&request.target);
        let (method, fields) = (&request.method, &request.fields);
        let Some(head) = h2_head::request(method, &target, fields, length, scheme.clone()) else {
            drop(target);
            return Ok(Asked::Http1(request, None));
        };
        drop(target);
        let lease = match pool.lease(name, origin).await? {
            Granted::Stream(lease) => lease,
            Granted::Http1(stream) => return Ok(Asked::Http1(request, stream)),
        };
        tries += 1;
        let is_fresh = lease.is_fresh();
        let patience = *patience.get_or_insert_with(|| Patience::begin(&origin.timeouts));
        let lost = match exchange(lease, head, &mut request, patience, pool.head_bytes()).await {
            Ok((status, mut fields, body)) => {
                let arrived_at = clock.now();
                receive(&mut fields);
                let from = ReplyFrom::Origin;
                return Ok(Asked::Answer(Reply {
                    status,
                    fields,
                    body,
                    asked_at,
                    arrived_at,
                    from,
                }));
            }
            Err(lost) => lost,
        };
        let can_send_again = !lost.has_taken || held.is_some();
        if lost.has_taken
            && let Some(held) = &held
        {
            request.body = Body::Bytes(held.clone());
        }
        match lost.how {
            Loss::WantsHttp1 if can_send_again && pool.is_tls() => {
                pool.prefer_http1(name);
                return Ok(Asked::Http1(request, None));
            }
            Loss::Unread if can_send_again && tries < TRIES => {}
            // As over HTTP/1.1: what died as we began to speak may have died before.
            Loss::Connection if is_repeatable && !is_fresh && tries < TRIES => {}
            _ => {
                let Failure { kind, detail } = lost.failure;
                return Err(Failure::new(kind, format!("origin {:?}: {detail}", origin.id)));
            }
        }
        OriginCounts::add(&pool.counts().again);
    }
}

/// An exchange that gave no answer.
struct Lost {
    failure: Failure,
    how: Loss,
    /// Whether anything of the request's body was taken.
    has_taken: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// The origin has not looked at the request (RFC 9113 §8.7).
    Unread,
    /// It answers this over HTTP/1.1 only. In clear text nothing says that it speaks that there too,
    /// and everything else would be asked over it as well.
    WantsHttp1,
    /// The connection ended, and not an octet of an answer had come.
    Connection,
    Final,
}

// One exchange: the answer's status, fields and body.
async fn exchange(
    mut lease: Lease,
    head: Request<()>,
    request: &mut OriginRequest,
    patience: Patience,
    head_bytes: usize,
) -> Result<(u16, FieldSection, Body), Lost> {
    let to_head = request.method == Method::HEAD;
    let ends = request.body.length() == Some(0);
    let opened = lease.open(head, ends);
    let (response, stream) = opened.map_err(|error| Lost::unsent(&error))?;
    let mut upload = Upload::new(stream, ends);
    let (came, is_silent) = {
        let mut waiting = Waiting {
            response,
            upload: &mut upload,
            body: &mut request.body,
            interim: request.interim.as_ref(),
            interims: 0,
            takes: true,
            patience,
            head_bytes,
        };
        let mut timer = pin!(tokio::time::sleep_until(patience.next()));
        let came = std::future::poll_fn(|cx| waiting.poll(timer.as_mut(), cx)).await;
        (came, waiting.interims == 0)
    };
    let response = match came {
        Ok(response) => response,
        Err(woke) => return Err(woke.lost(is_silent, upload.has_taken(), patience)),
    };
    let (parts, recv) = response.into_parts();
    let status = parts.status.as_u16();
    let (fields, length) = match h2_head::answer(&parts.headers, head_bytes) {
        Ok(read) => read,
        Err(why) => {
            return Err(Woke::Malformed(why).lost(false, upload.has_taken(), patience));
        }
    };
    let has_ended = recv.is_end_stream();
    if has_ended {
        lease.finish();
    }
    let body = if has_ended || to_head || matches!(status, 204 | 304) {
        Body::Empty
    } else {
        let sent = std::mem::take(&mut request.body);
        let body = H2Body::new(recv, upload, sent, lease, length, patience);
        Body::Wire(Box::new(body), length)
    };
    Ok((status, fields, body))
}

/// A request that waits for the head of its answer.
struct Waiting<'a> {
    response: ResponseFuture,
    upload: &'a mut Upload,
    body: &'a mut Body,
    interim: Option<&'a InterimSink>,
    interims: usize,
    /// Sending that failed is no answer: the origin may have refused the body and said why.
    takes: bool,
    patience: Patience,
    head_bytes: usize,
}

impl Waiting<'_> {
    fn poll(
        &mut self,
        mut timer: Pin<&mut Sleep>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<RecvStream>, Woke>> {
        if self.takes && !self.upload.is_done() {
            match self.upload.poll(self.body, cx) {
                Poll::Ready(Err(NotSent::Body(why))) => {
                    return Poll::Ready(Err(Woke::BodyBroke(why)));
                }
                Poll::Ready(Err(NotSent::Closed)) => self.takes = false,
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
            // The deadline begins anew with each piece of a request body that leaves.
            if self.upload.take_moved() {
                timer.as_mut().reset(self.patience.next());
            }
        }
        while let Poll::Ready(Some(interim)) = self.response.poll_informational(cx) {
            self.take_interim(&interim.map_err(Woke::Lost)?)?;
        }
        match Pin::new(&mut self.response).poll(cx) {
            Poll::Ready(came) => Poll::Ready(came.map_err(Woke::Lost)),
            Poll::Pending => timer.poll(cx).map(|()| Err(Woke::TooLate)),
        }
    }

    fn take_interim(&mut self, interim: &Response<()>) -> Result<(), Woke> {
        self.interims += 1;
        if self.interims > INTERIMS_MAX {
            return Err(Woke::Malformed("too many interim answers"));
        }
        match interim.status().as_u16() {
            // 100 is between us and the origin.
            100 => Ok(()),
            101 => Err(Woke::Malformed("a 101, which HTTP/2 does not have")),
            status => {
                let (fields, _) =
                    h2_head::answer(interim.headers(), self.head_bytes).map_err(Woke::Malformed)?;
                if let Some(sink) = self.interim {
                    pass_on(sink, status, fields);
                }
                Ok(())
            }
        }
    }
}

/// What came in the place of a head.
enum Woke {
    Lost(::h2::Error),
    BodyBroke(BodyError),
    Malformed(&'static str),
    TooLate,
}

impl Woke {
    fn lost(self, is_silent: bool, has_taken: bool, patience: Patience) -> Lost {
        let (kind, detail, how) = match self {
            Self::Lost(error) => {
                let how = match loss(&error) {
                    Loss::Connection if !is_silent => Loss::Final,
                    how => how,
                };
                (kind(&error), words(&error), how)
            }
            Self::BodyBroke(BodyError::TooLarge) => {
                (FailureKind::RequestTooLarge, BodyError::TooLarge.to_string(), Loss::Final)
            }
            Self::BodyBroke(why) => (FailureKind::RequestBroken, why.to_string(), Loss::Final),
            Self::Malformed(why) => {
                (FailureKind::ResponseMalformed, format!("the answer has {why}"), Loss::Final)
            }
            Self::TooLate => (FailureKind::ResponseTimeout, patience.said_of_head(), Loss::Final),
        };
        Lost { failure: Failure::new(kind, detail), how, has_taken }
    }
}

impl Lost {
    // Nothing left. The connection ended as it was chosen.
    fn unsent(error: &::h2::Error) -> Self {
        let is_over = error.is_io() || error.is_go_away();
        let how = if is_over { Loss::Unread } else { Loss::Final };
        Self { failure: Failure::new(kind(error), words(error)), how, has_taken: false }
    }
}

fn loss(error: &::h2::Error) -> Loss {
    let says = |reason| error.is_remote() && error.reason() == Some(reason);
    if says(Reason::HTTP_1_1_REQUIRED) {
        Loss::WantsHttp1
    } else if says(Reason::REFUSED_STREAM) || error.is_remote() && error.is_go_away() {
        // A stream hears of a GOAWAY only if that says that it was not looked at.
        Loss::Unread
    } else if error.is_io() || error.is_go_away() {
        Loss::Connection
    } else {
        Loss::Final
    }
}

fn kind(error: &::h2::Error) -> FailureKind {
    // What the library itself objects to is what the origin sent.
    if error.is_library() {
        FailureKind::ResponseMalformed
    } else if is_called_off(error) {
        FailureKind::Cancelled
    } else {
        FailureKind::ConnectionTerminated
    }
}

fn words(error: &::h2::Error) -> String {
    error.to_string().chars().take(WORDS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Errors of a peer cannot be made here; tests over sockets have them.
    #[test]
    fn what_is_said_of_a_loss_is_short_and_has_a_kind() {
        let error = ::h2::Error::from(Reason::INTERNAL_ERROR);
        assert_eq!((loss(&error), kind(&error)), (Loss::Final, FailureKind::ConnectionTerminated));
        assert!(words(&error).len() <= WORDS_MAX);
        let patience = Patience::of_pieces(std::time::Duration::from_secs(1));
        let lost = Woke::TooLate.lost(true, true, patience);
        assert_eq!((lost.failure.kind, lost.how), (FailureKind::ResponseTimeout, Loss::Final));
    }
}
