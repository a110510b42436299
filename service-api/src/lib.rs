//! What a user implements: a clustered service, written once, that runs on a warm standby.
//!
//! A clustered service is a state machine over a replicated log. Every node of an Aeron cluster hands the
//! same events, in the same order, to its own copy; so all copies hold the same state, and any of them can take
//! over. This crate is the contract between the service and the node that runs it: the trait
//! [`ClusteredService`], and the handles that its callbacks get. It mirrors `io.aeron.cluster.service` of Aeron
//! 1.51, and what a service written against one writes into snapshots can be read by one written against the
//! other.
//!
//! # A service
//!
//! It counts orders, tells each client its order's number, and reports the volume a second after it
//! last changed.
//!
//! ```
//! use service_api::test_kit::{EventLog, TestKit, assert_deterministic};
//! use service_api::{
//!     ClientSession, Cluster, ClusteredService, ServiceError, SnapshotReader, SnapshotWriter,
//!     StatusFields,
//! };
//!
//! #[derive(Default)]
//! struct OrderCounter {
//!     order_count: u64,
//!     volume: u64,
//! }
//!
//! const REPORT_TIMER: i64 = 1;
//!
//! impl ClusteredService for OrderCounter {
//!     fn on_start(
//!         &mut self,
//!         _cluster: &Cluster<'_>,
//!         snapshot: Option<&mut dyn SnapshotReader>,
//!     ) -> Result<(), ServiceError> {
//!         let Some(snapshot) = snapshot else {
//!             return Ok(()); // A new log: the defaults are right.
//!         };
//!         let state = snapshot.read()?.ok_or("the snapshot is empty")?;
//!         let state: &[u8; 16] = state.try_into().map_err(|_| "the state is not 16 bytes")?;
//!         self.order_count = u64::from_le_bytes(state[..8].try_into().unwrap());
//!         self.volume = u64::from_le_bytes(state[8..].try_into().unwrap());
//!         Ok(())
//!     }
//!
//!     fn on_session_message(
//!         &mut self,
//!         cluster: &Cluster<'_>,
//!         session: Option<ClientSession<'_>>,
//!         timestamp: i64,
//!         payload: &[u8],
//!     ) {
//!         // Clients send what they like: a bad message must be ignored by every node alike.
//!         let Ok(quantity) = payload.try_into().map(u64::from_le_bytes) else { return };
//!         self.order_count += 1;
//!         self.volume = self.volume.wrapping_add(quantity);
//!
//!         let deadline = timestamp + cluster.time_unit().from_millis(1_000);
//!         // It fails only if the service requests without end, and the runtime then stops the service.
//!         let _ = cluster.schedule_timer(REPORT_TIMER, deadline);
//!
//!         if let Some(session) = session {
//!             // Only the leader sends; on every other node this does nothing. A client that is gone or slow
//!             // misses its reply, which is none of the state's business.
//!             let _ = session.offer(&self.order_count.to_le_bytes());
//!         }
//!     }
//!
//!     fn on_timer_event(&mut self, cluster: &Cluster<'_>, correlation_id: i64, _timestamp: i64) {
//!         if correlation_id == REPORT_TIMER {
//!             for session in cluster.sessions() {
//!                 let _ = session.offer(format!("volume {}", self.volume).as_bytes());
//!             }
//!         }
//!     }
//!
//!     fn on_take_snapshot(
//!         &mut self,
//!         _cluster: &Cluster<'_>,
//!         snapshot: &mut dyn SnapshotWriter,
//!     ) -> Result<(), ServiceError> {
//!         let mut state = [0; 16];
//!         state[..8].copy_from_slice(&self.order_count.to_le_bytes());
//!         state[8..].copy_from_slice(&self.volume.to_le_bytes());
//!         snapshot.write(&state)
//!     }
//!
//!     fn status(&self, fields: &mut StatusFields) {
//!         fields.u64("order_count", self.order_count).u64("volume", self.volume);
//!     }
//! }
//!
//! // Driven by hand:
//! let mut kit = TestKit::new(OrderCounter::default());
//! kit.open(7).message(7, 100_u64.to_le_bytes()).advance_time(1_000).fire_timers();
//! assert_eq!(kit.replies()[0].payload, 1_u64.to_le_bytes());
//! assert_eq!(kit.replies()[1].payload, b"volume 100");
//!
//! // And held to its promise: the same on a leader, on a standby, and over a snapshot.
//! let mut log = EventLog::new();
//! log.open(7).message(7, 100_u64.to_le_bytes()).message(7, b"rubbish");
//! log.advance_time(1_000).fire_timers().message(7, 5_u64.to_le_bytes()).snapshot();
//! assert_deterministic(OrderCounter::default, &log);
//! ```
//!
//! # What to know
//!
//! - **Determinism.** State follows from the log alone. Time is [`Cluster::time`], randomness is seeded by a message,
//!   iteration goes over ordered collections, and neither [`Cluster::role`] nor the outcome of a reply
//!   leaves a trace in the state. A panic counts as an error: the service stops.
//! - **Requests.** Timers, messages to the log and closes of sessions are requests. They return at once and take
//!   effect as later events of the log. They may be made only in callbacks that such an event caused, because
//!   only these run on every node at the same place: not in `on_start`, `on_take_snapshot`, `on_role_change`,
//!   `on_terminate` or `do_background_work`, which get [`ClusterError::NotAllowed`].
//! - **Replies** go to a client from the leader only. Elsewhere they succeed and are dropped.
//! - **Speed.** A message is lent from where it lies in the log. Nothing between the log and the service allocates,
//!   locks, or looks at a clock; a service that does none of it either gets tens of millions of messages a second.
//! - **Snapshots** are messages of the service's own format. They are taken on the standby while members go on; a
//!   service whose state is large should be able to [`freeze`](ClusteredService::freeze) it.
//!
//! | for | see |
//! |---|---|
//! | services | [`ClusteredService`], [`Cluster`], [`ClientSession`], [`SnapshotWriter`], [`SnapshotReader`] |
//! | tests of services | [`test_kit`] |
//! | runtimes | [`host`] |
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod host;
pub mod test_kit;

mod cluster;
mod error;
mod ids;
mod service;
mod session;
mod snapshot;
mod status;

pub use cluster::{Cluster, ClusterTimeUnit, Role};
pub use error::{Callback, ClusterError, OfferError, ServiceError};
pub use ids::{ClusterSessionId, LeadershipTermId, LogPosition, MemberId, ServiceId};
pub use service::{ClusteredService, FrozenState, NewLeadershipTerm};
pub use session::{Claim, ClientSession, CloseReason, MOCKED_CLAIM_LENGTH_MAX};
pub use snapshot::{
    MAX_MESSAGE_LENGTH_DEFAULT, MemorySnapshot, MemorySnapshotReader, SnapshotReader, SnapshotWriter,
};
pub use status::{StatusFields, StatusValue};
