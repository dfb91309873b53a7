//! Buffers whose lines have been written, for the cores to fill again: a fresh one may cost a page
//! that the kernel clears for each 4 KiB of it.

/// So many are kept: one for each core that may wait for the writing thread, on a usual machine.
const KEPT: usize = 8;

/// Buffers of a size, empty.
pub struct Spent {
    size: usize,
    buffers: parking_lot::Mutex<Vec<Vec<u8>>>,
}

impl Spent {
    /// None yet; `size` is how much room a buffer has.
    pub const fn new(size: usize) -> Self {
        Self { size, buffers: parking_lot::Mutex::new(Vec::new()) }
    }

    /// An empty buffer.
    pub fn take(&self) -> Vec<u8> {
        let spent = self.buffers.lock().pop();
        spent.unwrap_or_else(|| Vec::with_capacity(self.size))
    }

    /// Gives one back. One that has become larger goes to the allocator, as those beyond the limit
    /// do.
    pub fn give(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut buffers = self.buffers.lock();
        if buffer.capacity() <= self.size && buffers.len() < KEPT {
            buffers.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_filled_again_unless_it_has_grown() {
        let spent = Spent::new(64);
        let mut buffer = spent.take();
        buffer.extend_from_slice(b"a line");
        let at = buffer.as_ptr();
        spent.give(buffer);
        let mut again = spent.take();
        assert!(again.is_empty() && again.as_ptr() == at);
        again.resize(again.capacity() + 1, 0);
        spent.give(again);
        assert!(spent.buffers.lock().is_empty());
        (0..20).map(|_| spent.take()).collect::<Vec<_>>().into_iter().for_each(|b| spent.give(b));
        assert_eq!(spent.buffers.lock().len(), KEPT);
    }
}
