//! What a call gave back, out of the list that `event.js` makes of it: a number for what comes,
//! then that itself.

use rquickjs::{Array, FromJs, Value};

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
    fn entries(&mut self, width: usize) -> rquickjs::Result<Vec<(String, Vec<String>)>> {
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

    fn fields(&mut self) -> rquickjs::Result<Vec<FieldOut>> {
        let all = self.entries(1)?;
        Ok(all.into_iter().map(|(name, values)| FieldOut { name, values }).collect())
    }
}

/// Reads what came back, with the origin that the code chose beside it.
pub fn read(
    value: Value<'_>,
    origin: Option<OriginChoice>,
) -> rquickjs::Result<Result<Returned, CallFailure>> {
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
        1 => Ok(Returned::Request(Box::new(request(&mut out, end, origin)?))),
        2 => Ok(Returned::Response(response(&mut out, end)?)),
        _ => Err(wrong(&mut out)?),
    })
}

fn request(
    out: &mut Out<'_>,
    end: usize,
    origin: Option<OriginChoice>,
) -> rquickjs::Result<RequestOut> {
    let mut request = RequestOut { origin, ..RequestOut::default() };
    while out.at < end {
        match out.next::<i32>()? {
            1 => request.method = Some(out.text()?),
            2 => request.uri = Some(out.text()?),
            3 => request.query = Some(QueryOut::Text(out.text()?)),
            4 => {
                let pairs = out.entries(1)?.into_iter().flat_map(|(name, values)| {
                    values.into_iter().map(move |value| (name.clone(), value))
                });
                request.query = Some(QueryOut::Pairs(pairs.collect()));
            }
            5 => request.headers = Some(out.fields()?),
            _ => {
                let pairs = out.entries(1)?.into_iter().flat_map(|(name, values)| {
                    let cookie =
                        move |value| CookieOut { name: name.clone(), value, attributes: None };
                    values.into_iter().map(cookie)
                });
                request.cookies = Some(pairs.collect());
            }
        }
    }
    Ok(request)
}

fn response(out: &mut Out<'_>, end: usize) -> rquickjs::Result<ResponseOut> {
    let mut response = ResponseOut::default();
    while out.at < end {
        match out.next::<i32>()? {
            5 => response.headers = Some(out.fields()?),
            6 => {
                let all = out.entries(2)?;
                response.cookies =
                    Some(all.into_iter().flat_map(|(name, texts)| cookies(&name, texts)).collect());
            }
            7 => response.status = Some(out.next::<f64>()?),
            8 => response.status_description = Some(out.text()?),
            9 => response.body = Some(BodyOut::Text(out.text()?)),
            _ => response.body = Some(BodyOut::Base64(out.text()?)),
        }
    }
    Ok(response)
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
