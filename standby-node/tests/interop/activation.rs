//! Every member of a real cluster is lost, the flag is set, and unmodified clients go on in their sessions.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::support::client::Client;
use crate::support::cluster::{Cluster, ClusterConfig};
use crate::support::files::copy_directory;
use crate::support::standby::{BINARY, Standby};

const MINUTE: Duration = Duration::from_secs(60);
/// Exit code of an `activate` that was refused.
const REFUSED: i32 = 3;

#[test]
fn a_client_goes_on_in_its_session_when_every_member_is_killed_and_the_flag_is_set() {
    if crate::support::skip() {
        return;
    }
    flip("activation_three", 3, Duration::from_millis(1500));
    flip("activation_one", 1, Duration::from_secs(5));
}

/// Kills all members under load, sets the flag `delay` later, and has a Java cluster replay what the new leader wrote.
fn flip(test: &str, members: u16, delay: Duration) {
    let cluster = Cluster::start(ClusterConfig::new(test, members));
    let load = ["--count", "40000", "--rate", "5000", "--size-max", "2000", "--resend"];
    let commands = ["--timer-share", "0.05", "--service-share", "0.05", "--timer-delay-max-ms", "3000"];
    let patience = ["--new-leader-timeout-ms", "60000", "--reconnect-after-ms", "60000"];
    let client = Client::spawn(&cluster, &[&load[..], &commands, &patience].concat());
    client.await_connected();
    let standby =
        Standby::follow(&cluster, "standby", &["--fence", "none", "--ingress-endpoint", "localhost:0"]);
    std::thread::sleep(Duration::from_secs(3));

    let early = activate(&standby, &[]);
    assert_eq!(early.status.code(), Some(REFUSED), "{early:?}");
    assert!(text(&early).contains("member-living"), "{early:?}");
    standby.await_state("FOLLOWING", MINUTE);

    cluster.members().iter().for_each(|member| member.kill());
    std::thread::sleep(delay);
    let deadline = Instant::now() + MINUTE;
    loop {
        let flipped = activate(&standby, &[]);
        if flipped.status.success() {
            println!("{}", text(&flipped));
            break;
        }
        // The machine may be slow to believe that members are dead; nothing else may speak against it.
        assert!(text(&flipped).contains("member-living"), "{flipped:?}");
        assert!(Instant::now() < deadline, "{flipped:?}\n{}", standby.output());
    }

    let result = client.wait(MINUTE);
    println!("{}", result.line);
    assert_eq!((result.sent(), result.replied()), (40_000, 40_000), "{}", result.line);
    for (key, expected) in
        [("reconnects", 0.0), ("new_leaders", 1.0), ("out_of_order", 0.0), ("count_errors", 0.0)]
    {
        assert!(result.number(key) == expected, "{key}: {}\n{}", result.line, standby.output());
    }
    standby.stop();

    let ours = standby.audit_log();
    let last = *ours.lines.last().expect("it prints at its end");
    let config = ClusterConfig::new(&format!("{test}_java"), 1).flags(&["--keep-marks"]);
    let java = Cluster::start_on(config, |member: &Path| {
        copy_directory(standby.dir(), member);
        std::fs::remove_dir_all(member.join("aeron")).expect("the counters of the node that has ended");
    });
    java.await_leader(None, MINUTE);
    java.shutdown();
    let theirs = &java.audit_logs()[0];
    let first_new = theirs.lines.iter().find(|line| line.position > last.position);
    let first_new = first_new.unwrap_or_else(|| panic!("no new term behind {last:?}: {theirs:?}"));
    assert_eq!((first_new.count, first_new.hash), (last.count, last.hash), "{first_new:?}, {last:?}");
}

#[test]
fn a_flag_without_a_fence_or_with_one_that_fails_is_refused_and_following_goes_on() {
    if crate::support::skip() {
        return;
    }
    let cluster = Cluster::start(ClusterConfig::new("activation_fence", 1));
    let unfenced = Standby::follow(&cluster, "unfenced", &["--member-id", "100"]);
    let failing = Standby::follow(&cluster, "failing", &["--member-id", "101", "--fence", "exit 3"]);
    let position = cluster.await_quiet(MINUTE);
    unfenced.await_applied(position, MINUTE);
    failing.await_applied(position, MINUTE);

    cluster.member(0).pause();
    std::thread::sleep(Duration::from_millis(2500));
    for (standby, check) in [(&unfenced, "unfenced"), (&failing, "fence-failed")] {
        let refused = activate(standby, &[]);
        assert_eq!(refused.status.code(), Some(REFUSED), "{refused:?}");
        assert!(text(&refused).contains(check), "{refused:?}");
    }
    // Silence was no death: what the cluster commits from here on is followed.
    cluster.member(0).resume();
    crate::support::client::send(&cluster, 200);
    let position = cluster.await_quiet(MINUTE);
    unfenced.await_applied(position, MINUTE);
    failing.await_applied(position, MINUTE);
}

fn activate(standby: &Standby, flags: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    command.args(["activate", "--wait", "20", "--dir"]).arg(standby.dir()).args(flags);
    command.output().expect("the binary runs")
}

/// Everything that a verb printed.
fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
