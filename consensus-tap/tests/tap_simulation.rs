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
#[path = "transport/seeds.rs"]
mod seeds;
mod tap;

use seeds::run_seeds;
use tap::world::{Seen, World};

#[test]
fn what_is_recorded_is_what_was_committed_whatever_the_cluster_does() {
    let mut seen = Seen::default();
    let is_enough = run_seeds(300, |seed, is_alone| {
        let world = World::new(seed, is_alone).run();
        if is_alone {
            println!("{}", world.describe());
        }
        seen.add(&world);
    });
    println!("{seen:#?}");
    if is_enough {
        seen.assert_that_all_happened();
    }
}
