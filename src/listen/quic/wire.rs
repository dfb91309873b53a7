//! A core's UDP socket: several datagrams in one call where the kernel takes or gives them so, and
//! one that it had no room for.

use std::io::{self, IoSliceMut};
use std::net::UdpSocket;
use std::task::{Context, Poll, ready};

use quinn_proto::Transmit;
use quinn_udp::{EcnCodepoint, RecvMeta, UdpSocketState};
use smallvec::SmallVec;
use tokio::io::Interest;

use crate::distribution::site::Gso;

/// Octets that the kernel may join to one piece.
const PIECE: usize = 64 * 1024;

/// Whether a call that reads takes as many as there are, if there is room: elsewhere it may be one.
const TAKES_ALL: bool = cfg!(target_os = "linux");

/// A socket with what is known of it.
pub struct Wire {
    socket: tokio::net::UdpSocket,
    state: UdpSocketState,
    gso: Gso,
    /// Datagrams that one call could send when it was last asked.
    segments: usize,
    /// What the socket had no room for.
    unsent: Option<(Transmit, Vec<u8>)>,
}

impl Wire {
    /// Of a socket that does not block.
    pub fn new(socket: UdpSocket, gso: Gso) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        let socket = tokio::net::UdpSocket::from_std(socket)?;
        let mut this = Self { socket, state, gso, segments: 1, unsent: None };
        this.segments = this.segments();
        Ok(this)
    }

    /// Says whether the network does not cut datagrams, so that their best length can be found out.
    pub fn is_unfragmented(&self) -> bool {
        !self.state.may_fragment()
    }

    /// Datagrams that one call may send.
    pub fn segments(&self) -> usize {
        match self.gso {
            Gso::On => self.state.max_gso_segments().max(1),
            Gso::Off => 1,
        }
    }

    /// Says once that a call may send fewer datagrams than before: the network did not take them,
    /// though the kernel had said so.
    pub fn has_lost_gso(&mut self) -> bool {
        let now = self.segments();
        now < std::mem::replace(&mut self.segments, now)
    }

    /// Says whether something has to leave before more can be sent.
    pub const fn is_full(&self) -> bool {
        self.unsent.is_some()
    }

    /// Reads into pieces of `octets`, of which `metas` then tells; `None` if there is nothing,
    /// and the task is woken when there is.
    pub fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        octets: &mut [u8],
        metas: &mut [RecvMeta],
    ) -> Option<usize> {
        loop {
            match self.socket.poll_recv_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) | Poll::Pending => return None,
            }
            let mut pieces: SmallVec<[IoSliceMut<'_>; 8]> =
                octets.chunks_mut(PIECE).map(IoSliceMut::new).collect();
            let (room, mut taken) = (pieces.len(), None);
            let _ = self.socket.try_io(Interest::READABLE, || {
                let count = self.state.recv((&self.socket).into(), &mut pieces, metas)?;
                taken = Some(count);
                // The kernel stopped where there was no more, which need not be asked once more:
                // what comes from now on wakes the task.
                if TAKES_ALL && count < room {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Ok(())
            });
            // Else there is nothing, or what is told is of a datagram that was sent before.
            if taken.is_some() {
                return taken;
            }
        }
    }

    /// Sends; what there is no room for is kept, and has to be flushed before more is given.
    pub fn send(&mut self, transmit: Transmit, octets: &[u8]) {
        if !self.is_sent(&transmit, octets) {
            self.unsent = Some((transmit, octets.to_vec()));
        }
    }

    /// Sends if there is room at once: an answer that may be lost.
    pub fn send_if_room(&self, transmit: &Transmit, octets: &[u8]) {
        if self.unsent.is_none() {
            let _ = self.is_sent(transmit, octets);
        }
    }

    /// Sends what is kept; the task is woken when there is room for it.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some((transmit, octets)) = self.unsent.take() {
            if self.is_sent(&transmit, &octets) {
                break;
            }
            self.unsent = Some((transmit, octets));
            if ready!(self.socket.poll_send_ready(cx)).is_err() {
                self.unsent = None;
            }
        }
        Poll::Ready(())
    }

    // False if there is no room. Whatever else goes wrong is as if the network had lost it.
    fn is_sent(&self, transmit: &Transmit, octets: &[u8]) -> bool {
        let told = quinn_udp::Transmit {
            destination: transmit.destination,
            ecn: transmit.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8)),
            contents: &octets[..transmit.size],
            segment_size: transmit.segment_size,
            src_ip: transmit.src_ip,
        };
        let sent = self
            .socket
            .try_io(Interest::WRITABLE, || self.state.send((&self.socket).into(), &told));
        !matches!(sent, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}
