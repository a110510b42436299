//! The writing side: what each agent shows of itself in cnc.dat.

use consensus_tap::endpoint::TransportCounters;
use consensus_tap::file::cnc::{KEY_LENGTH_MAX, counters as kind};
use consensus_tap::tap::TapStatus;
use service_api::{StatusFields, StatusValue};

use super::{BackupGauges, LagFigures, LagWindow, LogGauges, SocketGauges, SocketRole, SourceGauges};
use crate::net::IoCounters;
use crate::store::counters::{Counter, CountersFull, CountersManager};
use crate::sys::clock;

/// Counters of the receiver.
#[derive(Debug)]
pub struct ReceiverGauges {
    state: Counter,
    heartbeat_responses: Counter,
    source_member_id: Counter,
    leader_member_id: Counter,
    leadership_term_id: Counter,
    source_position: Counter,
    source_position_age_ns: Counter,
    received_position: Counter,
    recorded_position: Counter,
    commit_position: Counter,
    lag_bytes: Counter,
    lag_ns: Counter,
    source_changes: Counter,
    loss_gaps: Counter,
    loss_bytes: Counter,
    bytes_sent: Counter,
    bytes_received: Counter,
    naks_sent: Counter,
    naks_received: Counter,
    status_messages_sent: Counter,
    invalid_packets: Counter,
    short_sends: Counter,
    invalid_messages: Counter,
    segments_late: Counter,
    socket: SocketGauges,
    /// Where each service stands; read here, written by the services.
    applied_positions: Vec<Counter>,
    /// Where newer snapshots are fetched.
    backup: Option<BackupGauges>,
}

impl ReceiverGauges {
    /// Allocates the receiver's counters. `applied_positions` are the services' own; `is_backup` adds those of a
    /// cluster backup.
    ///
    /// # Errors
    /// [`CountersFull`].
    pub fn allocate(
        counters: &mut CountersManager,
        cluster_id: i32,
        applied_positions: Vec<Counter>,
        is_backup: bool,
    ) -> Result<Self, CountersFull> {
        let backup = is_backup.then(|| BackupGauges::allocate(counters, cluster_id)).transpose()?;
        let mut cluster =
            |type_id, name, initial| counters.allocate_for_cluster(type_id, name, cluster_id, initial);
        let state = cluster(kind::STANDBY_STATE, "Cluster Standby State", 0)?;
        let heartbeat_responses =
            cluster(kind::STANDBY_HEARTBEAT_RESPONSES, "Cluster Standby heartbeat response count", 0)?;
        let source_member_id =
            cluster(kind::STANDBY_SOURCE_MEMBER_ID, "Cluster Standby source memberId", -1)?;
        let commit_position = cluster(kind::COMMIT_POSITION, "Cluster commit-pos:", -1)?;
        let leadership_term_id = cluster(kind::LEADERSHIP_TERM_ID, "Leadership term id", -1)?;
        let mut own = |kind: &kind::CounterKind, initial| -> Result<Counter, CountersFull> {
            let counter = counters.allocate_kind(kind, cluster_id, None)?;
            counter.set_ordered(initial);
            Ok(counter)
        };
        Ok(Self {
            state,
            heartbeat_responses,
            source_member_id,
            leadership_term_id,
            commit_position,
            leader_member_id: own(&kind::LEADER_MEMBER_ID, -1)?,
            source_position: own(&kind::SOURCE_POSITION, -1)?,
            source_position_age_ns: own(&kind::SOURCE_POSITION_AGE_NS, -1)?,
            received_position: own(&kind::RECEIVED_POSITION, -1)?,
            recorded_position: own(&kind::RECORDED_POSITION, -1)?,
            lag_bytes: own(&kind::LAG_BYTES, -1)?,
            lag_ns: own(&kind::LAG_NS, -1)?,
            source_changes: own(&kind::SOURCE_CHANGES, 0)?,
            loss_gaps: own(&kind::LOSS_GAPS, 0)?,
            loss_bytes: own(&kind::LOSS_BYTES, 0)?,
            invalid_messages: own(&kind::INVALID_MESSAGES, 0)?,
            segments_late: own(&kind::SEGMENTS_LATE, 0)?,
            socket: SocketGauges::allocate(counters, cluster_id, SocketRole::Receiver)?,
            bytes_sent: counters.system_counter(kind::SYSTEM_BYTES_SENT),
            bytes_received: counters.system_counter(kind::SYSTEM_BYTES_RECEIVED),
            naks_sent: counters.system_counter(kind::SYSTEM_NAKS_SENT),
            naks_received: counters.system_counter(kind::SYSTEM_NAKS_RECEIVED),
            status_messages_sent: counters.system_counter(kind::SYSTEM_STATUS_MESSAGES_SENT),
            invalid_packets: counters.system_counter(kind::SYSTEM_INVALID_PACKETS),
            short_sends: counters.system_counter(kind::SYSTEM_SHORT_SENDS),
            applied_positions,
            backup,
        })
    }

    /// Where the slowest service stands; `i64::MAX` in a node without services.
    pub fn applied_position(&self) -> i64 {
        self.applied_positions.iter().map(Counter::get).min().unwrap_or(i64::MAX)
    }

    /// Shows where the log ends: the one figure that changes with every batch. All that is recorded is committed.
    pub fn show_recorded(&self, position: i64) {
        self.recorded_position.set_ordered(position);
        self.commit_position.set_ordered(position);
    }

    /// Shows how many segments of the log were not ready in time.
    pub fn show_segments_late(&self, count: u64) {
        self.segments_late.set_ordered(count as i64);
    }

    /// The counters that whoever leads shows from then on.
    pub fn log_gauges(&self) -> LogGauges {
        LogGauges {
            recorded_position: self.recorded_position.clone(),
            commit_position: self.commit_position.clone(),
            segments_late: self.segments_late.clone(),
        }
    }

    /// The counters of the term and who leads it, shown by the conductor once this node does.
    pub fn term_gauges(&self) -> (Counter, Counter) {
        (self.leadership_term_id.clone(), self.leader_member_id.clone())
    }

    /// What is shown of the source, for the conductor to read.
    pub fn source_gauges(&self) -> SourceGauges {
        SourceGauges {
            state: self.state.clone(),
            source_member_id: self.source_member_id.clone(),
            leadership_term_id: self.leadership_term_id.clone(),
            received_position: self.received_position.clone(),
            source_position: self.source_position.clone(),
            source_position_age_ns: self.source_position_age_ns.clone(),
        }
    }

    /// Id of the counter of the commit position, by which others bound their replays.
    pub fn commit_position_counter_id(&self) -> i32 {
        self.commit_position.id()
    }

    /// Shows everything else.
    pub fn show(
        &self,
        tap: &TapStatus,
        transport: &TransportCounters,
        io: &IoCounters,
        recorded_position: Option<i64>,
        lag_ns: u64,
        now_ns: u64,
    ) {
        let following = tap.source_member_id >= 0 && tap.source_position >= 0;
        self.state.set_ordered(tap.state as i64);
        if let Some(backup) = &self.backup {
            backup.show(tap, recorded_position);
        }
        self.heartbeat_responses.set_ordered(tap.heartbeat_responses as i64);
        self.source_member_id.set_ordered(i64::from(tap.source_member_id));
        self.leader_member_id.set_ordered(i64::from(tap.leader_member_id));
        self.leadership_term_id.set_ordered(tap.leadership_term_id);
        self.source_position.set_ordered(tap.source_position);
        self.received_position.set_ordered(tap.received_position.max(recorded_position.unwrap_or(-1)));
        if tap.source_position >= 0 {
            self.source_position_age_ns.set_ordered(now_ns.saturating_sub(tap.source_position_ns) as i64);
            let applied = self.applied_position().min(recorded_position.unwrap_or(0)).max(0);
            self.lag_bytes.set_ordered((tap.source_position - applied).max(0));
        }
        self.lag_ns.set_ordered(if following { lag_ns as i64 } else { -1 });
        self.source_changes.set_ordered(tap.sources_lost as i64);
        self.loss_gaps.set_ordered(transport.loss_gaps as i64);
        self.loss_bytes.set_ordered(transport.loss_bytes as i64);
        self.naks_sent.set_ordered(transport.naks_sent as i64);
        self.naks_received.set_ordered(transport.naks_received as i64);
        self.status_messages_sent.set_ordered(transport.status_messages_sent as i64);
        self.invalid_packets.set_ordered(transport.invalid.iter().sum::<u64>() as i64);
        self.bytes_sent.set_ordered(io.bytes_sent as i64);
        self.bytes_received.set_ordered(io.bytes_received as i64);
        self.short_sends.set_ordered(io.short_sends as i64);
        self.invalid_messages.set_ordered(tap.invalid_messages as i64);
        self.socket.show(io);
    }

    /// The node ends in order.
    pub fn show_closed(&self) {
        if let Some(backup) = &self.backup {
            backup.show_closed();
        }
    }
}

/// Counters of one service.
#[derive(Debug)]
pub struct ServiceGauges {
    /// Where the service stands in the log.
    pub applied_position: Counter,
    service_name: String,
    fields: Vec<Field>,
    /// A figure that has no counter was told of.
    is_stray_told: bool,
    lag_p50_ns: Counter,
    lag_p99_ns: Counter,
    lag_p999_ns: Counter,
    lag_max_ns: Counter,
    lag_count: Counter,
    snapshot_stop_max_ns: Counter,
    lag: LagWindow,
}

/// One figure that a service shows of itself.
#[derive(Debug)]
struct Field {
    name: &'static str,
    kind: FieldKind,
    counter: Counter,
}

/// Why a service's figures cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum FiguresError {
    /// No counters are left.
    #[error(transparent)]
    Full(#[from] CountersFull),
    /// A name does not fit into a counter's key.
    #[error(
        "service {service_id}: the name \"{name}\" is {} bytes long: names of services and of their figures have \
         at most {FIELD_NAME_LENGTH_MAX}", name.len()
    )]
    NameTooLong {
        /// Of which service.
        service_id: u8,
        /// The service's own name, or that of a figure.
        name: String,
    },
    /// Two figures of one name could not be told apart.
    #[error("service {service_id} shows two figures named \"{name}\": rename one of them")]
    SameName {
        /// Which service.
        service_id: u8,
        /// Of both figures.
        name: &'static str,
    },
}

impl ServiceGauges {
    /// Allocates a service's counters, one for each of the figures that it shows of itself.
    ///
    /// # Errors
    /// [`FiguresError`].
    pub fn allocate(
        counters: &mut CountersManager,
        cluster_id: i32,
        service_id: u8,
        service_name: &str,
        figures: &StatusFields,
    ) -> Result<Self, FiguresError> {
        check_names(service_id, service_name, figures)?;
        let service = Some(i32::from(service_id));
        let name_key = field_key(cluster_id, service_id, FieldKind::Name, service_name);
        counters.allocate(
            kind::SERVICE_FIELD,
            &name_key,
            &format!("Standby service name: {service_name} - clusterId={cluster_id} serviceId={service_id}"),
            i64::from(service_id),
        )?;
        let fields = figures
            .iter()
            .map(|(name, value)| {
                let kind = FieldKind::of(value);
                let key = field_key(cluster_id, service_id, kind, name);
                let label = format!(
                    "Standby service {service_name} {name} - clusterId={cluster_id} serviceId={service_id}"
                );
                let counter = counters.allocate(kind::SERVICE_FIELD, &key, &label, bits(value))?;
                Ok(Field { name, kind, counter })
            })
            .collect::<Result<Vec<_>, CountersFull>>()?;
        let mut own = |kind: &kind::CounterKind| counters.allocate_kind(kind, cluster_id, service);
        Ok(Self {
            applied_position: own(&kind::APPLIED_POSITION)?,
            service_name: service_name.to_owned(),
            fields,
            is_stray_told: false,
            lag_p50_ns: own(&kind::APPLY_LAG_P50_NS)?,
            lag_p99_ns: own(&kind::APPLY_LAG_P99_NS)?,
            lag_p999_ns: own(&kind::APPLY_LAG_P999_NS)?,
            lag_max_ns: own(&kind::APPLY_LAG_MAX_NS)?,
            lag_count: own(&kind::APPLY_LAG_COUNT)?,
            snapshot_stop_max_ns: own(&kind::SNAPSHOT_STOP_MAX_NS)?,
            lag: LagWindow::new(),
        })
    }

    /// A batch that was received at `received_ns` has been applied just now.
    pub fn record_lag(&mut self, received_ns: u64) {
        self.lag.record(clock::monotonic_ns().saturating_sub(received_ns));
    }

    /// The apply loop stood still for a snapshot for so long.
    pub fn record_snapshot_stop(&self, stop_ns: u64) {
        self.snapshot_stop_max_ns.max_ordered(stop_ns as i64);
    }

    /// Shows the service's own figures, each at the counter that was allocated for its name and kind, and its lag. A
    /// figure that is left out keeps its last value; one that was not there at the beginning has no counter.
    pub fn show(&mut self, figures: &StatusFields, now_ns: u64) {
        for (index, (name, value)) in figures.iter().enumerate() {
            match self.field(index, name, FieldKind::of(value)) {
                Some(field) => field.counter.set_ordered(bits(value)),
                None if !self.is_stray_told => {
                    self.is_stray_told = true;
                    tracing::warn!(
                        service = self.service_name,
                        figure = name,
                        "a figure is not shown: it was not there, or of another kind, before the service started"
                    );
                }
                None => {}
            }
        }
        let LagFigures { p50_ns, p99_ns, p999_ns, max_ns, count } = self.lag.figures(now_ns);
        self.lag_p50_ns.set_ordered(p50_ns as i64);
        self.lag_p99_ns.set_ordered(p99_ns as i64);
        self.lag_p999_ns.set_ordered(p999_ns as i64);
        self.lag_max_ns.set_ordered(max_ns as i64);
        self.lag_count.set_ordered(count as i64);
    }
}

impl ServiceGauges {
    /// Services add their figures in one order nearly always, so the one at `index` is looked at first.
    fn field(&self, index: usize, name: &str, kind: FieldKind) -> Option<&Field> {
        let is_it = |field: &&Field| field.name == name && field.kind == kind;
        self.fields.get(index).filter(is_it).or_else(|| self.fields.iter().find(is_it))
    }
}

fn check_names(service_id: u8, service_name: &str, figures: &StatusFields) -> Result<(), FiguresError> {
    let too_long = |name: &str| name.len() > FIELD_NAME_LENGTH_MAX;
    let names: Vec<&'static str> = figures.iter().map(|(name, _)| name).collect();
    if let Some(name) = std::iter::once(service_name).chain(names.iter().copied()).find(|name| too_long(name))
    {
        return Err(FiguresError::NameTooLong { service_id, name: name.to_owned() });
    }
    match names.iter().enumerate().find(|(index, name)| names[..*index].contains(name)) {
        Some((_, name)) => Err(FiguresError::SameName { service_id, name }),
        None => Ok(()),
    }
}

/// Counters of standby snapshots.
#[derive(Clone, Debug)]
pub struct SnapshotGauges {
    /// How an operator asks for one.
    pub toggle: Counter,
    /// Published by this process.
    pub count: Counter,
    /// Newest set.
    pub position: Counter,
    /// When it was published.
    pub time_ms: Counter,
    /// How long the last one took.
    pub duration_ns: Counter,
    /// Given up.
    pub failures: Counter,
    /// How the toggle's last request ended.
    pub result: Counter,
    /// Longest time that the module's part took.
    pub module_stop_max_ns: Counter,
}

impl SnapshotGauges {
    /// Allocates them. Nobody may set the toggle yet.
    ///
    /// # Errors
    /// [`CountersFull`].
    pub fn allocate(counters: &mut CountersManager, cluster_id: i32) -> Result<Self, CountersFull> {
        let mut cluster =
            |type_id, name, initial| counters.allocate_for_cluster(type_id, name, cluster_id, initial);
        let toggle =
            cluster(kind::STANDBY_CONTROL_TOGGLE, "Cluster Standby control toggle", kind::TOGGLE_INACTIVE)?;
        let count = cluster(kind::SNAPSHOT_COUNT, "Snapshot count", 0)?;
        let mut own = |kind: &kind::CounterKind, initial| -> Result<Counter, CountersFull> {
            let counter = counters.allocate_kind(kind, cluster_id, None)?;
            counter.set_ordered(initial);
            Ok(counter)
        };
        Ok(Self {
            toggle,
            count,
            position: own(&kind::SNAPSHOT_POSITION, -1)?,
            time_ms: own(&kind::SNAPSHOT_TIME_MS, 0)?,
            duration_ns: own(&kind::SNAPSHOT_DURATION_NS, 0)?,
            failures: own(&kind::SNAPSHOT_FAILURES, 0)?,
            result: own(&kind::SNAPSHOT_RESULT, -1)?,
            module_stop_max_ns: own(&kind::SNAPSHOT_MODULE_STOP_MAX_NS, 0)?,
        })
    }
}

/// What the counter of a service's figure holds; its key tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(i32)]
pub(super) enum FieldKind {
    /// The service's name is in the key; the value is its id.
    Name = 0,
    /// A signed number.
    I64 = 1,
    /// An unsigned number, as its bits.
    U64 = 2,
    /// A bit pattern, to be shown in hex.
    Hex = 3,
}

impl FieldKind {
    fn of(value: StatusValue) -> Self {
        match value {
            StatusValue::I64(_) => Self::I64,
            StatusValue::U64(_) => Self::U64,
            StatusValue::Hex(_) => Self::Hex,
        }
    }

    pub(super) fn from_value(value: i32) -> Option<Self> {
        [Self::Name, Self::I64, Self::U64, Self::Hex].into_iter().find(|kind| *kind as i32 == value)
    }
}

/// Bytes of a field's key before its name: cluster id, service id, kind.
pub(super) const FIELD_NAME_OFFSET: usize = 12;
/// Bytes of a field's name.
const FIELD_NAME_LENGTH_MAX: usize = KEY_LENGTH_MAX - FIELD_NAME_OFFSET;

fn field_key(cluster_id: i32, service_id: u8, kind: FieldKind, name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(FIELD_NAME_OFFSET + name.len());
    for part in [cluster_id, i32::from(service_id), kind as i32] {
        key.extend_from_slice(&part.to_le_bytes());
    }
    key.extend_from_slice(name.as_bytes());
    key
}

fn bits(value: StatusValue) -> i64 {
    match value {
        StatusValue::I64(value) => value,
        StatusValue::U64(value) | StatusValue::Hex(value) => value as i64,
    }
}

#[cfg(test)]
mod tests {
    use consensus_tap::tap::TapState;
    use service_api::StatusValue::{Hex, I64, U64};

    use super::*;
    use crate::status::{CheckLimits, StatusReport};
    use crate::store::cnc::{CncFile, CncSettings};

    fn figures(list: &[(&'static str, StatusValue)]) -> StatusFields {
        let mut fields = StatusFields::new();
        for (name, value) in list {
            match *value {
                I64(value) => fields.i64(name, value),
                U64(value) => fields.u64(name, value),
                Hex(value) => fields.hex(name, value),
            };
        }
        fields
    }

    #[test]
    fn a_figure_is_shown_under_its_name_whatever_is_left_out_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let (_cnc, mut counters) =
            CncFile::create(dir.path(), &CncSettings::default(), clock::epoch_ms()).unwrap();
        // Without the receiver's counters it would be no standby's.
        ReceiverGauges::allocate(&mut counters, 0, Vec::new(), false).unwrap();
        let first = figures(&[("orders", U64(0)), ("balance", I64(0)), ("hash", Hex(0))]);
        let mut gauges = ServiceGauges::allocate(&mut counters, 0, 0, "orders", &first).unwrap();
        let shown = || StatusReport::read(dir.path()).unwrap().services.remove(0).figures;

        gauges.show(&figures(&[("orders", U64(7)), ("balance", I64(-3)), ("hash", Hex(9))]), 1);
        assert_eq!((shown()["orders"].as_u64(), shown()["balance"].as_i64()), (Some(7), Some(-3)));
        // Left out, in another order, of another kind, and never heard of.
        gauges.show(&figures(&[("hash", Hex(1)), ("stray", U64(5)), ("balance", U64(8))]), 2);
        let shown = shown();
        assert_eq!((shown["orders"].as_u64(), shown["balance"].as_i64()), (Some(7), Some(-3)));
        assert_eq!(shown["hash"], "0000000000000001");
        assert!(!shown.contains_key("stray"));
    }

    #[test]
    fn what_is_counted_reaches_the_status_and_a_service_that_missed_messages_fails_the_check() {
        let dir = tempfile::tempdir().unwrap();
        let (_cnc, mut counters) =
            CncFile::create(dir.path(), &CncSettings::default(), clock::epoch_ms()).unwrap();
        let gauges = ReceiverGauges::allocate(&mut counters, 0, Vec::new(), false).unwrap();
        ServiceGauges::allocate(&mut counters, 0, 0, "orders", &StatusFields::new()).unwrap();
        let archive = SocketGauges::allocate(&mut counters, 0, SocketRole::Archive).unwrap();
        let missed = counters.allocate_kind(&kind::MISSED_MESSAGES, 0, Some(0)).unwrap();
        let io =
            IoCounters { queue_full: 1, icmp_errors: 2, datagrams_malformed: 4, ..IoCounters::default() };
        let tap = TapStatus { state: TapState::Following, invalid_messages: 8, ..TapStatus::UNKNOWN };
        gauges.show(&tap, &TransportCounters::default(), &io, Some(0), 0, 1);
        archive.show(&IoCounters { icmp_errors: 16, datagrams_refused: 32, ..IoCounters::default() });
        gauges.show_segments_late(64);

        let limits = CheckLimits { lag_bytes: None, lag: None };
        let report = StatusReport::read(dir.path()).unwrap();
        let sockets = report.sockets;
        assert_eq!(
            (sockets.queue_full, sockets.icmp_errors, sockets.malformed, sockets.refused),
            (1, 2 + 16, 4, 32)
        );
        assert_eq!((report.invalid_messages, report.segments_late), (8, 64));
        assert_eq!(report.problems(limits), Vec::<String>::new());

        missed.set_ordered(3);
        let problems = StatusReport::read(dir.path()).unwrap().problems(limits);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].starts_with("service 0 is not deterministic: the log holds 3"), "{problems:?}");
    }

    #[test]
    fn names_that_no_counter_can_have_are_refused_in_words() {
        const LONG: &str = concat!(
            "a-figure-with-a-name-of-more-than-one-hundred-bytes-",
            "which-is-more-than-the-key-of-a-counter-can-hold-of-it"
        );
        let dir = tempfile::tempdir().unwrap();
        let (_cnc, mut counters) =
            CncFile::create(dir.path(), &CncSettings::default(), clock::epoch_ms()).unwrap();
        let mut allocate = |service_name: &str, fields: &StatusFields| {
            ServiceGauges::allocate(&mut counters, 0, 3, service_name, fields)
                .map_err(|error| error.to_string())
        };
        for refused in [
            allocate("orders", &figures(&[(LONG, U64(0))])).unwrap_err(),
            allocate(LONG, &StatusFields::new()).unwrap_err(),
        ] {
            assert!(refused.contains("service 3") && refused.contains("106 bytes"), "{refused}");
            assert!(refused.contains("at most 100"), "{refused}");
        }
        let twice = figures(&[("n", U64(0)), ("n", Hex(0))]);
        assert!(allocate("orders", &twice).unwrap_err().contains("two figures named \"n\""));
        assert!(allocate(&LONG[..100], &figures(&[(&LONG[..100], U64(0))])).is_ok());
    }
}
