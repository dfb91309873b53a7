//! What a member of a fleet counts, and what the sequencer does.

use std::sync::atomic::Ordering;

use super::{counters, gauges};
use crate::fleet::here::Here;
use crate::fleet::keeper::KeptTally;
use crate::fleet::node::{Node, Tally};
use crate::fleet::ticket_keys::SharedTickets;
use crate::record::metrics::{family, single};

pub(super) fn sequencer_metrics(sequencer: &Here, out: &mut String) {
    let (_, head) = sequencer.head();
    let rows = [
        (
            "foreshore_sequencer_head",
            "The last number of the fleet's log in this epoch.",
            head.number.0,
        ),
        ("foreshore_sequencer_members", "Members in the roster.", sequencer.members() as u64),
        (
            "foreshore_sequencer_queue",
            "Changes of the fleet's log that wait to be written down.",
            sequencer.waiting() as u64,
        ),
        (
            "foreshore_sequencer_held",
            "Calls that are held until there is something to answer.",
            sequencer.held() as u64,
        ),
    ];
    gauges(out, &rows);
    single(
        out,
        "foreshore_sequencer_unheld_total",
        "counter",
        "Calls that were answered at once, because too many were held.",
        sequencer.tally().unheld.load(Ordering::Relaxed),
    );
    family(
        out,
        "foreshore_sequencer_refused_total",
        "counter",
        "Calls of edges that were refused, by the refusal's name.",
    );
    for (name, count) in sequencer.tally().refused() {
        out.push_str(&format!("foreshore_sequencer_refused_total{{refusal=\"{name}\"}} {count}\n"));
    }
}

pub(super) fn fleet_metrics(member: &Node, out: &mut String) {
    let (lease_left, outbox, applied) = member.gauges();
    let rows = [
        (
            "foreshore_fleet_lease_milliseconds",
            "How long what is stored may still be used without another renewal.",
            lease_left,
        ),
        (
            "foreshore_fleet_outbox",
            "Invalidations that have no number in the fleet's log yet.",
            outbox as u64,
        ),
        (
            "foreshore_fleet_applied",
            "The last number of the fleet's log that is in effect here.",
            applied,
        ),
    ];
    gauges(out, &rows);
    member_metrics(&member.tally, out);
    if let Some(shared) = member.issuing() {
        single(
            out,
            "foreshore_fleet_issuing_refused_total",
            "counter",
            "What the fleet's log tells of ordered certificates and could not be opened here.",
            shared.refused(),
        );
    }
    kept_metrics(&member.kept, out);
    if let Some(shared) = member.tickets() {
        ticket_metrics(shared, out);
    }
}

fn member_metrics(tally: &Tally, out: &mut String) {
    let rows = [
        ("foreshore_fleet_renewals_total", "Leases that were asked for.", &tally.renewals),
        (
            "foreshore_fleet_failures_total",
            "Calls to the sequencer without an answer.",
            &tally.failures,
        ),
        (
            "foreshore_fleet_applied_total",
            "Invalidations of other members that took effect here.",
            &tally.applied,
        ),
        (
            "foreshore_fleet_appended_total",
            "Invalidations of this member that the fleet's log took.",
            &tally.appended,
        ),
        (
            "foreshore_fleet_forgotten_total",
            "Times that everything was invalidated because the log could not be followed.",
            &tally.forgotten,
        ),
        (
            "foreshore_fleet_superseded_total",
            "Times that another process took this member's name.",
            &tally.superseded,
        ),
        (
            "foreshore_fleet_outdated_total",
            "Answers of parents or of a shared tier that prove nothing here.",
            &tally.outdated,
        ),
        (
            "foreshore_fleet_unproven_total",
            "Answers from the store while invalidations may have been missed.",
            &tally.unproven,
        ),
    ];
    counters(out, &rows);
}

fn kept_metrics(tally: &KeptTally, out: &mut String) {
    let rows = [
        (
            "foreshore_fleet_kept_taken_total",
            "Changes of documents and key value stores that the fleet's log brought.",
            &tally.taken,
        ),
        (
            "foreshore_fleet_kept_appended_total",
            "Changes of this member that the fleet's log took.",
            &tally.appended,
        ),
        (
            "foreshore_fleet_kept_overtaken_total",
            "Changes of this member that were decided anew because another came first.",
            &tally.overtaken,
        ),
    ];
    counters(out, &rows);
    family(
        out,
        "foreshore_fleet_kept_refused_total",
        "counter",
        "Changes that the fleet's log brought and that are not in force here, by the refusal's name.",
    );
    for (name, count) in tally.refused() {
        out.push_str(&format!(
            "foreshore_fleet_kept_refused_total{{refusal=\"{name}\"}} {count}\n"
        ));
    }
}

fn ticket_metrics(shared: &SharedTickets, out: &mut String) {
    single(
        out,
        "foreshore_fleet_ticket_keys",
        "gauge",
        "Ticket keys of the fleet that are held.",
        shared.held() as u64,
    );
    single(
        out,
        "foreshore_fleet_ticket_keys_taken_total",
        "counter",
        "Ticket keys that were taken from the fleet's log.",
        shared.taken(),
    );
    family(
        out,
        "foreshore_fleet_ticket_keys_refused_total",
        "counter",
        "Ticket keys of the fleet's log that were refused, by the refusal's name.",
    );
    for (name, count) in shared.refusals() {
        out.push_str(&format!(
            "foreshore_fleet_ticket_keys_refused_total{{refusal=\"{name}\"}} {count}\n"
        ));
    }
}
