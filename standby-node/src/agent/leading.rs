//! Leads the cluster, on the receiver's thread: clients' datagrams in, log and replies out. Every decision is the
//! [`Leader`]'s; this carries bytes, records them, and tells readers how far the log is committed.
//!
//! ```text
//!   clients ─> DatagramIo ─> Leader ─> LedLog ─> recording ─ committed ─> LogEnd of each reader
//!      ^                      ^   ^
//!      └──────────────────────┘   ├── ModuleFollower: what the log implies
//!                                 └── EgressReceiver of each service: replies
//! ```
//! Committed is what is recorded, or with a file sync level above 0 what is durable. Services, counters and replays see
//! nothing beyond.

mod led_log;

use std::net::SocketAddr;

use consensus_tap::channel::HostPort;
use consensus_tap::codec::log::{CloseReason, ClusterTimeUnit, NewLeadershipTermEvent};
use consensus_tap::endpoint::LookupToken;
use consensus_tap::leader::{ControlAction, Leader, LeaderAction, LeaderConfig, LeaderStart};
use rtrb::{Consumer, Producer};

use self::led_log::LedLog;
use super::backlog::Backlog;
use super::conductor::ModuleStateRequest;
use super::egress_ring::{EgressReceiver, SLOT_COUNT};
use super::log_ring::{LogEnd, LogSender, Mark};
use super::module_follower::ModuleFollower;
use super::{Agent, AgentError};
use crate::clients_file::ClientAccess;
use crate::net::{DatagramIo, Outgoing};
use crate::status::LeadingGauges;
use crate::store::recording_writer::RecordingWriter;
use crate::store::sync_watch::SyncWatch;
use crate::sys::clock;
use crate::sys::readiness::Readiness;

/// One receive call takes at most this many datagrams before services and timers get their turn.
const DATAGRAMS_PER_CYCLE_MAX: usize = 128;
/// One cycle passes on at most this many replies of one service.
const REPLIES_PER_CYCLE_MAX: usize = 256;
/// Figures for operators change no faster than they can be read.
const STATUS_INTERVAL_NS: u64 = 10_000_000;

/// What the conductor tells whoever leads.
#[derive(Debug)]
pub enum LeadCommand {
    /// Lead from now on. Comes once.
    Lead(Box<LeadOrder>),
    /// A name was looked up, or could not be.
    Resolved {
        /// Of the request.
        token: LookupToken,
        /// `None` when the name does not resolve.
        address: Option<SocketAddr>,
    },
    /// An operator asks for something: to be answered with [`LeadRequest::ControlDone`] or
    /// [`LeadRequest::ControlRefused`].
    Control(ControlAction),
    /// Mark the log's end for a snapshot in every reader: to be answered with [`LeadRequest::SnapshotMarked`].
    MarkSnapshot {
        /// As in [`Mark`].
        again_at: Option<i64>,
    },
    /// Look at nothing of the log below `position` any more: to be answered with [`LeadRequest::LogStartMoved`].
    MoveLogStart {
        /// Where the log begins from now on: a segment's base.
        position: i64,
    },
    /// Somebody wants a copy of the module's state.
    ModuleState(ModuleStateRequest),
}

/// All that it takes to lead.
#[derive(Debug)]
pub struct LeadOrder {
    /// The term, and where it begins: at the end of the log.
    pub start: LeaderStart,
    /// Writes the log.
    pub writer: RecordingWriter,
    /// Everybody who reads it. All have been told of its end, and nothing beyond.
    pub readers: Vec<LogSender>,
    /// Stands at the last message boundary.
    pub module: ModuleFollower,
}

/// What whoever leads asks of the conductor, and tells it.
#[derive(Debug)]
pub enum LeadRequest {
    /// Look a name up: answered by [`LeadCommand::Resolved`].
    Resolve {
        /// To be given back.
        token: LookupToken,
        /// What to look up.
        endpoint: HostPort,
    },
    /// The log says that a term began.
    Term(NewLeadershipTermEvent),
    /// Our own term's event is committed: clients are served from now on.
    Serving {
        /// Whether an operator suspended the cluster before, and it is for an operator to have it go on.
        is_suspended: bool,
    },
    /// An operator's action is in the log.
    ControlDone {
        /// Which.
        action: ControlAction,
        /// End of the log behind it.
        log_position: i64,
    },
    /// An operator's action cannot be done now.
    ControlRefused {
        /// Which.
        action: ControlAction,
    },
    /// The end of the log will not move any more, and everything up to it is committed and applied.
    Terminated {
        /// End of the log.
        log_position: i64,
    },
    /// A session is in the log.
    SessionOpened {
        /// The session.
        cluster_session_id: i64,
        /// What the client says of itself, and where it is.
        client_info: String,
    },
    /// A session is closed in the log.
    SessionClosed {
        /// The session.
        cluster_session_id: i64,
        /// Why.
        close_reason: CloseReason,
    },
    /// Every reader takes a snapshot at the first message boundary at or behind a position.
    SnapshotMarked {
        /// Where the committed log ended.
        position: i64,
    },
    /// Nothing below the log's new start is looked at.
    LogStartMoved,
    /// Tell the operator.
    Report(String),
}

/// What is left when this agent has closed.
#[derive(Debug)]
pub struct LeadEnded {
    /// Reads the rest of the log, once the services have.
    pub module: ModuleFollower,
}

/// What a leading agent is made of.
#[derive(Debug)]
pub struct LeadingParts {
    /// How it deals with clients.
    pub config: LeaderConfig,
    /// Who may be a client.
    pub access: ClientAccess,
    /// Tells our receiving side from all others: unique.
    pub receiver_id: i64,
    /// From each service, by id.
    pub egress: Vec<EgressReceiver>,
    /// How far the log is durable, where it has to be before it counts.
    pub durable: Option<SyncWatch>,
    /// Its counters.
    pub gauges: LeadingGauges,
}

/// The leading agent.
#[derive(Debug)]
pub struct Leading<Io> {
    io: Io,
    commands: Consumer<LeadCommand>,
    requests: Backlog<LeadRequest>,
    ended: Producer<Box<LeadEnded>>,
    egress: Vec<EgressReceiver>,
    gauges: LeadingGauges,
    /// Until it leads.
    waiting: Option<Waiting>,
    reign: Option<Reign>,
    status_due_ns: u64,
}

/// What is used up when it begins to lead.
#[derive(Debug)]
struct Waiting {
    config: LeaderConfig,
    access: ClientAccess,
    receiver_id: i64,
    durable: Option<SyncWatch>,
}

/// The one term of this node.
#[derive(Debug)]
struct Reign {
    leader: Leader,
    log: LedLog,
    module: ModuleFollower,
    readers: Vec<LogSender>,
    /// What readers are told of.
    end: LogEnd,
    time_unit: ClusterTimeUnit,
}

impl<Io: DatagramIo> Leading<Io> {
    /// An agent that waits for [`LeadCommand::Lead`]. `ended` has room for one.
    pub fn new(
        io: Io,
        parts: LeadingParts,
        commands: Consumer<LeadCommand>,
        requests: Producer<LeadRequest>,
        ended: Producer<Box<LeadEnded>>,
    ) -> Self {
        let LeadingParts { config, access, receiver_id, egress, durable, gauges } = parts;
        Self {
            io,
            commands,
            requests: Backlog::new(requests),
            ended,
            egress,
            gauges,
            waiting: Some(Waiting { config, access, receiver_id, durable }),
            reign: None,
            status_due_ns: 0,
        }
    }

    fn on_command(&mut self, command: LeadCommand, now_ns: u64) -> Result<(), AgentError> {
        if let LeadCommand::Lead(order) = command {
            self.reign = Some(self.begin(*order, now_ns)?);
            return Ok(());
        }
        let Some(reign) = &mut self.reign else {
            return Err(format!("told {command:?} before it leads").into());
        };
        match command {
            LeadCommand::Lead(_) => unreachable!("it was taken above"),
            LeadCommand::Resolved { token, address } => reign.leader.on_resolved(token, address, now_ns),
            LeadCommand::Control(action) => {
                if !reign.leader.on_control(action) {
                    self.requests.push(LeadRequest::ControlRefused { action });
                }
            }
            LeadCommand::MarkSnapshot { again_at } => {
                let position = reign.end.position;
                reign.readers.iter_mut().for_each(|reader| reader.mark_snapshot(Mark { position, again_at }));
                self.requests.push(LeadRequest::SnapshotMarked { position });
            }
            LeadCommand::MoveLogStart { position } => {
                reign.log.purged_below(position);
                self.requests.push(LeadRequest::LogStartMoved);
            }
            LeadCommand::ModuleState(request) => {
                // Who asked may have gone; that is no concern of the node.
                let _ = request.send(reign.module.state().cloned());
            }
        }
        Ok(())
    }

    /// Begins the term. Services are told by the next end of the log.
    fn begin(&mut self, order: LeadOrder, now_ns: u64) -> Result<Reign, AgentError> {
        let LeadOrder { start, writer, mut readers, module } = order;
        let Waiting { config, access, receiver_id, durable } =
            self.waiting.take().ok_or("told twice to lead")?;
        let ClientAccess { authenticator, authorisation } = access;
        let state = module.state().ok_or("a node without services cannot lead")?;
        assert_eq!(writer.recorded_position(), start.log_position, "a term begins at the end of the log");
        for session in state.sessions().iter() {
            open_slots(&self.egress, session.id, &mut self.requests);
        }
        readers.iter_mut().for_each(|reader| reader.lead_from(start.log_position));
        self.gauges.begin();
        Ok(Reign {
            leader: Leader::new(config, start, state, authenticator, authorisation, receiver_id),
            log: LedLog::new(writer, durable),
            readers,
            end: LogEnd::at(start.log_position, now_ns),
            time_unit: start.time_unit,
            module,
        })
    }

    fn transmit(io: &mut Io, leader: &mut Leader, now_ns: u64) -> Result<usize, AgentError> {
        let mut out = Outgoing::new(io);
        let sent = leader.poll_transmit(now_ns, &mut |run| out.send(run));
        out.finish()?;
        Ok(sent)
    }

    fn act(&mut self) -> usize {
        let Self { reign: Some(reign), egress, requests, .. } = self else { return 0 };
        let mut work = 0;
        while let Some(action) = reign.leader.poll_action() {
            work += 1;
            let request = match action {
                LeaderAction::Resolve { token, endpoint } => LeadRequest::Resolve { token, endpoint },
                LeaderAction::Serving => LeadRequest::Serving { is_suspended: reign.leader.is_suspended() },
                LeaderAction::ControlDone { action, log_position } => {
                    LeadRequest::ControlDone { action, log_position }
                }
                LeaderAction::Terminated { log_position } => LeadRequest::Terminated { log_position },
                LeaderAction::SessionOpened { cluster_session_id, client_info } => {
                    open_slots(egress, cluster_session_id, requests);
                    LeadRequest::SessionOpened { cluster_session_id, client_info }
                }
                LeaderAction::SessionClosed { cluster_session_id, close_reason } => {
                    egress.iter().for_each(|egress| egress.close(cluster_session_id));
                    LeadRequest::SessionClosed { cluster_session_id, close_reason }
                }
                LeaderAction::EgressChanged { cluster_session_id, state } => {
                    egress.iter().for_each(|egress| egress.changed(cluster_session_id, state));
                    continue;
                }
                LeaderAction::Report(text) => LeadRequest::Report(text),
            };
            requests.push(request);
        }
        work
    }

    fn lead(&mut self, now_ns: u64) -> Result<usize, AgentError> {
        let Self { io, reign: Some(reign), egress, requests, .. } = self else { return Ok(0) };
        let cluster_time = cluster_time(reign.time_unit);
        let Reign { leader, log, module, .. } = reign;
        log.on_cycle(now_ns);
        let mut work = io.receive(DATAGRAMS_PER_CYCLE_MAX, |bytes, from| {
            leader.on_datagram(bytes, from, now_ns, cluster_time, log);
        })?;
        work += module.do_work()?;
        for term in module.drain_terms() {
            requests.push(LeadRequest::Term(term));
        }
        let state = module.state().expect("a leader was begun with a state");
        if leader.awaits_replies()
            && let Some(position) = egress.iter_mut().map(EgressReceiver::replied_position).min()
        {
            leader.on_replied(position);
        }
        work += leader.on_timeout(now_ns, cluster_time, log.commit_position(), state, log);
        for service in egress.iter_mut() {
            work += service.poll(REPLIES_PER_CYCLE_MAX, |cluster_session_id, timestamp, payload| {
                // What is refused was counted; the service heard of it, or will by the session's state.
                let _ = leader.offer_egress(cluster_session_id, timestamp, payload);
            });
        }
        if let Some(report) = log.take_report() {
            requests.push(LeadRequest::Report(report));
        }
        log.wake_syncer();
        // A service must not meet a session before its slot is there.
        work += self.act();
        let Self { io, reign: Some(reign), gauges, .. } = self else { return Ok(work) };
        work += reign.publish(now_ns, gauges);
        work += Self::transmit(io, &mut reign.leader, now_ns)?;
        Ok(work)
    }

    fn show_status(&mut self, now_ns: u64) {
        let Some(reign) = &self.reign else { return };
        if now_ns >= self.status_due_ns {
            self.status_due_ns = now_ns + STATUS_INTERVAL_NS;
            let (leader, io) = (&reign.leader, self.io.counters());
            self.gauges.show(leader, &io, reign.log.late_segment_count());
        }
    }
}

impl Reign {
    /// Tells readers how far the log is committed.
    fn publish(&mut self, now_ns: u64, gauges: &LeadingGauges) -> usize {
        let commit_position = self.log.commit_position();
        if commit_position > self.end.position {
            self.end = LogEnd::at(commit_position, now_ns);
            gauges.show_positions(self.log.recorded_position(), commit_position);
        }
        let end = self.end;
        self.readers.iter_mut().map(|reader| reader.advance(end)).sum()
    }
}

/// Lets every service reply to a session, or says that none can.
fn open_slots(egress: &[EgressReceiver], session_id: i64, requests: &mut Backlog<LeadRequest>) {
    let opened_count = egress.iter().filter(|egress| egress.open(session_id)).count();
    if opened_count < egress.len() {
        // Without the session's id: the error log keeps every text that is new, and counts what is not.
        requests.push(LeadRequest::Report(format!(
            "a session gets no replies: {SLOT_COUNT} others are open or about to close, and a node has no room for \
             more; its client has to close it and connect anew once there are fewer"
        )));
    }
}

/// The wall clock in the log's unit.
fn cluster_time(unit: ClusterTimeUnit) -> i64 {
    match unit {
        ClusterTimeUnit::Millis => clock::epoch_ms(),
        ClusterTimeUnit::Micros => clock::epoch_ns() / 1_000,
        ClusterTimeUnit::Nanos => clock::epoch_ns(),
    }
}

impl<Io: DatagramIo> Agent for Leading<Io> {
    fn name(&self) -> &str {
        "leading"
    }

    fn do_work(&mut self, now_ns: u64) -> Result<usize, AgentError> {
        let mut work = 0;
        // One command a cycle: a burst of control traffic must not delay clients.
        if let Ok(command) = self.commands.pop() {
            self.on_command(command, now_ns)?;
            work += 1;
        }
        if self.reign.is_some() {
            work += self.lead(now_ns)?;
            self.requests.flush();
            self.show_status(now_ns);
        }
        Ok(work)
    }

    fn sleep_at(&self, readiness: &mut Readiness) {
        if self.reign.is_some() {
            self.io.sleep_at(readiness);
        }
    }

    /// Takes leave of clients, as far as one pass goes, and lets readers have all that is recorded: it will count when
    /// this node starts again.
    fn on_close(&mut self) {
        let Some(mut reign) = self.reign.take() else { return };
        let now_ns = clock::monotonic_ns();
        reign.leader.close(now_ns);
        if let Err(error) = Self::transmit(&mut self.io, &mut reign.leader, now_ns) {
            tracing::warn!(%error, "could not take leave of clients");
        }
        reign.log.commit_all();
        reign.publish(now_ns, &self.gauges);
        // There is room for the one that there ever is.
        let _ = self.ended.push(Box::new(LeadEnded { module: reign.module }));
    }
}

#[cfg(test)]
mod tests {
    use rtrb::RingBuffer;

    use super::*;
    use crate::agent::egress_ring::{EgressLimits, egress_ring};

    #[test]
    fn a_session_without_a_slot_is_told_of_once_however_many_services_there_are() {
        let limits = EgressLimits { message_length_max: 8192, window_length: 1000, is_shared: false };
        let egress = [egress_ring(1, limits).1, egress_ring(1, limits).1];
        let (producer, mut told) = RingBuffer::new(4);
        let mut requests = Backlog::new(producer);
        for session_id in 1..=SLOT_COUNT as i64 {
            open_slots(&egress, session_id, &mut requests);
        }
        assert!(told.pop().is_err());
        open_slots(&egress, SLOT_COUNT as i64 + 1, &mut requests);
        let Ok(LeadRequest::Report(text)) = told.pop() else { panic!("nothing was said") };
        assert!(text.starts_with("a session gets no replies: 8192 others"), "{text}");
        assert!(told.pop().is_err());
        egress.iter().for_each(|egress| egress.close(7));
        open_slots(&egress, SLOT_COUNT as i64 + 1, &mut requests);
        assert!(told.pop().is_err(), "there is room again");
    }
}
