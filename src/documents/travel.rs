//! Pure: a document as other edges of a fleet are told of it: a name, and what it says.

use super::shelf::{Document, Kind};

/// What the name of each document begins with.
pub const PREFIX: &str = "document/";

/// Why something is no document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strange {
    /// It is of no form that a document has.
    Malformed,
    /// A kind that is not known here.
    UnknownKind,
}

/// The name of a document.
pub fn name(kind: Kind, id: &str) -> String {
    format!("{PREFIX}{}/{id}", kind.word())
}

/// What a document says.
pub fn content(document: &Document) -> String {
    serde_json::to_string(document).unwrap_or_default()
}

/// Reads a name, and what it says now; `None` for one that was removed. The id names a file, so it
/// has letters, digits, hyphens and underscores alone.
pub fn read(
    name: &str,
    content: Option<&str>,
) -> Result<(Kind, String, Option<Document>), Strange> {
    let (kind, id) = name
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.split_once('/'))
        .ok_or(Strange::UnknownKind)?;
    let kind =
        Kind::ALL.into_iter().find(|known| known.word() == kind).ok_or(Strange::UnknownKind)?;
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    if !(1..=64).contains(&id.len()) || !id.bytes().all(is_plain) {
        return Err(Strange::Malformed);
    }
    let Some(content) = content else { return Ok((kind, id.to_string(), None)) };
    let document: Document = serde_json::from_str(content).map_err(|_| Strange::Malformed)?;
    if document.id != id || !document.config.is_object() {
        return Err(Strange::Malformed);
    }
    Ok((kind, id.to_string(), Some(document)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn document(id: &str) -> Document {
        Document {
            id: id.into(),
            revision: 3,
            created: 1,
            modified: 2,
            domain: "d1.example".into(),
            tags: BTreeMap::from([("k".into(), "v".into())]),
            config: serde_json::json!({ "Comment": "é \"x\"" }),
        }
    }

    #[test]
    fn a_document_comes_as_it_was_sent() {
        for kind in Kind::ALL {
            let sent = document("E1-a_B");
            let name = name(kind, &sent.id);
            let read_back = read(&name, Some(&content(&sent)));
            assert_eq!(read_back, Ok((kind, sent.id.clone(), Some(sent))));
            assert_eq!(read(&name, None), Ok((kind, "E1-a_B".into(), None)));
        }
    }

    #[test]
    fn what_is_no_document_is_refused_by_name() {
        let text = content(&document("E1"));
        let long = name(Kind::Distribution, &"E".repeat(65));
        for (name, content, want) in [
            ("document/distribution/E2", text.as_str(), Strange::Malformed),
            ("document/distribution/", text.as_str(), Strange::Malformed),
            ("document/distribution/../E1", text.as_str(), Strange::Malformed),
            ("document/distribution/E1.json", text.as_str(), Strange::Malformed),
            (long.as_str(), text.as_str(), Strange::Malformed),
            ("document/distribution/E1", "{}", Strange::Malformed),
            ("document/distribution/E1", "[", Strange::Malformed),
            ("document/tenant/E1", text.as_str(), Strange::UnknownKind),
            ("document/E1", text.as_str(), Strange::UnknownKind),
            ("value/flags/k", text.as_str(), Strange::UnknownKind),
            ("", text.as_str(), Strange::UnknownKind),
        ] {
            assert_eq!(read(name, Some(content)), Err(want), "{name}: {content}");
        }
        let listed = text.replace("{\"Comment\":\"é \\\"x\\\"\"}", "[]");
        assert_ne!(listed, text);
        assert_eq!(read("document/distribution/E1", Some(&listed)), Err(Strange::Malformed));
    }

    proptest::proptest! {
        #[test]
        fn anything_is_read_or_refused(name in "(document|value)?/?[a-z./]{0,20}/?[A-Z0-9]{0,4}", content in ".{0,60}") {
            let _ = read(&name, Some(&content));
        }
    }
}
