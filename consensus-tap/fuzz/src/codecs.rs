//! SBE messages: what decodes is encoded and decoded to the same.
//!
//! Comparing goes by encodings, not by values: a newer sender's longer block and an older one's shorter block both
//! decode to what our own version of the message says.

use consensus_tap::codec::archive_control::{ArchiveRequest, ArchiveResponse};
use consensus_tap::codec::consensus::{ConsensusMessage, parse_cluster_members, parse_ingress_endpoints};
use consensus_tap::codec::log::LogEvent;
use consensus_tap::codec::session::{EgressMessage, IngressMessage};
use consensus_tap::codec::snapshot::SnapshotMessage;
use consensus_tap::codec::standby::StandbyBeacon;

/// Whatever `decode` makes of `bytes` it must make of their encoding by `encode`, which leaves its output empty
/// where there is nothing to encode.
macro_rules! same_again {
    ($message:ident :: $decode:ident, $bytes:expr, $out:ident, $($pattern:pat => $encode:expr),+ $(,)?) => {
        match $message::$decode($bytes) {
            Ok(decoded) => {
                let mut encoded = Vec::new();
                {
                    let $out = &mut encoded;
                    match decoded {
                        $($pattern => $encode,)+
                    }
                }
                if !encoded.is_empty() {
                    assert_eq!($message::$decode(&encoded), Ok(decoded));
                }
                assert!(!format!("{decoded:?}").is_empty());
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    };
}

/// Stream 108.
pub fn consensus_message(bytes: &[u8]) {
    use ConsensusMessage as M;
    same_again!(ConsensusMessage::decode, bytes, out,
        M::BackupResponse(message) => {
            // Members come as one string, which has a grammar of its own.
            let _ = parse_cluster_members(message.cluster_members);
            assert!(message.snapshots.iter().count() <= usize::from(u16::MAX));
            message.encode(out);
        },
        M::HeartbeatResponse(message) => message.encode(out),
        M::SessionEvent(message) => {
            let _ = parse_ingress_endpoints(message.detail);
            message.encode(out);
        },
        M::Challenge(message) => message.encode(out),
        M::BackupQuery(message) => message.encode(out),
        M::HeartbeatRequest(message) => message.encode(out),
        M::StandbySnapshot(message) => message.encode(out),
        M::ChallengeResponse(message) => message.encode(out),
        M::Unknown(_) => {},
    );
}

/// What standbys say to each other.
pub fn standby_beacon(bytes: &[u8]) {
    same_again!(StandbyBeacon::parse, bytes, out, message => message.encode(out));
}

/// Stream 102.
pub fn egress_message(bytes: &[u8]) {
    use EgressMessage as M;
    same_again!(EgressMessage::decode, bytes, out,
        M::Session(header, payload) => {
            header.encode(out);
            out.extend_from_slice(payload);
        },
        M::Event(message) => message.encode(out),
        M::NewLeader(message) => message.encode(out),
        M::Challenge(message) => message.encode(out),
        M::AdminResponse(message) => message.encode(out),
        M::Unknown(_) => {},
    );
}

/// Stream 101.
pub fn ingress_message(bytes: &[u8]) {
    use IngressMessage as M;
    same_again!(IngressMessage::decode, bytes, out,
        M::Session(header, payload) => {
            header.encode(out);
            out.extend_from_slice(payload);
        },
        M::Connect(message) => message.encode(out),
        M::Close(message) => message.encode(out),
        M::KeepAlive(message) => message.encode(out),
        M::ChallengeResponse(message) => message.encode(out),
        M::AdminRequest(message) => message.encode(out),
        M::Unknown(_) => {},
    );
}

/// An archive's control stream.
pub fn archive_request(bytes: &[u8]) {
    use ArchiveRequest as M;
    same_again!(ArchiveRequest::decode, bytes, out,
        M::Connect(message) => message.encode(out),
        M::AuthConnect(message) => message.encode(out),
        M::StopAllReplays(message) => message.encode(out),
        M::ReplayToken(message) => message.encode(out),
        M::ListRecordingsForUri(message) => message.encode(out),
        M::ListRecordingSubscriptions(message) => message.encode(out),
        M::ChallengeResponse(message) => message.encode(out),
        M::ArchiveId(message) => message.encode(out),
        M::KeepAlive(message) => message.encode(out),
        M::CloseSession(message) => message.encode(out),
        M::Replay(message) => message.encode(out),
        M::BoundedReplay(message) => message.encode(out),
        M::StopReplay(message) => message.encode(out),
        M::ListRecordings(message) => message.encode(out),
        M::ListRecording(message) => message.encode(out),
        M::FindLastMatching(message) => message.encode(out),
        M::RecordingPosition(message) => message.encode(out),
        M::StartPosition(message) => message.encode(out),
        M::StopPosition(message) => message.encode(out),
        M::MaxRecordedPosition(message) => message.encode(out),
        // Of these, only what an answer needs is read.
        M::Change(_) | M::Unknown(_) => {},
    );
}

/// An archive's response stream.
pub fn archive_response(bytes: &[u8]) {
    use ArchiveResponse as M;
    same_again!(ArchiveResponse::decode, bytes, out,
        M::Control(message) => message.encode(out),
        M::Descriptor(message) => message.encode(out),
        M::Signal(message) => message.encode(out),
        M::Challenge(message) => message.encode(out),
        M::Ping(message) => message.encode(out),
        M::Unknown(_) => {},
    );
}

/// The log, stream 100.
pub fn log_event(bytes: &[u8]) {
    use LogEvent as M;
    same_again!(LogEvent::decode, bytes, out,
        M::SessionMessage(event) => event.encode(out),
        M::Timer(event) => event.encode(out),
        M::SessionOpen(event) => event.encode(out),
        M::SessionClose(event) => event.encode(out),
        M::ClusterAction(event) => event.encode(out),
        M::NewLeadershipTerm(event) => event.encode(out),
        M::Ignored { .. } => {},
    );
}

/// Snapshots.
pub fn snapshot_message(bytes: &[u8]) {
    use SnapshotMessage as M;
    same_again!(SnapshotMessage::decode, bytes, out,
        M::Marker(message) => message.encode(out),
        M::ClientSession(message) => message.encode(out),
        M::ClusterSession(message) => message.encode(out),
        M::Timer(message) => message.encode(out),
        M::ConsensusModule(message) => message.encode(out),
        M::PendingMessageTracker(message) => message.encode(out),
        M::PendingMessage(message) => out.extend_from_slice(message.message),
        M::Ignored { .. } => {},
    );
}
