//! The end of a test: all nodes at one position, and compared.

use std::thread;
use std::time::{Duration, Instant};

use super::audit_log::{self, AuditLog, Report};
use super::cluster::{Cluster, await_some};
use super::standby::Standby;

const TIMEOUT: Duration = Duration::from_secs(60);

/// Takes a last snapshot, ends the standby where every member stands, and compares all of them.
///
/// # Panics
/// If a member or the standby does not get there, or if they differ.
pub(crate) fn expect_equal(cluster: &Cluster, standby: &Standby) -> Report {
    let position = stand_still(cluster);
    standby.await_applied(position, TIMEOUT);
    standby.stop();
    let mut logs = cluster.audit_logs();
    logs.push(standby.audit_log());
    let report = audit_log::compare(&logs).unwrap_or_else(|error| panic!("{error}\n{}", standby.output()));
    assert_eq!(report.last_position, position, "the standby ended elsewhere");
    report
}

/// Takes snapshots until every running member printed its state at the end of the log; returns that position. A
/// session that times out meanwhile, or a timer, makes one more necessary.
pub(crate) fn stand_still(cluster: &Cluster) -> i64 {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        cluster.await_quiet(TIMEOUT);
        cluster.control("SNAPSHOT");
        let position = cluster.await_quiet(TIMEOUT);
        let printed = || {
            let running = cluster.members().iter().filter(|member| member.is_running());
            let mut logs = running.map(|member| member.audit_log());
            logs.all(|log| last_position(&log) == Some(position))
        };
        for _ in 0..100 {
            if printed() {
                return position;
            }
            thread::sleep(Duration::from_millis(20));
        }
        assert!(Instant::now() < deadline, "the members do not stand still");
    }
}

/// Waits until the standby has applied at least `bytes` more than now.
///
/// # Panics
/// If it does not within the time.
pub(crate) fn expect_progress(standby: &Standby, bytes: i64, timeout: Duration) {
    let from = standby.number("applied_position").max(0);
    standby.await_applied(from + bytes, timeout);
}

/// Waits until the standby follows a member that `accept` takes; returns its id.
///
/// # Panics
/// If it does not within the time.
pub(crate) fn await_source(standby: &Standby, timeout: Duration, accept: impl Fn(i64) -> bool) -> u16 {
    let status = standby.await_status("following such a source", timeout, |status| {
        status["state"] == "FOLLOWING"
            && status["source_member_id"].as_i64().is_some_and(|id| id >= 0 && accept(id))
    });
    let id = status["source_member_id"].as_i64().expect("checked above");
    u16::try_from(id).expect("member ids are small")
}

/// Waits until the running members' commit position is at least `bytes` above what it is now.
///
/// # Panics
/// If it does not rise within the time.
pub(crate) fn await_load(cluster: &Cluster, bytes: i64, timeout: Duration) {
    let newest = || cluster.members().iter().map(|member| member.commit_position()).max().unwrap_or(0);
    let from = newest();
    await_some("load on the cluster", timeout, || (newest() >= from + bytes).then_some(()));
}

/// The number behind `key` in the newest line with `text` of a standby's output.
///
/// # Panics
/// If there is none.
pub(crate) fn newest_number(output: &str, text: &str, key: &str) -> i64 {
    let line = output.lines().rev().find(|line| line.contains(text));
    let value = line.and_then(|line| line.split_whitespace().find_map(|word| word.strip_prefix(key)));
    let number = value.and_then(|value| value.parse().ok());
    number.unwrap_or_else(|| panic!("no line with {text} and {key} in:\n{output}"))
}

fn last_position(log: &AuditLog) -> Option<i64> {
    log.lines.last().map(|line| line.position)
}
