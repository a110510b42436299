//! `host:port`, as channels, member lists and the configuration write addresses.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// A host and a port. An IPv6 address is written in brackets; resolving a name is the caller's business.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct HostPort {
    /// A name, an IPv4 address, or an IPv6 address without its brackets.
    pub host: String,
    /// The port; 0 lets the system choose where something is bound.
    pub port: u16,
}

impl HostPort {
    /// The address, where the host is one and not a name. A scoped IPv6 address is not.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        self.host.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, self.port))
    }

    /// The same host with another port: how a port that the system chose gets into a channel.
    #[must_use]
    pub fn with_port(&self, port: u16) -> Self {
        Self { host: self.host.clone(), port }
    }
}

impl From<SocketAddr> for HostPort {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: address.port() }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl FromStr for HostPort {
    type Err = HostPortError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = |expected| HostPortError { text: text.to_owned(), expected };
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, port) =
                    rest.split_once("]:").ok_or_else(|| bad("`]:port` behind the IPv6 address"))?;
                let address = host.split_once('%').map_or(host, |(address, _scope)| address);
                if address.parse::<std::net::Ipv6Addr>().is_err() {
                    return Err(bad("an IPv6 address between the brackets"));
                }
                (host, port)
            }
            None => {
                let (host, port) = text.rsplit_once(':').ok_or_else(|| bad("`host:port`"))?;
                if host.contains(':') {
                    return Err(bad("an IPv6 address in brackets, `[address]:port`"));
                }
                (host, port)
            }
        };
        if host.is_empty() {
            return Err(bad("a host before the `:`"));
        }
        if host.contains(|c: char| c.is_whitespace() || c.is_control() || "|,=?/[]".contains(c)) {
            return Err(bad("a host name or an address before the `:`"));
        }
        // `parse` alone would take a sign.
        if !port.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(bad("a port from 0 to 65535"));
        }
        let port = port.parse().map_err(|_| bad("a port from 0 to 65535"))?;
        Ok(Self { host: host.to_owned(), port })
    }
}

/// Why a text is not an address.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("address `{text}` cannot be read; expected {expected}")]
pub struct HostPortError {
    /// The text.
    pub text: String,
    /// What would be right.
    pub expected: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_read_and_written_back() {
        for (text, host, port) in [
            ("localhost:8010", "localhost", 8010),
            ("10.0.0.1:0", "10.0.0.1", 0),
            ("[::1]:9", "::1", 9),
            ("[fe80::1%eth0]:65535", "fe80::1%eth0", 65535),
        ] {
            let parsed: HostPort = text.parse().unwrap();
            assert_eq!((parsed.host.as_str(), parsed.port), (host, port));
            assert_eq!(parsed.to_string(), text);
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (text, expected) in [
            ("localhost", "`host:port`"),
            ("::1:9", "an IPv6 address in brackets, `[address]:port`"),
            ("[::1]", "`]:port` behind the IPv6 address"),
            ("[host]:9", "an IPv6 address between the brackets"),
            (":9", "a host before the `:`"),
            ("a b:9", "a host name or an address before the `:`"),
            ("h:", "a port from 0 to 65535"),
            ("h:+9", "a port from 0 to 65535"),
            ("h:65536", "a port from 0 to 65535"),
        ] {
            assert_eq!(text.parse::<HostPort>().unwrap_err().expected, expected, "{text}");
        }
    }

    #[test]
    fn only_an_address_becomes_a_socket_address() {
        let address = "[::1]:9".parse::<HostPort>().unwrap();
        assert_eq!(address.socket_addr(), Some("[::1]:9".parse().unwrap()));
        assert_eq!("localhost:9".parse::<HostPort>().unwrap().socket_addr(), None);
        assert_eq!(HostPort::from("[::1]:9".parse::<SocketAddr>().unwrap()), address);
        assert_eq!(address.with_port(7).to_string(), "[::1]:7");
    }
}
