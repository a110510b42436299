//! The least that anybody could do for a client: sessions without a log, and a reply to each message at once.

use crate::cluster::Workplace;
use crate::error::BenchError;
use crate::process::Process;
use consensus_tap::channel::ChannelUri;
use consensus_tap::codec::message::SemanticVersion;
use consensus_tap::codec::session::{
    CLUSTER_PROTOCOL_VERSION, EventCode, IngressMessage, SessionConnectRequest, SessionEvent,
    SessionMessageHeader,
};
use consensus_tap::endpoint::{Endpoint, EndpointEvent};
use consensus_tap::image::{FragmentAssembler, ImageKey, ImageSink, Refused, SubscriptionParams};
use consensus_tap::publication::{PublicationId, PublicationParams};
use consensus_tap::wire::frames;
use standby_node::agent::runner::{AgentRunner, RunnerConfig, StopFlag};
use standby_node::agent::{Agent, AgentError};
use standby_node::net::backend::{NetworkBackend, NetworkIo};
use standby_node::net::socket::{BufferLengths, NetworkSocket, resolve};
use standby_node::net::{DatagramIo, Offload, Outgoing};
use standby_node::sys::readiness::Readiness;
use std::process::{Command, ExitCode};
use std::time::Duration;

/// A running echo: a process of its own, with one thread that runs and idles as a node's does. Killed when
/// dropped.
#[derive(Debug)]
pub(super) struct Echo {
    process: Process,
    ingress_endpoints: String,
}

impl Echo {
    /// Listens on a free port.
    pub(super) fn start(files: &Workplace, idle: &str) -> Result<Self, BenchError> {
        let program = std::env::current_exe().map_err(BenchError::io("find this program"))?;
        let mut command = Command::new(program);
        command.args([VERB, idle]);
        let mut process = Process::spawn("echo", &command, files.errors("echo"))?;
        let line = process.await_line("ready", START_TIMEOUT, |line| line.starts_with(READY))?;
        Ok(Self { process, ingress_endpoints: line[READY.len()..].to_owned() })
    }

    pub(super) fn ingress_endpoints(&self) -> &str {
        &self.ingress_endpoints
    }

    pub(super) fn process(&self) -> &Process {
        &self.process
    }
}

/// Whether this process is to be an echo, and not a bench.
pub(crate) fn is_asked_for() -> bool {
    std::env::args().nth(1).is_some_and(|verb| verb == VERB)
}

/// Is an echo until killed.
pub(crate) fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), BenchError> {
    let idle = std::env::args().nth(2).unwrap_or_default().parse().map_err(BenchError::run)?;
    let buffers = BufferLengths::default();
    let socket = NetworkSocket::open("echo", "localhost:0", buffers).map_err(BenchError::run)?;
    let port = socket.local_addr().port();
    let io = NetworkBackend::Mmsg.open(socket, Offload::default()).map_err(BenchError::run)?;
    let config = RunnerConfig {
        thread_name: "echo".to_owned(),
        core: None,
        idle,
        cycle_threshold: Duration::from_millis(10),
        cycle_gauges: Vec::new(),
    };
    let runner = AgentRunner::start(config, Server::new(io), StopFlag::new()).map_err(BenchError::run)?;
    println!("{READY}{MEMBER_ID}=localhost:{port}");
    runner.join().map_err(BenchError::run)
}

#[derive(Debug)]
struct Server {
    io: NetworkIo,
    endpoint: Endpoint,
    sessions: Vec<Session>,
    inbox: Inbox,
    next_stream_session_id: i32,
}

/// One client.
#[derive(Debug)]
struct Session {
    id: i64,
    publication: PublicationId,
    /// Until the client listens, this is to be told.
    correlation_id: Option<i64>,
}

/// What arrived in one cycle.
#[derive(Debug, Default)]
struct Inbox {
    assemblers: Vec<(ImageKey, FragmentAssembler)>,
    connects: Vec<(i64, i32, String)>,
    closed: Vec<i64>,
    /// Session and reply, in the order of arrival.
    replies: Vec<(i64, [u8; REPLY_LENGTH])>,
    count: i64,
}

impl ImageSink for Inbox {
    fn append(&mut self, image: ImageKey, position: i64, bytes: &[u8]) -> Result<(), Refused> {
        let index = self.assemblers.iter().position(|(known, _)| *known == image).ok_or(Refused)?;
        let mut position = position;
        for frame in frames(bytes) {
            let frame = frame.map_err(|_| Refused)?;
            if let Some(message) = self.assemblers[index].1.on_frame(&frame, position) {
                match IngressMessage::decode(message.bytes) {
                    Ok(IngressMessage::Session(header, payload)) => {
                        self.count += 1;
                        self.replies.push((header.cluster_session_id, reply(payload, self.count)));
                    }
                    Ok(IngressMessage::Connect(request)) => self.connects.push(asked(&request)),
                    Ok(IngressMessage::Close(request)) => self.closed.push(request.cluster_session_id),
                    _ => {}
                }
            }
            position += frame.aligned_length() as i64;
        }
        Ok(())
    }
}

impl Server {
    fn new(io: NetworkIo) -> Self {
        let mut endpoint = Endpoint::new(1);
        endpoint.add_subscription(SubscriptionParams::new(INGRESS_STREAM_ID));
        let (sessions, inbox) = (Vec::new(), Inbox::default());
        Self { io, endpoint, sessions, inbox, next_stream_session_id: 1 }
    }

    fn serve(&mut self, now_ns: u64) -> Result<usize, BenchError> {
        let Self { io, endpoint, inbox, .. } = self;
        let mut work = io
            .receive(DATAGRAMS_PER_CYCLE_MAX, |bytes, from| {
                endpoint.on_datagram(bytes, from, now_ns, inbox);
                while let Some(event) = endpoint.poll_event() {
                    match event {
                        EndpointEvent::ImageAvailable { key, .. } => {
                            inbox.assemblers.push((key, FragmentAssembler::new(MESSAGE_LENGTH_MAX)));
                        }
                        EndpointEvent::ImageUnavailable { key, .. } => {
                            inbox.assemblers.retain(|(known, _)| *known != key);
                        }
                        EndpointEvent::PublicationRejected { .. } => {}
                    }
                }
            })
            .map_err(BenchError::io("receive"))?;
        self.connect(now_ns)?;
        self.answer(now_ns);
        work += self.endpoint.on_timeout(now_ns);
        let mut out = Outgoing::new(&mut self.io);
        work += self.endpoint.poll_transmit(now_ns, &mut |run| out.send(run));
        out.finish().map_err(BenchError::io("send"))?;
        Ok(work)
    }

    fn connect(&mut self, now_ns: u64) -> Result<(), BenchError> {
        for (correlation_id, stream_id, channel) in self.inbox.connects.drain(..) {
            let channel = ChannelUri::parse(&channel).map_err(BenchError::run)?;
            let endpoint = channel.required_endpoint().map_err(BenchError::run)?;
            let to = resolve("egress", &endpoint.to_string()).map_err(BenchError::run)?;
            let params = PublicationParams {
                term_length: TERM_LENGTH,
                ..PublicationParams::new(self.next_stream_session_id, stream_id)
            };
            let publication = self.endpoint.add_publication(params, to, now_ns);
            let id = i64::from(self.next_stream_session_id);
            self.sessions.push(Session { id, publication, correlation_id: Some(correlation_id) });
            self.next_stream_session_id += 1;
        }
        for id in self.inbox.closed.drain(..) {
            for session in self.sessions.extract_if(.., |session| session.id == id) {
                self.endpoint.close_publication(session.publication, now_ns);
            }
        }
        Ok(())
    }

    fn answer(&mut self, now_ns: u64) {
        let Self { endpoint, sessions, inbox, .. } = self;
        for session in sessions.iter_mut() {
            if let Some(correlation_id) = session.correlation_id
                && endpoint.offer(session.publication, &opened(session.id, correlation_id)).is_ok()
            {
                session.correlation_id = None;
            }
        }
        // A client that does not take its replies loses them, as a cluster's does.
        for (id, reply) in inbox.replies.drain(..) {
            if let Some(session) = sessions.iter().find(|session| session.id == id) {
                let mut header = [0; SESSION_HEADER_LENGTH];
                header.copy_from_slice(&session_header(id, now_ns));
                let _ = endpoint.offer_parts(session.publication, &header, &reply);
            }
        }
    }
}

impl Agent for Server {
    fn name(&self) -> &str {
        VERB
    }

    fn do_work(&mut self, now_ns: u64) -> Result<usize, AgentError> {
        Ok(self.serve(now_ns)?)
    }

    fn sleep_at(&self, readiness: &mut Readiness) {
        self.io.sleep_at(readiness);
    }
}

fn asked(request: &SessionConnectRequest<'_>) -> (i64, i32, String) {
    (request.correlation_id, request.response_stream_id, request.response_channel.to_owned())
}

fn opened(cluster_session_id: i64, correlation_id: i64) -> Vec<u8> {
    let mut message = Vec::new();
    SessionEvent {
        cluster_session_id,
        correlation_id,
        leadership_term_id: 0,
        leader_member_id: MEMBER_ID,
        code: EventCode::Ok,
        version: SemanticVersion(CLUSTER_PROTOCOL_VERSION.0),
        leader_heartbeat_timeout_ns: 10_000_000_000,
        detail: "",
    }
    .encode(&mut message);
    message
}

fn session_header(cluster_session_id: i64, now_ns: u64) -> Vec<u8> {
    let mut header = Vec::with_capacity(SESSION_HEADER_LENGTH);
    let timestamp = (now_ns / 1_000_000) as i64;
    SessionMessageHeader { leadership_term_id: 0, cluster_session_id, timestamp }.encode(&mut header);
    header
}

/// What the audit service would say, without its hash.
fn reply(message: &[u8], count: i64) -> [u8; REPLY_LENGTH] {
    let mut reply = [0; REPLY_LENGTH];
    let head = &message[..message.len().min(16)];
    reply[..head.len()].copy_from_slice(head);
    reply[24..].copy_from_slice(&count.to_le_bytes());
    reply
}

const VERB: &str = "echo";
const READY: &str = "echo ready ";
const START_TIMEOUT: Duration = Duration::from_secs(10);
const MEMBER_ID: i32 = 0;
const INGRESS_STREAM_ID: i32 = 101;
const REPLY_LENGTH: usize = 32;
const SESSION_HEADER_LENGTH: usize = 32;
const TERM_LENGTH: i32 = 1024 * 1024;
const MESSAGE_LENGTH_MAX: usize = 1024 * 1024;
const DATAGRAMS_PER_CYCLE_MAX: usize = 64;
