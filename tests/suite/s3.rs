//! Signed requests to private S3-like origins: AWS's vectors, AWS's own signer beside ours, and a
//! server that checks.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials as AwsCredentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign as aws_sign,
};
use aws_sigv4::sign::v4;
use foreshore::base::secret::Secret;
use foreshore::body::Body;
use foreshore::crypto::sigv4::{self, Credentials, PathForm, Scope, Signed};
use foreshore::distribution::origin::{AccessControl, Signing, Subresources};
use foreshore::origin::request::{Carrier, OriginRequest};
use foreshore::origin::signed::sign;
use foreshore::semantics::fields::FieldSection;
use foreshore::semantics::time::Timestamp;
use http::{HeaderValue, Method};
use proptest::prelude::*;

use super::support::edge::{certificates, plain};
use super::support::tool::{self, Tool};
use super::support::viewer::request;
use super::support::{Edge, Viewer};
use super::wire::server_config;

pub const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const NEW_YEAR: Timestamp = Timestamp::from_secs(1_767_225_600);

fn credentials(token: Option<&str>) -> Credentials {
    let session_token = token.map(|token| Secret::new(token.to_string()));
    Credentials { id: "AKIDEXAMPLE".into(), secret: Secret::new(SECRET.into()), session_token }
}

#[test]
fn the_vectors_of_botocore() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/oac-sigv4-s3.json");
    let all: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    for vector in all["vectors"].as_array().unwrap() {
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_string();
        let url = text(&vector["url"]);
        let (host, target) = url.strip_prefix("https://").unwrap().split_once('/').unwrap();
        let target = format!("/{target}");
        let (path, query) =
            target.split_once('?').map_or((&target[..], None), |(path, query)| (path, Some(query)));
        let mut fields: Vec<(String, String)> = vector["headers"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.to_lowercase(), text(value)))
            .collect();
        let said = fields
            .iter()
            .position(|(name, _)| name == "authorization")
            .map(|at| fields.remove(at).1)
            .unwrap();
        fields.push(("host".into(), host.into()));
        fields.sort();
        let payload =
            fields.iter().find(|(name, _)| name == "x-amz-content-sha256").unwrap().1.clone();
        let lines: Vec<(&str, String)> =
            fields.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        let method = text(&vector["method"]);
        let signed = Signed { method: &method, path, query, fields: &lines, payload: &payload };
        let scope = Scope { region: "us-east-1", service: "s3" };
        assert_eq!(
            sigv4::authorization(
                &signed,
                PathForm::Once,
                "20260101T000000Z",
                scope,
                &credentials(None)
            ),
            said,
            "{}",
            vector["name"]
        );
    }
}

fn ours(
    method: &str,
    target: &str,
    token: Option<&str>,
    more: &[(String, String)],
) -> OriginRequest {
    let mut fields = FieldSection::new();
    fields.insert("host", HeaderValue::from_static("bucket.s3.example.com"));
    for (name, value) in more {
        fields.insert(name, value);
    }
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let mut request = OriginRequest {
        method,
        target: target.into(),
        fields,
        body: Body::Empty,
        upgrade: None,
        carrier: Carrier::Any,
        interim: None,
        trace: None,
    };
    let access = AccessControl {
        signing: Signing::Always,
        service: "s3".into(),
        region: "eu-west-1".into(),
        credentials: credentials(token),
        subresources: Subresources::Refuse,
    };
    sign(&mut request, &access, NEW_YEAR);
    request
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    // Whatever is asked, AWS's own signer comes to the same signature of what we send.
    #[test]
    fn awss_own_signer_agrees(
        path in "(/([a-zA-Z0-9._~+'()é -]|%20|%2B|%C3%A9){0,8}){1,3}", query in proptest::option::of("([a-c]=?(x|%20|%2B|~|1){0,3}&?){0,4}"),
        method in "GET|HEAD|PUT", token in proptest::option::of(Just("TOKEN/EXAMPLE==")),
        acl in proptest::option::of("[a-z -]{1,9}"),
    ) {
        let path: String = path.replace('é', "%c3%a9").replace(' ', "%20");
        let target = query.map_or(path.clone(), |query| format!("{path}?{query}"));
        let more: Vec<(String, String)> = acl.into_iter().map(|acl| ("x-amz-acl".to_string(), acl.trim().to_string())).collect();
        let request = ours(&method, &target, token, &more);
        let said = request.fields.get("authorization").unwrap().to_str().unwrap().to_string();
        let signature = said.rsplit("Signature=").next().unwrap();

        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let identity = AwsCredentials::new("AKIDEXAMPLE", SECRET, token.map(String::from), None, "test").into();
        let params = v4::SigningParams::builder().identity(&identity).region("eu-west-1").name("s3")
            .time(SystemTime::UNIX_EPOCH + Duration::from_secs(NEW_YEAR.secs())).settings(settings).build().unwrap().into();
        let url = format!("https://bucket.s3.example.com{}", request.target);
        let lines: Vec<(&str, &str)> = more.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let theirs = SignableRequest::new(&method, url, lines.into_iter(), SignableBody::Bytes(b"")).unwrap();
        let theirs = aws_sign(theirs, &params).unwrap();
        prop_assert_eq!(signature, theirs.signature(), "{}", said);
    }
}

#[test]
fn what_was_signed_before_is_left_alone() {
    let presigned = ours("GET", "/a?X-Amz-Signature=00", None, &[]);
    assert!(!presigned.fields.contains("authorization"));
    let mut access = AccessControl {
        signing: Signing::NoOverride,
        service: "s3".into(),
        region: "r".into(),
        credentials: credentials(None),
        subresources: Subresources::Refuse,
    };
    for (signing, kept) in [(Signing::NoOverride, true), (Signing::Always, false)] {
        access.signing = signing;
        let mut request = ours("GET", "/a", None, &[]);
        request.fields.insert("authorization", "Bearer viewer");
        sign(&mut request, &access, NEW_YEAR);
        assert_eq!(request.fields.get("authorization").unwrap() == "Bearer viewer", kept);
    }
}

// An S3-like server that answers no request without a signature it has checked; over TLS, where a
// configuration is given.
pub fn bucket(folder: &Path, tls: Option<Arc<rustls::ServerConfig>>) -> SocketAddr {
    std::fs::create_dir(folder.join("private")).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let mut builder = s3s::service::S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder).unwrap());
    builder.set_auth(s3s::auth::SimpleAuth::from_single("AKIDEXAMPLE", SECRET));
    // `private.localhost` is the bucket `private`.
    builder
        .set_host(s3s::host::SingleDomain::new(&format!("localhost:{}", address.port())).unwrap());
    let service = builder.build();
    let tls = tls.map(tokio_rustls::TlsAcceptor::from);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((tcp, _)) = listener.accept().await {
                let (service, tls) = (service.clone(), tls.clone());
                tokio::spawn(async move {
                    let server = hyper::server::conn::http1::Builder::new();
                    let _ = match tls {
                        None => {
                            server
                                .serve_connection(hyper_util::rt::TokioIo::new(tcp), service)
                                .await
                        }
                        Some(tls) => match tls.accept(tcp).await {
                            Ok(stream) => {
                                server
                                    .serve_connection(hyper_util::rt::TokioIo::new(stream), service)
                                    .await
                            }
                            Err(_) => return,
                        },
                    };
                });
            }
        });
    });
    address
}

// An edge in front of a private bucket; `origin` is what its configuration says of it.
fn edge_before_bucket(folder: Arc<tempfile::TempDir>, origin: &str, keys: (&str, &str)) -> Edge {
    edge_with(folder, origin, keys, "", "methods = \"all\"\n")
}

/// The same with more settings of `access_control`, each with a comma behind it, and those of the
/// behavior.
pub fn edge_with(
    folder: Arc<tempfile::TempDir>,
    origin: &str,
    (id, secret): (&str, &str),
    access: &str,
    behavior: &str,
) -> Edge {
    std::fs::write(folder.path().join("id"), id).unwrap();
    std::fs::write(folder.path().join("secret"), secret).unwrap();
    let anywhere = "127.0.0.1:9".parse().unwrap();
    let access = format!(
        "access_control = {{ {access}credentials = {{ id = {{ file = \"id\" }}, secret = {{ file = \"secret\" }} }} }}"
    );
    let text = plain(anywhere, "")
        .replace("url = \"http://127.0.0.1:9\"", &format!("{origin}\n{access}"))
        // A bucket in Python takes its time, and more of it on a machine that is busy.
        .replace("response = \"3s\"", "response = \"30s\"")
        + behavior;
    std::fs::write(folder.path().join("edge.toml"), text).unwrap();
    Edge::start_in(folder)
}

// What a private bucket must let us do, whatever server it is.
fn read_and_write(edge: &Edge, secret: &str) {
    let put = |path: &str, body: &[u8]| {
        let mut viewer = edge.viewer();
        let head = format!(
            "PUT {path} HTTP/1.1\r\nHost: h.test\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        viewer.send(&[head.as_bytes(), body].concat());
        viewer.read("PUT").unwrap()
    };
    for path in ["/a.txt", "/b%20c/%C3%A9+x'(1).txt"] {
        let seen = put(path, b"0123456789");
        assert_eq!(seen.status, 200, "{path}: {}", seen.text());
        let (miss, hit) = (edge.get(path), edge.get(path));
        assert_eq!(
            (miss.cache(), hit.cache()),
            ("Miss".into(), "Hit".into()),
            "{path}: {} {}",
            miss.head,
            miss.text()
        );
        assert_eq!(edge.get(path).text(), "0123456789");
    }
    // Longer than what is held to be signed for: it goes on as it comes.
    let long = vec![b'x'; 3 << 20];
    assert_eq!(put("/long", &long).status, 200);
    assert_eq!(edge.get_with("/long", &["Range: bytes=1000000-1000009"]).text(), "xxxxxxxxxx");
    let mut viewer = edge.viewer();
    viewer.send(&request("HEAD", "/unseen", &[]));
    assert_eq!(viewer.read("HEAD").unwrap().status, 404);
    viewer.send(&request("DELETE", "/a.txt", &["Authorization: Bearer of-the-viewer"]));
    assert_eq!(viewer.read("DELETE").unwrap().status, 204);
    assert_eq!(edge.get("/a.txt").status, 404, "a write is an invalidation");
    assert!(
        !edge.log().contains(secret)
            && !std::fs::read_to_string(edge.path().join("access.log")).unwrap().contains(secret)
    );
}

#[test]
fn a_private_bucket_is_read_and_written_through_the_edge() {
    let objects = tempfile::tempdir().unwrap();
    let address = bucket(objects.path(), None);
    // No request is answered without one.
    assert_eq!(Viewer::connect(address).get("/private/a.txt", &[]).status, 403);
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let edge = edge_before_bucket(
        folder,
        &format!("url = \"http://{address}/private\""),
        ("AKIDEXAMPLE", SECRET),
    );
    read_and_write(&edge, SECRET);
}

// Host style, over https: bodies are not covered by the signature there, TLS covers them.
#[test]
fn a_bucket_may_be_a_host_behind_tls() {
    let (objects, folder) = (tempfile::tempdir().unwrap(), Arc::new(tempfile::tempdir().unwrap()));
    let (ca, ..) = certificates(folder.path(), &["private.localhost"]);
    let config = server_config(folder.path(), "private.localhost");
    let address = bucket(objects.path(), Some(config));
    let origin = format!(
        "url = \"https://private.localhost:{}\"\ntls = {{ ca = {:?} }}",
        address.port(),
        ca.display().to_string()
    );
    let edge = edge_before_bucket(folder, &origin, ("AKIDEXAMPLE", SECRET));
    read_and_write(&edge, SECRET);
}

/// A bucket of moto's, `private`, in a process of its own.
pub struct Moto {
    server: Child,
    pub address: SocketAddr,
    pub id: String,
    pub secret: String,
}

impl Moto {
    pub fn start() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut server = Command::new(root.join("target/tools/python/bin/python"))
            .arg(root.join("tests/aws/moto_bucket.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("tests/install was run");
        let mut line = String::new();
        BufReader::new(server.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let told: serde_json::Value = serde_json::from_str(&line).unwrap();
        let text = |name: &str| told[name].as_str().unwrap().to_string();
        let address = SocketAddr::from(([127, 0, 0, 1], told["port"].as_u64().unwrap() as u16));
        Self { server, address, id: text("id"), secret: text("secret") }
    }

    pub fn end(mut self) {
        drop(self.server.stdin.take());
        assert!(self.server.wait().unwrap().success());
    }
}

// A second opinion: moto has botocore check what we sign.
#[test]
fn moto_agrees() {
    if !tool::have(&[Tool::Module("moto")]) {
        return;
    }
    let moto = Moto::start();
    // It fails on a request without a signature, which gets nothing.
    assert!(Viewer::connect(moto.address).get("/private/a.txt", &[]).status >= 400);
    let url = format!("url = \"http://{}/private\"", moto.address);
    let wrong =
        edge_before_bucket(Arc::new(tempfile::tempdir().unwrap()), &url, (&moto.id, SECRET));
    assert_eq!(wrong.get("/a.txt").status, 403, "a signature under another secret");
    let edge =
        edge_before_bucket(Arc::new(tempfile::tempdir().unwrap()), &url, (&moto.id, &moto.secret));
    read_and_write(&edge, &moto.secret);
    moto.end();
}
