//! Field-level encryption on a machine that cannot encrypt: the form goes nowhere, and the log says
//! whose fault it is.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use foreshore::clock::Clock;
use foreshore::config::{self, MissingCertificates};
use foreshore::distribution::field_encryption::{FieldEncryption, Profile};
use foreshore::distribution::site::Site;
use foreshore::listen::accept::{Accepting, Speaks};
use foreshore::listen::places::Places;
use foreshore::listen::{Gauges, Worker};
use foreshore::origin::Live;
use foreshore::origin::client::Client;
use foreshore::origin::pool::ConnectionLimits;
use foreshore::proxy::{Edge, Proxy};
use foreshore::record::queue::LogQueue;
use foreshore::semantics::time::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::forms::{BEHAVIOR, KIND, STRICT, origin, settings};
use super::support::edge::plain;

const START: Timestamp = Timestamp::from_secs(1_800_000_000);

// A site whose key has a name that no configuration would take, and no message has room for: like
// a machine without randomness it cannot encrypt.
fn site(folder: &Path, origin: std::net::SocketAddr) -> Arc<Site> {
    let path = folder.join("edge.toml");
    std::fs::write(&path, plain(origin, &settings(STRICT)) + BEHAVIOR).unwrap();
    let loaded = config::load(&path, START, MissingCertificates::Done);
    let mut site = loaded.unwrap_or_else(|report| panic!("{}", report.render(false))).site;
    let distributions = &mut Arc::get_mut(&mut site).expect("a site of our own").distributions;
    let distribution = Arc::get_mut(&mut distributions[0]).expect("a distribution of our own");
    let chosen = &mut distribution.behaviors[0].field_encryption;
    let mut encryption = FieldEncryption::clone(chosen.as_ref().unwrap());
    let mut profile = Profile::clone(encryption.profile.as_ref().unwrap());
    profile.fields[0].key_name = "x".repeat(1 << 16);
    encryption.profile = Some(Arc::new(profile));
    *chosen = Some(Arc::new(encryption));
    site
}

// The answer to a form, and the real-time log's line.
async fn post(site: Arc<Site>, folder: &Path, form: &str) -> (String, String) {
    let clock = Clock::starting_at(START);
    let edge = Edge::new(Arc::clone(&site), "forms".into(), clock.clone());
    let client = Client::new(Arc::<ConnectionLimits>::default(), clock, 64 << 10);
    let proxy = Arc::new(Proxy { index: 0, edge, upstream: Arc::new(Live { client }) });
    let gauges = Arc::<Gauges>::default();
    let queue = LogQueue::start(&site).unwrap();
    let (_draining, drained) = tokio::sync::watch::channel(false);
    let worker = Worker::new(proxy, 0, queue, Arc::clone(&gauges), drained);
    let places = Arc::new(Places::new(100, gauges));
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let at = socket.local_addr().unwrap();
    let tls = Arc::new(arc_swap::ArcSwap::from_pointee(None));
    let accepting = Accepting { worker: Arc::clone(&worker), tls, places };
    tokio::spawn(accepting.run(socket, Speaks::Http));
    let mut viewer = TcpStream::connect(at).await.unwrap();
    let request = format!(
        "POST /pay HTTP/1.1\r\nHost: h.test\r\nContent-Type: {KIND}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{form}",
        form.len()
    );
    viewer.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    viewer.read_to_string(&mut answer).await.unwrap();
    // The record ends, and the log is written, in their own time.
    for _ in 0..500 {
        worker.flush_log();
        let log = std::fs::read_to_string(folder.join("rt.log")).unwrap_or_default();
        if log.ends_with('\n') {
            return (answer, log);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no line in the log: {answer}");
}

#[test]
fn a_form_that_cannot_be_encrypted_goes_nowhere() {
    let (address, told) = origin();
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path(), address);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (answer, log) = runtime.block_on(post(site, folder.path(), "a=1&cvc=99887766"));
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    assert!(!answer.contains("99887766"), "{answer}");
    // CloudFront's order: status, number of fields, word.
    assert_eq!(log, "500\t0\tServerError\n");
    assert!(told.try_recv().is_err(), "the plain text reaches no origin");
}
