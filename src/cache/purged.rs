//! What the method PURGE makes old: the URL it names, or everything below a path that ends in `*`.

use super::invalidations::{Matcher, Severity, canonical};
use crate::access::Routed;
use crate::distribution::site::{Distribution, Site};
use crate::message::forwarding;

/// What a PURGE asks for.
pub struct Purged<'r> {
    /// The distribution that is invalidated: of a continuous deployment the primary, which takes in
    /// both sides.
    pub distribution: &'r Distribution,
    pub matcher: Matcher,
    pub severity: Severity,
}

/// Reads a PURGE that may purge.
pub fn purged<'r>(site: &'r Site, routed: &Routed<'r>) -> Purged<'r> {
    let head = routed.head;
    let matcher = match head.path.strip_suffix('*') {
        Some(prefix) if !prefix.contains('*') => {
            Matcher::Prefix(canonical(prefix.as_bytes()).into_owned())
        }
        _ => {
            let mut url = Vec::new();
            forwarding::write_keyed_url(&mut url, routed.behavior, routed.path, head.query);
            Matcher::Path(canonical(&url).into_owned())
        }
    };
    // As other proxies have it: kept, but asked about before it is used again.
    let is_soft = head
        .fields
        .get_all("soft-purge")
        .chain(head.fields.get_all("fastly-soft-purge"))
        .any(|line| line == b"1");
    let severity = if is_soft { Severity::Soft } else { Severity::Hard };
    let owner =
        site.hosts.find(head.host).map_or(routed.distribution, |at| &site.distributions[at]);
    Purged { distribution: owner, matcher, severity }
}
