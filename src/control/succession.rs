//! What the operator's side has to do with a new process that takes this one's place: it asks for
//! one, keeps what changes something apart from that, and ends once it is there.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, RETRY_AFTER};
use http::{HeaderValue, Method, StatusCode};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{OwnedRwLockReadGuard, RwLock, mpsc, oneshot, watch};

use super::answer::{Answer, error, ok};
use super::inherited::Inherited;
use super::routes::Call;

/// How long a new process may take for its configuration, unless something else is said.
const PATIENCE: u64 = 30;
const PATIENCE_MAX: u64 = 600;

/// Somebody asks for a new process.
pub struct Ask {
    /// The program; this process's own path if nothing is said.
    pub binary: Option<PathBuf>,
    pub patience: Duration,
    /// Hears the new process's id, or why everything stays as it is.
    pub answer: oneshot::Sender<Result<u32, String>>,
}

/// The side of the admin listener.
pub struct Succession {
    asks: mpsc::Sender<Ask>,
    /// Held by each call that may change something, and against all of them while another process
    /// reads what they change.
    pub changes: Arc<RwLock<()>>,
    /// True while a new process waits for the turns of calls to be over.
    pub hurry: watch::Sender<bool>,
    /// Turns true once another process has this one's place.
    pub over: watch::Sender<bool>,
    /// What the processes before have counted.
    pub inherited: Mutex<Inherited>,
    /// Processes whose place was taken, this one's own start counted where it was one.
    pub done: AtomicU64,
    pub failed: AtomicU64,
    /// The process whose place this one has taken still drains.
    pub has_predecessor: AtomicBool,
}

impl Succession {
    /// With what hears whoever asks, one after the other.
    pub fn new() -> (Self, mpsc::Receiver<Ask>) {
        let (asks, asked) = mpsc::channel(1);
        let this = Self {
            asks,
            changes: Arc::default(),
            hurry: watch::Sender::new(false),
            over: watch::Sender::new(false),
            inherited: Mutex::default(),
            done: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            has_predecessor: AtomicBool::new(false),
        };
        (this, asked)
    }

    /// Whether another process has this one's place.
    pub fn has_successor(&self) -> bool {
        *self.over.borrow()
    }

    /// Waits until a new process waits for the turns of calls to be over.
    pub(super) async fn is_hurried(&self) {
        let mut hurry = self.hurry.subscribe();
        let _ = hurry.wait_for(|hurry| *hurry).await;
    }

    /// The turn of a call. One that invalidates has it in any case: where another process has this
    /// one's place, what it says goes there (`invalidation/service.rs` `accept`).
    pub(super) async fn turn_of(&self, call: Call) -> Result<OwnedRwLockReadGuard<()>, Answer> {
        if matches!(call, Call::Invalidate) {
            return Ok(Arc::clone(&self.changes).read_owned().await);
        }
        self.own_turn().await
    }

    /// Waits for a turn to change something; what is answered instead, if another process has this
    /// one's place by then. A caller's words are read before.
    pub(super) async fn own_turn(&self) -> Result<OwnedRwLockReadGuard<()>, Answer> {
        let turn = Arc::clone(&self.changes).read_owned().await;
        if !self.has_successor() {
            return Ok(turn);
        }
        let why = "another process has taken this one's place; ask again";
        let mut answer = error(StatusCode::SERVICE_UNAVAILABLE, why);
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        Err(answer)
    }
}

/// Whether a call has a turn from its beginning to its end: one that may change what another
/// process reads. Whatever may not keeps none waiting, however long it takes. Edges and senders of
/// events have theirs once it is known who they are and what they say, and what a fleet's members
/// ask of a sequencer waits in a queue of its own.
pub(super) fn has_turn(call: Call, method: &Method) -> bool {
    let is_without = matches!(
        call,
        Call::Upgrade
            | Call::Login
            | Call::Logout
            | Call::Explain
            | Call::StoreList
            | Call::StoreVerify
            | Call::FromEdge
            | Call::S3Events
            | Call::Sequence
    );
    !is_without && *method != Method::GET && *method != Method::HEAD
}

/// Does the work of a call in its turn. A caller that hangs up ends neither: what was begun is over
/// before another process reads what it changes. `None` if it broke off.
pub(super) async fn in_turn<T: Send + 'static>(
    turn: OwnedRwLockReadGuard<()>,
    work: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    let task = tokio::spawn(async move {
        let done = work.await;
        drop(turn);
        done
    });
    task.await.ok()
}

/// Waits until another process has this one's place.
pub(super) async fn is_over(over: &mut watch::Receiver<bool>) {
    let _ = over.wait_for(|over| *over).await;
}

/// The body of `POST /v1/upgrade`; none is as good as an empty one.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Wanted {
    binary: Option<PathBuf>,
    /// Seconds.
    wait: Option<u64>,
}

/// Asks for a new process, and answers once it serves or everything stays as it was.
pub(super) async fn upgrade(succession: &Succession, body: &Bytes) -> Answer {
    let wanted = match body.is_empty() {
        true => Ok(Wanted::default()),
        false => serde_json::from_slice::<Wanted>(body),
    };
    let wanted = match wanted {
        Ok(wanted) => wanted,
        Err(why) => {
            let why = format!("the body is not as expected: {why}");
            return error(StatusCode::BAD_REQUEST, &why);
        }
    };
    let wait = wanted.wait.unwrap_or(PATIENCE);
    if !(1..=PATIENCE_MAX).contains(&wait) {
        let why = format!("wait is from 1 to {PATIENCE_MAX} seconds");
        return error(StatusCode::BAD_REQUEST, &why);
    }
    let (answer, answered) = oneshot::channel();
    let ask = Ask { binary: wanted.binary, patience: Duration::from_secs(wait), answer };
    if succession.asks.try_send(ask).is_err() {
        return error(StatusCode::CONFLICT, "another upgrade is under way");
    }
    match answered.await {
        Ok(Ok(process)) => ok(StatusCode::OK, &json!({ "process": process })),
        Ok(Err(why)) => error(StatusCode::CONFLICT, &why),
        Err(_) => error(StatusCode::SERVICE_UNAVAILABLE, "the edge is leaving"),
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;

    #[tokio::test]
    async fn a_turn_lasts_until_its_work_is_over_whoever_waits_for_it() {
        let (succession, _asked) = Succession::new();
        let turn = succession.own_turn().await.ok().unwrap();
        let (open, gate) = oneshot::channel::<()>();
        let mut work = Box::pin(in_turn(turn, gate));
        assert!(work.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        // The caller hangs up.
        drop(work);
        assert!(succession.changes.try_write().is_err());
        open.send(()).unwrap();
        drop(succession.changes.write().await);
        succession.over.send_replace(true);
        assert!(succession.own_turn().await.is_err());
    }

    #[tokio::test]
    async fn what_invalidates_is_not_refused_for_another_process() {
        let (succession, _asked) = Succession::new();
        let held = Arc::clone(&succession.changes).write_owned().await;
        let mut purge = Box::pin(succession.turn_of(Call::Invalidate));
        assert!(purge.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        succession.over.send_replace(true);
        drop(held);
        assert!(purge.await.is_ok(), "it goes on at the new process");
        assert!(succession.turn_of(Call::Reload).await.is_err());
    }

    #[tokio::test]
    async fn a_call_that_waits_for_others_hears_that_a_new_process_waits_for_it() {
        let (succession, _asked) = Succession::new();
        let mut heard = Box::pin(succession.is_hurried());
        assert!(heard.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        succession.hurry.send_replace(true);
        heard.await;
        succession.hurry.send_replace(false);
        let mut later = Box::pin(succession.is_hurried());
        assert!(later.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }

    // A look through a whole disk takes minutes, and a member's reading of its fleet's log is held;
    // an upgrade waits for a call for seconds.
    #[test]
    fn a_call_that_changes_nothing_keeps_no_new_process_waiting() {
        for call in [
            Call::StoreVerify,
            Call::StoreList,
            Call::Explain,
            Call::Login,
            Call::Logout,
            Call::Sequence,
        ] {
            assert!(!has_turn(call, &Method::POST), "{call:?}");
        }
        for call in [Call::Reload, Call::Values, Call::Function, Call::CloudFront] {
            assert!(has_turn(call, &Method::POST), "{call:?}");
            assert!(!has_turn(call, &Method::GET), "{call:?}");
        }
    }
}
