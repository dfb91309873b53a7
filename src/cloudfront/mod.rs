//! CloudFront's own description of a distribution, read into a configuration of ours and written
//! from one.
//!
//! Pure: JSON goes in, text and a report come out, and the other way round. Whatever cannot be
//! carried over is reported, item by item: values that were never read are looked for at the end.

pub mod defaults;
pub mod deployment;
mod documents;
pub mod export;
mod export_policies;
pub mod formation;
mod formation_values;
mod forms;
pub mod import;
mod import_behaviors;
mod import_forms;
mod import_origins;
mod import_policies;
mod import_whole;
pub mod live;
pub mod model;
mod node;
pub mod realtime;
mod repair;
pub mod report;
pub mod seal;
pub mod shape;
pub mod strict;
pub mod terraform;
mod terraform_names;
mod terraform_references;
pub mod trust;
mod yaml;
