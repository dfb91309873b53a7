//! Pure: which call a method and a path come to, and what the call is named where keys are allowed
//! it.

use http::Method;

use super::kinds::{KINDS, Names, UpdatedAt};
use crate::documents::shelf::Kind;

/// A call about documents.
#[derive(Clone, Copy, Debug)]
pub enum DocumentCall<'p> {
    /// One of a kind, or all of it: the id is empty where none is named.
    Resource(&'static Names, Verb, &'p str),
    Tagging(Tagging),
    /// The distributions that name a document.
    Users(Kind, &'p str),
}

/// What is done with a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Create,
    CreateWithTags,
    Get,
    GetConfig,
    Update,
    Delete,
    List,
}

/// What is done with tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tagging {
    Tag,
    Untag,
    List,
}

/// The listings of distributions by what they name.
const USERS: [(&str, Kind, &str); 4] = [
    ("distributionsByCachePolicyId", Kind::CachePolicy, "ListDistributionsByCachePolicyId"),
    (
        "distributionsByOriginRequestPolicyId",
        Kind::OriginRequestPolicy,
        "ListDistributionsByOriginRequestPolicyId",
    ),
    (
        "distributionsByResponseHeadersPolicyId",
        Kind::ResponseHeadersPolicy,
        "ListDistributionsByResponseHeadersPolicyId",
    ),
    ("distributionsByKeyGroupId", Kind::KeyGroup, "ListDistributionsByKeyGroup"),
];

/// A parameter of a query, decoded; a name alone is an empty one.
pub fn parameter(query: Option<&str>, wanted: &str) -> Option<String> {
    let mut pairs =
        query.unwrap_or("").split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let (_, said) = pairs.find(|(name, _)| *name == wanted)?;
    Some(percent_encoding::percent_decode_str(said).decode_utf8_lossy().into_owned())
}

impl<'p> DocumentCall<'p> {
    /// Finds a call by its path below the API's own, cut at the slashes; `None` if it is none about
    /// documents.
    pub fn of(method: &Method, path: &[&'p str], query: Option<&str>) -> Option<Self> {
        match (method, path) {
            (&Method::GET, ["tagging"]) => return Some(Self::Tagging(Tagging::List)),
            (&Method::POST, ["tagging"]) => {
                return match parameter(query, "Operation").as_deref() {
                    Some("Tag") => Some(Self::Tagging(Tagging::Tag)),
                    Some("Untag") => Some(Self::Tagging(Tagging::Untag)),
                    _ => None,
                };
            }
            (&Method::GET, [list, id]) => {
                if let Some((_, kind, _)) = USERS.iter().find(|(known, ..)| known == list) {
                    return Some(Self::Users(*kind, id));
                }
            }
            _ => {}
        }
        let names = KINDS.iter().find(|names| path.starts_with(names.path))?;
        let (verb, id) = match (method, &path[names.path.len()..]) {
            (&Method::POST, []) => {
                let has_tags =
                    names.kind == Kind::Distribution && parameter(query, "WithTags").is_some();
                (if has_tags { Verb::CreateWithTags } else { Verb::Create }, "")
            }
            (&Method::GET, []) => (Verb::List, ""),
            (&Method::GET, [id]) => (Verb::Get, *id),
            (&Method::GET, [id, "config"]) => (Verb::GetConfig, *id),
            (&Method::PUT, [id]) if names.updated_at == UpdatedAt::Itself => (Verb::Update, *id),
            (&Method::PUT, [id, "config"]) if names.updated_at == UpdatedAt::Config => {
                (Verb::Update, *id)
            }
            (&Method::DELETE, [id]) => (Verb::Delete, *id),
            _ => return None,
        };
        Some(Self::Resource(names, verb, id))
    }

    /// The call's name, as keys are allowed it.
    pub fn action(self) -> String {
        match self {
            Self::Resource(names, verb, _) => match verb {
                Verb::Create => format!("Create{}", names.one),
                Verb::CreateWithTags => format!("Create{}WithTags", names.one),
                Verb::Get => format!("Get{}", names.one),
                Verb::GetConfig => format!("Get{}Config", names.one),
                Verb::Update => format!("Update{}", names.one),
                Verb::Delete => format!("Delete{}", names.one),
                Verb::List => format!("List{}", names.many),
            },
            Self::Tagging(Tagging::Tag) => "TagResource".into(),
            Self::Tagging(Tagging::Untag) => "UntagResource".into(),
            Self::Tagging(Tagging::List) => "ListTagsForResource".into(),
            Self::Users(kind, _) => {
                let row = USERS.iter().find(|(_, known, _)| *known == kind);
                row.map_or("", |(.., action)| *action).to_string()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloudfront::model::CALLS;

    fn action(method: &Method, target: &str) -> Option<String> {
        let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
        let parts: Vec<&str> = path.split('/').collect();
        DocumentCall::of(method, &parts, query).map(DocumentCall::action)
    }

    #[test]
    fn calls_are_found_by_method_and_path() {
        for (method, target, want) in [
            (Method::POST, "distribution", "CreateDistribution"),
            (Method::POST, "distribution?WithTags", "CreateDistributionWithTags"),
            (Method::POST, "distribution?WithTags=", "CreateDistributionWithTags"),
            (Method::GET, "distribution?MaxItems=1", "ListDistributions"),
            (Method::GET, "distribution/E1", "GetDistribution"),
            (Method::GET, "distribution/E1/config", "GetDistributionConfig"),
            (Method::PUT, "distribution/E1/config", "UpdateDistribution"),
            (Method::DELETE, "distribution/E1", "DeleteDistribution"),
            (Method::PUT, "cache-policy/x", "UpdateCachePolicy"),
            (Method::GET, "response-headers-policy", "ListResponseHeadersPolicies"),
            (
                Method::PUT,
                "origin-access-identity/cloudfront/E2/config",
                "UpdateCloudFrontOriginAccessIdentity",
            ),
            (Method::POST, "tagging?Operation=Untag&Resource=a", "UntagResource"),
            (Method::GET, "tagging?Resource=a", "ListTagsForResource"),
            (Method::GET, "distributionsByKeyGroupId/g", "ListDistributionsByKeyGroup"),
        ] {
            assert_eq!(action(&method, target).as_deref(), Some(want), "{method} {target}");
            assert!(CALLS.contains(&want), "{want}");
        }
        for (method, target) in [
            (Method::PUT, "distribution/E1"),
            (Method::PUT, "cache-policy/x/config"),
            (Method::POST, "distribution/E1/invalidation"),
            (Method::POST, "tagging"),
            (Method::GET, "function"),
            (Method::DELETE, "key-group"),
        ] {
            assert_eq!(action(&method, target), None, "{method} {target}");
        }
    }

    #[test]
    fn parameters_are_decoded() {
        let query = Some("Resource=arn%3Aaws%3A1&WithTags");
        assert_eq!(parameter(query, "Resource").as_deref(), Some("arn:aws:1"));
        assert_eq!(parameter(query, "WithTags").as_deref(), Some(""));
        assert_eq!(parameter(query, "Marker"), None);
    }
}
