//! Runs every scene of `tests/scenes`: the policy, told line by line, on virtual time. No scene
//! sleeps.
//!
//! Each viewer's question goes through both lanes. Where the hit step answers, it must say what the
//! full sentence says. The language is described in `tests/scenes/README`.

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use foreshore::access::rate::Buckets;
use foreshore::body::Body;
use foreshore::cache::invalidations::{Matcher, Severity};
use foreshore::clock::Clock;
use foreshore::config::{self, MissingCertificates};
use foreshore::crypto::key::PrivateKey;
use foreshore::crypto::policy::PolicyConditions;
use foreshore::crypto::url::{ToSign, Unsigned, sign};
use foreshore::deliver::sink::Http1Lines;
use foreshore::distribution::geo::Location;
use foreshore::distribution::origin::Origin;
use foreshore::message::connection::{Connection, Scheme, TlsFacts};
use foreshore::message::encryption::EncryptionStatus;
use foreshore::message::failure::{Failure, FailureKind};
use foreshore::message::key::InvalidationNumber;
use foreshore::message::refusal::{Misdirection, Refusal, Unfit, Why};
use foreshore::message::request::ViewerRequest;
use foreshore::message::response::{Reply, ReplyFrom};
use foreshore::message::verdict::Reason;
use foreshore::origin::Upstream;
use foreshore::origin::request::OriginRequest;
use foreshore::proxy::hit::{self, Declined};
use foreshore::proxy::{Edge, Proxy, Running};
use foreshore::semantics::fields::FieldSection;
use foreshore::semantics::ranges::{self, Selection};
use foreshore::semantics::time::{Timestamp, format_http_date};
use foreshore::semantics::websocket::HandshakeError;
use http::{HeaderValue, Method};

use super::support::code::shipped;

const START: Timestamp = Timestamp::from_secs(1_800_000_000);

/// The key of the key group `scene`, and its two halves below `tests/vectors`.
const KEY: &str = "KSCENE";
const PUBLIC: &str = "ecdsa-p256-public.pem";
const PRIVATE: &str = "ecdsa-p256-TEST-ONLY-private.pem";

#[derive(Clone, Default)]
struct ResponseForm {
    fails: bool,
    status: u16,
    fields: Vec<(String, String)>,
    body: String,
    takes: Duration,
    breaks: bool,
    /// It answers a request for a range with that part of its body.
    cuts: bool,
}

impl ResponseForm {
    // What an origin that knows ranges says (RFC 9110 §14).
    fn cut(&mut self, wanted: &ranges::Asked) {
        let whole = self.body.len();
        match ranges::select(wanted, whole as u64) {
            Selection::Part(span) => {
                let (start, end) = (span.start as usize, span.end as usize);
                self.status = 206;
                self.says_extent(format!("bytes {start}-{}/{whole}", end - 1));
                self.body = self.body[start..end].to_string();
            }
            Selection::Unsatisfiable => {
                self.status = 416;
                self.says_extent(format!("bytes */{whole}"));
                self.body.clear();
            }
            Selection::Whole | Selection::Parts(_) => {}
        }
    }

    fn says_extent(&mut self, extent: String) {
        self.fields.push(("content-range".into(), extent));
    }
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
            fields.insert("scene-target", &*request.target);
            fields.insert("scene-body", HeaderValue::from_bytes(&sent).unwrap());
            let range = fields.get("range").map(|value| ranges::parse(value.as_bytes()));
            self.seen.lock().unwrap().push(fields);
            let mut answer = {
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
            if let Some(range) = range.filter(|_| answer.cuts) {
                answer.cut(&range);
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
    /// Viewers who wait while the scene goes on, with what they must hear.
    waiting: Vec<(tokio::task::JoinHandle<Heard>, String)>,
}

/// The lines of a scene that are configuration, by their first word.
const SETTINGS: [&str; 6] = ["policy", "distribution", "behavior", "limits", "store", "ahead"];

#[derive(Default)]
struct Settings {
    lines: [String; SETTINGS.len()],
    /// Functions: their names and their code.
    code: Vec<(String, String)>,
}

impl Settings {
    // True if the line is one.
    fn takes(&mut self, line: &str) -> bool {
        let Some((word, rest)) = line.split_once(' ') else { return false };
        if word == "code" {
            let (name, line) = rest.split_once(' ').unwrap_or((rest, ""));
            match self.code.iter_mut().find(|(known, _)| known == name) {
                Some((_, code)) => code.push_str(&format!("{line}\n")),
                None => self.code.push((name.to_string(), format!("{line}\n"))),
            }
            return true;
        }
        let Some(at) = SETTINGS.iter().position(|known| *known == word) else { return false };
        self.lines[at].push_str(rest);
        self.lines[at].push('\n');
        true
    }

    fn text(&self) -> String {
        let [policy, distribution, behavior, limits, store, ahead] = &self.lines;
        let names_hosts = distribution.lines().any(|line| line.starts_with("hosts "));
        let hosts = if names_hosts { "" } else { "hosts = [\"*\"]\n" };
        let named = self.code.iter();
        let code: String =
            named.map(|(name, _)| format!("[function.{name}]\nfile = \"{name}.js\"\n")).collect();
        // A behavior before the one of the scene, with an origin of its own.
        let ahead = match ahead.as_str() {
            "" => String::new(),
            lines => format!(
                "[[distribution.origin]]\nid = \"other\"\nurl = \"http://other.test\"\n\
                 [[distribution.behavior]]\norigin = \"other\"\ncache_policy = \"p\"\n{lines}\n"
            ),
        };
        format!(
            "[listen]\nhttp = [\"127.0.0.1:1\"]\n[limits]\n{limits}[store]\n{store}\
             [[public_key]]\nid = \"{KEY}\"\nfile = \"{PUBLIC}\"\n[key_group.scene]\nkeys = [\"{KEY}\"]\n\
             [cache_policy.p]\n{policy}\n{code}[[distribution]]\nid = \"E\"\n{hosts}{distribution}\n\
             [[distribution.origin]]\nid = \"o\"\nurl = \"http://o.test\"\n{ahead}\
             [[distribution.behavior]]\npath = \"*\"\norigin = \"o\"\ncache_policy = \"p\"\n{behavior}\n"
        )
    }
}

fn vectors(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name)
}

fn stage(settings: &Settings) -> Stage {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scene.toml");
    std::fs::copy(vectors(PUBLIC), folder.path().join(PUBLIC)).unwrap();
    std::fs::write(&path, settings.text()).unwrap();
    for (name, code) in &settings.code {
        std::fs::write(folder.path().join(format!("{name}.js")), code).unwrap();
    }
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
    Stage { edge, core, script, counted: 0, number: 0, waiting: Vec::new() }
}

#[derive(Clone)]
struct Question {
    method: Method,
    host: String,
    target: String,
    fields: FieldSection,
    body: String,
    connection: Connection,
}

impl Question {
    // The question that a viewer's line asks at a moment.
    fn of(line: &str, now: Timestamp) -> Result<Self, String> {
        let mut parts = line.split('|').map(str::trim);
        let (method, target) =
            parts.next().and_then(|part| part.split_once(' ')).ok_or("METHOD /path")?;
        let mut question = Self {
            method: method.parse().map_err(|_| "no method")?,
            host: "h.test".into(),
            target: target.trim().into(),
            fields: FieldSection::new(),
            body: String::new(),
            connection: Connection::from(SocketAddr::from(([192, 0, 2, 7], 4000))),
        };
        let (mut lines, mut signed) = (Vec::new(), None);
        for part in parts {
            if let Some(text) = quoted(part) {
                question.body = text;
            } else if let Some(rest) = part.strip_prefix("signed ") {
                signed = Some(rest);
            } else if let Some((word, rest)) = part.split_once(' ')
                && !word.contains(':')
            {
                question.comes(word, rest.trim())?;
            } else {
                lines.push(part);
            }
        }
        question.fields = fields_of(&pairs(&lines), now);
        // Last, because it is over the whole URL.
        if let Some(rest) = signed {
            question.sign(rest, now)?;
        }
        Ok(question)
    }

    // How the viewer comes: `from` an address, `in` a country, `over` a scheme, for a `host`, by a
    // connection `certified` for a name.
    fn comes(&mut self, word: &str, how: &str) -> Result<(), String> {
        let connection = &mut self.connection;
        match word {
            "from" => {
                let address: IpAddr = how.parse().map_err(|_| "no address")?;
                connection.peer = SocketAddr::new(address, 4000);
            }
            "in" => {
                let place = Location { country: Some(how.into()), ..Location::default() };
                connection.place = Some(Arc::new(place));
            }
            "over" if how == "https" => connection.scheme = Scheme::Https,
            "host" => self.host = how.into(),
            "certified" => {
                connection.scheme = Scheme::Https;
                connection.tls = Some(TlsFacts {
                    names: vec![how.to_string()].into(),
                    server_name: Some(how.into()),
                    version: "TLSv1.3",
                    cipher: "TLS_AES_128_GCM_SHA256",
                    is_resumed: false,
                    hello: None,
                    client: None,
                    rule: None,
                    certificate: None,
                });
            }
            _ => return Err(format!("what is {word:?}?")),
        }
        Ok(())
    }

    fn url(&self) -> String {
        format!("{}://{}{}", self.connection.scheme.as_str(), self.host, self.target)
    }

    // `TIME`: the URL is good for so long. `TIME as cookies` signs by cookies, and
    // `TIME of /pattern` for all that the pattern covers.
    fn sign(&mut self, how: &str, now: Timestamp) -> Result<(), String> {
        let (time, more) = how.split_once(' ').unwrap_or((how, ""));
        let pem = std::fs::read(vectors(PRIVATE)).map_err(|error| error.to_string())?;
        let (key, url) = (PrivateKey::from_pem(&pem)?, self.url());
        let resource = more
            .strip_prefix("of ")
            .map(|pattern| format!("{}://{}{pattern}", self.connection.scheme.as_str(), self.host));
        let before = now.plus(duration(time)).secs();
        let terms = PolicyConditions { before, after: None, from: None };
        let shown = sign(&ToSign { url: &url, terms, resource: resource.as_deref() }, KEY, &key)?;
        if more == "as cookies" {
            let line: Vec<String> =
                shown.iter().map(|(name, value)| format!("CloudFront-{name}={value}")).collect();
            self.fields.append("cookie", line.join("; "));
        } else {
            for (name, value) in shown {
                let mark = if self.target.contains('?') { '&' } else { '?' };
                self.target.push_str(&format!("{mark}{name}={value}"));
            }
        }
        Ok(())
    }

    fn ask(&self, now: Timestamp, number: InvalidationNumber) -> ViewerRequest {
        ViewerRequest::get(&self.url())
            .with_method(self.method.clone())
            .with_fields(self.fields.clone())
            .with_connection(self.connection.clone())
            .with_arrival(now, number)
    }
}

// The same site with all else that is in force, but no address has asked for anything yet as far as
// rate limits know.
fn with_full_buckets(running: &Running) -> Running {
    Running {
        site: Arc::clone(&running.site),
        counts: Arc::clone(&running.counts),
        region: running.region.clone(),
        tier: running.tier.clone(),
        signatures: Arc::clone(&running.signatures),
        rates: Buckets::for_site(&running.site, None),
        stores: running.stores.clone(),
        functions: running.functions.clone(),
    }
}

/// What a viewer got.
struct Heard {
    status: u16,
    fields: FieldSection,
    /// `Err` if it broke off.
    body: Result<String, ()>,
    reason: Reason,
}

async fn one_viewer(core: Arc<Proxy>, question: Question) -> Heard {
    let edge = &core.edge;
    let request = question.ask(edge.clock.now(), edge.invalidations.head());
    let running = edge.running();
    let by_hit = {
        let (mut key, mut lines) = (Vec::new(), Vec::new());
        hit::hit(edge, &running, &request.head(), &mut key, request.arrived_at).ok().map(|hit| {
            hit.write(&mut Http1Lines(&mut lines), request.arrived_at);
            (hit.status(), String::from_utf8(lines).unwrap(), hit.span.map_or(0, |span| span.len()))
        })
    };
    // One viewer takes one token. If the hit step took it, the full sentence has others to take.
    let running = if by_hit.is_some() { Arc::new(with_full_buckets(&running)) } else { running };
    let mut begun = edge.begin(running, request, Declined::default());
    let mut response = core
        .serve(
            &mut begun,
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
    Heard {
        status: response.status,
        fields: response.fields,
        body: if whole { Ok(text) } else { Err(()) },
        reason: response.verdict.reason,
    }
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
    let Heard { status, fields, body, reason } = heard;
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
        } else if let Some(said) = part.strip_prefix("says ") {
            if !body.as_ref().is_ok_and(|text| text.contains(said)) {
                return Err(format!("body {body:?}, expected it to say {said:?}"));
            }
        } else if let Some(why) = part.strip_prefix("why ") {
            if format!("{reason:?}") != why {
                return Err(format!("because of {reason:?}, expected {why}"));
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
    let mut settings = Settings::default();
    let lines = text.lines().map(str::trim).enumerate();
    let played: Vec<(usize, &str)> = lines
        .filter(|(_, line)| !(line.is_empty() || line.starts_with('#') || settings.takes(line)))
        .collect();
    let mut stage = stage(&settings);
    for (at, line) in played {
        step(&mut stage, line)
            .await
            .map_err(|why| format!("line {}: {line}\n    {why}", at + 1))?;
    }
    for (viewer, expected) in std::mem::take(&mut stage.waiting) {
        let heard = viewer.await.map_err(|error| error.to_string())?;
        check(&heard, &expected).map_err(|why| format!("meanwhile … -> {expected}\n    {why}"))?;
    }
    Ok(())
}

async fn step(stage: &mut Stage, line: &str) -> Result<(), String> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let rest = rest.trim();
    match word {
        "origin" => origin(stage, rest).await,
        "viewer" | "viewers" => viewers(stage, word == "viewers", rest).await,
        "meanwhile" => {
            let (asks, expected) = rest.split_once("->").ok_or("meanwhile … -> …")?;
            let question = Question::of(asks.trim(), stage.edge.clock.now())?;
            let viewer = tokio::spawn(one_viewer(Arc::clone(&stage.core), question));
            stage.waiting.push((viewer, expected.trim().into()));
            // It asks before the next line is played.
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok(())
        }
        "after" => {
            tokio::time::sleep(duration(rest)).await;
            Ok(())
        }
        "lease" => {
            let now = stage.edge.clock.now();
            stage.edge.invalidations.use_until(now.plus(duration(rest)));
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
        // Fills that no request waits for get their turn.
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
        } else if let Some(count) = part.strip_prefix("octets ") {
            let count = count.trim().parse().map_err(|_| "how many?")?;
            answer.body = "0123456789".chars().cycle().take(count).collect();
        } else if *part == "breaks" {
            answer.breaks = true;
        } else if *part == "ranges" {
            answer.cuts = true;
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
        (count.parse::<usize>().map_err(|_| "how many?")?, asks)
    } else {
        (1, asks)
    };
    let question = Question::of(asks.trim(), stage.edge.clock.now())?;
    let tasks: Vec<_> = (0..count)
        .map(|_| tokio::spawn(one_viewer(Arc::clone(&stage.core), question.clone())))
        .collect();
    for task in tasks {
        check(&task.await.map_err(|error| error.to_string())?, expected.trim())?;
    }
    Ok(())
}

// Names and texts, in order.
fn scenes() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenes");
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "scene"))
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(&path).unwrap())
        })
        .collect()
}

#[test]
fn every_scene_plays_as_written() {
    let scenes = scenes();
    assert!(scenes.len() >= 20, "scenes are missing");
    let mut failed = Vec::new();
    // Those of functions begin with `u`.
    let can_play = |name: &str| cfg!(feature = "functions") || !name.starts_with('u');
    for (name, text) in scenes.into_iter().filter(|(name, _)| can_play(name)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        if let Err(why) = runtime.block_on(play(&text)) {
            failed.push(format!("{name}: {why}"));
        }
    }
    assert!(failed.is_empty(), "\n{}\n", failed.join("\n"));
}

/// Reasons and refusals that no scene can show, and the test of this program that does.
const ELSEWHERE: &[(&str, &str)] = &[
    // A scene has no log of invalidations.
    ("Purged", "purge_as_a_method_needs_its_token"),
    // Under a policy that keeps nothing a request passes before anything has come that could be
    // judged; `cache::ttl` says it nevertheless to a caller that asks.
    ("NotKept(CachingDisabled)", "cloudfront_ttl_table"),
    // It ends an attempt at slices, and the object is asked for otherwise.
    ("NotKept(Partial)", "every_way_to_answer_a_slice_gives_every_viewer_what_it_asked_for"),
    // What follows a 101 is no answer that a scene could read.
    ("Pass(Upgrade)", "octets_go_both_ways_once_both_sides_agreed"),
    // A scene has no workers.
    ("Function(LambdaGenerated)", "functions_at_the_viewer_run_on_hits_too"),
    ("Function(LambdaExecution)", "failures_have_cloudfronts_status_and_sentence"),
    ("Function(LambdaLimit)", "failures_have_cloudfronts_status_and_sentence"),
    ("Function(LambdaValidation)", "failures_have_cloudfronts_status_and_sentence"),
    // A scene has no HTTP/2, and its origin speaks none.
    ("Pass(Grpc)", "all_four_kinds_of_calls"),
    ("Refused(Grpc)", "a_call_over_http1_is_refused_and_other_requests_go_their_way"),
    ("Grpc", "a_call_over_http1_is_refused_and_other_requests_go_their_way"),
    // A scene has no keys.
    ("Refused(Form)", "a_form_that_is_not_encrypted_is_refused_or_forwarded"),
    ("Form(Processed)", "a_form_that_is_not_encrypted_is_refused_or_forwarded"),
    ("Form(ForwardedByContentType)", "a_form_that_is_not_encrypted_is_refused_or_forwarded"),
    ("Form(ForwardedByQueryArgs)", "a_form_that_is_not_encrypted_is_refused_or_forwarded"),
    ("Form(ForwardedDueToNoProfile)", "a_form_that_is_not_encrypted_is_refused_or_forwarded"),
    (
        "Form(MalformedContentTypeClientError)",
        "a_form_that_is_not_encrypted_is_refused_or_forwarded",
    ),
    ("Form(MalformedInputClientError)", "a_form_that_is_not_encrypted_is_refused_or_forwarded"),
    ("Form(MalformedQueryArgsClientError)", "a_form_that_is_not_encrypted_is_refused_or_forwarded"),
    ("Form(RejectedByContentType)", "a_form_that_is_not_encrypted_is_refused_or_forwarded"),
    ("Form(RejectedByQueryArgs)", "a_form_that_is_not_encrypted_is_refused_or_forwarded"),
    ("Form(FieldLengthLimitClientError)", "a_form_that_is_not_encrypted_is_refused_or_forwarded"),
    ("Form(FieldNumberLimitClientError)", "a_form_that_is_not_encrypted_is_refused_or_forwarded"),
    ("Form(RequestLengthLimitClientError)", "a_form_that_is_not_encrypted_is_refused_or_forwarded"),
    ("Form(ServerError)", "a_form_that_cannot_be_encrypted_goes_nowhere"),
    // What is wrong with octets that never became a request.
    ("Refused(Malformed)", REFUSED_HEADS),
    ("Refused(LineEnd)", REFUSED_HEADS),
    ("Refused(NoHost)", REFUSED_HEADS),
    ("Refused(ManyHosts)", REFUSED_HEADS),
    ("Refused(BadHost)", REFUSED_HEADS),
    ("Refused(BadTarget)", REFUSED_HEADS),
    ("Refused(Framing)", REFUSED_HEADS),
    ("Refused(Coding)", REFUSED_HEADS),
    ("Refused(LongUrl)", REFUSED_HEADS),
    ("Refused(LongHead)", REFUSED_HEADS),
    ("Refused(ManyFields)", REFUSED_HEADS),
    ("Refused(Version)", REFUSED_HEADS),
    ("Refused(Connect)", REFUSED_HEADS),
    ("Refused(Protocol)", "what_is_no_websocket_over_http2_is_refused"),
    ("Refused(SlowHead)", "idle_and_slow_viewers_are_let_go"),
    // A scene has no QUIC.
    ("Misdirected(Version)", "a_distribution_may_do_without"),
    ("Misdirected(OtherRule)", "a_required_certificate_is_wanted_in_the_handshake"),
    ("Misdirected(OtherSite)", "another_sites_certificate_is_no_leave_and_says_so"),
    // Its origin is no bucket.
    ("Refused(Bucket)", BUCKET_ORDERS),
    ("Refused(Subresource)", BUCKET_ORDERS),
    ("Bucket", BUCKET_ORDERS),
    ("Subresource(NotAllowed)", BUCKET_ORDERS),
    ("Subresource(KeptBack)", BUCKET_ORDERS),
    ("Subresource(NotInKey)", BUCKET_ORDERS),
    ("Subresource(SignedPieces)", BUCKET_ORDERS),
];

const REFUSED_HEADS: &str = "a_refused_head_is_in_the_log_and_in_the_metrics";
const BUCKET_ORDERS: &str = "what_passes_and_what_does_not";

/// The source files whose enums are looked at.
const SOURCES: [&str; 5] = [
    "src/message/encryption.rs",
    "src/message/verdict.rs",
    "src/message/refusal.rs",
    "src/crypto/url.rs",
    "src/semantics/websocket.rs",
];

// The variants of an enum in one of these files, each with the name of the type that it holds.
fn variants(name: &str) -> Vec<(String, Option<String>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let head = format!("pub enum {name} {{");
    let body = SOURCES
        .iter()
        .find_map(|path| {
            let code = shipped(&std::fs::read_to_string(root.join(path)).unwrap());
            let start = code.find(&head)? + head.len();
            Some(code[start..].to_string())
        })
        .unwrap_or_else(|| panic!("there is no enum {name} in {SOURCES:?}"));
    let (mut depth, mut all) = (0, vec![String::new()]);
    for letter in body.chars() {
        match letter {
            '}' if depth == 0 => break,
            ',' if depth == 0 => {
                all.push(String::new());
                continue;
            }
            '(' | '{' | '[' => depth += 1,
            ')' | '}' | ']' => depth -= 1,
            _ => {}
        }
        all.last_mut().unwrap().push(letter);
    }
    let variant = |text: &str| match text.split_once('(') {
        Some((name, held)) => (name.to_string(), Some(held.trim_end_matches(')').to_string())),
        None => (text.split_whitespace().next().unwrap_or_default().to_string(), None),
    };
    all.iter().map(|text| text.trim()).filter(|text| !text.is_empty()).map(variant).collect()
}

// A variant alone, or with each variant of what it holds.
fn spelled_out(name: &str) -> BTreeSet<String> {
    let spell = |(variant, held): (String, Option<String>)| match held {
        // A field of this kind says why.
        Some(held) => {
            let held = if held == "Unfit" { "Why" } else { held.as_str() };
            let inner = variants(held);
            inner.iter().map(|(inner, _)| format!("{variant}({inner})")).collect::<Vec<_>>()
        }
        None => vec![variant],
    };
    variants(name).into_iter().flat_map(spell).collect()
}

// One of each refusal, by its spelled-out name.
fn refusals() -> Vec<(String, Refusal)> {
    let redirect =
        |keeps_method| Refusal::RedirectToHttps { location: String::new(), keeps_method };
    let plain = [
        Refusal::UnknownHost,
        Refusal::Disabled,
        Refusal::HttpsOnly,
        redirect(false),
        redirect(true),
        Refusal::Method,
        Refusal::BodyOnGet,
        Refusal::Loop,
        Refusal::Upgrade(HandshakeError::Key),
        Refusal::Upgrade(HandshakeError::Version),
        Refusal::Grpc,
        Refusal::BadPath,
        Refusal::TooLarge,
        Refusal::Expectation,
        Refusal::MayNotReplace,
        Refusal::MayNotPurge,
        Refusal::Country,
        Refusal::Bucket,
        Refusal::Address,
        Refusal::TooMany { retry_after: 1 },
    ];
    let misdirected = [
        Misdirection::OtherSite,
        Misdirection::NotCovered,
        Misdirection::Version,
        Misdirection::OtherRule,
    ]
    .map(Refusal::Misdirected);
    let unsigned = [
        Unsigned::MissingKey,
        Unsigned::UnknownKey,
        Unsigned::MalformedSignature,
        Unsigned::MalformedPolicy,
        Unsigned::Denied,
    ]
    .map(Refusal::Unsigned);
    let orders = [Why::NotAllowed, Why::KeptBack, Why::NotInKey, Why::SignedPieces]
        .map(|why| (format!("Subresource({why:?})"), Refusal::Subresource(Unfit::new("acl", why))));
    let named = |refusal: Refusal| {
        let text = format!("{refusal:?}");
        (text.split(" {").next().unwrap_or_default().to_string(), refusal)
    };
    let forms = EncryptionStatus::ALL.map(Refusal::Form);
    plain
        .into_iter()
        .chain(misdirected)
        .chain(unsigned)
        .chain(forms)
        .map(named)
        .chain(orders)
        .collect()
}

// The viewer's lines of a scene as sets of what they must hear: a status, then the rest.
fn expectations(text: &str) -> impl Iterator<Item = BTreeSet<&str>> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once("->"))
        .map(|(_, expected)| expected.split('|').map(str::trim).collect())
}

// Whether a line shows a refusal: by status and rule, and where another one has both, by its words.
fn shows(line: &BTreeSet<&str>, refusal: &Refusal, all: &[(String, Refusal)]) -> bool {
    let told = |of: &Refusal| (of.status(), of.rule());
    let is_only = all.iter().filter(|(_, other)| told(other) == told(refusal)).count() == 1;
    let says = |part: &&str| {
        part.strip_prefix("says ").is_some_and(|said| {
            let meant: Vec<_> = all
                .iter()
                .filter(|(_, other)| told(other) == told(refusal) && other.words().contains(said))
                .collect();
            matches!(meant[..], [(_, one)] if one == refusal)
        })
    };
    line.contains(refusal.status().to_string().as_str())
        && line.contains(format!("why Refused({:?})", refusal.rule()).as_str())
        && (is_only || line.iter().any(says))
}

#[test]
fn every_refusal_and_reason_is_shown() {
    let scenes = scenes();
    let lines: Vec<BTreeSet<&str>> =
        scenes.iter().flat_map(|(_, text)| expectations(text)).collect();
    let (reasons, refusals) = (spelled_out("Reason"), refusals());
    // The list above has each of them.
    let listed: BTreeSet<String> = refusals.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(listed, spelled_out("Refusal"));

    let by_reason = reasons.iter().map(|reason| {
        let why = format!("why {reason}");
        (reason.clone(), lines.iter().any(|line| line.contains(why.as_str())))
    });
    let by_refusal = refusals.iter().map(|(name, refusal)| {
        (name.clone(), lines.iter().any(|line| shows(line, refusal, &refusals)))
    });
    let (mut missing, mut needless) = (Vec::new(), Vec::new());
    for (name, is_shown) in by_reason.chain(by_refusal) {
        let is_elsewhere = ELSEWHERE.iter().any(|(known, _)| *known == name);
        if !is_shown && !is_elsewhere {
            missing.push(name);
        } else if is_shown && is_elsewhere {
            needless.push(name);
        }
    }
    assert!(missing.is_empty(), "no scene shows {missing:?}");
    assert!(needless.is_empty(), "scenes show {needless:?}, which are said to be elsewhere");
}

#[test]
fn what_is_shown_elsewhere_is() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite");
    let tests: String = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .map(|path| shipped(&std::fs::read_to_string(path).unwrap()))
        .collect();
    let (reasons, refusals) = (spelled_out("Reason"), spelled_out("Refusal"));
    for (name, test) in ELSEWHERE {
        assert!(tests.contains(&format!("#[test]\nfn {test}() {{")), "there is no test {test}");
        assert!(reasons.contains(*name) || refusals.contains(*name), "nothing is called {name}");
    }
}
