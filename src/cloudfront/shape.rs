//! Pure: what the API's documents may hold. `model` has the shapes themselves.

/// The shape of a value.
#[derive(Debug)]
pub enum Shape {
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    Truth,
    Whole,
    Fraction,
    /// A list, by the name that its items have in XML.
    List(&'static str, &'static Shape),
    Record(&'static [Member]),
}

/// A value by name within another.
#[derive(Debug)]
pub struct Member {
    pub name: &'static str,
    pub needed: Needed,
    pub shape: &'static Shape,
}

/// Whether a value has to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needed {
    Always,
    Maybe,
}

impl Shape {
    /// The member of this name, of a record.
    pub fn member(&self, name: &str) -> Option<&'static Member> {
        match self {
            Self::Record(members) => members.iter().find(|member| member.name == name),
            _ => None,
        }
    }
}
