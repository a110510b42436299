//! Which counters there are: type ids that tools search for, and the labels they print.
//!
//! Aeron's type ids are those of `AeronCounters.java`. Our own begin at 10000, far above any that Aeron uses.

/// Position of a recording in bytes; key: recording id, session id, source identity, archive id.
pub const RECORDING_POSITION: i32 = 100;
/// Errors of an archive; key: archive id.
pub const ARCHIVE_ERRORS: i32 = 101;
/// Control sessions of an archive, how many; key: archive id.
pub const ARCHIVE_CONTROL_SESSIONS: i32 = 102;
/// Bytes that replays of an archive have read; key: archive id.
pub const ARCHIVE_REPLAYED_BYTES: i32 = 109;
/// Replays of an archive, how many; key: archive id.
pub const ARCHIVE_REPLAY_SESSIONS: i32 = 112;

/// State of the consensus module: INIT 0, ACTIVE 1, SUSPENDED 2, SNAPSHOT 3, QUITTING 4, TERMINATING 5, CLOSED 6.
pub const CONSENSUS_MODULE_STATE: i32 = 200;
/// Role of the node: FOLLOWER 0, CANDIDATE 1, LEADER 2.
pub const NODE_ROLE: i32 = 201;
/// The toggle that `ClusterControl` sets.
pub const CLUSTER_CONTROL_TOGGLE: i32 = 202;
/// How far the log is committed, bytes.
pub const COMMIT_POSITION: i32 = 203;
/// What was recovered at the start; key: see `RecoveryState.java`.
pub const RECOVERY_STATE: i32 = 204;
/// Snapshots taken.
pub const SNAPSHOT_COUNT: i32 = 205;
/// State of the election, 0 to 17; CLOSED 17.
pub const ELECTION_STATE: i32 = 207;
/// State of a cluster backup, 0 to 7.
pub const BACKUP_STATE: i32 = 208;
/// Position of the live log in a backup, bytes.
pub const BACKUP_LIVE_LOG_POSITION: i32 = 209;
/// When a backup asks next, epoch ms.
pub const BACKUP_QUERY_DEADLINE: i32 = 210;
/// Errors of a backup.
pub const BACKUP_ERRORS: i32 = 211;
/// Errors of the consensus module.
pub const CONSENSUS_MODULE_ERRORS: i32 = 212;
/// Clients that timed out.
pub const CLIENT_TIMEOUTS: i32 = 213;
/// Requests of clients that were invalid.
pub const INVALID_REQUESTS: i32 = 214;
/// Errors of a service; key: cluster id, service id.
pub const SERVICE_ERRORS: i32 = 215;
/// Longest duty cycle of the consensus module, ns.
pub const CLUSTER_CYCLE_TIME_MAX: i32 = 216;
/// Duty cycles of the consensus module that took too long.
pub const CLUSTER_CYCLE_TIME_EXCEEDED: i32 = 217;
/// Longest duty cycle of a service, ns; key: cluster id, service id.
pub const SERVICE_CYCLE_TIME_MAX: i32 = 218;
/// Duty cycles of a service that took too long; key: cluster id, service id.
pub const SERVICE_CYCLE_TIME_EXCEEDED: i32 = 219;
/// State of the standby.
pub const STANDBY_STATE: i32 = 220;
/// Errors of the standby.
pub const STANDBY_ERRORS: i32 = 221;
/// Heartbeat responses that the standby sent.
pub const STANDBY_HEARTBEAT_RESPONSES: i32 = 222;
/// The standby's toggle: INACTIVE 0, NEUTRAL 1, SNAPSHOT 2, ACTIVATE 3, DRY_RUN 4.
pub const STANDBY_CONTROL_TOGGLE: i32 = 223;
/// State of the change from standby to active, and how the last request ended.
pub const TRANSITION_STATE: i32 = 224;
/// Errors of the change from standby to active.
pub const TRANSITION_ERRORS: i32 = 226;
/// Longest duty cycle of the standby, ns.
pub const STANDBY_CYCLE_TIME_MAX: i32 = 227;
/// Duty cycles of the standby that took too long.
pub const STANDBY_CYCLE_TIME_EXCEEDED: i32 = 228;
/// Longest duty cycle of the transition, ns.
pub const TRANSITION_CYCLE_TIME_MAX: i32 = 229;
/// Duty cycles of the transition that took too long.
pub const TRANSITION_CYCLE_TIME_EXCEEDED: i32 = 230;
/// Member that the standby follows, -1 for none.
pub const STANDBY_SOURCE_MEMBER_ID: i32 = 231;
/// Standby snapshots taken or received.
pub const STANDBY_SNAPSHOT_COUNT: i32 = 232;
/// The toggle that `NodeControl` sets.
pub const NODE_CONTROL_TOGGLE: i32 = 233;
/// Longest snapshot of all services together, ns.
pub const TOTAL_SNAPSHOT_DURATION_MAX: i32 = 234;
/// Snapshots of all services together that took too long.
pub const TOTAL_SNAPSHOT_DURATION_EXCEEDED: i32 = 235;
/// Longest snapshot of a service, ns; key: cluster id, service id.
pub const SERVICE_SNAPSHOT_DURATION_MAX: i32 = 236;
/// Snapshots of a service that took too long; key: cluster id, service id.
pub const SERVICE_SNAPSHOT_DURATION_EXCEEDED: i32 = 237;
/// Elections.
pub const ELECTION_COUNT: i32 = 238;
/// The leadership term.
pub const LEADERSHIP_TERM_ID: i32 = 239;
/// Snapshots that a backup fetched.
pub const BACKUP_SNAPSHOT_RETRIEVE_COUNT: i32 = 240;
/// A client's session; key: cluster id, cluster session id.
pub const CLUSTER_SESSION: i32 = 241;

/// Value of a toggle that nobody may set.
pub const TOGGLE_INACTIVE: i64 = 0;
/// Value of a toggle that waits for a request.
pub const TOGGLE_NEUTRAL: i64 = 1;
/// Value of [`STANDBY_CONTROL_TOGGLE`]: take a snapshot.
pub const TOGGLE_SNAPSHOT: i64 = 2;
/// Value of [`STANDBY_CONTROL_TOGGLE`]: lead.
pub const TOGGLE_ACTIVATE: i64 = 3;
/// Value of [`STANDBY_CONTROL_TOGGLE`]: say what [`TOGGLE_ACTIVATE`] would do.
pub const TOGGLE_DRY_RUN: i64 = 4;

/// Value of [`CLUSTER_CONTROL_TOGGLE`]: take no more of clients.
pub const CONTROL_SUSPEND: i64 = 2;
/// Value of [`CLUSTER_CONTROL_TOGGLE`], in place of suspend: go on.
pub const CONTROL_RESUME: i64 = 3;
/// Value of [`CLUSTER_CONTROL_TOGGLE`]: take a snapshot.
pub const CONTROL_SNAPSHOT: i64 = 4;
/// Value of [`CLUSTER_CONTROL_TOGGLE`]: take a snapshot and stop.
pub const CONTROL_SHUTDOWN: i64 = 5;
/// Value of [`CLUSTER_CONTROL_TOGGLE`]: stop.
pub const CONTROL_ABORT: i64 = 6;
/// Value of [`CLUSTER_CONTROL_TOGGLE`]: have standbys take a snapshot.
pub const CONTROL_STANDBY_SNAPSHOT: i64 = 7;

/// Value of [`NODE_CONTROL_TOGGLE`]: fetch the newest snapshot that a standby announced.
pub const NODE_REPLICATE_STANDBY_SNAPSHOT: i64 = 2;
/// Value of [`NODE_CONTROL_TOGGLE`]: mark snapshots as invalid whose recordings are not there.
pub const NODE_VALIDATE_RECORDING_LOG: i64 = 3;

/// A kind of counter: its type id, its name in labels, and what its value counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CounterKind {
    /// Type id, what tools search for.
    pub type_id: i32,
    /// Name, the beginning of the label.
    pub name: &'static str,
    /// Unit of the value.
    pub unit: Unit,
    /// Whether there is one for each service, with the key (cluster id, service id).
    pub per_service: bool,
}

/// What a counter's value counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unit {
    /// A position in the cluster's log, bytes.
    Position,
    /// An amount of bytes.
    Bytes,
    /// A duration, ns.
    Nanoseconds,
    /// How often something happened, or how many there are.
    Count,
}

/// For how long nothing was heard of a member of the cluster, ns; -1 if it never was. Key: cluster id i32,
/// member id i32.
pub const MEMBER_SIGN_AGE: i32 = 10101;

/// One figure of a service, or its name. Key: cluster id i32, service id i32, what the value is i32, name.
pub const SERVICE_FIELD: i32 = 10100;

macro_rules! own_counters {
    ($($(#[$meta:meta])* $constant:ident = $type_id:literal, $name:literal, $unit:ident $(, $per_service:ident)?;)*) => {
        $($(#[$meta])* pub const $constant: CounterKind = CounterKind {
            type_id: $type_id,
            name: $name,
            unit: Unit::$unit,
            per_service: own_counters!(@ $($per_service)?),
        };)*

        /// Every kind of counter that is ours and not Aeron's.
        pub const OWN_COUNTERS: &[CounterKind] = &[$($constant),*];
    };
    (@) => { false };
    (@ per_service) => { true };
}

own_counters! {
    /// Recorded position of the source's own log, as its archive last told.
    SOURCE_POSITION = 10000, "Standby source position", Position;
    /// Contiguous position received.
    RECEIVED_POSITION = 10001, "Standby received position", Position;
    /// Position recorded: in the segment file, not necessarily on disk.
    RECORDED_POSITION = 10002, "Standby recorded position", Position;
    /// Position that survives a power cut.
    DURABLE_POSITION = 10003, "Standby durable position", Position;
    /// Position that a service has applied.
    APPLIED_POSITION = 10004, "Standby applied position", Position, per_service;
    /// Source position less applied position.
    LAG_BYTES = 10005, "Standby lag in bytes", Bytes;
    /// Age of the oldest sample of the source position that is not applied yet.
    LAG_NS = 10006, "Standby lag in ns", Nanoseconds;
    /// Age of the last sample of the source position.
    SOURCE_POSITION_AGE_NS = 10007, "Standby source position age in ns", Nanoseconds;
    /// Changes from one source to another.
    SOURCE_CHANGES = 10008, "Standby source changes", Count;
    /// Segments that the receiver had to create because the prepared one was late.
    SEGMENTS_LATE = 10009, "Standby segments not prepared in time", Count;
    /// Who leads, as last heard; -1 for unknown.
    LEADER_MEMBER_ID = 10015, "Standby leader memberId", Count;
    /// Times that bytes of the log were missing when later ones had arrived.
    LOSS_GAPS = 10016, "Standby loss gaps", Count;
    /// Bytes that were missing.
    LOSS_BYTES = 10017, "Standby loss bytes", Bytes;
    /// Median time from the receipt of a datagram to its last message being applied.
    APPLY_LAG_P50_NS = 10018, "Standby apply lag p50 in ns", Nanoseconds, per_service;
    /// 99th percentile of the same.
    APPLY_LAG_P99_NS = 10019, "Standby apply lag p99 in ns", Nanoseconds, per_service;
    /// 99.9th percentile of the same.
    APPLY_LAG_P999_NS = 10020, "Standby apply lag p99.9 in ns", Nanoseconds, per_service;
    /// The longest.
    APPLY_LAG_MAX_NS = 10021, "Standby apply lag max in ns", Nanoseconds, per_service;
    /// How many batches the figures stand for.
    APPLY_LAG_COUNT = 10022, "Standby apply lag count", Count, per_service;
    /// The most messages of a service that the log held at once and that the service here had not offered: above 0 it
    /// is not deterministic.
    MISSED_MESSAGES = 10023, "Standby service messages missed", Count, per_service;
    /// Log position of the newest snapshot set, -1 for none.
    SNAPSHOT_POSITION = 10030, "Standby snapshot position", Position;
    /// When this process published it, epoch ms; 0 if another did.
    SNAPSHOT_TIME_MS = 10031, "Standby snapshot time in epoch ms", Count;
    /// From the first part of the last snapshot to its publication.
    SNAPSHOT_DURATION_NS = 10032, "Standby snapshot duration in ns", Nanoseconds;
    /// Snapshots that were given up.
    SNAPSHOT_FAILURES = 10033, "Standby snapshots given up", Count;
    /// How the last request by the toggle ended: the snapshot's log position, or -1 if it was refused or given up.
    SNAPSHOT_RESULT = 10034, "Standby snapshot result", Position;
    /// Longest time that a service's apply loop stood still for a snapshot.
    SNAPSHOT_STOP_MAX_NS = 10035, "Standby snapshot apply stop max in ns", Nanoseconds, per_service;
    /// Longest time that the consensus module's part of a snapshot took.
    SNAPSHOT_MODULE_STOP_MAX_NS = 10036, "Standby snapshot module stop max in ns", Nanoseconds;
    /// Backup queries and heartbeats of others that were answered.
    REQUESTS_ANSWERED = 10040, "Standby requests answered", Count;
    /// Requests of others that were turned away, or could not be answered.
    REQUESTS_REFUSED = 10041, "Standby requests refused", Count;
    /// Messages of members and their archives that did not decode.
    INVALID_MESSAGES = 10042, "Standby invalid messages", Count;
    /// Runs of datagrams that a socket's send queue had no room for; key: cluster id, socket.
    SEND_QUEUE_FULL = 10050, "Standby sends dropped, queue full", Count;
    /// Datagrams that the kernel refused for their destination or length; key: cluster id, socket.
    DATAGRAMS_REFUSED = 10051, "Standby sends refused by the kernel", Count;
    /// Datagrams that arrived cut short, or from no UDP address; key: cluster id, socket.
    DATAGRAMS_MALFORMED = 10052, "Standby datagrams malformed", Count;
    /// Errors that an ICMP message caused, such as a closed port; key: cluster id, socket.
    ICMP_ERRORS = 10053, "Standby ICMP errors", Count;
    /// Messages of clients that this node has put into the log, as a leader.
    CLIENT_MESSAGES_APPENDED = 10060, "Standby leader client messages appended", Count;
    /// Messages of clients that were of another term or of no open session.
    CLIENT_MESSAGES_IGNORED = 10061, "Standby leader client messages ignored", Count;
    /// Messages of clients that did not decode, were too long or broke off.
    CLIENT_MESSAGES_INVALID = 10062, "Standby leader client messages invalid", Count;
    /// Clients that asked for a session and got none.
    CLIENTS_REJECTED = 10063, "Standby leader clients rejected", Count;
    /// Replies that found no client, or no room.
    REPLIES_REFUSED = 10064, "Standby leader replies refused", Count;
    /// How often the log took nothing when there was something to append.
    LOG_FULL = 10065, "Standby leader log full", Count;
}

/// Type id of the driver's system counters; key: their id.
pub const SYSTEM: i32 = 0;
/// System counter: bytes sent.
pub const SYSTEM_BYTES_SENT: usize = 0;
/// System counter: bytes received.
pub const SYSTEM_BYTES_RECEIVED: usize = 1;
/// System counter: NAKs sent.
pub const SYSTEM_NAKS_SENT: usize = 5;
/// System counter: NAKs received.
pub const SYSTEM_NAKS_RECEIVED: usize = 6;
/// System counter: status messages sent.
pub const SYSTEM_STATUS_MESSAGES_SENT: usize = 7;
/// System counter: status messages received.
pub const SYSTEM_STATUS_MESSAGES_RECEIVED: usize = 8;
/// System counter: heartbeats sent.
pub const SYSTEM_HEARTBEATS_SENT: usize = 9;
/// System counter: heartbeats received.
pub const SYSTEM_HEARTBEATS_RECEIVED: usize = 10;
/// System counter: retransmits sent.
pub const SYSTEM_RETRANSMITS_SENT: usize = 11;
/// System counter: packets below the window.
pub const SYSTEM_UNDER_RUNS: usize = 12;
/// System counter: packets above the window.
pub const SYSTEM_OVER_RUNS: usize = 13;
/// System counter: packets that were no valid frame.
pub const SYSTEM_INVALID_PACKETS: usize = 14;
/// System counter: distinct and repeated errors.
pub const SYSTEM_ERRORS: usize = 15;
/// System counter: sends that the socket cut short.
pub const SYSTEM_SHORT_SENDS: usize = 16;
/// System counter: version of the software, as a semantic version.
pub const SYSTEM_VERSION: usize = 34;
/// System counter: version of the control protocol, by whose slot Java clients find it.
pub const SYSTEM_CONTROL_PROTOCOL_VERSION: usize = 43;
/// System counter: status messages that were out of range.
pub const SYSTEM_STATUS_MESSAGES_REJECTED: usize = 44;

/// Labels of the system counters, whose counter ids are their places here: a client looks some up by id, so
/// these slots come first and stay, whether or not this process ever counts in them. At two, a version is
/// appended: see [`system_label`].
pub const SYSTEM_LABELS: [&str; 46] = [
    "Bytes sent",
    "Bytes received",
    "Failed offers to ReceiverProxy",
    "Failed offers to SenderProxy",
    "Failed offers to DriverConductorProxy",
    "NAKs sent",
    "NAKs received",
    "Status Messages sent",
    "Status Messages received",
    "Heartbeats sent",
    "Heartbeats received",
    "Retransmits sent",
    "Flow control under runs",
    "Flow control over runs",
    "Invalid packets",
    "Errors",
    "Short sends",
    "Failed attempts to free log buffers",
    "Sender flow control limits, i.e. back-pressure events",
    "Unblocked Publications",
    "Unblocked Control Commands",
    "Possible TTL Asymmetry",
    "ControllableIdleStrategy status",
    "Loss gap fills",
    "Client liveness timeouts",
    "Resolution changes",
    "Conductor max cycle time doing its work in ns",
    "Conductor work cycle exceeded threshold count",
    "Sender max cycle time doing its work in ns",
    "Sender work cycle exceeded threshold count",
    "Receiver max cycle time doing its work in ns",
    "Receiver work cycle exceeded threshold count",
    "NameResolver max time in ns",
    "NameResolver exceeded threshold count",
    "Aeron software",
    "Bytes currently mapped",
    "Retransmitted bytes",
    "Retransmit Pool Overflow count",
    "Error Frames received",
    "Error Frames sent",
    "Publications Revoked",
    "Publication Images Revoked",
    "Images rejected",
    "Control protocol version",
    "Status Messages rejected",
    "Failed offers to AsyncExecutorProxy",
];

/// The label of system counter `id`, with `version` (such as `version=0.1.0 commit=abc`) where Aeron has one.
///
/// # Panics
/// When `id` is above 45.
pub fn system_label(id: usize, version: &str) -> String {
    let label = SYSTEM_LABELS[id];
    match id {
        SYSTEM_ERRORS | SYSTEM_VERSION => format!("{label}: {version}"),
        _ => label.to_owned(),
    }
}
