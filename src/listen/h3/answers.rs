//! Answers become frames: a hit at once, others in turns.

use super::qpack::block::QpackBlock;
use super::qpack::encode;
use super::*;

/// How a stream's turn to write ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Something was written, and there may be more.
    Wrote,
    /// The viewer has to take something first.
    Blocked,
    /// There is nothing to write for now, or ever.
    Done,
}

/// What became of octets that were given to QUIC.
enum Write {
    Some(usize),
    Blocked,
    /// The viewer wants no answer, or has none any more.
    Gone,
}

impl Write {
    fn of(written: Result<usize, WriteError>) -> Self {
        match written {
            Ok(len) => Self::Some(len),
            Err(WriteError::Blocked) => Self::Blocked,
            Err(WriteError::Stopped(_) | WriteError::ClosedStream) => Self::Gone,
        }
    }
}

/// What QUIC had no room for of a hit.
pub(super) struct Unsent {
    head: Bytes,
    sending: Sending,
    /// Octets of the body that it has taken.
    early: u64,
}

impl Unsent {
    pub fn into_request(self, shared: Arc<Shared>, mut finish: ExchangeRecord) -> Request {
        let is_last = self.sending.left == Some(0);
        let mut request = Request::new(shared, Phase::Sending(self.sending));
        request.unsent.extend_from_slice(&self.head);
        request.is_last = is_last;
        finish.sent.bytes = self.early;
        request.finish = Some(Box::new(finish));
        request
    }
}

// Gives head and body of a hit to QUIC, and what that does not take at once back. Of the session it
// needs nothing else, so that the request may borrow what it likes.
pub(super) fn give_hit(
    quic: &mut quinn_proto::Connection,
    index: u32,
    hit: &Hit<'_>,
    now: Timestamp,
    out: &mut Vec<u8>,
) -> Result<Option<Unsent>, Begun> {
    out.clear();
    let start = frame::begin_headers(out);
    encode::begin(out, hit.status());
    hit.write(&mut QpackBlock(out), now);
    frame::end_headers(out, start);
    let len = hit.span.map_or(0, |span| span.len());
    if len > 0 {
        frame::write_data_head(out, len);
    }
    let (mut body, mut piece, mut copied) = (Body::Empty, Bytes::new(), 0_usize);
    if let Some(span) = hit.span.filter(|_| len > 0) {
        let content = &hit.stored.content;
        let copy = content
            .whole()
            .filter(|whole| len <= INLINE && (len < SHARED || len < whole.len() as u64));
        if let Some(whole) = copy {
            out.extend_from_slice(&whole[span.start as usize..span.end as usize]);
            copied = len as usize;
        } else if let Some(part) = content.shared(span) {
            piece = part;
        } else if let Some(reader) = content.read(Some(span)) {
            body = Body::Stored(reader);
        } else {
            return Err(Begun::Broken);
        }
    }
    // What is larger is sent in turns.
    let beside = if len <= INLINE { std::mem::take(&mut piece) } else { Bytes::new() };
    let is_given = copied.max(beside.len()) as u64 == len;
    let mut given = [Bytes::copy_from_slice(out), beside];
    let written = quic.send_stream(stream_of(index)).write_chunks(&mut given);
    if let Write::Gone = Write::of(written.map(|written| written.bytes)) {
        return Err(Begun::Gone);
    }
    // What QUIC has taken is not in them any more.
    if is_given && given.iter().all(Bytes::is_empty) {
        let _ = quic.send_stream(stream_of(index)).finish();
        return Ok(None);
    }
    let [mut rest, beside] = given;
    let head = rest.split_to(rest.len().saturating_sub(copied));
    if is_given {
        piece = if copied > 0 { rest } else { beside };
    }
    let left = if is_given { piece.len() as u64 } else { len };
    let sending = Sending { body, piece, left: Some(left) };
    Ok(Some(Unsent { head, sending, early: len - left }))
}

impl Session {
    pub(super) fn answered_whole(&mut self) {
        self.resets = self.resets.saturating_sub(1);
        self.idle_since = self.now;
    }

    // A request has something to do: its future, what it has to say before the answer, its body.
    pub(super) fn work_on(&mut self, index: u32, scratch: &mut Buffers) -> Result<(), Fatal> {
        let Some(request) = self.streams.get_mut(&index) else { return Ok(()) };
        let mut news = request.shared.news();
        let mut answer = None;
        match &mut request.phase {
            Phase::Serving(serving) => {
                let mut cx = Context::from_waker(&request.waker);
                if let Poll::Ready(response) = serving.as_mut().poll(&mut cx) {
                    answer = Some(response);
                }
                // It may have said something, or asked for the body, in this very poll.
                let more = request.shared.news();
                news.interims.extend(more.interims);
                news.is_wanted |= more.is_wanted;
                news.taken += more.taken;
            }
            Phase::Sending(sending) => {
                // The request goes on while the viewer takes nothing of its answer: it may not
                // before it has said all.
                if !sending.piece.is_empty() {
                    sending.body.poll_beside(&mut Context::from_waker(&request.waker));
                }
                // Behind the final head there are none.
                news.interims.clear();
            }
            Phase::Answered => news.interims.clear(),
        }
        request.owed -= news.taken.min(request.owed);
        if request.expects && news.is_wanted && answer.is_none() {
            request.expects = false;
            if request.got == 0 {
                news.interims.push_front((100, crate::semantics::fields::FieldSection::new()));
            }
        }
        for (status, fields) in news.interims {
            let out = &mut scratch.out;
            out.clear();
            let start = frame::begin_headers(out);
            encode::begin(out, status);
            for (name, value) in fields.iter().filter(|(name, _)| !is_hop_by_hop(*name)) {
                encode::field(out, name.octets(), value.as_bytes());
            }
            frame::end_headers(out, start);
            request.unsent.extend_from_slice(out);
        }
        if let Some(response) = answer {
            self.answer(index, response, scratch);
        }
        self.queue_to_send(index);
        if news.taken > 0 {
            return self.read_request(index, scratch);
        }
        Ok(())
    }

    // The head of an answer; its body follows in turns.
    fn answer(&mut self, index: u32, mut response: ViewerResponse, scratch: &mut Buffers) {
        let now = self.worker.core.edge.clock.now();
        let Some(request) = self.streams.get_mut(&index) else { return };
        let is_head = request.is_head;
        let body = std::mem::take(&mut response.body);
        let bodiless = message::is_bodiless(is_head, response.status);
        let length = if bodiless { Some(0) } else { body.length() };
        let out = &mut scratch.out;
        out.clear();
        let start = frame::begin_headers(out);
        encode::begin(out, response.status);
        let mut sink = QpackBlock(out);
        message::write_fields(&response, is_head, now, &mut sink);
        if !bodiless && let Some(len) = length {
            encode::field(out, b"content-length", itoa::Buffer::new().format(len).as_bytes());
        }
        frame::end_headers(out, start);
        // All of a body whose length is known is one frame.
        if let Some(len) = length.filter(|len| *len > 0) {
            frame::write_data_head(out, len);
        }
        request.unsent.extend_from_slice(out);
        if let Some(finish) = &mut request.finish {
            finish.answered(response);
            finish.sent.length = if bodiless { finish.response.said_length() } else { length };
        }
        request.is_last = length == Some(0);
        request.phase = Phase::Sending(Sending { body, piece: Bytes::new(), left: length });
    }

    // Puts a stream among those with octets to send, once.
    pub(super) fn queue_to_send(&mut self, index: u32) {
        let request = self.streams.get_mut(&index).filter(|request| {
            !request.is_sendable
                && (!request.unsent.is_empty() || matches!(request.phase, Phase::Sending(_)))
        });
        if let Some(request) = request {
            request.is_sendable = true;
            self.sendable.push_back(index);
            self.may_send = true;
        }
    }

    // Streams write in turns, until none of them gets anything through.
    pub(super) fn send_waiting(&mut self) {
        if !std::mem::take(&mut self.may_send) {
            return;
        }
        let mut blocked = 0;
        while blocked < self.sendable.len() {
            let Some(index) = self.sendable.pop_front() else { return };
            if let Some(request) = self.streams.get_mut(&index) {
                request.is_sendable = false;
            }
            match self.send(index) {
                Turn::Done => {}
                Turn::Wrote => {
                    blocked = 0;
                    self.wait_to_send(index);
                }
                Turn::Blocked => {
                    blocked += 1;
                    self.wait_to_send(index);
                }
            }
        }
    }

    fn wait_to_send(&mut self, index: u32) {
        if let Some(request) = self.streams.get_mut(&index) {
            request.is_sendable = true;
            self.sendable.push_back(index);
        }
    }

    // One stream's turn.
    fn send(&mut self, index: u32) -> Turn {
        let mut wrote = 0;
        while wrote < TURN {
            let Some(request) = self.streams.get_mut(&index) else { return Turn::Done };
            let stream = stream_of(index);
            if !request.unsent.is_empty() {
                match Write::of(self.quic.send_stream(stream).write(&request.unsent)) {
                    Write::Some(len) => {
                        request.unsent.advance(len);
                        wrote += len;
                        request.blocked_since = None;
                        continue;
                    }
                    Write::Blocked => return blocked(request, self.now, wrote),
                    Write::Gone => return self.gone(index),
                }
            }
            let Phase::Sending(sending) = &mut request.phase else { return Turn::Done };
            if request.is_last {
                self.ended(index);
                return Turn::Done;
            }
            if !sending.piece.is_empty() {
                let pieces = std::slice::from_mut(&mut sending.piece);
                let written = self.quic.send_stream(stream).write_chunks(pieces);
                match Write::of(written.map(|written| written.bytes)) {
                    Write::Some(len) => {
                        sending.left = sending.left.map(|left| left.saturating_sub(len as u64));
                        request.is_last = sending.left == Some(0);
                        request.blocked_since = None;
                        if let Some(finish) = &mut request.finish {
                            finish.sent.bytes += len as u64;
                        }
                        wrote += len;
                        self.idle_frames = 0;
                        continue;
                    }
                    Write::Blocked => return blocked(request, self.now, wrote),
                    Write::Gone => return self.gone(index),
                }
            }
            if !self.next_piece(index) {
                return Turn::Done;
            }
        }
        Turn::Wrote
    }

    // Takes the next piece of a body; false if there is none to be sent now.
    fn next_piece(&mut self, index: u32) -> bool {
        let Some(request) = self.streams.get_mut(&index) else { return false };
        let Phase::Sending(sending) = &mut request.phase else { return false };
        let mut cx = Context::from_waker(&request.waker);
        let mut head = Vec::new();
        match sending.body.poll_piece(&mut cx) {
            Poll::Pending => {
                request.blocked_since = None;
                return false;
            }
            Poll::Ready(Some(Ok(piece))) => match sending.left {
                // More than was said cannot be framed any more.
                Some(left) if piece.len() as u64 > left => {}
                left => {
                    if left.is_none() && !piece.is_empty() {
                        frame::write_data_head(&mut head, piece.len() as u64);
                    }
                    sending.piece = piece;
                    request.unsent.extend_from_slice(&head);
                    return true;
                }
            },
            Poll::Ready(None) if sending.left.is_none_or(|left| left == 0) => {
                let trailers = sending.body.take_trailers();
                if !trailers.is_empty() {
                    let start = frame::begin_headers(&mut head);
                    encode::prefix(&mut head);
                    trailers.iter().for_each(|(name, value)| {
                        encode::field(&mut head, name.octets(), value.as_bytes());
                    });
                    frame::end_headers(&mut head, start);
                    request.unsent.extend_from_slice(&head);
                }
                request.is_last = true;
                return true;
            }
            Poll::Ready(Some(Err(BodyError::Cancelled))) => {
                self.fail(index, Code::RequestCancelled);
                return false;
            }
            Poll::Ready(_) => {}
        }
        self.fail(index, Code::Internal);
        false
    }

    // The body broke: the viewer must see that.
    fn fail(&mut self, index: u32, code: Code) {
        if let Some(request) = self.streams.get_mut(&index)
            && let Some(finish) = &mut request.finish
        {
            finish.sent.end = SendEnd::Failed;
        }
        self.reset_stream(index, code);
    }

    // The viewer wants no more of the answer; QUIC says so once more, and that counts.
    fn gone(&mut self, index: u32) -> Turn {
        if let Some(request) = self.streams.get_mut(&index) {
            request.unsent.clear();
        }
        Turn::Done
    }

    // The answer is written to its end.
    fn ended(&mut self, index: u32) {
        let _ = self.quic.send_stream(stream_of(index)).finish();
        self.answered_whole();
        let Some(request) = self.streams.get_mut(&index) else { return };
        if let Some(mut finish) = request.finish.take()
            && finish.sent.end != SendEnd::Failed
        {
            finish.sent.end = SendEnd::Whole;
        }
        if request.viewer_done {
            self.remove(index);
        } else {
            request.phase = Phase::Answered;
            request.answered_at = Some(self.now);
        }
    }
}

fn blocked(request: &mut Request, now: Instant, wrote: usize) -> Turn {
    request.blocked_since.get_or_insert(now);
    // Others may still get something through.
    if wrote > 0 { Turn::Wrote } else { Turn::Blocked }
}
