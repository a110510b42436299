//! A standby whose machine went down with its cluster: what of its log's tail is used when an operator says so.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use consensus_tap::file::segment::FrameHeader;
use standby_node::cluster_client::{ClusterClient, OfferError, config};
use standby_node::store::durability::{BootId, DurabilityFile, FILE_NAME};
use tempfile::TempDir;

use crate::support::node::{Node, NodeFlags, TIMEOUT, path, run};

mod support;

/// Bytes of the message that spans several frames and pages.
const LONG: usize = 20_000;
/// What the disk has or has not, as a whole.
const PAGE: u64 = 4096;

/// The directory of a standby that was killed together with its cluster, and what its log holds.
struct Killed {
    temp: TempDir,
    /// Where each frame begins, and the log's end.
    frames: Vec<i64>,
    end: i64,
    hash: serde_json::Value,
}

impl Killed {
    fn new() -> Self {
        let flags = ["--bootstrap", "--member-id", "0", "--log-term-length", "1m"];
        let extra = flags.map(str::to_owned).to_vec();
        let leader = Node::running(NodeFlags { extra, ..NodeFlags::default() });
        leader.await_output("leading member_id=0", 1);
        let temp = tempfile::tempdir().expect("a temporary directory");
        let standby = Node::running(NodeFlags {
            dir: Some(temp.path().join("killed")),
            consensus_endpoints: Some(leader.told("archive_addr=")),
            ..NodeFlags::default()
        });
        send(&leader);
        let end = leader.number("recorded_position");
        let status = standby.await_status("level with the cluster", |status| {
            // A service's own figures follow its position a moment later.
            let is_counted = status["services"][0]["count"] == 41;
            status["state"] == "FOLLOWING" && status["applied_position"] == end && is_counted
        });
        let hash = status["services"][0]["hash"].clone();
        drop((leader, standby));
        let frames = frames(&temp.path().join("killed"), end);
        Self { temp, frames, end, hash }
    }

    /// A copy of the directory, as it is after a power cut that left only the first half of the small messages certain.
    fn after_a_power_cut(&self, name: &str) -> PathBuf {
        let dir = self.temp.path().join(name);
        let copied =
            Command::new("cp").args(["-r", path(&self.temp.path().join("killed")), path(&dir)]).status();
        assert!(copied.expect("cp").success());
        std::fs::remove_dir_all(dir.join("aeron")).expect("counters of the node that was killed");
        let file = dir.join("cluster").join(FILE_NAME);
        let mut durability = DurabilityFile::open_in_boot(&file, BootId::named("before")).expect("a file");
        durability.mark(0, self.durable(), false).expect("it is written");
        dir
    }

    fn durable(&self) -> i64 {
        self.frames[10]
    }

    /// Frames of the long message.
    fn long_message(&self) -> &[i64] {
        let is_long = |frames: &&[i64]| frames[1] - frames[0] > 1000;
        let first = self.frames.windows(2).position(|frames| is_long(&frames)).expect("a long frame");
        let count = self.frames[first..].windows(2).take_while(is_long).count();
        &self.frames[first..=first + count]
    }
}

/// Twenty small messages, a long one, and twenty small ones.
fn send(leader: &Node) {
    let members = format!("0={}", leader.told("ingress_addr="));
    let config = config(&members, "aeron:udp?endpoint=127.0.0.1:0").expect("it can be read");
    let mut client = ClusterClient::connect(config).expect("it leads");
    let deadline = Instant::now() + TIMEOUT;
    for number in 0..41u8 {
        let length = if number == 20 { LONG } else { 200 };
        let mut message = vec![number | 1; length];
        message[..8].fill(0);
        let mut is_answered = false;
        let mut is_sent = false;
        while !is_answered {
            assert!(Instant::now() < deadline, "no reply to message {number}:\n{}", leader.output());
            if !is_sent {
                match client.offer(&message) {
                    Ok(_) => is_sent = true,
                    Err(OfferError::BackPressured | OfferError::NotConnected) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            client.poll(&mut |_: i64, _: &[u8]| is_answered = true).expect("the session lives");
        }
    }
}

fn log_file(dir: &Path) -> PathBuf {
    dir.join("archive/0-0.rec")
}

fn frames(dir: &Path, end: i64) -> Vec<i64> {
    let bytes = std::fs::read(log_file(dir)).expect("the log's first segment");
    let mut frames = vec![0];
    while *frames.last().expect("one at least") < end {
        let at = *frames.last().expect("one at least");
        let frame = FrameHeader::parse(&bytes[at as usize..]).expect("a frame");
        frames.push(at + i64::from(frame.aligned_length()));
    }
    frames
}

/// Starts the node, has it lead, and returns where its term begins, what was told, and the node.
fn lead(killed: &Killed, dir: PathBuf) -> (i64, String, Node) {
    let extra = ["--fence", "none", "--liveness-timeout", "500ms"].map(str::to_owned).to_vec();
    let node = Node::running(NodeFlags { dir: Some(dir), extra, ..NodeFlags::default() });
    node.await_status("ready", |status| status["snapshots"]["toggle"] == "NEUTRAL");
    let activate =
        |more: &[&str]| run(&[&["activate", "--dir", path(node.dir()), "--wait", "30"], more].concat());
    let refused = activate(&["--force", "position-unknown"]);
    assert_eq!(refused.code, Some(3), "{refused:?}");
    let between = format!("no source has confirmed what lies between {} and ", killed.durable());
    assert!(
        refused.stdout.contains("refused, unverified-tail") && refused.stdout.contains(&between),
        "{refused:?}"
    );
    let led = activate(&["--force", "position-unknown,unverified-tail"]);
    assert_eq!(led.code, Some(0), "{led:?}\n{}", node.output());
    let (_, base) = led.stdout.rsplit_once("from log position ").expect("it tells where");
    let base = base.split_whitespace().next().and_then(|base| base.parse().ok()).expect("a position");
    assert!(led.stdout.contains(&format!("is used: up to {base};")), "{led:?}");
    (base, led.stdout, node)
}

#[test]
fn a_tail_is_used_as_far_as_its_frames_and_messages_are_whole() {
    let killed = Killed::new();
    let long = killed.long_message().to_vec();
    assert!(killed.durable() < long[0] && long.len() > 10, "{long:?}");

    let (base, told, node) = lead(&killed, killed.after_a_power_cut("whole"));
    assert_eq!(base, killed.end, "all of it is there: {told}");
    assert!(told.contains("0 bytes are given up"), "{told}");
    node.await_status("where the cluster was", |status| status["services"][0]["hash"] == killed.hash);
    send_one(&node);
    drop(node);

    // A page in the midst of the long message never came to the disk, or was only filled in part when it did and has
    // whole frames behind it: frames from there on count for nothing, and the message that has no end is cut off.
    let page_after = |frame: i64| (frame as u64 + 200).next_multiple_of(PAGE);
    let is_over_two = |frame: &&[i64]| page_after(frame[0]) < frame[1] as u64;
    let torn = long[..long.len() - 1].windows(2).find(is_over_two).expect("a frame over two pages")[0];
    let page = page_after(torn);
    for (name, zeros_from, zeros_to) in [("hole", page, page + PAGE), ("filled in part", page - 100, page)] {
        let dir = killed.after_a_power_cut(name);
        let file = File::options().write(true).open(log_file(&dir)).expect("the log's first segment");
        file.write_all_at(&vec![0; (zeros_to - zeros_from) as usize], zeros_from).expect("it is written");
        let (base, told, node) = lead(&killed, dir);
        assert_eq!(base, torn, "{name}: {told}");
        node.await_status("before the long message", |status| status["services"][0]["count"] == 20);
        send_one(&node);
    }

    // A header in the small messages behind it is another's: what lies before it is used, and all messages there.
    let small = killed.frames[killed.frames.len() - 6];
    let dir = killed.after_a_power_cut("torn");
    let file = File::options().write(true).open(log_file(&dir)).expect("the log's first segment");
    file.write_all_at(&[0xee; 40], small as u64).expect("it is written");
    let (base, told, node) = lead(&killed, dir);
    assert_eq!(base, small, "{told}");
    node.await_status("behind the long message", |status| status["services"][0]["count"].as_i64() > Some(30));
    send_one(&node);

    // A message that is no cluster's, in a frame that is whole.
    let dir = killed.after_a_power_cut("message");
    let file = File::options().write(true).open(log_file(&dir)).expect("the log's first segment");
    file.write_all_at(&[0x77; 8], small as u64 + 32).expect("it is written");
    let (base, told, _node) = lead(&killed, dir);
    assert_eq!(base, small, "{told}");
}

/// The node answers a client that connects anew.
fn send_one(node: &Node) {
    let members = format!("100={}", node.told("ingress_addr="));
    let config = config(&members, "aeron:udp?endpoint=127.0.0.1:0").expect("it can be read");
    let mut client =
        ClusterClient::connect(config).unwrap_or_else(|error| panic!("{error}\n{}", node.output()));
    let deadline = Instant::now() + TIMEOUT;
    client.offer(&[0; 64]).expect("a window's worth is taken");
    let mut is_answered = false;
    while !is_answered {
        assert!(Instant::now() < deadline, "no reply:\n{}", node.output());
        client.poll(&mut |_: i64, _: &[u8]| is_answered = true).expect("the session lives");
    }
}

#[test]
fn who_leads_what_is_on_the_disk_alone_leads_again_without_a_tail_and_who_does_not_is_fenced() {
    for (level, leads, is_withdrawn) in [("0", false, false), ("2", true, false), ("2", true, true)] {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let dir = temp.path().join("node");
        let flags = ["--bootstrap", "--log-term-length", "1m", "--file-sync-level", level];
        let start = || {
            let extra = flags.map(str::to_owned).to_vec();
            Node::running(NodeFlags { dir: Some(dir.clone()), extra, ..NodeFlags::default() })
        };
        let node = start();
        node.await_output("leading member_id=100", 1);
        send_one(&node);
        let end = node.number("recorded_position");
        drop(node);
        // The last frame that it appended is there, and was not synced before the power went.
        let frames = frames(&dir, end);
        let file = dir.join("cluster").join(FILE_NAME);
        let mut durability = DurabilityFile::open_in_boot(&file, BootId::named("before")).expect("a file");
        durability.mark(0, frames[frames.len() - 2], false).expect("it is written");
        if is_withdrawn {
            // That the node followed nobody since, so the log is its own still.
            let withdrawn = run(&["deactivate", "--dir", path(&dir)]);
            assert_eq!(withdrawn.code, Some(0), "{withdrawn:?}");
        }
        let node = start();
        if leads {
            node.await_output("leading member_id=100 leadership_term_id=10", 1);
            send_one(&node);
        } else {
            node.await_status("fenced", |status| status["state"] == "FENCED");
            node.await_output("activation refused: the machine went down", 1);
        }
    }
}
