//! While the log arrives: the source's position, its signs of life, and what its archive refuses.

use super::consensus_link::Query;
use super::log_replay::OVERLAP_LENGTH;
use super::snapshot_fetch::FetchStep;
use super::{Phase, Recorder, RecordingKey, SECOND_NS, Tap, TapReport, TapState};
use crate::archive::CorrelationId;
use crate::codec::archive_control::ArchiveErrorCode;

/// How long every source may be behind us before an operator is told.
const BEHIND_ALARM_NS: u64 = 60 * SECOND_NS;
/// How often the source is asked whether it is still of the wanted kind; a new term asks at once.
const REFRESH_INTERVAL_NS: u64 = 10 * SECOND_NS;

impl Tap {
    pub(super) fn enter_following(&mut self, position: i64, now_ns: u64) {
        self.timers.heartbeat_ns = now_ns + self.config.heartbeat_interval_ns;
        self.timers.refresh_ns = now_ns + REFRESH_INTERVAL_NS;
        self.timers.source_position_ns = now_ns;
        self.timers.source_alive_ns = now_ns;
        self.timers.progress_ns = now_ns;
        self.timers.progress_position = position;
        self.phase = Phase::Following;
    }

    /// The replay's image is there: what was only asked for has begun.
    pub(super) fn on_replay_image(&mut self, _now_ns: u64) {
        let Some(replay) = &self.replay else { return };
        let replay_position = replay.start_position;
        self.candidates.served();
        self.status.state = TapState::Following;
        self.report(TapReport::Following { member_id: self.status.source_member_id, replay_position });
    }

    pub(super) fn follow(&mut self, now_ns: u64, recorder: &impl Recorder) {
        let Some(replay) = &self.replay else { return };
        let (opened_ns, image_available) = (replay.opened_ns, replay.image_available);
        let (position, verified) = (replay.position(), replay.is_verified());
        if !image_available && now_ns > opened_ns + self.config.message_timeout_ns {
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
        }
    }

    /// A source whose commit is behind our end is a lag as long as its bytes are ours; another may be ahead.
    fn watch_overlap(&mut self, verified: bool, position: i64, now_ns: u64, recorder: &impl Recorder) {
        if verified {
            self.timers.behind_since_ns = None;
            return;
        }
        let since = *self.timers.behind_since_ns.get_or_insert(now_ns);
        if now_ns > since + BEHIND_ALARM_NS {
            self.timers.behind_since_ns = Some(now_ns);
            let end = recorder.position(RecordingKey::Log).unwrap_or(position);
            self.report(TapReport::SourcesBehind { position: end, limit: position });
        }
        if now_ns > self.timers.progress_ns + self.config.response_timeout_ns {
            self.abandon("its committed log ends before ours", now_ns);
        }
    }

    fn watch_silence(&mut self, verified: bool, now_ns: u64) {
        if now_ns > self.timers.source_alive_ns + self.config.source_timeout_ns {
            return self.abandon("its archive answers no more, and its replay stands still", now_ns);
        }
        // A leader cut off from its followers goes on recording what will never be committed; a follower
        // in a snapshot stands still as well. Either way another member may know more.
        let stalled = now_ns > self.timers.progress_ns + self.config.progress_timeout_ns;
        if verified && stalled && self.status.source_position > self.timers.progress_position {
            self.timers.progress_ns = now_ns;
            self.abandon("it records more than it commits, and sends nothing", now_ns);
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
        } else if let Some(replay) =
            self.replay.as_mut().filter(|replay| replay.correlation_id == correlation_id)
        {
            replay.replay_session_id = Some(relevant_id);
        }
    }

    pub(super) fn on_archive_error(
        &mut self,
        correlation_id: CorrelationId,
        code: ArchiveErrorCode,
        message: &str,
        now_ns: u64,
        recorder: &impl Recorder,
    ) {
        if self.position_query == Some(correlation_id) {
            // Not allowed to ask, or the recording is gone; the replay itself will say which.
            self.position_query = None;
            return;
        }
        if self.replay.as_ref().is_some_and(|replay| replay.correlation_id == correlation_id) {
            return self.on_replay_error(code, message, now_ns, recorder);
        }
        let of_fetch = match &self.phase {
            Phase::Fetching(fetch) => match fetch.step {
                FetchStep::Describing { correlation_id: id }
                | FetchStep::Replaying { correlation_id: id, .. } => id == correlation_id,
                FetchStep::Opening { .. } => false,
            },
            Phase::Describing { correlation_id: id } => *id == correlation_id,
            _ => false,
        };
        if of_fetch {
            self.abandon(&format!("its archive refuses: {message} ({code})"), now_ns);
        }
    }

    fn on_replay_error(
        &mut self,
        code: ArchiveErrorCode,
        message: &str,
        now_ns: u64,
        recorder: &impl Recorder,
    ) {
        let limit = limit_position(message);
        let Some(replay) = self.replay.take() else { return };
        self.endpoint.remove_subscription(replay.subscription, now_ns);
        let end = recorder.position(RecordingKey::Log).unwrap_or(0);
        match limit {
            // Our end is above what the source has committed: compare what lies below its limit. It is a lag
            // if that is the same, and the replay then goes on to our end by itself.
            Some(limit) if code == ArchiveErrorCode::InvalidPosition && limit < replay.start_position => {
                let start = recorder.frame_start_at_or_before(limit - OVERLAP_LENGTH);
                if start <= limit {
                    self.begin_replay(start, end, now_ns);
                } else {
                    self.abandon("its committed log ends before ours begins", now_ns);
                }
            }
            _ if code == ArchiveErrorCode::InvalidPosition && message.contains("valid frame") => {
                self.halt(
                    TapState::Diverged,
                    format!(
                        "no frame of the log of member {} begins at position {}, where one of ours does: the \
                         cluster was started anew or from an older state. Our files are kept; `reseed` begins \
                         again from the cluster as it is now",
                        self.status.source_member_id, replay.start_position
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
