#![doc = include_str!("ARCHITECTURE.md")]
// A request is one future down to its origin's connection, which the compiler looks through.
#![recursion_limit = "256"]

// The rooms, in the order in which a request visits them.
pub mod listen;

pub mod access;

pub mod cache;

pub mod proxy;

pub mod invalidation;
pub mod store;

pub mod fleet;

pub mod region;

pub mod tier;

pub mod origin;

pub mod acme;

pub mod deliver;

pub mod functions;

pub mod lambda;

pub mod record;
pub mod trace;

// What they stand on.
pub mod base;
pub mod body;
pub mod clock;
pub mod crypto;
pub mod distribution;
pub mod documents;
pub mod message;
pub mod semantics;
pub mod sync;
pub mod tls;

// The operator's side.
pub mod cli;
pub mod cloudfront;
pub mod config;
pub mod control;
pub mod supervisor;
