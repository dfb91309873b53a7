//! Fields that die at each hop (RFC 9110 §7.6.1): a fixed set, and whatever Connection lists.

use http::header::{
    CONNECTION, HeaderMap, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};

use super::lists::members;

/// Says whether a field never travels past one connection, whatever Connection says.
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    [CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE]
        .contains(name)
        || matches!(
            name.as_str(),
            "keep-alive" | "proxy-connection" | "proxy-authentication-info" | "http2-settings"
        )
}

/// Takes out the fields that Connection lists, so that they count for nobody: not for a key, not
/// upstream.
///
/// Connection may not name fields whose loss would change what the message means to us or to a
/// cache further on (an attacker would list Host, Authorization or Cache-Control); such names are
/// left alone.
pub fn strip_listed(fields: &mut HeaderMap) {
    if !fields.contains_key(CONNECTION) {
        return;
    }
    let listed: Vec<HeaderName> = fields
        .get_all(CONNECTION)
        .into_iter()
        .flat_map(|line| members(line.as_bytes()))
        .filter_map(|member| HeaderName::from_bytes(member).ok())
        .filter(|name| !is_protected(name) && !is_hop_by_hop(name))
        .collect();
    for name in listed {
        fields.remove(name);
    }
}

/// Takes all hop-by-hop fields out of a head, the ones that Connection lists included.
pub fn strip(fields: &mut HeaderMap) {
    strip_listed(fields);
    let fixed: Vec<HeaderName> =
        fields.keys().filter(|name| is_hop_by_hop(name)).cloned().collect();
    for name in fixed {
        fields.remove(name);
    }
}

fn is_protected(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "host"
            | "content-length"
            | "cache-control"
            | "cdn-cache-control"
            | "expires"
            | "age"
            | "date"
            | "vary"
            | "set-cookie"
            | "authorization"
            | "cookie"
            | "content-type"
            | "content-encoding"
            | "content-range"
            | "range"
            | "via"
            | "x-forwarded-for"
            | "cdn-loop"
            | "etag"
            | "last-modified"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caching_5_2_fixed_and_listed_fields_go() {
        let mut fields = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Hop, Cache-Control"),
            ("x-hop", "1"),
            ("x-end", "2"),
            ("cache-control", "no-store"),
            ("keep-alive", "5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("proxy-connection", "x"),
            ("proxy-authenticate", "x"),
            ("proxy-authentication-info", "x"),
            ("trailer", "x"),
        ] {
            fields.append(name, value.parse().unwrap());
        }
        strip(&mut fields);
        let left: Vec<&str> = fields.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["x-end", "cache-control"]);
    }
}
