//! `foreshore purge`: asks a running edge's admin listener to invalidate.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bytes::Bytes;
use clap::Args;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};

use super::{ConfigArgs, fail};
use crate::clock::Clock;
use crate::config::{self, Making};
use crate::distribution::host::parse_authority;
use crate::distribution::origin::{OriginTls, Roots, TlsVersion};
use crate::distribution::site::Transport;
use crate::origin::connect::{Place, Resolver};
use crate::origin::tls;

#[derive(Args)]
pub(super) struct PurgeArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Paths, each with an optional `*` at its end.
    #[arg(value_name = "PATH")]
    paths: Vec<String>,
    /// Every response with this tag; may be given several times.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Mark as stale instead: validated before its next use, and served as it is only if the origin fails.
    #[arg(long)]
    soft: bool,
    /// Show what would be covered, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Which distribution; may be left out if there is only one.
    #[arg(long, value_name = "ID")]
    distribution: Option<String>,
    /// Wait until every parent has applied it too.
    #[arg(long)]
    wait: bool,
    /// The admin listener, HOST:PORT or https://HOST:PORT; from the configuration if not given.
    #[arg(long, value_name = "ADDRESS", env = "FORESHORE_ADMIN")]
    admin: Option<String>,
    /// A file that holds the bearer token; `admin-token` of the data folder if not given.
    #[arg(long, value_name = "FILE", env = "FORESHORE_ADMIN_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// PEM file of the CA that signed an https admin listener's certificate; the system's roots if not given.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// How the admin listener is reached.
struct Door {
    place: Place,
    name: String,
    token: String,
}

pub(super) fn purge(args: &PurgeArgs) -> ExitCode {
    if args.paths.is_empty() && args.tags.is_empty() {
        return fail("name at least one path or --tag; `foreshore purge --help` has examples");
    }
    let door = match reach(args) {
        Ok(found) => found,
        Err(why) => return fail(&why),
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return fail("no runtime") };
    let body =
        json!({ "distribution": args.distribution, "paths": args.paths, "tags": args.tags, "soft": args.soft, "dry_run": args.dry_run });
    let (status, answer) = match runtime.block_on(call(&door, "POST", "/v1/invalidations", body.to_string())) {
        Ok(answered) => answered,
        Err(why) => return fail(&format!("{}: {why}; is the edge running, and is this its admin listener?", door.name)),
    };
    if !(200..300).contains(&status) {
        return fail(answer["error"].as_str().unwrap_or("the edge refused"));
    }
    show(&answer);
    if args.wait {
        if !runtime.block_on(wait_for_parents(&door, &answer)) {
            return fail("after a minute some parents have not applied it yet; they will, see /v1/status");
        }
        println!("in effect everywhere");
    }
    ExitCode::SUCCESS
}

// Where the edge listens and what opens its door.
fn reach(args: &PurgeArgs) -> Result<Door, String> {
    let mut token_file = args.token_file.clone();
    let mut ca = args.ca.clone();
    let mut inline = None;
    let address = match &args.admin {
        Some(address) if token_file.is_some() => address.clone(),
        other => {
            let loaded =
                config::load(&args.config.config, Clock::system().now(), Making::Pending).map_err(|report| report.render(false))?;
            let site = loaded.site;
            inline = site.admin.token.as_ref().map(|token| token.expose().clone());
            token_file.get_or_insert_with(|| site.data.join("admin-token"));
            // Certificates that we made ourselves lie beside their CA.
            let own_ca = site.certificates.first().map(|c| Path::new(&c.source).with_file_name("ca.pem")).filter(|path| path.exists());
            ca = ca.or(own_ca);
            let scheme = if site.admin.transport == Transport::Tls { "https://" } else { "" };
            other.clone().unwrap_or_else(|| format!("{scheme}{}", site.admin.listen))
        }
    };
    let token = match (inline, token_file) {
        (Some(token), _) => token,
        (None, Some(path)) => {
            std::fs::read_to_string(&path).map_err(|error| format!("the token file {} cannot be read: {error}", path.display()))?
        }
        (None, None) => return Err("no token".into()),
    };
    Ok(Door { place: place(&address, ca.as_deref())?, name: address, token: token.trim().to_string() })
}

fn place(address: &str, ca: Option<&Path>) -> Result<Place, String> {
    let (bare, is_tls) = match address.strip_prefix("https://") {
        Some(bare) => (bare, true),
        None => (address.strip_prefix("http://").unwrap_or(address), false),
    };
    let authority = parse_authority(bare.trim_end_matches('/')).ok_or_else(|| format!("{address:?} is no HOST:PORT"))?;
    let host = authority.host.to_string();
    let tls = if is_tls {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let roots = match ca {
            None => Roots::System,
            Some(path) => {
                let all: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
                let all = all.map_err(|error| format!("{}: {error}", path.display()))?;
                Roots::Given(all.into_iter().map(|der| der.to_vec()).collect())
            }
        };
        let settings = OriginTls { roots, server_name: None, identity: None, min: TlsVersion::V1_2 };
        Some((tls::client_config(&settings)?, host.clone()))
    } else {
        None
    };
    Ok(Place { host, port: authority.port.unwrap_or(9080), tls })
}

async fn call(door: &Door, method: &str, path: &str, body: String) -> Result<(u16, Value), String> {
    let said = |error: &dyn std::error::Error| error.to_string();
    let stream = Resolver::default().connect(&door.place, std::time::Duration::from_secs(10)).await.map_err(|failure| failure.detail)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| said(&error))?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", format!("{}:{}", door.place.host, door.place.port))
        .header("authorization", format!("Bearer {}", door.token))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| said(&error))?;
    let answer = sender.send_request(request).await.map_err(|error| said(&error))?;
    let status = answer.status().as_u16();
    let bytes = answer.into_body().collect().await.map_err(|error| said(&error))?.to_bytes();
    Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
}

fn show(answer: &Value) {
    let covered = answer["covered"].as_u64().unwrap_or(0);
    let word = if covered == 1 { "response" } else { "responses" };
    match answer["id"].as_str() {
        Some(id) => println!("{id}  completed, {covered} stored {word} covered"),
        None => println!("dry run: {covered} stored {word} would be covered"),
    }
    for response in answer["responses"].as_array().into_iter().flatten() {
        println!("  {}", response.as_str().unwrap_or(""));
    }
    for parent in answer["scope"]["parents"].as_array().into_iter().flatten() {
        println!("  parent {}  {}", parent["parent"].as_str().unwrap_or(""), parent["state"].as_str().unwrap_or(""));
    }
}

async fn wait_for_parents(door: &Door, answer: &Value) -> bool {
    let number = answer["number"].as_u64().unwrap_or(0);
    let mut tick = tokio::time::interval(std::time::Duration::from_millis(500));
    for _ in 0..120 {
        tick.tick().await;
        let Ok((200, status)) = call(door, "GET", "/v1/status", String::new()).await else { continue };
        let behind = status["region"].as_array().into_iter().flatten().any(|parent| parent["applied"].as_u64().unwrap_or(0) < number);
        if !behind {
            return true;
        }
    }
    false
}
