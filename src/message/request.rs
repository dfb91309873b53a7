//! A request as the decisions see it: borrowed, whatever protocol it came by.
//!
//! `RequestHead` is a view; both lanes make one, from HTTP/1 bytes or from a field map, and
//! everything up to `lookup` works on it without owning anything. `ViewerRequest` is what outlives
//! the read buffer.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use http::Method;
use parking_lot::Mutex;

use super::connection::{Connection, Scheme, Version};
use super::encryption::Encryption;
use super::interim::InterimSink;
use super::key::InvalidationNumber;
use super::own_fields::EDGE_NAME;
use super::path;
use super::ran::Ran;
use crate::base::fold;
use crate::base::free_list::{self, FreeList};
use crate::base::spare::{Spare, Text};
use crate::distribution::site::Observes;
use crate::semantics::fields::{FieldSection, Name, Value};
use crate::semantics::time::Timestamp;
use crate::trace::live::Trace;

/// The fields of a request, as lines of a read buffer or as a section of its own.
#[derive(Clone, Copy)]
pub enum Fields<'r> {
    Lines(&'r [httparse::Header<'r>]),
    Section(&'r FieldSection),
}

impl<'r> Fields<'r> {
    /// All lines of one field, in order, whatever case its name is in.
    pub fn get_all<'n>(self, name: &'n str) -> impl Iterator<Item = &'r [u8]> + use<'r, 'n> {
        let (lines, section) = match self {
            Fields::Lines(lines) => (lines, None),
            Fields::Section(section) => (&[][..], Some(section)),
        };
        lines
            .iter()
            .filter(move |line| line.name.eq_ignore_ascii_case(name))
            .map(|line| line.value)
            .chain(section.into_iter().flat_map(move |of| of.get_all(name)).map(Value::as_bytes))
    }

    /// Every line in order.
    pub fn iter(self) -> impl Iterator<Item = (&'r str, &'r [u8])> {
        let (lines, section) = match self {
            Fields::Lines(lines) => (lines, None),
            Fields::Section(section) => (&[][..], Some(section)),
        };
        lines.iter().map(|line| (line.name, line.value)).chain(
            section.into_iter().flatten().map(|(name, value)| (name.spelled(), value.as_bytes())),
        )
    }

    /// The same, with the names as they are compared.
    pub fn named(self) -> impl Iterator<Item = (Name<'r>, &'r [u8])> {
        let (lines, section) = match self {
            Fields::Lines(lines) => (lines, None),
            Fields::Section(section) => (&[][..], Some(section)),
        };
        lines
            .iter()
            .map(|line| (Name::of(line.name.as_bytes()), line.value))
            .chain(section.into_iter().flatten().map(|(name, value)| (name, value.as_bytes())))
    }

    /// Their names in order, as `CloudFront-Viewer-Header-Order` has them: with colons between, cut
    /// off at 7,680.
    pub fn order(self) -> String {
        let mut all = String::new();
        for (name, _) in self.iter() {
            all.push_str(if all.is_empty() { "" } else { ":" });
            all.push_str(name);
        }
        // Names are tokens: one octet is one character.
        all.truncate(7680);
        all
    }

    /// The same as a section of their own.
    pub fn to_section(self) -> FieldSection {
        match self {
            Fields::Section(section) => section.clone(),
            Fields::Lines(lines) => {
                let mut fields = FieldSection::new();
                lines.iter().for_each(|line| fields.push(line.name, line.value));
                fields
            }
        }
    }
}

/// Fields that decisions ask for, found in one pass over the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Known {
    Host,
    Connection,
    ContentLength,
    TransferEncoding,
    Range,
    IfRange,
    IfNoneMatch,
    IfModifiedSince,
    IfMatch,
    IfUnmodifiedSince,
    Cookie,
    Authorization,
    AcceptEncoding,
    CacheControl,
    Expect,
    Upgrade,
    CdnLoop,
    /// These two are for the record.
    Referer,
    UserAgent,
    ForeshoreEdge,
}

const KNOWN: usize = Known::ForeshoreEdge as usize + 1;

/// Where the known fields are, as numbers of lines; a repeated field is marked. Small, because each
/// head that is read carries it along.
#[derive(Clone, Copy, Debug, Default)]
pub struct KnownLines {
    /// One more than the line's number; zero for a field that is not there.
    at: [u16; KNOWN],
    repeated: u32,
}

impl KnownLines {
    // Looks through all fields once.
    fn find(fields: Fields<'_>) -> Self {
        let mut known = Self::default();
        let names = |known: &mut Self, at: usize, name: &[u8]| {
            if let Some(which) = classify(name) {
                known.note(which, at);
            }
        };
        match fields {
            Fields::Lines(lines) => {
                for (at, line) in lines.iter().enumerate() {
                    names(&mut known, at, line.name.as_bytes());
                }
            }
            Fields::Section(section) => {
                for (at, (name, _)) in section.iter().enumerate() {
                    names(&mut known, at, name.octets());
                }
            }
        }
        known
    }

    fn note(&mut self, which: Known, at: usize) {
        let slot = &mut self.at[which as usize];
        if *slot == 0 {
            // More lines than that are refused long before.
            *slot = u16::try_from(at + 1).unwrap_or(u16::MAX);
        } else {
            self.repeated |= 1 << which as u32;
        }
    }
}

/// The known fields of a head.
#[derive(Clone, Copy)]
pub struct KnownFields<'r> {
    fields: Fields<'r>,
    lines: KnownLines,
}

impl<'r> KnownFields<'r> {
    /// Looks through all fields once.
    pub fn find(fields: Fields<'r>) -> Self {
        Self { fields, lines: KnownLines::find(fields) }
    }

    /// The first line of a field.
    pub fn get(&self, which: Known) -> Option<&'r [u8]> {
        let at = usize::from(self.lines.at[which as usize].checked_sub(1)?);
        match self.fields {
            Fields::Lines(lines) => lines.get(at).map(|line| line.value),
            Fields::Section(section) => section.nth(at).map(Value::as_bytes),
        }
    }

    /// All lines of a field, in order. Most have one: only where there are others are those looked
    /// for.
    pub fn all(&self, which: Known) -> impl Iterator<Item = &'r [u8]> + use<'r> {
        let others = self.is_repeated(which).then(|| {
            let all = self.fields.iter();
            all.filter(move |(name, _)| classify(name.as_bytes()) == Some(which))
                .skip(1)
                .map(|(_, value)| value)
        });
        self.get(which).into_iter().chain(others.into_iter().flatten())
    }

    /// Says whether a field is there.
    pub const fn has(&self, which: Known) -> bool {
        self.lines.at[which as usize] != 0
    }

    /// Says whether a field came on more than one line.
    pub const fn is_repeated(&self, which: Known) -> bool {
        self.lines.repeated & (1 << which as u32) != 0
    }
}

// By length first: most fields of a browser's request are turned away by one comparison.
fn classify(name: &[u8]) -> Option<Known> {
    match name.len() {
        4 => known(name, b"host", Known::Host),
        5 => known(name, b"range", Known::Range),
        6 => {
            known(name, b"cookie", Known::Cookie).or_else(|| known(name, b"expect", Known::Expect))
        }
        7 => known(name, b"referer", Known::Referer)
            .or_else(|| known(name, b"upgrade", Known::Upgrade)),
        8 => known(name, b"if-range", Known::IfRange)
            .or_else(|| known(name, b"if-match", Known::IfMatch))
            .or_else(|| known(name, b"cdn-loop", Known::CdnLoop)),
        10 => known(name, b"user-agent", Known::UserAgent)
            .or_else(|| known(name, b"connection", Known::Connection)),
        13 => known(name, b"if-none-match", Known::IfNoneMatch)
            .or_else(|| known(name, b"cache-control", Known::CacheControl))
            .or_else(|| known(name, b"authorization", Known::Authorization)),
        14 => known(name, b"content-length", Known::ContentLength)
            .or_else(|| fold::eq(name, EDGE_NAME.as_bytes()).then_some(Known::ForeshoreEdge)),
        15 => known(name, b"accept-encoding", Known::AcceptEncoding),
        17 => known(name, b"transfer-encoding", Known::TransferEncoding)
            .or_else(|| known(name, b"if-modified-since", Known::IfModifiedSince)),
        19 => known(name, b"if-unmodified-since", Known::IfUnmodifiedSince),
        _ => None,
    }
}

#[inline(always)]
fn known<const N: usize>(name: &[u8], spelled: &[u8; N], which: Known) -> Option<Known> {
    fold::is(name, spelled).then_some(which)
}

/// What a request is called, in `X-Amz-Cf-Id` and in logs: 56 characters that no other request has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestId(pub u64);

impl RequestId {
    /// Writes its 56 characters, in CloudFront's form: forty octets in base64 for URLs.
    pub fn write(self, out: &mut Vec<u8>) {
        const LETTERS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut text = [b'='; 56];
        let mut state = self.0;
        for letters in text[..54].chunks_mut(10) {
            // SplitMix64: every number leads to another sequence.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut bits = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            bits ^= bits >> 31;
            for letter in letters {
                *letter = LETTERS[(bits & 63) as usize];
                bits >>= 6;
            }
        }
        out.extend_from_slice(&text);
    }

    /// A number below `most`, as good as by chance.
    pub const fn sample(self, most: u64) -> u64 {
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 33) % most
    }

    /// The same as text.
    pub fn text(self) -> String {
        let mut out = Vec::with_capacity(56);
        self.write(&mut out);
        String::from_utf8(out).unwrap_or_default()
    }
}

/// A request head, borrowed.
#[derive(Clone, Copy)]
pub struct RequestHead<'r> {
    pub id: RequestId,
    pub method: &'r Method,
    pub version: Version,
    pub scheme: Scheme,
    /// Host and port as the viewer wrote them.
    pub authority: &'r str,
    /// The host alone.
    pub host: &'r str,
    /// The path as it came, percent-encoding and all, but for needless escapes; `*` where OPTIONS
    /// asks about the server as a whole.
    pub path: &'r str,
    /// The path exactly as the viewer spelled it: signatures are over that.
    pub spelled: &'r str,
    pub query: Option<&'r str>,
    pub fields: Fields<'r>,
    /// The names of its fields as they came, where `fields` has lost their order and a behavior
    /// uses it.
    pub order: Option<&'r str>,
    pub known: KnownFields<'r>,
    pub connection: &'r Connection,
}

/// Cuts a request target into path and query.
pub fn split_target(target: &str) -> (&str, Option<&str>) {
    match target.bytes().position(|b| b == b'?') {
        Some(at) => (&target[..at], Some(&target[at + 1..])),
        None => (target, None),
    }
}

/// A request that owns what it says. Its body travels beside it: many may share the head, one reads
/// the body.
pub struct ViewerRequest {
    pub id: RequestId,
    pub method: Method,
    pub version: Version,
    pub scheme: Scheme,
    pub authority: Text,
    pub target: Text,
    /// The path as it came, where the target has another spelling of it.
    pub spelled: Option<String>,
    pub fields: FieldSection,
    /// The names of its fields as they came, where a behavior uses their order.
    pub order: Option<Box<str>>,
    pub connection: Arc<Connection>,
    pub arrived_at: Timestamp,
    /// The invalidation log's head when the request arrived.
    pub arrived_number: InvalidationNumber,
    /// Where interim responses go, if the viewer can take them.
    pub interim: Option<InterimSink>,
    /// What its record will want.
    pub notes: RequestNotes,
    /// The trace that it belongs to, where requests are traced.
    pub trace: Option<Arc<Trace>>,
    /// Where its known fields are, once a head was read of it.
    pub known: OnceLock<KnownLines>,
}

/// What is noted of a request on its way, by whichever task: how long the parent or origin that was
/// asked took until its head came, what became of the fields of its form, and what code ran for it.
/// It is for the request's record; no decision reads it.
#[derive(Debug, Default)]
pub struct RequestNotes {
    millis: AtomicU64,
    encryption: AtomicU32,
    ran: Mutex<Option<Box<Ran>>>,
}

impl RequestNotes {
    /// Notes an answer after so many milliseconds; the last one counts.
    pub fn note_upstream(&self, millis: u64) {
        // Zero says that no upstream was asked.
        self.millis.store(millis.saturating_add(1), Ordering::Relaxed);
    }

    /// Milliseconds, if an upstream answered with a head.
    pub fn upstream_millis(&self) -> Option<u64> {
        self.millis.load(Ordering::Relaxed).checked_sub(1)
    }

    /// Notes what became of the form.
    pub fn note_encryption(&self, encryption: Encryption) {
        self.encryption.store(encryption.to_bits(), Ordering::Relaxed);
    }

    /// What became of the form, where the behavior encrypts any.
    pub fn encryption(&self) -> Option<Encryption> {
        Encryption::from_bits(self.encryption.load(Ordering::Relaxed))
    }

    /// Notes code that ran at an event of the origin.
    pub fn note_code(&self, later: Ran) {
        self.ran.lock().get_or_insert_default().join(later);
    }

    /// The code that was noted, which is told once.
    pub fn take_code(&self) -> Option<Box<Ran>> {
        self.ran.lock().take()
    }
}

/// So many requests that are over are kept by each thread, for their memory.
const SPARE: usize = 64;

thread_local! {
    static SPARES: FreeList<Arc<ViewerRequest>> = const { FreeList::new(SPARE) };
    /// What a request that is over came by.
    static NOBODY: Arc<Connection> =
        Arc::new(Connection::from(SocketAddr::from(([0, 0, 0, 0], 0))));
}

impl ViewerRequest {
    /// The same for many to share, in the memory of one that is over.
    pub fn shared(self) -> Arc<Self> {
        if let Some(mut spare) = free_list::take(&SPARES)
            && let Some(place) = Arc::get_mut(&mut spare)
        {
            *place = self;
            return spare;
        }
        Arc::new(self)
    }

    /// Keeps the memory of a request that is over for another, where nobody else has it. What it
    /// said and held is gone then.
    pub fn let_go(request: &mut Arc<Self>) {
        let (Some(over), Ok(nobody)) = (Arc::get_mut(request), NOBODY.try_with(Arc::clone)) else {
            return;
        };
        (over.method, over.connection) = (Method::GET, nobody);
        (over.authority, over.target) = (Text::default(), Text::default());
        (over.spelled, over.order, over.fields) = (None, None, FieldSection::new());
        (over.interim, over.trace) = (None, None);
        (over.notes, over.known) = (RequestNotes::default(), OnceLock::new());
        free_list::keep(&SPARES, Arc::clone(request));
    }

    /// A GET over HTTP/1.1 for an absolute URL, without fields, from 192.0.2.1 (TEST-NET-1, RFC
    /// 5737 §3), at the epoch. A URL without a scheme is taken for `http`, one without a path asks
    /// for `/`.
    ///
    /// ```
    /// use foreshore::message::request::ViewerRequest;
    ///
    /// let request = ViewerRequest::get("https://h.test/a?x=1").with_field("accept", "*/*");
    /// let head = request.head();
    /// assert_eq!((head.host, head.path, head.query), ("h.test", "/a", Some("x=1")));
    /// ```
    pub fn get(url: &str) -> Self {
        let (scheme, rest) = match url.split_once("://") {
            Some(("https", rest)) => (Scheme::Https, rest),
            Some((_, rest)) => (Scheme::Http, rest),
            None => (Scheme::Http, url),
        };
        let (authority, target) =
            rest.find('/').map_or((rest, "/"), |at| (&rest[..at], &rest[at..]));
        let peer = std::net::SocketAddr::from(([192, 0, 2, 1], 4000));
        Self {
            id: RequestId::default(),
            method: Method::GET,
            version: Version::Http11,
            scheme,
            authority: authority.into(),
            target: target.into(),
            spelled: None,
            fields: FieldSection::new(),
            order: None,
            connection: Arc::new(Connection::from(peer).with_scheme(scheme)),
            arrived_at: Timestamp(0),
            arrived_number: InvalidationNumber(0),
            interim: None,
            notes: RequestNotes::default(),
            trace: None,
            known: OnceLock::new(),
        }
    }

    /// The same request with another method.
    #[must_use]
    pub fn with_method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// The same request with one more field line; none where the value may not stand in a field.
    #[must_use]
    pub fn with_field(mut self, name: &str, value: &str) -> Self {
        self.fields.append(name, value);
        self.fields_changed();
        self
    }

    /// The same request with these fields in place of its own.
    #[must_use]
    pub fn with_fields(mut self, fields: FieldSection) -> Self {
        self.fields = fields;
        self.fields_changed();
        self
    }

    /// The same request by another connection; its scheme becomes the connection's.
    #[must_use]
    pub fn with_connection(mut self, connection: Connection) -> Self {
        self.scheme = connection.scheme;
        self.connection = Arc::new(connection);
        self
    }

    /// The same request, arrived at this moment, when the invalidation log stood at `number`.
    #[must_use]
    pub const fn with_arrival(mut self, at: Timestamp, number: InvalidationNumber) -> Self {
        self.arrived_at = at;
        self.arrived_number = number;
        self
    }

    /// The view that decisions take.
    pub fn head(&self) -> RequestHead<'_> {
        let (path, query) = split_target(&self.target);
        let fields = Fields::Section(&self.fields);
        let host =
            crate::distribution::host::parse_authority(&self.authority).map_or("", |a| a.host);
        RequestHead {
            id: self.id,
            method: &self.method,
            version: self.version,
            scheme: self.scheme,
            authority: &self.authority,
            host,
            path,
            spelled: self.spelled.as_deref().unwrap_or(path),
            query,
            fields,
            order: self.order.as_deref(),
            known: KnownFields {
                fields,
                lines: *self.known.get_or_init(|| KnownLines::find(fields)),
            },
            connection: &self.connection,
        }
    }

    /// To be called once fields were changed of which a head was read before.
    pub fn fields_changed(&mut self) {
        self.known = OnceLock::new();
    }

    /// The same request, as if it had arrived when the log stood at `number`: it follows no fetch
    /// that is older.
    pub fn arriving_at(&self, number: InvalidationNumber) -> Self {
        Self {
            id: self.id,
            method: self.method.clone(),
            version: self.version,
            scheme: self.scheme,
            authority: self.authority.clone(),
            target: self.target.clone(),
            spelled: self.spelled.clone(),
            fields: self.fields.clone(),
            order: self.order.clone(),
            connection: Arc::clone(&self.connection),
            arrived_at: self.arrived_at,
            arrived_number: number,
            interim: self.interim.clone(),
            notes: RequestNotes::default(),
            trace: self.trace.clone(),
            known: OnceLock::new(),
        }
    }

    /// Gives the path its one form, for behavior, key and origin alike.
    pub fn spell_plainly(&mut self) {
        let (path, query) = split_target(&self.target);
        if path::has_needless_escape(path) {
            let query = query.map(|query| format!("?{query}")).unwrap_or_default();
            let plain = format!("{}{query}", path::plain(path));
            self.spelled = Some(path.to_string());
            self.target = plain.into();
        }
    }

    /// Makes an owned copy of a borrowed head. `octets` are those in which its lines stand, if they
    /// came as lines: one that stands there as it would be written is copied at once.
    pub fn from_head(
        head: &RequestHead<'_>,
        octets: &[u8],
        connection: &Arc<Connection>,
        at: Timestamp,
        number: InvalidationNumber,
        observes: Observes,
    ) -> Self {
        let fields = match head.fields {
            Fields::Lines(lines) => {
                let mut fields = FieldSection::new();
                lines.iter().for_each(|line| fields.push_from(octets, line.name, line.value));
                fields
            }
            Fields::Section(section) => section.clone(),
        };
        let mut target = Spare::of(head.path.as_bytes());
        if let Some(query) = head.query {
            target.push(b'?');
            target.extend_from_slice(query.as_bytes());
        }
        Self {
            id: head.id,
            method: head.method.clone(),
            version: head.version,
            scheme: head.scheme,
            authority: head.authority.into(),
            target: Text::from_octets(target),
            spelled: None,
            fields,
            order: observes.header_order.then(|| head.fields.order().into()),
            connection: Arc::clone(connection),
            arrived_at: at,
            arrived_number: number,
            interim: None,
            notes: RequestNotes::default(),
            trace: None,
            // The same lines in the same order.
            known: OnceLock::from(head.known.lines),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_a_request_serves_the_next_and_keeps_nothing_of_it() {
        let connection = Arc::new(Connection::from(SocketAddr::from(([192, 0, 2, 7], 1))));
        let mut first = ViewerRequest::get("https://h.test/first").with_field("cookie", "a=b");
        first.connection = Arc::clone(&connection);
        let mut first = first.shared();
        let other = Arc::clone(&first);
        ViewerRequest::let_go(&mut first);
        assert_eq!(&*first.target, "/first", "somebody has it");
        drop(other);
        ViewerRequest::let_go(&mut first);
        assert!(first.target.is_empty() && first.fields.is_empty());
        assert_eq!(Arc::strong_count(&connection), 1);
        let at = Arc::as_ptr(&first);
        drop(first);
        let again = ViewerRequest::get("http://h.test/again").shared();
        assert_eq!((Arc::as_ptr(&again), &*again.target), (at, "/again"));
        assert!(!again.head().known.has(Known::Cookie));
    }

    #[test]
    fn all_lines_of_a_known_field_are_found_in_any_case() {
        let request = ViewerRequest::get("/")
            .with_field("connection", "a")
            .with_field("x-connection", "b")
            .with_field("Connection", "c")
            .with_field("range", "d")
            .with_field("CONNECTION", "e");
        let lines = [
            ("a", "b"),
            ("CONNECTION", "a"),
            ("range", "d"),
            ("connection", "c"),
            ("Connection", "e"),
        ]
        .map(|(name, value)| httparse::Header { name, value: value.as_bytes() });
        for fields in [Fields::Section(&request.fields), Fields::Lines(&lines)] {
            let known = KnownFields::find(fields);
            let all = |which| known.all(which).collect::<Vec<_>>();
            assert_eq!(all(Known::Connection), [b"a", b"c", b"e"]);
            assert_eq!(all(Known::Range), [b"d"]);
            assert!(all(Known::Host).is_empty() && known.get(Known::UserAgent).is_none());
        }
    }

    #[test]
    fn each_known_name_is_told_from_all_others() {
        let names = [
            ("host", Known::Host),
            ("connection", Known::Connection),
            ("content-length", Known::ContentLength),
            ("transfer-encoding", Known::TransferEncoding),
            ("range", Known::Range),
            ("if-range", Known::IfRange),
            ("if-none-match", Known::IfNoneMatch),
            ("if-modified-since", Known::IfModifiedSince),
            ("if-match", Known::IfMatch),
            ("if-unmodified-since", Known::IfUnmodifiedSince),
            ("cookie", Known::Cookie),
            ("authorization", Known::Authorization),
            ("accept-encoding", Known::AcceptEncoding),
            ("cache-control", Known::CacheControl),
            ("expect", Known::Expect),
            ("upgrade", Known::Upgrade),
            ("cdn-loop", Known::CdnLoop),
            ("referer", Known::Referer),
            ("user-agent", Known::UserAgent),
            (EDGE_NAME, Known::ForeshoreEdge),
        ];
        assert_eq!(names.len(), KNOWN);
        for (name, which) in names {
            assert_eq!(classify(name.as_bytes()), Some(which));
            assert_eq!(classify(name.to_ascii_uppercase().as_bytes()), Some(which));
            for at in 0..name.len() {
                let mut other = name.as_bytes().to_vec();
                other[at] = b'~';
                assert_eq!(classify(&other), None, "{name}");
            }
        }
        assert_eq!(classify(b""), None);
    }
}
