//! Members and the standby die, hang and come back under load: it is right again each time.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::support::client::Client;
use crate::support::cluster::{Cluster, ClusterConfig, await_some};
use crate::support::ending::{await_load, await_source, expect_equal, expect_progress, newest_number};
use crate::support::standby::Standby;

const MINUTE: Duration = Duration::from_secs(60);
const HALF_MINUTE: Duration = Duration::from_secs(30);
/// Log that must arrive before a failure counts as overcome.
const PROGRESS: i64 = 64 * 1024;
/// The farthest below the end that a replay may begin: 64 KiB, and what lies between two frame starts that are known.
const OVERLAP_MAX: i64 = 84 * 1024;

/// Three members that a busy machine does not drive into elections of its own making.
fn three_members(test: &str) -> Cluster {
    Cluster::start(ClusterConfig::new(test, 3).flags(&[
        "--heartbeat-timeout-ms",
        "4000",
        "--canvass-timeout-ms",
        "8000",
    ]))
}

/// A client that sends until it is told to stop, and finds its way to new leaders.
fn endless_load(cluster: &Cluster) -> Client {
    let flags = [
        "--duration-s",
        "600",
        "--rate",
        "400",
        "--size-max",
        "3000",
        "--timer-share",
        "0.05",
        "--service-share",
        "0.05",
        "--resend",
        "--reconnect-after-ms",
        "3000",
    ];
    let client = Client::spawn(cluster, &flags);
    client.await_connected();
    client
}

#[test]
fn killed_leaders_and_sources_are_replaced() {
    if crate::support::skip() {
        return;
    }
    let cluster = three_members("killed_leaders_and_sources");
    let standby = Standby::follow(&cluster, "standby", &[]);
    let client = endless_load(&cluster);
    expect_progress(&standby, PROGRESS, HALF_MINUTE);

    let leader = cluster.await_leader(None, MINUTE);
    cluster.member(leader).kill();
    cluster.await_leader(Some(leader), MINUTE);
    await_load(&cluster, PROGRESS, MINUTE);
    expect_progress(&standby, PROGRESS, HALF_MINUTE);
    cluster.member(leader).restart();
    await_load(&cluster, PROGRESS, MINUTE);

    let source = await_source(&standby, HALF_MINUTE, |_| true);
    let killed = Instant::now();
    cluster.member(source).kill();
    await_source(&standby, HALF_MINUTE, |id| id != i64::from(source));
    eprintln!("another source after {:?}", killed.elapsed());
    await_load(&cluster, PROGRESS, MINUTE);
    expect_progress(&standby, PROGRESS, HALF_MINUTE);
    cluster.member(source).restart();

    client.stop(MINUTE);
    expect_equal(&cluster, &standby);
}

#[test]
fn a_paused_source_is_left_and_may_come_back() {
    if crate::support::skip() {
        return;
    }
    let cluster = three_members("a_paused_source");
    let standby = Standby::follow(&cluster, "standby", &[]);
    let client = endless_load(&cluster);
    expect_progress(&standby, PROGRESS, HALF_MINUTE);

    let source = await_source(&standby, HALF_MINUTE, |_| true);
    let paused = Instant::now();
    cluster.member(source).pause();
    await_source(&standby, Duration::from_secs(8), |id| id != i64::from(source));
    eprintln!("another source after {:?}", paused.elapsed());
    // Beyond ten seconds the member's own Aeron clients would take its driver for dead.
    std::thread::sleep(Duration::from_secs(8).saturating_sub(paused.elapsed()));
    cluster.member(source).resume();

    await_load(&cluster, PROGRESS, MINUTE);
    expect_progress(&standby, PROGRESS, HALF_MINUTE);
    client.stop(MINUTE);
    expect_equal(&cluster, &standby);
}

#[test]
fn members_that_all_restart_are_followed_again() {
    if crate::support::skip() {
        return;
    }
    let cluster = three_members("members_all_restart");
    let standby = Standby::follow(&cluster, "standby", &[]);
    for _ in 0..2 {
        let client = endless_load(&cluster);
        expect_progress(&standby, PROGRESS, HALF_MINUTE);
        for member in cluster.members() {
            member.kill();
        }
        drop(client);
        for member in cluster.members() {
            member.restart_with(&[]);
        }
        for member in cluster.members() {
            member.await_ready();
        }
    }
    Client::spawn(&cluster, &["--count", "500"]).wait(MINUTE).expect_all_replied();
    expect_equal(&cluster, &standby);
    // A member that is back at once answers our heartbeats, though its new archive knows nothing of our replay.
    let output = standby.output();
    assert!(
        !output.contains("fell silent"),
        "a dead replay was waited for until its image timed out:\n{output}"
    );
}

#[test]
fn a_killed_standby_goes_on_where_it_ended() {
    if crate::support::skip() {
        return;
    }
    let cluster = three_members("a_killed_standby");
    let mut standby = Standby::follow(&cluster, "standby", &[]);
    let client = endless_load(&cluster);
    for kill in 1..=4 {
        expect_progress(&standby, 3 * PROGRESS, HALF_MINUTE);
        standby.kill();
        standby.restart();
        // Until it is up again, its status is still that of the killed run.
        let followed = || standby.output().matches("following member_id=").count();
        await_some("a replay after a restart", HALF_MINUTE, || (followed() > kill).then_some(()));

        let output = standby.output();
        let found = newest_number(&output, "log found", "end=");
        let replayed = newest_number(&output, "following member_id=", "replay_position=");
        assert!(
            replayed <= found && found - replayed <= OVERLAP_MAX,
            "kill {kill}: found up to {found}, replayed from {replayed}"
        );
    }
    client.stop(MINUTE);
    expect_equal(&cluster, &standby);
}

#[test]
fn a_source_in_a_long_snapshot_is_only_a_lag() {
    if crate::support::skip() {
        return;
    }
    let is_long = std::env::var_os("STANDBY_LONG").is_some_and(|value| value == "1");
    let duration = Duration::from_secs(if is_long { 120 } else { 20 });
    let cluster = three_members("a_long_snapshot");
    let follower = cluster.follower().expect("two of three members follow");
    let delay = duration.as_millis().to_string();
    cluster.member(follower).restart_with(&["--snapshot-delay-ms", &delay]);
    cluster.member(follower).await_ready();
    // Only this member may be followed: no other can hide what its snapshot does to us.
    let endpoint = cluster.member(follower).consensus_endpoint();
    let standby = Standby::start(cluster.scratch(), "standby", &endpoint, &["--routing", "single"]);
    let client = endless_load(&cluster);
    expect_progress(&standby, PROGRESS, HALF_MINUTE);

    let began = Instant::now();
    cluster.control("SNAPSHOT");
    let mut states = BTreeSet::new();
    let mut lag_max = 0;
    while began.elapsed() < duration {
        let status = standby.status().expect("the standby runs");
        states.insert(status["state"].as_str().expect("a state").to_owned());
        lag_max = lag_max.max(status["lag_bytes"].as_i64().unwrap_or(0));
        std::thread::sleep(Duration::from_millis(200));
    }
    for halted in ["DIVERGED", "LOG_PURGED", "FAILED", "DOWN"] {
        assert!(!states.contains(halted), "{states:?}\n{}", standby.output());
    }
    assert!(lag_max > PROGRESS, "no lag beyond {lag_max} bytes: was the source in a snapshot at all?");

    await_source(&standby, MINUTE, |_| true);
    expect_progress(&standby, PROGRESS, HALF_MINUTE);
    client.stop(MINUTE);
    // The last snapshot need not take as long.
    cluster.member(follower).restart();
    expect_equal(&cluster, &standby);
}
