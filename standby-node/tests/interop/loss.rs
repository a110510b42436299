//! Every path between standby and cluster loses, repeats and reorders datagrams.

use std::time::Duration;

use crate::support::client::Client;
use crate::support::cluster::{Cluster, ClusterConfig};
use crate::support::ending::expect_equal;
use crate::support::faults::Faults;
use crate::support::ports::Ports;
use crate::support::relay::{Direction, Relay};
use crate::support::standby::Standby;

const MINUTE: Duration = Duration::from_secs(60);
const SEED: u64 = 20;

#[test]
fn a_tenth_of_everything_lost_doubled_and_reordered_changes_nothing() {
    if crate::support::skip() {
        return;
    }
    let cluster = Cluster::start(ClusterConfig::new("a_tenth_lost", 3));
    let bad = Faults {
        loss: 0.1,
        duplication: 0.1,
        reordering: 0.1,
        reorder_delay: Duration::from_millis(3),
        ..Faults::default()
    };
    let relay_to = |target: &str, seed: u64| {
        let relay = Relay::to(target, seed);
        relay.set_faults(Direction::ToTarget, bad);
        relay.set_faults(Direction::FromTarget, bad);
        relay
    };
    let ports = Ports::allocate(1);
    let port = ports.port(0).to_string();
    let responses = relay_to(&format!("127.0.0.1:{port}"), SEED);
    let mut relays = Vec::new();
    let mut map = Vec::new();
    for member in cluster.members() {
        for named in [member.consensus_endpoint(), member.archive_endpoint()] {
            let relay = relay_to(&named, SEED + 1 + relays.len() as u64);
            map.push(format!("{named}={}", relay.endpoint()));
            relays.push(relay);
        }
    }
    let (map, response_endpoint) = (map.join(","), responses.endpoint());
    let flags = ["--port", &port, "--response-endpoint", &response_endpoint, "--endpoint-map", &map];
    let standby = Standby::follow(&cluster, "standby", &flags);
    let load = [
        "--count",
        "5000",
        "--rate",
        "500",
        "--size-max",
        "3000",
        "--timer-share",
        "0.05",
        "--service-share",
        "0.05",
    ];
    Client::spawn(&cluster, &load).wait(MINUTE).expect_all_replied();
    expect_equal(&cluster, &standby);
    assert!(standby.output().contains("following"), "{}", standby.output());
    assert!(responses.dropped() > 500, "only {} datagrams of the log were lost", responses.dropped());
    assert!(relays.iter().any(|relay| relay.dropped() > 0), "no request was lost");
}
