//! Opening a UDP socket from a configured `host:port`, with errors that say what to do next.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsRawFd, RawFd};

use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;

/// A bound UDP socket that does not block. Whoever drives it is chosen by
/// [`NetworkBackend::open`](super::backend::NetworkBackend::open).
///
/// A socket has one family: one bound to an IPv6 address exchanges nothing with IPv4 peers.
#[derive(Debug)]
pub struct NetworkSocket {
    socket: Socket,
    local_addr: SocketAddr,
    shortfalls: Vec<BufferShortfall>,
}

/// How much the kernel shall buffer for a socket, in bytes; `None` leaves the system's default.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct BufferLengths {
    /// SO_RCVBUF. At least the receive window of everything that arrives at the socket.
    pub receive: Option<usize>,
    /// SO_SNDBUF.
    pub send: Option<usize>,
}

/// The kernel gave a socket a smaller buffer than asked for. The socket works; bursts may be lost. Its
/// `Display` is the warning to log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BufferShortfall {
    /// The socket option, such as `SO_RCVBUF`.
    pub option: &'static str,
    /// Bytes asked for.
    pub asked: usize,
    /// Bytes given.
    pub given: usize,
    /// The kernel's setting that limits it.
    pub limit: &'static str,
}

impl fmt::Display for BufferShortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { option, asked, given, limit } = self;
        write!(
            f,
            "{option}: asked for {asked} bytes, the kernel gave {given}; datagrams may be lost in bursts. \
             Raise the limit: sysctl -w {limit}={asked}"
        )
    }
}

/// Why a socket could not be opened. `key` and `value` are the configuration's.
#[derive(Debug, Error)]
pub enum SocketError {
    /// The value is not `host:port`, or the host has no address.
    #[error(
        "{key} = \"{value}\": no address: {source}; expected host:port, such as 10.0.0.7:9010 or [fd00::7]:9010"
    )]
    NoAddress {
        /// Configuration key.
        key: String,
        /// Its value.
        value: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// Another socket has the port.
    #[error(
        "{key} = \"{value}\": port {port} is in use by another socket; \
         `ss -ulpn 'sport = :{port}'` names its process: stop that, or choose another port"
    )]
    PortInUse {
        /// Configuration key.
        key: String,
        /// Its value.
        value: String,
        /// The port.
        port: u16,
    },
    /// No network interface of this host has the address.
    #[error(
        "{key} = \"{value}\": {address} is no address of this host; `ip address` lists those that are; \
         0.0.0.0 takes all of them, and needs `response_endpoint`, for members must be told one"
    )]
    NotLocal {
        /// Configuration key.
        key: String,
        /// Its value.
        value: String,
        /// What the value resolved to.
        address: SocketAddr,
    },
    /// The port is reserved for privileged processes.
    #[error("{key} = \"{value}\": not allowed to bind port {port}; choose one from 1024 on")]
    NotAllowed {
        /// Configuration key.
        key: String,
        /// Its value.
        value: String,
        /// The port.
        port: u16,
    },
    /// The system refused something else.
    #[error("{key} = \"{value}\": {action} failed: {source}")]
    System {
        /// Configuration key.
        key: String,
        /// Its value.
        value: String,
        /// The system call.
        action: &'static str,
        /// What it said.
        source: io::Error,
    },
}

impl NetworkSocket {
    /// Resolves `value` (`host:port`, port 0 for any free one) and binds a socket to it. `key` is the
    /// configuration key that the value came from, for errors.
    ///
    /// # Errors
    ///
    /// When the value has no address, or the address cannot be bound.
    pub fn open(key: &str, value: &str, buffers: BufferLengths) -> Result<Self, SocketError> {
        let address = resolve(key, value)?;
        let system = |action| {
            move |source| SocketError::System { key: key.into(), value: value.into(), action, source }
        };

        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))
            .map_err(system("socket"))?;
        socket.set_nonblocking(true).map_err(system("fcntl(O_NONBLOCK)"))?;
        if address.is_ipv6() {
            socket.set_only_v6(true).map_err(system("setsockopt(IPV6_V6ONLY)"))?;
        }
        let shortfalls = set_buffers(&socket, buffers).map_err(system("setsockopt(SO_RCVBUF, SO_SNDBUF)"))?;
        socket.bind(&address.into()).map_err(|source| bind_error(key, value, address, source))?;
        let local_addr = socket.local_addr().map_err(system("getsockname"))?;
        let local_addr = local_addr.as_socket().expect("a UDP socket is bound to an IP address");
        Ok(Self { socket, local_addr, shortfalls })
    }

    /// Another socket at the same address, with the same buffers. Until it is connected, what arrives may go to either.
    ///
    /// The kernel lets two sockets share an address only if both say so while the second is bound, and then any other
    /// that says so too. So they say it no longer than that: a second node at this address is refused as ever.
    pub(crate) fn twin(&self) -> io::Result<Socket> {
        let twin = Socket::new(Domain::for_address(self.local_addr), Type::DGRAM, Some(Protocol::UDP))?;
        twin.set_nonblocking(true)?;
        if self.local_addr.is_ipv6() {
            twin.set_only_v6(true)?;
        }
        // The kernel reports twice what it was given (socket(7)).
        twin.set_recv_buffer_size(self.socket.recv_buffer_size()? / 2)?;
        twin.set_send_buffer_size(self.socket.send_buffer_size()? / 2)?;
        twin.set_reuse_port(true)?;
        self.socket.set_reuse_port(true)?;
        let bound = twin.bind(&self.local_addr.into());
        self.socket.set_reuse_port(false)?;
        bound?;
        twin.set_reuse_port(false)?;
        Ok(twin)
    }

    /// The address it is bound to, with the port that the system chose for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Buffers that are smaller than asked for: warnings for the log.
    pub fn shortfalls(&self) -> &[BufferShortfall] {
        &self.shortfalls
    }
}

impl AsRawFd for NetworkSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Finds the address of `value` (`host:port`). A name with several addresses gives its first, IPv4 before
/// IPv6 as Aeron prefers it. May ask a name server and wait for it: never call this in a duty cycle.
///
/// # Errors
///
/// [`SocketError::NoAddress`].
pub fn resolve(key: &str, value: &str) -> Result<SocketAddr, SocketError> {
    let error = |source| SocketError::NoAddress { key: key.into(), value: value.into(), source };
    let addresses: Vec<SocketAddr> = value.to_socket_addrs().map_err(error)?.collect();
    let first_v4 = addresses.iter().find(|address| address.is_ipv4());
    first_v4
        .or(addresses.first())
        .copied()
        .ok_or_else(|| error(io::Error::new(io::ErrorKind::NotFound, "the name has no address")))
}

fn set_buffers(socket: &Socket, buffers: BufferLengths) -> io::Result<Vec<BufferShortfall>> {
    // The kernel doubles what it is given, for its own bookkeeping, and reports the double (socket(7)).
    let mut shortfalls = Vec::new();
    if let Some(asked) = buffers.receive {
        socket.set_recv_buffer_size(asked)?;
        let given = socket.recv_buffer_size()? / 2;
        let limit = "net.core.rmem_max";
        shortfalls.push(BufferShortfall { option: "SO_RCVBUF", asked, given, limit });
    }
    if let Some(asked) = buffers.send {
        socket.set_send_buffer_size(asked)?;
        let given = socket.send_buffer_size()? / 2;
        let limit = "net.core.wmem_max";
        shortfalls.push(BufferShortfall { option: "SO_SNDBUF", asked, given, limit });
    }
    shortfalls.retain(|shortfall| shortfall.given < shortfall.asked);
    Ok(shortfalls)
}

fn bind_error(key: &str, value: &str, address: SocketAddr, source: io::Error) -> SocketError {
    let (key, value, port) = (key.into(), value.into(), address.port());
    match source.kind() {
        io::ErrorKind::AddrInUse => SocketError::PortInUse { key, value, port },
        io::ErrorKind::AddrNotAvailable => SocketError::NotLocal { key, value, address },
        io::ErrorKind::PermissionDenied => SocketError::NotAllowed { key, value, port },
        _ => SocketError::System { key, value, action: "bind", source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "consensus.endpoint";

    fn open(value: &str) -> Result<NetworkSocket, SocketError> {
        NetworkSocket::open(KEY, value, BufferLengths::default())
    }

    #[test]
    fn binds_a_free_port_of_either_family_and_says_which() {
        for value in ["127.0.0.1:0", "localhost:0", "[::1]:0"] {
            let socket = open(value).unwrap();
            assert!(socket.local_addr().ip().is_loopback());
            assert_ne!(socket.local_addr().port(), 0);
        }
    }

    #[test]
    fn a_port_in_use_is_named_with_the_next_step() {
        let first = open("127.0.0.1:0").unwrap();
        let value = first.local_addr().to_string();
        let error = open(&value).unwrap_err();
        assert!(matches!(&error, SocketError::PortInUse { port, .. } if *port == first.local_addr().port()));
        let text = error.to_string();
        assert!(text.contains(KEY) && text.contains(&value) && text.contains("ss -ulpn"), "{text}");
    }

    #[test]
    fn an_address_of_another_host_is_refused_by_name() {
        // TEST-NET-1, which no interface has.
        let error = open("192.0.2.1:9010").unwrap_err();
        assert!(matches!(error, SocketError::NotLocal { .. }), "{error}");
        assert!(error.to_string().contains("192.0.2.1:9010"), "{error}");
    }

    #[test]
    fn a_value_without_a_port_says_what_was_expected() {
        let error = open("localhost").unwrap_err();
        assert!(matches!(error, SocketError::NoAddress { .. }), "{error}");
        assert!(error.to_string().contains("expected host:port"), "{error}");
    }

    #[test]
    fn a_buffer_beyond_the_kernels_limit_is_a_warning_not_an_error() {
        let asked = 1 << 30;
        let buffers = BufferLengths { receive: Some(asked), send: Some(16 * 1024) };
        let socket = NetworkSocket::open(KEY, "127.0.0.1:0", buffers).unwrap();
        let [shortfall] = socket.shortfalls() else { panic!("{:?}", socket.shortfalls()) };
        assert_eq!((shortfall.option, shortfall.asked), ("SO_RCVBUF", asked));
        assert!(shortfall.given < asked);
        assert!(shortfall.to_string().contains("net.core.rmem_max"), "{shortfall}");
    }
}
