//! Documents of CloudFront's API as further sources of the configuration: they are compiled by the
//! same rules as its files, behind them.
//!
//! A document that cannot be served, because its file is damaged or because an older version let
//! something pass, is said and left aside: the edge goes on without it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::DeTable;

use super::units::{self, Draft, Part, Shared, Units, Usable};
use super::{MissingCertificates, Text};
use crate::cloudfront::live;
use crate::cloudfront::strict::Unfit;
use crate::documents::adopted;
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
    /// The distributions of documents, in order.
    pub parts: Vec<Part>,
}

/// What documents add to a configuration.
#[derive(Default)]
pub struct Managed {
    /// One for policies and keys, and one for each distribution that was not compiled before.
    pub texts: Vec<Text>,
    /// All documents that could be read, those that are left aside among them; but for those that a
    /// file has now.
    pub documents: Documents,
    pub shared: Arc<Shared>,
    pub told: Told,
}

/// Makes texts of documents: of those that are given, or of those in the data folder that the main
/// file names. Nothing where it has no `[api]`. Of `units` is taken what is as it was.
pub fn read(
    files: &[Text],
    given: Option<&Documents>,
    making: MissingCertificates,
    units: &Units,
) -> Managed {
    let of_files = files.len();
    let Some(data) = files.first().and_then(|(path, text)| managed_folder(path, text)) else {
        let told = Told { of_files, ..Told::default() };
        return Managed { told, ..Managed::default() };
    };
    let moved: Vec<&str> = files.iter().filter_map(|(_, text)| adopted::of(text)).collect();
    let (mut documents, mut aside) = match given {
        Some(documents) => (documents.clone(), Vec::new()),
        None => Store::of(&data).load(),
    };
    for id in moved {
        if documents.get(Kind::Distribution, id).is_none() {
            continue;
        }
        documents.remove(Kind::Distribution, id);
        aside.push(format!("distribution {id} (by the API) is left aside: a file has it now"));
    }
    let (mut texts, mut remarks) = (Vec::new(), Vec::new());
    let shared = units.shared(&documents).unwrap_or_else(|| Arc::new(shared(&documents)));
    aside.extend_from_slice(&shared.aside);
    texts.push((PathBuf::from("policies and keys (by the API)"), shared.text.clone()));
    let (functions, unread) = published(&documents);
    let usable = units.usable(files, &units::names(&functions), making, &documents);
    let said = (&mut aside, &mut remarks);
    let parts = parts(&documents, &usable, of_files, &mut texts, said);
    drop(usable);
    aside.extend(unread);
    Managed { texts, documents, shared, told: Told { of_files, aside, remarks, functions, parts } }
}

// What distributions share, as one text.
fn shared(documents: &Documents) -> Shared {
    let kinds = [
        Kind::CachePolicy,
        Kind::OriginRequestPolicy,
        Kind::ResponseHeadersPolicy,
        Kind::PublicKey,
        Kind::KeyGroup,
        Kind::FieldEncryptionProfile,
        Kind::FieldEncryption,
    ];
    let mut all = Shared::default();
    for kind in kinds {
        for document in documents.of(kind) {
            match live::table(kind, document) {
                Ok(text) => all.text.push_str(&text),
                Err(why) => all.aside.push(left_aside(kind, &document.id, &why)),
            }
        }
    }
    all
}

// The distributions of documents, in order. Those that are to be compiled get a text.
fn parts(
    documents: &Documents,
    usable: &Usable<'_>,
    of_files: usize,
    texts: &mut Vec<Text>,
    (aside, remarks): (&mut Vec<String>, &mut Vec<String>),
) -> Vec<Part> {
    let mut parts = Vec::new();
    for document in documents.of(Kind::Distribution) {
        if let Some(unit) = usable.find(&document.id) {
            remarks.extend(unit.written.remark.clone());
            parts.push(Part::Known(unit.clone()));
            continue;
        }
        let remark = signed_for_identities(document);
        remarks.extend(remark.clone());
        match live::distribution(document, documents) {
            Ok(text) => {
                let needs = units::needs(document, documents);
                let (id, source) = (document.id.clone(), of_files + texts.len());
                parts.push(Part::New(Draft { id, source, needs, remark }));
                let name = format!("distribution {} (by the API)", document.id);
                texts.push((PathBuf::from(name), text));
            }
            Err(why) => aside.push(left_aside(Kind::Distribution, &document.id, &why)),
        }
    }
    parts
}

// What is published by the API, and a line for each function that cannot be read.
fn published(documents: &Documents) -> (Vec<(String, Coded)>, Vec<String>) {
    let (mut functions, mut aside) = (Vec::new(), Vec::new());
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
    (functions, aside)
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
        let nothing = read(&[], None, MissingCertificates::Done, &Units::default());
        assert!(nothing.texts.is_empty());
    }
}
