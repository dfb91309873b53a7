//! Pure: the strict check of an HTTP/1 request head (RFC 9112), and the only reading of it there
//! is.
//!
//! What a proxy must not pass on is refused here: two lengths, bare CR or LF, a second Host, a
//! coding that is not exactly `chunked`. There is one framing per message, decided in this file and
//! nowhere else.

use std::mem::MaybeUninit;

use http::Method;

use crate::body::framing::Framing;
use crate::distribution::host::parse_authority;
use crate::distribution::limits::FIELDS_MAX;
use crate::distribution::limits::Limits;
use crate::message::connection::{Connection, Scheme, Version};
use crate::message::path::is_safe_path;
use crate::message::refusal::Rule;
use crate::message::request::{Fields, Known, KnownFields, RequestHead, RequestId, split_target};
use crate::semantics::lists::{members, parse_digits};

/// How every head ends.
const END: &[u8] = b"\r\n\r\n";

/// Whether the viewer wants to go on using the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    KeepAlive,
    Close,
}

/// A head that may be acted upon.
pub struct Head<'b> {
    pub request: RequestHead<'b>,
    pub framing: Framing,
    pub after: After,
    /// Octets of the buffer that the head took.
    pub len: usize,
}

/// Why there is no head to act upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoHead {
    /// More octets are needed.
    Partial,
    /// By this rule: its status, then close.
    Refused(Rule),
}

/// How many octets of `buffer` a head is to be read from: all of them where they end as a head
/// does, and most often are one, which is then looked through only once; else what [`find_end`]
/// says.
pub fn reach(buffer: &[u8], limits: &Limits) -> Result<usize, NoHead> {
    if buffer.ends_with(END) { Ok(buffer.len()) } else { find_end(buffer, limits) }
}

/// Where the head ends in `buffer`, if it does. Also refuses early what can never become a head.
pub fn find_end(buffer: &[u8], limits: &Limits) -> Result<usize, NoHead> {
    // An empty line before a request is skipped (RFC 9112 §2.2); more than one is not a request.
    let skipped = if buffer.starts_with(b"\r\n") { 2 } else { 0 };
    // Whole lines up to the empty one. A CR or LF that is not half of a line's end, and a NUL, may
    // reach neither cache nor origin.
    let (mut line, mut lines, mut end) = (skipped, 0, None);
    for at in memchr::memchr_iter(b'\n', &buffer[skipped..]).map(|at| skipped + at) {
        if at == skipped || buffer[at - 1] != b'\r' {
            return Err(NoHead::Refused(Rule::LineEnd));
        }
        lines += 1;
        if at == line + 1 {
            end = Some(at + 1);
            break;
        }
        line = at + 1;
    }
    if strays(&buffer[skipped..end.unwrap_or(buffer.len())], lines) {
        return Err(NoHead::Refused(Rule::LineEnd));
    }
    let head = &buffer[..end.unwrap_or(buffer.len())];
    if head.len() - skipped > limits.head_bytes {
        let line = memchr::memchr(b'\r', &head[skipped..]).unwrap_or(head.len());
        return Err(NoHead::Refused(if line > limits.url_bytes {
            Rule::LongUrl
        } else {
            Rule::LongHead
        }));
    }
    end.ok_or(NoHead::Partial)
}

// Says whether there is a NUL, or a CR beside those of so many line ends; the last octet may be one
// whose LF has not come yet. Without a branch for each octet.
fn strays(octets: &[u8], lines: usize) -> bool {
    let halves = usize::from(octets.last() == Some(&b'\r'));
    memchr::memchr_iter(b'\r', octets).count() != lines + halves
        || octets.iter().fold(false, |found, octet| found | (*octet == 0))
}

/// Reads and checks the head that begins `buffer`; it lies within `len` octets, as [`reach`] or
/// [`find_end`] says.
pub fn read<'b>(
    buffer: &'b [u8],
    len: usize,
    lines: &'b mut [MaybeUninit<httparse::Header<'b>>; FIELDS_MAX],
    method: &'b mut Method,
    connection: &'b Connection,
    limits: &Limits,
) -> Result<Head<'b>, NoHead> {
    let refused = NoHead::Refused;
    let octets = &buffer[..len];
    let mut request = httparse::Request::new(&mut []);
    let parsed = request.parse_with_uninit_headers(octets, lines);
    let len = match parsed {
        Ok(httparse::Status::Complete(len)) if is_strict(&octets[..len], &request, limits) => len,
        _ => return Err(refused(unread_rule(parsed, octets, limits))),
    };
    let version = match request.version {
        Some(0) => Version::Http10,
        Some(1) => Version::Http11,
        _ => return Err(refused(Rule::Version)),
    };
    let fields: &'b [httparse::Header<'b>] = request.headers;
    if fields.len() > limits.fields {
        return Err(refused(Rule::ManyFields));
    }
    let target = request.path.ok_or(refused(Rule::Malformed))?;
    if target.len() > limits.url_bytes {
        return Err(refused(Rule::LongUrl));
    }
    let name = request.method.ok_or(refused(Rule::Malformed))?;
    *method = Method::from_bytes(name.as_bytes()).map_err(|_| refused(Rule::Malformed))?;
    if *method == Method::CONNECT {
        return Err(refused(Rule::Connect));
    }
    let known = KnownFields::find(Fields::Lines(fields));
    let (authority, target) = authority_and_target(target, method, version, &known)?;
    let host = if authority.is_empty() {
        ""
    } else {
        parse_authority(authority).ok_or(refused(Rule::BadHost))?.host
    };
    let (path, query) = split_target(target);
    if !is_safe_path(path) {
        return Err(refused(Rule::UnsafePath));
    }
    let framing = framing(version, &known)?;
    let after = after(version, &known);
    let scheme = if connection.tls.is_some() { Scheme::Https } else { connection.scheme };
    let fields = Fields::Lines(fields);
    let request = RequestHead {
        id: RequestId::default(),
        method,
        version,
        scheme,
        authority,
        host,
        path,
        spelled: path,
        query,
        fields,
        order: None,
        known,
        connection,
    };
    Ok(Head { request, framing, after, len })
}

// Says of a head that was parsed whether `find_end` would find its end where the parser did. That
// takes a bare LF for the end of a line and skips any number of empty lines, but lets no other CR
// and no NUL pass.
fn is_strict(head: &[u8], request: &httparse::Request<'_, '_>, limits: &Limits) -> bool {
    let skipped = if head.starts_with(b"\r\n") { 2 } else { 0 };
    let is_skipped = !matches!(head.get(skipped), Some(b'\r' | b'\n'));
    // Where a name begins, the line before has ended.
    let follows_an_end = |line: &httparse::Header<'_>| {
        let at = line.name.as_ptr().addr().wrapping_sub(head.as_ptr().addr());
        head.get(..at).is_some_and(|before| before.ends_with(b"\r\n"))
    };
    is_skipped
        && head.ends_with(END)
        && head.len() - skipped <= limits.head_bytes
        && request.headers.iter().all(follows_an_end)
}

// The rule that a head breaks which cannot be parsed, or is not strict.
#[cold]
fn unread_rule(parsed: httparse::Result<usize>, octets: &[u8], limits: &Limits) -> Rule {
    match (find_end(octets, limits), parsed) {
        (Err(NoHead::Refused(rule)), _) => rule,
        (Ok(end), Err(error)) => broken_rule(error, &octets[..end]),
        (Ok(_) | Err(NoHead::Partial), _) => Rule::Malformed,
    }
}

// The rule that a head breaks which cannot be parsed.
fn broken_rule(error: httparse::Error, head: &[u8]) -> Rule {
    match error {
        httparse::Error::TooManyHeaders => Rule::ManyFields,
        httparse::Error::Version if names_a_version(head) => Rule::Version,
        _ => Rule::Malformed,
    }
}

// Two spaces and a well-formed version: a request line, but not of a protocol that is spoken here.
fn names_a_version(head: &[u8]) -> bool {
    let line = &head[..memchr::memchr(b'\r', head).unwrap_or(head.len())];
    let version = line.rsplit(|b| *b == b' ').next().unwrap_or(b"");
    let spaces = memchr::memchr_iter(b' ', line).count();
    spaces == 2
        && version.len() == 8
        && version.starts_with(b"HTTP/")
        && version[5].is_ascii_digit()
        && version[7].is_ascii_digit()
}

// RFC 9112 §3.2: exactly one Host in HTTP/1.1; an absolute-form target must agree with it.
fn authority_and_target<'b>(
    target: &'b str,
    method: &Method,
    version: Version,
    known: &KnownFields<'b>,
) -> Result<(&'b str, &'b str), NoHead> {
    let refused = NoHead::Refused(Rule::BadTarget);
    // Without a branch for each octet.
    let is_bad = |b: u8| !(0x21..=0x7e).contains(&b) | (b == b'#');
    if target.bytes().fold(false, |found, b| found | is_bad(b)) {
        return Err(refused);
    }
    if known.is_repeated(Known::Host) {
        return Err(NoHead::Refused(Rule::ManyHosts));
    }
    let host = match known.get(Known::Host) {
        Some(host) => std::str::from_utf8(host).map_err(|_| NoHead::Refused(Rule::BadHost))?,
        None if version == Version::Http10 => "",
        None => return Err(NoHead::Refused(Rule::NoHost)),
    };
    if target.starts_with('/') {
        return Ok((host, target));
    }
    if target == "*" && *method == Method::OPTIONS {
        return Ok((host, target));
    }
    let lower = target.get(..8).unwrap_or(target).to_ascii_lowercase();
    let rest = if lower.starts_with("http://") {
        &target[7..]
    } else if lower.starts_with("https://") {
        &target[8..]
    } else {
        return Err(refused);
    };
    let cut = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(cut);
    if !host.is_empty() && !host.eq_ignore_ascii_case(authority) {
        return Err(NoHead::Refused(Rule::ManyHosts));
    }
    match path {
        // The server as a whole, in the absolute form (RFC 9112 §3.2.4).
        "" if *method == Method::OPTIONS => Ok((authority, "*")),
        "" => Ok((authority, "/")),
        path if path.starts_with('/') => Ok((authority, path)),
        _ => Err(refused),
    }
}

// RFC 9112 §6.1-6.3, with every ambiguity refused.
fn framing(version: Version, known: &KnownFields<'_>) -> Result<Framing, NoHead> {
    let refused = NoHead::Refused(Rule::Framing);
    if let Some(coding) = known.get(Known::TransferEncoding) {
        if known.has(Known::ContentLength)
            || known.is_repeated(Known::TransferEncoding)
            || version == Version::Http10
        {
            return Err(refused);
        }
        if !coding.eq_ignore_ascii_case(b"chunked") {
            return Err(NoHead::Refused(Rule::Coding));
        }
        return Ok(Framing::Chunked);
    }
    match known.get(Known::ContentLength) {
        None => Ok(Framing::None),
        Some(_) if known.is_repeated(Known::ContentLength) => Err(refused),
        Some(digits) if digits.len() > 19 => Err(refused),
        Some(digits) => match parse_digits(digits).ok_or(refused)? {
            0 => Ok(Framing::None),
            len => Ok(Framing::Length(len)),
        },
    }
}

fn after(version: Version, known: &KnownFields<'_>) -> After {
    let says = |word: &[u8]| {
        let mut all = known.all(Known::Connection).flat_map(members);
        all.any(|member| member.eq_ignore_ascii_case(word))
    };
    match version {
        _ if says(b"close") => After::Close,
        Version::Http10 if says(b"keep-alive") => After::KeepAlive,
        Version::Http10 => After::Close,
        Version::Http11 | Version::Http2 | Version::Http3 => After::KeepAlive,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn connection() -> Connection {
        Connection::from(std::net::SocketAddr::from(([127, 0, 0, 1], 1)))
    }

    // What a head says, as far as it is compared.
    type Said = (Framing, After, String, String);

    fn judge(text: &[u8]) -> Result<Said, NoHead> {
        judge_within(text, reach(text, &Limits::default())?).map(|(said, _)| said)
    }

    // What a head says that lies within `len` octets, and how many it takes.
    fn judge_within(text: &[u8], len: usize) -> Result<(Said, usize), NoHead> {
        let mut lines = [const { MaybeUninit::uninit() }; FIELDS_MAX];
        let mut method = Method::GET;
        let connection = connection();
        let head = read(text, len, &mut lines, &mut method, &connection, &Limits::default())?;
        let (authority, path) = (head.request.authority, head.request.path);
        Ok(((head.framing, head.after, authority.into(), path.into()), head.len))
    }

    // The same in two passes: only what the first has found is shown to the second.
    fn judge_slowly(text: &[u8]) -> Result<(Said, usize), NoHead> {
        let len = find_end(text, &Limits::default())?;
        judge_within(&text[..len], len)
    }

    fn refused(text: &str) -> u16 {
        match judge(text.as_bytes()) {
            Err(NoHead::Refused(rule)) => rule.status(),
            other => panic!("{text:?} gave {other:?}"),
        }
    }

    #[test]
    fn plain_requests_pass() {
        assert_eq!(
            judge(b"GET /a?b HTTP/1.1\r\nHost: h\r\n\r\n"),
            Ok((Framing::None, After::KeepAlive, "h".into(), "/a".into()))
        );
        assert_eq!(
            judge(b"\r\nGET / HTTP/1.0\r\n\r\n"),
            Ok((Framing::None, After::Close, String::new(), "/".into()))
        );
        assert_eq!(
            judge(b"POST / HTTP/1.1\r\nHost: h:80\r\nContent-Length: 12\r\n\r\n").unwrap().0,
            Framing::Length(12)
        );
        assert_eq!(
            judge(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n").unwrap().0,
            Framing::Chunked
        );
        assert_eq!(judge(b"GET http://H/x HTTP/1.1\r\nHost: h\r\n\r\n").unwrap().3, "/x");
        for (line, path) in [
            ("OPTIONS *", "*"),
            ("OPTIONS http://h", "*"),
            ("OPTIONS http://h/", "/"),
            ("OPTIONS /*", "/*"),
            ("OPTIONS /", "/"),
            ("GET http://h", "/"),
        ] {
            assert_eq!(
                judge(format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).unwrap().3,
                path,
                "{line}"
            );
        }
        assert_eq!(
            judge(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: x, CLOSE\r\n\r\n").unwrap().1,
            After::Close
        );
        assert_eq!(
            judge(b"GET / HTTP/1.1\r\nConnection: x\r\nHost: h\r\nconnection: close\r\n\r\n")
                .unwrap()
                .1,
            After::Close
        );
        assert_eq!(judge(b"GET / HTTP/1.1\r\nHost: h\r\n"), Err(NoHead::Partial));
    }

    #[test]
    fn what_smuggles_is_refused() {
        let get = |fields: &str| refused(&format!("GET / HTTP/1.1\r\n{fields}\r\n\r\n"));
        for fields in [
            "Host: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
            "Host: h\r\nContent-Length: 1\r\nContent-Length: 1",
            "Host: h\r\nContent-Length: 1, 1",
            "Host: h\r\nContent-Length: +1",
            "Host: h\r\nContent-Length: 0x1",
            "Host: h\r\nContent-Length:",
            "Host: h\r\nContent-Length: 18446744073709551617",
            "Host: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "X: y",
            "Host: h\r\nHost: h",
            "Host: a b",
            "Host: u@h",
            "Host: h\r\nA : b",
            "Host: h\r\nA: b\r\n c",
            "Host: h\nA: b",
            "Host: h\r\nA: b\rc",
            "Host: h\r\nA: \0",
            "Host: h\r\n: b",
        ] {
            assert_eq!(get(fields), 400, "{fields:?}");
        }
        for coding in ["chunked, chunked", "gzip, chunked", "xchunked", "identity", "chunked;q=1"] {
            assert_eq!(get(&format!("Host: h\r\nTransfer-Encoding: {coding}")), 501, "{coding}");
        }
        for line in ["GET / HTTP/1.2", "GET / HTTP/2.0"] {
            assert_eq!(refused(&format!("{line}\r\nHost: h\r\n\r\n")), 505, "{line}");
        }
        for line in [
            "GET  / HTTP/1.1",
            "GET /a b HTTP/1.1",
            "GET /\u{e4} HTTP/1.1",
            "GET /a#b HTTP/1.1",
            "GET h HTTP/1.1",
            "GET * HTTP/1.1",
            "OPTIONS *?a HTTP/1.1",
            "OPTIONS ** HTTP/1.1",
            "GET http://other/ HTTP/1.1",
            "GET /../a HTTP/1.1",
            "GET /a/%2e%2E/b HTTP/1.1",
            "GET /. HTTP/1.1",
            "GET /a/..%2fb HTTP/1.1",
            "GET /a%2F%2e./b HTTP/1.1",
            "GET /a/..%5Cb HTTP/1.1",
            "G\tT / HTTP/1.1",
            "GET /",
            "* / HTTP/1.1 x",
        ] {
            assert_eq!(refused(&format!("{line}\r\nHost: h\r\n\r\n")), 400, "{line}");
        }
        assert_eq!(refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
        assert_eq!(refused("CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n"), 405);
        assert_eq!(refused("\n"), 400);
    }

    #[test]
    fn a_refusal_names_the_rule() {
        let rule = |text: &str| match judge(text.as_bytes()) {
            Err(NoHead::Refused(rule)) => rule,
            other => panic!("{text:?} gave {other:?}"),
        };
        for (line, fields, expected) in [
            ("GET / HTTP/1.1", "X: y", Rule::NoHost),
            ("GET / HTTP/1.1", "Host: h\r\nHost: h", Rule::ManyHosts),
            ("GET http://other/ HTTP/1.1", "Host: h", Rule::ManyHosts),
            ("GET / HTTP/1.1", "Host: u@h", Rule::BadHost),
            ("GET /a#b HTTP/1.1", "Host: h", Rule::BadTarget),
            ("GET h HTTP/1.1", "Host: h", Rule::BadTarget),
            ("GET /../a HTTP/1.1", "Host: h", Rule::UnsafePath),
            (
                "GET / HTTP/1.1",
                "Host: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
                Rule::Framing,
            ),
            ("GET / HTTP/1.1", "Host: h\r\nContent-Length: +1", Rule::Framing),
            ("GET / HTTP/1.1", "Host: h\r\nTransfer-Encoding: gzip, chunked", Rule::Coding),
            ("GET / HTTP/2.0", "Host: h", Rule::Version),
            ("CONNECT h:1 HTTP/1.1", "Host: h:1", Rule::Connect),
            ("GET / HTTP/1.1", "Host: h\nA: b", Rule::LineEnd),
            ("GET  / HTTP/1.1", "Host: h", Rule::Malformed),
            ("GET / HTTP/1.1", "Host: h\r\nA : b", Rule::Malformed),
        ] {
            assert_eq!(rule(&format!("{line}\r\n{fields}\r\n\r\n")), expected, "{line} {fields:?}");
        }
    }

    #[test]
    fn too_long_is_told_apart() {
        let url = "a".repeat(8_192);
        assert_eq!(refused(&format!("GET /{url} HTTP/1.1\r\nHost: h\r\n\r\n")), 414);
        assert_eq!(refused(&format!("GET /{}", "a".repeat(30_000))), 414);
        assert_eq!(
            refused(&format!("GET / HTTP/1.1\r\nHost: h\r\nA: {}", "b".repeat(30_000))),
            431
        );
        let many = "A: b\r\n".repeat(200);
        assert_eq!(refused(&format!("GET / HTTP/1.1\r\nHost: h\r\n{many}\r\n")), 431);
        let fits = "a".repeat(8_191);
        assert!(judge(format!("GET /{fits} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).is_ok());
    }

    // Octet by octet, as the rule says it.
    fn find_end_slowly(buffer: &[u8]) -> Result<usize, NoHead> {
        let skipped = if buffer.starts_with(b"\r\n") { 2 } else { 0 };
        let mut line = skipped;
        for at in skipped..buffer.len() {
            let (before, behind) = (at.checked_sub(1).map(|at| buffer[at]), buffer.get(at + 1));
            match buffer[at] {
                0 => return Err(NoHead::Refused(Rule::LineEnd)),
                b'\r' if behind.is_some_and(|next| *next != b'\n') => {
                    return Err(NoHead::Refused(Rule::LineEnd));
                }
                b'\n' if at == skipped || before != Some(b'\r') => {
                    return Err(NoHead::Refused(Rule::LineEnd));
                }
                b'\n' if at == line + 1 => return Ok(at + 1),
                b'\n' => line = at + 1,
                _ => {}
            }
        }
        Err(NoHead::Partial)
    }

    #[test]
    fn each_short_head_ends_where_the_rule_says() {
        let alphabet = [b'\r', b'\n', 0, b'a'];
        for len in 0..8u32 {
            for number in 0..4usize.pow(len) {
                let octets: Vec<u8> =
                    (0..len).map(|at| alphabet[number / 4usize.pow(at) % 4]).collect();
                let found = find_end(&octets, &Limits::default());
                assert_eq!(found, find_end_slowly(&octets), "{octets:?}");
            }
        }
    }

    #[test]
    fn a_head_is_found_before_whatever_follows_it() {
        let head = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
        for (before, behind) in [
            ("", ""),
            ("\r\n", ""),
            ("", head),
            ("", "0\r\n\r\n"),
            ("", "\r\n\r\n"),
            ("", "\n\r\n\r\n"),
        ] {
            let text = format!("{before}{head}{behind}");
            let text = text.as_bytes();
            assert_eq!(reach(text, &Limits::default()), Ok(text.len()));
            let (said, len) = judge_within(text, text.len()).unwrap();
            assert_eq!((said.3.as_str(), len), ("/a", before.len() + head.len()), "{text:?}");
        }
        for (text, rule) in [
            ("\n", Rule::LineEnd),
            ("\r\n\r\n", Rule::Malformed),
            ("GET /a HTTP/1.1\n", Rule::LineEnd),
            ("GET /a HTTP/1.1\r\nHost: h\n", Rule::LineEnd),
            ("GET /a HTTP/1.1\r\nHost: h\n\n", Rule::LineEnd),
            ("GET /a HTTP/1.1\r\nHost: h\nA: b\r\n", Rule::LineEnd),
            ("GET /a HTTP/1.1\r\nHost: h\r\nA: b\rc\r\n", Rule::LineEnd),
            ("GET /a HTTP/1.1\r\nHost: h\r\nA: \0\r\n", Rule::LineEnd),
        ] {
            let text = format!("{text}{head}");
            let text = text.as_bytes();
            assert_eq!(judge(text), Err(NoHead::Refused(rule)), "{text:?}");
            assert_eq!(judge_slowly(text).map(|(said, _)| said), judge(text), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn one_pass_reads_what_two_read(
            pieces in proptest::collection::vec(0..15usize, 0..10),
            line in any::<bool>(),
        ) {
            const PIECES: [&str; 15] = [
                "GET /a HTTP/1.1\r\n",
                "GET / HTTP/2.0\r\n",
                "Host: h\r\n",
                "Host: h\n",
                "Content-Length: 3\r\n",
                "A: b\r\n",
                "A: b \r\n",
                "A:\r\n",
                "\r\n",
                "\n",
                "\r",
                "\0",
                " ",
                ":",
                "a",
            ];
            let mut text = String::from(if line { "GET /a HTTP/1.1\r\nHost: h\r\n" } else { "" });
            pieces.iter().for_each(|at| text.push_str(PIECES[*at]));
            text.push_str("\r\n\r\n");
            let text = text.as_bytes();
            prop_assert_eq!(judge_within(text, text.len()), judge_slowly(text));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = judge(&bytes);
        }

        #[test]
        fn whatever_passes_has_one_host_and_one_framing(fields in proptest::collection::vec("(Host|Content-Length|Transfer-Encoding|Connection|X): ?[a-z0-9,: ]{0,9}", 0..6)) {
            let text = format!("GET / HTTP/1.1\r\n{}\r\n\r\n", fields.join("\r\n"));
            if judge(text.as_bytes()).is_ok() {
                let count = |name: &str| fields.iter().filter(|f| f.starts_with(name)).count();
                prop_assert_eq!(count("Host"), 1);
                prop_assert!(count("Content-Length") + count("Transfer-Encoding") <= 1);
            }
        }
    }
}
