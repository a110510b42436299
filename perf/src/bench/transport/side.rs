use crate::bench::transport::{MTU, SOCKET_BUFFER_LENGTH};
use crate::error::BenchError;
use consensus_tap::endpoint::{Endpoint, TransportCounters};
use consensus_tap::image::{ImageSink, SubscriptionParams};
use consensus_tap::publication::{OfferError, PublicationId, PublicationParams, PublicationState};
use standby_node::net::backend::{NetworkBackend, NetworkIo};
use standby_node::net::socket::{BufferLengths, NetworkSocket};
use standby_node::net::{DatagramIo, Offload};
use std::net::SocketAddr;

/// One end of a connection: a socket, its endpoint, a publication to the other end and a subscription.
#[derive(Debug)]
pub(super) struct Side<S> {
    io: NetworkIo,
    endpoint: Endpoint,
    publication: PublicationId,
    pub(super) sink: S,
}

/// What a pair of sides agrees on. Lengths are in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct StreamShape {
    pub(super) term_length: i32,
    pub(super) window_length: i32,
}

impl<S: ImageSink> Side<S> {
    /// Sends to `to`, and hands what comes in to `sink`. `number` tells the sides apart.
    pub(super) fn new(
        socket: NetworkSocket,
        to: SocketAddr,
        number: i32,
        shape: StreamShape,
        sink: S,
        now_ns: u64,
    ) -> Result<Self, BenchError> {
        let io = NetworkBackend::Mmsg.open(socket, Offload::default()).map_err(BenchError::run)?;
        let mut endpoint = Endpoint::new(i64::from(number) + 1);
        endpoint.add_subscription(SubscriptionParams {
            receive_window_length: shape.window_length,
            ..SubscriptionParams::new(STREAM_ID)
        });
        let params = PublicationParams {
            term_length: shape.term_length,
            mtu: MTU,
            ..PublicationParams::new(number, STREAM_ID)
        };
        let publication = endpoint.add_publication(params, to, now_ns);
        Ok(Self { io, endpoint, publication, sink })
    }

    /// Takes what has arrived.
    #[inline]
    pub(super) fn receive(&mut self, now_ns: u64) -> Result<usize, BenchError> {
        let Self { io, endpoint, sink, .. } = self;
        let count = io
            .receive(DATAGRAMS_PER_CYCLE_MAX, |bytes, from| endpoint.on_datagram(bytes, from, now_ns, sink))
            .map_err(BenchError::io("receive"))?;
        while endpoint.poll_event().is_some() {}
        Ok(count)
    }

    /// Sends what is ready. What the socket has no room for is lost, and asked for again.
    #[inline]
    pub(super) fn transmit(&mut self, now_ns: u64) -> Result<(), BenchError> {
        let Self { io, endpoint, .. } = self;
        endpoint.on_timeout(now_ns);
        endpoint.poll_transmit(now_ns, &mut |transmit| {
            let _ = io.send(transmit.to, transmit.bytes, transmit.segment_length);
        });
        io.flush().map_err(BenchError::io("send"))?;
        Ok(())
    }

    #[inline]
    pub(super) fn offer(&mut self, message: &[u8]) -> Result<i64, OfferError> {
        self.endpoint.offer(self.publication, message)
    }

    pub(super) fn is_connected(&self) -> bool {
        self.endpoint.publication_state(self.publication) == PublicationState::Connected
    }

    pub(super) fn counters(&self) -> &TransportCounters {
        self.endpoint.counters()
    }
}

/// Two sockets on the loopback.
pub(super) fn sockets() -> Result<[NetworkSocket; 2], BenchError> {
    let buffers = BufferLengths { receive: Some(SOCKET_BUFFER_LENGTH), send: Some(SOCKET_BUFFER_LENGTH) };
    let open = || NetworkSocket::open("perf", "127.0.0.1:0", buffers).map_err(BenchError::run);
    Ok([open()?, open()?])
}

const STREAM_ID: i32 = 7;
const DATAGRAMS_PER_CYCLE_MAX: usize = 256;
