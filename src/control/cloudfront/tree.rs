//! Pure: the API's documents between XML and JSON, by their shapes. Elements may come in any order;
//! one that the API does not know is refused by its name, and so is what does not have its type.

use quick_xml::Reader;
use quick_xml::escape::escape;
use quick_xml::events::Event;
use serde_json::{Map, Value};

use super::batch::{entity, malformed};
use super::xml::{Fault, HEAD, NAMESPACE};
use crate::cloudfront::shape::{Needed, Shape};

/// Elements deeper than this are none of the API's.
const DEPTH: usize = 24;

/// An element as it stands.
#[derive(Debug, Default)]
struct Element {
    name: String,
    text: String,
    inner: Vec<Element>,
}

impl Element {
    fn child(&self, name: &str) -> Option<&Self> {
        self.inner.iter().find(|inner| inner.name == name)
    }
}

/// Reads a body whose root is of this name and shape.
pub fn read(body: &[u8], root: &str, shape: &Shape) -> Result<Value, Fault> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(Fault::of("MissingBody", "This operation requires a body."));
    }
    let text = std::str::from_utf8(body).map_err(|_| malformed("it is not UTF-8"))?;
    let element = parse(text)?;
    if element.name != root {
        return Err(malformed(&format!("its root is {}, and {root} was expected", element.name)));
    }
    check_quantities(&element)?;
    value(&element, shape, "").map(|value| value.unwrap_or_default())
}

/// The same of a body that may be left out: then nothing is said.
pub fn read_if_any(body: &[u8], root: &str, shape: &Shape) -> Result<Value, Fault> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Value::Object(Map::new()));
    }
    read(body, root, shape)
}

fn parse(text: &str) -> Result<Element, Fault> {
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Element> = Vec::new();
    let mut root: Option<Element> = None;
    loop {
        let event = reader.read_event().map_err(|error| malformed(&error.to_string()))?;
        match event {
            Event::Start(_) | Event::Empty(_) if open.len() >= DEPTH || root.is_some() => {
                return Err(malformed("there is more than one document, or it is too deep"));
            }
            Event::Start(start) => open.push(named(start.local_name().as_ref())),
            Event::Empty(start) => close(named(start.local_name().as_ref()), &mut open, &mut root),
            Event::End(_) => {
                let element = open.pop().ok_or_else(|| malformed("it ends twice"))?;
                close(element, &mut open, &mut root);
            }
            Event::Text(said) => add(&mut open, &said)?,
            Event::CData(said) => add(&mut open, &said)?,
            Event::GeneralRef(name) => {
                let letter =
                    name.resolve_char_ref().map_err(|error| malformed(&error.to_string()))?;
                let letter = match letter {
                    Some(letter) => letter,
                    None => entity(&name)?,
                };
                add(&mut open, letter.encode_utf8(&mut [0; 4]))?;
            }
            Event::DocType(_) | Event::PI(_) => {
                return Err(malformed("document types and instructions are not read"));
            }
            Event::Decl(_) | Event::Comment(_) => {}
            Event::Eof => return root.ok_or_else(|| malformed("it ends before its end")),
        }
    }
}

fn named(name: &str) -> Element {
    Element { name: name.to_string(), ..Element::default() }
}

fn close(element: Element, open: &mut [Element], root: &mut Option<Element>) {
    match open.last_mut() {
        Some(outer) => outer.inner.push(element),
        None => *root = Some(element),
    }
}

fn add(open: &mut [Element], said: &str) -> Result<(), Fault> {
    match open.last_mut() {
        // XML could not say it again.
        Some(_) if said.contains(|c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r')) => {
            Err(malformed("there is a control character in it"))
        }
        Some(element) => {
            element.text.push_str(said);
            Ok(())
        }
        None if said.trim().is_empty() => Ok(()),
        None => Err(malformed("there is text outside of it")),
    }
}

// Before anything else of a document is looked at, as CloudFront does it.
fn check_quantities(element: &Element) -> Result<(), Fault> {
    if let Some(quantity) = element.child("Quantity") {
        let said = quantity.text.trim().parse::<usize>();
        let said = said.map_err(|_| malformed("Quantity is no number"))?;
        if said != element.child("Items").map_or(0, |items| items.inner.len()) {
            return Err(Fault::of(
                "InconsistentQuantities",
                "The value of Quantity and the size of Items don't match.",
            ));
        }
    }
    element.inner.iter().try_for_each(check_quantities)
}

// `None` for an empty word: some tools send one for what is not set.
fn value(element: &Element, shape: &Shape, place: &str) -> Result<Option<Value>, Fault> {
    let text = element.text.trim();
    let wrong = |what: &str| Err(invalid(place, &format!("{text:?} is {what}")));
    match shape {
        Shape::Record(_) => record(element, shape, place).map(Some),
        Shape::List(item, inner) => list(element, item, inner, place).map(Some),
        _ if !element.inner.is_empty() => Err(invalid(place, "there are elements in it")),
        Shape::Text => Ok(Some(element.text.clone().into())),
        Shape::Word(_) if text.is_empty() => Ok(None),
        Shape::Word(known) if known.contains(&text) => Ok(Some(text.into())),
        Shape::Word(known) => wrong(&format!("none of {}", known.join(", "))),
        Shape::Truth => match text {
            "true" => Ok(Some(true.into())),
            "false" => Ok(Some(false.into())),
            _ => wrong("neither true nor false"),
        },
        Shape::Whole => match text.parse::<i64>() {
            Ok(number) => Ok(Some(number.into())),
            Err(_) => wrong("no whole number"),
        },
        Shape::Fraction => match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Some(number.into())),
            _ => wrong("no number"),
        },
    }
}

fn invalid(place: &str, why: &str) -> Fault {
    Fault::of("InvalidArgument", &format!("{place}: {why}."))
}

fn join(place: &str, name: &str) -> String {
    if place.is_empty() { name.to_string() } else { format!("{place}.{name}") }
}

fn record(element: &Element, shape: &Shape, place: &str) -> Result<Value, Fault> {
    let Shape::Record(members) = shape else { return Ok(Value::Null) };
    let mut map = Map::new();
    for inner in &element.inner {
        let place = join(place, &inner.name);
        let Some(member) = shape.member(&inner.name) else {
            return Err(invalid(&place, "this is not known here"));
        };
        if map.contains_key(member.name) {
            return Err(malformed(&format!("{place} is there twice")));
        }
        if let Some(value) = value(inner, member.shape, &place)? {
            map.insert(member.name.to_string(), value);
        }
    }
    let is_empty = map.get("Quantity").and_then(Value::as_u64) == Some(0);
    for member in *members {
        let may_lack = member.needed == Needed::Maybe || (member.name == "Items" && is_empty);
        if !may_lack && !map.contains_key(member.name) {
            return Err(invalid(&join(place, member.name), "this is needed"));
        }
    }
    Ok(Value::Object(map))
}

fn list(element: &Element, item: &str, shape: &Shape, place: &str) -> Result<Value, Fault> {
    let mut all = Vec::new();
    for (at, inner) in element.inner.iter().enumerate() {
        let place = format!("{place}[{at}]");
        if inner.name != item {
            return Err(invalid(&place, &format!("{} is no {item}", inner.name)));
        }
        all.push(value(inner, shape, &place)?.unwrap_or_default());
    }
    Ok(Value::Array(all))
}

/// Writes a value as a document whose root has this name.
pub fn write(root: &str, shape: &Shape, value: &Value) -> String {
    let mut out = format!("{HEAD}<{root} xmlns=\"{NAMESPACE}\">");
    write_inner(&mut out, shape, value);
    out.push_str(&format!("</{root}>"));
    out
}

fn write_inner(out: &mut String, shape: &Shape, value: &Value) {
    let mut element = |name: &str, shape: &Shape, value: &Value| {
        out.push_str(&format!("<{name}>"));
        write_inner(out, shape, value);
        out.push_str(&format!("</{name}>"));
    };
    match (shape, value) {
        (Shape::Record(members), _) => {
            for member in *members {
                if let Some(value) = value.get(member.name).filter(|value| !value.is_null()) {
                    element(member.name, member.shape, value);
                }
            }
        }
        (Shape::List(name, shape), Value::Array(items)) => {
            items.iter().for_each(|item| element(name, shape, item));
        }
        (_, Value::String(text)) => out.push_str(&escape(text.as_str())),
        (_, Value::Bool(truth)) => out.push_str(if *truth { "true" } else { "false" }),
        (_, Value::Number(number)) => out.push_str(&number.to_string()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloudfront::model;
    use proptest::prelude::*;
    use serde_json::json;

    fn policy(inner: &str) -> Result<Value, Fault> {
        let text = format!(
            "<CachePolicyConfig xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"><MinTTL>1</MinTTL>{inner}</CachePolicyConfig>"
        );
        read(text.as_bytes(), "CachePolicyConfig", &model::CACHE_POLICY_CONFIG)
    }

    fn told(inner: &str) -> String {
        policy(inner).map_or_else(|fault| fault.xml(""), |value| value.to_string())
    }

    #[test]
    fn a_document_comes_back_as_it_went() {
        let names = "<ParametersInCacheKeyAndForwardedToOrigin><HeadersConfig><Headers><Items><Name>A</Name></Items><Quantity>1</Quantity></Headers>\
            <HeaderBehavior>whitelist</HeaderBehavior></HeadersConfig><EnableAcceptEncodingGzip>true</EnableAcceptEncodingGzip>\
            <CookiesConfig><CookieBehavior>none</CookieBehavior></CookiesConfig>\
            <QueryStringsConfig><QueryStringBehavior>all</QueryStringBehavior></QueryStringsConfig></ParametersInCacheKeyAndForwardedToOrigin>";
        let value =
            policy(&format!("{names}<Comment> a &amp; b&#13;</Comment><Name>n</Name>")).unwrap();
        let key = &value["ParametersInCacheKeyAndForwardedToOrigin"];
        assert_eq!(value["Comment"], " a & b\r", "text is not trimmed");
        assert_eq!(key["HeadersConfig"]["Headers"], json!({ "Quantity": 1, "Items": ["A"] }));
        assert_eq!((&value["MinTTL"], &key["EnableAcceptEncodingGzip"]), (&json!(1), &json!(true)));
        let text = write("CachePolicyConfig", &model::CACHE_POLICY_CONFIG, &value);
        let again = read(text.as_bytes(), "CachePolicyConfig", &model::CACHE_POLICY_CONFIG);
        assert_eq!(again.unwrap(), value, "{text}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (inner, code, words) in [
            ("<Name>n</Name><Later>1</Later>", "InvalidArgument", "Later: this is not known"),
            ("", "InvalidArgument", "Name: this is needed"),
            ("<Name>n</Name><MaxTTL>x</MaxTTL>", "InvalidArgument", "MaxTTL: &quot;x&quot; is no"),
            ("<Name>n</Name><Name>m</Name>", "MalformedXML", "Name is there twice"),
            ("<Name>n<b/></Name>", "InvalidArgument", "Name: there are elements in it"),
            ("<Name>&#1;</Name>", "MalformedXML", ""),
            ("<Name>&x;</Name>", "MalformedXML", "entity"),
            ("<Name>", "MalformedXML", ""),
            (
                "<ParametersInCacheKeyAndForwardedToOrigin><HeadersConfig><Headers><Quantity>2</Quantity><Items><Name>A</Name></Items></Headers>\
                 </HeadersConfig></ParametersInCacheKeyAndForwardedToOrigin>",
                "InconsistentQuantities",
                "",
            ),
        ] {
            let said = told(inner);
            assert!(
                said.contains(&format!("<Code>{code}</Code>")) && said.contains(words),
                "{said}"
            );
        }
        let read = |body: &str| read(body.as_bytes(), "Tags", &model::TAGS);
        assert_eq!(read(" ").unwrap_err().code, "MissingBody");
        assert_eq!(read("<Other/>").unwrap_err().code, "MalformedXML");
        assert_eq!(read("<!DOCTYPE a><Tags/>").unwrap_err().code, "MalformedXML");
        assert_eq!(read("<Tags><Items/></Tags>").unwrap(), json!({ "Items": [] }));
        assert!(
            write("Tags", &model::TAGS, &json!({ "Items": [] }))
                .ends_with("<Items></Items></Tags>")
        );
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(text in "(<(/?(Tags|Items|Tag|Key|Value|Quantity)|!|\\?|&)[ >a\"=/]{0,3}|[a-z&;#<>0-9]{0,4}){0,20}") {
            let _ = read(text.as_bytes(), "Tags", &model::TAGS);
        }

        #[test]
        fn texts_come_back_as_they_went(text in "[ -~\t\r\nà]{0,40}") {
            let value = json!({ "Items": [{ "Key": text, "Value": "" }] });
            let xml = write("Tags", &model::TAGS, &value);
            prop_assert_eq!(read(xml.as_bytes(), "Tags", &model::TAGS).unwrap(), value);
        }
    }
}
