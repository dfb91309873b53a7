//! Pure: a CloudFront Function of the API as its document keeps it: the code that is worked on, and
//! the code that is published.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::shelf::{Document, etag};

/// Where code stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It is worked on, and no viewer meets it.
    Development,
    /// It is what behaviors run.
    Live,
}

impl Stage {
    /// Both, in the order of a list.
    pub const ALL: [Self; 2] = [Self::Development, Self::Live];

    /// The API's word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Development => "DEVELOPMENT",
            Self::Live => "LIVE",
        }
    }

    /// The stage of a word.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.word() == word)
    }
}

/// The key value store that code reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreOf {
    pub name: String,
    /// What its ARN ends with.
    pub id: String,
}

/// The code of a stage, and what is said of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coded {
    pub comment: String,
    /// `cloudfront-js-1.0` or `cloudfront-js-2.0`.
    pub runtime: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreOf>,
    pub code: String,
    /// Milliseconds since 1970.
    pub created: u64,
    pub modified: u64,
    /// Changes so far, the first one being that it was made.
    pub number: u64,
}

impl Coded {
    /// Says whether two stages say the same, whenever they came to it.
    pub fn is_same(&self, other: &Self) -> bool {
        let of = |one: &Self| {
            (one.comment.clone(), one.runtime.clone(), one.store.clone(), one.code.clone())
        };
        of(self) == of(other)
    }
}

/// A function in its stages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FunctionStages {
    pub development: Coded,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Coded>,
}

impl FunctionStages {
    /// Reads the configuration of a document; the error says what it is not.
    pub fn of(document: &Document) -> Result<Self, String> {
        serde_json::from_value(document.config.clone())
            .map_err(|error| format!("it is no function: {error}"))
    }

    /// The configuration of its document.
    pub fn config(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// The code of a stage; none is LIVE before it is published.
    pub const fn at(&self, stage: Stage) -> Option<&Coded> {
        match stage {
            Stage::Development => Some(&self.development),
            Stage::Live => self.live.as_ref(),
        }
    }

    /// What is LIVE once the code that is worked on is published.
    pub fn published(&self, now: u64) -> Self {
        let before = self.live.as_ref();
        let live = Coded {
            created: before.map_or(now, |live| live.created),
            modified: now,
            number: before.map_or(1, |live| live.number + 1),
            ..self.development.clone()
        };
        Self { live: Some(live), ..self.clone() }
    }
}

/// The version of a stage that callers name. One that was deleted and made again has others.
pub fn version_of(name: &str, stage: Stage, coded: &Coded) -> String {
    etag(&format!("function {name} {} {} {}", stage.word(), coded.created, coded.number))
}

/// The ARN of a function in an account.
pub fn arn(account: &str, name: &str) -> String {
    format!("arn:aws:cloudfront::{account}:function/{name}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn coded(code: &str) -> Coded {
        Coded {
            comment: "c".into(),
            runtime: "cloudfront-js-2.0".into(),
            store: Some(StoreOf { name: "flags".into(), id: "0b5f".into() }),
            code: code.into(),
            created: 5,
            modified: 5,
            number: 1,
        }
    }

    #[test]
    fn publishing_leaves_what_is_worked_on_as_it_is() {
        let first = FunctionStages { development: coded("a"), live: None };
        assert!(first.at(Stage::Live).is_none());
        let live = first.published(9);
        assert_eq!(live.development, first.development);
        let version = |of: &FunctionStages, stage| version_of("f", stage, of.at(stage).unwrap());
        assert_ne!(version(&live, Stage::Live), version(&live, Stage::Development));
        let again = live.published(11);
        assert_ne!(version(&again, Stage::Live), version(&live, Stage::Live));
        assert_eq!(version(&again, Stage::Development), version(&live, Stage::Development));
        let of = |stages: &FunctionStages| stages.live.clone().map(|one| (one.created, one.number));
        assert_eq!((of(&live), of(&again)), (Some((9, 1)), Some((9, 2))));
        assert!(again.live.as_ref().unwrap().is_same(&again.development));
        assert!(!again.live.as_ref().unwrap().is_same(&coded("b")));
    }

    #[test]
    fn a_document_comes_back_as_it_was() {
        let stages = FunctionStages { development: coded("a"), live: None }.published(9);
        let document = Document {
            id: "f".into(),
            revision: 1,
            created: 5,
            modified: 9,
            domain: String::new(),
            tags: BTreeMap::new(),
            config: stages.config(),
        };
        assert_eq!(FunctionStages::of(&document), Ok(stages));
        let other = Document { config: serde_json::json!({ "code": "a" }), ..document };
        assert!(FunctionStages::of(&other).is_err());
        assert_eq!(Stage::of("LIVE"), Some(Stage::Live));
        assert_eq!(Stage::of("live"), None);
    }
}
