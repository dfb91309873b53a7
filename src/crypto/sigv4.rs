//! AWS Signature Version 4 in the Authorization header: made for origins, checked for the admin
//! listener.
//!
//! Knows neither sockets nor clocks; the request is given as it is on the wire, and the moment as
//! it is now.

use std::borrow::Cow;

use aws_lc_rs::{constant_time, digest, hmac};

use crate::base::secret::Secret;
use crate::semantics::time::Timestamp;

/// The hash of no octets.
pub const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// Stands where the hash of a body would, if that is not signed.
pub const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
/// How far the signer's clock may be off, either way, in milliseconds.
pub const SKEW: u64 = 15 * 60 * 1000;

pub(super) const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// An access key: what Signature Version 4 signs with.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub id: String,
    pub secret: Secret<String>,
    /// Of temporary credentials.
    pub session_token: Option<Secret<String>>,
}

/// How a path stands in the canonical request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathForm {
    /// As it is on the wire: S3.
    Once,
    /// Escaped once more: every other service.
    Twice,
}

/// A request, as far as a signature speaks of it.
pub struct Signed<'r> {
    pub method: &'r str,
    /// As it is on the wire.
    pub path: &'r str,
    pub query: Option<&'r str>,
    /// Names in lower case, values of one name joined by commas; sorted by name.
    pub fields: &'r [(&'r str, String)],
    /// Hash of the body in hex, or `UNSIGNED-PAYLOAD`.
    pub payload: &'r str,
}

/// The day, region and service that a key is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope<'s> {
    pub region: &'s str,
    pub service: &'s str,
}

/// `20260101T000000Z`.
pub fn amz_date(now: Timestamp) -> String {
    let text = crate::semantics::time::format_rfc3339(now);
    text[..19].chars().filter(|c| !matches!(c, '-' | ':')).chain(['Z']).collect()
}

/// SHA-256 in hex.
pub fn sha256(octets: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, octets).as_ref())
}

/// Lower-case hex.
pub fn hex(octets: &[u8]) -> String {
    octets
        .iter()
        .flat_map(|octet| [octet >> 4, octet & 15])
        .map(|nibble| char::from(b"0123456789abcdef"[usize::from(nibble)]))
        .collect()
}

/// The value of Authorization for a request. `date` is the value of its X-Amz-Date.
pub fn authorization(
    signed: &Signed<'_>,
    form: PathForm,
    date: &str,
    scope: Scope<'_>,
    credentials: &Credentials,
) -> String {
    let names = names(signed.fields);
    let day = date.get(..8).unwrap_or(date);
    let signature = hex(&signature(signed, form, date, scope, &credentials.secret));
    let Scope { region, service } = scope;
    let id = &credentials.id;
    format!(
        "{ALGORITHM} Credential={id}/{day}/{region}/{service}/aws4_request, SignedHeaders={names}, Signature={signature}"
    )
}

fn names(fields: &[(&str, String)]) -> String {
    fields.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";")
}

pub(super) fn signature(
    signed: &Signed<'_>,
    form: PathForm,
    date: &str,
    scope: Scope<'_>,
    secret: &Secret<String>,
) -> [u8; 32] {
    let day = date.get(..8).unwrap_or(date);
    let request = sha256(canonical(signed, form).as_bytes());
    let Scope { region, service } = scope;
    let text = format!("{ALGORITHM}\n{date}\n{day}/{region}/{service}/aws4_request\n{request}");
    let first = format!("AWS4{}", secret.expose());
    let key = [day, region, service, "aws4_request"]
        .iter()
        .fold(first.into_bytes(), |key, part| mac(&key, part.as_bytes()).to_vec());
    mac(&key, text.as_bytes())
}

pub(super) fn mac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text);
    tag.as_ref().try_into().unwrap_or_default()
}

/// Method, path, query, fields, their names, hash: a line each.
pub(super) fn canonical(signed: &Signed<'_>, form: PathForm) -> String {
    let path = if signed.path.is_empty() { "/" } else { signed.path };
    let path = match form {
        PathForm::Once => Cow::Borrowed(path),
        PathForm::Twice => Cow::Owned(
            path.split('/').map(|segment| escape(segment.as_bytes())).collect::<Vec<_>>().join("/"),
        ),
    };
    let mut out =
        format!("{}\n{path}\n{}\n", signed.method, canonical_query(signed.query.unwrap_or("")));
    for (name, value) in signed.fields {
        out.push_str(name);
        out.push(':');
        out.push_str(&value.split_ascii_whitespace().collect::<Vec<_>>().join(" "));
        out.push('\n');
    }
    out.push('\n');
    out.push_str(&names(signed.fields));
    out.push('\n');
    out.push_str(signed.payload);
    out
}

// Parameters sorted by name and value, each escaped once whatever it was before.
fn canonical_query(query: &str) -> String {
    let one = |parameter: &str| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        (escape(&unescape(name)), escape(&unescape(value)))
    };
    let mut all: Vec<(String, String)> =
        query.split('&').filter(|parameter| !parameter.is_empty()).map(one).collect();
    all.sort_unstable();
    all.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

pub(super) fn escape(octets: &[u8]) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(octets.len());
    for octet in octets {
        match octet {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(*octet))
            }
            _ => out.extend([
                '%',
                char::from(HEX[usize::from(octet >> 4)]),
                char::from(HEX[usize::from(octet & 15)]),
            ]),
        }
    }
    out
}

// As S3 reads a query: a plus is a space.
fn unescape(text: &str) -> Vec<u8> {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).collect()
}

/// An Authorization field, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim<'a> {
    pub id: &'a str,
    pub day: &'a str,
    pub region: &'a str,
    pub service: &'a str,
    pub names: Vec<&'a str>,
    signature: [u8; 32],
}

impl<'a> Claim<'a> {
    /// Reads the value of an Authorization field; `None` if it is none of ours, or not whole.
    pub fn parse(value: &'a str) -> Option<Self> {
        let (credential, names, signature) = take_apart(ALGORITHM, value)?;
        let mut scope = credential.rsplitn(5, '/');
        (scope.next()? == "aws4_request").then_some(())?;
        let (service, region, day, id) =
            (scope.next()?, scope.next()?, scope.next()?, scope.next()?);
        if id.is_empty() {
            return None;
        }
        Some(Self {
            id,
            day,
            region,
            service,
            names,
            signature: unhex(signature)?.try_into().ok()?,
        })
    }
}

/// The credential, the names of the fields and the signature of an Authorization field; `None` if it
/// is not one of this algorithm, or not whole.
pub(super) fn take_apart<'a>(
    algorithm: &str,
    value: &'a str,
) -> Option<(&'a str, Vec<&'a str>, &'a str)> {
    let rest = value.strip_prefix(algorithm)?.strip_prefix(' ')?;
    let (mut credential, mut names, mut signature) = (None, None, None);
    for part in rest.split(',').map(str::trim) {
        let slot = match part.split_once('=')? {
            ("Credential", value) => (&mut credential, value),
            ("SignedHeaders", value) => (&mut names, value),
            ("Signature", value) => (&mut signature, value),
            _ => return None,
        };
        // Said twice is not said.
        if slot.0.replace(slot.1).is_some() {
            return None;
        }
    }
    let names: Vec<&str> = names?.split(';').collect();
    let is_sorted = names.windows(2).all(|pair| pair[0] < pair[1]);
    let is_plain = |name: &&str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase())
    };
    (is_sorted && names.iter().all(is_plain)).then_some((credential?, names, signature?))
}

/// Octets written as lower-case hex; `None` for anything else, and for more than a signature has.
pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    let nibble = |octet: u8| match octet {
        b'0'..=b'9' => Some(octet - b'0'),
        b'a'..=b'f' => Some(octet - b'a' + 10),
        _ => None,
    };
    let text = text.as_bytes();
    if text.len() > 256 || !text.len().is_multiple_of(2) {
        return None;
    }
    text.chunks_exact(2).map(|pair| Some((nibble(pair[0])? << 4) | nibble(pair[1])?)).collect()
}

/// Why a signature does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigV4Error {
    /// It does not cover Host and X-Amz-Date, or says nothing of a body that was not read.
    Incomplete,
    /// X-Amz-Date is missing, is no date, or is not of the day that the key is for.
    NoDate,
    /// The signer's clock and ours are too far apart.
    Skewed,
    /// It is for another service.
    OtherService,
    /// It is for other regions: of Signature Version 4A only.
    OtherRegion,
    /// The body is not the one that was signed for.
    OtherBody,
    /// It is not the signature of this request under this key.
    Wrong,
}

/// The body of a request whose signature is checked.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'b> {
    /// All of it.
    Here(&'b [u8]),
    /// It was not read. The hash in X-Amz-Content-SHA256 stands for it, where that field is signed.
    Unread,
}

/// Checks a claim. `field` gives the lines of a field joined by commas, `body` is what came with
/// the request.
pub fn verify(
    claim: &Claim<'_>,
    method: &str,
    target: (&str, Option<&str>),
    field: impl Fn(&str) -> Option<String>,
    body: &[u8],
    against: (&str, &Secret<String>, Timestamp),
) -> Result<(), SigV4Error> {
    verify_with(claim, method, target, field, Payload::Here(body), against)
}

/// The same for a request whose body may not have been read.
pub fn verify_with(
    claim: &Claim<'_>,
    method: &str,
    (path, query): (&str, Option<&str>),
    field: impl Fn(&str) -> Option<String>,
    body: Payload<'_>,
    (service, secret, now): (&str, &Secret<String>, Timestamp),
) -> Result<(), SigV4Error> {
    if claim.service != service {
        return Err(SigV4Error::OtherService);
    }
    let checked = check(&claim.names, claim.day, field, body, now)?;
    let Checked { date, payload, fields } = &checked;
    let signed = Signed { method, path, query, fields, payload };
    let expected =
        signature(&signed, PathForm::Twice, date, Scope { region: claim.region, service }, secret);
    constant_time::verify_slices_are_equal(&expected, &claim.signature)
        .map_err(|_| SigV4Error::Wrong)
}

/// What of a request a signature is over, once its moment and its body were looked at.
pub(super) struct Checked<'c> {
    /// Of X-Amz-Date.
    pub date: String,
    /// The body's hash in hex.
    pub payload: String,
    pub fields: Vec<(&'c str, String)>,
}

/// What must hold of a signed request before its signature is computed, whatever the algorithm.
pub(super) fn check<'c>(
    names: &[&'c str],
    day: &str,
    field: impl Fn(&str) -> Option<String>,
    body: Payload<'_>,
    now: Timestamp,
) -> Result<Checked<'c>, SigV4Error> {
    if !names.contains(&"host") || !names.contains(&"x-amz-date") {
        return Err(SigV4Error::Incomplete);
    }
    let date = field("x-amz-date").ok_or(SigV4Error::NoDate)?;
    let signed_at =
        parse_amz_date(&date).filter(|_| date.starts_with(day)).ok_or(SigV4Error::NoDate)?;
    if signed_at.0.abs_diff(now.0) > SKEW {
        return Err(SigV4Error::Skewed);
    }
    let said = field("x-amz-content-sha256");
    let payload = match body {
        Payload::Here(octets) => {
            let payload = sha256(octets);
            if said.is_some_and(|said| said != payload) {
                return Err(SigV4Error::OtherBody);
            }
            payload
        }
        Payload::Unread => said
            .filter(|_| names.contains(&"x-amz-content-sha256"))
            .ok_or(SigV4Error::Incomplete)?,
    };
    let mut fields = Vec::with_capacity(names.len());
    for name in names {
        fields.push((*name, field(name).ok_or(SigV4Error::Wrong)?));
    }
    Ok(Checked { date, payload, fields })
}

/// Reads `20260101T000000Z`.
pub fn parse_amz_date(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' {
        return None;
    }
    let number =
        |from: usize, len: usize| crate::semantics::lists::parse_digits(&bytes[from..from + len]);
    let (year, month, day) = (number(0, 4)?, number(4, 2)?, number(6, 2)?);
    let (hour, minute, second) = (number(9, 2)?, number(11, 2)?, number(13, 2)?);
    crate::semantics::time::from_civil((year, month, day), (hour, minute, second))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn example() -> Credentials {
        let secret = Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_string());
        Credentials { id: "AKIDEXAMPLE".into(), secret, session_token: None }
    }

    const NOON: Timestamp = Timestamp(1_795_230_006_000);

    // What a client that keeps to the rules sends.
    fn request(body: &[u8], date: &str) -> Vec<(String, String)> {
        let fields = [("host", "127.0.0.1:1".to_string()), ("x-amz-date", date.to_string())];
        let signed = Signed {
            method: "POST",
            path: "/2020/x",
            query: Some("b=2&a=1"),
            fields: &fields,
            payload: &sha256(body),
        };
        let scope = Scope { region: "us-east-1", service: "cloudfront" };
        let value = authorization(&signed, PathForm::Twice, date, scope, &example());
        vec![
            ("Host".into(), "127.0.0.1:1".into()),
            ("X-Amz-Date".into(), date.into()),
            ("Authorization".into(), value),
        ]
    }

    fn judge(
        fields: &[(String, String)],
        target: (&str, Option<&str>),
        body: &[u8],
        now: Timestamp,
    ) -> Option<Result<(), SigV4Error>> {
        let value = fields
            .iter()
            .find(|(name, _)| name == "Authorization")
            .map(|(_, value)| value.as_str())?;
        let claim = Claim::parse(value)?;
        let field = |name: &str| {
            let lines = fields
                .iter()
                .filter(|(known, _)| known.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.as_str());
            Some(lines.collect::<Vec<_>>().join(",")).filter(|all| !all.is_empty())
        };
        Some(verify(&claim, "POST", target, field, body, ("cloudfront", &example().secret, now)))
    }

    #[test]
    fn what_was_signed_is_believed_and_nothing_else() {
        let fields = request(b"body", "20261121T030006Z");
        let target = ("/2020/x", Some("a=1&b=2"));
        assert_eq!(judge(&fields, target, b"body", NOON), Some(Ok(())));
        for (what, target, body, now, doubt) in [
            ("another path", ("/2020/y", Some("a=1&b=2")), &b"body"[..], NOON, SigV4Error::Wrong),
            ("another query", ("/2020/x", Some("a=1&b=3")), b"body", NOON, SigV4Error::Wrong),
            ("another body", ("/2020/x", Some("a=1&b=2")), b"bodx", NOON, SigV4Error::Wrong),
            ("too late", target, b"body", Timestamp(NOON.0 + SKEW + 1000), SigV4Error::Skewed),
            ("too early", target, b"body", Timestamp(NOON.0 - SKEW - 1000), SigV4Error::Skewed),
        ] {
            assert_eq!(judge(&fields, target, body, now), Some(Err(doubt)), "{what}");
        }
        let mut changed = fields.clone();
        changed[0].1 = "127.0.0.1:2".into();
        assert_eq!(judge(&changed, target, b"body", NOON), Some(Err(SigV4Error::Wrong)));
        let mut twice = fields.clone();
        twice.push(("host".into(), "evil".into()));
        assert_eq!(judge(&twice, target, b"body", NOON), Some(Err(SigV4Error::Wrong)));
        let mut said = fields.clone();
        said.push(("X-Amz-Content-Sha256".into(), UNSIGNED.into()));
        assert_eq!(judge(&said, target, b"body", NOON), Some(Err(SigV4Error::OtherBody)));
    }

    #[test]
    fn a_body_that_was_not_read_is_the_one_that_was_signed_for() {
        let judge = |covered: bool, said: &str| {
            let date = "20261121T030006Z";
            let mut fields = vec![("host", "h".to_string())];
            if covered {
                fields.push(("x-amz-content-sha256", said.to_string()));
            }
            fields.push(("x-amz-date", date.to_string()));
            let (target, payload) = (("/", None), sha256(b"body"));
            let signed = Signed {
                method: "POST",
                path: "/",
                query: None,
                fields: &fields,
                payload: &payload,
            };
            let scope = Scope { region: "eu-west-1", service: "execute-api" };
            let value = authorization(&signed, PathForm::Twice, date, scope, &example());
            let claim = Claim::parse(&value).unwrap();
            let field = |name: &str| {
                let found = fields.iter().find(|(known, _)| *known == name);
                let uncovered = (name == "x-amz-content-sha256").then(|| said.to_string());
                found.map(|(_, value)| value.clone()).or(uncovered)
            };
            let against = ("execute-api", &example().secret, NOON);
            verify_with(&claim, "POST", target, field, Payload::Unread, against)
        };
        assert_eq!(judge(true, &sha256(b"body")), Ok(()));
        assert_eq!(judge(true, &sha256(b"other")), Err(SigV4Error::Wrong));
        assert_eq!(judge(false, &sha256(b"body")), Err(SigV4Error::Incomplete));
    }

    #[test]
    fn dates_are_read_and_written() {
        assert_eq!(parse_amz_date("20261121T030006Z"), Some(NOON));
        assert_eq!(amz_date(Timestamp(NOON.0 + 123)), "20261121T030006Z");
        for bad in
            ["20261121T030006", "2026-11-21T030006Z", "20261321T030006Z", "20261121 030006Z", ""]
        {
            assert_eq!(parse_amz_date(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn claims_of_any_kind_never_panic(text in "(AWS4-HMAC-SHA256 )?[ -~]{0,120}") {
            let _ = Claim::parse(&text);
        }

        #[test]
        fn a_query_has_one_canonical_form(query in "[a-c=&%2+ ~]{0,30}") {
            let once = canonical_query(&query);
            prop_assert_eq!(canonical_query(&once), once);
        }
    }
}
