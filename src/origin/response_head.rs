//! Pure: the head of an HTTP/1 response, where it ends, what it says, and how its body is delimited
//! (RFC 9112 §4, §6.3).
//!
//! Whatever could be read in two ways is refused: an answer that two readers cut differently is an
//! answer that one of them stores under the wrong request.

use std::mem::MaybeUninit;
use std::time::Duration;

use http::header;

use crate::body::framing::Framing;
use crate::semantics::fields::FieldSection;
use crate::semantics::lists::{members, parse_digits, trim};

/// Most fields of one head.
pub const FIELDS_MAX: usize = 256;

/// How much earlier than an origin says an idle connection is given up: its clock began before
/// ours, and its close is on the way.
const MARGIN: Duration = Duration::from_secs(1);

/// A head that may be acted upon.
#[derive(Debug)]
pub struct AnswerHead {
    pub status: u16,
    pub fields: FieldSection,
    pub framing: Framing,
    /// Whether the origin lets the connection be used again.
    pub keeps: bool,
    /// How long an idle connection may be used again, where the origin says how long it keeps one
    /// (`Keep-Alive: timeout=N`).
    pub idle_for: Option<Duration>,
}

/// Where the head ends, if it does; what lies before `from` was looked at before.
///
/// A line may end with a bare LF: origins that do so exist, and no octet of ours stands before or
/// behind it.
pub fn find_end(buffer: &[u8], from: usize) -> Option<usize> {
    let from = from.saturating_sub(2);
    memchr::memchr_iter(b'\n', &buffer[from..]).map(|at| from + at).find_map(|at| {
        match buffer.get(at + 1..) {
            Some([b'\n', ..]) => Some(at + 2),
            Some([b'\r', b'\n', ..]) => Some(at + 3),
            _ => None,
        }
    })
}

/// What came in the place of a head, and what helps, once its first octets cannot begin one: whoever
/// speaks something else may wait for us as long as we wait for the end of a head.
pub fn foreign(buffer: &[u8]) -> Option<&'static str> {
    const BEGIN: &[u8] = b"HTTP/";
    let line = &buffer[buffer.iter().position(|octet| !matches!(octet, b'\r' | b'\n'))?..];
    let len = line.len().min(BEGIN.len());
    match line {
        _ if line[..len] == BEGIN[..len] => None,
        [0x14..=0x17, 3, ..] => Some("TLS in the place of HTTP; begin the origin's url with https"),
        [0, 0, _, 4, ..] => {
            Some("HTTP/2 in the place of HTTP/1.1; give the origin http_version = \"http2\"")
        }
        _ => Some("a head that is not HTTP"),
    }
}

/// Reads a whole head; the error says what is wrong with it. `to_head`: it answers a HEAD request.
pub fn read(head: &[u8], to_head: bool) -> Result<AnswerHead, &'static str> {
    let mut lines = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut []);
    match httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        head,
        &mut lines,
    ) {
        Ok(httparse::Status::Complete(len)) if len == head.len() => {}
        Ok(_) => return Err("a head that ends before its end"),
        Err(httparse::Error::TooManyHeaders) => return Err("too many fields"),
        Err(httparse::Error::Version) => return Err("no version of HTTP/1"),
        Err(_) => return Err("a head that is not HTTP"),
    }
    let status =
        response.code.filter(|code| (100..=999).contains(code)).ok_or("a status that is none")?;
    let mut fields = FieldSection::new();
    for line in response.headers.iter() {
        if line.value.contains(&0x7f) {
            return Err("a field value that is none");
        }
        fields.push_from(head, line.name, line.value);
    }
    let is_old = response.version == Some(0);
    let length = one_length(&mut fields)?;
    let coding = transfer_coding(&fields);
    let framing = framing(status, is_old, to_head, length, coding)?;
    let says = |word: &[u8]| {
        let lines = fields.get_all(&header::CONNECTION);
        lines
            .into_iter()
            .flat_map(|line| members(line.as_bytes()))
            .any(|member| member.eq_ignore_ascii_case(word))
    };
    let idle_for = idle_for(&fields);
    let keeps = framing != Framing::Close
        && !says(b"close")
        && (!is_old || says(b"keep-alive"))
        && idle_for != Some(Duration::ZERO)
        && !promises_a_body_in_vain(status, length, coding);
    Ok(AnswerHead { status, fields, framing, keeps, idle_for })
}

/// What a head says of transfer codings.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Coding {
    None,
    Chunked,
    /// Anything that the decoder does not undo.
    Unknown,
}

// Exactly `chunked`, once, or it is unknown. `identity` is no transfer coding since RFC 7230, which
// took it out of the registry; RFC 9112 §7 knows it no more than `foo`.
fn transfer_coding(fields: &FieldSection) -> Coding {
    let mut lines = fields.get_all(&header::TRANSFER_ENCODING).peekable();
    if lines.peek().is_none() {
        return Coding::None;
    }
    let mut codings = lines.flat_map(|line| members(line.as_bytes()));
    match (codings.next(), codings.next()) {
        (Some(only), None) if only.eq_ignore_ascii_case(b"chunked") => Coding::Chunked,
        _ => Coding::Unknown,
    }
}

/// The one length that a head announces, in whichever version. Said several times, in lines or in a
/// list, it counts where it is the same number each time, and the head says it once from then on
/// (RFC 9110 §8.6).
pub(super) fn one_length(fields: &mut FieldSection) -> Result<Option<u64>, &'static str> {
    let mut lines = fields.get_all("content-length").map(|line| line.as_bytes());
    let Some(first) = lines.next() else { return Ok(None) };
    // Most say it once, in digits alone.
    let is_only = lines.next().is_none() && first.len() <= 19;
    match parse_digits(first).filter(|_| is_only) {
        Some(number) => Ok(Some(number)),
        None => length_of_all(fields),
    }
}

fn length_of_all(fields: &mut FieldSection) -> Result<Option<u64>, &'static str> {
    let (mut length, mut times) = (None, 0);
    for digits in fields
        .get_all(&header::CONTENT_LENGTH)
        .flat_map(|line| line.as_bytes().split(|b| *b == b','))
        .map(trim)
    {
        let number = Some(digits)
            .filter(|digits| digits.len() <= 19)
            .and_then(parse_digits)
            .ok_or("a length that is none")?;
        if length.is_some_and(|known| known != number) {
            return Err("more than one length");
        }
        length = Some(number);
        times += 1;
    }
    if let Some(number) = length.filter(|_| times > 1) {
        fields.insert(&header::CONTENT_LENGTH, number);
    }
    Ok(length)
}

// RFC 9112 §6.3, with every ambiguity refused. A coding that is not undone here would be stored as
// if it were the content, so it is refused wherever there is a body; where there is none whatever
// the fields say (§6.3 item 1), there is nothing to undo.
fn framing(
    status: u16,
    is_old: bool,
    to_head: bool,
    length: Option<u64>,
    coding: Coding,
) -> Result<Framing, &'static str> {
    if coding != Coding::None && length.is_some() {
        return Err("more than one length");
    }
    if coding != Coding::None && is_old {
        return Err("a transfer coding in HTTP/1.0");
    }
    if to_head || has_no_body(status) {
        return Ok(Framing::None);
    }
    match (coding, length) {
        (Coding::Unknown, _) => Err("a transfer coding that is not exactly chunked"),
        (Coding::Chunked, _) => Ok(Framing::Chunked),
        (Coding::None, Some(0)) => Ok(Framing::None),
        (Coding::None, Some(len)) => Ok(Framing::Length(len)),
        (Coding::None, None) => Ok(Framing::Close),
    }
}

const fn has_no_body(status: u16) -> bool {
    status < 200 || matches!(status, 204 | 304)
}

// An origin that announces a body where none can be may yet send one, and it would stand before the
// next answer: a 204 has neither length nor coding (RFC 9112 §6.1, RFC 9110 §8.6). To a HEAD, and
// on a 304, both speak of what a GET would have had.
fn promises_a_body_in_vain(status: u16, length: Option<u64>, coding: Coding) -> bool {
    coding == Coding::Unknown
        || (status == 204 && (coding == Coding::Chunked || length.is_some_and(|len| len > 0)))
}

// The shortest that is said; RFC 9112 §9.3 leaves the field to implementations that know it, and
// the servers that send it mean seconds.
fn idle_for(fields: &FieldSection) -> Option<Duration> {
    let parameters = fields.get_all("keep-alive").flat_map(|line| members(line.as_bytes()));
    let seconds = parameters.filter_map(|parameter| {
        let at = memchr::memchr(b'=', parameter)?;
        let (name, value) = (trim(&parameter[..at]), trim(&parameter[at + 1..]));
        name.eq_ignore_ascii_case(b"timeout").then(|| parse_digits(value)).flatten()
    });
    seconds.min().map(|seconds| Duration::from_secs(seconds).saturating_sub(MARGIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_http_is_known_by_its_first_octets() {
        for (octets, why) in [
            (&b""[..], None),
            (b"\r\n", None),
            (b"H", None),
            (b"\r\nHTT", None),
            (b"HTTP/1.1 200 OK\r\n", None),
            // Read to its end, which says more.
            (b"HTTP/2 200 OK\r\n", None),
            (b"\x15\x03\x01\x00\x02\x02\x46", Some("https")),
            (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", Some("http_version")),
            (b"SSH-2.0-OpenSSH\r\n", Some("not HTTP")),
            (b"h", Some("not HTTP")),
            (b"\x00", Some("not HTTP")),
        ] {
            let said = foreign(octets);
            assert_eq!(said.is_some(), why.is_some(), "{octets:?}: {said:?}");
            assert!(why.is_none_or(|why| said.unwrap().contains(why)), "{octets:?}: {said:?}");
        }
    }
    use crate::semantics::fields::Value;
    use bytes::Bytes;
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
            ("HTTP/1.1 204 No\r\n\r\n", (204, Framing::None, true)),
            (
                "HTTP/1.1 304 No\r\nContent-Length: 9\r\nConnection: x, Close\r\n\r\n",
                (304, Framing::None, false),
            ),
            ("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n", (200, Framing::Length(3), false)),
            (
                "HTTP/1.0 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\n",
                (200, Framing::Length(3), true),
            ),
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
            "Content-Length: 3\r\nContent-Length: 5",
            "Content-Length: 3, 5",
            "Content-Length: 3, 3\r\nContent-Length: 5",
            "Content-Length: 3,",
            "Content-Length: 3,,3",
            "Content-Length: 3\r\nContent-Length:",
            "Content-Length: 3, 0x3",
            "Content-Length: 3 3",
            "Content-Length: +3",
            "Content-Length:",
            "Content-Length: 99999999999999999999",
            "Content-Length: 3\r\nTransfer-Encoding: chunked",
            "Content-Length: 3, 3\r\nTransfer-Encoding: chunked",
            "Content-Length: 3\r\nTransfer-Encoding: foo",
            "Transfer-Encoding:",
            "Transfer-Encoding: foo",
            "Transfer-Encoding: gzip",
            "Transfer-Encoding: identity",
            "Transfer-Encoding: identity, chunked",
            "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: \"chunked\"",
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
        for line in [
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: foo",
            "HTTP/1.0 204 No\r\nTransfer-Encoding: chunked",
            "HTTP/2 200 OK",
            "HTTP/1.1 20 OK",
            "200 OK",
            "HTTP/1.1 099 x",
        ] {
            assert!(judge(&format!("{line}\r\n\r\n")).is_err(), "{line}");
        }
    }

    #[test]
    fn a_length_said_twice_alike_is_said_once() {
        for fields in [
            "Content-Length: 5\r\nContent-Length: 5",
            "Content-Length: 5, 5",
            "Content-Length: 5,5 ,\t05",
            "Content-Length: 005, 5\r\nX: y\r\nContent-Length: 5",
        ] {
            for (status, to_head) in [(200, false), (200, true), (304, false)] {
                let head = Bytes::from(format!("HTTP/1.1 {status} x\r\n{fields}\r\n\r\n"));
                let read = read(&head, to_head).unwrap();
                let lines: Vec<&[u8]> =
                    read.fields.get_all(&header::CONTENT_LENGTH).map(Value::as_bytes).collect();
                assert_eq!(lines, [b"5"], "{fields:?}");
                let has_body = status == 200 && !to_head;
                assert_eq!(
                    read.framing,
                    if has_body { Framing::Length(5) } else { Framing::None },
                    "{fields:?}"
                );
            }
        }
    }

    #[test]
    fn where_no_body_can_be_no_coding_is_undone_and_none_is_waited_for() {
        // Status, whether it answers HEAD, its fields, and whether the connection may be used
        // again.
        for (status, to_head, fields, keeps) in [
            (200, true, "Transfer-Encoding: chunked", true),
            (304, false, "Transfer-Encoding: chunked", true),
            (200, true, "Transfer-Encoding: gzip, chunked", false),
            (304, false, "Transfer-Encoding: foo", false),
            (204, false, "Transfer-Encoding: chunked", false),
            (204, false, "Content-Length: 5", false),
            (204, false, "Content-Length: 0", true),
            (103, false, "Transfer-Encoding: chunked", true),
        ] {
            let head = Bytes::from(format!("HTTP/1.1 {status} x\r\n{fields}\r\n\r\n"));
            let read = read(&head, to_head).unwrap();
            assert_eq!(
                (read.framing, read.keeps),
                (Framing::None, keeps),
                "{status} {to_head} {fields:?}"
            );
        }
        for fields in ["Content-Length: 3\r\nTransfer-Encoding: chunked", "Content-Length: 3, 5"] {
            let head = Bytes::from(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n"));
            assert!(read(&head, true).is_err(), "to a HEAD too: {fields:?}");
        }
    }

    #[test]
    fn an_idle_connection_is_given_up_before_the_origin_does() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        for (fields, idle_for, keeps) in [
            ("X: y", None, true),
            ("Keep-Alive: timeout=5", seconds(4), true),
            ("Keep-Alive: max=100, TIMEOUT = 5", seconds(4), true),
            ("Keep-Alive: timeout=30\r\nKeep-Alive: timeout=15", seconds(14), true),
            ("Keep-Alive: timeout=1", seconds(0), false),
            ("Keep-Alive: timeout=0", seconds(0), false),
            ("Keep-Alive: timeout=99999999999999999999", seconds(u64::MAX - 1), true),
            ("Keep-Alive: timeout=soon, max=3", None, true),
            ("Keep-Alive: 300", None, true),
        ] {
            let head =
                Bytes::from(format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{fields}\r\n\r\n"));
            let read = read(&head, false).unwrap();
            assert_eq!((read.idle_for, read.keeps), (idle_for, keeps), "{fields:?}");
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
