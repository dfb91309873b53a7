//! What the API of CloudFront keeps: one document for each distribution, policy, key and the like,
//! in the API's own shape.
//!
//! Values and their rules are pure (`shelf`); `store` has the files.

pub mod function;
pub mod shelf;
pub mod store;
