//! What the CA of tests reads and says over its connections, and how it says what it should not.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

/// A connection.
pub type Io = rustls::StreamOwned<rustls::ServerConnection, TcpStream>;

/// What it does instead of what it should.
#[derive(Clone, Debug)]
pub enum Wrong {
    /// A problem document: status, kind, seconds of Retry-After.
    Problem(u16, &'static str, Option<u64>),
    /// These octets, and the end.
    Octets(&'static str),
    /// Octets for as long as they are taken.
    Endless,
    /// Nothing, on a connection that stays open.
    Silent,
    /// One octet of an announced many, five times a second.
    Drips,
    /// Come back here.
    Redirects,
    /// The order turns invalid once its names are proved.
    Invalid,
    /// A certificate for this name.
    IssuesFor(&'static str),
    /// A certificate for a key of its own.
    IssuesOtherKey,
}

/// A request, read whole.
pub struct Request {
    pub method: String,
    pub path: String,
    pub body: Vec<u8>,
}

/// An answer.
pub struct Answer {
    pub status: u16,
    pub kind: &'static str,
    pub location: Option<String>,
    pub body: String,
}

/// Status, kind and words of a problem.
pub type Refusal = (u16, &'static str, String);

pub fn refusal(status: u16, kind: &'static str, words: &str) -> Refusal {
    (status, kind, words.to_string())
}

pub fn unknown() -> Refusal {
    refusal(404, "malformed", "there is no such thing")
}

impl Answer {
    pub fn without_body(self) -> Self {
        Self { body: String::new(), ..self }
    }
}

pub fn document(status: u16, body: &Value) -> Answer {
    Answer { status, kind: "application/json", location: None, body: body.to_string() }
}

pub fn problem((status, kind, detail): Refusal) -> Answer {
    let body = json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail });
    Answer { kind: "application/problem+json", ..document(status, &body) }
}

/// Does what is wrong.
pub fn misbehave(io: &mut Io, wrong: &Wrong, here: &str) -> std::io::Result<()> {
    match wrong {
        Wrong::Octets(text) => io.write_all(text.as_bytes()),
        Wrong::Redirects => {
            let answer = format!(
                "HTTP/1.1 307 Again\r\nLocation: {here}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            );
            io.write_all(answer.as_bytes())
        }
        Wrong::Endless => {
            io.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"a\":\"")?;
            let piece = [b'a'; 16 * 1024];
            loop {
                io.write_all(&piece)?;
            }
        }
        Wrong::Drips => {
            io.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")?;
            loop {
                io.write_all(b" ")?;
                std::thread::park_timeout(Duration::from_millis(200));
            }
        }
        _ => {
            // Until the other side has had enough.
            let mut more = [0; 64];
            while io.read(&mut more)? > 0 {}
            Ok(())
        }
    }
}

/// Reads a request; `None` if there is none.
pub fn read(io: &mut Io) -> Option<Request> {
    let (mut octets, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let end = octets.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&octets[..end]).into_owned();
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length")
                    .then(|| value.trim().parse::<usize>().ok())?
            });
            let whole = end + 4 + length.unwrap_or(0);
            if octets.len() >= whole {
                let mut words = head.split(' ');
                let method = words.next()?.to_string();
                let path = words.next()?.to_string();
                return Some(Request { method, path, body: octets[end + 4..whole].to_vec() });
            }
        }
        match io.read(&mut piece) {
            Ok(count) if count > 0 => octets.extend_from_slice(&piece[..count]),
            _ => return None,
        }
    }
}
