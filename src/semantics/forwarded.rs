//! Fields in which a proxy tells the server behind it of its viewer: address, host, scheme, path,
//! method.
//!
//! Servers believe them, and put them into links and redirects. From a viewer they are claims, and
//! the usual way to have an answer stored that others should never see. X-Forwarded-For is not
//! among them: this edge always writes it itself.

use super::fields::Name;

/// Says whether a field is one of these, by its name in any case.
///
/// ```
/// use foreshore::semantics::forwarded::speaks_as_proxy;
/// assert!(speaks_as_proxy("X-Forwarded-Host") && speaks_as_proxy("forwarded"));
/// assert!(!speaks_as_proxy("x-forwarded-for") && !speaks_as_proxy("x-requested-with"));
/// ```
pub fn speaks_as_proxy<'n>(name: impl Into<Name<'n>>) -> bool {
    let name = name.into();
    if is_client_cert(name) {
        return true;
    }
    // Most names begin with another letter.
    if !matches!(name.octets().first().map(u8::to_ascii_lowercase), Some(b'f' | b'p' | b't' | b'x'))
    {
        return false;
    }
    if name.begins("x-forwarded-") {
        return name != "x-forwarded-for";
    }
    name.begins("x-edge-") || name.begins("proxy-") || NAMES.iter().any(|known| name == *known)
}

/// Says whether a field is one in which a proxy that ends TLS tells of its viewer's certificate
/// (RFC 9440 §2).
pub fn is_client_cert<'n>(name: impl Into<Name<'n>>) -> bool {
    let name = name.into();
    // By length first: most names are turned away by that.
    match name.octets().len() {
        11 => name == "client-cert",
        17 => name == "client-cert-chain",
        _ => false,
    }
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
            "Client-Cert",
            "client-cert-chain",
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
            "client-certs",
            "content-type",
            "",
        ] {
            assert!(!speaks_as_proxy(name), "{name}");
        }
    }
}
