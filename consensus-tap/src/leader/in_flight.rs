//! What was appended and is not applied yet, so that nothing is appended twice.

use std::collections::{HashSet, VecDeque};

use super::log_publisher::{AppendError, LogAppender, LogPublisher};
use crate::module::{ConsensusModuleState, PendingMessages, RingPosition};

/// The most timers that fire in one duty cycle, and messages of one service that are appended: as in Aeron.
const POLL_LIMIT: usize = 20;

/// Timers whose event is in the log and not applied.
///
/// The applied state has them still, and they are due; so they are passed over by id. If such a timer was
/// moved before its event is applied, the state decides what the event means; it is due again behind that, or
/// not.
#[derive(Debug, Default)]
pub(super) struct TimerFirings {
    /// End of the event, and the timer, in the order of the log.
    appended: VecDeque<(i64, i64)>,
    correlation_ids: HashSet<i64>,
    /// All that is due up to here was fired, as long as no timer was scheduled since.
    fired_up_to: Option<(i64, i64)>,
    schedule_count: u64,
}

impl TimerFirings {
    /// Fires timers that are due at `cluster_time`, the earliest first, and returns how many.
    pub(super) fn fire(
        &mut self,
        state: &ConsensusModuleState,
        cluster_time: i64,
        publisher: &mut LogPublisher,
        log: &mut impl LogAppender,
    ) -> usize {
        self.retire(state.log_position());
        let timers = state.timers();
        if self.schedule_count != timers.schedule_count() {
            self.schedule_count = timers.schedule_count();
            self.fired_up_to = None;
        }
        let mut fired_count = 0;
        for (deadline, correlation_id) in timers.due(self.fired_up_to, cluster_time) {
            if !self.correlation_ids.contains(&correlation_id) {
                if fired_count == POLL_LIMIT {
                    break;
                }
                let Ok(position) = publisher.append_timer(correlation_id, log) else { break };
                self.appended.push_back((position, correlation_id));
                self.correlation_ids.insert(correlation_id);
                fired_count += 1;
            }
            self.fired_up_to = Some((deadline, correlation_id));
        }
        fired_count
    }

    fn retire(&mut self, applied_position: i64) {
        while let Some(&(position, correlation_id)) = self.appended.front()
            && position <= applied_position
        {
            self.appended.pop_front();
            self.correlation_ids.remove(&correlation_id);
            // It may be due once more, if it was moved.
            self.fired_up_to = None;
        }
    }
}

/// How far the services' pending messages are in the log.
#[derive(Debug)]
pub(super) struct ServiceAppends {
    services: Vec<Appended>,
}

#[derive(Debug)]
struct Appended {
    /// Session id of the newest message in the log.
    session_id: i64,
    /// Behind that message among those that are pending: what is appended and not applied is not walked over in
    /// each cycle.
    place: RingPosition,
    /// The next cannot be appended, which was said.
    is_stuck: bool,
}

/// A message that a service offered and that no log of these terms takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Unappendable {
    pub(super) service_id: usize,
    pub(super) length: usize,
}

impl ServiceAppends {
    pub(super) fn new(state: &ConsensusModuleState) -> Self {
        let appended = |service: &PendingMessages| Appended {
            session_id: service.log_service_session_id(),
            place: RingPosition::default(),
            is_stuck: false,
        };
        Self { services: state.services().iter().map(appended).collect() }
    }

    /// Appends messages that the log does not hold, in order for each service, and returns how many. A service
    /// whose next message no log takes stays behind from then on, and the others go on: `on_unappendable` is
    /// told once.
    pub(super) fn append(
        &mut self,
        state: &ConsensusModuleState,
        publisher: &mut LogPublisher,
        log: &mut impl LogAppender,
        mut on_unappendable: impl FnMut(Unappendable),
    ) -> usize {
        let mut count = 0;
        for (service, appended) in state.services().iter().zip(&mut self.services) {
            let newest = appended.session_id;
            if service.next_service_session_id().wrapping_sub(1) <= newest || appended.is_stuck {
                continue;
            }
            let pending = service.iter_from(appended.place);
            let pending = pending.skip_while(|(message, _)| message.cluster_session_id <= newest);
            for (message, next) in pending.take(POLL_LIMIT) {
                match publisher.append_message(message.cluster_session_id, message.payload, log) {
                    Ok(_) => {}
                    Err(AppendError::Full) => return count,
                    Err(AppendError::TooLong) => {
                        appended.is_stuck = true;
                        let (service_id, length) = (service.service_id(), message.payload.len());
                        on_unappendable(Unappendable { service_id, length });
                        break;
                    }
                }
                appended.session_id = message.cluster_session_id;
                appended.place = next;
                count += 1;
            }
        }
        count
    }
}
