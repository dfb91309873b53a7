//! The regional tier: what is asked before an origin.
//!
//! Today: parents, which are other Foreshores. Redis and memcached will be further kinds behind the
//! same question (`Region::ask`) and the same right to be stepped over.

mod ask;
pub mod confirm;
pub mod forward;
pub mod health;
pub mod receive;
pub mod standings;
pub mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderName, HeaderValue, header};
use tokio::time::Instant;

use crate::base::secret::Secret;
use crate::cache::ask::CacheRequest;
use crate::cache::invalidations::{Invalidations, tag_hashes};
use crate::clock::Clock;
use crate::deliver::{CACHE_STATUS, PROXY_STATUS};
use crate::distribution::origin::{
    HostRule, HttpOrigin, HttpVersion, Origin, OriginKind, Timeouts,
};
use crate::distribution::region::{Parents, Region as Configured};
use crate::distribution::site::Site;
use crate::fleet::node::Node as Member;
use crate::fleet::protocol::Stamp;
use crate::invalidation::chain::Mark;
use crate::invalidation::log::InvalidationLog;
use crate::message::failure::FailureKind;
use crate::message::key::InvalidationNumber;
use crate::message::own_fields::{APPLIED, EDGE, EDGE_TOKEN, VIA};
use crate::message::response::{Reply, ReplyFrom};
use crate::message::tier::TierFacts;
use crate::origin::Upstream;
use crate::origin::request::{FetchKind, Node, build};
use crate::semantics::fields::{FieldSection, Value};
use ask::Missed;
use confirm::Standing;
use health::{Health, Turn};
use standings::Standings;

/// What is counted of parents, whatever site is in force.
#[derive(Default)]
pub struct Counts {
    /// Answers of a parent that were older than the edge's own log.
    pub refused: AtomicU64,
    /// Times that a parent was stepped over, or its body broke off or came too slowly.
    pub failed: AtomicU64,
}

impl Counts {
    fn add(count: &AtomicU64) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// What is known beside a request when parents are asked.
#[derive(Clone, Copy)]
pub struct AskContext<'e> {
    pub upstream: &'e Arc<dyn Upstream>,
    pub clock: &'e Clock,
    pub invalidations: &'e Invalidations,
    pub standings: &'e Standings,
    /// Without a log no parent's word about it can be checked.
    pub log: Option<&'e Arc<InvalidationLog>>,
    pub counts: &'e Arc<Counts>,
    /// In a fleet, parents and edges follow one log, and its places are what is compared.
    pub fleet: Option<&'e Member>,
    pub node: Node<'e>,
}

/// The tier of one running site.
pub struct Region {
    parents: Vec<Parent>,
    /// How long all parents together may take to give one request a head.
    budget: Duration,
}

#[derive(Clone)]
struct Parent {
    name: String,
    origin: Arc<Origin>,
    health: Health,
}

impl Region {
    /// The tier that a site asks for, for the holder of a log, `node-id/incarnation`. What is known
    /// of parents that stay is kept.
    pub fn for_site(site: &Site, node: &str, before: Option<&Arc<Self>>) -> Option<Arc<Self>> {
        let Some(Configured::Parents(configured)) = &site.region else { return None };
        let silence = silence(site, configured.timeout);
        let parents = configured
            .urls
            .iter()
            .map(|url| {
                let name = url.to_string();
                let known = before
                    .and_then(|region| region.parents.iter().find(|parent| parent.name == name));
                Parent {
                    origin: Arc::new(as_origin(configured, url, node, silence)),
                    health: known.map(|p| p.health.clone()).unwrap_or_default(),
                    name,
                }
            })
            .collect();
        Some(Arc::new(Self { parents, budget: configured.timeout }))
    }

    /// The names of the parents, in the order in which they are configured.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parents.iter().map(|parent| parent.name.as_str())
    }

    /// Asks the parents at the places in `order`, one after the other; `None` means that the origin
    /// is to be asked. So does an answer that is stale: it is for when the origin fails.
    pub async fn ask(
        &self,
        around: &AskContext<'_>,
        asked: &CacheRequest<'_>,
        asking: &FetchKind,
        order: &[usize],
    ) -> Option<Reply> {
        let until = Instant::now() + self.budget;
        for at in order {
            let Some(parent) = self.parents.get(*at) else { continue };
            if !is_worth_asking(around, &parent.name, asked, asking) {
                continue;
            }
            let request = || build(asked, asking, &parent.origin, around.node);
            match parent.health.turn(around.clock.now()) {
                Turn::Ask => {}
                Turn::Pause => continue,
                Turn::Probe => {
                    parent.probe(around, request());
                    continue;
                }
            }
            match parent.ask(around, request(), self.budget, until).await {
                Ok((mut reply, shown)) => {
                    if !is_new_enough(around, &parent.name, (asked, asking), &mut reply) {
                        Counts::add(&around.counts.refused);
                        tracing::info!(
                            parent = parent.name,
                            head = around.invalidations.head().0,
                            "a parent has not applied our invalidations yet; the origin is asked"
                        );
                        return None;
                    }
                    // Its own failure to reach the origin is no answer.
                    if reply.status >= 500 && reply.fields.contains(&PROXY_STATUS) {
                        return None;
                    }
                    reply.from =
                        ReplyFrom::Parent(parent.name.clone(), TierFacts::take(&mut reply.fields));
                    watch::watch(&mut reply, &parent.name, &parent.health, around, shown);
                    return Some(reply);
                }
                Err(Missed::Failed(failure)) => {
                    Counts::add(&around.counts.failed);
                    // Our own limit says nothing of it.
                    if failure.kind != FailureKind::ConnectionLimit {
                        parent.health.failed(around.clock.now());
                    }
                    tracing::warn!(
                        parent = parent.name,
                        kind = failure.kind.token(),
                        detail = failure.detail,
                        "a parent was stepped over"
                    );
                }
                Err(Missed::Waiting) => {
                    Counts::add(&around.counts.failed);
                    tracing::info!(
                        parent = parent.name,
                        "a parent waits for its origin for too long; it is stepped over, and not blamed"
                    );
                    return None;
                }
                Err(Missed::NoTime) => return None,
            }
        }
        None
    }
}

// A parent that has not confirmed our log, or has yet to hear what covers this, would be asked in
// vain.
fn is_worth_asking(
    around: &AskContext<'_>,
    parent: &str,
    asked: &CacheRequest<'_>,
    asking: &FetchKind,
) -> bool {
    if around.fleet.is_some() {
        return true;
    }
    let standings = around.standings;
    let is_covered_after =
        |since| around.invalidations.is_covered_after(asked.key, tags_of(asking), since);
    confirm::is_worth_asking(standings.of(parent), standings.is_contested(), is_covered_after)
}

// An answer that does not say how far our log was in effect comes from a parent that does not know
// us: it proves nothing. One that does is good for this key if nothing after that covers it.
fn is_new_enough(
    around: &AskContext<'_>,
    parent: &str,
    (asked, asking): (&CacheRequest<'_>, &FetchKind),
    reply: &mut Reply,
) -> bool {
    let applied = reply.fields.take(&APPLIED);
    let applied = applied.get(&APPLIED).and_then(|value| value.to_str().ok());
    let lines = reply.fields.get_all(&asked.routed.distribution.tag_header);
    let tags = tag_hashes(lines.map(Value::as_bytes));
    let covers =
        |tags: &[u64], since| around.invalidations.is_covered_after(asked.key, tags, since);
    // A 304 need not say what tags the stored response has.
    let is_covered_after =
        |since: InvalidationNumber| covers(&tags, since) || covers(tags_of(asking), since);
    if let Some(fleet) = around.fleet {
        let since = applied.and_then(Stamp::parse).and_then(|stamp| fleet.adopt(stamp));
        return since.is_some_and(|since| !is_covered_after(since));
    }
    let applied = applied.and_then(Mark::parse);
    // Where a parent far behind stands may be a record that is no longer remembered, but it was
    // known when the parent came there.
    let is_in_log = |mark| around.log.is_some_and(|log| log.has(mark));
    let knows = |mark| around.standings.of(parent) == Standing::At(mark) || is_in_log(mark);
    !around.standings.is_contested() && confirm::may_believe(applied, knows, is_covered_after)
}

fn tags_of(asking: &FetchKind) -> &[u64] {
    match asking {
        FetchKind::Revalidate(stored) => &stored.tags,
        FetchKind::Fill | FetchKind::Pass | FetchKind::Unkept => &[],
    }
}

// How long a parent's body may be silent between two pieces. The budget is for heads alone; a parent
// waits for the origin's next piece as long as we would, and is to be the first to give up, because
// it knows which of the two is silent.
fn silence(site: &Site, budget: Duration) -> Duration {
    let origins = site.distributions.iter().flat_map(|distribution| &distribution.origins);
    origins.map(|origin| origin.timeouts.response).max().unwrap_or_default() + budget
}

fn as_origin(
    configured: &Parents,
    url: &crate::distribution::region::ParentUrl,
    node: &str,
    silence: Duration,
) -> Origin {
    let secret = |text: &str| {
        Secret::new(HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("")))
    };
    // A parent is asked for its viewers' hosts, and proves its own name all the same.
    let mut tls = configured.tls.clone();
    tls.server_name.get_or_insert_with(|| url.host.clone());
    let http = HttpOrigin {
        host: url.host.clone(),
        port: url.port,
        tls: Some(tls),
        host_rule: HostRule::Viewer,
        version: HttpVersion::Http1,
    };
    Origin {
        id: url.to_string(),
        kind: OriginKind::Http(http),
        path: String::new(),
        headers: vec![
            (EDGE, secret(&format!("{}/{node}", configured.edge_id))),
            (EDGE_TOKEN, secret(configured.token.expose())),
        ],
        timeouts: Timeouts {
            connect: configured.timeout,
            response: silence,
            idle: Duration::from_secs(30),
        },
        attempts: 1,
        connections: 512,
        access: None,
    }
}

/// Names this node in an answer to an edge. Both tiers would say the same of themselves otherwise,
/// and a member of these fields is to identify a cache or proxy (RFC 9211 §2, RFC 9209 §2, RFC 9110
/// §7.6.3). A node without a parent or an edge is the only tier, and keeps the plain name.
pub fn name_node(node: &str, fields: &mut FieldSection) {
    for name in [CACHE_STATUS, PROXY_STATUS] {
        rename_last(fields, &name, |line| {
            let rest = line
                .strip_prefix("Foreshore")
                .filter(|rest| rest.is_empty() || rest.starts_with(';'))?;
            Some(["Foreshore-", node, rest].concat())
        });
    }
    rename_last(fields, &header::VIA, |line| (line == VIA).then(|| [VIA, "-", node].concat()));
}

// Ours is the last: those before it come from further upstream.
fn rename_last(
    fields: &mut FieldSection,
    name: &HeaderName,
    renamed: impl Fn(&str) -> Option<String>,
) {
    let mut lines = fields.take(name);
    let mut values: Vec<&[u8]> = lines.get_all(name).map(Value::as_bytes).collect();
    let ours = values.last().and_then(|last| std::str::from_utf8(last).ok()).and_then(renamed);
    if let (Some(last), Some(ours)) = (values.last_mut(), &ours) {
        *last = ours.as_bytes();
    }
    values.iter().for_each(|value| {
        fields.append(name, *value);
    });
    lines.clear();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distribution::origin::{OriginTls, Roots, TlsVersion};
    use crate::distribution::region::ParentUrl;
    use crate::origin::peer;

    #[test]
    fn a_parent_proves_its_own_name_whatever_host_it_is_asked_for() {
        for (server_name, want) in
            [(None, "parent.test"), (Some("tier.test".to_string()), "tier.test")]
        {
            let tls = OriginTls {
                roots: Roots::System,
                server_name,
                identity: None,
                min: TlsVersion::V1_2,
            };
            let parents = Parents {
                urls: Vec::new(),
                admins: Vec::new(),
                edge_id: "e1".into(),
                token: Secret::new("between-us".to_string()),
                tls,
                timeout: Duration::from_secs(1),
            };
            let url = ParentUrl { host: "parent.test".into(), port: 443 };
            let origin = as_origin(&parents, &url, "node", Duration::from_secs(30));
            let OriginKind::Http(parent) = &origin.kind else {
                panic!("a parent is asked over HTTP")
            };
            let sent = FieldSection::from_iter([(&http::header::HOST, "www.example.com")]);
            assert_eq!((&*peer::name(parent, &sent), peer::own(parent)), (want, None));
        }
    }

    #[test]
    fn rfc9211_2_a_parent_is_told_from_its_edge() {
        let mut fields = FieldSection::new();
        for (name, value) in [
            ("cache-status", "Other; hit"),
            ("cache-status", "Foreshore; fwd=uri-miss; stored"),
            ("via", "1.1 foreshore"),
            ("via", "1.1 foreshore"),
            ("proxy-status", "Foreshore; error=dns_error"),
        ] {
            fields.append(name, value);
        }
        name_node("0a1b", &mut fields);
        let of = |name: &str| {
            fields.get_all(name).map(|line| line.to_str().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(of("cache-status"), ["Other; hit", "Foreshore-0a1b; fwd=uri-miss; stored"]);
        assert_eq!(of("via"), ["1.1 foreshore", "1.1 foreshore-0a1b"], "only the last is ours");
        assert_eq!(of("proxy-status"), ["Foreshore-0a1b; error=dns_error"]);
        let mut others = FieldSection::new();
        others.insert("cache-status", "Foreshores; hit");
        others.insert("via", "1.1 somebody");
        let before = others.clone();
        name_node("0a1b", &mut others);
        assert_eq!(others, before);
    }
}
