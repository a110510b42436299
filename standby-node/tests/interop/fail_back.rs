//! Back from a standby that leads to a Java cluster of three, on the same hosts and under the same client.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use crate::support::audit_log::{AuditLine, compare};
use crate::support::client::{Client, ClientConfig};
use crate::support::cluster::{Cluster, ClusterConfig};
use crate::support::ending::expect_progress;
use crate::support::flip::{activate_when_silent, text};
use crate::support::java;
use crate::support::ports::Ports;
use crate::support::standby::{BINARY, Standby};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn three_fresh_members_go_on_from_what_is_handed_over_and_nothing_that_was_answered_is_lost() {
    if crate::support::skip() {
        return;
    }
    let cluster = Cluster::start(ClusterConfig::new("fail_back", 3));
    let ports = Ports::allocate(1);
    let ingress = format!("localhost:{}", ports.port(0));
    let standby = Standby::follow(&cluster, "standby", &["--fence", "none", "--ingress-endpoint", &ingress]);
    let load = ["--interactive", "--size-max", "2000", "--resend"];
    let commands = ["--timer-share", "0.05", "--service-share", "0.05"];
    // Long enough for the flag, and no longer: after the hand-over no leader takes the session over.
    let patience =
        ["--new-leader-timeout-ms", "6000", "--reconnect-after-ms", "60000", "--connect-timeout-ms", "60000"];
    let client = Client::spawn_with(
        &ClientConfig {
            aeron_version: java::AERON_VERSION.to_owned(),
            ingress_endpoints: format!("{},100={ingress}", cluster.ingress_endpoints()),
            flags: [&load[..], &commands, &patience].concat().into_iter().map(str::to_owned).collect(),
        },
        cluster.scratch(),
    );
    client.await_connected();
    client.send(500, 1_000.0, MINUTE).expect_all_replied();
    // A standby that has all of it: what is lost from here on the way back has lost.
    standby.await_applied(cluster.await_quiet(MINUTE), MINUTE);
    cluster.members().iter().for_each(|member| member.kill());
    activate_when_silent(&standby, &[]);
    client.send(500, 1_000.0, MINUTE).expect_all_replied();

    let directories = ["a", "b", "c"].map(|name| cluster.scratch().data(name));
    let [a, b, _] = &directories;
    let refused = hand_over(&standby, &[a, b, cluster.member(2).dir()]);
    assert!(!refused.status.success() && text(&refused).contains("is not empty"), "{refused:?}");
    assert!(!a.exists() && !b.exists(), "nothing is written beside an old member's files");
    assert_eq!(standby.status().expect("a status")["role"], "LEADER", "what is refused ends nothing");

    // The client sends all the time: to the node, to nobody, and to the members in the end.
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| client.send(6_000, 1_000.0, MINUTE));
        expect_progress(&standby, 256 * 1024, MINUTE);
        give_back(&cluster, &standby, &directories);
        let result = sending.join().expect("sent");
        println!("{}", result.line);
        result.expect_all_replied();
        assert_eq!(result.sent(), 7_000);
        assert_eq!(
            (result.number("reconnects"), result.number("new_leaders")),
            (1.0, 1.0),
            "{}",
            result.line
        );
    });
    cluster.shutdown();
    println!("{:?}", compare(&cluster.audit_logs()).unwrap_or_else(|error| panic!("{error}")));
}

fn hand_over(standby: &Standby, out: &[&PathBuf]) -> Output {
    let out = out.iter().map(|directory| directory.display().to_string()).collect::<Vec<_>>().join(",");
    let mut command = Command::new(BINARY);
    command.args(["hand-over", "--wait", "30", "--dir"]).arg(standby.dir()).args(["--out", &out]);
    command.output().expect("the binary runs")
}

/// Hands over to the members of the cluster, each of which starts from its new directory in place of its old one.
fn give_back(cluster: &Cluster, standby: &Standby, directories: &[PathBuf; 3]) {
    let handed = hand_over(standby, &directories.each_ref());
    assert!(handed.status.success(), "{handed:?}\n{}", standby.output());
    println!("{}", text(&handed));
    assert!(standby.process().wait(MINUTE).is_some_and(|status| status.success()), "{}", standby.output());
    let handed_over = *standby.audit_log().lines.last().expect("it prints at its end");

    let printed_before: Vec<_> = cluster.members().iter().map(|member| member.lines().len()).collect();
    for (member, directory) in cluster.members().iter().zip(directories) {
        std::fs::remove_dir_all(member.dir()).expect("the directory of an old member");
        std::fs::rename(directory, member.dir()).expect("one file system");
        member.restart_with(&[]);
    }
    cluster.members().iter().for_each(|member| member.await_ready());
    for (member, before) in cluster.members().iter().zip(printed_before) {
        let lines = &member.lines()[before..];
        let first =
            lines.iter().find_map(|line| AuditLine::parse(line)).expect("a service prints at its start");
        assert_eq!(
            (first.position, first.count, first.hash),
            (handed_over.position, handed_over.count, handed_over.hash),
            "member {} begins where the node ended",
            member.id()
        );
    }
}
