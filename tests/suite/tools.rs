//! What other people's tools see: openssl's view of our TLS.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::support::edge::{certificates, plain};
use super::support::origin::fresh;
use super::support::tool;
use super::support::{Edge, Origin, eventually};

fn s_client(edge: &Edge, args: &[&str]) -> String {
    let address = edge.https.unwrap().to_string();
    let mut child = Command::new("openssl")
        .args(["s_client", "-ign_eof", "-connect", &address])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"GET /a HTTP/1.1\r\nHost: h.test\r\nConnection: close\r\n\r\n")
        .unwrap();
    let out = child.wait_with_output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

fn edge_with(more: &str, extra_certificates: impl Fn(&std::path::Path)) -> (Edge, Origin) {
    let origin = Origin::start(|_| fresh(b"x"));
    let folder = Arc::new(tempfile::tempdir().unwrap());
    certificates(folder.path(), &["h.test"]);
    extra_certificates(folder.path());
    let config =
        plain(origin.address, more).replace("[listen]\n", "[listen]\nhttps = [\"127.0.0.1:0\"]\n");
    std::fs::write(folder.path().join("edge.toml"), config).unwrap();
    (Edge::start_in(folder), origin)
}

const OWN: &str = "[[certificate]]\nchain = \"tls/h.test.pem\"\nkey = \"tls/h.test.key\"\n";

#[test]
fn policies_say_which_protocols_and_ciphers() {
    if !tool::have(&[tool::OPENSSL]) {
        return;
    }
    let (edge, _origin) = edge_with(OWN, |_| ());
    assert!(s_client(&edge, &["-tls1_3", "-servername", "h.test"]).contains("TLSv1.3"));
    assert!(
        s_client(
            &edge,
            &["-tls1_2", "-servername", "h.test", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"]
        )
        .contains("ECDHE-ECDSA-CHACHA20-POLY1305")
    );
    for old in ["-tls1_1", "-tls1"] {
        assert!(
            !s_client(&edge, &[old, "-cipher", "ALL:@SECLEVEL=0"]).contains("HTTP/1.1 200"),
            "{old}"
        );
    }
    let (edge, _origin) = edge_with(&format!("{OWN}[tls]\npolicy = \"TLSv1.2_2025\"\n"), |_| ());
    assert!(
        s_client(&edge, &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"])
            .contains("HTTP/1.1 200")
    );
    assert!(
        !s_client(&edge, &["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"])
            .contains("HTTP/1.1 200")
    );
    let (edge, _origin) = edge_with(&format!("{OWN}[tls]\npolicy = \"TLSv1.3_2025\"\n"), |_| ());
    assert!(s_client(&edge, &["-tls1_3"]).contains("HTTP/1.1 200"));
    assert!(!s_client(&edge, &["-tls1_2"]).contains("HTTP/1.1 200"));
}

#[test]
fn of_two_certificates_for_a_name_the_better_one_is_shown() {
    if !tool::have(&[tool::OPENSSL]) {
        return;
    }
    let (edge, _origin) = edge_with(
        &format!("[[certificate]]\nchain = \"rsa.pem\"\nkey = \"rsa.key\"\n{OWN}"),
        |folder| {
            let made = Command::new("openssl")
                .current_dir(folder)
                .args([
                    "req",
                    "-x509",
                    "-newkey",
                    "rsa:2048",
                    "-nodes",
                    "-keyout",
                    "rsa.key",
                    "-out",
                    "rsa.pem",
                    "-days",
                    "30",
                    "-subj",
                    "/CN=h.test",
                    "-addext",
                    "subjectAltName=DNS:h.test",
                ])
                .output()
                .unwrap();
            assert!(made.status.success());
        },
    );
    assert!(s_client(&edge, &["-servername", "h.test"]).contains("Peer signature type: ECDSA"));
    let rsa = s_client(&edge, &["-servername", "h.test", "-sigalgs", "RSA-PSS+SHA256"]);
    assert!(rsa.contains("Peer signature type: RSA-PSS"), "{rsa}");
}

#[test]
fn sessions_resume_by_ticket_also_after_a_restart() {
    if !tool::have(&[tool::OPENSSL]) {
        return;
    }
    let (edge, _origin) = edge_with(OWN, |_| ());
    let session = edge.path().join("session.pem");
    let file = session.to_str().unwrap();
    let first = s_client(&edge, &["-tls1_3", "-servername", "h.test", "-sess_out", file]);
    assert!(first.contains("New, TLSv1.3"), "{first}");
    assert!(
        s_client(&edge, &["-tls1_3", "-servername", "h.test", "-sess_in", file])
            .contains("Reused, TLSv1.3")
    );
    let folder = edge.kill();
    let edge = Edge::start_in(folder);
    let again = s_client(&edge, &["-tls1_3", "-servername", "h.test", "-sess_in", file]);
    assert!(again.contains("Reused, TLSv1.3"), "{again}");
    assert!(edge.metric("foreshore_tls_resumed_total") >= 1.0);
    // Under another name a ticket is worth nothing.
    assert!(
        s_client(&edge, &["-tls1_3", "-servername", "other.test", "-sess_in", file])
            .contains("New, TLSv1.3")
    );
}

#[test]
fn sessions_resume_on_another_edge_of_the_fleet() {
    if !tool::have(&[tool::OPENSSL]) {
        return;
    }
    let secrets = |folder: &std::path::Path| {
        std::fs::write(folder.join("token"), "let-me").unwrap();
        std::fs::write(folder.join("tickets"), "5a".repeat(32)).unwrap();
    };
    let fleet = |member: &str, more: &str| {
        format!(
            "{OWN}[fleet]\nname = \"shop\"\nmember = {member:?}\nticket_key = {{ file = \"tickets\" }}\n{more}"
        )
    };
    let edge = "id = \"b\"\ntoken = { file = \"token\" }\n";
    let here = fleet("a", &format!("sequencer = \"here\"\n[[trusted_edge]]\n{edge}"));
    let (a, _origin) = edge_with(&here, secrets);
    let parent = format!(
        "sequencer = \"parent\"\n[fleet.parent]\nadmin = \"http://{}\"\nedge_{edge}",
        a.admin
    );
    let (b, _other) = edge_with(&fleet("b", &parent), secrets);
    let keys = |edge: &Edge| edge.metric("foreshore_fleet_ticket_keys");
    eventually("the log has brought a key to both", || keys(&b) >= 1.0 && keys(&a) >= keys(&b));
    // A key that is found on the disk has been with the others for long enough to seal.
    let b = Edge::start_in(b.kill());
    let session = b.path().join("session.pem");
    let file = session.to_str().unwrap();
    let first = s_client(&b, &["-tls1_3", "-servername", "h.test", "-sess_out", file]);
    assert!(first.contains("New, TLSv1.3"), "{first}");
    let again = s_client(&a, &["-tls1_3", "-servername", "h.test", "-sess_in", file]);
    assert!(again.contains("Reused, TLSv1.3"), "{again}");
    for edge in [&a, &b] {
        let log = edge.log();
        assert!(!log.contains("5a5a") && !log.contains("cannot be used here"), "{log}");
    }
}
