//! What is asked of `explain`, as the request of a viewer and an answer of an origin.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};
use serde::Deserialize;

use crate::access::prepare::prepare;
use crate::distribution::site::Site;
use crate::message::connection::{Asker, Connection, Scheme, Version};
use crate::message::key::InvalidationNumber;
use crate::message::path::is_safe_path;
use crate::message::request::{ViewerRequest, split_target};
use crate::semantics::fields::FieldSection;
use crate::semantics::time::{Timestamp, format_http_date};

/// What is to be explained: the body of `POST /v1/explain`, and what `foreshore explain` is given.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The URL a viewer would ask for.
    pub url: String,
    /// Fields of the request, `Name: value`.
    #[serde(default)]
    pub fields: Vec<String>,
    #[serde(default = "get")]
    pub method: String,
    /// The status of an answer of the origin's: what would become of it is told too.
    pub status: Option<u16>,
    /// Fields of that answer. Without a status it is a 200.
    #[serde(default)]
    pub answer: Vec<String>,
    /// The viewer's address.
    #[serde(default = "somewhere")]
    pub from: IpAddr,
}

fn get() -> String {
    "GET".into()
}

/// Where a viewer is that nothing is said of: an address of RFC 5737.
pub const fn somewhere() -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))
}

/// An answer of the origin's, as far as its head.
pub(super) type Answer = (u16, FieldSection);

pub(super) fn answer(args: &Question, now: Timestamp) -> Result<Option<Answer>, String> {
    if args.status.is_none() && args.answer.is_empty() {
        return Ok(None);
    }
    let mut fields = fields(&args.answer)?;
    if !fields.contains(&http::header::DATE) {
        fields.insert(&http::header::DATE, format_http_date(now));
    }
    Ok(Some((args.status.unwrap_or(200), fields)))
}

/// Fields from lines of `Name: value`.
pub fn fields(lines: &[String]) -> Result<FieldSection, String> {
    let mut fields = FieldSection::new();
    for line in lines {
        let (name, value) =
            line.split_once(':').ok_or_else(|| format!("{line:?} is not `Name: value`"))?;
        let name = HeaderName::from_bytes(name.trim().as_bytes())
            .map_err(|error| format!("{line:?}: {error}"))?;
        fields.append(
            &name,
            HeaderValue::from_str(value.trim()).map_err(|error| format!("{line:?}: {error}"))?,
        );
    }
    Ok(fields)
}

pub(super) fn request(
    args: &Question,
    site: &Site,
    now: Timestamp,
) -> Result<ViewerRequest, String> {
    let (scheme, rest) = match args.url.split_once("://") {
        Some(("https", rest)) => (Scheme::Https, rest),
        Some(("http", rest)) => (Scheme::Http, rest),
        _ => return Err(format!("{:?} is not an http or https URL", args.url)),
    };
    let cut = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(cut);
    // Clients keep a fragment to themselves.
    let target = target.split('#').next().unwrap_or("");
    let target = if target.starts_with('/') { target.to_string() } else { format!("/{target}") };
    let visible = target.bytes().all(|b| (0x21..=0x7e).contains(&b));
    if !visible || !is_safe_path(split_target(&target).0) {
        return Err(format!(
            "refused: 400 {target:?} has dot segments, or characters that must be escaped"
        ));
    }
    let fields = fields(&args.fields)?;
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let place = site.geo.as_ref().map(|geo| Arc::new(geo.place(args.from)));
    let connection = Connection {
        id: Default::default(),
        peer: SocketAddr::new(args.from, 50_000),
        local,
        scheme,
        tls: None,
        place,
        asker: Asker::Viewer,
    };
    let mut request = ViewerRequest {
        id: Default::default(),
        method: Method::from_bytes(args.method.as_bytes())
            .map_err(|_| format!("{:?} is no method", args.method))?,
        version: Version::Http11,
        scheme,
        authority: authority.into(),
        target: target.into(),
        spelled: None,
        order: None,
        fields,
        connection: Arc::new(connection),
        arrived_at: now,
        arrived_number: InvalidationNumber(0),
        interim: None,
        notes: Default::default(),
        trace: None,
        known: Default::default(),
    };
    prepare(&mut request, site);
    Ok(request)
}
