//! Where responses are kept, and where invalidations are written down.
//!
//! The memory tier is all there is today; a disk tier will stand behind the same few verbs: `find`,
//! `reserve`, `insert`, `remove`. Nothing here decides what a response is worth.

pub mod eviction;
pub mod log;
pub mod memory;

pub use memory::Memory;
