//! The locks and counters that store and bodies stand on, by one name each: `tests/interleavings`
//! puts others in their place, which try out in what order threads may come.

pub use std::sync::OnceLock;
pub use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub use parking_lot::{Condvar, Mutex, RwLock};
