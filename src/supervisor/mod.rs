//! The process among others: what a service manager hands over and is told, and which rights are
//! given up once the sockets are bound, and how it hands its place over to a new one.

pub mod handover;
pub mod notify;
pub mod passing;
pub mod privileges;
pub mod pulse;
pub mod succession;
