//! Signatures of AWS's kinds: requests signed with Signature Version 4, and CloudFront's signed
//! URLs and cookies; and messages of the AWS Encryption SDK.
//!
//! Pure: bytes, keys and a moment go in, a verdict or a signature comes out. What is known to be
//! good is remembered, within bounds, because checking it costs more than answering from the store.

pub mod envelope;
pub mod key;
pub mod memory;
pub mod policy;
pub mod presigned;
pub mod s3;
pub mod sigv4;
pub mod sigv4a;
pub mod url;
