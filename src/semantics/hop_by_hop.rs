//! Fields that die at each hop (RFC 9110 §7.6.1): a fixed set, and whatever Connection lists.

use http::header::CONNECTION;

use super::fields::{FieldSection, Marks, Name};
use super::lists::members;

const NAMES: [&str; 11] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The marks of them all: most messages that come from a connection have none but Connection.
pub const MARKS: Marks = Marks::of(&NAMES);

/// Says whether a field never travels past one connection, whatever Connection says.
pub fn is_hop_by_hop<'n>(name: impl Into<Name<'n>>) -> bool {
    let name = name.into();
    // Most names are turned away by their mark.
    MARKS.may_name(name) && NAMES.iter().any(|known| name == *known)
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
    fn the_usual_fields_of_an_answer_are_let_go_without_a_look_at_their_lines() {
        let fields = FieldSection::from_iter(
            [
                "date",
                "server",
                "content-type",
                "content-length",
                "cache-control",
                "etag",
                "last-modified",
                "accept-ranges",
                "vary",
                "expires",
            ]
            .map(|name| (name, "1")),
        );
        assert!(!fields.may_have(MARKS));
        for name in NAMES {
            assert!(is_hop_by_hop(name) && is_hop_by_hop(name.to_ascii_uppercase().as_str()));
            let mut one_more = fields.clone();
            one_more.append(name, "1");
            assert!(one_more.may_have(MARKS), "{name}");
        }
    }

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
