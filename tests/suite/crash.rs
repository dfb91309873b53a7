//! kill -9 in the middle of invalidations: none that was acknowledged is lost.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use super::support::origin::fresh;
use super::support::{Edge, Origin};

const ROUNDS: u64 = 25;

#[test]
fn no_acknowledged_invalidation_is_lost() {
    let origin = Origin::start(|_| fresh(b"x"));
    let mut edge = Edge::before(origin.address, "");
    let mut acknowledged: Vec<(String, u64)> = Vec::new();
    for round in 0..ROUNDS {
        let (admin, token) = (edge.admin, edge.token());
        let threads: Vec<_> = (0..3)
            .map(|thread| {
                let token = token.clone();
                std::thread::spawn(move || {
                    let mut done = Vec::new();
                    for at in 0..10_000 {
                        match post(admin, &token, &format!("/r{round}/t{thread}/{at}")) {
                            Some(one) => done.push(one),
                            None => break,
                        }
                    }
                    done
                })
            })
            .collect();
        // Somewhere in the middle, at another place each round.
        std::thread::park_timeout(Duration::from_millis(20 + round * 7 % 60));
        let folder = edge.kill();
        for thread in threads {
            acknowledged.extend(thread.join().unwrap());
        }
        edge = Edge::start_in(Arc::clone(&folder));
    }
    assert!(acknowledged.len() > 50, "only {} were acknowledged", acknowledged.len());
    let head = edge.metric("foreshore_invalidations_head") as u64;
    let mut numbers = std::collections::HashSet::new();
    for (id, number) in &acknowledged {
        assert!(*number <= head, "number {number} is beyond the head {head}");
        assert!(numbers.insert(*number), "number {number} was given twice");
        let (status, said) = edge.admin("GET", &format!("/v1/invalidations/{id}"), "");
        assert!(status == 200 && said.contains(&format!("\"number\": {number}")), "{id}: {status} {said}");
    }
}

// The id and number of an acknowledged invalidation; nothing if the edge is gone.
fn post(admin: std::net::SocketAddr, token: &str, path: &str) -> Option<(String, u64)> {
    let mut tcp = TcpStream::connect(admin).ok()?;
    tcp.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let body = format!("{{\"paths\":[\"{path}\"]}}");
    let head = format!(
        "POST /v1/invalidations HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    tcp.write_all(head.as_bytes()).ok()?;
    let mut all = String::new();
    tcp.read_to_string(&mut all).ok()?;
    let answer: serde_json::Value = serde_json::from_str(all.split_once("\r\n\r\n")?.1).ok()?;
    Some((answer["id"].as_str()?.to_string(), answer["number"].as_u64()?))
}
