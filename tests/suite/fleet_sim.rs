//! A fleet in a storm, on virtual time: three real members of a fleet and a sequencer, lines that
//! delay, lose, repeat and cut, crashes that lose what was not synced, clocks of different speed,
//! epochs that end. Each answer is held against what was invalidated: never older than an
//! invalidation that a caller was told to be Completed, nor, at the station that published it, than
//! one that it has taken. A failure names its seed; `FORESHORE_SEEDS` says how many are tried,
//! and `FORESHORE_SEED` which one.
//!
//! A seed gives the same accidents at the same times. Ids and the length of a member's pauses are
//! random all the same, so a seed that failed fails again most times, not always.

use std::sync::Arc;
use std::time::Duration;

use foreshore::fleet::settle::Progress;
use foreshore::invalidation::service::Durability;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::fleet_stage::{Desk, Line, Platter, Station, Tier, Weather, storms_of};
use super::support::Dice;

const STATIONS: usize = 3;
const PATHS: u64 = 4;
const LEASE: u64 = 10_000;
/// How long a storm lasts.
const LENGTH: Duration = Duration::from_secs(240);
/// By so many in a hundred each station's clock is fast.
const FAST: [i64; STATIONS] = [-1, 0, 1];
/// Who throws the dice of accidents.
const CHAOS: u64 = 0;

type Versions = [u64; PATHS as usize];

/// What is true of the world, which no station is told.
#[derive(Default)]
struct Truth {
    /// What the origin would answer now.
    published: Versions,
    /// The least that any station may answer with.
    acknowledged: Versions,
    /// The least that each may answer with, of what it invalidated itself: for good, and for as
    /// long as the process lives.
    taken: [Versions; STATIONS],
    held: [Versions; STATIONS],
    wrong: Option<String>,
    answers: u64,
    completed: u64,
}

struct Storm {
    seed: u64,
    began: Instant,
    desk: Arc<Desk>,
    lines: Vec<Arc<Line>>,
    tier: Tier,
    truth: Mutex<Truth>,
    stations: Mutex<[Option<Arc<Station>>; STATIONS]>,
    platters: Mutex<[Platter; STATIONS]>,
    /// Up to this number of the log a station that began anew does not know what to put back.
    forgotten: Mutex<u64>,
    lives: Mutex<u64>,
}

impl Storm {
    fn new(seed: u64) -> Arc<Self> {
        let desk = Desk::new();
        let line = |e: usize| Line::new(&desk, Weather::Rough, Dice::new(seed, 100 + e as u64));
        Arc::new(Self {
            seed,
            began: Instant::now(),
            lines: (0..STATIONS).map(line).collect(),
            desk,
            tier: Tier::default(),
            truth: Mutex::default(),
            stations: Mutex::default(),
            platters: Mutex::default(),
            forgotten: Mutex::new(0),
            lives: Mutex::new(0),
        })
    }

    fn station(&self, e: usize) -> Option<Arc<Station>> {
        self.stations.lock()[e].clone()
    }

    fn start(self: &Arc<Self>, e: usize) {
        let life = {
            let mut lives = self.lives.lock();
            *lives += 1;
            *lives
        };
        let lease = LEASE as i64 * 100 / (100 + FAST[e]);
        let lease = Duration::from_millis(lease.unsigned_abs());
        let platter = self.platters.lock()[e].clone();
        let station = Station::start(&format!("edge-{e}"), lease, &platter, &self.lines[e]);
        self.truth.lock().held[e] = Versions::default();
        *self.forgotten.lock() = self.desk.head();
        for task in 0..3 {
            let dice = Dice::new(self.seed, 1000 * life + task);
            let (storm, of) = (Arc::clone(self), Arc::clone(&station));
            match task {
                0 => station.spawn(storm.publish(of, e, dice)),
                _ => station.spawn(storm.view(of, e, dice)),
            }
        }
        self.stations.lock()[e] = Some(station);
    }

    fn crash(&self, e: usize) {
        let Some(station) = self.stations.lock()[e].take() else { return };
        station.kill();
        let mut platters = self.platters.lock();
        platters[e] = platters[e].after_crash();
    }

    /// Viewers of one station.
    async fn view(self: Arc<Self>, station: Arc<Station>, e: usize, mut dice: Dice) {
        loop {
            sleep(Duration::from_millis(dice.roll(400))).await;
            let path = dice.roll(PATHS);
            if let Some(version) = station.answer(path, &self.tier) {
                self.check(e, path, version);
                continue;
            }
            let begun = station.begin();
            let slowest = if dice.roll(8) == 0 { 2 * LEASE } else { 500 };
            sleep(Duration::from_millis(dice.roll(slowest))).await;
            let version = self.truth.lock().published[path as usize];
            sleep(Duration::from_millis(dice.roll(slowest))).await;
            station.keep(path, version, begun);
            self.tier.lock().insert(path, (version, begun.stamp));
        }
    }

    fn check(&self, e: usize, path: u64, version: u64) {
        let at = path as usize;
        let mut truth = self.truth.lock();
        truth.answers += 1;
        let floors = [truth.acknowledged[at], truth.taken[e][at], truth.held[e][at]];
        if version < floors.into_iter().max().unwrap_or(0) && truth.wrong.is_none() {
            let when = self.began.elapsed();
            truth.wrong = Some(format!(
                "{when:?}: station {e} answers {path} with version {version}, which is older than \
                 what was acknowledged, taken there, held there: {floors:?}"
            ));
        }
    }

    /// Those who publish at one station, and invalidate what was stored.
    async fn publish(self: Arc<Self>, station: Arc<Station>, e: usize, mut dice: Dice) {
        loop {
            sleep(Duration::from_millis(dice.roll(6000))).await;
            let is_synced = dice.roll(3) > 0;
            let durability = if is_synced { Durability::Synced } else { Durability::InForce };
            let waits = dice.roll(4) > 0;
            let storm = Arc::clone(&self);
            let path = dice.roll(PATHS);
            let settling = storm.invalidate(Arc::clone(&station), e, path, durability, waits);
            station.spawn(async move {
                settling.await;
            });
        }
    }

    /// One of them, and whether it was told that the invalidation is Completed.
    async fn invalidate(
        self: Arc<Self>,
        station: Arc<Station>,
        e: usize,
        path: u64,
        durability: Durability,
        waits: bool,
    ) -> bool {
        let at = path as usize;
        let version = {
            let mut truth = self.truth.lock();
            truth.published[at] += 1;
            truth.published[at]
        };
        let Ok(id) = station.invalidate(path, durability).await else { return false };
        {
            let mut truth = self.truth.lock();
            let floors = match durability {
                Durability::Synced => &mut truth.taken,
                Durability::InForce => &mut truth.held,
            };
            floors[e][at] = floors[e][at].max(version);
        }
        if !waits {
            return false;
        }
        let settled = station.node.settle(id, Duration::from_secs(45)).await;
        let is_completed = settled.progress == Progress::Completed;
        if is_completed {
            let mut truth = self.truth.lock();
            truth.acknowledged[at] = truth.acknowledged[at].max(version);
            truth.completed += 1;
        }
        is_completed
    }

    /// One accident, in one place or everywhere.
    async fn accident(self: &Arc<Self>, dice: &mut Dice) {
        let e = dice.roll(STATIONS as u64) as usize;
        let length = Duration::from_millis(dice.roll(2 * LEASE));
        match dice.roll(10) {
            0 | 1 => self.lines[e].cut(length),
            2 => self.lines.iter().for_each(|line| line.cut(length)),
            3 | 4 => {
                self.crash(e);
                let storm = Arc::clone(self);
                drop(tokio::spawn(async move {
                    sleep(length).await;
                    if storm.station(e).is_none() {
                        storm.start(e);
                    }
                }));
            }
            5 => self.desk.begin_again(self.desk.head()),
            6 | 7 => self.lose(dice).await,
            8 => self.lines[e].have_weather(Weather::Storm),
            _ => self.lines[e].have_weather(Weather::Rough),
        }
    }

    // The sequencer loses the end of its log. What was acknowledged holds as long as those that
    // have applied it reach the sequencer within a grace, so for that long nothing else happens,
    // and no station is to have begun since.
    async fn lose(&self, dice: &mut Dice) {
        let known = *self.forgotten.lock();
        let head = self.desk.head();
        if head <= known || (0..STATIONS).any(|e| self.station(e).is_none()) {
            return;
        }
        self.calm();
        self.desk.begin_again(known.max(head.saturating_sub(1 + dice.roll(5))));
        sleep(Duration::from_millis(3 * LEASE)).await;
        *self.forgotten.lock() = self.desk.head();
        self.lines.iter().for_each(|line| line.have_weather(Weather::Rough));
    }

    fn calm(&self) {
        for line in &self.lines {
            line.mend();
            line.have_weather(Weather::Calm);
        }
    }

    /// The storm is over: soon each station uses its store again, and an invalidation of each comes
    /// everywhere.
    async fn mends(self: &Arc<Self>) -> Result<(), String> {
        self.calm();
        (0..STATIONS).filter(|e| self.station(*e).is_none()).for_each(|e| self.start(e));
        sleep(Duration::from_millis(6 * LEASE)).await;
        for e in 0..STATIONS {
            let station = self.station(e).ok_or("a station is gone")?;
            if !station.is_usable() {
                return Err(format!("station {e} has no lease though nothing happens any more"));
            }
            let synced = Durability::Synced;
            if !Arc::clone(self).invalidate(station, e, 0, synced, true).await {
                return Err(format!("an invalidation of station {e} does not come everywhere"));
            }
        }
        Ok(())
    }
}

/// How many answers there were, and how many invalidations were Completed.
async fn storm(seed: u64) -> Result<(u64, u64), String> {
    let storm = Storm::new(seed);
    (0..STATIONS).for_each(|e| storm.start(e));
    let mut dice = Dice::new(seed, CHAOS);
    let end = Instant::now() + LENGTH;
    while Instant::now() < end && storm.truth.lock().wrong.is_none() {
        sleep(Duration::from_millis(dice.roll(LEASE))).await;
        storm.accident(&mut dice).await;
    }
    let mended = storm.mends().await;
    let truth = storm.truth.lock();
    truth.wrong.clone().map_or(Ok(()), Err).and(mended)?;
    Ok((truth.answers, truth.completed))
}

#[test]
fn slow_no_answer_is_older_than_a_completed_invalidation() {
    let (mut answers, mut completed, mut storms) = (0, 0, 0);
    for (seed, outcome) in storms_of(30, storm) {
        storms += 1;
        match outcome {
            Ok((more, told)) => (answers, completed) = (answers + more, completed + told),
            Err(why) => panic!("seed {seed}: {why}"),
        }
    }
    println!("{storms} storms: {answers} answers, {completed} invalidations Completed");
    assert!(answers > 200 * storms && completed > 5 * storms, "{answers} answers, {completed}");
}
