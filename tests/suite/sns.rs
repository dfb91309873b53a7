//! Messages as SNS posts them: signed with RSA, in both versions, under a certificate that a host
//! gives out over TLS; told again, by many at once, with addresses elsewhere, and by strangers.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::s3_events::{TOPIC, notification, start_in};
use super::support::Origin;
use super::support::edge::{Edge, certificates};
use super::support::origin::{after, answer, fresh};
use super::support::tool::{self, OPENSSL};
use super::wire::server_config;

const CERTIFICATE: &str = "/SimpleNotificationService-7ff5318490ec183fbaddaa2a969abfda.pem";
const CONFIRMS: &str = "/?Action=ConfirmSubscription&Token=2336412f37";
/// So many messages are posted at once.
const CALLS: usize = 40;

/// What stands for SNS: its host, and the key that it signs with.
struct Sns {
    folder: Arc<tempfile::TempDir>,
    host: Origin,
    key: PathBuf,
    /// Messages so far.
    number: AtomicU64,
}

/// An RSA key, and a certificate for it that signs itself.
fn signer(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
    let (key, certificate) = (folder.join(format!("{name}.key")), folder.join(name));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=sns.amazonaws.com", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(made.success());
    (key, certificate)
}

impl Sns {
    /// Its certificate takes so many milliseconds.
    fn start(takes: u64) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        certificates(folder.path(), &["localhost"]);
        let (key, certificate) = signer(folder.path(), "signer");
        let pem = std::fs::read(certificate).unwrap();
        let tls = server_config(folder.path(), "localhost");
        let host = Origin::start_tls(tls, move |asked| match asked.target.as_str() {
            CERTIFICATE => after(takes, answer(200, "", &pem)),
            CONFIRMS => answer(200, "", b"<ConfirmSubscriptionResponse/>"),
            _ => answer(404, "", b""),
        });
        Self { folder, host, key, number: AtomicU64::new(0) }
    }

    fn at(&self, target: &str) -> String {
        format!("https://localhost:{}{target}", self.host.address.port())
    }

    /// An edge that takes messages of the topic; more settings may follow.
    fn edge(&self, origin: &Origin, more: &str) -> Edge {
        let port = self.host.address.port();
        let events = format!(
            "[events.s3.sns]\ntopics = [{TOPIC:?}]\n\
             hosts = [\"localhost:{port}\", \"sns.*.invalid:{port}\"]\nca = \"tls/ca.pem\"\n{more}"
        );
        start_in(&self.folder, origin.address, &events)
    }

    /// A message of a kind without its signature.
    fn message(&self, kind: &str, message: &str) -> Value {
        let number = self.number.fetch_add(1, Ordering::SeqCst);
        let mut all = json!({
            "Type": kind, "MessageId": format!("22b80b92-fdea-4c2c-8f9d-{number:012}"),
            "TopicArn": TOPIC, "Message": message, "Timestamp": "2026-11-25T08:00:00.000Z",
            "SigningCertURL": self.at(CERTIFICATE)
        });
        if kind == "Notification" {
            all["Subject"] = json!("Amazon S3 Notification");
            all["UnsubscribeURL"] = json!(self.at("/?Action=Unsubscribe&SubscriptionArn=a"));
        } else {
            all["Token"] = json!("2336412f37");
            all["SubscribeURL"] = json!(self.at(CONFIRMS));
        }
        all
    }

    /// Of an upload.
    fn upload(&self, key: &str, sequencer: &str) -> Value {
        let told = notification("aws:s3", "ObjectCreated:Put", key, sequencer);
        self.signed(self.message("Notification", &told))
    }

    fn signed(&self, message: Value) -> Value {
        signed_with(&self.key, "2", message)
    }

    /// How often a subscription was confirmed.
    fn confirmed(&self) -> usize {
        self.host.seen().iter().filter(|asked| asked.target == CONFIRMS).count()
    }
}

/// A message with the signature of a version.
fn signed_with(key: &Path, version: &str, mut message: Value) -> Value {
    let names = [
        "Message",
        "MessageId",
        "SubscribeURL",
        "Subject",
        "Timestamp",
        "Token",
        "TopicArn",
        "Type",
    ];
    let lines = names.iter().filter_map(|name| {
        let value = message.get(*name)?.as_str()?;
        Some(format!("{name}\n{value}\n"))
    });
    let text: String = lines.collect();
    let digest = if version == "1" { "-sha1" } else { "-sha256" };
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let made = Command::new("openssl")
        .args(["dgst", digest, "-sign"])
        .arg(key)
        .arg(file.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    message["Signature"] = json!(STANDARD.encode(made.stdout));
    message["SignatureVersion"] = json!(version);
    message
}

fn post(edge: &Edge, message: &Value) -> (u16, String) {
    let word = |name: &str| message[name].as_str().unwrap_or_default();
    let fields = format!(
        "x-amz-sns-message-type: {}\r\nx-amz-sns-message-id: {}\r\nx-amz-sns-topic-arn: {}\r\n\
         Content-Type: text/plain; charset=UTF-8\r\n\
         User-Agent: Amazon Simple Notification Service Agent\r\n",
        word("Type"),
        word("MessageId"),
        word("TopicArn")
    );
    edge.admin_with("POST", "/v1/events/s3", &message.to_string(), &fields)
}

fn taken(edge: &Edge, message: &Value) -> Value {
    let (status, said) = post(edge, message);
    assert_eq!(status, 200, "{said}");
    serde_json::from_str(&said).unwrap()
}

/// Posts what is refused, and finds that it had no effect.
fn refused(edge: &Edge, message: &Value, status: u16, word: &str) {
    edge.get("/a");
    let (found, said) = post(edge, message);
    assert!(found == status && said.contains(word), "{found} {said}");
    assert_eq!(edge.get("/a").cache(), "Hit", "{said}");
}

#[test]
fn signatures_of_both_versions_are_checked() {
    if !tool::have(&[OPENSSL]) {
        return;
    }
    let sns = Sns::start(0);
    let origin = Origin::start(|_| fresh(b"x"));
    let edge = sns.edge(&origin, "");
    let (stranger, _) = signer(sns.folder.path(), "stranger");
    let upload = |sequencer: &str| {
        sns.message("Notification", &notification("aws:s3", "ObjectCreated:Put", "a", sequencer))
    };
    for (version, sequencer) in [("1", "1"), ("2", "2")] {
        let good = signed_with(&sns.key, version, upload(sequencer));
        for (name, other) in [
            ("Message", json!(notification("aws:s3", "ObjectCreated:Put", "a", "99"))),
            ("Timestamp", json!("2026-11-25T08:00:01.000Z")),
            ("SignatureVersion", json!(if version == "1" { "2" } else { "1" })),
            ("Signature", json!("AAAA")),
        ] {
            let mut bent = good.clone();
            bent[name] = other;
            refused(&edge, &bent, 403, "another's");
        }
        let forged = signed_with(&stranger, version, upload(sequencer));
        refused(&edge, &forged, 403, "another's");
        edge.get("/a");
        assert_eq!(taken(&edge, &good)["events"], 1);
        assert_eq!(edge.get("/a").cache(), "Miss", "version {version}");
    }
    assert_eq!(sns.host.count(), 1, "the certificate is kept");
}

// SNS repeats what it has no answer to, and S3 what SNS has told: the second time is harmless, also
// where it is a stranger who repeats it.
#[test]
fn what_is_told_again_changes_nothing() {
    if !tool::have(&[OPENSSL]) {
        return;
    }
    let sns = Sns::start(0);
    let origin = Origin::start(|_| fresh(b"x"));
    let edge = sns.edge(&origin, "");
    let first = sns.upload("a", "0055AED6DCD90281E5");
    edge.get("/a");
    assert_eq!(taken(&edge, &first)["invalidations"].as_array().map(Vec::len), Some(1));
    assert_eq!(edge.get("/a").cache(), "Miss");
    // The same message, and another one about the same event.
    for again in [first.clone(), sns.upload("a", "0055AED6DCD90281E5")] {
        let said = taken(&edge, &again);
        assert_eq!(said["repeated"], 1, "{said}");
        assert!(said["invalidations"].is_null(), "{said}");
        assert_eq!(edge.get("/a").cache(), "Hit");
    }
    assert_eq!(edge.metric("foreshore_s3_events_repeated_total") as u64, 2);
    taken(&edge, &sns.upload("a", "0055AED6DCD90281E6"));
    assert_eq!(edge.get("/a").cache(), "Miss");
}

// All of them wait for one certificate, and what waits together is written down together.
#[test]
fn a_burst_is_folded_and_fetches_one_certificate() {
    if !tool::have(&[OPENSSL]) {
        return;
    }
    let sns = Sns::start(300);
    let origin = Origin::start(|_| fresh(b"x"));
    let edge = sns.edge(&origin, "");
    let messages: Vec<Value> =
        (0..CALLS).map(|call| sns.upload(&format!("b{call}"), "7")).collect();
    for call in 0..CALLS {
        edge.get(&format!("/b{call}"));
    }
    std::thread::scope(|scope| {
        let edge = &edge;
        for message in &messages {
            scope.spawn(move || {
                let said = taken(edge, message);
                assert_eq!(said["status"], "Completed", "{said}");
            });
        }
    });
    let made = edge.metric("foreshore_s3_events_invalidations_total");
    assert!((1.0..CALLS as f64).contains(&made), "{made} invalidations of {CALLS} calls");
    assert_eq!(edge.metric("foreshore_s3_events_total") as usize, CALLS);
    assert_eq!(sns.host.count(), 1);
    for call in 0..CALLS {
        assert_eq!(edge.get(&format!("/b{call}")).cache(), "Miss", "{call}");
    }
}

#[test]
fn certificates_are_fetched_where_the_pattern_says() {
    if !tool::have(&[OPENSSL]) {
        return;
    }
    let sns = Sns::start(0);
    let origin = Origin::start(|_| fresh(b"x"));
    let edge = sns.edge(&origin, "");
    let port = sns.host.address.port();
    for (address, status, word) in [
        // In the pattern; that no such host is there is another matter, and may pass.
        (format!("https://sns.eu-central-1.invalid:{port}/a.pem"), 503, ""),
        (format!("https://sns.shop.invalid:{port}/a.pem"), 403, "events.s3.sns.hosts"),
        (format!("https://sns.s3-us-west-2.invalid:{port}/a.pem"), 403, "events.s3.sns.hosts"),
        (format!("https://x.eu-central-1.invalid:{port}/a.pem"), 403, "events.s3.sns.hosts"),
        (format!("https://sns.eu-central-1.invalid.test:{port}/a.pem"), 403, "sns.hosts"),
        ("https://sns.eu-central-1.invalid/a.pem".into(), 403, "events.s3.sns.hosts"),
        (format!("https://127.0.0.1:{port}{CERTIFICATE}"), 403, "events.s3.sns.hosts"),
        (format!("http://localhost:{port}{CERTIFICATE}"), 403, "no https URL"),
        (format!("https://a@localhost:{port}{CERTIFICATE}"), 403, "no https URL"),
        (sns.at("/?Action=GetTopicAttributes&x=a.pem"), 403, "something else"),
    ] {
        let mut message = sns.upload("a", "1");
        message["SigningCertURL"] = json!(address);
        refused(&edge, &message, status, word);
    }
    assert_eq!(sns.host.count(), 0, "none of these was asked for");
    assert_eq!(taken(&edge, &sns.upload("a", "1"))["events"], 1);
}

#[test]
fn a_question_is_answered_where_that_is_set_and_it_is_signed() {
    if !tool::have(&[OPENSSL]) {
        return;
    }
    for (more, wanted) in [("", 0), ("subscriptions = \"confirm\"\n", 1)] {
        let sns = Sns::start(0);
        let origin = Origin::start(|_| fresh(b"x"));
        let edge = sns.edge(&origin, more);
        let question = || sns.message("SubscriptionConfirmation", "You have chosen to subscribe.");
        let mut forged = sns.signed(question());
        forged["Token"] = json!("another");
        refused(&edge, &forged, 403, "another's");
        let mut elsewhere = question();
        elsewhere["SubscribeURL"] = json!("https://evil.invalid/?Action=ConfirmSubscription");
        let (status, said) = post(&edge, &sns.signed(elsewhere));
        assert_eq!(status, if wanted == 0 { 200 } else { 403 }, "{said}");
        assert_eq!(sns.confirmed(), 0);
        let said = taken(&edge, &sns.signed(question()));
        assert_eq!(said["note"], if wanted == 0 { "not confirmed" } else { "confirmed" });
        assert_eq!(sns.confirmed(), wanted);
        let farewell = sns.message("UnsubscribeConfirmation", "You have chosen to leave.");
        assert_eq!(taken(&edge, &sns.signed(farewell))["note"], "unsubscribed");
        assert_eq!(sns.confirmed(), wanted, "it is not asked to come back");
    }
}
