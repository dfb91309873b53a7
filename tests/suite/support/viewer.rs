//! A viewer over a plain or encrypted socket that reads one framed response at a time and notices
//! when it breaks off.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};

pub trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

/// A connection.
pub struct Viewer {
    io: Box<dyn Wire>,
    /// The socket below.
    tcp: TcpStream,
    buffer: Vec<u8>,
}

/// A response as it was seen.
#[derive(Debug, Clone)]
pub struct Seen {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
    /// The body ended as its framing promised.
    pub whole: bool,
    /// The connection is over.
    pub closed: bool,
}

impl Seen {
    /// A field's first line.
    pub fn field(&self, name: &str) -> Option<String> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_string())
        })
    }

    /// The first word of X-Cache.
    pub fn cache(&self) -> String {
        self.field("x-cache").unwrap_or_default().split(' ').next().unwrap_or("").to_string()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Viewer {
    /// Connects in clear text.
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap_or_else(|| panic!("nothing listens at {address}"))
    }

    /// The same, to what may be away.
    pub fn try_connect(address: SocketAddr) -> Option<Self> {
        let tcp = TcpStream::connect(address).ok()?;
        tcp.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
        tcp.set_nodelay(true).ok()?;
        Some(Self { tcp: tcp.try_clone().ok()?, io: Box::new(tcp), buffer: Vec::new() })
    }

    /// Connects over TLS and HTTP/1.1, trusting `ca`.
    pub fn connect_tls(
        address: SocketAddr,
        name: &str,
        ca: &std::path::Path,
    ) -> Result<Self, String> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
        let mut session = rustls::ClientConnection::new(
            Arc::new(config),
            ServerName::try_from(name.to_string()).unwrap(),
        )
        .unwrap();
        let mut tcp = TcpStream::connect(address).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut tcp).map_err(|error| error.to_string())?;
        }
        Ok(Self {
            tcp: tcp.try_clone().unwrap(),
            io: Box::new(rustls::StreamOwned::new(session, tcp)),
            buffer: Vec::new(),
        })
    }

    /// Resets the connection: what the edge still sends is not taken.
    pub fn reset(self) {
        socket2::SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        // The edge may have refused and closed already; what it said is still to be read.
        let _ = self.io.write_all(bytes).and_then(|()| self.io.flush());
    }

    /// Asks with GET and reads the answer.
    pub fn get(&mut self, path: &str, fields: &[&str]) -> Seen {
        self.send(&request("GET", path, fields));
        self.read("GET").expect("an answer")
    }

    /// Reads interim responses and the final one.
    pub fn read_all_heads(&mut self) -> Vec<Seen> {
        let mut all = Vec::new();
        loop {
            while !self.buffer.windows(4).any(|w| w == b"\r\n\r\n") && self.more() {}
            let end = self.buffer.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
            let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
            let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
            if status >= 200 {
                all.extend(self.read("GET"));
                return all;
            }
            self.buffer.drain(..end);
            all.push(Seen { status, head, body: Vec::new(), whole: true, closed: false });
        }
    }

    /// Reads one response; `None` if the connection ended before a head.
    pub fn read(&mut self, method: &str) -> Option<Seen> {
        loop {
            let end = loop {
                if let Some(at) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                    break at + 4;
                }
                if !self.more() {
                    return None;
                }
            };
            let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
            self.buffer.drain(..end);
            let status: u16 = head.split(' ').nth(1)?.parse().ok()?;
            let mut seen = Seen { status, head, body: Vec::new(), whole: true, closed: false };
            if status < 200 {
                continue;
            }
            self.read_body(method, &mut seen);
            return Some(seen);
        }
    }

    fn read_body(&mut self, method: &str, seen: &mut Seen) {
        if method == "HEAD" || matches!(seen.status, 204 | 304) {
            return;
        }
        if seen.field("transfer-encoding").is_some() {
            seen.whole = self.read_chunks(&mut seen.body).is_some();
            return;
        }
        match seen.field("content-length").and_then(|v| v.parse::<usize>().ok()) {
            Some(len) => {
                while self.buffer.len() < len && self.more() {}
                let here = len.min(self.buffer.len());
                seen.body = self.buffer.drain(..here).collect();
                seen.whole = here == len;
            }
            None => {
                while self.more() {}
                seen.body = std::mem::take(&mut self.buffer);
                seen.closed = true;
            }
        }
    }

    fn read_chunks(&mut self, body: &mut Vec<u8>) -> Option<()> {
        loop {
            let line = self.line()?;
            let size = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
            if size == 0 {
                while !self.line()?.is_empty() {}
                return Some(());
            }
            while self.buffer.len() < size + 2 {
                if !self.more() {
                    body.append(&mut self.buffer);
                    return None;
                }
            }
            body.extend(self.buffer.drain(..size));
            self.buffer.drain(..2);
        }
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|w| w == b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer[..at]).into_owned();
                self.buffer.drain(..at + 2);
                return Some(line);
            }
            if !self.more() {
                return None;
            }
        }
    }

    /// Reads whatever comes; false at the end.
    pub fn more(&mut self) -> bool {
        let mut piece = vec![0; 1 << 16];
        match self.io.read(&mut piece) {
            Ok(n) if n > 0 => {
                self.buffer.extend_from_slice(&piece[..n]);
                true
            }
            _ => false,
        }
    }

    /// True once the edge has closed the connection and nothing is left over.
    pub fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && !self.more()
    }
}

/// A request without a body, for host `h.test`.
pub fn request(method: &str, path: &str, fields: &[&str]) -> Vec<u8> {
    let host = if fields.iter().any(|f| f.to_ascii_lowercase().starts_with("host:")) {
        ""
    } else {
        "Host: h.test\r\n"
    };
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    format!("{method} {path} HTTP/1.1\r\n{host}{fields}\r\n").into_bytes()
}
