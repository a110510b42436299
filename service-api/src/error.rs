//! What goes wrong, in words that an operator can act on.

use std::borrow::Cow;
use std::fmt;

use crate::ClusterSessionId;

/// A failure that stops a service: a snapshot that cannot be read, a state that cannot go on.
///
/// The runtime logs the message, leaves the service where it is and applies nothing more to it. Write the
/// message for the operator: what was expected, what was found, what to do next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServiceError {
    message: Cow<'static, str>,
}

impl ServiceError {
    /// An error with this message.
    pub fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self { message: message.into() }
    }

    /// The message as it was given.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ServiceError {}

impl From<&'static str> for ServiceError {
    fn from(message: &'static str) -> Self {
        Self::new(message)
    }
}

impl From<String> for ServiceError {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

impl From<ClusterError> for ServiceError {
    fn from(error: ClusterError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<std::io::Error> for ServiceError {
    fn from(error: std::io::Error) -> Self {
        Self::new(error.to_string())
    }
}

/// Which callback of a service is running, as far as the rules of [`Cluster`](crate::Cluster) care.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Callback {
    /// One that an event of the log caused. Everything is allowed.
    LogEvent,
    /// `on_start`
    Start,
    /// `on_take_snapshot` or `freeze`
    TakeSnapshot,
    /// `on_role_change`
    RoleChange,
    /// `on_terminate`
    Terminate,
    /// `do_background_work`
    BackgroundWork,
}

impl fmt::Display for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LogEvent => "a log event",
            Self::Start => "on_start",
            Self::TakeSnapshot => "on_take_snapshot",
            Self::RoleChange => "on_role_change",
            Self::Terminate => "on_terminate",
            Self::BackgroundWork => "do_background_work",
        })
    }
}

/// Why the cluster did not take a request of a service.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClusterError {
    /// The running callback is not caused by an event of the log, so nodes would not all make this request.
    NotAllowed(Callback),
    /// No open session has this id.
    UnknownSession(ClusterSessionId),
    /// `i64::MAX` is reserved as a correlation id and as a deadline.
    ReservedValue,
    /// Longer than one message of the log may be: nothing was offered. All nodes of ours refuse the same; Java members
    /// refuse much shorter ones, see [`Cluster::offer`](crate::Cluster::offer).
    TooLong {
        /// Of the message, in bytes.
        length: usize,
        /// That would have been accepted, in bytes.
        length_max: usize,
    },
    /// What the service emitted and the cluster has not taken yet has reached its limit. The service is
    /// stopped after this callback: it cannot go on without the request that was lost.
    EmissionsFull,
}

impl fmt::Display for ClusterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAllowed(callback) => {
                write!(f, "sending messages or scheduling timers is not allowed from {callback}")
            }
            Self::UnknownSession(id) => write!(f, "no open session has the id {id}"),
            Self::ReservedValue => {
                f.write_str("i64::MAX is reserved: choose another correlation id or deadline")
            }
            Self::TooLong { length, length_max } => {
                write!(f, "the message has {length} bytes, at most {length_max} fit into the log")
            }
            Self::EmissionsFull => f.write_str(
                "the service emitted more than its buffer may hold: it emits faster than the cluster takes",
            ),
        }
    }
}

impl std::error::Error for ClusterError {}

/// Why a message did not go to a client. Only a leader sees anything but `NotAllowed`, `ClaimOpen` and
/// `TooLong`; none of them may change the service's state, or the nodes would differ.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OfferError {
    /// The client's response channel has no receiver at the moment.
    NotConnected,
    /// The client does not keep up: [`Cluster::idle`](crate::Cluster::idle) and retry, or drop the message.
    BackPressured,
    /// The response channel is closed for good.
    Closed,
    /// Longer than one message of the response channel may be.
    TooLong {
        /// Of the message, in bytes.
        length: usize,
        /// That would have been accepted, in bytes.
        length_max: usize,
    },
    /// The running callback is not caused by an event of the log.
    NotAllowed(Callback),
    /// A [`Claim`](crate::Claim) is still open: commit or drop it first.
    ClaimOpen,
}

impl fmt::Display for OfferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConnected => f.write_str("the client is not connected"),
            Self::BackPressured => f.write_str("the client does not keep up"),
            Self::Closed => f.write_str("the response channel is closed"),
            Self::TooLong { length, length_max } => {
                write!(f, "the message has {length} bytes, at most {length_max} fit")
            }
            Self::NotAllowed(callback) => write!(f, "replying is not allowed from {callback}"),
            Self::ClaimOpen => f.write_str("a claim is still open: commit or drop it first"),
        }
    }
}

impl std::error::Error for OfferError {}
