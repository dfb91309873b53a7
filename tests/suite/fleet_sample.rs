//! The fleet of `config/fleet`, as its one command starts it, on free ports.

use std::net::TcpStream;

use super::support::sample::Sample;
use super::support::{eventually, tool};

/// The ports as the samples have them: for viewers, then for operators.
const PORTS: [u16; 9] = [8640, 8643, 8651, 8652, 8653, 9640, 9651, 9652, 9653];

#[test]
fn one_command_starts_it_and_ends_it() {
    if !tool::have(&[tool::CURL]) {
        return;
    }
    let mut fleet = Sample::start("fleet", &PORTS);
    fleet.expect(&fleet.lines[0], &["200", "fwd=uri-miss"]);
    // The parent, whose name has its node's id, has a lease, so it answers from its store.
    for line in &fleet.lines[1..3] {
        fleet.expect(line, &["200", "Foreshore-", "; hit; ttl=", "Foreshore; fwd=uri-miss"]);
    }
    fleet.expect(&fleet.lines[3], &["in effect everywhere"]);
    fleet.expect(&fleet.lines[5], &["\"Completed\""]);
    assert_eq!(fleet.end(), Some(143));
    for port in fleet.ports.clone() {
        eventually("each of them is gone", || TcpStream::connect(("127.0.0.1", port)).is_err());
    }
}

#[test]
fn every_member_is_shown_and_answers_for_a_purge() {
    if !tool::have(&[tool::CURL]) {
        return;
    }
    let fleet = Sample::start("fleet", &PORTS);
    let all = ["parent", "edge-1", "edge-2", "edge-3"];
    fleet.expect(&fleet.lines[4], &[&all[..], &["demo", "availability", "applied"]].concat());
    fleet.expect(
        &fleet.lines[3],
        &all.map(|name| format!("edge {name}  applied")).each_ref().map(String::as_str),
    );
    fleet.expect(
        &fleet.lines[5],
        &all.map(|name| format!("\"{name}\"")).each_ref().map(String::as_str),
    );
}
