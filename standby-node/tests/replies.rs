//! What services of a node that leads may rely on when they reply, with a service and a client of ours.

use std::time::{Duration, Instant};

use service_api::{
    ClientSession, Cluster, ClusteredService, OfferError, ServiceError, SnapshotReader, SnapshotWriter,
};
use standby_node::cluster_client::{ClusterClient, config};
use standby_node::config::{Layout, NodeConfig, Settings};

const TIMEOUT: Duration = Duration::from_secs(60);

/// Answers a message with so many numbered rows as the message says, and then closes the session.
struct Rows;

impl ClusteredService for Rows {
    fn on_start(&mut self, _: &Cluster<'_>, _: Option<&mut dyn SnapshotReader>) -> Result<(), ServiceError> {
        Ok(())
    }

    fn on_session_message(
        &mut self,
        cluster: &Cluster<'_>,
        session: Option<ClientSession<'_>>,
        _: i64,
        message: &[u8],
    ) {
        let session = session.expect("a client asks");
        let row_count = u64::from_le_bytes(message.try_into().expect("8 bytes"));
        for row in 0..row_count {
            while session.offer(&row.to_le_bytes()) == Err(OfferError::BackPressured) {
                cluster.idle();
            }
        }
        cluster.close_session(session.id()).expect("it is open");
    }

    fn on_take_snapshot(&mut self, _: &Cluster<'_>, _: &mut dyn SnapshotWriter) -> Result<(), ServiceError> {
        Ok(())
    }
}

#[test]
fn a_client_gets_all_rows_that_were_sent_before_its_session_was_closed() {
    const ROW_COUNT: u64 = 20_000;
    for layout in [Layout::Dedicated, Layout::Shared] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let port = std::net::UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let ingress = format!("127.0.0.1:{}", port.expect("a free port").port());
        let settings = Settings {
            dir: Some(directory.path().join("node")),
            host: Some("127.0.0.1".into()),
            bootstrap: Some(true),
            ingress_endpoint: Some(ingress.clone()),
            service: Some(vec!["rows".into()]),
            layout: Some(layout),
            idle: Some("backoff".parse().expect("an idle strategy")),
            ..Settings::default()
        };
        let node_config = NodeConfig::new(settings, 4).expect("a configuration");
        let node = standby_node::launch(node_config, |_, _| Ok(Box::new(Rows))).expect("it starts");
        let client_config = config(&format!("100={ingress}"), "aeron:udp?endpoint=127.0.0.1:0");
        let mut client =
            ClusterClient::connect(client_config.expect("a configuration")).expect("the node leads");
        let deadline = Instant::now() + TIMEOUT;
        while client.offer(&ROW_COUNT.to_le_bytes()).is_err() {
            assert!(Instant::now() < deadline, "it does not connect");
        }
        let mut row_count = 0;
        let is_over = |row: &mut u64, client: &mut ClusterClient| {
            let polled = client.poll(&mut |_: i64, bytes: &[u8]| {
                assert_eq!(bytes, row.to_le_bytes(), "rows come in order");
                *row += 1;
            });
            polled.is_err()
        };
        while !is_over(&mut row_count, &mut client) {
            assert!(Instant::now() < deadline, "not closed after {row_count} rows");
        }
        assert_eq!(row_count, ROW_COUNT, "{layout:?}");
        node.stop().expect("it stops in order");
    }
}
