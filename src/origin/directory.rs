//! A directory served as an origin would serve it: types, validators, ranges, and no way out.
//!
//! Names are opened with `openat2(RESOLVE_BENEATH)`, so neither `..` nor an encoding nor a symbolic
//! link leads outside, not even while the operator changes the tree.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Method;
use http::header;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use tokio::task::JoinHandle;

use super::request::{OriginRequest, receive};
use crate::body::{Body, BodyError, Source};
use crate::clock::Clock;
use crate::message::failure::{Failure, FailureKind};
use crate::message::response::{Reply, ReplyFrom};
use crate::semantics::fields::{FieldSection, Value};
use crate::semantics::ranges::{self, Selection, Span};
use crate::semantics::time::{Timestamp, format_http_date};
use crate::semantics::validators::{self, Condition, Conditions};

/// Octets read at a time.
const PIECE: usize = 128 * 1024;
/// A file is asked for so often where the system wants to be asked again.
const TRIES: usize = 16;

/// Answers a request from a directory.
pub async fn fetch(root: &Path, request: OriginRequest, clock: &Clock) -> Result<Reply, Failure> {
    let asked_at = clock.now();
    let root = root.to_path_buf();
    let (method, target, asked) = (request.method, request.target, request.fields);
    let work =
        tokio::task::spawn_blocking(move || answer(&root, &method, &target, &asked, asked_at));
    let (status, mut fields, body) =
        work.await.map_err(|error| Failure::new(FailureKind::Internal, error.to_string()))??;
    receive(&mut fields);
    Ok(Reply { status, fields, body, asked_at, arrived_at: clock.now(), from: ReplyFrom::Origin })
}

type Answered = (u16, FieldSection, Body);

fn answer(
    root: &Path,
    method: &Method,
    target: &str,
    asked: &FieldSection,
    now: Timestamp,
) -> Result<Answered, Failure> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut refused = words(405, "Only GET and HEAD are answered here.\n", now);
        refused.1.insert(&header::ALLOW, "GET, HEAD");
        return Ok(refused);
    }
    let path = target.split('?').next().unwrap_or("/");
    let Some(mut relative) = relative_path(path) else {
        return Ok(words(404, "Not found.\n", now));
    };
    if path.ends_with('/') {
        relative.push("index.html");
    }
    match open_beneath(root, &relative) {
        Ok(file) => {
            let facts = file
                .metadata()
                .map_err(|error| Failure::new(FailureKind::Storage, error.to_string()))?;
            if facts.is_dir() {
                return Ok(to_folder(path, now));
            }
            if !facts.is_file() {
                return Ok(words(404, "Not found.\n", now));
            }
            file_answer(file, &facts, &relative, method, asked, now)
        }
        Err(error) => not_opened(error, &relative, now),
    }
}

// What says nothing about the file is the operator's to know, and no 404 that would be kept.
fn not_opened(error: Errno, name: &Path, now: Timestamp) -> Result<Answered, Failure> {
    let why = match error {
        Errno::ACCESS => return Ok(words(403, "Not readable.\n", now)),
        Errno::MFILE | Errno::NFILE | Errno::IO | Errno::NOMEM | Errno::AGAIN | Errno::INTR => {
            format!("{}: {error}", name.display())
        }
        Errno::NOSYS | Errno::PERM => format!(
            "openat2 is refused ({error}), by a filter of system calls as it seems: let it pass; of \
             systemd's settings RestrictSUIDSGID= and DynamicUser= refuse it"
        ),
        _ => return Ok(words(404, "Not found.\n", now)),
    };
    Err(Failure::new(FailureKind::Storage, why))
}

// Decoded once, segment by segment; empty, `.` and `..` ones, NUL, slashes in escapes and what is
// not a plain name are not looked for.
fn relative_path(path: &str) -> Option<PathBuf> {
    let mut relative = PathBuf::new();
    let mut segments = path.strip_prefix('/')?.split('/').peekable();
    while let Some(segment) = segments.next() {
        // A slash at the end names a folder; anywhere else nothing stands between two of them.
        if segment.is_empty() && segments.peek().is_none() {
            break;
        }
        let segment: Vec<u8> = percent_encoding::percent_decode_str(segment).collect();
        let is_odd = [0, b'/', b'\\'].iter().any(|octet| segment.contains(octet));
        if segment.is_empty() || segment == b"." || segment == b".." || is_odd {
            return None;
        }
        relative.push(std::str::from_utf8(&segment).ok()?);
    }
    Some(relative)
}

fn open_beneath(root: &Path, relative: &Path) -> rustix::io::Result<File> {
    let folder = rustix::fs::openat(
        CWD,
        root,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let name = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
    // NONBLOCK: a FIFO in the tree must not hang a thread.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    again(|| rustix::fs::openat2(&folder, name, flags, Mode::empty(), resolve).map(File::from))
}

// Where anything on the system is renamed at that moment, the kernel cannot say of a link with `..`
// in it that it stays within the folder, and wants to be asked again (openat2(2)).
fn again<T>(mut open: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    for _ in 1..TRIES {
        match open() {
            Err(Errno::AGAIN | Errno::INTR) => {}
            done => return done,
        }
    }
    open()
}

fn file_answer(
    file: File,
    facts: &std::fs::Metadata,
    name: &Path,
    method: &Method,
    asked: &FieldSection,
    now: Timestamp,
) -> Result<Answered, Failure> {
    let len = facts.len();
    let modified = Timestamp::from_secs(u64::try_from(facts.mtime()).unwrap_or(0));
    let mut fields = FieldSection::new();
    let etag = format!("\"{:x}-{:x}-{len:x}\"", facts.mtime(), facts.mtime_nsec());
    fields.insert(&header::DATE, format_http_date(now));
    fields.insert(&header::LAST_MODIFIED, format_http_date(modified));
    fields.insert(&header::ETAG, etag.clone());
    fields.insert(&header::CONTENT_TYPE, content_type(name));
    fields.insert(&header::ACCEPT_RANGES, "bytes");
    let field = |name: &header::HeaderName| asked.get(name).map(Value::as_bytes);
    let asks = Conditions {
        if_none_match: field(&header::IF_NONE_MATCH),
        if_modified_since: field(&header::IF_MODIFIED_SINCE),
    };
    let last_modified = format_http_date(modified);
    if validators::evaluate(&asks, Some(etag.as_bytes()), Some(last_modified.as_bytes()), now)
        == Condition::NotModified
    {
        return Ok((304, fields, Body::Empty));
    }
    let holds = field(&header::IF_RANGE).is_none_or(|c| {
        validators::if_range_holds(c, Some(etag.as_bytes()), Some(last_modified.as_bytes()), now)
    });
    let selection = match field(&header::RANGE) {
        Some(range) if holds && *method == Method::GET => {
            ranges::select(&ranges::parse(range), len)
        }
        _ => Selection::Whole,
    };
    let (status, span) = match selection {
        Selection::Unsatisfiable => {
            fields.insert(&header::CONTENT_RANGE, format!("bytes */{len}"));
            return Ok((416, fields, Body::Empty));
        }
        Selection::Part(span) => {
            fields.insert(
                &header::CONTENT_RANGE,
                format!("bytes {}-{}/{len}", span.start, span.end - 1),
            );
            (206, span)
        }
        Selection::Whole | Selection::Parts(_) => (200, Span { start: 0, end: len }),
    };
    if *method == Method::HEAD || span.is_empty() {
        fields.insert(&header::CONTENT_LENGTH, span.len());
        return Ok((status, fields, Body::Empty));
    }
    let body = FileBody::new(file, span)
        .map_err(|error| Failure::new(FailureKind::Storage, error.to_string()))?;
    Ok((status, fields, Body::Wire(Box::new(body), Some(span.len()))))
}

fn words(status: u16, text: &'static str, now: Timestamp) -> Answered {
    let mut fields = FieldSection::new();
    fields.insert(&header::DATE, format_http_date(now));
    fields.insert(&header::CONTENT_TYPE, "text/plain; charset=utf-8");
    (status, fields, Body::Bytes(Bytes::from_static(text.as_bytes())))
}

// A folder has its place at a name with a slash, so that its page's relative links work.
fn to_folder(path: &str, now: Timestamp) -> Answered {
    let mut moved = words(301, "This folder has its place at a name that ends in a slash.\n", now);
    // "//host" would be another host's URL.
    moved.1.insert(&header::LOCATION, format!("/{}/", path.trim_matches('/')));
    moved
}

fn content_type(name: &Path) -> &'static str {
    let extension = name.extension().and_then(|e| e.to_str()).unwrap_or("").to_ascii_lowercase();
    match extension.as_str() {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" | "map" => "application/json",
        "txt" | "md" => "text/plain; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "xml" => "application/xml",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "ico" => "image/x-icon",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "otf" => "font/otf",
        "wasm" => "application/wasm",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "gz" => "application/gzip",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "mp3" => "audio/mpeg",
        "m3u8" => "application/vnd.apple.mpegurl",
        "ts" => "video/mp2t",
        "webmanifest" => "application/manifest+json",
        _ => "application/octet-stream",
    }
}

/// A read under way: it gives the file back with what it got.
type Reading = JoinHandle<std::io::Result<(File, Vec<u8>)>>;

/// A part of a file, read piece by piece on the blocking pool.
struct FileBody {
    file: Option<File>,
    left: u64,
    reading: Option<Reading>,
}

impl FileBody {
    fn new(mut file: File, span: Span) -> std::io::Result<Self> {
        file.seek(SeekFrom::Start(span.start))?;
        Ok(Self { file: Some(file), left: span.len(), reading: None })
    }
}

impl Source for FileBody {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if self.reading.is_none() {
            if self.left == 0 {
                return Poll::Ready(None);
            }
            let Some(mut file) = self.file.take() else {
                return Poll::Ready(Some(Err(BodyError::Unreadable)));
            };
            let want = usize::try_from(self.left).unwrap_or(PIECE).min(PIECE);
            self.reading = Some(tokio::task::spawn_blocking(move || {
                let mut piece = vec![0; want];
                let got = file.read(&mut piece)?;
                piece.truncate(got);
                Ok((file, piece))
            }));
        }
        let Some(reading) = &mut self.reading else {
            return Poll::Ready(Some(Err(BodyError::Unreadable)));
        };
        let done = ready!(std::pin::Pin::new(reading).poll(cx));
        self.reading = None;
        Poll::Ready(Some(match done {
            // The file was cut while it was read.
            Ok(Ok((_, piece))) if piece.is_empty() => Err(BodyError::Truncated),
            Ok(Ok((file, piece))) => {
                self.file = Some(file);
                self.left -= piece.len() as u64;
                Ok(piece.into())
            }
            Ok(Err(_)) | Err(_) => Err(BodyError::Unreadable),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(root: &Path, target: &str) -> u16 {
        answer(root, &Method::GET, target, &FieldSection::new(), Timestamp(0)).unwrap().0
    }

    #[test]
    fn nothing_leads_outside() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("site");
        std::fs::create_dir_all(root.join("sub")).unwrap();
        std::fs::write(outer.path().join("secret"), "s").unwrap();
        std::fs::write(root.join("index.html"), "i").unwrap();
        std::fs::write(root.join("sub/a b.txt"), "a").unwrap();
        std::os::unix::fs::symlink("../secret", root.join("out")).unwrap();
        std::os::unix::fs::symlink(outer.path().join("secret"), root.join("absolute")).unwrap();
        std::os::unix::fs::symlink("sub/a b.txt", root.join("inside")).unwrap();
        assert_eq!(status(&root, "/"), 200);
        assert_eq!(status(&root, "/sub/a%20b.txt?x=1"), 200);
        assert_eq!(status(&root, "/inside"), 200);
        assert_eq!(status(&root, "/sub"), 301);
        assert_eq!(status(&root, "/sub/"), 404);
        for out in [
            "/../secret",
            "/%2e%2e/secret",
            "/sub/../../secret",
            "/..%2fsecret",
            "/out",
            "/absolute",
            "/sub/%00",
            "/%5c..%5csecret",
        ] {
            assert_eq!(status(&root, out), 404, "{out}");
        }
    }

    #[test]
    fn what_is_renamed_meanwhile_is_asked_for_again_and_not_for_ever() {
        let tries = |fails: usize| {
            let mut count = 0;
            let opened = again(|| {
                count += 1;
                if count > fails { Ok(()) } else { Err(Errno::AGAIN) }
            });
            (opened, count)
        };
        assert_eq!(tries(0), (Ok(()), 1));
        assert_eq!(tries(TRIES - 1), (Ok(()), TRIES));
        assert_eq!(tries(TRIES), (Err(Errno::AGAIN), TRIES));
        assert_eq!(again(|| Err::<(), _>(Errno::NOENT)), Err(Errno::NOENT));
    }

    // A filter of system calls is no reason to say that there is no such file.
    #[test]
    fn what_hinders_us_is_no_missing_file() {
        let said = |error| match not_opened(error, Path::new("a"), Timestamp(0)) {
            Ok((status, ..)) => status.to_string(),
            Err(failure) => failure.detail,
        };
        assert_eq!(said(Errno::NOENT), "404");
        assert_eq!(said(Errno::XDEV), "404", "it leads outside");
        assert_eq!(said(Errno::ACCESS), "403");
        for error in [Errno::IO, Errno::NOMEM, Errno::AGAIN] {
            assert!(said(error).starts_with("a: "), "{}", said(error));
        }
        for error in [Errno::NOSYS, Errno::PERM] {
            assert!(said(error).contains("RestrictSUIDSGID="), "{}", said(error));
        }
    }
}
