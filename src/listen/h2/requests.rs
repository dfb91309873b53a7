//! Header blocks become hits or streams (RFC 9113 §8.1).

use std::pin::pin;

use super::head::Purpose;
use super::hpack::block::HpackBlock;
use super::stream::{StreamIo, Tunnelling};
use super::*;
use crate::base::boxed::boxed;
use crate::listen::stream_request::StreamRequest;
use crate::listen::{message, tunnels};

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<'_, S> {
    pub(super) fn on_headers(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Fatal> {
        if head.stream.is_multiple_of(2) {
            return Err(Fatal(Code::Protocol, "HEADERS on a stream that is not a client's"));
        }
        let (piece, depends) = frame::header_piece(head, payload)
            .map_err(|code| Fatal(code, "a HEADERS frame out of shape"))?;
        if depends == Some(head.stream) {
            return Err(Fatal(Code::Protocol, "a stream that depends on itself"));
        }
        let ends_stream = head.has(flag::END_STREAM);
        if head.has(flag::END_HEADERS) {
            return self.on_block(head.stream, ends_stream, piece);
        }
        self.block = Some(Block {
            stream: head.stream,
            ends_stream,
            octets: piece.to_vec(),
            since: self.read_at,
        });
        self.look_soon();
        Ok(())
    }

    pub(super) fn on_continuation(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Fatal> {
        let Some(block) = &mut self.block else {
            return Err(Fatal(Code::Protocol, "CONTINUATION of nothing"));
        };
        block.octets.extend_from_slice(payload);
        // Coded octets are fewer than what they say, mostly; a block far beyond the limit is an
        // attack.
        if block.octets.len() > self.limits.head_bytes + frame::FRAME_MAX
            || payload.is_empty() && !head.has(flag::END_HEADERS)
        {
            return Err(Fatal(Code::EnhanceYourCalm, "a header block without end"));
        }
        if head.has(flag::END_HEADERS)
            && let Some(block) = self.block.take()
        {
            return self.on_block(block.stream, block.ends_stream, &block.octets);
        }
        Ok(())
    }

    pub(super) fn on_block(
        &mut self,
        id: u32,
        ends_stream: bool,
        block: &[u8],
    ) -> Result<(), Fatal> {
        self.scratch.list.clear(self.limits.head_bytes);
        self.decoder
            .decode(block, &mut self.scratch.list)
            .map_err(|bad| Fatal(Code::Compression, bad.0))?;
        if let Some(stream) = self.streams.get(&id) {
            return match stream.viewer_done {
                true => self.break_stream(id, Code::StreamClosed),
                false if !ends_stream || !head::are_trailers(&self.scratch.list) => {
                    self.break_stream(id, Code::Protocol)
                }
                false if stream.announced.is_some_and(|announced| announced != stream.got) => {
                    self.break_stream(id, Code::Protocol)
                }
                false => {
                    stream.shared.trail(head::trailers(&self.scratch.list));
                    self.viewer_ended(id);
                    Ok(())
                }
            };
        }
        if id <= self.highest {
            return if self.reset.contains(&id) {
                Ok(())
            } else {
                Err(Fatal(Code::StreamClosed, "HEADERS on a closed stream"))
            };
        }
        self.highest = id;
        if let Leaving::Last(_) = self.leaving {
            // On its way before the viewer heard of it: it may ask again elsewhere.
            self.reset_stream(id, Code::RefusedStream);
            return Ok(());
        }
        self.last = id;
        self.idle_frames = 0;
        if self.streams.len() >= self.limits.streams as usize {
            Gauges::add(&self.worker.gauges.at_limit);
            return self.break_stream(id, Code::RefusedStream);
        }
        self.on_request(id, ends_stream)
    }

    // The hit step, or a stream that is served.
    pub(super) fn on_request(&mut self, id: u32, ends_stream: bool) -> Result<(), Fatal> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let begun = self.begin(id, ends_stream, &mut scratch);
        scratch.cookies.clear();
        self.scratch = scratch;
        match begun {
            Ok(()) => Ok(()),
            Err(NoHead::Malformed) => {
                self.note_refused(Rule::Malformed);
                self.break_stream(id, Code::Protocol)
            }
            Err(NoHead::Refused(rule)) => {
                self.note_refused(rule);
                self.answer_refused(id, ends_stream, rule.status());
                Ok(())
            }
        }
    }

    pub(super) fn begin(
        &mut self,
        id: u32,
        ends_stream: bool,
        scratch: &mut Buffers,
    ) -> Result<(), NoHead> {
        if scratch.list.is_over_limit() {
            return Err(NoHead::Refused(Rule::LongHead));
        }
        let Buffers { list, cookies, key, .. } = scratch;
        let connection = Arc::clone(&self.connection);
        let our_key;
        let mut parts = Parts::default();
        parts.read(list, cookies)?;
        let purpose = parts.purpose(self.limits.tunnels)?;
        if purpose == Purpose::WebSocket {
            our_key = tunnels::key();
            parts = parts.into_upgrade(&our_key);
        }
        let method = parts.method()?;
        let mut head = parts.request(&method, &connection, &self.limits)?;
        head.id = self.worker.next_id();
        let announced = head::content_length(&head)?;
        if is_misannounced(purpose, announced, ends_stream) {
            return Err(NoHead::Malformed);
        }
        let edge = &self.worker.core.edge;
        let (now, running) = (edge.clock.now(), edge.running_cell().load());
        let mut declined = Declined::default();
        if ends_stream {
            match hit::hit(edge, &running, &head, key, now) {
                Ok(hit) => {
                    self.answer_hit(id, &hit, now);
                    match self.streams.get_mut(&id) {
                        None => record_hit(self.worker, &running, &head, &hit, now),
                        Some(stream) => {
                            let told = (&head, &connection);
                            let finish =
                                ExchangeRecord::of_hit(self.worker, &running, told, &hit, now);
                            stream.finish = Some(Box::new(finish));
                        }
                    }
                    return Ok(());
                }
                Err(why) => declined = why,
            }
        }
        let shared = Shared::new(id, Arc::clone(&self.ready));
        let (body, tunnel) = octets_of(purpose, &shared, announced, ends_stream);
        let StreamRequest { mut begun, finish, is_head, expects } = StreamRequest::begin(
            self.worker,
            (&running, now),
            (&head, &connection),
            declined,
            Arc::<Shared>::clone(&shared),
        );
        let is_call = begun.as_ref().is_ok_and(|exchange| exchange.wants.is_call());
        let core = Arc::clone(&self.worker.core);
        let serving = boxed(|| async move { pin!(core.serve(&mut begun, body)).await });
        let mut stream = self.new_stream(shared, Phase::Serving(serving));
        stream.viewer_done = ends_stream;
        stream.tunnel = tunnel;
        stream.announced = announced;
        stream.expects = expects && !ends_stream;
        stream.is_head = is_head;
        stream.is_call = is_call;
        stream.finish = Some(finish);
        self.add(id, stream);
        Ok(())
    }

    pub(super) fn new_stream(&self, shared: Arc<Shared>, phase: Phase) -> Stream {
        Stream::new(shared, phase, self.peer.window, i64::from(STREAM_WINDOW))
    }

    // Takes a stream up and has it worked on in this very poll.
    pub(super) fn add(&mut self, id: u32, stream: Stream) {
        stream.shared.queue();
        self.streams.insert(id, stream);
        self.look_soon();
    }

    pub(super) fn remove(&mut self, id: u32) -> Option<Stream> {
        let stream = self.streams.remove(&id)?;
        self.credit += stream.owed;
        self.idle_since = Instant::now();
        Some(stream)
    }

    // The block's fields are still in the list; it is written down as HTTP/1 would say it.
    pub(super) fn note_refused(&self, rule: Rule) {
        Gauges::add(&self.worker.gauges.bad_requests);
        let said = |wanted: &[u8]| {
            self.scratch
                .list
                .iter()
                .find(|(name, _)| *name == wanted)
                .map_or(&b"-"[..], |(_, value)| value)
        };
        let short = |value: &[u8]| value[..value.len().min(LINE_MAX)].to_vec();
        let line = [short(said(b":method")), short(said(b":path")), b"HTTP/2".to_vec()].join(&b' ');
        record_refused(self.worker, &self.connection, Version::Http2, rule, &line);
    }

    pub(super) fn answer_refused(&mut self, id: u32, ends_stream: bool, status: u16) {
        let is_head = self.scratch.list.asks_for_head();
        let start = self.begin_block(status);
        let text = message::write_refusal(status, &mut HpackBlock(&mut self.out));
        // With the fields that a GET would have, and without its content (RFC 9110 §9.3.2).
        let text = if is_head { Bytes::new() } else { Bytes::from(text) };
        frame::end_block(&mut self.out, start, id, if is_head { flag::END_STREAM } else { 0 });
        let shared = Shared::new(id, Arc::clone(&self.ready));
        let sending = Sending { left: Some(text.len() as u64), body: Body::Empty, piece: text };
        let mut stream = self.new_stream(shared, Phase::Sending(sending));
        stream.viewer_done = ends_stream;
        self.add(id, stream);
        if is_head {
            self.ended(id);
        }
    }
}

// Whether a head says a length that its stream cannot have: DATA of a tunnel is no content.
fn is_misannounced(purpose: Purpose, announced: Option<u64>, ends_stream: bool) -> bool {
    match purpose {
        Purpose::Exchange => ends_stream && announced.is_some_and(|len| len > 0),
        Purpose::WebSocket => announced.is_some(),
    }
}

// Who reads what the viewer sends on a stream.
fn octets_of(
    purpose: Purpose,
    shared: &Arc<Shared>,
    announced: Option<u64>,
    ends_stream: bool,
) -> (Body, Tunnelling) {
    let body = || StreamBody(Arc::clone(shared));
    match purpose {
        Purpose::WebSocket => {
            if ends_stream {
                shared.end(Ok(()));
            }
            (Body::Empty, Tunnelling::Asked(StreamIo::new(body())))
        }
        Purpose::Exchange if ends_stream => (Body::Empty, Tunnelling::No),
        Purpose::Exchange => (Body::Wire(Box::new(body()), announced), Tunnelling::No),
    }
}
