//! A disk that fills up while the log is recorded: nothing that was recorded is lost, nothing is pretended.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::client::Client;
use crate::support::cluster::{Cluster, ClusterConfig};
use crate::support::ending::expect_equal;
use crate::support::flip::{MAY_LEAD, PATIENCE, activate_when_silent, expect_replayed_by_java};
use crate::support::scratch::Scratch;
use crate::support::standby::Standby;

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_disk_that_fills_up_stops_the_recording_and_nothing_else() {
    const TEST: &str = "a_disk_that_fills_up_stops_the_recording_and_nothing_else";
    if crate::support::skip() {
        return;
    }
    let config = ClusterConfig::new("a_disk_that_fills_up", 1);
    let cluster = Cluster::start(config.flags(&["--term-length", "64k", "--segment-length", "64k"]));
    // Room for the node's own files, about 2 MiB, and some thirty segments.
    let Some(disk) = Tmpfs::mount(TEST, &cluster.scratch().data("standby"), "4m") else { return };
    let mut standby = Standby::follow(&cluster, "standby", &[]);
    let flags = ["--count", "6000", "--rate", "3000", "--size-max", "2000"];
    let client = Client::spawn(&cluster, &flags);

    let failed = standby.await_status("FAILED", MINUTE, |status| status["state"] == "FAILED");
    let recorded = failed["recorded_position"].as_i64().expect("a number");
    assert!(recorded > 0, "{failed:#}");
    standby.await_applied(recorded, MINUTE);
    client.wait(MINUTE).expect_all_replied();
    let position = cluster.await_quiet(MINUTE);
    assert!(recorded < position, "the disk was large enough: {recorded} of {position}");
    let output = standby.output();
    for words in
        ["cannot record", "No space left on device", "free space on this file system", "state=\"FAILED\""]
    {
        assert!(output.contains(words), "no `{words}` in:\n{output}");
    }
    // The services still stand there, and their figures can be read.
    let still = standby.status().expect("the node runs on");
    assert_eq!((still["recorded_position"].as_i64(), &still["state"]), (Some(recorded), &failed["state"]));
    assert_eq!(still["applied_position"].as_i64(), Some(recorded), "{still:#}");

    standby.stop();
    disk.resize("64m");
    standby.restart();
    standby.await_applied(position, MINUTE);
    assert!(standby.output().contains(&format!("log found start=0 end={recorded}")), "{}", standby.output());
    expect_equal(&cluster, &standby);
}

#[test]
fn a_leader_on_a_full_disk_takes_nothing_more_and_goes_on_in_its_sessions_once_there_is_room() {
    const TEST: &str = "a_leader_on_a_full_disk_takes_nothing_more";
    if crate::support::skip() {
        return;
    }
    let config = ClusterConfig::new("a_leader_on_a_full_disk", 1);
    let cluster = Cluster::start(config.flags(&["--term-length", "64k", "--segment-length", "64k"]));
    let Some(disk) = Tmpfs::mount(TEST, &cluster.scratch().data("standby"), "4m") else { return };
    let node = Standby::follow(&cluster, "standby", &MAY_LEAD);
    // What goes to the dead member before the client hears of the new leader, it sends again.
    let flags = ["--interactive", "--size-max", "2000", "--resend"];
    let client = Client::spawn(&cluster, &[&flags[..], &PATIENCE].concat());
    client.await_connected();
    client.send(200, 1_000.0, MINUTE).expect_all_replied();
    node.await_applied(cluster.await_quiet(MINUTE), MINUTE);
    cluster.member(0).kill();
    activate_when_silent(&node, &[]);

    std::thread::scope(|scope| {
        let sending = scope.spawn(|| client.send(5_000, 3_000.0, MINUTE));
        let words = ["the log takes nothing more until there is room for it", "No space left on device"];
        let is_said = |output: &str| words.iter().all(|word| output.contains(word));
        node.await_output("that the disk is full", MINUTE, is_said);
        // What is there is applied, and nothing else is taken.
        let full = node.await_status("standing still", MINUTE, |status| {
            status["applied_position"] == status["recorded_position"]
        });
        std::thread::sleep(Duration::from_millis(500));
        let still = node.status().expect("the node runs on");
        assert_eq!(still["recorded_position"], full["recorded_position"]);
        assert_eq!(still["role"], "LEADER", "{still:#}");

        disk.resize("64m");
        let result = sending.join().expect("sent");
        println!("{}", result.line);
        result.expect_all_replied();
        assert_eq!((result.sent(), result.number("reconnects")), (5_200, 0.0), "{}", result.line);
    });
    node.stop();
    expect_replayed_by_java(&node, "a_leader_on_a_full_disk_java");
}

#[test]
fn a_cluster_is_not_begun_on_a_disk_without_room_for_its_log_and_that_is_said() {
    const TEST: &str = "a_cluster_is_not_begun_on_a_disk_without_room";
    let scratch = Scratch::new(TEST);
    let Some(_disk) = Tmpfs::mount(TEST, &scratch.data("active"), "4m") else { return };
    let node = Standby::start(&scratch, "active", "localhost:9", &["--bootstrap"]);
    let ended = node.process().wait(MINUTE);
    assert_eq!(ended.and_then(|status| status.code()), Some(1), "{}", node.output());
    for words in ["bootstrap: the log cannot be opened", "No space left on device", "free space"] {
        assert!(node.output().contains(words), "no `{words}` in:\n{}", node.output());
    }
}

/// A file system of its own, unmounted on drop.
struct Tmpfs {
    path: PathBuf,
}

impl Tmpfs {
    /// `None`, said loudly, where mounting is not allowed.
    fn mount(test: &str, path: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(path).expect("a directory");
        let options = format!("size={size}");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(path).output();
        if !mount.expect("mount of util-linux").status.success() {
            eprintln!("SKIPPED {test}: needs root to mount a tmpfs");
            return None;
        }
        Some(Self { path: path.to_owned() })
    }

    fn resize(&self, size: &str) {
        let status =
            Command::new("mount").args(["-o", &format!("remount,size={size}")]).arg(&self.path).status();
        assert!(status.expect("mount").success());
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: a standby that a failed test left is killed a moment later.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}
