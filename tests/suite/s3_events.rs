//! What buckets tell of changed objects, as S3, MinIO, Ceph, EventBridge and SNS put it, and what an
//! edge makes of it; and writes that are in effect everywhere before they are answered.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use foreshore::crypto::key::PrivateKey;
use serde_json::{Value, json};

use super::support::edge::{Edge, certificates, plain};
use super::support::eventually;
use super::support::fleet::{EDGES, Fleet};
use super::support::origin::{answer, fresh};
use super::support::viewer::{Seen, request};
use super::support::{Origin, Viewer};
use super::wire::server_config;

const TOKEN: &str = "told-by-the-bucket";
pub(super) const TOPIC: &str = "arn:aws:sns:eu-central-1:123456789012:uploads";

/// One record of a notification, as S3 writes it.
fn record(source: &str, name: &str, key: &str, sequencer: &str) -> Value {
    json!({
        "eventVersion": "2.1", "eventSource": source, "awsRegion": "eu-central-1",
        "eventTime": "2026-11-25T08:00:00.000Z", "eventName": name,
        "userIdentity": { "principalId": "AIDAJDPLRKLG7UEXAMPLE" },
        "requestParameters": { "sourceIPAddress": "192.0.2.7" },
        "responseElements": { "x-amz-request-id": "C3D13FE58DE4C810", "x-amz-id-2": "FMyUVURIY8" },
        "s3": {
            "s3SchemaVersion": "1.0", "configurationId": "cdn",
            "bucket": { "name": "shop", "ownerIdentity": { "principalId": "A3NL1KOZZKExample" }, "arn": "arn:aws:s3:::shop" },
            "object": { "key": key, "size": 1024, "eTag": "d41d8cd98f00b204e9800998ecf8427e", "sequencer": sequencer }
        }
    })
}

pub(super) fn notification(source: &str, name: &str, key: &str, sequencer: &str) -> String {
    json!({ "Records": [record(source, name, key, sequencer)] }).to_string()
}

/// An edge before the bucket `shop`, with a token for events.
fn edge_with(origin: SocketAddr, events: &str) -> Edge {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    start_in(&folder, origin, events)
}

/// The same in a folder that has more.
pub(super) fn start_in(folder: &Arc<tempfile::TempDir>, origin: SocketAddr, events: &str) -> Edge {
    std::fs::write(folder.path().join("events-token"), TOKEN).unwrap();
    let more = format!("[events.s3]\ntoken = {{ file = \"events-token\" }}\n{events}");
    let text = plain(origin, &more).replace("timeouts = {", "bucket = \"shop\"\ntimeouts = {");
    std::fs::write(folder.path().join("edge.toml"), text).unwrap();
    Edge::start_in(Arc::clone(folder))
}

fn bearer() -> String {
    format!("Authorization: Bearer {TOKEN}\r\n")
}

fn told(edge: &Edge, body: &str) -> Value {
    let (status, said) = edge.admin_with("POST", "/v1/events/s3", body, &bearer());
    assert_eq!(status, 200, "{said}");
    serde_json::from_str(&said).unwrap()
}

// The admin token is let in there, too, and is not to be guessed by way of it.
#[test]
fn who_guesses_the_admin_token_at_events_waits_and_who_has_their_own_does_not() {
    let origin = Origin::start(|asked| fresh(asked.target.as_bytes()));
    let edge = edge_with(origin.address, "");
    let event = notification("aws:s3", "ObjectCreated:Put", "a", "01");
    let tell = |shown: &str| {
        edge.admin_with("POST", "/v1/events/s3", &event, &format!("Authorization: {shown}\r\n"))
    };
    let password = |token: &str| format!("Basic {}", STANDARD.encode(format!("sender:{token}")));
    let wrong = ["Bearer wrong".to_string(), password("wrong")];
    for at in 0..20 {
        let (status, said) = tell(&wrong[at % 2]);
        assert_eq!(status, 401, "{at} {said}");
    }
    for shown in &wrong {
        let (status, said) = tell(shown);
        assert!(status == 429 && said.contains("too many wrong tokens"), "{status} {said}");
    }
    assert_eq!(tell("Digest wrong").0, 401, "neither a bearer token nor a password");
    for shown in [format!("Bearer {TOKEN}"), password(TOKEN), password(&edge.token())] {
        let (status, said) = tell(&shown);
        assert_eq!(status, 200, "{said}");
    }
    // A sender that is wrong keeps nobody out elsewhere.
    let (status, said) =
        edge.admin_with("GET", "/v1/status", "", "Authorization: Bearer wrong\r\n");
    assert_eq!(status, 401, "{said}");
    assert_eq!(edge.metric("foreshore_wrong_bearers_total") as u64, 1);
}

#[test]
fn each_senders_event_makes_exactly_its_path_old() {
    let origin = Origin::start(|asked| fresh(asked.target.as_bytes()));
    let edge = edge_with(origin.address, "");
    let bridged = json!({
        "version": "0", "id": "17793124-05d4-b198-2fde-7ededc63b103", "detail-type": "Object Created",
        "source": "aws.s3", "account": "123456789012", "time": "2026-11-25T08:00:00Z",
        "region": "eu-central-1", "resources": ["arn:aws:s3:::shop"],
        "detail": { "version": "0", "bucket": { "name": "shop" },
                    "object": { "key": "e+b.png", "size": 5, "etag": "b1946ac92492d2347c6235b4d2611184", "sequencer": "00617F08299329D189" },
                    "request-id": "N4N7GDK58NMKJ12R", "requester": "123456789012", "reason": "PutObject" }
    });
    let minio = json!({
        "EventName": "s3:ObjectCreated:Put", "Key": "shop/m/a b.png",
        "Records": [record("minio:s3", "s3:ObjectCreated:Put", "m%2Fa+b.png", "15F1B2C3")]
    });
    let put = "ObjectCreated:Put";
    for (sender, body, paths) in [
        (
            "S3",
            notification("aws:s3", put, "img/caf%C3%A9+au+lait.png", "01"),
            &["/img/caf%C3%A9%20au%20lait.png", "/img/caf%c3%a9+au+lait.png"][..],
        ),
        (
            "S3, of a removal",
            notification("aws:s3", "ObjectRemoved:Delete", "gone", "02"),
            &["/gone", "/gone?v=1"],
        ),
        (
            "S3, of a folder's page",
            notification("aws:s3", put, "blog/index.html", "03"),
            &["/blog/", "/blog/index.html"],
        ),
        ("MinIO", minio.to_string(), &["/m/a%20b.png"]),
        ("Ceph", notification("ceph:s3", put, "c/a+b.png", "04"), &["/c/a+b.png", "/c/a%2Bb.png"]),
        ("EventBridge", bridged.to_string(), &["/e+b.png", "/e%2Bb.png"]),
    ] {
        for path in paths.iter().chain(&["/other", "/img/other"]) {
            edge.get(path);
            assert_eq!(edge.get(path).cache(), "Hit", "{sender} {path}");
        }
        let said = told(&edge, &body);
        assert_eq!(
            (said["events"].as_u64(), said["status"].as_str()),
            (Some(1), Some("Completed")),
            "{sender} {said}"
        );
        let id = said["invalidations"][0]["id"].as_str().unwrap();
        assert_eq!(edge.admin("GET", &format!("/v1/invalidations/{id}"), "").0, 200);
        for path in paths {
            assert_eq!(edge.get(path).cache(), "Miss", "{sender} {path}");
        }
        for path in ["/other", "/img/other"] {
            assert_eq!(edge.get(path).cache(), "Hit", "{sender} {path}");
        }
    }
    assert_eq!(edge.metric("foreshore_s3_events_total") as u64, 6);
    assert!(!edge.log().contains(TOKEN));
}

#[test]
fn repeats_are_harmless_and_bursts_are_folded() {
    let origin = Origin::start(|_| fresh(b"x"));
    let edge = edge_with(origin.address, "");
    let first = notification("aws:s3", "ObjectCreated:Put", "a", "0055AED6DCD90281E5");
    assert_eq!(told(&edge, &first)["invalidations"].as_array().map(Vec::len), Some(1));
    edge.get("/a");
    let again = told(&edge, &first);
    assert_eq!(
        (again["repeated"].as_u64(), again["invalidations"].is_null()),
        (Some(1), true),
        "{again}"
    );
    assert_eq!(edge.get("/a").cache(), "Hit", "what was told of twice is fetched once");
    let newer = notification("aws:s3", "ObjectCreated:Put", "a", "0055AED6DCD90281E6");
    told(&edge, &newer);
    assert_eq!(edge.get("/a").cache(), "Miss");
    // Many keys in one call are one invalidation, and beyond the most items of one they are several.
    let many =
        |from: usize, to: usize| {
            let records: Vec<Value> = (from..to)
            .map(|at| json!({
                "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
                "s3": { "bucket": { "name": "shop" }, "object": { "key": format!("k{at}") } }
            }))
            .collect();
            json!({ "Records": records }).to_string()
        };
    assert_eq!(told(&edge, &many(0, 1000))["invalidations"].as_array().map(Vec::len), Some(1));
    // A path and its queries each.
    assert_eq!(told(&edge, &many(0, 1600))["invalidations"].as_array().map(Vec::len), Some(2));
    for call in 0..40 {
        edge.get(&format!("/b{call}"));
    }
    let before = edge.metric("foreshore_s3_events_invalidations_total");
    std::thread::scope(|scope| {
        for call in 0..40 {
            let (edge, body) =
                (&edge, notification("aws:s3", "ObjectCreated:Put", &format!("b{call}"), "7"));
            scope.spawn(move || told(edge, &body));
        }
    });
    let more = edge.metric("foreshore_s3_events_invalidations_total") - before;
    assert!((1.0..=40.0).contains(&more), "{more}");
    for call in 0..40 {
        assert_eq!(edge.get(&format!("/b{call}")).cache(), "Miss", "{call}");
    }
    assert_eq!(edge.metric("foreshore_s3_events_unmatched_total"), 0.0);
}

#[test]
fn who_may_not_tell_and_what_has_no_shape_is_refused_by_name() {
    let origin = Origin::start(|_| fresh(b"x"));
    let edge = edge_with(origin.address, "");
    let good = notification("aws:s3", "ObjectCreated:Put", "a", "1");
    let call = |body: &str, fields: &str| edge.admin_with("POST", "/v1/events/s3", body, fields);
    let basic = format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("any:{TOKEN}")));
    let admin = format!("Authorization: Bearer {}\r\n", edge.token());
    for (fields, status) in [
        (bearer(), 200),
        (basic, 200),
        (admin, 200),
        (String::new(), 401),
        ("Authorization: Bearer wrong\r\n".into(), 401),
        // Without [events.s3.sns] no signature counts.
        ("x-amz-sns-message-type: Notification\r\n".into(), 401),
    ] {
        assert_eq!(call(&good, &fields).0, status, "{fields}");
    }
    // The token opens no other call.
    assert_eq!(
        edge.admin_with("POST", "/v1/invalidations", r#"{"paths":["/a"]}"#, &bearer()).0,
        401
    );
    for (body, status, word) in [
        ("nonsense", 400, "no JSON"),
        ("[]", 400, "a list"),
        (r#"{"paths":["/a"]}"#, 400, "an object with paths is none of"),
        (r#"{"Records":[{"eventName":"ObjectCreated:Put"}]}"#, 400, "Records[0].s3.bucket.name"),
        (r#"{"detail-type":"EC2 Instance","source":"aws.ec2"}"#, 400, "aws.ec2"),
        (r#"{"Type":"Else","TopicArn":"a","Message":""}"#, 400, "Else"),
    ] {
        let (found, said) = call(body, &bearer());
        assert!(found == status && said.contains(word), "{body}: {found} {said}");
    }
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(256 << 10));
    assert_eq!(call(&long, &bearer()).0, 413);
    let test = r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2026-11-25T08:00:00.000Z","Bucket":"shop","RequestId":"5582815E1AEA5ADF","HostId":"8cLe"}"#;
    assert_eq!(told(&edge, test)["note"], "a test");
    let other = good.replace("\"name\":\"shop\"", "\"name\":\"else\"");
    let said = told(&edge, &other);
    assert_eq!(
        (said["unmatched"].as_u64(), said["invalidations"].is_null()),
        (Some(1), true),
        "{said}"
    );
    let tags = notification("aws:s3", "ObjectTagging:Put", "a", "2");
    assert_eq!(told(&edge, &tags)["passed_over"].as_u64(), Some(1));
}

/// What stands for SNS: it gives out its certificate and is asked for confirmations.
struct Topic {
    host: Origin,
    key: PrivateKey,
    certificate: String,
}

impl Topic {
    fn start(folder: &Path) -> Self {
        let (_, chain, key) = certificates(folder, &["localhost"]);
        let pem = std::fs::read(&chain).unwrap();
        let host = Origin::start_tls(server_config(folder, "localhost"), move |asked| match asked
            .target
            .as_str()
        {
            "/signing.pem" => answer(200, "", &pem),
            "/?Action=ConfirmSubscription&Token=2336412f" => answer(200, "", b"<ok/>"),
            _ => answer(404, "", b""),
        });
        let key = PrivateKey::from_pem(&std::fs::read(key).unwrap()).unwrap();
        let certificate = format!("https://localhost:{}/signing.pem", host.address.port());
        Self { host, key, certificate }
    }

    /// A message with its signature.
    fn message(&self, kind: &str, topic: &str, message: &str) -> Value {
        let question = format!(
            "https://localhost:{}/?Action=ConfirmSubscription&Token=2336412f",
            self.host.address.port()
        );
        let mut all = json!({
            "Type": kind, "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324", "TopicArn": topic,
            "Message": message, "Timestamp": "2026-11-25T08:00:00.000Z",
            "SignatureVersion": "2", "SigningCertURL": self.certificate
        });
        if kind == "Notification" {
            all["Subject"] = json!("Amazon S3 Notification");
        } else {
            all["Token"] = json!("2336412f");
            all["SubscribeURL"] = json!(question);
        }
        let names = [
            "Message",
            "MessageId",
            "Subject",
            "SubscribeURL",
            "Timestamp",
            "Token",
            "TopicArn",
            "Type",
        ];
        let lines = names
            .iter()
            .filter_map(|name| Some(format!("{name}\n{}\n", all.get(*name)?.as_str()?)));
        let text: String = lines.collect();
        all["Signature"] = json!(STANDARD.encode(self.key.sign(text.as_bytes()).unwrap()));
        all
    }
}

fn sns_edge(
    folder: &Arc<tempfile::TempDir>,
    origin: SocketAddr,
    topic: &Topic,
    more: &str,
) -> Edge {
    let port = topic.host.address.port();
    let events = format!(
        "[events.s3.sns]\ntopics = [{TOPIC:?}]\nhosts = [\"localhost:{port}\"]\nca = \"tls/ca.pem\"\n{more}"
    );
    start_in(folder, origin, &events)
}

fn posted(edge: &Edge, message: &Value) -> (u16, String) {
    let fields =
        "x-amz-sns-message-type: Notification\r\nContent-Type: text/plain; charset=UTF-8\r\n";
    edge.admin_with("POST", "/v1/events/s3", &message.to_string(), fields)
}

#[test]
fn a_signature_of_sns_counts_for_the_topics_that_are_named() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let topic = Topic::start(folder.path());
    let origin = Origin::start(|_| fresh(b"x"));
    let edge = sns_edge(&folder, origin.address, &topic, "");
    let event = |sequencer: &str| notification("aws:s3", "ObjectCreated:Put", "a", sequencer);
    edge.get("/a");
    let (status, said) = posted(&edge, &topic.message("Notification", TOPIC, &event("1")));
    assert_eq!(status, 200, "{said}");
    assert_eq!(edge.get("/a").cache(), "Miss");
    posted(&edge, &topic.message("Notification", TOPIC, &event("2")));
    assert_eq!(topic.host.count(), 1, "the certificate is kept");
    edge.get("/a");
    let other = "arn:aws:sns:eu-central-1:999999999999:uploads";
    let (status, said) = posted(&edge, &topic.message("Notification", other, &event("3")));
    assert!(status == 403 && said.contains("topics"), "another account's topic: {status} {said}");
    for (name, to, status, word) in [
        ("Message", json!(event("4")), 403, "another's"),
        ("Signature", json!("AAAA"), 403, "another's"),
        ("SignatureVersion", json!("1"), 403, "another's"),
        ("SignatureVersion", json!("7"), 403, "not known"),
        ("SigningCertURL", json!("https://evil.test/a.pem"), 403, "events.s3.sns.hosts"),
        ("SigningCertURL", json!(topic.certificate.replace("https", "http")), 403, "no https URL"),
        ("SigningCertURL", json!(topic.certificate.replace("signing", "missing")), 503, "404"),
    ] {
        let mut message = topic.message("Notification", TOPIC, &event("5"));
        message[name] = to.clone();
        let (found, said) = posted(&edge, &message);
        assert!(found == status && said.contains(word), "{name} {to}: {found} {said}");
    }
    let (status, said) = posted(&edge, &serde_json::from_str(&event("6")).unwrap());
    assert!(status == 403 && said.contains("no message of SNS"), "{status} {said}");
    assert_eq!(edge.get("/a").cache(), "Hit", "none of these had an effect");
}

#[test]
fn a_subscription_is_confirmed_where_that_is_set() {
    let confirmed = |topic: &Topic| {
        topic.host.seen().iter().filter(|asked| asked.target.contains("Confirm")).count()
    };
    for (more, wanted) in [("", 0), ("subscriptions = \"confirm\"\n", 1)] {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let topic = Topic::start(folder.path());
        let origin = Origin::start(|_| fresh(b"x"));
        let edge = sns_edge(&folder, origin.address, &topic, more);
        let question =
            topic.message("SubscriptionConfirmation", TOPIC, "You have chosen to subscribe");
        let (status, said) = posted(&edge, &question);
        assert_eq!((status, confirmed(&topic)), (200, wanted), "{said}");
        // With the token, but of a topic that nobody has named, or to an address elsewhere.
        let other = topic.message("SubscriptionConfirmation", "arn:aws:sns:x:9:y", "");
        assert_eq!(told(&edge, &other.to_string())["note"], "not confirmed");
        let mut elsewhere = question.clone();
        elsewhere["SubscribeURL"] = json!("https://evil.test/?Action=ConfirmSubscription");
        let (status, _) =
            edge.admin_with("POST", "/v1/events/s3", &elsewhere.to_string(), &bearer());
        assert_eq!(status, if wanted == 0 { 200 } else { 403 });
        assert_eq!(confirmed(&topic), wanted);
    }
}

#[test]
fn what_was_uploaded_is_fetched_at_once_where_that_is_set() {
    let version = Arc::new(AtomicU64::new(1));
    let now = Arc::clone(&version);
    let origin = Origin::start(move |asked| {
        let body = format!("{} {}", asked.target, now.load(Ordering::SeqCst));
        answer(200, "Cache-Control: max-age=600", body.as_bytes())
    });
    let edge = edge_with(origin.address, "refill = true\n");
    edge.get("/a");
    version.store(2, Ordering::SeqCst);
    told(&edge, &notification("aws:s3", "ObjectCreated:Put", "a", "1"));
    eventually("it is fetched", || edge.metric("foreshore_s3_events_refilled_total") == 1.0);
    let asked = origin.count();
    let seen = edge.get("/a");
    assert_eq!((seen.cache(), seen.text()), ("Hit".into(), "/a 2".into()));
    told(&edge, &notification("aws:s3", "ObjectRemoved:Delete", "b", "2"));
    assert_eq!(origin.count(), asked, "what is gone is not asked for");
}

fn put(address: SocketAddr, path: &str) -> Seen {
    let mut viewer = Viewer::connect(address);
    viewer.send(&request("PUT", path, &["Content-Length: 0"]));
    viewer.read("PUT").unwrap()
}

fn versioned() -> (Arc<AtomicU64>, Origin) {
    let version = Arc::new(AtomicU64::new(1));
    let now = Arc::clone(&version);
    let origin = Origin::start(move |asked| {
        if asked.method == "PUT" {
            let written = now.fetch_add(1, Ordering::SeqCst) + 1;
            return answer(200, "", written.to_string().as_bytes());
        }
        let version = now.load(Ordering::SeqCst).to_string();
        answer(200, "Cache-Control: max-age=600", version.as_bytes())
    });
    (version, origin)
}

#[test]
fn a_write_through_one_edge_is_read_through_every_other() {
    let (_, origin) = versioned();
    let fleet =
        Fleet::start_with(origin.address, ["freshness"; 3], "write_through = { refill = true }\n");
    for round in 0..10 {
        let path = format!("/w{}", round % 3);
        for edge in &fleet.edges {
            edge.door.get(&path);
        }
        let wrote = put(fleet.edges[round % EDGES.len()].door.http, &path);
        let written: u64 = wrote.text().parse().unwrap();
        for member in fleet.members() {
            let read = member.door.version(&path);
            assert!(read >= written, "{}: {read} after {written} was answered", member.door.name);
        }
    }
}

#[test]
fn a_write_that_is_not_proven_says_so_in_time() {
    let (_, origin) = versioned();
    let more = "write_through = { wait = \"200ms\" }\n";
    let mut fleet = Fleet::start_with(origin.address, ["freshness"; 3], more);
    fleet.parent.stop();
    let edge = fleet.edges[0].edge();
    edge.get("/a");
    let wrote = put(edge.http, "/a");
    assert_eq!(wrote.status, 200);
    let told = wrote.field("cache-status").unwrap_or_default();
    assert!(told.contains("not-everywhere"), "{told}");
    assert_eq!(edge.metric("foreshore_writes_unspread_total") as u64, 1);
    assert_eq!(edge.get("/a").text(), wrote.text(), "here it holds at once");
    fleet.parent.go_on();
    fleet.parent.kill();
}

#[test]
fn what_was_written_is_fetched_at_once_where_that_is_set() {
    let (_, origin) = versioned();
    let behavior = "methods = \"all\"\nwrite_through = { refill = true }\n";
    let edge = Edge::before_with(origin.address, "", behavior);
    edge.get("/a");
    let wrote = put(edge.http, "/a");
    eventually("it is asked for", || origin.count() == 3);
    // What is under way yet is waited for, and is no hit.
    eventually("it is there", || edge.get("/a").cache() == "Hit");
    assert_eq!((edge.get("/a").text(), origin.count()), (wrote.text(), 3));
    assert_eq!(edge.metric("foreshore_writes_unspread_total"), 0.0, "there is no other node");
}
