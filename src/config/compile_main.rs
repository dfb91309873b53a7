//! What the main file alone says: all that is the process's, and no distribution's.

use std::path::PathBuf;

use super::reader::Table;
use super::scope::Scope;
use super::{
    compile_events, compile_fleet, compile_functions, compile_log, compile_origin_names,
    compile_privileges, compile_process, compile_region, compile_tier, compile_traces,
};
use crate::distribution::compat::parse_pop;
use crate::distribution::events::S3Events;
use crate::distribution::fleet::Fleet;
use crate::distribution::functions::FunctionSettings;
use crate::distribution::geo::Geo;
use crate::distribution::limits::Limits;
use crate::distribution::logs::{CloudFrontLogs, LogSettings};
use crate::distribution::origin_names::OriginNames;
use crate::distribution::process::Process;
use crate::distribution::region::{Region, TrustedEdge};
use crate::distribution::site::{Admin, Api, Listen, MetricsBy, StoreSettings, TlsPolicy};
use crate::distribution::tier::Tier;
use crate::distribution::traces::Traces;

/// The main file's settings; what distributions look up among them is in the scope.
pub struct Main {
    pub data: PathBuf,
    pub listen: Listen,
    pub process: Process,
    pub admin: Admin,
    pub api: Option<Api>,
    pub metrics_by: MetricsBy,
    pub store: StoreSettings,
    pub tls_policy: TlsPolicy,
    pub region: Option<Region>,
    pub trusted_edges: Vec<TrustedEdge>,
    pub fleet: Option<Fleet>,
    pub tier: Option<Tier>,
    pub s3_events: S3Events,
    pub limits: Limits,
    pub log: LogSettings,
    pub more_logs: CloudFrontLogs,
    pub traces: Option<Traces>,
    pub geo: Option<Geo>,
    pub function_settings: FunctionSettings,
    pub origin_names: OriginNames,
}

/// Reads them.
pub fn read(main: &mut Table<'_>, scope: &mut Scope<'_>) -> Main {
    let folder = scope.folder(0);
    let _ = main.strings("include");
    let data = main.string("data").map_or_else(
        || super::at(&folder, "../.foreshore"),
        |found| super::at(&folder, found.value),
    );
    if let Some(found) = main.parsed("pop", parse_pop) {
        scope.pop = found.value;
    }
    let listen = compile_process::listen(main, scope);
    let process = compile_privileges::read(main, &folder);
    let admin = compile_process::admin(main, scope);
    let replacers =
        admin.access_keys.iter().filter(|key| key.allows("execute-api", "InvalidateCache"));
    scope.replacers = replacers.map(|key| key.credentials.clone()).collect();
    let api = compile_process::api(main, &folder, scope);
    let metrics_by = compile_process::metrics(main);
    let store = compile_process::store(main, &data, scope);
    let tls_policy = compile_process::tls_policy(main);
    let region = compile_region::region(main, scope);
    scope.shields = compile_region::shields(region.as_ref());
    let trusted_edges = compile_region::trusted_edges(main, scope, (&listen, &admin));
    let parents = compile_fleet::Tier::new(region.as_ref(), main.has("region"));
    let fleet = compile_fleet::fleet(main, parents, &trusted_edges, scope);
    let mut tier = compile_tier::read(main, scope);
    if let Some(tier) = &mut tier {
        compile_tier::name(tier, fleet.as_ref());
    }
    compile_fleet::check_tier(main, fleet.as_ref(), tier.as_ref());
    let s3_events = compile_events::s3(main, scope);
    let limits = compile_process::limits(main);
    let (log, more_logs) = compile_log::read(main, &folder);
    scope.realtime_configs = compile_log::names(&more_logs);
    let traces = compile_traces::read(main, &folder, scope);
    let geo = compile_process::geo(main, &folder, scope);
    let function_settings = compile_functions::settings(main, &folder);
    scope.code.level = function_settings.level;
    scope.code.is_managed = api.is_some();
    let origin_names = compile_origin_names::read(main);
    Main {
        data,
        listen,
        process,
        admin,
        api,
        metrics_by,
        store,
        tls_policy,
        region,
        trusted_edges,
        fleet,
        tier,
        s3_events,
        limits,
        log,
        more_logs,
        traces,
        geo,
        function_settings,
        origin_names,
    }
}
