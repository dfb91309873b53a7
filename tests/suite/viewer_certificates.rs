//! Certificates of viewers that are no good, each in a way of its own, and those that are, as
//! OpenSSL, curl and rustls show them; sessions, trust stores that change, and what is told.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::SupportedProtocolVersion;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};

use super::support::edge::{certificates, command, plain};
use super::support::origin::fresh;
use super::support::{Edge, Origin, eventually, tool};

/// A chain and its key, in files.
struct Shown {
    chain: PathBuf,
    key: PathBuf,
    /// What of the chain stands behind the viewer's own certificate.
    middles: Option<PathBuf>,
}

type Authority = Issuer<'static, KeyPair>;

/// An authority of viewers, and what it signs.
struct Pki {
    folder: tempfile::TempDir,
    root: Authority,
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = rcgen::date_time_ymd(2024, 1, 1);
    params.not_after = rcgen::date_time_ymd(2050, 1, 1);
    params
}

fn authority(name: &str) -> CertificateParams {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn viewer(name: &str) -> CertificateParams {
    let mut params = named(name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

impl Pki {
    fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (params, key) = (authority(name), KeyPair::generate().unwrap());
        let pem = params.self_signed(&key).unwrap().pem();
        std::fs::write(folder.path().join("root.pem"), pem).unwrap();
        Self { folder, root: Issuer::new(params, key) }
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("root.pem")
    }

    fn write(&self, name: &str, own: &str, middles: &str, key: &KeyPair) -> Shown {
        let at = |end: &str| self.folder.path().join(format!("{name}.{end}"));
        std::fs::write(at("pem"), format!("{own}{middles}")).unwrap();
        std::fs::write(at("key"), key.serialize_pem()).unwrap();
        std::fs::write(at("middles.pem"), middles).unwrap();
        let middles = (!middles.is_empty()).then(|| at("middles.pem"));
        Shown { chain: at("pem"), key: at("key"), middles }
    }

    /// Signed by the root itself.
    fn issue(&self, name: &str, params: &CertificateParams) -> Shown {
        let key = KeyPair::generate().unwrap();
        self.write(name, &params.signed_by(&key, &self.root).unwrap().pem(), "", &key)
    }

    /// With these between the root and the viewer, the root's nearest first.
    fn issue_below(&self, name: &str, middles: Vec<CertificateParams>) -> Shown {
        let (mut below, mut issuer): (Vec<String>, Option<Authority>) = (Vec::new(), None);
        for params in middles {
            let key = KeyPair::generate().unwrap();
            let above = issuer.as_ref().unwrap_or(&self.root);
            below.push(params.signed_by(&key, above).unwrap().pem());
            issuer = Some(Issuer::new(params, key));
        }
        let key = KeyPair::generate().unwrap();
        let above = issuer.as_ref().unwrap_or(&self.root);
        let own = viewer(name).signed_by(&key, above).unwrap().pem();
        below.reverse();
        self.write(name, &own, &below.concat(), &key)
    }

    fn self_signed(&self, name: &str) -> Shown {
        let key = KeyPair::generate().unwrap();
        self.write(name, &viewer(name).self_signed(&key).unwrap().pem(), "", &key)
    }
}

/// An edge for h.test whose viewers are under a rule.
struct Stage {
    edge: Edge,
    origin: Origin,
    ca: PathBuf,
}

fn stage(rule: &str, policies: &str, behavior: &str) -> Stage {
    let origin = Origin::start(|_| fresh(b"x"));
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let (ca, chain, key) = certificates(folder.path(), &["h.test"]);
    let more = format!("[[certificate]]\nchain = {chain:?}\nkey = {key:?}\n{policies}");
    let hosts = format!("hosts = [\"h.test\"]\nclient_certificates = {rule}");
    let config = plain(origin.address, &more)
        .replace("[listen]", "[listen]\nhttps = [\"127.0.0.1:0\"]")
        .replace("hosts = [\"*\"]", &hosts)
        + behavior;
    std::fs::write(folder.path().join("edge.toml"), config).unwrap();
    Stage { edge: Edge::start_in(folder), origin, ca }
}

fn verifying(mode: &str, store: &Path) -> String {
    format!("{{ mode = \"{mode}\", trust_store = {store:?} }}")
}

impl Stage {
    fn refused(&self, why: &str) -> u64 {
        let (_, text) = self.edge.admin("GET", "/metrics", "");
        let head = format!("foreshore_tls_refused_total{{reason=\"{why}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&head)?.parse().ok()).unwrap_or(0)
    }

    /// The status that a client of rustls sees; `None` where there is no answer.
    fn rustls(
        &self,
        shown: Option<&Shown>,
        version: &'static SupportedProtocolVersion,
    ) -> Option<u16> {
        // The end may be an error; what came before it is what counts.
        let (came, _) = self.asked(shown, version);
        String::from_utf8_lossy(&came).split(' ').nth(1)?.parse().ok()
    }

    /// All that comes, and how it ends.
    fn asked(
        &self,
        shown: Option<&Shown>,
        version: &'static SupportedProtocolVersion,
    ) -> (Vec<u8>, std::io::Result<usize>) {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.ca).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        let config = match shown {
            None => builder.with_no_client_auth(),
            Some(shown) => {
                let chain = CertificateDer::pem_file_iter(&shown.chain).unwrap();
                let key = PrivateKeyDer::from_pem_file(&shown.key).unwrap();
                builder.with_client_auth_cert(chain.map(Result::unwrap).collect(), key).unwrap()
            }
        };
        let name = ServerName::try_from("h.test").unwrap();
        let session = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let tcp = TcpStream::connect(self.edge.https.unwrap()).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut io = rustls::StreamOwned::new(session, tcp);
        let request = b"GET /a HTTP/1.1\r\nHost: h.test\r\nConnection: close\r\nX-Own: kept\r\n\
            Client-Cert: :bm9uZQ==:\r\nClient-Cert-Chain: :bm9uZQ==:\r\n\r\n";
        let mut came = Vec::new();
        let sent = io.write_all(request).and_then(|()| io.flush());
        let end = sent.and_then(|()| io.read_to_end(&mut came));
        (came, end)
    }

    /// The same of curl.
    fn curl(&self, shown: Option<&Shown>, more: &[&str]) -> Option<u16> {
        let port = self.edge.https.unwrap().port();
        let mut curl = Command::new("curl");
        curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert"]).arg(&self.ca);
        curl.args(["--resolve", &format!("h.test:{port}:127.0.0.1")]).args(more);
        if let Some(shown) = shown {
            curl.arg("--cert").arg(&shown.chain).arg("--key").arg(&shown.key);
        }
        let out = curl.arg(format!("https://h.test:{port}/a")).output().unwrap();
        let status = String::from_utf8_lossy(&out.stdout).trim().parse().unwrap_or(0);
        (status != 0).then_some(status)
    }

    /// The same of OpenSSL, and all that it says.
    fn openssl(&self, shown: Option<&Shown>, more: &[&str]) -> (Option<u16>, String) {
        let mut openssl = Command::new("openssl");
        let at = self.edge.https.unwrap().to_string();
        openssl.args(["s_client", "-connect", &at, "-servername", "h.test", "-ign_eof"]);
        openssl.arg("-CAfile").arg(&self.ca).args(more);
        if let Some(shown) = shown {
            openssl.arg("-cert").arg(&shown.chain).arg("-key").arg(&shown.key);
            if let Some(middles) = &shown.middles {
                openssl.arg("-cert_chain").arg(middles);
            }
        }
        let openssl = openssl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = openssl.spawn().unwrap();
        let request = b"GET /a HTTP/1.1\r\nHost: h.test\r\nConnection: close\r\n\r\n";
        // It may have ended already.
        let _ = child.stdin.take().unwrap().write_all(request);
        let out = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        let status = said.split("HTTP/1.1 ").nth(1).and_then(|rest| rest.get(..3)?.parse().ok());
        (status, said)
    }
}

// Each with the reason that it is refused for; `None`: it is let in.
fn viewers(pki: &Pki, other: &Pki) -> Vec<(&'static str, Shown, Option<&'static str>)> {
    let with = |name: &str, change: &dyn Fn(&mut CertificateParams)| {
        let mut params = viewer(name);
        change(&mut params);
        pki.issue(name, &params)
    };
    let middles = |count: usize| -> Vec<CertificateParams> {
        (0..count).map(|at| authority(&format!("middle {at}"))).collect()
    };
    vec![
        ("good", pki.issue("good", &viewer("good")), None),
        ("any purpose", pki.issue("any", &named("any")), None),
        ("a chain of five", pki.issue_below("five", middles(4)), None),
        ("a chain of six", pki.issue_below("six", middles(5)), Some("too-large")),
        (
            "expired",
            with("expired", &|params| params.not_after = rcgen::date_time_ymd(2025, 1, 1)),
            Some("expired"),
        ),
        (
            "not yet valid",
            with("early", &|params| params.not_before = rcgen::date_time_ymd(2049, 1, 1)),
            Some("not-yet-valid"),
        ),
        (
            "for servers",
            with("server", &|params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            }),
            Some("purpose"),
        ),
        ("of another authority", other.issue("other", &viewer("other")), Some("unknown-authority")),
        ("its own authority", pki.self_signed("self"), Some("unknown-authority")),
    ]
}

#[test]
fn what_a_certificate_lacks_is_counted_by_name() {
    let (pki, other) = (Pki::new("viewers"), Pki::new("others"));
    let stage = stage(&verifying("required", &pki.store()), "", "");
    let all = viewers(&pki, &other);
    for version in [&TLS12, &TLS13] {
        for (what, shown, refused) in &all {
            let before = refused.map(|why| stage.refused(why));
            let want = if refused.is_none() { Some(200) } else { None };
            assert_eq!(stage.rustls(Some(shown), version), want, "{what} {version:?}");
            if let (Some(why), Some(before)) = (refused, before) {
                eventually(what, || stage.refused(why) == before + 1);
            }
        }
        let before = stage.refused("missing");
        assert_eq!(stage.rustls(None, version), None);
        eventually("none was shown", || stage.refused("missing") == before + 1);
    }
}

// TLS 1.3 lets a viewer speak on before it hears of its certificate: octets that nobody reads would
// have the kernel end the connection with a reset, which destroys the alert on its way.
#[test]
fn a_viewer_hears_why_whatever_it_has_sent_meanwhile() {
    use rustls::AlertDescription::CertificateRequired;
    let pki = Pki::new("viewers");
    let stage = stage(&verifying("required", &pki.store()), "", "");
    for round in 0..30 {
        let error = stage.asked(None, &TLS13).1.unwrap_err();
        let why = error.get_ref().and_then(|why| why.downcast_ref::<rustls::Error>());
        let heard = matches!(why, Some(rustls::Error::AlertReceived(CertificateRequired)));
        assert!(heard, "{round}: {error}");
    }
}

// One that was signed by a certificate which is no authority's.
#[test]
fn a_viewer_signs_no_viewer() {
    let pki = Pki::new("viewers");
    let shown = pki.issue_below("below", vec![named("no authority")]);
    for mode in ["required", "optional"] {
        let stage = stage(&verifying(mode, &pki.store()), "", "");
        for version in [&TLS12, &TLS13] {
            assert_eq!(stage.rustls(Some(&shown), version), None, "{mode} {version:?}");
        }
        let refused = || stage.refused("bad-certificate") + stage.refused("unknown-authority");
        eventually("it was counted", || refused() == 2);
        assert_eq!(stage.origin.count(), 0);
    }
}

#[test]
fn each_mode_means_the_same_on_every_version_and_protocol() {
    if !tool::have(&[tool::CURL]) {
        return;
    }
    let (pki, other) = (Pki::new("viewers"), Pki::new("others"));
    let good = pki.issue("good", &viewer("good"));
    let unknown = other.issue("unknown", &viewer("unknown"));
    let mut over = viewer("over");
    over.not_after = rcgen::date_time_ymd(2025, 1, 1);
    let over = pki.issue("over", &over);
    let some = Some(200);
    // A good one, none, one of another authority, and one that is over.
    for (rule, want) in [
        (verifying("required", &pki.store()), [some, None, None, None]),
        (verifying("optional", &pki.store()), [some, some, None, None]),
        ("{ mode = \"passthrough\" }".to_string(), [some, some, some, some]),
        (
            verifying("required", &pki.store()).replace(" }", ", ignore_expiry = true }"),
            [some, None, None, some],
        ),
    ] {
        let stage = stage(&rule, "", "");
        for version in [["--tlsv1.2", "--tls-max", "1.2"], ["--tlsv1.3", "--tls-max", "1.3"]] {
            for protocol in ["--http1.1", "--http2"] {
                let more = [&version[..], &[protocol]].concat();
                let shown = [Some(&good), None, Some(&unknown), Some(&over)];
                let seen = shown.map(|shown| stage.curl(shown, &more));
                assert_eq!(seen, want, "{rule} {more:?}");
            }
        }
    }
}

#[test]
fn openssl_is_let_in_and_resumes_under_the_same_rule_alone() {
    if !tool::have(&[tool::OPENSSL]) {
        return;
    }
    let pki = Pki::new("viewers");
    let good = pki.issue_below("good", vec![authority("middle")]);
    for version in ["-tls1_2", "-tls1_3"] {
        let optional = verifying("optional", &pki.store());
        let stage = stage(&optional, "", "");
        let kept = stage.edge.path().join("session.pem");
        let kept = kept.to_str().unwrap();
        assert_eq!(stage.openssl(Some(&good), &[version]).0, Some(200), "{version}");
        // A session without a certificate is taken up again under the rule that let it in.
        let (status, said) = stage.openssl(None, &[version, "-sess_out", kept]);
        assert_eq!(status, Some(200), "{version}: {said}");
        let (status, said) = stage.openssl(None, &[version, "-sess_in", kept]);
        assert!(status == Some(200) && said.contains("Reused, "), "{version}: {said}");
        // Under another it is none: nobody gets past a certificate that way.
        let path = stage.edge.path().join("edge.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let required = verifying("required", &pki.store());
        std::fs::write(&path, text.replace(&optional, &required)).unwrap();
        stage.edge.signal(rustix::process::Signal::HUP);
        eventually("one is required", || stage.openssl(None, &[version]).0.is_none());
        let (status, said) = stage.openssl(None, &[version, "-sess_in", kept]);
        assert!(status.is_none() && !said.contains("Reused, "), "{version}: {said}");
        assert_eq!(stage.openssl(Some(&good), &[version]).0, Some(200), "{version}");
    }
}

// What is believed is what stands in the file, also for sessions that began under another.
#[test]
fn a_trust_store_is_read_anew() {
    let (pki, other) = (Pki::new("viewers"), Pki::new("others"));
    let (ours, theirs) =
        (pki.issue("ours", &viewer("ours")), other.issue("theirs", &viewer("theirs")));
    let stage = stage(&verifying("required", &pki.store()), "", "");
    let seen = || [&ours, &theirs].map(|shown| stage.rustls(Some(shown), &TLS13));
    assert_eq!(seen(), [Some(200), None]);
    let read = |pki: &Pki| std::fs::read_to_string(pki.store()).unwrap();
    let (first, second) = (read(&pki), read(&other));
    std::fs::write(pki.store(), format!("{first}{second}")).unwrap();
    stage.edge.signal(rustix::process::Signal::HUP);
    eventually("both are believed", || seen() == [Some(200), Some(200)]);
    std::fs::write(pki.store(), second).unwrap();
    stage.edge.signal(rustix::process::Signal::HUP);
    eventually("the other alone is believed", || seen() == [None, Some(200)]);
    // One that cannot be read changes nothing.
    std::fs::write(pki.store(), "nothing").unwrap();
    stage.edge.signal(rustix::process::Signal::HUP);
    eventually("it was looked at", || stage.edge.log().contains("holds no certificate"));
    assert_eq!(seen(), [None, Some(200)]);
}

#[test]
fn a_certificate_is_in_the_key_where_a_policy_says_so_and_in_the_log() {
    let pki = Pki::new("viewers");
    let (one, two) = (pki.issue("one", &viewer("one, \"1\"")), pki.issue("two", &viewer("two")));
    let policies = "[cache_policy.cert]\nkey = { headers = [\"CloudFront-Viewer-Cert-Subject\", \"CloudFront-Viewer-Cert-Issuer\"] }\n\
        [origin_request_policy.cert]\nheaders = [\"CloudFront-Viewer-Cert-Serial-Number\", \"CloudFront-Viewer-Cert-Validity\", \"CloudFront-Viewer-Cert-Pem\"]\n";
    let behavior = "cache_policy = \"cert\"\norigin_request_policy = \"cert\"\n";
    let stage = stage(&verifying("optional", &pki.store()), policies, behavior);
    for _ in 0..2 {
        for shown in [Some(&one), Some(&two), None] {
            assert_eq!(stage.rustls(shown, &TLS13), Some(200));
        }
    }
    // Each of the three once: another's answer is not shown.
    let seen = stage.origin.seen();
    assert_eq!(seen.len(), 3);
    let subjects: Vec<Option<String>> =
        seen.iter().map(|asked| asked.field("cloudfront-viewer-cert-subject")).collect();
    let want = ["CN=one\\, \\\"1\\\"", "CN=two"].map(|text| Some(text.to_string()));
    assert_eq!(subjects[..2], want);
    assert_eq!(subjects[2], None, "none was shown");
    assert_eq!(seen[0].field("cloudfront-viewer-cert-issuer").as_deref(), Some("CN=viewers"));
    let validity = seen[0].field("cloudfront-viewer-cert-validity").unwrap();
    assert_eq!(validity, "NotBefore=2024-01-01T00:00:00Z;NotAfter=2050-01-01T00:00:00Z");
    let serial = seen[0].field("cloudfront-viewer-cert-serial-number").unwrap();
    let log = stage.edge.path().join("access.log");
    eventually("the log tells of all", || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.matches('\n').count() == 6)
    });
    let lines: Vec<serde_json::Value> = std::fs::read_to_string(&log)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let told = |serial: &str| {
        lines.iter().filter(|line| line["client_serial"] == serial).collect::<Vec<_>>()
    };
    assert_eq!(told(&serial).len(), 2, "a miss and a hit");
    assert_eq!(told(&serial)[0]["client_subject"], "CN=one\\, \\\"1\\\"");
    assert!(lines.iter().all(|line| line.get("client_unverified").is_none()));
    let silent = lines.iter().filter(|line| line.get("client_serial").is_none());
    assert_eq!(silent.count(), 2, "those who showed none");
}

// RFC 9440 §2.4: a viewer's own fields go no further, whether it shows a certificate or none.
#[test]
fn an_origin_that_verifies_itself_is_told_the_certificate_by_this_edge_alone() {
    let pki = Pki::new("viewers");
    let shown = pki.issue_below("shown", vec![authority("middle")]);
    let policy = "[origin_request_policy.cert]\nheaders = [\"Client-Cert\", \"Client-Cert-Chain\", \"X-Own\"]\n";
    let behavior = "cache_policy = \"CachingDisabled\"\norigin_request_policy = \"cert\"\n";
    let as_sent = |der: &CertificateDer<'_>| format!(":{}:", STANDARD.encode(der));
    let chain: Vec<String> = CertificateDer::pem_file_iter(&shown.chain)
        .unwrap()
        .map(|der| as_sent(&der.unwrap()))
        .collect();
    let passed = stage("{ mode = \"passthrough\" }", policy, behavior);
    assert_eq!(passed.rustls(Some(&shown), &TLS13), Some(200));
    assert_eq!(passed.rustls(None, &TLS13), Some(200));
    let seen = passed.origin.seen();
    assert_eq!(seen[0].field("client-cert").as_ref(), Some(&chain[0]));
    assert_eq!(seen[0].field("client-cert-chain").as_ref(), Some(&chain[1]));
    assert_eq!(seen[1].field("client-cert"), None, "what the viewer says is not told");
    assert_eq!(seen[1].field("client-cert-chain"), None);
    assert_eq!(seen[1].field("x-own").as_deref(), Some("kept"));
    // What was verified here is told in other fields, and a viewer's words are dropped all the same.
    let required = stage(&verifying("required", &pki.store()), policy, behavior);
    assert_eq!(required.rustls(Some(&shown), &TLS13), Some(200));
    assert_eq!(required.origin.seen()[0].field("client-cert"), None);
}

// What only a passthrough can be told is no viewer's name for the key, and no word for the log.
#[test]
fn what_was_not_verified_is_said_to_be_so() {
    let pki = Pki::new("nobody's");
    let shown = pki.self_signed("anybody");
    let stage = stage("{ mode = \"passthrough\" }", "", "");
    assert_eq!(stage.rustls(Some(&shown), &TLS12), Some(200));
    let log = stage.edge.path().join("access.log");
    eventually("the log tells of it", || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.contains("\"client_unverified\":true"))
    });
    let folder = tempfile::tempdir().unwrap();
    let policy = "[cache_policy.cert]\nkey = { headers = [\"CloudFront-Viewer-Cert-Pem\"] }\n";
    let config = plain("127.0.0.1:1".parse().unwrap(), policy) + "cache_policy = \"cert\"\n";
    std::fs::write(folder.path().join("edge.toml"), config).unwrap();
    let (code, said, wrong) = command(folder.path(), &["check", "--config", "edge.toml"]);
    assert!(code != 0, "{said}{wrong}");
    assert!((said.clone() + &wrong).contains("nearly each viewer's own"), "{said}{wrong}");
}
