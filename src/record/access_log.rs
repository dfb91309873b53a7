//! Pure: the JSON access log, one line a request. A line cannot be forged: every byte that is not
//! plain is escaped.

use super::stamp::Stamp;
use super::{Cut, Record, json_text, without_signatures};
use crate::base::address;
use crate::base::digits::{decimal, three};
use crate::message::certificate::{Proof, ViewerCertificate};
use crate::message::connection::{Scheme, Version};
use crate::message::ran::Ran;
use crate::message::verdict::{Outcome, Reason, Verdict};
use crate::trace::context::hex;

/// Octets of a viewer's field, or of a failure's words, that are written down. The line itself is
/// never cut.
const FIELD_MAX: usize = 4096;

// Names are written together with the punctuation around them, and values that most requests have
// together with their names: a piece whose length is known beforehand is a few moves, where any
// other is a call.

/// Writes one line. `stamp` is of the second in which the record lies.
pub fn write_json(out: &mut Vec<u8>, record: &Record<'_>, stamp: &Stamp) {
    out.extend_from_slice(b"{\"time\":\"");
    out.extend_from_slice(&stamp.json);
    out.extend_from_slice(&three(record.timeline.received.0 % 1000));
    out.extend_from_slice(b"Z\",\"viewer\":\"");
    address::write(out, record.peer.ip().to_canonical());
    request(out, record);
    answer(out, record);
    names(out, record);
    end(out, record);
}

// What was asked for. Begins behind an open value, as what follows does, and leaves one open.
fn request(out: &mut Vec<u8>, record: &Record<'_>) {
    if record.method == "GET" {
        out.extend_from_slice(b"\",\"method\":\"GET");
    } else {
        out.extend_from_slice(b"\",\"method\":\"");
        json_text::write(out, record.method.as_bytes());
    }
    match (record.scheme, record.version) {
        (Scheme::Http, Version::Http11) => {
            out.extend_from_slice(b"\",\"scheme\":\"http\",\"protocol\":\"1.1");
        }
        (Scheme::Https, Version::Http11) => {
            out.extend_from_slice(b"\",\"scheme\":\"https\",\"protocol\":\"1.1");
        }
        (Scheme::Https, Version::Http2) => {
            out.extend_from_slice(b"\",\"scheme\":\"https\",\"protocol\":\"2.0");
        }
        (scheme, version) => {
            out.extend_from_slice(b"\",\"scheme\":\"");
            out.extend_from_slice(scheme.as_str().as_bytes());
            out.extend_from_slice(b"\",\"protocol\":\"");
            out.extend_from_slice(version.number().as_bytes());
        }
    }
    out.extend_from_slice(b"\",\"host\":\"");
    json_text::write(out, record.host.as_bytes());
    out.extend_from_slice(b"\",\"path\":\"");
    json_text::write(out, record.path.as_bytes());
    if let Some(query) = record.query {
        out.extend_from_slice(b"\",\"query\":\"");
        json_text::write(out, &without_signatures(query.as_bytes()));
    }
    if let Some(line) = record.request_line {
        out.extend_from_slice(b"\",\"request_line\":\"");
        json_text::write(out, line);
    }
}

// What it was answered with, and why.
fn answer(out: &mut Vec<u8>, record: &Record<'_>) {
    out.extend_from_slice(b"\",\"status\":");
    decimal(out, u64::from(record.status));
    out.extend_from_slice(b",\"bytes\":");
    decimal(out, record.bytes);
    if record.received > 0 {
        out.extend_from_slice(b",\"received\":");
        decimal(out, record.received);
    }
    out.extend_from_slice(b",\"us\":");
    decimal(out, record.timeline.finished);
    if let Verdict { outcome: Outcome::Hit, reason: Reason::Fresh, failed: None, .. } =
        record.verdict
    {
        return out.extend_from_slice(b",\"result\":\"Hit\",\"reason\":\"fresh");
    }
    out.extend_from_slice(b",\"result\":\"");
    out.extend_from_slice(record.verdict.word().as_bytes());
    out.extend_from_slice(b"\",\"reason\":\"");
    out.extend_from_slice(record.verdict.reason.name().as_bytes());
}

// Whom it concerned, and what was said of it in words.
fn names(out: &mut Vec<u8>, record: &Record<'_>) {
    if let Some(id) = record.distribution {
        out.extend_from_slice(b"\",\"distribution\":\"");
        json_text::write(out, id.as_bytes());
    }
    if let Some(pattern) = record.behavior {
        out.extend_from_slice(b"\",\"behavior\":\"");
        json_text::write(out, pattern.as_bytes());
    }
    if let Some(agent) = record.user_agent {
        out.extend_from_slice(b"\",\"user_agent\":\"");
        json_text::write(out, bounded(agent));
    }
    if let Some(referer) = record.referer {
        out.extend_from_slice(b"\",\"referer\":\"");
        json_text::write(out, &without_signatures(bounded(referer)));
    }
    if let Some(failure) = record.failure {
        out.extend_from_slice(b"\",\"error\":\"");
        out.extend_from_slice(failure.kind.token().as_bytes());
        out.extend_from_slice(b"\",\"detail\":\"");
        json_text::write(out, bounded(failure.detail.as_bytes()));
    }
}

// Closes the last value, adds what is rarely there, and closes the line.
fn end(out: &mut Vec<u8>, record: &Record<'_>) {
    out.extend_from_slice(b"\",\"connection\":\"");
    out.extend_from_slice(record.connection.text());
    out.push(b'"');
    if let Some(certificate) = record.client {
        client(out, certificate);
    }
    if let Some(millis) = record.timeline.upstream_millis {
        out.extend_from_slice(b",\"origin_ms\":");
        decimal(out, millis);
    }
    if record.verdict.collapsed {
        out.extend_from_slice(b",\"collapsed\":true");
    }
    if let Some(ran) = record.ran {
        functions(out, ran);
    }
    if let Some(place) = record.trace {
        out.extend_from_slice(b",\"trace_id\":\"");
        hex(out, &place.trace.0);
        out.extend_from_slice(b"\",\"span_id\":\"");
        hex(out, &place.span.0);
        out.push(b'"');
    }
    match record.cut {
        None => {}
        Some(Cut::ByViewer) => {
            out.extend_from_slice(b",\"aborted\":true,\"aborted_by\":\"viewer\"")
        }
        Some(Cut::ByOrigin) => {
            out.extend_from_slice(b",\"aborted\":true,\"aborted_by\":\"origin\"")
        }
    }
    out.extend_from_slice(b"}\n");
}

// Whose certificate the viewer showed; one that was not verified may say anything.
fn client(out: &mut Vec<u8>, certificate: &ViewerCertificate) {
    out.extend_from_slice(b",\"client_subject\":\"");
    json_text::write(out, bounded(certificate.subject.as_bytes()));
    out.extend_from_slice(b"\",\"client_serial\":\"");
    json_text::write(out, bounded(certificate.serial.as_bytes()));
    out.push(b'"');
    if certificate.proof == Proof::Unverified {
        out.extend_from_slice(b",\"client_unverified\":true");
    }
}

// The code that ran, and what it cost.
fn functions(out: &mut Vec<u8>, ran: &Ran) {
    out.extend_from_slice(b",\"function\":\"");
    json_text::write(out, ran.names.as_bytes());
    out.extend_from_slice(b"\",\"function_us\":");
    decimal(out, ran.micros());
    if let Some(error) = &ran.error {
        out.extend_from_slice(b",\"function_error\":\"");
        json_text::write(out, bounded(error.as_bytes()));
        out.push(b'"');
    }
}

fn bounded(value: &[u8]) -> &[u8] {
    &value[..value.len().min(FIELD_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::timeline::Timeline;
    use crate::record::cloudfront_fields::tests::record;
    use crate::semantics::time::Timestamp;
    use proptest::prelude::*;

    fn certificate() -> ViewerCertificate {
        ViewerCertificate {
            proof: Proof::Verified,
            serial: "0a:ff".into(),
            issuer: "CN=ca".into(),
            subject: "CN=viewer".into(),
            sha256: "00".into(),
            validity: String::new(),
            der: [].into(),
            others: Vec::new(),
        }
    }

    proptest! {
        #[test]
        fn a_line_is_one_line_of_json_whatever_the_viewer_sends(agent in proptest::collection::vec(any::<u8>(), 0..40), path in "\\PC{0,20}") {
            let record = Record {
                timeline: Timeline::at(Timestamp(1_700_000_000_123)), path: &path, query: Some("a=\"b\""), user_agent: Some(&agent), ..record()
            };
            let mut line = Vec::new();
            write_json(&mut line, &record, &Stamp::of(record.timeline.received));
            prop_assert_eq!(line.iter().filter(|b| **b == b'\n').count(), 1);
            let read: serde_json::Value = serde_json::from_slice(&line).unwrap();
            prop_assert_eq!(&read["time"], "2023-11-14T22:13:20.123Z");
            prop_assert_eq!(read["path"].as_str(), Some(path.as_str()));
            prop_assert_eq!(&read["viewer"], "192.0.2.100");
            prop_assert_eq!(&read["result"], "Hit");
        }

        #[test]
        fn a_certificate_forges_no_line(subject in "\\PC{0,40}", is_verified in any::<bool>()) {
            let proof = if is_verified { Proof::Verified } else { Proof::Unverified };
            let certificate = ViewerCertificate { proof, subject, ..certificate() };
            let record = Record { client: Some(&certificate), ..record() };
            let mut line = Vec::new();
            write_json(&mut line, &record, &Stamp::of(record.timeline.received));
            prop_assert_eq!(line.iter().filter(|b| **b == b'\n').count(), 1);
            let read: serde_json::Value = serde_json::from_slice(&line).unwrap();
            prop_assert_eq!(read["client_subject"].as_str(), Some(certificate.subject.as_str()));
            prop_assert_eq!(&read["client_serial"], "0a:ff");
            prop_assert_eq!(read.get("client_unverified").is_some(), !is_verified);
            prop_assert_eq!(&read["connection"], "0000000000000000");
        }

        #[test]
        fn no_control_reaches_the_log(line in proptest::collection::vec(any::<u8>(), 0..60), agent in "[\\x00-\\x20\\x7f-\u{a0}\u{2028}\\PC]{0,40}") {
            let line = super::super::request_line(&line);
            let said = String::from_utf8_lossy(&line).into_owned();
            let record = Record { request_line: Some(&line), user_agent: Some(agent.as_bytes()), ..record() };
            let mut written = Vec::new();
            write_json(&mut written, &record, &Stamp::of(record.timeline.received));
            let text = String::from_utf8(written).unwrap();
            prop_assert!(text.ends_with('\n') && !text[..text.len() - 1].chars().any(char::is_control), "{text:?}");
            let read: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(read["request_line"].as_str(), Some(said.as_str()));
            prop_assert_eq!(read["user_agent"].as_str(), Some(agent.as_str()));
        }
    }

    #[test]
    fn what_most_requests_have_is_written_as_the_rest_is() {
        for (scheme, version) in [Scheme::Http, Scheme::Https].into_iter().flat_map(|scheme| {
            [Version::Http10, Version::Http11, Version::Http2, Version::Http3]
                .map(|version| (scheme, version))
        }) {
            for (method, reason) in
                [("GET", Reason::Fresh), ("POST", Reason::StaleIfError), ("G\"ET", Reason::Fresh)]
            {
                let verdict = Verdict { outcome: Outcome::Hit, reason, ..record().verdict };
                let record = Record { method, scheme, version, verdict, ..record() };
                let mut line = Vec::new();
                write_json(&mut line, &record, &Stamp::of(record.timeline.received));
                let read: serde_json::Value = serde_json::from_slice(&line).unwrap();
                for (name, expected) in [
                    ("method", method),
                    ("scheme", scheme.as_str()),
                    ("protocol", version.number()),
                    ("result", verdict.word()),
                    ("reason", reason.name()),
                ] {
                    assert_eq!(read[name], expected, "{name}");
                }
            }
        }
    }

    #[test]
    fn the_code_that_ran_is_named_and_its_words_are_escaped() {
        let mut ran = Ran::default();
        ran.add("index", 2_700);
        ran.add("headers", 900);
        ran.error = Some("line 1: \"x\"\nis not defined".into());
        let record = Record { ran: Some(&ran), ..record() };
        let mut line = Vec::new();
        write_json(&mut line, &record, &Stamp::of(record.timeline.received));
        let read: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(read["function"], "index,headers");
        assert_eq!(read["function_us"], 3);
        assert_eq!(read["function_error"], "line 1: \"x\"\nis not defined");
    }

    #[test]
    fn a_long_field_is_cut_and_the_line_is_not() {
        let long = vec![b'"'; 100_000];
        let record = Record { user_agent: Some(&long), referer: Some(&long), ..record() };
        let mut line = Vec::new();
        write_json(&mut line, &record, &Stamp::of(record.timeline.received));
        let read: serde_json::Value = serde_json::from_slice(&line).unwrap();
        for field in ["user_agent", "referer"] {
            assert_eq!(read[field].as_str().unwrap().len(), FIELD_MAX, "{field}");
        }
    }
}
