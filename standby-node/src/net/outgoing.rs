//! What a sans-IO core wants sent, on its way to a socket.

use std::io;

use consensus_tap::endpoint::Transmit;

use super::DatagramIo;

/// Takes runs of datagrams for one pass, and tells at its end whether the socket can go on.
///
/// A queue that is full drops, as the network may: the protocol repeats what matters. So does a destination that no
/// datagram can go to: whoever named it (a peer, in a response channel or as a member's endpoint) is not to end the node.
#[derive(Debug)]
pub struct Outgoing<'a, Io> {
    io: &'a mut Io,
    failed: Option<io::Error>,
}

impl<'a, Io: DatagramIo> Outgoing<'a, Io> {
    /// A pass over `io`.
    pub fn new(io: &'a mut Io) -> Self {
        Self { io, failed: None }
    }

    /// Queues one run.
    pub fn send(&mut self, run: Transmit<'_>) {
        match self.io.send(run.to, run.bytes, run.segment_length) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::InvalidInput) => {
            }
            Err(error) => self.failed = Some(error),
        }
    }

    /// Hands everything to the kernel.
    ///
    /// # Errors
    /// Only what makes the socket useless.
    pub fn finish(self) -> io::Result<()> {
        match self.failed {
            Some(error) => Err(error),
            None => self.io.flush().map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Offload;
    use crate::net::backend::NetworkBackend;
    use crate::net::socket::{BufferLengths, NetworkSocket};

    #[test]
    fn an_address_that_a_peer_made_up_ends_nothing() {
        let socket = NetworkSocket::open("host", "127.0.0.1:0", BufferLengths::default()).unwrap();
        let mut io = NetworkBackend::Mmsg.open(socket, Offload::default()).unwrap();
        for to in ["127.0.0.1:0", "[::1]:9003"] {
            let mut out = Outgoing::new(&mut io);
            out.send(Transmit { to: to.parse().unwrap(), bytes: b"setup", segment_length: 5 });
            out.finish().unwrap();
        }
    }
}
