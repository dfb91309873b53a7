//! What S3 reads in a request beside the name of an object: its parameters and `x-amz-` fields, by
//! what they do to an order.
//!
//! Names only. `access::bucket` decides which viewer may give which order.

use std::borrow::Cow;

use http::Method;

/// The hash of the body, as its signer says it; also says whether the body is cut into pieces.
pub const CONTENT_HASH: &str = "x-amz-content-sha256";

/// The parameter that makes a URL a presigned one.
const PRESIGNED: &str = "X-Amz-Signature";

/// What a query parameter does to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// Nothing that S3 knows of.
    Plain,
    /// It dresses the answer: `response-content-type` and its siblings.
    Dress,
    /// It picks one version of the object.
    Version,
    /// It makes another order of it, or a part of one.
    Order,
}

/// What an `x-amz-` field does to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The signer says it anew, or a CDN on the way has said it.
    Hop,
    /// It describes the body that comes with it: without it the body would be read otherwise, or
    /// lose what belongs to it.
    Describes,
    /// It makes another order of it.
    Order,
}

/// Parameters that ask for something else than an object, or for less than all of it. Sorted. Names
/// are told apart by case, as S3 does.
pub const ORDERS: [&str; 48] = [
    "abac",
    "accelerate",
    "acl",
    "analytics",
    "append",
    "attributes",
    "continuation-token",
    "cors",
    "delete",
    "delimiter",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "list-type",
    "location",
    "logging",
    "marker",
    "max-keys",
    "metadata",
    "metadataConfiguration",
    "metadataInventoryTable",
    "metadataJournalTable",
    "metadataTable",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "partNumber",
    "policy",
    "policyStatus",
    "prefix",
    "publicAccessBlock",
    "renameObject",
    "replication",
    "requestPayment",
    "restore",
    "retention",
    "select",
    "select-type",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versioning",
    "versions",
    "website",
];

/// What a presigned URL says of its signature, and what changes no order.
const SIGNATURE: [&str; 10] = [
    "x-amz-algorithm",
    "x-amz-checksum-mode",
    "x-amz-content-sha256",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-signedheaders",
    "x-amz-user-agent",
];

const HOP: [&str; 7] = [
    "x-amz-cf-id",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-id-2",
    "x-amz-request-id",
    "x-amz-security-token",
    "x-amz-user-agent",
];

const DESCRIBES: [&str; 5] = [
    "x-amz-checksum-algorithm",
    "x-amz-decoded-content-length",
    "x-amz-mp-object-size",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-trailer",
];

/// What a parameter of this name does; the name is decoded (`decoded`).
pub fn parameter(name: &str) -> Parameter {
    match name {
        "versionId" => Parameter::Version,
        _ if name.starts_with("response-") => Parameter::Dress,
        // S3 takes fields from the query too: presigned URLs carry them there.
        _ if is_amz(name) && !SIGNATURE.iter().any(|known| name.eq_ignore_ascii_case(known)) => {
            Parameter::Order
        }
        _ if ORDERS.contains(&name) => Parameter::Order,
        _ => Parameter::Plain,
    }
}

/// What a field of this name does; the name is in lower case and begins with `x-amz-`.
pub fn field(name: &str) -> Field {
    match name {
        _ if HOP.contains(&name) => Field::Hop,
        _ if name.starts_with("x-amz-meta-")
            || name.starts_with("x-amz-checksum-")
            || DESCRIBES.contains(&name) =>
        {
            Field::Describes
        }
        _ => Field::Order,
    }
}

/// Says whether a name is one of AWS's own, in any case.
pub fn is_amz(name: &str) -> bool {
    name.as_bytes().get(..6).is_some_and(|start| start.eq_ignore_ascii_case(b"x-amz-"))
}

/// Parameters of a query, each with its name as it is spelled. Empty ones say nothing.
pub fn parameters(query: &str) -> impl Iterator<Item = &str> {
    query
        .split('&')
        .filter(|parameter| !parameter.is_empty())
        .map(|one| one.split_once('=').map_or(one, |(name, _)| name))
}

/// A parameter's name as a server reads it.
pub fn decoded(name: &str) -> Cow<'_, str> {
    percent_encoding::percent_decode_str(name).decode_utf8_lossy()
}

/// Says whether a query carries the signature of a presigned URL, which S3 judges instead of any
/// other.
pub fn is_presigned(query: &str) -> bool {
    query
        .split('&')
        .any(|parameter| parameter.split_once('=').is_some_and(|(name, _)| signs_for_s3(name)))
}

/// Says whether a parameter is the signature of a presigned URL.
pub fn signs_for_s3(name: &str) -> bool {
    name == PRESIGNED
}

/// Says whether a method may change what a bucket holds.
pub fn writes(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_as_a_server_reads_them() {
        for (name, want) in [
            ("tagging", Parameter::Order),
            ("%74agging", Parameter::Order),
            ("uploadId", Parameter::Order),
            ("x-amz-copy-source", Parameter::Order),
            ("X-AMZ-Acl", Parameter::Order),
            ("versionId", Parameter::Version),
            ("response-content-type", Parameter::Dress),
            ("X-Amz-Signature", Parameter::Plain),
            ("X-Amz-SignedHeaders", Parameter::Plain),
            ("Tagging", Parameter::Plain),
            ("Policy", Parameter::Plain),
            ("w", Parameter::Plain),
            ("", Parameter::Plain),
        ] {
            assert_eq!(parameter(&decoded(name)), want, "{name}");
        }
        for (name, want) in [
            ("x-amz-date", Field::Hop),
            ("x-amz-content-sha256", Field::Hop),
            ("x-amz-meta-a", Field::Describes),
            ("x-amz-checksum-crc64nvme", Field::Describes),
            ("x-amz-decoded-content-length", Field::Describes),
            ("x-amz-copy-source", Field::Order),
            ("x-amz-acl", Field::Order),
            ("x-amz-something-new", Field::Order),
        ] {
            assert_eq!(field(name), want, "{name}");
        }
        assert!(ORDERS.is_sorted());
        assert!(
            is_presigned("a=1&X-Amz-Signature=00")
                && !is_presigned("X-Amz-Signature&a=1")
                && !is_presigned("a=X-Amz-Signature=1")
        );
        assert_eq!(parameters("a=1&&b&=x&c=d=e").collect::<Vec<_>>(), ["a", "b", "", "c"]);
    }
}
