//! What the edge says of itself to people: `/v1/status`.

use std::sync::atomic::Ordering;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::Control;
use super::answer::{Answer, error, ok};
use super::functions;
use super::issuing;
use super::tier_status::tier_status;
use super::values;
use crate::distribution::site::Site;
use crate::fleet::ticket_keys::SharedTickets;
use crate::region::Region;
use crate::region::parents::View;
use crate::region::standings::ParentState;
use crate::semantics::time::{Timestamp, format_rfc3339};

/// `GET /v1/status`.
pub async fn answer(control: &Control, query: Option<&str>) -> Answer {
    match most(query) {
        Some(most) => ok(StatusCode::OK, &control.status(most).await),
        None => error(StatusCode::BAD_REQUEST, "known: most=NUMBER"),
    }
}

// How much of each long list a caller wants: `most=NUMBER` of the query, or all of it. `None` where
// the query says something else.
fn most(query: Option<&str>) -> Option<usize> {
    match query {
        None | Some("") => Some(usize::MAX),
        Some(said) => said.strip_prefix("most=")?.parse().ok(),
    }
}

impl Control {
    /// The state of the edge as JSON, with so many at most of each list that is as long as the
    /// configuration: a page that asks every few seconds shows the first of ten thousand.
    pub async fn status(&self, most: usize) -> Value {
        // Before the site in force is looked at: the fleet's sequencer may take its time.
        let fleet = self.fleet_in_brief().await;
        let running = self.edge.running();
        let site = &running.site;
        let store = self.edge.store.stats();
        let now = self.edge.clock.now();
        let distributions: Vec<Value> = site
            .distributions
            .iter()
            .take(most)
            .map(|d| json!({ "id": d.id, "behaviors": d.behaviors.iter().map(|b| b.pattern.as_str()).collect::<Vec<_>>() }))
            .collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "node": self.edge.node,
            "started": format_rfc3339(self.started_at),
            "uptime_seconds": now.millis_since(self.started_at) / 1000,
            "draining": *self.draining.borrow(),
            "config": self.config.display().to_string(),
            "last_reload": *self.last_reload.lock(),
            "remarks": first(&site.remarks, most),
            "warnings": first(&site.warnings, most),
            "distributions": distributions,
            "certificates": certificates(site, most, now),
            "left": {
                "remarks": site.remarks.len().saturating_sub(most),
                "warnings": site.warnings.len().saturating_sub(most),
                "distributions": site.distributions.len().saturating_sub(most),
                "certificates": site.certificates.len().saturating_sub(most),
            },
            "acme": issuing::status(&self.edge.issuing.board),
            "store": { "bytes": store.bytes, "limit": store.limit, "objects": store.objects, "evictions": store.evictions },
            "disk": self.edge.disk().map(|disk| {
                let disk = disk.stats();
                json!({ "bytes": disk.bytes, "limit": disk.limit, "objects": disk.objects, "segments": disk.segments,
                        "waiting": disk.waiting, "loaded": disk.is_loaded, "writing": disk.is_writing })
            }),
            "invalidations": { "head": self.edge.invalidations.head().0, "entries": self.edge.invalidations.len() },
            "key_value_stores": values::all(self),
            "functions": functions::in_force(&running, &[]),
            "connections": self.gauges.connections.load(Ordering::Relaxed),
            // Bound, but never asked: mostly UDP that does not get here.
            "http3": {
                "listening": self.edge.speaks_quic.load(Ordering::Relaxed),
                "datagrams": self.gauges.quic.received.load(Ordering::Relaxed),
            },
            "fills": self.edge.fills_now(),
            "fleet": fleet,
            "tier": running.tier.as_deref().map(tier_status),
            "region": self.region_status(running.region.as_deref()),
            "log": {
                "tail": self.log.tail().to_string(),
                "incarnation": self.edge.incarnation().to_string(),
                // Another edge runs on a copy of this data folder.
                "contested": self.edge.standings.is_contested(),
            },
        })
    }

    // The fleet with its members, as `GET /v1/fleet` has them; parents and tier are told beside it.
    async fn fleet_in_brief(&self) -> Option<Value> {
        let ticket_keys = self.edge.fleet.get()?.tickets().map(SharedTickets::held);
        let fleet = self.fleet_status().await?;
        Some(json!({
            "name": fleet.fleet,
            "member": fleet.member,
            "epoch": fleet.epoch,
            "head": fleet.head,
            "applied": fleet.applied,
            "lag": fleet.lag,
            "lease_left_ms": fleet.lease_left_ms,
            "prefer": fleet.prefer,
            "outbox": fleet.outbox,
            "ticket_keys": ticket_keys,
            "sequencer": fleet.sequencer.at,
            "members": fleet.members,
        }))
    }

    // Each parent: how far it has applied our log, and what is thought of it. A parent that came
    // with a reload a moment ago may be known by one of the two alone, and in a fleet no parent is
    // told of our log.
    fn region_status(&self, region: Option<&Region>) -> Vec<Value> {
        let now = self.edge.clock.now();
        let states = self.edge.standings.states(self.log.tail().number);
        let views: Vec<View<'_>> = region.into_iter().flat_map(Region::views).collect();
        let whole = |state: &ParentState| {
            let mut value = serde_json::to_value(state).unwrap_or_default();
            let view = views.iter().find(|view| view.name == state.parent);
            if let (Some(view), Some(fields)) = (view, value.as_object_mut()) {
                fields.extend(view_status(view, now));
            }
            value
        };
        let known = states.iter().map(whole);
        let is_untold = |view: &&View<'_>| states.iter().all(|state| state.parent != view.name);
        let untold = views.iter().filter(is_untold).map(|view| {
            let mut fields = view_status(view, now);
            fields.insert("parent".into(), view.name.into());
            Value::Object(fields)
        });
        known.chain(untold).collect()
    }
}

fn first(lines: &[String], most: usize) -> &[String] {
    &lines[..lines.len().min(most)]
}

// Where some are left out, those are told that end first.
fn certificates(site: &Site, most: usize, now: Timestamp) -> Vec<Value> {
    let mut all: Vec<_> = site.certificates.iter().collect();
    if all.len() > most {
        all.sort_by_key(|certificate| certificate.not_after);
    }
    all.iter()
        .take(most)
        .map(|c| json!({ "file": c.source, "names": c.names, "expires": format_rfc3339(c.not_after), "days_left": c.not_after.millis_since(now) / 86_400_000 }))
        .collect()
}

// What is thought of a parent. `until` is a moment that may be over: then a request that would go
// to the parent tries it out.
fn view_status(view: &View<'_>, now: Timestamp) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("weight".into(), view.weight.0.into());
    fields.insert("condition".into(), view.condition.word().into());
    if let Some(why) = view.condition.why() {
        fields.insert("why".into(), why.into());
    }
    if let Some(until) = view.condition.until() {
        fields.insert("until".into(), format_rfc3339(until).into());
        fields.insert("is_tried".into(), (until <= now).into());
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_says_how_much_it_wants() {
        for (query, wanted) in [
            (None, Some(usize::MAX)),
            (Some(""), Some(usize::MAX)),
            (Some("most=200"), Some(200)),
            (Some("most=0"), Some(0)),
            (Some("most="), None),
            (Some("most=-1"), None),
            (Some("most=1&more"), None),
            (Some("least=1"), None),
        ] {
            assert_eq!(most(query), wanted, "{query:?}");
        }
    }
}
