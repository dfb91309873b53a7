//! What a 304 may change in a stored head (RFC 9111 §3.2, §4.3.4).

use http::header::{AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG};

use super::fields::{FieldSection, Name};
use super::validators::{EntityTag, Strength};

/// Whether a 304 confirms the stored response it was asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirms {
    Yes,
    /// Its strong tag is another one: it speaks of something we do not have.
    No,
}

/// Compares a 304's tag with the stored one; a 304 without a tag confirms what it was asked about.
pub fn confirms(stored: &FieldSection, fresh: &FieldSection) -> Confirms {
    let (Some(new), Some(old)) = (fresh.get(&ETAG), stored.get(&ETAG)) else {
        return Confirms::Yes;
    };
    let (new, old) = (EntityTag::parse(new.as_bytes()), EntityTag::parse(old.as_bytes()));
    let agrees = if new.strength == Strength::Strong && old.strength == Strength::Strong {
        new.matches_strongly(&old)
    } else {
        new.matches_weakly(&old)
    };
    if agrees { Confirms::Yes } else { Confirms::No }
}

/// Replaces in `stored` every field that `fresh` carries, keeps the rest. Hop-by-hop fields must be
/// gone.
///
/// Fields that describe the stored bytes stay: the 304 has none to describe.
pub fn update(stored: &mut FieldSection, fresh: &FieldSection) {
    let brings = |name: Name<'_>| fresh.contains(name) && !describes_the_body(name);
    stored.retain(|name, _| !brings(name));
    for (name, value) in fresh.iter().filter(|(name, _)| !describes_the_body(*name)) {
        stored.push(name, value.as_bytes());
    }
    // An Age that the 304 does not repeat was said of the old answer.
    if !fresh.contains(&AGE) {
        stored.remove(&AGE);
    }
}

// Content-Digest is of the message that carries it (RFC 9530 §2): a 304's is of nothing.
fn describes_the_body(name: Name<'_>) -> bool {
    name.is_any(&[CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_TYPE, CONTENT_RANGE])
        || name == "content-digest"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(lines: &[(&'static str, &str)]) -> FieldSection {
        let mut fields = FieldSection::new();
        for (name, value) in lines {
            fields.append(*name, *value);
        }
        fields
    }

    #[test]
    fn caching_8_1_a_304_replaces_what_it_carries() {
        let mut stored = head(&[
            ("a", "1"),
            ("a", "2"),
            ("b", "3"),
            ("content-length", "10"),
            ("content-type", "text/a"),
        ]);
        let fresh =
            head(&[("a", "9"), ("new", "x"), ("content-length", "0"), ("content-type", "text/b")]);
        update(&mut stored, &fresh);
        let once = stored.clone();
        update(&mut stored, &fresh);
        assert_eq!(stored, once, "freshening twice is freshening once");
        assert_eq!(stored.get_all("a").count(), 1);
        assert_eq!(stored.get("b").unwrap(), "3");
        assert_eq!(stored.get("new").unwrap(), "x");
        assert_eq!(stored.get("content-length").unwrap(), "10");
        assert_eq!(stored.get("content-type").unwrap(), "text/a");
    }

    #[test]
    fn caching_8_2_another_strong_tag_does_not_confirm() {
        let stored = head(&[("etag", "\"a\"")]);
        assert_eq!(confirms(&stored, &head(&[("etag", "\"b\"")])), Confirms::No);
        assert_eq!(confirms(&stored, &head(&[("etag", "W/\"a\"")])), Confirms::Yes);
        assert_eq!(confirms(&stored, &head(&[])), Confirms::Yes);
    }

    #[test]
    fn caching_8_1_strong_tags_are_compared_strongly_and_others_weakly() {
        let head = |tag: &str| FieldSection::from_iter([(&ETAG, tag)]);
        for (old, new, agrees) in [
            ("\"a\"", "\"a\"", true),
            ("\"a\"", "\"b\"", false),
            ("W/\"a\"", "\"a\"", true),
            ("\"a\"", "W/\"a\"", true),
            ("W/\"a\"", "W/\"b\"", false),
        ] {
            assert_eq!(
                confirms(&head(old), &head(new)),
                if agrees { Confirms::Yes } else { Confirms::No },
                "{old} {new}"
            );
        }
    }

    #[test]
    fn caching_8_1_an_age_that_the_304_does_not_repeat_is_gone() {
        let age = |value: &str| FieldSection::from_iter([(&AGE, value)]);
        let mut stored = age("5");
        update(&mut stored, &FieldSection::new());
        assert!(stored.is_empty());
        let mut stored = age("5");
        update(&mut stored, &age("7"));
        assert_eq!(stored.get(&AGE).unwrap(), "7");
    }
}
