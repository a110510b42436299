//! A standby may join at any time of a cluster's life.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::agreement::end_and_compare;
use crate::support::client::send;
use crate::support::cluster::{Cluster, ClusterConfig};
use crate::support::standby::Standby;

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn standbys_that_join_before_after_and_without_a_snapshot_all_agree() {
    if crate::support::skip() {
        return;
    }
    let cluster = Cluster::start(ClusterConfig::new("joining", 3));
    let into_empty = Standby::follow(&cluster, "into-empty", &[]);
    into_empty.await_state("FOLLOWING", MINUTE);

    send(&cluster, 1000);
    let before_snapshot = cluster.await_quiet(MINUTE);
    let without_snapshot = Standby::follow(&cluster, "without-snapshot", &[]);
    without_snapshot.await_applied(before_snapshot, MINUTE);

    cluster.control("SNAPSHOT");
    send(&cluster, 1000);
    let with_snapshot = Standby::follow(&cluster, "with-snapshot", &[]);
    let from_beginning = Standby::follow(&cluster, "from-beginning", &["--replay-start", "beginning"]);
    // Part of the log is fetched, the rest comes as it happens.
    send(&cluster, 500);

    let standbys = [&into_empty, &without_snapshot, &with_snapshot, &from_beginning];
    let report = end_and_compare(&cluster, &standbys);
    println!("{report:?}");
    for standby in [&into_empty, &without_snapshot, &from_beginning] {
        assert_eq!(first_position(standby), 0, "{}", standby.output());
    }
    assert!(first_position(&with_snapshot) >= before_snapshot, "{}", with_snapshot.output());
}

#[test]
fn a_standby_that_joins_several_terms_late_agrees() {
    if crate::support::skip() {
        return;
    }
    let cluster = Cluster::start(ClusterConfig::new("several_terms", 3));
    send(&cluster, 200);
    for _ in 0..3 {
        let killed = cluster.await_leader(None, MINUTE);
        cluster.member(killed).kill();
        cluster.await_leader(Some(killed), MINUTE);
        send(&cluster, 200);
        cluster.member(killed).restart();
        cluster.await_quiet(MINUTE);
    }
    let term = cluster.member(cluster.await_leader(None, MINUTE)).role().expect("a role").term;
    assert!(term >= 3, "the leader was killed three times, the term is {term}");

    let from_beginning = Standby::follow(&cluster, "from-beginning", &[]);
    from_beginning.await_applied(cluster.await_quiet(MINUTE), MINUTE);
    cluster.control("SNAPSHOT");
    let from_snapshot = Standby::follow(&cluster, "from-snapshot", &[]);
    send(&cluster, 300);
    let position = cluster.await_quiet(MINUTE);
    for standby in [&from_beginning, &from_snapshot] {
        standby.await_applied(position, MINUTE);
        assert_eq!(standby.number("leadership_term_id"), term);
    }

    let report = end_and_compare(&cluster, &[&from_beginning, &from_snapshot]);
    println!("{report:?}");
    // Not every number: an election that fails takes one as well.
    let terms: BTreeSet<_> =
        from_beginning.audit_log().lines.iter().map(|line| line.term).filter(|&term| term >= 0).collect();
    assert!(terms.len() >= 4 && terms.last() == Some(&term), "every term was followed: {terms:?}");
}

/// Where the node's service started.
fn first_position(standby: &Standby) -> i64 {
    standby.audit_log().lines.first().expect("a service prints at its start").position
}
