//! Which system interface moves the datagrams, chosen by the configuration.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;

use thiserror::Error;

use super::socket::NetworkSocket;
use super::{DatagramIo, IoCounters, Offload};
use crate::sys::mmsg::MmsgIo;
use crate::sys::readiness::Readiness;
use crate::sys::uring::{self, UringIo, UringUnavailable};

/// The configuration key `network`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum NetworkBackend {
    /// `recvmmsg` and `sendmmsg`, on every Linux.
    #[default]
    Mmsg,
    /// io_uring, on Linux 6.1 and later where it is allowed.
    IoUring,
}

impl NetworkBackend {
    /// Every backend, in the order of preference.
    pub const ALL: [Self; 2] = [Self::Mmsg, Self::IoUring];

    /// Whether this host can run the backend: what the kernel forbids shows at the first datagram only.
    ///
    /// # Errors
    ///
    /// Why not, and what to use instead.
    pub fn probe(self) -> Result<(), UringUnavailable> {
        match self {
            Self::Mmsg => Ok(()),
            Self::IoUring => uring::probe(),
        }
    }

    /// Takes over `socket`. The result may move to another thread until it is first polled.
    ///
    /// # Errors
    ///
    /// When the host cannot run the backend, or refuses it memory.
    pub fn open(self, socket: NetworkSocket, offload: Offload) -> Result<NetworkIo, UringUnavailable> {
        match self {
            Self::Mmsg => Ok(NetworkIo::Mmsg(MmsgIo::new(socket, offload))),
            Self::IoUring => Ok(NetworkIo::IoUring(UringIo::new(socket, offload)?)),
        }
    }
}

impl fmt::Display for NetworkBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mmsg => "mmsg",
            Self::IoUring => "io-uring",
        })
    }
}

/// The text names no backend.
#[derive(Clone, Debug, Eq, PartialEq, Error)]
#[error("\"{text}\" is no network backend: use mmsg or io-uring")]
pub struct ParseBackendError {
    /// What was given.
    pub text: String,
}

impl FromStr for NetworkBackend {
    type Err = ParseBackendError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|backend| backend.to_string() == text);
        found.ok_or_else(|| ParseBackendError { text: text.into() })
    }
}

/// The backend chosen at run time. One predictable branch a call, no virtual one.
#[allow(clippy::large_enum_variant, reason = "a node has a handful; a box would cost every call a load")]
#[derive(Debug)]
pub enum NetworkIo {
    /// See [`NetworkBackend::Mmsg`].
    Mmsg(MmsgIo),
    /// See [`NetworkBackend::IoUring`].
    IoUring(UringIo),
}

impl DatagramIo for NetworkIo {
    fn receive(&mut self, limit: usize, on_datagram: impl FnMut(&[u8], SocketAddr)) -> io::Result<usize> {
        match self {
            Self::Mmsg(io) => io.receive(limit, on_datagram),
            Self::IoUring(io) => io.receive(limit, on_datagram),
        }
    }

    fn send(&mut self, to: SocketAddr, bytes: &[u8], segment_length: usize) -> io::Result<()> {
        match self {
            Self::Mmsg(io) => io.send(to, bytes, segment_length),
            Self::IoUring(io) => io.send(to, bytes, segment_length),
        }
    }

    fn flush(&mut self) -> io::Result<usize> {
        match self {
            Self::Mmsg(io) => io.flush(),
            Self::IoUring(io) => io.flush(),
        }
    }

    fn local_addr(&self) -> SocketAddr {
        match self {
            Self::Mmsg(io) => io.local_addr(),
            Self::IoUring(io) => io.local_addr(),
        }
    }

    fn counters(&self) -> IoCounters {
        match self {
            Self::Mmsg(io) => io.counters(),
            Self::IoUring(io) => io.counters(),
        }
    }

    fn sleep_at(&self, readiness: &mut Readiness) {
        match self {
            Self::Mmsg(io) => io.sleep_at(readiness),
            Self::IoUring(io) => io.sleep_at(readiness),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_backend_survives_the_round_trip_through_text() {
        for backend in NetworkBackend::ALL {
            assert_eq!(backend.to_string().parse(), Ok(backend));
        }
    }

    /// It is what help, errors and documentation tell operators to write.
    #[test]
    fn the_io_uring_backend_is_written_with_a_dash() {
        assert_eq!("io-uring".parse(), Ok(NetworkBackend::IoUring));
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones() {
        let error = "uring".parse::<NetworkBackend>().unwrap_err();
        assert_eq!(error.to_string(), "\"uring\" is no network backend: use mmsg or io-uring");
    }
}
