//! Socket addresses as the kernel lays them out, and a memory of the last one seen.
//!
//! ```text
//!   0        2      4          8                 24         28
//!  | family | port | address  |                              AF_INET, 16 bytes, the last 8 unused
//!  | family | port | flow info| address          | scope id | AF_INET6
//! ```
//! Port and addresses are big-endian, the rest native. Same bytes as `struct sockaddr_in` and
//! `struct sockaddr_in6`, see ip(7) and ipv6(7).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// A socket address in the kernel's layout.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(C, align(8))]
pub struct RawAddress {
    bytes: [u8; ADDRESS_LENGTH_MAX],
    length: u32,
}

impl RawAddress {
    /// Lays out `address`.
    pub fn new(address: SocketAddr) -> Self {
        let mut bytes = [0; ADDRESS_LENGTH_MAX];
        bytes[PORT_OFFSET..][..2].copy_from_slice(&address.port().to_be_bytes());
        let (family, length) = match address {
            SocketAddr::V4(v4) => {
                bytes[V4_OFFSET..][..4].copy_from_slice(&v4.ip().octets());
                (libc::AF_INET, V4_LENGTH)
            }
            SocketAddr::V6(v6) => {
                bytes[FLOW_OFFSET..][..4].copy_from_slice(&v6.flowinfo().to_ne_bytes());
                bytes[V6_OFFSET..][..16].copy_from_slice(&v6.ip().octets());
                bytes[SCOPE_OFFSET..][..4].copy_from_slice(&v6.scope_id().to_ne_bytes());
                (libc::AF_INET6, ADDRESS_LENGTH_MAX)
            }
        };
        bytes[..2].copy_from_slice(&(family as u16).to_ne_bytes());
        Self { bytes, length: length as u32 }
    }

    /// The bytes to hand to a system call.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length as usize]
    }
}

/// Reads the address that the kernel wrote at the start of `bytes`; `None` for a family other than IPv4 and
/// IPv6, or when too few bytes are there.
pub fn parse_address(bytes: &[u8]) -> Option<SocketAddr> {
    let family = i32::from(u16::from_ne_bytes(array_at(bytes, 0)?));
    let port = u16::from_be_bytes(array_at(bytes, PORT_OFFSET)?);
    match family {
        libc::AF_INET => {
            let ip = Ipv4Addr::from(array_at::<4>(bytes, V4_OFFSET)?);
            Some(SocketAddr::new(IpAddr::V4(ip), port))
        }
        libc::AF_INET6 => {
            let flow = u32::from_ne_bytes(array_at(bytes, FLOW_OFFSET)?);
            let ip = Ipv6Addr::from(array_at::<16>(bytes, V6_OFFSET)?);
            let scope = u32::from_ne_bytes(array_at(bytes, SCOPE_OFFSET)?);
            Some(SocketAddr::V6(SocketAddrV6::new(ip, port, flow, scope)))
        }
        _ => None,
    }
}

/// Parses received addresses. Nearly always the same few peers send in long rows, so the last address is
/// compared byte by byte before anything is parsed.
#[derive(Debug)]
pub struct AddressParser {
    bytes: [u8; ADDRESS_LENGTH_MAX],
    length: usize,
    address: Option<SocketAddr>,
}

impl AddressParser {
    /// One that has seen nothing yet.
    pub fn new() -> Self {
        Self { bytes: [0; ADDRESS_LENGTH_MAX], length: 0, address: None }
    }

    /// What the last call gave.
    pub fn last(&self) -> Option<SocketAddr> {
        self.address
    }

    /// As [`parse_address`].
    pub fn parse(&mut self, bytes: &[u8]) -> Option<SocketAddr> {
        if self.length != 0 && bytes == &self.bytes[..self.length] {
            return self.address;
        }
        let address = parse_address(bytes);
        if let Some(known) = self.bytes.get_mut(..bytes.len()) {
            known.copy_from_slice(bytes);
            self.length = bytes.len();
            self.address = address;
        }
        address
    }
}

impl Default for AddressParser {
    fn default() -> Self {
        Self::new()
    }
}

/// Bytes of the longer of the two layouts.
pub const ADDRESS_LENGTH_MAX: usize = size_of::<libc::sockaddr_in6>();

const V4_LENGTH: usize = size_of::<libc::sockaddr_in>();
const PORT_OFFSET: usize = 2;
const V4_OFFSET: usize = 4;
const FLOW_OFFSET: usize = 4;
const V6_OFFSET: usize = 8;
const SCOPE_OFFSET: usize = 24;
const _: () = assert!(V4_LENGTH == 16 && ADDRESS_LENGTH_MAX == 28);
const _: () = assert!(std::mem::offset_of!(libc::sockaddr_in, sin_port) == PORT_OFFSET);
const _: () = assert!(std::mem::offset_of!(libc::sockaddr_in, sin_addr) == V4_OFFSET);
const _: () = assert!(std::mem::offset_of!(libc::sockaddr_in6, sin6_flowinfo) == FLOW_OFFSET);
const _: () = assert!(std::mem::offset_of!(libc::sockaddr_in6, sin6_addr) == V6_OFFSET);
const _: () = assert!(std::mem::offset_of!(libc::sockaddr_in6, sin6_scope_id) == SCOPE_OFFSET);

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_address_survives_the_round_trip(
            ip in any::<IpAddr>(), port in any::<u16>(), flow in any::<u32>(), scope in any::<u32>(),
        ) {
            let address = match ip {
                IpAddr::V4(_) => SocketAddr::new(ip, port),
                IpAddr::V6(v6) => SocketAddr::V6(SocketAddrV6::new(v6, port, flow, scope)),
            };
            let raw = RawAddress::new(address);
            prop_assert_eq!(parse_address(raw.as_bytes()), Some(address));
        }

        #[test]
        fn the_memory_of_the_last_address_never_changes_the_answer(
            rows in prop::collection::vec(prop::collection::vec(0u8..12, 0..32), 1..40),
        ) {
            let mut parser = AddressParser::new();
            for bytes in &rows {
                prop_assert_eq!(parser.parse(bytes), parse_address(bytes));
                prop_assert_eq!(parser.parse(bytes), parse_address(bytes));
            }
        }
    }

    #[test]
    fn matches_what_socket2_lays_out() {
        for text in ["127.0.0.1:9010", "[fe80::1%7]:20000", "[::1]:1"] {
            let address: SocketAddr = text.parse().unwrap();
            let theirs = socket2::SockAddr::from(address);
            assert_eq!(theirs.len() as usize, RawAddress::new(address).as_bytes().len());
            assert_eq!(theirs.as_socket(), parse_address(RawAddress::new(address).as_bytes()));
        }
    }
}
