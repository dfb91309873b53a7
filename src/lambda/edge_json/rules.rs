//! Pure: which rule of Lambda@Edge a returned value breaks, in CloudFront's words, and the fields
//! that functions may not touch.

use super::place::LambdaPlace;
use crate::functions::rules::is_disallowed;

/// What is wrong with a returned value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// It is no object.
    Object,
    /// It has nothing of a request, and no status.
    Neither,
    ReadOnlyHeader,
    BlockedHeader,
    /// A member of `headers` is no array.
    HeaderArray,
    /// An entry of a header is no object with a text as its value.
    HeaderEntry,
    HeaderName,
    HeaderValue,
    /// Fields together are too large.
    HeadersSize,
    Status,
    /// Of a viewer response.
    StatusChanged,
    Body,
    BodySize,
    BodyEncoding,
    /// 204 has none.
    BodyOfNoContent,
    /// Method, address of the viewer and the like.
    ReadOnlyMember,
    Uri,
    Querystring,
    UrlSize,
    Origin,
    /// A custom header of the origin is among the request's headers too.
    CustomHeaderTwice,
}

/// A rule that a returned value breaks, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    pub rule: Rule,
    /// Where in the value, such as `headers.via`.
    pub path: String,
    /// What was there, cut off where it is long, for the log alone; empty where it may be a secret.
    pub found: String,
}

/// Octets of what was found that are written down.
const FOUND_MAX: usize = 120;

impl Mistake {
    pub fn new(rule: Rule, path: impl Into<String>, found: &str) -> Self {
        Self { rule, path: path.into(), found: found.chars().take(FOUND_MAX).collect() }
    }

    /// CloudFront's sentence for the error page; nothing of the value is in it.
    pub const fn sentence(&self) -> &'static str {
        self.rule.sentence()
    }

    /// The same with where and what it was, for the log.
    pub fn detail(&self) -> String {
        let Self { rule, path, found } = self;
        if found.is_empty() {
            return format!("{} ({path})", rule.sentence());
        }
        format!("{} ({path} is {found:?})", rule.sentence())
    }
}

impl Rule {
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Object => {
                "The Lambda function returned an invalid json: The json output must be an object type."
            }
            Self::Neither => {
                "The Lambda function result failed validation: The object is neither a request nor a response."
            }
            Self::ReadOnlyHeader => {
                "The Lambda function result failed validation: The function tried to add, delete, or change a read-only header."
            }
            Self::BlockedHeader => {
                "The Lambda function result failed validation: The function tried to add a blacklisted header."
            }
            Self::HeaderArray => {
                "The Lambda function returned an invalid entry in the headers object: Each header entry in the headers object must be an array."
            }
            Self::HeaderEntry => {
                "The Lambda function returned an invalid entry in the headers object: Each entry must be an object with a value that is a string."
            }
            Self::HeaderName => {
                "The Lambda function returned an invalid entry in the headers object: The header name is not valid."
            }
            Self::HeaderValue => {
                "The Lambda function returned an invalid entry in the headers object: The header value contains characters that are not valid."
            }
            Self::HeadersSize => {
                "The Lambda function result failed validation: The headers exceed the maximum size."
            }
            Self::Status => {
                "The Lambda function result failed validation: The status must be a number from 200 to 599."
            }
            Self::StatusChanged => {
                "The Lambda function result failed validation: The function tried to change the status of a viewer response."
            }
            Self::Body | Self::BodySize => {
                "The Lambda function result failed validation: The body is not a string, is not an object, or exceeds the maximum size."
            }
            Self::BodyEncoding => {
                "The Lambda function result failed validation: The body encoding must be text or base64, and the body must be encoded so."
            }
            Self::BodyOfNoContent => {
                "The Lambda function result failed validation: A response with the status 204 must not have a body."
            }
            Self::ReadOnlyMember => {
                "The Lambda function result failed validation: The function tried to change a read-only field."
            }
            Self::Uri => {
                "The Lambda function result failed validation: The URI must begin with a slash and be a valid path."
            }
            Self::Querystring => {
                "The Lambda function result failed validation: The query string must not have spaces, control characters, or a fragment."
            }
            Self::UrlSize => {
                "The Lambda function result failed validation: The URI and the query string must have fewer than 8,192 characters together."
            }
            Self::Origin => {
                "The Lambda function result failed validation: The origin in the request is not valid."
            }
            Self::CustomHeaderTwice => {
                "The Lambda function result failed validation: A custom header of the origin is in the request headers too."
            }
        }
    }
}

/// Says whether a field, in lower case, may be read at a place, and neither changed nor taken out.
pub fn is_read_only(place: LambdaPlace, name: &str) -> bool {
    match place {
        LambdaPlace::ViewerRequest => {
            matches!(name, "cdn-loop" | "content-length" | "host" | "transfer-encoding" | "via")
        }
        LambdaPlace::OriginRequest => matches!(
            name,
            "accept-encoding"
                | "cdn-loop"
                | "content-length"
                | "if-modified-since"
                | "if-none-match"
                | "if-range"
                | "if-unmodified-since"
                | "transfer-encoding"
                | "via"
        ),
        LambdaPlace::OriginResponse => matches!(name, "transfer-encoding" | "via"),
        LambdaPlace::ViewerResponse => matches!(
            name,
            "content-encoding" | "content-length" | "transfer-encoding" | "warning" | "via"
        ),
    }
}

/// Says whether a field is hidden from functions, so that they must not add it.
pub fn is_blocked(place: LambdaPlace, name: &str) -> bool {
    // What CloudFront says of a viewer is not for functions at the viewer to say.
    is_disallowed(name) || (place == LambdaPlace::ViewerRequest && name.starts_with("cloudfront-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_cloudfronts() {
        for (place, name, want) in [
            (LambdaPlace::ViewerRequest, "host", true),
            (LambdaPlace::ViewerRequest, "cdn-loop", true),
            (LambdaPlace::ViewerRequest, "accept-encoding", false),
            (LambdaPlace::OriginRequest, "host", false),
            (LambdaPlace::OriginRequest, "accept-encoding", true),
            (LambdaPlace::OriginRequest, "if-none-match", true),
            (LambdaPlace::OriginResponse, "via", true),
            (LambdaPlace::OriginResponse, "content-length", false),
            (LambdaPlace::ViewerResponse, "content-length", true),
            (LambdaPlace::ViewerResponse, "warning", true),
            (LambdaPlace::ViewerResponse, "cache-control", false),
        ] {
            assert_eq!(is_read_only(place, name), want, "{place:?} {name}");
        }
        assert!(is_blocked(LambdaPlace::ViewerRequest, "cloudfront-viewer-country"));
        assert!(!is_blocked(LambdaPlace::OriginRequest, "cloudfront-viewer-country"));
        assert!(is_blocked(LambdaPlace::OriginResponse, "x-edge-location"));
    }

    #[test]
    fn a_mistake_shows_what_was_found_in_the_log_alone() {
        let mistake = Mistake::new(Rule::HeaderValue, "headers.a", "<script>");
        assert!(!mistake.sentence().contains("script"));
        assert!(mistake.detail().contains("headers.a is \"<script>\""));
        assert_eq!(Mistake::new(Rule::Body, "", &"ü".repeat(500)).found.chars().count(), 120);
    }
}
