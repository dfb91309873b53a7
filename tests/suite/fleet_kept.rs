//! What all members of a fleet keep alike, in a storm on virtual time: three real members count one
//! number up, each by what it knows, over lines that delay, lose and repeat, over crashes and epochs
//! that end. No count that was acknowledged is lost or made twice, and in the end all say the same.
//! A failure names its seed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use foreshore::fleet::keeper::{Keeper, Untaken};
use foreshore::fleet::protocol::{KeptEntry, Payload};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::fleet_stage::{Desk, Line, Platter, Station, Weather, storms_of};
use super::support::Dice;

const STATIONS: usize = 3;
const LEASE: Duration = Duration::from_secs(10);
const LENGTH: Duration = Duration::from_secs(180);
const NAME: &str = "document/distribution/E1";

/// What a station keeps; a crash leaves it as it is.
#[derive(Default)]
struct Shelf(Mutex<BTreeMap<String, String>>);

impl Shelf {
    fn count(&self) -> u64 {
        self.0.lock().get(NAME).map_or(0, |content| content.parse().unwrap())
    }
}

impl Keeper for Shelf {
    fn take(&self, entries: &[KeptEntry], is_due: &dyn Fn() -> bool) -> Result<(), Untaken> {
        let mut all = self.0.lock();
        for entry in entries.iter().filter(|_| is_due()) {
            match &entry.content {
                Some(content) => all.insert(entry.name.clone(), content.clone()),
                None => all.remove(&entry.name),
            };
        }
        Ok(())
    }

    fn own(&self) -> BTreeMap<String, String> {
        self.0.lock().clone()
    }

    fn stays(&self, _: &str) -> bool {
        false
    }
}

struct Storm {
    desk: Arc<Desk>,
    lines: Vec<Arc<Line>>,
    shelves: Vec<Arc<Shelf>>,
    stations: Mutex<[Option<Arc<Station>>; STATIONS]>,
    platters: Mutex<[Platter; STATIONS]>,
    lives: AtomicU64,
    tried: AtomicU64,
    told: AtomicU64,
}

impl Storm {
    fn new(seed: u64) -> Arc<Self> {
        let desk = Desk::new();
        let line = |e: usize| Line::new(&desk, Weather::Rough, Dice::new(seed, 100 + e as u64));
        Arc::new(Self {
            lines: (0..STATIONS).map(line).collect(),
            desk,
            shelves: (0..STATIONS).map(|_| Arc::default()).collect(),
            stations: Mutex::default(),
            platters: Mutex::default(),
            lives: AtomicU64::new(0),
            tried: AtomicU64::new(0),
            told: AtomicU64::new(0),
        })
    }

    fn start(self: &Arc<Self>, seed: u64, e: usize) {
        let life = self.lives.fetch_add(1, SeqCst);
        let platter = self.platters.lock()[e].clone();
        let station = Station::start(&format!("edge-{e}"), LEASE, &platter, &self.lines[e]);
        // Before it runs: nothing has been waited for since.
        station.node.keep_by(Arc::<Shelf>::clone(&self.shelves[e]));
        let (storm, of) = (Arc::clone(self), Arc::clone(&station));
        station.spawn(storm.count_up(of, e, Dice::new(seed, 1000 + life)));
        self.stations.lock()[e] = Some(station);
    }

    fn crash(&self, e: usize) {
        let Some(station) = self.stations.lock()[e].take() else { return };
        station.kill();
        let mut platters = self.platters.lock();
        platters[e] = platters[e].after_crash();
    }

    async fn count_up(self: Arc<Self>, station: Arc<Station>, e: usize, mut dice: Dice) {
        loop {
            sleep(Duration::from_millis(dice.roll(4000))).await;
            let next = self.shelves[e].count() + 1;
            let (name, content) = (NAME.to_string(), Some(next.to_string()));
            let kept = station.node.keep(Payload::Document, vec![KeptEntry { name, content }]);
            self.tried.fetch_add(1, SeqCst);
            // It takes effect here as it does elsewhere, when it is read.
            if kept.await.is_ok() {
                self.told.fetch_add(1, SeqCst);
            }
        }
    }

    fn accident(self: &Arc<Self>, seed: u64, dice: &mut Dice) {
        let e = dice.roll(STATIONS as u64) as usize;
        let length = Duration::from_millis(dice.roll(20_000));
        match dice.roll(8) {
            0 | 1 => self.lines[e].cut(length),
            2 => self.lines.iter().for_each(|line| line.cut(length)),
            3 => {
                self.crash(e);
                self.start(seed, e);
            }
            // All records stay; the epoch does not.
            4 => self.desk.begin_again(self.desk.head()),
            5 => self.lines[e].have_weather(Weather::Storm),
            _ => self.lines[e].have_weather(Weather::Rough),
        }
    }
}

/// How often it was counted, and how often a station was told so.
async fn storm(seed: u64) -> (u64, u64) {
    let storm = Storm::new(seed);
    (0..STATIONS).for_each(|e| storm.start(seed, e));
    let mut dice = Dice::new(seed, 0);
    let end = Instant::now() + LENGTH;
    while Instant::now() < end {
        sleep(Duration::from_millis(dice.roll(10_000))).await;
        storm.accident(seed, &mut dice);
    }
    for line in &storm.lines {
        line.mend();
        line.have_weather(Weather::Calm);
    }
    // Nothing is counted any more, by processes that begin anew.
    for e in 0..STATIONS {
        storm.crash(e);
        let platter = storm.platters.lock()[e].clone();
        let station = Station::start(&format!("edge-{e}"), LEASE, &platter, &storm.lines[e]);
        station.node.keep_by(Arc::<Shelf>::clone(&storm.shelves[e]));
        storm.stations.lock()[e] = Some(station);
    }
    sleep(6 * LEASE).await;
    let counts: Vec<u64> = storm.shelves.iter().map(|shelf| shelf.count()).collect();
    let (tried, told) = (storm.tried.load(SeqCst), storm.told.load(SeqCst));
    let first = counts[0];
    assert!(counts.iter().all(|count| *count == first), "seed {seed}: {counts:?}");
    assert!(told <= first && first <= tried, "seed {seed}: {told} <= {first} <= {tried}");
    (first, told)
}

#[test]
fn no_acknowledged_change_is_lost_and_none_is_made_twice() {
    let (mut counted, mut told, mut storms) = (0, 0, 0);
    for (_, (more, acknowledged)) in storms_of(8, storm) {
        storms += 1;
        (counted, told) = (counted + more, told + acknowledged);
    }
    println!("{storms} storms: counted {counted}, acknowledged {told}");
    assert!(told > 3 * storms, "{told} in {storms} storms prove little");
}
