//! Pure. Where the fields of an answer go. An answer is described once, field by field; a sink
//! makes HTTP/1 lines of it, an HPACK block, or a section that others still change.

use crate::message::stored::StoredHead;
use crate::semantics::fields::{FieldSection, Name, WriteValue};

/// Takes the fields of an answer, in order. Resolved when it is compiled: a hit pays for no call.
pub trait FieldSink {
    /// All lines of a stored head, as they are.
    fn stored(&mut self, head: &StoredHead);

    /// One field. Its name is written as people expect it in HTTP/1.
    fn field<'n>(&mut self, name: impl Into<Name<'n>>, value: impl WriteValue);
}

/// Lines of HTTP/1.
pub struct Http1Lines<'o>(pub &'o mut Vec<u8>);

impl FieldSink for Http1Lines<'_> {
    #[inline]
    fn stored(&mut self, head: &StoredHead) {
        self.0.extend_from_slice(head.lines());
    }

    #[inline]
    fn field<'n>(&mut self, name: impl Into<Name<'n>>, value: impl WriteValue) {
        self.0.extend_from_slice(name.into().octets());
        self.0.extend_from_slice(b": ");
        value.write_value(self.0);
        self.0.extend_from_slice(b"\r\n");
    }
}

impl FieldSink for FieldSection {
    fn stored(&mut self, head: &StoredHead) {
        head.iter().for_each(|(name, value)| self.push(Name::of(name), value));
    }

    fn field<'n>(&mut self, name: impl Into<Name<'n>>, value: impl WriteValue) {
        self.append(name, value);
    }
}
