//! The channels that clients name: where responses and replays go, and with which settings.

use crate::archive::Recording;
use crate::channel::{ChannelError, ChannelUri, HostPort, Media, SessionIdParam, key};
use crate::publication::PublicationParams;
use crate::wire::{Reject, StreamTerms, TermLength};

/// Nobody's memory is held for longer than this, whatever a client asks for.
const LINGER_MAX_NS: u64 = 60_000_000_000;
/// A response stream that a client may make longer, so that a long descriptor fits, but not without bound.
const RESPONSE_TERM_LENGTH_MAX: i32 = 1 << 20;

/// Where a stream goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Destination {
    pub(super) endpoint: HostPort,
    /// The session that the client waits for; any if `None`.
    pub(super) session_id: Option<i32>,
}

/// A response channel: its destination, and the publication but for its session id.
pub(super) fn response_stream(
    channel: &str,
    stream_id: i32,
) -> Result<(Destination, PublicationParams), ChannelError> {
    let uri = ChannelUri::parse(channel)?;
    let destination = destination(&uri, stream_id)?;
    let term_length = match uri.get(key::TERM_LENGTH) {
        Some(_) => uri.term_length()?.min(RESPONSE_TERM_LENGTH_MAX),
        None => PublicationParams::TERM_LENGTH,
    };
    let params = PublicationParams { term_length, mtu: uri.mtu()?, ..PublicationParams::new(0, stream_id) };
    Ok((destination, params))
}

/// A replay channel: its destination, and the publication but for its session id. It begins at `position`, with the
/// terms and the MTU of the recording.
pub(super) fn replay_stream(
    channel: &str,
    stream_id: i32,
    recording: &Recording,
    terms: StreamTerms,
    position: i64,
    linger_default_ns: u64,
) -> Result<(Destination, PublicationParams), ChannelError> {
    let uri = ChannelUri::parse(channel)?;
    let destination = destination(&uri, stream_id)?;
    let linger_ns = if uri.get(key::LINGER).is_some() { uri.linger_ns()? } else { linger_default_ns };
    let params = PublicationParams {
        session_id: 0,
        stream_id,
        initial_term_id: recording.initial_term_id,
        term_id: terms.term_id(position),
        term_offset: terms.term_offset(position),
        term_length: recording.term_buffer_length,
        mtu: recording.mtu_length,
        linger_ns: linger_ns.min(LINGER_MAX_NS),
        signals_end_of_stream: uri.eos(),
    };
    Ok((destination, params))
}

/// How positions of a recording map to terms.
pub(super) fn terms_of(recording: &Recording) -> Result<StreamTerms, Reject> {
    let term_length = TermLength::new(recording.term_buffer_length)?;
    Ok(StreamTerms { initial_term_id: recording.initial_term_id, term_length })
}

fn destination(uri: &ChannelUri, stream_id: i32) -> Result<Destination, ChannelError> {
    let bad = |key, value: &str, expected| ChannelError::BadValue { key, value: value.to_owned(), expected };
    if uri.is_spy || uri.media != Media::Udp {
        return Err(ChannelError::UnknownMedia { found: uri.to_string() });
    }
    if let Some(mode) = uri.get(key::CONTROL_MODE) {
        return Err(bad(key::CONTROL_MODE, mode, "none: this archive sends to an `endpoint=host:port` only"));
    }
    if uri.stream_id()?.is_some_and(|named| named != stream_id) {
        return Err(bad(
            key::STREAM_ID,
            uri.get(key::STREAM_ID).unwrap_or_default(),
            "the request's stream id",
        ));
    }
    let endpoint = uri.required_endpoint()?;
    if endpoint.port == 0 {
        return Err(bad(key::ENDPOINT, &endpoint.to_string(), "the port that was bound, not 0"));
    }
    if endpoint.socket_addr().is_some_and(|address| address.ip().is_multicast()) {
        return Err(bad(key::ENDPOINT, &endpoint.to_string(), "a unicast address"));
    }
    let session_id = match uri.session_id()? {
        None => None,
        Some(SessionIdParam::Id(session_id)) => Some(session_id),
        Some(SessionIdParam::Tag(tag)) => {
            return Err(bad(key::SESSION_ID, &format!("tag:{tag}"), "a number: tags are of another driver"));
        }
    };
    Ok(Destination { endpoint, session_id })
}

#[cfg(test)]
mod tests {
    use super::super::tests::recording;
    use super::*;

    #[test]
    fn a_response_channel_as_java_sends_it() {
        let channel =
            "aeron:udp?endpoint=localhost:8131|session-id=1333713704|term-length=65536|sparse=true|mtu=1408";
        let (destination, params) = response_stream(channel, 20).unwrap();
        assert_eq!(destination.endpoint, HostPort { host: "localhost".to_owned(), port: 8131 });
        assert_eq!(destination.session_id, Some(1_333_713_704));
        assert_eq!(params, PublicationParams::new(0, 20));
        let (_, params) = response_stream("aeron:udp?endpoint=a:1|term-length=64m", 20).unwrap();
        assert_eq!(params.term_length, RESPONSE_TERM_LENGTH_MAX, "no client takes all memory");
    }

    #[test]
    fn a_replay_has_the_recordings_terms_and_the_requests_linger_and_eos() {
        let recording = recording(7, 64, -1);
        let channel = "aeron:udp?endpoint=a:1|linger=200ms|eos=false|term-length=1g|mtu=8192|session-id=-4";
        let position = i64::from(recording.term_buffer_length) * 2 + 96;
        let terms = terms_of(&recording).unwrap();
        let (destination, params) = replay_stream(channel, 33, &recording, terms, position, 5).unwrap();
        assert_eq!(destination.session_id, Some(-4));
        let expected = PublicationParams {
            session_id: 0,
            stream_id: 33,
            initial_term_id: recording.initial_term_id,
            term_id: recording.initial_term_id + 2,
            term_offset: 96,
            term_length: recording.term_buffer_length,
            mtu: recording.mtu_length,
            linger_ns: 200_000_000,
            signals_end_of_stream: false,
        };
        assert_eq!(params, expected);
        let linger_ns = |channel| replay_stream(channel, 33, &recording, terms, 64, 5).unwrap().1.linger_ns;
        assert_eq!(linger_ns("aeron:udp?endpoint=a:1"), 5);
        assert_eq!(linger_ns("aeron:udp?endpoint=a:1|linger=1000s"), LINGER_MAX_NS);
    }

    #[test]
    fn what_cannot_be_sent_to_is_named_in_words() {
        for (channel, word) in [
            ("aeron:ipc", "udp"),
            ("aeron-spy:aeron:udp?endpoint=a:1", "udp"),
            ("aeron:udp", "endpoint"),
            ("aeron:udp?endpoint=a:0", "port"),
            ("aeron:udp?endpoint=224.0.1.1:5", "unicast"),
            ("aeron:udp?control-mode=response|control=a:1", "control-mode"),
            ("aeron:udp?endpoint=a:1|session-id=tag:4", "session-id"),
            ("aeron:udp?endpoint=a:1|stream-id=4", "stream-id"),
            ("aeron:udp?endpoint=a:1|mtu=1", "mtu"),
            ("udp", "aeron:"),
        ] {
            let error = response_stream(channel, 20).unwrap_err().to_string();
            assert!(error.contains(word), "{channel}: {error}");
        }
    }
}
