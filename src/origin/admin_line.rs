//! A kept connection to the admin listener of another Foreshore, and calls over it: what an edge
//! forwards to its parents, whether these are ready, and what a member asks of its fleet's sequencer.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;

use super::connect::{Endpoint, Resolver};
use crate::base::secret::Secret;
use crate::distribution::origin::{Family, OriginTls, Reach};
use crate::distribution::region::AdminUrl;
use crate::message::own_fields::{EDGE, LEASE};
use crate::tls::client as tls;

/// Whom to call, and how this edge proves itself there.
#[derive(Clone, Copy)]
pub struct Callee<'c> {
    pub admin: &'c AdminUrl,
    /// The name by which the other trusts this edge.
    pub edge_id: &'c str,
    pub token: &'c Secret<String>,
    pub tls: &'c OriginTls,
}

/// What to call.
#[derive(Clone)]
pub struct Post {
    pub path: &'static str,
    pub body: Bytes,
    /// Octets of the answer's body.
    pub limit: usize,
    /// Of a member of a fleet, how long its leases are.
    pub lease: Option<Duration>,
}

/// What to read.
#[derive(Clone, Copy)]
pub struct Get {
    pub path: &'static str,
    /// Octets of the answer's body.
    pub limit: usize,
}

// A request as it is sent, and how many octets its answer's body may have.
#[derive(Clone)]
struct Call {
    request: Request<Full<Bytes>>,
    limit: usize,
}

/// What was answered.
pub struct Answer {
    pub status: StatusCode,
    pub body: Bytes,
}

/// A connection, and where it leads.
pub struct Line {
    admin: AdminUrl,
    sender: SendRequest<Full<Bytes>>,
}

impl Line {
    /// Says whether it can be used for calls to this listener.
    pub fn leads_to(&self, admin: &AdminUrl) -> bool {
        self.admin == *admin && !self.sender.is_closed()
    }

    async fn connect(
        callee: Callee<'_>,
        resolver: &Resolver,
        patience: Duration,
    ) -> Result<Self, String> {
        let admin = callee.admin;
        let tls = if admin.is_tls {
            let name = callee.tls.server_name.clone().unwrap_or_else(|| admin.host.clone());
            Some((tls::client_config(callee.tls)?, name))
        } else {
            None
        };
        let (host, family, reach) = (admin.host.clone(), Family::Both, Reach::Anywhere);
        let place = Endpoint { host, port: admin.port, tls, family, reach };
        let stream = resolver.connect(&place, patience).await.map_err(|failure| failure.detail)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(told)?;
        tokio::spawn(connection);
        Ok(Self { admin: admin.clone(), sender })
    }

    async fn send(&mut self, call: Call) -> Result<Answer, String> {
        self.sender.ready().await.map_err(told)?;
        let answer = self.sender.send_request(call.request).await.map_err(told)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), call.limit).collect().await.map_err(told)?;
        Ok(Answer { status, body: body.to_bytes() })
    }
}

/// Makes a call over a kept connection, or over one that is made anew if that went away meanwhile:
/// it may be made twice. `patience` is for connecting; the caller bounds the whole, and a call that
/// is dropped in the middle leaves no connection with half an answer.
pub async fn post(
    kept: Option<Line>,
    callee: Callee<'_>,
    resolver: &Resolver,
    patience: Duration,
    post: Post,
) -> Result<(Line, Answer), String> {
    let bearer = format!("Bearer {}", callee.token.expose());
    let mut request = Request::post(post.path)
        .header(HOST, host_of(callee.admin))
        .header(AUTHORIZATION, HeaderValue::from_str(&bearer).map_err(told)?)
        .header(EDGE, callee.edge_id);
    if let Some(lease) = post.lease {
        request = request.header(LEASE, lease.as_millis().to_string());
    }
    let request = request.body(Full::new(post.body)).map_err(told)?;
    ask(kept, callee, resolver, patience, Call { request, limit: post.limit }).await
}

/// Reads what is told to any caller, as [`post`] makes calls: neither edge nor token is named.
pub async fn get(
    kept: Option<Line>,
    callee: Callee<'_>,
    resolver: &Resolver,
    patience: Duration,
    get: Get,
) -> Result<(Line, Answer), String> {
    let request = Request::get(get.path)
        .header(HOST, host_of(callee.admin))
        .body(Full::default())
        .map_err(told)?;
    ask(kept, callee, resolver, patience, Call { request, limit: get.limit }).await
}

async fn ask(
    kept: Option<Line>,
    callee: Callee<'_>,
    resolver: &Resolver,
    patience: Duration,
    call: Call,
) -> Result<(Line, Answer), String> {
    if let Some(mut kept) = kept.filter(|kept| kept.leads_to(callee.admin))
        && let Ok(answer) = kept.send(call.clone()).await
    {
        return Ok((kept, answer));
    }
    let mut fresh = Line::connect(callee, resolver, patience).await?;
    let answer = fresh.send(call).await?;
    Ok((fresh, answer))
}

fn host_of(admin: &AdminUrl) -> String {
    format!("{}:{}", admin.host, admin.port)
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}
