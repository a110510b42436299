//! How this node comes to lead, as far as that is the conductor's: files, counters, operators' requests, and the moment
//! at which the log changes hands.
//!
//! ```text
//!  FOLLOWING ── lead() ── CATCHING_UP ── all readers at the log's end, term on the disk ── ORDERED ── SERVING
//! ```

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use consensus_tap::archive::Recording;
use consensus_tap::channel::HostPort;
use consensus_tap::file::cnc::{cluster_label, counters as kind};
use consensus_tap::file::node_state::CandidateTerm;
use consensus_tap::leader::{ControlAction, LeaderStart};
use rtrb::Consumer;
use service_api::ClusterTimeUnit;

use super::operator::OperatorRequest;
use super::{Conductor, ReceiverCommand, StorageJob};
use crate::agent::AgentError;
use crate::agent::backlog::Backlog;
use crate::agent::leading::{LeadCommand, LeadEnded, LeadOrder, LeadRequest};
use crate::agent::receiver::SealedLog;
use crate::agent::storage::Asker;
use crate::agent::throttle::Throttle;
use crate::status::{ModuleState, RoleGauges};
use crate::store::SyncLevel;
use crate::store::counters::{Counter, CountersManager};
use crate::store::history::OpenedLog;
use crate::store::node_state::NodeStateFile;
use crate::store::segment::SegmentError;
use crate::store::sync_watch::SyncWatch;
use crate::sys::clock;

/// What the conductor needs to lead, and to stop.
#[derive(Debug)]
pub struct Leadership {
    pub(super) identity: LeaderIdentity,
    pub(super) rings: LeadRings,
    pub(super) gauges: RoleGauges,
    pub(super) operator: OperatorRequest,
    pub(super) stop: StopWish,
    counters: CountersManager,
    sessions: Vec<(i64, Counter)>,
    reports: Throttle,
    phase: Phase,
    /// The receiver was told to give the log away.
    is_taking_over: bool,
    /// A snapshot is to be marked as soon as the log is led.
    mark_waits: bool,
}

/// Who leads, and how.
#[derive(Debug)]
pub struct LeaderIdentity {
    /// This node's id.
    pub member_id: i32,
    /// The cluster's id.
    pub cluster_id: i32,
    /// The application's version.
    pub app_version: i32,
    /// This node's entry in the list of members.
    pub member_entry: String,
    /// How far the log is durable, where it has to be before it counts.
    pub durable: Option<SyncWatch>,
    /// node-state.dat.
    pub node_state: PathBuf,
    /// The log that a node without one begins with, if it is to begin a cluster.
    pub bootstrap: Option<Recording>,
}

/// The rings to who leads.
#[derive(Debug)]
pub struct LeadRings {
    /// To the leading agent.
    pub commands: Backlog<LeadCommand>,
    /// From the leading agent.
    pub requests: Consumer<LeadRequest>,
    /// What it leaves when it closes.
    pub ended: Consumer<Box<LeadEnded>>,
}

/// That the node is to stop in order, by its own will: an operator asked the cluster for it.
#[derive(Clone, Debug, Default)]
pub struct StopWish(Arc<AtomicBool>);

impl StopWish {
    /// Stop.
    pub fn wish(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether the node is to stop.
    pub fn is_wished(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

#[derive(Debug)]
enum Phase {
    Following,
    /// Nobody writes the log; who reads it comes to its end.
    CatchingUp {
        log: Box<SealedLog>,
        leadership_term_id: i64,
    },
    /// The leading agent begins.
    Ordered {
        leadership_term_id: i64,
    },
    /// Clients are served.
    Serving,
}

/// Why a node cannot begin a cluster of its own.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// What a leader needs is missing.
    #[error("bootstrap: a node without services cannot lead: name one with --service")]
    NoServices,
    /// Another standby knows of a cluster, or cannot be asked.
    #[error("bootstrap: {reasons}")]
    Refused {
        /// In words.
        reasons: String,
    },
    /// A log of which nobody says who led it.
    #[error(
        "bootstrap: the log in this directory holds {length} bytes of a term that recording.log does not name: start \
         without --bootstrap to follow the cluster that it is of, or with an empty directory to begin another one"
    )]
    Unnamed {
        /// Bytes in it.
        length: i64,
    },
    /// Somebody else's log.
    #[error(
        "bootstrap: the log in this directory was led by another node, in term {leadership_term_id}: start without \
         --bootstrap to follow its cluster, or `activate` this node once that cluster is gone"
    )]
    NotOurs {
        /// The newest term.
        leadership_term_id: i64,
    },
}

impl Leadership {
    /// Follows at first, whatever comes.
    pub fn new(
        identity: LeaderIdentity,
        rings: LeadRings,
        gauges: RoleGauges,
        counters: CountersManager,
        stop: StopWish,
    ) -> Self {
        Self {
            identity,
            rings,
            gauges,
            operator: OperatorRequest::default(),
            stop,
            counters,
            sessions: Vec::new(),
            reports: Throttle::default(),
            phase: Phase::Following,
            is_taking_over: false,
            mark_waits: false,
        }
    }

    /// Whether the log is the leading agent's, or about to be.
    pub(super) fn is_leading(&self) -> bool {
        matches!(self.phase, Phase::Ordered { .. } | Phase::Serving)
    }

    /// Where counters are allocated while the node runs.
    pub(super) fn counters(&mut self) -> &mut CountersManager {
        &mut self.counters
    }

    /// Whether clients are served.
    pub(super) fn is_serving(&self) -> bool {
        matches!(self.phase, Phase::Serving)
    }

    pub(super) fn command(&mut self, command: LeadCommand) {
        self.rings.commands.push(command);
    }

    fn open_session(&mut self, cluster_session_id: i64, client_info: &str) {
        let cluster_id = self.identity.cluster_id;
        let mut key = cluster_id.to_le_bytes().to_vec();
        key.extend_from_slice(&cluster_session_id.to_le_bytes());
        let label = cluster_label(&format!("cluster-session: {client_info}"), cluster_id);
        let now_ms = clock::epoch_ms();
        match self.counters.allocate_at(kind::CLUSTER_SESSION, &key, &label, cluster_session_id, now_ms) {
            Ok(counter) => self.sessions.push((cluster_session_id, counter)),
            // The session does without.
            Err(error) => tracing::warn!(cluster_session_id, %error, "a session has no counter"),
        }
    }

    fn close_session(&mut self, cluster_session_id: i64) {
        if let Some(index) = self.sessions.iter().position(|(id, _)| *id == cluster_session_id) {
            let (_, counter) = self.sessions.swap_remove(index);
            self.counters.free(counter, clock::epoch_ms());
        }
    }
}

impl Conductor {
    /// Whether this node is to begin a cluster, or to lead the one that it began.
    pub(super) fn is_of_its_own(&self) -> bool {
        self.leadership.identity.bootstrap.is_some()
    }

    /// Has the transition lead what lies here: nothing yet, what was decided before, or a log that this node led.
    pub(super) fn begin_or_go_on(&mut self, found: Option<&OpenedLog>) -> Result<(), AgentError> {
        if self.starting.service_count() == 0 {
            return Err(BootstrapError::NoServices.into());
        }
        if !self.activation.may_follow() {
            return Ok(());
        }
        let member_entry = self.leadership.identity.member_entry.clone();
        match (found, self.history.last_term().map(|term| term.leadership_term_id)) {
            (Some(_), Some(leadership_term_id)) => {
                if !self.activation.led_last(leadership_term_id) {
                    return Err(BootstrapError::NotOurs { leadership_term_id }.into());
                }
                self.activation.on_own_log(leadership_term_id, member_entry);
            }
            (Some(log), None) if log.tail_end > log.place.start_position() => {
                let length = log.tail_end - log.place.start_position();
                return Err(BootstrapError::Unnamed { length }.into());
            }
            _ => self.activation.on_bootstrap(member_entry),
        }
        Ok(())
    }

    /// Has the log created that a cluster of one begins with.
    pub(super) fn create_own_log(&mut self) -> Result<(), AgentError> {
        if let Some(recording) = self.leadership.identity.bootstrap.as_ref() {
            let planned = self.history.create_log(recording.start_position, recording, None)?;
            self.rings.jobs.push(StorageJob::OpenLog(Box::new(planned)));
        }
        Ok(())
    }

    /// Has whoever tells readers of the log's end mark it for a snapshot. Between two of them that waits: the receiver has
    /// no readers any more, and who leads has none yet.
    pub(super) fn mark_snapshot(&mut self) {
        let again_at = self.snapshots.given_up_at();
        if self.leadership.is_leading() {
            self.leadership.command(LeadCommand::MarkSnapshot { again_at });
        } else if self.leadership.is_taking_over {
            self.leadership.mark_waits = true;
        } else {
            self.command(ReceiverCommand::MarkSnapshot { again_at });
        }
    }

    /// Has the receiver give the log away.
    pub(super) fn seal(&mut self) {
        self.leadership.is_taking_over = true;
        self.command(ReceiverCommand::Seal);
    }

    /// Leads `log` in a new term from its end on. The source is left, and nobody else will write the log.
    pub(super) fn lead(&mut self, log: Box<SealedLog>, leadership_term_id: i64) {
        self.leadership.phase = Phase::CatchingUp { log, leadership_term_id };
    }

    /// Gets on towards leading, and does what the leading agent asks. Returns how much was done.
    pub(super) fn lead_on(&mut self) -> Result<usize, AgentError> {
        let mut work = self.come_to_the_end()?;
        while let Ok(request) = self.leadership.rings.requests.pop() {
            self.on_lead_request(request)?;
            work += 1;
        }
        if self.leadership.is_serving() {
            work += self.serve_operator();
        }
        self.leadership.rings.commands.flush();
        Ok(work)
    }

    fn come_to_the_end(&mut self) -> Result<usize, AgentError> {
        match &mut self.leadership.phase {
            Phase::CatchingUp { log, .. } => {
                let end = log.end;
                let mut work = 0;
                for reader in &mut log.readers {
                    work += reader.advance(end);
                }
                let are_told = log.readers.iter().all(|reader| reader.is_told(end.position));
                let read_position = self.module.as_ref().and_then(|module| module.read_position());
                if are_told && read_position == Some(end.position) && is_settled(log)? {
                    self.order()?;
                    work += 1;
                }
                Ok(work)
            }
            _ => Ok(0),
        }
    }

    /// The term is on the disk before anybody hears of it; then the log changes hands.
    fn order(&mut self) -> Result<(), AgentError> {
        let Phase::CatchingUp { log, leadership_term_id } =
            std::mem::replace(&mut self.leadership.phase, Phase::Following)
        else {
            return Ok(());
        };
        let SealedLog { writer, readers, end } = *log;
        let (Some(writer), Some(module), Some(place)) = (writer, self.module.take(), &self.log) else {
            return Err("there is no log to be led".into());
        };
        let state = module.state().ok_or(BootstrapError::NoServices)?;
        for session in state.sessions().iter() {
            self.leadership.open_session(session.id, &session.response_channel);
        }
        let time_unit = state.time_unit().unwrap_or(ClusterTimeUnit::Millis);
        let (recording_id, log_position) = (place.recording_id(), end.position);
        let timestamp = time_unit.from_millis(clock::epoch_ms());
        let mut node_state = NodeStateFile::open_or_create(&self.leadership.identity.node_state)?;
        if node_state.candidate_term().candidate_term_id < leadership_term_id {
            let candidate_term_id = leadership_term_id;
            let term = CandidateTerm { candidate_term_id, timestamp, log_position };
            node_state.update(term, SyncLevel::All)?;
        }
        self.history.begin_leadership_term(recording_id, leadership_term_id, log_position, timestamp)?;
        let frames = self.history.log_frames(recording_id)?;
        let start = LeaderStart {
            leadership_term_id,
            log_position,
            terms: place.terms(),
            mtu_length: frames.mtu_length,
            log_session_id: frames.session_id,
            log_stream_id: frames.stream_id,
            time_unit,
            app_version: self.leadership.identity.app_version,
            is_startup: false,
        };
        if let Some(watch) = &self.leadership.identity.durable {
            self.log = Some(place.as_far_as_durable(watch.clone(), log_position));
        }
        self.leadership.phase = Phase::Ordered { leadership_term_id };
        self.leadership.command(LeadCommand::Lead(Box::new(LeadOrder { start, writer, readers, module })));
        if std::mem::take(&mut self.leadership.mark_waits) {
            let again_at = self.snapshots.given_up_at();
            self.leadership.command(LeadCommand::MarkSnapshot { again_at });
        }
        self.serve_recordings();
        Ok(())
    }

    fn on_lead_request(&mut self, request: LeadRequest) -> Result<(), AgentError> {
        match request {
            LeadRequest::Resolve { token, endpoint } => self.resolve(Asker::Leader(token), endpoint),
            LeadRequest::Term(event) => self.on_term(&event)?,
            LeadRequest::Serving { is_suspended } => self.on_serving(is_suspended),
            LeadRequest::ControlDone { action, log_position } => self.on_control_done(action, log_position),
            LeadRequest::ControlRefused { action } => self.on_control_refused(action),
            LeadRequest::Terminated { log_position } => self.on_terminated(log_position),
            LeadRequest::SessionOpened { cluster_session_id, client_info } => {
                tracing::info!(cluster_session_id, client_info, "session opened");
                self.leadership.open_session(cluster_session_id, &client_info);
            }
            LeadRequest::SessionClosed { cluster_session_id, close_reason } => {
                tracing::info!(cluster_session_id, ?close_reason, "session closed");
                self.leadership.close_session(cluster_session_id);
            }
            LeadRequest::SnapshotMarked { position } => self.snapshots.on_marked(position),
            LeadRequest::LogStartMoved => self.on_log_start_moved(),
            LeadRequest::Report(text) => {
                if let Some(repeated) = self.leadership.reports.admit(&text, self.now_ns) {
                    tracing::warn!(repeated, "{text}");
                }
                self.life.record_error(&text);
            }
        }
        Ok(())
    }

    fn on_serving(&mut self, is_suspended: bool) {
        let Phase::Ordered { leadership_term_id } = self.leadership.phase else { return };
        self.leadership.phase = Phase::Serving;
        let LeaderIdentity { member_id, member_entry, .. } = &self.leadership.identity;
        let (member_id, member_entry) = (*member_id, member_entry.clone());
        tracing::info!(member_id, leadership_term_id, members = member_entry, "leading");
        self.leadership.gauges.show_leading(leadership_term_id, member_id, ModuleState::Active);
        if is_suspended {
            self.take_over_suspended();
        }
        self.downstream.on_leading(member_id, leadership_term_id, member_entry);
        self.on_leading();
    }
}

/// Whether a crash of the process loses nothing of what is recorded from here on. What a power cut left behind the log's
/// end is given up: this node is about to append there. Until the syncer has said so on the disk, the next start would
/// take what clients were answered for a part of that.
fn is_settled(log: &mut SealedLog) -> Result<bool, SegmentError> {
    let Some(writer) = &mut log.writer else { return Ok(true) };
    writer.discard_tail()?;
    Ok(writer.tail().is_settled())
}

/// A node's entry in the list of members: what it serves, it serves at two sockets.
pub fn member_entry(member_id: i32, ingress: &HostPort, served: &HostPort) -> String {
    format!("{member_id},{ingress},{served},{served},{served},{served}")
}

/// The control actions that end the node.
pub(super) fn ends_node(action: ControlAction) -> bool {
    matches!(action, ControlAction::Shutdown | ControlAction::Abort)
}
