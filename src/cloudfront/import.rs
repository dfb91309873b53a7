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
    pub(super) client_certificates: Option<String>,
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
            let forms = behavior.get("FieldLevelEncryptionId");
            ask(Kind::FieldEncryption, forms.filter(|id| id.value().as_str() != Some("")));
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
    pub(super) fn begin(&mut self, one: &Candidate<'d>, are_several: bool) {
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
