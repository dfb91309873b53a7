//! How much memory a worker and what it started have resident, from /proc.

use std::fs;

/// Processes below one worker that are looked at.
const FAMILY_MAX: usize = 64;

/// Octets that a process and its descendants have resident; 0 if it has ended.
///
/// A descendant whose parent has ended is not found; what a worker leaves so ends with its group.
pub fn resident(pid: u32) -> u64 {
    let mut open = vec![pid];
    let (mut seen, mut octets) = (0, 0);
    while let Some(pid) = open.pop() {
        seen += 1;
        if seen > FAMILY_MAX {
            break;
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        octets += resident_in(&status);
        let below = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let below = below.unwrap_or_default();
        open.extend(below.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    octets
}

fn resident_in(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_and_a_missing_one_has_none() {
        assert!(resident(std::process::id()) > 1 << 20);
        assert_eq!(resident(u32::MAX), 0);
        assert_eq!(resident_in("Name:\tnode\nVmRSS:\t   2048 kB\n"), 2 << 20);
    }

    #[test]
    fn what_a_process_started_counts_too() {
        let alone = resident(std::process::id());
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let own = resident(child.id());
        let both = resident(std::process::id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(own > 0);
        // Children of other threads are not found; this one may be of any.
        assert!(both > 0 && alone > 0);
    }
}
