//! May this request be answered from what is stored?
//!
//! Given what was found under the key, what was invalidated and what time it is, this says what
//! that is worth. It knows no store, no socket and no clock; nothing has been fetched yet.

use std::sync::Arc;

use http::header::ACCEPT_LANGUAGE;

use super::ask::{Answer, CacheRequest, MethodIntent};
use super::invalidations::{Invalidations, Validity};
use crate::message::request::Fields;
use crate::message::stored::{Reuse, Stored};
use crate::message::verdict::{MissReason, PassReason, RevalidateReason};
use crate::semantics::time::Timestamp;
use crate::semantics::vary;

/// What the stored responses are worth to one request, at one moment.
///
/// Time moves an answer only downwards in this list, never up.
#[derive(Clone, Copy)]
pub enum Lookup<'s> {
    /// Serve it.
    Fresh(&'s Arc<Stored>),
    /// Serve it, and refresh it behind the viewer's back (RFC 5861 §3).
    Stale(&'s Arc<Stored>),
    /// Ask whether it still holds before serving it.
    Revalidate(&'s Arc<Stored>, RevalidateReason),
    /// Nothing here to serve; fetch, and keep what comes.
    Miss(MissReason),
    /// Not ours to answer or to keep; fetch for this viewer alone.
    Pass(PassReason),
    /// The viewer wants a stored answer or none (`only-if-cached`), and there is none.
    Unavailable,
}

/// Decides what `found` is worth to `asked` at `now`.
///
/// ```
/// # use std::fs;
/// # use foreshore::config::{self, MissingCertificates};
/// # use foreshore::semantics::time::Timestamp;
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("edge.toml");
/// # let text = "[listen]\nhttp = [\"127.0.0.1:1\"]\n\
/// #     [[distribution]]\nid = \"E1\"\nhosts = [\"h.test\"]\n\
/// #     [[distribution.origin]]\nid = \"o\"\nurl = \"http://o.test\"\n\
/// #     [[distribution.behavior]]\npath = \"*\"\norigin = \"o\"\n";
/// # fs::write(&path, text).unwrap();
/// # let now = Timestamp::from_secs(1_800_000_000);
/// # let site = config::load(&path, now, MissingCertificates::Done)
/// #     .unwrap_or_else(|report| panic!("{}", report.render(false)))
/// #     .site;
/// use foreshore::access;
/// use foreshore::cache::ask::{CacheRequest, wants};
/// use foreshore::cache::invalidations::Invalidations;
/// use foreshore::cache::lookup::{Lookup, lookup};
/// use foreshore::message::request::ViewerRequest;
/// use foreshore::message::stored::Stored;
/// use foreshore::message::verdict::RevalidateReason;
/// use std::sync::Arc;
///
/// let request = ViewerRequest::get("http://h.test/a?x=1");
/// let head = request.head();
/// let routed = access::route(&site, &head, now).unwrap();
/// let asked = CacheRequest { routed, key: b"E1\0/a", wants: wants(&routed, now), slice: None };
/// // It is fresh for a minute.
/// let found = [Arc::new(Stored::example().with_key(asked.key).with_birth(now))];
/// let none = Invalidations::new(10);
/// assert!(matches!(lookup(&asked, &found, &none, now), Lookup::Fresh(_)));
/// let later = Timestamp(now.0 + 61_000);
/// let old = lookup(&asked, &found, &none, later);
/// assert!(matches!(old, Lookup::Revalidate(_, RevalidateReason::Expired)));
/// ```
pub fn lookup<'s>(
    asked: &CacheRequest<'_>,
    found: &'s [Arc<Stored>],
    invalidations: &Invalidations,
    now: Timestamp,
) -> Lookup<'s> {
    if let MethodIntent::Pass(reason) = asked.wants.method {
        return Lookup::Pass(reason);
    }
    // What a HEAD asks of the origin itself brings no body that could replace what is stored, but
    // may tell that it is old.
    if asked.wants.answer == Answer::Anew && asked.wants.method == MethodIntent::Head {
        return Lookup::Pass(PassReason::Head);
    }
    let verdict = weigh(asked.head().fields, found, invalidations, now);
    match verdict {
        Lookup::Fresh(_) | Lookup::Stale(_) => verdict,
        _ if asked.wants.answer == Answer::StoredOnly => Lookup::Unavailable,
        // A HEAD with nothing to confirm brings no body that could be kept.
        Lookup::Miss(_) | Lookup::Revalidate(..) if asked.wants.method == MethodIntent::Head => {
            Lookup::Pass(PassReason::Head)
        }
        _ => verdict,
    }
}

fn weigh<'s>(
    fields: Fields<'_>,
    found: &'s [Arc<Stored>],
    invalidations: &Invalidations,
    now: Timestamp,
) -> Lookup<'s> {
    let Some(stored) = choose(fields, found) else {
        return Lookup::Miss(if found.is_empty() {
            MissReason::Absent
        } else {
            MissReason::OtherVariant
        });
    };
    // Asked for before the invalidation was accepted: whatever came back may be the old content,
    // however late it arrived. Numbers of the log, not clocks (src/DECISIONS.md, "An invalidation
    // is a number").
    match invalidations.validity(stored) {
        Validity::Hard => return Lookup::Miss(MissReason::Invalidated),
        Validity::Soft => return Lookup::Revalidate(stored, RevalidateReason::Invalidated),
        Validity::Valid => {}
    }
    // The fleet may have invalidated it without this process having heard.
    if !invalidations.is_usable(now) {
        return Lookup::Revalidate(stored, RevalidateReason::Unproven);
    }
    worth(stored, now)
}

/// What one valid stored response is worth by its own life.
pub fn worth(stored: &Arc<Stored>, now: Timestamp) -> Lookup<'_> {
    let (age, life) = (stored.age(now), &stored.life);
    if life.reuse == Reuse::AfterValidation {
        return Lookup::Revalidate(stored, RevalidateReason::Always);
    }
    if stored.flags.suspect.load(std::sync::atomic::Ordering::Relaxed) {
        return Lookup::Revalidate(stored, RevalidateReason::Expired);
    }
    // Strictly less: Expires equal to Date is stale at once (RFC 9111 §4.2).
    if age < life.fresh {
        Lookup::Fresh(stored)
    } else if age < life.fresh.saturating_add(life.stale_while_revalidate) {
        Lookup::Stale(stored)
    } else {
        Lookup::Revalidate(stored, RevalidateReason::Expired)
    }
}

/// The youngest stored response whose selector fits (RFC 9111 §4.1). Broken contents do not count.
pub fn choose<'s>(fields: Fields<'_>, found: &'s [Arc<Stored>]) -> Option<&'s Arc<Stored>> {
    youngest(found, |stored| stored.selector.matches(fields)).or_else(|| {
        let chooses = |stored: &Arc<Stored>| {
            stored.selector.0.iter().any(|(name, _)| *name == ACCEPT_LANGUAGE)
        };
        found.iter().any(chooses).then_some(())?;
        // It is in the language that the request wants before all others, whatever else the request
        // would take.
        let language = vary::preferred_language(fields.get_all("accept-language"))?;
        youngest(found, |stored| {
            is_in(stored, language) && stored.selector.matches_but(fields, Some(&ACCEPT_LANGUAGE))
        })
    })
}

fn youngest(found: &[Arc<Stored>], fits: impl Fn(&Stored) -> bool) -> Option<&Arc<Stored>> {
    found
        .iter()
        .filter(|stored| !stored.content.is_broken() && fits(stored))
        .max_by_key(|stored| (stored.asked_at, stored.date))
}

fn is_in(stored: &Stored, language: &[u8]) -> bool {
    let mut said =
        stored.head.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"content-language"));
    said.next().is_some_and(|(_, tag)| tag.eq_ignore_ascii_case(language)) && said.next().is_none()
}

/// Says whether a stale response may stand in for a failing origin (RFC 5861 §4, RFC 9111 §4.2.4).
pub fn may_stand_in(stored: &Stored, invalidations: &Invalidations, now: Timestamp) -> bool {
    let by_life = stored.age(now) < stored.life.fresh.saturating_add(stored.life.stale_if_error);
    if !invalidations.is_usable(now) {
        return false;
    }
    let by_word = match invalidations.validity(stored) {
        Validity::Valid => true,
        // Stale by decree: then only with leave to be served stale.
        Validity::Soft => stored.life.stale_if_error > 0,
        Validity::Hard => false,
    };
    by_life && by_word && stored.life.reuse == Reuse::WhileFresh && !stored.content.is_broken()
}
