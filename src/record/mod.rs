//! What happened: one record a request, turned into an access-log line and into counters.
//!
//! Nothing here is read by a decision. The hot path writes a line into its core's buffer and raises
//! its core's counters; a thread of its own writes files.

pub mod access_log;
pub mod cloudfront_fields;
pub mod function_counts;
pub mod function_tail;
pub mod json_text;
pub mod metrics;
pub mod onlook;
pub mod queue;
pub mod realtime_log;
pub mod sketch;
pub mod spent;
pub mod stamp;
pub mod standard_log;

use std::net::SocketAddr;

use crate::message::certificate::ViewerCertificate;
use crate::message::connection::{ConnectionId, Scheme, Version};
use crate::message::failure::Failure;
use crate::message::ran::Ran;
use crate::message::timeline::Timeline;
use crate::message::verdict::Verdict;
use crate::trace::context::Place;

/// A query, a URL or a viewer's cookies as the log may have them: a reader of the log must not be
/// able to ask again with its signatures.
pub fn without_signatures(text: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    if end_of_name(text).is_none() {
        return text.into();
    }
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text);
    while let Some(at) = end_of_name(rest) {
        out.extend_from_slice(&rest[..at]);
        out.push(b'-');
        rest = &rest[at..];
        rest = &rest[memchr::memchr2(b'&', b';', rest).unwrap_or(rest.len())..];
    }
    out.extend_from_slice(rest);
    out.into()
}

// Where the value of the first signature begins. Both names have a capital S, and most text has
// none, or few.
fn end_of_name(text: &[u8]) -> Option<usize> {
    const SIGNATURE: &[u8] = b"Signature=";
    // In presigned URLs of temporary credentials: what stands before its S, and behind.
    const TOKEN: (&[u8], &[u8]) = (b"X-Amz-", b"Security-Token=");
    memchr::memchr_iter(b'S', text).find_map(|at| {
        let (before, after) = text.split_at(at);
        if after.starts_with(SIGNATURE) {
            return Some(at + SIGNATURE.len());
        }
        let is_token = after.starts_with(TOKEN.1) && before.ends_with(TOKEN.0);
        is_token.then_some(at + TOKEN.1.len())
    })
}

/// Octets of a refused head's first line that are written down.
pub const LINE_MAX: usize = 200;

/// The first line of a head that was refused, as far as the log may have it: bounded, and without
/// credentials. The log that writes it escapes it.
pub fn request_line(octets: &[u8]) -> Vec<u8> {
    let octets = octets.strip_prefix(b"\r\n").unwrap_or(octets);
    let end = memchr::memchr2(b'\r', b'\n', octets).unwrap_or(octets.len());
    without_signatures(&without_userinfo(&octets[..end.min(LINE_MAX)])).into_owned()
}

// `user:password@` of an absolute target: refused, and a secret.
fn without_userinfo(line: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    let Some(start) = memchr::memmem::find(line, b"://").map(|at| at + 3) else {
        return line.into();
    };
    let end = memchr::memchr3(b'/', b'?', b' ', &line[start..]).map_or(line.len(), |at| start + at);
    match memchr::memrchr(b'@', &line[start..end]) {
        Some(at) => [&line[..start], b"-", &line[start + at..]].concat().into(),
        // Cut off within it, perhaps: what cannot be told apart is left out.
        None if end == line.len() => [&line[..start], b"-"].concat().into(),
        None => line.into(),
    }
}

/// One finished request.
pub struct Record<'r> {
    /// When what happened to it.
    pub timeline: Timeline,
    pub peer: SocketAddr,
    pub connection: ConnectionId,
    /// The certificate that the viewer showed, where its distribution asks for one.
    pub client: Option<&'r ViewerCertificate>,
    pub method: &'r str,
    pub scheme: Scheme,
    pub version: Version,
    pub host: &'r str,
    pub path: &'r str,
    pub query: Option<&'r str>,
    /// Of a head that was refused, what [`request_line`] leaves of its first line: then method,
    /// host and path are a dash.
    pub request_line: Option<&'r [u8]>,
    pub status: u16,
    /// Octets of body sent.
    pub bytes: u64,
    /// Octets of body received.
    pub received: u64,
    pub verdict: Verdict,
    pub distribution: Option<&'r str>,
    /// The behavior's pattern.
    pub behavior: Option<&'r str>,
    pub ordinal: Option<usize>,
    pub referer: Option<&'r [u8]>,
    pub user_agent: Option<&'r [u8]>,
    pub failure: Option<&'r Failure>,
    /// The answer broke off before its end.
    pub cut: Option<Cut>,
    /// The code at the edge that ran for it, if any did.
    pub ran: Option<&'r Ran>,
    /// Its span, where requests are traced.
    pub trace: Option<Place>,
}

/// The status that is noted where a viewer left before there was an answer.
pub const GONE: u16 = 499;

/// Which side broke an answer off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It is gone, or took nothing any more.
    ByViewer,
    /// The origin, or what else makes bodies: a disk, an encoder.
    ByOrigin,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_line_is_bounded_and_tells_no_secret() {
        let line = |octets: &[u8]| String::from_utf8_lossy(&request_line(octets)).into_owned();
        assert_eq!(line(b"GET /a b HTTP/1.1\r\nHost: h\r\nX: secret"), "GET /a b HTTP/1.1");
        assert_eq!(line(b"\r\nGET / HTTP/3.0\r\n"), "GET / HTTP/3.0");
        assert_eq!(line(b"\nGET"), "");
        assert_eq!(
            line(b"GET /?a=1&Signature=abc&b=2 HTTP/9.9\r\n"),
            "GET /?a=1&Signature=-&b=2 HTTP/9.9"
        );
        assert_eq!(line(b"GET http://joe:secret@h/x HTTP/1.1\r\n"), "GET http://-@h/x HTTP/1.1");
        assert_eq!(line(b"GET http://joe:secr"), "GET http://-");
        assert_eq!(line(b"GET http://h/x@y HTTP/1.1"), "GET http://h/x@y HTTP/1.1");
        assert_eq!(request_line(&[b'a'; 100_000]).len(), LINE_MAX);
    }
}
