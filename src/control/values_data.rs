//! The API of CloudFront's KeyValueStore (2022-07-26, rest-json), as the AWS tools speak it: what is
//! in a store, read and changed. Signed with Signature Version 4A or 4 under a key of the
//! configuration, or with the admin token.
//!
//! A proxied request, with its whole URL in the first line, is answered as any other: SDKs put the
//! account before the endpoint's host, and a proxy spares its name.

use std::sync::Arc;

use bytes::Bytes;
use http::header::ETAG;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Control;
use super::answer::{Answer, json_text};
use super::caller::{self, Doubt};
use super::values::{change, if_match};
use crate::crypto::sigv4::SigV4Error;
use crate::distribution::stores::{arn, id_of_arn};
use crate::functions::values::snapshot::{Batch, Change, Refused, Values};
use crate::functions::values::store::Store;
use crate::invalidation::log::new_id;

const SERVICE: &str = "cloudfront-keyvaluestore";
/// Keys of a page where no number is asked for, and the most.
const PAGE: (usize, usize) = (10, 50);

/// An operation, and the key that it is about, as it stands in the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call<'p> {
    Describe,
    List,
    Update,
    Get(&'p str),
    Put(&'p str),
    Delete(&'p str),
}

impl<'p> Call<'p> {
    // The operation, and the ARN that it names. Both are split before they are decoded.
    fn of(method: &Method, path: &'p str) -> Option<(Self, String)> {
        let parts: Vec<&str> = path.split('/').collect();
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let (named, rest) = match &parts[..] {
            // A tool that leaves the slash of the ARN as it is.
            [first, second, rest @ ..] if first.ends_with("key-value-store") => {
                (format!("{}/{}", decoded(first), decoded(second)), rest)
            }
            [first, rest @ ..] => (decoded(first), rest),
            [] => return None,
        };
        let call = match (method, rest) {
            (&Method::GET, []) => Self::Describe,
            (&Method::GET, ["keys"]) => Self::List,
            (&Method::POST, ["keys"]) => Self::Update,
            (&Method::GET, ["keys", key]) => Self::Get(key),
            (&Method::PUT, ["keys", key]) => Self::Put(key),
            (&Method::DELETE, ["keys", key]) => Self::Delete(key),
            _ => return None,
        };
        Some((call, named))
    }

    const fn action(self) -> &'static str {
        match self {
            Self::Describe => "DescribeKeyValueStore",
            Self::List => "ListKeys",
            Self::Update => "UpdateKeys",
            Self::Get(_) => "GetKey",
            Self::Put(_) => "PutKey",
            Self::Delete(_) => "DeleteKey",
        }
    }
}

/// Something wrong with a call.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    status: StatusCode,
    /// The exception's name, without the suffix.
    name: &'static str,
    message: String,
}

impl Fault {
    fn new(status: StatusCode, name: &'static str, message: impl Into<String>) -> Self {
        Self { status, name, message: message.into() }
    }

    fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Validation", message)
    }
}

/// Answers a call; whatever is wrong with it is answered in AWS's form. `path` is what follows
/// `/key-value-stores/`, as it came.
pub async fn answer(control: &Arc<Control>, parts: &Parts, path: &str, body: Bytes) -> Answer {
    let answer = match act(control, parts, path, &body).await {
        Ok((etag, value)) => {
            let mut answer = json_text(StatusCode::OK, value.to_string());
            let field = etag.and_then(|etag| HeaderValue::try_from(etag).ok());
            if let Some(etag) = field {
                answer.headers_mut().insert(ETAG, etag);
            }
            identified(answer)
        }
        Err(fault) => refused(&fault),
    };
    let name = Call::of(&parts.method, path).map_or("Unknown", |(call, _)| call.action());
    control.api_calls.note(SERVICE, name, answer.status().as_u16());
    answer
}

/// The answer to a body that did not come whole, or is too long.
pub fn unread(status: StatusCode, limit: usize) -> Answer {
    let why = if status == StatusCode::PAYLOAD_TOO_LARGE {
        format!("A body has at most {limit} octets here.")
    } else {
        "The body did not come in time.".to_string()
    };
    refused(&Fault::new(status, "Validation", why))
}

fn refused(fault: &Fault) -> Answer {
    let mut answer = json_text(fault.status, json!({ "Message": fault.message }).to_string());
    if let Ok(name) = HeaderValue::try_from(format!("{}Exception", fault.name)) {
        answer.headers_mut().insert("x-amzn-errortype", name);
    }
    identified(answer)
}

fn identified(mut answer: Answer) -> Answer {
    if let Ok(id) = HeaderValue::try_from(new_id()) {
        answer.headers_mut().insert("x-amzn-requestid", id);
    }
    answer
}

async fn act(
    control: &Arc<Control>,
    parts: &Parts,
    path: &str,
    body: &[u8],
) -> Result<(Option<String>, Value), Fault> {
    let (call, named) = Call::of(&parts.method, path).ok_or_else(|| {
        Fault::new(StatusCode::NOT_FOUND, "UnknownOperation", "There is no such operation.")
    })?;
    admit(control, parts, call.action(), body)?;
    let found = id_of_arn(&named).and_then(|id| control.edge.stores.find_id(id));
    let store = found.ok_or_else(|| {
        Fault::new(
            StatusCode::NOT_FOUND,
            "ResourceNotFound",
            format!("There is no key value store {named}."),
        )
    })?;
    match call {
        Call::Describe => Ok(describe(control, &store)),
        Call::List => list(&store, parts.uri.query()).map(|value| (None, value)),
        Call::Get(key) => get(&store, key).map(|value| (None, value)),
        Call::Put(key) => {
            let said: PutBody = json_of(body)?;
            let batch = Batch::put(key_of(key)?, said.value);
            write(control, &store, parts, batch).await
        }
        Call::Delete(key) => {
            let batch = Batch::delete(key_of(key)?);
            write(control, &store, parts, batch).await
        }
        Call::Update => {
            let said: UpdateBody = json_of(body)?;
            let puts = said.puts.unwrap_or_default();
            let deletes = said.deletes.unwrap_or_default();
            let batch = Batch {
                puts: puts.into_iter().map(|put| (put.key, put.value)).collect(),
                deletes: deletes.into_iter().map(|delete| delete.key).collect(),
            };
            write(control, &store, parts, batch).await
        }
    }
}

fn admit(control: &Control, parts: &Parts, action: &str, body: &[u8]) -> Result<(), Fault> {
    let doubt = match caller::admit(control, parts, (SERVICE, action), body) {
        Ok(_) => return Ok(()),
        Err(doubt) => doubt,
    };
    let (name, words): (&'static str, String) = match doubt {
        Doubt::Unsigned => ("MissingAuthenticationToken", "Missing Authentication Token".into()),
        Doubt::UnsignedMayNot => {
            ("AccessDenied", "Calls without a signature may do nothing but invalidate.".into())
        }
        Doubt::Unreadable => (
            "IncompleteSignature",
            "The Authorization field is not a whole signature of AWS4-ECDSA-P256-SHA256 or AWS4-HMAC-SHA256.".into(),
        ),
        Doubt::UnknownKey => (
            "UnrecognizedClient",
            "The security token included in the request is invalid.".to_string(),
        ),
        Doubt::Signature(SigV4Error::Skewed) => (
            "InvalidSignature",
            "Signature expired: it was made more than fifteen minutes ago, or in the future.".into(),
        ),
        Doubt::Signature(SigV4Error::Incomplete | SigV4Error::NoDate) => (
            "IncompleteSignature",
            "The signature must cover Host, X-Amz-Date and, for Signature Version 4A, X-Amz-Region-Set.".into(),
        ),
        Doubt::Signature(SigV4Error::OtherService) => (
            "InvalidSignature",
            format!("Credential should be scoped to correct service: '{SERVICE}'."),
        ),
        Doubt::Signature(SigV4Error::OtherRegion) => (
            "InvalidSignature",
            "The set of regions must be '*'.".into(),
        ),
        Doubt::Signature(SigV4Error::Wrong | SigV4Error::OtherBody) => (
            "InvalidSignature",
            "The request signature we calculated does not match the signature you provided.".into(),
        ),
        Doubt::NotAllowed => (
            "AccessDenied",
            format!("This access key is not allowed to perform {SERVICE}:{action}."),
        ),
    };
    let status = match name {
        "IncompleteSignature" => StatusCode::BAD_REQUEST,
        _ => StatusCode::FORBIDDEN,
    };
    Err(Fault::new(status, name, words))
}

// Moments are seconds since the epoch, with a fraction.
fn seconds(millis: u64) -> Value {
    json!(millis as f64 / 1000.0)
}

fn sizes(values: &Values) -> Value {
    json!({ "ItemCount": values.count(), "TotalSizeInBytes": values.octets() })
}

fn describe(control: &Control, store: &Store) -> (Option<String>, Value) {
    let values = store.values();
    let running = control.edge.running();
    let account = &running.site.admin.account;
    let mut told = sizes(&values);
    told["KvsARN"] = arn(account, values.id()).into();
    told["Created"] = seconds(values.created());
    told["LastModified"] = seconds(values.updated());
    told["Status"] = "READY".into();
    if let Some(why) = store.problem() {
        told["FailureReason"] = why.into();
    }
    (Some(values.etag().to_string()), told)
}

fn key_of(text: &str) -> Result<String, Fault> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(|key| key.into_owned()).map_err(|_| Fault::invalid("The key is not UTF-8."))
}

fn get(store: &Store, key: &str) -> Result<Value, Fault> {
    let (values, key) = (store.values(), key_of(key)?);
    let Some(value) = values.get(&key) else { return Err(refuse(&Refused::NoSuchKey(key))) };
    let mut told = sizes(&values);
    told["Value"] = value.into();
    told["Key"] = key.into();
    Ok(told)
}

// The token to go on with is the last key of a page.
fn list(store: &Store, query: Option<&str>) -> Result<Value, Fault> {
    let (mut after, mut max) = (None, PAGE.0);
    for (name, said) in query.unwrap_or("").split('&').filter_map(|pair| pair.split_once('=')) {
        let said = percent_decode_str(said).decode_utf8_lossy().into_owned();
        match name {
            "NextToken" => after = Some(said),
            "MaxResults" => {
                let number =
                    said.parse::<usize>().ok().filter(|number| (1..=PAGE.1).contains(number));
                let why =
                    || Fault::invalid(format!("MaxResults is a number from 1 to {}.", PAGE.1));
                max = number.ok_or_else(why)?;
            }
            _ => {}
        }
    }
    let values = store.values();
    let (page, has_more) = values.page("", after.as_deref(), max);
    let items: Vec<Value> =
        page.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
    let mut told = json!({ "Items": items });
    if let Some((last, _)) = page.last().filter(|_| has_more) {
        told["NextToken"] = (*last).into();
    }
    Ok(told)
}

#[derive(Deserialize)]
struct PutBody {
    #[serde(rename = "Value")]
    value: String,
}

#[derive(Deserialize)]
struct PutItem {
    #[serde(rename = "Key")]
    key: String,
    #[serde(rename = "Value")]
    value: String,
}

#[derive(Deserialize)]
struct DeleteItem {
    #[serde(rename = "Key")]
    key: String,
}

#[derive(Deserialize)]
struct UpdateBody {
    #[serde(rename = "Puts")]
    puts: Option<Vec<PutItem>>,
    #[serde(rename = "Deletes")]
    deletes: Option<Vec<DeleteItem>>,
}

fn json_of<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, Fault> {
    serde_json::from_slice(body)
        .map_err(|why| Fault::invalid(format!("The body is not as expected: {why}.")))
}

async fn write(
    control: &Arc<Control>,
    store: &Arc<Store>,
    parts: &Parts,
    batch: Batch,
) -> Result<(Option<String>, Value), Fault> {
    let Some(if_match) = if_match(parts) else {
        return Err(Fault::invalid("If-Match is missing: the ETag of DescribeKeyValueStore."));
    };
    let changed = change(control, store, Change::Batch(batch), Some(if_match)).await;
    let values = changed.map_err(|wrong| refuse(&wrong))?;
    Ok((Some(values.etag().to_string()), sizes(&values)))
}

fn refuse(refused: &Refused) -> Fault {
    let (status, name) = match refused {
        Refused::NoSuchKey(_) | Refused::Gone => (StatusCode::NOT_FOUND, "ResourceNotFound"),
        Refused::Conflict => (StatusCode::CONFLICT, "Conflict"),
        Refused::ReadOnly(..) => (StatusCode::FORBIDDEN, "AccessDenied"),
        Refused::TooManyKeys(_)
        | Refused::CallTooLarge(_)
        | Refused::StoreFull(_)
        | Refused::BeyondFleet(_) => (StatusCode::PAYMENT_REQUIRED, "ServiceQuotaExceeded"),
        Refused::Overtaken | Refused::Unlogged(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable")
        }
        Refused::NotWritten(_) => (StatusCode::INTERNAL_SERVER_ERROR, "InternalServer"),
        Refused::KeyLength(_)
        | Refused::ValueLength(..)
        | Refused::KeyTwice(_)
        | Refused::Nothing => (StatusCode::BAD_REQUEST, "Validation"),
    };
    Fault::new(status, name, refused.words())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_told_by_method_and_path_and_split_before_they_are_decoded() {
        const ARN: &str = "arn:aws:cloudfront::000000000177:key-value-store/id";
        let encoded = ARN.replace(':', "%3A").replace('/', "%2F");
        for named in [&encoded[..], ARN] {
            for (method, rest, want) in [
                (Method::GET, "", Call::Describe),
                (Method::GET, "/keys", Call::List),
                (Method::POST, "/keys", Call::Update),
                (Method::GET, "/keys/%2Fa%20b", Call::Get("%2Fa%20b")),
                (Method::PUT, "/keys/keys", Call::Put("keys")),
                (Method::DELETE, "/keys/a%2525", Call::Delete("a%2525")),
            ] {
                let path = format!("{named}{rest}");
                assert_eq!(Call::of(&method, &path), Some((want, ARN.to_string())), "{path}");
            }
        }
        assert_eq!(key_of("%2Fa%20b%2525+").unwrap(), "/a b%25+");
        assert!(key_of("%ff").is_err());
        for (method, path) in [
            (Method::POST, "x"),
            (Method::GET, "x/keys/a/b"),
            (Method::GET, "x/values"),
            (Method::PATCH, "x/keys/a"),
        ] {
            assert_eq!(Call::of(&method, path), None, "{path}");
        }
    }
}
