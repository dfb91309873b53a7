//! The rules on returned values, as tables.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::functions::event::{
    CookieOut, FieldOut, IdFacts, QueryOut, RequestFacts, ResponseFacts,
};
use crate::message::request::Fields;

fn section(lines: &[(&str, &[u8])]) -> FieldSection {
    let mut fields = FieldSection::new();
    lines.iter().for_each(|(name, value)| fields.push(*name, value));
    fields
}

const SHOWN: &[(&str, &[u8])] = &[
    ("Host", b"h.test"),
    ("Accept", b"text/html"),
    ("X-Two", b"a"),
    ("X-Odd", b"caf\xe9"),
    ("X-Two", b"b"),
    ("Cookie", b"a=1; b=2"),
    ("Connection", b"keep-alive"),
];

fn event<'e>(fields: &'e FieldSection, response: Option<ResponseFacts<'e>>) -> Event<'e> {
    Event {
        place: if response.is_some() { Place::ViewerResponse } else { Place::ViewerRequest },
        domain_name: None,
        distribution_id: "E1",
        request_id: IdFacts::Text("id"),
        viewer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        request: RequestFacts {
            method: "GET",
            uri: b"/a",
            query: Some(b"x=1"),
            fields: Fields::Section(fields),
            extra: &[("cloudfront-viewer-country", b"DE")],
        },
        response,
        edge: None,
    }
}

fn field(name: &str, values: &[&str]) -> FieldOut {
    let values = values.iter().map(|value| (*value).into()).collect();
    FieldOut { name: name.into(), values }
}

// What code returns that touched the fields and changed none of them.
fn untouched() -> Vec<FieldOut> {
    vec![
        field("host", &["h.test"]),
        field("accept", &["text/html"]),
        field("x-two", &["a", "b"]),
        field("x-odd", &["café"]),
        field("cloudfront-viewer-country", &["DE"]),
    ]
}

fn judged(out: RequestOut) -> Result<Change, Invalid> {
    judge(&event(&section(SHOWN), None), &Returned::Request(Box::new(out)))
}

fn with_headers(headers: Vec<FieldOut>) -> Result<Change, Invalid> {
    judged(RequestOut { headers: Some(headers), ..RequestOut::default() })
}

#[test]
fn fields_that_did_not_come_back_stay_where_only_changed_ones_did() {
    let changed = |changed: Vec<FieldOut>| {
        judged(RequestOut { changed: Some(changed), ..RequestOut::default() })
    };
    for (some, place) in [
        (vec![field("accept", &["a/b"])], 1),
        (vec![field("x-two", &["c"])], 2),
        (vec![field("x-new", &["c"])], 5),
        (vec![field("host", &["h.test"])], 0),
        (vec![field("host", &["other"])], 0),
        (vec![field("x-odd", &[])], 3),
        (vec![field("X-Up", &["c"])], 5),
        (vec![field("connection", &["close"])], 5),
        (vec![field("cloudfront-viewer-country", &["FR"])], 4),
    ] {
        let mut all = untouched();
        match all.get_mut(place) {
            Some(field) => *field = some[0].clone(),
            None => all.push(some[0].clone()),
        }
        assert_eq!(changed(some), with_headers(all));
    }
}

fn fields_of(change: Result<Change, Invalid>) -> Vec<(String, Vec<u8>)> {
    let Ok(Change::Request(change)) = change else { panic!("{change:?}") };
    let fields = change.fields.unwrap();
    fields.iter().map(|(name, value)| (name.spelled().into(), value.as_bytes().into())).collect()
}

#[test]
fn what_is_touched_and_left_as_it_was_is_no_change() {
    assert_eq!(with_headers(untouched()), Ok(Change::Nothing));
    let cookie = |name: &str, value: &str| CookieOut {
        name: name.into(),
        value: value.into(),
        attributes: None,
    };
    let cookies = Some(vec![cookie("a", "1"), cookie("b", "2")]);
    let query = Some(QueryOut::Pairs(vec![("x".into(), "1".into())]));
    let out = RequestOut {
        method: Some("GET".into()),
        uri: Some("/a".into()),
        query,
        headers: Some(untouched()),
        changed: None,
        cookies,
        origin: None,
    };
    assert_eq!(judged(out), Ok(Change::Nothing));
    assert_eq!(judge(&event(&section(SHOWN), None), &Returned::Unchanged), Ok(Change::Nothing));
}

#[test]
fn changed_lines_are_utf8_and_all_others_keep_their_octets() {
    let mut headers = untouched();
    headers[1] = field("accept", &["ü", "b"]);
    headers.remove(2);
    headers.push(field("x-new-one", &[" v "]));
    let line = |name: &str, value: &[u8]| (name.to_string(), value.to_vec());
    assert_eq!(
        fields_of(with_headers(headers)),
        [
            line("Host", b"h.test"),
            line("Accept", "ü".as_bytes()),
            line("Accept", b"b"),
            line("X-Odd", b"caf\xe9"),
            line("Cookie", b"a=1; b=2"),
            line("Connection", b"keep-alive"),
            line("X-New-One", b"v"),
        ]
    );
}

#[test]
fn cookies_become_one_line() {
    let cookie = |name: &str, value: &str| CookieOut {
        name: name.into(),
        value: value.into(),
        attributes: None,
    };
    let of = |cookies: Vec<CookieOut>| {
        let made = judged(RequestOut { cookies: Some(cookies), ..RequestOut::default() });
        let all = fields_of(made).into_iter().filter(|(name, _)| name == "Cookie");
        all.map(|(_, value)| String::from_utf8(value).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(of(vec![cookie("a", "1"), cookie("c", "ü")]), ["a=1; c=ü"]);
    assert_eq!(of(vec![]), [""; 0]);
    for (name, value) in [("", "1"), ("a b", "1"), ("a", "1;2"), ("a", "1\r\n"), ("a=", "")] {
        let cookies = Some(vec![cookie(name, value)]);
        assert!(judged(RequestOut { cookies, ..RequestOut::default() }).is_err(), "{name} {value}");
    }
}

#[test]
fn what_may_not_be_changed_says_so_by_name() {
    let with = |more: FieldOut| {
        let mut headers = untouched();
        headers.retain(|known| known.name != more.name);
        headers.push(more);
        headers
    };
    let without = |name: &str| {
        let mut headers = untouched();
        headers.retain(|known| known.name != name);
        headers
    };
    for (headers, rule) in [
        (with(field("host", &["other.test"])), "must not change the read-only header host"),
        (without("host"), "must not change the read-only header host"),
        (with(field("via", &["1.1 x"])), "must not change the read-only header via"),
        (with(field("cdn-loop", &["x"])), "must not change the read-only header cdn-loop"),
        (with(field("connection", &["close"])), "must not have the disallowed header connection"),
        (with(field("x-edge-a", &["1"])), "must not have the disallowed header x-edge-a"),
        (with(field("X-Upper", &["1"])), "must have header names in lower case"),
        (with(field("a b", &["1"])), "must have names that are valid header names"),
        (
            with(field("x-a", &["1\r\nx: 2"])),
            "must not have line breaks or other control characters",
        ),
        (with(field("x-a", &[&"a".repeat(41_000)])), "must have at most 40,960 octets"),
    ] {
        let why = with_headers(headers).unwrap_err();
        assert_eq!(why.rule, rule);
        assert!(why.path.starts_with("request.headers"), "{}", why.path);
    }
    let method = Some("POST".to_string());
    assert!(judged(RequestOut { method, ..RequestOut::default() }).is_err());
    let uri = Some(format!("/{}", "a".repeat(8190)));
    assert!(judged(RequestOut { uri, ..RequestOut::default() }).is_err());
}

fn responded(lines: &[(&str, &[u8])], out: ResponseOut) -> Result<Change, Invalid> {
    let (request, response) = (section(SHOWN), section(lines));
    let facts = ResponseFacts { status: 200, fields: Fields::Section(&response) };
    judge(&event(&request, Some(facts)), &Returned::Response(out))
}

const ANSWER: &[(&str, &[u8])] = &[
    ("Content-Type", b"text/html"),
    ("Content-Encoding", b"gzip"),
    ("ETag", b"\"1\""),
    ("Set-Cookie", b"a=1; Path=/"),
    ("Set-Cookie", b"b=\xe9"),
    ("Via", b"1.1 x"),
];

#[test]
fn a_new_body_leaves_nothing_of_what_described_the_old_one() {
    let body = Some(BodyOut::Base64("aGk".into()));
    let out = ResponseOut { body, ..ResponseOut::default() };
    let Ok(Change::Response(change)) = responded(ANSWER, out) else { panic!() };
    assert_eq!(change.body.as_deref(), Some(&b"hi"[..]));
    assert_eq!(change.status, None);
    let fields = change.fields.unwrap();
    assert!(!fields.contains("etag") && !fields.contains("content-encoding"));
    assert_eq!(fields.get_all("set-cookie").count(), 2);
}

#[test]
fn set_cookie_lines_keep_their_octets_and_take_attributes() {
    let cookie = |name: &str, value: &str, attributes: Option<&str>| CookieOut {
        name: name.into(),
        value: value.into(),
        attributes: attributes.map(Into::into),
    };
    let of = |cookies: Vec<CookieOut>| {
        let out = ResponseOut { cookies: Some(cookies), ..ResponseOut::default() };
        match responded(ANSWER, out) {
            Ok(Change::Response(change)) => Some(
                change
                    .fields
                    .unwrap()
                    .get_all("set-cookie")
                    .map(|value| value.as_bytes().to_vec())
                    .collect::<Vec<_>>(),
            ),
            Ok(Change::Nothing) => None,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(of(vec![cookie("a", "1", Some("Path=/")), cookie("b", "é", None)]), None);
    assert_eq!(
        of(vec![cookie("b", "é", Some("")), cookie("c", "3", Some("Secure; Path=/"))]),
        Some(vec![b"b=\xe9".to_vec(), b"c=3; Secure; Path=/".to_vec()])
    );
}

#[test]
fn a_status_is_a_whole_number_and_204_has_no_body() {
    for (status, is_good) in [
        (200.0, true),
        (599.0, true),
        (404.0, true),
        (199.0, false),
        (600.0, false),
        (200.5, false),
        (f64::NAN, false),
        (f64::INFINITY, false),
        (-200.0, false),
    ] {
        let out = ResponseOut { status: Some(status), ..ResponseOut::default() };
        let made = judge(&event(&section(SHOWN), None), &Returned::Response(out));
        assert_eq!(made.is_ok(), is_good, "{status}");
    }
    let body = Some(BodyOut::Text("x".into()));
    let out = ResponseOut { status: Some(204.0), body, ..ResponseOut::default() };
    assert!(responded(ANSWER, out).is_err());
    let body = Some(BodyOut::Text("x".repeat(BODY_MAX + 1)));
    assert!(responded(ANSWER, ResponseOut { body, ..ResponseOut::default() }).is_err());
    let body = Some(BodyOut::Base64("%%".into()));
    assert!(responded(ANSWER, ResponseOut { body, ..ResponseOut::default() }).is_err());
}

#[test]
fn a_made_answer_frames_nothing_itself() {
    let out = ResponseOut {
        status: Some(302.0),
        status_description: Some("Found".into()),
        headers: Some(vec![field("location", &["/b"]), field("content-length", &["7"])]),
        changed: None,
        cookies: None,
        body: None,
    };
    let made = judge(&event(&section(SHOWN), None), &Returned::Response(out.clone()));
    let Ok(Change::Response(change)) = made else { panic!() };
    assert_eq!((change.status, change.body.as_deref()), (Some(302), Some(&b""[..])));
    assert_eq!(change.fields, Some(section(&[("Location", b"/b")])));
    let bad = ResponseOut { status_description: Some("a\r\nb".into()), ..out };
    assert!(judge(&event(&section(SHOWN), None), &Returned::Response(bad)).is_err());
}

#[test]
fn via_and_warning_of_a_response_stay() {
    let all = |keep_via: bool| {
        let mut headers = vec![
            field("content-type", &["text/html"]),
            field("content-encoding", &["gzip"]),
            field("etag", &["\"1\""]),
        ];
        headers.extend(keep_via.then(|| field("via", &["1.1 x"])));
        ResponseOut { headers: Some(headers), ..ResponseOut::default() }
    };
    assert_eq!(responded(ANSWER, all(true)), Ok(Change::Nothing));
    let why = responded(ANSWER, all(false)).unwrap_err();
    assert_eq!(why.rule, "must not change the read-only header via");
}
