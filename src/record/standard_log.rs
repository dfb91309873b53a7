//! CloudFront's standard log: the 33 fields of version 1 a line, or those that were chosen, tabs
//! between them, files of one hour and one distribution, gzip.
//!
//! Lines are composed here from what a record says; the files are the log thread's. Sizes of heads
//! are those that HTTP/1 would have, whatever was spoken.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::cloudfront_fields::{
    self, Answered, Asked, Pop, Spelled, field, number, optional_seconds, seconds, word,
};
use super::stamp::Stamp;
use super::{Record, without_signatures};
use crate::distribution::logs::{Cookies, StandardField, StandardLog};
use crate::semantics::time::civil;

/// The two lines that every file begins with.
pub fn head(fields: &[StandardField]) -> String {
    let names: Vec<&str> = fields.iter().map(|field| field.name()).collect();
    format!("#Version: 1.0\n#Fields: {}\n", names.join(" "))
}

/// Writes one line. `stamp` is of the second in which the record lies.
pub fn write_line(
    out: &mut Vec<u8>,
    log: &StandardLog,
    stamp: &Stamp,
    record: &Record<'_>,
    asked: &Asked<'_>,
    answered: &Answered<'_>,
    place: Pop<'_>,
) {
    let told = Line { cookies: log.cookies, stamp, record, asked, answered, place };
    for field in &log.fields {
        told.write(out, *field);
    }
    // No tab behind the last one.
    out.pop();
    out.push(b'\n');
}

/// What a line is made of.
struct Line<'l> {
    cookies: Cookies,
    stamp: &'l Stamp,
    record: &'l Record<'l>,
    asked: &'l Asked<'l>,
    answered: &'l Answered<'l>,
    place: Pop<'l>,
}

impl Line<'_> {
    fn write(&self, out: &mut Vec<u8>, one: StandardField) {
        use StandardField as F;
        let Self { cookies, stamp, record, asked, answered, place } = *self;
        let mut text = |value: Option<&[u8]>| field(out, value, Spelled::AsText);
        match one {
            // Both with the tab behind them.
            F::Date => out.extend_from_slice(&stamp.tabbed[..11]),
            F::Time => out.extend_from_slice(&stamp.tabbed[11..]),
            F::EdgeLocation => word(out, place.pop),
            F::BytesSent => number(out, Some(record.bytes + answered.octets)),
            F::ClientIp => cloudfront_fields::viewer(out, record),
            F::Method => word(out, record.method),
            F::Host => cloudfront_fields::domain(out, record, place.is_cloudfront),
            F::UriStem => field(out, Some(record.path.as_bytes()), Spelled::AsUrl),
            F::Status => cloudfront_fields::status(out, record),
            F::Referer => {
                field(out, record.referer.map(without_signatures).as_deref(), Spelled::AsUrl);
            }
            F::UserAgent => text(record.user_agent),
            F::UriQuery => {
                let query = record.query.map(|query| without_signatures(query.as_bytes()));
                field(out, query.as_deref(), Spelled::AsUrl);
            }
            F::Cookie => {
                let cookie = asked.cookie.as_deref().filter(|_| cookies == Cookies::Included);
                text(cookie.map(without_signatures).as_deref());
            }
            F::ResultType | F::ResponseResultType => word(out, cloudfront_fields::result(record)),
            F::RequestId => cloudfront_fields::id(out, asked),
            F::HostHeader => text(Some(record.host.as_bytes())),
            F::Protocol => word(out, record.scheme.as_str()),
            F::BytesReceived => number(out, Some(asked.octets + record.received)),
            F::TimeTaken => seconds(out, record.timeline.finished),
            F::ForwardedFor => text(asked.forwarded_for.as_deref()),
            F::SslProtocol => word(out, asked.tls.map_or("-", |(version, _)| version)),
            F::SslCipher => word(out, asked.tls.map_or("-", |(_, cipher)| cipher)),
            F::ProtocolVersion => word(out, cloudfront_fields::protocol(record.version)),
            F::FleStatus => {
                word(out, answered.encryption.map_or("-", |encryption| encryption.status.word()));
            }
            F::FleEncryptedFields => {
                number(out, answered.encryption.map(|encryption| u64::from(encryption.fields)));
            }
            F::ClientPort => number(out, Some(u64::from(record.peer.port()))),
            F::TimeToFirstByte => seconds(out, record.timeline.until_answered()),
            F::DetailedResultType => word(out, cloudfront_fields::detailed(record)),
            F::ContentType => text(answered.content_type),
            F::ContentLen => number(out, answered.content_len),
            F::RangeStart => number(out, answered.range.map(|(first, _)| first)),
            F::RangeEnd => number(out, answered.range.map(|(_, last)| last)),
            // When the answer was finished.
            F::Timestamp => number(out, Some(record.timeline.finished_at() / 1_000_000)),
            F::TimestampMillis => number(out, Some(record.timeline.finished_at() / 1000)),
            F::Distribution => text(record.distribution.map(str::as_bytes)),
            F::OriginFirstByte => optional_seconds(out, record.timeline.until_upstream_head()),
            F::OriginLastByte => optional_seconds(out, record.timeline.until_upstream_end()),
            F::PathPattern => text(record.behavior.map(str::as_bytes)),
            F::Country => text(asked.place.as_ref().and_then(|place| as_octets(&place.country))),
            F::Asn => text(asked.place.as_ref().and_then(|place| as_octets(&place.asn))),
            F::Connection => cloudfront_fields::connection(out, record),
            F::ClientSubject => cloudfront_fields::client(out, record, |client| &client.subject),
            F::ClientSerial => cloudfront_fields::client(out, record, |client| &client.serial),
        }
    }
}

fn as_octets(text: &Option<String>) -> Option<&[u8]> {
    text.as_deref().map(str::as_bytes)
}

/// An hour and a distribution: what has a file of its own.
pub type Shelf = (u64, String);

/// The lines of an hour and a distribution that wait for the log thread.
pub fn on_shelf<'s>(
    shelves: &'s mut Vec<(Shelf, Vec<u8>)>,
    hour: u64,
    distribution: &str,
) -> &'s mut Vec<u8> {
    let at = shelves.iter().position(|((known, id), _)| *known == hour && id == distribution);
    let at = at.unwrap_or_else(|| {
        shelves.push(((hour, distribution.to_string()), Vec::with_capacity(4096)));
        shelves.len() - 1
    });
    &mut shelves[at].1
}

/// The files, on the log thread.
pub struct Files {
    log: StandardLog,
    open: HashMap<Shelf, Part>,
}

/// A file that is added to. It has its own name once it is whole.
struct Part {
    file: GzEncoder<File>,
    path: PathBuf,
}

impl Files {
    /// Nothing is opened before there is something to write.
    pub fn new(log: &StandardLog) -> Self {
        Self { log: log.clone(), open: HashMap::new() }
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

    /// Whether lines of these settings go here: into this folder, and of these fields.
    pub fn is_of(&self, log: &StandardLog) -> bool {
        self.log.folder == log.folder && self.log.fields == log.fields
    }

    // `E1.2026-11-21-16.5f0c01f3a2.gz`: chance makes it a name that no other file has, of this
    // process or of one before.
    fn begin(&self, (hour, distribution): &Shelf) -> io::Result<Part> {
        std::fs::create_dir_all(&self.log.folder)?;
        let (year, month, day) = civil(hour / 24);
        let mut chance = [0; 6];
        aws_lc_rs::rand::fill(&mut chance).map_err(|_| io::Error::other("no randomness"))?;
        let unique = crate::crypto::sigv4::hex(&chance);
        let path = self.log.folder.join(format!(
            "{distribution}.{year:04}-{month:02}-{day:02}-{:02}.{unique}.gz.part",
            hour % 24
        ));
        let file = OpenOptions::new().create_new(true).write(true).mode(0o640).open(&path)?;
        let mut file = GzEncoder::new(file, Compression::default());
        file.write_all(head(&self.log.fields).as_bytes())?;
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
        if let Err(error) =
            done.and_then(|()| std::fs::rename(&self.path, self.path.with_extension("")))
        {
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
    use crate::message::connection::Version;
    use crate::message::refusal::Rule;
    use crate::message::request::RequestId;
    use crate::message::verdict::{Outcome, Reason};
    use crate::record::cloudfront_fields::tests::record;
    use proptest::prelude::*;
    use std::borrow::Cow;

    fn log(fields: Vec<StandardField>) -> StandardLog {
        StandardLog { folder: PathBuf::new(), cookies: Cookies::Included, fields }
    }

    fn line(agent: &[u8], path: &str, cookie: &[u8]) -> String {
        let record = Record { path, user_agent: Some(agent), version: Version::Http2, ..record() };
        let asked = Asked {
            id: RequestId(1),
            octets: 23,
            cookie: Some(Cow::Borrowed(cookie)),
            tls: Some(("TLSv1.2", "ECDHE-RSA-AES128-GCM-SHA256")),
            ..Asked::default()
        };
        let answered = Answered {
            octets: 314,
            content_type: Some(b"text/html"),
            content_len: Some(78),
            range: None,
            encryption: None,
        };
        let mut out = Vec::new();
        write_line(
            &mut out,
            &log(StandardField::usual()),
            &Stamp::of(record.timeline.received),
            &record,
            &asked,
            &answered,
            Pop { pop: "LAX1", is_cloudfront: true },
        );
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_is_what_the_guide_shows() {
        let line = line(b"Mozilla/5.0 (Windows NT 10.0)", "/index.html", b"a=b c");
        let fields: Vec<&str> = line.trim_end().split('\t').collect();
        let head = head(&StandardField::usual());
        let names: Vec<&str> = head.lines().nth(1).unwrap().split(' ').skip(1).collect();
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
            ("cs-bytes", "30"),
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

    #[test]
    fn fields_stand_as_they_were_named() {
        use StandardField as F;
        let fields = vec![F::Connection, F::Status, F::TimestampMillis, F::Timestamp, F::Time];
        let head = head(&fields);
        assert!(head.ends_with("#Fields: connection-id sc-status timestamp(ms) timestamp time\n"));
        let (record, mut out) = (record(), Vec::new());
        let place = Pop { pop: "LAX1", is_cloudfront: true };
        let (asked, answered) = (Asked::default(), Answered::default());
        let stamp = Stamp::of(record.timeline.received);
        write_line(&mut out, &log(fields), &stamp, &record, &asked, &answered, place);
        let want = "0000000000000000\t200\t1575493351001\t1575493351\t21:02:31\n";
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }

    // CloudFront's guide: whatever says 4xx or 5xx is an error, from the cache too.
    #[test]
    fn errors_are_errors_wherever_they_come_from() {
        let of = |status, outcome, reason| {
            let mut record = record();
            (record.status, record.verdict.outcome, record.verdict.reason) =
                (status, outcome, reason);
            (cloudfront_fields::result(&record), cloudfront_fields::detailed(&record))
        };
        assert_eq!(of(404, Outcome::Hit, Reason::Fresh), ("Error", "Error"));
        assert_eq!(of(200, Outcome::RefreshHit, Reason::Fresh), ("RefreshHit", "RefreshHit"));
        assert_eq!(
            of(301, Outcome::Redirect, Reason::Refused(Rule::HttpsOnly)),
            ("Redirect", "Redirect")
        );
        assert_eq!(
            of(429, Outcome::Error, Reason::Refused(Rule::Rate)),
            ("LimitExceeded", "LimitExceeded")
        );
        assert_eq!(of(429, Outcome::Miss, Reason::Fresh), ("Error", "Error"), "an origin's own");
        assert_eq!(
            of(403, Outcome::Error, Reason::Refused(Rule::Country)),
            ("Error", "ClientGeoBlocked")
        );
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
}
