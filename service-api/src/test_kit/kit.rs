//! One service, driven call by call.

use std::collections::{BTreeMap, VecDeque};

use super::{Emitted, Event, RecordingEgress, Reply};
use crate::host::{Emissions, ServiceDriver, Session, StartPoint};
use crate::{
    CloseReason, ClusterSessionId, ClusterTimeUnit, ClusteredService, LeadershipTermId, LogPosition,
    MemberId, MemorySnapshot, NewLeadershipTerm, OfferError, Role, ServiceError, ServiceId,
};

/// A service in a cluster that consists of the test.
///
/// # Panics
/// Every method that applies an event, where a runtime would stop the service.
#[derive(Debug)]
pub struct TestKit<S> {
    driver: ServiceDriver<S, RecordingEgress>,
    emissions: Emissions,
    position: LogPosition,
    time: i64,
    leadership_term_id: LeadershipTermId,
    waiting: Waiting,
    events: Vec<Event>,
}

/// What the service has requested and the test has not let happen yet.
#[derive(Clone, Debug, Default)]
struct Waiting {
    /// Deadlines by correlation id.
    timers: BTreeMap<i64, i64>,
    offers: VecDeque<Vec<u8>>,
    closes: VecDeque<ClusterSessionId>,
}

impl<S: ClusteredService> TestKit<S> {
    /// A fresh service on a node that leads, after the first event of a log: term 0 at cluster time 1,000 ms.
    pub fn new(service: S) -> Self {
        Self::with_role(service, Role::Leader)
    }

    /// A fresh service on a standby: replies are dropped.
    pub fn following(service: S) -> Self {
        Self::with_role(service, Role::Follower)
    }

    fn with_role(service: S, role: Role) -> Self {
        let mut kit = Self::idle(service);
        kit.driver.start(StartPoint::FRESH, None).expect("on_start without a snapshot");
        kit.driver.on_role_change(role);
        kit.term();
        kit
    }

    fn idle(service: S) -> Self {
        Self {
            driver: ServiceDriver::new(service, RecordingEgress::default(), MEMBER_ID, ServiceId(0)),
            emissions: Emissions::new(),
            position: LogPosition(0),
            time: FIRST_TIMESTAMP,
            leadership_term_id: LeadershipTermId(-1),
            waiting: Waiting::default(),
            events: Vec::new(),
        }
    }

    /// A service that begins where another was [saved](Self::save), with nothing recorded yet.
    ///
    /// # Errors
    /// The service refuses the snapshot.
    pub fn restore(service: S, saved: &SavedState) -> Result<Self, ServiceError> {
        let mut kit = Self::idle(service);
        for session in &saved.sessions {
            kit.driver.restore_session(
                session.id(),
                session.response_stream_id(),
                session.response_channel(),
                session.principal(),
            )?;
        }
        kit.driver.start(saved.point, Some(&mut saved.snapshot.reader()))?;
        kit.driver.on_role_change(saved.role);
        kit.position = saved.point.log_position;
        kit.time = saved.time;
        kit.leadership_term_id = saved.point.leadership_term_id;
        kit.waiting = saved.waiting.clone();
        Ok(kit)
    }

    /// Takes a snapshot without an event of the log, and what else a restart needs.
    pub fn save(&mut self) -> SavedState {
        let mut snapshot = MemorySnapshot::default();
        self.driver.take_snapshot(&mut snapshot).expect("on_take_snapshot");
        SavedState {
            snapshot,
            sessions: self.driver.sessions().cloned().collect(),
            point: StartPoint {
                log_position: self.driver.log_position(),
                leadership_term_id: self.driver.leadership_term_id(),
                timestamp: self.driver.time(),
                time_unit: self.driver.time_unit(),
            },
            role: self.driver.role(),
            time: self.time,
            waiting: self.waiting.clone(),
        }
    }

    /// The next leadership term begins.
    pub fn term(&mut self) -> &mut Self {
        let term_base_log_position = self.position;
        self.leadership_term_id.0 += 1;
        let position = self.next_position(FIXED_EVENT_LENGTH);
        let term = NewLeadershipTerm {
            leadership_term_id: self.leadership_term_id,
            log_position: position,
            timestamp: self.time,
            term_base_log_position,
            leader_member_id: MEMBER_ID,
            log_session_id: self.leadership_term_id.0 as i32,
            time_unit: ClusterTimeUnit::Millis,
            app_version: 1,
        };
        let result = self.driver.on_new_leadership_term(&term);
        let description = format!("term {}", self.leadership_term_id);
        self.record(description, result, None)
    }

    /// A client connects, without a principal.
    pub fn open(&mut self, id: i64) -> &mut Self {
        self.open_as(id, "")
    }

    /// A client connects with this principal.
    pub fn open_as(&mut self, id: i64, principal: impl AsRef<[u8]>) -> &mut Self {
        let principal = principal.as_ref();
        let position = self.next_position(FIXED_EVENT_LENGTH + RESPONSE_CHANNEL.len() + principal.len());
        let result = self.driver.on_session_open(
            position,
            self.time,
            ClusterSessionId(id),
            RESPONSE_STREAM_ID,
            RESPONSE_CHANNEL,
            principal,
        );
        self.record(format!("open of session {id}"), result, None)
    }

    /// A client's session closes.
    pub fn close(&mut self, id: i64, reason: CloseReason) -> &mut Self {
        let position = self.next_position(FIXED_EVENT_LENGTH);
        self.waiting.closes.retain(|waiting| waiting.0 != id);
        let result = self.driver.on_session_close(position, self.time, ClusterSessionId(id), reason);
        self.record(format!("close of session {id}"), result, None)
    }

    /// A client sends a message.
    pub fn message(&mut self, id: i64, payload: impl AsRef<[u8]>) -> &mut Self {
        let payload = payload.as_ref();
        let position = self.next_position(SESSION_HEADER_LENGTH + payload.len());
        let result = self.driver.on_session_message(position, self.time, ClusterSessionId(id), payload);
        self.record(format!("message of session {id}"), result, None)
    }

    /// A message that some service of the cluster offered.
    pub fn service_message(&mut self, payload: impl AsRef<[u8]>) -> &mut Self {
        let payload = payload.as_ref();
        let position = self.next_position(SESSION_HEADER_LENGTH + payload.len());
        let result =
            self.driver.on_session_message(position, self.time, ClusterSessionId(i64::MIN + 1), payload);
        self.record("message of a service".to_owned(), result, None)
    }

    /// A timer fires, whoever scheduled it.
    pub fn timer(&mut self, correlation_id: i64) -> &mut Self {
        self.waiting.timers.remove(&correlation_id);
        let position = self.next_position(FIXED_EVENT_LENGTH);
        let result = self.driver.on_timer_event(position, self.time, correlation_id);
        self.record(format!("timer {correlation_id}"), result, None)
    }

    /// Cluster time moves on by that many milliseconds. No event by itself.
    pub fn advance_time(&mut self, millis: i64) -> &mut Self {
        self.time += millis;
        self
    }

    /// The timers that the service has scheduled and that are due fire, by deadline, then by correlation id.
    /// Timers that are scheduled meanwhile wait for the next call.
    pub fn fire_timers(&mut self) -> &mut Self {
        let mut due: Vec<(i64, i64)> =
            self.waiting.timers.iter().map(|(id, deadline)| (*deadline, *id)).collect();
        due.retain(|(deadline, _)| *deadline <= self.time);
        due.sort_unstable();
        for (deadline, correlation_id) in due {
            // One that fired before it may have cancelled or moved it.
            if self.waiting.timers.get(&correlation_id) == Some(&deadline) {
                self.timer(correlation_id);
            }
        }
        self
    }

    /// What the service has offered so far comes back as messages.
    pub fn deliver_offers(&mut self) -> &mut Self {
        for payload in std::mem::take(&mut self.waiting.offers) {
            self.service_message(payload);
        }
        self
    }

    /// The sessions that the service has asked to be closed close.
    pub fn deliver_closes(&mut self) -> &mut Self {
        for id in std::mem::take(&mut self.waiting.closes) {
            self.close(id.0, CloseReason::ServiceAction);
        }
        self
    }

    /// The cluster asks for a snapshot, which is recorded.
    pub fn snapshot(&mut self) -> &mut Self {
        let position = self.next_position(FIXED_EVENT_LENGTH);
        self.driver.on_cluster_action(position, self.time);
        let mut snapshot = MemorySnapshot::default();
        let result = self.driver.take_snapshot(&mut snapshot);
        self.record("snapshot".to_owned(), result, Some(snapshot))
    }

    /// The node begins to lead: replies arrive from now on.
    pub fn lead(&mut self) -> &mut Self {
        self.driver.on_role_change(Role::Leader);
        self
    }

    /// The node ceases to lead: replies are dropped from now on.
    pub fn follow(&mut self) -> &mut Self {
        self.driver.on_role_change(Role::Follower);
        self
    }

    /// Every reply fails with this error from now on; `None` makes them arrive again.
    pub fn refuse_replies(&mut self, error: Option<OfferError>) -> &mut Self {
        self.driver.egress_mut().refuse(error);
        self
    }

    /// Ends the service and gives it back.
    pub fn terminate(mut self) -> S {
        self.driver.terminate();
        self.driver.into_service()
    }

    /// The service.
    pub fn service(&self) -> &S {
        self.driver.service()
    }

    /// The driver, for what the kit does not wrap.
    pub fn driver_mut(&mut self) -> &mut ServiceDriver<S, RecordingEgress> {
        &mut self.driver
    }

    /// The events so far, beginning with the first term.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The service's requests so far, in order.
    pub fn emitted(&self) -> Vec<Emitted> {
        self.events.iter().flat_map(|event| event.emitted.iter().cloned()).collect()
    }

    /// The messages that clients got so far, in order.
    pub fn replies(&self) -> Vec<Reply> {
        self.events.iter().flat_map(|event| event.replies.iter().cloned()).collect()
    }

    /// Deadlines of the timers that wait, by correlation id.
    pub fn timers(&self) -> &BTreeMap<i64, i64> {
        &self.waiting.timers
    }

    /// Cluster time that the next event will have.
    pub fn time(&self) -> i64 {
        self.time
    }

    fn next_position(&mut self, length: usize) -> LogPosition {
        let frame_length = (FRAME_HEADER_LENGTH + length).next_multiple_of(32);
        self.position.0 += frame_length as i64;
        self.position
    }

    fn record(
        &mut self,
        description: String,
        result: Result<(), ServiceError>,
        snapshot: Option<MemorySnapshot>,
    ) -> &mut Self {
        let position = self.position;
        if let Err(error) = result {
            panic!("event {} ({description} at {position}): {error}", self.events.len());
        }
        self.driver.swap_emissions(&mut self.emissions);
        let requests = self.emissions.iter().map(Emitted::from);
        let emitted: Vec<Emitted> = requests.filter(|request| self.waiting.take_up(request)).collect();
        let replies = self.driver.egress_mut().take_replies();
        self.events.push(Event { description, position, emitted, replies, snapshot });
        self
    }
}

impl Waiting {
    /// False for a close that is under way already, which a cluster takes for none: a service that asks once more after a
    /// restart does not differ from one that ran on.
    fn take_up(&mut self, request: &Emitted) -> bool {
        match request {
            Emitted::ScheduleTimer { correlation_id, deadline } => {
                self.timers.insert(*correlation_id, *deadline);
            }
            Emitted::CancelTimer { correlation_id } => {
                self.timers.remove(correlation_id);
            }
            Emitted::Offer { payload } => self.offers.push_back(payload.clone()),
            Emitted::CloseSession { id } if self.closes.contains(id) => return false,
            Emitted::CloseSession { id } => self.closes.push_back(*id),
        }
        true
    }
}

/// Where a service was saved, and everything that a restart from there needs.
#[derive(Clone, Debug)]
pub struct SavedState {
    /// What the service wrote.
    pub snapshot: MemorySnapshot,
    sessions: Vec<Session>,
    point: StartPoint,
    role: Role,
    time: i64,
    waiting: Waiting,
}

const MEMBER_ID: MemberId = MemberId(0);
const FIRST_TIMESTAMP: i64 = 1_000;
const RESPONSE_STREAM_ID: i32 = 102;
const RESPONSE_CHANNEL: &str = "aeron:udp?endpoint=localhost:24325";
/// Positions grow as they do in a log: by frames that are multiples of 32 bytes.
const FRAME_HEADER_LENGTH: usize = 32;
const SESSION_HEADER_LENGTH: usize = 32;
const FIXED_EVENT_LENGTH: usize = 64;
