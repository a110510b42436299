//! Clients and the leaders that follow one another on one log, over a bad network, in virtual time. One seed
//! decides everything: what clients send, when the log is full, how far commit and services are behind, what
//! operators ask, when leaders die and what of their log survives.
//!
//! Faults come first; then everything heals, and what must hold is checked: sessions live on, nothing is in
//! the log twice or out of order, nothing that was sent to the last leader is lost, every reply comes once
//! and in order, every timer fires once, every message of the service comes back once. `STANDBY_SIM_SEEDS`
//! sets how many seeds run (100 if not set), `STANDBY_SIM_SEED` runs one.

mod leader;
#[path = "transport/network.rs"]
mod network;
#[path = "transport/rng.rs"]
mod rng;
#[path = "transport/seeds.rs"]
mod seeds;

use consensus_tap::leader::ControlAction;
use leader::node::Applied;
use leader::world::{MS, NODE_COUNT, SECOND, World};
use seeds::run_seeds;

/// What happened in all runs together: a simulation without faults proves nothing.
#[derive(Debug, Default)]
struct Seen {
    dropped_datagrams: u64,
    leader_changes: u64,
    lost_messages: u64,
    replies: u64,
    timers: u64,
    service_messages: u64,
    log_full: u64,
    suspensions: u64,
    cut_off_messages: u64,
}

#[test]
fn nothing_is_lost_or_doubled_whatever_network_disk_and_leaders_do() {
    let mut seen = Seen::default();
    let is_enough = run_seeds(100, |seed, _| seen.add(&run(seed)));
    println!("{seen:#?}");
    if is_enough {
        seen.assert_that_all_happened();
    }
}

fn run(seed: u64) -> Seen {
    let mut seen = Seen::default();
    let mut world = World::new(seed, 1 + seed as usize % 4);
    assert!(world.run_until(30 * SECOND, World::are_connected), "clients do not connect");
    let sessions: Vec<i64> = world.clients.iter().map(|client| client.client.cluster_session_id()).collect();

    for _ in 0..world.rng.between(0, 3) {
        traffic(&mut world, 2 * SECOND, true, &mut seen);
        change_leader(&mut world, &mut seen);
    }
    if world.rng.chance(500) {
        // Shorter than anybody's patience.
        world.network.fail_until(world.now_ns + world.rng.between(1, 2_000) * MS);
    }
    traffic(&mut world, SECOND, true, &mut seen);

    world.network.heal();
    world.log.is_full = false;
    if let Some(node) = &mut world.node {
        node.commit_pace = 1_000;
        node.apply_pace = usize::MAX;
    }
    resume(&mut world);
    let ends =
        |world: &World| world.clients.iter().map(|client| client.client.end().cloned()).collect::<Vec<_>>();
    assert!(world.run_until(60 * SECOND, World::are_connected), "{:?}", ends(&world));
    // What earlier leaders took along is lost; from here on nothing is.
    world.run_for(SECOND);
    let marks: Vec<u64> = world.clients.iter().map(|client| client.offered_count).collect();
    traffic(&mut world, SECOND, false, &mut seen);
    let is_answered = |world: &World| {
        world.clients.iter().all(|client| {
            client.offered_count == 0 || client.heard.numbers.last() == Some(&(client.offered_count - 1))
        })
    };
    assert!(world.run_until(120 * SECOND, is_answered), "the last messages are not answered");
    // Timers are due within 300 ms.
    world.run_for(SECOND);
    check(&world, &sessions, &marks, &mut seen);
    seen
}

/// Messages at a random rate, while the log fills up and operators interfere, if they do.
fn traffic(world: &mut World, duration_ns: u64, has_trouble: bool, seen: &mut Seen) {
    let length_max = world.rng.pick(&[64, 3_000, 8_000]);
    let per_mille = world.rng.pick(&[20, 200, 900]);
    let trouble = if has_trouble { world.rng.pick(&[0, 2, 10]) } else { 0 };
    let end_ns = world.now_ns + duration_ns;
    while world.now_ns < end_ns {
        world.step();
        if world.rng.chance(per_mille) {
            world.offer(length_max);
        }
        if world.rng.chance(trouble * 5) {
            world.log.is_full = !world.log.is_full;
            seen.log_full += u64::from(world.log.is_full);
        }
        if world.rng.chance(trouble)
            && let Some(node) = &mut world.node
        {
            let action = match node.leader.is_suspended() {
                true => ControlAction::Resume,
                false => world.rng.pick(&[
                    ControlAction::Suspend,
                    ControlAction::Snapshot,
                    ControlAction::StandbySnapshot,
                ]),
            };
            let is_taken = node.control(action);
            seen.suspensions += u64::from(is_taken && action == ControlAction::Suspend);
        }
    }
    world.log.is_full = false;
}

/// Ends what operators began.
fn resume(world: &mut World) {
    // Whatever was asked for is done first.
    world.run_for(50 * MS);
    let node = world.node.as_mut().expect("somebody leads");
    if node.leader.is_suspended() {
        assert!(node.control(ControlAction::Resume));
    }
}

/// The leader dies, and another follows after a while.
fn change_leader(world: &mut World, seen: &mut Seen) {
    let old = world.node.as_ref().map_or(0, |node| node.id);
    world.kill();
    let mut applied = Applied::new();
    applied.apply(&world.log, world.log.end(), usize::MAX, |_, _, _| {});
    seen.cut_off_messages += u64::from(applied.reader.unfinished_since().is_some());
    seen.leader_changes += 1;
    let pause_ns = world.rng.between(10, 12_000) * MS;
    world.run_for(pause_ns);
    let new = (old + world.rng.between(1, 2) as i32) % NODE_COUNT;
    world.elect(new);
    traffic(world, 3 * SECOND, false, seen);
}

fn check(world: &World, sessions: &[i64], marks: &[u64], seen: &mut Seen) {
    let node = world.node.as_ref().expect("somebody leads");
    // Whoever reads the log from its beginning comes to the same state.
    let mut replayed = Applied::new();
    replayed.apply(&world.log, node.commit_position, usize::MAX, |_, _, _| {});
    assert_eq!(format!("{:?}", replayed.state), format!("{:?}", node.applied.state));
    let service = &replayed.service;

    let is_suspended = node.leader.is_suspended();
    assert!(!is_suspended);
    for (timer, fired_count) in &service.timers {
        assert_eq!(*fired_count, 1, "timer {timer:x}");
    }
    assert!(replayed.state.timers().count() == 0 && replayed.state.timers().outdated_event_count() == 0);
    assert!(service.came_back == service.offered, "messages of the service");
    let open: Vec<i64> = replayed.state.sessions().iter().map(|session| session.id).collect();
    let mut expected = sessions.to_vec();
    expected.sort_unstable();
    assert_eq!(open, expected, "sessions live on");

    for ((client, session), mark) in world.clients.iter().zip(sessions).zip(marks) {
        assert_eq!(client.client.cluster_session_id(), *session);
        assert_eq!(client.heard.damaged_count, 0);
        let logged = service.messages.get(session).cloned().unwrap_or_default();
        for (what, numbers) in [("log", &logged), ("replies", &client.heard.numbers)] {
            assert!(numbers.is_sorted_by(|a, b| a < b), "{what} of session {session}: twice or out of order");
            let newest = numbers.iter().copied().filter(|number| number >= mark);
            assert!(
                newest.eq(*mark..client.offered_count),
                "{what} of session {session}: lost behind {mark}"
            );
        }
        if seen.leader_changes == 0 {
            assert_eq!(logged.len() as u64, client.offered_count);
        }
        seen.lost_messages += client.offered_count - logged.len() as u64;
        seen.replies += client.heard.numbers.len() as u64;
    }
    seen.dropped_datagrams = world.network.dropped_count;
    seen.timers = service.timers.len() as u64;
    seen.service_messages = service.offered.len() as u64;
}

impl Seen {
    fn add(&mut self, other: &Self) {
        self.dropped_datagrams += other.dropped_datagrams;
        self.leader_changes += other.leader_changes;
        self.lost_messages += other.lost_messages;
        self.replies += other.replies;
        self.timers += other.timers;
        self.service_messages += other.service_messages;
        self.log_full += other.log_full;
        self.suspensions += other.suspensions;
        self.cut_off_messages += other.cut_off_messages;
    }

    fn assert_that_all_happened(&self) {
        let Self { dropped_datagrams, leader_changes, lost_messages, replies, timers, .. } = *self;
        let Self { service_messages, log_full, suspensions, cut_off_messages, .. } = *self;
        for (what, count) in [
            ("dropped datagrams", dropped_datagrams),
            ("leader changes", leader_changes),
            ("lost messages", lost_messages),
            ("replies", replies),
            ("timers", timers),
            ("service messages", service_messages),
            ("full logs", log_full),
            ("suspensions", suspensions),
            ("messages that were cut off", cut_off_messages),
        ] {
            assert!(count >= 10, "hardly any {what}: {count}");
        }
    }
}
