//! The seeds of a simulation: how many are run, and how one is run alone.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// So many seeds meet every fault there is.
const ENOUGH: u64 = 100;

/// Runs each seed from 0 on: `STANDBY_SIM_SEEDS` of them, or `default_count`. `STANDBY_SIM_SEED` runs one alone, of
/// which `run` is told, so that it may say more. Returns whether so many were run that all that can happen must have.
///
/// # Panics
/// As `run` does, behind a line that names the seed.
pub(crate) fn run_seeds(default_count: u64, mut run: impl FnMut(u64, bool)) -> bool {
    if let Some(seed) = number_from_environment("STANDBY_SIM_SEED") {
        run(seed, true);
        return false;
    }
    let seed_count = number_from_environment("STANDBY_SIM_SEEDS").unwrap_or(default_count);
    for seed in 0..seed_count {
        if let Err(failure) = catch_unwind(AssertUnwindSafe(|| run(seed, false))) {
            eprintln!("seed {seed} failed; STANDBY_SIM_SEED={seed} runs it alone");
            std::panic::resume_unwind(failure);
        }
    }
    seed_count >= ENOUGH
}

fn number_from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}
