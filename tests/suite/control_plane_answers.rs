//! What CloudFront's API answers where tools of others look: facts that their tests ask for, told by
//! signed calls of our own.

use super::control_plane::{Wanted, call, folder};
use super::support::origin::fresh;
use super::support::{Edge, Origin};

const PEM: &str = include_str!("../../config/example-signer.pem");

#[test]
fn what_there_is_none_of_is_an_empty_list() {
    let edge = Edge::start_in(folder(""));
    for target in [
        "streaming-distribution",
        "vpc-origin",
        "anycast-ip-list?MaxItems=5",
        "distributionsByConnectionFunction?ConnectionFunctionIdentifier=f",
    ] {
        let told = call(&edge, "GET", target, "").expect(200);
        assert_eq!(told.element("Quantity"), "0", "{target}: {}", told.body);
        assert_eq!(told.element("IsTruncated"), "false", "{target}: {}", told.body);
    }
    for target in ["connection-groups", "connection-functions", "distribution-tenants"] {
        let told = call(&edge, "POST", target, "<a/>").expect(200);
        assert!(told.body.contains("Result xmlns="), "{target}: {}", told.body);
    }
    let (_, metrics) = edge.admin("GET", "/metrics", "");
    let counted = "operation=\"ListVpcOrigins\",status=\"200\"} 1\n";
    assert!(metrics.contains(counted), "{metrics}");
}

#[test]
fn a_distribution_tells_which_keys_may_sign() {
    let origin = Origin::start(|_| fresh(b"page"));
    let edge = Edge::start_in(folder(""));
    let make = |path: &str, body: &str| call(&edge, "POST", path, body).expect(201).element("Id");
    let key = make(
        "public-key",
        &format!(
            "<PublicKeyConfig><CallerReference>k</CallerReference><Name>k</Name><EncodedKey>{PEM}</EncodedKey></PublicKeyConfig>"
        ),
    );
    let group = make(
        "key-group",
        &format!(
            "<KeyGroupConfig><Name>g</Name><Items><PublicKey>{key}</PublicKey></Items></KeyGroupConfig>"
        ),
    );
    let behavior = format!(
        "<TrustedKeyGroups><Enabled>true</Enabled><Quantity>1</Quantity><Items><KeyGroup>{group}</KeyGroup></Items></TrustedKeyGroups>"
    );
    let wanted = Wanted { behavior, ..Wanted::new("r", &origin) };
    let made = call(&edge, "POST", "distribution", &wanted.xml()).expect(201);
    let told = format!(
        "<ActiveTrustedKeyGroups><Enabled>true</Enabled><Quantity>1</Quantity><Items><KeyGroup><KeyGroupId>{group}</KeyGroupId>\
         <KeyPairIds><Quantity>1</Quantity><Items><KeyPairId>{key}</KeyPairId></Items></KeyPairIds></KeyGroup></Items></ActiveTrustedKeyGroups>"
    );
    let got = call(&edge, "GET", &format!("distribution/{}", made.element("Id")), "").expect(200);
    for one in [&made, &got] {
        assert!(one.body.contains(&told), "{}", one.body);
    }
}

#[test]
fn a_policy_may_say_the_rate_of_timings_that_are_off() {
    let edge = Edge::start_in(folder(""));
    let body = "<ResponseHeadersPolicyConfig><Name>off</Name><ServerTimingHeadersConfig><Enabled>false</Enabled>\
                <SamplingRate>0</SamplingRate></ServerTimingHeadersConfig></ResponseHeadersPolicyConfig>";
    let made = call(&edge, "POST", "response-headers-policy", body).expect(201);
    assert_eq!(made.element("Enabled"), "false", "{}", made.body);
    assert_eq!(made.element("SamplingRate").parse::<f64>(), Ok(0.0), "{}", made.body);
}

#[test]
fn functions_and_key_value_stores_have_tags() {
    let edge = Edge::start_in(folder(""));
    let tags = "<Tags><Items><Tag><Key>team</Key><Value>edge</Value></Tag></Items></Tags>";
    let code = super::functions_api::to("/a");
    let function = super::functions_api::body("CreateFunctionRequest", "index", "", &code);
    let function = function.replace("<FunctionConfig>", &format!("{tags}<FunctionConfig>"));
    let function = call(&edge, "POST", "function", &function).expect(201);
    assert!(!function.body.contains("KeyValueStoreAssociations"), "{}", function.body);
    let store = format!(
        "<CreateKeyValueStoreRequest><Name>flags</Name>{tags}</CreateKeyValueStoreRequest>"
    );
    let store = call(&edge, "POST", "key-value-store", &store).expect(201);
    let arns = [function.element("FunctionARN"), store.element("ARN")];
    let resources = arns.map(|arn| arn.replace(':', "%3A").replace('/', "%2F"));
    let listed = |edge: &Edge, resource: &str| {
        call(edge, "GET", &format!("tagging?Resource={resource}"), "").expect(200).body
    };
    for resource in &resources {
        let told = listed(&edge, resource);
        assert!(told.contains("<Key>team</Key><Value>edge</Value>"), "{told}");
        let more = tags.replace("team", "b");
        let target = format!("tagging?Operation=Tag&Resource={resource}");
        call(&edge, "POST", &target, &more).expect(204);
        let target = format!("tagging?Operation=Untag&Resource={resource}");
        let keys = "<TagKeys><Items><Key>team</Key></Items></TagKeys>";
        call(&edge, "POST", &target, keys).expect(204);
    }
    let got = call(&edge, "GET", "key-value-store/flags", "").expect(200);
    assert_eq!(got.etag(), store.etag(), "tags are no part of what an ETag stands for");
    // They outlive a kill.
    let edge = Edge::start_in(edge.kill());
    for resource in &resources {
        let told = listed(&edge, resource);
        assert!(told.contains("<Key>b</Key>") && !told.contains("<Key>team</Key>"), "{told}");
    }
    for (resource, status, code) in [
        ("flags", 400, "InvalidArgument"),
        ("arn%3Aaws%3Asqs%3A%3A000000000177%3Afunction%2Findex", 400, "InvalidArgument"),
        ("arn%3Aaws%3Acloudfront%3A%3A000000000177%3Afunction%2Fnone", 404, "NoSuchResource"),
        ("arn%3Aaws%3Acloudfront%3A%3A000000000177%3Akey-value-store%2Fx", 404, "NoSuchResource"),
    ] {
        call(&edge, "GET", &format!("tagging?Resource={resource}"), "").refused(status, code);
    }
}

#[test]
fn what_is_there_already_is_told_and_lifetimes_that_nobody_said_are() {
    let origin = Origin::start(|_| fresh(b"page"));
    let edge = Edge::start_in(folder(""));
    let wanted = Wanted::new("r", &origin).xml();
    let id = call(&edge, "POST", "distribution", &wanted).expect(201).element("Id");
    let again = call(&edge, "POST", "distribution", &wanted);
    assert!(again.element("Message").ends_with(&format!("Already exists: {id}")), "{again:?}");
    again.refused(409, "DistributionAlreadyExists");
    let nowhere = wanted.replace("<TargetOriginId>o<", "<TargetOriginId>p<");
    let nowhere = nowhere.replace("<CallerReference>r<", "<CallerReference>s<");
    let told = call(&edge, "POST", "distribution", &nowhere);
    let words = "One or more of your origins or origin groups do not exist. DefaultCacheBehavior.";
    assert!(told.element("Message").starts_with(words), "{told:?}");
    told.refused(404, "NoSuchOrigin");
    let policy = "<CachePolicyConfig><Name>own</Name><MinTTL>5</MinTTL></CachePolicyConfig>";
    let made = call(&edge, "POST", "cache-policy", policy).expect(201);
    let ttls = ["DefaultTTL", "MaxTTL", "MinTTL"].map(|name| made.element(name));
    assert_eq!(ttls, ["86400", "31536000", "5"], "{}", made.body);
}

#[test]
fn a_reference_that_is_taken_is_told_in_the_words_that_ansible_looks_for() {
    let origin = Origin::start(|_| fresh(b"page"));
    let edge = Edge::start_in(folder(""));
    let wanted = Wanted::new("r", &origin).xml();
    let id = call(&edge, "POST", "distribution", &wanted).expect(201).element("Id");
    let target = format!("distribution/{id}/invalidation");
    let batch = |path: &str| {
        format!(
            "<InvalidationBatch><Paths><Quantity>1</Quantity><Items><Path>{path}</Path></Items></Paths><CallerReference>one</CallerReference></InvalidationBatch>"
        )
    };
    let first = call(&edge, "POST", &target, &batch("/a")).expect(201);
    let again = call(&edge, "POST", &target, &batch("/a")).expect(201);
    assert_eq!(again.element("Id"), first.element("Id"));
    let other = call(&edge, "POST", &target, &batch("/b"));
    let words = "Your request contains a caller reference that was used for a previous invalidation batch for the same distribution.";
    assert!(other.element("Message").contains(words), "{other:?}");
    other.refused(400, "InvalidArgument");
}

#[test]
fn an_older_version_has_the_invalidations_and_is_told_what_else_it_has_not() {
    let origin = Origin::start(|_| fresh(b"page"));
    let edge = Edge::start_in(folder(""));
    let wanted = Wanted::new("r", &origin).xml();
    let id = call(&edge, "POST", "distribution", &wanted).expect(201).element("Id");
    let space = "http://cloudfront.amazonaws.com/doc/2019-03-26/";
    let batch = format!(
        "<InvalidationBatch xmlns=\"{space}\"><Paths><Quantity>1</Quantity><Items><Path>/a</Path></Items></Paths><CallerReference>one</CallerReference></InvalidationBatch>"
    );
    let below = format!("/2019-03-26/distribution/{id}");
    let target = format!("{below}/invalidation");
    let (status, made) = edge.admin("POST", &target, &batch);
    assert!(status == 201 && made.contains(&format!("<Invalidation xmlns=\"{space}\">")), "{made}");
    let (status, listed) = edge.admin("GET", &target, "");
    assert!(status == 200 && listed.contains("<Quantity>1</Quantity>"), "{listed}");
    // It is the same list, whichever version asks.
    let now = call(&edge, "GET", &format!("distribution/{id}/invalidation"), "").expect(200);
    assert_eq!(now.element("Quantity"), "1", "{}", now.body);
    for version in ["2019-03-26", "2010-11-01"] {
        let (status, told) = edge.admin("GET", &format!("/{version}/distribution/{id}"), "");
        let has = |words: &str| told.contains(words);
        assert!(status == 404 && has("<Code>UnsupportedOperation</Code>"), "{status} {told}");
        assert!(has(&format!("another call of {version}")) && has("2020-05-31"), "{told}");
    }
    // Without credentials nothing of it is done.
    let (status, told) = edge.admin_with("POST", &target, &batch, "");
    assert!(status == 403 && told.contains("MissingAuthenticationToken"), "{status} {told}");
}

#[test]
fn an_origin_may_list_old_protocols_beside_what_is_spoken() {
    let origin = Origin::start(|_| fresh(b"page"));
    let edge = Edge::start_in(folder(""));
    // What Ansible sends for an origin of which nothing is said.
    let with = |reference: &str, protocols: &[&str]| {
        let items: String =
            protocols.iter().map(|one| format!("<SslProtocol>{one}</SslProtocol>")).collect();
        let (policy, count) =
            ("<OriginProtocolPolicy>match-viewer</OriginProtocolPolicy>", protocols.len());
        let listed = format!(
            "{policy}<OriginSslProtocols><Quantity>{count}</Quantity><Items>{items}</Items></OriginSslProtocols>"
        );
        let usual = "<OriginProtocolPolicy>http-only</OriginProtocolPolicy>";
        (Wanted::new(reference, &origin).xml().replace(usual, &listed), listed)
    };
    let (wanted, listed) = with("r", &["TLSv1", "TLSv1.1", "TLSv1.2"]);
    let made = call(&edge, "POST", "distribution", &wanted).expect(201);
    assert!(made.body.contains(&listed), "{}", made.body);
    let (wanted, _) = with("s", &["TLSv1", "TLSv1.1"]);
    call(&edge, "POST", "distribution", &wanted).refused(400, "InvalidArgument");
}
