//! A change of the API compiles only what it touches: whatever documents and files go through, what
//! comes out is what compiling everything anew makes of them.

use std::path::Path;
use std::sync::Arc;

use foreshore::clock::Clock;
use foreshore::cloudfront::defaults;
use foreshore::config::{self, Loaded, MissingCertificates, Units};
use foreshore::distribution::site::Site;
use foreshore::documents::function::{Coded, FunctionStages};
use foreshore::documents::shelf::{Document, Documents, Kind};
use foreshore::proxy::Edge;
use foreshore::semantics::time::Timestamp;
use foreshore::tls::development::{self, Place};
use foreshore::tls::server::ServerTls;
use foreshore::tls::tickets::Tickets;
use proptest::prelude::*;
use serde_json::{Value, json};

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const MANAGED: &str = "658327ea-f89d-4fab-a63d-7e88639e58f6";

/// How a distribution is written.
#[derive(Clone, Debug)]
struct Shape {
    host: usize,
    policy: usize,
    function: usize,
    behaviors: usize,
    is_staging: bool,
    is_shared: bool,
    is_signed: bool,
}

#[derive(Clone, Debug)]
enum Op {
    Distribution(usize, Shape),
    Policy(usize, u64),
    Function(usize, bool),
    Control(bool),
    Deployment(usize),
    Remove(usize, usize),
    File(usize),
    Secret(u8),
}

const KINDS: [Kind; 5] = [
    Kind::Distribution,
    Kind::CachePolicy,
    Kind::Function,
    Kind::OriginAccessControl,
    Kind::ContinuousDeploymentPolicy,
];

// Documents by their kinds and small numbers.
fn id(kind: Kind, at: usize) -> String {
    match kind {
        Kind::Distribution => format!("E{at}"),
        Kind::Function => format!("code{at}"),
        _ => format!("own{at}"),
    }
}

fn shape() -> impl Strategy<Value = Shape> {
    (0..7usize, 0..4usize, 0..5usize, 0..3usize, 0..6u8, any::<bool>()).prop_map(
        |(host, policy, function, behaviors, deployed, is_signed)| Shape {
            host,
            policy,
            function,
            behaviors,
            is_staging: deployed == 0,
            is_shared: deployed == 1,
            is_signed,
        },
    )
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..5usize, shape()).prop_map(|(at, shape)| Op::Distribution(at, shape)),
        2 => (0..2usize, 1..100u64).prop_map(|(at, ttl)| Op::Policy(at, ttl)),
        2 => (0..3usize, any::<bool>()).prop_map(|(at, is_live)| Op::Function(at, is_live)),
        1 => any::<bool>().prop_map(Op::Control),
        1 => (0..5usize).prop_map(Op::Deployment),
        3 => (0..KINDS.len(), 0..5usize).prop_map(|(kind, at)| Op::Remove(kind, at)),
        1 => (0..4usize).prop_map(Op::File),
        1 => any::<u8>().prop_map(Op::Secret),
    ]
}

fn distribution(at: usize, shape: &Shape) -> Document {
    let behavior = |path: Option<String>| {
        let mut one = json!({ "TargetOriginId": "o", "ViewerProtocolPolicy": "allow-all" });
        match shape.policy {
            0 => one["CachePolicyId"] = MANAGED.into(),
            // Settings of its own, which are a policy of its text.
            1 => {
                one["ForwardedValues"] =
                    json!({ "QueryString": true, "Cookies": { "Forward": "none" } });
                one["MinTTL"] = 1.into();
            }
            own => one["CachePolicyId"] = id(Kind::CachePolicy, own - 2).into(),
        }
        if let Some(path) = path {
            one["PathPattern"] = path.into();
        }
        if shape.function > 0 {
            // The last of them is nobody's.
            let arn =
                format!("arn:aws:cloudfront::000000000177:function/code{}", shape.function - 1);
            let one_of = json!({ "EventType": "viewer-request", "FunctionARN": arn });
            one["FunctionAssociations"] = json!({ "Quantity": 1, "Items": [one_of] });
        }
        one
    };
    let mut origin = json!({ "Id": "o", "DomainName": "app.example.com",
        "CustomOriginConfig": { "HTTPPort": 80, "HTTPSPort": 443, "OriginProtocolPolicy": "https-only" } });
    if shape.is_signed {
        origin = json!({ "Id": "o", "DomainName": "b.s3.eu-west-1.amazonaws.com",
            "OriginAccessControlId": id(Kind::OriginAccessControl, 0), "S3OriginConfig": { "OriginAccessIdentity": "" } });
    }
    let more: Vec<Value> =
        (0..shape.behaviors).map(|n| behavior(Some(format!("/{n}/*")))).collect();
    let mut config = json!({
        "CallerReference": format!("r{at}"), "Comment": "", "Enabled": true,
        "Origins": { "Quantity": 1, "Items": [origin] },
        "DefaultCacheBehavior": behavior(None),
        "CacheBehaviors": { "Quantity": more.len(), "Items": more },
    });
    if shape.is_staging {
        config["Staging"] = true.into();
    } else if shape.host > 0 {
        let host = format!("h{}.test", shape.host);
        config["Aliases"] = json!({ "Quantity": 1, "Items": [host] });
    }
    if shape.is_shared {
        config["ContinuousDeploymentPolicyId"] = id(Kind::ContinuousDeploymentPolicy, 0).into();
    }
    defaults::distribution(&mut config);
    let domain = format!("d{at}.cloudfront.net");
    Document { domain, ..Document::new(id(Kind::Distribution, at), config, 0) }
}

fn policy(at: usize, ttl: u64) -> Document {
    let config = json!({ "Name": format!("p{at}"), "MinTTL": 1, "DefaultTTL": ttl, "MaxTTL": 1000,
        "ParametersInCacheKeyAndForwardedToOrigin": {
            "EnableAcceptEncodingGzip": true, "HeadersConfig": { "HeaderBehavior": "none" },
            "CookiesConfig": { "CookieBehavior": "none" },
            "QueryStringsConfig": { "QueryStringBehavior": "all" } } });
    Document::new(id(Kind::CachePolicy, at), config, 0)
}

fn function(at: usize, is_live: bool) -> Document {
    let coded = Coded {
        comment: String::new(),
        runtime: "cloudfront-js-2.0".into(),
        store: None,
        code: format!("function handler(event) {{ return event.request; }} // {at}"),
        created: 1,
        modified: 1,
        number: 1,
    };
    let live = is_live.then(|| coded.clone());
    let stages = FunctionStages { development: coded, live };
    Document::new(id(Kind::Function, at), stages.config(), 0)
}

fn control(is_always: bool) -> Document {
    let behavior = if is_always { "always" } else { "no-override" };
    let config = json!({ "Name": "n", "SigningProtocol": "sigv4", "SigningBehavior": behavior,
                         "OriginAccessControlOriginType": "s3" });
    Document::new(id(Kind::OriginAccessControl, 0), config, 0)
}

fn deployment(staging: usize) -> Document {
    let config = json!({ "Enabled": true,
        "StagingDistributionDnsNames": { "Quantity": 1, "Items": [format!("d{staging}.cloudfront.net")] },
        "TrafficConfig": { "Type": "SingleWeight", "SingleWeightConfig": { "Weight": 0.05 } } });
    Document::new(id(Kind::ContinuousDeploymentPolicy, 0), config, 0)
}

fn write(folder: &Path, which: usize) {
    let more = [
        "",
        "[origin_names]\n\"app.example.com\" = \"http://127.0.0.1:9\"\n",
        // It takes a host and a function's name.
        "[function.code0]\nfile = \"code.js\"\n[[distribution]]\nid = \"EFILE\"\nhosts = [\"h1.test\"]\n[[distribution.origin]]\nid = \"o\"\nurl = \"https://file.test\"\n",
        "[[distribution]]\nid = \"EFILE\"\nhosts = [\"file.test\"]\n[[distribution.origin]]\nid = \"o\"\nurl = \"https://file.test\"\n\
         [[distribution.behavior]]\npath = \"*\"\norigin = \"o\"\nfunctions = { viewer_request = \"code1\" }\n",
        "[log.realtime_config.all]\nfile = \"a.log\"\n",
        "[log.realtime_config.all]\nfile = \"a.log\"\nsampling = 10\n",
        "[log.realtime_config.other]\nfile = \"a.log\"\n",
    ];
    let text = format!(
        "data = \"data\"\n[listen]\nhttp = [\"127.0.0.1:0\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n[api]\n\
         s3_credentials = {{ id = {{ file = \"id\" }}, secret = {{ file = \"id\" }} }}\n{}",
        more[which]
    );
    std::fs::write(folder.join("edge.toml"), text).unwrap();
}

// What a site says, but for secrets; and whom each host leads to.
fn told(site: &Site) -> String {
    let hosts = site.distributions.iter().flat_map(|one| &one.hosts);
    let found: Vec<_> = hosts.map(|host| (host, site.hosts.find(host))).collect();
    format!(
        "{:#?}\n{found:#?}\n{:#?}\n{:#?}\n{:#?}\n{:#?}\n{:?}\n{}",
        site.distributions,
        site.functions,
        site.files,
        site.remarks,
        site.warnings,
        site.observes,
        site.behaviors
    )
}

// What an access control signs with, which no text shows.
fn signs_with(site: &Site) -> Vec<String> {
    let origins = site.distributions.iter().flat_map(|one| &one.origins);
    let access = origins.filter_map(|origin| origin.access.as_ref());
    access.map(|access| access.credentials.id.clone()).collect()
}

fn load(path: &Path, all: &Documents, units: &mut Units) -> Result<Loaded, Vec<String>> {
    let loaded = config::load_again(path, NOW, MissingCertificates::Done, Some(all), units);
    loaded.map_err(|report| report.lines())
}

// Another file in the place of the one before, as secrets are replaced.
fn put_secret(folder: &Path, secret: &str) {
    std::fs::write(folder.join("fresh"), secret).unwrap();
    std::fs::rename(folder.join("fresh"), folder.join("id")).unwrap();
}

fn act(folder: &Path, all: &mut Documents, op: &Op) {
    match op {
        Op::Distribution(at, shape) => all.put(Kind::Distribution, distribution(*at, shape)),
        Op::Policy(at, ttl) => all.put(Kind::CachePolicy, policy(*at, *ttl)),
        Op::Function(at, is_live) => all.put(Kind::Function, function(*at, *is_live)),
        Op::Control(is_always) => all.put(Kind::OriginAccessControl, control(*is_always)),
        Op::Deployment(at) => all.put(Kind::ContinuousDeploymentPolicy, deployment(*at)),
        Op::Remove(kind, at) => all.remove(KINDS[*kind], &id(KINDS[*kind], *at)),
        Op::File(which) => write(folder, *which),
        Op::Secret(octet) => put_secret(folder, &format!("AKID{octet}")),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    #[test]
    fn what_is_compiled_again_is_what_is_compiled_anew(ops in proptest::collection::vec(op(), 1..25)) {
        let folder = tempfile::tempdir().unwrap();
        let code = "function handler(event) { return event.request; }";
        std::fs::write(folder.path().join("code.js"), code).unwrap();
        std::fs::write(folder.path().join("id"), "AKID").unwrap();
        write(folder.path(), 0);
        let path = folder.path().join("edge.toml");
        let (mut documents, mut units) = (Documents::default(), Units::default());
        for op in &ops {
            let mut next = documents.clone();
            act(folder.path(), &mut next, op);
            let anew = load(&path, &next, &mut Units::default());
            match (load(&path, &next, &mut units), anew) {
                (Ok(again), Ok(anew)) => {
                    prop_assert_eq!(told(&again.site), told(&anew.site));
                    prop_assert_eq!(signs_with(&again.site), signs_with(&anew.site));
                    documents = next;
                }
                // A change that is refused leaves the documents as they were.
                (Err(again), Err(anew)) => prop_assert_eq!(again, anew),
                (again, anew) => {
                    let why = format!("again: {:?}, anew: {:?}", again.err(), anew.err());
                    return Err(TestCaseError::fail(why));
                }
            }
        }
    }
}

#[test]
fn a_document_shows_that_it_is_served_by_being_compiled() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("id"), "AKID").unwrap();
    write(folder.path(), 0);
    let path = folder.path().join("edge.toml");
    let shape = Shape {
        host: 1,
        policy: 0,
        function: 0,
        behaviors: 0,
        is_staging: false,
        is_shared: false,
        is_signed: false,
    };
    let mut documents = Documents::default();
    documents.put(Kind::Distribution, distribution(0, &shape));
    let mut unfit = distribution(1, &Shape { host: 2, ..shape.clone() });
    unfit.config["Origins"]["Items"][0]["CustomOriginConfig"]["OriginSslProtocols"] =
        json!({ "Quantity": 1, "Items": ["TLSv1"] });
    documents.put(Kind::Distribution, unfit);
    // Whether it is served is said by documents that name it.
    documents.put(Kind::Distribution, distribution(2, &Shape { is_staging: true, ..shape }));
    let mut units = Units::default();
    let is_made = |units: &Units, documents: &Documents| {
        ["E0", "E1", "E2"].map(|id| {
            let known = documents.get(Kind::Distribution, id);
            known.is_some_and(|document| units.is_made_of(document))
        })
    };
    assert_eq!(is_made(&units, &documents), [false; 3]);
    assert!(load(&path, &documents, &mut units).is_ok());
    assert_eq!(is_made(&units, &documents), [true, false, false]);
    // Another one that is like it was not compiled.
    let same = documents.get(Kind::Distribution, "E0").map(|one| Document::clone(one)).unwrap();
    documents.put(Kind::Distribution, same);
    assert_eq!(is_made(&units, &documents), [false; 3]);
}

// A core that ends the last exchange of a site drops no more than its own hold of it.
#[test]
fn a_site_that_was_replaced_is_dropped_by_who_replaces_and_sweeps() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("id"), "AKID").unwrap();
    write(folder.path(), 0);
    let path = folder.path().join("edge.toml");
    let site = || load(&path, &Documents::default(), &mut Units::default()).unwrap().site;
    let edge = Edge::new(site(), "node".into(), Clock::system());
    let held = edge.running();
    let (running, first) = (Arc::downgrade(&held), Arc::downgrade(&held.site));
    edge.install(site());
    drop(held);
    assert!(running.upgrade().is_some() && first.upgrade().is_some());
    // A connection goes by the site alone.
    let site_alone = first.upgrade();
    edge.let_go();
    assert!(running.upgrade().is_some());
    drop(site_alone);
    edge.let_go();
    assert!(running.upgrade().is_none() && first.upgrade().is_none());
}

// Sessions that a certificate's settings remember outlive a change of something else.
#[test]
fn settings_of_a_certificate_that_stays_are_those_before() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::of(folder.path(), "one");
    let make = || development::make(&place, &["localhost".to_string()], NOW).unwrap();
    make();
    let site = |policy: &str| {
        let text = format!(
            "data = \"data\"\n[listen]\nhttps = [\"127.0.0.1:0\"]\n[tls]\npolicy = {policy:?}\n\
             [[certificate]]\nchain = \"certificates/one.pem\"\nkey = \"certificates/one.key\"\n\
             [[distribution]]\nid = \"E1\"\nhosts = [\"*\"]\n[[distribution.origin]]\nid = \"o\"\nurl = \"http://127.0.0.1:9\"\n"
        );
        let path = folder.path().join("edge.toml");
        std::fs::write(&path, text).unwrap();
        config::load(&path, NOW, MissingCertificates::Done).ok().map(|loaded| loaded.site).unwrap()
    };
    let tickets = Tickets::open(folder.path(), Clock::system(), None);
    let shown = |tls: &ServerTls| tls.default_config().unwrap();
    let first = ServerTls::new(&site("TLSv1.2_2021"), &tickets).unwrap();
    let is_kept = |site: &Site| {
        let next = ServerTls::following(site, &tickets, Some(&first)).unwrap();
        Arc::ptr_eq(&shown(&next).cert_resolver, &shown(&first).cert_resolver)
    };
    assert!(is_kept(&site("TLSv1.2_2021")));
    assert!(!is_kept(&site("TLSv1.3_2025")));
    make();
    assert!(!is_kept(&site("TLSv1.2_2021")), "another certificate under the same name");
}

fn plain() -> Shape {
    Shape {
        host: 0,
        policy: 0,
        function: 0,
        behaviors: 1,
        is_staging: false,
        is_shared: false,
        is_signed: false,
    }
}

// Which log tells of a behavior is a name of the file's in what was made of a document.
#[test]
fn a_real_time_log_that_changes_has_compiled_what_may_name_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("id"), "AKID").unwrap();
    let path = folder.path().join("edge.toml");
    let (mut all, mut units) = (Documents::default(), Units::default());
    let mut naming = distribution(0, &plain());
    let arn = "arn:aws:cloudfront::000000000177:realtime-log-config/all";
    naming.config["DefaultCacheBehavior"]["RealtimeLogConfigArn"] = arn.into();
    all.put(Kind::Distribution, naming);
    let sampling = |site: &Site| {
        let logs = &site.more_logs.realtime;
        let mut behaviors = site.distributions[0].behaviors.iter();
        let log = behaviors.find_map(|one| logs.iter().find(|log| log.tells_of(&one.realtime_log)));
        log.map(|log| log.sampling)
    };
    write(folder.path(), 4);
    let first = load(&path, &all, &mut units).unwrap().site;
    let again = load(&path, &all, &mut units).unwrap().site;
    assert!(Arc::ptr_eq(&first.distributions[0], &again.distributions[0]));
    assert_eq!(sampling(&again), Some(100));
    write(folder.path(), 5);
    let site = load(&path, &all, &mut units).unwrap().site;
    assert!(!Arc::ptr_eq(&first.distributions[0], &site.distributions[0]));
    assert_eq!(sampling(&site), Some(10));
    // One that is gone is missed although the document is as it was.
    write(folder.path(), 6);
    let anew = load(&path, &all, &mut Units::default()).err().unwrap();
    assert_eq!(load(&path, &all, &mut units).err().unwrap(), anew);
    assert!(anew.iter().any(|line| line.contains("no such real-time log")), "{anew:?}");
    write(folder.path(), 4);
    assert_eq!(sampling(&load(&path, &all, &mut units).unwrap().site), Some(100));
}

#[test]
fn only_what_is_touched_is_compiled() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("id"), "AKID").unwrap();
    write(folder.path(), 0);
    let path = folder.path().join("edge.toml");
    let plain = plain();
    let (mut all, mut units) = (Documents::default(), Units::default());
    all.put(Kind::CachePolicy, policy(0, 60));
    for at in 0..3 {
        all.put(Kind::Distribution, distribution(at, &plain));
    }
    all.put(Kind::Distribution, distribution(3, &Shape { policy: 2, ..plain.clone() }));
    let first = load(&path, &all, &mut units).unwrap().site;
    let kept = |site: &Site| -> Vec<bool> {
        let both = first.distributions.iter().zip(&site.distributions);
        both.map(|(before, now)| Arc::ptr_eq(before, now)).collect()
    };
    let again = load(&path, &all, &mut units).unwrap().site;
    assert_eq!(kept(&again), [true; 4]);
    let other = Shape { host: 5, ..plain.clone() };
    all.put(Kind::Distribution, distribution(1, &other));
    let site = load(&path, &all, &mut units).unwrap().site;
    assert_eq!(kept(&site), [true, false, true, true]);
    // A policy, and whoever names it.
    all.put(Kind::CachePolicy, policy(0, 90));
    let site = load(&path, &all, &mut units).unwrap().site;
    assert_eq!(kept(&site), [true, false, true, false]);
    // A file that the configuration names, and everything beside it.
    put_secret(folder.path(), "AKIDOTHER");
    let site = load(&path, &all, &mut units).unwrap().site;
    assert_eq!(kept(&site), [false; 4]);
}
