//! The standby follows a real cluster and holds what its members hold.

use std::time::Duration;

use crate::support::audit_log::compare;
use crate::support::client::Client;
use crate::support::cluster::{Cluster, ClusterConfig};
use crate::support::standby::Standby;

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn one_member_and_the_standby_agree() {
    if crate::support::skip() {
        return;
    }
    let cluster = Cluster::start(ClusterConfig::new("one_member_and_the_standby", 1));
    let standby = Standby::follow(&cluster, "standby", &[]);
    let flags = [
        "--count",
        "2000",
        "--rate",
        "1000",
        "--size-max",
        "20000",
        "--timer-share",
        "0.05",
        "--service-share",
        "0.05",
    ];
    Client::spawn(&cluster, &flags).wait(MINUTE).expect_all_replied();
    let position = cluster.await_quiet(MINUTE);
    standby.await_applied(position, MINUTE);
    cluster.control("SNAPSHOT");
    cluster.shutdown();
    standby.await_applied(position + 96, MINUTE);
    standby.stop();

    let mut logs = cluster.audit_logs();
    logs.push(standby.audit_log());
    compare(&logs).unwrap();
}
