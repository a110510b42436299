//! The consensus-module state that the log and our services imply is the one that members put into their snapshots.

use std::time::Duration;

use consensus_tap::module::ConsensusModuleState;
use standby_node::config::Layout;

use crate::support::client::Client;
use crate::support::cluster::{Cluster, ClusterConfig};
use crate::support::control_toggle;
use crate::support::in_process::InProcess;
use crate::support::module_snapshot::ModuleSnapshot;

const MINUTE: Duration = Duration::from_secs(60);
const BURST_COUNT: u64 = 100_000;

#[test]
fn sessions_and_timers_equal_those_in_every_members_snapshot() {
    if crate::support::skip() {
        return;
    }
    // A client that the machine starves must not lose its session between the snapshot and our look.
    let config = ClusterConfig::new("module_state", 3).flags(&["--session-timeout-ms", "60000"]);
    let cluster = Cluster::start(config);
    let node = InProcess::follow(&cluster, "standby", Layout::Shared);

    let commands = ["--interactive", "--timer-share", "0.5", "--service-share", "0.1", "--timer-ids"];
    let hours = ["--timer-delay-min-ms", "3600000", "--timer-delay-max-ms", "36000000"];
    let moments = ["--timer-delay-min-ms", "1", "--timer-delay-max-ms", "100"];
    // More timers than ids: most are moved. Not so those that fire: a Java follower whose service lags behind hears of
    // both schedules after the timer event, lets the event swallow the first, and keeps the second for ever.
    let far = Client::spawn(&cluster, &[&commands[..], &["40"], &hours].concat());
    let near = Client::spawn(&cluster, &[&commands[..], &["1000"], &moments].concat());
    let gone = Client::spawn(&cluster, &[&commands[..], &["5"], &hours].concat());
    for client in [&far, &near, &gone] {
        client.send(300, 0.0, MINUTE).expect_sent(300);
    }
    gone.process().write_line("quit");
    assert!(
        gone.process().wait(MINUTE).is_some(),
        "a client that is told to quit closes its session and ends"
    );
    node.await_module("without moments", MINUTE, |state| state.timers().count() == 45);
    cluster.await_quiet(MINUTE);
    cluster.control("SNAPSHOT");

    let theirs: Vec<_> =
        cluster.members().iter().map(|member| ModuleSnapshot::of_member(&cluster, member)).collect();
    let ours = await_position(&node, &theirs[0]);
    assert_eq!((ours.sessions().count(), ours.timers().count()), (2, 45));
    for (member, snapshot) in cluster.members().iter().zip(&theirs) {
        snapshot.compare(&ours, member.id());
    }
    drop((far, near));
    node.stop();
}

/// The members end while their services have offered far more than the log holds, so the snapshot has to hold it.
#[test]
fn pending_service_messages_equal_those_in_every_members_snapshot() {
    if crate::support::skip() {
        return;
    }
    let cluster = Cluster::start(ClusterConfig::new("pending_messages", 3).flags(&["--burst-service"]));
    let node = InProcess::follow(&cluster, "standby", Layout::Shared);
    let client = Client::spawn(&cluster, &["--interactive"]);
    client.send(20, 0.0, MINUTE).expect_sent(20);
    let before = cluster.await_quiet(MINUTE);
    node.await_module("at the quiet log's end", MINUTE, |state| state.log_position() >= before);

    let leader = cluster.await_leader(None, MINUTE);
    client.process().write_line(&format!("burst {BURST_COUNT}"));
    node.await_module("in the burst", MINUTE, |state| pending_count(state) > 0);
    control_toggle::set(cluster.member(leader).aeron_dir(), control_toggle::SHUTDOWN);
    for member in cluster.members() {
        assert!(member.await_end(MINUTE), "member {} did not end", member.id());
    }

    let theirs: Vec<_> =
        cluster.members().iter().map(|member| ModuleSnapshot::of_member(&cluster, member)).collect();
    let ours = await_position(&node, &theirs[0]);
    let pending_count = pending_count(&ours);
    println!("{pending_count} service messages are pending");
    assert!(pending_count > 0, "the burst was over before the members ended");
    for (member, snapshot) in cluster.members().iter().zip(&theirs) {
        snapshot.compare(&ours, member.id());
    }
    node.stop();
}

fn pending_count(state: &ConsensusModuleState) -> usize {
    state.services()[0].iter().count()
}

fn await_position(node: &InProcess, snapshot: &ModuleSnapshot) -> ConsensusModuleState {
    let position = snapshot.state().log_position();
    let ours = node.await_module("at the snapshot", MINUTE, |state| state.log_position() >= position);
    assert_eq!(ours.log_position(), position, "the log went on behind the snapshot");
    ours
}
