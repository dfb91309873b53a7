//! Pure: about how many octets a result takes that is remembered. Everything that code may make as
//! long as it likes is counted.

use crate::functions::event::{
    BodyOut, FieldOut, OriginChoice, OriginOverrides, QueryOut, RequestOut, ResponseOut, Returned,
};
use crate::functions::rules::{Change, RequestChange, ResponseChange};

/// What a result takes beside its texts.
const RESULT: usize = 256;
/// The same of a text in a list.
const TEXT: usize = 32;

/// Of what the rules made of a call.
pub fn of_change(change: &Change) -> usize {
    match change {
        Change::Nothing => 0,
        Change::Request(request) => {
            let RequestChange { uri, query, fields, origin } = &**request;
            let query = query.iter().flatten().map(String::len).sum::<usize>();
            let fields = fields.as_ref().map_or(0, |fields| 2 * fields.lines_len());
            RESULT + text(uri) + query + fields + origin.as_ref().map_or(0, of_origin)
        }
        Change::Response(response) => {
            let ResponseChange { fields, body, status: _ } = &**response;
            let fields = fields.as_ref().map_or(0, |fields| 2 * fields.lines_len());
            RESULT + fields + body.as_ref().map_or(0, bytes::Bytes::len)
        }
    }
}

/// Of what a call gave back.
pub fn of_returned(returned: &Returned) -> usize {
    match returned {
        Returned::Unchanged => 0,
        Returned::Request(out) => of_request(out),
        Returned::Response(out) => of_response(out),
    }
}

fn of_request(out: &RequestOut) -> usize {
    let RequestOut { method, uri, query, headers, changed, cookies, origin } = out;
    let query: usize = match query {
        Some(QueryOut::Text(text)) => text.len(),
        Some(QueryOut::Pairs(pairs)) => {
            pairs.iter().map(|(name, value)| 2 * TEXT + name.len() + value.len()).sum()
        }
        None => 0,
    };
    let cookies = cookies.iter().flatten();
    let cookies: usize = cookies.map(|one| 3 * TEXT + one.name.len() + one.value.len()).sum();
    let origin = origin.as_ref().map_or(0, of_origin);
    RESULT + text(method) + text(uri) + query + of_fields([headers, changed]) + cookies + origin
}

fn of_response(out: &ResponseOut) -> usize {
    let ResponseOut { status: _, status_description, headers, changed, cookies, body } = out;
    let body = match body {
        Some(BodyOut::Text(text) | BodyOut::Base64(text)) => text.len(),
        None => 0,
    };
    let cookies = cookies
        .iter()
        .flatten()
        .map(|one| 3 * TEXT + one.name.len() + one.value.len() + text(&one.attributes));
    let cookies = cookies.sum::<usize>();
    RESULT + text(status_description) + of_fields([headers, changed]) + cookies + body
}

fn of_fields(lists: [&Option<Vec<FieldOut>>; 2]) -> usize {
    let of = |field: &FieldOut| {
        let values: usize = field.values.iter().map(|value| TEXT + value.len()).sum();
        2 * TEXT + field.name.len() + values
    };
    lists.into_iter().flatten().flatten().map(of).sum()
}

fn of_origin(choice: &OriginChoice) -> usize {
    match choice {
        OriginChoice::Update(overrides) => of_overrides(overrides),
        OriginChoice::Select { id, overrides } => id.len() + of_overrides(overrides),
        OriginChoice::Group { members, statuses } => {
            let members = members.iter().map(|(id, overrides)| id.len() + of_overrides(overrides));
            members.sum::<usize>() + 2 * statuses.len()
        }
    }
}

fn of_overrides(of: &OriginOverrides) -> usize {
    let texts = [&of.domain_name, &of.host_header, &of.origin_path, &of.protocol, &of.sni];
    let texts: usize = texts.into_iter().map(text).sum();
    let lists = [&of.tls_protocols, &of.allowed_certificate_names];
    let lists = lists.into_iter().flatten().flatten().map(|text| TEXT + text.len());
    let headers = of.custom_headers.iter().flatten();
    let headers = headers.map(|(name, value)| 2 * TEXT + name.len() + value.len());
    let access = of.access_control.iter().flatten();
    let access = access.map(|access| access.signing_behavior.len() + access.origin_type.len());
    size_of::<OriginOverrides>() + texts + lists.chain(headers).chain(access).sum::<usize>()
}

fn text(of: &Option<String>) -> usize {
    of.as_ref().map_or(0, String::len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::event::{AccessControlOut, CookieOut};

    const LONG: usize = 10_000;

    fn long() -> String {
        "x".repeat(LONG)
    }

    fn cookie(attributes: Option<String>) -> CookieOut {
        CookieOut { name: "n".into(), value: "v".into(), attributes }
    }

    fn field() -> Vec<FieldOut> {
        vec![FieldOut { name: "n".into(), values: vec!["v".into(), long()] }]
    }

    #[test]
    fn what_code_may_make_long_is_counted_in_requests() {
        let with = |out: RequestOut| Returned::Request(Box::new(out));
        let plain = RequestOut::default;
        let chosen = |choice| RequestOut { origin: Some(choice), ..plain() };
        let of = OriginOverrides::default;
        let access = AccessControlOut { signing_behavior: long(), origin_type: String::new() };
        let cookies = vec![CookieOut { value: long(), ..cookie(None) }];
        let pairs = vec![("n".to_string(), long())];
        for out in [
            RequestOut { method: Some(long()), ..plain() },
            RequestOut { uri: Some(long()), ..plain() },
            RequestOut { query: Some(QueryOut::Text(long())), ..plain() },
            RequestOut { query: Some(QueryOut::Pairs(pairs.clone())), ..plain() },
            RequestOut { headers: Some(field()), ..plain() },
            RequestOut { changed: Some(field()), ..plain() },
            RequestOut { cookies: Some(cookies), ..plain() },
            chosen(OriginChoice::Select { id: long(), overrides: of() }),
            chosen(OriginChoice::Group { members: vec![(long(), of())], statuses: vec![500] }),
            chosen(OriginChoice::Update(OriginOverrides { sni: Some(long()), ..of() })),
            chosen(OriginChoice::Update(OriginOverrides { custom_headers: Some(pairs), ..of() })),
            chosen(OriginChoice::Update(OriginOverrides {
                allowed_certificate_names: Some(vec![long()]),
                ..of()
            })),
            chosen(OriginChoice::Update(OriginOverrides {
                access_control: Some(Some(access)),
                ..of()
            })),
        ] {
            let weight = of_returned(&with(out.clone()));
            assert!((LONG..LONG + 2_000).contains(&weight), "{weight}: {out:?}");
        }
        let choice = OriginChoice::Select { id: long(), overrides: of() };
        let change = RequestChange { origin: Some(choice), ..RequestChange::default() };
        assert!(of_change(&Change::Request(Box::new(change))) > LONG);
    }

    #[test]
    fn what_code_may_make_long_is_counted_in_responses() {
        let plain = ResponseOut::default;
        for out in [
            ResponseOut { status_description: Some(long()), ..plain() },
            ResponseOut { headers: Some(field()), ..plain() },
            ResponseOut { changed: Some(field()), ..plain() },
            ResponseOut { cookies: Some(vec![cookie(Some(long()))]), ..plain() },
            ResponseOut { body: Some(BodyOut::Text(long())), ..plain() },
            ResponseOut { body: Some(BodyOut::Base64(long())), ..plain() },
        ] {
            let weight = of_returned(&Returned::Response(out.clone()));
            assert!((LONG..LONG + 2_000).contains(&weight), "{weight}: {out:?}");
        }
        assert_eq!(of_returned(&Returned::Unchanged), 0);
    }
}
