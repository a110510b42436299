//! How long clients wait for a standby to take over, and who must be silent before it does.

use std::time::{Duration, Instant};

use consensus_tap::codec::log::LogEvent;
use service_api::CloseReason;

use crate::support::archive_host::ArchiveHost;
use crate::support::client::{Client, ClientConfig};
use crate::support::cluster::{Cluster, ClusterConfig, field};
use crate::support::flip::{
    MAY_LEAD, PATIENCE, REFUSED, activate, activate_when_silent, expect_replayed_by_java, text,
};
use crate::support::java;
use crate::support::ports::Ports;
use crate::support::recorded_log::RecordedLog;
use crate::support::standby::Standby;

const MINUTE: Duration = Duration::from_secs(60);
/// How long a driver takes a client for living that it hears nothing of.
const CLIENT_LIVENESS: Duration = Duration::from_secs(10);

/// The session that a client got when it connected for the `nth` time, from 0.
fn session(client: &Client, nth: usize) -> i64 {
    let lines = client.process().lines().all();
    let connected: Vec<_> = lines.iter().filter(|line| line.starts_with("client connected")).collect();
    let session = connected.get(nth).and_then(|line| field(line, "session")?.parse().ok());
    session.unwrap_or_else(|| panic!("no session {nth} in {lines:?}"))
}

#[test]
fn after_a_minute_a_patient_client_goes_on_and_one_of_aerons_defaults_has_to_connect_anew() {
    if crate::support::skip() {
        return;
    }
    let config = ClusterConfig::new("activation_after_a_minute", 1);
    // Twice this is how long a client waits that is told nothing else.
    let cluster =
        Cluster::start(config.flags(&["--heartbeat-timeout-ms", "10000", "--canvass-timeout-ms", "20000"]));
    let ports = Ports::allocate(1);
    let ingress = format!("localhost:{}", ports.port(0));
    let standby =
        Standby::follow(&cluster, "standby", &["--fence", "none", "--ingress-endpoint", ingress.as_str()]);
    let connect = |flags: &[&str]| {
        // The program itself waits for as long as it takes; when its session is lost is for the client to say.
        let program = ["--interactive", "--reconnect-after-ms", "200000", "--connect-timeout-ms", "200000"];
        let config = ClientConfig {
            aeron_version: java::AERON_VERSION.to_owned(),
            ingress_endpoints: format!("{},100={ingress}", cluster.ingress_endpoints()),
            flags: program.iter().chain(flags).map(|&flag| flag.to_owned()).collect(),
        };
        let client = Client::spawn_with(&config, cluster.scratch());
        client.await_connected();
        client.send(300, 1_000.0, MINUTE).expect_all_replied();
        client
    };
    let patient = connect(&["--new-leader-timeout-ms", "200000"]);
    let of_defaults = connect(&[]);
    standby.await_applied(cluster.await_quiet(MINUTE), MINUTE);

    cluster.member(0).kill();
    let killed = Instant::now();
    let has_closed = |line: &str| line == "client disconnected";
    let closed = of_defaults.process().await_line(0, MINUTE, "the session's end", has_closed);
    closed.unwrap_or_else(|error| panic!("{error}"));
    println!("a client of defaults closed after {:?}", killed.elapsed());
    std::thread::sleep(MINUTE.saturating_sub(killed.elapsed()));
    activate_when_silent(&standby, &[]);

    let result = patient.send(300, 1_000.0, MINUTE);
    result.expect_all_replied();
    assert_eq!((result.number("reconnects"), result.number("new_leaders")), (0.0, 1.0), "{}", result.line);
    let result = of_defaults.send(300, 1_000.0, MINUTE);
    result.expect_all_replied();
    assert_eq!((result.number("reconnects"), result.number("new_leaders")), (1.0, 0.0), "{}", result.line);

    let (lost, lives) = (session(&of_defaults, 0), [session(&patient, 0), session(&of_defaults, 1)]);
    let is_over = |output: &str| output.contains(&format!("session closed cluster_session_id={lost}"));
    standby.await_output("that the old session is over", MINUTE, is_over);
    standby.stop();
    let closed = RecordedLog::read(standby.dir()).events(|event, _| match event {
        LogEvent::SessionClose(close) => Some((close.cluster_session_id, close.close_reason)),
        _ => None,
    });
    assert_eq!(closed, [(lost, CloseReason::Timeout)], "{lives:?} live on");
    expect_replayed_by_java(&standby, "activation_after_a_minute_java");
}

#[test]
fn a_driver_and_an_archive_that_outlive_their_consensus_module_count_as_living_for_ten_seconds() {
    if crate::support::skip() {
        return;
    }
    let config = ClusterConfig::new("activation_external_driver", 1).flags(&["--external-driver"]);
    let mut hosts = Vec::new();
    let cluster = Cluster::start_after(config, |member| {
        let (dir, driver) = (member.dir(), member.aeron_dir());
        let endpoint = member.archive_endpoint();
        let port = endpoint.rsplit_once(':').expect("host:port").1;
        let log = dir.with_extension("archive-host.log");
        hosts.push(ArchiveHost::start(&log, dir, driver, &["--control-port", port]));
    });
    let standby = Standby::follow(&cluster, "standby", &MAY_LEAD);
    let client = Client::spawn(&cluster, &[&["--interactive"][..], &PATIENCE].concat());
    client.await_connected();
    client.send(500, 2_000.0, MINUTE).expect_all_replied();
    standby.await_applied(cluster.await_quiet(MINUTE), MINUTE);

    cluster.member(0).kill();
    let killed = Instant::now();
    let mut refused_count = 0;
    let refused_until = loop {
        let flipped = activate(&standby, &[]);
        if flipped.status.success() {
            break killed.elapsed();
        }
        assert_eq!(flipped.status.code(), Some(REFUSED), "{flipped:?}");
        assert!(text(&flipped).contains("refused, member-living"), "{flipped:?}");
        assert!(killed.elapsed() < MINUTE, "{flipped:?}\n{}", standby.output());
        refused_count += 1;
        std::thread::sleep(Duration::from_millis(100));
    };
    println!("refused {refused_count} times, active after {refused_until:?}");
    assert!(hosts[0].process().is_running(), "driver and archive are still there");
    // A client of the driver tells it every half second that it lives.
    assert!(refused_until > CLIENT_LIVENESS - Duration::from_secs(1), "{refused_until:?}");
    assert!(refused_until < 2 * CLIENT_LIVENESS, "{refused_until:?}");
    let result = client.send(500, 2_000.0, MINUTE);
    result.expect_all_replied();
    assert_eq!((result.number("reconnects"), result.number("new_leaders")), (0.0, 1.0), "{}", result.line);
}
