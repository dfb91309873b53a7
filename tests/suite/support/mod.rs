//! What tests stand on: a scripted origin, the real edge as a process, a viewer that sees every
//! byte.

#[cfg(feature = "acme")]
pub mod ca;
#[cfg(feature = "acme")]
mod ca_looks;
#[cfg(feature = "acme")]
mod ca_wire;
pub mod code;
pub mod edge;
pub mod fleet;
pub mod frames;
pub mod mmdb;
pub mod origin;
#[cfg(feature = "http3")]
pub mod quic;
pub mod sample;
pub mod tool;
pub mod tour;
pub mod viewer;

#[cfg(feature = "acme")]
pub use ca::Ca;
#[cfg(feature = "acme")]
pub use ca_looks::{Looks, shown};
#[cfg(feature = "acme")]
pub use ca_wire::Wrong;
pub use edge::Edge;
pub use origin::{Origin, Say};
pub use viewer::Viewer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use foreshore::message::stored::{Life, Stored};
use foreshore::semantics::fields::FieldSection;
use foreshore::semantics::time::Timestamp;

/// A port that no process listens on and that the system gives to no outgoing connection: below its
/// range for those.
pub fn free_port() -> u16 {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    loop {
        let step = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        // Redis listens ten thousand above, too, and no connection is given a port as low as that.
        let port = 18_000 + ((std::process::id() * 37 + step) % 4_600) as u16;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Tries until it holds. Only for what the outside world does in its own time; never to make time
/// pass. Shorter than the minute after which much is tried once more.
pub fn eventually(what: &str, holds: impl FnMut() -> bool) {
    eventually_within(Duration::from_secs(30), what, holds);
}

/// The same for what takes long where the machine is busy.
pub fn eventually_within(limit: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + limit;
    while !holds() {
        assert!(Instant::now() < until, "{what} did not come to hold");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Dice that fall the same way for the same seed.
pub struct Dice(u64);

impl Dice {
    /// One of many seeds for one of many who throw. Never zero: nothing would ever follow it.
    pub fn new(seed: u64, who: u64) -> Self {
        Self(
            (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ who.wrapping_mul(0xbf58_476d_1ce4_e5b9))
                | 1,
        )
    }

    /// A number below `sides` (xorshift64*: small, good enough to shake with).
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }
}

/// A response as it lies in the store, fresh for an hour.
pub fn stored(
    key: &[u8],
    fields: &[(&'static str, &'static str)],
    body: &[u8],
    born: Timestamp,
) -> Arc<Stored> {
    let mut map = FieldSection::new();
    for (name, value) in fields {
        map.append(*name, *value);
    }
    let life = Life { fresh: 3_600_000, ..Stored::example().life };
    let stored = Stored::example()
        .with_key(key)
        .with_fields(&map)
        .with_birth(born)
        .with_life(life)
        .with_content(body);
    stored
        .live
        .accounted
        .store(stored.weight(body.len() as u64), std::sync::atomic::Ordering::Relaxed);
    Arc::new(stored)
}
