//! Pure: field-level encryption as CloudFront describes it: its documents as tables of ours, and
//! what we have as its documents.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::{Value, json};

use super::import::{list, quoted};
use super::node;
use super::strict::{Unfit, is, items, text, texts};
use crate::crypto::envelope::NAME_MAX;
use crate::distribution::field_encryption::{FieldEncryption, FieldPattern, Profile, Unknown};
use crate::documents::shelf::Kind;
use crate::semantics::form::MEDIA_TYPE;

// CloudFront's quotas of one profile and of one configuration ("Quotas on field-level encryption").
const ENTITIES_MAX: usize = 10;
const PATTERNS_MAX: usize = 10;
const BY_QUERY_MAX: usize = 5;

fn unfit<T>(code: &'static str, place: &str, why: &str) -> Result<T, Unfit> {
    Err(Unfit::new(code, format!("{place}: {why}.")))
}

/// A profile as the tables of one, checked.
pub fn profile(id: &str, config: &Value) -> Result<String, Unfit> {
    const PLACE: &str = "EncryptionEntities";
    let entities = items(config, &[PLACE]);
    if entities.is_empty() {
        return unfit("InvalidArgument", PLACE, "a profile names the fields that it encrypts");
    }
    if entities.len() > ENTITIES_MAX {
        let why = format!("a profile has at most {ENTITIES_MAX}");
        return unfit("TooManyFieldLevelEncryptionEncryptionEntities", PLACE, &why);
    }
    let (mut out, mut known) = (String::new(), Vec::new());
    for (at, one) in entities.iter().enumerate() {
        let place = format!("{PLACE}.Items[{at}]");
        let names = texts(one, &["FieldPatterns"]);
        take_patterns(&names, &place, &mut known)?;
        let (key, provider) = (text(one, &["PublicKeyId"]), text(one, &["ProviderId"]));
        if !(1..=NAME_MAX).contains(&provider.len()) {
            let why = format!("it has 1 to {NAME_MAX} octets");
            return unfit("InvalidArgument", &format!("{place}.ProviderId"), &why);
        }
        let _ = writeln!(
            out,
            "[[field_encryption_profile.{}.fields]]\nprovider = {}\nkey = {}\npatterns = {}\n",
            quoted(id),
            quoted(provider),
            quoted(key),
            list(&names)
        );
    }
    Ok(out)
}

// Patterns of one entity beside those of the ones before.
fn take_patterns(names: &[&str], place: &str, known: &mut Vec<FieldPattern>) -> Result<(), Unfit> {
    let place = format!("{place}.FieldPatterns");
    if names.is_empty() {
        return unfit("InvalidArgument", &place, "there is none");
    }
    for name in names {
        let pattern = match FieldPattern::parse(name) {
            Ok(pattern) => pattern,
            Err(why) => return unfit("InvalidArgument", &place, &why),
        };
        if let Some(other) = known.iter().find(|known| known.overlaps(&pattern)) {
            let why = format!("{name:?} and {:?} take in the same names", other.as_str());
            return unfit("InvalidArgument", &place, &why);
        }
        known.push(pattern);
    }
    if known.len() > PATTERNS_MAX {
        let why = format!("a profile has at most {PATTERNS_MAX}");
        return unfit("TooManyFieldLevelEncryptionFieldPatterns", &place, &why);
    }
    Ok(())
}

const BY_TYPE: [&str; 2] = ["ContentTypeProfileConfig", "ContentTypeProfiles"];
const BY_QUERY: [&str; 2] = ["QueryArgProfileConfig", "QueryArgProfiles"];
const FORWARDS_TYPE: [&str; 2] = ["ContentTypeProfileConfig", "ForwardWhenContentTypeIsUnknown"];
const FORWARDS_QUERY: [&str; 2] = ["QueryArgProfileConfig", "ForwardWhenQueryArgProfileIsUnknown"];

/// A configuration as the table of one, checked.
pub fn config(id: &str, config: &Value) -> Result<String, Unfit> {
    let (by_type, by_query) = (items(config, &BY_TYPE), items(config, &BY_QUERY));
    let (type_place, query_place) = (BY_TYPE.join("."), BY_QUERY.join("."));
    if by_type.len() > 1 {
        let why = "there is one content type, and one profile for it";
        return unfit("TooManyFieldLevelEncryptionContentTypeProfiles", &type_place, why);
    }
    if by_query.len() > BY_QUERY_MAX {
        let why = format!("there are at most {BY_QUERY_MAX}");
        return unfit("TooManyFieldLevelEncryptionQueryArgProfiles", &query_place, &why);
    }
    let mut out = format!("[field_encryption.{}]\n", quoted(id));
    for (key, path) in [("unknown_type", FORWARDS_TYPE), ("unknown_profile", FORWARDS_QUERY)] {
        let word = if is(config, &path) { "forward" } else { "refuse" };
        let _ = writeln!(out, "{key} = {}", quoted(word));
    }
    if let Some(one) = by_type.first() {
        let media = text(one, &["ContentType"]);
        if !media.eq_ignore_ascii_case(MEDIA_TYPE) {
            let why = format!("{media:?} is not {MEDIA_TYPE}");
            return unfit("InvalidArgument", &format!("{type_place}.Items[0].ContentType"), &why);
        }
        let profile = text(one, &["ProfileId"]);
        if !profile.is_empty() {
            let _ = writeln!(out, "profile = {}", quoted(profile));
        }
    }
    let (mut pairs, mut known) = (Vec::new(), BTreeSet::new());
    for (at, one) in by_query.iter().enumerate() {
        let place = format!("{query_place}.Items[{at}]");
        let (argument, profile) = (text(one, &["QueryArg"]), text(one, &["ProfileId"]));
        if profile.is_empty() {
            return unfit("QueryArgProfileEmpty", &place, "it names no profile");
        }
        if argument.is_empty() || !known.insert(argument) {
            return unfit("InvalidArgument", &format!("{place}.QueryArg"), "it is empty or double");
        }
        pairs.push(format!("{} = {}", quoted(argument), quoted(profile)));
    }
    if !pairs.is_empty() {
        let _ = writeln!(out, "profiles = {{ {} }}", pairs.join(", "));
    }
    out.push('\n');
    Ok(out)
}

/// What a profile or a configuration names: each kind, its id, and the place where it is named.
pub fn named(config: &Value) -> Vec<(Kind, &str, String)> {
    let (profile, key) = (Kind::FieldEncryptionProfile, Kind::PublicKey);
    let mut all = Vec::new();
    for (kind, path, name) in [
        (key, &["EncryptionEntities"][..], "PublicKeyId"),
        (profile, &BY_TYPE[..], "ProfileId"),
        (profile, &BY_QUERY[..], "ProfileId"),
    ] {
        let place = path.join(".");
        for (at, one) in items(config, path).iter().enumerate() {
            all.push((kind, text(one, &[name]), format!("{place}.Items[{at}].{name}")));
        }
    }
    all.retain(|(_, id, _)| !id.is_empty());
    all
}

/// The configuration as CloudFront's API takes it, and its profiles, each by its name.
pub fn described(known: &FieldEncryption) -> (Value, Vec<(String, Value)>) {
    let by_type: Vec<Value> = known
        .profile
        .iter()
        .map(|profile| json!({ "Format": "URLEncoded", "ProfileId": profile.name, "ContentType": MEDIA_TYPE }))
        .collect();
    let by_query: Vec<Value> = known
        .by_query
        .iter()
        .map(|(argument, profile)| json!({ "QueryArg": argument, "ProfileId": profile.name }))
        .collect();
    let config = json!({
        "CallerReference": known.name,
        "QueryArgProfileConfig": {
            "ForwardWhenQueryArgProfileIsUnknown": known.unknown_profile == Unknown::Forward,
            "QueryArgProfiles": node::items(by_query),
        },
        "ContentTypeProfileConfig": {
            "ForwardWhenContentTypeIsUnknown": known.unknown_type == Unknown::Forward,
            "ContentTypeProfiles": node::items(by_type),
        },
    });
    let profiles = known.profile.iter().chain(known.by_query.values());
    (config, profiles.map(|one| (one.name.clone(), of_profile(one))).collect())
}

fn of_profile(profile: &Profile) -> Value {
    let entities: Vec<Value> = profile
        .fields
        .iter()
        .map(|fields| {
            let patterns: Vec<&str> = fields.patterns.iter().map(FieldPattern::as_str).collect();
            json!({
                "PublicKeyId": fields.key_id,
                "ProviderId": fields.provider,
                "FieldPatterns": node::items(patterns),
            })
        })
        .collect();
    json!({
        "Name": profile.name,
        "CallerReference": profile.name,
        "EncryptionEntities": node::items(entities),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(key: &str, provider: &str, patterns: &[&str]) -> Value {
        json!({ "PublicKeyId": key, "ProviderId": provider,
                "FieldPatterns": { "Quantity": patterns.len(), "Items": patterns } })
    }

    fn of(entities: &[Value]) -> Value {
        json!({ "Name": "cards", "CallerReference": "r",
                "EncryptionEntities": { "Quantity": entities.len(), "Items": entities } })
    }

    fn config_of(by_type: &[Value], by_query: &[Value]) -> Value {
        json!({
            "CallerReference": "r",
            "ContentTypeProfileConfig": { "ForwardWhenContentTypeIsUnknown": true,
                "ContentTypeProfiles": { "Quantity": by_type.len(), "Items": by_type } },
            "QueryArgProfileConfig": { "ForwardWhenQueryArgProfileIsUnknown": false,
                "QueryArgProfiles": { "Quantity": by_query.len(), "Items": by_query } },
        })
    }

    #[test]
    fn documents_are_written_as_tables() {
        let two = [entity("K1", "shop", &["card*", "cvc"]), entity("K2", "\"x\"", &["iban"])];
        assert_eq!(
            profile("P1", &of(&two)).unwrap(),
            "[[field_encryption_profile.\"P1\".fields]]\nprovider = \"shop\"\nkey = \"K1\"\npatterns = [\"card*\", \"cvc\"]\n\n\
             [[field_encryption_profile.\"P1\".fields]]\nprovider = \"\\\"x\\\"\"\nkey = \"K2\"\npatterns = [\"iban\"]\n\n"
        );
        let by_type =
            json!({ "Format": "URLEncoded", "ProfileId": "P1", "ContentType": MEDIA_TYPE });
        let by_query = json!({ "QueryArg": "express", "ProfileId": "P2" });
        let whole = config_of(&[by_type], &[by_query]);
        assert_eq!(
            config("C1", &whole).unwrap(),
            "[field_encryption.\"C1\"]\nunknown_type = \"forward\"\nunknown_profile = \"refuse\"\nprofile = \"P1\"\n\
             profiles = { \"express\" = \"P2\" }\n\n"
        );
        let least = config("C1", &json!({ "CallerReference": "r" })).unwrap();
        assert!(least.contains("unknown_type = \"refuse\"") && !least.contains("\nprofile "));
        let ids: Vec<&str> = named(&whole).into_iter().map(|(_, id, _)| id).collect();
        assert_eq!(ids, ["P1", "P2"]);
        assert_eq!(named(&of(&two))[1].2, "EncryptionEntities.Items[1].PublicKeyId");
    }

    #[test]
    fn what_is_wrong_has_the_apis_code() {
        let many = |count: usize| -> Vec<String> { (0..count).map(|n| format!("f{n}")).collect() };
        let (names, eleven) = (many(11), many(11));
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let each: Vec<Value> = eleven.iter().map(|name| entity("K1", "p", &[name])).collect();
        for (entities, code) in [
            (vec![], "InvalidArgument"),
            (vec![entity("K1", "", &["a"])], "InvalidArgument"),
            (vec![entity("K1", "p", &[])], "InvalidArgument"),
            (vec![entity("K1", "p", &["a b"])], "InvalidArgument"),
            (vec![entity("K1", "p", &["a*"]), entity("K2", "p", &["ab"])], "InvalidArgument"),
            (vec![entity("K1", "p", &names)], "TooManyFieldLevelEncryptionFieldPatterns"),
            (each, "TooManyFieldLevelEncryptionEncryptionEntities"),
        ] {
            assert_eq!(profile("P1", &of(&entities)).unwrap_err().code, code);
        }
        let typed = |media: &str| json!({ "Format": "URLEncoded", "ContentType": media });
        let query =
            |argument: &str, profile: &str| json!({ "QueryArg": argument, "ProfileId": profile });
        let six: Vec<Value> = many(6).iter().map(|name| query(name, "P")).collect();
        let two = vec![typed(MEDIA_TYPE), typed(MEDIA_TYPE)];
        for (by_type, by_query, code) in [
            (vec![typed("text/plain")], vec![], "InvalidArgument"),
            (two, vec![], "TooManyFieldLevelEncryptionContentTypeProfiles"),
            (vec![], six, "TooManyFieldLevelEncryptionQueryArgProfiles"),
            (vec![], vec![query("a", "")], "QueryArgProfileEmpty"),
            (vec![], vec![query("a", "P"), query("a", "P")], "InvalidArgument"),
        ] {
            let whole = config_of(&by_type, &by_query);
            assert_eq!(config("C1", &whole).unwrap_err().code, code);
        }
    }
}
