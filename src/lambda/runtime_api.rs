//! The Lambda Runtime API (2018-06-01) for one worker: what it asks for, and what it says of a
//! call.
//!
//! A worker is known by its connection, or over TCP by the process that connects.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};

use super::peer;
use crate::sync::Mutex;

/// Octets of an event, and of an answer.
pub const BODY_MAX: usize = 6 << 20;
/// Octets of what a worker says about an error.
const ERROR_MAX: usize = 256 * 1024;
/// Connections of a client that needs TCP, at a time.
const CONNECTIONS: usize = 8;
/// What a worker has said and was not looked at yet.
pub const SAID_MAX: usize = 16;

const BASE: &str = "/2018-06-01/runtime/";

/// A call as a worker is told it.
#[derive(Clone, Debug)]
pub struct Invocation {
    pub request_id: Box<str>,
    pub event: Bytes,
    /// Milliseconds since 1970.
    pub deadline: u64,
    pub arn: Box<str>,
}

/// What a worker said.
#[derive(Debug)]
pub enum Said {
    /// It asks for a call: it has started, or is done with the one before.
    Asks,
    Answered(Bytes),
    Failed(Mistake),
    InitFailed(Mistake),
    /// Its answer is longer than [`BODY_MAX`].
    TooLarge,
}

/// An error of the code, as the worker describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    pub kind: String,
    pub message: String,
}

/// Where the edge puts a call and the worker finds it.
pub struct Endpoint {
    state: Mutex<State>,
    offered: Notify,
    said: mpsc::Sender<Said>,
    /// The process whose connections over TCP are served.
    owner: OnceLock<u32>,
}

#[derive(Default)]
struct State {
    offered: Option<Invocation>,
    /// The call that the worker has taken and not answered.
    under_way: Option<Box<str>>,
}

type Answer = Response<Full<Bytes>>;

impl Endpoint {
    pub fn new(said: mpsc::Sender<Said>) -> Self {
        let (state, offered) = (Mutex::default(), Notify::new());
        Self { state, offered, said, owner: OnceLock::new() }
    }

    /// This is the worker: over TCP it is served, and what it starts.
    pub fn belongs_to(&self, pid: u32) {
        let _ = self.owner.set(pid);
    }

    /// Puts a call there; the worker must have asked for one.
    pub fn offer(&self, invocation: Invocation) {
        self.state.lock().offered = Some(invocation);
        self.offered.notify_one();
    }

    /// Serves one connection of the worker until it closes.
    pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) {
        let service = hyper::service::service_fn(move |request: Request<Incoming>| async move {
            Ok::<_, Infallible>(self.answer(request).await)
        });
        let _ = hyper::server::conn::http1::Builder::new()
            .max_buf_size(64 * 1024)
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    /// Serves all connections to a port. For as long as the worker lives: it never returns.
    pub async fn listen(&self, listener: TcpListener) {
        let mut open = FewAtATime::default();
        loop {
            tokio::select! {
                accepted = listener.accept(), if open.has_room() => match accepted {
                    Ok((stream, from)) => {
                        let _ = stream.set_nodelay(true);
                        open.push(Box::pin(self.serve_owner(stream, from)));
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                },
                () = open.one_ends() => {}
            }
        }
    }

    // A port on loopback is open to all processes of the machine, and a call's event is none of
    // their business.
    async fn serve_owner(&self, stream: TcpStream, from: SocketAddr) {
        let (Some(owner), Ok(to)) = (self.owner.get().copied(), stream.local_addr()) else {
            return;
        };
        let look = tokio::task::spawn_blocking(move || peer::is_of(owner, from, to));
        if look.await.unwrap_or(false) {
            self.serve(stream).await;
        } else {
            tracing::warn!(worker = owner, %from, "another process asked for a lambda's calls");
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (parts, body) = request.into_parts();
        let Some(path) = parts.uri.path().strip_prefix(BASE) else { return nothing() };
        let mut steps = path.split('/');
        match (&parts.method, steps.next(), steps.next(), steps.next(), steps.next()) {
            (&Method::GET, Some("invocation"), Some("next"), None, None) => self.next().await,
            (&Method::POST, Some("invocation"), Some(id), Some("response"), None) => {
                self.response(id, body).await
            }
            (&Method::POST, Some("invocation"), Some(id), Some("error"), None) => {
                let mistake = mistake(body).await;
                if !self.end(id) {
                    return unknown();
                }
                self.say(Said::Failed(mistake)).await
            }
            (&Method::POST, Some("init"), Some("error"), None, None) => {
                let mistake = mistake(body).await;
                self.say(Said::InitFailed(mistake)).await
            }
            _ => nothing(),
        }
    }

    async fn next(&self) -> Answer {
        if self.said.send(Said::Asks).await.is_err() {
            return gone();
        }
        let invocation = loop {
            // Asked for before the look, so that an offer in between is not missed.
            let offered = self.offered.notified();
            let taken = {
                let mut state = self.state.lock();
                let taken = state.offered.take();
                if let Some(invocation) = &taken {
                    state.under_way = Some(invocation.request_id.clone());
                }
                taken
            };
            match taken {
                Some(invocation) => break invocation,
                None => offered.await,
            }
        };
        let answer = Response::builder()
            .header("Content-Type", "application/json")
            .header("Lambda-Runtime-Aws-Request-Id", &*invocation.request_id)
            .header("Lambda-Runtime-Deadline-Ms", invocation.deadline)
            .header("Lambda-Runtime-Invoked-Function-Arn", &*invocation.arn)
            .body(Full::new(invocation.event));
        // Only a name that is no field value could fail here.
        answer.unwrap_or_else(|_| gone())
    }

    async fn response(&self, id: &str, body: Incoming) -> Answer {
        match Limited::new(body, BODY_MAX).collect().await {
            Ok(whole) => {
                if !self.end(id) {
                    return unknown();
                }
                self.say(Said::Answered(whole.to_bytes())).await
            }
            Err(error) if error.is::<LengthLimitError>() => {
                if self.end(id) {
                    let _ = self.said.send(Said::TooLarge).await;
                }
                let about = "the answer has more than 6,291,456 octets";
                told(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", about)
            }
            Err(_) => told(StatusCode::BAD_REQUEST, "InvalidRequest", "the answer broke off"),
        }
    }

    async fn say(&self, said: Said) -> Answer {
        if self.said.send(said).await.is_err() {
            return gone();
        }
        let mut answer = Response::new(Full::new(Bytes::from_static(b"{\"status\":\"OK\"}\n")));
        *answer.status_mut() = StatusCode::ACCEPTED;
        answer
    }

    // Says whether this is the call under way; from now on it is none any more.
    fn end(&self, id: &str) -> bool {
        let mut state = self.state.lock();
        let is_it = state.under_way.as_deref() == Some(id);
        if is_it {
            state.under_way = None;
        }
        is_it
    }
}

fn told(status: StatusCode, kind: &str, message: &str) -> Answer {
    let body = json!({ "errorType": kind, "errorMessage": message }).to_string();
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer
}

fn nothing() -> Answer {
    told(StatusCode::NOT_FOUND, "NotFound", "the Lambda Runtime API has no such call")
}

fn unknown() -> Answer {
    told(StatusCode::BAD_REQUEST, "InvalidRequestID", "there is no such call under way")
}

fn gone() -> Answer {
    told(StatusCode::GONE, "Gone", "the worker is ended")
}

#[derive(Deserialize)]
struct Written {
    #[serde(rename = "errorType", default)]
    kind: Option<String>,
    #[serde(rename = "errorMessage", default)]
    message: Option<String>,
}

async fn mistake(body: Incoming) -> Mistake {
    let octets = match Limited::new(body, ERROR_MAX).collect().await {
        Ok(whole) => whole.to_bytes(),
        Err(_) => Bytes::new(),
    };
    let written = serde_json::from_slice(&octets).unwrap_or(Written { kind: None, message: None });
    Mistake {
        kind: written.kind.unwrap_or_else(|| "Unknown".into()),
        message: written.message.unwrap_or_default(),
    }
}

/// A few futures that are driven in the task of their owner.
struct FewAtATime<F> {
    all: Vec<F>,
}

impl<F> Default for FewAtATime<F> {
    fn default() -> Self {
        Self { all: Vec::new() }
    }
}

impl<F: Future<Output = ()> + Unpin> FewAtATime<F> {
    fn has_room(&self) -> bool {
        self.all.len() < CONNECTIONS
    }

    fn push(&mut self, future: F) {
        self.all.push(future);
    }

    // Drives all of them until one ends; for ever if there is none.
    async fn one_ends(&mut self) {
        std::future::poll_fn(|context| {
            let ended = self
                .all
                .iter_mut()
                .position(|future| std::pin::Pin::new(future).poll(context).is_ready());
            match ended {
                Some(at) => {
                    drop(self.all.swap_remove(at));
                    std::task::Poll::Ready(())
                }
                None => std::task::Poll::Pending,
            }
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;

    struct Client {
        stream: DuplexStream,
    }

    impl Client {
        // Sends a request and reads the answer, whose body has no `\r\n\r\n`.
        async fn ask(&mut self, method: &str, path: &str, body: &str) -> String {
            let length = body.len();
            let head = format!("{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}");
            self.stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            loop {
                let mut octet = [0; 1];
                self.stream.read_exact(&mut octet).await.unwrap();
                answer.push(octet[0]);
                if answer.ends_with(b"\r\n\r\n") {
                    break;
                }
            }
            let head = String::from_utf8(answer).unwrap().to_ascii_lowercase();
            let length = head.split("content-length: ").nth(1).unwrap();
            let length = length.split('\r').next().unwrap().parse().unwrap();
            let mut body = vec![0; length];
            self.stream.read_exact(&mut body).await.unwrap();
            head + &String::from_utf8(body).unwrap()
        }
    }

    fn begin() -> (Arc<Endpoint>, mpsc::Receiver<Said>, Client) {
        let (says, said) = mpsc::channel(SAID_MAX);
        let endpoint = Arc::new(Endpoint::new(says));
        let (here, there) = tokio::io::duplex(64 * 1024);
        let serving = Arc::clone(&endpoint);
        tokio::spawn(async move { serving.serve(there).await });
        (endpoint, said, Client { stream: here })
    }

    fn invocation(id: &str) -> Invocation {
        Invocation {
            request_id: id.into(),
            event: Bytes::from_static(b"{\"a\":1}"),
            deadline: 1234,
            arn: "arn:aws:lambda:us-east-1:000000000177:function:f".into(),
        }
    }

    const NEXT: &str = "/2018-06-01/runtime/invocation/next";

    #[tokio::test]
    async fn a_call_goes_out_and_its_answer_comes_back_once() {
        let (endpoint, mut said, mut client) = begin();
        endpoint.offer(invocation("r1"));
        let told = client.ask("GET", NEXT, "").await;
        assert!(told.starts_with("http/1.1 200"), "{told}");
        assert!(told.contains("lambda-runtime-aws-request-id: r1\r\n"), "{told}");
        assert!(told.contains("lambda-runtime-deadline-ms: 1234\r\n"), "{told}");
        assert!(told.ends_with("\r\n\r\n{\"a\":1}"), "{told}");
        assert!(matches!(said.recv().await, Some(Said::Asks)));
        let path = "/2018-06-01/runtime/invocation/r1/response";
        assert!(client.ask("POST", path, "[1]").await.starts_with("http/1.1 202"));
        assert!(matches!(said.recv().await, Some(Said::Answered(body)) if body == "[1]"));
        // A second answer, and one to another call, are told so.
        assert!(client.ask("POST", path, "[2]").await.starts_with("http/1.1 400"));
        assert!(client.ask("POST", &path.replace("r1", "r2"), "").await.contains("400"));
        assert!(said.try_recv().is_err());
    }

    #[tokio::test]
    async fn errors_have_their_kind_and_what_is_too_long_is_refused() {
        let (endpoint, mut said, mut client) = begin();
        let failed = r#"{"errorType":"TypeError","errorMessage":"x","stackTrace":[]}"#;
        let told = client.ask("POST", "/2018-06-01/runtime/init/error", failed).await;
        assert!(told.starts_with("http/1.1 202"), "{told}");
        let want = Mistake { kind: "TypeError".into(), message: "x".into() };
        assert!(matches!(said.recv().await, Some(Said::InitFailed(it)) if it == want));
        endpoint.offer(invocation("r1"));
        client.ask("GET", NEXT, "").await;
        assert!(matches!(said.recv().await, Some(Said::Asks)));
        let path = "/2018-06-01/runtime/invocation/r1/error";
        assert!(client.ask("POST", path, "no json").await.starts_with("http/1.1 202"));
        let want = Mistake { kind: "Unknown".into(), message: String::new() };
        assert!(matches!(said.recv().await, Some(Said::Failed(it)) if it == want));
        for (method, path) in [("GET", "/"), ("POST", NEXT), ("GET", "/2018-06-01/runtime/x")] {
            assert!(client.ask(method, path, "").await.starts_with("http/1.1 404"), "{path}");
        }
    }
}
