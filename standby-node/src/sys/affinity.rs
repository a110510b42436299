//! Pinning the calling thread to a core.

use thiserror::Error;

/// The thread could not be pinned.
#[derive(Clone, Debug, Eq, PartialEq, Error)]
#[error(
    "core {core} is not available to this process; its cores are {available:?}: change the layout, or the cpuset"
)]
pub struct AffinityError {
    /// The core asked for.
    pub core: usize,
    /// What the calling thread may run on.
    pub available: Vec<usize>,
}

/// Pins the calling thread to `core`, numbered as in /proc/cpuinfo. Threads that it starts inherit this.
///
/// # Errors
///
/// When the host has no such core, or the process may not use it.
pub fn pin_current_thread(core: usize) -> Result<(), AffinityError> {
    let available = available_cores();
    // Asked before the call: a number beyond the kernel's mask would be out of its bounds.
    let pinned =
        available.contains(&core) && core_affinity::set_for_current(core_affinity::CoreId { id: core });
    if pinned { Ok(()) } else { Err(AffinityError { core, available }) }
}

/// Whether a thread that the calling one starts could be pinned to `core`.
///
/// # Errors
///
/// As [`pin_current_thread`].
pub fn check_core(core: usize) -> Result<(), AffinityError> {
    let available = available_cores();
    if available.contains(&core) { Ok(()) } else { Err(AffinityError { core, available }) }
}

/// The cores that the calling thread may run on: one after it was pinned. Empty when the system does not say.
pub fn available_cores() -> Vec<usize> {
    core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_may_only_run_on_its_core() {
        // On a thread of its own: the test's other threads must stay free.
        let cores = std::thread::spawn(|| {
            let last = *available_cores().last().unwrap();
            pin_current_thread(last).unwrap();
            (last, available_cores())
        });
        let (last, after) = cores.join().unwrap();
        assert_eq!(after, [last]);
    }

    #[test]
    fn a_core_that_does_not_exist_is_named_beside_those_that_do() {
        for core in [1023, 100_000, usize::MAX] {
            let error = pin_current_thread(core).unwrap_err();
            assert_eq!(check_core(core), Err(error.clone()));
            assert_eq!(error.core, core);
            assert_eq!(error.available, available_cores());
        }
    }
}
