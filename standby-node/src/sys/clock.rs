//! The two clocks: one to measure with, one to stamp with.

use std::time::SystemTime;

/// Nanoseconds of CLOCK_MONOTONIC: since boot, never set back, and the same for every process of this host,
/// so that stamps of different processes can be compared.
pub fn monotonic_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec that lives across the call, which only writes to it.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    assert_eq!(result, 0, "every Linux has CLOCK_MONOTONIC");
    // Neither field is ever negative: this clock counts up from 0 at boot.
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Milliseconds since 1970 in UTC, as Aeron stamps its files and heartbeats. It may jump when the host's
/// clock is set; a clock set to before 1970 reads as 0.
pub fn epoch_ms() -> i64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |elapsed| i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
}

/// Nanoseconds since 1970 in UTC, under the same conditions.
pub fn epoch_ns() -> i64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |elapsed| i64::try_from(elapsed.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn advances_as_the_standard_clock_does() {
        let (start_ns, start) = (monotonic_ns(), Instant::now());
        std::thread::sleep(Duration::from_millis(20));
        let (elapsed, expected) = (monotonic_ns() - start_ns, start.elapsed().as_nanos() as u64);
        assert!(elapsed.abs_diff(expected) < 15_000_000, "{elapsed} ns against {expected} ns");
    }

    #[test]
    fn counts_from_boot_so_that_processes_agree() {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let uptime_s: f64 = uptime.split_whitespace().next().unwrap().parse().unwrap();
        // A container's /proc may count from its own start: then only the lower bound holds.
        assert!(monotonic_ns() as f64 / 1e9 > uptime_s - 5.0);
    }

    #[test]
    fn epoch_is_in_milliseconds() {
        assert!((1_600_000_000_000..10_000_000_000_000).contains(&epoch_ms()));
        assert!((epoch_ns() / 1_000_000 - epoch_ms()).abs() < 60_000);
    }
}
