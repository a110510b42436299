//! Two standbys of one cluster, each a process: of two that hear each other one leads, and nothing that either
//! has is lost. The cluster is an embedded one; what is asked of members is asked of it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use consensus_tap::file::activation::{Activation, ActivationPhase};
use consensus_tap::file::cnc::counters::{
    STANDBY_CONTROL_TOGGLE, TOGGLE_ACTIVATE, TOGGLE_NEUTRAL, TRANSITION_STATE,
};
use consensus_tap::transition::TransitionState;
use standby_node::cluster_client::{ClusterClient, OfferError, config};
use standby_node::store::activation_record;
use standby_node::store::cnc::CncReader;
use tempfile::TempDir;

use crate::support::node::{Node, NodeFlags, Output, TIMEOUT, closed_port, path, run};

mod support;

const FIRST: i32 = 100;
const SECOND: i32 = 101;
const BEGINS: [&str; 3] = ["--bootstrap", "--log-term-length", "1m"];

/// A cluster of one member that can be lost, and where its standbys are reached.
struct Cluster {
    dir: TempDir,
    member: Option<Node>,
    endpoint: String,
    archive_ports: [u16; 2],
}

impl Cluster {
    fn new() -> Self {
        let flags = ["--bootstrap", "--member-id", "0", "--log-term-length", "1m"];
        let member = Node::running(NodeFlags { extra: strings(&flags), ..NodeFlags::default() });
        member.await_output("leading member_id=0", 1);
        Self {
            dir: tempfile::tempdir().expect("a temporary directory"),
            endpoint: address(&member, "archive_addr="),
            member: Some(member),
            archive_ports: [closed_port(), closed_port()],
        }
    }

    /// No member, but a first standby that may begin a cluster, for the second to follow.
    fn to_be_begun() -> Self {
        let archive_ports = [closed_port(), closed_port()];
        let dir = tempfile::tempdir().expect("a temporary directory");
        let endpoint = format!("127.0.0.1:{}", archive_ports[0]);
        Self { dir, member: None, endpoint, archive_ports }
    }

    /// The cluster that the first standby has begun, and both.
    fn begun() -> (Self, Node, Node) {
        let cluster = Self::to_be_begun();
        let (second, first) = (cluster.standby(SECOND, &[]), cluster.standby(FIRST, &BEGINS));
        first.await_output("leading member_id=100 leadership_term_id=0", 1);
        let record = cluster.decision(FIRST).record.expect("it is on the disk before anybody is served");
        assert_eq!((record.phase, record.leadership_term_id), (ActivationPhase::Leading, 0));
        (cluster, first, second)
    }

    fn archive_endpoint(&self, id: i32) -> String {
        format!("127.0.0.1:{}", self.archive_ports[(id - FIRST) as usize])
    }

    /// The standby with this id, begun or restarted. Each run of its fence leaves a line in [`Self::fences`].
    fn standby(&self, id: i32, extra: &[&str]) -> Node {
        let other = FIRST + SECOND - id;
        let fence =
            format!("echo $STANDBY_LOG_POSITION >> {}; {}", path(&self.fence_log(id)), self.fence(id));
        let flags = [
            "--member-id",
            &id.to_string(),
            "--archive-endpoint",
            &self.archive_endpoint(id),
            "--standby-endpoints",
            &format!("{other}={}", self.archive_endpoint(other)),
            "--liveness-timeout",
            "500ms",
            "--fence",
            &fence,
        ];
        Node::running(NodeFlags {
            dir: Some(self.standby_dir(id)),
            consensus_endpoints: Some(self.endpoint.clone()),
            extra: [strings(&flags), strings(extra)].concat(),
        })
    }

    fn standby_dir(&self, id: i32) -> PathBuf {
        self.dir.path().join(format!("standby-{id}"))
    }

    fn fence_log(&self, id: i32) -> PathBuf {
        self.dir.path().join(format!("fences-{id}"))
    }

    /// It takes as long as this file is there.
    fn fence_holder(&self, id: i32) -> PathBuf {
        self.dir.path().join(format!("hold-{id}"))
    }

    fn fence(&self, id: i32) -> String {
        format!("while [ -e {} ]; do sleep 0.02; done", path(&self.fence_holder(id)))
    }

    fn fences(&self, id: i32) -> usize {
        std::fs::read_to_string(self.fence_log(id)).unwrap_or_default().lines().count()
    }

    fn member(&self) -> &Node {
        self.member.as_ref().expect("it lives")
    }

    /// Both standbys, with all that the cluster has.
    fn standbys(&self) -> (Node, Node) {
        let (first, second) = (self.standby(FIRST, &[]), self.standby(SECOND, &[]));
        for (standby, id) in [(&first, FIRST), (&second, SECOND)] {
            self.await_level(standby);
            // A restart is to know whom there is to ask.
            let deadline = Instant::now() + TIMEOUT;
            while self.decision(id).cluster_members.is_empty() {
                assert!(Instant::now() < deadline, "no member was remembered:\n{}", standby.output());
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        (first, second)
    }

    fn await_level(&self, standby: &Node) {
        let end = self.member().number("recorded_position");
        standby.await_status("level with the cluster", |status| {
            status["state"] == "FOLLOWING" && status["applied_position"].as_i64() >= Some(end)
        });
    }

    /// `kill -9`.
    fn lose(&mut self) {
        drop(self.member.take());
    }

    fn decision(&self, id: i32) -> Activation {
        let path = activation_record::path_in(&self.standby_dir(id).join("cluster"));
        activation_record::read(&path).expect("a whole file")
    }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// The address that a node's output names last behind `key`.
fn address(node: &Node, key: &str) -> String {
    let output = node.output();
    let (_, rest) = output.rsplit_once(key).expect("it tells where");
    rest.split_whitespace().next().expect("an address").to_owned()
}

/// Has who leads append so many messages.
fn send(leader: &Node, id: i32, count: usize) {
    let members = format!("{id}={}", address(leader, "ingress_addr="));
    let config = config(&members, "aeron:udp?endpoint=127.0.0.1:0").expect("it can be read");
    let mut client =
        ClusterClient::connect(config).unwrap_or_else(|error| panic!("{error}\n{}", leader.output()));
    let deadline = Instant::now() + TIMEOUT;
    let (mut sent, mut answered) = (0, 0);
    while answered < count {
        assert!(Instant::now() < deadline, "{answered} of {count} replies:\n{}", leader.output());
        if sent < count && sent < answered + 100 {
            // For `audit`: no command, and 200 bytes.
            match client.offer(&[&0u64.to_le_bytes()[..], &[7; 192]].concat()) {
                Ok(_) => sent += 1,
                Err(OfferError::BackPressured | OfferError::NotConnected) => {}
                Err(error) => panic!("{error}"),
            }
        }
        client.poll(&mut |_: i64, _: &[u8]| answered += 1).expect("the session lives");
    }
    client.close(Duration::from_secs(1)).expect("it ends in order");
}

fn activate(node: &Node, more: &[&str]) -> Output {
    run(&[&["activate", "--dir", path(node.dir()), "--wait", "30"], more].concat())
}

/// Activates as soon as the members that were lost count as silent.
#[track_caller]
fn activate_when_silent(node: &Node, more: &[&str]) -> Output {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let asked = activate(node, more);
        // Whether anybody lives is not known either while a machine that is busy has not looked for a while.
        let may_pass = ["member-living", "member-unknown"].iter().any(|check| asked.stdout.contains(check));
        if asked.code != Some(3) || !may_pass {
            return asked;
        }
        assert!(Instant::now() < deadline, "{asked:?}");
    }
}

fn state(node: &Node) -> i64 {
    let cnc = CncReader::open(&node.dir().join("aeron")).expect("it is mapped");
    cnc.find(TRANSITION_STATE, &[]).expect("a state").value
}

#[track_caller]
fn await_state(node: &Node, wanted: TransitionState) {
    let deadline = Instant::now() + TIMEOUT;
    while state(node) != wanted as i64 {
        assert!(Instant::now() < deadline, "not {}:\n{}", wanted.name(), node.output());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// `kill` with this signal.
fn signal(node: &Node, signal: &str) {
    let pid = node.pid().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().expect("kill").success());
}

/// The follower has all that the leader has, byte by byte, and its services are where the leader's are.
fn assert_follows(follower: &Node, leader: &Node, leader_id: i64) {
    let end = leader.number("recorded_position");
    let status = follower.await_status("level with who leads", |status| {
        status["state"] == "FOLLOWING"
            && status["source_member_id"] == leader_id
            && status["applied_position"].as_i64() >= Some(end)
    });
    assert_eq!(status["leader_member_id"], leader_id, "{status:#}");
    let hash = |node: &Node| node.await_status("there", |_| true)["services"][0]["hash"].clone();
    // Each shows its figures twenty times a second: the leader's may be older than its position.
    follower.await_status("the same as who leads", |status| status["services"][0]["hash"] == hash(leader));
    let end = usize::try_from(end).expect("a position");
    assert!(log(leader.dir(), end) == log(follower.dir(), end), "the log is not the same up to {end}");
}

/// The first bytes of the log, without the ids that each replay gives its frames.
fn log(dir: &Path, length: usize) -> Vec<u8> {
    let mut bytes = std::fs::read(dir.join("archive/0-0.rec")).expect("the log's first segment");
    bytes.truncate(length);
    let mut at = 0;
    while at + 32 <= bytes.len() {
        let frame = i32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes")) as usize;
        assert!(frame >= 32, "no frame at {at}");
        bytes[at + 12..at + 20].fill(0);
        at += frame.next_multiple_of(32);
    }
    bytes
}

#[test]
fn the_other_standby_promises_and_follows_who_was_activated() {
    let mut cluster = Cluster::new();
    send(cluster.member(), 0, 300);
    let (first, second) = cluster.standbys();
    cluster.lose();
    let activated = activate_when_silent(&second, &[]);
    assert_eq!(activated.code, Some(0), "{activated:?}");
    assert!(activated.stdout.contains("active in term 11"), "its place gives it the term: {activated:?}");
    assert_eq!(cluster.decision(FIRST).grant.map(|(id, _)| id), Some(SECOND), "the promise is on the disk");
    send(&second, SECOND, 300);
    assert_follows(&first, &second, i64::from(SECOND));
    let refused = activate(&first, &[]);
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert!(refused.stdout.contains("standby-active (cannot be forced): standby 101 leads"), "{refused:?}");
}

#[test]
fn of_two_flags_that_are_set_at_once_one_wins_and_the_other_follows() {
    for round in 0..3 {
        let mut cluster = Cluster::new();
        send(cluster.member(), 0, 50);
        let (first, second) = cluster.standbys();
        cluster.lose();
        for standby in [&first, &second] {
            assert_eq!(activate_when_silent(standby, &["--dry-run"]).code, Some(0), "{}", standby.output());
        }
        let flagged = if round == 1 { [&second, &first] } else { [&first, &second] };
        let readers =
            flagged.map(|node| CncReader::open_writable(&node.dir().join("aeron")).expect("mapped"));
        let flags = readers
            .each_ref()
            .map(|cnc| cnc.counter(cnc.find(STANDBY_CONTROL_TOGGLE, &[]).expect("a flag").id));
        for (flag, pause_ms) in flags.iter().zip([0, round]) {
            std::thread::sleep(Duration::from_millis(pause_ms));
            assert!(flag.compare_and_set(TOGGLE_NEUTRAL, TOGGLE_ACTIVATE));
        }
        let deadline = Instant::now() + TIMEOUT;
        while flags.iter().any(|flag| flag.get_volatile() != TOGGLE_NEUTRAL) {
            assert!(Instant::now() < deadline, "{}\n{}", first.output(), second.output());
            std::thread::sleep(Duration::from_millis(5));
        }
        let leads = |node: &&Node| state(node) == TransitionState::Active as i64;
        let leading: Vec<&Node> = [&first, &second].into_iter().filter(leads).collect();
        assert_eq!(leading.len(), 1, "round {round}:\n{}\n{}", first.output(), second.output());
        let is_first = std::ptr::eq(leading[0], &first);
        let (follower, id) = if is_first { (&second, FIRST) } else { (&first, SECOND) };
        send(leading[0], id, 50);
        assert_follows(follower, leading[0], i64::from(id));
    }
}

#[test]
fn who_is_behind_takes_the_rest_from_the_other_before_it_leads() {
    let mut cluster = Cluster::new();
    send(cluster.member(), 0, 100);
    let (first, second) = cluster.standbys();
    drop(second);
    send(cluster.member(), 0, 2_000);
    cluster.await_level(&first);
    cluster.lose();
    let end = first.number("recorded_position");
    let second = cluster.standby(SECOND, &[]);
    second.await_status("ready", |status| status["snapshots"]["toggle"] == "NEUTRAL");
    assert!(second.number("recorded_position") < end, "it is behind");
    let activated = activate_when_silent(&second, &[]);
    assert_eq!(activated.code, Some(0), "{activated:?}\n{}", second.output());
    assert!(activated.stdout.contains("it is taken from there"), "{activated:?}");
    assert!(activated.stdout.contains(&format!("from log position {end}\n")), "{end}: {activated:?}");
    assert_follows(&first, &second, i64::from(SECOND));
}

#[test]
fn who_promised_is_refused_until_the_claim_is_withdrawn() {
    let mut cluster = Cluster::new();
    let (first, second) = cluster.standbys();
    cluster.lose();
    assert_eq!(activate_when_silent(&first, &["--dry-run"]).code, Some(0));
    std::fs::write(cluster.fence_holder(FIRST), "").expect("a file");
    assert_eq!(run(&["activate", "--dir", path(first.dir())]).code, Some(0));
    await_state(&first, TransitionState::Fence);
    let refused = activate(&second, &[]);
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert!(
        refused.stdout.contains("standby-active (cannot be forced): standby 100 is about to lead"),
        "{refused:?}"
    );

    // Killed before its record: what the other promised it keeps, until the first is back and claims nothing.
    drop(first);
    let deadline = Instant::now() + TIMEOUT;
    let refused = loop {
        let refused = activate(&second, &[]);
        assert_eq!(refused.code, Some(3), "{refused:?}");
        if !refused.stdout.contains("standby-active") {
            break refused;
        }
        assert!(Instant::now() < deadline, "{refused:?}");
    };
    assert!(refused.stdout.contains("granted: standby 100 was promised"), "{refused:?}");
    std::fs::remove_file(cluster.fence_holder(FIRST)).expect("it is there");
    let first = cluster.standby(FIRST, &[]);
    let deadline = Instant::now() + TIMEOUT;
    while cluster.decision(SECOND).grant.is_some() {
        assert!(Instant::now() < deadline, "the promise stands:\n{}", second.output());
        std::thread::sleep(Duration::from_millis(20));
    }
    let activated = activate(&second, &[]);
    assert_eq!(activated.code, Some(0), "{activated:?}");
    assert_follows(&first, &second, i64::from(SECOND));
}

#[test]
fn who_led_leads_again_after_a_kill_unless_the_other_took_over() {
    let mut cluster = Cluster::new();
    send(cluster.member(), 0, 50);
    let (first, second) = cluster.standbys();
    cluster.lose();
    let activated = activate_when_silent(&first, &[]);
    assert!(activated.stdout.contains("active in term 10"), "{activated:?}");
    send(&first, FIRST, 50);
    drop(first);

    let first = cluster.standby(FIRST, &[]);
    first.await_output("leading member_id=100 leadership_term_id=20", 1);
    assert_eq!(cluster.fences(FIRST), 2, "it fences again");
    send(&first, FIRST, 50);
    assert_follows(&second, &first, i64::from(FIRST));
    drop(first);

    let deadline = Instant::now() + TIMEOUT;
    let refused = loop {
        let refused = activate(&second, &[]);
        assert_eq!(refused.code, Some(3), "{refused:?}");
        if !refused.stdout.contains("standby-active") {
            break refused;
        }
        assert!(Instant::now() < deadline, "{refused:?}");
    };
    assert!(refused.stdout.contains("refused, granted: standby 100 was promised"), "{refused:?}");
    let refused = activate(&second, &["--force", "granted"]);
    assert!(refused.stdout.contains("refused, standby-unreachable: standby 100"), "{refused:?}");
    let forced = activate(&second, &["--force", "granted,standby-unreachable"]);
    assert_eq!(forced.code, Some(0), "{forced:?}");

    for restart in 0..2 {
        let first = cluster.standby(FIRST, &[]);
        await_state(&first, TransitionState::Fenced);
        let deadline = Instant::now() + TIMEOUT;
        while cluster.decision(FIRST).record.is_none_or(|record| record.phase != ActivationPhase::Fenced) {
            assert!(Instant::now() < deadline, "restart {restart}:\n{}", first.output());
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(!first.output().contains("leading member_id"), "{}", first.output());
        send(&second, SECOND, 20);
    }
    assert_eq!(cluster.fences(FIRST), 2, "what is fenced runs no fence");
}

#[test]
fn who_slept_while_the_other_took_over_ends_when_they_meet() {
    let mut cluster = Cluster::new();
    let (mut first, second) = cluster.standbys();
    cluster.lose();
    assert_eq!(activate_when_silent(&first, &[]).code, Some(0), "{}", first.output());
    await_state(&second, TransitionState::Following);
    signal(&first, "-STOP");
    std::thread::sleep(Duration::from_millis(700));
    let forced = activate(&second, &["--force", "granted,standby-unreachable"]);
    assert_eq!(forced.code, Some(0), "{forced:?}");
    signal(&first, "-CONT");
    assert_eq!(first.wait(), Some(1), "{}", first.output());
    assert!(first.output().contains("another standby leads in a newer term"), "{}", first.output());
    assert!(cluster.decision(FIRST).record.is_some_and(|record| record.phase == ActivationPhase::Fenced));
    send(&second, SECOND, 20);
    let first = cluster.standby(FIRST, &[]);
    await_state(&first, TransitionState::Fenced);
}

#[test]
fn without_the_other_standby_nobody_leads_but_by_force() {
    let mut cluster = Cluster::new();
    let first = cluster.standby(FIRST, &[]);
    cluster.await_level(&first);
    cluster.lose();
    let refused = activate_when_silent(&first, &[]);
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert!(
        refused.stdout.contains("refused, standby-unreachable: standby 101 cannot be reached"),
        "{refused:?}"
    );
    assert_eq!(cluster.fences(FIRST), 0);
    let forced = activate(&first, &["--force", "standby-unreachable"]);
    assert_eq!(forced.code, Some(0), "{forced:?}");
    assert!(forced.stdout.contains("passed over by force: standby-unreachable"), "{forced:?}");
}

#[test]
fn who_began_a_cluster_asks_its_standby_and_fences_before_it_leads_again() {
    let (cluster, first, second) = Cluster::begun();
    send(&first, FIRST, 50);
    assert_follows(&second, &first, i64::from(FIRST));
    assert_eq!(cluster.fences(FIRST), 0, "nobody led before");
    drop(first);
    let first = cluster.standby(FIRST, &BEGINS);
    first.await_output("leading member_id=100 leadership_term_id=10", 1);
    assert_eq!(cluster.fences(FIRST), 1);
    send(&first, FIRST, 50);
    assert_follows(&second, &first, i64::from(FIRST));

    drop(first);
    std::thread::sleep(Duration::from_millis(700));
    let forced = activate(&second, &["--force", "granted,standby-unreachable"]);
    assert_eq!(forced.code, Some(0), "{forced:?}");
    let first = cluster.standby(FIRST, &BEGINS);
    first.await_status("fenced", |status| status["state"] == "FENCED");
    assert!(!first.output().contains("leading member_id"), "{}", first.output());
    assert_eq!(cluster.fences(FIRST), 1, "it is refused before the fence");
    send(&second, SECOND, 50);

    // Who is fenced promises like any other.
    drop(second);
    let second = cluster.standby(SECOND, &[]);
    second.await_output("leading member_id=101", 1);
    send(&second, SECOND, 50);
}

#[test]
fn a_flag_that_is_set_while_a_restart_leads_again_is_answered_with_that() {
    let (cluster, first, _second) = Cluster::begun();
    drop(first);
    std::fs::write(cluster.fence_holder(FIRST), "").expect("a temporary file");
    let first = cluster.standby(FIRST, &BEGINS);
    await_state(&first, TransitionState::Fence);
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| activate(&first, &[]));
        std::thread::sleep(Duration::from_millis(300));
        std::fs::remove_file(cluster.fence_holder(FIRST)).expect("it is there");
        let answer = asked.join().expect("it ends");
        assert_eq!(answer.code, Some(0), "{answer:?}\n{}", first.output());
        assert!(answer.stdout.contains("active in term 10"), "{answer:?}");
    });
}

#[test]
fn who_began_a_cluster_waits_for_a_word_where_its_standby_cannot_be_asked() {
    let (cluster, first, second) = Cluster::begun();
    drop((first, second));
    let first = cluster.standby(FIRST, &BEGINS);
    await_state(&first, TransitionState::Fenced);
    first.await_output("activation refused: standby 101 cannot be reached", 1);
    let forced = activate(&first, &["--force", "standby-unreachable"]);
    assert_eq!(forced.code, Some(0), "{forced:?}");
    assert_eq!(cluster.fences(FIRST), 1);
    // What an operator knew then says nothing of now: the other one may lead meanwhile.
    drop(first);
    let first = cluster.standby(FIRST, &[]);
    first.await_output("activation refused: standby 101 cannot be reached", 1);
    assert_eq!(cluster.fences(FIRST), 1);
}

#[test]
fn a_cluster_is_not_begun_where_the_other_standby_cannot_be_asked_or_has_one() {
    let cluster = Cluster::to_be_begun();
    let mut alone = cluster.standby(FIRST, &BEGINS);
    assert_eq!(alone.wait(), Some(1), "{}", alone.output());
    alone.await_output(
        "bootstrap: standby 101 cannot be asked whether there is a cluster already: start that one",
        1,
    );

    let (cluster, first, second) = Cluster::begun();
    send(&first, FIRST, 50);
    assert_follows(&second, &first, i64::from(FIRST));
    // Its disk is lost, or somebody clears it to follow again, and its unit still says `--bootstrap`.
    drop(first);
    std::fs::remove_dir_all(cluster.standby_dir(FIRST)).expect("the node has ended");
    let mut first = cluster.standby(FIRST, &BEGINS);
    assert_eq!(first.wait(), Some(1), "{}", first.output());
    first.await_output("bootstrap: standby 101 has the log of a cluster, up to ", 1);
    assert!(!first.output().contains("leading member_id"), "{}", first.output());
    // Without it the node follows, from nothing: what was to begin a cluster is not in its way.
    let forced = activate(&second, &["--force", "granted,standby-unreachable"]);
    assert_eq!(forced.code, Some(0), "{forced:?}");
    let first = Node::running(NodeFlags {
        dir: Some(cluster.standby_dir(FIRST)),
        consensus_endpoints: Some(cluster.archive_endpoint(SECOND)),
        extra: strings(&["--member-id", "100"]),
    });
    let hash =
        second.await_status("it leads", |status| status["state"] == "ACTIVE")["services"][0]["hash"].clone();
    first.await_status("the same as who leads", |status| {
        status["state"] == "FOLLOWING" && status["services"][0]["hash"] == hash
    });
}

#[test]
fn of_two_that_are_to_begin_a_cluster_one_does_and_the_other_ends_in_words() {
    let cluster = Cluster::to_be_begun();
    let mut nodes = [FIRST, SECOND].map(|id| cluster.standby(id, &BEGINS));
    let leads = |node: &Node| node.output().contains("leadership_term_id=0 members");
    let deadline = Instant::now() + TIMEOUT;
    while !nodes.iter().any(leads) {
        assert!(Instant::now() < deadline, "{}{}", nodes[0].output(), nodes[1].output());
        std::thread::sleep(Duration::from_millis(5));
    }
    // Who comes first does, and that is not for the test to say.
    let other = usize::from(leads(&nodes[0]));
    assert_eq!(nodes[other].wait(), Some(1), "{}", nodes[other].output());
    let id = FIRST + SECOND - (FIRST + other as i32);
    nodes[other].await_output(&format!("bootstrap: standby {id} "), 1);
    assert!(!leads(&nodes[other]), "{}", nodes[other].output());
}
