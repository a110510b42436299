//! Who else had followed the cluster, once a standby leads: who has no more of the log than its leader goes on, and who
//! has more does not mix the two.

use std::time::Duration;

use crate::support::client::{Client, ClientConfig, send};
use crate::support::cluster::{Cluster, ClusterConfig, await_some};
use crate::support::flip::activate_when_silent;
use crate::support::java;
use crate::support::java_backup::JavaBackup;
use crate::support::ports::Ports;
use crate::support::recorded_log::RecordedLog;
use crate::support::relay::Relay;
use crate::support::standby::Standby;

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn standbys_and_cluster_backups_follow_a_standby_that_leads_unless_they_have_what_it_lacks() {
    if crate::support::skip() {
        return;
    }
    let cluster = Cluster::start(ClusterConfig::new("after_activation", 1));
    let ports = Ports::allocate(3);
    let endpoint = |index: u16| format!("localhost:{}", ports.port(index));
    let (own, archive, ingress) = (ports.port(0), endpoint(1), endpoint(2));
    let relay = Relay::start(0, ([127, 0, 0, 1], own).into(), 1);
    let (port, response_endpoint) = (own.to_string(), relay.endpoint());
    let flags = [
        ["--port", port.as_str(), "--response-endpoint", response_endpoint.as_str()],
        ["--archive-endpoint", archive.as_str(), "--ingress-endpoint", ingress.as_str()],
    ];
    let leader = Standby::follow(&cluster, "leader", &[&flags.concat()[..], &["--fence", "none"]].concat());
    let members = cluster.consensus_endpoints();
    let follow = |name: &str, id: &str, endpoints: &str| {
        Standby::start(cluster.scratch(), name, endpoints, &["--member-id", id])
    };
    let backup = |name: &str, endpoints: &str, index: u16| {
        JavaBackup::start(cluster.scratch(), name, endpoints, ports.port(index))
    };
    let (prefix, ahead) = (follow("prefix", "101", &members), follow("ahead", "102", &members));
    let (java_prefix, java_ahead) = (backup("java-prefix", &members, 10), backup("java-ahead", &members, 20));

    send(&cluster, 200);
    let common = cluster.await_quiet(MINUTE);
    for standby in [&leader, &prefix, &ahead] {
        standby.await_applied(common, MINUTE);
    }
    java_prefix.await_recorded(common);
    prefix.stop();
    java_prefix.stop();
    relay.set_partition(true);
    send(&cluster, 500);
    let end_of_old = cluster.await_quiet(MINUTE);
    ahead.await_applied(end_of_old, MINUTE);
    java_ahead.await_recorded(end_of_old);
    cluster.member(0).kill();
    ahead.stop();
    java_ahead.stop();
    drop((prefix, ahead, java_prefix, java_ahead));
    let old = RecordedLog::read(&cluster.scratch().data("ahead"));
    assert_eq!(old.end_position(), end_of_old);

    activate_when_silent(&leader, &[]);
    let client = Client::spawn_with(
        &ClientConfig {
            aeron_version: java::AERON_VERSION.to_owned(),
            ingress_endpoints: format!("100={ingress}"),
            flags: vec!["--interactive".to_owned()],
        },
        cluster.scratch(),
    );
    client.await_connected();
    client.send(100, 1_000.0, MINUTE).expect_all_replied();
    let (prefix, ahead) = (follow("prefix", "101", &archive), follow("ahead", "102", &archive));
    let (java_prefix, java_ahead) = (backup("java-prefix", &archive, 10), backup("java-ahead", &archive, 20));

    ahead.await_state("DIVERGED", MINUTE);
    let refused = |output: &str| output.matches("Live log replay failed").count();
    await_some("a ClusterBackup that is refused, and asks again", MINUTE, || {
        (refused(&java_ahead.output()) >= 2).then_some(())
    });
    println!("{}", java_ahead.output());
    client.send(100, 1_000.0, MINUTE).expect_all_replied();
    let end = leader.number("recorded_position");
    assert!(common < end && end < end_of_old, "{common} {end} {end_of_old}");
    prefix.await_applied(end, MINUTE);
    java_prefix.await_recorded(end);
    java_prefix.stop();
    java_ahead.stop();
    drop(client);
    leader.stop();
    let log = RecordedLog::read(leader.dir());
    prefix.await_applied(log.end_position(), MINUTE);
    prefix.stop();
    ahead.stop();

    let last = |standby: &Standby| {
        standby.audit_log().lines.last().map(|line| (line.position, line.count, line.hash))
    };
    assert_eq!(last(&prefix), last(&leader));
    assert!(last(&leader).is_some_and(|(position, ..)| position == log.end_position()));
    for (follower, dir) in [("ours", prefix.dir()), ("Java's", java_prefix.dir())] {
        let followed = RecordedLog::read(dir);
        assert!(followed.end_position() >= end, "{follower}");
        assert_eq!(followed.bytes(0..end), log.bytes(0..end), "{follower}");
    }
    // Nothing of the new leader's log is among what the old one had beyond it.
    for (follower, dir) in [("ours", ahead.dir()), ("Java's", java_ahead.dir())] {
        let kept = RecordedLog::read(dir);
        assert_eq!(kept.end_position(), end_of_old, "{follower}");
        assert_eq!(kept.bytes(0..end_of_old), old.bytes(0..end_of_old), "{follower}");
    }
}
