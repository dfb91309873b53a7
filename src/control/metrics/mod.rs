//! What the edge counts, as Prometheus text: `/metrics`.

mod fleet;
mod region;
mod serving;
mod store;
mod viewers;

use std::sync::atomic::{AtomicU64, Ordering};

use fleet::{fleet_metrics, sequencer_metrics};
use region::{log_metrics, parent_metrics};
use serving::serving_metrics;
use store::{disk_metrics, memory_metrics, values_metrics};
use viewers::viewer_metrics;

use super::Control;
use super::issuing;
use super::span_export::SpanExport;
use super::tier_status::tier_metrics;
use crate::distribution::site::Site;
use crate::lambda::OnDemand;
use crate::proxy::Running;
use crate::record::function_counts;
use crate::record::metrics::{family, single};

impl Control {
    /// All metrics as Prometheus text.
    pub fn metrics(&self) -> String {
        let mut out = String::with_capacity(16 * 1024);
        let (edge, running) = (&*self.edge, self.edge.running());
        site_metrics(&running, &mut out);
        if let Some(lambdas) = edge.lambdas.get().and_then(OnDemand::get) {
            lambdas.counts().write(&mut out);
        }
        memory_metrics(&edge.store, &mut out);
        values_metrics(&edge.stores, &mut out);
        if self.started_with.store.disk.is_some() {
            disk_metrics(edge.disk().map(AsRef::as_ref), &mut out);
        }
        if let Some(tier) = &running.tier {
            tier_metrics(tier, &mut out);
        }
        if let Some(sequencer) = &self.sequencer {
            sequencer_metrics(sequencer, &mut out);
        }
        self.api_calls.write(&mut out);
        self.s3_metrics(&mut out);
        if running.site.traces.is_some() {
            SpanExport::metrics(&self.edge, &mut out);
        }
        issuing::metrics(&edge.issuing.board, &mut out);
        serving_metrics(edge, &mut out);
        viewer_metrics(&self.gauges, &mut out);
        self.operator_metrics(&mut out);
        log_metrics(edge, &mut out);
        if let Some(member) = edge.fleet.get() {
            fleet_metrics(member, &mut out);
        }
        if let Some(region) = &running.region {
            parent_metrics(region, &mut out);
        }
        certificate_metrics(&running.site, &mut out);
        self.succession.inherited.lock().add_to(out)
    }

    // What buckets tell of changed objects.
    fn s3_metrics(&self, out: &mut String) {
        for (name, help, count) in self.s3.counts() {
            single(out, name, "counter", help, count);
        }
        let help = "Changed objects that wait to be fetched.";
        single(out, "foreshore_s3_events_waiting", "gauge", help, self.s3.waiting());
    }

    // The dashboard and the access log.
    fn operator_metrics(&self, out: &mut String) {
        let rows = [
            (
                "foreshore_logins_refused_total",
                "Logins to the dashboard that were refused.",
                &self.doorkeeper.refused,
            ),
            (
                "foreshore_wrong_bearers_total",
                "Calls of the admin listener with a wrong bearer token.",
                &self.doorkeeper.wrong_bearers,
            ),
            (
                "foreshore_access_log_dropped_total",
                "Log lines that were not written: the queue was full, or the disk.",
                &self.access_log.dropped,
            ),
            (
                "foreshore_upgrades_total",
                "Times that a new process has taken the place of the one before.",
                &self.succession.done,
            ),
            (
                "foreshore_upgrades_failed_total",
                "Times that one was to, and everything stayed as it was.",
                &self.succession.failed,
            ),
        ];
        counters(out, &rows);
        let help = "Open streams of /v1/live.";
        single(out, "foreshore_live_streams", "gauge", help, self.live.listening() as u64);
    }
}

/// Families of one count each.
fn counters(out: &mut String, rows: &[(&str, &str, &AtomicU64)]) {
    for (name, help, count) in rows {
        single(out, name, "counter", help, count.load(Ordering::Relaxed));
    }
}

/// Families of one number each, as it is now.
fn gauges(out: &mut String, rows: &[(&str, &str, u64)]) {
    for (name, help, value) in rows {
        single(out, name, "gauge", help, *value);
    }
}

// What is counted of distributions and behaviors, and what is remembered of their viewers.
fn site_metrics(running: &Running, out: &mut String) {
    let by = running.site.metrics_by;
    running.counts.write(out, by);
    running.counts.write_cloudwatch(out, by);
    function_counts::write(running.functions.counts(), out);
    function_counts::write_cloudwatch(running.functions.counts(), out);
    let rows = [
        (
            "foreshore_signatures_remembered",
            "Signatures that need not be checked again.",
            running.signatures.len() as u64,
        ),
        (
            "foreshore_rate_addresses",
            "Addresses whose rate is remembered.",
            running.rates.len() as u64,
        ),
    ];
    gauges(out, &rows);
}

fn certificate_metrics(site: &Site, out: &mut String) {
    let name = "foreshore_certificate_expiry_seconds";
    family(out, name, "gauge", "When each certificate ends, seconds since the epoch.");
    for certificate in &site.certificates {
        let file = certificate.source.replace('\\', "\\\\").replace('"', "\\\"");
        let secs = certificate.not_after.secs();
        out.push_str(&format!("{name}{{file=\"{file}\"}} {secs}\n"));
    }
}
