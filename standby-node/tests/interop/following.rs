//! The standby follows a real cluster from its beginning and holds what its members hold.

use std::thread;
use std::time::Duration;

use standby_node::config::Layout;
use standby_node::net::backend::NetworkBackend;

use crate::support::agreement::{compare_with_members, end_and_compare, last_position};
use crate::support::client::Client;
use crate::support::cluster::{Cluster, ClusterConfig};
use crate::support::in_process::InProcess;
use crate::support::standby::Standby;

const MINUTE: Duration = Duration::from_secs(60);
const BURST_COUNT: u64 = 100_000;
const SNAPSHOT_COUNT: u64 = 3;
/// Timers, and messages that come back from the services.
const COMMANDS: [&str; 4] = ["--timer-share", "0.05", "--service-share", "0.05"];
/// For clients that share two cores with all members: few messages under way, and no long wait for replies that the
/// services gave up.
const UNDER_LOAD: [&str; 4] = ["--window", "4096", "--drain-timeout-ms", "2000"];

#[test]
fn everything_a_log_can_hold_leaves_one_service_equal_to_the_members() {
    if !crate::support::skip() {
        follow_everything("everything_one_service", 1);
    }
}

#[test]
fn everything_a_log_can_hold_leaves_two_services_equal_to_the_members() {
    if !crate::support::skip() {
        follow_everything("everything_two_services", 2);
    }
}

/// Many small messages and some of up to 20 KiB from two clients at once, with timers, service messages, and
/// sessions that come and go, while snapshots are taken.
fn follow_everything(test: &str, service_count: usize) {
    // A gigabyte would be written on every node if all of 200,000 messages were of up to 20 KiB.
    let (small_count, large_count, rate) = match std::env::var_os("STANDBY_LONG") {
        Some(_) => (192_000, 8_000, 3_000),
        None => (28_500, 1_500, 2_500),
    };
    let seconds = small_count / rate;
    let services = service_count.to_string();

    let cluster = Cluster::start(ClusterConfig::new(test, 3).flags(&["--services", &services]));
    let standby =
        Standby::follow(&cluster, "standby", &["--service", &["audit"].repeat(service_count).join(",")]);
    let client = |count: u64, rate: u64, flags: &[&str]| {
        let (count, rate) = (count.to_string(), rate.to_string());
        let own = ["--services", &services, "--count", &count, "--rate", &rate, "--size-min", "32"];
        Client::spawn(&cluster, &[&own[..], &UNDER_LOAD, &COMMANDS, flags].concat())
    };
    let small = client(small_count, rate, &["--size-max", "400", "--churn", "500"]);
    let large = client(large_count, large_count / seconds, &["--size-max", "20480", "--seed", "2"]);
    small.await_connected();
    for _ in 0..SNAPSHOT_COUNT {
        thread::sleep(Duration::from_secs(seconds / (SNAPSHOT_COUNT + 1)));
        cluster.control("SNAPSHOT");
    }
    small.wait(3 * MINUTE).expect_sent(small_count);
    large.wait(3 * MINUTE).expect_sent(large_count);
    let report = end_and_compare(&cluster, &[&standby]);
    let count = standby.audit_log().lines.iter().map(|line| line.count).max().expect("audit lines");
    println!("{count} messages and timers, {report:?}");
    assert!(count as u64 > small_count + large_count, "timers and service messages count as well: {count}");
}

/// The Java services block in their callback until the consensus module has taken all that they offer; ours keep
/// it for the module follower.
#[test]
fn a_callback_that_offers_100_000_service_messages_is_followed_in_both_layouts() {
    if crate::support::skip() {
        return;
    }
    let cluster = Cluster::start(ClusterConfig::new("burst", 1).flags(&["--burst-service"]));
    let nodes = [("dedicated", Layout::Dedicated), ("shared", Layout::Shared)]
        .map(|(name, layout)| InProcess::follow(&cluster, name, layout));
    let client = Client::spawn(&cluster, &["--interactive"]);
    client.send(50, 0.0, MINUTE).expect_all_replied();
    client.burst(BURST_COUNT, MINUTE).expect_sent(51);
    client.send(50, 0.0, MINUTE).expect_sent(101);
    cluster.shutdown();

    let members = cluster.audit_logs();
    let end = last_position(&members);
    for node in nodes {
        let state = node.await_module("at the end", MINUTE, |state| state.log_position() >= end);
        assert_eq!(state.services()[0].iter().count(), 0, "every service message is in the log");
        assert_eq!(state.services()[0].missed_count(), 0);
        let log = node.stop();
        assert!(log.lines.last().is_some_and(|line| line.count >= 100 + 1 + BURST_COUNT as i64), "{log:?}");
        compare_with_members(&members, log);
    }
}

#[test]
fn every_layout_on_every_network_backend_follows() {
    if crate::support::skip() {
        return;
    }
    let backends = NetworkBackend::ALL.into_iter().filter(|backend| match backend.probe() {
        Ok(()) => true,
        Err(reason) => {
            eprintln!("SKIPPED: nothing was followed on {backend}: {reason}");
            false
        }
    });
    let cluster = Cluster::start(ClusterConfig::new("layouts_and_backends", 1));
    let standbys: Vec<_> = backends
        .flat_map(|backend| ["dedicated", "shared"].map(|layout| (layout, backend.to_string())))
        .map(|(layout, backend)| {
            let name = format!("{layout}-{backend}");
            let flags = ["--layout", layout, "--network", &backend, "--idle", "backoff"];
            Standby::follow(&cluster, &name, &flags)
        })
        .collect();
    let flags = ["--count", "2000", "--rate", "1000", "--size-max", "20000"];
    Client::spawn(&cluster, &[&flags[..], &UNDER_LOAD, &COMMANDS].concat()).wait(MINUTE).expect_sent(2000);
    let report = end_and_compare(&cluster, &standbys.iter().collect::<Vec<_>>());
    println!("{} standbys, {report:?}", standbys.len());
}
