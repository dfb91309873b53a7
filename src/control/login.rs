//! Who may make the calls that want the admin token: whoever bears it, and a browser that has shown
//! it and has a cookie since, where its request does not come from another site.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::header::{
    AUTHORIZATION, COOKIE, HOST, HeaderName, ORIGIN, RETRY_AFTER, SET_COOKIE, WWW_AUTHENTICATE,
};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;

use super::Control;
use super::answer::{Answer, error, ok};
use super::sessions::{
    BEARERS_MAX, Guesses, LIFE, LOGINS_MAX, Provenance, Sessions, Trial, set_cookie, unset_cookie,
    word_in,
};
use crate::base::secret::Secret;
use crate::distribution::site::Dashboard;

/// The body of `POST /v1/login`, at most so long.
pub const BODY_MAX: usize = 4096;

static FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The sessions of browsers, and what was wrong on the way to one.
pub struct Doorkeeper {
    sessions: Mutex<Sessions>,
    logins: Mutex<Guesses>,
    bearers: Mutex<Guesses>,
    /// The admin token in the place of that of `[events.s3]`.
    senders: Mutex<Guesses>,
    /// Logins that were refused.
    pub refused: AtomicU64,
    /// Calls that bore a wrong token, or one that was not looked at.
    pub wrong_bearers: AtomicU64,
}

impl Default for Doorkeeper {
    fn default() -> Self {
        Self {
            sessions: Mutex::default(),
            logins: Mutex::new(Guesses::at_most(LOGINS_MAX)),
            bearers: Mutex::new(Guesses::at_most(BEARERS_MAX)),
            senders: Mutex::new(Guesses::at_most(BEARERS_MAX)),
            refused: AtomicU64::new(0),
            wrong_bearers: AtomicU64::new(0),
        }
    }
}

/// The other end of a connection to the admin listener.
#[derive(Clone, Copy)]
pub struct Caller {
    pub address: IpAddr,
    pub is_https: bool,
}

/// The body of `POST /v1/login`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    token: String,
}

/// Says whether the configuration in force has a dashboard.
pub fn is_open(control: &Control) -> bool {
    control.edge.running().site.admin.dashboard == Dashboard::On
}

/// What a caller is told that may not make a call which wants the admin token; `None` where it may.
pub fn refusal(control: &Control, parts: &Parts) -> Option<Answer> {
    match bearer(control, parts) {
        Some(Trial::Right) => return None,
        Some(Trial::Wait(wait)) => return Some(too_many(wait)),
        Some(Trial::Wrong { .. }) | None => {}
    }
    let is_known = session(parts).is_some_and(|word| is_known(control, word));
    if !is_known {
        let mut refused = error(
            StatusCode::UNAUTHORIZED,
            "a bearer token is needed; see admin-token in the data folder",
        );
        refused.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return Some(refused);
    }
    let from = provenance(parts);
    let only_reads = parts.method == Method::GET || parts.method == Method::HEAD;
    let is_foreign = from.is_foreign() || (!only_reads && !from.is_own(is_https(parts)));
    is_foreign.then(foreign)
}

/// What a caller is told that has to show something else, and bears a token: who guesses waits here,
/// too. `None` where it need not wait.
pub fn slowed(control: &Control, parts: &Parts) -> Option<Answer> {
    match bearer(control, parts) {
        Some(Trial::Wait(wait)) => Some(too_many(wait)),
        Some(Trial::Right | Trial::Wrong { .. }) | None => None,
    }
}

/// The session by which a call is made; `None` where it bears the token.
pub fn session_of(control: &Control, parts: &Parts) -> Option<Secret<String>> {
    let bearer = parts.headers.get(AUTHORIZATION);
    if bearer.is_some_and(|said| control.token.is_borne_by(said.as_bytes())) {
        return None;
    }
    session(parts).map(|word| Secret::new(word.to_string()))
}

/// Says whether a session has not ended, nor the dashboard with it.
pub fn is_alive(control: &Control, session: &Secret<String>) -> bool {
    is_known(control, session.expose())
}

fn is_known(control: &Control, word: &str) -> bool {
    let now = control.edge.clock.now();
    is_open(control) && control.doorkeeper.sessions.lock().knows(word, now)
}

// What a bearer token comes to; `None` where there is none.
fn bearer(control: &Control, parts: &Parts) -> Option<Trial> {
    let said = parts.headers.get(AUTHORIZATION)?.as_bytes();
    let is_bearer = said.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "));
    let caller = parts.extensions.get::<Caller>().filter(|_| is_bearer)?;
    let now = control.edge.clock.now();
    let is_right = || control.token.is_borne_by(said);
    let trial = control.doorkeeper.bearers.lock().judge(caller.address, now, is_right);
    if trial != Trial::Right {
        control.doorkeeper.wrong_bearers.fetch_add(1, Ordering::Relaxed);
    }
    if matches!(trial, Trial::Wrong { is_last: true }) {
        tracing::warn!(
            address = %caller.address,
            "{BEARERS_MAX} wrong bearer tokens within a minute; more of them are answered 429"
        );
    }
    Some(trial)
}

/// Judges what a sender of events shows that is not the token of `[events.s3]`: it may be the admin
/// token, and who guesses that waits here, too. It is counted apart: a sender with a wrong token
/// must not keep out the operator at its address. `None` for what is no token and no password.
pub fn judge_sender(
    control: &Control,
    parts: &Parts,
    is_right: impl FnOnce() -> bool,
) -> Option<Trial> {
    let said = parts.headers.get(AUTHORIZATION)?.as_bytes();
    let begins_with = |scheme: &[u8]| {
        said.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    let is_shown = begins_with(b"bearer ") || begins_with(b"basic ");
    let caller = parts.extensions.get::<Caller>().filter(|_| is_shown)?;
    let now = control.edge.clock.now();
    Some(control.doorkeeper.senders.lock().judge(caller.address, now, is_right))
}

/// What is said to those who have to wait.
pub fn too_many(wait: Duration) -> Answer {
    let mut refused = error(
        StatusCode::TOO_MANY_REQUESTS,
        "too many wrong tokens from this address; wait a minute",
    );
    refused.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
    refused
}

/// `POST /v1/login`.
pub fn login(control: &Control, parts: &Parts, shown: &Shown) -> Answer {
    let answer = begin(control, parts, shown);
    if answer.status() != StatusCode::OK {
        control.doorkeeper.refused.fetch_add(1, Ordering::Relaxed);
    }
    answer
}

fn begin(control: &Control, parts: &Parts, shown: &Shown) -> Answer {
    let from = provenance(parts);
    if from.is_foreign() || (from.origin.is_some() && !from.is_own(is_https(parts))) {
        return foreign();
    }
    let Some(caller) = parts.extensions.get::<Caller>() else { return foreign() };
    let now = control.edge.clock.now();
    let is_right = || control.token.is_shown_by(shown.token.as_bytes());
    let trial = control.doorkeeper.logins.lock().judge(caller.address, now, is_right);
    match trial {
        Trial::Right => {}
        Trial::Wait(wait) => return too_many(wait),
        Trial::Wrong { .. } => {
            tracing::warn!(address = %caller.address, "a wrong token was shown at /v1/login");
            return error(
                StatusCode::UNAUTHORIZED,
                "this is not the admin token; see admin-token in the data folder",
            );
        }
    }
    let mut random = [0; 32];
    if aws_lc_rs::rand::fill(&mut random).is_err() {
        return error(StatusCode::INTERNAL_SERVER_ERROR, "there is no randomness");
    }
    let word: String = random.iter().map(|octet| format!("{octet:02x}")).collect();
    let cookie = set_cookie(&word, caller.is_https);
    control.doorkeeper.sessions.lock().begin(Secret::new(word), now);
    with_cookie(ok(StatusCode::OK, &json!({ "seconds": LIFE.as_secs() })), &cookie)
}

/// `POST /v1/logout`.
pub fn logout(control: &Control, parts: &Parts) -> Answer {
    if let Some(word) = session(parts) {
        control.doorkeeper.sessions.lock().end(word);
    }
    with_cookie(ok(StatusCode::OK, &json!({})), &unset_cookie(is_https(parts)))
}

fn with_cookie(mut answer: Answer, cookie: &str) -> Answer {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        answer.headers_mut().insert(SET_COOKIE, value);
    }
    answer
}

fn foreign() -> Answer {
    error(
        StatusCode::FORBIDDEN,
        "a session's calls come from the dashboard itself, with its Origin; others bear the token",
    )
}

// HTTP/1.1 clients send one Cookie field.
fn session(parts: &Parts) -> Option<&str> {
    parts.headers.get(COOKIE)?.to_str().ok().and_then(word_in)
}

fn is_https(parts: &Parts) -> bool {
    parts.extensions.get::<Caller>().is_some_and(|caller| caller.is_https)
}

fn provenance(parts: &Parts) -> Provenance<'_> {
    // What is no text is not ours either.
    let said = |name: &HeaderName| {
        parts.headers.get(name).map(|value| value.to_str().unwrap_or("\u{fffd}"))
    };
    Provenance { origin: said(&ORIGIN), site: said(&FETCH_SITE), host: said(&HOST) }
}
