//! Pure: what a call read of its event, and octets that stand for what was there. Where they are
//! the same for another event, the same code reads the same of it.

use std::cell::{Cell, Ref, RefCell};

use super::told::{Part, Told, put};
use crate::functions::event::{Event, Place};

/// A call that reads more than so many parts and names is not remembered.
const READS_MAX: usize = 16;
/// Octets of the longest name that is noted.
const NAME_MAX: usize = 256;

/// What code asked for beside the place, the method, the URI and the status, which each call is
/// told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    All(Part),
    One(Part, Box<str>),
}

/// What the call under way has read so far.
#[derive(Debug, Default)]
pub struct Reads {
    all: RefCell<Vec<Read>>,
    /// It read something that no event says, or said something to somebody else.
    varies: Cell<bool>,
}

impl Reads {
    /// A call begins.
    pub fn begin(&self) {
        self.all.borrow_mut().clear();
        self.varies.set(false);
    }

    /// Notes that a part was read whole.
    pub fn note_all(&self, part: Part) {
        // It has the request's id, which is another each time.
        if part == Part::Context {
            return self.note_variance();
        }
        if !self.has(|read| matches!(read, Read::All(known) if *known == part)) {
            self.add(|| Read::All(part));
        }
    }

    /// Notes that what a part has by one name was read.
    pub fn note_one(&self, part: Part, name: &str) {
        if name.len() > NAME_MAX {
            return self.note_variance();
        }
        let is_known =
            |read: &Read| matches!(read, Read::One(of, known) if *of == part && **known == *name);
        if !self.has(is_known) {
            self.add(|| Read::One(part, name.into()));
        }
    }

    /// Notes that what comes of the call hangs on more than the event, or is more than a result:
    /// the time, chance, a key value store, a line of the log.
    pub fn note_variance(&self) {
        self.varies.set(true);
    }

    /// What was read; `None` if the next call may come to something else though it is told the
    /// same.
    pub fn of_call(&self) -> Option<Ref<'_, Vec<Read>>> {
        (!self.varies.get()).then(|| self.all.borrow())
    }

    fn has(&self, is_it: impl Fn(&Read) -> bool) -> bool {
        self.varies.get() || self.all.borrow().iter().any(is_it)
    }

    fn add(&self, make: impl FnOnce() -> Read) {
        let mut all = self.all.borrow_mut();
        if all.len() < READS_MAX {
            all.push(make());
        } else {
            self.varies.set(true);
        }
    }
}

/// Appends what each call is told, and what of an event these reads find.
pub fn write_key(key: &mut Vec<u8>, event: &Event<'_>, told: &Told, reads: &[Read]) {
    key.push(match event.place {
        Place::ViewerRequest => 0,
        Place::ViewerResponse => 1,
    });
    let status = event.response.as_ref().map_or(0, |response| response.status);
    key.extend_from_slice(&status.to_le_bytes());
    put(key, event.request.method.as_bytes());
    put(key, event.request.uri);
    for read in reads {
        match read {
            Read::All(part) => told.write_part(*part, key),
            Read::One(part, name) => told.write_one(*part, name, key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_twice_is_noted_once_and_too_much_not_at_all() {
        let reads = Reads::default();
        reads.begin();
        for _ in 0..2 {
            reads.note_one(Part::Headers, "host");
            reads.note_one(Part::Query, "host");
            reads.note_all(Part::Headers);
        }
        let wanted = [
            Read::One(Part::Headers, "host".into()),
            Read::One(Part::Query, "host".into()),
            Read::All(Part::Headers),
        ];
        assert_eq!(reads.of_call().unwrap()[..], wanted);
        (0..READS_MAX).for_each(|n| reads.note_one(Part::Cookies, &n.to_string()));
        assert!(reads.of_call().is_none(), "too much");
        reads.begin();
        assert!(reads.of_call().unwrap().is_empty());
        reads.note_one(Part::Query, &"a".repeat(NAME_MAX + 1));
        assert!(reads.of_call().is_none(), "a name that is too long");
        reads.begin();
        reads.note_all(Part::Context);
        assert!(reads.of_call().is_none(), "the request's id");
    }
}
