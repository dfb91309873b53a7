//! A fleet of real processes on free ports: a parent that gives the numbers, and three edges, with
//! disks, in front of one origin. Each can be killed, stopped and started again where it was.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::edge::{certificates, plain};
use super::viewer::{Seen, request};
use super::{Edge, Viewer, eventually, free_port};

/// A lease, and after how long a member that was not heard of is fenced.
pub const LEASE: Duration = Duration::from_secs(2);
pub const FENCE: Duration = Duration::from_millis(2040);
/// The edges' names; the parent's is `parent`.
pub const EDGES: [&str; 3] = ["edge-1", "edge-2", "edge-3"];
/// The key that signs calls of CloudFront's API, and the token of the method PURGE.
pub const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
pub const PURGE_TOKEN: &str = "let-me";

pub struct Fleet {
    pub parent: Member,
    pub edges: Vec<Member>,
    origin: SocketAddr,
    /// More settings of every member's one behavior.
    behavior: &'static str,
    /// Where its edges ask the parent for content, and where for its log.
    parent_ports: (u16, u16),
}

/// One of its processes, which may be away.
pub struct Member {
    pub door: Door,
    folder: Arc<tempfile::TempDir>,
    running: Option<Edge>,
}

/// How a member is reached, whether it runs or not.
#[derive(Clone)]
pub struct Door {
    pub name: String,
    pub http: SocketAddr,
    admin: SocketAddr,
    token: String,
}

/// What a purge was answered, and how long that took.
#[derive(Debug)]
pub struct Told {
    pub id: String,
    pub status: String,
    pub members: BTreeMap<String, String>,
    pub took: Duration,
}

impl Told {
    pub fn is_completed(&self) -> bool {
        self.status == "Completed"
    }

    pub fn of(&self, member: &str) -> &str {
        self.members.get(member).map_or("", String::as_str)
    }
}

/// The token of an edge, which the parent knows it by.
pub fn edge_token(name: &str) -> String {
    format!("between-us-{name}")
}

impl Fleet {
    /// Starts all four; each edge with what it prefers. All have a lease when this returns.
    pub fn start(origin: SocketAddr, prefers: [&str; 3]) -> Self {
        Self::start_with(origin, prefers, "")
    }

    /// The same, with more settings of the one behavior.
    pub fn start_with(origin: SocketAddr, prefers: [&str; 3], behavior: &'static str) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let (_, chain, key) = certificates(folder.path(), &["localhost"]);
        let (https, admin) = (free_port(), free_port());
        let mut more = format!("[[certificate]]\nchain = {chain:?}\nkey = {key:?}\n");
        for name in EDGES {
            std::fs::write(folder.path().join(name), edge_token(name)).unwrap();
            more += &format!("[[trusted_edge]]\nid = {name:?}\ntoken = {{ file = {name:?} }}\n");
        }
        more += "[fleet]\nname = \"own\"\nmember = \"parent\"\nsequencer = \"here\"\n";
        let text = config(origin, (Some(https), admin), &more) + behavior;
        let parent = Member::start("parent", folder, &text);
        let parent_ports = (https, admin);
        let mut fleet = Self { parent, edges: Vec::new(), origin, behavior, parent_ports };
        for (name, prefer) in EDGES.into_iter().zip(prefers) {
            let edge = fleet.edge_named(name, prefer);
            fleet.edges.push(edge);
        }
        fleet.all_have_leases();
        fleet
    }

    /// One more edge by a name of the three, on a folder of its own.
    pub fn edge_named(&self, name: &str, prefer: &str) -> Member {
        self.edge_but(name, prefer, ("[fleet]", "[fleet]"))
    }

    /// The same with `to` in its settings where they have `from`.
    pub fn edge_but(&self, name: &str, prefer: &str, (from, to): (&str, &str)) -> Member {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        std::fs::write(folder.path().join("token"), edge_token(name)).unwrap();
        let ca = self.parent.folder.path().join("tls/ca.pem");
        let (https, admin) = self.parent_ports;
        let more = format!(
            "[region]\nkind = \"parent\"\nedge_id = {name:?}\ntoken = {{ file = \"token\" }}\nca = {ca:?}\ntimeout = \"2s\"\n\
             [[region.parent]]\nurl = \"https://localhost:{https}\"\nadmin = \"http://127.0.0.1:{admin}\"\n\
             [fleet]\nname = \"own\"\nsequencer = \"parent\"\nprefer = {prefer:?}\n"
        );
        let text = config(self.origin, (None, free_port()), &more) + self.behavior;
        assert!(text.contains(from), "{text}");
        Member::start(name, folder, &text.replace(from, to))
    }

    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.edges.iter().chain([&self.parent])
    }

    /// Waits until every member may use what it has stored.
    pub fn all_have_leases(&self) {
        for member in self.members() {
            let name = &member.door.name;
            eventually(&format!("{name} has a lease"), || member.door.lease_left() > 0);
        }
    }
}

fn config(origin: SocketAddr, (https, admin): (Option<u16>, u16), more: &str) -> String {
    let https = https.map_or_else(String::new, |port| format!("\nhttps = [\"127.0.0.1:{port}\"]"));
    let all = "[[admin.access_key]]\nid = \"AKIDEXAMPLE\"\nsecret = { file = \"secret\" }\n\
               allow = [\"cloudfront:*\", \"cloudfront-keyvaluestore:*\"]\n\
               [store]\nmemory = \"16MiB\"\nmax_object = \"1MiB\"\n[store.disk]\nsize = \"64MiB\"\n";
    let fleet = format!("lease = \"{}s\"\nwait = \"8s\"\n", LEASE.as_secs());
    let text = plain(origin, &format!("{all}{more}{fleet}"))
        .replace(
            "http = [\"127.0.0.1:0\"]",
            &format!("http = [\"127.0.0.1:{}\"]{https}", free_port()),
        )
        .replace("listen = \"127.0.0.1:0\"", &format!("listen = \"127.0.0.1:{admin}\""))
        .replace("hosts = [\"*\"]", "hosts = [\"*\"]\npurge = { token = { file = \"purge\" } }");
    text + "methods = \"all\"\n"
}

fn write_secrets(folder: &Path) {
    std::fs::write(folder.join("secret"), SECRET).unwrap();
    std::fs::write(folder.join("purge"), PURGE_TOKEN).unwrap();
}

impl Member {
    fn start(name: &str, folder: Arc<tempfile::TempDir>, config: &str) -> Self {
        write_secrets(folder.path());
        std::fs::write(folder.path().join("edge.toml"), config).unwrap();
        let edge = Edge::start_in(Arc::clone(&folder));
        let door = Door {
            name: name.to_string(),
            http: edge.http,
            admin: edge.admin,
            token: edge.token(),
        };
        Self { door, folder, running: Some(edge) }
    }

    /// The process.
    pub fn edge(&self) -> &Edge {
        self.running.as_ref().expect("it runs")
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(edge) = self.running.take() {
            edge.kill();
        }
    }

    /// Has it end in order, and waits for that.
    pub fn end(&mut self) {
        if let Some(mut edge) = self.running.take() {
            edge.signal(Signal::TERM);
            assert!(edge.wait(), "{}", edge.log());
        }
    }

    /// Starts it where it was.
    pub fn restart(&mut self) {
        self.running = Some(Edge::start_in(Arc::clone(&self.folder)));
    }

    /// The same, and waits until what lies on its disk is found.
    pub fn restart_with_its_disk(&mut self) {
        self.restart();
        eventually("the disk is loaded", || self.edge().metric("foreshore_disk_loaded") == 1.0);
    }

    /// Gives it another configuration while it runs.
    pub fn reconfigure(&self, change: impl Fn(String) -> String) {
        let path = self.folder.path().join("edge.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, change(text)).unwrap();
        let (status, told) = self.edge().admin("POST", "/v1/reload", "");
        assert_eq!(status, 200, "{told}");
    }

    pub fn stop(&self) {
        self.edge().signal(Signal::STOP);
    }

    pub fn go_on(&self) {
        self.edge().signal(Signal::CONT);
    }
}

impl Door {
    /// A call to its operator's side; `None` where there is no answer.
    pub fn call(&self, method: &str, path: &str, body: &str) -> Option<(u16, Value)> {
        let mut tcp = TcpStream::connect_timeout(&self.admin, Duration::from_secs(2)).ok()?;
        tcp.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
        let (token, octets) = (&self.token, body.len());
        let said = format!(
            "{method} {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\nAuthorization: Bearer {token}\r\nContent-Length: {octets}\r\n\r\n{body}"
        );
        tcp.write_all(said.as_bytes()).ok()?;
        let mut all = String::new();
        tcp.read_to_string(&mut all).ok()?;
        let status = all.split(' ').nth(1)?.parse().ok()?;
        Some((status, serde_json::from_str(all.split_once("\r\n\r\n")?.1).ok()?))
    }

    /// One purge, whose answer may wait so many seconds for the others.
    pub fn purge(&self, path: &str, wait: u64) -> Option<Told> {
        let began = Instant::now();
        let body = serde_json::json!({ "paths": [path], "wait": wait }).to_string();
        let (status, answer) = self.call("POST", "/v1/invalidations", &body)?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        let members = answer["scope"]["members"].as_array().map(Vec::as_slice).unwrap_or_default();
        let members = members.iter().map(|one| (text(&one["member"]), text(&one["state"])));
        (status == 201).then(|| Told {
            id: text(&answer["id"]),
            status: text(&answer["status"]),
            members: members.collect(),
            took: began.elapsed(),
        })
    }

    /// How far a purge has come by now.
    pub fn progress(&self, id: &str) -> String {
        let answer = self.call("GET", &format!("/v1/invalidations/{id}"), "");
        answer.and_then(|(_, one)| one["status"].as_str().map(str::to_string)).unwrap_or_default()
    }

    /// Milliseconds that are left of its lease.
    pub fn lease_left(&self) -> u64 {
        let answer = self.call("GET", "/v1/fleet", "");
        answer.and_then(|(_, fleet)| fleet["lease_left_ms"].as_u64()).unwrap_or(0)
    }

    /// One GET over a connection of its own, which may fail.
    pub fn get(&self, path: &str) -> Option<Seen> {
        let mut viewer = Viewer::try_connect(self.http)?;
        viewer.send(&request("GET", path, &["Connection: close"]));
        viewer.read("GET").filter(|seen| seen.whole)
    }

    /// The version that it answers with.
    pub fn version(&self, path: &str) -> u64 {
        let seen = self.get(path).unwrap_or_else(|| panic!("{} does not answer", self.name));
        assert_eq!(seen.status, 200, "{}: {}", self.name, seen.head);
        seen.text().parse().unwrap()
    }
}
