//! `foreshore fleet`: how the fleet stands, as a running edge sees it.

use std::process::ExitCode;

use clap::Args;

use super::admin_client::{Asker, DoorArgs};
use super::fail;
use super::printable::printable;
use crate::distribution::fleet::Prefer;
use crate::fleet::status::{
    FleetStatus, MemberState, MemberStatus, ParentStatus, SequencerStatus, TierNode,
};

#[derive(Args)]
pub(super) struct FleetArgs {
    #[command(flatten)]
    door: DoorArgs,
    /// Print the edge's answer as it is, as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn fleet(args: &FleetArgs) -> ExitCode {
    let asked =
        Asker::new(&args.door).and_then(|asker| asker.ask("GET", "/v1/fleet", String::new()));
    let answer = match asked {
        Ok(answer) => answer,
        Err(why) => return fail(&why),
    };
    if args.json {
        println!("{answer}");
        return ExitCode::SUCCESS;
    }
    match serde_json::from_value::<FleetStatus>(answer) {
        Ok(status) => {
            print!("{}", shown(&status));
            ExitCode::SUCCESS
        }
        Err(error) => fail(&format!("the answer is not as expected: {error}")),
    }
}

// All of it as lines of text.
fn shown(status: &FleetStatus) -> String {
    let FleetStatus { fleet, member, epoch, head, applied, lag, outbox, .. } = status;
    let mut out = format!("fleet      {}, epoch {}, head {}\n", fleet.as_str(), epoch.0, head.0);
    out += &format!("here       {}, applied {} ({lag} behind)\n", member.as_str(), applied.0);
    out += &format!("lease      {}\n", lease(status));
    out += &format!("outbox     {outbox}\n");
    out += &format!("sequencer  {}\n", sequencer(&status.sequencer));
    for node in &status.tier {
        out += &format!("tier       {}\n", tier(node));
    }
    out.push('\n');
    out += &table(&HEAD, status.members.iter().map(row));
    if !status.parents.is_empty() {
        out.push('\n');
        out += &table(&PARENTS_HEAD, status.parents.iter().map(parent_row));
    }
    out
}

fn lease(status: &FleetStatus) -> String {
    if status.lease_left_ms > 0 {
        let (left, whole) = (time(status.lease_left_ms), time(status.lease_ms));
        return format!("{left} left of {whole}, prefers {}", preference(status.prefer));
    }
    let so = match status.prefer {
        Prefer::Freshness => "everything stored is validated before use",
        Prefer::Availability => "what is stored is served, unproven",
    };
    format!("over: {so} (prefers {})", preference(status.prefer))
}

// What it says of a failure may have come from the network.
fn sequencer(of: &SequencerStatus) -> String {
    let ago = of.answered_ms_ago.map_or_else(
        || "it has not answered yet".to_string(),
        |ago| format!("it answered {} ago", time(ago)),
    );
    let at = printable(&of.at);
    match &of.failure {
        None => format!("{at}, {ago}"),
        Some(why) => format!("{at}, is not followed: {}; {ago}", printable(why)),
    }
}

// Whatever a node says of itself has come from the network, too.
fn tier(of: &TierNode) -> String {
    let asked = match of.state.as_str() {
        "closed" => "answers".to_string(),
        other => format!("stepped over ({})", printable(other)),
    };
    let mut out = format!("{}, {asked}", printable(&of.node));
    if let Some(trouble) = &of.trouble {
        out += &format!(": {}", printable(trouble));
    }
    if let Some(policy) = &of.policy {
        out += &format!("; {}", printable(policy));
    }
    if let Some(wrong) = &of.wrong {
        out += &format!("; wrong for a cache: {}", printable(wrong));
    }
    out
}

const HEAD: [&str; 7] = ["member", "applied", "behind", "heard of", "state", "prefers", "version"];
const PARENTS_HEAD: [&str; 4] = ["parent", "weight", "state", "why"];

fn table<const N: usize>(head: &[&str; N], cells: impl Iterator<Item = [String; N]>) -> String {
    let mut rows = vec![head.map(String::from)];
    rows.extend(cells);
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
    }
    let mut out = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        out += cells.collect::<Vec<_>>().join("  ").trim_end();
        out.push('\n');
    }
    out
}

fn row(member: &MemberStatus) -> [String; 7] {
    let state = match member.state {
        MemberState::Applied => "applied",
        MemberState::Behind => "behind",
        MemberState::Silent => "silent",
    };
    [
        member.name.as_str().to_string(),
        member.applied.0.to_string(),
        member.lag.to_string(),
        member.seen_ms_ago.map_or_else(|| "-".to_string(), |ago| format!("{} ago", time(ago))),
        state.to_string(),
        preference(member.prefer).to_string(),
        member.program.as_ref().map_or("-", |program| program.as_str()).to_string(),
    ]
}

// What an answer said of a parent may have come from the network.
fn parent_row(of: &ParentStatus) -> [String; 4] {
    let why = printable(of.why.as_deref().unwrap_or(""));
    let why = match &of.until {
        Some(until) => format!("{why}; asked again from {until}"),
        None => why,
    };
    [printable(&of.parent), of.weight.to_string(), of.condition.clone(), why]
}

fn time(millis: u64) -> String {
    match millis {
        0..1000 => format!("{millis} ms"),
        1000..120_000 => format!("{}.{} s", millis / 1000, millis % 1000 / 100),
        _ => format!("{} min", millis / 60_000),
    }
}

const fn preference(prefer: Prefer) -> &'static str {
    match prefer {
        Prefer::Freshness => "freshness",
        Prefer::Availability => "availability",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_known_is_shown() {
        let status: FleetStatus = serde_json::from_str(
            r#"{"fleet": "shop", "member": "edge-1", "epoch": "000000000000000000000000000000ab",
                "head": 42, "applied": 40, "lag": 2, "lease_left_ms": 8250, "lease_ms": 10000,
                "prefer": "freshness", "outbox": 3,
                "sequencer": {"at": "https://parent.test:9080", "answered_ms_ago": 90, "failure": "the fleet's no\u001bway"},
                "members": [
                  {"name": "edge-1", "applied": 40, "lag": 2, "seen_ms_ago": 90, "state": "behind", "prefer": "freshness"},
                  {"name": "edge-22", "applied": 7, "lag": 35, "seen_ms_ago": 180000, "state": "silent", "prefer": "availability", "program": "0.2.0"},
                  {"name": "p", "applied": 42, "lag": 0, "state": "applied", "prefer": "freshness"}],
                "parents": [
                  {"parent": "https://a.test", "weight": 2, "condition": "healthy"},
                  {"parent": "https://b.test", "weight": 1, "condition": "ejected", "why": "slow", "until": "2026-11-26T00:00:00Z"}]}"#,
        )
        .unwrap();
        let text = "fleet      shop, epoch 000000000000000000000000000000ab, head 42\n\
                    here       edge-1, applied 40 (2 behind)\n\
                    lease      8.2 s left of 10.0 s, prefers freshness\n\
                    outbox     3\n\
                    sequencer  https://parent.test:9080, is not followed: the fleet's no\\u{1b}way; it answered 90 ms ago\n\
                    \n\
                    member   applied  behind  heard of   state    prefers       version\n\
                    edge-1   40       2       90 ms ago  behind   freshness     -\n\
                    edge-22  7        35      3 min ago  silent   availability  0.2.0\n\
                    p        42       0       -          applied  freshness     -\n\
                    \n\
                    parent          weight  state    why\n\
                    https://a.test  2       healthy\n\
                    https://b.test  1       ejected  slow; asked again from 2026-11-26T00:00:00Z\n";
        assert_eq!(shown(&status), text);
        let node = TierNode {
            node: "cache-1:6379".into(),
            state: "closed".into(),
            trouble: None,
            policy: Some("noeviction".into()),
            wrong: Some("once it is full".into()),
        };
        let with_tier = FleetStatus { tier: vec![node], ..status.clone() };
        let line = "90 ms ago\ntier       cache-1:6379, answers; noeviction; wrong for a cache: once it is full\n\n";
        assert!(shown(&with_tier).contains(line), "{}", shown(&with_tier));
        let over = FleetStatus { lease_left_ms: 0, prefer: Prefer::Availability, ..status };
        assert!(
            shown(&over).contains("over: what is stored is served, unproven"),
            "{}",
            shown(&over)
        );
    }
}
