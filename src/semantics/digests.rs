//! Fields that vouch for octets, and which of them stop being true when the octets change (RFC
//! 9530, RFC 1864, RFC 3230).

use crate::semantics::fields::FieldSection;

/// Which octets a field vouches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Covers {
    /// Those of this very message (RFC 9530 §2).
    Content,
    /// Those of the whole representation, however little of it the message carries (RFC 9530 §3).
    Representation,
}

/// What happens to a message's octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Fewer or more of the same representation: a range is cut, parts are joined.
    Extent,
    /// Another representation: a content coding is applied.
    Coding,
}

/// Says what a field of this name vouches for; `None` if it is no digest.
///
/// Object stores' own checksums count: SDKs hold the octets that they receive against them.
pub fn covers(name: &[u8]) -> Option<Covers> {
    const CONTENT: [&[u8]; 3] = [b"content-digest", b"content-md5", b"x-ms-content-crc64"];
    const REPRESENTATION: [&[u8]; 3] = [b"repr-digest", b"digest", b"x-goog-hash"];
    const CHECKSUM: &[u8] = b"x-amz-checksum-";
    // Most names begin with another letter.
    if !matches!(name.first()?.to_ascii_lowercase(), b'c' | b'r' | b'd' | b'x') {
        return None;
    }
    let is = |known: &&[u8]| name.eq_ignore_ascii_case(known);
    let is_checksum =
        name.get(..CHECKSUM.len()).is_some_and(|start| start.eq_ignore_ascii_case(CHECKSUM));
    match () {
        () if is_checksum || CONTENT.iter().any(&is) => Some(Covers::Content),
        () if REPRESENTATION.iter().any(is) => Some(Covers::Representation),
        () => None,
    }
}

/// Takes out of a head what is not true of the changed octets.
pub fn strip(fields: &mut FieldSection, change: Change) {
    fields.retain(|name, _| match (covers(name.octets()), change) {
        (None, _) | (Some(Covers::Representation), Change::Extent) => true,
        (Some(Covers::Content), _) | (Some(Covers::Representation), Change::Coding) => false,
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAMES: [(&str, Option<Covers>); 11] = [
        ("content-digest", Some(Covers::Content)),
        ("content-md5", Some(Covers::Content)),
        ("x-amz-checksum-sha256", Some(Covers::Content)),
        ("x-ms-content-crc64", Some(Covers::Content)),
        ("repr-digest", Some(Covers::Representation)),
        ("digest", Some(Covers::Representation)),
        ("x-goog-hash", Some(Covers::Representation)),
        ("etag", None),
        ("content-type", None),
        ("x-amz-checksum", None),
        ("want-repr-digest", None),
    ];

    #[test]
    fn what_each_field_vouches_for() {
        for (name, want) in NAMES {
            assert_eq!(covers(name.as_bytes()), want, "{name}");
            assert_eq!(covers(name.to_ascii_uppercase().as_bytes()), want, "{name}");
        }
        assert_eq!(covers(b""), None);
    }

    proptest! {
        #[test]
        fn no_digest_survives_a_change_of_octets(picked in proptest::collection::vec(0..NAMES.len(), 0..12)) {
            let mut fields = FieldSection::new();
            for at in &picked {
                fields.append(NAMES[*at].0, "v");
            }
            for (change, untrue) in [(Change::Extent, &[Covers::Content][..]), (Change::Coding, &[Covers::Content, Covers::Representation])] {
                let mut changed = fields.clone();
                strip(&mut changed, change);
                for (name, covers) in NAMES {
                    let stays = covers.is_none_or(|covers| !untrue.contains(&covers));
                    let count = |of: &FieldSection| of.get_all(name).count();
                    prop_assert_eq!(count(&changed), if stays { count(&fields) } else { 0 }, "{} {:?}", name, change);
                }
            }
        }
    }
}
