//! Clients that a cluster would be better off without, beside an unmodified Java client that is to notice
//! nothing of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use consensus_tap::file::cnc::counters as kind;
use standby_node::cluster_client::Credentials;
use standby_node::store::cnc::CncReader;

use crate::hostile::{Ears, RawPublisher, WilfulClient, malformed_datagram, nonblocking_socket};
use crate::leading::Active;
use crate::support::client::{Client, ClientResult};

const MINUTE: Duration = Duration::from_secs(60);
/// So much longer the good client may wait for a reply than without the others, in microseconds.
const GAP_GROWTH_MAX_US: f64 = 200_000.0;
/// So often it may seem to suffer, until it is no chance.
const ATTACK_COUNT_MAX: usize = 3;
const TERM_LENGTH: i32 = 1 << 20;

#[test]
fn a_java_client_notices_nothing_of_clients_that_do_what_they_should_not() {
    if crate::support::skip() {
        return;
    }
    let active = Active::start("hostile_clients", &["--log-term-length", "1m", "--max-sessions", "4"]);
    let client = active.client(&["--interactive", "--timer-share", "0.05", "--service-share", "0.05"]);
    client.await_connected();
    client.send(1_000, 1_000.0, MINUTE).expect_all_replied();
    let ingress = active.ingress_address();
    let mut attackers = Attackers::at(&ingress);
    let mut gaps = Vec::new();
    loop {
        let without = gap_us(&client, || client.send(1_000, 1_000.0, MINUTE));
        let is_over = AtomicBool::new(false);
        let with = std::thread::scope(|scope| {
            scope.spawn(|| attackers.attack_until(&is_over));
            let gap = gap_us(&client, || client.send(2_000, 1_000.0, MINUTE));
            is_over.store(true, Ordering::Release);
            gap
        });
        println!("longest gap {with} us, {without} us without");
        if with <= without + GAP_GROWTH_MAX_US {
            break;
        }
        gaps.push((with, without));
        assert!(gaps.len() < ATTACK_COUNT_MAX, "the good client waits longer each time: {gaps:?}");
    }
    let cnc = CncReader::open(&active.node.dir().join("aeron")).expect("its counters");
    for counter in [kind::CLIENT_MESSAGES_INVALID, kind::CLIENTS_REJECTED] {
        let value = cnc.find(counter.type_id, &[]).map(|counter| counter.value);
        assert!(value > Some(100), "{}: {value:?}", counter.name);
    }
    let errors = cnc.errors();
    for text in [
        "sends what is no message of a client",
        "sends messages that are too long or broken off",
        "datagrams that are no frames of Aeron's",
        "gets no session: concurrent session limit",
    ] {
        assert!(errors.iter().any(|error| error.text.contains(text)), "no `{text}` among {errors:#?}");
    }
    drop(cnc);
    active.node.stop();
}

/// Has the client send, each message answered in order, and returns the longest time in which a reply was due
/// and none came.
fn gap_us(client: &Client, send: impl FnOnce() -> ClientResult) -> f64 {
    let from = client.process().lines().count();
    client.process().write_line("reset");
    let reset = client.process().await_line(from, MINUTE, "the reset", |line| line == "client reset");
    reset.unwrap_or_else(|error| panic!("{error}"));
    let result = send();
    result.expect_all_replied();
    result.number("max_gap_us")
}

/// One of each kind.
struct Attackers {
    ingress: String,
    nonsense: RawPublisher,
    endless: RawPublisher,
    flood: RawPublisher,
    unpolled: WilfulClient,
    count: u64,
}

impl Attackers {
    fn at(ingress: &str) -> Self {
        let publisher = |session_id| RawPublisher::connect(ingress, session_id, TERM_LENGTH);
        let mut unpolled = WilfulClient::open(ingress, Credentials::None, 9);
        unpolled.connect().expect("a session");
        unpolled.ears = Ears::NeverPolled;
        Self {
            ingress: ingress.to_owned(),
            nonsense: publisher(91),
            endless: publisher(92),
            flood: publisher(93),
            unpolled,
            count: 0,
        }
    }

    fn attack_until(&mut self, is_over: &AtomicBool) {
        let socket = nonblocking_socket();
        let channel = self.flood.deaf_channel();
        while !is_over.load(Ordering::Acquire) {
            for _ in 0..10 {
                self.count += 1;
                let datagram = malformed_datagram(self.count);
                let _ = socket.send_to(&datagram, &self.ingress);
                self.nonsense.offer(&datagram[..datagram.len().min(1_000)]);
                self.endless.offer_fragment(!self.count.is_multiple_of(500), TERM_LENGTH);
                self.flood.request_session(self.count as i64, &channel);
                self.unpolled.offer(&[0; 64]);
            }
            for publisher in [&mut self.nonsense, &mut self.endless, &mut self.flood] {
                publisher.poll();
            }
            self.unpolled.poll();
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}
