//! A distribution of CloudFront's as a configuration of ours (`foreshore import cloudfront`).
//!
//! What restricts access is carried over closed: a key group whose keys are not at hand refuses all
//! viewers, and so does a behavior whose viewer-request function stays behind. What cannot be
//! carried over is said in the report, and beside its place in the file where it has one. A value
//! that the configuration would refuse is such a thing, so that what is written loads.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::Value;

use super::documents::{Candidate, Kind, Shelf, Sorted, choose, say_passed_over};
use super::node::{Document, Node};
use super::report::{Rank, Report, one_line};
use super::seal::sealed;
use crate::distribution::host::HostPattern;

/// A file that was given, as JSON.
pub struct Input {
    /// What messages call it.
    pub name: String,
    pub json: Value,
}

/// What the operator says beside the files.
#[derive(Default)]
pub struct Wishes {
    /// The distribution that is meant, where there are several.
    pub distribution: Option<String>,
    /// Ids of origins and the URLs to ask in the place of theirs; `*` is every origin.
    pub origins: Vec<(String, String)>,
    pub functions: Functions,
    /// Code of CloudFront Functions, by their names: the outputs of `get-function`.
    pub code: Vec<(String, String)>,
}

/// What becomes of a behavior whose viewer-request function is not carried over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Functions {
    /// It refuses all viewers, because the function may have been what guarded it.
    #[default]
    Guard,
    /// It is open: the operator knows that they guard nothing.
    Ignored,
}

/// What an import comes to.
#[derive(Debug)]
pub struct Imported {
    /// The configuration, without its seal.
    text: String,
    /// Files that it names: public keys, by their names beside it.
    pub files: Vec<(String, String)>,
    /// What was not carried over, or not as it was.
    pub report: Report,
}

impl Imported {
    /// The configuration as it is written to a file: the first line says whether it was changed
    /// since (`seal::is_untouched`).
    pub fn toml(&self) -> String {
        sealed(&self.text)
    }

    /// Takes out lines that the configuration refuses, and says so: `(offset in toml(), why)` each.
    /// False if one of them is not among those that may go: without it the rest would mean
    /// something else, or let more in.
    pub fn without(&mut self, refused: &[(usize, String)]) -> bool {
        let sealed = self.toml();
        let before = sealed.len() - self.text.len();
        super::repair::take_out(&mut self.text, before, refused, &mut self.report)
    }
}

/// Reads a distribution, and whatever of its policies, key groups and public keys is at hand.
///
/// `inputs` are outputs of `aws cloudfront get-…` and `list-…`, in any order; one of them is the
/// distribution.
pub fn import(inputs: Vec<Input>, wishes: &Wishes) -> Result<Imported, String> {
    let documents: Vec<Document> =
        inputs.into_iter().map(|input| Document::new(input.name, input.json)).collect();
    import_documents(&documents, Report::default(), wishes, Several::Refused)
}

/// What becomes of several distributions where none is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Several {
    /// One of them has to be named.
    Refused,
    /// All go into one configuration.
    All,
}

/// The same of documents that were read, or made of something else; `report` has what is to be said
/// of how they were made.
pub(super) fn import_documents(
    documents: &[Document],
    report: Report,
    wishes: &Wishes,
    several: Several,
) -> Result<Imported, String> {
    let mut sorted = Sorted::default();
    documents.iter().for_each(|document| sorted.add(&document.root()));
    let is_all =
        several == Several::All && wishes.distribution.is_none() && !sorted.candidates.is_empty();
    let chosen = if is_all {
        sorted.candidates.clone()
    } else {
        vec![choose(&sorted, wishes.distribution.as_deref())?]
    };
    check_origins(&chosen, wishes)?;
    let mut job = Job::new(wishes);
    job.report = report;
    say_passed_over(&sorted, &mut job.report);
    job.leave_the_others(&sorted, &chosen);
    job.shelf = sorted.shelf;
    chosen.iter().for_each(|one| job.settle_the_nameless(&one.config));
    job.distributions(&chosen);
    job.shelf.put_away(&mut job.report);
    for document in documents {
        for (path, value) in document.left() {
            // What is told to origins may be a secret.
            let value = if path.ends_with("/HeaderValue") { "…".to_string() } else { value };
            let place = document.place_of(&path);
            job.report.add(Rank::ToKnow, &format!("{place} = {value}: not carried over"));
        }
    }
    Ok(Imported { text: job.out, files: job.files.into_iter().collect(), report: job.report })
}

// An origin that is named and not there is a mistake: another one was meant.
fn check_origins(chosen: &[Candidate<'_>], wishes: &Wishes) -> Result<(), String> {
    let known: Vec<String> = chosen
        .iter()
        .flat_map(|one| one.config.items("Origins"))
        .filter_map(|one| Some(one.get("Id")?.value().as_str()?.to_string()))
        .collect();
    for (id, url) in &wishes.origins {
        if id != "*" && !known.contains(id) {
            return Err(format!(
                "--origin {id}=…: there is no such origin; there is {}",
                known.join(", ")
            ));
        }
        if !["http://", "https://", "file:"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(format!(
                "--origin {id}={url}: the URL is http://HOST[:PORT][/PATH], https://… or file:FOLDER"
            ));
        }
    }
    Ok(())
}

/// An import under way.
pub(super) struct Job<'d, 'w> {
    pub(super) wishes: &'w Wishes,
    pub(super) out: String,
    /// What messages begin with: the distribution that they are about, where there are several.
    pub(super) whose: String,
    pub(super) files: BTreeMap<String, String>,
    pub(super) report: Report,
    pub(super) shelf: Shelf<'d>,
    /// Tables that are named by others, written into the file: by kind and CloudFront's id.
    pub(super) made: BTreeMap<String, String>,
    /// The names that such tables have, by the same; and all that are taken.
    pub(super) named: BTreeMap<String, String>,
    pub(super) taken: BTreeSet<String>,
    /// What a behavior may name as its origin.
    pub(super) targets: BTreeMap<String, String>,
    /// Origins and groups to which some behavior sends calls of gRPC.
    pub(super) called: BTreeSet<String>,
    /// Those that are asked over HTTP/2.
    pub(super) over_http2: BTreeSet<String>,
    /// Why the whole distribution refuses all viewers.
    pub(super) shut: Option<String>,
    /// What is said of viewers' certificates, as a line of the distribution's table.
    client_certificates: Option<String>,
    /// Behaviors with legacy settings that keep answers.
    pub(super) keep_by_legacy: Vec<String>,
    /// The id of a distribution that is served as it is written here, beside others: policies and
    /// keys have tables of their own under their ids. `None` for a file that an operator looks at.
    pub(super) served_as: Option<String>,
    /// The access controls that such a distribution may name, by their ids.
    pub(super) controls: BTreeMap<String, Control>,
}

/// What an origin access control says of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Control {
    /// `always`, `never` or `no-override`.
    pub(super) signing: String,
    pub(super) service: String,
}

/// Where a URL leads that cannot be known; the name is reserved (RFC 6761) and never resolves.
pub(super) const NOWHERE: &str = "https://not-carried-over.invalid";

impl<'d, 'w> Job<'d, 'w> {
    pub(super) fn new(wishes: &'w Wishes) -> Self {
        Self {
            served_as: None,
            controls: BTreeMap::new(),
            wishes,
            out: String::new(),
            whose: String::new(),
            files: BTreeMap::new(),
            report: Report::default(),
            shelf: Shelf::default(),
            made: BTreeMap::new(),
            named: BTreeMap::new(),
            taken: BTreeSet::new(),
            targets: BTreeMap::new(),
            called: BTreeSet::new(),
            over_http2: BTreeSet::new(),
            shut: None,
            client_certificates: None,
            keep_by_legacy: Vec::new(),
        }
    }

    /// Says something in the report and, as a comment, where the file has got to.
    pub(super) fn note(&mut self, rank: Rank, what: impl AsRef<str>) {
        // One line, whatever the document says: nothing in it may become a setting.
        let _ = writeln!(self.out, "# {}", one_line(what.as_ref()));
        self.say(rank, what);
    }

    /// Says something in the report alone.
    pub(super) fn say(&mut self, rank: Rank, what: impl AsRef<str>) {
        self.report.add(rank, &format!("{}{}", self.whose, what.as_ref()));
    }

    // The other distributions of the files, and what a list leaves out of those that were chosen.
    fn leave_the_others(&mut self, sorted: &Sorted<'d>, chosen: &[Candidate<'d>]) {
        for other in &sorted.candidates {
            if chosen.iter().any(|one| std::ptr::eq(other.config.value(), one.config.value())) {
                continue;
            }
            other.config.take();
            let (file, id) = (other.config.file(), other.id.unwrap_or("without an id"));
            self.say(Rank::Idle, format!("{file}: the distribution {id} is another one"));
        }
        if chosen.iter().any(|one| one.is_summary) {
            self.say(
                Rank::BeforeServing,
                "what list-distributions says is not everything: DefaultRootObject, Logging and CustomErrorResponses may be missing; \
                 `aws cloudfront get-distribution-config --id ID` says it all",
            );
        }
    }

    // Configurations that came without an id belong to what this distribution asks for.
    fn settle_the_nameless(&mut self, config: &Node<'d>) {
        let mut asked: BTreeSet<(Kind, &'d str)> = BTreeSet::new();
        let mut ask = |kind: Kind, id: Option<Node<'d>>| {
            asked.extend(id.and_then(|id| Some((kind, id.value().as_str()?))))
        };
        let mut behaviors = config.items("CacheBehaviors");
        behaviors.extend(config.get("DefaultCacheBehavior"));
        for behavior in &behaviors {
            ask(Kind::CachePolicy, behavior.get("CachePolicyId"));
            ask(Kind::OriginRequestPolicy, behavior.get("OriginRequestPolicyId"));
            ask(Kind::ResponseHeadersPolicy, behavior.get("ResponseHeadersPolicyId"));
            behavior
                .items("TrustedKeyGroups")
                .into_iter()
                .for_each(|group| ask(Kind::KeyGroup, Some(group)));
        }
        config
            .items("Origins")
            .iter()
            .for_each(|origin| ask(Kind::OriginAccessControl, origin.get("OriginAccessControlId")));
        self.shelf.name_the_nameless(&asked, &mut self.report);
    }

    fn distributions(&mut self, all: &[Candidate<'d>]) {
        let are_several = all.len() > 1;
        let hosts: Vec<Vec<String>> =
            all.iter().map(|one| self.all_hosts(one, are_several)).collect();
        let call = all.first().and_then(|one| one.config.text("CallerReference"));
        if are_several {
            all.iter().for_each(|one| one.config.take_each(&["CallerReference"]));
        }
        self.head(call.filter(|_| !are_several));
        for one in all {
            self.begin(one, are_several);
            self.log(&one.config);
        }
        self.tls(all, &hosts);
        // Everything that is named comes before what names it.
        let before = std::mem::take(&mut self.out);
        let mut tables = String::new();
        for (one, hosts) in all.iter().zip(&hosts) {
            self.begin(one, are_several);
            self.targets.clear();
            self.shut = None;
            let config = &one.config;
            self.what_guards_all(config);
            self.origins(config);
            self.groups(config);
            self.behaviors(config);
            self.errors(config);
            let parts = std::mem::take(&mut self.out);
            self.names(one, hosts);
            self.geo(config);
            tables.push_str(if tables.is_empty() { "" } else { "\n" });
            tables.push_str(&std::mem::take(&mut self.out));
            tables.push_str(&parts);
            self.say_what_legacy_risks();
            self.what_is_ours_to_say(config);
        }
        self.whose.clear();
        let made: String = self.made.values().map(String::as_str).collect();
        self.out = format!("{before}{made}{tables}");
    }

    // What is said from here on is about this one.
    fn begin(&mut self, one: &Candidate<'d>, are_several: bool) {
        self.whose.clear();
        if let Some(id) = one.id.filter(|_| are_several) {
            self.whose = format!("{id}: ");
        }
    }

    // A host belongs to one distribution, and one alone may take every host.
    fn all_hosts(&mut self, one: &Candidate<'d>, are_several: bool) -> Vec<String> {
        self.begin(one, are_several);
        let mut hosts = self.hosts(&one.config);
        hosts.extend(
            one.domain
                .map(String::from)
                .filter(|name| HostPattern::parse(name).is_ok() && !hosts.contains(name)),
        );
        if !are_several {
            return hosts;
        }
        let mut own = Vec::new();
        for host in hosts {
            if self.taken.insert(format!("host {}", host.to_ascii_lowercase())) {
                own.push(host);
            } else {
                self.say(
                    Rank::BeforeServing,
                    format!("the alias {host} is another distribution's too; left out"),
                );
            }
        }
        if own.is_empty() {
            let id = one.id.unwrap_or("imported").to_ascii_lowercase().replace('_', "-");
            let host = format!("{}.localhost", id.trim_matches('-').replace('.', "-"));
            self.say(
                Rank::ToKnow,
                format!("there are no aliases: this distribution is served as {host}"),
            );
            own.push(host);
        }
        own
    }

    fn head(&mut self, call: Option<&str>) {
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
    fn names(&mut self, one: &Candidate<'d>, hosts: &[String]) {
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
        if let Some("http3" | "http2and3") = config.text("HttpVersion") {
            self.out.push_str("http_version = \"http2and3\"\n");
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
    fn what_guards_all(&mut self, config: &Node<'d>) {
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
    fn what_is_ours_to_say(&mut self, config: &Node<'d>) {
        if config.is("Staging") {
            self.say(
                Rank::BeforeServing,
                "Staging = true: give this distribution `staging = { of = …, percent = … }` in the place of its hosts",
            );
        }
        if config.get("Enabled").is_some() && !config.is("Enabled") {
            self.say(
                Rank::BeforeServing,
                "Enabled = false: the distribution is off at CloudFront; here it is served as soon as the edge runs",
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
            None | Some("http2") => {}
            Some("http1.1") => {
                self.say(Rank::ToKnow, "HttpVersion = http1.1: HTTP/2 is spoken too")
            }
            Some(version) => self.say(
                Rank::ToKnow,
                format!(
                    "HttpVersion = {version}: HTTP/3 is spoken where listen.http3 = true, and HTTP/2 in any case"
                ),
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

    fn log(&mut self, config: &Node<'d>) {
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

    fn tls(&mut self, all: &[Candidate<'d>], hosts: &[Vec<String>]) {
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

    /// A name for a table, unlike all others of its kind and not that of a managed policy.
    pub(super) fn name(
        &mut self,
        kind: Kind,
        wanted: &str,
        is_managed: impl Fn(&str) -> bool,
    ) -> String {
        let mut name = wanted.to_string();
        let mut count = 1;
        while is_managed(&name) || !self.taken.insert(format!("{kind:?} {name}")) {
            count += 1;
            name = format!("{wanted}-{count}");
        }
        name
    }
}

/// As a key of a table and a name of a file.
pub(super) fn plain_name(name: &str) -> String {
    let plain =
        |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    name.chars().take(100).map(plain).collect()
}

/// As TOML has strings.
pub(super) fn quoted(text: &str) -> String {
    // TOML's basic strings escape what JSON's do.
    serde_json::to_string(text).unwrap_or_else(|_| "\"\"".into()).replace('\u{7f}', "\\u007f")
}

/// As TOML has lists of them.
pub(super) fn list<T: AsRef<str>>(items: &[T]) -> String {
    format!("[{}]", items.iter().map(|item| quoted(item.as_ref())).collect::<Vec<_>>().join(", "))
}

/// Seconds as a duration of the configuration: what is longer than a century is one.
pub(super) fn seconds(count: u64) -> String {
    format!("\"{}s\"", count.min(3_153_600_000))
}
