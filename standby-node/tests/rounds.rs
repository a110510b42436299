//! A cluster of ours whose leader is killed again and again, under load and at any moment: each time the
//! standby that follows is flagged, and the client goes on. What came of each message is then looked up in
//! the logs.
//!
//! `STANDBY_LONG=1` makes it 100 rounds. `STANDBY_ROUNDS_SEED` repeats the moments of an earlier run; the
//! seed is printed.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use standby_node::cluster_client::{ClusterClient, config};

use crate::rounds::led_log::LedLog;
use crate::support::load::{Ledger, Load, Rate};
use crate::support::node::{Node, NodeFlags, TIMEOUT, path, run};

#[path = "rounds/mod.rs"]
mod rounds;
mod support;

/// Exit code of an `activate` that was refused.
const REFUSED: i32 = 3;
const FIRST_MEMBER_ID: u64 = 100;
/// What a source told of itself was true some time before it was told.
const TELLING_TIME: Duration = Duration::from_millis(500);

/// A round, when its leader was dead and the standby led.
struct Flip {
    /// Where the new term begins.
    base_log_position: i64,
    leadership_term_id: i64,
    /// What the dead leader's log held of its own term when it died.
    dead_log: LedLog,
    /// What its services and the new leader's said of themselves.
    said: Vec<Said>,
    /// As printed: the figures of the report.
    report: Value,
    /// When the flag was set, ms since the epoch.
    flagged_ms: i64,
}

/// A line that `audit` printed.
#[derive(Clone, Copy, Debug)]
struct Said {
    position: i64,
    count: i64,
    hash: u64,
}

#[test]
fn a_client_goes_on_through_round_after_round_and_nothing_that_the_standby_knew_is_lost_or_repeated() {
    let is_long = std::env::var_os("STANDBY_LONG").is_some_and(|value| value == "1");
    let seed = std::env::var("STANDBY_ROUNDS_SEED").map(|seed| seed.parse().expect("a number"));
    let seed = seed.unwrap_or_else(|_| now_ms() as u64);
    println!("STANDBY_ROUNDS_SEED={seed}");
    let mut random = Random(seed);
    let round_count = if is_long { 100 } else { 10 };
    let temp = tempfile::tempdir().expect("a temporary directory");

    let mut leader = node(temp.path(), 0, &mut random, None);
    leader.await_output("leading member_id=100", 1);
    // Each standby takes the whole log over, and the last of many would take long.
    let per_second = if is_long { 300 } else { 1_000 };
    let rate = Rate { per_second, length_max: 4_000, commands: true };
    let load = Load::start(connect(&leader), rate);
    load.await_replies(100);
    let mut flips = Vec::new();
    for round in 1..=round_count {
        let begin = Instant::now();
        let standby = node(temp.path(), round, &mut random, Some(&leader));
        standby.await_status("following", |status| {
            status["state"] == "FOLLOWING"
                && status["lag_bytes"].as_i64().is_some_and(|lag| (0..1 << 16).contains(&lag))
        });
        let joined = begin.elapsed();
        std::thread::sleep(Duration::from_micros(random.below(600_000)));
        leader.kill();
        let killed = Instant::now();
        let (report, flagged_ms) = flip(&standby);
        let flipped = killed.elapsed();
        load.await_new_leaders(round as u32);
        load.await_replies(50);
        let went_on = killed.elapsed();
        let flip = Flip::new(&leader, report, flagged_ms);
        println!("round {round}: joined in {joined:?}, flipped in {flipped:?}, went on in {went_on:?}");
        println!("    {}", flip.report["loss"]);
        std::fs::remove_dir_all(leader.dir()).expect("the dead leader's directory");
        flips.push(flip);
        leader = standby;
    }
    let ledger = load.stop();
    assert_eq!(leader.terminate(), Some(0), "{}", leader.output());
    check(&ledger, &flips, &LedLog::read(leader.dir()), &said(&leader));
}

/// Starts node `index`: of a cluster of its own, or as the standby of another.
fn node(temp: &Path, index: u64, random: &mut Random, source: Option<&Node>) -> Node {
    let member_id = (FIRST_MEMBER_ID + index).to_string();
    let level = ["0", "1"][random.below(2) as usize];
    let mut extra = vec!["--member-id", &member_id, "--file-sync-level", level];
    extra.extend(["--fence", "none", "--liveness-timeout", "500ms", "--ingress-endpoint", "127.0.0.1:0"]);
    if source.is_none() {
        extra.extend(["--bootstrap", "--log-term-length", "1m"]);
    }
    Node::running(NodeFlags {
        dir: Some(temp.join(format!("node-{index}"))),
        consensus_endpoints: source.map(|source| source.told("archive_addr=")),
        extra: extra.into_iter().map(str::to_owned).collect(),
    })
}

/// A client that waits for the next leader for as long as a test may take.
fn connect(leader: &Node) -> ClusterClient {
    let ingress = format!("{FIRST_MEMBER_ID}={}", leader.told("ingress_addr="));
    let mut config = config(&ingress, "aeron:udp?endpoint=127.0.0.1:0").expect("a config");
    config.new_leader_timeout_ns = Some(TIMEOUT.as_nanos() as u64);
    ClusterClient::connect(config).expect("it leads")
}

impl Flip {
    fn new(dead: &Node, report: Value, flagged_ms: i64) -> Self {
        let active = |figure: &str| report["outcome"][figure].as_i64().expect("a figure");
        Self {
            base_log_position: active("base_log_position"),
            leadership_term_id: active("leadership_term_id"),
            dead_log: LedLog::read(dead.dir()).into_last_term(),
            said: said(dead),
            report,
            flagged_ms,
        }
    }
}

/// Sets the flag of a standby whose leader is dead, until nothing is heard of that one any more. Returns what
/// was printed, and when the flag was set that counted.
fn flip(standby: &Node) -> (Value, i64) {
    let deadline = Instant::now() + TIMEOUT;
    let mut force: &[&str] = &[];
    loop {
        let flagged_ms = now_ms();
        let flags = ["activate", "--json", "--wait", "20", "--dir", path(standby.dir())];
        let output = run(&[&flags, force].concat());
        let report: Value = serde_json::from_str(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {output:?}\n{}", standby.output()));
        if output.code == Some(REFUSED) {
            let reasons = report["outcome"]["reasons"].as_array().expect("why");
            for reason in reasons.iter().filter(|reason| reason["check"] != "member-living") {
                // A machine that stood still may have kept more from the standby than a node gives up by itself.
                let text = reason["reason"].as_str().expect("in words");
                assert!(
                    reason["check"] == "behind" && text.contains("the source had recorded"),
                    "{report:#}"
                );
                println!("forced, though {text}");
                force = &["--force", "behind"];
            }
            assert!(Instant::now() < deadline, "{report:#}");
            continue;
        }
        assert_eq!(output.code, Some(0), "{output:?}\n{}", standby.output());
        return (report, flagged_ms);
    }
}

/// What a node's service printed.
fn said(node: &Node) -> Vec<Said> {
    let output = node.output();
    let lines = output.lines().filter(|line| line.starts_with("audit service=0 "));
    let word = |line: &str, key: &str| {
        let (_, rest) = line.split_once(key).expect("a word of the line");
        rest.split(' ').next().expect("its value").to_owned()
    };
    let said = lines.map(|line| Said {
        position: word(line, " position=").parse().expect("a position"),
        count: word(line, " count=").parse().expect("a count"),
        hash: u64::from_str_radix(&word(line, " hash="), 16).expect("a hash"),
    });
    said.collect()
}

/// Holds every reply against the log that all rounds left, and against the log of the leader that gave it.
fn check(ledger: &Ledger, flips: &[Flip], log: &LedLog, last_said: &[Said]) {
    ledger.expect_no_faults();
    let mut seen = HashSet::new();
    for message in &log.messages {
        assert!(seen.insert(message.number), "message {} is in the log twice", message.number);
        assert!(message.number <= ledger.sent, "message {} was never sent", message.number);
    }
    assert_eq!(log.terms.len(), flips.len() + 1, "a term for each leader: {:?}", log.terms);
    let mut lost = HashSet::new();
    for (index, flip) in flips.iter().enumerate() {
        let term = log.terms[index + 1];
        assert_eq!(term, (flip.leadership_term_id, flip.base_log_position), "round {}", index + 1);
        lost.extend(lost_in(flip, log.terms[index].0, ledger));
    }
    let mut replied = HashSet::new();
    for reply in &ledger.replies {
        assert!(replied.insert(reply.number), "message {} was replied to twice", reply.number);
        let found = log.message(reply.number);
        assert_eq!(found.is_none(), lost.contains(&reply.number), "{reply:?} is in the log, or lost");
        if let Some(message) = found {
            // Whoever replied was in the state that the log says.
            assert_eq!((reply.hash, reply.count), (message.hash, message.count), "{message:?}");
        }
    }
    for (index, flip) in flips.iter().enumerate() {
        agree(log, flip.said.iter().filter(|said| said.position <= flip.base_log_position), index);
    }
    assert!(agree(log, last_said.iter(), flips.len()) > 0, "the last leader has said nothing");
    println!(
        "{} sent, {} replied to, {} open when a leader died, {} of the replied lost; {} rounds",
        ledger.sent,
        ledger.replies.len(),
        ledger.orphaned,
        lost.len(),
        flips.len()
    );
}

/// The messages that a dead leader replied to and the standby never had. Each is one of those that were
/// printed: among the bytes that the source was known to have recorded, or recorded since it was last asked.
fn lost_in(flip: &Flip, dead_term_id: i64, ledger: &Ledger) -> Vec<u64> {
    let applied = flip.report["applied_position"].as_i64().expect("a position");
    let told = flip.report["source_position"].as_i64().expect("the source has told");
    let age = flip.report["source_position_age_s"].as_f64().expect("its age");
    let told_ms = flip.flagged_ms - (age * 1e3) as i64 - TELLING_TIME.as_millis() as i64;
    assert!(applied <= flip.base_log_position && applied <= flip.dead_log.end_position, "{}", flip.report);
    let mut lost = Vec::new();
    for reply in ledger.replies.iter().filter(|reply| reply.leadership_term_id == dead_term_id) {
        let message = flip.dead_log.message(reply.number);
        let message = message.unwrap_or_else(|| panic!("{reply:?} is not in the log of who replied"));
        if message.position > applied {
            assert!(
                message.position <= told || message.timestamp >= told_ms,
                "{message:?} is lost and was not printed: {}",
                flip.report
            );
            lost.push(message.number);
        }
    }
    lost
}

/// Services said of themselves what the log says. Returns how often.
fn agree<'a>(log: &LedLog, said: impl Iterator<Item = &'a Said>, round: usize) -> usize {
    said.inspect(|said| {
        let state = log.state_at(said.position);
        assert_eq!((said.hash, said.count), state, "round {round}: {said:?}");
    })
    .count()
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_millis() as i64
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}
