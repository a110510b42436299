//! Typed parameters of a channel, with the defaults of Aeron's media driver.

use super::{ChannelError, ChannelUri, HostPort, Media, key};

/// How a channel finds its destinations.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ControlMode {
    /// From the status messages that arrive.
    Dynamic,
    /// By command.
    Manual,
    /// From the request's channel.
    Response,
}

/// Whether receivers are many.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Group {
    /// As the address and the SETUP frame tell.
    Infer,
    /// Yes.
    ForceTrue,
    /// No.
    ForceFalse,
}

/// What a channel's `session-id` names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SessionIdParam {
    /// The session itself.
    Id(i32),
    /// The session of the publication with this tag.
    Tag(i64),
}

/// Where a publication starts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StartingPosition {
    /// First term of the stream.
    pub initial_term_id: i32,
    /// Term to start in, not before `initial_term_id`.
    pub term_id: i32,
    /// Offset in that term, a multiple of 32.
    pub term_offset: i32,
}

/// Every getter that returns a `Result` fails with [`ChannelError::BadValue`] (or
/// [`ChannelError::BadAddress`]), which names the key, its value and what would be right.
impl ChannelUri {
    /// Where to send, or what to bind and receive on.
    ///
    /// # Errors
    /// See [`ChannelUri`]'s getters.
    pub fn endpoint(&self) -> Result<Option<HostPort>, ChannelError> {
        self.address(key::ENDPOINT)
    }

    /// As [`Self::endpoint`], where there must be one.
    ///
    /// # Errors
    /// See [`ChannelUri`]'s getters, and [`ChannelError::Missing`].
    pub fn required_endpoint(&self) -> Result<HostPort, ChannelError> {
        self.endpoint()?.ok_or_else(|| ChannelError::Missing {
            channel: self.to_string(),
            key: key::ENDPOINT,
            expected: "`endpoint=host:port`",
        })
    }

    /// The control address of a multi-destination or response channel.
    ///
    /// # Errors
    /// See [`ChannelUri`]'s getters.
    pub fn control(&self) -> Result<Option<HostPort>, ChannelError> {
        self.address(key::CONTROL)
    }

    /// How destinations are found; `None` for the one endpoint.
    ///
    /// # Errors
    /// See [`ChannelUri`]'s getters.
    pub fn control_mode(&self) -> Result<Option<ControlMode>, ChannelError> {
        self.read(key::CONTROL_MODE, "`dynamic`, `manual` or `response`", |value| match value {
            "dynamic" => Some(ControlMode::Dynamic),
            "manual" => Some(ControlMode::Manual),
            "response" => Some(ControlMode::Response),
            _ => None,
        })
    }

    /// The session to use or to listen to; `None` for any.
    ///
    /// # Errors
    /// See [`ChannelUri`]'s getters.
    pub fn session_id(&self) -> Result<Option<SessionIdParam>, ChannelError> {
        self.read(key::SESSION_ID, "a whole number of 32 bits, or `tag:` and a number", |value| {
            match value.strip_prefix("tag:") {
                Some(tag) => tag.parse().ok().map(SessionIdParam::Tag),
                None => value.parse().ok().map(SessionIdParam::Id),
            }
        })
    }

    /// The stream that the channel is meant for; `None` for any.
    ///
    /// # Errors
    /// See [`ChannelUri`]'s getters.
    pub fn stream_id(&self) -> Result<Option<i32>, ChannelError> {
        self.read(key::STREAM_ID, "a whole number of 32 bits", |value| value.parse().ok())
    }

    /// Where a publication starts; `None` for a fresh stream.
    ///
    /// # Errors
    /// See [`ChannelUri`]'s getters, and [`ChannelError::Missing`] when one or two of the three are there.
    pub fn starting_position(&self) -> Result<Option<StartingPosition>, ChannelError> {
        const KEYS: [&str; 3] = [key::INITIAL_TERM_ID, key::TERM_ID, key::TERM_OFFSET];
        if KEYS.iter().all(|key| self.get(key).is_none()) {
            return Ok(None);
        }
        let required = |key, expected, accept: fn(i32) -> bool| {
            self.read(key, expected, |value| value.parse().ok().filter(|value| accept(*value)))?.ok_or_else(
                || ChannelError::Missing {
                    channel: self.to_string(),
                    key,
                    expected: "all three of `init-term-id`, `term-id` and `term-offset`, or none",
                },
            )
        };
        let initial_term_id = required(KEYS[0], "a whole number of 32 bits", |_| true)?;
        let term_id = required(KEYS[1], "a whole number of 32 bits", |_| true)?;
        let term_offset = required(KEYS[2], "a multiple of 32 from 0 to 1073741824", |offset| {
            (0..=TERM_LENGTH_MAX).contains(&offset) && offset % FRAME_ALIGNMENT == 0
        })?;
        if term_id.wrapping_sub(initial_term_id) < 0 {
            return Err(ChannelError::BadValue {
                key: key::TERM_ID,
                value: term_id.to_string(),
                expected: "a term that is not before `init-term-id`",
            });
        }
        Ok(Some(StartingPosition { initial_term_id, term_id, term_offset }))
    }

    /// Bytes of a term: 16 MiB for UDP, 64 MiB for IPC by default.
    ///
    /// # Errors
    /// See [`ChannelUri`]'s getters.
    pub fn term_length(&self) -> Result<i32, ChannelError> {
        let default = match self.media {
            Media::Udp => 16 << 20,
            Media::Ipc => 64 << 20,
        };
        let length = self.size(key::TERM_LENGTH, "a power of two from 64k to 1g", |length| {
            length.is_power_of_two() && (64 << 10..=1 << 30).contains(&length)
        })?;
        Ok(length.unwrap_or(default))
    }

    /// Bytes of the largest frame: 1408 by default.
    ///
    /// # Errors
    /// See [`ChannelUri`]'s getters.
    pub fn mtu(&self) -> Result<i32, ChannelError> {
        let mtu = self.size(key::MTU, "a multiple of 32 from 64 to 65504", |mtu| {
            (64..=65_504).contains(&mtu) && mtu % 32 == 0
        })?;
        Ok(mtu.unwrap_or(1408))
    }

    /// Bytes that a publication may be ahead of its slowest consumer; `None` for half a term.
    ///
    /// # Errors
    /// See [`ChannelUri`]'s getters.
    pub fn publication_window(&self) -> Result<Option<i32>, ChannelError> {
        self.size(key::PUBLICATION_WINDOW, "a size from 1 to 1g", |length| (1..=1 << 30).contains(&length))
    }

    /// Nanoseconds that a publication outlives its last message: 5 s by default.
    ///
    /// # Errors
    /// See [`ChannelUri`]'s getters.
    pub fn linger_ns(&self) -> Result<u64, ChannelError> {
        Ok(self.duration(key::LINGER)?.unwrap_or(5_000_000_000))
    }

    /// Nanoseconds that a gap may fill itself before it is reported; `None` for the driver's own.
    ///
    /// # Errors
    /// See [`ChannelUri`]'s getters.
    pub fn nak_delay_ns(&self) -> Result<Option<u64>, ChannelError> {
        self.duration(key::NAK_DELAY)
    }

    /// Bytes of the window that a receiver offers: 128 KiB by default; half a term caps it.
    ///
    /// # Errors
    /// See [`ChannelUri`]'s getters.
    pub fn receiver_window(&self) -> Result<i32, ChannelError> {
        let window =
            self.size(key::RECEIVER_WINDOW, "a size from 1 to 1g", |length| (1..=1 << 30).contains(&length))?;
        Ok(window.unwrap_or(128 << 10))
    }

    /// Bytes of the socket's receive buffer: 128 KiB by default; 0 leaves it to the system.
    ///
    /// # Errors
    /// See [`ChannelUri`]'s getters.
    pub fn so_rcvbuf(&self) -> Result<i32, ChannelError> {
        Ok(self.size(key::SO_RCVBUF, "a size up to 1g", |length| length <= 1 << 30)?.unwrap_or(128 << 10))
    }

    /// Bytes of the socket's send buffer; `None` leaves it to the system.
    ///
    /// # Errors
    /// See [`ChannelUri`]'s getters.
    pub fn so_sndbuf(&self) -> Result<Option<i32>, ChannelError> {
        self.size(key::SO_SNDBUF, "a size up to 1g", |length| length <= 1 << 30)
    }

    /// Multicast time to live; `None` for the system's.
    ///
    /// # Errors
    /// See [`ChannelUri`]'s getters.
    pub fn ttl(&self) -> Result<Option<u8>, ChannelError> {
        self.read(key::TTL, "a number from 0 to 255", |value| value.parse().ok())
    }

    /// Tag that a receiver sends for group flow control.
    ///
    /// # Errors
    /// See [`ChannelUri`]'s getters.
    pub fn group_tag(&self) -> Result<Option<i64>, ChannelError> {
        self.read(key::GROUP_TAG, "a whole number of 64 bits", |value| value.parse().ok())
    }

    /// Whether receivers are many. Anything but `true` and `infer` is no.
    pub fn group(&self) -> Group {
        match self.get(key::GROUP) {
            None | Some("infer") => Group::Infer,
            Some("true") => Group::ForceTrue,
            Some(_) => Group::ForceFalse,
        }
    }

    /// Whether the end of the stream is told: yes by default.
    pub fn eos(&self) -> bool {
        self.flag(key::EOS, true)
    }

    /// Whether losses are repaired: yes by default.
    pub fn reliable(&self) -> bool {
        self.flag(key::RELIABLE, true)
    }

    /// Whether a stream may come back after it ended: yes by default.
    pub fn rejoin(&self) -> bool {
        self.flag(key::REJOIN, true)
    }

    /// Whether a slow subscriber holds the stream back: yes by default.
    pub fn tether(&self) -> bool {
        self.flag(key::TETHER, true)
    }

    /// Whether log buffers are sparse files: yes by default.
    pub fn sparse(&self) -> bool {
        self.flag(key::SPARSE, true)
    }

    /// Whether spies count as connected subscribers: no by default.
    pub fn spies_simulate_connection(&self) -> bool {
        self.flag(key::SPIES_SIMULATE_CONNECTION, false)
    }

    /// Exactly `true` is true, as in Aeron.
    fn flag(&self, key: &str, default: bool) -> bool {
        self.get(key).map_or(default, |value| value == "true")
    }

    fn address(&self, key: &'static str) -> Result<Option<HostPort>, ChannelError> {
        let parse = |value: &str| value.parse().map_err(|source| ChannelError::BadAddress { key, source });
        self.get(key).map(parse).transpose()
    }

    fn duration(&self, key: &'static str) -> Result<Option<u64>, ChannelError> {
        self.read(key, "a duration such as 200ms: a number and ns, us, ms or s", parse_duration_ns)
    }

    fn size(
        &self,
        key: &'static str,
        expected: &'static str,
        accept: impl Fn(u64) -> bool,
    ) -> Result<Option<i32>, ChannelError> {
        self.read(key, expected, |value| {
            parse_size(value).filter(|size| accept(*size)).and_then(|size| i32::try_from(size).ok())
        })
    }

    fn read<T>(
        &self,
        key: &'static str,
        expected: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, ChannelError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match parse(value) {
            Some(parsed) => Ok(Some(parsed)),
            None => Err(ChannelError::BadValue { key, value: value.to_owned(), expected }),
        }
    }
}

/// Bytes of a size such as `64k`: suffixes k, m and g of either case. `None` if it is none, or too large.
pub fn parse_size(text: &str) -> Option<u64> {
    let (number, shift) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 10),
        b'm' | b'M' => (&text[..text.len() - 1], 20),
        b'g' | b'G' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    parse_digits(number)?.checked_mul(1 << shift)
}

/// Nanoseconds of a duration such as `200ms`: suffixes ns, us, ms and s of either case, and none for
/// nanoseconds. `None` if it is none, or too large.
pub fn parse_duration_ns(text: &str) -> Option<u64> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit_ns = match text[number.len()..].to_ascii_lowercase().as_str() {
        "" | "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        _ => return None,
    };
    parse_digits(number)?.checked_mul(unit_ns)
}

const FRAME_ALIGNMENT: i32 = 32;
const TERM_LENGTH_MAX: i32 = 1 << 30;

/// `str::parse` alone would take a sign.
fn parse_digits(text: &str) -> Option<u64> {
    if !text.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}
