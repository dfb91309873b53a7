//! Lambda@Edge functions in the sentence of a request: what they are told at the four events, what
//! their answers come to, and what becomes of those that fail.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header;
use tokio::time::Instant;

use super::Proxy;
use super::exchange::Exchange;
use super::functions;
use super::stop::Stop;
use crate::body::{Body, collect};
use crate::deliver::error_response;
use crate::distribution::aws_hosts::is_bucket;
use crate::distribution::origin::{HostRule, Origin, OriginKind};
use crate::functions::event::{OriginChoice, OriginOverrides};
use crate::functions::origins;
use crate::functions::rules::{RequestChange, ResponseChange};
use crate::lambda::edge_json::{
    self, CustomOrigin, EdgeAnswer, EdgeEvent, EdgeRequest, EdgeResponse, Headers, LambdaPlace,
    LambdaRequestChange, Mistake, OriginOut, Rule, S3Origin, ShownBody,
};
use crate::lambda::{InvokeFailure, LambdaWord, OnDemand, line_of};
use crate::message::ran::Ran;
use crate::message::request::{Fields, Known, RequestHead};
use crate::message::response::{Reply, ReplyFrom, ViewerResponse};
use crate::message::verdict::{FunctionEnd, Reason};
use crate::origin::request::OriginRequest;
use crate::semantics::fields::FieldSection;

/// How long a call may wait for a worker, beyond its function's own time.
const WAIT: Duration = Duration::from_secs(10);

/// A request as a function was shown it, or as the origin got it.
pub(super) struct Sent {
    viewer: IpAddr,
    method: String,
    uri: String,
    query: Option<String>,
    fields: FieldSection,
    /// The host, where HTTP/2 has it beside the fields.
    host: Option<String>,
    origin: Option<OriginOut>,
}

/// Why a call gave nothing usable.
struct Failed {
    word: LambdaWord,
    status: u16,
    /// For the viewer.
    sentence: &'static str,
    /// For the log.
    detail: String,
}

impl From<InvokeFailure> for Failed {
    fn from(failure: InvokeFailure) -> Self {
        Self {
            word: failure.word(),
            status: failure.status(),
            sentence: failure.sentence(),
            detail: failure.to_string(),
        }
    }
}

impl From<Mistake> for Failed {
    fn from(mistake: Mistake) -> Self {
        Self {
            word: LambdaWord::Validation,
            status: 502,
            sentence: mistake.sentence(),
            detail: mistake.detail(),
        }
    }
}

impl Failed {
    /// The same for records.
    const fn end(&self) -> FunctionEnd {
        match self.word {
            LambdaWord::Execution => FunctionEnd::LambdaExecution,
            LambdaWord::Validation => FunctionEnd::LambdaValidation,
            LambdaWord::LimitExceeded => FunctionEnd::LambdaLimit,
        }
    }

    fn log(&self, core: &Proxy, exchange: &Exchange, (at, place): (usize, LambdaPlace)) {
        let (lambda, event) = (&*exchange.running.site.lambdas[at].name, place.name());
        let (kind, detail, id) = (self.word.word(), &self.detail, exchange.request.id.text());
        // Not as it is displayed: what code says may have line ends, which are no log line's.
        tracing::warn!(lambda, event, kind, detail, id, "a lambda failed");
        let error = Some(format!("{event} {lambda}: {kind}: {detail}"));
        let end = Some(self.end());
        exchange.request.notes.note_code(Ran { error, end, ..Ran::default() });
        if self.word == LambdaWord::Validation {
            // CloudWatch has these in a group of the distribution, by CloudFront itself.
            let group = format!("/aws/cloudfront/LambdaEdge/{}", exchange.chosen().0.id);
            let line = line_of(&group, &format!("({id}) ERROR Validation error: {detail}"));
            core.edge.function_tail.add(lambda, &line);
            if let Some(log) = core.edge.function_log.get().filter(|log| log.wants_functions()) {
                log.add_functions(line);
            }
        }
    }
}

impl Sent {
    /// A request to an origin. Fields that the origin's own settings add are the origin's.
    pub(super) fn to_origin(exchange: &Exchange, origin: &Origin, request: &OriginRequest) -> Self {
        let target: &str = &request.target;
        let target = target.strip_prefix(origin.path.as_str()).unwrap_or(target);
        let (uri, query) = match target.split_once('?') {
            Some((uri, query)) => (uri, Some(query.to_string())),
            None => (target, None),
        };
        let mut fields = request.fields.clone();
        fields.retain(|name, _| !origin.headers.iter().any(|(own, _)| name == own));
        Self {
            viewer: exchange.request.connection.peer.ip().to_canonical(),
            method: request.method.as_str().to_string(),
            uri: uri.to_string(),
            query,
            fields,
            host: None,
            origin: shown_origin(origin),
        }
    }

    // A viewer's own.
    fn of_viewer(head: &RequestHead<'_>) -> Self {
        let mut fields = head.fields.to_section();
        // Only the edge says what CloudFront's fields say.
        fields.retain(|name, _| !name.begins("cloudfront-"));
        Self {
            viewer: head.connection.peer.ip().to_canonical(),
            method: head.method.as_str().to_string(),
            uri: head.spelled.to_string(),
            query: head.query.map(str::to_string),
            fields,
            host: (!head.known.has(Known::Host)).then(|| head.authority.to_string()),
            origin: None,
        }
    }

    // What is shown beside the fields.
    fn beside(&self) -> Vec<(&str, &[u8])> {
        self.host.iter().map(|host| ("host", host.as_bytes())).collect()
    }

    fn request<'s>(
        &'s self,
        body: Option<ShownBody<'s>>,
        extra: &'s [(&'s str, &'s [u8])],
    ) -> EdgeRequest<'s> {
        EdgeRequest {
            viewer: self.viewer,
            method: &self.method,
            uri: self.uri.as_bytes(),
            query: self.query.as_deref().map(str::as_bytes),
            fields: Fields::Section(&self.fields),
            extra,
            body,
            origin: self.origin.as_ref(),
        }
    }
}

/// Calls the function of an origin request: what is asked instead and where, or an answer without
/// any origin.
pub(super) async fn on_origin_request(
    core: &Proxy,
    exchange: &Exchange,
    (at, with_body): (usize, bool),
    origin: &Arc<Origin>,
    mut request: OriginRequest,
) -> Result<(Arc<Origin>, OriginRequest), Box<Reply>> {
    let place = LambdaPlace::OriginRequest;
    let peeked = if with_body { Some(peek(&mut request.body, place).await) } else { None };
    let sent = Sent::to_origin(exchange, origin, &request);
    let body = peeked.as_ref().map(|(octets, is_cut)| ShownBody { octets, is_cut: *is_cut });
    let answer = call(core, exchange, at, place, sent.request(body, &[]), None).await;
    let changed = match answer {
        Ok(EdgeAnswer::Request(change)) => {
            let went = apply(exchange, &sent, origin, request, change);
            went.map_err(|mistake| invalid(core, exchange, at, mistake))
        }
        Ok(EdgeAnswer::Response(made)) => {
            let (status, fields) = (made.status.unwrap_or(200), made.fields.unwrap_or_default());
            return Err(Box::new(reply(core, status, fields, made.body.unwrap_or_default())));
        }
        Err(failed) => Err(failed),
    };
    changed.map_err(|failed| Box::new(refused(core, exchange, (at, place), &failed)))
}

/// Calls the function of an origin response.
pub(super) async fn on_origin_response(
    core: &Proxy,
    exchange: &Exchange,
    at: usize,
    sent: &Sent,
    mut came: Reply,
) -> Reply {
    let place = LambdaPlace::OriginResponse;
    let answer = {
        let fields = Fields::Section(&came.fields);
        let shown = EdgeResponse { status: came.status, description: "", fields };
        call(core, exchange, at, place, sent.request(None, &[]), Some(shown)).await
    };
    match answer {
        Ok(EdgeAnswer::Response(change)) => {
            came.status = change.status.unwrap_or(came.status);
            if let Some(fields) = change.fields {
                came.fields = fields;
            }
            if let Some(body) = change.body {
                // How long the origin's own was says nothing of this one.
                came.fields.remove(&header::CONTENT_LENGTH);
                came.body = whole(body);
            }
            came
        }
        // What has a response is read as one.
        Ok(EdgeAnswer::Request(_)) => came,
        Err(failed) => refused(core, exchange, (at, place), &failed),
    }
}

/// Calls the function of a viewer request: the exchange has the request that it left, or stops with
/// its answer.
pub(super) async fn on_viewer_request(
    core: &Proxy,
    exchange: &mut Exchange,
    (at, with_body): (usize, bool),
    body: &mut Body,
) -> Result<(), Stop> {
    let sent = Sent::of_viewer(&Arc::clone(&exchange.request).head());
    let place = LambdaPlace::ViewerRequest;
    let peeked = if with_body { Some(peek(body, place).await) } else { None };
    let shown = peeked.as_ref().map(|(octets, is_cut)| ShownBody { octets, is_cut: *is_cut });
    let beside = sent.beside();
    let answer = call(core, exchange, at, place, sent.request(shown, &beside), None).await;
    match answer {
        Ok(EdgeAnswer::Request(change)) => {
            let LambdaRequestChange { uri, query, fields, body: other, origin: _ } = change;
            if let Some(other) = other {
                *body = whole(other);
            }
            if uri.is_none() && query.is_none() && fields.is_none() {
                return Ok(());
            }
            functions::apply(exchange, RequestChange { uri, query, fields, origin: None }, None)
        }
        Ok(EdgeAnswer::Response(made)) => {
            let change =
                ResponseChange { status: made.status, fields: made.fields, body: made.body };
            let mut answer = functions::generated(change);
            answer.verdict.reason = Reason::Function(FunctionEnd::LambdaGenerated);
            Err(Stop::Made(Box::new(answer)))
        }
        Err(failed) => Err(Stop::Made(Box::new(page(core, exchange, (at, place), &failed)))),
    }
}

/// Calls the function of a viewer response; an error is what the viewer gets in the place of the
/// answer.
pub(super) async fn on_viewer_response(
    core: &Proxy,
    exchange: &Exchange,
    at: usize,
    response: ViewerResponse,
) -> Result<ViewerResponse, Box<ViewerResponse>> {
    let sent = Sent::of_viewer(&exchange.request.head());
    let place = LambdaPlace::ViewerResponse;
    let answer = {
        let fields = Fields::Section(&response.fields);
        let shown = EdgeResponse { status: response.status, description: "", fields };
        let beside = sent.beside();
        call(core, exchange, at, place, sent.request(None, &beside), Some(shown)).await
    };
    match answer {
        Ok(EdgeAnswer::Response(change)) => {
            let is_replaced = change.body.is_some();
            let change = ResponseChange { status: None, fields: change.fields, body: change.body };
            let mut response = functions::with(response, change);
            if is_replaced {
                // These speak of the octets that were there.
                for name in [
                    header::CONTENT_LENGTH,
                    header::CONTENT_ENCODING,
                    header::CONTENT_RANGE,
                    header::ACCEPT_RANGES,
                ] {
                    response.fields.remove(&name);
                }
            }
            Ok(response)
        }
        Ok(EdgeAnswer::Request(_)) => Ok(response),
        Err(failed) => Err(Box::new(page(core, exchange, (at, place), &failed))),
    }
}

// One call, from the event to an answer that keeps to the rules.
async fn call(
    core: &Proxy,
    exchange: &Exchange,
    at: usize,
    place: LambdaPlace,
    request: EdgeRequest<'_>,
    response: Option<EdgeResponse<'_>>,
) -> Result<EdgeAnswer, Failed> {
    let spec = &exchange.running.site.lambdas[at];
    let (distribution, _) = exchange.chosen();
    let host = distribution.hosts.iter().map(String::as_str).find(|host| !host.contains('*'));
    let id = exchange.request.id.text();
    let event = EdgeEvent {
        place,
        domain_name: host.unwrap_or_default(),
        distribution_id: &distribution.id,
        request_id: &id,
        request,
        response,
    };
    let Some(lambdas) = core.edge.lambdas.get().and_then(OnDemand::get) else {
        let message = "the thread of workers is not there".to_string();
        return Err(InvokeFailure::InitFailed { kind: "Edge".into(), message }.into());
    };
    let begun = Instant::now();
    let answer = lambdas.invoke(&spec.name, edge_json::write(&event), begun + spec.timeout + WAIT);
    let answer = answer.await;
    let nanos = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let ran = Ran { names: spec.name.clone(), nanos, ..Ran::default() };
    exchange.request.notes.note_code(ran);
    edge_json::read(&event, &answer?).map_err(|mistake| invalid(core, exchange, at, mistake))
}

// An answer that breaks a rule, counted.
fn invalid(core: &Proxy, exchange: &Exchange, at: usize, mistake: Mistake) -> Failed {
    let name = &exchange.running.site.lambdas[at].name;
    let lambdas = core.edge.lambdas.get().and_then(OnDemand::get);
    if let Some(counts) = lambdas.and_then(|lambdas| lambdas.counts().find(name)) {
        counts.invalid();
    }
    mistake.into()
}

// What of a body a function sees at a place, and whether there is more; the body stays whole.
async fn peek(body: &mut Body, place: LambdaPlace) -> (Bytes, bool) {
    let taken = std::mem::take(body);
    let (first, is_cut, again) = collect::peek(taken, place.body_max() as u64).await;
    *body = again;
    (first, is_cut)
}

fn whole(octets: Bytes) -> Body {
    if octets.is_empty() { Body::Empty } else { Body::Bytes(octets) }
}

// The request as the function left it, and the origin that it goes to.
fn apply(
    exchange: &Exchange,
    sent: &Sent,
    origin: &Arc<Origin>,
    mut request: OriginRequest,
    change: LambdaRequestChange,
) -> Result<(Arc<Origin>, OriginRequest), Mistake> {
    let LambdaRequestChange { uri, query, fields, body, origin: chosen } = change;
    let is_elsewhere = chosen.is_some();
    let target = match chosen {
        Some(chosen) => other_origin(exchange, origin, sent.origin.as_ref(), &chosen)?,
        None => Arc::clone(origin),
    };
    if is_elsewhere || uri.is_some() || query.is_some() {
        let uri = uri.as_deref().unwrap_or(&sent.uri);
        let query = query.unwrap_or_else(|| sent.query.clone());
        request.target = match query {
            Some(query) => format!("{}{uri}?{query}", target.path).into(),
            None => format!("{}{uri}", target.path).into(),
        };
    }
    if is_elsewhere || fields.is_some() {
        request.fields = fields.unwrap_or_else(|| sent.fields.clone());
        for (name, secret) in &target.headers {
            request.fields.insert(name, secret.expose());
        }
        if let OriginKind::Http(http) = &target.kind
            && !request.fields.contains(&header::HOST)
        {
            // A function may take it out, and no request of HTTP/1.1 is without one.
            request.fields.insert(&header::HOST, http.own_host());
        }
    }
    if let Some(body) = body {
        request.body = whole(body);
    }
    Ok((target, request))
}

// The origin as a function is shown it; a folder is none that could be shown.
fn shown_origin(origin: &Origin) -> Option<OriginOut> {
    let OriginKind::Http(http) = &origin.kind else { return None };
    let headers = origin.headers.iter().map(|(name, secret)| {
        let value = String::from_utf8_lossy(secret.expose().as_bytes());
        (name.as_str().to_string(), value.into_owned())
    });
    let headers = Headers(headers.collect());
    let path = origin.path.clone();
    let domain_name = match &http.host_rule {
        // It is found elsewhere, and is the one of its name all the same.
        HostRule::Named(name) => name.clone(),
        HostRule::Origin | HostRule::Viewer | HostRule::Fixed(_) => http.host.clone(),
    };
    let signed = origin.access.as_ref().filter(|access| access.is_bucket());
    if signed.is_some() || is_bucket(&domain_name) {
        // A region is what is signed for.
        let region = signed.map(|access| access.region.clone()).unwrap_or_default();
        let is_signed = signed.is_some();
        return Some(OriginOut::S3(S3Origin { headers, domain_name, path, is_signed, region }));
    }
    Some(OriginOut::Custom(CustomOrigin {
        headers,
        domain_name,
        path,
        port: http.port,
        is_https: http.tls.is_some(),
        read_timeout: seconds(origin.timeouts.response),
        keep_alive_timeout: seconds(origin.timeouts.idle),
        // TLS 1.3 has no name in CloudFront.
        tls_protocols: vec!["TLSv1.2".into()],
    }))
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX).max(1)
}

// What a function says of an origin, laid over the one that it was shown.
fn other_origin(
    exchange: &Exchange,
    base: &Arc<Origin>,
    shown: Option<&OriginOut>,
    chosen: &OriginOut,
) -> Result<Arc<Origin>, Mistake> {
    let around = functions::around(exchange);
    let overrides = overrides(shown, chosen);
    let is_named = around.distribution.origins.iter().any(|origin| origin.id == base.id);
    let choice = if is_named {
        OriginChoice::Select { id: base.id.clone(), overrides }
    } else {
        OriginChoice::Update(overrides)
    };
    let made = origins::choose(&choice, &around)
        .map_err(|invalid| Mistake::new(Rule::Origin, "origin", &invalid.detail()))?;
    let Some(made) = made.0.into_iter().next() else {
        return Err(Mistake::new(Rule::Origin, "origin", "nothing"));
    };
    let wants_signature = matches!(chosen, OriginOut::S3(s3) if s3.is_signed);
    if wants_signature && made.access.is_none() {
        let found = "origin-access-identity, and the origin has no access_control here";
        return Err(Mistake::new(Rule::Origin, "origin.s3.authMethod", found));
    }
    Ok(made)
}

fn overrides(shown: Option<&OriginOut>, chosen: &OriginOut) -> OriginOverrides {
    let domain = chosen.domain_name();
    let moved = shown.is_none_or(|shown| shown.domain_name() != domain);
    let headers = &chosen.headers().0;
    let mut all = OriginOverrides {
        domain_name: moved.then(|| domain.to_string()),
        custom_headers: shown
            .is_none_or(|shown| shown.headers().0 != *headers)
            .then(|| headers.clone()),
        ..OriginOverrides::default()
    };
    match chosen {
        OriginOut::Custom(custom) => {
            let was = match shown {
                Some(OriginOut::Custom(was)) => Some(was),
                _ => None,
            };
            let protocol = if custom.is_https { "https" } else { "http" };
            all.origin_path = Some(custom.path.clone());
            if moved
                || was.is_none_or(|was| (was.port, was.is_https) != (custom.port, custom.is_https))
            {
                (all.port, all.protocol) = (Some(custom.port), Some(protocol.to_string()));
            }
            if was.is_none_or(|was| was.read_timeout != custom.read_timeout) {
                all.read_timeout = Some(custom.read_timeout);
            }
            if was.is_none_or(|was| was.keep_alive_timeout != custom.keep_alive_timeout) {
                all.keep_alive_timeout = Some(custom.keep_alive_timeout);
            }
            // A custom origin is not a bucket: nothing is signed for it.
            if matches!(shown, Some(OriginOut::S3(_))) {
                all.access_control = Some(None);
            }
        }
        OriginOut::S3(s3) => {
            all.origin_path = Some(s3.path.clone());
            if moved {
                (all.port, all.protocol) = (Some(443), Some("https".to_string()));
            }
            if !s3.is_signed {
                all.access_control = Some(None);
            }
        }
    }
    all
}

fn reply(core: &Proxy, status: u16, fields: FieldSection, body: Bytes) -> Reply {
    let now = core.edge.clock.now();
    let body = whole(body);
    Reply { status, fields, body, asked_at: now, arrived_at: now, from: ReplyFrom::Origin }
}

// A failure at an origin is kept as an error of its status is: it has no lifetime of its own.
fn refused(
    core: &Proxy,
    exchange: &Exchange,
    (at, place): (usize, LambdaPlace),
    failed: &Failed,
) -> Reply {
    failed.log(core, exchange, (at, place));
    let mut fields = FieldSection::new();
    fields.insert(&header::CONTENT_TYPE, "text/plain; charset=utf-8");
    reply(core, failed.status, fields, format!("{}\n", failed.sentence).into())
}

// A failure at a viewer, which is not kept.
fn page(
    core: &Proxy,
    exchange: &Exchange,
    (at, place): (usize, LambdaPlace),
    failed: &Failed,
) -> ViewerResponse {
    failed.log(core, exchange, (at, place));
    let id = exchange.request.id;
    error_response::function_failed(failed.end(), failed.sentence, exchange.compat(), id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distribution::origin::{Family, HttpOrigin, HttpVersion, Reach};

    fn custom(domain: &str, port: u16) -> OriginOut {
        OriginOut::Custom(CustomOrigin {
            headers: Headers::default(),
            domain_name: domain.into(),
            path: String::new(),
            port,
            is_https: port == 443,
            read_timeout: 30,
            keep_alive_timeout: 5,
            tls_protocols: vec!["TLSv1.2".into()],
        })
    }

    fn origin(host: &str, host_rule: HostRule) -> Origin {
        let http = HttpOrigin {
            host: host.into(),
            port: 443,
            tls: None,
            host_rule,
            version: HttpVersion::Http1,
            family: Family::Both,
            reach: Reach::Anywhere,
        };
        Origin {
            id: "a".into(),
            kind: OriginKind::Http(http),
            path: "/base".into(),
            headers: Vec::new(),
            timeouts: Default::default(),
            attempts: 3,
            connections: 8,
            access: None,
            shield: None,
            bucket: None,
            clear: None,
        }
    }

    #[test]
    fn a_bucket_is_shown_as_one_though_nothing_is_signed_for_it() {
        let name = "b.s3.eu-west-1.amazonaws.com";
        let found_elsewhere = HostRule::Named(name.into());
        for origin in [origin(name, HostRule::Origin), origin("127.0.0.1", found_elsewhere)] {
            let wanted = OriginOut::S3(S3Origin {
                headers: Headers::default(),
                domain_name: name.into(),
                path: "/base".into(),
                is_signed: false,
                region: String::new(),
            });
            assert_eq!(shown_origin(&origin), Some(wanted));
        }
        for host in ["b.s3-website.eu-west-1.amazonaws.com", "a.test"] {
            let shown = shown_origin(&origin(host, HostRule::Origin));
            assert!(matches!(&shown, Some(OriginOut::Custom(at)) if at.domain_name == host));
        }
    }

    #[test]
    fn an_origins_own_host_has_its_port_where_its_scheme_has_another() {
        let host = |port: u16, host_rule: HostRule| {
            let mut origin = origin("a.test", host_rule);
            let OriginKind::Http(http) = &mut origin.kind else { panic!("an HTTP origin") };
            http.port = port;
            http.own_host()
        };
        // In clear text.
        assert_eq!(host(80, HostRule::Origin), "a.test");
        assert_eq!(host(443, HostRule::Viewer), "a.test:443");
        assert_eq!(host(443, HostRule::Fixed("b.test".into())), "b.test");
        assert_eq!(host(8080, HostRule::Named("c.test".into())), "c.test");
    }

    #[test]
    fn what_a_function_leaves_as_it_was_is_inherited() {
        let shown = custom("a.test", 8080);
        let same = overrides(Some(&shown), &shown);
        let path = Some(String::new());
        assert_eq!(same, OriginOverrides { origin_path: path, ..OriginOverrides::default() });
        let moved = overrides(Some(&shown), &custom("b.test", 8080));
        assert_eq!(moved.domain_name.as_deref(), Some("b.test"));
        assert_eq!((moved.port, moved.protocol.as_deref()), (Some(8080), Some("http")));
        assert_eq!(moved.read_timeout, None);
        let s3 = OriginOut::S3(S3Origin {
            headers: Headers::default(),
            domain_name: "b.s3.amazonaws.com".into(),
            path: "/a".into(),
            is_signed: false,
            region: String::new(),
        });
        let bucket = overrides(Some(&shown), &s3);
        assert_eq!((bucket.port, bucket.access_control), (Some(443), Some(None)));
        assert_eq!(bucket.origin_path.as_deref(), Some("/a"));
        assert_eq!(overrides(Some(&s3), &shown).access_control, Some(None));
    }
}
