//! Consensus-module snapshots as nodes have them on disk, read by Aeron's own decoders, and their comparison.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use consensus_tap::codec::log::SessionMessage;
use consensus_tap::codec::snapshot::{
    ClusterSession, ConsensusModule, PendingMessageTracker, SnapshotMark, SnapshotMarker, SnapshotMessage,
    Timer,
};
use consensus_tap::log::SnapshotPart;
use consensus_tap::module::{ConsensusModuleState, LEGITIMATE_DIFFERENCES, ModuleLoader};

use super::cluster::{Cluster, Member};

const MINUTE: Duration = Duration::from_secs(60);
/// Aeron's default, as on the members.
const APP_VERSION: i32 = 1;

/// A node's newest consensus-module snapshot.
pub(crate) struct ModuleSnapshot {
    messages: Vec<Vec<u8>>,
    state: ConsensusModuleState,
}

impl ModuleSnapshot {
    /// A member's own, running or not, with one service.
    pub(crate) fn of_member(cluster: &Cluster, member: &Member) -> Self {
        Self::dump(cluster, member.dir(), 1)
    }

    /// That of a node with this directory, running or not, and so many services.
    pub(crate) fn dump(cluster: &Cluster, dir: &Path, service_count: usize) -> Self {
        let dir = dir.display().to_string();
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
        let mut loader = ModuleLoader::new(service_count, APP_VERSION);
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

    /// What a loader makes of it.
    pub(crate) fn state(&self) -> &ConsensusModuleState {
        &self.state
    }

    /// Compares a state of ours with a member's snapshot, as [`Self::compare_with`] does.
    pub(crate) fn compare(&self, ours: &ConsensusModuleState, member_id: u16) {
        let mut messages = Vec::new();
        ours.take_snapshot(&mut |message| messages.push(message.to_vec()));
        self.compare_with(&Self { messages, state: ours.clone() }, member_id);
    }

    /// Compares field by field, then byte by byte as far as two nodes' snapshots can agree, and prints in which
    /// messages they do not.
    pub(crate) fn compare_with(&self, ours: &Self, member_id: u16) {
        assert_eq!(
            ours.state.diff(&self.state),
            Vec::<String>::new(),
            "ours, and that of member {member_id}"
        );

        let our_messages = &ours.messages;
        let theirs = in_comparable_order(&self.messages);
        let templates =
            |messages: &[Vec<u8>]| messages.iter().map(|message| template_id(message)).collect::<Vec<_>>();
        assert_eq!(templates(our_messages), templates(&theirs), "member {member_id}");
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
