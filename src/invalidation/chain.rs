//! What identifies a record of a log: not its number, which a log that lost its end gives again,
//! but an id that is random and given once. A place in a log is a number and the id of the record
//! there.
//!
//! The logs of single edges use this; a log that a whole fleet follows has the same records, marks
//! and incarnations.

use std::collections::VecDeque;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How many of a log's last records are remembered by number and id.
const REMEMBERED: usize = 10_000;

/// Sixteen random octets, as 32 hexadecimal digits where they are written.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordId(u128);

impl RecordId {
    /// Of no record.
    pub const NONE: Self = Self(0);

    /// One at random: no other record has it.
    pub fn random() -> Self {
        let mut octets = [0u8; 16];
        let _ = aws_lc_rs::rand::fill(&mut octets);
        Self(u128::from_le_bytes(octets))
    }

    /// The id of a record that was written before records had one: a digest of what was written.
    pub fn of_octets(octets: &[u8]) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, octets);
        let mut first = [0u8; 16];
        first.copy_from_slice(&digest.as_ref()[..16]);
        Self(u128::from_le_bytes(first))
    }

    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }

    /// Its octets, as `from_octets` reads them.
    pub const fn octets(self) -> [u8; 16] {
        self.0.to_le_bytes()
    }

    /// Reads what `octets` gave.
    pub const fn from_octets(octets: [u8; 16]) -> Self {
        Self(u128::from_le_bytes(octets))
    }

    /// Reads 32 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let is_form = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        is_form.then(|| u128::from_str_radix(text, 16).ok().map(Self)).flatten()
    }
}

impl std::fmt::Display for RecordId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl std::fmt::Debug for RecordId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for RecordId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RecordId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("an id is 32 hexadecimal digits"))
    }
}

/// One life of the holder of a log: a process, from its start to its end. Two processes never share
/// one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Incarnation(RecordId);

impl Incarnation {
    /// One at random: no other record has it.
    pub fn random() -> Self {
        Self(RecordId::random())
    }

    /// Reads 32 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        RecordId::parse(text).map(Self)
    }
}

impl std::fmt::Display for Incarnation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A place in a log: which record, and that it is this one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    pub number: u64,
    pub id: RecordId,
}

impl Mark {
    /// Before the first record.
    pub const START: Self = Self { number: 0, id: RecordId::NONE };

    /// Reads what `Display` writes: `number:id`.
    pub fn parse(text: &str) -> Option<Self> {
        let (number, id) = text.split_once(':')?;
        let number = crate::semantics::lists::parse_digits(number.as_bytes())?;
        Some(Self { number, id: RecordId::parse(id)? })
    }
}

impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.number, self.id)
    }
}

/// The marks of a log's last records, in order.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    marks: VecDeque<Mark>,
}

impl Chain {
    /// Adds the next record. Its number is above all before it.
    pub fn push(&mut self, mark: Mark) {
        self.marks.push_back(mark);
        if self.marks.len() > REMEMBERED {
            self.marks.pop_front();
        }
    }

    /// The last record, or the start of an empty log.
    pub fn tail(&self) -> Mark {
        self.marks.back().copied().unwrap_or(Mark::START)
    }

    /// Says whether this very record is among those remembered. The start is in every log.
    pub fn has(&self, mark: Mark) -> bool {
        mark == Mark::START
            || self
                .marks
                .binary_search_by_key(&mark.number, |known| known.number)
                .is_ok_and(|at| self.marks[at] == mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_written_and_read() {
        let mark = Mark { number: 7, id: RecordId::random() };
        assert_eq!(Mark::parse(&mark.to_string()), Some(mark));
        assert_eq!(
            serde_json::from_str::<Mark>(&serde_json::to_string(&mark).unwrap()).unwrap(),
            mark
        );
        let hex = "0123456789abcdef0123456789abcdef";
        for wrong in [
            "",
            "7",
            "7:",
            ":",
            &format!("x:{hex}"),
            &format!("7:+{}", &hex[1..]),
            &format!("7:{hex}0"),
            &format!("-7:{hex}"),
        ] {
            assert_eq!(Mark::parse(wrong), None, "{wrong}");
        }
        assert_ne!(RecordId::random(), RecordId::random());
    }

    #[test]
    fn a_number_alone_is_not_in_the_chain() {
        let mut chain = Chain::default();
        assert!(chain.has(Mark::START) && chain.tail() == Mark::START);
        let mark = |number| Mark { number, id: RecordId::of_octets(&[number as u8]) };
        // Numbers may be left out.
        for number in [1, 2, 5] {
            chain.push(mark(number));
        }
        assert!(
            chain.has(mark(2)) && chain.has(mark(5)) && !chain.has(mark(3)) && !chain.has(mark(6))
        );
        assert!(!chain.has(Mark { id: RecordId::random(), ..mark(5) }));
        assert!(!chain.has(Mark { number: 0, id: RecordId::random() }));
        for number in 6..20_000 {
            chain.push(Mark { number, id: RecordId::NONE });
        }
        assert!(!chain.has(mark(5)), "what is no longer remembered is not known");
    }
}
