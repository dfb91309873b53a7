//! The head of an HTTP/1 response: where it ends, what it says, and how its body is delimited (RFC 9112 §4, §6.3).
//!
//! Pure. Whatever could be read in two ways is refused: an answer that two readers cut differently is an answer
//! that one of them stores under the wrong request.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::body::framing::Framing;
use crate::semantics::lists::{members, parse_digits};

/// Most fields of one head.
pub const FIELDS_MAX: usize = 256;

/// A head that may be acted upon.
#[derive(Debug)]
pub struct AnswerHead {
    pub status: u16,
    pub fields: HeaderMap,
    pub framing: Framing,
    /// Whether the origin lets the connection be used again.
    pub keeps: bool,
}

/// Where the head ends, if it does; what lies before `from` was looked at before.
///
/// A line may end with a bare LF: origins that do so exist, and no octet of ours stands before or behind it.
pub fn find_end(buffer: &[u8], from: usize) -> Option<usize> {
    let from = from.saturating_sub(2);
    memchr::memchr_iter(b'\n', &buffer[from..]).map(|at| from + at).find_map(|at| match buffer.get(at + 1..) {
        Some([b'\n', ..]) => Some(at + 2),
        Some([b'\r', b'\n', ..]) => Some(at + 3),
        _ => None,
    })
}

/// Reads a whole head; the error says what is wrong with it. `to_head`: it answers a HEAD request.
pub fn read(head: &Bytes, to_head: bool) -> Result<AnswerHead, &'static str> {
    let mut lines = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut []);
    match httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, head, &mut lines) {
        Ok(httparse::Status::Complete(len)) if len == head.len() => {}
        Ok(_) => return Err("a head that ends before its end"),
        Err(httparse::Error::TooManyHeaders) => return Err("too many fields"),
        Err(httparse::Error::Version) => return Err("no version of HTTP/1"),
        Err(_) => return Err("a head that is not HTTP"),
    }
    let status = response.code.filter(|code| (100..=999).contains(code)).ok_or("a status that is none")?;
    let mut fields = HeaderMap::with_capacity(response.headers.len() + 4);
    for line in response.headers.iter() {
        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| "a field name that is none")?;
        let value = HeaderValue::from_maybe_shared(head.slice_ref(line.value)).map_err(|_| "a field value that is none")?;
        fields.append(name, value);
    }
    let is_old = response.version == Some(0);
    let framing = framing(status, is_old, to_head, &fields)?;
    let says = |word: &[u8]| {
        let lines = fields.get_all(header::CONNECTION);
        lines.into_iter().flat_map(|line| members(line.as_bytes())).any(|member| member.eq_ignore_ascii_case(word))
    };
    let keeps = framing != Framing::Close && !says(b"close") && (!is_old || says(b"keep-alive"));
    Ok(AnswerHead { status, fields, framing, keeps })
}

// RFC 9112 §6.3, with every ambiguity refused.
fn framing(status: u16, is_old: bool, to_head: bool, fields: &HeaderMap) -> Result<Framing, &'static str> {
    let mut lengths = fields.get_all(header::CONTENT_LENGTH).iter();
    let (length, more) = (lengths.next(), lengths.next());
    if more.is_some() || (length.is_some() && fields.contains_key(header::TRANSFER_ENCODING)) {
        return Err("more than one length");
    }
    let length = match length {
        None => None,
        Some(digits) if digits.len() > 19 => return Err("a length that is none"),
        Some(digits) => Some(parse_digits(digits.as_bytes()).ok_or("a length that is none")?),
    };
    // What does not end in chunked is read until the connection closes; what nearly does is anybody's guess.
    let codings = || fields.get_all(header::TRANSFER_ENCODING).iter().flat_map(|line| members(line.as_bytes()));
    let is_chunked = codings().any(|coding| coding.to_ascii_lowercase().windows(7).any(|word| word == b"chunked"));
    if is_chunked && !(codings().count() == 1 && codings().all(|coding| coding.eq_ignore_ascii_case(b"chunked"))) {
        return Err("a transfer coding that is not exactly chunked");
    }
    if is_chunked && is_old {
        return Err("a transfer coding in HTTP/1.0");
    }
    Ok(if to_head || status < 200 || matches!(status, 204 | 304) {
        Framing::None
    } else if is_chunked {
        Framing::Chunked
    } else {
        match length {
            Some(0) => Framing::None,
            Some(len) => Framing::Length(len),
            None => Framing::Close,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn judge(text: &str) -> Result<(u16, Framing, bool), &'static str> {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        assert_eq!(find_end(&bytes, 0), Some(bytes.len()), "{text:?}");
        read(&bytes, false).map(|head| (head.status, head.framing, head.keeps))
    }

    #[test]
    fn what_origins_send_is_read() {
        for (text, want) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", (200, Framing::Length(3), true)),
            ("HTTP/1.1 200\r\nTransfer-Encoding: Chunked\r\n\r\n", (200, Framing::Chunked, true)),
            ("HTTP/1.1 200 OK\nContent-Length: 0\n\n", (200, Framing::None, true)),
            ("HTTP/1.1 200 OK\r\n\r\n", (200, Framing::Close, false)),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n", (200, Framing::Close, false)),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", (200, Framing::Close, false)),
            ("HTTP/1.1 204 No\r\n\r\n", (204, Framing::None, true)),
            ("HTTP/1.1 304 No\r\nContent-Length: 9\r\nConnection: x, Close\r\n\r\n", (304, Framing::None, false)),
            ("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n", (200, Framing::Length(3), false)),
            ("HTTP/1.0 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\n", (200, Framing::Length(3), true)),
            ("HTTP/1.1 100 Continue\r\n\r\n", (100, Framing::None, true)),
        ] {
            assert_eq!(judge(text), Ok(want), "{text:?}");
        }
        let head = Bytes::from_static(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n");
        assert_eq!(read(&head, true).unwrap().framing, Framing::None);
    }

    #[test]
    fn caching_1_9_what_can_be_cut_in_two_ways_is_refused() {
        for fields in [
            "Content-Length: 3\r\nContent-Length: 3",
            "Content-Length: 3, 3",
            "Content-Length: +3",
            "Content-Length:",
            "Content-Length: 99999999999999999999",
            "Content-Length: 3\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked, gzip",
            "Transfer-Encoding: chunked, chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding: chunked;q=1",
            "A : b",
            "A: b\r\n c",
            "A: \u{1}",
            ": b",
        ] {
            assert!(judge(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n")).is_err(), "{fields:?}");
        }
        for line in ["HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked", "HTTP/2 200 OK", "HTTP/1.1 20 OK", "200 OK", "HTTP/1.1 099 x"] {
            assert!(judge(&format!("{line}\r\n\r\n")).is_err(), "{line}");
        }
    }

    proptest! {
        #[test]
        fn the_end_is_found_however_it_comes(text in "[ab\r\n]{0,30}", cut in 0usize..30) {
            let bytes = text.as_bytes();
            let cut = cut.min(bytes.len());
            let whole = find_end(bytes, 0);
            let split = find_end(&bytes[..cut], 0).or_else(|| find_end(bytes, cut));
            prop_assert_eq!(whole, split);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), to_head: bool) {
            let _ = read(&Bytes::from(bytes), to_head);
        }
    }
}
