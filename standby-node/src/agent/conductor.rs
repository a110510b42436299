//! The control agent: opens recordings, keeps recording.log and the module's state, passes requests on, gives signs
//! of life. It may write files, never wait for a disk or a name.
//!
//! Requests and replies are dispatched here, and each goes on in the room of its concern: `following` (the tap),
//! `snapshots`, `purging`, `downstream` (who follows us), `activation`, `leading`, `operator` and `node_control`.

mod activation;
mod downstream;
mod following;
mod leading;
mod node_control;
mod operator;
mod purging;
mod snapshots;

use std::net::SocketAddr;
use std::sync::{Arc, mpsc};

use consensus_tap::archive::Recording;
use consensus_tap::channel::HostPort;
use consensus_tap::codec::log::NewLeadershipTermEvent;
use consensus_tap::module::ConsensusModuleState;
use consensus_tap::tap::RecordingKey;
use rtrb::{Consumer, Producer};

pub use self::activation::{Activation, ActivationParts, discard_requests};
pub use self::downstream::Downstream;
pub use self::leading::{BootstrapError, LeadRings, LeaderIdentity, Leadership, StopWish, member_entry};
pub use self::purging::Retention;
use super::archive::{ArchiveCommand, ArchiveRequest};
use super::backlog::Backlog;
use super::fetched_snapshots::FetchedSnapshots;
use super::leading::LeadCommand;
use super::module_follower::{ModuleFollower, ModulePosition};
use super::receiver::{ReceiverCommand, ReceiverRequest, SealedLog};
use super::snapshot_control::SnapshotControl;
use super::storage::{Asker, FileOwner, ServedLog, StorageJob, StorageReply};
use super::syncer::SyncedLog;
use super::throttle::Throttle;
use super::{Agent, AgentError};
use crate::service_start::ModuleStart;
use crate::signs_of_life::SignsOfLife;
use crate::starting::{Started, Starting, StartingError};
use crate::status::BackupSchedule;
use crate::store::counters::Counter;
use crate::store::history::{History, OpenedLog, RecordingPlace};

/// Signs of life are due this often; others give us up after ten times as long.
const SIGN_OF_LIFE_INTERVAL_NS: u64 = 1_000_000_000;

/// Asks for a copy of the consensus module's state, `None` while there is none yet.
pub type ModuleStateRequest = mpsc::SyncSender<Option<ConsensusModuleState>>;

/// The rings to the other agents, and the way from outside the node.
#[derive(Debug)]
pub struct ConductorRings {
    /// To the receiver.
    pub commands: Backlog<ReceiverCommand>,
    /// From the receiver.
    pub requests: Consumer<ReceiverRequest>,
    /// To the archive agent.
    pub archive_commands: Backlog<ArchiveCommand>,
    /// From the archive agent.
    pub archive_requests: Consumer<ArchiveRequest>,
    /// To the storage agent.
    pub jobs: Backlog<StorageJob>,
    /// From the storage agent.
    pub replies: Consumer<StorageReply>,
    /// To the syncer.
    pub synced_logs: Producer<Box<SyncedLog>>,
    /// From the syncer, once: why the log cannot be made durable any more.
    pub sync_failures: Consumer<String>,
    /// To the module follower of the replica, once.
    pub replica_module: Option<Producer<ModuleStart>>,
    /// From whoever holds the node.
    pub module_states: mpsc::Receiver<ModuleStateRequest>,
}

/// What the conductor does with the log: starts what reads it, reads it, and has snapshots taken of it.
#[derive(Debug)]
pub struct Following {
    /// Gives every service and the module their state.
    pub starting: Starting,
    /// Keeps what a consensus module would know.
    pub module: ModuleFollower,
    /// By service id: the most messages that the log held and the service had not offered.
    pub missed_messages: Vec<Counter>,
    /// Makes snapshots count.
    pub snapshots: SnapshotControl,
    /// Lets go of the oldest of them, and of the log before.
    pub retention: Retention,
    /// Leads, once this node is to.
    pub leadership: Leadership,
    /// Decides whether it is to.
    pub activation: Activation,
}

/// The conductor.
#[derive(Debug)]
pub struct Conductor {
    history: History,
    /// `None` while the leading agent has it.
    module: Option<ModuleFollower>,
    module_position: ModulePosition,
    missed_messages: Vec<Counter>,
    starting: Starting,
    snapshots: SnapshotControl,
    retention: Retention,
    leadership: Leadership,
    activation: Activation,
    life: SignsOfLife,
    /// Where newer snapshots of the members are fetched.
    backup: Option<BackupSchedule>,
    rings: ConductorRings,
    fetched: FetchedSnapshots,
    /// A log to be opened once the snapshots that it begins with are entered.
    waiting_log: Option<(i64, Recording)>,
    log: Option<RecordingPlace>,
    downstream: Downstream,
    sign_of_life_due_ns: u64,
    /// Sources that were given up are tried again for as long as they are down.
    sources_lost: Throttle,
    now_ns: u64,
    /// Nothing more is opened.
    failed: bool,
}

impl Conductor {
    /// A conductor of what `history` holds.
    pub fn new(
        history: History,
        following: Following,
        life: SignsOfLife,
        backup: Option<BackupSchedule>,
        downstream: Downstream,
        rings: ConductorRings,
    ) -> Self {
        let Following { starting, module, missed_messages, snapshots, retention, leadership, activation } =
            following;
        Self {
            history,
            module_position: module.position(),
            module: Some(module),
            missed_messages,
            starting,
            snapshots,
            retention,
            leadership,
            activation,
            life,
            backup,
            rings,
            fetched: FetchedSnapshots::default(),
            waiting_log: None,
            log: None,
            downstream,
            sign_of_life_due_ns: 0,
            sources_lost: Throttle::default(),
            now_ns: 0,
            failed: false,
        }
    }

    fn on_request(&mut self, request: ReceiverRequest) -> Result<(), AgentError> {
        match request {
            ReceiverRequest::Tap(action) => self.on_action(action),
            ReceiverRequest::SnapshotsRecorded(writers) => self.on_snapshots_recorded(&writers),
            ReceiverRequest::SnapshotMarked { position } => self.snapshots.on_marked(position),
            ReceiverRequest::LogStartMoved => self.on_log_start_moved(),
            ReceiverRequest::Paused => self.on_paused(),
            ReceiverRequest::Sealed(log) => self.on_sealed(log)?,
            ReceiverRequest::SnapshotsDiscarded(writers) => {
                // The rows go with the next set's first: these writers may be of a set before that one.
                self.history.discard_snapshots(writers);
            }
            ReceiverRequest::SnapshotUnwanted(writer) => self.history.discard_snapshots(vec![*writer]),
            ReceiverRequest::RecordFailed { key: RecordingKey::Snapshot(_), reason }
                if self.log.is_some() =>
            {
                // The tap has given the fetch up, and tries again. The log is not concerned.
                tracing::error!(reason, "cannot record a snapshot");
                self.life.record_error(&reason);
            }
            ReceiverRequest::RecordFailed { reason, .. } => {
                // The tap has halted by itself and knows no more than that; here is why.
                tracing::error!(reason, "cannot record");
                self.fail(reason);
            }
        }
        Ok(())
    }

    /// The log is open: its writer goes to the receiver, its place to every reader.
    fn open_log(&mut self, log: OpenedLog) -> Result<(), StartingError> {
        let OpenedLog { writer, preparer, syncer, durability, tail_end, place } = log;
        self.starting.begin(&self.history, &place)?;
        self.activation.on_log_opened(writer.recorded_position(), tail_end, self.now_ns);
        let read_ahead = place.read_ahead();
        self.log = Some(place);
        self.rings.jobs.push(StorageJob::Serve(Box::new(ServedLog { preparer, read_ahead })));
        let synced = SyncedLog { syncer, durability, tail: writer.tail() };
        self.rings.synced_logs.push(Box::new(synced)).expect("a log is opened once");
        self.command(ReceiverCommand::Opened { key: RecordingKey::Log, writer: Box::new(writer) });
        self.serve_recordings();
        Ok(())
    }

    /// The archive serves what there is now. To be called whenever catalog or log changed.
    fn serve_recordings(&mut self) {
        self.downstream.on_history_changed();
        let list = match (self.retention.going(), &self.log) {
            (Some(going), Some(log)) => self.history.recordings_without(going, log),
            (_, log) => self.history.recordings(log.as_ref()),
        };
        self.rings.archive_commands.push(ArchiveCommand::Serve(Arc::new(list)));
    }

    fn on_archive_request(&mut self, request: ArchiveRequest) {
        match request {
            ArchiveRequest::Resolve { token, endpoint } => self.resolve(Asker::Archive(token), endpoint),
            ArchiveRequest::Announced(outcome) => self.on_announced(&outcome),
            ArchiveRequest::Beacon(beacon) => self.activation.on_beacon(&beacon, self.now_ns),
            ArchiveRequest::MemberSigns { members, now_ns } => {
                self.activation.on_member_signs(members, now_ns);
            }
            ArchiveRequest::LowestReplay { recording_id, position } => {
                self.on_lowest_replay(recording_id, position);
            }
        }
    }

    /// Has a name looked up.
    fn resolve(&mut self, asker: Asker, endpoint: HostPort) {
        self.rings.jobs.push(StorageJob::Resolve { asker, endpoint });
    }

    fn on_resolved(&mut self, asker: Asker, address: Option<SocketAddr>) {
        match asker {
            Asker::Receiver(token) => self.command(ReceiverCommand::Resolved { token, address }),
            Asker::Archive(token) => {
                self.rings.archive_commands.push(ArchiveCommand::Resolved { token, address });
            }
            Asker::Leader(token) => self.leadership.command(LeadCommand::Resolved { token, address }),
        }
    }

    /// Every service stands where the module does, and they run.
    fn on_started(&mut self, started: Started) {
        tracing::info!(log_position = started.log_position, "services started");
        started.refused.iter().for_each(|refused| self.life.record_error(&refused.reason));
        for set in started.lost() {
            // Where that fails, the next start finds the same fault again.
            if let Err(error) = self.history.invalidate_snapshot_set(set) {
                tracing::warn!(%error, "could not mark a snapshot as invalid");
            }
        }
        let Started { log_position, modules, .. } = started;
        let mut modules = modules.into_iter();
        if let (Some(module), Some(start)) = (&mut self.module, modules.next()) {
            let ModuleStart { state, log_reader, log_recording } = start;
            module.start(state, log_reader, log_recording);
        }
        if let (Some(replica), Some(start)) = (&mut self.rings.replica_module, modules.next()) {
            replica.push(start).expect("a replica is started once");
        }
        self.snapshots.start(&self.history, log_position, self.now_ns);
        self.accept_node_control();
        self.downstream.on_started(&self.history.snapshot_sets(self.starting.service_count()));
        self.retention.start(log_position, self.rings.replica_module.is_some());
    }

    fn on_reply(&mut self, reply: StorageReply) -> Result<(), AgentError> {
        match reply {
            // Following has ended meanwhile: the next start finds the log.
            StorageReply::LogOpened(Ok(_)) if self.failed => {}
            StorageReply::LogOpened(Ok(log)) => self.open_log(*log)?,
            // Who follows stands still and says so; the receiver of who leads has nothing more to say.
            StorageReply::LogOpened(Err(reason)) if self.is_of_its_own() => {
                return Err(format!("bootstrap: the log cannot be opened: {reason}").into());
            }
            StorageReply::LogOpened(Err(reason)) => self.fail(reason),
            StorageReply::SnapshotOpened { index, row, opened } => {
                self.on_snapshot_opened(index, row, opened);
            }
            StorageReply::Resolved { asker, address } => self.on_resolved(asker, address),
            StorageReply::SnapshotsSynced(synced) => {
                self.fetched.on_synced(synced.is_ok());
                if let Err(reason) = synced {
                    self.fail(reason);
                }
            }
            StorageReply::Replaced { owner: FileOwner::Announcements, replaced } => {
                self.on_announcements_saved(replaced);
            }
            StorageReply::Replaced { owner: FileOwner::Activation, replaced } => {
                self.on_activation_saved(&replaced);
            }
            StorageReply::Fenced(fenced) => self.on_fenced(fenced),
            StorageReply::Purged(purged) => self.on_purged(purged),
        }
        Ok(())
    }

    /// The receiver has left its source, and the log is ours.
    fn on_sealed(&mut self, log: Box<SealedLog>) -> Result<(), AgentError> {
        // Only a node that is decided to lead has asked for that.
        if self.lead_as_decided(log)?.is_some() {
            self.fail("the receiver gave the log away, and nobody leads it".to_owned());
        }
        Ok(())
    }

    /// The log cannot be made durable any more. Who follows stops; who leads must not go on for anybody.
    fn on_sync_failed(&mut self, reason: String) -> Result<(), AgentError> {
        if self.leadership.is_leading() {
            self.life.record_halt(&reason);
            return Err(reason.into());
        }
        self.fail(reason);
        Ok(())
    }

    /// Following ends, the node stays: its files are kept, its services hold their state.
    fn fail(&mut self, reason: String) {
        self.failed = true;
        self.retention.halt();
        self.life.record_halt(&reason);
        self.command(ReceiverCommand::Failed { reason });
    }

    fn command(&mut self, command: ReceiverCommand) {
        self.rings.commands.push(command);
    }

    fn start(&mut self) -> Result<(), AgentError> {
        let mut found = self.history.recover_log()?;
        // Left where no cluster began after all, or by a crash before the first byte: it would fit no other log.
        let is_unbegun = |log: &mut OpenedLog| self.activation.may_follow() && self.history.is_unbegun(log);
        if let Some(unbegun) = found.take_if(is_unbegun) {
            self.history.discard_unbegun_log(unbegun)?;
        }
        if self.is_of_its_own() {
            self.begin_or_go_on(found.as_ref())?;
        }
        match found {
            Some(log) => {
                let position = log.writer.recorded_position();
                tracing::info!(start = log.place.start_position(), end = position, "log found");
                self.open_log(log)?;
            }
            None if self.activation.may_follow() => self.create_own_log()?,
            None => {}
        }
        self.probe_remembered();
        if self.activation.is_fenced_for_good() {
            tracing::warn!(
                "another node leads, or this one has handed its cluster over (activation.dat): it serves nobody, and \
                 waits for `activate` or `deactivate`"
            );
        } else if self.is_of_its_own() {
            tracing::info!(
                "this node follows nobody: it leads a cluster of its own, unless something speaks against it"
            );
        } else if self.activation.may_follow() {
            self.activation.on_following();
            let snapshot_position = self.newest_snapshot();
            self.command(ReceiverCommand::Start { snapshot_position });
        } else {
            tracing::warn!("this node has led: it follows nobody until `deactivate`");
        }
        self.life.ready()?;
        Ok(())
    }

    fn follow(&mut self) -> Result<usize, AgentError> {
        let Some(module) = &mut self.module else { return Ok(0) };
        let work = module.do_work()?;
        let terms: Vec<NewLeadershipTermEvent> = module.drain_terms().collect();
        terms.iter().try_for_each(|term| self.on_term(term))?;
        if work > 0 {
            self.show_missed_messages();
        }
        Ok(work)
    }

    /// The log holds a message of a service once the members' had offered it, which ours does at the same event. So one
    /// that is missed here will always be, even if the numbers agree again later.
    fn show_missed_messages(&mut self) {
        let Some(state) = self.module.as_ref().and_then(|module| module.state()) else { return };
        for (service, counter) in state.services().iter().zip(&self.missed_messages) {
            let missed_count = service.missed_count() as i64;
            if missed_count > counter.get() {
                if counter.get() == 0 {
                    let text = format!(
                        "service {} is not deterministic: the log holds messages of it that it did not offer here",
                        service.service_id()
                    );
                    tracing::error!(position = state.log_position(), missed_count, "{text}");
                    self.life.record_error(&text);
                }
                counter.set_ordered(missed_count);
            }
        }
    }
}

impl Agent for Conductor {
    fn name(&self) -> &str {
        "conductor"
    }

    fn on_start(&mut self) -> Result<(), AgentError> {
        let started = self.start();
        if started.is_err() {
            self.life.start_failed();
        }
        started
    }

    fn do_work(&mut self, now_ns: u64) -> Result<usize, AgentError> {
        let mut work = 0;
        self.now_ns = now_ns;
        if let Ok(request) = self.rings.requests.pop() {
            self.on_request(request)?;
            work += 1;
        }
        while let Ok(request) = self.rings.archive_requests.pop() {
            self.on_archive_request(request);
            work += 1;
        }
        while let Ok(reply) = self.rings.replies.pop() {
            self.on_reply(reply)?;
            work += 1;
        }
        if let Some(started) = self.starting.poll(&self.history)? {
            self.on_started(started);
            work += 1;
        }
        if let Ok(reason) = self.rings.sync_failures.pop() {
            self.on_sync_failed(reason)?;
            work += 1;
        }
        work += self.follow()?;
        work += self.transit()?;
        work += self.lead_on()?;
        work += self.serve_node_control()?;
        self.enter_snapshots();
        self.query_snapshots();
        let log_end = self.log.as_ref().map_or(0, RecordingPlace::end_position);
        work += self.snapshots.do_work(&mut self.history, log_end, now_ns);
        while let Some(event) = self.snapshots.poll_event() {
            self.on_snapshot_event(event);
            work += 1;
        }
        work += self.tell_others();
        work += self.purge();
        if let Ok(request) = self.rings.module_states.try_recv() {
            match &self.module {
                // Who asked may have gone; that is no concern of the node.
                Some(module) => drop(request.send(module.state().cloned())),
                None => self.leadership.command(LeadCommand::ModuleState(request)),
            }
            work += 1;
        }
        self.rings.commands.flush();
        self.rings.archive_commands.flush();
        self.rings.jobs.flush();
        if now_ns >= self.sign_of_life_due_ns {
            self.sign_of_life_due_ns = now_ns + SIGN_OF_LIFE_INTERVAL_NS;
            self.life.update()?;
        }
        Ok(work)
    }

    fn on_close(&mut self) {
        if let Ok(ended) = self.leadership.rings.ended.pop() {
            self.module = Some(ended.module);
        }
        if let Some(module) = &mut self.module {
            module.close_snapshots();
        }
        // The services have stopped, so this ends where the slowest of them stands.
        loop {
            match self.follow() {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(%error, "could not follow the rest of the log");
                    break;
                }
            }
        }
        if let Some(log) = &self.log
            && let Err(error) = self.history.close_log(log.recording_id(), log.end_position())
        {
            tracing::error!(%error, "could not close the recording of the log");
        }
        self.leadership.gauges.show_closed();
        self.life.terminate();
    }
}
