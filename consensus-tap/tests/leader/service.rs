//! A service that does everything a service can, decided by what it is sent alone.

use std::collections::BTreeMap;

use consensus_tap::codec::log::LogEvent;
use consensus_tap::module::{ConsensusModuleState, ServiceEmission};
use service_api::{LogPosition, ServiceId};

/// What it did, for the checks.
#[derive(Debug, Default)]
pub(crate) struct Service {
    /// Timers that were scheduled and not cancelled, and how often each fired.
    pub(crate) timers: BTreeMap<i64, u64>,
    /// Messages that it offered, and those that came back.
    pub(crate) offered: Vec<Vec<u8>>,
    pub(crate) came_back: Vec<Vec<u8>>,
    /// Numbers of the clients' messages, by session.
    pub(crate) messages: BTreeMap<i64, Vec<u64>>,
}

/// A reply: session, cluster time, payload.
pub(crate) type Reply = (i64, i64, Vec<u8>);

impl Service {
    /// Handles an event that was applied at `position`, and returns the reply.
    pub(crate) fn on_event(
        &mut self,
        event: &LogEvent<'_>,
        position: i64,
        state: &mut ConsensusModuleState,
    ) -> Option<Reply> {
        let mut emit = |emission: ServiceEmission<'_>| {
            state.on_emission(ServiceId(0), LogPosition(position), emission).expect("it has room");
        };
        match event {
            LogEvent::SessionMessage(message) if message.cluster_session_id < 0 => {
                self.came_back.push(message.payload.to_vec());
                None
            }
            LogEvent::SessionMessage(message) => {
                let session = message.cluster_session_id;
                let head = message.payload.first_chunk().expect("a number stands first");
                let number = u64::from_le_bytes(*head);
                self.messages.entry(session).or_default().push(number);
                let correlation_id = session << 32 | number as i64;
                if number.is_multiple_of(7) {
                    let deadline = message.timestamp + number as i64 % 300;
                    emit(ServiceEmission::ScheduleTimer { correlation_id, deadline });
                    self.timers.insert(correlation_id, 0);
                }
                if number % 7 == 3 {
                    // One that most likely did not fire yet.
                    emit(ServiceEmission::ScheduleTimer { correlation_id, deadline: message.timestamp + 50 });
                    emit(ServiceEmission::CancelTimer { correlation_id });
                }
                if number.is_multiple_of(5) {
                    let offer = format!("{session} {number}").into_bytes();
                    emit(ServiceEmission::Offer(&offer));
                    self.offered.push(offer);
                }
                Some((session, message.timestamp, message.payload.to_vec()))
            }
            LogEvent::Timer(timer) => {
                let fired = self.timers.get_mut(&timer.correlation_id).expect("it was scheduled");
                *fired += 1;
                None
            }
            _ => None,
        }
    }
}
