//! What a viewer may ask of a bucket with our credentials: an order goes on whole or is refused,
//! never with another meaning.
//!
//! S3 tells orders apart by parameters and fields: `DELETE /k?tagging` without its parameter is
//! `DELETE /k`. So whatever makes an order must be allowed (`access_control.subresources`), must
//! reach the bucket, and must be in the key where answers are kept.

use http::header::{AUTHORIZATION, HeaderName};

use super::{Caching, Routed};
use crate::crypto::s3::{self, Field, Parameter};
use crate::distribution::behavior::Behavior;
use crate::distribution::origin::{AccessControl, Signing, Subresources};
use crate::message::connection::Forwarder;
use crate::message::forwarding;
use crate::message::refusal::{Refusal, Unfit, Why};
use crate::message::request::{Known, RequestHead};

/// Judges a request to a behavior that signs for a bucket, before the cache is asked and for every
/// bucket that may be. `caching` says whether the answer is kept under a key.
pub fn judge(routed: &Routed<'_>, caching: Caching) -> Result<(), Refusal> {
    let (members, _) = routed.distribution.members(routed.behavior.target);
    let signed = members.iter().filter_map(|at| routed.distribution.origins[*at].access.as_ref());
    judge_for(routed, caching, signed)
}

/// The same for these ways of signing, whoever chose them.
pub fn judge_for<'o>(
    routed: &Routed<'_>,
    caching: Caching,
    signed: impl Iterator<Item = &'o AccessControl>,
) -> Result<(), Refusal> {
    // An object is asked for by its name: most requests, and they pay for nothing else.
    if routed.head.query.is_none() && routed.path != "/" && !s3::writes(routed.head.method) {
        return Ok(());
    }
    for access in signed.filter(|access| access.is_bucket()) {
        let is_own = is_own(routed.behavior, routed.head, access);
        let has_order =
            judge_query(routed, caching, access, is_own).map_err(Refusal::Subresource)?;
        judge_fields(routed, access, is_own).map_err(Refusal::Subresource)?;
        if routed.path == "/" && !(has_order || is_own || access.subresources == Subresources::Pass)
        {
            return Err(Refusal::Bucket);
        }
    }
    Ok(())
}

/// Says whether a request goes to the bucket under the viewer's own signature: then the viewer's
/// rights count, not ours.
pub fn is_own(behavior: &Behavior, head: &RequestHead<'_>, access: &AccessControl) -> bool {
    let by_field = access.signing == Signing::NoOverride
        && head.known.has(Known::Authorization)
        && forwarding::reaches_origin(behavior, Forwarder::Unknown, &AUTHORIZATION);
    let reaches = |query: &str| {
        s3::parameters(query).any(|name| {
            s3::signs_for_s3(name) && forwarding::parameter_reaches_origin(behavior, name)
        })
    };
    by_field || head.query.is_some_and(|query| s3::is_presigned(query) && reaches(query))
}

// True if the query makes another order of the request, one that may be given.
fn judge_query(
    routed: &Routed<'_>,
    caching: Caching,
    access: &AccessControl,
    is_own: bool,
) -> Result<bool, Unfit> {
    let (head, behavior) = (routed.head, routed.behavior);
    let Some(query) = head.query else { return Ok(false) };
    // What signs a URL for us is between the viewer and us.
    let names =
        move || s3::parameters(query).filter(move |name| !forwarding::is_signature(behavior, name));
    let mut has_order = false;
    for spelled in names() {
        let name = s3::decoded(spelled);
        let kind = s3::parameter(&name);
        let needs_leave = match kind {
            Parameter::Plain => continue,
            Parameter::Dress => false,
            Parameter::Version => s3::writes(head.method),
            Parameter::Order => true,
        };
        if needs_leave && !is_own && !access.subresources.includes(&name) {
            return Err(Unfit::new(&name, Why::NotAllowed));
        }
        // An answer undressed is the same answer.
        if kind == Parameter::Dress && !forwarding::parameter_reaches_origin(behavior, spelled) {
            continue;
        }
        goes_whole(routed, caching, spelled)?;
        has_order |= kind == Parameter::Order;
    }
    // What comes with an order is a part of it.
    if has_order {
        names().try_for_each(|spelled| goes_whole(routed, caching, spelled))?;
    }
    Ok(has_order)
}

// A parameter that shapes the answer reaches the bucket, and is in the key of what is kept.
fn goes_whole(routed: &Routed<'_>, caching: Caching, spelled: &str) -> Result<(), Unfit> {
    let behavior = routed.behavior;
    if !forwarding::parameter_reaches_origin(behavior, spelled) {
        return Err(Unfit::new(&s3::decoded(spelled), Why::KeptBack));
    }
    if caching == Caching::Kept && !behavior.cache.key.query.includes(spelled) {
        return Err(Unfit::new(&s3::decoded(spelled), Why::NotInKey));
    }
    Ok(())
}

// Reads do without a viewer's `x-amz-` fields: none of them makes another order of a read.
fn judge_fields(routed: &Routed<'_>, access: &AccessControl, is_own: bool) -> Result<(), Unfit> {
    let (head, behavior) = (routed.head, routed.behavior);
    if !s3::writes(head.method) {
        return Ok(());
    }
    for (name, value) in head.fields.iter().filter(|(name, _)| s3::is_amz(name)) {
        let name = name.to_ascii_lowercase();
        match s3::field(&name) {
            // The pieces are signed one after the other, from the signature that we replace.
            Field::Hop
                if name == s3::CONTENT_HASH && !is_own && value.starts_with(b"STREAMING-AWS4-") =>
            {
                return Err(Unfit::new(&name, Why::SignedPieces));
            }
            Field::Hop | Field::Describes => {}
            Field::Order if !is_own && !access.subresources.includes(&name) => {
                return Err(Unfit::new(&name, Why::NotAllowed));
            }
            Field::Order => {
                let reaches = HeaderName::from_bytes(name.as_bytes()).is_ok_and(|name| {
                    forwarding::reaches_origin(behavior, Forwarder::Unknown, &name)
                });
                if !reaches {
                    return Err(Unfit::new(&name, Why::KeptBack));
                }
            }
        }
    }
    Ok(())
}
