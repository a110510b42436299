//! Where an answer goes: the channel that a request names, as a publication.

use crate::channel::{ChannelUri, ControlMode, HostPort, Media, SessionIdParam};
use crate::publication::PublicationParams;

/// Reads a response channel: whom to send to, and with what publication. `session_id` is used where the channel asks
/// for none. What it says of term lengths is meant for a driver that has files to map; here a publication holds two
/// terms in memory, so the caller says how long they are.
///
/// # Errors
/// In words, when the channel cannot be read or is not one that somebody can be answered on.
pub(crate) fn response_publication(
    channel: &str,
    (stream_id, session_id): (i32, i32),
    term_length: i32,
) -> Result<(HostPort, PublicationParams), String> {
    let uri = ChannelUri::parse(channel).map_err(|error| error.to_string())?;
    if uri.is_spy || uri.media != Media::Udp {
        return Err(format!("`{channel}` is not a UDP channel"));
    }
    let control_mode = uri.control_mode().map_err(|error| error.to_string())?;
    if matches!(control_mode, Some(ControlMode::Dynamic | ControlMode::Manual | ControlMode::Response)) {
        return Err(format!("`{channel}` has a control mode; name the `endpoint` that listens"));
    }
    let endpoint = uri.required_endpoint().map_err(|error| error.to_string())?;
    if endpoint.port == 0 {
        return Err(format!("`{channel}` has the port 0; name the port that listens"));
    }
    let session_id = match uri.session_id().map_err(|error| error.to_string())? {
        Some(SessionIdParam::Id(id)) => id,
        Some(SessionIdParam::Tag(_)) | None => session_id,
    };
    let mtu = uri.mtu().map_err(|error| error.to_string())?;
    let params = PublicationParams { term_length, mtu, ..PublicationParams::new(session_id, stream_id) };
    params.check().map_err(|reject| format!("`{channel}`: {reject}"))?;
    Ok((endpoint, params))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERM_LENGTH: i32 = 128 * 1024;

    fn params(channel: &str) -> Result<(HostPort, PublicationParams), String> {
        response_publication(channel, (108, 7), TERM_LENGTH)
    }

    #[test]
    fn a_channel_gives_endpoint_session_and_mtu() {
        let (endpoint, publication) = params("aeron:udp?endpoint=host:9").unwrap();
        assert_eq!(endpoint.to_string(), "host:9");
        assert_eq!((publication.session_id, publication.stream_id, publication.mtu), (7, 108, 1408));
        let (_, publication) =
            params("aeron:udp?endpoint=host:9|session-id=-5|mtu=8192|term-length=64m").unwrap();
        assert_eq!((publication.session_id, publication.mtu), (-5, 8192));
        assert_eq!(publication.term_length, TERM_LENGTH);
    }

    #[test]
    fn a_channel_that_cannot_be_sent_to_is_refused_in_words() {
        for channel in [
            "",
            "aeron:ipc",
            "aeron-spy:aeron:udp?endpoint=host:9",
            "aeron:udp",
            "aeron:udp?endpoint=host:0",
            "aeron:udp?endpoint=host",
            "aeron:udp?endpoint=host:9|mtu=7",
            "aeron:udp?control=host:9|control-mode=response",
        ] {
            assert!(!params(channel).unwrap_err().is_empty(), "{channel}");
        }
    }
}
