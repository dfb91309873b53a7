//! What a call gave back, out of what `event.js` makes of it: a text where nothing but the URI
//! differs, or a list, of which a number says what comes, then follows that itself.

use rquickjs::{Array, FromJs, Value};

use super::reads::Reads;
use super::told::{Entry, Part, Told};
use crate::functions::event::{
    BodyOut, CallFailure, CookieOut, FieldOut, OriginChoice, QueryOut, RequestOut, ResponseOut,
    Returned,
};

/// What is wanted at a place of the value, by the number that `event.js` has for it; after "must be".
const WANTED: [&str; 9] = [
    "text",
    "an object with an entry for each name",
    "an object with a value",
    "a list",
    "a number",
    "a request or a response",
    "a response",
    "text, or an object with encoding and data",
    "\"text\" or \"base64\"",
];

/// What the call was told, and what it read of that. Where not all of a list came back, the rest is
/// read here.
#[derive(Clone, Copy)]
pub struct Given<'t> {
    pub told: &'t Told,
    pub reads: &'t Reads,
}

/// The list, as far as it is read.
struct Out<'js> {
    all: Array<'js>,
    at: usize,
}

impl<'js> Out<'js> {
    fn next<T: FromJs<'js>>(&mut self) -> rquickjs::Result<T> {
        let value = self.all.get(self.at);
        self.at += 1;
        value
    }

    fn count(&mut self) -> rquickjs::Result<usize> {
        let count: i32 = self.next()?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    fn text(&mut self) -> rquickjs::Result<String> {
        self.next()
    }

    // Names, each with its values of `width` texts.
    fn entries(&mut self, width: usize) -> rquickjs::Result<Vec<Entry>> {
        let names = self.count()?;
        let mut all = Vec::new();
        for _ in 0..names {
            let name = self.text()?;
            let values = self.count()?;
            let mut texts = Vec::new();
            for _ in 0..values * width {
                texts.push(self.text()?);
            }
            all.push((name, texts));
        }
        Ok(all)
    }

    // The same of a part of which only these names came back; `None` if they are what was told.
    fn changed(
        &mut self,
        width: usize,
        given: Given<'_>,
        part: Part,
    ) -> rquickjs::Result<Option<Vec<Entry>>> {
        given.reads.note_all(part);
        Ok(given.told.changed(part, self.entries(width)?))
    }
}

fn fields(all: Vec<Entry>) -> Vec<FieldOut> {
    all.into_iter().map(|(name, values)| FieldOut { name, values }).collect()
}

fn query(all: Vec<Entry>) -> QueryOut {
    let pairs = all
        .into_iter()
        .flat_map(|(name, values)| values.into_iter().map(move |value| (name.clone(), value)));
    QueryOut::Pairs(pairs.collect())
}

fn request_cookies(all: Vec<Entry>) -> Vec<CookieOut> {
    let cookies = all.into_iter().flat_map(|(name, values)| {
        let cookie = move |value| CookieOut { name: name.clone(), value, attributes: None };
        values.into_iter().map(cookie)
    });
    cookies.collect()
}

fn response_cookies(all: Vec<Entry>) -> Vec<CookieOut> {
    all.into_iter().flat_map(|(name, texts)| cookies(&name, texts)).collect()
}

/// Reads what came back, with the origin that the code chose beside it. `Error::Utf8` says that a
/// text has to be made well formed first.
pub fn read(
    value: Value<'_>,
    origin: Option<OriginChoice>,
    given: Given<'_>,
) -> rquickjs::Result<Result<Returned, CallFailure>> {
    if let Some(uri) = value.as_string() {
        let uri = Some(uri.to_string()?);
        return Ok(Ok(Returned::Request(Box::new(RequestOut {
            uri,
            origin,
            ..RequestOut::default()
        }))));
    }
    let Some(all) = value.into_array() else {
        // Zero: nothing differs from what the code was given.
        return Ok(Ok(match origin {
            None => Returned::Unchanged,
            Some(_) => Returned::Request(Box::new(RequestOut { origin, ..RequestOut::default() })),
        }));
    };
    let end = all.len();
    let mut out = Out { all, at: 0 };
    Ok(match out.next::<i32>()? {
        1 => {
            let request = request(&mut out, end, origin, given)?;
            let is_same = request == RequestOut::default();
            Ok(if is_same { Returned::Unchanged } else { Returned::Request(Box::new(request)) })
        }
        2 => {
            let response = response(&mut out, end, given)?;
            let is_same = response == ResponseOut::default();
            Ok(if is_same { Returned::Unchanged } else { Returned::Response(response) })
        }
        _ => Err(wrong(&mut out)?),
    })
}

fn request(
    out: &mut Out<'_>,
    end: usize,
    origin: Option<OriginChoice>,
    given: Given<'_>,
) -> rquickjs::Result<RequestOut> {
    let mut request = RequestOut { origin, ..RequestOut::default() };
    while out.at < end {
        match out.next::<i32>()? {
            1 => request.method = Some(out.text()?),
            2 => request.uri = Some(out.text()?),
            3 => request.query = Some(QueryOut::Text(out.text()?)),
            4 => request.query = Some(query(out.entries(1)?)),
            5 => request.headers = Some(fields(out.entries(1)?)),
            6 => request.cookies = Some(request_cookies(out.entries(1)?)),
            14 => request.query = out.changed(1, given, Part::Query)?.map(query),
            15 => request.changed = Some(fields(out.entries(1)?)),
            _ => request.cookies = out.changed(1, given, Part::Cookies)?.map(request_cookies),
        }
    }
    Ok(request)
}

fn response(out: &mut Out<'_>, end: usize, given: Given<'_>) -> rquickjs::Result<ResponseOut> {
    let mut response = ResponseOut::default();
    while out.at < end {
        match out.next::<i32>()? {
            5 => response.headers = Some(fields(out.entries(1)?)),
            6 => response.cookies = Some(response_cookies(out.entries(2)?)),
            7 => response.status = Some(out.next::<f64>()?),
            8 => response.status_description = Some(out.text()?),
            9 => response.body = Some(BodyOut::Text(out.text()?)),
            10 => response.body = Some(BodyOut::Base64(out.text()?)),
            15 => response.changed = Some(fields(out.entries(1)?)),
            _ => response.cookies = out.changed(2, given, Part::Set)?.map(response_cookies),
        }
    }
    Ok(response)
}

/// What came back with all its headers, in the place of those that differ from what was told.
pub fn whole(returned: Returned, told: &Told) -> Returned {
    let all = |part: Part, changed: Vec<FieldOut>| {
        let entries = changed.into_iter().map(|field| (field.name, field.values));
        told.changed(part, entries.collect()).map(fields)
    };
    let returned = match returned {
        Returned::Request(mut out) => {
            if let Some(changed) = out.changed.take() {
                out.headers = all(Part::Headers, changed);
            }
            Returned::Request(out)
        }
        Returned::Response(mut out) => {
            if let Some(changed) = out.changed.take() {
                out.headers = all(Part::Answered, changed);
            }
            Returned::Response(out)
        }
        Returned::Unchanged => Returned::Unchanged,
    };
    let is_same = match &returned {
        Returned::Request(out) => **out == RequestOut::default(),
        Returned::Response(out) => *out == ResponseOut::default(),
        Returned::Unchanged => true,
    };
    if is_same { Returned::Unchanged } else { returned }
}

// Values and attributes in turn; without attributes there is an empty text.
fn cookies(name: &str, texts: Vec<String>) -> Vec<CookieOut> {
    let mut texts = texts.into_iter();
    let mut all = Vec::new();
    while let (Some(value), Some(attributes)) = (texts.next(), texts.next()) {
        let attributes = Some(attributes).filter(|attributes| !attributes.is_empty());
        all.push(CookieOut { name: name.to_string(), value, attributes });
    }
    all
}

fn wrong(out: &mut Out<'_>) -> rquickjs::Result<CallFailure> {
    let path = out.text()?;
    let wanted = WANTED.get(out.count()?).copied().unwrap_or("something else");
    Ok(CallFailure::WrongShape { path, wanted, found: out.text()? })
}
