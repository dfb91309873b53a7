//! Pure: what an entry of a tier is worth to a request, here and now.
//!
//! It is worth what its stamp proves. An edge that knows the fleet's log up to a place takes an
//! entry in under the local number that the *stamp* has here, and looks whether anything later
//! covers it. What it cannot tell is a miss.

use http::header::{AGE, CONTENT_RANGE};

use super::Found;
use super::miss::Miss;
use crate::cache::ask::CacheRequest;
use crate::cache::invalidations::{Invalidations, Validity};
use crate::fleet::protocol::Stamp;
use crate::message::key::InvalidationNumber;
use crate::message::response::TakenFrom;
use crate::message::tier::{Standing, TierFacts};
use crate::semantics::fields::FieldSection;
use crate::semantics::time::Timestamp;

/// Bodies beyond this are taken only where another hop can go on with them if they break off.
pub const HELD_MAX: u64 = 1 << 20;

/// What an entry is worth to `asked` at `now`; `adopt` gives the local number of a stamp.
pub fn judge(
    found: &Found,
    asked: &CacheRequest<'_>,
    invalidations: &Invalidations,
    adopt: impl FnOnce(Stamp) -> Option<InvalidationNumber>,
    now: Timestamp,
) -> Result<TakenFrom, Miss> {
    let meta = &found.meta;
    if !meta.selector.matches(asked.head().fields) || !is_part_asked_for(found, asked) {
        return Err(Miss::OtherVariant);
    }
    let number = adopt(meta.outline.stamp).ok_or(Miss::Outdated)?;
    // The fleet may have invalidated it without this process having heard.
    if !invalidations.is_usable(now) {
        return Err(Miss::Outdated);
    }
    if invalidations.validity_of(asked.key, &meta.tags, number) != Validity::Valid {
        return Err(Miss::Invalidated);
    }
    let facts = TierFacts::in_shared_store(&meta.life, found.age);
    if facts.standing == Standing::Stale && facts.on_error == 0 {
        return Err(Miss::Expired);
    }
    if meta.outline.length > HELD_MAX && !is_strong(meta.head.etag()) {
        return Err(Miss::NoWayOn);
    }
    Ok(TakenFrom { node: found.node.clone(), facts, number, tags: meta.tags.clone() })
}

// A part lies under a key of its own; edges whose parts have another length make the same keys.
fn is_part_asked_for(found: &Found, asked: &CacheRequest<'_>) -> bool {
    match (asked.slice, found.meta.part) {
        (None, None) => true,
        (Some(wanted), Some(part)) => {
            part.span.start == wanted.start && part.span.end == wanted.end.min(part.complete)
        }
        _ => false,
    }
}

/// Says whether a tag tells that two hops have the same octets (RFC 9110 §8.8.3).
pub fn is_strong(tag: Option<&[u8]>) -> bool {
    tag.is_some_and(|tag| tag.starts_with(b"\""))
}

/// The fields of an entry as an upstream would have sent them, at its age.
pub fn fields_of(found: &Found) -> FieldSection {
    let mut fields = found.meta.head.to_section();
    fields.insert(&AGE, (found.age / 1000).to_string());
    if let Some(part) = found.meta.part {
        let (first, last) = (part.span.start, part.span.end.saturating_sub(1));
        fields.insert(&CONTENT_RANGE, format!("bytes {first}-{last}/{}", part.complete));
    }
    fields
}
