//! Every key an operator can set, as a flag of `run` and as a key of its configuration file.
//!
//! Flags override the file; what neither sets has the default that its help names. A key's help also names the
//! Aeron property it corresponds to, so that a cluster's own configuration can be carried over.

use std::num::NonZeroU16;
use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;

use super::values::{AppVersion, Credential, EndpointMapping, FileSyncLevel, Layout, Size, Span, as_flag};
use crate::agent::idle::IdleStrategy;
use crate::agent::service_snapshots::SnapshotMode;
use crate::net::backend::NetworkBackend;

/// What was set, by flag or by file; `None` is "not set".
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Directory of this node: archive, cluster files, cnc.dat. Created if missing.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,

    /// Service to host, once for each service of the cluster in order of service id; `none` hosts none.
    /// [default: audit]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub service: Option<Vec<String>>,

    /// Consensus endpoints of the cluster's members, host:port, comma separated
    /// (aeron.cluster.consensus.endpoints).
    #[arg(long, value_name = "H:P,H:P,…", value_delimiter = ',')]
    pub consensus_endpoints: Option<Vec<String>>,

    /// Address of this host as the members reach it; responses and the log are sent there.
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,

    /// UDP port for everything this node receives (aeron.cluster.backup.catchup.endpoint). [default: 0, any]
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,

    /// host:port that members are told to send to, where that is not host and port (NAT, relays).
    #[arg(long, value_name = "H:P")]
    pub response_endpoint: Option<String>,

    /// UDP host:port for everything that others ask of this node: archive requests (aeron.archive.control.channel),
    /// and backup queries of other standbys.
    /// [default: host, with the port after `port`]
    #[arg(long, value_name = "H:P")]
    pub archive_endpoint: Option<String>,

    /// UDP host:port at which clients reach this node once it leads; bound from the start
    /// (aeron.cluster.ingress.channel).
    /// [default: host, with the port after that of the default `archive_endpoint`]
    #[arg(long, value_name = "H:P")]
    pub ingress_endpoint: Option<String>,

    /// Begin a cluster of one member, this node, where the directory holds no log yet, or lead the one again that it
    /// began; no other member is needed then. [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub bootstrap: Option<bool>,

    /// Endpoint that the cluster names = endpoint that reaches it from here, comma separated.
    #[arg(long, value_name = "H:P=H:P,…", value_delimiter = ',')]
    pub endpoint_map: Option<Vec<EndpointMapping>>,

    /// Id of this node; must not be that of a voting member (aeron.cluster.member.id). [default: 100]
    #[arg(long, value_name = "ID")]
    pub member_id: Option<i32>,

    /// Id of the cluster (aeron.cluster.id). [default: 0]
    #[arg(long, value_name = "ID")]
    pub cluster_id: Option<i32>,

    /// The application's version, as the members' consensus modules are configured; the major part must match
    /// (ConsensusModule.Context.appVersion). [default: 0.0.1]
    #[arg(long, value_name = "M.M.P")]
    pub app_version: Option<AppVersion>,

    /// Which members may be followed: any, leader or follower (aeron.cluster.backup.source.type).
    /// [default: any]
    #[arg(long, value_name = "TYPE")]
    pub source_type: Option<String>,

    /// `all`: every member that a response names may be followed; `single`: only the configured endpoints.
    /// [default: all]
    #[arg(long, value_name = "ROUTING")]
    pub routing: Option<String>,

    /// Where a node without history begins: latest-snapshot or beginning
    /// (cluster.backup.initial.replay.start). [default: latest-snapshot]
    #[arg(long, value_name = "START")]
    pub replay_start: Option<String>,

    /// Whether newer snapshots of the source are fetched while its log is followed.
    /// [default: only where no service is hosted]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub fetch_snapshots: Option<bool>,

    /// How often newer snapshots are asked for (aeron.cluster.backup.interval). [default: 1h]
    #[arg(long, value_name = "TIME")]
    pub backup_interval: Option<Span>,

    /// Credentials for the members' consensus modules, e.g. user:password, sent as they are.
    #[arg(long, value_name = "TEXT", env = "STANDBY_CREDENTIALS", hide_env_values = true)]
    pub credentials: Option<Credential>,

    /// Answer to a consensus module's or archive's challenge, sent as it is.
    #[arg(long, value_name = "TEXT", env = "STANDBY_CHALLENGE_ANSWER", hide_env_values = true)]
    pub challenge_answer: Option<Credential>,

    /// Credentials for the members' archives. [default: none]
    #[arg(long, value_name = "TEXT", env = "STANDBY_ARCHIVE_CREDENTIALS", hide_env_values = true)]
    pub archive_credentials: Option<Credential>,

    /// What clients of this node's archive must connect with, e.g. user:password. [default: anything]
    #[arg(long, value_name = "TEXT", env = "STANDBY_ARCHIVE_SERVER_CREDENTIALS", hide_env_values = true)]
    pub archive_server_credentials: Option<Credential>,

    /// What clients of this node's archive must answer when it challenges them. [default: no challenge]
    #[arg(
        long,
        value_name = "TEXT",
        env = "STANDBY_ARCHIVE_SERVER_CHALLENGE_ANSWER",
        hide_env_values = true
    )]
    pub archive_server_challenge_answer: Option<Credential>,

    /// What others must send to ask this node as they would ask a member, e.g. user:password. [default: anything]
    #[arg(long, value_name = "TEXT", env = "STANDBY_CONSENSUS_SERVER_CREDENTIALS", hide_env_values = true)]
    pub consensus_server_credentials: Option<Credential>,

    /// What they must answer when this node challenges them. [default: no challenge]
    #[arg(
        long,
        value_name = "TEXT",
        env = "STANDBY_CONSENSUS_SERVER_CHALLENGE_ANSWER",
        hide_env_values = true
    )]
    pub consensus_server_challenge_answer: Option<Credential>,

    /// Networks whose addresses may ask this node anything, e.g. 10.1.0.0/16, comma separated. [default: all]
    #[arg(long, value_name = "NETWORK,…", value_delimiter = ',')]
    pub serve_allow: Option<Vec<String>>,

    /// Most replays that this node's archive sends at once (aeron.archive.max.concurrent.replays). [default: 20]
    #[arg(long, value_name = "N")]
    pub max_concurrent_replays: Option<NonZeroU16>,

    /// Most clients of this node's archive at once. [default: 64]
    #[arg(long, value_name = "N")]
    pub max_control_sessions: Option<NonZeroU16>,

    /// Stream of consensus messages (aeron.cluster.consensus.stream.id). [default: 108]
    #[arg(long, value_name = "ID")]
    pub consensus_stream_id: Option<i32>,

    /// Stream of archive control requests (aeron.archive.control.stream.id). [default: 10]
    #[arg(long, value_name = "ID")]
    pub archive_control_stream_id: Option<i32>,

    /// Receive window of the log (aeron.rcv.initial.window.length). [default: 2m]
    #[arg(long, value_name = "SIZE")]
    pub receive_window: Option<Size>,

    /// Socket receive buffer (aeron.socket.so_rcvbuf). [default: 4m]
    #[arg(long, value_name = "SIZE")]
    pub socket_receive_buffer: Option<Size>,

    /// Socket send buffer (aeron.socket.so_sndbuf). [default: 1m]
    #[arg(long, value_name = "SIZE")]
    pub socket_send_buffer: Option<Size>,

    /// How long a member's driver may take to connect to us. [default: 1s]
    #[arg(long, value_name = "TIME")]
    pub connect_timeout: Option<Span>,

    /// How long a member may take to answer a backup query (aeron.cluster.backup.response.timeout).
    /// [default: 2s]
    #[arg(long, value_name = "TIME")]
    pub response_timeout: Option<Span>,

    /// How long an archive may take to answer (aeron.archive.message.timeout). [default: 10s]
    #[arg(long, value_name = "TIME")]
    pub message_timeout: Option<Span>,

    /// How long a source may record without sending (aeron.cluster.backup.progress.timeout). [default: 10s]
    #[arg(long, value_name = "TIME")]
    pub progress_timeout: Option<Span>,

    /// How long a source's archive may say nothing, and its replay stand still, before another is tried.
    /// [default: 5s]
    #[arg(long, value_name = "TIME")]
    pub source_timeout: Option<Span>,

    /// When the log reaches the disk: 0 every sync_interval, 1 and 2 as soon as it is recorded; nothing waits for it.
    /// Of catalog and recording.log 1 syncs data, 2 also metadata (aeron.archive.file.sync.level). [default: 0]
    #[arg(long, value_name = "LEVEL")]
    pub file_sync_level: Option<FileSyncLevel>,

    /// Time between two background syncs at level 0. [default: 1s]
    #[arg(long, value_name = "TIME")]
    pub sync_interval: Option<Span>,

    /// dedicated: receiver and services on threads of their own; shared: one thread for all.
    /// [default: dedicated from four cores on, else shared]
    #[arg(long, value_name = "LAYOUT")]
    pub layout: Option<Layout>,

    /// Core of the receiver thread, or of the one thread of the shared layout. [default: not pinned]
    #[arg(long, value_name = "CORE")]
    pub receiver_core: Option<usize>,

    /// Cores of the service threads, in order of service id. [default: not pinned]
    #[arg(long, value_name = "CORE,…", value_delimiter = ',')]
    pub service_cores: Option<Vec<usize>>,

    /// What busy threads do when idle: noop, spin, yield, backoff, sleep(TIME) (aeron.receiver.idle.strategy).
    /// [default: spin when dedicated, backoff when shared]
    #[arg(long, value_name = "STRATEGY")]
    #[serde(deserialize_with = "as_flag")]
    pub idle: Option<IdleStrategy>,

    /// Network backend: mmsg (recvmmsg/sendmmsg with GRO and GSO) or io-uring. [default: mmsg]
    #[arg(long, value_name = "BACKEND")]
    #[serde(deserialize_with = "as_flag")]
    pub network: Option<NetworkBackend>,

    /// Directory of cnc.dat, where the official tools look (aeron.dir). [default: DIR/aeron]
    #[arg(long, value_name = "DIR")]
    pub aeron_dir: Option<PathBuf>,

    /// Who writes a service's state into a snapshot: view (another thread, from a frozen view; a service without one
    /// writes as with inline), inline (the service, into memory) or replica (a second copy of every service).
    /// [default: view]
    #[arg(long, value_name = "MODE")]
    pub snapshot_mode: Option<SnapshotMode>,

    /// Also take part in the ordinary snapshots of the members. [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub snapshot_on_ordinary: Option<bool>,

    /// Take a snapshot when so long has passed since the last one. [default: never]
    #[arg(long, value_name = "TIME")]
    pub snapshot_interval: Option<Span>,

    /// Take a snapshot when the log has grown by so much since the last one. [default: never]
    #[arg(long, value_name = "SIZE")]
    pub snapshot_log_length: Option<Size>,

    /// Term and segment length of snapshot recordings: a power of two from 64k to 1g. An eighth of it is the longest
    /// message that a service may write into a snapshot (aeron.ipc.term.buffer.length). [default: 16m]
    #[arg(long, value_name = "SIZE")]
    pub snapshot_term_length: Option<Size>,

    /// Keep the newest N snapshots and the log from the oldest of them on, and delete what is older as soon as no member,
    /// replay or service needs it. [default: keep everything]
    #[arg(long, value_name = "N")]
    pub retain_snapshots: Option<NonZeroU16>,

    /// Stream on which clients send (aeron.cluster.ingress.stream.id). [default: 101]
    #[arg(long, value_name = "ID")]
    pub ingress_stream_id: Option<i32>,

    /// File (TOML) that names who may be a client while this node leads: see the manual. [default: everybody may]
    #[arg(long, value_name = "FILE")]
    pub clients_file: Option<PathBuf>,

    /// Most clients at once while this node leads: 1 to 4096 (aeron.cluster.max.sessions). [default: 10]
    #[arg(long, value_name = "N")]
    pub max_sessions: Option<NonZeroU16>,

    /// How long a client may be silent while this node leads (aeron.cluster.session.timeout). [default: 10s]
    #[arg(long, value_name = "TIME")]
    pub session_timeout: Option<Span>,

    /// Clients of this node wait twice as long for another leader, unless they are configured otherwise
    /// (aeron.cluster.leader.heartbeat.timeout). [default: 10s]
    #[arg(long, value_name = "TIME")]
    pub leader_heartbeat_timeout: Option<Span>,

    /// Term length of a log that `bootstrap` creates: a power of two from 64k to 1g. An eighth of it is the longest message
    /// (term-length of aeron.cluster.log.channel). [default: 64m]
    #[arg(long, value_name = "SIZE")]
    pub log_term_length: Option<Size>,

    /// Term length of what goes to one client: a power of two from 64k to 1g. An eighth of it is the longest reply
    /// (term-length of aeron.cluster.egress.channel). [default: 4m]
    #[arg(long, value_name = "SIZE")]
    pub egress_term_length: Option<Size>,

    /// Longest frame of a log that `bootstrap` creates (aeron.mtu.length). [default: 1408]
    #[arg(long, value_name = "SIZE")]
    pub log_mtu: Option<Size>,

    /// What makes sure, when this node is activated, that the old cluster no longer serves: a command for the
    /// shell that must succeed, or `none` where it is made sure of otherwise. Without it the flag is refused.
    /// [default: `none` for `bootstrap` without `standby_endpoints`]
    #[arg(long, value_name = "COMMAND|none")]
    pub fence: Option<String>,

    /// How long the fence may take; it is killed then, and the activation refused. [default: 30s]
    #[arg(long, value_name = "TIME")]
    pub fence_timeout: Option<Span>,

    /// The other standbys of this cluster, member id = archive endpoint, comma separated.
    #[arg(long, value_name = "ID=H:P,…", value_delimiter = ',')]
    pub standby_endpoints: Option<Vec<String>>,

    /// For how long nothing may be heard of a member before it counts as silent. [default: 1s]
    #[arg(long, value_name = "TIME")]
    pub liveness_timeout: Option<Span>,

    /// `on`: it is looked all the time whether members give signs of life; `off`: of none it is known.
    /// [default: on]
    #[arg(long, value_name = "on|off")]
    pub probe: Option<String>,

    /// Bytes of ballast in each audit service's state; a multiple of 8. [default: 0]
    #[arg(long, value_name = "SIZE")]
    pub audit_ballast: Option<Size>,
}

macro_rules! overlay {
    ($over:expr, $under:expr; $($field:ident),* $(,)?) => {
        Settings { $($field: $over.$field.or($under.$field)),* }
    };
}

impl Settings {
    /// These settings, and those of `under` where these are not set.
    pub fn over(self, under: Self) -> Self {
        overlay!(self, under;
            dir, service, consensus_endpoints, host, port, response_endpoint, archive_endpoint, ingress_endpoint, bootstrap, endpoint_map, member_id, cluster_id, app_version,
            source_type, routing, replay_start, fetch_snapshots, backup_interval, credentials, challenge_answer, archive_credentials,
            archive_server_credentials, archive_server_challenge_answer, consensus_server_credentials,
            consensus_server_challenge_answer, serve_allow, max_concurrent_replays,
            max_control_sessions, consensus_stream_id, archive_control_stream_id, receive_window,
            socket_receive_buffer, socket_send_buffer, connect_timeout, response_timeout, message_timeout,
            progress_timeout, source_timeout, file_sync_level, sync_interval, layout, receiver_core,
            service_cores, idle, network, aeron_dir, snapshot_mode, snapshot_on_ordinary, snapshot_interval,
            snapshot_log_length, snapshot_term_length, retain_snapshots, ingress_stream_id, clients_file, max_sessions,
            session_timeout, leader_heartbeat_timeout, log_term_length, egress_term_length, log_mtu, fence, fence_timeout,
            standby_endpoints, liveness_timeout, probe, audit_ballast,
        )
    }
}
