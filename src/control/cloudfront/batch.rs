//! Pure: reading an InvalidationBatch, elements in any order, with or without a declaration and a
//! namespace.
//!
//! Nothing but the elements that the API knows, no document type, nothing nested deeper than it may
//! be.

use quick_xml::Reader;
use quick_xml::events::Event;

use super::xml::Fault;
use crate::invalidation::log::Batch;

/// Elements deeper than this are none of the API's.
const DEPTH: usize = 6;

/// Reads the body of CreateInvalidation.
pub fn parse(body: &[u8]) -> Result<Batch, Fault> {
    let text = std::str::from_utf8(body).map_err(|_| malformed("it is not UTF-8"))?;
    let (mut reference, mut quantity, mut paths) = (None, None, Vec::new());
    let mut has_paths = false;
    walk(text, |place, words| {
        match place {
            ["InvalidationBatch", "CallerReference"] => reference = Some(words),
            ["InvalidationBatch", "Paths", "Quantity"] => {
                quantity = Some(
                    words
                        .trim()
                        .parse::<usize>()
                        .map_err(|_| malformed("Quantity is no number"))?,
                );
            }
            ["InvalidationBatch", "Paths", "Items", "Path"] => paths.push(words),
            ["InvalidationBatch", "Paths"] => has_paths = true,
            ["InvalidationBatch"] | ["InvalidationBatch", "Paths", "Items"] => {}
            _ => {
                return Err(malformed(
                    "there is an element that an InvalidationBatch does not have",
                ));
            }
        }
        Ok(())
    })?;
    let reference = reference.ok_or_else(|| malformed("CallerReference is missing"))?;
    let quantity = quantity
        .filter(|_| has_paths)
        .ok_or_else(|| malformed("Paths or its Quantity is missing"))?;
    if quantity != paths.len() {
        return Err(Fault::new(
            400,
            "InconsistentQuantities",
            "The value of Quantity and the size of Items don't match.",
        ));
    }
    Ok(Batch { reference, paths })
}

/// What is wrong with a body, as AWS says it.
pub(super) fn malformed(why: &str) -> Fault {
    Fault::new(
        400,
        "MalformedXML",
        &format!("The XML you provided was not well-formed or did not validate: {why}."),
    )
}

/// The character that an entity of XML stands for.
pub(super) fn entity(name: &str) -> Result<char, Fault> {
    match name {
        "amp" => Ok('&'),
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        _ => Err(malformed("there is an entity that XML does not know")),
    }
}

/// Calls `see` at the end of each element with where it stands and the text in it.
pub(super) fn walk(
    text: &str,
    mut see: impl FnMut(&[&str], String) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut reader = Reader::from_str(text);
    let mut place: Vec<String> = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let mut is_over = false;
    loop {
        let event = reader.read_event().map_err(|error| malformed(&error.to_string()))?;
        match event {
            Event::Start(_) | Event::Empty(_) if place.len() >= DEPTH || is_over => {
                return Err(malformed("there is more than one document, or it is too deep"));
            }
            Event::Start(start) => {
                place.push(start.local_name().as_ref().to_string());
                words.push(String::new());
            }
            Event::Empty(start) => {
                place.push(start.local_name().as_ref().to_string());
                leave(&mut place, String::new(), &mut see)?;
                is_over = place.is_empty();
            }
            Event::End(_) => {
                let said = words.pop().unwrap_or_default();
                leave(&mut place, said, &mut see)?;
                is_over = place.is_empty();
            }
            Event::Text(said) => match words.last_mut() {
                Some(words) => words.push_str(&said),
                None if said.trim().is_empty() => {}
                None => return Err(malformed("there is text outside of it")),
            },
            Event::CData(said) => {
                words
                    .last_mut()
                    .ok_or_else(|| malformed("there is text outside of it"))?
                    .push_str(&said);
            }
            Event::GeneralRef(name) => {
                let letter =
                    match name.resolve_char_ref().map_err(|error| malformed(&error.to_string()))? {
                        Some(letter) => letter,
                        None => entity(&name)?,
                    };
                words
                    .last_mut()
                    .ok_or_else(|| malformed("there is text outside of it"))?
                    .push(letter);
            }
            Event::DocType(_) | Event::PI(_) => {
                return Err(malformed("document types and instructions are not read"));
            }
            Event::Decl(_) | Event::Comment(_) => {}
            Event::Eof if is_over => return Ok(()),
            Event::Eof => return Err(malformed("it ends before its end")),
        }
    }
}

fn leave(
    place: &mut Vec<String>,
    said: String,
    see: &mut impl FnMut(&[&str], String) -> Result<(), Fault>,
) -> Result<(), Fault> {
    see(&place.iter().map(String::as_str).collect::<Vec<_>>(), said)?;
    place.pop();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn code(text: &str) -> String {
        parse(text.as_bytes()).err().map(|fault| fault.code.to_string()).unwrap_or_default()
    }

    #[test]
    fn batches_are_read_as_the_tools_write_them() {
        let cli = r#"<InvalidationBatch xmlns="http://cloudfront.amazonaws.com/doc/2020-05-31/"><CallerReference>cli-1</CallerReference><Paths><Quantity>3</Quantity><Items><Path>/a b/é?x=1&amp;y=&lt;2&gt;</Path><Path>/c~d%20e</Path><Path>#product:tv</Path></Items></Paths></InvalidationBatch>"#;
        let want = ["/a b/é?x=1&y=<2>", "/c~d%20e", "#product:tv"].map(String::from).to_vec();
        assert_eq!(
            parse(cli.as_bytes()).unwrap(),
            Batch { reference: "cli-1".into(), paths: want }
        );
        let js = "<?xml version=\"1.0\"?>\n<InvalidationBatch><Paths><Quantity>1</Quantity><Items><Path>/&#x41;</Path></Items></Paths>\n<CallerReference>r</CallerReference></InvalidationBatch>\n";
        assert_eq!(
            parse(js.as_bytes()).unwrap(),
            Batch { reference: "r".into(), paths: vec!["/A".into()] }
        );
        let none = "<InvalidationBatch><Paths><Quantity>0</Quantity></Paths><CallerReference/></InvalidationBatch>";
        assert!(parse(none.as_bytes()).unwrap().paths.is_empty());
    }

    #[test]
    fn what_is_no_batch_is_refused() {
        let with = |inner: &str| format!("<InvalidationBatch>{inner}</InvalidationBatch>");
        let paths = "<Paths><Quantity>1</Quantity><Items><Path>/a</Path></Items></Paths>";
        for (text, want) in [
            (with(paths), "MalformedXML"),
            (with("<CallerReference>r</CallerReference>"), "MalformedXML"),
            (
                with(&format!("{}<CallerReference>r</CallerReference>", paths.replace('1', "2"))),
                "InconsistentQuantities",
            ),
            (with(&format!("{paths}<CallerReference>r</CallerReference><More/>")), "MalformedXML"),
            (with(&format!("{paths}<CallerReference>&x;</CallerReference>")), "MalformedXML"),
            (format!("<!DOCTYPE a [<!ENTITY x \"y\">]>{}", with(paths)), "MalformedXML"),
            (format!("{0}{0}", with(paths)), "MalformedXML"),
            ("<InvalidationBatch><Paths>".into(), "MalformedXML"),
            ("nonsense".into(), "MalformedXML"),
        ] {
            assert_eq!(code(&text), want, "{text}");
        }
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(text in "(<(/?(InvalidationBatch|Paths|Items|Path|Quantity|CallerReference)|!|\\?|&)[ >a\"=/]{0,3}|[a-z&;#<>]{0,4}){0,20}") {
            let _ = parse(text.as_bytes());
        }
    }
}
