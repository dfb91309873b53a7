//! The real binary as a process of its own, on free ports, with a folder of its own.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use super::viewer::{Seen, Viewer};

/// A running edge. Killed when dropped.
pub struct Edge {
    child: Child,
    pub http: SocketAddr,
    pub https: Option<SocketAddr>,
    pub admin: SocketAddr,
    pub folder: Arc<tempfile::TempDir>,
    /// Its standard error: a file without a name, so that what it has written is there to be read at
    /// once, however busy the machine is.
    said: File,
}

/// The timeouts of `plain`. That of a connection covers name, TCP, TLS and the first word of
/// HTTP/2, on a machine that may have much else to do; no test waits for it to pass.
pub const TIMEOUTS: &str = "timeouts = { connect = \"10s\", response = \"3s\" }";

/// The configuration most tests start from: clear text, one distribution for every host, one
/// origin.
pub fn plain(origin: SocketAddr, more: &str) -> String {
    format!(
        "data = \"data\"\n[listen]\nhttp = [\"127.0.0.1:0\"]\nworkers = 2\n[admin]\nlisten = \"127.0.0.1:0\"\n[log]\naccess = \"access.log\"\n\
         {more}\n[[distribution]]\nid = \"E1\"\nhosts = [\"*\"]\n[[distribution.origin]]\nid = \"o\"\nurl = \"http://{origin}\"\n\
         {TIMEOUTS}\n[[distribution.behavior]]\npath = \"*\"\norigin = \"o\"\n"
    )
}

impl Edge {
    /// Starts an edge in front of an origin, with more settings before the distribution.
    pub fn before(origin: SocketAddr, more: &str) -> Self {
        Self::start(&plain(origin, more))
    }

    /// The same, and with more settings of its one behavior.
    pub fn before_with(origin: SocketAddr, more: &str, behavior: &str) -> Self {
        Self::start(&(plain(origin, more) + behavior))
    }

    /// Starts an edge with a configuration.
    pub fn start(config: &str) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        std::fs::write(folder.path().join("edge.toml"), config).unwrap();
        Self::start_in(folder)
    }

    /// Starts an edge on a folder that holds `edge.toml` already.
    pub fn start_in(folder: Arc<tempfile::TempDir>) -> Self {
        Self::try_start_in(folder).unwrap_or_else(|log| panic!("the edge did not start:\n{log}"))
    }

    /// The same; the log if it does not start.
    pub fn try_start_in(folder: Arc<tempfile::TempDir>) -> Result<Self, String> {
        Self::try_start_with(folder, &[])
    }

    /// The same with variables in its environment.
    pub fn try_start_with(
        folder: Arc<tempfile::TempDir>,
        environment: &[(&str, &Path)],
    ) -> Result<Self, String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_foreshore"));
        command.args(["run", "--quiet", "--config"]).envs(environment.iter().copied());
        Self::launch(command, folder)
    }

    /// Starts an edge that may have so many files open.
    pub fn start_with_files(config: &str, files: u32) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        std::fs::write(folder.path().join("edge.toml"), config).unwrap();
        let mut command = Command::new("sh");
        let script = format!("ulimit -n {files}; exec \"$0\" \"$@\"");
        command.args([
            "-c",
            &script,
            env!("CARGO_BIN_EXE_foreshore"),
            "run",
            "--quiet",
            "--config",
        ]);
        Self::launch(command, folder).unwrap_or_else(|log| panic!("the edge did not start:\n{log}"))
    }

    /// Starts an edge by a command that gets the path of `edge.toml` as its last argument.
    pub fn start_by(command: Command, folder: &Arc<tempfile::TempDir>) -> Result<Self, String> {
        Self::launch(command, Arc::clone(folder))
    }

    fn launch(mut command: Command, folder: Arc<tempfile::TempDir>) -> Result<Self, String> {
        let said = tempfile::tempfile().unwrap();
        let mut child = command
            .arg(folder.path().join("edge.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said.try_clone().unwrap())
            .spawn()
            .unwrap();
        let (http, https, admin) = loop {
            let has_ended = child.try_wait().unwrap().is_some();
            let log = text_of(&said);
            if let Some(admin) = listens(&log, "admin listener") {
                break (listens(&log, "speaks=\"http\""), listens(&log, "speaks=\"https\""), admin);
            }
            if has_ended {
                return Err(log);
            }
            std::thread::park_timeout(Duration::from_millis(5));
        };
        let http = http.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
        Ok(Self { child, http, https, admin, folder, said })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A fresh connection in clear text.
    pub fn viewer(&self) -> Viewer {
        Viewer::connect(self.http)
    }

    /// One GET over a connection of its own.
    pub fn get(&self, path: &str) -> Seen {
        self.viewer().get(path, &[])
    }

    /// One GET with fields.
    pub fn get_with(&self, path: &str, fields: &[&str]) -> Seen {
        self.viewer().get(path, fields)
    }

    pub fn token(&self) -> String {
        std::fs::read_to_string(self.path().join("data/admin-token")).unwrap().trim().to_string()
    }

    /// A call to the admin listener; status and body.
    pub fn admin(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        self.admin_with(method, path, body, &format!("Authorization: Bearer {}\r\n", self.token()))
    }

    /// The same with other credentials.
    pub fn admin_with(&self, method: &str, path: &str, body: &str, fields: &str) -> (u16, String) {
        let (status, _, body) = self.admin_whole(method, path, body, fields);
        (status, body)
    }

    /// The same with the head of the answer, between the two.
    pub fn admin_whole(
        &self,
        method: &str,
        path: &str,
        body: &str,
        fields: &str,
    ) -> (u16, String, String) {
        let mut tcp = TcpStream::connect(self.admin).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n{fields}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        tcp.write_all(head.as_bytes()).unwrap();
        let mut all = String::new();
        let _ = tcp.read_to_string(&mut all);
        let status = all.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
        let (head, body) = all.split_once("\r\n\r\n").unwrap_or_default();
        (status, head.to_string(), body.to_string())
    }

    /// Invalidates paths (or `#tags`) and gives back the answer.
    pub fn purge(&self, items: &[&str]) -> serde_json::Value {
        let (paths, tags): (Vec<&str>, Vec<&str>) =
            items.iter().partition(|item| !item.starts_with('#'));
        let body = serde_json::json!({ "paths": paths, "tags": tags }).to_string();
        let (status, answer) = self.admin("POST", "/v1/invalidations", &body);
        assert_eq!(status, 201, "{answer}");
        serde_json::from_str(&answer).unwrap()
    }

    /// One number of `/metrics`, summed over its labels.
    pub fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.admin("GET", "/metrics", "");
        text.lines()
            .filter(|line| line.split(['{', ' ']).next() == Some(name))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// Resident memory in KiB, and its highest so far.
    pub fn memory(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let field = |name: &str| {
            status
                .lines()
                .find(|line| line.starts_with(name))
                .and_then(|line| line.split_whitespace().nth(1))
                .and_then(|n| n.parse().ok())
                .unwrap_or(0)
        };
        (field("VmRSS:"), field("VmHWM:"))
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid() as i32).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// kill -9, and the folder for another start.
    pub fn kill(mut self) -> Arc<tempfile::TempDir> {
        let _ = self.child.kill();
        let _ = self.child.wait();
        Arc::clone(&self.folder)
    }

    /// Waits for the process to end by itself.
    pub fn wait(&mut self) -> bool {
        let status = self.child.wait().unwrap();
        status.success()
    }

    /// What it has written to its standard error by now.
    pub fn log(&self) -> String {
        text_of(&self.said)
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// All of a file, from its start. Who writes to it goes on where it was.
fn text_of(file: &File) -> String {
    let (mut all, mut piece) = (Vec::new(), [0; 1 << 14]);
    loop {
        match file.read_at(&mut piece, all.len() as u64).unwrap() {
            0 => return String::from_utf8_lossy(&all).into_owned(),
            n => all.extend_from_slice(&piece[..n]),
        }
    }
}

// The first address of such a listener that whole lines of a log tell of.
fn listens(log: &str, words: &str) -> Option<SocketAddr> {
    let whole = log.rfind('\n').map_or("", |end| &log[..end]);
    whole
        .lines()
        .filter(|line| line.contains(words))
        .find_map(|line| line.split("address=").nth(1)?.split_whitespace().next()?.parse().ok())
}

/// Runs the binary with arguments; exit code, standard output, standard error.
pub fn command(folder: &Path, args: &[&str]) -> (i32, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_foreshore"))
        .current_dir(folder)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (
        out.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&out.stdout).into_owned(),
        String::from_utf8_lossy(&out.stderr).into_owned(),
    )
}

/// Certificates for names under a CA of the folder's own: CA, chain and key.
pub fn certificates(folder: &Path, names: &[&str]) -> (PathBuf, PathBuf, PathBuf) {
    let mut args = vec!["certs", "dev", "--out", "tls"];
    args.extend_from_slice(names);
    let (code, _, err) = command(folder, &args);
    assert_eq!(code, 0, "{err}");
    let stem = names[0].replace('*', "_").replace(':', "-");
    (
        folder.join("tls/ca.pem"),
        folder.join(format!("tls/{stem}.pem")),
        folder.join(format!("tls/{stem}.key")),
    )
}

/// One purge that may fail, for edges that are killed meanwhile: the id and number it was
/// acknowledged with.
pub fn try_purge(admin: SocketAddr, token: &str, path: &str) -> Option<(String, u64)> {
    let mut tcp = TcpStream::connect_timeout(&admin, Duration::from_secs(2)).ok()?;
    tcp.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let body = format!("{{\"paths\":[\"{path}\"]}}");
    let head = format!(
        "POST /v1/invalidations HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    tcp.write_all(head.as_bytes()).ok()?;
    let mut all = String::new();
    tcp.read_to_string(&mut all).ok()?;
    let answer: serde_json::Value = serde_json::from_str(all.split_once("\r\n\r\n")?.1).ok()?;
    Some((answer["id"].as_str()?.to_string(), answer["number"].as_u64()?))
}
