//! The three sockets of a node.

use std::net::SocketAddr;

use super::LaunchError;
use crate::agent::storage::SocketFamilies;
use crate::config::NodeConfig;
use crate::net::Offload;
use crate::net::backend::NetworkIo;
use crate::net::socket::{BufferLengths, NetworkSocket};

/// All that a node receives at, bound before any file of an earlier run is touched.
pub(super) struct Sockets {
    /// Asks the members, and is sent the log.
    pub(super) receiver: BoundSocket,
    /// Serves the archive, and what standbys have to say to one another.
    pub(super) archive: BoundSocket,
    /// Where clients are heard once this node leads.
    pub(super) ingress: BoundSocket,
}

/// A socket behind the backend that the configuration names.
pub(super) struct BoundSocket {
    pub(super) io: NetworkIo,
    pub(super) local_addr: SocketAddr,
}

impl Sockets {
    /// Binds them.
    ///
    /// # Errors
    /// [`LaunchError::Socket`] with the key that names the address, [`LaunchError::Uring`].
    pub(super) fn open(config: &NodeConfig) -> Result<Self, LaunchError> {
        let receiver = bind(config, "host", &config.bind_endpoint)?;
        for shortfall in receiver.shortfalls() {
            tracing::warn!("{shortfall}");
        }
        Ok(Self {
            receiver: open(config, receiver)?,
            archive: open(config, bind(config, "archive_endpoint", &config.archive_endpoint.to_string())?)?,
            ingress: open(
                config,
                bind(config, "ingress_endpoint", &config.leading.ingress_endpoint.to_string())?,
            )?,
        })
    }

    /// Which addresses each can send to.
    pub(super) fn families(&self) -> SocketFamilies {
        SocketFamilies {
            receiver_is_ipv6: self.receiver.local_addr.is_ipv6(),
            archive_is_ipv6: self.archive.local_addr.is_ipv6(),
            ingress_is_ipv6: self.ingress.local_addr.is_ipv6(),
        }
    }
}

fn bind(config: &NodeConfig, key: &'static str, endpoint: &str) -> Result<NetworkSocket, LaunchError> {
    let buffers =
        BufferLengths { receive: Some(config.socket_receive_buffer), send: Some(config.socket_send_buffer) };
    Ok(NetworkSocket::open(key, endpoint, buffers)?)
}

fn open(config: &NodeConfig, socket: NetworkSocket) -> Result<BoundSocket, LaunchError> {
    let local_addr = socket.local_addr();
    Ok(BoundSocket { io: config.network.open(socket, Offload::default())?, local_addr })
}
