//! Which process made a connection over loopback, from /proc.

use std::fs;
use std::net::SocketAddr;

use super::memory;

/// Says whether a process, or one that it started, made the connection that comes from `theirs` to
/// `ours`, both of IPv4 and of this machine.
pub fn is_of(pid: u32, theirs: SocketAddr, ours: SocketAddr) -> bool {
    let table = fs::read_to_string("/proc/self/net/tcp").unwrap_or_default();
    let Some(inode) = inode(&table, theirs.port(), ours.port()) else { return false };
    let socket = format!("socket:[{inode}]");
    memory::family(pid).into_iter().any(|pid| holds(pid, &socket))
}

// What the kernel calls the socket of one side of a connection over 127.0.0.1.
fn inode(table: &str, from: u16, to: u16) -> Option<&str> {
    let (from, to) = (format!("0100007F:{from:04X}"), format!("0100007F:{to:04X}"));
    table.lines().find_map(|line| {
        let mut parts = line.split_ascii_whitespace();
        let (local, remote) = (parts.nth(1)?, parts.next()?);
        (local == from && remote == to).then(|| parts.nth(6)).flatten()
    })
}

fn holds(pid: u32, socket: &str) -> bool {
    let all = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    all.filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|target| target.as_os_str() == socket)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_is_its_makers_alone() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = listener.local_addr().unwrap();
        let stream = TcpStream::connect(ours).unwrap();
        let theirs = stream.local_addr().unwrap();
        assert!(is_of(std::process::id(), theirs, ours));
        let mut other = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert!(!is_of(other.id(), theirs, ours));
        other.kill().unwrap();
        other.wait().unwrap();
        drop(stream);
        assert!(!is_of(std::process::id(), SocketAddr::from(([127, 0, 0, 1], 1)), ours));
    }

    #[test]
    fn the_socket_of_a_side_is_in_the_kernels_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 0100007F:6808 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 390 1 0 100\n   \
            1: 0100007F:C350 0100007F:6808 01 00000000:00000000 00:00000000 00000000     0        0 391 1 0 20\n   \
            2: 0100007F:6808 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 392 1 0 20\n";
        assert_eq!(inode(table, 50_000, 0x6808), Some("391"));
        assert_eq!(inode(table, 0x6808, 50_000), Some("392"));
        assert_eq!(inode(table, 50_001, 0x6808), None);
    }
}
