//! A member of a fleet while another process is to take its place under the same name: it takes
//! nothing of the log, so that the other reads what does not change, and asks for no lease, so that
//! the other's life is the one that is listed.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::node::{Node, Rest};

impl Node {
    /// Waits until nothing of the log is taking effect here any more; nothing does before what is
    /// given is dropped.
    pub async fn rest(&self) -> Rest {
        Arc::clone(&self.awake).write_owned().await
    }

    /// The other process is there, for good: it follows the log, and its life is the one that is
    /// listed.
    pub fn retire(&self, rest: Rest) {
        self.has_left.store(true, Ordering::Relaxed);
        self.say_usable(&self.member.lock());
        *self.retired.lock() = Some(rest);
    }

    /// The other is gone, and may have followed the log in the same data folder: what is kept there
    /// is compared with the log again.
    pub fn follow_again(&self) {
        self.doubt_kept();
        self.report.notify_one();
    }

    // Another life of this member may be listed, or is to be.
    pub(super) fn is_replaced(&self) -> bool {
        self.has_left.load(Ordering::Relaxed) || self.context.table.is_frozen()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::here::Here;
    use super::super::node::NodeContext;
    use super::super::protocol::{Change, MemberId, Payload};
    use super::super::sequence::Sequence;
    use super::super::wire::{Call, Reply};
    use super::*;
    use crate::cache::invalidations::{Matcher, Severity};
    use crate::clock::Clock;
    use crate::distribution::fleet::Prefer;
    use crate::invalidation::chain::{Incarnation, RecordId};
    use crate::semantics::time::Timestamp;

    const PAUSE: Duration = Duration::from_secs(30);

    // A member of a sequencer's fleet that has a lease, with its folder and its clock.
    async fn member(here: &Arc<Here>, clock: &Clock) -> (Arc<Node>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let (context, records) = NodeContext::newcomer(here, "a", clock, folder.path());
        let node = Node::new(context, &records);
        tokio::spawn(Arc::clone(&node).run());
        tokio::time::sleep(PAUSE).await;
        assert!(node.context.table.is_usable(clock.now()));
        (node, folder)
    }

    async fn invalidate(here: &Here) {
        let payload = Payload::Invalidation {
            name: "i".into(),
            distribution: "E".into(),
            matchers: vec![Matcher::Prefix("/".into())],
            severity: Severity::Hard,
        };
        let call = Call::Append { epoch: here.head().0, id: RecordId::random(), payload };
        here.call(call).await.unwrap();
    }

    // The life that is listed of the one member.
    async fn listed(here: &Here) -> Option<Incarnation> {
        match here.call(Call::Roster { id: RecordId::NONE, wait: 0 }).await {
            Ok(Reply::Roster(roster)) => {
                roster.members.values().next().map(|listed| listed.incarnation)
            }
            _ => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_member_takes_nothing_while_it_rests_and_all_of_it_afterwards() {
        let clock = Clock::starting_at(Timestamp::from_secs(1_000_000_000));
        let here = Here::in_memory("own", &clock);
        let (node, _folder) = member(&here, &clock).await;
        let applied = || node.tally.applied.load(Ordering::Relaxed);
        let before = applied();
        let rest = node.rest().await;
        invalidate(&here).await;
        tokio::time::sleep(PAUSE).await;
        assert_eq!(applied(), before);
        drop(rest);
        tokio::time::sleep(PAUSE).await;
        assert_eq!(applied(), before + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_member_that_is_frozen_takes_no_place_back_before_it_follows_again() {
        let clock = Clock::starting_at(Timestamp::from_secs(1_000_000_000));
        let here = Here::in_memory("own", &clock);
        let (node, _folder) = member(&here, &clock).await;
        let table = Arc::clone(&node.context.table);
        let own = listed(&here).await;
        let rest = node.rest().await;
        table.freeze();
        // The other one joins by this name.
        let name = node.context.id.name.clone();
        let other = MemberId { name, incarnation: Incarnation::random() };
        let (change, prefer) = (Change::Join, Prefer::Freshness);
        let payload = Payload::Member { change, member: other.clone(), prefer, program: None };
        let call = Call::Append { epoch: here.head().0, id: RecordId::random(), payload };
        here.call(call).await.unwrap();
        tokio::time::sleep(PAUSE).await;
        assert_eq!(listed(&here).await, Some(other.incarnation));
        assert!(!table.is_usable(clock.now()));
        // It is gone: this one is listed again, and has a lease.
        table.thaw();
        drop(rest);
        node.follow_again();
        tokio::time::sleep(PAUSE).await;
        assert_eq!(listed(&here).await, own);
        assert!(table.is_usable(clock.now()));
        // And if it stays, this one never is again.
        let rest = node.rest().await;
        node.retire(rest);
        invalidate(&here).await;
        tokio::time::sleep(PAUSE).await;
        assert!(!table.is_usable(clock.now()));
    }
}
