//! An origin that says exactly what it is told to, byte by byte, and remembers what it was asked.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// One step of an answer.
#[derive(Clone)]
pub enum Say {
    Bytes(Vec<u8>),
    Wait(Duration),
    /// Goes on once that is so, or after half a minute.
    Until(Arc<AtomicBool>),
    /// Close with a reset, so that what was sent may be lost.
    Reset,
    Close,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub target: String,
    pub head: String,
    pub body: usize,
}

impl Asked {
    /// A field's first line.
    pub fn field(&self, name: &str) -> Option<String> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_string())
        })
    }
}

/// A running origin; it ends with its owner.
pub struct Origin {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Asked>>>,
    stop: Arc<AtomicBool>,
    open: Arc<AtomicUsize>,
    accepted: Arc<AtomicUsize>,
}

type Handler = dyn Fn(&Asked) -> Vec<Say> + Send + Sync;

impl Origin {
    /// Starts one in clear text.
    pub fn start(handler: impl Fn(&Asked) -> Vec<Say> + Send + Sync + 'static) -> Self {
        Self::start_with(None, handler)
    }

    /// Starts one that speaks TLS with the given settings.
    pub fn start_tls(
        tls: Arc<rustls::ServerConfig>,
        handler: impl Fn(&Asked) -> Vec<Say> + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(Some(tls), handler)
    }

    fn start_with(
        tls: Option<Arc<rustls::ServerConfig>>,
        handler: impl Fn(&Asked) -> Vec<Say> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, stop, open) = (
            Arc::new(Mutex::new(Vec::new())),
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let accepted = Arc::new(AtomicUsize::new(0));
        let accepted_too = Arc::clone(&accepted);
        let handler: Arc<Handler> = Arc::new(handler);
        let (seen_too, stop_too, open_too) =
            (Arc::clone(&seen), Arc::clone(&stop), Arc::clone(&open));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop_too.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                accepted_too.fetch_add(1, Ordering::Relaxed);
                let (handler, seen, tls, open) = (
                    Arc::clone(&handler),
                    Arc::clone(&seen_too),
                    tls.clone(),
                    Arc::clone(&open_too),
                );
                std::thread::spawn(move || {
                    open.fetch_add(1, Ordering::Relaxed);
                    let _ = stream.set_nodelay(true);
                    match tls {
                        None => talk(&mut &stream, &stream, &*handler, &seen),
                        Some(config) => {
                            let session = rustls::ServerConnection::new(config).unwrap();
                            let mut secure =
                                rustls::StreamOwned::new(session, stream.try_clone().unwrap());
                            talk(&mut secure, &stream, &*handler, &seen);
                        }
                    }
                    open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        Self { address, seen, stop, open, accepted }
    }

    /// Everything it was asked so far.
    pub fn seen(&self) -> Vec<Asked> {
        self.seen.lock().unwrap().clone()
    }

    /// How often it was asked.
    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// Connections that were ever made to it.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

fn talk<S: Read + Write>(io: &mut S, raw: &TcpStream, handler: &Handler, seen: &Mutex<Vec<Asked>>) {
    let mut buffer = Vec::new();
    while let Some(asked) = read_request(io, &mut buffer) {
        seen.lock().unwrap().push(asked.clone());
        for step in handler(&asked) {
            match step {
                Say::Bytes(bytes) => {
                    if io.write_all(&bytes).and_then(|()| io.flush()).is_err() {
                        return;
                    }
                }
                Say::Wait(time) => std::thread::park_timeout(time),
                Say::Until(gate) => {
                    for _ in 0..6_000 {
                        if gate.load(Ordering::Relaxed) {
                            break;
                        }
                        std::thread::park_timeout(Duration::from_millis(5));
                    }
                }
                Say::Close => return,
                Say::Reset => {
                    let socket = socket2::SockRef::from(raw);
                    let _ = socket.set_linger(Some(Duration::ZERO));
                    return;
                }
            }
        }
    }
}

fn read_request<S: Read>(io: &mut S, buffer: &mut Vec<u8>) -> Option<Asked> {
    let mut piece = [0; 65536];
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        let n = io.read(&mut piece).ok().filter(|n| *n > 0)?;
        buffer.extend_from_slice(&piece[..n]);
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.drain(..end);
    let mut words = head.split(' ');
    let mut asked = Asked {
        method: words.next()?.into(),
        target: words.next()?.into(),
        head: head.clone(),
        body: 0,
    };
    if let Some(len) = asked.field("content-length").and_then(|v| v.parse::<usize>().ok()) {
        let mut left = len;
        let here = left.min(buffer.len());
        buffer.drain(..here);
        left -= here;
        while left > 0 {
            let want = left.min(piece.len());
            let n = io.read(&mut piece[..want]).ok().filter(|n| *n > 0)?;
            left -= n;
        }
        asked.body = len;
    } else if asked.field("transfer-encoding").is_some() {
        loop {
            // The last chunk, and the trailers behind it up to an empty line.
            let is_empty = asked.body == 0 && buffer.starts_with(b"0\r\n");
            let last = if is_empty {
                Some(0)
            } else {
                buffer.windows(5).position(|w| w == b"\r\n0\r\n").map(|at| at + 2)
            };
            let end = last.and_then(|at| {
                let rest = buffer[at..].windows(4).position(|w| w == b"\r\n\r\n")?;
                Some((at, at + rest + 4))
            });
            if let Some((at, end)) = end {
                asked.body += at;
                buffer.drain(..end);
                break;
            }
            // Enough to tell how much came; the last five octets may be the start of the end.
            if last.is_none() && buffer.len() > 5 {
                let keep = buffer.len() - 5;
                asked.body += keep;
                buffer.drain(..keep);
            }
            let n = io.read(&mut piece).ok().filter(|n| *n > 0)?;
            buffer.extend_from_slice(&piece[..n]);
        }
    }
    Some(asked)
}

/// A whole answer with a length.
pub fn answer(status: u16, fields: &str, body: &[u8]) -> Vec<Say> {
    let fields =
        fields.trim().lines().map(|line| format!("{}\r\n", line.trim())).collect::<String>();
    let mut bytes =
        format!("HTTP/1.1 {status} X\r\n{fields}Content-Length: {}\r\n\r\n", body.len())
            .into_bytes();
    bytes.extend_from_slice(body);
    vec![Say::Bytes(bytes)]
}

/// A 200 that lives for a minute.
pub fn fresh(body: &[u8]) -> Vec<Say> {
    answer(200, "Cache-Control: max-age=60", body)
}

/// The same after a while.
pub fn after(millis: u64, mut steps: Vec<Say>) -> Vec<Say> {
    steps.insert(0, Say::Wait(Duration::from_millis(millis)));
    steps
}

/// An origin that has `/slow` wait until that is let, and says "late" to all.
pub fn held_back() -> (Origin, Arc<AtomicBool>) {
    let let_go = Arc::<AtomicBool>::default();
    let gate = Arc::clone(&let_go);
    let origin = Origin::start(move |asked| {
        let mut steps = fresh(b"late");
        if asked.target == "/slow" {
            steps.insert(0, Say::Until(Arc::clone(&gate)));
        }
        steps
    });
    (origin, let_go)
}

/// Exactly these bytes, then the end of the connection.
pub fn raw(bytes: &[u8]) -> Vec<Say> {
    vec![Say::Bytes(bytes.to_vec()), Say::Close]
}
