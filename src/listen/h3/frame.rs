//! Pure: frames and error codes of HTTP/3 (RFC 9114 §7, §8), and the integers that they are made
//! of (RFC 9000 §16).

use std::borrow::Cow;

/// Kinds of frames.
pub mod kind {
    pub const DATA: u64 = 0x0;
    pub const HEADERS: u64 = 0x1;
    pub const CANCEL_PUSH: u64 = 0x3;
    pub const SETTINGS: u64 = 0x4;
    pub const PUSH_PROMISE: u64 = 0x5;
    pub const GOAWAY: u64 = 0x7;
    pub const MAX_PUSH_ID: u64 = 0xd;

    /// Kinds that HTTP/2 has and HTTP/3 has not; they may not be used (§7.2.8).
    pub const fn is_of_h2(kind: u64) -> bool {
        matches!(kind, 0x2 | 0x6 | 0x8 | 0x9)
    }
}

/// Why a stream or a connection ends (§8.1, RFC 9204 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Code {
    NoError = 0x100,
    Internal = 0x102,
    StreamCreation = 0x103,
    ClosedCriticalStream = 0x104,
    FrameUnexpected = 0x105,
    Frame = 0x106,
    ExcessiveLoad = 0x107,
    Id = 0x108,
    Settings = 0x109,
    MissingSettings = 0x10a,
    RequestRejected = 0x10b,
    RequestCancelled = 0x10c,
    RequestIncomplete = 0x10d,
    Message = 0x10e,
    DecompressionFailed = 0x200,
    EncoderStream = 0x201,
    DecoderStream = 0x202,
}

/// A connection's end that it owes to the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fatal(pub Code, pub &'static str);

/// Reads an integer and says how many octets it takes; `None` if they are not all there.
pub fn read_integer(octets: &[u8]) -> Option<(u64, usize)> {
    let first = *octets.first()?;
    let len = 1usize << (first >> 6);
    let rest = octets.get(1..len)?;
    let value =
        rest.iter().fold(u64::from(first & 0x3f), |value, byte| (value << 8) | u64::from(*byte));
    Some((value, len))
}

/// Writes an integer below 2^62.
pub fn write_integer(out: &mut Vec<u8>, value: u64) {
    if value < 1 << 6 {
        out.push(value as u8);
    } else if value < 1 << 14 {
        out.extend_from_slice(&(0x4000 | value as u16).to_be_bytes());
    } else if value < 1 << 30 {
        out.extend_from_slice(&(0x8000_0000 | value as u32).to_be_bytes());
    } else {
        out.extend_from_slice(&(0xc000_0000_0000_0000 | value).to_be_bytes());
    }
}

/// Writes a whole frame.
pub fn write(out: &mut Vec<u8>, kind: u64, payload: &[u8]) {
    write_integer(out, kind);
    write_integer(out, payload.len() as u64);
    out.extend_from_slice(payload);
}

/// Writes what stands before so many octets of a body.
pub fn write_data_head(out: &mut Vec<u8>, len: u64) {
    write_integer(out, kind::DATA);
    write_integer(out, len);
}

/// Begins a HEADERS frame whose length is not known yet; gives where its fields begin.
pub fn begin_headers(out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[kind::HEADERS as u8, 0, 0]);
    out.len()
}

/// Ends a HEADERS frame whose fields begin at `start`.
pub fn end_headers(out: &mut Vec<u8>, start: usize) {
    let len = out.len() - start;
    if len < 1 << 14 {
        out[start - 2..start].copy_from_slice(&(0x4000 | len as u16).to_be_bytes());
    } else {
        drop(out.splice(start - 2..start, (0x8000_0000 | len as u32).to_be_bytes()));
    }
}

/// Kind and length at the front of a frame, and how many octets they take.
pub fn read_head(octets: &[u8]) -> Option<(u64, u64, usize)> {
    let (kind, first) = read_integer(octets)?;
    let (len, second) = read_integer(&octets[first..])?;
    Some((kind, len, first + second))
}

/// How far the sequence of a request's frames has come (§4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    #[default]
    Head,
    Body,
    /// Behind the trailers.
    End,
}

/// What a request stream brings.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'i> {
    /// A whole field section: the head, or trailers.
    Fields(Cow<'i, [u8]>),
    /// Octets of the body, as many as have come.
    Data(&'i [u8]),
}

/// The frames of one request stream, in whatever pieces they come.
#[derive(Debug, Default)]
pub struct Frames {
    /// A frame's head or a field section that is not whole yet.
    held: Vec<u8>,
    /// Kind and octets left of the frame under way.
    under_way: Option<(u64, u64)>,
    pub stage: Stage,
    /// Frames without an octet of a request in them.
    pub idle: u32,
}

impl Frames {
    /// Says whether the stream stands between two frames.
    pub const fn is_between(&self) -> bool {
        self.under_way.is_none() && self.held.is_empty()
    }

    /// The next piece of `input`, which is what of it is left; `None` once nothing more is in it. A
    /// field section may have so many octets at most.
    pub fn next<'i>(
        &mut self,
        input: &mut &'i [u8],
        most: u64,
    ) -> Result<Option<Piece<'i>>, Fatal> {
        loop {
            let Some((kind, left)) = self.under_way else {
                let Some((kind, len)) = self.head(input) else { return Ok(None) };
                self.begin(kind, len, most)?;
                continue;
            };
            if kind == kind::HEADERS {
                let Some(fields) = self.fields(input, left) else { return Ok(None) };
                self.stage = if self.stage == Stage::Head { Stage::Body } else { Stage::End };
                return Ok(Some(Piece::Fields(fields)));
            }
            if input.is_empty() {
                return Ok(None);
            }
            let taken = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
            let (octets, rest) = input.split_at(taken);
            *input = rest;
            let left = left - taken as u64;
            self.under_way = (left > 0).then_some((kind, left));
            if kind == kind::DATA {
                return Ok(Some(Piece::Data(octets)));
            }
        }
    }

    // Kind and length of the next frame, once they are there.
    fn head(&mut self, input: &mut &[u8]) -> Option<(u64, u64)> {
        if self.held.is_empty()
            && let Some((kind, len, used)) = read_head(input)
        {
            *input = &input[used..];
            return Some((kind, len));
        }
        while let Some((first, rest)) = input.split_first() {
            self.held.push(*first);
            *input = rest;
            if let Some((kind, len, _)) = read_head(&self.held) {
                self.held.clear();
                return Some((kind, len));
            }
        }
        None
    }

    fn begin(&mut self, kind: u64, len: u64, most: u64) -> Result<(), Fatal> {
        match kind {
            kind::DATA if self.stage != Stage::Body => {
                return Err(Fatal(Code::FrameUnexpected, "DATA where none may be"));
            }
            kind::HEADERS if self.stage == Stage::End => {
                return Err(Fatal(Code::FrameUnexpected, "a field section behind the trailers"));
            }
            kind::HEADERS if len > most => {
                return Err(Fatal(Code::ExcessiveLoad, "a field section beyond all bounds"));
            }
            kind::CANCEL_PUSH
            | kind::SETTINGS
            | kind::PUSH_PROMISE
            | kind::GOAWAY
            | kind::MAX_PUSH_ID => {
                return Err(Fatal(Code::FrameUnexpected, "a frame that no request stream has"));
            }
            _ if kind::is_of_h2(kind) => {
                return Err(Fatal(Code::FrameUnexpected, "a frame of HTTP/2"));
            }
            _ => {}
        }
        if kind != kind::HEADERS && (kind != kind::DATA || len == 0) {
            self.idle += 1;
        }
        self.under_way = (len > 0 || kind == kind::HEADERS).then_some((kind, len));
        Ok(())
    }

    // A field section of `left` octets beyond those that are held, once it is whole.
    fn fields<'i>(&mut self, input: &mut &'i [u8], left: u64) -> Option<Cow<'i, [u8]>> {
        let wanted = usize::try_from(left).unwrap_or(usize::MAX);
        let taken = wanted.min(input.len());
        let (octets, rest) = input.split_at(taken);
        *input = rest;
        if taken == wanted && self.held.is_empty() {
            self.under_way = None;
            return Some(Cow::Borrowed(octets));
        }
        self.held.extend_from_slice(octets);
        if taken < wanted {
            self.under_way = Some((kind::HEADERS, left - taken as u64));
            return None;
        }
        self.under_way = None;
        Some(Cow::Owned(std::mem::take(&mut self.held)))
    }
}

/// What the peer's SETTINGS say that matters here: nothing so far, but they have to be in order
/// (§7.2.4).
pub fn check_settings(payload: &[u8]) -> Result<(), Fatal> {
    let short = Fatal(Code::Frame, "settings that end within one");
    let (mut rest, mut seen) = (payload, Vec::new());
    while !rest.is_empty() {
        let (id, first) = read_integer(rest).ok_or(short)?;
        let (_, second) = read_integer(&rest[first..]).ok_or(short)?;
        rest = &rest[first + second..];
        // Those of HTTP/2 that have no other meaning here are reserved (§7.2.4.1, §11.2.2).
        if matches!(id, 0x0 | 0x2..=0x5) {
            return Err(Fatal(Code::Settings, "a setting of HTTP/2"));
        }
        if seen.contains(&id) {
            return Err(Fatal(Code::Settings, "a setting twice"));
        }
        if seen.len() >= 64 {
            return Err(Fatal(Code::ExcessiveLoad, "settings without end"));
        }
        seen.push(id);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rfc9000_a1_integers() {
        for (octets, value) in [
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c][..], 151_288_809_941_952_652),
            (&[0x9d, 0x7f, 0x3e, 0x7d][..], 494_878_333),
            (&[0x7b, 0xbd][..], 15_293),
            (&[0x25][..], 37),
        ] {
            assert_eq!(read_integer(octets), Some((value, octets.len())));
            let mut out = Vec::new();
            write_integer(&mut out, value);
            assert_eq!(out, octets);
            assert_eq!(read_integer(&octets[..octets.len() - 1]), None);
        }
        assert_eq!(read_integer(&[0x40, 0x25]), Some((37, 2)), "longer than needed");
    }

    // What frames come to, however they are cut.
    fn told(input: &[u8], cut: usize) -> Result<Vec<String>, Code> {
        let (mut frames, mut told) = (Frames::default(), Vec::<String>::new());
        for chunk in input.chunks(cut) {
            let mut rest = chunk;
            while let Some(piece) = frames.next(&mut rest, 100).map_err(|fatal| fatal.0)? {
                let data = match piece {
                    Piece::Fields(fields) => {
                        told.push(format!("fields {}", fields.len()));
                        continue;
                    }
                    Piece::Data(data) => data,
                };
                if !told.last().is_some_and(|last| last.starts_with("data")) {
                    told.push("data".into());
                }
                if let Some(last) = told.last_mut() {
                    last.extend(data.iter().map(|octet| char::from(*octet)));
                }
            }
        }
        if !frames.is_between() {
            told.push("within".into());
        }
        Ok(told)
    }

    fn frames(all: &[(u64, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        all.iter().for_each(|(kind, payload)| write(&mut out, *kind, payload));
        out
    }

    #[test]
    fn rfc9114_4_1_a_message_however_it_is_cut() {
        let whole = frames(&[
            (0x21, b"grease"),
            (kind::HEADERS, &[0; 70]),
            (kind::DATA, b"one"),
            (0x40, b""),
            (kind::DATA, b""),
            (kind::DATA, b"two"),
            (kind::HEADERS, b"t"),
            (0xf0700, b"unknown"),
        ]);
        for cut in 1..=whole.len() {
            assert_eq!(told(&whole, cut).unwrap(), ["fields 70", "dataonetwo", "fields 1"]);
        }
        let last = told(&whole[..whole.len() - 1], 9).unwrap();
        assert_eq!(last.last().map(String::as_str), Some("within"));
    }

    #[test]
    fn rfc9114_7_frames_out_of_place() {
        let frame = |kind: u64, payload: &'static [u8]| (kind, payload);
        let head = frame(kind::HEADERS, b"h");
        for (all, code) in [
            (vec![frame(kind::DATA, b"x")], Code::FrameUnexpected),
            (vec![head, head, head], Code::FrameUnexpected),
            (vec![head, head, frame(kind::DATA, b"x")], Code::FrameUnexpected),
            (vec![frame(kind::SETTINGS, b"")], Code::FrameUnexpected),
            (vec![head, frame(kind::GOAWAY, b"\0")], Code::FrameUnexpected),
            (vec![frame(kind::CANCEL_PUSH, b"\0")], Code::FrameUnexpected),
            (vec![frame(kind::MAX_PUSH_ID, b"\0")], Code::FrameUnexpected),
            (vec![frame(kind::PUSH_PROMISE, b"\0")], Code::FrameUnexpected),
            (vec![frame(0x2, b"")], Code::FrameUnexpected),
            (vec![frame(0x6, b"")], Code::FrameUnexpected),
            (vec![frame(0x8, b"")], Code::FrameUnexpected),
            (vec![head, frame(0x9, b"")], Code::FrameUnexpected),
            (vec![frame(kind::HEADERS, &[0; 101])], Code::ExcessiveLoad),
        ] {
            let octets = frames(&all);
            for cut in 1..=octets.len() {
                assert_eq!(told(&octets, cut), Err(code), "{all:?}");
            }
        }
    }

    #[test]
    fn rfc9114_7_2_4_settings() {
        assert_eq!(check_settings(&[]), Ok(()));
        assert_eq!(check_settings(&[0x1, 0, 0x7, 0, 0x6, 0x50, 0, 0x21, 1]), Ok(()));
        for (payload, code) in [
            (&[0x6][..], Code::Frame),
            (&[0x6, 0x40][..], Code::Frame),
            (&[0x6, 1, 0x6, 1][..], Code::Settings),
            (&[0x0, 0][..], Code::Settings),
            (&[0x2, 0][..], Code::Settings),
            (&[0x3, 0][..], Code::Settings),
            (&[0x4, 0][..], Code::Settings),
            (&[0x5, 0][..], Code::Settings),
        ] {
            assert_eq!(check_settings(payload).map_err(|fatal| fatal.0), Err(code), "{payload:?}");
        }
    }

    #[test]
    fn heads_of_any_length_can_be_written() {
        for len in [0, 1, 63, 64, 16_383, 16_384, 70_000] {
            let mut out = b"before".to_vec();
            let start = begin_headers(&mut out);
            out.resize(start + len, 7);
            end_headers(&mut out, start);
            let (kind, told, used) = read_head(&out[6..]).unwrap();
            assert_eq!((kind, told, out.len() - 6 - used), (kind::HEADERS, len as u64, len));
            assert!(out[6 + used..].iter().all(|byte| *byte == 7));
        }
    }

    proptest! {
        #[test]
        fn arbitrary_octets_are_read_the_same_however_they_are_cut(
            octets in proptest::collection::vec(any::<u8>(), 0..60),
            cut in 1usize..20,
        ) {
            prop_assert_eq!(told(&octets, cut), told(&octets, octets.len().max(1)));
            let _ = check_settings(&octets);
        }
    }
}
