//! Pure: a request made ready for routing, its path in one spelling, without what Connection lists,
//! and known for an edge's if it is one.
//!
//! Serving and `explain` both begin with it, so that they see the same request.

use std::sync::Arc;

use crate::distribution::site::Site;
use crate::message::connection::{Asker, Connection};
use crate::message::own_fields::{EDGE, EDGE_TOKEN};
use crate::message::request::{RequestHead, ViewerRequest};
use crate::semantics::hop_by_hop;

/// Makes a request ready for [`route`](super::route). Gives back what an edge that proves itself
/// claims to be, `edge-id/node-id/incarnation`; `None` for a viewer.
pub fn prepare(request: &mut ViewerRequest, site: &Site) -> Option<String> {
    request.spell_plainly();
    // A field that dies here must not be in the key either: it would choose an answer it had no
    // part in.
    let lines = request.fields.len();
    hop_by_hop::strip_listed(&mut request.fields);
    if request.fields.len() != lines {
        request.fields_changed();
    }
    if !request.fields.contains(&EDGE) {
        return None;
    }
    let claim = trusted_edge(site, &request.head())?;
    let connection = Connection { asker: Asker::Edge, ..Connection::clone(&request.connection) };
    request.connection = Arc::new(connection);
    Some(claim)
}

// Whether a request comes from an edge that this node trusts, and which log its numbers are of.
fn trusted_edge(site: &Site, head: &RequestHead<'_>) -> Option<String> {
    let claimed = std::str::from_utf8(head.fields.get_all(EDGE.as_str()).next()?).ok()?;
    let token = head.fields.get_all(EDGE_TOKEN.as_str()).next()?;
    let id = claimed.split_once('/')?.0;
    let edge = site.trusted_edges.iter().find(|edge| edge.id == id)?;
    aws_lc_rs::constant_time::verify_slices_are_equal(token, edge.token.expose().as_bytes())
        .ok()?;
    let names = head.connection.tls.as_ref().and_then(|tls| tls.client.as_deref());
    edge.may_have(names).then(|| claimed.to_string())
}
