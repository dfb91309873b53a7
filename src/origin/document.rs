//! A short document over HTTPS from a host that is no origin, read whole and within bounds.

use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;

use super::connect::{Endpoint, Resolver};
use crate::distribution::events::HttpsUrl;
use crate::distribution::origin::{Family, OriginTls, Reach};
use crate::tls::client as tls;

/// How much of a document is taken, and how long all of it may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub octets: usize,
    pub patience: Duration,
}

/// Fetches a document. Anything but a 200 is an error; redirects are not followed.
pub async fn fetch(
    resolver: &Resolver,
    url: &HttpsUrl,
    settings: &OriginTls,
    bounds: Bounds,
) -> Result<Bytes, String> {
    let config = tls::client_config(settings)?;
    let place = Endpoint {
        host: url.host.clone(),
        port: url.port,
        tls: Some((config, url.host.clone())),
        family: Family::Both,
        reach: Reach::Anywhere,
    };
    let work = async {
        let stream =
            resolver.connect(&place, bounds.patience).await.map_err(|failure| failure.detail)?;
        let (mut sender, connection) =
            handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await.map_err(told)?;
        let request = Request::get(&*url.target)
            .header(HOST, url.authority())
            .body(Empty::new())
            .map_err(told)?;
        let answering = async move {
            let answer = sender.send_request(request).await.map_err(told)?;
            if answer.status() != StatusCode::OK {
                return Err(format!("the answer was {}", answer.status()));
            }
            let body = Limited::new(answer.into_body(), bounds.octets).collect().await;
            body.map(|whole| whole.to_bytes()).map_err(told)
        };
        // The connection ends once `sender` is gone; its own error is the answer's, too.
        let (answer, _) = tokio::join!(answering, connection);
        answer
    };
    let done = tokio::time::timeout(bounds.patience, work).await;
    done.unwrap_or_else(|_| Err(format!("no answer within {:?}", bounds.patience)))
        .map_err(|why| format!("https://{}{}: {why}", url.authority(), url.target))
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}
