//! What the edge counts, as Prometheus text: `/metrics`.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Control;
use super::span_export::SpanExport;
use super::tier_status::tier_metrics;
use crate::fleet::here::Here;
use crate::fleet::node::Node;
use crate::fleet::ticket_keys::SharedTickets;
use crate::lambda::OnDemand;
use crate::record::function_counts;
use crate::record::metrics::{family, single};
use crate::region::Region;
use crate::region::condition::Condition;
use crate::region::parents::ParentCounts;
use crate::store::Disk;
use crate::tls::viewer_rule::HandshakeRefusal;

impl Control {
    // All key value stores together.
    fn stores_metrics(&self, out: &mut String) {
        let all = self.edge.stores.all();
        let values: Vec<_> = all.iter().map(|store| store.values()).collect();
        let keys: usize = values.iter().map(|values| values.count()).sum();
        let octets: usize = values.iter().map(|values| values.octets()).sum();
        let failed = all.iter().filter(|store| store.problem().is_some()).count();
        for (name, help, count) in [
            ("foreshore_key_value_stores", "Key value stores.", all.len()),
            ("foreshore_key_value_keys", "Keys in them.", keys),
            ("foreshore_key_value_bytes", "Octets of their keys and values.", octets),
            (
                "foreshore_key_value_files_failed",
                "Stores whose file cannot be used as it is now; what it said before is in force.",
                failed,
            ),
        ] {
            single(out, name, "gauge", help, count as u64);
        }
    }

    /// All metrics as Prometheus text.
    pub fn metrics(&self) -> String {
        let mut out = String::with_capacity(16 * 1024);
        let running = self.edge.running();
        let by = running.site.metrics_by;
        running.counts.write(&mut out, by);
        running.counts.write_cloudwatch(&mut out, by);
        function_counts::write(running.functions.counts(), &mut out);
        function_counts::write_cloudwatch(running.functions.counts(), &mut out);
        if let Some(lambdas) = self.edge.lambdas.get().and_then(OnDemand::get) {
            lambdas.counts().write(&mut out);
        }
        let remembered = running.signatures.len() as u64;
        single(
            &mut out,
            "foreshore_signatures_remembered",
            "gauge",
            "Signatures that need not be checked again.",
            remembered,
        );
        let counted = running.rates.len() as u64;
        single(
            &mut out,
            "foreshore_rate_addresses",
            "gauge",
            "Addresses whose rate is remembered.",
            counted,
        );
        let store = self.edge.store.stats();
        single(
            &mut out,
            "foreshore_store_bytes",
            "gauge",
            "Octets in the store's account, bookkeeping included.",
            store.bytes,
        );
        single(
            &mut out,
            "foreshore_store_limit_bytes",
            "gauge",
            "The most it may take.",
            store.limit,
        );
        single(&mut out, "foreshore_store_objects", "gauge", "Stored responses.", store.objects);
        single(
            &mut out,
            "foreshore_store_evictions_total",
            "counter",
            "Responses evicted to make room.",
            store.evictions,
        );
        self.stores_metrics(&mut out);
        if self.started_with.store.disk.is_some() {
            let is_open = u64::from(self.edge.disk().is_some());
            single(
                &mut out,
                "foreshore_disk_open",
                "gauge",
                "0 while the disk store cannot be opened.",
                is_open,
            );
        }
        if let Some(disk) = self.edge.disk() {
            disk_metrics(disk, &mut out);
        }
        if let Some(tier) = &running.tier {
            tier_metrics(tier, &mut out);
        }
        if let Some(sequencer) = &self.sequencer {
            sequencer_metrics(sequencer, &mut out);
        }
        for (name, help, count) in self.s3.counts() {
            single(&mut out, name, "counter", help, count);
        }
        single(
            &mut out,
            "foreshore_s3_events_waiting",
            "gauge",
            "Changed objects that wait to be fetched.",
            self.s3.waiting(),
        );
        if running.site.traces.is_some() {
            SpanExport::metrics(&self.edge, &mut out);
        }
        let (tally, origins) = (&self.edge.tally, &self.edge.origins.counts);
        for (name, help, count) in [
            ("foreshore_fills_total", "Fetches for the store.", &tally.fills),
            ("foreshore_tunnels_total", "WebSocket connections that were opened.", &tally.tunnels),
            (
                "foreshore_tunnels_refused_total",
                "WebSocket connections beyond limits.tunnels.",
                &tally.tunnels_refused,
            ),
            (
                "foreshore_tunnel_octets_total",
                "Octets that WebSocket connections have carried, both ways.",
                &tally.tunnel_octets,
            ),
            ("foreshore_grpc_calls_total", "Calls of gRPC that went to an origin.", &tally.grpc),
            (
                "foreshore_grpc_errors_total",
                "Calls of gRPC that this edge answered itself, with an error.",
                &tally.grpc_errors,
            ),
            (
                "foreshore_origin_connections_total",
                "Connections made to origins.",
                &origins.connections,
            ),
            (
                "foreshore_origin_http2_connections_total",
                "Those of them over which HTTP/2 is spoken.",
                &origins.http2,
            ),
            (
                "foreshore_origin_asked_again_total",
                "Requests over HTTP/2 that an origin left unread, or that their connection lost.",
                &origins.again,
            ),
            (
                "foreshore_fills_refused_total",
                "Fetches that found the limit of fills reached.",
                &tally.fills_refused,
            ),
            ("foreshore_fills_broken_total", "Fetches whose body broke off.", &tally.fills_broken),
            (
                "foreshore_followers_total",
                "Requests that waited for another's fetch.",
                &tally.followers,
            ),
            (
                "foreshore_background_refreshes_total",
                "Refreshes behind a viewer's back.",
                &tally.background_refreshes,
            ),
            (
                "foreshore_not_stored_full_total",
                "Responses passed through for want of room.",
                &tally.not_stored_full,
            ),
            (
                "foreshore_writes_through_total",
                "Viewers' writes that were to be in effect everywhere before their answers.",
                &tally.writes_through,
            ),
            (
                "foreshore_writes_unspread_total",
                "Those of them that were answered before that was known.",
                &tally.writes_unspread,
            ),
            (
                "foreshore_parent_refused_total",
                "Answers of a parent that were older than our own log.",
                &self.edge.parent_counts.refused,
            ),
            (
                "foreshore_parent_failed_total",
                "Parents stepped over.",
                &self.edge.parent_counts.failed,
            ),
            (
                "foreshore_bodies_resumed_total",
                "Bodies that broke off and were gone on with elsewhere.",
                &tally.bodies_resumed,
            ),
            (
                "foreshore_log_contests_total",
                "Times that another edge was found to run on a copy of this data folder.",
                &self.edge.standings.contests,
            ),
            (
                "foreshore_log_losses_total",
                "Times that parents had records of the invalidation log that are not in it.",
                &self.edge.standings.losses,
            ),
            (
                "foreshore_connections_accepted_total",
                "Connections accepted.",
                &self.gauges.accepted,
            ),
            (
                "foreshore_connection_limit_total",
                "Times that accepting waited at the limit.",
                &self.gauges.at_limit,
            ),
            (
                "foreshore_idle_connections_closed_total",
                "Idle connections ended to make room for others.",
                &self.gauges.idle_closed,
            ),
            (
                "foreshore_tls_handshakes_failed_total",
                "TLS handshakes that failed or took too long.",
                &self.gauges.handshakes_failed,
            ),
            (
                "foreshore_quic_datagrams_total",
                "UDP datagrams that came for HTTP/3.",
                &self.gauges.quic.received,
            ),
            (
                "foreshore_quic_sends_total",
                "Calls that sent datagrams of HTTP/3.",
                &self.gauges.quic.sent,
            ),
            (
                "foreshore_quic_handed_over_total",
                "Datagrams that came to another core than their connection's.",
                &self.gauges.quic.handed_over,
            ),
            (
                "foreshore_quic_overflowed_total",
                "Such datagrams that were dropped, because too many waited.",
                &self.gauges.quic.overflowed,
            ),
            (
                "foreshore_quic_retried_total",
                "Viewers that had to prove their address, because many handshakes were under way.",
                &self.gauges.quic.retried,
            ),
            (
                "foreshore_quic_refused_total",
                "Viewers over QUIC that were refused at once.",
                &self.gauges.quic.refused,
            ),
            (
                "foreshore_quic_ignored_total",
                "First packets that were left unanswered.",
                &self.gauges.quic.ignored,
            ),
            ("foreshore_tls_resumed_total", "TLS sessions resumed.", &self.gauges.resumed),
            (
                "foreshore_bad_requests_total",
                "Requests refused by the strict head check.",
                &self.gauges.bad_requests,
            ),
            (
                "foreshore_viewer_timeouts_total",
                "Viewers that were too slow.",
                &self.gauges.timeouts,
            ),
            (
                "foreshore_access_log_dropped_total",
                "Log lines that were not written: the queue was full, or the disk.",
                &self.access_log.dropped,
            ),
        ] {
            single(&mut out, name, "counter", help, count.load(Ordering::Relaxed));
        }
        let name = "foreshore_tls_refused_total";
        let help = "TLS handshakes refused because of the viewer's certificate or the name it asked for, by reason.";
        family(&mut out, name, "counter", help);
        for (why, count) in HandshakeRefusal::ALL.iter().zip(&self.gauges.refused) {
            let count = count.load(Ordering::Relaxed);
            out.push_str(&format!("{name}{{reason=\"{}\"}} {count}\n", why.name()));
        }
        single(
            &mut out,
            "foreshore_connections",
            "gauge",
            "Open viewer connections.",
            self.gauges.connections.load(Ordering::Relaxed) as u64,
        );
        single(
            &mut out,
            "foreshore_quic_half_open",
            "gauge",
            "Handshakes over QUIC under way.",
            self.gauges.quic.half_open.load(Ordering::Relaxed) as u64,
        );
        single(
            &mut out,
            "foreshore_tunnels",
            "gauge",
            "Open WebSocket connections.",
            self.edge.tunnels_now() as u64,
        );
        single(
            &mut out,
            "foreshore_origin_streams",
            "gauge",
            "Requests to origins over HTTP/2 under way.",
            origins.streams.load(Ordering::Relaxed) as u64,
        );
        single(
            &mut out,
            "foreshore_origin_streams_waiting",
            "gauge",
            "Requests that wait for room on such a connection.",
            origins.waiting.load(Ordering::Relaxed) as u64,
        );
        single(
            &mut out,
            "foreshore_fills",
            "gauge",
            "Fetches under way.",
            self.edge.fills_now() as u64,
        );
        single(
            &mut out,
            "foreshore_collapses",
            "gauge",
            "Keys that requests are waiting for.",
            self.edge.collapses.len() as u64,
        );
        single(
            &mut out,
            "foreshore_invalidations_head",
            "gauge",
            "The last number of the invalidation log.",
            self.edge.invalidations.head().0,
        );
        single(
            &mut out,
            "foreshore_invalidation_entries",
            "gauge",
            "Invalidations held as separate entries.",
            self.edge.invalidations.len() as u64,
        );
        if let Some(member) = self.edge.fleet.get() {
            fleet_metrics(member, &mut out);
        }
        if let Some(region) = &running.region {
            parent_metrics(region, &mut out);
        }
        let is_contested = u64::from(self.edge.standings.is_contested());
        single(
            &mut out,
            "foreshore_log_contested",
            "gauge",
            "1 while another edge runs on a copy of this data folder.",
            is_contested,
        );
        family(
            &mut out,
            "foreshore_certificate_expiry_seconds",
            "gauge",
            "When each certificate ends, seconds since the epoch.",
        );
        for certificate in &running.site.certificates {
            let file = certificate.source.replace('\\', "\\\\").replace('"', "\\\"");
            out.push_str(&format!(
                "foreshore_certificate_expiry_seconds{{file=\"{file}\"}} {}\n",
                certificate.not_after.secs()
            ));
        }
        out
    }
}

fn sequencer_metrics(sequencer: &Here, out: &mut String) {
    let (_, head) = sequencer.head();
    for (name, help, value) in [
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
    ] {
        single(out, name, "gauge", help, value);
    }
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

fn fleet_metrics(member: &Node, out: &mut String) {
    let (lease_left, outbox, applied) = member.gauges();
    for (name, help, value) in [
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
    ] {
        single(out, name, "gauge", help, value);
    }
    let tally = &member.tally;
    for (name, help, count) in [
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
    ] {
        single(out, name, "counter", help, count.load(Ordering::Relaxed));
    }
    if let Some(shared) = member.tickets() {
        ticket_metrics(shared, out);
    }
}

fn parent_metrics(region: &Region, out: &mut String) {
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

fn disk_metrics(disk: &Disk, out: &mut String) {
    let (stats, tally) = (disk.stats(), &disk.tally);
    for (name, help, value) in [
        ("foreshore_disk_bytes", "Octets of the disk store's files.", stats.bytes),
        ("foreshore_disk_limit_bytes", "The most they may take.", stats.limit),
        ("foreshore_disk_objects", "Responses on the disk.", stats.objects),
        ("foreshore_disk_segments", "Files they lie in.", stats.segments),
        (
            "foreshore_disk_index_bytes",
            "Octets of memory that the index of the disk store takes.",
            stats.index_bytes,
        ),
        ("foreshore_disk_waiting_bytes", "Octets that wait to be written.", stats.waiting),
        (
            "foreshore_disk_loaded",
            "1 once everything on the disk was found after a start.",
            u64::from(stats.is_loaded),
        ),
        (
            "foreshore_disk_writing",
            "0 while the disk is left alone because it failed.",
            u64::from(stats.is_writing),
        ),
    ] {
        single(out, name, "gauge", help, value);
    }
    for (name, help, count) in [
        ("foreshore_disk_hits_total", "Responses brought back from the disk.", &tally.hits),
        ("foreshore_disk_writes_total", "Responses written.", &tally.writes),
        ("foreshore_disk_written_bytes_total", "Octets of them.", &tally.written_bytes),
        (
            "foreshore_disk_moved_bytes_total",
            "Octets written again to keep what is used and to close gaps.",
            &tally.moved_bytes,
        ),
        ("foreshore_disk_evictions_total", "Responses that left to make room.", &tally.evictions),
        (
            "foreshore_disk_refused_total",
            "Responses not admitted: the queue was full, or the disk failed.",
            &tally.refused,
        ),
        (
            "foreshore_disk_corrupt_total",
            "Responses dropped because they were not what was written.",
            &tally.corrupt,
        ),
        ("foreshore_disk_read_errors_total", "Reads that failed.", &tally.read_errors),
        ("foreshore_disk_write_errors_total", "Writes that failed.", &tally.write_errors),
        ("foreshore_disk_slow_total", "Reads given up because they took too long.", &tally.slow),
        (
            "foreshore_disk_scrubbed_bytes_total",
            "Octets read in the background to check them.",
            &tally.scrubbed_bytes,
        ),
    ] {
        single(out, name, "counter", help, count.load(Ordering::Relaxed));
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
