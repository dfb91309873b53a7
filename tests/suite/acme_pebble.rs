//! Certificates of Pebble, Let's Encrypt's CA for tests, as Debian packages it: all three
//! challenges, with its refusals of good nonces on.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use super::support::edge::{certificates, plain};
use super::support::origin::fresh;
use super::support::tool::{self, CURL, Tool};
use super::support::{Edge, Origin, Viewer, eventually, free_port};

const PEBBLE: Tool = Tool::Program("pebble");
const RECORDS: Tool = Tool::Program("pebble-challtestsrv");

/// The key of an account at the CA that ours is bound to (RFC 8555 §7.3.4).
const BINDING: &str = "YSBrZXkgb2YgZm9ydHktdHdvIG9jdGV0cywgd2hpY2ggaXMgZW5vdWdoLg";

// Ends with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

// Pebble, and the server that it asks about names.
struct Pebble {
    _running: [Running; 2],
    port: u16,
    roots: u16,
    records: u16,
}

fn quietly(command: &mut Command) -> Running {
    let log = || Stdio::null();
    Running(command.stdin(log()).stdout(log()).stderr(log()).spawn().unwrap())
}

// It looks for proofs at once, at these ports.
fn pebble(folder: &Path, (http, https): (u16, u16)) -> Pebble {
    let (_, chain, key) = certificates(folder, &["127.0.0.1"]);
    let [port, roots, records, dns] = [(); 4].map(|()| free_port());
    let config = serde_json::json!({ "pebble": {
        "listenAddress": format!("127.0.0.1:{port}"), "managementListenAddress": format!("127.0.0.1:{roots}"),
        "certificate": chain, "privateKey": key, "httpPort": http, "tlsPort": https, "ocspResponderURL": "",
        "externalAccountBindingRequired": true,
        "externalAccountMACKeys": { "kid-1": BINDING },
    } });
    std::fs::write(folder.join("pebble.json"), config.to_string()).unwrap();
    std::fs::write(folder.join("kid-1"), BINDING).unwrap();
    let mut names = Command::new("pebble-challtestsrv");
    names.args([
        "-dns01",
        &format!("127.0.0.1:{dns}"),
        "-management",
        &format!("127.0.0.1:{records}"),
    ]);
    names.args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", ""]);
    let mut ca = Command::new("pebble");
    ca.arg("-config").arg(folder.join("pebble.json"));
    ca.args(["-dnsserver", &format!("127.0.0.1:{dns}")]);
    ca.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", "30");
    Pebble { _running: [quietly(&mut names), quietly(&mut ca)], port, roots, records }
}

// What signs for what it issues; it is made anew at each start.
fn root(folder: &Path, pebble: &Pebble) -> bool {
    let asked = Command::new("curl")
        .args(["-s", "-f", "--cacert"])
        .arg(folder.join("tls/ca.pem"))
        .args(["-o", "issuer.pem", &format!("https://127.0.0.1:{}/roots/0", pebble.roots)])
        .current_dir(folder)
        .status();
    asked.is_ok_and(|status| status.success())
}

// The CA, and the server that it asks: an order that finds one of them away fails.
fn is_up(folder: &Path, pebble: &Pebble) -> bool {
    let [ca, records] =
        [pebble.port, pebble.records].map(|port| TcpStream::connect(("127.0.0.1", port)).is_ok());
    ca && records && root(folder, pebble)
}

fn is_trusted(edge: &Edge, https: u16, name: &str) -> bool {
    let address = SocketAddr::from(([127, 0, 0, 1], https));
    Viewer::connect_tls(address, name, &edge.path().join("issuer.pem")).is_ok()
}

// The table of a certificate that is ordered of it.
fn table(pebble: &Pebble, more: &str) -> String {
    format!(
        "[[certificate]]\nacme = {{ directory = \"https://127.0.0.1:{}/dir\", ca = \"tls/ca.pem\", accept_terms = true, \
         eab = {{ kid = \"kid-1\", hmac = {{ file = \"kid-1\" }} }}, {more} }}\n",
        pebble.port
    )
}

fn configure(folder: &Path, origin: &Origin, (http, https): (u16, u16), tables: &str) {
    let config = plain(origin.address, tables)
        .replace("http = [\"127.0.0.1:0\"]", &format!("http = [\"127.0.0.1:{http}\"]"))
        .replace("workers = 2\n", &format!("https = [\"127.0.0.1:{https}\"]\nworkers = 2\n"));
    std::fs::write(folder.join("edge.toml"), config).unwrap();
}

#[test]
fn pebble_issues_by_each_challenge_and_refuses_nonces_meanwhile() {
    if !tool::have(&[PEBBLE, RECORDS, CURL]) {
        return;
    }
    let origin = Origin::start(|_| fresh(b"x"));
    let (http, https) = (free_port(), free_port());
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let pebble = pebble(folder.path(), (http, https));
    let script = format!(
        "if [ $ACME_ACTION = present ]; then W=set-txt V=\",\\\"value\\\":\\\"$ACME_VALUE\\\"\"; else W=clear-txt V=; fi\n\
         exec curl -s -f -d \"{{\\\"host\\\":\\\"$ACME_RECORD.\\\"$V}}\" http://127.0.0.1:{}/$W\n",
        pebble.records
    );
    std::fs::write(folder.path().join("dns.sh"), script).unwrap();
    let table = |more: &str| table(&pebble, more);
    let command = format!("[\"sh\", {:?}]", folder.path().join("dns.sh"));
    let tables = [
        table("names = [\"file.test\", \"www.file.test\"], challenge = \"http-01\""),
        table("names = [\"hands.test\"], challenge = \"tls-alpn-01\", key = \"ecdsa-p384\""),
        table(&format!(
            "names = [\"*.dns.test\", \"dns.test\"], challenge = \"dns-01\", dns_command = {command}, dns_wait = \"0s\", key = \"rsa-2048\""
        )),
    ]
    .concat();
    configure(folder.path(), &origin, (http, https), &tables);
    eventually("Pebble", || is_up(folder.path(), &pebble));
    let up = Instant::now();
    let edge = Edge::start_in(Arc::clone(&folder));
    for name in ["file.test", "www.file.test", "hands.test", "any.dns.test", "dns.test"] {
        eventually(name, || {
            let failed = edge.metric("foreshore_acme_failed_total");
            assert_eq!(failed, 0.0, "{name}\n{}", edge.log());
            is_trusted(&edge, https, name)
        });
    }
    // An order that fails is made anew after a minute, and one that is refused a nonce goes on.
    let took = up.elapsed();
    assert!(took.as_secs() < 55, "{took:?}\n{}", edge.log());
    assert_eq!(edge.metric("foreshore_acme_failed_total"), 0.0, "{}", edge.log());
    assert_eq!(edge.metric("foreshore_acme_issued_total"), 3.0);
    assert!(edge.metric("foreshore_acme_nonces_refused_total") >= 1.0);
}

// Whether a file below the folder of orders has a name that begins so, and such words in it.
fn has_file(folder: &Path, name: &str, words: &str) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| entry.path()).any(|path| {
        if path.is_dir() {
            return has_file(&path, name, words);
        }
        let is_it = path.file_name().is_some_and(|own| own.to_string_lossy().starts_with(name));
        is_it && std::fs::read_to_string(&path).is_ok_and(|text| text.contains(words))
    })
}

/// Where the CA comes to when it looks for a proof.
#[derive(Clone, Copy)]
enum Way {
    /// It waits.
    Held,
    /// Nobody answers.
    Nowhere,
    To(SocketAddr),
}

// Stands between the CA and edges, so that the CA looks when the test says and not before.
struct Gate {
    port: u16,
    shared: Arc<(Mutex<Looked>, Condvar)>,
}

struct Looked {
    way: Way,
    /// How often the CA has come, and how many of these looks wait.
    looks: usize,
    held: usize,
}

impl Gate {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Looked { way: Way::Held, looks: 0, held: 0 };
        let gate = Self { port, shared: Arc::new((Mutex::new(state), Condvar::new())) };
        let shared = Arc::clone(&gate.shared);
        std::thread::spawn(move || {
            for ca in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || {
                    if let Way::To(edge) = pass(&shared) {
                        relay(ca, edge);
                    }
                });
            }
        });
        gate
    }

    fn leads(&self, way: Way) {
        self.shared.0.lock().unwrap().way = way;
        self.shared.1.notify_all();
    }

    fn looks(&self) -> usize {
        self.shared.0.lock().unwrap().looks
    }

    fn held(&self) -> usize {
        self.shared.0.lock().unwrap().held
    }
}

// Waits until there is a way.
fn pass((state, changed): &(Mutex<Looked>, Condvar)) -> Way {
    let mut state = state.lock().unwrap();
    (state.looks, state.held) = (state.looks + 1, state.held + 1);
    let mut state = changed.wait_while(state, |state| matches!(state.way, Way::Held)).unwrap();
    state.held -= 1;
    state.way
}

fn relay(mut ca: TcpStream, edge: SocketAddr) {
    let Ok(mut edge) = TcpStream::connect(edge) else { return };
    let (mut from, mut to) = (edge.try_clone().unwrap(), ca.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
    let _ = std::io::copy(&mut ca, &mut edge);
    let _ = edge.shutdown(Shutdown::Write);
}

// A step of an order: it was reached, however long the test takes to see it, for the CA is held
// where it looks for the proof.
const STEPS: [&str; 3] = ["an account", "an order", "a look of the CA"];

fn is_reached(step: &str, orders: &Path, gate: &Gate) -> bool {
    match step {
        "an account" => has_file(orders, "account-", "my-account"),
        "an order" => has_file(orders, "state.json", "/my-order/"),
        _ => gate.looks() > 0,
    }
}

#[test]
fn slow_pebble_issues_to_an_edge_that_is_killed_at_each_step() {
    if !tool::have(&[PEBBLE, RECORDS, CURL]) {
        return;
    }
    let origin = Origin::start(|_| fresh(b"x"));
    for step in STEPS {
        let (gate, https) = (Gate::start(), free_port());
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let pebble = pebble(folder.path(), (gate.port, https));
        let tables = table(&pebble, "names = [\"file.test\"], challenge = \"http-01\"");
        configure(folder.path(), &origin, (0, https), &tables);
        eventually("Pebble", || is_up(folder.path(), &pebble));
        let orders = folder.path().join("data/acme");
        let edge = Edge::start_in(Arc::clone(&folder));
        eventually(step, || is_reached(step, &orders, &gate));
        edge.kill();
        if gate.looks() > 0 {
            assert!(has_file(&orders, "", "\"authorization\""), "{step}: shown before it looks");
        }
        // It finds nobody, which makes the order invalid: that is no failure of the next process,
        // which would wait for a minute then, but a reason for another order.
        gate.leads(Way::Nowhere);
        eventually("the looks that were held", || gate.held() == 0);
        gate.leads(Way::Held);
        let edge = Edge::start_in(Arc::clone(&folder));
        gate.leads(Way::To(edge.http));
        eventually("a certificate", || is_trusted(&edge, https, "file.test"));
        assert_eq!(edge.metric("foreshore_acme_failed_total"), 0.0, "{step}\n{}", edge.log());
    }
}
