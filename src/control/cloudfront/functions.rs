//! CloudFront Functions in its API: the calls, what they ask for and what they are answered. What
//! is done is in `function_store`.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Method;
use http::header::IF_MATCH;
use http::request::Parts;
use quick_xml::escape::escape;

use super::batch::{malformed, walk};
use super::calls::parameter;
use super::function_store::{Shown, Tried, Wanted};
use super::rules::TagsSeen;
use super::xml::{Fault, Form, HEAD, NAMESPACE, Said};
use super::{location, page_asked};
use crate::control::Control;
use crate::distribution::stores;
use crate::documents::function::{Stage, arn};
use crate::semantics::time::{Timestamp, format_rfc3339};

/// Most functions of one page.
const PAGE: usize = 100;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Create,
    List,
    Describe,
    Get,
    Update,
    Publish,
    Test,
    Delete,
}

/// An operation, and which function it is about; no name where it is about none yet, or about all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call<'p> {
    verb: Verb,
    name: &'p str,
}

impl<'p> Call<'p> {
    /// The operation of a method and of a path below the API's own, cut at the slashes.
    pub(super) fn of(method: &Method, path: &[&'p str]) -> Option<Self> {
        let ["function", rest @ ..] = path else { return None };
        let (verb, name) = match (method, rest) {
            (&Method::POST, [] | [""]) => (Verb::Create, ""),
            (&Method::GET, [] | [""]) => (Verb::List, ""),
            (&Method::GET, [name]) => (Verb::Get, *name),
            (&Method::GET, [name, "describe"]) => (Verb::Describe, *name),
            (&Method::PUT, [name]) => (Verb::Update, *name),
            (&Method::POST, [name, "publish"]) => (Verb::Publish, *name),
            (&Method::POST, [name, "test"]) => (Verb::Test, *name),
            (&Method::DELETE, [name]) => (Verb::Delete, *name),
            _ => return None,
        };
        Some(Self { verb, name })
    }

    pub(super) const fn action(self) -> &'static str {
        match self.verb {
            Verb::Create => "CreateFunction",
            Verb::List => "ListFunctions",
            Verb::Describe => "DescribeFunction",
            Verb::Get => "GetFunction",
            Verb::Update => "UpdateFunction",
            Verb::Publish => "PublishFunction",
            Verb::Test => "TestFunction",
            Verb::Delete => "DeleteFunction",
        }
    }
}

/// A call, and what came with it.
struct Asked {
    verb: Verb,
    name: String,
    who: String,
    query: Option<String>,
    if_match: Option<String>,
    /// Where what is made is found, but for its name.
    place: String,
    body: Bytes,
}

/// Makes a call of a caller that may.
pub(super) async fn act(
    control: &Arc<Control>,
    parts: &Parts,
    call: Call<'_>,
    who: String,
    body: Bytes,
) -> Result<Said, Fault> {
    let if_match = parts.headers.get(IF_MATCH).and_then(|value| value.to_str().ok());
    let asked = Asked {
        verb: call.verb,
        name: call.name.to_string(),
        who,
        query: parts.uri.query().map(String::from),
        if_match: if_match.map(String::from),
        place: location(control, parts, ""),
        body,
    };
    control.decide(move |control| answered(control, &asked)).await
}

fn answered(control: &Control, asked: &Asked) -> Result<Said, Fault> {
    let Asked { verb, name, who, .. } = asked;
    let if_match = asked.if_match.as_deref();
    let account = control.edge.running().site.admin.account.clone();
    match verb {
        Verb::Create => {
            let (name, wanted) = wanted(&asked.body, "CreateFunctionRequest")?;
            let name = name.ok_or_else(|| invalid("Name is missing."))?;
            let shown = control.create_function(who, &name, &wanted)?;
            let place = Some(format!("{}{name}", asked.place));
            Ok(Said { location: place, ..said(201, &shown, Stage::Development, &account)? })
        }
        Verb::List => list(&control.functions(), &account, asked.query.as_deref()),
        Verb::Describe => said(200, &control.function(name)?, stage_of(asked)?, &account),
        Verb::Get => {
            let (shown, stage) = (control.function(name)?, stage_of(asked)?);
            let coded = shown.stages.at(stage).ok_or_else(unknown)?;
            let (xml, etag) = (coded.code.clone(), shown.version(stage));
            Ok(Said { status: 200, xml, etag, form: Form::Code, ..Said::default() })
        }
        Verb::Update => {
            let (_, wanted) = wanted(&asked.body, "UpdateFunctionRequest")?;
            let shown = control.update_function(who, name, if_match, &wanted)?;
            let said = said(200, &shown, Stage::Development, &account)?;
            Ok(Said { form: Form::Misspelt, ..said })
        }
        Verb::Publish => {
            let shown = control.publish_function(who, name, if_match)?;
            said(200, &shown, Stage::Live, &account)
        }
        Verb::Test => {
            let (stage, event) = test(&asked.body)?;
            let (shown, tried) = control.try_function(name, stage, if_match, &event)?;
            let xml = result(&shown, stage, &tried, &account);
            Ok(Said { status: 200, xml, ..Said::default() })
        }
        Verb::Delete => {
            control.delete_function(who, name, if_match)?;
            Ok(Said { status: 204, ..Said::default() })
        }
    }
}

fn invalid(why: &str) -> Fault {
    Fault::new(400, "InvalidArgument", why)
}

fn unknown() -> Fault {
    Fault::new(404, "NoSuchFunctionExists", "The specified function does not exist.")
}

// ---- what is asked for ----

fn stage(word: &str) -> Result<Stage, Fault> {
    Stage::of(word).ok_or_else(|| invalid("Stage: it is DEVELOPMENT or LIVE."))
}

fn stage_of(asked: &Asked) -> Result<Stage, Fault> {
    match parameter(asked.query.as_deref(), "Stage") {
        None => Ok(Stage::Development),
        Some(word) => stage(&word),
    }
}

fn text_of(body: &[u8]) -> Result<&str, Fault> {
    if body.is_empty() {
        return Err(Fault::new(400, "MissingBody", "This operation requires a body."));
    }
    std::str::from_utf8(body).map_err(|_| malformed("it is not UTF-8"))
}

fn octets(words: &str, what: &str) -> Result<Vec<u8>, Fault> {
    let plain: String = words.split_ascii_whitespace().collect();
    STANDARD.decode(plain).map_err(|_| invalid(&format!("{what}: it is no base64.")))
}

// The name, where one is said, and what is to stand in DEVELOPMENT.
fn wanted(body: &[u8], root: &str) -> Result<(Option<String>, Wanted), Fault> {
    let (mut name, mut code, mut quantity) = (None, None, None);
    let (mut wanted, mut tags) = (Wanted::default(), TagsSeen::default());
    walk(text_of(body)?, |place, words| {
        match below(place, root)? {
            ["Name"] => name = Some(words),
            ["FunctionCode"] => code = Some(octets(&words, "FunctionCode")?),
            ["FunctionConfig", "Comment"] => wanted.comment = words,
            ["FunctionConfig", "Runtime"] => wanted.runtime = words.trim().to_string(),
            ["FunctionConfig", "KeyValueStoreAssociations", "Quantity"] => {
                let said = words.trim().parse::<usize>();
                quantity = Some(said.map_err(|_| malformed("Quantity is no number"))?);
            }
            [
                "FunctionConfig",
                "KeyValueStoreAssociations",
                "Items",
                "KeyValueStoreAssociation",
                "KeyValueStoreARN",
            ] => wanted.stores.push(words.trim().to_string()),
            ["Tags", rest @ ..] if tags.see(rest, &words) => {}
            []
            | ["FunctionConfig"]
            | ["FunctionConfig", "KeyValueStoreAssociations"]
            | ["FunctionConfig", "KeyValueStoreAssociations", "Items"]
            | [
                "FunctionConfig",
                "KeyValueStoreAssociations",
                "Items",
                "KeyValueStoreAssociation",
            ] => {}
            _ => return Err(malformed(&format!("there is an element that a {root} lacks"))),
        }
        Ok(())
    })?;
    if quantity.is_some_and(|said| said != wanted.stores.len()) {
        return Err(Fault::new(
            400,
            "InconsistentQuantities",
            "The value of Quantity and the size of Items don't match.",
        ));
    }
    wanted.code = code.ok_or_else(|| invalid("FunctionCode is missing."))?;
    wanted.tags = tags.done()?;
    Ok((name, wanted))
}

fn below<'p, 'e>(place: &'p [&'e str], root: &str) -> Result<&'p [&'e str], Fault> {
    match place.split_first() {
        Some((first, rest)) if *first == root => Ok(rest),
        _ => Err(malformed(&format!("it is no {root}"))),
    }
}

// The stage and the event of a test.
fn test(body: &[u8]) -> Result<(Stage, Vec<u8>), Fault> {
    let (mut at, mut event) = (Stage::Development, None);
    walk(text_of(body)?, |place, words| {
        match below(place, "TestFunctionRequest")? {
            ["Stage"] => at = stage(words.trim())?,
            ["EventObject"] => event = Some(octets(&words, "EventObject")?),
            [] => {}
            _ => return Err(malformed("there is an element that a TestFunctionRequest lacks")),
        }
        Ok(())
    })?;
    Ok((at, event.ok_or_else(|| invalid("EventObject is missing."))?))
}

// ---- what is answered ----

fn said(status: u16, shown: &Shown, stage: Stage, account: &str) -> Result<Said, Fault> {
    let summary = summary(shown, stage, account, &format!(" xmlns=\"{NAMESPACE}\""));
    let xml = format!("{HEAD}{}", summary.ok_or_else(unknown)?);
    Ok(Said { status, xml, etag: shown.version(stage), ..Said::default() })
}

// A FunctionSummary; `None` where nothing stands in the stage.
fn summary(shown: &Shown, stage: Stage, account: &str, attributes: &str) -> Option<String> {
    let coded = shown.stages.at(stage)?;
    // As AWS tells it: nothing where nothing is associated.
    let stores = coded.store.as_ref().map_or_else(String::new, |store| {
        format!(
            "<KeyValueStoreAssociations><Quantity>1</Quantity><Items><KeyValueStoreAssociation><KeyValueStoreARN>{}</KeyValueStoreARN>\
             </KeyValueStoreAssociation></Items></KeyValueStoreAssociations>",
            escape(stores::arn(account, &store.id).as_str())
        )
    });
    let time = |at: u64| format_rfc3339(Timestamp(at));
    Some(format!(
        "<FunctionSummary{attributes}><Name>{name}</Name><Status>{status}</Status><FunctionConfig><Comment>{comment}</Comment><Runtime>{runtime}</Runtime>\
         {stores}</FunctionConfig><FunctionMetadata><FunctionARN>{arn}</FunctionARN>\
         <Stage>{stage}</Stage><CreatedTime>{created}</CreatedTime><LastModifiedTime>{modified}</LastModifiedTime></FunctionMetadata></FunctionSummary>",
        name = escape(shown.name.as_str()),
        status = shown.status(stage),
        comment = text(&coded.comment),
        runtime = escape(coded.runtime.as_str()),
        arn = escape(arn(account, &shown.name).as_str()),
        stage = stage.word(),
        created = time(coded.created),
        modified = time(coded.modified),
    ))
}

// What code writes may hold what XML has no way to say.
fn text(words: &str) -> String {
    let sayable = |c: char| {
        if c.is_control() && !matches!(c, '\t' | '\n' | '\r')
            || matches!(c, '\u{fffe}' | '\u{ffff}')
        {
            '\u{fffd}'
        } else {
            c
        }
    };
    let plain: String = words.chars().map(sayable).collect();
    escape(plain.as_str()).into_owned()
}

fn result(shown: &Shown, stage: Stage, tried: &Tried, account: &str) -> String {
    let lines = tried.lines.iter().map(|line| format!("<member>{}</member>", text(line)));
    let lines: String = lines.collect();
    format!(
        "{HEAD}<TestResult xmlns=\"{NAMESPACE}\">{}<ComputeUtilization>{}</ComputeUtilization><FunctionExecutionLogs>{lines}</FunctionExecutionLogs>\
         <FunctionErrorMessage>{}</FunctionErrorMessage><FunctionOutput>{}</FunctionOutput></TestResult>",
        summary(shown, stage, account, "").unwrap_or_default(),
        tried.utilisation,
        text(&tried.error),
        text(&tried.output),
    )
}

// Each function in each of its stages, or in one of them.
fn list(all: &[Shown], account: &str, query: Option<&str>) -> Result<Said, Fault> {
    let (marker, most) = page_asked(query, PAGE)?;
    let most = most.min(PAGE);
    let only = match parameter(query, "Stage").as_deref() {
        None | Some("") => None,
        Some(word) => Some(stage(word)?),
    };
    let stages = Stage::ALL.into_iter().filter(|stage| only.is_none_or(|only| only == *stage));
    let stages: Vec<Stage> = stages.collect();
    let mut rest = all
        .iter()
        .flat_map(|shown| stages.iter().map(move |stage| (shown, *stage)))
        .filter_map(|(shown, stage)| {
            let key = format!("{}#{}", shown.name, stage.word());
            Some((key, summary(shown, stage, account, "")?))
        })
        .filter(|(key, _)| *key > marker);
    let page: Vec<(String, String)> = rest.by_ref().take(most).collect();
    let next = match page.last().filter(|_| rest.next().is_some()) {
        Some((key, _)) => format!("<NextMarker>{}</NextMarker>", escape(key.as_str())),
        None => String::new(),
    };
    let count = page.len();
    let items: String = page.into_iter().map(|(_, item)| item).collect();
    let items = if items.is_empty() { items } else { format!("<Items>{items}</Items>") };
    let xml = format!(
        "{HEAD}<FunctionList xmlns=\"{NAMESPACE}\">{next}<MaxItems>{most}</MaxItems><Quantity>{count}</Quantity>{items}</FunctionList>"
    );
    Ok(Said { status: 200, xml, ..Said::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::function::{Coded, FunctionStages};

    #[test]
    fn calls_are_found_by_method_and_path() {
        for (method, path, want) in [
            (Method::POST, "function", Some("CreateFunction")),
            (Method::GET, "function", Some("ListFunctions")),
            (Method::GET, "function/f", Some("GetFunction")),
            (Method::GET, "function/f/describe", Some("DescribeFunction")),
            (Method::PUT, "function/f", Some("UpdateFunction")),
            (Method::POST, "function/f/publish", Some("PublishFunction")),
            (Method::POST, "function/f/test", Some("TestFunction")),
            (Method::DELETE, "function/f", Some("DeleteFunction")),
            (Method::POST, "function/f", None),
            (Method::GET, "functions", None),
        ] {
            let parts: Vec<&str> = path.split('/').collect();
            let got = Call::of(&method, &parts).map(Call::action);
            assert_eq!(got, want, "{method} {path}");
        }
    }

    #[test]
    fn bodies_are_read_as_the_tools_write_them() {
        let root = "CreateFunctionRequest";
        let arn = "arn:aws:cloudfront::000000000177:key-value-store/0b5f";
        let config = format!(
            "<FunctionConfig><Comment>a &amp; b</Comment><Runtime>cloudfront-js-2.0</Runtime><KeyValueStoreAssociations><Quantity>1</Quantity>\
             <Items><KeyValueStoreAssociation><KeyValueStoreARN>{arn}</KeyValueStoreARN></KeyValueStoreAssociation></Items></KeyValueStoreAssociations></FunctionConfig>"
        );
        let whole = |inner: &str| format!("<{root} xmlns=\"{NAMESPACE}\">{inner}</{root}>");
        let code = "<FunctionCode>YWJj\nZA==</FunctionCode>";
        let tags = "<Tags><Items><Tag><Key>team</Key><Value>edge</Value></Tag></Items></Tags>";
        let body = whole(&format!("<Name>f</Name>{config}{tags}{code}"));
        let read = super::wanted(body.as_bytes(), root).unwrap();
        let want = Wanted {
            comment: "a & b".into(),
            runtime: "cloudfront-js-2.0".into(),
            stores: vec![arn.to_string()],
            code: b"abcd".to_vec(),
            tags: [("team".to_string(), "edge".to_string())].into(),
        };
        assert_eq!(read, (Some("f".into()), want));
        for (inner, code) in [
            (config.clone(), "InvalidArgument"),
            (format!("<FunctionCode>?</FunctionCode>{config}"), "InvalidArgument"),
            (format!("{code}<More/>"), "MalformedXML"),
            (format!("{code}<Tags><More/></Tags>"), "MalformedXML"),
            (format!("{code}{}", tags.replace("team", "aws:team")), "InvalidTagging"),
            (format!("{code}{}", config.replace(">1<", ">2<")), "InconsistentQuantities"),
        ] {
            let fault = super::wanted(whole(&inner).as_bytes(), root).unwrap_err();
            assert_eq!(fault.code, code, "{inner}");
        }
        let update = super::wanted(whole(code).as_bytes(), "UpdateFunctionRequest");
        assert_eq!(update.unwrap_err().code, "MalformedXML");
        assert_eq!(super::wanted(b"", root).unwrap_err().code, "MissingBody");
        let asked = "<TestFunctionRequest><Stage>LIVE</Stage><EventObject>e30=</EventObject></TestFunctionRequest>";
        assert_eq!(test(asked.as_bytes()).unwrap(), (Stage::Live, b"{}".to_vec()));
        let other = asked.replace("LIVE", "live");
        assert_eq!(test(other.as_bytes()).unwrap_err().code, "InvalidArgument");
    }

    #[test]
    fn lists_go_on_where_they_ended() {
        let coded = Coded {
            comment: "<\u{1}>".into(),
            runtime: "cloudfront-js-2.0".into(),
            store: None,
            code: "x".into(),
            created: 0,
            modified: 0,
            number: 1,
        };
        let stages = FunctionStages { development: coded, live: None };
        let one = |name: &str, stages: &FunctionStages| Shown {
            name: name.into(),
            stages: stages.clone(),
            users: Vec::new(),
        };
        let all = [one("a", &stages.published(1)), one("a-b", &stages)];
        let listed = |query: &str| list(&all, "000000000177", Some(query)).unwrap().xml;
        let first = listed("MaxItems=2");
        assert!(first.contains("<NextMarker>a#LIVE</NextMarker>"), "{first}");
        assert!(first.contains("<Stage>DEVELOPMENT</Stage>") && first.contains("&lt;\u{fffd}&gt;"));
        let second = listed("MaxItems=2&Marker=a%23LIVE");
        assert!(second.contains("<Quantity>1</Quantity>") && second.contains("<Name>a-b</Name>"));
        assert!(!second.contains("NextMarker"), "{second}");
        let live = listed("Stage=LIVE");
        assert!(live.contains("<Quantity>1</Quantity>") && !live.contains("DEVELOPMENT"));
        assert!(list(&all, "0", Some("Stage=BOTH")).is_err());
    }
}
