//! Standbys that are told to lead while their cluster dies, they crash, and the network fails them, in
//! virtual time. One seed decides everything.
//!
//! Faults come first; then everything heals, and what operators ask for must come to an end.
//! `STANDBY_SIM_SEEDS` sets how many seeds run (1,000 if not set), `STANDBY_SIM_SEED` runs one and prints a
//! line per event.

#[path = "transport/rng.rs"]
#[expect(dead_code, reason = "other simulations need more of it")]
mod rng;
#[path = "transport/seeds.rs"]
mod seeds;
mod transition;

use seeds::run_seeds;
use transition::scenarios;
use transition::world::{Seen, World};

#[test]
fn of_standbys_that_hear_each_other_one_leads_and_nothing_is_served_that_a_crash_would_forget() {
    let mut seen = Seen::default();
    let is_enough = run_seeds(1000, |seed, is_alone| seen.add(&World::random(seed, is_alone).run().seen));
    println!("{seen:#?}");
    if is_enough {
        seen.assert_that_all_happened();
    }
}

#[test]
fn the_second_standby_may_be_flagged_killed_and_restarted_at_every_step_of_the_first() {
    let step_count = scenarios::steps_of_an_activation();
    assert!(step_count > 10, "an activation took {step_count} steps");
    for step in 0..step_count + 5 {
        scenarios::second_is_flagged(step);
        scenarios::second_is_killed_and_restarted(step);
        scenarios::second_is_killed_and_flagged_after_its_restart(step);
    }
}

#[test]
fn the_first_standby_may_be_killed_at_every_step_and_the_second_flagged_meanwhile() {
    for step in 0..scenarios::steps_of_an_activation() + 5 {
        scenarios::first_is_killed_and_restarted(step);
        scenarios::first_is_killed_and_second_is_flagged(step);
    }
}

#[test]
fn of_two_that_are_flagged_at_once_one_wins_and_the_other_follows() {
    for skew_steps in 0..scenarios::steps_of_an_activation() {
        scenarios::both_are_flagged(skew_steps);
    }
}

#[test]
fn a_leader_that_was_restarted_is_not_overtaken_by_who_promised_not_to_lead() {
    for steps_after_restart in 0..scenarios::steps_of_an_activation() * 2 + 20 {
        for first in [0, 1] {
            scenarios::first_leads_again_whenever_second_is_flagged(first, steps_after_restart);
        }
    }
}

#[test]
fn what_another_standby_has_more_is_taken_before_the_fence_is_run() {
    let steps =
        (0..scenarios::steps_of_an_activation()).take_while(|step| scenarios::second_has_got_more(*step));
    let count = steps.count();
    assert!(count > 2, "the second promises {count} steps after the flag");
}

#[test]
fn a_node_that_began_a_cluster_leads_again_unless_another_one_took_over() {
    for step in 0..40 {
        scenarios::who_began_a_cluster_is_killed_and_restarted(step);
    }
    scenarios::who_began_a_cluster_comes_back_too_late();
}

#[test]
fn a_cluster_begins_once_and_not_while_another_standby_has_one_or_cannot_be_asked() {
    for skew_ms in [0, 5, 20, 100, 1_900, 2_500] {
        scenarios::two_are_to_begin(skew_ms);
    }
    for other_leads in [false, true] {
        scenarios::who_lost_its_disk_begins_nothing(other_leads);
    }
}

#[test]
fn a_longer_log_of_an_older_term_is_not_ahead() {
    for first_is_back_before_ms in [0, 100, 3_000] {
        scenarios::a_deposed_leader_has_the_longer_log(first_is_back_before_ms);
    }
}

#[test]
fn two_that_were_forced_apart_are_one_soon_after_they_meet() {
    scenarios::forced_apart();
}
