//! Calls of AWS's APIs, counted by what they ask for and how they were answered.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use parking_lot::Mutex;

use crate::record::metrics::family;

/// Service, operation, status.
type Series = (&'static str, String, u16);

/// How often each operation was answered with each status. Operations are those of the tables that
/// calls are found by, and `Unknown`: there are only so many.
#[derive(Default)]
pub struct CallCounts(Mutex<BTreeMap<Series, u64>>);

impl CallCounts {
    /// Notes an answer.
    pub fn note(&self, service: &'static str, operation: &str, status: u16) {
        *self.0.lock().entry((service, operation.to_string(), status)).or_default() += 1;
    }

    /// Writes the counts, where there are any.
    pub fn write(&self, out: &mut String) {
        let all = self.0.lock();
        if all.is_empty() {
            return;
        }
        let name = "foreshore_api_calls_total";
        family(out, name, "counter", "Calls of AWS's APIs by operation and status.");
        for ((service, operation, status), count) in &*all {
            let _ = writeln!(
                out,
                "{name}{{service=\"{service}\",operation=\"{operation}\",status=\"{status}\"}} {count}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_apart_by_operation_and_status() {
        let counts = CallCounts::default();
        let mut text = String::new();
        counts.write(&mut text);
        assert_eq!(text, "", "a family without a line would be none");
        counts.note("cloudfront", "GetDistribution", 200);
        counts.note("cloudfront", "GetDistribution", 200);
        counts.note("cloudfront", "GetDistribution", 404);
        counts.write(&mut text);
        for line in [
            "{service=\"cloudfront\",operation=\"GetDistribution\",status=\"200\"} 2\n",
            "{service=\"cloudfront\",operation=\"GetDistribution\",status=\"404\"} 1\n",
        ] {
            assert!(text.contains(&format!("foreshore_api_calls_total{line}")), "{text}");
        }
    }
}
