//! Counters, one set per core and behavior, and their text for Prometheus.
//!
//! Each counter has one writer, its core; a scrape adds the cores up.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Record;
use crate::distribution::site::Site;
use crate::exchange::refusal::Rule;
use crate::exchange::verdict::{Outcome, PassReason, Reason};

/// Upper bounds of the origin latency buckets, milliseconds.
const BUCKETS: [u64; 10] = [5, 10, 25, 50, 100, 250, 500, 1000, 5000, 30_000];

/// A number only one core writes.
#[derive(Default)]
struct Count(AtomicU64);

impl Count {
    fn add(&self, more: u64) {
        // One writer: no read-modify-write instruction is needed.
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one core counted for one behavior.
#[derive(Default)]
struct BehaviorCounts {
    outcomes: [Count; 5],
    statuses: [Count; 5],
    /// Of these outcomes, those that CloudWatch does not count among the cacheable: errors, and methods that are passed on.
    aside: [Count; 5],
    bytes: Count,
    aborted: Count,
    latency: [Count; BUCKETS.len() + 1],
    latency_sum: Count,
}

/// The counters of one core for one site.
pub struct CoreCounts {
    behaviors: Box<[BehaviorCounts]>,
    /// Requests that found no behavior.
    unrouted: BehaviorCounts,
    /// Refused requests, by the rule that they have broken.
    refused: Box<[Count]>,
}

impl CoreCounts {
    /// Counts a finished request.
    pub fn count(&self, record: &Record<'_>) {
        let counts = record.ordinal.and_then(|at| self.behaviors.get(at)).unwrap_or(&self.unrouted);
        counts.outcomes[record.verdict.outcome as usize].add(1);
        counts.statuses[usize::from(record.status / 100).clamp(1, 5) - 1].add(1);
        if let Reason::Refused(rule) = record.verdict.reason {
            self.refused[rule as usize].add(1);
        }
        if record.status >= 400 || matches!(record.verdict.reason, Reason::Pass(PassReason::Method)) {
            counts.aside[record.verdict.outcome as usize].add(1);
        }
        counts.bytes.add(record.bytes);
        counts.aborted.add(u64::from(record.cut.is_some()));
    }

    /// Counts an answer of an origin or a parent, by how long its head took.
    pub fn count_origin(&self, behavior: usize, millis: u64) {
        let counts = self.behaviors.get(behavior).unwrap_or(&self.unrouted);
        let at = BUCKETS.iter().position(|bound| millis <= *bound).unwrap_or(BUCKETS.len());
        counts.latency[at].add(1);
        counts.latency_sum.add(millis);
    }
}

/// The counters of all cores for one site; a reload with the same behaviors keeps them.
pub struct SiteCounts {
    names: Vec<(String, String)>,
    cores: Vec<Arc<CoreCounts>>,
}

impl SiteCounts {
    /// Counters for a site, or the ones of before if nothing was renamed.
    pub fn for_site(site: &Site, cores: usize, before: Option<&Arc<Self>>) -> Arc<Self> {
        let names: Vec<(String, String)> =
            site.distributions.iter().flat_map(|d| d.behaviors.iter().map(|b| (d.id.clone(), b.pattern.as_str().to_string()))).collect();
        if let Some(before) = before
            && before.names == names
        {
            return Arc::clone(before);
        }
        let core = || {
            let behaviors = names.iter().map(|_| BehaviorCounts::default()).collect();
            let refused = Rule::ALL.iter().map(|_| Count::default()).collect();
            Arc::new(CoreCounts { behaviors, unrouted: BehaviorCounts::default(), refused })
        };
        Arc::new(Self { cores: (0..cores.max(1)).map(|_| core()).collect(), names })
    }

    /// One core's counters.
    pub fn core(&self, at: usize) -> &Arc<CoreCounts> {
        &self.cores[at % self.cores.len()]
    }

    /// Writes everything as Prometheus text.
    pub fn write(&self, out: &mut String) {
        let labels: Vec<String> = self
            .names
            .iter()
            .map(|(distribution, behavior)| format!("distribution=\"{}\",behavior=\"{}\"", escape(distribution), escape(behavior)))
            .chain([r#"distribution="",behavior="""#.to_string()])
            .collect();
        let sum = |at: usize, pick: &dyn Fn(&BehaviorCounts) -> u64| -> u64 {
            self.cores.iter().map(|core| pick(core.behaviors.get(at).unwrap_or(&core.unrouted))).sum()
        };
        family(out, "foreshore_requests_total", "counter", "Requests answered, by outcome.");
        for (at, label) in labels.iter().enumerate() {
            for outcome in Outcome::ALL {
                let n = sum(at, &|counts| counts.outcomes[outcome as usize].get());
                let _ = writeln!(out, "foreshore_requests_total{{{label},outcome=\"{}\"}} {n}", outcome.word().to_ascii_lowercase());
            }
        }
        family(out, "foreshore_responses_total", "counter", "Responses by class of status.");
        for (at, label) in labels.iter().enumerate() {
            for class in 1..=5usize {
                let n = sum(at, &|counts| counts.statuses[class - 1].get());
                let _ = writeln!(out, "foreshore_responses_total{{{label},class=\"{class}xx\"}} {n}");
            }
        }
        family(out, "foreshore_refusals_total", "counter", "Requests refused, by the rule that they have broken.");
        for rule in Rule::ALL {
            let n: u64 = self.cores.iter().map(|core| core.refused[rule as usize].get()).sum();
            let _ = writeln!(out, "foreshore_refusals_total{{rule=\"{}\"}} {n}", rule.name());
        }
        family(out, "foreshore_body_bytes_total", "counter", "Octets of bodies sent to viewers.");
        for (at, label) in labels.iter().enumerate() {
            let _ = writeln!(out, "foreshore_body_bytes_total{{{label}}} {}", sum(at, &|counts| counts.bytes.get()));
        }
        family(out, "foreshore_aborted_total", "counter", "Answers that broke off before their end.");
        for (at, label) in labels.iter().enumerate() {
            let _ = writeln!(out, "foreshore_aborted_total{{{label}}} {}", sum(at, &|counts| counts.aborted.get()));
        }
        family(out, "foreshore_origin_seconds", "histogram", "Time until an origin's head arrived.");
        for (at, label) in labels.iter().enumerate() {
            let mut below = 0;
            for (bucket, bound) in BUCKETS.iter().enumerate() {
                below += sum(at, &|counts| counts.latency[bucket].get());
                let _ = writeln!(out, "foreshore_origin_seconds_bucket{{{label},le=\"{}\"}} {below}", *bound as f64 / 1000.0);
            }
            below += sum(at, &|counts| counts.latency[BUCKETS.len()].get());
            let _ = writeln!(out, "foreshore_origin_seconds_bucket{{{label},le=\"+Inf\"}} {below}");
            let total = sum(at, &|counts| counts.latency_sum.get());
            let _ = writeln!(out, "foreshore_origin_seconds_sum{{{label}}} {}", total as f64 / 1000.0);
            let _ = writeln!(out, "foreshore_origin_seconds_count{{{label}}} {below}");
        }
    }
}

impl SiteCounts {
    /// The same under CloudWatch's names, as its exporters spell them: `AWS/CloudFront` for each distribution, and those of the API
    /// Gateway's cache. Sums count from the start, averages are over all of it.
    pub fn write_cloudwatch(&self, out: &mut String) {
        let mut ids: Vec<&str> = self.names.iter().map(|(id, _)| id.as_str()).collect();
        ids.dedup();
        let mut lines: Vec<(&str, &str, String)> = Vec::new();
        for id in ids {
            let mine = self.names.iter().enumerate().filter(|(_, (known, _))| known == id).map(|(at, _)| at);
            let counts: Vec<&BehaviorCounts> = mine.flat_map(|at| self.cores.iter().map(move |core| &core.behaviors[at])).collect();
            let sum = |pick: &dyn Fn(&BehaviorCounts) -> u64| -> u64 { counts.iter().map(|counts| pick(counts)).sum() };
            let outcome = |which: Outcome| sum(&|counts| counts.outcomes[which as usize].get());
            let all: u64 = Outcome::ALL.into_iter().map(outcome).sum();
            let cacheable = |which: Outcome| outcome(which) - sum(&|counts| counts.aside[which as usize].get()).min(outcome(which));
            let (hits, misses) = (cacheable(Outcome::Hit) + cacheable(Outcome::RefreshHit), cacheable(Outcome::Miss));
            let (client, server) = (sum(&|counts| counts.statuses[3].get()), sum(&|counts| counts.statuses[4].get()));
            let asked = sum(&|counts| counts.latency.iter().map(Count::get).sum());
            let waited = sum(&|counts| counts.latency_sum.get());
            let percent =
                |part: u64, whole: u64| if whole == 0 { "0".to_string() } else { format!("{:.4}", part as f64 * 100.0 / whole as f64) };
            let mean = if asked == 0 { 0.0 } else { waited as f64 / asked as f64 };
            lines.extend([
                ("aws_cloudfront_requests_sum", id, all.to_string()),
                ("aws_cloudfront_bytes_downloaded_sum", id, sum(&|counts| counts.bytes.get()).to_string()),
                ("aws_cloudfront_4xx_error_rate_average", id, percent(client, all)),
                ("aws_cloudfront_5xx_error_rate_average", id, percent(server, all)),
                ("aws_cloudfront_total_error_rate_average", id, percent(client + server, all)),
                ("aws_cloudfront_cache_hit_rate_average", id, percent(hits, hits + misses)),
                ("aws_cloudfront_origin_latency_average", id, format!("{mean:.1}")),
                ("aws_apigateway_cache_hit_count_sum", id, hits.to_string()),
                ("aws_apigateway_cache_miss_count_sum", id, misses.to_string()),
                ("aws_apigateway_count_sum", id, all.to_string()),
            ]);
        }
        lines.sort_by_key(|(name, ..)| *name);
        let mut last = "";
        for (name, id, value) in lines {
            if name != last {
                family(out, name, if name.ends_with("_sum") { "counter" } else { "gauge" }, "An alias; see README.md.");
                last = name;
            }
            let _ = writeln!(out, "{name}{{DistributionId=\"{}\",Region=\"Global\"}} {value}", escape(id));
        }
    }
}

/// Writes a family's head.
pub fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// Writes a family of one number.
pub fn single(out: &mut String, name: &str, kind: &str, help: &str, value: u64) {
    family(out, name, kind, help);
    let _ = writeln!(out, "{name} {value}");
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
