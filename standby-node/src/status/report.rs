//! The reading side: the `status` verb, as text, as JSON, and as an exit code for monitors.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use consensus_tap::file::cnc::counters as kind;
use consensus_tap::tap::TapState;
use serde::Serialize;
use serde_json::{Map, Value};

use super::activation_status::{ActivationStatus, LastActivation, MemberStatus};
use super::gauges::{FIELD_NAME_OFFSET, FieldKind};
use super::leader_gauges::{ModuleState, ROLE_LEADER};
use crate::agent::snapshot_control::SNAPSHOT_ERROR;
use crate::store::StoreError;
use crate::store::cnc::{CncError, CncReader};
use crate::store::error_log::ErrorEntry;
use crate::store::standby_snapshots::{MemberRecord, StandbySnapshots};
use crate::sys::clock;

/// What cnc.dat says of a node.
#[derive(Clone, Debug, Serialize)]
pub struct StatusReport {
    /// `BACKUP_QUERY`, `FOLLOWING`, `DIVERGED`, …; of a node that leads `ACTIVE`, `SUSPENDED`, `SNAPSHOT` or
    /// `TERMINATING`; `FENCED` of one that led and may not; `DOWN` when the node does not run.
    pub state: String,
    /// `STANDBY`, `BACKUP` where no service is hosted, or `LEADER`.
    pub role: &'static str,
    /// Process that wrote it.
    pub pid: i64,
    /// The member that is followed, -1 for none.
    pub source_member_id: i64,
    /// Who leads, -1 for unknown.
    pub leader_member_id: i64,
    /// Newest leadership term as last heard.
    pub leadership_term_id: i64,
    /// Recorded position of the source's own log: an upper bound of its commit.
    pub source_position: i64,
    /// Age of that figure.
    pub source_position_age_ns: i64,
    /// Highest position that has arrived.
    pub received_position: i64,
    /// End of the recording.
    pub recorded_position: i64,
    /// What survives a power cut.
    pub durable_position: i64,
    /// Where the slowest service stands.
    pub applied_position: i64,
    /// `source_position - applied_position`.
    pub lag_bytes: i64,
    /// Age of the oldest source position that the services have not reached; -1 without a source.
    pub lag_ns: i64,
    /// Entries of the error log.
    pub errors: usize,
    /// What a node that leads does for its clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leading: Option<LeadingReport>,
    /// How far it is from standby to leader.
    pub activation: ActivationStatus,
    /// How the last request to lead went, or is going; `None` for none, or before [`Self::with_files`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_activation: Option<LastActivation>,
    /// The node's own snapshots.
    pub snapshots: SnapshotsReport,
    /// Snapshot sets that were fetched from members since the start, where newer ones are fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshots_retrieved: Option<i64>,
    /// When newer ones are asked for next, epoch ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_query_deadline_ms: Option<i64>,
    /// Gaps in what arrived.
    pub loss_gaps: i64,
    /// Bytes in them.
    pub loss_bytes: i64,
    /// Requests for what was missing.
    pub naks_sent: i64,
    /// Sources given up.
    pub re_sources: i64,
    /// Answers to heartbeats.
    pub heartbeat_responses: i64,
    /// Datagrams that were none of Aeron's.
    pub invalid_packets: i64,
    /// Messages of members that did not decode.
    pub invalid_messages: i64,
    /// What was dropped at the sockets, and what the network complained of.
    pub sockets: SocketsReport,
    /// Segments of the log that were not ready when they were needed.
    pub segments_late: i64,
    /// Longest duty cycle of the thread that receives.
    pub cycle_time_max_ns: i64,
    /// How many of its cycles took longer than the threshold that the label of counter 228 names.
    pub cycle_time_exceeded: i64,
    /// The members of the cluster that are looked for.
    pub members: Vec<MemberStatus>,
    /// Each service.
    pub services: Vec<ServiceReport>,
    /// What each member was last told of our snapshots; empty before [`Self::with_files`].
    pub standby_snapshots: Vec<MemberRecord>,
}

/// What cnc.dat says of a node that leads.
#[derive(Clone, Debug, Serialize)]
pub struct LeadingReport {
    /// How far the log counts.
    pub commit_position: i64,
    /// Sessions that are open.
    pub sessions: usize,
    /// Messages of clients in the log.
    pub messages_appended: i64,
    /// Messages of another term or of no open session.
    pub messages_ignored: i64,
    /// Messages that did not decode, were too long or broke off.
    pub messages_invalid: i64,
    /// Clients that got no session.
    pub clients_rejected: i64,
    /// Clients that fell silent.
    pub clients_timed_out: i64,
    /// Replies that found no client, or no room.
    pub replies_refused: i64,
    /// How often the log took nothing when there was something to append.
    pub log_full: i64,
}

/// What cnc.dat says of both sockets together.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SocketsReport {
    /// Runs of datagrams that were dropped because a send queue was full.
    pub queue_full: i64,
    /// Datagrams that the kernel refused to send.
    pub refused: i64,
    /// Datagrams that arrived cut short or from nowhere.
    pub malformed: i64,
    /// Errors that other hosts reported, such as a closed port.
    pub icmp_errors: i64,
}

/// What cnc.dat says of the node's own snapshots.
#[derive(Clone, Debug, Serialize)]
pub struct SnapshotsReport {
    /// `INACTIVE` while nothing can be asked for, `NEUTRAL`, or what is asked for: `SNAPSHOT`, `ACTIVATE`, `DRY_RUN`.
    pub toggle: String,
    /// Log position of the newest set, whoever took it; -1 for none.
    pub position: i64,
    /// When this process published one last, epoch ms; 0 for not yet.
    pub time_ms: i64,
    /// How many this process has taken.
    pub count: i64,
    /// How many it has given up.
    pub failures: i64,
    /// How long the last one took until it counted.
    pub duration_ns: i64,
    /// The longest that an apply loop, or the module behind it, stood still for one.
    pub stop_max_ns: i64,
    /// Why the last one was given up that was.
    pub last_error: Option<String>,
}

/// What cnc.dat says of one service.
#[derive(Clone, Debug, Serialize)]
pub struct ServiceReport {
    /// Its id.
    pub id: i32,
    /// Its name.
    pub name: String,
    /// Where it stands in the log.
    pub applied_position: i64,
    /// Messages of the service that the log held and that it had not offered, the most at once: above 0 it is not
    /// deterministic, here or on the members.
    pub missed_messages: i64,
    /// Longest duty cycle of its thread.
    pub cycle_time_max_ns: i64,
    /// How many of its thread's cycles took longer than the threshold.
    pub cycle_time_exceeded: i64,
    /// Receipt to applied, in nanoseconds: `p50`, `p99`, `p999`, `max`, and over how many batches.
    pub apply_lag_ns: Map<String, Value>,
    /// Its own figures.
    #[serde(flatten)]
    pub figures: Map<String, Value>,
}

/// What a monitor tolerates.
#[derive(Clone, Copy, Debug)]
pub struct CheckLimits {
    /// Most bytes behind the source.
    pub lag_bytes: Option<u64>,
    /// Longest time behind the source.
    pub lag: Option<Duration>,
}

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// No cnc.dat, or not one of ours.
    #[error("{0}; is this the --dir of a node that has been started?")]
    Cnc(#[from] CncError),
    /// A file that the node keeps beside it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A cnc.dat without a standby's counters.
    #[error(
        "{}: its cnc.dat is not a standby's (it has no counter of type 220), but a media driver's or another \
         program's; give the --dir of a node that `run` has started, and --aeron-dir if that node has one",
        path.display()
    )]
    NotAStandby {
        /// The directory.
        path: PathBuf,
    },
}

impl StatusReport {
    /// Reads the cnc.dat in `aeron_dir`.
    ///
    /// # Errors
    /// [`StatusError`].
    pub fn read(aeron_dir: &Path) -> Result<Self, StatusError> {
        let cnc = CncReader::open(aeron_dir)?;
        let state = cnc
            .find(kind::STANDBY_STATE, &[])
            .ok_or_else(|| StatusError::NotAStandby { path: aeron_dir.to_owned() })?
            .value;
        let is_alive = cnc.is_alive(clock::epoch_ms());
        let value = |type_id| cnc.find(type_id, &[]).map_or(-1, |counter| counter.value);
        let own = |kind: &kind::CounterKind| value(kind.type_id);
        let system = |id: usize| {
            cnc.counters().nth(id).filter(|counter| counter.type_id == kind::SYSTEM).map_or(0, |c| c.value)
        };
        let sum = |kind: &kind::CounterKind| {
            cnc.counters()
                .filter(|counter| counter.type_id == kind.type_id)
                .map(|counter| counter.value)
                .sum()
        };
        let services = services(&cnc);
        let errors = cnc.errors();
        let recorded_position = own(&kind::RECORDED_POSITION);
        let applied_position =
            services.iter().map(|service| service.applied_position).min().unwrap_or(recorded_position);
        let leads = value(kind::NODE_ROLE) == ROLE_LEADER;
        let activation = ActivationStatus::read(&cnc);
        Ok(Self {
            state: match TapState::from_value(state) {
                _ if !is_alive => "DOWN".to_owned(),
                _ if leads => ModuleState::name_of(value(kind::CONSENSUS_MODULE_STATE)),
                _ if activation.is_fenced() => activation.state.clone(),
                Some(state) => state.name().to_owned(),
                None => format!("UNKNOWN({state})"),
            },
            role: match services.is_empty() {
                _ if leads => "LEADER",
                true => "BACKUP",
                false => "STANDBY",
            },
            pid: cnc.pid(),
            source_member_id: value(kind::STANDBY_SOURCE_MEMBER_ID),
            leader_member_id: own(&kind::LEADER_MEMBER_ID),
            leadership_term_id: value(kind::LEADERSHIP_TERM_ID),
            source_position: own(&kind::SOURCE_POSITION),
            source_position_age_ns: own(&kind::SOURCE_POSITION_AGE_NS),
            received_position: own(&kind::RECEIVED_POSITION),
            recorded_position,
            durable_position: own(&kind::DURABLE_POSITION),
            applied_position,
            lag_bytes: own(&kind::LAG_BYTES),
            lag_ns: own(&kind::LAG_NS),
            errors: errors.len(),
            leading: leads.then(|| LeadingReport {
                commit_position: value(kind::COMMIT_POSITION),
                sessions: cnc.counters().filter(|counter| counter.type_id == kind::CLUSTER_SESSION).count(),
                messages_appended: own(&kind::CLIENT_MESSAGES_APPENDED),
                messages_ignored: own(&kind::CLIENT_MESSAGES_IGNORED),
                messages_invalid: own(&kind::CLIENT_MESSAGES_INVALID),
                clients_rejected: own(&kind::CLIENTS_REJECTED),
                clients_timed_out: value(kind::CLIENT_TIMEOUTS),
                replies_refused: own(&kind::REPLIES_REFUSED),
                log_full: own(&kind::LOG_FULL),
            }),
            activation,
            last_activation: None,
            snapshots: SnapshotsReport {
                toggle: match value(kind::STANDBY_CONTROL_TOGGLE) {
                    kind::TOGGLE_INACTIVE => "INACTIVE".to_owned(),
                    kind::TOGGLE_NEUTRAL => "NEUTRAL".to_owned(),
                    kind::TOGGLE_SNAPSHOT => "SNAPSHOT".to_owned(),
                    kind::TOGGLE_ACTIVATE => "ACTIVATE".to_owned(),
                    kind::TOGGLE_DRY_RUN => "DRY_RUN".to_owned(),
                    other => format!("UNKNOWN({other})"),
                },
                position: own(&kind::SNAPSHOT_POSITION),
                time_ms: own(&kind::SNAPSHOT_TIME_MS),
                count: value(kind::SNAPSHOT_COUNT),
                failures: own(&kind::SNAPSHOT_FAILURES),
                duration_ns: own(&kind::SNAPSHOT_DURATION_NS),
                stop_max_ns: cnc
                    .counters()
                    .filter(|counter| STOPS.contains(&counter.type_id))
                    .map(|counter| counter.value)
                    .max()
                    .unwrap_or_default(),
                last_error: newest_snapshot_error(&errors).map(|error| error.text.clone()),
            },
            snapshots_retrieved: cnc.find(kind::BACKUP_SNAPSHOT_RETRIEVE_COUNT, &[]).map(|c| c.value),
            backup_query_deadline_ms: cnc.find(kind::BACKUP_QUERY_DEADLINE, &[]).map(|c| c.value),
            loss_gaps: own(&kind::LOSS_GAPS),
            loss_bytes: own(&kind::LOSS_BYTES),
            naks_sent: system(kind::SYSTEM_NAKS_SENT),
            re_sources: own(&kind::SOURCE_CHANGES),
            heartbeat_responses: value(kind::STANDBY_HEARTBEAT_RESPONSES),
            invalid_packets: system(kind::SYSTEM_INVALID_PACKETS),
            invalid_messages: own(&kind::INVALID_MESSAGES),
            sockets: SocketsReport {
                queue_full: sum(&kind::SEND_QUEUE_FULL),
                refused: sum(&kind::DATAGRAMS_REFUSED),
                malformed: sum(&kind::DATAGRAMS_MALFORMED),
                icmp_errors: sum(&kind::ICMP_ERRORS),
            },
            segments_late: own(&kind::SEGMENTS_LATE),
            cycle_time_max_ns: value(kind::STANDBY_CYCLE_TIME_MAX),
            cycle_time_exceeded: value(kind::STANDBY_CYCLE_TIME_EXCEEDED),
            members: MemberStatus::read_all(&cnc),
            services,
            standby_snapshots: Vec::new(),
        })
    }

    /// With what the files of the node in `dir` say of its announcements, and of the last request to lead.
    ///
    /// # Errors
    /// [`StatusError::Store`].
    pub fn with_files(self, dir: &Path) -> Result<Self, StatusError> {
        let cluster = dir.join("cluster");
        let standby_snapshots = StandbySnapshots::read(&StandbySnapshots::path_in(&cluster))?.members;
        let last_activation = LastActivation::read(&cluster);
        Ok(Self { standby_snapshots, last_activation, ..self })
    }

    /// What a monitor should be told, empty when all is well.
    pub fn problems(&self, limits: CheckLimits) -> Vec<String> {
        let mut problems = Vec::new();
        let leads = self.leading.is_some();
        let is_well = match leads {
            true => ["ACTIVE", "SNAPSHOT"].contains(&self.state.as_str()),
            false => self.state == TapState::Following.name(),
        };
        if !is_well {
            let wanted = if leads { "ACTIVE" } else { TapState::Following.name() };
            problems.push(format!("state is {}, not {wanted}", self.state));
        }
        if let Some(max) = limits.lag_bytes.filter(|_| !leads)
            && !u64::try_from(self.lag_bytes).is_ok_and(|lag_bytes| lag_bytes <= max)
        {
            problems.push(match self.lag_bytes {
                ..0 => "lag_bytes is unknown: no source tells how far the log is".to_owned(),
                lag_bytes => format!("lag_bytes is {lag_bytes}, more than {max}"),
            });
        }
        if let Some(max) = limits.lag.filter(|_| !leads)
            && !u128::try_from(self.lag_ns).is_ok_and(|lag_ns| lag_ns <= max.as_nanos())
        {
            problems.push(match self.lag_ns {
                ..0 => "lag_ns is unknown: nothing was applied yet".to_owned(),
                lag_ns => format!("lag_ns is {lag_ns}, more than {}", max.as_nanos()),
            });
        }
        for ServiceReport { id, missed_messages, .. } in
            self.services.iter().filter(|service| service.missed_messages > 0)
        {
            problems.push(format!(
                "service {id} is not deterministic: the log holds {missed_messages} messages of it that it did not \
                 offer here"
            ));
        }
        problems
    }

    /// As text, one figure a line.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        if let Ok(Value::Object(fields)) = serde_json::to_value(self) {
            for (name, value) in fields.iter().filter(|(_, value)| !value.is_array()) {
                let value = value.as_object().map_or_else(|| plain(value), figures);
                let _ = writeln!(text, "{name:<24} {value}");
            }
            let lists =
                [("members", "member"), ("services", "service"), ("standby_snapshots", "standby_snapshot")];
            for (list, title) in lists {
                for entry in fields.get(list).and_then(Value::as_array).into_iter().flatten() {
                    let figures = entry.as_object().map(figures).unwrap_or_default();
                    let _ = writeln!(text, "{title:<24} {figures}");
                }
            }
        }
        text
    }
}

/// The newest entry of an error log that is about a snapshot.
pub fn newest_snapshot_error(errors: &[ErrorEntry]) -> Option<&ErrorEntry> {
    let about = errors.iter().filter(|error| error.text.starts_with(SNAPSHOT_ERROR));
    about.max_by_key(|error| error.last_timestamp_ms)
}

const STOPS: [i32; 2] = [kind::SNAPSHOT_STOP_MAX_NS.type_id, kind::SNAPSHOT_MODULE_STOP_MAX_NS.type_id];

fn figures(fields: &Map<String, Value>) -> String {
    let figure = |(name, value): (&String, &Value)| match value {
        Value::Object(parts) => {
            let part = |(part, value)| format!("{name}.{part}={}", plain(value));
            parts.iter().map(part).collect::<Vec<_>>().join(" ")
        }
        value => format!("{name}={}", plain(value)),
    };
    fields.iter().map(figure).collect::<Vec<_>>().join(" ")
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "none".to_owned(),
        other => other.to_string(),
    }
}

fn services(cnc: &CncReader) -> Vec<ServiceReport> {
    let mut services: Vec<ServiceReport> = Vec::new();
    for counter in cnc.counters().filter(|counter| counter.type_id == kind::SERVICE_FIELD) {
        let Some((header, name)) = counter.key.split_first_chunk::<FIELD_NAME_OFFSET>() else { continue };
        let part =
            |at: usize| i32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let name = String::from_utf8_lossy(name).trim_end_matches('\0').to_owned();
        let id = part(4);
        match FieldKind::from_value(part(8)) {
            Some(FieldKind::Name) => services.push(service_report(cnc, id, name)),
            Some(field) => {
                if let Some(service) = services.iter_mut().find(|service| service.id == id) {
                    service.figures.insert(name, figure(field, counter.value));
                }
            }
            None => {}
        }
    }
    services
}

fn service_report(cnc: &CncReader, id: i32, name: String) -> ServiceReport {
    let of_type = |type_id| {
        cnc.counters()
            .find(|counter| {
                counter.type_id == type_id && counter.key.get(4..8) == Some(&id.to_le_bytes()[..])
            })
            .map_or(-1, |counter| counter.value)
    };
    let value = |kind: &kind::CounterKind| of_type(kind.type_id);
    let percentiles = [
        ("p50", value(&kind::APPLY_LAG_P50_NS)),
        ("p99", value(&kind::APPLY_LAG_P99_NS)),
        ("p999", value(&kind::APPLY_LAG_P999_NS)),
        ("max", value(&kind::APPLY_LAG_MAX_NS)),
        ("count", value(&kind::APPLY_LAG_COUNT)),
    ];
    ServiceReport {
        id,
        name,
        applied_position: value(&kind::APPLIED_POSITION),
        missed_messages: value(&kind::MISSED_MESSAGES),
        cycle_time_max_ns: of_type(kind::SERVICE_CYCLE_TIME_MAX),
        cycle_time_exceeded: of_type(kind::SERVICE_CYCLE_TIME_EXCEEDED),
        apply_lag_ns: percentiles.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect(),
        figures: Map::new(),
    }
}

fn figure(kind: FieldKind, value: i64) -> Value {
    match kind {
        FieldKind::Name | FieldKind::I64 => value.into(),
        FieldKind::U64 => (value as u64).into(),
        FieldKind::Hex => format!("{:016x}", value as u64).into(),
    }
}
