//! While the log arrives: the source's position, its signs of life, and what its archive refuses.

use super::consensus_link::Query;
use super::replaying::ReplayAnswer;
use super::{Phase, Recorder, RecordingKey, SECOND_NS, Tap, TapReport, TapState};
use crate::archive::{CorrelationId, Recording};
use crate::codec::archive_control::ArchiveErrorCode;
use crate::image::ImageGeometry;

/// How long every source may be behind us before an operator is told.
const BEHIND_ALARM_NS: u64 = 60 * SECOND_NS;
/// A source that neither answers nor sends is left after so many progress timeouts, if there are others.
const UNANSWERED_PROGRESS_TIMEOUTS: u64 = 3;
/// A leader that nobody knows.
const NULL_MEMBER_ID: i32 = -1;
/// How often the source is asked whether it is still of the wanted kind; a new term asks at once.
const REFRESH_INTERVAL_NS: u64 = 10 * SECOND_NS;

/// What a replay's stream has otherwise than the recording that its archive described.
pub(super) fn difference(
    geometry: &ImageGeometry,
    described: &Recording,
    start_position: i64,
) -> Option<String> {
    let (terms, begins) = (geometry.terms, geometry.join_position);
    let (term_length, initial_term_id) = (terms.term_length.bytes(), terms.initial_term_id);
    if (term_length, initial_term_id) != (described.term_buffer_length, described.initial_term_id) {
        return Some(format!(
            "has terms of {term_length} bytes from term {initial_term_id} on, where its archive described {} bytes \
             from term {} on",
            described.term_buffer_length, described.initial_term_id
        ));
    }
    (begins != start_position).then(|| format!("begins at position {begins}, not at {start_position}"))
}

impl Tap {
    pub(super) fn enter_following(&mut self, position: i64, now_ns: u64) {
        self.timers.heartbeat_ns = now_ns + self.config.heartbeat_interval_ns;
        self.timers.refresh_ns = now_ns + REFRESH_INTERVAL_NS;
        self.timers.source_position_ns = now_ns;
        self.timers.source_alive_ns = now_ns;
        self.timers.answered_ns = now_ns;
        self.timers.progress_ns = now_ns;
        self.timers.progress_position = position;
        self.source_recorded_position = None;
        self.watch.on_source(self.config.fetch_snapshots);
        self.phase = Phase::Following;
    }

    /// The replay's image is there: what was only asked for has begun, if it is what was asked for.
    pub(super) fn on_replay_image(&mut self, geometry: ImageGeometry, now_ns: u64) {
        let (Some(replay), Some(log)) = (&self.replay, &self.log) else { return };
        let replay_position = replay.start_position;
        if let Some(difference) = difference(&geometry, log, replay_position) {
            return self.abandon(&format!("its replay of the log {difference}"), now_ns);
        }
        self.candidates.served();
        self.status.state = TapState::Following;
        self.report(TapReport::Following { member_id: self.status.source_member_id, replay_position });
    }

    pub(super) fn follow(&mut self, now_ns: u64, recorder: &impl Recorder) {
        let Some(replay) = &self.replay else { return };
        let (position, verified) = (replay.position(), replay.is_verified());
        let received = replay.image.and_then(|key| self.endpoint.image_hwm_position(key)).unwrap_or(position);
        let recorded = recorder.position(RecordingKey::Log).unwrap_or(position);
        self.status.received_position = received.max(recorded);
        let opened_ns = replay.opened_ns;
        if replay.image.is_none() && now_ns > opened_ns + self.config.message_timeout_ns {
            return self.abandon("its replay of the log did not begin", now_ns);
        }
        if position > self.timers.progress_position {
            self.timers.progress_position = position;
            self.timers.progress_ns = now_ns;
            self.timers.source_alive_ns = now_ns;
        }
        self.watch_overlap(verified, position, now_ns, recorder);
        self.watch_silence(verified, now_ns);
        if matches!(self.phase, Phase::Following) {
            self.ask_around(now_ns);
            self.watch_snapshots(now_ns, recorder);
        }
    }

    /// A source whose commit is behind our end is a lag as long as its bytes are ours; another may be ahead.
    fn watch_overlap(&mut self, verified: bool, position: i64, now_ns: u64, recorder: &impl Recorder) {
        if verified {
            self.timers.behind_since_ns = None;
            return;
        }
        self.note_behind(position, now_ns, recorder);
        if now_ns > self.timers.progress_ns + self.config.response_timeout_ns {
            self.abandon("its committed log ends before ours", now_ns);
        }
    }

    /// A source's committed log ends at `limit`, below the end of ours: an alarm when that lasts.
    pub(super) fn note_behind(&mut self, limit: i64, now_ns: u64, recorder: &impl Recorder) {
        let since = *self.timers.behind_since_ns.get_or_insert(now_ns);
        if now_ns > since + BEHIND_ALARM_NS {
            self.timers.behind_since_ns = Some(now_ns);
            let position = recorder.position(RecordingKey::Log).unwrap_or(limit);
            self.report(TapReport::SourcesBehind { position, limit });
        }
    }

    fn watch_silence(&mut self, verified: bool, now_ns: u64) {
        if now_ns > self.timers.source_alive_ns + self.config.source_timeout_ns {
            return self.abandon("its archive answers no more, and its replay stands still", now_ns);
        }
        // A leader cut off from its followers goes on recording what will never be committed; a follower
        // in a snapshot stands still as well. Either way another member may know more.
        let stalled = now_ns > self.timers.progress_ns + self.config.progress_timeout_ns;
        let records_more =
            self.source_recorded_position.is_some_and(|recorded| recorded > self.timers.progress_position);
        if verified && stalled && records_more {
            return self.abandon("it records more than it commits, and sends nothing", now_ns);
        }
        // So does a member in a snapshot; but one that is cut off from its cluster does it for ever.
        let patience_ns = UNANSWERED_PROGRESS_TIMEOUTS * self.config.progress_timeout_ns;
        let heard_ns = self.timers.answered_ns.max(self.timers.progress_ns);
        // A standby that has lost its own source still has an archive, and answers for ever.
        let source_knows_no_leader =
            self.source.as_ref().is_some_and(|source| source.leader_member_id == NULL_MEMBER_ID);
        let has_others = self.source.as_ref().is_some_and(|source| source.consensus_endpoints.len() > 1);
        if !has_others || !self.candidates.is_choice() {
            return;
        }
        if now_ns > heard_ns + patience_ns {
            self.abandon("it neither answers queries nor sends anything", now_ns);
        } else if source_knows_no_leader && now_ns > self.timers.progress_ns + patience_ns {
            self.abandon("it knows no leader and sends nothing", now_ns);
        }
    }

    fn ask_around(&mut self, now_ns: u64) {
        if now_ns >= self.timers.source_position_ns {
            self.timers.source_position_ns = now_ns + self.config.source_position_interval_ns;
            if self.position_query.is_none()
                && let (Some(archive), Some(source)) = (self.archive.as_mut(), self.source.as_ref())
            {
                // Refused only when so many requests wait that their time-outs will tell.
                self.position_query =
                    archive.client.max_recorded_position(source.log_recording_id, now_ns).ok();
            }
        }
        let Some(link) = self.link.as_mut().filter(|link| link.is_idle()) else { return };
        if now_ns >= self.timers.refresh_ns {
            self.timers.refresh_ns = now_ns + REFRESH_INTERVAL_NS;
            link.ask(Query::Backup);
        } else if now_ns >= self.timers.heartbeat_ns {
            self.timers.heartbeat_ns = now_ns + self.config.heartbeat_interval_ns;
            link.ask(Query::Heartbeat);
        }
    }

    pub(super) fn on_archive_response(
        &mut self,
        correlation_id: CorrelationId,
        relevant_id: i64,
        now_ns: u64,
    ) {
        if self.position_query == Some(correlation_id) {
            self.position_query = None;
            self.status.source_position = relevant_id;
            self.status.source_position_ns = now_ns;
            self.source_recorded_position = Some(relevant_id);
        } else if self.fetch.as_ref().is_some_and(|fetch| fetch.waits_for(correlation_id)) {
            self.on_snapshot_replay(correlation_id, relevant_id);
        } else {
            self.on_replay_answer(correlation_id, ReplayAnswer::Granted { replay_session_id: relevant_id });
        }
    }

    pub(super) fn on_archive_error(
        &mut self,
        correlation_id: CorrelationId,
        code: ArchiveErrorCode,
        message: String,
        now_ns: u64,
    ) {
        if self.position_query == Some(correlation_id) {
            // Not allowed to ask, or the recording is gone; the replay itself will say which.
            self.position_query = None;
            return;
        }
        if self.replay.as_ref().is_some_and(|replay| replay.correlation_id == correlation_id) {
            return self.abandon(&format!("its replay of the log failed: {message} ({code})"), now_ns);
        }
        let refusal = |message: &str| format!("its archive refuses: {message} ({code})");
        if self.fetch.as_ref().is_some_and(|fetch| fetch.waits_for(correlation_id)) {
            return self.fetch_failed(&refusal(&message), now_ns);
        }
        match &self.phase {
            Phase::Requesting(_) => {
                self.on_replay_answer(correlation_id, ReplayAnswer::Refused { code, message });
            }
            Phase::Describing { correlation_id: asked } if *asked == correlation_id => {
                self.abandon(&refusal(&message), now_ns);
            }
            _ => {}
        }
    }
}
