//! Pure: what is posted about changed objects, read into buckets and keys. Three shapes are known:
//! S3's notifications, as S3, MinIO and Ceph post them, EventBridge's events, and S3's test of an
//! address. What has another shape is refused by name.

use aws_lc_rs::digest;
use percent_encoding::percent_decode;
use serde_json::{Map, Value};

/// What was posted.
#[derive(Debug, PartialEq, Eq)]
pub enum Posted {
    Events {
        changes: Vec<Change>,
        /// Events that tell of something else than an object's content.
        passed_over: u64,
    },
    /// S3 tries an address out.
    Test,
}

/// A changed object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub bucket: String,
    /// Its key: in both readings, where it is not known whether the sender encodes keys.
    pub keys: Vec<Vec<u8>>,
    pub kind: Kind,
    /// What a repeat of this event has, and no other event; `None` where nothing tells them apart.
    pub identity: Option<Identity>,
}

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Written,
    Removed,
}

/// Which event it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity(pub [u8; 16]);

/// Reads a body as JSON.
pub fn json(body: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(body).map_err(|why| format!("the body is no JSON: {why}"))
}

/// Reads what was posted; the error says which shape it has not.
pub fn parse(value: &Value) -> Result<Posted, String> {
    let Value::Object(fields) = value else {
        return Err(format!("the body is {}, and no object", kind_of_json(value)));
    };
    if let Some(records) = fields.get("Records") {
        return records_of(records);
    }
    if fields.contains_key("detail-type") {
        return event_bridge(fields);
    }
    if text(fields, "Event") == Some("s3:TestEvent") {
        return Ok(Posted::Test);
    }
    let names: Vec<&str> = fields.keys().map(String::as_str).take(8).collect();
    Err(format!(
        "an object with {} is none of: S3's notification (Records), EventBridge's event (detail-type), \
         SNS's message (Type, TopicArn), S3's test (Event)",
        if names.is_empty() { "nothing".to_string() } else { names.join(", ") }
    ))
}

fn kind_of_json(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn text<'v>(fields: &'v Map<String, Value>, name: &str) -> Option<&'v str> {
    fields.get(name).and_then(Value::as_str)
}

// S3's notification: a list of records.
fn records_of(records: &Value) -> Result<Posted, String> {
    let Value::Array(records) = records else { return Err("Records is no list".into()) };
    let (mut changes, mut passed_over) = (Vec::new(), 0);
    for (at, record) in records.iter().enumerate() {
        match record_of(record).map_err(|what| format!("Records[{at}].{what}"))? {
            Some(change) => changes.push(change),
            None => passed_over += 1,
        }
    }
    Ok(Posted::Events { changes, passed_over })
}

fn record_of(record: &Value) -> Result<Option<Change>, String> {
    let word = |pointer: &str| record.pointer(pointer).and_then(Value::as_str);
    let name = word("/eventName").ok_or("eventName is missing")?;
    let Some(kind) = kind_of_record(name) else { return Ok(None) };
    let bucket = word("/s3/bucket/name").ok_or("s3.bucket.name is missing")?;
    let key = word("/s3/object/key").ok_or("s3.object.key is missing")?;
    let identity = identity(&Told {
        about: [bucket, key, name],
        sequencer: word("/s3/object/sequencer"),
        time: word("/eventTime"),
        content: [
            word("/s3/object/eTag").or_else(|| word("/s3/object/etag")),
            word("/s3/object/versionId"),
        ],
    });
    let mut keys = vec![form_decoded(key)];
    // Ceph sends keys as they are (`rgw_pubsub_s3_event::dump`), whatever S3's paper says of it;
    // what others do is not known.
    if !matches!(word("/eventSource"), Some("aws:s3" | "minio:s3")) && keys[0] != key.as_bytes() {
        keys.push(key.as_bytes().to_vec());
    }
    Ok(Some(Change { bucket: bucket.to_string(), keys, kind, identity }))
}

// What an event of S3, MinIO or Ceph says of an object's content; `None`: nothing. One that is not
// known is taken for a change: that costs a fetch, the other way would cost a stale answer.
fn kind_of_record(name: &str) -> Option<Kind> {
    const PASSED_OVER: [&str; 10] = [
        "ObjectAccessed:",
        "ObjectTagging:",
        "ObjectRestore:Post",
        "ObjectTransition:",
        "Replication:",
        "LifecycleTransition",
        "IntelligentTiering",
        "Scanner:",
        "BucketCreated",
        "BucketRemoved",
    ];
    const REMOVED: [&str; 5] = [
        "ObjectRemoved:",
        "ObjectLifecycle:",
        "LifecycleExpiration:",
        "ObjectRestore:Delete",
        "ReducedRedundancyLostObject",
    ];
    let name = name.strip_prefix("s3:").unwrap_or(name);
    let begins = |known: &&str| name.starts_with(*known);
    if PASSED_OVER.iter().any(begins) {
        return None;
    }
    Some(if REMOVED.iter().any(begins) { Kind::Removed } else { Kind::Written })
}

// EventBridge's event: one object, its key as it is.
fn event_bridge(fields: &Map<String, Value>) -> Result<Posted, String> {
    match text(fields, "source") {
        Some("aws.s3") => {}
        Some(other) => {
            return Err(format!("an event of the source {other:?} is not about objects: aws.s3"));
        }
        None => return Err("an event of EventBridge without a source".into()),
    }
    let name = text(fields, "detail-type").ok_or("detail-type is no text")?;
    let Some(kind) = kind_of_detail(name) else {
        return Ok(Posted::Events { changes: Vec::new(), passed_over: 1 });
    };
    let detail = fields.get("detail").ok_or("detail is missing")?;
    let word = |pointer: &str| detail.pointer(pointer).and_then(Value::as_str);
    let bucket = word("/bucket/name").ok_or("detail.bucket.name is missing")?;
    let key = word("/object/key").ok_or("detail.object.key is missing")?;
    let identity = identity(&Told {
        about: [bucket, key, name],
        sequencer: word("/object/sequencer"),
        time: text(fields, "id"),
        content: [word("/object/etag"), word("/object/version-id")],
    });
    let keys = vec![key.as_bytes().to_vec()];
    let change = Change { bucket: bucket.to_string(), keys, kind, identity };
    Ok(Posted::Events { changes: vec![change], passed_over: 0 })
}

fn kind_of_detail(name: &str) -> Option<Kind> {
    match name {
        "Object Restore Initiated"
        | "Object Storage Class Changed"
        | "Object Access Tier Changed"
        | "Object Tags Added"
        | "Object Tags Deleted" => None,
        "Object Deleted" | "Object Restore Expired" => Some(Kind::Removed),
        _ => Some(Kind::Written),
    }
}

/// What tells an event from others.
struct Told<'v> {
    about: [&'v str; 3],
    sequencer: Option<&'v str>,
    /// When it was, or what it is called.
    time: Option<&'v str>,
    content: [Option<&'v str>; 2],
}

// Two events of one key in one millisecond differ in their content, or one repeats the other.
fn identity(told: &Told<'_>) -> Option<Identity> {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut add = |part: &str| {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    };
    for part in told.about {
        add(part);
    }
    match (told.sequencer, told.time) {
        (Some(sequencer), _) if !sequencer.is_empty() => add(sequencer),
        (_, Some(time)) if !time.is_empty() => {
            add("");
            add(time);
        }
        _ => return None,
    }
    for part in told.content {
        add(part.unwrap_or_default());
    }
    let digest = context.finish();
    let mut short = [0; 16];
    short.copy_from_slice(digest.as_ref().get(..16)?);
    Some(Identity(short))
}

// As forms have it: a plus is a space.
fn form_decoded(key: &str) -> Vec<u8> {
    percent_decode(key.replace('+', " ").as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn record(source: &str, name: &str, key: &str) -> Value {
        json!({
            "eventVersion": "2.1", "eventSource": source, "awsRegion": "eu-central-1",
            "eventTime": "2026-11-25T08:00:00.000Z", "eventName": name,
            "s3": { "s3SchemaVersion": "1.0", "configurationId": "cdn",
                    "bucket": { "name": "shop", "arn": "arn:aws:s3:::shop" },
                    "object": { "key": key, "size": 3, "eTag": "d41d8", "sequencer": "0055AED6DCD90281E5" } }
        })
    }

    fn changes(value: &Value) -> (Vec<Change>, u64) {
        match parse(value) {
            Ok(Posted::Events { changes, passed_over }) => (changes, passed_over),
            other => panic!("{other:?}"),
        }
    }

    fn keys_of(value: &Value) -> Vec<String> {
        let (changes, _) = changes(value);
        let keys = changes.into_iter().flat_map(|change| change.keys);
        keys.map(|key| String::from_utf8(key).unwrap()).collect()
    }

    #[test]
    fn keys_are_decoded_as_their_sender_encodes_them() {
        for (source, key, keys) in [
            ("aws:s3", "img/caf%C3%A9+au+lait%2B.png", &["img/café au lait+.png"][..]),
            ("minio:s3", "img%2Fa+b.png", &["img/a b.png"]),
            ("ceph:s3", "img/a+b.png", &["img/a b.png", "img/a+b.png"]),
            ("ceph:s3", "img/a.png", &["img/a.png"]),
            ("other:s3", "100%.txt", &["100%.txt"]),
        ] {
            let posted = json!({ "Records": [record(source, "ObjectCreated:Put", key)] });
            assert_eq!(keys_of(&posted), keys, "{source} {key}");
        }
        let bridged = json!({
            "version": "0", "id": "17793124-05d4-b198-2fde-7ededc63b103", "detail-type": "Object Created",
            "source": "aws.s3", "account": "123456789012", "time": "2026-11-25T08:00:00Z",
            "detail": { "bucket": { "name": "shop" }, "object": { "key": "a+b%20c.png", "sequencer": "00617F08299329D189" } }
        });
        assert_eq!(keys_of(&bridged), ["a+b%20c.png"]);
    }

    #[test]
    fn an_event_says_what_became_of_the_content() {
        for (name, kind) in [
            ("ObjectCreated:Put", Some(Kind::Written)),
            ("s3:ObjectCreated:CompleteMultipartUpload", Some(Kind::Written)),
            ("ObjectSynced:Create", Some(Kind::Written)),
            ("ObjectAcl:Put", Some(Kind::Written)),
            ("ObjectRestore:Completed", Some(Kind::Written)),
            ("SomethingNew:Entirely", Some(Kind::Written)),
            ("s3:ObjectRemoved:DeleteMarkerCreated", Some(Kind::Removed)),
            ("LifecycleExpiration:Delete", Some(Kind::Removed)),
            ("ObjectLifecycle:Expiration:Current", Some(Kind::Removed)),
            ("s3:ObjectAccessed:Get", None),
            ("ObjectTagging:Put", None),
            ("s3:Replication:OperationCompletedReplication", None),
            ("ObjectRestore:Post", None),
        ] {
            assert_eq!(kind_of_record(name), kind, "{name}");
        }
        let posted = json!({ "Records": [
            record("aws:s3", "ObjectTagging:Put", "a"), record("aws:s3", "ObjectRemoved:Delete", "b")
        ] });
        let (changes, passed_over) = changes(&posted);
        assert_eq!((changes.len(), changes[0].kind, passed_over), (1, Kind::Removed, 1));
    }

    #[test]
    fn a_repeat_has_the_identity_of_the_first_and_nothing_else_has() {
        let identity = |value: &Value| changes(&json!({ "Records": [value] })).0[0].identity;
        let first = record("aws:s3", "ObjectCreated:Put", "a");
        assert!(identity(&first).is_some());
        assert_eq!(identity(&first), identity(&first.clone()));
        let with = |pointer: &str, to: Value| {
            let mut other = first.clone();
            *other.pointer_mut(pointer).unwrap() = to;
            identity(&other)
        };
        assert_eq!(with("/eventTime", json!("2026-11-25T08:00:01Z")), identity(&first));
        for (pointer, to) in [
            ("/s3/object/sequencer", json!("0055AED6DCD90281E6")),
            ("/s3/object/key", json!("b")),
            ("/s3/bucket/name", json!("other")),
            ("/eventName", json!("ObjectRemoved:Delete")),
        ] {
            assert_ne!(with(pointer, to), identity(&first), "{pointer}");
        }
        // Without a sequencer the time counts, and without both nothing is a repeat.
        let mut timed = first.clone();
        timed["s3"]["object"]["sequencer"] = Value::Null;
        let mut later = timed.clone();
        later["eventTime"] = json!("2026-11-25T08:00:01Z");
        assert!(identity(&timed).is_some() && identity(&timed) != identity(&later));
        later["eventTime"] = Value::Null;
        assert_eq!(identity(&later), None);
    }

    #[test]
    fn other_shapes_are_refused_by_name() {
        for (body, word) in [
            ("nonsense", "no JSON"),
            ("[]", "a list"),
            ("{}", "nothing"),
            (r#"{"paths":["/a"]}"#, "paths"),
            (r#"{"Records":{}}"#, "no list"),
            (r#"{"Records":[{"eventName":"ObjectCreated:Put"}]}"#, "Records[0].s3.bucket.name"),
            (r#"{"Records":[{}]}"#, "Records[0].eventName"),
            (r#"{"detail-type":"Object Created","source":"aws.ec2"}"#, "aws.ec2"),
            (r#"{"detail-type":"Object Created","source":"aws.s3"}"#, "detail is missing"),
            (
                r#"{"detail-type":"Object Created","source":"aws.s3","detail":{"bucket":{"name":"b"}}}"#,
                "object.key",
            ),
        ] {
            let read = json(body.as_bytes()).and_then(|value| parse(&value));
            let why = read.expect_err(body);
            assert!(why.contains(word), "{body}: {why}");
        }
        let test = r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2026-11-25T08:00:00.000Z","Bucket":"shop"}"#;
        assert_eq!(json(test.as_bytes()).and_then(|value| parse(&value)), Ok(Posted::Test));
    }
}
