//! An auction that closes by a timer, driven by the test kit: `cargo run -p service-api --example auction`.
//!
//! Clients bid by sending a price. Each better bid moves the end of the auction to one second later, and is told to
//! everybody. When the timer fires, the winner is announced and the losers' sessions are closed.

use std::error::Error;

use service_api::test_kit::{EventLog, TestKit, assert_deterministic};
use service_api::{
    ClientSession, Cluster, ClusterSessionId, ClusteredService, ServiceError, SnapshotReader, SnapshotWriter,
};

/// The best bid so far, if any.
#[derive(Debug, Default)]
struct Auction {
    best: Option<Bid>,
}

#[derive(Clone, Copy, Debug)]
struct Bid {
    price: u64,
    bidder: ClusterSessionId,
}

const END_TIMER: i64 = 1;
const GOING_MILLIS: i64 = 1_000;

impl ClusteredService for Auction {
    fn on_start(
        &mut self,
        _cluster: &Cluster<'_>,
        snapshot: Option<&mut dyn SnapshotReader>,
    ) -> Result<(), ServiceError> {
        let Some(snapshot) = snapshot else { return Ok(()) };
        // No message at all is a valid snapshot of this service: nobody has bid.
        if let Some(message) = snapshot.read()? {
            let (price, bidder) =
                message.split_first_chunk().ok_or("a bid of the snapshot is cut short: take it again")?;
            let bidder = bidder.try_into().map_err(|_| "a bid of the snapshot is not 16 bytes")?;
            self.best = Some(Bid {
                price: u64::from_le_bytes(*price),
                bidder: ClusterSessionId(i64::from_le_bytes(bidder)),
            });
        }
        Ok(())
    }

    fn on_session_message(
        &mut self,
        cluster: &Cluster<'_>,
        session: Option<ClientSession<'_>>,
        timestamp: i64,
        payload: &[u8],
    ) {
        let (Some(session), Ok(price)) = (session, payload.try_into().map(u64::from_le_bytes)) else {
            return;
        };
        if self.best.is_some_and(|best| best.price >= price) {
            let _ = session.offer(b"too low");
            return;
        }
        self.best = Some(Bid { price, bidder: session.id() });
        let deadline = timestamp + cluster.time_unit().from_millis(GOING_MILLIS);
        let _ = cluster.schedule_timer(END_TIMER, deadline);
        announce(cluster, &format!("{price} by {}", session.id()));
    }

    fn on_timer_event(&mut self, cluster: &Cluster<'_>, correlation_id: i64, _timestamp: i64) {
        let (END_TIMER, Some(won)) = (correlation_id, self.best.take()) else { return };
        announce(cluster, &format!("sold to {} for {}", won.bidder, won.price));
        for session in cluster.sessions().filter(|session| session.id() != won.bidder) {
            let _ = session.close();
        }
    }

    fn on_take_snapshot(
        &mut self,
        _cluster: &Cluster<'_>,
        snapshot: &mut dyn SnapshotWriter,
    ) -> Result<(), ServiceError> {
        match self.best {
            Some(Bid { price, bidder }) => {
                snapshot.write(&[price.to_le_bytes(), bidder.0.to_le_bytes()].concat())
            }
            None => Ok(()),
        }
    }
}

fn announce(cluster: &Cluster<'_>, text: &str) {
    for session in cluster.sessions() {
        let _ = session.offer(text.as_bytes());
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut log = EventLog::new();
    log.open(1).open(2).message(1, 100_u64.to_le_bytes()).message(2, 90_u64.to_le_bytes());
    log.advance_time(600).message(2, 120_u64.to_le_bytes());
    // The first deadline has passed, but the better bid moved it.
    log.advance_time(600).fire_timers().snapshot();
    log.advance_time(400).fire_timers().deliver_closes();

    let mut kit = TestKit::new(Auction::default());
    log.run(&mut kit);
    for event in kit.events() {
        println!("{} {}", event.position, event.description);
        for request in &event.emitted {
            println!("    requests {request:?}");
        }
        for reply in &event.replies {
            println!("    tells {}: {}", reply.session_id, str::from_utf8(&reply.payload)?);
        }
    }

    assert_deterministic(Auction::default, &log);
    println!("the same on a leader, on a standby, and over a snapshot at every step");
    Ok(())
}
