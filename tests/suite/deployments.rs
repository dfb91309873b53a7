//! CloudFront's API beyond the documents themselves: staging distributions, their policies and
//! their promotion; aliases that move; the listings of distributions by what they name.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::control_plane::{Told, Wanted, cache, call, change, folder};
use super::support::origin::fresh;
use super::support::{Edge, Origin};

const ALIAS: &str =
    "<Aliases><Quantity>1</Quantity><Items><CNAME>www.example.com</CNAME></Items></Aliases>";

// What the origin was asked for before the path that the viewer asked for, or the status. No path
// is asked for twice, so nothing comes out of a cache.
fn told(edge: &Edge, host: &str, fields: &[&str]) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let path = format!("/{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let host = format!("Host: {host}");
    let all: Vec<&str> = std::iter::once(host.as_str()).chain(fields.iter().copied()).collect();
    let seen = edge.get_with(&path, &all);
    if seen.status != 200 {
        return seen.status.to_string();
    }
    seen.text().strip_suffix(path.as_str()).map_or_else(|| "?".to_string(), String::from)
}

// An origin that says which path it was asked for.
fn echo() -> Origin {
    Origin::start(|asked| fresh(asked.target.as_bytes()))
}

fn policy(domain: &str, enabled: bool, traffic: &str) -> String {
    format!(
        "<ContinuousDeploymentPolicyConfig><StagingDistributionDnsNames><Quantity>1</Quantity><Items><DnsName>{domain}</DnsName></Items>\
         </StagingDistributionDnsNames><Enabled>{enabled}</Enabled><TrafficConfig>{traffic}</TrafficConfig></ContinuousDeploymentPolicyConfig>"
    )
}

const TRY: &str = "<SingleHeaderConfig><Header>aws-cf-cd-try</Header><Value>1</Value></SingleHeaderConfig><Type>SingleHeader</Type>";
const HALF: &str =
    "<SingleWeightConfig><Weight>0.5</Weight></SingleWeightConfig><Type>SingleWeight</Type>";

fn config_of(edge: &Edge, id: &str) -> (String, Told) {
    let path = format!("distribution/{id}/config");
    let read = call(edge, "GET", &path, "").expect(200);
    (path, read)
}

// Reads a configuration, changes a piece of its text, and puts it.
fn put(edge: &Edge, id: &str, from: &str, to: &str) -> Told {
    let (path, read) = config_of(edge, id);
    assert!(read.body.contains(from), "{from} is not in {}", read.body);
    change(edge, "PUT", &path, &read.etag(), &read.body.replace(from, to))
}

#[test]
fn a_copy_is_tried_out_and_promoted() {
    let origin = echo();
    let edge = Edge::start_in(folder("certificates = \"any\"\n"));
    let wanted = Wanted { more: ALIAS.into(), ..Wanted::new("r1", &origin) };
    let made = call(&edge, "POST", "distribution", &wanted.xml()).expect(201);
    let primary = made.element("Id");
    let body = "<CopyDistributionRequest><CallerReference>copy</CallerReference></CopyDistributionRequest>";
    let path = format!("distribution/{primary}/copy");
    change(&edge, "POST", &path, &made.etag(), body).refused(400, "InvalidArgument");
    let old = "EOLD\r\nStaging: true";
    change(&edge, "POST", &path, old, body).refused(412, "PreconditionFailed");
    let both = format!("{}\r\nStaging: true", made.etag());
    let copy = change(&edge, "POST", &path, &both, body).expect(201);
    let (staging, domain) = (copy.element("Id"), copy.element("DomainName"));
    assert!(copy.body.contains("<Staging>true</Staging>"), "{}", copy.body);
    assert!(!copy.body.contains("www.example.com") && staging != primary);
    // It has no viewers of its own.
    assert_eq!(told(&edge, &domain, &[]), "403");
    put(&edge, &staging, "<OriginPath></OriginPath>", "<OriginPath>/new</OriginPath>").expect(200);
    // A policy names a staging distribution that is there, and one at most has it.
    let elsewhere = policy("d1.cloudfront.net", true, TRY);
    let path = "continuous-deployment-policy";
    call(&edge, "POST", path, &elsewhere).refused(400, "InvalidArgument");
    let deployment = call(&edge, "POST", path, &policy(&domain, true, TRY)).expect(201);
    let id = deployment.element("Id");
    call(&edge, "POST", path, &policy(&domain, true, TRY)).refused(409, "StagingDistributionInUse");
    let listed = call(&edge, "GET", path, "").expect(200);
    assert!(listed.body.contains(&format!("<ContinuousDeploymentPolicy><Id>{id}</Id>")));
    let named = format!("<ContinuousDeploymentPolicyId>{id}</ContinuousDeploymentPolicyId>");
    let none = "<ContinuousDeploymentPolicyId></ContinuousDeploymentPolicyId>";
    put(&edge, &primary, none, &named).expect(200);
    let tried = ["aws-cf-cd-try: 1"];
    assert_eq!(told(&edge, "www.example.com", &[]), "");
    assert_eq!(told(&edge, "www.example.com", &tried), "/new");
    let one = format!("{path}/{id}");
    change(&edge, "DELETE", &one, &deployment.etag(), "")
        .refused(409, "ContinuousDeploymentPolicyInUse");
    // Everything of it outlives a kill.
    let edge = Edge::start_in(edge.kill());
    assert_eq!(told(&edge, "www.example.com", &tried), "/new");
    // Turned off it gives no viewer away; a share of them may be given, too.
    let got = call(&edge, "GET", &one, "").expect(200);
    let off = change(&edge, "PUT", &one, &got.etag(), &policy(&domain, false, TRY)).expect(200);
    assert_eq!(told(&edge, "www.example.com", &tried), "");
    let half = change(&edge, "PUT", &one, &off.etag(), &policy(&domain, true, HALF)).expect(200);
    let (_, before) = config_of(&edge, &primary);
    let (_, tested) = config_of(&edge, &staging);
    let path = format!("distribution/{primary}/promote-staging-config?StagingDistributionId=");
    let both = format!("{}, {}", before.etag(), tested.etag());
    change(&edge, "PUT", &format!("{path}{primary}"), &both, "").refused(400, "IllegalUpdate");
    change(&edge, "PUT", &format!("{path}{staging}"), &before.etag(), "")
        .refused(400, "InvalidIfMatchVersion");
    let promoted = change(&edge, "PUT", &format!("{path}{staging}"), &both, "").expect(200);
    assert_eq!(promoted.element("Id"), primary);
    for piece in ["<OriginPath>/new</OriginPath>", "<CNAME>www.example.com</CNAME>", &named] {
        assert!(promoted.body.contains(piece), "{piece} is not in {}", promoted.body);
    }
    assert_eq!(told(&edge, "www.example.com", &[]), "/new");
    let got = call(&edge, "GET", &one, "").expect(200);
    assert!(got.etag() != half.etag() && got.body.contains("<Enabled>false</Enabled>"));
    // What a policy names stays.
    let disabled =
        put(&edge, &staging, "<Enabled>true</Enabled>", "<Enabled>false</Enabled>").expect(200);
    let target = format!("distribution/{staging}");
    change(&edge, "DELETE", &target, &disabled.etag(), "").refused(409, "ResourceInUse");
    put(&edge, &primary, &named, none).expect(200);
    change(&edge, "DELETE", &one, &got.etag(), "").expect(204);
    change(&edge, "DELETE", &target, &disabled.etag(), "").expect(204);
    assert_eq!(told(&edge, "www.example.com", &tried), "/new");
}

#[test]
fn an_alias_moves_and_is_never_without_an_answer() {
    let origin = echo();
    let edge = Edge::start_in(folder("certificates = \"any\"\n"));
    let first = Wanted { more: ALIAS.into(), ..Wanted::new("r1", &origin) };
    let first = call(&edge, "POST", "distribution", &first.xml()).expect(201).element("Id");
    let path = "<OriginPath>/second</OriginPath>".to_string();
    let second = Wanted { origin: path, ..Wanted::new("r2", &origin) };
    let second = call(&edge, "POST", "distribution", &second.xml()).expect(201).element("Id");
    let conflicts = |alias: &str| {
        let path = format!("conflicting-alias?DistributionId={second}&Alias={alias}");
        call(&edge, "GET", &path, "")
    };
    let met = conflicts("%2A.example.com").expect(200);
    assert_eq!(
        (met.element("Quantity").as_str(), met.element("DistributionId")),
        ("1", first.clone())
    );
    assert_eq!(conflicts("other.test").expect(200).element("Quantity"), "0");
    conflicts("").refused(400, "InvalidArgument");
    let put = |id: &str, alias: &str| {
        call(&edge, "PUT", &format!("distribution/{id}/associate-alias?Alias={alias}"), "")
    };
    assert_eq!(told(&edge, "www.example.com", &[]), "");
    put("ENONE", "www.example.com").refused(404, "NoSuchDistribution");
    put(&second, "").refused(400, "InvalidArgument");
    for _ in 0..2 {
        put(&second, "www.example.com").expect(200);
        assert_eq!(told(&edge, "www.example.com", &[]), "/second");
    }
    put(&second, "new.example.com").expect(200);
    assert_eq!(told(&edge, "new.example.com", &[]), "/second");
    assert!(!config_of(&edge, &first).1.body.contains("<CNAME>"));
    let edge = Edge::start_in(edge.kill());
    assert_eq!(told(&edge, "www.example.com", &[]), "/second");
}

#[test]
fn distributions_are_listed_by_what_they_name() {
    let origin = echo();
    let edge = Edge::start_in(folder(""));
    let made = call(&edge, "POST", "distribution", &Wanted::new("r", &origin).xml()).expect(201);
    let id = made.element("Id");
    for (path, quantity) in [
        ("distributionsByWebACLId/null", "1"),
        (
            "distributionsByWebACLId/arn%3Aaws%3Awafv2%3Aus-east-1%3A1%3Aglobal%2Fwebacl%2Fn%2Fi",
            "0",
        ),
        ("distributionsByVpcOriginId/vo_1", "0"),
        ("distributionsByAnycastIpListId/a", "0"),
        ("distributionsByConnectionMode/direct", "1"),
        ("distributionsByConnectionMode/tenant-only", "0"),
        ("distributionsByOwnedResource/arn%3Aaws%3Ax", "0"),
        ("distributionsByTrustStore?TrustStoreIdentifier=ts", "0"),
    ] {
        let listed = call(&edge, "GET", path, "").expect(200);
        assert_eq!(listed.element("Quantity"), quantity, "{path}: {}", listed.body);
        assert_eq!(listed.body.contains(&id), quantity == "1", "{path}");
    }
    call(&edge, "GET", "managed-certificate/x", "").refused(404, "EntityNotFound");
    assert_eq!(cache(&edge, &made.element("DomainName"), "/a"), (200, "Miss".into()));
}

#[test]
fn a_monitoring_subscription_goes_with_its_distribution() {
    let origin = echo();
    let edge = Edge::start_in(folder(""));
    let made = call(&edge, "POST", "distribution", &Wanted::new("r", &origin).xml()).expect(201);
    let id = made.element("Id");
    let watched = format!("distributions/{id}/monitoring-subscription");
    let body = "<MonitoringSubscription><RealtimeMetricsSubscriptionConfig><RealtimeMetricsSubscriptionStatus>Enabled\
                </RealtimeMetricsSubscriptionStatus></RealtimeMetricsSubscriptionConfig></MonitoringSubscription>";
    let elsewhere = "distributions/ENONE/monitoring-subscription";
    call(&edge, "POST", elsewhere, body).refused(404, "NoSuchDistribution");
    call(&edge, "GET", &watched, "").refused(404, "NoSuchMonitoringSubscription");
    call(&edge, "POST", &watched, body).expect(200);
    call(&edge, "POST", &watched, body).refused(409, "MonitoringSubscriptionAlreadyExists");
    let edge = Edge::start_in(edge.kill());
    let told = call(&edge, "GET", &watched, "").expect(200);
    assert_eq!(told.element("RealtimeMetricsSubscriptionStatus"), "Enabled");
    let off = put(&edge, &id, "<Enabled>true</Enabled>", "<Enabled>false</Enabled>").expect(200);
    change(&edge, "DELETE", &format!("distribution/{id}"), &off.etag(), "").expect(204);
    let kept = edge.path().join("data/api/monitoring-subscription");
    assert_eq!(std::fs::read_dir(kept).unwrap().count(), 0);
}
