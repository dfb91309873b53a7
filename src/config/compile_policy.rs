//! Cache policies and origin request policies, by name: CloudFront's managed ones and the file's
//! own.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::compile_response;
use super::reader::{Found, Table, header_names, suggest};
use super::scope::{Scope, names};
use crate::distribution::cache_policy::{
    CachePolicy, Codings, ForwardHeaders, KeyParts, Listed, MANAGED_CACHE_POLICIES,
    MANAGED_ORIGIN_REQUEST_POLICIES, OriginRequestPolicy, Semantics, TtlBounds,
};
use crate::distribution::names::{FieldNames, NamePattern, Names};
use crate::distribution::response_policy::ResponsePolicy;

/// Reads `[cache_policy.NAME]` and `[origin_request_policy.NAME]`.
pub fn read(root: &mut Table<'_>, scope: &mut Scope<'_>) {
    for (name, table) in root.named_tables("cache_policy") {
        let policy = cache_policy(name.value.clone(), table);
        if CachePolicy::managed(&name.value).is_some() {
            root.problem(
                &name.span,
                format!("{:?} is the name of a managed policy", name.value),
                Some("choose another name".into()),
            );
        }
        let whose = format!("cache_policy {:?}", name.value);
        scope.warnings.extend(stars_in_query(&whose, &policy.key.query));
        scope.policies.cache.insert(name.value, Arc::new(policy));
    }
    for (name, table) in root.named_tables("origin_request_policy") {
        let policy = origin_request_policy(name.value.clone(), table);
        let whose = format!("origin_request_policy {:?}", name.value);
        scope.warnings.extend(stars_in_query(&whose, &policy.query));
        scope.policies.origin_request.insert(name.value, Arc::new(policy));
    }
    for (name, table) in root.named_tables("response_headers_policy") {
        let policy = compile_response::policy(name.value.clone(), table);
        if ResponsePolicy::managed(&name.value).is_some() {
            root.problem(
                &name.span,
                format!("{:?} is the name of a managed policy", name.value),
                Some("choose another name".into()),
            );
        }
        scope.policies.response.insert(name.value, Arc::new(policy));
    }
}

/// The cache policy that a behavior names.
pub fn cache(table: &mut Table<'_>, scope: &Scope<'_>) -> Arc<CachePolicy> {
    let Some(found) = table.string("cache_policy") else { return Arc::new(CachePolicy::unnamed()) };
    if let Some(own) = scope.policies.cache.get(&found.value) {
        return Arc::clone(own);
    }
    if let Some(managed) = CachePolicy::managed(&found.value) {
        return Arc::new(managed);
    }
    let help = suggest(&found, names(&scope.policies.cache), &MANAGED_CACHE_POLICIES);
    table.problem(&found.span, format!("there is no cache policy {:?}", found.value), Some(help));
    Arc::new(CachePolicy::unnamed())
}

/// The origin request policy that a behavior names.
pub fn origin_request(table: &mut Table<'_>, scope: &Scope<'_>) -> Arc<OriginRequestPolicy> {
    let Some(found) = table.string("origin_request_policy") else {
        return Arc::new(OriginRequestPolicy::nothing());
    };
    if let Some(own) = scope.policies.origin_request.get(&found.value) {
        return Arc::clone(own);
    }
    if let Some(managed) = OriginRequestPolicy::managed(&found.value) {
        return Arc::new(managed);
    }
    let help =
        suggest(&found, names(&scope.policies.origin_request), &MANAGED_ORIGIN_REQUEST_POLICIES);
    table.problem(
        &found.span,
        format!("there is no origin request policy {:?}", found.value),
        Some(help),
    );
    Arc::new(OriginRequestPolicy::nothing())
}

fn cache_policy(name: String, mut table: Table<'_>) -> CachePolicy {
    let kinds = [("cloudfront", Semantics::CloudFront), ("rfc9111", Semantics::Rfc9111)];
    let semantics =
        table.word("semantics", &kinds).map_or(Semantics::CloudFront, |found| found.value);
    let bounds = match semantics {
        Semantics::CloudFront => TtlBounds::CLOUDFRONT,
        Semantics::Rfc9111 => TtlBounds::RFC9111,
    };
    let (ttl, error_ttl) = ttl(&mut table, bounds, semantics);
    let key = key(&mut table, semantics);
    let mut compress = Codings::default();
    for item in table.strings("compress").map(|list| list.value).unwrap_or_default() {
        match item.value.as_str() {
            "br" => compress = compress.with(Codings::BR),
            "gzip" => compress = compress.with(Codings::GZIP),
            "zstd" => compress = compress.with(Codings::ZSTD),
            _ => table.problem(
                &item.span,
                format!("{:?} is not a coding", item.value),
                Some("known: \"br\", \"gzip\", \"zstd\"".into()),
            ),
        }
    }
    let stale_on_error =
        table.duration("stale_on_error").map_or(CachePolicy::STALE_ON_ERROR, |found| found.value);
    table.finish();
    let codings = compress;
    CachePolicy { name, semantics, ttl, error_ttl, key, compress, codings, stale_on_error }
}

fn ttl(policy: &mut Table<'_>, usual: TtlBounds, semantics: Semantics) -> (TtlBounds, Duration) {
    let usual_error =
        if semantics == Semantics::CloudFront { CachePolicy::ERROR_TTL } else { Duration::ZERO };
    let Some(mut table) = policy.table("ttl") else { return (usual, usual_error) };
    let span = table.span();
    let (min, default, max) =
        (table.duration("min"), table.duration("default"), table.duration("max"));
    let error = table.duration("error").map_or(usual_error, |found| found.value);
    let place =
        max.as_ref().or(default.as_ref()).or(min.as_ref()).map_or(span, |found| found.span.clone());
    let least = min.as_ref().map_or(usual.min(), |found| found.value);
    let most = max.as_ref().map_or(usual.max().max(least), |found| found.value);
    // A maximum that was given alone pulls the default under it.
    let default = default.map_or(usual.default().min(most), |found| found.value);
    let bounds = TtlBounds::new(least, default, most).unwrap_or_else(|why| {
        table.problem(
            &place,
            format!("cache_policy ttl: {why}"),
            Some("min <= default <= max".into()),
        );
        usual
    });
    table.finish();
    (bounds, error)
}

fn key(policy: &mut Table<'_>, semantics: Semantics) -> KeyParts {
    let whole =
        KeyParts { query: Listed::All, headers: FieldNames::default(), cookies: Listed::None };
    let none = KeyParts { query: Listed::None, ..whole.clone() };
    let usual = if semantics == Semantics::Rfc9111 { whole } else { none };
    let Some(mut table) = policy.table("key") else { return usual };
    let query = listed(&mut table, "query", "query_except", Names::exact).unwrap_or(usual.query);
    let cookies = listed(&mut table, "cookies", "cookies_except", Names::with_patterns)
        .unwrap_or(Listed::None);
    let named = table.strings("headers").map(|list| list.value).unwrap_or_default();
    for item in named
        .iter()
        .filter(|item| EACH_VIEWERS_OWN.iter().any(|own| item.value.eq_ignore_ascii_case(own)))
    {
        let help =
            "an origin_request_policy may name it; CloudFront does not allow it in a key either";
        table.problem(
            &item.span,
            format!("{} is nearly each viewer's own: nothing would be shared", item.value),
            Some(help.into()),
        );
    }
    let headers = field_names(&table, named);
    table.finish();
    KeyParts { query, headers, cookies }
}

// Fields that reach origins and no key (CloudFront: "Add CloudFront request headers").
const EACH_VIEWERS_OWN: [&str; 9] = [
    "client-cert",
    "client-cert-chain",
    "cloudfront-viewer-address",
    "cloudfront-viewer-asn",
    "cloudfront-viewer-cert-pem",
    "cloudfront-viewer-cert-validity",
    "cloudfront-viewer-ja3-fingerprint",
    "cloudfront-viewer-ja4-fingerprint",
    "cloudfront-viewer-tls",
];

/// Names of fields of which some may be patterns.
fn field_names(table: &Table<'_>, items: Vec<Found<String>>) -> FieldNames {
    let (patterns, plain): (Vec<_>, Vec<_>) =
        items.into_iter().partition(|item| NamePattern::parse(&item.value).is_some());
    let mut all = Vec::new();
    for item in patterns {
        // But for its question marks it has to be a name.
        let is_name = HeaderName::from_bytes(item.value.replace('?', "*").as_bytes()).is_ok();
        let is_everything = item.value.bytes().all(|octet| octet == b'*');
        let is_ours =
            item.value.get(..11).is_some_and(|start| start.eq_ignore_ascii_case("cloudfront-"));
        match NamePattern::parse(&item.value) {
            Some(pattern) if is_name && !is_everything && !is_ours => all.push(pattern),
            _ if is_everything => {
                let help = "headers = \"all\" in an origin_request_policy; in a key it would leave nothing to share: \"CachingDisabled\"";
                table.problem(
                    &item.span,
                    format!("{:?} is every field", item.value),
                    Some(help.into()),
                );
            }
            _ if is_ours => {
                let help = "such as \"CloudFront-Is-Mobile-Viewer\"";
                table.problem(
                    &item.span,
                    format!("{:?}: CloudFront's own fields are named in full", item.value),
                    Some(help.into()),
                );
            }
            _ => table.problem(
                &item.span,
                format!("{:?} is no field name, and no pattern of one", item.value),
                None,
            ),
        }
    }
    FieldNames::new(header_names(table, plain), all)
}

// The warning for a parameter's name with a `*` in it, which is no pattern there.
fn stars_in_query(whose: &str, query: &Listed) -> Option<String> {
    let (Listed::Only(names) | Listed::Except(names)) = query else { return None };
    let stars: Vec<&str> = names.texts().into_iter().filter(|name| name.contains('*')).collect();
    let name = stars.first()?;
    Some(format!(
        "{whose}: query parameters are compared as they stand, as at CloudFront: {name:?} is the parameter of that very name. Name each one; \
         patterns are for cookies and fields"
    ))
}

// `x = "none" | "all" | ["a", "b"]`, or `x_except = ["a"]`.
fn listed(
    table: &mut Table<'_>,
    key: &'static str,
    except: &'static str,
    names: fn(Vec<String>) -> Names,
) -> Option<Listed> {
    let but = table
        .strings(except)
        .map(|list| names(list.value.into_iter().map(|item| item.value).collect()));
    let chosen = table.string_or_strings(key).and_then(|found| match found.value {
        Ok(word) if word == "none" => Some(Listed::None),
        Ok(word) if word == "all" => Some(Listed::All),
        Ok(word) => {
            table.problem(
                &found.span,
                format!("{key} = {word:?} is not known"),
                Some("\"none\", \"all\", or a list of names".into()),
            );
            None
        }
        Err(items) if items.is_empty() => Some(Listed::None),
        Err(items) => Some(Listed::Only(names(items.into_iter().map(|item| item.value).collect()))),
    });
    but.map(Listed::Except).or(chosen)
}

fn origin_request_policy(name: String, mut table: Table<'_>) -> OriginRequestPolicy {
    let except = table.strings("headers_except").map(|list| field_names(&table, list.value));
    let headers = match table.string_or_strings("headers") {
        None => except.map_or(ForwardHeaders::None, ForwardHeaders::AllViewerExcept),
        Some(found) => match found.value {
            Ok(word) if word == "all" || word == "allViewer" => ForwardHeaders::AllViewer,
            Ok(word) if word == "none" => ForwardHeaders::None,
            Ok(word) => {
                table.problem(
                    &found.span,
                    format!("headers = {word:?} is not known"),
                    Some("\"none\", \"all\", or a list of names".into()),
                );
                ForwardHeaders::None
            }
            Err(items) => ForwardHeaders::Only(field_names(&table, items)),
        },
    };
    let and = table.strings("add").map(|list| header_names(&table, list.value));
    let headers = match (headers, and) {
        (ForwardHeaders::AllViewer, Some(more)) => ForwardHeaders::AllViewerAnd(more),
        (ForwardHeaders::Only(mut names), Some(more)) => {
            names.extend(more);
            ForwardHeaders::Only(names)
        }
        (ForwardHeaders::None, Some(more)) => ForwardHeaders::Only(more.into()),
        (headers, _) => headers,
    };
    let of_writes = table
        .strings("headers_of_writes")
        .map(|list| header_names(&table, list.value))
        .unwrap_or_default();
    let query = listed(&mut table, "query", "query_except", Names::exact).unwrap_or(Listed::None);
    let cookies = listed(&mut table, "cookies", "cookies_except", Names::with_patterns)
        .unwrap_or(Listed::None);
    table.finish();
    OriginRequestPolicy { name, headers, of_writes, query, cookies }
}
