//! Interim responses to a request over HTTP/1.1, which go out while it is served.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::io::AsyncWrite;

use super::write::{self, Watched};
use crate::listen::exchange_log::ExchangeRecord;
use crate::listen::message;
use crate::message::connection::Version;
use crate::message::interim::{Interim, TakesInterims};
use crate::message::request::ViewerRequest;
use crate::message::response::ViewerResponse;

/// Interim responses on their way to an HTTP/1.1 viewer.
pub struct Interims(Option<Arc<Waiting>>);

/// What a wait for the answer ended with.
enum Came {
    Answer,
    Interims,
    Reset,
}

/// Those that came and were not sent yet, and the waker of the task that sends them.
#[derive(Default)]
pub struct Waiting(parking_lot::Mutex<(VecDeque<Interim>, Option<Waker>)>);

impl TakesInterims for Waiting {
    fn take(&self, interim: Interim) {
        let mut waiting = self.0.lock();
        if waiting.0.len() < message::INTERIMS {
            waiting.0.push_back(interim);
            if let Some(waker) = waiting.1.take() {
                waker.wake();
            }
        }
    }
}

impl Interims {
    /// Has those of a request come together, in the place of the request before; HTTP/1.0 knows
    /// none (RFC 9110 §15.2).
    pub fn listen(request: &mut ViewerRequest, last: &mut Option<Arc<Waiting>>) -> Self {
        if request.version == Version::Http10 {
            return Self(None);
        }
        // The one before serves again, unless its request is still held by a fetch.
        match last.as_mut().and_then(Arc::get_mut) {
            Some(last) => *last = Waiting::default(),
            None => *last = Some(Arc::default()),
        }
        let waiting = last.clone();
        request.interim = waiting.clone().map(|waiting| waiting as _);
        Self(waiting)
    }

    /// Writes each as it comes, until the final answer is in its record; false once the viewer has
    /// reset the connection.
    pub async fn pass_on<W: AsyncWrite + Watched + Unpin>(
        &mut self,
        io: &mut W,
        out: &mut Vec<u8>,
        stall: Duration,
        mut serving: Pin<&mut impl Future<Output = ViewerResponse>>,
        record: &mut ExchangeRecord,
    ) -> bool {
        loop {
            let came = {
                let mut gone = pin!(write::reset(&*io));
                let next = std::future::poll_fn(|cx| {
                    if let Poll::Ready(response) = serving.as_mut().poll(cx) {
                        // To where it stays: it is large.
                        record.answered(response);
                        return Poll::Ready(Came::Answer);
                    }
                    if let Some(waiting) = &self.0 {
                        let mut waiting = waiting.0.lock();
                        if !waiting.0.is_empty() {
                            return Poll::Ready(Came::Interims);
                        }
                        match &mut waiting.1 {
                            // Most often it is this task's already.
                            Some(waker) => waker.clone_from(cx.waker()),
                            none => *none = Some(cx.waker().clone()),
                        }
                    }
                    gone.as_mut().poll(cx).map(|()| Came::Reset)
                });
                next.await
            };
            let interims = self.0.as_ref().map(|waiting| std::mem::take(&mut waiting.0.lock().0));
            for interim in interims.into_iter().flatten() {
                write::write_interim(out, &interim);
            }
            match came {
                Came::Answer => return true,
                Came::Reset => return false,
                Came::Interims => {}
            }
            let _ = write::flush_out(io, out, stall).await;
        }
    }
}
