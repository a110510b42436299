//! `snapshot list`, `snapshot describe` and `snapshot verify`.

use std::fmt::Write as _;

use consensus_tap::codec::log::CloseReason;
use consensus_tap::file::recording_log::SnapshotSet;
use consensus_tap::module::{ConsensusModuleState, SessionState};
use serde::Serialize;

use super::snapshot_check::{ServiceContent, SnapshotFault, read_module, read_service};
use super::{InspectionError, NodeFiles};

/// The valid snapshot sets.
#[derive(Clone, Debug, Serialize)]
pub struct SnapshotList {
    /// Newest first: the first is what a node starts from.
    pub snapshots: Vec<SetReport>,
}

/// One set, by recording.log.
#[derive(Clone, Debug, Serialize)]
pub struct SetReport {
    /// Where it was taken.
    pub log_position: i64,
    /// Its term.
    pub leadership_term_id: i64,
    /// Where that term began.
    pub term_base_log_position: i64,
    /// Cluster time.
    pub timestamp: i64,
    /// Recording of the consensus module's part.
    pub consensus_module_recording_id: i64,
    /// Recordings of the services' parts, by service id.
    pub service_recording_ids: Vec<i64>,
    /// Bytes of all parts, `None` where the catalog does not have one.
    pub length: Option<i64>,
}

impl SnapshotList {
    /// Reads recording.log and the catalog.
    ///
    /// # Errors
    /// [`InspectionError`].
    pub fn read(files: &NodeFiles, services: Option<usize>) -> Result<Self, InspectionError> {
        let catalog = files.catalog()?;
        let length_of = |recording_id: &i64| {
            let descriptor = &catalog.find(*recording_id)?.descriptor;
            (!descriptor.is_active())
                .then(|| descriptor.stop_position.saturating_sub(descriptor.start_position))
        };
        let report = |set: &SnapshotSet| SetReport {
            length: set
                .services
                .iter()
                .chain([&set.consensus_module])
                .map(length_of)
                .try_fold(0_i64, |sum, length| Some(sum.saturating_add(length?))),
            ..SetReport::new(set)
        };
        Ok(Self { snapshots: files.snapshot_sets(services)?.iter().map(report).collect() })
    }

    /// A line each.
    pub fn to_text(&self) -> String {
        if self.snapshots.is_empty() {
            return "no valid snapshot set\n".to_owned();
        }
        self.snapshots.iter().fold(String::new(), |mut text, set| {
            let length =
                set.length.map_or_else(|| "not all there".to_owned(), |length| format!("{length} bytes"));
            let _ = writeln!(text, "{}, {length}", set.to_text());
            text
        })
    }
}

impl SetReport {
    fn new(set: &SnapshotSet) -> Self {
        Self {
            log_position: set.log_position,
            leadership_term_id: set.leadership_term_id,
            term_base_log_position: set.term_base_log_position,
            timestamp: set.timestamp,
            consensus_module_recording_id: set.consensus_module,
            service_recording_ids: set.services.clone(),
            length: None,
        }
    }

    fn to_text(&self) -> String {
        let services: Vec<_> = self.service_recording_ids.iter().map(ToString::to_string).collect();
        format!(
            "log position {} of term {} (from {}), cluster time {}: consensus module in recording {}, {} services in {}",
            self.log_position,
            self.leadership_term_id,
            self.term_base_log_position,
            self.timestamp,
            self.consensus_module_recording_id,
            services.len(),
            if services.is_empty() { "none".to_owned() } else { services.join(", ") },
        )
    }
}

/// What one set holds.
#[derive(Clone, Debug, Serialize)]
pub struct SnapshotReport {
    /// The set.
    #[serde(flatten)]
    pub set: SetReport,
    /// `MILLIS`, …; `None` where no leader has told.
    pub time_unit: Option<String>,
    /// The application's version, as a number.
    pub app_version: i32,
    /// Id of the next session.
    pub next_session_id: i64,
    /// Sessions that are open or closing.
    pub sessions: Vec<SessionReport>,
    /// Timers that have not fired.
    pub timers: Vec<TimerReport>,
    /// Each service's part.
    pub services: Vec<ServiceReport>,
}

/// A session, as the consensus module keeps it.
#[derive(Clone, Debug, Serialize)]
pub struct SessionReport {
    /// Its id.
    pub cluster_session_id: i64,
    /// The client's id of its connect request.
    pub correlation_id: i64,
    /// End of its open event.
    pub opened_log_position: i64,
    /// Why it closes, `None` while it is open.
    pub close_reason: Option<&'static str>,
    /// Stream of its egress.
    pub response_stream_id: i32,
    /// Channel of its egress.
    pub response_channel: String,
}

/// A timer.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct TimerReport {
    /// Its key.
    pub correlation_id: i64,
    /// Cluster time at which it is due.
    pub deadline: i64,
}

/// What the set holds of one service.
#[derive(Clone, Debug, Serialize)]
pub struct ServiceReport {
    /// The service.
    pub service_id: usize,
    /// Id that its next message gets.
    pub next_service_session_id: i64,
    /// Id of its newest message in the log.
    pub log_service_session_id: i64,
    /// Lengths of its messages that the log does not hold yet, in order.
    pub pending_message_lengths: Vec<usize>,
    /// Bytes of its recording.
    pub length: i64,
    /// Its sessions.
    pub session_ids: Vec<i64>,
    /// Messages that the service wrote in a format of its own.
    pub application_message_count: u64,
    /// Bytes of those.
    pub application_length: u64,
}

impl SnapshotReport {
    /// Reads every recording of the set to its end.
    ///
    /// # Errors
    /// [`SnapshotFault`], the first that is found.
    pub fn read(files: &NodeFiles, set: &SnapshotSet) -> Result<Self, SnapshotFault> {
        let catalog = files.catalog()?;
        let module = read_module(files, &catalog, set)?;
        let contents = (0..set.services.len())
            .map(|service_id| read_service(files, &catalog, set, service_id))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self::new(set, &module, contents))
    }

    fn new(set: &SnapshotSet, module: &ConsensusModuleState, contents: Vec<ServiceContent>) -> Self {
        let services = module.services().iter().zip(contents).map(|(pending, content)| ServiceReport {
            service_id: content.service_id,
            next_service_session_id: pending.next_service_session_id(),
            log_service_session_id: pending.log_service_session_id(),
            pending_message_lengths: pending.iter().map(|message| message.payload.len()).collect(),
            length: content.length,
            session_ids: content.session_ids,
            application_message_count: content.application_message_count,
            application_length: content.application_length,
        });
        let sessions = module.sessions().iter().map(|session| SessionReport {
            cluster_session_id: session.id,
            correlation_id: session.correlation_id,
            opened_log_position: session.opened_log_position,
            close_reason: match session.state {
                SessionState::Open => None,
                SessionState::Closing(reason) => Some(reason_name(reason)),
            },
            response_stream_id: session.response_stream_id,
            response_channel: session.response_channel.clone(),
        });
        Self {
            set: SetReport::new(set),
            time_unit: module.time_unit().map(|unit| format!("{unit:?}").to_uppercase()),
            app_version: module.app_version(),
            next_session_id: module.next_session_id(),
            sessions: sessions.collect(),
            timers: module
                .timers()
                .iter()
                .map(|(correlation_id, deadline)| TimerReport { correlation_id, deadline })
                .collect(),
            services: services.collect(),
        }
    }

    /// Some lines.
    pub fn to_text(&self) -> String {
        let mut text = format!(
            "{}\ntime unit {}, application version {}, next session id {}\n",
            self.set.to_text(),
            self.time_unit.as_deref().unwrap_or("not told"),
            self.app_version,
            self.next_session_id
        );
        for session in &self.sessions {
            let _ = writeln!(
                text,
                "session {} {}: opened at {}, correlation id {}, egress {} stream {}",
                session.cluster_session_id,
                session
                    .close_reason
                    .map_or_else(|| "open".to_owned(), |reason| format!("closing ({reason})")),
                session.opened_log_position,
                session.correlation_id,
                session.response_channel,
                session.response_stream_id
            );
        }
        for timer in &self.timers {
            let _ = writeln!(text, "timer {}: due at {}", timer.correlation_id, timer.deadline);
        }
        for service in &self.services {
            let _ = writeln!(
                text,
                "service {}: {} bytes, {} sessions, {} messages of its own with {} bytes; next message id {}, newest in \
                 the log {}, {} pending",
                service.service_id,
                service.length,
                service.session_ids.len(),
                service.application_message_count,
                service.application_length,
                service.next_service_session_id,
                service.log_service_session_id,
                service.pending_message_lengths.len()
            );
            for (index, length) in service.pending_message_lengths.iter().enumerate() {
                let _ = writeln!(text, "  pending message {}: {length} bytes", index + 1);
            }
        }
        text
    }
}

/// What a verification of snapshot sets found.
#[derive(Clone, Debug, Serialize)]
pub struct SnapshotVerification {
    /// Each set.
    pub sets: Vec<SetVerdict>,
    /// How many have faults.
    pub faulty_count: usize,
}

/// What a verification found of one set.
#[derive(Clone, Debug, Serialize)]
pub struct SetVerdict {
    /// The set.
    #[serde(flatten)]
    pub set: SetReport,
    /// What is wrong, each with its file and place.
    pub faults: Vec<String>,
    /// What was found right.
    pub verified: Vec<String>,
}

impl SnapshotVerification {
    /// Reads every recording of these sets to its end.
    ///
    /// # Errors
    /// [`InspectionError`] when the catalog cannot be read; faults of snapshots are in the result.
    pub fn run(files: &NodeFiles, sets: &[SnapshotSet]) -> Result<Self, InspectionError> {
        let catalog = files.catalog()?;
        let sets: Vec<_> = sets
            .iter()
            .map(|set| {
                let mut verdict = SetVerdict { set: SetReport::new(set), faults: Vec::new(), verified: Vec::new() };
                verdict.take("consensus module", read_module(files, &catalog, set).map(|module| {
                    format!(
                        "framing, markers, {} sessions, {} timers, pending messages against their counters",
                        module.sessions().count(),
                        module.timers().count()
                    )
                }));
                for service_id in 0..set.services.len() {
                    let result = read_service(files, &catalog, set, service_id);
                    verdict.take(&format!("service {service_id}"), result.map(|content| {
                        format!(
                            "framing, markers, {} sessions, {} messages of its own are whole (what is in them only the \
                             service knows)",
                            content.session_ids.len(),
                            content.application_message_count
                        )
                    }));
                }
                verdict
            })
            .collect();
        let faulty_count = sets.iter().filter(|set| !set.faults.is_empty()).count();
        Ok(Self { sets, faulty_count })
    }

    /// Some lines for each set.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for set in &self.sets {
            let _ = writeln!(text, "{}", set.set.to_text());
            for fault in &set.faults {
                let _ = writeln!(text, "  FAULT {fault}");
            }
            for verified in &set.verified {
                let _ = writeln!(text, "  OK {verified}");
            }
        }
        let _ = writeln!(text, "{} of {} snapshot sets are faulty", self.faulty_count, self.sets.len());
        text
    }
}

impl SetVerdict {
    fn take(&mut self, whose: &str, result: Result<String, SnapshotFault>) {
        match result {
            Ok(verified) => self.verified.push(format!("{whose}: {verified}")),
            Err(fault) => self.faults.push(format!("{whose}: {fault}")),
        }
    }
}

fn reason_name(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::ClientAction => "CLIENT_ACTION",
        CloseReason::ServiceAction => "SERVICE_ACTION",
        CloseReason::Timeout => "TIMEOUT",
    }
}
