//! Requests: each becomes one message for the control stream, and one wait for its answer.

use super::{ArchiveClient, OUTGOING_MAX, State};
use crate::archive::request::{Pending, Progress, REQUESTS_MAX};
use crate::archive::{CorrelationId, ReplayParams, RequestKind, RequestRefused};
use crate::channel::URI_LENGTH_MAX;
use crate::codec::archive_control::{
    BoundedReplayRequest, FindLastMatchingRecordingRequest, ListRecordingRequest, ListRecordingsRequest,
    MaxRecordedPositionRequest, NULL_VALUE, RecordingPositionRequest, ReplayRequest, StartPositionRequest,
    StopPositionRequest, StopReplayRequest,
};

impl ArchiveClient {
    /// Asks for a recording's descriptor.
    ///
    /// # Errors
    /// [`RequestRefused`], as for every request.
    pub fn list_recording(
        &mut self,
        recording_id: i64,
        now_ns: u64,
    ) -> Result<CorrelationId, RequestRefused> {
        let progress = Progress::Listing { found: 0, wanted: 1 };
        self.request(
            RequestKind::ListRecording,
            progress,
            now_ns,
            |control_session_id, correlation_id, out| {
                ListRecordingRequest { control_session_id, correlation_id, recording_id }.encode(out);
            },
        )
    }

    /// Asks for at most `record_count` descriptors in order of their ids. One listing at a time.
    ///
    /// # Errors
    /// [`RequestRefused`], as for every request.
    pub fn list_recordings(
        &mut self,
        from_recording_id: i64,
        record_count: u16,
        now_ns: u64,
    ) -> Result<CorrelationId, RequestRefused> {
        let progress = Progress::Listing { found: 0, wanted: u32::from(record_count) };
        self.request(
            RequestKind::ListRecordings,
            progress,
            now_ns,
            |control_session_id, correlation_id, out| {
                let record_count = i32::from(record_count);
                ListRecordingsRequest { control_session_id, correlation_id, from_recording_id, record_count }
                    .encode(out);
            },
        )
    }

    /// Asks for the newest recording of a session and stream whose channel contains `channel_fragment`.
    /// The result is its id, or -1.
    ///
    /// # Errors
    /// [`RequestRefused`], as for every request.
    pub fn find_last_matching_recording(
        &mut self,
        min_recording_id: i64,
        channel_fragment: &str,
        stream_id: i32,
        session_id: i32,
        now_ns: u64,
    ) -> Result<CorrelationId, RequestRefused> {
        check_channel(channel_fragment)?;
        let kind = RequestKind::FindLastMatchingRecording;
        self.request(kind, Progress::Plain, now_ns, |control_session_id, correlation_id, out| {
            FindLastMatchingRecordingRequest {
                control_session_id,
                correlation_id,
                min_recording_id,
                session_id,
                stream_id,
                channel: channel_fragment,
            }
            .encode(out);
        })
    }

    /// Asks where a recording begins.
    ///
    /// # Errors
    /// [`RequestRefused`], as for every request.
    pub fn start_position(
        &mut self,
        recording_id: i64,
        now_ns: u64,
    ) -> Result<CorrelationId, RequestRefused> {
        let kind = RequestKind::StartPosition;
        self.request(kind, Progress::Plain, now_ns, |control_session_id, correlation_id, out| {
            StartPositionRequest { control_session_id, correlation_id, recording_id }.encode(out);
        })
    }

    /// Asks where a recording was stopped; the result is -1 while it is active.
    ///
    /// # Errors
    /// [`RequestRefused`], as for every request.
    pub fn stop_position(&mut self, recording_id: i64, now_ns: u64) -> Result<CorrelationId, RequestRefused> {
        let kind = RequestKind::StopPosition;
        self.request(kind, Progress::Plain, now_ns, |control_session_id, correlation_id, out| {
            StopPositionRequest { control_session_id, correlation_id, recording_id }.encode(out);
        })
    }

    /// Asks how far an active recording is; the result is -1 if it is not active.
    ///
    /// # Errors
    /// [`RequestRefused`], as for every request.
    pub fn recording_position(
        &mut self,
        recording_id: i64,
        now_ns: u64,
    ) -> Result<CorrelationId, RequestRefused> {
        let kind = RequestKind::RecordingPosition;
        self.request(kind, Progress::Plain, now_ns, |control_session_id, correlation_id, out| {
            RecordingPositionRequest { control_session_id, correlation_id, recording_id }.encode(out);
        })
    }

    /// Asks how far a recording is: its live position, or where it was stopped. Allocates nothing when
    /// repeated.
    ///
    /// # Errors
    /// [`RequestRefused`], as for every request.
    pub fn max_recorded_position(
        &mut self,
        recording_id: i64,
        now_ns: u64,
    ) -> Result<CorrelationId, RequestRefused> {
        let kind = RequestKind::MaxRecordedPosition;
        self.request(kind, Progress::Plain, now_ns, |control_session_id, correlation_id, out| {
            MaxRecordedPositionRequest { control_session_id, correlation_id, recording_id }.encode(out);
        })
    }

    /// Starts a replay of something that cannot be truncated, such as a snapshot. A member's log must be
    /// replayed with [`Self::bounded_replay`]. The result is the replay's session id.
    ///
    /// # Errors
    /// [`RequestRefused`], as for every request.
    pub fn replay(
        &mut self,
        params: &ReplayParams<'_>,
        now_ns: u64,
    ) -> Result<CorrelationId, RequestRefused> {
        check_channel(params.replay_channel)?;
        let kind = RequestKind::Replay;
        self.request(kind, Progress::Plain, now_ns, |control_session_id, correlation_id, out| {
            ReplayRequest {
                control_session_id,
                correlation_id,
                recording_id: params.recording_id,
                position: params.position,
                length: params.length,
                replay_stream_id: params.replay_stream_id,
                file_io_max_length: params.file_io_max_length,
                replay_token: NULL_VALUE,
                replay_channel: params.replay_channel,
            }
            .encode(out);
        })
    }

    /// Starts a replay that never passes the value of `limit_counter_id`, a counter of the archive's
    /// driver. The archive does not check what it counts, so use the id of a fresh `BackupResponse` of the
    /// same member. The result is the replay's session id.
    ///
    /// # Errors
    /// [`RequestRefused`], as for every request.
    pub fn bounded_replay(
        &mut self,
        params: &ReplayParams<'_>,
        limit_counter_id: i32,
        now_ns: u64,
    ) -> Result<CorrelationId, RequestRefused> {
        check_channel(params.replay_channel)?;
        let kind = RequestKind::BoundedReplay;
        self.request(kind, Progress::Plain, now_ns, |control_session_id, correlation_id, out| {
            BoundedReplayRequest {
                control_session_id,
                correlation_id,
                recording_id: params.recording_id,
                position: params.position,
                length: params.length,
                limit_counter_id,
                replay_stream_id: params.replay_stream_id,
                file_io_max_length: params.file_io_max_length,
                replay_token: NULL_VALUE,
                replay_channel: params.replay_channel,
            }
            .encode(out);
        })
    }

    /// Stops a replay by its session id. The archive answers 0 whether or not there is one.
    ///
    /// # Errors
    /// [`RequestRefused`], as for every request.
    pub fn stop_replay(
        &mut self,
        replay_session_id: i64,
        now_ns: u64,
    ) -> Result<CorrelationId, RequestRefused> {
        let progress = Progress::StopReplay { replay_session_id };
        self.request(RequestKind::StopReplay, progress, now_ns, |control_session_id, correlation_id, out| {
            StopReplayRequest { control_session_id, correlation_id, replay_session_id }.encode(out);
        })
    }

    fn request(
        &mut self,
        kind: RequestKind,
        progress: Progress,
        now_ns: u64,
        encode: impl FnOnce(i64, i64, &mut Vec<u8>),
    ) -> Result<CorrelationId, RequestRefused> {
        let control_session_id = self.open_session()?;
        if self.pending.len() == REQUESTS_MAX {
            return Err(RequestRefused::TooMany);
        }
        let correlation_id = self.take_correlation_id();
        self.outgoing.push(correlation_id, |out| encode(control_session_id, correlation_id, out));
        let deadline_ns = now_ns.saturating_add(self.params.message_timeout_ns);
        self.pending.push(Pending { correlation_id, kind, deadline_ns, progress });
        Ok(CorrelationId(correlation_id))
    }

    fn open_session(&self) -> Result<i64, RequestRefused> {
        if self.state != State::Connected {
            return Err(RequestRefused::NotConnected);
        }
        if self.outgoing.len() >= OUTGOING_MAX {
            return Err(RequestRefused::TooMany);
        }
        self.control_session_id.ok_or(RequestRefused::NotConnected)
    }
}

fn check_channel(channel: &str) -> Result<(), RequestRefused> {
    if channel.len() > URI_LENGTH_MAX { Err(RequestRefused::ChannelTooLong) } else { Ok(()) }
}
