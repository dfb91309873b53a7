//! Every wait on an HTTP/3 connection has its end here, and so has the connection.

use super::*;

/// The id of a GOAWAY that takes nothing back: the largest of a request stream (RFC 9114 §5.2).
const ALL: u64 = (1 << 62) - 4;

impl Session {
    /// When the connection wants to be looked at, whatever comes.
    pub fn next_look(&self) -> Option<Instant> {
        self.look_at
    }

    /// Says that no more requests are wanted; those under way are answered, and then the connection
    /// ends.
    pub fn leave(&mut self, now: Instant) {
        self.now = now;
        if self.leaving != Leaving::No || self.is_closed() {
            return;
        }
        if self.is_handshaking() || self.goaway(ALL).is_err() {
            return self.close(Code::NoError);
        }
        self.leaving = Leaving::Said(now);
        self.look_soon();
    }

    // Has the clock looked at soon enough for the shortest limit.
    pub(super) fn look_soon(&mut self) {
        let soon = self.now + self.pace();
        if self.look_at.is_none_or(|at| at > soon) {
            self.look_at = Some(soon);
        }
    }

    fn pace(&self) -> Duration {
        let shortest =
            self.limits.stall.min(self.limits.head_time).min(self.limits.idle).min(WASTE_TIME);
        (shortest / 2).max(Duration::from_millis(50))
    }

    // A viewer that takes nothing for this long is not coming back. Streams that wait for an origin
    // have that origin's deadlines.
    fn dead(&self) -> Duration {
        self.limits.stall * 2 + Duration::from_secs(5)
    }

    // Looks at the clock if it is time to, and at what may have ended meanwhile.
    pub(super) fn look_at_time(&mut self) {
        if let Leaving::From(_) = self.leaving
            && self.is_all_sent()
        {
            return self.close(Code::NoError);
        }
        if self.look_at.is_none_or(|at| at > self.now) {
            return;
        }
        if let Life::Handshake(until) = self.life {
            self.look_at = Some(until);
            if self.now >= until {
                Gauges::add(&self.worker.gauges.handshakes_failed);
                Gauges::add(&self.worker.gauges.timeouts);
                self.close(Code::NoError);
            }
            return;
        }
        // Ten a second are forgiven: a viewer that cancels often is not one that attacks.
        let passed = self.now - self.looked_at;
        self.looked_at = self.now;
        self.share_window();
        self.resets = self.resets.saturating_sub((passed.as_millis() / 100) as u32);
        self.end_stuck_streams();
        self.look_at_idleness();
        if !self.is_closed() {
            self.look_at = Some(self.when_next());
        }
    }

    fn when_next(&self) -> Instant {
        let is_still = self.leaving == Leaving::No && self.heads.is_empty();
        if !is_still || !self.streams.is_empty() {
            return self.now + self.pace();
        }
        (self.idle_since + self.limits.idle).max(self.now + Duration::from_millis(10))
    }

    // Every answer has arrived; what then stays is our control stream.
    pub(super) fn is_all_sent(&mut self) -> bool {
        self.streams.is_empty() && self.quic.streams().send_streams() <= 1
    }

    fn end_stuck_streams(&mut self) {
        let (now, stall, dead) = (self.now, self.limits.stall, self.dead());
        let older = |since: Option<Instant>, limit| since.is_some_and(|since| now - since >= limit);
        let (mut answered, mut ended) = (Vec::new(), Vec::new());
        for (index, request) in &self.streams {
            if older(request.answered_at, WASTE_TIME) {
                answered.push(*index);
            } else if older(request.blocked_since, dead) {
                ended.push((*index, Code::RequestCancelled));
            } else if !request.viewer_done && older(request.shared.waits_since(), stall) {
                request.shared.end(Err(BodyError::Stalled));
            }
        }
        for (index, heading) in &self.heads {
            if older(Some(heading.since), self.limits.head_time) {
                ended.push((*index, Code::RequestIncomplete));
            }
        }
        answered.into_iter().for_each(|index| self.stop(index));
        for (index, code) in ended {
            Gauges::add(&self.worker.gauges.timeouts);
            self.reset_stream(index, code);
        }
    }

    fn look_at_idleness(&mut self) {
        match self.leaving {
            Leaving::No
                if self.streams.is_empty()
                    && self.heads.is_empty()
                    && self.now - self.idle_since >= self.limits.idle =>
            {
                self.leave(self.now);
            }
            Leaving::Said(at) if self.now - at >= LAST_CALL => {
                self.leaving = Leaving::From(self.answered);
                if self.goaway(self.answered * 4).is_err() || self.is_all_sent() {
                    self.close(Code::NoError);
                }
            }
            // QUIC ends a connection that is silent for as long as `limits.idle`; one that waits
            // for an origin is to stay.
            _ if !self.streams.is_empty() && self.now - self.pinged_at >= self.limits.idle / 3 => {
                self.pinged_at = self.now;
                self.quic.ping();
            }
            _ => {}
        }
    }
}
