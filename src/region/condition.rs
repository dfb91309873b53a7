//! Pure: whether a parent is given requests, and why not: what checks found (`checked`) and what
//! its answers showed (`health`), together. It is out if either says so.

use super::checked::Checked;
use super::health::{Cause, Pause};
use crate::origin::rank::Takes;
use crate::semantics::time::Timestamp;

/// How a parent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    Well,
    /// It says that it is about to leave: it gets no new requests, and is not blamed for what
    /// becomes of those under way.
    Draining,
    /// It failed so many checks in a row.
    Unhealthy(u32),
    /// It is stepped over for what its answers showed.
    Paused(Pause),
}

impl Condition {
    /// What checks and answers come to. `failed` is how many checks failed in a row.
    pub const fn of(checked: Checked, failed: u32, pause: Option<Pause>) -> Self {
        match (checked, pause) {
            (Checked::Unhealthy, _) => Self::Unhealthy(failed),
            (Checked::Draining, _) => Self::Draining,
            (Checked::Ready | Checked::Unknown, Some(pause)) => Self::Paused(pause),
            (Checked::Ready | Checked::Unknown, None) => Self::Well,
        }
    }

    /// Whether it is given requests.
    pub const fn takes(self) -> Takes {
        match self {
            Self::Well => Takes::Keys,
            Self::Draining | Self::Unhealthy(_) | Self::Paused(_) => Takes::Nothing,
        }
    }

    /// The condition in a word, for the status and for metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Well => "healthy",
            Self::Draining => "draining",
            Self::Unhealthy(_) => "unhealthy",
            Self::Paused(Pause { cause: Cause::Failing, .. }) => "failing",
            Self::Paused(Pause { cause: Cause::Slow, .. }) => "slow",
            Self::Paused(Pause { cause: Cause::Outlier(_), .. }) => "ejected",
        }
    }

    /// All words, for metrics.
    pub const WORDS: [&'static str; 6] =
        ["healthy", "draining", "unhealthy", "failing", "slow", "ejected"];

    /// Until when it is left alone, where that is a moment.
    pub const fn until(self) -> Option<Timestamp> {
        match self {
            Self::Paused(pause) => Some(pause.until),
            Self::Well | Self::Draining | Self::Unhealthy(_) => None,
        }
    }

    /// Why it is given nothing.
    pub fn why(self) -> Option<String> {
        match self {
            Self::Well => None,
            Self::Draining => Some("it says that it drains".into()),
            Self::Unhealthy(failed) => Some(format!("{failed} checks in a row failed")),
            Self::Paused(Pause { cause: Cause::Failing, .. }) => {
                Some("it gave no answer, or not all of one".into())
            }
            Self::Paused(Pause { cause: Cause::Slow, .. }) => {
                Some("it has become slow to answer at all".into())
            }
            Self::Paused(Pause { cause: Cause::Outlier(verdict), .. }) => Some(verdict.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::outliers::Verdict;

    #[test]
    fn it_is_out_if_either_says_so() {
        let pause = |cause| Some(Pause { cause, until: Timestamp(7) });
        for (checked, pause, want) in [
            (Checked::Unknown, None, "healthy"),
            (Checked::Ready, None, "healthy"),
            (Checked::Ready, pause(Cause::Failing), "failing"),
            (Checked::Unknown, pause(Cause::Slow), "slow"),
            (Checked::Ready, pause(Cause::Outlier(Verdict::default())), "ejected"),
            (Checked::Draining, None, "draining"),
            (Checked::Draining, pause(Cause::Failing), "draining"),
            (Checked::Unhealthy, None, "unhealthy"),
            (Checked::Unhealthy, pause(Cause::Failing), "unhealthy"),
        ] {
            let condition = Condition::of(checked, 3, pause);
            assert_eq!(condition.word(), want, "{checked:?} {pause:?}");
            assert!(Condition::WORDS.contains(&want));
            let takes = if want == "healthy" { Takes::Keys } else { Takes::Nothing };
            assert_eq!((condition.takes(), condition.why().is_none()), (takes, want == "healthy"));
            assert_eq!(condition.until().is_some(), matches!(condition, Condition::Paused(_)));
        }
    }
}
