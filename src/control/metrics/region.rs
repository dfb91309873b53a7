//! How parents are and what each was asked, and the log that they are told of.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{counters, gauges};
use crate::proxy::Edge;
use crate::record::metrics::family;
use crate::region::Region;
use crate::region::condition::Condition;
use crate::region::parents::ParentCounts;

pub(super) fn parent_metrics(region: &Region, out: &mut String) {
    family(
        out,
        "foreshore_parent_condition",
        "gauge",
        "1 for the condition that a parent is in: it is asked while it is healthy.",
    );
    for view in region.views() {
        for word in Condition::WORDS {
            let is = u8::from(view.condition.word() == word);
            let _ = writeln!(
                out,
                "foreshore_parent_condition{{parent=\"{}\",condition=\"{word}\"}} {is}",
                view.name
            );
        }
    }
    family(out, "foreshore_parent_weight", "gauge", "The weight of each parent.");
    for view in region.views() {
        let _ =
            writeln!(out, "foreshore_parent_weight{{parent=\"{}\"}} {}", view.name, view.weight.0);
    }
    type Pick = fn(&ParentCounts) -> &AtomicU64;
    let counters: [(&str, &str, Pick); 4] = [
        ("foreshore_parent_asked_total", "Requests that a parent was asked.", |c| &c.asked),
        (
            "foreshore_parent_bad_total",
            "Of these, those that failed, came late, or could not be answered for want of the origin.",
            |c| &c.bad,
        ),
        (
            "foreshore_parent_checks_failed_total",
            "Checks of a parent's admin listener that failed.",
            |c| &c.checks_failed,
        ),
        (
            "foreshore_parent_ejections_total",
            "Times that a parent was ejected because its answers were worse than the others'.",
            |c| &c.ejections,
        ),
    ];
    for (name, help, pick) in counters {
        family(out, name, "counter", help);
        for view in region.views() {
            let count = pick(view.counts).load(Ordering::Relaxed);
            let _ = writeln!(out, "{name}{{parent=\"{}\"}} {count}", view.name);
        }
    }
}

/// Our own log of invalidations, and what parents are behind in.
pub(super) fn log_metrics(edge: &Edge, out: &mut String) {
    let rows = [
        (
            "foreshore_parent_refused_total",
            "Answers of a parent that were older than our own log.",
            &edge.parent_counts.refused,
        ),
        ("foreshore_parent_failed_total", "Parents stepped over.", &edge.parent_counts.failed),
        (
            "foreshore_log_contests_total",
            "Times that another edge was found to run on a copy of this data folder.",
            &edge.standings.contests,
        ),
        (
            "foreshore_log_losses_total",
            "Times that parents had records of the invalidation log that are not in it.",
            &edge.standings.losses,
        ),
    ];
    counters(out, &rows);
    let rows = [
        (
            "foreshore_invalidations_head",
            "The last number of the invalidation log.",
            edge.invalidations.head().0,
        ),
        (
            "foreshore_invalidation_entries",
            "Invalidations held as separate entries.",
            edge.invalidations.len() as u64,
        ),
        (
            "foreshore_log_contested",
            "1 while another edge runs on a copy of this data folder.",
            u64::from(edge.standings.is_contested()),
        ),
    ];
    gauges(out, &rows);
}
