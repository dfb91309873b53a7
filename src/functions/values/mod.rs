//! Key value stores: what functions read, and what files and the API write.
//!
//! A store is a snapshot that is swapped whole: a function sees one moment of it, however long it
//! runs. Its source is a file that is read anew when it changes, or the API, whose changes a journal
//! in the data folder keeps. In a fleet its log brings them (`travel`).

pub mod file;
pub mod journal;
pub mod snapshot;
pub mod store;
pub mod stores;
pub mod travel;
