//! The calls of the admin listener: what each does with its body, and how that is answered.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::json;
use tokio::sync::Semaphore;

use super::answer::{Answer, error, json_text, ok, text, typed};
use super::explain::{self, Question};
use super::invalidation::{Asked, Listed, Wrong};
use super::routes::Call;
use super::{
    Control, cloudfront, functions, gateway, live, login, page, s3, status, succession, values,
    values_data,
};
use crate::base::secret::Secret;
use crate::fleet::calls;
use crate::fleet::protocol::Refusal;
use crate::fleet::wire;
use crate::functions::values::file::FILE_MAX;
use crate::invalidation::log::InvalidationRecord;
use crate::message::own_fields::{EDGE, LEASE};
use crate::region::forward::Forwarded;
use crate::store::disk::listing::Which;

/// The names in the certificate that a caller has shown.
#[derive(Clone)]
pub(super) struct ClientNames(pub(super) Arc<[String]>);

/// What a caller sends beside the head.
pub(super) enum Said {
    Coming(Incoming),
    /// It is there, or what is answered because it is not.
    Read(Result<Bytes, Answer>),
}

/// Reads the body of a call that is to have its turn afterwards: one that comes slowly keeps nobody
/// else waiting.
pub(super) async fn read_ahead(call: Call, body: Incoming, limit: usize) -> Said {
    // A whole store may come by this call.
    let limit = if call == Call::Values { limit.max(FILE_MAX) } else { limit };
    Said::Read(read_body(Said::Coming(body), limit).await)
}

/// Makes a call that may be made. Edges and signatures are judged by the functions that answer them.
pub(super) async fn run(
    control: &Arc<Control>,
    call: Call,
    id: &str,
    parts: &http::request::Parts,
    body: Said,
    limit: usize,
) -> Answer {
    match call {
        Call::Alive => text(StatusCode::OK, "ok\n"),
        Call::Ready if *control.draining.borrow() => {
            text(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
        }
        Call::Ready => text(StatusCode::OK, "ready\n"),
        Call::Metrics => typed(StatusCode::OK, "text/plain; version=0.0.4", control.metrics()),
        Call::Status => status::answer(control, parts.uri.query()).await,
        Call::Reload => reload(control).await,
        Call::Promote => promote(control, body, limit).await,
        Call::Adopt => adopt(control, body, limit).await,
        Call::Upgrade => upgrade(control, body, limit).await,
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
        Call::Values => match read_body(body, limit.max(FILE_MAX)).await {
            Ok(body) => values::answer(control, parts, id, body).await,
            Err(refused) => refused,
        },
        Call::ValuesData => match read_body(body, limit).await {
            Ok(body) => values_data::answer(control, parts, id, body).await,
            Err(refused) => values_data::unread(refused.status(), limit),
        },
        Call::Functions => functions::list(control).await,
        Call::Function => match read_body(body, limit).await {
            Ok(body) => functions::answer(control, parts, id, body).await,
            Err(refused) => refused,
        },
        Call::FunctionLog => functions::log(control, parts.uri.query()),
        Call::Explain => explained(control, body, limit).await,
        Call::Snapshot => live::snapshot(control),
        Call::Live => live::stream(control, login::session_of(control, parts)),
        Call::Dashboard | Call::DashboardFile | Call::Login => {
            for_browser(control, call, id, parts, body).await
        }
        Call::Logout => login::logout(control, parts),
        Call::S3Events => s3_events(control, parts, body).await,
        Call::ApiGateway => match read_body(body, limit).await {
            Ok(body) => gateway::answer(control, parts, id, &body).await,
            Err(refused) => refused,
        },
        Call::CloudFront => by_cloudfront(control, parts, body, limit).await,
    }
}

// What a browser without a session may ask for, where there is a dashboard.
async fn for_browser(
    control: &Control,
    call: Call,
    id: &str,
    parts: &http::request::Parts,
    body: Said,
) -> Answer {
    if !login::is_open(control) {
        return error(StatusCode::NOT_FOUND, "the dashboard is off; see admin.dashboard");
    }
    match call {
        Call::DashboardFile => page::file(id),
        Call::Login => match read_json(body, login::BODY_MAX).await {
            Ok(shown) => login::login(control, parts, &shown),
            Err(refused) => refused,
        },
        _ => page::page(),
    }
}

// CloudFront's API, whose faults have a form of their own.
async fn by_cloudfront(
    control: &Arc<Control>,
    parts: &http::request::Parts,
    body: Said,
    limit: usize,
) -> Answer {
    match read_body(body, limit).await {
        Ok(body) => cloudfront::answer(control, parts, body).await,
        Err(refused) if refused.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            cloudfront::too_large(limit)
        }
        Err(refused) => cloudfront::not_read(refused.status().as_u16()),
    }
}

async fn listed(control: &Control, records: Vec<InvalidationRecord>) -> Vec<Listed> {
    let statuses = control.statuses(&records).await;
    records.into_iter().zip(statuses).map(|(record, status)| Listed::new(record, status)).collect()
}

async fn reload(control: &Arc<Control>) -> Answer {
    let this = Arc::clone(control);
    match tokio::task::spawn_blocking(move || this.reload()).await {
        Ok(outcome) if outcome.ok => {
            control.edge.issuing.note_reload();
            ok(StatusCode::OK, &outcome)
        }
        Ok(outcome) => ok(StatusCode::UNPROCESSABLE_ENTITY, &outcome),
        Err(_) => error(StatusCode::INTERNAL_SERVER_ERROR, "reloading failed"),
    }
}

// What lies on the disk. Reading it may take long, so that is left to a thread that may wait.
async fn on_store(control: &Arc<Control>, call: Call, body: Said, limit: usize) -> Answer {
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

/// One story at a time: the code of a behavior may run for it.
static EXPLAINING: Semaphore = Semaphore::const_new(1);

// The story of a request under the site in force.
async fn explained(control: &Arc<Control>, body: Said, limit: usize) -> Answer {
    let question: Question = match read_json(body, limit).await {
        Ok(question) => question,
        Err(refused) => return refused,
    };
    let turn = EXPLAINING.acquire().await;
    let this = Arc::clone(control);
    let told = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let site = Arc::clone(&this.edge.running().site);
        explain::explain(&site, &question, this.edge.clock.now(), None)
    });
    match told.await {
        Ok(Ok(story)) => ok(StatusCode::OK, &json!({ "story": story })),
        Ok(Err(why)) => error(StatusCode::BAD_REQUEST, &why),
        Err(_) => error(StatusCode::INTERNAL_SERVER_ERROR, "explaining failed"),
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

async fn promote(control: &Arc<Control>, body: Said, limit: usize) -> Answer {
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

/// The body of `POST /v1/adoptions`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Adoption {
    distribution: String,
    /// Takes it back.
    #[serde(default)]
    undo: bool,
}

async fn adopt(control: &Arc<Control>, body: Said, limit: usize) -> Answer {
    let asked: Adoption = match read_json(body, limit).await {
        Ok(asked) => asked,
        Err(refused) => return refused,
    };
    let this = Arc::clone(control);
    let work = move || {
        let id = &asked.distribution;
        if asked.undo { this.give_back(id) } else { this.adopt(id) }
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(file)) => ok(StatusCode::OK, &json!({ "file": file.display().to_string() })),
        Ok(Err(why)) => error(StatusCode::CONFLICT, &why),
        Err(_) => error(StatusCode::INTERNAL_SERVER_ERROR, "moving the distribution failed"),
    }
}

async fn upgrade(control: &Arc<Control>, body: Said, limit: usize) -> Answer {
    match read_body(body, limit).await {
        Ok(body) => succession::upgrade(&control.succession, &body).await,
        Err(refused) => refused,
    }
}

async fn invalidate(control: &Arc<Control>, body: Said, limit: usize) -> Answer {
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
    body: Said,
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
    // What an edge says changes the log alone, and is over when that edge hangs up.
    let _turn = match control.succession.own_turn().await {
        Ok(turn) => turn,
        Err(refused) => return refused,
    };
    match control.take_from_edge(&edge, batch).await {
        Ok(answer) => ok(StatusCode::OK, &answer),
        Err(wrong) => refuse(wrong),
    }
}

// A member of a fleet asks its sequencer, which may take a while to have an answer.
async fn for_fleet(control: &Arc<Control>, parts: &http::request::Parts, body: Said) -> Answer {
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
    let lease = parts.headers.get(LEASE).map(HeaderValue::as_bytes);
    let (status, octets) = match read_body(body, wire::MESSAGE_MAX).await {
        Ok(said) => calls::take(sequencer, &edge, lease, &said).await,
        Err(refused) if refused.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            calls::refuse(sequencer, Refusal::TooLarge)
        }
        Err(refused) => return refused,
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json_text(status, String::from_utf8(octets).unwrap_or_default())
}

// A bucket's changed objects. Nothing of the body is read for a caller that shows nothing at all.
async fn s3_events(control: &Arc<Control>, parts: &http::request::Parts, body: Said) -> Answer {
    let shown = match control.shown_for_s3(parts) {
        Ok(shown) => shown,
        Err(wait) => {
            control.count_refused_s3();
            return wait.map_or_else(unproved_sender, login::too_many);
        }
    };
    let body = match read_body(body, s3::BODY_MAX).await {
        Ok(body) => body,
        Err(refused) => {
            control.count_refused_s3();
            return refused;
        }
    };
    let turn = match control.succession.own_turn().await {
        Ok(turn) => turn,
        Err(refused) => return refused,
    };
    let this = Arc::clone(control);
    let done = succession::in_turn(turn, async move { this.s3_posted(&body, shown).await }).await;
    match done {
        Some(Ok(taken)) => ok(StatusCode::OK, &taken),
        Some(Err(s3::Refused::Shape(why))) => error(StatusCode::BAD_REQUEST, &why),
        Some(Err(s3::Refused::Unproven(why))) => error(StatusCode::FORBIDDEN, &why),
        Some(Err(s3::Refused::Later(why))) => error(StatusCode::SERVICE_UNAVAILABLE, &why),
        Some(Err(s3::Refused::NotWritten(why))) => refuse(Wrong::NotWritten(why)),
        None => broke_off(),
    }
}

/// The answer to a call whose work ended before it was done.
pub(super) fn broke_off() -> Answer {
    error(StatusCode::INTERNAL_SERVER_ERROR, "the call broke off")
}

fn unproved_sender() -> Answer {
    let mut refused = error(
        StatusCode::UNAUTHORIZED,
        "the token of [events.s3] is needed, as a bearer token or as a password, or the signature of a topic in [events.s3.sns]",
    );
    refused.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    refused
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
        Lacks::Token => {
            "this edge is not trusted here: there is no [[trusted_edge]] with its edge_id, or its token is another"
        }
        Lacks::Certificate => {
            "this edge's certificate is missing or another's: see client_san of its [[trusted_edge]], and listen.client_ca"
        }
    };
    error(StatusCode::UNAUTHORIZED, why)
}

async fn read_body(body: Said, limit: usize) -> Result<Bytes, Answer> {
    let body = match body {
        Said::Coming(body) => body,
        Said::Read(read) => return read,
    };
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

async fn read_json<T: serde::de::DeserializeOwned>(body: Said, limit: usize) -> Result<T, Answer> {
    let bytes = read_body(body, limit).await?;
    serde_json::from_slice(&bytes).map_err(|why| {
        // Names of this program's types say nothing to a caller.
        let why = why.to_string().replace("expected u64", "expected a whole number");
        error(StatusCode::BAD_REQUEST, &format!("the body is not as expected: {why}"))
    })
}

fn is_authorised(fields: &http::HeaderMap, token: &Secret<String>) -> bool {
    fields.get(AUTHORIZATION).is_some_and(|given| token.is_borne_by(given.as_bytes()))
}
