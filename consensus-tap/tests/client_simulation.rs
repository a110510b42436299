//! A client and a cluster over a bad network, in virtual time. One seed decides everything: what the client
//! sends, when leaders die, who follows them, what the network loses.
//!
//! Faults come first; then everything heals, and the client must be where it was: in the same session, with
//! an answer to all that it offered to the last leader, and nothing twice or out of order in the log or among
//! the answers. `STANDBY_SIM_SEEDS` sets how many seeds run (100 if not set), `STANDBY_SIM_SEED` runs one.

mod client;
#[path = "transport/network.rs"]
mod network;
#[path = "transport/rng.rs"]
mod rng;
#[path = "transport/seeds.rs"]
mod seeds;

use client::cluster::Cluster;
use client::world::{MS, NUMBER_LENGTH, SECOND, World};
use network::Network;
use rng::Rng;
use seeds::run_seeds;

/// What happened in all runs together: a simulation without faults proves nothing.
#[derive(Debug, Default)]
struct Seen {
    dropped_datagrams: u64,
    leader_changes: u64,
    /// Messages that a dying leader took along.
    lost_messages: u64,
    answers: u64,
    naks_sent: u64,
    retransmits: u64,
}

#[test]
fn the_session_survives_whatever_network_and_leaders_do() {
    let mut seen = Seen::default();
    let is_enough = run_seeds(100, |seed, _| seen.add(&run(seed)));
    println!("{seen:#?}");
    if is_enough {
        seen.assert_that_all_happened();
    }
}

fn run(seed: u64) -> Seen {
    let mut rng = Rng::new(seed);
    let network = Network::new(Rng::new(rng.next()));
    let mut cluster = Cluster::new(3);
    let first_leader = rng.below(3) as usize;
    cluster.leader = Some(first_leader);
    let mut world = World::with(cluster, network, |config| {
        config.ingress_term_length = rng.pick(&[64 * 1024, 256 * 1024]);
        config.egress_window_length = rng.pick(&[16 * 1024, 128 * 1024]);
        config.seed = rng.next();
    });
    world.connect();
    let session_id = world.client.cluster_session_id();

    let mut changes = 0;
    for _ in 0..rng.between(0, 3) {
        traffic(&mut world, &mut rng, 2 * SECOND);
        if rng.chance(500) {
            // Shorter than anybody's patience, which is 5 s.
            world.network.fail_until(world.now_ns + rng.between(1, 2_000) * MS);
        }
        traffic(&mut world, &mut rng, SECOND);
        changes += u64::from(change_leader(&mut world, &mut rng));
    }
    traffic(&mut world, &mut rng, 2 * SECOND);

    world.network.heal();
    assert!(world.run_until(30 * SECOND, World::is_connected), "{:?}", world.client.end());
    assert_eq!(world.client.leader_member_id(), world.cluster.leader.map_or(-1, |leader| leader as i32));
    // What earlier leaders took along is lost; from here on nothing is.
    world.run_for(SECOND);
    let mark = world.offered.len();
    traffic(&mut world, &mut rng, SECOND);
    // A window a round trip is all that a slow network carries.
    let is_all_answered = |world: &World| world.heard.messages.last() == world.offered.last();
    assert!(world.run_until(120 * SECOND, is_all_answered), "the last message is not answered");
    check(&world, session_id, mark, changes);
    world.client.close();
    assert!(world.run_until(5 * SECOND, |world| world.client.is_gone()));
    assert!(!world.cluster.sessions[0].is_open);

    let transport = world.client.transport_counters();
    Seen {
        dropped_datagrams: world.network.dropped_count,
        leader_changes: changes,
        lost_messages: (world.offered.len() - world.cluster.sessions[0].log.len()) as u64,
        answers: world.heard.messages.len() as u64,
        naks_sent: transport.naks_sent,
        retransmits: transport.retransmits_sent,
    }
}

/// Messages at a random rate, of lengths up to the longest.
fn traffic(world: &mut World, rng: &mut Rng, duration_ns: u64) {
    let length_max = rng.pick(&[64, 3_000, world.client.message_length_max() as u64]);
    let per_mille = rng.pick(&[20, 200, 900]);
    let end_ns = world.now_ns + duration_ns;
    while world.now_ns < end_ns {
        world.step();
        if rng.chance(per_mille) {
            // Back-pressure and leaders that are gone are no faults of the client.
            let _ = world.offer(rng.between(8, length_max) as usize);
        }
    }
}

/// The leader dies, another follows after a while, and the dead one comes back.
fn change_leader(world: &mut World, rng: &mut Rng) -> bool {
    let Some(old) = world.cluster.leader else { return false };
    world.cluster.kill_leader();
    let pause_ns = rng.between(10, 12_000) * MS;
    traffic(world, rng, pause_ns);
    let new = (old + rng.between(1, 2) as usize) % 3;
    world.cluster.elect(new, world.now_ns);
    traffic(world, rng, 3 * SECOND);
    world.cluster.restart(old);
    true
}

fn check(world: &World, session_id: i64, mark: usize, leader_changes: u64) {
    assert_eq!((world.cluster.sessions.len(), world.client.cluster_session_id()), (1, session_id));
    let log = &world.cluster.sessions[0].log;
    let number = |payload: &Vec<u8>| {
        let bytes = payload[..NUMBER_LENGTH].try_into().expect("a number stands first");
        u64::from_le_bytes(bytes) as usize
    };
    for (what, payloads) in [("log", log), ("answers", &world.heard.messages)] {
        let numbers: Vec<usize> = payloads.iter().map(number).collect();
        let gap_count = numbers.windows(2).filter(|pair| pair[0] + 1 != pair[1]).count() as u64;
        assert!(gap_count <= leader_changes, "{what}: {gap_count} gaps, {leader_changes} changes");
        assert!(numbers.is_sorted_by(|a, b| a < b), "{what}: twice or out of order");
        assert!(payloads.iter().all(|payload| *payload == world.offered[number(payload)]), "{what}: damaged");
        let newest: Vec<usize> = numbers.into_iter().filter(|&number| number >= mark).collect();
        assert!(newest.iter().copied().eq(mark..world.offered.len()), "{what}: lost behind {mark}");
    }
    assert_eq!(world.client.counters().malformed_count, 0);
}

impl Seen {
    fn add(&mut self, other: &Self) {
        self.dropped_datagrams += other.dropped_datagrams;
        self.leader_changes += other.leader_changes;
        self.lost_messages += other.lost_messages;
        self.answers += other.answers;
        self.naks_sent += other.naks_sent;
        self.retransmits += other.retransmits;
    }

    fn assert_that_all_happened(&self) {
        let Self { dropped_datagrams, leader_changes, lost_messages, answers, naks_sent, retransmits } =
            *self;
        for (what, count) in [
            ("dropped datagrams", dropped_datagrams),
            ("leader changes", leader_changes),
            ("lost messages", lost_messages),
            ("answers", answers),
            ("NAKs", naks_sent),
            ("retransmits", retransmits),
        ] {
            assert!(count > 50, "hardly any {what}: {count}");
        }
    }
}
