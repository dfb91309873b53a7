//! Pure: what an entry of a tier is worth to a request, here and now.
//!
//! It is worth what its stamp proves. An edge that knows the fleet's log up to a place takes an
//! entry in under the local number that the *stamp* has here, and looks whether anything later
//! covers it. What it cannot tell is a miss.

use http::header::{AGE, CONTENT_RANGE};

use super::Found;
use super::miss::Miss;
use crate::cache::ask::CacheRequest;
use crate::cache::invalidations::{Invalidations, Validity, tag_hashes};
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
    let tags = tags_of(found, asked);
    if invalidations.validity_of(asked.key, &tags, number) != Validity::Valid {
        return Err(Miss::Invalidated);
    }
    let facts = TierFacts::in_shared_store(&meta.life, found.age);
    if facts.standing == Standing::Stale && facts.on_error == 0 {
        return Err(Miss::Expired);
    }
    if meta.outline.length > HELD_MAX && !is_strong(meta.head.etag()) {
        return Err(Miss::NoWayOn);
    }
    Ok(TakenFrom { node: found.node.clone(), facts, number, tags })
}

// The hashes as the writer made them, and as this version makes them of the same fields: two
// versions need not hash alike, and a tag that is invalidated has to be found.
fn tags_of(found: &Found, asked: &CacheRequest<'_>) -> Box<[u64]> {
    let named = asked.routed.distribution.tag_header.as_str().as_bytes();
    let lines = found.meta.head.iter().filter(|(name, _)| name.eq_ignore_ascii_case(named));
    let mut tags = tag_hashes(lines.map(|(_, value)| value)).into_vec();
    tags.extend_from_slice(&found.meta.tags);
    tags.sort_unstable();
    tags.dedup();
    tags.into_boxed_slice()
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

#[cfg(test)]
mod tests {
    use super::super::codec::{Outline, decode_meta, encode_meta};
    use super::super::seal::Generation;
    use super::*;
    use crate::access;
    use crate::cache::ask::wants;
    use crate::cache::invalidations::{Matcher, Severity};
    use crate::config::{self, MissingCertificates};
    use crate::fleet::protocol::{Epoch, FleetNumber};
    use crate::invalidation::chain::RecordId;
    use crate::message::request::ViewerRequest;
    use crate::message::stored::{Life, Part, Stored};
    use crate::semantics::ranges::Span;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
    const STAMP: Stamp =
        Stamp { epoch: Epoch(RecordId::from_octets([1; 16])), number: FleetNumber(7) };
    const TEXT: &str = "[listen]\nhttp = [\"127.0.0.1:1\"]\n[[distribution]]\nid = \"E1\"\n\
        hosts = [\"h.test\"]\n[[distribution.origin]]\nid = \"o\"\nurl = \"http://o.test\"\n\
        [[distribution.behavior]]\npath = \"*\"\norigin = \"o\"\n";

    // Has a request for `/a` looked at, which wants a part or the whole.
    fn asked<T>(slice: Option<Span>, look: impl FnOnce(&CacheRequest<'_>) -> T) -> T {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("edge.toml");
        std::fs::write(&path, TEXT).unwrap();
        let site = config::load(&path, NOW, MissingCertificates::Done)
            .unwrap_or_else(|report| panic!("{}", report.render(false)))
            .site;
        let request = ViewerRequest::get("http://h.test/a");
        let head = request.head();
        let routed = access::route(&site, &head, NOW).unwrap();
        look(&CacheRequest { routed, key: b"E1\0/a", wants: wants(&routed, NOW), slice })
    }

    // As a tier gives it at an age in seconds.
    fn found(stored: Stored, age: u64) -> Found {
        let stored = stored.with_key(b"E1\0/a").with_birth(NOW);
        let outline = Outline::of(&stored, STAMP, Generation([1; 16]), NOW).unwrap();
        let body = if outline.is_inline() { stored.content.whole().unwrap() } else { &b""[..] };
        let octets = encode_meta(&stored, &outline, body, None).unwrap();
        let meta = decode_meta(&octets, &stored.key, None).unwrap();
        Found { meta, age: age * 1000, node: "n:1".into() }
    }

    fn judged(found: &Found, invalidations: &Invalidations) -> Result<TakenFrom, Miss> {
        let adopt = |stamp: Stamp| (stamp == STAMP).then_some(InvalidationNumber(4));
        asked(None, |asked| judge(found, asked, invalidations, adopt, NOW))
    }

    #[test]
    fn an_entry_is_taken_under_the_number_of_its_stamp() {
        let invalidations = Invalidations::new(10);
        let taken = judged(&found(Stored::example(), 20), &invalidations).unwrap();
        assert_eq!((taken.number, taken.node.as_str()), (InvalidationNumber(4), "n:1"));
        assert_eq!((taken.facts.standing, taken.facts.fresh), (Standing::Fresh, 40_000));
        let purge = |number, path: &str| {
            let matchers = [Matcher::Path(path.into())];
            invalidations.apply("E1", &matchers, Severity::Soft, InvalidationNumber(number));
        };
        purge(4, "/a");
        purge(5, "/b");
        assert!(judged(&found(Stored::example(), 20), &invalidations).is_ok());
        purge(6, "/a");
        assert_eq!(judged(&found(Stored::example(), 20), &invalidations), Err(Miss::Invalidated));
    }

    #[test]
    fn what_cannot_be_told_is_outdated() {
        let invalidations = Invalidations::new(10);
        let entry = found(Stored::example(), 20);
        let unknown = asked(None, |asked| judge(&entry, asked, &invalidations, |_| None, NOW));
        assert_eq!(unknown, Err(Miss::Outdated));
        invalidations.use_until(NOW);
        assert_eq!(judged(&entry, &invalidations), Err(Miss::Outdated));
    }

    #[test]
    fn an_entry_past_its_life_is_for_when_the_origin_fails() {
        let invalidations = Invalidations::new(10);
        let life = Life { stale_if_error: 30_000, ..Stored::example().life };
        let entry = |age| found(Stored::example().with_life(life), age);
        let standing = |age| judged(&entry(age), &invalidations).map(|taken| taken.facts.standing);
        assert_eq!(standing(59), Ok(Standing::Fresh));
        assert_eq!(standing(60), Ok(Standing::Stale));
        assert_eq!(standing(90), Err(Miss::Expired));
        assert_eq!(judged(&found(Stored::example(), 60), &invalidations), Err(Miss::Expired));
    }

    #[test]
    fn a_part_is_for_those_who_ask_for_exactly_it() {
        let invalidations = Invalidations::new(10);
        let span = Span { start: 10, end: 20 };
        let mut stored = Stored::example().with_status(206).with_content(&[7; 10]);
        stored.part = Some(Box::new(Part { span, complete: 20 }));
        let entry = found(stored, 1);
        let adopt = |_: Stamp| Some(InvalidationNumber(4));
        let is_taken =
            |slice| asked(slice, |asked| judge(&entry, asked, &invalidations, adopt, NOW).is_ok());
        assert!(is_taken(Some(span)) && is_taken(Some(Span { start: 10, end: 30 })));
        assert!(!is_taken(Some(Span { start: 10, end: 15 })) && !is_taken(None));
        let fields = fields_of(&entry);
        assert_eq!(fields.get("content-range").unwrap().as_bytes(), b"bytes 10-19/20");
        assert_eq!(fields.get("age").unwrap().as_bytes(), b"1");
    }

    #[test]
    fn a_long_body_wants_a_strong_tag() {
        let invalidations = Invalidations::new(10);
        let long = vec![7; HELD_MAX as usize + 1];
        let with = |tag: &str| {
            let mut fields = FieldSection::new();
            fields.append("etag", tag);
            let stored = Stored::example().with_fields(&fields).with_content(&long);
            judged(&found(stored, 1), &invalidations).map(|taken| taken.node)
        };
        assert_eq!(with("\"a\""), Ok("n:1".to_string()));
        assert_eq!(with("W/\"a\""), Err(Miss::NoWayOn));
    }
}
