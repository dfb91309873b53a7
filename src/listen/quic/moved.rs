//! Pure: what is said again to a viewer that has another port than before, until it answers.
//!
//! To an address that it has not proved, `quinn-proto` sends a datagram with PATH_CHALLENGE and
//! then no more than three times what came from there. A viewer behind a router that gave it
//! another port knows nothing of that, and has nothing to say while it waits for the rest of an
//! answer: if that one datagram is lost, each waits for the other until the connection ends. So its
//! octets are sent again, a few times. Who receives a packet twice drops the second.
//!
//! That is more than three times what came. It is done only where the address is the one that the
//! handshake proved and the port alone is new: nobody else can be flooded so.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use quinn_proto::{EcnCodepoint, Transmit};

/// So often, the first time after two round trips, then each time after twice as long.
const TIMES: u8 = 6;
const SOONEST: Duration = Duration::from_millis(30);
const LATEST: Duration = Duration::from_secs(1);

/// The datagram, and when it is sent again.
struct Said {
    octets: Vec<u8>,
    ecn: Option<EcnCodepoint>,
    from: Option<IpAddr>,
    at: Instant,
    pause: Duration,
    left: u8,
}

/// An address that has not answered.
struct Unproved {
    peer: SocketAddr,
    /// Answers to challenges that had come when it was first seen.
    answers: u64,
    said: Option<Said>,
}

/// Where a viewer is, and whether it is known to hear there.
pub struct Whereabouts {
    /// What the handshake proved.
    proved: IpAddr,
    peer: SocketAddr,
    unproved: Option<Box<Unproved>>,
}

impl Whereabouts {
    /// Of a connection that begins.
    pub fn new(peer: SocketAddr) -> Self {
        Self { proved: peer.ip(), peer, unproved: None }
    }

    /// After a datagram `from` somewhere: QUIC now sends to `peer`, and so many challenges were
    /// answered.
    pub fn on_datagram(
        &mut self,
        from: SocketAddr,
        peer: SocketAddr,
        answers: impl FnOnce() -> u64,
    ) {
        if peer != self.peer {
            self.peer = peer;
            self.unproved = (peer.ip() == self.proved)
                .then(|| Box::new(Unproved { peer, answers: answers(), said: None }));
        } else if let Some(unproved) = &self.unproved
            && unproved.peer == from
            && self.peer == from
            && answers() > unproved.answers
        {
            self.unproved = None;
        }
    }

    /// After a deadline of QUIC, which goes back to where the viewer was before if it has not
    /// answered for three probe timeouts. It may come to hear later, so it is told again still.
    pub fn on_deadline(&mut self, peer: SocketAddr) {
        self.peer = peer;
    }

    /// Notes what was sent, if it is the first to a new address; a round trip takes so long.
    pub fn on_sent(
        &mut self,
        transmit: &Transmit,
        octets: &[u8],
        (round_trip, now): (Duration, Instant),
    ) {
        let Some(unproved) = &mut self.unproved else { return };
        if unproved.said.is_some() || unproved.peer != transmit.destination {
            return;
        }
        let length = transmit.segment_size.unwrap_or(transmit.size).min(octets.len());
        let pause = (round_trip * 2).clamp(SOONEST, LATEST);
        unproved.said = Some(Said {
            octets: octets[..length].to_vec(),
            ecn: transmit.ecn,
            from: transmit.src_ip,
            at: now + pause,
            pause,
            left: TIMES,
        });
    }

    /// When there is something to say again.
    pub fn due(&self) -> Option<Instant> {
        self.unproved.as_ref()?.said.as_ref().map(|said| said.at)
    }

    /// What is to be sent again now.
    pub fn again(&mut self, now: Instant) -> Option<(Transmit, &[u8])> {
        if self.due().is_none_or(|at| at > now) {
            return None;
        }
        if self.has_said_enough() {
            self.unproved = None;
            return None;
        }
        let unproved = self.unproved.as_mut()?;
        let said = unproved.said.as_mut()?;
        said.left -= 1;
        said.pause *= 2;
        said.at = now + said.pause;
        let transmit = Transmit {
            destination: unproved.peer,
            ecn: said.ecn,
            size: said.octets.len(),
            segment_size: None,
            src_ip: said.from,
        };
        Some((transmit, &said.octets[..]))
    }

    fn has_said_enough(&self) -> bool {
        let said = self.unproved.as_ref().and_then(|unproved| unproved.said.as_ref());
        said.is_some_and(|said| said.left == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, host], port))
    }

    fn sent_to(destination: SocketAddr) -> Transmit {
        Transmit { destination, ecn: None, size: 2_400, segment_size: Some(1_200), src_ip: None }
    }

    // What is sent again, and after how long, until there is no more.
    fn all_said(it: &mut Whereabouts, start: Instant) -> Vec<(SocketAddr, usize, Duration)> {
        let mut all = Vec::new();
        while let Some(due) = it.due() {
            assert!(it.again(due - Duration::from_nanos(1)).is_none());
            if let Some((transmit, octets)) = it.again(due) {
                assert_eq!(transmit.size, octets.len());
                all.push((transmit.destination, octets.len(), due - start));
            }
        }
        all
    }

    #[test]
    fn a_port_that_does_not_answer_is_told_again_a_few_times() {
        let (start, trip) = (Instant::now(), Duration::from_millis(50));
        let mut it = Whereabouts::new(at(1, 1));
        it.on_datagram(at(1, 1), at(1, 1), || panic!("nothing to compare with"));
        it.on_sent(&sent_to(at(1, 1)), &[0; 2_400], (trip, start));
        assert!(it.due().is_none(), "it did not move");
        it.on_datagram(at(1, 2), at(1, 2), || 3);
        it.on_sent(&sent_to(at(1, 1)), &[0; 2_400], (trip, start));
        assert!(it.due().is_none(), "the address before is not told again");
        it.on_sent(&sent_to(at(1, 2)), &[0; 2_400], (trip, start));
        it.on_sent(&sent_to(at(1, 2)), &[0; 2_400], (trip, start + trip));
        let after = [100, 300, 700, 1_500, 3_100, 6_300].map(Duration::from_millis);
        let wanted: Vec<(SocketAddr, usize, Duration)> =
            after.map(|after| (at(1, 2), 1_200, after)).into();
        assert_eq!(all_said(&mut it, start), wanted);
    }

    #[test]
    fn an_answer_from_there_ends_it_and_no_other_does() {
        let (start, trip) = (Instant::now(), Duration::ZERO);
        let mut it = Whereabouts::new(at(1, 1));
        it.on_datagram(at(1, 2), at(1, 2), || 3);
        it.on_sent(&sent_to(at(1, 2)), &[0; 2_400], (trip, start));
        assert_eq!(it.due(), Some(start + SOONEST));
        it.on_datagram(at(1, 2), at(1, 2), || 3);
        it.on_datagram(at(1, 1), at(1, 2), || 4);
        assert!(it.due().is_some());
        it.on_deadline(at(1, 1));
        assert!(it.due().is_some(), "QUIC has given up, and this has not");
        it.on_datagram(at(1, 2), at(1, 1), || 4);
        assert!(it.due().is_some(), "QUIC has not followed");
        it.on_datagram(at(1, 2), at(1, 2), || 4);
        assert!(it.due().is_none(), "it moves anew");
        it.on_sent(&sent_to(at(1, 2)), &[0; 2_400], (trip, start));
        it.on_datagram(at(1, 2), at(1, 2), || 5);
        assert!(it.due().is_none());
    }

    #[test]
    fn an_address_that_the_handshake_did_not_prove_gets_nothing_more() {
        let (start, trip) = (Instant::now(), Duration::ZERO);
        let mut it = Whereabouts::new(at(1, 1));
        for port in [1, 2] {
            it.on_datagram(at(2, port), at(2, port), || 0);
            it.on_sent(&sent_to(at(2, port)), &[0; 2_400], (trip, start));
            assert!(it.due().is_none());
        }
        it.on_datagram(at(1, 3), at(1, 3), || 0);
        it.on_sent(&sent_to(at(1, 3)), &[0; 2_400], (Duration::from_secs(60), start));
        assert_eq!(it.due(), Some(start + LATEST));
    }
}
