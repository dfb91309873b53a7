//! Pure: HTTP/2 frames (RFC 9113 §4, §6), their heads, their paddings, the settings. No state of a
//! connection.

/// What a client sends first (§3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Octets of a frame's head.
pub const HEAD: usize = 9;
/// The largest payload we take, and what every peer takes.
pub const FRAME_MAX: usize = 16_384;
/// The largest flow-control window there is.
pub const WINDOW_MAX: i64 = (1 << 31) - 1;
/// Every window before anything was said.
pub const WINDOW_START: i64 = 65_535;

/// Frame types; others are stepped over (§5.5).
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Flags; ACK and END_STREAM are the same bit of different frames.
pub mod flag {
    pub const END_STREAM: u8 = 0x1;
    pub const ACK: u8 = 0x1;
    pub const END_HEADERS: u8 = 0x4;
    pub const PADDED: u8 = 0x8;
    pub const PRIORITY: u8 = 0x20;
}

/// Error codes (§7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Code {
    NoError = 0,
    Protocol = 1,
    Internal = 2,
    FlowControl = 3,
    StreamClosed = 5,
    FrameSize = 6,
    RefusedStream = 7,
    Cancel = 8,
    Compression = 9,
    EnhanceYourCalm = 11,
}

/// A frame's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    pub len: usize,
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
}

impl FrameHead {
    /// Reads a head, if it is all there.
    pub fn read(octets: &[u8]) -> Option<Self> {
        let head: &[u8; HEAD] = octets.first_chunk()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        Some(Self {
            len: usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]),
            kind: head[3],
            flags: head[4],
            stream,
        })
    }

    /// The head as octets.
    pub const fn octets(self) -> [u8; HEAD] {
        let [_, a, b, c] = (self.len as u32).to_be_bytes();
        let [d, e, f, g] = self.stream.to_be_bytes();
        [a, b, c, self.kind, self.flags, d, e, f, g]
    }

    /// Says whether a flag is set.
    pub const fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Writes a frame with a payload that is at hand.
pub fn write(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&FrameHead { len: payload.len(), kind, flags, stream }.octets());
    out.extend_from_slice(payload);
}

/// Begins a header block in `out`; `end_block` closes it.
pub fn begin_block(out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[0; HEAD]);
    out.len()
}

/// Closes a block that began at `start`: one frame, or as many as it needs (§4.3).
pub fn end_block(out: &mut Vec<u8>, start: usize, stream: u32, flags: u8) {
    let len = out.len() - start;
    let first = len.min(FRAME_MAX);
    let closes = if first == len { flag::END_HEADERS } else { 0 };
    let head = FrameHead { len: first, kind: kind::HEADERS, flags: flags | closes, stream };
    out[start - HEAD..start].copy_from_slice(&head.octets());
    if first < len {
        let rest = out.split_off(start + first);
        let mut pieces = rest.chunks(FRAME_MAX).peekable();
        while let Some(piece) = pieces.next() {
            let closes = if pieces.peek().is_none() { flag::END_HEADERS } else { 0 };
            write(out, kind::CONTINUATION, closes, stream, piece);
        }
    }
}

/// Takes the padding off a payload (§6.1).
pub fn unpadded(head: FrameHead, payload: &[u8]) -> Result<&[u8], Code> {
    if !head.has(flag::PADDED) {
        return Ok(payload);
    }
    let (pad, rest) = payload.split_first().ok_or(Code::FrameSize)?;
    rest.len().checked_sub(usize::from(*pad)).map(|len| &rest[..len]).ok_or(Code::Protocol)
}

/// The piece of a header block in a HEADERS frame, and the stream it says it depends on (§6.2).
pub fn header_piece(head: FrameHead, payload: &[u8]) -> Result<(&[u8], Option<u32>), Code> {
    let rest = unpadded(head, payload)?;
    if !head.has(flag::PRIORITY) {
        return Ok((rest, None));
    }
    let (priority, rest) = rest.split_at_checked(5).ok_or(Code::FrameSize)?;
    Ok((rest, Some(number(priority) & 0x7fff_ffff)))
}

/// The first four octets as a number.
pub fn number(octets: &[u8]) -> u32 {
    octets.first_chunk().map_or(0, |four| u32::from_be_bytes(*four))
}

/// What a peer told of itself, as far as it matters to one that answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerSettings {
    /// The send window each stream begins with.
    pub window: i64,
}

impl PeerSettings {
    /// Follows a SETTINGS payload (§6.5.2). Frames larger than the least that every peer takes are
    /// never sent, and no table is kept, so those settings are only checked.
    pub fn apply(&mut self, payload: &[u8]) -> Result<(), Code> {
        if !payload.len().is_multiple_of(6) {
            return Err(Code::FrameSize);
        }
        for setting in payload.chunks_exact(6) {
            let value = number(&setting[2..]);
            match u16::from_be_bytes([setting[0], setting[1]]) {
                2 if value > 1 => return Err(Code::Protocol),
                4 if i64::from(value) > WINDOW_MAX => return Err(Code::FlowControl),
                4 => self.window = i64::from(value),
                5 if !(16_384..=16_777_215).contains(&value) => return Err(Code::Protocol),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Settings as a payload.
pub fn settings(pairs: &[(u16, u32)]) -> Vec<u8> {
    pairs
        .iter()
        .flat_map(|(name, value)| {
            [name.to_be_bytes().as_slice(), value.to_be_bytes().as_slice()].concat()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rfc9113_4_1_heads_survive() {
        let head = FrameHead { len: 0x01_2345, kind: 9, flags: 0x25, stream: 0x7fff_fffe };
        assert_eq!(FrameHead::read(&head.octets()), Some(head));
        let reserved = [0, 0, 0, 0, 0, 0x80, 0, 0, 1];
        assert_eq!(FrameHead::read(&reserved).unwrap().stream, 1, "the reserved bit is ignored");
        assert_eq!(FrameHead::read(&reserved[..8]), None);
    }

    #[test]
    fn rfc9113_6_1_padding_is_taken_off_or_refused() {
        let head = |flags| FrameHead { len: 0, kind: kind::DATA, flags, stream: 1 };
        assert_eq!(unpadded(head(flag::PADDED), b"\x02abcd"), Ok(&b"ab"[..]));
        assert_eq!(unpadded(head(flag::PADDED), b"\x04abc"), Err(Code::Protocol));
        assert_eq!(unpadded(head(flag::PADDED), b""), Err(Code::FrameSize));
        assert_eq!(unpadded(head(0), b"\x02ab"), Ok(&b"\x02ab"[..]));
        assert_eq!(
            header_piece(head(flag::PRIORITY), b"\x80\x00\x00\x03\x10xy"),
            Ok((&b"xy"[..], Some(3)))
        );
        assert_eq!(header_piece(head(flag::PRIORITY), b"\x00\x00"), Err(Code::FrameSize));
    }

    #[test]
    fn rfc9113_6_5_2_settings_are_checked() {
        let check = |name: u16, value: u32| {
            PeerSettings { window: WINDOW_START }.apply(&settings(&[(name, value)]))
        };
        assert_eq!(check(2, 2), Err(Code::Protocol));
        assert_eq!(check(4, 1 << 31), Err(Code::FlowControl));
        assert_eq!(check(5, 16_383), Err(Code::Protocol));
        assert_eq!(check(5, 1 << 24), Err(Code::Protocol));
        assert_eq!(check(0x1234, 7), Ok(()), "unknown ones are ignored");
        assert_eq!(PeerSettings { window: 1 }.apply(&[0; 5]), Err(Code::FrameSize));
        let mut peer = PeerSettings { window: WINDOW_START };
        peer.apply(&settings(&[(4, 10), (4, 0)])).unwrap();
        assert_eq!(peer.window, 0, "the last one holds");
    }

    proptest! {
        #[test]
        fn a_block_of_any_size_is_framed_whole(len in 0usize..40_000) {
            let mut out = b"before".to_vec();
            let start = begin_block(&mut out);
            out.extend((0..len).map(|at| at as u8));
            end_block(&mut out, start, 5, flag::END_STREAM);
            let (mut rest, mut block, mut first) = (&out[6..], Vec::new(), true);
            while let Some(head) = FrameHead::read(rest) {
                prop_assert!(head.len <= FRAME_MAX && head.stream == 5);
                prop_assert_eq!(head.kind, if first { kind::HEADERS } else { kind::CONTINUATION });
                prop_assert_eq!(head.flags & flag::END_STREAM != 0, first);
                block.extend_from_slice(&rest[HEAD..HEAD + head.len]);
                rest = &rest[HEAD + head.len..];
                prop_assert_eq!(head.has(flag::END_HEADERS), rest.is_empty());
                first = false;
            }
            prop_assert_eq!(block, (0..len).map(|at| at as u8).collect::<Vec<_>>());
        }
    }
}
