//! Appends the leader's events to the log.

use crate::codec::log::{
    CloseReason, ClusterAction, ClusterActionRequest, NewLeadershipTermEvent, SessionCloseEvent,
    SessionMessage, SessionOpenEvent, TimerEvent,
};
use crate::log::{FramedStream, MessageFramer};

use super::config::LeaderStart;

/// Where the log is recorded: what the node gives the leader to append to.
pub trait LogAppender {
    /// Takes a run of whole frames that begins at `position`, the log's end: within one term, padded to 32
    /// bytes each. Padding that fills a term comes as its header alone, in a run of its own.
    ///
    /// # Errors
    /// [`LogFull`] when it takes nothing now. The same bytes, or others, come again at the same position.
    fn append(&mut self, position: i64, frames: &[u8]) -> Result<(), LogFull>;
}

/// The log takes nothing at the moment: what is durable is too far behind, or the next segment is not there
/// yet. Why is the appender's to know and to report; the leader takes no ingress as long as it lasts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LogFull;

/// Why an event is not in the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum AppendError {
    /// Not now: [`LogFull`], or the log is at the last position there is.
    Full,
    /// No log of these terms takes a message of this length.
    TooLong,
}

/// Frames events and hands them to the log. Timestamps never go back, whatever the clock does.
#[derive(Debug)]
pub(super) struct LogPublisher {
    framer: MessageFramer,
    /// Where the last event ends: padding may follow.
    event_end: i64,
    position_max: i64,
    leadership_term_id: i64,
    timestamp: i64,
    event: Vec<u8>,
}

impl LogPublisher {
    /// A publisher at the end of the log. `timestamp` is that of the last event there.
    pub(super) fn new(start: &LeaderStart, timestamp: i64) -> Self {
        let stream = FramedStream {
            session_id: start.log_session_id,
            stream_id: start.log_stream_id,
            terms: start.terms,
            mtu_length: start.mtu_length,
        };
        Self {
            framer: MessageFramer::new(stream, start.log_position),
            event_end: start.log_position,
            position_max: start.terms.position_max(),
            leadership_term_id: start.leadership_term_id,
            timestamp,
            event: Vec::new(),
        }
    }

    /// End of the log.
    pub(super) fn position(&self) -> i64 {
        self.framer.position()
    }

    /// End of the last event: the end of the log but for padding, behind which the next did not fit in.
    pub(super) fn event_end(&self) -> i64 {
        self.event_end
    }

    /// The longest message that the log takes.
    pub(super) fn message_length_max(&self) -> usize {
        self.framer.message_length_max()
    }

    /// Cluster time as the next events bear it.
    pub(super) fn advance_time(&mut self, cluster_time: i64) -> i64 {
        self.timestamp = self.timestamp.max(cluster_time);
        self.timestamp
    }

    pub(super) fn append_new_term(
        &mut self,
        start: &LeaderStart,
        leader_member_id: i32,
        log: &mut impl LogAppender,
    ) -> Result<i64, AppendError> {
        let length = 8 + usize::from(NewLeadershipTermEvent::BLOCK_LENGTH);
        let event = NewLeadershipTermEvent {
            leadership_term_id: start.leadership_term_id,
            log_position: self.framer.end_of_next(length),
            timestamp: self.timestamp,
            // Where the leader found the log's end, also when padding comes between.
            term_base_log_position: start.log_position,
            leader_member_id,
            log_session_id: start.log_session_id,
            time_unit: start.time_unit,
            app_version: start.app_version,
        };
        self.append_encoded(|out| event.encode(out), log)
    }

    pub(super) fn append_message(
        &mut self,
        cluster_session_id: i64,
        payload: &[u8],
        log: &mut impl LogAppender,
    ) -> Result<i64, AppendError> {
        let header = SessionMessage {
            leadership_term_id: self.leadership_term_id,
            cluster_session_id,
            timestamp: self.timestamp,
            payload: &[],
        }
        .header_bytes();
        self.append([&header, payload], log)
    }

    pub(super) fn append_timer(
        &mut self,
        correlation_id: i64,
        log: &mut impl LogAppender,
    ) -> Result<i64, AppendError> {
        let (leadership_term_id, timestamp) = (self.leadership_term_id, self.timestamp);
        let event = TimerEvent { leadership_term_id, correlation_id, timestamp };
        self.append_encoded(|out| event.encode(out), log)
    }

    /// `event` but for its term and time.
    pub(super) fn append_session_open(
        &mut self,
        event: &SessionOpenEvent<'_>,
        log: &mut impl LogAppender,
    ) -> Result<i64, AppendError> {
        let (leadership_term_id, timestamp) = (self.leadership_term_id, self.timestamp);
        let event = SessionOpenEvent { leadership_term_id, timestamp, ..*event };
        self.append_encoded(|out| event.encode(out), log)
    }

    pub(super) fn append_session_close(
        &mut self,
        cluster_session_id: i64,
        close_reason: CloseReason,
        log: &mut impl LogAppender,
    ) -> Result<i64, AppendError> {
        let (leadership_term_id, timestamp) = (self.leadership_term_id, self.timestamp);
        let event = SessionCloseEvent { leadership_term_id, cluster_session_id, timestamp, close_reason };
        self.append_encoded(|out| event.encode(out), log)
    }

    pub(super) fn append_action(
        &mut self,
        action: ClusterAction,
        flags: i32,
        log: &mut impl LogAppender,
    ) -> Result<i64, AppendError> {
        let length = 8 + usize::from(ClusterActionRequest::BLOCK_LENGTH);
        let event = ClusterActionRequest {
            leadership_term_id: self.leadership_term_id,
            log_position: self.framer.end_of_next(length),
            timestamp: self.timestamp,
            action,
            flags,
        };
        self.append_encoded(|out| event.encode(out), log)
    }

    fn append_encoded(
        &mut self,
        encode: impl FnOnce(&mut Vec<u8>),
        log: &mut impl LogAppender,
    ) -> Result<i64, AppendError> {
        let mut event = std::mem::take(&mut self.event);
        event.clear();
        encode(&mut event);
        let appended = self.append([&event, &[]], log);
        self.event = event;
        appended
    }

    /// Returns where the event ends.
    fn append(&mut self, event: [&[u8]; 2], log: &mut impl LogAppender) -> Result<i64, AppendError> {
        let length = event[0].len() + event[1].len();
        if length > self.framer.message_length_max() {
            return Err(AppendError::TooLong);
        }
        if self.framer.end_of_next(length) > self.position_max {
            return Err(AppendError::Full);
        }
        let appended = self.framer.push(event, |position, frames| log.append(position, frames));
        match appended {
            Ok(()) => {
                self.event_end = self.framer.position();
                Ok(self.event_end)
            }
            Err(LogFull) => Err(AppendError::Full),
        }
    }
}
