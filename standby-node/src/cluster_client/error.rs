use std::io;

use consensus_tap::channel::ChannelError;
use consensus_tap::client::{ClusterClientConfigError, IngressEndpointsError, SessionEnd};

use crate::net::socket::SocketError;

/// Why a [`ClusterClient`](super::ClusterClient) cannot be made, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ClusterClientError {
    /// The ingress endpoints cannot be read.
    #[error("the ingress endpoints are wrong: {0}")]
    IngressEndpoints(#[from] IngressEndpointsError),
    /// The egress channel cannot be read.
    #[error("the egress channel is wrong: {0}")]
    EgressChannel(#[from] ChannelError),
    /// Something else of the configuration cannot work.
    #[error(transparent)]
    Config(#[from] ClusterClientConfigError),
    /// The egress endpoint cannot be bound.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The socket cannot be used any more.
    #[error("the client's socket failed: {0}")]
    Io(#[from] io::Error),
    /// There is no session, or no longer.
    #[error(transparent)]
    Ended(#[from] SessionEnd),
}
