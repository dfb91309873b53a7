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

/// Where the head ends in `buffer`, if it does. Also refuses early what can never become a head.
pub fn find_end(buffer: &[u8], limits: &Limits) -> Result<usize, NoHead> {
    // An empty line before a request is skipped (RFC 9112 §2.2); more than one is not a request.
    let skipped = if buffer.starts_with(b"\r\n") { 2 } else { 0 };
    // One pass: a CR or LF that is not half of a line's end, and a NUL, may reach neither cache nor
    // origin.
    let (mut line, mut end) = (skipped, None);
    for at in memchr::memchr3_iter(b'\r', b'\n', 0, &buffer[skipped..]).map(|at| skipped + at) {
        match buffer[at] {
            b'\r' if buffer.get(at + 1).is_none_or(|next| *next == b'\n') => {}
            b'\n' if at > skipped && buffer[at - 1] == b'\r' => {
                if at == line + 1 {
                    end = Some(at + 1);
                    break;
                }
                line = at + 1;
            }
            _ => return Err(NoHead::Refused(Rule::LineEnd)),
        }
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

/// Reads and checks a head of `len` octets, which `find_end` has found and looked through.
pub fn read<'b>(
    buffer: &'b [u8],
    len: usize,
    lines: &'b mut [MaybeUninit<httparse::Header<'b>>; FIELDS_MAX],
    method: &'b mut Method,
    connection: &'b Connection,
    limits: &Limits,
) -> Result<Head<'b>, NoHead> {
    let refused = NoHead::Refused;
    let head = &buffer[..len];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(head, lines) {
        Ok(httparse::Status::Complete(parsed)) if parsed == len => {}
        Ok(_) => return Err(refused(Rule::Malformed)),
        Err(httparse::Error::TooManyHeaders) => return Err(refused(Rule::ManyFields)),
        Err(httparse::Error::Version) => {
            return Err(refused(if names_a_version(head) {
                Rule::Version
            } else {
                Rule::Malformed
            }));
        }
        Err(_) => return Err(refused(Rule::Malformed)),
    }
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
    let after = after(version, &known, Fields::Lines(fields));
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
    if !target.bytes().all(|b| (0x21..=0x7e).contains(&b) && b != b'#') {
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

fn after(version: Version, known: &KnownFields<'_>, fields: Fields<'_>) -> After {
    let says = |word: &[u8]| {
        known.has(Known::Connection)
            && fields
                .get_all("connection")
                .flat_map(members)
                .any(|member| member.eq_ignore_ascii_case(word))
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

    fn judge(text: &[u8]) -> Result<(Framing, After, String, String), NoHead> {
        let limits = Limits::default();
        let len = find_end(text, &limits)?;
        let mut lines = [const { MaybeUninit::uninit() }; FIELDS_MAX];
        let mut method = Method::GET;
        let connection = connection();
        let head = read(text, len, &mut lines, &mut method, &connection, &limits)?;
        Ok((
            head.framing,
            head.after,
            head.request.authority.to_string(),
            head.request.path.to_string(),
        ))
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

    proptest! {
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
