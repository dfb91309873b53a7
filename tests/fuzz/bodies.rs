//! What must hold for any octets at all: plain functions that panic where it does not.
//!
//! `tests/suite/fuzz.rs` runs them over the corpus and over shaken copies of it, from fixed seeds,
//! on every test run; `cargo fuzz` drives the same functions (`targets/`, see README.md here). They
//! know nothing of either.

use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex, OnceLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use foreshore::access::check_signature;
use foreshore::access::form::encrypted;
use foreshore::body::Content;
use foreshore::body::framing::{Decoded, Decoder, Framing};
use foreshore::cache::invalidations::{Matcher, canonical, parse_tag};
use foreshore::cloudfront::{formation, import, terraform};
use foreshore::control::cloudfront::batch;
use foreshore::control::s3::event::{self, Posted};
use foreshore::control::s3::sns::Envelope;
use foreshore::crypto::envelope::{Suite, UnwrappingKey, WrappingKey, decrypt};
use foreshore::crypto::key::PublicKey;
use foreshore::crypto::memory::VerifiedSignatures;
use foreshore::crypto::policy;
use foreshore::crypto::sigv4::Claim;
use foreshore::crypto::url::TrustedKeys;
use foreshore::distribution::field_encryption::{FieldPattern, Fields, Profile};
use foreshore::distribution::functions::{Level, Runtime};
use foreshore::distribution::limits::FIELDS_MAX;
use foreshore::distribution::limits::Limits;
use foreshore::functions::level;
use foreshore::listen::h1::head::{self as h1_head, NoHead};
use foreshore::listen::h2::hpack::decode::{Decoder as Hpack, FieldList};
#[cfg(feature = "http3")]
use foreshore::listen::h3::frame::{self, Frames, Piece};
#[cfg(feature = "http3")]
use foreshore::listen::h3::qpack;
use foreshore::message::connection::Connection;
use foreshore::message::path;
use foreshore::message::request::ViewerRequest;
use foreshore::origin::response_head;
use foreshore::semantics::fields::FieldSection;
use foreshore::semantics::time::Timestamp;
use foreshore::semantics::{cache_control, form, lists, ranges, structured, time, validators};
use foreshore::store::disk::record::{self, Header};
use foreshore::store::disk::segment_list;
use foreshore::tls::fingerprint;
use http::Method;
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::rt::TokioIo;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What came of comparing two readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// We refuse it, or wait for more: always right.
    Refused,
    /// We accept it, and the other reader will have none of it.
    Alone,
    Equal,
}

/// One message as one of the two readers read it.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    line: Vec<String>,
    fields: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

fn sorted(fields: impl Iterator<Item = (String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    let mut fields: Vec<_> = fields.collect();
    fields.sort();
    fields
}

fn of_map(fields: &FieldSection) -> Vec<(String, Vec<u8>)> {
    sorted(
        fields
            .iter()
            .map(|(name, value)| (name.spelled().to_ascii_lowercase(), value.as_bytes().to_vec())),
    )
}

/// Octets as HTTP/1 requests, pipelined: whatever we accept, hyper reads identically, body and next
/// request included; and however the octets come split, the head ends at the same place or is
/// refused.
pub fn request_heads(data: &[u8]) -> Compared {
    splits_agree(data);
    let mine = our_requests(data);
    if mine.is_empty() {
        return Compared::Refused;
    }
    let theirs = hypers_requests(data);
    if theirs.is_empty() {
        return Compared::Alone;
    }
    for (mine, theirs) in mine.iter().zip(&theirs) {
        assert_eq!(mine, theirs, "{:?}", String::from_utf8_lossy(data));
    }
    Compared::Equal
}

fn splits_agree(data: &[u8]) {
    let limits = Limits::default();
    let whole = h1_head::find_end(data, &limits);
    for cut in (0..data.len()).step_by(1 + data.len() / 64) {
        match (h1_head::find_end(&data[..cut], &limits), whole) {
            (Err(NoHead::Partial), _) => {}
            (Ok(len), Ok(whole)) => assert_eq!(len, whole),
            (Err(NoHead::Refused(_)), Err(NoHead::Refused(_))) => {}
            (early, whole) => panic!(
                "{early:?} after {cut} octets, {whole:?} after all of {:?}",
                String::from_utf8_lossy(data)
            ),
        }
    }
}

// How long the head is that is read without a look for its end before.
fn read_at_once(octets: &[u8], connection: &Connection, limits: &Limits) -> Option<usize> {
    let within = h1_head::reach(octets, limits).ok()?;
    let mut lines = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut method = Method::GET;
    let head = h1_head::read(octets, within, &mut lines, &mut method, connection, limits).ok()?;
    Some(head.len)
}

fn our_requests(data: &[u8]) -> Vec<Read> {
    let connection = Connection::from(std::net::SocketAddr::from(([127, 0, 0, 1], 1)));
    let limits = Limits::default();
    let mut rest = BytesMut::from(data);
    let mut read = Vec::new();
    loop {
        let Ok(len) = h1_head::find_end(&rest, &limits) else { return read };
        let at_once = read_at_once(&rest, &connection, &limits);
        let octets = rest.split_to(len);
        let mut lines = [const { MaybeUninit::uninit() }; FIELDS_MAX];
        let mut method = Method::GET;
        let Ok(head) = h1_head::read(&octets, len, &mut lines, &mut method, &connection, &limits)
        else {
            assert_eq!(at_once, None, "{:?}", String::from_utf8_lossy(data));
            return read;
        };
        assert_eq!(at_once, Some(head.len), "{:?}", String::from_utf8_lossy(data));
        let request = &head.request;
        let fields = sorted(
            request.fields.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec())),
        );
        let path = request
            .query
            .map_or(request.path.to_string(), |query| format!("{}?{query}", request.path));
        let path = of_options(request.method, path);
        let Some(body) = decoded(head.framing, &mut rest) else { return read };
        read.push(Read { line: vec![request.method.to_string(), path], fields, body });
        if head.after == h1_head::After::Close {
            return read;
        }
    }
}

fn decoded(framing: Framing, rest: &mut BytesMut) -> Option<Vec<u8>> {
    let mut decoder = Decoder::new(framing);
    let mut body = Vec::new();
    loop {
        match decoder.decode(rest) {
            Decoded::Data(data) => body.extend_from_slice(&data),
            Decoded::Done => return Some(body),
            Decoded::More if decoder.ends_by_close() => return Some(body),
            Decoded::More | Decoded::Broken(_) => return None,
        }
    }
}

// `OPTIONS http://h` asks about the server as a whole, and so does `OPTIONS *`; hyper tells the
// first from `OPTIONS http://h/` no more.
fn of_options(method: &Method, target: String) -> String {
    if *method == Method::OPTIONS && target == "*" { "/".to_string() } else { target }
}

fn runtime() -> tokio::runtime::Runtime {
    match tokio::runtime::Builder::new_current_thread().enable_time().build() {
        Ok(runtime) => runtime,
        Err(error) => panic!("{error}"),
    }
}

fn hypers_requests(data: &[u8]) -> Vec<Read> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let slot = Arc::clone(&seen);
    let service =
        hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let slot = Arc::clone(&slot);
            async move {
                let (parts, body) = request.into_parts();
                let target =
                    parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_string();
                let target = of_options(&parts.method, target);
                if let Ok(body) = body.collect().await {
                    let line = vec![parts.method.to_string(), target];
                    let read = Read {
                        line,
                        fields: of_map(&FieldSection::from_map(&parts.headers)),
                        body: body.to_bytes().to_vec(),
                    };
                    slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(read);
                }
                Ok::<_, std::convert::Infallible>(hyper::Response::new(Full::new(Bytes::new())))
            }
        });
    runtime().block_on(async {
        let (near, far) = tokio::io::duplex(1 << 20);
        let (mut answers, mut requests) = tokio::io::split(near);
        let mut server = hyper::server::conn::http1::Builder::new();
        let serving = server
            .half_close(true)
            .pipeline_flush(true)
            .serve_connection(TokioIo::new(far), service);
        let _ = requests.write_all(data).await;
        let _ = requests.shutdown().await;
        let mut sink = Vec::new();
        let _ = tokio::join!(serving, answers.read_to_end(&mut sink));
    });
    let mut seen = seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    std::mem::take(&mut *seen)
}

/// Octets as an origin's answer to a GET: whatever we accept, hyper reads identically, body
/// included.
pub fn response_head(data: &[u8]) -> Compared {
    let Some(end) = response_head::find_end(data, 0) else { return Compared::Refused };
    for cut in (0..data.len()).step_by(1 + data.len() / 64) {
        let split =
            response_head::find_end(&data[..cut], 0).or_else(|| response_head::find_end(data, cut));
        assert_eq!(split, Some(end), "{:?}", String::from_utf8_lossy(data));
    }
    let mut rest = BytesMut::from(data);
    let Ok(head) = response_head::read(&rest.split_to(end).freeze(), false) else {
        return Compared::Refused;
    };
    // Interim answers are stepped over by us one by one; hyper shows the final one only.
    if head.status < 200 {
        return Compared::Refused;
    }
    let Some(body) = decoded(head.framing, &mut rest) else { return Compared::Refused };
    let mine = Read { line: vec![head.status.to_string()], fields: of_map(&head.fields), body };
    match hypers_answer(data) {
        None => Compared::Alone,
        Some(theirs) => {
            assert_eq!(mine, theirs, "{:?}", String::from_utf8_lossy(data));
            Compared::Equal
        }
    }
}

// A length said several times alike is one length to hyper, which leaves the lines as they are; we
// say it once.
fn say_one_length(fields: &mut http::HeaderMap) {
    let all = fields.get_all(http::header::CONTENT_LENGTH);
    let first = all
        .iter()
        .next()
        .and_then(|line| line.to_str().ok()?.split(',').next()?.trim().parse::<u64>().ok());
    let is_repeated =
        all.iter().count() > 1 || all.iter().any(|line| line.as_bytes().contains(&b','));
    if let Some(length) = first.filter(|_| is_repeated) {
        fields.insert(http::header::CONTENT_LENGTH, length.into());
    }
}

fn hypers_answer(data: &[u8]) -> Option<Read> {
    runtime().block_on(async {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let (mut sender, connection) =
            hyper::client::conn::http1::Builder::new().handshake(TokioIo::new(near)).await.ok()?;
        let asking = async move {
            let request =
                hyper::Request::get("/").header("host", "h").body(Empty::<Bytes>::new()).ok()?;
            let (parts, body) = sender.send_request(request).await.ok()?.into_parts();
            let body = body.collect().await.ok()?.to_bytes().to_vec();
            let mut parts = parts;
            say_one_length(&mut parts.headers);
            Some(Read {
                line: vec![parts.status.as_u16().to_string()],
                fields: of_map(&FieldSection::from_map(&parts.headers)),
                body,
            })
        };
        let answering = async {
            // Only what answers a request is an answer.
            let _ = far.read(&mut [0; 512]).await;
            let _ = far.write_all(data).await;
            let _ = far.shutdown().await;
            far
        };
        let (answer, _, _) = tokio::join!(asking, connection, answering);
        answer
    })
}

/// Octets as a chunked body: however they come split, the same body and the same rest, or the same
/// refusal.
pub fn chunks(data: &[u8]) {
    let Some((step, octets)) = data.split_first() else { return };
    let decode = |step: usize| {
        let mut decoder = Decoder::new(Framing::Chunked);
        let (mut buffer, mut body, mut fed) = (BytesMut::new(), Vec::new(), 0);
        loop {
            match decoder.decode(&mut buffer) {
                Decoded::Data(data) => body.extend_from_slice(&data),
                Decoded::More if fed < octets.len() => {
                    let to = (fed + step).min(octets.len());
                    buffer.extend_from_slice(&octets[fed..to]);
                    fed = to;
                }
                Decoded::More => return (body, None),
                Decoded::Done => return (body, Some(octets.len() - fed + buffer.len())),
                Decoded::Broken(_) => return (Vec::new(), Some(usize::MAX)),
            }
        }
    };
    assert_eq!(decode(octets.len().max(1)), decode(usize::from(*step).max(1)), "{octets:?}");
}

/// Octets as header blocks of one HTTP/2 connection, each behind a length: nothing but errors, and
/// no more than the limit.
pub fn header_blocks(data: &[u8]) {
    let mut decoder = Hpack::new(4096);
    let mut list = FieldList::default();
    let mut rest = data;
    while let Some((len, more)) = rest.split_first() {
        let (block, more) = more.split_at(usize::from(*len).min(more.len()));
        rest = more;
        list.clear(2000);
        if decoder.decode(block, &mut list).is_err() {
            return;
        }
        assert!(
            list.iter().map(|(name, value)| name.len() + value.len() + 32).sum::<usize>() <= 2000
        );
    }
}

/// A request stream of HTTP/3 and its field sections: read alike however it is cut, and within
/// bounds.
#[cfg(feature = "http3")]
pub fn h3_streams(data: &[u8]) {
    let read = |cut: usize| {
        let (mut frames, mut list) = (Frames::default(), FieldList::default());
        let (mut told, mut body) = (Vec::new(), Vec::new());
        for chunk in data.chunks(cut.max(1)) {
            let mut rest = chunk;
            loop {
                match frames.next(&mut rest, 4096) {
                    Ok(None) => break,
                    Ok(Some(Piece::Data(data))) => body.extend_from_slice(data),
                    Ok(Some(Piece::Fields(section))) => {
                        list.clear(2000);
                        told.push(qpack::decode::decode(&section, &mut list).is_ok());
                        let size: usize =
                            list.iter().map(|(name, value)| name.len() + value.len() + 32).sum();
                        assert!(size <= 2000);
                    }
                    Err(fatal) => return (told, body, Some(fatal.0)),
                }
            }
        }
        (told, body, None)
    };
    let whole = read(data.len());
    for cut in [1, 2, 7] {
        assert_eq!(read(cut), whole);
    }
    h3_control(data);
}

// The same octets as what the control stream and QPACK's two streams say.
#[cfg(feature = "http3")]
fn h3_control(data: &[u8]) {
    if let Some((_, _, head)) = frame::read_head(data) {
        assert!(head <= data.len() && head <= 16);
    }
    let _ = frame::check_settings(data);
    let is_fine = |cut: usize| {
        let mut held = Vec::new();
        let is_fine = data
            .chunks(cut.max(1))
            .all(|chunk| qpack::decode::is_fine_for_decoder(&mut held, chunk));
        assert!(held.len() <= 11);
        is_fine
    };
    let whole = is_fine(data.len());
    for cut in [1, 2, 7] {
        assert_eq!(is_fine(cut), whole);
    }
    let one_by_one = data.chunks(1).all(qpack::decode::is_fine_for_encoder);
    assert_eq!(qpack::decode::is_fine_for_encoder(data), one_by_one);
}

/// Octets as the value of every field we read, and text as paths, tags and items of invalidations.
pub fn fields(data: &[u8]) {
    let now = Timestamp(1_700_000_000_000);
    let plain = cache_control::CacheControl::parse([data]);
    let joined = cache_control::CacheControl::parse([data, &b""[..]]);
    assert_eq!(format!("{plain:?}"), format!("{joined:?}"), "an empty line says nothing");
    let _ = cache_control::CacheControl::parse_targeted([data]);
    let _ = (
        time::parse_http_date(data, now),
        lists::parse_digits(data),
        structured::parse_dictionary(data),
    );
    let _ = (validators::EntityTag::parse(data), ranges::parse_content_range(data));
    for member in lists::members(data) {
        assert!(!member.is_empty());
    }
    for length in [0, 1, 100, u64::MAX >> 1] {
        if let ranges::Selection::Part(span) = ranges::select(&ranges::parse(data), length) {
            assert!(span.start < span.end && span.end <= length);
        }
    }
    // A URL has one spelling, and spelling it again changes nothing.
    let spelled = canonical(data);
    assert_eq!(canonical(spelled.as_bytes()), spelled);
    if let Ok(text) = std::str::from_utf8(data) {
        let plain = path::plain(text);
        assert_eq!(path::plain(&plain), plain);
        let _ = (path::is_safe_path(text), parse_tag(text));
        if let Ok(Matcher::Path(exact)) = Matcher::parse(text) {
            assert!(Matcher::Path(exact.clone()).covers(&exact, &[]));
        }
    }
}

/// Octets as everything that AWS's tools may send: batches, policies, claims, signed URLs,
/// distributions.
pub fn aws(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(batch) = batch::parse(data) {
        // Written down and read again it says the same.
        let escape = |text: &str| {
            text.replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;")
                .replace('\r', "&#13;")
        };
        let paths: String =
            batch.paths.iter().map(|path| format!("<Path>{}</Path>", escape(path))).collect();
        let again = format!(
            "<InvalidationBatch><Paths><Quantity>{}</Quantity><Items>{paths}</Items></Paths><CallerReference>{}</CallerReference></InvalidationBatch>",
            batch.paths.len(),
            escape(&batch.reference)
        );
        assert_eq!(batch::parse(again.as_bytes()).ok(), Some(batch), "{again}");
    }
    if let Some(claim) = Claim::parse(&text) {
        assert!(
            !claim.id.is_empty() && claim.names.windows(2).all(|pair| pair[0] < pair[1]),
            "{text:?}"
        );
    }
    if let Some(policy) = policy::parse(data) {
        let resource = policy.resource.unwrap_or_else(|| "*".into());
        // A resource without anything special covers itself.
        let is_plain =
            resource.starts_with("https://h.test/") && !resource.contains(['*', '?', '\\']);
        assert!(!is_plain || policy::covers(&resource, &resource), "{resource:?}");
    }
    let _ = policy::covers(&text, "https://h.test/a/b?c=d");
    // No key has signed any of these.
    let mut request = ViewerRequest::get("https://h.test/");
    request.target = (&*text).into();
    let pem = b"-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAET0+O6qYLQjU0Vxdw89tUPCRECbjH\n\
        Yx/zhQKIWJkktEY9RUlDWpnChd4jeOoJhHQ7hvyUCszavDuJ4GxER/3iHg==\n-----END PUBLIC KEY-----\n";
    let signers = TrustedKeys {
        groups: Vec::new(),
        keys: vec![Arc::new(PublicKey::from_pem("K1", pem).unwrap())],
    };
    let now = Timestamp::from_secs(1_800_000_000);
    assert!(
        check_signature(&request.head(), &signers, &VerifiedSignatures::default(), now).is_err(),
        "{text:?}"
    );
    // A distribution, whatever it says, becomes a file of TOML.
    if let Ok(json) = serde_json::from_slice::<serde_json::Value>(data)
        && let Ok(imported) = import::import(
            vec![import::Input { name: "x.json".into(), json }],
            &import::Wishes::default(),
        )
    {
        assert!(imported.toml().parse::<toml::Table>().is_ok(), "{}", imported.toml());
    }
}

/// Documents of Terraform's and CloudFormation's: whatever they say, what is written is TOML.
pub fn templates(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(json) = formation::parse(&text) else { return };
    let input = |name: &str| import::Input { name: name.into(), json: json.clone() };
    let wishes = import::Wishes::default();
    let made = [
        terraform::import(input("x.json"), &wishes),
        formation::import(input("x.yaml"), &[("AWS::Region".into(), "r".into())], &wishes),
    ];
    for imported in made.into_iter().flatten() {
        assert!(imported.toml().parse::<toml::Table>().is_ok(), "{}", imported.toml());
    }
}

/// What is told of changed objects: it is read or refused, twice alike, and names buckets and keys.
pub fn events(data: &[u8]) {
    let Ok(value) = event::json(data) else { return };
    let _ = Envelope::of(&value);
    let read = event::parse(&value);
    assert_eq!(read, event::parse(&value));
    if let Ok(Posted::Events { changes, .. }) = read {
        assert!(changes.len() <= data.len());
        for change in changes {
            assert!(matches!(change.keys.len(), 1 | 2), "{change:?}");
            assert!(change.keys.iter().all(|key| key.len() <= data.len()), "{change:?}");
        }
    }
}

// A profile that the corpus has fields of, and the key that opens what it encrypts.
fn sealing() -> &'static (Profile, UnwrappingKey) {
    static MADE: OnceLock<(Profile, UnwrappingKey)> = OnceLock::new();
    MADE.get_or_init(|| {
        let public = include_bytes!("../vectors/rsa2048-public.pem");
        let key = PublicKey::from_pem("K", public).expect("a key of the vectors");
        let patterns = ["card*", "cvc"].map(|text| FieldPattern::parse(text).expect("a pattern"));
        let fields = Fields {
            provider: "DEMO".into(),
            key_name: "DEMOKEY".into(),
            key_id: "K".into(),
            key: key.rsa_der().and_then(|der| WrappingKey::from_der(der).ok()).expect("RSA"),
            patterns: patterns.to_vec(),
        };
        let private = include_bytes!("../vectors/rsa2048-TEST-ONLY-private.pem");
        let private = PrivateKeyDer::from_pem_slice(private).expect("a key of the vectors");
        let opens = UnwrappingKey::from_der(private.secret_der()).expect("RSA");
        (Profile { name: "p".into(), fields: vec![fields] }, opens)
    })
}

/// Octets as a form: its pairs are it again, what is not encrypted stays octet for octet, and what
/// is says the same once it is opened. And as a message: it is opened or refused.
pub fn forms(data: &[u8]) {
    let whole = |pair: form::Pair<'_>| match pair.value {
        Some(value) => [pair.name, b"=", value].concat(),
        None => pair.name.to_vec(),
    };
    let joined: Vec<Vec<u8>> = form::pairs(data).map(whole).collect();
    assert_eq!(joined.join(&b'&'), data);
    let (profile, key) = sealing();
    let opened = decrypt(key, data);
    assert!(opened.is_none_or(|opened| opened.text.len() < data.len()));
    let Ok((out, count)) = encrypted(profile, Suite::Committed, data) else { return };
    assert_eq!(form::pairs(&out).count(), form::pairs(data).count());
    let mut changed = 0;
    for (before, after) in form::pairs(data).zip(form::pairs(&out)) {
        let name = form::decode(before.name).expect("a name that was read");
        match (profile.find(&name), before.value) {
            (Some(_), Some(value)) => {
                changed += 1;
                let sealed = form::decode(after.value.expect("a value")).expect("our own");
                let message = STANDARD.decode(&sealed).expect("base64");
                let opened = decrypt(key, &message).expect("our own message");
                assert_eq!(Some(opened.text.as_slice()), form::decode(value).as_deref());
                assert_eq!(before.name, after.name);
            }
            _ => assert_eq!(before, after),
        }
    }
    assert_eq!(changed, count);
}

/// What lies on the disk, and what a TLS client says first: whatever is read of it would be written
/// so again.
pub fn records(data: &[u8]) {
    if let Some(header) = Header::decode(data) {
        assert_eq!(Header::decode(&header.encode()), Some(header));
        let (segment, at) = (
            (header.version.0 >> 32) as u32,
            (header.version.0 & u64::from(u32::MAX)) * record::UNIT,
        );
        if let Some(listed) = segment_list::open(data, None, segment, at) {
            assert!(listed.briefs().count() <= data.len());
        }
        assert!(header.octets() >= header.body && header.octets().is_multiple_of(record::UNIT));
    }
    if let Some(stored) = record::decode_meta(data, Content::complete(b"")) {
        let again = record::encode_meta(&stored);
        let read = record::decode_meta(&again, Content::complete(b"")).expect("our own");
        assert_eq!(record::encode_meta(&read), again);
    }
    if let Some(lines) = record::decode_footer(data) {
        assert_eq!(record::encode_footer(&lines), data);
    }
    let _ = (record::footer_len(data), record::decode_table(data, data.len() as u64 / 4));
    if let Some(seen) = fingerprint::of_records(data) {
        assert!(
            seen.ja3.len() == 32 && seen.ja4.len() == 36 && seen.ja4.starts_with('t'),
            "{seen:?}"
        );
    }
}

/// Any text is read as a function's source, or refused at a place that it has; imports are where
/// they are said to be.
pub fn sources(octets: &[u8]) {
    let source = String::from_utf8_lossy(octets);
    let lines = source.split(['\n', '\r', '\u{2028}', '\u{2029}']).count();
    for runtime in [Runtime::Js1, Runtime::Js2] {
        let strict = level::check(&source, runtime, Level::CloudFront);
        let lenient = level::check(&source, runtime, Level::Any);
        for finding in strict.iter().chain(&lenient) {
            assert!((1..=lines).contains(&finding.line) && finding.column > 0, "{finding}");
        }
        // Whatever our engine cannot run, CloudFront's cannot either.
        assert!(lenient.iter().all(|finding| strict.contains(finding)));
    }
    for import in level::imports(&source).into_iter().flatten() {
        let text = &source[import.span];
        assert!(text.starts_with("import") && text.contains(&import.local), "{text}");
        assert!(text.contains(&import.module), "{text}");
    }
}
