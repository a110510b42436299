//! From a snapshot set, or from nothing, to services and a module that stand at one position of the log.
//!
//! The newest set that lies within the log is tried first. One that the module or any service cannot load is passed
//! over for the next older one, with fresh services and a longer replay; behind the last comes the beginning of the log.
//! No service applies a message before all have loaded the same set.
//!
//! What was refused is marked as invalid in recording.log only where the fault is its own. When services load nothing, it is
//! more likely the configuration's or the binary's than that of every snapshot there is; and what could not be read, or
//! is of another log than this one, is left as it is.

use std::collections::VecDeque;

use consensus_tap::codec::log::SESSION_HEADER_LENGTH;
use consensus_tap::file::recording_log::SnapshotSet;
use consensus_tap::log::{
    LogError, LogFault, LogReader, LogStart, MidMessage, SnapshotError, SnapshotExpectation, SnapshotFault,
    SnapshotKind,
};
use consensus_tap::module::{ConsensusModuleState, ModuleLoader};
use rtrb::{Consumer, Producer};
use service_api::host::StartPoint;
use service_api::{ClusterTimeUnit, LeadershipTermId, LogPosition};

use crate::service_start::{ModuleStart, ServiceLoaded, ServiceOrder, ServiceStart};
use crate::store::history::{History, HistoryError, RecordingPlace};
use crate::store::recorded_snapshot::{Blame, LoadError, RecordedSnapshot};

/// Starts everything that reads the log, once.
#[derive(Debug)]
pub struct Starting {
    app_version: i32,
    service_count: usize,
    /// By service id, then those of a replica in the same order.
    services: Vec<ServiceLink>,
    log: Option<RecordingPlace>,
    candidates: VecDeque<SnapshotSet>,
    attempt: Option<Attempt>,
    refused: Vec<RefusedSet>,
    /// Why the first set was refused that may be right where the configuration is not.
    configuration_fault: Option<StartingError>,
}

/// The conductor's way to one service agent and back.
#[derive(Debug)]
pub struct ServiceLink {
    /// To the service.
    pub orders: Producer<ServiceOrder>,
    /// From the service, once for each order to load.
    pub loaded: Consumer<ServiceLoaded>,
}

/// Everything has loaded and begun.
#[derive(Debug)]
pub struct Started {
    /// Where it stands in the log.
    pub log_position: i64,
    /// Whether that is a snapshot's state, and not the log's beginning.
    pub has_loaded: bool,
    /// For the module followers, one each.
    pub modules: Vec<ModuleStart>,
    /// Newer sets that could not be loaded.
    pub refused: Vec<RefusedSet>,
}

/// A set that could not be loaded.
#[derive(Clone, Debug)]
pub struct RefusedSet {
    /// Which one.
    pub set: SnapshotSet,
    /// Whose part, in which file, and what is wrong with it.
    pub reason: String,
    /// Whose fault that is.
    pub blame: Blame,
}

impl Started {
    /// The sets that no start will ever load.
    pub fn lost(&self) -> impl Iterator<Item = &SnapshotSet> {
        let is_lost = |refused: &&RefusedSet| match refused.blame {
            Blame::Snapshot => true,
            Blame::SnapshotOrService => self.has_loaded,
            Blame::Neither => false,
        };
        self.refused.iter().filter(is_lost).map(|refused| &refused.set)
    }
}

/// Why the services cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartingError {
    /// Files.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// Every snapshot is refused, and the newest may well be right where the configuration is not.
    #[error(
        "the consensus module's snapshot at log position {log_position} cannot be loaded: {source}; {next_step}"
    )]
    Configuration {
        /// Which set.
        log_position: i64,
        /// What does not fit.
        source: SnapshotError,
        /// What to do.
        next_step: &'static str,
    },
    /// A service cannot begin with an empty state.
    #[error("service {service_id} does not start: {reason}")]
    Service {
        /// Which one.
        service_id: usize,
        /// What it said.
        reason: String,
    },
    /// The log begins in its middle, and there is no snapshot to begin from.
    #[error(
        "the log begins at position {start_position} and no snapshot at or after that can be loaded{refused}: what \
         came before is missing here. Run `reseed` to begin again from the members' latest snapshot"
    )]
    NoSnapshot {
        /// Where the log begins.
        start_position: i64,
        /// What was tried, in words.
        refused: String,
    },
}

/// A set that the module has loaded and the services are loading.
#[derive(Debug)]
struct Attempt {
    set: Option<SnapshotSet>,
    state: Option<ConsensusModuleState>,
    /// By link; `None` until it has answered.
    answers: Vec<Option<ServiceLoaded>>,
}

impl Starting {
    /// For services in order of their ids, and as many again for each replica.
    pub fn new(app_version: i32, service_count: usize, services: Vec<ServiceLink>) -> Self {
        Self {
            app_version,
            service_count,
            services,
            log: None,
            candidates: VecDeque::new(),
            attempt: None,
            refused: Vec::new(),
            configuration_fault: None,
        }
    }

    /// How many services the node hosts, without replicas.
    pub fn service_count(&self) -> usize {
        self.service_count
    }

    /// Begins to load what goes with `log`. [`Self::poll`] tells how it ends. Without services there is no state, so a
    /// snapshot is looked at only.
    ///
    /// # Errors
    /// [`StartingError`].
    pub fn begin(&mut self, history: &History, log: &RecordingPlace) -> Result<(), StartingError> {
        let usable =
            |set: &SnapshotSet| (log.start_position()..=log.end_position()).contains(&set.log_position);
        let sets = history.snapshot_sets(self.service_count);
        self.candidates = sets.into_iter().filter(usable).collect();
        self.log = Some(log.clone());
        self.try_next(history)
    }

    /// Everything that reads the log, once all of it has loaded the same set and begun.
    ///
    /// # Errors
    /// [`StartingError`].
    pub fn poll(&mut self, history: &History) -> Result<Option<Started>, StartingError> {
        let Some(attempt) = &mut self.attempt else { return Ok(None) };
        for (answer, link) in attempt.answers.iter_mut().zip(&mut self.services) {
            if answer.is_none() {
                *answer = link.loaded.pop().ok();
            }
        }
        if attempt.answers.iter().any(Option::is_none) {
            return Ok(None);
        }
        // All have answered: none is still reading when the next set is tried.
        let Attempt { set, state, answers } = self.attempt.take().expect("it was there");
        let refused =
            answers.into_iter().flatten().zip(0..).find_map(|(answer, link)| Some((answer.err()?, link)));
        let Some(((reason, blame), link)) = refused else { return Ok(Some(self.started(set, state))) };
        let service_id = link % self.service_count;
        let Some(set) = set else { return Err(StartingError::Service { service_id, reason }) };
        let name = format!("service {service_id}");
        self.refuse(history, set.clone(), (&name, set.services[service_id]), &reason, blame);
        self.try_next(history)?;
        Ok(None)
    }

    /// Has the newest set loaded that is left.
    fn try_next(&mut self, history: &History) -> Result<(), StartingError> {
        let log = self.log.clone().expect("begun with a log");
        while let Some(set) = self.candidates.pop_front() {
            let loaded = self.load_module(history, &set).and_then(|state| {
                check_log(history, &log, &set)?;
                Ok(state)
            });
            match loaded {
                Ok(state) => return self.load_services(history, &log, Some(set), state),
                Err(error) => {
                    if let LoadError::Snapshot(source) = &error
                        && let Some(next_step) = configuration_fault(source)
                    {
                        let (log_position, source) = (set.log_position, *source);
                        let fault = StartingError::Configuration { log_position, source, next_step };
                        self.configuration_fault.get_or_insert(fault);
                    }
                    let part = ("consensus module", set.consensus_module);
                    self.refuse(history, set, part, &error.to_string(), error.blame());
                }
            }
        }
        // With the log alone the same fault would show later, and less clearly.
        if let Some(fault) = self.configuration_fault.take() {
            return Err(fault);
        }
        if self.service_count == 0 {
            return self.load_services(history, &log, None, None);
        }
        if log.start_position() > 0 {
            let reasons: Vec<&str> = self.refused.iter().map(|refused| refused.reason.as_str()).collect();
            let refused =
                if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join("; ")) };
            return Err(StartingError::NoSnapshot { start_position: log.start_position(), refused });
        }
        let state = ConsensusModuleState::new(self.service_count, self.app_version);
        self.load_services(history, &log, None, Some(state))
    }

    fn load_services(
        &mut self,
        history: &History,
        log: &RecordingPlace,
        set: Option<SnapshotSet>,
        state: Option<ConsensusModuleState>,
    ) -> Result<(), StartingError> {
        let recorded = |link: usize, set: &SnapshotSet| {
            self.recorded(history, set, set.services[link % self.service_count], SnapshotKind::Service)
        };
        let snapshots: Result<Vec<_>, LoadError> = (0..self.services.len())
            .map(|link| set.as_ref().map(|set| recorded(link, set)).transpose())
            .collect();
        let snapshots = match (snapshots, set.clone()) {
            (Ok(snapshots), _) => snapshots,
            (Err(error), Some(set)) => {
                let recording_id = set.services.first().copied().unwrap_or(set.consensus_module);
                self.refuse(history, set, ("a service", recording_id), &error.to_string(), error.blame());
                return self.try_next(history);
            }
            (Err(_), None) => unreachable!("without a set there is nothing to find"),
        };
        let time_unit = state.as_ref().and_then(ConsensusModuleState::time_unit);
        for (link, snapshot) in self.services.iter_mut().zip(snapshots) {
            let start = ServiceStart {
                point: start_point(set.as_ref(), time_unit),
                offer_length_max: log.terms().term_length.message_length_max() - SESSION_HEADER_LENGTH,
                snapshot,
                log_reader: log_reader(log, set.as_ref()),
                log_recording: log.live_reader(),
            };
            let order = ServiceOrder::Load(Box::new(start));
            link.orders.push(order).expect("a service has answered every order before the next");
        }
        let answers = vec![None; self.services.len()];
        self.attempt = Some(Attempt { set, state, answers });
        Ok(())
    }

    fn started(&mut self, set: Option<SnapshotSet>, state: Option<ConsensusModuleState>) -> Started {
        let log = self.log.take().expect("begun with a log");
        for link in &mut self.services {
            link.orders
                .push(ServiceOrder::Begin)
                .expect("a service has answered every order before the next");
        }
        let replicas = self.services.len().checked_div(self.service_count).unwrap_or(1);
        let module = |_| ModuleStart {
            state: state.clone(),
            log_reader: log_reader(&log, set.as_ref()),
            log_recording: log.live_reader(),
        };
        Started {
            log_position: set.as_ref().map_or(log.start_position(), |set| set.log_position),
            has_loaded: set.is_some(),
            modules: (0..replicas.max(1)).map(module).collect(),
            refused: std::mem::take(&mut self.refused),
        }
    }

    fn refuse(
        &mut self,
        history: &History,
        set: SnapshotSet,
        (whose, recording_id): (&str, i64),
        reason: &str,
        blame: Blame,
    ) {
        let file = history
            .snapshot_place(recording_id)
            .map_or_else(|_| String::new(), |(place, _)| format!(" ({})", place.first_file().display()));
        let reason = format!(
            "the snapshot at log position {} cannot be loaded: {whose}, recording {recording_id}{file}: {reason}",
            set.log_position
        );
        tracing::warn!("{reason}");
        self.refused.push(RefusedSet { set, reason, blame });
    }

    /// The module's state; `None` without services, whose node only has to know that the set is where it says.
    fn load_module(
        &self,
        history: &History,
        set: &SnapshotSet,
    ) -> Result<Option<ConsensusModuleState>, LoadError> {
        let snapshot = self.recorded(history, set, set.consensus_module, SnapshotKind::ConsensusModule)?;
        if self.service_count == 0 {
            return snapshot.read_all(|_| Ok(())).map(|()| None);
        }
        let mut loader = ModuleLoader::new(set.services.len(), self.app_version);
        snapshot.read_all(|part| loader.on_part(part))?;
        let mut state = loader.finish();
        state.set_cluster_time(set.timestamp);
        Ok(Some(state))
    }

    fn recorded(
        &self,
        history: &History,
        set: &SnapshotSet,
        recording_id: i64,
        kind: SnapshotKind,
    ) -> Result<RecordedSnapshot, LoadError> {
        let (place, stop_position) = history.snapshot_place(recording_id).map_err(Box::new)?;
        let expectation = SnapshotExpectation {
            kind,
            // Where nothing is applied any application's will do.
            app_version: Some(self.app_version).filter(|_| self.service_count > 0),
            time_unit: None,
            log_position: Some((set.log_position, set.leadership_term_id)),
        };
        Ok(RecordedSnapshot::new(place.reader(), place.terms(), stop_position, expectation))
    }
}

/// Whether the log is the one that this set was taken of: it goes on from there, and no newer term has begun before. One
/// whose first event follows padding has its base before the padding, and the set may lie behind that.
fn check_log(history: &History, log: &RecordingPlace, set: &SnapshotSet) -> Result<(), LoadError> {
    let (position, current) = (set.log_position, set.leadership_term_id);
    let next_term_id = log.check_continuation(position, current)?;
    match history.term_before(position) {
        Some(found) if found > current && next_term_id != Some(found) => {
            Err(LogError { position, fault: LogFault::TermMismatch { current, found } }.into())
        }
        _ => Ok(()),
    }
}

/// What to do about a fault that an older snapshot would have too, `None` for one of this snapshot alone.
fn configuration_fault(error: &SnapshotError) -> Option<&'static str> {
    match error.fault {
        SnapshotFault::AppVersion { .. } => Some("set app_version to that of the members"),
        SnapshotFault::UnknownService { .. } => Some("configure as many services as the members have"),
        _ => None,
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

#[cfg(test)]
mod tests;
