//! Failures: we or an origin could not. Each knows its status, its word for Proxy-Status, and
//! whether it may be tried again elsewhere.

/// What went wrong while asking for a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub kind: FailureKind,
    /// For the log and the details of Proxy-Status; never a secret, never shown in a body.
    pub detail: String,
}

/// The kinds, each one a Proxy-Status error (RFC 9209 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    DnsError,
    /// No DNS server has answered; the origin was not asked for anything.
    DnsTimeout,
    ConnectionRefused,
    ConnectTimeout,
    /// The chain, the name or the dates of the origin's certificate do not hold.
    CertificateError,
    TlsError,
    /// The connection ended before an answer came.
    ConnectionTerminated,
    /// The origin called off this one request (RST_STREAM with CANCEL), before an answer came.
    Cancelled,
    ResponseTimeout,
    /// The time that the request itself gives for an answer is over (`grpc-timeout`).
    Deadline,
    /// The answer is not HTTP as we accept it.
    ResponseMalformed,
    /// Our own limits: connections to the origin, open files, or memory.
    ConnectionLimit,
    /// A file could not be read.
    Storage,
    /// The request's own body broke off.
    RequestBroken,
    /// The request's own body is longer than allowed.
    RequestTooLarge,
    /// Nothing may be fetched (`only-if-cached`).
    NotStored,
    /// The request may not be passed on.
    RequestDenied,
    /// A bug of ours, survived.
    Internal,
}

impl FailureKind {
    pub const ALL: [Self; 18] = [
        Self::DnsError,
        Self::DnsTimeout,
        Self::ConnectionRefused,
        Self::ConnectTimeout,
        Self::CertificateError,
        Self::TlsError,
        Self::ConnectionTerminated,
        Self::Cancelled,
        Self::ResponseTimeout,
        Self::Deadline,
        Self::ResponseMalformed,
        Self::ConnectionLimit,
        Self::Storage,
        Self::RequestBroken,
        Self::RequestTooLarge,
        Self::NotStored,
        Self::RequestDenied,
        Self::Internal,
    ];

    /// The status the viewer sees.
    pub const fn status(self) -> u16 {
        match self {
            Self::DnsError | Self::ConnectionRefused | Self::CertificateError | Self::TlsError => {
                502
            }
            Self::ConnectionTerminated | Self::Cancelled | Self::ResponseMalformed => 502,
            Self::DnsTimeout | Self::ConnectTimeout | Self::ResponseTimeout => 504,
            Self::Deadline | Self::NotStored => 504,
            Self::ConnectionLimit => 503,
            Self::Storage | Self::Internal => 500,
            Self::RequestBroken => 400,
            Self::RequestTooLarge => 413,
            Self::RequestDenied => 403,
        }
    }

    /// The token of Proxy-Status (RFC 9209 §2.3).
    pub const fn token(self) -> &'static str {
        match self {
            Self::DnsError => "dns_error",
            Self::DnsTimeout => "dns_timeout",
            Self::ConnectionRefused => "connection_refused",
            Self::ConnectTimeout => "connection_timeout",
            Self::CertificateError => "tls_certificate_error",
            Self::TlsError => "tls_protocol_error",
            Self::ConnectionTerminated | Self::Cancelled => "connection_terminated",
            Self::ResponseTimeout | Self::Deadline => "http_response_timeout",
            Self::ResponseMalformed => "http_protocol_error",
            Self::ConnectionLimit => "connection_limit_reached",
            // No next hop was asked: the viewer wanted none to be.
            Self::Storage | Self::NotStored => "proxy_internal_response",
            Self::RequestBroken | Self::RequestTooLarge => "http_request_error",
            Self::RequestDenied => "http_request_denied",
            Self::Internal => "proxy_internal_error",
        }
    }

    /// Says whether an origin may have carried out what was asked of it, though there is no answer.
    pub const fn leaves_doubt(self) -> bool {
        matches!(
            self,
            Self::ConnectionTerminated
                | Self::Cancelled
                | Self::ResponseTimeout
                | Self::Deadline
                | Self::ResponseMalformed
        )
    }

    /// Says whether an origin group may ask its next member.
    pub const fn fails_over(self) -> bool {
        !matches!(
            self,
            Self::RequestBroken
                | Self::Deadline
                | Self::RequestTooLarge
                | Self::NotStored
                | Self::RequestDenied
                | Self::Internal
        )
    }
}

impl Failure {
    /// Makes a failure with a reason for the log.
    pub fn new(kind: FailureKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }

    /// One that stands for a bug of ours.
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(FailureKind::Internal, detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::structured::parse_dictionary;

    #[test]
    fn caching_15_every_token_is_one() {
        for kind in FailureKind::ALL {
            let member = format!("a=Foreshore; detail={}", kind.token());
            assert!(parse_dictionary(member.as_bytes()).is_some(), "{member}");
            assert!((400..600).contains(&kind.status()));
        }
    }

    #[test]
    fn rfc9209_2_3_1_silence_of_dns_has_its_own_word() {
        let kind = FailureKind::DnsTimeout;
        assert_eq!((kind.token(), kind.status()), ("dns_timeout", 504));
        assert!(kind.fails_over() && !kind.leaves_doubt());
    }
}
