//! Keys: public ones and their groups, for behaviors that want signed URLs or cookies, and
//! credentials for origins that want signed requests.

use std::path::Path;
use std::sync::Arc;

use super::credentials::{self, variable};
use super::decode;
use super::reader::Table;
use super::report::nearest;
use super::scope::{Scope, names};
use crate::crypto::envelope::NAME_MAX;
use crate::crypto::key::PublicKey;
use crate::crypto::s3::{self, Parameter};
use crate::crypto::sigv4::Credentials;
use crate::crypto::url::TrustedKeys;
use crate::distribution::origin::{AccessControl, Signing, Subresources};

/// Reads `[[public_key]]`.
pub fn read_keys(root: &mut Table<'_>, scope: &mut Scope<'_>) {
    for mut table in root.tables("public_key") {
        let folder = scope.folder(table.source());
        let (id, file, pem) = (table.string("id"), table.string("file"), table.string("pem"));
        if let (Some(_), Some(pem)) = (&file, &pem) {
            table.problem(&pem.span, "a public key has either a file or a pem", None);
        }
        let name = table.string("name");
        if let Some(name) = name.as_ref().filter(|name| !is_name(&name.value)) {
            table.problem(&name.span, "a key's name has 1 to 255 octets", None);
        }
        let has_text = file.is_none() && pem.is_some();
        match (id, file.or(pem)) {
            (Some(id), Some(file)) => {
                let path = super::at(&folder, if has_text { "pem" } else { file.value.as_str() });
                let pem = if has_text {
                    Ok(file.value.clone().into_bytes())
                } else {
                    scope.files.push(path.clone());
                    decode::read_pem(&path).map_err(|error| error.to_string())
                };
                match pem.and_then(|pem| PublicKey::from_pem(&id.value, &pem)) {
                    Ok(key) => {
                        if let Some(name) = name {
                            scope.keys.names.insert(id.value.clone(), name.value);
                        }
                        if scope.keys.keys.insert(id.value.clone(), Arc::new(key)).is_some() {
                            table.problem(
                                &id.span,
                                format!("there are two public keys with the id {:?}", id.value),
                                None,
                            );
                        }
                    }
                    Err(why) => table.problem(
                        &file.span,
                        format!("{}: {why}", path.display()),
                        Some("a PEM file with a PUBLIC KEY".into()),
                    ),
                }
            }
            (None, _) => table.missing("id", "id = \"K2JCJMDEHXQW5F\""),
            (_, None) => table.missing("file", "file = \"keys/signer-public.pem\""),
        }
        table.finish();
    }
}

// Whether a message of the Encryption SDK can hold it.
fn is_name(text: &str) -> bool {
    (1..=NAME_MAX).contains(&text.len())
}

/// Reads `[key_group.NAME]`, once all keys are known.
pub fn read_groups(root: &mut Table<'_>, scope: &mut Scope<'_>) {
    for (name, mut table) in root.named_tables("key_group") {
        let mut group = Vec::new();
        let listed = table.strings("keys");
        if listed.is_none() {
            table.missing("keys", "keys = [\"K2JCJMDEHXQW5F\"]");
        }
        for item in listed.map(|list| list.value).unwrap_or_default() {
            match scope.keys.keys.get(&item.value) {
                Some(key) => group.push(Arc::clone(key)),
                None => {
                    let near = nearest(&item.value, names(&scope.keys.keys))
                        .map(|near| format!("did you mean {near:?}?"));
                    table.problem(
                        &item.span,
                        format!("there is no public key {:?}", item.value),
                        near,
                    );
                }
            }
        }
        table.finish();
        scope.keys.groups.insert(name.value, group);
    }
}

/// The keys that a behavior trusts; `None` if it asks for no signature.
pub fn signers(table: &mut Table<'_>, scope: &Scope<'_>) -> Option<TrustedKeys> {
    let listed = table.strings("trusted_key_groups")?;
    let mut keys = Vec::new();
    for item in &listed.value {
        match scope.keys.groups.get(&item.value) {
            Some(group) => keys.extend(group.iter().cloned()),
            None => {
                let near = nearest(&item.value, names(&scope.keys.groups))
                    .map(|near| format!("did you mean {near:?}?"));
                table.problem(&item.span, format!("there is no key group {:?}", item.value), near);
            }
        }
    }
    if listed.value.is_empty() {
        table.problem(
            &listed.span,
            "no key group is named, so no signature could ever be valid",
            Some("leave it out for open access".into()),
        );
    }
    Some(TrustedKeys { groups: listed.value.into_iter().map(|item| item.value).collect(), keys })
}

/// Reads `access_control` of an origin (CloudFront's origin access control).
pub fn access_control(
    mut table: Table<'_>,
    folder: &Path,
    scope: &mut Scope<'_>,
) -> Option<AccessControl> {
    let words = [
        ("always", Signing::Always),
        ("never", Signing::Never),
        ("no-override", Signing::NoOverride),
    ];
    let signing = table.word("sign", &words).map_or(Signing::Always, |found| found.value);
    let service = table.string("service").map_or_else(|| "s3".to_string(), |found| found.value);
    let region =
        table.string("region").map_or_else(|| "us-east-1".to_string(), |found| found.value);
    let span = table.span();
    let credentials = match table.table("credentials") {
        Some(credentials) => origin_credentials(credentials, folder, scope),
        None if signing == Signing::Never => None,
        None if scope.credentials.is_some() => scope.credentials.clone(),
        None => {
            table.missing(
                "credentials",
                "credentials = { env_prefix = \"BUCKET_\" }, or id and secret; or [api] s3_credentials for all",
            );
            None
        }
    };
    let has_subresources = table.has("subresources");
    let subresources = subresources(&mut table);
    if has_subresources && !service.starts_with("s3") {
        table.problem(
            &span,
            format!("access_control.subresources is for buckets, and the service is {service:?}"),
            None,
        );
    }
    if [&service, &region].iter().any(|word| word.is_empty() || word.contains(['/', ' '])) {
        table.problem(
            &span,
            "service and region are plain words, such as \"s3\" and \"eu-west-1\"",
            None,
        );
    }
    table.finish();
    if signing == Signing::Never {
        return None;
    }
    Some(AccessControl { signing, service, region, credentials: credentials?, subresources })
}

// `"refuse"`, `"pass"`, or the names that pass. A name that S3 does not know would be there for
// nothing.
fn subresources(table: &mut Table<'_>) -> Subresources {
    let Some(found) = table.string_or_strings("subresources") else { return Subresources::Refuse };
    let items = match found.value {
        Ok(word) if word == "refuse" => return Subresources::Refuse,
        Ok(word) if word == "pass" => return Subresources::Pass,
        Ok(word) => {
            let help = "\"refuse\", \"pass\", or a list of parameters and x-amz- fields, such as [\"tagging\", \"x-amz-copy-source\"]";
            table.problem(
                &found.span,
                format!("access_control.subresources = {word:?} is not known"),
                Some(help.into()),
            );
            return Subresources::Refuse;
        }
        Err(items) => items,
    };
    let mut names = Vec::with_capacity(items.len());
    for item in items {
        let name =
            if s3::is_amz(&item.value) { item.value.to_ascii_lowercase() } else { item.value };
        match s3::parameter(&name) {
            Parameter::Order | Parameter::Version => names.push(name),
            Parameter::Dress => {
                let help = "leave it out: it goes on wherever the policies forward it";
                table.problem(&item.span, format!("{name:?} needs no leave"), Some(help.into()));
            }
            Parameter::Plain => {
                let near = nearest(&name, s3::ORDERS.iter().copied())
                    .map(|near| format!("did you mean {near:?}?"));
                table.problem(&item.span, format!("{name:?} is no subresource of S3"), near);
            }
        }
    }
    Subresources::Only(names)
}

/// Reads `s3_credentials` of `[api]`, and `credentials` of a tier's IAM user.
///
/// `{ env_prefix = "BUCKET_" }` reads BUCKET_ACCESS_KEY_ID, BUCKET_SECRET_ACCESS_KEY and, where
/// there is one, BUCKET_SESSION_TOKEN; `{ id = …, secret = …, session_token = … }` are secrets like
/// all others.
pub fn origin_credentials(
    mut table: Table<'_>,
    folder: &Path,
    scope: &mut Scope<'_>,
) -> Option<Credentials> {
    let span = table.span();
    let prefix = table.string("env_prefix");
    let mut secret = |key: &'static str| {
        table.table(key).and_then(|secret| credentials::secret(secret, folder, &mut scope.files))
    };
    let (id, key, token) = (secret("id"), secret("secret"), secret("session_token"));
    let made = match (prefix, id, key) {
        (Some(prefix), None, None) => {
            let read = |name: &str| variable(&format!("{}{name}", prefix.value));
            match (read("ACCESS_KEY_ID"), read("SECRET_ACCESS_KEY")) {
                (Ok(id), Ok(secret)) => Some(Credentials {
                    id: id.expose().clone(),
                    secret,
                    session_token: read("SESSION_TOKEN").ok(),
                }),
                (Err(why), _) | (_, Err(why)) => {
                    table.problem(&prefix.span, why, None);
                    None
                }
            }
        }
        (None, Some(id), Some(secret)) => {
            Some(Credentials { id: id.expose().clone(), secret, session_token: token })
        }
        _ => {
            let help = "{ env_prefix = \"BUCKET_\" }, or { id = { file = \"…\" }, secret = { file = \"…\" } }";
            table.problem(&span, "these are no credentials", Some(help.into()));
            None
        }
    };
    table.finish();
    made
}
