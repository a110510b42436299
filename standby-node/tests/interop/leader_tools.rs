//! Aeron's own tools, and any program that can set a counter, on a node that leads.

use std::path::Path;
use std::time::Duration;

use standby_node::store::cnc::CncReader;

use crate::hostile::RawPublisher;
use crate::leading::Active;
use crate::support::java;
use crate::support::standby::Standby;

const MINUTE: Duration = Duration::from_secs(60);
const AERON_STAT: &str = "io.aeron.samples.AeronStat";
const ERROR_STAT: &str = "io.aeron.samples.ErrorStat";
const NODE_CONTROL: &str = "io.aeron.cluster.NodeControl";
const CLUSTER_TOOL: &str = "io.aeron.cluster.ClusterTool";
const ARCHIVE_TOOL: &str = "io.aeron.archive.ArchiveTool";
const NODE_TOGGLE: i32 = 233;
const NEUTRAL: i64 = 1;

#[test]
fn official_tools_read_and_control_a_node_that_leads() {
    if crate::support::skip() {
        return;
    }
    let active = Active::start("leader_tools", &[]);
    let client = active.client(&["--interactive"]);
    client.await_connected();
    client.send(300, 2_000.0, MINUTE).expect_all_replied();
    let mut nonsense = RawPublisher::connect(&active.ingress_address(), 7, 1 << 16);
    nonsense.offer(b"nonsense");
    nonsense.poll();
    let text = "a client at 127.0.0.1 sends what is no message of a client";
    let cnc = CncReader::open(&active.node.dir().join("aeron")).expect("its counters");
    active.node.await_output("who sends nonsense", MINUTE, |output| output.contains(text));

    let counters = official(&active, AERON_STAT, &["watch=false"]);
    let position = active.node.number("recorded_position");
    for (value, label) in [
        ("1", "Consensus Module state - clusterId=0"),
        ("2", "Cluster node role - clusterId=0"),
        ("1", "Cluster control toggle - clusterId=0"),
        ("1", "Node control toggle - clusterId=0"),
        ("17", "Cluster election state - clusterId=0"),
        (&with_commas(position), "Cluster commit-pos: - clusterId=0"),
        ("0", "Cluster timed out client count - clusterId=0"),
        ("1", "Standby leader client messages invalid - clusterId=0"),
    ] {
        let is_it = |line: &str| line.trim().ends_with(&format!(" {value} - {label}"));
        assert!(counters.lines().any(is_it), "no {value} - {label} in\n{counters}");
    }
    assert!(counters.contains("cluster-session: "), "{counters}");
    let errors = official(&active, ERROR_STAT, &[]);
    assert!(errors.contains("1 distinct errors observed.") && errors.contains(text), "{errors}");

    for request in ["VALIDATE_RECORDING_LOG", "REPLICATE_STANDBY_SNAPSHOT"] {
        let printed = official(&active, NODE_CONTROL, &[request]);
        assert!(printed.contains(&format!("{request} toggled successfully")), "{printed}");
        active.node.await_counter(NODE_TOGGLE, MINUTE, |toggle| toggle == NEUTRAL);
    }
    let output = active.node.output();
    assert!(output.contains("withdrawn_count=0") && output.contains("nothing is replicated"), "{output}");

    let cluster = active.node.dir().join("cluster");
    let pid = active.node.process().pid().to_string();
    assert_eq!(on_directory(CLUSTER_TOOL, &cluster, "pid").trim(), pid);
    let described = on_directory(CLUSTER_TOOL, &cluster, "describe");
    assert!(described.contains("Type: BACKUP") && described.contains(&format!("pid={pid}")), "{described}");
    let logged = on_directory(CLUSTER_TOOL, &cluster, "errors");
    assert!(logged.contains(text), "{logged}");
    assert!(on_directory(CLUSTER_TOOL, &cluster, "recording-log").contains("type=TERM"));
    let (leads, printed) = java::run_official(CLUSTER_TOOL, &[&cluster.display().to_string(), "is-leader"]);
    assert!(leads, "{printed}");
    let archive = active.node.dir().join("archive");
    assert_eq!(on_directory(ARCHIVE_TOOL, &archive, "count-entries").trim(), "1");
    let recordings = on_directory(ARCHIVE_TOOL, &archive, "describe");
    assert!(
        recordings.contains("recordingId=0|") && recordings.contains("|stopPosition=-1|"),
        "{recordings}"
    );

    client.send(300, 2_000.0, MINUTE).expect_all_replied();
    drop((client, cnc));
    active.node.stop();
}

#[test]
fn a_java_program_that_sets_the_flag_by_compare_and_set_activates_a_standby() {
    if crate::support::skip() {
        return;
    }
    let active = Active::start("leader_flag", &[]);
    let flags = ["--member-id", "101", "--fence", "none", "--ingress-endpoint", "localhost:0"];
    let standby = Standby::start(active.scratch(), "standby", &active.archive_endpoint(), &flags);
    let client = active.client(&["--interactive", "--new-leader-timeout-ms", "60000"]);
    client.await_connected();
    client.send(500, 2_000.0, MINUTE).expect_all_replied();
    standby.await_applied(active.node.number("recorded_position"), MINUTE);
    let early = flag(&standby, "ACTIVATE");
    assert!(early.contains("flag id=") && early.contains("flag done"), "{early}");
    standby.await_output("why not", MINUTE, |output| output.contains("member-living"));
    standby.await_state("FOLLOWING", MINUTE);

    active.node.kill();
    std::thread::sleep(Duration::from_millis(1_500));
    let set = flag(&standby, "ACTIVATE");
    assert!(set.contains("flag done"), "{set}");
    standby.await_status("leading", MINUTE, |status| status["role"] == "LEADER");
    let result = client.send(500, 2_000.0, MINUTE);
    result.expect_in_order();
    assert_eq!((result.number("new_leaders"), result.number("reconnects")), (1.0, 0.0), "{}", result.line);
    drop(client);
    standby.stop();
}

/// Has a Java program set counter 223 of a node, and returns what it printed until the flag was back.
fn flag(standby: &Standby, action: &str) -> String {
    let mut command = java::command("Flag", java::AERON_VERSION);
    command.arg("--aeron-dir").arg(standby.dir().join("aeron")).args(["--action", action]);
    let output = command.output().expect("java runs");
    assert!(output.status.success(), "{output:?}\n{}", standby.output());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a tool prints that maps the node's cnc.dat.
fn official(active: &Active, class: &str, arguments: &[&str]) -> String {
    let aeron_dir = format!("-Daeron.dir={}", active.node.dir().join("aeron").display());
    let output = java::aeron_tool(class, &[aeron_dir]).args(arguments).output().expect("java runs");
    assert!(output.status.success(), "{class} {arguments:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a tool prints that reads files.
fn on_directory(class: &str, directory: &Path, command: &str) -> String {
    let (is_ok, printed) = java::run_official(class, &[&directory.display().to_string(), command]);
    assert!(is_ok, "{class} {command}: {printed}");
    printed
}

/// As AeronStat prints numbers.
fn with_commas(number: i64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group).into_owned());
    groups.collect::<Vec<_>>().join(",")
}
