//! What a cluster, or whoever poses as one, may send to a client.

use std::net::SocketAddr;

use consensus_tap::client::{ClientState, ClusterClient, ClusterClientConfig};
use consensus_tap::codec::session::{
    CLUSTER_PROTOCOL_VERSION, Challenge, EventCode, IngressMessage, NewLeaderEvent, SessionEvent,
};
use consensus_tap::endpoint::{Endpoint, EndpointEvent};
use consensus_tap::image::{FragmentAssembler, ImageKey, ImageSink, Refused, SubscriptionParams};
use consensus_tap::publication::{PublicationId, PublicationParams};
use consensus_tap::wire::frames;

use crate::script::Script;

const SECOND_NS: u64 = 1_000_000_000;
const SESSION_ID: i64 = 5;
const MEMBERS: &str = "0=10.0.0.1:9000,1=10.0.0.2:9000";

/// Messages of an egress stream in any order, answers to what the client asked, and what else may happen.
///
/// A step is a byte: below 96 a message follows, as a block; below 112 a datagram; above, the last request is
/// answered in one way or another, time passes, the client offers something or closes, the member is silent
/// or no longer.
pub fn cluster_client(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut world = World::new();
    let mut is_closed = false;
    while !script.is_over() {
        match script.byte() {
            0..96 => world.send(script.block()),
            96..112 => {
                let datagram = script.block();
                world.client.on_datagram(datagram, member(), world.now_ns, &mut |_: i64, _: &[u8]| {});
            }
            112..128 => world.answer(EventCode::Ok, ""),
            128..136 => world.answer(EventCode::Redirect, MEMBERS),
            136..144 => world.answer(EventCode::from_i32(i32::from(script.byte() % 6)), "because"),
            144..152 => world.challenge(),
            152..160 => world.lead(script.byte()),
            160..176 => world.now_ns += u64::from(script.byte()) * SECOND_NS / 10,
            176..192 => world.is_silent = !world.is_silent,
            192..224 => {
                let _ = world.client.offer(script.block());
            }
            224..240 => {
                let _ = world.client.request_snapshot(i64::from(script.byte()));
            }
            240.. => world.client.close(),
        }
        (0..4).for_each(|_| world.step());
        is_closed |= world.client.state() == ClientState::Closed;
        assert!(!is_closed || world.client.state() == ClientState::Closed, "what is closed stays closed");
        assert_eq!(world.client.end().is_some(), is_closed);
    }
}

struct World {
    now_ns: u64,
    client: ClusterClient,
    member: Endpoint,
    publication: PublicationId,
    inbox: Inbox,
    is_silent: bool,
}

/// Reads what the client sends, and keeps the correlation id of its last request.
#[derive(Default)]
struct Inbox {
    assemblers: Vec<(ImageKey, FragmentAssembler)>,
    correlation_id: i64,
}

impl ImageSink for Inbox {
    fn append(&mut self, key: ImageKey, position: i64, bytes: &[u8]) -> Result<(), Refused> {
        let Some((_, assembler)) = self.assemblers.iter_mut().find(|(known, _)| *known == key) else {
            return Err(Refused);
        };
        let mut position = position;
        for frame in frames(bytes).map(|frame| frame.expect("an endpoint checks frames")) {
            if let Some(message) = assembler.on_frame(&frame, position) {
                match IngressMessage::decode(message.bytes).expect("a client sends what decodes") {
                    IngressMessage::Connect(request) => self.correlation_id = request.correlation_id,
                    IngressMessage::ChallengeResponse(answer) => self.correlation_id = answer.correlation_id,
                    _ => {}
                }
            }
            position += frame.aligned_length() as i64;
        }
        Ok(())
    }
}

fn member() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 9000))
}

fn client() -> SocketAddr {
    SocketAddr::from(([10, 0, 9, 9], 7000))
}

impl World {
    fn new() -> Self {
        let endpoints = MEMBERS.parse().expect("endpoints");
        let config = ClusterClientConfig::new(endpoints, format!("aeron:udp?endpoint={}", client()), 1);
        let now_ns = SECOND_NS;
        let mut member = Endpoint::new(2);
        member.add_subscription(SubscriptionParams::new(101));
        let publication = member.add_publication(PublicationParams::new(77, 102), client(), now_ns);
        let client = ClusterClient::new(config, now_ns).expect("a configuration");
        let mut world =
            Self { now_ns, client, member, publication, inbox: Inbox::default(), is_silent: false };
        (0..4).for_each(|_| world.step());
        world
    }

    fn send(&mut self, message: &[u8]) {
        // What is longer than the stream allows, or comes before anybody listens, is not sent.
        let _ = self.member.offer(self.publication, message);
    }

    fn send_encoded(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        let mut message = Vec::new();
        encode(&mut message);
        self.send(&message);
    }

    fn answer(&mut self, code: EventCode, detail: &str) {
        let event = SessionEvent {
            cluster_session_id: SESSION_ID,
            correlation_id: self.inbox.correlation_id,
            leadership_term_id: 0,
            leader_member_id: 0,
            code,
            version: CLUSTER_PROTOCOL_VERSION,
            leader_heartbeat_timeout_ns: SECOND_NS as i64,
            detail,
        };
        self.send_encoded(|out| event.encode(out));
    }

    fn challenge(&mut self) {
        let correlation_id = self.inbox.correlation_id;
        let challenge =
            Challenge { correlation_id, cluster_session_id: SESSION_ID, encoded_challenge: b"who" };
        self.send_encoded(|out| challenge.encode(out));
    }

    fn lead(&mut self, number: u8) {
        let event = NewLeaderEvent {
            leadership_term_id: i64::from(number),
            cluster_session_id: SESSION_ID,
            leader_member_id: i32::from(number % 3),
            ingress_endpoints: MEMBERS,
        };
        self.send_encoded(|out| event.encode(out));
    }

    fn step(&mut self) {
        self.now_ns += 1_000_000;
        let now_ns = self.now_ns;
        let mut sent = Vec::new();
        self.client.on_timeout(now_ns);
        while let Some((lookup, endpoint)) = self.client.poll_lookup() {
            self.client.on_resolved(lookup, endpoint.socket_addr(), now_ns);
        }
        self.client.poll_transmit(now_ns, &mut |run| {
            if run.to == member() {
                sent.extend(run.datagrams().map(<[u8]>::to_vec));
            }
        });
        self.member.on_timeout(now_ns);
        while let Some(event) = self.member.poll_event() {
            match event {
                EndpointEvent::ImageAvailable { key, .. } => {
                    self.inbox.assemblers.push((key, FragmentAssembler::new(1024 * 1024)));
                }
                EndpointEvent::ImageUnavailable { key, .. } => {
                    self.inbox.assemblers.retain(|(known, _)| *known != key);
                }
                EndpointEvent::PublicationRejected { .. } => {}
            }
        }
        let mut answered = Vec::new();
        self.member.poll_transmit(now_ns, &mut |run| {
            answered.extend(run.datagrams().map(<[u8]>::to_vec));
        });
        if self.is_silent {
            return;
        }
        for datagram in sent {
            self.member.on_datagram(&datagram, client(), now_ns, &mut self.inbox);
        }
        for datagram in answered {
            self.client.on_datagram(&datagram, member(), now_ns, &mut |_: i64, _: &[u8]| {});
        }
    }
}
