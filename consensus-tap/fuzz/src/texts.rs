//! Strings in which Aeron writes channels, endpoints and members.

use consensus_tap::channel::{ChannelUri, HostPort, parse_duration_ns, parse_size};
use consensus_tap::codec::consensus::{
    MEMBER_COUNT_MAX, list_with_standby, parse_cluster_members, parse_ingress_endpoints,
};
use consensus_tap::serving::Network;

/// Lists of members. Endpoints are the strings' own parts, so the result is no larger than its input.
pub fn cluster_members(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match parse_cluster_members(&text) {
        Ok(members) => assert!(members.len() <= MEMBER_COUNT_MAX),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Ok(list) = list_with_standby(&text, true, 100, "standby:2") {
        let members = parse_cluster_members(&list);
        assert!(members.is_ok_and(|members| members.last().is_some_and(|last| last.id == 100)), "{list}");
    }
    match parse_ingress_endpoints(&text) {
        Ok(endpoints) => assert!(endpoints.len() <= MEMBER_COUNT_MAX),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A channel URI with every getter; what is printed is read as the same channel.
pub fn channel_uri(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = (parse_size(&text), parse_duration_ns(&text));
    let uri = match ChannelUri::parse(&text) {
        Ok(uri) => uri,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let _ = (uri.endpoint(), uri.required_endpoint(), uri.control(), uri.control_mode());
    let _ = (uri.session_id(), uri.stream_id(), uri.starting_position(), uri.term_length(), uri.mtu());
    let _ = (uri.publication_window(), uri.linger_ns(), uri.nak_delay_ns(), uri.receiver_window());
    let _ = (uri.so_rcvbuf(), uri.so_sndbuf(), uri.ttl(), uri.group_tag(), uri.group(), uri.eos());
    let _ = (uri.reliable(), uri.rejoin(), uri.tether(), uri.sparse(), uri.spies_simulate_connection());
    let printed = uri.to_string();
    assert_eq!(ChannelUri::parse(&printed).as_ref(), Ok(&uri), "{printed}");
}

/// A network, and whether it holds its own address.
pub fn network(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match text.parse::<Network>() {
        Ok(network) => {
            let address = text.split('/').next().and_then(|address| address.trim().parse().ok());
            let address: std::net::IpAddr = address.expect("a network has an address");
            // One that was written for IPv6 and is of IPv4 is compared as what it is.
            assert!(network.contains(address) || address.to_canonical() != address);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// `host:port`; what is printed is read as the same endpoint.
pub fn host_port(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match text.parse::<HostPort>() {
        Ok(endpoint) => {
            let _ = endpoint.socket_addr();
            let printed = endpoint.to_string();
            assert_eq!(printed.parse::<HostPort>().as_ref(), Ok(&endpoint), "{printed}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
