//! What bad clients do to good ones: nothing. A node that leads answers two clients at a steady rate, while
//! others beside them do what they should not. The good ones lose no reply and wait hardly longer than
//! without; counters and the error log say what happened; and the node's memory stays where it was.

use std::os::unix::fs::PermissionsExt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use consensus_tap::client::{ConnectFailure, SessionEnd};
use consensus_tap::file::cnc::counters as kind;
use standby_node::cluster_client::{ClusterClient, Credentials, config};
use standby_node::store::cnc::CncReader;
use tempfile::TempDir;

use crate::support::hostile::{Ears, RawPublisher, WilfulClient, malformed_datagram, nonblocking_socket};
use crate::support::load::{Load, Rate, message};
use crate::support::node::{Node, NodeFlags, TIMEOUT, path};

mod support;

/// So much longer a good client may wait for a reply than without the others.
const GAP_GROWTH_MAX: Duration = Duration::from_millis(200);
/// So much more memory the node may hold than before; all bounds of what clients can make it keep add up to
/// less.
const MEMORY_GROWTH_MAX_KIB: u64 = 64 * 1024;
/// So often the good ones may seem to suffer, until it is no chance.
const ATTACK_COUNT_MAX: usize = 3;
const CONTROL_TIME: Duration = Duration::from_millis(800);
const ATTACK_TIME: Duration = Duration::from_millis(1_500);
/// Between two bursts.
const PACE: Duration = Duration::from_millis(1);
const LOG_TERM_LENGTH: usize = 1 << 20;

/// The tests measure, so each has the machine for itself.
static MACHINE: Mutex<()> = Mutex::new(());

/// A node that leads, its good clients, and what they went through so far.
struct Scene {
    node: Node,
    ingress: String,
    cnc: CncReader,
    loads: Vec<Load>,
    anonymous_kib: u64,
    _machine: MutexGuard<'static, ()>,
}

impl Scene {
    fn start(extra: &[&str], credentials: &Credentials) -> Self {
        let machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
        let flags = [&["--bootstrap", "--log-term-length", "1m"], extra].concat();
        let node = Node::running(NodeFlags {
            extra: flags.into_iter().map(str::to_owned).collect(),
            ..NodeFlags::default()
        });
        node.await_output("leading member_id=100", 1);
        let ingress = node.told("ingress_addr=");
        let rate = Rate { per_second: 500, length_max: 2_000, commands: true };
        let client = || {
            let mut config =
                config(&format!("100={ingress}"), "aeron:udp?endpoint=127.0.0.1:0").expect("a config");
            config.credentials = credentials.clone();
            ClusterClient::connect(config).unwrap_or_else(|error| panic!("{error}\n{}", node.output()))
        };
        let loads: Vec<Load> = (0..2).map(|_| Load::start(client(), rate)).collect();
        loads.iter().for_each(|load| load.await_replies(100));
        let cnc = CncReader::open(&node.dir().join("aeron")).expect("it is mapped");
        let anonymous_kib = node.anonymous_kib();
        Self { node, ingress, cnc, loads, anonymous_kib, _machine: machine }
    }

    /// The longest gap while nobody does anything bad.
    fn control_gap(&self) -> Duration {
        self.take_gap();
        std::thread::sleep(CONTROL_TIME);
        self.take_gap()
    }

    /// Does something bad for a while, and again if the good clients had to wait: a machine that was busy
    /// with something else is not so each time.
    fn attack(&self, mut what: impl FnMut(u64)) {
        let mut index = 0;
        self.attack_with(|| {
            let end = Instant::now() + ATTACK_TIME;
            while Instant::now() < end {
                what(index);
                index += 1;
            }
        });
    }

    /// As [`Self::attack`], for what ends by itself.
    fn attack_with(&self, mut what: impl FnMut()) {
        let mut gaps = Vec::new();
        for _ in 0..ATTACK_COUNT_MAX {
            let control_gap = self.control_gap();
            what();
            let gap = self.take_gap();
            println!("longest gap {gap:?}, {control_gap:?} without");
            if gap <= control_gap + GAP_GROWTH_MAX {
                return;
            }
            gaps.push((gap, control_gap));
        }
        panic!("good clients wait much longer each time than without: {gaps:?}");
    }

    /// The longest of any good client, since it was last asked.
    fn take_gap(&self) -> Duration {
        self.loads.iter().map(Load::take_longest_gap).max().expect("good clients")
    }

    fn counter(&self, type_id: i32) -> i64 {
        self.cnc.find(type_id, &[]).expect("a counter").value
    }

    /// Waits until a counter has come so far.
    fn await_counter(&self, type_id: i32, least: i64) {
        let deadline = Instant::now() + TIMEOUT;
        while self.counter(type_id) < least {
            assert!(Instant::now() < deadline, "counter {type_id} stays at {}", self.counter(type_id));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn has_error(&self, text: &str) -> bool {
        self.cnc.errors().iter().any(|error| error.text.contains(text))
    }

    /// Waits until the error log says so.
    fn await_error(&self, text: &str) {
        let deadline = Instant::now() + TIMEOUT;
        while !self.has_error(text) {
            assert!(Instant::now() < deadline, "no `{text}` among {:#?}", self.cnc.errors());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The good clients end, and it is as if they had been alone.
    fn end(mut self, what: &str) {
        let grown_kib = self.node.anonymous_kib().saturating_sub(self.anonymous_kib);
        for load in self.loads.drain(..) {
            load.await_replies(20);
            load.stop().expect_all_replied();
        }
        println!("{what}: {grown_kib} KiB more");
        assert!(grown_kib <= MEMORY_GROWTH_MAX_KIB, "{what}: {grown_kib} KiB more than before");
        assert_eq!(self.node.terminate(), Some(0), "{}", self.node.output());
    }
}

#[test]
fn wrong_credentials_again_and_again() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let file = clients_file(&temp);
    let good = Credentials::ChallengeResponse { initial: b"ann:1".to_vec(), answer: b"blue".to_vec() };
    let scene = Scene::start(&["--clients-file", &file], &good);
    let mut refused = 0;
    scene.attack(|index| {
        let (initial, answer) = [("ann:2", "blue"), ("", ""), ("ann:1", "red")][index as usize % 3];
        let credentials = Credentials::ChallengeResponse { initial: initial.into(), answer: answer.into() };
        let failure = WilfulClient::open(&scene.ingress, credentials, index + 1).connect();
        let failure = failure.expect_err("it is let in");
        assert!(
            matches!(&failure, SessionEnd::NotConnected(ConnectFailure::AuthenticationRejected { .. })),
            "{failure}"
        );
        refused += 1;
    });
    assert!(refused >= 3, "{refused} attempts");
    scene.await_counter(kind::CLIENTS_REJECTED.type_id, refused);
    scene.await_error("gets no session: session failed authentication");
    scene.end("wrong credentials");
}

fn clients_file(temp: &TempDir) -> String {
    let file = temp.path().join("clients.toml");
    let text = "[[client]]\nprincipal = \"ann\"\ncredentials = \"ann:1\"\nchallenge_answer = \"blue\"\n";
    std::fs::write(&file, text).expect("a file");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("its mode");
    path(&file).to_owned()
}

#[test]
fn more_clients_than_there_may_be() {
    let scene = Scene::start(&["--max-sessions", "5"], &Credentials::None);
    let mut let_in = Vec::new();
    let mut refused = 0;
    scene.attack(|index| {
        let mut client = WilfulClient::open(&scene.ingress, Credentials::None, index + 1);
        match client.connect() {
            Ok(()) => let_in.push(client),
            Err(SessionEnd::NotConnected(ConnectFailure::Refused { detail })) => {
                assert_eq!(detail, "concurrent session limit");
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
        for client in &mut let_in {
            client.poll();
        }
    });
    assert_eq!(let_in.len(), 3, "beside the two good ones");
    assert!(refused >= 3, "{refused} are told so");
    scene.await_counter(kind::CLIENTS_REJECTED.type_id, refused);
    scene.await_error("gets no session: concurrent session limit");
    scene.end("more clients than there may be");
}

#[test]
fn a_flood_of_connect_requests() {
    let scene = Scene::start(&["--session-timeout", "2s"], &Credentials::None);
    let mut flood = RawPublisher::connect(&scene.ingress, 77, LOG_TERM_LENGTH as i32);
    let channels = [flood.deaf_channel(), "aeron:udp?endpoint=127.0.0.1:9".to_owned(), "nonsense".to_owned()];
    let mut asked = 0;
    scene.attack(|_| {
        for _ in 0..50 {
            asked += i64::from(flood.request_session(asked, &channels[asked as usize % 3]));
        }
        flood.poll();
        std::thread::sleep(PACE);
    });
    assert!(asked > 1_000, "{asked} requests");
    scene.await_counter(kind::CLIENTS_REJECTED.type_id, asked / 2);
    scene.await_error("more clients ask for a session than are answered");
    scene.await_error("cannot be answered: ");
    scene.end("a flood of connect requests");
}

#[test]
fn messages_that_are_too_long_or_never_end() {
    let scene = Scene::start(&[], &Credentials::None);
    const TERM_LENGTH: i32 = 16 << 20;
    let mut oversize = RawPublisher::connect(&scene.ingress, 78, TERM_LENGTH);
    let mut endless = RawPublisher::connect(&scene.ingress, 79, LOG_TERM_LENGTH as i32);
    let mut broken_off = RawPublisher::connect(&scene.ingress, 80, LOG_TERM_LENGTH as i32);
    // The log's terms take an eighth of their length.
    let long = vec![7; LOG_TERM_LENGTH];
    let (mut long_count, mut is_first) = (0, true);
    scene.attack(|_| {
        long_count += i64::from(oversize.offer(&long));
        for _ in 0..20 {
            is_first &= !endless.offer_fragment(is_first, LOG_TERM_LENGTH as i32);
            broken_off.offer_fragment(true, LOG_TERM_LENGTH as i32);
        }
        for publisher in [&mut oversize, &mut endless, &mut broken_off] {
            publisher.poll();
        }
        std::thread::sleep(PACE);
    });
    assert!(long_count > 2 && !is_first, "{long_count} long messages");
    // The last ones may still be on their way.
    scene.await_counter(kind::CLIENT_MESSAGES_INVALID.type_id, 100);
    scene.await_error("sends messages that are too long or broken off");
    scene.end("messages that are too long or never end");
}

#[test]
fn nonsense_in_frames_and_out_of_them() {
    let scene = Scene::start(&[], &Credentials::None);
    let mut nonsense = RawPublisher::connect(&scene.ingress, 81, LOG_TERM_LENGTH as i32);
    let socket = nonblocking_socket();
    scene.attack(|index| {
        for i in 0..20 {
            let datagram = malformed_datagram(index * 20 + i);
            let _ = socket.send_to(&datagram, &scene.ingress);
            nonsense.offer(&datagram[..datagram.len().min(1_000)]);
            // The good ones have sessions 1 and 2, in term 0.
            nonsense.offer_astray(i as i64 % 3, 1 + i as i64);
            nonsense.offer_astray(-1 - i as i64, 0);
        }
        nonsense.poll();
        std::thread::sleep(PACE);
    });
    scene.await_counter(kind::CLIENT_MESSAGES_INVALID.type_id, 100);
    scene.await_counter(kind::CLIENT_MESSAGES_IGNORED.type_id, 100);
    let invalid = scene.cnc.counters().find(|counter| counter.id == kind::SYSTEM_INVALID_PACKETS as i32);
    let invalid = invalid.expect("a system counter").value;
    assert!(invalid > 1_000, "{invalid} invalid packets");
    scene.await_error("sends what is no message of a client");
    scene.await_error("datagrams that are no frames of Aeron's");
    scene.end("nonsense");
}

#[test]
fn more_streams_than_are_taken() {
    let scene = Scene::start(&[], &Credentials::None);
    let mut publishers = Vec::new();
    scene.attack(|index| {
        // Each is a stream of its own, and never leaves.
        publishers.push(RawPublisher::open(&scene.ingress, 1_000 + index as i32, 64 << 10));
        publishers.iter_mut().for_each(RawPublisher::poll);
        std::thread::sleep(PACE);
    });
    assert!(publishers.len() > 100, "{} streams", publishers.len());
    scene.await_error("more streams come to the ingress endpoint than are taken");
    scene.end("more streams than are taken");
}

#[test]
fn clients_that_vanish() {
    let scene = Scene::start(&["--session-timeout", "1s"], &Credentials::None);
    let mut kept = Vec::new();
    let mut count = 0;
    scene.attack_with(|| {
        for _ in 0..6 {
            count += 1;
            let mut client = WilfulClient::open(&scene.ingress, Credentials::None, count);
            client.connect().expect("a session");
            (0..20).for_each(|number| assert!(client.offer(&message(0, number + 1, 64))));
            client.poll();
            // The socket of every other one is closed, and the host says so; the others just say nothing any
            // more.
            if count % 2 == 0 {
                kept.push(client);
            }
        }
        scene.await_counter(kind::CLIENT_TIMEOUTS, count as i64);
    });
    scene.node.await_output("close_reason=Timeout", count as usize);
    scene.await_error("is gone or fell silent: its session is closed");
    scene.node.await_status("left to the good ones", |status| status["leading"]["sessions"] == 2);
    scene.end("clients that vanish");
}

#[test]
fn egress_that_is_never_polled() {
    for layout in ["shared", "dedicated"] {
        let scene = Scene::start(&["--layout", layout, "--idle", "backoff"], &Credentials::None);
        let mut idle = WilfulClient::open(&scene.ingress, Credentials::None, 1);
        idle.connect().expect("a session");
        idle.ears = Ears::NeverPolled;
        let text = "takes replies more slowly than they come";
        let deadline = Instant::now() + TIMEOUT;
        let mut sent = 0;
        scene.attack_with(|| {
            let before = sent;
            while !scene.has_error(text) || sent < before + 1_000 {
                assert!(Instant::now() < deadline, "{sent} replies are taken: {:?}", scene.cnc.errors());
                for _ in 0..64 {
                    sent += u64::from(idle.offer(&message(0, sent + 1, 32)));
                }
                idle.poll();
                std::thread::sleep(Duration::from_micros(500));
            }
        });
        assert!(idle.is_connected() && idle.replies == 0);
        scene.end(&format!("egress that is never polled, {layout}"));
    }
}

#[test]
fn a_client_whose_receiver_is_dead() {
    let scene = Scene::start(&[], &Credentials::None);
    let mut deaf = WilfulClient::open(&scene.ingress, Credentials::None, 1);
    deaf.connect().expect("a session");
    deaf.ears = Ears::Dead;
    let text = "does not listen: its replies are lost";
    let deadline = Instant::now() + TIMEOUT;
    let mut sent = 0;
    scene.attack_with(|| {
        let before = sent;
        while !scene.has_error(text) || sent < before + 100 {
            assert!(Instant::now() < deadline, "it is not noticed: {:?}", scene.cnc.errors());
            sent += u64::from(deaf.offer(&message(0, sent + 1, 64)));
            deaf.poll();
            std::thread::sleep(PACE);
        }
    });
    assert!(sent > 100 && deaf.replies == 0);
    scene.end("a client whose receiver is dead");
}
