//! Pure: when an origin that says nothing over an HTTP/2 connection is asked whether it is still
//! there (a PING, RFC 9113 §6.7), and when it is given up.
//!
//! Only while requests wait: nobody misses an idle connection that died. Each answer makes the next
//! question rarer, because gRPC servers close connections that ping for the third time while they
//! have said nothing themselves, unless five minutes lie between.

use std::time::Duration;

/// Silence before the first question.
const FIRST: Duration = Duration::from_secs(5);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// By how much the silence before a question grows with each answer.
const FACTOR: u32 = 4;
/// The longest silence without a question; a little more than gRPC's five minutes.
const LONGEST: Duration = Duration::from_secs(301);

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    Nothing,
    /// A PING is to be sent.
    Ask,
    /// The other side is gone.
    Dead,
}

/// What is known of the other side.
#[derive(Debug)]
pub struct Pulse {
    silent: Duration,
    is_asked: bool,
    /// The silence before the next question.
    next: Duration,
}

/// The pulse of a new connection.
impl Default for Pulse {
    fn default() -> Self {
        Self { silent: Duration::ZERO, is_asked: false, next: FIRST }
    }
}

impl Pulse {
    /// True while an answer is waited for.
    pub const fn is_asked(&self) -> bool {
        self.is_asked
    }

    /// The PING was answered.
    pub fn answered(&mut self) {
        self.is_asked = false;
        self.silent = Duration::ZERO;
        self.next = (self.next * FACTOR).min(LONGEST);
    }

    /// Time has passed: whether anything but the answer to a PING came in it, and whether any
    /// request waits for something.
    pub fn tick(&mut self, passed: Duration, has_heard: bool, is_needed: bool) -> Sign {
        if has_heard || !is_needed {
            // A PING that is under way is answered before another may be sent.
            *self = Self { is_asked: self.is_asked, ..Self::default() };
            return Sign::Nothing;
        }
        self.silent += passed;
        if self.is_asked {
            return if self.silent >= PATIENCE { Sign::Dead } else { Sign::Nothing };
        }
        if self.silent < self.next {
            return Sign::Nothing;
        }
        self.silent = Duration::ZERO;
        self.is_asked = true;
        Sign::Ask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    // The seconds in which something is to be done, of so many in which nothing is heard; answers
    // come at once, or never.
    fn silence(pulse: &mut Pulse, seconds: u32, is_there: bool) -> Vec<(u32, Sign)> {
        let mut signs = Vec::new();
        for second in 1..=seconds {
            let sign = pulse.tick(SECOND, false, true);
            if sign != Sign::Nothing {
                signs.push((second, sign));
            }
            if sign == Sign::Ask && is_there {
                pulse.answered();
            }
            if sign == Sign::Dead {
                break;
            }
        }
        signs
    }

    #[test]
    fn who_does_not_answer_is_given_up() {
        let signs = silence(&mut Pulse::default(), 60, false);
        assert_eq!(signs, [(5, Sign::Ask), (10, Sign::Dead)]);
    }

    #[test]
    fn who_answers_is_asked_ever_more_seldom() {
        let asked: Vec<u32> =
            silence(&mut Pulse::default(), 1100, true).iter().map(|(second, _)| *second).collect();
        assert_eq!(asked, [5, 25, 105, 406, 707, 1008]);
    }

    #[test]
    fn whoever_is_heard_or_not_needed_is_not_asked() {
        let mut pulse = Pulse::default();
        for second in 0..100 {
            assert_eq!(pulse.tick(SECOND, second % 4 == 0, true), Sign::Nothing);
        }
        for _ in 0..100 {
            assert_eq!(pulse.tick(SECOND, false, false), Sign::Nothing);
        }
        assert_eq!(silence(&mut pulse, 60, false), [(5, Sign::Ask), (10, Sign::Dead)]);
    }

    #[test]
    fn a_question_under_way_is_not_asked_again() {
        let mut pulse = Pulse::default();
        assert_eq!(silence(&mut pulse, 5, false), [(5, Sign::Ask)]);
        // Octets of an answer came, the PING's are still under way.
        assert_eq!(pulse.tick(SECOND, true, true), Sign::Nothing);
        assert!(pulse.is_asked());
        assert_eq!(silence(&mut pulse, 60, false), [(5, Sign::Dead)]);
    }
}
