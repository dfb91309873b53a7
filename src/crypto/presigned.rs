//! AWS Signature Version 4 in a query: a request that whoever has its URL may make, for a while.

use super::sigv4::{
    ALGORITHM, Credentials, EMPTY, PathForm, Scope, Signed, amz_date, escape, hex, signature,
};
use crate::semantics::time::Timestamp;

/// The URL, without a scheme, of a GET of `/` at a host: signed at a moment, good for so many
/// seconds. Parameters stand in it in their order, before those of the signature.
pub fn get(
    host: &str,
    parameters: &[(&str, &str)],
    secs: u32,
    now: Timestamp,
    scope: Scope<'_>,
    credentials: &Credentials,
) -> String {
    let date = amz_date(now);
    let day = date.get(..8).unwrap_or(&date);
    let Scope { region, service } = scope;
    let credential = format!("{}/{day}/{region}/{service}/aws4_request", credentials.id);
    let secs = secs.to_string();
    let mut all: Vec<(&str, &str)> = parameters.to_vec();
    all.extend([
        ("X-Amz-Algorithm", ALGORITHM),
        ("X-Amz-Credential", credential.as_str()),
        ("X-Amz-Date", date.as_str()),
        ("X-Amz-Expires", secs.as_str()),
        ("X-Amz-SignedHeaders", "host"),
    ]);
    if let Some(token) = &credentials.session_token {
        all.push(("X-Amz-Security-Token", token.expose().as_str()));
    }
    let one = |(name, value): &(&str, &str)| {
        format!("{}={}", escape(name.as_bytes()), escape(value.as_bytes()))
    };
    let query = all.iter().map(one).collect::<Vec<_>>().join("&");
    let fields = [("host", host.to_string())];
    let signed =
        Signed { method: "GET", path: "/", query: Some(&query), fields: &fields, payload: EMPTY };
    let signature = hex(&signature(&signed, PathForm::Twice, &date, scope, &credentials.secret));
    format!("{host}/?{query}&X-Amz-Signature={signature}")
}
