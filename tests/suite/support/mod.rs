//! What tests stand on: a scripted origin, the real edge as a process, a viewer that sees every byte.

pub mod edge;
pub mod origin;
pub mod viewer;

pub use edge::Edge;
pub use origin::{Origin, Say};
pub use viewer::Viewer;

use std::time::{Duration, Instant};

/// Tries until it holds. Only for what the outside world does in its own time; never to make time pass.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(15);
    while !holds() {
        assert!(Instant::now() < until, "{what} did not come to hold");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}
