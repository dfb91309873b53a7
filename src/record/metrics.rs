//! Counters, one set per core and behavior, and their text for Prometheus.
//!
//! Each counter has one writer, its core; a scrape adds the cores up.

use std::cmp::Reverse;
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
pub(crate) const BUCKETS: [u64; 10] = [5, 10, 25, 50, 100, 250, 500, 1000, 5000, 30_000];

/// A number only one core writes.
#[derive(Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, more: u64) {
        // One writer: no read-modify-write instruction is needed.
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }

    pub(super) fn set(&self, now: u64) {
        self.0.store(now, Ordering::Relaxed);
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
        if record.status >= 400 || is_passed_for_its_method(record) {
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

// Where nothing is kept at all, that is why no method is.
fn is_passed_for_its_method(record: &Record<'_>) -> bool {
    match record.verdict.reason {
        Reason::Pass(PassReason::Method) => true,
        Reason::Pass(PassReason::CachingDisabled) => !matches!(record.method, "GET" | "HEAD"),
        _ => false,
    }
}

/// What a set of counters belongs to: a behavior, or a distribution; empty for the requests that
/// found none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    pub distribution: String,
    /// `None` where distributions are counted.
    pub behavior: Option<String>,
}

// The same, of a site's own.
#[derive(Clone, Copy)]
struct Label<'s> {
    distribution: &'s str,
    behavior: Option<&'s str>,
}

impl Label<'_> {
    fn owned(&self) -> Name {
        Name {
            distribution: self.distribution.to_string(),
            behavior: self.behavior.map(str::to_string),
        }
    }
}

impl Name {
    fn labels(&self) -> String {
        let id = escape(&self.distribution);
        match &self.behavior {
            Some(pattern) => format!("distribution=\"{id}\",behavior=\"{}\"", escape(pattern)),
            None => format!("distribution=\"{id}\""),
        }
    }
}

/// What was counted under a name.
#[derive(Clone, Debug)]
pub struct Told {
    pub name: Name,
    pub totals: Totals,
}

/// Counters added up over cores, and over behaviors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// In the order of `Outcome::ALL`.
    pub outcomes: [u64; 5],
    /// By class, from 1xx on.
    pub statuses: [u64; 5],
    pub(crate) aside: [u64; 5],
    pub bytes: u64,
    pub aborted: u64,
    pub(crate) latency: [u64; BUCKETS.len() + 1],
    /// Milliseconds until the origins' heads came, all together.
    pub latency_sum: u64,
}

impl Totals {
    fn add(&mut self, counts: &BehaviorCounts) {
        let add = |sums: &mut [u64], counts: &[Count]| {
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count.get());
        };
        add(&mut self.outcomes, &counts.outcomes);
        add(&mut self.statuses, &counts.statuses);
        add(&mut self.aside, &counts.aside);
        add(&mut self.latency, &counts.latency);
        self.bytes += counts.bytes.get();
        self.aborted += counts.aborted.get();
        self.latency_sum += counts.latency_sum.get();
    }

    /// Adds others.
    pub fn include(&mut self, more: &Self) {
        let add = |sums: &mut [u64], more: &[u64]| {
            sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        };
        add(&mut self.outcomes, &more.outcomes);
        add(&mut self.statuses, &more.statuses);
        add(&mut self.aside, &more.aside);
        add(&mut self.latency, &more.latency);
        self.bytes += more.bytes;
        self.aborted += more.aborted;
        self.latency_sum += more.latency_sum;
    }

    /// Requests that were answered.
    pub fn requests(&self) -> u64 {
        self.outcomes.iter().sum()
    }

    /// Of those that CloudWatch counts among the cacheable: hits, and misses.
    pub fn cacheable(&self) -> (u64, u64) {
        let of = |which: Outcome| {
            self.outcomes[which as usize].saturating_sub(self.aside[which as usize])
        };
        (of(Outcome::Hit) + of(Outcome::RefreshHit), of(Outcome::Miss))
    }

    /// Answers of origins and parents.
    pub fn asked(&self) -> u64 {
        self.latency.iter().sum()
    }

    /// Milliseconds within which this share of the origins' heads came, as far as the histogram's
    /// bounds tell. `None` where no origin was asked; beyond the last bound, twice that.
    pub fn origin_within(&self, share: f64) -> Option<u64> {
        let asked = self.asked();
        let wanted = (asked as f64 * share).ceil() as u64;
        let mut below = 0;
        let bounds = BUCKETS.iter().copied().chain([BUCKETS[BUCKETS.len() - 1] * 2]);
        bounds.zip(self.latency).find_map(|(bound, n)| {
            below += n;
            (n > 0 && below >= wanted).then_some(bound)
        })
    }

    /// What was counted since another moment. A behavior that left meanwhile took its counts with
    /// it: nothing is less than none.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        fn less<const N: usize>(now: [u64; N], before: [u64; N]) -> [u64; N] {
            std::array::from_fn(|at| now[at].saturating_sub(before[at]))
        }
        Self {
            outcomes: less(self.outcomes, before.outcomes),
            statuses: less(self.statuses, before.statuses),
            aside: less(self.aside, before.aside),
            bytes: self.bytes.saturating_sub(before.bytes),
            aborted: self.aborted.saturating_sub(before.aborted),
            latency: less(self.latency, before.latency),
            latency_sum: self.latency_sum.saturating_sub(before.latency_sum),
        }
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

    // What is told together, with its name and the places of its counters: the requests that found no
    // behavior last.
    fn groups(&self, by: MetricsBy) -> Vec<(Label<'_>, Range<usize>)> {
        let count = self.names.len();
        let label = |distribution, pattern| Label {
            distribution,
            behavior: (by == MetricsBy::Behavior).then_some(pattern),
        };
        let mut all: Vec<_> = match by {
            MetricsBy::Behavior => {
                let names = self.names.iter().enumerate();
                names
                    .map(|(at, id)| {
                        (label(id.distribution.as_str(), id.pattern.as_str()), at..at + 1)
                    })
                    .collect()
            }
            MetricsBy::Distribution => {
                let busy = self.busy(by).into_iter();
                busy.map(|(places, id)| (label(id, ""), places)).collect()
            }
        };
        all.push((label("", ""), count..count + 1));
        all
    }

    /// What was counted, as `/metrics` has it.
    pub fn told(&self, by: MetricsBy) -> Vec<Told> {
        let groups = self.groups(by).into_iter();
        groups
            .map(|(label, places)| Told { name: label.owned(), totals: self.totals_of(&places) })
            .collect()
    }

    /// Those with most requests, so many at most; how many are left out; and all of it together.
    /// Where there are very many, only those that are told get a name.
    pub fn most(&self, by: MetricsBy, most: usize) -> (Vec<Told>, usize, Totals) {
        let groups = self.groups(by);
        let mut all = Totals::default();
        let mut order: Vec<(Reverse<u64>, usize)> = Vec::with_capacity(groups.len());
        for (at, (_, places)) in groups.iter().enumerate() {
            let totals = self.totals_of(places);
            all.include(&totals);
            order.push((Reverse(totals.requests()), at));
        }
        order.sort_unstable();
        let told = order.iter().take(most).map(|(_, at)| {
            let (label, places) = &groups[*at];
            Told { name: label.owned(), totals: self.totals_of(places) }
        });
        (told.collect(), groups.len().saturating_sub(most), all)
    }

    /// How many sets of counters that is, over all cores.
    pub fn sets(&self) -> usize {
        self.cores.len() * (self.names.len() + 1)
    }

    /// All of it together.
    pub fn totals(&self) -> Totals {
        self.totals_of(&(0..self.names.len() + 1))
    }

    fn totals_of(&self, places: &Range<usize>) -> Totals {
        let mut totals = Totals::default();
        for core in &self.cores {
            for at in places.clone() {
                totals.add(core.behaviors.get(at).unwrap_or(&core.unrouted));
            }
        }
        totals
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
        let told: Vec<(String, Totals)> =
            self.told(by).into_iter().map(|one| (one.name.labels(), one.totals)).collect();
        family(out, "foreshore_requests_total", "counter", "Requests answered, by outcome.");
        for (label, totals) in &told {
            for outcome in Outcome::ALL {
                let n = totals.outcomes[outcome as usize];
                let _ = writeln!(
                    out,
                    "foreshore_requests_total{{{label},outcome=\"{}\"}} {n}",
                    outcome.word().to_ascii_lowercase()
                );
            }
        }
        family(out, "foreshore_responses_total", "counter", "Responses by class of status.");
        for (label, totals) in &told {
            for (class, n) in (1..).zip(totals.statuses) {
                let _ =
                    writeln!(out, "foreshore_responses_total{{{label},class=\"{class}xx\"}} {n}");
            }
        }
        self.write_refusals(out);
        family(out, "foreshore_body_bytes_total", "counter", "Octets of bodies sent to viewers.");
        for (label, totals) in &told {
            let _ = writeln!(out, "foreshore_body_bytes_total{{{label}}} {}", totals.bytes);
        }
        family(
            out,
            "foreshore_aborted_total",
            "counter",
            "Answers that broke off before their end.",
        );
        for (label, totals) in &told {
            let _ = writeln!(out, "foreshore_aborted_total{{{label}}} {}", totals.aborted);
        }
        family(
            out,
            "foreshore_origin_seconds",
            "histogram",
            "Time until an origin's head arrived.",
        );
        for (label, totals) in &told {
            write_latency(out, label, totals);
        }
    }

    fn write_refusals(&self, out: &mut String) {
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
    }
}

fn write_latency(out: &mut String, label: &str, totals: &Totals) {
    let mut below = 0;
    for (n, bound) in totals.latency.iter().zip(BUCKETS) {
        below += n;
        let _ = writeln!(
            out,
            "foreshore_origin_seconds_bucket{{{label},le=\"{}\"}} {below}",
            bound as f64 / 1000.0
        );
    }
    below += totals.latency[BUCKETS.len()];
    let _ = writeln!(out, "foreshore_origin_seconds_bucket{{{label},le=\"+Inf\"}} {below}");
    let sum = totals.latency_sum as f64 / 1000.0;
    let _ = writeln!(out, "foreshore_origin_seconds_sum{{{label}}} {sum}");
    let _ = writeln!(out, "foreshore_origin_seconds_count{{{label}}} {below}");
}

impl SiteCounts {
    /// The same under CloudWatch's names, as its exporters spell them: `AWS/CloudFront` for each
    /// distribution, and those of the API Gateway's cache. Sums count from the start, averages are
    /// over all of it.
    pub fn write_cloudwatch(&self, out: &mut String, by: MetricsBy) {
        let mut lines: Vec<(&str, &str, String)> = Vec::new();
        for (places, id) in self.busy(by) {
            let totals = self.totals_of(&places);
            let all = totals.requests();
            let (hits, misses) = totals.cacheable();
            let (client, server) = (totals.statuses[3], totals.statuses[4]);
            let (asked, waited) = (totals.asked(), totals.latency_sum);
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
                ("aws_cloudfront_bytes_downloaded_sum", id, totals.bytes.to_string()),
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
    use crate::message::verdict::Verdict;
    use crate::record::cloudfront_fields::tests::record;

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
    fn totals_are_the_sum_of_what_is_told() {
        let counts = SiteCounts::empty(vec![id("A", "/x/*"), id("A", "*"), id("B", "*")], 2);
        counts.core(0).behaviors[0].outcomes[Outcome::Hit as usize].add(6);
        counts.core(1).behaviors[2].outcomes[Outcome::Miss as usize].add(3);
        counts.core(1).behaviors[2].aside[Outcome::Miss as usize].add(1);
        counts.core(0).unrouted.outcomes[Outcome::Error as usize].add(1);
        let totals = counts.totals();
        for by in [MetricsBy::Behavior, MetricsBy::Distribution] {
            let told = counts.told(by);
            assert_eq!(told.iter().map(|one| one.totals.requests()).sum::<u64>(), 10);
        }
        let names = |told: &[Told]| -> Vec<String> {
            told.iter().map(|one| one.name.distribution.clone()).collect()
        };
        let (most, left, all) = counts.most(MetricsBy::Behavior, 3);
        assert_eq!((names(&most), left), (vec!["A".into(), "B".into(), String::new()], 1));
        assert_eq!((most[0].totals.requests(), &all), (6, &totals));
        let (most, left, all) = counts.most(MetricsBy::Distribution, 9);
        assert_eq!((names(&most), left), (vec!["A".into(), "B".into(), String::new()], 0));
        assert_eq!((most[0].name.behavior.as_ref(), &all), (None, &totals));
        assert_eq!((totals.requests(), totals.cacheable()), (10, (6, 2)));
        assert_eq!(totals.since(&totals), Totals::default());
        assert_eq!(Totals::default().since(&totals), Totals::default());
    }

    // As CloudFront has it: what cannot be kept for its method is no miss.
    #[test]
    fn writes_are_in_no_hit_rate() {
        let counts = SiteCounts::empty(vec![id("A", "*")], 1);
        let count = |method: &'static str, outcome, reason| {
            let verdict = Verdict { outcome, reason, ..record().verdict };
            counts.core(0).count(&Record { method, verdict, ordinal: Some(0), ..record() });
        };
        count("GET", Outcome::Hit, Reason::Fresh);
        count("GET", Outcome::Miss, Reason::Pass(PassReason::CachingDisabled));
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            count(method, Outcome::Miss, Reason::Pass(PassReason::CachingDisabled));
            count(method, Outcome::Miss, Reason::Pass(PassReason::Method));
        }
        assert_eq!((counts.totals().requests(), counts.totals().cacheable()), (12, (1, 1)));
    }

    #[test]
    fn origins_are_told_by_the_bounds_of_the_histogram() {
        let counts = SiteCounts::empty(vec![id("A", "*")], 1);
        assert_eq!(counts.totals().origin_within(0.5), None);
        (0..98).for_each(|_| counts.core(0).count_origin(0, 7));
        (0..2).for_each(|_| counts.core(0).count_origin(0, 700));
        let within = |share| counts.totals().origin_within(share);
        assert_eq!((within(0.5), within(0.98), within(0.99)), (Some(10), Some(10), Some(1000)));
        counts.core(0).count_origin(0, 99_999);
        assert_eq!(within(1.0), Some(60_000));
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
