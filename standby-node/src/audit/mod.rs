//! The reference service `audit`: a hash over everything it was given.
//!
//! Two nodes hold the same state exactly when they have the same `hash` and `count` at the same log position. A
//! Java twin runs on the members; both are written from one page, and load each other's snapshots.
//!
//! A message:
//! ```text
//!   0         8               16
//!  | command | send time, ns | payload, at least 16 bytes for commands 1 and 2 |
//! ```
//! Command 1 schedules a timer (payload: i64 correlation id, i64 delay), command 2 has the payload sent back
//! through the log as a message of command 3, and all others do nothing. Shorter messages are only mixed.

mod ballast;
mod lag_clock;

use std::cell::RefCell;
use std::fmt;
use std::io::{self, Write};

use service_api::{
    ClientSession, CloseReason, Cluster, ClusteredService, FrozenState, NewLeadershipTerm, OfferError, Role,
    ServiceError, ServiceId, SnapshotReader, SnapshotWriter, StatusFields,
};

use ballast::Ballast;
use lag_clock::LagClock;

use crate::status::{LagFigures, LagWindow};
use crate::sys::fnv::{self, Fnv1a};

/// The service. See the module for what it does.
pub struct Audit {
    hash: u64,
    fnv_1a: Fnv1a,
    count: i64,
    ballast: Ballast,
    /// Ages of messages when they were applied; not part of the state, and summed up when they are looked at.
    lag: RefCell<LagWindow>,
    clock: LagClock,
    output: Box<dyn Write + Send>,
    /// A service message while it is put together.
    outgoing: Vec<u8>,
}

impl Audit {
    /// A service without ballast that prints to stdout. `monotonic_ns` reads CLOCK_MONOTONIC of the host, which
    /// the senders of messages use too; it is called for messages that carry a send time, though not for each of
    /// a long row of old ones.
    pub fn new(monotonic_ns: fn() -> u64) -> Self {
        Self {
            hash: FNV_OFFSET_BASIS,
            fnv_1a: fnv::fnv_1a(),
            count: 0,
            ballast: Ballast::default(),
            lag: RefCell::new(LagWindow::new()),
            clock: LagClock::new(monotonic_ns),
            output: Box::new(io::stdout()),
            outgoing: Vec::new(),
        }
    }

    /// With `length` bytes in every snapshot. A snapshot that is loaded brings its own length with it, since the
    /// ballast is state and the same on all nodes.
    ///
    /// # Errors
    /// The length is not a multiple of 8.
    pub fn with_ballast(mut self, length: usize) -> Result<Self, BallastLengthError> {
        if !length.is_multiple_of(8) {
            return Err(BallastLengthError { found: length });
        }
        self.ballast = Ballast::zeroed(length);
        Ok(self)
    }

    /// With its lines printed there.
    #[must_use]
    pub fn with_output(mut self, output: Box<dyn Write + Send>) -> Self {
        self.output = output;
        self
    }

    /// FNV-1a over everything seen.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Session messages and timer events seen.
    pub fn count(&self) -> i64 {
        self.count
    }

    /// Ages that messages had when they were applied: the last ten seconds, or since the start before those.
    pub fn lag(&self) -> LagFigures {
        self.lag.borrow_mut().figures(self.clock.now_ns())
    }

    fn mix(&mut self, bytes: &[u8]) {
        self.hash = (self.fnv_1a)(self.hash, bytes);
    }

    fn carry_out(&mut self, cluster: &Cluster<'_>, timestamp: i64, command: u64, payload: &[u8]) {
        let Some((timer, _)) = payload.split_first_chunk::<16>() else { return };
        // A refused request is the driver's to report; a reserved timer id is the client's own fault.
        match command {
            COMMAND_SCHEDULE_TIMER => {
                let (correlation_id, delay) = timer.split_at(8);
                // Added as it stands, whatever the unit of cluster time: the Java twin does the same.
                let deadline = timestamp.wrapping_add(i64_of(delay));
                let _ = cluster.schedule_timer(i64_of(correlation_id), deadline);
            }
            COMMAND_OFFER => {
                self.outgoing.clear();
                self.outgoing.extend_from_slice(&COMMAND_OFFERED.to_le_bytes());
                self.outgoing.extend_from_slice(&[0; 8]);
                self.outgoing.extend_from_slice(payload);
                let _ = cluster.offer(&self.outgoing);
            }
            _ => {}
        }
    }

    fn reply(&self, cluster: &Cluster<'_>, session: ClientSession<'_>, message: &[u8]) {
        let mut reply = [0; REPLY_LENGTH];
        let head = &message[..message.len().min(MESSAGE_HEADER_LENGTH)];
        reply[..head.len()].copy_from_slice(head);
        reply[16..24].copy_from_slice(&self.hash.to_le_bytes());
        reply[24..].copy_from_slice(&self.count.to_le_bytes());
        for _ in 0..REPLY_ATTEMPT_COUNT {
            if session.offer(&reply) != Err(OfferError::BackPressured) {
                return;
            }
            cluster.idle();
        }
    }

    /// Prints where the service stands. That nobody reads it must not stop the service.
    fn print(&mut self, cluster: &Cluster<'_>) {
        let line = format!(
            "audit service={} position={} term={} count={} hash={:016x}\n",
            cluster.service_id(),
            cluster.log_position(),
            cluster.leadership_term_id(),
            self.count,
            self.hash
        );
        let _ = self.output.write_all(line.as_bytes()).and_then(|()| self.output.flush());
    }

    fn frozen(&self) -> Frozen {
        Frozen { hash: self.hash, count: self.count, ballast: self.ballast.clone() }
    }
}

impl ClusteredService for Audit {
    fn on_start(
        &mut self,
        cluster: &Cluster<'_>,
        snapshot: Option<&mut dyn SnapshotReader>,
    ) -> Result<(), ServiceError> {
        if let Some(snapshot) = snapshot {
            let Frozen { hash, count, ballast } = Frozen::read(snapshot)?;
            (self.hash, self.count, self.ballast) = (hash, count, ballast);
        }
        self.print(cluster);
        Ok(())
    }

    fn on_session_open(&mut self, _cluster: &Cluster<'_>, session: ClientSession<'_>, _timestamp: i64) {
        self.mix(&session.id().0.to_le_bytes());
    }

    fn on_session_message(
        &mut self,
        cluster: &Cluster<'_>,
        session: Option<ClientSession<'_>>,
        timestamp: i64,
        message: &[u8],
    ) {
        self.mix(message);
        self.count = self.count.wrapping_add(1);
        self.ballast.write(self.count, self.hash);

        if let Some((header, payload)) = message.split_first_chunk::<MESSAGE_HEADER_LENGTH>() {
            let (command, send_time_ns) = header.split_at(8);
            let send_time_ns = i64_of(send_time_ns);
            if send_time_ns != 0 {
                self.lag.get_mut().record(self.clock.lag_ns(send_time_ns));
            }
            if cluster.service_id() == COMMANDED_SERVICE {
                self.carry_out(cluster, timestamp, i64_of(command) as u64, payload);
            }
        }
        if let Some(session) = session {
            self.reply(cluster, session, message);
        }
    }

    fn on_session_close(
        &mut self,
        _cluster: &Cluster<'_>,
        session: ClientSession<'_>,
        _timestamp: i64,
        _reason: CloseReason,
    ) {
        self.mix(&session.id().0.wrapping_add(7).to_le_bytes());
    }

    fn on_timer_event(&mut self, _cluster: &Cluster<'_>, correlation_id: i64, _timestamp: i64) {
        self.mix(&correlation_id.to_le_bytes());
        self.count = self.count.wrapping_add(1);
    }

    fn on_take_snapshot(
        &mut self,
        cluster: &Cluster<'_>,
        snapshot: &mut dyn SnapshotWriter,
    ) -> Result<(), ServiceError> {
        self.frozen().write(snapshot)?;
        self.print(cluster);
        Ok(())
    }

    fn freeze(&mut self, cluster: &Cluster<'_>) -> Option<Box<dyn FrozenState>> {
        self.print(cluster);
        Some(Box::new(self.frozen()))
    }

    fn do_background_work(&mut self, _cluster: &Cluster<'_>, _now_ns: u64) -> usize {
        self.clock.forget();
        0
    }

    fn on_role_change(&mut self, cluster: &Cluster<'_>, _role: Role) {
        self.print(cluster);
    }

    fn on_new_leadership_term_event(&mut self, cluster: &Cluster<'_>, _term: &NewLeadershipTerm) {
        self.print(cluster);
    }

    fn on_terminate(&mut self, cluster: &Cluster<'_>) {
        self.print(cluster);
    }

    fn status(&self, fields: &mut StatusFields) {
        let lag = self.lag();
        fields
            .hex("hash", self.hash)
            .i64("count", self.count)
            .u64("lag_p50_ns", lag.p50_ns)
            .u64("lag_p99_ns", lag.p99_ns)
            .u64("lag_p999_ns", lag.p999_ns)
            .u64("lag_max_ns", lag.max_ns)
            .u64("lag_count", lag.count);
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit")
            .field("hash", &format_args!("{:016x}", self.hash))
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

/// The state at one position, cheap to make: the ballast is shared until it is written to.
struct Frozen {
    hash: u64,
    count: i64,
    ballast: Ballast,
}

impl Frozen {
    fn read(snapshot: &mut dyn SnapshotReader) -> Result<Self, ServiceError> {
        let header = snapshot.read()?.ok_or("audit snapshot: it is empty")?;
        let [hash, count, ballast_length] = words(header).ok_or_else(|| {
            ServiceError::new(format!("audit snapshot: the header has {} bytes, expected 24", header.len()))
        })?;
        let ballast = Ballast::read(snapshot, ballast_length as i64)?;
        Ok(Self { hash, count: count as i64, ballast })
    }
}

impl FrozenState for Frozen {
    fn write(self: Box<Self>, snapshot: &mut dyn SnapshotWriter) -> Result<(), ServiceError> {
        (*self).write(snapshot)
    }
}

impl Frozen {
    fn write(&self, snapshot: &mut dyn SnapshotWriter) -> Result<(), ServiceError> {
        let mut header = [0; SNAPSHOT_HEADER_LENGTH];
        header[..8].copy_from_slice(&self.hash.to_le_bytes());
        header[8..16].copy_from_slice(&self.count.to_le_bytes());
        header[16..].copy_from_slice(&(self.ballast.length() as u64).to_le_bytes());
        snapshot.write(&header)?;
        self.ballast.write_to(snapshot)
    }
}

/// A ballast that is no multiple of 8 bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the ballast is to have {found} bytes, expected a multiple of 8: configure {} instead", found.next_multiple_of(8))]
pub struct BallastLengthError {
    /// As configured.
    pub found: usize,
}

fn i64_of(bytes: &[u8]) -> i64 {
    i64::from_le_bytes(bytes.try_into().expect("8 bytes"))
}

/// `N` little-endian words, if that is what `bytes` are.
fn words<const N: usize>(bytes: &[u8]) -> Option<[u64; N]> {
    let (words, rest) = bytes.as_chunks::<8>();
    let words: &[[u8; 8]; N] = words.try_into().ok()?;
    rest.is_empty().then(|| words.map(u64::from_le_bytes))
}

const FNV_OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;

const COMMAND_SCHEDULE_TIMER: u64 = 1;
const COMMAND_OFFER: u64 = 2;
const COMMAND_OFFERED: u64 = 3;
/// One service of a node carries out commands, or each would be carried out as often as there are services.
const COMMANDED_SERVICE: ServiceId = ServiceId(0);

const MESSAGE_HEADER_LENGTH: usize = 16;
const REPLY_LENGTH: usize = 32;
const SNAPSHOT_HEADER_LENGTH: usize = 24;
/// The cluster must not wait for one slow client.
const REPLY_ATTEMPT_COUNT: usize = 100;

#[cfg(test)]
mod tests;
