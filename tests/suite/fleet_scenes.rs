//! Scenes of a member of a fleet, on virtual time: what it does when its line, its process or the
//! sequencer fails it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use foreshore::cache::invalidations::{Matcher, Severity};
use foreshore::distribution::fleet::Prefer;
use foreshore::fleet::member::Proof;
use foreshore::fleet::protocol::{Change, Payload};
use foreshore::fleet::settle::{Progress, Settled};
use foreshore::fleet::wire::Call;
use foreshore::invalidation::chain::RecordId;
use foreshore::invalidation::service::Durability;
use foreshore::message::key::InvalidationNumber;
use tokio::time::{Instant, sleep, sleep_until};

use super::fleet_stage::{Desk, Line, Platter, Station, Tier, Weather};
use super::support::Dice;

const LEASE: Duration = Duration::from_secs(10);
const MOMENT: Duration = Duration::from_millis(1);
/// Longer than anything takes that is to happen at all.
const LONG: Duration = Duration::from_secs(60);

/// A station with its own line and disk.
struct Place {
    name: &'static str,
    platter: Platter,
    line: Arc<Line>,
    station: Arc<Station>,
}

impl Place {
    fn new(name: &'static str, desk: &Arc<Desk>) -> Self {
        let line = Line::new(desk, Weather::Still, Dice::new(1, 1));
        let platter = Platter::default();
        let station = Station::start(name, LEASE, &platter, &line);
        Self { name, platter, line, station }
    }

    /// Waits until it has a lease.
    async fn ready(&self) {
        until("a lease", || self.station.is_usable()).await;
    }

    /// Kills the process and starts another over what the disk has.
    fn restart(&mut self) {
        self.station.kill();
        self.platter = self.platter.after_crash();
        self.station = Station::start(self.name, LEASE, &self.platter, &self.line);
    }

    /// What a request that begins now is stored under.
    fn head(&self) -> InvalidationNumber {
        self.station.table.head()
    }

    async fn invalidate(&self, path: u64) -> RecordId {
        self.station.invalidate(path, Durability::Synced).await.unwrap()
    }

    async fn settle(&self, id: RecordId, wait: Duration) -> Settled {
        self.station.node.settle(id, wait).await
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < end, "{what} did not come");
        sleep(MOMENT).await;
    }
}

/// Two stations that have a lease, in a fleet that nothing happens in any more.
async fn two() -> (Arc<Desk>, Place, Place) {
    let desk = Desk::new();
    let (a, b) = (Place::new("a", &desk), Place::new("b", &desk));
    a.ready().await;
    b.ready().await;
    // The roster proves nothing for a while after one joined.
    sleep(LONG).await;
    (desk, a, b)
}

#[tokio::test(start_paused = true)]
async fn a_lease_ends_when_it_is_over() {
    let desk = Desk::new();
    let a = Place::new("a", &desk);
    assert!(!a.station.is_usable(), "nothing is used before there is a lease");
    a.ready().await;
    sleep(LONG).await;
    assert!(a.station.is_usable(), "a lease is renewed");
    a.line.cut(LONG);
    let asked_at = a.line.renewed_at();
    sleep_until(asked_at + LEASE - 2 * MOMENT).await;
    assert!(a.station.is_usable());
    sleep_until(asked_at + LEASE).await;
    assert!(!a.station.is_usable());
    a.line.mend();
    a.ready().await;
}

#[tokio::test(start_paused = true)]
async fn without_the_sequencer_it_holds_here_and_comes_everywhere_later_in_order() {
    let (desk, a, b) = two().await;
    let (at_a, at_b) = (a.head(), b.head());
    a.line.cut(LONG);
    let ids = [a.invalidate(1).await, a.invalidate(2).await, a.invalidate(3).await];
    let early = a.settle(ids[0], Duration::from_secs(30)).await;
    assert_eq!((early.progress, early.members.len()), (Progress::InProgress, 0));
    for path in 1..=3 {
        assert!(!a.station.is_valid(path, at_a), "{path} is in force here");
        assert!(b.station.is_valid(path, at_b), "and not there");
    }
    let head = desk.head();
    a.line.mend();
    for id in ids {
        let late = a.settle(id, LONG).await;
        assert_eq!(late.progress, Progress::Completed, "{late:?}");
    }
    assert_eq!(ids.map(|id| desk.number_of(id)), [1, 2, 3].map(|after| Some(head + after)));
    assert!((1..=3).all(|path| !b.station.is_valid(path, at_b)));
}

#[tokio::test(start_paused = true)]
async fn a_member_that_was_away_catches_up_before_it_uses_anything() {
    let (_desk, a, b) = two().await;
    let tier = Tier::default();
    b.station.keep(1, 7, b.station.begin());
    assert_eq!(b.station.answer(1, &tier), Some(7));
    b.line.cut(LONG);
    let settled = a.invalidate(1).await;
    let settled = a.settle(settled, LONG).await;
    assert_eq!(settled.progress, Progress::Completed);
    let proofs: Vec<Proof> = settled.members.iter().map(|member| member.state).collect();
    assert_eq!(proofs, [Proof::Applied, Proof::Fenced]);
    assert_eq!(b.station.answer(1, &tier), None, "it is fenced, as was said");
    b.line.mend();
    b.ready().await;
    assert_eq!(
        b.station.answer(1, &tier),
        None,
        "and knows what it missed when it is not any more"
    );
}

// The answer to the append is lost; the record comes back by the log. When it was appended is not
// known, and a member that cannot be reached may have a lease from just before.
#[tokio::test(start_paused = true)]
async fn a_lost_confirmation_is_no_old_one() {
    let (desk, a, b) = two().await;
    b.line.cut(LONG);
    a.line.loses_confirmation.store(true, Ordering::Relaxed);
    let id = a.invalidate(1).await;
    until("the record", || desk.number_of(id).is_some()).await;
    let early = a.settle(id, Duration::from_secs(1)).await;
    assert!(b.station.is_usable(), "the scene is about a member with a lease");
    assert_eq!(early.progress, Progress::InProgress, "{early:?}");
    assert_eq!(a.settle(id, LONG).await.progress, Progress::Completed);
    assert!(!b.station.is_usable());
}

// The same of a record that a new epoch has taken over: it is not older for that.
#[tokio::test(start_paused = true)]
async fn a_new_epoch_makes_no_record_older() {
    let (desk, a, b) = two().await;
    b.line.cut(LONG);
    let id = a.invalidate(1).await;
    until("the record", || desk.number_of(id).is_some()).await;
    sleep(10 * MOMENT).await;
    let old = desk.epoch();
    desk.begin_again(desk.head());
    assert_ne!(desk.epoch(), old);
    until("the new epoch", || a.station.node.stamp().epoch == desk.epoch()).await;
    let early = a.settle(id, MOMENT).await;
    assert!(b.station.is_usable(), "the scene is about a member with a lease");
    assert_eq!(early.progress, Progress::InProgress, "{early:?}");
    assert_eq!(a.settle(id, LONG).await.progress, Progress::Completed);
    assert!(!b.station.is_usable());
}

#[tokio::test(start_paused = true)]
async fn of_two_with_one_name_each_sees_the_other() {
    let (desk, a, b) = two().await;
    let at_b = b.head();
    let twin = Place::new("a", &desk);
    let superseded =
        |place: &Place| place.station.node.tally.superseded.load(Ordering::Relaxed) > 0;
    until("both", || superseded(&a) && superseded(&twin)).await;
    assert_eq!(desk.members().len(), 2);
    assert!(!superseded(&b));
    a.station.kill();
    until("the other", || {
        desk.members().iter().any(|(_, life)| *life == twin.station.id.incarnation)
    })
    .await;
    twin.ready().await;
    let id = twin.invalidate(1).await;
    assert_eq!(twin.settle(id, LONG).await.progress, Progress::Completed);
    assert!(!b.station.is_valid(1, at_b));
}

#[tokio::test(start_paused = true)]
async fn what_was_trimmed_meanwhile_makes_everything_old() {
    let (desk, a, b) = two().await;
    b.line.cut(3 * LONG);
    let begun = b.head();
    let forgotten = || b.station.node.tally.forgotten.load(Ordering::Relaxed);
    let before = forgotten();
    for path in 1..=3 {
        let id = a.invalidate(path).await;
        assert_eq!(a.settle(id, LONG).await.progress, Progress::Completed);
    }
    let payload = Payload::Member {
        change: Change::Leave,
        member: b.station.id.clone(),
        prefer: Prefer::Freshness,
        program: None,
    };
    let (epoch, id) = (desk.epoch(), RecordId::random());
    desk.answer(Call::Append { epoch, id, payload }).await.unwrap();
    sleep(LEASE).await;
    desk.answer(Call::Trim { epoch, upto: desk.head() }).await.unwrap();
    assert_eq!(desk.members().len(), 1);
    b.line.mend();
    b.ready().await;
    assert_eq!(forgotten(), before + 1);
    assert!(!b.station.is_valid(99, begun), "what it missed may have been about anything");
    assert!(b.station.is_valid(99, b.head()));
    assert_eq!(desk.members().len(), 2, "it has joined anew");
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_its_place_outlives_the_process() {
    let (desk, mut a, b) = two().await;
    let (at_a, at_b) = (a.head(), b.head());
    a.line.cut(LONG);
    let id = a.invalidate(1).await;
    a.restart();
    assert!(!a.station.is_valid(1, at_a), "it is in force from the beginning");
    assert_eq!(desk.number_of(id), None);
    a.line.mend();
    assert_eq!(a.settle(id, LONG).await.progress, Progress::Completed);
    assert!(desk.number_of(id).is_some() && !b.station.is_valid(1, at_b));
}

// What was appended just before the process ended is not old because the next does not know when.
#[tokio::test(start_paused = true)]
async fn a_new_life_takes_nothing_for_completed_at_once() {
    let (desk, mut a, b) = two().await;
    b.line.cut(LONG);
    let id = a.invalidate(1).await;
    until("the record", || desk.number_of(id).is_some()).await;
    // With this its log says that what it published before has its place.
    let payload = Payload::Invalidation {
        name: String::new(),
        distribution: "E".into(),
        matchers: vec![Matcher::Path("/other".into())],
        severity: Severity::Hard,
    };
    let (epoch, other) = (desk.epoch(), RecordId::random());
    desk.answer(Call::Append { epoch, id: other, payload }).await.unwrap();
    sleep(10 * MOMENT).await;
    a.restart();
    for _ in 0..100 {
        let progress = a.station.node.progress(&[id]).await;
        assert!(progress == [Progress::InProgress] || !b.station.is_usable());
        sleep(100 * MOMENT).await;
    }
    sleep(LONG).await;
    assert_eq!(a.station.node.progress(&[id]).await, [Progress::Completed]);
}

#[tokio::test(start_paused = true)]
async fn one_that_leaves_uses_nothing_and_is_waited_for_no_more() {
    let (desk, a, b) = two().await;
    b.station.node.leave().await;
    sleep(LONG).await;
    assert!(!b.station.is_usable());
    assert_eq!(desk.members().len(), 1, "and it does not join again");
    b.line.cut(LONG);
    let id = a.invalidate(1).await;
    let settled = a.settle(id, Duration::from_secs(1)).await;
    assert_eq!((settled.progress, settled.members.len()), (Progress::Completed, 1));
}

// Even before the sequencer was reached for the first time.
#[tokio::test(start_paused = true)]
async fn what_is_published_first_of_all_outlives_the_process() {
    let desk = Desk::new();
    let (mut a, b) = (Place::new("a", &desk), Place::new("b", &desk));
    a.line.cut(LONG);
    let id = a.invalidate(1).await;
    a.restart();
    sleep(LEASE).await;
    assert_eq!(desk.number_of(id), None);
    a.line.mend();
    a.ready().await;
    b.ready().await;
    assert_eq!(a.settle(id, LONG).await.progress, Progress::Completed);
    assert!(desk.number_of(id).is_some());
}

// A new life of a member that is listed is told that it is superseded before it is told anything
// else, in whatever epoch.
#[tokio::test(start_paused = true)]
async fn a_new_life_joins_in_an_epoch_that_it_has_not_seen() {
    let (desk, mut a, mut b) = two().await;
    a.station.kill();
    desk.begin_again(desk.head());
    b.restart();
    b.ready().await;
    a.restart();
    a.ready().await;
    // And so does one that lost its disk.
    a.platter = Platter::default();
    a.station.kill();
    a.station = Station::start(a.name, LEASE, &a.platter, &a.line);
    a.ready().await;
    assert_eq!(desk.members().len(), 2);
    let id = a.invalidate(1).await;
    assert_eq!(a.settle(id, LONG).await.progress, Progress::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_lost_record_is_put_back_by_those_that_have_it() {
    let (desk, a, b) = two().await;
    let id = a.invalidate(1).await;
    assert_eq!(a.settle(id, LONG).await.progress, Progress::Completed);
    desk.begin_again(desk.head() - 1);
    assert_eq!(desk.number_of(id), None);
    until("the record", || desk.number_of(id).is_some()).await;
    let has_entered = |place: &Place| place.station.node.stamp().epoch == desk.epoch();
    until("the new epoch", || has_entered(&a) && has_entered(&b)).await;
    assert!(!a.station.is_usable() && !b.station.is_usable(), "within the grace");
    a.ready().await;
    b.ready().await;
    assert_eq!(a.settle(id, LONG).await.progress, Progress::Completed);
}
