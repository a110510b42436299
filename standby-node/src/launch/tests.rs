use std::path::Path;

use consensus_tap::file::cluster_mark::{ClusterMark, TERMINATED};

use super::*;
use crate::audit::Audit;
use crate::config::Settings;
use crate::store::StoreError;

/// A node on loopback whose only member does not exist.
fn config(dir: &Path) -> NodeConfig {
    let settings = Settings {
        dir: Some(dir.to_owned()),
        host: Some("127.0.0.1".to_owned()),
        consensus_endpoints: Some(vec!["127.0.0.1:9".to_owned()]),
        ..Settings::default()
    };
    NodeConfig::new(settings, 2).unwrap()
}

fn audit(_: ServiceId, _: &NodeConfig) -> Result<Box<dyn ClusteredService>, ServiceError> {
    Ok(Box::new(Audit::new(clock::monotonic_ns)))
}

#[test]
fn a_node_that_is_dropped_has_ended_when_its_directory_is_free() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("node");
    let node = launch(config(&dir), audit).unwrap();
    assert!(matches!(launch(config(&dir), audit), Err(LaunchError::Store(StoreError::Locked { .. }))));
    drop(node);
    let mark = ClusterMark::parse(&std::fs::read(dir.join("cluster/cluster-mark.dat")).unwrap()).unwrap();
    assert_eq!(mark.activity_timestamp, TERMINATED, "its conductor has closed");
    launch(config(&dir), audit).unwrap().stop().unwrap();
}

#[test]
fn more_services_than_a_cluster_can_have_are_refused_before_anything_is_created() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("node");
    let config = NodeConfig { services: vec!["audit".to_owned(); 11], ..config(&dir) };
    let error = launch(config, audit).unwrap_err().to_string();
    assert!(error.contains("audit,audit") && error.contains("at most 10"), "{error}");
    assert!(!dir.exists());
}
