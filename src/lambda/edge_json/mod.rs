//! Pure: Lambda@Edge's events, written, and what functions return, read and held to CloudFront's
//! rules (CloudFront: "Lambda@Edge event structure", "Restrictions on Lambda@Edge").

mod answer;
mod event;
mod headers;
mod json;
mod origin;
mod place;
mod rules;
#[cfg(test)]
mod samples;
mod test_event;

pub use answer::{EdgeAnswer, LambdaRequestChange, LambdaResponse, read};
pub use event::{EdgeEvent, EdgeRequest, EdgeResponse, ShownBody, write};
pub use origin::{CustomOrigin, Headers, OriginOut, S3Origin};
pub use place::LambdaPlace;
pub use rules::{Mistake, Rule};
pub use test_event::LambdaTestEvent;
