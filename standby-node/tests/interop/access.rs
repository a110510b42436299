//! Members and archives that let nobody in without credentials and the right answer to a challenge.

use std::time::Duration;

use crate::support::agreement::end_and_compare;
use crate::support::client::Client;
use crate::support::cluster::{Cluster, ClusterConfig};
use crate::support::standby::Standby;

const MINUTE: Duration = Duration::from_secs(60);
const CLUSTER: &str = "standby:of-the-cluster";
const ARCHIVE: &str = "standby:of-the-archive";
const ANSWER: &str = "the-answer";

#[test]
fn only_a_standby_with_the_right_credentials_and_answer_follows() {
    if crate::support::skip() {
        return;
    }
    let gates = ["--credentials", CLUSTER, "--challenge", ANSWER];
    let archive_gates = ["--archive-credentials", ARCHIVE, "--archive-challenge", ANSWER];
    let config = ClusterConfig::new("access", 1).flags(&gates).flags(&archive_gates);
    let cluster = Cluster::start(config);
    let join = |name: &str, credentials: [&str; 3]| {
        let [cluster_credentials, archive_credentials, answer] = credentials;
        let flags = ["--credentials", cluster_credentials, "--archive-credentials", archive_credentials];
        Standby::follow(&cluster, name, &[&flags[..], &["--challenge-answer", answer]].concat())
    };
    // One after the other: to a consensus module all that ask for backup are one session, -1, and the answer of one
    // to a challenge counts for another that is challenged at the same time.
    for (name, credentials, key) in [
        ("wrong-for-the-cluster", ["nobody:1", ARCHIVE, ANSWER], "`credentials`"),
        ("wrong-for-the-archive", [CLUSTER, "nobody:2", ANSWER], "`archive_credentials`"),
        ("wrong-answer", [CLUSTER, ARCHIVE, "no-answer"], "`challenge_answer`"),
    ] {
        let standby = join(name, credentials);
        standby.await_output(key, MINUTE, |output| output.contains(key));
        assert_ne!(standby.status().expect("a status")["state"], "FOLLOWING");
        assert!(standby.number("recorded_position") <= 0, "{name}: {:?}", standby.status());
        standby.stop();
        assert!(!credentials.iter().any(|text| standby.output().contains(text)), "{}", standby.output());
    }

    let right = join("right", [CLUSTER, ARCHIVE, ANSWER]);
    let load = ["--count", "500", "--rate", "1000", "--window", "4096", "--drain-timeout-ms", "2000"];
    Client::spawn(&cluster, &[&gates[..], &load].concat()).wait(MINUTE).expect_sent(500);
    right.await_applied(cluster.await_quiet(MINUTE), MINUTE);
    // Heartbeats go through the same gate.
    right.await_status("heard by heartbeat", MINUTE, |status| {
        status["heartbeat_responses"].as_i64() >= Some(2)
    });
    end_and_compare(&cluster, &[&right]);
}
