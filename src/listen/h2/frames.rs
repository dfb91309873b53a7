//! What each frame of a viewer does to a connection (RFC 9113 §5, §6).

use super::*;

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<'_, S> {
    pub(super) fn read_frames(&mut self) -> Result<(), Fatal> {
        if self.input.is_empty() {
            return Ok(());
        }
        let mut input = std::mem::take(&mut self.input);
        let mut at = 0;
        if !self.preface_read {
            let len = input.len().min(frame::PREFACE.len());
            if input[..len] != frame::PREFACE[..len] {
                return Err(Fatal(Code::Protocol, "not the preface of HTTP/2"));
            }
            if len == frame::PREFACE.len() {
                self.preface_read = true;
                at = len;
            }
        }
        // Whole frames that wait for room are not what the viewer is slow with.
        let mut is_partial = !self.preface_read;
        while self.preface_read && self.has_room() {
            let Some(head) = FrameHead::read(&input[at..]) else {
                is_partial = at < input.len();
                break;
            };
            if head.len > frame::FRAME_MAX {
                return Err(Fatal(Code::FrameSize, "a frame larger than we take"));
            }
            let start = at + frame::HEAD;
            let Some(payload) = input.get(start..start + head.len) else {
                is_partial = true;
                break;
            };
            self.on_frame(head, payload)?;
            at = start + head.len;
        }
        if !is_partial {
            self.partial_since = None;
        } else if at > 0 || self.partial_since.is_none() {
            self.partial_since = Some(self.read_at);
            self.look_soon();
        }
        input.advance(at);
        self.input = input;
        Ok(())
    }

    pub(super) fn on_frame(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Fatal> {
        if !self.settings_read {
            if head.kind != kind::SETTINGS || head.has(flag::ACK) {
                return Err(Fatal(Code::Protocol, "a preface without settings"));
            }
            self.settings_read = true;
        }
        if let Some(block) = &self.block
            && (head.kind != kind::CONTINUATION || head.stream != block.stream)
        {
            return Err(Fatal(Code::Protocol, "a frame within a header block"));
        }
        match head.kind {
            kind::HEADERS | kind::CONTINUATION | kind::DATA => {}
            kind::WINDOW_UPDATE if self.updates > 0 => self.updates -= 1,
            _ => self.count_idle()?,
        }
        match head.kind {
            kind::DATA => self.on_data(head, payload),
            kind::HEADERS => self.on_headers(head, payload),
            kind::CONTINUATION => self.on_continuation(head, payload),
            kind::PRIORITY => self.on_priority(head, payload),
            kind::RST_STREAM => self.on_reset(head, payload),
            kind::SETTINGS => self.on_settings(head, payload),
            kind::PUSH_PROMISE => Err(Fatal(Code::Protocol, "a push from a client")),
            kind::PING => self.on_ping(head, payload),
            kind::GOAWAY if head.stream != 0 => Err(Fatal(Code::Protocol, "GOAWAY on a stream")),
            kind::GOAWAY if payload.len() < 8 => Err(Fatal(Code::FrameSize, "a short GOAWAY")),
            // The viewer wants no pushes, and there are none.
            kind::GOAWAY => Ok(()),
            kind::WINDOW_UPDATE => self.on_window_update(head, payload),
            _ => Ok(()),
        }
    }

    fn count_idle(&mut self) -> Result<(), Fatal> {
        self.idle_frames += 1;
        if self.idle_frames > IDLE_FRAMES {
            return Err(Fatal(Code::EnhanceYourCalm, "too many frames that ask for nothing"));
        }
        Ok(())
    }

    pub(super) fn on_priority(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Fatal> {
        match (head.stream, payload.len()) {
            (0, _) => Err(Fatal(Code::Protocol, "PRIORITY on no stream")),
            (_, 5) if frame::number(payload) & 0x7fff_ffff == head.stream => {
                self.break_stream(head.stream, Code::Protocol)
            }
            (_, 5) => Ok(()),
            _ => self.break_stream(head.stream, Code::FrameSize),
        }
    }

    pub(super) fn on_ping(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Fatal> {
        if head.stream != 0 {
            return Err(Fatal(Code::Protocol, "PING on a stream"));
        }
        if payload.len() != 8 {
            return Err(Fatal(Code::FrameSize, "a PING that is not of eight octets"));
        }
        if head.has(flag::ACK) {
            self.ping_at = None;
            if let Leaving::Said(_) = self.leaving {
                self.last_call();
            }
        } else {
            frame::write(&mut self.out, kind::PING, flag::ACK, 0, payload);
        }
        Ok(())
    }

    pub(super) fn on_settings(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Fatal> {
        if head.stream != 0 {
            return Err(Fatal(Code::Protocol, "SETTINGS on a stream"));
        }
        if head.has(flag::ACK) {
            return if payload.is_empty() {
                Ok(())
            } else {
                Err(Fatal(Code::FrameSize, "an ACK with settings"))
            };
        }
        let before = self.peer.window;
        self.peer.apply(payload).map_err(|code| Fatal(code, "settings out of their range"))?;
        let change = self.peer.window - before;
        if change != 0 {
            for (id, stream) in &mut self.streams {
                stream.window += change;
                if stream.window > frame::WINDOW_MAX {
                    return Err(Fatal(Code::FlowControl, "a window larger than there is"));
                }
                if stream.window > 0
                    && !stream.is_sendable
                    && matches!(stream.phase, Phase::Sending(_))
                {
                    stream.is_sendable = true;
                    self.sendable.push_back(*id);
                }
            }
        }
        frame::write(&mut self.out, kind::SETTINGS, flag::ACK, 0, &[]);
        Ok(())
    }

    pub(super) fn on_window_update(
        &mut self,
        head: FrameHead,
        payload: &[u8],
    ) -> Result<(), Fatal> {
        if payload.len() != 4 {
            return Err(Fatal(Code::FrameSize, "a WINDOW_UPDATE that is not of four octets"));
        }
        let more = i64::from(frame::number(payload) & 0x7fff_ffff);
        if head.stream == 0 {
            self.window += more;
            return match (more, self.window) {
                (0, _) => Err(Fatal(Code::Protocol, "a window opened by nothing")),
                (_, window) if window > frame::WINDOW_MAX => {
                    Err(Fatal(Code::FlowControl, "a window larger than there is"))
                }
                _ => Ok(()),
            };
        }
        self.refuse_idle(head.stream)?;
        let Some(stream) = self.streams.get_mut(&head.stream) else { return Ok(()) };
        stream.window += more;
        if more == 0 {
            return self.break_stream(head.stream, Code::Protocol);
        }
        if stream.window > frame::WINDOW_MAX {
            return self.break_stream(head.stream, Code::FlowControl);
        }
        if stream.window > 0 && matches!(stream.phase, Phase::Sending(_)) {
            self.queue_to_send(head.stream);
        }
        Ok(())
    }

    pub(super) fn on_reset(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Fatal> {
        if head.stream == 0 {
            return Err(Fatal(Code::Protocol, "RST_STREAM on no stream"));
        }
        if payload.len() != 4 {
            return Err(Fatal(Code::FrameSize, "an RST_STREAM that is not of four octets"));
        }
        self.refuse_idle(head.stream)?;
        if let Some(stream) = self.remove(head.stream) {
            stream.shared.end(Err(BodyError::Truncated));
            // Asking and taking back at once costs us more than it costs the viewer.
            if !matches!(stream.phase, Phase::Answered) {
                self.count_reset()?;
            }
        }
        Ok(())
    }

    // Frames on a stream that never began (RFC 9113 §5.1).
    pub(super) fn refuse_idle(&self, id: u32) -> Result<(), Fatal> {
        if id > self.highest || id.is_multiple_of(2) {
            Err(Fatal(Code::Protocol, "a frame on an idle stream"))
        } else {
            Ok(())
        }
    }

    pub(super) fn count_reset(&mut self) -> Result<(), Fatal> {
        self.resets += 1;
        if self.resets > RESETS {
            Err(Fatal(Code::EnhanceYourCalm, "too many streams reset"))
        } else {
            Ok(())
        }
    }

    // The viewer broke a rule on one stream.
    pub(super) fn break_stream(&mut self, id: u32, code: Code) -> Result<(), Fatal> {
        self.reset_stream(id, code);
        self.count_reset()
    }

    pub(super) fn reset_stream(&mut self, id: u32, code: Code) {
        frame::write(&mut self.out, kind::RST_STREAM, 0, id, &(code as u32).to_be_bytes());
        if let Some(stream) = self.remove(id) {
            stream.shared.end(Err(BodyError::Truncated));
        }
        if id <= self.highest {
            if self.reset.len() >= 64 + 2 * self.limits.streams as usize {
                self.reset.pop_front();
            }
            self.reset.push_back(id);
        }
    }

    pub(super) fn on_data(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Fatal> {
        if head.stream == 0 {
            return Err(Fatal(Code::Protocol, "DATA on no stream"));
        }
        self.refuse_idle(head.stream)?;
        self.receive -= payload.len() as i64;
        if self.receive < 0 {
            return Err(Fatal(Code::FlowControl, "more than the connection's window"));
        }
        let data = frame::unpadded(head, payload)
            .map_err(|code| Fatal(code, "padding longer than its frame"))?;
        if data.is_empty() && !head.has(flag::END_STREAM) {
            self.count_idle()?;
        } else {
            self.idle_frames = 0;
        }
        let Some(stream) = self.streams.get_mut(&head.stream).filter(|stream| !stream.viewer_done)
        else {
            self.credit += payload.len();
            if self.streams.contains_key(&head.stream) {
                return self.break_stream(head.stream, Code::StreamClosed);
            }
            return if self.reset.contains(&head.stream) {
                Ok(())
            } else {
                Err(Fatal(Code::StreamClosed, "DATA on a closed stream"))
            };
        };
        stream.receive -= payload.len() as i64;
        if stream.receive < 0 {
            self.credit += payload.len();
            return self.break_stream(head.stream, Code::FlowControl);
        }
        stream.got += data.len() as u64;
        if let Some(finish) = &mut stream.finish {
            finish.received = stream.got;
        }
        let has_ended = head.has(flag::END_STREAM);
        let is_wrong = stream.announced.is_some_and(|announced| {
            stream.got > announced || (has_ended && stream.got < announced)
        });
        if is_wrong {
            self.credit += payload.len();
            return self.break_stream(head.stream, Code::Protocol);
        }
        if stream.got > self.limits.request_body && !stream.is_tunnel() {
            stream.shared.end(Err(BodyError::TooLarge));
        }
        let is_kept = !data.is_empty() && stream.shared.push(data);
        let given_back = if is_kept { payload.len() - data.len() } else { payload.len() };
        stream.owed += payload.len() - given_back;
        self.credit += given_back;
        // A body that serving has dropped is stepped over for `WASTE` octets; then the stream gets
        // no more window, and the viewer may wait for our answer.
        if is_kept || stream.got <= WASTE {
            stream.credit += given_back;
        }
        if has_ended {
            self.viewer_ended(head.stream);
        } else {
            self.give_window(head.stream);
        }
        Ok(())
    }

    pub(super) fn viewer_ended(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.viewer_done = true;
        stream.shared.end(Ok(()));
        if matches!(stream.phase, Phase::Answered) && !stream.is_open() {
            self.remove(id);
        }
    }

    // Gives a stream's window back, a quarter at a time.
    pub(super) fn give_window(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| !stream.viewer_done) else {
            return;
        };
        if stream.credit >= STREAM_WINDOW as usize / 4 {
            let more = std::mem::take(&mut stream.credit);
            stream.receive += more as i64;
            frame::write(&mut self.out, kind::WINDOW_UPDATE, 0, id, &(more as u32).to_be_bytes());
        }
    }

    pub(super) fn give_back(&mut self) {
        if self.credit >= CONNECTION_WINDOW as usize / 4 {
            let more = std::mem::take(&mut self.credit);
            self.receive += more as i64;
            frame::write(&mut self.out, kind::WINDOW_UPDATE, 0, 0, &(more as u32).to_be_bytes());
        }
    }
}
