//! Behaviors: the rules for the paths that a pattern matches, and the pages in the place of errors.

use std::ops::Range;
use std::sync::Arc;

use http::HeaderName;

use super::compile_events;
use super::compile_forms;
use super::compile_functions;
use super::compile_keys;
use super::compile_log;
use super::compile_origin::{Origins, target};
use super::compile_policy;
use super::compile_response;
use super::credentials;
use super::reader::{Table, header_names};
use super::scope::{Scope, networks};
use crate::base::network::Network;
use crate::crypto::url::TrustedKeys;
use crate::distribution::behavior::{
    Behavior, ClientInvalidation, Derived, ErrorResponse, MAPPABLE, MayReplace, Methods, PostBody,
    PostCaching, Target, Unauthorised, ViewerProtocol, WriteThrough,
};
use crate::distribution::cache_policy::{CachePolicy, Codings, OriginRequestPolicy, Semantics};
use crate::distribution::field_encryption::FieldEncryption;
use crate::distribution::functions::{Attached, Hooks};
use crate::distribution::logs::RealtimeChoice;
use crate::distribution::origin::{
    AccessControl, HostRule, HttpVersion, Origin, OriginGroup, OriginKind,
};
use crate::distribution::pattern::PathPattern;
use crate::distribution::rate_limit::RateLimit;
use crate::distribution::response_policy::ResponsePolicy;

/// Every `[[distribution.behavior]]`, with ordinals among those of one distribution.
pub fn behaviors(
    table: &mut Table<'_>,
    scope: &mut Scope<'_>,
    origins: &Origins,
    groups: &[OriginGroup],
) -> Vec<Behavior> {
    let tables = table.tables("behavior");
    let count = tables.len();
    if count == 0 {
        // The smallest useful file: one origin, everything cached from it.
        let pattern = PathPattern::parse("*").ok().into_iter();
        let made = pattern.map(|pattern| {
            assemble(pattern, Target::Origin(0), Rules::default(), origins, groups, 0)
        });
        return if origins.is_empty() { Vec::new() } else { made.collect() };
    }
    let mut all = Vec::new();
    for (at, mut one) in tables.into_iter().enumerate() {
        let pattern = one.parsed("path", PathPattern::parse);
        let origin = one.string("origin");
        let target = match &origin {
            None => {
                one.missing("origin", "origin = \"app\"");
                None
            }
            Some(found) => target(&one, found, origins, groups),
        };
        let rules = rules(&mut one, scope);
        if let (Some(span), Some(target)) = (&rules.grpc, target) {
            check_grpc(&one, span, rules.methods, &asked_of(target, origins, groups));
        }
        if let Some(found) = &pattern {
            let is_any = found.value.as_str() == "*";
            if at + 1 == count && !is_any {
                one.problem(
                    &found.span,
                    "the last behavior must have path = \"*\"",
                    Some("CloudFront's default behavior: it takes what no other took".into()),
                );
            } else if at + 1 < count && is_any {
                one.problem(
                    &found.span,
                    "a behavior with path = \"*\" takes everything, so those after it are never reached",
                    Some("put it last".into()),
                );
            }
        } else if !one.has("path") {
            one.missing("path", "path = \"/img/*\"");
        }
        one.finish();
        if let (Some(pattern), Some(target)) = (pattern, target) {
            all.push(assemble(pattern.value, target, rules, origins, groups, all.len()));
        }
    }
    all
}

// A bucket of tokens for each address.
fn rate_limit(table: &mut Table<'_>) -> Option<RateLimit> {
    let mut one = table.table("rate_limit")?;
    let requests = one.number("requests", 1, 1_000_000);
    let per = one.duration("per").map_or(std::time::Duration::from_secs(1), |found| found.value);
    let burst = one.number("burst", 1, 10_000_000).map(|found| found.value);
    if requests.is_none() && !one.has("requests") {
        one.missing("requests", "requests = 100");
    }
    let requests = requests.map(|found| found.value);
    let every = requests
        .and_then(|requests| u64::try_from(per.as_micros()).ok().map(|micros| micros / requests))
        .filter(|every| *every > 0);
    if requests.is_some() && every.is_none() {
        one.problem(
            &one.span(),
            "this is more than a request in a microsecond: no limit at all",
            None,
        );
    }
    one.finish();
    Some(RateLimit { every: every?, burst: burst.or(requests)? })
}

struct Rules {
    cache: Arc<CachePolicy>,
    origin_request: Arc<OriginRequestPolicy>,
    response: Option<Arc<ResponsePolicy>>,
    viewer_protocol: ViewerProtocol,
    methods: Methods,
    error_responses: Vec<ErrorResponse>,
    client_invalidation: Option<ClientInvalidation>,
    cache_post: Option<PostCaching>,
    cache_options: bool,
    /// Where it says that calls of gRPC pass.
    grpc: Option<Range<usize>>,
    slice: Option<u64>,
    write_through: Option<WriteThrough>,
    signers: Option<TrustedKeys>,
    field_encryption: Option<Arc<FieldEncryption>>,
    allow_from: Vec<Network>,
    deny_from: Vec<Network>,
    rate_limit: Option<RateLimit>,
    realtime_log: RealtimeChoice,
    hooks: Option<Box<Hooks>>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            cache: Arc::new(CachePolicy::unnamed()),
            origin_request: Arc::new(OriginRequestPolicy::nothing()),
            response: None,
            viewer_protocol: ViewerProtocol::AllowAll,
            methods: Methods::GetHead,
            error_responses: Vec::new(),
            client_invalidation: None,
            cache_post: None,
            cache_options: false,
            grpc: None,
            slice: None,
            write_through: None,
            signers: None,
            field_encryption: None,
            allow_from: Vec::new(),
            deny_from: Vec::new(),
            rate_limit: None,
            realtime_log: RealtimeChoice::Usual,
            hooks: None,
        }
    }
}

fn rules(table: &mut Table<'_>, scope: &mut Scope<'_>) -> Rules {
    let protocols = [
        ("allow-all", ViewerProtocol::AllowAll),
        ("https-only", ViewerProtocol::HttpsOnly),
        ("redirect-to-https", ViewerProtocol::RedirectToHttps),
    ];
    let viewer_protocol = table
        .word("viewer_protocol", &protocols)
        .map_or(ViewerProtocol::AllowAll, |found| found.value);
    let methods = methods(table);
    // First: it looks at keys that others take.
    let field_encryption = compile_forms::chosen(table, scope, methods);
    let cache = cache(table, scope);
    Rules {
        methods,
        cache_options: cache_options(table, methods, cache.semantics),
        field_encryption,
        cache,
        origin_request: compile_policy::origin_request(table, scope),
        response: compile_response::response(table, scope),
        viewer_protocol,
        error_responses: error_responses(table),
        client_invalidation: client_invalidation(table, scope),
        cache_post: cache_post(table, methods),
        grpc: table.flag("grpc").filter(|found| found.value).map(|found| found.span),
        slice: slice(table),
        write_through: compile_events::write_through(table, methods),
        signers: compile_keys::signers(table, scope),
        allow_from: networks(table, "allow_from"),
        deny_from: networks(table, "deny_from"),
        rate_limit: rate_limit(table),
        realtime_log: compile_log::chosen(table, scope),
        hooks: compile_functions::hooks(table, scope),
    }
}

// What a behavior has to have for calls of gRPC, at CloudFront too: POST, and origins over HTTP/2.
fn check_grpc(table: &Table<'_>, span: &Range<usize>, methods: Methods, origins: &[&Origin]) {
    if !methods.allows(&http::Method::POST) {
        table.problem(
            span,
            "grpc = true, and this behavior does not allow POST",
            Some("methods = \"all\"".to_string()),
        );
    }
    for origin in origins {
        let (why, help) = match &origin.kind {
            OriginKind::Http(http) if http.version != HttpVersion::Http2 => (
                "is asked over HTTP/1.1, which carries no gRPC",
                Some("http_version = \"http2\" at that origin"),
            ),
            // Over http no version is agreed upon, and one would be asked for by what a viewer speaks.
            OriginKind::Http(_) if origin.clear.is_some() => (
                "has match_viewer, which asks over HTTP/1.1 where the viewer came over http",
                Some("leave match_viewer out at that origin"),
            ),
            // A signature covers a body, which would have to be whole before any of it is sent.
            OriginKind::Http(_) if origin.access.is_some() => {
                ("has access_control, and a call cannot be signed", None)
            }
            OriginKind::Http(_) => continue,
            OriginKind::Directory(..) => ("is a folder, which speaks no gRPC", None),
        };
        table.problem(
            span,
            format!("grpc = true, and origin {:?} {why}", origin.id),
            help.map(str::to_string),
        );
    }
}

/// Who says whether answers are compressed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Compress {
    AsPolicy,
    Off,
}

// The cache policy, without its codings where the behavior compresses nothing (CloudFront's
// `Compress = false`).
fn cache(table: &mut Table<'_>, scope: &Scope<'_>) -> Arc<CachePolicy> {
    let policy = compile_policy::cache(table, scope);
    let words = [("policy", Compress::AsPolicy), ("off", Compress::Off)];
    let compress = table.word("compress", &words).map_or(Compress::AsPolicy, |found| found.value);
    if compress == Compress::AsPolicy || policy.compress.is_empty() {
        return policy;
    }
    Arc::new(CachePolicy { compress: Codings::default(), ..(*policy).clone() })
}

fn slice(table: &mut Table<'_>) -> Option<u64> {
    let found = table.size("slice")?;
    if !(64 << 10..=64 << 20).contains(&found.value) {
        table.problem(&found.span, "a slice has 64KiB to 64MiB", None);
    }
    Some(found.value)
}

// Answers to POST in the store, where a behavior says that a POST is a query.
fn cache_post(table: &mut Table<'_>, methods: Methods) -> Option<PostCaching> {
    let mut one = table.table("cache_post")?;
    let span = one.span();
    let body = one
        .word("body", &[("keyed", PostBody::Keyed), ("ignored", PostBody::Ignored)])
        .map_or(PostBody::Keyed, |found| found.value);
    let headers =
        one.strings("headers").map(|found| header_names(&one, found.value)).unwrap_or_default();
    let max_body = one.size("max_body");
    if let Some(found) = &max_body
        && !(1..=16 << 20).contains(&found.value)
    {
        one.problem(&found.span, "a body in a key has 1B to 16MiB", None);
    }
    if !methods.allows(&http::Method::POST) {
        one.problem(
            &span,
            "this behavior does not allow POST",
            Some("methods = \"all\"".to_string()),
        );
    }
    one.finish();
    Some(PostCaching { body, headers, max_body: max_body.map_or(64 << 10, |found| found.value) })
}

// Whether answers to OPTIONS are kept, where that can be.
fn cache_options(table: &mut Table<'_>, methods: Methods, semantics: Semantics) -> bool {
    let Some(found) = table.flag("cache_options").filter(|found| found.value) else { return false };
    if !methods.allows(&http::Method::OPTIONS) {
        let help = "methods = [\"GET\", \"HEAD\", \"OPTIONS\"]".to_string();
        table.problem(&found.span, "this behavior does not allow OPTIONS", Some(help));
    }
    if semantics == Semantics::Rfc9111 {
        let title = "answers to OPTIONS are not kept under semantics = \"rfc9111\"";
        table.problem(&found.span, title, Some("RFC 9110 §9.3.7 forbids it".into()));
    }
    true
}

// CloudFront's custom error responses, for a distribution or for a behavior.
/// Every `[[….error_response]]`, of a distribution or of a behavior.
pub fn error_responses(table: &mut Table<'_>) -> Vec<ErrorResponse> {
    let mut all: Vec<ErrorResponse> = Vec::new();
    for mut one in table.tables("error_response") {
        let span = one.span();
        let status = one.number("status", 400, 599);
        let page = one.string("page");
        let respond_with = one.number("respond_with", 200, 599);
        let ttl = one.duration("ttl").map(|found| found.value);
        let known = |n: u64| MAPPABLE.iter().any(|m| u64::from(*m) == n);
        if let Some(found) = &status
            && !known(found.value)
        {
            one.problem(
                &found.span,
                format!("{} cannot be mapped", found.value),
                Some(format!("known: {MAPPABLE:?}")),
            );
        }
        if let Some(found) = &respond_with
            && found.value != 200
            && !known(found.value)
        {
            one.problem(
                &found.span,
                format!("a page cannot go out with {}", found.value),
                Some(format!("200, or one of {MAPPABLE:?}")),
            );
        }
        if let Some(found) = &page
            && !found.value.starts_with('/')
        {
            one.problem(
                &found.span,
                "a page is a path of this distribution and begins with /",
                None,
            );
        }
        if page.is_some() != respond_with.is_some() {
            one.problem(&span, "page and respond_with come together or not at all", None);
        }
        match status {
            Some(status) => {
                let page =
                    page.zip(respond_with).map(|(page, status)| (page.value, status.value as u16));
                all.push(ErrorResponse { status: status.value as u16, page, ttl });
            }
            None if !one.has("status") => one.missing("status", "status = 404"),
            None => {}
        }
        one.finish();
    }
    all
}

// The API Gateway cache's way of letting callers invalidate.
fn client_invalidation(table: &mut Table<'_>, scope: &mut Scope<'_>) -> Option<ClientInvalidation> {
    let mut one = table.table("client_invalidation")?;
    let folder = scope.folder(one.source());
    let words = [("token", "token"), ("anyone", "anyone"), ("access-key", "access-key")];
    let allow = one.word("allow", &words);
    let token = one
        .table("token")
        .and_then(|secret| credentials::secret(secret, &folder, &mut scope.files));
    let strategies = [
        ("FAIL_WITH_403", Unauthorised::FailWith403),
        ("SUCCEED_WITH_RESPONSE_HEADER", Unauthorised::SucceedWithResponseHeader),
        ("SUCCEED_WITHOUT_RESPONSE_HEADER", Unauthorised::SucceedWithoutResponseHeader),
    ];
    let unauthorised = one
        .word("unauthorised", &strategies)
        .map_or(Unauthorised::SucceedWithResponseHeader, |found| found.value);
    let allow = match allow.as_ref().map_or("token", |found| found.value) {
        "anyone" => Some(MayReplace::Anyone),
        "access-key" => {
            if scope.replacers.is_empty() {
                let place = allow.as_ref().map_or_else(|| one.span(), |found| found.span.clone());
                let help = "[[admin.access_key]] with allow = [\"execute-api:InvalidateCache\"]";
                one.problem(
                    &place,
                    "no access key may do execute-api:InvalidateCache",
                    Some(help.into()),
                );
            }
            Some(MayReplace::Signed(Arc::clone(&scope.replacers)))
        }
        _ => {
            if token.is_none() {
                one.missing("token", "token = { file = \"secrets/invalidate\" }");
            }
            token.map(MayReplace::Token)
        }
    };
    one.finish();
    allow.map(|allow| ClientInvalidation { allow, unauthorised })
}

fn methods(table: &mut Table<'_>) -> Methods {
    let Some(found) = table.string_or_strings("methods") else { return Methods::GetHead };
    let set = match found.value {
        Ok(word) if word == "all" => Some(Methods::Seven),
        Ok(word) if word == "any" => Some(Methods::Any),
        Ok(_) => None,
        Err(items) => {
            let mut names: Vec<String> = items.into_iter().map(|item| item.value).collect();
            names.sort_unstable();
            match names.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                ["GET", "HEAD"] => Some(Methods::GetHead),
                ["GET", "HEAD", "OPTIONS"] => Some(Methods::GetHeadOptions),
                ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"] => {
                    Some(Methods::Seven)
                }
                _ => None,
            }
        }
    };
    set.unwrap_or_else(|| {
        let help = "[\"GET\", \"HEAD\"], [\"GET\", \"HEAD\", \"OPTIONS\"], \"all\" (CloudFront's seven) or \"any\"";
        table.problem(&found.span, "these methods are not one of CloudFront's sets", Some(help.into()));
        Methods::GetHead
    })
}

// The origins that a target may ask.
fn asked_of<'o>(target: Target, origins: &'o Origins, groups: &[OriginGroup]) -> Vec<&'o Origin> {
    match target {
        Target::Origin(at) => origins.get(at).map(|(_, origin)| origin).into_iter().collect(),
        Target::Group(at) => groups[at].members.iter().map(|at| &origins[*at].1).collect(),
    }
}

fn assemble(
    pattern: PathPattern,
    target: Target,
    rules: Rules,
    origins: &Origins,
    groups: &[OriginGroup],
    ordinal: usize,
) -> Behavior {
    let asked = asked_of(target, origins, groups);
    let viewer_host = asked.iter().any(|origin| matches!(&origin.kind, OriginKind::Http(http) if http.host_rule == HostRule::Viewer));
    let host = http::header::HOST;
    let host_in_key = viewer_host
        || rules.cache.key.headers.contains(&host)
        || rules.origin_request.headers.includes(&host);
    let proto = HeaderName::from_static("cloudfront-forwarded-proto");
    let scheme_in_key = rules.cache.key.headers.contains(&proto)
        || rules.origin_request.headers.adds(proto.as_str())
        || asked.iter().any(|origin| origin.clear.is_some());
    let is_bucket =
        asked.iter().any(|origin| origin.access.as_ref().is_some_and(AccessControl::is_bucket));
    let rfc = rules.cache.semantics == Semantics::Rfc9111;
    let derived = Derived {
        host_in_key: host_in_key || (rfc && viewer_host),
        scheme_in_key,
        is_bucket,
        may_hit: false,
    };
    let mut behavior = Behavior {
        pattern,
        target,
        cache: rules.cache,
        origin_request: rules.origin_request,
        response: rules.response,
        viewer_protocol: rules.viewer_protocol,
        methods: rules.methods,
        error_responses: rules.error_responses,
        client_invalidation: rules.client_invalidation,
        cache_post: rules.cache_post,
        cache_options: rules.cache_options,
        grpc: rules.grpc.is_some(),
        slice: rules.slice,
        write_through: rules.write_through,
        signers: rules.signers,
        field_encryption: rules.field_encryption,
        allow_from: rules.allow_from,
        deny_from: rules.deny_from,
        rate_limit: rules.rate_limit,
        realtime_log: rules.realtime_log,
        hooks: rules.hooks,
        derived,
        ordinal,
    };
    behavior.derived.may_hit = may_hit(&behavior);
    behavior
}

// Says whether the hit step may answer for a behavior. Every setting is named: a new one does not
// compile before it says here what it means for hits. What the hit step does itself is left as it
// is; what it does not know of must keep it away.
fn may_hit(behavior: &Behavior) -> bool {
    let Behavior {
        // The hit step routes.
        pattern: _,
        // They are about requests to origins; a hit makes none.
        target: _,
        origin_request: _,
        // `access::admit` judges them, and the hit step calls it.
        viewer_protocol: _,
        methods: _,
        signers: _,
        allow_from: _,
        deny_from: _,
        rate_limit: _,
        // The record of a hit is written down like any other.
        realtime_log: _,
        // It is written into the lines of a hit.
        response: _,
        // A status that is mapped is looked for once the response is known.
        error_responses: _,
        // A request that may be meant by it says Cache-Control, and is not plain for this behavior.
        client_invalidation: _,
        // A POST is never the hit step's, nor is any other write.
        cache_post: _,
        // Nor an OPTIONS.
        cache_options: _,
        write_through: _,
        // A call of gRPC passes (`cache::ask`), and the hit step declines what passes.
        grpc: _,
        // It is about bodies of requests, and a plain request has none.
        field_encryption: _,
        // Slices have keys of their own, which the hit step never asks for; an object that is kept
        // whole is a hit like any other.
        slice: _,
        // They are in the key, or `access` judges by them.
        derived: Derived { host_in_key: _, scheme_in_key: _, is_bucket: _, may_hit: _ },
        ordinal: _,
        cache,
        hooks,
    } = behavior;
    // The hit step asks functions at both events of viewers. Lambdas are waited for. A hit comes by no
    // event of origins.
    let waits = hooks.as_ref().is_some_and(|hooks| {
        let is_lambda = |at| matches!(at, Some(Attached::Lambda { .. }));
        is_lambda(hooks.viewer_request) || is_lambda(hooks.viewer_response)
    });
    !cache.ttl.is_off() && !waits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(rules: Rules) -> Behavior {
        let pattern = PathPattern::parse("*").unwrap();
        assemble(pattern, Target::Origin(0), rules, &Origins::default(), &[], 0)
    }

    #[test]
    fn only_what_is_cached_may_be_a_hit() {
        assert!(made(Rules::default()).derived.may_hit);
        let off = CachePolicy::managed("CachingDisabled").unwrap();
        assert!(!made(Rules { cache: Arc::new(off), ..Rules::default() }).derived.may_hit);
    }

    #[test]
    fn code_that_is_waited_for_keeps_the_hit_step_away() {
        let with = |hooks: Hooks| {
            made(Rules { hooks: Some(Box::new(hooks)), ..Rules::default() }).derived.may_hit
        };
        let at = Some(Attached::Function(0));
        assert!(with(Hooks { viewer_request: at, ..Hooks::default() }));
        assert!(with(Hooks { viewer_response: at, ..Hooks::default() }));
        let lambda = Some(Attached::Lambda { at: 0, with_body: false });
        assert!(!with(Hooks { viewer_response: lambda, ..Hooks::default() }));
        assert!(!with(Hooks { viewer_request: lambda, ..Hooks::default() }));
        assert!(with(Hooks { origin_request: lambda, ..Hooks::default() }));
    }
}
