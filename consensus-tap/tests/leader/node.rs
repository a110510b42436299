//! One reign: a leader, the log that it appends to, and what is committed and applied of it, each at its own
//! pace.

use std::net::SocketAddr;
use std::ops::ControlFlow;

use consensus_tap::authentication::AcceptAll;
use consensus_tap::authorisation::AllowAll;
use consensus_tap::channel::HostPort;
use consensus_tap::codec::log::{ClusterTimeUnit, LogEvent};
use consensus_tap::leader::{
    ControlAction, Leader, LeaderAction, LeaderConfig, LeaderStart, LogAppender, LogFull,
};
use consensus_tap::log::{LogReader, LogStart, MidMessage, PollLimits};
use consensus_tap::module::ConsensusModuleState;
use consensus_tap::wire::{DataFrame, StreamTerms, TermLength};
use service_api::LogPosition;

use super::service::Service;
use crate::network::Network;
use crate::rng::Rng;

pub(crate) const TERMS: StreamTerms = StreamTerms { initial_term_id: -5, term_length: TermLength::MIN };
pub(crate) const MTU: i32 = 1408;

/// The log of all reigns, as one node records it.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_full: bool,
}

impl Log {
    pub(crate) fn end(&self) -> i64 {
        self.bytes.len() as i64
    }

    /// Where frames begin, from `position` on, and the end.
    pub(crate) fn boundaries(&self, position: i64) -> Vec<i64> {
        let mut boundaries = vec![position];
        let mut at = position as usize;
        while at < self.bytes.len() {
            at += DataFrame::parse(&self.bytes[at..]).expect("whole frames").aligned_length();
            boundaries.push(at as i64);
        }
        boundaries
    }
}

impl LogAppender for Log {
    fn append(&mut self, position: i64, frames: &[u8]) -> Result<(), LogFull> {
        assert_eq!(position, self.end(), "appends join on");
        if self.is_full {
            return Err(LogFull);
        }
        self.bytes.extend_from_slice(frames);
        let first = DataFrame::parse(frames).expect("a whole frame");
        if first.is_padding() {
            self.bytes.resize(position as usize + first.aligned_length(), 0);
        }
        assert!(self.end() <= TERMS.term_end(position), "a run lies within its term");
        Ok(())
    }
}

/// What a log implies: the module's state and the service's.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) reader: LogReader,
    pub(crate) state: ConsensusModuleState,
    pub(crate) service: Service,
}

impl Applied {
    pub(crate) fn new() -> Self {
        let start =
            LogStart { terms: TERMS, position: 0, leadership_term_id: None, mid_message: MidMessage::Reject };
        let state = ConsensusModuleState::new(1, 1);
        Self { reader: LogReader::new(start), state, service: Service::default() }
    }

    /// Applies the log up to `end`, at most `frame_count` frames.
    pub(crate) fn apply(
        &mut self,
        log: &Log,
        end: i64,
        frame_count: usize,
        mut on_reply: impl FnMut(i64, i64, &[u8]),
    ) {
        let Self { reader, state, service } = self;
        let run = &log.bytes[reader.position() as usize..end as usize];
        let limits = PollLimits { frame_count, ..PollLimits::NONE };
        let read = reader.poll(run, limits, |event: &LogEvent<'_>, position| {
            state.on_event(event, LogPosition(position)).expect("every member could follow");
            if let Some((session, timestamp, payload)) = service.on_event(event, position, state) {
                on_reply(session, timestamp, &payload);
            }
            ControlFlow::Continue(())
        });
        read.expect("what leaders append is a log");
        self.state.on_boundary(LogPosition(self.reader.applied_position()));
    }
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: i32,
    pub(crate) leader: Leader,
    pub(crate) applied: Applied,
    pub(crate) commit_position: i64,
    /// Frames that are applied in one step.
    pub(crate) apply_pace: usize,
    /// In parts of a thousand: how often what is appended is committed.
    pub(crate) commit_pace: u64,
    pub(crate) refused_replies: u64,
}

pub(crate) fn node_address(id: i32) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, id as u8 + 1], 9_000))
}

impl Node {
    /// A leader on the log as it is found.
    pub(crate) fn new(id: i32, term: i64, log: &Log, rng: &mut Rng) -> Self {
        let mut applied = Applied::new();
        applied.apply(log, log.end(), usize::MAX, |_, _, _| {});
        let config = LeaderConfig {
            member_id: id,
            ingress_endpoint: HostPort::from(node_address(id)),
            ingress_window_length: rng.pick(&[16 * 1024, 128 * 1024]),
            egress_term_length: rng.pick(&[256 * 1024, 1024 * 1024]),
            seed: rng.next(),
            ..LeaderConfig::default()
        };
        let start = LeaderStart {
            leadership_term_id: term,
            log_position: log.end(),
            terms: TERMS,
            mtu_length: MTU,
            log_session_id: rng.next() as i32,
            log_stream_id: 100,
            time_unit: ClusterTimeUnit::Millis,
            app_version: 1,
            is_startup: false,
        };
        let (accept, allow) = (Box::new(AcceptAll), Box::new(AllowAll));
        let leader = Leader::new(config, start, &applied.state, accept, allow, term + 1);
        Self {
            id,
            leader,
            applied,
            commit_position: log.end(),
            apply_pace: rng.pick(&[1, 10, usize::MAX]),
            commit_pace: rng.pick(&[50, 500, 1_000]),
            refused_replies: 0,
        }
    }

    pub(crate) fn step(&mut self, now_ns: u64, log: &mut Log, rng: &mut Rng, network: &mut Network) {
        let time = (now_ns / 1_000_000) as i64;
        self.leader.on_timeout(now_ns, time, self.commit_position, &self.applied.state, log);
        if rng.chance(self.commit_pace) {
            self.commit_position = log.end();
        }
        let Self { leader, applied, refused_replies, .. } = self;
        applied.apply(log, self.commit_position, self.apply_pace, |session, timestamp, payload| {
            let refused = leader.offer_egress(session, timestamp, payload).is_err();
            *refused_replies += u64::from(refused);
        });
        leader.on_replied(applied.state.log_position());
        while let Some(action) = self.leader.poll_action() {
            if let LeaderAction::Resolve { token, endpoint } = action {
                self.leader.on_resolved(token, endpoint.socket_addr(), now_ns);
            }
        }
        let from = node_address(self.id);
        self.leader.poll_transmit(now_ns, &mut |run| {
            run.datagrams().for_each(|bytes| network.send(from, run.to, bytes, now_ns));
        });
    }

    pub(crate) fn on_datagram(&mut self, bytes: &[u8], from: SocketAddr, now_ns: u64, log: &mut Log) {
        self.leader.on_datagram(bytes, from, now_ns, (now_ns / 1_000_000) as i64, log);
    }

    pub(crate) fn control(&mut self, action: ControlAction) -> bool {
        self.leader.on_control(action)
    }
}
