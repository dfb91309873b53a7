//! The span of a request as a whole, made of its record.

use crate::record::{Cut, GONE, Record};
use crate::trace::live::Trace;
use crate::trace::span::{ANNOTATED, Told};

/// Hands the span over that tells of this record. It names the behavior's pattern, not the URL: that
/// may hold what is for the viewer and the origin alone.
#[cold]
pub fn end(trace: &Trace, record: &Record<'_>) {
    if !trace.is_sampled() {
        return;
    }
    let method = method(record.method);
    let name = match record.behavior {
        Some(pattern) => format!("{method} {pattern}"),
        None => method.to_string(),
    };
    let mut all: Vec<(&'static str, Told)> = vec![
        ("http.request.method", method.into()),
        ("http.response.status_code", u64::from(record.status).into()),
        ("http.response.body.size", record.bytes.into()),
        ("url.scheme", record.scheme.as_str().into()),
        ("network.protocol.version", record.version.number().into()),
        ("server.address", record.host.to_string().into()),
        ("result", record.verdict.word().into()),
        ("annotation.result", record.verdict.word().into()),
        ("foreshore.reason", record.verdict.reason.name().into()),
        ("foreshore.first_byte_us", record.timeline.until_answered().into()),
        ("aws.xray.annotations", Told::Words(ANNOTATED)),
    ];
    if let Some(id) = record.distribution {
        all.push(("distribution", id.to_string().into()));
        all.push(("annotation.distribution", id.to_string().into()));
    }
    if let Some(pattern) = record.behavior {
        all.push(("behavior", pattern.to_string().into()));
        all.push(("annotation.behavior", pattern.to_string().into()));
        all.push(("http.route", pattern.to_string().into()));
    }
    if let Some(ran) = record.ran {
        all.push(("foreshore.function", ran.names.clone().into()));
        all.push(("foreshore.function_us", ran.micros().into()));
    }
    trace.end(name, record.timeline.finished, all, failure(record));
}

// What viewers make up for a method is no name of a span.
fn method(name: &str) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    KNOWN.into_iter().find(|known| *known == name).unwrap_or("_OTHER")
}

// A viewer that was refused, or left, is no failure of ours.
fn failure(record: &Record<'_>) -> Option<String> {
    match (record.failure, record.cut) {
        (Some(failure), _) => Some(failure.kind.token().to_string()),
        (None, Some(Cut::ByOrigin)) => Some("the origin broke off".into()),
        _ if record.status >= 500 && record.status != GONE => Some(record.status.to_string()),
        _ => None,
    }
}
