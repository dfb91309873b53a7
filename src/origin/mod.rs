//! The far side: fetching from origins, over HTTPS whose certificate is really checked, or from a
//! directory.

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
pub mod peer;
pub mod pool;
pub mod rank;
pub mod request;
pub mod request_writer;
pub mod response_head;
pub mod signed;
pub mod wire_body;

use std::pin::Pin;
use std::sync::Arc;

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
        Box::pin(async move {
            match &origin.kind {
                OriginKind::Http(http) => self.client.ask(origin, http, request).await,
                OriginKind::Directory(root) => {
                    directory::fetch(root, request, self.client.clock()).await
                }
            }
        })
    }
}
