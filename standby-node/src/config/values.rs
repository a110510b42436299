//! Types of configured values: how each is written, and what is said when it is not.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use consensus_tap::channel::HostPort;
use consensus_tap::codec::message::SemanticVersion;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::store::SyncLevel;

/// A time, written like `200ms`, `5s` or `1m`; at most a year, so that no sum with a clock can wrap.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
pub struct Span(pub Duration);

/// A number of bytes, written like `65536`, `128k`, `2m` or `1g`; in a file also as a plain number.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "SizeText")]
pub struct Size(pub u64);

/// How recorded bytes reach the disk, written as Aeron's number.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "i64")]
pub struct FileSyncLevel(pub SyncLevel);

/// A secret: never printed.
#[derive(Clone, Deserialize, Eq, PartialEq)]
#[serde(transparent)]
pub struct Credential(pub String);

/// An endpoint that a cluster names, and the one that reaches it from here.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
pub struct EndpointMapping {
    /// As members name it.
    pub named: HostPort,
    /// As it is reached.
    pub reached: HostPort,
}

/// A version, written like `1.2.3`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
pub struct AppVersion(pub SemanticVersion);

/// Which agent runs on which thread.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Receiver and each service spin on threads of their own, the conductor has a third.
    Dedicated,
    /// All of them take turns on one thread.
    Shared,
}

/// Reads a value that a file writes as it is written as a flag.
pub(super) fn as_flag<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(D::Error::custom)
}

/// A value that does not read: what it was, and what would be right.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("\"{text}\" is not {expected}")]
pub struct ValueError {
    text: String,
    expected: &'static str,
}

impl ValueError {
    fn new(text: &str, expected: &'static str) -> Self {
        Self { text: text.to_owned(), expected }
    }
}

impl Span {
    /// The longest time: 365 days.
    pub const MAX: Self = Self(Duration::from_secs(365 * 24 * 60 * 60));

    /// In nanoseconds, at most those of a year where it was written as text.
    pub fn as_nanos(self) -> u64 {
        u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX)
    }
}

impl FromStr for Span {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match humantime::parse_duration(text) {
            Ok(duration) if duration > Self::MAX.0 => Err(ValueError::new(text, "a time up to 365d")),
            Ok(duration) if !duration.is_zero() => Ok(Self(duration)),
            _ => Err(ValueError::new(text, "a time: write a number and ns, us, ms, s, m or h, e.g. 500ms")),
        }
    }
}

impl TryFrom<String> for Span {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        text.parse()
    }
}

impl FromStr for Size {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let error = || ValueError::new(text, "a size: write bytes, or a number and k, m or g, e.g. 128k");
        let (digits, factor) = match text.as_bytes().last().map(u8::to_ascii_lowercase) {
            Some(b'k') => (&text[..text.len() - 1], 1 << 10),
            Some(b'm') => (&text[..text.len() - 1], 1 << 20),
            Some(b'g') => (&text[..text.len() - 1], 1 << 30),
            _ => (text, 1),
        };
        let number: u64 = digits.parse().map_err(|_| error())?;
        number.checked_mul(factor).map(Self).ok_or_else(error)
    }
}

/// A size as a file may write it.
#[derive(Deserialize)]
#[serde(untagged)]
enum SizeText {
    Number(u64),
    Text(String),
}

impl TryFrom<SizeText> for Size {
    type Error = ValueError;

    fn try_from(text: SizeText) -> Result<Self, ValueError> {
        match text {
            SizeText::Number(number) => Ok(Self(number)),
            SizeText::Text(text) => text.parse(),
        }
    }
}

impl FromStr for FileSyncLevel {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let level = text.parse().ok().and_then(SyncLevel::from_number);
        level.map(Self).ok_or_else(|| ValueError::new(text, "a file sync level: write 0, 1 or 2"))
    }
}

impl TryFrom<i64> for FileSyncLevel {
    type Error = ValueError;

    fn try_from(number: i64) -> Result<Self, ValueError> {
        number.to_string().parse()
    }
}

impl FromStr for Credential {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(…)")
    }
}

impl FromStr for EndpointMapping {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let error = || ValueError::new(text, "an endpoint mapping: write named-host:port=reached-host:port");
        let (named, reached) = text.split_once('=').ok_or_else(error)?;
        Ok(Self {
            named: named.parse().map_err(|_| error())?,
            reached: reached.parse().map_err(|_| error())?,
        })
    }
}

impl TryFrom<String> for EndpointMapping {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        text.parse()
    }
}

impl FromStr for AppVersion {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let parts: Option<Vec<u8>> = text.split('.').map(|part| part.parse().ok()).collect();
        match parts.as_deref() {
            Some(&[major, minor, patch]) => Ok(Self(SemanticVersion::new(major, minor, patch))),
            _ => Err(ValueError::new(text, "a version: write three numbers up to 255, e.g. 0.0.1")),
        }
    }
}

impl TryFrom<String> for AppVersion {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        text.parse()
    }
}

impl FromStr for Layout {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "dedicated" => Ok(Self::Dedicated),
            "shared" => Ok(Self::Shared),
            _ => Err(ValueError::new(text, "a thread layout: write dedicated or shared")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_suffixes_and_refuse_the_rest() {
        assert_eq!("128k".parse(), Ok(Size(131_072)));
        assert_eq!("2M".parse(), Ok(Size(2 << 20)));
        assert_eq!("64".parse(), Ok(Size(64)));
        for wrong in ["", "k", "-1", "1.5m", "99999999999g", "1kb"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_need_a_unit() {
        assert_eq!("200ms".parse(), Ok(Span(Duration::from_millis(200))));
        assert!("200".parse::<Span>().is_err());
        assert!("0s".parse::<Span>().is_err());
    }

    #[test]
    fn a_time_that_a_clock_could_not_hold_is_refused() {
        assert_eq!("365d".parse(), Ok(Span::MAX));
        for wrong in ["366d", "1000y", "18446744073709551615s"] {
            assert!(wrong.parse::<Span>().is_err(), "{wrong}");
        }
        let far = Span::MAX.as_nanos() * 3;
        assert!(far.checked_add(i64::MAX as u64).is_some(), "three of them and a clock do not wrap");
    }

    #[test]
    fn a_file_sync_level_is_one_of_three_by_flag_and_by_file() {
        assert_eq!("2".parse(), Ok(FileSyncLevel(SyncLevel::All)));
        assert_eq!(FileSyncLevel::try_from(0), Ok(FileSyncLevel(SyncLevel::None)));
        for wrong in [-1, 3, 7, 256, i64::MAX] {
            assert!(FileSyncLevel::try_from(wrong).is_err(), "{wrong}");
            assert!(wrong.to_string().parse::<FileSyncLevel>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn versions_have_three_numbers() {
        assert_eq!("1.2.3".parse(), Ok(AppVersion(SemanticVersion::new(1, 2, 3))));
        for wrong in ["1.2", "1.2.3.4", "1.2.256", "a.b.c", ""] {
            assert!(wrong.parse::<AppVersion>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_credential_is_not_printed() {
        assert!(!format!("{:?}", Credential("secret".to_owned())).contains("secret"));
    }

    #[test]
    fn an_endpoint_mapping_is_two_endpoints() {
        let mapping: EndpointMapping = "a:1=b:2".parse().unwrap();
        assert_eq!((mapping.named.to_string(), mapping.reached.to_string()), ("a:1".into(), "b:2".into()));
        assert!("a:1".parse::<EndpointMapping>().is_err());
        assert!("a=b".parse::<EndpointMapping>().is_err());
    }
}
