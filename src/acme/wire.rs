//! Requests to a CA: one connection each, over HTTPS with a checked certificate, within bounds of
//! time and size. No redirect is followed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, LOCATION, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;

use super::documents::CaUrl;
use super::trouble::{Kind, Trouble};
use crate::distribution::origin::{Family, OriginTls, Reach, Roots, TlsVersion};
use crate::origin::connect::{Endpoint, Resolver};
use crate::tls::client as tls;

/// How long one request may take, connection and answer together.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long it is tried to connect.
const CONNECT: Duration = Duration::from_secs(10);
/// The largest answer: a chain of certificates has a few thousand octets.
const ANSWER_MAX: usize = 256 * 1024;

/// The way to a CA.
pub struct Wire {
    resolver: Resolver,
    config: Arc<ClientConfig>,
}

/// What came back.
pub struct Reply {
    pub status: u16,
    pub nonce: Option<String>,
    pub location: Option<String>,
    pub retry_after: Option<String>,
    pub body: Bytes,
}

impl Wire {
    /// A way that trusts these authorities.
    pub fn new(roots: &Roots) -> Result<Self, Trouble> {
        let settings = OriginTls {
            roots: roots.clone(),
            server_name: None,
            more_names: Vec::new(),
            identity: None,
            min: TlsVersion::V1_2,
        };
        let config = tls::client_config(&settings).map_err(|why| Trouble::new(Kind::Here, why))?;
        Ok(Self { resolver: Resolver::default(), config })
    }

    /// Sends one request; a body is a signed one.
    pub async fn send(
        &self,
        method: Method,
        url: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Reply, Trouble> {
        let place = CaUrl::parse(url).map_err(|why| Trouble::new(Kind::Malformed, why))?;
        let about = format!("{method} {url}");
        let done = tokio::time::timeout(PATIENCE, self.exchange(method, &place, body)).await;
        let done = done.unwrap_or_else(|_| {
            Err(Trouble::new(Kind::NoAnswer, format!("no whole answer within {PATIENCE:?}")))
        });
        done.map_err(|trouble| Trouble {
            detail: format!("{about}: {}", trouble.detail),
            ..trouble
        })
    }

    async fn exchange(
        &self,
        method: Method,
        url: &CaUrl,
        body: Option<Vec<u8>>,
    ) -> Result<Reply, Trouble> {
        let lost = |error: hyper::Error| Trouble::new(Kind::NoAnswer, error.to_string());
        let place = Endpoint {
            host: url.host.clone(),
            port: url.port,
            tls: Some((Arc::clone(&self.config), url.host.clone())),
            family: Family::Both,
            reach: Reach::Anywhere,
        };
        let stream = self
            .resolver
            .connect(&place, CONNECT)
            .await
            .map_err(|failure| Trouble::new(Kind::Unreachable, failure.detail))?;
        let (mut sender, connection) =
            handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.map_err(lost)?;
        let request = Request::builder()
            .method(method)
            .uri(&*url.target)
            .header(HOST, url.authority())
            .header(USER_AGENT, concat!("foreshore/", env!("CARGO_PKG_VERSION")));
        let request = match &body {
            Some(_) => request.header(CONTENT_TYPE, "application/jose+json"),
            None => request,
        };
        let request = request
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(|error| Trouble::new(Kind::Malformed, error.to_string()))?;
        let answering = async move {
            let answer = sender.send_request(request).await.map_err(lost)?;
            read(answer).await
        };
        // The connection goes on only as long as the answer is waited for.
        tokio::pin!(answering);
        tokio::pin!(connection);
        tokio::select! {
            biased;
            answer = &mut answering => answer,
            _ = &mut connection => answering.await,
        }
    }
}

async fn read(answer: Response<Incoming>) -> Result<Reply, Trouble> {
    let (head, body) = answer.into_parts();
    let text = |name: &str| field(&head.headers, name);
    let (nonce, location, retry_after) =
        (text("replay-nonce"), text(LOCATION.as_str()), text(RETRY_AFTER.as_str()));
    let whole = Limited::new(body, ANSWER_MAX).collect().await;
    let body = whole
        .map_err(|error| Trouble::new(Kind::NoAnswer, format!("the answer broke off: {error}")))?
        .to_bytes();
    Ok(Reply { status: head.status.as_u16(), nonce, location, retry_after, body })
}

fn field(fields: &HeaderMap, name: &str) -> Option<String> {
    fields.get(name)?.to_str().ok().map(str::to_string)
}
