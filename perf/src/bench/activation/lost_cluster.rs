//! `rto_java_client`: what a connected Java client sees of the loss of its leader, and of its whole cluster.
//!
//! Three Java members with Aeron's own timeouts, a client of Aeron's own settings that sends all the time,
//! and one of three ends:
//!
//! - every member is killed, and a script activates the standby that followed, as soon as a dry run is clean;
//! - the leader is killed, and the others elect a new one;
//! - every member is killed, and a script at once stops the ClusterBackup that followed and starts a cluster on its
//!   files.
//!
//! In each the figure is the client's own: the longest time without a reply while one was due, which begins
//! with the last reply before the kill. The third begins a cluster of one member, on the files where they
//! lie: it neither copies nor elects, so nothing that is started from a backup serves sooner. What its client
//! then waits for is itself: the new member takes what it sends, and ignores it, for it is of no session that
//! it knows; a client of Aeron's own settings finds out after more than 20 s. So there is a second such case,
//! with all that haste can do: the backup is killed, and the client connects anew when no reply came for a
//! second.

use crate::cluster::{Client, Cluster, await_some};
use crate::error::BenchError;
use crate::node::Node;
use consensus_tap::file::cnc::counters::{COMMIT_POSITION, RECORDING_POSITION};
use standby_node::store::cnc::CncReader;
use std::thread;
use std::time::Duration;

/// The loss of every member, with a warm standby.
pub(super) fn warm() -> Result<Duration, BenchError> {
    let mut cluster = Cluster::start(MEMBER_COUNT, MEMBER_FLAGS)?;
    let standby = follow(&cluster)?;
    let mut client = Load::begin(&cluster, CLIENT_FLAGS)?;
    standby.await_applied(committed(&cluster)?, FOLLOW_TIMEOUT)?;
    cluster.kill_all()?;
    standby.activate()?;
    client.gap()
}

/// The loss of the leader. A standby follows here, too.
pub(super) fn election() -> Result<Duration, BenchError> {
    let mut cluster = Cluster::start(MEMBER_COUNT, &[MEMBER_FLAGS, ANY_LEADER_FLAGS].concat())?;
    let standby = follow(&cluster)?;
    let mut client = Load::begin(&cluster, CLIENT_FLAGS)?;
    standby.await_applied(committed(&cluster)?, FOLLOW_TIMEOUT)?;
    cluster.kill(cluster.leader()?)?;
    client.gap()
}

/// The loss of every member, with a ClusterBackup: what is left to do is the client's to wait.
#[derive(Debug)]
pub(super) struct ColdRestore {
    load: Load,
    _cluster: Cluster,
}

/// How long a client and a script hold on to what they have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Haste {
    /// A client of Aeron's own settings; the backup is stopped in order.
    Default,
    /// A client that gives up in a second; the backup is killed.
    Greatest,
}

impl ColdRestore {
    /// Returns when the member that takes the cluster's place is on its way.
    pub(super) fn begin(haste: Haste) -> Result<Self, BenchError> {
        let mut cluster = Cluster::start(MEMBER_COUNT, MEMBER_FLAGS)?;
        let (mut backup, aeron_dir) = cluster.back_up(BACKUP, BACKUP_FLAGS)?;
        let hasty: &[&str] = if haste == Haste::Greatest { HASTY_CLIENT_FLAGS } else { &[] };
        let load = Load::begin(&cluster, &[CLIENT_FLAGS, hasty].concat())?;
        let counters = CncReader::open(&aeron_dir).map_err(BenchError::run)?;
        let committed = committed(&cluster)?;
        await_some("log in the backup", FOLLOW_TIMEOUT, || {
            let recorded = counters.find(RECORDING_POSITION, &[]).map_or(-1, |counter| counter.value);
            Ok((recorded >= committed).then_some(()))
        })?;
        cluster.kill_all()?;
        match haste {
            Haste::Default => backup.stop()?,
            Haste::Greatest => backup.kill()?,
        }
        cluster.restore_alone(BACKUP)?;
        Ok(Self { load, _cluster: cluster })
    }

    /// Waits until the client has its replies.
    pub(super) fn gap(mut self) -> Result<Duration, BenchError> {
        self.load.gap()
    }
}

fn follow(cluster: &Cluster) -> Result<Node, BenchError> {
    Node::follow(cluster.files(), "standby", &cluster.consensus_endpoints(), STANDBY_FLAGS)
}

fn committed(cluster: &Cluster) -> Result<i64, BenchError> {
    Ok(cluster.counter(0, COMMIT_POSITION)?.unwrap_or(0))
}

/// A client that sends while the cluster is lost.
#[derive(Debug)]
struct Load {
    client: Client,
}

impl Load {
    /// Returns in the middle of it.
    fn begin(cluster: &Cluster, flags: &[&str]) -> Result<Self, BenchError> {
        let mut client = cluster.client(flags)?;
        client.send(WARM_UP_COUNT, RATE)?;
        client.reset()?;
        client.begin_sending(COUNT, RATE)?;
        thread::sleep(BEFORE);
        Ok(Self { client })
    }

    /// Waits until all is sent and replied to.
    fn gap(&mut self) -> Result<Duration, BenchError> {
        self.client.await_sent()
    }
}

const MEMBER_COUNT: u16 = 3;
const MEMBER_FLAGS: &[&str] = &["--aeron-defaults", "--file-sync-level", "0"];
/// The last of two flags counts: benches otherwise appoint member 0.
const ANY_LEADER_FLAGS: &[&str] = &["--appointed-leader", "-1"];
const STANDBY_FLAGS: &[&str] = &["--fence", "none", "--file-sync-level", "0"];
const BACKUP: &str = "backup";
const BACKUP_FLAGS: &[&str] = &["--segment-length", "1m"];
/// What a leader took with it is sent again; the window is no limit.
const CLIENT_FLAGS: &[&str] = &[
    "--size-min",
    "64",
    "--size-max",
    "256",
    "--window",
    "100000",
    "--resend",
    "--drain-timeout-ms",
    "60000",
];
const HASTY_CLIENT_FLAGS: &[&str] = &["--reply-timeout-ms", "1000", "--message-timeout-ms", "1000"];
const RATE: u64 = 1_000;
const WARM_UP_COUNT: u64 = 1_000;
/// Three seconds of it, or as long as the cluster is away.
const COUNT: u64 = 3_000;
const BEFORE: Duration = Duration::from_secs(1);
const FOLLOW_TIMEOUT: Duration = Duration::from_secs(20);
