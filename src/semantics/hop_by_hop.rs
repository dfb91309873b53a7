//! Fields that die at each hop (RFC 9110 §7.6.1): a fixed set, and whatever Connection lists.

use http::header::CONNECTION;

use super::fields::{FieldSection, Name};
use super::lists::members;

/// Says whether a field never travels past one connection, whatever Connection says.
pub fn is_hop_by_hop<'n>(name: impl Into<Name<'n>>) -> bool {
    let name = name.into();
    let is = |known: &[&str]| known.iter().any(|known| name == *known);
    // By length first: most names are turned away by that.
    match name.octets().len() {
        2 => is(&["te"]),
        7 => is(&["trailer", "upgrade"]),
        10 => is(&["connection", "keep-alive"]),
        14 => is(&["http2-settings"]),
        16 => is(&["proxy-connection"]),
        17 => is(&["transfer-encoding"]),
        18 => is(&["proxy-authenticate"]),
        19 => is(&["proxy-authorization"]),
        25 => is(&["proxy-authentication-info"]),
        _ => false,
    }
}

/// Takes out the fields that Connection lists, so that they count neither for a key nor upstream.
///
/// Connection may not name fields whose loss would change what the message means to us or to a
/// cache further on (an attacker would list Host, Authorization or Cache-Control); such names are
/// left alone.
pub fn strip_listed(fields: &mut FieldSection) {
    if !fields.contains(&CONNECTION) {
        return;
    }
    let listed: Vec<String> = fields
        .get_all(&CONNECTION)
        .flat_map(|line| members(line.as_bytes()))
        .filter_map(|member| std::str::from_utf8(member).ok())
        .filter(|name| !is_protected(name) && !is_hop_by_hop(*name))
        .map(str::to_ascii_lowercase)
        .collect();
    if !listed.is_empty() {
        fields.retain(|name, _| !listed.iter().any(|listed| name == listed.as_str()));
    }
}

fn is_protected(name: &str) -> bool {
    matches!(
        name.to_ascii_lowercase().as_str(),
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
        let mut fields = FieldSection::new();
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
            fields.append(name, value);
        }
        strip_listed(&mut fields);
        fields.retain(|name, _| !is_hop_by_hop(name));
        let left: Vec<&str> = fields.iter().map(|(name, _)| name.spelled()).collect();
        assert_eq!(left, ["X-End", "Cache-Control"]);
    }
}
