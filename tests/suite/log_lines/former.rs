//! Lines as they were composed before: by `write!`, octet by octet, and with a search for each name
//! of a signature.

use std::borrow::Cow;
use std::io::Write;

use foreshore::distribution::logs::{Cookies, RealtimeField};
use foreshore::message::request::RequestId;
use foreshore::record::cloudfront_fields::{
    Answered, Asked, Pop, Spelled, detailed, protocol, result,
};
use foreshore::record::{Cut, GONE, Record};
use foreshore::semantics::time::{civil, format_rfc3339};

const FIELD_MAX: usize = 4096;

pub fn without_signatures(text: &[u8]) -> Cow<'_, [u8]> {
    const NAMES: [&[u8]; 2] = [b"Signature=", b"X-Amz-Security-Token="];
    let next = |text: &[u8]| {
        NAMES.iter().filter_map(|name| Some(memchr::memmem::find(text, name)? + name.len())).min()
    };
    let (mut out, mut rest) = (Vec::new(), text);
    while let Some(at) = next(rest) {
        out.extend_from_slice(&rest[..at]);
        out.push(b'-');
        rest = &rest[at..];
        rest = &rest[memchr::memchr2(b'&', b';', rest).unwrap_or(rest.len())..];
    }
    out.extend_from_slice(rest);
    out.into()
}

pub fn json(out: &mut Vec<u8>, record: &Record<'_>) {
    let (stamp, ip) = (format_rfc3339(record.timeline.received), record.peer.ip().to_canonical());
    let _ = write!(out, "{{\"time\":\"{stamp}\",\"viewer\":\"{ip}");
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
    let _ = write!(out, "\",\"status\":{},\"bytes\":{}", record.status, record.bytes);
    if record.received > 0 {
        let _ = write!(out, ",\"received\":{}", record.received);
    }
    let word = record.verdict.outcome.word();
    let _ = write!(out, ",\"us\":{},\"result\":\"{word}", record.timeline.finished);
    text(out, "reason", record.verdict.reason.name().as_bytes());
    names(out, record);
    text(out, "connection", record.connection.text());
    out.push(b'"');
    if let Some(millis) = record.timeline.upstream_millis {
        let _ = write!(out, ",\"origin_ms\":{millis}");
    }
    if record.verdict.collapsed {
        out.extend_from_slice(b",\"collapsed\":true");
    }
    let by = match record.cut {
        None => "",
        Some(Cut::ByViewer) => ",\"aborted\":true,\"aborted_by\":\"viewer\"",
        Some(Cut::ByOrigin) => ",\"aborted\":true,\"aborted_by\":\"origin\"",
    };
    let _ = writeln!(out, "{by}}}");
}

fn names(out: &mut Vec<u8>, record: &Record<'_>) {
    let bounded = |value: &[u8]| value[..value.len().min(FIELD_MAX)].to_vec();
    if let Some(id) = record.distribution {
        text(out, "distribution", id.as_bytes());
    }
    if let Some(pattern) = record.behavior {
        text(out, "behavior", pattern.as_bytes());
    }
    if let Some(agent) = record.user_agent {
        text(out, "user_agent", &bounded(agent));
    }
    if let Some(referer) = record.referer {
        text(out, "referer", &without_signatures(&bounded(referer)));
    }
    if let Some(failure) = record.failure {
        text(out, "error", failure.kind.token().as_bytes());
        text(out, "detail", &bounded(failure.detail.as_bytes()));
    }
}

// Closes the value before it, then `,"name":"value` with the value left open.
fn text(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    let _ = write!(out, "\",\"{name}\":\"");
    for c in String::from_utf8_lossy(value).chars() {
        let _ = match c {
            '"' | '\\' => write!(out, "\\{c}"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                write!(out, "\\u{:04x}", c as u32)
            }
            c => write!(out, "{c}"),
        };
    }
}

pub fn id(out: &mut Vec<u8>, id: RequestId) {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut state = id.0;
    let mut bits = 0;
    for at in 0..54u32 {
        if at % 10 == 0 {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            bits = state;
            bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            bits ^= bits >> 31;
        }
        out.push(LETTERS[(bits & 63) as usize]);
        bits >>= 6;
    }
    out.extend_from_slice(b"==");
}

pub fn standard(
    out: &mut Vec<u8>,
    cookies: Cookies,
    record: &Record<'_>,
    asked: &Asked<'_>,
    answered: &Answered<'_>,
    place: Pop<'_>,
) {
    let received = record.timeline.received;
    let (year, month, day) = civil(received.secs() / 86_400);
    let rest = received.secs() % 86_400;
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    let _ = write!(
        out,
        "{year:04}-{month:02}-{day:02}\t{hour:02}:{minute:02}:{second:02}\t{}\t{}\t{}\t{}\t",
        place.pop,
        record.bytes + answered.octets,
        record.peer.ip().to_canonical(),
        record.method
    );
    domain(out, record, place.is_cloudfront);
    field(out, Some(record.path.as_bytes()), Spelled::AsUrl);
    status(out, record);
    field(out, record.referer.map(without_signatures).as_deref(), Spelled::AsUrl);
    field(out, record.user_agent, Spelled::AsText);
    let query = record.query.map(|query| without_signatures(query.as_bytes()));
    field(out, query.as_deref(), Spelled::AsUrl);
    let cookie = asked.cookie.as_deref().filter(|_| cookies == Cookies::Included);
    field(out, cookie.map(without_signatures).as_deref(), Spelled::AsText);
    let result = result(record);
    let _ = write!(out, "{result}\t");
    id(out, asked.id);
    out.push(b'\t');
    field(out, Some(record.host.as_bytes()), Spelled::AsText);
    let _ = write!(out, "{}\t{}\t", record.scheme.as_str(), asked.octets + record.received);
    seconds(out, record.timeline.finished);
    field(out, asked.forwarded_for.as_deref(), Spelled::AsText);
    let (version, cipher) = asked.tls.unwrap_or(("-", "-"));
    let (protocol, port) = (protocol(record.version), record.peer.port());
    let form = answered.encryption.map(|form| (form.status.word(), form.fields.to_string()));
    let (word, fields) = form.unwrap_or(("-", "-".into()));
    let _ = write!(out, "{version}\t{cipher}\t{result}\t{protocol}\t{word}\t{fields}\t{port}\t");
    seconds(out, until_answered(record));
    let _ = write!(out, "{}\t", detailed(record));
    field(out, answered.content_type, Spelled::AsText);
    number(out, answered.content_len);
    number(out, answered.range.map(|(first, _)| first));
    number(out, answered.range.map(|(_, last)| last));
    out.pop();
    out.push(b'\n');
}

pub fn realtime(
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
        realtime_field(out, *one, record, asked, answered, place);
    }
    out.pop();
    out.push(b'\n');
}

fn realtime_field(
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
    let ip = record.peer.ip().to_canonical();
    match one {
        F::Timestamp => {
            seconds(out, record.timeline.received.0 * 1000 + record.timeline.finished);
        }
        F::ClientIp => drop(write!(out, "{ip}\t")),
        F::TimeToFirstByte => seconds(out, until_answered(record)),
        F::Status => status(out, record),
        F::BytesSent => number(out, Some(record.bytes + answered.octets)),
        F::Method => text(Some(record.method.as_bytes())),
        F::Protocol => text(Some(record.scheme.as_str().as_bytes())),
        F::Host => domain(out, record, place.is_cloudfront),
        F::UriStem => {
            field(out, Some(record.path.as_bytes()), Spelled::AsUrl);
            if let Some(query) = record.query.filter(|query| !query.is_empty()) {
                out.pop();
                out.push(b'?');
                field(out, Some(&without_signatures(query.as_bytes())), Spelled::AsUrl);
            }
        }
        F::BytesReceived => number(out, Some(asked.octets + record.received)),
        F::EdgeLocation => text(Some(place.pop.as_bytes())),
        F::RequestId => {
            id(out, asked.id);
            out.push(b'\t');
        }
        F::HostHeader => text(Some(record.host.as_bytes())),
        F::TimeTaken => seconds(out, record.timeline.finished),
        F::ProtocolVersion => text(Some(protocol(record.version).as_bytes())),
        F::IpVersion => text(Some(if ip.is_ipv4() { b"IPv4" } else { b"IPv6" })),
        F::UserAgent => text(record.user_agent),
        F::Referer => field(out, record.referer.map(without_signatures).as_deref(), Spelled::AsUrl),
        F::Cookie => text(asked.cookie.as_deref().map(without_signatures).as_deref()),
        F::UriQuery => {
            let query = record.query.map(|query| without_signatures(query.as_bytes()));
            field(out, query.as_deref(), Spelled::AsUrl);
        }
        F::ResponseResultType | F::ResultType => text(Some(result(record).as_bytes())),
        F::ForwardedFor => text(asked.forwarded_for.as_deref()),
        F::SslProtocol => text(asked.tls.map(|(version, _)| version.as_bytes())),
        F::SslCipher => text(asked.tls.map(|(_, cipher)| cipher.as_bytes())),
        F::FleEncryptedFields => {
            number(out, answered.encryption.map(|form| u64::from(form.fields)));
        }
        F::FleStatus => text(answered.encryption.map(|form| form.status.word().as_bytes())),
        F::ContentType => text(answered.content_type),
        F::ContentLen => number(out, answered.content_len),
        F::RangeStart => number(out, answered.range.map(|(first, _)| first)),
        F::RangeEnd => number(out, answered.range.map(|(_, last)| last)),
        F::ClientPort => number(out, Some(u64::from(record.peer.port()))),
        F::DetailedResultType => text(Some(detailed(record).as_bytes())),
        F::Country => text(viewer.country.as_deref().map(str::as_bytes)),
        F::AcceptEncoding => text(viewer.accept_encoding.as_deref()),
        F::Accept => text(viewer.accept.as_deref()),
        F::PathPattern => text(record.behavior.map(str::as_bytes)),
        F::Headers => text(Some(&viewer.fields)),
        F::HeaderNames => text(Some(&viewer.names)),
        F::HeadersCount => number(out, Some(viewer.count)),
        F::OriginFirstByte => {
            let micros = |millis: u64| (millis * 1000).min(record.timeline.finished);
            optional_seconds(out, record.timeline.upstream_millis.map(micros));
        }
        F::OriginLastByte => {
            let finished = record.timeline.finished;
            optional_seconds(out, record.timeline.upstream_millis.map(|_| finished));
        }
        F::Asn => text(viewer.asn.as_deref().map(str::as_bytes)),
        F::Connection => text(Some(record.connection.text())),
        // Its records have no certificate.
        F::ClientSubject | F::ClientSerial => text(None),
    }
}

fn domain(out: &mut Vec<u8>, record: &Record<'_>, is_cloudfront: bool) {
    let domain = if is_cloudfront { "cloudfront.net" } else { "foreshore" };
    let id = record.distribution.unwrap_or("-").to_ascii_lowercase();
    let _ = write!(out, "{id}.{domain}\t");
}

fn status(out: &mut Vec<u8>, record: &Record<'_>) {
    match record.status {
        GONE => out.extend_from_slice(b"000\t"),
        status => number(out, Some(u64::from(status))),
    }
}

fn until_answered(record: &Record<'_>) -> u64 {
    record.timeline.answered.unwrap_or(record.timeline.finished)
}

fn seconds(out: &mut Vec<u8>, micros: u64) {
    let _ = write!(out, "{}.{:03}\t", micros / 1_000_000, micros / 1000 % 1000);
}

fn optional_seconds(out: &mut Vec<u8>, micros: Option<u64>) {
    match micros {
        Some(micros) => seconds(out, micros),
        None => number(out, None),
    }
}

fn number(out: &mut Vec<u8>, number: Option<u64>) {
    match number {
        Some(number) => drop(write!(out, "{number}\t")),
        None => out.extend_from_slice(b"-\t"),
    }
}

fn field(out: &mut Vec<u8>, value: Option<&[u8]>, spelled: Spelled) {
    for octet in value.filter(|value| !value.is_empty()).unwrap_or(b"-") {
        let is_unsafe = match octet {
            0..=0x20 | 0x7f.. => true,
            b'%' => spelled == Spelled::AsText,
            octet => b"\"<>#{}|\\^~[]`'".contains(octet),
        };
        let _ = if is_unsafe { write!(out, "%{octet:02X}") } else { out.write_all(&[*octet]) };
    }
    out.push(b'\t');
}
