//! QUIC (RFC 9000) for viewers: sockets, connection ids, and what drives a core's connections.
//!
//! Each core has a socket of its own, one endpoint and one task; connections have none. All that
//! HTTP/3 says is in [`super::h3`].

mod cid;
mod door;
mod driver;
mod inbox;
mod keys;
mod moved;
mod socket;
mod timers;
mod wire;

pub use self::driver::Serving;
pub use self::keys::Keys;
pub use self::moved::Whereabouts;
pub use self::socket::{Bound, Socket};
