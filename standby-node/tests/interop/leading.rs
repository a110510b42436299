//! A node of ours that began a cluster of its own, under an unmodified Java client and Aeron's own tools; and a Java
//! cluster that goes on from what it left.

use std::sync::Arc;
use std::time::Duration;

use standby_node::store::cnc::CncReader;

use crate::support::agreement::last_position;
use crate::support::audit_log::compare;
use crate::support::client::{Client, ClientConfig};
use crate::support::flip;
use crate::support::java;
use crate::support::ports::Ports;
use crate::support::scratch::Scratch;
use crate::support::standby::Standby;

const MINUTE: Duration = Duration::from_secs(60);
const CLUSTER_TOOL: &str = "io.aeron.cluster.ClusterTool";
const CLUSTER_CONTROL: &str = "io.aeron.cluster.ClusterControl";
const CONSENSUS_MODULE_STATE: i32 = 200;
const CONTROL_TOGGLE: i32 = 202;
const SNAPSHOT_COUNT: i32 = 205;
const ACTIVE: i64 = 1;
const SUSPENDED: i64 = 2;
const NEUTRAL: i64 = 1;

/// A node that leads a cluster of its own.
pub(crate) struct Active {
    pub(crate) node: Standby,
    ports: Ports,
    scratch: Arc<Scratch>,
}

impl Active {
    pub(crate) fn start(test: &str, flags: &[&str]) -> Self {
        let scratch = Arc::new(Scratch::new(test));
        let ports = Ports::allocate(1);
        let port = ports.base().to_string();
        let nobody = format!("localhost:{}", ports.port(8));
        let own = ["--bootstrap", "--port", &port];
        let node = Standby::start(&scratch, "active", &nobody, &[&own[..], flags].concat());
        node.await_status("leading", MINUTE, |status| status["role"] == "LEADER");
        Self { node, ports, scratch }
    }

    pub(crate) fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// Where clients send, as an address.
    pub(crate) fn ingress_address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.port(2))
    }

    /// Where others ask it for its log.
    pub(crate) fn archive_endpoint(&self) -> String {
        format!("localhost:{}", self.ports.port(1))
    }

    pub(crate) fn client(&self, flags: &[&str]) -> Client {
        let config = ClientConfig {
            aeron_version: java::AERON_VERSION.to_owned(),
            ingress_endpoints: format!("100=localhost:{}", self.ports.port(2)),
            flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
        };
        Client::spawn_with(&config, &self.scratch)
    }

    /// Sends so many messages of up to 3,000 bytes, with timers and service messages among them; each is answered.
    fn exchange(&self, count: u64) {
        let count_text = count.to_string();
        let load = ["--count", &count_text, "--rate", "2000", "--size-max", "3000"];
        let commands = ["--timer-share", "0.05", "--service-share", "0.05"];
        let client = self.client(&[&load[..], &commands].concat());
        let result = client.wait(MINUTE);
        result.expect_sent(count);
        result.expect_all_replied();
    }

    /// Runs `ClusterControl` on the node's cnc.dat, and returns what it printed.
    fn control(&self, action: &str) -> String {
        let aeron_dir = format!("-Daeron.dir={}", self.node.dir().join("aeron").display());
        let output = java::aeron_tool(CLUSTER_CONTROL, &[aeron_dir]).arg(action).output();
        let output = output.expect("java runs");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(printed.contains(&format!("{action} toggled successfully")), "{output:?}");
        printed
    }

    /// Waits for the end that an operator asked for.
    fn await_end(&self) {
        let status = self.node.process().wait(MINUTE);
        let status = status.unwrap_or_else(|| panic!("it does not end:\n{}", self.node.output()));
        assert!(status.success(), "it ended with {status}:\n{}", self.node.output());
    }
}

#[test]
fn an_unmodified_client_is_answered_in_order_and_a_java_cluster_replays_the_log() {
    if crate::support::skip() {
        return;
    }
    for (layout, level) in [("shared", "0"), ("dedicated", "1")] {
        let test = format!("leading_replay_{layout}");
        let flags = ["--layout", layout, "--idle", "backoff", "--file-sync-level", level];
        let active = Active::start(&test, &flags);
        active.exchange(2_000);
        active.exchange(500);
        active.node.stop();
        // Without a snapshot, all of the state that Java has at its first new term comes from our log.
        let common = flip::expect_replayed_by_java(&active.node, &format!("{test}_java"));
        assert!(common >= 1, "{layout}, level {level}");
    }
}

#[test]
fn cluster_control_suspends_resumes_snapshots_and_shuts_down_and_java_loads_the_snapshot() {
    if crate::support::skip() {
        return;
    }
    let active = Active::start("leading_control", &[]);
    active.exchange(500);

    active.control("SUSPEND");
    active.node.await_counter(CONSENSUS_MODULE_STATE, MINUTE, |state| state == SUSPENDED);
    let position = active.node.number("recorded_position");
    let waiting = active.client(&["--interactive"]);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(active.node.number("recorded_position"), position, "a suspended cluster takes nothing");
    active.control("RESUME");
    active.node.await_counter(CONSENSUS_MODULE_STATE, MINUTE, |state| state == ACTIVE);
    active.node.await_counter(CONTROL_TOGGLE, MINUTE, |toggle| toggle == NEUTRAL);
    waiting.await_connected();
    waiting.send(200, 2_000.0, MINUTE).expect_all_replied();

    active.control("SNAPSHOT");
    active.node.await_counter(SNAPSHOT_COUNT, MINUTE, |count| count == 1);
    active.node.await_counter(CONTROL_TOGGLE, MINUTE, |toggle| toggle == NEUTRAL);
    waiting.send(200, 2_000.0, MINUTE).expect_all_replied();
    drop(waiting);

    let cluster_dir = active.node.dir().join("cluster");
    let tool = |arguments: &[&str]| {
        let directory = cluster_dir.display().to_string();
        let (_, printed) = java::run_official(CLUSTER_TOOL, &[&[directory.as_str()], arguments].concat());
        printed
    };
    let output = java::aeron_tool(CLUSTER_TOOL, &[]).arg(&cluster_dir).arg("is-leader").output();
    assert_eq!(output.expect("java runs").status.code(), Some(0), "{}", tool(&["is-leader"]));
    let described = tool(&["describe"]);
    assert!(described.contains(&format!("pid={}", active.node.process().pid())), "{described}");
    let rows = tool(&["recording-log"]);
    assert!(rows.contains("type=TERM") && rows.matches("type=SNAPSHOT").count() == 2, "{rows}");
    let errors = tool(&["errors"]);
    assert!(
        errors.contains("Mark file exists") || errors.contains("Cluster component error log"),
        "{errors}"
    );

    active.control("SHUTDOWN");
    active.await_end();
    let cnc = CncReader::open(&active.node.dir().join("aeron")).expect("its counters are left");
    assert_eq!(cnc.find(SNAPSHOT_COUNT, &[]).map(|counter| counter.value), Some(2));
    drop(cnc);

    // Both end at the snapshot, and go on as one.
    let java = flip::java_cluster(&active.node, "leading_control_java");
    java.shutdown();
    let logs = java.audit_logs();
    let end = last_position(&logs);
    let ours = active.node.audit_log();
    let last = ours.lines.last().expect("it prints at its end");
    assert!(last.position < end);
    let loaded = logs[0].lines.iter().find(|line| line.position == last.position);
    let loaded = loaded.unwrap_or_else(|| panic!("nothing at {}: {:?}", last.position, logs[0].lines));
    assert_eq!((loaded.count, loaded.hash), (last.count, last.hash));
}

#[test]
fn an_aborted_node_starts_again_with_its_sessions_and_its_client_goes_on() {
    if crate::support::skip() {
        return;
    }
    let mut active = Active::start("leading_abort", &[]);
    let client = active.client(&["--interactive", "--new-leader-timeout-ms", "60000"]);
    client.await_connected();
    client.send(500, 2_000.0, MINUTE).expect_all_replied();
    active.control("ABORT");
    active.await_end();
    let rows = active.node.verb("recording-log", &["--json"]);
    assert!(rows.contains("TERM") && !rows.contains("SNAPSHOT"), "an abort takes no snapshot: {rows}");
    active.node.restart();
    active.node.await_status("leading again", MINUTE, |status| {
        status["role"] == "LEADER" && status["leadership_term_id"] == 10
    });
    // What it offered before it heard that the node was gone is lost, as with a member.
    let result = client.send(500, 2_000.0, MINUTE);
    result.expect_in_order();
    assert_eq!(result.number("new_leaders"), 1.0, "{}", result.line);
    assert_eq!(result.number("reconnects"), 0.0, "{}", result.line);
    drop(client);
    active.node.kill();
    active.node.restart();
    active.node.await_status("leading once more", MINUTE, |status| {
        status["role"] == "LEADER" && status["leadership_term_id"] == 20
    });
    active.exchange(500);
    active.node.stop();
    compare(&[active.node.audit_log(), active.node.audit_log()]).expect("it never contradicts itself");
}
