//! The standby is killed at random moments, again and again, while it records the log, takes snapshots, tells a member
//! of them, and purges what it no longer needs.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::support::agreement::end_and_compare;
use crate::support::client::Client;
use crate::support::cluster::{Cluster, ClusterConfig, await_some};
use crate::support::ending::newest_number;
use crate::support::java;
use crate::support::standby::{BINARY, Standby};

const MINUTE: Duration = Duration::from_secs(60);
/// The farthest below the end that a replay may begin: 64 KiB, and what lies between two frame starts that are known.
const OVERLAP_MAX: i64 = 84 * 1024;
/// From a kill to the next: long enough for several snapshots, or for none.
const LIFE_MS_MAX: u64 = 1200;
const SEED: u64 = 0x5eed_0001;

#[test]
fn a_standby_that_is_killed_at_any_moment_goes_on_with_what_it_had() {
    if crate::support::skip() {
        return;
    }
    let is_long = std::env::var_os("STANDBY_LONG").is_some_and(|value| value == "1");
    let kill_count = if is_long { 500 } else { 50 };
    let lengths = ["--term-length", "256k", "--segment-length", "256k"];
    let config = ClusterConfig::new("kills", 1).flags(&["--accept-standby-snapshots"]).flags(&lengths);
    let cluster = Cluster::start(config);
    // Snapshots under way at most moments, and something to purge after each.
    let flags = ["--snapshot-interval", "300ms", "--retain-snapshots", "2", "--snapshot-term-length", "64k"];
    let more = ["--sync-interval", "100ms", "--audit-ballast", "1m"];
    let mut standby = Standby::follow(&cluster, "standby", &[&flags[..], &more].concat());
    let load = ["--duration-s", "3600", "--rate", "300", "--size-max", "1500"];
    let commands = ["--timer-share", "0.05", "--service-share", "0.05"];
    let client = Client::spawn(&cluster, &[&load[..], &commands].concat());
    client.await_connected();
    standby.await_state("FOLLOWING", MINUTE);

    let mut random = SEED;
    for kill in 1..=kill_count {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        thread::sleep(Duration::from_millis((random >> 33) % LIFE_MS_MAX));
        standby.kill();
        standby.restart();
        let followed = || standby.output().matches("following member_id=").count();
        await_some("a replay after a restart", MINUTE, || (followed() > kill).then_some(()));
        let output = standby.output();
        let found = newest_number(&output, "log found", "end=");
        let replayed = newest_number(&output, "following member_id=", "replay_position=");
        assert!(
            replayed <= found && found - replayed <= OVERLAP_MAX,
            "kill {kill} of seed {SEED:#x}: found up to {found}, replayed from {replayed}"
        );
    }

    let published = standby.output().matches("standby snapshot taken").count();
    println!("{kill_count} kills, {published} snapshots counted in between");
    assert!(published > 0, "no snapshot was taken between the kills:\n{}", standby.output());
    standby.kill();
    verify_copy(&cluster, &standby);
    standby.restart();
    client.stop(MINUTE);
    println!("{:?}", end_and_compare(&cluster, &[&standby]));
}

/// A Java archive's own tool, and ours, find nothing wrong with what a kill left.
fn verify_copy(cluster: &Cluster, standby: &Standby) {
    let verified = Command::new(BINARY).args(["snapshot", "verify", "--dir"]).arg(standby.dir()).output();
    let verified = verified.expect("the binary runs");
    assert!(verified.status.success(), "{verified:?}");
    let copy = cluster.scratch().data("copy");
    let copied = Command::new("cp").args(["-a", "--"]).arg(standby.dir()).arg(&copy).status();
    assert!(copied.expect("cp runs").success());
    let output = java::aeron_tool("io.aeron.archive.ArchiveTool", &[])
        .arg(copy.join("archive"))
        .args(["verify", "-a"])
        .output()
        .expect("java runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("OK") && !text.contains("ERR"), "{output:?}");
    fs::remove_dir_all(copy).expect("the copy goes");
}
