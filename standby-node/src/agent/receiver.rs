//! Drives the tap from the socket: datagrams in, recorded bytes and datagrams out. Every protocol decision is the
//! tap's; this only carries bytes.

use consensus_tap::channel::HostPort;
use consensus_tap::tap::{LagTracker, Tap, TapAction, TapState};
use rtrb::{Consumer, Producer};

use super::log_ring::{LogEnd, LogSender, Mark};
use super::{Agent, AgentError};
use crate::net::{DatagramIo, Outgoing};
use crate::recordings::Recordings;
use crate::status::ReceiverGauges;
use crate::store::recording_writer::RecordingWriter;
use crate::sys::readiness::Readiness;
use consensus_tap::tap::RecordingKey;
use std::net::SocketAddr;

/// One receive call takes at most this many datagrams before rings and timers get their turn.
const DATAGRAMS_PER_CYCLE_MAX: usize = 128;
/// Figures for operators change no faster than they can be read.
const STATUS_INTERVAL_NS: u64 = 10_000_000;

/// How often a receiver that gave the log away looks at its socket.
const SEALED_INTERVAL_NS: u64 = 1_000_000;

/// Behind by this many bytes, the receiver is catching up: they take the fastest sender some 20 ms, beside which a
/// wait that gathers datagrams is nothing.
const CATCH_UP_LENGTH: i64 = 4 * 1024 * 1024;

/// What the conductor tells the receiver.
#[derive(Debug)]
pub enum ReceiverCommand {
    /// Begin to look for a source. The log that is there, if any, was opened before.
    Start {
        /// Log position of the newest snapshot set that is there. Without a log, the log begins here.
        snapshot_position: Option<i64>,
    },
    /// A name was looked up, or could not be.
    Resolved {
        /// Of the request.
        token: u64,
        /// `None` when the name does not resolve.
        address: Option<SocketAddr>,
    },
    /// A recording is ready to be written.
    Opened {
        /// Which one.
        key: RecordingKey,
        /// Its writer.
        writer: Box<RecordingWriter>,
    },
    /// Newer snapshots of the source are wanted.
    QuerySnapshots {
        /// Log position of the newest snapshot set that is there.
        snapshot_position: Option<i64>,
    },
    /// The recording of a snapshot could not be opened; that of the log is not concerned.
    SnapshotFailed {
        /// In words.
        reason: String,
    },
    /// A recording could not be opened, or not be made durable.
    Failed {
        /// In words.
        reason: String,
    },
    /// Mark the log's end for a snapshot in every reader. The log is open. To be answered with
    /// [`ReceiverRequest::SnapshotMarked`] before there is another.
    MarkSnapshot {
        /// As in [`Mark`].
        again_at: Option<i64>,
    },
    /// Look at nothing of the log below `position` any more, for it is about to be purged. To be answered with
    /// [`ReceiverRequest::LogStartMoved`] before there is another.
    MoveLogStart {
        /// Where the log begins from now on: a segment's base.
        position: i64,
    },
    /// Leave the source for now: nothing more is recorded until [`Self::Resume`]. To be answered with
    /// [`ReceiverRequest::Paused`].
    Pause,
    /// Look for a source again.
    Resume,
    /// Turn to this endpoint: another standby, which has more of the log.
    Prefer {
        /// Where it answers as a member would.
        endpoint: HostPort,
    },
    /// Leave the source for good and give the log away, with those who read it. To be answered with
    /// [`ReceiverRequest::Sealed`].
    Seal,
    /// The log says that a new leadership term began.
    LeadershipTerm {
        /// The term.
        leadership_term_id: i64,
        /// Who leads it.
        leader_member_id: i32,
    },
}

/// The log that the receiver wrote, and its way to the readers.
#[derive(Debug)]
pub struct SealedLog {
    /// Writes it; `None` where none was open.
    pub writer: Option<RecordingWriter>,
    /// In the order of [`Receiver::new`].
    pub readers: Vec<LogSender>,
    /// What every reader is told of, or is to be: some may have had no room.
    pub end: LogEnd,
}

/// What the receiver asks of the conductor.
#[derive(Debug)]
pub enum ReceiverRequest {
    /// As the tap put it.
    Tap(TapAction),
    /// The snapshot set is recorded: its writers, in the order of the set.
    SnapshotsRecorded(Vec<RecordingWriter>),
    /// The snapshot set was given up: what was written of it.
    SnapshotsDiscarded(Vec<RecordingWriter>),
    /// A snapshot's recording was opened after its source had been given up.
    SnapshotUnwanted(Box<RecordingWriter>),
    /// Every reader takes a snapshot at the first message boundary at or behind a position.
    SnapshotMarked {
        /// Where the log ended.
        position: i64,
    },
    /// The receiver looks at nothing below the log's new start.
    LogStartMoved,
    /// The source is left, and the log's end stands still.
    Paused,
    /// The source is left, and the log is somebody else's from now on.
    Sealed(Box<SealedLog>),
    /// Writing a recording failed.
    RecordFailed {
        /// Which one.
        key: RecordingKey,
        /// In words.
        reason: String,
    },
}

/// The receiver agent.
#[derive(Debug)]
pub struct Receiver<Io> {
    tap: Tap,
    io: Io,
    recordings: Recordings,
    /// Recordings of snapshots that came too late, on their way back.
    unwanted: Vec<RecordingWriter>,
    commands: Consumer<ReceiverCommand>,
    requests: Producer<ReceiverRequest>,
    /// A request for which the ring had no room yet.
    waiting: Option<ReceiverRequest>,
    readers: Vec<LogSender>,
    end: LogEnd,
    /// A mark that the conductor has not been told of.
    snapshot_marked: Option<i64>,
    /// The conductor has not been told that the log's start has moved.
    log_start_moved: bool,
    /// The conductor has not been told that the source is left.
    paused: bool,
    /// The log was given away.
    is_sealed: bool,
    /// On its way to the conductor.
    sealed: Option<Box<SealedLog>>,
    /// When a receiver without a log looks at its socket next.
    sealed_due_ns: u64,
    lag: LagTracker,
    /// Whose positions the lag was told.
    lag_source_id: i32,
    /// What was told before is of another source, and may never be committed.
    lag_since_ns: u64,
    gauges: ReceiverGauges,
    status_due_ns: u64,
}

impl<Io: DatagramIo> Receiver<Io> {
    /// A receiver that waits for [`ReceiverCommand::Start`].
    pub fn new(
        tap: Tap,
        io: Io,
        commands: Consumer<ReceiverCommand>,
        requests: Producer<ReceiverRequest>,
        readers: Vec<LogSender>,
        gauges: ReceiverGauges,
    ) -> Self {
        Self {
            tap,
            io,
            recordings: Recordings::default(),
            unwanted: Vec::new(),
            commands,
            requests,
            waiting: None,
            readers,
            end: LogEnd::NONE,
            snapshot_marked: None,
            log_start_moved: false,
            paused: false,
            is_sealed: false,
            sealed: None,
            sealed_due_ns: 0,
            lag: LagTracker::default(),
            lag_source_id: -1,
            lag_since_ns: 0,
            gauges,
            status_due_ns: 0,
        }
    }

    fn on_command(&mut self, command: ReceiverCommand, now_ns: u64) {
        match command {
            ReceiverCommand::Start { snapshot_position } => self.tap.start(snapshot_position, now_ns),
            ReceiverCommand::Resolved { token, address } => self.tap.on_resolved(token, address, now_ns),
            ReceiverCommand::Opened { key, writer } => {
                if self.tap.on_recording_opened(key, now_ns) {
                    self.recordings.open(key, *writer);
                } else {
                    self.unwanted.push(*writer);
                }
            }
            ReceiverCommand::QuerySnapshots { snapshot_position } => {
                self.tap.query_snapshots(snapshot_position);
            }
            ReceiverCommand::SnapshotFailed { reason } => self.tap.on_snapshot_failed(reason, now_ns),
            ReceiverCommand::Failed { reason } => self.tap.on_recording_failed(reason, now_ns),
            ReceiverCommand::MarkSnapshot { again_at } => self.mark_snapshot(again_at, now_ns),
            ReceiverCommand::MoveLogStart { position } => {
                self.recordings.purged_below(position);
                self.log_start_moved = true;
            }
            ReceiverCommand::Pause => {
                self.tap.pause(now_ns);
                self.publish_log(now_ns);
                self.paused = true;
            }
            ReceiverCommand::Resume => self.tap.resume(now_ns),
            ReceiverCommand::Prefer { endpoint } => self.tap.prefer(endpoint, now_ns),
            ReceiverCommand::Seal => self.seal(now_ns),
            ReceiverCommand::LeadershipTerm { leadership_term_id, leader_member_id } => {
                self.tap.on_leadership_term(leadership_term_id, leader_member_id);
            }
        }
    }

    fn receive(&mut self, now_ns: u64) -> Result<usize, AgentError> {
        let Self { tap, io, recordings, .. } = self;
        Ok(io.receive(DATAGRAMS_PER_CYCLE_MAX, |bytes, from| {
            tap.on_datagram(bytes, from, now_ns, recordings);
        })?)
    }

    fn publish_log(&mut self, now_ns: u64) -> usize {
        let Some(position) = self.recordings.log_position() else { return 0 };
        if position > self.end.position {
            self.end = LogEnd::at(position, now_ns);
            self.gauges.show_recorded(position);
        }
        let end = self.end;
        self.readers.iter_mut().map(|reader| reader.advance(end)).sum()
    }

    /// The mark is the newest end, of which no reader was told more: so none can have passed it.
    fn mark_snapshot(&mut self, again_at: Option<i64>, now_ns: u64) {
        self.publish_log(now_ns);
        let position = self.end.position;
        self.readers.iter_mut().for_each(|reader| reader.mark_snapshot(Mark { position, again_at }));
        self.snapshot_marked = Some(position);
    }

    /// The last that the source sent is published; what is said to it in leaving is sent by the cycles that follow.
    fn seal(&mut self, now_ns: u64) {
        self.publish_log(now_ns);
        self.tap.close(now_ns);
        self.is_sealed = true;
        self.sealed = Some(Box::new(SealedLog {
            writer: self.recordings.take_log(),
            readers: std::mem::take(&mut self.readers),
            end: self.end,
        }));
    }

    fn transmit(&mut self, now_ns: u64) -> Result<usize, AgentError> {
        let mut out = Outgoing::new(&mut self.io);
        let sent = self.tap.poll_transmit(now_ns, &mut |run| out.send(run));
        out.finish()?;
        Ok(sent)
    }

    /// Passes requests on, one at a time and in order.
    fn request(&mut self) -> usize {
        if self.waiting.is_none() {
            let failure = self.recordings.take_failure();
            self.waiting = match (failure, self.unwanted.pop()) {
                (Some((key, failure)), unwanted) => {
                    self.unwanted.extend(unwanted);
                    Some(ReceiverRequest::RecordFailed { key, reason: failure.to_string() })
                }
                (None, Some(writer)) => Some(ReceiverRequest::SnapshotUnwanted(Box::new(writer))),
                (None, None) => self.tap.poll_action().map(|action| match action {
                    TapAction::SnapshotsRecorded => {
                        ReceiverRequest::SnapshotsRecorded(self.recordings.take_snapshots())
                    }
                    TapAction::DiscardSnapshots => {
                        ReceiverRequest::SnapshotsDiscarded(self.recordings.take_snapshots())
                    }
                    action => ReceiverRequest::Tap(action),
                }),
            };
        }
        if self.waiting.is_none() {
            let marked = self.snapshot_marked.take();
            self.waiting = marked.map(|position| ReceiverRequest::SnapshotMarked { position });
        }
        if self.waiting.is_none() && std::mem::take(&mut self.log_start_moved) {
            self.waiting = Some(ReceiverRequest::LogStartMoved);
        }
        if self.waiting.is_none() && std::mem::take(&mut self.paused) {
            self.waiting = Some(ReceiverRequest::Paused);
        }
        if self.waiting.is_none() {
            self.waiting = self.sealed.take().map(ReceiverRequest::Sealed);
        }
        let Some(request) = self.waiting.take() else { return 0 };
        match self.requests.push(request) {
            Ok(()) => 1,
            Err(rtrb::PushError::Full(request)) => {
                self.waiting = Some(request);
                0
            }
        }
    }

    fn show_status(&mut self, now_ns: u64) {
        // Whoever has the log now shows how it is.
        if self.is_sealed || now_ns < self.status_due_ns {
            return;
        }
        self.status_due_ns = now_ns + STATUS_INTERVAL_NS;
        let status = self.tap.status();
        if status.source_member_id != self.lag_source_id {
            self.lag_source_id = status.source_member_id;
            self.lag_since_ns = now_ns;
            self.lag.reset();
        }
        if status.source_member_id >= 0 && status.source_position_ns > self.lag_since_ns {
            self.lag.on_source_position(status.source_position, status.source_position_ns);
        }
        let lag_ns = self.lag.lag_ns(self.gauges.applied_position(), now_ns);
        self.gauges.show_segments_late(self.recordings.late_segment_count());
        self.gauges.show(
            status,
            self.tap.transport_counters(),
            &self.io.counters(),
            self.recordings.log_position(),
            lag_ns,
            now_ns,
        );
    }
}

impl<Io: DatagramIo> Agent for Receiver<Io> {
    fn name(&self) -> &str {
        "receiver"
    }

    fn do_work(&mut self, now_ns: u64) -> Result<usize, AgentError> {
        let mut work = 0;
        // One command a cycle: a burst of control traffic must not delay the log.
        if let Ok(command) = self.commands.pop() {
            self.on_command(command, now_ns);
            work += 1;
        }
        if self.is_sealed {
            // Takes leave of its sources, and nothing else: that must not cost who leads a system call a cycle.
            if now_ns < self.sealed_due_ns {
                return Ok(work);
            }
            self.sealed_due_ns = now_ns + SEALED_INTERVAL_NS;
        }
        work += self.receive(now_ns)?;
        work += self.publish_log(now_ns);
        work += self.tap.on_timeout(now_ns, &mut self.recordings);
        work += self.transmit(now_ns)?;
        work += self.request();
        self.show_status(now_ns);
        Ok(work)
    }

    /// The source's position is as old as its last answer, so in the live tail it is behind ours.
    fn is_catching_up(&self) -> bool {
        let status = self.tap.status();
        let recorded = self.recordings.log_position().unwrap_or(i64::MAX);
        status.state == TapState::Following
            && status.source_position.saturating_sub(recorded) >= CATCH_UP_LENGTH
    }

    fn sleep_at(&self, readiness: &mut Readiness) {
        if !self.is_sealed {
            self.io.sleep_at(readiness);
        }
    }

    /// Leaves the sources in order: sessions are closed and what must be said is said, as far as one pass goes.
    fn on_close(&mut self) {
        let now_ns = crate::sys::clock::monotonic_ns();
        self.tap.close(now_ns);
        self.tap.on_timeout(now_ns, &mut self.recordings);
        if let Err(error) = self.transmit(now_ns) {
            tracing::warn!(%error, "could not take leave of the source");
        }
        self.publish_log(now_ns);
        self.status_due_ns = 0;
        self.show_status(now_ns);
        self.gauges.show_closed();
    }
}
