//! What a member does all day: it keeps its lease, reads the fleet's log, appends what was
//! published here, sees to the fleet's ticket keys, and knows what all members keep alike. Five
//! loops, none of which waits for another.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::member::Step;
use super::node::Node;
use super::protocol::{Change, Epoch, Payload, Place, Refusal, own_program};
use super::restore::{fleet_id, payload};
use super::sequence::CallError;
use super::sequencer::Renewal;
use super::ticket_keys::SharedTickets;
use super::wire::{Call, READ_MAX, Reply};
use crate::invalidation::chain::RecordId;
use crate::message::key::InvalidationNumber;

/// A reading is held for so long while there is nothing new.
const HELD: Duration = Duration::from_secs(20);
/// Without an answer the next attempt comes after so long, twice as long each time, up to a bound.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// A lease is asked for so many times in its length.
const RENEWALS: u32 = 5;
/// The outbox is looked through so often, whether or not it is said to have grown.
const SWEEP: Duration = Duration::from_secs(1);
/// Records of one look through the outbox.
const BATCH: usize = 500;
/// Whether it is time for another ticket key is looked at so often, which bounds how many keys one
/// member makes whatever goes wrong; and before the log is followed, so often.
const TICKETS: Duration = Duration::from_secs(60);
const UNFOLLOWED: Duration = Duration::from_secs(1);

impl Node {
    /// Follows the fleet's log for as long as the process lives.
    pub async fn run(self: Arc<Self>) {
        tokio::join!(
            self.keep_lease(),
            self.read(),
            self.send(),
            self.keep_ticket_keys(),
            self.keep_learning()
        );
    }

    async fn keep_lease(&self) {
        let interval = self.interval();
        let mut pause = Pause::default();
        loop {
            let again = match self.renew().await {
                Ok(Next::Rest) => {
                    pause = Pause::default();
                    interval
                }
                Ok(Next::AtOnce) => Duration::ZERO,
                Err(why) => {
                    self.failed(&why);
                    pause.next().min(interval)
                }
            };
            let again = again.min(self.grace_left());
            let _ = timeout(again, self.report.notified()).await;
        }
    }

    fn interval(&self) -> Duration {
        Duration::from_millis(self.terms.lease) / RENEWALS
    }

    // When a grace ends, what is stored becomes usable: that is to be said then.
    fn grace_left(&self) -> Duration {
        let member = self.member.lock();
        self.say_usable(&member);
        let left = member.grace_until().seen_from(self.now()).0;
        if left == 0 { Duration::MAX } else { Duration::from_millis(left) }
    }

    // One renewal, and what follows from its answer.
    async fn renew(&self) -> Result<Next, CallError> {
        if self.is_replaced() {
            return Ok(Next::Rest);
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let asked = self.member.lock().renew(turn, self.now());
        let (epoch, call) = (asked.epoch, Call::Renew(asked));
        let answer = match self.call(call).await {
            Ok(Reply::Renewed(answer)) => answer,
            Ok(_) => return Err(CallError::Failed("an answer to another question".into())),
            Err(CallError::Refused(Refusal::Superseded)) => {
                if !self.superseded() {
                    // Two that live would else do nothing but join, and fill the log with it.
                    sleep(self.interval()).await;
                }
                if self.is_replaced() {
                    return Ok(Next::Rest);
                }
                self.join(self.epoch_there().await?).await?;
                return Ok(Next::AtOnce);
            }
            Err(error) => return Err(error),
        };
        self.tally.renewals.fetch_add(1, Ordering::Relaxed);
        let step = {
            let mut member = self.member.lock();
            let step = member.renewed(turn, &answer, self.now());
            self.say_usable(&member);
            step
        };
        match step {
            Ok(step) => self.take_step(step, &answer, epoch).await,
            Err(refusal) => Err(CallError::Failed(format!("{refusal:?}"))),
        }
    }

    async fn take_step(
        &self,
        step: Step,
        answer: &Renewal,
        before: Epoch,
    ) -> Result<Next, CallError> {
        if answer.epoch != before {
            tracing::warn!(fleet = self.context.fleet.as_str(), "the fleet's log has a new epoch");
            self.sent.lock().clear();
            let applied = self.member.lock().applied().number;
            let common = (step != Step::Forget).then_some(applied);
            self.ledger.lock().begin_epoch(common);
            self.unlearnt.notify_one();
            self.position.send_modify(|count| *count += 1);
            self.outbox.notify_one();
        }
        match step {
            Step::Go => Ok(Next::Rest),
            // The reading that is under way brings it.
            Step::Read if answer.epoch == before => Ok(Next::Rest),
            Step::Read => Ok(Next::AtOnce),
            Step::Join => {
                self.join(answer.epoch).await?;
                Ok(Next::AtOnce)
            }
            Step::Fence(old) => {
                tracing::error!("the fleet's log has lost records; it begins a new epoch");
                self.call(Call::Fence { old }).await?;
                Ok(Next::AtOnce)
            }
            Step::Forget => {
                self.begin_at(answer.head).await?;
                Ok(Next::AtOnce)
            }
        }
    }

    async fn begin_at(&self, head: Place) -> Result<(), CallError> {
        tracing::warn!(
            number = head.number.0,
            "the fleet's log is followed from here on; everything stored before is invalidated"
        );
        // What all members keep alike goes before: from the place on the log tells only its changes.
        self.learn_first().await?;
        self.unlearnt.notify_one();
        self.forget(head).await.map_err(|error| CallError::Failed(error.to_string()))
    }

    // The epoch that counts, for a member that is told nothing else before it joins.
    async fn epoch_there(&self) -> Result<Epoch, CallError> {
        match self.call(Call::Roster { id: RecordId::NONE, wait: 0 }).await? {
            Reply::Roster(roster) => Ok(roster.epoch),
            _ => Err(CallError::Failed("an answer to another question".into())),
        }
    }

    async fn join(&self, epoch: Epoch) -> Result<(), CallError> {
        let (member, prefer) = (self.context.id.clone(), self.context.prefer);
        let payload =
            Payload::Member { change: Change::Join, member, prefer, program: own_program() };
        self.call(Call::Append { epoch, id: RecordId::random(), payload }).await.map(drop)
    }

    // True for the first time: an earlier life of this member is listed, and need not be alive.
    fn superseded(&self) -> bool {
        let before = self.tally.superseded.fetch_add(1, Ordering::Relaxed);
        // Both go on for as long as nobody looks: less and less often, or the log has nothing else.
        if before.is_power_of_two() {
            tracing::error!(
                member = self.context.id.name.as_str(),
                "another process is a member by this name; give each edge its own [fleet] member"
            );
        }
        before == 0
    }

    async fn read(&self) {
        let mut pause = Pause::default();
        let mut moved = self.position.subscribe();
        loop {
            moved.mark_unchanged();
            let (from, epoch) = {
                let member = self.member.lock();
                (member.applied(), member.epoch())
            };
            if epoch == Epoch::default() {
                let _ = moved.changed().await;
                continue;
            }
            let wait = u64::try_from(HELD.as_millis()).unwrap_or(0);
            let call = self.call(Call::Read { from, most: READ_MAX, wait });
            let answer = tokio::select! {
                answer = call => answer,
                _ = moved.changed() => continue,
            };
            match self.take_records(answer).await {
                Ok(()) => pause = Pause::default(),
                Err(why) => {
                    self.failed(&why);
                    sleep(pause.next()).await;
                }
            }
        }
    }

    async fn take_records(&self, answer: Result<Reply, CallError>) -> Result<(), CallError> {
        match answer {
            Ok(Reply::Records(records)) => {
                for record in &records {
                    self.apply(record)
                        .await
                        .map_err(|error| CallError::Failed(error.to_string()))?;
                }
                if records.is_empty() {
                    // A sequencer that holds too many calls answers at once.
                    sleep(FIRST_PAUSE).await;
                } else {
                    self.report.notify_one();
                }
                Ok(())
            }
            Ok(_) => Err(CallError::Failed("an answer to another question".into())),
            // It no longer has what comes next, or never had what came before.
            Err(CallError::Refused(Refusal::Trimmed | Refusal::UnknownPlace)) => {
                self.lost_thread().await
            }
            Err(error) => Err(error),
        }
    }

    // The same epoch, and no way on from where this member stands.
    async fn lost_thread(&self) -> Result<(), CallError> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let asked = self.member.lock().renew(turn, self.now());
        let epoch = asked.epoch;
        match self.call(Call::Renew(asked)).await? {
            Reply::Renewed(answer) if answer.epoch == epoch => {
                self.begin_at(answer.head).await?;
                self.report.notify_one();
                Ok(())
            }
            // Another epoch: the next renewal sees to it, and reading rests until then.
            _ => {
                self.report.notify_one();
                Err(CallError::Refused(Refusal::OtherEpoch))
            }
        }
    }

    async fn send(&self) {
        let mut pause = Pause::default();
        loop {
            let _ = timeout(SWEEP, self.outbox.notified()).await;
            match self.send_all().await {
                Ok(()) => pause = Pause::default(),
                Err(why) => {
                    self.failed(&why);
                    sleep(pause.next()).await;
                    self.outbox.notify_one();
                }
            }
        }
    }

    // Appends what has no place yet, in order.
    async fn send_all(&self) -> Result<(), CallError> {
        loop {
            let (epoch, due) = self.due();
            if epoch == Epoch::default() {
                return Ok(());
            }
            // Only once the outbox is empty: what pays the debt goes there too, and must not push
            // out more.
            if due.is_empty() {
                let paid = self.pay_debt().await;
                if !paid.map_err(|error| CallError::Failed(error.to_string()))? {
                    return Ok(());
                }
            }
            for (id, local) in due {
                self.send_one(epoch, id, local).await?;
            }
        }
    }

    fn due(&self) -> (Epoch, Vec<(RecordId, InvalidationNumber)>) {
        let member = self.member.lock();
        let sent = self.sent.lock();
        let due = member.outbox().filter(|(id, _)| !sent.contains(id)).take(BATCH);
        (member.epoch(), due.collect())
    }

    async fn send_one(
        &self,
        epoch: Epoch,
        id: RecordId,
        local: InvalidationNumber,
    ) -> Result<(), CallError> {
        let Some(record) = self.record_at(local).filter(|record| fleet_id(record) == id) else {
            self.member.lock().give_up(id);
            return Ok(());
        };
        match self.call(Call::Append { epoch, id, payload: payload(&record) }).await {
            Ok(Reply::Appended(place)) => {
                if !self.was_appended(epoch, id, place) {
                    return Ok(());
                }
                self.tally.appended.fetch_add(1, Ordering::Relaxed);
                self.confirm(id, epoch, place.number);
                Ok(())
            }
            Ok(_) => Err(CallError::Failed("an answer to another question".into())),
            Err(CallError::Refused(Refusal::OtherEpoch)) => {
                self.report.notify_one();
                Err(CallError::Refused(Refusal::OtherEpoch))
            }
            // It will never be taken.
            Err(CallError::Refused(Refusal::TooLarge | Refusal::Malformed)) => {
                self.member.lock().give_up(id);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    // Notes that something of the outbox has its place, unless its epoch is over meanwhile: then it
    // is due again.
    fn was_appended(&self, epoch: Epoch, id: RecordId, place: Place) -> bool {
        let mut member = self.member.lock();
        let counts = member.epoch() == epoch;
        if counts {
            self.sent.lock().insert(id);
            member.was_placed(id, place.number);
        }
        counts
    }

    // Makes the fleet's next ticket key when no other member has. Ends at once where none are
    // shared.
    async fn keep_ticket_keys(&self) {
        let Some(shared) = self.tickets() else { return };
        loop {
            if self.member.lock().epoch() == Epoch::default() {
                sleep(UNFOLLOWED).await;
                continue;
            }
            if shared.is_due() {
                sleep(shared.wait()).await;
                // Another member may have been quicker.
                if shared.is_due()
                    && let Err(why) = self.append_ticket_key(shared).await
                {
                    self.failed(&why);
                }
            }
            sleep(TICKETS).await;
        }
    }

    // It is in use once it is read back.
    async fn append_ticket_key(&self, shared: &SharedTickets) -> Result<(), CallError> {
        let wrapped =
            shared.fresh().ok_or_else(|| CallError::Failed("there is no randomness".into()))?;
        self.append(Payload::TicketKeys { wrapped }).await
    }

    /// Tells all members something of an ordered certificate, this one too; says whether the log
    /// has it.
    pub async fn tell_issuing(&self, octets: &[u8]) -> bool {
        let Some(wrapped) = self.issuing().and_then(|shared| shared.wrap(octets)) else {
            return false;
        };
        self.append(Payload::Issuing { wrapped }).await.is_ok()
    }

    async fn append(&self, payload: Payload) -> Result<(), CallError> {
        let epoch = self.member.lock().epoch();
        match self.call(Call::Append { epoch, id: RecordId::random(), payload }).await {
            Ok(_) => Ok(()),
            Err(error) => {
                if error == CallError::Refused(Refusal::OtherEpoch) {
                    self.report.notify_one();
                }
                Err(error)
            }
        }
    }

    // A call, with what its outcome says of the sequencer.
    pub(super) async fn call(&self, call: Call) -> Result<Reply, CallError> {
        let answer = self.context.sequence.call(call).await;
        if matches!(answer, Err(CallError::Failed(_))) {
            return answer;
        }
        let is_over = {
            let mut reach = self.reach.lock();
            reach.heard_at = Some(self.context.clock.now());
            let is_over = match &answer {
                Ok(Reply::Renewed(_)) => true,
                Err(CallError::Refused(refusal)) if refusal.lasts() => false,
                _ => !reach.is_refused,
            };
            if is_over {
                (reach.failure, reach.is_refused) = (None, false);
            }
            is_over
        };
        if is_over && self.is_failing.swap(false, Ordering::Relaxed) {
            tracing::info!("the fleet's sequencer answers again");
        }
        answer
    }

    pub(super) fn failed(&self, why: &CallError) {
        self.tally.failures.fetch_add(1, Ordering::Relaxed);
        let is_refused = matches!(why, CallError::Refused(refusal) if refusal.lasts());
        let why = match why {
            CallError::Failed(why) => why.clone(),
            CallError::Refused(refusal) => format!("it refuses: {}", refusal.said()),
        };
        let mut reach = self.reach.lock();
        (reach.failure, reach.is_refused) = (Some(why.clone()), is_refused);
        drop(reach);
        // Once, until it is over. A member whose place another process takes has nothing to follow.
        if !self.is_failing.swap(true, Ordering::Relaxed) && !self.is_replaced() {
            tracing::warn!(why, "the fleet's sequencer is not followed at the moment");
        }
    }
}

/// Whether a renewal is followed by another at once.
enum Next {
    Rest,
    AtOnce,
}

/// Longer and longer pauses, none of which two members make in step.
struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(FIRST_PAUSE)
    }
}

impl Pause {
    fn next(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 2).min(LONGEST_PAUSE);
        let mut octet = [0u8; 1];
        let _ = aws_lc_rs::rand::fill(&mut octet);
        // Between half of it and all of it.
        now / 2 + now * u32::from(octet[0]) / 512
    }
}

#[cfg(test)]
mod tests {
    use super::super::here::Here;
    use super::super::issuing::SharedIssuing;
    use super::super::node::NodeContext;
    use super::super::sequence::Sequence;
    use super::super::ticket_keys::Turn;
    use super::*;
    use crate::base::secret::Secret;
    use crate::clock::Clock;
    use crate::distribution::fleet::TicketSecrets;
    use crate::semantics::time::Timestamp;
    use crate::tls::tickets::Tickets;
    use crate::tls::wrapping::Wrapping;

    const FLEET: &str = "own";

    struct Joined {
        node: Arc<Node>,
        hears: std::sync::mpsc::Receiver<Vec<u8>>,
        _folder: tempfile::TempDir,
    }

    impl Joined {
        fn shared(&self) -> &SharedTickets {
            self.node.tickets().unwrap()
        }

        fn refused(&self) -> u64 {
            self.shared().refusals().map(|(_, count)| count).sum()
        }
    }

    // A member with an empty data folder, that follows the log from now on.
    fn join(here: &Arc<Here>, name: &str, clock: &Clock, turn: Turn) -> Joined {
        let folder = tempfile::tempdir().unwrap();
        let (context, records) = NodeContext::newcomer(here, name, clock, folder.path());
        let secrets = TicketSecrets { wraps: Secret::new(vec![1; 32]), before: None };
        let tickets = Tickets::open(folder.path(), clock.clone(), Some(FLEET));
        let [wrapping, other] = [(); 2].map(|()| Wrapping::new(FLEET, &secrets).unwrap());
        let (heard, hears) = std::sync::mpsc::channel();
        let hear = move |octets: &[u8]| drop(heard.send(octets.to_vec()));
        let issuing = SharedIssuing::new(other, Box::new(hear));
        let context = NodeContext {
            tickets: Some(SharedTickets::new(tickets, wrapping, turn)),
            issuing: Some(issuing),
            ..context
        };
        let node = Node::new(context, &records);
        tokio::spawn(Arc::clone(&node).run());
        Joined { node, hears, _folder: folder }
    }

    #[tokio::test(start_paused = true)]
    async fn what_one_tells_of_a_certificate_all_hear_and_the_log_cannot_read() {
        let clock = Clock::starting_at(Timestamp::from_secs(1_000_000_000));
        let here = Here::in_memory(FLEET, &clock);
        let members = [("a", Turn::First), ("b", Turn::Later)];
        let members = members.map(|(name, turn)| join(&here, name, &clock, turn));
        // A member that follows nothing yet tells nothing.
        assert!(!members[0].node.tell_issuing(b"too early").await);
        sleep(Duration::from_secs(20)).await;
        assert!(members[0].node.tell_issuing(b"a chain").await);
        sleep(Duration::from_secs(5)).await;
        // What is appended while a member begins may come to it twice.
        let late = join(&here, "c", &clock, Turn::Later);
        sleep(Duration::from_secs(20)).await;
        let payload = Payload::Issuing { wrapped: "k".into() };
        let bad = Call::Append { epoch: here.head().0, id: RecordId::random(), payload };
        here.call(bad).await.unwrap();
        sleep(Duration::from_secs(20)).await;
        for one in members.iter().chain([&late]) {
            assert_eq!(one.hears.try_iter().collect::<Vec<_>>(), [b"a chain".to_vec()]);
            assert_eq!(one.node.issuing().unwrap().refused(), 1);
            assert_eq!(one.node.member.lock().applied(), here.head().1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_fleet_has_a_young_ticket_key_at_all_times() {
        let clock = Clock::starting_at(Timestamp::from_secs(1_000_000_000));
        let here = Here::in_memory(FLEET, &clock);
        let members = [("a", Turn::First), ("b", Turn::Later)];
        let members = members.map(|(name, turn)| join(&here, name, &clock, turn));
        let held = || members.each_ref().map(|one| one.shared().held());
        // One makes it, and the log brings it to both.
        sleep(Duration::from_secs(20)).await;
        assert_eq!(held(), [1, 1]);
        sleep(Duration::from_secs(6 * 3600 - 30)).await;
        assert_eq!(held(), [1, 1]);
        sleep(Duration::from_secs(120)).await;
        let [a, b] = held();
        assert!(a == b && (2..=3).contains(&a), "{a} {b}");
        // A new member finds them in the log, and need make none.
        let late = join(&here, "c", &clock, Turn::Later);
        sleep(Duration::from_secs(20)).await;
        assert_eq!((held(), late.shared().held()), ([a, a], a));
        // What is bad is refused by each, and none stops there.
        let payload = Payload::TicketKeys { wrapped: "k".into() };
        let bad = Call::Append { epoch: here.head().0, id: RecordId::random(), payload };
        here.call(bad).await.unwrap();
        sleep(Duration::from_secs(5)).await;
        for one in members.iter().chain([&late]) {
            assert_eq!(one.refused(), 1);
            assert_eq!(one.node.member.lock().applied(), here.head().1);
        }
    }
}
