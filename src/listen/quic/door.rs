//! Pure: what becomes of a first packet while many handshakes are under way.
//!
//! Addresses of first packets may be made up. Up to a number they are taken at their word; beyond
//! it viewers prove their address first, which costs us nothing that lasts; beyond another all are
//! refused; and beyond a third nothing is worth an answer.

/// Handshakes under way on a core from which on viewers prove their address first, are refused, or
/// hear nothing.
const RETRY: usize = 1_000;
const REFUSE: usize = 5_000;
const IGNORE: usize = 10_000;

/// What is known of a first packet.
#[derive(Clone, Copy)]
pub struct Knock {
    /// It came with a token that we gave to its address.
    pub is_proved: bool,
    /// It may be asked to prove its address: it was not before.
    pub may_retry: bool,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// It has a place, if there is one.
    Open,
    Prove,
    Refused,
    Silent,
}

/// With so many handshakes under way; `are_places_scarce` says that half of all connections are
/// taken: made-up addresses may not have the places of viewers over TCP.
pub const fn door(half_open: usize, are_places_scarce: bool, knock: Knock) -> Door {
    if half_open >= IGNORE {
        Door::Silent
    } else if half_open >= REFUSE {
        Door::Refused
    } else if (half_open >= RETRY || are_places_scarce) && !knock.is_proved && knock.may_retry {
        Door::Prove
    } else {
        Door::Open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_packets_without_an_end_are_retried_refused_and_ignored() {
        let unknown = Knock { is_proved: false, may_retry: true };
        let proved = Knock { is_proved: true, may_retry: false };
        // An address of which nothing is known, and that cannot be asked: a token of another kind.
        let odd = Knock { is_proved: false, may_retry: false };
        for (half_open, are_scarce, told) in [
            (0, false, [Door::Open, Door::Open, Door::Open]),
            (0, true, [Door::Prove, Door::Open, Door::Open]),
            (999, false, [Door::Open, Door::Open, Door::Open]),
            (1_000, false, [Door::Prove, Door::Open, Door::Open]),
            (4_999, true, [Door::Prove, Door::Open, Door::Open]),
            (5_000, false, [Door::Refused; 3]),
            (9_999, true, [Door::Refused; 3]),
            (10_000, false, [Door::Silent; 3]),
            (usize::MAX, true, [Door::Silent; 3]),
        ] {
            let seen = [unknown, proved, odd].map(|knock| door(half_open, are_scarce, knock));
            assert_eq!(seen, told, "{half_open} {are_scarce}");
        }
    }
}
