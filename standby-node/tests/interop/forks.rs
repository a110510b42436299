//! A log that does not continue ours: nothing is taken of it, our files are kept, and `reseed` begins again.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::time::Duration;

use crate::support::client::Client;
use crate::support::cluster::{Cluster, ClusterConfig};
use crate::support::ending::{await_source, expect_equal, stand_still};
use crate::support::standby::Standby;

const MINUTE: Duration = Duration::from_secs(60);

fn send(cluster: &Cluster, count: &str) {
    Client::spawn(cluster, &["--count", count, "--size-max", "3000"]).wait(MINUTE).expect_all_replied();
}

/// Length and hash of the files that hold the node's log and its terms. Others tell whether it runs.
fn history(standby: &Standby) -> BTreeMap<String, (usize, u64)> {
    let mut files = BTreeMap::new();
    for folder in ["archive", "cluster"] {
        for entry in fs::read_dir(standby.dir().join(folder)).expect("the node's directory") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if !name.ends_with(".rec") && name != "recording.log" {
                continue;
            }
            let bytes = fs::read(&path).expect("a file of the node");
            let mut hasher = DefaultHasher::new();
            bytes.hash(&mut hasher);
            files.insert(format!("{folder}/{name}"), (bytes.len(), hasher.finish()));
        }
    }
    assert!(files.keys().any(|name| name.ends_with(".rec")), "{files:?}");
    files
}

/// The standby stands in `state` with `files` untouched; after `reseed` it follows the cluster as it is now.
fn expect_halted_then_reseed(
    cluster: &Cluster,
    standby: Standby,
    state: &str,
    files: &BTreeMap<String, (usize, u64)>,
) {
    standby.await_state(state, MINUTE);
    assert_eq!(&history(&standby), files, "files changed");
    let output = standby.output();
    assert!(output.contains(state) && output.contains("reseed"), "{output}");

    standby.stop();
    standby.reseed();
    let kept = fs::read_dir(standby.dir()).expect("the node's directory").flatten();
    assert!(kept.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with("before-reseed")));
    drop(standby);
    let standby = Standby::follow(cluster, "standby", &[]);
    await_source(&standby, MINUTE, |_| true);
    send(cluster, "300");
    expect_equal(cluster, &standby);
}

#[test]
fn a_cluster_started_anew_is_not_followed() {
    if crate::support::skip() {
        return;
    }
    let cluster = Cluster::start(ClusterConfig::new("a_cluster_started_anew", 1));
    let standby = Standby::follow(&cluster, "standby", &[]);
    send(&cluster, "500");
    standby.await_applied(cluster.await_quiet(MINUTE), MINUTE);
    let files = history(&standby);

    cluster.member(0).restart_with(&["--clean"]);
    cluster.member(0).await_ready();
    expect_halted_then_reseed(&cluster, standby, "DIVERGED", &files);
}

#[test]
fn a_cluster_restored_from_an_older_state_is_not_followed() {
    if crate::support::skip() {
        return;
    }
    let cluster = Cluster::start(ClusterConfig::new("a_cluster_restored", 1));
    let mut standby = Standby::follow(&cluster, "standby", &[]);
    let running = Standby::follow(&cluster, "running", &["--member-id", "101"]);
    send(&cluster, "500");
    stand_still(&cluster);
    let member = cluster.member(0);
    member.kill();
    let older = cluster.scratch().data("older");
    copy_dir(member.dir(), &older);
    member.restart();
    send(&cluster, "500");
    let position = cluster.await_quiet(MINUTE);
    standby.await_applied(position, MINUTE);
    running.await_applied(position, MINUTE);
    standby.stop();
    let (files, running_files) = (history(&standby), history(&running));

    member.kill();
    fs::remove_dir_all(member.dir()).expect("the member's directory goes");
    copy_dir(&older, member.dir());
    member.restart();
    // Its log is shorter than ours now.
    running.await_state("DIVERGED", MINUTE);
    assert_eq!(history(&running), running_files, "files changed");
    drop(running);
    // Beyond where the other ended, so that lengths alone tell nothing.
    send(&cluster, "1500");
    standby.restart();
    expect_halted_then_reseed(&cluster, standby, "DIVERGED", &files);
}

#[test]
fn a_log_purged_beyond_our_end_is_said() {
    if crate::support::skip() {
        return;
    }
    let config = ClusterConfig::new("a_log_purged", 1);
    let cluster = Cluster::start(config.flags(&["--term-length", "64k", "--segment-length", "64k"]));
    let mut standby = Standby::follow(&cluster, "standby", &[]);
    send(&cluster, "100");
    standby.await_applied(cluster.await_quiet(MINUTE), MINUTE);
    standby.stop();
    let files = history(&standby);

    send(&cluster, "500");
    let position = stand_still(&cluster);
    let member = cluster.member(0);
    let (dir, below) = (member.aeron_dir().display().to_string(), position.to_string());
    let flags = ["--aeron-dir", &dir, "--archive", &member.archive_endpoint(), "--below", &below];
    let purged = cluster.run_java("PurgeLog", &flags, MINUTE);
    assert!(
        purged.iter().any(|line| line.starts_with("purge ") && !line.contains("segments=0")),
        "{purged:?}"
    );
    standby.restart();
    expect_halted_then_reseed(&cluster, standby, "LOG_PURGED", &files);
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory for the copy");
    for entry in fs::read_dir(from).expect("a directory to copy") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a file type").is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a copy of a file");
        }
    }
}
