//! Aeron's own tools read a cnc.dat of ours.
//!
//! Needs `java` and the jar of Aeron 1.51.0, from `AERON_ALL_JAR` or the local Maven repository. `STANDBY_NO_JAVA=1`
//! leaves these tests out, loudly.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use consensus_tap::file::cnc::counters as kinds;
use standby_node::store::cnc::{CncFile, CncSettings};
use standby_node::store::counters::CountersManager;

const CLUSTER_ID: i32 = 3;
const MAVEN_JAR: &str = ".m2/repository/io/aeron/aeron-all/1.51.0/aeron-all-1.51.0.jar";

#[test]
fn aeron_stat_prints_every_counter() {
    let Some(java) = Java::find() else { return };
    let directory = tempfile::tempdir().unwrap();
    let (_cnc, mut counters) = create(directory.path());
    let commit =
        counters.allocate_for_cluster(kinds::COMMIT_POSITION, "Cluster commit-pos:", CLUSTER_ID, 0).unwrap();
    commit.set_ordered(123_456_789);
    let freed = counters.allocate(10_900, b"freed", "nobody sees this", 0).unwrap();
    let applied = counters.allocate_kind(&kinds::APPLIED_POSITION, CLUSTER_ID, Some(0)).unwrap();
    applied.set_ordered(-42);
    counters.free(freed, now_ms());

    let output = java.run("io.aeron.samples.AeronStat", directory.path(), &["watch=false"]);
    assert!(output.contains("CnC v0.2.0"), "{output}");
    assert!(output.contains(&format!("pid {}", std::process::id())), "{output}");
    let lines: Vec<_> = output.lines().map(str::trim).collect();
    let has = |id: &str, value: &str, label: &str| {
        let columns = |line: &&str| {
            line.starts_with(&format!("{id}: ")) && line.ends_with(&format!(" {value} - {label}"))
        };
        assert!(lines.iter().any(columns), "no counter {id}: {value} - {label} in\n{output}");
    };
    has("0", "0", "Bytes sent");
    has("43", "65,536", "Control protocol version");
    has("45", "0", "Failed offers to AsyncExecutorProxy");
    has("46", "123,456,789", "Cluster commit-pos: - clusterId=3");
    has("48", "-42", "Standby applied position - clusterId=3 serviceId=0");
    assert!(!output.contains("nobody sees this"), "{output}");

    let filtered = java.run("io.aeron.samples.AeronStat", directory.path(), &["watch=false", "type=203"]);
    assert!(filtered.contains("commit-pos") && !filtered.contains("Bytes sent"), "{filtered}");
}

#[test]
fn error_stat_prints_every_distinct_error_with_its_count() {
    let Some(java) = Java::find() else { return };
    let directory = tempfile::tempdir().unwrap();
    let (cnc, _counters) = create(directory.path());
    let log = cnc.error_log();
    for _ in 0..3 {
        assert!(log.record("source lost: no data for 10 s", now_ms()));
    }
    assert!(log.record("second", now_ms()));
    let output = java.run("io.aeron.samples.ErrorStat", directory.path(), &[]);
    assert!(output.contains("2 distinct errors observed."), "{output}");
    assert!(
        output.contains("3 observations from") && output.contains("source lost: no data for 10 s"),
        "{output}"
    );
    assert!(output.contains("1 observations from") && output.contains("second"), "{output}");
}

#[test]
fn cluster_control_and_node_control_flip_their_toggles() {
    let Some(java) = Java::find() else { return };
    let directory = tempfile::tempdir().unwrap();
    let (_cnc, mut counters) = create(directory.path());
    // A toggle of another cluster, which must stay as it is.
    let other = counters
        .allocate_for_cluster(
            kinds::CLUSTER_CONTROL_TOGGLE,
            "Cluster control toggle",
            9,
            kinds::TOGGLE_NEUTRAL,
        )
        .unwrap();
    let cluster = counters
        .allocate_for_cluster(
            kinds::CLUSTER_CONTROL_TOGGLE,
            "Cluster control toggle",
            CLUSTER_ID,
            kinds::TOGGLE_NEUTRAL,
        )
        .unwrap();
    let node = counters
        .allocate_for_cluster(
            kinds::NODE_CONTROL_TOGGLE,
            "Node control toggle",
            CLUSTER_ID,
            kinds::TOGGLE_NEUTRAL,
        )
        .unwrap();

    let output = java.run("io.aeron.cluster.ClusterControl", directory.path(), &["SNAPSHOT"]);
    assert!(output.contains("SNAPSHOT toggled successfully"), "{output}");
    assert_eq!(cluster.get_volatile(), 4);
    // Not neutral any more, so another request is refused.
    let output = java.run("io.aeron.cluster.ClusterControl", directory.path(), &["SHUTDOWN"]);
    assert!(output.contains("did NOT toggle"), "{output}");
    assert_eq!(cluster.get_volatile(), 4);

    let output = java.run("io.aeron.cluster.NodeControl", directory.path(), &["REPLICATE_STANDBY_SNAPSHOT"]);
    assert!(output.contains("toggled successfully"), "{output}");
    assert_eq!(node.get_volatile(), 2);
    assert_eq!(other.get_volatile(), kinds::TOGGLE_NEUTRAL);
}

fn create(directory: &Path) -> (CncFile, CountersManager) {
    CncFile::create(directory, &CncSettings::default(), now_ms()).unwrap()
}

fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

struct Java {
    jar: PathBuf,
}

impl Java {
    /// `None` when the operator of this test asked to leave it out.
    fn find() -> Option<Self> {
        if std::env::var_os("STANDBY_NO_JAVA").is_some_and(|value| value == "1") {
            println!("LEFT OUT: the official Aeron tools were NOT run, because STANDBY_NO_JAVA=1");
            eprintln!("LEFT OUT: the official Aeron tools were NOT run, because STANDBY_NO_JAVA=1");
            return None;
        }
        let jar = std::env::var_os("AERON_ALL_JAR").map_or_else(
            || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(MAVEN_JAR),
            PathBuf::from,
        );
        assert!(
            jar.is_file(),
            "{} is missing: set AERON_ALL_JAR to aeron-all-1.51.0.jar, or STANDBY_NO_JAVA=1 to leave the official \
             tools out",
            jar.display()
        );
        Some(Self { jar })
    }

    /// Runs a tool on the cnc.dat in `directory`, and returns what it printed.
    fn run(&self, class: &str, directory: &Path, arguments: &[&str]) -> String {
        let output = Command::new("java")
            .args(["--add-opens", "java.base/jdk.internal.misc=ALL-UNNAMED"])
            .args(["--add-opens", "java.base/java.util.zip=ALL-UNNAMED"])
            .arg(format!("-Daeron.dir={}", directory.display()))
            .arg(format!("-Daeron.cluster.id={CLUSTER_ID}"))
            .arg("-cp")
            .arg(&self.jar)
            .arg(class)
            .args(arguments)
            .output()
            .expect("java can be started");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{class} ended with {}:\n{printed}\n{complained}", output.status);
        printed
    }
}
