//! RES: name resolution gossip between media drivers. Read for the sake of logs; never sent.
//!
//! ```text
//!  entry, aligned to 8, several may follow the frame header:
//!   0      1       2      4       8                      8 + 4 or 16
//!  | type | flags | port | age ms | IPv4 or IPv6 address | i16 name length | name …
//! ```
//! Same bytes as `aeron_resolution_header_t`.

use super::{FRAME_HEADER_LENGTH, FrameType, Reject, fixed_part};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Flag of an entry: the sender speaks of itself.
pub const SELF: u8 = 0x80;

const ENTRY_HEADER_LENGTH: usize = 8;
const ENTRY_ALIGNMENT: usize = 8;
const NAME_LENGTH_MAX: usize = 512;
const TYPE_IPV4: u8 = 1;
const TYPE_IPV6: u8 = 2;

/// A resolution frame.
#[derive(Clone, Copy, Debug)]
pub struct ResolutionFrame<'a> {
    entries: &'a [u8],
}

impl<'a> ResolutionFrame<'a> {
    /// Reads a datagram. The entries are read when they are walked.
    ///
    /// # Errors
    /// When the version, type or length is not a resolution frame's.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, Reject> {
        let (_, length) = fixed_part::<FRAME_HEADER_LENGTH>(datagram, FrameType::Resolution)?;
        let entries = datagram.get(FRAME_HEADER_LENGTH..length).ok_or(Reject::BadLength)?;
        Ok(Self { entries })
    }

    /// The entries in order, up to the first that is malformed.
    pub fn entries(&self) -> impl Iterator<Item = Result<ResolutionEntry<'a>, Reject>> + use<'a> {
        let mut rest = self.entries;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let parsed = ResolutionEntry::parse(rest);
            rest = match parsed {
                Ok((_, length)) => rest.get(length.next_multiple_of(ENTRY_ALIGNMENT)..).unwrap_or(&[]),
                Err(_) => &[],
            };
            Some(parsed.map(|(entry, _)| entry))
        })
    }
}

impl fmt::Display for ResolutionFrame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RES")?;
        for entry in self.entries() {
            match entry {
                Ok(entry) => write!(f, " {}={}", entry.name.escape_ascii(), entry.address)?,
                Err(reject) => write!(f, " ({reject})")?,
            }
        }
        Ok(())
    }
}

/// A name that a driver knows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ResolutionEntry<'a> {
    /// [`SELF`].
    pub flags: u8,
    /// Where the named driver's resolver listens.
    pub address: SocketAddr,
    /// How long ago the name was heard of, in milliseconds.
    pub age_ms: i32,
    /// The name. Should be ASCII; what a peer sent is not checked.
    pub name: &'a [u8],
}

impl<'a> ResolutionEntry<'a> {
    /// The entry at the start of `bytes`, and its length without alignment.
    fn parse(bytes: &'a [u8]) -> Result<(Self, usize), Reject> {
        let (header, rest) = bytes.split_first_chunk::<ENTRY_HEADER_LENGTH>().ok_or(Reject::Truncated)?;
        let (ip, rest) = match header[0] {
            TYPE_IPV4 => {
                let (address, rest) = rest.split_first_chunk::<4>().ok_or(Reject::Truncated)?;
                (IpAddr::from(*address), rest)
            }
            TYPE_IPV6 => {
                let (address, rest) = rest.split_first_chunk::<16>().ok_or(Reject::Truncated)?;
                (IpAddr::from(*address), rest)
            }
            _ => return Err(Reject::UnknownType),
        };
        let (name_length, rest) = rest.split_first_chunk::<2>().ok_or(Reject::Truncated)?;
        let name_length = usize::try_from(i16::from_le_bytes(*name_length)).map_err(|_| Reject::BadLength)?;
        if name_length > NAME_LENGTH_MAX {
            return Err(Reject::BadLength);
        }
        let (name, rest) = rest.split_at_checked(name_length).ok_or(Reject::BadLength)?;
        let entry = Self {
            flags: header[1],
            address: SocketAddr::new(ip, super::u16_at(header, 2)),
            age_ms: super::i32_at(header, 4),
            name,
        };
        Ok((entry, bytes.len() - rest.len()))
    }
}
