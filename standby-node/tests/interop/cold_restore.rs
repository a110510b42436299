//! A new cluster, and a node of ours, start from copies of a standby's directory: nothing else is left of the old one.

use std::path::Path;
use std::time::Duration;

use crate::support::agreement::{compare_with_members, last_position};
use crate::support::client::send;
use crate::support::cluster::{Cluster, ClusterConfig};
use crate::support::files::copy_directory;
use crate::support::standby::Standby;

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_cluster_of_one_starts_from_the_directory_of_a_stopped_standby() {
    restore("cold_restore_one", 1, Ending::Stopped);
}

#[test]
fn a_cluster_of_three_and_a_standby_start_from_the_directory_of_a_killed_standby() {
    restore("cold_restore_three", 3, Ending::Killed);
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Ending {
    Stopped,
    Killed,
}

/// A cluster takes a snapshot, goes on, and is lost; another of `members` members goes on from the standby's files.
fn restore(test: &str, members: u16, ending: Ending) {
    if crate::support::skip() {
        return;
    }
    let old = Cluster::start(ClusterConfig::new(&format!("{test}_old"), 1));
    send(&old, 500);
    old.await_quiet(MINUTE);
    old.control("SNAPSHOT");
    // Joins by the snapshot, so that its own directory holds a set.
    let standby = Standby::follow(&old, "standby", &[]);
    send(&old, 500);
    let position = old.await_quiet(MINUTE);
    standby.await_applied(position, MINUTE);
    old.member(0).kill();
    match ending {
        Ending::Stopped => standby.stop(),
        Ending::Killed => standby.kill(),
    }
    let before = standby.audit_log();

    // Our own node first: what it prints at the end of the log is what the new members must print there.
    let copy = old.scratch().data("copy");
    copy_directory(standby.dir(), &copy);
    // Its counters would speak for the node that is gone.
    std::fs::remove_dir_all(copy.join("aeron")).expect("the copy's cnc.dat");
    let nobody = format!("localhost:{}", old.base_port());
    let ours = Standby::start(old.scratch(), "copy", &nobody, &[]);
    // Figures of services are shown twenty times a second, the position at once.
    ours.await_applied(position, MINUTE);
    std::thread::sleep(Duration::from_millis(200));
    let status = ours.await_status("with figures", MINUTE, |status| {
        status["services"][0]["count"].as_i64().is_some_and(|count| count >= 1000)
    });
    let state_at_end = state(&status["services"][0]);
    ours.stop();
    let mut expected = ours.audit_log();
    expected.lines.extend(before.lines.iter().copied());

    let config = ClusterConfig::new(test, members);
    let config = match ending {
        // Nobody touches our mark files before the consensus module and the archive take them over.
        Ending::Stopped => config.flags(&["--keep-marks"]),
        // Aeron would wait until they are ten seconds old; the members release them, as after a kill of their own.
        Ending::Killed => config,
    };
    let restored = Cluster::start_on(config, |member_dir: &Path| {
        copy_directory(standby.dir(), member_dir);
    });
    restored.await_leader(None, MINUTE);
    let following = Standby::follow(&restored, "standby", &[]);
    send(&restored, 300);
    let end = restored.await_quiet(MINUTE);
    assert!(end > position, "the new cluster goes on: {position} to {end}");
    following.await_applied(end, MINUTE);
    restored.shutdown();
    let logs = restored.audit_logs();
    let end = last_position(&logs);
    following.await_applied(end, MINUTE);
    following.stop();
    let report = compare_with_members(&logs, following.audit_log());
    println!("{report:?}");
    // Members start from the old snapshot and replay: at every position that both printed they agree, and when the
    // first new term begins each of them holds what the standby held at the old end.
    for log in &logs {
        let common = common_states(&expected.lines, &log.lines);
        println!("{}: {common} positions in common with the standby before", log.node);
        assert!(common >= 1, "{}: none of {:?} is among {:?}", log.node, expected.lines, log.lines);
        let first_new = log.lines.iter().find(|line| line.position > position).expect("a new term");
        assert_eq!((first_new.count, format!("{:016x}", first_new.hash)), state_at_end, "{}", log.node);
    }
}

/// Count and hash in the status of an `audit`.
fn state(service: &serde_json::Value) -> (i64, String) {
    let (count, hash) = (service["count"].as_i64(), service["hash"].as_str());
    (count.expect("a count"), hash.expect("a hash").to_owned())
}

/// At how many positions both printed a line.
///
/// # Panics
/// Where these differ.
fn common_states(
    ours: &[crate::support::audit_log::AuditLine],
    theirs: &[crate::support::audit_log::AuditLine],
) -> usize {
    let mut positions = std::collections::BTreeSet::new();
    for our in ours {
        for their in theirs.iter().filter(|line| (line.service, line.position) == (our.service, our.position))
        {
            assert_eq!((our.count, our.hash), (their.count, their.hash), "at position {}", our.position);
            positions.insert(our.position);
        }
    }
    positions.len()
}
