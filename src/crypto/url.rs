//! Signed URLs and cookies (CloudFront: "Use signed URLs", "Use signed cookies"): found in a
//! request, judged, and made.
//!
//! The URL that counts is the one the viewer sent, octet by octet, without the parameters that sign
//! it.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::key::{Hash, PrivateKey, PublicKey};
use super::memory::VerifiedSignatures;
use super::policy::{self, PolicyConditions};
use crate::semantics::lists::trim;
use crate::semantics::time::Timestamp;

/// The parameters that sign a URL. Any of the first four makes it a signed one.
const PARAMETERS: [&str; 5] = ["Expires", "Policy", "Signature", "Key-Pair-Id", "Hash-Algorithm"];

/// What comes before a parameter's name in a cookie's.
const COOKIE: &str = "CloudFront-";

/// The keys whose signatures a behavior takes.
#[derive(Clone, Debug)]
pub struct TrustedKeys {
    /// What the operator calls the groups they are in.
    pub groups: Vec<String>,
    pub keys: Vec<Arc<PublicKey>>,
}

/// Why a viewer that must show a signature is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsigned {
    /// There is no key id: nothing was signed.
    MissingKey,
    /// The key is none of the behavior's.
    UnknownKey,
    MalformedSignature,
    MalformedPolicy,
    /// Expired, not yet good, for another viewer or URL, or not signed with that key.
    Denied,
}

impl Unsigned {
    /// CloudFront's own code and message.
    pub const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::MissingKey => {
                ("MissingKey", "Missing Key-Pair-Id query parameter or cookie value")
            }
            Self::UnknownKey => ("InvalidKey", "Unknown Key"),
            Self::MalformedSignature => ("MalformedSignature", "Could not unencode Signature"),
            Self::MalformedPolicy => ("MalformedPolicy", "Malformed Policy"),
            Self::Denied => ("AccessDenied", "Access denied"),
        }
    }
}

/// Says whether a parameter signs a URL: it is in no key, and no origin sees it.
pub fn signs(parameter: &str) -> bool {
    PARAMETERS.contains(&parameter)
}

/// The parts of a request that a signature covers or is checked against, as the viewer sent them.
#[derive(Clone, Copy)]
pub struct SignedRequest<'r> {
    /// As it stands in a URL: `http` or `https`.
    pub scheme: &'r str,
    /// Host and port.
    pub authority: &'r str,
    /// The path, octet by octet.
    pub path: &'r str,
    pub query: Option<&'r str>,
    /// The viewer's address.
    pub viewer: IpAddr,
}

// What a request shows, as it is on the wire.
#[derive(Clone, Copy, Default)]
struct SignatureParams<'r> {
    values: [Option<&'r str>; 5],
    is_twice: bool,
}

impl<'r> SignatureParams<'r> {
    fn note(&mut self, name: &str, value: &'r str) {
        if let Some(at) = PARAMETERS.iter().position(|known| *known == name) {
            self.is_twice |= self.values[at].replace(value).is_some();
        }
    }

    fn in_query(query: &'r str) -> Option<Self> {
        let mut shown = Self::default();
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            shown.note(name, value);
        }
        shown.values[..4].iter().any(Option::is_some).then_some(shown)
    }

    fn in_cookies(lines: impl Iterator<Item = &'r [u8]>) -> Self {
        let mut shown = Self::default();
        for pair in lines.flat_map(|line| line.split(|octet| *octet == b';')).map(trim) {
            let Some((name, value)) =
                std::str::from_utf8(pair).ok().and_then(|pair| pair.split_once('='))
            else {
                continue;
            };
            // Of two of one name the first counts: browsers send the one with the longer path
            // first, and no origin reads them.
            if let Some(at) = name
                .strip_prefix(COOKIE)
                .and_then(|name| PARAMETERS.iter().position(|known| *known == name))
            {
                shown.values[at].get_or_insert(value);
            }
        }
        shown
    }

    const fn expires(&self) -> Option<&'r str> {
        self.values[0]
    }
    const fn policy(&self) -> Option<&'r str> {
        self.values[1]
    }
    const fn signature(&self) -> Option<&'r str> {
        self.values[2]
    }
    const fn key(&self) -> Option<&'r str> {
        self.values[3]
    }
    const fn hash(&self) -> Option<&'r str> {
        self.values[4]
    }
}

/// Judges a request: may this viewer have this URL now? `cookies` are the lines of its Cookie
/// fields; they are read only where the URL is not signed.
pub fn judge<'r>(
    request: &SignedRequest<'r>,
    cookies: impl Iterator<Item = &'r [u8]>,
    signers: &TrustedKeys,
    memory: &VerifiedSignatures,
    now: Timestamp,
) -> Result<(), Unsigned> {
    let by_url = request.query.and_then(SignatureParams::in_query);
    let is_url = by_url.is_some();
    // What a URL says goes before cookies.
    let shown = by_url.unwrap_or_else(|| SignatureParams::in_cookies(cookies));
    let id = shown.key().filter(|id| !id.is_empty()).ok_or(Unsigned::MissingKey)?;
    // Two readers could take one value each.
    if shown.is_twice {
        return Err(Unsigned::Denied);
    }
    let url = Url { request, is_url };
    let key = signers.keys.iter().find(|key| key.id == id).ok_or(Unsigned::UnknownKey)?;
    let print = url.fingerprint(&shown, key);
    let terms = match memory.find(&print) {
        Some(terms) => terms,
        None => {
            let terms = check(&shown, key, &url)?;
            memory.note(&print, terms, now);
            terms
        }
    };
    if terms.hold(now, request.viewer) { Ok(()) } else { Err(Unsigned::Denied) }
}

// Reads and checks what does not depend on the moment and the viewer.
fn check(
    shown: &SignatureParams<'_>,
    key: &PublicKey,
    url: &Url<'_>,
) -> Result<PolicyConditions, Unsigned> {
    let signature = shown.signature().ok_or(Unsigned::Denied)?;
    let signature = decode(signature).ok_or(Unsigned::MalformedSignature)?;
    let hash = match shown.hash() {
        None | Some("SHA1") => Hash::Sha1,
        Some("SHA256") => Hash::Sha256,
        Some(_) => return Err(Unsigned::Denied),
    };
    if let Some(encoded) = shown.policy() {
        let document = decode(encoded).ok_or(Unsigned::MalformedPolicy)?;
        let policy = policy::parse(&document).ok_or(Unsigned::MalformedPolicy)?;
        if !key.verifies(hash, &document, &signature) {
            return Err(Unsigned::Denied);
        }
        let covers = policy.resource.is_none_or(|resource| policy::covers(&resource, &url.text()));
        return if covers { Ok(policy.terms) } else { Err(Unsigned::Denied) };
    }
    let expires = shown.expires().ok_or(Unsigned::Denied)?;
    let is_plain = expires.bytes().all(|octet| octet.is_ascii_digit())
        && !expires.starts_with('0')
        && expires.len() < 16;
    let before = expires.parse().ok().filter(|_| is_plain).ok_or(Unsigned::Denied)?;
    if !key.verifies(hash, canned(&url.text(), expires).as_bytes(), &signature) {
        return Err(Unsigned::Denied);
    }
    Ok(PolicyConditions { before, after: None, from: None })
}

/// A canned policy, octet by octet as every signer writes it.
fn canned(url: &str, expires: &str) -> String {
    format!(
        "{{\"Statement\":[{{\"Resource\":\"{url}\",\"Condition\":{{\"DateLessThan\":{{\"AWS:EpochTime\":{expires}}}}}}}]}}"
    )
}

// The URL that was signed, of a request.
struct Url<'r> {
    request: &'r SignedRequest<'r>,
    /// The signature is in the URL, so its parameters are no part of what was signed.
    is_url: bool,
}

impl Url<'_> {
    // The host as URLs have it: in lower case, without the scheme's own port.
    fn authority(&self) -> Cow<'_, str> {
        let usual = if self.request.scheme == "https" { ":443" } else { ":80" };
        let given = self.request.authority;
        let authority = given.strip_suffix(usual).unwrap_or(given);
        if authority.bytes().any(|octet| octet.is_ascii_uppercase()) {
            Cow::Owned(authority.to_ascii_lowercase())
        } else {
            Cow::Borrowed(authority)
        }
    }

    fn each(&self, mut part: impl FnMut(&str)) {
        part(self.request.scheme);
        part("://");
        part(&self.authority());
        part(self.request.path);
        let mut mark = "?";
        for parameter in self.request.query.iter().flat_map(|query| query.split('&')) {
            let name = parameter.split_once('=').map_or(parameter, |(name, _)| name);
            if !(self.is_url && signs(name)) {
                part(mark);
                part(parameter);
                mark = "&";
            }
        }
    }

    fn text(&self) -> String {
        let mut out = String::new();
        self.each(|part| out.push_str(part));
        out
    }

    // Everything that the outcome of `check` depends on. The key is a part of it, because a reload
    // may put another under its id, and what was found good under the one must not open anything
    // under the other.
    fn fingerprint(&self, shown: &SignatureParams<'_>, key: &PublicKey) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(key.fingerprint());
        for value in shown.values {
            // No value holds a NUL, so no two lists of values look alike.
            context.update(if value.is_some() { b"\0+" } else { b"\0-" });
            context.update(value.unwrap_or("").as_bytes());
        }
        context.update(if self.is_url { b"\0u" } else { b"\0c" });
        self.each(|part| context.update(part.as_bytes()));
        context.finish().as_ref().try_into().unwrap_or_default()
    }
}

// CloudFront's base64: three characters that URLs do not like have others in their places. Padding
// may be missing.
fn decode(text: &str) -> Option<Vec<u8>> {
    let plain: String = text
        .trim_end_matches('_')
        .chars()
        .map(|c| match c {
            '-' => '+',
            '~' => '/',
            // These are not its own.
            '+' | '/' | '=' => '!',
            other => other,
        })
        .collect();
    base64::engine::general_purpose::STANDARD_NO_PAD.decode(plain).ok()
}

/// CloudFront's base64.
pub fn encode(octets: &[u8]) -> String {
    STANDARD.encode(octets).replace('+', "-").replace('=', "_").replace('/', "~")
}

/// What is to be signed.
pub struct ToSign<'s> {
    /// The URL, or the resource of a custom policy.
    pub url: &'s str,
    pub terms: PolicyConditions,
    /// A resource with wildcards, in the place of the URL.
    pub resource: Option<&'s str>,
}

/// Name and value of each parameter, in the order in which they are shown; as cookies their names
/// begin with `CloudFront-`.
pub fn sign(
    what: &ToSign<'_>,
    key_id: &str,
    key: &PrivateKey,
) -> Result<Vec<(&'static str, String)>, String> {
    let resource = what.resource.unwrap_or(what.url);
    let mut shown = Vec::new();
    let text = if what.resource.is_none() && what.terms.after.is_none() && what.terms.from.is_none()
    {
        shown.push(("Expires", what.terms.before.to_string()));
        canned(resource, &what.terms.before.to_string())
    } else {
        let mut conditions =
            format!("\"DateLessThan\":{{\"AWS:EpochTime\":{}}}", what.terms.before);
        if let Some(after) = what.terms.after {
            conditions.push_str(&format!(",\"DateGreaterThan\":{{\"AWS:EpochTime\":{after}}}"));
        }
        if let Some(from) = what.terms.from {
            conditions.push_str(&format!(",\"IpAddress\":{{\"AWS:SourceIp\":\"{from}\"}}"));
        }
        let resource = serde_json::to_string(resource).map_err(|error| error.to_string())?;
        let text = format!(
            "{{\"Statement\":[{{\"Resource\":{resource},\"Condition\":{{{conditions}}}}}]}}"
        );
        shown.push(("Policy", encode(text.as_bytes())));
        text
    };
    shown.push(("Signature", encode(&key.sign(text.as_bytes())?)));
    shown.push(("Key-Pair-Id", key_id.to_string()));
    shown.push(("Hash-Algorithm", "SHA256".to_string()));
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::vary::is_ours;
    use proptest::prelude::*;

    // Two rooms know the names; none of them may forget one.
    #[test]
    fn every_cookie_that_signs_is_kept_from_origins() {
        assert!(PARAMETERS.iter().all(|name| is_ours(format!("{COOKIE}{name}").as_bytes())));
        assert!(
            is_ours(crate::access::staging::COOKIE.as_bytes()) && !is_ours(b"CloudFront-Other")
        );
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(octets in proptest::collection::vec(any::<u8>(), 0..100)) {
            let text = encode(&octets);
            prop_assert!(text.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_~".contains(&octet)));
            prop_assert_eq!(decode(text.trim_end_matches('_')), Some(octets.clone()));
            prop_assert_eq!(decode(&text), Some(octets));
        }

        #[test]
        fn queries_of_any_kind_never_panic(query in "((Expires|Policy|Signature|Key-Pair-Id|Hash-Algorithm|a)=?[a-c0-9~_-]{0,5}&?){0,6}") {
            if let Some(shown) = SignatureParams::in_query(&query) {
                prop_assert!(shown.values[..4].iter().any(Option::is_some));
            }
        }
    }
}
