//! Pure: the opening handshake of a WebSocket (RFC 6455 §4), judged on both sides.
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
