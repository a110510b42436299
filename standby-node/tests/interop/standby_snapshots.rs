//! The standby takes the snapshots that the members are spared, and starts from them.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::support::agreement::end_and_compare;
use crate::support::client::{Client, send};
use crate::support::cluster::{Cluster, ClusterConfig};
use crate::support::module_snapshot::ModuleSnapshot;
use crate::support::standby::Standby;

const MINUTE: Duration = Duration::from_secs(60);
/// Timers that stay pending, and messages that come back from the services.
const COMMANDS: [&str; 8] = [
    "--timer-share",
    "0.2",
    "--service-share",
    "0.2",
    "--timer-delay-min-ms",
    "1",
    "--timer-delay-max-ms",
    "20000",
];

#[test]
fn one_service_starts_again_from_the_snapshot_that_the_leader_asked_for() {
    if !crate::support::skip() {
        start_again_from_an_asked_snapshot("standby_snapshot_one_service", 1);
    }
}

#[test]
fn two_services_start_again_from_the_snapshot_that_the_leader_asked_for() {
    if !crate::support::skip() {
        start_again_from_an_asked_snapshot("standby_snapshot_two_services", 2);
    }
}

fn start_again_from_an_asked_snapshot(test: &str, service_count: usize) {
    let services = service_count.to_string();
    let cluster = Cluster::start(ClusterConfig::new(test, 3).flags(&["--services", &services]));
    let names = ["audit"].repeat(service_count).join(",");
    let mut standby = Standby::follow(&cluster, "standby", &["--service", &names]);
    let flags = ["--interactive", "--services", &services];
    let client = Client::spawn(&cluster, &[&flags[..], &COMMANDS].concat());
    client.send(2000, 0.0, MINUTE).expect_sent(2000);

    cluster.control("STANDBY_SNAPSHOT");
    let snapshots = await_snapshots(&standby, 1);
    let position = snapshots["position"].as_i64().expect("a position");
    assert_eq!(snapshots["failures"], 0);
    let dump = ModuleSnapshot::dump(&cluster, standby.dir(), service_count);
    assert!(dump.state().timers().count() > 0, "the test wants pending timers");
    assert_eq!(dump.state().log_position(), position);
    for log in cluster.audit_logs() {
        let printed = log.lines.iter().any(|line| line.position == position);
        assert!(!printed, "{} took a snapshot that was meant for standbys", log.node);
    }

    client.send(2000, 0.0, MINUTE).expect_sent(4000);
    standby.await_applied(position + 1, MINUTE);
    let line_count = standby.audit_log().lines.len();
    standby.kill();
    client.send(500, 0.0, MINUTE).expect_sent(4500);
    standby.restart();
    drop(client);
    let report = end_and_compare(&cluster, &[&standby]);
    let again = standby.audit_log().lines[line_count..].to_vec();
    assert!(again[..service_count].iter().all(|line| line.position == position), "{again:?}");
    println!("snapshot at {position}, {report:?}");
}

#[test]
fn the_module_snapshot_is_the_members_own_at_the_same_position() {
    if crate::support::skip() {
        return;
    }
    let config = ClusterConfig::new("module_snapshot", 3).flags(&["--session-timeout-ms", "60000"]);
    let cluster = Cluster::start(config);
    let standby = Standby::follow(&cluster, "standby", &["--snapshot-on-ordinary"]);
    let hours = ["--timer-delay-min-ms", "3600000", "--timer-delay-max-ms", "36000000"];
    let commands = ["--interactive", "--timer-share", "0.5", "--service-share", "0.1", "--timer-ids", "40"];
    let client = Client::spawn(&cluster, &[&commands[..], &hours].concat());
    client.send(500, 0.0, MINUTE).expect_sent(500);
    cluster.await_quiet(MINUTE);
    cluster.control("SNAPSHOT");
    await_snapshots(&standby, 1);
    let ours = ModuleSnapshot::dump(&cluster, standby.dir(), 1);
    assert_eq!((ours.state().sessions().count(), ours.state().timers().count()), (1, 40));
    for member in cluster.members() {
        ModuleSnapshot::of_member(&cluster, member).compare_with(&ours, member.id());
    }
    drop(client);
    println!("{:?}", end_and_compare(&cluster, &[&standby]));
}

/// Each way to take snapshots, on a schedule and under load, so that service messages are under way at every one.
#[test]
fn snapshots_in_every_mode_under_load_are_whole_and_are_started_from() {
    if crate::support::skip() {
        return;
    }
    let cluster = Cluster::start(ClusterConfig::new("snapshot_modes", 1));
    let follow = |mode: &str| {
        let flags = ["--snapshot-mode", mode, "--snapshot-interval", "1s", "--audit-ballast", "1m"];
        Standby::follow(&cluster, mode, &flags)
    };
    let mut standbys = ["view", "inline", "replica"].map(follow);
    let flags = ["--count", "12000", "--rate", "1000", "--size-min", "32", "--size-max", "400"];
    let client = Client::spawn(&cluster, &[&flags[..], &COMMANDS].concat());
    client.await_connected();
    thread::sleep(Duration::from_secs(4));
    for standby in &mut standbys {
        let snapshots = await_snapshots(standby, 2);
        standby.kill();
        assert_eq!(snapshots["failures"], 0, "{}", standby.output());
    }
    for standby in &mut standbys {
        standby.restart();
    }
    for standby in &standbys {
        let snapshots = await_snapshots(standby, 2);
        println!("{}: {snapshots}", standby.dir().display());
        assert_eq!(snapshots["failures"], 0, "{}", standby.output());
    }
    client.wait(MINUTE).expect_sent(12_000);
    let all: Vec<&Standby> = standbys.iter().collect();
    println!("{:?}", end_and_compare(&cluster, &all));
    for standby in &standbys {
        let starts = standby.output().matches("services started").count();
        assert_eq!(starts, 2, "{}", standby.output());
        let from = newest_start(&standby.output());
        assert!(from > 0, "the second start was from a snapshot: {}", standby.output());
    }
}

#[test]
fn a_damaged_newest_snapshot_is_reported_and_the_one_before_is_used() {
    if crate::support::skip() {
        return;
    }
    let cluster = Cluster::start(ClusterConfig::new("damaged_snapshot", 1));
    let mut standby = Standby::follow(&cluster, "standby", &["--snapshot-term-length", "64k"]);
    let mut positions = Vec::new();
    for _ in 0..2 {
        send(&cluster, 300);
        standby.await_applied(cluster.await_quiet(MINUTE), MINUTE);
        positions.push(standby.take_snapshot());
    }
    let [older, newest] = positions[..] else { panic!("{positions:?}") };
    assert!(older < newest);
    standby.kill();

    let recordings = recording_files(&standby);
    // Of each set the service's is first. What the audit service wrote is behind the marks.
    let damaged = &recordings[recordings.len() - 2];
    let mut bytes = fs::read(damaged).expect("a segment file");
    let ballast_hash = 0xcbf2_9ce4_8422_2325_u64.to_le_bytes();
    let at = bytes.windows(8).position(|window| window == ballast_hash).expect("the hash of no ballast");
    bytes[at] ^= 1;
    fs::write(damaged, bytes).expect("the segment file can be written");

    send(&cluster, 300);
    standby.restart();
    let log_end = cluster.await_quiet(MINUTE);
    standby.await_applied(log_end, MINUTE);
    assert_eq!(newest_start(&standby.output()), older, "{}", standby.output());
    let name = damaged.file_name().and_then(|name| name.to_str()).expect("a name");
    standby.await_output("which file is damaged", MINUTE, |output| output.contains(name));
    let again = standby.take_snapshot();
    assert!(again > newest);
    println!("{:?}", end_and_compare(&cluster, &[&standby]));

    // The damaged set stays out of the way.
    standby.restart();
    standby.await_output("that it started again", MINUTE, |output| newest_start(output) == again);
    standby.kill();
}

/// Waits until this run of the node has taken so many snapshots.
fn await_snapshots(standby: &Standby, count: i64) -> Value {
    let status = standby.await_status(&format!("after {count} snapshots"), MINUTE, |status| {
        status["snapshots"]["count"].as_i64().is_some_and(|taken| taken >= count)
    });
    status["snapshots"].clone()
}

/// Where the newest start of the node's services was.
fn newest_start(output: &str) -> i64 {
    let line = output.lines().rfind(|line| line.contains("services started")).expect("the services started");
    let (_, position) = line.split_once("log_position=").expect("with their position");
    position.trim().parse().expect("a number")
}

/// Segment files of all recordings but the log's, by recording id.
fn recording_files(standby: &Standby) -> Vec<PathBuf> {
    let entries = fs::read_dir(standby.dir().join("archive")).expect("an archive");
    let mut files: Vec<(i64, PathBuf)> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|end| end == "rec"))
        .filter_map(|path| {
            let (id, _) = path.file_name()?.to_str()?.split_once('-')?;
            Some((id.parse().ok()?, path.clone()))
        })
        .filter(|(id, _)| *id > 0)
        .collect();
    files.sort();
    files.into_iter().map(|(_, path)| path).collect()
}
