//! Pure: the opening handshake of a WebSocket (RFC 6455 §4), judged on both sides, and as much of
//! its frames (§5) as it takes to end one in order.
//!
//! Nothing here knows a socket. A key or a version that is not exactly right is refused before an
//! origin hears of it; an accept value that does not answer the key is no agreement, whatever the
//! status says.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

// RFC 6455 §1.3: appended to the key before hashing.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Why a handshake was not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeError {
    /// No key, several, or not 16 octets in base64 (400).
    Key,
    /// Not version 13 (426 with `Sec-WebSocket-Version: 13`).
    Version,
}

/// The key of a viewer's handshake, from all lines of `Sec-WebSocket-Key` and
/// `Sec-WebSocket-Version`. Each must be there once.
pub fn asked<'a>(
    keys: impl Iterator<Item = &'a [u8]>,
    versions: impl Iterator<Item = &'a [u8]>,
) -> Result<&'a [u8], HandshakeError> {
    if only(versions) != Some(&b"13"[..]) {
        return Err(HandshakeError::Version);
    }
    let key = only(keys).ok_or(HandshakeError::Key)?;
    let decoded = STANDARD.decode(key).map_err(|_| HandshakeError::Key)?;
    if decoded.len() == 16 { Ok(key) } else { Err(HandshakeError::Key) }
}

/// A key for a handshake of our own, of sixteen octets that were drawn by chance (RFC 6455 §4.1).
pub fn key_of(chance: [u8; 16]) -> String {
    STANDARD.encode(chance)
}

/// The `Sec-WebSocket-Accept` that answers this key (RFC 6455 §4.2.2).
pub fn accept_of(key: &[u8]) -> String {
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, GUID].concat());
    STANDARD.encode(hash.as_ref())
}

/// Says whether the lines of `Sec-WebSocket-Accept` answer this key: one line, the right one.
pub fn accepted<'a>(key: &[u8], lines: impl Iterator<Item = &'a [u8]>) -> bool {
    only(lines) == Some(accept_of(key).as_bytes())
}

fn only<'a>(mut lines: impl Iterator<Item = &'a [u8]>) -> Option<&'a [u8]> {
    let first = lines.next()?;
    lines.next().is_none().then_some(first)
}

/// Why an edge ends a WebSocket (RFC 6455 §7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum CloseCode {
    /// It is going down.
    GoingAway = 1001,
    /// The origin is gone.
    InternalError = 1011,
}

const FIN: u8 = 0x80;
const CLOSE: u8 = 0x8;
const MASKED: u8 = 0x80;
// A code, and no words.
const CODE_LEN: u8 = 2;

/// A Close frame as a server sends it.
pub const fn close(code: CloseCode) -> [u8; 4] {
    let [high, low] = (code as u16).to_be_bytes();
    [FIN | CLOSE, CODE_LEN, high, low]
}

/// A Close frame as a client sends it. The mask is to be drawn by chance (RFC 6455 §5.3).
pub const fn masked_close(code: CloseCode, mask: [u8; 4]) -> [u8; 8] {
    let [high, low] = (code as u16).to_be_bytes();
    let [a, b, c, d] = mask;
    [FIN | CLOSE, MASKED | CODE_LEN, a, b, c, d, high ^ a, low ^ b]
}

// The first two octets, eight of a length, four of a mask.
const HEAD_MAX: usize = 14;

/// Where one direction of a WebSocket stands among its frames (RFC 6455 §5.2). Heads are read,
/// payloads stepped over; nothing is judged.
#[derive(Clone, Debug, Default)]
pub struct FrameTracker {
    head: [u8; HEAD_MAX],
    /// Octets of a head that is not whole yet.
    head_len: usize,
    /// Octets of a payload that are still to come.
    left: u64,
    has_closed: bool,
}

impl FrameTracker {
    /// Follows octets that were carried.
    pub fn follow(&mut self, mut octets: &[u8]) {
        while !octets.is_empty() {
            if self.left > 0 {
                let here =
                    usize::try_from(self.left).map_or(octets.len(), |left| left.min(octets.len()));
                self.left -= here as u64;
                octets = &octets[here..];
                continue;
            }
            let wanted = self.head_size() - self.head_len;
            let (more, rest) = octets.split_at(wanted.min(octets.len()));
            self.head[self.head_len..self.head_len + more.len()].copy_from_slice(more);
            self.head_len += more.len();
            octets = rest;
            // The second octet may have said that the head is longer.
            if self.head_len == self.head_size() {
                self.has_closed |= self.head[0] & 0x0f == CLOSE;
                self.left = self.payload_len();
                self.head_len = 0;
            }
        }
    }

    /// Says whether a Close frame may stand here: between two frames, and not behind another one
    /// (RFC 6455 §5.5.1).
    pub const fn takes_close(&self) -> bool {
        self.head_len == 0 && self.left == 0 && !self.has_closed
    }

    /// Says whether a Close frame has begun.
    pub const fn has_closed(&self) -> bool {
        self.has_closed
    }

    // As far as it is known.
    const fn head_size(&self) -> usize {
        if self.head_len < 2 {
            return 2;
        }
        let mask = if self.head[1] & MASKED != 0 { 4 } else { 0 };
        mask + match self.head[1] & 0x7f {
            126 => 4,
            127 => 10,
            _ => 2,
        }
    }

    const fn payload_len(&self) -> u64 {
        let h = &self.head;
        match h[1] & 0x7f {
            126 => u16::from_be_bytes([h[2], h[3]]) as u64,
            127 => u64::from_be_bytes([h[2], h[3], h[4], h[5], h[6], h[7], h[8], h[9]]),
            short => short as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &[u8] = b"dGhlIHNhbXBsZSBub25jZQ==";
    const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    fn one(line: &[u8]) -> std::iter::Once<&[u8]> {
        std::iter::once(line)
    }

    #[test]
    fn the_key_of_the_rfc_has_the_accept_of_the_rfc() {
        assert!(accepted(KEY, one(ACCEPT)));
        assert!(!accepted(KEY, one(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOO=")));
        assert!(!accepted(KEY, std::iter::empty()));
        assert!(!accepted(KEY, [ACCEPT, ACCEPT].into_iter()));
    }

    #[test]
    fn a_handshake_has_one_key_of_sixteen_octets_and_version_13() {
        assert_eq!(asked(one(KEY), one(b"13")), Ok(KEY));
        assert_eq!(asked(one(KEY), one(b"8")), Err(HandshakeError::Version));
        assert_eq!(asked(one(KEY), std::iter::empty()), Err(HandshakeError::Version));
        assert_eq!(asked(std::iter::empty(), one(b"13")), Err(HandshakeError::Key));
        assert_eq!(asked([KEY, KEY].into_iter(), one(b"13")), Err(HandshakeError::Key));
        assert_eq!(asked(one(b"c2hvcnQ="), one(b"13")), Err(HandshakeError::Key));
    }

    #[test]
    fn a_key_of_our_own_is_one_that_servers_take() {
        let key = key_of([7; 16]);
        assert_eq!(asked(one(key.as_bytes()), one(b"13")), Ok(key.as_bytes()));
    }

    fn frame(opcode: u8, mask: Option<[u8; 4]>, len: usize) -> Vec<u8> {
        let masked = if mask.is_some() { MASKED } else { 0 };
        let mut all = vec![FIN | opcode];
        match len {
            0..126 => all.push(masked | len as u8),
            126..0x1_0000 => {
                all.push(masked | 126);
                all.extend((len as u16).to_be_bytes());
            }
            _ => {
                all.push(masked | 127);
                all.extend((len as u64).to_be_bytes());
            }
        }
        all.extend(mask.into_iter().flatten());
        all.extend((0..len).map(|at| at as u8));
        all
    }

    #[test]
    fn rfc6455_5_5_1_close_frames() {
        assert_eq!(close(CloseCode::GoingAway), [0x88, 2, 0x03, 0xe9]);
        assert_eq!(close(CloseCode::InternalError), [0x88, 2, 0x03, 0xf3]);
        let masked = masked_close(CloseCode::GoingAway, [1, 2, 3, 4]);
        assert_eq!(masked, [0x88, 0x82, 1, 2, 3, 4, 0x03 ^ 1, 0xe9 ^ 2]);
        for octets in [&close(CloseCode::GoingAway)[..], &masked] {
            let mut at = FrameTracker::default();
            at.follow(octets);
            assert!(at.has_closed() && !at.takes_close(), "nothing stands behind a Close");
        }
    }

    #[test]
    fn a_frame_without_end_has_none() {
        let mut at = FrameTracker::default();
        at.follow(&[0x82, 0xff]);
        at.follow(&[0xff; 12]);
        at.follow(&[0; 100_000]);
        assert!(!at.takes_close() && !at.has_closed());
    }

    proptest! {
        #[test]
        fn frames_of_any_size_end_where_they_end(
            lens in proptest::collection::vec(
                (prop_oneof![0usize..200, Just(126usize), Just(65_535usize), Just(65_536usize)], any::<Option<[u8; 4]>>()),
                1..5,
            ),
            step in 1usize..300,
        ) {
            let (mut all, mut ends) = (Vec::new(), vec![0]);
            for (len, mask) in lens {
                all.extend(frame(2, mask, len));
                ends.push(all.len());
            }
            let (mut at, mut seen) = (FrameTracker::default(), 0);
            prop_assert!(at.takes_close());
            for piece in all.chunks(step) {
                at.follow(piece);
                seen += piece.len();
                prop_assert_eq!(at.takes_close(), ends.contains(&seen), "{}", seen);
            }
        }
    }
}
