//! What a node that leads finds when it starts again: half a message, or what a power cut left of its log.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use standby_node::cluster_client::{ClusterClient, OfferError};
use standby_node::store::durability::{BootId, DurabilityFile};

use super::{await_term, exchange, message, patient_client, started};
use crate::support::node::{Node, NodeFlags, TIMEOUT, closed_port};

const BEGIN: u8 = 0x80;
const WHOLE: u8 = 0xC0;

#[test]
fn a_log_that_ends_within_a_message_is_led_on_behind_it() {
    let ingress = format!("127.0.0.1:{}", closed_port());
    let temp = tempfile::tempdir().expect("a temporary directory");
    let dir = temp.path().join("node");
    let mut node = started(&dir, &ingress);
    node.await_output("leading member_id=100", 1);
    let mut client = patient_client(&ingress);
    exchange(&mut client, 500, 50);
    // The longest of these take three frames; of the last such the first frame is left.
    node.kill();
    let log = Segment::of(&dir);
    let half = log.frames().into_iter().rfind(|frame| frame.flags == BEGIN).expect("a message in frames");
    log.zero_from(half.end);
    log.mark_durable(&dir, 0, &BootId::current());

    let node = started(&dir, &ingress);
    await_term(&mut client, 1, &node);
    let next = log.frames().into_iter().find(|frame| frame.begin == half.end).expect("something behind it");
    assert_eq!((half.flags, next.flags), (BEGIN, WHOLE), "the new term cuts the half message off");
    exchange(&mut client, 500, 50);
    let text = format!("leadership_term_id=10 leader_member_id=100 term_base_log_position={}", half.end);
    assert!(node.output().contains(&text), "{}", node.output());
}

#[test]
fn nothing_that_was_answered_at_sync_level_1_is_lost_in_a_power_cut() {
    let ingress = format!("127.0.0.1:{}", closed_port());
    let temp = tempfile::tempdir().expect("a temporary directory");
    let (dir, copy) = (temp.path().join("node"), temp.path().join("copy"));
    let synced = |dir: &Path| {
        let flags = ["--bootstrap", "--ingress-endpoint", &ingress, "--log-term-length", "1m"];
        let extra = flags.iter().chain(&["--file-sync-level", "1"]).map(|&flag| flag.to_owned()).collect();
        Node::running(NodeFlags { dir: Some(dir.to_owned()), extra, ..NodeFlags::default() })
    };
    let mut node = synced(&dir);
    node.await_output("leading member_id=100", 1);
    let mut client = patient_client(&ingress);
    let before = exchange(&mut client, 300, 50);
    // Power fails while messages come in as fast as they can.
    let answered = flood(&mut client, 1_000, before, || node.kill());
    copy_directory(&dir, &copy);
    let log = Segment::of(&copy);
    let (recorded, durable) = (log.end(), log.durable_position(&copy));
    println!("{recorded} recorded, {durable} durable, {answered} counted in the last answer");
    log.zero_from(durable);
    log.mark_durable(&copy, durable, &BootId::named("before the power cut"));

    let node = synced(&copy);
    await_term(&mut client, 1, &node);
    let counted = |status: &Value| status["services"][0]["count"].as_i64();
    // Its figures are shown twenty times a second: those of the replay come first.
    let status = node.await_status(&format!("with {answered}"), |status| counted(status) >= Some(answered));
    let count = counted(&status).expect("a count");
    assert!(exchange(&mut client, 300, 50) >= count + 300);
}

/// Sends without end, has `strike` done once so many more than `answered` are counted, and takes what is answered still.
/// Returns what the last reply counted.
fn flood(client: &mut ClusterClient, count: i64, answered: i64, strike: impl FnOnce()) -> i64 {
    let mut last = answered;
    let deadline = Instant::now() + TIMEOUT;
    for number in 0.. {
        match client.offer(&message(0, number, 200)) {
            Ok(_) | Err(OfferError::BackPressured | OfferError::NotConnected) => {}
            Err(error) => panic!("message {number}: {error}"),
        }
        let polled = client.poll(&mut |_: i64, reply: &[u8]| {
            last = i64::from_le_bytes(reply[24..].try_into().expect("8 bytes"));
        });
        polled.expect("the session lives");
        if last >= answered + count {
            break;
        }
        assert!(Instant::now() < deadline, "{last} of {count} behind {answered}");
    }
    strike();
    let end = Instant::now() + Duration::from_millis(200);
    while Instant::now() < end {
        let polled = client.poll(&mut |_: i64, reply: &[u8]| {
            last = i64::from_le_bytes(reply[24..].try_into().expect("8 bytes"));
        });
        polled.expect("the session lives");
    }
    last
}

/// The first segment of the log, which these tests do not fill.
struct Segment {
    path: PathBuf,
}

#[derive(Clone, Copy)]
struct Frame {
    begin: u64,
    end: u64,
    flags: u8,
}

impl Segment {
    fn of(dir: &Path) -> Self {
        Self { path: dir.join("archive/0-0.rec") }
    }

    fn frames(&self) -> Vec<Frame> {
        let bytes = std::fs::read(&self.path).expect("a segment");
        let mut frames = Vec::new();
        let mut at = 0;
        while let Some(header) = bytes.get(at..at + 32) {
            let length = i32::from_le_bytes(header[..4].try_into().expect("four bytes"));
            let Some(length) = usize::try_from(length).ok().filter(|length| *length > 0) else { break };
            let end = at + length.next_multiple_of(32);
            frames.push(Frame { begin: at as u64, end: end as u64, flags: header[5] });
            at = end;
        }
        frames
    }

    fn end(&self) -> u64 {
        self.frames().last().map_or(0, |frame| frame.end)
    }

    fn zero_from(&self, position: u64) {
        let file = File::options().write(true).open(&self.path).expect("a segment");
        let length = file.metadata().expect("its length").len();
        file.write_all_at(&vec![0; (length - position) as usize], position).expect("zeros");
    }

    fn durable_position(&self, dir: &Path) -> u64 {
        let mark = DurabilityFile::read(&durability_path(dir)).expect("it can be read").expect("a mark");
        mark.position as u64
    }

    /// Has the node believe that so much is durable, as that boot of the machine left it.
    fn mark_durable(&self, dir: &Path, position: u64, boot: &BootId) {
        let path = durability_path(dir);
        let recording_id = DurabilityFile::read(&path).expect("it can be read").expect("a mark").recording_id;
        let mut file = DurabilityFile::open_in_boot(&path, boot.clone()).expect("it can be written");
        file.mark(recording_id, position as i64, false).expect("it can be written");
    }
}

fn durability_path(dir: &Path) -> PathBuf {
    dir.join("cluster/durable-position.dat")
}

fn copy_directory(from: &Path, to: &Path) {
    let status = Command::new("cp").args(["-a", "--sparse=always"]).arg(from).arg(to).status();
    assert!(status.expect("cp runs").success());
    // Its counters would speak for the node that is gone.
    std::fs::remove_dir_all(to.join("aeron")).expect("the copy's cnc.dat");
}
