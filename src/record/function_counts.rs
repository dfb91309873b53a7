//! What is counted of code at the edge, by its name, and its text for Prometheus.
//!
//! Each counter has one writer, its core; a scrape adds the cores up.

use std::fmt::Write as _;
use std::sync::Arc;

use super::metrics::{Count, escape, family};
use crate::distribution::site::Site;
use crate::message::verdict::FunctionEnd;

/// Upper bounds of the buckets of time, nanoseconds.
const BUCKETS: [u64; 9] =
    [2_000, 5_000, 10_000, 25_000, 100_000, 500_000, 1_000_000, 5_000_000, 10_000_000];

/// What one core counted of one function.
#[derive(Default)]
#[repr(align(64))]
struct CoreCounts {
    invocations: Count,
    /// By kind: execution, validation, throttle.
    errors: [Count; 3],
    times: [Count; BUCKETS.len() + 1],
    nanos: Count,
    /// Percent of the budget, summed over all calls.
    utilisation: Count,
    /// Calls that were remembered, which are among the invocations.
    remembered: Count,
    /// Results that are kept now, and their octets.
    kept: [Count; 2],
    /// How often remembering was left off: for a while, and for good.
    left_off: [Count; 2],
}

/// What is counted of one function over all cores; a reload keeps it for as long as the name stays.
pub struct FunctionCounts {
    name: Box<str>,
    cores: Box<[CoreCounts]>,
}

/// What was counted of a function over all cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Summary {
    pub invocations: u64,
    pub execution_errors: u64,
    pub validation_errors: u64,
    pub throttles: u64,
    /// Percent of `[functions] budget` that a call takes, on average.
    pub utilisation: f64,
}

const KINDS: [&str; 3] = ["execution", "validation", "throttle"];

impl FunctionCounts {
    fn new(name: &str, cores: usize) -> Arc<Self> {
        let cores = (0..cores.max(1)).map(|_| CoreCounts::default()).collect();
        Arc::new(Self { name: name.into(), cores })
    }

    fn core(&self, at: usize) -> &CoreCounts {
        &self.cores[at % self.cores.len()]
    }

    /// Counts a call on a core, whatever came of it.
    pub fn count_call(&self, core: usize, nanos: u64, utilisation: u8) {
        let counts = self.core(core);
        counts.invocations.add(1);
        let at = BUCKETS.iter().position(|bound| nanos <= *bound).unwrap_or(BUCKETS.len());
        counts.times[at].add(1);
        counts.nanos.add(nanos);
        counts.utilisation.add(u64::from(utilisation));
    }

    /// Counts that a call was remembered and its code not asked.
    pub fn count_remembered(&self, core: usize) {
        self.core(core).remembered.add(1);
    }

    /// Notes what a core keeps now, results and octets, and how often it left off remembering since
    /// it has these functions, for a while and for good.
    pub fn note_kept(&self, core: usize, kept: [u64; 2], left_off: [u64; 2]) {
        let counts = self.core(core);
        counts.kept.iter().zip(kept).for_each(|(count, now)| count.set(now));
        counts.left_off.iter().zip(left_off).for_each(|(count, now)| count.set(now));
    }

    /// Counts that nothing usable came, of a call or without one.
    pub fn count_error(&self, core: usize, end: FunctionEnd) {
        let kind = match end {
            FunctionEnd::Execution => 0,
            FunctionEnd::Validation => 1,
            FunctionEnd::Throttled => 2,
            // Lambdas have counts of their own.
            FunctionEnd::Generated
            | FunctionEnd::LambdaGenerated
            | FunctionEnd::LambdaExecution
            | FunctionEnd::LambdaLimit
            | FunctionEnd::LambdaValidation => return,
        };
        self.core(core).errors[kind].add(1);
    }

    /// All that was counted.
    pub fn summary(&self) -> Summary {
        let calls = self.sum(|core| &core.invocations);
        let percent = self.sum(|core| &core.utilisation) as f64 / calls.max(1) as f64;
        Summary {
            invocations: calls,
            execution_errors: self.sum(|core| &core.errors[0]),
            validation_errors: self.sum(|core| &core.errors[1]),
            throttles: self.sum(|core| &core.errors[2]),
            utilisation: percent,
        }
    }

    fn sum(&self, pick: impl Fn(&CoreCounts) -> &Count) -> u64 {
        self.cores.iter().map(|core| pick(core).get()).sum()
    }
}

/// The counters of the functions of a site, in its order; those of a name that the site before has
/// too go on.
pub fn for_site(
    site: &Site,
    cores: usize,
    before: &[Arc<FunctionCounts>],
) -> Vec<Arc<FunctionCounts>> {
    let of = |name: &str| match before.iter().find(|known| *known.name == *name) {
        Some(known) => Arc::clone(known),
        None => FunctionCounts::new(name, cores),
    };
    site.functions.iter().map(|function| of(&function.name)).collect()
}

/// Writes everything as Prometheus text.
pub fn write(all: &[Arc<FunctionCounts>], out: &mut String) {
    if all.is_empty() {
        return;
    }
    let label = |one: &FunctionCounts| format!("function=\"{}\"", escape(&one.name));
    let name = "foreshore_function_invocations_total";
    family(out, name, "counter", "Calls of CloudFront Functions.");
    for one in all {
        let _ = writeln!(out, "{name}{{{}}} {}", label(one), one.sum(|core| &core.invocations));
    }
    let name = "foreshore_function_errors_total";
    family(out, name, "counter", "Calls that gave nothing usable, and those that were not made.");
    for one in all {
        for (at, kind) in KINDS.iter().enumerate() {
            let n = one.sum(|core| &core.errors[at]);
            let _ = writeln!(out, "{name}{{{},kind=\"{kind}\"}} {n}", label(one));
        }
    }
    let name = "foreshore_function_seconds";
    family(out, name, "histogram", "Time that a call took.");
    for one in all {
        write_times(one, &label(one), out);
    }
    write_remembered(all, label, out);
    let name = "foreshore_function_utilisation";
    family(out, name, "gauge", "Percent of functions.budget that a call takes, on average.");
    for one in all {
        let mean = one.summary().utilisation;
        let _ = writeln!(out, "{name}{{{}}} {mean:.2}", label(one));
    }
}

fn write_remembered(
    all: &[Arc<FunctionCounts>],
    label: impl Fn(&FunctionCounts) -> String,
    out: &mut String,
) {
    let name = "foreshore_function_remembered_total";
    family(out, name, "counter", "Calls that came to what an earlier one did, without the code.");
    for one in all {
        let _ = writeln!(out, "{name}{{{}}} {}", label(one), one.sum(|core| &core.remembered));
    }
    let help = ["Results of calls that are remembered.", "What they take in memory, about."];
    let names = ["foreshore_function_remembered_results", "foreshore_function_remembered_bytes"];
    for (at, (name, help)) in names.into_iter().zip(help).enumerate() {
        family(out, name, "gauge", help);
        for one in all {
            let _ = writeln!(out, "{name}{{{}}} {}", label(one), one.sum(|core| &core.kept[at]));
        }
    }
    let name = "foreshore_function_forgone_total";
    family(out, name, "counter", "How often a core left off remembering a function's results.");
    for one in all {
        for (at, why) in ["rare", "differs"].into_iter().enumerate() {
            let n = one.sum(|core| &core.left_off[at]);
            let _ = writeln!(out, "{name}{{{},why=\"{why}\"}} {n}", label(one));
        }
    }
}

fn write_times(one: &FunctionCounts, label: &str, out: &mut String) {
    let mut below = 0;
    for (at, bound) in BUCKETS.iter().enumerate() {
        below += one.sum(|core| &core.times[at]);
        let seconds = *bound as f64 / 1e9;
        let _ =
            writeln!(out, "foreshore_function_seconds_bucket{{{label},le=\"{seconds}\"}} {below}");
    }
    below += one.sum(|core| &core.times[BUCKETS.len()]);
    let _ = writeln!(out, "foreshore_function_seconds_bucket{{{label},le=\"+Inf\"}} {below}");
    let seconds = one.sum(|core| &core.nanos) as f64 / 1e9;
    let _ = writeln!(out, "foreshore_function_seconds_sum{{{label}}} {seconds}");
    let _ = writeln!(out, "foreshore_function_seconds_count{{{label}}} {below}");
}

/// The same under CloudWatch's names, as its exporters spell them.
pub fn write_cloudwatch(all: &[Arc<FunctionCounts>], out: &mut String) {
    type Value = fn(&FunctionCounts) -> u64;
    let families: [(&str, Value); 4] = [
        ("aws_cloudfront_function_invocations_sum", |one| one.sum(|core| &core.invocations)),
        ("aws_cloudfront_function_execution_errors_sum", |one| one.sum(|core| &core.errors[0])),
        ("aws_cloudfront_function_validation_errors_sum", |one| one.sum(|core| &core.errors[1])),
        ("aws_cloudfront_function_throttles_sum", |one| one.sum(|core| &core.errors[2])),
    ];
    for (name, value) in families.iter().filter(|_| !all.is_empty()) {
        family(out, name, "counter", "An alias; see config/CLOUDFRONT.md.");
        for one in all {
            let label = escape(&one.name);
            let n = value(one);
            let _ = writeln!(out, "{name}{{FunctionName=\"{label}\",Region=\"Global\"}} {n}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_added_up_and_times_are_cumulative() {
        let one = FunctionCounts::new("index", 2);
        one.count_call(0, 1_900, 2);
        one.count_call(1, 6_000_000, 98);
        one.count_error(1, FunctionEnd::Execution);
        one.count_error(0, FunctionEnd::Throttled);
        one.count_error(0, FunctionEnd::Generated);
        one.count_remembered(1);
        one.note_kept(0, [3, 900], [0, 1]);
        one.note_kept(1, [7, 1], [2, 0]);
        one.note_kept(1, [4, 100], [2, 0]);
        let mut text = String::new();
        write(&[Arc::clone(&one)], &mut text);
        for line in [
            "foreshore_function_invocations_total{function=\"index\"} 2",
            "foreshore_function_errors_total{function=\"index\",kind=\"execution\"} 1",
            "foreshore_function_errors_total{function=\"index\",kind=\"validation\"} 0",
            "foreshore_function_errors_total{function=\"index\",kind=\"throttle\"} 1",
            "foreshore_function_seconds_bucket{function=\"index\",le=\"0.000002\"} 1",
            "foreshore_function_seconds_bucket{function=\"index\",le=\"0.005\"} 1",
            "foreshore_function_seconds_bucket{function=\"index\",le=\"0.01\"} 2",
            "foreshore_function_seconds_count{function=\"index\"} 2",
            "foreshore_function_utilisation{function=\"index\"} 50.00",
            "foreshore_function_remembered_total{function=\"index\"} 1",
            "foreshore_function_remembered_results{function=\"index\"} 7",
            "foreshore_function_remembered_bytes{function=\"index\"} 1000",
            "foreshore_function_forgone_total{function=\"index\",why=\"rare\"} 2",
            "foreshore_function_forgone_total{function=\"index\",why=\"differs\"} 1",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
        let mut text = String::new();
        write_cloudwatch(&[one], &mut text);
        let line =
            "aws_cloudfront_function_throttles_sum{FunctionName=\"index\",Region=\"Global\"} 1";
        assert!(text.lines().any(|known| known == line), "{text}");
    }
}
