//! Field-level encryption: by which profile a request goes, and its form with the fields that the
//! profile names encrypted.
//!
//! Whatever is not encrypted stays octet for octet. What is refused is refused before any of it
//! goes to an origin.

use std::sync::Arc;

use aws_lc_rs::error::Unspecified;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Routed;
use crate::crypto::envelope::{Recipient, Suite, encrypt};
use crate::distribution::field_encryption::{
    FieldEncryption, FieldPattern, Fields, Profile, Unknown,
};
use crate::message::encryption::EncryptionStatus;
use crate::message::request::RequestHead;
use crate::semantics::form::{self, MEDIA_TYPE};

/// Most octets of a form (CloudFront: 1 MB).
pub const FORM_MAX: usize = 1 << 20;
/// Most fields of a form, encrypted ones or not.
pub const FIELDS_MAX: usize = 10;
/// Most octets of what a field says that is to be encrypted (CloudFront: 16 KB).
pub const VALUE_MAX: usize = 16 << 10;
/// The query argument that names a profile.
pub const ARGUMENT: &str = "fle-profile";

/// What becomes of a request's body.
#[derive(Clone, Debug)]
pub enum Plan {
    /// It goes on as it is, for this reason.
    Forward(EncryptionStatus),
    Encrypt(Arc<Profile>, Suite),
}

/// Chooses; `None` where the behavior encrypts nothing.
pub fn plan(routed: &Routed<'_>) -> Option<Result<Plan, EncryptionStatus>> {
    let wanted = routed.behavior.field_encryption.as_deref()?;
    Some(choose(wanted, routed.head))
}

fn choose(wanted: &FieldEncryption, head: &RequestHead<'_>) -> Result<Plan, EncryptionStatus> {
    if !is_form(head)? {
        return match wanted.unknown_type {
            Unknown::Forward => Ok(Plan::Forward(EncryptionStatus::ForwardedByContentType)),
            Unknown::Refuse => Err(EncryptionStatus::RejectedByContentType),
        };
    }
    let profile = match named(head.query)? {
        None => wanted.profile.as_ref(),
        Some(name) => match wanted.by_query.get(&name) {
            Some(profile) => Some(profile),
            None if wanted.unknown_profile == Unknown::Forward => {
                return Ok(Plan::Forward(EncryptionStatus::ForwardedByQueryArgs));
            }
            None => return Err(EncryptionStatus::RejectedByQueryArgs),
        },
    };
    Ok(match profile {
        Some(profile) => Plan::Encrypt(Arc::clone(profile), wanted.suite),
        None => Plan::Forward(EncryptionStatus::ForwardedDueToNoProfile),
    })
}

// A form under a content coding is none that can be read here.
fn is_form(head: &RequestHead<'_>) -> Result<bool, EncryptionStatus> {
    let malformed = EncryptionStatus::MalformedContentTypeClientError;
    let is_coded = head
        .fields
        .get_all("content-encoding")
        .any(|value| !value.trim_ascii().eq_ignore_ascii_case(b"identity"));
    let mut types = head.fields.get_all("content-type");
    let Some(first) = types.next() else { return Ok(false) };
    if types.next().is_some() {
        return Err(malformed);
    }
    let media = first.split(|octet| *octet == b';').next().unwrap_or_default().trim_ascii();
    let (kind, sub) = media.split_at(memchr::memchr(b'/', media).ok_or(malformed)?);
    let is_token = |word: &[u8]| {
        let is_char = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
        !word.is_empty() && word.iter().all(is_char)
    };
    if !is_token(kind) || !is_token(&sub[1..]) {
        return Err(malformed);
    }
    Ok(media.eq_ignore_ascii_case(MEDIA_TYPE.as_bytes()) && !is_coded)
}

// The profile that a query names. Two of them, an empty one, or one that cannot be read is none.
fn named(query: Option<&str>) -> Result<Option<String>, EncryptionStatus> {
    let malformed = EncryptionStatus::MalformedQueryArgsClientError;
    let mut found = None;
    for pair in form::pairs(query.unwrap_or_default().as_bytes()) {
        if form::decode(pair.name).as_deref() != Some(ARGUMENT.as_bytes()) {
            continue;
        }
        let value = form::decode(pair.value.unwrap_or_default()).ok_or(malformed)?;
        let value = String::from_utf8(value.into_owned()).map_err(|_| malformed)?;
        if value.is_empty() || found.replace(value).is_some() {
            return Err(malformed);
        }
    }
    Ok(found)
}

impl Plan {
    /// What is told of a request before its body is there.
    pub fn words(&self) -> String {
        match self {
            Self::Forward(status) => format!("goes on in plain text: {}", status.word()),
            Self::Encrypt(profile, suite) => {
                let all = profile.fields.iter().flat_map(|fields| &fields.patterns);
                let names: Vec<&str> = all.map(FieldPattern::as_str).collect();
                let (names, name) = (names.join(", "), &profile.name);
                format!("{names} encrypted by profile {name:?}, suite {}", suite.number())
            }
        }
    }
}

/// A form as the origin gets it, and how many of its fields were encrypted.
pub fn encrypted(
    profile: &Profile,
    suite: Suite,
    body: &[u8],
) -> Result<(Vec<u8>, u16), EncryptionStatus> {
    if body.len() > FORM_MAX {
        return Err(EncryptionStatus::RequestLengthLimitClientError);
    }
    let malformed = EncryptionStatus::MalformedInputClientError;
    if form::pairs(body).filter(|pair| !pair.name.is_empty() || pair.value.is_some()).count()
        > FIELDS_MAX
    {
        return Err(EncryptionStatus::FieldNumberLimitClientError);
    }
    let (mut out, mut count) = (Vec::with_capacity(body.len() + 1024), 0);
    for (at, pair) in form::pairs(body).enumerate() {
        if at > 0 {
            out.push(b'&');
        }
        out.extend_from_slice(pair.name);
        // A name that cannot be read may be one that readers behind us take for a secret's.
        let name = form::decode(pair.name).ok_or(malformed)?;
        let Some(value) = pair.value else { continue };
        out.push(b'=');
        let Some(fields) = profile.find(&name) else {
            out.extend_from_slice(value);
            continue;
        };
        let text = form::decode(value).ok_or(malformed)?;
        if text.len() > VALUE_MAX {
            return Err(EncryptionStatus::FieldLengthLimitClientError);
        }
        let sealed = seal(fields, suite, &text).map_err(|_| EncryptionStatus::ServerError)?;
        form::write_base64(&mut out, &sealed);
        count += 1;
    }
    Ok((out, count))
}

fn seal(fields: &Fields, suite: Suite, text: &[u8]) -> Result<String, Unspecified> {
    let to = Recipient { provider: &fields.provider, key_name: &fields.key_name, key: &fields.key };
    Ok(STANDARD.encode(encrypt(suite, to, text)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::envelope::WrappingKey;
    use crate::crypto::key::PublicKey;
    use crate::message::request::ViewerRequest;
    use proptest::prelude::*;

    fn profile() -> Arc<Profile> {
        let pem = include_bytes!("../../tests/vectors/rsa2048-public.pem");
        let key = PublicKey::from_pem("K1", pem).unwrap();
        Arc::new(Profile {
            name: "cards".into(),
            fields: vec![Fields {
                provider: "DEMO".into(),
                key_name: "DEMOKEY".into(),
                key_id: "K1".into(),
                key: WrappingKey::from_der(key.rsa_der().unwrap()).unwrap(),
                patterns: ["card*", "cvc"].map(|p| FieldPattern::parse(p).unwrap()).to_vec(),
            }],
        })
    }

    fn config(profile: Option<Arc<Profile>>, unknown: Unknown) -> FieldEncryption {
        FieldEncryption {
            name: "checkout".into(),
            suite: Suite::Committed,
            profile,
            by_query: [("express".to_string(), self::profile())].into(),
            unknown_type: unknown,
            unknown_profile: unknown,
        }
    }

    // The word of the log, as far as it is known before the body.
    fn word(wanted: &FieldEncryption, query: &str, types: &[&str]) -> EncryptionStatus {
        let mut request = ViewerRequest::get(&format!("https://h.test/pay?{query}"));
        for one in types {
            request.fields.append("content-type", *one);
        }
        match choose(wanted, &request.head()) {
            Ok(Plan::Forward(status)) | Err(status) => status,
            Ok(Plan::Encrypt(..)) => EncryptionStatus::Processed,
        }
    }

    #[test]
    fn which_profile_a_request_goes_by() {
        use EncryptionStatus as S;
        let strict = config(Some(profile()), Unknown::Refuse);
        let open = config(Some(profile()), Unknown::Forward);
        let none = config(None, Unknown::Refuse);
        let form: &[&str] = &["Application/X-WWW-Form-Urlencoded; charset=utf-8"];
        for (wanted, query, types, status) in [
            (&strict, "a=1", form, S::Processed),
            (&strict, "fle-profile=express", form, S::Processed),
            (&none, "fle%2Dprofile=express", form, S::Processed),
            (&none, "", form, S::ForwardedDueToNoProfile),
            (&strict, "fle-profile=other", form, S::RejectedByQueryArgs),
            (&open, "fle-profile=other", form, S::ForwardedByQueryArgs),
            (&open, "fle-profile=", form, S::MalformedQueryArgsClientError),
            (&open, "fle-profile=%zz", form, S::MalformedQueryArgsClientError),
            (&open, "fle-profile=a&fle-profile=b", form, S::MalformedQueryArgsClientError),
            (&strict, "", &["multipart/form-data; boundary=a"], S::RejectedByContentType),
            (&open, "", &["application/json"], S::ForwardedByContentType),
            (&strict, "", &[], S::RejectedByContentType),
            (&open, "", &["form"], S::MalformedContentTypeClientError),
            (&open, "", &["a/"], S::MalformedContentTypeClientError),
            (&open, "", &["a/b", "a/b"], S::MalformedContentTypeClientError),
        ] {
            assert_eq!(word(wanted, query, types), status, "{query} {types:?}");
        }
    }

    #[test]
    fn what_is_told_before_the_body_is_there() {
        let (profile, suite) = (profile(), Suite::CloudFront);
        let words = Plan::Encrypt(profile, suite).words();
        assert_eq!(words, "card*, cvc encrypted by profile \"cards\", suite 0x0378");
        let words = Plan::Forward(EncryptionStatus::ForwardedByContentType).words();
        assert_eq!(words, "goes on in plain text: ForwardedByContentType");
    }

    #[test]
    fn the_limits_each_have_a_word() {
        use EncryptionStatus as S;
        let profile = profile();
        let said =
            |body: &[u8]| encrypted(&profile, Suite::Committed, body).map(|(_, count)| count);
        let long = |name: &str, len: usize| [name.as_bytes(), &vec![b'a'; len][..]].concat();
        assert_eq!(said(&long("card=", VALUE_MAX)), Ok(1));
        assert_eq!(said(&long("card=", VALUE_MAX + 1)), Err(S::FieldLengthLimitClientError));
        assert_eq!(said(&long("other=", FORM_MAX - 6)), Ok(0));
        assert_eq!(said(&long("other=", FORM_MAX - 5)), Err(S::RequestLengthLimitClientError));
        assert_eq!(said("&cvc=1".repeat(FIELDS_MAX).as_bytes()), Ok(10));
        assert_eq!(said("&cvc=1".repeat(11).as_bytes()), Err(S::FieldNumberLimitClientError));
        for body in ["c%zzvc=1", "cvc=%1", "%=1", "a=1&card=%"] {
            assert_eq!(said(body.as_bytes()), Err(S::MalformedInputClientError), "{body}");
        }
        assert_eq!(said(b"a=%1&cvc"), Ok(0), "what is not encrypted is not read");
    }

    proptest! {
        #[test]
        fn what_is_not_encrypted_stays_octet_for_octet(
            form in prop::collection::vec(("(card|cvc|a|%41|)", "[a=+%2;]{0,6}"), 0..8)
        ) {
            let body = form.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join("&");
            let Ok((out, count)) = encrypted(&profile(), Suite::Committed, body.as_bytes()) else {
                return Ok(());
            };
            let (before, after) = (form::pairs(body.as_bytes()), form::pairs(&out));
            let mut changed = 0;
            for (before, after) in before.zip(after) {
                prop_assert_eq!(before.name, after.name);
                match before.name {
                    b"card" | b"cvc" => {
                        changed += 1;
                        prop_assert!(after.value.is_some_and(|value| value.len() > 500));
                    }
                    _ => prop_assert_eq!(before.value, after.value),
                }
            }
            prop_assert_eq!(changed, count);
            prop_assert_eq!(form::pairs(&out).count(), form::pairs(body.as_bytes()).count());
        }
    }
}
