//! The channels that a source is asked to answer on: each leads to our own endpoint.

use crate::channel::{ChannelUri, HostPort, key};

/// Aeron's own choice for control channels, bytes.
const CONTROL_TERM_LENGTH: u32 = 64 * 1024;
/// Largest datagram of an archive's answers, bytes: what any network takes.
const CONTROL_MTU_LENGTH: u32 = 1408;

/// Where a consensus module answers.
pub(super) fn response_channel(endpoint: &HostPort) -> String {
    to_endpoint(endpoint).to_string()
}

/// Where an archive answers, with the session id that the subscription wants.
pub(super) fn control_response_channel(endpoint: &HostPort, session_id: i32) -> String {
    to_endpoint(endpoint)
        .with(key::SESSION_ID, session_id)
        .with(key::TERM_LENGTH, CONTROL_TERM_LENGTH)
        .with(key::MTU, CONTROL_MTU_LENGTH)
        .with(key::SPARSE, true)
        .to_string()
}

/// Where a replay is sent, with the session id that the subscription wants.
pub(super) fn replay_channel(endpoint: &HostPort, session_id: i32) -> String {
    to_endpoint(endpoint).with(key::SESSION_ID, session_id).to_string()
}

fn to_endpoint(endpoint: &HostPort) -> ChannelUri {
    ChannelUri::udp().with(key::ENDPOINT, endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_read_the_channels_that_they_always_read() {
        let endpoint: HostPort = "standby:9".parse().unwrap();
        assert_eq!(response_channel(&endpoint), "aeron:udp?endpoint=standby:9");
        assert_eq!(
            control_response_channel(&endpoint, -7),
            "aeron:udp?endpoint=standby:9|session-id=-7|term-length=65536|mtu=1408|sparse=true"
        );
        let endpoint: HostPort = "[::1]:65535".parse().unwrap();
        assert_eq!(replay_channel(&endpoint, 7), "aeron:udp?endpoint=[::1]:65535|session-id=7");
    }
}
