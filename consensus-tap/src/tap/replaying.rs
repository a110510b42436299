//! From a described log to a replay that is known to be bounded: refresh, ask, confirm, subscribe.
//!
//! An archive binds a replay to whatever counter has the id that it is given, and ids are recycled when a
//! consensus module restarts. So a member must name the same counter twice, directly before its archive is
//! asked and after the archive answered; until then nothing subscribes to the replay, and its refusal proves nothing.

use super::channels::replay_channel;
use super::consensus_link::Query;
use super::log_replay::{LogReplay, OVERLAP_LENGTH};
use super::{Phase, Recorder, RecordingKey, Source, Tap, TapState, next_random};
use crate::archive::{CorrelationId, ReplayParams};
use crate::codec::archive_control::ArchiveErrorCode;
use crate::image::SubscriptionParams;

/// A bounded replay that was asked for, until the member confirms its counter.
#[derive(Debug)]
pub(super) struct ReplayRequest {
    pub(super) correlation_id: CorrelationId,
    pub(super) answer: Option<ReplayAnswer>,
    session_id: i32,
    limit_counter_id: i32,
    start_position: i64,
    /// Where our log ended.
    end_position: i64,
}

impl ReplayRequest {
    /// The replay's session, if the archive granted it.
    pub(super) fn granted(&self) -> Option<i64> {
        match self.answer {
            Some(ReplayAnswer::Granted { replay_session_id }) => Some(replay_session_id),
            Some(ReplayAnswer::Refused { .. }) | None => None,
        }
    }
}

/// What the archive said.
#[derive(Debug)]
pub(super) enum ReplayAnswer {
    Granted { replay_session_id: i64 },
    Refused { code: ArchiveErrorCode, message: String },
}

impl Tap {
    /// Asks which counter bounds the member's log now. `limit` is where its committed log ended, if that is known to
    /// lie below the end of ours.
    pub(super) fn refresh(&mut self, limit: Option<i64>) {
        self.timers.purged = None;
        if let Some(link) = self.link.as_mut() {
            link.ask(Query::Backup);
        }
        self.status.state = TapState::LogReplay;
        self.phase = Phase::Refreshing { limit };
    }

    /// The member named its counter: asks its archive for the replay.
    pub(super) fn on_refreshed(&mut self, source: Source, now_ns: u64, recorder: &impl Recorder) {
        let Phase::Refreshing { limit } = self.phase else { return };
        let (Some(log), Some(end)) = (self.log.as_ref(), recorder.position(RecordingKey::Log)) else {
            return;
        };
        let compared_from = limit.unwrap_or(end).min(end) - OVERLAP_LENGTH;
        let overlap_start = recorder.frame_start_at_or_before(compared_from);
        let start_position = overlap_start.max(log.start_position);
        if limit.is_some_and(|limit| start_position > limit) {
            self.note_behind(limit.unwrap_or(end), now_ns, recorder);
            return self.abandon("its committed log ends before what can be compared with ours", now_ns);
        }
        let Some(archive) = self.archive.as_mut() else { return };
        let session_id = next_random(&mut self.random) as i32;
        let channel = replay_channel(&self.config.response_endpoint, session_id);
        let params = ReplayParams {
            position: start_position,
            // Frames carry the stream id of the replay, and our recording is described as the source's.
            ..ReplayParams::new(source.log_recording_id, log.stream_id, &channel)
        };
        let limit_counter_id = source.commit_position_counter_id;
        let asked = archive.client.bounded_replay(&params, limit_counter_id, now_ns);
        let Some(correlation_id) = self.asked(asked, now_ns) else { return };
        self.source = Some(source);
        self.phase = Phase::Requesting(Box::new(ReplayRequest {
            correlation_id,
            answer: None,
            session_id,
            limit_counter_id,
            start_position,
            end_position: end,
        }));
    }

    /// The archive answered: whether that counts is for the member to say.
    pub(super) fn on_replay_answer(&mut self, correlation_id: CorrelationId, answer: ReplayAnswer) {
        let Phase::Requesting(request) = &mut self.phase else { return };
        if request.correlation_id == correlation_id && request.answer.is_none() {
            request.answer = Some(answer);
            if let Some(link) = self.link.as_mut() {
                link.ask(Query::Backup);
            }
        }
    }

    /// The member named its counter again.
    pub(super) fn on_confirmed(&mut self, source: Source, now_ns: u64, recorder: &impl Recorder) {
        let Phase::Requesting(request) = &mut self.phase else { return };
        let Some(answer) = request.answer.take() else { return };
        if request.limit_counter_id != source.commit_position_counter_id {
            // Its consensus module was restarted in between, and nobody knows what bounds that replay.
            if let (ReplayAnswer::Granted { replay_session_id }, Some(archive)) = (answer, &mut self.archive)
            {
                let _ = archive.client.stop_replay(replay_session_id, now_ns);
            }
            self.phase = Phase::Refreshing { limit: None };
            return self.on_refreshed(source, now_ns, recorder);
        }
        match answer {
            ReplayAnswer::Granted { replay_session_id } => {
                let Some(log) = &self.log else { return };
                let subscription = self.endpoint.add_subscription(SubscriptionParams {
                    receive_window_length: self.config.receive_window_length,
                    ..SubscriptionParams::of_session(log.stream_id, request.session_id)
                });
                self.replay = Some(LogReplay::new(
                    subscription,
                    request.correlation_id,
                    replay_session_id,
                    request.start_position,
                    request.end_position,
                    now_ns,
                ));
                let start_position = request.start_position;
                self.enter_following(start_position, now_ns);
            }
            ReplayAnswer::Refused { code, message } => {
                let start_position = request.start_position;
                self.on_replay_refused(code, &message, start_position, now_ns);
            }
        }
    }

    fn on_replay_refused(&mut self, code: ArchiveErrorCode, message: &str, start_position: i64, now_ns: u64) {
        match limit_position(message) {
            // Our end is above what the source has committed: compare what lies below its limit. It is a lag
            // if that is the same, and the replay then goes on to our end by itself.
            Some(limit) if code == ArchiveErrorCode::InvalidPosition && limit < start_position => {
                self.refresh(Some(limit));
            }
            _ if code == ArchiveErrorCode::InvalidPosition && message.contains("valid frame") => {
                self.halt(
                    TapState::Diverged,
                    format!(
                        "no frame of the log of member {} begins at position {start_position}, where one of ours \
                         does: the cluster was started anew or from an older state. Our files are kept; `reseed` \
                         begins again from the cluster as it is now",
                        self.status.source_member_id
                    ),
                    now_ns,
                );
            }
            _ => self.abandon(&format!("its archive refuses to replay the log: {message} ({code})"), now_ns),
        }
    }
}

/// The commit position that an archive names when a replay was to begin beyond it; the protocol has no field
/// for it.
fn limit_position(message: &str) -> Option<i64> {
    let (_, rest) = message.split_once("limit position=")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_limit_out_of_the_archives_words() {
        let message = "requested replay start position=1048576 must be less than the limit position=800 for recording 0";
        assert_eq!(limit_position(message), Some(800));
        assert_eq!(limit_position("unknown recording id: 7"), None);
        assert_eq!(limit_position("limit position="), None);
    }
}
