//! Pure: which addresses of a name are tried, and in which order (RFC 8305 §4).

use std::net::SocketAddr;

use crate::distribution::origin::{Family, Reach};

/// The most addresses that one attempt tries.
pub const ADDRESSES_MAX: usize = 16;

/// Puts the addresses of one family and of the other by turns, so that one that is out of order
/// costs a step and no more. The family of the first one leads, which is how resolvers say what is
/// preferred.
pub fn by_turns(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = found.first().map(SocketAddr::is_ipv6) else { return found };
    let count = found.len().min(ADDRESSES_MAX);
    let (lead, other): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|address| address.is_ipv6() == first);
    let (mut lead, mut other) = (lead.into_iter(), other.into_iter());
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        all.extend(lead.next());
        all.extend(other.next());
    }
    all.truncate(count);
    all
}

/// Leaves those that may be connected to.
pub fn allowed(found: &mut Vec<SocketAddr>, family: Family, reach: Reach) {
    found.retain(|address| family.takes(address.ip()) && reach.allows(*address));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<SocketAddr> {
        text.split_whitespace().map(|one| one.parse().unwrap()).collect()
    }

    #[test]
    fn rfc8305_4_families_take_turns() {
        for (found, want) in [
            ("", ""),
            ("192.0.2.1:1", "192.0.2.1:1"),
            (
                "[2001:db8::1]:1 [2001:db8::2]:1 192.0.2.1:1",
                "[2001:db8::1]:1 192.0.2.1:1 [2001:db8::2]:1",
            ),
            (
                "192.0.2.1:1 192.0.2.2:1 192.0.2.3:1 [2001:db8::1]:1",
                "192.0.2.1:1 [2001:db8::1]:1 192.0.2.2:1 192.0.2.3:1",
            ),
        ] {
            assert_eq!(by_turns(of(found)), of(want), "{found}");
        }
    }

    #[test]
    fn an_attempt_tries_so_many_and_of_both() {
        let many = |at: u16| SocketAddr::from(([192, 0, 2, 1], at));
        let mut found: Vec<SocketAddr> = (1..100).map(many).collect();
        found.extend(of("[2001:db8::1]:1"));
        let tried = by_turns(found);
        assert_eq!(tried.len(), ADDRESSES_MAX);
        assert!(tried[1].is_ipv6());
    }

    #[test]
    fn a_family_is_all_that_is_asked() {
        let all = "[2001:db8::1]:1 192.0.2.1:1 [::ffff:192.0.2.2]:1";
        for (family, want) in [
            (Family::Both, all),
            (Family::Ipv4, "192.0.2.1:1"),
            (Family::Ipv6, "[2001:db8::1]:1 [::ffff:192.0.2.2]:1"),
        ] {
            let mut found = of(all);
            allowed(&mut found, family, Reach::Anywhere);
            assert_eq!(found, of(want), "{family:?}");
        }
        let mut found = of("169.254.169.254:80 192.0.2.1:80");
        let admin = "127.0.0.1:9080".parse().unwrap();
        allowed(&mut found, Family::Both, Reach::Guarded { admin });
        assert_eq!(found, of("192.0.2.1:80"));
    }
}
