//! Two endpoints over a bad network, in virtual time. One seed decides everything: the geometry of the
//! streams, the messages, the faults.
//!
//! Faults come first; then the network heals, and everything must converge. `STANDBY_SIM_SEEDS` sets how
//! many seeds run (1,000 if not set), `STANDBY_SIM_SEED` runs one and prints a line per datagram.

mod transport;

use transport::seeds::run_seeds;
use transport::world::World;

#[test]
fn what_is_received_is_what_was_sent_whatever_the_network_does() {
    let mut seen = transport::world::Seen::default();
    let is_enough = run_seeds(1_000, |seed, is_alone| seen.add(&World::new(seed, is_alone).run()));
    println!("{seen:#?}");
    if is_enough {
        seen.assert_that_all_happened();
    }
}
