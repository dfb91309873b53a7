//! What a tier says of an answer from its store to the tier that asked: stale or not, and for how
//! long it may still be served.
//!
//! A parent says it to an edge in one field, which neither viewer nor origin sees; a shared store
//! will say the same. Durations and not moments, because two machines need not agree on the time.

use crate::semantics::fields::FieldSection;

use super::own_fields::TIER;
use super::stored::{Life, Reuse, Stored};
use super::verdict::Reason;
use crate::semantics::lists::{members, parse_digits, trim};
use crate::semantics::time::Timestamp;

/// How a tier came to answer from its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Within its lifetime, or brought or confirmed by the origin just now.
    Fresh,
    /// Past its lifetime, with leave to be served while a refresh runs (RFC 5861 §3).
    Refreshing,
    /// The tier could not reach the origin (RFC 5861 §4). A tier in front that can is to ask the
    /// origin itself.
    Stale,
}

/// The facts of one answer, at the moment it was given. All times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TierFacts {
    pub standing: Standing,
    /// Every octet of the body lies in that tier's store: if it comes slowly, that tier is at
    /// fault, and no hop behind it.
    pub is_whole: bool,
    /// What is left of the lifetime.
    pub fresh: u64,
    /// For how long from now it may be served while a refresh runs.
    pub while_refreshing: u64,
    /// For how long from now it may stand in for a failing origin.
    pub on_error: u64,
}

impl TierFacts {
    /// What is taken of an answer whose facts cannot be read: stale, and nothing left.
    const NOTHING: Self = Self {
        standing: Standing::Stale,
        is_whole: false,
        fresh: 0,
        while_refreshing: 0,
        on_error: 0,
    };

    /// The facts of a stored response that is given at `now` for `reason`.
    pub fn of(stored: &Stored, reason: Reason, now: Timestamp) -> Self {
        let standing = match reason {
            Reason::StaleIfError | Reason::StaleOnError => Standing::Stale,
            Reason::StaleWhileRevalidate => Standing::Refreshing,
            _ => Standing::Fresh,
        };
        Self::at_age(&stored.life, standing, stored.age(now), stored.content.is_complete())
    }

    /// The facts of an entry of a store that several edges share, which holds it whole. Past its
    /// lifetime it is only good for when the origin fails.
    pub fn in_shared_store(life: &Life, age: u64) -> Self {
        let is_fresh = life.reuse == Reuse::WhileFresh && age < life.fresh;
        let standing = if is_fresh { Standing::Fresh } else { Standing::Stale };
        Self::at_age(life, standing, age, true)
    }

    fn at_age(life: &Life, standing: Standing, age: u64, is_whole: bool) -> Self {
        let left = |window: u64| life.fresh.saturating_add(window).saturating_sub(age);
        let is_reused = life.reuse == Reuse::WhileFresh;
        Self {
            standing,
            is_whole,
            fresh: if is_reused && standing == Standing::Fresh { left(0) } else { 0 },
            // What stands in may be stale by decree: it is validated before its next use, not
            // behind it.
            while_refreshing: if is_reused && standing != Standing::Stale {
                left(life.stale_while_revalidate)
            } else {
                0
            },
            on_error: if is_reused { left(life.stale_if_error) } else { 0 },
        }
    }

    /// Cuts a life that was judged anew to what is left of the one in the tier that gave the
    /// answer; `age` is the answer's on arrival. Nothing begins again: neither the error TTL nor
    /// the minimum TTL.
    #[must_use]
    pub fn hold(&self, life: Life, age: u64) -> Life {
        let until = |ours: u64, theirs: u64| ours.min(age.saturating_add(theirs));
        let fresh = until(life.fresh, self.fresh);
        let window = |ours: u64, theirs: u64| {
            until(life.fresh.saturating_add(ours), theirs).saturating_sub(fresh)
        };
        Life {
            fresh,
            stale_while_revalidate: window(life.stale_while_revalidate, self.while_refreshing)
                .min(life.stale_while_revalidate),
            // No window where ours has none: that is what must-revalidate says.
            stale_if_error: if life.stale_if_error == 0 {
                0
            } else {
                window(life.stale_if_error, self.on_error)
            },
            ..life
        }
    }

    /// Puts the facts into an answer to an edge.
    pub fn write(&self, fields: &mut FieldSection) {
        let standing = match self.standing {
            Standing::Fresh => "fresh",
            Standing::Refreshing => "refreshing",
            Standing::Stale => "stale",
        };
        let body = if self.is_whole { "whole" } else { "growing" };
        let Self { fresh, while_refreshing, on_error, .. } = self;
        let text = format!(
            "standing={standing}, fresh={fresh}, refreshing={while_refreshing}, on-error={on_error}, body={body}"
        );
        fields.insert(&TIER, text);
    }

    /// Takes the facts out of a parent's answer; `None` if it says none: it did not come from a
    /// store.
    pub fn take(fields: &mut FieldSection) -> Option<Self> {
        let facts = fields.get(&TIER).map(|value| Self::read(value.as_bytes()));
        if facts.is_some() {
            fields.remove(&TIER);
        }
        facts
    }

    // What is not understood is passed over; what is missing is taken for the worst.
    fn read(line: &[u8]) -> Self {
        let mut facts = Self::NOTHING;
        for member in members(line) {
            let Some(at) = member.iter().position(|octet| *octet == b'=') else { continue };
            let (name, value) = (trim(&member[..at]), trim(&member[at + 1..]));
            match name {
                b"standing" => {
                    facts.standing = match value {
                        b"fresh" => Standing::Fresh,
                        b"refreshing" => Standing::Refreshing,
                        _ => Standing::Stale,
                    }
                }
                b"fresh" => facts.fresh = parse_digits(value).unwrap_or(0),
                b"refreshing" => facts.while_refreshing = parse_digits(value).unwrap_or(0),
                b"on-error" => facts.on_error = parse_digits(value).unwrap_or(0),
                b"body" => facts.is_whole = value == b"whole",
                _ => {}
            }
        }
        facts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::stored::TtlRule;
    use proptest::prelude::*;

    fn life(fresh: u64, stale_while_revalidate: u64, stale_if_error: u64) -> Life {
        Life {
            fresh,
            stale_while_revalidate,
            stale_if_error,
            reuse: Reuse::WhileFresh,
            rule: TtlRule::Error,
        }
    }

    #[test]
    fn an_error_ttl_does_not_begin_anew() {
        // A 404 that lives ten seconds, given at the age of six: the edge's own rule would say ten
        // more.
        let facts = TierFacts::at_age(&life(10_000, 0, 0), Standing::Fresh, 6000, true);
        assert_eq!((facts.fresh, facts.standing), (4000, Standing::Fresh));
        assert_eq!(facts.hold(life(16_000, 0, 0), 6000), life(10_000, 0, 0));
        // A shorter life of our own stays as it is.
        assert_eq!(facts.hold(life(7000, 0, 0), 6000), life(7000, 0, 0));
    }

    #[test]
    fn what_stands_in_is_fresh_for_nobody() {
        // Invalidated softly at the age of two seconds of an hour.
        let facts =
            TierFacts::at_age(&life(3_600_000, 60_000, 120_000), Standing::Stale, 2000, true);
        assert_eq!((facts.fresh, facts.while_refreshing), (0, 0));
        let held = facts.hold(life(3_600_000, 60_000, 120_000), 2000);
        assert_eq!(
            (held.fresh, held.stale_while_revalidate),
            (2000, 0),
            "it has expired on arrival"
        );
        assert_eq!(
            held.fresh + held.stale_if_error,
            3_720_000,
            "and may stand in for as long as there"
        );
    }

    #[test]
    fn what_is_validated_each_time_has_nothing_left() {
        let each_time = Life { reuse: Reuse::AfterValidation, ..life(5000, 5000, 5000) };
        let facts = TierFacts::at_age(&each_time, Standing::Fresh, 0, false);
        assert_eq!((facts.fresh, facts.while_refreshing, facts.on_error), (0, 0, 0));
    }

    #[test]
    fn what_cannot_be_read_is_stale() {
        for line in
            ["", "x", "standing", "standing=new, fresh=5", "standing=, fresh=-1", "fresh=12x"]
        {
            let facts = TierFacts::read(line.as_bytes());
            assert_eq!(facts.standing, Standing::Stale, "{line}");
        }
        assert_eq!(TierFacts::read(b"more=1, fresh = 7 ,standing=fresh").fresh, 7);
        assert_eq!(TierFacts::take(&mut FieldSection::new()), None);
    }

    proptest! {
        #[test]
        fn facts_come_over_and_a_life_never_grows(
            ours in (0..100u64, 0..100u64, 0..100u64), theirs in (0..100u64, 0..100u64, 0..100u64), age in 0..200u64, which in 0..3usize,
        ) {
            let standing = [Standing::Fresh, Standing::Refreshing, Standing::Stale][which];
            let facts = TierFacts::at_age(&life(theirs.0, theirs.1, theirs.2), standing, age, which == 1);
            let mut fields = FieldSection::new();
            facts.write(&mut fields);
            prop_assert_eq!(TierFacts::take(&mut fields), Some(facts));
            prop_assert!(fields.is_empty());
            let own = life(ours.0, ours.1, ours.2);
            let held = facts.hold(own, age);
            prop_assert!(held.fresh <= own.fresh && held.stale_while_revalidate <= own.stale_while_revalidate);
            // No moment at which it may be served lies behind the last one of either tier.
            prop_assert!(held.fresh + held.stale_if_error <= own.fresh + own.stale_if_error);
            prop_assert!(held.fresh.saturating_sub(age) <= facts.fresh);
            prop_assert!((held.fresh + held.stale_while_revalidate).saturating_sub(age) <= facts.while_refreshing.max(facts.fresh));
            prop_assert!((held.fresh + held.stale_if_error).saturating_sub(age) <= facts.on_error.max(facts.fresh));
            if standing != Standing::Fresh {
                prop_assert!(held.fresh <= age, "it is not fresh on arrival");
            }
        }
    }
}
