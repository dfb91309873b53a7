//! Which logs are written, and what of each request they tell.

use std::path::PathBuf;

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
}

/// Whether a log tells viewers' cookies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cookies {
    Included,
    Omitted,
}

/// CloudFront's real-time log, where it is wanted: a line a request, in a file instead of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealtimeLog {
    pub file: PathBuf,
    /// Percent of the requests that are told, 1 to 100.
    pub sampling: u8,
    /// In CloudFront's order, whatever order they were named in.
    pub fields: Vec<RealtimeField>,
}

/// Logs that want more of a request than its record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloudFrontLogs {
    pub standard: Option<StandardLog>,
    pub realtime: Option<RealtimeLog>,
}

macro_rules! realtime_fields {
    ($($field:ident $name:literal,)*) => {
        /// A field of CloudFront's real-time log.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum RealtimeField { $($field,)* }

        impl RealtimeField {
            /// All of them in CloudFront's order, which a line keeps (CloudFront: "Use real-time
            /// access logs").
            pub const ALL: &'static [(Self, &'static str)] = &[$((Self::$field, $name),)*];
        }
    };
}

realtime_fields! {
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
}
