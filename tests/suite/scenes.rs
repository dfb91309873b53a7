//! Runs every scene of `tests/scenes`: the policy, told line by line, on virtual time. No scene
//! sleeps.
//!
//! Each viewer's question goes through both lanes. Where the hit step answers, it must say what the
//! full sentence says. The language is described in `tests/scenes/README`.

use foreshore::deliver::sink::Http1Lines;
use foreshore::semantics::fields::FieldSection;
use std::collections::VecDeque;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use foreshore::body::Body;
use foreshore::cache::invalidations::{Matcher, Severity};
use foreshore::clock::Clock;
use foreshore::config::{self, MissingCertificates};
use foreshore::distribution::origin::Origin;
use foreshore::message::connection::Connection;
use foreshore::message::failure::{Failure, FailureKind};
use foreshore::message::key::InvalidationNumber;
use foreshore::message::request::ViewerRequest;
use foreshore::message::response::{Reply, ReplyFrom};
use foreshore::origin::Upstream;
use foreshore::origin::request::OriginRequest;
use foreshore::proxy::hit::{self, Declined};
use foreshore::proxy::{Edge, Proxy};
use foreshore::semantics::time::{Timestamp, format_http_date};
use http::{HeaderValue, Method};

const START: Timestamp = Timestamp::from_secs(1_800_000_000);

#[derive(Clone, Default)]
struct ResponseForm {
    fails: bool,
    status: u16,
    fields: Vec<(String, String)>,
    body: String,
    takes: Duration,
    breaks: bool,
}

struct Script {
    clock: Clock,
    answers: Mutex<VecDeque<ResponseForm>>,
    seen: Mutex<Vec<FieldSection>>,
}

impl Upstream for Script {
    fn ask<'a>(
        &'a self,
        _origin: &'a Arc<Origin>,
        request: OriginRequest,
    ) -> Pin<Box<dyn Future<Output = Result<Reply, Failure>> + Send + 'a>> {
        Box::pin(async move {
            let asked_at = self.clock.now();
            let (mut fields, mut body, mut sent) = (request.fields, request.body, Vec::new());
            while let Some(Ok(piece)) = body.piece().await {
                sent.extend_from_slice(&piece);
            }
            fields.insert("scene-method", request.method.as_str());
            fields.insert("scene-body", HeaderValue::from_bytes(&sent).unwrap());
            self.seen.lock().unwrap().push(fields);
            let answer = {
                let mut answers = self.answers.lock().unwrap();
                // The last answer is given for ever.
                if answers.len() > 1 {
                    answers.pop_front().unwrap()
                } else {
                    answers.front().cloned().expect("the scene has an origin")
                }
            };
            tokio::time::sleep(answer.takes).await;
            if answer.fails {
                return Err(Failure::new(FailureKind::ConnectionRefused, "scripted"));
            }
            let now = self.clock.now();
            let mut fields = fields_of(&answer.fields, now);
            if !fields.contains("date") {
                fields.insert("date", HeaderValue::try_from(format_http_date(now)).unwrap());
            }
            fields.append("via", "1.1 foreshore");
            let body = if answer.breaks {
                Body::Wire(Box::new(Broken), Some(100))
            } else {
                Body::Bytes(answer.body.into())
            };
            Ok(Reply {
                status: answer.status,
                fields,
                body,
                asked_at,
                arrived_at: now,
                from: ReplyFrom::Origin,
            })
        })
    }
}

struct Broken;

impl foreshore::body::Source for Broken {
    fn poll_piece(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<bytes::Bytes, foreshore::body::BodyError>>> {
        std::task::Poll::Ready(Some(Err(foreshore::body::BodyError::Truncated)))
    }
}

// `now+60` and `now-60` stand for HTTP dates.
fn fields_of(lines: &[(String, String)], now: Timestamp) -> FieldSection {
    let mut fields = FieldSection::new();
    for (name, value) in lines {
        let value = match value.strip_prefix("now").map(|offset| offset.parse::<i64>()) {
            Some(Ok(offset)) => {
                format_http_date(Timestamp::from_secs((now.secs() as i64 + offset) as u64))
            }
            _ => value.clone(),
        };
        fields.append(name, value);
    }
    fields
}

struct Stage {
    edge: Arc<Edge>,
    core: Arc<Proxy>,
    script: Arc<Script>,
    counted: usize,
    number: u64,
}

fn stage(policy: &str, distribution: &str, behavior: &str) -> Stage {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scene.toml");
    let text = format!(
        "[listen]\nhttp = [\"127.0.0.1:1\"]\n[cache_policy.p]\n{policy}\n[[distribution]]\nid = \"E\"\nhosts = [\"*\"]\n{distribution}\n\
         [[distribution.origin]]\nid = \"o\"\nurl = \"http://o.test\"\n[[distribution.behavior]]\npath = \"*\"\norigin = \"o\"\ncache_policy = \"p\"\n{behavior}\n"
    );
    std::fs::write(&path, text).unwrap();
    let clock = Clock::starting_at(START);
    let site = config::load(&path, START, MissingCertificates::Done)
        .unwrap_or_else(|report| panic!("{}", report.render(false)))
        .site;
    let edge = Edge::new(site, "scene".into(), clock.clone());
    let script = Arc::new(Script { clock, answers: Mutex::default(), seen: Mutex::default() });
    let core = Arc::new(Proxy {
        index: 0,
        edge: Arc::clone(&edge),
        upstream: Arc::clone(&script) as Arc<dyn Upstream>,
    });
    Stage { edge, core, script, counted: 0, number: 0 }
}

struct Question {
    method: Method,
    target: String,
    fields: FieldSection,
    body: String,
}

fn ask(question: &Question, now: Timestamp, number: InvalidationNumber) -> ViewerRequest {
    let peer = std::net::SocketAddr::from(([192, 0, 2, 7], 4000));
    ViewerRequest::get(&format!("http://h.test{}", question.target))
        .with_method(question.method.clone())
        .with_fields(question.fields.clone())
        .with_connection(Connection::from(peer))
        .with_arrival(now, number)
}

type Heard = (u16, FieldSection, Result<String, ()>);

async fn one_viewer(core: Arc<Proxy>, question: Question) -> Heard {
    let edge = &core.edge;
    let request = ask(&question, edge.clock.now(), edge.invalidations.head());
    let by_hit = {
        let running = edge.running();
        let (mut key, mut lines) = (Vec::new(), Vec::new());
        hit::hit(edge, &running, &request.head(), &mut key, request.arrived_at).ok().map(|hit| {
            hit.write(&mut Http1Lines(&mut lines), request.arrived_at);
            (hit.status(), String::from_utf8(lines).unwrap(), hit.span.map_or(0, |span| span.len()))
        })
    };
    let begun = edge.begin(edge.running(), request, Declined::default());
    let mut response = core
        .serve(
            begun,
            if question.body.is_empty() { Body::Empty } else { Body::Bytes(question.body.into()) },
        )
        .await;
    let length = response.body.length();
    let mut body = Vec::new();
    let mut whole = true;
    while let Some(piece) = response.body.piece().await {
        match piece {
            Ok(bytes) => body.extend_from_slice(&bytes),
            Err(_) => {
                whole = false;
                break;
            }
        }
    }
    if let Some((status, lines, span)) = by_hit {
        assert_eq!(status, response.status, "both lanes give one status");
        assert_eq!(span, body.len() as u64, "both lanes give one body");
        let mut said: Vec<String> = lines
            .lines()
            .map(str::to_ascii_lowercase)
            .filter(|line| !line.starts_with("content-length"))
            .collect();
        let full = response.fields.iter().filter(|(name, _)| *name != "content-length");
        let mut full: Vec<String> = full
            .map(|(name, value)| {
                format!("{}: {}", name.spelled(), value.to_str().unwrap()).to_ascii_lowercase()
            })
            .collect();
        said.sort();
        full.sort();
        assert_eq!(said, full, "both lanes give the same fields");
    } else if whole && length.is_some() && question.method == Method::GET {
        assert_eq!(length, Some(body.len() as u64), "a body is as long as it says");
    }
    let text = String::from_utf8_lossy(&body).into_owned();
    (response.status, response.fields, if whole { Ok(text) } else { Err(()) })
}

fn pairs(parts: &[&str]) -> Vec<(String, String)> {
    parts
        .iter()
        .filter_map(|part| part.split_once(':'))
        .map(|(n, v)| (n.trim().to_ascii_lowercase(), v.trim().to_string()))
        .collect()
}

fn duration(text: &str) -> Duration {
    config::reader::parse_duration(text.trim()).unwrap()
}

fn quoted(part: &str) -> Option<String> {
    part.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).map(str::to_string)
}

fn check(heard: &Heard, expected: &str) -> Result<(), String> {
    let (status, fields, body) = heard;
    let mut parts = expected.split('|').map(str::trim);
    let wanted: u16 = parts.next().unwrap().parse().unwrap();
    if *status != wanted {
        return Err(format!("status {status}, expected {wanted}; {fields:?}"));
    }
    for part in parts {
        if part == "broken" {
            body.as_ref().err().ok_or("the body is whole, expected it to break off")?;
        } else if let Some(text) = quoted(part) {
            if body.as_deref() != Ok(&text) {
                return Err(format!("body {body:?}, expected {text:?}"));
            }
        } else if let Some(absent) = part.strip_prefix("no ") {
            if fields.contains(absent.trim()) {
                return Err(format!("{absent} is there"));
            }
        } else if let Some((name, value)) = part.split_once(':') {
            let got: Vec<&str> =
                fields.get_all(name.trim()).filter_map(|v| v.to_str().ok()).collect();
            if !got.iter().any(|got| got.starts_with(value.trim())) {
                return Err(format!("{name}: {got:?}, expected {value}"));
            }
        } else {
            return Err(format!("what is {part:?}?"));
        }
    }
    Ok(())
}

async fn play(text: &str) -> Result<(), String> {
    let mut policy = String::new();
    let mut distribution = String::new();
    let mut behavior = String::new();
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("policy ") {
            policy.push_str(rest);
            policy.push('\n');
        } else if let Some(rest) = line.strip_prefix("distribution ") {
            distribution.push_str(rest);
            distribution.push('\n');
        } else if let Some(rest) = line.strip_prefix("behavior ") {
            behavior.push_str(rest);
            behavior.push('\n');
        }
    }
    let mut stage = stage(&policy, &distribution, &behavior);
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty()
            || line.starts_with('#')
            || line.starts_with("policy ")
            || line.starts_with("distribution ")
            || line.starts_with("behavior ")
        {
            continue;
        }
        step(&mut stage, line)
            .await
            .map_err(|why| format!("line {}: {line}\n    {why}", at + 1))?;
    }
    Ok(())
}

async fn step(stage: &mut Stage, line: &str) -> Result<(), String> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let rest = rest.trim();
    match word {
        "origin" => origin(stage, rest).await,
        "viewer" | "viewers" => viewers(stage, word == "viewers", rest).await,
        "after" => {
            tokio::time::sleep(duration(rest)).await;
            Ok(())
        }
        "purge" => {
            let (item, severity) = match rest.strip_suffix(" soft") {
                Some(item) => (item, Severity::Soft),
                None => (rest, Severity::Hard),
            };
            stage.number += 1;
            stage.edge.invalidations.apply(
                "E",
                &[Matcher::parse(item)?],
                severity,
                InvalidationNumber(stage.number),
            );
            Ok(())
        }
        _ => Err("unknown word".into()),
    }
}

async fn origin(stage: &mut Stage, rest: &str) -> Result<(), String> {
    let parts: Vec<&str> = rest.split('|').map(str::trim).collect();
    if let Some(count) = parts[0].strip_prefix("saw ") {
        // Fills that nobody waits for get their turn.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let seen = stage.script.seen.lock().unwrap();
        let (now, wanted) = (seen.len() - stage.counted, count.parse::<usize>().unwrap());
        if now != wanted {
            return Err(format!("the origin saw {now}"));
        }
        stage.counted = seen.len();
        for part in &parts[1..] {
            let last = seen.last().ok_or("it saw nothing")?;
            if let Some(absent) = part.strip_prefix("no ") {
                if last.contains(absent) {
                    return Err(format!("{absent} reached the origin"));
                }
            } else if let Some((name, value)) = part.split_once(':') {
                let got = last.get(name.trim()).and_then(|v| v.to_str().ok());
                if got != Some(value.trim()) {
                    return Err(format!("{name}: {got:?}"));
                }
            }
        }
        return Ok(());
    }
    let mut answer = ResponseForm {
        fails: parts[0] == "fails",
        status: parts[0].parse().unwrap_or(0),
        fields: pairs(&parts[1..]),
        ..ResponseForm::default()
    };
    answer.fields.retain(|(name, _)| !name.starts_with('"'));
    for part in &parts[1..] {
        if let Some(text) = quoted(part) {
            answer.body = text;
        } else if let Some(time) = part.strip_prefix("takes ") {
            answer.takes = duration(time);
        } else if *part == "breaks" {
            answer.breaks = true;
        }
    }
    // `then` adds to what is waiting; otherwise this is the answer from now on.
    let mut answers = stage.script.answers.lock().unwrap();
    if parts.contains(&"then") {
        answers.push_back(answer);
    } else {
        *answers = VecDeque::from([answer]);
    }
    Ok(())
}

async fn viewers(stage: &mut Stage, many: bool, rest: &str) -> Result<(), String> {
    let (asks, expected) = rest.split_once("->").ok_or("viewer … -> …")?;
    let (count, asks) = if many {
        let (count, asks) = asks.trim().split_once(' ').ok_or("viewers N …")?;
        (count.parse().map_err(|_| "how many?")?, asks)
    } else {
        (1, asks)
    };
    let parts: Vec<&str> = asks.split('|').map(str::trim).collect();
    let (method, target) = parts[0].split_once(' ').ok_or("METHOD /path")?;
    let fields = fields_of(&pairs(&parts[1..]), stage.edge.clock.now());
    let body = parts.iter().find_map(|part| quoted(part)).unwrap_or_default();
    let mut tasks = Vec::new();
    for _ in 0..count {
        let question = Question {
            method: method.parse().unwrap(),
            target: target.into(),
            fields: fields.clone(),
            body: body.clone(),
        };
        tasks.push(tokio::spawn(one_viewer(Arc::clone(&stage.core), question)));
    }
    for task in tasks {
        check(&task.await.map_err(|error| error.to_string())?, expected.trim())?;
    }
    Ok(())
}

#[test]
fn every_scene_plays_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenes");
    let mut names: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "scene"))
        .collect();
    names.sort();
    assert!(names.len() >= 20, "scenes are missing");
    let mut failed = Vec::new();
    for path in names {
        let text = std::fs::read_to_string(&path).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        if let Err(why) = runtime.block_on(play(&text)) {
            failed.push(format!("{}: {why}", path.file_name().unwrap().to_string_lossy()));
        }
    }
    assert!(failed.is_empty(), "\n{}\n", failed.join("\n"));
}
