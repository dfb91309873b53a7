//! Fields in which a proxy tells the server behind it of its viewer: address, host, scheme, path,
//! method.
//!
//! Servers believe them, and put them into links and redirects. From a viewer they are claims, and
//! the usual way to have an answer stored that others should never see. X-Forwarded-For is not
//! among them: this edge always writes it itself.

/// Says whether a field is one of these, by its name in any case.
///
/// ```
/// use foreshore::semantics::forwarded::speaks_as_proxy;
/// assert!(speaks_as_proxy("X-Forwarded-Host") && speaks_as_proxy("forwarded"));
/// assert!(!speaks_as_proxy("x-forwarded-for") && !speaks_as_proxy("x-requested-with"));
/// ```
pub fn speaks_as_proxy(name: &str) -> bool {
    // Most names begin with another letter.
    if !matches!(
        name.as_bytes().first().map(u8::to_ascii_lowercase),
        Some(b'f' | b'p' | b't' | b'x')
    ) {
        return false;
    }
    let begins = |prefix: &str| {
        name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    if begins("x-forwarded-") {
        return !name.eq_ignore_ascii_case("x-forwarded-for");
    }
    begins("x-edge-")
        || begins("proxy-")
        || NAMES.iter().any(|known| known.eq_ignore_ascii_case(name))
}

const NAMES: [&str; 19] = [
    "forwarded",
    "forwarded-for",
    "front-end-https",
    // CGI makes HTTP_PROXY of it.
    "proxy",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-forwarded",
    "x-host",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-host",
    "x-original-uri",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
    "x-scheme",
    "x-url-scheme",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proxies_say_is_known_in_any_case_and_viewers_own_fields_are_not_taken_for_it() {
        for name in [
            "X-Forwarded-Proto",
            "x-forwarded-prefix",
            "X-EDGE-LOCATION",
            "Forwarded",
            "x-real-ip",
            "X-Rewrite-URL",
            "X-Host",
            "Proxy-Foo",
        ] {
            assert!(speaks_as_proxy(name), "{name}");
        }
        for name in [
            "X-Forwarded-For",
            "host",
            "x-edge",
            "proxys",
            "x-api-key",
            "origin",
            "x-hostname",
            "authorization",
            "",
        ] {
            assert!(!speaks_as_proxy(name), "{name}");
        }
    }
}
