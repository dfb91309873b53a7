//! How long may this response live? The origin's words, weighed against the policy's bounds.
//!
//! Two sets of rules run through one function: CloudFront's ("Manage how long content stays in the
//! cache (expiration)") and those of RFC 9111. Where CloudFront's would show one viewer another's
//! content, safety wins, and the branch says so.

use http::header::{ETAG, LAST_MODIFIED, SET_COOKIE};

use crate::distribution::cache_policy::{CachePolicy, Semantics};
use crate::message::stored::{Life, Reuse, TtlRule};
use crate::message::verdict::NotKept;
use crate::semantics::cache_control::{CacheControl, Directive};
use crate::semantics::fields::FieldSection;
use crate::semantics::freshness::{self, Exchanged, Lifetime};

/// What is known of the request that brought a response, as far as a lifetime depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestFacts {
    /// Authorization reached the origin and is not in the key (RFC 9111 §3.5).
    pub authorization: bool,
    /// The origin could see which viewer asks, outside the key.
    pub identity: bool,
    /// Cookies reach the origin and are not in the key, whether this request had any or not.
    pub cookies: bool,
    /// The error caching minimum TTL of this status, where it is not the policy's.
    pub error_ttl: Option<std::time::Duration>,
}

/// Decides a lifetime, or says why the response is not kept.
///
/// ```
/// use foreshore::cache::ttl::{RequestFacts, life};
/// use foreshore::distribution::cache_policy::CachePolicy;
/// use foreshore::message::verdict::NotKept;
/// use foreshore::semantics::fields::FieldSection;
/// use foreshore::semantics::freshness::Exchanged;
/// use foreshore::semantics::time::Timestamp;
///
/// let at = Timestamp::from_secs(1_800_000_000);
/// let when = Exchanged { asked_at: at, arrived_at: at };
/// let seen =
///     RequestFacts { authorization: false, identity: false, cookies: false, error_ttl: None };
/// let said = |line: &str| {
///     let mut fields = FieldSection::new();
///     fields.insert("cache-control", line);
///     life(&CachePolicy::unnamed(), 200, &fields, when, seen)
/// };
/// assert_eq!(said("max-age=60").unwrap().fresh, 60_000);
/// assert_eq!(said("no-store"), Err(NotKept::NoStore));
/// ```
pub fn life(
    policy: &CachePolicy,
    status: u16,
    fields: &FieldSection,
    when: Exchanged,
    seen: RequestFacts,
) -> Result<Life, NotKept> {
    if policy.ttl.is_off() {
        return Err(NotKept::CachingDisabled);
    }
    let ruling = freshness::directives(fields);
    let mut cc = ruling.cache_control;
    // A cookie that the origin keeps out of the store itself says nothing of the rest.
    let sets_cookie =
        fields.contains(&SET_COOKIE) && !freshness::withheld(fields).contains(&SET_COOKIE);
    forbid(policy, status, sets_cookie, &mut cc, seen)?;
    let explicit = freshness::explicit_lifetime(fields, &ruling, when.arrived_at);
    if policy.semantics == Semantics::CloudFront && sets_cookie && explicit.is_none() {
        return Err(NotKept::SetCookie);
    }
    let initial_age = freshness::initial_age(fields, when);
    let (fresh, rule, reuse) = match policy.semantics {
        Semantics::CloudFront if status >= 400 => {
            error_lifetime(policy, status, &cc, explicit, initial_age, seen)?
        }
        Semantics::CloudFront => cloudfront_lifetime(policy, &cc, explicit, initial_age, seen),
        Semantics::Rfc9111 => {
            rfc9111_lifetime(policy, status, fields, &cc, explicit, when, initial_age)?
        }
    };
    let life = windows(
        policy,
        status,
        &cc,
        Life { fresh, stale_while_revalidate: 0, stale_if_error: 0, reuse, rule },
    );
    worth_keeping(&life, fields, initial_age)
}

// What must not be kept at all.
fn forbid(
    policy: &CachePolicy,
    status: u16,
    sets_cookie: bool,
    cc: &mut CacheControl,
    seen: RequestFacts,
) -> Result<(), NotKept> {
    if cc.has(Directive::MustUnderstand) {
        // RFC 9111 §5.2.2.3: with a status we implement, no-store beside it is to be ignored.
        if !freshness::is_understood(status) {
            return Err(NotKept::NotUnderstood);
        }
        cc.unset(Directive::NoStore);
    }
    if !lifts(policy, seen) {
        if cc.has(Directive::NoStore) {
            return Err(NotKept::NoStore);
        }
        if cc.has(Directive::Private) {
            return Err(NotKept::Private);
        }
    }
    let shared =
        cc.has(Directive::Public) || cc.has(Directive::MustRevalidate) || cc.s_maxage.is_some();
    if seen.authorization && !shared {
        return Err(NotKept::Authorization);
    }
    if policy.semantics == Semantics::CloudFront && sets_cookie && seen.cookies {
        return Err(NotKept::SetCookie);
    }
    Ok(())
}

// CloudFront keeps even what must not be kept for the minimum TTL. With the viewer's identity
// outside the key that would show one viewer's content to another: then it does not
// (src/DECISIONS.md, "Safety wins over a minimum TTL").
fn lifts(policy: &CachePolicy, seen: RequestFacts) -> bool {
    policy.semantics == Semantics::CloudFront && !policy.ttl.min().is_zero() && !seen.identity
}

type Decided = (u64, TtlRule, Reuse);

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

// The table in CloudFront's "Manage how long content stays in the cache (expiration)".
fn cloudfront_lifetime(
    policy: &CachePolicy,
    cc: &CacheControl,
    explicit: Option<Lifetime>,
    initial_age: u64,
    seen: RequestFacts,
) -> Decided {
    let min = millis(policy.ttl.min());
    let forbidden =
        [Directive::NoStore, Directive::Private, Directive::NoCache].iter().any(|d| cc.has(*d));
    if forbidden {
        if lifts(policy, seen) {
            return (min.saturating_add(initial_age), TtlRule::Min, Reuse::WhileFresh);
        }
        return (0, TtlRule::Zero, Reuse::AfterValidation);
    }
    match explicit {
        None => (millis(policy.ttl.default()), TtlRule::Default, Reuse::WhileFresh),
        Some(said) => bounded(policy, said, initial_age),
    }
}

// The lower bound counts from arrival: a response that is old already still lives that long here.
fn bounded(policy: &CachePolicy, said: Lifetime, initial_age: u64) -> Decided {
    let (min, max) = (millis(policy.ttl.min()), millis(policy.ttl.max()));
    let (fresh, rule) = if said.millis > max {
        (max, TtlRule::Max)
    } else {
        (said.millis, TtlRule::Origin(said.source))
    };
    if min > 0 && fresh < min.saturating_add(initial_age) && fresh.saturating_sub(initial_age) < min
    {
        return (min.saturating_add(initial_age), TtlRule::Min, Reuse::WhileFresh);
    }
    (fresh, rule, Reuse::WhileFresh)
}

// CloudFront, "How CloudFront processes HTTP 4xx and 5xx status codes from your origin": some
// errors always, some only with a lifetime, the others never.
fn error_lifetime(
    policy: &CachePolicy,
    status: u16,
    cc: &CacheControl,
    explicit: Option<Lifetime>,
    initial_age: u64,
    seen: RequestFacts,
) -> Result<Decided, NotKept> {
    // Any directive but a lifetime means the minimum.
    let plain =
        ![Directive::NoStore, Directive::Private, Directive::NoCache].iter().any(|d| cc.has(*d));
    let explicit = explicit.filter(|_| plain);
    let said = match status {
        404 | 414 | 500 | 501 | 502 | 503 | 504 => explicit,
        400 | 403 | 405 | 412 | 415 if cc.max_age.is_some() || cc.s_maxage.is_some() => explicit,
        _ => return Err(NotKept::Status),
    };
    let capped = said.map_or(0, |said| said.millis.min(millis(policy.ttl.max())));
    let least = millis(seen.error_ttl.unwrap_or(policy.error_ttl)).saturating_add(initial_age);
    match said {
        Some(said) if capped >= least => {
            Ok((capped, TtlRule::Origin(said.source), Reuse::WhileFresh))
        }
        _ => Ok((least, TtlRule::Error, Reuse::WhileFresh)),
    }
}

fn rfc9111_lifetime(
    policy: &CachePolicy,
    status: u16,
    fields: &FieldSection,
    cc: &CacheControl,
    explicit: Option<Lifetime>,
    when: Exchanged,
    initial_age: u64,
) -> Result<Decided, NotKept> {
    if cc.has(Directive::NoCache) {
        return Ok((0, TtlRule::Zero, Reuse::AfterValidation));
    }
    if let Some(said) =
        explicit.or_else(|| freshness::heuristic_lifetime(status, fields, cc, when.arrived_at))
    {
        return Ok(bounded(policy, said, initial_age));
    }
    if !freshness::is_heuristically_cacheable(status) && !cc.has(Directive::Public) {
        return Err(NotKept::Status);
    }
    let default = millis(policy.ttl.default());
    let rule = if default > 0 { TtlRule::Default } else { TtlRule::Zero };
    Ok((default, rule, Reuse::WhileFresh))
}

// RFC 5861, and the default window of a policy that names none (src/DECISIONS.md, "Stale on error
// by default").
fn windows(policy: &CachePolicy, status: u16, cc: &CacheControl, mut life: Life) -> Life {
    let strict = [Directive::MustRevalidate, Directive::ProxyRevalidate, Directive::NoCache]
        .iter()
        .any(|d| cc.has(*d));
    if strict || life.reuse != Reuse::WhileFresh {
        return life;
    }
    let max = millis(policy.ttl.max());
    let window = |secs: u64| secs.saturating_mul(1000).min(max);
    life.stale_while_revalidate = cc.stale_while_revalidate.map_or(0, window);
    life.stale_if_error = match cc.stale_if_error {
        Some(secs) => window(secs),
        // Bare s-maxage implies proxy-revalidate (RFC 9111 §5.2.2.10).
        None if cc.s_maxage.is_some() || status >= 500 => 0,
        None => millis(policy.stale_on_error),
    };
    life
}

// Kept if it can serve once more: fresh, or to be validated, or as a stand-in.
fn worth_keeping(life: &Life, fields: &FieldSection, initial_age: u64) -> Result<Life, NotKept> {
    let validator = fields.contains(&ETAG) || fields.contains(&LAST_MODIFIED);
    let stands_in = life.stale_if_error > 0 && life.rule != TtlRule::Zero;
    if life.fresh > initial_age || validator || stands_in {
        Ok(*life)
    } else {
        Err(NotKept::NoFreshness)
    }
}
