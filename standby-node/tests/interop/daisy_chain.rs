//! A standby as the source of others: of standbys of ours, of Aeron's own ClusterBackup, and of whoever asks it in the
//! words of a member.

use std::time::Duration;

use consensus_tap::file::recording_log::RecordingLog;

use crate::support::agreement::{end_and_compare, last_position};
use crate::support::client::{Client, send};
use crate::support::cluster::{Cluster, ClusterConfig, field};
use crate::support::java_backup::JavaBackup;
use crate::support::ports::Ports;
use crate::support::standby::Standby;

const MINUTE: Duration = Duration::from_secs(60);
const LOAD: [&str; 4] = ["--window", "4096", "--drain-timeout-ms", "2000"];

/// A standby that is told of `endpoints` only, and may be asked at a port of its own.
fn link(cluster: &Cluster, ports: &Ports, id: u16, endpoints: &str, flags: &[&str]) -> Standby {
    let (member_id, archive_endpoint) = ((100 + id).to_string(), endpoint(ports, id));
    let own = ["--member-id", &member_id, "--archive-endpoint", &archive_endpoint];
    Standby::start(cluster.scratch(), &format!("standby-{member_id}"), endpoints, &[&own[..], flags].concat())
}

fn endpoint(ports: &Ports, id: u16) -> String {
    format!("localhost:{}", ports.port(id))
}

fn follows(standby: &Standby, source: i64) {
    standby.await_status(&format!("following {source}"), MINUTE, |status| {
        status["state"] == "FOLLOWING" && status["source_member_id"] == source
    });
}

#[test]
fn a_chain_of_three_survives_the_death_of_the_middle_one() {
    if crate::support::skip() {
        return;
    }
    let cluster = Cluster::start(ClusterConfig::new("daisy_chain", 3));
    send(&cluster, 500);
    cluster.control("SNAPSHOT");
    let ports = Ports::allocate(1);
    let top = link(&cluster, &ports, 0, &cluster.consensus_endpoints(), &[]);
    top.await_applied(cluster.await_quiet(MINUTE), MINUTE);
    let mut middle = link(&cluster, &ports, 1, &endpoint(&ports, 0), &[]);
    follows(&middle, 100);
    let last = link(&cluster, &ports, 2, &endpoint(&ports, 1), &[]);
    follows(&last, 101);
    // They began at the snapshot that the one above them had fetched.
    for standby in [&middle, &last] {
        let first = standby.audit_log().lines.first().expect("a service prints at its start").position;
        assert!(first > 0, "{}", standby.output());
    }

    let load = [&["--count", "12000", "--rate", "1000", "--size-max", "2000"][..], &LOAD].concat();
    let client = Client::spawn(&cluster, &load);
    client.await_connected();
    std::thread::sleep(Duration::from_secs(3));
    let leader = cluster.leader().expect("a leader");
    assert_eq!(last.number("leader_member_id"), i64::from(leader), "through two standbys");
    middle.kill();
    last.await_status("following another", MINUTE, |status| {
        status["state"] == "FOLLOWING" && status["source_member_id"] != 101
    });
    client.wait(MINUTE).expect_sent(12_000);
    last.await_applied(cluster.await_quiet(MINUTE), MINUTE);

    middle.restart();
    middle.await_applied(cluster.await_quiet(MINUTE), MINUTE);
    let report = end_and_compare(&cluster, &[&top, &middle, &last]);
    println!("{report:?}");
}

#[test]
fn a_standby_catches_up_from_another_one_whose_cluster_is_gone() {
    if crate::support::skip() {
        return;
    }
    let cluster = Cluster::start(ClusterConfig::new("daisy_chain_orphans", 1));
    let ports = Ports::allocate(1);
    let top = link(&cluster, &ports, 0, &cluster.consensus_endpoints(), &[]);
    send(&cluster, 1000);
    let end = cluster.await_quiet(MINUTE);
    top.await_applied(end, MINUTE);
    cluster.member(0).kill();
    top.await_status("without a source", MINUTE, |status| status["source_member_id"] == -1);

    let late = link(&cluster, &ports, 1, &endpoint(&ports, 0), &[]);
    late.await_applied(end, MINUTE);
    // The log says who led; the next answer of the one above, that nobody does.
    late.await_status("told that nobody leads", MINUTE, |status| status["leader_member_id"] == -1);
    let (top, late) = (top.audit_log(), late.audit_log());
    assert_eq!(top.lines.last(), late.lines.last(), "both hold all that the cluster committed");
}

#[test]
fn the_official_cluster_backup_follows_a_standby() {
    if crate::support::skip() {
        return;
    }
    let cluster = Cluster::start(ClusterConfig::new("daisy_chain_backup", 3));
    send(&cluster, 500);
    cluster.control("SNAPSHOT");
    let ports = Ports::allocate(2);
    let top = link(&cluster, &ports, 0, &cluster.consensus_endpoints(), &[]);
    send(&cluster, 500);
    let end = cluster.await_quiet(MINUTE);
    top.await_applied(end, MINUTE);

    let backup = JavaBackup::start(cluster.scratch(), "java-backup", &endpoint(&ports, 0), ports.port(10));
    backup.await_recorded(end);
    // And what comes while it follows.
    send(&cluster, 500);
    backup.await_recorded(cluster.await_quiet(MINUTE));
    backup.stop();

    let image =
        std::fs::read(backup.dir().join("cluster/recording.log")).expect("the backup's recording log");
    let sets = RecordingLog::parse(image).expect("a recording log").snapshot_sets(1);
    assert_eq!(sets.len(), 1, "the snapshot that we had fetched ourselves was replicated from us");
    end_and_compare(&cluster, &[&top]);
}

/// What the official codecs make of a standby's answer.
fn ask(cluster: &Cluster, ports: &Ports, flags: &[&str]) -> Vec<String> {
    let (endpoint, own_endpoint) = (endpoint(ports, 0), endpoint(ports, 5));
    let addressed = ["--endpoint", &endpoint, "--own-endpoint", &own_endpoint];
    cluster.run_java("Ask", &[&addressed[..], flags].concat(), MINUTE)
}

#[test]
fn a_standby_answers_java_as_a_member_does_and_ends_each_answer_in_order() {
    if crate::support::skip() {
        return;
    }
    let cluster = Cluster::start(ClusterConfig::new("daisy_chain_answers", 3));
    send(&cluster, 200);
    cluster.control("SNAPSHOT");
    cluster.await_quiet(MINUTE);
    // A timer may have fired behind it.
    let snapshot = last_position(&cluster.audit_logs());
    let ports = Ports::allocate(1);
    let standby = link(&cluster, &ports, 0, &cluster.consensus_endpoints(), &[]);
    send(&cluster, 200);
    standby.await_applied(cluster.await_quiet(MINUTE), MINUTE);
    let ask = |flags: &[&str]| ask(&cluster, &ports, flags);

    let answer = ask(&["--request", "backup"]);
    let backup = &answer[0];
    let number = |key: &str| field(backup, key).and_then(|text| text.parse::<i64>().ok());
    assert_eq!(number("member"), Some(100), "{backup}");
    assert_eq!(number("leader"), cluster.leader().map(i64::from), "{backup}");
    assert_eq!(number("term"), Some(standby.number("leadership_term_id")), "{backup}");
    assert_eq!(field(backup, "snapshots"), Some(format!("0@{snapshot},-1@{snapshot}").as_str()), "{backup}");
    let members = field(backup, "members").expect("members");
    let (endpoint, entries) = (endpoint(&ports, 0), members.split('|').collect::<Vec<_>>());
    assert_eq!(entries.len(), 4, "{members}");
    assert_eq!(entries[3], format!("100,{}", [endpoint.as_str(); 5].join(",")));
    assert!(entries[1].contains(&cluster.member(1).consensus_endpoint()), "{members}");
    assert_eq!(answer[1..], ["answer ended"]);

    assert_eq!(ask(&["--request", "heartbeat"]), ["answer heartbeat", "answer ended"]);
    let refused = ask(&["--request", "backup", "--version", "65536"]);
    let words = "answer event code=ERROR detail=invalid client version 1.0.0, cluster=0.3.0";
    assert_eq!(refused, [words, "answer ended"]);
    let refused = ask(&["--request", "standby-snapshot"]);
    assert!(refused[0].starts_with("answer event code=ERROR detail=a standby takes no"), "{refused:?}");
    standby.await_output("a refusal", MINUTE, |output| output.contains("StandbySnapshot: a standby takes"));
    end_and_compare(&cluster, &[&standby]);
}

#[test]
fn only_who_is_allowed_and_knows_the_words_is_answered() {
    if crate::support::skip() {
        return;
    }
    let cluster = Cluster::start(ClusterConfig::new("daisy_chain_access", 1));
    let ports = Ports::allocate(1);
    let start = |flags: &[&str]| {
        let standby = link(&cluster, &ports, 0, &cluster.consensus_endpoints(), flags);
        standby.await_state("FOLLOWING", MINUTE);
        standby
    };
    let gated = start(&[
        "--consensus-server-credentials",
        "down:stream",
        "--consensus-server-challenge-answer",
        "the-answer",
        "--archive-server-credentials",
        "down:archive",
    ]);
    let rejected = "answer event code=AUTHENTICATION_REJECTED detail=session failed authentication";
    assert_eq!(ask(&cluster, &ports, &[])[0], rejected);
    assert_eq!(ask(&cluster, &ports, &["--credentials", "down:stream", "--challenge", "guess"])[0], rejected);
    let answer = ask(&cluster, &ports, &["--credentials", "down:stream", "--challenge", "the-answer"]);
    assert!(answer[0].starts_with("answer backup member=100"), "{answer:?}");

    let words = ["--credentials", "down:stream", "--archive-credentials", "down:archive"];
    let downstream = link(
        &cluster,
        &ports,
        1,
        &endpoint(&ports, 0),
        &[&words[..], &["--routing", "single", "--challenge-answer", "the-answer"]].concat(),
    );
    send(&cluster, 200);
    downstream.await_applied(cluster.await_quiet(MINUTE), MINUTE);
    assert_eq!(downstream.number("source_member_id"), 100);
    assert!(!gated.output().contains("down:stream") && !gated.output().contains("the-answer"));
    gated.stop();

    let fenced = start(&["--serve-allow", "10.0.0.0/8,192.0.2.1"]);
    let answer = ask(&cluster, &ports, &[]);
    assert!(answer[0].starts_with("answer event code=AUTHENTICATION_REJECTED"), "{answer:?}");
    assert!(answer[0].contains("serve_allow"), "{answer:?}");
    fenced
        .await_output("a refusal", MINUTE, |output| output.contains("is not in this standby's serve_allow"));
}
