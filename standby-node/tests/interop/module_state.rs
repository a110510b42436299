//! The consensus-module state that the log and our services imply is the one that members put into their snapshots.

use std::collections::BTreeSet;
use std::time::Duration;

use consensus_tap::codec::log::SessionMessage;
use consensus_tap::codec::snapshot::{
    ClusterSession, ConsensusModule, PendingMessageTracker, SnapshotMark, SnapshotMarker, SnapshotMessage,
    Timer,
};
use consensus_tap::log::SnapshotPart;
use consensus_tap::module::{ConsensusModuleState, LEGITIMATE_DIFFERENCES, ModuleLoader};
use standby_node::config::Layout;

use crate::support::client::Client;
use crate::support::cluster::{Cluster, ClusterConfig, Member};
use crate::support::control_toggle;
use crate::support::in_process::InProcess;

const MINUTE: Duration = Duration::from_secs(60);
/// Aeron's default, as on the members.
const APP_VERSION: i32 = 1;
const BURST_COUNT: u64 = 100_000;

#[test]
fn sessions_and_timers_equal_those_in_every_members_snapshot() {
    if crate::support::skip() {
        return;
    }
    // A client that the machine starves must not lose its session between the snapshot and our look.
    let config = ClusterConfig::new("module_state", 3).flags(&["--session-timeout-ms", "60000"]);
    let cluster = Cluster::start(config);
    let node = InProcess::follow(&cluster, "standby", Layout::Shared);

    let commands = ["--interactive", "--timer-share", "0.5", "--service-share", "0.1", "--timer-ids"];
    let hours = ["--timer-delay-min-ms", "3600000", "--timer-delay-max-ms", "36000000"];
    let moments = ["--timer-delay-min-ms", "1", "--timer-delay-max-ms", "100"];
    // More timers than ids: most are moved before they fire.
    let far = Client::spawn(&cluster, &[&commands[..], &["40"], &hours].concat());
    let near = Client::spawn(&cluster, &[&commands[..], &["10"], &moments].concat());
    let gone = Client::spawn(&cluster, &[&commands[..], &["5"], &hours].concat());
    for client in [&far, &near, &gone] {
        client.send(300, 0.0, MINUTE).expect_sent(300);
    }
    gone.process().write_line("quit");
    assert!(
        gone.process().wait(MINUTE).is_some(),
        "a client that is told to quit closes its session and ends"
    );
    node.await_module("without moments", MINUTE, |state| state.timers().count() == 45);
    cluster.await_quiet(MINUTE);
    cluster.control("SNAPSHOT");

    let theirs: Vec<_> = cluster.members().iter().map(|member| Snapshot::dump(&cluster, member)).collect();
    let ours = await_position(&node, &theirs[0]);
    assert_eq!((ours.sessions().count(), ours.timers().count()), (2, 45));
    for (member, snapshot) in cluster.members().iter().zip(&theirs) {
        snapshot.compare(&ours, member.id());
    }
    drop((far, near));
    node.stop();
}

/// The members end while their services have offered far more than the log holds, so the snapshot has to hold it.
#[test]
fn pending_service_messages_equal_those_in_every_members_snapshot() {
    if crate::support::skip() {
        return;
    }
    let cluster = Cluster::start(ClusterConfig::new("pending_messages", 3).flags(&["--burst-service"]));
    let node = InProcess::follow(&cluster, "standby", Layout::Shared);
    let client = Client::spawn(&cluster, &["--interactive"]);
    client.send(20, 0.0, MINUTE).expect_sent(20);
    let before = cluster.await_quiet(MINUTE);
    node.await_module("at the quiet log's end", MINUTE, |state| state.log_position() >= before);

    let leader = cluster.await_leader(None, MINUTE);
    client.process().write_line(&format!("burst {BURST_COUNT}"));
    node.await_module("in the burst", MINUTE, |state| pending_count(state) > 0);
    control_toggle::set(cluster.member(leader).aeron_dir(), control_toggle::SHUTDOWN);
    for member in cluster.members() {
        assert!(member.await_end(MINUTE), "member {} did not end", member.id());
    }

    let theirs: Vec<_> = cluster.members().iter().map(|member| Snapshot::dump(&cluster, member)).collect();
    let ours = await_position(&node, &theirs[0]);
    let pending_count = pending_count(&ours);
    println!("{pending_count} service messages are pending");
    assert!(pending_count > 0, "the burst was over before the members ended");
    for (member, snapshot) in cluster.members().iter().zip(&theirs) {
        snapshot.compare(&ours, member.id());
    }
    node.stop();
}

fn pending_count(state: &ConsensusModuleState) -> usize {
    state.services()[0].iter().count()
}

fn await_position(node: &InProcess, snapshot: &Snapshot) -> ConsensusModuleState {
    let position = snapshot.state.log_position();
    let ours = node.await_module("at the snapshot", MINUTE, |state| state.log_position() >= position);
    assert_eq!(ours.log_position(), position, "the log went on behind the snapshot");
    ours
}

/// A member's own consensus-module snapshot.
struct Snapshot {
    messages: Vec<Vec<u8>>,
    state: ConsensusModuleState,
}

impl Snapshot {
    /// The newest one of a member, running or not.
    fn dump(cluster: &Cluster, member: &Member) -> Self {
        let dir = member.dir().display().to_string();
        let lines = cluster.run_java("DumpSnapshot", &["--dir", &dir], MINUTE);
        let mut is_module = false;
        let mut messages = Vec::new();
        for line in &lines {
            match line.strip_prefix("raw ") {
                Some(hex) if is_module => messages.push(hex::decode(hex).expect("hexadecimal digits")),
                Some(_) => {}
                None => is_module = line.starts_with("cm "),
            }
        }
        let mut loader = ModuleLoader::new(1, APP_VERSION);
        for bytes in &messages {
            let part = match SnapshotMessage::decode(bytes).expect("a message of a snapshot") {
                SnapshotMessage::Marker(marker) if marker.mark == Some(SnapshotMark::Begin) => {
                    SnapshotPart::Begin(marker)
                }
                SnapshotMessage::Marker(marker) => SnapshotPart::End(marker),
                message => SnapshotPart::Message(message),
            };
            loader.on_part(part).expect("a consensus module's snapshot");
        }
        Self { messages, state: loader.finish() }
    }

    /// Compares field by field, then byte by byte as far as two nodes' snapshots can agree, and prints in which
    /// messages they do not.
    fn compare(&self, ours: &ConsensusModuleState, member_id: u16) {
        assert_eq!(ours.diff(&self.state), Vec::<String>::new(), "ours, and that of member {member_id}");

        let mut our_messages = Vec::new();
        ours.take_snapshot(&mut |message| our_messages.push(message.to_vec()));
        let theirs = in_comparable_order(&self.messages);
        let templates =
            |messages: &[Vec<u8>]| messages.iter().map(|message| template_id(message)).collect::<Vec<_>>();
        assert_eq!(templates(&our_messages), templates(&theirs), "member {member_id}");
        let mut different = BTreeSet::new();
        for (ours, theirs) in our_messages.iter().zip(&theirs) {
            if ours != theirs {
                different.extend(legitimate_differences(template_id(ours)));
            }
            assert_eq!(hex::encode(masked(ours)), hex::encode(masked(theirs)), "member {member_id}");
        }
        println!("member {member_id}: {} messages; different, as they may: {different:?}", theirs.len());
    }
}

/// Timers stand in no order in a Java snapshot.
fn in_comparable_order(messages: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut messages = messages.to_vec();
    let is_timer = |message: &Vec<u8>| template_id(message) == Timer::TEMPLATE_ID;
    let from = messages.iter().position(is_timer).unwrap_or(0);
    let count = messages[from..].iter().take_while(|message| is_timer(message)).count();
    messages[from..from + count].sort_by_key(|message| match SnapshotMessage::decode(message) {
        Ok(SnapshotMessage::Timer(timer)) => timer.correlation_id,
        other => panic!("a timer: {other:?}"),
    });
    messages
}

fn legitimate_differences(template_id: u16) -> Vec<&'static str> {
    let prefix = match template_id {
        SessionMessage::TEMPLATE_ID => "pending_message.",
        ClusterSession::TEMPLATE_ID => "session.",
        _ => "service.",
    };
    LEGITIMATE_DIFFERENCES.iter().map(|&(field, _)| field).filter(|field| field.starts_with(prefix)).collect()
}

/// The message with zeros where two members' snapshots differ as well, as [`LEGITIMATE_DIFFERENCES`] says.
fn masked(message: &[u8]) -> Vec<u8> {
    // Within the block, behind the message's header of 8 bytes.
    let ranges: &[(usize, usize)] = match template_id(message) {
        // Counters of service 0 as they are: next id, pending capacity.
        ConsensusModule::TEMPLATE_ID => &[(8, 16), (24, 28)],
        // Pending capacity.
        PendingMessageTracker::TEMPLATE_ID => &[(16, 20)],
        // Leadership term, timestamp.
        SessionMessage::TEMPLATE_ID => &[(0, 8), (16, 24)],
        ClusterSession::TEMPLATE_ID | SnapshotMarker::TEMPLATE_ID | Timer::TEMPLATE_ID => &[],
        other => panic!("template {other} in a consensus module's snapshot"),
    };
    let mut message = message.to_vec();
    for &(from, to) in ranges {
        message[8 + from..8 + to].fill(0);
    }
    message
}

fn template_id(message: &[u8]) -> u16 {
    u16::from_le_bytes([message[2], message[3]])
}
