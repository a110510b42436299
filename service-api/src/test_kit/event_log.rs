//! A list of events that can be run more than once.

use super::TestKit;
use crate::{CloseReason, ClusteredService};

/// What happens to a service, as data. Each method is that of [`TestKit`] with the same name.
///
/// ```
/// use service_api::CloseReason;
/// use service_api::test_kit::EventLog;
///
/// let mut log = EventLog::new();
/// log.open(1).message(1, b"buy 100").advance_time(500).fire_timers().close(1, CloseReason::ClientAction);
/// assert_eq!(log.len(), 5);
/// ```
#[derive(Clone, Debug, Default)]
pub struct EventLog {
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
enum Step {
    Term,
    Open { id: i64, principal: Vec<u8> },
    Close { id: i64, reason: CloseReason },
    Message { id: i64, payload: Vec<u8> },
    ServiceMessage { payload: Vec<u8> },
    Timer { correlation_id: i64 },
    AdvanceTime { millis: i64 },
    FireTimers,
    DeliverOffers,
    DeliverCloses,
    Snapshot,
}

impl EventLog {
    /// A log of nothing but the first term, which every run begins with.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of steps.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// See [`TestKit::term`].
    pub fn term(&mut self) -> &mut Self {
        self.push(Step::Term)
    }

    /// See [`TestKit::open`].
    pub fn open(&mut self, id: i64) -> &mut Self {
        self.open_as(id, "")
    }

    /// See [`TestKit::open_as`].
    pub fn open_as(&mut self, id: i64, principal: impl AsRef<[u8]>) -> &mut Self {
        self.push(Step::Open { id, principal: principal.as_ref().to_vec() })
    }

    /// See [`TestKit::close`].
    pub fn close(&mut self, id: i64, reason: CloseReason) -> &mut Self {
        self.push(Step::Close { id, reason })
    }

    /// See [`TestKit::message`].
    pub fn message(&mut self, id: i64, payload: impl AsRef<[u8]>) -> &mut Self {
        self.push(Step::Message { id, payload: payload.as_ref().to_vec() })
    }

    /// See [`TestKit::service_message`].
    pub fn service_message(&mut self, payload: impl AsRef<[u8]>) -> &mut Self {
        self.push(Step::ServiceMessage { payload: payload.as_ref().to_vec() })
    }

    /// See [`TestKit::timer`].
    pub fn timer(&mut self, correlation_id: i64) -> &mut Self {
        self.push(Step::Timer { correlation_id })
    }

    /// See [`TestKit::advance_time`].
    pub fn advance_time(&mut self, millis: i64) -> &mut Self {
        self.push(Step::AdvanceTime { millis })
    }

    /// See [`TestKit::fire_timers`].
    pub fn fire_timers(&mut self) -> &mut Self {
        self.push(Step::FireTimers)
    }

    /// See [`TestKit::deliver_offers`].
    pub fn deliver_offers(&mut self) -> &mut Self {
        self.push(Step::DeliverOffers)
    }

    /// See [`TestKit::deliver_closes`].
    pub fn deliver_closes(&mut self) -> &mut Self {
        self.push(Step::DeliverCloses)
    }

    /// See [`TestKit::snapshot`].
    pub fn snapshot(&mut self) -> &mut Self {
        self.push(Step::Snapshot)
    }

    /// Applies all of it.
    pub fn run<S: ClusteredService>(&self, kit: &mut TestKit<S>) {
        self.run_range(0..self.len(), kit);
    }

    pub(crate) fn run_range<S: ClusteredService>(&self, range: std::ops::Range<usize>, kit: &mut TestKit<S>) {
        for step in &self.steps[range] {
            step.apply(kit);
        }
    }

    fn push(&mut self, step: Step) -> &mut Self {
        self.steps.push(step);
        self
    }
}

impl Step {
    fn apply<S: ClusteredService>(&self, kit: &mut TestKit<S>) {
        match self {
            Self::Term => kit.term(),
            Self::Open { id, principal } => kit.open_as(*id, principal),
            Self::Close { id, reason } => kit.close(*id, *reason),
            Self::Message { id, payload } => kit.message(*id, payload),
            Self::ServiceMessage { payload } => kit.service_message(payload),
            Self::Timer { correlation_id } => kit.timer(*correlation_id),
            Self::AdvanceTime { millis } => kit.advance_time(*millis),
            Self::FireTimers => kit.fire_timers(),
            Self::DeliverOffers => kit.deliver_offers(),
            Self::DeliverCloses => kit.deliver_closes(),
            Self::Snapshot => kit.snapshot(),
        };
    }
}
