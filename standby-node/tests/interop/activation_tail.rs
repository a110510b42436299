//! What lies at the end of a log when a standby takes over: half a message of ours, and a whole tail of a member that
//! nobody else has.

use std::time::Duration;

use consensus_tap::codec::log::LogEvent;
use serde_json::Value;

use crate::support::client::{Client, send};
use crate::support::cluster::{Cluster, ClusterConfig, await_some};
use crate::support::ending::{await_source, expect_progress};
use crate::support::files::copy_directory;
use crate::support::flip::{
    MAY_LEAD, PATIENCE, REFUSED, activate, activate_when_silent, base_log_position, expect_replayed_by_java,
    text,
};
use crate::support::log_relays::LogRelays;
use crate::support::ports::Ports;
use crate::support::recorded_log::RecordedLog;
use crate::support::relay::Relay;
use crate::support::standby::Standby;

const MINUTE: Duration = Duration::from_secs(60);
const LOG_STREAM_ID: i32 = 100;
const MTU: i64 = 1408;
const BEGIN: u8 = 0x80;
const WHOLE: u8 = 0xC0;
/// A leader that has recorded this much more than it committed has surely taken messages that will be lost.
const UNCOMMITTED: i64 = 48 * 1024;

#[test]
fn half_a_message_at_the_end_of_the_log_is_cut_off_by_the_new_term() {
    if crate::support::skip() {
        return;
    }
    let cluster = Cluster::start(ClusterConfig::new("activation_half_a_message", 1));
    let ports = Ports::allocate(1);
    let own = ports.port(0);
    let relay = Relay::start(0, ([127, 0, 0, 1], own).into(), 1);
    let (port, response_endpoint) = (own.to_string(), relay.endpoint());
    let behind = ["--port", &port, "--response-endpoint", &response_endpoint];
    let standby = Standby::follow(&cluster, "standby", &[&behind[..], &MAY_LEAD].concat());
    let load = ["--count", "1500", "--rate", "200", "--size-min", "20480", "--size-max", "20480", "--resend"];
    let client = Client::spawn(&cluster, &[&load[..], &PATIENCE].concat());
    client.await_connected();
    expect_progress(&standby, 256 * 1024, MINUTE);

    relay.cut_inside_message(LOG_STREAM_ID);
    await_some("a message cut in two", MINUTE, || relay.is_cut().then_some(()));
    cluster.member(0).kill();
    let half = standby.await_status("half a message behind its log", MINUTE, |status| {
        let (applied, recorded) = ends(status);
        applied > 0 && applied + MTU == recorded
    });
    let (applied, recorded) = ends(&half);
    let base = base_log_position(&activate_when_silent(&standby, &[]));
    assert_eq!(base, recorded, "the new term begins behind what is recorded");

    let result = client.wait(MINUTE);
    println!("{}", result.line);
    // What the relay dropped was answered by the old leader, and is lost: only what is left has to be whole.
    assert_eq!((result.sent(), result.replied()), (1500, 1500), "{}", result.line);
    for (key, expected) in
        [("reconnects", 0.0), ("new_leaders", 1.0), ("out_of_order", 0.0), ("count_errors", 0.0)]
    {
        assert!(result.number(key) == expected, "{key}: {}", result.line);
    }
    standby.stop();
    let log = RecordedLog::read(standby.dir());
    assert_eq!(log.frame(applied), (MTU as usize, BEGIN), "half a message stays in the log");
    assert_eq!(log.frame(base).1, WHOLE);
    let terms = log.events(|event, position| match event {
        LogEvent::NewLeadershipTerm(term) => Some((term.term_base_log_position, position)),
        _ => None,
    });
    assert!(terms.iter().any(|(begin, end)| *begin == base && *end > base), "{terms:?}, {base}");
    assert!(expect_replayed_by_java(&standby, "activation_half_a_message_java") >= 2);
}

#[test]
fn an_old_member_with_a_tail_beyond_the_new_term_gives_it_up_to_a_java_cluster_that_goes_on_from_ours() {
    if crate::support::skip() {
        return;
    }
    let (cluster, log_relays) = LogRelays::cluster("activation_stale_member");
    let leader = cluster.await_leader(None, MINUTE);
    let standby =
        Standby::follow(&cluster, "standby", &[&["--source-type", "leader"][..], &MAY_LEAD].concat());
    await_source(&standby, MINUTE, |id| id == i64::from(leader));
    let load = ["--count", "6000", "--rate", "1000", "--size-max", "1000", "--resend"];
    let client = Client::spawn(&cluster, &[&load[..], &PATIENCE].concat());
    client.await_connected();
    expect_progress(&standby, 64 * 1024, MINUTE);

    log_relays.set_cut(true);
    standby.await_status("fed by a leader that cannot commit", MINUTE, |status| {
        let source = status["source_position"].as_i64().unwrap_or(-1);
        source >= ends(status).1 + UNCOMMITTED
    });
    // For more than a second the source says that it has what does not come.
    std::thread::sleep(Duration::from_millis(1200));
    cluster.members().iter().for_each(|member| member.kill());
    let refused = await_some("silence", MINUTE, || {
        let refused = activate(&standby, &[]);
        assert_eq!(refused.status.code(), Some(REFUSED), "{refused:?}");
        Some(text(&refused)).filter(|refused| !refused.contains("member-living"))
    });
    assert!(refused.contains("refused, behind"), "{refused}");
    let base = base_log_position(&activate_when_silent(&standby, &["--force", "behind"]));
    let result = client.wait(MINUTE);
    println!("{}", result.line);
    result.expect_all_replied();
    assert_eq!((result.number("reconnects"), result.number("new_leaders")), (0.0, 1.0), "{}", result.line);

    let stale = cluster.member(leader).dir();
    let theirs = RecordedLog::read(stale);
    assert!(theirs.end_position() >= base + UNCOMMITTED, "{} and {base}", theirs.end_position());
    standby.stop();
    let ours = RecordedLog::read(standby.dir());
    assert_eq!(ours.bytes(0..base), theirs.bytes(0..base), "one log up to the new term");
    let fork = base..base + UNCOMMITTED;
    assert_ne!(ours.bytes(fork.clone()), theirs.bytes(fork), "and two behind it");

    // Whoever ran in these directories is gone: the marks of the one that was killed are young still.
    let java = Cluster::start_on(ClusterConfig::new("activation_stale_member_java", 3), |member| {
        copy_directory(standby.dir(), member);
        std::fs::remove_dir_all(member.join("aeron")).expect("the counters of the node that has ended");
    });
    java.await_leader(None, MINUTE);
    send(&java, 200);
    let member = java.member(leader);
    member.kill();
    java.await_leader(Some(leader), MINUTE);
    std::fs::remove_dir_all(member.dir()).expect("the directory of a copy");
    copy_directory(stale, member.dir());
    member.restart();
    send(&java, 200);
    java.shutdown();

    let logs = java.audit_logs();
    let end = |id: u16| logs[usize::from(id)].lines.last().map(|line| (line.position, line.count, line.hash));
    for id in 0..3 {
        assert_eq!(end(id), end(leader), "member {id}: {:?}", logs[usize::from(id)].lines);
    }
    let truncated = RecordedLog::read(member.dir());
    assert_eq!(truncated.bytes(0..ours.end_position()), ours.bytes(0..ours.end_position()));
}

/// What a standby has applied and recorded.
fn ends(status: &Value) -> (i64, i64) {
    let number = |field: &str| status[field].as_i64().unwrap_or(-1);
    (number("applied_position"), number("recorded_position"))
}
