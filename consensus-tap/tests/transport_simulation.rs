//! Two endpoints over a bad network, in virtual time. One seed decides everything: the geometry of the
//! streams, the messages, the faults.
//!
//! Faults come first; then the network heals, and everything must converge. `STANDBY_SIM_SEEDS` sets how
//! many seeds run (1,000 if not set), `STANDBY_SIM_SEED` runs one and prints a line per datagram.

mod transport;

use std::panic::{AssertUnwindSafe, catch_unwind};
use transport::world::World;

#[test]
fn what_is_received_is_what_was_sent_whatever_the_network_does() {
    if let Some(seed) = number_from_environment("STANDBY_SIM_SEED") {
        World::new(seed, true).run();
        return;
    }
    let seed_count = number_from_environment("STANDBY_SIM_SEEDS").unwrap_or(1_000);
    let mut seen = transport::world::Seen::default();
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
