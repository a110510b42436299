//! From a snapshot set, or from nothing, to services and a module that stand at one position of the log.

use consensus_tap::file::recording_log::SnapshotSet;
use consensus_tap::log::{LogReader, LogStart, MidMessage, SnapshotExpectation, SnapshotKind};
use consensus_tap::module::{ConsensusModuleState, ModuleLoader};
use rtrb::Producer;
use service_api::host::StartPoint;
use service_api::{ClusterTimeUnit, LeadershipTermId, LogPosition};

use crate::agent::module_follower::ModuleFollower;
use crate::service_start::ServiceStart;
use crate::store::history::{History, HistoryError, RecordingPlace};
use crate::store::recorded_snapshot::{LoadError, RecordedSnapshot};

/// Starts everything that reads the log, once.
#[derive(Clone, Copy, Debug)]
pub struct Starting {
    /// The application's version, as every member is configured; only the major part must match.
    pub app_version: i32,
}

/// Why the services cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartingError {
    /// Files.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The consensus module's snapshot.
    #[error("consensus module's snapshot, recording {recording_id}: {source}")]
    Module {
        /// Which recording.
        recording_id: i64,
        /// What is wrong with it.
        source: LoadError,
    },
    /// The log begins in its middle, and there is no snapshot to begin from.
    #[error(
        "the log begins at position {start_position} and there is no valid snapshot at or after that: what came \
         before is missing here. Run `reseed` to begin again from the members' latest snapshot"
    )]
    NoSnapshot {
        /// Where the log begins.
        start_position: i64,
    },
}

impl Starting {
    /// Gives every service and the module its state and the log from there on. Without services there is no state, so
    /// no snapshot is loaded.
    ///
    /// # Errors
    /// [`StartingError`].
    pub fn start(
        self,
        history: &History,
        log: &RecordingPlace,
        module: &mut ModuleFollower,
        starts: &mut [Producer<ServiceStart>],
    ) -> Result<(), StartingError> {
        let usable =
            |set: &SnapshotSet| (log.start_position()..=log.end_position()).contains(&set.log_position);
        let set = history.snapshot_sets(starts.len()).into_iter().find(usable);
        if starts.is_empty() {
            module.start(None, log_reader(log, set.as_ref()), log.reader());
            return Ok(());
        }
        if set.is_none() && log.start_position() > 0 {
            return Err(StartingError::NoSnapshot { start_position: log.start_position() });
        }
        let state = match &set {
            Some(set) => self.load_module(history, set)?,
            None => ConsensusModuleState::new(starts.len(), self.app_version),
        };
        let time_unit = state.time_unit();
        module.start(Some(state), log_reader(log, set.as_ref()), log.reader());
        for (service_id, starts) in starts.iter_mut().enumerate() {
            let snapshot = match &set {
                Some(set) => {
                    Some(self.recorded(history, set, set.services[service_id], SnapshotKind::Service)?)
                }
                None => None,
            };
            let start = ServiceStart {
                point: start_point(set.as_ref(), time_unit),
                snapshot,
                log_reader: log_reader(log, set.as_ref()),
                log_recording: log.reader(),
            };
            starts.push(start).expect("a service is started once");
        }
        Ok(())
    }

    fn load_module(
        self,
        history: &History,
        set: &SnapshotSet,
    ) -> Result<ConsensusModuleState, StartingError> {
        let recording_id = set.consensus_module;
        let snapshot = self.recorded(history, set, recording_id, SnapshotKind::ConsensusModule)?;
        let mut loader = ModuleLoader::new(set.services.len(), self.app_version);
        snapshot
            .read_all(|part| loader.on_part(part))
            .map_err(|source| StartingError::Module { recording_id, source })?;
        let mut state = loader.finish();
        state.set_cluster_time(set.timestamp);
        Ok(state)
    }

    fn recorded(
        self,
        history: &History,
        set: &SnapshotSet,
        recording_id: i64,
        kind: SnapshotKind,
    ) -> Result<RecordedSnapshot, HistoryError> {
        let (place, stop_position) = history.snapshot_place(recording_id)?;
        let expectation = SnapshotExpectation {
            kind,
            app_version: self.app_version,
            time_unit: None,
            log_position: Some((set.log_position, set.leadership_term_id)),
        };
        Ok(RecordedSnapshot::new(place.reader(), place.terms(), stop_position, expectation))
    }
}

fn start_point(set: Option<&SnapshotSet>, time_unit: Option<ClusterTimeUnit>) -> StartPoint {
    set.map_or(StartPoint::FRESH, |set| StartPoint {
        log_position: LogPosition(set.log_position),
        leadership_term_id: LeadershipTermId(set.leadership_term_id),
        timestamp: set.timestamp,
        time_unit: time_unit.unwrap_or(ClusterTimeUnit::Millis),
    })
}

fn log_reader(log: &RecordingPlace, set: Option<&SnapshotSet>) -> LogReader {
    LogReader::new(LogStart {
        terms: log.terms(),
        position: set.map_or(log.start_position(), |set| set.log_position),
        leadership_term_id: set.map(|set| set.leadership_term_id),
        mid_message: MidMessage::Reject,
    })
}
