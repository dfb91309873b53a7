//! How much memory a worker and what it started have resident, from /proc.

use std::fs;

/// Processes below one worker that are looked at.
const FAMILY_MAX: usize = 64;

/// Octets that a process and its descendants have resident; 0 if it has ended.
///
/// A descendant whose parent has ended is not found; what a worker leaves so ends with its group.
pub fn resident(pid: u32) -> u64 {
    let status = |pid| fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    family(pid).into_iter().map(|pid| resident_in(&status(pid))).sum()
}

/// A process and its descendants, not more than a few.
pub fn family(pid: u32) -> Vec<u32> {
    let (mut open, mut seen) = (vec![pid], Vec::new());
    while let Some(pid) = open.pop() {
        if seen.len() == FAMILY_MAX {
            break;
        }
        seen.push(pid);
        let below = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let below = below.unwrap_or_default();
        open.extend(below.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    seen
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
        let mut child = std::process::Command::new("sh")
            .args(["-c", "sleep 60 & echo $!; wait"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut told = std::io::BufReader::new(child.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut told, &mut line).unwrap();
        let (both, below) = (resident(child.id()), resident(line.trim().parse().unwrap()));
        std::process::Command::new("kill").arg(line.trim()).status().unwrap();
        child.wait().unwrap();
        assert!(below > 0 && both > below, "{both} of {below}");
    }
}
