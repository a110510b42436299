//! What clients may send to a leader, while its log takes it or not and operators and services ask for
//! things.

use std::net::SocketAddr;
use std::ops::ControlFlow;

use consensus_tap::authentication::SharedSecrets;
use consensus_tap::authorisation::AllowAll;
use consensus_tap::codec::log::ClusterTimeUnit;
use consensus_tap::endpoint::Endpoint;
use consensus_tap::image::{ImageKey, ImageSink, Refused, SubscriptionParams};
use consensus_tap::leader::{
    ControlAction, Leader, LeaderAction, LeaderConfig, LeaderStart, LogAppender, LogFull,
};
use consensus_tap::log::{LogReader, LogStart, MidMessage, PollLimits};
use consensus_tap::module::{ConsensusModuleState, ServiceEmission};
use consensus_tap::publication::{PublicationId, PublicationParams};
use consensus_tap::wire::{DataFrame, StreamTerms, TermLength};
use service_api::{ClusterSessionId, LogPosition, ServiceId};

use crate::script::Script;

const TERMS: StreamTerms = StreamTerms { initial_term_id: 0, term_length: TermLength::MIN };
const SESSION_COUNT_MAX: usize = 4;
/// Sessions, images and publications that take leave included.
const STREAM_COUNT_MAX: usize = 1_024;
const CONTROL_ACTIONS: [ControlAction; 4] =
    [ControlAction::Suspend, ControlAction::Resume, ControlAction::Snapshot, ControlAction::StandbySnapshot];

/// Messages of an ingress stream in any order, datagrams that no endpoint would send, and what else may
/// happen.
///
/// A step is a byte: below 128 a message follows, as a block; below 160 a datagram; above, time passes, the
/// log fills up, the operator or a service asks for something, a reply is sent.
pub fn leader(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut world = World::new();
    while !script.is_over() {
        match script.byte() {
            0..128 => {
                // What is longer than the stream allows is not sent.
                let _ = world.client.offer(world.publication, script.block());
            }
            128..160 => world.on_datagram(script.block()),
            160..176 => world.now_ns += u64::from(script.byte()) * 100_000_000,
            176..184 => world.log.is_full = !world.log.is_full,
            184..192 => world.applies = !world.applies,
            192..208 => {
                let action = CONTROL_ACTIONS[usize::from(script.byte()) % CONTROL_ACTIONS.len()];
                let _ = world.leader.on_control(action);
            }
            208..224 => world.emit(&mut script),
            224.. => {
                let _ = world.leader.offer_egress(i64::from(script.byte() % 8), 1, script.block());
            }
        }
        for _ in 0..4 {
            world.step();
        }
        let (open_count, connecting_count) = world.leader.session_counts();
        assert!(open_count + connecting_count <= SESSION_COUNT_MAX);
        assert!(world.leader.stream_count() <= STREAM_COUNT_MAX);
    }
}

struct Log {
    bytes: Vec<u8>,
    is_full: bool,
}

impl LogAppender for Log {
    fn append(&mut self, position: i64, frames: &[u8]) -> Result<(), LogFull> {
        assert_eq!(position, self.bytes.len() as i64, "appends join on");
        if self.is_full {
            return Err(LogFull);
        }
        self.bytes.extend_from_slice(frames);
        let first = DataFrame::parse(frames).expect("a whole frame");
        self.bytes.resize(position as usize + frames.len().max(first.aligned_length()), 0);
        Ok(())
    }
}

struct World {
    now_ns: u64,
    leader: Leader,
    log: Log,
    state: ConsensusModuleState,
    reader: LogReader,
    applies: bool,
    client: Endpoint,
    publication: PublicationId,
}

struct Ignore;

impl ImageSink for Ignore {
    fn append(&mut self, _: ImageKey, _: i64, _: &[u8]) -> Result<(), Refused> {
        Ok(())
    }
}

fn leader_address() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 9000))
}

fn client_address() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 2], 9000))
}

impl World {
    fn new() -> Self {
        let state = ConsensusModuleState::new(1, 1);
        let config = LeaderConfig {
            session_count_max: SESSION_COUNT_MAX,
            egress_term_length: 64 * 1024,
            egress_backlog_length_max: 4096,
            ..LeaderConfig::default()
        };
        let start = LeaderStart {
            leadership_term_id: 0,
            log_position: 0,
            terms: TERMS,
            mtu_length: 1408,
            log_session_id: 1,
            log_stream_id: 100,
            time_unit: ClusterTimeUnit::Millis,
            app_version: 1,
            is_startup: false,
        };
        let secrets = SharedSecrets { credentials: None, challenge_answer: Some(b"answer".to_vec()) };
        let leader = Leader::new(config, start, &state, Box::new(secrets), Box::new(AllowAll), 1);
        let mut client = Endpoint::new(2);
        client.add_subscription(SubscriptionParams::new(102));
        let params = PublicationParams::new(5, 101);
        let now_ns = 1_000_000_000;
        let publication = client.add_publication(params, leader_address(), now_ns);
        let reader = LogReader::new(LogStart {
            terms: TERMS,
            position: 0,
            leadership_term_id: None,
            mid_message: MidMessage::Reject,
        });
        let log = Log { bytes: Vec::new(), is_full: false };
        let mut world = Self { now_ns, leader, log, state, reader, applies: true, client, publication };
        (0..4).for_each(|_| world.step());
        world
    }

    fn cluster_time(&self) -> i64 {
        (self.now_ns / 1_000_000) as i64
    }

    fn on_datagram(&mut self, bytes: &[u8]) {
        let time = self.cluster_time();
        self.leader.on_datagram(bytes, client_address(), self.now_ns, time, &mut self.log);
    }

    fn emit(&mut self, script: &mut Script<'_>) {
        let number = i64::from(script.byte() % 8);
        let emission = match number {
            0..3 => ServiceEmission::ScheduleTimer { correlation_id: number, deadline: number * 1000 },
            3 => ServiceEmission::CancelTimer { correlation_id: 1 },
            4 => ServiceEmission::Offer(script.block()),
            _ => ServiceEmission::CloseSession { cluster_session_id: ClusterSessionId(number - 4) },
        };
        let position = LogPosition(self.state.log_position());
        self.state.on_emission(ServiceId(0), position, emission).expect("it has room");
    }

    fn step(&mut self) {
        self.now_ns += 1_000_000;
        let (now_ns, time, committed) = (self.now_ns, self.cluster_time(), self.log.bytes.len() as i64);
        self.leader.on_timeout(now_ns, time, committed, &self.state, &mut self.log);
        while let Some(action) = self.leader.poll_action() {
            if let LeaderAction::Resolve { token, .. } = action {
                self.leader.on_resolved(token, Some(client_address()), now_ns);
            }
        }
        if self.applies {
            self.apply();
            self.leader.on_replied(self.state.log_position());
        }
        let mut sent = Vec::new();
        self.leader.poll_transmit(now_ns, &mut |run| sent.extend(run.datagrams().map(<[u8]>::to_vec)));
        for datagram in sent.drain(..) {
            self.client.on_datagram(&datagram, leader_address(), now_ns, &mut Ignore);
        }
        self.client.on_timeout(now_ns);
        while self.client.poll_event().is_some() {}
        self.client.poll_transmit(now_ns, &mut |run| sent.extend(run.datagrams().map(<[u8]>::to_vec)));
        for datagram in sent {
            self.on_datagram(&datagram);
        }
    }

    fn apply(&mut self) {
        let Self { reader, state, log, .. } = self;
        let from = reader.position() as usize;
        let read = reader.poll(&log.bytes[from..], PollLimits::NONE, |event, position| {
            state.on_event(event, LogPosition(position)).expect("every member could follow");
            ControlFlow::Continue(())
        });
        read.expect("what a leader appends is a log");
        state.on_boundary(LogPosition(reader.applied_position()));
        assert!(state.services()[0].missed_count() == 0, "a message of a service was appended twice");
    }
}
