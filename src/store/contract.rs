//! What every tier of the store promises, tried on each of them: all orders of a few steps, walked
//! whole.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::disk::tests::{LossyFiles, body, found_version, name, opened, stored};
use super::{Disk, Memory};
use crate::message::stored::Stored;

/// A tier, as the contract sees it.
trait Tier {
    fn put(&mut self, stored: &Arc<Stored>);
    fn forget(&mut self, stored: &Arc<Stored>);
    /// Does whatever was put off.
    fn settle(&mut self);
    /// Begins again on what was settled.
    fn restart(&mut self);
    fn find(&self, key: &[u8]) -> Vec<Arc<Stored>>;
}

struct InMemory(Memory);

impl Tier for InMemory {
    fn put(&mut self, stored: &Arc<Stored>) {
        let weight = stored.weight(stored.content.length().unwrap());
        stored.live.accounted.store(weight, Ordering::Relaxed);
        self.0.reserve(weight).unwrap();
        self.0.insert(stored);
    }
    fn forget(&mut self, stored: &Arc<Stored>) {
        self.0.remove(stored);
    }
    fn settle(&mut self) {}
    fn restart(&mut self) {}
    fn find(&self, key: &[u8]) -> Vec<Arc<Stored>> {
        self.0.find(key).to_vec()
    }
}

struct OnDisk {
    files: LossyFiles,
    key: Option<&'static str>,
    disk: Arc<Disk>,
}

impl OnDisk {
    fn new(key: Option<&'static str>) -> Self {
        let files = LossyFiles::new();
        Self { disk: opened(&files, 16 << 20, key, 0), files, key }
    }
}

impl Tier for OnDisk {
    fn put(&mut self, stored: &Arc<Stored>) {
        self.disk.offer(stored);
    }
    fn forget(&mut self, stored: &Arc<Stored>) {
        self.disk.forget(stored);
    }
    fn settle(&mut self) {
        self.disk.work_off();
        self.disk.sync().unwrap();
    }
    fn restart(&mut self) {
        self.settle();
        self.disk = opened(&self.files, 16 << 20, self.key, 0);
    }
    fn find(&self, key: &[u8]) -> Vec<Arc<Stored>> {
        self.disk.recall(key, None).to_vec()
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Put(u64),
    Forget(u64),
    Settle,
    Restart,
}

const STEPS: [Step; 6] =
    [Step::Put(0), Step::Put(1), Step::Forget(0), Step::Forget(1), Step::Settle, Step::Restart];
const LENGTH: u32 = 6;

// After every step: one response a key at most, whole, and never another than the newest; once
// settled, exactly that.
fn keeps_the_contract(begin: impl Fn() -> Box<dyn Tier>) {
    for which in 0..STEPS.len().pow(LENGTH) {
        let mut tier = begin();
        let mut newest: [Option<Arc<Stored>>; 2] = [None, None];
        let mut rest = which;
        let mut told = Vec::new();
        for n in 1..=u64::from(LENGTH) {
            let step = STEPS[rest % STEPS.len()];
            rest /= STEPS.len();
            told.push(step);
            match step {
                Step::Put(k) => {
                    let fresh = stored(k, n, 100 + n as usize);
                    tier.put(&fresh);
                    newest[k as usize] = Some(fresh);
                }
                Step::Forget(k) => {
                    if let Some(old) = newest[k as usize].take() {
                        tier.forget(&old);
                    }
                }
                Step::Settle => tier.settle(),
                Step::Restart => tier.restart(),
            }
            for settled in [false, true] {
                if settled && n == u64::from(LENGTH) {
                    tier.settle();
                }
                for k in 0..2 {
                    let all = tier.find(&name(k));
                    assert!(all.len() <= 1, "{told:?}: {} responses under one key", all.len());
                    let want = newest[k as usize].as_ref().map(|stored| stored.asked_at.0);
                    let here = all.first().map(|stored| found_version(stored));
                    assert!(
                        here.is_none() || here == want,
                        "{told:?}: {here:?} of key {k}, where {want:?} is the newest"
                    );
                    if let (Some(stored), Some(n)) = (all.first(), here) {
                        assert_eq!(
                            stored.content.whole().unwrap(),
                            body(k, n, 100 + n as usize),
                            "{told:?}"
                        );
                    }
                    if settled && n == u64::from(LENGTH) {
                        assert_eq!(here, want, "{told:?}, settled");
                    }
                }
            }
        }
    }
}

#[test]
fn the_memory_keeps_the_contract() {
    keeps_the_contract(|| Box::new(InMemory(Memory::new(1 << 20, 4))));
}

#[test]
fn the_disk_keeps_the_contract() {
    keeps_the_contract(|| Box::new(OnDisk::new(None)));
}

#[test]
fn the_disk_under_a_key_keeps_the_contract() {
    keeps_the_contract(|| Box::new(OnDisk::new(Some("secret"))));
}
