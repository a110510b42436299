//! What a message costs a node that leads, besides time.

use std::time::{Duration, Instant};

use service_api::{
    ClientSession, Cluster, ClusteredService, OfferError as OfferRefused, ServiceError, SnapshotReader,
    SnapshotWriter,
};
use standby_node::cluster_client::{ClusterClient, OfferError, config};
use standby_node::config::{Layout, NodeConfig, Settings, Size};

use crate::allocations::of_threads_named;

/// Replies with what it gets.
struct Echo;

impl ClusteredService for Echo {
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
        while session.is_some_and(|session| session.offer(message) == Err(OfferRefused::BackPressured)) {
            cluster.idle();
        }
    }

    fn on_take_snapshot(&mut self, _: &Cluster<'_>, _: &mut dyn SnapshotWriter) -> Result<(), ServiceError> {
        Ok(())
    }
}

/// Sends so many messages, some of several fragments, and waits for the reply to each window of them.
fn exchange(client: &mut ClusterClient, count: usize) {
    let message = [7; 3_000];
    let (mut sent, mut replied) = (0, 0);
    let deadline = Instant::now() + Duration::from_secs(60);
    while replied < count {
        if sent < count && sent < replied + 32 {
            let length = if sent % 10 == 0 { 3_000 } else { 64 };
            match client.offer(&message[..length]) {
                Ok(_) => sent += 1,
                Err(OfferError::BackPressured | OfferError::NotConnected) => {}
                Err(error) => panic!("{error}"),
            }
        }
        client.poll(&mut |_: i64, _: &[u8]| replied += 1).expect("the session lives");
        assert!(Instant::now() < deadline, "{replied} replies to {sent} messages");
    }
}

#[test]
fn a_node_that_leads_allocates_nothing_for_a_message() {
    let directory = tempfile::tempdir().unwrap();
    let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let ingress = format!("127.0.0.1:{port}");
    let settings = Settings {
        dir: Some(directory.path().join("node")),
        host: Some("127.0.0.1".into()),
        bootstrap: Some(true),
        ingress_endpoint: Some(ingress.clone()),
        service: Some(vec!["echo".into()]),
        layout: Some(Layout::Dedicated),
        idle: Some("backoff".parse().unwrap()),
        log_term_length: Some(Size(16 << 20)),
        ..Settings::default()
    };
    let config_of_node = NodeConfig::new(settings, 4).unwrap();
    let node = standby_node::launch(config_of_node, |_, _| Ok(Box::new(Echo))).unwrap();
    let members = format!("100={ingress}");
    let mut client =
        ClusterClient::connect(config(&members, "aeron:udp?endpoint=127.0.0.1:0").unwrap()).unwrap();
    // Buffers grow to what they need.
    exchange(&mut client, 20_000);
    let threads = ["receiver", "service-0"];
    let before = of_threads_named(&threads).unwrap();
    exchange(&mut client, 20_000);
    let allocated = of_threads_named(&threads).unwrap() - before;
    assert_eq!(allocated, 0, "allocations for 20,000 messages");
    drop(client);
    node.stop().unwrap();
}
