//! Behaviors of an imported distribution: paths, methods, which viewers may ask; and the pages in
//! the place of errors.

use std::fmt::Write;

use super::documents::Kind;
use super::import::{Functions, Job, Wishes, list, plain_name, quoted, seconds};
use super::node::Node;
use super::report::Rank;
use crate::crypto::envelope::NAME_MAX;
use crate::crypto::key::PublicKey;
use crate::distribution::behavior::MAPPABLE;
use crate::distribution::functions::LambdaArn;
use crate::distribution::pattern::PathPattern;

/// The name of the real-time log configuration that an ARN means.
pub fn realtime_log_of(arn: &str) -> Option<&str> {
    let rest = arn.strip_prefix("arn:aws:cloudfront::")?;
    let (_, name) = rest.split_once(":realtime-log-config/")?;
    (!name.is_empty()).then_some(name)
}

/// The name in the ARN of a CloudFront Function: `arn:aws:cloudfront::<account>:function/NAME`.
pub fn name_of(arn: &str) -> Option<&str> {
    let (_, name) = arn.strip_prefix("arn:aws:cloudfront::")?.split_once(":function/")?;
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (!name.is_empty() && name.len() <= 64 && name.bytes().all(is_plain)).then_some(name)
}

/// What a behavior has at an event.
#[derive(Clone, Copy)]
struct Association<'d> {
    event: &'d str,
    arn: &'d str,
    is_lambda: bool,
    with_body: bool,
}

impl<'d, 'w> Job<'d, 'w> {
    /// Every `[[distribution.behavior]]`, the default one last.
    pub(super) fn behaviors(&mut self, config: &Node<'d>) {
        for behavior in config.items("CacheBehaviors") {
            match behavior.text("PathPattern") {
                Some(pattern) => {
                    let path = self.path(pattern);
                    self.behavior(&behavior, pattern, &path);
                }
                None => self.note(Rank::BeforeServing, "a behavior has no PathPattern; left out"),
            }
        }
        match config.get("DefaultCacheBehavior") {
            Some(behavior) => self.behavior(&behavior, "*", "*"),
            None => {
                let target = self.targets.keys().next().cloned().unwrap_or_default();
                let _ = writeln!(
                    self.out,
                    "\n[[distribution.behavior]]\npath = \"*\"\norigin = {}",
                    quoted(&target)
                );
                self.close("*", &["there is no DefaultCacheBehavior"], &[]);
            }
        }
    }

    // A pattern that takes at least what CloudFront's does: a rule that took less would leave paths
    // to another rule.
    fn path(&mut self, pattern: &str) -> String {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_-.*$/~\"'@:+&?".contains(c);
        let wider = |c: char| match c {
            c if allowed(c) => c,
            c if c.is_ascii() => '?',
            _ => '*',
        };
        let mut path: String = pattern.chars().map(wider).collect();
        if path.len() > 255 {
            path.truncate(254);
            path.push('*');
        }
        if PathPattern::parse(&path).is_err() {
            path = "/*".into();
        }
        if path != pattern {
            self.note(
                Rank::BeforeServing,
                format!("{pattern}: a path pattern has no such characters, or is too long; written as {path}, which takes this and more"),
            );
        }
        // Only the default behavior is `*`; with a slash it means the same.
        if path == "*" { "/*".into() } else { path }
    }

    fn behavior(&mut self, behavior: &Node<'d>, pattern: &str, path: &str) {
        let wanted = behavior.text("TargetOriginId").unwrap_or("nowhere");
        if !self.targets.contains_key(wanted) {
            self.nowhere(wanted);
        }
        let target = self.targets.get(wanted).cloned().unwrap_or_default();
        let _ = writeln!(
            self.out,
            "\n[[distribution.behavior]]\npath = {}\norigin = {}",
            quoted(path),
            quoted(&target)
        );
        self.viewer_protocol(behavior, pattern);
        self.methods(behavior, pattern);
        self.policies(behavior, pattern);
        self.who_is_let_in(behavior, pattern);
        self.functions(behavior, pattern);
        self.calls(behavior, pattern, &target);
        self.what_a_behavior_says_more(behavior, pattern);
    }

    // Calls of gRPC, where they can pass here.
    fn calls(&mut self, behavior: &Node<'d>, pattern: &str, target: &str) {
        if !behavior.get("GrpcConfig").is_some_and(|grpc| grpc.is("Enabled")) {
            return;
        }
        let takes_post = behavior.texts("AllowedMethods").contains(&"POST");
        if takes_post && self.over_http2.contains(target) {
            self.out.push_str("grpc = true\n");
        } else {
            let then = if self.served_as.is_some() { "" } else { "; then set grpc = true" };
            self.note(
                Rank::BeforeServing,
                format!(
                    "{pattern}: GrpcConfig: calls of gRPC need POST and an origin that is asked over HTTP/2{then}"
                ),
            );
        }
    }

    fn viewer_protocol(&mut self, behavior: &Node<'d>, pattern: &str) {
        let Some(policy) = behavior.text("ViewerProtocolPolicy") else { return };
        let known = ["allow-all", "https-only", "redirect-to-https"].contains(&policy);
        if !known {
            self.note(Rank::BeforeServing, format!("{pattern}: ViewerProtocolPolicy = {policy} is not known here; https alone is taken"));
        }
        let _ = writeln!(
            self.out,
            "viewer_protocol = {}",
            quoted(if known { policy } else { "https-only" })
        );
    }

    fn methods(&mut self, behavior: &Node<'d>, pattern: &str) {
        // Templates have the cached ones beside the allowed ones.
        let inside = behavior
            .get("AllowedMethods")
            .map(|allowed| allowed.texts("CachedMethods"))
            .unwrap_or_default();
        let cached: Vec<&str> = inside.into_iter().chain(behavior.texts("CachedMethods")).collect();
        let keeps_options = cached.contains(&"OPTIONS");
        let others: Vec<&str> = cached
            .into_iter()
            .filter(|method| !["GET", "HEAD", "OPTIONS"].contains(method))
            .collect();
        if !others.is_empty() {
            self.note(
                Rank::ToKnow,
                format!(
                    "{pattern}: CachedMethods: answers to {} are not cached",
                    others.join(", ")
                ),
            );
        }
        let allowed = behavior.texts("AllowedMethods");
        let only = |known: &[&str]| allowed.iter().all(|method| known.contains(method));
        if !only(&["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE"]) {
            self.note(
                Rank::ToKnow,
                format!(
                    "{pattern}: AllowedMethods {}: CloudFront's seven are taken",
                    allowed.join(", ")
                ),
            );
        }
        let methods = match () {
            () if only(&["GET", "HEAD"]) => {
                if keeps_options {
                    let why = "answers to OPTIONS are not cached: it is not allowed";
                    self.note(Rank::ToKnow, format!("{pattern}: {why}"));
                }
                return;
            }
            () if only(&["GET", "HEAD", "OPTIONS"]) => "[\"GET\", \"HEAD\", \"OPTIONS\"]",
            () => "\"all\"",
        };
        let _ = writeln!(self.out, "methods = {methods}");
        if keeps_options {
            self.out.push_str("cache_options = true\n");
        }
    }

    // A restricted behavior stays one, whatever is at hand of its keys.
    fn who_is_let_in(&mut self, behavior: &Node<'d>, pattern: &str) {
        let wanted = |key: &str| {
            // With names in it, it is a restriction, whatever else it says.
            let names = behavior.texts(key);
            let is_on = behavior.get(key).is_some_and(|list| list.is("Enabled"));
            (is_on || !names.is_empty()).then_some(names)
        };
        let (signers, groups) = (wanted("TrustedSigners"), wanted("TrustedKeyGroups"));
        let mut why: Vec<String> = self.shut.iter().cloned().collect();
        if let Some(accounts) = &signers {
            let what = format!(
                "{pattern}: trusted signers are accounts ({}), which are unknown here",
                accounts.join(", ")
            );
            match &groups {
                Some(groups) if !groups.is_empty() => self.note(
                    Rank::BeforeServing,
                    format!("{what}; the key groups let in without them"),
                ),
                _ => why.push(format!(
                    "trusted signers are accounts ({}), which are unknown here",
                    accounts.join(", ")
                )),
            }
        } else if groups.as_ref().is_some_and(Vec::is_empty) {
            why.push("a key group is asked for and none is named".into());
        }
        for one in self.functions_of(behavior) {
            if one.event == "viewer-request"
                && self.wishes.functions == Functions::Guard
                && self.runs(&one).is_none()
            {
                why.push(format!("the viewer-request function {} does not run here", one.arn));
            }
        }
        let groups = groups.unwrap_or_default();
        groups.iter().for_each(|&id| self.key_group(id, pattern));
        if !why.is_empty() {
            self.close(pattern, &why, &groups);
        } else if !groups.is_empty() {
            let _ = writeln!(self.out, "trusted_key_groups = {}", list(&groups));
        }
    }

    // Makes a behavior refuse all viewers, until the operator changes the file.
    fn close<T: AsRef<str>>(&mut self, pattern: &str, why: &[T], groups: &[&str]) {
        let why: Vec<&str> = why.iter().map(|one| one.as_ref()).collect();
        self.note(
            Rank::BeforeServing,
            format!(
                "{pattern}: closed, no viewer is let in until something else guards it: {}",
                why.join("; ")
            ),
        );
        self.out.push_str("trusted_key_groups = [\"nobody\"]   # take this away to open it\n");
        if !groups.is_empty() {
            let _ = writeln!(self.out, "# trusted_key_groups = {}", list(groups));
        }
        self.made.insert("5 group nobody".into(), "[key_group.nobody]\nkeys = []\n\n".into());
    }

    fn key_group(&mut self, id: &'d str, pattern: &str) {
        let slot = format!("5 group of {id}");
        if self.made.contains_key(&slot) || id == "nobody" || self.served_as.is_some() {
            return;
        }
        let Some(group) = self.shelf.find(Kind::KeyGroup, id) else {
            self.note(
                Rank::BeforeServing,
                format!("{pattern}: key group {id} is not at hand: no viewer is let in by it. Give the outputs of get-key-group and get-public-key too"),
            );
            self.made.insert(slot, format!("[key_group.{}]\nkeys = []\n\n", quoted(id)));
            return;
        };
        group.take_each(&["Name", "Comment"]);
        let mut keys = group.texts("Items");
        keys.retain(|&key| self.public_key(key, id));
        self.made.insert(slot, format!("[key_group.{}]\nkeys = {}\n\n", quoted(id), list(&keys)));
    }

    // Whether a key is at hand, and one that can be read; it is written then.
    fn public_key(&mut self, key: &'d str, group: &str) -> bool {
        let Some(config) = self.shelf.find(Kind::PublicKey, key) else {
            let what = format!(
                "public key {key} of key group {group} is not at hand: give the output of get-public-key too"
            );
            self.say(Rank::BeforeServing, what);
            return false;
        };
        config.take_each(&["Name", "Comment", "CallerReference"]);
        let pem = config.text("EncodedKey").unwrap_or("");
        if let Err(why) = PublicKey::from_pem(key, pem.as_bytes()) {
            self.say(
                Rank::BeforeServing,
                format!("public key {key} of key group {group}: {why}; no viewer is let in by it"),
            );
            return false;
        }
        self.write_key(key, config.text("Name").unwrap_or(""), pem);
        true
    }

    /// The table of a public key, and its file.
    pub(super) fn write_key(&mut self, id: &str, name: &str, pem: &str) {
        let slot = format!("4 key {id}");
        if self.made.contains_key(&slot) {
            return;
        }
        let file = format!("{}.pem", self.name(Kind::PublicKey, &plain_name(id), |_| false));
        self.files.insert(file.clone(), pem.to_string());
        let name = match (1..=NAME_MAX).contains(&name.len()) {
            true => format!("name = {}\n", quoted(name)),
            false => String::new(),
        };
        let (id, file) = (quoted(id), quoted(&file));
        self.made.insert(slot, format!("[[public_key]]\nid = {id}\n{name}file = {file}\n\n"));
    }

    // Events and names of a behavior's functions.
    fn functions_of(&self, behavior: &Node<'d>) -> Vec<Association<'d>> {
        let mut all = Vec::new();
        for (list, name, is_lambda) in [
            ("FunctionAssociations", "FunctionARN", false),
            ("LambdaFunctionAssociations", "LambdaFunctionARN", true),
        ] {
            for function in behavior.items(list) {
                all.push(Association {
                    event: function.text("EventType").unwrap_or("?"),
                    arn: function.text(name).unwrap_or("?"),
                    is_lambda,
                    with_body: is_lambda && function.is("IncludeBody"),
                });
            }
        }
        all
    }

    fn functions(&mut self, behavior: &Node<'d>, pattern: &str) {
        let (mut written, mut bodies): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
        for one in self.functions_of(behavior) {
            let Association { event, arn, .. } = one;
            if let Some(name) = self.runs(&one) {
                if let Some((name, code)) = self.code_of(&one) {
                    self.function(name, code);
                }
                let event = event.replace('-', "_");
                written.push(format!("{event} = {}", quoted(name)));
                bodies.extend(one.with_body.then(|| quoted(&event)));
                continue;
            }
            let rank = if event.ends_with("-request") { Rank::BeforeServing } else { Rank::ToKnow };
            let body = if one.with_body { " (with IncludeBody)" } else { "" };
            self.note(
                rank,
                format!("{pattern}: the {event} function {arn}{body} does not run here; whatever it guards or changes is done otherwise"),
            );
            if let Some(LambdaArn { name, .. }) = LambdaArn::read(arn) {
                self.say(
                    Rank::ToKnow,
                    format!("{pattern}: to have the lambda {name} run here: its zip as code of a [lambda.{name}], and functions = {{ {} = \"{name}\" }} of the behavior", event.replace('-', "_")),
                );
            }
            if let Some(name) = name_of(arn) {
                self.say(
                    Rank::ToKnow,
                    format!("{pattern}: to have the function {name} run here: `aws cloudfront get-function --name {name} {name}.js`, and give {name}.js to the import"),
                );
            }
        }
        if !bodies.is_empty() {
            written.push(format!("body = [{}]", bodies.join(", ")));
        }
        if !written.is_empty() {
            let _ = writeln!(self.out, "functions = {{ {} }}", written.join(", "));
        }
    }

    // What the configuration calls a function that runs here: one whose code is at hand, or, of a
    // document that is served as it is, one that the API or the configuration has. Lambdas are called
    // by their ARN, which the configuration knows the meaning of.
    fn runs(&self, one: &Association<'d>) -> Option<&'d str> {
        if one.is_lambda {
            let is_here = self.served_as.is_some() && LambdaArn::read(one.arn).is_some();
            return is_here.then_some(one.arn);
        }
        let is_viewers = ["viewer-request", "viewer-response"].contains(&one.event);
        let is_here = match self.served_as {
            Some(_) => is_viewers,
            None => self.code_of(one).is_some(),
        };
        name_of(one.arn).filter(|_| is_here)
    }

    // The name and the code of a CloudFront Function, where it is at hand and its event is one that
    // such a function may have.
    fn code_of(&self, one: &Association<'d>) -> Option<(&'w str, &'w str)> {
        let wishes: &'w Wishes = self.wishes;
        let is_viewers = ["viewer-request", "viewer-response"].contains(&one.event);
        let name = name_of(one.arn).filter(|_| is_viewers)?;
        let (name, code) = wishes.code.iter().find(|(known, _)| known == name)?;
        Some((name.as_str(), code.as_str()))
    }

    // Its table, and the file beside the configuration.
    fn function(&mut self, name: &str, code: &str) {
        let file = format!("{name}.js");
        self.files.insert(file.clone(), code.to_string());
        let table = format!(
            "[function.{name}]\nfile = {}   # taken for cloudfront-js-2.0; runtime = \"cloudfront-js-1.0\" for the other\n\n",
            quoted(&file)
        );
        self.made.insert(format!("6 function {name}"), table);
    }

    fn what_a_behavior_says_more(&mut self, behavior: &Node<'d>, pattern: &str) {
        self.field_encryption(behavior, pattern);
        if behavior.is("SmoothStreaming") {
            self.note(
                Rank::ToKnow,
                format!("{pattern}: SmoothStreaming: the origin's files are served as they are"),
            );
        }
        if let Some(arn) = behavior.text("RealtimeLogConfigArn") {
            // What the API keeps is a log of the file, by its name.
            let kept = realtime_log_of(arn).filter(|_| self.served_as.is_some());
            if let Some(name) = kept {
                let _ = writeln!(self.out, "realtime_config = {}", quoted(name));
                return;
            }
            self.note(
                Rank::ToKnow,
                format!("{pattern}: the real-time log {arn}: say [log] realtime = {{ file = …, behaviors = \"named\" }} for the same lines, or [log.realtime_config.NAME] and realtime_config where there are several; its sampling and fields are not in the document"),
            );
            self.out.push_str("realtime_log = true\n");
        }
    }

    /// Every `[[distribution.error_response]]`.
    pub(super) fn errors(&mut self, config: &Node<'d>) {
        let is_known = |status: u64| MAPPABLE.iter().any(|known| u64::from(*known) == status);
        for rule in config.items("CustomErrorResponses") {
            let Some(status) = rule.number("ErrorCode") else { continue };
            if !is_known(status) {
                self.note(
                    Rank::ToKnow,
                    format!("CustomErrorResponses: {status} cannot be mapped; left out"),
                );
                continue;
            }
            let _ = writeln!(self.out, "\n[[distribution.error_response]]\nstatus = {status}");
            match (rule.text("ResponsePagePath"), rule.number("ResponseCode")) {
                (Some(page), Some(code))
                    if page.starts_with('/') && (code == 200 || is_known(code)) =>
                {
                    let _ = writeln!(self.out, "page = {}\nrespond_with = {code}", quoted(page));
                }
                (None, None) => {}
                (page, code) => {
                    let (page, code) = (
                        page.unwrap_or("none"),
                        code.map_or_else(|| "none".to_string(), |code| code.to_string()),
                    );
                    self.note(
                        Rank::BeforeServing,
                        format!("CustomErrorResponses: {status}: page {page} with status {code} cannot be shown; the error itself is"),
                    );
                }
            }
            if let Some(ttl) = rule.number("ErrorCachingMinTTL") {
                let _ = writeln!(self.out, "ttl = {}", seconds(ttl));
            }
        }
    }
}
