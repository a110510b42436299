//! Aeron's own tools on the directory of a standby that joined by a snapshot: beside the running node, and on copies of
//! what it left when it was stopped and when it was killed. What our verbs say is held against what they say.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::archive_host::ArchiveHost;
use crate::support::client::send;
use crate::support::cluster::{Cluster, ClusterConfig, field};
use crate::support::files::copy_directory;
use crate::support::java;
use crate::support::standby::{BINARY, Standby};

const MINUTE: Duration = Duration::from_secs(60);
const CLUSTER_TOOL: &str = "io.aeron.cluster.ClusterTool";
const ARCHIVE_TOOL: &str = "io.aeron.archive.ArchiveTool";

#[test]
fn official_tools_agree_with_our_verbs_on_a_directory_that_is_in_use_was_closed_or_was_left_by_a_kill() {
    if crate::support::skip() {
        return;
    }
    let cluster = Cluster::start(ClusterConfig::new("official_tools", 1));
    send(&cluster, 300);
    cluster.await_quiet(MINUTE);
    cluster.control("SNAPSHOT");
    let mut standby = Standby::follow(&cluster, "standby", &[]);
    send(&cluster, 300);
    standby.await_applied(cluster.await_quiet(MINUTE), MINUTE);

    beside_the_running_node(&standby);
    through_a_java_driver(&cluster, &standby);
    standby.stop();
    on_what_is_left(&cluster, &standby, "stopped");
    standby.restart();
    send(&cluster, 300);
    standby.await_applied(cluster.await_quiet(MINUTE), MINUTE);
    standby.kill();
    on_what_is_left(&cluster, &standby, "killed");
}

fn beside_the_running_node(standby: &Standby) {
    let dir = standby.dir();
    let (cluster, archive) = (dir.join("cluster"), dir.join("archive"));
    let pid = standby.process().pid().to_string();

    let described = tool(CLUSTER_TOOL, &cluster, &["describe"], &[]);
    assert!(described.contains("Type: BACKUP") && described.contains(&format!("pid={pid}")), "{described}");
    assert_eq!(tool(CLUSTER_TOOL, &cluster, &["pid"], &[]).trim(), pid);
    let errors = tool(CLUSTER_TOOL, &cluster, &["errors"], &[]);
    assert!(
        errors.contains("Mark file exists") || errors.contains("Cluster component error log"),
        "{errors}"
    );
    assert_same_rows(dir, &cluster);

    let count = tool(ARCHIVE_TOOL, &archive, &["count-entries"], &[]);
    let recordings = verb(dir, &["archive", "describe"])["recordings"].as_array().expect("a list").clone();
    let valid = recordings.iter().filter(|recording| recording["state"] == "VALID").count();
    assert_eq!(count.trim(), valid.to_string());
    let described = tool(ARCHIVE_TOOL, &archive, &["describe"], &[]);
    for recording in recordings.iter().filter(|recording| recording["state"] == "VALID") {
        let line = format!(
            "recordingId={}|startTimestamp={}|stopTimestamp={}|startPosition={}|stopPosition={}|initialTermId={}|",
            recording["recording_id"],
            recording["start_timestamp"],
            recording["stop_timestamp"],
            recording["start_position"],
            recording["stop_position"],
            recording["initial_term_id"]
        );
        assert!(described.contains(&line), "{line} is not in {described}");
    }
    standby.await_state("FOLLOWING", MINUTE);
}

/// A Java media driver beside us lets `ClusterTool` ask our archive.
fn through_a_java_driver(cluster: &Cluster, standby: &Standby) {
    let output = standby.output();
    let archive_endpoint =
        output.split("archive_addr=").nth(1).and_then(|rest| rest.split_whitespace().next());
    let archive_endpoint = archive_endpoint.expect("the address in the log").to_owned();
    let (other, aeron_dir) = (cluster.scratch().data("other"), cluster.scratch().data("other-driver"));
    std::fs::create_dir_all(other.join("archive")).expect("a directory");
    let _host = ArchiveHost::start(&cluster.scratch().log("beside-host"), &other, &aeron_dir, &[]);
    let properties = [
        format!("-Daeron.dir={}", aeron_dir.display()),
        format!("-Daeron.archive.control.channel=aeron:udp?endpoint={archive_endpoint}"),
        "-Daeron.archive.control.response.channel=aeron:udp?endpoint=localhost:0".to_owned(),
    ];
    let plan = verb(standby.dir(), &["recovery-plan", "--services", "1"]);
    let theirs = tool(CLUSTER_TOOL, &standby.dir().join("cluster"), &["recovery-plan", "1"], &properties);
    for text in [
        format!("lastLeadershipTermId={}", plan["last_leadership_term_id"]),
        format!("recordingId={}", plan["snapshots"][0]["recording_id"]),
        format!("startPosition={}", plan["log"]["start_position"]),
    ] {
        assert!(theirs.contains(&text), "{text} is not in {theirs}");
    }
}

fn on_what_is_left(cluster: &Cluster, standby: &Standby, how: &str) {
    let copy = |name: &str| {
        let to = cluster.scratch().data(&format!("{how}-{name}"));
        copy_directory(standby.dir(), &to);
        to
    };

    // A Java archive opens the directory, and plans from it what we plan.
    let opened = copy("opened");
    let plan = verb(&opened, &["recovery-plan", "--services", "1"]);
    let snapshot = verb(&opened, &["snapshot", "describe"]);
    let aeron_dir = standby.dir().join("aeron");
    std::fs::remove_dir_all(&aeron_dir).expect("the cnc.dat of a node that has ended");
    let host = ArchiveHost::start(&cluster.scratch().log(&format!("{how}-host")), &opened, &aeron_dir, &[]);
    let ipc = [
        format!("-Daeron.dir={}", aeron_dir.display()),
        "-Daeron.archive.control.channel=aeron:ipc".to_owned(),
        "-Daeron.archive.control.response.channel=aeron:ipc".to_owned(),
    ];
    let theirs = tool(CLUSTER_TOOL, &opened.join("cluster"), &["recovery-plan", "1"], &ipc);
    for text in [
        format!("lastLeadershipTermId={}", plan["last_leadership_term_id"]),
        format!("appendedLogPosition={}", plan["appended_log_position"]),
        format!("committedLogPosition={}", plan["committed_log_position"]),
        format!("recordingId={}", plan["snapshots"][0]["recording_id"]),
        format!("recordingId={}", plan["snapshots"][1]["recording_id"]),
        format!("startPosition={}", plan["log"]["start_position"]),
        format!("stopPosition={}", plan["log"]["stop_position"]),
    ] {
        assert!(theirs.contains(&text), "{how}: {text} is not in {theirs}");
    }
    let theirs = tool(CLUSTER_TOOL, &opened.join("cluster"), &["describe-latest-cm-snapshot"], &ipc);
    for text in [
        format!("nextSessionId={}", snapshot["next_session_id"]),
        format!("logServiceSessionId={}", snapshot["services"][0]["log_service_session_id"]),
        format!("appVersion={}", snapshot["app_version"]),
    ] {
        assert!(theirs.contains(&text), "{how}: {text} is not in {theirs}");
    }
    drop(host);
    std::fs::remove_dir_all(&aeron_dir).expect("what the killed driver left");

    let verified = copy("verified");
    let ours = verb(&verified, &["archive", "verify"]);
    let before = verb(&verified, &["archive", "describe"]);
    let theirs = tool(ARCHIVE_TOOL, &verified.join("archive"), &["verify", "-a"], &[]);
    for recording in before["recordings"].as_array().expect("a list") {
        let ok = format!("(recordingId={}) OK", recording["recording_id"]);
        assert!(theirs.contains(&ok), "{how}: {ok} is not in {theirs}");
    }
    let after = verb(&verified, &["archive", "describe"]);
    let ends = |list: &Value, of: &str| -> Vec<i64> {
        list["recordings"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| one[of].as_i64().expect("one"))
            .collect()
    };
    assert_eq!(ends(&ours, "data_end"), ends(&after, "stop_position"), "{how}: where the data ends");
    let dumped = tool(ARCHIVE_TOOL, &verified.join("archive"), &["dump", "1000000"], &[]);
    assert!(dumped.contains("Recording 0") && !dumped.contains("Exception"), "{how}: {dumped}");

    let seeded = copy("seeded");
    let newest = verb(&seeded, &["snapshot", "list"])["snapshots"][0].clone();
    tool(CLUSTER_TOOL, &seeded.join("cluster"), &["seed-recording-log-from-snapshot"], &[]);
    let rows = verb(&seeded, &["recording-log"]);
    let rows = rows["entries"].as_array().expect("a list");
    assert_eq!(rows.len(), 2, "{how}: the newest set alone: {rows:?}");
    assert!(rows.iter().all(|row| row["log_position"] == 0));
    assert_eq!(rows[1]["recording_id"], newest["consensus_module_recording_id"]);

    let (by_java, by_us) = (copy("invalidated"), copy("invalidated-by-us"));
    tool(CLUSTER_TOOL, &by_java.join("cluster"), &["invalidate-latest-snapshot"], &[]);
    verb(&by_us, &["snapshot", "invalidate"]);
    let rows = |dir: &Path| std::fs::read(dir.join("cluster/recording.log")).expect("recording.log");
    assert_eq!(rows(&by_java), rows(&by_us), "{how}: the same rows are invalid");
    assert_same_rows(&by_us, &by_java.join("cluster"));
}

/// The rows that `ClusterTool` prints are those that we print.
fn assert_same_rows(ours: &Path, theirs: &Path) {
    let theirs = tool(CLUSTER_TOOL, theirs, &["recording-log"], &[]);
    let output = Command::new(BINARY).args(["recording-log", "--dir"]).arg(ours).output();
    let ours = String::from_utf8(output.expect("the binary runs").stdout).expect("text");
    for row in ours.lines() {
        for word in row.trim_matches(['{', '}']).split(", ").map(|word| word.trim_start_matches("Entry{")) {
            assert!(theirs.contains(word), "{word} is not in {theirs}");
        }
    }
    let fields: Vec<_> = ours.lines().filter_map(|row| field(row, "type")).collect();
    assert_eq!(ours.lines().count(), theirs.matches("Entry{").count(), "{fields:?}: {theirs}");
}

/// One of our verbs, as JSON.
fn verb(dir: &Path, words: &[&str]) -> Value {
    let output = Command::new(BINARY).args(words).arg("--json").arg("--dir").arg(dir).output();
    let output = output.expect("the binary runs");
    assert!(output.status.success(), "{words:?}: {output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// One of Aeron's tools, to its end.
fn tool(class: &str, dir: &Path, words: &[&str], properties: &[String]) -> String {
    let output = java::aeron_tool(class, properties).arg(dir).args(words).output().expect("java runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{class} {words:?}: {}\n{text}\n{errors}", output.status);
    text
}
