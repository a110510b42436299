use super::IngressEndpoints;
use crate::archive::Credentials;
use crate::channel::{ChannelError, ChannelUri, Media};
use crate::codec::session::SESSION_HEADER_LENGTH;
use crate::image::SubscriptionParams;
use crate::publication::PublicationParams;
use crate::wire::position::MESSAGE_LENGTH_MAX;
use crate::wire::{Reject, TermLength};

/// Settings of a [`ClusterClient`](super::ClusterClient). Names and defaults are those of
/// `AeronCluster.Context`, apart from the term length and the keep-alives.
#[derive(Clone, Debug)]
pub struct ClusterClientConfig {
    /// The members. Each is tried at the start; the one that leads tells of changes.
    pub ingress_endpoints: IngressEndpoints,
    /// The stream that members read.
    pub ingress_stream_id: i32,
    /// Bytes of a term of our ingress: a power of two from 64 KiB to 1 GiB. A message is at most an eighth of
    /// one, its header of 32 bytes included, and half of one may wait to be sent. Longer terms leave the
    /// processor's caches: Java's driver has 16 MiB.
    pub ingress_term_length: i32,
    /// Bytes of our longest datagram: a multiple of 32, and no more than members take (128 KiB windows).
    pub ingress_mtu: i32,
    /// The channel that the cluster answers to: `aeron:udp?endpoint=host:port`, with a port. Members give
    /// their publications what it says of `mtu` and `term-length`, and the defaults of their driver (1,408
    /// bytes and 16 MiB) where it says nothing.
    pub egress_channel: String,
    /// The stream that we read.
    pub egress_stream_id: i32,
    /// How many bytes a member may be ahead of what arrived here in order; at least its MTU and 4096.
    pub egress_window_length: i32,
    /// Longer messages from the cluster are dropped and counted; at most 16 MiB.
    pub egress_message_length_max: usize,
    /// Who we are.
    pub credentials: Credentials,
    /// Free text for the operator of the cluster.
    pub client_name: String,
    /// Nanoseconds that connecting may take as a whole, and the way to a new leader until something was sent
    /// to it.
    pub message_timeout_ns: u64,
    /// Nanoseconds to wait for a new leader once the old one is gone. `None` for twice the heartbeat timeout
    /// that the cluster names when it opens the session, 20 s by default. As long as an operator needs, where
    /// a standby is to be activated by hand.
    pub new_leader_timeout_ns: Option<u64>,
    /// A keep-alive is sent when nothing else was for this long, in nanoseconds. A session that is silent for
    /// 10 s is closed by default. `None` leaves it to the caller, as Java does.
    pub keep_alive_interval_ns: Option<u64>,
    /// Decides session and correlation ids: a run with the same seed and input does the same. Two clients of
    /// a cluster should not share one.
    pub seed: u64,
}

impl ClusterClientConfig {
    /// Aeron's default for the ingress stream.
    pub const INGRESS_STREAM_ID: i32 = 101;
    /// Aeron's default for the egress stream.
    pub const EGRESS_STREAM_ID: i32 = 102;
    /// One mebibyte: messages of up to 128 KiB.
    pub const INGRESS_TERM_LENGTH: i32 = 1024 * 1024;
    /// Aeron's default for how long connecting may take, in nanoseconds.
    pub const MESSAGE_TIMEOUT_NS: u64 = 5_000_000_000;
    /// Often enough for a session timeout of 2 s, in nanoseconds.
    pub const KEEP_ALIVE_INTERVAL_NS: u64 = 1_000_000_000;

    /// Defaults for a cluster that answers to `egress_channel`.
    pub fn new(ingress_endpoints: IngressEndpoints, egress_channel: String, seed: u64) -> Self {
        Self {
            ingress_endpoints,
            ingress_stream_id: Self::INGRESS_STREAM_ID,
            ingress_term_length: Self::INGRESS_TERM_LENGTH,
            ingress_mtu: PublicationParams::MTU,
            egress_channel,
            egress_stream_id: Self::EGRESS_STREAM_ID,
            egress_window_length: SubscriptionParams::RECEIVE_WINDOW_LENGTH,
            egress_message_length_max: MESSAGE_LENGTH_MAX,
            credentials: Credentials::None,
            client_name: "standby-node".to_owned(),
            message_timeout_ns: Self::MESSAGE_TIMEOUT_NS,
            new_leader_timeout_ns: None,
            keep_alive_interval_ns: Some(Self::KEEP_ALIVE_INTERVAL_NS),
            seed,
        }
    }

    /// The longest payload that can be offered, in bytes.
    pub(super) fn message_length_max(&self) -> usize {
        let length_max = TermLength::new(self.ingress_term_length).map_or(0, TermLength::message_length_max);
        length_max.saturating_sub(SESSION_HEADER_LENGTH)
    }

    pub(super) fn publication_params(&self) -> PublicationParams {
        PublicationParams {
            term_length: self.ingress_term_length,
            mtu: self.ingress_mtu,
            ..PublicationParams::new(0, self.ingress_stream_id)
        }
    }

    pub(super) fn check(&self) -> Result<(), ClusterClientConfigError> {
        use ClusterClientConfigError as Error;
        if self.ingress_endpoints.iter().next().is_none() {
            return Err(Error::NoIngressEndpoints);
        }
        self.publication_params().check().map_err(Error::BadIngress)?;
        let channel = ChannelUri::parse(&self.egress_channel)?;
        let port = channel.required_endpoint()?.port;
        if channel.is_spy || channel.media != Media::Udp || port == 0 {
            return Err(Error::BadEgressChannel { channel: self.egress_channel.clone() });
        }
        if self.egress_window_length < WINDOW_LENGTH_MIN {
            return Err(Error::EgressWindowTooShort { length: self.egress_window_length });
        }
        if self.egress_message_length_max > MESSAGE_LENGTH_MAX {
            return Err(Error::EgressMessageTooLong { length: self.egress_message_length_max });
        }
        Ok(())
    }
}

/// What a subscription needs at least, in bytes.
const WINDOW_LENGTH_MIN: i32 = 4096;

/// Why a client cannot be made.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ClusterClientConfigError {
    /// No member is named.
    #[error("no ingress endpoint is named; expected e.g. `0=10.0.0.1:9002,1=10.0.0.2:9002`")]
    NoIngressEndpoints,
    /// The term length or the MTU is none.
    #[error("the ingress cannot be made: {0}; terms are powers of two from 64 KiB, MTUs multiples of 32")]
    BadIngress(Reject),
    /// The egress channel cannot be read.
    #[error("the egress channel is wrong: {0}")]
    UnreadableEgressChannel(#[from] ChannelError),
    /// The egress channel is none that the cluster could send to.
    #[error("`{channel}` is no channel to answer to; expected `aeron:udp?endpoint=host:port`, with a port")]
    BadEgressChannel {
        /// The channel.
        channel: String,
    },
    /// The window is shorter than a subscription needs.
    #[error("an egress window of {length} bytes is too short; at least {WINDOW_LENGTH_MIN} are needed")]
    EgressWindowTooShort {
        /// The length, in bytes.
        length: i32,
    },
    /// The bound is beyond the longest message of any stream.
    #[error("egress messages of {length} bytes do not exist; the longest have {MESSAGE_LENGTH_MAX}")]
    EgressMessageTooLong {
        /// The bound, in bytes.
        length: usize,
    },
}
