//! Pure: what a call of a CloudFront Function is told, borrowed from the exchange, and what it gave
//! back, before any rule was looked at.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::message::request::{Fields, RequestId};

/// Where a function stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    ViewerRequest,
    ViewerResponse,
}

/// What a request is called: as text, or as what its text is made of where code asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdFacts<'e> {
    Text(&'e str),
    Id(RequestId),
}

impl<'e> IdFacts<'e> {
    /// `context.requestId`.
    pub fn text(self) -> Cow<'e, str> {
        match self {
            Self::Text(text) => text.into(),
            Self::Id(id) => id.text().into(),
        }
    }
}

/// What a call is told. The engine reads from it only what the code touches.
#[derive(Clone, Copy)]
pub struct Event<'e> {
    pub place: Place,
    /// `context.distributionDomainName`.
    pub domain_name: Option<&'e str>,
    pub distribution_id: &'e str,
    pub request_id: IdFacts<'e>,
    pub viewer: IpAddr,
    pub request: RequestFacts<'e>,
    /// In a viewer response only.
    pub response: Option<ResponseFacts<'e>>,
    /// `cf.edgeLocation`: name, address of the server, region. Absent in a viewer response.
    pub edge: Option<EdgeFacts<'e>>,
}

/// The request as the viewer sent it, or as viewer-request code left it.
#[derive(Clone, Copy)]
pub struct RequestFacts<'e> {
    pub method: &'e str,
    /// The path, as the viewer spelled it.
    pub uri: &'e [u8],
    /// What stands after `?`; an empty one is not the same as none.
    pub query: Option<&'e [u8]>,
    pub fields: Fields<'e>,
    /// `CloudFront-*` fields that a policy of the behavior names, in lower case.
    pub extra: &'e [(&'e str, &'e [u8])],
}

#[derive(Clone, Copy)]
pub struct ResponseFacts<'e> {
    pub status: u16,
    pub fields: Fields<'e>,
}

#[derive(Clone, Copy)]
pub struct EdgeFacts<'e> {
    pub name: &'e str,
    pub server: IpAddr,
    pub region: &'e str,
}

/// What a call gave back, as far as it touched it. Text is what JavaScript strings hold, as UTF-8.
#[derive(Clone, Debug, PartialEq)]
pub enum Returned {
    Unchanged,
    Request(Box<RequestOut>),
    /// From a viewer request: an answer. From a viewer response: the response as it is to be.
    Response(ResponseOut),
}

/// A request that came back. What was not touched is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestOut {
    pub method: Option<String>,
    pub uri: Option<String>,
    pub query: Option<QueryOut>,
    /// All fields that the request has now, but for cookies.
    pub headers: Option<Vec<FieldOut>>,
    /// Those that the code left otherwise, where it looked at these alone; all others are as told.
    pub changed: Option<Vec<FieldOut>>,
    pub cookies: Option<Vec<CookieOut>>,
    /// What `cf.updateRequestOrigin` and its like asked for last.
    pub origin: Option<OriginChoice>,
}

/// A response that came back or was made. What was not touched is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResponseOut {
    /// As the code gave it; the rules say which are valid.
    pub status: Option<f64>,
    pub status_description: Option<String>,
    pub headers: Option<Vec<FieldOut>>,
    /// As in a request.
    pub changed: Option<Vec<FieldOut>>,
    /// Set-Cookie lines.
    pub cookies: Option<Vec<CookieOut>>,
    pub body: Option<BodyOut>,
}

/// The query that came back.
#[derive(Clone, Debug, PartialEq)]
pub enum QueryOut {
    /// Code may return text in its place.
    Text(String),
    /// Names with all their values in order, as spelled: nothing is encoded or decoded.
    Pairs(Vec<(String, String)>),
}

/// One name of the `headers` object.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldOut {
    /// As spelled in the object; other than lower case is a mistake of the code.
    pub name: String,
    /// `multiValue` where it changed or was given; else `value` in the first's place.
    pub values: Vec<String>,
}

/// One entry of the `cookies` object.
#[derive(Clone, Debug, PartialEq)]
pub struct CookieOut {
    pub name: String,
    pub value: String,
    /// Of a response only.
    pub attributes: Option<String>,
}

/// A body that code made.
#[derive(Clone, Debug, PartialEq)]
pub enum BodyOut {
    Text(String),
    /// `{ encoding: "base64", data }`: not decoded yet.
    Base64(String),
}

/// The origin that code chose.
#[derive(Clone, Debug, PartialEq)]
pub enum OriginChoice {
    Update(OriginOverrides),
    Select { id: String, overrides: OriginOverrides },
    Group { members: Vec<(String, OriginOverrides)>, statuses: Vec<u16> },
}

/// What `updateRequestOrigin` and the overrides of the others may say. What is not given is
/// inherited from the origin that the behavior names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OriginOverrides {
    pub domain_name: Option<String>,
    pub host_header: Option<String>,
    pub origin_path: Option<String>,
    pub custom_headers: Option<Vec<(String, String)>>,
    pub connection_attempts: Option<u32>,
    pub shield: Option<bool>,
    /// `None` inside: switched off.
    pub access_control: Option<Option<AccessControlOut>>,
    pub read_timeout: Option<u32>,
    pub completion_timeout: Option<u32>,
    pub keep_alive_timeout: Option<u32>,
    pub connection_timeout: Option<u32>,
    pub port: Option<u16>,
    /// `http` or `https`.
    pub protocol: Option<String>,
    pub tls_protocols: Option<Vec<String>>,
    pub sni: Option<String>,
    pub allowed_certificate_names: Option<Vec<String>>,
    /// The edge's own certificate is not shown (`mTLSConfig: "off"`).
    pub without_identity: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct AccessControlOut {
    pub signing_behavior: String,
    pub origin_type: String,
}

/// What a function's key value store holds at one moment.
pub trait StoreView {
    /// The UUID that code names the store by.
    fn id(&self) -> &str;
    fn get(&self, key: &str) -> Option<&str>;
    fn exists(&self, key: &str) -> bool;
    /// When the store was made, in milliseconds since the epoch.
    fn created(&self) -> u64;
    /// When it last changed, in milliseconds since the epoch.
    fn updated(&self) -> u64;
    /// How many keys there are.
    fn count(&self) -> usize;
}

/// Why a call gave nothing usable.
#[derive(Clone, Debug, PartialEq)]
pub enum CallFailure {
    /// The source does not compile, or has no `handler`.
    NotCompiled(String),
    /// What it threw or rejected with, with its line.
    Threw(String),
    /// A promise that nothing can settle any more.
    NeverSettles,
    /// Longer than `[functions] stop`.
    TooLong,
    /// More memory than `[functions] memory`.
    TooMuchMemory,
    /// What came back has not the shape of a request or response: where, what was wanted, what was
    /// there.
    WrongShape { path: String, wanted: &'static str, found: String },
}

impl CallFailure {
    /// Why, for whoever tries a function out.
    pub fn words(&self) -> String {
        match self {
            Self::NotCompiled(why) => format!("it does not compile: {why}"),
            Self::Threw(what) => what.clone(),
            Self::NeverSettles => "it waits for a promise that nothing settles".into(),
            Self::TooLong => "it took too long and was stopped".into(),
            Self::TooMuchMemory => "it took too much memory and was stopped".into(),
            Self::WrongShape { path, wanted, found } => {
                format!("it gave back {found} for {path}, and {wanted} is wanted")
            }
        }
    }
}

/// What a call cost and said, whatever came of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spent {
    /// Of `[functions] budget`, in percent, at most 100.
    pub utilisation: u8,
    pub nanos: u64,
}

/// What one core remembers of a function's results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    pub results: u64,
    pub octets: u64,
    /// How often remembering was left off for a while, because too few calls were told the same.
    pub rests: u64,
    /// Two calls that read the same came to different results, after which none is remembered.
    pub differences: u64,
}
