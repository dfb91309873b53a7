//! Request streams become hits or requests that are served (RFC 9114 §4.1).

use std::pin::pin;

use super::answers::give_hit;
use super::frame::Piece;
use super::qpack::block::QpackBlock;
use super::qpack::decode::decode;
use super::*;
use crate::base::boxed::boxed;
use crate::listen::stream_request::StreamRequest;

impl Session {
    pub(super) fn on_new_request(
        &mut self,
        id: StreamId,
        scratch: &mut Buffers,
    ) -> Result<(), Fatal> {
        let is_refused = match self.leaving {
            Leaving::From(first) => id.index() >= first,
            Leaving::No | Leaving::Said(_) => false,
        };
        let Some(index) = index_of(id).filter(|_| !is_refused) else {
            // On its way before the viewer heard of it: it may ask again elsewhere.
            self.reset_halves(id, Code::RequestRejected);
            return Ok(());
        };
        self.answered = self.answered.max(id.index() + 1);
        self.read_request(index, scratch)
    }

    // Reads what has come of a request, as long as serving has room for it.
    pub(super) fn read_request(&mut self, index: u32, scratch: &mut Buffers) -> Result<(), Fatal> {
        loop {
            let request = self.streams.get_mut(&index);
            if request.as_ref().is_some_and(|request| request.is_full(OWED, WASTE)) {
                return Ok(());
            }
            let (mut frames, since) = match (request, self.heads.remove(&index)) {
                (Some(request), _) => (std::mem::take(&mut request.frames), self.now),
                (None, Some(heading)) => (heading.frames, heading.since),
                (None, None) => (Frames::default(), self.now),
            };
            let taken = self.take(stream_of(index));
            let end = taken.end;
            self.read_pieces(index, &mut frames, &taken, scratch)?;
            match end {
                TakenEnd::Gone => return Ok(()),
                TakenEnd::Reset => {
                    let is_served = self.streams.contains_key(&index);
                    self.viewer_left(index)?;
                    return if is_served { Ok(()) } else { self.count_reset() };
                }
                TakenEnd::Fin => return self.on_end(index, &frames),
                TakenEnd::Open | TakenEnd::More => {}
            }
            if let Some(request) = self.streams.get_mut(&index) {
                request.frames = frames;
            } else if frames.stage == Stage::Head {
                self.heads.insert(index, Heading { frames, since });
                self.look_soon();
            } else {
                // It was answered or reset, and nothing more of it is read.
                return Ok(());
            }
            if end == TakenEnd::Open {
                return Ok(());
            }
        }
    }

    fn read_pieces(
        &mut self,
        index: u32,
        frames: &mut Frames,
        taken: &Taken,
        scratch: &mut Buffers,
    ) -> Result<(), Fatal> {
        let most = self.limits.head_bytes as u64 + SECTION_MORE;
        let mut left = taken.pieces.len();
        for piece in &taken.pieces {
            left -= 1;
            let mut input = &piece[..];
            while let Some(piece) = frames.next(&mut input, most)? {
                let has_ended = taken.end == TakenEnd::Fin && left == 0 && input.is_empty();
                let ends = has_ended && frames.is_between();
                match piece {
                    Piece::Data(data) => self.on_data(index, data, ends)?,
                    Piece::Fields(section) if frames.stage == Stage::Body => {
                        self.on_head(index, &section, ends, scratch)?;
                    }
                    Piece::Fields(section) => self.on_trailers(index, &section, scratch)?,
                }
            }
            self.count_idle(std::mem::take(&mut frames.idle))?;
        }
        Ok(())
    }

    // The viewer has said all it has to say on a stream.
    fn on_end(&mut self, index: u32, frames: &Frames) -> Result<(), Fatal> {
        if !frames.is_between() {
            return Err(Fatal(Code::Frame, "a stream that ends within a frame"));
        }
        if frames.stage == Stage::Head {
            return self.break_stream(index, Code::RequestIncomplete);
        }
        let Some(request) = self.streams.get(&index) else { return Ok(()) };
        if !request.viewer_done && request.announced.is_some_and(|len| len != request.got) {
            return self.break_stream(index, Code::Message);
        }
        self.viewer_ended(index);
        Ok(())
    }

    fn viewer_ended(&mut self, index: u32) {
        let Some(request) = self.streams.get_mut(&index) else { return };
        request.viewer_done = true;
        request.shared.end(Ok(()));
        if matches!(request.phase, Phase::Answered) {
            self.remove(index);
        }
    }

    fn on_data(&mut self, index: u32, data: &[u8], ends: bool) -> Result<(), Fatal> {
        if !data.is_empty() {
            self.idle_frames = 0;
        }
        // What was answered or reset is stepped over.
        let Some(request) = self.streams.get_mut(&index) else { return Ok(()) };
        request.got += data.len() as u64;
        if let Some(finish) = &mut request.finish {
            finish.received = request.got;
        }
        let is_wrong = request
            .announced
            .is_some_and(|announced| request.got > announced || (ends && request.got < announced));
        if is_wrong {
            return self.break_stream(index, Code::Message);
        }
        if request.got > self.limits.request_body {
            request.shared.end(Err(BodyError::TooLarge));
        }
        if request.shared.push(data) {
            request.owed += data.len();
            return Ok(());
        }
        // The viewer may wait for the answer; behind that nothing is read for long.
        request.is_wasted = true;
        if request.got > WASTE && matches!(request.phase, Phase::Answered) {
            self.stop(index);
        }
        Ok(())
    }

    fn on_trailers(
        &mut self,
        index: u32,
        section: &[u8],
        scratch: &mut Buffers,
    ) -> Result<(), Fatal> {
        self.decode(section, scratch)?;
        let Some(request) = self.streams.get(&index) else { return Ok(()) };
        if !head::are_trailers(&scratch.list) {
            return self.break_stream(index, Code::Message);
        }
        request.shared.trail(head::trailers(&scratch.list));
        Ok(())
    }

    fn decode(&self, section: &[u8], scratch: &mut Buffers) -> Result<(), Fatal> {
        scratch.list.clear(self.limits.head_bytes);
        decode(section, &mut scratch.list).map_err(|bad| Fatal(Code::DecompressionFailed, bad.0))
    }

    // The hit step, or a request that is served.
    fn on_head(
        &mut self,
        index: u32,
        section: &[u8],
        ends: bool,
        scratch: &mut Buffers,
    ) -> Result<(), Fatal> {
        self.decode(section, scratch)?;
        self.idle_frames = 0;
        self.follow_viewer();
        let begun = self.begin(index, ends, scratch);
        scratch.cookies.clear();
        match begun {
            Ok(()) => Ok(()),
            Err(NoHead::Malformed) => {
                self.note_refused(Rule::Malformed, scratch);
                self.break_stream(index, Code::Message)
            }
            Err(NoHead::Refused(rule)) => {
                self.note_refused(rule, scratch);
                self.answer_refused(index, ends, rule.status(), scratch);
                Ok(())
            }
        }
    }

    // A viewer may have another port by now. Requests are judged by the address that the handshake
    // proved: QUIC tells a new one with the first packet that has it, before it is proved (RFC 9000
    // §9.3), and a viewer could write any address into that packet.
    fn follow_viewer(&mut self) {
        let peer = self.quic.remote_address();
        if self.connection.peer != peer && self.connection.peer.ip() == peer.ip() {
            let mut connection = (*self.connection).clone();
            connection.peer = peer;
            self.connection = Arc::new(connection);
        }
    }

    fn begin(&mut self, index: u32, ends: bool, scratch: &mut Buffers) -> Result<(), NoHead> {
        match self.judge(index, ends, scratch)? {
            Begun::Answered => self.answered_whole(),
            Begun::TakenUp => self.look_soon(),
            Begun::Gone => {}
            Begun::Broken => self.reset_stream(index, Code::Internal),
        }
        Ok(())
    }

    fn judge(&mut self, index: u32, ends: bool, scratch: &mut Buffers) -> Result<Begun, NoHead> {
        if scratch.list.is_over_limit() {
            return Err(NoHead::Refused(Rule::LongHead));
        }
        let Buffers { list, cookies, key, out, .. } = scratch;
        let (worker, connection) = (&self.worker, &self.connection);
        let mut parts = Parts::default();
        parts.read(list, cookies)?;
        // No tunnels: extended CONNECT is not offered (RFC 9220 §3).
        if parts.purpose(0)? != Purpose::Exchange {
            return Err(NoHead::Malformed);
        }
        let method = parts.method()?;
        let mut head = parts.request(&method, connection, &self.limits)?;
        head.version = Version::Http3;
        head.id = worker.next_id();
        let announced = head::content_length(&head)?;
        if ends && announced.is_some_and(|len| len > 0) {
            return Err(NoHead::Malformed);
        }
        let edge = &worker.core.edge;
        let now = *self.read_at.get_or_insert_with(|| edge.clock.now());
        let running = edge.running_cell().load();
        let mut declined = Declined::default();
        if ends {
            match hit::hit(edge, &running, &head, key, now) {
                Ok(hit) => {
                    let given = give_hit(&mut self.quic, index, &hit, now, out);
                    if let Ok(Some(unsent)) = given {
                        let told = (&head, connection);
                        let finish = ExchangeRecord::of_hit(worker, &running, told, &hit, now);
                        let shared = Shared::new(index, Arc::clone(&self.ready));
                        shared.queue();
                        self.streams.insert(index, unsent.into_request(shared, finish));
                        return Ok(Begun::TakenUp);
                    }
                    record_hit(worker, &running, &head, &hit, now);
                    return Ok(given.err().unwrap_or(Begun::Answered));
                }
                Err(why) => declined = why,
            }
        }
        let shared = Shared::new(index, Arc::clone(&self.ready));
        let body = match ends {
            true => Body::Empty,
            false => Body::Wire(Box::new(StreamBody(Arc::clone(&shared))), announced),
        };
        let StreamRequest { mut begun, finish, is_head, expects } = StreamRequest::begin(
            worker,
            (&running, now),
            (&head, connection),
            declined,
            Arc::<Shared>::clone(&shared),
        );
        let core = Arc::clone(&worker.core);
        let serving = boxed(|| async move { pin!(core.serve(&mut begun, body)).await });
        let mut stream = Request::new(shared, Phase::Serving(serving));
        stream.viewer_done = ends;
        stream.announced = announced;
        stream.expects = expects && !ends;
        stream.is_head = is_head;
        stream.finish = Some(finish);
        stream.shared.queue();
        self.streams.insert(index, stream);
        Ok(Begun::TakenUp)
    }

    // Takes a request up and has it worked on in this very pass.
    pub(super) fn add(&mut self, index: u32, request: Request) {
        request.shared.queue();
        self.streams.insert(index, request);
        self.look_soon();
    }

    pub(super) fn remove(&mut self, index: u32) -> Option<Request> {
        let request = self.streams.remove(&index)?;
        self.idle_since = self.now;
        Some(request)
    }

    // The section's fields are still in the list; it is written down as HTTP/1 would say it.
    fn note_refused(&self, rule: Rule, scratch: &Buffers) {
        Gauges::add(&self.worker.gauges.bad_requests);
        let said = |wanted: &[u8]| {
            scratch
                .list
                .iter()
                .find(|(name, _)| *name == wanted)
                .map_or(&b"-"[..], |(_, value)| value)
        };
        let short = |value: &[u8]| value[..value.len().min(LINE_MAX)].to_vec();
        let line = [short(said(b":method")), short(said(b":path")), b"HTTP/3".to_vec()].join(&b' ');
        record_refused(&self.worker, &self.connection, Version::Http3, rule, &line);
    }

    fn answer_refused(&mut self, index: u32, ends: bool, status: u16, scratch: &mut Buffers) {
        let is_head = scratch.list.asks_for_head();
        let out = &mut scratch.out;
        out.clear();
        let start = frame::begin_headers(out);
        qpack::encode::begin(out, status);
        let text = message::write_refusal(status, &mut QpackBlock(out));
        frame::end_headers(out, start);
        // With the fields that a GET would have, and without its content (RFC 9110 §9.3.2).
        let text = if is_head { Bytes::new() } else { Bytes::from(text) };
        if !is_head {
            frame::write_data_head(out, text.len() as u64);
        }
        let shared = Shared::new(index, Arc::clone(&self.ready));
        let sending = Sending { left: Some(text.len() as u64), body: Body::Empty, piece: text };
        let mut request = Request::new(shared, Phase::Sending(sending));
        request.unsent.extend_from_slice(out);
        request.viewer_done = ends;
        request.is_last = is_head;
        self.add(index, request);
    }

    // The viewer broke a rule on one stream.
    pub(super) fn break_stream(&mut self, index: u32, code: Code) -> Result<(), Fatal> {
        self.reset_stream(index, code);
        self.count_reset()
    }

    pub(super) fn reset_stream(&mut self, index: u32, code: Code) {
        self.heads.remove(&index);
        self.remove(index);
        self.reset_halves(stream_of(index), code);
    }

    // Ends both halves of a stream, where they have not ended yet.
    pub(super) fn reset_halves(&mut self, id: StreamId, code: Code) {
        let _ = self.quic.send_stream(id).reset(varint(code));
        let _ = self.quic.recv_stream(id).stop(varint(code));
    }

    // The answer is whole, and nothing more of the request is wanted (§4.1.1).
    pub(super) fn stop(&mut self, index: u32) {
        let _ = self.quic.recv_stream(stream_of(index)).stop(varint(Code::NoError));
        self.remove(index);
    }

    // The viewer gave the request up, or wants no answer.
    pub(super) fn viewer_left(&mut self, index: u32) -> Result<(), Fatal> {
        let is_head = self.heads.remove(&index).is_some();
        let request = self.remove(index);
        self.reset_halves(stream_of(index), Code::RequestCancelled);
        // Asking and taking back at once costs us more than it costs the viewer.
        match request {
            Some(request) if !matches!(request.phase, Phase::Answered) => self.count_reset(),
            None if is_head => self.count_reset(),
            _ => Ok(()),
        }
    }
}
