//! Pure: idle connections, by the name each was made for. A connection made for one name is never
//! used for another.
//!
//! Viewers choose names where a distribution answers for every host, so both names and what lies
//! under them are bounded; the name used longest ago makes room.

use std::sync::Arc;

/// Most names at a time.
pub const NAMES_MAX: usize = 64;

/// Idle things by name. Few names, looked through from the one used last.
pub struct ByName<T> {
    /// The name used last is last; no list is empty.
    names: Vec<(Arc<str>, Vec<T>)>,
    count: usize,
    most: usize,
    /// The memory of a list that became empty, for the next one.
    spare: Vec<T>,
}

impl<T> ByName<T> {
    /// Room for `most` over all names.
    pub const fn new(most: usize) -> Self {
        Self { names: Vec::new(), count: 0, most, spare: Vec::new() }
    }

    /// The thing put last under this name.
    pub fn take(&mut self, name: &str) -> Option<T> {
        let at = self.names.iter().rposition(|(known, _)| **known == *name)?;
        self.names[at..].rotate_left(1);
        let (_, list) = self.names.last_mut()?;
        let taken = list.pop()?;
        if list.is_empty()
            && let Some((_, list)) = self.names.pop()
        {
            self.spare = list;
        }
        self.count -= 1;
        Some(taken)
    }

    /// Keeps a thing, at the cost of the oldest under the name used longest ago.
    pub fn put(&mut self, name: &Arc<str>, thing: T) {
        if self.most == 0 {
            return;
        }
        match self.names.iter().rposition(|(known, _)| known == name) {
            Some(at) => self.names[at..].rotate_left(1),
            None => {
                if self.names.len() == NAMES_MAX {
                    let (_, list) = self.names.remove(0);
                    self.count -= list.len();
                }
                self.names.push((Arc::clone(name), std::mem::take(&mut self.spare)));
            }
        }
        if let Some((_, list)) = self.names.last_mut() {
            list.push(thing);
            self.count += 1;
        }
        if self.count > self.most {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some((_, list)) = self.names.first_mut() else { return };
        drop(list.remove(0));
        self.count -= 1;
        if list.is_empty() {
            self.names.remove(0);
        }
    }

    /// Drops what is not to stay.
    pub fn retain(&mut self, mut stays: impl FnMut(&mut T) -> bool) {
        self.names.retain_mut(|(_, list)| {
            list.retain_mut(&mut stays);
            !list.is_empty()
        });
        self.count = self.names.iter().map(|(_, list)| list.len()).sum();
    }

    /// True if nothing lies here.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(at: usize) -> Arc<str> {
        format!("{at}.test").into()
    }

    #[test]
    fn what_is_put_under_a_name_is_found_under_no_other() {
        let mut idle = ByName::new(10);
        idle.put(&name(1), 'a');
        idle.put(&name(2), 'b');
        idle.put(&name(1), 'c');
        assert_eq!((idle.take("3.test"), idle.take("")), (None, None));
        assert_eq!(
            (idle.take("1.test"), idle.take("1.test"), idle.take("1.test")),
            (Some('c'), Some('a'), None)
        );
        assert_eq!((idle.take("2.test"), idle.is_empty()), (Some('b'), true));
    }

    #[test]
    fn who_was_used_longest_ago_makes_room() {
        let mut idle = ByName::new(3);
        for (at, thing) in [(1, 'a'), (1, 'b'), (2, 'c'), (3, 'd')] {
            idle.put(&name(at), thing);
        }
        assert_eq!(
            (idle.take("1.test"), idle.take("1.test"), idle.take("2.test")),
            (Some('b'), None, Some('c')),
            "the oldest went"
        );
        let mut idle = ByName::new(1000);
        for at in 0..NAMES_MAX {
            idle.put(&name(at), at);
        }
        idle.put(&name(0), 0);
        idle.put(&name(NAMES_MAX), NAMES_MAX);
        assert_eq!((idle.take("0.test"), idle.take("1.test")), (Some(0), None), "a name too many");
    }

    proptest! {
        #[test]
        fn the_bounds_hold_and_nothing_changes_its_name(most in 0usize..20, steps in proptest::collection::vec((any::<bool>(), 0usize..80), 0..300)) {
            let mut idle = ByName::new(most);
            for (is_put, at) in steps {
                if is_put {
                    idle.put(&name(at), at);
                } else if let Some(thing) = idle.take(&name(at)) {
                    prop_assert_eq!(thing, at);
                }
                prop_assert!(idle.count <= most && idle.names.len() <= NAMES_MAX);
                prop_assert_eq!(idle.count, idle.names.iter().map(|(_, list)| list.len()).sum::<usize>());
                prop_assert!(idle.names.iter().all(|(_, list)| !list.is_empty()));
            }
            idle.retain(|thing| *thing % 2 == 0);
            prop_assert_eq!(idle.count, idle.names.iter().map(|(_, list)| list.len()).sum::<usize>());
            prop_assert!(idle.names.iter().all(|(_, list)| !list.is_empty() && list.iter().all(|thing| *thing % 2 == 0)));
        }
    }
}
