//! What the operator said, once it is known to make sense.
//!
//! Values only: validated, immutable, without a clock, a file or a socket behind them. `config`
//! makes them, all other rooms read them.

pub mod acme;
pub mod aws_hosts;
pub mod behavior;
pub mod cache_policy;
pub mod certificate;
pub mod compat;
pub mod events;
pub mod field_encryption;
pub mod fleet;
pub mod functions;
pub mod geo;
pub mod host;
pub mod identity;
pub mod limits;
pub mod logs;
pub mod names;
pub mod origin;
pub mod origin_names;
pub mod pattern;
pub mod process;
pub mod rate_limit;
pub mod region;
pub mod response_policy;
pub mod site;
pub mod staging;
pub mod stores;
pub mod tier;
pub mod traces;
pub mod viewer_tls;
