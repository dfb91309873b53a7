//! How the certificates stand that a CA issues: in `/v1/status` and in metrics.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::acme::board::{Board, Row};
use crate::record::metrics::{family, single};
use crate::semantics::time::{Timestamp, format_rfc3339};

/// A row for each, by name.
pub(super) fn status(board: &Board) -> Vec<Value> {
    let row = |(entry, row): (String, Row)| {
        json!({ "certificate": entry, "names": row.names, "directory": row.directory, "challenge": row.challenge, "orderer": row.orderer,
                "state": row.state.word(), "served": row.is_served, "expires": row.until.map(format_rfc3339),
                "next": row.next.map(format_rfc3339), "after_reload": row.after_reload.map(format_rfc3339),
                "failures": row.failures, "last_error": row.last_error })
    };
    board.rows().into_iter().map(row).collect()
}

/// What was counted of orders, and how each certificate stands.
pub(super) fn metrics(board: &Board, out: &mut String) {
    for (name, help, count) in [
        ("foreshore_acme_issued_total", "Certificates that a CA issued.", &board.issued),
        ("foreshore_acme_failed_total", "Attempts to get one that failed.", &board.failed),
        (
            "foreshore_acme_nonces_refused_total",
            "Requests to a CA that were sent again with another nonce.",
            &board.nonces_refused,
        ),
        (
            "foreshore_acme_proofs_shown_total",
            "Looks of a CA that were answered.",
            &board.proofs_shown,
        ),
    ] {
        single(out, name, "counter", help, count.load(Ordering::Relaxed));
    }
    let rows = board.rows();
    if rows.is_empty() {
        return;
    }
    let name = "foreshore_acme_failures";
    family(out, name, "gauge", "Failures in a row to get a certificate, by certificate.");
    for (entry, row) in &rows {
        let _ = writeln!(out, "{name}{{certificate=\"{entry}\"}} {}", row.failures);
    }
    let name = "foreshore_acme_expiry_seconds";
    family(
        out,
        name,
        "gauge",
        "When each ordered certificate ends, seconds since the epoch; 0: none was issued.",
    );
    for (entry, row) in &rows {
        let until = row.until.map_or(0, Timestamp::secs);
        let _ = writeln!(out, "{name}{{certificate=\"{entry}\"}} {until}");
    }
}
