//! The order in which a configuration is resolved: settings of the process, certificates, policies,
//! distributions. Each step reports what it cannot use and goes on.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use super::compile_distribution::Made;
use super::compile_main::Main;
use super::managed::Told;
use super::read_files::ReadFiles;
use super::reader::{Collector, Found, Table};
use super::scope::Scope;
use super::units::{self, Own, Part, Unit};
use super::{
    MissingCertificates, Text, compile_acme, compile_documents, compile_forms, compile_functions,
    compile_identities, compile_keys, compile_lambdas, compile_main, compile_rest_apis,
    compile_stores, compile_tls, compile_viewer_tls, warnings,
};
use crate::distribution::certificate::Certificate;
use crate::distribution::host::HostTable;
use crate::distribution::origin::{HostRule, Origin, OriginKind, OriginTls, Reach};
use crate::distribution::origin_names::OriginNames;
use crate::distribution::site::{ApiCertificates, Distribution, Listen, Observes, RestApi, Site};
use crate::distribution::staging::{Chosen, Staging};
use crate::documents::adopted;
use crate::semantics::time::Timestamp;

/// Compiles all files together, and what was made of documents behind them. `None` only if there is
/// nothing to compile, or a mistake was reported. With it comes what the next compilation may use
/// again.
pub fn compile(
    mut roots: Vec<Table<'_>>,
    texts: &[Text],
    told: Told,
    collector: &Collector,
    now: Timestamp,
    making: MissingCertificates,
    read: &mut ReadFiles,
) -> Option<(Site, units::Found)> {
    let Told { of_files, aside, remarks, functions, parts } = told;
    let files = texts.iter().take(of_files).map(|(path, _)| path.clone()).collect();
    let scope = Scope::new(texts, now, making, read);
    let mut scope = Scope { files, remarks, warnings: aside, ..scope };
    // The tier's settings, too, may name one.
    for root in &mut roots {
        compile_identities::read(root, &mut scope);
    }
    let main = compile_main::read(roots.first_mut()?, &mut scope);
    let mut certificates = certificates(&mut roots, &main, &mut scope);
    let own = compile_documents::policies(&mut roots, &parts, &mut scope);
    read_named(&mut roots, &mut scope);
    compile_functions::published(functions, &mut scope);
    let outside = scope.files.clone();
    let (mut distributions, units) =
        distributions(&mut roots, (parts, own), (of_files, &main), &mut scope);
    let behaviors: usize = distributions.iter().map(|made| made.distribution.behaviors.len()).sum();
    warn(&distributions, &main, &mut scope);
    if main.api.as_ref().is_some_and(|api| api.certificates == ApiCertificates::Made) {
        let managed = distributions.iter().filter(|made| made.source >= of_files);
        let ids = managed.map(|made| made.distribution.id.as_str());
        certificates.extend(compile_tls::made(ids, &main.data, &mut scope));
    }
    link_staging(collector, &mut distributions, &main.data);
    let hosts = hosts(collector, &distributions);
    let ordered = warnings::ordered(&scope.acme, &main.listen, &hosts, main.fleet.is_some());
    scope.warnings.extend(ordered);
    if main.api.is_none() {
        check_any(&roots, &distributions);
    }
    let ids: Vec<&str> = distributions.iter().map(|made| made.distribution.id.as_str()).collect();
    let rest_apis = compile_rest_apis::read(&mut roots[0], &ids, main.api.as_ref());
    check_certificates(&roots, &main.listen, &certificates);
    roots.into_iter().for_each(Table::finish);
    if !collector.report.borrow().problems.is_empty() {
        return None;
    }
    let rest = Rest { certificates, distributions, hosts, behaviors, rest_apis };
    Some((site(main, scope, rest), units::Found { units, outside }))
}

// What a main file has with others.
struct Rest {
    certificates: Vec<Certificate>,
    distributions: Vec<Made>,
    hosts: HostTable,
    behaviors: usize,
    rest_apis: Vec<RestApi>,
}

fn site(main: Main, scope: Scope<'_>, rest: Rest) -> Site {
    Site {
        listen: main.listen,
        admin: main.admin,
        data: main.data,
        store: main.store,
        certificates: rest.certificates.into_iter().map(Arc::new).collect(),
        acme: scope.acme.into_iter().map(Arc::new).collect(),
        tls_policy: main.tls_policy,
        region: main.region,
        tier: main.tier,
        trusted_edges: main.trusted_edges,
        fleet: main.fleet,
        s3_events: main.s3_events,
        limits: main.limits,
        log: main.log,
        more_logs: main.more_logs,
        trust_stores: counted(scope.trust_stores),
        traces: main.traces,
        observes: observes(&rest.distributions),
        distributions: rest.distributions.into_iter().map(|made| made.distribution).collect(),
        hosts: rest.hosts,
        pop: scope.pop,
        geo: main.geo,
        function_settings: main.function_settings,
        functions: scope.code.functions,
        lambdas: scope.code.lambdas,
        stores: scope.code.stores,
        origin_names: main.origin_names,
        files: scope.files,
        remarks: scope.remarks,
        warnings: scope.warnings,
        behaviors: rest.behaviors,
        api: main.api,
        rest_apis: rest.rest_apis,
        metrics_by: main.metrics_by,
        process: main.process,
    }
}

fn counted(stores: BTreeMap<String, Vec<Vec<u8>>>) -> BTreeMap<String, usize> {
    stores.into_iter().map(|(name, roots)| (name, roots.len())).collect()
}

fn certificates(roots: &mut [Table<'_>], main: &Main, scope: &mut Scope<'_>) -> Vec<Certificate> {
    let mut all = Vec::new();
    for root in roots {
        all.extend(compile_acme::certificates(root, &main.data, main.fleet.as_ref(), scope));
    }
    compile_acme::without_needless(all)
}

// What distributions may name beside policies and keys, of any file. Each step names only what those
// before it have read.
fn read_named(roots: &mut [Table<'_>], scope: &mut Scope<'_>) {
    for root in &mut *roots {
        compile_viewer_tls::trust_stores(root, scope);
    }
    // A group may name keys of another file.
    for root in &mut *roots {
        compile_keys::read_groups(root, scope);
        compile_forms::read_profiles(root, scope);
    }
    for root in &mut *roots {
        compile_forms::read(root, scope);
    }
    // Functions name stores, behaviors name functions.
    for root in &mut *roots {
        compile_stores::read(root, scope);
    }
    for root in roots {
        compile_functions::functions(root, scope);
        compile_lambdas::lambdas(root, scope);
    }
}

// Every `[[distribution]]` that can be used, and what the next compilation may use again of them. The
// first `of_files` sources are the operator's.
fn distributions(
    roots: &mut [Table<'_>],
    (parts, own): (Vec<Part>, Vec<Own>),
    (of_files, main): (usize, &Main),
    scope: &mut Scope<'_>,
) -> (Vec<Made>, BTreeMap<Arc<str>, Unit>) {
    let (mut all, records) = compile_documents::distributions(roots, parts, own, scope);
    // What was compiled before has been through this.
    for made in all.iter_mut().filter(|made| made.source < scope.texts.len()) {
        let is_managed = made.source >= of_files;
        let is_adopted = || {
            let text = scope.texts.get(made.source);
            text.is_some_and(|(_, text)| adopted::of(text).is_some())
        };
        if is_managed || is_adopted() {
            let made = Arc::make_mut(&mut made.distribution);
            each_origin(made, |origin| find(origin, &main.origin_names));
        }
        if is_managed {
            let made = Arc::make_mut(&mut made.distribution);
            each_origin(made, |origin| guard(origin, main.admin.listen));
        }
    }
    compile_documents::number(&mut all);
    let units = compile_documents::units(records, &all);
    (all, units)
}

fn warn(distributions: &[Made], main: &Main, scope: &mut Scope<'_>) {
    let found = || distributions.iter().map(|made| &*made.findings);
    scope.warnings.extend(found().flat_map(|one| &one.unkeyed).cloned());
    scope.warnings.extend(found().flat_map(|one| &one.plain_text).cloned());
    let (functions, settings) = (&scope.code.functions, &main.function_settings);
    if !functions.is_empty() {
        let all = distributions.iter().map(|made| &*made.distribution);
        let lines = all.flat_map(|one| warnings::unkeyed_choice(one, functions, settings));
        scope.warnings.extend(lines);
    }
    scope.remarks.extend(found().flat_map(|one| &one.without_handshake).cloned());
    scope.remarks.extend(found().flat_map(|one| &one.without_metadata).cloned());
}

// A call of the API chose these hosts, and not the operator: a machine's metadata and our own admin
// listener are out of their reach.
fn guard(origin: &mut Origin, admin: SocketAddr) {
    if let OriginKind::Http(http) = &mut origin.kind {
        http.reach = Reach::Guarded { admin };
    }
}

// A host that a call of the API chose is found where `[origin_names]` says, under its own name.
fn find(origin: &mut Origin, names: &OriginNames) {
    let OriginKind::Http(http) = &mut origin.kind else { return };
    let Some(place) = names.find(&http.host) else { return };
    let name = std::mem::replace(&mut http.host, place.host.clone());
    http.port = place.port;
    if http.host_rule == HostRule::Origin {
        http.host_rule = HostRule::Named(name);
    }
    if place.is_tls {
        // A name that stands for another host is proven by that host.
        http.tls.get_or_insert_with(OriginTls::usual).server_name = Some(place.host);
    } else {
        http.tls = None;
    }
    // It is found in one place, whatever the viewer speaks.
    origin.clear = None;
    origin.path.insert_str(0, &place.path);
}

fn each_origin(distribution: &mut Distribution, change: impl Fn(&mut Origin)) {
    for origin in &mut distribution.origins {
        let mut other = Origin::clone(origin);
        change(&mut other);
        other.clear = other.clear.map(|clear| {
            let mut clear = Origin::clone(&clear);
            change(&mut clear);
            Arc::new(clear)
        });
        *origin = Arc::new(other);
    }
}

// Only an edge that is managed by the API may begin with nothing.
fn check_any(roots: &[Table<'_>], distributions: &[Made]) {
    let main = &roots[0];
    if distributions.is_empty()
        && !roots.iter().any(|root| root.has("distribution"))
        && !main.has("distribution")
    {
        let known = main.span();
        if main.span().is_empty() || distributions.is_empty() {
            main.problem(
                &(known.start..known.start),
                "there is no [[distribution]]",
                Some("a file needs at least one: id, hosts, an origin".into()),
            );
        }
    }
}

fn check_certificates(roots: &[Table<'_>], listen: &Listen, certificates: &[Certificate]) {
    let main = &roots[0];
    if !listen.https.is_empty() && certificates.is_empty() {
        let place = main.span();
        main.problem(
            &(place.start..place.start),
            "listen.https is set and there is no usable [[certificate]]",
            Some("add [[certificate]] with chain and key; make_for = [\"localhost\"] makes one for trying things out".into()),
        );
    }
}

fn hosts(collector: &Collector, distributions: &[Made]) -> HostTable {
    let mut table = HostTable::with_room(distributions.iter().map(|made| made.hosts.len()).sum());
    for (at, made) in distributions.iter().enumerate() {
        for Found { value, span } in &*made.hosts {
            if let Err(taken) = table.insert(value.clone(), at) {
                let other = &distributions[taken].distribution.id;
                collector.problem(
                    made.source,
                    span,
                    format!("this host belongs to distribution {other:?} already"),
                    None,
                );
            }
        }
    }
    let mut ids: HashSet<&str, foldhash::fast::RandomState> =
        HashSet::with_capacity_and_hasher(distributions.len(), Default::default());
    for made in distributions {
        if !ids.insert(&made.distribution.id) {
            collector.problem(
                made.source,
                &made.id_span,
                format!("there are two distributions with the id {:?}", made.distribution.id),
                None,
            );
        }
    }
    table
}

/// The file in the data folder that names promoted distributions, a line each.
pub const PROMOTED: &str = "promoted";

// A staging distribution is found through the one it is for.
fn link_staging(collector: &Collector, distributions: &mut [Made], data: &Path) {
    if distributions.iter().all(|made| made.staging.is_none()) {
        return;
    }
    let promoted = std::fs::read_to_string(data.join(PROMOTED)).unwrap_or_default();
    for at in 0..distributions.len() {
        let made = &mut distributions[at];
        let Some(staging) = made.staging.take() else { continue };
        let (id, source) = (made.distribution.id.clone(), made.source);
        let problem = |title: String| collector.problem(source, &staging.of.span, title, None);
        let Some(of) = distributions
            .iter()
            .position(|known| known.distribution.id == staging.of.value && !known.hosts.is_empty())
        else {
            problem(format!("there is no distribution {:?} with hosts", staging.of.value));
            continue;
        };
        let primary = Arc::make_mut(&mut distributions[of].distribution);
        if primary.staging.is_some() {
            problem(format!("{:?} has a staging distribution already", staging.of.value));
            continue;
        }
        let chosen =
            if promoted.lines().any(|line| line == id) { Chosen::Promoted } else { staging.chosen };
        let mark = crate::crypto::sigv4::sha256(id.as_bytes())[..8].to_string();
        primary.staging = Some(Staging { distribution: at, chosen, mark });
        primary.is_deploying = true;
        // The handshake is over before a side is chosen.
        let client_certificates = primary.client_certificates.clone();
        let staged = Arc::make_mut(&mut distributions[at].distribution);
        staged.is_deploying = true;
        staged.client_certificates = client_certificates;
    }
}

// What is looked at of viewers of any.
fn observes(distributions: &[Made]) -> Observes {
    let mut all = Observes::default();
    for Observes { header_order, fingerprints } in
        distributions.iter().map(|made| made.findings.observes)
    {
        all.header_order |= header_order;
        all.fingerprints |= fingerprints;
    }
    all
}
