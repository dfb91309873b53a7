//! A distribution of CloudFront's as a configuration of ours (`foreshore import cloudfront`).
//!
//! What restricts access is carried over closed: a key group whose keys are not at hand lets nobody in. What cannot be carried
//! over is said in the report, and beside its place in the file where it has one.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

use super::node::{Document, Node};

/// What an import comes to.
#[derive(Debug)]
pub struct Imported {
    /// The configuration.
    pub toml: String,
    /// Files that it names: public keys, by their names beside it.
    pub files: Vec<(String, String)>,
    /// What was not carried over, or not as it was.
    pub report: Vec<String>,
}

/// Reads a distribution, and whatever of its policies, key groups and public keys is at hand.
///
/// `documents` are outputs of `aws cloudfront get-…`, in any order; one of them is the distribution.
pub fn import(documents: Vec<Value>) -> Result<Imported, String> {
    let documents: Vec<Document> = documents.into_iter().map(Document::new).collect();
    let mut job = Job {
        out: String::new(),
        files: BTreeMap::new(),
        report: Vec::new(),
        policies: Policies::default(),
        made: BTreeMap::new(),
        wants_certificates: false,
    };
    let mut found = None;
    for document in &documents {
        let root = document.root();
        if let Some(config) = root.at(&["Distribution", "DistributionConfig"]) {
            let id = root.get("Distribution").and_then(|d| d.text("Id"));
            let domain = root.get("Distribution").and_then(|d| d.text("DomainName"));
            ["ETag", "Distribution"].iter().filter_map(|key| root.get(key)).for_each(|node| take_all_but(&node, "DistributionConfig"));
            found = Some((config, id, domain));
        } else if let Some(config) = root.get("DistributionConfig") {
            root.text("ETag");
            found = Some((config, None, None));
        } else if root.get("Origins").is_some() && root.get("DefaultCacheBehavior").is_some() {
            found = Some((root, None, None));
        } else {
            job.learn(&root)?;
        }
    }
    let (config, id, domain) =
        found.ok_or("none of these is a distribution: the output of `aws cloudfront get-distribution-config` is needed")?;
    job.distribution(&config, id.unwrap_or("EIMPORTED"), domain);
    for document in &documents {
        for (place, value) in document.left() {
            job.report.push(format!("{place} = {value}: not carried over"));
        }
    }
    let report = job.report.iter().map(|line| one_line(line)).collect();
    Ok(Imported { toml: job.out, files: job.files.into_iter().collect(), report })
}

// What stands beside the configuration is about the original, not about what it does.
fn take_all_but(node: &Node<'_>, but: &str) {
    match node.value().as_object() {
        Some(map) => map.keys().filter(|key| *key != but).filter_map(|key| node.get(key)).for_each(|node| node.take()),
        None => node.take(),
    }
}

/// What came along with a distribution, by CloudFront's ids.
#[derive(Default)]
pub(super) struct Policies<'d> {
    pub(super) cache: BTreeMap<&'d str, Node<'d>>,
    pub(super) origin_request: BTreeMap<&'d str, Node<'d>>,
    pub(super) response: BTreeMap<&'d str, Node<'d>>,
    pub(super) groups: BTreeMap<&'d str, Node<'d>>,
    pub(super) keys: BTreeMap<&'d str, Node<'d>>,
}

/// An import under way.
pub(super) struct Job<'d> {
    pub(super) out: String,
    pub(super) files: BTreeMap<String, String>,
    pub(super) report: Vec<String>,
    pub(super) policies: Policies<'d>,
    /// Policies written into the file, by CloudFront's id.
    pub(super) made: BTreeMap<String, String>,
    /// CloudFront asks viewers for certificates.
    pub(super) wants_certificates: bool,
}

impl<'d> Job<'d> {
    // Policies and keys that came along.
    fn learn(&mut self, root: &Node<'d>) -> Result<(), String> {
        for (kind, config) in [
            ("CachePolicy", "CachePolicyConfig"),
            ("OriginRequestPolicy", "OriginRequestPolicyConfig"),
            ("ResponseHeadersPolicy", "ResponseHeadersPolicyConfig"),
            ("KeyGroup", "KeyGroupConfig"),
            ("PublicKey", "PublicKeyConfig"),
        ] {
            let Some(node) = root.get(kind) else { continue };
            root.text("ETag");
            take_all_but(&node, config);
            let (Some(id), Some(config)) = (node.text("Id"), node.get(config)) else { continue };
            let table = match kind {
                "CachePolicy" => &mut self.policies.cache,
                "OriginRequestPolicy" => &mut self.policies.origin_request,
                "ResponseHeadersPolicy" => &mut self.policies.response,
                "KeyGroup" => &mut self.policies.groups,
                _ => &mut self.policies.keys,
            };
            table.insert(id, config);
            return Ok(());
        }
        Err("a file is neither a distribution nor a policy, a key group or a public key of CloudFront's".into())
    }

    pub(super) fn note(&mut self, what: impl Into<String>) {
        // One line, whatever the document says: nothing in it may become a setting.
        let what = one_line(&what.into());
        let _ = writeln!(self.out, "# {what}");
        self.report.push(what);
    }

    fn distribution(&mut self, config: &Node<'d>, id: &str, domain: Option<&str>) {
        let mut hosts = config.texts("Aliases");
        hosts.extend(domain);
        let comment = one_line(config.text("Comment").unwrap_or(""));
        let _ = writeln!(
            self.out,
            "# Imported from CloudFront. {comment}\n# Loads as it is; what is marked below waits for somebody to look at it.\n"
        );
        self.out.push_str("data = \".foreshore\"\n\n[listen]\nhttp  = [\"127.0.0.1:8080\"]\nhttps = [\"127.0.0.1:8443\"]\n\n");
        self.wants_certificates = config.get("ViewerMtlsConfig").is_some_and(|mtls| mtls.text("Mode") == Some("required"));
        self.log(config);
        self.tls(config, &hosts);
        // Everything that is named comes before what names it.
        let at = self.out.len();
        let mut body = String::new();
        std::mem::swap(&mut self.out, &mut body);
        self.behaviors(config);
        let behaviors = std::mem::replace(&mut self.out, body);
        let policies: String = self.made.values().cloned().collect();
        self.out.push_str(&policies);
        debug_assert!(self.out.len() >= at);
        let _ = writeln!(self.out, "[[distribution]]\nid = {}", quoted(id));
        if hosts.is_empty() {
            self.note("there are no aliases: this distribution takes every host");
        }
        let _ = writeln!(self.out, "hosts = {}", list(if hosts.is_empty() { &["*"] } else { &hosts }));
        if let Some(object) = config.text("DefaultRootObject") {
            let _ = writeln!(self.out, "default_root_object = {}", quoted(object.trim_start_matches('/')));
        }
        if let Some(tags) = config.at(&["CacheTagConfig"]).and_then(|tags| tags.text("HeaderName")) {
            let _ = writeln!(self.out, "tag_header = {}", quoted(tags));
        }
        self.out.push_str("compat = \"cloudfront\"\n");
        self.geo(config);
        self.origins(config);
        self.groups(config);
        self.out.push_str(&behaviors);
        self.errors(config);
        self.what_is_ours_to_say(config);
    }

    // Settings that have no meaning here, or another one; each is said once, in words.
    fn what_is_ours_to_say(&mut self, config: &Node<'d>) {
        config.text("CallerReference");
        if config.is("Staging") {
            self.report.push("Staging = true: give this distribution `staging = { of = …, percent = … }` in the place of its hosts".into());
        }
        if config.get("Enabled").is_some() && !config.is("Enabled") {
            self.report.push("Enabled = false: the distribution is off at CloudFront; here it is served as soon as the edge runs".into());
        }
        if let Some(version @ ("http3" | "http2and3")) = config.text("HttpVersion") {
            self.report.push(format!("HttpVersion = {version}: HTTP/3 is not spoken yet; HTTP/1.1 and HTTP/2 are"));
        }
        if let Some(class) = config.text("PriceClass").filter(|class| *class != "PriceClass_All") {
            self.report.push(format!("PriceClass = {class}: there is one place, and it costs what it costs"));
        }
        if config.is("IsIPV6Enabled") {
            self.report.push("IsIPV6Enabled: add \"[::]:443\" to listen.https to serve IPv6".into());
        }
        if let Some(acl) = config.text("WebACLId") {
            self.report.push(format!(
                "WebACLId = {acl}: web application firewalls are not carried over; see allow_from, deny_from and rate_limit"
            ));
        }
    }

    fn log(&mut self, config: &Node<'d>) {
        let Some(logging) = config.get("Logging") else { return };
        let is_on = logging.is("Enabled") || logging.text("Bucket").is_some();
        let cookies = if logging.is("IncludeCookies") { "include" } else { "omit" };
        let prefix: Vec<String> =
            logging.text("Prefix").unwrap_or("").split('/').map(plain_name).filter(|part| !part.trim_matches('.').is_empty()).collect();
        let prefix = prefix.join("/");
        if is_on {
            let folder = if prefix.is_empty() { "standard-log".to_string() } else { format!("standard-log/{prefix}") };
            let _ = writeln!(self.out, "[log]\nstandard = {{ folder = {}, cookies = \"{cookies}\" }}\n", quoted(&folder));
            self.report.push("Logging: the files are written to a folder, not to a bucket".into());
        }
    }

    fn tls(&mut self, config: &Node<'d>, hosts: &[&str]) {
        let certificate = config.get("ViewerCertificate");
        let mut policy = None;
        if let Some(certificate) = &certificate {
            policy = certificate.text("MinimumProtocolVersion");
            certificate.is("CloudFrontDefaultCertificate");
            certificate.text("SSLSupportMethod");
            certificate.text("CertificateSource");
            certificate.text("Certificate");
            for arn in ["ACMCertificateArn", "IAMCertificateId"].iter().filter_map(|key| certificate.text(key)) {
                self.report.push(format!("certificate {arn}: put its chain and key in the place of the development one"));
            }
        }
        match policy {
            Some(known @ ("TLSv1.2_2021" | "TLSv1.2_2025" | "TLSv1.3_2025")) => {
                let _ = writeln!(self.out, "[tls]\npolicy = \"{known}\"\n");
            }
            Some(old) => {
                self.out.push_str("[tls]\n");
                self.note(format!(
                    "MinimumProtocolVersion = {old}: older than TLS 1.2, or with suites that are not spoken here; lifted to TLSv1.2_2021"
                ));
                self.out.push_str("policy = \"TLSv1.2_2021\"\n\n");
            }
            None => {}
        }
        let mut names: Vec<&str> = hosts.to_vec();
        names.extend(["localhost", "127.0.0.1"]);
        let _ = writeln!(
            self.out,
            "# Made on first start, for trying things out; put the real one here.\n[[certificate]]\nchain = \"certs/dev/imported.pem\"\nkey = \"certs/dev/imported.key\"\nmake_for = {}\n",
            list(&names)
        );
    }

    fn geo(&mut self, config: &Node<'d>) {
        let Some(restrictions) = config.get("Restrictions") else { return };
        let Some(geo) = restrictions.get("GeoRestriction") else { return };
        let key = match geo.text("RestrictionType") {
            Some("whitelist") => "only",
            Some("blacklist") => "except",
            _ => return,
        };
        self.note("geo restriction: name a MaxMind database in [geo], or every viewer is unknown and so served");
        let _ = writeln!(self.out, "geo_restriction = {{ {key} = {} }}", list(&restrictions.texts("GeoRestriction")));
    }

    fn origins(&mut self, config: &Node<'d>) {
        for origin in config.items("Origins") {
            let id = origin.text("Id").unwrap_or("origin");
            let domain = origin.text("DomainName").unwrap_or("invalid.example");
            let path = origin.text("OriginPath").unwrap_or("");
            let custom = origin.get("CustomOriginConfig");
            let policy = custom.as_ref().and_then(|custom| custom.text("OriginProtocolPolicy")).unwrap_or("https-only");
            let ports = custom
                .as_ref()
                .map_or((80, 443), |custom| (custom.number("HTTPPort").unwrap_or(80), custom.number("HTTPSPort").unwrap_or(443)));
            let (scheme, port, usual) = if policy == "http-only" { ("http", ports.0, 80) } else { ("https", ports.1, 443) };
            let port = if port == usual { String::new() } else { format!(":{port}") };
            let _ = writeln!(
                self.out,
                "\n[[distribution.origin]]\nid = {}\nurl = {}",
                quoted(id),
                quoted(&format!("{scheme}://{domain}{port}{path}"))
            );
            if policy == "match-viewer" {
                self.note(format!("origin {id}: match-viewer is not carried over; the origin is asked over https"));
            }
            let mut times = Vec::new();
            times.extend(origin.number("ConnectionTimeout").map(|seconds| format!("connect = \"{seconds}s\"")));
            if let Some(custom) = &custom {
                times.extend(custom.number("OriginReadTimeout").map(|seconds| format!("response = \"{seconds}s\"")));
                times.extend(custom.number("OriginKeepaliveTimeout").map(|seconds| format!("idle = \"{seconds}s\"")));
                let old: Vec<&str> = custom.texts("OriginSslProtocols").into_iter().filter(|name| *name != "TLSv1.2").collect();
                if !old.is_empty() && scheme == "https" {
                    self.report.push(format!("origin {id}: {} are not spoken to origins; TLS 1.2 and 1.3 are", old.join(", ")));
                }
            }
            if !times.is_empty() {
                let _ = writeln!(self.out, "timeouts = {{ {} }}", times.join(", "));
            }
            if let Some(attempts) = origin.number("ConnectionAttempts") {
                let _ = writeln!(self.out, "attempts = {attempts}");
            }
            let headers = origin.items("CustomHeaders");
            let pairs: Vec<String> = headers
                .iter()
                .filter_map(|header| {
                    Some(format!("{} = {}", quoted(header.text("HeaderName")?), quoted(header.text("HeaderValue").unwrap_or(""))))
                })
                .collect();
            if !pairs.is_empty() {
                let _ = writeln!(self.out, "headers = {{ {} }}   # a secret among them is better {{ file = \"…\" }}", pairs.join(", "));
            }
            self.access(&origin, id, domain);
            if origin.get("OriginShield").is_some_and(|shield| shield.is("Enabled")) {
                origin.get("OriginShield").and_then(|shield| shield.text("OriginShieldRegion"));
                self.report.push(format!("origin {id}: Origin Shield is a regional tier here; see [region]"));
            }
        }
    }

    // A private bucket wants credentials, which nobody exports.
    fn access(&mut self, origin: &Node<'d>, id: &str, domain: &str) {
        let control = origin.text("OriginAccessControlId");
        let identity = origin.get("S3OriginConfig").and_then(|s3| {
            s3.number("OriginReadTimeout");
            s3.text("OriginAccessIdentity")
        });
        if control.or(identity).is_none() {
            return;
        }
        let region = domain
            .split('.')
            .find(|part| part.matches('-').count() >= 2 && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
            .unwrap_or("us-east-1");
        self.note(format!("origin {id}: requests to it are signed at CloudFront; set credentials and take the # away"));
        let _ = writeln!(
            self.out,
            "# access_control = {{ sign = \"always\", service = \"s3\", region = \"{region}\", credentials = {{ env_prefix = \"AWS_\" }} }}"
        );
    }

    fn groups(&mut self, config: &Node<'d>) {
        for group in config.items("OriginGroups") {
            let members: Vec<&str> = group.items("Members").iter().filter_map(|member| member.text("OriginId")).collect();
            let codes = group.get("FailoverCriteria").map(|criteria| criteria.items("StatusCodes")).unwrap_or_default();
            codes.iter().for_each(Node::take);
            let codes: Vec<String> = codes.iter().filter_map(|code| code.value().as_u64()).map(|code| code.to_string()).collect();
            let id = group.text("Id").unwrap_or("group");
            if let Some(criteria) = group.text("SelectionCriteria").filter(|criteria| *criteria != "default") {
                self.note(format!("origin group {id}: SelectionCriteria = {criteria} is not carried over; the first member comes first"));
            }
            let _ = writeln!(
                self.out,
                "\n[[distribution.origin_group]]\nid = {}\nmembers = {}\nfailover = [{}]",
                quoted(id),
                list(&members),
                codes.join(", ")
            );
        }
    }

    fn behaviors(&mut self, config: &Node<'d>) {
        for behavior in config.items("CacheBehaviors") {
            let pattern = behavior.text("PathPattern").unwrap_or("*");
            self.behavior(&behavior, pattern);
        }
        if let Some(behavior) = config.get("DefaultCacheBehavior") {
            self.behavior(&behavior, "*");
        }
    }

    fn behavior(&mut self, behavior: &Node<'d>, pattern: &str) {
        let _ = writeln!(
            self.out,
            "\n[[distribution.behavior]]\npath = {}\norigin = {}",
            quoted(pattern),
            quoted(behavior.text("TargetOriginId").unwrap_or(""))
        );
        if let Some(policy) = behavior.text("ViewerProtocolPolicy") {
            let _ = writeln!(self.out, "viewer_protocol = {}", quoted(policy));
        }
        if let Some(allowed) = behavior.get("AllowedMethods") {
            // Only answers to GET and HEAD are kept here.
            let cached = allowed.texts("CachedMethods");
            if cached.contains(&"OPTIONS") {
                self.note(format!("{pattern}: answers to OPTIONS are not cached"));
            }
        }
        let methods = behavior.texts("AllowedMethods");
        match methods.len() {
            0 | 2 => {}
            3 => self.out.push_str("methods = [\"GET\", \"HEAD\", \"OPTIONS\"]\n"),
            _ => self.out.push_str("methods = \"all\"\n"),
        }
        self.policies(behavior, pattern);
        self.signers(behavior, pattern);
        for (list, what) in [("FunctionAssociations", "FunctionARN"), ("LambdaFunctionAssociations", "LambdaFunctionARN")] {
            for function in behavior.items(list) {
                let (event, arn) = (function.text("EventType").unwrap_or("?"), function.text(what).unwrap_or("?"));
                function.is("IncludeBody");
                self.note(format!("{pattern}: the {event} function {arn} does not run here; if it guards something, guard that otherwise"));
            }
        }
        if let Some(id) = behavior.text("FieldLevelEncryptionId") {
            self.note(format!("{pattern}: field-level encryption {id} is not carried over: fields reach the origin as they are"));
        }
        if let Some(arn) = behavior.text("RealtimeLogConfigArn") {
            self.note(format!(
                "{pattern}: the real-time log {arn} is not carried over; [log] realtime writes the same lines, of every behavior"
            ));
        }
    }

    fn errors(&mut self, config: &Node<'d>) {
        for rule in config.items("CustomErrorResponses") {
            let Some(status) = rule.number("ErrorCode") else { continue };
            let _ = writeln!(self.out, "\n[[distribution.error_response]]\nstatus = {status}");
            let respond_with = rule.get("ResponseCode").and_then(|code| {
                code.take();
                code.value().as_u64().or_else(|| code.value().as_str()?.parse().ok())
            });
            if let (Some(page), Some(code)) = (rule.text("ResponsePagePath"), respond_with) {
                let _ = writeln!(self.out, "page = {}\nrespond_with = {code}", quoted(page));
            }
            if let Some(ttl) = rule.number("ErrorCachingMinTTL") {
                let _ = writeln!(self.out, "ttl = \"{ttl}s\"");
            }
        }
    }
}

// As a comment may be.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// As a key of a table and a name of a file.
pub(super) fn plain_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' }).collect()
}

/// As TOML has strings.
pub(super) fn quoted(text: &str) -> String {
    // TOML's basic strings escape what JSON's do.
    serde_json::to_string(text).unwrap_or_else(|_| "\"\"".into()).replace('\u{7f}', "\\u007f")
}

/// As TOML has lists of them.
pub(super) fn list(items: &[&str]) -> String {
    format!("[{}]", items.iter().map(|item| quoted(item)).collect::<Vec<_>>().join(", "))
}
