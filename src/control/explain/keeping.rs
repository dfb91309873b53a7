//! What is kept under which key, for how long, and what an answer of the origin's is worth.

use super::question::Answer;
use crate::access::Routed;
use crate::cache::arrival::{Arrived, StorePlan, on_arrival};
use crate::cache::ask::{CacheRequest, MethodIntent};
use crate::cache::invalidations::Invalidations;
use crate::distribution::cache_policy::Semantics;
use crate::message::key::readable;
use crate::message::stored::Reuse;
use crate::semantics::freshness::{self, Exchanged};
use crate::semantics::time::Timestamp;

// What the cache goes by.
pub(super) fn keeping_lines(asked: &CacheRequest<'_>, line: &mut impl FnMut(&str, String)) {
    let digest = match asked.wants.method {
        MethodIntent::Pass(_) => return,
        MethodIntent::Post => " (the digest is an empty body's)",
        MethodIntent::Get | MethodIntent::Head | MethodIntent::Options => "",
    };
    line("key", format!("{}{digest}", readable(asked.key)));
    line("keep", keep(&asked.routed));
}

fn keep(routed: &Routed<'_>) -> String {
    let (policy, ttl) = (&routed.behavior.cache, routed.behavior.cache.ttl);
    match policy.semantics {
        Semantics::CloudFront => format!(
            "{} unless the origin says; never under {}, never over {}; errors at least {} (CloudFront's table)",
            words(ttl.default()),
            words(ttl.min()),
            words(ttl.max()),
            words(policy.error_ttl)
        ),
        Semantics::Rfc9111 if ttl.default().is_zero() => {
            format!(
                "as the origin says, or a tenth of Date - Last-Modified (RFC 9111 §4.2); never over {}",
                words(ttl.max())
            )
        }
        Semantics::Rfc9111 => format!(
            "as the origin says, else {}; never over {}",
            words(ttl.default()),
            words(ttl.max())
        ),
    }
}

// What an answer would be worth, by the function that judges answers.
pub(super) fn arrived(
    asked: &CacheRequest<'_>,
    (status, fields): &Answer,
    now: Timestamp,
) -> Vec<String> {
    match asked.wants.method {
        MethodIntent::Pass(_) => {
            return vec![format!("{status}  goes to this viewer alone: the cache was not asked")];
        }
        MethodIntent::Head => {
            return vec![format!("{status}  not kept: a HEAD brings no body that could be kept")];
        }
        MethodIntent::Get | MethodIntent::Post | MethodIntent::Options => {}
    }
    let when = Exchanged { asked_at: now, arrived_at: now };
    match on_arrival(asked, None, *status, fields, when, &Invalidations::new(1)) {
        Arrived::Store(keeping) => {
            let withheld: Vec<String> =
                freshness::withheld(fields).iter().map(ToString::to_string).collect();
            let without = format!(
                "without {}, which this viewer alone gets (RFC 9111 §5.2.2.4, §5.2.2.7)",
                withheld.join(", ")
            );
            kept(*status, &keeping, now)
                .into_iter()
                .chain((!withheld.is_empty()).then_some(without))
                .collect()
        }
        Arrived::Pass(why) => vec![format!("{status}  not kept: {}", why.cites())],
        Arrived::Freshen(..) | Arrived::Reuse(_) | Arrived::AskAgain => {
            vec![format!("{status}  confirms nothing that is stored")]
        }
    }
}

fn kept(status: u16, keeping: &StorePlan, now: Timestamp) -> Vec<String> {
    let life = &keeping.life;
    let left = life.fresh.saturating_sub(now.millis_since(keeping.born));
    let secs = |millis: u64| words(std::time::Duration::from_secs(millis / 1000));
    let mut lines = vec![match life.reuse {
        Reuse::WhileFresh if left == 0 => {
            format!("{status}  kept, stale on arrival: {}", life.rule.cites())
        }
        Reuse::WhileFresh => {
            format!("{status}  kept, fresh for {}: {}", secs(left), life.rule.cites())
        }
        Reuse::AfterValidation => {
            format!("{status}  kept, and validated before each use: no-cache (RFC 9111 §5.2.2.4)")
        }
    }];
    if life.stale_while_revalidate > 0 {
        lines.push(format!(
            "then served stale for {} while it is refreshed (RFC 5861 §3)",
            secs(life.stale_while_revalidate)
        ));
    }
    if life.stale_if_error > 0 {
        lines.push(format!(
            "then served stale for {} while the origin fails (RFC 5861 §4, RFC 9111 §4.2.4)",
            secs(life.stale_if_error)
        ));
    }
    if !keeping.selector.0.is_empty() {
        let names: Vec<&str> = keeping.selector.0.iter().map(|(name, _)| name.as_str()).collect();
        lines.push(format!("one variant for each value of {} (RFC 9111 §4.1)", names.join(", ")));
    }
    if let Some(coding) = keeping.coding {
        lines.push(format!(
            "compressed with {} when stored, if type and size are CloudFront's",
            coding.name()
        ));
    }
    lines
}

fn words(duration: std::time::Duration) -> String {
    let secs = duration.as_secs();
    match secs {
        0 => "0 s".into(),
        s if s % 86_400 == 0 => format!("{} d", s / 86_400),
        s if s % 3600 == 0 => format!("{} h", s / 3600),
        s => format!("{s} s"),
    }
}
