//! Pure: how an HTTP/1 message delimits its body, and a decoder that is strict about every chunk
//! line (RFC 9112 §6, §7.1).
//!
//! Octets go in, octets of the body and "done" come out. Chunk extensions are bounded and stepped
//! over; trailers are bounded and kept apart, for the caller to ask for. It knows neither requests
//! nor responses.

use bytes::{Buf, Bytes, BytesMut};

use super::BodyError;
use crate::semantics::fields::{FieldSection, Name};
use crate::semantics::lists::{is_token, trim};

/// Longest chunk line and longest trailer section.
const LINE_MAX: usize = 4096;
const TRAILERS_MAX: usize = 8192;

/// How a message's body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    None,
    Length(u64),
    Chunked,
    /// By the end of the connection; responses only.
    Close,
}

/// Where a body is being read.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    trailers: FieldSection,
    trailer_octets: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Length(u64),
    ChunkLine,
    ChunkData(u64),
    ChunkEnd,
    Trailers,
    Close,
    Done,
}

/// What decoding gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded {
    Data(Bytes),
    /// More octets are needed.
    More,
    Done,
    Broken(BodyError),
}

impl Decoder {
    /// A decoder for a framing.
    pub const fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None => State::Done,
            Framing::Length(len) => State::Length(len),
            Framing::Chunked => State::ChunkLine,
            Framing::Close => State::Close,
        };
        Self { state, trailers: FieldSection::new(), trailer_octets: 0 }
    }

    /// Takes what it can from `buffer`.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Decoded {
        loop {
            match self.state {
                State::Done => return Decoded::Done,
                State::Length(0) => self.state = State::Done,
                State::Close => return take(buffer, u64::MAX).map_or(Decoded::More, Decoded::Data),
                State::Length(left) => match take(buffer, left) {
                    None => return Decoded::More,
                    Some(data) => {
                        self.state = State::Length(left - data.len() as u64);
                        return Decoded::Data(data);
                    }
                },
                State::ChunkData(0) => self.state = State::ChunkEnd,
                State::ChunkData(left) => match take(buffer, left) {
                    None => return Decoded::More,
                    Some(data) => {
                        self.state = State::ChunkData(left - data.len() as u64);
                        return Decoded::Data(data);
                    }
                },
                State::ChunkEnd => match buffer.get(..2) {
                    None if buffer.is_empty() || buffer[0] == b'\r' => return Decoded::More,
                    Some(b"\r\n") => {
                        buffer.advance(2);
                        self.state = State::ChunkLine;
                    }
                    _ => return Decoded::Broken(BodyError::Truncated),
                },
                State::ChunkLine => match line(buffer, LINE_MAX) {
                    Line::Partial => return Decoded::More,
                    Line::Bad => return Decoded::Broken(BodyError::Truncated),
                    Line::Whole(text) => match chunk_size(&text) {
                        Some(0) => self.state = State::Trailers,
                        Some(size) => self.state = State::ChunkData(size),
                        None => return Decoded::Broken(BodyError::Truncated),
                    },
                },
                State::Trailers => match line(buffer, LINE_MAX) {
                    Line::Partial => return Decoded::More,
                    Line::Whole(text) if text.is_empty() => self.state = State::Done,
                    Line::Whole(text) => {
                        self.trailer_octets += text.len() + 2;
                        if self.trailer_octets > TRAILERS_MAX || !self.add_trailer(&text) {
                            return Decoded::Broken(BodyError::TooLarge);
                        }
                    }
                    Line::Bad => return Decoded::Broken(BodyError::Truncated),
                },
            }
        }
    }

    // False if the line is no field.
    fn add_trailer(&mut self, line: &[u8]) -> bool {
        let Some(at) = memchr::memchr(b':', line).filter(|at| is_token(&line[..*at])) else {
            return false;
        };
        self.trailers.append(Name::of(&line[..at]), trim(&line[at + 1..]))
    }

    /// The trailers, once the body has come to its end.
    pub fn take_trailers(&mut self) -> FieldSection {
        std::mem::take(&mut self.trailers)
    }

    /// True if the connection's end is the body's.
    pub fn ends_by_close(&self) -> bool {
        self.state == State::Close
    }

    /// True once the whole body was taken from the buffer.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done | State::Length(0))
    }
}

fn take(buffer: &mut BytesMut, left: u64) -> Option<Bytes> {
    if buffer.is_empty() {
        return None;
    }
    let len = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
    Some(buffer.split_to(len).freeze())
}

enum Line {
    Partial,
    Bad,
    Whole(Bytes),
}

// A line ends with CRLF; a bare CR or LF, or a control byte, anywhere in it is refused.
fn line(buffer: &mut BytesMut, max: usize) -> Line {
    match memchr::memchr(b'\n', buffer) {
        None if buffer.len() > max => Line::Bad,
        None => Line::Partial,
        Some(0) => Line::Bad,
        Some(at) if at > max => Line::Bad,
        Some(at) => {
            let whole = buffer.split_to(at + 1).freeze();
            let text = whole.slice(..at - 1);
            let clean = whole[at - 1] == b'\r'
                && text.iter().all(|b| *b == b'\t' || (*b >= 0x20 && *b != 0x7f));
            if clean { Line::Whole(text) } else { Line::Bad }
        }
    }
}

// Hexadecimal digits, at most fifteen of them, then nothing or an extension; a quoted string in an
// extension must be closed on the same line.
fn chunk_size(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    if digits == 0 || digits > 15 {
        return None;
    }
    let rest = crate::semantics::lists::trim(&text[digits..]);
    let extension = rest.is_empty() || rest[0] == b';';
    let quotes = rest.iter().filter(|b| **b == b'"').count();
    if !extension || !quotes.is_multiple_of(2) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(&text[..digits]).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(framing: Framing, octets: &[u8], split: usize) -> (Vec<u8>, Decoded, usize) {
        let mut decoder = Decoder::new(framing);
        let mut buffer = BytesMut::new();
        let mut body = Vec::new();
        let mut fed = 0;
        loop {
            match decoder.decode(&mut buffer) {
                Decoded::Data(data) => body.extend_from_slice(&data),
                Decoded::More if fed < octets.len() => {
                    let next = (fed + split.max(1)).min(octets.len());
                    buffer.extend_from_slice(&octets[fed..next]);
                    fed = next;
                }
                end => return (body, end, octets.len() - fed + buffer.len()),
            }
        }
    }

    #[test]
    fn chunks_are_read_and_what_follows_is_left() {
        for split in 1..60 {
            let text = b"5;a=\"b\"\r\nhello\r\n3\r\n wo\r\n0\r\nX: y\r\n\r\nGET /";
            let (body, end, left) = decode(Framing::Chunked, text, split);
            assert_eq!((&body[..], end, left), (&b"hello wo"[..], Decoded::Done, 5), "{split}");
        }
    }

    #[test]
    fn bad_chunks_are_refused() {
        for bad in [
            "0x2\r\nab\r\n",
            "2\nab\r\n",
            "2\r\nabc\r\n",
            "2\r\nab\n0\r\n\r\n",
            "-1\r\n",
            "\r\n",
            "2 3\r\nab\r\n",
            "fffffffffffffffff\r\n",
            "2;a=\"\r\nab\r\n",
            "0\r\nbad trailer\r\n\r\n",
            "0\r\n\n",
            "2;a\rb\r\nab\r\n",
            " 2\r\nab\r\n",
        ] {
            assert!(
                matches!(decode(Framing::Chunked, bad.as_bytes(), 100).1, Decoded::Broken(_)),
                "{bad:?}"
            );
        }
        assert_eq!(decode(Framing::Chunked, b"2\r\nab\r\n0\r\n", 100).1, Decoded::More);
        assert_eq!(decode(Framing::Length(3), b"abcd", 2), (b"abc".to_vec(), Decoded::Done, 1));
    }

    proptest! {
        #[test]
        fn what_is_chunked_comes_back(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 0..8), split in 1usize..70) {
            let mut wire = Vec::new();
            for piece in &pieces {
                wire.extend_from_slice(format!("{:X}\r\n", piece.len()).as_bytes());
                wire.extend_from_slice(piece);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\n");
            let (body, end, left) = decode(Framing::Chunked, &wire, split);
            prop_assert_eq!((body, end, left), (pieces.concat(), Decoded::Done, 0));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), split in 1usize..50) {
            let _ = decode(Framing::Chunked, &bytes, split);
        }
    }
}
