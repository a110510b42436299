//! A member that lost its disk starts from a directory that the standby wrote, and does not replay history.

use std::process::Command;
use std::time::Duration;

use crate::support::agreement::end_and_compare;
use crate::support::client::send;
use crate::support::cluster::{Cluster, ClusterConfig};
use crate::support::standby::{BINARY, Standby};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_wiped_member_starts_from_a_seed_and_agrees() {
    if crate::support::skip() {
        return;
    }
    let cluster = Cluster::start(ClusterConfig::new("seed", 3).flags(&["--services", "2"]));
    send(&cluster, 1000);
    cluster.await_quiet(MINUTE);
    cluster.control("SNAPSHOT");
    let standby = Standby::follow(&cluster, "standby", &["--service", "audit", "--service", "audit"]);
    send(&cluster, 500);
    let position = cluster.await_quiet(MINUTE);
    standby.await_applied(position, MINUTE);

    let lost = cluster.follower().expect("a follower");
    let member = cluster.member(lost);
    member.kill();
    std::fs::remove_dir_all(member.dir()).expect("the member's disk");
    // The standby goes on following, and the cluster goes on without the member.
    let sent = std::thread::scope(|scope| {
        let sending = scope.spawn(|| send(&cluster, 500));
        let output = Command::new(BINARY)
            .args(["seed", "--json", "--services", "2", "--member-id", &lost.to_string()])
            .arg("--dir")
            .arg(standby.dir())
            .arg("--out")
            .arg(member.dir())
            .output()
            .expect("the binary runs");
        sending.join().expect("sent");
        output
    });
    assert!(sent.status.success(), "{sent:?}");
    let seeded: serde_json::Value = serde_json::from_slice(&sent.stdout).expect("seed prints JSON");
    println!("{seeded}");
    let snapshot_position = seeded["snapshot_position"].as_i64().expect("a snapshot");

    // The same over the network, from what the standby serves.
    let position = cluster.await_quiet(MINUTE);
    standby.await_applied(position, MINUTE);
    let (output, fetched) = (standby.output(), cluster.scratch().data("fetched"));
    let endpoint = output.split("archive_addr=").nth(1).and_then(|rest| rest.split_whitespace().next());
    let from = Command::new(BINARY)
        .args(["seed", "--json", "--services", "2", "--wait", "60", "--host", "localhost"])
        .args([
            "--member-id",
            &lost.to_string(),
            "--from",
            endpoint.expect("the address in the log"),
            "--out",
        ])
        .arg(&fetched)
        .output()
        .expect("the binary runs");
    assert!(from.status.success(), "{from:?}");
    let from: serde_json::Value = serde_json::from_slice(&from.stdout).expect("seed prints JSON");
    println!("{from}");
    assert_eq!(from["snapshot_position"], seeded["snapshot_position"]);
    assert!(from["log_end_position"].as_i64() >= Some(position), "{from}, quiet at {position}");
    // The member starts from what came over the network.
    std::fs::remove_dir_all(member.dir()).expect("the first seed");
    std::fs::rename(&fetched, member.dir()).expect("one file system");

    let lines_before = member.lines().len();
    member.restart();
    let first = member.lines()[lines_before..]
        .iter()
        .find_map(|line| crate::support::audit_log::AuditLine::parse(line))
        .expect("a service prints at its start");
    assert_eq!(first.position, snapshot_position, "it starts from the snapshot, not from the beginning");
    send(&cluster, 300);
    cluster.await_quiet(MINUTE);
    let report = end_and_compare(&cluster, &[&standby]);
    println!("{report:?}");
}
