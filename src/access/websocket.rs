//! Pure: which requests open a WebSocket, and whether their handshake is one (RFC 6455 §4.2.1).

use http::Method;

use crate::message::connection::Version;
use crate::message::refusal::Refusal;
use crate::message::request::{Known, RequestHead};
use crate::semantics::lists::members;
use crate::semantics::websocket;

/// Says whether a request asks for a WebSocket. Over HTTP/2 it does so by an extended CONNECT
/// (RFC 8441), which has been given the words of HTTP/1.1; it has no others.
///
/// Other offers may be ignored, and in HTTP/1.0 must be (RFC 9110 §7.8): the request means the same
/// without them. An answer to this one that ignored it would be taken for a broken handshake.
pub fn is_asked(head: &RequestHead<'_>) -> bool {
    let is_able = matches!(head.version, Version::Http11 | Version::Http2);
    if !head.known.has(Known::Upgrade) || !is_able {
        return false;
    }
    let members = |name| head.fields.get_all(name).flat_map(members);
    let mut offers = members("upgrade").peekable();
    offers.peek().is_some()
        && offers.all(|offer| offer.eq_ignore_ascii_case(b"websocket"))
        && members("connection").any(|member| member.eq_ignore_ascii_case(b"upgrade"))
}

/// Refuses a handshake that no server could accept; whatever else a request asks for is good.
pub fn judge(head: &RequestHead<'_>) -> Result<(), Refusal> {
    if !is_asked(head) {
        return Ok(());
    }
    if *head.method != Method::GET {
        return Err(Refusal::Method);
    }
    key(head).map(|_| ()).map_err(Refusal::Upgrade)
}

/// The key of a handshake.
pub fn key<'r>(head: &RequestHead<'r>) -> Result<&'r [u8], websocket::HandshakeError> {
    let (key, version) = ("sec-websocket-key", "sec-websocket-version");
    websocket::asked(head.fields.get_all(key), head.fields.get_all(version))
}
