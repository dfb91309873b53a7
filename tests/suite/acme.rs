//! Certificates that are ordered of a CA: proved in three ways, renewed while viewers come, gone on
//! with after a crash, and shared by edges.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::support::edge::{certificates, command, plain};
use super::support::origin::fresh;
use super::support::{Ca, Edge, Looks, Origin, Viewer, Wrong, eventually, free_port, shown};

// The table of a certificate that is ordered of a CA whose own lies beside the configuration.
fn ordered(ca: &Ca, more: &str) -> String {
    format!(
        "[[certificate]]\nacme = {{ directory = {:?}, ca = \"root.pem\", accept_terms = true, {more} }}\n",
        ca.directory()
    )
}

// A configuration with HTTPS.
fn secure(origin: SocketAddr, certificates: &str) -> String {
    plain(origin, certificates).replace("workers = 2\n", "https = [\"127.0.0.1:0\"]\nworkers = 2\n")
}

// A folder from which an edge can be started that orders one certificate.
fn folder(ca: &Ca, origin: SocketAddr, more: &str) -> Arc<tempfile::TempDir> {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("root.pem"), ca.root()).unwrap();
    std::fs::write(folder.path().join("edge.toml"), secure(origin, &ordered(ca, more))).unwrap();
    folder
}

fn status(edge: &Edge) -> Value {
    let (status, body) = edge.admin("GET", "/v1/status", "");
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

// How the only certificate that is ordered stands.
fn row(edge: &Edge) -> Value {
    status(edge)["acme"][0].clone()
}

// Whether viewers of a name that trust the CA are served.
fn is_trusted(edge: &Edge, name: &str) -> bool {
    let root = edge.path().join("root.pem");
    Viewer::connect_tls(edge.https.unwrap(), name, &root).is_ok()
}

fn certificate(edge: &Edge, name: &str) -> Vec<u8> {
    shown(edge.https.unwrap(), name, None).unwrap().0
}

// All files below a folder, with their modes; folders first are held to theirs.
fn files(folder: &Path, found: &mut Vec<(std::path::PathBuf, u32)>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        if entry.path().is_dir() {
            assert_eq!(mode, 0o700, "{}", entry.path().display());
            files(&entry.path(), found);
        } else {
            found.push((entry.path(), mode));
        }
    }
}

fn files_of(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.path() {
            path if path.is_dir() => files_of(&path, found),
            path => found.push(path),
        }
    }
}

#[test]
fn a_file_and_a_handshake_prove_a_name_and_viewers_trust_what_is_issued() {
    let origin = Origin::start(|_| fresh(b"x"));
    for challenge in ["http-01", "tls-alpn-01"] {
        let ca = Ca::start();
        ca.refuses_nonces(3);
        let wish = format!("names = [\"www.test\"], challenge = {challenge:?}");
        let edge = Edge::start_in(folder(&ca, origin.address, &wish));
        // From the first moment some certificate is there.
        certificate(&edge, "www.test");
        let https = edge.https.unwrap();
        ca.looks_at(vec![match challenge {
            "http-01" => Looks::Http(edge.http),
            _ => Looks::Tls(https),
        }]);
        eventually("a certificate of the CA", || is_trusted(&edge, "www.test"));
        let root = edge.path().join("root.pem");
        let mut viewer = Viewer::connect_tls(https, "www.test", &root).unwrap();
        assert_eq!(viewer.get("/", &["Host: www.test"]).status, 200);
        // It is served a moment before its next order has a time.
        eventually("the word of it", || row(&edge)["next"].is_string());
        let row = row(&edge);
        assert!(row["expires"].is_string() && row["state"] == "issued", "{row}");
        assert!(row["failures"] == 0 && row["last_error"].is_null(), "{row}");
        for (name, least) in [("issued", 1.0), ("nonces_refused", 3.0), ("proofs_shown", 1.0)] {
            let count = edge.metric(&format!("foreshore_acme_{name}_total"));
            assert!(count >= least, "{name}: {count}");
        }
        // What was shown is shown no longer.
        let path = "/.well-known/acme-challenge/x";
        assert_eq!(edge.get(path).text(), "x");
        assert!(shown(https, "www.test", Some(b"acme-tls/1")).is_err());
        let admin = edge.admin.to_string();
        let list = ["certs", "list", "--admin", &admin, "--token-file", "data/admin-token"];
        let (code, out, err) = command(edge.path(), &list);
        assert_eq!(code, 0, "{err}");
        assert!(out.contains("www.test") && out.contains("issued"), "{out}");
        lasts(&ca, edge);
    }
}

// What was issued is there after a crash, for its owner alone, and nothing is ordered again.
fn lasts(ca: &Ca, edge: Edge) {
    let log = edge.log() + &status(&edge).to_string();
    let folder = edge.kill();
    let mut found = Vec::new();
    files(&folder.path().join("data/acme"), &mut found);
    assert!(found.len() >= 3, "{found:?}");
    for (path, mode) in found {
        assert_eq!(mode, 0o600, "{}", path.display());
        let text = std::fs::read_to_string(&path).unwrap();
        let secret = text.lines().skip_while(|line| !line.contains("PRIVATE KEY")).nth(1);
        if let Some(secret) = secret {
            assert!(!log.contains(secret) && !log.contains("PRIVATE KEY"), "{log}");
        }
    }
    let edge = Edge::start_in(folder);
    assert!(is_trusted(&edge, "www.test"));
    eventually("the word of it", || row(&edge)["state"] == "issued");
    assert_eq!((ca.asked("account"), ca.asked("new-order")), (1, 1));
}

#[test]
fn a_command_proves_wildcards_in_dns_and_cleans_up() {
    let origin = Origin::start(|_| fresh(b"x"));
    let ca = Ca::start();
    let zone = tempfile::tempdir().unwrap();
    let (script, records) = (zone.path().join("dns.sh"), zone.path().join("zone"));
    let text = "if [ \"$ACME_ACTION\" = present ]; then echo \"$ACME_RECORD $ACME_VALUE\" >> \"$1\"\n\
                else grep -v \" $ACME_VALUE$\" \"$1\" > \"$1.new\"; mv \"$1.new\" \"$1\"; fi\n";
    std::fs::write(&script, text).unwrap();
    std::fs::write(&records, "").unwrap();
    ca.looks_at(vec![Looks::Dns(records.clone())]);
    let wish = format!(
        "names = [\"*.shop.test\", \"shop.test\"], challenge = \"dns-01\", dns_wait = \"0s\", \
         dns_command = [\"sh\", {script:?}, {records:?}]"
    );
    let edge = Edge::start_in(folder(&ca, origin.address, &wish));
    eventually("a certificate of the CA", || is_trusted(&edge, "a.shop.test"));
    assert!(is_trusted(&edge, "shop.test") && !is_trusted(&edge, "a.b.shop.test"));
    eventually("an empty zone", || std::fs::read_to_string(&records).unwrap().is_empty());
    assert_eq!(ca.asked("challenge"), 2);
}

#[test]
fn a_renewal_fails_no_handshake_and_one_that_fails_leaves_the_old_certificate() {
    let origin = Origin::start(|_| fresh(b"x"));
    let ca = Ca::start();
    // The CA wants it renewed at once; the edge leaves a twentieth of the life in between.
    ca.issues_for(60, Some((-7200, -3600)));
    let wish = "names = [\"www.test\"], challenge = \"http-01\"";
    let edge = Edge::start_in(folder(&ca, origin.address, wish));
    ca.looks_at(vec![Looks::Http(edge.http)]);
    eventually("a certificate of the CA", || is_trusted(&edge, "www.test"));
    let first = certificate(&edge, "www.test");
    let until = Instant::now() + Duration::from_secs(30);
    let mut handshakes = 0;
    while certificate(&edge, "www.test") == first {
        assert!(is_trusted(&edge, "www.test"), "after {handshakes} handshakes");
        handshakes += 1;
        assert!(Instant::now() < until, "it is not renewed: {}", row(&edge));
    }
    let orders = ca.payloads("new-order");
    assert_eq!(orders[0]["replaces"], Value::Null);
    assert!(orders[1]["replaces"].as_str().unwrap().contains('.'), "{orders:?}");
    assert!(ca.asked("renewal") >= 1);
    ca.goes_wrong("new-order", Wrong::Problem(500, "serverInternal", None));
    eventually("a failed renewal", || row(&edge)["state"] == "failed");
    let row = row(&edge);
    assert!(row["last_error"].as_str().unwrap().contains("serverInternal"), "{row}");
    assert!(row["expires"].is_string() && row["failures"] == 1, "{row}");
    assert_eq!(edge.metric("foreshore_acme_failures"), 1.0);
    assert!(edge.metric("foreshore_acme_expiry_seconds") > 0.0);
    assert!(is_trusted(&edge, "www.test"));
}

#[test]
fn an_order_is_gone_on_with_after_a_crash() {
    let origin = Origin::start(|_| fresh(b"x"));
    for step in ["challenge", "finalize"] {
        let ca = Ca::start();
        ca.holds(step);
        let wish = "names = [\"www.test\"], challenge = \"http-01\"";
        let edge = Edge::start_in(folder(&ca, origin.address, wish));
        ca.looks_at(vec![Looks::Http(edge.http)]);
        eventually("the step before the crash", || ca.asked(step) > 0);
        let edge = Edge::start_in(edge.kill());
        ca.looks_at(vec![Looks::Http(edge.http)]);
        // This CA looks when it is asked how things stand: not before the proof is shown again.
        eventually("the same step", || step == "finalize" || ca.asked(step) > 1);
        ca.lets_go();
        eventually("a certificate of the CA", || is_trusted(&edge, "www.test"));
        let asked = ["account", "new-order", "finalize"].map(|step| ca.asked(step));
        assert_eq!(asked, [1, 1, 1], "{step}");
    }
}

#[test]
fn an_order_that_failed_for_want_of_a_process_is_made_anew_at_once() {
    let origin = Origin::start(|_| fresh(b"x"));
    // The CA looked while no process was there, and says so before or after the next has gone on
    // with the order.
    for before in [true, false] {
        let ca = Ca::start();
        ca.holds("challenge");
        let wish = "names = [\"www.test\"], challenge = \"http-01\"";
        let edge = Edge::start_in(folder(&ca, origin.address, wish));
        eventually("a challenge", || ca.asked("challenge") > 0);
        let folder = edge.kill();
        if before {
            ca.finds_nothing();
        }
        let edge = Edge::start_in(folder);
        ca.looks_at(vec![Looks::Http(edge.http)]);
        if !before {
            eventually("the same challenge", || ca.asked("challenge") > 1);
            ca.finds_nothing();
        }
        ca.lets_go();
        eventually("a certificate of the CA", || is_trusted(&edge, "www.test"));
        assert_eq!((ca.asked("account"), ca.asked("new-order")), (1, 2), "{before}");
        assert_eq!(edge.metric("foreshore_acme_failed_total"), 0.0, "{before}");
    }
}

#[test]
fn a_reload_while_an_order_is_open_leaves_it_alone() {
    let origin = Origin::start(|_| fresh(b"x"));
    let ca = Ca::start();
    ca.holds("challenge");
    let wish = "names = [\"www.test\"], challenge = \"http-01\"";
    let edge = Edge::start_in(folder(&ca, origin.address, wish));
    ca.looks_at(vec![Looks::Http(edge.http)]);
    eventually("a challenge", || ca.asked("challenge") > 0);
    let (status, body) = edge.admin("POST", "/v1/reload", "");
    assert_eq!(status, 200, "{body}");
    ca.lets_go();
    eventually("a certificate of the CA", || is_trusted(&edge, "www.test"));
    assert_eq!(ca.asked("new-order"), 1);
}

#[test]
fn edges_that_share_a_folder_make_one_order_and_all_answer() {
    let origin = Origin::start(|_| fresh(b"x"));
    let ca = Ca::start();
    let shared = tempfile::tempdir().unwrap();
    let wish = format!(
        "names = [\"www.test\"], challenge = \"http-01\", folder = {:?}",
        shared.path().join("acme")
    );
    let edges = [(); 2].map(|()| Edge::start_in(folder(&ca, origin.address, &wish)));
    ca.looks_at(edges.iter().map(|edge| Looks::Http(edge.http)).collect());
    for edge in &edges {
        eventually("a certificate of the CA", || is_trusted(edge, "www.test"));
    }
    assert_eq!(certificate(&edges[0], "www.test"), certificate(&edges[1], "www.test"));
    assert_eq!((ca.asked("account"), ca.asked("new-order")), (1, 1));
}

// The parent of a fleet, which orders for it, and an edge that it orders for.
fn fleet(ca: &Ca, origin: SocketAddr) -> [Edge; 2] {
    let (https, admin) = (free_port(), free_port());
    let wish = "names = [\"www.test\"], challenge = \"http-01\", orderer = \"parent\"";
    let folders = [(); 2].map(|()| folder(ca, origin, wish));
    let (own, chain, key) = certificates(folders[0].path(), &["localhost"]);
    for folder in &folders {
        std::fs::write(folder.path().join("token"), "between-us").unwrap();
        std::fs::write(folder.path().join("tickets"), "0123456789abcdef".repeat(4)).unwrap();
    }
    let certificate = ordered(ca, wish);
    let terms = "name = \"own\"\nticket_key = { file = \"tickets\" }\n";
    let parent = format!(
        "[[certificate]]\nchain = {chain:?}\nkey = {key:?}\n{certificate}\
         [[trusted_edge]]\nid = \"edge-1\"\ntoken = {{ file = \"token\" }}\n\
         [fleet]\nmember = \"parent\"\nsequencer = \"here\"\n{terms}"
    );
    let edge = format!(
        "{certificate}[region]\nkind = \"parent\"\nedge_id = \"edge-1\"\ntoken = {{ file = \"token\" }}\nca = {own:?}\n\
         [[region.parent]]\nurl = \"https://localhost:{https}\"\nadmin = \"http://127.0.0.1:{admin}\"\n\
         [fleet]\nsequencer = \"parent\"\n{terms}"
    );
    let parent = secure(origin, &parent)
        .replace("https = [\"127.0.0.1:0\"]", &format!("https = [\"127.0.0.1:{https}\"]"))
        .replace("listen = \"127.0.0.1:0\"", &format!("listen = \"127.0.0.1:{admin}\""));
    std::fs::write(folders[0].path().join("edge.toml"), parent).unwrap();
    std::fs::write(folders[1].path().join("edge.toml"), secure(origin, &edge)).unwrap();
    folders.map(Edge::start_in)
}

#[test]
fn one_member_orders_for_its_fleet_and_the_log_shows_no_key() {
    let origin = Origin::start(|_| fresh(b"x"));
    let ca = Ca::start();
    let [parent, edge] = fleet(&ca, origin.address);
    ca.looks_at(vec![Looks::Http(parent.http), Looks::Http(edge.http)]);
    for one in [&parent, &edge] {
        eventually("a certificate of the CA", || is_trusted(one, "www.test"));
    }
    assert_eq!(certificate(&parent, "www.test"), certificate(&edge, "www.test"));
    assert_eq!((ca.asked("account"), ca.asked("new-order")), (1, 1));
    assert!(parent.metric("foreshore_acme_proofs_shown_total") >= 1.0);
    assert!(edge.metric("foreshore_acme_proofs_shown_total") >= 1.0);
    assert_eq!(edge.metric("foreshore_acme_issued_total"), 0.0);
    let mut written = Vec::new();
    files_of(&parent.path().join("data"), &mut written);
    assert!(written.len() >= 3, "{written:?}");
    for path in written.iter().filter(|path| !path.to_string_lossy().contains("/acme/")) {
        let octets = std::fs::read(path).unwrap();
        let has_key = octets.windows(11).any(|octets| octets == b"PRIVATE KEY");
        assert!(!has_key, "{}", path.display());
    }
    // An edge that lost its files asks its fleet, and no CA.
    let lost = edge.kill();
    std::fs::remove_dir_all(lost.path().join("data/acme")).unwrap();
    let edge = Edge::start_in(lost);
    eventually("the certificate of the fleet", || is_trusted(&edge, "www.test"));
    assert_eq!(ca.asked("new-order"), 1);
    assert_eq!(row(&edge)["names"][0], "www.test");
}

#[test]
fn without_its_ca_an_edge_serves_says_why_and_orders_once_the_ca_is_there() {
    let origin = Origin::start(|_| fresh(b"x"));
    let ca = Ca::start();
    let wish = "names = [\"www.test\"], challenge = \"http-01\"";
    let away = folder(&ca, origin.address, wish);
    // Nothing listens on port 1.
    let text = std::fs::read_to_string(away.path().join("edge.toml")).unwrap();
    let nowhere = text.replace(&ca.directory(), "https://127.0.0.1:1/dir");
    std::fs::write(away.path().join("edge.toml"), nowhere).unwrap();
    let edge = Edge::start_in(away);
    certificate(&edge, "www.test");
    eventually("a failure", || row(&edge)["state"] == "failed");
    let failed = row(&edge);
    assert_eq!(failed["names"][0], "www.test");
    assert!(failed["last_error"].as_str().unwrap().starts_with("unreachable: "), "{failed}");
    assert!(edge.metric("foreshore_acme_failed_total") >= 1.0);
    assert!(edge.metric("foreshore_acme_failures") >= 1.0);
    // Another CA is another certificate, and nothing of the first is in its way.
    ca.looks_at(vec![Looks::Http(edge.http)]);
    std::fs::write(edge.path().join("edge.toml"), text).unwrap();
    eventually("a certificate of the CA", || is_trusted(&edge, "www.test"));
    eventually("one row", || status(&edge)["acme"].as_array().is_some_and(|all| all.len() == 1));
}
