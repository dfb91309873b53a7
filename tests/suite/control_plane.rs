//! CloudFront's API as tools that manage distributions use it, by signed calls of our own: what is
//! made is served, what is acknowledged outlives a kill, and what would not be obeyed is refused.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;

use foreshore::semantics::time::Timestamp;
use foreshore::tls::development::{self, Place};

use super::gateway::sign;
use super::support::origin::fresh;
use super::support::{Edge, Origin, eventually};

pub const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
pub const ALL: &str = "AKIDEXAMPLE";
/// A key that is allowed nothing by name.
const PLAIN: &str = "AKIDPLAIN";
const OPTIMIZED: &str = "658327ea-f89d-4fab-a63d-7e88639e58f6";
const PEM: &str = include_str!("../../config/example-signer.pem");
/// RSA, as field-level encryption wants it.
const FIELDS: &str = include_str!("../../config/example-fields.pem");

/// An answer of the API.
#[derive(Debug)]
pub struct Told {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Told {
    pub fn field(&self, name: &str) -> String {
        let line = self.head.lines().find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then(|| value.trim().to_string())
        });
        line.unwrap_or_default()
    }

    pub fn etag(&self) -> String {
        self.field("etag")
    }

    // The text of the first element of this name.
    pub fn element(&self, name: &str) -> String {
        let rest = self.body.split(&format!("<{name}>")).nth(1).unwrap_or_default();
        rest.split(&format!("</{name}>")).next().unwrap_or_default().to_string()
    }

    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}\n{}", self.head, self.body);
        self
    }

    pub fn refused(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.element("Code").as_str()), (status, code), "{}", self.body);
        assert!(self.body.contains("<ErrorResponse "), "{}", self.body);
    }
}

pub fn folder(more: &str) -> Arc<tempfile::TempDir> {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("secret"), SECRET).unwrap();
    configure(&folder, more);
    folder
}

pub fn configure(folder: &tempfile::TempDir, more: &str) {
    let key = |id: &str, allow: &str| {
        format!("[[admin.access_key]]\nid = \"{id}\"\nsecret = {{ file = \"secret\" }}\n{allow}")
    };
    let (all, plain) = (key(ALL, "allow = [\"cloudfront:*\"]\n"), key(PLAIN, ""));
    let text = format!(
        "data = \"data\"\n[listen]\nhttp = [\"127.0.0.1:0\"]\nworkers = 2\n[admin]\nlisten = \"127.0.0.1:0\"\n{all}{plain}[api]\n{more}"
    );
    std::fs::write(folder.path().join("edge.toml"), text).unwrap();
}

/// A call that is signed for CloudFront under an id and a secret.
pub fn signed_by(
    edge: &Edge,
    (id, secret): (&str, &str),
    (method, target): (&str, &str),
    more: &str,
    body: &str,
) -> Told {
    let key = (id, secret, "cloudfront");
    let fields = sign(key, (method, "admin", target), &[], body.as_bytes());
    let fields: String = fields.iter().map(|line| format!("{line}\r\n")).collect();
    let (status, head, body) = edge.admin_whole(method, target, body, &format!("{fields}{more}"));
    Told { status, head, body }
}

fn signed(edge: &Edge, id: &str, method: &str, target: &str, more: &str, body: &str) -> Told {
    let target = format!("/2020-05-31/{target}");
    signed_by(edge, (id, SECRET), (method, target.as_str()), more, body)
}

pub fn call(edge: &Edge, method: &str, target: &str, body: &str) -> Told {
    signed(edge, ALL, method, target, "", body)
}

pub fn change(edge: &Edge, method: &str, target: &str, etag: &str, body: &str) -> Told {
    signed(edge, ALL, method, target, &format!("If-Match: {etag}\r\n"), body)
}

/// A distribution before an origin of the tests.
#[derive(Clone)]
pub struct Wanted {
    pub reference: String,
    pub port: u16,
    pub enabled: bool,
    pub policy: String,
    /// Elements of the configuration, of its origin, and of its behavior.
    pub more: String,
    pub origin: String,
    pub behavior: String,
}

impl Wanted {
    pub fn new(reference: &str, origin: &Origin) -> Self {
        Self {
            reference: reference.into(),
            port: origin.address.port(),
            enabled: true,
            policy: OPTIMIZED.into(),
            more: String::new(),
            origin: String::new(),
            behavior: String::new(),
        }
    }

    pub fn xml(&self) -> String {
        let Self { reference, port, enabled, policy, more, origin, behavior } = self;
        // As tools send it: empty elements where nothing is set.
        format!(
            "<DistributionConfig xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"><Comment>made &amp; kept</Comment>\
             <Enabled>{enabled}</Enabled><CallerReference>{reference}</CallerReference><WebACLId></WebACLId><Origins><Quantity>1</Quantity><Items>\
             <Origin><Id>o</Id><DomainName>127.0.0.1</DomainName><CustomOriginConfig><HTTPPort>{port}</HTTPPort><HTTPSPort>443</HTTPSPort>\
             <OriginProtocolPolicy>http-only</OriginProtocolPolicy></CustomOriginConfig>{origin}</Origin></Items></Origins>\
             <DefaultCacheBehavior><TargetOriginId>o</TargetOriginId><ViewerProtocolPolicy>allow-all</ViewerProtocolPolicy>\
             <CachePolicyId>{policy}</CachePolicyId><OriginRequestPolicyId></OriginRequestPolicyId>{behavior}</DefaultCacheBehavior>{more}\
             </DistributionConfig>"
        )
    }
}

pub fn cache(edge: &Edge, host: &str, path: &str) -> (u16, String) {
    let seen = edge.get_with(path, &[&format!("Host: {host}")]);
    let told = seen.field("x-cache").unwrap_or_default();
    (seen.status, told.split(' ').next().unwrap_or_default().to_string())
}

#[test]
fn a_distribution_lives_from_create_to_delete() {
    let origin = Origin::start(|_| fresh(b"page"));
    let edge = Edge::start_in(folder(""));
    let mut wanted = Wanted::new("r1", &origin);
    let made = call(&edge, "POST", "distribution", &wanted.xml()).expect(201);
    let (id, domain, first) = (made.element("Id"), made.element("DomainName"), made.etag());
    assert_eq!((id.len(), first.len(), made.element("Status").as_str()), (14, 13, "InProgress"));
    assert!(
        made.body
            .contains(&format!("<ARN>arn:aws:cloudfront::000000000177:distribution/{id}</ARN>"))
    );
    assert_eq!(
        made.field("location"),
        format!("https://cloudfront.amazonaws.com/2020-05-31/distribution/{id}")
    );
    // Served before the answer came.
    assert_eq!(cache(&edge, &domain, "/a"), (200, "Miss".into()));
    assert_eq!(cache(&edge, &domain, "/a"), (200, "Hit".into()));
    let one = format!("distribution/{id}");
    let config = format!("{one}/config");
    let got = call(&edge, "GET", &one, "").expect(200);
    assert_eq!((got.element("Status").as_str(), got.etag()), ("Deployed", first.clone()));
    let read = call(&edge, "GET", &config, "").expect(200);
    assert_eq!(read.element("Comment"), "made &amp; kept");
    for needed in ["<OriginGroups><Quantity>0", "<CachedMethods>", "<TrustedSigners>", "<Logging>"]
    {
        assert!(read.body.contains(needed), "{needed} is not in {}", read.body);
    }
    assert!(!read.body.contains("ForwardedValues") && !read.body.contains("MinTTL"));
    // What was read can be sent back, and changes nothing.
    let same = change(&edge, "PUT", &config, &first, &read.body).expect(200);
    assert_eq!(same.etag(), first);
    call(&edge, "DELETE", &one, "").refused(400, "InvalidIfMatchVersion");
    change(&edge, "PUT", &config, "E00000000000000", &read.body).refused(412, "PreconditionFailed");
    change(&edge, "DELETE", &one, &first, "").refused(409, "DistributionNotDisabled");
    wanted.enabled = false;
    let off = change(&edge, "PUT", &config, &first, &wanted.xml()).expect(200);
    assert_ne!(off.etag(), first);
    assert_eq!(cache(&edge, &domain, "/a").0, 403);
    wanted.enabled = true;
    let on = change(&edge, "PUT", &config, &off.etag(), &wanted.xml()).expect(200);
    assert_eq!(cache(&edge, &domain, "/a"), (200, "Hit".into()), "what was stored is there still");
    change(&edge, "PUT", &config, &off.etag(), &wanted.xml()).refused(412, "PreconditionFailed");
    let other = Wanted { reference: "r2".into(), ..wanted.clone() };
    change(&edge, "PUT", &config, &on.etag(), &other.xml()).refused(400, "IllegalUpdate");
    call(&edge, "POST", "distribution", &wanted.xml()).refused(409, "DistributionAlreadyExists");
    // Everything that was acknowledged outlives a kill, its version too.
    let edge = Edge::start_in(edge.kill());
    assert_eq!(call(&edge, "GET", &one, "").expect(200).etag(), on.etag());
    assert_eq!(cache(&edge, &domain, "/a").0, 200);
    wanted.enabled = false;
    let off = change(&edge, "PUT", &config, &on.etag(), &wanted.xml()).expect(200);
    change(&edge, "DELETE", &one, &off.etag(), "").expect(204);
    call(&edge, "GET", &one, "").refused(404, "NoSuchDistribution");
    assert_eq!(cache(&edge, &domain, "/a").0, 403, "the host is not served any more");
    let edge = Edge::start_in(edge.kill());
    call(&edge, "GET", &config, "").refused(404, "NoSuchDistribution");
}

// A file that was moved away is written on until somebody asks for a reload.
#[test]
fn a_change_leaves_the_files_of_logs_as_they_are() {
    let origin = Origin::start(|_| fresh(b"page"));
    let folder = folder("[log]\naccess = \"access.log\"\n");
    let edge = Edge::start_in(Arc::clone(&folder));
    let mut wanted = Wanted::new("r1", &origin);
    let made = call(&edge, "POST", "distribution", &wanted.xml()).expect(201);
    let host = made.element("DomainName");
    let config = format!("distribution/{}/config", made.element("Id"));
    let path = |name: &str| folder.path().join(name);
    let says = |name: &str, words: &str| {
        std::fs::read_to_string(path(name)).is_ok_and(|text| text.contains(words))
    };
    assert_eq!(cache(&edge, &host, "/first").0, 200);
    eventually("the first line is there", || says("access.log", "/first"));
    std::fs::rename(path("access.log"), path("moved.log")).unwrap();
    wanted.enabled = false;
    let off = change(&edge, "PUT", &config, &made.etag(), &wanted.xml()).expect(200);
    wanted.enabled = true;
    change(&edge, "PUT", &config, &off.etag(), &wanted.xml()).expect(200);
    assert_eq!(cache(&edge, &host, "/second").0, 200);
    eventually("it is written on", || says("moved.log", "/second"));
    assert!(!path("access.log").exists());
    assert_eq!(edge.admin("POST", "/v1/reload", "").0, 200);
    assert_eq!(cache(&edge, &host, "/third").0, 200);
    eventually("a reload opens another one", || says("access.log", "/third"));
}

type Sample = (&'static str, &'static str, &'static str, String, [&'static str; 2]);

// Each kind but distributions: its path, its elements' name, where it is put, a configuration, and
// a part of it that may be changed, with what it becomes.
fn kinds(key: &str, fields: &str) -> Vec<Sample> {
    let choice = "<CookiesConfig><CookieBehavior>none</CookieBehavior></CookiesConfig>\
                  <QueryStringsConfig><QueryStringBehavior>all</QueryStringBehavior></QueryStringsConfig>";
    let comment = ["<Comment>c</Comment>", "<Comment>d</Comment>"];
    let escaped = PEM.replace('\r', "");
    vec![
        (
            "cache-policy",
            "CachePolicy",
            "",
            format!(
                "<Comment>c</Comment><Name>own</Name><DefaultTTL>60</DefaultTTL><MaxTTL>600</MaxTTL><MinTTL>1</MinTTL>\
                 <ParametersInCacheKeyAndForwardedToOrigin><EnableAcceptEncodingGzip>true</EnableAcceptEncodingGzip>\
                 <HeadersConfig><HeaderBehavior>whitelist</HeaderBehavior><Headers><Quantity>1</Quantity><Items><Name>Origin</Name></Items></Headers>\
                 </HeadersConfig>{choice}</ParametersInCacheKeyAndForwardedToOrigin>"
            ),
            comment,
        ),
        (
            "origin-request-policy",
            "OriginRequestPolicy",
            "",
            format!("<Comment>c</Comment><Name>own</Name><HeadersConfig><HeaderBehavior>allViewer</HeaderBehavior></HeadersConfig>{choice}"),
            comment,
        ),
        (
            "response-headers-policy",
            "ResponseHeadersPolicy",
            "",
            "<Comment>c</Comment><Name>own</Name><CustomHeadersConfig><Quantity>1</Quantity><Items><ResponseHeadersPolicyCustomHeader>\
             <Header>X-B</Header><Value>b</Value><Override>false</Override></ResponseHeadersPolicyCustomHeader></Items></CustomHeadersConfig>"
                .into(),
            comment,
        ),
        (
            "origin-access-control",
            "OriginAccessControl",
            "/config",
            "<Name>own</Name><Description>c</Description><SigningProtocol>sigv4</SigningProtocol><SigningBehavior>always</SigningBehavior>\
             <OriginAccessControlOriginType>s3</OriginAccessControlOriginType>"
                .into(),
            ["<Description>c</Description>", "<Description>d</Description>"],
        ),
        (
            "origin-access-identity/cloudfront",
            "CloudFrontOriginAccessIdentity",
            "/config",
            "<CallerReference>own</CallerReference><Comment>c</Comment>".into(),
            comment,
        ),
        (
            "public-key",
            "PublicKey",
            "/config",
            format!("<CallerReference>own</CallerReference><Name>own</Name><EncodedKey>{escaped}</EncodedKey><Comment>c</Comment>"),
            comment,
        ),
        (
            "key-group",
            "KeyGroup",
            "",
            format!("<Name>own</Name><Items><PublicKey>{key}</PublicKey></Items><Comment>c</Comment>"),
            comment,
        ),
        (
            "field-level-encryption-profile",
            "FieldLevelEncryptionProfile",
            "/config",
            format!(
                "<Name>own</Name><CallerReference>own</CallerReference><Comment>c</Comment><EncryptionEntities><Quantity>1</Quantity><Items>\
                 <EncryptionEntity><PublicKeyId>{fields}</PublicKeyId><ProviderId>shop</ProviderId><FieldPatterns><Quantity>1</Quantity><Items>\
                 <FieldPattern>card*</FieldPattern></Items></FieldPatterns></EncryptionEntity></Items></EncryptionEntities>"
            ),
            comment,
        ),
        (
            "field-level-encryption",
            "FieldLevelEncryption",
            "/config",
            "<CallerReference>own</CallerReference><Comment>c</Comment><QueryArgProfileConfig><ForwardWhenQueryArgProfileIsUnknown>true\
             </ForwardWhenQueryArgProfileIsUnknown><QueryArgProfiles><Quantity>0</Quantity></QueryArgProfiles></QueryArgProfileConfig>"
                .into(),
            comment,
        ),
    ]
}

#[test]
fn every_kind_is_made_read_listed_changed_and_removed() {
    let edge = Edge::start_in(folder(""));
    let make = |name: &str, pem: &str| {
        let body = format!(
            "<PublicKeyConfig><CallerReference>{name}</CallerReference><Name>{name}</Name><EncodedKey>{pem}</EncodedKey></PublicKeyConfig>"
        );
        call(&edge, "POST", "public-key", &body).expect(201)
    };
    let (signer, fields) = (make("signer", PEM), make("fields", FIELDS));
    assert!(signer.body.contains("<Comment></Comment>"), "{}", signer.body);
    for (path, name, put, inner, [old, new]) in kinds(&signer.element("Id"), &fields.element("Id"))
    {
        let body = format!("<{name}Config>{inner}</{name}Config>");
        let made = call(&edge, "POST", path, &body).expect(201);
        let (id, etag) = (made.element("Id"), made.etag());
        let one = format!("{path}/{id}");
        assert_eq!(
            made.field("location"),
            format!("https://cloudfront.amazonaws.com/2020-05-31/{one}")
        );
        let got = call(&edge, "GET", &one, "").expect(200);
        assert_eq!((got.etag(), got.body), (etag.clone(), made.body), "{path}");
        let config = call(&edge, "GET", &format!("{one}/config"), "").expect(200);
        // Every piece that was sent is there again.
        for piece in inner.split("><").map(|piece| piece.trim_matches(['<', '>'])) {
            assert!(config.body.contains(piece), "{path}: {piece} is not in {}", config.body);
        }
        assert!(call(&edge, "GET", path, "").expect(200).body.contains(&id), "{path}");
        let changed = body.replace(old, new);
        let target = format!("{one}{put}");
        change(&edge, "PUT", &target, "EOTHER", &changed).refused(412, "PreconditionFailed");
        let now = change(&edge, "PUT", &target, &etag, &changed).expect(200);
        assert!(now.body.contains(new) && now.etag() != etag, "{path}: {}", now.body);
        change(&edge, "DELETE", &one, &etag, "").refused(412, "PreconditionFailed");
        let edge_etag = call(&edge, "GET", &one, "").expect(200).etag();
        assert_eq!(edge_etag, now.etag());
        change(&edge, "DELETE", &one, &edge_etag, "").expect(204);
        assert_eq!(call(&edge, "GET", &one, "").status, 404, "{path}");
    }
}

#[test]
fn what_is_named_stays_while_it_is_named() {
    let origin = Origin::start(|_| fresh(b"page"));
    let edge = Edge::start_in(folder(""));
    let (path, name, _, inner, _) = kinds("", "").remove(0);
    let policy =
        call(&edge, "POST", path, &format!("<{name}Config>{inner}</{name}Config>")).expect(201);
    let mut wanted = Wanted::new("r", &origin);
    wanted.policy = policy.element("Id");
    let made = call(&edge, "POST", "distribution", &wanted.xml()).expect(201);
    let domain = made.element("DomainName");
    assert_eq!(cache(&edge, &domain, "/a?x=1"), (200, "Miss".into()));
    assert_eq!(cache(&edge, &domain, "/a?x=2"), (200, "Miss".into()), "the query is in its key");
    let one = format!("cache-policy/{}", wanted.policy);
    change(&edge, "DELETE", &one, &policy.etag(), "").refused(409, "CachePolicyInUse");
    let users = call(&edge, "GET", &format!("distributionsByCachePolicyId/{}", wanted.policy), "");
    assert_eq!(users.expect(200).element("DistributionId"), made.element("Id"));
    // A change of the policy is a change of what is served.
    let none = format!("<{name}Config>{}</{name}Config>", inner.replace(">all<", ">none<"));
    change(&edge, "PUT", &one, &policy.etag(), &none).expect(200);
    assert_eq!(cache(&edge, &domain, "/b?x=1"), (200, "Miss".into()));
    assert_eq!(cache(&edge, &domain, "/b?x=2"), (200, "Hit".into()));
}

#[test]
fn managed_policies_have_their_names_and_stay() {
    let edge = Edge::start_in(folder(""));
    for (path, id, name) in [
        ("cache-policy", OPTIMIZED, "Managed-CachingOptimized"),
        ("origin-request-policy", "216adef6-5c7f-47e4-b989-5492eafa07d3", "Managed-AllViewer"),
        ("response-headers-policy", "60669652-455b-4ae9-85a4-c4c02393f86c", "Managed-SimpleCORS"),
    ] {
        let listed = call(&edge, "GET", &format!("{path}?Type=managed"), "").expect(200);
        assert!(listed.body.contains(&format!("<Name>{name}</Name>")), "{}", listed.body);
        assert_eq!(call(&edge, "GET", &format!("{path}?Type=custom"), "").element("Quantity"), "0");
        let got = call(&edge, "GET", &format!("{path}/{id}"), "").expect(200);
        assert_eq!(got.element("Name"), name);
        change(&edge, "DELETE", &format!("{path}/{id}"), &got.etag(), "")
            .refused(400, "IllegalDelete");
    }
    let first = call(&edge, "GET", "cache-policy?MaxItems=3", "").expect(200);
    let next = first.element("NextMarker");
    assert_eq!((first.element("Quantity").as_str(), next.is_empty()), ("3", false));
    let rest = call(&edge, "GET", &format!("cache-policy?Marker={next}"), "").expect(200);
    assert!(
        !rest.body.contains(&format!("<Id>{next}</Id>")) && rest.element("NextMarker").is_empty()
    );
}

#[test]
fn tags_come_with_a_distribution_and_change_without_it() {
    let origin = Origin::start(|_| fresh(b"page"));
    let edge = Edge::start_in(folder(""));
    let tag = |key: &str, value: &str| format!("<Tag><Key>{key}</Key><Value>{value}</Value></Tag>");
    let both = format!(
        "<DistributionConfigWithTags>{}<Tags><Items>{}</Items></Tags></DistributionConfigWithTags>",
        Wanted::new("r", &origin).xml(),
        tag("team", "edge")
    );
    let made = call(&edge, "POST", "distribution?WithTags=", &both).expect(201);
    let resource = made.element("ARN").replace(':', "%3A").replace('/', "%2F");
    let listed =
        || call(&edge, "GET", &format!("tagging?Resource={resource}"), "").expect(200).body;
    assert!(listed().contains(&tag("team", "edge")));
    let more = format!("<Tags><Items>{}{}</Items></Tags>", tag("team", "other"), tag("b", ""));
    call(&edge, "POST", &format!("tagging?Operation=Tag&Resource={resource}"), &more).expect(204);
    assert!(
        listed().contains(&format!("{}{}", tag("b", ""), tag("team", "other"))),
        "{}",
        listed()
    );
    let keys = "<TagKeys><Items><Key>team</Key><Key>b</Key></Items></TagKeys>";
    call(&edge, "POST", &format!("tagging?Operation=Untag&Resource={resource}"), keys).expect(204);
    assert!(listed().ends_with("<Items></Items></Tags>"), "{}", listed());
    let got = call(&edge, "GET", &format!("distribution/{}", made.element("Id")), "");
    assert_eq!(got.etag(), made.etag(), "tags are no part of what an ETag stands for");
    call(&edge, "GET", "tagging?Resource=arn%3Aaws%3Acloudfront%3A%3A1%3Adistribution%2FE", "")
        .refused(404, "NoSuchResource");
}

// What would not be obeyed, or makes no sense: each with the code and a word of the message.
#[test]
fn whatever_would_not_be_obeyed_is_refused_by_name() {
    let origin = Origin::start(|_| fresh(b"page"));
    let edge = Edge::start_in(folder(""));
    let aliases =
        "<Aliases><Quantity>1</Quantity><Items><CNAME>www.example.com</CNAME></Items></Aliases>";
    let acm = "<ViewerCertificate><ACMCertificateArn>arn:aws:acm:us-east-1:1:certificate/x</ACMCertificateArn>\
               <SSLSupportMethod>sni-only</SSLSupportMethod></ViewerCertificate>";
    let geo = "<Restrictions><GeoRestriction><RestrictionType>whitelist</RestrictionType><Quantity>1</Quantity><Items>\
               <Location>DE</Location></Items></GeoRestriction></Restrictions>";
    let log = "<Logging><Enabled>true</Enabled><IncludeCookies>false</IncludeCookies><Bucket>b</Bucket><Prefix></Prefix></Logging>";
    let mtls = "<ViewerMtlsConfig><Mode>required</Mode><TrustStoreConfig><TrustStoreId>ts</TrustStoreId></TrustStoreConfig></ViewerMtlsConfig>";
    let grpc = "<GrpcConfig><Enabled>true</Enabled></GrpcConfig>";
    let usual = Wanted::new("r", &origin);
    let more = |more: &str| Wanted { more: more.into(), ..usual.clone() };
    let in_origin = |more: &str| Wanted { origin: more.into(), ..usual.clone() };
    let behavior = |more: &str| Wanted { behavior: more.into(), ..usual.clone() };
    for (wanted, status, code, word) in [
        (more(&format!("<Staging>true</Staging>{aliases}")), 400, "InvalidArgument", "Aliases"),
        (more(mtls), 400, "InvalidArgument", "no trust store"),
        (behavior(grpc), 400, "InvalidArgument", "GrpcConfig"),
        (
            more("<ContinuousDeploymentPolicyId>none</ContinuousDeploymentPolicyId>"),
            404,
            "NoSuchContinuousDeploymentPolicy",
            "none",
        ),
        (more("<Later>1</Later>"), 400, "InvalidArgument", "Later"),
        (more("<PriceClass>x</PriceClass>"), 400, "InvalidArgument", "PriceClass"),
        (more(aliases), 400, "InvalidViewerCertificate", "www.example.com"),
        (more(&format!("{aliases}{acm}")), 400, "InvalidViewerCertificate", "certificate/x"),
        (more(geo), 400, "InvalidGeoRestrictionParameter", "GeoRestriction"),
        (more(log), 400, "InvalidArgument", "Logging"),
        (more("<DefaultRootObject>/a</DefaultRootObject>"), 400, "InvalidDefaultRootObject", ""),
        (
            in_origin("<ResponseCompletionTimeout>9</ResponseCompletionTimeout>"),
            400,
            "InvalidArgument",
            "ResponseCompletionTimeout",
        ),
        (
            in_origin("<ConnectionAttempts>9</ConnectionAttempts>"),
            400,
            "InvalidArgument",
            "ConnectionAttempts",
        ),
        (
            in_origin("<OriginAccessControlId>ENONE</OriginAccessControlId>"),
            400,
            "InvalidOriginAccessControl",
            "ENONE",
        ),
        (
            behavior("<SmoothStreaming>true</SmoothStreaming>"),
            400,
            "InvalidArgument",
            "SmoothStreaming",
        ),
        (
            behavior("<ResponseHeadersPolicyId>none</ResponseHeadersPolicyId>"),
            404,
            "NoSuchResponseHeadersPolicy",
            "none",
        ),
        (
            behavior(
                "<TrustedKeyGroups><Enabled>true</Enabled><Quantity>2</Quantity><Items><KeyGroup>g</KeyGroup></Items></TrustedKeyGroups>",
            ),
            400,
            "InconsistentQuantities",
            "",
        ),
        (
            behavior(
                "<TrustedKeyGroups><Enabled>true</Enabled><Quantity>1</Quantity><Items><KeyGroup>g</KeyGroup></Items></TrustedKeyGroups>",
            ),
            400,
            "TrustedKeyGroupDoesNotExist",
            "g",
        ),
        (Wanted { policy: "none".into(), ..usual.clone() }, 404, "NoSuchCachePolicy", "none"),
    ] {
        let told = call(&edge, "POST", "distribution", &wanted.xml());
        told.refused(status, code);
        assert!(told.element("Message").contains(word), "{word} is not in {}", told.body);
    }
    let nowhere = usual.xml().replace("<TargetOriginId>o<", "<TargetOriginId>p<");
    call(&edge, "POST", "distribution", &nowhere).refused(404, "NoSuchOrigin");
    for (method, target, body, status, code) in [
        ("POST", "distribution", "", 400, "MissingBody"),
        ("POST", "distribution", "\u{0}", 400, "MalformedXML"),
        ("POST", "distribution", "<DistributionConfig>", 400, "MalformedXML"),
        ("POST", "distribution", "<!DOCTYPE a><DistributionConfig/>", 400, "MalformedXML"),
        ("POST", "distribution", "<Tags/>", 400, "MalformedXML"),
        ("PATCH", "distribution", "", 404, "UnsupportedOperation"),
        ("POST", "streaming-distribution", "", 404, "UnsupportedOperation"),
        ("GET", "streaming-distribution/E1", "", 404, "NoSuchStreamingDistribution"),
        ("GET", "vpc-origin/vo_1", "", 404, "EntityNotFound"),
        ("GET", "distribution?MaxItems=0", "", 400, "InvalidArgument"),
        ("GET", "distributionsByCachePolicyId/none", "", 404, "NoSuchCachePolicy"),
    ] {
        call(&edge, method, target, body).refused(status, code);
    }
    // Nothing of it was kept, and the edge has nothing to serve.
    let listed = call(&edge, "GET", "distribution", "").expect(200);
    assert_eq!(listed.element("Quantity"), "0");
    assert!(!listed.body.contains("<Items>"), "{}", listed.body);
    assert!(!edge.path().join("data/api/distribution").exists());
}

#[test]
fn trust_stores_have_the_certificates_that_the_file_has_for_their_bundles() {
    let origin = Origin::start(|_| fresh(b"page"));
    let folder = folder("[trust_store.\"s3://bucket/ca.pem\"]\nfile = \"certificates/ca.pem\"\n");
    let (place, now) = (Place::of(folder.path(), "x"), Timestamp::from_secs(1_700_000_000));
    development::make(&place, &["localhost".to_string()], now).unwrap();
    let edge = Edge::start_in(folder);
    let source = |key: &str| {
        format!(
            "<CaCertificatesBundleSource><CaCertificatesBundleS3Location><Bucket>bucket</Bucket><Key>{key}</Key><Region>eu-west-1</Region>\
             </CaCertificatesBundleS3Location></CaCertificatesBundleSource>"
        )
    };
    let create = |name: &str, key: &str, more: &str| {
        let body = format!(
            "<CreateTrustStoreRequest><Name>{name}</Name>{}{more}</CreateTrustStoreRequest>",
            source(key)
        );
        call(&edge, "POST", "trust-store", &body)
    };
    let refused = create("clients", "other.pem", "");
    refused.refused(400, "InvalidArgument");
    assert!(refused.element("Message").contains("s3://bucket/other.pem"), "{}", refused.body);
    let ocsp = "<UseClientCertificateOCSPEndpoint>true</UseClientCertificateOCSPEndpoint>";
    create("clients", "ca.pem", ocsp).refused(400, "InvalidArgument");
    let made = create("clients", "ca.pem", "").expect(201);
    let (id, arn) = (made.element("Id"), made.element("Arn"));
    assert_eq!(arn, format!("arn:aws:cloudfront::000000000177:trust-store/{id}"));
    assert_eq!(
        (made.element("Status").as_str(), made.element("NumberOfCaCertificates").as_str()),
        ("active", "1")
    );
    create("clients", "ca.pem", "").refused(409, "EntityAlreadyExists");
    let second = create("second", "ca.pem", "").expect(201).element("Id");
    let tags = format!("tagging?Resource={}", arn.replace(':', "%3A").replace('/', "%2F"));
    let body = "<Tags><Items><Tag><Key>team</Key><Value>edge</Value></Tag></Items></Tags>";
    let tag = tags.replace('?', "?Operation=Tag&");
    call(&edge, "POST", &tag, body).expect(204);
    assert_eq!(call(&edge, "GET", &tags, "").expect(200).element("Value"), "edge");
    let one = format!("trust-store/{id}");
    let got = call(&edge, "GET", &one, "").expect(200);
    assert_eq!((got.etag(), got.element("Name").as_str()), (made.etag(), "clients"));
    let page = call(&edge, "POST", "trust-stores", "").expect(200);
    assert!(page.body.contains(&id) && page.body.contains(&second), "{}", page.body);
    let body = "<ListTrustStoresRequest><MaxItems>1</MaxItems></ListTrustStoresRequest>";
    let page = call(&edge, "POST", "trust-stores", body).expect(200);
    assert_eq!(page.body.matches("<TrustStoreSummary>").count(), 1, "{}", page.body);
    assert!([&id, &second].contains(&&page.element("NextMarker")));
    // A distribution names it, and it stays while one does.
    let rule = |id: &str| {
        format!(
            "<ViewerMtlsConfig><Mode>optional</Mode><TrustStoreConfig><TrustStoreId>{id}</TrustStoreId></TrustStoreConfig></ViewerMtlsConfig>"
        )
    };
    let wanted = Wanted { more: rule("ts_none"), ..Wanted::new("r", &origin) };
    call(&edge, "POST", "distribution", &wanted.xml()).refused(400, "InvalidArgument");
    let wanted = Wanted { more: rule(&id), ..wanted };
    call(&edge, "POST", "distribution", &wanted.xml()).expect(201);
    change(&edge, "DELETE", &one, &made.etag(), "").refused(409, "CannotDeleteEntityWhileInUse");
    call(&edge, "PUT", &one, &source("ca.pem")).refused(400, "InvalidIfMatchVersion");
    change(&edge, "PUT", &one, "E0", &source("ca.pem")).refused(412, "PreconditionFailed");
    let same = change(&edge, "PUT", &one, &made.etag(), &source("ca.pem")).expect(200);
    assert_eq!(same.etag(), made.etag());
    change(&edge, "PUT", &one, &made.etag(), &source("x.pem")).refused(400, "InvalidArgument");
    let other = format!("trust-store/{second}");
    let etag = call(&edge, "GET", &other, "").expect(200).etag();
    change(&edge, "DELETE", &other, &etag, "").expect(204);
    call(&edge, "GET", &other, "").refused(404, "EntityNotFound");
}

fn log_config(element: &str, more: &str, fields: &[&str], rate: u32) -> String {
    let fields: String = fields.iter().map(|field| format!("<Field>{field}</Field>")).collect();
    format!(
        "<{element}>{more}<EndPoints><member><StreamType>Kinesis</StreamType><KinesisStreamConfig><RoleARN>arn:aws:iam::1:role/r</RoleARN>\
         <StreamARN>arn:aws:kinesis:us-east-1:1:stream/s</StreamARN></KinesisStreamConfig></member></EndPoints><Fields>{fields}</Fields>\
         <SamplingRate>{rate}</SamplingRate></{element}>"
    )
}

#[test]
fn real_time_logs_are_those_that_the_file_has() {
    let origin = Origin::start(|_| fresh(b"page"));
    let told = ["timestamp", "sc-status", "cs-uri-stem"];
    let edge = Edge::start_in(folder(
        "[log.realtime_config.all]\nfile = \"rt.log\"\nfields = [\"timestamp\", \"sc-status\", \"cs-uri-stem\"]\n\
         [log.realtime_config.more]\nfile = \"more.log\"\nfields = [\"timestamp\", \"sc-status\", \"cs-uri-stem\"]\n",
    ));
    let create = |name: &str, fields: &[&str], rate: u32| {
        let name = format!("<Name>{name}</Name>");
        let body = log_config("CreateRealtimeLogConfigRequest", &name, fields, rate);
        call(&edge, "POST", "realtime-log-config", &body)
    };
    // What the file does not say is not written.
    for (name, fields, rate, field) in [
        ("a/b", &told[..], 100, "Name"),
        ("none", &told[..], 100, "Name"),
        ("all", &told[..], 50, "SamplingRate"),
        ("all", &told[..2], 100, "Fields"),
        ("all", &["timestamp", "sc-status", "cs-uri-stem", "c-ip"][..], 100, "Fields"),
    ] {
        let refused = create(name, fields, rate);
        refused.refused(400, "InvalidArgument");
        assert!(refused.element("Message").starts_with(field), "{}", refused.body);
    }
    let arn = create("all", &told, 100).expect(201).element("ARN");
    assert_eq!(arn, "arn:aws:cloudfront::000000000177:realtime-log-config/all");
    create("all", &told, 100).refused(409, "RealtimeLogConfigAlreadyExists");
    create("more", &told, 100).expect(201);
    let get = |by: &str| {
        let body = format!("<GetRealtimeLogConfigRequest>{by}</GetRealtimeLogConfigRequest>");
        call(&edge, "POST", "get-realtime-log-config", &body)
    };
    for by in ["<Name>all</Name>", &format!("<ARN>{arn}</ARN>")] {
        let got = get(by).expect(200);
        assert_eq!(
            (got.element("StreamType").as_str(), got.element("ARN")),
            ("Kinesis", arn.clone())
        );
    }
    get("<Name>none</Name>").refused(404, "NoSuchRealtimeLogConfig");
    let page = call(&edge, "GET", "realtime-log-config?MaxItems=1", "").expect(200);
    assert!(page.body.contains("<IsTruncated>true</IsTruncated>"), "{}", page.body);
    assert_eq!(page.element("NextMarker"), "all");
    let page = call(&edge, "GET", "realtime-log-config?Marker=all", "").expect(200);
    assert!(page.body.contains("<Name>more</Name>") && !page.body.contains("<Name>all</Name>"));
    // A behavior that names one is told of, and others are not.
    let behavior = |arn: &str| format!("<RealtimeLogConfigArn>{arn}</RealtimeLogConfigArn>");
    let named = Wanted { behavior: behavior(&arn), ..Wanted::new("named", &origin) };
    let other = Wanted { behavior: behavior(&format!("{arn}-not")), ..Wanted::new("x", &origin) };
    call(&edge, "POST", "distribution", &other.xml()).refused(404, "NoSuchRealtimeLogConfig");
    let named = call(&edge, "POST", "distribution", &named.xml()).expect(201);
    let silent = Wanted::new("silent", &origin).xml();
    let silent = call(&edge, "POST", "distribution", &silent).expect(201);
    assert_eq!(cache(&edge, &silent.element("DomainName"), "/silent").0, 200);
    assert_eq!(cache(&edge, &named.element("DomainName"), "/told").0, 200);
    let log = edge.path().join("rt.log");
    let lines = || std::fs::read_to_string(&log).unwrap_or_default();
    eventually("the line is there", || lines().contains("/told"));
    assert!(!lines().contains("/silent"), "{}", lines());
    let body = "<ListDistributionsByRealtimeLogConfigRequest><RealtimeLogConfigName>all</RealtimeLogConfigName>\
                </ListDistributionsByRealtimeLogConfigRequest>";
    let users = call(&edge, "POST", "distributionsByRealtimeLogConfig", body).expect(200);
    assert!(users.body.contains(&named.element("Id")) && users.element("Quantity") == "1");
    let update = |fields: &[&str], rate: u32| {
        let name = "<Name>all</Name>";
        let body = log_config("UpdateRealtimeLogConfigRequest", name, fields, rate);
        call(&edge, "PUT", "realtime-log-config", &body)
    };
    update(&told, 100).expect(200);
    update(&told, 1).refused(400, "InvalidArgument");
    let delete = |name: &str| {
        let body = format!(
            "<DeleteRealtimeLogConfigRequest><Name>{name}</Name></DeleteRealtimeLogConfigRequest>"
        );
        call(&edge, "POST", "delete-realtime-log-config", &body)
    };
    delete("all").refused(400, "RealtimeLogConfigInUse");
    delete("more").expect(204);
    delete("more").refused(404, "NoSuchRealtimeLogConfig");
    // It is there still after a kill.
    let edge = Edge::start_in(edge.kill());
    let body = "<GetRealtimeLogConfigRequest><Name>all</Name></GetRealtimeLogConfigRequest>";
    call(&edge, "POST", "get-realtime-log-config", body).expect(200);
}

// What is stored of a distribution is made old once the distribution is gone, and not before.
#[test]
fn a_delete_that_is_not_made_purges_nothing() {
    let origin = Origin::start(|_| fresh(b"page"));
    let edge = Edge::start_in(folder(""));
    let wanted = Wanted { enabled: false, ..Wanted::new("r", &origin) };
    let made = call(&edge, "POST", "distribution", &wanted.xml()).expect(201);
    let id = made.element("Id");
    let (document, aside) = (
        edge.path().join(format!("data/api/distribution/{id}.json")),
        edge.path().join("aside.json"),
    );
    // What is in the place of its file cannot be removed as one.
    std::fs::rename(&document, &aside).unwrap();
    std::fs::create_dir(&document).unwrap();
    let one = format!("distribution/{id}");
    change(&edge, "DELETE", &one, &made.etag(), "").refused(500, "InternalError");
    let listed = call(&edge, "GET", &format!("{one}/invalidation"), "").expect(200);
    assert_eq!(listed.element("Quantity"), "0", "{}", listed.body);
    std::fs::remove_dir(&document).unwrap();
    std::fs::rename(&aside, &document).unwrap();
    change(&edge, "DELETE", &one, &made.etag(), "").expect(204);
    assert!(!document.exists());
    call(&edge, "GET", &one, "").refused(404, "NoSuchDistribution");
}

#[test]
fn a_key_changes_what_it_is_named_for_and_leaves_a_line() {
    let origin = Origin::start(|_| fresh(b"page"));
    let edge = Edge::start_in(folder(""));
    let wanted = Wanted::new("r", &origin);
    signed(&edge, PLAIN, "POST", "distribution", "", &wanted.xml()).refused(403, "AccessDenied");
    signed(&edge, PLAIN, "GET", "distribution", "", "").refused(403, "AccessDenied");
    let made = call(&edge, "POST", "distribution", &wanted.xml()).expect(201);
    let path = format!("distribution/{}/invalidation", made.element("Id"));
    let batch = "<InvalidationBatch><Paths><Quantity>1</Quantity><Items><Path>/a</Path></Items></Paths>\
                 <CallerReference>r</CallerReference></InvalidationBatch>";
    signed(&edge, PLAIN, "POST", &path, "", batch).expect(201);
    eventually("the change is written down", || {
        edge.log().lines().any(|line| {
            ["changed by the API", ALL, "CreateDistribution", &made.element("Id"), &made.etag()]
                .iter()
                .all(|word| line.contains(word))
        })
    });
    assert!(!edge.log().contains(SECRET));
}

#[test]
fn of_two_writers_with_one_version_one_wins() {
    let origin = Origin::start(|_| fresh(b"page"));
    let edge = Edge::start_in(folder(""));
    let wanted = Wanted::new("r", &origin);
    let made = call(&edge, "POST", "distribution", &wanted.xml()).expect(201);
    let target = format!("distribution/{}/config", made.element("Id"));
    let mut etag = made.etag();
    for round in 0..5 {
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..4)
                .map(|writer| {
                    let object =
                        format!("<DefaultRootObject>{round}-{writer}.html</DefaultRootObject>");
                    let body = Wanted { more: object, ..wanted.clone() }.xml();
                    let (edge, target, etag) = (&edge, &target, &etag);
                    scope.spawn(move || change(edge, "PUT", target, etag, &body).status)
                })
                .collect();
            writers.into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        let won = statuses.iter().filter(|status| **status == 200).count();
        let lost = statuses.iter().filter(|status| **status == 412).count();
        assert_eq!((won, lost), (1, 3), "{statuses:?}");
        etag = call(&edge, "GET", &target, "").expect(200).etag();
    }
}

#[test]
fn a_change_touches_nothing_of_another_distribution() {
    let origin = Origin::start(|_| fresh(b"page"));
    let edge = Edge::start_in(folder(""));
    let first = call(&edge, "POST", "distribution", &Wanted::new("a", &origin).xml()).expect(201);
    let domain = first.element("DomainName");
    assert_eq!(cache(&edge, &domain, "/a"), (200, "Miss".into()));
    let mut second = Wanted::new("b", &origin);
    let made = call(&edge, "POST", "distribution", &second.xml()).expect(201);
    second.more = "<DefaultRootObject>i.html</DefaultRootObject>".into();
    let target = format!("distribution/{}/config", made.element("Id"));
    change(&edge, "PUT", &target, &made.etag(), &second.xml()).expect(200);
    assert_eq!(cache(&edge, &domain, "/a"), (200, "Hit".into()));
    let id = first.element("Id");
    let (_, metrics) = edge.admin("GET", "/metrics", "");
    let hits = format!(
        "foreshore_requests_total{{distribution=\"{id}\",behavior=\"*\",outcome=\"hit\"}} 1"
    );
    assert!(metrics.contains(&hits), "no counter began anew: {metrics}");
    let listed = call(&edge, "GET", "distribution?MaxItems=1", "").expect(200);
    assert_eq!(
        (listed.element("Quantity").as_str(), listed.element("IsTruncated").as_str()),
        ("1", "true")
    );
    let next =
        call(&edge, "GET", &format!("distribution?Marker={}", listed.element("NextMarker")), "");
    assert_eq!(
        (next.element("Quantity").as_str(), next.element("IsTruncated").as_str()),
        ("1", "false")
    );
}

pub fn of_file(origin: &Origin, host: &str) -> String {
    format!(
        "[[distribution]]\nid = \"EFILE\"\nhosts = [\"{host}\"]\n[[distribution.origin]]\nid = \"o\"\nurl = \"http://{}\"\n\
         [[distribution.behavior]]\npath = \"*\"\norigin = \"o\"\n",
        origin.address
    )
}

#[test]
fn the_file_and_the_api_keep_their_own() {
    let origin = Origin::start(|_| fresh(b"page"));
    let any = "certificates = \"any\"\n";
    let folder = folder(&format!("{any}{}", of_file(&origin, "file.test")));
    let edge = Edge::start_in(Arc::clone(&folder));
    let alias = |name: &str| {
        format!("<Aliases><Quantity>1</Quantity><Items><CNAME>{name}</CNAME></Items></Aliases>")
    };
    let wanted = |name: &str| Wanted { more: alias(name), ..Wanted::new("r", &origin) };
    let listed = call(&edge, "GET", "distribution", "").expect(200);
    assert!(listed.body.contains("<CNAME>file.test</CNAME>"), "{}", listed.body);
    let got = call(&edge, "GET", "distribution/EFILE", "").expect(200);
    let target = "distribution/EFILE/config";
    change(&edge, "PUT", target, &got.etag(), &wanted("x.test").xml()).refused(403, "AccessDenied");
    change(&edge, "DELETE", "distribution/EFILE", &got.etag(), "").refused(403, "AccessDenied");
    call(&edge, "POST", "distribution", &wanted("FILE.test").xml())
        .refused(409, "CNAMEAlreadyExists");
    call(&edge, "POST", "distribution", &wanted("api.test").xml()).expect(201);
    assert_eq!(cache(&edge, "api.test", "/a"), (200, "Miss".into()));
    assert_eq!(cache(&edge, "file.test", "/a"), (200, "Miss".into()));
    // A file that takes a host of the API's is refused, and what was served is served on.
    configure(&folder, &format!("{any}{}", of_file(&origin, "api.test")));
    let (status, said) = edge.admin("POST", "/v1/reload", "");
    assert_eq!(status, 422, "{said}");
    assert!(said.contains("(by the API)") && said.contains("EFILE"), "{said}");
    assert_eq!(cache(&edge, "file.test", "/a"), (200, "Hit".into()));
    // While the file has mistakes nothing is changed, and the caller may try again later.
    configure(&folder, &format!("{any}nonsense = 1\n{}", of_file(&origin, "file.test")));
    let told = call(&edge, "POST", "distribution", &Wanted::new("later", &origin).xml());
    told.refused(503, "ServiceUnavailable");
    configure(&folder, &format!("{any}{}", of_file(&origin, "file.test")));
    assert_eq!(edge.admin("POST", "/v1/reload", "").0, 200);
    assert_eq!(cache(&edge, "api.test", "/a"), (200, "Hit".into()));
}

#[test]
fn a_damaged_document_is_left_aside() {
    let origin = Origin::start(|_| fresh(b"page"));
    let edge = Edge::start_in(folder(""));
    let one = call(&edge, "POST", "distribution", &Wanted::new("a", &origin).xml()).expect(201);
    let two = call(&edge, "POST", "distribution", &Wanted::new("b", &origin).xml()).expect(201);
    let folder = edge.kill();
    let file = folder.path().join(format!("data/api/distribution/{}.json", one.element("Id")));
    std::fs::write(&file, "{ \"id\":").unwrap();
    let edge = Edge::start_in(folder);
    eventually("it is said", || edge.log().contains(&format!("{}.json", one.element("Id"))));
    assert_eq!(cache(&edge, &one.element("DomainName"), "/a").0, 403);
    assert_eq!(cache(&edge, &two.element("DomainName"), "/a").0, 200);
    call(&edge, "GET", &format!("distribution/{}", one.element("Id")), "")
        .refused(404, "NoSuchDistribution");
    assert!(file.exists(), "what cannot be read is not thrown away");
}

#[test]
fn an_edge_without_the_api_shows_and_changes_nothing() {
    let origin = Origin::start(|_| fresh(b"page"));
    let edge = Edge::before(origin.address, "");
    let bearer = format!("Authorization: Bearer {}\r\n", edge.token());
    let (status, listed) = edge.admin_with("GET", "/2020-05-31/distribution", "", &bearer);
    assert!(status == 200 && listed.contains("<Id>E1</Id>"), "{status} {listed}");
    let body = Wanted::new("r", &origin).xml();
    let (status, told) = edge.admin_with("POST", "/2020-05-31/distribution", &body, &bearer);
    assert!(status == 403 && told.contains("<Code>AccessDenied</Code>"), "{status} {told}");
}

// Everything that is obeyed or has no effect, as Terraform sends it: what comes back is what was
// sent, and nothing beside it that a plan would show.
#[test]
fn what_was_sent_comes_back_and_no_more() {
    let origin = Origin::start(|asked| fresh(asked.target.as_bytes()));
    let edge = Edge::start_in(folder("certificates = \"any\"\nweb_acl = \"ignore\"\n"));
    let port = origin.address.port();
    let none = "<Quantity>0</Quantity>";
    let custom = format!(
        "<CustomOriginConfig><HTTPPort>{port}</HTTPPort><HTTPSPort>443</HTTPSPort><OriginProtocolPolicy>http-only</OriginProtocolPolicy>\
         <OriginSslProtocols><Quantity>1</Quantity><Items><SslProtocol>TLSv1.2</SslProtocol></Items></OriginSslProtocols>\
         <OriginReadTimeout>31</OriginReadTimeout><OriginKeepaliveTimeout>6</OriginKeepaliveTimeout><IpAddressType>dualstack</IpAddressType>\
         </CustomOriginConfig>"
    );
    let an_origin = |id: &str, path: &str| {
        format!(
            "<Origin><Id>{id}</Id><DomainName>127.0.0.1</DomainName><OriginPath>{path}</OriginPath><CustomHeaders><Quantity>1</Quantity><Items>\
             <OriginCustomHeader><HeaderName>X-From</HeaderName><HeaderValue>edge</HeaderValue></OriginCustomHeader></Items></CustomHeaders>{custom}\
             <ConnectionAttempts>2</ConnectionAttempts><ConnectionTimeout>4</ConnectionTimeout>\
             <OriginShield><Enabled>true</Enabled><OriginShieldRegion>eu-west-1</OriginShieldRegion></OriginShield>\
             <OriginAccessControlId></OriginAccessControlId></Origin>"
        )
    };
    let usual = format!(
        "<TrustedSigners><Enabled>false</Enabled>{none}</TrustedSigners><TrustedKeyGroups><Enabled>false</Enabled>{none}</TrustedKeyGroups>\
         <AllowedMethods><Quantity>3</Quantity><Items><Method>GET</Method><Method>HEAD</Method><Method>OPTIONS</Method></Items><CachedMethods>\
         <Quantity>2</Quantity><Items><Method>GET</Method><Method>HEAD</Method></Items></CachedMethods></AllowedMethods><SmoothStreaming>false\
         </SmoothStreaming><Compress>true</Compress><LambdaFunctionAssociations>{none}</LambdaFunctionAssociations>\
         <FunctionAssociations>{none}</FunctionAssociations><FieldLevelEncryptionId></FieldLevelEncryptionId>"
    );
    let by_policy = |target: &str, protocol: &str| {
        format!(
            "<TargetOriginId>{target}</TargetOriginId>{usual}<ViewerProtocolPolicy>{protocol}</ViewerProtocolPolicy><CachePolicyId>{OPTIMIZED}</CachePolicyId>\
             <OriginRequestPolicyId></OriginRequestPolicyId><ResponseHeadersPolicyId></ResponseHeadersPolicyId>"
        )
    };
    let legacy = format!(
        "<TargetOriginId>o</TargetOriginId>{usual}<ViewerProtocolPolicy>allow-all</ViewerProtocolPolicy><CachePolicyId></CachePolicyId>\
         <ForwardedValues><QueryString>true</QueryString><Cookies><Forward>whitelist</Forward><WhitelistedNames><Quantity>1</Quantity><Items>\
         <Name>sid</Name></Items></WhitelistedNames></Cookies><Headers><Quantity>1</Quantity><Items><Name>Origin</Name></Items></Headers>\
         <QueryStringCacheKeys>{none}</QueryStringCacheKeys></ForwardedValues><MinTTL>1</MinTTL><DefaultTTL>60</DefaultTTL><MaxTTL>600</MaxTTL>"
    );
    let sent = format!(
        "<DistributionConfig><CallerReference>tf</CallerReference><Aliases><Quantity>1</Quantity><Items><CNAME>www.example.com</CNAME></Items></Aliases>\
         <DefaultRootObject>index.html</DefaultRootObject><Origins><Quantity>2</Quantity><Items>{}{}</Items></Origins><OriginGroups><Quantity>1</Quantity>\
         <Items><OriginGroup><Id>both</Id><FailoverCriteria><StatusCodes><Quantity>1</Quantity><Items><StatusCode>502</StatusCode></Items></StatusCodes>\
         </FailoverCriteria><Members><Quantity>2</Quantity><Items><OriginGroupMember><OriginId>o</OriginId></OriginGroupMember><OriginGroupMember>\
         <OriginId>p</OriginId></OriginGroupMember></Items></Members></OriginGroup></Items></OriginGroups><DefaultCacheBehavior>{}</DefaultCacheBehavior>\
         <CacheBehaviors><Quantity>2</Quantity><Items><CacheBehavior><PathPattern>/tls/*</PathPattern>{}</CacheBehavior><CacheBehavior>\
         <PathPattern>/legacy/*</PathPattern>{legacy}</CacheBehavior></Items></CacheBehaviors><CustomErrorResponses><Quantity>1</Quantity><Items>\
         <CustomErrorResponse><ErrorCode>404</ErrorCode><ResponsePagePath>/404.html</ResponsePagePath><ResponseCode>200</ResponseCode>\
         <ErrorCachingMinTTL>5</ErrorCachingMinTTL></CustomErrorResponse></Items></CustomErrorResponses><Comment></Comment><Logging><Enabled>false</Enabled>\
         <IncludeCookies>false</IncludeCookies><Bucket></Bucket><Prefix></Prefix></Logging><PriceClass>PriceClass_100</PriceClass><Enabled>true</Enabled>\
         <ViewerCertificate><CloudFrontDefaultCertificate>true</CloudFrontDefaultCertificate><MinimumProtocolVersion>TLSv1</MinimumProtocolVersion>\
         </ViewerCertificate><Restrictions><GeoRestriction><RestrictionType>none</RestrictionType>{none}</GeoRestriction></Restrictions>\
         <WebACLId>acl</WebACLId><HttpVersion>http2and3</HttpVersion><IsIPV6Enabled>false</IsIPV6Enabled><ContinuousDeploymentPolicyId>\
         </ContinuousDeploymentPolicyId><Staging>false</Staging><CacheTagConfig><HeaderName>surrogate-key</HeaderName></CacheTagConfig></DistributionConfig>",
        an_origin("o", ""),
        an_origin("p", "/site"),
        by_policy("both", "allow-all"),
        by_policy("p", "https-only"),
    );
    let made = call(&edge, "POST", "distribution", &sent).expect(201);
    let config =
        call(&edge, "GET", &format!("distribution/{}/config", made.element("Id")), "").expect(200);
    let pieces = |text: &str| -> Vec<String> {
        let inner = text.split("<DistributionConfig").nth(1).unwrap();
        let mut all: Vec<String> = inner.split("><").map(String::from).skip(1).collect();
        all.sort_unstable();
        all
    };
    let (sent, told) = (pieces(&sent), pieces(&config.body));
    let new: Vec<&String> = told.iter().filter(|piece| !sent.contains(piece)).collect();
    let lost: Vec<&String> = sent.iter().filter(|piece| !told.contains(piece)).collect();
    assert!(new.is_empty() && lost.is_empty(), "new: {new:?}, lost: {lost:?}");
    assert_eq!(sent.len(), told.len(), "something is told twice");
    // And it is obeyed: root object, path of an origin, protocol, methods.
    let get = |path: &str| edge.get_with(path, &["Host: www.example.com"]);
    assert_eq!(get("/").text(), "/index.html");
    assert_eq!(get("/tls/a").status, 403);
    assert_eq!(get("/legacy/a").text(), "/legacy/a");
    assert!(origin.seen().iter().all(|asked| asked.field("x-from").as_deref() == Some("edge")));
}

#[test]
fn certificates_are_known_by_their_arns() {
    let origin = Origin::start(|_| fresh(b"page"));
    let arn = "arn:aws:acm:us-east-1:000000000177:certificate/one";
    let certificate = format!(
        "[[certificate]]\nchain = \"c/one.pem\"\nkey = \"c/one.key\"\nmake_for = [\"www.example.com\"]\narn = \"{arn}\"\niam_id = \"ASCAONE\"\n"
    );
    let edge = Edge::start_in(folder(&certificate));
    let wanted = |alias: &str, certificate: &str| Wanted {
        more: format!(
            "<Aliases><Quantity>1</Quantity><Items><CNAME>{alias}</CNAME></Items></Aliases><ViewerCertificate>{certificate}\
             <SSLSupportMethod>sni-only</SSLSupportMethod></ViewerCertificate>"
        ),
        ..Wanted::new(alias, &origin)
    };
    let by_arn = format!("<ACMCertificateArn>{arn}</ACMCertificateArn>");
    let strict = format!("{by_arn}<MinimumProtocolVersion>TLSv1.3_2025</MinimumProtocolVersion>");
    for (alias, certificate, code) in [
        ("other.example.com", by_arn.as_str(), "InvalidViewerCertificate"),
        (
            "www.example.com",
            "<IAMCertificateId>ASCANONE</IAMCertificateId>",
            "InvalidViewerCertificate",
        ),
        ("www.example.com", strict.as_str(), "InvalidMinimumProtocolVersion"),
    ] {
        call(&edge, "POST", "distribution", &wanted(alias, certificate).xml()).refused(400, code);
    }
    call(&edge, "POST", "distribution", &wanted("www.example.com", &by_arn).xml()).expect(201);
    assert_eq!(cache(&edge, "www.example.com", "/a"), (200, "Miss".into()));
}

// Calls one after the other, and a kill in the middle of some: whatever was acknowledged is there,
// and nothing is there by halves.
#[test]
fn what_was_acknowledged_outlives_kills() {
    let origin = Origin::start(|_| fresh(b"page"));
    let mut edge = Edge::start_in(folder(""));
    // What each distribution was last acknowledged to say, by its id.
    let mut known: Vec<(String, String, String)> = Vec::new();
    for round in 0..6 {
        for step in 0..4 {
            let object = format!("{round}-{step}.html");
            let more = format!("<DefaultRootObject>{object}</DefaultRootObject>");
            if step < 2 {
                let wanted = Wanted { more, ..Wanted::new(&format!("r{round}-{step}"), &origin) };
                let made = call(&edge, "POST", "distribution", &wanted.xml()).expect(201);
                known.push((made.element("Id"), wanted.reference, object));
            } else {
                let at = (round * 7 + step) % known.len();
                let (id, reference, said) = &mut known[at];
                let target = format!("distribution/{id}/config");
                let etag = call(&edge, "GET", &target, "").expect(200).etag();
                let wanted = Wanted { more, ..Wanted::new(reference, &origin) };
                change(&edge, "PUT", &target, &etag, &wanted.xml()).expect(200);
                *said = object;
            }
        }
        // One more, whose answer nobody hears.
        let last = Wanted::new(&format!("lost{round}"), &origin).xml();
        let address = edge.admin;
        let token = edge.token();
        let head = format!(
            "POST /2020-05-31/distribution HTTP/1.1\r\nHost: admin\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n{last}",
            last.len()
        );
        TcpStream::connect(address).unwrap().write_all(head.as_bytes()).unwrap();
        edge = Edge::start_in(edge.kill());
        for (id, _, said) in &known {
            let got = call(&edge, "GET", &format!("distribution/{id}/config"), "").expect(200);
            assert_eq!(got.element("DefaultRootObject"), *said, "{id} in round {round}");
        }
        assert!(!edge.log().contains("left aside"), "{}", edge.log());
    }
}
