//! What is an arriving response worth: keep it, freshen what is stored, pass it on, or reuse the
//! old one?

use std::sync::Arc;

use http::HeaderName;
use http::header::{CONTENT_ENCODING, CONTENT_RANGE, VARY};

use super::ask::CacheRequest;
use super::invalidations::{Invalidations, tag_hashes};
use super::lookup::may_stand_in;
use super::ttl::{self, RequestFacts};
use crate::deliver::CACHE_STATUS;
use crate::deliver::status_fields::without_ours;
use crate::distribution::cache_policy::{Codings, Listed, Semantics};
use crate::message::forwarding;
use crate::message::own_fields::SHARED_TIER;
use crate::message::request::Known;
use crate::message::stored::{self, Life, Part, Selecting, Selector, Stored, TtlRule};
use crate::message::tier::TierFacts;
use crate::message::verdict::NotKept;
use crate::semantics::coding::{self, Coding};
use crate::semantics::digests::{self, Change};
use crate::semantics::fields::{FieldSection, Value};
use crate::semantics::freshness::{self, Exchanged, LifetimeSource, date_value, initial_age};
use crate::semantics::lists::parse_digits;
use crate::semantics::merge::{self, Confirms};
use crate::semantics::ranges;
use crate::semantics::time::Timestamp;
use crate::semantics::vary::{self, Vary};

/// What to do with a response that arrived.
pub enum Arrived {
    Store(StorePlan),
    /// A 304 confirmed what is stored: new head, old content.
    Freshen(StorePlan, FieldSection),
    /// One viewer only.
    Pass(NotKept),
    /// The origin failed and the stored response may stand in.
    Reuse(Arc<Stored>),
    /// A 304 that confirms nothing we have: ask again without conditions.
    AskAgain,
}

/// Everything `Stored` needs beside its content.
pub struct StorePlan {
    /// To be applied on the way into the store.
    pub coding: Option<Coding>,
    pub part: Option<Part>,
    pub selector: Selector,
    pub born: Timestamp,
    pub came_aged: bool,
    pub own_tag_is_strong: bool,
    pub date: Timestamp,
    pub life: Life,
    pub tags: Box<[u64]>,
}

impl StorePlan {
    /// Cuts its life to what is left of it in the tier that gave it, where one did. `now` is when
    /// it came.
    pub fn hold_to(&mut self, tier: Option<TierFacts>, now: Timestamp) {
        if let Some(facts) = tier {
            self.life = facts.hold(self.life, now.millis_since(self.born));
        }
    }
}

/// Statuses that count as a failing origin (RFC 5861 §4).
pub const fn is_origin_failure(status: u16) -> bool {
    matches!(status, 500 | 502 | 503 | 504)
}

/// Judges the final head of a reply to a request that may be kept.
pub fn on_arrival(
    asked: &CacheRequest<'_>,
    validating: Option<&Arc<Stored>>,
    status: u16,
    fields: &FieldSection,
    when: Exchanged,
    invalidations: &Invalidations,
) -> Arrived {
    if let Some(stored) = validating {
        if status == 304 {
            return on_confirmation(asked, stored, fields, when);
        }
        if is_origin_failure(status) && may_stand_in(stored, invalidations, when.arrived_at) {
            return Arrived::Reuse(Arc::clone(stored));
        }
    }
    match status {
        304 => Arrived::Pass(NotKept::Status),
        206 => match part(asked, fields)
            .ok_or(NotKept::Partial)
            .and_then(|part| Ok((part, keeping(asked, 200, fields, when)?)))
        {
            // Encoded or not, its octets are those of the origin's own whole.
            Ok((part, kept)) => {
                Arrived::Store(StorePlan { part: Some(part), coding: None, ..kept })
            }
            Err(why) => Arrived::Pass(why),
        },
        // The whole was sent where a part was asked for; it does not belong under the part's key.
        200 if asked.slice.is_some() => Arrived::Pass(NotKept::Partial),
        _ => match keeping(asked, status, fields, when) {
            Ok(keeping) => Arrived::Store(keeping),
            Err(why) => Arrived::Pass(why),
        },
    }
}

fn on_confirmation(
    asked: &CacheRequest<'_>,
    stored: &Arc<Stored>,
    fields: &FieldSection,
    when: Exchanged,
) -> Arrived {
    let mut merged = stored.head.to_section();
    // A content that still grows may yet break, or lose its front.
    if merge::confirms(&merged, fields) == Confirms::No || !stored.content.is_complete() {
        return Arrived::AskAgain;
    }
    let is_encoded = is_encoded_here(asked, stored);
    let varied_on_coding = coding::varies_on_coding(&merged);
    // As it says now, or said when it last named its tag.
    let own_tag_is_strong = if fields.contains(&http::header::ETAG) {
        coding::has_strong_tag(fields)
    } else {
        stored.flags.own_tag_is_strong
    };
    merge::update(&mut merged, fields);
    if is_encoded {
        // The origin speaks of its own, unencoded response.
        coding::weaken_tag(&mut merged);
        digests::strip(&mut merged, Change::Coding);
    }
    if varied_on_coding && !asked.routed.behavior.cache.compress.is_empty() {
        coding::vary_on_coding(&mut merged);
    }
    if !fields.contains(&http::header::DATE) {
        // RFC 9110 §6.6.1: a recipient with a clock notes when it came; the old Date was said of
        // the old answer.
        merged
            .insert(&http::header::DATE, crate::semantics::time::format_http_date(when.arrived_at));
    }
    match keeping(asked, stored.status, &merged, when) {
        Ok(keeping) => {
            let keeping = StorePlan { part: stored.part(), own_tag_is_strong, ..keeping };
            Arrived::Freshen(keeping, merged)
        }
        // It still answers this request, but must not be used again: a life of no length says so.
        Err(_) => {
            let life =
                Life { fresh: 0, stale_while_revalidate: 0, stale_if_error: 0, ..stored.life };
            let keeping = StorePlan {
                coding: None,
                part: stored.part(),
                selector: stored.selector.clone(),
                born: when.arrived_at,
                came_aged: false,
                own_tag_is_strong,
                date: date_value(&merged, when.arrived_at),
                life: Life { reuse: crate::message::stored::Reuse::AfterValidation, ..life },
                tags: Box::from(&*stored.tags),
            };
            Arrived::Freshen(keeping, merged)
        }
    }
}

/// What the answer to a HEAD says of a stored GET response (RFC 9111 §4.3.5).
pub enum HeadNews {
    /// It agrees: the stored response is as good as new.
    Freshen(StorePlan, FieldSection),
    /// It speaks of something else: the stored one is to be validated before its next use.
    Differs,
    Nothing,
}

/// Compares a HEAD's answer with what is stored.
pub fn on_head(
    asked: &CacheRequest<'_>,
    stored: &Arc<Stored>,
    status: u16,
    fields: &FieldSection,
    when: Exchanged,
) -> HeadNews {
    if status != 200 || stored.status != 200 || !stored.content.is_complete() {
        return HeadNews::Nothing;
    }
    let agrees = |name: &HeaderName, ours: Option<&[u8]>| {
        fields.get(name).is_none_or(|value| Some(value.as_bytes()) == ours)
    };
    let length = stored.content.length().map(|len| len.to_string());
    let same = agrees(&http::header::LAST_MODIFIED, stored.head.last_modified())
        && if is_encoded_here(asked, stored) {
            // The origin speaks of its own octets; the tag of ours is made of its tag.
            merge::confirms(&stored.head.to_section(), fields) == Confirms::Yes
        } else {
            agrees(&http::header::ETAG, stored.head.etag())
                && agrees(&http::header::CONTENT_LENGTH, length.as_deref().map(str::as_bytes))
        };
    if !same {
        return HeadNews::Differs;
    }
    // Without a validator nothing says that it is the same.
    if stored.head.etag().is_none() && stored.head.last_modified().is_none() {
        return HeadNews::Nothing;
    }
    match on_confirmation(asked, stored, fields, when) {
        Arrived::Freshen(keeping, merged) => HeadNews::Freshen(keeping, merged),
        Arrived::Store(_) | Arrived::Pass(_) | Arrived::Reuse(_) | Arrived::AskAgain => {
            HeadNews::Nothing
        }
    }
}

// A weak tag and a coding that is ours to apply: what this edge makes of a response that it
// encodes.
fn is_encoded_here(asked: &CacheRequest<'_>, stored: &Stored) -> bool {
    let has_coding = |name: &str| {
        stored.head.iter().any(|(field, value)| {
            field.eq_ignore_ascii_case(b"content-encoding") && value == name.as_bytes()
        })
    };
    !asked.routed.behavior.cache.compress.is_empty()
        && stored.head.etag().is_none_or(|tag| tag.starts_with(b"W/"))
        && [Coding::Brotli, Coding::Zstd, Coding::Gzip]
            .iter()
            .any(|coding| has_coding(coding.name()))
}

/// The coding that a GET's answer would be kept under, given the head that the origin sends to
/// HEAD; such a head is to speak of that (RFC 9110 §9.3.2).
pub fn coding_of_get(
    asked: &CacheRequest<'_>,
    status: u16,
    fields: &FieldSection,
    when: Exchanged,
) -> Option<Coding> {
    let length =
        fields.get(&http::header::CONTENT_LENGTH).and_then(|len| parse_digits(len.as_bytes()));
    let coding = keeping(asked, status, fields, when).ok()?.coding?;
    coding::may_encode(status, fields, length).then_some(coding)
}

/// Says whether other requests for this would be answered with an encoding of it.
pub fn is_encoded_for_others(asked: &CacheRequest<'_>, status: u16, fields: &FieldSection) -> bool {
    let length =
        fields.get(&http::header::CONTENT_LENGTH).and_then(|len| parse_digits(len.as_bytes()));
    let cache = &asked.routed.behavior.cache;
    !cache.compress.is_empty() && !cache.ttl.is_off() && coding::may_encode(status, fields, length)
}

/// Says whether an answer to a request with the viewer's own range and conditions speaks to these:
/// it is for that viewer alone.
pub const fn answers_conditions(status: u16) -> bool {
    matches!(status, 206 | 304 | 412 | 416)
}

/// Says whether a GET asks for something else than the whole, whatever the viewer has.
pub fn has_conditions(asked: &CacheRequest<'_>) -> bool {
    use Known::{IfMatch, IfModifiedSince, IfNoneMatch, IfUnmodifiedSince, Range};
    [Range, IfNoneMatch, IfModifiedSince, IfMatch, IfUnmodifiedSince]
        .iter()
        .any(|known| asked.head().known.has(*known))
}

/// Says whether the answer to a POST may be kept as the answer to a GET of the same URL (RFC 9110
/// §9.3.3): it says so itself, by Content-Location, and states how long it is fresh.
pub fn keeping_of_post(
    asked: &CacheRequest<'_>,
    status: u16,
    fields: &FieldSection,
    when: Exchanged,
) -> Option<StorePlan> {
    let head = asked.head();
    let location = fields.get(&http::header::CONTENT_LOCATION)?.to_str().ok()?;
    let target = super::unsafe_methods::same_origin(asked, location)?;
    let ours = match head.query {
        Some(query) => format!("{}?{query}", asked.routed.path),
        None => asked.routed.path.to_string(),
    };
    if *head.method != http::Method::POST
        || status != 200
        || target != ours
        || asked.routed.behavior.cache.ttl.is_off()
        || asked.wants.is_call()
    {
        return None;
    }
    let keeping = keeping(asked, status, fields, when).ok()?;
    let stated =
        matches!(keeping.life.rule, TtlRule::Origin(source) if source != LifetimeSource::Heuristic);
    stated.then_some(keeping)
}

fn keeping(
    asked: &CacheRequest<'_>,
    status: u16,
    fields: &FieldSection,
    when: Exchanged,
) -> Result<StorePlan, NotKept> {
    let behavior = asked.routed.behavior;
    let seen = RequestFacts {
        authorization: forwarding::authorization_unkeyed(behavior, asked.head()),
        identity: forwarding::shows_identity_unkeyed(behavior, asked.head()),
        error_ttl: asked
            .routed
            .distribution
            .error_response(behavior, status)
            .and_then(|rule| rule.ttl),
        cookies: behavior.cache.key.cookies == Listed::None
            && behavior.origin_request.cookies != Listed::None,
    };
    let life = ttl::life(&behavior.cache, status, fields, when, seen)?;
    let selector = selector(asked, fields)?;
    let born = Timestamp(when.arrived_at.0.saturating_sub(initial_age(fields, when)));
    let tags =
        tag_hashes(fields.get_all(&asked.routed.distribution.tag_header).map(Value::as_bytes));
    Ok(StorePlan {
        coding: coding(asked, life),
        part: None,
        selector,
        born,
        came_aged: fields.contains(&http::header::AGE),
        own_tag_is_strong: coding::has_strong_tag(fields),
        date: date_value(fields, when.arrived_at),
        life,
        tags,
    })
}

// The part that was asked for, exactly, up to the end of the whole (RFC 9110 §15.3.7).
fn part(asked: &CacheRequest<'_>, fields: &FieldSection) -> Option<Part> {
    let wanted = asked.slice?;
    let came = ranges::parse_content_range(fields.get(&CONTENT_RANGE)?.as_bytes())?;
    let complete = came.complete?;
    let exact = came.span.start == wanted.start && came.span.end == wanted.end.min(complete);
    exact.then_some(Part { span: came.span, complete })
}

// The coding that this variant of the key is for. CloudFront prefers br to gzip; zstd, ours, stands
// between.
fn coding(asked: &CacheRequest<'_>, life: Life) -> Option<Coding> {
    let enabled = asked.routed.behavior.cache.compress;
    let accepted = forwarding::accepted_codings(asked.head(), enabled);
    let order = [
        (Codings::BR, Coding::Brotli),
        (Codings::ZSTD, Coding::Zstd),
        (Codings::GZIP, Coding::Gzip),
    ];
    // With nothing kept the work would be for one viewer.
    let worth_it = life.fresh > 0;
    order.into_iter().find(|(bit, _)| worth_it && accepted.has(*bit)).map(|(_, coding)| coding)
}

// A field that the origin did not receive cannot have shaped its answer; one that it received and
// the key lacks makes a variant (src/DECISIONS.md, "Vary by what the origin saw").
fn selector(asked: &CacheRequest<'_>, fields: &FieldSection) -> Result<Selector, NotKept> {
    let by_coding = unsaid_coding(asked, fields);
    if !fields.contains(&VARY) {
        return Ok(Selector(by_coding.into_iter().collect()));
    }
    let names: Vec<HeaderName> = match vary::parse(fields) {
        Vary::Star => return Err(NotKept::VaryStar),
        Vary::Names(names) => names,
    };
    let behavior = asked.routed.behavior;
    // Of these the origin saw a value of our making, which is not in the key: no other request can
    // be known to match.
    if names.iter().any(|name| is_our_own(asked, name)) {
        return Err(NotKept::VaryStar);
    }
    let (anybody, ours) = (asked.routed.any_forwarder(), asked.routed.forwarder());
    let counts = |name: &HeaderName| {
        forwarding::reaches_origin(behavior, anybody, name) && !forwarding::is_keyed(behavior, name)
    };
    let chosen = names.into_iter().filter(counts).map(|name| {
        let mut value = Vec::new();
        // What went no further is as good as not said.
        let was_sent = forwarding::reaches_origin(behavior, ours, &name);
        let lines = asked.head().fields.get_all(name.as_str()).filter(|_| was_sent);
        let value = vary::normalise(&name, lines, &mut value).map(|()| value.into_boxed_slice());
        (name, value)
    });
    Ok(Selector(chosen.chain(by_coding).collect()))
}

// An encoded answer whose Vary does not name Accept-Encoding is for requests that take its coding.
// If it came to a request that does not take it, the origin has nothing else, and it is for every
// request.
fn unsaid_coding(asked: &CacheRequest<'_>, fields: &FieldSection) -> Option<Selecting> {
    let codings = fields.get(&CONTENT_ENCODING)?.as_bytes();
    let takes = coding::accepts(asked.head().fields.get_all("accept-encoding"), codings);
    let is_plain = codings.eq_ignore_ascii_case(b"identity");
    (takes
        && !is_plain
        && asked.routed.behavior.cache.compress.is_empty()
        && !coding::varies_on_coding(fields))
    .then(|| stored::takes(codings))
}

fn is_our_own(asked: &CacheRequest<'_>, name: &HeaderName) -> bool {
    let behavior = asked.routed.behavior;
    let added = forwarding::added_names(behavior).any(|added| added == name)
        && *name != "cloudfront-forwarded-proto";
    *name == "x-forwarded-for" || (added && !forwarding::is_keyed(behavior, name))
}

/// Takes out of Vary what cannot have shaped the answer: under CloudFront's rules the viewer reads
/// Accept-Encoding, Cookie, and the fields that the policies let through (CloudFront: "Request and
/// response behavior for custom origins").
pub fn show_vary(asked: &CacheRequest<'_>, fields: &mut FieldSection) {
    let behavior = asked.routed.behavior;
    if behavior.semantics() != Semantics::CloudFront || !fields.contains(&VARY) {
        return;
    }
    // A star stays: it says that nothing at all may be taken for granted.
    let Vary::Names(names) = vary::parse(fields) else { return };
    let shown = |name: &&HeaderName| {
        matches!(**name, http::header::ACCEPT_ENCODING | http::header::COOKIE)
            || forwarding::reaches_origin(behavior, asked.routed.any_forwarder(), *name)
            || forwarding::is_keyed(behavior, *name)
            || is_our_own(asked, name)
    };
    let kept: Vec<&str> = names.iter().filter(shown).map(HeaderName::as_str).collect();
    if kept.len() < names.len() {
        fields.remove(&VARY);
        if !kept.is_empty() {
            fields.insert(&VARY, kept.join(", "));
        }
    }
}

/// Takes out of a head the fields that its origin keeps out of stores, as `no-cache="Set-Cookie"`
/// does, and gives them back: they are for the viewer that was asked for (RFC 9111 §5.2.2.4,
/// §5.2.2.7).
pub fn withhold(fields: &mut FieldSection) -> FieldSection {
    let mut aside = FieldSection::new();
    for name in freshness::withheld(fields) {
        aside.extend(&fields.take(&name));
    }
    // What the shared tier did for this request is not true of the next one.
    let is_of_tier = |line: &Value<'_>| line.as_bytes().starts_with(SHARED_TIER.as_bytes());
    if fields.get_all(&CACHE_STATUS).any(|line| is_of_tier(&line)) {
        let lines = fields.take(&CACHE_STATUS);
        for line in lines.get_all(&CACHE_STATUS) {
            let goes_to = if is_of_tier(&line) { &mut aside } else { &mut *fields };
            goes_to.append(&CACHE_STATUS, line);
        }
    }
    aside
}

/// Takes out of a head what a shared store does not replay.
pub fn strip_for_storage(asked: &CacheRequest<'_>, fields: &mut FieldSection) {
    withhold(fields);
    let policy = &asked.routed.behavior.cache;
    // A cookie is replayed only where it is in the key, or under the rules of RFC 9111
    // (src/DECISIONS.md, "Set-Cookie is not replayed").
    let keeps_cookies = policy.semantics != Semantics::CloudFront;
    let is_keyed = |line: Value<'_>| {
        let name = line.to_str().ok().and_then(|line| line.split_once('='));
        name.is_some_and(|(name, _)| policy.key.cookies.includes(name.trim()))
    };
    // By length first: most names are turned away by one comparison.
    fields.retain(|name, line| match name.octets().len() {
        3 => name != "age",
        10 => keeps_cookies || name != "set-cookie" || is_keyed(line),
        14 => name != "content-length",
        _ => true,
    });
    // What another hop said of its own request is not true of the next one.
    without_ours(fields);
}
