//! Serves others: drives [`Serving`] from the second socket. Every protocol decision is its own; this only carries
//! bytes, and names to be looked up.

use std::net::SocketAddr;
use std::sync::Arc;

use consensus_tap::channel::HostPort;
use consensus_tap::endpoint::LookupToken;
use consensus_tap::serving::{Announcement, MemberOutcome, ProbedMember, Serving, ServingAction, Standing};
use consensus_tap::transition::{Beacon, MemberSign};
use rtrb::{Consumer, Producer};

use super::backlog::Backlog;
use super::throttle::Throttle;
use super::{Agent, AgentError};
use crate::net::{DatagramIo, Outgoing};
use crate::status::ArchiveGauges;
use crate::store::recording_list::{RecordingList, ServedRecordings};
use crate::sys::readiness::Readiness;

/// One receive call takes at most this many datagrams before replays go on.
const DATAGRAMS_PER_CYCLE_MAX: usize = 64;
/// How often the conductor is told of the members.
const SIGNS_INTERVAL_NS: u64 = 20_000_000;
/// Figures for operators change no faster than they can be read.
const STATUS_INTERVAL_NS: u64 = 100_000_000;

/// What the conductor tells the archive agent.
#[derive(Debug)]
pub enum ArchiveCommand {
    /// The recordings to serve from now on. Replays that are under way go on.
    Serve(Arc<RecordingList>),
    /// A name was looked up, or could not be.
    Resolved {
        /// Of the request.
        token: LookupToken,
        /// `None` when the name does not resolve.
        address: Option<SocketAddr>,
    },
    /// What this node says of itself from now on when it is asked as a member.
    Standing(Arc<Standing>),
    /// Tell members of a snapshot set, which [`Self::Serve`] has listed before: answered by
    /// [`ArchiveRequest::Announced`], once for each member.
    Announce(Box<Announcement>),
    /// Probe these members of the cluster from now on: told of by [`ArchiveRequest::MemberSigns`], over and
    /// over.
    Probe(Vec<ProbedMember>),
    /// Tell the other standbys how this one stands.
    TellStandbys(Beacon),
    /// Tell the lowest position of a recording that a replay still needs: answered by
    /// [`ArchiveRequest::LowestReplay`]. Who is about to purge sends a list with the new start position first; then
    /// no replay that begins after the answer needs what is purged.
    AskLowestReplay {
        /// The recording.
        recording_id: i64,
    },
}

/// What the archive agent tells and asks the conductor.
#[derive(Debug)]
pub enum ArchiveRequest {
    /// Look a name up: answered by [`ArchiveCommand::Resolved`].
    Resolve {
        /// To be given back.
        token: LookupToken,
        /// What to look up.
        endpoint: HostPort,
    },
    /// What became of an announcement at one member.
    Announced(MemberOutcome),
    /// Another standby said how it stands.
    Beacon(Beacon),
    /// What was heard of the members that are probed, looked at just now.
    MemberSigns {
        /// Of each.
        members: Vec<MemberSign>,
        /// When that was.
        now_ns: u64,
    },
    /// The answer to [`ArchiveCommand::AskLowestReplay`].
    LowestReplay {
        /// The recording.
        recording_id: i64,
        /// Nothing from here on may be purged; `None` when nobody reads the recording.
        position: Option<i64>,
    },
}

/// The archive agent.
#[derive(Debug)]
pub struct Archive<Io> {
    serving: Serving<ServedRecordings>,
    recordings: ServedRecordings,
    io: Io,
    commands: Consumer<ArchiveCommand>,
    requests: Backlog<ArchiveRequest>,
    gauges: ArchiveGauges,
    reports: Throttle,
    is_probing: bool,
    signs_due_ns: u64,
    status_due_ns: u64,
}

impl<Io: DatagramIo> Archive<Io> {
    /// An agent that serves nothing before it is told what.
    pub fn new(
        serving: Serving<ServedRecordings>,
        io: Io,
        commands: Consumer<ArchiveCommand>,
        requests: Producer<ArchiveRequest>,
        gauges: ArchiveGauges,
    ) -> Self {
        Self {
            serving,
            recordings: ServedRecordings::default(),
            io,
            commands,
            requests: Backlog::new(requests),
            gauges,
            reports: Throttle::default(),
            is_probing: false,
            signs_due_ns: 0,
            status_due_ns: 0,
        }
    }

    fn on_command(&mut self, command: ArchiveCommand, now_ns: u64) {
        match command {
            ArchiveCommand::Serve(list) => self.recordings = ServedRecordings::new(list),
            ArchiveCommand::Standing(standing) => self.serving.on_standing(standing),
            ArchiveCommand::Announce(announcement) => self.serving.announce(&announcement),
            ArchiveCommand::Resolved { token, address } => {
                self.serving.on_resolved(token, address, now_ns, &self.recordings);
            }
            ArchiveCommand::Probe(members) => {
                self.serving.probe(&members, now_ns);
                self.is_probing = true;
            }
            ArchiveCommand::TellStandbys(beacon) => self.serving.tell_standbys(&beacon),
            ArchiveCommand::AskLowestReplay { recording_id } => {
                let position = self.serving.archive().lowest_replay_position(recording_id);
                self.requests.push(ArchiveRequest::LowestReplay { recording_id, position });
            }
        }
    }

    fn receive(&mut self, now_ns: u64) -> Result<usize, AgentError> {
        let Self { serving, io, recordings, .. } = self;
        Ok(io.receive(DATAGRAMS_PER_CYCLE_MAX, |bytes, from| {
            serving.on_datagram(bytes, from, now_ns, recordings);
        })?)
    }

    fn transmit(&mut self, now_ns: u64) -> Result<usize, AgentError> {
        let mut out = Outgoing::new(&mut self.io);
        let sent = self.serving.poll_transmit(now_ns, &mut |run| out.send(run));
        out.finish()?;
        Ok(sent)
    }

    fn act(&mut self, now_ns: u64) -> usize {
        self.requests.flush();
        let mut work = 0;
        while let Some(action) = self.serving.poll_action() {
            work += 1;
            match action {
                ServingAction::Resolve { token, endpoint } => {
                    self.requests.push(ArchiveRequest::Resolve { token, endpoint });
                }
                ServingAction::Announced(outcome) => self.requests.push(ArchiveRequest::Announced(outcome)),
                ServingAction::Beacon(beacon) => self.requests.push(ArchiveRequest::Beacon(beacon)),
                ServingAction::Report(text) => {
                    if let Some(repeated) = self.reports.admit(&text, now_ns) {
                        tracing::warn!(repeated, "{text}");
                    }
                }
            }
        }
        work
    }

    /// Also when nothing was heard: silence of members is told from that of this agent.
    fn tell_signs(&mut self, now_ns: u64) -> usize {
        if !self.is_probing || now_ns < self.signs_due_ns || !self.requests.is_empty() {
            return 0;
        }
        self.signs_due_ns = now_ns + SIGNS_INTERVAL_NS;
        let members = self.serving.member_signs();
        self.requests.push(ArchiveRequest::MemberSigns { members, now_ns });
        1
    }

    fn show_status(&mut self, now_ns: u64) {
        if now_ns >= self.status_due_ns {
            self.status_due_ns = now_ns + STATUS_INTERVAL_NS;
            self.gauges.show(&self.serving, &self.io.counters());
        }
    }
}

impl<Io: DatagramIo> Agent for Archive<Io> {
    fn name(&self) -> &str {
        "archive"
    }

    fn do_work(&mut self, now_ns: u64) -> Result<usize, AgentError> {
        let mut work = 0;
        while let Ok(command) = self.commands.pop() {
            self.on_command(command, now_ns);
            work += 1;
        }
        work += self.receive(now_ns)?;
        work += self.serving.on_timeout(now_ns, &self.recordings);
        work += self.transmit(now_ns)?;
        work += self.act(now_ns);
        work += self.tell_signs(now_ns);
        self.show_status(now_ns);
        Ok(work)
    }

    fn sleep_at(&self, readiness: &mut Readiness) {
        self.io.sleep_at(readiness);
    }

    /// Takes leave of clients: their streams are revoked, as far as one pass goes.
    fn on_close(&mut self) {
        let now_ns = crate::sys::clock::monotonic_ns();
        self.serving.close(now_ns);
        self.serving.on_timeout(now_ns, &self.recordings);
        if let Err(error) = self.transmit(now_ns) {
            tracing::warn!(%error, "could not take leave of the archive's clients");
        }
        self.status_due_ns = 0;
        self.show_status(now_ns);
    }
}
