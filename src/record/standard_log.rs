//! CloudFront's standard log (v1): 33 fields a line, tabs between them, files of one hour and one
//! distribution, gzip.
//!
//! Lines are composed here from what a record says; the files are the log thread's. Sizes of heads
//! are those that HTTP/1 would have, whatever was spoken.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::cloudfront_fields::{self, Answered, Asked, Pop, Spelled, field, number, seconds, word};
use super::stamp::Stamp;
use super::{Record, without_signatures};
use crate::distribution::logs::Cookies;
use crate::semantics::time::civil;

/// The two lines that every file begins with.
pub const HEAD: &str = "#Version: 1.0\n#Fields: date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status \
    cs(Referer) cs(User-Agent) cs-uri-query cs(Cookie) x-edge-result-type x-edge-request-id x-host-header cs-protocol cs-bytes time-taken \
    x-forwarded-for ssl-protocol ssl-cipher x-edge-response-result-type cs-protocol-version fle-status fle-encrypted-fields c-port \
    time-to-first-byte x-edge-detailed-result-type sc-content-type sc-content-len sc-range-start sc-range-end\n";

/// Writes one line. `stamp` is of the second in which the record lies.
pub fn write_line(
    out: &mut Vec<u8>,
    cookies: Cookies,
    stamp: &Stamp,
    record: &Record<'_>,
    asked: &Asked<'_>,
    answered: &Answered<'_>,
    place: Pop<'_>,
) {
    out.extend_from_slice(&stamp.tabbed);
    word(out, place.pop);
    number(out, Some(record.bytes + answered.octets));
    cloudfront_fields::viewer(out, record);
    word(out, record.method);
    cloudfront_fields::domain(out, record, place.is_cloudfront);
    field(out, Some(record.path.as_bytes()), Spelled::AsUrl);
    cloudfront_fields::status(out, record);
    field(out, record.referer.map(without_signatures).as_deref(), Spelled::AsUrl);
    field(out, record.user_agent, Spelled::AsText);
    field(
        out,
        record.query.map(|query| without_signatures(query.as_bytes())).as_deref(),
        Spelled::AsUrl,
    );
    let cookie = asked.cookie.as_deref().filter(|_| cookies == Cookies::Included);
    field(out, cookie.map(without_signatures).as_deref(), Spelled::AsText);
    let result = cloudfront_fields::result(record);
    word(out, result);
    cloudfront_fields::id(out, asked);
    field(out, Some(record.host.as_bytes()), Spelled::AsText);
    word(out, record.scheme.as_str());
    number(out, Some(asked.octets + record.received));
    seconds(out, record.micros);
    field(out, asked.forwarded_for.as_deref(), Spelled::AsText);
    let (version, cipher) = asked.tls.unwrap_or(("-", "-"));
    word(out, version);
    word(out, cipher);
    word(out, result);
    word(out, cloudfront_fields::protocol(record.version));
    out.extend_from_slice(b"-\t-\t");
    number(out, Some(u64::from(record.peer.port())));
    seconds(out, record.head_micros);
    word(out, cloudfront_fields::detailed(record));
    field(out, answered.content_type, Spelled::AsText);
    number(out, answered.content_len);
    number(out, answered.range.map(|(first, _)| first));
    number(out, answered.range.map(|(_, last)| last));
    // No tab behind the last one.
    out.pop();
    out.push(b'\n');
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

    // `E1.2026-11-21-16.5f0c01f3a2.gz`: chance makes it a name that no other file has, of this
    // process or of one before.
    fn begin(&self, (hour, distribution): &Shelf) -> io::Result<Part> {
        std::fs::create_dir_all(&self.folder)?;
        let (year, month, day) = civil(hour / 24);
        let mut chance = [0; 6];
        aws_lc_rs::rand::fill(&mut chance).map_err(|_| io::Error::other("no randomness"))?;
        let unique = crate::crypto::sigv4::hex(&chance);
        let path = self.folder.join(format!(
            "{distribution}.{year:04}-{month:02}-{day:02}-{:02}.{unique}.gz.part",
            hour % 24
        ));
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
        };
        let mut out = Vec::new();
        write_line(
            &mut out,
            Cookies::Included,
            &Stamp::of(record.at),
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
