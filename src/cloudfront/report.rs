//! What an import has to say, the most urgent first.

use std::fmt::Write;

/// How much something matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// Until the operator sees to it, the edge does not serve what it should, or serves what it
    /// should not.
    BeforeServing,
    /// Something acts otherwise than at CloudFront, or is worth knowing.
    ToKnow,
    /// It has no consequence here.
    Idle,
}

const RANKS: [(Rank, &str); 3] = [
    (Rank::BeforeServing, "to be done before it serves"),
    (Rank::ToKnow, "to know"),
    (Rank::Idle, "of no consequence here"),
];

/// Everything that an import says. Each line once.
#[derive(Debug, Default)]
pub struct Report {
    items: Vec<(Rank, String)>,
}

impl Report {
    /// Adds a line; line ends in it become spaces.
    pub fn add(&mut self, rank: Rank, what: &str) {
        let item = (rank, one_line(what));
        if !self.items.contains(&item) {
            self.items.push(item);
        }
    }

    /// The lines of one rank, in the order they were found.
    pub fn of(&self, rank: Rank) -> impl Iterator<Item = &str> {
        self.items.iter().filter(move |(known, _)| *known == rank).map(|(_, text)| text.as_str())
    }

    /// As people read it.
    pub fn render(&self) -> String {
        let mut out = String::new();
        for (rank, title) in RANKS {
            let count = self.of(rank).count();
            if count > 0 {
                let _ = writeln!(out, "{title} ({count}):");
            }
            for line in self.of(rank) {
                let _ = writeln!(out, "  - {line}");
            }
        }
        if self.items.is_empty() {
            out.push_str("nothing to look at\n");
        }
        out
    }
}

/// Text without line ends and other control characters, as a comment may be.
pub fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_urgent_comes_first_and_once() {
        let mut report = Report::default();
        report.add(Rank::Idle, "price");
        report.add(Rank::BeforeServing, "a\nguard");
        report.add(Rank::BeforeServing, "a guard");
        assert_eq!(
            report.render(),
            "to be done before it serves (1):\n  - a guard\nof no consequence here (1):\n  - price\n"
        );
    }
}
