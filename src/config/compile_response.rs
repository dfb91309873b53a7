//! Response headers policies: CORS, security fields, others that are set, and such that are taken
//! out.

use std::sync::Arc;

use http::header::{self, HeaderName, HeaderValue};

use super::reader::{Found, Table, suggest};
use super::scope::{Scope, names};
use crate::distribution::response_policy::{
    Cors, MANAGED_RESPONSE_POLICIES, Origins, Over, ResponsePolicy, SetField, may_touch,
};

/// The policy that a behavior names.
pub fn response(table: &mut Table<'_>, scope: &Scope<'_>) -> Option<Arc<ResponsePolicy>> {
    let found = table.string("response_headers_policy")?;
    if let Some(own) = scope.policies.response.get(&found.value) {
        return Some(Arc::clone(own));
    }
    if let Some(managed) = ResponsePolicy::managed(&found.value) {
        return Some(Arc::new(managed));
    }
    let help = suggest(&found, names(&scope.policies.response), &MANAGED_RESPONSE_POLICIES);
    table.problem(
        &found.span,
        format!("there is no response headers policy {:?}", found.value),
        Some(help),
    );
    None
}

/// Reads one `[response_headers_policy.NAME]`.
pub fn policy(name: String, mut table: Table<'_>) -> ResponsePolicy {
    let cors = table.table("cors").map(cors);
    let mut set = Vec::new();
    for (key, name) in [
        ("content_security_policy", header::CONTENT_SECURITY_POLICY),
        ("content_type_options", header::X_CONTENT_TYPE_OPTIONS),
        ("frame_options", header::X_FRAME_OPTIONS),
        ("referrer_policy", header::REFERRER_POLICY),
        ("strict_transport_security", header::STRICT_TRANSPORT_SECURITY),
        ("xss_protection", header::X_XSS_PROTECTION),
    ] {
        if let Some(one) = table.table(key) {
            set.extend(field(one, Some(name)));
        }
    }
    for one in table.tables("custom") {
        set.extend(field(one, None));
    }
    let mut remove = Vec::new();
    for item in table.strings("remove").map(|list| list.value).unwrap_or_default() {
        remove.extend(field_name(&table, &item));
    }
    let server_timing = table.percent("server_timing").map(|found| found.value);
    table.finish();
    ResponsePolicy { name, remove, set, cors, server_timing }
}

fn field_name(table: &Table<'_>, item: &Found<String>) -> Option<HeaderName> {
    match HeaderName::from_bytes(item.value.as_bytes()) {
        Ok(name) if may_touch(&name) => Some(name),
        Ok(name) => {
            table.problem(
                &item.span,
                format!("{name} is not for a policy to touch"),
                Some("CloudFront does not allow it either".into()),
            );
            None
        }
        Err(_) => {
            table.problem(&item.span, format!("{:?} is no field name", item.value), None);
            None
        }
    }
}

fn over(table: &mut Table<'_>) -> Over {
    table
        .word("override", &[("origin", Over::Origin), ("nothing", Over::Nothing)])
        .map_or(Over::Origin, |found| found.value)
}

fn field(mut table: Table<'_>, known: Option<HeaderName>) -> Option<SetField> {
    let name = match known {
        Some(name) => Some(name),
        None => {
            let found = table.string("header");
            if found.is_none() {
                table.missing("header", "header = \"X-Robots-Tag\"");
            }
            found.and_then(|item| field_name(&table, &item))
        }
    };
    let value = table.string("value");
    if value.is_none() {
        table.missing("value", "value = \"nosniff\"");
    }
    let over = over(&mut table);
    let text = value.and_then(|found| match HeaderValue::from_str(&found.value) {
        Ok(value) => Some(value),
        Err(_) => {
            table.problem(&found.span, "this has characters that a field cannot have", None);
            None
        }
    });
    table.finish();
    Some(SetField { name: name?, value: text?, over })
}

fn cors(mut table: Table<'_>) -> Cors {
    let span = table.span();
    let mut joined = |key: &'static str| {
        let items = table.strings(key).map(|list| list.value).unwrap_or_default();
        items.into_iter().map(|item| item.value).collect::<Vec<_>>().join(", ")
    };
    let (headers, expose, methods) =
        (joined("allow_headers"), joined("expose_headers"), joined("allow_methods"));
    let methods = if methods == "ALL" {
        "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT".into()
    } else {
        methods
    };
    let listed = table.strings("allow_origins");
    if listed.is_none() {
        table.missing("allow_origins", "allow_origins = [\"https://www.example.com\"]");
    }
    let mut origins = Vec::new();
    for item in listed.map(|list| list.value).unwrap_or_default() {
        let stars = item.value.matches('*').count();
        let is_label = item.value.starts_with("*.") || item.value.contains("://*.");
        if item.value != "*" && stars > 0 && !(stars == 1 && is_label) {
            table.problem(
                &item.span,
                format!("{:?}: a wildcard stands for the left-most label alone", item.value),
                Some("\"https://*.example.com\"".into()),
            );
        }
        origins.push(item.value);
    }
    let credentials = table
        .word("credentials", &[("allow", true), ("omit", false)])
        .is_some_and(|found| found.value);
    let max_age = table.duration("max_age").map(|found| found.value.as_secs());
    let over = over(&mut table);
    if credentials && origins.iter().any(|origin| origin == "*") {
        let help = "name the origins that may: browsers refuse the star beside credentials, and so does every rule of safety";
        table.problem(
            &span,
            "any site could read what a viewer is logged in for",
            Some(help.into()),
        );
    }
    table.finish();
    let origins = if origins.iter().any(|origin| origin == "*") {
        Origins::Any
    } else {
        Origins::Listed(origins)
    };
    Cors { origins, methods, headers, expose, allows_credentials: credentials, max_age, over }
}
