//! A tap and a cluster over a bad network, in virtual time. One seed decides everything: the members, what
//! they append and commit, who dies and when, and what the network loses.
//!
//! Faults come first; then everything heals, and the standby must have what the cluster committed, or say rightly
//! why it cannot. `STANDBY_SIM_SEEDS` sets how many seeds run (300 if not set), `STANDBY_SIM_SEED` runs one
//! and prints a line per event.

#[path = "transport/network.rs"]
mod network;
#[path = "transport/rng.rs"]
mod rng;
mod tap;

use std::panic::{AssertUnwindSafe, catch_unwind};
use tap::world::{Seen, World};

#[test]
fn what_is_recorded_is_what_was_committed_whatever_the_cluster_does() {
    if let Some(seed) = number_from_environment("STANDBY_SIM_SEED") {
        let world = World::new(seed, true).run();
        println!("{}", world.describe());
        return;
    }
    let seed_count = number_from_environment("STANDBY_SIM_SEEDS").unwrap_or(300);
    let mut seen = Seen::default();
    for seed in 0..seed_count {
        match catch_unwind(AssertUnwindSafe(|| World::new(seed, false).run())) {
            Ok(world) => seen.add(&world),
            Err(failure) => {
                eprintln!("seed {seed} failed; STANDBY_SIM_SEED={seed} runs it alone, with a trace");
                std::panic::resume_unwind(failure);
            }
        }
    }
    println!("{seen:#?}");
    if seed_count >= 100 {
        seen.assert_that_all_happened();
    }
}

fn number_from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}
