//! A stream that has become a tunnel (RFC 8441 §5): DATA both ways, until both sides have ended.

use super::stream::{StreamIo, TunnelBody, Tunnelling};
use super::*;
use crate::body::Tunnel;
use crate::body::tunnel::{TunnelEnd, carry};
use crate::listen::tunnels;
use crate::message::failure::{Failure, FailureKind};
use crate::semantics::fields::FieldSection;

/// An answer by which the origin has agreed to a WebSocket.
pub(super) struct Agreed {
    response: ViewerResponse,
    tunnel: Box<Tunnel>,
}

impl Agreed {
    /// Tells agreement from every other answer to the same request. What else says success would be
    /// taken for agreement by the viewer, and is made an error.
    pub(super) fn of(mut response: ViewerResponse) -> Result<Self, Box<ViewerResponse>> {
        match std::mem::take(&mut response.body) {
            Body::Tunnel(tunnel) => {
                // RFC 8441 §5: success is 200, and nothing is upgraded by a key.
                response.status = 200;
                response.fields.remove("sec-websocket-accept");
                Ok(Self { response, tunnel })
            }
            _ if (200..300).contains(&response.status) => Err(Box::new(not_agreed(response))),
            body => Err(Box::new(ViewerResponse { body, ..response })),
        }
    }
}

fn not_agreed(response: ViewerResponse) -> ViewerResponse {
    let detail = format!("{} is no answer to a WebSocket handshake", response.status);
    let mut fields = FieldSection::new();
    fields.append(&http::header::CONTENT_TYPE, "text/plain");
    ViewerResponse {
        status: 502,
        fields,
        body: Body::Bytes(Bytes::from_static(b"502 Bad Gateway\n")),
        failure: Some(Failure::new(FailureKind::ResponseMalformed, detail)),
        ..response
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<'_, S> {
    // The head of the answer; then octets go both ways. Those that the viewer has sent ahead are
    // the first.
    pub(super) fn open_tunnel(&mut self, id: u32, near: StreamIo, agreed: Agreed) {
        let Agreed { response, tunnel } = agreed;
        let start = self.begin_head(&response, false);
        frame::end_block(&mut self.out, start, id, 0);
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.tunnel = Tunnelling::Open(carrying(self.worker, &self.limits, near, *tunnel));
        let body = Body::Wire(Box::new(TunnelBody(Arc::clone(&stream.shared))), None);
        stream.phase = Phase::Sending(Sending { body, piece: Bytes::new(), left: None });
        if let Some(finish) = &mut stream.finish {
            finish.answered(response);
        }
        stream.shared.queue();
    }

    // Nothing is carried any more. What the viewer is still to get follows.
    pub(super) fn tunnel_ended(&mut self, id: u32, end: TunnelEnd) {
        self.look_soon();
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.tunnel = Tunnelling::No;
        stream.blocked_since = None;
        if let Some(finish) = &mut stream.finish {
            finish.sent.end = tunnels::sent(end);
        }
        match end {
            // RFC 8441 §5: as TCP would reset.
            TunnelEnd::Near | TunnelEnd::Far => self.reset_stream(id, Code::Cancel),
            _ if matches!(stream.phase, Phase::Answered) => self.ended(id),
            _ => {
                stream.shared.shut();
                self.queue_to_send(id);
            }
        }
    }
}

fn carrying(
    worker: &Arc<Worker>,
    limits: &Limits,
    mut near: StreamIo,
    mut tunnel: Tunnel,
) -> Pin<Box<dyn Future<Output = TunnelEnd> + Send>> {
    let terms = tunnels::terms(worker, limits.tunnel_idle);
    let counted = tunnels::Counted::new(worker);
    Box::pin(async move {
        // The whole of it, or a copy of what it counts would be all that comes along.
        let mut counted = counted;
        carry(&mut near, Vec::new(), &mut tunnel, terms, &mut counted.carried).await
    })
}
