//! What the edge says of the tier that its fleet shares: nodes, breakers, reasons.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::fleet::status::TierNode;
use crate::record::metrics::{family, single};
use crate::tier::breaker::State;
use crate::tier::miss::Misses;
use crate::tier::node::NodeStatus;
use crate::tier::seat::Seat;

/// Nodes by name, each with the last trouble that it gave.
pub(super) fn tier_status(tier: &Seat) -> Value {
    let counted = |misses: &Misses| -> serde_json::Map<String, Value> {
        let all = misses.read().filter(|(_, count)| *count > 0);
        all.map(|(miss, count)| (miss.name().to_string(), json!(count))).collect()
    };
    let counts = &tier.counts;
    let nodes: Vec<Value> = tier
        .nodes()
        .into_iter()
        .map(|node| {
            let breaker = node.breaker.name();
            let wrong = node.room.as_ref().and_then(|room| room.wrong(tier.holds));
            json!({
                "node": node.name, "breaker": breaker, "trouble": node.trouble,
                "maxmemory_policy": node.room.as_ref().map(|room| &room.policy),
                "maxmemory": node.room.as_ref().map(|room| room.limit),
                "wrong": wrong,
            })
        })
        .collect();
    let (waiting, limit) = tier.queued();
    json!({
        "nodes": nodes,
        "found": counts.found.load(Ordering::Relaxed),
        "used": counts.used.load(Ordering::Relaxed),
        "misses": counted(&counts.misses),
        "written": counts.written.load(Ordering::Relaxed),
        "not_queued": counts.not_queued.load(Ordering::Relaxed),
        "failed_writes": counted(&counts.failed_writes),
        "waiting_bytes": waiting,
        "waiting_limit": limit,
    })
}

/// The same in short, for `foreshore fleet`.
pub(super) fn tier_nodes(tier: &Seat) -> Vec<TierNode> {
    let of = |node: NodeStatus| TierNode {
        state: node.breaker.name().to_string(),
        wrong: node.room.as_ref().and_then(|room| room.wrong(tier.holds)).map(str::to_string),
        policy: node.room.map(|room| room.policy),
        trouble: node.trouble,
        node: node.name,
    };
    tier.nodes().into_iter().map(of).collect()
}

/// What is counted of the shared tier.
pub(super) fn tier_metrics(tier: &Seat, out: &mut String) {
    let counts = &tier.counts;
    for (name, help, count) in [
        ("foreshore_tier_found_total", "Entries of the shared tier that were read.", &counts.found),
        (
            "foreshore_tier_used_total",
            "Requests that were answered from the shared tier.",
            &counts.used,
        ),
        ("foreshore_tier_written_total", "Responses written to the shared tier.", &counts.written),
        (
            "foreshore_tier_not_queued_total",
            "Responses not written there because too much waited to be.",
            &counts.not_queued,
        ),
    ] {
        single(out, name, "counter", help, count.load(Ordering::Relaxed));
    }
    for (name, help, misses) in [
        (
            "foreshore_tier_misses_total",
            "What the shared tier was asked in vain, by reason.",
            &counts.misses,
        ),
        (
            "foreshore_tier_failed_writes_total",
            "Responses that it did not take, by reason.",
            &counts.failed_writes,
        ),
    ] {
        family(out, name, "counter", help);
        for (miss, count) in misses.read() {
            out.push_str(&format!("{name}{{reason=\"{}\"}} {count}\n", miss.name()));
        }
    }
    let (waiting, _) = tier.queued();
    single(
        out,
        "foreshore_tier_queue_bytes",
        "gauge",
        "Octets of bodies that wait to be written there.",
        waiting,
    );
    family(
        out,
        "foreshore_tier_node_up",
        "gauge",
        "0 while a node's breaker is open or half open.",
    );
    for node in tier.nodes() {
        let is_up = u8::from(node.breaker == State::Closed);
        let name: String = node.name.chars().filter(|c| !matches!(c, '"' | '\\' | '\n')).collect();
        out.push_str(&format!("foreshore_tier_node_up{{node=\"{name}\"}} {is_up}\n"));
    }
    family(
        out,
        "foreshore_tier_node_no_cache",
        "gauge",
        "1 while a node's maxmemory or maxmemory-policy is none for a cache.",
    );
    for node in tier.nodes() {
        let Some(room) = &node.room else { continue };
        let is_wrong = u8::from(room.wrong(tier.holds).is_some());
        let name: String = node.name.chars().filter(|c| !matches!(c, '"' | '\\' | '\n')).collect();
        out.push_str(&format!("foreshore_tier_node_no_cache{{node=\"{name}\"}} {is_wrong}\n"));
    }
}
