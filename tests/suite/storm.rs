//! A storm on virtual time: many viewers, an origin that publishes, lingers, fails and breaks off,
//! and purges in between. Every answer is checked: the right octets for its key, never older than
//! an acknowledged invalidation, never one viewer's for another, and no more than one fetch for a
//! key at a time. A failure names its seed.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use foreshore::body::{Body, BodyError, Source};
use foreshore::cache::invalidations::{Matcher, Severity};
use foreshore::clock::Clock;
use foreshore::config::{self, MissingCertificates};
use foreshore::distribution::origin::Origin;
use foreshore::message::failure::{Failure, FailureKind};
use foreshore::message::key::InvalidationNumber;
use foreshore::message::request::ViewerRequest;
use foreshore::message::response::{Reply, ReplyFrom};
use foreshore::origin::Upstream;
use foreshore::origin::request::OriginRequest;
use foreshore::proxy::{Edge, Proxy, hit};
use foreshore::semantics::fields::FieldSection;
use foreshore::semantics::time::{Timestamp, format_http_date};
use http::HeaderValue;

use super::support::Dice;

const START: Timestamp = Timestamp::from_secs(1_800_000_000);
const VIEWERS: u64 = 24;
const SECONDS: u64 = 60;

/// Paths and what their answers say of themselves; `who` answers differently to each viewer.
const PATHS: [(&str, &str); 7] = [
    ("/short", "max-age=2"),
    ("/swr", "max-age=1, stale-while-revalidate=5"),
    ("/sie", "max-age=1, stale-if-error=20"),
    ("/who", "private, max-age=60"),
    ("/none", "no-store"),
    ("/vary", "max-age=3"),
    ("/check", "no-cache"),
];

#[derive(Default)]
struct World {
    /// What the origin would say now.
    published: HashMap<&'static str, u64>,
    /// The least version a request that arrives now may see.
    acknowledged: HashMap<&'static str, u64>,
    purges: HashMap<&'static str, u64>,
    /// Fetches under way, by path, variant and purges of the path.
    under_way: HashMap<(String, String, u64), usize>,
    fetches: u64,
    wrong: Option<String>,
}

struct Stormy {
    clock: Clock,
    world: Arc<Mutex<World>>,
    dice: Mutex<Dice>,
    /// It answers 503 at times. Such an answer is the leader's alone, so the followers ask for
    /// themselves, and the law of one fetch at a time is looked at in the other storms.
    is_troubled: bool,
}

fn path_of(target: &str) -> (&'static str, &'static str) {
    *PATHS.iter().find(|(path, _)| *path == target).expect("a path of the storm")
}

impl Upstream for Stormy {
    fn ask<'a>(
        &'a self,
        _origin: &'a Arc<Origin>,
        request: OriginRequest,
    ) -> Pin<Box<dyn Future<Output = Result<Reply, Failure>> + Send + 'a>> {
        Box::pin(async move {
            let asked_at = self.clock.now();
            let (path, says) = path_of(&request.target);
            let field = |name: &str| {
                request.fields.get(name).map_or("", |value| value.to_str().unwrap()).to_string()
            };
            let (lang, viewer) = (field("x-lang"), field("x-viewer"));
            let (takes, fate) = {
                let mut dice = self.dice.lock().unwrap();
                (dice.roll(400), dice.roll(20))
            };
            // Which variants there are is not known before the first answer.
            let shares = !matches!(path, "/who" | "/none" | "/check" | "/vary");
            let place = {
                let mut world = self.world.lock().unwrap();
                world.fetches += 1;
                let place = (
                    path.to_string(),
                    if path == "/vary" { lang.clone() } else { String::new() },
                    world.purges[path],
                );
                let now = world.under_way.entry(place.clone()).or_default();
                *now += 1;
                if *now > 1 && shares && !self.is_troubled && world.wrong.is_none() {
                    world.wrong = Some(format!("two fetches at once for {place:?}"));
                }
                place
            };
            tokio::time::sleep(Duration::from_millis(takes / 2)).await;
            let version = self.world.lock().unwrap().published[path];
            tokio::time::sleep(Duration::from_millis(takes - takes / 2)).await;
            *self.world.lock().unwrap().under_way.get_mut(&place).unwrap() -= 1;
            let now = self.clock.now();
            let mut fields = FieldSection::new();
            fields.insert("date", HeaderValue::try_from(format_http_date(now)).unwrap());
            fields.insert("cache-control", says);
            fields.insert(
                "etag",
                HeaderValue::try_from(format!("\"{path}{version}{lang}\"")).unwrap(),
            );
            if path == "/vary" {
                fields.insert("vary", "X-Lang");
            }
            let tag = fields.get("etag").unwrap().as_bytes().to_vec();
            let body = format!("{path} {version} {lang} {viewer} whole");
            let (status, body) = match fate {
                0 => return Err(Failure::new(FailureKind::ConnectionRefused, "the storm")),
                1 if self.is_troubled => (503, Body::Bytes("503".into())),
                2 => {
                    let half = body.as_bytes()[..body.len() / 2].to_vec();
                    (200, Body::Wire(Box::new(Half(Some(half.into()))), Some(body.len() as u64)))
                }
                _ if request.fields.get("if-none-match").is_some_and(|said| said == tag[..])
                    && path != "/who" =>
                {
                    (304, Body::Empty)
                }
                _ => (200, Body::Bytes(body.into())),
            };
            if status == 503 {
                fields.insert("cache-control", "no-store");
            }
            Ok(Reply { status, fields, body, asked_at, arrived_at: now, from: ReplyFrom::Origin })
        })
    }
}

struct Half(Option<bytes::Bytes>);

impl Source for Half {
    fn poll_piece(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<bytes::Bytes, BodyError>>> {
        std::task::Poll::Ready(Some(self.0.take().ok_or(BodyError::Truncated)))
    }
}

fn edge(clock: &Clock) -> Arc<Edge> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("storm.toml");
    let text = "[listen]\nhttp = [\"127.0.0.1:1\"]\n[cache_policy.p]\nsemantics = \"rfc9111\"\n[[distribution]]\nid = \"E\"\nhosts = [\"*\"]\n\
         [[distribution.origin]]\nid = \"o\"\nurl = \"http://o.test\"\n[[distribution.behavior]]\npath = \"*\"\norigin = \"o\"\ncache_policy = \"p\"\n";
    std::fs::write(&path, text).unwrap();
    let site = config::load(&path, START, MissingCertificates::Done)
        .unwrap_or_else(|report| panic!("{}", report.render(false)))
        .site;
    Edge::new(site, "storm".into(), clock.clone())
}

// One request, as a connection serves it: the hit step, or the full sentence.
async fn ask(
    core: &Arc<Proxy>,
    path: &str,
    lang: &str,
    viewer: u64,
    has_range: bool,
) -> (u16, Result<String, ()>) {
    let mut fields = FieldSection::new();
    fields.insert("x-lang", lang);
    fields.insert("x-viewer", viewer);
    if has_range {
        fields.insert(&http::header::RANGE, "bytes=1-3");
    }
    let edge = &core.edge;
    let request = ViewerRequest::get(&format!("http://h.test{path}"))
        .with_fields(fields)
        .with_arrival(edge.clock.now(), edge.invalidations.head());
    let running = edge.running();
    let mut key = Vec::new();
    let declined = match hit::hit(edge, &running, &request.head(), &mut key, request.arrived_at) {
        Ok(hit) => {
            let whole = hit.stored.content.whole().expect("a hit is whole");
            let span = hit.span.expect("a GET has a body");
            let sent = &whole[span.start as usize..span.end as usize];
            return (hit.status(), Ok(String::from_utf8_lossy(sent).into_owned()));
        }
        Err(declined) => declined,
    };
    let mut response = core.serve(&mut edge.begin(running, request, declined), Body::Empty).await;
    let mut body = Vec::new();
    while let Some(piece) = response.body.piece().await {
        match piece {
            Ok(piece) => body.extend_from_slice(&piece),
            Err(_) => return (response.status, Err(())),
        }
    }
    (response.status, Ok(String::from_utf8_lossy(&body).into_owned()))
}

async fn viewer(
    core: Arc<Proxy>,
    world: Arc<Mutex<World>>,
    id: u64,
    seed: u64,
) -> Result<u64, String> {
    let mut dice = Dice::new(seed, id + 1);
    let mut answers = 0;
    let end = tokio::time::Instant::now() + Duration::from_secs(SECONDS);
    while tokio::time::Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(dice.roll(400))).await;
        let (path, _) = PATHS[dice.roll(PATHS.len() as u64) as usize];
        let lang = ["de", "en"][dice.roll(2) as usize];
        let least = world.lock().unwrap().acknowledged[path];
        let has_range = dice.roll(4) == 0;
        let (status, body) = ask(&core, path, lang, id, has_range).await;
        answers += 1;
        let Ok(body) = body else { continue };
        if status == 206 {
            if !has_range || body != path[1..4] {
                return Err(format!("{path}: {body:?} for octets 1 to 3"));
            }
            continue;
        }
        if status != 200 {
            if !matches!(status, 500..=504) {
                return Err(format!("{path}: status {status}"));
            }
            continue;
        }
        let words: Vec<&str> = body.split(' ').collect();
        let [about, version, said_lang, said_viewer, "whole"] = words[..] else {
            return Err(format!("{path}: {body:?} was passed off as whole"));
        };
        let version: u64 = version.parse().unwrap();
        if about != path {
            return Err(format!("{path}: got {about}"));
        }
        if version < least {
            return Err(format!(
                "{path}: version {version} after the purge of everything below {least} was acknowledged"
            ));
        }
        if path == "/vary" && said_lang != lang {
            return Err(format!("{path}: {said_lang} for {lang}"));
        }
        if matches!(path, "/who" | "/none") && said_viewer != id.to_string() {
            return Err(format!("{path}: viewer {said_viewer}'s for {id}"));
        }
    }
    Ok(answers)
}

async fn publisher(core: Arc<Proxy>, world: Arc<Mutex<World>>, seed: u64) {
    let mut dice = Dice::new(seed, 1_000);
    let mut number = 0;
    let end = tokio::time::Instant::now() + Duration::from_secs(SECONDS);
    while tokio::time::Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(dice.roll(900))).await;
        let (path, _) = PATHS[dice.roll(PATHS.len() as u64) as usize];
        let version = {
            let mut world = world.lock().unwrap();
            let version = world.published.get_mut(path).unwrap();
            *version += 1;
            *version
        };
        let item = match dice.roll(4) {
            0 => continue,
            1 => "/*".to_string(),
            2 => format!("{}*", &path[..2]),
            _ => path.to_string(),
        };
        tokio::time::sleep(Duration::from_millis(dice.roll(50))).await;
        number += 1;
        // No await between putting it into force and noting it: from here on no viewer may see
        // anything older.
        core.edge.invalidations.apply(
            "E",
            &[Matcher::parse(&item).unwrap()],
            Severity::Hard,
            InvalidationNumber(number),
        );
        let mut world = world.lock().unwrap();
        *world.acknowledged.get_mut(path).unwrap() = version;
        let covered: Vec<_> = PATHS
            .iter()
            .filter(|(other, _)| {
                item.strip_suffix('*').map_or(*other == item, |start| other.starts_with(start))
            })
            .collect();
        for (other, _) in covered {
            *world.purges.get_mut(other).unwrap() += 1;
        }
    }
}

async fn storm(seed: u64) -> Result<(u64, u64), String> {
    let clock = Clock::starting_at(START);
    let zero = || PATHS.iter().map(|(path, _)| (*path, 0)).collect::<HashMap<_, _>>();
    let world = Arc::new(Mutex::new(World {
        published: zero(),
        acknowledged: zero(),
        purges: zero(),
        ..World::default()
    }));
    let edge = edge(&clock);
    let origin = Arc::new(Stormy {
        clock,
        world: Arc::clone(&world),
        dice: Mutex::new(Dice::new(seed, 2_000)),
        is_troubled: seed.is_multiple_of(2),
    });
    let core = Arc::new(Proxy { index: 0, edge, upstream: origin });
    let mut viewers = tokio::task::JoinSet::new();
    for id in 0..VIEWERS {
        viewers.spawn(viewer(Arc::clone(&core), Arc::clone(&world), id, seed));
    }
    let publishing = tokio::spawn(publisher(Arc::clone(&core), Arc::clone(&world), seed));
    let mut answers = 0;
    while let Some(done) = viewers.join_next().await {
        answers += done.map_err(|error| error.to_string())??;
    }
    publishing.await.map_err(|error| error.to_string())?;
    let world = world.lock().unwrap();
    world.wrong.clone().map_or(Ok((answers, world.fetches)), Err)
}

#[test]
fn slow_every_answer_in_a_storm_is_right() {
    let (mut answers, mut fetches) = (0, 0);
    for seed in 1..=16u64 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        match runtime.block_on(storm(seed)) {
            Ok((more, asked)) => (answers, fetches) = (answers + more, fetches + asked),
            Err(why) => panic!("seed {seed}: {why}"),
        }
    }
    assert!(answers > 50_000 && fetches < answers, "{answers} answers, {fetches} fetches");
}
