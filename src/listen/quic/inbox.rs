//! What reaches a core's driver from elsewhere: datagrams that came to another core, and word that
//! a connection has something to do.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use parking_lot::Mutex;
use quinn_proto::EcnCodepoint;

/// Datagrams that wait for a core, at most; QUIC sends again what is dropped.
const STRAYS: usize = 1024;

/// A datagram with what the kernel said of it.
pub struct Stray {
    pub peer: SocketAddr,
    pub local: Option<IpAddr>,
    pub ecn: Option<EcnCodepoint>,
    pub octets: Box<[u8]>,
}

/// The inbox of one core, at one address.
#[derive(Default)]
pub struct Inbox {
    strays: Mutex<VecDeque<Stray>>,
    told: Mutex<VecDeque<Arc<Told>>>,
    driver: Mutex<Option<Waker>>,
}

impl Inbox {
    /// Sets what wakes the driver.
    pub fn register(&self, waker: &Waker) {
        let mut slot = self.driver.lock();
        match &mut *slot {
            Some(known) if known.will_wake(waker) => {}
            slot => *slot = Some(waker.clone()),
        }
    }

    /// Leaves a datagram; false if too many wait.
    pub fn post(&self, stray: Stray) -> bool {
        let mut strays = self.strays.lock();
        if strays.len() >= STRAYS {
            return false;
        }
        strays.push_back(stray);
        drop(strays);
        self.wake();
        true
    }

    /// The next datagram that another core left here.
    pub fn stray(&self) -> Option<Stray> {
        self.strays.lock().pop_front()
    }

    /// The next connection that has something to do.
    pub fn told(&self) -> Option<usize> {
        let told = self.told.lock().pop_front()?;
        told.is_queued.store(false, Ordering::Release);
        Some(told.handle)
    }

    fn wake(&self) {
        let waker = self.driver.lock().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Tells a driver that a connection of its has something to do.
pub struct Told {
    handle: usize,
    is_queued: AtomicBool,
    inbox: Arc<Inbox>,
}

impl Told {
    /// The waker of a connection.
    pub fn waker(handle: usize, inbox: &Arc<Inbox>) -> Waker {
        let is_queued = AtomicBool::new(false);
        Waker::from(Arc::new(Self { handle, is_queued, inbox: Arc::clone(inbox) }))
    }
}

impl Wake for Told {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_queued.swap(true, Ordering::AcqRel) {
            self.inbox.told.lock().push_back(Arc::clone(self));
            self.inbox.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strays_are_bounded() {
        let inbox = Inbox::default();
        let stray = || Stray {
            peer: "127.0.0.1:9".parse().unwrap(),
            local: None,
            ecn: None,
            octets: Box::new([1, 2, 3]),
        };
        assert_eq!((0..2 * STRAYS).filter(|_| inbox.post(stray())).count(), STRAYS);
        assert!(inbox.stray().is_some() && inbox.post(stray()) && !inbox.post(stray()));
    }

    #[test]
    fn a_connection_is_told_of_once_until_it_is_looked_at() {
        let inbox = Arc::<Inbox>::default();
        let (one, two) = (Told::waker(1, &inbox), Told::waker(2, &inbox));
        one.wake_by_ref();
        two.wake_by_ref();
        one.wake_by_ref();
        assert_eq!([inbox.told(), inbox.told(), inbox.told()], [Some(1), Some(2), None]);
        one.wake();
        assert_eq!(inbox.told(), Some(1));
    }
}
