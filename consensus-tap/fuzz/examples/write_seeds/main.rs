//! Writes the seeds that no unit test holds as one official string: files, recordings and scripts.
//!
//! `cargo run -p consensus-tap-fuzz --example write_seeds`, from any directory. The seeds called `official-…` are
//! bytes of Java's encoders, copied from the unit tests.

mod files;
mod log;
mod scripts;

use std::fs;
use std::path::Path;

use consensus_tap::codec::archive_control::{
    ARCHIVE_PROTOCOL_VERSION, ArchiveIdRequest, AuthConnectRequest, BoundedReplayRequest,
    CloseSessionRequest, ControlResponse, ControlResponseCode, KeepAliveRequest, ListRecordingRequest,
    ListRecordingsForUriRequest, ListRecordingsRequest, MaxRecordedPositionRequest, REPLAY_ALL_AND_FOLLOW,
    ReplayRequest, StopAllReplaysRequest, StopReplayRequest,
};
use consensus_tap::codec::consensus::{ANY_LOG_POSITION, BackupQuery, HeartbeatRequest};
use consensus_tap::codec::log::{
    CloseReason, ClusterAction, ClusterActionRequest, ClusterTimeUnit, NewLeadershipTermEvent,
    SessionCloseEvent, SessionMessage, SessionOpenEvent, TimerEvent, service_session_id,
};
use consensus_tap::codec::message::Secret;
use consensus_tap::codec::session::{
    AdminRequest, AdminRequestType, CLUSTER_PROTOCOL_VERSION, Challenge, ChallengeResponse, EventCode,
    SessionCloseRequest, SessionConnectRequest, SessionEvent, SessionKeepAlive, SessionMessageHeader,
};
use consensus_tap::codec::snapshot::{
    ClientSession, ClusterSession, ConsensusModule, PendingMessageTracker, ServiceCounters, SnapshotMark,
    SnapshotMarker, Timer,
};
use consensus_tap::codec::standby::StandbyBeacon;
use consensus_tap::file::activation::{Activation, ActivationPhase, ActivationRecord};
use consensus_tap::file::archive_mark::ArchiveMark;
use consensus_tap::file::catalog::{Descriptor, Header, RecordState};
use consensus_tap::file::cluster_mark::ClusterMark;
use consensus_tap::file::cnc::{CNC_VERSION, CncIdentity, CncLayout};
use consensus_tap::file::error_log::ErrorLog;
use consensus_tap::file::node_state::{CandidateTerm, NodeState};
use consensus_tap::file::recording_log::{Entry, EntryKind};
use consensus_tap::wire::data::{BEGIN, END, HEADER_LENGTH, UNFRAGMENTED};
use consensus_tap::wire::{
    DataHeader, FrameType, Nak, ResponseSetup, Rttm, Setup, StatusMessage, align, rttm, status_message,
};
use consensus_tap_fuzz::{ARCHIVE_CORRELATION_SEED, TERMS};

use self::log::Stream;

fn main() {
    wire();
    texts();
    files::files();
    files::recordings();
    scripts::scripts();
    scripts::archive_server();
    scripts::cluster_client();
    scripts::leader();
}

fn write(target: &str, name: &str, bytes: &[u8]) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&directory).expect("the corpus directory");
    fs::write(directory.join(name), bytes).expect("a seed");
}

fn wire() {
    let rttm = Rttm {
        flags: rttm::REPLY,
        session_id: 1,
        stream_id: 2,
        echo_timestamp_ns: 3,
        reception_delta_ns: 4,
        receiver_id: 5,
    };
    write("wire_rttm", "request", &rttm.encode());
    let setup = ResponseSetup { session_id: 1, stream_id: 2, response_session_id: 3 };
    write("wire_response_setup", "setup", &setup.encode());
    let tagged = StatusMessage { group_tag: Some(9), ..status_message_of(0) };
    write("wire_status_message", "group-tag", &tagged.encode().0);
    let mut resolution = vec![51, 0, 0, 0, 0, 0, 7, 0];
    resolution.extend([1, 0x80, 0, 0x50, 1, 0, 0, 0, 127, 0, 0, 1, 2, 0, b'a', b'b']);
    resolution.extend([2, 0, 0, 0x50, 2, 0, 0, 0]);
    resolution.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, b'c']);
    write("wire_resolution", "two-entries", &resolution);
    let mut stream = Stream::default();
    stream.message(b"one");
    stream.message(b"and two");
    write("wire_data", "two-frames", &stream.bytes);
}

fn texts() {
    write("host_port", "name", b"node0.example:9003");
    write("host_port", "ipv4", b"127.0.0.1:20110");
    write("host_port", "ipv6", b"[fe80::1%eth0]:9003");
    write("channel_uri", "endpoint", b"aeron:udp?endpoint=localhost:20121|session-id=-7");
    write(
        "channel_uri",
        "every-key",
        b"aeron:udp?endpoint=[::1]:1|control=h:2|control-mode=dynamic|init-term-id=3|term-id=4|term-offset=64|\
          term-length=64k|mtu=1408|linger=5s|pub-wnd=32k|rcv-wnd=128k|so-rcvbuf=2m|so-sndbuf=1m|ttl=4|group=true|\
          gtag=9|eos=false|reliable=false|rejoin=false|tether=false|sparse=true|ssc=true|nak-delay=100us|\
          session-id=tag:8|stream-id=100|alias=x",
    );
    write("channel_uri", "ipc", b"aeron:ipc?term-length=128k");
    write("channel_uri", "spy", b"aeron-spy:aeron:udp?endpoint=h:1");
    write(
        "cluster_members",
        "three",
        b"0,a:1,a:2,a:3,a:4,a:5|1,b:1,b:2,b:3,b:4,b:5,b:6|2,c:1,c:2,c:3,c:4,c:5,c:6,c:7",
    );
    write("network", "ipv4", b"10.1.0.0/16");
    write("network", "ipv6", b"fd00::/8");
    write("cluster_members", "ingress", b"0=a:1,1=b:1,2=c:1");
}

fn status_message_of(flags: u8) -> StatusMessage {
    StatusMessage {
        flags,
        session_id: 9,
        stream_id: 10,
        consumption_term_id: 0,
        consumption_term_offset: 0,
        receiver_window: 32 << 10,
        receiver_id: 3,
        group_tag: None,
    }
}
