//! CloudFront's API (2020-05-31, rest-xml), as the AWS tools speak it: invalidations here, by older
//! versions too, the documents of distributions, policies and keys in `resources`, functions in
//! `functions`, key value stores in `values`, and what there is none of in `absent`.
//!
//! Signed with Signature Version 4 under a key of the configuration, or with the admin token. It
//! knows nothing of the other operations, and says so.

mod absent;
mod adopt;
mod apply;
pub mod batch;
mod calls;
pub mod certificates;
mod deployments;
pub mod follow;
pub mod function_store;
mod functions;
mod kinds;
mod listings;
mod monitoring;
mod realtime_logs;
mod resources;
mod rules;
mod tags;
mod together;
mod tree;
mod trust_stores;
mod values;
mod views;
pub mod xml;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, HOST, LOCATION};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};

use self::calls::DocumentCall;
use self::xml::{Fault, Form, NAMESPACE, Page, Said};
use super::Control;
use super::caller::{self, Doubt};
use super::invalidation::{ITEMS_MAX, Wrong};
use crate::cache::invalidations::{Matcher, Severity};
use crate::control::answer::{Answer, whole};
use crate::crypto::sigv4::SigV4Error;
use crate::distribution::site::Transport;
use crate::fleet::restore::fleet_id;
use crate::invalidation::log::{InvalidationRecord, new_id};
use crate::region::standings::Status;

/// The version of the API that is spoken, which its paths begin with.
const VERSION: &str = "2020-05-31";
/// Those before it that AWS's tools have models of. In each of them the three calls about
/// invalidations are the same to the last element but for the namespace, and have the same errors;
/// most others have other shapes.
const OLDER: [&str; 18] = [
    "2014-05-31",
    "2014-10-21",
    "2014-11-06",
    "2015-04-17",
    "2015-07-27",
    "2015-09-17",
    "2016-01-13",
    "2016-01-28",
    "2016-08-01",
    "2016-08-20",
    "2016-09-07",
    "2016-09-29",
    "2016-11-25",
    "2017-03-25",
    "2017-10-30",
    "2018-06-18",
    "2018-11-05",
    "2019-03-26",
];
/// Most invalidations of one page.
const PAGE: usize = 100;

/// An operation, and what it is about.
#[derive(Clone, Copy, Debug)]
enum Call<'p> {
    Create(&'p str),
    Get(&'p str, &'p str),
    List(&'p str),
    Documents(DocumentCall<'p>),
    Functions(functions::Call<'p>),
    Values(values::Call<'p>),
    Absent(&'static absent::List),
}

impl<'p> Call<'p> {
    // Each family of calls looks for its own.
    fn of(method: &Method, path: &'p str, query: Option<&str>) -> Result<Self, Fault> {
        let (version, path) = versioned(path);
        let parts: Vec<&'p str> = path.split('/').collect();
        if version != VERSION {
            return Self::of_older(version, method, &parts);
        }
        if let Some(call) = DocumentCall::of(method, &parts, query) {
            return Ok(Self::Documents(call));
        }
        if let Some(call) = functions::Call::of(method, &parts) {
            return Ok(Self::Functions(call));
        }
        if let Some(call) = values::Call::of(method, &parts) {
            return Ok(Self::Values(call));
        }
        if let Some(list) = absent::List::of(method, &parts) {
            return Ok(Self::Absent(list));
        }
        Self::of_invalidations(method, &parts).ok_or_else(|| absent::fault(method, &parts))
    }

    fn of_invalidations(method: &Method, parts: &[&'p str]) -> Option<Self> {
        match (method, parts) {
            (&Method::POST, ["distribution", id, "invalidation"]) => Some(Self::Create(id)),
            (&Method::GET, ["distribution", id, "invalidation"]) => Some(Self::List(id)),
            (&Method::GET, ["distribution", id, "invalidation", one]) => Some(Self::Get(id, one)),
            _ => None,
        }
    }

    // Whatever may have other shapes there is not answered as if it had today's.
    fn of_older(version: &str, method: &Method, parts: &[&'p str]) -> Result<Self, Fault> {
        let known = OLDER.contains(&version).then(|| Self::of_invalidations(method, parts));
        known.flatten().ok_or_else(|| {
            let why = format!(
                "Foreshore answers version {VERSION} of this API, and the calls about invalidations of versions \
                 from {} on; this is another call of {version}. Use a tool or an SDK that sends {VERSION}.",
                OLDER[0]
            );
            Fault::new(404, "UnsupportedOperation", &why)
        })
    }

    fn action(self) -> String {
        match self {
            Self::Create(_) => "CreateInvalidation".into(),
            Self::Get(..) => "GetInvalidation".into(),
            Self::List(_) => "ListInvalidations".into(),
            Self::Documents(call) => call.action(),
            Self::Functions(call) => call.action().into(),
            Self::Values(call) => call.action().into(),
            Self::Absent(list) => list.action.into(),
        }
    }
}

// The version of a path, and what stands below it.
fn versioned(path: &str) -> (&str, &str) {
    let below = path.strip_prefix('/').unwrap_or(path);
    below.split_once('/').unwrap_or((VERSION, ""))
}

/// Answers a call; whatever is wrong with it is answered in AWS's form.
pub async fn answer(control: &Arc<Control>, parts: &Parts, body: Bytes) -> Answer {
    let (name, answered) = match Call::of(&parts.method, parts.uri.path(), parts.uri.query()) {
        Ok(call) => (call.action(), act(control, parts, call, body).await),
        Err(fault) => ("Unknown".to_string(), Err(fault)),
    };
    let mut said = answered.unwrap_or_else(|fault| said(&fault));
    control.api_calls.note("cloudfront", &name, said.status);
    // Tools that look at it look for the one they sent.
    let (version, _) = versioned(parts.uri.path());
    if OLDER.contains(&version) {
        said.xml = said.xml.replacen(NAMESPACE, &xml::namespace(version), 1);
    }
    respond(said)
}

fn said(fault: &Fault) -> Said {
    let request = new_id();
    let xml = fault.xml(&request);
    Said { status: fault.status, xml, request: Some(request), ..Said::default() }
}

/// The answer to a body that did not come whole, with the status that says why.
pub fn not_read(status: u16) -> Answer {
    let why = "The body of the request did not come whole.";
    respond(said(&Fault::new(status, "RequestTimeout", why)))
}

/// The answer to a body beyond the limit, of which nothing was looked at.
pub fn too_large(limit: usize) -> Answer {
    let fault = Fault::new(
        413,
        "BatchTooLarge",
        &format!(
            "Invalidation batch specified is too large: a body has at most {limit} octets here."
        ),
    );
    respond(said(&fault))
}

fn respond(said: Said) -> Answer {
    let (has_body, form) = (!said.xml.is_empty(), said.form);
    let mut response = Response::new(whole(said.xml));
    *response.status_mut() =
        StatusCode::from_u16(said.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let fields = response.headers_mut();
    if has_body {
        let kind = if form == Form::Code { "application/octet-stream" } else { "text/xml" };
        fields.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    fields.insert("x-amzn-requestid", value(said.request.unwrap_or_else(new_id)));
    if let Some(location) = said.location {
        fields.insert(LOCATION, value(location));
    }
    if let Some(etag) = said.etag {
        if form == Form::Misspelt {
            fields.insert("ettag", value(etag.clone()));
        }
        fields.insert(ETAG, value(etag));
    }
    response
}

async fn act(
    control: &Arc<Control>,
    parts: &Parts,
    call: Call<'_>,
    body: Bytes,
) -> Result<Said, Fault> {
    let who = admit(control, parts, call, &body)?;
    match call {
        Call::Documents(call) => resources::answer(control, parts, call, who, body).await,
        Call::Functions(call) => functions::act(control, parts, call, who, body).await,
        Call::Values(call) => values::act(control, parts, call, &body).await,
        Call::Absent(list) => list.answer(parts.uri.query()),
        Call::Create(distribution) => {
            known(control, distribution)?;
            let record = create(control, distribution, &body).await?;
            let xml = xml::invalidation(&record, status(control, &record).await);
            let location = Some(location(control, parts, &record.id));
            Ok(Said { status: 201, xml, location, ..Said::default() })
        }
        Call::Get(distribution, id) => {
            known(control, distribution)?;
            let found = control.log.find(id).filter(|record| record.distribution == distribution);
            let record = found.ok_or_else(|| {
                Fault::new(404, "NoSuchInvalidation", "The specified invalidation does not exist.")
            })?;
            let xml = xml::invalidation(&record, status(control, &record).await);
            Ok(Said { status: 200, xml, ..Said::default() })
        }
        Call::List(distribution) => {
            known(control, distribution)?;
            let xml = list(control, distribution, parts.uri.query()).await?;
            Ok(Said { status: 200, xml, ..Said::default() })
        }
    }
}

fn known(control: &Control, distribution: &str) -> Result<(), Fault> {
    let running = control.edge.running();
    if running.site.distributions.iter().any(|known| known.id == distribution) {
        return Ok(());
    }
    Err(Fault::new(404, "NoSuchDistribution", "The specified distribution does not exist."))
}

// Where what was made is found: below the path of the call that made it.
fn location(control: &Control, parts: &Parts, id: &str) -> String {
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let is_tls = control.edge.running().site.admin.transport == Transport::Tls;
    let scheme = if is_tls { "https" } else { "http" };
    format!("{scheme}://{host}{}/{id}", parts.uri.path())
}

// A caller with the admin token may; so may one that signs under a key that allows it. Who it is.
fn admit(control: &Control, parts: &Parts, call: Call<'_>, body: &[u8]) -> Result<String, Fault> {
    let action = call.action();
    let doubt = match caller::admit(control, parts, ("cloudfront", action.as_str()), body) {
        Ok(who) => return Ok(who),
        Err(doubt) => doubt,
    };
    let (status, code, words) = match doubt {
        Doubt::Unsigned => (403, "MissingAuthenticationToken", "Missing Authentication Token"),
        Doubt::UnsignedMayNot => (
            403,
            "AccessDenied",
            "Calls without a signature may do nothing but invalidate, and without [api] look distributions up.",
        ),
        Doubt::Unreadable => (
            400,
            "IncompleteSignature",
            "The Authorization field is not a whole AWS4-HMAC-SHA256 signature.",
        ),
        Doubt::UnknownKey => {
            (403, "InvalidClientTokenId", "The security token included in the request is invalid.")
        }
        Doubt::Signature(SigV4Error::Skewed) => (
            403,
            "RequestExpired",
            "The request was signed more than fifteen minutes ago, or in the future.",
        ),
        Doubt::Signature(SigV4Error::Incomplete | SigV4Error::NoDate) => (
            400,
            "IncompleteSignature",
            "The signature must cover Host and X-Amz-Date, and X-Amz-Date its day.",
        ),
        Doubt::Signature(SigV4Error::OtherService) => (
            403,
            "SignatureDoesNotMatch",
            "Credential should be scoped to correct service: 'cloudfront'.",
        ),
        Doubt::Signature(SigV4Error::Wrong | SigV4Error::OtherBody | SigV4Error::OtherRegion) => (
            403,
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided.",
        ),
        Doubt::NotAllowed => {
            let words = format!("This access key is not allowed to perform cloudfront:{action}.");
            return Err(Fault::new(403, "AccessDenied", &words));
        }
    };
    Err(Fault::new(status, code, words))
}

async fn create(
    control: &Arc<Control>,
    distribution: &str,
    body: &[u8],
) -> Result<InvalidationRecord, Fault> {
    if body.is_empty() {
        return Err(Fault::new(400, "MissingBody", "This operation requires a body."));
    }
    let batch = batch::parse(body)?;
    let invalid = || {
        let why = "Your request contains one or more invalid invalidation paths.";
        Fault::new(400, "InvalidArgument", why)
    };
    let matchers: Vec<Matcher> = batch
        .paths
        .iter()
        .map(|path| Matcher::parse(path))
        .collect::<Result<_, _>>()
        .map_err(|_| invalid())?;
    if matchers.is_empty() {
        return Err(invalid());
    }
    let one = control.batches.lock().await;
    if let Some(known) = control.log.find_reference(distribution, &batch.reference) {
        if known.batch.as_ref() == Some(&batch) {
            return Ok(known);
        }
        // The words are CloudFront's own, which Ansible looks for, and so is the code: the model of
        // CreateInvalidation has no InvalidationBatchAlreadyExists, of which the documentation tells.
        return Err(Fault::new(
            400,
            "InvalidArgument",
            "Your request contains a caller reference that was used for a previous invalidation batch for the same distribution. That one names other paths.",
        ));
    }
    let waiting: usize = in_progress(control, distribution);
    if waiting + matchers.len() > ITEMS_MAX {
        return Err(Fault::new(
            400,
            "TooManyInvalidationsInProgress",
            "Processing your request will cause you to exceed the maximum number of in-progress invalidations.",
        ));
    }
    let record = InvalidationRecord::new(
        new_id(),
        distribution.to_string(),
        matchers,
        Severity::Hard,
        control.edge.clock.now().0,
    );
    let (record, _) = control
        .accept(InvalidationRecord { batch: Some(batch), ..record })
        .await
        .map_err(|wrong| match wrong {
            Wrong::Bad(why) | Wrong::Unknown(why) => Fault::new(400, "InvalidArgument", &why),
            Wrong::NotWritten(why) => {
                tracing::error!(why, "an invalidation could not be written down");
                Fault::new(
                    500,
                    "InternalError",
                    "Nothing was invalidated: the log could not be written.",
                )
            }
        })?;
    drop(one);
    // Parents that answer soon have applied it before the caller asks for its status.
    // A fleet answers at once, and tells later, as CloudFront does.
    control.spread(&record, Some(Duration::ZERO)).await;
    Ok(record)
}

// Paths of invalidations that some parent has yet to apply.
fn in_progress(control: &Control, distribution: &str) -> usize {
    if let Some(member) = control.edge.fleet.get() {
        let newest = control.log.newest(ITEMS_MAX);
        let waiting = newest.iter().filter(|record| {
            record.distribution == distribution && member.is_unplaced(fleet_id(record))
        });
        return waiting.map(|record| record.matchers.len()).sum();
    }
    let standings = &control.edge.standings;
    if standings.status(control.log.tail().number) == Status::Completed {
        return 0;
    }
    let newest = control.log.newest(ITEMS_MAX);
    let behind =
        newest.iter().take_while(|record| standings.status(record.number) == Status::InProgress);
    behind
        .filter(|record| record.distribution == distribution)
        .map(|record| record.matchers.len())
        .sum()
}

async fn status(control: &Control, record: &InvalidationRecord) -> &'static str {
    let statuses = control.statuses(std::slice::from_ref(record)).await;
    statuses.first().map_or("InProgress", |status| status.as_str())
}

// Where a list is to go on, and how much of it is wanted.
fn page_asked(query: Option<&str>, usual: usize) -> Result<(String, usize), Fault> {
    let (mut marker, mut most) = (String::new(), usual);
    for (name, said) in query.unwrap_or("").split('&').filter_map(|pair| pair.split_once('=')) {
        let said = percent_encoding::percent_decode_str(said).decode_utf8_lossy().into_owned();
        match name {
            "Marker" => marker = said,
            "MaxItems" => {
                let number = said.parse().ok().filter(|number| *number > 0);
                most = number.ok_or_else(|| {
                    Fault::new(400, "InvalidArgument", "MaxItems is a number above zero.")
                })?;
            }
            _ => {}
        }
    }
    Ok((marker, most))
}

async fn list(control: &Control, distribution: &str, query: Option<&str>) -> Result<String, Fault> {
    let (marker, most) = page_asked(query, PAGE)?;
    let all: Vec<InvalidationRecord> = control
        .log
        .newest(usize::MAX)
        .into_iter()
        .filter(|record| record.distribution == distribution)
        .collect();
    let from = match marker.as_str() {
        "" => 0,
        id => {
            1 + all
                .iter()
                .position(|record| record.id == id)
                .ok_or_else(|| Fault::new(400, "InvalidArgument", "There is no such marker."))?
        }
    };
    let most = most.min(PAGE);
    let shown = &all[from..all.len().min(from.saturating_add(most))];
    let statuses = control.statuses(shown).await;
    let page: Vec<(&InvalidationRecord, &str)> =
        shown.iter().zip(&statuses).map(|(record, status)| (record, status.as_str())).collect();
    let is_truncated = all.len() > from + page.len();
    Ok(xml::list(&Page { marker: &marker, most, is_truncated, items: &page }))
}
// A field value that we wrote ourselves.
fn value(text: String) -> http::HeaderValue {
    http::HeaderValue::try_from(text).unwrap_or_else(|_| http::HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(method: &Method, path: &str) -> Result<String, String> {
        let found = Call::of(method, path, None);
        found.map(Call::action).map_err(|fault| fault.message().to_string())
    }

    #[test]
    fn older_versions_have_the_calls_whose_shapes_are_the_same() {
        assert_eq!(xml::namespace(VERSION), NAMESPACE);
        for version in OLDER.iter().chain([&VERSION]) {
            for (method, path, action) in [
                (Method::POST, "distribution/E1/invalidation", "CreateInvalidation"),
                (Method::GET, "distribution/E1/invalidation", "ListInvalidations"),
                (Method::GET, "distribution/E1/invalidation/I1", "GetInvalidation"),
            ] {
                assert_eq!(call(&method, &format!("/{version}/{path}")).as_deref(), Ok(action));
            }
        }
        for (method, path) in [
            (Method::GET, "/2019-03-26/distribution/E1"),
            (Method::POST, "/2019-03-26/distribution"),
            (Method::GET, "/2018-11-05/streaming-distribution"),
            (Method::DELETE, "/2018-11-05/distribution/E1/invalidation"),
            // Before the lists of paths were called so.
            (Method::POST, "/2010-11-01/distribution/E1/invalidation"),
            (Method::POST, "/2099-01-01/distribution/E1/invalidation"),
        ] {
            let why = call(&method, path).unwrap_err();
            let version = &path[1..11];
            assert!(why.contains(version) && why.contains(VERSION), "{path}: {why}");
        }
        assert!(OLDER.is_sorted() && OLDER.iter().all(|version| *version < VERSION));
    }
}
