//! What a thread has done with and keeps for its next need of the same kind, so many at most.

use std::cell::RefCell;
use std::thread::LocalKey;

/// The pieces that one thread keeps.
pub struct FreeList<T> {
    most: usize,
    free: RefCell<Vec<T>>,
}

impl<T> FreeList<T> {
    /// A list that keeps so many.
    pub const fn new(most: usize) -> Self {
        Self { most, free: RefCell::new(Vec::new()) }
    }

    /// The piece that was kept last, where there is one.
    #[inline]
    pub fn take(&self) -> Option<T> {
        self.free.try_borrow_mut().ok()?.pop()
    }

    /// Keeps a piece, where there is room for it.
    #[inline]
    pub fn keep(&self, piece: T) {
        if let Ok(mut free) = self.free.try_borrow_mut()
            && free.len() < self.most
        {
            free.push(piece);
        }
    }
}

/// The piece that this thread kept last. A thread that ends has none any more.
#[inline]
pub fn take<T>(list: &'static LocalKey<FreeList<T>>) -> Option<T> {
    list.try_with(FreeList::take).ok().flatten()
}

/// Keeps a piece for this thread's next need.
#[inline]
pub fn keep<T>(list: &'static LocalKey<FreeList<T>>, piece: T) {
    let _ = list.try_with(|list| list.keep(piece));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_comes_first_and_no_more_are_kept_than_may_be() {
        let list = FreeList::new(2);
        assert_eq!(list.take(), None);
        (1..=3).for_each(|piece| list.keep(piece));
        assert_eq!([list.take(), list.take(), list.take()], [Some(2), Some(1), None]);
    }

    // Whatever a piece does when it is dropped, the list is not held then.
    #[test]
    fn what_is_not_kept_may_use_the_list_as_it_goes() {
        struct Piece<'l>(&'l FreeList<u8>, u8);
        impl Drop for Piece<'_> {
            fn drop(&mut self) {
                self.0.keep(self.1);
            }
        }
        let octets = FreeList::new(4);
        let none = FreeList::new(0);
        none.keep(Piece(&octets, 7));
        assert_eq!(octets.take(), Some(7));
    }
}
