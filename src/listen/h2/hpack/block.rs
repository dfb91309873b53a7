//! A header block as the sink of an answer's fields.

use super::encode;
use crate::deliver::sink::FieldSink;
use crate::message::stored::StoredHead;
use crate::semantics::fields::{Name, WriteValue};

/// Fields of a block that is being written.
pub struct HpackBlock<'o>(pub &'o mut Vec<u8>);

impl FieldSink for HpackBlock<'_> {
    fn stored(&mut self, head: &StoredHead) {
        head.iter().for_each(|(name, value)| encode::field(self.0, name, value));
    }

    fn field<'n>(&mut self, name: impl Into<Name<'n>>, value: impl WriteValue) {
        encode::field_by(self.0, name.into().octets(), |out| value.write_value(out));
    }
}
