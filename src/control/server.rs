//! The admin listener: HTTP/1.1, JSON, a bearer token compared in constant time, or a browser's
//! session.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::ALLOW;
use http::{HeaderValue, Request, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;

use super::answer::{Answer, error};
use super::calls::{ClientNames, Said, broke_off, read_ahead, run};
use super::login::Caller;
use super::routes::{self, Found, Right};
use super::succession::{has_turn, in_turn, is_over};
use super::{Control, caller, login};
use crate::base::descriptors::is_out_of_descriptors;
use crate::distribution::site::Transport;
use crate::tls::clients;
use crate::tls::server::ServerTls;

/// Admin connections at a time: each edge below a parent keeps two, one for what it says and one
/// for its checks, and each member of a fleet a few to its sequencer.
const CONNECTIONS: usize = 4096;

/// How long a caller may leave what it is answered with unread: one that never reads would hold its
/// place for ever, and an event stream its own.
const UNREAD_MAX: Duration = Duration::from_secs(60);

/// Binds the admin address.
pub fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves the admin listener for as long as the process lives, or until another has its place.
pub async fn serve(control: Arc<Control>, listener: std::net::TcpListener) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut spare = spare();
    let mut over = control.succession.over.subscribe();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
        let accepted = tokio::select! {
            biased;
            () = is_over(&mut over) => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        let (tcp, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                control.places.complain(&error, "admin");
                // The spare descriptor is there for the operator; an idle viewer gives the next
                // one.
                let is_short = is_out_of_descriptors(&error);
                if is_short {
                    control.places.close_idle();
                }
                if !is_short || spare.take().is_none() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                continue;
            }
        };
        spare = spare.or_else(self::spare);
        // Answers are small and a caller waits for each.
        let _ = tcp.set_nodelay(true);
        let _ = socket2::SockRef::from(&tcp).set_tcp_user_timeout(Some(UNREAD_MAX));
        let control = Arc::clone(&control);
        tokio::spawn(async move {
            let place = Arc::new(place);
            let caller = |is_https| Caller { address: from.ip().to_canonical(), is_https };
            let tls = match control.edge.running().site.admin.transport {
                Transport::Clear => {
                    return serve_one(control, tcp, (caller(false), place), None).await;
                }
                Transport::Tls => {
                    control.tls.load().as_ref().as_ref().and_then(ServerTls::default_config)
                }
            };
            let Some(config) = tls else { return };
            let handshake = TlsAcceptor::from(config).accept(tcp);
            if let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_secs(10), handshake).await {
                let names = clients::names(stream.get_ref().1.peer_certificates());
                serve_one(control, stream, (caller(true), place), names.map(ClientNames)).await;
            }
        });
    }
}

// A descriptor that is held for the time when there is no other.
fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}

async fn serve_one<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    control: Arc<Control>,
    stream: S,
    (caller, place): (Caller, Arc<OwnedSemaphorePermit>),
    names: Option<ClientNames>,
) {
    let mut over = control.succession.over.subscribe();
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        let control = Arc::clone(&control);
        if let Some(names) = &names {
            request.extensions_mut().insert(names.clone());
        }
        request.extensions_mut().insert(caller);
        // A call may outlast its connection, and then has its place.
        request.extensions_mut().insert(Arc::clone(&place));
        async move { Ok::<_, Infallible>(answer(&control, request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(30))
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = is_over(&mut over) => {}
    }
    // What was asked is answered.
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

async fn answer(control: &Arc<Control>, request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    let limit = control.edge.running().site.limits.admin_body;
    let found = routes::find(&parts.method, parts.uri.path());
    let right = match found {
        Found::Call(_, right, _) => right,
        // Only a caller with the token is told which calls there are.
        Found::OtherMethod(_) | Found::Nothing => Right::Token,
    };
    let refused = match right {
        Right::Token => login::refusal(control, &parts),
        Right::Signature => login::slowed(control, &parts),
        // Edges behind one address must not stop each other's invalidations, nor those senders of
        // events that have a token of their own.
        Right::Anybody | Right::Edge | Right::Events => None,
    };
    if let Some(refused) = refused {
        return refused;
    }
    let limit = match right {
        Right::Signature => caller::body_limit(control, &parts, limit),
        Right::Anybody | Right::Token | Right::Edge | Right::Events => limit,
    };
    match found {
        Found::Call(call, _, id) => {
            if !has_turn(call, &parts.method) {
                return run(control, call, id, &parts, Said::Coming(body), limit).await;
            }
            let body = read_ahead(call, body, limit).await;
            let turn = match control.succession.turn_of(call).await {
                Ok(turn) => turn,
                Err(refused) => return refused,
            };
            let (control, id) = (Arc::clone(control), id.to_string());
            let work = async move { run(&control, call, &id, &parts, body, limit).await };
            in_turn(turn, work).await.unwrap_or_else(broke_off)
        }
        Found::OtherMethod(method) => {
            let mut refused =
                error(StatusCode::METHOD_NOT_ALLOWED, &format!("this call is made with {method}"));
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static(method));
            refused
        }
        Found::Nothing => error(StatusCode::NOT_FOUND, &routes::known()),
    }
}
