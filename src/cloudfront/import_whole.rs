//! What an imported distribution says as a whole: its names, viewers' certificates and its own, its
//! log, the countries that it serves, and what has no meaning here.

use std::fmt::Write;

use super::documents::Candidate;
use super::import::{Job, list, plain_name, quoted};
use super::node::Node;
use super::report::{Rank, one_line};
use crate::distribution::host::HostPattern;

impl<'d> Job<'d, '_> {
    pub(super) fn head(&mut self, call: Option<&str>) {
        let call =
            call.map(|call| format!(" (CallerReference {})", one_line(call))).unwrap_or_default();
        let _ = writeln!(
            self.out,
            "# Imported from CloudFront{call}.\n# Loads as it is; what is marked below waits for the operator to look at it.\n"
        );
        self.out.push_str("data = \".foreshore\"\n\n[listen]\nhttp  = [\"127.0.0.1:8080\"]\nhttps = [\"127.0.0.1:8443\"]\n\n");
    }

    pub(super) fn hosts(&mut self, config: &Node<'d>) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for name in config.texts("Aliases") {
            match HostPattern::parse(name) {
                Ok(_) if all.iter().any(|known| known.eq_ignore_ascii_case(name)) => {}
                Ok(_) => all.push(name.to_string()),
                Err(why) => self
                    .say(Rank::BeforeServing, format!("the alias {name}: {why}; not carried over")),
            }
        }
        all
    }

    // The table of the distribution itself, up to what has a function of its own.
    pub(super) fn names(&mut self, one: &Candidate<'d>, hosts: &[String]) {
        let (config, id) = (&one.config, one.id);
        let is_id = |id: &&str| {
            id.len() <= 64
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        let known = id.or(self.wishes.distribution.as_deref()).filter(is_id).unwrap_or("EIMPORTED");
        let _ = writeln!(self.out, "[[distribution]]\nid = {}", quoted(known));
        if let Some(comment) = config.text("Comment") {
            let _ = writeln!(self.out, "comment = {}", quoted(&one_line(comment)));
        }
        if hosts.is_empty() {
            self.note(Rank::ToKnow, "there are no aliases: this distribution takes every host");
            self.out.push_str("hosts = [\"*\"]\n");
        } else {
            let _ = writeln!(self.out, "hosts = {}", list(hosts));
        }
        if config.get("Enabled").is_some() && !config.is("Enabled") {
            self.out.push_str("enabled = false\n");
        }
        if let Some(object) = config.text("DefaultRootObject") {
            let plain = object.trim_start_matches('/');
            if plain != object {
                self.note(
                    Rank::ToKnow,
                    format!("DefaultRootObject = {object}: with a slash in front CloudFront answers / with 403; carried over without it"),
                );
            }
            if !plain.is_empty() {
                let _ = writeln!(self.out, "default_root_object = {}", quoted(plain));
            }
        }
        if let Some(version @ ("http1.1" | "http3" | "http2and3")) = config.text("HttpVersion") {
            let _ = writeln!(self.out, "http_version = {}", quoted(version));
        }
        if let Some(tags) = config.get("CacheTagConfig").and_then(|tags| tags.text("HeaderName")) {
            if http::HeaderName::from_bytes(tags.as_bytes()).is_ok() {
                let _ = writeln!(self.out, "tag_header = {}", quoted(tags));
            } else {
                self.note(
                    Rank::BeforeServing,
                    format!(
                        "CacheTagConfig: {tags} is no field name; tags are read from Cache-Tag"
                    ),
                );
            }
        }
        if !one.tags.is_empty() {
            let pairs: Vec<String> = one
                .tags
                .iter()
                .map(|(key, tag)| format!("{} = {}", quoted(key), quoted(tag)))
                .collect();
            let _ = writeln!(self.out, "tags = {{ {} }}", pairs.join(", "));
        }
        self.out.push_str("compat = \"cloudfront\"\n");
        self.out.push_str(&self.client_certificates.take().unwrap_or_default());
    }

    // Whatever guards every behavior and stays behind.
    pub(super) fn what_guards_all(&mut self, config: &Node<'d>) {
        let says_something =
            |mtls: &Node<'d>| mtls.value().as_object().is_none_or(|map| !map.is_empty());
        if let Some(mtls) = config.get("ViewerMtlsConfig").filter(says_something) {
            self.viewers_certificates(&mtls);
        }
        if let Some(function) =
            config.get("ConnectionFunctionAssociation").and_then(|one| one.text("Id"))
        {
            let more =
                format!("the connection function {function} decides at CloudFront who may connect");
            self.shut = Some(
                self.shut
                    .take()
                    .map_or_else(|| more.clone(), |first| format!("{first}, and {more}")),
            );
        }
    }

    // The certificates of a trust store are in no document, so a rule that verifies waits for them.
    fn viewers_certificates(&mut self, mtls: &Node<'d>) {
        let store = mtls.get("TrustStoreConfig");
        let id = store.as_ref().and_then(|store| store.text("TrustStoreId"));
        let flag = |name: &str| store.as_ref().is_some_and(|store| store.is(name));
        let (advertise, ignore) =
            (flag("AdvertiseTrustStoreCaNames"), flag("IgnoreCertificateExpiry"));
        let told = id.map(|id| format!(" (trust store {id})")).unwrap_or_default();
        let mode = mtls.text("Mode").unwrap_or("required");
        if mode == "passthrough" {
            self.client_certificates =
                Some("client_certificates = { mode = \"passthrough\" }\n".into());
            self.say(
                Rank::ToKnow,
                format!(
                    "ViewerMtlsConfig: Mode = passthrough{told}: carried over; AdvertiseTrustStoreCaNames = {advertise} and \
                     IgnoreCertificateExpiry = {ignore} mean nothing where nothing is verified"
                ),
            );
            return;
        }
        let word = if mode == "optional" { "optional" } else { "required" };
        let line = format!(
            "client_certificates = {{ mode = \"{word}\", trust_store = \"FILE.pem\", ignore_expiry = {ignore}, advertise = {advertise} }}"
        );
        self.client_certificates = Some(format!("# {line}\n"));
        let what = format!(
            "ViewerMtlsConfig: Mode = {mode}{told}, AdvertiseTrustStoreCaNames = {advertise}, IgnoreCertificateExpiry = {ignore}: \
             the trust store's certificates are in no document; put them into a file and say {line}"
        );
        self.say(Rank::BeforeServing, what);
        if word == "required" {
            self.shut = Some(format!(
                "viewers must show a certificate at CloudFront (ViewerMtlsConfig: Mode = {mode}{told})"
            ));
        }
    }

    // Settings that have no meaning here, or another one; each is said once, in words.
    pub(super) fn what_is_ours_to_say(&mut self, config: &Node<'d>) {
        if config.is("Staging") {
            self.say(
                Rank::BeforeServing,
                "Staging = true: give this distribution `staging = { of = …, percent = … }` in the place of its hosts",
            );
        }
        if config.get("Enabled").is_some() && !config.is("Enabled") {
            self.say(
                Rank::ToKnow,
                "Enabled = false: the distribution is off, here too; take enabled = false away to serve it",
            );
        }
        if let Some(acl) = config.text("WebACLId") {
            self.say(
                Rank::BeforeServing,
                format!("WebACLId = {acl}: web application firewalls are not carried over; see allow_from, deny_from and rate_limit"),
            );
        }
        match config.text("ConnectionMode") {
            None | Some("direct") => {}
            Some(mode) => self.say(
                Rank::BeforeServing,
                format!("ConnectionMode = {mode}: at CloudFront it serves through its tenants alone; here it serves its hosts itself"),
            ),
        }
        match config.text("HttpVersion") {
            None | Some("http1.1" | "http2") => {}
            Some(version) => self.say(
                Rank::ToKnow,
                format!("HttpVersion = {version}: HTTP/3 is spoken where listen.http3 = true"),
            ),
        }
        if let Some(policy) = config.text("ContinuousDeploymentPolicyId") {
            self.say(
                Rank::ToKnow,
                format!("ContinuousDeploymentPolicyId = {policy}: import its staging distribution too, and see `staging`"),
            );
        }
        if let Some(class) = config.text("PriceClass").filter(|class| *class != "PriceClass_All") {
            self.say(
                Rank::Idle,
                format!("PriceClass = {class}: there is one place, and it costs what it costs"),
            );
        }
        if let Some(addresses) = config.text("AnycastIpListId") {
            self.say(
                Rank::Idle,
                format!("AnycastIpListId = {addresses}: addresses are those of this machine"),
            );
        }
        if config.is("IsIPV6Enabled") {
            self.say(Rank::Idle, "IsIPV6Enabled: add \"[::]:443\" to listen.https to serve IPv6");
        }
    }

    pub(super) fn log(&mut self, config: &Node<'d>) {
        let Some(logging) = config.get("Logging") else { return };
        let bucket = logging.text("Bucket");
        if !logging.is("Enabled") && bucket.is_none() {
            return;
        }
        let cookies = if logging.is("IncludeCookies") { "include" } else { "omit" };
        let given = logging.text("Prefix").unwrap_or("");
        if !self.taken.insert("log".into()) {
            let bucket = bucket.unwrap_or("none was named");
            let what = format!(
                "Logging: there is one standard log for all distributions, and it is the first one's (bucket {bucket}, prefix {given:?})"
            );
            return self.say(Rank::ToKnow, what);
        }
        let prefix: Vec<String> = given
            .split('/')
            .map(plain_name)
            .filter(|part| !part.trim_matches('.').is_empty())
            .collect();
        let folder =
            ["standard-log".to_string()].into_iter().chain(prefix).collect::<Vec<_>>().join("/");
        let _ = writeln!(
            self.out,
            "[log]\nstandard = {{ folder = {}, cookies = \"{cookies}\" }}\n",
            quoted(&folder)
        );
        let bucket = bucket.unwrap_or("none was named");
        self.say(
            Rank::ToKnow,
            format!("Logging: the files are written to the folder {folder}, not to a bucket ({bucket}, prefix {given:?})"),
        );
    }

    pub(super) fn tls(&mut self, all: &[Candidate<'d>], hosts: &[Vec<String>]) {
        let mut first = None;
        for one in all {
            self.begin(one, all.len() > 1);
            let Some(certificate) = one.config.get("ViewerCertificate") else { continue };
            self.certificate(&certificate);
            let Some(policy) = certificate.text("MinimumProtocolVersion") else { continue };
            match first {
                None => {
                    first = Some(policy);
                    self.tls_policy(policy);
                }
                Some(known) if known == policy => {}
                Some(known) => self.say(
                    Rank::ToKnow,
                    format!("MinimumProtocolVersion = {policy}: there is one policy for all distributions, and it is {known}"),
                ),
            }
        }
        let mut names: Vec<&str> = hosts.iter().flatten().map(String::as_str).collect();
        names.extend(["localhost", "127.0.0.1"]);
        let _ = writeln!(
            self.out,
            "# Made on first start, for trying things out; put the real one here.\n[[certificate]]\nchain = \"certs/dev/imported.pem\"\nkey = \"certs/dev/imported.key\"\nmake_for = {}\n",
            list(&names)
        );
    }

    fn tls_policy(&mut self, policy: &str) {
        if matches!(policy, "TLSv1.2_2021" | "TLSv1.2_2025" | "TLSv1.3_2025") {
            let _ = writeln!(self.out, "[tls]\npolicy = \"{policy}\"\n");
            return;
        }
        self.out.push_str("[tls]\n");
        self.note(
            Rank::ToKnow,
            format!(
                "MinimumProtocolVersion = {policy}: older than TLS 1.2, or with suites that are not spoken here; lifted to TLSv1.2_2021"
            ),
        );
        self.out.push_str("policy = \"TLSv1.2_2021\"\n\n");
    }

    fn certificate(&mut self, certificate: &Node<'d>) {
        let source = certificate
            .text("CertificateSource")
            .map(|source| format!(" ({source})"))
            .unwrap_or_default();
        // `Certificate` is what the others are now, and says the same where both are there.
        let mut names: Vec<&str> = ["ACMCertificateArn", "IAMCertificateId", "Certificate"]
            .iter()
            .filter_map(|key| certificate.text(key))
            .collect();
        names.dedup();
        for name in names {
            self.say(Rank::BeforeServing, format!("certificate {name}{source}: put its chain and key in the place of the development one"));
        }
        if certificate.is("CloudFrontDefaultCertificate") {
            self.say(
                Rank::ToKnow,
                "CloudFrontDefaultCertificate: the one of *.cloudfront.net stays there; a development certificate takes its place",
            );
        }
        if let Some(support) =
            certificate.text("SSLSupportMethod").filter(|support| *support != "sni-only")
        {
            self.say(
                Rank::ToKnow,
                format!(
                    "SSLSupportMethod = {support}: there is no address for this certificate alone; viewers without SNI get the first one"
                ),
            );
        }
    }

    pub(super) fn geo(&mut self, config: &Node<'d>) {
        let Some(restrictions) = config.get("Restrictions") else { return };
        let Some(geo) = restrictions.get("GeoRestriction") else { return };
        let key = match geo.text("RestrictionType") {
            Some("whitelist") => "only",
            Some("blacklist") => "except",
            None | Some("none") => return,
            Some(other) => {
                self.note(
                    Rank::BeforeServing,
                    format!("geo restriction: RestrictionType = {other} is not known here; every place is served"),
                );
                return;
            }
        };
        let is_country =
            |name: &&str| name.len() == 2 && name.bytes().all(|b| b.is_ascii_uppercase());
        let (countries, others): (Vec<&str>, Vec<&str>) =
            restrictions.texts("GeoRestriction").into_iter().partition(is_country);
        if !others.is_empty() {
            self.note(
                Rank::BeforeServing,
                format!(
                    "geo restriction: {} is no country of ISO 3166-1; left out",
                    others.join(", ")
                ),
            );
        }
        if self.served_as.is_none() {
            self.note(Rank::BeforeServing, "geo restriction: name a MaxMind database in [geo], or every viewer is unknown and so served");
        }
        let _ = writeln!(self.out, "geo_restriction = {{ {key} = {} }}", list(&countries));
    }
}
