//! The fleet: whose log of invalidations this edge follows, who gives its numbers, and by which
//! terms.

use std::time::Duration;

use super::reader::Table;
use super::scope::Scope;
use super::{compile_origin, compile_region, credentials};
use crate::base::secret::Secret;
use crate::distribution::fleet::{Fleet, Prefer, SequencerAt, SequencerParent, TicketSecrets};
use crate::distribution::origin::{OriginTls, Roots, TlsVersion};
use crate::distribution::region::{Parents, Region, TrustedEdge};
use crate::distribution::tier as shared;
use crate::fleet::protocol::{Name, Terms};
use crate::tls::wrapping;

const LEASE: Duration = Duration::from_secs(10);
/// Below that a renewal or two that are late end the lease; above it a dead member delays each
/// invalidation for too long.
const LEASE_BOUNDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// What a call waits by default beyond the moment when a silent member is fenced.
const BEYOND_FENCE: Duration = Duration::from_secs(3);
const WAIT_BOUNDS: (Duration, Duration) = (Duration::ZERO, Duration::from_secs(60));

/// What `[region]` came to.
#[derive(Clone, Copy)]
pub enum Tier<'r> {
    Absent,
    /// Its mistakes are reported already.
    Broken,
    Parents(&'r Parents),
}

impl<'r> Tier<'r> {
    /// `is_there` says whether the configuration has a `[region]` at all.
    pub const fn new(region: Option<&'r Region>, is_there: bool) -> Self {
        match region {
            Some(Region::Parents(parents)) => Self::Parents(parents),
            None if is_there => Self::Broken,
            None => Self::Absent,
        }
    }
}

#[derive(Clone, Copy)]
enum Seat {
    Here,
    Parent,
    Tier,
}

/// `[fleet]`: the fleet that this edge is a member of.
pub fn fleet(
    main: &mut Table<'_>,
    tier: Tier<'_>,
    edges: &[TrustedEdge],
    scope: &mut Scope<'_>,
) -> Option<Fleet> {
    let mut table = main.table("fleet")?;
    if !table.has("name") {
        table.missing("name", "name = \"shop\", the same for all members");
    }
    let name = table.parsed("name", plain);
    let member = member(&mut table, tier);
    let sequencer = sequencer(&mut table, tier, edges, scope);
    let preferences = [("freshness", Prefer::Freshness), ("availability", Prefer::Availability)];
    let prefer = table.word("prefer", &preferences).map_or(Prefer::Freshness, |found| found.value);
    let (lease, wait) = times(&mut table, scope);
    let tickets = ticket_secrets(&mut table, scope);
    if let (Some(member), Some(SequencerAt::Parent(parent))) = (&member, &sequencer) {
        check_name(&table, member, &parent.edge_id);
    }
    table.finish();
    let (name, member, sequencer) = (name?.value, member?, sequencer?);
    Some(Fleet { name, member, sequencer, prefer, lease, wait, tickets })
}

// The keys under which the members share the keys of their viewers' TLS tickets.
fn ticket_secrets(table: &mut Table<'_>, scope: &mut Scope<'_>) -> Option<TicketSecrets> {
    if table.has("ticket_key_before") && !table.has("ticket_key") {
        table.missing("ticket_key", "ticket_key = { file = \"secrets/tickets\" }");
    }
    let wraps = ticket_secret(table, "ticket_key", scope);
    let before = ticket_secret(table, "ticket_key_before", scope);
    Some(TicketSecrets { wraps: wraps?, before })
}

fn ticket_secret(
    table: &mut Table<'_>,
    key: &'static str,
    scope: &mut Scope<'_>,
) -> Option<Secret<Vec<u8>>> {
    let folder = scope.folder(table.source());
    let secret = table.table(key)?;
    let span = secret.span();
    let text = credentials::secret(secret, &folder, &mut scope.files)?;
    let read = wrapping::read_key(text.expose());
    let problem = |why: String| {
        table.problem(
            &span,
            format!("fleet.{key} cannot be used: {why}"),
            Some("make one for all members: openssl rand -base64 48".into()),
        );
    };
    read.map_err(problem).ok()
}

fn plain(text: &str) -> Result<String, String> {
    Name::try_from(text.to_string()).map(String::from).map_err(String::from)
}

fn member(table: &mut Table<'_>, tier: Tier<'_>) -> Option<String> {
    if table.has("member") {
        return table.parsed("member", plain).map(|found| found.value);
    }
    // Asked for all the same, so that it is among the keys that are known.
    let _ = table.string("member");
    match tier {
        Tier::Broken => None,
        Tier::Absent => {
            table.missing("member", "member = \"edge-1\", another one for each member");
            None
        }
        Tier::Parents(parents) => {
            let own = plain(&parents.edge_id);
            let problem = |why: String| {
                table.problem(
                    &table.span(),
                    format!(
                        "fleet.member is missing, and region.edge_id = {:?} cannot stand for it: {why}",
                        parents.edge_id
                    ),
                    Some("for example: member = \"edge-1\"".into()),
                );
            };
            own.map_err(problem).ok()
        }
    }
}

// A sequencer takes a member for the edge whose token it shows (`fleet::calls`).
fn check_name(table: &Table<'_>, member: &str, edge_id: &str) {
    if member != edge_id {
        table.problem(
            &table.span(),
            format!(
                "fleet.member = {member:?}, and to the parent that gives the numbers this edge is {edge_id:?}; they have to be the same"
            ),
            Some(format!("set member = {edge_id:?}, or another edge_id")),
        );
    }
}

fn sequencer(
    table: &mut Table<'_>,
    tier: Tier<'_>,
    edges: &[TrustedEdge],
    scope: &mut Scope<'_>,
) -> Option<SequencerAt> {
    if !table.has("sequencer") {
        table.missing("sequencer", "sequencer = \"parent\", and \"here\" on the parent itself");
    }
    let seat = table.parsed("sequencer", |word| match word {
        "here" => Ok(Seat::Here),
        "parent" => Ok(Seat::Parent),
        "tier" => Ok(Seat::Tier),
        _ => Err("known: \"here\", \"parent\", \"tier\"".into()),
    });
    match (seat.map(|found| found.value), table.table("parent")) {
        (Some(Seat::Here), own) => {
            asks_no_parent(own, "here");
            here(edges, scope);
            Some(SequencerAt::Here)
        }
        (Some(Seat::Tier), own) => {
            asks_no_parent(own, "tier");
            Some(SequencerAt::Tier)
        }
        (Some(Seat::Parent), Some(own)) => {
            parent(own, scope).map(Box::new).map(SequencerAt::Parent)
        }
        (Some(Seat::Parent), None) => {
            first_parent(table, tier).map(Box::new).map(SequencerAt::Parent)
        }
        (None, own) => {
            // Its mistakes are told along with the others.
            let _ = own.and_then(|own| parent(own, scope));
            None
        }
    }
}

fn asks_no_parent(own: Option<Table<'_>>, seat: &str) {
    if let Some(own) = own {
        own.problem(
            &own.span(),
            format!("fleet.parent is there, and fleet.sequencer = {seat:?} asks no parent"),
            Some("set sequencer = \"parent\", or take [fleet.parent] out".into()),
        );
    }
}

/// Whether the tier that is to give the numbers can.
pub fn check_tier(main: &Table<'_>, fleet: Option<&Fleet>, tier: Option<&shared::Tier>) {
    if !fleet.is_some_and(|fleet| matches!(fleet.sequencer, SequencerAt::Tier)) {
        return;
    }
    let is_redis = tier.is_some_and(|tier| matches!(tier.engine, shared::Engine::Redis(_)));
    // A tier that could not be read has been reported.
    if is_redis || (main.has("tier") && tier.is_none()) {
        return;
    }
    let head = main.span();
    main.problem(
        &(head.start..head.start),
        "fleet.sequencer = \"tier\" needs a [tier] of the kind \"redis\"",
        Some(
            "add one with urls; memcached cannot order records: there, use \"here\" and \"parent\""
                .into(),
        ),
    );
}

fn here(edges: &[TrustedEdge], scope: &mut Scope<'_>) {
    if edges.is_empty() {
        scope.warnings.push(
            "fleet.sequencer = \"here\" and there is no [[trusted_edge]]: no other edge can join this fleet. \
             Add one with id and token for each of them"
                .into(),
        );
    }
}

/// `[fleet.parent]`: for a member that asks no parent for content, or another one than gives the
/// numbers.
fn parent(mut table: Table<'_>, scope: &mut Scope<'_>) -> Option<SequencerParent> {
    let folder = scope.folder(table.source());
    for (key, example) in [
        ("admin", "admin = \"https://parent-1.internal:9080\""),
        ("edge_id", "edge_id = \"edge-1\""),
        ("token", "token = { file = \"secrets/fleet\" }"),
    ] {
        if !table.has(key) {
            table.missing(key, example);
        }
    }
    let admin = table.parsed("admin", compile_region::admin_url);
    let edge_id = table.string("edge_id");
    let token = table
        .table("token")
        .and_then(|secret| credentials::secret(secret, &folder, &mut scope.files));
    let roots =
        compile_origin::roots(&mut table, &folder, &mut scope.files).unwrap_or(Roots::System);
    let server_name = compile_origin::server_name(&mut table);
    table.finish();
    let tls = OriginTls {
        roots,
        server_name,
        identity: None,
        min: TlsVersion::V1_2,
        more_names: Vec::new(),
    };
    Some(SequencerParent { admin: admin?.value, edge_id: edge_id?.value, token: token?, tls })
}

fn first_parent(table: &Table<'_>, tier: Tier<'_>) -> Option<SequencerParent> {
    match tier {
        Tier::Parents(parents) => Some(SequencerParent {
            admin: parents.all.first()?.admin.clone(),
            edge_id: parents.edge_id.clone(),
            token: parents.token.clone(),
            tls: parents.tls.clone(),
        }),
        Tier::Broken => None,
        Tier::Absent => {
            table.problem(
                &table.span(),
                "fleet.sequencer = \"parent\" and no parent is named",
                Some(
                    "add [fleet.parent] with admin, edge_id and token, or [region] with a [[region.parent]]"
                        .into(),
                ),
            );
            None
        }
    }
}

// The lease, and how long a call waits.
fn times(table: &mut Table<'_>, scope: &mut Scope<'_>) -> (Duration, Duration) {
    let lease = within(table, "lease", LEASE_BOUNDS, "10s").unwrap_or(LEASE);
    let millis = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
    let fence = Duration::from_millis(Terms::of_lease(millis).fence);
    let usual = (fence + BEYOND_FENCE).min(WAIT_BOUNDS.1);
    let wait = within(table, "wait", WAIT_BOUNDS, "15s").unwrap_or(usual);
    // Zero is a choice of its own.
    if wait < fence && !wait.is_zero() {
        scope.warnings.push(format!(
            "fleet.wait ({wait:?}) is over before a member that died is known to be fenced ({fence:?}): meanwhile each invalidation is \
             answered with InProgress. Shorten fleet.lease, lengthen fleet.wait, or set wait = \"0s\" and ask later"
        ));
    }
    (lease, wait)
}

fn within(
    table: &mut Table<'_>,
    key: &'static str,
    (least, most): (Duration, Duration),
    example: &str,
) -> Option<Duration> {
    let found = table.duration(key)?;
    if (least..=most).contains(&found.value) {
        return Some(found.value);
    }
    table.problem(
        &found.span,
        format!("fleet.{key} lies outside {}s to {}s", least.as_secs(), most.as_secs()),
        Some(format!("for example: {key} = {example:?}")),
    );
    None
}
