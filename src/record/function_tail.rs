//! The last lines that code at the edge wrote, for those who look on (`foreshore function logs`):
//! bounded, and gone with the process.

use std::collections::VecDeque;

use crate::sync::Mutex;

/// Octets of lines that are kept.
const OCTETS_MAX: usize = 256 << 10;

/// What one call wrote.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Written {
    /// Greater than that of any call before, from 1 on.
    pub number: u64,
    pub function: String,
    /// Whole lines.
    pub lines: String,
}

#[derive(Default)]
struct Kept {
    number: u64,
    octets: usize,
    calls: VecDeque<Written>,
}

/// What calls wrote of late, all cores together.
#[derive(Default)]
pub struct FunctionTail {
    kept: Mutex<Kept>,
}

impl FunctionTail {
    /// Takes what a call wrote; the oldest goes where there is no room.
    pub fn add(&self, function: &str, lines: &[u8]) {
        let lines = String::from_utf8_lossy(lines).into_owned();
        let mut kept = self.kept.lock();
        kept.number += 1;
        kept.octets += lines.len();
        let number = kept.number;
        kept.calls.push_back(Written { number, function: function.to_string(), lines });
        while kept.octets > OCTETS_MAX {
            let Some(oldest) = kept.calls.pop_front() else { return };
            kept.octets -= oldest.lines.len();
        }
    }

    /// What was written after the call of a number, and the number to go on from.
    pub fn after(&self, number: u64) -> (Vec<Written>, u64) {
        let kept = self.kept.lock();
        let all = kept.calls.iter().filter(|written| written.number > number);
        (all.cloned().collect(), kept.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_where_there_is_no_room() {
        let tail = FunctionTail::default();
        assert_eq!(tail.after(0), (Vec::new(), 0));
        tail.add("a", b"one\n");
        tail.add("b", b"two\n");
        let (all, next) = tail.after(0);
        let names: Vec<&str> = all.iter().map(|written| written.function.as_str()).collect();
        assert_eq!((names, next), (vec!["a", "b"], 2));
        assert_eq!(tail.after(1).0[0].lines, "two\n");
        assert!(tail.after(2).0.is_empty());
        tail.add("c", "x".repeat(OCTETS_MAX - 4).as_bytes());
        let (all, next) = tail.after(0);
        assert_eq!((all.len(), all[0].function.as_str(), next), (2, "b", 3));
        tail.add("d", "x".repeat(OCTETS_MAX + 1).as_bytes());
        assert_eq!(tail.after(0), (Vec::new(), 4));
    }
}
