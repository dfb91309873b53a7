//! Policies of an imported distribution, and what there was before policies, as tables of ours.

use std::fmt::Write;

use http::{HeaderName, HeaderValue};

use super::documents::Kind;
use super::import::{Job, list, plain_name, quoted, seconds};
use super::node::Node;
use super::report::Rank;
use crate::base::share::Share;
use crate::distribution::cache_policy::{CachePolicy, OriginRequestPolicy};
use crate::distribution::response_policy::{ResponsePolicy, may_touch};

/// Fields that CloudFront's legacy settings keep from an origin, unless they are in the list and so
/// in the key (CloudFront: "Request and response behavior for custom origins"). Cookies, Host and
/// what belongs to a connection have rules of their own.
const NOT_BY_LEGACY: [&str; 19] = [
    "Accept",
    "Accept-Charset",
    "Accept-Encoding",
    "Accept-Language",
    "Authorization",
    "Cookie",
    "Expect",
    "Host",
    "Proxy-*",
    "Referer",
    "TE",
    "Trailer",
    "Upgrade",
    "User-Agent",
    "X-Amz-Cf-*",
    "X-Edge-*",
    "X-Forwarded-Proto",
    "X-HTTP-Method-Override",
    "X-Real-IP",
];

// Fields that a key cannot have (CloudFront: "Request and response behavior for custom origins").
const NOT_IN_A_KEY: [&str; 9] = [
    "client-cert",
    "client-cert-chain",
    "cloudfront-viewer-address",
    "cloudfront-viewer-asn",
    "cloudfront-viewer-cert-pem",
    "cloudfront-viewer-cert-validity",
    "cloudfront-viewer-ja3-fingerprint",
    "cloudfront-viewer-ja4-fingerprint",
    "cloudfront-viewer-tls",
];

impl<'d> Job<'d, '_> {
    /// The policies that a behavior names, or the settings it has in the place of one.
    pub(super) fn policies(&mut self, behavior: &Node<'d>, pattern: &str) {
        match behavior.text("CachePolicyId") {
            Some(id) => {
                let managed = CachePolicy::managed(id);
                let may_compress =
                    managed.as_ref().is_none_or(|policy| !policy.compress.is_empty());
                let is_off = behavior.get("Compress").is_some() && !behavior.is("Compress");
                if is_off && (may_compress || self.served_as.is_some()) {
                    self.out.push_str("compress = \"off\"\n");
                }
                let managed = managed.map(|policy| policy.name);
                let name = managed.or_else(|| self.own(Kind::CachePolicy, id, Self::cache_policy));
                if !self.write_named(pattern, "cache_policy", id, name) {
                    self.out.push_str("cache_policy = \"CachingDisabled\"\n");
                }
            }
            None => self.legacy(behavior, pattern),
        }
        if let Some(id) = behavior.text("OriginRequestPolicyId") {
            let managed = OriginRequestPolicy::managed(id).map(|policy| policy.name);
            let name = managed
                .or_else(|| self.own(Kind::OriginRequestPolicy, id, Self::origin_request_policy));
            if behavior.get("CachePolicyId").is_some() {
                self.write_named(pattern, "origin_request_policy", id, name);
            } else {
                self.note(Rank::ToKnow, format!("{pattern}: origin request policy {id} beside legacy settings is not carried over"));
            }
        }
        if let Some(id) = behavior.text("ResponseHeadersPolicyId") {
            let managed = ResponsePolicy::managed(id).map(|policy| policy.name);
            let name = managed
                .or_else(|| self.own(Kind::ResponseHeadersPolicy, id, Self::response_policy));
            self.write_named(pattern, "response_headers_policy", id, name);
        }
    }

    // Names a policy in a behavior; false, and said, if it is none that we have.
    fn write_named(
        &mut self,
        pattern: &str,
        setting: &str,
        id: &str,
        name: Option<String>,
    ) -> bool {
        match &name {
            Some(name) => drop(writeln!(self.out, "{setting} = {}", quoted(name))),
            None => {
                let (words, call) = (setting.replace('_', " "), setting.replace('_', "-"));
                self.note(
                    Rank::BeforeServing,
                    format!(
                        "{pattern}: {words} {id} is not at hand; give the output of get-{call} too"
                    ),
                );
            }
        }
        name.is_some()
    }

    // A policy of the account's own, written once: its name.
    fn own(
        &mut self,
        kind: Kind,
        id: &'d str,
        write: fn(&mut Self, &str, &Node<'d>) -> String,
    ) -> Option<String> {
        if self.served_as.is_some() {
            return Some(id.to_string());
        }
        let slot = format!("{kind:?} {id}");
        if let Some(name) = self.named.get(&slot) {
            return Some(name.clone());
        }
        let policy = self.shelf.find(kind, id)?;
        policy.take_each(&["Comment"]);
        let wanted = plain_name(policy.text("Name").unwrap_or(id));
        let name = self.name(kind, &wanted, |name| match kind {
            Kind::CachePolicy => CachePolicy::managed(name).is_some(),
            Kind::OriginRequestPolicy => OriginRequestPolicy::managed(name).is_some(),
            _ => ResponsePolicy::managed(name).is_some(),
        });
        let text = write(self, &name, &policy);
        self.made.insert(slot.clone(), text + "\n");
        self.named.insert(slot, name.clone());
        Some(name)
    }

    pub(super) fn cache_policy(&mut self, name: &str, policy: &Node<'d>) -> String {
        let mut text = format!(
            "[cache_policy.{}]\n{}",
            quoted(name),
            self.ttl(&format!("cache policy {name}"), policy).1
        );
        let Some(key) = policy.get("ParametersInCacheKeyAndForwardedToOrigin") else { return text };
        let mut codings = Vec::new();
        codings.extend(key.is("EnableAcceptEncodingBrotli").then_some("br"));
        codings.extend(key.is("EnableAcceptEncodingGzip").then_some("gzip"));
        if !codings.is_empty() {
            let _ = writeln!(text, "compress = {}", list(&codings));
        }
        let mut parts = self.chosen(&format!("cache policy {name}"), &key);
        if let Some(headers) = key.get("HeadersConfig") {
            let kind = headers.text("HeaderBehavior");
            let names = self.key_fields(&format!("cache policy {name}"), headers.texts("Headers"));
            match kind {
                None | Some("none") if names.is_empty() => {}
                None | Some("none" | "whitelist") => {
                    parts.push(format!("headers = {}", list(&names)))
                }
                Some(other) => {
                    parts.push(format!("headers = {}", list(&names)));
                    self.say(
                        Rank::BeforeServing,
                        format!("cache policy {name}: HeaderBehavior = {other} is not known here"),
                    );
                }
            }
        }
        let _ = writeln!(text, "key = {{ {} }}", parts.join(", "));
        text
    }

    // Names of fields that can be in a key.
    fn key_fields(&mut self, whose: &str, names: Vec<&'d str>) -> Vec<&'d str> {
        let mut all = Vec::new();
        for name in self.field_names(whose, names) {
            if NOT_IN_A_KEY.iter().any(|known| name.eq_ignore_ascii_case(known)) {
                self.say(
                    Rank::BeforeServing,
                    format!("{whose}: {name} is nearly each viewer's own and in no key; left out"),
                );
            } else {
                all.push(name);
            }
        }
        all
    }

    // Those that are names of fields at all, or patterns of such; CloudFront's own fields and every
    // field are no patterns here.
    fn field_names(&mut self, whose: &str, names: Vec<&'d str>) -> Vec<&'d str> {
        let is_good = |name: &&str| {
            let is_pattern = name.contains(['*', '?']);
            let is_ours =
                name.get(..11).is_some_and(|start| start.eq_ignore_ascii_case("cloudfront-"));
            let is_everything = name.bytes().all(|octet| octet == b'*');
            HeaderName::from_bytes(name.replace('?', "*").as_bytes()).is_ok()
                && !is_everything
                && !(is_pattern && is_ours)
        };
        let (good, bad): (Vec<&'d str>, Vec<&'d str>) = names.into_iter().partition(is_good);
        for name in bad {
            self.say(
                Rank::BeforeServing,
                format!("{whose}: {name:?} is no name of a field, and no pattern of one; left out"),
            );
        }
        good
    }

    // Lifetimes in CloudFront's order: the most that anything is kept, and the line for them.
    fn ttl(&mut self, whose: &str, node: &Node<'d>) -> (u64, String) {
        let [min, default, max] = ["MinTTL", "DefaultTTL", "MaxTTL"].map(|key| node.number(key));
        let least = min.unwrap_or(0);
        let most = max.unwrap_or_else(|| default.unwrap_or(0).max(31_536_000)).max(least);
        if max.is_some_and(|max| max < least) || default.is_some_and(|default| default > most) {
            self.say(
                Rank::ToKnow,
                format!("{whose}: MinTTL, DefaultTTL and MaxTTL are not in order; MaxTTL is {most}, and bounds DefaultTTL"),
            );
        }
        let long = (most > 31_536_000).then_some(most);
        let bounds = [
            ("min", min),
            ("default", default.map(|default| default.min(most))),
            ("max", max.map(|_| most).or(long)),
        ];
        let all: Vec<String> = bounds
            .iter()
            .filter_map(|(name, count)| Some(format!("{name} = {}", seconds((*count)?))))
            .collect();
        (
            most,
            if all.is_empty() {
                String::new()
            } else {
                format!("ttl = {{ {} }}\n", all.join(", "))
            },
        )
    }

    // ForwardedValues and TTLs of a behavior itself: what there was before policies.
    fn legacy(&mut self, behavior: &Node<'d>, pattern: &str) {
        let wanted = match &self.served_as {
            Some(id) => format!("{id}: settings of {pattern}"),
            None => format!("settings of {pattern}"),
        };
        let name = self.name(Kind::CachePolicy, &wanted, |_| false);
        let (most, ttl) = self.ttl(pattern, behavior);
        let compress = if behavior.is("Compress") { "compress = [\"br\", \"gzip\"]\n" } else { "" };
        let values = behavior.get("ForwardedValues");
        let (query, more_query, cookies) = self.legacy_lists(values.as_ref(), pattern);
        let headers = values.as_ref().map(|values| values.texts("Headers")).unwrap_or_default();
        let table = quoted(&name);
        if headers.contains(&"*") {
            // Every field in the key: nothing could ever be shared. All of the request reaches the
            // origin.
            if self.served_as.is_none() {
                self.say(
                    Rank::ToKnow,
                    format!("{pattern}: all headers are forwarded, so nothing is cached there, as at CloudFront{}", ignored(&ttl)),
                );
            }
            let off = format!(
                "[cache_policy.{table}]\nttl = {{ min = \"0s\", default = \"0s\", max = \"0s\" }}\n\n"
            );
            self.made.insert(format!("legacy {name}"), off);
            let query = if more_query { "\"all\"" } else { query.as_str() };
            let request = format!(
                "[origin_request_policy.{table}]\nheaders = \"all\"\nquery = {query}\ncookies = {cookies}\n\n"
            );
            self.made.insert(format!("legacy request {name}"), request);
        } else {
            let headers = self.key_fields(pattern, headers);
            let mut text = format!("[cache_policy.{table}]\n{ttl}{compress}");
            let _ = writeln!(
                text,
                "key = {{ query = {query}, cookies = {cookies}, headers = {} }}\n",
                list(&headers)
            );
            self.made.insert(format!("legacy {name}"), text);
            let mut request = format!("[origin_request_policy.{table}]\n");
            let _ = writeln!(
                request,
                "headers_except = {}\nheaders_of_writes = [\"Authorization\"]",
                list(&NOT_BY_LEGACY)
            );
            // Some of the query is in the key, all of it reaches the origin.
            request.push_str(if more_query { "query = \"all\"\n\n" } else { "\n" });
            self.made.insert(format!("legacy request {name}"), request);
            if most > 0 {
                self.keep_by_legacy.push(pattern.to_string());
            }
        }
        let _ = writeln!(self.out, "cache_policy = {table}\norigin_request_policy = {table}");
    }

    // Query and cookies of the key, as TOML; and whether all of the query reaches the origin beside
    // it.
    fn legacy_lists(&mut self, values: Option<&Node<'d>>, pattern: &str) -> (String, bool, String) {
        let none = || "\"none\"".to_string();
        let Some(values) = values else { return (none(), false, none()) };
        let is_forwarded = values.is("QueryString");
        let keys = if is_forwarded { values.texts("QueryStringCacheKeys") } else { Vec::new() };
        let query = match (is_forwarded, keys.is_empty()) {
            (false, _) => none(),
            (true, true) => "\"all\"".to_string(),
            (true, false) => list(&keys),
        };
        let cookies = values.get("Cookies");
        let cookies = match cookies.as_ref().and_then(|cookies| cookies.text("Forward")) {
            Some("all") => "\"all\"".to_string(),
            Some("whitelist") => list(
                &cookies
                    .as_ref()
                    .map(|cookies| cookies.texts("WhitelistedNames"))
                    .unwrap_or_default(),
            ),
            None | Some("none") => none(),
            Some(other) => {
                self.say(
                    Rank::BeforeServing,
                    format!(
                        "{pattern}: Cookies: Forward = {other} is not known here; none is forwarded"
                    ),
                );
                none()
            }
        };
        (query, !keys.is_empty(), cookies)
    }

    /// One line for all behaviors with legacy settings that keep answers.
    pub(super) fn say_what_legacy_risks(&mut self) {
        let patterns = std::mem::take(&mut self.keep_by_legacy);
        if !patterns.is_empty() {
            self.say(
                Rank::ToKnow,
                format!(
                    "{}: as at CloudFront, fields that ForwardedValues does not list reach the origin and are in no key: if an answer depends on \
                     one of them (Origin, X-Api-Key), a viewer may be shown another's; put such fields into the key, or take \
                     origin_request_policy away",
                    patterns.join(", ")
                ),
            );
        }
    }

    pub(super) fn origin_request_policy(&mut self, name: &str, policy: &Node<'d>) -> String {
        let mut text = format!("[origin_request_policy.{}]\n", quoted(name));
        let whose = format!("origin request policy {name}");
        if let Some(headers) = policy.get("HeadersConfig") {
            let names = self.field_names(&whose, headers.texts("Headers"));
            match headers.text("HeaderBehavior") {
                Some("whitelist") => drop(writeln!(text, "headers = {}", list(&names))),
                Some("allViewer") => text.push_str("headers = \"all\"\n"),
                Some("allViewerAndWhitelistCloudFront") => {
                    let _ = writeln!(text, "headers = \"all\"\nadd = {}", list(&names));
                }
                Some("allExcept") => drop(writeln!(text, "headers_except = {}", list(&names))),
                None | Some("none") => {}
                Some(other) => self.say(
                    Rank::BeforeServing,
                    format!(
                        "{whose}: HeaderBehavior = {other} is not known here; no field is forwarded"
                    ),
                ),
            }
        }
        for part in self.chosen(&whose, policy) {
            let _ = writeln!(text, "{part}");
        }
        text
    }

    // Queries and cookies that a policy names: `none`, `all`, a list, or all but a list.
    fn chosen(&mut self, whose: &str, policy: &Node<'d>) -> Vec<String> {
        let mut all = Vec::new();
        for (key, config, behavior, names) in [
            ("query", "QueryStringsConfig", "QueryStringBehavior", "QueryStrings"),
            ("cookies", "CookiesConfig", "CookieBehavior", "Cookies"),
        ] {
            let Some(config) = policy.get(config) else { continue };
            all.push(match config.text(behavior) {
                Some("all") => format!("{key} = \"all\""),
                Some("whitelist") => format!("{key} = {}", list(&config.texts(names))),
                Some("allExcept") => format!("{key}_except = {}", list(&config.texts(names))),
                None | Some("none") => format!("{key} = \"none\""),
                Some(other) => {
                    self.say(
                        Rank::BeforeServing,
                        format!("{whose}: {behavior} = {other} is not known here; none is taken"),
                    );
                    format!("{key} = \"none\"")
                }
            });
        }
        all
    }

    pub(super) fn response_policy(&mut self, name: &str, policy: &Node<'d>) -> String {
        let mut text = format!("[response_headers_policy.{}]\n", quoted(name));
        let whose = format!("response headers policy {name}");
        let removed: Vec<&str> = policy
            .items("RemoveHeadersConfig")
            .iter()
            .filter_map(|item| item.text("Header"))
            .collect();
        let removed: Vec<&str> =
            removed.into_iter().filter(|field| self.may_touch(&whose, field)).collect();
        if !removed.is_empty() {
            let _ = writeln!(text, "remove = {}", list(&removed));
        }
        if let Some(timing) = policy.get("ServerTimingHeadersConfig") {
            let is_on = timing.is("Enabled");
            if let Some((rate, percent)) = timing
                .get("SamplingRate")
                .and_then(|rate| Some((rate.clone(), rate.value().as_f64()?)))
            {
                // The rate of what is off means nothing.
                rate.take();
                if is_on {
                    let share = Share::of_percent(percent.clamp(0.0, 100.0)).unwrap_or_default();
                    let _ = writeln!(text, "server_timing = {share}");
                }
            }
        }
        if let Some(cors) = policy.get("CorsConfig") {
            let cors = self.cors(&whose, &cors);
            let _ = writeln!(text, "{cors}");
        }
        self.security(&whose, policy, &mut text);
        self.custom(&whose, name, policy, &mut text);
        text
    }

    // Whether a policy may set or remove a field; said if not.
    fn may_touch(&mut self, whose: &str, field: &str) -> bool {
        let may = HeaderName::from_bytes(field.as_bytes()).is_ok_and(|field| may_touch(&field));
        if !may {
            self.say(
                Rank::ToKnow,
                format!("{whose}: {field} is not for a policy to touch; left out"),
            );
        }
        may
    }

    // Whether a text can be a field's value; said if not.
    fn can_be_sent(&mut self, whose: &str, field: &str, value: &str) -> bool {
        let can = HeaderValue::from_str(value).is_ok();
        if !can {
            self.say(Rank::BeforeServing, format!("{whose}: the value of {field} has characters that a field cannot have; left out"));
        }
        can
    }

    fn cors(&mut self, whose: &str, cors: &Node<'d>) -> String {
        let is_plain = |origin: &&str| {
            let is_label = origin.starts_with("*.") || origin.contains("://*.");
            *origin == "*"
                || !origin.contains('*')
                || (is_label && origin.matches('*').count() == 1)
        };
        let (origins, others): (Vec<&str>, Vec<&str>) =
            cors.texts("AccessControlAllowOrigins").into_iter().partition(is_plain);
        if !others.is_empty() {
            self.say(
                Rank::BeforeServing,
                format!(
                    "{whose}: {}: a wildcard stands for the left-most label alone; left out",
                    others.join(", ")
                ),
            );
        }
        let mut all = vec![format!("allow_origins = {}", list(&origins))];
        for (key, theirs) in [
            ("allow_methods", "AccessControlAllowMethods"),
            ("allow_headers", "AccessControlAllowHeaders"),
            ("expose_headers", "AccessControlExposeHeaders"),
        ] {
            let names = cors.texts(theirs);
            all.extend((!names.is_empty()).then(|| format!("{key} = {}", list(&names))));
        }
        let with = cors.is("AccessControlAllowCredentials");
        let is_any = origins.contains(&"*");
        if with && is_any {
            self.say(Rank::BeforeServing, format!("{whose}: credentials for every origin are not carried over; name the origins that may"));
        }
        all.push(format!("credentials = \"{}\"", if with && !is_any { "allow" } else { "omit" }));
        all.extend(
            cors.number("AccessControlMaxAgeSec")
                .map(|count| format!("max_age = {}", seconds(count))),
        );
        all.push(format!("override = \"{}\"", over(cors, "OriginOverride")));
        format!("cors = {{ {} }}", all.join(", "))
    }

    fn security(&mut self, whose: &str, policy: &Node<'d>, text: &mut String) {
        let Some(security) = policy.get("SecurityHeadersConfig") else { return };
        let fields = [
            ("xss_protection", "XSSProtection"),
            ("frame_options", "FrameOptions"),
            ("referrer_policy", "ReferrerPolicy"),
            ("content_security_policy", "ContentSecurityPolicy"),
            ("content_type_options", "ContentTypeOptions"),
            ("strict_transport_security", "StrictTransportSecurity"),
        ];
        for (key, theirs) in fields {
            let Some(one) = security.get(theirs) else { continue };
            let value = security_value(theirs, &one);
            if self.can_be_sent(whose, theirs, &value) {
                let _ = writeln!(
                    text,
                    "{key} = {{ value = {}, override = \"{}\" }}",
                    quoted(&value),
                    over(&one, "Override")
                );
            }
        }
    }

    fn custom(&mut self, whose: &str, name: &str, policy: &Node<'d>, text: &mut String) {
        for item in policy.items("CustomHeadersConfig") {
            let Some(header) = item.text("Header") else { continue };
            let value = item.text("Value").unwrap_or("");
            if self.may_touch(whose, header) && self.can_be_sent(whose, header, value) {
                let _ = writeln!(
                    text,
                    "[[response_headers_policy.{}.custom]]\nheader = {}\nvalue = {}\noverride = \"{}\"",
                    quoted(name),
                    quoted(header),
                    quoted(value),
                    over(&item, "Override")
                );
            }
        }
    }
}

fn ignored(ttl: &str) -> String {
    if ttl.is_empty() { String::new() } else { format!(" ({} counts for nothing)", ttl.trim()) }
}

fn over(node: &Node<'_>, key: &str) -> &'static str {
    if node.is(key) { "origin" } else { "nothing" }
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
            let mut value =
                format!("max-age={}", one.number("AccessControlMaxAgeSec").unwrap_or(0));
            for (key, word) in
                [("IncludeSubdomains", "; includeSubDomains"), ("Preload", "; preload")]
            {
                value.push_str(if one.is(key) { word } else { "" });
            }
            value
        }
        _ => "nosniff".into(),
    }
}
