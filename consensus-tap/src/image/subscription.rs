use super::NakSettings;
use crate::transport::SlabKey;

/// Names a subscription of an endpoint.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SubscriptionId(pub(crate) SlabKey);

/// What a subscription wants.
#[derive(Clone, Copy, Debug)]
pub struct SubscriptionParams {
    /// The stream.
    pub stream_id: i32,
    /// The only session that is wanted; `None` for all.
    pub session_id: Option<i32>,
    /// How many bytes a sender may be ahead of what arrived in order; at most three eighths of a term are used. A
    /// sender whose MTU is larger is refused. At least 4096.
    pub receive_window_length: i32,
    /// When to ask for what is missing.
    pub nak: NakSettings,
}

impl SubscriptionParams {
    /// Aeron's default window.
    pub const RECEIVE_WINDOW_LENGTH: i32 = 128 * 1024;

    /// All sessions of a stream, with default settings.
    pub fn new(stream_id: i32) -> Self {
        Self {
            stream_id,
            session_id: None,
            receive_window_length: Self::RECEIVE_WINDOW_LENGTH,
            nak: NakSettings::default(),
        }
    }

    /// One session of a stream, with default settings.
    pub fn of_session(stream_id: i32, session_id: i32) -> Self {
        Self { session_id: Some(session_id), ..Self::new(stream_id) }
    }
}

/// Names an image. Two images of the same session, one after the other, have different keys.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ImageKey {
    /// The subscription that it belongs to.
    pub subscription: SubscriptionId,
    /// The stream.
    pub stream_id: i32,
    /// The publication at the other end.
    pub session_id: i32,
    /// Counts the images of an endpoint.
    pub generation: u32,
}

/// Takes the bytes of images, in order.
pub trait ImageSink {
    /// Takes contiguous whole frames of an image that begin at `position`.
    ///
    /// `frames` holds one or more frames, each padded to 32 bytes, as they came from the sender. A PAD
    /// frame comes as its 32-byte header only, and last; the next call's position is then behind the
    /// whole padding ([`crate::wire::Frames::walked_length`] accounts for it). The first call for an image
    /// begins at its join position, each next one where the last ended. Nothing comes before the image's
    /// `ImageAvailable` event was polled.
    ///
    /// # Errors
    /// [`Refused`] stops the image for good: no further call, and an `ImageUnavailable` event.
    fn append(&mut self, image: ImageKey, position: i64, frames: &[u8]) -> Result<(), Refused>;

    /// Where the sink stopped to consume what it takes, if it did: the sender is then told of no position behind
    /// that, and so sends at most a window more.
    fn held_at(&self, _image: ImageKey) -> Option<i64> {
        None
    }
}

/// The sink does not want the image any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refused;

/// Why an image ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum UnavailableReason {
    /// The sender closed the stream, and everything up to its end was delivered.
    EndOfStream,
    /// The sender revoked the stream; what is missing will not come.
    Revoked,
    /// The sender was silent for 10 s.
    TimedOut,
    /// The sink refused the image.
    Refused,
    /// The subscription was removed.
    Closed,
}

impl UnavailableReason {
    /// In words.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::EndOfStream => "the sender closed it",
            Self::Revoked => "the sender revoked it",
            Self::TimedOut => "the sender fell silent",
            Self::Refused => "we refused it",
            Self::Closed => "we closed it",
        }
    }
}
