//! Key value stores for operators: `/v1/kv`, JSON, under the admin token. What `foreshore kv` calls.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, ETAG, IF_MATCH};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Control;
use super::answer::{Answer, error, json_text, ok};
use crate::distribution::stores::arn;
use crate::functions::values::file;
use crate::functions::values::snapshot::{Batch, Change, Refused, Values};
use crate::functions::values::store::Store;
use crate::semantics::time::{Timestamp, format_rfc3339};

/// Keys of a page where no number is asked for, and the most.
const PAGE: (usize, usize) = (100, 1000);

/// Does what may wait on a thread that may; `None` if it failed altogether.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

/// Changes a store; gives what it holds then.
pub async fn change(
    control: &Arc<Control>,
    store: &Arc<Store>,
    change: Change,
    if_match: Option<String>,
) -> Result<Arc<Values>, Refused> {
    let _place = control.callers.acquire().await;
    let (this, store) = (Arc::clone(control), Arc::clone(store));
    let changed = blocking(move || this.change_store(&store, &change, if_match.as_deref())).await;
    changed.unwrap_or_else(|| Err(Refused::NotWritten("the attempt failed".into())))
}

/// The ETag that a caller last saw, if it says one.
pub fn if_match(parts: &Parts) -> Option<String> {
    let given = parts.headers.get(IF_MATCH)?.to_str().unwrap_or("");
    Some(given.trim_matches('"').to_string())
}

/// `GET /v1/kv`.
pub fn list(control: &Control) -> Answer {
    let all = all(control);
    ok(StatusCode::OK, &json!({ "stores": all }))
}

/// What all stores are, without their keys.
pub fn all(control: &Control) -> Vec<Value> {
    control.edge.stores.all().iter().map(|store| described(control, store)).collect()
}

fn described(control: &Control, store: &Store) -> Value {
    let (values, about) = (store.values(), store.about());
    let running = control.edge.running();
    let account = &running.site.admin.account;
    json!({
        "name": store.name(),
        "id": values.id(),
        "arn": arn(account, values.id()),
        "comment": about.comment,
        "keys": values.count(),
        "octets": values.octets(),
        "etag": values.etag(),
        "created": format_rfc3339(Timestamp(values.created())),
        "updated": format_rfc3339(Timestamp(values.updated())),
        "file": store.file().map(|path| path.display().to_string()),
        "problem": store.problem(),
    })
}

/// What a call below `/v1/kv/` is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About<'p> {
    Store,
    Keys,
    Key(&'p str),
    Import,
    Export,
}

/// Answers a call below `/v1/kv/`; `path` is what follows, as it came.
pub async fn answer(control: &Arc<Control>, parts: &Parts, path: &str, body: Bytes) -> Answer {
    let segments: Vec<&str> = path.split('/').collect();
    let (name, about) = match &segments[..] {
        [name] => (name, About::Store),
        [name, "keys"] => (name, About::Keys),
        [name, "keys", key] if !key.is_empty() => (name, About::Key(key)),
        [name, "import"] => (name, About::Import),
        [name, "export"] => (name, About::Export),
        _ => {
            return error(
                StatusCode::NOT_FOUND,
                "known below /v1/kv/NAME: keys, keys/KEY, import, export",
            );
        }
    };
    let Some(store) = control.edge.stores.find(name) else {
        return error(
            StatusCode::NOT_FOUND,
            &format!(
                "there is no key value store {name:?}; name it under [key_value_store] in the configuration"
            ),
        );
    };
    let done = match (about, &parts.method) {
        (About::Store, &Method::GET | &Method::HEAD) => {
            Ok(told(&store.values(), &described(control, &store)))
        }
        (About::Keys, &Method::GET | &Method::HEAD) => Ok(page(&store, parts.uri.query())),
        (About::Keys, &Method::POST) => batch(control, &store, parts, &body).await,
        (About::Key(key), &Method::GET | &Method::HEAD) => one(&store, key),
        (About::Key(key), &Method::PUT) => put(control, &store, parts, (key, &body[..])).await,
        (About::Key(key), &Method::DELETE) => {
            let key = key_of(key);
            match key {
                Ok(key) => write(control, &store, parts, Change::Batch(Batch::delete(key))).await,
                Err(why) => Err(why),
            }
        }
        (About::Import, &Method::POST) => import(control, &store, parts, &body).await,
        (About::Export, &Method::GET | &Method::HEAD) => Ok(export(&store)),
        (about, _) => return wrong_method(about),
    };
    done.unwrap_or_else(|(status, why)| error(status, &why))
}

type Wrong = (StatusCode, String);

fn wrong_method(about: About<'_>) -> Answer {
    let known = match about {
        About::Store | About::Export => "GET",
        About::Keys => "GET, POST",
        About::Key(_) => "GET, PUT, DELETE",
        About::Import => "POST",
    };
    let mut refused =
        error(StatusCode::METHOD_NOT_ALLOWED, &format!("this call is made with {known}"));
    refused.headers_mut().insert(ALLOW, HeaderValue::from_static(known));
    refused
}

fn told(values: &Values, what: &Value) -> Answer {
    tagged(values, ok(StatusCode::OK, what))
}

fn tagged(values: &Values, mut answer: Answer) -> Answer {
    if let Ok(etag) = HeaderValue::try_from(values.etag()) {
        answer.headers_mut().insert(ETAG, etag);
    }
    answer
}

// A key as it stands in a path: decoded once.
fn key_of(text: &str) -> Result<String, Wrong> {
    let decoded = percent_decode_str(text).decode_utf8();
    let wrong = |_| (StatusCode::BAD_REQUEST, "the key is not UTF-8".to_string());
    decoded.map(|key| key.into_owned()).map_err(wrong)
}

fn page(store: &Store, query: Option<&str>) -> Answer {
    let (mut prefix, mut after, mut max) = (String::new(), None, PAGE.0);
    for (name, said) in query.unwrap_or("").split('&').filter_map(|pair| pair.split_once('=')) {
        let said = percent_decode_str(said).decode_utf8_lossy().into_owned();
        match name {
            "prefix" => prefix = said,
            "after" => after = Some(said),
            "max" => {
                match said.parse::<usize>().ok().filter(|number| (1..=PAGE.1).contains(number)) {
                    Some(number) => max = number,
                    None => {
                        let why = format!("max is a number from 1 to {}", PAGE.1);
                        return error(StatusCode::BAD_REQUEST, &why);
                    }
                }
            }
            _ => return error(StatusCode::BAD_REQUEST, "known: prefix, after, max"),
        }
    }
    let values = store.values();
    let (page, has_more) = values.page(&prefix, after.as_deref(), max);
    let next = page.last().filter(|_| has_more).map(|(key, _)| *key);
    let keys: Vec<Value> =
        page.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
    told(&values, &json!({ "keys": keys, "next": next }))
}

fn one(store: &Store, key: &str) -> Result<Answer, Wrong> {
    let (values, key) = (store.values(), key_of(key)?);
    match values.get(&key) {
        Some(value) => Ok(told(&values, &json!({ "key": key, "value": value }))),
        None => Err(refuse(&Refused::NoSuchKey(key))),
    }
}

fn export(store: &Store) -> Answer {
    let values = store.values();
    tagged(&values, json_text(StatusCode::OK, file::write(&values)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ValueBody {
    value: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Put {
    key: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchBody {
    #[serde(default)]
    puts: Vec<Put>,
    #[serde(default)]
    deletes: Vec<String>,
}

fn json_of<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, Wrong> {
    serde_json::from_slice(body)
        .map_err(|why| (StatusCode::BAD_REQUEST, format!("the body is not as expected: {why}")))
}

async fn put(
    control: &Arc<Control>,
    store: &Arc<Store>,
    parts: &Parts,
    (key, body): (&str, &[u8]),
) -> Result<Answer, Wrong> {
    let key = key_of(key)?;
    let said: ValueBody = json_of(body)?;
    write(control, store, parts, Change::Batch(Batch::put(key, said.value))).await
}

async fn batch(
    control: &Arc<Control>,
    store: &Arc<Store>,
    parts: &Parts,
    body: &[u8],
) -> Result<Answer, Wrong> {
    let said: BatchBody = json_of(body)?;
    let puts = said.puts.into_iter().map(|put| (put.key, put.value)).collect();
    write(control, store, parts, Change::Batch(Batch { puts, deletes: said.deletes })).await
}

async fn import(
    control: &Arc<Control>,
    store: &Arc<Store>,
    parts: &Parts,
    body: &[u8],
) -> Result<Answer, Wrong> {
    let pairs = file::parse(body).map_err(|why| (StatusCode::BAD_REQUEST, why))?;
    write(control, store, parts, Change::Replace(pairs)).await
}

async fn write(
    control: &Arc<Control>,
    store: &Arc<Store>,
    parts: &Parts,
    what: Change,
) -> Result<Answer, Wrong> {
    let changed = change(control, store, what, if_match(parts)).await;
    let values = changed.map_err(|refused| refuse(&refused))?;
    Ok(told(&values, &described(control, store)))
}

fn refuse(refused: &Refused) -> Wrong {
    let status = match refused {
        Refused::NoSuchKey(_) | Refused::Gone => StatusCode::NOT_FOUND,
        Refused::Conflict => StatusCode::PRECONDITION_FAILED,
        Refused::ReadOnly(..) => StatusCode::FORBIDDEN,
        Refused::CallTooLarge(_) | Refused::StoreFull(_) | Refused::BeyondFleet(_) => {
            StatusCode::PAYLOAD_TOO_LARGE
        }
        Refused::NotWritten(_) => StatusCode::INSUFFICIENT_STORAGE,
        Refused::Overtaken | Refused::Unlogged(_) => StatusCode::SERVICE_UNAVAILABLE,
        Refused::KeyLength(_)
        | Refused::ValueLength(..)
        | Refused::KeyTwice(_)
        | Refused::Nothing
        | Refused::TooManyKeys(_) => StatusCode::BAD_REQUEST,
    };
    (status, refused.words())
}
