//! Room for viewers' connections: how many there may be, and which of them is closed when no place
//! is left.
//!
//! Each connection takes a descriptor, and so does all else that the edge does. The bound leaves
//! some to the admin listener, to origins and to the disk; at the bound the connections that have
//! been idle longest make room, so that accepting never stops for good.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

use super::Gauges;

/// Connections that have been idle for less are left alone: their viewers may be about to ask.
const LEAST_IDLE: Duration = Duration::from_millis(250);
/// How often it is looked again for an idle connection that may be closed.
const LOOK: Duration = Duration::from_millis(50);
/// How often the same trouble is told.
const TELL: Duration = Duration::from_secs(60);
/// At least and at most so many descriptors are left to others than viewers; between them, nine
/// sixteenths: a connection to an origin for each viewer, and some beside for the disk, for questions
/// to DNS and for the admin listener.
const KEPT: (u64, u64) = (16, 4096);

/// What a connection's state says beside the milliseconds since which it is idle.
const BUSY: u64 = u64::MAX;
const LEAVING: u64 = u64::MAX - 1;

/// How many viewers' connections there may be: as configured, but no more than descriptors allow.
/// `in_use` of them are taken by what the edge has open before its first viewer. `None` for no
/// limit.
pub fn bound(configured: usize, descriptors: Option<u64>, in_use: u64) -> usize {
    let Some(descriptors) = descriptors else { return configured };
    let left = descriptors.saturating_sub(in_use);
    let kept = (left / 2 + left / 16).clamp(KEPT.0, KEPT.1);
    configured.min(usize::try_from(left.saturating_sub(kept)).unwrap_or(usize::MAX).max(1))
}

/// The connections of all cores.
pub struct Places {
    permits: Arc<Semaphore>,
    bound: usize,
    /// The connections that hold one.
    held: Mutex<HashMap<u64, Held>>,
    next: AtomicU64,
    began: Instant,
    gauges: Arc<Gauges>,
    full: Seldom,
    /// Accepting that failed, for whatever reason.
    failed: Seldom,
}

struct Held {
    state: Arc<AtomicU64>,
    ended_by: EndedBy,
}

/// How a connection is ended that was told to leave.
#[derive(Clone)]
enum EndedBy {
    /// Its task is dropped.
    Abort(AbortHandle),
    /// It has none of its own: what drives it is woken, and finds the word to leave.
    Wake(Waker),
}

/// What there is for a connection that cannot wait for a place here.
pub enum Room {
    Free(Place),
    /// Another connection is leaving: there will be a place when the viewer asks again.
    Soon,
    None,
}

impl Places {
    /// Room for so many.
    pub fn new(bound: usize, gauges: Arc<Gauges>) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(bound.min(Semaphore::MAX_PERMITS))),
            bound: bound.min(Semaphore::MAX_PERMITS),
            held: Mutex::default(),
            next: AtomicU64::new(0),
            began: Instant::now(),
            gauges,
            full: Seldom::default(),
            failed: Seldom::default(),
        }
    }

    /// A place for a connection that was accepted. At the bound it waits until one is free, and has
    /// the longest idle leave.
    pub async fn take(self: &Arc<Self>) -> Place {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return self.place(permit);
        }
        Gauges::add(&self.gauges.at_limit);
        loop {
            if let Some(before) = self.full.tell(Instant::now()) {
                tracing::warn!(
                    before,
                    "no more viewers' connections may be open; the longest idle leave (limits.connections, open files)"
                );
            }
            self.close_idle();
            if let Ok(Ok(permit)) =
                tokio::time::timeout(LOOK, Arc::clone(&self.permits).acquire_owned()).await
            {
                return self.place(permit);
            }
        }
    }

    /// Says whether more than half of them are taken.
    pub fn are_scarce(&self) -> bool {
        self.permits.available_permits() < self.bound / 2
    }

    /// A place for a connection that has no task of its own: at the bound there is none, and the
    /// longest idle of the others leave.
    pub fn try_take(self: &Arc<Self>) -> Room {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Room::Free(self.place(permit));
        }
        Gauges::add(&self.gauges.at_limit);
        if let Some(before) = self.full.tell(Instant::now()) {
            tracing::warn!(
                before,
                "no more viewers' connections may be open; one over QUIC was put off or refused (limits.connections, open files)"
            );
        }
        // A viewer's first words may be several datagrams: they have one other leave, not several.
        let is_soon = self.is_one_leaving() || self.close_idle() > 0;
        if is_soon { Room::Soon } else { Room::None }
    }

    fn is_one_leaving(&self) -> bool {
        self.held.lock().values().any(|held| held.state.load(Ordering::Relaxed) == LEAVING)
    }

    fn place(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Place {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let state = Arc::new(AtomicU64::new(self.millis(Instant::now())));
        Place { places: Arc::clone(self), id, state, _permit: permit }
    }

    /// Notes the task that serves a connection, so that it can be ended while the connection is
    /// idle. The task must not have run yet.
    pub fn serves(&self, ticket: Ticket, task: AbortHandle) {
        let ended_by = EndedBy::Abort(task);
        self.held.lock().insert(ticket.id, Held { state: ticket.state, ended_by });
    }

    /// The same of a connection without a task: what drives it is woken, and then finds it not
    /// [`Place::busy`] any more.
    pub fn wakes(&self, ticket: Ticket, driver: Waker) {
        let ended_by = EndedBy::Wake(driver);
        self.held.lock().insert(ticket.id, Held { state: ticket.state, ended_by });
    }

    /// Ends the connections that have been idle longest: a few at a time, so that looking for them
    /// is paid for by many. Gives their number.
    pub fn close_idle(&self) -> usize {
        let held = self.held.lock();
        let latest = self.millis(Instant::now()).saturating_sub(LEAST_IDLE.as_millis() as u64);
        let mut idle: Vec<(u64, u64)> = held
            .iter()
            .map(|(id, held)| (held.state.load(Ordering::Relaxed), *id))
            .filter(|(since, _)| *since < latest)
            .collect();
        let count = idle.len().min(1 + held.len() / 64);
        if count < idle.len() {
            idle.select_nth_unstable(count);
        }
        let leaving = idle.into_iter().take(count).filter_map(|(since, id)| {
            let held = held.get(&id)?;
            // It may have been asked something meanwhile, on its own core.
            held.state
                .compare_exchange(since, LEAVING, Ordering::AcqRel, Ordering::Relaxed)
                .ok()?;
            Some(held.ended_by.clone())
        });
        let leaving: Vec<EndedBy> = leaving.collect();
        // A place that is given back takes the lock.
        drop(held);
        for ended_by in &leaving {
            match ended_by {
                EndedBy::Abort(task) => task.abort(),
                EndedBy::Wake(driver) => driver.wake_by_ref(),
            }
            Gauges::add(&self.gauges.idle_closed);
        }
        leaving.len()
    }

    /// Tells of a failure to accept, once in a while.
    pub fn complain(&self, error: &std::io::Error, listener: &'static str) {
        if let Some(before) = self.failed.tell(Instant::now()) {
            tracing::warn!(%error, listener, before, "accepting failed");
        }
    }

    fn millis(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.began).as_millis() as u64
    }
}

/// A connection's place; free again when dropped.
pub struct Place {
    places: Arc<Places>,
    id: u64,
    state: Arc<AtomicU64>,
    _permit: OwnedSemaphorePermit,
}

/// What [`Places::serves`] needs of a place that the task has already.
pub struct Ticket {
    id: u64,
    state: Arc<AtomicU64>,
}

impl Place {
    /// The same place, for [`Places::serves`].
    pub fn ticket(&self) -> Ticket {
        Ticket { id: self.id, state: Arc::clone(&self.state) }
    }

    /// From now on the connection waits for its viewer, as it has since then.
    pub fn idle(&self, since: Instant) {
        // Neither an earlier beginning nor the word to leave is overwritten.
        let _ = self.state.compare_exchange(
            BUSY,
            self.places.millis(since),
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
    }

    /// The viewer has sent something. False if the connection is about to be ended: nothing may be
    /// begun.
    #[must_use]
    pub fn busy(&self) -> bool {
        self.state.swap(BUSY, Ordering::AcqRel) != LEAVING
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.held.lock().remove(&self.id);
    }
}

/// Says the same thing once a minute at most.
#[derive(Default)]
pub struct Seldom(Mutex<(Option<Instant>, u64)>);

impl Seldom {
    /// How often it was left unsaid since the last time, if it is to be said now.
    pub fn tell(&self, now: Instant) -> Option<u64> {
        let mut said = self.0.lock();
        if said.0.is_some_and(|last| now.saturating_duration_since(last) < TELL) {
            said.1 += 1;
            return None;
        }
        said.0 = Some(now);
        Some(std::mem::take(&mut said.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_keep_their_descriptors() {
        for (configured, descriptors, in_use, expected) in [
            (16_384, None, 50, 16_384),
            (16_384, Some(1 << 20), 50, 16_384),
            (16_384, Some(1_024), 24, 438),
            (16_384, Some(96), 40, 25),
            (10, Some(96), 40, 10),
            (16_384, Some(40), 40, 1),
            (16_384, Some(20_000), 0, 15_904),
        ] {
            assert_eq!(bound(configured, descriptors, in_use), expected, "{descriptors:?}");
        }
        for descriptors in (64..5_000).step_by(7) {
            assert!(
                bound(usize::MAX, Some(descriptors), 30) as u64 + 30 + KEPT.0 <= descriptors,
                "{descriptors}"
            );
        }
        // Where all viewers miss at once, each has a connection to an origin.
        for descriptors in (64..7_000).step_by(7) {
            let viewers = bound(usize::MAX, Some(descriptors), 30) as u64;
            assert!(viewers >= 1 && 2 * viewers + 30 < descriptors, "{descriptors}: {viewers}");
        }
    }

    #[test]
    fn the_same_trouble_is_told_once_a_minute() {
        let (seldom, start) = (Seldom::default(), Instant::now());
        let told: Vec<Option<u64>> = [0, 1, 30, 59, 60, 61, 121]
            .map(|at| seldom.tell(start + Duration::from_secs(at)))
            .to_vec();
        assert_eq!(told, [Some(0), None, None, None, Some(3), None, Some(1)]);
    }

    // A task that does nothing, and its place: idle for so long, or busy.
    fn connect(places: &Arc<Places>, idle: Option<Duration>) -> tokio::task::JoinHandle<()> {
        let place = places.place(Arc::clone(&places.permits).try_acquire_owned().unwrap());
        let ticket = place.ticket();
        let since = idle.map_or(BUSY, |idle| places.millis(Instant::now() - idle));
        place.state.store(since, Ordering::Relaxed);
        let task = tokio::spawn(async move {
            let _place = place;
            std::future::pending::<()>().await;
        });
        places.serves(ticket, task.abort_handle());
        task
    }

    #[tokio::test]
    async fn the_longest_idle_makes_room_and_nobody_who_is_busy() {
        let mut places = Places::new(4, Arc::default());
        places.began -= Duration::from_secs(100);
        let places = Arc::new(places);
        let idle = |secs| Some(Duration::from_secs(secs));
        let fresh = connect(&places, idle(0));
        let busy = connect(&places, None);
        let short = connect(&places, idle(5));
        let long = connect(&places, idle(50));
        let came = places.take().await;
        assert!(long.await.unwrap_err().is_cancelled());
        assert!(!short.is_finished() && !busy.is_finished() && !fresh.is_finished());
        let another = places.take().await;
        assert!(short.await.unwrap_err().is_cancelled());
        assert!(!busy.is_finished() && !fresh.is_finished());
        assert_eq!(places.gauges.idle_closed.load(Ordering::Relaxed), 2);
        drop((came, another));
        assert_eq!(places.permits.available_permits(), 2);
        assert_eq!(places.held.lock().len(), 2);
    }

    #[tokio::test]
    async fn a_connection_without_a_task_is_woken_to_leave() {
        let mut places = Places::new(1, Arc::default());
        places.began -= Duration::from_secs(100);
        let places = Arc::new(places);
        let Room::Free(place) = places.try_take() else { panic!("there is room") };
        places.wakes(place.ticket(), Waker::noop().clone());
        assert!(matches!(places.try_take(), Room::None), "it has only come");
        assert!(place.busy());
        assert!(matches!(places.try_take(), Room::None), "it has something to do");
        place.idle(Instant::now() - Duration::from_secs(9));
        assert!(matches!(places.try_take(), Room::Soon));
        assert!(matches!(places.try_take(), Room::Soon), "it has not left yet");
        assert_eq!(places.gauges.idle_closed.load(Ordering::Relaxed), 1);
        assert!(!place.busy(), "it is to leave");
        drop(place);
        assert!(matches!(places.try_take(), Room::Free(_)));
    }

    #[tokio::test]
    async fn whoever_was_told_to_leave_begins_nothing() {
        let mut places = Places::new(2, Arc::default());
        places.began -= Duration::from_secs(100);
        let places = Arc::new(places);
        let place = places.take().await;
        assert!(place.busy());
        place.idle(Instant::now() - Duration::from_secs(9));
        // Ended while it is about to be served: no task stands behind it here but one that does
        // nothing.
        places.serves(place.ticket(), tokio::spawn(async {}).abort_handle());
        assert_eq!(places.close_idle(), 1);
        place.idle(Instant::now());
        assert!(!place.busy());
        assert_eq!(places.close_idle(), 0, "busy");
    }
}
