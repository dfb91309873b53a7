//! What scenes and storms of a fleet stand on: a sequencer in memory, lines to it with accidents, a
//! disk that loses what was not synced, and stations: the real member of a fleet with the real
//! table and log, and a store of a few paths.
//!
//! A clock cannot be made to run fast or slow. What a station does by its clock it does by the
//! lease, and by what is reckoned from that; so a clock that is one in a hundred fast is a lease
//! that is one in a hundred and one shorter.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use foreshore::cache::invalidations::{Invalidations, Matcher, Severity, Validity};
use foreshore::clock::Clock;
use foreshore::distribution::fleet::Prefer;
use foreshore::fleet::node::{Node, NodeContext};
use foreshore::fleet::protocol::{Epoch, FleetNumber, MemberId, Name, Record, Refusal, Stamp};
use foreshore::fleet::sequence::{Answered, CallError, Sequence};
use foreshore::fleet::sequencer::{Proposal, Sequencer};
use foreshore::fleet::wire::{Call, Reply};
use foreshore::invalidation::chain::{Incarnation, RecordId};
use foreshore::invalidation::frames::LogFile;
use foreshore::invalidation::log::{InvalidationLog, InvalidationRecord};
use foreshore::invalidation::service::{Durability, Invalidator};
use foreshore::message::key::InvalidationNumber;
use foreshore::semantics::time::Timestamp;
use foreshore::store::Memory;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use super::support::Dice;

const START: Timestamp = Timestamp::from_secs(1_800_000_000);
/// A call without an answer fails after so long.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The one distribution there is.
const DISTRIBUTION: &str = "E";

/// Raises a storm for each seed, on a virtual time of its own, as it is asked for: `FORESHORE_SEED`
/// names one, `FORESHORE_SEEDS` how many, in the place of the usual number.
pub fn storms_of<F: Future>(
    usual: u64,
    storm: impl Fn(u64) -> F,
) -> impl Iterator<Item = (u64, F::Output)> {
    let number = |name| std::env::var(name).ok().and_then(|number| number.parse::<u64>().ok());
    let seeds = match number("FORESHORE_SEED") {
        Some(one) => one..=one,
        None => 1..=number("FORESHORE_SEEDS").unwrap_or(usual),
    };
    seeds.map(move |seed| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        (seed, runtime.block_on(storm(seed)))
    })
}

/// A file of which only what was synced is there after a crash.
#[derive(Clone, Default)]
pub struct Platter(Arc<Mutex<Octets>>);

#[derive(Default)]
struct Octets {
    synced: Vec<u8>,
    cached: Vec<u8>,
}

impl Platter {
    /// What is found after a crash. What the process of before still writes goes nowhere.
    pub fn after_crash(&self) -> Self {
        let synced = self.0.lock().synced.clone();
        Self(Arc::new(Mutex::new(Octets { cached: synced.clone(), synced })))
    }
}

impl LogFile for Platter {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.lock().cached.extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut octets = self.0.lock();
        octets.synced = octets.cached.clone();
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.0.lock().cached.truncate(len as usize);
        Ok(())
    }

    fn read_all(&mut self) -> io::Result<Vec<u8>> {
        Ok(self.0.lock().cached.clone())
    }
}

/// A sequencer in memory, whose calls are held while there is nothing to answer.
pub struct Desk {
    log: Mutex<Sequencer>,
    /// Changes with each call that may have something to answer to another.
    moved: watch::Sender<u64>,
}

impl Desk {
    pub fn new() -> Arc<Self> {
        let log = Mutex::new(Sequencer::new(Epoch(RecordId::random())));
        Arc::new(Self { log, moved: watch::Sender::new(0) })
    }

    /// Answers a call, once there is something to answer.
    pub async fn answer(&self, call: Call) -> Result<Reply, CallError> {
        let wait = match &call {
            Call::Read { wait, .. } | Call::Roster { wait, .. } => *wait,
            _ => 0,
        };
        let until = Instant::now() + Duration::from_millis(wait);
        let mut moved = self.moved.subscribe();
        loop {
            moved.mark_unchanged();
            if let Some(answer) = self.look(&call, Instant::now() >= until) {
                return answer.map_err(CallError::Refused);
            }
            let _ = timeout_at(until, moved.changed()).await;
        }
    }

    // Nothing, while it is to be held.
    fn look(&self, call: &Call, is_over: bool) -> Option<Result<Reply, Refusal>> {
        let mut log = self.log.lock();
        match call {
            Call::Append { epoch, id, payload } => {
                let proposal = log.propose(*epoch, *id, payload.clone());
                let place = proposal.and_then(|proposal| match proposal {
                    Proposal::Known(place) => Ok(place),
                    Proposal::New(record) => log.commit(Arc::new(record)),
                });
                self.moved.send_modify(|count| *count += 1);
                Some(place.map(Reply::Appended))
            }
            Call::Renew(renew) => {
                let answer = log.renew(renew);
                self.moved.send_modify(|count| *count += 1);
                Some(answer.map(Reply::Renewed))
            }
            Call::Read { from, most, .. } => match log.read(*from, *most) {
                Ok(records) if records.is_empty() && !is_over => None,
                Ok(records) => {
                    let records = records.iter().map(|record| Record::clone(record)).collect();
                    Some(Ok(Reply::Records(records)))
                }
                Err(refusal) => Some(Err(refusal)),
            },
            Call::Roster { id, .. } => {
                let roster = log.roster_about(*id);
                let has_come = roster.number.is_none_or(|number| {
                    roster.members.values().all(|listed| listed.applied >= number)
                });
                (has_come || is_over).then_some(Ok(Reply::Roster(roster)))
            }
            Call::Trim { upto, .. } => Some(Ok(Reply::Trimmed(log.trim(FleetNumber(*upto))))),
            Call::Fence { old } => {
                let new = Epoch(RecordId::random());
                Some(log.fence(*old, new).map(|()| Reply::Fenced(new)))
            }
            Call::Kept { after } => Some(Ok(Reply::Kept(log.kept_after(after)))),
        }
    }

    /// The number of the last record.
    pub fn head(&self) -> u64 {
        self.log.lock().head().number.0
    }

    /// The number that a record has.
    pub fn number_of(&self, id: RecordId) -> Option<u64> {
        self.log.lock().number_of(id).map(|number| number.0)
    }

    pub fn epoch(&self) -> Epoch {
        self.log.lock().epoch()
    }

    /// Who is listed.
    pub fn members(&self) -> Vec<(Name, Incarnation)> {
        let log = self.log.lock();
        log.roster().iter().map(|(name, listed)| (name.clone(), listed.incarnation)).collect()
    }

    /// Ends, and begins again in a new epoch, with the records up to a number. Nothing is to have
    /// been trimmed.
    pub fn begin_again(&self, upto: u64) {
        let mut log = self.log.lock();
        let mut new = Sequencer::new(Epoch(RecordId::random()));
        let kept = log.read(log.floor(), usize::try_from(upto).unwrap()).unwrap();
        for record in kept {
            new.commit(record).unwrap();
        }
        *log = new;
        self.moved.send_modify(|count| *count += 1);
    }
}

/// What happens to messages on a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// They arrive at once.
    Still,
    /// They take a little.
    Calm,
    /// Some are lost before or after they take effect, some come twice, and all take their time.
    Rough,
    /// All that, and they take very long.
    Storm,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Arrives,
    LostThere,
    LostBack,
    Twice,
}

/// A line from one station to the sequencer.
pub struct Line {
    desk: Arc<Desk>,
    dice: Mutex<Dice>,
    weather: Mutex<Weather>,
    cut_until: Mutex<Option<Instant>>,
    /// The answer to the next append is lost.
    pub loses_confirmation: AtomicBool,
    /// When the last renewal was asked for that was answered.
    renewed_at: Mutex<Option<Instant>>,
}

impl Line {
    pub fn new(desk: &Arc<Desk>, weather: Weather, dice: Dice) -> Arc<Self> {
        Arc::new(Self {
            desk: Arc::clone(desk),
            dice: Mutex::new(dice),
            weather: Mutex::new(weather),
            cut_until: Mutex::default(),
            loses_confirmation: AtomicBool::new(false),
            renewed_at: Mutex::default(),
        })
    }

    pub fn have_weather(&self, weather: Weather) {
        *self.weather.lock() = weather;
    }

    /// Lets nothing through for so long.
    pub fn cut(&self, length: Duration) {
        *self.cut_until.lock() = Some(Instant::now() + length);
    }

    pub fn mend(&self) {
        *self.cut_until.lock() = None;
    }

    fn is_cut(&self) -> bool {
        self.cut_until.lock().is_some_and(|until| Instant::now() < until)
    }

    /// When the last renewal was asked for that was answered.
    pub fn renewed_at(&self) -> Instant {
        self.renewed_at.lock().expect("a renewal was answered")
    }

    // How long there and back, and what happens on the way.
    fn trip(&self) -> (Duration, Duration, Fate) {
        let slowest = match *self.weather.lock() {
            Weather::Still => return (Duration::ZERO, Duration::ZERO, Fate::Arrives),
            Weather::Calm => 20,
            Weather::Rough => 300,
            Weather::Storm => 1000,
        };
        let mut dice = self.dice.lock();
        let mut time = || Duration::from_millis(dice.roll(slowest));
        let (there, back) = (time(), time());
        let fate = match dice.roll(16) {
            _ if slowest == 20 => Fate::Arrives,
            0 | 1 => Fate::LostThere,
            2 | 3 => Fate::LostBack,
            4 | 5 => Fate::Twice,
            _ => Fate::Arrives,
        };
        (there, back, fate)
    }

    async fn carry(&self, call: Call) -> Result<Reply, CallError> {
        let asked_at = Instant::now();
        let is_renewal = matches!(call, Call::Renew(_));
        let (there, back, fate) = self.trip();
        travel(there).await;
        if fate == Fate::LostThere || self.is_cut() {
            return lost().await;
        }
        if fate == Fate::Twice {
            let (desk, again) = (Arc::clone(&self.desk), call.clone());
            drop(tokio::spawn(async move {
                travel(back * 5).await;
                let _ = desk.answer(again).await;
            }));
        }
        let is_append = matches!(call, Call::Append { .. });
        let is_unconfirmed = is_append && self.loses_confirmation.swap(false, Ordering::Relaxed);
        let answer = self.desk.answer(call).await;
        travel(back).await;
        if fate == Fate::LostBack || self.is_cut() || is_unconfirmed {
            return lost().await;
        }
        if is_renewal {
            *self.renewed_at.lock() = Some(asked_at);
        }
        answer
    }
}

async fn travel(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}

async fn lost() -> Result<Reply, CallError> {
    sleep(TIMEOUT).await;
    Err(CallError::Failed("no answer".into()))
}

impl Sequence for Line {
    fn call(&self, call: Call) -> Answered<'_> {
        Box::pin(self.carry(call))
    }
}

/// What is stored of a path.
#[derive(Clone, Copy)]
struct Kept {
    version: u64,
    asked_at: InvalidationNumber,
}

/// What a response will be stored under, as it is when its request begins.
#[derive(Clone, Copy)]
pub struct Begun {
    asked_at: InvalidationNumber,
    pub stamp: Stamp,
}

/// What stations share: of each path a version and its stamp.
pub type Tier = Mutex<HashMap<u64, (u64, Stamp)>>;

/// A process that is a member of the fleet, from its start to its end.
pub struct Station {
    pub node: Arc<Node>,
    pub table: Arc<Invalidations>,
    pub id: MemberId,
    invalidation: Arc<Invalidator>,
    clock: Clock,
    store: Mutex<HashMap<u64, Kept>>,
    tasks: Mutex<JoinSet<()>>,
}

fn key(path: u64) -> Vec<u8> {
    format!("{DISTRIBUTION}\0/{path}\0").into_bytes()
}

impl Station {
    /// Starts a process over what its disk has, and has it follow the fleet.
    pub fn start(name: &str, lease: Duration, platter: &Platter, line: &Arc<Line>) -> Arc<Self> {
        let table = Arc::new(Invalidations::new(1000));
        let clock = Clock::starting_at(START);
        let memory = Arc::new(Memory::new(1 << 20, 16));
        let invalidation = Invalidator::new(Arc::clone(&table), memory, clock.clone());
        let (log, records) = InvalidationLog::over(Box::new(platter.clone())).unwrap();
        let log = Arc::new(log);
        invalidation.keep_log(Arc::clone(&log), &records);
        let name = Name::parse(name).unwrap();
        let id = MemberId { name, incarnation: Incarnation::random() };
        let sequence: Arc<dyn Sequence> = Arc::<Line>::clone(line);
        let context = NodeContext {
            fleet: Name::parse("fleet").unwrap(),
            id: id.clone(),
            prefer: Prefer::Freshness,
            lease,
            sequence,
            table: Arc::clone(&table),
            invalidation: Arc::clone(&invalidation),
            log,
            clock: clock.clone(),
            tickets: None,
            issuing: None,
            ids: Box::new(|| vec![DISTRIBUTION.to_string()]),
        };
        let node = Node::new(context, &records);
        let station = Arc::new(Self {
            node: Arc::clone(&node),
            table,
            id,
            invalidation,
            clock,
            store: Mutex::default(),
            tasks: Mutex::new(JoinSet::new()),
        });
        station.spawn(node.run());
        station
    }

    /// Something that ends with the process.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().spawn(task);
    }

    /// Ends the process, whatever it is doing.
    pub fn kill(&self) {
        self.tasks.lock().abort_all();
    }

    /// Whether it may use what it has stored.
    pub fn is_usable(&self) -> bool {
        self.table.is_usable(self.clock.now())
    }

    /// Invalidates a path. Says the id by which the fleet knows that.
    pub async fn invalidate(&self, path: u64, durability: Durability) -> io::Result<RecordId> {
        let matchers = vec![Matcher::Path(format!("/{path}"))];
        let (name, distribution) = (String::new(), DISTRIBUTION.to_string());
        let record = InvalidationRecord::new(name, distribution, matchers, Severity::Hard, 0);
        Ok(self.invalidation.submit(record, durability).await?.identity)
    }

    /// Whether a response of a path that was asked for then may be used, as far as is known here.
    pub fn is_valid(&self, path: u64, asked_at: InvalidationNumber) -> bool {
        self.table.validity_of(&key(path), &[], asked_at) == Validity::Valid
    }

    /// A request to the origin begins.
    pub fn begin(&self) -> Begun {
        Begun { asked_at: self.table.head(), stamp: self.node.stamp() }
    }

    /// What it brought is stored.
    pub fn keep(&self, path: u64, version: u64, begun: Begun) {
        self.store.lock().insert(path, Kept { version, asked_at: begun.asked_at });
    }

    /// The version that it answers with, from its own store or from the shared one; without one it
    /// asks the origin.
    pub fn answer(&self, path: u64, tier: &Tier) -> Option<u64> {
        if !self.is_usable() {
            return None;
        }
        let mut store = self.store.lock();
        if let Some(kept) = store.get(&path).filter(|kept| self.is_valid(path, kept.asked_at)) {
            return Some(kept.version);
        }
        let (version, stamp) = tier.lock().get(&path).copied()?;
        let asked_at = self.node.adopt(stamp)?;
        if !self.is_valid(path, asked_at) {
            return None;
        }
        store.insert(path, Kept { version, asked_at });
        Some(version)
    }
}
