//! Pure: the strict check of an HTTP/2 request head (RFC 9113 §8, RFC 8441 §4), and the only reading
//! of it there is.

use http::Method;
use smallvec::SmallVec;

use crate::base::octets;
use crate::distribution::host::parse_authority;
use crate::distribution::limits::Limits;
use crate::listen::h2::hpack::decode::FieldList;
use crate::message::connection::{Connection, Version};
use crate::message::path::is_safe_path;
use crate::message::refusal::Rule;
use crate::message::request::{Fields, Known, KnownFields, RequestHead, RequestId, split_target};
use crate::semantics::fields::{FieldSection, Name};
use crate::semantics::lists::parse_digits;
use crate::semantics::trailers::{TRAILERS_MAX, keep_allowed};

/// Lines of a head; a browser's fit on the stack.
pub type Lines<'b> = SmallVec<[httparse::Header<'b>; 32]>;

/// Why there is no head to act upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoHead {
    /// Not a request at all: the stream is reset (§8.1.1).
    Malformed,
    /// Understood and refused by this rule, with its status.
    Refused(Rule),
}

/// What a stream is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A request and its answer.
    Exchange,
    /// A WebSocket (RFC 8441 §5).
    WebSocket,
}

/// What a header block says, before it is a request.
#[derive(Default)]
pub struct Parts<'b> {
    method: Option<&'b str>,
    protocol: Option<&'b str>,
    path: Option<&'b str>,
    authority: Option<&'b str>,
    has_scheme: bool,
    host: Option<&'b [u8]>,
    lines: Lines<'b>,
}

impl<'b> Parts<'b> {
    /// Sorts a block's fields into parts that say nothing yet: with their lines on the stack they
    /// are too large to be handed on. `cookies` takes the one cookie that several lines are
    /// (§8.2.3).
    pub fn read(&mut self, list: &'b FieldList, cookies: &'b mut Vec<u8>) -> Result<(), NoHead> {
        // Nearly all heads are text without controls: that is seen at once, not in each piece.
        let (all, has_controls) =
            (std::str::from_utf8(list.octets()).ok(), has_controls(list.octets()));
        let text = |at: usize, octets: &'b [u8]| match all {
            Some(all) => all.get(at..at + octets.len()).ok_or(NoHead::Malformed),
            None => text(octets),
        };
        let (mut crumbs, mut place) = (0, 0);
        for (at, name, value) in list.places() {
            if is_padded(value) || has_controls && check_value(value).is_err() {
                return Err(NoHead::Malformed);
            }
            if let [b':', pseudo @ ..] = name {
                // All of them come first, and none twice (§8.3).
                if !self.lines.is_empty() || self.host.is_some() || crumbs > 0 {
                    return Err(NoHead::Malformed);
                }
                self.pseudo(pseudo, text(at + name.len(), value)?)?;
                continue;
            }
            check_name(name, value)?;
            if name == b"host" {
                if self.host.replace(value).is_some() {
                    return Err(NoHead::Refused(Rule::ManyHosts));
                }
            } else if name == b"cookie" {
                if crumbs == 0 {
                    // Its place among the others; its value is known once all of them are.
                    self.lines.push(httparse::Header { name: "cookie", value: b"" });
                    place = self.lines.len() - 1;
                }
                cookies.extend_from_slice(if crumbs > 0 { b"; " } else { b"" });
                cookies.extend_from_slice(value);
                crumbs += 1;
            } else {
                self.lines.push(httparse::Header { name: text(at, name)?, value });
            }
        }
        if crumbs > 0 {
            self.lines[place].value = cookies;
        }
        Ok(())
    }

    fn pseudo(&mut self, name: &[u8], value: &'b str) -> Result<(), NoHead> {
        let slot = match name {
            b"method" => &mut self.method,
            b"protocol" => &mut self.protocol,
            b"path" => &mut self.path,
            b"authority" => &mut self.authority,
            // How the viewer reached us is known better than it can say.
            b"scheme" if !self.has_scheme && !value.is_empty() => {
                self.has_scheme = true;
                return Ok(());
            }
            _ => return Err(NoHead::Malformed),
        };
        if slot.replace(value).is_some() { Err(NoHead::Malformed) } else { Ok(()) }
    }

    /// What the stream is for, where `tunnels` may be open at a time.
    pub fn purpose(&self, tunnels: usize) -> Result<Purpose, NoHead> {
        match self.protocol {
            None => Ok(Purpose::Exchange),
            // RFC 8441 §4: on no other method.
            Some(_) if self.method != Some("CONNECT") => Err(NoHead::Malformed),
            Some(_) if tunnels == 0 => Err(NoHead::Refused(Rule::Connect)),
            Some(name) if name.eq_ignore_ascii_case("websocket") => Ok(Purpose::WebSocket),
            Some(_) => Err(NoHead::Refused(Rule::Protocol)),
        }
    }

    /// Says it as HTTP/1.1 would (RFC 8441 §5), so that everything behind this reads one kind of
    /// handshake. HTTP/2 has no key; this one is ours, for an origin to answer.
    pub fn into_upgrade(mut self, key: &'b str) -> Self {
        self.method = Some("GET");
        self.lines.retain(|line| line.name != "sec-websocket-key");
        for (name, value) in
            [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-key", key)]
        {
            self.lines.push(httparse::Header { name, value: value.as_bytes() });
        }
        self
    }

    /// The request's method, if it has one that can be named.
    pub fn method(&self) -> Result<Method, NoHead> {
        let name = self.method.ok_or(NoHead::Malformed)?;
        Method::from_bytes(name.as_bytes()).map_err(|_| NoHead::Malformed)
    }

    /// The request, checked (§8.3.1).
    pub fn request<'r>(
        &'r self,
        method: &'r Method,
        connection: &'r Connection,
        limits: &Limits,
    ) -> Result<RequestHead<'r>, NoHead> {
        let refused = NoHead::Refused;
        if *method == Method::CONNECT {
            return Err(refused(Rule::Connect));
        }
        let (Some(target), true) = (self.path, self.has_scheme) else {
            return Err(NoHead::Malformed);
        };
        let authority = match (self.authority, self.host) {
            (Some(authority), Some(host)) if !authority.as_bytes().eq_ignore_ascii_case(host) => {
                return Err(refused(Rule::ManyHosts));
            }
            (Some(authority), _) => authority,
            (None, Some(host)) => std::str::from_utf8(host).map_err(|_| refused(Rule::BadHost))?,
            (None, None) => return Err(refused(Rule::NoHost)),
        };
        let host = parse_authority(authority).ok_or(refused(Rule::BadHost))?.host;
        if self.lines.len() > limits.fields {
            return Err(refused(Rule::ManyFields));
        }
        if target.len() > limits.url_bytes {
            return Err(refused(Rule::LongUrl));
        }
        if target.is_empty() {
            return Err(NoHead::Malformed);
        }
        let is_visible =
            target.bytes().fold(true, |all, b| all & (b > 0x20) & (b < 0x7f) & (b != b'#'));
        let (path, query) = split_target(target);
        // The server as a whole (§8.3.1): `*` stays what it is.
        let is_asterisk = target == "*" && *method == Method::OPTIONS;
        if !(target.starts_with('/') || is_asterisk) || !is_visible {
            return Err(refused(Rule::BadTarget));
        }
        if !is_safe_path(path) {
            return Err(refused(Rule::UnsafePath));
        }
        let fields = Fields::Lines(&self.lines);
        let known = KnownFields::find(fields);
        Ok(RequestHead {
            id: RequestId::default(),
            method,
            version: Version::Http2,
            scheme: connection.scheme,
            authority,
            host,
            path,
            spelled: path,
            query,
            fields,
            order: None,
            known,
            connection,
        })
    }
}

/// The announced length of a body (§8.1.1), checked.
pub fn content_length(head: &RequestHead<'_>) -> Result<Option<u64>, NoHead> {
    match head.known.get(Known::ContentLength) {
        None => Ok(None),
        Some(digits) if head.known.is_repeated(Known::ContentLength) || digits.len() > 19 => {
            Err(NoHead::Malformed)
        }
        Some(digits) => parse_digits(digits).map(Some).ok_or(NoHead::Malformed),
    }
}

/// Says whether a block may stand behind a body (§8.1): no pseudo field, nothing malformed.
pub fn are_trailers(list: &FieldList) -> bool {
    list.iter()
        .all(|(name, value)| check_name(name, value).and_then(|()| check_value(value)).is_ok())
}

/// The fields of a block that stands behind a body, those that may (RFC 9110 §6.5.1). None of them
/// where they are more than a head may have.
pub fn trailers(list: &FieldList) -> FieldSection {
    let mut fields = FieldSection::new();
    if !list.is_over_limit() {
        list.iter().for_each(|(name, value)| fields.push(Name::of(name), value));
        keep_allowed(&mut fields, TRAILERS_MAX);
    }
    fields
}

fn text(octets: &[u8]) -> Result<&str, NoHead> {
    std::str::from_utf8(octets).map_err(|_| NoHead::Malformed)
}

/// Octets of a token in lower case.
static OF_NAME: [bool; 256] = octets::table!(|octet| is_of_name(octet));

const fn is_of_name(octet: u8) -> bool {
    matches!(octet, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'!' | b'#'..=b'\'' | b'*' | b'+' | b'.' | b'^' | b'`' | b'|' | b'~')
}

// §8.2.1 and §8.2.2: lower-case tokens, and nothing that belongs to one connection of HTTP/1.
// Nearly all are good, so none of these checks has a branch for each octet.
fn check_name(name: &[u8], value: &[u8]) -> Result<(), NoHead> {
    let is_token = name.iter().fold(true, |all, b| all & OF_NAME[usize::from(*b)]);
    if name.is_empty() || !is_token {
        return Err(NoHead::Malformed);
    }
    let is_connections = match name.len() {
        2 => name == b"te" && !value.eq_ignore_ascii_case(b"trailers"),
        7 => name == b"upgrade",
        10 => name == b"connection" || name == b"keep-alive",
        16 => name == b"proxy-connection",
        17 => name == b"transfer-encoding",
        _ => false,
    };
    if is_connections { Err(NoHead::Malformed) } else { Ok(()) }
}

fn check_value(value: &[u8]) -> Result<(), NoHead> {
    if is_padded(value) || has_controls(value) { Err(NoHead::Malformed) } else { Ok(()) }
}

fn is_padded(value: &[u8]) -> bool {
    let is_space = |b: Option<&u8>| matches!(b, Some(b' ' | b'\t'));
    is_space(value.first()) || is_space(value.last())
}

// Controls would be line ends elsewhere; HTAB may stand within.
fn has_controls(octets: &[u8]) -> bool {
    let is_bad = |b: &u8| ((*b < 0x20) & (*b != b'\t')) | (*b == 0x7f);
    octets.iter().fold(false, |any, b| any | is_bad(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listen::h2::hpack::decode::Decoder;
    use crate::message::connection::{Asker, Scheme};

    fn list(fields: &[(&str, &str)]) -> FieldList {
        let mut block = Vec::new();
        for (name, value) in fields {
            // Written as it is, unlike our encoder, which lowers names.
            block.extend([0x40, name.len() as u8]);
            block.extend_from_slice(name.as_bytes());
            block.push(value.len() as u8);
            block.extend_from_slice(value.as_bytes());
        }
        let mut list = FieldList::default();
        list.clear(1 << 16);
        Decoder::new(4096).decode(&block, &mut list).unwrap();
        list
    }

    fn read(fields: &[(&str, &str)]) -> Result<String, NoHead> {
        let at = "127.0.0.1:1".parse().unwrap();
        let connection = Connection {
            id: Default::default(),
            peer: at,
            local: at,
            scheme: Scheme::Https,
            tls: None,
            place: None,
            asker: Asker::Viewer,
        };
        let (list, mut cookies) = (list(fields), Vec::new());
        let mut parts = Parts::default();
        parts.read(&list, &mut cookies)?;
        if parts.purpose(1)? == Purpose::WebSocket {
            parts = parts.into_upgrade("ours");
        }
        let method = parts.method()?;
        let head = parts.request(&method, &connection, &Limits::default())?;
        let length = content_length(&head)?;
        let lines: Vec<_> = head
            .fields
            .iter()
            .map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(value)))
            .collect();
        Ok(format!(
            "{} {} {:?} {} {:?} [{}]",
            head.method,
            head.path,
            head.query,
            head.host,
            length,
            lines.join(",")
        ))
    }

    #[test]
    fn rfc9113_8_2_1_each_octet_of_names_values_and_targets() {
        for octet in 0..=255u8 {
            let text = [b'a', octet, b'z'];
            let is_token = octet.is_ascii_lowercase()
                || octet.is_ascii_digit()
                || b"-_!#$%&'*+.^`|~".contains(&octet);
            assert_eq!(check_name(&text, b"").is_ok(), is_token, "{octet:x} in a name");
            let may_stand = octet == b'\t' || !octet.is_ascii_control();
            assert_eq!(check_value(&text).is_ok(), may_stand, "{octet:x} in a value");
            let Ok(text) = std::str::from_utf8(&text) else { continue };
            let path = format!("/{text}");
            let head: [(&str, &str); 4] = [PLAIN[0], PLAIN[1], PLAIN[2], (":path", &path)];
            let is_target = octet.is_ascii_graphic() && octet != b'#';
            assert_eq!(read(&head).is_ok(), is_target, "{octet:x} in a target");
        }
        assert!(check_name(b"", b"").is_err() && check_value(b"").is_ok());
    }

    #[test]
    fn what_one_field_has_is_no_matter_of_another() {
        // No text, half a character at the end of one field and the rest in the next, a control.
        let read = |fields: &[(&[u8], &[u8])]| {
            let mut list = FieldList::default();
            list.clear(1 << 16);
            for (name, value) in fields {
                let write = |out: &mut Vec<u8>| {
                    out.extend_from_slice(name);
                    out.extend_from_slice(value);
                    Ok(name.len())
                };
                list.add(write).unwrap();
            }
            let mut cookies = Vec::new();
            let mut parts = Parts::default();
            let read = parts.read(&list, &mut cookies).map(|()| parts.lines.len());
            read.map_err(|why| why == NoHead::Malformed)
        };
        let get = (&b":method"[..], &b"GET"[..]);
        assert_eq!(read(&[get, (b"a", b"\xff"), (b"b", "\u{e4}".as_bytes())]), Ok(2));
        assert_eq!(read(&[(b":path", b"/\xff"), (b"a", b"b")]), Err(true));
        assert_eq!(read(&[(b":path", b"/\xc3"), (b"\xa4x", b"y")]), Err(true));
        assert_eq!(read(&[get, (b"a", b"\xc3"), (b"\xa4x", b"y")]), Err(true));
        assert_eq!(read(&[get, (b"a", b"\xc3"), (b"b", b"\xa4")]), Ok(2), "values are octets");
        assert_eq!(read(&[(b":path", "/\u{e4}".as_bytes()), (b"a", b"\xff")]), Ok(1));
        assert_eq!(read(&[get, (b"a", b"b"), (b"c", b"d\x01")]), Err(true));
        assert_eq!(read(&[get, (b"a", b"b"), (b"c", b"d\te")]), Ok(2));
    }

    const PLAIN: [(&str, &str); 4] =
        [(":method", "GET"), (":scheme", "https"), (":authority", "a.test"), (":path", "/x?y")];

    fn with(more: &[(&str, &str)]) -> Result<String, NoHead> {
        read(&[&PLAIN, more].concat())
    }

    #[test]
    fn rfc9113_8_3_1_a_request() {
        assert_eq!(with(&[]).unwrap(), r#"GET /x Some("y") a.test None []"#);
        assert_eq!(
            with(&[("content-length", "5"), ("te", "trailers")]).unwrap(),
            r#"GET /x Some("y") a.test Some(5) [content-length=5,te=trailers]"#
        );
        assert_eq!(with(&[("host", "A.test")]).unwrap(), r#"GET /x Some("y") a.test None []"#);
        assert_eq!(with(&[("host", "b.test")]), Err(NoHead::Refused(Rule::ManyHosts)));
    }

    #[test]
    fn rfc9113_8_2_3_cookies_are_one() {
        assert_eq!(
            with(&[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")]).unwrap(),
            r#"GET /x Some("y") a.test None [cookie=a=1; b=2,x=y]"#
        );
    }

    #[test]
    fn rfc9113_8_2_malformed_fields() {
        let bad = [
            ("Upper", "x"),
            ("", "x"),
            ("a b", "x"),
            ("a:b", "x"),
            ("x", "a\r\nb"),
            ("x", "a\0"),
            ("x", " a"),
            ("x", "a "),
            ("x", "a\tb\u{7f}"),
            ("connection", "close"),
            ("keep-alive", "1"),
            ("proxy-connection", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "x"),
            ("te", "gzip"),
            (":method", "GET"),
            (":status", "200"),
            ("content-length", "1x"),
            ("content-length", "+1"),
        ];
        for (name, value) in bad {
            assert_eq!(with(&[(name, value)]), Err(NoHead::Malformed), "{name:?}: {value:?}");
        }
        assert_eq!(
            with(&[("content-length", "1"), ("content-length", "1")]),
            Err(NoHead::Malformed)
        );
        assert!(with(&[("x", "a\tb")]).is_ok());
    }

    #[test]
    fn rfc9113_8_3_pseudo_fields() {
        for missing in [0, 1, 3] {
            let mut fields = PLAIN.to_vec();
            fields.remove(missing);
            assert_eq!(read(&fields), Err(NoHead::Malformed), "without {}", PLAIN[missing].0);
        }
        assert_eq!(
            read(&[PLAIN[0], PLAIN[1], PLAIN[3]]),
            Err(NoHead::Refused(Rule::NoHost)),
            "no authority and no Host"
        );
        assert!(read(&[PLAIN[0], PLAIN[1], PLAIN[3], ("host", "a.test")]).is_ok());
        for twice in PLAIN {
            assert_eq!(read(&[&PLAIN[..], &[twice]].concat()), Err(NoHead::Malformed));
        }
        assert_eq!(
            read(&[PLAIN[0], ("x", "y"), PLAIN[1], PLAIN[2], PLAIN[3]]),
            Err(NoHead::Malformed),
            "behind a field"
        );
        let path = |path| read(&[PLAIN[0], PLAIN[1], PLAIN[2], (":path", path)]);
        assert_eq!(path(""), Err(NoHead::Malformed));
        for refused in ["x", "http://a.test/", "/a b", "/a#b", "*", "/\u{e9}"] {
            assert_eq!(path(refused), Err(NoHead::Refused(Rule::BadTarget)), "{refused}");
        }
        assert_eq!(path("/a/../b"), Err(NoHead::Refused(Rule::UnsafePath)));
        assert_eq!(
            read(&[(":method", "CONNECT"), (":authority", "a.test:443")]),
            Err(NoHead::Refused(Rule::Connect))
        );
        let asterisk = read(&[(":method", "OPTIONS"), PLAIN[1], PLAIN[2], (":path", "*")]).unwrap();
        assert!(asterisk.starts_with("OPTIONS * None"), "{asterisk}");
    }

    const CONNECT: [(&str, &str); 5] =
        [(":method", "CONNECT"), (":protocol", "websocket"), PLAIN[1], PLAIN[2], PLAIN[3]];

    #[test]
    fn rfc8441_5_a_websocket_is_the_handshake_of_http_1() {
        let more = [("sec-websocket-version", "13"), ("sec-websocket-key", "theirs")];
        assert_eq!(
            read(&[&CONNECT[..], &more].concat()).unwrap(),
            r#"GET /x Some("y") a.test None [sec-websocket-version=13,connection=Upgrade,upgrade=websocket,sec-websocket-key=ours]"#
        );
        let mut spelled = CONNECT;
        spelled[1].1 = "WebSocket";
        assert!(read(&spelled).is_ok());
    }

    #[test]
    fn rfc8441_4_protocols() {
        let mut other = CONNECT;
        other[1].1 = "connect-udp";
        assert_eq!(read(&other), Err(NoHead::Refused(Rule::Protocol)));
        let mut get = CONNECT;
        get[0].1 = "GET";
        assert_eq!(read(&get), Err(NoHead::Malformed));
        for missing in [2, 4] {
            let mut fields = CONNECT.to_vec();
            fields.remove(missing);
            assert_eq!(read(&fields), Err(NoHead::Malformed), "without {}", CONNECT[missing].0);
        }
        assert_eq!(read(&[&CONNECT[..], &CONNECT[1..2]].concat()), Err(NoHead::Malformed));
        let (list, mut cookies) = (list(&CONNECT), Vec::new());
        let mut parts = Parts::default();
        parts.read(&list, &mut cookies).unwrap();
        assert_eq!(parts.purpose(0), Err(NoHead::Refused(Rule::Connect)), "not offered");
    }
}
