//! Addresses as text, octet for octet as `std` displays them, without the machinery of `core::fmt`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

/// Appends an address; one of IPv6 in its canonical form (RFC 5952).
pub fn write(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => write_v4(out, address),
        IpAddr::V6(address) => write_v6(out, address),
    }
}

fn write_v4(out: &mut Vec<u8>, address: Ipv4Addr) {
    for part in address.octets() {
        let [hundreds, tens, ones] = [part / 100, part / 10 % 10, part % 10].map(|n| b'0' + n);
        match part {
            0..=9 => out.extend_from_slice(&[ones, b'.']),
            10..=99 => out.extend_from_slice(&[tens, ones, b'.']),
            100.. => out.extend_from_slice(&[hundreds, tens, ones, b'.']),
        }
    }
    // No dot behind the last part.
    out.pop();
}

fn write_v6(out: &mut Vec<u8>, address: Ipv6Addr) {
    if let Some(mapped) = address.to_ipv4_mapped() {
        out.extend_from_slice(b"::ffff:");
        return write_v4(out, mapped);
    }
    let groups = address.segments();
    let zeros = longest_zeros(&groups);
    // A single group of zeros is not shortened (RFC 5952 §4.2.2).
    if zeros.len() < 2 {
        return write_groups(out, &groups);
    }
    write_groups(out, &groups[..zeros.start]);
    out.extend_from_slice(b"::");
    write_groups(out, &groups[zeros.end..]);
}

// Of two runs of zeros that are as long, the first (RFC 5952 §4.2.3).
fn longest_zeros(groups: &[u16; 8]) -> Range<usize> {
    let (mut longest, mut start) = (0..0, 0);
    for (at, group) in groups.iter().enumerate() {
        if *group != 0 {
            start = at + 1;
        } else if at + 1 - start > longest.len() {
            longest = start..at + 1;
        }
    }
    longest
}

fn write_groups(out: &mut Vec<u8>, groups: &[u16]) {
    for (at, group) in groups.iter().enumerate() {
        if at > 0 {
            out.push(b':');
        }
        write_hex(out, *group);
    }
}

// In lower case, without zeros in front (RFC 5952 §4.1, §4.3).
fn write_hex(out: &mut Vec<u8>, group: u16) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digits = [12, 8, 4, 0].map(|shift| HEX[usize::from((group >> shift) & 15)]);
    match group {
        0..=0xf => out.push(digits[3]),
        0x10..=0xff => out.extend_from_slice(&digits[2..]),
        0x100..=0xfff => out.extend_from_slice(&digits[1..]),
        0x1000.. => out.extend_from_slice(&digits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(address: IpAddr) -> String {
        let mut out = Vec::new();
        write(&mut out, address);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn known_addresses_have_their_canonical_form() {
        for known in [
            "0.0.0.0",
            "1.20.255.100",
            "255.255.255.255",
            "::",
            "::1",
            "1::",
            "2001:db8::1",
            "2001:db8:0:1:1:1:1:1",
            "2001:0:0:1::1",
            "2001:db8::1:0:0:1",
            "::ffff:192.0.2.1",
            "::c000:201",
            "64:ff9b::c000:201",
            "fe80::1234:5678:9abc:def0",
            "0:1:2:3:4:5:6:7",
            "1:2:3:4:5:6:7:0",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ] {
            assert_eq!(text(known.parse().unwrap()), known);
        }
    }

    #[test]
    fn wherever_zeros_stand_they_are_shortened_as_std_does() {
        for zeros in 0..256u16 {
            for group in [1, 0x10, 0x100, 0xfe80] {
                let groups: [u16; 8] =
                    std::array::from_fn(|at| if (zeros >> at) & 1 == 1 { 0 } else { group });
                let address = IpAddr::from(groups);
                assert_eq!(text(address), address.to_string());
            }
        }
    }

    proptest! {
        #[test]
        fn any_address_is_written_as_std_writes_it(v4 in any::<[u8; 4]>(), v6 in any::<[u16; 8]>(), masks in any::<[u16; 8]>()) {
            let v4 = Ipv4Addr::from(v4);
            let thinned: [u16; 8] = std::array::from_fn(|at| v6[at] & masks[at] & masks[7 - at]);
            for address in [IpAddr::from(v4), IpAddr::from(v4.to_ipv6_mapped()), IpAddr::from(v6), IpAddr::from(thinned)] {
                prop_assert_eq!(text(address), address.to_string());
            }
        }
    }
}
