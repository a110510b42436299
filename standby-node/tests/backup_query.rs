//! The verb that tells and sets when a node asks the members for newer snapshots next.

mod support;

use std::time::{Duration, Instant};

use support::node::{Node, NodeFlags, TIMEOUT, path, run};

fn flags(service: &str) -> NodeFlags {
    NodeFlags { extra: vec!["--service".to_owned(), service.to_owned()], ..NodeFlags::default() }
}

#[test]
fn the_next_query_is_told_set_and_made() {
    let mut node = Node::running(flags("none"));
    let dir = path(node.dir()).to_owned();
    let told = |arguments: &[&str]| {
        let output = run(&[&["backup-query", "--dir", &dir], arguments].concat());
        assert_eq!((output.code, output.stderr.as_str()), (Some(0), ""), "{output:?}");
        output.stdout
    };
    assert!(told(&[]).starts_with("next backup query in 59m "), "{}", told(&[]));
    assert_eq!(told(&["--delay", "2h"]), "next backup query in 2h\n");
    assert!(told(&[]).starts_with("next backup query in 1h 59m "), "{}", told(&[]));
    assert_eq!(told(&["--delay", "0s"]), "next backup query in 0s\n");
    // The node has asked, whoever may answer, and the next query is an interval away.
    let deadline = Instant::now() + TIMEOUT;
    while !told(&[]).starts_with("next backup query in 59m ") {
        assert!(Instant::now() < deadline, "{}", told(&[]));
        std::thread::sleep(Duration::from_millis(20));
    }
    let status = node.status().expect("a status");
    assert_eq!((&status["role"], &status["snapshots_retrieved"]), (&"BACKUP".into(), &0.into()));

    assert_eq!(node.terminate(), Some(0));
    run(&["backup-query", "--dir", &dir]).expect_error(1, &[&dir, "the node does not run"]);
}

#[test]
fn a_node_that_fetches_nothing_says_how_it_would() {
    let node = Node::running(flags("audit"));
    let output = run(&["backup-query", "--dir", path(node.dir()), "--delay", "1m"]);
    output.expect_error(1, &[path(node.dir()), "fetches no snapshots", "fetch_snapshots = true"]);
    let status = node.status().expect("a status");
    assert_eq!(status["role"], "STANDBY");
    assert!(status.get("snapshots_retrieved").is_none(), "{status}");

    let nowhere = node.dir().join("nowhere");
    run(&["backup-query", "--dir", path(&nowhere)]).expect_error(1, &["cnc.dat", "--dir"]);
    run(&["backup-query", "--dir", path(node.dir()), "--delay", "soon"])
        .expect_error(2, &["soon", "--delay"]);
}
