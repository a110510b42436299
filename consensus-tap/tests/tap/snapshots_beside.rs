//! Single decisions about snapshots that are fetched while the log is followed.

use super::decisions::{SOON_NS, follows_and_keeps_up, grow};
use super::standby::SECOND;
use super::world::World;
use consensus_tap::tap::{ReplayStart, TapReport, TapState};

/// A standby that follows a cluster and is to fetch what snapshots come.
fn following(member_count: usize) -> World {
    let mut world = World::calm(member_count, |config| config.fetch_snapshots = true);
    follows_and_keeps_up(&mut world);
    world
}

/// Snapshots, once every member has the log up to them.
fn take_snapshots(world: &mut World) {
    let appends = std::mem::take(&mut world.cluster.appends_per_mille);
    world.pass(SECOND);
    world.cluster.take_snapshots();
    world.cluster.appends_per_mille = appends;
}

fn is_fetching(world: &World) -> bool {
    world.standby.tap.status().is_fetching_beside
}

fn failed_fetches(world: &World) -> Vec<&str> {
    let reports = world.standby.reports.iter();
    reports
        .filter_map(|report| match report {
            TapReport::SnapshotsNotFetched { reason, .. } => Some(reason.as_str()),
            _ => None,
        })
        .collect()
}

#[test]
fn newer_snapshots_are_fetched_when_asked_for_while_the_log_goes_on() {
    let mut world = following(3);
    world.cluster.appends_per_mille = 1000;
    for count in 1..=3 {
        take_snapshots(&mut world);
        world.pass(15 * SECOND);
        assert_eq!(world.standby.set_beside_count, count - 1, "nobody has asked yet");
        world.standby.query_snapshots();
        world.until("fetched", SOON_NS, |world| world.standby.set_beside_count == count);
        let grown = world.standby.recorder.end();
        world.until("the log goes on", SOON_NS, |world| world.standby.recorder.end() > grown);
    }
    assert_eq!(world.standby.tap.status().sources_lost, 0);
    assert!(failed_fetches(&world).is_empty());
}

#[test]
fn the_log_arrives_during_a_fetch() {
    let mut world = following(1);
    take_snapshots(&mut world);
    world.cluster.appends_per_mille = 1000;
    world.standby.opening_takes_ns = 2 * SECOND;
    world.standby.query_snapshots();
    world.until("a fetch", SOON_NS, is_fetching);
    let end = world.standby.recorder.end();
    world.until("a grown log", SOON_NS, |world| world.standby.recorder.end() > end + 10_000);
    assert!(is_fetching(&world) && world.standby.state() == TapState::Following);
    world.until("fetched", SOON_NS, |world| world.standby.set_beside_count == 1);
}

#[test]
fn snapshots_that_are_there_already_are_fetched_behind_the_beginning_of_the_log() {
    let mut world = World::calm(1, |config| {
        config.fetch_snapshots = true;
        config.replay_start = ReplayStart::Beginning;
    });
    world.cut = vec![world.cluster.members[0].address];
    world.until("led", SOON_NS, |world| world.cluster.leader.is_some());
    grow(&mut world, 50_000);
    world.cluster.take_snapshots();
    world.cut.clear();
    world.until("fetched", 2 * SOON_NS, |world| world.standby.set_beside_count == 1);
    assert_eq!(world.standby.recorder.log.as_ref().map(|log| log.start), Some(0));
}

#[test]
fn sets_for_any_number_of_services_are_taken_where_none_is_hosted() {
    let mut world = World::calm(1, |config| {
        config.fetch_snapshots = true;
        config.service_count = None;
    });
    follows_and_keeps_up(&mut world);
    take_snapshots(&mut world);
    world.standby.query_snapshots();
    world.until("fetched", SOON_NS, |world| world.standby.set_beside_count == 1);
    assert_eq!(world.standby.snapshot_set.as_ref().map(|(_, recordings)| recordings.len()), Some(3));
}

#[test]
fn nothing_is_fetched_twice_nor_by_a_standby_that_takes_its_own() {
    let mut world = following(1);
    take_snapshots(&mut world);
    for _ in 0..3 {
        world.standby.query_snapshots();
        world.pass(5 * SECOND);
    }
    assert_eq!(world.standby.set_count, 1);

    let mut world = World::calm(1, |_| {});
    follows_and_keeps_up(&mut world);
    take_snapshots(&mut world);
    world.pass(30 * SECOND);
    assert_eq!(world.standby.set_count, 0);
}

#[test]
fn a_source_that_dies_in_a_fetch_is_replaced_and_the_next_one_has_the_set_too() {
    for steps in [0, 3, 20, 60] {
        let mut world = following(3);
        take_snapshots(&mut world);
        world.standby.query_snapshots();
        world.until("a fetch", SOON_NS, is_fetching);
        (0..steps).for_each(|_| world.step());
        let source = world.standby.tap.status().source_member_id;
        world.cluster.kill(source as usize);
        world.cluster.appends_per_mille = 300;
        world.until("another source", 40 * SECOND, |world| {
            world.standby.state() == TapState::Following && !world.is_following(source)
        });
        world.until("fetched", 60 * SECOND, |world| world.standby.set_count == 1);
        world.cluster.appends_per_mille = 0;
        world.until("caught up", SOON_NS, World::is_caught_up);
    }
}

#[test]
fn snapshots_that_vanish_end_their_fetch_and_nothing_else() {
    for steps in [0, 3, 20, 60] {
        let mut world = following(1);
        take_snapshots(&mut world);
        world.standby.query_snapshots();
        world.until("a fetch", SOON_NS, is_fetching);
        (0..steps).for_each(|_| world.step());
        if world.standby.set_count == 1 {
            continue;
        }
        world.cluster.lose_snapshots(0, true, world.now_ns);
        world.until("given up", 2 * SOON_NS, |world| !failed_fetches(world).is_empty());
        grow(&mut world, 20_000);
        take_snapshots(&mut world);
        world.until("the next set", 60 * SECOND, |world| world.standby.set_count == 1);
        world.until("caught up", SOON_NS, World::is_caught_up);
        assert_eq!(world.standby.tap.status().sources_lost, 0);
    }
}

#[test]
fn snapshots_that_a_member_names_and_does_not_have_are_asked_for_ever_more_seldom() {
    let mut world = following(1);
    take_snapshots(&mut world);
    world.cluster.lose_snapshots(0, false, world.now_ns);
    world.standby.query_snapshots();
    world.pass(100 * SECOND);
    let failed = failed_fetches(&world);
    assert!(failed[0].contains("unknown recording"), "{failed:?}");
    assert_eq!(failed.len(), 4, "at once, and after 10 s, 20 s, 40 s");
    assert_eq!(world.standby.tap.status().sources_lost, 0);
    // Who asks again need not wait.
    world.standby.query_snapshots();
    world.pass(SECOND);
    assert_eq!(failed_fetches(&world).len(), 5);
}

#[test]
fn a_disk_that_takes_no_snapshot_does_not_end_the_log() {
    let mut world = following(1);
    world.standby.refuses_snapshots = true;
    take_snapshots(&mut world);
    world.standby.query_snapshots();
    world.until("given up", SOON_NS, |world| !failed_fetches(world).is_empty());
    follows_and_keeps_up(&mut world);
    world.standby.refuses_snapshots = false;
    world.until("fetched", 2 * SOON_NS, |world| world.standby.set_count == 1);
    assert_eq!(world.standby.tap.status().sources_lost, 0);
}

#[test]
fn snapshots_that_our_log_has_not_reached_are_waited_for() {
    let mut world = following(1);
    // The member's word comes through, the log's replay stands still.
    let reached = world.standby.recorder.end();
    world.cluster.members[0].node.as_mut().unwrap().archive.holds_log_back = true;
    grow(&mut world, 20_000);
    take_snapshots(&mut world);
    world.standby.query_snapshots();
    world.pass(5 * SECOND);
    assert_eq!((world.standby.recorder.end(), is_fetching(&world)), (reached, false));
    world.cluster.members[0].node.as_mut().unwrap().archive.holds_log_back = false;
    world.until("fetched", SOON_NS, |world| world.standby.set_count == 1);
}
