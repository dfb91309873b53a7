//! The admin listener: HTTP/1.1, JSON, a bearer token compared in constant time.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::answer::{Answer, error, json_text, ok, text};
use super::invalidation::{Asked, Listed, Wrong};
use super::routes::{self, Call, Found, Right};
use super::{Control, cloudfront, s3, values, values_data};
use crate::base::secret::Secret;
use crate::distribution::site::Transport;
use crate::fleet::calls;
use crate::fleet::protocol::Refusal;
use crate::fleet::wire;
use crate::functions::values::file::FILE_MAX;
use crate::invalidation::log::InvalidationRecord;
use crate::listen::places::is_out_of_descriptors;
use crate::message::own_fields::EDGE;
use crate::region::forward::Forwarded;
use crate::store::disk::listing::Which;
use crate::tls::clients;
use crate::tls::server::ServerTls;

/// Admin connections at a time: each edge below a parent keeps two, one for what it says and one
/// for its checks, and each member of a fleet a few to its sequencer.
const CONNECTIONS: usize = 4096;

/// Binds the admin address.
pub fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves the admin listener for as long as the process lives.
pub async fn serve(control: Arc<Control>, listener: std::net::TcpListener) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut spare = spare();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
        let (tcp, _) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                control.places.complain(&error, "admin");
                // The spare descriptor is there for the operator; an idle viewer gives the next
                // one.
                let is_short = is_out_of_descriptors(&error);
                if is_short {
                    control.places.close_idle();
                }
                if !is_short || spare.take().is_none() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                continue;
            }
        };
        spare = spare.or_else(self::spare);
        // Answers are small and a caller waits for each.
        let _ = tcp.set_nodelay(true);
        let control = Arc::clone(&control);
        tokio::spawn(async move {
            let _place = place;
            let tls = match control.edge.running().site.admin.transport {
                Transport::Clear => return serve_one(control, tcp, None).await,
                Transport::Tls => {
                    control.tls.load().as_ref().as_ref().and_then(ServerTls::default_config)
                }
            };
            let Some(config) = tls else { return };
            let handshake = TlsAcceptor::from(config).accept(tcp);
            if let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_secs(10), handshake).await {
                let names = clients::names(stream.get_ref().1.peer_certificates());
                serve_one(control, stream, names.map(ClientNames)).await;
            }
        });
    }
}

/// The names in the certificate that a caller has shown.
#[derive(Clone)]
struct ClientNames(Arc<[String]>);

// A descriptor that is held for the time when there is no other.
fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}

async fn serve_one<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    control: Arc<Control>,
    stream: S,
    names: Option<ClientNames>,
) {
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        let control = Arc::clone(&control);
        if let Some(names) = &names {
            request.extensions_mut().insert(names.clone());
        }
        async move { Ok::<_, Infallible>(answer(&control, request).await) }
    });
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(30))
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(control: &Arc<Control>, request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    let limit = control.edge.running().site.limits.admin_body;
    let found = routes::find(&parts.method, parts.uri.path());
    let right = match found {
        Found::Call(_, right, _) => right,
        // Only a caller with the token is told which calls there are.
        Found::OtherMethod(_) | Found::Nothing => Right::Token,
    };
    if right == Right::Token && !is_authorised(&parts.headers, &control.token) {
        let mut refused = error(
            StatusCode::UNAUTHORIZED,
            "a bearer token is needed; see admin-token in the data folder",
        );
        refused.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return refused;
    }
    match found {
        Found::Call(call, _, id) => run(control, call, id, &parts, body, limit).await,
        Found::OtherMethod(method) => {
            let mut refused =
                error(StatusCode::METHOD_NOT_ALLOWED, &format!("this call is made with {method}"));
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static(method));
            refused
        }
        Found::Nothing => error(StatusCode::NOT_FOUND, &routes::known()),
    }
}

// Makes a call that may be made. Edges and signatures are judged by the functions that answer them.
async fn run(
    control: &Arc<Control>,
    call: Call,
    id: &str,
    parts: &http::request::Parts,
    body: Incoming,
    limit: usize,
) -> Answer {
    match call {
        Call::Alive => text(StatusCode::OK, "ok\n"),
        Call::Ready if *control.draining.borrow() => {
            text(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
        }
        Call::Ready => text(StatusCode::OK, "ready\n"),
        Call::Metrics => {
            let mut response = text(StatusCode::OK, &control.metrics());
            response
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4"));
            response
        }
        Call::Status => ok(StatusCode::OK, &control.status()),
        Call::Reload => reload(control).await,
        Call::Promote => promote(control, body, limit).await,
        Call::Invalidate => invalidate(control, body, limit).await,
        Call::Invalidations => {
            let all = listed(control, control.log.newest(100)).await;
            ok(StatusCode::OK, &json!({ "invalidations": all }))
        }
        Call::Fleet => match control.fleet_status().await {
            Some(status) => ok(StatusCode::OK, &status),
            None => error(StatusCode::NOT_FOUND, "this edge is a member of no fleet; see [fleet]"),
        },
        Call::Invalidation => match control.log.find(id) {
            Some(record) => ok(StatusCode::OK, &listed(control, vec![record]).await.pop()),
            None => error(StatusCode::NOT_FOUND, "there is no invalidation with this id"),
        },
        Call::Store | Call::StoreList | Call::StoreVerify => {
            on_store(control, call, body, limit).await
        }
        Call::FromEdge => from_edge(control, parts, body, limit).await,
        Call::Sequence => for_fleet(control, parts, body).await,
        Call::Stores => values::list(control),
        // A whole store may come by this call.
        Call::Values => match read_body(body, limit.max(FILE_MAX)).await {
            Ok(body) => values::answer(control, parts, id, body).await,
            Err(refused) => refused,
        },
        Call::ValuesData => match read_body(body, limit).await {
            Ok(body) => values_data::answer(control, parts, id, body).await,
            Err(refused) => values_data::unread(refused.status(), limit),
        },
        Call::S3Events => s3_events(control, parts, body).await,
        Call::CloudFront => match read_body(body, limit).await {
            Ok(body) => cloudfront::answer(control, parts, body).await,
            Err(refused) if refused.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                cloudfront::too_large(limit)
            }
            Err(refused) => cloudfront::not_read(refused.status().as_u16()),
        },
    }
}

async fn listed(control: &Control, records: Vec<InvalidationRecord>) -> Vec<Listed> {
    let statuses = control.statuses(&records).await;
    records.into_iter().zip(statuses).map(|(record, status)| Listed::new(record, status)).collect()
}

async fn reload(control: &Arc<Control>) -> Answer {
    let this = Arc::clone(control);
    match tokio::task::spawn_blocking(move || this.reload()).await {
        Ok(outcome) if outcome.ok => ok(StatusCode::OK, &outcome),
        Ok(outcome) => ok(StatusCode::UNPROCESSABLE_ENTITY, &outcome),
        Err(_) => error(StatusCode::INTERNAL_SERVER_ERROR, "reloading failed"),
    }
}

// What lies on the disk. Reading it may take long, so that is left to a thread that may wait.
async fn on_store(control: &Arc<Control>, call: Call, body: Incoming, limit: usize) -> Answer {
    let Some(disk) = control.edge.disk().cloned() else {
        return error(
            StatusCode::NOT_FOUND,
            "there is no disk store; see [store.disk] in the configuration",
        );
    };
    let failed = || error(StatusCode::INTERNAL_SERVER_ERROR, "looking at the disk store failed");
    match call {
        Call::StoreList => {
            let which: Which = match read_json(body, limit).await {
                Ok(which) => which,
                Err(refused) => return refused,
            };
            match tokio::task::spawn_blocking(move || disk.survey(&which)).await {
                Ok(Ok(found)) => ok(StatusCode::OK, &found),
                Ok(Err(why)) => error(StatusCode::BAD_REQUEST, &why),
                Err(_) => failed(),
            }
        }
        Call::StoreVerify => match tokio::task::spawn_blocking(move || disk.verify()).await {
            Ok(verified) => ok(StatusCode::OK, &verified),
            Err(_) => failed(),
        },
        _ => ok(StatusCode::OK, &disk.stats()),
    }
}

/// The body of `POST /v1/promotions`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Promotion {
    /// The staging distribution.
    distribution: String,
    /// Takes it back.
    #[serde(default)]
    undo: bool,
}

async fn promote(control: &Arc<Control>, body: Incoming, limit: usize) -> Answer {
    let asked: Promotion = match read_json(body, limit).await {
        Ok(asked) => asked,
        Err(refused) => return refused,
    };
    let this = Arc::clone(control);
    match tokio::task::spawn_blocking(move || this.promote(&asked.distribution, asked.undo)).await {
        Ok(Ok(now)) => ok(StatusCode::OK, &json!({ "promoted": now })),
        Ok(Err(why)) => error(StatusCode::CONFLICT, &why),
        Err(_) => error(StatusCode::INTERNAL_SERVER_ERROR, "promoting failed"),
    }
}

async fn invalidate(control: &Arc<Control>, body: Incoming, limit: usize) -> Answer {
    let asked: Asked = match read_json(body, limit).await {
        Ok(asked) => asked,
        Err(refused) => return refused,
    };
    let is_dry = asked.dry_run;
    match control.invalidate(asked).await {
        Ok(done) => ok(if is_dry { StatusCode::OK } else { StatusCode::CREATED }, &done),
        Err(wrong) => refuse(wrong),
    }
}

fn refuse(wrong: Wrong) -> Answer {
    match wrong {
        Wrong::Bad(why) => error(StatusCode::BAD_REQUEST, &why),
        Wrong::Unknown(why) => error(StatusCode::NOT_FOUND, &why),
        Wrong::NotWritten(why) => {
            tracing::error!(why, "an invalidation could not be written down");
            error(
                StatusCode::INSUFFICIENT_STORAGE,
                &format!("nothing was invalidated: the log could not be written: {why}"),
            )
        }
    }
}

// An edge hands on what it accepted.
async fn from_edge(
    control: &Arc<Control>,
    parts: &http::request::Parts,
    body: Incoming,
    limit: usize,
) -> Answer {
    let edge = match trusted_edge(control, parts) {
        Ok(edge) => edge,
        Err(why) => return untrusted(why),
    };
    let batch: Forwarded = match read_json(body, limit).await {
        Ok(batch) => batch,
        Err(refused) => return refused,
    };
    match control.take_from_edge(&edge, batch).await {
        Ok(answer) => ok(StatusCode::OK, &answer),
        Err(wrong) => refuse(wrong),
    }
}

// A member of a fleet asks its sequencer, which may take a while to have an answer.
async fn for_fleet(control: &Arc<Control>, parts: &http::request::Parts, body: Incoming) -> Answer {
    let edge = match trusted_edge(control, parts) {
        Ok(edge) => edge,
        Err(why) => return untrusted(why),
    };
    let Some(sequencer) = &control.sequencer else {
        return error(
            StatusCode::NOT_FOUND,
            "this node is not the sequencer of a fleet; see [fleet] in the configuration",
        );
    };
    let (status, octets) = match read_body(body, wire::MESSAGE_MAX).await {
        Ok(said) => calls::take(sequencer, &edge, &said).await,
        Err(refused) if refused.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            calls::refuse(sequencer, Refusal::TooLarge)
        }
        Err(refused) => return refused,
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json_text(status, String::from_utf8(octets).unwrap_or_default())
}

// A bucket's changed objects. Nothing of the body is read for a caller that shows nothing at all.
async fn s3_events(control: &Arc<Control>, parts: &http::request::Parts, body: Incoming) -> Answer {
    let Some(shown) = control.shown_for_s3(&parts.headers) else {
        control.count_refused_s3();
        let mut refused = error(
            StatusCode::UNAUTHORIZED,
            "the token of [events.s3] is needed, as a bearer token or as a password, or the signature of a topic in [events.s3.sns]",
        );
        refused.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return refused;
    };
    let body = match read_body(body, s3::BODY_MAX).await {
        Ok(body) => body,
        Err(refused) => {
            control.count_refused_s3();
            return refused;
        }
    };
    match control.s3_posted(&body, shown).await {
        Ok(taken) => ok(StatusCode::OK, &taken),
        Err(s3::Refused::Shape(why)) => error(StatusCode::BAD_REQUEST, &why),
        Err(s3::Refused::Unproven(why)) => error(StatusCode::FORBIDDEN, &why),
        Err(s3::Refused::Later(why)) => error(StatusCode::SERVICE_UNAVAILABLE, &why),
        Err(s3::Refused::NotWritten(why)) => refuse(Wrong::NotWritten(why)),
    }
}

/// What an edge has not shown.
#[derive(Clone, Copy)]
enum Lacks {
    Token,
    Certificate,
}

// The name of the edge that asks. It proves itself with the token that this node's configuration
// has for it, and with a certificate where that is wanted.
fn trusted_edge(control: &Control, parts: &http::request::Parts) -> Result<String, Lacks> {
    let running = control.edge.running();
    let claimed = parts.headers.get(EDGE).and_then(|id| id.to_str().ok()).ok_or(Lacks::Token)?;
    let edge = running.site.trusted_edges.iter().find(|edge| edge.id == claimed);
    let edge =
        edge.filter(|edge| is_authorised(&parts.headers, &edge.token)).ok_or(Lacks::Token)?;
    let names = parts.extensions.get::<ClientNames>().map(|names| &*names.0);
    if edge.may_have(names) { Ok(edge.id.clone()) } else { Err(Lacks::Certificate) }
}

fn untrusted(lacks: Lacks) -> Answer {
    let why = match lacks {
        Lacks::Token => "this edge is not trusted here",
        Lacks::Certificate => "this edge's certificate is missing or another's",
    };
    error(StatusCode::UNAUTHORIZED, why)
}

async fn read_body(body: Incoming, limit: usize) -> Result<Bytes, Answer> {
    let read =
        tokio::time::timeout(Duration::from_secs(30), Limited::new(body, limit).collect()).await;
    match read {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(_)) => Err(error(
            StatusCode::PAYLOAD_TOO_LARGE,
            &format!("the body is longer than {limit} octets, or broke off"),
        )),
        Err(_) => Err(error(StatusCode::REQUEST_TIMEOUT, "the body did not come in time")),
    }
}

async fn read_json<T: serde::de::DeserializeOwned>(
    body: Incoming,
    limit: usize,
) -> Result<T, Answer> {
    let bytes = read_body(body, limit).await?;
    serde_json::from_slice(&bytes).map_err(|why| {
        error(StatusCode::BAD_REQUEST, &format!("the body is not as expected: {why}"))
    })
}

fn is_authorised(fields: &http::HeaderMap, token: &Secret<String>) -> bool {
    fields.get(AUTHORIZATION).is_some_and(|given| token.is_borne_by(given.as_bytes()))
}
