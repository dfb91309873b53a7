//! Pure: the static table of RFC 7541 Appendix A, and the dynamic one that a peer fills (§2.3).

use std::collections::VecDeque;

use super::{BadBlock, FIELD_OVERHEAD};

/// A name and a value.
pub type Pair<'t> = (&'t [u8], &'t [u8]);

/// Index 1 is the first.
#[rustfmt::skip]
pub const STATIC: [(&[u8], &[u8]); 61] = [
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b""),
    (b"accept-ranges", b""),
    (b"accept", b""),
    (b"access-control-allow-origin", b""),
    (b"age", b""),
    (b"allow", b""),
    (b"authorization", b""),
    (b"cache-control", b""),
    (b"content-disposition", b""),
    (b"content-encoding", b""),
    (b"content-language", b""),
    (b"content-length", b""),
    (b"content-location", b""),
    (b"content-range", b""),
    (b"content-type", b""),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"expect", b""),
    (b"expires", b""),
    (b"from", b""),
    (b"host", b""),
    (b"if-match", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"if-range", b""),
    (b"if-unmodified-since", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"max-forwards", b""),
    (b"proxy-authenticate", b""),
    (b"proxy-authorization", b""),
    (b"range", b""),
    (b"referer", b""),
    (b"refresh", b""),
    (b"retry-after", b""),
    (b"server", b""),
    (b"set-cookie", b""),
    (b"strict-transport-security", b""),
    (b"transfer-encoding", b""),
    (b"user-agent", b""),
    (b"vary", b""),
    (b"via", b""),
    (b"www-authenticate", b""),
];

struct Entry {
    start: usize,
    name: usize,
    value: usize,
}

impl Entry {
    fn size(&self) -> usize {
        self.name + self.value + FIELD_OVERHEAD
    }
}

/// Fields seen before, newest first, within a bound.
pub struct Table {
    /// Oldest first. Their octets lie one after the other in `octets`.
    entries: VecDeque<Entry>,
    octets: Vec<u8>,
    size: usize,
    max: usize,
    /// The bound that we allow the peer.
    allowed: usize,
}

impl Table {
    /// An empty table of at most this size.
    pub const fn new(allowed: usize) -> Self {
        Self { entries: VecDeque::new(), octets: Vec::new(), size: 0, max: allowed, allowed }
    }

    /// Follows a table size update (§6.3).
    pub fn resize(&mut self, max: usize) -> Result<(), BadBlock> {
        if max > self.allowed {
            return Err(BadBlock("a table larger than allowed"));
        }
        self.max = max;
        self.shrink_to(max);
        Ok(())
    }

    /// The field of an index.
    pub fn get(&self, index: usize) -> Result<Pair<'_>, BadBlock> {
        let missing = BadBlock("an index of nothing");
        match index.checked_sub(1).ok_or(missing)? {
            at if at < STATIC.len() => Ok(STATIC[at]),
            at => {
                let back = at - STATIC.len();
                let entry = self
                    .entries
                    .len()
                    .checked_sub(back + 1)
                    .and_then(|at| self.entries.get(at))
                    .ok_or(missing)?;
                let (name, rest) = self.octets[entry.start..].split_at(entry.name);
                Ok((name, &rest[..entry.value]))
            }
        }
    }

    /// Adds a field; what is too old, or larger than the table, leaves (§4.4).
    pub fn insert(&mut self, name: &[u8], value: &[u8]) {
        let size = name.len() + value.len() + FIELD_OVERHEAD;
        self.shrink_to(self.max.saturating_sub(size));
        if size > self.max {
            return;
        }
        self.compact();
        let start = self.octets.len();
        self.octets.extend_from_slice(name);
        self.octets.extend_from_slice(value);
        self.entries.push_back(Entry { start, name: name.len(), value: value.len() });
        self.size += size;
    }

    fn shrink_to(&mut self, size: usize) {
        while self.size > size
            && let Some(oldest) = self.entries.pop_front()
        {
            self.size -= oldest.size();
        }
    }

    // Octets of entries that left are given up once they are as many as the table may hold.
    fn compact(&mut self) {
        let gone = self.entries.front().map_or(self.octets.len(), |oldest| oldest.start);
        if gone >= self.allowed || self.entries.is_empty() {
            self.octets.drain(..gone);
            self.entries.iter_mut().for_each(|entry| entry.start -= gone);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc7541_2_3_3_indices_run_from_static_to_newest_to_oldest() {
        let mut table = Table::new(4096);
        table.insert(b"a", b"1");
        table.insert(b"b", b"2");
        assert_eq!(table.get(1).unwrap(), (&b":authority"[..], &b""[..]));
        assert_eq!(table.get(61).unwrap().0, b"www-authenticate");
        assert_eq!(table.get(62).unwrap(), (&b"b"[..], &b"2"[..]));
        assert_eq!(table.get(63).unwrap(), (&b"a"[..], &b"1"[..]));
        assert!(table.get(64).is_err() && table.get(0).is_err());
    }

    #[test]
    fn rfc7541_4_4_the_oldest_leave_and_the_too_large_empties() {
        let mut table = Table::new(100);
        for value in [&b"x"[..], b"y", b"z"] {
            table.insert(b"n", value);
        }
        assert_eq!(table.get(62).unwrap().1, b"z");
        assert_eq!(table.get(63).unwrap().1, b"y");
        assert!(table.get(64).is_err());
        table.insert(b"n", &[b'v'; 100]);
        assert!(table.get(62).is_err());
        assert!(table.resize(101).is_err());
    }

    #[test]
    fn memory_stays_bounded_over_many_insertions() {
        let mut table = Table::new(4096);
        for at in 0..100_000u32 {
            table.insert(b"path", at.to_string().as_bytes());
            assert_eq!(table.get(62).unwrap().1, at.to_string().as_bytes());
            assert!(table.octets.len() <= 2 * 4096 + 64 && table.size <= 4096);
        }
    }
}
