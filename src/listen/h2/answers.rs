//! Answers become frames: a hit at once, others in turns.

use super::hpack::block::HpackBlock;
use super::stream::Tunnelling;
use super::tunnel::Agreed;
use super::*;
use crate::listen::message;

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<'_, S> {
    pub(super) fn begin_block(&mut self, status: u16) -> usize {
        let start = frame::begin_block(&mut self.out);
        if !self.has_encoded {
            self.has_encoded = true;
            self.out.push(encode::NO_TABLE);
        }
        encode::status(&mut self.out, status);
        start
    }

    // Head and body of a hit, framed at once if the windows take them.
    pub(super) fn answer_hit(&mut self, id: u32, hit: &Hit<'_>, now: Timestamp) {
        let start = self.begin_block(hit.status());
        hit.write(&mut HpackBlock(&mut self.out), now);
        let len = hit.span.map_or(0, |span| span.len());
        if len == 0 {
            frame::end_block(&mut self.out, start, id, flag::END_STREAM);
            return self.answered_whole();
        }
        frame::end_block(&mut self.out, start, id, 0);
        let span = hit.span.unwrap_or(crate::semantics::ranges::Span { start: 0, end: 0 });
        let whole = hit.stored.content.whole();
        if let Some(whole) = &whole
            && len <= INLINE
            && len as i64 <= self.window.min(self.peer.window)
        {
            let body = &whole[span.start as usize..span.end as usize];
            frame::write(&mut self.out, kind::DATA, flag::END_STREAM, id, body);
            self.spend(len as usize);
            return self.answered_whole();
        }
        let (body, piece) = match hit.stored.content.part(span) {
            Some(piece) => (Body::Empty, piece),
            None => match hit.stored.content.read(Some(span)) {
                Some(reader) => (Body::Stored(reader), Bytes::new()),
                None => return self.reset_stream(id, Code::Internal),
            },
        };
        let shared = Shared::new(id, Arc::clone(&self.ready));
        let stream =
            self.new_stream(shared, Phase::Sending(Sending { body, piece, left: Some(len) }));
        self.add(id, stream);
    }

    pub(super) fn answered_whole(&mut self) {
        self.resets = self.resets.saturating_sub(1);
        self.idle_since = self.read_at;
    }

    // A stream has something to do: its future, what it has to say before the answer, its window.
    pub(super) fn work_on(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let mut news = stream.shared.news();
        let (mut answer, mut tunnel_end) = (None, None);
        if let Tunnelling::Open(tunnel) = &mut stream.tunnel {
            let mut cx = Context::from_waker(&stream.waker);
            if let Poll::Ready(end) = tunnel.as_mut().poll(&mut cx) {
                tunnel_end = Some(end);
            }
            news.taken += stream.shared.news().taken;
        }
        match &mut stream.phase {
            Phase::Serving(serving) => {
                let mut cx = Context::from_waker(&stream.waker);
                if let Poll::Ready(response) = serving.as_mut().poll(&mut cx) {
                    answer = Some(response);
                }
                // It may have said something, or asked for the body, in this very poll.
                let more = stream.shared.news();
                news.interims.extend(more.interims);
                news.is_wanted |= more.is_wanted;
                news.taken += more.taken;
            }
            Phase::Sending(sending) => {
                // The request goes on while the viewer takes nothing of its answer: it may not
                // before it has said all.
                if !sending.piece.is_empty() {
                    sending.body.poll_beside(&mut Context::from_waker(&stream.waker));
                }
                if !stream.is_sendable {
                    stream.is_sendable = true;
                    self.sendable.push_back(id);
                }
                // A refresh behind the viewer's back may still hear of some; behind the final head
                // there are none.
                news.interims.clear();
            }
            Phase::Answered => news.interims.clear(),
        }
        stream.owed -= news.taken.min(stream.owed);
        stream.credit += news.taken;
        self.credit += news.taken;
        if stream.expects && news.is_wanted && answer.is_none() {
            stream.expects = false;
            if stream.got == 0 {
                let start = self.begin_block(100);
                frame::end_block(&mut self.out, start, id, 0);
            }
        }
        for (status, fields) in news.interims {
            let start = self.begin_block(status);
            for (name, value) in fields.iter().filter(|(name, _)| !is_hop_by_hop(*name)) {
                encode::field(&mut self.out, name.octets(), value.as_bytes());
            }
            frame::end_block(&mut self.out, start, id, 0);
        }
        if let Some(response) = answer {
            self.answer(id, response);
        }
        if let Some(end) = tunnel_end {
            self.tunnel_ended(id, end);
        }
        self.give_window(id);
    }

    // A block with all that an answer says of itself but its length.
    pub(super) fn begin_head(&mut self, response: &ViewerResponse, is_head: bool) -> usize {
        let now = self.worker.core.edge.clock.now();
        let start = self.begin_block(response.status);
        let mut sink = HpackBlock(&mut self.out);
        message::write_fields(response, is_head, now, &mut sink);
        start
    }

    // The head of an answer; its body follows in turns.
    pub(super) fn answer(&mut self, id: u32, mut response: ViewerResponse) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let (is_head, asked) = (stream.is_head, std::mem::take(&mut stream.tunnel));
        if let Tunnelling::Asked(near) = asked {
            match Agreed::of(response) {
                Ok(agreed) => return self.open_tunnel(id, near, agreed),
                Err(other) => response = *other,
            }
        }
        let body = std::mem::take(&mut response.body);
        let bodiless = message::is_bodiless(is_head, response.status);
        let length = if bodiless { Some(0) } else { body.length() };
        let start = self.begin_head(&response, is_head);
        if !bodiless && let Some(len) = length {
            encode::field(
                &mut self.out,
                b"content-length",
                itoa::Buffer::new().format(len).as_bytes(),
            );
        }
        let has_ended = length == Some(0);
        frame::end_block(&mut self.out, start, id, if has_ended { flag::END_STREAM } else { 0 });
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if let Some(finish) = &mut stream.finish {
            finish.answered(response);
            finish.sent.length = if bodiless { finish.response.said_length() } else { length };
        }
        stream.phase = Phase::Sending(Sending { body, piece: Bytes::new(), left: length });
        if has_ended {
            return self.ended(id);
        }
        self.queue_to_send(id);
    }

    // Frames of bodies, one stream after the other, until much is composed.
    pub(super) fn send_bodies(&mut self) {
        let mut sent = false;
        while self.has_room() && self.window > 0 {
            let Some(id) = self.sendable.pop_front() else { break };
            sent |= self.send_frame(id);
        }
        if sent {
            self.idle_frames = 0;
        }
        if self.window <= 0 {
            self.end_the_empty();
        }
        if self.window > 0 || !self.are_bodies_waiting() {
            self.blocked_since = None;
        } else if self.blocked_since.is_none() {
            self.blocked_since = Some(Instant::now());
        }
    }

    // A tunnel may wait for its reader for as long as it may be silent.
    fn are_bodies_waiting(&self) -> bool {
        self.sendable.iter().any(|id| self.streams.get(id).is_some_and(|stream| !stream.is_open()))
    }

    // An end needs no window.
    fn end_the_empty(&mut self) {
        for _ in 0..self.sendable.len() {
            let Some(id) = self.sendable.pop_front() else { return };
            let Some(stream) = self.streams.get(&id) else { continue };
            match &stream.phase {
                Phase::Sending(sending) if sending.piece.is_empty() && self.has_room() => {
                    self.send_frame(id);
                    // Not at its end: it waits for the connection's window, as the others do.
                    if let Some(stream) = self.streams.get(&id)
                        && matches!(&stream.phase, Phase::Sending(sending) if !sending.piece.is_empty())
                    {
                        self.queue_to_send(id);
                    }
                }
                _ => self.sendable.push_back(id),
            }
        }
    }

    // Octets that leave take from the connection's window, and pay for the updates that open it
    // again.
    fn spend(&mut self, len: usize) {
        self.window -= len as i64;
        self.updates = self.updates.saturating_add(1 + (len / 512) as u32).min(UPDATES);
    }

    // Puts a stream among those with octets to send, once.
    pub(super) fn queue_to_send(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id).filter(|stream| !stream.is_sendable) {
            stream.is_sendable = true;
            self.sendable.push_back(id);
        }
    }

    // One frame of one body. True if octets left.
    pub(super) fn send_frame(&mut self, id: u32) -> bool {
        let Some(stream) = self.streams.get_mut(&id) else { return false };
        stream.is_sendable = false;
        let Phase::Sending(sending) = &mut stream.phase else { return false };
        if sending.piece.is_empty() {
            let mut cx = Context::from_waker(&stream.waker);
            match sending.body.poll_piece(&mut cx) {
                Poll::Pending => {
                    stream.blocked_since = None;
                    return false;
                }
                Poll::Ready(Some(Ok(piece))) => sending.piece = piece,
                Poll::Ready(None) if sending.left.is_none_or(|left| left == 0) => {
                    let trailers = sending.body.take_trailers();
                    if trailers.is_empty() {
                        frame::write(&mut self.out, kind::DATA, flag::END_STREAM, id, &[]);
                    } else {
                        // HTTP/2 needs no `TE: trailers` for them (RFC 9113 §8.1).
                        let start = frame::begin_block(&mut self.out);
                        trailers.iter().for_each(|(name, value)| {
                            encode::field(&mut self.out, name.octets(), value.as_bytes());
                        });
                        frame::end_block(&mut self.out, start, id, flag::END_STREAM);
                    }
                    self.ended(id);
                    return false;
                }
                Poll::Ready(came) => {
                    if let Some(finish) = &mut stream.finish {
                        finish.sent.end = SendEnd::Failed;
                    }
                    let is_called_off = matches!(came, Some(Err(BodyError::Cancelled)));
                    self.reset_stream(
                        id,
                        if is_called_off { Code::Cancel } else { Code::Internal },
                    );
                    return false;
                }
            }
        }
        let takes = stream.window.min(self.window).clamp(0, frame::FRAME_MAX as i64) as usize;
        let len = takes.min(sending.piece.len());
        if len == 0 {
            stream.blocked_since.get_or_insert_with(Instant::now);
            return false;
        }
        let data = sending.piece.split_to(len);
        sending.left = sending.left.map(|left| left.saturating_sub(len as u64));
        let is_last = sending.left == Some(0);
        frame::write(
            &mut self.out,
            kind::DATA,
            if is_last { flag::END_STREAM } else { 0 },
            id,
            &data,
        );
        stream.window -= len as i64;
        stream.blocked_since = None;
        if let Some(finish) = &mut stream.finish {
            finish.sent.bytes += len as u64;
        }
        self.spend(len);
        if is_last {
            self.ended(id);
        } else {
            self.queue_to_send(id);
        }
        true
    }

    // The answer is framed to its end.
    pub(super) fn ended(&mut self, id: u32) {
        self.answered_whole();
        self.idle_since = Instant::now();
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.is_open() {
            // A tunnel whose other way goes on.
            stream.phase = Phase::Answered;
            return;
        }
        if let Some(mut finish) = stream.finish.take()
            && finish.sent.end != SendEnd::Failed
        {
            finish.sent.end = SendEnd::Whole;
        }
        if stream.viewer_done {
            self.remove(id);
        } else {
            stream.phase = Phase::Answered;
            stream.answered_at = Some(Instant::now());
        }
    }
}
