//! Parents in numbers, on virtual time: which has which share of the keys, which is left alone, for
//! how long, and how it comes back.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use foreshore::body::Body;
use foreshore::clock::Clock;
use foreshore::config::{self, MissingCertificates};
use foreshore::distribution::origin::Origin;
use foreshore::distribution::site::Site;
use foreshore::invalidation::chain::Mark;
use foreshore::message::failure::{Failure, FailureKind};
use foreshore::message::request::ViewerRequest;
use foreshore::message::response::{Reply, ReplyFrom};
use foreshore::origin::Upstream;
use foreshore::origin::request::OriginRequest;
use foreshore::proxy::hit::Declined;
use foreshore::proxy::{Edge, Proxy};
use foreshore::region::checked::Found;
use foreshore::region::confirm::Standing;
use foreshore::semantics::fields::FieldSection;
use foreshore::semantics::time::Timestamp;

const START: Timestamp = Timestamp::from_secs(1_800_000_000);

const PARENTS: [&str; 3] = ["https://p1.test:8443", "https://p2.test:8443", "https://p3.test:8443"];
const ORIGIN: &str = "o";

/// What a hop says to whatever it is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Says {
    Well,
    Nothing,
    /// A parent whose origin cannot be reached from where it is.
    BadGateway,
    /// The same as the first, but late.
    Late,
}

/// All hops: they say what they are told to, and are remembered.
struct Hops {
    clock: Clock,
    says: Mutex<HashMap<String, Says>>,
    asked: Mutex<Vec<String>>,
}

impl Upstream for Hops {
    fn ask<'a>(
        &'a self,
        origin: &'a Arc<Origin>,
        _: OriginRequest,
    ) -> Pin<Box<dyn Future<Output = Result<Reply, Failure>> + Send + 'a>> {
        Box::pin(async move {
            let asked_at = self.clock.now();
            self.asked.lock().unwrap().push(origin.id.clone());
            let says = self.says.lock().unwrap().get(&origin.id).copied().unwrap_or(Says::Well);
            tokio::time::sleep(Duration::from_millis(if says == Says::Late { 450 } else { 2 }))
                .await;
            let (mut fields, mut status) = (FieldSection::new(), 200);
            fields.insert("cache-control", "max-age=600");
            fields.insert("foreshore-applied", "0:00000000000000000000000000000000");
            match says {
                Says::Well | Says::Late => {}
                Says::Nothing => {
                    return Err(Failure::new(FailureKind::ConnectionRefused, "scripted"));
                }
                Says::BadGateway => {
                    status = 502;
                    fields.insert("proxy-status", "Foreshore-1; error=dns_error");
                }
            }
            let body = Body::Bytes(Bytes::from_static(b"x"));
            let arrived_at = self.clock.now();
            Ok(Reply { status, fields, body, asked_at, arrived_at, from: ReplyFrom::Origin })
        })
    }
}

/// An edge under three parents, which have all applied its log.
struct Stage {
    edge: Arc<Edge>,
    core: Arc<Proxy>,
    hops: Arc<Hops>,
    paths: Mutex<u32>,
    folder: tempfile::TempDir,
}

fn site(folder: &tempfile::TempDir, weights: [u16; 3]) -> Arc<Site> {
    let parents: Vec<(&str, u16)> = PARENTS.into_iter().zip(weights).collect();
    site_of(folder, &parents, "", "")
}

// With more lines in [region], and of the origin.
fn site_of(
    folder: &tempfile::TempDir,
    parents: &[(&str, u16)],
    region: &str,
    origin: &str,
) -> Arc<Site> {
    let parents: String = parents
        .iter()
        .map(|(url, weight)| {
            format!("[[region.parent]]\nurl = \"{url}\"\nadmin = \"http://127.0.0.1:1\"\nweight = {weight}\n")
        })
        .collect();
    let text = format!(
        "[listen]\nhttp = [\"127.0.0.1:1\"]\n\
         [region]\nkind = \"parent\"\nedge_id = \"e1\"\ntoken = {{ file = \"token\" }}\n{region}{parents}\
         [[trusted_edge]]\nid = \"e9\"\ntoken = {{ file = \"token\" }}\n\
         [[distribution]]\nid = \"E1\"\nhosts = [\"*\"]\n\
         [[distribution.origin]]\nid = \"{ORIGIN}\"\nurl = \"http://o.test\"\n{origin}\
         [[distribution.behavior]]\npath = \"*\"\norigin = \"{ORIGIN}\"\nmethods = \"all\"\n"
    );
    std::fs::write(folder.path().join("token"), "between-us").unwrap();
    std::fs::write(folder.path().join("edge.toml"), text).unwrap();
    config::load(&folder.path().join("edge.toml"), START, MissingCertificates::Done)
        .unwrap_or_else(|report| panic!("{}", report.render(false)))
        .site
}

impl Stage {
    fn new(weights: [u16; 3]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let site = site(&folder, weights);
        Self::of(folder, site)
    }

    fn of(folder: tempfile::TempDir, site: Arc<Site>) -> Self {
        let clock = Clock::starting_at(START);
        let edge = Edge::new(site, "parents".into(), clock.clone());
        edge.standings.keep(&PARENTS.map(String::from));
        PARENTS.iter().for_each(|name| edge.standings.set(name, Standing::At(Mark::START)));
        let hops = Arc::new(Hops { clock, says: Mutex::default(), asked: Mutex::default() });
        let upstream = Arc::clone(&hops) as Arc<dyn Upstream>;
        let core = Arc::new(Proxy { index: 0, edge: Arc::clone(&edge), upstream });
        Self { edge, core, hops, paths: Mutex::default(), folder }
    }

    fn says(&self, hop: &str, says: Says) {
        self.hops.says.lock().unwrap().insert(hop.into(), says);
    }

    // A request for what was never asked for: its status, and which hops were asked, in order. Probes
    // may be among them.
    async fn get(&self) -> (u16, Vec<String>) {
        self.get_with(FieldSection::new()).await
    }

    // The same, asked by an edge that this node is a parent of.
    async fn get_as_edge(&self) -> (u16, Vec<String>) {
        let mut fields = FieldSection::new();
        fields.append("foreshore-edge", "e9/n/1");
        fields.append("foreshore-edge-token", "between-us");
        self.get_with(fields).await
    }

    async fn get_with(&self, fields: FieldSection) -> (u16, Vec<String>) {
        let path = {
            let mut paths = self.paths.lock().unwrap();
            *paths += 1;
            *paths
        };
        self.hops.asked.lock().unwrap().clear();
        let request = ViewerRequest::get(&format!("http://h.test/{path}"))
            .with_fields(fields)
            .with_arrival(self.edge.clock.now(), self.edge.invalidations.head());
        let mut begun = self.edge.begin(self.edge.running(), request, Declined::default());
        let status = self.core.serve(&mut begun, Body::Empty).await.status;
        // What goes on behind the viewer's back comes to an end.
        tokio::time::sleep(Duration::from_millis(10)).await;
        (status, self.hops.asked.lock().unwrap().clone())
    }

    // Which hop was asked first, how often, over so many requests.
    async fn firsts(&self, requests: u32) -> HashMap<String, u32> {
        let mut all = HashMap::new();
        for _ in 0..requests {
            let (status, asked) = self.get().await;
            assert_eq!(status, 200);
            *all.entry(asked[0].clone()).or_default() += 1;
        }
        all
    }

    fn condition(&self, parent: &str) -> &'static str {
        let running = self.edge.running();
        let region = running.region.as_ref().unwrap();
        let view = region.views().find(|view| view.name == parent);
        view.unwrap().condition.word()
    }

    fn checked(&self, parent: &str, found: Found) {
        self.edge.running().region.as_ref().unwrap().checked(parent, found);
    }
}

fn run(scene: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(scene);
}

#[test]
fn shares_go_by_weight_and_a_spare_waits_for_all_others_to_be_out() {
    run(async {
        let stage = Stage::new([3, 1, 0]);
        let firsts = stage.firsts(400).await;
        assert_eq!(firsts.values().sum::<u32>(), firsts[PARENTS[0]] + firsts[PARENTS[1]]);
        assert!((250..350).contains(&firsts[PARENTS[0]]), "{firsts:?}");
        (0..3).for_each(|_| stage.checked(PARENTS[0], Found::Failed));
        assert_eq!(stage.firsts(20).await[PARENTS[1]], 20);
        (0..3).for_each(|_| stage.checked(PARENTS[1], Found::Failed));
        assert_eq!(stage.firsts(20).await[PARENTS[2]], 20);
        (0..3).for_each(|_| stage.checked(PARENTS[2], Found::Failed));
        assert_eq!(stage.firsts(20).await[ORIGIN], 20);
        (0..2).for_each(|_| stage.checked(PARENTS[0], Found::Ready));
        assert_eq!(stage.firsts(20).await[PARENTS[0]], 20);
    });
}

// While another process takes this one's place, and may know of more than it.
#[test]
fn a_frozen_process_asks_the_origin_alone() {
    run(async {
        let stage = Stage::new([1, 1, 1]);
        assert!(!stage.firsts(20).await.contains_key(ORIGIN));
        stage.edge.invalidations.freeze();
        assert_eq!(stage.firsts(20).await[ORIGIN], 20);
        stage.edge.invalidations.thaw();
        assert!(!stage.firsts(20).await.contains_key(ORIGIN));
    });
}

#[test]
fn a_parent_that_drains_gets_nothing_new_and_no_blame() {
    run(async {
        let stage = Stage::new([1, 1, 1]);
        stage.checked(PARENTS[0], Found::Ready);
        assert!(stage.firsts(60).await.contains_key(PARENTS[0]));
        stage.checked(PARENTS[0], Found::Draining);
        assert_eq!(stage.condition(PARENTS[0]), "draining");
        for _ in 0..60 {
            assert!(!stage.get().await.1.iter().any(|hop| hop == PARENTS[0]));
        }
        // Back, and nothing is held against it.
        stage.checked(PARENTS[0], Found::Ready);
        assert_eq!(stage.condition(PARENTS[0]), "healthy");
        assert!(stage.firsts(60).await.contains_key(PARENTS[0]));
    });
}

#[test]
fn one_that_is_worse_than_its_peers_is_ejected_and_comes_back() {
    run(async {
        let stage = Stage::new([1, 1, 1]);
        stage.firsts(30).await;
        stage.says(PARENTS[0], Says::BadGateway);
        let mut bad = 0;
        while stage.condition(PARENTS[0]) == "healthy" {
            let (status, asked) = stage.get().await;
            assert_eq!(status, 200, "the origin answers where a parent could not reach it");
            bad += u32::from(asked[0] == PARENTS[0]);
        }
        assert_eq!((stage.condition(PARENTS[0]), bad), ("ejected", 10));
        for _ in 0..60 {
            assert!(!stage.get().await.1.iter().any(|hop| hop == PARENTS[0]));
        }
        // A reload does not pardon it.
        stage.edge.install(site(&stage.folder, [1, 1, 1]));
        assert_eq!(stage.condition(PARENTS[0]), "ejected");
        // A probe finds it as it was, behind the viewer's back: it is left alone for longer.
        tokio::time::sleep(Duration::from_secs(30)).await;
        probe(&stage).await;
        assert_eq!(stage.condition(PARENTS[0]), "ejected");
        stage.says(PARENTS[0], Says::Well);
        tokio::time::sleep(Duration::from_secs(45)).await;
        for _ in 0..20 {
            assert!(!stage.get().await.1.iter().any(|hop| hop == PARENTS[0]));
        }
        tokio::time::sleep(Duration::from_secs(15)).await;
        probe(&stage).await;
        assert_eq!(stage.condition(PARENTS[0]), "healthy");
        assert!(stage.firsts(60).await.contains_key(PARENTS[0]));
    });
}

// Asks until a parent is tried out behind the back of a viewer that another parent answers.
async fn probe(stage: &Stage) {
    for _ in 0..40 {
        let (status, asked) = stage.get().await;
        if asked.iter().any(|hop| hop == PARENTS[0]) {
            assert!(status == 200 && asked.len() == 2, "{status} {asked:?}");
            assert!(asked[1] == PARENTS[0] && asked[0] != ORIGIN, "{asked:?}");
            return;
        }
    }
    panic!("no probe");
}

#[test]
fn an_origin_that_is_down_ejects_no_parent() {
    run(async {
        let stage = Stage::new([1, 1, 1]);
        PARENTS.iter().for_each(|parent| stage.says(parent, Says::BadGateway));
        stage.says(ORIGIN, Says::Nothing);
        for _ in 0..200 {
            let (status, asked) = stage.get().await;
            assert!(matches!(status, 502 | 504) && asked.len() == 2, "{status} {asked:?}");
        }
        PARENTS.iter().for_each(|parent| assert_eq!(stage.condition(parent), "healthy"));
    });
}

#[test]
fn none_is_ejected_where_that_would_leave_too_few() {
    run(async {
        let stage = Stage::new([1, 1, 1]);
        (0..3).for_each(|_| stage.checked(PARENTS[1], Found::Failed));
        stage.says(PARENTS[0], Says::BadGateway);
        for _ in 0..200 {
            assert_eq!(stage.get().await.0, 200);
        }
        assert_eq!(stage.condition(PARENTS[0]), "healthy", "one of three is out already");
        // Once that one is back, there is room for it.
        (0..2).for_each(|_| stage.checked(PARENTS[1], Found::Ready));
        stage.firsts(60).await;
        assert_eq!(stage.condition(PARENTS[0]), "ejected");
    });
}

#[test]
fn one_that_answers_late_or_not_at_all_is_left_alone_and_tried() {
    run(async {
        for says in [Says::Late, Says::Nothing] {
            let stage = Stage::new([1, 1, 1]);
            stage.firsts(60).await;
            stage.says(PARENTS[0], says);
            for _ in 0..60 {
                assert_eq!(stage.get().await.0, 200);
            }
            assert_ne!(stage.condition(PARENTS[0]), "healthy");
            stage.says(PARENTS[0], Says::Well);
            let mut rounds = 0;
            while stage.condition(PARENTS[0]) != "healthy" {
                tokio::time::sleep(Duration::from_secs(5)).await;
                stage.firsts(5).await;
                rounds += 1;
                assert!(rounds < 200, "it never comes back");
            }
            assert!(stage.firsts(60).await.contains_key(PARENTS[0]));
        }
    });
}

#[test]
fn a_shield_is_the_last_before_its_origin() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let all = PARENTS.map(|url| (url, 1));
        let shield = format!("shield = \"{}\"\n", PARENTS[1]);
        let site = site_of(&folder, &all, "", &shield);
        let stage = Stage::of(folder, site);
        // A viewer's request goes by rank, an edge's to the shield alone.
        assert_eq!(stage.firsts(60).await.len(), 3);
        for _ in 0..20 {
            assert_eq!(stage.get_as_edge().await, (200, vec![PARENTS[1].to_string()]));
        }
        // By rank no parent is left, and the shield is asked all the same.
        for parent in [PARENTS[0], PARENTS[2]] {
            (0..3).for_each(|_| stage.checked(parent, Found::Failed));
        }
        assert_eq!(stage.firsts(20).await[PARENTS[1]], 20);
        stage.checked(PARENTS[1], Found::Draining);
        assert_eq!(stage.get_as_edge().await, (200, vec![ORIGIN.to_string()]));
        // The shield itself asks the origin, whether an edge or a viewer asks it.
        let folder = tempfile::tempdir().unwrap();
        let others = [(PARENTS[0], 1), (PARENTS[2], 1)];
        let own = format!("own_url = \"{}\"\n", PARENTS[1]);
        let site = site_of(&folder, &others, &own, &shield);
        let stage = Stage::of(folder, site);
        for _ in 0..20 {
            assert_eq!(stage.get().await, (200, vec![ORIGIN.to_string()]));
            assert_eq!(stage.get_as_edge().await, (200, vec![ORIGIN.to_string()]));
        }
    });
}
