//! UDP sockets, one for each core.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use socket2::{Domain, Protocol, Type};

use super::inbox::Inbox;
use super::keys::Keys;

/// What the kernel may hold of datagrams that the core has not read yet, if it allows as much.
const BUFFER: usize = 4 << 20;

/// One address bound once per worker.
pub struct Bound {
    pub address: SocketAddr,
    sockets: Vec<UdpSocket>,
    inboxes: Arc<[Arc<Inbox>]>,
}

impl Bound {
    /// Binds an address for a number of workers. It is first bound for one alone, which fails if
    /// another socket has it.
    pub fn bind(address: SocketAddr, workers: usize) -> io::Result<Self> {
        drop(socket(address, false)?);
        let sockets =
            (0..workers).map(|_| socket(address, true)).collect::<io::Result<Vec<_>>>()?;
        let inboxes = (0..workers).map(|_| Arc::default()).collect();
        Ok(Self { address, sockets, inboxes })
    }

    /// The sockets of one address that another process has bound, one for each worker.
    pub fn taken_over(sockets: Vec<UdpSocket>) -> io::Result<Option<Self>> {
        let Some(first) = sockets.first() else { return Ok(None) };
        let (address, inboxes) = (first.local_addr()?, sockets.iter().map(|_| Arc::default()));
        Ok(Some(Self { address, inboxes: inboxes.collect(), sockets }))
    }

    /// The same sockets once more, to be handed to a process that takes this one's place.
    pub fn copies(&self) -> io::Result<Vec<UdpSocket>> {
        self.sockets.iter().map(UdpSocket::try_clone).collect()
    }

    /// The socket of the next worker.
    pub fn take(&mut self, keys: &Arc<Keys>) -> Option<Socket> {
        let (inboxes, keys) = (Arc::clone(&self.inboxes), Arc::clone(keys));
        Some(Socket { udp: self.sockets.pop()?, inboxes, keys })
    }
}

/// One worker's socket, with what it shares with the others of its address.
pub struct Socket {
    pub udp: UdpSocket,
    pub inboxes: Arc<[Arc<Inbox>]>,
    pub keys: Arc<Keys>,
}

// No SO_REUSEADDR: for UDP it lets anything share the port.
fn socket(address: SocketAddr, is_shared: bool) -> io::Result<UdpSocket> {
    let socket =
        socket2::Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_port(is_shared)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    // As much as the kernel allows.
    let _ = socket.set_recv_buffer_size(BUFFER);
    let _ = socket.set_send_buffer_size(BUFFER);
    socket.bind(&address.into())?;
    Ok(socket.into())
}
