//! Every member of a real cluster is lost, the flag is set, and unmodified clients go on in their sessions.

use std::time::Duration;

use crate::support::client::Client;
use crate::support::cluster::{Cluster, ClusterConfig};
use crate::support::flip::{
    MAY_LEAD, PATIENCE, REFUSED, activate, activate_when_silent, expect_replayed_by_java, text,
};
use crate::support::standby::Standby;

const MINUTE: Duration = Duration::from_secs(60);
/// Aeron's own heartbeat time-out, from which a client's default patience follows: twice as long.
const AERON_HEARTBEAT: [&str; 4] = ["--heartbeat-timeout-ms", "10000", "--canvass-timeout-ms", "20000"];
/// A client of Aeron's defaults; only the program around it is patient.
const DEFAULTS: [&str; 2] = ["--reconnect-after-ms", "60000"];

#[test]
fn a_client_goes_on_in_its_session_when_every_member_is_killed_and_the_flag_is_set() {
    if crate::support::skip() {
        return;
    }
    flip(ClusterConfig::new("activation_three", 3), &PATIENCE, Duration::from_millis(1500));
    flip(ClusterConfig::new("activation_one", 1).flags(&AERON_HEARTBEAT), &DEFAULTS, Duration::from_secs(5));
}

/// Kills all members under load, sets the flag `delay` later, and has a Java cluster replay what the new leader wrote.
fn flip(config: ClusterConfig, client_flags: &[&str], delay: Duration) {
    let test = config.test.clone();
    let cluster = Cluster::start(config);
    let load = ["--count", "40000", "--rate", "5000", "--size-max", "2000", "--resend"];
    let commands = ["--timer-share", "0.05", "--service-share", "0.05", "--timer-delay-max-ms", "3000"];
    let client = Client::spawn(&cluster, &[&load[..], &commands, client_flags].concat());
    client.await_connected();
    let standby = Standby::follow(&cluster, "standby", &MAY_LEAD);
    std::thread::sleep(Duration::from_secs(3));

    let early = activate(&standby, &[]);
    assert_eq!(early.status.code(), Some(REFUSED), "{early:?}");
    assert!(text(&early).contains("member-living"), "{early:?}");
    standby.await_state("FOLLOWING", MINUTE);

    cluster.members().iter().for_each(|member| member.kill());
    std::thread::sleep(delay);
    activate_when_silent(&standby, &[]);

    let result = client.wait(MINUTE);
    println!("{}", result.line);
    assert_eq!((result.sent(), result.replied()), (40_000, 40_000), "{}", result.line);
    for (key, expected) in
        [("reconnects", 0.0), ("new_leaders", 1.0), ("out_of_order", 0.0), ("count_errors", 0.0)]
    {
        assert!(result.number(key) == expected, "{key}: {}\n{}", result.line, standby.output());
    }
    standby.stop();

    expect_replayed_by_java(&standby, &format!("{test}_java"));
}

#[test]
fn a_flag_without_a_fence_or_with_one_that_fails_is_refused_and_following_goes_on() {
    if crate::support::skip() {
        return;
    }
    let cluster = Cluster::start(ClusterConfig::new("activation_fence", 1));
    let unfenced = Standby::follow(&cluster, "unfenced", &["--member-id", "100"]);
    let failing = Standby::follow(&cluster, "failing", &["--member-id", "101", "--fence", "exit 3"]);
    let position = cluster.await_quiet(MINUTE);
    unfenced.await_applied(position, MINUTE);
    failing.await_applied(position, MINUTE);

    cluster.member(0).pause();
    std::thread::sleep(Duration::from_millis(2500));
    for (standby, check) in [(&unfenced, "unfenced"), (&failing, "fence-failed")] {
        let refused = activate(standby, &[]);
        assert_eq!(refused.status.code(), Some(REFUSED), "{refused:?}");
        assert!(text(&refused).contains(check), "{refused:?}");
    }
    // Silence was no death: what the cluster commits from here on is followed.
    cluster.member(0).resume();
    crate::support::client::send(&cluster, 200);
    let position = cluster.await_quiet(MINUTE);
    unfenced.await_applied(position, MINUTE);
    failing.await_applied(position, MINUTE);
}
