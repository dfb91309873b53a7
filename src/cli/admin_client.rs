//! How commands reach a running edge: its admin listener, and the token that opens it.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Args;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;

use super::ConfigArgs;
use crate::clock::Clock;
use crate::config::{self, MissingCertificates, decode};
use crate::distribution::host::parse_authority;
use crate::distribution::origin::{Family, OriginTls, Reach, Roots, TlsVersion};
use crate::distribution::site::Transport;
use crate::origin::connect::{Endpoint, Resolver};
use crate::tls::client as tls;

#[derive(Args)]
pub(super) struct DoorArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The admin listener, HOST:PORT or https://HOST:PORT; from the configuration if not given.
    #[arg(long, value_name = "ADDRESS", env = "FORESHORE_ADMIN")]
    pub admin: Option<String>,
    /// A file that holds the bearer token; `admin-token` of the data folder if not given.
    #[arg(long, value_name = "FILE", env = "FORESHORE_ADMIN_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// PEM file of the CA that signed an https admin listener's certificate; the system's roots if
    /// not given.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// How the admin listener is reached.
pub(super) struct Door {
    place: Endpoint,
    pub name: String,
    token: String,
}

/// The address of the edge's admin listener, and the token for it.
pub(super) fn reach(args: &DoorArgs) -> Result<Door, String> {
    let mut token_file = args.token_file.clone();
    let mut ca = args.ca.clone();
    let mut inline = None;
    let address = match &args.admin {
        Some(address) if token_file.is_some() => address.clone(),
        other => {
            let loaded = config::load(
                &args.config.config,
                Clock::system().now(),
                MissingCertificates::Pending,
            )
            .map_err(|report| report.render(false))?;
            let site = loaded.site;
            inline = site.admin.token.as_ref().map(|token| token.expose().clone());
            token_file.get_or_insert_with(|| site.data.join("admin-token"));
            // Certificates that we made ourselves lie beside their CA.
            let own_ca = site
                .certificates
                .first()
                .map(|c| Path::new(&c.source).with_file_name("ca.pem"))
                .filter(|path| path.exists());
            ca = ca.or(own_ca);
            let scheme = if site.admin.transport == Transport::Tls { "https://" } else { "" };
            other.clone().unwrap_or_else(|| format!("{scheme}{}", site.admin.listen))
        }
    };
    let token = match (inline, token_file) {
        (Some(token), _) => token,
        (None, Some(path)) => std::fs::read_to_string(&path).map_err(|error| {
            format!("the token file {} cannot be read: {error}", path.display())
        })?,
        (None, None) => return Err("no token".into()),
    };
    Ok(Door {
        place: place(&address, ca.as_deref())?,
        name: address,
        token: token.trim().to_string(),
    })
}

fn place(address: &str, ca: Option<&Path>) -> Result<Endpoint, String> {
    let (bare, is_tls) = match address.strip_prefix("https://") {
        Some(bare) => (bare, true),
        None => (address.strip_prefix("http://").unwrap_or(address), false),
    };
    let authority = parse_authority(bare.trim_end_matches('/'))
        .ok_or_else(|| format!("{address:?} is no HOST:PORT"))?;
    let host = authority.host.to_string();
    let tls = if is_tls {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let roots = match ca {
            None => Roots::System,
            Some(path) => {
                let all = decode::certificates(path)
                    .map_err(|error| format!("{}: {error}", path.display()))?;
                Roots::Given(all.into_iter().map(|der| der.to_vec()).collect())
            }
        };
        let settings = OriginTls {
            roots,
            server_name: None,
            identity: None,
            min: TlsVersion::V1_2,
            more_names: Vec::new(),
        };
        Some((tls::client_config(&settings)?, host.clone()))
    } else {
        None
    };
    let port = authority.port.unwrap_or(9080);
    Ok(Endpoint { host, port, tls, family: Family::Both, reach: Reach::Anywhere })
}

/// Calls the admin listener; status and JSON of the answer.
pub(super) async fn call(
    door: &Door,
    method: &str,
    path: &str,
    body: String,
) -> Result<(u16, Value), String> {
    let said = |error: &dyn std::error::Error| error.to_string();
    let stream = Resolver::default()
        .connect(&door.place, std::time::Duration::from_secs(10))
        .await
        .map_err(|failure| match failure.detail.strip_prefix(&format!("{}: ", door.name)) {
            // Who asks says who was asked.
            Some(why) => why.to_string(),
            None => failure.detail,
        })?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| said(&error))?;
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

/// A running edge that is asked one thing after the other.
pub(super) struct Asker {
    door: Door,
    runtime: tokio::runtime::Runtime,
}

impl Asker {
    /// Reaches the edge's admin listener, without a word yet.
    pub(super) fn new(door: &DoorArgs) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { door: reach(door)?, runtime })
    }

    /// Makes a call: the status of the answer and what it says. The error says why there is none.
    pub(super) fn call(
        &self,
        method: &str,
        path: &str,
        body: String,
    ) -> Result<(u16, Value), String> {
        self.runtime.block_on(call(&self.door, method, path, body)).map_err(|why| {
            let name = &self.door.name;
            format!("{name}: {why}; is the edge running, and is this its admin listener?")
        })
    }

    /// The same where anything but a success is an error: the edge's own words.
    pub(super) fn ask(&self, method: &str, path: &str, body: String) -> Result<Value, String> {
        match self.call(method, path, body)? {
            (200..300, answer) => Ok(answer),
            (_, answer) => Err(refusal(&answer)),
        }
    }
}

/// What the edge says against a call.
pub(super) fn refusal(answer: &Value) -> String {
    answer["error"].as_str().unwrap_or("the edge refused").to_string()
}
