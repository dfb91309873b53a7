//! Pure: the JSON access log, one line a request. A line cannot be forged: every byte that is not
//! plain is escaped.

use std::io::Write;

use super::{Cut, Record, without_signatures};
use crate::semantics::fields::WriteValue as _;

/// Octets of a viewer's field, or of a failure's words, that are written down. The line itself is
/// never cut.
const FIELD_MAX: usize = 4096;

/// Writes one line. `stamp` is the date and time as far as whole seconds go, with the point behind
/// them.
pub fn write_json(out: &mut Vec<u8>, record: &Record<'_>, stamp: &str) {
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(b"{\"time\":\"");
    out.extend_from_slice(stamp.as_bytes());
    let millis = record.at.0 % 1000;
    out.extend_from_slice(&[
        b'0' + (millis / 100) as u8,
        b'0' + (millis / 10 % 10) as u8,
        b'0' + (millis % 10) as u8,
    ]);
    out.extend_from_slice(b"Z\",\"viewer\":\"");
    record.peer.ip().to_canonical().write_value(out);
    text(out, "method", record.method.as_bytes());
    text(out, "scheme", record.scheme.as_str().as_bytes());
    text(out, "protocol", record.version.number().as_bytes());
    text(out, "host", record.host.as_bytes());
    text(out, "path", record.path.as_bytes());
    if let Some(query) = record.query {
        text(out, "query", &without_signatures(query.as_bytes()));
    }
    if let Some(line) = record.request_line {
        text(out, "request_line", line);
    }
    out.extend_from_slice(b"\",\"status\":");
    out.extend_from_slice(digits.format(record.status).as_bytes());
    out.extend_from_slice(b",\"bytes\":");
    out.extend_from_slice(digits.format(record.bytes).as_bytes());
    if record.received > 0 {
        out.extend_from_slice(b",\"received\":");
        out.extend_from_slice(digits.format(record.received).as_bytes());
    }
    out.extend_from_slice(b",\"us\":");
    out.extend_from_slice(digits.format(record.micros).as_bytes());
    out.extend_from_slice(b",\"result\":\"");
    out.extend_from_slice(record.verdict.outcome.word().as_bytes());
    text(out, "reason", record.verdict.reason.name().as_bytes());
    if let Some(id) = record.distribution {
        text(out, "distribution", id.as_bytes());
    }
    if let Some(pattern) = record.behavior {
        text(out, "behavior", pattern.as_bytes());
    }
    if let Some(agent) = record.user_agent {
        text(out, "user_agent", bounded(agent));
    }
    if let Some(referer) = record.referer {
        text(out, "referer", &without_signatures(bounded(referer)));
    }
    if let Some(failure) = record.failure {
        text(out, "error", failure.kind.token().as_bytes());
        text(out, "detail", bounded(failure.detail.as_bytes()));
    }
    out.push(b'"');
    if let Some(millis) = record.origin_millis {
        out.extend_from_slice(b",\"origin_ms\":");
        out.extend_from_slice(digits.format(millis).as_bytes());
    }
    if record.verdict.collapsed {
        out.extend_from_slice(b",\"collapsed\":true");
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

fn bounded(value: &[u8]) -> &[u8] {
    &value[..value.len().min(FIELD_MAX)]
}

// Closes the value before it, then `,"name":"value` with the value left open.
fn text(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(b"\",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":\"");
    let plain = value.iter().all(|b| (0x20..0x7f).contains(b) && *b != b'"' && *b != b'\\');
    if plain {
        return out.extend_from_slice(value);
    }
    for c in String::from_utf8_lossy(value).chars() {
        match c {
            '"' | '\\' => out.extend_from_slice(&[b'\\', c as u8]),
            // C1 controls, too, and what some readers take for the end of a line.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                drop(write!(out, "\\u{:04x}", c as u32))
            }
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::cloudfront_fields::tests::record;
    use crate::semantics::time::Timestamp;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_line_is_one_line_of_json_whatever_the_viewer_sends(agent in proptest::collection::vec(any::<u8>(), 0..40), path in "\\PC{0,20}") {
            let record = Record {
                at: Timestamp(1_700_000_000_123), path: &path, query: Some("a=\"b\""), user_agent: Some(&agent), ..record()
            };
            let mut line = Vec::new();
            write_json(&mut line, &record, "2023-11-14T22:13:20.");
            prop_assert_eq!(line.iter().filter(|b| **b == b'\n').count(), 1);
            let read: serde_json::Value = serde_json::from_slice(&line).unwrap();
            prop_assert_eq!(&read["time"], "2023-11-14T22:13:20.123Z");
            prop_assert_eq!(read["path"].as_str(), Some(path.as_str()));
            prop_assert_eq!(&read["viewer"], "192.0.2.100");
            prop_assert_eq!(&read["result"], "Hit");
        }

        #[test]
        fn no_control_reaches_the_log(line in proptest::collection::vec(any::<u8>(), 0..60), agent in "[\\x00-\\x20\\x7f-\u{a0}\u{2028}\\PC]{0,40}") {
            let line = super::super::request_line(&line);
            let said = String::from_utf8_lossy(&line).into_owned();
            let record = Record { request_line: Some(&line), user_agent: Some(agent.as_bytes()), ..record() };
            let mut written = Vec::new();
            write_json(&mut written, &record, "2023-11-14T22:13:20.");
            let text = String::from_utf8(written).unwrap();
            prop_assert!(text.ends_with('\n') && !text[..text.len() - 1].chars().any(char::is_control), "{text:?}");
            let read: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(read["request_line"].as_str(), Some(said.as_str()));
            prop_assert_eq!(read["user_agent"].as_str(), Some(agent.as_str()));
        }
    }

    #[test]
    fn a_long_field_is_cut_and_the_line_is_not() {
        let long = vec![b'"'; 100_000];
        let record = Record { user_agent: Some(&long), referer: Some(&long), ..record() };
        let mut line = Vec::new();
        write_json(&mut line, &record, "2023-11-14T22:13:20.");
        let read: serde_json::Value = serde_json::from_slice(&line).unwrap();
        for field in ["user_agent", "referer"] {
            assert_eq!(read[field].as_str().unwrap().len(), FIELD_MAX, "{field}");
        }
    }
}
