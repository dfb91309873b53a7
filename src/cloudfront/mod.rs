//! CloudFront's own description of a distribution, read into a configuration of ours and written
//! from one.
//!
//! Pure: JSON goes in, text and a report come out, and the other way round. Whatever cannot be
//! carried over is reported, item by item: values that were never read are looked for at the end.

pub mod defaults;
mod documents;
pub mod export;
mod export_policies;
pub mod formation;
mod formation_values;
pub mod import;
mod import_behaviors;
mod import_origins;
mod import_policies;
pub mod live;
pub mod model;
mod node;
mod repair;
pub mod report;
pub mod seal;
pub mod shape;
pub mod strict;
pub mod terraform;
mod terraform_names;
mod terraform_references;
mod yaml;
