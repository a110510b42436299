//! Whose requests are heard at all: networks, by the address that a datagram came from.
//!
//! Addresses of datagrams can be forged, so a list of them keeps honest strangers out and nobody else; it is for
//! networks in which addresses mean something. What a peer must know is
//! [`Authenticator`](crate::authentication::Authenticator)'s to say.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// Networks whose addresses may ask. Empty: all.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AllowList(Vec<Network>);

impl AllowList {
    /// A list of these networks; of none, every address is allowed.
    pub fn new(networks: Vec<Network>) -> Self {
        Self(networks)
    }

    /// Whether a datagram from there may be answered.
    pub fn allows(&self, from: SocketAddr) -> bool {
        self.0.is_empty() || self.0.iter().any(|network| network.contains(from.ip()))
    }
}

/// One address, or all that share its first bits: `10.1.0.0/16`, `fd00::/8`, `192.0.2.7`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Network {
    address: IpAddr,
    prefix_length: u8,
}

/// A text that is no network.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("\"{0}\" is no network: write an address or address/bits, e.g. 10.1.0.0/16, fd00::/8 or 192.0.2.7")]
pub struct NetworkError(String);

impl Network {
    /// Whether an address is of this network. An IPv4 address that came over an IPv6 socket counts as itself.
    pub fn contains(&self, address: IpAddr) -> bool {
        let shared = |bits: u32, a: u128, b: u128| {
            // Shifting by all bits of a type overflows, and no bits need be shared then.
            u32::from(self.prefix_length) == 0 || (a ^ b) >> (bits - u32::from(self.prefix_length)) == 0
        };
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                shared(32, u128::from(own.to_bits()), u128::from(other.to_bits()))
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => shared(128, own.to_bits(), other.to_bits()),
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let error = || NetworkError(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.trim().parse().map_err(|_| error())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix_length = match bits {
            Some(bits) => bits.trim().parse().ok().filter(|bits| *bits <= longest).ok_or_else(error)?,
            None => longest,
        };
        Ok(Self { address, prefix_length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(networks: &[&str], address: &str) -> bool {
        let networks = networks.iter().map(|text| text.parse().unwrap()).collect();
        AllowList::new(networks).allows(SocketAddr::new(address.parse().unwrap(), 9))
    }

    #[test]
    fn a_network_holds_the_addresses_that_share_its_prefix() {
        assert!(allows(&["10.1.0.0/16"], "10.1.255.255"));
        assert!(!allows(&["10.1.0.0/16"], "10.2.0.0"));
        assert!(allows(&["10.1.0.0/16", "192.0.2.7"], "192.0.2.7"));
        assert!(!allows(&["192.0.2.7"], "192.0.2.6"));
        assert!(allows(&["fd00::/8"], "fdff::1"));
        assert!(!allows(&["fd00::/8"], "fe00::1"));
        assert!(allows(&["0.0.0.0/0"], "203.0.113.9"));
        assert!(!allows(&["0.0.0.0/0"], "fd00::1"), "one family says nothing of the other");
    }

    #[test]
    fn an_address_of_an_older_family_counts_as_itself_on_a_newer_socket() {
        assert!(allows(&["10.0.0.0/8"], "::ffff:10.9.8.7"));
        assert!(!allows(&["10.0.0.0/8"], "::ffff:11.9.8.7"));
    }

    #[test]
    fn a_list_of_nothing_allows_everybody() {
        assert!(allows(&[], "203.0.113.9"));
    }

    #[test]
    fn a_text_that_is_no_network_is_named_with_what_would_be_one() {
        for text in ["", "localhost", "10.0.0.0/33", "10.0.0.0/-1", "fd00::/129", "10.0.0.0/8/8"] {
            let message = text.parse::<Network>().unwrap_err().to_string();
            assert!(message.contains(text) && message.contains("10.1.0.0/16"), "{message}");
        }
    }
}
