//! Field-level encryption: which fields of a form are encrypted for whom, and which profile a
//! request goes by.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::crypto::envelope::{Suite, WrappingKey};

/// CloudFront's configuration of that name, chosen by a behavior.
#[derive(Clone, Debug)]
pub struct FieldEncryption {
    pub name: String,
    pub suite: Suite,
    /// The profile of forms whose query names none.
    pub profile: Option<Arc<Profile>>,
    /// Profiles by the value of the query argument `fle-profile`.
    pub by_query: BTreeMap<String, Arc<Profile>>,
    /// What becomes of a body that is no form (ForwardWhenContentTypeIsUnknown).
    pub unknown_type: Unknown,
    /// What becomes of a request that names an unknown profile
    /// (ForwardWhenQueryArgProfileIsUnknown).
    pub unknown_profile: Unknown,
}

/// What becomes of a request that no profile is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unknown {
    /// It goes on in plain text.
    Forward,
    #[default]
    Refuse,
}

/// What is encrypted for whom.
#[derive(Clone, Debug)]
pub struct Profile {
    pub name: String,
    pub fields: Vec<Fields>,
}

/// Fields that are encrypted with one key.
#[derive(Clone, Debug)]
pub struct Fields {
    /// Two strings that the reader of a message has to know: CloudFront's provider, and the name
    /// of the public key.
    pub provider: String,
    pub key_name: String,
    /// The id that the configuration has for the key.
    pub key_id: String,
    pub key: WrappingKey,
    pub patterns: Vec<FieldPattern>,
}

/// The name of a field in full, or how it begins and a `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPattern(String);

impl FieldPattern {
    /// Reads a pattern; the error says what is allowed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let name = text.strip_suffix('*').unwrap_or(text);
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"[]._-".contains(&b);
        if text.is_empty() || !name.bytes().all(allowed) {
            return Err(format!(
                "{text:?} is no pattern of field names: letters, digits and [ ] . _ -, perhaps a * at its end"
            ));
        }
        Ok(Self(text.to_string()))
    }

    /// Says whether it takes a name in. Case matters.
    pub fn matches(&self, name: &[u8]) -> bool {
        match self.0.strip_suffix('*') {
            Some(start) => name.starts_with(start.as_bytes()),
            None => name == self.0.as_bytes(),
        }
    }

    /// Says whether some name is taken in by both.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self.0.strip_suffix('*'), other.0.strip_suffix('*')) {
            (Some(ours), Some(theirs)) => ours.starts_with(theirs) || theirs.starts_with(ours),
            (Some(_), None) => self.matches(other.0.as_bytes()),
            (None, _) => other.matches(self.0.as_bytes()),
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Profile {
    /// Whom a field is encrypted for, by its name.
    pub fn find(&self, name: &[u8]) -> Option<&Fields> {
        self.fields
            .iter()
            .find(|fields| fields.patterns.iter().any(|pattern| pattern.matches(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> FieldPattern {
        FieldPattern::parse(text).unwrap()
    }

    #[test]
    fn patterns_are_names_or_how_they_begin() {
        for (text, name, is_in) in [
            ("card", "card", true),
            ("card", "Card", false),
            ("card", "card2", false),
            ("card*", "card", true),
            ("card*", "card[number]", true),
            ("*", "", true),
            ("a.b-c_d[0]", "a.b-c_d[0]", true),
        ] {
            assert_eq!(pattern(text).matches(name.as_bytes()), is_in, "{text} {name}");
        }
        for text in ["", "a*b", "**", "a b", "ä", "a+b"] {
            assert!(FieldPattern::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn patterns_overlap_where_a_name_is_in_both() {
        for (one, other, does) in [
            ("a", "a", true),
            ("a", "b", false),
            ("a*", "ab", true),
            ("ab*", "a*", true),
            ("ab*", "ac*", false),
            ("ab*", "a", false),
        ] {
            assert_eq!(pattern(one).overlaps(&pattern(other)), does, "{one} {other}");
            assert_eq!(pattern(other).overlaps(&pattern(one)), does, "{other} {one}");
        }
    }
}
