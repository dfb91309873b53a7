//! Asks one parent: with patience for its first sign, under a budget that all parents of a request
//! share.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::health::{Cause, PROBE_LASTS, Pause};
use super::watch::try_out;
use super::{AskContext, Parent, is_gateway_error};
use crate::message::failure::{Failure, FailureKind};
use crate::message::interim::{Interim, TakesInterims};
use crate::message::response::Reply;
use crate::origin::request::OriginRequest;
use crate::origin::traced;

/// A probe reads no more than this of a body.
const PROBE_READS: u64 = 512 << 10;

/// Why a parent gave no answer.
pub(super) enum Missed {
    /// It failed, or showed no sign of life.
    Failed(Failure),
    /// It is alive and waits itself; the budget is spent.
    Waiting,
    /// Too little of the budget is left to judge it by.
    NoTime,
}

/// Notes when a parent first showed that it is there: it says 102 where its own answer takes a
/// while.
struct Sign {
    began: Instant,
    after: OnceLock<Duration>,
}

impl Sign {
    // Has a request tell of it; what it waits for from here on counts.
    fn of(request: &mut OriginRequest) -> Arc<Self> {
        let sign = Arc::new(Self { began: Instant::now(), after: OnceLock::new() });
        request.interim = Some(Arc::<Self>::clone(&sign));
        sign
    }

    fn is_seen(&self) -> bool {
        self.after.get().is_some()
    }

    // How long the first sign took, where the head came just now.
    fn shown(&self) -> Duration {
        self.after.get().copied().unwrap_or_else(|| self.began.elapsed())
    }
}

impl TakesInterims for Sign {
    fn take(&self, _: Interim) {
        let _ = self.after.set(self.began.elapsed());
    }
}

impl Parent {
    /// Waits for the head of its answer; says how long its first sign took. `until` is when the
    /// budget of all parents ends.
    pub(super) async fn ask(
        &self,
        around: &AskContext<'_>,
        mut request: OriginRequest,
        budget: Duration,
        until: Instant,
    ) -> Result<(Reply, Duration), Missed> {
        let patience = self.health.patience(budget);
        let left = until.saturating_duration_since(Instant::now());
        if left < patience / 2 {
            return Err(Missed::NoTime);
        }
        let patience = patience.min(left);
        let sign = Sign::of(&mut request);
        let mut span = traced::call(around.trace, "parent", &self.origin, &mut request);
        let mut asking = around.upstream.ask(&self.origin, request);
        let came = match timeout(patience, &mut asking).await {
            Ok(came) => came,
            Err(_) if sign.is_seen() => {
                timeout_at(until, &mut asking).await.map_err(|_| Missed::Waiting)?
            }
            Err(_) => {
                if let Some(span) = &mut span {
                    span.fail("no sign of an answer");
                }
                let why = format!("no sign of an answer in {patience:?}");
                return Err(Missed::Failed(Failure::new(FailureKind::ResponseTimeout, why)));
            }
        };
        let shown = sign.shown();
        traced::came(span.as_mut(), came.as_ref().map(|reply| reply.status));
        let reply = came.map_err(Missed::Failed)?;
        self.health.showed_itself(around.clock.now(), shown);
        Ok((reply, shown))
    }

    fn is_ejected(&self) -> bool {
        matches!(self.health.pause(), Some(Pause { cause: Cause::Outlier(_), .. }))
    }

    /// Finds out behind a viewer's back whether it can be asked again: by the request that would
    /// have been asked of it.
    pub(super) fn probe(&self, around: &AskContext<'_>, mut request: OriginRequest) {
        if let Some(trace) = around.trace {
            trace.tell(None, &mut request.fields);
        }
        let (upstream, clock) = (Arc::clone(around.upstream), around.clock.clone());
        let parent = self.clone();
        tokio::spawn(async move {
            let trying = async {
                let sign = Sign::of(&mut request);
                let reply = upstream.ask(&parent.origin, request).await.ok()?;
                let shown = sign.shown();
                // What may have had it ejected is no excuse for it.
                if parent.is_ejected() && is_gateway_error(&reply) {
                    return None;
                }
                let octets = try_out(reply.body, PROBE_READS).await?;
                Some((octets, shown))
            };
            let came = timeout(PROBE_LASTS, trying).await.ok().flatten();
            let now = clock.now();
            if let Some((_, shown)) = came {
                parent.health.showed_itself(now, shown);
            }
            parent.health.probed(now, came.map(|(octets, _)| octets));
            tracing::info!(parent = parent.name, answered = came.is_some(), "a parent was probed");
        });
    }
}
