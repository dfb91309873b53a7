//! A viewer that speaks HTTP/2 frame by frame, and so can say what no proper client says.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use foreshore::listen::h2::hpack::decode::{Decoder, FieldList};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// A frame to send.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut all = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    all.extend([kind, flags]);
    all.extend(stream.to_be_bytes());
    all.extend_from_slice(payload);
    all
}

/// Fields as literals that no table keeps.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut string = |text: &str| {
        let mut len = text.len();
        if len < 127 {
            out.push(len as u8);
        } else {
            out.push(127);
            len -= 127;
            while len >= 128 {
                out.push(128 | (len % 128) as u8);
                len /= 128;
            }
            out.push(len as u8);
        }
        out.extend_from_slice(text.as_bytes());
    };
    for (name, value) in fields {
        // The mark of a literal with a literal name is an empty string's octet too.
        string("");
        string(name);
        string(value);
    }
    out
}

/// A request's fields.
pub fn fields<'a>(
    method: &'a str,
    path: &'a str,
    more: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let mut all =
        vec![(":method", method), (":scheme", "https"), (":authority", "h.test"), (":path", path)];
    all.extend_from_slice(more);
    all
}

/// A GET as one frame.
pub fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block(&fields("GET", path, &[])))
}

/// An answer as it was seen.
#[derive(Debug, Default)]
pub struct Answer {
    /// Interim ones first.
    pub heads: Vec<Vec<(String, String)>>,
    pub body: Vec<u8>,
    /// Ended by END_STREAM, not by a reset.
    pub whole: bool,
}

impl Answer {
    pub fn statuses(&self) -> Vec<String> {
        self.heads.iter().map(|head| head[0].1.clone()).collect()
    }

    pub fn field(&self, name: &str) -> Option<String> {
        self.heads.last()?.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    }
}

/// A connection.
pub struct Frames {
    io: rustls::StreamOwned<rustls::ClientConnection, TcpStream>,
    decoder: Decoder,
    /// Frames read while others were looked for.
    pub kept: Vec<Frame>,
}

impl Frames {
    /// Connects and says hello with settings.
    pub fn connect(address: SocketAddr, ca: &std::path::Path, settings: &[(u16, u32)]) -> Self {
        let mut this = Self::connect_silent(address, ca);
        let payload: Vec<u8> = settings
            .iter()
            .flat_map(|(name, value)| {
                [name.to_be_bytes().to_vec(), value.to_be_bytes().to_vec()].concat()
            })
            .collect();
        this.send(
            &[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, &payload)]
                .concat(),
        );
        this
    }

    /// Connects and says nothing.
    pub fn connect_silent(address: SocketAddr, ca: &std::path::Path) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
        let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let session = rustls::ClientConnection::new(
            Arc::new(config),
            ServerName::try_from("h.test").unwrap(),
        )
        .unwrap();
        let tcp = TcpStream::connect(address).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        tcp.set_nodelay(true).unwrap();
        Self {
            io: rustls::StreamOwned::new(session, tcp),
            decoder: Decoder::new(4096),
            kept: Vec::new(),
        }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.io.write_all(bytes).and_then(|()| self.io.flush());
    }

    /// The next frame; `None` if the connection is over.
    pub fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.io.read_exact(&mut head).ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.io.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// The next frame for which this holds; others are kept.
    pub fn find(&mut self, wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
        if let Some(at) = self.kept.iter().position(&wanted) {
            return Some(self.kept.remove(at));
        }
        loop {
            let frame = self.next()?;
            if wanted(&frame) {
                return Some(frame);
            }
            self.kept.push(frame);
        }
    }

    /// The code of the GOAWAY that ends the connection; -1 if it ends without one.
    pub fn goaway(&mut self) -> i64 {
        self.find(|frame| frame.kind == GOAWAY).map_or(-1, |frame| {
            i64::from(u32::from_be_bytes(frame.payload[4..8].try_into().unwrap()))
        })
    }

    /// The code that a stream is reset with; -1 if the connection ends instead.
    pub fn reset(&mut self, stream: u32) -> i64 {
        self.find(|frame| frame.kind == RST_STREAM && frame.stream == stream).map_or(-1, |frame| {
            i64::from(u32::from_be_bytes(frame.payload[..4].try_into().unwrap()))
        })
    }

    /// The next HEADERS that was not seen yet.
    pub fn next_head(&mut self) -> Frame {
        loop {
            let frame = self.next().expect("a head");
            if frame.kind == HEADERS {
                return frame;
            }
            self.kept.push(frame);
        }
    }

    // The fields of a head that begins with this frame.
    fn decode(&mut self, frame: Frame) -> Vec<(String, String)> {
        let Frame { stream, mut flags, payload: mut block, .. } = frame;
        while flags & END_HEADERS == 0 {
            let more =
                self.find(|frame| frame.kind == CONTINUATION && frame.stream == stream).unwrap();
            block.extend(more.payload);
            flags = more.flags;
        }
        let mut list = FieldList::default();
        list.clear(1 << 20);
        self.decoder.decode(&block, &mut list).unwrap();
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        list.iter().map(|(name, value)| (text(name), text(value))).collect()
    }

    /// The next head on a stream, and what is to follow unread.
    pub fn head(&mut self, stream: u32) -> Answer {
        let head = self.find(|frame| frame.kind == HEADERS && frame.stream == stream);
        let heads = head.map(|head| self.decode(head)).into_iter().collect();
        Answer { heads, ..Answer::default() }
    }

    /// So many octets of DATA on a stream, or fewer if it ends before.
    pub fn data(&mut self, stream: u32, len: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < len {
            let is_ours =
                |frame: &Frame| frame.stream == stream && matches!(frame.kind, DATA | RST_STREAM);
            let Some(frame) = self.find(is_ours) else { break };
            if frame.kind == RST_STREAM {
                self.kept.push(frame);
                break;
            }
            let has_ended = frame.flags & END_STREAM != 0;
            all.extend(frame.payload);
            if has_ended {
                break;
            }
        }
        all
    }

    /// Reads the answer on a stream to its end.
    pub fn answer(&mut self, stream: u32) -> Answer {
        let mut answer = Answer::default();
        while let Some(frame) = self.find(|frame| {
            frame.stream == stream
                && matches!(frame.kind, HEADERS | DATA | RST_STREAM | CONTINUATION)
        }) {
            let (kind, flags) = (frame.kind, frame.flags);
            match kind {
                HEADERS => answer.heads.push(self.decode(frame)),
                DATA => answer.body.extend(frame.payload),
                _ => return answer,
            }
            if flags & END_STREAM != 0 && kind != CONTINUATION {
                answer.whole = true;
                return answer;
            }
        }
        answer
    }

    /// The same with the connection's window opened first.
    pub fn get_with_window(&mut self, stream: u32, path: &str, more: u32) -> Answer {
        self.send(&frame(WINDOW_UPDATE, 0, 0, &more.to_be_bytes()));
        self.get(stream, path)
    }

    /// Asks with GET and reads the answer.
    pub fn get(&mut self, stream: u32, path: &str) -> Answer {
        self.send(&get(stream, path));
        self.answer(stream)
    }
}
