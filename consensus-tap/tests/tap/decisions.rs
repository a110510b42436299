//! Single decisions of the tap, in a calm world.

use super::standby::{SECOND, Standby};
use super::world::World;
use consensus_tap::archive::Credentials;
use consensus_tap::codec::archive_control::RecordingDescriptor;
use consensus_tap::tap::{Recorder, RecordingKey, ReplayStart, Routing, SourceType, TapReport, TapState};

/// As long as a source needs to be found, and more.
pub(super) const SOON_NS: u64 = 10 * SECOND;

fn leader(world: &World) -> i32 {
    world.cluster.leader.expect("the cluster is calm") as i32
}

pub(super) fn follows_and_keeps_up(world: &mut World) {
    world.until("caught up", SOON_NS, World::is_caught_up);
    world.cluster.appends_per_mille = 1000;
    world.pass(SECOND);
    world.cluster.appends_per_mille = 0;
    world.until("caught up again", SOON_NS, World::is_caught_up);
}

fn log_end(world: &World) -> Option<i64> {
    world.standby.recorder.position(RecordingKey::Log)
}

pub(super) fn grow(world: &mut World, length: i64) {
    let end = world.cluster.committed().end() + length;
    world.cluster.appends_per_mille = 1000;
    world.until("the log grew", 60 * SECOND, |world| world.cluster.committed().end() > end);
    world.cluster.appends_per_mille = 0;
}

#[test]
fn a_leader_is_found_through_a_follower_that_is_not_wanted() {
    for configured in ["m0:1", "m1:1", "m2:1"] {
        let mut world = World::calm(3, |config| {
            config.source_type = SourceType::Leader;
            config.consensus_endpoints = vec![configured.parse().unwrap()];
        });
        follows_and_keeps_up(&mut world);
        assert!(world.is_following(leader(&world)));
    }
}

#[test]
fn a_follower_is_followed_where_the_leader_is_to_be_spared() {
    let mut world = World::calm(3, |config| config.source_type = SourceType::Follower);
    follows_and_keeps_up(&mut world);
    assert!(!world.is_following(leader(&world)));
}

#[test]
fn a_source_that_becomes_ineligible_is_left_when_its_term_is_read() {
    for source_type in [SourceType::Leader, SourceType::Follower] {
        let mut world = World::calm(3, |config| config.source_type = source_type);
        follows_and_keeps_up(&mut world);
        let first_leader = leader(&world);
        // Cut off for as long as an election takes, the leader comes back as a follower.
        world.cluster.members[first_leader as usize].is_isolated = true;
        world.until("another leader", SOON_NS, |world| world.cluster.leader != Some(first_leader as usize));
        world.until("an election ends", SOON_NS, |world| world.cluster.leader.is_some());
        world.cluster.members[first_leader as usize].is_isolated = false;
        let leader = leader(&world);
        world.until("an eligible source", 20 * SECOND, |world| {
            world.is_caught_up() && world.is_following(leader) == (source_type == SourceType::Leader)
        });
    }
}

#[test]
fn only_configured_members_are_asked_with_single_routing() {
    let mut world = World::calm(3, |config| {
        config.routing = Routing::Single;
        config.consensus_endpoints.truncate(1);
    });
    follows_and_keeps_up(&mut world);
    world.cluster.kill(0);
    world.pass(20 * SECOND);
    assert_eq!(world.standby.state(), TapState::BackupQuery);
    world.cluster.start(0);
    world.until("the one source again", SOON_NS, |world| world.is_caught_up() && world.is_following(0));
}

#[test]
fn a_member_known_from_a_response_takes_over_with_routing_all() {
    let mut world = World::calm(3, |config| config.consensus_endpoints.truncate(1));
    follows_and_keeps_up(&mut world);
    world.cluster.kill(0);
    world.until("another source", 20 * SECOND, |world| {
        world.standby.state() == TapState::Following && !world.is_following(0)
    });
    follows_and_keeps_up(&mut world);
}

#[test]
fn a_tap_that_is_paused_records_nothing_more_and_goes_on_where_it_stood() {
    let mut world = World::calm(1, |_| {});
    follows_and_keeps_up(&mut world);
    world.standby.tap.pause(world.now_ns);
    let position = log_end(&world);
    world.pass(5 * SECOND);
    assert_eq!(log_end(&world), position);
    assert_eq!(world.standby.tap.status().source_member_id, -1);
    world.standby.tap.resume(world.now_ns);
    follows_and_keeps_up(&mut world);
    assert!(log_end(&world) > position);
}

#[test]
fn a_preferred_source_is_followed_at_once_whoever_is_followed_now() {
    let mut world = World::calm(3, |_| {});
    follows_and_keeps_up(&mut world);
    for member in [2, 0, 1] {
        world.standby.tap.prefer(format!("m{member}:1").parse().unwrap(), world.now_ns);
        world.until("the preferred one", SOON_NS, |world| world.is_caught_up() && world.is_following(member));
    }
}

#[test]
fn endpoints_that_the_cluster_names_are_reached_where_the_map_says() {
    let mut world = World::calm(1, |config| {
        config.consensus_endpoints = vec!["outside:7".parse().unwrap()];
        config.endpoint_map = vec![("outside:7".parse().unwrap(), "m0:1".parse().unwrap())];
    });
    follows_and_keeps_up(&mut world);
}

#[test]
fn wrong_credentials_are_told_in_words() {
    let mut world = World::calm(1, |_| {});
    world.cluster.members[0].policy.credentials = b"admin:secret".to_vec();
    world.until("refused", SOON_NS, |world| world.was_lost_for("credentials"));
    assert!(world.was_lost_for("Not authorised for BackupQuery"));
    assert_eq!(world.standby.state(), TapState::BackupQuery);
}

#[test]
fn a_challenge_is_answered_and_one_without_an_answer_is_told() {
    let credentials =
        Credentials::ChallengeResponse { initial: b"admin".to_vec(), answer: b"secret".to_vec() };
    let mut world = World::calm(1, |config| config.cluster_credentials = credentials);
    world.cluster.members[0].policy.credentials = b"admin".to_vec();
    world.cluster.members[0].policy.challenge_answer = Some(b"secret".to_vec());
    follows_and_keeps_up(&mut world);

    let mut world = World::calm(1, |_| {});
    world.cluster.members[0].policy.challenge_answer = Some(b"secret".to_vec());
    world.until("refused", SOON_NS, |world| world.was_lost_for("challenge_answer"));
}

#[test]
fn a_refused_heartbeat_is_a_sign_of_life() {
    let mut world = World::calm(1, |_| {});
    world.cluster.members[0].policy.rejects_heartbeats = true;
    follows_and_keeps_up(&mut world);
    world.pass(30 * SECOND);
    assert_eq!(world.standby.tap.status().sources_lost, 0);
    assert!(world.standby.tap.status().heartbeat_responses > 10);
}

#[test]
fn a_cluster_without_a_term_is_asked_until_it_has_one() {
    let mut world = World::calm(1, |_| {});
    world.cluster.members[0].policy.has_no_term = true;
    world.pass(15 * SECOND);
    assert_eq!(world.standby.state(), TapState::BackupQuery);
    world.cluster.members[0].policy.has_no_term = false;
    follows_and_keeps_up(&mut world);
}

#[test]
fn the_newest_snapshots_are_fetched_and_the_log_begins_there() {
    let mut world = World::calm(1, |config| config.service_count = Some(2));
    cut_off_until_there_are_snapshots(&mut world);
    follows_and_keeps_up(&mut world);
    let (position, recordings) = world.standby.snapshot_set.as_ref().unwrap();
    assert_eq!(recordings.len(), 3);
    assert_eq!(world.standby.recorder.log.as_ref().unwrap().start, *position);
}

#[test]
fn snapshots_are_left_alone_when_the_log_is_wanted_from_its_beginning() {
    let mut world = World::calm(1, |config| config.replay_start = ReplayStart::Beginning);
    cut_off_until_there_are_snapshots(&mut world);
    follows_and_keeps_up(&mut world);
    assert!(world.standby.snapshot_set.is_none());
    assert_eq!(world.standby.recorder.log.as_ref().unwrap().start, 0);
}

#[test]
fn a_snapshot_set_for_another_number_of_services_is_told_in_words() {
    let mut world = World::calm(1, |config| config.service_count = Some(2));
    cut_off_until_there_are_snapshots(&mut world);
    world.cluster.members[0].snapshots.retain(|row| row.service_id < 1);
    world.until("refused", SOON_NS, |world| {
        world.was_lost_for("name in `service` as many as the cluster has")
    });
}

#[test]
fn an_incomplete_snapshot_is_not_fetched() {
    let mut world = World::calm(1, |_| {});
    cut_off_until_there_are_snapshots(&mut world);
    let recording_id = world.cluster.members[0].snapshots[0].recording_id;
    let node = world.cluster.members[0].node.as_mut().unwrap();
    node.archive.active_snapshots.push(recording_id);
    world.until("refused", SOON_NS, |world| world.was_lost_for("is not complete"));
    assert!(world.standby.snapshot_set.is_none());
    world.cluster.members[0].node.as_mut().unwrap().archive.active_snapshots.clear();
    follows_and_keeps_up(&mut world);
}

#[test]
fn a_log_that_begins_behind_position_0_without_a_snapshot_is_no_beginning() {
    let mut world = World::calm(1, |_| {});
    cut_off_until_there_are_snapshots(&mut world);
    world.cluster.purge(0);
    assert!(world.cluster.members[0].log.start > 0);
    world.cluster.members[0].snapshots.clear();
    world.until("refused", SOON_NS, |world| world.was_lost_for("we would have to begin at 0"));
    assert!(world.standby.recorder.log.is_none());
}

#[test]
fn a_source_that_dies_in_a_snapshot_fetch_is_replaced_and_the_set_fetched_anew() {
    for kill_at in [0, 1, 2] {
        let mut world = World::calm(3, |config| config.service_count = Some(2));
        cut_off_until_there_are_snapshots(&mut world);
        world.until("a fetch", SOON_NS, |world| {
            world.standby.state() == TapState::SnapshotRetrieve
                && world.standby.recorder.snapshots.len() >= kill_at
        });
        let source = world.standby.tap.status().source_member_id;
        world.cluster.kill(source as usize);
        world.until("another source", 40 * SECOND, World::is_caught_up);
        assert!(world.standby.snapshot_set.is_some());
    }
}

#[test]
fn a_fetched_set_that_the_members_have_purged_behind_is_fetched_anew() {
    let mut world = World::calm(1, |_| {});
    cut_off_until_there_are_snapshots(&mut world);
    world.until("a set", SOON_NS, |world| world.standby.snapshot_set.is_some());
    let first = world.standby.snapshot_set.as_ref().map(|(position, _)| *position);
    assert!(world.standby.recorder.log.is_none());
    // Before the log is opened, the standby goes away, and the cluster goes on without it.
    world.cut.push(world.cluster.members[0].address);
    grow(&mut world, 150_000);
    world.cluster.take_snapshots();
    world.cluster.purge(0);
    world.standby.recorder.log = None;
    world.standby.restart(world.now_ns);
    world.cut.clear();
    follows_and_keeps_up(&mut world);
    assert!(world.standby.snapshot_set.as_ref().map(|(position, _)| *position) > first);
}

#[test]
fn a_log_purged_beyond_our_end_halts_when_every_member_says_so() {
    let mut world = World::calm(3, |_| {});
    follows_and_keeps_up(&mut world);
    world.cut = world.cluster.members.iter().map(|member| member.address).collect();
    grow(&mut world, 150_000);
    world.pass(SECOND);
    world.cluster.take_snapshots();
    world.cluster.purge(0);
    world.cluster.purge(2);
    // It begins again at the first candidate, which does not have it.
    world.standby.restart(world.now_ns);
    world.cut.clear();
    world.until("the one that has it", 40 * SECOND, |world| world.is_caught_up() && world.is_following(1));
    assert!(world.was_lost_for("what lies between was purged"));

    world.cut = world.cluster.members.iter().map(|member| member.address).collect();
    grow(&mut world, 150_000);
    world.pass(SECOND);
    world.cluster.take_snapshots();
    (0..3).for_each(|index| world.cluster.purge(index));
    world.cut.clear();
    world.until("halted", 60 * SECOND, |world| world.standby.state() == TapState::LogPurged);
    assert!(matches!(
        world.standby.reports.last(),
        Some(TapReport::Halted { reason, .. }) if reason.contains("`reseed`")
    ));
}

#[test]
fn a_log_that_some_have_purged_and_others_do_not_answer_for_halts_with_the_names_of_those() {
    let mut world = World::calm(3, |_| {});
    follows_and_keeps_up(&mut world);
    world.cut = world.cluster.members.iter().map(|member| member.address).collect();
    grow(&mut world, 150_000);
    world.pass(SECOND);
    world.cluster.take_snapshots();
    (0..3).for_each(|index| world.cluster.purge(index));
    world.cluster.kill(1);
    world.cut.clear();
    world.until("halted", 90 * SECOND, |world| world.standby.state() == TapState::LogPurged);
    let Some(TapReport::Halted { reason, .. }) = world.standby.reports.last() else { panic!("a report") };
    assert!(reason.contains("what lies between was purged"), "{reason}");
    assert!(reason.contains("m1:") && !reason.contains("m0:") && !reason.contains("m2:"), "{reason}");
    assert!(reason.contains("start this node again") && reason.contains("`reseed` only if"), "{reason}");
}

#[test]
fn the_log_is_replayed_on_the_stream_that_its_recording_has() {
    let mut world = World::calm(3, |_| {});
    for member in &mut world.cluster.members {
        member.log.stream_id = 200;
    }
    follows_and_keeps_up(&mut world);
    let nodes = world.cluster.members.iter().flat_map(|member| &member.node);
    let streams: Vec<i32> = nodes.flat_map(|node| &node.archive.replays).map(|r| r.stream_id).collect();
    assert_eq!(streams, [200]);
}

#[test]
fn an_archive_that_describes_a_log_that_cannot_be_is_left_for_another() {
    let misdescriptions: [fn(&mut RecordingDescriptor<'_>); 3] = [
        |descriptor| descriptor.term_buffer_length = 100_000,
        |descriptor| descriptor.segment_file_length = 4096,
        |descriptor| descriptor.start_position = -32,
    ];
    for misdescribe in misdescriptions {
        let mut world = World::calm(3, |_| {});
        let misdescribe_all = |world: &mut World, misdescribes| {
            for node in world.cluster.members.iter_mut().flat_map(|member| &mut member.node) {
                node.archive.misdescribes = misdescribes;
            }
        };
        misdescribe_all(&mut world, Some(misdescribe));
        world
            .until("left", SOON_NS, |world| world.was_lost_for("its archive describes a log that cannot be"));
        assert_eq!(world.standby.state(), TapState::BackupQuery);
        misdescribe_all(&mut world, None);
        follows_and_keeps_up(&mut world);
    }
}

#[test]
fn a_replay_of_another_shape_than_described_is_left_and_nothing_of_it_recorded() {
    let mut world = World::calm(2, |_| {});
    follows_and_keeps_up(&mut world);
    let first = usize::from(world.is_following(1));
    let other = world.cluster.members[1 - first].node.as_mut().expect("it runs");
    other.archive.misdescribes = Some(|descriptor| descriptor.initial_term_id += 7);
    world.cut = vec![world.cluster.members[first].address];
    world.until("refused", 20 * SECOND, |world| world.was_lost_for("where its archive described"));
    assert_eq!(world.standby.state(), TapState::BackupQuery);
    world.cut.clear();
    follows_and_keeps_up(&mut world);
}

#[test]
fn a_member_with_an_archive_response_endpoint_is_used_and_its_unreached_archive_explained() {
    let mut world = World::calm(1, |_| {});
    world.cluster.members_text = "0,m0:1,m0:2,m0:3,m0:4,m0:5,m0:6".to_owned();
    follows_and_keeps_up(&mut world);

    let mut world = World::calm(1, |_| {});
    world.cluster.members_text = "0,m0:1,m0:2,m0:3,m0:4,nowhere:5,m0:6".to_owned();
    world.until("told", SOON_NS, |world| world.was_lost_for("archive response endpoint (m0:6)"));
    assert!(world.was_lost_for("`response_endpoint`"));
}

#[test]
fn a_fork_within_the_overlap_halts_before_a_byte_is_recorded() {
    for (behind, length) in [(5_000, 20_000), (5_000, 2_000), (40_000, 100_000), (200_000, 300_000)] {
        let mut world = World::calm(1, |_| {});
        follows_and_keeps_up(&mut world);
        grow(&mut world, 250_000);
        world.until("caught up", SOON_NS, World::is_caught_up);
        let end = world.standby.recorder.end();
        world.cluster.set_back(end - behind);
        world.until("led again", SOON_NS, |world| world.cluster.leader.is_some());
        grow(&mut world, length);
        world.until("halted", 60 * SECOND, |world| world.standby.state() == TapState::Diverged);
        assert_eq!(world.standby.recorder.end(), end);
    }
}

#[test]
fn a_source_behind_us_is_compared_and_another_is_followed() {
    let mut world = World::calm(3, |config| config.source_type = SourceType::Follower);
    follows_and_keeps_up(&mut world);
    let source = world.standby.tap.status().source_member_id;
    let other = (0..3).find(|id| *id != source && *id != leader(&world)).unwrap();
    world.cluster.members[other as usize].policy.is_slow = true;
    grow(&mut world, 100_000);
    world.until("caught up", SOON_NS, World::is_caught_up);
    let end = world.standby.recorder.end();
    assert!(world.cluster.members[other as usize].commit_position() < end - 64 * 1024);
    world.cluster.kill(source as usize);
    world.until("compared", 40 * SECOND, |world| world.was_lost_for("its committed log ends before ours"));
    world.cluster.members[other as usize].policy.is_slow = false;
    world.until("the other", 40 * SECOND, |world| world.is_caught_up() && world.is_following(other));
    follows_and_keeps_up(&mut world);
}

#[test]
fn an_archive_that_tells_no_position_is_followed_all_the_same() {
    let mut world = World::calm(1, |_| {});
    world.cluster.members[0].node.as_mut().unwrap().archive.refuses_positions = true;
    follows_and_keeps_up(&mut world);
    world.pass(30 * SECOND);
    assert_eq!(world.standby.tap.status().sources_lost, 0);
    assert_eq!(world.standby.tap.status().source_position, -1);
}

#[test]
fn a_quiet_source_is_kept_and_a_silent_one_left() {
    let mut world = World::calm(3, |_| {});
    follows_and_keeps_up(&mut world);
    world.pass(60 * SECOND);
    assert_eq!(world.standby.tap.status().sources_lost, 0);
    let source = world.standby.tap.status().source_member_id;
    world.cut.push(world.cluster.members[source as usize].address);
    world.until("left", 10 * SECOND, |world| world.standby.tap.status().sources_lost == 1);
    world.until("another", 10 * SECOND, World::is_caught_up);
    assert!(!world.is_following(source));
}

#[test]
fn a_member_in_a_snapshot_for_two_minutes_is_a_lag_and_nothing_else() {
    let mut world = World::calm(1, |_| {});
    follows_and_keeps_up(&mut world);
    world.cluster.members[0].module_mut().unwrap().is_in_snapshot = true;
    world.pass(120 * SECOND);
    assert_eq!(world.standby.tap.status().sources_lost, 0);
    assert_eq!(world.standby.state(), TapState::Following);
    world.cluster.members[0].module_mut().unwrap().is_in_snapshot = false;
    follows_and_keeps_up(&mut world);
    assert_eq!(world.standby.tap.status().sources_lost, 0);
}

#[test]
fn a_member_cut_off_from_its_cluster_is_left_for_one_that_commits() {
    for source_type in [SourceType::Leader, SourceType::Follower] {
        let mut world = World::calm(3, |config| config.source_type = source_type);
        follows_and_keeps_up(&mut world);
        let source = world.standby.tap.status().source_member_id;
        world.cluster.members[source as usize].is_isolated = true;
        world.cluster.appends_per_mille = 20;
        world.until("another source", 60 * SECOND, |world| {
            world.standby.state() == TapState::Following && !world.is_following(source)
        });
        world.cluster.appends_per_mille = 0;
        world.until("caught up", SOON_NS, World::is_caught_up);
    }
}

#[test]
fn a_source_that_knows_no_leader_and_sends_nothing_is_left_for_another() {
    let mut world = World::calm(2, |_| {});
    follows_and_keeps_up(&mut world);
    let source = world.standby.tap.status().source_member_id;
    world.cluster.members[source as usize].policy.knows_no_leader = true;
    world.pass(20 * SECOND);
    assert!(world.is_following(source), "it may find one");
    world.until("another source", 60 * SECOND, |world| {
        world.standby.state() == TapState::Following && !world.is_following(source)
    });
    assert!(world.was_lost_for("knows no leader"));
    let lost = world.standby.tap.status().sources_lost;
    world.pass(120 * SECOND);
    assert_eq!(world.standby.tap.status().sources_lost, lost, "who knows one may be quiet for ever");
}

#[test]
fn nobody_is_followed_who_has_our_id_or_lists_us() {
    for (member_id, words) in [(0, "answers with the member_id 0"), (1, "it follows us")] {
        let mut world = World::calm(2, |config| {
            config.member_id = member_id;
            config.consensus_endpoints.truncate(1);
        });
        world.pass(SOON_NS);
        assert!(world.was_lost_for(words), "{member_id}");
        assert_eq!(world.standby.state(), TapState::BackupQuery);
    }
}

#[test]
fn a_source_tells_of_members_and_leaders_while_it_is_followed() {
    let mut world = World::calm(3, |config| config.source_type = SourceType::Follower);
    follows_and_keeps_up(&mut world);
    let leader = leader(&world);
    world.cluster.members[leader as usize].is_isolated = true;
    world
        .until("another leader", SOON_NS, |world| world.cluster.leader.is_some_and(|id| id as i32 != leader));
    world.pass(20 * SECOND);
    let now = world.standby.tap.status().leader_member_id;
    assert_ne!(now, leader);
    let last = world.standby.reports.iter().rev().find_map(|report| match report {
        TapReport::SourceChosen(source) | TapReport::SourceChanged(source) => Some(source.leader_member_id),
        _ => None,
    });
    assert_eq!(last, Some(now));
}

#[test]
fn a_whole_cluster_in_a_snapshot_for_two_minutes_is_a_lag_and_nothing_else() {
    let mut world = World::calm(3, |_| {});
    follows_and_keeps_up(&mut world);
    let set = |world: &mut World, is_in_snapshot| {
        let modules = world.cluster.members.iter_mut().map(|member| member.module_mut().unwrap());
        modules.for_each(|module| module.is_in_snapshot = is_in_snapshot);
    };
    set(&mut world, true);
    world.pass(120 * SECOND);
    assert!(matches!(world.standby.state(), TapState::Following | TapState::BackupQuery));
    set(&mut world, false);
    follows_and_keeps_up(&mut world);
}

#[test]
fn a_name_that_does_not_resolve_costs_a_turn_and_no_more() {
    let mut world = World::calm(2, |config| {
        config.consensus_endpoints.insert(0, "nowhere:1".parse().unwrap());
    });
    follows_and_keeps_up(&mut world);
    assert!(world.was_lost_for("does not resolve"));
}

#[test]
fn names_that_resolve_again_after_half_a_minute_are_enough() {
    for source_type in [SourceType::Any, SourceType::Leader, SourceType::Follower] {
        let mut world = World::calm(3, |config| config.source_type = source_type);
        world.standby.resolver_fails_per_mille = 1000;
        world.pass(30 * SECOND);
        assert_eq!(world.standby.state(), TapState::BackupQuery);
        assert!(world.was_lost_for("its name does not resolve"));
        world.standby.resolver_fails_per_mille = 0;
        follows_and_keeps_up(&mut world);
        // And while it is followed, nobody asks for names.
        world.standby.resolver_fails_per_mille = 1000;
        world.pass(60 * SECOND);
        follows_and_keeps_up(&mut world);
        assert_eq!(world.standby.tap.status().sources_lost, 0);
    }
}

#[test]
fn leaving_a_source_ends_its_replay_and_its_session_there() {
    let mut world = World::calm(1, |_| {});
    follows_and_keeps_up(&mut world);
    world.standby.tap.close(world.now_ns);
    world.pass(SECOND / 2);
    let archive = &world.cluster.members[0].node.as_ref().unwrap().archive;
    assert_eq!(archive.closed_count, 1);
    assert!(archive.sessions.is_empty() && archive.replays.is_empty());
    assert_eq!(archive.stopped_count, 1, "the replay was stopped, and did not die of neglect");
}

#[test]
fn a_consensus_module_that_restarts_while_the_archive_is_asked_bounds_no_replay_of_ours() {
    for is_led_at_once in [false, true] {
        let mut caught = 0;
        for step_count in 0..40 {
            let mut world = World::calm(1, |_| {});
            world.until("the log is open", SOON_NS, |world| world.standby.recorder.log.is_some());
            (0..step_count).for_each(|_| world.step());
            let committed_end = world.cluster.committed().end();
            let member = &mut world.cluster.members[0];
            member.stop_module();
            member.start_module();
            if is_led_at_once {
                member.module_mut().unwrap().lead(0);
                member.advance_commit(committed_end);
            }
            follows_and_keeps_up(&mut world);
            caught += world.invariants.unsafe_replays_granted();
        }
        assert!(caught > 0, "no restart fell between the member's word and the archive's");
    }
}

#[test]
fn a_recording_that_is_opened_late_is_not_taken_for_the_next_sources() {
    let mut world = World::calm(3, |_| {});
    cut_off_until_there_are_snapshots(&mut world);
    world.standby.opening_takes_ns = 20 * SECOND;
    world.until("a snapshot is being opened", SOON_NS, |world| world.standby.opening_count == 1);
    let source = world.standby.tap.status().source_member_id;
    world.cluster.kill(source as usize);
    world.until("the next one too", 40 * SECOND, |world| world.standby.opening_count == 2);
    world.standby.opening_takes_ns = 0;
    world.until("caught up", 60 * SECOND, World::is_caught_up);
}

#[test]
fn the_log_is_opened_once_when_its_source_dies_meanwhile() {
    let mut world = World::calm(3, |config| config.replay_start = ReplayStart::Beginning);
    world.standby.opening_takes_ns = 15 * SECOND;
    world.until("the log is being opened", SOON_NS, |world| world.standby.opening_count == 1);
    let source = world.standby.tap.status().source_member_id;
    world.cluster.kill(source as usize);
    world.until("caught up", 60 * SECOND, World::is_caught_up);
    assert_eq!(world.standby.opening_count, 1);
}

#[test]
fn no_snapshots_are_fetched_for_a_log_that_is_being_opened() {
    let mut world = World::calm(3, |_| {});
    world.standby.opening_takes_ns = 15 * SECOND;
    world.until("the log is being opened", SOON_NS, |world| world.standby.opening_count == 1);
    let source = world.standby.tap.status().source_member_id;
    grow(&mut world, 20_000);
    world.pass(SECOND);
    world.cluster.take_snapshots();
    world.cluster.kill(source as usize);
    world.until("caught up", 60 * SECOND, World::is_caught_up);
    assert!(world.standby.snapshot_set.is_none());
}

#[test]
fn a_full_disk_ends_in_failed() {
    let mut world = World::calm(1, |_| {});
    follows_and_keeps_up(&mut world);
    world.standby.recorder.is_disk_full = true;
    world.invariants.disk_is_full();
    world.cluster.appends_per_mille = 1000;
    world.until("failed", SOON_NS, |world| world.standby.state() == TapState::Failed);
}

#[test]
fn what_was_received_out_of_order_counts_as_received() {
    let mut world = World::calm(1, |_| {});
    follows_and_keeps_up(&mut world);
    let status = *world.standby.tap.status();
    assert_eq!(status.received_position, world.standby.recorder.end());
}

/// Lets the cluster live for a while without the standby, and take snapshots.
fn cut_off_until_there_are_snapshots(world: &mut World) {
    world.cut = world.cluster.members.iter().map(|member| member.address).collect();
    world.until("led", SOON_NS, |world| world.cluster.leader.is_some());
    grow(world, 150_000);
    world.pass(SECOND);
    world.cluster.take_snapshots();
    world.cut.clear();
    let config = world.standby.config.clone();
    world.standby = Standby::new(config, world.rng.clone(), world.now_ns);
}
