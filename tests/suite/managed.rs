//! What an edge that is managed by the API does of its own accord: certificates for the hosts that
//! the API names, and distributions that move between the API and the file.

use std::sync::Arc;

use super::control_plane::{Wanted, cache, call, change, folder};
use super::support::origin::fresh;
use super::support::viewer::Viewer;
use super::support::{Edge, Origin};

fn alias(name: &str) -> String {
    format!("<Aliases><Quantity>1</Quantity><Items><CNAME>{name}</CNAME></Items></Aliases>")
}

#[test]
fn hosts_of_the_api_get_certificates_of_a_local_authority() {
    let origin = Origin::start(|_| fresh(b"page"));
    let folder = folder("certificates = \"development\"\n");
    let path = folder.path().join("edge.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("workers = 2", "https = [\"127.0.0.1:0\"]\nworkers = 2")
        + "[[certificate]]\nchain = \"l.pem\"\nkey = \"l.key\"\nmake_for = [\"localhost\"]\n";
    std::fs::write(&path, text).unwrap();
    let edge = Edge::start_in(Arc::clone(&folder));
    let wanted = |name: &str| Wanted { more: alias(name), ..Wanted::new("r", &origin) };
    let made = call(&edge, "POST", "distribution", &wanted("shop.test").xml()).expect(201);
    let (id, domain) = (made.element("Id"), made.element("DomainName"));
    let place = folder.path().join("data/certificates");
    let ca = place.join("ca.pem");
    let ask = |edge: &Edge, host: &str| {
        let mut viewer = Viewer::connect_tls(edge.https.unwrap(), host, &ca)?;
        Ok::<_, String>(viewer.get("/a", &[&format!("Host: {host}")]).status)
    };
    for host in ["shop.test", domain.as_str()] {
        assert_eq!(ask(&edge, host), Ok(200), "{host}, by the time of the answer");
    }
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(place.join(format!("{id}.key"))).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    // A change that needs no other certificate makes none.
    let chain = place.join(format!("{id}.pem"));
    let before = std::fs::read(&chain).unwrap();
    let config = format!("distribution/{id}/config");
    let renamed = Wanted { behavior: "<Compress>true</Compress>".into(), ..wanted("shop.test") };
    let told = change(&edge, "PUT", &config, &made.etag(), &renamed.xml()).expect(200);
    assert_eq!(std::fs::read(&chain).unwrap(), before);
    let told = change(&edge, "PUT", &config, &told.etag(), &wanted("other.test").xml()).expect(200);
    assert_eq!(ask(&edge, "other.test"), Ok(200));
    assert!(ask(&edge, "shop.test").is_err(), "the certificate stands for its hosts alone");
    // What is lost is made when the edge starts, under the same authority.
    let folder = edge.kill();
    std::fs::remove_file(&chain).unwrap();
    let edge = Edge::start_in(folder);
    assert_eq!(ask(&edge, "other.test"), Ok(200));
    // A change that is refused at the last step leaves the certificate as it was: the document cannot
    // be written where a folder stands in its way.
    let before = std::fs::read(&chain).unwrap();
    let fresh = edge.path().join(format!("data/api/distribution/{id}.new"));
    std::fs::create_dir(&fresh).unwrap();
    let more = wanted("third.test").xml();
    change(&edge, "PUT", &config, &told.etag(), &more).refused(500, "InternalError");
    assert_eq!(std::fs::read(&chain).unwrap(), before);
    std::fs::remove_dir(&fresh).unwrap();
    // Nor does a create that is refused leave one: its CA is there, and nothing beside it.
    let count = |folder: &std::path::Path| std::fs::read_dir(folder).unwrap().count();
    let made = count(&place);
    let taken = Wanted { more: alias("other.test"), ..Wanted::new("second", &origin) };
    call(&edge, "POST", "distribution", &taken.xml()).refused(409, "CNAMEAlreadyExists");
    assert_eq!(count(&place), made);
    let off = Wanted { enabled: false, ..wanted("other.test") };
    let off = change(&edge, "PUT", &config, &told.etag(), &off.xml()).expect(200);
    change(&edge, "DELETE", &format!("distribution/{id}"), &off.etag(), "").expect(204);
    assert!(!chain.exists() && ca.exists());
}

#[test]
fn a_distribution_moves_into_a_file_and_back() {
    let origin = Origin::start(|_| fresh(b"page"));
    let folder = folder("certificates = \"any\"\n");
    let path = folder.path().join("edge.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::create_dir(folder.path().join("sites")).unwrap();
    let edge = Edge::start_in(Arc::clone(&folder));
    let adopt = |edge: &Edge, id: &str, undo: bool| {
        let body = serde_json::json!({ "distribution": id, "undo": undo }).to_string();
        edge.admin("POST", "/v1/adoptions", &body)
    };
    let wanted = Wanted { more: alias("shop.test"), ..Wanted::new("r", &origin) };
    let made = call(&edge, "POST", "distribution", &wanted.xml()).expect(201);
    let (id, domain) = (made.element("Id"), made.element("DomainName"));
    assert_eq!(cache(&edge, "shop.test", "/a"), (200, "Miss".into()));
    let (status, why) = adopt(&edge, &id, false);
    assert!(status == 409 && why.contains("include"), "{why}");
    std::fs::write(&path, format!("include = [\"sites/*.toml\"]\n{text}")).unwrap();
    assert_eq!(adopt(&edge, "ENONE", false).0, 409);
    let subscription = format!("distributions/{id}/monitoring-subscription");
    let body = "<MonitoringSubscription><RealtimeMetricsSubscriptionConfig><RealtimeMetricsSubscriptionStatus>Enabled\
                </RealtimeMetricsSubscriptionStatus></RealtimeMetricsSubscriptionConfig></MonitoringSubscription>";
    call(&edge, "POST", &subscription, body).expect(200);
    // A file says otherwise who is tried out on whom.
    let staging = Wanted { more: "<Staging>true</Staging>".into(), ..Wanted::new("s", &origin) };
    let staging = call(&edge, "POST", "distribution", &staging.xml()).expect(201).element("Id");
    let (status, why) = adopt(&edge, &staging, false);
    assert!(status == 409 && why.contains("continuous deployment"), "{why}");
    let (status, told) = adopt(&edge, &id, false);
    assert!(status == 200 && told.contains(&id), "{told}");
    let file = folder.path().join(format!("sites/{id}.toml"));
    let document = folder.path().join(format!("data/api/distribution/{id}.json"));
    assert!(file.exists() && !document.exists());
    // No subscription is left without its document.
    call(&edge, "GET", &subscription, "").refused(404, "NoSuchMonitoringSubscription");
    let folder_of = folder.path().join("data/api/monitoring-subscription");
    assert_eq!(std::fs::read_dir(folder_of).unwrap().count(), 0);
    // The same host, the same store; the API shows it, and changes it no more.
    for host in ["shop.test", domain.as_str()] {
        assert_eq!(cache(&edge, host, "/a"), (200, "Hit".into()), "{host}");
    }
    let config = format!("distribution/{id}/config");
    let got = call(&edge, "GET", &config, "").expect(200);
    change(&edge, "PUT", &config, &got.etag(), &wanted.xml()).refused(403, "AccessDenied");
    // A document that a crash left behind does not count beside the file.
    let kept = edge.kill();
    let stale =
        serde_json::json!({ "id": id, "revision": 1, "created": 0, "modified": 0, "config": {} });
    std::fs::write(&document, stale.to_string()).unwrap();
    let edge = Edge::start_in(kept);
    assert_eq!(cache(&edge, "shop.test", "/a").0, 200);
    let more = std::fs::read_to_string(&file).unwrap();
    std::fs::write(
        &file,
        more.replace("[[distribution]]", "[[distribution]]\ncomment = \"by hand\"")
            .replace("comment = \"made & kept\"\n", ""),
    )
    .unwrap();
    assert_eq!(edge.admin("POST", "/v1/reload", "").0, 200);
    let (status, told) = adopt(&edge, &id, true);
    assert_eq!(status, 200, "{told}");
    assert!(!file.exists() && document.exists());
    assert_eq!(cache(&edge, "shop.test", "/a").1, "Hit");
    let got = call(&edge, "GET", &format!("distribution/{id}"), "").expect(200);
    assert_eq!((got.element("Comment").as_str(), got.element("DomainName")), ("by hand", domain));
    assert_ne!(got.etag(), made.etag(), "no version that was seen before");
    let config = call(&edge, "GET", &config, "").expect(200);
    let target = format!("distribution/{id}/config");
    change(&edge, "PUT", &target, &config.etag(), &config.body).expect(200);
}

// A bucket under AWS's own name, found and signed for as the file says.
#[test]
fn buckets_of_the_api_are_signed_for_and_found_where_the_file_says() {
    let origin = Origin::start(|_| fresh(b"object"));
    let folder = folder(&format!(
        "s3_credentials = {{ id = {{ file = \"id\" }}, secret = {{ file = \"secret\" }} }}\n\
         [origin_names]\n\"*.s3.eu-west-1.amazonaws.com\" = \"http://{}/*\"\n",
        origin.address
    ));
    std::fs::write(folder.path().join("id"), "AKIDBUCKET").unwrap();
    let edge = Edge::start_in(folder);
    let control = "<OriginAccessControlConfig><Name>own</Name><SigningProtocol>sigv4</SigningProtocol><SigningBehavior>always</SigningBehavior>\
                   <OriginAccessControlOriginType>s3</OriginAccessControlOriginType></OriginAccessControlConfig>";
    let control = call(&edge, "POST", "origin-access-control", control).expect(201).element("Id");
    let xml = Wanted::new("r", &origin).xml();
    let (before, rest) = xml.split_once("<DomainName>").unwrap();
    let (_, after) = rest.split_once("</CustomOriginConfig>").unwrap();
    let bucket = format!(
        "{before}<DomainName>pictures.s3.eu-west-1.amazonaws.com</DomainName><S3OriginConfig><OriginAccessIdentity></OriginAccessIdentity>\
         </S3OriginConfig><OriginAccessControlId>{control}</OriginAccessControlId>{after}"
    );
    let made = call(&edge, "POST", "distribution", &bucket).expect(201);
    assert_eq!(cache(&edge, &made.element("DomainName"), "/a.png"), (200, "Miss".into()));
    let asked = &origin.seen()[0];
    assert_eq!(asked.target, "/pictures/a.png");
    assert_eq!(asked.field("host").as_deref(), Some("pictures.s3.eu-west-1.amazonaws.com"));
    let proof = asked.field("authorization").unwrap_or_default();
    assert!(
        proof.starts_with("AWS4-HMAC-SHA256 Credential=AKIDBUCKET/")
            && proof.contains("/eu-west-1/s3/aws4_request"),
        "{proof}"
    );
    // The document says what it was told.
    let got = call(&edge, "GET", &format!("distribution/{}/config", made.element("Id")), "");
    assert!(got.body.contains("<DomainName>pictures.s3.eu-west-1.amazonaws.com</DomainName>"));
}
