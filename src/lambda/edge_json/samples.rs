//! Pure: events and origins for the tests of this room.

use super::event::{EdgeEvent, EdgeRequest};
use super::origin::{CustomOrigin, Headers, OriginOut};
use super::place::LambdaPlace;
use crate::message::request::Fields;
use crate::semantics::fields::FieldSection;

pub fn section(lines: &[(&str, &str)]) -> FieldSection {
    let mut fields = FieldSection::new();
    lines.iter().for_each(|(name, value)| fields.push(*name, value.as_bytes()));
    fields
}

pub fn event(place: LambdaPlace, fields: &FieldSection) -> EdgeEvent<'_> {
    EdgeEvent {
        place,
        domain_name: "d1.cloudfront.net",
        distribution_id: "EDFDVBD6EXAMPLE",
        request_id: "req==",
        request: EdgeRequest {
            viewer: [203, 0, 113, 178].into(),
            method: "GET",
            uri: b"/a",
            query: Some(b"b=c&d=%20"),
            fields: Fields::Section(fields),
            extra: &[],
            body: None,
            origin: None,
        },
        response: None,
    }
}

pub fn custom() -> OriginOut {
    OriginOut::Custom(CustomOrigin {
        headers: Headers(vec![("x-env".into(), "a".into())]),
        domain_name: "example.org".into(),
        path: String::new(),
        port: 443,
        is_https: true,
        read_timeout: 30,
        keep_alive_timeout: 5,
        tls_protocols: vec!["TLSv1.2".into()],
    })
}
