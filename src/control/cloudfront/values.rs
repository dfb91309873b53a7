//! Key value stores in CloudFront's API: made, described, changed in their comment, deleted, listed.
//! What is in them goes by an API of its own (`control/values_data.rs`).

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Method;
use http::header::IF_MATCH;
use http::request::Parts;
use quick_xml::escape::escape;

use super::apply::unavailable;
use super::batch::{malformed, walk};
use super::function_store::Shown;
use super::rules::TagsSeen;
use super::xml::{Fault, HEAD, NAMESPACE, Said};
use super::{location, page_asked};
use crate::control::Control;
use crate::control::values::blocking;
use crate::distribution::stores::{arn, is_name};
use crate::documents::function::Stage;
use crate::functions::values::snapshot::Refused;
use crate::functions::values::store::Store;
use crate::functions::values::stores::{NotMade, STORES_MAX};
use crate::semantics::time::{Timestamp, format_rfc3339};

/// Most stores of one page.
const PAGE: usize = 100;
/// Most letters of a comment.
const COMMENT_MAX: usize = 128;

/// An operation, and which store it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call<'p> {
    Create,
    List,
    Describe(&'p str),
    Update(&'p str),
    Delete(&'p str),
}

impl<'p> Call<'p> {
    /// The operation of a method and of a path below the API's own, cut at the slashes.
    pub(super) fn of(method: &Method, path: &[&'p str]) -> Option<Self> {
        let ["key-value-store", rest @ ..] = path else { return None };
        match (method, rest) {
            (&Method::POST, [] | [""]) => Some(Self::Create),
            (&Method::GET, [] | [""]) => Some(Self::List),
            (&Method::GET, [name]) => Some(Self::Describe(name)),
            (&Method::PUT, [name]) => Some(Self::Update(name)),
            (&Method::DELETE, [name]) => Some(Self::Delete(name)),
            _ => None,
        }
    }

    pub(super) const fn action(self) -> &'static str {
        match self {
            Self::Create => "CreateKeyValueStore",
            Self::List => "ListKeyValueStores",
            Self::Describe(_) => "DescribeKeyValueStore",
            Self::Update(_) => "UpdateKeyValueStore",
            Self::Delete(_) => "DeleteKeyValueStore",
        }
    }
}

/// Makes a call of a caller that may.
pub(super) async fn act(
    control: &Arc<Control>,
    parts: &Parts,
    call: Call<'_>,
    body: &[u8],
) -> Result<Said, Fault> {
    match call {
        Call::List => list(control, parts.uri.query()),
        Call::Create => create(control, parts, body).await,
        Call::Describe(name) => {
            let store = found(control, name)?;
            Ok(said(control, 200, &store))
        }
        Call::Update(name) => update(control, parts, name, body).await,
        Call::Delete(name) => delete(control, parts, name).await,
    }
}

fn found(control: &Control, name: &str) -> Result<Arc<Store>, Fault> {
    control.edge.stores.find(name).ok_or_else(not_found)
}

fn not_found() -> Fault {
    Fault::new(404, "EntityNotFound", "The entity was not found.")
}

fn said(control: &Control, status: u16, store: &Store) -> Said {
    let namespace = format!(" xmlns=\"{NAMESPACE}\"");
    let running = control.edge.running();
    let account = &running.site.admin.account;
    let xml = format!("{HEAD}{}", element(store, account, &namespace));
    Said { status, xml, etag: Some(store.about().etag().into()), ..Said::default() }
}

fn element(store: &Store, account: &str, attributes: &str) -> String {
    let (about, values) = (store.about(), store.values());
    let at = format_rfc3339(Timestamp(about.modified));
    format!(
        "<KeyValueStore{attributes}><Name>{}</Name><Id>{}</Id><Comment>{}</Comment><ARN>{}</ARN><Status>READY</Status>\
         <LastModifiedTime>{at}</LastModifiedTime></KeyValueStore>",
        escape(store.name()),
        escape(values.id()),
        escape(about.comment.as_str()),
        escape(arn(account, values.id()).as_str())
    )
}

async fn create(control: &Arc<Control>, parts: &Parts, body: &[u8]) -> Result<Said, Fault> {
    let Wanted { name, comment, tags } = Wanted::read(body, "CreateKeyValueStoreRequest")?;
    let name = name
        .filter(|name| is_name(name))
        .ok_or_else(|| invalid("Name has one to 64 letters, digits, hyphens and underscores."))?;
    let this = Arc::clone(control);
    let place = location(control, parts, &name);
    let _caller = control.callers.acquire().await;
    let made = blocking(move || this.make_store(&name, comment.as_deref().unwrap_or(""), &tags));
    let made = made.await.ok_or_else(failed)?;
    match made {
        Ok(store) => Ok(Said { location: Some(place), ..said(control, 201, &store) }),
        Err(NotMade::Exists) => Err(Fault::new(
            409,
            "EntityAlreadyExists",
            "The key value store entity already exists. You must provide a unique key value store entity.",
        )),
        Err(NotMade::TooMany) => Err(Fault::new(
            400,
            "EntityLimitExceeded",
            &format!("There are at most {STORES_MAX} key value stores."),
        )),
        Err(NotMade::Values(refused)) => Err(refuse(&refused)),
        Err(NotMade::NotWritten(why)) => {
            tracing::error!(why, "a key value store could not be made");
            Err(failed())
        }
    }
}

async fn update(
    control: &Arc<Control>,
    parts: &Parts,
    name: &str,
    body: &[u8],
) -> Result<Said, Fault> {
    let store = found(control, name)?;
    let if_match = if_match(parts)?;
    let wanted = Wanted::read(body, "UpdateKeyValueStoreRequest")?;
    let comment = wanted.comment.ok_or_else(|| invalid("Comment is missing."))?;
    let (this, one) = (Arc::clone(control), Arc::clone(&store));
    let _caller = control.callers.acquire().await;
    let done = blocking(move || this.comment_store(&one, &comment, &if_match));
    let done = done.await.ok_or_else(failed)?;
    done.map_err(|refused| refuse(&refused))?;
    Ok(said(control, 200, &store))
}

async fn delete(control: &Arc<Control>, parts: &Parts, name: &str) -> Result<Said, Fault> {
    found(control, name)?;
    let if_match = if_match(parts)?;
    let (this, read) = (Arc::clone(control), name.to_string());
    let _caller = control.callers.acquire().await;
    // Not here: documents may be held by a change that waits for the fleet.
    let is_read = blocking(move || is_read(&this, &read)).await.ok_or_else(failed)?;
    if control.names_store(name) || is_read {
        return Err(Fault::new(
            409,
            "CannotDeleteEntityWhileInUse",
            "The key value store is in use: the configuration or a function names it.",
        ));
    }
    let (this, name) = (Arc::clone(control), name.to_string());
    let gone = blocking(move || this.remove_store(&name, &if_match)).await;
    let gone = gone.ok_or_else(failed)?.ok_or_else(not_found)?;
    gone.map_err(|refused| refuse(&refused))?;
    Ok(Said { status: 204, ..Said::default() })
}

// Whether a function of the API reads a store, or is to.
fn is_read(control: &Control, name: &str) -> bool {
    let reads = |one: &Shown, stage: Stage| {
        let store = one.stages.at(stage).and_then(|coded| coded.store.as_ref());
        store.is_some_and(|store| store.name == name)
    };
    control.functions().iter().any(|one| Stage::ALL.into_iter().any(|stage| reads(one, stage)))
}

fn list(control: &Control, query: Option<&str>) -> Result<Said, Fault> {
    let (marker, most) = page_asked(query, PAGE)?;
    let most = most.min(PAGE);
    let all = control.edge.stores.all();
    let rest: Vec<&Arc<Store>> = all.iter().filter(|store| *store.name() > *marker).collect();
    let shown = &rest[..rest.len().min(most)];
    let running = control.edge.running();
    let account = &running.site.admin.account;
    let items: String = shown.iter().map(|store| element(store, account, "")).collect();
    let items = if items.is_empty() { items } else { format!("<Items>{items}</Items>") };
    let next = match shown.last().filter(|_| rest.len() > shown.len()) {
        Some(store) => format!("<NextMarker>{}</NextMarker>", escape(store.name())),
        None => String::new(),
    };
    let count = shown.len();
    let xml = format!(
        "{HEAD}<KeyValueStoreList xmlns=\"{NAMESPACE}\">{next}<MaxItems>{most}</MaxItems><Quantity>{count}</Quantity>{items}</KeyValueStoreList>"
    );
    Ok(Said { status: 200, xml, ..Said::default() })
}

fn if_match(parts: &Parts) -> Result<String, Fault> {
    let given = parts.headers.get(IF_MATCH).and_then(|value| value.to_str().ok());
    given.map(|value| value.trim_matches('"').to_string()).ok_or_else(|| {
        Fault::new(
            400,
            "InvalidIfMatchVersion",
            "The If-Match version is missing or not valid for the resource.",
        )
    })
}

/// Why a change of a store is not made, as the API says it.
pub(super) fn refuse(refused: &Refused) -> Fault {
    match refused {
        Refused::Conflict => Fault::new(
            412,
            "PreconditionFailed",
            "The precondition in one or more of the request fields evaluated to false.",
        ),
        Refused::ReadOnly(..) => Fault::new(403, "AccessDenied", &refused.words()),
        Refused::Gone => not_found(),
        Refused::NotWritten(_) => failed(),
        Refused::Overtaken | Refused::Unlogged(_) => unavailable(&refused.words()),
        _ => invalid(&refused.words()),
    }
}

fn invalid(why: &str) -> Fault {
    Fault::new(400, "InvalidArgument", why)
}

fn failed() -> Fault {
    Fault::new(500, "InternalError", "Nothing was changed: it could not be written down.")
}

/// What a body asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    name: Option<String>,
    comment: Option<String>,
    tags: BTreeMap<String, String>,
}

impl Wanted {
    fn read(body: &[u8], root: &str) -> Result<Self, Fault> {
        if body.is_empty() {
            return Err(Fault::new(400, "MissingBody", "This operation requires a body."));
        }
        let text = std::str::from_utf8(body).map_err(|_| malformed("it is not UTF-8"))?;
        let (mut wanted, mut tags) = (Self::default(), TagsSeen::default());
        walk(text, |place, words| {
            let Some((first, rest)) = place.split_first().filter(|(first, _)| **first == root)
            else {
                return Err(malformed(&format!("it is no {root}")));
            };
            match rest {
                ["Name"] => wanted.name = Some(words),
                ["Comment"] => wanted.comment = Some(words),
                ["Tags", rest @ ..] if tags.see(rest, &words) => {}
                [] => {}
                ["ImportSource", ..] => {
                    return Err(invalid(
                        "ImportSource: objects of S3 are not read here; make the store without it, and import the file with `foreshore kv import`.",
                    ));
                }
                _ => {
                    return Err(malformed(&format!(
                        "there is an element that a {first} does not have"
                    )));
                }
            }
            Ok(())
        })?;
        if wanted.comment.as_ref().is_some_and(|text| text.chars().count() > COMMENT_MAX) {
            return Err(invalid(&format!("Comment has at most {COMMENT_MAX} letters.")));
        }
        wanted.tags = tags.done()?;
        Ok(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_read_as_the_tools_write_them() {
        let create = "CreateKeyValueStoreRequest";
        let tags_of = |inner: &str| {
            let one = [("k".to_string(), "v".to_string())];
            if inner.contains("<Tags>") { BTreeMap::from(one) } else { BTreeMap::new() }
        };
        let whole = |inner: &str| format!("<{create} xmlns=\"{NAMESPACE}\">{inner}</{create}>");
        for (inner, want) in [
            ("<Name>flags</Name>", Ok((Some("flags"), None))),
            ("<Comment>a &amp; b</Comment><Name>f</Name>", Ok((Some("f"), Some("a & b")))),
            (
                "<Name>f</Name><Tags><Items><Tag><Key>k</Key><Value>v</Value></Tag></Items></Tags>",
                Ok((Some("f"), None)),
            ),
            (
                "<Name>f</Name><ImportSource><SourceType>S3</SourceType></ImportSource>",
                Err("InvalidArgument"),
            ),
            ("<Name>f</Name><More/>", Err("MalformedXML")),
            ("<Name>f", Err("MalformedXML")),
        ] {
            let read = Wanted::read(whole(inner).as_bytes(), create);
            let got = read.map_err(|fault| fault.code);
            let want = want.map(|(name, comment)| Wanted {
                name: name.map(String::from),
                comment: comment.map(String::from),
                tags: tags_of(inner),
            });
            assert_eq!(got, want, "{inner}");
        }
        let code = |body: &str| Wanted::read(body.as_bytes(), create).unwrap_err().code;
        assert_eq!(code("<UpdateKeyValueStoreRequest/>"), "MalformedXML");
        assert_eq!(code(""), "MissingBody");
        let long = whole(&format!("<Comment>{}</Comment>", "c".repeat(COMMENT_MAX + 1)));
        assert_eq!(code(&long), "InvalidArgument");
    }
}
