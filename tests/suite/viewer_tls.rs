//! Certificates of viewers, as curl shows them.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use super::support::edge::{certificates, plain};
use super::support::origin::fresh;
use super::support::{Edge, Origin, eventually, tool};

// An edge for h.test whose viewers are under a rule, and what curl needs to ask it.
struct Stage {
    edge: Edge,
    origin: Origin,
    ca: PathBuf,
    /// A certificate by the authority that is believed, and its key.
    good: (PathBuf, PathBuf),
    /// The same by another.
    other: (PathBuf, PathBuf),
    _elsewhere: tempfile::TempDir,
}

fn stage(rule: &str) -> Stage {
    let origin = Origin::start(|_| fresh(b"x"));
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let (ca, chain, key) = certificates(folder.path(), &["h.test", "free.test"]);
    let (_, shown, its_key) = certificates(folder.path(), &["viewer.test"]);
    let elsewhere = tempfile::tempdir().unwrap();
    let (_, other, other_key) = certificates(elsewhere.path(), &["viewer.test"]);
    let more = format!(
        "[[certificate]]\nchain = {chain:?}\nkey = {key:?}\n[origin_request_policy.cert]\n\
         headers = [\"CloudFront-Viewer-Cert-Present\", \"CloudFront-Viewer-Cert-Sha256\"]\n"
    );
    let rule = rule.replace("CA", &format!("{ca:?}"));
    let config = plain(origin.address, &more)
        .replace("[listen]", "[listen]\nhttps = [\"127.0.0.1:0\"]")
        .replace("hosts = [\"*\"]", &format!("hosts = [\"h.test\"]\nclient_certificates = {rule}"))
        + "cache_policy = \"CachingDisabled\"\norigin_request_policy = \"cert\"\n"
        + &format!(
            "[[distribution]]\nid = \"E2\"\nhosts = [\"free.test\"]\n[[distribution.origin]]\n\
             id = \"o\"\nurl = \"http://{}\"\n[[distribution.behavior]]\npath = \"*\"\norigin = \"o\"\n",
            origin.address
        );
    std::fs::write(folder.path().join("edge.toml"), config).unwrap();
    let edge = Edge::start_in(folder);
    let (good, other) = ((shown, its_key), (other, other_key));
    Stage { edge, origin, ca, good, other, _elsewhere: elsewhere }
}

impl Stage {
    // The statuses that curl sees, "000" where the handshake fails.
    fn curl(&self, shown: Option<&(PathBuf, PathBuf)>, more: &[&str]) -> String {
        let port = self.edge.https.unwrap().port();
        let mut curl = Command::new("curl");
        curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code} ", "--cacert"]).arg(&self.ca);
        for host in ["h.test", "free.test"] {
            curl.args(["--resolve", &format!("{host}:{port}:127.0.0.1")]);
        }
        if let Some((chain, key)) = shown {
            curl.arg("--cert").arg(chain).arg("--key").arg(key);
        }
        let out = curl.args(more).arg(format!("https://h.test:{port}/a")).output().unwrap();
        String::from_utf8_lossy(&out.stdout).trim().to_string()
    }
}

#[test]
fn a_required_certificate_is_wanted_in_the_handshake() {
    if !tool::have(&[tool::CURL]) {
        return;
    }
    let stage = stage("{ mode = \"required\", trust_store = CA }");
    for version in ["--http1.1", "--http2"] {
        assert_eq!(stage.curl(Some(&stage.good), &[version]), "200");
        assert_eq!(stage.curl(None, &[version]), "000");
        assert_eq!(stage.curl(Some(&stage.other), &[version]), "000");
    }
    let seen = stage.origin.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].field("cloudfront-viewer-cert-present").as_deref(), Some("1"));
    assert_eq!(seen[0].field("cloudfront-viewer-cert-sha256").map(|text| text.len()), Some(64));
    // A viewer may hear of it before it is counted.
    let refused = "foreshore_tls_refused_total{reason=\"missing\"} 2\n";
    eventually("each is counted", || stage.edge.admin("GET", "/metrics", "").1.contains(refused));
    // Neither in clear text, nor on a connection under another rule.
    assert_eq!(stage.edge.get_with("/a", &["Host: h.test"]).status, 403);
    assert_eq!(stage.curl(Some(&stage.good), &["-H", "Host: free.test"]), "421");
}

#[test]
fn an_optional_certificate_has_to_be_good_and_one_that_passes_through_has_not() {
    if !tool::have(&[tool::CURL]) {
        return;
    }
    let optional = stage("{ mode = \"optional\", trust_store = CA, advertise = true }");
    assert_eq!(optional.curl(Some(&optional.good), &[]), "200");
    assert_eq!(optional.curl(None, &[]), "200");
    assert_eq!(optional.curl(Some(&optional.other), &[]), "000");
    let present: Vec<_> = optional
        .origin
        .seen()
        .iter()
        .map(|asked| asked.field("cloudfront-viewer-cert-present"))
        .collect();
    assert_eq!(present, [Some("1".to_string()), Some("0".to_string())]);
    let passed = stage("{ mode = \"passthrough\" }");
    for shown in [Some(&passed.good), Some(&passed.other), None] {
        assert_eq!(passed.curl(shown, &[]), "200");
    }
}
