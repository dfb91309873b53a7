//! Words and descriptors from one process of ours to another: frames of JSON over a socket that
//! only these two have, each with one descriptor at most.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use rustix::io::{Errno, fcntl_dupfd_cloexec, retry_on_intr};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

use super::succession::Step;
use crate::invalidation::log::InvalidationRecord;
use crate::invalidation::service::Durability;

/// Counted up with each change that an older process would not understand.
pub const PROTOCOL: u32 = 1;
/// The most octets of a frame: counters of many distributions are the longest.
const MOST: usize = 256 << 20;
/// How long the other may leave what it is told unread.
const UNREAD: Duration = Duration::from_secs(10);

/// What one process tells the other.
#[derive(Debug, Serialize, Deserialize)]
pub enum Message {
    Hello {
        protocol: u32,
        version: String,
        data: PathBuf,
    },
    /// The taker cannot go on.
    Failed {
        why: String,
    },
    /// With a descriptor.
    Socket(Socket),
    /// The file of a lock that is held, as a descriptor.
    Lock,
    /// All of them were sent.
    Sockets,
    Prepared,
    Yours,
    Opened,
    /// With what was counted so far.
    Go {
        counts: String,
    },
    Serving,
    /// Something was invalidated at the process that leaves.
    Record {
        record: Box<InvalidationRecord>,
        is_synced: bool,
    },
    /// It is in force here, under this number.
    Taken {
        record: Box<InvalidationRecord>,
    },
    Refused {
        why: String,
    },
    /// What the process that leaves has counted by now.
    Counts {
        text: String,
    },
}

/// A listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Socket {
    pub used_for: UsedFor,
    /// The address as it was configured; `None` for one that stands for all of its kind.
    pub wanted: Option<SocketAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UsedFor {
    Http,
    Https,
    Admin,
    Quic,
}

impl Message {
    /// The step of the hand-over that this is.
    pub const fn step(&self) -> Option<Step> {
        Some(match self {
            Self::Hello { .. } => Step::Hello,
            Self::Sockets => Step::Sockets,
            Self::Prepared => Step::Prepared,
            Self::Yours => Step::Yours,
            Self::Opened => Step::Opened,
            Self::Go { .. } => Step::Go,
            Self::Serving => Step::Serving,
            _ => return None,
        })
    }

    /// A record on its way to the process that keeps the log.
    pub fn record(record: InvalidationRecord, durability: Durability) -> Self {
        Self::Record { record: Box::new(record), is_synced: durability == Durability::Synced }
    }
}

/// The socket between the two.
pub struct Line {
    socket: UnixStream,
}

impl Line {
    /// One end, and the descriptor of the other.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (own, other) = UnixStream::pair()?;
        own.set_write_timeout(Some(UNREAD))?;
        Ok((Self { socket: own }, other.into()))
    }

    /// The end that this process was started with, in the place of its standard input.
    pub fn from_stdin() -> io::Result<Self> {
        let socket = UnixStream::from(fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?);
        // What this process runs is not to speak there.
        rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
        socket.peer_addr()?;
        socket.set_write_timeout(Some(UNREAD))?;
        Ok(Self { socket })
    }

    /// What ends it from another thread.
    pub fn closer(&self) -> io::Result<Closer> {
        self.socket.try_clone().map(Closer)
    }

    /// Sends a frame.
    pub fn send(&self, message: &Message, descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let body = serde_json::to_vec(message)?;
        let length = u32::try_from(body.len()).map_err(io::Error::other)?;
        let mut octets = length.to_be_bytes().to_vec();
        octets.extend_from_slice(&body);
        let held: Vec<BorrowedFd<'_>> = descriptor.into_iter().collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !held.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&held)) {
            return Err(io::Error::other("no room for a descriptor"));
        }
        let sent = retry_on_intr(|| {
            let pieces = [IoSlice::new(&octets)];
            sendmsg(&self.socket, &pieces, &mut control, SendFlags::NOSIGNAL)
        })?;
        (&self.socket).write_all(&octets[sent..])
    }

    /// Waits for a frame, with its descriptor; `None` once the other is gone.
    pub fn receive(
        &self,
        patience: Option<Duration>,
    ) -> io::Result<Option<(Message, Option<OwnedFd>)>> {
        self.socket.set_read_timeout(patience)?;
        let (mut head, mut filled, mut descriptor) = ([0u8; 4], 0usize, None);
        while filled < head.len() {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let came = retry_on_intr(|| {
                let mut pieces = [IoSliceMut::new(&mut head[filled..])];
                recvmsg(&self.socket, &mut pieces, &mut control, RecvFlags::CMSG_CLOEXEC)
            });
            let came = match came {
                // Killed, with something of ours unread.
                Err(error) if error == Errno::CONNRESET => 0,
                came => came?.bytes,
            };
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(mut all) = message {
                    descriptor = all.next_back().or(descriptor);
                }
            }
            match (came, filled) {
                (0, 0) => return Ok(None),
                (0, _) => return Err(io::ErrorKind::UnexpectedEof.into()),
                (came, _) => filled += came,
            }
        }
        let length = u32::from_be_bytes(head) as usize;
        if length > MOST {
            return Err(io::Error::other("a frame that long is none of ours"));
        }
        let mut body = vec![0; length];
        (&self.socket).read_exact(&mut body)?;
        Ok(Some((serde_json::from_slice(&body)?, descriptor)))
    }
}

/// Ends a line for both sides: whoever waits finds the other gone.
pub struct Closer(UnixStream);

impl Closer {
    pub fn close(&self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// Says whether waiting took too long.
pub fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsFd;

    use super::*;

    fn ends() -> (Line, Line) {
        let (one, other) = Line::pair().unwrap();
        (one, Line { socket: other.into() })
    }

    #[test]
    fn a_listener_goes_over_with_what_waits_in_its_queue() {
        let (one, other) = ends();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let socket = Socket { used_for: UsedFor::Http, wanted: Some(address) };
        let mut viewer = std::net::TcpStream::connect(address).unwrap();
        one.send(&Message::Socket(socket), Some(listener.as_fd())).unwrap();
        one.send(&Message::Yours, None).unwrap();
        drop(listener);
        let Some((Message::Socket(came), Some(descriptor))) = other.receive(None).unwrap() else {
            panic!("a socket comes");
        };
        assert_eq!(came, socket);
        let (message, none) = other.receive(None).unwrap().unwrap();
        assert!(message.step() == Some(Step::Yours) && none.is_none());
        let (mut accepted, _) = TcpListener::from(descriptor).accept().unwrap();
        accepted.write_all(b"x").unwrap();
        let mut octet = [0];
        viewer.read_exact(&mut octet).unwrap();
        assert_eq!(&octet, b"x");
    }

    #[test]
    fn long_frames_an_end_and_silence() {
        let (one, other) = ends();
        let counts = "a 1\n".repeat(500_000);
        std::thread::scope(|scope| {
            scope.spawn(|| one.send(&Message::Go { counts: counts.clone() }, None).unwrap());
            let (message, _) = other.receive(Some(UNREAD)).unwrap().unwrap();
            assert!(matches!(message, Message::Go { counts: came } if came == counts));
        });
        let late = other.receive(Some(Duration::from_millis(1))).unwrap_err();
        assert!(is_late(&late), "{late}");
        drop(one);
        assert!(other.receive(None).unwrap().is_none());
    }

    #[test]
    fn a_line_is_closed_under_whoever_waits() {
        let (one, other) = ends();
        let closer = one.closer().unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| one.receive(None).unwrap().is_none());
            closer.close();
            assert!(waiting.join().unwrap());
        });
        assert!(other.receive(None).unwrap().is_none());
    }
}
