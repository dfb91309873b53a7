//! Pure: signing requests for S3-like origins (CloudFront's origin access control). The moment is
//! passed in.
//!
//! As little as possible is signed, so that nothing on the way can break it: Host, the body's hash,
//! the date, and every other `x-amz-` field, which S3 insists on. The path is sent in the one form
//! that every server signs, the query as the policies let it through: whether the viewer may ask so
//! has been judged by `access::bucket`.

use http::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue};

use super::request::OriginRequest;
use crate::body::Body;
use crate::crypto::s3;
use crate::crypto::sigv4::{self, PathForm, Scope, Signed};
use crate::distribution::origin::{AccessControl, Signing};
use crate::message::request::split_target;
use crate::semantics::time::Timestamp;

const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
const HASH: HeaderName = HeaderName::from_static("x-amz-content-sha256");

/// Signs a request. A body that is here already is covered; one that is still to come is not.
pub fn sign(request: &mut OriginRequest, access: &AccessControl, now: Timestamp) {
    let (path, query) = split_target(&request.target);
    // A viewer with a presigned URL has signed already, and two signatures are one too many.
    let is_presigned = query.is_some_and(s3::is_presigned);
    let keeps_own =
        access.signing == Signing::NoOverride && request.fields.contains(&AUTHORIZATION);
    // A bucket is not asked about its server as a whole, and what is signed is a path.
    if is_presigned || keeps_own || &*request.target == "*" {
        return;
    }
    let mut target = one_form(path);
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    request.target = target.into();
    let fields = &mut request.fields;
    fields.remove(&AUTHORIZATION);
    fields.remove(&TOKEN);
    let date = sigv4::amz_date(now);
    fields.insert(&DATE, date.clone());
    if let Some(token) = &access.credentials.session_token
        && let Ok(mut token) = HeaderValue::from_str(token.expose())
    {
        token.set_sensitive(true);
        fields.insert(&TOKEN, token);
    }
    // A viewer that says what it sends is taken at its word: the origin checks it.
    if !fields.contains(&HASH) {
        let hash = match &request.body {
            Body::Empty => sigv4::EMPTY.to_string(),
            Body::Bytes(bytes) => sigv4::sha256(bytes),
            _ => sigv4::UNSIGNED.to_string(),
        };
        fields.insert(&HASH, hash);
    }
    let joined = |name: &str| {
        let lines: Vec<_> =
            fields.get_all(name).map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
        lines.join(",")
    };
    let mut names: Vec<String> = fields
        .iter()
        .filter(|(name, _)| *name == HOST || name.begins("x-amz-"))
        .map(|(name, _)| name.spelled().to_ascii_lowercase())
        .collect();
    names.sort_unstable();
    names.dedup();
    let signed: Vec<(&str, String)> =
        names.iter().map(|name| (name.as_str(), joined(name))).collect();
    let payload = joined(HASH.as_str());
    let (path, query) = split_target(&request.target);
    let about =
        Signed { method: request.method.as_str(), path, query, fields: &signed, payload: &payload };
    let form = if access.is_bucket() { PathForm::Once } else { PathForm::Twice };
    let scope = Scope { region: &access.region, service: &access.service };
    let said = sigv4::authorization(&about, form, &date, scope, &access.credentials);
    if let Ok(mut said) = HeaderValue::try_from(said) {
        said.set_sensitive(true);
        request.fields.insert(&AUTHORIZATION, said);
    }
}

// Every octet that is not unreserved as an escape, slashes and escaped slashes as they are: what a
// server makes of the decoded path when it checks the signature.
fn one_form(path: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let octets = path.as_bytes();
    let mut out = String::with_capacity(path.len());
    let mut at = 0;
    while at < octets.len() {
        match octets[at] {
            b'%' if crate::message::path::is_escape(octets, at) => {
                out.push('%');
                out.extend(
                    [octets[at + 1], octets[at + 2]]
                        .map(|digit| char::from(digit.to_ascii_uppercase())),
                );
                at += 2;
            }
            octet
            @ (b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/') => {
                out.push(char::from(octet))
            }
            octet => out.extend([
                '%',
                char::from(HEX[usize::from(octet >> 4)]),
                char::from(HEX[usize::from(octet & 15)]),
            ]),
        }
        at += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_form() {
        for (path, want) in [
            ("/a b+c(1)'.txt", "/a%20b%2Bc%281%29%27.txt"),
            ("/%c3%a9%2Fx", "/%C3%A9%2Fx"),
            ("/100%", "/100%25"),
            ("/~a-b_c.d", "/~a-b_c.d"),
        ] {
            assert_eq!(one_form(path), want);
            assert_eq!(one_form(want), want);
        }
    }
}
