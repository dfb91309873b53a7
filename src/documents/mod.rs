//! What the API of CloudFront keeps: one document for each distribution, policy, key and the like,
//! in the API's own shape.
//!
//! Values and their rules are pure (`shelf`), and so is how the edges of a fleet tell each other of
//! them (`travel`); `store` has the files.

pub mod adopted;
pub mod function;
pub mod shelf;
pub mod store;
pub mod travel;
