//! The far side: fetching from origins, over HTTPS whose certificate is really checked, or from a
//! directory.

pub mod addresses;
pub mod admin_line;
pub mod client;
pub mod connect;
pub mod connection;
pub mod counts;
pub mod directory;
pub mod document;
pub mod h2;
pub mod h2_body;
pub mod h2_driver;
pub mod h2_head;
pub mod h2_link;
pub mod h2_pool;
pub mod h2_pulse;
pub mod h2_wire;
pub mod idle;
pub mod itinerary;
pub mod lookups;
pub mod patience;
pub mod peer;
pub mod pool;
pub mod race;
pub mod rank;
pub mod request;
pub mod request_writer;
pub mod resolution;
pub mod response_head;
pub mod signed;
pub mod traced;
pub mod wire_body;

use std::pin::Pin;
use std::sync::Arc;

use crate::base::boxed::boxed;
use crate::distribution::origin::{Origin, OriginKind};
use crate::message::failure::Failure;
use crate::message::response::Reply;
use request::OriginRequest;

/// The one seam between serving and the world upstream. Tests script it.
pub trait Upstream: Send + Sync {
    /// Asks one origin once; retries on stale connections are its own affair.
    fn ask<'a>(
        &'a self,
        origin: &'a Arc<Origin>,
        request: OriginRequest,
    ) -> Pin<Box<dyn Future<Output = Result<Reply, Failure>> + Send + 'a>>;

    /// The real world, where this is it. What it answers is awaited in the future of whoever asks,
    /// which takes no memory of its own.
    fn live(&self) -> Option<&Live> {
        None
    }
}

/// The real world: pooled connections of one core, and directories.
pub struct Live {
    pub client: client::Client,
}

impl Upstream for Live {
    fn ask<'a>(
        &'a self,
        origin: &'a Arc<Origin>,
        request: OriginRequest,
    ) -> Pin<Box<dyn Future<Output = Result<Reply, Failure>> + Send + 'a>> {
        match &origin.kind {
            OriginKind::Http(http) => boxed(move || async move {
                let mut request = request;
                self.client.ask(origin, http, &mut request).await
            }),
            OriginKind::Directory(root) => {
                boxed(move || directory::fetch(root, request, self.client.clock()))
            }
        }
    }

    fn live(&self) -> Option<&Live> {
        Some(self)
    }
}
