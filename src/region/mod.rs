//! The regional tier: what is asked before an origin.
//!
//! Today: parents, which are other Foreshores. Redis and memcached will be further kinds behind the
//! same question (`Region::ask`) and the same right to be stepped over.

mod ask;
pub mod checked;
pub mod checks;
pub mod condition;
pub mod confirm;
pub mod forward;
pub mod health;
pub mod outliers;
pub mod parents;
pub mod receive;
pub mod spread;
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
    Family, HostRule, HttpOrigin, HttpVersion, Origin, OriginKind, Reach, Timeouts,
};
use crate::distribution::region::{Parents, Region as Configured, Weight};
use crate::distribution::site::Site;
use crate::fleet::node::Node as Member;
use crate::fleet::protocol::Stamp;
use crate::invalidation::chain::Mark;
use crate::invalidation::log::InvalidationLog;
use crate::message::failure::{Failure, FailureKind};
use crate::message::key::InvalidationNumber;
use crate::message::own_fields::{APPLIED, EDGE, EDGE_TOKEN, VIA};
use crate::message::response::{Reply, ReplyFrom};
use crate::message::tier::TierFacts;
use crate::origin::Upstream;
use crate::origin::itinerary::Itinerary;
use crate::origin::request::{FetchKind, Node, build};
use crate::semantics::fields::{FieldSection, Value};
use crate::trace::live::Trace;
use ask::Missed;
use checked::{CheckRecord, Checked};
use confirm::Standing;
use health::{Health, Turn};
use outliers::{Outcome, Record};
use parents::ParentCounts;
use spread::Spread;
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
    /// The trace of the request, where requests are traced.
    pub trace: Option<&'e Arc<Trace>>,
}

/// The tier of one running site.
pub struct Region {
    /// As many as are configured, in their order.
    parents: Vec<Parent>,
    configured: Parents,
}

/// A parent, and what is known of it whatever site is in force.
#[derive(Clone)]
struct Parent {
    name: String,
    weight: Weight,
    origin: Arc<Origin>,
    spread: Spread,
    health: Health,
    checks: CheckRecord,
    record: Record,
    counts: Arc<ParentCounts>,
}

impl Region {
    /// The tier that a site asks for, for the holder of a log, `node-id/incarnation`. What is known
    /// of parents that stay is kept.
    pub fn for_site(site: &Site, node: &str, before: Option<&Arc<Self>>) -> Option<Arc<Self>> {
        let Some(Configured::Parents(configured)) = &site.region else { return None };
        let silence = silence(site, configured.timeout);
        let parents = configured.all.iter().map(|at| {
            let name = at.url.to_string();
            let origin = Arc::new(as_origin(configured, &at.url, node, silence));
            let (weight, spread) = (at.weight, Spread::of(node, &name));
            match before.and_then(|region| region.parent(&name)) {
                Some(known) => Parent { name, weight, origin, spread, ..known.clone() },
                None => {
                    let (health, checks, record, counts) = Default::default();
                    Parent { name, weight, origin, spread, health, checks, record, counts }
                }
            }
        });
        Some(Arc::new(Self { parents: parents.collect(), configured: configured.clone() }))
    }

    /// Asks the parents of a plan, one after the other; `None` means that the origin is to be
    /// asked. So does an answer that is stale: it is for when the origin fails.
    pub async fn ask(
        &self,
        around: &AskContext<'_>,
        asked: &CacheRequest<'_>,
        asking: &FetchKind,
        plan: &Itinerary<'_>,
    ) -> Option<Reply> {
        // What a parent may have yet to hear is not known here any more.
        if around.invalidations.is_frozen() {
            return None;
        }
        let budget = self.configured.timeout;
        let until = Instant::now() + budget;
        let worth_asking = |at: usize| {
            let parent = self.parents.get(at)?;
            is_worth_asking(around, &parent.name, asked, asking).then_some(parent)
        };
        let request = |parent: &Parent| build(asked, asking, &parent.origin, around.node);
        let now = around.clock.now();
        for at in &plan.passed_over {
            let Some(parent) = worth_asking(*at) else { continue };
            if parent.health.turn(now) == Turn::Probe {
                parent.probe(around, request(parent));
            }
        }
        for at in plan.parents.iter().flatten() {
            let Some(parent) = worth_asking(*at) else { continue };
            match parent.health.turn(around.clock.now()) {
                Turn::Ask => {}
                Turn::Pause => continue,
                Turn::Probe => {
                    parent.probe(around, request(parent));
                    continue;
                }
            }
            match parent.ask(around, request(parent), budget, until).await {
                Ok((reply, shown)) => {
                    return self.take(parent, around, (asked, asking), reply, shown);
                }
                Err(Missed::Failed(failure)) => self.step_over(parent, around, &failure),
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

    // What is made of an answer; `None` if the origin is to be asked for another.
    fn take(
        &self,
        parent: &Parent,
        around: &AskContext<'_>,
        (asked, asking): (&CacheRequest<'_>, &FetchKind),
        mut reply: Reply,
        shown: Duration,
    ) -> Option<Reply> {
        if !is_new_enough(around, &parent.name, (asked, asking), &mut reply) {
            Counts::add(&around.counts.refused);
            tracing::info!(
                parent = parent.name,
                head = around.invalidations.head().0,
                "a parent has not applied our invalidations yet; the origin is asked"
            );
            return None;
        }
        let now = around.clock.now();
        if is_gateway_error(&reply) {
            self.note(parent, now, Outcome::Gateway);
            return None;
        }
        let is_late = parent.health.is_late(shown);
        self.note(parent, now, if is_late { Outcome::Late } else { Outcome::Good });
        let facts = TierFacts::take(&mut reply.fields);
        reply.from = ReplyFrom::Parent(Box::new((parent.name.clone(), facts)));
        watch::watch(&mut reply, parent, around, shown, self.configured.ejection.window);
        Some(reply)
    }

    fn step_over(&self, parent: &Parent, around: &AskContext<'_>, failure: &Failure) {
        Counts::add(&around.counts.failed);
        let now = around.clock.now();
        // Our own limit says nothing of it, and one that drains has said what to expect.
        if failure.kind != FailureKind::ConnectionLimit && parent.checks.is() != Checked::Draining {
            parent.health.failed(now);
            self.note(parent, now, Outcome::Failed);
        }
        tracing::warn!(
            parent = parent.name,
            kind = failure.kind.token(),
            detail = failure.detail,
            "a parent was stepped over"
        );
    }
}

// Its own failure to reach the origin is no answer.
fn is_gateway_error(reply: &Reply) -> bool {
    reply.status >= 500 && reply.fields.contains(&PROXY_STATUS)
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
        family: Family::Both,
        reach: Reach::Anywhere,
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
            complete: None,
            idle: Duration::from_secs(30),
        },
        attempts: 1,
        connections: 512,
        access: None,
        shield: None,
        bucket: None,
        clear: None,
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
    use crate::distribution::region::{Checks, Ejection, ParentUrl};
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
                more_names: Vec::new(),
            };
            let parents = Parents {
                all: Vec::new(),
                own: None,
                edge_id: "e1".into(),
                token: Secret::new("between-us".to_string()),
                tls,
                timeout: Duration::from_secs(1),
                checks: Checks::DEFAULT,
                ejection: Ejection::DEFAULT,
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
