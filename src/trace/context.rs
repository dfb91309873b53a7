//! Pure: how requests name the trace that they belong to: `traceparent` and `tracestate` of W3C's
//! Trace Context, and `X-Amzn-Trace-Id` of AWS.

/// W3C's two fields, and AWS's one.
pub const TRACEPARENT: &str = "traceparent";
pub const TRACESTATE: &str = "tracestate";
pub const XRAY: &str = "x-amzn-trace-id";

/// Octets of a `tracestate` that is passed on; a longer one is dropped whole (W3C asks for 512 at
/// least).
const STATE_MAX: usize = 1024;
/// Members that it may have.
const STATE_MEMBERS: usize = 32;

/// What a trace is called, over all processes. Never all zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(pub [u8; 16]);

/// What a span is called within its trace. Never all zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanId(pub [u8; 8]);

/// A span of a trace, as others may point to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub trace: TraceId,
    pub span: SpanId,
}

/// What a request says of the trace that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    pub trace: TraceId,
    /// The caller's span; X-Ray's Root may come without one.
    pub parent: Option<SpanId>,
    /// Whether the caller keeps its spans; `None` leaves that to us.
    pub sampled: Option<bool>,
    /// `tracestate`, to be passed on as it came.
    pub state: Option<Box<str>>,
}

/// Which fields tell an origin or a parent of the trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Formats {
    pub w3c: bool,
    pub xray: bool,
}

// Lower-case hexadecimal alone, as both formats have it; not all zeros.
fn id<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != 2 * N {
        return None;
    }
    let mut octets = [0; N];
    for (octet, pair) in octets.iter_mut().zip(text.chunks_exact(2)) {
        *octet = (digit(pair[0])? << 4) | digit(pair[1])?;
    }
    octets.iter().any(|octet| *octet != 0).then_some(octets)
}

const fn digit(letter: u8) -> Option<u8> {
    match letter {
        b'0'..=b'9' => Some(letter - b'0'),
        b'a'..=b'f' => Some(letter - b'a' + 10),
        _ => None,
    }
}

/// Appends octets in lower-case hexadecimal.
pub fn hex(out: &mut Vec<u8>, octets: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for octet in octets {
        out.push(DIGITS[usize::from(octet >> 4)]);
        out.push(DIGITS[usize::from(octet & 15)]);
    }
}

/// Reads a `traceparent`. A later version than 00 counts as far as it looks like this one (W3C
/// Trace Context, "Versioning of traceparent"); 255 is none.
pub fn traceparent(text: &[u8]) -> Option<Incoming> {
    let text = text.trim_ascii();
    if text.len() < 55 || text[2] != b'-' || text[35] != b'-' || text[52] != b'-' {
        return None;
    }
    let version = (digit(text[0])? << 4) | digit(text[1])?;
    let is_whole = match version {
        0 => text.len() == 55,
        255 => false,
        _ => text.get(55).is_none_or(|next| *next == b'-'),
    };
    if !is_whole {
        return None;
    }
    let (trace, parent) = (TraceId(id(&text[3..35])?), SpanId(id(&text[36..52])?));
    let flags = (digit(text[53])? << 4) | digit(text[54])?;
    Some(Incoming { trace, parent: Some(parent), sampled: Some(flags & 1 == 1), state: None })
}

/// Puts the lines of `tracestate` together; `None` where they are not such as may be passed on.
pub fn tracestate<'l>(lines: impl Iterator<Item = &'l [u8]>) -> Option<Box<str>> {
    let mut all = String::new();
    for line in lines {
        let line = std::str::from_utf8(line).ok()?.trim();
        if line.is_empty() {
            continue;
        }
        if !all.is_empty() {
            all.push(',');
        }
        all.push_str(line);
        if all.len() > STATE_MAX {
            return None;
        }
    }
    let members = all.split(',').map(str::trim).filter(|member| !member.is_empty());
    let mut count = 0;
    for member in members {
        count += 1;
        let (key, value) = member.split_once('=')?;
        if count > STATE_MEMBERS || !is_state_key(key) || !is_state_value(value) {
            return None;
        }
    }
    (count > 0).then(|| all.into())
}

fn is_state_key(key: &str) -> bool {
    let letter = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@');
    !key.is_empty()
        && key.len() <= 256
        && key.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && key.bytes().all(letter)
}

fn is_state_value(value: &str) -> bool {
    !value.is_empty()
        && value.len() <= 256
        && value.bytes().all(|b| matches!(b, 0x20..=0x7e) && b != b'=')
}

/// Reads an `X-Amzn-Trace-Id`: `Root=1-8hex-24hex;Parent=16hex;Sampled=1`, in any order. What else
/// it says (`Self`, `Lineage`) is between those who wrote it.
pub fn xray(text: &[u8]) -> Option<Incoming> {
    let text = std::str::from_utf8(text).ok()?;
    let (mut trace, mut parent, mut sampled) = (None, None, None);
    for part in text.split(';') {
        let Some((name, value)) = part.trim().split_once('=') else { continue };
        match name.trim() {
            "Root" => trace = Some(TraceId(id(&root(value.trim())?)?)),
            "Parent" => parent = Some(SpanId(id(value.trim().as_bytes())?)),
            "Sampled" => {
                sampled = match value.trim() {
                    "1" => Some(true),
                    "0" => Some(false),
                    // `?` asks whoever comes next.
                    _ => None,
                }
            }
            _ => {}
        }
    }
    Some(Incoming { trace: trace?, parent, sampled, state: None })
}

// The 32 digits of a Root of version 1.
fn root(text: &str) -> Option<Vec<u8>> {
    let (seconds, rest) = text.strip_prefix("1-")?.split_once('-')?;
    (seconds.len() == 8 && rest.len() == 24).then(|| [seconds.as_bytes(), rest.as_bytes()].concat())
}

/// Appends the `traceparent` of a span.
pub fn write_traceparent(out: &mut Vec<u8>, place: Place, sampled: bool) {
    out.extend_from_slice(b"00-");
    hex(out, &place.trace.0);
    out.push(b'-');
    hex(out, &place.span.0);
    out.extend_from_slice(if sampled { b"-01" } else { b"-00" });
}

/// Appends the `X-Amzn-Trace-Id` of a span.
pub fn write_xray(out: &mut Vec<u8>, place: Place, sampled: bool) {
    out.extend_from_slice(b"Root=");
    write_root(out, place.trace);
    out.extend_from_slice(b";Parent=");
    hex(out, &place.span.0);
    out.extend_from_slice(if sampled { b";Sampled=1" } else { b";Sampled=0" });
}

/// Appends a trace's id as X-Ray writes it: `1-8hex-24hex`.
pub fn write_root(out: &mut Vec<u8>, trace: TraceId) {
    out.extend_from_slice(b"1-");
    hex(out, &trace.0[..4]);
    out.push(b'-');
    hex(out, &trace.0[4..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn place() -> Place {
        Place {
            trace: TraceId(id(TRACE.as_bytes()).unwrap()),
            span: SpanId(id(SPAN.as_bytes()).unwrap()),
        }
    }

    #[test]
    fn a_traceparent_is_read_and_written() {
        for (flags, sampled) in [("00", false), ("01", true), ("03", true), ("02", false)] {
            let read = traceparent(format!("00-{TRACE}-{SPAN}-{flags}").as_bytes()).unwrap();
            assert_eq!((read.trace, read.parent), (place().trace, Some(place().span)));
            assert_eq!(read.sampled, Some(sampled), "{flags}");
        }
        for sampled in [false, true] {
            let mut out = Vec::new();
            write_traceparent(&mut out, place(), sampled);
            assert_eq!(traceparent(&out).unwrap().sampled, Some(sampled));
        }
        // Versions to come.
        for later in ["cc-T-S-01", "cc-T-S-01-", "01-T-S-01-what-comes-later"] {
            let text = later.replace('T', TRACE).replace('S', SPAN);
            assert!(traceparent(text.as_bytes()).is_some(), "{later}");
        }
    }

    #[test]
    fn a_bad_traceparent_is_none() {
        let zeros = "00000000000000000000000000000000";
        let cases = [
            String::new(),
            "garbage".into(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-001"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("00-{TRACE}-{SPAN}-0g"),
            format!("00-{TRACE}-{SPAN}.01"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("0x-{TRACE}-{SPAN}-01"),
            format!("cc-{TRACE}-{SPAN}-01.more"),
            format!("00-{zeros}-{SPAN}-01"),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{}-{SPAN}-01", &TRACE[1..]),
            format!("00-{TRACE}-{}-01", SPAN.replace('f', "_")),
            format!("{TRACE}-{SPAN}-01"),
        ];
        for text in cases {
            assert_eq!(traceparent(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn a_tracestate_is_passed_on_as_it_came_or_not_at_all() {
        let read = |lines: &[&str]| tracestate(lines.iter().map(|line| line.as_bytes()));
        assert_eq!(read(&["a=1, b@c=2"]).as_deref(), Some("a=1, b@c=2"));
        assert_eq!(read(&["a=1", "b=2"]).as_deref(), Some("a=1,b=2"));
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[" ", ","]), None);
        for bad in ["a", "A=1", "=1", "a=", "a=b=c", "a=\u{7f}", "a=\u{e9}"] {
            assert_eq!(read(&[bad]), None, "{bad:?}");
        }
        let many = (0..33).map(|at| format!("k{at}=v")).collect::<Vec<_>>().join(",");
        assert_eq!(read(&[&many]), None);
        assert_eq!(read(&[&format!("a={}", "x".repeat(257))]), None);
    }

    #[test]
    fn x_rays_field_is_read_and_written() {
        let root = "Root=1-4bf92f35-77b34da6a3ce929d0e0e4736";
        let read = |text: &str| xray(text.as_bytes());
        let whole = read(&format!("{root};Parent={SPAN};Sampled=1")).unwrap();
        assert_eq!((whole.trace, whole.parent), (place().trace, Some(place().span)));
        assert_eq!(whole.sampled, Some(true));
        // In another order, with what a load balancer adds.
        let other = read(&format!("Self=1-67891234-12456789abcdef012345678; Sampled=0;{root}"));
        let other = other.unwrap();
        assert_eq!((other.trace, other.parent, other.sampled), (place().trace, None, Some(false)));
        assert_eq!(read(&format!("{root};Sampled=?")).unwrap().sampled, None);
        for bad in [
            "",
            "Parent=00f067aa0ba902b7",
            "Root=2-4bf92f35-77b34da6a3ce929d0e0e4736",
            "Root=1-4bf92f3-577b34da6a3ce929d0e0e4736",
            "Root=1-4bf92f35-77b34da6a3ce929d0e0e473",
            "Root=1-00000000-000000000000000000000000",
            "Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent=zz",
        ] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
        let mut out = Vec::new();
        write_xray(&mut out, place(), true);
        assert_eq!(xray(&out), Some(whole));
    }
}
