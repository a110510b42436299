//! The operator's verbs on directories, stopped and killed: what they print, what they change, and what they refuse.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use consensus_tap::file::catalog::{Catalog, RecordState, field};
use serde_json::Value;
use standby_node::store::directory::NodeDirectory;
use standby_node::store::durability::DurabilityFile;
use support::history::{Ending, MEMBER_ID, Made, SEGMENT, make};
use support::node::{Node, NodeFlags, Output, closed_port, path, run};
use tempfile::TempDir;

fn made(log_length: i64, ending: Ending) -> (TempDir, Made) {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let made = make(&temp.path().join("node"), log_length, ending);
    (temp, made)
}

/// Runs a verb that succeeds, as text and as JSON; returns both.
#[track_caller]
fn report(verb: &[&str], dir: &Path) -> (String, Value) {
    let text = verb_on(verb, dir, &[]);
    assert_eq!(text.code, Some(0), "{text:#?}");
    let json = verb_on(verb, dir, &["--json"]);
    assert_eq!(json.code, Some(0), "{json:#?}");
    (text.stdout, serde_json::from_str(&json.stdout).expect("JSON"))
}

fn verb_on(verb: &[&str], dir: &Path, more: &[&str]) -> Output {
    run(&[verb, &["--dir", path(dir)], more].concat())
}

/// Every file below a directory, with its content.
fn content(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).expect("a directory") {
        let entry = entry.expect("an entry").path();
        if entry.is_dir() {
            files.extend(content(&entry));
        } else {
            files.insert(path(&entry).to_owned(), fs::read(&entry).expect("a file"));
        }
    }
    files
}

#[test]
fn looking_tells_what_lies_there_and_changes_nothing() {
    for ending in [Ending::Clean, Ending::Killed] {
        let (_temp, made) = made(SEGMENT * 4, ending);
        let before = content(&made.dir);
        let newest = &made.sets[1];

        let (text, json) = report(&["describe"], &made.dir);
        assert!(text.contains("cluster-mark.dat: BACKUP 9") && text.contains("no source answers"), "{text}");
        assert_eq!(json["log"]["end_position"], made.end);
        assert_eq!(json["log"]["stop_position"], if ending == Ending::Clean { made.end } else { -1 });
        assert_eq!(json["durable_position"], made.end);
        assert_eq!(json["cluster_mark"]["id"], MEMBER_ID);
        assert_eq!(json["is_in_use"], false);

        let (text, json) = report(&["recording-log"], &made.dir);
        let row = format!(
            "Entry{{recordingId={}, leadershipTermId=0, termBaseLogPosition=0, logPosition={}, timestamp={}, \
             serviceId=-1, type=SNAPSHOT, isValid=true, entryIndex=4}}",
            newest.consensus_module, newest.log_position, newest.timestamp
        );
        assert!(text.contains(&row), "{row} in {text}");
        assert_eq!(json["entries"].as_array().map(Vec::len), Some(5));

        let (text, json) = report(&["recovery-plan", "--services", "1"], &made.dir);
        assert!(
            text.contains(&format!("log: recording 0, from {} to {}", newest.log_position, made.end)),
            "{text}"
        );
        assert_eq!(json["appended_log_position"], made.end);
        assert_eq!(json["snapshots"][0]["recording_id"], newest.consensus_module);
        assert_eq!(json["snapshots"][1]["service_id"], 0);
        let (_, json) = report(&["recovery-plan", "--services", "2"], &made.dir);
        assert_eq!(json["snapshots"].as_array().map(Vec::len), Some(0), "no set has two services");
        assert_eq!(json["log"]["start_position"], 0);

        let (_, json) = report(&["snapshot", "list"], &made.dir);
        assert_eq!(json["snapshots"][0]["log_position"], newest.log_position);
        assert_eq!(json["snapshots"][1]["log_position"], made.sets[0].log_position);

        let (text, json) = report(&["snapshot", "describe"], &made.dir);
        assert!(text.contains("session 1 open") && text.contains("timer 5: due at"), "{text}");
        assert_eq!(json["services"][0]["pending_message_lengths"].as_array().map(Vec::len), Some(2));
        assert_eq!(json["services"][0]["session_ids"][0], 1);
        assert_eq!(json["services"][0]["application_length"], 32);
        assert_eq!(json["next_session_id"], 2);
        let at = made.sets[0].log_position.to_string();
        let (_, json) = report(&["snapshot", "describe", "--log-position", &at], &made.dir);
        assert_eq!(json["services"][0]["pending_message_lengths"].as_array().map(Vec::len), Some(1));

        let (text, json) = report(&["snapshot", "verify", "--all"], &made.dir);
        assert!(text.contains("0 of 2 snapshot sets are faulty"), "{text}");
        assert_eq!(json["faulty_count"], 0);

        let (text, json) = report(&["archive", "describe"], &made.dir);
        assert!(text.contains("recording 0 VALID: 0 to"), "{text}");
        assert_eq!(json["recordings"][0]["segments"].as_array().map(Vec::len), Some(5));
        let (text, json) = report(&["archive", "verify"], &made.dir);
        assert!(text.contains("0 of 5 recordings are faulty"), "{text}");
        assert_eq!(json["recordings"][0]["frame_count"], made.frames.len());

        assert_eq!(before, content(&made.dir), "a look changes nothing");
    }
}

#[test]
fn every_verb_works_beside_a_running_node_or_says_that_one_runs() {
    let (_temp, made) = made(SEGMENT, Ending::Clean);
    let node = Node::running(NodeFlags { dir: Some(made.dir.clone()), ..Default::default() });
    node.await_status("applied", |status| status["applied_position"].as_i64() == Some(made.end));
    let pid = node.pid();

    let (_, json) = report(&["describe"], &made.dir);
    assert_eq!(
        (json["is_in_use"].as_bool(), json["cluster_mark"]["pid"].as_u64()),
        (Some(true), Some(pid.into()))
    );
    for verb in [
        &["recording-log"][..],
        &["recovery-plan"],
        &["snapshot", "list"],
        &["snapshot", "describe"],
        &["snapshot", "verify"],
        &["archive", "describe"],
        &["archive", "verify"],
        &["archive", "purge", "--keep-snapshots", "1", "--dry-run"],
    ] {
        report(verb, &made.dir);
    }
    for verb in [
        &["snapshot", "invalidate"][..],
        &["archive", "verify", "--repair"],
        &["archive", "purge", "--keep-snapshots", "1"],
        &["reseed"],
    ] {
        let refused = verb_on(verb, &made.dir, &[]);
        refused.expect_error(1, &["a node runs in this directory", &pid.to_string(), "stop it"]);
    }
    let out = made.dir.with_file_name("member");
    let seeded = verb_on(&["seed", "--member-id", "0", "--out", path(&out)], &made.dir, &[]);
    assert_eq!(seeded.code, Some(0), "{seeded:?}");
    drop(node);
}

#[test]
fn a_directory_that_is_none_is_named() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let nowhere = temp.path().join("nowhere");
    for verb in [
        &["describe"][..],
        &["recording-log"],
        &["recovery-plan"],
        &["snapshot", "list"],
        &["snapshot", "take", "--wait", "1"],
        &["snapshot", "--wait", "1"],
        &["snapshot", "invalidate"],
        &["archive", "verify", "--repair"],
        &["archive", "purge", "--before-position", "64"],
        &["seed", "--member-id", "0", "--out", "o"],
    ] {
        verb_on(verb, &nowhere, &[]).expect_error(1, &[path(&nowhere), "no node has run here", "--dir"]);
    }
    assert!(!nowhere.exists(), "a typing error leaves no directory behind");
    run(&["archive", "purge", "--dir", path(&nowhere)]).expect_error(2, &["--keep-snapshots"]);
    run(&["snapshot"]).expect_error(2, &["--dir"]);
}

#[test]
fn an_invalidated_set_counts_no_more_and_the_one_before_it_does() {
    let (_temp, made) = made(SEGMENT * 2, Ending::Killed);
    let (_, json) = report(&["snapshot", "list"], &made.dir);
    assert_eq!(json["snapshots"].as_array().map(Vec::len), Some(2));
    assert_eq!(verb_on(&["snapshot", "invalidate"], &made.dir, &[]).code, Some(0));
    let (_, json) = report(&["snapshot", "list"], &made.dir);
    assert_eq!(json["snapshots"][0]["log_position"], made.sets[0].log_position);
    let (text, _) = report(&["recording-log"], &made.dir);
    assert_eq!(text.matches("isValid=false").count(), 2, "{text}");

    // The lock still names the node that was killed, so its mark files do not block the next start for ten seconds.
    let node = Node::running(NodeFlags { dir: Some(made.dir.clone()), ..Default::default() });
    node.await_status("applied", |status| status["applied_position"].as_i64() == Some(made.end));
    let unknown = verb_on(&["snapshot", "describe", "--log-position", "32"], &made.dir, &[]);
    unknown.expect_error(1, &["recording.log", "at log position 32", "snapshot list"]);
}

#[test]
fn a_purge_deletes_what_its_dry_run_named_and_leaves_a_directory_to_start_from() {
    let (_temp, made) = made(SEGMENT * 6, Ending::Clean);
    let purge = ["archive", "purge", "--keep-snapshots", "1"];
    let before = content(&made.dir);
    let (text, planned) = report(&[&purge[..], &["--dry-run"]].concat(), &made.dir);
    assert!(text.contains("would go"), "{text}");
    assert_eq!(before, content(&made.dir), "a dry run changes nothing");

    let done = verb_on(&purge, &made.dir, &["--json"]);
    let done: Value = serde_json::from_str(&done.stdout).expect("JSON");
    assert_eq!(done["files"], planned["files"]);
    assert_eq!(done["snapshot_positions"][0], made.sets[0].log_position);
    let newest = made.sets[1].log_position;
    let base = newest - newest % SEGMENT;
    assert_eq!(done["new_log_start_position"], base);
    let after = content(&made.dir);
    for file in planned["files"].as_array().expect("files") {
        assert!(!after.contains_key(file.as_str().expect("a path")), "{file} is gone");
    }
    assert_eq!(report(&["archive", "verify"], &made.dir).1["faulty_count"], 0);
    let (_, json) = report(&["archive", "describe", "--recording-id", "0"], &made.dir);
    assert_eq!(json["recordings"][0]["start_position"], base);

    let again = verb_on(&purge, &made.dir, &["--json"]);
    let again: Value = serde_json::from_str(&again.stdout).expect("JSON");
    assert_eq!(again["files"].as_array().map(Vec::len), Some(0), "nothing is left to purge");
    let node = Node::running(NodeFlags { dir: Some(made.dir.clone()), ..Default::default() });
    node.await_status("applied", |status| status["applied_position"].as_i64() == Some(made.end));
}

#[test]
fn a_purge_before_a_position_keeps_the_newest_set_and_its_log() {
    let (_temp, made) = made(SEGMENT * 6, Ending::Killed);
    let before = (made.sets[0].log_position + 32).to_string();
    let done = verb_on(&["archive", "purge", "--before-position", &before], &made.dir, &["--json"]);
    let done: Value = serde_json::from_str(&done.stdout).expect("JSON");
    let first = made.sets[0].log_position;
    assert_eq!(done["new_log_start_position"], first - first % SEGMENT);
    let done = verb_on(&["archive", "purge", "--before-position", "99999999999"], &made.dir, &["--json"]);
    let done: Value = serde_json::from_str(&done.stdout).expect("JSON");
    let newest = made.sets[1].log_position;
    assert_eq!(done["new_log_start_position"], newest - newest % SEGMENT);
    assert_eq!(done["kept_snapshot_positions"][0], newest);
}

#[test]
fn a_purge_keeps_what_a_member_was_told_of() {
    let (_temp, made) = made(SEGMENT * 6, Ending::Killed);
    let announced = |outcome: &str, taken: &str| {
        let at = made.sets[0].log_position;
        let member = format!(
            r#"{{"members": [{{"member_id": 0, "endpoint": "a:1", "log_position": {at}, "outcome": "{outcome}",
               "detail": "", "time_ms": 1, "taken_log_position": {taken}}}]}}"#
        );
        fs::write(made.dir.join("cluster/standby-snapshots.json"), member).expect("written");
        let plan = report(&["archive", "purge", "--keep-snapshots", "1", "--dry-run"], &made.dir).1;
        plan["snapshot_positions"].as_array().map(Vec::len)
    };
    let at = made.sets[0].log_position.to_string();
    assert_eq!(announced("refused", "null"), Some(1));
    assert_eq!(announced("taken", &at), Some(0));
    assert_eq!(announced("unknown", "null"), Some(0), "nobody can tell whether the member refers to it");
    assert_eq!(announced("refused", &at), Some(0), "it was taken before");
}

/// Gives a recording another state, as `ArchiveTool` does.
fn mark_recording(dir: &Path, recording_id: i64, state: RecordState) {
    let path = dir.join("archive/archive.catalog");
    let catalog = Catalog::parse(&fs::read(&path).expect("a catalog")).expect("records");
    let record = catalog.records.iter().find(|record| record.descriptor.recording_id == recording_id);
    let offset = record.expect("a record").offset + field::STATE;
    let file = fs::File::options().write(true).open(&path).expect("the catalog");
    file.write_all_at(&(state as i32).to_le_bytes(), offset).expect("written");
}

#[test]
fn a_set_whose_recording_is_not_in_use_makes_no_other_unwanted_and_keeps_its_files_where_it_is_invalid() {
    let newest_to_keep = ["archive", "purge", "--keep-snapshots", "1"];
    for state in [RecordState::Deleted, RecordState::Invalid] {
        let (_temp, made) = made(SEGMENT * 6, Ending::Clean);
        let [sound, broken] = &made.sets[..] else { panic!("two sets") };
        mark_recording(&made.dir, broken.services[0], state);
        let (_, plan) = report(&[&newest_to_keep[..], &["--dry-run"]].concat(), &made.dir);
        let done = verb_on(&newest_to_keep, &made.dir, &["--json"]);
        let done: Value = serde_json::from_str(&done.stdout).expect("JSON");
        assert_eq!(done["files"], plan["files"]);
        assert_eq!(done["snapshot_positions"].as_array().map(Vec::len), Some(0), "{state:?}: {done}");
        assert_eq!(done["kept_snapshot_positions"], serde_json::json!([sound.log_position]));
        assert_eq!(done["new_log_start_position"], sound.log_position - sound.log_position % SEGMENT);
        let is_there = made.dir.join(format!("archive/{}-0.rec", broken.services[0])).exists();
        assert_eq!(is_there, state == RecordState::Invalid, "{state:?}");
    }

    // `mark-valid` brings the set back, with all that belongs to it.
    let (_temp, made) = made(SEGMENT * 6, Ending::Clean);
    mark_recording(&made.dir, made.sets[1].services[0], RecordState::Invalid);
    assert_eq!(verb_on(&newest_to_keep, &made.dir, &[]).code, Some(0));
    mark_recording(&made.dir, made.sets[1].services[0], RecordState::Valid);
    assert_eq!(report(&["snapshot", "verify", "--all"], &made.dir).1["faulty_count"], 0);
}

#[test]
fn what_a_java_archive_would_refuse_is_found_and_mended() {
    // A log that ends with its segment, without the empty one behind it.
    let (_temp, made) = made(SEGMENT * 2, Ending::Killed);
    assert_eq!(made.end, SEGMENT * 2, "the last message fills its segment");
    let next = made.dir.join(format!("archive/0-{}.rec", SEGMENT * 2));
    fs::remove_file(&next).expect("the empty segment");
    let found = verb_on(&["archive", "verify"], &made.dir, &[]);
    assert_eq!(found.code, Some(1), "{found:?}");
    assert!(found.stdout.contains(path(&next)) && found.stdout.contains("--repair"), "{}", found.stdout);
    let mended = verb_on(&["archive", "verify", "--repair"], &made.dir, &[]);
    assert_eq!(mended.code, Some(0), "{mended:?}");
    assert!(mended.stdout.contains("is there now") && next.exists(), "{}", mended.stdout);

    // A last frame that crosses a page, of which a power cut left the first page only.
    let (_temp, made) = self::made(SEGMENT / 2, Ending::Killed);
    let last = *made.frames.last().expect("frames");
    let crossing =
        made.frames.iter().rev().find(|at| **at / 4096 != (**at + 1023) / 4096).expect("such a frame");
    let segment = made.dir.join("archive/0-0.rec");
    let mut bytes = fs::read(&segment).expect("a segment");
    let page = (crossing / 4096 + 1) as usize * 4096;
    bytes[page..].fill(0);
    assert!(*crossing <= last);
    fs::write(&segment, &bytes).expect("written");
    let found = verb_on(&["archive", "verify"], &made.dir, &[]);
    assert!(
        found.stdout.contains(&format!("0-0.rec at offset {crossing}: the last frame crosses a page")),
        "{found:?}"
    );
    let mended = verb_on(&["archive", "verify", "--repair", "--json"], &made.dir, &[]);
    let mended: Value = serde_json::from_str(&mended.stdout).expect("JSON");
    assert_eq!(
        (mended["faulty_count"].as_i64(), mended["recordings"][0]["data_end"].as_i64()),
        (Some(0), Some(*crossing))
    );
}

#[test]
fn damage_is_named_with_file_and_offset() {
    let (_temp, made) = made(SEGMENT * 3, Ending::Clean);
    let segment = made.dir.join(format!("archive/0-{SEGMENT}.rec"));
    let mut bytes = fs::read(&segment).expect("a segment");
    let at = (made.frames.iter().find(|at| **at > SEGMENT + 5000).expect("a frame") - SEGMENT) as usize;
    bytes[at + 20] ^= 1;
    fs::write(&segment, &bytes).expect("written");
    let found = verb_on(&["archive", "verify"], &made.dir, &[]);
    assert_eq!(found.code, Some(1));
    assert!(
        found.stdout.contains(&format!("{} is damaged at offset {at}", path(&segment))),
        "{}",
        found.stdout
    );
    let quick = verb_on(&["archive", "verify", "--last-segment"], &made.dir, &[]);
    assert_eq!(quick.code, Some(0), "the last segment is whole: {quick:?}");

    let module = made.dir.join(format!("archive/{}-0.rec", made.sets[1].consensus_module));
    let mut bytes = fs::read(&module).expect("a segment");
    // The schema id of the second message.
    bytes[96 + 32 + 4] ^= 1;
    fs::write(&module, &bytes).expect("written");
    let found = verb_on(&["snapshot", "verify"], &made.dir, &[]);
    assert_eq!(found.code, Some(1));
    assert!(
        found.stdout.contains(path(&module)) && found.stdout.contains("at position 96"),
        "{}",
        found.stdout
    );
    let described = verb_on(&["snapshot", "describe"], &made.dir, &[]);
    described.expect_error(1, &[path(&module), "at position 96"]);
}

#[test]
fn a_seeded_directory_holds_the_newest_snapshot_and_the_log_from_its_segment_on() {
    for ending in [Ending::Clean, Ending::Killed] {
        let (temp, made) = made(SEGMENT * 5 - 2048, ending);
        let out = temp.path().join("member");
        let before = content(&made.dir);
        let seeded = verb_on(&["seed", "--member-id", "2", "--json", "--out", path(&out)], &made.dir, &[]);
        assert_eq!(seeded.code, Some(0), "{seeded:?}");
        assert_eq!(before, content(&made.dir), "the node's own directory is only read");
        let seeded: Value = serde_json::from_str(&seeded.stdout).expect("JSON");
        let newest = &made.sets[1];
        let base = newest.log_position - newest.log_position % SEGMENT;
        assert_eq!(seeded["snapshot_position"], newest.log_position);
        assert_eq!(
            (seeded["log_start_position"].as_i64(), seeded["log_end_position"].as_i64()),
            (Some(base), Some(made.end))
        );
        assert_eq!(seeded["candidate_term_id"], 0);

        assert_eq!(report(&["archive", "verify"], &out).1["faulty_count"], 0);
        assert_eq!(report(&["snapshot", "verify"], &out).1["faulty_count"], 0);
        let (_, plan) = report(&["recovery-plan", "--services", "1"], &out);
        assert_eq!(plan["log"]["start_position"], newest.log_position);
        assert_eq!(plan["log"]["stop_position"], made.end);
        assert_eq!(plan["log"]["is_missing_its_beginning"], false);
        let (_, description) = report(&["describe"], &out);
        assert_eq!(description["candidate_term_id"], 0);
        assert!(description["cluster_mark"].is_null() && description["archive_mark"].is_null());
        let snapshots = ["snapshot", "describe"];
        let (mut ours, mut theirs) = (report(&snapshots, &made.dir).1, report(&snapshots, &out).1);
        for json in [&mut ours, &mut theirs] {
            for id in ["consensus_module_recording_id", "service_recording_ids"] {
                json[id] = Value::Null;
            }
        }
        assert_eq!(ours, theirs);

        verb_on(&["seed", "--member-id", "2", "--out", path(&out)], &made.dir, &[])
            .expect_error(1, &[path(&out), "not empty"]);
        // Our own node starts from it as well.
        let node = Node::running(NodeFlags { dir: Some(out), ..Default::default() });
        node.await_status("applied", |status| status["applied_position"].as_i64() == Some(made.end));
    }
}

#[test]
fn a_seed_hands_on_nothing_that_a_power_cut_left_unconfirmed() {
    let (temp, made) = made(SEGMENT * 4, Ending::Killed);
    let certain = *made.frames.iter().rev().nth(9).expect("frames");
    let path_of_mark = made.dir.join("cluster/durable-position.dat");
    // As a node writes it that finds a tail after a new boot.
    let mut mark = DurabilityFile::open_or_create(&path_of_mark).expect("the mark");
    mark.mark(0, certain, true).expect("written");
    let out = temp.path().join("member");
    let seeded = verb_on(&["seed", "--member-id", "0", "--json", "--out", path(&out)], &made.dir, &[]);
    let seeded: Value = serde_json::from_str(&seeded.stdout).expect("JSON");
    assert_eq!(seeded["log_end_position"], certain);
    let (_, json) = report(&["archive", "verify"], &out);
    assert_eq!(json["recordings"][0]["data_end"], certain);
}

#[test]
fn a_start_refuses_a_log_that_ends_below_its_last_orderly_end() {
    let (_temp, made) = made(SEGMENT * 2 - 4096, Ending::Clean);
    let segment = made.dir.join(format!("archive/0-{SEGMENT}.rec"));
    let sound = fs::read(&segment).expect("a segment");
    let at = (made.frames[made.frames.len() - 9] - SEGMENT) as usize;
    let mut bytes = sound.clone();
    bytes[at + 3] ^= 0x80;
    fs::write(&segment, &bytes).expect("written");
    let mut node = Node::start(NodeFlags { dir: Some(made.dir.clone()), ..Default::default() });
    assert_eq!(node.wait(), Some(1), "{}", node.output());
    let words = format!("{} is damaged at offset {at}", path(&segment));
    assert!(node.output().contains(&words), "no `{words}` in:\n{}", node.output());
    assert_eq!(fs::read(&segment).expect("a segment"), bytes, "nothing of a damaged file is changed");

    fs::write(&segment, &sound).expect("restored");
    let node = Node::running(NodeFlags { dir: Some(made.dir.clone()), ..Default::default() });
    node.await_status("applied", |status| status["applied_position"].as_i64() == Some(made.end));
}

#[test]
fn a_seed_from_where_nobody_answers_ends_in_time_and_leaves_nothing() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let (out, from) = (temp.path().join("member"), format!("127.0.0.1:{}", closed_port()));
    let common = ["seed", "--member-id", "0", "--out", path(&out)];
    let reached = ["--from", &from, "--host", "127.0.0.1", "--wait", "1"];
    run(&[&common[..], &reached].concat()).expect_error(1, &[&from, "not everything was fetched within 1 s"]);
    assert_eq!(fs::read_dir(temp.path()).expect("a directory").count(), 0, "nothing is left");
    run(&common).expect_error(2, &["--dir", "--from"]);
    run(&[&common[..], &["--from", &from]].concat()).expect_error(2, &["--host"]);
}

#[test]
fn a_seed_refuses_what_no_member_could_use() {
    let (temp, made) = made(SEGMENT * 4, Ending::Killed);
    let out = temp.path().join("member");
    let seed =
        |member_id: &str| verb_on(&["seed", "--member-id", member_id, "--out", path(&out)], &made.dir, &[]);
    seed("9").expect_error(1, &["--member-id 9 is the standby's own"]);
    seed("-1").expect_error(2, &["--member-id"]);
    // A damaged newest set: the one before it is used, and that is said.
    let module = made.dir.join(format!("archive/{}-0.rec", made.sets[1].consensus_module));
    let mut bytes = fs::read(&module).expect("a segment");
    bytes[32 + 8] ^= 1;
    fs::write(&module, &bytes).expect("written");
    let seeded = seed("1");
    assert_eq!(seeded.code, Some(0), "{seeded:?}");
    assert!(
        seeded.stdout.contains(&format!("snapshot at {}", made.sets[0].log_position)),
        "{}",
        seeded.stdout
    );
    assert!(seeded.stdout.contains("not used: snapshot at"), "{}", seeded.stdout);

    // No set, and a log that begins in its middle.
    fs::remove_dir_all(&out).expect("the seeded directory");
    let purged = verb_on(&["archive", "purge", "--keep-snapshots", "1"], &made.dir, &[]);
    assert_eq!(purged.code, Some(0), "{purged:?}");
    seed("1").expect_error(1, &["no valid snapshot set covers", "at position"]);
    assert!(!out.exists(), "nothing is written before it is clear what");
}

#[test]
fn a_node_that_holds_the_lock_without_a_word_is_respected() {
    let (_temp, made) = made(SEGMENT, Ending::Clean);
    let _held = NodeDirectory::open(&made.dir, 1).expect("the lock");
    verb_on(&["snapshot", "invalidate"], &made.dir, &[]).expect_error(1, &["a node runs"]);
}
