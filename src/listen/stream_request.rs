//! A request of an HTTP/2 or HTTP/3 stream that the hit step has left: an exchange, and its record.

use std::sync::Arc;

use http::Method;

use super::Worker;
use super::exchange_log::{ExchangeRecord, LoggedHead};
use crate::message::connection::Connection;
use crate::message::interim::InterimSink;
use crate::message::request::{Known, RequestHead, ViewerRequest};
use crate::proxy::Running;
use crate::proxy::exchange::Begun;
use crate::proxy::hit::Declined;
use crate::semantics::time::Timestamp;

/// What is to be served on a stream.
pub struct StreamRequest {
    pub begun: Begun,
    pub finish: Box<ExchangeRecord>,
    pub is_head: bool,
    /// It waits for `100 Continue` with its body.
    pub expects: bool,
}

impl StreamRequest {
    /// Of a head that came now; interim responses to it go to `interim`.
    pub fn begin(
        worker: &Arc<Worker>,
        (running, now): (&Arc<Running>, Timestamp),
        (head, connection): (&RequestHead<'_>, &Arc<Connection>),
        declined: Declined,
        interim: InterimSink,
    ) -> Self {
        let edge = &worker.core.edge;
        let (number, observes) = (edge.invalidations.head(), running.site.observes);
        let mut request = ViewerRequest::from_head(head, b"", connection, now, number, observes);
        request.interim = Some(interim);
        let is_head = request.method == Method::HEAD;
        let told = LoggedHead::of(head, worker);
        let begun = edge.begin(Arc::clone(running), request, declined);
        let finish = Box::new(ExchangeRecord::new(&begun, told, worker));
        Self { begun, finish, is_head, expects: head.known.has(Known::Expect) }
    }
}
