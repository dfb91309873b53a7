//! The process among others: what a service manager hears and hands over, and rights that are given
//! up once sockets are bound.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;

use super::support::edge::plain;
use super::support::origin::fresh;
use super::support::tool::{self, Tool};
use super::support::{Edge, Origin, eventually};

/// A service manager as far as a service sees one.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn in_folder(folder: &Path) -> Self {
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
        Self { socket, path }
    }

    fn hears(&self) -> String {
        let mut said = [0; 4096];
        let length = self.socket.recv(&mut said).expect("the manager hears something");
        String::from_utf8(said[..length].to_vec()).unwrap()
    }
}

// A folder with a configuration, and more settings of it.
fn folder_with(origin: &Origin, more: &str) -> Arc<tempfile::TempDir> {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("edge.toml"), plain(origin.address, more)).unwrap();
    folder
}

#[test]
fn a_service_manager_hears_of_start_reload_and_end() {
    let origin = Origin::start(|_| fresh(b"x"));
    let folder = folder_with(&origin, "");
    let manager = Manager::in_folder(folder.path());
    let environment = [("NOTIFY_SOCKET", manager.path.as_path())];
    let mut edge = Edge::try_start_with(Arc::clone(&folder), &environment).unwrap();
    assert!(manager.hears().starts_with("READY=1\n"));
    assert_eq!(edge.get("/").text(), "x", "what is ready serves");
    edge.signal(Signal::HUP);
    let said = manager.hears();
    let since = said.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&said);
    assert!(since.parse::<u64>().unwrap() > 0, "{said}");
    let said = manager.hears();
    assert!(said.starts_with("READY=1\n") && said.contains("reloaded"), "{said}");
    std::fs::write(folder.path().join("edge.toml"), "[lisen]\n").unwrap();
    edge.signal(Signal::HUP);
    assert!(manager.hears().starts_with("RELOADING=1\n"));
    let said = manager.hears();
    assert!(said.starts_with("READY=1\n") && said.contains("mistakes"), "{said}");
    assert_eq!(edge.get("/").text(), "x", "the configuration before stays in force");
    edge.signal(Signal::TERM);
    let said = manager.hears();
    assert!(said.starts_with("STOPPING=1\n"), "{said}");
    assert!(
        said.contains("EXTEND_TIMEOUT_USEC=45000000"),
        "limits.drain and a little more: {said}"
    );
    assert!(edge.wait());
}

#[test]
fn a_watchdog_hears_that_the_cores_go_on() {
    let origin = Origin::start(|_| fresh(b"x"));
    let folder = folder_with(&origin, "");
    let manager = Manager::in_folder(folder.path());
    let environment =
        [("NOTIFY_SOCKET", manager.path.as_path()), ("WATCHDOG_USEC", Path::new("1000000"))];
    let _edge = Edge::try_start_with(folder, &environment).unwrap();
    assert!(manager.hears().starts_with("READY=1\n"));
    for _ in 0..3 {
        assert_eq!(manager.hears(), "WATCHDOG=1");
    }
}

#[test]
fn a_service_manager_that_cannot_be_reached_is_an_error() {
    let origin = Origin::start(|_| fresh(b"x"));
    let environment = [("NOTIFY_SOCKET", Path::new("/nowhere/notify"))];
    let said = Edge::try_start_with(folder_with(&origin, ""), &environment).err().expect("refused");
    assert!(said.contains("NOTIFY_SOCKET /nowhere/notify"), "{said}");
}

/// Binds a socket for each name and becomes the service, as systemd does it.
const HAND_OVER: &str = r#"
import fcntl, os, socket, sys
names, program = sys.argv[1], sys.argv[2]
listeners = [socket.create_server(("127.0.0.1", 0)) for _ in names.split(":")]
high = [fcntl.fcntl(one.fileno(), fcntl.F_DUPFD_CLOEXEC, 50) for one in listeners]
for at, one in enumerate(high):
    os.dup2(one, 3 + at, inheritable=True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(high)), LISTEN_FDNAMES=names)
os.execv(program, sys.argv[2:])
"#;

fn handed(names: &str, folder: &Arc<tempfile::TempDir>) -> Result<Edge, String> {
    let mut command = Command::new("python3");
    command.args(["-c", HAND_OVER, names, env!("CARGO_BIN_EXE_foreshore")]);
    command.args(["run", "--quiet", "--config"]);
    Edge::start_by(command, folder)
}

#[test]
fn sockets_that_are_handed_over_are_served() {
    if !tool::have(&[Tool::Program("python3")]) {
        return;
    }
    let origin = Origin::start(|_| fresh(b"x"));
    let edge = handed("http:http", &folder_with(&origin, "")).unwrap();
    let listening = edge.log().matches("speaks=\"http\"").count();
    assert_eq!(listening, 2, "both, and none that the configuration has: {}", edge.log());
    for _ in 0..20 {
        assert_eq!(edge.get("/").text(), "x");
    }
    // What is run by the edge is not to listen on its ports.
    for descriptor in [3, 4] {
        let path = format!("/proc/{}/fdinfo/{descriptor}", edge.pid());
        let text = std::fs::read_to_string(path).unwrap();
        let flags = text.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
        let flags = u32::from_str_radix(flags, 8).unwrap();
        assert!(flags & 0o2_000_000 != 0, "closed by exec: {text}");
    }
}

#[test]
fn a_socket_that_is_for_nothing_is_an_error() {
    if !tool::have(&[Tool::Program("python3")]) {
        return;
    }
    let origin = Origin::start(|_| fresh(b"x"));
    let said = handed("foreshore.socket", &folder_with(&origin, "")).err().expect("refused");
    assert!(said.contains("foreshore.socket") && said.contains("FileDescriptorName"), "{said}");
    let said = handed("https", &folder_with(&origin, "")).err().expect("refused");
    assert!(said.contains("there is no [[certificate]]"), "{said}");
}

// One line of what the kernel says of a process.
fn said_by_kernel(edge: &Edge, file: &str, begins: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{}/{file}", edge.pid())).unwrap();
    let line = text.lines().find(|line| line.starts_with(begins)).unwrap_or("");
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn rights_are_given_up_and_the_edge_serves() {
    let origin = Origin::start(|_| fresh(b"x"));
    let more = "[process]\nnew_privileges = \"refuse\"\ncore_dumps = \"off\"\nwritable = []\n[store.disk]\nsize = \"16MiB\"\n";
    let edge = Edge::before(origin.address, more);
    assert_eq!(said_by_kernel(&edge, "status", "NoNewPrivs:"), "NoNewPrivs: 1");
    let limit = said_by_kernel(&edge, "limits", "Max core file size");
    assert!(limit.starts_with("Max core file size 0 0"), "{limit}");
    assert_eq!(edge.get("/").text(), "x");
    assert_eq!(edge.purge(&["/*"])["status"], "Completed", "what is in the data folder is written");
    // What is elsewhere can no longer be written to, whatever a reload says.
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("access.log");
    let config = plain(origin.address, more).replace("access.log", file.to_str().unwrap());
    std::fs::write(edge.path().join("edge.toml"), config).unwrap();
    let (status, said) = edge.admin("POST", "/v1/reload", "");
    assert_eq!(status, 200, "{said}");
    if !edge.log().contains("Landlock") {
        eventually("the log is refused", || edge.log().contains("a log cannot be opened"));
        assert!(!file.exists());
    }
}

#[test]
fn rights_that_cannot_be_given_up_are_an_error() {
    let origin = Origin::start(|_| fresh(b"x"));
    for (more, words) in [
        ("[process]\nwritable = [\"nowhere\"]\n", "nowhere is not there"),
        ("[process]\nuser = \"no-such-user\"\n", "there is no user no-such-user"),
    ] {
        let said = Edge::try_start_in(folder_with(&origin, more)).err().expect("refused");
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn root_becomes_another_user_once_sockets_are_bound() {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    if !rustix::process::getuid().is_root() || !users.contains("\nnobody:x:65534:65534:") {
        return;
    }
    let origin = Origin::start(|_| fresh(b"x"));
    let more = "[process]\nuser = \"nobody\"\n[[certificate]]\nchain = \"data/certs/a.pem\"\n\
                key = \"data/certs/a.key\"\nmake_for = [\"localhost\"]\n";
    let folder = folder_with(&origin, more);
    // What the user writes to is its own; the folder may be looked into.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    std::fs::write(folder.path().join("access.log"), "").unwrap();
    for name in ["data", "access.log"] {
        chown(folder.path().join(name), Some(65534), Some(65534)).unwrap();
    }
    let edge = Edge::start_in(folder);
    assert_eq!(said_by_kernel(&edge, "status", "Uid:"), "Uid: 65534 65534 65534 65534");
    assert_eq!(said_by_kernel(&edge, "status", "Gid:"), "Gid: 65534 65534 65534 65534");
    assert_eq!(said_by_kernel(&edge, "status", "CapEff:"), "CapEff: 0000000000000000");
    assert_eq!(edge.get("/").text(), "x");
    let tasks = std::fs::read_dir(format!("/proc/{}/task", edge.pid())).unwrap();
    for task in tasks.map(Result::unwrap) {
        let status = std::fs::read_to_string(task.path().join("status")).unwrap();
        assert!(status.contains("\nUid:\t65534\t65534\t65534\t65534\n"), "each thread: {status}");
    }
    // A key that was made is its own, and so is read again.
    let key = std::fs::metadata(edge.path().join("data/certs/a.key")).unwrap();
    assert_eq!(key.uid(), 65534);
    let (status, said) = edge.admin("POST", "/v1/reload", "");
    assert_eq!(status, 200, "{said}");
}
