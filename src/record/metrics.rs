//! Counters, one set per core and behavior, and their text for Prometheus.
//!
//! Each counter has one writer, its core; a scrape adds the cores up.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Record;
use crate::distribution::identity::{self, BehaviorId};
use crate::distribution::site::{MetricsBy, Site};
use crate::message::refusal::Rule;
use crate::message::verdict::{Outcome, PassReason, Reason};

/// Upper bounds of the origin latency buckets, milliseconds.
const BUCKETS: [u64; 10] = [5, 10, 25, 50, 100, 250, 500, 1000, 5000, 30_000];

/// A number only one core writes.
#[derive(Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, more: u64) {
        // One writer: no read-modify-write instruction is needed.
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one core counted for one behavior. On cache lines of its own: the next one in memory may be
/// another core's.
#[derive(Default)]
#[repr(align(64))]
struct BehaviorCounts {
    outcomes: [Count; 5],
    statuses: [Count; 5],
    /// Of these outcomes, those that CloudWatch does not count among the cacheable: errors, and
    /// methods that are passed on.
    aside: [Count; 5],
    bytes: Count,
    aborted: Count,
    latency: [Count; BUCKETS.len() + 1],
    latency_sum: Count,
}

/// The counters of one core for one site. Those of a behavior that the next site has too are shared
/// with that site's, so that a request under way at a reload is counted as well.
pub struct CoreCounts {
    behaviors: Box<[Arc<BehaviorCounts>]>,
    /// Requests that found no behavior.
    unrouted: Arc<BehaviorCounts>,
    /// Refused requests, by the rule that they have broken.
    refused: Arc<[Count]>,
}

impl CoreCounts {
    fn empty(behaviors: usize) -> Self {
        let behaviors = (0..behaviors).map(|_| Arc::default()).collect();
        Self {
            behaviors,
            unrouted: Arc::default(),
            refused: Rule::ALL.iter().map(|_| Count::default()).collect(),
        }
    }

    // The counters of the next site: `carried` has the ordinal here of each of its behaviors, or
    // none.
    fn next(&self, carried: &[Option<usize>]) -> Self {
        let behaviors = carried
            .iter()
            .map(|known| known.map_or_else(Arc::default, |at| Arc::clone(&self.behaviors[at])))
            .collect();
        Self { behaviors, unrouted: Arc::clone(&self.unrouted), refused: Arc::clone(&self.refused) }
    }

    /// Counts a finished request.
    pub fn count(&self, record: &Record<'_>) {
        let counts = record.ordinal.and_then(|at| self.behaviors.get(at)).unwrap_or(&self.unrouted);
        counts.outcomes[record.verdict.outcome as usize].add(1);
        counts.statuses[usize::from(record.status / 100).clamp(1, 5) - 1].add(1);
        if let Reason::Refused(rule) = record.verdict.reason {
            self.refused[rule as usize].add(1);
        }
        if record.status >= 400 || matches!(record.verdict.reason, Reason::Pass(PassReason::Method))
        {
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

/// The counters of all cores for one site. A reload keeps those of each behavior that stays, and
/// drops those of one that left.
pub struct SiteCounts {
    names: Vec<BehaviorId>,
    cores: Vec<Arc<CoreCounts>>,
}

impl SiteCounts {
    /// Counters for a site that follows another, or for the first one, on so many cores.
    pub fn for_site(site: &Site, cores: usize, before: Option<&Arc<Self>>) -> Arc<Self> {
        let names = identity::behaviors(site);
        match before {
            Some(before) => before.next(names),
            None => Self::empty(names, cores),
        }
    }

    fn empty(names: Vec<BehaviorId>, cores: usize) -> Arc<Self> {
        let cores = (0..cores.max(1)).map(|_| Arc::new(CoreCounts::empty(names.len()))).collect();
        Arc::new(Self { names, cores })
    }

    // As many cores as before: threads are started once, and two of them must not write one
    // counter.
    fn next(self: &Arc<Self>, names: Vec<BehaviorId>) -> Arc<Self> {
        if self.names == names {
            return Arc::clone(self);
        }
        let carried = identity::carried(&names, &self.names);
        let cores = self.cores.iter().map(|core| Arc::new(core.next(&carried))).collect();
        Arc::new(Self { names, cores })
    }

    /// One core's counters.
    pub fn core(&self, at: usize) -> &Arc<CoreCounts> {
        &self.cores[at % self.cores.len()]
    }

    // What is told together, each with its labels and the places of its counters: the requests that
    // found no behavior last.
    fn groups(&self, by: MetricsBy) -> Vec<(String, Range<usize>)> {
        let count = self.names.len();
        let of_behavior = |(at, name): (usize, &BehaviorId)| {
            let (id, pattern) = (escape(&name.distribution), escape(&name.pattern));
            (format!("distribution=\"{id}\",behavior=\"{pattern}\""), at..at + 1)
        };
        let of_distribution = |(places, id): (Range<usize>, &str)| {
            (format!("distribution=\"{}\"", escape(id)), places)
        };
        let (mut all, unrouted): (Vec<_>, _) = match by {
            MetricsBy::Behavior => (
                self.names.iter().enumerate().map(of_behavior).collect(),
                r#"distribution="",behavior="""#,
            ),
            MetricsBy::Distribution => {
                (self.busy(by).into_iter().map(of_distribution).collect(), r#"distribution="""#)
            }
        };
        all.push((unrouted.to_string(), count..count + 1));
        all
    }

    // The places of each distribution's counters, and its id. Where distributions are counted, there
    // may be very many: those that had no request since the start are not told.
    fn busy(&self, by: MetricsBy) -> Vec<(Range<usize>, &str)> {
        let mut at = 0;
        let mut all = Vec::new();
        for names in self.names.chunk_by(|one, next| one.distribution == next.distribution) {
            let places = at..at + names.len();
            at = places.end;
            let is_told = by == MetricsBy::Behavior
                || self.sum(&places, &|counts| counts.outcomes.iter().map(Count::get).sum()) > 0;
            if is_told {
                all.push((places, names[0].distribution.as_str()));
            }
        }
        all
    }

    // One number, over all cores and all of these places.
    fn sum(&self, places: &Range<usize>, pick: &dyn Fn(&BehaviorCounts) -> u64) -> u64 {
        let of = |core: &Arc<CoreCounts>| -> u64 {
            let counts = places.clone().map(|at| core.behaviors.get(at).unwrap_or(&core.unrouted));
            counts.map(|counts| pick(counts)).sum()
        };
        self.cores.iter().map(of).sum()
    }

    /// Writes everything as Prometheus text.
    pub fn write(&self, out: &mut String, by: MetricsBy) {
        let groups = self.groups(by);
        let sum = |places: &Range<usize>, pick: &dyn Fn(&BehaviorCounts) -> u64| -> u64 {
            self.sum(places, pick)
        };
        family(out, "foreshore_requests_total", "counter", "Requests answered, by outcome.");
        for (label, at) in &groups {
            for outcome in Outcome::ALL {
                let n = sum(at, &|counts| counts.outcomes[outcome as usize].get());
                let _ = writeln!(
                    out,
                    "foreshore_requests_total{{{label},outcome=\"{}\"}} {n}",
                    outcome.word().to_ascii_lowercase()
                );
            }
        }
        family(out, "foreshore_responses_total", "counter", "Responses by class of status.");
        for (label, at) in &groups {
            for class in 1..=5usize {
                let n = sum(at, &|counts| counts.statuses[class - 1].get());
                let _ =
                    writeln!(out, "foreshore_responses_total{{{label},class=\"{class}xx\"}} {n}");
            }
        }
        family(
            out,
            "foreshore_refusals_total",
            "counter",
            "Requests refused, by the rule that they have broken.",
        );
        for rule in Rule::ALL {
            let n: u64 = self.cores.iter().map(|core| core.refused[rule as usize].get()).sum();
            let _ = writeln!(out, "foreshore_refusals_total{{rule=\"{}\"}} {n}", rule.name());
        }
        family(out, "foreshore_body_bytes_total", "counter", "Octets of bodies sent to viewers.");
        for (label, at) in &groups {
            let _ = writeln!(
                out,
                "foreshore_body_bytes_total{{{label}}} {}",
                sum(at, &|counts| counts.bytes.get())
            );
        }
        family(
            out,
            "foreshore_aborted_total",
            "counter",
            "Answers that broke off before their end.",
        );
        for (label, at) in &groups {
            let _ = writeln!(
                out,
                "foreshore_aborted_total{{{label}}} {}",
                sum(at, &|counts| counts.aborted.get())
            );
        }
        family(
            out,
            "foreshore_origin_seconds",
            "histogram",
            "Time until an origin's head arrived.",
        );
        for (label, at) in &groups {
            let mut below = 0;
            for (bucket, bound) in BUCKETS.iter().enumerate() {
                below += sum(at, &|counts| counts.latency[bucket].get());
                let _ = writeln!(
                    out,
                    "foreshore_origin_seconds_bucket{{{label},le=\"{}\"}} {below}",
                    *bound as f64 / 1000.0
                );
            }
            below += sum(at, &|counts| counts.latency[BUCKETS.len()].get());
            let _ = writeln!(out, "foreshore_origin_seconds_bucket{{{label},le=\"+Inf\"}} {below}");
            let total = sum(at, &|counts| counts.latency_sum.get());
            let _ =
                writeln!(out, "foreshore_origin_seconds_sum{{{label}}} {}", total as f64 / 1000.0);
            let _ = writeln!(out, "foreshore_origin_seconds_count{{{label}}} {below}");
        }
    }
}

impl SiteCounts {
    /// The same under CloudWatch's names, as its exporters spell them: `AWS/CloudFront` for each
    /// distribution, and those of the API Gateway's cache. Sums count from the start, averages are
    /// over all of it.
    pub fn write_cloudwatch(&self, out: &mut String, by: MetricsBy) {
        let mut lines: Vec<(&str, &str, String)> = Vec::new();
        for (places, id) in self.busy(by) {
            let sum = |pick: &dyn Fn(&BehaviorCounts) -> u64| -> u64 { self.sum(&places, pick) };
            let outcome = |which: Outcome| sum(&|counts| counts.outcomes[which as usize].get());
            let all: u64 = Outcome::ALL.into_iter().map(outcome).sum();
            let cacheable = |which: Outcome| {
                outcome(which)
                    - sum(&|counts| counts.aside[which as usize].get()).min(outcome(which))
            };
            let (hits, misses) = (
                cacheable(Outcome::Hit) + cacheable(Outcome::RefreshHit),
                cacheable(Outcome::Miss),
            );
            let (client, server) =
                (sum(&|counts| counts.statuses[3].get()), sum(&|counts| counts.statuses[4].get()));
            let asked = sum(&|counts| counts.latency.iter().map(Count::get).sum());
            let waited = sum(&|counts| counts.latency_sum.get());
            let percent = |part: u64, whole: u64| {
                if whole == 0 {
                    "0".to_string()
                } else {
                    format!("{:.4}", part as f64 * 100.0 / whole as f64)
                }
            };
            let mean = if asked == 0 { 0.0 } else { waited as f64 / asked as f64 };
            lines.extend([
                ("aws_cloudfront_requests_sum", id, all.to_string()),
                (
                    "aws_cloudfront_bytes_downloaded_sum",
                    id,
                    sum(&|counts| counts.bytes.get()).to_string(),
                ),
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
                family(
                    out,
                    name,
                    if name.ends_with("_sum") { "counter" } else { "gauge" },
                    "An alias; see config/CLOUDFRONT.md.",
                );
                last = name;
            }
            let _ = writeln!(
                out,
                "{name}{{DistributionId=\"{}\",Region=\"Global\"}} {value}",
                escape(id)
            );
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

pub(super) fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(distribution: &str, pattern: &str) -> BehaviorId {
        BehaviorId { distribution: distribution.into(), pattern: pattern.into(), repeat: 0 }
    }

    // How many answers of origins were counted for a behavior, as the text says it.
    fn count(counts: &SiteCounts, distribution: &str, pattern: &str) -> Option<u64> {
        let mut text = String::new();
        counts.write(&mut text, MetricsBy::Behavior);
        let start = format!(
            "foreshore_origin_seconds_count{{distribution=\"{distribution}\",behavior=\"{pattern}\"}} "
        );
        text.lines().find_map(|line| line.strip_prefix(&start)?.parse().ok())
    }

    #[test]
    fn renaming_one_behavior_leaves_all_other_counters_alone() {
        let first = SiteCounts::empty(vec![id("A", "/x/*"), id("A", "*"), id("B", "*")], 2);
        for (behavior, times) in [(0, 1), (1, 2), (2, 3), (usize::MAX, 4)] {
            (0..times).for_each(|at| first.core(at).count_origin(behavior, 7));
        }
        // Renamed, and moved behind another distribution.
        let second = first.next(vec![id("B", "*"), id("A", "/y/*"), id("A", "*")]);
        let of = |counts: &SiteCounts| {
            [("A", "/x/*"), ("A", "/y/*"), ("A", "*"), ("B", "*"), ("", "")]
                .map(|(d, p)| count(counts, d, p))
        };
        assert_eq!(of(&second), [None, Some(0), Some(2), Some(3), Some(4)]);
        // A request that began before and ends after is counted where its behavior is now.
        first.core(0).count_origin(2, 7);
        second.core(1).count_origin(0, 7);
        assert_eq!(of(&second), [None, Some(0), Some(2), Some(5), Some(4)]);
        assert_eq!(of(&second.next(vec![id("B", "*")])), [None, None, None, Some(5), Some(4)]);
    }

    #[test]
    fn distributions_are_told_whole_and_only_those_that_were_asked() {
        let counts = SiteCounts::empty(vec![id("A", "/x/*"), id("A", "*"), id("B", "*")], 2);
        counts.core(0).behaviors[0].outcomes[0].add(2);
        counts.core(1).behaviors[1].outcomes[1].add(3);
        counts.core(0).unrouted.statuses[3].add(1);
        let mut text = String::new();
        counts.write(&mut text, MetricsBy::Distribution);
        counts.write_cloudwatch(&mut text, MetricsBy::Distribution);
        let told = |label: &str| -> u64 {
            let start = format!("foreshore_requests_total{{distribution=\"{label}\",outcome=");
            let lines = text.lines().filter(|line| line.starts_with(&start));
            lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
        };
        assert_eq!((told("A"), told("B")), (5, 0));
        assert!(!text.contains("\"B\"") && !text.contains("behavior="), "{text}");
        assert!(
            text.contains("aws_cloudfront_requests_sum{DistributionId=\"A\",Region=\"Global\"} 5")
        );
        assert!(text.contains("foreshore_responses_total{distribution=\"\",class=\"4xx\"} 1"));
    }

    #[test]
    fn what_comes_back_begins_at_nothing() {
        let first = SiteCounts::empty(vec![id("A", "*"), id("B", "*")], 1);
        first.core(0).count_origin(1, 7);
        let away = first.next(vec![id("A", "*")]);
        assert_eq!(count(&away, "B", "*"), None);
        assert_eq!(count(&away.next(vec![id("A", "*"), id("B", "*")]), "B", "*"), Some(0));
    }
}
