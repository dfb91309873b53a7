//! Policies and key groups of an imported distribution, as tables of ours.

use std::fmt::Write;

use serde_json::Value;

use super::import::{Job, list, plain_name, quoted};
use super::node::Node;
use crate::distribution::cache_policy::{CachePolicy, OriginRequestPolicy};
use crate::distribution::response_policy::ResponsePolicy;

impl<'d> Job<'d> {
    /// The policies that a behavior names, or the settings it has in the place of one.
    pub(super) fn policies(&mut self, behavior: &Node<'d>, pattern: &str) {
        let compress = behavior.is("Compress");
        if !compress && behavior.get("CachePolicyId").is_some() {
            self.report.push(format!("{pattern}: Compress = false: if its cache policy compresses, name one here that does not"));
        }
        match behavior.text("CachePolicyId") {
            Some(id) => {
                let managed = CachePolicy::managed(id).map(|policy| policy.name);
                let own = self.policies.cache.get(id).cloned();
                let name = managed.or_else(|| own.map(|policy| self.cache_policy(id, &policy)));
                if !self.write_named(pattern, "cache_policy", id, name) {
                    self.out.push_str("cache_policy = \"CachingDisabled\"\n");
                }
            }
            None => {
                let name = self.legacy_policy(behavior, pattern, compress);
                let _ = writeln!(self.out, "cache_policy = {}", quoted(&name));
            }
        }
        if let Some(id) = behavior.text("OriginRequestPolicyId") {
            let managed = OriginRequestPolicy::managed(id).map(|policy| policy.name);
            let own = self.policies.origin_request.get(id).cloned();
            let name = managed.or_else(|| own.map(|policy| self.origin_request_policy(id, &policy)));
            self.write_named(pattern, "origin_request_policy", id, name);
        }
        if let Some(id) = behavior.text("ResponseHeadersPolicyId") {
            let managed = ResponsePolicy::managed(id).map(|policy| policy.name);
            let own = self.policies.response.get(id).cloned();
            let name = managed.or_else(|| own.map(|policy| self.response_policy(id, &policy)));
            self.write_named(pattern, "response_headers_policy", id, name);
        }
    }

    // Names a policy in a behavior; false, and said, if it is none that we have.
    fn write_named(&mut self, pattern: &str, setting: &str, id: &str, name: Option<String>) -> bool {
        match &name {
            Some(name) => drop(writeln!(self.out, "{setting} = {}", quoted(name))),
            None => {
                let (words, call) = (setting.replace('_', " "), setting.replace('_', "-"));
                self.note(format!("{pattern}: {words} {id} is not at hand; give the output of get-{call} too"));
            }
        }
        name.is_some()
    }

    fn cache_policy(&mut self, id: &str, policy: &Node<'d>) -> String {
        let name = plain_name(policy.text("Name").unwrap_or(id));
        policy.text("Comment");
        let ttl = ["MinTTL", "DefaultTTL", "MaxTTL"].map(|key| policy.number(key));
        let key = policy.get("ParametersInCacheKeyAndForwardedToOrigin");
        let mut text = format!("[cache_policy.{}]\n{}", quoted(&name), ttl_line(ttl));
        if let Some(key) = key {
            let mut codings = Vec::new();
            codings.extend(key.is("EnableAcceptEncodingBrotli").then_some("br"));
            codings.extend(key.is("EnableAcceptEncodingGzip").then_some("gzip"));
            if !codings.is_empty() {
                let _ = writeln!(text, "compress = {}", list(&codings));
            }
            let parts = chosen(&key);
            let headers = key.get("HeadersConfig").map(|headers| {
                headers.text("HeaderBehavior");
                headers.texts("Headers")
            });
            let headers = headers.filter(|names| !names.is_empty()).map(|names| format!("headers = {}", list(&names)));
            let all: Vec<String> = parts.into_iter().chain(headers).collect();
            let _ = writeln!(text, "key = {{ {} }}", all.join(", "));
        }
        self.made.insert(id.to_string(), text + "\n");
        name
    }

    // ForwardedValues and TTLs of a behavior itself: what there was before policies.
    fn legacy_policy(&mut self, behavior: &Node<'d>, pattern: &str, compress: bool) -> String {
        let name = format!("settings of {pattern}");
        let ttl = ["MinTTL", "DefaultTTL", "MaxTTL"].map(|key| behavior.number(key));
        let mut text = format!("[cache_policy.{}]\n{}", quoted(&name), ttl_line(ttl));
        if compress {
            text.push_str("compress = [\"br\", \"gzip\"]\n");
        }
        if let Some(values) = behavior.get("ForwardedValues") {
            let keys = values.texts("QueryStringCacheKeys");
            let query = match (values.is("QueryString"), keys.is_empty()) {
                (false, _) => "\"none\"".to_string(),
                (true, true) => "\"all\"".to_string(),
                (true, false) => list(&keys),
            };
            let cookies = values.get("Cookies");
            let names = cookies.as_ref().map(|cookies| cookies.texts("WhitelistedNames")).unwrap_or_default();
            let cookies = match cookies.as_ref().and_then(|cookies| cookies.text("Forward")) {
                Some("all") => "\"all\"".to_string(),
                Some("whitelist") => list(&names),
                _ => "\"none\"".to_string(),
            };
            let headers = values.texts("Headers");
            if headers.contains(&"*") {
                // Every field in the key: nothing could ever be shared. All of the request reaches the origin.
                self.report.push(format!("{pattern}: all headers are forwarded, so nothing is cached there, as at CloudFront"));
                let text = format!("[cache_policy.{}]\nttl = {{ min = \"0s\", default = \"0s\", max = \"0s\" }}\n\n", quoted(&name));
                self.made.insert(format!("legacy {pattern}"), text);
                let request =
                    format!("[origin_request_policy.{}]\nheaders = \"all\"\nquery = {query}\ncookies = {cookies}\n\n", quoted(&name));
                self.made.insert(format!("request of {pattern}"), request);
                let _ = writeln!(self.out, "origin_request_policy = {}", quoted(&name));
                return name;
            }
            if !keys.is_empty() && values.is("QueryString") {
                // Some of the query is in the key, all of it reaches the origin.
                let request = format!("[origin_request_policy.{}]\nquery = \"all\"\n\n", quoted(&name));
                self.made.insert(format!("request of {pattern}"), request);
                let _ = writeln!(self.out, "origin_request_policy = {}", quoted(&name));
            }
            let _ = writeln!(text, "key = {{ query = {query}, cookies = {cookies}, headers = {} }}", list(&headers));
        }
        self.made.insert(format!("legacy {pattern}"), text + "\n");
        name
    }

    fn origin_request_policy(&mut self, id: &str, policy: &Node<'d>) -> String {
        let name = plain_name(policy.text("Name").unwrap_or(id));
        policy.text("Comment");
        let mut text = format!("[origin_request_policy.{}]\n", quoted(&name));
        if let Some(headers) = policy.get("HeadersConfig") {
            let names = headers.texts("Headers");
            match headers.text("HeaderBehavior") {
                Some("whitelist") => drop(writeln!(text, "headers = {}", list(&names))),
                Some("allViewer") => text.push_str("headers = \"all\"\n"),
                Some("allViewerAndWhitelistCloudFront") => drop(writeln!(text, "headers = \"all\"\nadd = {}", list(&names))),
                Some("allExcept") => drop(writeln!(text, "headers_except = {}", list(&names))),
                _ => {}
            }
        }
        for part in chosen(policy) {
            let _ = writeln!(text, "{part}");
        }
        self.made.insert(id.to_string(), text + "\n");
        name
    }

    fn response_policy(&mut self, id: &str, policy: &Node<'d>) -> String {
        let name = plain_name(policy.text("Name").unwrap_or(id));
        policy.text("Comment");
        let mut text = format!("[response_headers_policy.{}]\n", quoted(&name));
        let over = |node: &Node<'_>, key: &str| if node.is(key) { "origin" } else { "nothing" };
        let remove: Vec<&str> = policy.items("RemoveHeadersConfig").iter().filter_map(|item| item.text("Header")).collect();
        if !remove.is_empty() {
            let _ = writeln!(text, "remove = {}", list(&remove));
        }
        if let Some(timing) = policy.get("ServerTimingHeadersConfig").filter(|timing| timing.is("Enabled")) {
            timing.get("SamplingRate").inspect(Node::take);
            let rate = timing.get("SamplingRate").and_then(|rate| rate.value().as_f64()).unwrap_or(0.0);
            let _ = writeln!(text, "server_timing = {}", rate.round() as u64);
        }
        if let Some(cors) = policy.get("CorsConfig") {
            let mut all = vec![format!("allow_origins = {}", list(&cors.texts("AccessControlAllowOrigins")))];
            for (key, theirs) in [
                ("allow_methods", "AccessControlAllowMethods"),
                ("allow_headers", "AccessControlAllowHeaders"),
                ("expose_headers", "AccessControlExposeHeaders"),
            ] {
                let names = cors.texts(theirs);
                all.extend((!names.is_empty()).then(|| format!("{key} = {}", list(&names))));
            }
            let is_any = cors.texts("AccessControlAllowOrigins").contains(&"*");
            let with = cors.is("AccessControlAllowCredentials");
            if with && is_any {
                self.report.push(format!(
                    "response headers policy {name}: credentials for every origin are not carried over; name the origins that may"
                ));
            }
            all.push(format!("credentials = \"{}\"", if with && !is_any { "allow" } else { "omit" }));
            all.extend(cors.number("AccessControlMaxAgeSec").map(|seconds| format!("max_age = \"{seconds}s\"")));
            all.push(format!("override = \"{}\"", over(&cors, "OriginOverride")));
            let _ = writeln!(text, "cors = {{ {} }}", all.join(", "));
        }
        if let Some(security) = policy.get("SecurityHeadersConfig") {
            let fields = [
                ("xss_protection", "XSSProtection"),
                ("frame_options", "FrameOptions"),
                ("referrer_policy", "ReferrerPolicy"),
                ("content_security_policy", "ContentSecurityPolicy"),
                ("content_type_options", "ContentTypeOptions"),
                ("strict_transport_security", "StrictTransportSecurity"),
            ];
            for (key, theirs) in fields {
                if let Some(one) = security.get(theirs) {
                    let value = security_value(theirs, &one);
                    let _ = writeln!(text, "{key} = {{ value = {}, override = \"{}\" }}", quoted(&value), over(&one, "Override"));
                }
            }
        }
        for item in policy.items("CustomHeadersConfig") {
            let (header, value) = (item.text("Header").unwrap_or("X-Nothing"), item.text("Value").unwrap_or(""));
            let _ = writeln!(
                text,
                "[[response_headers_policy.{}.custom]]\nheader = {}\nvalue = {}\noverride = \"{}\"",
                quoted(&name),
                quoted(header),
                quoted(value),
                over(&item, "Override")
            );
        }
        self.made.insert(id.to_string(), text + "\n");
        name
    }

    /// A restricted behavior stays one, whatever is at hand of its keys.
    pub(super) fn signers(&mut self, behavior: &Node<'d>, pattern: &str) {
        let mut ids: Vec<&str> = Vec::new();
        let wanted = |key: &str| {
            // With names in it, it is a restriction, whatever else it says.
            let names = behavior.texts(key);
            let is_on = behavior.get(key).is_some_and(|list| list.is("Enabled"));
            (is_on || !names.is_empty()).then_some(names)
        };
        let (signers, groups) = (wanted("TrustedSigners"), wanted("TrustedKeyGroups"));
        if signers.is_some() {
            self.note(format!(
                "{pattern}: trusted signers are accounts, which are unknown here; nobody is let in until a key group takes their place"
            ));
        }
        if self.wants_certificates {
            self.note(format!("{pattern}: viewers must show a certificate at CloudFront, which is not asked for here; nobody is let in until something else guards this"));
        }
        match groups {
            Some(names) => ids.extend(names),
            None if signers.is_some() || self.wants_certificates => {}
            None => return,
        }
        if ids.is_empty() || self.wants_certificates {
            ids = vec!["nobody"];
            self.made.insert("group nobody".into(), "[key_group.nobody]\nkeys = []\n\n".into());
        }
        for id in ids.iter().filter(|id| **id != "nobody") {
            let Some(group) = self.policies.groups.get(id).cloned() else {
                self.note(format!("{pattern}: key group {id} is not at hand: nobody is let in by it. Give the outputs of get-key-group and get-public-key too"));
                self.made.insert(format!("group {id}"), format!("[key_group.{}]\nkeys = []\n\n", quoted(id)));
                continue;
            };
            group.text("Name");
            group.text("Comment");
            let mut keys = Vec::new();
            let mut text = String::new();
            let listed = group.get("Items").and_then(|items| items.value().as_array());
            group.get("Items").inspect(Node::take);
            for key in listed.into_iter().flatten().filter_map(Value::as_str) {
                let Some(config) = self.policies.keys.get(key).cloned() else {
                    self.report.push(format!("public key {key} of key group {id} is not at hand: give the output of get-public-key too"));
                    continue;
                };
                for name in ["Name", "Comment", "CallerReference"] {
                    config.text(name);
                }
                let file = format!("{}.pem", plain_name(key));
                self.files.insert(file.clone(), config.text("EncodedKey").unwrap_or("").to_string());
                let declared = format!("[[public_key]]\nid = {}\nfile = {}\n\n", quoted(key), quoted(&file));
                // Sorted before the groups.
                self.made.insert(format!("a key {key}"), declared);
                keys.push(key);
            }
            let _ = writeln!(text, "[key_group.{}]\nkeys = {}\n", quoted(id), list(&keys));
            self.made.insert(format!("group {id}"), text);
        }
        let _ = writeln!(self.out, "trusted_key_groups = {}", list(&ids));
    }
}

fn security_value(kind: &str, one: &Node<'_>) -> String {
    match kind {
        "XSSProtection" => {
            let mut value = if one.is("Protection") { "1" } else { "0" }.to_string();
            if one.is("ModeBlock") {
                value.push_str("; mode=block");
            }
            if let Some(uri) = one.text("ReportUri") {
                let _ = write!(value, "; report={uri}");
            }
            value
        }
        "FrameOptions" => one.text("FrameOption").unwrap_or("DENY").into(),
        "ReferrerPolicy" => one.text("ReferrerPolicy").unwrap_or("no-referrer").into(),
        "ContentSecurityPolicy" => one.text("ContentSecurityPolicy").unwrap_or("").into(),
        "StrictTransportSecurity" => {
            let mut value = format!("max-age={}", one.number("AccessControlMaxAgeSec").unwrap_or(0));
            for (key, word) in [("IncludeSubdomains", "; includeSubDomains"), ("Preload", "; preload")] {
                value.push_str(if one.is(key) { word } else { "" });
            }
            value
        }
        _ => "nosniff".into(),
    }
}

fn ttl_line([min, default, max]: [Option<u64>; 3]) -> String {
    let mut all = Vec::new();
    for (name, seconds) in [("min", min), ("default", default), ("max", max)] {
        all.extend(seconds.map(|seconds| format!("{name} = \"{seconds}s\"")));
    }
    if all.is_empty() { String::new() } else { format!("ttl = {{ {} }}\n", all.join(", ")) }
}

// Queries and cookies that a policy names: `none`, `all`, a list, or all but a list.
fn chosen(policy: &Node<'_>) -> Vec<String> {
    let mut all = Vec::new();
    for (key, config, behavior, names) in
        [("query", "QueryStringsConfig", "QueryStringBehavior", "QueryStrings"), ("cookies", "CookiesConfig", "CookieBehavior", "Cookies")]
    {
        let Some(config) = policy.get(config) else { continue };
        let listed = config.texts(names);
        all.push(match config.text(behavior) {
            Some("all") => format!("{key} = \"all\""),
            Some("whitelist") => format!("{key} = {}", list(&listed)),
            Some("allExcept") => format!("{key}_except = {}", list(&listed)),
            _ => format!("{key} = \"none\""),
        });
    }
    all
}
