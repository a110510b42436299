//! Copies of a log: whoever starts on one did not lead it.

use standby_node::store::activation_record;

use super::*;

#[test]
fn a_directory_that_was_seeded_or_handed_over_is_led_by_nobody_as_its_own() {
    let node = bootstrapped(&[]);
    exchange(&mut connect(&node), 200, 20);
    assert_eq!(verb("snapshot", &node, &["--wait", "10"]).code, Some(0), "{}", node.output());
    let temp = tempfile::tempdir().expect("a temporary directory");
    let (seeded, handed) = (temp.path().join("seeded"), temp.path().join("handed"));
    let refuses = |dir: &Path, extra: &[&str]| {
        let extra = [&["--bootstrap"], extra].concat().iter().map(|&flag| flag.to_owned()).collect();
        let mut refused = Node::start(NodeFlags { dir: Some(dir.to_owned()), extra, ..NodeFlags::default() });
        assert_eq!(refused.wait(), Some(1));
        assert!(refused.output().contains("was led by another node, in term 0"), "{}", refused.output());
    };

    // Beside the leader, under another id and under the very same.
    let seed = verb("seed", &node, &["--member-id", "2", "--out", path(&seeded)]);
    assert_eq!(seed.code, Some(0), "{seed:?}");
    refuses(&seeded, &["--member-id", "105"]);
    refuses(&seeded, &[]);
    assert_eq!(node.await_status("there", |_| true)["state"], "ACTIVE");

    let given = verb("hand-over", &node, &["--wait", "30", "--out", path(&handed)]);
    assert_eq!(given.code, Some(0), "{given:?}");
    refuses(&handed, &[]);
    // Taken back: still others may have begun with what was handed over.
    assert_eq!(verb("deactivate", &node, &[]).code, Some(0));
    refuses(node.dir(), &[]);
}

#[test]
fn a_log_is_its_last_leaders_own_until_that_one_follows() {
    let node = bootstrapped(&[]);
    exchange(&mut connect(&node), 50, 10);
    let temp = tempfile::tempdir().expect("a temporary directory");
    let dir = temp.path().join("node");
    std::fs::rename(node.dir(), &dir).expect("the same file system");
    drop(node);
    assert_eq!(run(&["deactivate", "--dir", path(&dir)]).code, Some(0));
    let again = run(&["deactivate", "--dir", path(&dir)]);
    assert!(again.stdout.contains("nothing to take back"), "{again:?}");
    let flags = |extra: &[&str]| NodeFlags {
        dir: Some(dir.clone()),
        extra: extra.iter().map(|&flag| flag.to_owned()).collect(),
        ..NodeFlags::default()
    };
    let mut follower = Node::running(flags(&[]));
    let file = dir.join("cluster").join(activation_record::FILE_NAME);
    follower
        .await_status("no longer of its own", |_| activation_record::read(&file).unwrap().record.is_none());
    assert_eq!(follower.terminate(), Some(0), "{}", follower.output());
    let mut refused = Node::start(flags(&["--bootstrap"]));
    assert_eq!(refused.wait(), Some(1));
    assert!(refused.output().contains("was led by another node, in term 0"), "{}", refused.output());
}
