//! Field-level encryption: `[field_encryption_profile.NAME]`, `[field_encryption.NAME]`, and which
//! of them a behavior names.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::reader::{Found, Table};
use super::report::nearest;
use super::scope::{Scope, names};
use crate::crypto::envelope::{NAME_MAX, Suite, WrappingKey};
use crate::distribution::behavior::Methods;
use crate::distribution::field_encryption::{
    FieldEncryption, FieldPattern, Fields, Profile, Unknown,
};

/// CloudFront's most patterns' owners in a profile, and most profiles by query.
const ENTITIES_MAX: usize = 10;
const BY_QUERY_MAX: usize = 5;

/// Reads `[field_encryption_profile.NAME]`, once all keys are known.
pub fn read_profiles(root: &mut Table<'_>, scope: &mut Scope<'_>) {
    for (name, mut table) in root.named_tables("field_encryption_profile") {
        let mut fields: Vec<Fields> = Vec::new();
        let tables = table.tables("fields");
        if tables.is_empty() {
            table.missing(
                "fields",
                "fields = [{ provider = \"shop\", key = \"K1\", patterns = [\"card*\"] }]",
            );
        }
        if tables.len() > ENTITIES_MAX {
            table.problem(&name.span, "a profile has at most 10 of fields", None);
        }
        for mut one in tables {
            let made = entity(&mut one, scope, &fields);
            one.finish();
            fields.extend(made);
        }
        table.finish();
        let profile = Profile { name: name.value.clone(), fields };
        scope.forms.profiles.insert(name.value, Arc::new(profile));
    }
}

fn entity(table: &mut Table<'_>, scope: &Scope<'_>, before: &[Fields]) -> Option<Fields> {
    let provider = table.string("provider");
    let key = table.string("key");
    let listed = table.strings("patterns");
    for (is_there, key, example) in [
        (provider.is_some(), "provider", "provider = \"shop\""),
        (key.is_some(), "key", "key = \"K2JCJMDEHXQW5F\""),
        (listed.is_some(), "patterns", "patterns = [\"card*\", \"cvc\"]"),
    ] {
        if !is_there && !table.has(key) {
            table.missing(key, example);
        }
    }
    if let Some(found) = provider.as_ref().filter(|it| !(1..=NAME_MAX).contains(&it.value.len())) {
        table.problem(&found.span, "a provider has 1 to 255 octets", None);
    }
    let mut patterns: Vec<FieldPattern> = Vec::new();
    for item in listed.map(|list| list.value).unwrap_or_default() {
        match FieldPattern::parse(&item.value) {
            Ok(pattern) => {
                let mut known = before.iter().flat_map(|fields| &fields.patterns).chain(&patterns);
                if let Some(other) = known.find(|known| known.overlaps(&pattern)) {
                    let other = other.as_str();
                    table.problem(
                        &item.span,
                        format!("{:?} and {other:?} take in the same names", item.value),
                        None,
                    );
                }
                patterns.push(pattern);
            }
            Err(why) => table.problem(&item.span, why, None),
        }
    }
    let key = key?;
    let wrapping = wrapping_key(table, scope, &key)?;
    Some(Fields {
        provider: provider?.value,
        key_name: scope.keys.names.get(&key.value).unwrap_or(&key.value).clone(),
        key_id: key.value,
        key: wrapping,
        patterns,
    })
}

fn wrapping_key(
    table: &Table<'_>,
    scope: &Scope<'_>,
    named: &Found<String>,
) -> Option<WrappingKey> {
    let Some(key) = scope.keys.keys.get(&named.value) else {
        let near = nearest(&named.value, names(&scope.keys.keys))
            .map(|near| format!("did you mean {near:?}?"));
        table.problem(&named.span, format!("there is no public key {:?}", named.value), near);
        return None;
    };
    match key.rsa_der().map(WrappingKey::from_der) {
        Some(Ok(key)) => Some(key),
        _ => {
            table.problem(&named.span, "field-level encryption takes RSA keys", None);
            None
        }
    }
}

/// Reads `[field_encryption.NAME]`, once all profiles are known.
pub fn read(root: &mut Table<'_>, scope: &mut Scope<'_>) {
    let suites = [("committed", Suite::Committed), ("cloudfront", Suite::CloudFront)];
    let unknown = [("forward", Unknown::Forward), ("refuse", Unknown::Refuse)];
    for (name, mut table) in root.named_tables("field_encryption") {
        let suite = table.word("suite", &suites).map(|found| found.value).unwrap_or_default();
        let profile = table.string("profile").and_then(|found| profile_of(&table, scope, &found));
        let unknown_type =
            table.word("unknown_type", &unknown).map(|found| found.value).unwrap_or_default();
        let unknown_profile =
            table.word("unknown_profile", &unknown).map(|found| found.value).unwrap_or_default();
        let mut by_query = BTreeMap::new();
        if let Some(listed) = table.table("profiles") {
            let span = listed.span();
            for (value, profile) in listed.rest() {
                match profile {
                    Ok(found) => {
                        let profile = profile_of(&table, scope, &found);
                        by_query.extend(profile.map(|profile| (value.value, profile)));
                    }
                    Err(_) => table.problem(&value.span, "it is the name of a profile", None),
                }
            }
            if by_query.len() > BY_QUERY_MAX {
                table.problem(&span, "at most 5 profiles are chosen by fle-profile", None);
            }
        }
        table.finish();
        let made = FieldEncryption {
            name: name.value.clone(),
            suite,
            profile,
            by_query,
            unknown_type,
            unknown_profile,
        };
        scope.forms.configs.insert(name.value, Arc::new(made));
    }
}

fn profile_of(table: &Table<'_>, scope: &Scope<'_>, named: &Found<String>) -> Option<Arc<Profile>> {
    let found = scope.forms.profiles.get(&named.value).cloned();
    if found.is_none() {
        let near = nearest(&named.value, names(&scope.forms.profiles))
            .map(|near| format!("did you mean {near:?}?"));
        let title = format!("there is no field encryption profile {:?}", named.value);
        table.problem(&named.span, title, near);
    }
    found
}

/// What a behavior names as its `field_encryption`, and what it has to have beside it.
pub fn chosen(
    table: &mut Table<'_>,
    scope: &Scope<'_>,
    methods: Methods,
) -> Option<Arc<FieldEncryption>> {
    let named = table.string("field_encryption")?;
    let found = scope.forms.configs.get(&named.value).cloned();
    if found.is_none() {
        let near = nearest(&named.value, names(&scope.forms.configs))
            .map(|near| format!("did you mean {near:?}?"));
        let title = format!("there is no field encryption {:?}", named.value);
        table.problem(&named.span, title, near);
    }
    if !methods.allows(&http::Method::POST) {
        let help = Some("methods = \"all\"".to_string());
        table.problem(&named.span, "field_encryption, and this behavior does not allow POST", help);
    }
    for (key, why) in [
        ("cache_post", "a key made of the plain text would be kept"),
        ("grpc", "a call of gRPC is no form"),
    ] {
        if table.has(key) {
            table.problem(&named.span, format!("field_encryption beside {key}: {why}"), None);
        }
    }
    found
}
