//! Two standbys whose cluster is gone, step by step.

use consensus_tap::transition::{Check, ForcedChecks, TransitionState};

use super::node::{Disk, MS};
use super::world::{STEP_NS, World};

const FIRST: usize = 0;
const SECOND: usize = 1;
const SETTLED_NS: u64 = 8_000 * MS;

/// How many steps the first standby takes from the flag to leading when nothing disturbs it.
pub(crate) fn steps_of_an_activation() -> u64 {
    let mut world = World::quiet();
    assert!(world.flag(FIRST, ForcedChecks::NONE));
    for steps in 0..1_000 {
        if world.state(FIRST) == Some(TransitionState::Active) {
            return steps;
        }
        world.step();
    }
    panic!("the first standby does not lead after five seconds: {world:#?}");
}

fn after_steps(steps: u64) -> World {
    let mut world = World::quiet();
    assert!(world.flag(FIRST, ForcedChecks::NONE));
    world.run_until(world.now_ns + steps * STEP_NS);
    world
}

/// Nobody is left to tell a node that was restarted how far the log had reached.
fn without_a_source() -> ForcedChecks {
    ForcedChecks::NONE.with(Check::PositionUnknown)
}

fn settle(world: &mut World) {
    world.run_until(world.now_ns + SETTLED_NS);
}

fn assert_that_one_leads(world: &World, what: &str) {
    let leading = world.leading();
    assert_eq!(leading.len(), 1, "{what}: {world:#?}");
    let follower = 1 - leading[0].0;
    // Whoever does not lead follows who does, from its own end.
    let follows = world.nodes[follower].running.as_ref().is_some_and(|running| {
        running.transition.state() == TransitionState::Following
            && running.source == Some(world.nodes[leading[0].0].id)
    });
    assert!(follows, "{what}: {world:#?}");
}

pub(crate) fn second_is_flagged(step: u64) {
    let mut world = after_steps(step);
    world.flag(SECOND, ForcedChecks::NONE);
    settle(&mut world);
    assert_that_one_leads(&world, &format!("second flagged at step {step}"));
}

pub(crate) fn second_is_killed_and_restarted(step: u64) {
    let mut world = after_steps(step);
    world.kill(SECOND, 200 * MS);
    settle(&mut world);
    assert_that_one_leads(&world, &format!("second killed at step {step}"));
}

pub(crate) fn second_is_killed_and_flagged_after_its_restart(step: u64) {
    let mut world = after_steps(step);
    world.kill(SECOND, 200 * MS);
    world.run_until(world.now_ns + 400 * MS);
    world.flag(SECOND, without_a_source());
    settle(&mut world);
    assert_that_one_leads(&world, &format!("second killed at step {step}, then flagged"));
}

/// Before the decision it follows again, after it it leads again by itself.
pub(crate) fn first_is_killed_and_restarted(step: u64) {
    let mut world = after_steps(step);
    world.kill(FIRST, 300 * MS);
    let had_decided = world.nodes[FIRST].disk.led.is_some();
    settle(&mut world);
    let leads = world.leading().iter().any(|(index, serving)| *index == FIRST && serving.was_resumed);
    assert_eq!(leads, had_decided, "first killed at step {step}: {world:#?}");
    if !had_decided {
        assert_eq!(world.state(FIRST), Some(TransitionState::Following));
        assert!(world.flag(FIRST, without_a_source()));
        settle(&mut world);
        assert_that_one_leads(&world, &format!("first killed at step {step}, then flagged again"));
    }
}

/// Whatever the second has promised it keeps until the first is back.
pub(crate) fn first_is_killed_and_second_is_flagged(step: u64) {
    let mut world = after_steps(step);
    world.kill(FIRST, 4_000 * MS);
    world.run_until(world.now_ns + 1_500 * MS);
    world.flag(SECOND, ForcedChecks::NONE);
    world.run_until(world.now_ns + 2_000 * MS);
    assert!(world.leading().is_empty(), "step {step}: nobody leads without having asked the other");
    settle(&mut world);
    if world.leading().is_empty() {
        assert!(world.flag(SECOND, ForcedChecks::NONE));
        settle(&mut world);
    }
    assert_that_one_leads(&world, &format!("first killed at step {step}, second flagged"));
}

/// Whoever has promised does not lead, whenever it is asked between a restart of who was decided to lead and the
/// moment at which that one leads again.
pub(crate) fn first_leads_again_whenever_second_is_flagged(first: usize, steps_after_restart: u64) {
    let second = 1 - first;
    let mut world = World::quiet();
    assert!(world.flag(first, ForcedChecks::NONE));
    world.run_until(world.now_ns + 2_000 * MS);
    assert_eq!(world.leading().len(), 1);
    world.kill(first, 300 * MS);
    world.run_until(world.now_ns + 300 * MS + steps_after_restart * STEP_NS);
    world.flag(second, ForcedChecks::NONE);
    settle(&mut world);
    let what = format!("standby {first} restarted, the other flagged {steps_after_restart} steps later");
    assert_that_one_leads(&world, &what);
    assert_eq!(world.leading()[0].0, first, "{what}: {world:#?}");
}

/// The last bytes of the cluster came to the second, and nobody had heard of them when the first was flagged:
/// the first takes them before it leads, and runs its fence once. Returns false when the second had promised by
/// then: what it promises it tells with where its log ends, and a cluster that is gone sends no more.
pub(crate) fn second_has_got_more(step: u64) -> bool {
    let mut world = after_steps(step);
    if world.nodes[SECOND].disk.grant.is_some() {
        return false;
    }
    let end = world.nodes[SECOND].disk.log_end + 10_000;
    world.nodes[SECOND].disk.log_end = end;
    settle(&mut world);
    let what = format!("the second got more at step {step}");
    assert_that_one_leads(&world, &what);
    assert_eq!(world.leading()[0].0, FIRST, "{what}: {world:#?}");
    assert!(world.leading()[0].1.base >= end, "{what}: {world:#?}");
    assert_eq!(world.seen.fences, 1, "{what}");
    true
}

/// A node that began a cluster is killed; it leads again by itself, wherever that was.
pub(crate) fn who_began_a_cluster_is_killed_and_restarted(step: u64) {
    let mut world = World::beginning();
    world.run_until(step * STEP_NS);
    world.kill(FIRST, 300 * MS);
    settle(&mut world);
    let what = format!("killed {step} steps after it began a cluster");
    assert_that_one_leads(&world, &what);
    assert_eq!(world.leading()[0].0, FIRST, "{what}");
}

/// A node that began a cluster comes back when another one has taken over.
pub(crate) fn who_began_a_cluster_comes_back_too_late() {
    let mut world = World::beginning();
    world.run_until(2_000 * MS);
    assert_eq!(world.leading().len(), 1, "{world:#?}");
    world.kill(FIRST, 6_000 * MS);
    world.run_until(world.now_ns + 1_500 * MS);
    assert!(world.flag(SECOND, without_a_source()));
    world.run_until(world.now_ns + 2_500 * MS);
    assert!(world.leading().is_empty(), "it promised not to, and the other cannot be asked");
    let forced = without_a_source().with(Check::StandbyUnreachable).with(Check::Granted);
    assert!(world.flag(SECOND, forced));
    settle(&mut world);
    assert_eq!(world.leading().iter().map(|(index, _)| *index).collect::<Vec<_>>(), [SECOND]);
    assert_eq!(world.state(FIRST), Some(TransitionState::Fenced), "{world:#?}");
    assert!(world.nodes[FIRST].disk.led.is_some_and(|led| led.is_fenced));
}

/// Who led an older term has the longer log, of which the newer one knows nothing: it is not for that the one to
/// lead, whichever of the two is back first.
pub(crate) fn a_deposed_leader_has_the_longer_log(first_is_back_before_ms: u64) {
    let mut world = World::quiet();
    assert!(world.flag(FIRST, ForcedChecks::NONE));
    world.run_until(world.now_ns + 2_000 * MS);
    assert_eq!(world.leading()[0].0, FIRST);
    world.kill(FIRST, 60_000 * MS);
    world.nodes[FIRST].disk.log_end += 1_000_000;
    world.run_until(world.now_ns + 1_500 * MS);
    let forced = without_a_source().with(Check::StandbyUnreachable).with(Check::Granted);
    assert!(world.flag(SECOND, forced));
    world.run_until(world.now_ns + 2_000 * MS);
    assert_eq!(world.leading()[0].0, SECOND, "{world:#?}");
    let newer_term = world.nodes[SECOND].disk.term;
    world.kill(SECOND, (200 + first_is_back_before_ms) * MS);
    world.nodes[FIRST].restart_at_ns = Some(world.now_ns + 200 * MS);
    settle(&mut world);
    settle(&mut world);
    let what =
        format!("the older leader is back {first_is_back_before_ms} ms before the newer one: {world:#?}");
    assert!(world.nodes[FIRST].disk.log_end > world.nodes[SECOND].disk.log_end, "{what}");
    assert_eq!(world.leading().iter().map(|(index, _)| *index).collect::<Vec<_>>(), [SECOND], "{what}");
    assert!(world.leading()[0].1.term > newer_term, "{what}");
    assert_eq!(world.state(FIRST), Some(TransitionState::Fenced), "{what}");
}

/// Of two that are to begin a cluster each one does, and the other follows; neither while they cannot ask each other.
pub(crate) fn two_are_to_begin(skew_ms: u64) {
    let mut world = World::beginning();
    world.nodes[SECOND].begins_cluster = true;
    world.nodes[SECOND].restart_at_ns = Some(skew_ms * MS);
    world.cut.push((FIRST, SECOND));
    world.run_until(6_000 * MS);
    assert!(world.leading().is_empty(), "{world:#?}");
    world.cut.clear();
    settle(&mut world);
    let what = format!("{skew_ms} ms apart");
    assert_eq!(world.leading().len(), 1, "{what}: {world:#?}");
    assert_eq!(world.seen.began, 1, "{what}");
}

/// A node whose disk was lost is told to begin a cluster, though another one leads that, or has all of it.
pub(crate) fn who_lost_its_disk_begins_nothing(other_leads: bool) {
    let mut world = World::beginning();
    world.run_until(2_000 * MS);
    assert_eq!(world.leading()[0].0, FIRST);
    world.kill(FIRST, 8_000 * MS);
    world.nodes[SECOND].disk.log_end = 4096;
    world.nodes[SECOND].disk.term = 0;
    if other_leads {
        world.run_until(world.now_ns + 1_500 * MS);
        let forced = without_a_source().with(Check::StandbyUnreachable).with(Check::Granted);
        assert!(world.flag(SECOND, forced));
        world.run_until(world.now_ns + 2_000 * MS);
        assert_eq!(world.leading()[0].0, SECOND);
    }
    world.nodes[FIRST].disk = Disk { term: -1, ..Disk::default() };
    world.nodes[FIRST].restart_at_ns = Some(world.now_ns);
    settle(&mut world);
    assert_eq!(world.seen.began, 1, "only the first time: {world:#?}");
    assert!(world.leading().iter().all(|(index, _)| *index == SECOND), "{world:#?}");
}

pub(crate) fn both_are_flagged(skew_steps: u64) {
    let mut world = after_steps(skew_steps);
    world.flag(SECOND, ForcedChecks::NONE);
    settle(&mut world);
    assert_that_one_leads(&world, &format!("both flagged, {skew_steps} steps apart"));
    // The other way round: who has the greater id first.
    let mut world = World::quiet();
    world.flag(SECOND, ForcedChecks::NONE);
    world.run_until(world.now_ns + skew_steps * STEP_NS);
    world.flag(FIRST, ForcedChecks::NONE);
    settle(&mut world);
    assert_that_one_leads(&world, &format!("both flagged, the second {skew_steps} steps before"));
}

pub(crate) fn forced_apart() {
    let mut world = World::quiet();
    world.cut.push((FIRST, SECOND));
    world.run_until(world.now_ns + 1_500 * MS);
    let forced = ForcedChecks::NONE.with(Check::StandbyUnreachable);
    world.flag(FIRST, forced);
    world.flag(SECOND, forced);
    world.run_until(world.now_ns + 1_000 * MS);
    assert_eq!(world.leading().len(), 2, "operators said so: {world:#?}");
    world.cut.clear();
    world.run_until(world.now_ns + 1_000 * MS);
    let leading = world.leading();
    assert_eq!(leading.len(), 1);
    assert_eq!(leading[0].0, SECOND, "its place among standbys gives it the newer term");
    assert!(world.nodes[FIRST].disk.led.is_some_and(|led| led.is_fenced));
}
