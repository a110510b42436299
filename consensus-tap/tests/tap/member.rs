use super::archive::{Archive, LOG_RECORDING_ID, parse_channel};
use super::log::SimLog;
use consensus_tap::codec::consensus::{
    BackupResponse, ConsensusMessage, HeartbeatResponse, SnapshotEntry, Snapshots,
};
use consensus_tap::codec::session::{
    CLUSTER_PROTOCOL_VERSION, Challenge, EventCode, NULL_SESSION_ID, SessionEvent,
};
use consensus_tap::endpoint::{Endpoint, EndpointEvent};
use consensus_tap::image::{FragmentAssembler, ImageKey, ImageSink, Refused, SubscriptionParams};
use consensus_tap::publication::{PublicationId, PublicationParams, PublicationState};
use consensus_tap::wire::frames;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

const CONSENSUS_STREAM_ID: i32 = 108;
const CONTROL_STREAM_ID: i32 = 10;

/// A member: media driver, archive and consensus module on one address.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) id: i32,
    pub(crate) address: SocketAddr,
    /// `None` while the process is dead.
    pub(crate) node: Option<Node>,
    /// On disk: it outlives the process.
    pub(crate) log: SimLog,
    pub(crate) snapshots: Vec<SnapshotEntry>,
    pub(crate) snapshot_recordings: HashMap<i64, SimLog>,
    pub(crate) is_paused: bool,
    /// Cut off from the other members, not from the standby.
    pub(crate) is_isolated: bool,
    /// Must catch up before it may vote.
    pub(crate) is_recovering: bool,
    pub(crate) policy: Policy,
    starts: u64,
}

/// How a member treats queries.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    pub(crate) rejects_heartbeats: bool,
    /// What a query's credentials must be.
    pub(crate) credentials: Vec<u8>,
    /// What must answer a challenge, if one is sent.
    pub(crate) challenge_answer: Option<Vec<u8>>,
    pub(crate) has_no_term: bool,
    /// It has lost those that it followed itself, as a standby may.
    pub(crate) knows_no_leader: bool,
    /// It consumes nothing of what it was told to be committed, and says nothing of it.
    pub(crate) is_slow: bool,
}

/// The running process.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) endpoint: Endpoint,
    pub(crate) archive: Archive,
    pub(crate) driver: Driver,
    pub(crate) module: Option<Module>,
    messages: Messages,
}

/// The media driver's counters.
#[derive(Debug, Default)]
pub(crate) struct Driver {
    pub(crate) counters: BTreeMap<i32, Counter>,
    registrations: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Counter {
    pub(crate) registration: u64,
    pub(crate) value: i64,
    pub(crate) is_commit: bool,
}

/// A running consensus module.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) counter_id: i32,
    pub(crate) is_in_election: bool,
    pub(crate) is_in_snapshot: bool,
    pub(crate) leader_id: i32,
    pending: Vec<Query>,
}

#[derive(Debug)]
struct Query {
    correlation_id: i64,
    publication: PublicationId,
    is_heartbeat: bool,
    credentials: Vec<u8>,
    was_challenged: bool,
    answer: Option<Vec<u8>>,
}

impl Driver {
    fn allocate(&mut self, id: i32, value: i64, is_commit: bool) {
        self.registrations += 1;
        self.counters.insert(id, Counter { registration: self.registrations, value, is_commit });
    }
}

impl Member {
    pub(crate) fn new(id: i32, term_length: i32) -> Self {
        Self {
            id,
            address: SocketAddr::from(([10, 0, 1, id as u8], 20_000)),
            node: None,
            log: SimLog::new(100, term_length),
            snapshots: Vec::new(),
            snapshot_recordings: HashMap::new(),
            is_paused: false,
            is_isolated: false,
            is_recovering: false,
            policy: Policy::default(),
            starts: 0,
        }
    }

    /// Starts the process; the consensus module follows.
    pub(crate) fn start(&mut self) {
        self.starts += 1;
        let mut endpoint = Endpoint::new(i64::from(self.id) * 1000 + self.starts as i64);
        endpoint.add_subscription(SubscriptionParams::new(CONSENSUS_STREAM_ID));
        endpoint.add_subscription(SubscriptionParams::new(CONTROL_STREAM_ID));
        let archive = Archive::new(self.snapshot_recordings.clone(), self.starts as i64 * 1000);
        let (driver, messages) = (Driver::default(), Messages::default());
        self.node = Some(Node { endpoint, archive, driver, module: None, messages });
    }

    /// Starts the consensus module in a running process. Its counter gets the id next to the last one's.
    pub(crate) fn start_module(&mut self) {
        self.starts += 1;
        let counter_id = 60 + (self.starts % 7) as i32;
        let Some(node) = &mut self.node else { return };
        node.driver.allocate(counter_id, 0, true);
        node.module = Some(Module {
            counter_id,
            is_in_election: true,
            is_in_snapshot: false,
            leader_id: -1,
            pending: Vec::new(),
        });
    }

    /// Ends the consensus module; something else gets its counter's id at once.
    pub(crate) fn stop_module(&mut self) {
        let Some(node) = &mut self.node else { return };
        if let Some(module) = node.module.take() {
            node.driver.allocate(module.counter_id, 1 << 40, false);
        }
    }

    pub(crate) fn module(&self) -> Option<&Module> {
        self.node.as_ref().and_then(|node| node.module.as_ref())
    }

    pub(crate) fn module_mut(&mut self) -> Option<&mut Module> {
        self.node.as_mut().and_then(|node| node.module.as_mut())
    }

    /// Whether it takes part in the cluster.
    pub(crate) fn takes_part(&self) -> bool {
        self.module().is_some() && !self.is_paused && !self.is_isolated
    }

    pub(crate) fn commit_position(&self) -> i64 {
        let node = self.node.as_ref();
        node.and_then(|node| Some(node.driver.counters.get(&node.module.as_ref()?.counter_id)?.value))
            .unwrap_or(0)
    }

    /// Position of the snapshots that it names, if it still has their recordings.
    pub(crate) fn newest_snapshots(&self) -> Option<i64> {
        let is_there = |row: &&SnapshotEntry| self.snapshot_recordings.contains_key(&row.recording_id);
        let held = self.snapshots.iter().filter(is_there);
        (held.count() == self.snapshots.len()).then(|| self.snapshots.first().map(|row| row.log_position))?
    }

    pub(crate) fn advance_commit(&mut self, position: i64) {
        let position = self.log.frame_end_at_or_before(position);
        if let Some(node) = &mut self.node
            && let Some(module) = &node.module
            && let Some(counter) = node.driver.counters.get_mut(&module.counter_id)
        {
            counter.value = counter.value.max(position);
        }
    }

    /// Takes the log back to what it shares with a new leader's.
    pub(crate) fn truncate_log(&mut self, position: i64, now_ns: u64) {
        if position < self.log.end() {
            self.log.truncate(position);
            if let Some(node) = &mut self.node {
                node.archive.revoke_log_replays(&mut node.endpoint, now_ns);
            }
        }
    }

    pub(crate) fn on_datagram(&mut self, bytes: &[u8], from: SocketAddr, now_ns: u64) {
        if self.is_paused {
            return;
        }
        if let Some(node) = &mut self.node {
            node.endpoint.on_datagram(bytes, from, now_ns, &mut node.messages);
        }
    }

    pub(crate) fn do_work(&mut self, members: &str, now_ns: u64) {
        if self.is_paused {
            return;
        }
        let Some(node) = &mut self.node else { return };
        node.endpoint.on_timeout(now_ns);
        for (key, bytes) in std::mem::take(&mut node.messages.whole) {
            if key.stream_id == CONTROL_STREAM_ID {
                let Node { archive, driver, endpoint, .. } = node;
                archive.on_message(key, &bytes, driver, &self.log, endpoint, now_ns);
            } else if let Some(module) = &mut node.module {
                module.on_message(&bytes, &mut node.endpoint, now_ns);
            }
        }
        while let Some(event) = node.endpoint.poll_event() {
            if let EndpointEvent::ImageUnavailable { key, .. } = event {
                node.messages.assemblers.remove(&key);
                if key.stream_id == CONTROL_STREAM_ID {
                    node.archive.on_request_image_gone(key.session_id, &mut node.endpoint, now_ns);
                }
            }
        }
        node.archive.do_work(&node.driver, &self.log, &mut node.endpoint, now_ns);
        if let Some(module) = &mut node.module {
            let leadership = self.log.leaderships.last().copied();
            if !self.policy.has_no_term
                && let Some(leadership) = leadership
            {
                let response = BackupResponse {
                    correlation_id: 0,
                    log_recording_id: LOG_RECORDING_ID,
                    log_leadership_term_id: leadership.term_id,
                    log_term_base_log_position: leadership.base,
                    last_leadership_term_id: leadership.term_id,
                    last_term_base_log_position: leadership.base,
                    commit_position_counter_id: module.counter_id,
                    leader_member_id: if self.policy.knows_no_leader { -1 } else { module.leader_id },
                    member_id: self.id,
                    snapshots: Snapshots::new(&self.snapshots),
                    cluster_members: members,
                };
                module.do_work(&response, &self.policy, &mut node.endpoint, now_ns);
            }
        }
    }
}

impl Module {
    /// Ends its election without asking anybody.
    pub(crate) fn lead(&mut self, id: i32) {
        self.is_in_election = false;
        self.leader_id = id;
    }

    fn on_message(&mut self, bytes: &[u8], endpoint: &mut Endpoint, now_ns: u64) {
        if self.is_in_election {
            return;
        }
        let (correlation_id, stream_id, channel, credentials, is_heartbeat) =
            match ConsensusMessage::decode(bytes).expect("the tap speaks the members' language") {
                ConsensusMessage::BackupQuery(query) => {
                    let credentials = query.encoded_credentials.0;
                    (
                        query.correlation_id,
                        query.response_stream_id,
                        query.response_channel,
                        credentials,
                        false,
                    )
                }
                ConsensusMessage::HeartbeatRequest(query) => {
                    let credentials = query.encoded_credentials.0;
                    (
                        query.correlation_id,
                        query.response_stream_id,
                        query.response_channel,
                        credentials,
                        true,
                    )
                }
                ConsensusMessage::ChallengeResponse(response) => {
                    // As Aeron does: to the last that was challenged, whatever it was.
                    if let Some(query) = self.pending.iter_mut().rev().find(|query| query.was_challenged) {
                        query.correlation_id = response.correlation_id;
                        query.answer = Some(response.encoded_credentials.0.to_vec());
                    }
                    return;
                }
                other => panic!("{other:?} is nothing a tap says"),
            };
        let (address, _) = parse_channel(channel);
        let session_id = (correlation_id as i32).wrapping_mul(7919);
        self.pending.push(Query {
            correlation_id,
            publication: endpoint.add_publication(
                PublicationParams::new(session_id, stream_id),
                address,
                now_ns,
            ),
            is_heartbeat,
            credentials: credentials.to_vec(),
            was_challenged: false,
            answer: None,
        });
    }

    fn do_work(
        &mut self,
        response: &BackupResponse<'_>,
        policy: &Policy,
        endpoint: &mut Endpoint,
        now_ns: u64,
    ) {
        let is_busy = self.is_in_snapshot || self.is_in_election;
        self.pending.retain_mut(|query| {
            match endpoint.publication_state(query.publication) {
                PublicationState::Connecting => return true,
                PublicationState::Connected if is_busy => return true,
                PublicationState::Connected => {}
                _ => return false,
            }
            let mut message = Vec::new();
            let correlation_id = query.correlation_id;
            let is_known = query.credentials == policy.credentials;
            match &policy.challenge_answer {
                Some(_) if !query.was_challenged => {
                    query.was_challenged = true;
                    Challenge {
                        correlation_id,
                        cluster_session_id: NULL_SESSION_ID,
                        encoded_challenge: b"who?",
                    }
                    .encode(&mut message);
                    let _ = endpoint.offer(query.publication, &message);
                    return true;
                }
                Some(_) if query.answer.is_none() => return true,
                answer => {
                    let is_answered = answer.is_none() || query.answer == *answer;
                    let is_refused =
                        !is_known || !is_answered || (query.is_heartbeat && policy.rejects_heartbeats);
                    if is_refused {
                        SessionEvent {
                            cluster_session_id: NULL_SESSION_ID,
                            correlation_id,
                            leadership_term_id: 0,
                            leader_member_id: -1,
                            code: EventCode::AuthenticationRejected,
                            version: CLUSTER_PROTOCOL_VERSION,
                            leader_heartbeat_timeout_ns: 0,
                            detail: "Not authorised for BackupQuery",
                        }
                        .encode(&mut message);
                    } else if query.is_heartbeat {
                        HeartbeatResponse { correlation_id }.encode(&mut message);
                    } else {
                        BackupResponse { correlation_id, ..*response }.encode(&mut message);
                    }
                }
            }
            let _ = endpoint.offer(query.publication, &message);
            endpoint.close_publication(query.publication, now_ns);
            false
        });
    }
}

/// Puts the messages of all images together.
#[derive(Debug, Default)]
struct Messages {
    assemblers: HashMap<ImageKey, FragmentAssembler>,
    whole: Vec<(ImageKey, Vec<u8>)>,
}

impl ImageSink for Messages {
    fn append(&mut self, key: ImageKey, position: i64, bytes: &[u8]) -> Result<(), Refused> {
        let assembler = self.assemblers.entry(key).or_insert_with(|| FragmentAssembler::new(65_536));
        let mut position = position;
        for frame in frames(bytes) {
            let frame = frame.expect("frames come whole");
            if let Some(message) = assembler.on_frame(&frame, position) {
                self.whole.push((key, message.bytes.to_vec()));
            }
            position += frame.aligned_length() as i64;
        }
        Ok(())
    }
}
