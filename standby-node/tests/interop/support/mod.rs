//! Real Java clusters as processes that tests start, hurt and kill, and a lossy relay to put before them.
//!
//! ```text
//! if support::skip() { return; }
//! let cluster = Cluster::start(ClusterConfig::new("my_test", 3));
//! let client = Client::spawn(&cluster, &["--count", "2000"]);
//! client.wait().expect_all_replied();
//! cluster.control("SNAPSHOT");
//! cluster.shutdown();
//! audit_log::compare(&cluster.audit_logs()).unwrap();
//! ```
//!
//! Whatever a test starts dies with it: on drop, and with the test process by `setpriv --pdeathsig`. Logs stay in
//! `target/interop/<test>` when a test fails, or always with `STANDBY_KEEP=1`, which keeps the data as well.

#![allow(dead_code, reason = "each test uses a part of the support")]

pub(crate) mod agreement;
pub(crate) mod archive_client;
pub(crate) mod archive_host;
pub(crate) mod audit_log;
pub(crate) mod burst_audit;
pub(crate) mod client;
pub(crate) mod cluster;
pub(crate) mod control_toggle;
pub(crate) mod ending;
pub(crate) mod faults;
pub(crate) mod files;
pub(crate) mod flip;
pub(crate) mod in_process;
pub(crate) mod java;
pub(crate) mod java_backup;
pub(crate) mod log_relays;
pub(crate) mod module_snapshot;
pub(crate) mod ports;
pub(crate) mod process;
pub(crate) mod recorded_log;
pub(crate) mod relay;
pub(crate) mod scratch;
pub(crate) mod standby;

/// Whether Java tests are to be skipped (`STANDBY_NO_JAVA=1`), which is said on stderr.
pub(crate) fn skip() -> bool {
    let skipped = std::env::var_os("STANDBY_NO_JAVA").is_some_and(|value| value == "1");
    if skipped {
        eprintln!("SKIPPED: STANDBY_NO_JAVA=1, nothing was tested against a Java cluster");
    }
    skipped
}
