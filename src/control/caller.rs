//! Who makes a call that AWS's tools sign: the admin token, or a signature of Signature Version 4 or
//! 4A under a key of the configuration.

use http::header::{AUTHORIZATION, ORIGIN};
use http::request::Parts;

use super::Control;
use crate::crypto::sigv4::{self, SigV4Error};
use crate::crypto::sigv4a;
use crate::distribution::site::{INVALIDATION_ACTIONS, Unsigned};

/// Why a call is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It carries no signature.
    Unsigned,
    /// It carries none, which is enough for other calls.
    UnsignedMayNot,
    /// The Authorization field is none, or not whole.
    Unreadable,
    UnknownKey,
    /// The signature is fine or not; it does not count.
    Signature(SigV4Error),
    /// The key may not make this call.
    NotAllowed,
}

/// How scripts find out which distribution they are to invalidate, and wait for it. What the API has
/// made may hold secrets of origins: with `[api]` these calls want a key.
const LOOK_UPS: [&str; 2] = ["cloudfront:ListDistributions", "cloudfront:GetDistribution"];
/// API Gateway's flush is an invalidation, too.
const FLUSH: &str = "apigateway:DELETE";

/// Octets of a body that are read for a caller that names no access key of ours.
const STRANGERS_BODY_MAX: usize = 64 * 1024;

/// How much of a body is read before its signature is judged, which covers the body.
pub fn body_limit(control: &Control, parts: &Parts, limit: usize) -> usize {
    if is_named(control, parts) { limit } else { limit.min(STRANGERS_BODY_MAX) }
}

// Whether a caller shows the admin token, or a key that is known, or need not show any.
fn is_named(control: &Control, parts: &Parts) -> bool {
    let running = control.edge.running();
    let admin = &running.site.admin;
    let Some(said) = parts.headers.get(AUTHORIZATION) else {
        return admin.unsigned == Unsigned::Allowed;
    };
    if control.token.is_borne_by(said.as_bytes()) {
        return true;
    }
    let Ok(said) = said.to_str() else { return false };
    let id = match sigv4::Claim::parse(said) {
        Some(claim) => Some(claim.id),
        None => sigv4a::Claim::parse(said).map(|claim| claim.id),
    };
    id.is_some_and(|id| admin.access_keys.iter().any(|key| key.credentials.id == id))
}

/// Says whether a caller may make a call, named as IAM does: service and action; and who it is.
pub fn admit(
    control: &Control,
    parts: &Parts,
    (service, action): (&str, &str),
    body: &[u8],
) -> Result<String, Doubt> {
    let running = control.edge.running();
    let admin = &running.site.admin;
    let Some(said) = parts.headers.get(AUTHORIZATION) else {
        // Only browsers send an Origin, for whatever page is open in them.
        if parts.headers.contains_key(ORIGIN) {
            return Err(Doubt::Unsigned);
        }
        let call = format!("{service}:{action}");
        let is_told = LOOK_UPS.contains(&call.as_str()) && running.site.api.is_none();
        return match admin.unsigned {
            Unsigned::Allowed
                if is_told || call == FLUSH || INVALIDATION_ACTIONS.contains(&call.as_str()) =>
            {
                Ok("unsigned".into())
            }
            Unsigned::Allowed => Err(Doubt::UnsignedMayNot),
            Unsigned::Refused => Err(Doubt::Unsigned),
        };
    };
    if control.token.is_borne_by(said.as_bytes()) {
        return Ok("the admin token".into());
    }
    let said = said.to_str().map_err(|_| Doubt::Unreadable)?;
    let known = |id: &str| {
        let mut keys = admin.access_keys.iter();
        keys.find(|key| key.credentials.id == id).ok_or(Doubt::UnknownKey)
    };
    let field = |name: &str| {
        let lines: Vec<&str> = parts
            .headers
            .get_all(name)
            .iter()
            .map(|value| value.to_str().unwrap_or("\u{fffd}"))
            .collect();
        (!lines.is_empty()).then(|| lines.join(","))
    };
    let clock = &control.edge.clock;
    let (method, now) = (parts.method.as_str(), clock.wall(clock.now()));
    let target = (parts.uri.path(), parts.uri.query());
    let (key, judged) = if let Some(claim) = sigv4::Claim::parse(said) {
        let key = known(claim.id)?;
        let against = (service, &key.credentials.secret, now);
        (key, sigv4::verify(&claim, method, target, field, body, against))
    } else if let Some(claim) = sigv4a::Claim::parse(said) {
        let key = known(claim.id)?;
        let against = (service, &key.credentials.secret, now);
        (key, sigv4a::verify(&claim, method, target, field, body, against))
    } else {
        return Err(Doubt::Unreadable);
    };
    judged.map_err(Doubt::Signature)?;
    if key.allows(service, action) {
        Ok(key.credentials.id.clone())
    } else {
        Err(Doubt::NotAllowed)
    }
}
