//! Laws of the pure core: tables that others wrote, small worlds walked whole, and a second
//! opinion.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use foreshore::cache::invalidations::{Invalidations, Matcher, Severity, Validity};
use foreshore::cache::lookup::{Lookup, may_stand_in, worth};
use foreshore::cache::ttl::{self, RequestFacts};
use foreshore::distribution::cache_policy::{CachePolicy, Semantics, TtlBounds};
use foreshore::distribution::pattern::PathPattern;
use foreshore::message::key::InvalidationNumber;
use foreshore::message::stored::{Life, Reuse, Stored, TtlRule};
use foreshore::message::verdict::{NotKept, RevalidateReason};
use foreshore::semantics::fields::FieldSection;
use foreshore::semantics::freshness::Exchanged;
use foreshore::semantics::time::{Timestamp, format_http_date};
use http::HeaderValue;
use proptest::prelude::*;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const WHEN: Exchanged = Exchanged { asked_at: NOW, arrived_at: NOW };
const OPEN: RequestFacts =
    RequestFacts { authorization: false, identity: false, cookies: false, error_ttl: None };

fn vectors(name: &str) -> serde_json::Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name);
    serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap()
}

#[test]
fn cloudfront_path_patterns() {
    let table = vectors("path-patterns.json");
    for case in table["cases"].as_array().unwrap() {
        let (pattern, path) = (case["pattern"].as_str().unwrap(), case["path"].as_str().unwrap());
        let matches = PathPattern::parse(pattern).unwrap().matches(path);
        assert_eq!(Some(matches), case["match"].as_bool(), "{pattern} {path}");
    }
}

#[test]
fn cloudfront_ttl_table() {
    for case in vectors("ttl-cases.json").as_array().unwrap() {
        let secs = |key: &str| Duration::from_secs(case[key].as_u64().unwrap());
        // The table's own default below its minimum is lifted, as CloudFront lifts it.
        let ttl =
            TtlBounds::new(secs("min"), secs("default").min(secs("max")), secs("max")).unwrap();
        let policy = CachePolicy { ttl, ..CachePolicy::unnamed() };
        let mut fields = FieldSection::new();
        fields.insert("etag", HeaderValue::from_static("\"v\""));
        for (name, value) in case["headers"].as_object().unwrap() {
            let value = match value.as_str().unwrap().strip_prefix("now+") {
                Some(offset) => format_http_date(Timestamp::from_secs(
                    NOW.secs() + offset.parse::<u64>().unwrap(),
                )),
                None => value.as_str().unwrap().to_string(),
            };
            fields.insert(name, value);
        }
        let life = ttl::life(&policy, 200, &fields, WHEN, OPEN);
        let expected = case["ttl"].as_u64().unwrap();
        assert_eq!(life.map_or(0, |life| life.fresh / 1000), expected, "{case}");
        if case["note"] == "not stored" {
            assert!(life.is_err(), "{case}");
        }
        if case["note"] == "CachingDisabled" {
            assert_eq!(life.err(), Some(NotKept::CachingDisabled), "{case}");
        }
    }
}

// Every combination of directives, dates, bounds and ages: 2 semantics x 2^7 directives x 4 x 3 x
// 3.
#[test]
fn ttl_small_worlds() {
    let words = [
        "no-store",
        "private",
        "no-cache",
        "public",
        "must-revalidate",
        "stale-while-revalidate=7",
        "stale-if-error=9",
    ];
    let ages = ["", "max-age=0", "max-age=60", "s-maxage=5"];
    let bounds = [(0, 0, 1000), (0, 100, 1000), (20, 100, 50)];
    for semantics in [Semantics::CloudFront, Semantics::Rfc9111] {
        for mask in 0..1u32 << words.len() {
            for age in ages {
                for (min, default, max) in bounds {
                    for authorization in [false, true] {
                        let mut line: Vec<&str> = words
                            .iter()
                            .enumerate()
                            .filter(|(at, _)| mask & (1 << at) != 0)
                            .map(|(_, w)| *w)
                            .collect();
                        line.push(age);
                        let line = line.join(", ");
                        let secs = Duration::from_secs;
                        let ttl =
                            TtlBounds::new(secs(min), secs(default.min(max)), secs(max)).unwrap();
                        let policy = CachePolicy { ttl, semantics, ..CachePolicy::unnamed() };
                        let mut fields = FieldSection::new();
                        fields.insert("cache-control", &line);
                        fields.insert("etag", HeaderValue::from_static("\"v\""));
                        let seen = RequestFacts {
                            authorization,
                            identity: authorization,
                            cookies: false,
                            error_ttl: None,
                        };
                        law_of_life(
                            &line,
                            &policy,
                            ttl::life(&policy, 200, &fields, WHEN, seen),
                            authorization,
                        );
                    }
                }
            }
        }
    }
}

fn law_of_life<E: std::fmt::Debug>(
    line: &str,
    policy: &CachePolicy,
    life: Result<Life, E>,
    authorization: bool,
) {
    let says = |word: &str| line.contains(word);
    let lifted =
        policy.semantics == Semantics::CloudFront && !policy.ttl.min().is_zero() && !authorization;
    let Ok(life) = life else { return };
    assert!(lifted || !(says("no-store") || says("private")), "kept though forbidden: {line}");
    assert!(
        !authorization || says("public") || says("must-revalidate") || says("s-maxage"),
        "shared an authorised answer: {line}"
    );
    let (min, max) = (policy.ttl.min().as_millis() as u64, policy.ttl.max().as_millis() as u64);
    if life.reuse == Reuse::WhileFresh {
        assert!(life.fresh >= min && life.fresh <= max, "{line}: {life:?} outside {min}..{max}");
    }
    if says("no-cache") && !lifted {
        assert_eq!(life.reuse, Reuse::AfterValidation, "{line}");
    }
    if says("must-revalidate") || says("no-cache") {
        assert_eq!(
            (life.stale_while_revalidate, life.stale_if_error),
            (0, 0),
            "stale against permission: {line}"
        );
    }
}

fn stored(fresh: u64, swr: u64, sie: u64, reuse: Reuse, asked_at: u64) -> Arc<Stored> {
    let life = Life {
        fresh,
        stale_while_revalidate: swr,
        stale_if_error: sie,
        reuse,
        rule: TtlRule::Default,
    };
    Arc::new(
        Stored::example()
            .with_key(b"E\0/a")
            .with_birth(NOW)
            .with_life(life)
            .with_asked_at(InvalidationNumber(asked_at)),
    )
}

fn rank(lookup: &Lookup<'_>) -> u32 {
    match lookup {
        Lookup::Fresh(_) => 0,
        Lookup::Stale(_) => 1,
        Lookup::Revalidate(
            _,
            RevalidateReason::Always
            | RevalidateReason::Expired
            | RevalidateReason::Invalidated
            | RevalidateReason::Unproven,
        ) => 2,
        Lookup::Miss(_) | Lookup::Pass(_) | Lookup::Unavailable => 3,
    }
}

// Time moves an answer only downwards; fresh implies age < lifetime; standing in ends with its
// window.
#[test]
fn lookup_small_worlds() {
    let none = Invalidations::new(10);
    for fresh in [0, 1, 5] {
        for swr in [0, 3] {
            for sie in [0, 4] {
                for reuse in [Reuse::WhileFresh, Reuse::AfterValidation] {
                    let stored = stored(fresh, swr, sie, reuse, 0);
                    let mut last = 0;
                    for age in 0..15 {
                        let now = Timestamp(NOW.0 + age);
                        let verdict = worth(&stored, now);
                        assert!(rank(&verdict) >= last, "an answer became better with age");
                        last = rank(&verdict);
                        assert_eq!(
                            matches!(verdict, Lookup::Fresh(_)),
                            reuse == Reuse::WhileFresh && age < fresh
                        );
                        if matches!(verdict, Lookup::Stale(_)) {
                            assert!(age >= fresh && age < fresh + swr);
                        }
                        assert_eq!(
                            may_stand_in(&stored, &none, now),
                            reuse == Reuse::WhileFresh && age < fresh + sie
                        );
                    }
                }
            }
        }
    }
}

// No response asked for before an invalidation is valid after it, in whatever order things are
// looked at.
#[test]
fn invalidation_small_worlds() {
    let items = ["/a", "/a*", "/*", "/b", "/b*"];
    for asked_at in 0..4u64 {
        for sequence in 0..items.len().pow(3) {
            for severities in 0..8u32 {
                let table = Invalidations::new(100);
                let response = stored(10, 0, 0, Reuse::WhileFresh, asked_at);
                let (mut hard, mut soft) = (false, false);
                let mut code = sequence;
                for number in 1..=3u64 {
                    let item = items[code % items.len()];
                    code /= items.len();
                    let severity = if severities >> (number - 1) & 1 == 1 {
                        Severity::Soft
                    } else {
                        Severity::Hard
                    };
                    table.apply(
                        "E",
                        &[Matcher::parse(item).unwrap()],
                        severity,
                        InvalidationNumber(number),
                    );
                    if number > asked_at && !item.starts_with("/b") {
                        hard |= severity == Severity::Hard;
                        soft |= severity == Severity::Soft;
                    }
                    let expected = if hard {
                        Validity::Hard
                    } else if soft {
                        Validity::Soft
                    } else {
                        Validity::Valid
                    };
                    // CacheRequest twice: the second look may use what the first one noted.
                    assert_eq!(
                        (table.validity(&response), table.validity(&response)),
                        (expected, expected),
                        "{item} {number}"
                    );
                }
            }
        }
    }
}

/// Where we differ from the second opinion, on purpose.
fn known_disagreement(line: &str) -> Option<&'static str> {
    if line.contains("no-cache=") || line.contains("private=") {
        return Some(
            "RFC 9111 §5.2.2.4: qualified forms are of the named fields alone here, and plain there",
        );
    }
    let ages = line.matches("max-age").count();
    if ages > 1 {
        return Some("RFC 9111 §4.2.1: of two values the smaller one holds here, the first there");
    }
    if line.contains("proxy-revalidate") {
        return Some(
            "RFC 9111 §5.2.2.8: proxy-revalidate forbids stale reuse, it does not end freshness",
        );
    }
    None
}

proptest! {
    // Storability and lifetime of plain GET 200, against http-cache-semantics as a shared cache.
    #[test]
    fn a_second_opinion_on_freshness(
        directives in proptest::collection::vec(prop_oneof![
            Just("no-store".to_string()), Just("private".into()), Just("public".into()), Just("no-cache".into()), Just("must-revalidate".into()),
            Just("proxy-revalidate".into()), (0u32..200).prop_map(|n| format!("max-age={n}")), (0u32..200).prop_map(|n| format!("s-maxage={n}")),
        ], 0..4),
        expires in proptest::option::of(-100i64..200), modified in proptest::option::of(1i64..100_000), etag in any::<bool>(),
        age in proptest::option::of(0u64..100), authorization in any::<bool>(),
    ) {
        let mut seen = std::collections::BTreeSet::new();
        let directives: Vec<String> = directives.into_iter().filter(|d| seen.insert(d.split('=').next().unwrap().to_string())).collect();
        let line = directives.join(", ");
        prop_assume!(known_disagreement(&line).is_none());
        let date = |offset: i64| format_http_date(Timestamp::from_secs((NOW.secs() as i64 + offset) as u64));
        let mut response = http::Response::builder().status(200).header("date", date(0));
        if !line.is_empty() { response = response.header("cache-control", &line); }
        if let Some(offset) = expires { response = response.header("expires", date(offset)); }
        if let Some(before) = modified { response = response.header("last-modified", date(-before)); }
        if etag { response = response.header("etag", "\"v\""); }
        if let Some(age) = age { response = response.header("age", age); }
        let response = response.body(()).unwrap();
        let mut request = http::Request::builder().uri("http://h.test/a").method("GET");
        if authorization { request = request.header("authorization", "Basic x"); }
        let request = request.body(()).unwrap();
        let at = UNIX_EPOCH + Duration::from_millis(NOW.0);
        let options = http_cache_semantics::CacheOptions { immutable_min_time_to_live: Duration::ZERO, ..Default::default() };
        let theirs = http_cache_semantics::CachePolicy::new_options(&request, &response, at, options);
        let policy = CachePolicy { semantics: Semantics::Rfc9111, ttl: TtlBounds::RFC9111, ..CachePolicy::unnamed() };
        let circumstances = RequestFacts { authorization, identity: authorization, cookies: false, error_ttl: None };
        let ours = ttl::life(&policy, 200, &FieldSection::from_map(response.headers()), WHEN, circumstances);
        let our_ttl = ours.map_or(0, |life| if life.reuse == Reuse::WhileFresh { (life.fresh).saturating_sub(age.unwrap_or(0) * 1000) } else { 0 });
        let their_ttl = if theirs.is_storable() { theirs.time_to_live(at).as_millis() as u64 } else { 0 };
        prop_assert!(our_ttl.abs_diff(their_ttl) <= 1000, "{line} expires {expires:?} modified {modified:?} age {age:?}: ours {our_ttl}, theirs {their_ttl}");
    }
}
