//! Origins and their groups of an imported distribution.

use std::collections::BTreeSet;
use std::fmt::Write;

use http::{HeaderName, HeaderValue};

use super::documents::Kind;
use super::import::{Job, NOWHERE, list, quoted, seconds};
use super::node::Node;
use super::report::Rank;
use crate::distribution::aws_hosts::{region_of, service_of};
use crate::distribution::host::parse_authority;
use crate::distribution::origin::{Family, is_reserved};
use crate::message::path::is_safe_path;

/// CloudFront's OriginReadTimeout where none is said, in seconds.
const READ_TIMEOUT: u64 = 30;

/// The OriginProtocolPolicy of origins that are asked by the viewer's scheme.
const MATCHING: &str = "match-viewer";

impl<'d> Job<'d, '_> {
    /// Every `[[distribution.origin]]`, and what a behavior may name.
    pub(super) fn origins(&mut self, config: &Node<'d>) {
        self.called = called(config);
        for (at, origin) in config.items("Origins").iter().enumerate() {
            let id = origin.text("Id").map_or_else(|| format!("origin-{}", at + 1), String::from);
            if self.targets.insert(id.clone(), id.clone()).is_some() {
                self.note(
                    Rank::BeforeServing,
                    format!("there are two origins with the id {id}; the second is left out"),
                );
                continue;
            }
            self.origin(origin, &id);
        }
        if self.targets.is_empty() {
            self.nowhere("nowhere");
        }
    }

    /// An origin that answers nothing, in the place of one that is not known.
    pub(super) fn nowhere(&mut self, id: &str) {
        let _ = writeln!(
            self.out,
            "\n[[distribution.origin]]\nid = {}\nurl = \"{NOWHERE}\"",
            quoted(id)
        );
        self.note(
            Rank::BeforeServing,
            format!("origin {id}: nothing is said of where it is; put its address into url"),
        );
        self.targets.insert(id.to_string(), id.to_string());
    }

    fn origin(&mut self, origin: &Node<'d>, id: &str) {
        let _ = writeln!(self.out, "\n[[distribution.origin]]\nid = {}", quoted(id));
        let wished = self
            .wishes
            .origins
            .iter()
            .rev()
            .find(|(known, _)| known == id || known == "*")
            .map(|(_, url)| url);
        if let Some(url) = wished {
            self.elsewhere(origin, id, url);
            self.fields(origin, id);
            return;
        }
        let custom = origin.get("CustomOriginConfig");
        let domain = origin.text("DomainName").unwrap_or("");
        let is_https = self.address(origin, custom.as_ref(), id, domain);
        self.times(origin, id);
        self.fields(origin, id);
        self.access(origin, id, domain);
        self.what_an_origin_says_more(origin, custom.as_ref(), id, is_https);
    }

    // An origin that the operator has somewhere else: only its path and its fields are those of
    // CloudFront's.
    fn elsewhere(&mut self, origin: &Node<'d>, id: &str, url: &str) {
        let (scheme, rest) = url.split_once(':').unwrap_or((url, ""));
        let has_path = scheme == "file" || rest.trim_start_matches('/').contains('/');
        let path = origin.text("OriginPath").filter(|path| is_path(path)).unwrap_or("");
        let whole = if has_path { url.to_string() } else { format!("{url}{path}") };
        let domain = origin.text("DomainName").unwrap_or("its own address");
        origin.take_each(&[
            "OriginPath",
            "DomainName",
            "CustomOriginConfig",
            "S3OriginConfig",
            "VpcOriginConfig",
            "OriginAccessControlId",
            "OriginShield",
            "ConnectionAttempts",
            "ConnectionTimeout",
            "ResponseCompletionTimeout",
        ]);
        let _ = writeln!(self.out, "url = {}", quoted(&whole));
        if scheme == "https" && self.called.contains(id) {
            self.write_http2(id);
        }
        self.say(Rank::ToKnow, format!("origin {id}: asked at {whole} in the place of {domain}, unsigned and with the usual timeouts"));
    }

    // Writes `url`; says whether it is https. Where anything of the address cannot be meant, it
    // leads nowhere: a part of it could show more than the whole.
    fn address(
        &mut self,
        origin: &Node<'d>,
        custom: Option<&Node<'d>>,
        id: &str,
        domain: &str,
    ) -> bool {
        let path = origin.text("OriginPath").unwrap_or("");
        let policy =
            custom.and_then(|custom| custom.text("OriginProtocolPolicy")).unwrap_or("https-only");
        let port =
            |key: &str, usual: u64| custom.and_then(|custom| custom.number(key)).unwrap_or(usual);
        let (http, https) = (port("HTTPPort", 80), port("HTTPSPort", 443));
        let is_https = policy != "http-only";
        let (scheme, port, usual) =
            if is_https { ("https", https, 443) } else { ("http", http, 80) };
        // A template may have left names open in it.
        let is_open = domain.contains("${") || path.contains("${");
        let is_host =
            !is_open && parse_authority(domain).is_some_and(|authority| authority.port.is_none());
        let is_plain = is_host && (1..=65535).contains(&port) && (path.is_empty() || is_path(path));
        if is_plain {
            let port = if port == usual { String::new() } else { format!(":{port}") };
            let _ =
                writeln!(self.out, "url = {}", quoted(&format!("{scheme}://{domain}{port}{path}")));
            self.matching(policy, http, id);
        } else {
            let _ = writeln!(self.out, "url = \"{NOWHERE}\"");
            self.note(
                Rank::BeforeServing,
                format!(
                    "origin {id}: DomainName = {domain:?}, port {port}, OriginPath = {path:?} is no address; put the right one into url"
                ),
            );
        }
        if !matches!(policy, "http-only" | "https-only" | MATCHING) {
            self.note(
                Rank::ToKnow,
                format!(
                    "origin {id}: {policy} is not carried over; the origin is asked over https"
                ),
            );
        }
        let (unused, usual, name) =
            if is_https { (http, 80, "HTTPPort") } else { (https, 443, "HTTPSPort") };
        if unused != usual && policy != MATCHING {
            self.say(
                Rank::Idle,
                format!("origin {id}: {name} = {unused} is not used: it is asked over {scheme}"),
            );
        }
        is_https
    }

    // An origin that is asked over http for viewers who came so.
    fn matching(&mut self, policy: &str, port: u64, id: &str) {
        if policy != MATCHING {
            return;
        }
        if self.called.contains(id) {
            self.note(
                Rank::ToKnow,
                format!(
                    "origin {id}: OriginProtocolPolicy = {MATCHING}: calls of gRPC go to it, so it is asked over https whatever viewers speak"
                ),
            );
            return;
        }
        self.out.push_str("match_viewer = true\n");
        match port {
            80 => {}
            1..=65_535 => drop(writeln!(self.out, "http_port = {port}")),
            _ => self.note(
                Rank::BeforeServing,
                format!("origin {id}: HTTPPort = {port} is no port; 80 is asked"),
            ),
        }
    }

    fn times(&mut self, origin: &Node<'d>, id: &str) {
        let mut all = Vec::new();
        let kinds = ["CustomOriginConfig", "S3OriginConfig", "VpcOriginConfig"]
            .map(|kind| origin.get(kind));
        let of_kind = |key: &str| kinds.iter().flatten().find_map(|kind| kind.number(key));
        for (ours, theirs, given) in [
            ("connect", "ConnectionTimeout", origin.number("ConnectionTimeout")),
            ("response", "OriginReadTimeout", of_kind("OriginReadTimeout")),
            ("idle", "OriginKeepaliveTimeout", of_kind("OriginKeepaliveTimeout")),
        ] {
            match given {
                Some(0) => self.note(
                    Rank::ToKnow,
                    format!("origin {id}: {theirs} = 0 is no time; the usual one is kept"),
                ),
                Some(count) => all.push(format!("{ours} = {}", seconds(count))),
                None => {}
            }
        }
        all.extend(self.completion(origin, id, of_kind("OriginReadTimeout")));
        if !all.is_empty() {
            let _ = writeln!(self.out, "timeouts = {{ {} }}", all.join(", "));
        }
        match origin.number("ConnectionAttempts") {
            Some(attempts @ 1..=3) => drop(writeln!(self.out, "attempts = {attempts}")),
            Some(attempts) => self.note(
                Rank::ToKnow,
                format!("origin {id}: ConnectionAttempts = {attempts}: one to three are made"),
            ),
            None => {}
        }
    }

    // The bound on a whole answer, which is no shorter than that on its pieces.
    fn completion(&mut self, origin: &Node<'d>, id: &str, read: Option<u64>) -> Option<String> {
        let whole = origin.number("ResponseCompletionTimeout").filter(|whole| *whole > 0)?;
        let read = read.filter(|read| *read > 0).unwrap_or(READ_TIMEOUT);
        if whole < read {
            self.note(
                Rank::ToKnow,
                format!("origin {id}: ResponseCompletionTimeout = {whole} is shorter than OriginReadTimeout = {read}; left out"),
            );
            return None;
        }
        Some(format!("complete = {}", seconds(whole)))
    }

    fn fields(&mut self, origin: &Node<'d>, id: &str) {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for header in origin.items("CustomHeaders") {
            let Some(name) = header.text("HeaderName") else { continue };
            // The value may be a secret: messages do not repeat it.
            let value = header.text("HeaderValue").unwrap_or("");
            let known =
                HeaderName::from_bytes(name.as_bytes()).ok().filter(|name| !is_reserved(name));
            if known.is_none() || HeaderValue::from_str(value).is_err() {
                self.note(
                    Rank::BeforeServing,
                    format!("origin {id}: the field {name} cannot be sent as it is here; left out"),
                );
            } else if pairs.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
                self.note(
                    Rank::BeforeServing,
                    format!("origin {id}: the field {name} is there twice; the first counts"),
                );
            } else {
                pairs.push((name.to_string(), value.to_string()));
            }
        }
        if !pairs.is_empty() {
            let pairs: Vec<String> = pairs
                .iter()
                .map(|(name, value)| format!("{} = {}", quoted(name), quoted(value)))
                .collect();
            let _ = writeln!(
                self.out,
                "headers = {{ {} }}   # a secret among them is better {{ file = \"…\" }}",
                pairs.join(", ")
            );
        }
    }

    // A private bucket wants credentials, which no export contains.
    fn access(&mut self, origin: &Node<'d>, id: &str, domain: &str) {
        let control = origin.text("OriginAccessControlId");
        let identity = origin.get("S3OriginConfig").and_then(|s3| s3.text("OriginAccessIdentity"));
        let who: Vec<&str> = control.into_iter().chain(identity).collect();
        if who.is_empty() {
            return;
        }
        if self.served_as.is_some() {
            return self.signed_as_served(control, domain);
        }
        let who = who.join(", ");
        let body = control.and_then(|id| self.shelf.find(Kind::OriginAccessControl, id));
        let (mut sign, mut service) = ("always", service_of(domain));
        if let Some(body) = &body {
            body.take_each(&["Name", "Description"]);
            sign = match body.text("SigningBehavior") {
                Some("never") => "never",
                Some("no-override") => "no-override",
                _ => "always",
            };
            service = body.text("OriginAccessControlOriginType").unwrap_or(service);
            if let Some(other) =
                body.text("SigningProtocol").filter(|protocol| *protocol != "sigv4")
            {
                self.note(
                    Rank::BeforeServing,
                    format!("origin {id}: SigningProtocol = {other} is not spoken here; sigv4 is"),
                );
            }
        }
        if sign == "never" {
            self.say(
                Rank::Idle,
                format!("origin {id}: the origin access control {who} signs nothing"),
            );
            return;
        }
        let region = region_of(domain);
        if region.is_none() {
            self.note(
                Rank::BeforeServing,
                format!("origin {id}: {domain} names no region; us-east-1 is taken for it"),
            );
        }
        self.note(
            Rank::BeforeServing,
            format!("origin {id}: requests to it are signed at CloudFront ({who}); set credentials and take the # away"),
        );
        let _ = writeln!(
            self.out,
            "# access_control = {{ sign = \"{sign}\", service = {}, region = {}, credentials = {{ env_prefix = \"AWS_\" }} }}",
            quoted(service),
            quoted(region.unwrap_or("us-east-1"))
        );
    }

    // With the credentials that the configuration has for distributions of the API.
    fn signed_as_served(&mut self, control: Option<&str>, domain: &str) {
        let known = control.and_then(|id| self.controls.get(id));
        let (sign, service) = known.map_or(("always", service_of(domain)), |one| {
            (one.signing.as_str(), one.service.as_str())
        });
        if sign == "never" {
            return;
        }
        let _ = writeln!(
            self.out,
            "access_control = {{ sign = {}, service = {}, region = {} }}",
            quoted(sign),
            quoted(service),
            quoted(region_of(domain).unwrap_or("us-east-1"))
        );
    }

    fn what_an_origin_says_more(
        &mut self,
        origin: &Node<'d>,
        custom: Option<&Node<'d>>,
        id: &str,
        is_https: bool,
    ) {
        if let Some(custom) = custom {
            self.version(custom, id, is_https);
            let may = custom.texts("OriginSslProtocols");
            // By the API a list counts as what may be spoken, and one of it is.
            let is_spoken = self.served_as.is_some() && may.contains(&"TLSv1.2");
            let old: Vec<&str> = may.into_iter().filter(|name| *name != "TLSv1.2").collect();
            if !old.is_empty() && is_https && !is_spoken {
                self.say(
                    Rank::ToKnow,
                    format!(
                        "origin {id}: {} are not spoken to origins; TLS 1.2 and 1.3 are",
                        old.join(", ")
                    ),
                );
            }
            self.family(custom, id);
            if let Some(arn) =
                custom.get("OriginMtlsConfig").and_then(|mtls| mtls.text("ClientCertificateArn"))
            {
                if self.served_as.is_some() {
                    let _ = writeln!(self.out, "tls = {{ certificate_id = {} }}", quoted(arn));
                } else {
                    self.note(
                        Rank::BeforeServing,
                        format!("origin {id}: the certificate {arn} is shown to it at CloudFront; name yours: tls = {{ chain = …, key = … }}"),
                    );
                }
            }
        }
        if let Some(vpc) = origin.get("VpcOriginConfig") {
            let (name, owner) =
                (vpc.text("VpcOriginId").unwrap_or("?"), vpc.text("OwnerAccountId"));
            let owner = owner.map(|owner| format!(" of {owner}")).unwrap_or_default();
            self.note(
                Rank::BeforeServing,
                format!("origin {id}: CloudFront reaches it inside a VPC ({name}{owner}); see that this machine does"),
            );
        }
        if let Some(shield) = origin.get("OriginShield").filter(|shield| shield.is("Enabled")) {
            if self.served_as.is_some() {
                return shield.take();
            }
            let region = shield
                .text("OriginShieldRegion")
                .map(|region| format!(" ({region})"))
                .unwrap_or_default();
            self.say(
                Rank::ToKnow,
                format!(
                    "origin {id}: Origin Shield{region} is a parent here, shield = \"https://…\" of the origin; see [region]"
                ),
            );
        }
    }

    fn family(&mut self, custom: &Node<'d>, id: &str) {
        let Some(family) = custom.text("IpAddressType") else { return };
        if Family::ALL.iter().any(|(word, _)| *word == family) {
            let _ = writeln!(self.out, "ip = {}", quoted(family));
        } else {
            self.note(
                Rank::ToKnow,
                format!("origin {id}: IpAddressType = {family}: both kinds of addresses are used"),
            );
        }
    }

    // CloudFront speaks HTTP/2 to origins over TLS only; for calls of gRPC it does so whatever else
    // is said.
    fn version(&mut self, custom: &Node<'d>, id: &str, is_https: bool) {
        match custom.text("OriginHttpVersion") {
            Some("http2") if is_https => self.write_http2(id),
            None | Some("http1.1") if is_https && self.called.contains(id) => {
                if self.served_as.is_none() {
                    self.note(
                        Rank::ToKnow,
                        format!("origin {id}: asked over HTTP/2 where it chooses that: calls of gRPC go to it"),
                    );
                }
                self.write_http2(id);
            }
            None | Some("http1.1") => {}
            // As at CloudFront, it is for TLS alone.
            Some("http2") if self.served_as.is_some() => {}
            Some(version) => self.note(
                Rank::ToKnow,
                format!("origin {id}: OriginHttpVersion = {version}: HTTP/1.1 is spoken to it"),
            ),
        }
    }

    fn write_http2(&mut self, id: &str) {
        self.out.push_str("http_version = \"http2\"\n");
        self.over_http2.insert(id.to_string());
    }

    /// Every `[[distribution.origin_group]]` that has two members; one that has fewer stands for
    /// its member.
    pub(super) fn groups(&mut self, config: &Node<'d>) {
        // A group is no member of another.
        let origins: BTreeSet<String> = self.targets.keys().cloned().collect();
        for (at, group) in config.items("OriginGroups").iter().enumerate() {
            let id = group.text("Id").map_or_else(|| format!("group-{}", at + 1), String::from);
            let named: Vec<&str> = group
                .items("Members")
                .iter()
                .filter_map(|member| member.text("OriginId"))
                .collect();
            let (members, unknown): (Vec<&str>, Vec<&str>) =
                named.into_iter().partition(|name| origins.contains(*name));
            for name in unknown {
                self.note(
                    Rank::BeforeServing,
                    format!("origin group {id}: there is no origin {name}"),
                );
            }
            let codes = self.failover(group, &id);
            if let Some(criteria) =
                group.text("SelectionCriteria").filter(|criteria| *criteria != "default")
            {
                let what = format!(
                    "origin group {id}: SelectionCriteria = {criteria} is not carried over; the first member comes first"
                );
                self.note(Rank::ToKnow, what);
            }
            if self.targets.contains_key(&id) {
                self.note(
                    Rank::BeforeServing,
                    format!("origin group {id}: something else has this id; left out"),
                );
            } else if members.len() >= 2 {
                let _ = writeln!(
                    self.out,
                    "\n[[distribution.origin_group]]\nid = {}\nmembers = {}\nfailover = [{}]",
                    quoted(&id),
                    list(&members),
                    codes.join(", ")
                );
                if members.iter().all(|member| self.over_http2.contains(*member)) {
                    self.over_http2.insert(id.clone());
                }
                self.targets.insert(id.clone(), id);
            } else {
                let codes = codes.join(", ");
                let only = members.first().copied();
                let what = only.map_or_else(
                    || "it has no member".to_string(),
                    |only| format!("{only} is its only member, and stands for it"),
                );
                self.note(
                    Rank::BeforeServing,
                    format!("origin group {id}: {what}; failover ({codes}) needs two"),
                );
                if let Some(only) = only {
                    self.targets.insert(id, only.to_string());
                }
            }
        }
    }

    fn failover(&mut self, group: &Node<'d>, id: &str) -> Vec<String> {
        let mut all = Vec::new();
        for code in group
            .get("FailoverCriteria")
            .map(|criteria| criteria.items("StatusCodes"))
            .unwrap_or_default()
        {
            let Some(status) = code.whole() else { continue };
            code.take();
            if (400..=599).contains(&status) {
                all.push(status.to_string());
            } else {
                self.note(
                    Rank::ToKnow,
                    format!("origin group {id}: {status} is no status of a failure"),
                );
            }
        }
        all
    }
}

// What behaviors with calls of gRPC name as their origin, and the members of groups among that.
fn called(config: &Node<'_>) -> BTreeSet<String> {
    let mut behaviors = config.items("CacheBehaviors");
    behaviors.extend(config.get("DefaultCacheBehavior"));
    let mut all: BTreeSet<String> = behaviors
        .iter()
        .filter(|one| one.get("GrpcConfig").is_some_and(|grpc| grpc.is("Enabled")))
        .filter_map(|one| one.text("TargetOriginId"))
        .map(String::from)
        .collect();
    for group in config.items("OriginGroups") {
        if group.text("Id").is_some_and(|id| all.contains(id)) {
            let members = group.items("Members");
            all.extend(members.iter().filter_map(|one| one.text("OriginId")).map(String::from));
        }
    }
    all
}

fn is_path(path: &str) -> bool {
    path.starts_with('/')
        && !path.contains(['?', '#', ' '])
        && !path.contains(char::is_control)
        && is_safe_path(path)
}
