use super::network::Network;
use super::recorder::Recorder;
use super::rng::Rng;
use super::stream::Stream;
use consensus_tap::endpoint::{Endpoint, EndpointEvent, TransportCounters};
use consensus_tap::image::{ImageKey, SubscriptionParams, UnavailableReason};
use consensus_tap::publication::{OfferError, PublicationState};
use consensus_tap::wire::{self, FrameType};
use std::collections::HashMap;
use std::net::SocketAddr;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
const STREAM_ID: i32 = 1001;
/// Enough for every stream to roll over several terms, and little enough for a thousand seeds.
const BYTES_PER_STREAM: i64 = 400_000;
/// After the network healed, everything must have arrived this soon.
const CONVERGENCE_NS: u64 = 60 * SECOND;

/// A sender, a receiver and the network between them.
#[derive(Debug)]
pub(crate) struct World {
    rng: Rng,
    now_ns: u64,
    trace: bool,
    network: Network,
    sender: Host,
    receiver: Host,
    streams: Vec<Stream>,
    subscription: SubscriptionParams,
    /// Join positions of the receiver's images, of all its lives.
    join_positions: HashMap<ImageKey, i64>,
    /// The image of each session that is there now.
    images: HashMap<i32, ImageKey>,
    ended: Vec<(ImageKey, UnavailableReason)>,
    restart_count: u64,
    /// Of the receivers that were before a restart.
    earlier_counters: Vec<TransportCounters>,
}

#[derive(Debug)]
struct Host {
    endpoint: Endpoint,
    address: SocketAddr,
    recorder: Recorder,
    /// Polled this often, so that batches of different sizes form.
    cycle_ns: u64,
}

impl World {
    pub(crate) fn new(seed: u64, trace: bool) -> Self {
        let mut rng = Rng::new(seed);
        let network = Network::new(Rng::new(rng.next()));
        let mut sender = Host::new(&mut rng, 1);
        let mut subscription = SubscriptionParams::new(STREAM_ID);
        subscription.receive_window_length = rng.pick(&[4096, 10_016, 32 * 1024, 128 * 1024]);
        subscription.nak.delay_ns = rng.pick(&[0, 0, MS]);
        let mut receiver = Host::new(&mut rng, 2);
        receiver.endpoint.add_subscription(subscription);
        let streams = (0..rng.between(1, 2))
            .map(|session_id| {
                let params = Stream::params(&mut rng, session_id as i32, STREAM_ID);
                let id = sender.endpoint.add_publication(params, receiver.address, 0);
                Stream::new(id, params, Rng::new(rng.next()))
            })
            .collect();
        Self {
            rng,
            now_ns: 0,
            trace,
            network,
            sender,
            receiver,
            streams,
            subscription,
            join_positions: HashMap::new(),
            images: HashMap::new(),
            ended: Vec::new(),
            restart_count: 0,
            earlier_counters: Vec::new(),
        }
    }

    /// Faults, then healing, then the end of every stream.
    pub(crate) fn run(mut self) -> Self {
        let faults_end_ns = self.rng.between(100, 1_500) * MS;
        let mut outages_left = self.rng.pick(&[0, 0, 0, 1, 2]);
        let mut restarts_left = self.rng.pick(&[0, 0, 0, 1, 2]);
        let offers_per_mille = self.rng.pick(&[20, 200, 900]);
        let mut faulty_until_ns = faults_end_ns;
        while self.now_ns < faulty_until_ns {
            if outages_left > 0 && self.rng.chance(2) {
                outages_left -= 1;
                let length_ns = self.rng.pick(&[3 * MS, 150 * MS, 6 * SECOND, 12 * SECOND]);
                self.log(format_args!("the network is gone for {} ms", length_ns / MS));
                self.network.fail_until(self.now_ns + length_ns);
                faulty_until_ns = faulty_until_ns.max(self.now_ns + length_ns);
            }
            if restarts_left > 0 && self.rng.chance(2) {
                restarts_left -= 1;
                self.restart_receiver();
            }
            if self.rng.chance(offers_per_mille) {
                self.offer_some();
            }
            self.step();
        }

        self.log(format_args!("the network heals"));
        self.network.heal();
        let deadline_ns = self.now_ns + CONVERGENCE_NS;
        self.run_until(deadline_ns, "every stream is connected", |world| {
            world.streams.iter().all(|stream| {
                world.images.contains_key(&stream.params.session_id)
                    && world.sender.endpoint.publication_state(stream.id) == PublicationState::Connected
            })
        });
        let last_images = self.images.clone();
        // One more message each, so that a receiver that joined late has something to show.
        for index in 0..self.streams.len() {
            self.run_until_offered(index, deadline_ns);
            let id = self.streams[index].id;
            self.sender.endpoint.close_publication(id, self.now_ns);
        }
        self.run_until(deadline_ns, "every stream has ended", |world| {
            world
                .streams
                .iter()
                .all(|stream| world.sender.endpoint.publication_state(stream.id) == PublicationState::Closed)
                && world.images.is_empty()
        });
        for stream in &self.streams {
            let image = last_images[&stream.params.session_id];
            assert!(stream.is_complete(image), "{image:?} ended without all messages");
            assert!(self.ended.contains(&(image, UnavailableReason::EndOfStream)));
        }
        self.assert_that_counters_are_plausible();
        self
    }

    fn offer_some(&mut self) {
        let index = self.rng.below(self.streams.len() as u64) as usize;
        let stream = &mut self.streams[index];
        if stream.offered_bytes() > BYTES_PER_STREAM {
            return;
        }
        for _ in 0..self.rng.between(1, 20) {
            match stream.offer(&mut self.sender.endpoint) {
                Ok(_) => {}
                Err(OfferError::NotConnected | OfferError::BackPressured) => break,
                Err(other) => panic!("{other}"),
            }
        }
    }

    fn run_until_offered(&mut self, index: usize, deadline_ns: u64) {
        while let Err(error) = self.streams[index].offer(&mut self.sender.endpoint) {
            assert_eq!(error, OfferError::BackPressured);
            assert!(self.now_ns < deadline_ns, "a window stays closed");
            self.step();
        }
    }

    fn run_until(&mut self, deadline_ns: u64, what: &str, is_so: impl Fn(&Self) -> bool) {
        while !is_so(self) {
            assert!(self.now_ns < deadline_ns, "not in time: {what}");
            self.step();
        }
    }

    /// Lets time pass to the next thing that may happen, and lets it happen.
    fn step(&mut self) {
        let cycle_end_ns = self.now_ns + self.sender.cycle_ns.min(self.receiver.cycle_ns);
        // When nothing moves, timeouts are all there is to wait for; they are milliseconds apart.
        let is_quiet = self.network.next_arrival_ns().is_none_or(|next_ns| next_ns > cycle_end_ns + MS);
        self.now_ns = if is_quiet { cycle_end_ns + MS } else { cycle_end_ns };
        while let Some(datagram) = self.network.receive(self.now_ns) {
            if self.trace {
                println!("{:>12} ns {} {}", self.now_ns, datagram.to, describe(&datagram.bytes));
            }
            let host = if datagram.to == self.sender.address { &mut self.sender } else { &mut self.receiver };
            host.endpoint.on_datagram(&datagram.bytes, datagram.from, self.now_ns, &mut host.recorder);
        }
        for host in [&mut self.sender, &mut self.receiver] {
            host.endpoint.on_timeout(self.now_ns);
            host.endpoint.poll_transmit(self.now_ns, &mut |transmit| {
                assert!(transmit.bytes.len() <= wire::DATAGRAM_LENGTH_MAX);
                for datagram in transmit.datagrams() {
                    self.network.send(host.address, transmit.to, datagram, self.now_ns);
                }
            });
        }
        self.take_events();
    }

    fn take_events(&mut self) {
        assert_eq!(self.sender.endpoint.poll_event(), None);
        // What was delivered belongs to images whose end may be among the events.
        for (key, message) in std::mem::take(&mut self.receiver.recorder.delivered) {
            let stream = &mut self.streams[key.session_id as usize];
            stream.on_delivered(key, self.join_positions[&key], &message);
        }
        while let Some(event) = self.receiver.endpoint.poll_event() {
            self.log(format_args!("{event:?}"));
            match event {
                EndpointEvent::ImageAvailable { key, geometry, source } => {
                    assert_eq!(source, self.sender.address);
                    self.receiver.recorder.available(key, geometry);
                    self.join_positions.insert(key, geometry.join_position);
                    assert!(self.images.insert(key.session_id, key).is_none());
                }
                EndpointEvent::ImageUnavailable { key, position, reason } => {
                    self.receiver.recorder.unavailable(key, position);
                    assert_eq!(self.images.remove(&key.session_id), Some(key));
                    self.ended.push((key, reason));
                }
                EndpointEvent::PublicationRejected { .. } => panic!("nobody rejects"),
            }
        }
    }

    fn restart_receiver(&mut self) {
        self.log(format_args!("the receiver restarts"));
        self.restart_count += 1;
        self.earlier_counters.push(self.receiver.endpoint.counters().clone());
        self.receiver.endpoint = Endpoint::new(100 + self.restart_count as i64);
        // Generations begin anew with the endpoint: another subscription slot keeps the keys apart.
        for _ in 0..self.restart_count {
            self.receiver.endpoint.add_subscription(SubscriptionParams::new(STREAM_ID + 1));
        }
        self.receiver.endpoint.add_subscription(self.subscription);
        self.receiver.recorder = Recorder::default();
        self.images.clear();
    }

    /// Whatever the network lost, nobody saw a datagram that should not exist.
    fn assert_that_counters_are_plausible(&self) {
        for counters in self.counters() {
            assert_eq!(counters.invalid_total(), 0);
            assert_eq!(counters.data_misaligned, 0);
            assert_eq!(counters.unexpected_source, 0);
            assert_eq!(counters.outbox_overflows, 0);
        }
    }

    fn counters(&self) -> impl Iterator<Item = &TransportCounters> {
        let now = [self.sender.endpoint.counters(), self.receiver.endpoint.counters()];
        now.into_iter().chain(&self.earlier_counters)
    }

    fn log(&self, line: std::fmt::Arguments<'_>) {
        if self.trace {
            println!("{:>12} ns {line}", self.now_ns);
        }
    }
}

impl Host {
    fn new(rng: &mut Rng, number: u8) -> Self {
        Self {
            endpoint: Endpoint::new(i64::from(number)),
            address: SocketAddr::from(([10, 0, 0, number], 20_000)),
            recorder: Recorder::default(),
            cycle_ns: rng.pick(&[20_000, 100_000, 500_000]),
        }
    }
}

/// What happened in all runs together: a simulation without faults proves nothing.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    dropped_datagrams: u64,
    delivered_messages: u64,
    restarts: u64,
    timed_out_images: u64,
    gaps: u64,
    naks: u64,
    naks_ignored: u64,
    naks_rejected: u64,
    retransmits: u64,
    out_of_order: u64,
    duplicates: u64,
    without_room: u64,
    over_runs: u64,
    elicited_setups: u64,
}

impl Seen {
    pub(crate) fn add(&mut self, world: &World) {
        self.dropped_datagrams += world.network.dropped_count;
        self.restarts += world.restart_count;
        self.delivered_messages += world.streams.iter().map(|stream| stream.delivered_count).sum::<u64>();
        self.timed_out_images +=
            world.ended.iter().filter(|(_, reason)| *reason == UnavailableReason::TimedOut).count() as u64;
        for counters in world.counters() {
            self.gaps += counters.loss_gaps;
            self.naks += counters.naks_sent;
            self.naks_ignored += counters.naks_ignored;
            self.naks_rejected += counters.naks_rejected;
            self.retransmits += counters.retransmits_sent;
            self.out_of_order += counters.data_out_of_order;
            self.duplicates += counters.data_duplicate;
            self.without_room += counters.data_without_room;
            self.over_runs += counters.data_over_run;
            self.elicited_setups += counters.setups_elicited;
        }
    }

    pub(crate) fn assert_that_all_happened(&self) {
        assert!(self.dropped_datagrams > 0 && self.delivered_messages > 0, "{self:?}");
        assert!(self.restarts > 0 && self.timed_out_images > 0 && self.elicited_setups > 0, "{self:?}");
        assert!(self.gaps > 0 && self.naks > 0 && self.naks_ignored > 0, "{self:?}");
        assert!(self.retransmits > 0 && self.out_of_order > 0 && self.duplicates > 0, "{self:?}");
    }
}

fn describe(bytes: &[u8]) -> String {
    let described = match FrameType::of(bytes) {
        Ok(FrameType::Data | FrameType::Pad) => wire::DataFrame::parse(bytes).map(|frame| frame.to_string()),
        Ok(FrameType::Setup) => wire::Setup::parse(bytes).map(|frame| frame.to_string()),
        Ok(FrameType::StatusMessage) => wire::StatusMessage::parse(bytes).map(|frame| frame.to_string()),
        Ok(FrameType::Nak) => wire::Nak::parse(bytes).map(|frame| frame.to_string()),
        Ok(other) => Ok(format!("{other:?}")),
        Err(reject) => Err(reject),
    };
    described.unwrap_or_else(|reject| reject.to_string())
}
