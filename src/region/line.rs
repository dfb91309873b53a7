//! A connection to a parent's admin listener, which is kept for the next call.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;

use crate::distribution::region::{AdminUrl, Parents};
use crate::origin::connect::{Endpoint, Resolver};
use crate::tls::client as tls;

/// Octets that an answer may have.
const ANSWER: usize = 1 << 20;

/// One that is open.
pub(super) struct Line {
    admin: AdminUrl,
    sender: SendRequest<Full<Bytes>>,
}

/// How a parent's admin listener is reached.
#[derive(Clone, Copy)]
pub(super) struct Reach<'r> {
    pub resolver: &'r Resolver,
    pub configured: &'r Parents,
    pub admin: &'r AdminUrl,
    /// For the connection alone; the caller bounds the whole.
    pub patience: Duration,
}

/// Sends a request over the connection that was kept, or over a new one if that went away
/// meanwhile, so that it may be sent twice. The connection is kept again if the answer is whole.
pub(super) async fn ask(
    kept: &mut Option<Line>,
    reach: Reach<'_>,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes), String> {
    // Taken out: whoever gives up in the middle leaves no connection with half an answer.
    let ready = kept.take().filter(|line| line.admin == *reach.admin && !line.sender.is_closed());
    if let Some(mut line) = ready
        && let Ok(answer) = line.send(request.clone()).await
    {
        *kept = Some(line);
        return Ok(answer);
    }
    let mut fresh = Line { admin: reach.admin.clone(), sender: connect(reach).await? };
    let answer = fresh.send(request).await?;
    *kept = Some(fresh);
    Ok(answer)
}

impl Line {
    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), String> {
        self.sender.ready().await.map_err(|error| error.to_string())?;
        let answer = self.sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let bytes = Limited::new(answer.into_body(), ANSWER)
            .collect()
            .await
            .map_err(|error| error.to_string())?
            .to_bytes();
        Ok((status, bytes))
    }
}

async fn connect(reach: Reach<'_>) -> Result<SendRequest<Full<Bytes>>, String> {
    let Reach { resolver, configured, admin, patience } = reach;
    let tls = if admin.is_tls {
        let name = configured.tls.server_name.clone().unwrap_or_else(|| admin.host.clone());
        Some((tls::client_config(&configured.tls)?, name))
    } else {
        None
    };
    let place = Endpoint { host: admin.host.clone(), port: admin.port, tls };
    let stream = resolver.connect(&place, patience).await.map_err(|failure| failure.detail)?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| e.to_string())?;
    tokio::spawn(connection);
    Ok(sender)
}
