//! Pure: CloudFront's real-time log, the fields that were chosen, in CloudFront's order, tabs
//! between them, no head.

use super::cloudfront_fields::{
    self, Answered, Asked, Pop, Spelled, field, number, optional_seconds, seconds, word,
};
use super::{Record, without_signatures};
use crate::distribution::logs::RealtimeField;

/// Writes one line. A request that is not one of the sample has none.
pub fn write_line(
    out: &mut Vec<u8>,
    fields: &[RealtimeField],
    record: &Record<'_>,
    asked: &Asked<'_>,
    answered: &Answered<'_>,
    place: Pop<'_>,
) {
    if asked.viewer.is_none() || fields.is_empty() {
        return;
    }
    for one in fields {
        write_field(out, *one, record, asked, answered, place);
    }
    // No tab behind the last one.
    out.pop();
    out.push(b'\n');
}

fn write_field(
    out: &mut Vec<u8>,
    one: RealtimeField,
    record: &Record<'_>,
    asked: &Asked<'_>,
    answered: &Answered<'_>,
    place: Pop<'_>,
) {
    use RealtimeField as F;
    let Some(viewer) = &asked.viewer else { return };
    let mut text = |value: Option<&[u8]>| field(out, value, Spelled::AsText);
    match one {
        // When the answer was finished.
        F::Timestamp => seconds(out, record.timeline.finished_at()),
        F::ClientIp => cloudfront_fields::viewer(out, record),
        F::TimeToFirstByte => seconds(out, record.timeline.until_answered()),
        F::Status => cloudfront_fields::status(out, record),
        F::BytesSent => number(out, Some(record.bytes + answered.octets)),
        F::Method => text(Some(record.method.as_bytes())),
        F::Protocol => word(out, record.scheme.as_str()),
        F::Host => cloudfront_fields::domain(out, record, place.is_cloudfront),
        F::UriStem => uri(out, record),
        F::BytesReceived => number(out, Some(asked.octets + record.received)),
        F::EdgeLocation => text(Some(place.pop.as_bytes())),
        F::RequestId => cloudfront_fields::id(out, asked),
        F::HostHeader => text(Some(record.host.as_bytes())),
        F::TimeTaken => seconds(out, record.timeline.finished),
        F::ProtocolVersion => word(out, cloudfront_fields::protocol(record.version)),
        F::IpVersion => word(out, ip_version(record)),
        F::UserAgent => text(record.user_agent),
        F::Referer => field(out, record.referer.map(without_signatures).as_deref(), Spelled::AsUrl),
        F::Cookie => text(asked.cookie.as_deref().map(without_signatures).as_deref()),
        F::UriQuery => field(
            out,
            record.query.map(|query| without_signatures(query.as_bytes())).as_deref(),
            Spelled::AsUrl,
        ),
        F::ResponseResultType | F::ResultType => word(out, cloudfront_fields::result(record)),
        F::ForwardedFor => text(asked.forwarded_for.as_deref()),
        F::SslProtocol => text(asked.tls.map(|(version, _)| version.as_bytes())),
        F::SslCipher => text(asked.tls.map(|(_, cipher)| cipher.as_bytes())),
        F::FleEncryptedFields => {
            number(out, answered.encryption.map(|encryption| u64::from(encryption.fields)));
        }
        F::FleStatus => {
            text(answered.encryption.map(|encryption| encryption.status.word().as_bytes()));
        }
        F::ContentType => text(answered.content_type),
        F::ContentLen => number(out, answered.content_len),
        F::RangeStart => number(out, answered.range.map(|(first, _)| first)),
        F::RangeEnd => number(out, answered.range.map(|(_, last)| last)),
        F::ClientPort => number(out, Some(u64::from(record.peer.port()))),
        F::DetailedResultType => word(out, cloudfront_fields::detailed(record)),
        F::Country => text(viewer.country.as_deref().map(str::as_bytes)),
        F::AcceptEncoding => text(viewer.accept_encoding.as_deref()),
        F::Accept => text(viewer.accept.as_deref()),
        F::PathPattern => text(record.behavior.map(str::as_bytes)),
        F::Headers => text(Some(&viewer.fields)),
        F::HeaderNames => text(Some(&viewer.names)),
        F::HeadersCount => number(out, Some(viewer.count)),
        F::OriginFirstByte => optional_seconds(out, record.timeline.until_upstream_head()),
        F::OriginLastByte => optional_seconds(out, record.timeline.until_upstream_end()),
        F::Asn => text(viewer.asn.as_deref().map(str::as_bytes)),
        F::Connection => cloudfront_fields::connection(out, record),
        F::ClientSubject => cloudfront_fields::client(out, record, |client| &client.subject),
        F::ClientSerial => cloudfront_fields::client(out, record, |client| &client.serial),
    }
}

// Unlike the standard log's, with the query.
fn uri(out: &mut Vec<u8>, record: &Record<'_>) {
    field(out, Some(record.path.as_bytes()), Spelled::AsUrl);
    if let Some(query) = record.query.filter(|query| !query.is_empty()) {
        out.pop();
        out.push(b'?');
        field(out, Some(&without_signatures(query.as_bytes())), Spelled::AsUrl);
    }
}

fn ip_version(record: &Record<'_>) -> &'static str {
    if record.peer.ip().to_canonical().is_ipv4() { "IPv4" } else { "IPv6" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::certificate::{Proof, ViewerCertificate};
    use crate::message::request::RequestId;
    use crate::message::timeline::Timeline;
    use crate::record::cloudfront_fields::Viewer;
    use crate::record::cloudfront_fields::tests::record;
    use proptest::prelude::*;

    fn line(fields: &[RealtimeField], agent: &[u8], seen: &[u8]) -> String {
        let certificate = certificate(Proof::Verified);
        let record = Record {
            user_agent: Some(agent),
            timeline: Timeline {
                upstream_millis: Some(3),
                answered: Some(5_432),
                finished: 12_345,
                ..record().timeline
            },
            client: Some(&certificate),
            ..record()
        };
        let viewer = Viewer {
            accept: Some(seen.to_vec()),
            country: Some("DE".into()),
            fields: seen.to_vec(),
            names: b"Host\nAccept\n".to_vec(),
            count: 2,
            ..Viewer::default()
        };
        let asked = Asked {
            id: RequestId(1),
            octets: 23,
            viewer: Some(Box::new(viewer)),
            ..Asked::default()
        };
        let answered = Answered { octets: 22, range: Some((0, 77)), ..Answered::default() };
        let mut out = Vec::new();
        write_line(
            &mut out,
            fields,
            &record,
            &asked,
            &answered,
            Pop { pop: "FRA56-C1", is_cloudfront: true },
        );
        String::from_utf8(out).unwrap()
    }

    fn certificate(proof: Proof) -> ViewerCertificate {
        ViewerCertificate {
            proof,
            serial: "0a:ff".into(),
            issuer: "CN=ca".into(),
            subject: "CN=a b".into(),
            sha256: "00".into(),
            validity: String::new(),
            der: [].into(),
            others: Vec::new(),
        }
    }

    #[test]
    fn a_certificate_that_was_not_verified_is_not_told() {
        let certificate = certificate(Proof::Unverified);
        let record = Record { client: Some(&certificate), ..record() };
        let mut out = Vec::new();
        cloudfront_fields::client(&mut out, &record, |client| &client.subject);
        assert_eq!(out, b"-\t");
    }

    #[test]
    fn every_field_has_its_place() {
        let all: Vec<RealtimeField> = RealtimeField::ALL.iter().map(|(field, _)| *field).collect();
        let line = line(&all, b"a b", b"Host:a.test\nAccept:*/*\n");
        let fields: Vec<&str> = line.trim_end().split('\t').collect();
        assert_eq!((fields.len(), all.len()), (46, 46));
        let of = |name: &str| {
            fields[RealtimeField::ALL.iter().position(|(_, known)| *known == name).unwrap()]
        };
        for (name, value) in [
            ("timestamp", "1575493351.012"),
            ("c-ip", "192.0.2.100"),
            ("time-to-first-byte", "0.005"),
            ("sc-bytes", "100"),
            ("cs-host", "edemo.cloudfront.net"),
            ("cs-uri-stem", "/index.html?a=1&Signature=-"),
            ("cs-uri-query", "a=1&Signature=-"),
            ("x-edge-location", "FRA56-C1"),
            ("time-taken", "0.012"),
            ("c-ip-version", "IPv4"),
            ("cs-user-agent", "a%20b"),
            ("cs-cookie", "-"),
            ("x-edge-result-type", "Hit"),
            ("sc-range-end", "77"),
            ("c-country", "DE"),
            ("cache-behavior-path-pattern", "*"),
            ("cs-headers", "Host:a.test%0AAccept:*/*%0A"),
            ("cs-header-names", "Host%0AAccept%0A"),
            ("cs-headers-count", "2"),
            ("origin-fbl", "0.003"),
            ("origin-lbl", "0.012"),
            ("asn", "-"),
            ("connection-id", "0000000000000000"),
            ("viewer-cert-subject", "CN=a%20b"),
            ("viewer-cert-serial-number", "0a:ff"),
        ] {
            assert_eq!(of(name), value, "{name}");
        }
    }

    proptest! {
        #[test]
        fn nobody_forges_a_line(agent in proptest::collection::vec(any::<u8>(), 0..40), seen in proptest::collection::vec(any::<u8>(), 0..40)) {
            let line = line(&[RealtimeField::UserAgent, RealtimeField::Accept, RealtimeField::Headers], &agent, &seen);
            prop_assert_eq!(line.matches('\n').count(), 1);
            prop_assert_eq!(line.matches('\t').count(), 2);
            prop_assert!(line.is_ascii());
        }
    }

    #[test]
    fn who_is_not_in_the_sample_has_no_line() {
        let mut out = Vec::new();
        write_line(
            &mut out,
            &[RealtimeField::Status],
            &record(),
            &Asked::default(),
            &Answered::default(),
            Pop { pop: "FRA56-C1", is_cloudfront: true },
        );
        assert!(out.is_empty());
    }
}
