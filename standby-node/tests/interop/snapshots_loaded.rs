//! Members that never take a snapshot start from those that the standby has announced, whatever they were doing when it
//! did; and what they may still need is not purged.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use consensus_tap::file::recording_log::{CONSENSUS_MODULE_ID, Entry, EntryKind, RecordingLog};
use serde_json::Value;
use standby_node::store::standby_snapshots::StandbySnapshots;

use crate::support::agreement::end_and_compare;
use crate::support::audit_log::AuditLine;
use crate::support::client::Client;
use crate::support::cluster::{Cluster, ClusterConfig, Member, await_some};
use crate::support::files::copy_directory;
use crate::support::java;
use crate::support::standby::{BINARY, Standby};

const MINUTE: Duration = Duration::from_secs(60);
/// Far more than any test takes; the client is stopped.
const ENDLESS: [&str; 10] = [
    "--count",
    "1000000",
    "--rate",
    "300",
    "--size-min",
    "32",
    "--size-max",
    "2000",
    "--drain-timeout-ms",
    "2000",
];
/// Timers and service messages that are pending across every snapshot.
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
fn members_start_from_standby_snapshots_whatever_they_did_when_these_were_announced() {
    if crate::support::skip() {
        return;
    }
    let rig = Rig::start("snapshots_loaded", 1, &["--snapshot-interval", "3s"]);
    let restarted = rig.cluster.follower().expect("a follower");
    let rounds = if std::env::var_os("STANDBY_LONG").is_some() { 20 } else { 2 };
    for _ in 0..rounds {
        rig.restart_and_load(restarted);
    }
    rig.load_while_running(rig.other_follower(restarted));
    rig.wipe_and_seed(rig.cluster.follower().expect("a follower"));

    // One stands still while sets are announced: it gets to read of them afterwards.
    let follower = rig.cluster.follower().expect("a follower");
    let paused = rig.cluster.member(follower);
    let before = rig.newest_set();
    paused.pause();
    rig.await_newer_set(rig.await_newer_set(before));
    paused.resume();
    rig.await_taken(follower, before);

    // The leader dies just when it is told.
    let leader = rig.cluster.leader().expect("a leader");
    rig.standby.take_snapshot();
    rig.cluster.member(leader).kill();
    rig.cluster.await_leader(Some(leader), MINUTE);
    rig.standby.take_snapshot();
    thread::sleep(Duration::from_secs(20));
    rig.start_again_and_load(leader);
    rig.end();
}

#[test]
fn members_with_two_services_start_from_standby_snapshots() {
    if crate::support::skip() {
        return;
    }
    let rig = Rig::start("snapshots_loaded_two_services", 2, &["--snapshot-interval", "3s"]);
    let follower = rig.cluster.follower().expect("a follower");
    rig.restart_and_load(follower);
    rig.load_while_running(rig.other_follower(follower));
    rig.wipe_and_seed(follower);
    rig.end();
}

#[test]
fn what_nobody_needs_is_purged_and_a_member_that_was_away_finds_its_set() {
    if crate::support::skip() {
        return;
    }
    let flags = ["--snapshot-interval", "2s", "--retain-snapshots", "1"];
    let mut rig = Rig::start("snapshots_retained", 1, &flags);
    rig.await_purge(0);

    // What a member that is away has taken last stays, with the log behind it.
    let away = rig.cluster.follower().expect("a follower");
    rig.await_taken(away, rig.newest_set());
    rig.cluster.member(away).kill();
    let kept = rig.taken(away).expect("a set that it has taken");
    let newest = rig.await_newer_set(rig.await_newer_set(rig.newest_set()));
    await_some("sets that were purged around the one that stays", MINUTE, || {
        (rig.set_positions().last() == Some(&kept)).then_some(())
    });
    assert!(newest > kept && rig.log_start() <= kept);
    let plan = rig.verb(&["archive", "purge", "--keep-snapshots", "1", "--dry-run"]);
    assert_eq!(plan["snapshot_positions"], serde_json::json!([]), "{plan}");
    assert_eq!(plan["new_log_start_position"], plan["log_start_position"], "{plan}");
    let started_from = rig.start_again_and_load(away);
    assert_eq!(started_from, kept, "no set was announced to it after that one");
    // Now it has newer ones, and all of that goes.
    rig.await_purge(kept);

    rig.standby.kill();
    let copy = rig.cluster.scratch().data("copy");
    copy_directory(rig.standby.dir(), &copy);
    let output = java::aeron_tool("io.aeron.archive.ArchiveTool", &[])
        .arg(copy.join("archive"))
        .args(["verify", "-a"])
        .output()
        .expect("java runs");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("OK") && !text.contains("ERR"), "{text}");

    let line_count = rig.standby.audit_log().lines.len();
    let start = rig.log_start();
    rig.standby.restart();
    rig.standby.await_state("FOLLOWING", MINUTE);
    rig.await_newer_set(rig.newest_set());
    let first = rig.standby.audit_log().lines[line_count].position;
    assert!(first >= start && start > 0, "it starts from a set at {first}, in a log that begins at {start}");
    rig.end();
}

/// A cluster whose members never snapshot, a standby that does, and a client that never rests.
struct Rig {
    client: Client,
    standby: Standby,
    services: usize,
    cluster: Cluster,
}

impl Rig {
    fn start(test: &str, services: usize, flags: &[&str]) -> Self {
        let count = services.to_string();
        let lengths = ["--term-length", "256k", "--segment-length", "256k"];
        let member_flags = ["--accept-standby-snapshots", "--services", &count];
        let config = ClusterConfig::new(test, 3).flags(&[&member_flags[..], &lengths].concat());
        let cluster = Cluster::start(config);
        let names = ["audit"].repeat(services).join(",");
        let own = ["--service", &names, "--snapshot-term-length", "64k", "--sync-interval", "200ms"];
        let standby = Standby::follow(&cluster, "standby", &[&own[..], flags].concat());
        let client = Client::spawn(&cluster, &[&ENDLESS[..], &COMMANDS, &["--services", &count]].concat());
        client.await_connected();
        let rig = Self { client, standby, services, cluster };
        rig.await_newer_set(0);
        rig
    }

    /// Ends everything: all hold the same state, and no member's recording log was spoiled.
    fn end(self) {
        self.client.stop(MINUTE);
        let report = end_and_compare(&self.cluster, &[&self.standby]);
        for member in self.cluster.members() {
            let rows = rows(member);
            let announced: Vec<&Entry> =
                rows.iter().filter(|row| matches!(row.kind, EntryKind::StandbySnapshot { .. })).collect();
            for (at, row) in announced.iter().enumerate() {
                let is_same = |other: &&&Entry| {
                    (other.log_position, other.service_id) == (row.log_position, row.service_id)
                };
                assert!(
                    !announced[..at].iter().any(|other| is_same(&other)),
                    "member {} was told twice of {row:?}",
                    member.id()
                );
            }
            assert_eq!(announced.len() % (self.services + 1), 0, "a set is not whole: {announced:?}");
        }
        let output = self.standby.output();
        let [taken, snapshots, unknown, unreachable] = [
            "snapshot taken by a member",
            "standby snapshot taken",
            "nobody knows whether",
            "could not be told",
        ]
        .map(|words| output.matches(words).count());
        println!(
            "{snapshots} snapshots: {taken} taken, {unknown} unknown, {unreachable} not told; {report:?}"
        );
    }

    fn standby_snapshots(&self) -> StandbySnapshots {
        let path = StandbySnapshots::path_in(&self.standby.dir().join("cluster"));
        StandbySnapshots::read(&path).expect("what members were told")
    }

    /// Log position of the newest set that a member has certainly taken.
    fn taken(&self, member: u16) -> Option<i64> {
        self.standby_snapshots().member(i32::from(member)).and_then(|record| record.taken_log_position)
    }

    fn await_taken(&self, member: u16, position: i64) -> i64 {
        await_some(&format!("set after {position} that member {member} has taken"), MINUTE * 2, || {
            self.taken(member).filter(|&taken| taken > position)
        })
    }

    /// Positions of the standby's sets, newest first.
    fn set_positions(&self) -> Vec<i64> {
        let path = self.standby.dir().join("cluster/recording.log");
        let Ok(log) = RecordingLog::parse(fs::read(path).unwrap_or_default()) else { return Vec::new() };
        log.snapshot_sets(self.services).iter().map(|set| set.log_position).collect()
    }

    fn newest_set(&self) -> i64 {
        self.set_positions().first().copied().unwrap_or(0)
    }

    fn await_newer_set(&self, position: i64) -> i64 {
        await_some(&format!("snapshot after {position}"), MINUTE, || {
            Some(self.newest_set()).filter(|&newest| newest > position)
        })
    }

    fn verb(&self, words: &[&str]) -> Value {
        let output =
            Command::new(BINARY).args(words).arg("--json").arg("--dir").arg(self.standby.dir()).output();
        let output = output.expect("the binary runs");
        assert!(output.status.success(), "{words:?}: {output:?}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    fn log_start(&self) -> i64 {
        let described = self.verb(&["archive", "describe", "--recording-id", "0"]);
        described["recordings"][0]["start_position"].as_i64().expect("a start position")
    }

    /// Waits until sets and log up to `position` are gone, their files too.
    fn await_purge(&self, position: i64) {
        await_some(&format!("purge of what lies up to {position}"), MINUTE * 2, || {
            let start = self.log_start();
            let oldest = *self.set_positions().last()?;
            let first = fs::read_dir(self.standby.dir().join("archive")).ok()?.filter_map(|entry| {
                let name = entry.ok()?.file_name().into_string().ok()?;
                name.strip_suffix(".rec")?.strip_prefix("0-")?.parse::<i64>().ok()
            });
            (start > 0 && oldest > position && first.min()? == start).then_some(())
        });
    }

    fn other_follower(&self, not: u16) -> u16 {
        let leader = self.cluster.leader().expect("a leader");
        (0..3).find(|&id| id != not && id != leader).expect("a second follower")
    }

    /// `kill -9` once the member has taken another set, and a start from that or a later one.
    fn restart_and_load(&self, id: u16) {
        self.await_taken(id, self.newest_set());
        self.cluster.member(id).kill();
        self.start_again_and_load(id);
    }

    /// A start from the newest set that the member has taken; returns where that is.
    fn start_again_and_load(&self, id: u16) -> i64 {
        let member = self.cluster.member(id);
        let taken = self.taken(id).expect("a set that it has taken");
        let from = self.start_member(id);
        assert!(from >= taken, "member {id} starts from {from} and has taken a set at {taken}");
        self.has_loaded(member, from);
        from
    }

    /// Starts a member; returns the position of its services' state.
    fn start_member(&self, id: u16) -> i64 {
        let member = self.cluster.member(id);
        let line_count = member.lines().len();
        member.restart();
        let lines = member.lines();
        let first: Vec<AuditLine> = lines[line_count..]
            .iter()
            .filter_map(|line| AuditLine::parse(line))
            .take(self.services)
            .collect();
        assert!(first.iter().all(|line| line.position == first[0].position), "{first:?}");
        first[0].position
    }

    /// The member's recording log says that it has the set at `position` in its own archive.
    fn has_loaded(&self, member: &Member, position: i64) {
        let rows = rows(member);
        let loaded = rows
            .iter()
            .filter(|row| row.kind == EntryKind::Snapshot && row.valid && row.log_position == position);
        let services: Vec<i32> = loaded.map(|row| row.service_id).collect();
        let all: Vec<i32> = (CONSENSUS_MODULE_ID..self.services as i32).collect();
        assert!(
            all.iter().all(|id| services.contains(id)),
            "member {} at {position}: {services:?}",
            member.id()
        );
    }

    /// A running member fetches the newest set that it has taken.
    fn load_while_running(&self, id: u16) {
        self.await_taken(id, self.newest_set());
        self.cluster.node_control(id, "REPLICATE_STANDBY_SNAPSHOT");
        let member = self.cluster.member(id);
        let own = await_some("a set in the member's own archive", MINUTE, || {
            let rows = rows(member);
            let newest = rows.iter().filter(|row| row.kind == EntryKind::Snapshot && row.valid);
            newest.map(|row| row.log_position).max()
        });
        self.has_loaded(member, own);
    }

    /// A member that lost its disk starts from what the standby has.
    fn wipe_and_seed(&self, id: u16) {
        let member = self.cluster.member(id);
        member.kill();
        fs::remove_dir_all(member.dir()).expect("the member's disk");
        let out = member.dir().display().to_string();
        let services = self.services.to_string();
        let seeded =
            self.verb(&["seed", "--member-id", &id.to_string(), "--services", &services, "--out", &out]);
        let position = seeded["snapshot_position"].as_i64().expect("a snapshot");
        assert_eq!(self.start_member(id), position);
    }
}

fn rows(member: &Member) -> Vec<Entry> {
    let image = fs::read(member.dir().join("cluster/recording.log")).expect("the member's recording log");
    let log = RecordingLog::parse(image).expect("a recording log");
    log.rows().iter().map(|row| row.entry.clone()).collect()
}
