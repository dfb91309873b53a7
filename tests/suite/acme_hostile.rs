//! A CA whose answers are hostile, endless or malformed costs a bounded wait and an error that says
//! where; viewers notice nothing.

use std::path::Path;
use std::time::{Duration, Instant};

use foreshore::semantics::time::{Timestamp, format_rfc3339};
use serde_json::Value;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::support::edge::plain;
use super::support::{Ca, Edge, Looks, Wrong, eventually, shown};

const PAGE: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<html>Sign in</html>";
const CUT: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{\"status\":";
const DOWNGRADE: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n\
    {\"newNonce\":\"http://127.0.0.1/\",\"newAccount\":\"http://127.0.0.1/\",\"newOrder\":\"http://127.0.0.1/\"}";
const NO_CHALLENGE: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n\
    {\"identifier\":{\"type\":\"dns\",\"value\":\"NAME\"},\"status\":\"pending\",\"challenges\":[{\"type\":\"odd-01\",\"url\":\"https://127.0.0.1/\",\"status\":\"pending\"}]}";
const OTHER_NAME: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n\
    {\"identifier\":{\"type\":\"dns\",\"value\":\"$(reboot)\"},\"status\":\"pending\",\"challenges\":[{\"type\":\"http-01\",\"url\":\"https://127.0.0.1/\",\"status\":\"pending\",\"token\":\"abc\"}]}";
const BAD_TOKEN: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n\
    {\"identifier\":{\"type\":\"dns\",\"value\":\"NAME\"},\"status\":\"pending\",\"challenges\":[{\"type\":\"http-01\",\"url\":\"https://127.0.0.1/\",\"status\":\"pending\",\"token\":\"../../etc/passwd\"}]}";
const NO_NONCE: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
const NO_HTTP: &str = "SSH-2.0-OpenSSH_9.2\r\n\r\n";

// What goes wrong at which step, and what is said of it. Those that cost patience come first: four
// are tried at once.
fn cases() -> Vec<(&'static str, Wrong, &'static str)> {
    vec![
        ("dir", Wrong::Silent, "no-answer: GET "),
        ("account", Wrong::Drips, "no-answer: POST "),
        ("new-order", Wrong::Silent, "no whole answer within"),
        ("dir", Wrong::Endless, "no-answer: GET "),
        ("dir", Wrong::Octets(""), "no-answer: GET "),
        ("dir", Wrong::Octets(NO_HTTP), "no-answer: GET "),
        ("dir", Wrong::Octets(PAGE), "malformed: the directory: "),
        ("dir", Wrong::Octets(CUT), "the answer broke off"),
        ("dir", Wrong::Octets(DOWNGRADE), "has to begin with https://"),
        ("dir", Wrong::Redirects, "status 307, a redirect"),
        ("nonce", Wrong::Octets(NO_NONCE), "malformed: no nonce, status 200"),
        ("account", Wrong::Problem(403, "unauthorized", None), "refused: the account: "),
        ("new-order", Wrong::Redirects, "status 307, a redirect"),
        ("new-order", Wrong::Octets(PAGE), "malformed: a new order: "),
        ("new-order", Wrong::Problem(400, "rejectedIdentifier", None), "rejectedIdentifier"),
        ("authz", Wrong::Octets(NO_CHALLENGE), "does not offer http-01, but odd-01"),
        ("authz", Wrong::Octets(OTHER_NAME), "a name proved that was not ordered"),
        ("authz", Wrong::Octets(BAD_TOKEN), "challenge http-01: no token"),
        ("order", Wrong::Invalid, "not-proved: the order is Invalid: unauthorized"),
        (
            "finalize",
            Wrong::Problem(400, "badCSR", None),
            "refused: finalizing: status 400, badCSR",
        ),
        ("certificate", Wrong::Octets(PAGE), "malformed: the certificate is none"),
        ("certificate", Wrong::IssuesFor("other.test"), "is not for the names that were ordered"),
        ("certificate", Wrong::IssuesOtherKey, "malformed: the certificate is for another key"),
    ]
}

fn rows(edge: &Edge) -> Vec<Value> {
    let (status, body) = edge.admin("GET", "/v1/status", "");
    assert_eq!(status, 200, "{body}");
    let status: Value = serde_json::from_str(&body).unwrap();
    status["acme"].as_array().unwrap().clone()
}

fn row_of<'r>(rows: &'r [Value], name: &str) -> Option<&'r Value> {
    rows.iter().find(|row| row["names"][0] == name)
}

// One certificate of each CA, for w0.test, w1.test …
fn start(cas: &[Ca]) -> Edge {
    let origin = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let mut tables = String::new();
    for (at, ca) in cas.iter().enumerate() {
        std::fs::write(folder.path().join(format!("root{at}.pem")), ca.root()).unwrap();
        tables += &format!(
            "[[certificate]]\nacme = {{ names = [\"w{at}.test\"], directory = {:?}, ca = \"root{at}.pem\", \
             accept_terms = true, challenge = \"http-01\" }}\n",
            ca.directory()
        );
    }
    let config =
        plain(origin, &tables).replace("workers = 2\n", "https = [\"127.0.0.1:0\"]\nworkers = 2\n");
    std::fs::write(folder.path().join("edge.toml"), config).unwrap();
    Edge::start_in(folder)
}

fn assert_signs_itself(edge: &Edge, name: &str) {
    let (der, _) = shown(edge.https.unwrap(), name, None).unwrap();
    let (_, parsed) = X509Certificate::from_der(&der).unwrap();
    let subject = parsed.subject().to_string();
    assert!(subject.contains("until a CA has issued one"), "{name}: {subject}");
}

#[test]
fn slow_a_ca_that_answers_wrong_costs_a_bounded_wait_and_a_named_error() {
    let cases = cases();
    let cas: Vec<Ca> = cases.iter().map(|_| Ca::start()).collect();
    for ((step, wrong, _), (at, ca)) in cases.iter().zip(cas.iter().enumerate()) {
        let wrong = match wrong {
            // The name of this certificate stands in the document.
            Wrong::Octets(text) => Wrong::Octets(Box::leak(
                text.replace("NAME", &format!("w{at}.test")).into_boxed_str(),
            )),
            other => other.clone(),
        };
        ca.goes_wrong(step, wrong);
    }
    let edge = start(&cas);
    cas.iter().for_each(|ca| ca.looks_at(vec![Looks::Http(edge.http)]));
    let until = Instant::now() + Duration::from_secs(120);
    for (at, (step, wrong, expected)) in cases.iter().enumerate() {
        let name = format!("w{at}.test");
        let failed = loop {
            assert_signs_itself(&edge, &name);
            let all = rows(&edge);
            let row = row_of(&all, &name).filter(|row| row["last_error"].is_string());
            if let Some(row) = row {
                break row.clone();
            }
            assert!(Instant::now() < until, "{step}, {wrong:?}: {all:?}");
            std::thread::park_timeout(Duration::from_millis(20));
        };
        let said = failed["last_error"].as_str().unwrap();
        assert!(said.contains(expected), "{step}, {wrong:?}: {said}");
        assert!(said.len() < 1000 && !said.contains(char::is_control), "{said}");
        assert!(failed["next"].is_string(), "{failed}");
    }
    // Memory is bounded, too: an endless answer is not taken up.
    let (_, highest) = edge.memory();
    assert!(highest < 512 * 1024, "{highest} KiB");
}

#[test]
fn a_ca_that_asks_for_patience_is_left_alone_over_a_restart_too() {
    let ca = Ca::start();
    ca.goes_wrong("new-order", Wrong::Problem(429, "rateLimited", Some(7200)));
    let edge = start(std::slice::from_ref(&ca));
    let failed = |edge: &Edge| rows(edge).first().is_some_and(|row| row["state"] == "failed");
    eventually("a refusal", || failed(&edge));
    let first = rows(&edge)[0].clone();
    assert!(first["last_error"].as_str().unwrap().starts_with("rate-limited: a new order: "));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let in_its_time = format_rfc3339(Timestamp::from_secs(now.as_secs() + 7000));
    assert!(first["next"].as_str().unwrap() > &*in_its_time, "{first}");
    let asked = ca.asked("new-order");
    ca.goes_right();
    let edge = Edge::start_in(edge.kill());
    eventually("the same word", || failed(&edge));
    let second = rows(&edge)[0].clone();
    for what in ["last_error", "next", "failures"] {
        assert_eq!(second[what], first[what]);
    }
    assert_eq!((asked, ca.asked("new-order"), ca.asked("account")), (1, 1, 1));
    assert_signs_itself(&edge, "w0.test");
}

// What is remembered of each certificate, as if that had been written an hour before and everything
// that it waits for were that much closer, but for what it tries by itself, which is far away.
fn an_hour_passes(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            an_hour_passes(&path);
        } else if path.ends_with("state.json") {
            let text = std::fs::read_to_string(&path).unwrap();
            let mut state: Value = serde_json::from_str(&text).unwrap();
            let later = |state: &Value, by: i64| state.as_u64().unwrap().saturating_add_signed(by);
            state["tried_at"] = later(&state["tried_at"], -3600).into();
            if state["left_alone"] == 0 {
                state["retry_at"] = later(&state["retry_at"], 36_000).into();
            } else {
                state["left_alone"] = later(&state["left_alone"], -3600).into();
                state["retry_at"] = later(&state["retry_at"], -3600).into();
            }
            std::fs::write(&path, state.to_string()).unwrap();
        }
    }
}

#[test]
fn a_reload_has_what_failed_tried_again_and_no_sooner_than_its_ca_said() {
    let cas = [Ca::start(), Ca::start()];
    cas[0].goes_wrong("new-order", Wrong::Problem(403, "unauthorized", None));
    cas[1].goes_wrong("new-order", Wrong::Problem(429, "rateLimited", Some(7200)));
    let edge = start(&cas);
    let row = |edge: &Edge, at: usize| row_of(&rows(edge), &format!("w{at}.test")).cloned();
    let failed =
        |edge: &Edge| (0..2).all(|at| row(edge, at).is_some_and(|row| row["state"] == "failed"));
    let asked = || [&cas[0], &cas[1]].map(|ca| ca.asked("new-order"));
    eventually("two refusals", || failed(&edge));
    let reload = |edge: &Edge| assert_eq!(edge.admin("POST", "/v1/reload", "").0, 200);
    // Both were tried a moment ago.
    reload(&edge);
    eventually("it waits no longer than it has to", || {
        let row = row(&edge, 0).unwrap();
        row["next"] == row["after_reload"]
    });
    let limited = row(&edge, 1).unwrap();
    assert_eq!(limited["next"], limited["after_reload"], "{limited}");
    assert_eq!(asked(), [1, 1]);
    let folder = edge.kill();
    an_hour_passes(folder.path());
    cas.iter().for_each(Ca::goes_right);
    let edge = Edge::start_in(folder);
    cas.iter().for_each(|ca| ca.looks_at(vec![Looks::Http(edge.http)]));
    eventually("they wait still", || failed(&edge));
    assert_eq!(asked(), [1, 1]);
    reload(&edge);
    eventually("a certificate", || row(&edge, 0).unwrap()["state"] == "issued");
    let issued = row(&edge, 0).unwrap();
    assert!(issued["after_reload"].is_null() && issued["failures"] == 0, "{issued}");
    // It was looked at beside the first, at the same reload.
    assert_eq!((row(&edge, 1).unwrap()["state"].clone(), asked()), ("failed".into(), [2, 1]));
    let told = "reloaded: certificates that failed are tried again";
    eventually("it is told", || edge.log().contains(told));
}

#[test]
fn a_ca_whose_nonces_are_never_good_is_given_up() {
    let ca = Ca::start();
    ca.refuses_nonces(1_000_000);
    let edge = start(std::slice::from_ref(&ca));
    eventually("a failure", || {
        rows(&edge).first().is_some_and(|row| row["last_error"].is_string())
    });
    let row = rows(&edge)[0].clone();
    assert!(row["last_error"].as_str().unwrap().contains("badNonce"), "{row}");
    assert!((1.0..=12.0).contains(&edge.metric("foreshore_acme_nonces_refused_total")));
}
