//! What each part of a node is told, out of the node's configuration.

use consensus_tap::archive::server::ArchiveServerConfig;
use consensus_tap::archive::{Credentials, Recording};
use consensus_tap::channel::HostPort;
use consensus_tap::file::archive_mark::ArchiveMark;
use consensus_tap::file::cluster_mark::ClusterMark;
use consensus_tap::leader::LeaderConfig;
use consensus_tap::serving::{AnnouncerConfig, ConsensusServerConfig, ServingConfig, StandbyLinkConfig};
use consensus_tap::tap::TapConfig;

use super::entropy;
use crate::config::NodeConfig;
use crate::topology::EGRESS_BACKLOG_LENGTH_MAX;

/// Stream of a cluster's log, as in Aeron.
const LOG_STREAM_ID: i32 = 100;

/// As a member's archive takes its member's id.
pub(super) fn archive_id(config: &NodeConfig) -> i64 {
    i64::from(config.member_id)
}

pub(super) fn cluster_mark(config: &NodeConfig) -> ClusterMark {
    ClusterMark {
        member_id: config.member_id,
        cluster_id: config.cluster_id,
        aeron_directory: config.aeron_dir.display().to_string(),
        control_channel: "aeron:ipc?term-length=128k".to_owned(),
        service_name: config.services.join(","),
        ..ClusterMark::default()
    }
}

/// `port` is what the archive's socket is bound to.
pub(super) fn archive_mark(config: &NodeConfig, port: u16) -> ArchiveMark {
    ArchiveMark {
        archive_id: archive_id(config),
        control_channel: format!("aeron:udp?endpoint={}", config.archive_endpoint.with_port(port)),
        local_control_channel: "aeron:ipc?term-length=64k".to_owned(),
        aeron_directory: config.aeron_dir.display().to_string(),
        ..ArchiveMark::default()
    }
}

/// `port` is what the receiver's socket is bound to.
pub(super) fn tap(config: &NodeConfig, port: u16) -> TapConfig {
    let bound = || HostPort { port, ..config.tap.response_endpoint.clone() };
    TapConfig {
        response_endpoint: config.response_endpoint.clone().unwrap_or_else(bound),
        seed: entropy(),
        ..config.tap.clone()
    }
}

/// `endpoint` is where others reach the archive's socket.
pub(super) fn serving(config: &NodeConfig, endpoint: &HostPort, limit_counter_id: i32) -> ServingConfig {
    ServingConfig {
        archive: ArchiveServerConfig {
            archive_id: archive_id(config),
            control_stream_id: config.tap.archive_control_stream_id,
            session_count_max: config.control_session_count_max,
            replay_count_max: config.replay_count_max,
            limit_counter_id,
            seed: entropy(),
            ..ArchiveServerConfig::default()
        },
        consensus: ConsensusServerConfig {
            member_id: config.member_id,
            endpoint: endpoint.clone(),
            allow_list: config.serve_allow.clone(),
            seed: entropy(),
            ..ConsensusServerConfig::default()
        },
        announcer: AnnouncerConfig {
            endpoint: endpoint.clone(),
            consensus_stream_id: config.tap.consensus_stream_id,
            credentials: config.tap.cluster_credentials.clone(),
            seed: entropy(),
            ..AnnouncerConfig::default()
        },
        standbys: StandbyLinkConfig {
            cluster_id: config.cluster_id,
            standbys: config.activation.standbys.clone(),
            credentials: match &config.tap.cluster_credentials {
                Credentials::None => Vec::new(),
                Credentials::Simple(initial) | Credentials::ChallengeResponse { initial, .. } => {
                    initial.clone()
                }
            },
            secrets: config.consensus_secrets.clone(),
            allow_list: config.serve_allow.clone(),
            seed: entropy(),
        },
    }
}

/// `ingress_endpoint` is where clients reach the ingress socket.
pub(super) fn leader(config: &NodeConfig, ingress_endpoint: &HostPort) -> LeaderConfig {
    LeaderConfig {
        member_id: config.member_id,
        ingress_stream_id: config.leading.ingress_stream_id,
        ingress_endpoint: ingress_endpoint.clone(),
        session_timeout_ns: config.leading.session_timeout_ns,
        leader_heartbeat_timeout_ns: config.leading.leader_heartbeat_timeout_ns,
        session_count_max: config.leading.session_count_max,
        egress_term_length: config.leading.egress_term_length.bytes(),
        egress_backlog_length_max: EGRESS_BACKLOG_LENGTH_MAX,
        seed: entropy(),
        ..LeaderConfig::default()
    }
}

/// The log that a new cluster begins with, described as the archive of a Java leader describes its own.
pub(super) fn bootstrap_log(config: &NodeConfig, ingress: &HostPort) -> Recording {
    let channel = format!("aeron:udp?term-length={}|alias=log", config.leading.log_term_length.bytes());
    Recording {
        recording_id: 0,
        start_timestamp: 0,
        stop_timestamp: 0,
        start_position: 0,
        stop_position: 0,
        initial_term_id: 0,
        segment_file_length: config.leading.log_segment_length(),
        term_buffer_length: config.leading.log_term_length.bytes(),
        mtu_length: config.leading.log_mtu,
        session_id: entropy() as i32,
        stream_id: LOG_STREAM_ID,
        stripped_channel: channel.clone(),
        original_channel: channel,
        source_identity: ingress.to_string(),
    }
}
