//! Pure: the name that an origin has to prove. SNI carries it, and the certificate is checked for
//! it.
//!
//! As CloudFront has it the name is the Host that is sent, so that an origin with several sites
//! finds the right one; its certificate may be for that name or for the origin's own. Where
//! `tls.server_name` is set it is that, and no other.

use std::borrow::Cow;
use std::net::IpAddr;

use http::header::HOST;
use rustls::pki_types::ServerName;

use crate::distribution::host::parse_authority;
use crate::distribution::origin::{HostRule, HttpOrigin};
use crate::semantics::fields::FieldSection;

/// The name that a request's connection is for: lower case, without port, brackets or a dot at its
/// end. Empty without TLS, where a connection is to an address and serves every name there.
///
/// A Host that no certificate can be for (an empty one, `1.2.3`) leaves the origin's own, and so
/// does one that a policy passes on to an origin whose `url` is an address: nothing says that the
/// server there has a site of that name.
pub fn name<'r>(http: &'r HttpOrigin, fields: &'r FieldSection) -> Cow<'r, str> {
    let Some(tls) = &http.tls else { return Cow::Borrowed("") };
    if let Some(fixed) = &tls.server_name {
        return plain(fixed);
    }
    let is_address = plain(&http.host).parse::<IpAddr>().is_ok();
    if is_address && http.host_rule == HostRule::Origin {
        return plain(&http.host);
    }
    let sent = fields
        .get(&HOST)
        .and_then(|host| host.to_str().ok())
        .and_then(parse_authority)
        .map(|sent| plain(sent.host));
    sent.filter(|name| ServerName::try_from(&**name).is_ok()).unwrap_or_else(|| plain(&http.host))
}

/// The origin's own name, where its certificate may be for that beside the name of the connection.
pub fn own(http: &HttpOrigin) -> Option<Cow<'_, str>> {
    http.tls.as_ref().filter(|tls| tls.server_name.is_none()).map(|_| plain(&http.host))
}

/// A host as names are compared.
pub fn plain(host: &str) -> Cow<'_, str> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let bare = bare.strip_suffix('.').unwrap_or(bare);
    if bare.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(bare.to_ascii_lowercase())
    } else {
        Cow::Borrowed(bare)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distribution::origin::{Family, HttpVersion, OriginTls, Reach, Roots, TlsVersion};

    fn origin(host: &str, server_name: Option<&str>) -> HttpOrigin {
        let server_name = server_name.map(str::to_string);
        let tls = OriginTls {
            roots: Roots::System,
            server_name,
            identity: None,
            min: TlsVersion::V1_2,
            more_names: Vec::new(),
        };
        HttpOrigin {
            host: host.into(),
            port: 443,
            tls: Some(tls),
            host_rule: HostRule::Origin,
            version: HttpVersion::Http1,
            family: Family::Both,
            reach: Reach::Anywhere,
        }
    }

    fn sent(host: &'static str) -> FieldSection {
        FieldSection::from_iter([(&HOST, host)])
    }

    #[test]
    fn the_name_is_the_host_that_is_sent() {
        for (host, want) in [
            ("www.example.com", "www.example.com"),
            ("WWW.Example.com:8443", "www.example.com"),
            ("www.example.com.", "www.example.com"),
            ("a_b.example.com", "a_b.example.com"),
            ("192.0.2.1:444", "192.0.2.1"),
            ("[2001:db8::1]:444", "2001:db8::1"),
            ("", "alb.test"),
            ("1.2.3", "alb.test"),
            ("-.", "alb.test"),
            ("a b", "alb.test"),
        ] {
            assert_eq!(name(&origin("ALB.test", None), &sent(host)), want, "{host:?}");
            assert_eq!(
                name(&origin("alb.test", Some("Fixed.test")), &sent(host)),
                "fixed.test",
                "{host:?}"
            );
        }
        assert_eq!(name(&origin("alb.test", None), &FieldSection::new()), "alb.test");
        for address in ["192.0.2.7", "[2001:db8::7]"] {
            let own = plain(address).into_owned();
            assert_eq!(name(&origin(address, None), &sent("www.example.com")), own);
            let told = HttpOrigin { host_rule: HostRule::Viewer, ..origin(address, None) };
            assert_eq!(name(&told, &sent("www.example.com")), "www.example.com");
        }
        let clear = HttpOrigin { tls: None, ..origin("alb.test", None) };
        assert_eq!(name(&clear, &sent("www.example.com")), "");
    }

    #[test]
    fn the_origins_own_name_counts_unless_one_is_fixed() {
        assert_eq!(own(&origin("[2001:DB8::1]", None)).as_deref(), Some("2001:db8::1"));
        assert_eq!(own(&origin("alb.test", Some("fixed.test"))), None);
    }
}
