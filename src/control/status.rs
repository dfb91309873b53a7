//! What the edge says of itself to people: `/v1/status`.

use std::sync::atomic::Ordering;

use serde_json::{Map, Value, json};

use super::Control;
use super::functions;
use super::tier_status::tier_status;
use super::values;
use crate::fleet::ticket_keys::SharedTickets;
use crate::region::Region;
use crate::region::parents::View;
use crate::region::standings::ParentState;
use crate::semantics::time::{Timestamp, format_rfc3339};

impl Control {
    /// The state of the edge as JSON.
    pub fn status(&self) -> Value {
        let running = self.edge.running();
        let site = &running.site;
        let store = self.edge.store.stats();
        let now = self.edge.clock.now();
        let certificates: Vec<Value> = site
            .certificates
            .iter()
            .map(|c| json!({ "file": c.source, "names": c.names, "expires": format_rfc3339(c.not_after), "days_left": c.not_after.millis_since(now) / 86_400_000 }))
            .collect();
        let distributions: Vec<Value> = site
            .distributions
            .iter()
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
            "remarks": site.remarks,
            "warnings": site.warnings,
            "distributions": distributions,
            "certificates": certificates,
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
            "fleet": self.edge.fleet.get().map(|member| {
                let (lease_left_ms, outbox, applied) = member.gauges();
                json!({ "lease_left_ms": lease_left_ms, "outbox": outbox, "applied": applied,
                        "ticket_keys": member.tickets().map(SharedTickets::held),
                        "sequencer": self.started_with.fleet.as_ref().map(|fleet| fleet.sequencer.to_string()) })
            }),
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
