//! A node that begins a cluster of its own and leads it, with clients of ours.

use std::collections::VecDeque;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use standby_node::agent::idle::{IdleStrategy, Idler};
use standby_node::cluster_client::{ClusterClient, Credentials, OfferError, config};

use crate::support::node::{Node, NodeFlags, Output, TIMEOUT, closed_port, path, run};

#[path = "leading/copies.rs"]
mod copies;
#[path = "leading/left_behind.rs"]
mod left_behind;
mod support;

/// Bytes of an `audit`'s reply: the message's first 16, its hash, its count.
const REPLY_LENGTH: usize = 32;

fn bootstrapped(extra: &[&str]) -> Node {
    let mut flags = vec!["--bootstrap".to_owned(), "--log-term-length".to_owned(), "1m".to_owned()];
    flags.extend(extra.iter().map(|flag| (*flag).to_owned()));
    Node::running(NodeFlags { extra: flags, ..NodeFlags::default() })
}

/// Where clients reach it.
fn ingress_endpoint(node: &Node) -> String {
    let output = node.output();
    let (_, rest) = output.rsplit_once("ingress_addr=").expect("it tells where");
    rest.split_whitespace().next().expect("an address").to_owned()
}

fn connect(node: &Node) -> ClusterClient {
    node.await_output("leading member_id=100", 1);
    let members = format!("100={}", ingress_endpoint(node));
    ClusterClient::connect(config(&members, "aeron:udp?endpoint=127.0.0.1:0").expect("it can be read"))
        .unwrap_or_else(|error| panic!("{error}\n{}", node.output()))
}

/// A node that leads the cluster in `dir`, new or not, with clients at `ingress`.
fn started(dir: &Path, ingress: &str) -> Node {
    let flags = ["--bootstrap", "--ingress-endpoint", ingress, "--log-term-length", "1m"];
    let extra = flags.map(str::to_owned).to_vec();
    Node::running(NodeFlags { dir: Some(dir.to_owned()), extra, ..NodeFlags::default() })
}

/// A client that waits for the next leader for as long as a test may take.
fn patient_client(ingress: &str) -> ClusterClient {
    let mut config = config(&format!("100={ingress}"), "aeron:udp?endpoint=127.0.0.1:0").expect("a config");
    config.new_leader_timeout_ns = Some(TIMEOUT.as_nanos() as u64);
    ClusterClient::connect(config).expect("it leads")
}

/// Waits until the client has heard of the leader of `term`.
fn await_term(client: &mut ClusterClient, term: i64, node: &Node) {
    let deadline = Instant::now() + TIMEOUT;
    while client.leadership_term_id() < term {
        client.poll(&mut |_: i64, _: &[u8]| {}).expect("the session lives");
        assert!(Instant::now() < deadline, "no new leader is heard of:\n{}", node.output());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A message that `audit` interprets: command and send time, then a payload of its own.
fn message(command: u64, number: u64, length: usize) -> Vec<u8> {
    let mut message = command.to_le_bytes().to_vec();
    message.extend_from_slice(&number.to_le_bytes());
    message.extend_from_slice(&number.wrapping_mul(31).to_le_bytes());
    message.extend_from_slice(&5u64.to_le_bytes());
    message.resize(length.max(32), number as u8 | 1);
    message
}

/// Sends so many messages of various lengths, some of which set timers or are offered on, and expects a reply to each,
/// in order and with rising counts. Returns the last count.
fn exchange(client: &mut ClusterClient, count: u64, window: usize) -> i64 {
    let mut waiting = VecDeque::new();
    let mut last_count = 0;
    let mut idler = Idler::new(IdleStrategy::BACKOFF);
    let deadline = Instant::now() + TIMEOUT;
    let mut number = 0;
    while number < count || !waiting.is_empty() {
        assert!(Instant::now() < deadline, "{} replies are missing of {number}", waiting.len());
        let mut work = 0;
        if number < count && waiting.len() < window {
            let next = message(
                if number % 20 == 3 { number / 20 % 3 } else { 0 },
                number,
                number as usize * 37 % 4000,
            );
            match client.offer(&next) {
                Ok(_) => {
                    waiting.push_back(next);
                    number += 1;
                    work += 1;
                }
                Err(OfferError::BackPressured | OfferError::NotConnected) => {}
                Err(error) => panic!("message {number}: {error}"),
            }
        }
        let polled = client.poll(&mut |_: i64, reply: &[u8]| {
            assert_eq!(reply.len(), REPLY_LENGTH);
            let sent = waiting.pop_front().expect("a reply to nothing");
            assert_eq!(reply[..16], sent[..16], "replies come in order");
            let count = i64::from_le_bytes(reply[24..].try_into().expect("8 bytes"));
            assert!(count > last_count, "{count} after {last_count}");
            last_count = count;
        });
        work += polled.expect("the session lives");
        idler.idle(work);
    }
    last_count
}

#[test]
fn a_node_of_its_own_answers_a_client_in_order() {
    for extra in [&["--layout", "shared"][..], &["--layout", "dedicated", "--idle", "backoff"]] {
        for level in ["0", "1"] {
            let mut node = bootstrapped(&[extra, &["--file-sync-level", level]].concat());
            let mut client = connect(&node);
            let count = exchange(&mut client, 2_000, 200);
            assert!(count > 2_000, "timers and service messages count too");
            client.close(Duration::from_secs(1)).expect("it ends in order");
            node.await_output("session closed", 1);
            assert_eq!(node.terminate(), Some(0), "{}", node.output());
        }
    }
}

#[test]
fn a_client_goes_on_in_its_session_when_the_node_starts_again() {
    let ingress = format!("127.0.0.1:{}", closed_port());
    let temp = tempfile::tempdir().expect("a temporary directory");
    let start = || started(&temp.path().join("node"), &ingress);
    let mut node = start();
    let mut client = patient_client(&ingress);
    let session_id = client.cluster_session_id();
    let mut last_count = exchange(&mut client, 300, 50);
    for term in [10, 20, 30] {
        if term == 20 {
            assert_eq!(node.terminate(), Some(0), "{}", node.output());
        }
        // Dropping a node kills it.
        drop(node);
        node = start();
        await_term(&mut client, term, &node);
        let count = exchange(&mut client, 300, 50);
        assert!(count > last_count + 299, "{count} after {last_count}: nothing that was answered is lost");
        last_count = count;
        assert_eq!(client.cluster_session_id(), session_id);
        let terms = run(&["recording-log", "--json", "--dir", path(node.dir())]);
        assert_eq!(terms.stdout.matches("TERM").count() as i64, term + 1, "also those that are passed over");
    }
    client.close(Duration::from_secs(1)).expect("it ends in order");
}

#[test]
fn a_node_that_is_no_longer_told_that_the_cluster_is_its_own_needs_a_fence_to_lead_it_again() {
    let node = bootstrapped(&[]);
    node.await_output("leading member_id=100 leadership_term_id=0", 1);
    let temp = tempfile::tempdir().expect("a temporary directory");
    let dir = temp.path().join("node");
    std::fs::rename(node.dir(), &dir).expect("the same file system");
    drop(node);
    let start = |extra: &[&str]| {
        let extra = extra.iter().map(|flag| (*flag).to_owned()).collect();
        Node::running(NodeFlags { dir: Some(dir.clone()), extra, ..NodeFlags::default() })
    };
    let fenced = start(&[]);
    fenced.await_status("fenced", |status| status["state"] == "FENCED");
    fenced.await_output("activation refused: nothing makes sure that the old cluster no longer serves", 1);
    drop(fenced);
    let node = start(&["--fence", "none"]);
    node.await_output("leading member_id=100 leadership_term_id=10", 1);
    drop(node);

    // Taken back, and asked for anew: the log is still its own.
    let deactivated = run(&["deactivate", "--dir", path(&dir)]);
    assert_eq!(deactivated.code, Some(0), "{deactivated:?}");
    let node = start(&["--bootstrap"]);
    node.await_output("leading member_id=100 leadership_term_id=20", 1);
}

#[test]
fn a_cluster_that_was_suspended_stays_so_for_its_next_leader_until_it_is_resumed() {
    let ingress = format!("127.0.0.1:{}", closed_port());
    let temp = tempfile::tempdir().expect("a temporary directory");
    let start = || started(&temp.path().join("node"), &ingress);
    let node = start();
    let mut client = patient_client(&ingress);
    let last_count = exchange(&mut client, 100, 10);
    assert_eq!(verb("suspend", &node, &["--wait", "10"]).code, Some(0));
    drop(node);
    let node = start();
    await_term(&mut client, 1, &node);
    node.await_status("suspended", |status| status["state"] == "SUSPENDED");
    assert_eq!(verb("resume", &node, &["--wait", "10"]).code, Some(0), "{}", node.output());
    let count = exchange(&mut client, 100, 10);
    assert!(count > last_count, "{count} after {last_count}");
}

#[test]
fn a_snapshot_that_is_due_before_the_log_is_led_again_is_taken_then() {
    let ingress = format!("127.0.0.1:{}", closed_port());
    let temp = tempfile::tempdir().expect("a temporary directory");
    let dir = temp.path().join("node");
    let node = started(&dir, &ingress);
    // More of the log than is read in one cycle.
    exchange(&mut patient_client(&ingress), 3_000, 100);
    drop(node);
    let flags = ["--bootstrap", "--ingress-endpoint", &ingress, "--snapshot-log-length", "1m"];
    let extra = flags.map(str::to_owned).to_vec();
    let node = Node::running(NodeFlags { dir: Some(dir), extra, ..NodeFlags::default() });
    node.await_output("standby snapshot taken", 1);
    assert_eq!(verb("suspend", &node, &["--wait", "10"]).code, Some(0), "{}", node.output());
}

#[test]
fn a_standby_follows_the_node_that_leads_and_may_not_lead_its_log() {
    for level in ["0", "2"] {
        let leader = bootstrapped(&["--file-sync-level", level]);
        let mut client = connect(&leader);
        exchange(&mut client, 500, 50);
        let output = leader.output();
        let (_, archive) = output.split_once("archive_addr=").expect("it tells where");
        let archive = archive.split_whitespace().next().expect("an address").to_owned();
        let temp = tempfile::tempdir().expect("a temporary directory");
        let flags = |extra: &[&str]| NodeFlags {
            dir: Some(temp.path().join("standby")),
            consensus_endpoints: Some(archive.clone()),
            extra: [&["--member-id", "101"], extra].concat().iter().map(|&flag| flag.to_owned()).collect(),
        };
        let mut standby = Node::running(flags(&[]));
        exchange(&mut client, 500, 50);
        let state = |node: &Node| node.await_status("there", |_| true)["services"][0]["hash"].clone();
        let position = leader.await_status("committed", |status| {
            status["leading"]["commit_position"] == status["recorded_position"]
        })["recorded_position"]
            .as_i64();
        standby.await_status("where the leader is", |status| {
            status["state"] == "FOLLOWING" && status["applied_position"].as_i64() >= position
        });
        // Each shows its figures twenty times a second: the leader's may be older than the position.
        standby
            .await_status("the same as the leader", |status| status["services"][0]["hash"] == state(&leader));
        assert_eq!(standby.number("leader_member_id"), 100);
        assert_eq!(standby.terminate(), Some(0), "{}", standby.output());

        let mut refused = Node::start(flags(&["--bootstrap"]));
        assert_eq!(refused.wait(), Some(1));
        assert!(refused.output().contains("was led by another node, in term 0"), "{}", refused.output());
        let out = temp.path().join("member");
        let refused = verb("hand-over", &standby, &["--out", path(&out)]);
        assert!(
            refused.code == Some(1) && refused.stderr.contains("was led by another node, in term 0"),
            "{refused:?}"
        );
        assert!(!out.join("cluster").exists());
        let follows = Node::running(flags(&[]));
        follows.await_status("following again", |status| status["state"] == "FOLLOWING");
    }
}

#[test]
fn only_clients_that_the_file_names_are_let_in() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let file = temp.path().join("clients.toml");
    let text = "[[client]]\nprincipal = \"ann\"\ncredentials = \"ann:1\"\nchallenge_answer = \"blue\"\n";
    std::fs::write(&file, text).expect("a file");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("its mode");
    let node = bootstrapped(&["--clients-file", path(&file)]);
    node.await_output("leading member_id=100", 1);
    let attempt = |credentials: &str, answer: &str| {
        let members = format!("100={}", ingress_endpoint(&node));
        let mut config = config(&members, "aeron:udp?endpoint=127.0.0.1:0").expect("it can be read");
        config.credentials = Credentials::ChallengeResponse {
            initial: credentials.as_bytes().to_vec(),
            answer: answer.as_bytes().to_vec(),
        };
        ClusterClient::connect(config)
    };
    for (credentials, answer) in [("ann:2", "blue"), ("", "blue"), ("ann:1", "red")] {
        let error = attempt(credentials, answer).map(drop).expect_err("it is let in").to_string();
        assert!(error.contains("authentication"), "{error}");
    }
    exchange(&mut attempt("ann:1", "blue").expect("it is known"), 50, 10);
}

/// A verb on the node's directory.
fn verb(name: &str, node: &Node, more: &[&str]) -> Output {
    run(&[&[name, "--dir", path(node.dir())], more].concat())
}

#[test]
fn operators_suspend_resume_and_end_the_cluster_by_the_toggle() {
    let mut node = bootstrapped(&[]);
    let mut client = connect(&node);
    exchange(&mut client, 100, 10);
    let early = verb("resume", &node, &[]);
    assert!(early.code == Some(1) && early.stderr.contains("not suspended"), "{early:?}");

    let suspended = verb("suspend", &node, &["--wait", "10"]);
    assert_eq!(suspended.code, Some(0), "{suspended:?}");
    let again = verb("suspend", &node, &[]);
    assert!(again.code == Some(1) && again.stderr.contains("suspended already"), "{again:?}");
    let shutdown = verb("shutdown", &node, &[]);
    assert!(shutdown.code == Some(1) && shutdown.stderr.contains("`resume` it first"), "{shutdown:?}");
    let before = node.number("recorded_position");
    client.offer(&message(0, 1_000, 64)).expect("a window's worth is taken");
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(node.number("recorded_position"), before, "nothing is appended while suspended");

    assert_eq!(verb("resume", &node, &["--wait", "10"]).code, Some(0));
    node.await_status("going on", |status| status["recorded_position"].as_i64() > Some(before));
    let ended = verb("shutdown", &node, &["--wait", "30"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(node.wait(), Some(0), "{}", node.output());
    let snapshots = run(&["snapshot", "list", "--json", "--dir", path(node.dir())]);
    let snapshots: serde_json::Value = serde_json::from_str(&snapshots.stdout).expect("JSON");
    assert_eq!(snapshots["snapshots"].as_array().map(Vec::len), Some(1), "{snapshots}");
}

#[test]
fn a_shutdown_whose_snapshot_could_not_be_taken_says_so() {
    let mut node = bootstrapped(&[]);
    exchange(&mut connect(&node), 50, 10);
    // In the way of the recordings that the snapshot would have.
    for recording_id in 1..3 {
        std::fs::write(node.dir().join(format!("archive/{recording_id}-0.rec")), "not ours").expect("a file");
    }
    let ended = verb("shutdown", &node, &["--wait", "30"]);
    assert_eq!(node.wait(), Some(0), "{}", node.output());
    let words = ["WITHOUT a snapshot", "replays from the log's beginning"];
    assert!(ended.code == Some(1) && words.iter().all(|word| ended.stderr.contains(word)), "{ended:?}");
    assert!(node.output().contains("given up"), "{}", node.output());
}

#[test]
fn a_cluster_is_handed_over_whole_and_the_node_has_ended() {
    let mut node = bootstrapped(&[]);
    let mut client = connect(&node);
    exchange(&mut client, 500, 50);
    let temp = tempfile::tempdir().expect("a temporary directory");
    let out = ["a", "b", "c"].map(|name| path(&temp.path().join(name)).to_owned());

    let wrong = verb("hand-over", &node, &["--out", &out.join(","), "--member-ids", "0,1"]);
    assert!(wrong.code == Some(1) && wrong.stderr.contains("name as many of both"), "{wrong:?}");
    let twice = verb("hand-over", &node, &["--out", &out.join(","), "--member-ids", "0,1,0"]);
    assert!(twice.code == Some(1) && twice.stderr.contains("names 0 twice"), "{twice:?}");
    // An old member's files are in the way of the last one.
    let old = path(&temp.path().join("old")).to_owned();
    std::fs::create_dir_all(temp.path().join("old/archive")).expect("a directory");
    let mixed = verb("hand-over", &node, &["--out", &[out[0].clone(), old].join(",")]);
    assert!(mixed.code == Some(1) && mixed.stderr.contains("old: is not empty"), "{mixed:?}");
    assert!(!temp.path().join("a").exists(), "nothing is begun for the others");
    let one = verb("hand-over", &node, &["--out", &[out[0].clone(), format!("{}/.", out[0])].join(",")]);
    assert!(one.code == Some(1) && one.stderr.contains("is named twice"), "{one:?}");
    assert!(node.is_running(), "what is refused ends nothing");

    let handed = verb("hand-over", &node, &["--json", "--wait", "30", "--out", &out.join(",")]);
    assert_eq!(handed.code, Some(0), "{handed:?}");
    assert_eq!(node.wait(), Some(0), "{}", node.output());
    let handed: serde_json::Value = serde_json::from_str(&handed.stdout).expect("JSON");
    let reports = handed.as_array().expect("a report for each");
    assert_eq!(reports.len(), 3);
    for (report, out) in reports.iter().zip(&out) {
        assert_eq!(
            report["snapshot_position"], report["log_end_position"],
            "nothing came behind the snapshot"
        );
        assert_eq!(report["log_end_position"], reports[0]["log_end_position"]);
        let verified = run(&["archive", "verify", "--dir", out]);
        assert_eq!(verified.code, Some(0), "{verified:?}");
        let verified = run(&["snapshot", "verify", "--dir", out]);
        assert_eq!(verified.code, Some(0), "{verified:?}");
    }
    let again = verb("hand-over", &node, &["--out", &out[0]]);
    assert!(again.code == Some(1) && again.stderr.contains("not empty"), "{again:?}");
    let again = path(&temp.path().join("again")).to_owned();
    let refused = verb("hand-over", &node, &["--out", &again]);
    assert!(refused.code == Some(1) && refused.stderr.contains("this node is fenced"), "{refused:?}");
    let (fenced, mark) = ("activation.dat", "hand-over.dat");
    let in_cluster = |name: &str| node.dir().join("cluster").join(name);
    // As it is when the power goes before the directories are there.
    std::fs::copy(in_cluster(fenced), in_cluster(mark)).expect("a copy");
    let repeated = verb("hand-over", &node, &["--out", &again]);
    assert_eq!(repeated.code, Some(0), "{repeated:?}");
    assert!(!in_cluster(mark).exists(), "it is done");
    let dir = Some(node.dir().to_owned());
    let extra = vec!["--bootstrap".to_owned()];
    let mut fenced = Node::running(NodeFlags { dir, extra, ..NodeFlags::default() });
    fenced.await_status("fenced", |status| status["state"] == "FENCED");
    fenced.await_output("has handed its cluster over", 1);
    assert_eq!(fenced.terminate(), Some(0), "{}", fenced.output());
}
