//! What answers of CloudFront Functions come to in the sentence of a request.

use std::sync::Arc;

use super::exchange::{ChosenOrigins, Exchange, Shaped};
use super::speak::{Failed, run, tell};
use super::stop::Stop;
use super::{Edge, Proxy};
use crate::access::{self, Routed};
use crate::base::spare::Spare;
use crate::body::Body;
use crate::cache::ask;
use crate::deliver::{self, error_response};
use crate::distribution::functions::OriginInKey;
use crate::distribution::site::Site;
use crate::functions::event::ResponseFacts;
use crate::functions::origins::{self, Around};
use crate::functions::rules::{self, Change, RequestChange, ResponseChange};
use crate::message::request::{Fields, ViewerRequest};
use crate::message::response::{Told, ViewerResponse};
use crate::message::verdict::{FunctionEnd, Outcome, Reason};
use crate::trace::live::OpenSpan;
use crate::trace::span::SpanKind;

/// Runs viewer-request code: the exchange has the request that it left, or stops with its answer.
pub(super) fn on_request(core: &Proxy, exchange: &mut Exchange, at: usize) -> Result<(), Stop> {
    request_on((&*core.edge, core.index), exchange, at)
}

/// The same on a core of an edge.
pub(super) fn request_on(
    (edge, core): (&Edge, usize),
    exchange: &mut Exchange,
    at: usize,
) -> Result<(), Stop> {
    let (running, request) = (Arc::clone(&exchange.running), Arc::clone(&exchange.request));
    let _span = exchange.spoken.is_none().then(|| called(&request)).flatten();
    let (route, ran) = (exchange.route, &mut exchange.ran);
    let judged = match exchange.spoken.take() {
        // The hit step has asked already.
        Some(spoken) => {
            *ran = Some(spoken.ran);
            spoken.judged
        }
        None => tell(&running, route, &request.head(), None, |event| {
            run((edge, core), &running, at, event, ran)
        }),
    };
    let failed = match judged {
        Ok(Change::Nothing) => return Ok(()),
        Ok(Change::Response(made)) => return Err(Stop::Made(Box::new(generated(*made)))),
        Ok(Change::Request(change)) => match choose(exchange, &change) {
            Ok(origins) => return apply(exchange, *change, origins),
            Err(invalid) => {
                let failed = Failed::invalid(&invalid);
                running.functions.counts()[at].count_error(core, failed.end);
                exchange.ran.get_or_insert_default().error = Some(failed.detail.clone());
                failed
            }
        },
        Err(failed) => failed,
    };
    Err(Stop::Made(Box::new(refused(exchange, at, &failed))))
}

// The span of a call, which lasts until what it returned has been judged.
fn called(request: &ViewerRequest) -> Option<OpenSpan> {
    request.trace.as_ref().and_then(|trace| trace.open("function", SpanKind::Internal))
}

/// Runs viewer-response code; an error is what the viewer gets in the place of the answer.
pub(super) fn on_response(
    core: &Proxy,
    exchange: &mut Exchange,
    at: usize,
    response: ViewerResponse,
) -> Result<ViewerResponse, Box<ViewerResponse>> {
    let (running, request) = (Arc::clone(&exchange.running), Arc::clone(&exchange.request));
    let _span = called(&request);
    let (route, ran) = (exchange.route, &mut exchange.ran);
    let facts =
        ResponseFacts { status: response.status, fields: Fields::Section(&response.fields) };
    let judged = tell(&running, route, &request.head(), Some(facts), |event| {
        run((&*core.edge, core.index), &running, at, event, ran)
    });
    match judged {
        Ok(Change::Response(change)) => Ok(with(response, *change)),
        // The rules let no request through here.
        Ok(Change::Nothing | Change::Request(_)) => Ok(response),
        Err(failed) => Err(Box::new(refused(exchange, at, &failed))),
    }
}

/// Makes a chosen origin a part of the key, where that is wanted.
pub(super) fn write_key(key: &mut Spare, site: &Site, shaped: &Shaped) {
    if let Some(origins) = &shaped.origins
        && site.function_settings.origin_in_key == OriginInKey::Yes
    {
        for origin in &origins.members {
            key.extend_from_slice(b"\0origin=");
            key.extend_from_slice(origin.id.as_bytes());
        }
    }
}

// The answer that viewer-request code made.
pub(super) fn generated(made: ResponseChange) -> ViewerResponse {
    let status = made.status.unwrap_or(200);
    let outcome = if status >= 400 { Outcome::Error } else { Outcome::Miss };
    let body = made.body.filter(|body| !body.is_empty());
    ViewerResponse {
        status,
        fields: made.fields.unwrap_or_default(),
        body: body.map_or(Body::Empty, Body::Bytes),
        verdict: deliver::no_cache(outcome, Reason::Function(FunctionEnd::Generated)),
        told: Told::default(),
        failure: None,
        behavior: None,
        origin_millis: None,
        ran: None,
    }
}

// What the viewer gets where code gave nothing usable; what stood there is for the log alone.
fn refused(exchange: &Exchange, at: usize, failed: &Failed) -> ViewerResponse {
    let (id, detail) = (exchange.request.id, &failed.detail);
    let function = &*exchange.running.site.functions[at].name;
    tracing::warn!(function, kind = failed.end.word(), detail, id = id.text(), "a function failed");
    error_response::function_failed(failed.end, &failed.sentence, exchange.compat(), id)
}

fn choose(
    exchange: &Exchange,
    change: &RequestChange,
) -> Result<Option<ChosenOrigins>, rules::Invalid> {
    let Some(choice) = &change.origin else { return Ok(None) };
    let (members, failover) = origins::choose(choice, &around(exchange))?;
    Ok(Some(ChosenOrigins { members, failover }))
}

// What the code of an exchange may choose origins among.
pub(super) fn around(exchange: &Exchange) -> Around<'_> {
    let site = &exchange.running.site;
    let (distribution, behavior) = exchange.chosen();
    Around {
        distribution,
        target: behavior.target,
        scheme: exchange.request.scheme,
        names: &site.origin_names,
        choosable: site.function_settings.origins,
        admin: site.admin.listen,
    }
}

// The exchange goes on with another request, or to other origins. A bucket gets no order that it
// would not have been given by the viewer.
pub(super) fn apply(
    exchange: &mut Exchange,
    change: RequestChange,
    origins: Option<ChosenOrigins>,
) -> Result<(), Stop> {
    let viewer = Arc::clone(&exchange.request);
    if change.uri.is_some() || change.query.is_some() || change.fields.is_some() {
        exchange.request = Arc::new(changed(&viewer, change));
        exchange.found = None;
    }
    exchange.shaped = Some(Arc::new(Shaped { viewer, origins }));
    let request = Arc::clone(&exchange.request);
    let head = request.head();
    let routed: Routed<'_> = exchange.routed(&head);
    let wants = ask::still_wants(&routed, exchange.wants, request.arrived_at);
    let members = (0..exchange.members()).filter_map(|at| exchange.member(at));
    let signed = members.filter_map(|origin| origin.access.as_ref());
    access::bucket::judge_for(&routed, wants.caching(), signed)?;
    exchange.wants = wants;
    Ok(())
}

// The request as code left it.
fn changed(viewer: &ViewerRequest, change: RequestChange) -> ViewerRequest {
    let mut request = viewer.arriving_at(viewer.arrived_number);
    let is_elsewhere = change.uri.is_some();
    if is_elsewhere || change.query.is_some() {
        let head = viewer.head();
        let path = change.uri.as_deref().unwrap_or(head.path);
        let query = match &change.query {
            Some(query) => query.as_deref(),
            None => head.query,
        };
        request.target = match query {
            Some(query) => [path, "?", query].concat().into(),
            None => path.into(),
        };
    }
    if is_elsewhere {
        request.spelled = None;
        request.spell_plainly();
    }
    if let Some(fields) = change.fields {
        request.fields = fields;
        request.fields_changed();
    }
    request
}

// The response as code left it. What describes the octets of a body that is replaced is gone from
// its fields by the rules.
pub(super) fn with(response: ViewerResponse, change: ResponseChange) -> ViewerResponse {
    let mut response = response;
    if let Some(fields) = change.fields {
        response.fields = fields;
    }
    let before = response.status;
    response.status = change.status.unwrap_or(before);
    match change.body {
        Some(body) if body.is_empty() => response.body = Body::Empty,
        Some(body) => {
            // An answer to HEAD says how long it would be.
            response.fields.insert(&http::header::CONTENT_LENGTH, body.len() as u64);
            response.body = Body::Bytes(body);
        }
        // Such a response has no body, whatever there was.
        None if matches!(response.status, 204 | 304) && before != response.status => {
            response.body = Body::Empty;
            response.fields.remove(&http::header::CONTENT_LENGTH);
        }
        None => {}
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_request_has_one_spelling_and_keeps_what_was_not_changed() {
        let viewer = ViewerRequest::get("http://h.test/a?x=1").with_field("accept", "*/*");
        let uri = Some("/b/%7Ec".to_string());
        let moved = changed(&viewer, RequestChange { uri, ..RequestChange::default() });
        let head = moved.head();
        assert_eq!((head.path, head.spelled, head.query), ("/b/~c", "/b/%7Ec", Some("x=1")));
        let query = Some(None);
        let moved = changed(&viewer, RequestChange { query, ..RequestChange::default() });
        let head = moved.head();
        assert_eq!((head.path, head.query), ("/a", None));
        assert!(head.fields.get_all("accept").next().is_some());
    }
}
