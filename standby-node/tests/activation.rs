//! From standby to leader: a cluster of ours dies, and its standby takes over, when a flag says so.

use std::path::Path;
use std::time::{Duration, Instant};

use consensus_tap::file::cnc::counters::{
    MEMBER_SIGN_AGE, STANDBY_CONTROL_TOGGLE, TOGGLE_ACTIVATE, TOGGLE_NEUTRAL, TRANSITION_STATE,
};
use consensus_tap::transition::{Check, TransitionState};
use standby_node::store::cnc::CncReader;

use crate::support::node::{Node, NodeFlags, Output, TIMEOUT, path, run};

mod support;

const FENCE: [&str; 2] = ["--fence", "echo off $STANDBY_LOG_POSITION"];

/// A cluster of one member, and a standby that follows it with these flags.
fn cluster_and_standby(dir: &Path, extra: &[&str]) -> (Node, Node) {
    let leader = Node::running(NodeFlags {
        extra: ["--bootstrap", "--member-id", "0", "--log-term-length", "1m"].map(str::to_owned).to_vec(),
        ..NodeFlags::default()
    });
    leader.await_output("leading member_id=0", 1);
    let output = leader.output();
    let (_, rest) = output.rsplit_once("archive_addr=").expect("it tells where");
    let endpoint = rest.split_whitespace().next().expect("an address").to_owned();
    let standby = Node::running(NodeFlags {
        dir: Some(dir.join("standby")),
        consensus_endpoints: Some(endpoint),
        extra: extra.iter().map(|flag| (*flag).to_owned()).collect(),
    });
    standby.await_status("following", |status| status["state"] == "FOLLOWING" && status["lag_bytes"] == 0);
    (leader, standby)
}

fn activate(node: &Node, more: &[&str]) -> Output {
    run(&[&["activate", "--dir", path(node.dir())], more].concat())
}

#[test]
fn a_standby_refuses_while_a_member_lives_and_without_a_fence_and_says_what_it_would_do() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (leader, standby) = cluster_and_standby(dir.path(), &[]);
    let cnc = CncReader::open(&standby.dir().join("aeron")).expect("it is mapped");
    let deadline = Instant::now() + TIMEOUT;
    while cnc.find(MEMBER_SIGN_AGE, &[]).is_none_or(|age| age.value < 0) {
        assert!(Instant::now() < deadline, "nothing is heard of the member:\n{}", standby.output());
        std::thread::sleep(Duration::from_millis(20));
    }
    let refused = activate(&standby, &["--wait", "10"]);
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert!(refused.stdout.contains("unfenced (cannot be forced)"), "{refused:?}");
    assert!(refused.stdout.contains("member-living: member 0"), "{refused:?}");
    let forced = activate(&standby, &["--force", "unfenced"]);
    assert!(forced.code == Some(2) && forced.stderr.contains("cannot be forced"), "{forced:?}");
    drop(leader);
    std::thread::sleep(Duration::from_millis(1_500));
    let dry = activate(&standby, &["--dry-run"]);
    assert_eq!(dry.code, Some(3), "{dry:?}");
    assert!(dry.stdout.contains("unfenced") && !dry.stdout.contains("member-living"), "{dry:?}");
    assert!(dry.stdout.contains("Silence is no proof of death"), "{dry:?}");
    let state = cnc.find(TRANSITION_STATE, &[]).expect("a state");
    assert_eq!(state.value, Check::Unfenced.value(), "the last request that counted was refused");
}

#[test]
fn a_program_that_finds_the_flag_and_sets_it_activates_and_a_restart_leads_again() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (leader, standby) = cluster_and_standby(dir.path(), &FENCE);
    drop(leader);
    std::thread::sleep(Duration::from_millis(1_500));
    let cnc = CncReader::open_writable(&standby.dir().join("aeron")).expect("it is mapped");
    let flag = cnc.find(STANDBY_CONTROL_TOGGLE, &0i32.to_le_bytes()).expect("a flag");
    assert!(cnc.counter(flag.id).compare_and_set(TOGGLE_NEUTRAL, TOGGLE_ACTIVATE));
    standby.await_output("leading member_id=100 leadership_term_id=10", 1);
    standby.await_status("the flag is back", |status| status["snapshots"]["toggle"] == "NEUTRAL");
    let state = cnc.find(TRANSITION_STATE, &[]).expect("a state");
    assert_eq!(state.value, TransitionState::Active as i64);
    assert!(
        standby.output().contains("off 96"),
        "the fence is told where the log ends: {}",
        standby.output()
    );
    let again = activate(&standby, &["--wait", "1"]);
    assert!(again.code == Some(1) && again.stderr.contains("leads already"), "{again:?}");

    drop(standby);
    let mut standby = Node::running(NodeFlags {
        dir: Some(dir.path().join("standby")),
        extra: FENCE.map(str::to_owned).to_vec(),
        ..NodeFlags::default()
    });
    standby.await_output("leading member_id=100 leadership_term_id=20", 1);
    assert_eq!(standby.terminate(), Some(0), "{}", standby.output());
    let deactivated = run(&["deactivate", "--dir", path(standby.dir())]);
    assert!(deactivated.stdout.contains("in term 20 is taken back"), "{deactivated:?}");
}
