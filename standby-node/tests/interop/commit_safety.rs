//! What the cluster has not committed never reaches a service, and half a message never does.

use std::time::Duration;

use serde_json::Value;

use crate::support::client::Client;
use crate::support::cluster::{Cluster, ClusterConfig, await_some};
use crate::support::ending::{await_source, expect_equal, expect_progress, newest_number};
use crate::support::log_relays::LogRelays;
use crate::support::ports::Ports;
use crate::support::relay::Relay;
use crate::support::standby::Standby;

const MINUTE: Duration = Duration::from_secs(60);
const LOG_STREAM_ID: i32 = 100;
const MTU: i64 = 1408;
/// A leader that has recorded this much more than it committed has surely taken messages that will be lost.
const UNCOMMITTED: i64 = 48 * 1024;

#[test]
fn messages_that_only_the_leader_has_are_never_applied() {
    if crate::support::skip() {
        return;
    }
    let (cluster, log_relays) = LogRelays::cluster("messages_that_only_the_leader_has");
    let leader = cluster.await_leader(None, MINUTE);
    let standby = Standby::follow(&cluster, "standby", &["--source-type", "leader"]);
    await_source(&standby, MINUTE, |id| id == i64::from(leader));
    let flags = ["--duration-s", "600", "--rate", "500", "--size-max", "1000", "--resend"];
    let client = Client::spawn(&cluster, &flags);
    client.await_connected();
    expect_progress(&standby, 64 * 1024, MINUTE);

    log_relays.set_cut(true);
    // The standby itself says what the leader has recorded, and how far it was allowed to follow.
    let status = standby.await_status("fed by a leader that cannot commit", MINUTE, |status| {
        let number = |field: &str| status[field].as_i64().unwrap_or(-1);
        number("source_member_id") == i64::from(leader)
            && number("source_position") >= number("recorded_position") + UNCOMMITTED
    });
    let cut_off = status["source_position"].as_i64().expect("checked above");
    // The member prints its commit position every 100 ms.
    std::thread::sleep(Duration::from_millis(500));
    let committed = cluster.member(leader).commit_position();
    cluster.member(leader).kill();
    let (applied, recorded) = (standby.number("applied_position"), standby.number("recorded_position"));
    assert!(applied <= recorded && recorded <= committed, "{applied} {recorded} {committed}");
    assert!(cut_off >= committed + UNCOMMITTED, "the leader had {cut_off}, and {committed} of it committed");
    log_relays.set_cut(false);

    let successor = cluster.await_leader(Some(leader), MINUTE);
    await_source(&standby, MINUTE, |id| id == i64::from(successor));
    expect_progress(&standby, 64 * 1024, MINUTE);
    let lost_from = newest_number(&standby.output(), "new leadership term", "term_base_log_position=");
    assert!(lost_from < cut_off, "nothing was lost: the new term begins at {lost_from}, not below {cut_off}");
    client.stop(MINUTE);
    cluster.member(leader).restart();
    expect_equal(&cluster, &standby);
}

#[test]
fn half_a_message_waits_for_its_rest() {
    if crate::support::skip() {
        return;
    }
    let cluster = Cluster::start(ClusterConfig::new("half_a_message", 1));
    let ports = Ports::allocate(1);
    let own = ports.port(0);
    let relay = Relay::start(0, ([127, 0, 0, 1], own).into(), 1);
    let (port, response_endpoint) = (own.to_string(), relay.endpoint());
    let flags = ["--port", port.as_str(), "--response-endpoint", response_endpoint.as_str()];
    let mut standby = Standby::follow(&cluster, "standby", &flags);
    let load =
        ["--duration-s", "600", "--rate", "200", "--size-min", "20480", "--size-max", "20480", "--resend"];
    let client = Client::spawn(&cluster, &load);
    client.await_connected();
    expect_progress(&standby, 256 * 1024, MINUTE);

    relay.cut_inside_message(LOG_STREAM_ID);
    await_some("a message cut in two", MINUTE, || relay.is_cut().then_some(()));
    cluster.member(0).kill();
    drop(client);
    // The relay let the first fragment pass, whose frame is as long as an MTU.
    let is_half = |status: &Value| {
        let number = |field: &str| status[field].as_i64().unwrap_or(-1);
        number("applied_position") > 0 && number("applied_position") + MTU == number("recorded_position")
    };
    let half = standby.await_status("half a message behind its log", MINUTE, is_half);
    standby.kill();
    standby.restart();
    let again = standby.await_status("half a message behind its log again", MINUTE, is_half);
    assert_eq!(again["recorded_position"], half["recorded_position"]);

    relay.set_partition(false);
    cluster.member(0).restart();
    Client::spawn(&cluster, &["--count", "200", "--size-max", "20480"]).wait(MINUTE).expect_all_replied();
    expect_equal(&cluster, &standby);
}
