//! Field-level encryption over the wire: what an origin gets of a form, what is refused, what the
//! logs say of it, and that the AWS Encryption SDK opens it.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use foreshore::crypto::envelope::{UnwrappingKey, decrypt};
#[cfg(feature = "http3")]
use foreshore::listen::h3::frame::kind;
use foreshore::message::encryption::EncryptionStatus;
use foreshore::semantics::form;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

use super::support::edge::{certificates, command, plain};
use super::support::frames::{
    DATA, END_HEADERS, END_STREAM, Frames, HEADERS, block, fields, frame,
};
#[cfg(feature = "http3")]
use super::support::quic::{self, Quic};
use super::support::tool::{self, Tool};
use super::support::{Edge, eventually};

pub const KIND: &str = form::MEDIA_TYPE;

fn vector(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name)
}

// An origin that tells head and body of what it is sent, by Content-Length.
pub fn origin() -> (SocketAddr, mpsc::Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for came in listener.incoming() {
            let (mut tcp, mut read) = (came.unwrap(), Vec::new());
            let mut octet = [0];
            while !read.ends_with(b"\r\n\r\n") && tcp.read(&mut octet).unwrap_or(0) == 1 {
                read.push(octet[0]);
            }
            let head = String::from_utf8_lossy(&read).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let mut body = vec![0; length.map_or(0, |text| text.trim().parse().unwrap())];
            if tcp.read_exact(&mut body).is_ok() {
                let _ = tell.send((head, body));
                let said = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                let _ = tcp.write_all(said);
            }
        }
    });
    (address, told)
}

pub fn came(told: &mpsc::Receiver<(String, Vec<u8>)>) -> (String, Vec<u8>) {
    told.recv_timeout(Duration::from_secs(20)).expect("a form at the origin")
}

/// What a test's edge does with requests that no profile is for, and by which suite it encrypts.
#[derive(Clone, Copy)]
pub struct Chosen {
    unknown: &'static str,
    suite: &'static str,
    /// The profile of forms that name none.
    profile: &'static str,
}

pub const STRICT: Chosen =
    Chosen { unknown: "refuse", suite: "committed", profile: "profile = \"cards\"" };
const OPEN: Chosen = Chosen { unknown: "forward", ..STRICT };

pub fn settings(chosen: Chosen) -> String {
    let Chosen { unknown, suite, profile } = chosen;
    let public = vector("rsa2048-public.pem");
    format!(
        "realtime = {{ file = \"rt.log\", fields = [\"sc-status\", \"fle-encrypted-fields\", \"fle-status\"] }}\n\
         [[public_key]]\nid = \"K1\"\nname = \"DEMOKEY\"\nfile = {public:?}\n\
         [[field_encryption_profile.cards.fields]]\nprovider = \"DEMO\"\nkey = \"K1\"\npatterns = [\"card*\", \"cvc\"]\n\
         [field_encryption.checkout]\nsuite = \"{suite}\"\nunknown_type = \"{unknown}\"\nunknown_profile = \"{unknown}\"\n\
         profiles = {{ express = \"cards\" }}\n{profile}\n"
    )
}

pub const BEHAVIOR: &str =
    "methods = \"all\"\nfield_encryption = \"checkout\"\norigin_request_policy = \"AllViewer\"\n";

fn edge(origin: SocketAddr, chosen: Chosen) -> Edge {
    // An origin in Python takes its time, and more of it on a machine that is busy.
    let text = plain(origin, &settings(chosen)).replace("response = \"3s\"", "response = \"30s\"");
    Edge::start(&(text + BEHAVIOR))
}

fn post(edge: &Edge, target: &str, kind: &str, body: &[u8]) -> u16 {
    let mut viewer = edge.viewer();
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: h.test\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    viewer.send(&[head.as_bytes(), body].concat());
    viewer.read("POST").unwrap().status
}

fn private_key() -> UnwrappingKey {
    let pem = std::fs::read(vector("rsa2048-TEST-ONLY-private.pem")).unwrap();
    let der = PrivateKeyDer::from_pem_slice(&pem).unwrap();
    UnwrappingKey::from_der(der.secret_der()).unwrap()
}

// The form as it was before, with what was sealed opened; what stands in it otherwise stays.
pub fn opened(form: &[u8]) -> String {
    let key = private_key();
    let said: Vec<Vec<u8>> = form::pairs(form)
        .map(|pair| {
            let Some(value) = pair.value else { return pair.name.to_vec() };
            let text = form::decode(value).unwrap();
            let opened = STANDARD.decode(&text).ok().and_then(|octets| decrypt(&key, &octets));
            let value = opened.map_or_else(|| value.to_vec(), |opened| opened.text);
            [pair.name, b"=", &value].concat()
        })
        .collect();
    String::from_utf8(said.join(&b'&')).unwrap()
}

// Lines of the log, once so many are there: status, word, number of fields.
fn log(edge: &Edge, lines: usize) -> Vec<Vec<String>> {
    let path = edge.path().join("rt.log");
    let read = || std::fs::read_to_string(&path).unwrap_or_default();
    eventually("the log has its lines", || read().matches('\n').count() >= lines);
    // The file has CloudFront's order: the number goes before the word.
    let line = |line: &str| {
        let mut parts: Vec<String> = line.split('\t').map(String::from).collect();
        parts.swap(1, 2);
        parts
    };
    read().lines().map(line).collect()
}

#[test]
fn an_origin_gets_secrets_that_only_the_key_opens() {
    let (address, told) = origin();
    for suite in ["committed", "cloudfront"] {
        let edge = edge(address, Chosen { suite, ..STRICT });
        let body = b"a=%41+b&card%2Dno=4111+1111%2b&=&flag&&cvc=99999999";
        assert_eq!(post(&edge, "/pay", KIND, body), 200);
        let (_, form) = came(&told);
        assert_eq!(opened(&form), "a=%41+b&card%2Dno=4111 1111+&=&flag&&cvc=99999999");
        for secret in [&b"4111+1111"[..], b"4111 1111", b"99999999"] {
            assert!(!form.windows(secret.len()).any(|octets| octets == secret), "{suite}");
        }
        assert_eq!(log(&edge, 1)[0][..3], ["200", "Processed", "2"], "{suite}");
        assert_eq!(edge.metric("foreshore_forms_encrypted_total"), 1.0);
    }
}

// An edge with HTTPS, and the CA that viewers are to trust.
fn secure(origin: SocketAddr, listen: &str) -> (Edge, PathBuf) {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let (ca, chain, key) = certificates(folder.path(), &["h.test"]);
    let certificate = format!("[[certificate]]\nchain = {chain:?}\nkey = {key:?}\n");
    let spoken = format!("[listen]\nhttps = [\"127.0.0.1:0\"]\n{listen}");
    let text = plain(origin, &(settings(STRICT) + &certificate)).replace("[listen]\n", &spoken);
    std::fs::write(folder.path().join("edge.toml"), text + BEHAVIOR).unwrap();
    (Edge::start_in(folder), ca)
}

// In chunks, behind Expect, over HTTP/2: the origin gets one body of a known length.
#[test]
fn forms_are_encrypted_however_they_come() {
    let (address, told) = origin();
    let (edge, ca) = secure(address, "");

    let mut viewer = edge.viewer();
    let head = format!(
        "POST /pay HTTP/1.1\r\nHost: h.test\r\nContent-Type: {KIND}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    viewer.send(head.as_bytes());
    for piece in ["4\r\na=1&\r\n", "6\r\ncvc=99\r\n", "1\r\n9\r\n", "0\r\n\r\n"] {
        viewer.send(piece.as_bytes());
    }
    assert_eq!(viewer.read("POST").unwrap().status, 200);
    let (head, form) = came(&told);
    assert_eq!(opened(&form), "a=1&cvc=999");
    assert!(!head.contains("transfer-encoding"), "{head}");

    let mut tcp = TcpStream::connect(edge.http).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head = format!(
        "POST /pay HTTP/1.1\r\nHost: h.test\r\nContent-Type: {KIND}\r\nContent-Length: 7\r\nExpect: 100-continue\r\n\r\n"
    );
    tcp.write_all(head.as_bytes()).unwrap();
    let mut answers = BufReader::new(tcp.try_clone().unwrap()).lines();
    assert_eq!(answers.next().unwrap().unwrap(), "HTTP/1.1 100 Continue");
    tcp.write_all(b"cvc=998").unwrap();
    assert_eq!(opened(&came(&told).1), "cvc=998");
    assert!(answers.any(|line| line.unwrap().starts_with("HTTP/1.1 200")));

    let mut frames = Frames::connect(edge.https.unwrap(), &ca, &[]);
    let head = block(&fields("POST", "/pay", &[("content-type", KIND)]));
    let both = [frame(HEADERS, END_HEADERS, 1, &head), frame(DATA, END_STREAM, 1, b"cvc=997")];
    frames.send(&both.concat());
    assert_eq!(frames.answer(1).statuses(), ["200"]);
    assert_eq!(opened(&came(&told).1), "cvc=997");
}

// Over HTTP/3: in pieces, and with and without a length that is said.
#[cfg(feature = "http3")]
#[test]
fn forms_that_come_over_http3_are_encrypted() {
    let (address, told) = origin();
    let (edge, ca) = secure(address, "http3 = true\n");
    let mut viewer = Quic::begin(edge.https.unwrap(), &ca);
    for (said, pieces) in [
        (&[("content-type", KIND)][..], &["a=%41&cv", "c=99", "8&b"][..]),
        (&[("content-type", KIND), ("content-length", "15")][..], &["a=%41&cvc=998&b"][..]),
    ] {
        let head = quic::headers(&quic::fields("POST", "/pay", said));
        let id = viewer.request(&head, false);
        for piece in pieces {
            viewer.say(id, &quic::framed(kind::DATA, piece.as_bytes()), false);
        }
        viewer.say(id, &[], true);
        assert_eq!(viewer.answer(id).status(), "200");
        let (head, form) = came(&told);
        assert_eq!(opened(&form), "a=%41&cvc=998&b");
        assert!(!form.windows(7).any(|octets| octets == b"cvc=998"), "{head}");
        assert!(!head.contains("transfer-encoding"), "{head}");
    }
    for body in ["cvc=%", "a=1&a=1&a=1&a=1&a=1&a=1&a=1&a=1&a=1&a=1&cvc=1"] {
        let head = quic::headers(&quic::fields("POST", "/pay", &[("content-type", KIND)]));
        let all = [head, quic::framed(kind::DATA, body.as_bytes())].concat();
        let id = viewer.request(&all, true);
        assert_eq!(viewer.answer(id).status(), "400");
    }
    assert!(told.try_recv().is_err(), "what is refused reaches no origin");
    let words: Vec<String> = log(&edge, 4).into_iter().map(|line| line[1].clone()).collect();
    let refused = ["MalformedInputClientError", "FieldNumberLimitClientError"];
    assert_eq!(words, [["Processed"; 2], refused].concat());
}

// Each word of the log but ServerError, which is for want of randomness (`forms_failure`).
#[test]
fn a_form_that_is_not_encrypted_is_refused_or_forwarded() {
    let (address, told) = origin();
    let strict = edge(address, STRICT);
    let open = edge(address, OPEN);
    let none = edge(address, Chosen { profile: "", ..STRICT });
    let many = "cvc=1&".repeat(11);
    let long = format!("cvc={}", "1".repeat((16 << 10) + 1));
    let longest = format!("a={}", "1".repeat(1 << 20));
    let mut words = BTreeSet::new();
    let mut lines = [0; 3];
    for (at, target, kind, body, status, word) in [
        (0, "/", KIND, "cvc=1", 200, "Processed"),
        (0, "/?fle-profile=express", KIND, "cvc=1", 200, "Processed"),
        (2, "/", KIND, "cvc=1", 200, "ForwardedDueToNoProfile"),
        (2, "/?fle-profile=express", KIND, "cvc=1", 200, "Processed"),
        (0, "/", "application/json", "{}", 400, "RejectedByContentType"),
        (1, "/", "application/json", "{}", 200, "ForwardedByContentType"),
        (0, "/?fle-profile=x", KIND, "cvc=1", 400, "RejectedByQueryArgs"),
        (1, "/?fle-profile=x", KIND, "cvc=1", 200, "ForwardedByQueryArgs"),
        (1, "/?fle-profile=", KIND, "cvc=1", 400, "MalformedQueryArgsClientError"),
        (1, "/", "form", "cvc=1", 400, "MalformedContentTypeClientError"),
        (1, "/", KIND, "cvc=%", 400, "MalformedInputClientError"),
        (1, "/", KIND, many.as_str(), 400, "FieldNumberLimitClientError"),
        (1, "/", KIND, long.as_str(), 400, "FieldLengthLimitClientError"),
        (1, "/", KIND, longest.as_str(), 400, "RequestLengthLimitClientError"),
    ] {
        let edge = [&strict, &open, &none][at];
        assert_eq!(post(edge, target, kind, body.as_bytes()), status, "{target} {kind} {word}");
        assert_eq!(told.try_recv().is_ok(), status == 200, "{target} {kind} {word}");
        lines[at] += 1;
        let line = log(edge, lines[at]).pop().unwrap();
        let fields = if word == "Processed" { "1" } else { "0" };
        assert_eq!(line[..3], [status.to_string().as_str(), word, fields]);
        words.insert(word);
    }
    let all: BTreeSet<&str> = EncryptionStatus::ALL.map(EncryptionStatus::word).into();
    let missing: Vec<&&str> = all.difference(&words).collect();
    assert_eq!(missing, [&"ServerError"]);
    // A request without a body has no form.
    assert_eq!(strict.get("/").status, 200);
    lines[0] += 1;
    assert_eq!(log(&strict, lines[0]).pop().unwrap()[1..3], ["-", "-"]);
}

// Whatever is below a folder, with what stands in the files.
fn files(folder: &Path, all: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            files(&entry.path(), all);
        } else if let Ok(octets) = std::fs::read(entry.path()) {
            all.push((entry.path(), octets));
        }
    }
}

#[test]
fn the_plain_text_is_in_no_log_file_or_answer() {
    const SECRET: &str = "4929123456789012";
    let (address, told) = origin();
    let more = format!("standard = {{ folder = \"standard\" }}\n{}", settings(STRICT));
    let more = more + "[store.disk]\nsize = \"64MiB\"\n";
    let mut edge = Edge::before_with(address, &more, BEHAVIOR);
    let mut answers = Vec::new();
    for body in [
        format!("card={SECRET}"),
        // Refused, each at another place.
        format!("card={SECRET}&cvc=%"),
        format!("{}card={SECRET}", "a=1&".repeat(11)),
        format!("card={SECRET}{}", "1".repeat(16 << 10)),
    ] {
        let mut viewer = edge.viewer();
        let head = format!(
            "POST /pay HTTP/1.1\r\nHost: h.test\r\nContent-Type: {KIND}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        viewer.send(&[head.as_bytes(), body.as_bytes()].concat());
        let seen = viewer.read("POST").unwrap();
        answers.extend([seen.head.clone(), seen.text()]);
    }
    answers.push(edge.admin("GET", "/metrics", "").1);
    answers.push(edge.admin("GET", "/v1/status", "").1);
    let (_, explained, _) = command(
        edge.path(),
        &[
            "explain",
            "--config",
            "edge.toml",
            "-X",
            "POST",
            "-H",
            &format!("Content-Type: {KIND}"),
            "http://h.test/pay",
        ],
    );
    assert!(
        explained.contains("card*, cvc encrypted by profile \"cards\", suite 0x0478"),
        "{explained}"
    );
    answers.push(explained);
    log(&edge, 4);
    edge.signal(rustix::process::Signal::TERM);
    assert!(edge.wait());
    answers.push(edge.log());
    for answer in &answers {
        assert!(!answer.contains(SECRET), "{answer}");
    }
    let (_, form) = came(&told);
    assert!(!String::from_utf8_lossy(&form).contains(SECRET));
    assert!(told.try_recv().is_err(), "what is refused reaches no origin");
    let (mut all, mut logged) = (Vec::new(), false);
    files(edge.path(), &mut all);
    assert!(all.len() > 3, "{all:?}");
    for (path, octets) in all {
        let mut text = octets;
        if path.extension().is_some_and(|end| end == "gz") {
            let packed = std::mem::take(&mut text);
            flate2::read::MultiGzDecoder::new(&packed[..]).read_to_end(&mut text).unwrap();
            logged |= String::from_utf8_lossy(&text).contains("\tProcessed\t1\t");
        }
        let found = text.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
        assert!(!found, "{} has the plain text", path.display());
    }
    assert!(logged, "the standard log says what became of the form");
}

/// Python's own origin, on the AWS Encryption SDK.
struct Reader {
    server: Child,
    address: SocketAddr,
}

impl Reader {
    fn start() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut server = Command::new(tool::folder().join("python/bin/python"))
            .arg(root.join("tests/aws/fields.py"))
            .arg(vector("rsa2048-TEST-ONLY-private.pem"))
            .args(["DEMO", "DEMOKEY"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("tests/install was run");
        let mut line = String::new();
        BufReader::new(server.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let told: serde_json::Value = serde_json::from_str(&line).unwrap();
        let port = u16::try_from(told["port"].as_u64().unwrap()).unwrap();
        Self { server, address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }

    fn end(mut self) {
        drop(self.server.stdin.take());
        assert!(self.server.wait().unwrap().success());
    }
}

#[test]
fn the_encryption_sdk_opens_what_an_origin_gets() {
    if !tool::have(&[Tool::Module("aws_encryption_sdk")]) {
        return;
    }
    let reader = Reader::start();
    for (suite, by_default) in [("committed", true), ("cloudfront", false)] {
        let edge = edge(reader.address, Chosen { suite, ..STRICT });
        let long = "x".repeat(16 << 10);
        for (said, text) in [
            ("4111+1111%2B", "4111 1111+"),
            ("", ""),
            ("%C3%A9", "\u{e9}"),
            (long.as_str(), long.as_str()),
        ] {
            let body = format!("name=Ann&card={said}&cvc=999");
            let mut viewer = edge.viewer();
            let head = format!(
                "POST /pay HTTP/1.1\r\nHost: h.test\r\nContent-Type: {KIND}\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            viewer.send(&[head.as_bytes(), body.as_bytes()].concat());
            let seen = viewer.read("POST").unwrap();
            let told: serde_json::Value = serde_json::from_slice(&seen.body).unwrap();
            let card = &told["fields"]["card"];
            assert_eq!(card["forbid"], text, "{suite}: under FORBID_ENCRYPT_ALLOW_DECRYPT");
            let usual = by_default.then_some(text);
            assert_eq!(card["usual"].as_str(), usual, "{suite}: under the SDK's defaults");
            assert_eq!(told["fields"]["cvc"]["forbid"], "999", "{suite}");
            for other in ["other_provider", "other_name"] {
                assert!(card[other].is_null(), "{suite}: {other} opens it");
            }
            assert!(told["body"].as_str().unwrap().starts_with("name=Ann&card="), "{told}");
        }
    }
    reader.end();
}

// `config/field-encryption.toml` as its first lines say, and the command that opens a field.
#[test]
fn the_example_gives_fields_that_its_key_opens() {
    let (address, told) = origin();
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let text = std::fs::read_to_string(config.join("field-encryption.toml")).unwrap();
    let text = text
        .replace("127.0.0.1:8080", "127.0.0.1:0")
        .replace("127.0.0.1:3000", &address.to_string())
        .replace("[listen]", "[admin]\nlisten = \"127.0.0.1:0\"\n\n[listen]");
    std::fs::write(folder.path().join("edge.toml"), format!("data = \"data\"\n{text}")).unwrap();
    for name in ["example-fields.pem", "example-fields-private.pem"] {
        std::fs::copy(config.join(name), folder.path().join(name)).unwrap();
    }
    let edge = Edge::start_in(folder);
    assert_eq!(post(&edge, "/pay", KIND, b"name=Ann&card=4111"), 200);
    let (_, form) = came(&told);
    let field = form::pairs(&form).find(|pair| pair.name == b"card").unwrap().value.unwrap();
    for (key, opens) in [
        (edge.path().join("example-fields-private.pem"), true),
        (vector("rsa2048-TEST-ONLY-private.pem"), false),
    ] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_foreshore"))
            .args(["fle", "decrypt", "--key"])
            .arg(key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(field).unwrap();
        let out = child.wait_with_output().unwrap();
        let (said, told) = (
            String::from_utf8_lossy(&out.stdout).into_owned(),
            String::from_utf8_lossy(&out.stderr).into_owned(),
        );
        assert_eq!(out.status.success(), opens, "{told}");
        if opens {
            assert_eq!(
                (said.as_str(), told.as_str()),
                ("4111\n", "provider \"shop\", key \"cards\"\n")
            );
        } else {
            assert!(said.is_empty() && told.contains("no message for this key"), "{told}");
        }
    }
}
