//! Whom to follow, from where, how far: the way from a list of consensus endpoints to committed log bytes.
//!
//! ```text
//!             BackupResponse     connected        set recorded        described, opened
//!  Querying ───────────────> Connecting ──> Fetching ──────────> Describing ──────────> Refreshing
//!     ^  ^                        │  (no log yet)                     ^                     │ BackupResponse:
//!     │  │                        └───────────(log is here)───────────┘                     │ the counter
//!     │  └──────── source lost, for whatever reason, at any step ───────┐                   v
//!     │                                                             Following <──────── Requesting
//!     │                                                                granted, and the same counter again
//!  Halted (LOG_PURGED, DIVERGED, FAILED): files kept, nothing more is asked
//! ```
//! Newer snapshots of the source are fetched in the same way beside `Following`, over the same session; what goes wrong
//! with them ends their fetch and nothing else.
//!
//! Invariants: bytes come only from a replay that is bounded by the commit-position counter of the member that
//! sends it, whose id that member told both before its archive was asked and after it answered; there is one
//! source at a time; a replay begins below our end and what overlaps is compared before anything is appended.

mod action;
mod archive_link;
mod candidates;
mod channels;
mod config;
mod consensus_link;
mod fetching;
mod following;
mod lag;
mod log_replay;
mod recorder;
mod replaying;
mod router;
mod snapshot_fetch;
mod snapshot_watch;
mod source;
mod sourcing;
mod status;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::net::SocketAddr;

pub use self::action::{TapAction, TapReport};
pub use self::config::{ReplayStart, Routing, SECOND_NS, SourceType, TapConfig};
pub use self::lag::LagTracker;
pub use self::log_replay::OVERLAP_LENGTH;
pub use self::recorder::{AppendError, RecordFailed, Recorder, RecordingKey};
pub use self::source::{Source, SourceError};
pub use self::status::{TapState, TapStatus};
pub use crate::codec::consensus::SnapshotEntry;

use self::archive_link::ArchiveLink;
use self::candidates::{Candidates, Verdict};
use self::consensus_link::ConsensusLink;
use self::log_replay::{LogReplay, ReplayOutcome};
use self::replaying::ReplayRequest;
use self::router::Router;
use self::snapshot_fetch::SnapshotFetch;
use self::snapshot_watch::SnapshotWatch;
use crate::archive::{CorrelationId, Recording};
use crate::channel::HostPort;
use crate::endpoint::{Endpoint, EndpointEvent, Inbox, Transmit, TransportCounters};
use crate::image::{SubscriptionId, SubscriptionParams};
use crate::random::next_random;

/// Follows a cluster's log. Bytes and time in, datagrams, recorded bytes and [`TapAction`]s out.
#[derive(Debug)]
pub struct Tap {
    config: TapConfig,
    endpoint: Endpoint,
    consensus_subscription: SubscriptionId,
    inbox: Inbox,
    candidates: Candidates,
    phase: Phase,
    link: Option<ConsensusLink>,
    source: Option<Source>,
    archive: Option<ArchiveLink>,
    /// The source's log, as its archive described it.
    log: Option<Recording>,
    replay: Option<LogReplay>,
    /// The snapshots on their way, before the log or beside it.
    fetch: Option<Box<SnapshotFetch>>,
    watch: SnapshotWatch,
    /// What this source last said to have recorded.
    source_recorded_position: Option<i64>,
    /// Whether the runtime is about to open the log.
    is_log_opening: bool,
    is_snapshot_opening: bool,
    /// Snapshot recordings that the runtime is about to open for a set that was given up.
    stale_openings: usize,
    /// Where the log begins after a fetched snapshot set, until a log recording is open.
    fetched_log_position: Option<i64>,
    position_query: Option<CorrelationId>,
    timers: Timers,
    actions: VecDeque<TapAction>,
    status: TapStatus,
    random: u64,
    next_correlation_id: i64,
}

/// What the tap waits for.
#[derive(Debug)]
enum Phase {
    Idle,
    Pausing {
        until_ns: u64,
    },
    Querying,
    Connecting,
    /// For snapshots that the log is to begin with.
    Fetching,
    Describing {
        correlation_id: CorrelationId,
    },
    Opening,
    Refreshing {
        limit: Option<i64>,
    },
    Requesting(Box<ReplayRequest>),
    Following,
    Halted,
}

/// When what is due. Zero is "at once".
#[derive(Debug, Default)]
struct Timers {
    tick_ns: u64,
    heartbeat_ns: u64,
    source_position_ns: u64,
    refresh_ns: u64,
    /// When its archive last answered, or its replay last moved.
    source_alive_ns: u64,
    /// Last answer of its consensus module.
    answered_ns: u64,
    /// When the replay last moved.
    progress_ns: u64,
    progress_position: i64,
    /// Since when every source has been behind us.
    behind_since_ns: Option<u64>,
    /// Members say that they no longer have what would continue our log, and none that it does.
    purged: Option<Purged>,
}

/// What the first member that had purged our log said.
#[derive(Debug)]
struct Purged {
    since_ns: u64,
    reason: String,
}

/// Decisions need no finer time; between two ticks only datagrams are handled.
const TICK_NS: u64 = 1_000_000;
/// How long members that do not answer may still turn out to have what others have purged.
const PURGED_PATIENCE_NS: u64 = 30 * SECOND_NS;

impl Tap {
    /// A tap that waits for [`Self::start`]. `receiver_id` identifies our receiving side to senders and must
    /// be unique among them.
    pub fn new(config: TapConfig, receiver_id: i64) -> Self {
        let mut endpoint = Endpoint::new(receiver_id);
        let consensus_subscription =
            endpoint.add_subscription(SubscriptionParams::new(config.consensus_stream_id));
        Self {
            candidates: Candidates::new(config.consensus_endpoints.clone()),
            endpoint,
            consensus_subscription,
            inbox: Inbox::default(),
            phase: Phase::Idle,
            link: None,
            source: None,
            archive: None,
            log: None,
            replay: None,
            fetch: None,
            watch: SnapshotWatch::new(),
            source_recorded_position: None,
            is_log_opening: false,
            is_snapshot_opening: false,
            stale_openings: 0,
            fetched_log_position: None,
            position_query: None,
            timers: Timers::default(),
            actions: VecDeque::new(),
            status: TapStatus::UNKNOWN,
            random: config.seed,
            next_correlation_id: (config.seed >> 1) as i64 & 0x0000_ffff_ffff_0000,
            config,
        }
    }

    /// Begins to look for a source. `snapshot_position` is that of the newest snapshot set that is here. Whether there
    /// is a log to continue is the recorder's to say; where there is none, the set lets it begin at that position.
    pub fn start(&mut self, snapshot_position: Option<i64>, now_ns: u64) {
        assert!(matches!(self.phase, Phase::Idle), "a tap starts once");
        assert!(!self.config.consensus_endpoints.is_empty(), "a tap needs at least one consensus endpoint");
        self.fetched_log_position = snapshot_position;
        if let Some(position) = snapshot_position {
            self.watch.on_held(position);
        }
        self.query(now_ns);
    }

    /// A datagram came in.
    pub fn on_datagram(
        &mut self,
        datagram: &[u8],
        from: SocketAddr,
        now_ns: u64,
        recorder: &mut impl Recorder,
    ) {
        let mut router = Router {
            consensus: self.consensus_subscription,
            archive: self.archive.as_ref().map(|link| link.subscription),
            snapshot: self.fetch.as_ref().and_then(|fetch| Some((fetch.subscription()?, fetch.index()))),
            inbox: &mut self.inbox,
            replay: self.replay.as_mut(),
            recorder,
        };
        self.endpoint.on_datagram(datagram, from, now_ns, &mut router);
        if !self.inbox.is_empty() {
            self.on_messages(now_ns, recorder);
        }
    }

    /// A name was looked up, or could not be (`None`).
    pub fn on_resolved(&mut self, token: u64, address: Option<SocketAddr>, now_ns: u64) {
        if let Some(link) = self.link.as_mut().filter(|link| link.resolve_token == token) {
            match address {
                Some(address) => {
                    let session_id = next_random(&mut self.random) as i32;
                    link.open(address, session_id, &mut self.endpoint, &self.config, now_ns);
                }
                None => self.abandon("its name does not resolve", now_ns),
            }
        } else if let Some(archive) = self.archive.as_mut().filter(|link| link.resolve_token == token) {
            match address {
                Some(address) => archive.open(address, &mut self.endpoint, &self.config, now_ns),
                None => self.abandon("the name of its archive's endpoint does not resolve", now_ns),
            }
        }
    }

    /// A recording that was asked for can be opened. False when it is no longer wanted: a snapshot of a set that
    /// was given up meanwhile. The recorder must not know of it then.
    #[must_use]
    pub fn on_recording_opened(&mut self, key: RecordingKey, now_ns: u64) -> bool {
        match key {
            RecordingKey::Log => {
                self.on_log_opened();
                true
            }
            RecordingKey::Snapshot(_) if self.stale_openings > 0 => {
                self.stale_openings -= 1;
                false
            }
            RecordingKey::Snapshot(index) => {
                self.is_snapshot_opening = false;
                self.on_snapshot_opened(index, now_ns)
            }
        }
    }

    /// A recording could not be opened or go on: following ends, the files stay.
    pub fn on_recording_failed(&mut self, reason: String, now_ns: u64) {
        self.halt(TapState::Failed, reason, now_ns);
    }

    /// The recording of a snapshot that was asked for could not be opened. Where the log is there already, it goes on
    /// without the snapshot.
    pub fn on_snapshot_failed(&mut self, reason: String, now_ns: u64) {
        self.snapshot_not_recorded(reason, now_ns);
    }

    /// The log says that a new leadership term began.
    pub fn on_leadership_term(&mut self, leadership_term_id: i64, leader_member_id: i32) {
        self.status.leadership_term_id = self.status.leadership_term_id.max(leadership_term_id);
        self.status.leader_member_id = leader_member_id;
        // The source may no longer be of the kind that is wanted.
        self.timers.refresh_ns = 0;
    }

    /// Time passed.
    pub fn on_timeout(&mut self, now_ns: u64, recorder: &mut impl Recorder) -> usize {
        let mut work = self.endpoint.on_timeout(now_ns);
        if now_ns >= self.timers.tick_ns {
            self.timers.tick_ns = now_ns + TICK_NS;
            work += self.tick(now_ns, recorder);
        }
        work
    }

    /// Hands out datagrams to send.
    pub fn poll_transmit(&mut self, now_ns: u64, send: &mut impl FnMut(Transmit<'_>)) -> usize {
        self.endpoint.poll_transmit(now_ns, send)
    }

    /// The next request to the runtime.
    pub fn poll_action(&mut self) -> Option<TapAction> {
        self.actions.pop_front()
    }

    /// What is known now.
    pub fn status(&self) -> &TapStatus {
        &self.status
    }

    /// Counts of the transport.
    pub fn transport_counters(&self) -> &TransportCounters {
        self.endpoint.counters()
    }

    /// How many publications, subscriptions and images are open or taking leave: a few, whatever the cluster does.
    pub fn stream_count(&self) -> usize {
        self.endpoint.stream_count()
    }

    /// Leaves the source and looks for no other: nothing more is recorded until [`Self::resume`]. What waits
    /// behind a gap is gone.
    pub fn pause(&mut self, now_ns: u64) {
        if !matches!(self.phase, Phase::Halted) {
            self.disconnect(now_ns);
            self.phase = Phase::Idle;
            self.status.state = TapState::BackupQuery;
        }
    }

    /// Looks for a source again, after [`Self::pause`].
    pub fn resume(&mut self, now_ns: u64) {
        if matches!(self.phase, Phase::Idle) {
            self.query(now_ns);
        }
    }

    /// Asks this endpoint next, whoever is followed now: it is known to have more of the log.
    pub fn prefer(&mut self, endpoint: HostPort, now_ns: u64) {
        self.candidates.prefer(endpoint);
        if matches!(self.phase, Phase::Idle | Phase::Halted) {
            return;
        }
        if self.source.is_some() {
            self.status.sources_lost += 1;
        }
        self.disconnect(now_ns);
        self.query(now_ns);
    }

    /// Ends every session in order; what is still to be sent comes out of [`Self::poll_transmit`].
    pub fn close(&mut self, now_ns: u64) {
        self.disconnect(now_ns);
        self.phase = Phase::Halted;
    }

    fn tick(&mut self, now_ns: u64, recorder: &mut impl Recorder) -> usize {
        let mut work = 0;
        // Before the end of its stream is looked at: a snapshot that has arrived whole may end.
        self.finish_snapshot(now_ns, recorder);
        while let Some(event) = self.endpoint.poll_event() {
            self.on_endpoint_event(event, now_ns);
            work += 1;
        }
        if let Some(outcome) = self.replay.as_ref().and_then(|replay| replay.outcome) {
            self.on_replay_outcome(outcome, now_ns);
            return work + 1;
        }
        self.drive_link(now_ns);
        self.drive_archive(now_ns, recorder);
        match self.phase {
            Phase::Pausing { until_ns } if now_ns >= until_ns => self.query(now_ns),
            Phase::Following => self.follow(now_ns, recorder),
            _ => {}
        }
        work
    }

    fn on_endpoint_event(&mut self, event: EndpointEvent, now_ns: u64) {
        match event {
            EndpointEvent::ImageAvailable { key, geometry, .. } => {
                if let Some(replay) = self.replay.as_mut().filter(|r| r.subscription == key.subscription) {
                    replay.image = Some(key);
                    self.on_replay_image(geometry, now_ns);
                } else {
                    self.on_snapshot_image(key, &geometry, now_ns);
                }
            }
            EndpointEvent::ImageUnavailable { key, reason, .. } => {
                self.inbox.close(key);
                let is_replay = self.replay.as_ref().is_some_and(|r| r.subscription == key.subscription);
                let is_archive = self.archive.as_ref().is_some_and(|a| a.subscription == key.subscription);
                let is_snapshot =
                    self.fetch.as_ref().is_some_and(|fetch| fetch.subscription() == Some(key.subscription));
                if is_replay && self.replay.as_ref().is_some_and(|replay| replay.outcome.is_none()) {
                    self.abandon(&format!("its replay of the log ended ({})", reason.in_words()), now_ns);
                } else if is_archive {
                    self.abandon(
                        &format!("its archive's response stream ended ({})", reason.in_words()),
                        now_ns,
                    );
                } else if is_snapshot {
                    self.fetch_failed(
                        &format!("its replay of a snapshot ended early ({})", reason.in_words()),
                        now_ns,
                    );
                }
            }
            // Whoever refused us stops answering, which the links notice.
            EndpointEvent::PublicationRejected { .. } => {}
        }
    }

    fn on_replay_outcome(&mut self, outcome: ReplayOutcome, now_ns: u64) {
        match outcome {
            ReplayOutcome::Diverged { position } => {
                let who = self.status.source_member_id;
                self.halt(
                    TapState::Diverged,
                    format!(
                        "the log of member {who} differs from ours at position {position}: the cluster was \
                         started anew or from an older state. Our files are kept; `reseed` begins again from \
                         the cluster as it is now"
                    ),
                    now_ns,
                );
            }
            ReplayOutcome::Misplaced { position } => {
                let ours = self.replay.as_ref().map_or(position, LogReplay::position);
                self.abandon(
                    &format!(
                        "what its replay sent for position {position} does not continue our log at {ours}"
                    ),
                    now_ns,
                );
            }
            ReplayOutcome::RecordFailed => {
                self.halt(TapState::Failed, "the log could not be recorded".to_owned(), now_ns);
            }
        }
    }

    fn report(&mut self, report: TapReport) {
        self.actions.push_back(TapAction::Report(report));
    }

    /// Gives the current candidate or source up and turns to the next.
    fn abandon(&mut self, reason: &str, now_ns: u64) {
        self.leave(reason, Verdict::Unusable, now_ns);
    }

    fn leave(&mut self, reason: &str, verdict: Verdict, now_ns: u64) {
        if matches!(self.phase, Phase::Halted | Phase::Idle | Phase::Pausing { .. }) {
            return;
        }
        let unreached = self.unreached_archive();
        let reason = &*unreached.map_or(Cow::Borrowed(reason), |why| Cow::Owned(format!("{reason}: {why}")));
        if let Some(link) = &self.link {
            let report = TapReport::SourceLost { endpoint: link.endpoint.clone(), reason: reason.to_owned() };
            self.report(report);
        }
        if self.source.is_some() {
            self.status.sources_lost += 1;
        }
        self.disconnect(now_ns);
        let turn = self.candidates.refuse(verdict);
        if verdict == Verdict::Purged {
            let purged = || Purged { since_ns: now_ns, reason: reason.to_owned() };
            self.timers.purged.get_or_insert_with(purged);
        }
        self.status.state = TapState::BackupQuery;
        self.phase = Phase::Pausing { until_ns: now_ns + turn.pause_ns };
        if turn.is_round_over {
            self.halt_if_purged(turn.is_all_purged, now_ns);
        }
    }

    /// A round is over in which nobody could be followed: ends when the log that we need is gone, for all that can be
    /// known.
    fn halt_if_purged(&mut self, is_all_purged: bool, now_ns: u64) {
        let Some(Purged { since_ns, reason }) = &self.timers.purged else { return };
        let reason = if is_all_purged {
            format!(
                "no member that may be followed has the log that continues ours: {reason}. Our files are kept; \
                 `reseed` begins again from the members' latest snapshot"
            )
        } else if now_ns > since_ns + PURGED_PATIENCE_NS {
            let others: Vec<String> = self.candidates.unusable().map(ToString::to_string).collect();
            format!(
                "{reason}, and for half a minute nobody else could be followed ({}). Our files are kept: start this \
                 node again when those members are back; `reseed` only if none of them has the log that continues ours",
                others.join(", ")
            )
        } else {
            return;
        };
        self.halt(TapState::LogPurged, reason, now_ns);
    }

    /// Why the archive of a member may not have been reached that wants to be asked another way than ours.
    fn unreached_archive(&self) -> Option<String> {
        let source = self.source.as_ref().filter(|_| matches!(self.phase, Phase::Connecting))?;
        let named = source.archive_response_endpoint.as_ref()?;
        Some(format!(
            "the member names an archive response endpoint ({named}), for clients that its archive cannot send to; a \
             standby is sent to at its own endpoint, so open the way from there to {}, or set `response_endpoint` to \
             what is reachable",
            self.config.response_endpoint
        ))
    }

    /// Ends for good: only an operator can go on from here.
    fn halt(&mut self, state: TapState, reason: String, now_ns: u64) {
        if matches!(self.phase, Phase::Halted) {
            return;
        }
        self.disconnect(now_ns);
        self.phase = Phase::Halted;
        self.status.state = state;
        self.report(TapReport::Halted { state, reason });
    }

    fn disconnect(&mut self, now_ns: u64) {
        let granted = match (&self.replay, &self.phase) {
            (Some(replay), _) => Some(replay.replay_session_id),
            (None, Phase::Requesting(request)) => request.granted(),
            _ => None,
        };
        if let (Some(archive), Some(replay_session_id)) = (self.archive.as_mut(), granted) {
            // A replay outlives its session by up to five seconds, in which nothing can be truncated there.
            let _ = archive.client.stop_replay(replay_session_id, now_ns);
        }
        if let Some(replay) = self.replay.take() {
            self.endpoint.remove_subscription(replay.subscription, now_ns);
        }
        if self.fetch.is_some() && !matches!(self.phase, Phase::Fetching) {
            // Should the fetch be what drives sources away, it must not do so without a pause.
            self.watch.postpone(now_ns);
        }
        self.drop_fetch(now_ns);
        if let Some(mut archive) = self.archive.take() {
            archive.close(&mut self.endpoint, now_ns);
        }
        if let Some(mut link) = self.link.take() {
            link.close(&mut self.endpoint, now_ns);
        }
        self.source = None;
        self.log = None;
        self.position_query = None;
        self.status.source_member_id = -1;
        self.status.is_fetching_beside = false;
    }

    fn correlation_id(&mut self) -> i64 {
        self.next_correlation_id += 1;
        self.next_correlation_id
    }
}
