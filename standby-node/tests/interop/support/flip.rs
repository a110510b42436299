//! The flag, as an operator sets it when the members are gone, and what real Java makes of the log that was led then.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use super::audit_log::AuditLog;
use super::cluster::{Cluster, ClusterConfig};
use super::files::copy_directory;
use super::standby::{BINARY, Standby};

const MINUTE: Duration = Duration::from_secs(60);

/// Flags of a standby that may be activated without a hook, beside those of its own.
pub(crate) const MAY_LEAD: [&str; 4] = ["--fence", "none", "--ingress-endpoint", "localhost:0"];
/// Flags of a client that waits longer for another leader than any test takes.
pub(crate) const PATIENCE: [&str; 4] =
    ["--new-leader-timeout-ms", "120000", "--reconnect-after-ms", "120000"];
/// Exit code of an `activate` that was refused.
pub(crate) const REFUSED: i32 = 3;

/// `activate --wait`, to its end.
pub(crate) fn activate(standby: &Standby, flags: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    command.args(["activate", "--wait", "20", "--dir"]).arg(standby.dir()).args(flags);
    command.output().expect("the binary runs")
}

/// As [`activate`], again until the node believes that the members are dead; returns what it printed at last.
///
/// # Panics
/// If anything else speaks against it.
pub(crate) fn activate_when_silent(standby: &Standby, flags: &[&str]) -> String {
    let deadline = Instant::now() + MINUTE;
    loop {
        let flipped = activate(standby, flags);
        if flipped.status.success() {
            let printed = text(&flipped);
            println!("{printed}");
            return printed;
        }
        let refusals = text(&flipped);
        let mut refusals = refusals.lines().filter(|line| line.starts_with("refused, "));
        let is_silence_awaited = refusals.all(|line| line.starts_with("refused, member-living"));
        assert!(is_silence_awaited && flipped.status.code() == Some(REFUSED), "{flipped:?}");
        assert!(Instant::now() < deadline, "{flipped:?}\n{}", standby.output());
    }
}

/// Where the new term began, as `activate` printed it.
///
/// # Panics
/// If it did not.
pub(crate) fn base_log_position(printed: &str) -> i64 {
    let text = printed.split("from log position ").nth(1).and_then(|rest| rest.lines().next());
    text.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no base in: {printed}"))
}

/// Everything that a verb printed.
pub(crate) fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A Java cluster of one that starts on a copy of what a node left, which has ended in order.
pub(crate) fn java_cluster(standby: &Standby, test: &str) -> Cluster {
    let config = ClusterConfig::new(test, 1).flags(&["--keep-marks"]);
    let cluster = Cluster::start_on(config, |member: &Path| {
        copy_directory(standby.dir(), member);
        std::fs::remove_dir_all(member.join("aeron")).expect("the counters of the node that has ended");
    });
    cluster.await_leader(None, MINUTE);
    cluster
}

/// Has a Java cluster of one replay the log that a node left: at every position that both printed the lines are equal,
/// and when its own first term begins it stands where the node ended. Returns at how many positions both printed.
///
/// # Panics
/// At a difference.
pub(crate) fn expect_replayed_by_java(standby: &Standby, test: &str) -> usize {
    let ours = standby.audit_log();
    let last = *ours.lines.last().expect("it prints at its end");
    let java = java_cluster(standby, test);
    java.shutdown();
    let theirs = &java.audit_logs()[0];
    let common = common_positions(&ours, theirs);
    let first_new = theirs.lines.iter().find(|line| line.position > last.position);
    let first_new = first_new.unwrap_or_else(|| panic!("no new term behind {last:?}: {theirs:?}"));
    assert_eq!((first_new.count, first_new.hash), (last.count, last.hash), "{first_new:?}, {last:?}");
    println!("{test}: {} audited, lines at {common} positions equal", last.count);
    common
}

/// At how many positions both printed a line of one service.
///
/// # Panics
/// Where these differ.
pub(crate) fn common_positions(ours: &AuditLog, theirs: &AuditLog) -> usize {
    let mut positions = std::collections::BTreeSet::new();
    for our in &ours.lines {
        let is_there = |their: &&super::audit_log::AuditLine| {
            (their.service, their.position) == (our.service, our.position)
        };
        for their in theirs.lines.iter().filter(is_there) {
            let states = [(our.count, our.hash), (their.count, their.hash)];
            assert_eq!(states[0], states[1], "{} and {} at {}", ours.node, theirs.node, our.position);
            positions.insert((our.service, our.position));
        }
    }
    positions.len()
}
