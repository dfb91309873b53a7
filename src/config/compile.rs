//! The order in which a configuration is resolved: settings of the process, certificates, policies,
//! distributions. Each step reports what it cannot use and goes on.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use super::managed::Told;
use super::reader::{Collector, Found, Table};
use super::scope::{Code, Keys, Policies, Scope};
use super::{
    MissingCertificates, Text, compile_distribution, compile_events, compile_fleet,
    compile_functions, compile_keys, compile_lambdas, compile_log, compile_origin_names,
    compile_policy, compile_process, compile_region, compile_stores, compile_tier, compile_tls,
    compile_traces, warnings,
};
use crate::distribution::compat::parse_pop;
use crate::distribution::host::HostTable;
use crate::distribution::origin::{Origin, OriginKind, Reach};
use crate::distribution::site::{Distribution, Listen, Observes, Site};
use crate::distribution::staging::{Chosen, Staging};
use crate::message::forwarding::added_names;
use crate::semantics::time::Timestamp;

/// Compiles all files together, and what was made of documents behind them. `None` only if there is
/// nothing to compile.
pub fn compile(
    mut roots: Vec<Table<'_>>,
    texts: &[Text],
    told: Told,
    collector: &Collector,
    now: Timestamp,
    making: MissingCertificates,
) -> Option<Site> {
    let files = texts.iter().take(told.of_files).map(|(path, _)| path.clone()).collect();
    let mut scope = Scope {
        texts,
        now,
        making,
        files,
        remarks: told.remarks,
        warnings: told.aside,
        policies: Policies::default(),
        keys: Keys::default(),
        code: Code::default(),
        pop: "LOC1-C1".into(),
        shields: None,
        credentials: None,
    };
    let main = roots.first_mut()?;
    let folder = scope.folder(0);
    let _ = main.strings("include");
    let data = main.string("data").map_or_else(
        || super::at(&folder, "../.foreshore"),
        |found| super::at(&folder, found.value),
    );
    if let Some(found) = main.parsed("pop", parse_pop) {
        scope.pop = found.value;
    }
    let listen = compile_process::listen(main, &mut scope);
    let admin = compile_process::admin(main, &mut scope);
    let api = compile_process::api(main, &folder, &mut scope);
    let metrics_by = compile_process::metrics(main);
    let store = compile_process::store(main, &data, &mut scope);
    let tls_policy = compile_process::tls_policy(main);
    let region = compile_region::region(main, &mut scope);
    scope.shields = compile_region::shields(region.as_ref());
    let trusted_edges = compile_region::trusted_edges(main, &mut scope, (&listen, &admin));
    let parents = compile_fleet::Tier::new(region.as_ref(), main.has("region"));
    let fleet = compile_fleet::fleet(main, parents, &trusted_edges, &mut scope);
    let mut tier = compile_tier::read(main, &mut scope);
    if let Some(tier) = &mut tier {
        compile_tier::name(tier, fleet.as_ref());
    }
    compile_fleet::check_tier(main, fleet.as_ref(), tier.as_ref());
    let s3_events = compile_events::s3(main, &mut scope);
    let limits = compile_process::limits(main);
    let (log, more_logs) = compile_log::read(main, &folder);
    let traces = compile_traces::read(main, &folder, &mut scope);
    let geo = compile_process::geo(main, &folder, &mut scope);
    let function_settings = compile_functions::settings(main, &folder);
    scope.code.level = function_settings.level;
    scope.code.is_managed = api.is_some();
    let origin_names = compile_origin_names::read(main);
    let mut certificates = Vec::new();
    for root in &mut roots {
        certificates.append(&mut compile_tls::certificates(root, &mut scope));
    }
    for root in &mut roots {
        compile_policy::read(root, &mut scope);
        compile_keys::read_keys(root, &mut scope);
    }
    // A group may name keys of another file.
    for root in &mut roots {
        compile_keys::read_groups(root, &mut scope);
    }
    // Functions name stores, behaviors name functions, of any file.
    for root in &mut roots {
        compile_stores::read(root, &mut scope);
    }
    for root in &mut roots {
        compile_functions::functions(root, &mut scope);
        compile_lambdas::lambdas(root, &mut scope);
    }
    compile_functions::published(told.functions, &mut scope);
    let mut distributions = Vec::new();
    let mut ordinal = 0;
    for root in &mut roots {
        for table in root.tables("distribution") {
            distributions.extend(compile_distribution::read(table, &mut scope, &mut ordinal));
        }
    }
    for made in distributions.iter_mut().filter(|made| made.source >= told.of_files) {
        guard(&mut made.distribution, admin.listen);
    }
    scope
        .warnings
        .extend(distributions.iter().flat_map(|made| warnings::unkeyed(&made.distribution)));
    let functions = &scope.code.functions;
    scope.warnings.extend(distributions.iter().flat_map(|made| {
        warnings::unkeyed_choice(&made.distribution, functions, &function_settings)
    }));
    scope.remarks.extend(
        distributions.iter().flat_map(|made| warnings::without_handshake(&made.distribution)),
    );
    scope.remarks.extend(
        distributions.iter().flat_map(|made| warnings::without_metadata(&made.distribution)),
    );
    link_staging(&roots, &mut distributions, &data);
    let hosts = hosts(&roots, &distributions);
    if api.is_none() {
        check_any(&roots, &distributions);
    }
    check_certificates(&roots, &listen, &certificates);
    roots.into_iter().for_each(Table::finish);
    if !collector.report.borrow().problems.is_empty() {
        return None;
    }
    Some(Site {
        listen,
        admin,
        data,
        store,
        certificates: certificates.into_iter().map(Arc::new).collect(),
        tls_policy,
        region,
        tier,
        trusted_edges,
        fleet,
        s3_events,
        limits,
        log,
        more_logs,
        traces,
        observes: observes(&distributions),
        distributions: distributions.into_iter().map(|made| Arc::new(made.distribution)).collect(),
        hosts,
        pop: scope.pop,
        geo,
        function_settings,
        functions: scope.code.functions,
        lambdas: scope.code.lambdas,
        stores: scope.code.stores,
        origin_names,
        files: scope.files,
        remarks: scope.remarks,
        warnings: scope.warnings,
        behaviors: ordinal,
        api,
        metrics_by,
    })
}

// A call of the API chose these hosts, and not the operator: a machine's metadata and our own admin
// listener are out of their reach.
fn guard(distribution: &mut Distribution, admin: SocketAddr) {
    for origin in &mut distribution.origins {
        let mut guarded = Origin::clone(origin);
        if let OriginKind::Http(http) = &mut guarded.kind {
            http.reach = Reach::Guarded { admin };
            *origin = Arc::new(guarded);
        }
    }
}

// Only an edge that is managed by the API may begin with nothing.
fn check_any(roots: &[Table<'_>], distributions: &[compile_distribution::Made]) {
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

fn check_certificates(
    roots: &[Table<'_>],
    listen: &Listen,
    certificates: &[crate::distribution::certificate::Certificate],
) {
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

fn hosts(roots: &[Table<'_>], distributions: &[compile_distribution::Made]) -> HostTable {
    let mut table = HostTable::default();
    for (at, made) in distributions.iter().enumerate() {
        for Found { value, span } in &made.hosts {
            if let Err(taken) = table.insert(value.clone(), at) {
                let other = &distributions[taken].distribution.id;
                roots[made.source].problem(
                    span,
                    format!("this host belongs to distribution {other:?} already"),
                    None,
                );
            }
        }
    }
    let mut ids: HashMap<&str, usize> = HashMap::new();
    for made in distributions {
        if ids.insert(&made.distribution.id, 0).is_some() {
            roots[made.source].problem(
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
fn link_staging(
    roots: &[Table<'_>],
    distributions: &mut [compile_distribution::Made],
    data: &Path,
) {
    let promoted = std::fs::read_to_string(data.join(PROMOTED)).unwrap_or_default();
    for at in 0..distributions.len() {
        let made = &mut distributions[at];
        let (id, source) = (made.distribution.id.clone(), made.source);
        let Some(staging) = made.staging.take() else { continue };
        let problem = |title: String| roots[source].problem(&staging.of.span, title, None);
        let Some(of) = distributions
            .iter()
            .position(|known| known.distribution.id == staging.of.value && !known.hosts.is_empty())
        else {
            problem(format!("there is no distribution {:?} with hosts", staging.of.value));
            continue;
        };
        let primary = &mut distributions[of].distribution;
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
        let staged = &mut distributions[at].distribution;
        staged.is_deploying = true;
        staged.client_certificates = client_certificates;
    }
}

// What is looked at of viewers because a policy or a log names it.
fn observes(distributions: &[compile_distribution::Made]) -> Observes {
    let mut observes = Observes::default();
    for behavior in distributions.iter().flat_map(|made| &made.distribution.behaviors) {
        for name in added_names(behavior) {
            match name.as_str() {
                "cloudfront-viewer-header-order" => observes.header_order = true,
                "cloudfront-viewer-ja3-fingerprint" | "cloudfront-viewer-ja4-fingerprint" => {
                    observes.fingerprints = true
                }
                _ => {}
            }
        }
    }
    observes
}
