//! The hit step: from a borrowed head to a stored answer, without waiting and, but where code
//! stands, without allocating.
//!
//! The same route, admit, key and lookup as serving has. It declines whatever is not plainly
//! a fresh hit whose octets are all here; declining is always right.

use std::sync::Arc;

use http::Method;
use http::header::{AGE, CONTENT_LENGTH};

use super::speak::{Spoken, run, tell};
use super::{Edge, Running, engines};
use crate::access::{self, Route, Routed};
use crate::cache::ask::{self, CacheIntent, CacheRequest, MethodIntent};
use crate::cache::lookup::{Lookup, lookup};
use crate::deliver::alt_svc::AltSvc;
use crate::deliver::form::{self, ResponseForm};
use crate::deliver::sink::FieldSink;
use crate::deliver::status_fields::{StatusFields, without_ours};
use crate::deliver::{self, policy};
use crate::distribution::compat::Compat;
use crate::distribution::functions::{Attached, Hooks};
use crate::distribution::response_policy::ResponsePolicy;
use crate::functions::event::ResponseFacts;
use crate::functions::rules::{Change, ResponseChange};
use crate::message::path::has_needless_escape;
use crate::message::ran::Ran;
use crate::message::refusal::Refusal;
use crate::message::request::{Fields, Known, RequestHead};
use crate::message::response::Told;
use crate::message::stored::Stored;
use crate::message::verdict::{Outcome, Reason, Verdict};
use crate::semantics::fields::FieldSection;
use crate::semantics::lists::members;
use crate::semantics::ranges::Span;
use crate::semantics::time::{Timestamp, format_http_date};
use crate::store::memory::Found;

/// What a plain fresh hit is told as.
pub const HIT: Verdict = Verdict {
    outcome: Outcome::Hit,
    reason: Reason::Fresh,
    collapsed: false,
    stored: false,
    failed: None,
};

/// An answer from the store.
pub struct Hit<'s> {
    pub stored: Arc<Stored>,
    pub answer: ResponseForm,
    /// The octets to send; `None` for 304 and HEAD.
    pub span: Option<Span>,
    pub behavior: usize,
    pub distribution: &'s str,
    pub pattern: &'s str,
    compat: &'s Compat,
    pop: &'s str,
    policy: Option<&'s ResponsePolicy>,
    head: &'s RequestHead<'s>,
    is_unproven: bool,
    status: u16,
    /// Its fields but for our own, where viewer-response code changed them.
    shaped: Option<Box<FieldSection>>,
    alt_svc: Option<AltSvc>,
    /// The code that ran for it, for its record.
    pub ran: Option<Box<Ran>>,
}

/// What the hit step has decided of a request that it leaves to serving; `None` if it has
/// not looked that far. Holds for the site in force then, and no other.
#[derive(Default)]
pub struct Declined(pub Option<Result<Decided, Refusal>>);

/// What was decided of a request before it was declined.
pub struct Decided {
    pub route: Route,
    pub wants: CacheIntent,
    /// What memory holds under the request's key, if that was looked for.
    pub found: Option<Found>,
    /// What viewer-request code said; then the address's rate was taken from.
    pub(super) spoken: Option<Box<Spoken>>,
}

/// Whether a request has taken from its address's rate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rate {
    Untouched,
    Spent,
}

/// Answers from the store, or declines. `scratch` holds the key.
pub fn hit<'s>(
    edge: &Edge,
    running: &'s Running,
    head: &'s RequestHead<'s>,
    scratch: &mut Vec<u8>,
    now: Timestamp,
) -> Result<Hit<'s>, Declined> {
    if !is_plain(head) {
        return Err(Declined(None));
    }
    let routed = match access::route(&running.site, head, now) {
        Ok(routed) => routed,
        Err(refusal) => return Err(Declined(Some(Err(refusal)))),
    };
    let wants = ask::wants(&routed, edge.clock.wall(now));
    let route = routed.route;
    let declined = |found| Declined(Some(Ok(Decided { route, wants, found, spoken: None })));
    if may_look(edge, running, &routed, wants, now).is_none() {
        return Err(declined(None));
    }
    if let Some(hooks) = routed.behavior.hooks.as_deref() {
        return hit_by_code(edge, running, routed, (wants, hooks), scratch, now);
    }
    ask::write_key(scratch, &routed);
    let mut found = edge.store.find(scratch);
    let asked = CacheRequest { routed, key: scratch, wants, slice: None };
    match from_store(edge, running, routed, (&asked, Rate::Untouched), &mut found, now) {
        Some(hit) => Ok(hit),
        None => Err(declined(Some(found))),
    }
}

// Says whether a head asks for nothing but a response: what changes the request before it is
// routed, brings a body or wants another protocol is left to serving.
fn is_plain(head: &RequestHead<'_>) -> bool {
    let unusual = [
        Known::TransferEncoding,
        Known::ContentLength,
        Known::Expect,
        Known::Upgrade,
        Known::ForeshoreEdge,
    ];
    let is_usual = !unusual.iter().any(|field| head.known.has(*field));
    is_usual && !has_needless_escape(head.path) && !lists_more(head)
}

/// Says whether Connection names fields that are to be dropped first; that is left to
/// serving.
pub fn lists_more(head: &RequestHead<'_>) -> bool {
    if !head.known.has(Known::Connection) {
        return false;
    }
    let plain = |member: &[u8]| {
        member.eq_ignore_ascii_case(b"keep-alive") || member.eq_ignore_ascii_case(b"close")
    };
    !head.known.all(Known::Connection).flat_map(members).all(plain)
}

// Admission, as serving has it; `None` for what serving must see to.
#[inline]
fn may_look(
    edge: &Edge,
    running: &Running,
    routed: &Routed<'_>,
    wants: CacheIntent,
    now: Timestamp,
) -> Option<()> {
    if !routed.behavior.derived.may_hit {
        return None;
    }
    // Serving sends the cookie.
    if routed.route.session.is_some_and(|session| session.is_news) {
        return None;
    }
    access::admit(routed, wants.caching(), edge.around(running, now)).ok()?;
    if !matches!(wants.method, MethodIntent::Get | MethodIntent::Head) {
        return None;
    }
    let may_replace = routed.behavior.client_invalidation.is_some();
    (!may_replace || !routed.head.known.has(Known::CacheControl)).then_some(())
}

// The steps of serving, as far as none of them waits.
#[inline]
fn from_store<'s>(
    edge: &Edge,
    running: &'s Running,
    routed: Routed<'s>,
    (asked, rate): (&CacheRequest<'_>, Rate),
    found: &mut Found,
    now: Timestamp,
) -> Option<Hit<'s>> {
    let (wants, head) = (asked.wants, routed.head);
    let Lookup::Fresh(stored) = lookup(asked, found, &edge.invalidations, now) else {
        return None;
    };
    let is_mapped = stored.status >= 400
        && routed.distribution.error_response(routed.behavior, stored.status).is_some();
    if !stored.content.is_complete() || is_mapped {
        return None;
    }
    let answer = form::answer(head, stored, now);
    let len = stored.content.length()?;
    let span = match &answer {
        ResponseForm::Parts(_)
        | ResponseForm::Unsatisfiable(_)
        | ResponseForm::PreconditionFailed => return None,
        ResponseForm::NotModified => None,
        _ if wants.method == MethodIntent::Head => None,
        ResponseForm::Whole => Some(Span { start: 0, end: len }),
        ResponseForm::Part(span) => Some(*span),
    };
    // A viewer whose rate is spent is refused by serving, not here.
    if rate == Rate::Untouched {
        access::spend(&routed, edge.around(running, now)).ok()?;
    }
    stored.flags.used();
    let status = answer.status(stored.status);
    // Moved, not shared once more: nobody else has a use for what was found.
    let at = found.iter().position(|one| Arc::ptr_eq(one, stored))?;
    Some(Hit {
        stored: found.swap_remove(at),
        answer,
        span,
        behavior: routed.behavior.ordinal,
        distribution: &routed.distribution.id,
        pattern: routed.behavior.pattern.as_str(),
        compat: &routed.distribution.compat,
        pop: &running.site.pop,
        policy: routed.behavior.response.as_deref(),
        head,
        is_unproven: edge.is_unproven(now),
        status,
        shaped: None,
        alt_svc: edge.alt_svc(&running.site, routed.distribution, head.connection, head.version),
        ran: None,
    })
}

// The hit step where code stands: that is asked as serving would ask it. What viewer-request code
// said goes on to serving if the hit step does not answer; other than to another URL it may change
// nothing here. Viewer-response code may change the status and the fields.
#[inline(never)]
fn hit_by_code<'s>(
    edge: &Edge,
    running: &'s Running,
    routed: Routed<'s>,
    (wants, hooks): (CacheIntent, &Hooks),
    scratch: &mut Vec<u8>,
    now: Timestamp,
) -> Result<Hit<'s>, Declined> {
    let (route, head) = (routed.route, routed.head);
    let declined = |spoken| Declined(Some(Ok(Decided { route, wants, found: None, spoken })));
    // A viewer whose rate is spent is refused by serving, before any code.
    if access::spend(&routed, edge.around(running, now)).is_err() {
        return Err(declined(None));
    }
    let spoken = Box::new(match hooks.viewer_request {
        Some(Attached::Function(at)) => Spoken::of(edge, running, route, head, at),
        // Lambdas keep the hit step away (`Derived::may_hit`).
        Some(Attached::Lambda { .. }) | None => Spoken::nothing(),
    });
    // Serving looks at what a bucket is asked for.
    let is_open = !routed.behavior.derived.is_bucket || hooks.viewer_request.is_none();
    let hit = match spoken.url(head) {
        Some((path, query)) if is_open => {
            let spelled = if path == head.path { head.spelled } else { path };
            let changed = RequestHead { path, spelled, query, ..*head };
            let again = route.on(&running.site, &changed);
            ask::write_key(scratch, &again);
            let mut found = edge.store.find(scratch);
            let asked = CacheRequest { routed: again, key: scratch, wants, slice: None };
            let hit = from_store(edge, running, routed, (&asked, Rate::Spent), &mut found, now);
            match (hit, hooks.viewer_response) {
                (Some(hit), Some(Attached::Function(at))) => {
                    by_response_code((edge, running), (route, &changed), hit, (at, &*spoken), now)
                }
                (hit, _) => hit,
            }
        }
        _ => None,
    };
    match hit {
        Some(hit) if hit.ran.is_some() => Ok(hit),
        Some(hit) => Ok(Hit { ran: Some(spoken.ran).filter(|ran| !ran.names.is_empty()), ..hit }),
        None => Err(declined(Some(spoken))),
    }
}

// A hit as viewer-response code leaves it, which is told what serving would tell it. Code that makes
// another body or fails is left to serving, which asks it again, and from then on for good.
fn by_response_code<'s>(
    (edge, running): (&Edge, &Running),
    (route, head): (Route, &RequestHead<'_>),
    mut hit: Hit<'s>,
    (at, spoken): (usize, &Spoken),
    now: Timestamp,
) -> Option<Hit<'s>> {
    // Code sees no errors.
    if !(200..400).contains(&hit.status) {
        return Some(hit);
    }
    if running.functions.leaves_hits(at) {
        return None;
    }
    let fields = hit.section(now);
    let mut ran = Some(spoken.ran.clone());
    let facts = ResponseFacts { status: hit.status, fields: Fields::Section(&fields) };
    let judged = tell(running, route, head, Some(facts), |event| {
        run((edge, engines::core()), running, at, event, &mut ran)
    });
    match judged {
        Ok(Change::Response(change)) if keeps_the_body(&change, hit.status) => {
            let change = *change;
            let mut fields = change.fields.unwrap_or(fields);
            without_ours(&mut fields);
            hit.status = change.status.unwrap_or(hit.status);
            hit.shaped = Some(Box::new(fields));
        }
        // The rules let no request through here.
        Ok(Change::Nothing | Change::Request(_)) => {}
        Ok(Change::Response(_)) | Err(_) => {
            running.functions.leave_hits(at);
            return None;
        }
    }
    hit.ran = ran;
    Some(hit)
}

// A status that has no body takes that of the hit away; in the place of one that has none, another
// needs a length that the hit does not tell.
fn keeps_the_body(change: &ResponseChange, before: u16) -> bool {
    let is_other = change.status.is_some_and(|status| {
        status != before && (matches!(status, 204 | 304) || matches!(before, 204 | 304))
    });
    change.body.is_none() && !is_other
}

impl Hit<'_> {
    /// The status it goes out with.
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The Content-Length that goes out, if one does.
    pub fn announced(&self) -> Option<u64> {
        let has_length = self.answer != ResponseForm::NotModified && self.stored.status != 204;
        has_length.then(|| self.span.map_or_else(|| self.length_without_body(), |span| span.len()))
    }

    /// Writes its fields: the stored ones, and our own. What frames the message is the caller's.
    #[inline]
    pub fn write<S: FieldSink>(&self, sink: &mut S, now: Timestamp) {
        if let Some(fields) = &self.shaped {
            return self.write_shaped(fields, sink, now);
        }
        let policy = self.policy.map(|policy| (policy, self.head));
        let complete = self.stored.content.length().unwrap_or(0);
        form::write_stored(&self.stored, &self.answer, complete, policy, sink);
        if let Some(len) = self.announced() {
            sink.field("Content-Length", len);
        }
        let age = self.stored.age(now) / 1000;
        sink.field("Age", age);
        let ttl = deliver::remaining(&self.stored, age);
        let told = Told { ttl, is_unproven: self.is_unproven, ..Told::default() };
        let (compat, status, id) = (self.compat, self.status(), self.head.id);
        StatusFields { verdict: HIT, told, compat, status, id }.write(sink);
        if let Some(alt_svc) = self.alt_svc {
            sink.field("Alt-Svc", alt_svc);
        }
        if let Some(policy) = self.policy
            && let Some(timing) =
                policy::server_timing(policy, self.head, HIT.outcome, None, self.pop)
        {
            sink.field("Server-Timing", timing);
        }
    }

    // What code left of its fields, and our own.
    #[inline(never)]
    fn write_shaped<S: FieldSink>(&self, fields: &FieldSection, sink: &mut S, now: Timestamp) {
        for (name, value) in fields.iter() {
            sink.field(name, value);
        }
        if let Some(len) = self.announced().filter(|_| !fields.contains("content-length")) {
            sink.field("Content-Length", len);
        }
        // Code may have taken it away; serving says it then, too.
        if !fields.contains("date") {
            sink.field("Date", format_http_date(now));
        }
        let ttl = deliver::remaining(&self.stored, self.stored.age(now) / 1000);
        let told = Told { ttl, is_unproven: self.is_unproven, ..Told::default() };
        let (compat, status, id) = (self.compat, self.status, self.head.id);
        StatusFields { verdict: HIT, told, compat, status, id }.write(sink);
        if let Some(alt_svc) = self.alt_svc {
            sink.field("Alt-Svc", alt_svc);
        }
    }

    // Its fields as serving has them when it asks viewer-response code.
    fn section(&self, now: Timestamp) -> FieldSection {
        let mut fields = FieldSection::new();
        let length = self.stored.content.length();
        form::write_stored(&self.stored, &self.answer, length.unwrap_or(0), None, &mut fields);
        let is_head = *self.head.method == Method::HEAD;
        if is_head && self.answer == ResponseForm::Whole && self.stored.status != 204 {
            fields.insert(&CONTENT_LENGTH, length.unwrap_or(0));
        }
        fields.append(&AGE, self.stored.age(now) / 1000);
        if let Some(policy) = self.policy {
            policy::apply(policy, self.head, &mut fields);
            if let Some(timing) =
                policy::server_timing(policy, self.head, HIT.outcome, None, self.pop)
            {
                fields.append("server-timing", timing);
            }
        }
        fields
    }

    // HEAD says how long the GET would be.
    fn length_without_body(&self) -> u64 {
        match &self.answer {
            ResponseForm::Part(span) => span.len(),
            _ => self.stored.content.length().unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_status_is_left_to_serving_where_either_has_no_body() {
        for (before, after, keeps) in [
            (200, 404, true),
            (206, 200, true),
            (304, 304, true),
            (200, 204, false),
            (200, 304, false),
            (304, 200, false),
            (204, 200, false),
        ] {
            let change = ResponseChange { status: Some(after), ..ResponseChange::default() };
            assert_eq!(keeps_the_body(&change, before), keeps, "{before} {after}");
        }
    }
}
