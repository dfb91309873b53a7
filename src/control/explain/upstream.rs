//! Who is asked for what is not stored, in which order, and by which request.

use std::sync::Arc;

use super::Running;
use crate::cache::ask::CacheRequest;
use crate::distribution::functions::Attached;
use crate::distribution::origin::{Origin, OriginKind};
use crate::distribution::region::Region;
use crate::distribution::site::Site;
use crate::distribution::tier::Engine;
use crate::message::connection::Forwarder;
use crate::origin::itinerary::{Failover, NoParent, NoTier, SharedTier, itinerary};
use crate::origin::peer;
use crate::origin::rank::{Candidate, Takes};
use crate::origin::request::{FetchKind, Node, OriginRequest, build};
use crate::origin::signed;
use crate::proxy::rehearsal::AtOrigin;
use crate::semantics::fields::FieldSection;
use crate::semantics::time::Timestamp;

// The hops in their order, by the function that serving goes by.
pub(super) fn hops(site: &Site, asked: &CacheRequest<'_>, asking: &FetchKind) -> String {
    let all = match &site.region {
        Some(Region::Parents(parents)) => &parents.all[..],
        None => &[],
    };
    let shared = site.tier.as_ref().map_or(SharedTier::Absent, |_| SharedTier::Configured);
    let names: Vec<String> = all.iter().map(|parent| parent.url.to_string()).collect();
    let candidates = names.iter().zip(all).map(|(name, parent)| Candidate {
        name,
        weight: parent.weight,
        takes: Takes::Keys,
    });
    let plan = itinerary(asked, asking, shared, candidates);
    let tier = plan.tier.is_ok().then(|| tier_words(site)).into_iter();
    let parents = plan.parents.iter().flatten().map(|at| format!("parent {:?}", names[*at]));
    let known = &asked.routed.distribution.origins;
    let origins =
        plan.asked_members().iter().map(|at| origin_words(asked.head().scheme.origin(&known[*at])));
    let mut words = tier.chain(parents).chain(origins).collect::<Vec<_>>().join(", then ");
    match plan.failover {
        Failover::On(statuses) => {
            let statuses: Vec<String> = statuses.iter().map(ToString::to_string).collect();
            words.push_str(&format!(
                "; the next on {} or when it cannot be reached",
                statuses.join(" ")
            ));
        }
        Failover::NotRepeatable => {
            words.push_str(&format!("; no other origin: {} is asked once", asked.head().method))
        }
        Failover::OneMember => {}
    }
    match plan.parents {
        Ok(_) | Err(NoParent::NoneConfigured) => {}
        Err(why) => words.push_str(&format!("; no parent: {}", why.words())),
    }
    match plan.tier {
        Ok(()) | Err(NoTier::NoneConfigured) => {}
        Err(why) => words.push_str(&format!("; not the shared tier: {}", why.words())),
    }
    words
}

// What an answer of this status leads to where it is not the last origin's, by the function that
// serving goes by.
pub(super) fn moves_on(asked: &CacheRequest<'_>, status: u16) -> Option<String> {
    let is_next_asked = Failover::of_target(asked).moves_on(Ok(status));
    is_next_asked.then(|| format!("{status}  has the next origin asked; of the last one's:"))
}

// The request that the first origin would see.
pub(super) fn request_lines(
    asked: &CacheRequest<'_>,
    asking: &FetchKind,
    now: Timestamp,
    running: Option<&Running<'_>>,
    line: &mut impl FnMut(&str, String),
) {
    let routed = asked.routed;
    let (members, _) = routed.distribution.members(routed.behavior.target);
    let Some(first) = members.first() else { return };
    let first = routed.head.scheme.origin(&routed.distribution.origins[*first]);
    let built = build(
        asked,
        asking,
        first,
        Node { id: "NODE", keeps_forwarded_for: routed.forwarder() == Forwarder::Trusted },
    );
    let hooks = routed.behavior.hooks.as_deref();
    let is_run = running.filter(|_| {
        hooks.is_some_and(|hooks| matches!(hooks.origin_request, Some(Attached::Lambda { .. })))
    });
    let Some((origin, mut built)) = at_origin(first, built, is_run, line) else { return };
    let origin = &*origin;
    if let Some(access) = &origin.access {
        signed::sign(&mut built, access, now);
    }
    line("request", format!("{} {}", built.method, built.target));
    for (name, value) in built.fields.iter().filter(|(_, value)| !value.is_secret()) {
        line(
            "",
            format!(
                "{}: {}",
                name.spelled().to_ascii_lowercase(),
                String::from_utf8_lossy(value.as_bytes())
            ),
        );
    }
    if let Some(words) = proof(origin, &built.fields) {
        line("tls", words);
    }
    if let Some(access) = &origin.access {
        line("", format!("authorization: signed for {} in {}", access.service, access.region));
    }
}

// Where a request goes and what it is, once the lambda that stands there was run, if it is; `None`
// if it goes nowhere.
fn at_origin(
    first: &Arc<Origin>,
    built: OriginRequest,
    running: Option<&Running<'_>>,
    line: &mut impl FnMut(&str, String),
) -> Option<(Arc<Origin>, OriginRequest)> {
    let Some(running) = running else { return Some((Arc::clone(first), built)) };
    match running.origin_request(first, built)? {
        AtOrigin::Request { origin, request } => {
            let to = origin_words(&origin);
            line("code", format!("origin-request  goes on as {} to {to}", request.target));
            Some((origin, *request))
        }
        AtOrigin::Answer { status, why } => {
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            line("code", format!("origin-request  answers {status}{why}; no origin is asked"));
            None
        }
    }
}

// Which name the origin's certificate has to be for, over TLS.
fn proof(origin: &Origin, fields: &FieldSection) -> Option<String> {
    let OriginKind::Http(http) = &origin.kind else { return None };
    http.tls.as_ref()?;
    let name = peer::name(http, fields);
    let sni = if name.parse::<std::net::IpAddr>().is_ok() {
        "no SNI for an address".to_string()
    } else {
        format!("SNI {name}")
    };
    Some(match peer::own(http).filter(|own| *own != name) {
        Some(own) => format!("{sni}; a certificate for {name} or for {own}"),
        None => format!("{sni}; a certificate for {name}"),
    })
}

fn tier_words(site: &Site) -> String {
    let engine = site.tier.as_ref().map(|tier| &tier.engine);
    match engine {
        Some(Engine::Memcached(_)) => "the shared tier (memcached)".into(),
        Some(Engine::Redis(_)) | None => "the shared tier (Redis)".into(),
    }
}

fn origin_words(origin: &Origin) -> String {
    match &origin.kind {
        OriginKind::Http(http) => {
            let scheme = if http.tls.is_some() { "https" } else { "http" };
            format!(
                "origin {:?} ({scheme}://{}:{}{})",
                origin.id, http.host, http.port, origin.path
            )
        }
        OriginKind::Directory(root) => {
            format!("origin {:?} (folder {})", origin.id, root.display())
        }
    }
}
