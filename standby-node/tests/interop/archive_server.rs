//! Official clients and an official archive ask a standby's archive for what a standby has.

use std::time::Duration;

use consensus_tap::file::cnc::counters::COMMIT_POSITION;
use standby_node::store::cnc::CncReader;

use crate::support::archive_client::{ArchiveClient, fingerprint, number, recorded};
use crate::support::client;
use crate::support::cluster::{Cluster, ClusterConfig};
use crate::support::ports::Ports;
use crate::support::standby::Standby;

const MINUTE: Duration = Duration::from_secs(60);
/// How often each stopped recording is replicated.
const SYNC_COUNT: usize = 5;
/// To the end, wherever that is.
const END: i64 = i64::MAX;

/// A standby that began at the snapshot of a one-member cluster, and where its archive is.
fn follow(cluster: &Cluster, name: &str, flags: &[&str]) -> (Standby, String) {
    let standby = Standby::follow(cluster, name, flags);
    standby.await_state("FOLLOWING", MINUTE);
    standby.await_applied(cluster.await_quiet(MINUTE), MINUTE);
    let control = archive_endpoint(&standby);
    (standby, control)
}

fn archive_endpoint(standby: &Standby) -> String {
    let output = standby.output();
    let (_, rest) = output.split_once("archive_addr=").expect("the address in the log");
    rest.split_whitespace().next().expect("an address").to_owned()
}

fn with_snapshot(test: &str) -> Cluster {
    let cluster = Cluster::start(ClusterConfig::new(test, 1));
    client::send(&cluster, 2_000);
    cluster.control("SNAPSHOT");
    client::send(&cluster, 1_000);
    cluster
}

#[test]
fn an_official_client_lists_asks_and_replays_what_a_standby_has() {
    if crate::support::skip() {
        return;
    }
    let cluster = with_snapshot("archive_client");
    let (standby, control) = follow(&cluster, "standby", &[]);
    let archive = standby.dir().join("archive");
    let client = ArchiveClient::start(cluster.scratch(), "archive-client", &control, &[]);
    assert_eq!(client.connected(), "connected archiveId=100");

    let listed = client.run("list 0 100");
    let recordings: Vec<&String> =
        listed.details.iter().filter(|line| line.starts_with("recording ")).collect();
    assert_eq!(
        (listed.number("count"), recordings.len()),
        (3, 3),
        "module, service and log: {recordings:#?}"
    );
    let (log, snapshots): (Vec<&String>, Vec<&String>) =
        recordings.into_iter().partition(|line| number(line, "stop") == -1);
    let (log, snapshot) = (log[0], snapshots[0]);
    let (log_id, start) = (number(log, "id"), number(log, "start"));
    assert!(start > 0, "the log begins at the snapshot");
    assert_eq!(client.run(&format!("describe {log_id}")).number("count"), 1);
    assert_eq!(client.run("describe 99").number("count"), 0);
    assert_eq!(client.run("uri 0 10 100 aeron").number("count"), 1, "the log's stream");
    assert_eq!(client.run("uri 0 10 100 nothing-like-it").number("count"), 0);
    let (session, stream) = (number(log, "session"), number(log, "stream"));
    assert_eq!(client.run(&format!("find 0 {session} {stream} aeron:")).number("id"), log_id);
    assert_eq!(client.run("find 0 1 2 aeron:").number("id"), -1);
    assert_eq!(client.run("subscriptions").number("count"), 0);

    // A stopped recording: all of it, and then the end of its stream.
    let (id, stop) = (number(snapshot, "id"), number(snapshot, "stop"));
    let positions = client.run(&format!("positions {id}"));
    let found = ["start", "stop", "recording", "max"].map(|key| positions.number(key));
    assert_eq!(found, [0, stop, -1, stop]);
    let replayed = client.run(&format!("replay {id} -1 -1 -1 {END}"));
    let expected = fingerprint(&recorded(&archive, id, 0, stop), 0);
    assert_eq!((replayed.number("crc"), replayed.number("fragments")), expected);
    assert_eq!((replayed.number("position"), replayed.text("end")), (stop, "eos"));

    // The log: up to now, and then as it grows.
    let now = cluster.await_quiet(MINUTE);
    let positions = client.run(&format!("positions {log_id}"));
    let found = ["start", "stop", "recording", "max"].map(|key| positions.number(key));
    assert_eq!(found, [start, -1, now, now]);
    let replayed = client.run(&format!("replay {log_id} {start} -1 -1 {now}"));
    let expected = fingerprint(&recorded(&archive, log_id, start, now), start);
    assert_eq!((replayed.number("crc"), replayed.number("fragments")), expected);
    assert_eq!((replayed.number("joined"), replayed.text("end")), (start, "open"));
    assert_eq!(client.run("stop").text("revoked"), "true", "stopped, not complete");

    let counter = CncReader::open(&standby.dir().join("aeron")).expect("our cnc.dat");
    let counter = counter.find(COMMIT_POSITION, &0_i32.to_le_bytes()).expect("a commit position");
    assert_eq!((counter.value, counter.label.as_str()), (now, "Cluster commit-pos: - clusterId=0"));
    let until = now + 200_000;
    let begun = client.begin(&format!("replay {log_id} {now} -1 {} {until}", counter.id));
    client::send(&cluster, 1_000);
    let replayed = client.outcome(begun);
    assert!(replayed.line.starts_with("ok "), "{replayed:?}");
    let reached = replayed.number("position");
    assert!(reached >= until);
    let expected = fingerprint(&recorded(&archive, log_id, now, reached), now);
    assert_eq!((replayed.number("crc"), replayed.number("fragments")), expected);
    client.run("stop");

    let end = cluster.await_quiet(MINUTE);
    standby.await_applied(end, MINUTE);
    for (command, code, words) in [
        (format!("replay 99 0 -1 -1 {END}"), 5, "unknown recording id: 99".to_owned()),
        (format!("replay {log_id} {} -1 -1 {END}", start + 1), 0, "is not a multiple of".to_owned()),
        (format!("replay {log_id} 0 -1 -1 {END}"), 16, "is less than recording start position".to_owned()),
        (format!("replay {id} {stop} -1 -1 {END}"), 16, "must be less than the limit position".to_owned()),
        (format!("replay {log_id} {} -1 -1 {END}", end + 4096), 16, format!("limit position={end}")),
        (
            format!("replay {log_id} {start} -1 {} {END}", counter.id + 1),
            0,
            format!("unable to create replay limit counter id= {}", counter.id + 1),
        ),
        ("positions 99".to_owned(), 5, "unknown recording id: 99".to_owned()),
    ] {
        client.expect_error(&command, code, &words);
    }
    for what in [
        "start",
        "stop",
        "extend 1",
        "truncate 1",
        "purge 1",
        "purge-segments 1",
        "detach-segments 1",
        "attach-segments 1",
        "migrate-segments 1",
        "replicate 1",
        "stop-replication",
    ] {
        client.expect_error(&format!("change {what}"), 0, "this is the archive of a standby");
    }
    assert_eq!(client.run("list 0 100").number("count"), 3, "nothing was changed, and it still answers");
    drop(client);
    standby.stop();
}

#[test]
fn an_official_archive_replicates_snapshots_to_sync_and_the_log_as_far_as_it_is_wanted() {
    if crate::support::skip() {
        return;
    }
    let cluster = with_snapshot("archive_replication");
    let (standby, control) = follow(&cluster, "standby", &[]);
    let ours = standby.dir().join("archive");
    let theirs = cluster.scratch().data("replica");
    let ports = Ports::allocate(1);
    let port = ports.base().to_string();
    let dir = theirs.display().to_string();
    let flags = ["--archive-dir", &dir, "--archive-port", &port];
    let client = ArchiveClient::start(cluster.scratch(), "replicating-archive", &control, &flags);
    assert!(client.connected().starts_with("connected "));

    let listed = client.run("list 0 100");
    for recording in listed.details.iter().filter(|line| line.starts_with("recording ")) {
        let (id, start, stop) =
            (number(recording, "id"), number(recording, "start"), number(recording, "stop"));
        let until = if stop == -1 { cluster.await_quiet(MINUTE) } else { -1 };
        // Whether a short one is seen to be whole before its stream ends is a matter of time: more than once.
        for _ in 0..if stop == -1 { 1 } else { SYNC_COUNT } {
            let replicated = client.run(&format!("replicate {id} {until}"));
            let signals: Vec<&str> = replicated.text("signals").split(',').collect();
            assert_eq!(signals.contains(&"SYNC"), stop != -1, "{replicated:?}");
            let end = replicated.number("position");
            assert!(if stop == -1 { end >= until } else { end == stop }, "{replicated:?}");
            let copy = recorded(&theirs, replicated.number("recording"), start, end);
            assert!(copy == recorded(&ours, id, start, end), "recording {id} differs");
        }
    }
    drop(client);
    standby.stop();
}

#[test]
fn only_clients_that_know_the_secrets_are_let_in() {
    if crate::support::skip() {
        return;
    }
    let cluster = Cluster::start(ClusterConfig::new("archive_access", 1));
    let gates =
        ["--archive-server-credentials", "reader:secret", "--archive-server-challenge-answer", "the-answer"];
    let (standby, control) = follow(&cluster, "standby", &gates);
    let connect = |name: &str, flags: &[&str]| {
        ArchiveClient::start(cluster.scratch(), name, &control, flags).connected()
    };
    let right = ["--credentials", "reader:secret", "--challenge", "the-answer"];
    assert_eq!(connect("right", &right), "connected archiveId=100");
    for (name, flags) in [
        ("nobody", &[][..]),
        ("wrong-credentials", &["--credentials", "reader:guess", "--challenge", "the-answer"][..]),
        ("wrong-answer", &["--credentials", "reader:secret", "--challenge", "a-guess"][..]),
    ] {
        let outcome = connect(name, flags);
        assert!(outcome.starts_with("refused code=10 "), "{name}: {outcome}");
        assert!(outcome.contains("authentication rejected"), "{name}: {outcome}");
    }
    assert!(!standby.output().contains("secret"), "{}", standby.output());
    standby.stop();
}
