//! The Java side alone: that a cluster starts, serves, snapshots, survives and agrees with itself.

use std::time::Duration;

use crate::support::audit_log::compare;
use crate::support::client::Client;
use crate::support::cluster::{Cluster, ClusterConfig};
use crate::support::faults::Faults;
use crate::support::relay::{Direction, Relay};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn three_members_agree_after_messages_a_snapshot_and_a_shutdown() {
    if crate::support::skip() {
        return;
    }
    let cluster = Cluster::start(ClusterConfig::new("three_members_agree", 3).flags(&["--services", "2"]));
    let flags = [
        "--services",
        "2",
        "--count",
        "2000",
        "--size-max",
        "3000",
        "--timer-share",
        "0.05",
        "--service-share",
        "0.05",
        "--churn",
        "100",
    ];
    let client = Client::spawn(&cluster, &flags);
    client.wait(MINUTE).expect_all_replied();
    cluster.control("SNAPSHOT");
    cluster.shutdown();

    let report = compare(&cluster.audit_logs()).unwrap();
    assert!(report.common_positions_min >= 3, "{report:?}");
    assert!(report.last_position > 2000 * 96, "{report:?}");
}

#[test]
fn a_killed_leader_is_replaced_and_comes_back_equal() {
    if crate::support::skip() {
        return;
    }
    let cluster = Cluster::start(ClusterConfig::new("a_killed_leader", 3));
    let client = Client::spawn(&cluster, &["--interactive", "--resend"]);
    client.send(500, 0.0, MINUTE).expect_all_replied();

    let killed = cluster.await_leader(None, MINUTE);
    cluster.member(killed).kill();
    let leader = cluster.await_leader(Some(killed), MINUTE);
    assert_ne!(leader, killed);
    client.send(500, 0.0, MINUTE).expect_all_replied();

    cluster.member(killed).restart();
    cluster.await_quiet(MINUTE);
    cluster.control("SNAPSHOT");
    cluster.shutdown();
    compare(&cluster.audit_logs()).unwrap();
}

#[test]
fn one_member_serves_a_client_through_a_lossy_relay() {
    if crate::support::skip() {
        return;
    }
    let cluster = Cluster::start(ClusterConfig::new("one_member_lossy", 1));
    let relay = Relay::to(&cluster.member(0).ingress_endpoint(), 7);
    let faults = Faults {
        loss: 0.05,
        duplication: 0.05,
        reordering: 0.05,
        reorder_delay: Duration::from_millis(2),
        ..Faults::default()
    };
    relay.set_faults(Direction::ToTarget, faults);
    let endpoints = format!("0={}", relay.endpoint());
    let client =
        Client::spawn(&cluster, &["--count", "500", "--rate", "500", "--ingress-endpoints", &endpoints]);
    client.wait(MINUTE).expect_all_replied();
    assert!(
        relay.dropped() > 0 && relay.passed() > 100,
        "dropped {}, passed {}",
        relay.dropped(),
        relay.passed()
    );
    cluster.shutdown();
}

/// Older members must start and serve, since a standby may meet them.
#[test]
fn older_versions_start_and_serve() {
    if crate::support::skip() {
        return;
    }
    for version in ["1.49.3", "1.47.4"] {
        let config = ClusterConfig::new("older_versions", 3).aeron_version(version);
        let cluster = Cluster::start(config);
        Client::spawn(&cluster, &["--count", "300"]).wait(MINUTE).expect_all_replied();
        cluster.control("SNAPSHOT");
        cluster.shutdown();
        compare(&cluster.audit_logs()).unwrap_or_else(|error| panic!("{version}: {error}"));
    }
}
