//! Where responses are kept.
//!
//! Two tiers: the memory, which answers, and behind it the disk, which remembers. Nothing here
//! decides what a response is worth.

#[cfg(test)]
mod contract;
pub mod disk;
pub mod eviction;
pub mod memory;

pub use disk::Disk;
pub use memory::Memory;
