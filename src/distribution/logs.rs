//! Which logs are written, and what of each request they tell.

use std::path::PathBuf;
use std::sync::Arc;

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogSettings {
    Off,
    Stdout,
    File(PathBuf),
}

/// CloudFront's standard log, where it is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandardLog {
    pub folder: PathBuf,
    pub cookies: Cookies,
    /// In the order in which a line has them.
    pub fields: Vec<StandardField>,
}

/// Whether a log tells viewers' cookies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cookies {
    Included,
    Omitted,
}

/// A real-time log of CloudFront's, where it is wanted: a line a request, in a file instead of a
/// stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealtimeLog {
    /// What behaviors choose it by; `None`: it is `log.realtime`.
    pub name: Option<Arc<str>>,
    pub file: PathBuf,
    /// Percent of the requests that are told, 1 to 100.
    pub sampling: u8,
    /// In CloudFront's order, whatever order they were named in.
    pub fields: Vec<RealtimeField>,
    /// Of `log.realtime`; one with a name tells of those that name it.
    pub behaviors: Told,
}

/// Which real-time log tells of a behavior, by what that says itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RealtimeChoice {
    /// `log.realtime`, if that tells of all.
    #[default]
    Usual,
    /// `log.realtime`.
    On,
    Off,
    /// The one of that name, and no other.
    Named(Arc<str>),
}

impl RealtimeLog {
    /// Says whether it tells of a behavior.
    pub fn tells_of(&self, said: &RealtimeChoice) -> bool {
        match (said, &self.name) {
            (RealtimeChoice::Named(wanted), Some(name)) => wanted == name,
            (RealtimeChoice::Usual, None) => self.behaviors == Told::All,
            (RealtimeChoice::On, None) => true,
            _ => false,
        }
    }
}

/// Which behaviors a log tells of that say nothing themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    All,
    None,
}

/// Logs that want more of a request than its record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloudFrontLogs {
    pub standard: Option<StandardLog>,
    /// At most one of them tells of a behavior.
    pub realtime: Vec<RealtimeLog>,
}

macro_rules! log_fields {
    ($(#[$about:meta])* $kind:ident: $($field:ident $name:literal,)*) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $kind { $($field,)* }

        impl $kind {
            /// All of them with their names, in CloudFront's order and our own behind.
            pub const ALL: &'static [(Self, &'static str)] = &[$((Self::$field, $name),)*];

            /// Those that a line has where none are chosen.
            pub fn usual() -> Vec<Self> {
                Self::ALL[..Self::USUAL].iter().map(|(field, _)| *field).collect()
            }

            /// Its name.
            pub fn name(self) -> &'static str {
                Self::ALL[self as usize].1
            }
        }
    };
}

log_fields! {
    /// A field of CloudFront's real-time log (CloudFront: "Use real-time access logs"), whose order
    /// a line keeps.
    RealtimeField:
    Timestamp "timestamp",
    ClientIp "c-ip",
    TimeToFirstByte "time-to-first-byte",
    Status "sc-status",
    BytesSent "sc-bytes",
    Method "cs-method",
    Protocol "cs-protocol",
    Host "cs-host",
    UriStem "cs-uri-stem",
    BytesReceived "cs-bytes",
    EdgeLocation "x-edge-location",
    RequestId "x-edge-request-id",
    HostHeader "x-host-header",
    TimeTaken "time-taken",
    ProtocolVersion "cs-protocol-version",
    IpVersion "c-ip-version",
    UserAgent "cs-user-agent",
    Referer "cs-referer",
    Cookie "cs-cookie",
    UriQuery "cs-uri-query",
    ResponseResultType "x-edge-response-result-type",
    ForwardedFor "x-forwarded-for",
    SslProtocol "ssl-protocol",
    SslCipher "ssl-cipher",
    ResultType "x-edge-result-type",
    FleEncryptedFields "fle-encrypted-fields",
    FleStatus "fle-status",
    ContentType "sc-content-type",
    ContentLen "sc-content-len",
    RangeStart "sc-range-start",
    RangeEnd "sc-range-end",
    ClientPort "c-port",
    DetailedResultType "x-edge-detailed-result-type",
    Country "c-country",
    AcceptEncoding "cs-accept-encoding",
    Accept "cs-accept",
    PathPattern "cache-behavior-path-pattern",
    Headers "cs-headers",
    HeaderNames "cs-header-names",
    HeadersCount "cs-headers-count",
    OriginFirstByte "origin-fbl",
    OriginLastByte "origin-lbl",
    Asn "asn",
    Connection "connection-id",
    ClientSubject "viewer-cert-subject",
    ClientSerial "viewer-cert-serial-number",
}

impl RealtimeField {
    const USUAL: usize = 43;
}

log_fields! {
    /// A field of CloudFront's standard log: those of version 1, and more that are chosen by name
    /// (CloudFront: "Configure standard logging (v2)").
    StandardField:
    Date "date",
    Time "time",
    EdgeLocation "x-edge-location",
    BytesSent "sc-bytes",
    ClientIp "c-ip",
    Method "cs-method",
    Host "cs(Host)",
    UriStem "cs-uri-stem",
    Status "sc-status",
    Referer "cs(Referer)",
    UserAgent "cs(User-Agent)",
    UriQuery "cs-uri-query",
    Cookie "cs(Cookie)",
    ResultType "x-edge-result-type",
    RequestId "x-edge-request-id",
    HostHeader "x-host-header",
    Protocol "cs-protocol",
    BytesReceived "cs-bytes",
    TimeTaken "time-taken",
    ForwardedFor "x-forwarded-for",
    SslProtocol "ssl-protocol",
    SslCipher "ssl-cipher",
    ResponseResultType "x-edge-response-result-type",
    ProtocolVersion "cs-protocol-version",
    FleStatus "fle-status",
    FleEncryptedFields "fle-encrypted-fields",
    ClientPort "c-port",
    TimeToFirstByte "time-to-first-byte",
    DetailedResultType "x-edge-detailed-result-type",
    ContentType "sc-content-type",
    ContentLen "sc-content-len",
    RangeStart "sc-range-start",
    RangeEnd "sc-range-end",
    Timestamp "timestamp",
    TimestampMillis "timestamp(ms)",
    Distribution "distributionid",
    OriginFirstByte "origin-fbl",
    OriginLastByte "origin-lbl",
    PathPattern "cache-behavior-path-pattern",
    Country "c-country",
    Asn "asn",
    Connection "connection-id",
    ClientSubject "viewer-cert-subject",
    ClientSerial "viewer-cert-serial-number",
}

impl StandardField {
    const USUAL: usize = 33;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_chose_is_what_readers_of_cloudfronts_logs_know() {
        assert_eq!(RealtimeField::usual().last(), Some(&RealtimeField::Asn));
        assert_eq!(StandardField::usual().last(), Some(&StandardField::RangeEnd));
        for (field, name) in StandardField::ALL {
            assert_eq!(field.name(), *name);
        }
    }

    #[test]
    fn a_behavior_has_the_last_word() {
        let log = |name: Option<&str>, behaviors| RealtimeLog {
            name: name.map(Arc::from),
            file: PathBuf::new(),
            sampling: 100,
            fields: Vec::new(),
            behaviors,
        };
        let (all, chosen) = (log(None, Told::All), log(None, Told::None));
        let (orders, named) =
            (log(Some("orders"), Told::None), RealtimeChoice::Named("orders".into()));
        for (said, told) in [
            (RealtimeChoice::Usual, [true, false, false]),
            (RealtimeChoice::On, [true, true, false]),
            (RealtimeChoice::Off, [false; 3]),
            (named, [false, false, true]),
            (RealtimeChoice::Named("returns".into()), [false; 3]),
        ] {
            assert_eq!([&all, &chosen, &orders].map(|log| log.tells_of(&said)), told, "{said:?}");
        }
    }
}
