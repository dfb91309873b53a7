//! Every wait on an HTTP/2 connection has its end here, and so has the connection.

use super::*;

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<'_, S> {
    // Has the clock looked at soon enough for the shortest limit.
    pub(super) fn look_soon(&mut self) {
        let soon = Instant::now() + self.pace();
        if self.sleep.deadline() > soon {
            self.sleep.as_mut().reset(soon);
        }
    }

    pub(super) fn pace(&self) -> Duration {
        let shortest =
            self.limits.stall.min(self.limits.head_time).min(self.limits.idle).min(WASTE_TIME);
        (shortest / 2).max(Duration::from_millis(50))
    }

    // True if the connection is not worth keeping.
    pub(super) fn poll_time(&mut self, cx: &mut Context<'_>) -> bool {
        while self.sleep.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            // Ten a second are forgiven: a viewer that cancels often is not one that attacks.
            self.resets = self.resets.saturating_sub((self.pace().as_millis() / 100) as u32);
            if self.is_stuck(now) {
                Gauges::add(&self.worker.gauges.timeouts);
                return true;
            }
            self.end_stuck_streams(now);
            self.look_at_idleness(now);
            let next = self.next_look(now);
            self.sleep.as_mut().reset(next);
        }
        false
    }

    // When the clock is to be looked at next. Where nothing can be stuck, that is when the
    // connection has been idle for too long; tunnels have clocks of their own.
    fn next_look(&self, now: Instant) -> Instant {
        let is_still = self.leaving == Leaving::No
            && self.ping_at.is_none()
            && self.partial_since.is_none()
            && self.block.is_none()
            && self.out.is_empty();
        if !is_still || !self.streams.values().all(Stream::is_open) {
            return now + self.pace();
        }
        let since = match self.streams.is_empty() {
            true => self.idle_since,
            false => self.read_at.max(self.wrote_at),
        };
        (since + self.limits.idle).max(now + Duration::from_millis(10))
    }

    // A viewer that takes nothing for this long is not coming back. Streams that wait for an origin
    // have that origin's deadlines.
    fn dead(&self) -> Duration {
        self.limits.stall * 2 + Duration::from_secs(5)
    }

    pub(super) fn is_stuck(&self, now: Instant) -> bool {
        let (head_time, dead) = (self.limits.head_time, self.dead());
        let older = |since, limit| is_older(now, since, limit);
        let is_data = FrameHead::read(&self.input).is_some_and(|head| head.kind == kind::DATA);
        older(self.unwritten_since, dead)
            || older(self.block.as_ref().map(|block| block.since), head_time)
            || older(self.partial_since, if is_data { dead } else { head_time })
            || older(self.blocked_since, dead)
            || older(self.ping_at, PONG) && now - self.wrote_at >= PONG
    }

    pub(super) fn end_stuck_streams(&mut self, now: Instant) {
        let (stall, dead) = (self.limits.stall, self.dead());
        let older = |since, limit| is_older(now, since, limit);
        let mut ended = Vec::new();
        for (id, stream) in &self.streams {
            if older(stream.answered_at, WASTE_TIME) {
                ended.push((*id, Code::NoError));
            } else if older(stream.blocked_since, dead) && !stream.is_open() {
                Gauges::add(&self.worker.gauges.timeouts);
                ended.push((*id, Code::Cancel));
            } else if !(stream.viewer_done || stream.is_call)
                && self.receive > frame::FRAME_MAX as i64
                && older(stream.shared.waits_since(), stall)
            {
                stream.shared.end(Err(BodyError::Stalled));
            }
        }
        for (id, code) in ended {
            self.reset_stream(id, code);
        }
    }

    pub(super) fn look_at_idleness(&mut self, now: Instant) {
        match self.leaving {
            Leaving::No if self.streams.is_empty() && now - self.idle_since >= self.limits.idle => {
                self.leave()
            }
            Leaving::Said(at) if now - at >= LAST_CALL => self.last_call(),
            _ if !self.streams.is_empty()
                && now - self.read_at.max(self.wrote_at) >= self.limits.idle
                && self.ping_at.is_none() =>
            {
                self.ping_at = Some(now);
                frame::write(&mut self.out, kind::PING, 0, 0, b"are you?");
            }
            _ => {}
        }
    }

    // Requests on their way are still answered: the last stream is named a round trip later (§6.8).
    pub(super) fn leave(&mut self) {
        self.leaving = Leaving::Said(Instant::now());
        self.goaway(0x7fff_ffff, Code::NoError);
        frame::write(&mut self.out, kind::PING, 0, 0, b"last one");
        self.look_soon();
    }

    pub(super) fn last_call(&mut self) {
        self.leaving = Leaving::Last(self.last);
        self.goaway(self.last, Code::NoError);
    }

    pub(super) fn goaway(&mut self, last: u32, code: Code) {
        let payload = [last.to_be_bytes(), (code as u32).to_be_bytes()].concat();
        frame::write(&mut self.out, kind::GOAWAY, 0, 0, &payload);
    }
}

fn is_older(now: Instant, since: Option<Instant>, limit: Duration) -> bool {
    since.is_some_and(|since| now - since >= limit)
}
