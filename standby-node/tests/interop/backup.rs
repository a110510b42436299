//! A node without services beside a real cluster: what Aeron's own `ClusterBackup` is for.
//!
//! What each method of Aeron's `ClusterBackupTest` asks for, and where it is asked here. Restoring a Java cluster from the
//! directory is a topic of its own; here a node of ours with a service starts from a copy.
//!
//! | `ClusterBackupTest.shouldBackupCluster…` | here |
//! |---|---|
//! | `NoSnapshotsAndEmptyLog`, `NoSnapshotsAndThenSendMessages`, `NoSnapshotsAndNonEmptyLog` | [`a_backup_from_the_first_message_on_fetches_snapshots_when_it_is_told_to`] |
//! | `WithSnapshot`, `WithSnapshotAndNonEmptyLog`, `WithSnapshotThenSend`, `AndJoinLive` | [`a_backup_that_begins_with_snapshots_survives_its_source_and_a_stop`] |
//! | `WithFromLatestSnapshotLogPosition` | the same: the log begins where the snapshots stand |
//! | `NonEmptyLogAfterFailure`, `NonEmptyLogWithFailure` | the same: the leader is killed before, the source while it is followed |
//! | `AfterCleanShutdown` | the same: the members' last snapshots are fetched when they are up again |
//! | `shouldResumeBackupIfStopped` | the same: stopped and started, nothing is fetched again |
//! | `shouldBeAbleToGetTimeOfNextBackupQuery`, `NonEmptyLogWithReQuery` | [`a_backup_from_the_first_message_on_fetches_snapshots_when_it_is_told_to`] |
//! | `WithSimpleAuthentication`, `WithChallengeResponseAuthentication` | [`refused_credentials_are_in_the_error_log_and_right_ones_back_up`], and `access` |
//! | `shouldLogErrorWithInvalidCredentials`, `…InvalidChallengeResponse` | the same |
//! | `WithInvalidNameResolution` for each source type | `names_that_resolve_again_after_half_a_minute_are_enough` in `consensus-tap/tests/tap` |
//! | `shouldQueryForSnapshotsWithLogPosition` | the side that answers: `consensus_tap::serving` |

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use consensus_tap::file::catalog::Catalog;
use consensus_tap::file::cnc::counters as kind;
use consensus_tap::file::recording_log::RecordingLog;
use standby_node::store::cnc::CncReader;

use crate::support::agreement::{compare_with_members, end_and_compare, last_position};
use crate::support::audit_log::AuditLog;
use crate::support::client::{Client, send};
use crate::support::cluster::{Cluster, ClusterConfig};
use crate::support::java;
use crate::support::standby::Standby;

const MINUTE: Duration = Duration::from_secs(60);
const CLUSTER_TOOL: &str = "io.aeron.cluster.ClusterTool";
/// States of `ClusterBackup`.
const BACKING_UP: i64 = 5;
const CLOSED: i64 = 7;

#[test]
fn a_backup_from_the_first_message_on_fetches_snapshots_when_it_is_told_to() {
    if crate::support::skip() {
        return;
    }
    let cluster = Cluster::start(ClusterConfig::new("backup_from_the_first", 3).flags(&["--services", "2"]));
    let backup = start(&cluster, "backup");
    // Services do not stand in the way.
    let warm = Standby::follow(&cluster, "warm", &["--service", "audit,audit", "--fetch-snapshots"]);
    for node in [&backup, &warm] {
        node.await_counter(kind::BACKUP_STATE, MINUTE, |state| state == BACKING_UP);
    }
    send(&cluster, 300);
    await_recorded(&backup, cluster.await_quiet(MINUTE));
    assert_eq!(backup.counter(kind::BACKUP_LIVE_LOG_POSITION), backup.number("recorded_position"));
    assert_eq!(backup.status().expect("a status")["role"], "BACKUP");

    cluster.control("SNAPSHOT");
    let deadline_ms = backup.counter(kind::BACKUP_QUERY_DEADLINE);
    assert!(deadline_ms > now_ms() + 50 * 60_000, "the next query is an hour after the last: {deadline_ms}");
    let (_, told) = java::run_official(CLUSTER_TOOL, &[&cluster_dir(&backup), "backup-query"]);
    assert!(told.contains("next: "), "{told}");
    assert_eq!(backup.counter(kind::BACKUP_SNAPSHOT_RETRIEVE_COUNT), 0, "nobody has asked yet");
    for count in 1..=2 {
        match count {
            // It sets the deadline and then fails to read it again, as it does beside a ClusterBackup: its second look at
            // the mark file's first string finds the next one.
            1 => drop(java::run_official(CLUSTER_TOOL, &[&cluster_dir(&backup), "backup-query", "0s"])),
            _ => {
                let told = backup.verb("backup-query", &["--delay", "0s"]);
                assert_eq!(told, "next backup query in 0s\n");
            }
        }
        backup.await_counter(kind::BACKUP_SNAPSHOT_RETRIEVE_COUNT, MINUTE, |retrieved| retrieved == count);
        assert!(backup.counter(kind::BACKUP_QUERY_DEADLINE) > now_ms() + 50 * 60_000);
        send(&cluster, 200);
        await_recorded(&backup, cluster.await_quiet(MINUTE));
        if count == 1 {
            cluster.control("SNAPSHOT");
        }
    }
    assert_eq!(backup.number("re_sources"), 0, "{}", backup.output());
    assert_eq!(backup.counter(kind::BACKUP_ERRORS), 0, "{}", backup.output());

    warm.verb("backup-query", &["--delay", "0s"]);
    // A new source is asked as well, and may have been before.
    warm.await_counter(kind::BACKUP_SNAPSHOT_RETRIEVE_COUNT, MINUTE, |retrieved| retrieved >= 1);

    end_and_compare(&cluster, &[&warm]);
    await_recorded(&backup, last_position(&cluster.audit_logs()));
    backup.stop();
    assert_eq!(backup.counter(kind::BACKUP_STATE), CLOSED);
    assert_eq!(snapshot_positions(&warm).last(), snapshot_positions(&backup).last());
    assert_eq!(snapshot_positions(&backup).len(), 2);
    let restored = restored(&cluster, &backup, "audit,audit");
    assert!(restored.lines[0].position > 0, "it began with the snapshots");
    let report = compare_with_members(&cluster.audit_logs(), restored);
    println!("{report:?}");
}

#[test]
fn a_backup_that_begins_with_snapshots_survives_its_source_and_a_stop() {
    if crate::support::skip() {
        return;
    }
    let cluster = Cluster::start(ClusterConfig::new("backup_with_snapshots", 3));
    send(&cluster, 200);
    cluster.control("SNAPSHOT");
    send(&cluster, 100);
    let killed = cluster.await_leader(None, MINUTE);
    cluster.member(killed).kill();
    cluster.await_leader(Some(killed), MINUTE);

    let mut backup = start(&cluster, "backup");
    await_recorded(&backup, cluster.await_quiet(MINUTE));
    assert_eq!(backup.counter(kind::BACKUP_SNAPSHOT_RETRIEVE_COUNT), 1);
    backup.await_status("read to its end", MINUTE, |status| {
        status["applied_position"] == status["recorded_position"]
    });
    let begins_at = snapshot_positions(&backup)[0];
    assert_eq!(log_start(&backup), begins_at);
    cluster.member(killed).restart();

    // The source dies while it is followed.
    let source = backup.number("source_member_id") as u16;
    cluster.member(source).kill();
    cluster.await_leader(None, MINUTE);
    send(&cluster, 5);
    await_recorded(&backup, cluster.await_quiet(MINUTE));
    assert_ne!(backup.number("source_member_id"), i64::from(source));
    cluster.member(source).restart();

    // Stopped and started again, it goes on where it was.
    backup.stop();
    send(&cluster, 50);
    let end = backup.counter(kind::BACKUP_LIVE_LOG_POSITION);
    backup.restart();
    await_recorded(&backup, cluster.await_quiet(MINUTE));
    assert!(
        backup.output().contains(&format!("log found start={begins_at} end={end}")),
        "{}",
        backup.output()
    );
    assert_eq!(log_start(&backup), begins_at);

    // All members end with a snapshot, and come back.
    cluster.shutdown();
    let shutdown_at = last_position(&cluster.audit_logs());
    await_recorded(&backup, shutdown_at);
    cluster.members().iter().for_each(|member| member.restart_with(&[]));
    cluster.members().iter().for_each(|member| member.await_ready());
    backup.await_counter(kind::BACKUP_SNAPSHOT_RETRIEVE_COUNT, MINUTE, |retrieved| retrieved == 1);
    assert!(snapshot_positions(&backup).iter().any(|position| *position >= shutdown_at - 96));
    send(&cluster, 20);
    cluster.shutdown();
    await_recorded(&backup, last_position(&cluster.audit_logs()));
    backup.stop();
    let restored = restored(&cluster, &backup, "audit");
    println!("{:?}", compare_with_members(&cluster.audit_logs(), restored));
}

#[test]
fn refused_credentials_are_in_the_error_log_and_right_ones_back_up() {
    if crate::support::skip() {
        return;
    }
    const CREDENTIALS: &str = "backup:of-the-cluster";
    for (name, challenge) in [("simple", None), ("challenge", Some("the-answer"))] {
        let mut gates = vec!["--credentials", CREDENTIALS];
        if let Some(answer) = challenge {
            gates.extend(["--challenge", answer]);
        }
        let cluster = Cluster::start(ClusterConfig::new(&format!("backup_access_{name}"), 1).flags(&gates));
        let join = |name: &str, credentials: &str, answer: Option<&str>| {
            let mut flags = vec!["--service", "none", "--credentials", credentials];
            answer.iter().for_each(|answer| flags.extend(["--challenge-answer", answer]));
            Standby::follow(&cluster, name, &flags)
        };
        let wrong = match challenge {
            None => join("wrong", "nobody:1", None),
            Some(_) => join("wrong", CREDENTIALS, Some("no-answer")),
        };
        wrong.await_counter(kind::BACKUP_ERRORS, MINUTE, |errors| errors > 0);
        let cnc = CncReader::open(&wrong.dir().join("aeron")).expect("a cnc.dat");
        let rejected = |text: &str| text.contains("rejects our credentials") && !text.contains("no-answer");
        assert!(cnc.errors().iter().any(|error| rejected(&error.text)), "{:?}", cnc.errors());
        assert_ne!(wrong.counter(kind::BACKUP_STATE), BACKING_UP);
        wrong.stop();

        let right = join("right", CREDENTIALS, challenge);
        let load = ["--count", "100", "--rate", "1000", "--window", "4096", "--drain-timeout-ms", "2000"];
        Client::spawn(&cluster, &[&gates[..], &load].concat()).wait(MINUTE).expect_sent(100);
        await_recorded(&right, cluster.await_quiet(MINUTE));
        right.stop();
    }
}

fn start(cluster: &Cluster, name: &str) -> Standby {
    Standby::follow(cluster, name, &["--service", "none"])
}

fn await_recorded(backup: &Standby, position: i64) {
    backup.await_status(&format!("recorded up to {position}"), MINUTE, |status| {
        status["recorded_position"].as_i64().is_some_and(|recorded| recorded >= position)
    });
}

/// What services print that start from a copy of the backup's directory, of which the cluster's end is the end. No
/// member is left that could add to it.
fn restored(cluster: &Cluster, backup: &Standby, services: &str) -> AuditLog {
    let flags = ["--service", services];
    let copy = backup.start_copy(cluster.scratch(), "restored", &cluster.consensus_endpoints(), &flags);
    copy.await_applied(last_position(&cluster.audit_logs()), MINUTE);
    copy.stop();
    copy.audit_log()
}

fn cluster_dir(backup: &Standby) -> String {
    backup.dir().join("cluster").display().to_string()
}

/// Where the snapshot sets in recording.log stand, oldest first.
fn snapshot_positions(backup: &Standby) -> Vec<i64> {
    let image = std::fs::read(backup.dir().join("cluster/recording.log")).expect("recording.log");
    let sets = RecordingLog::parse(image).expect("a recording log").snapshot_sets(0);
    sets.iter().rev().map(|set| set.log_position).collect()
}

/// Where the recording of the log begins, as the catalog says.
fn log_start(backup: &Standby) -> i64 {
    let rows = std::fs::read(backup.dir().join("cluster/recording.log")).expect("recording.log");
    let recording_id = RecordingLog::parse(rows).expect("a recording log").log_recording_id().expect("a log");
    let catalog = std::fs::read(backup.dir().join("archive/archive.catalog")).expect("a catalog");
    let catalog = Catalog::parse(&catalog).expect("a catalog");
    catalog.find(recording_id).expect("the log's recording").descriptor.start_position
}

fn now_ms() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    elapsed.as_millis() as i64
}
