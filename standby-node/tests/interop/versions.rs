//! Clusters of older versions of Aeron, which speak older versions of the same protocols.

use std::time::Duration;

use crate::support::agreement::end_and_compare;
use crate::support::client::send;
use crate::support::cluster::{Cluster, ClusterConfig};
use crate::support::standby::Standby;

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_cluster_of_1_49_3_is_followed() {
    if !crate::support::skip() {
        follow("1.49.3");
    }
}

#[test]
fn a_cluster_of_1_47_4_is_followed() {
    if !crate::support::skip() {
        follow("1.47.4");
    }
}

fn follow(version: &str) {
    let config = ClusterConfig::new(&format!("version_{version}"), 3).aeron_version(version);
    let cluster = Cluster::start(config);
    let early = Standby::follow(&cluster, "early", &[]);
    send(&cluster, 500);
    cluster.control("SNAPSHOT");
    let late = Standby::follow(&cluster, "late", &[]);
    send(&cluster, 500);
    let position = cluster.await_quiet(MINUTE);
    for standby in [&early, &late] {
        standby.await_applied(position, MINUTE);
    }
    // Members of 1.47 refuse every heartbeat as not authorised, and an answer is a sign of life whatever it says.
    for standby in [&early, &late] {
        let status = standby.await_status("heard by heartbeat", MINUTE, |status| {
            status["heartbeat_responses"].as_i64() >= Some(2)
        });
        assert_eq!(status["state"], "FOLLOWING", "{version}: {}", standby.output());
    }

    let report = end_and_compare(&cluster, &[&early, &late]);
    println!("{version}: {report:?}");
    assert!(late.audit_log().lines[0].position > 0, "the late one began with a snapshot");
}
