//! Pure. Where the fields of an answer go. An answer is described once, field by field; a sink
//! makes HTTP/1 lines of it, an HPACK block, or a section that others still change.

use crate::message::stored::StoredHead;
use crate::semantics::fields::{FieldSection, Name, Value, WriteValue};

/// Takes the fields of an answer, in order. Resolved when it is compiled: a hit pays for no call.
pub trait FieldSink {
    /// All lines of a stored head, as they are.
    fn stored(&mut self, head: &StoredHead);

    /// One field. Its name is written as people expect it in HTTP/1.
    fn field<'n>(&mut self, name: impl Into<Name<'n>>, value: impl WriteValue);

    /// One field under a name that we know, spelled as HTTP/1 shows it.
    #[inline]
    fn ours(&mut self, name: &'static str, value: impl WriteValue) {
        self.field(name, value);
    }

    /// A line of a section, and how it stands there: as HTTP/1 has it.
    #[inline]
    fn line(&mut self, name: Name<'_>, value: Value<'_>, _text: &[u8]) {
        self.field(name, value);
    }
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

    #[inline]
    fn line(&mut self, _name: Name<'_>, _value: Value<'_>, text: &[u8]) {
        self.0.extend_from_slice(text);
    }
}

impl FieldSink for FieldSection {
    fn stored(&mut self, head: &StoredHead) {
        self.push_lines(head.lines());
    }

    fn field<'n>(&mut self, name: impl Into<Name<'n>>, value: impl WriteValue) {
        self.append(name, value);
    }

    fn ours(&mut self, name: &'static str, value: impl WriteValue) {
        self.put(name, value);
    }
}
