//! The Redis Cluster, the edges and the parent of `config/tier`, as their one command starts them, on
//! free ports.

use std::net::TcpStream;

use super::support::eventually;
use super::support::sample::Sample;
use super::support::tool::{self, Tool};
use super::tier::REDIS;

/// The ports as the samples have them: of the nodes, for viewers, for operators.
const PORTS: [u16; 15] =
    [7630, 7631, 7632, 7633, 7634, 7635, 8660, 8663, 8671, 8672, 8673, 9660, 9671, 9672, 9673];

#[test]
fn slow_one_command_starts_a_cluster_and_all_that_share_it() {
    if !tool::have(&[tool::CURL, REDIS, Tool::Program("redis-cli")]) {
        return;
    }
    let mut sample = Sample::start("tier", &PORTS);
    sample.expect(&sample.lines[0], &["200", "Foreshore-tier; fwd=uri-miss"]);
    eventually("another edge takes it from the cluster, or has it by now", || {
        let out = sample.paste(&sample.lines[1]);
        out.contains("Foreshore-tier; hit") || out.contains("Foreshore; hit")
    });
    sample.expect(&sample.lines[2], &["200"]);
    sample.expect(&sample.lines[3], &["in effect everywhere"]);
    sample.expect(&sample.lines[4], &["demo-tier", "edge-3", "applied"]);
    sample.expect(&sample.lines[5], &["\"breaker\": \"closed\""]);
    assert_eq!(sample.end(), Some(143));
    for port in sample.ports.clone() {
        eventually("each of them is gone", || TcpStream::connect(("127.0.0.1", port)).is_err());
    }
}
