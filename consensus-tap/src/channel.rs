//! Channel URIs: `aeron:udp?endpoint=host:port|session-id=7`.
//!
//! ```text
//! [aeron-spy:]aeron:(udp|ipc)[?key=value{|key=value}]        at most 4095 characters
//! ```
//! The order of parameters means nothing to Aeron but is kept here, so that what an operator wrote is what
//! a log shows. Unknown keys are kept. Sizes take a suffix k, m or g; durations take ns, us, ms or s, and a
//! bare number is nanoseconds. Same grammar as `ChannelUri` of Aeron 1.51.0; the defaults in [`ChannelUri`]'s
//! getters are those of its media driver.

mod host_port;
mod params;

pub use host_port::{HostPort, HostPortError};
pub use params::{ControlMode, Group, SessionIdParam, StartingPosition, parse_duration_ns, parse_size};

use std::fmt;
use std::str::FromStr;

/// Longest URI, in characters.
pub const URI_LENGTH_MAX: usize = 4095;

/// Names of parameters, as Aeron spells them.
pub mod key {
    /// `host:port` to send to, or to bind and receive on.
    pub const ENDPOINT: &str = "endpoint";
    /// `host:port` of the control address of a multi-destination or response channel.
    pub const CONTROL: &str = "control";
    /// How destinations are found.
    pub const CONTROL_MODE: &str = "control-mode";
    /// Local interface.
    pub const INTERFACE: &str = "interface";
    /// Multicast time to live.
    pub const TTL: &str = "ttl";
    /// Session id to use or to listen to.
    pub const SESSION_ID: &str = "session-id";
    /// Stream id, for checking only.
    pub const STREAM_ID: &str = "stream-id";
    /// First term of the stream.
    pub const INITIAL_TERM_ID: &str = "init-term-id";
    /// Term to start in.
    pub const TERM_ID: &str = "term-id";
    /// Offset in the term to start at.
    pub const TERM_OFFSET: &str = "term-offset";
    /// Bytes of a term.
    pub const TERM_LENGTH: &str = "term-length";
    /// Largest datagram.
    pub const MTU: &str = "mtu";
    /// Bytes that a publication may be ahead of its slowest consumer.
    pub const PUBLICATION_WINDOW: &str = "pub-wnd";
    /// How long a publication outlives its last message.
    pub const LINGER: &str = "linger";
    /// Whether the end of the stream is told.
    pub const EOS: &str = "eos";
    /// Whether spies count as connected subscribers.
    pub const SPIES_SIMULATE_CONNECTION: &str = "ssc";
    /// Most retransmits at a time.
    pub const MAX_RESEND: &str = "max-resend";
    /// Flow control.
    pub const FLOW_CONTROL: &str = "fc";
    /// Congestion control.
    pub const CONGESTION_CONTROL: &str = "cc";
    /// Whether log buffers are sparse files.
    pub const SPARSE: &str = "sparse";
    /// Whether losses are repaired.
    pub const RELIABLE: &str = "reliable";
    /// Whether a stream may come back after it ended.
    pub const REJOIN: &str = "rejoin";
    /// Whether a slow subscriber holds the stream back.
    pub const TETHER: &str = "tether";
    /// Whether receivers are many.
    pub const GROUP: &str = "group";
    /// Tag that a receiver sends for group flow control.
    pub const GROUP_TAG: &str = "gtag";
    /// Window that a receiver offers.
    pub const RECEIVER_WINDOW: &str = "rcv-wnd";
    /// Socket's receive buffer.
    pub const SO_RCVBUF: &str = "so-rcvbuf";
    /// Socket's send buffer.
    pub const SO_SNDBUF: &str = "so-sndbuf";
    /// How long a gap may fill itself before it is reported.
    pub const NAK_DELAY: &str = "nak-delay";
    /// Tags of the channel and of the stream.
    pub const TAGS: &str = "tags";
    /// Free text.
    pub const ALIAS: &str = "alias";
    /// What a response channel answers to.
    pub const RESPONSE_CORRELATION_ID: &str = "response-correlation-id";
    /// Carried, not interpreted.
    pub const RESPONSE_ENDPOINT: &str = "response-endpoint";
}

/// A channel: media and parameters, in the order they were given.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChannelUri {
    /// Whether the channel is a spy on a publication of the same driver.
    pub is_spy: bool,
    /// What carries it.
    pub media: Media,
    params: Vec<(String, String)>,
}

/// What carries a channel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Media {
    /// Datagrams.
    Udp,
    /// Shared memory of one media driver.
    Ipc,
}

impl ChannelUri {
    /// `aeron:udp` without parameters.
    pub const fn udp() -> Self {
        Self { is_spy: false, media: Media::Udp, params: Vec::new() }
    }

    /// `aeron:ipc` without parameters.
    pub const fn ipc() -> Self {
        Self { is_spy: false, media: Media::Ipc, params: Vec::new() }
    }

    /// Reads a URI. Of a key that is given twice, the last value counts.
    ///
    /// # Errors
    /// [`ChannelError`] names what is wrong and what would be right.
    pub fn parse(text: &str) -> Result<Self, ChannelError> {
        let length = text.chars().count();
        if length > URI_LENGTH_MAX {
            return Err(ChannelError::TooLong { length });
        }
        let (is_spy, rest) = match text.strip_prefix(SPY_PREFIX) {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let rest =
            rest.strip_prefix(AERON_PREFIX).ok_or_else(|| ChannelError::NotAeron { found: text.into() })?;
        let (media, params) = match rest.split_once('?') {
            Some((media, params)) => (media, Some(params)),
            None => (rest, None),
        };
        let media = match media {
            "udp" => Media::Udp,
            "ipc" => Media::Ipc,
            _ => return Err(ChannelError::UnknownMedia { found: media.into() }),
        };
        let mut uri = Self { is_spy, media, params: Vec::new() };
        for param in params.into_iter().flat_map(|params| params.split('|')) {
            match param.split_once('=') {
                Some((key, value)) if !key.is_empty() => uri.set(key, value.to_owned()),
                _ => return Err(ChannelError::NotKeyValue { found: param.into() }),
            }
        }
        Ok(uri)
    }

    /// The text of a parameter.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.params.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Sets a parameter: in its old place, or behind the others.
    ///
    /// # Errors
    /// [`ChannelError::Unspeakable`] when the key or the value cannot be written in a URI, and
    /// [`ChannelError::TooLong`] when the URI would be; it is then unchanged.
    pub fn put(&mut self, key: &str, value: impl fmt::Display) -> Result<&mut Self, ChannelError> {
        let value = value.to_string();
        if key.is_empty() || key.contains(['=', '|']) || value.contains('|') {
            return Err(ChannelError::Unspeakable { key: key.into(), value });
        }
        let mut changed = self.clone();
        changed.set(key, value);
        let length = changed.to_string().chars().count();
        if length > URI_LENGTH_MAX {
            return Err(ChannelError::TooLong { length });
        }
        *self = changed;
        Ok(self)
    }

    /// With a parameter set as by [`Self::put`]: for channels that a program makes up of values that it has checked.
    ///
    /// # Panics
    /// When the key or the value cannot be written in a URI, or the URI would be too long.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl fmt::Display) -> Self {
        match self.put(key, value) {
            Ok(_) => self,
            Err(error) => panic!("{error}"),
        }
    }

    /// Removes a parameter, and returns what it was.
    pub fn remove(&mut self, key: &str) -> Option<String> {
        let index = self.params.iter().position(|(name, _)| name == key)?;
        Some(self.params.remove(index).1)
    }

    /// The parameters, in order.
    pub fn params(&self) -> impl Iterator<Item = (&str, &str)> {
        self.params.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    fn set(&mut self, key: &str, value: String) {
        match self.params.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = value,
            None => self.params.push((key.to_owned(), value)),
        }
    }
}

impl FromStr for ChannelUri {
    type Err = ChannelError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for ChannelUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_spy {
            f.write_str(SPY_PREFIX)?;
        }
        f.write_str(AERON_PREFIX)?;
        f.write_str(match self.media {
            Media::Udp => "udp",
            Media::Ipc => "ipc",
        })?;
        for (index, (key, value)) in self.params.iter().enumerate() {
            let separator = if index == 0 { '?' } else { '|' };
            write!(f, "{separator}{key}={value}")?;
        }
        Ok(())
    }
}

/// Why a channel was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ChannelError {
    /// The URI is longer than Aeron takes.
    #[error("channel has {length} characters; Aeron takes at most {URI_LENGTH_MAX}")]
    TooLong {
        /// Its length in characters.
        length: usize,
    },
    /// Not an Aeron URI.
    #[error("channel `{found}` does not start with `aeron:`; expected e.g. `aeron:udp?endpoint=host:port`")]
    NotAeron {
        /// The text.
        found: String,
    },
    /// The media are not Aeron's.
    #[error("channel media `{found}` is unknown; expected `udp` or `ipc`")]
    UnknownMedia {
        /// The text.
        found: String,
    },
    /// A parameter is not `key=value`.
    #[error("channel parameter `{found}` is not `key=value`; parameters are separated by `|`")]
    NotKeyValue {
        /// The text.
        found: String,
    },
    /// A key or a value has characters that separate parameters.
    #[error(
        "channel parameter `{key}` with the value `{value}` cannot be written: no `|`, no `=` in the key"
    )]
    Unspeakable {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// A parameter that is needed is absent.
    #[error("channel `{channel}` has no `{key}`; expected {expected}")]
    Missing {
        /// The whole channel.
        channel: String,
        /// The parameter's key.
        key: &'static str,
        /// What would be right.
        expected: &'static str,
    },
    /// A parameter has a value that cannot be.
    #[error("channel parameter `{key}` is `{value}`; expected {expected}")]
    BadValue {
        /// The parameter's key.
        key: &'static str,
        /// Its text.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
    /// A parameter is not an address.
    #[error("channel parameter `{key}`: {source}")]
    BadAddress {
        /// The parameter's key.
        key: &'static str,
        /// What is wrong with it.
        source: HostPortError,
    },
}

const SPY_PREFIX: &str = "aeron-spy:";
const AERON_PREFIX: &str = "aeron:";

#[cfg(test)]
mod tests;
