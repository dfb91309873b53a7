//! Documents of CloudFront's API as further sources of the configuration: they are compiled by the
//! same rules as its files, behind them.
//!
//! A document that cannot be served, because its file is damaged or because an older version let
//! something pass, is said and left aside: the edge goes on without it.

use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::Text;
use crate::cloudfront::live;
use crate::cloudfront::strict::Unfit;
use crate::documents::function::{Coded, FunctionStages};
use crate::documents::shelf::{Document, Documents, Kind};
use crate::documents::store::Store;

/// What is said of documents, how many of the sources are files, and what is no text.
#[derive(Default)]
pub struct Told {
    pub of_files: usize,
    /// A line for each document that is left aside.
    pub aside: Vec<String>,
    pub remarks: Vec<String>,
    /// What the API has published, by name.
    pub functions: Vec<(String, Coded)>,
}

/// What documents add to a configuration.
#[derive(Default)]
pub struct Managed {
    /// One for policies and keys, and one for each distribution.
    pub texts: Vec<Text>,
    /// All documents that could be read, those that are left aside among them.
    pub documents: Documents,
    pub told: Told,
}

/// Makes texts of documents: of those that are given, or of those in the data folder that the main
/// file names. Nothing where it has no `[api]`.
pub fn read(texts: &[Text], given: Option<&Documents>) -> Managed {
    let Some(data) = texts.first().and_then(|(path, text)| managed_folder(path, text)) else {
        let told = Told { of_files: texts.len(), ..Told::default() };
        return Managed { told, ..Managed::default() };
    };
    let of_files = texts.len();
    let (documents, mut aside) = match given {
        Some(documents) => (documents.clone(), Vec::new()),
        None => Store::of(&data).load(),
    };
    let (mut shared, mut remarks) = (String::new(), Vec::new());
    let mut texts = Vec::new();
    let kinds = [
        Kind::CachePolicy,
        Kind::OriginRequestPolicy,
        Kind::ResponseHeadersPolicy,
        Kind::PublicKey,
        Kind::KeyGroup,
    ];
    for kind in kinds {
        for document in documents.of(kind) {
            match live::table(kind, document) {
                Ok(text) => shared.push_str(&text),
                Err(why) => aside.push(left_aside(kind, &document.id, &why)),
            }
        }
    }
    texts.push((PathBuf::from("policies and keys (by the API)"), shared));
    for document in documents.of(Kind::Distribution) {
        remarks.extend(signed_for_identities(document));
        match live::distribution(document, &documents) {
            Ok(text) => {
                texts.push((
                    PathBuf::from(format!("distribution {} (by the API)", document.id)),
                    text,
                ));
            }
            Err(why) => aside.push(left_aside(Kind::Distribution, &document.id, &why)),
        }
    }
    let mut functions = Vec::new();
    for document in documents.of(Kind::Function) {
        match FunctionStages::of(document) {
            Ok(stages) => functions.extend(stages.live.map(|live| (document.id.clone(), live))),
            Err(why) => aside.push(format!(
                "{} {} (by the API) is left aside: {why}",
                Kind::Function.word(),
                document.id
            )),
        }
    }
    Managed { texts, documents, told: Told { of_files, aside, remarks, functions } }
}

// An identity is one of CloudFront's own users; here there is but one hand that signs.
fn signed_for_identities(document: &Document) -> Option<String> {
    let named = live::named(Kind::Distribution, &document.config);
    let (_, id, _) = named.into_iter().find(|(kind, ..)| *kind == Kind::OriginAccessIdentity)?;
    Some(format!(
        "distribution {} (by the API): requests for the origin access identity {id} are signed with [api] s3_credentials",
        document.id
    ))
}

fn left_aside(kind: Kind, id: &str, why: &Unfit) -> String {
    format!("{} {id} (by the API) is left aside: {}", kind.word(), why.message)
}

// The data folder of a file that has `[api]`.
fn managed_folder(path: &Path, text: &str) -> Option<PathBuf> {
    let table = DeTable::parse(text).ok()?;
    let table = table.get_ref();
    table.get("api")?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let data = table.get("data").and_then(|value| value.get_ref().as_str());
    Some(super::at(folder, data.unwrap_or("../.foreshore")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_count_only_where_the_api_is_on() {
        let path = PathBuf::from("etc/edge.toml");
        assert_eq!(managed_folder(&path, "data = \"d\"\n"), None);
        assert_eq!(managed_folder(&path, "data = \"d\"\n[api]\n"), Some(PathBuf::from("etc/d")));
        assert_eq!(managed_folder(&path, "[api]\n"), Some(PathBuf::from(".foreshore")));
        assert!(read(&[], None).texts.is_empty());
    }
}
