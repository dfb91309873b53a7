//! Pure: AWS Signature Version 4A in the Authorization header, checked: ECDSA over P-256 with a key
//! that both sides derive from the secret, good for a set of regions. Calls of CloudFront's key value
//! stores are signed so.

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};

use super::sigv4::{
    Checked, PathForm, Payload, SigV4Error, Signed, canonical, check, mac, sha256, take_apart,
    unhex,
};
use crate::base::secret::Secret;
use crate::semantics::time::Timestamp;

/// The word that the Authorization field begins with.
pub const ALGORITHM: &str = "AWS4-ECDSA-P256-SHA256";

/// The order of P-256's group, less two: the largest value that a private key is one more than.
const MOST: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x4f,
];

/// An Authorization field, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim<'a> {
    pub id: &'a str,
    pub day: &'a str,
    pub service: &'a str,
    pub names: Vec<&'a str>,
    /// DER.
    signature: Vec<u8>,
}

impl<'a> Claim<'a> {
    /// Reads the value of an Authorization field; `None` if it is none of these, or not whole.
    pub fn parse(value: &'a str) -> Option<Self> {
        let (credential, names, signature) = take_apart(ALGORITHM, value)?;
        // No region: the set of them is a field.
        let mut scope = credential.rsplitn(4, '/');
        (scope.next()? == "aws4_request").then_some(())?;
        let (service, day, id) = (scope.next()?, scope.next()?, scope.next()?);
        (!id.is_empty()).then_some(Self { id, day, service, names, signature: unhex(signature)? })
    }
}

/// Checks a claim. `field` gives the lines of a field joined by commas, `body` is what came with
/// the request. The regions that it is for must be all of them.
pub fn verify(
    claim: &Claim<'_>,
    method: &str,
    (path, query): (&str, Option<&str>),
    field: impl Fn(&str) -> Option<String>,
    body: &[u8],
    (service, secret, now): (&str, &Secret<String>, Timestamp),
) -> Result<(), SigV4Error> {
    if claim.service != service {
        return Err(SigV4Error::OtherService);
    }
    if !claim.names.contains(&"x-amz-region-set") {
        return Err(SigV4Error::Incomplete);
    }
    let regions = field("x-amz-region-set").unwrap_or_default();
    if !regions.split(',').any(|region| region.trim() == "*") {
        return Err(SigV4Error::OtherRegion);
    }
    let checked = check(&claim.names, claim.day, field, Payload::Here(body), now)?;
    let Checked { date, payload, fields } = checked;
    let signed = Signed { method, path, query, fields: &fields, payload: &payload };
    let request = sha256(canonical(&signed, PathForm::Twice).as_bytes());
    let day = claim.day;
    let text = format!("{ALGORITHM}\n{date}\n{day}/{service}/aws4_request\n{request}");
    let public = public_key(claim.id, secret).ok_or(SigV4Error::Wrong)?;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, public)
        .verify(text.as_bytes(), &claim.signature)
        .map_err(|_| SigV4Error::Wrong)
}

// The point that belongs to an access key, uncompressed.
fn public_key(id: &str, secret: &Secret<String>) -> Option<Vec<u8>> {
    let scalar = private_key(id, secret)?;
    let private = PrivateKey::from_private_key(&ECDH_P256, &scalar).ok()?;
    Some(private.compute_public_key().ok()?.as_ref().to_vec())
}

// A key derivation in counter mode (NIST SP 800-108): the first value that is small enough, plus
// one.
fn private_key(id: &str, secret: &Secret<String>) -> Option<[u8; 32]> {
    let key = format!("AWS4A{}", secret.expose());
    (1..=254).find_map(|counter| {
        let mut text = vec![0, 0, 0, 1];
        text.extend_from_slice(ALGORITHM.as_bytes());
        text.push(0);
        text.extend_from_slice(id.as_bytes());
        text.push(counter);
        // The length of what is derived, in bits.
        text.extend_from_slice(&256_u32.to_be_bytes());
        one_more(mac(key.as_bytes(), &text))
    })
}

// `None` for what is too large.
fn one_more(mut value: [u8; 32]) -> Option<[u8; 32]> {
    if value > MOST {
        return None;
    }
    for octet in value.iter_mut().rev() {
        let (sum, overflows) = octet.overflowing_add(1);
        *octet = sum;
        if !overflows {
            break;
        }
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::super::sigv4::{SKEW, parse_amz_date};
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    const SERVICE: &str = "cloudfront-keyvaluestore";

    // What botocore and the AWS CRT made of calls.
    fn vectors() -> Vec<Value> {
        let text = include_str!("../../tests/vectors/sigv4a.json");
        serde_json::from_str(text).unwrap()
    }

    // A vector with things changed, judged by this edge.
    fn judge(vector: &Value, now: Option<Timestamp>) -> Option<Result<(), SigV4Error>> {
        let text = |name: &str| vector[name].as_str().unwrap();
        let field = |name: &str| match name {
            "host" => Some(text("host").to_string()),
            _ => vector["fields"][name].as_str().map(String::from),
        };
        let value = field("authorization")?;
        let claim = Claim::parse(&value)?;
        let at = parse_amz_date(&field("x-amz-date").unwrap_or_default());
        let now = now.or(at).unwrap_or(Timestamp(0));
        let query = Some(text("query")).filter(|query| !query.is_empty());
        let secret = Secret::new(text("secret").to_string());
        let target = (text("path"), query);
        let body = text("body").as_bytes();
        Some(verify(&claim, text("method"), target, field, body, (SERVICE, &secret, now)))
    }

    #[test]
    fn what_aws_signs_is_believed() {
        let all = vectors();
        assert!(all.len() > 10);
        for vector in all {
            assert_eq!(judge(&vector, None), Some(Ok(())), "{}", vector["name"]);
        }
    }

    #[test]
    fn nothing_else_is() {
        let vector = vectors().into_iter().find(|vector| vector["name"] == "put").unwrap();
        let changed = |path: &str, value: &str| {
            let mut other = vector.clone();
            *other.pointer_mut(path).unwrap() = value.into();
            judge(&other, None)
        };
        for (path, value, doubt) in [
            ("/method", "POST", SigV4Error::Wrong),
            ("/path", "/key-value-stores/x/keys/k", SigV4Error::Wrong),
            ("/query", "a=b", SigV4Error::Wrong),
            ("/host", "127.0.0.1", SigV4Error::Wrong),
            ("/body", "{}", SigV4Error::Wrong),
            ("/secret", "another", SigV4Error::Wrong),
            ("/fields/if-match", "KV1", SigV4Error::Wrong),
            ("/fields/x-amz-region-set", "us-east-1", SigV4Error::OtherRegion),
            ("/fields/x-amz-region-set", "*,us-east-1", SigV4Error::Wrong),
            ("/fields/x-amz-date", "x", SigV4Error::NoDate),
        ] {
            assert_eq!(changed(path, value), Some(Err(doubt)), "{path} {value}");
        }
        let at = parse_amz_date(vector["fields"]["x-amz-date"].as_str().unwrap()).unwrap();
        let late = judge(&vector, Some(Timestamp(at.0 + SKEW + 1000)));
        assert_eq!(late, Some(Err(SigV4Error::Skewed)));
        let value = vector["fields"]["authorization"].as_str().unwrap();
        for (from, to, doubt) in [
            ("/cloudfront-keyvaluestore/", "/cloudfront/", Some(Err(SigV4Error::OtherService))),
            (";x-amz-region-set", "", Some(Err(SigV4Error::Incomplete))),
            ("ECDSA", "HMAC", None),
            ("Signature=30", "Signature=31", Some(Err(SigV4Error::Wrong))),
            ("Signature=30", "Signature=3", None),
        ] {
            assert!(value.contains(from), "{from}");
            assert_eq!(changed("/fields/authorization", &value.replace(from, to)), doubt, "{from}");
        }
    }

    #[test]
    fn keys_are_one_more_than_what_is_derived_and_within_the_group() {
        let mut nines = [0; 32];
        nines[31] = 0xff;
        let mut carried = [0; 32];
        carried[30] = 1;
        assert_eq!(one_more(nines), Some(carried));
        let mut last = MOST;
        last[31] += 1;
        assert_eq!(one_more(MOST), Some(last));
        assert_eq!(one_more(last), None);
        assert_eq!(one_more([0xff; 32]), None);
    }

    proptest! {
        #[test]
        fn claims_of_any_kind_never_panic(text in "(AWS4-ECDSA-P256-SHA256 )?[ -~]{0,120}") {
            let _ = Claim::parse(&text);
        }
    }
}
