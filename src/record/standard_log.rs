//! CloudFront's standard log (v1): 33 fields a line, tabs between them, files of one hour and one distribution, gzip.
//!
//! Lines are composed here from what a record says; the files are the log thread's. Sizes of heads are those that HTTP/1 would
//! have, whatever was spoken.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::{Record, without_signatures};
use crate::exchange::connection::Version;
use crate::exchange::failure::FailureKind;
use crate::exchange::request::RequestId;
use crate::exchange::verdict::Outcome;
use crate::semantics::time::civil;

/// The two lines that every file begins with.
pub const HEAD: &str = "#Version: 1.0\n#Fields: date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status \
    cs(Referer) cs(User-Agent) cs-uri-query cs(Cookie) x-edge-result-type x-edge-request-id x-host-header cs-protocol cs-bytes time-taken \
    x-forwarded-for ssl-protocol ssl-cipher x-edge-response-result-type cs-protocol-version fle-status fle-encrypted-fields c-port \
    time-to-first-byte x-edge-detailed-result-type sc-content-type sc-content-len sc-range-start sc-range-end\n";

/// What this log needs beside a record.
#[derive(Clone, Copy, Default)]
pub struct More<'r> {
    pub id: RequestId,
    /// Octets of the request's head.
    pub asked: u64,
    /// Octets of the response's head.
    pub answered: u64,
    pub cookie: Option<&'r [u8]>,
    pub forwarded_for: Option<&'r [u8]>,
    /// Version and cipher suite.
    pub tls: Option<(&'static str, &'static str)>,
    pub content_type: Option<&'r [u8]>,
    pub content_len: Option<u64>,
    /// First and last octet of a range.
    pub range: Option<(u64, u64)>,
}

/// Writes one line.
pub fn write_line(out: &mut Vec<u8>, record: &Record<'_>, more: &More<'_>, pop: &str, is_cloudfront: bool) {
    let days = record.at.secs() / 86_400;
    let (year, month, day) = civil(days);
    let rest = record.at.secs() % 86_400;
    let _ = write!(out, "{year:04}-{month:02}-{day:02}\t{:02}:{:02}:{:02}\t{pop}\t", rest / 3600, rest / 60 % 60, rest % 60);
    let _ = write!(out, "{}\t{}\t{}\t", record.bytes + more.answered, record.peer.ip().to_canonical(), record.method);
    let domain = if is_cloudfront { "cloudfront.net" } else { "foreshore" };
    let _ = write!(out, "{}.{domain}\t", record.distribution.unwrap_or("-").to_ascii_lowercase());
    field(out, Some(record.path.as_bytes()), Spelled::AsUrl);
    let _ = write!(out, "{}\t", record.status);
    field(out, record.referer.map(without_signatures).as_deref(), Spelled::AsUrl);
    field(out, record.user_agent, Spelled::AsText);
    field(out, record.query.map(|query| without_signatures(query.as_bytes())).as_deref(), Spelled::AsUrl);
    field(out, more.cookie.map(without_signatures).as_deref(), Spelled::AsText);
    let result = record.verdict.outcome.word();
    let _ = write!(out, "{result}\t");
    more.id.write(out);
    out.push(b'\t');
    field(out, Some(record.host.as_bytes()), Spelled::AsText);
    let _ = write!(out, "{}\t{}\t", record.scheme.as_str(), more.asked);
    seconds(out, record.micros);
    field(out, more.forwarded_for, Spelled::AsText);
    let (version, cipher) = more.tls.unwrap_or(("-", "-"));
    let _ = write!(out, "{version}\t{}\t{result}\t", openssl_name(cipher));
    let protocol = match record.version {
        Version::Http10 => "HTTP/1.0",
        Version::Http11 => "HTTP/1.1",
        Version::Http2 => "HTTP/2.0",
    };
    let _ = write!(out, "{protocol}\t-\t-\t{}\t", record.peer.port());
    seconds(out, record.origin_millis.map_or(record.micros, |millis| millis * 1000));
    let _ = write!(out, "{}\t", detailed(record));
    field(out, more.content_type, Spelled::AsText);
    number(out, more.content_len);
    number(out, more.range.map(|(first, _)| first));
    number(out, more.range.map(|(_, last)| last));
    // No tab behind the last one.
    out.pop();
    out.push(b'\n');
}

// Outcomes in CloudFront's finer words, as far as they are known.
fn detailed(record: &Record<'_>) -> &'static str {
    if record.aborted {
        return "ClientCommError";
    }
    match record.failure.map(|failure| failure.kind) {
        None if record.status == 429 => "LimitExceeded",
        None => record.verdict.outcome.word(),
        Some(FailureKind::DnsError) => "OriginDnsError",
        Some(FailureKind::ConnectionRefused | FailureKind::ConnectTimeout) => "OriginConnectError",
        Some(FailureKind::CertificateError | FailureKind::TlsError | FailureKind::ConnectionTerminated) => "OriginCommError",
        Some(FailureKind::ResponseTimeout) => "OriginReadError",
        Some(FailureKind::ResponseMalformed) => "OriginInvalidResponseError",
        Some(FailureKind::RequestBroken | FailureKind::RequestTooLarge) => "InvalidRequest",
        Some(FailureKind::ConnectionLimit) => "CapacityExceeded",
        Some(FailureKind::Storage | FailureKind::NotStored | FailureKind::Internal) => Outcome::Error.word(),
    }
}

// rustls's names of suites, as OpenSSL has them.
fn openssl_name(suite: &str) -> String {
    match suite.strip_prefix("TLS_") {
        Some(rest) => rest
            .replace("_WITH_", "_")
            .replace("AES_128_GCM", "AES128-GCM")
            .replace("AES_256_GCM", "AES256-GCM")
            .replace(
                "_SHA256",
                match rest.contains("CHACHA20") {
                    true => "",
                    false => "-SHA256",
                },
            )
            .replace('_', "-"),
        None => suite.replace("TLS13_", "TLS_"),
    }
}

fn seconds(out: &mut Vec<u8>, micros: u64) {
    let _ = write!(out, "{}.{:03}\t", micros / 1_000_000, micros / 1000 % 1000);
}

fn number(out: &mut Vec<u8>, number: Option<u64>) {
    match number {
        Some(number) => drop(write!(out, "{number}\t")),
        None => out.extend_from_slice(b"-\t"),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Spelled {
    /// Escaped already: percent signs stay.
    AsUrl,
    AsText,
}

// A value and its tab; whatever could be taken for another field or line is escaped (RFC 1738's unsafe characters).
fn field(out: &mut Vec<u8>, value: Option<&[u8]>, spelled: Spelled) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    match value {
        None | Some(b"") => out.push(b'-'),
        Some(value) => {
            for octet in value {
                let is_unsafe = match octet {
                    0..=0x20
                    | 0x7f..
                    | b'"'
                    | b'<'
                    | b'>'
                    | b'#'
                    | b'{'
                    | b'}'
                    | b'|'
                    | b'\\'
                    | b'^'
                    | b'~'
                    | b'['
                    | b']'
                    | b'`'
                    | b'\'' => true,
                    b'%' => spelled == Spelled::AsText,
                    _ => false,
                };
                if is_unsafe {
                    out.extend([b'%', HEX[usize::from(octet >> 4)], HEX[usize::from(octet & 15)]]);
                } else {
                    out.push(*octet);
                }
            }
        }
    }
    out.push(b'\t');
}

/// Octets that a request's head takes in HTTP/1.
pub fn asked<'f>(method: &str, path: &str, query: Option<&str>, fields: impl Iterator<Item = (&'f str, &'f [u8])>) -> u64 {
    let line = method.len() + path.len() + query.map_or(0, |query| query.len() + 1) + " HTTP/1.1\r\n \r\n".len();
    (line + fields.map(|(name, value)| name.len() + value.len() + 4).sum::<usize>()) as u64
}

/// An hour and a distribution: what has a file of its own.
pub type Shelf = (u64, String);

/// The files, on the log thread.
pub struct Files {
    folder: PathBuf,
    open: HashMap<Shelf, Part>,
}

/// A file that is added to. It has its own name once it is whole.
struct Part {
    file: GzEncoder<File>,
    path: PathBuf,
}

impl Files {
    /// Nothing is opened before there is something to write.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf(), open: HashMap::new() }
    }

    /// Adds lines to an hour's file.
    pub fn add(&mut self, shelf: &Shelf, lines: &[u8]) -> io::Result<()> {
        self.finish_before(shelf.0);
        if !self.open.contains_key(shelf) {
            let part = self.begin(shelf)?;
            self.open.insert(shelf.clone(), part);
        }
        let Some(part) = self.open.get_mut(shelf) else { return Ok(()) };
        part.file.write_all(lines)?;
        part.file.flush()
    }

    /// Whether lines go to this folder.
    pub fn is_of(&self, folder: &Path) -> bool {
        self.folder == folder
    }

    // `E1.2026-11-21-16.5f0c01f3a2.gz`: chance makes it a name that no other file has, of this process or of one before.
    fn begin(&self, (hour, distribution): &Shelf) -> io::Result<Part> {
        std::fs::create_dir_all(&self.folder)?;
        let (year, month, day) = civil(hour / 24);
        let mut chance = [0; 6];
        aws_lc_rs::rand::fill(&mut chance).map_err(|_| io::Error::other("no randomness"))?;
        let unique = crate::signature::sigv4::hex(&chance);
        let path = self.folder.join(format!("{distribution}.{year:04}-{month:02}-{day:02}-{:02}.{unique}.gz.part", hour % 24));
        let file = OpenOptions::new().create_new(true).write(true).mode(0o640).open(&path)?;
        let mut file = GzEncoder::new(file, Compression::default());
        file.write_all(HEAD.as_bytes())?;
        Ok(Part { file, path })
    }

    /// Ends the files of hours that are over.
    pub fn finish_before(&mut self, hour: u64) {
        let over: Vec<Shelf> = self.open.keys().filter(|shelf| shelf.0 < hour).cloned().collect();
        for shelf in over {
            if let Some(part) = self.open.remove(&shelf) {
                part.finish();
            }
        }
    }

    /// Ends every file that is open.
    pub fn finish(&mut self) {
        self.finish_before(u64::MAX);
    }
}

impl Part {
    fn finish(self) {
        let done = self.file.finish().and_then(|file| file.sync_data());
        // Without `.part`.
        if let Err(error) = done.and_then(|()| std::fs::rename(&self.path, self.path.with_extension(""))) {
            tracing::error!(path = %self.path.display(), %error, "a standard log could not be finished");
        }
    }
}

/// The hour of a moment, in hours since the epoch.
pub fn hour(at: crate::semantics::time::Timestamp) -> u64 {
    at.secs() / 3600
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::connection::Scheme;
    use crate::exchange::verdict::{Reason, Verdict};
    use crate::semantics::time::Timestamp;
    use proptest::prelude::*;

    fn line(agent: &[u8], path: &str, cookie: &[u8]) -> String {
        let record = Record {
            at: Timestamp(1_575_493_351_000),
            peer: "192.0.2.100:11040".parse().unwrap(),
            method: "GET",
            scheme: Scheme::Https,
            version: Version::Http2,
            host: "www.example.com",
            path,
            query: Some("a=1&Signature=abc"),
            status: 200,
            bytes: 78,
            micros: 1_500,
            verdict: Verdict { outcome: Outcome::Hit, reason: Reason::Fresh, collapsed: false, stored: false },
            distribution: Some("EDEMO"),
            behavior: Some("*"),
            ordinal: Some(0),
            referer: None,
            user_agent: Some(agent),
            origin_millis: None,
            failure: None,
            aborted: false,
        };
        let more = More {
            id: RequestId(1),
            asked: 23,
            answered: 314,
            cookie: Some(cookie),
            tls: Some(("TLSv1.2", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")),
            content_type: Some(b"text/html"),
            content_len: Some(78),
            ..More::default()
        };
        let mut out = Vec::new();
        write_line(&mut out, &record, &more, "LAX1", true);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_is_what_the_guide_shows() {
        let line = line(b"Mozilla/5.0 (Windows NT 10.0)", "/index.html", b"a=b c");
        let fields: Vec<&str> = line.trim_end().split('\t').collect();
        let names: Vec<&str> = HEAD.lines().nth(1).unwrap().split(' ').skip(1).collect();
        assert_eq!((fields.len(), names.len()), (33, 33));
        let of = |name: &str| fields[names.iter().position(|known| *known == name).unwrap()];
        for (name, value) in [
            ("date", "2019-12-04"),
            ("time", "21:02:31"),
            ("x-edge-location", "LAX1"),
            ("sc-bytes", "392"),
            ("cs(Host)", "edemo.cloudfront.net"),
            ("cs(User-Agent)", "Mozilla/5.0%20(Windows%20NT%2010.0)"),
            ("cs-uri-query", "a=1&Signature=-"),
            ("cs(Cookie)", "a=b%20c"),
            ("x-edge-result-type", "Hit"),
            ("x-host-header", "www.example.com"),
            ("cs-protocol", "https"),
            ("time-taken", "0.001"),
            ("ssl-cipher", "ECDHE-RSA-AES128-GCM-SHA256"),
            ("cs-protocol-version", "HTTP/2.0"),
            ("c-port", "11040"),
            ("sc-content-type", "text/html"),
            ("sc-range-start", "-"),
        ] {
            assert_eq!(of(name), value, "{name}");
        }
        assert_eq!(of("x-edge-request-id").len(), 56);
    }

    proptest! {
        #[test]
        fn nobody_forges_a_line(agent in proptest::collection::vec(any::<u8>(), 0..40), path in "/\\PC{0,20}", cookie in proptest::collection::vec(any::<u8>(), 0..20)) {
            let line = line(&agent, &path, &cookie);
            prop_assert_eq!(line.matches('\n').count(), 1);
            prop_assert_eq!(line.matches('\t').count(), 32);
            prop_assert!(line.is_ascii());
        }
    }

    #[test]
    fn suites_have_their_openssl_names() {
        for (ours, theirs) in [
            ("TLS13_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"),
            ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"),
            ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305"),
        ] {
            assert_eq!(openssl_name(ours), theirs);
        }
    }
}
