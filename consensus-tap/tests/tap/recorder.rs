use super::log::is_same_log;
use consensus_tap::tap::{AppendError, RecordFailed, Recorder, RecordingKey};
use consensus_tap::wire::frames;

/// Recordings in memory, which outlive a standby's restart.
#[derive(Debug, Default)]
pub(crate) struct MemoryRecorder {
    pub(crate) log: Option<MemoryRecording>,
    pub(crate) snapshots: Vec<MemoryRecording>,
    pub(crate) is_disk_full: bool,
}

#[derive(Debug)]
pub(crate) struct MemoryRecording {
    pub(crate) start: i64,
    pub(crate) bytes: Vec<u8>,
    frame_starts: Vec<i64>,
}

impl MemoryRecording {
    pub(crate) fn new(start: i64) -> Self {
        Self { start, bytes: Vec::new(), frame_starts: Vec::new() }
    }

    pub(crate) fn end(&self) -> i64 {
        self.start + self.bytes.len() as i64
    }
}

impl MemoryRecorder {
    pub(crate) fn end(&self) -> i64 {
        self.log.as_ref().map_or(0, MemoryRecording::end)
    }
}

impl Recorder for MemoryRecorder {
    fn append(&mut self, key: RecordingKey, position: i64, bytes: &[u8]) -> Result<(), AppendError> {
        if self.is_disk_full {
            return Err(AppendError::Failed);
        }
        let recording = match key {
            RecordingKey::Log => self.log.as_mut(),
            RecordingKey::Snapshot(index) => self.snapshots.get_mut(index),
        };
        let recording = recording.expect("the tap appends to what was opened");
        assert_eq!(position, recording.end(), "{key}: frames come once and in order");
        let mut at = 0;
        for frame in frames(bytes) {
            let frame = frame.expect("frames come whole");
            assert!(!frame.is_heartbeat());
            recording.frame_starts.push(recording.end());
            let stored = if frame.is_padding() { 32 } else { frame.aligned_length() };
            recording.bytes.extend_from_slice(&bytes[at..at + stored]);
            recording.bytes.resize(recording.bytes.len() + frame.aligned_length() - stored, 0);
            at += stored;
        }
        assert_eq!(at, bytes.len());
        Ok(())
    }

    fn position(&self, key: RecordingKey) -> Option<i64> {
        match key {
            RecordingKey::Log => self.log.as_ref().map(MemoryRecording::end),
            RecordingKey::Snapshot(index) => self.snapshots.get(index).map(MemoryRecording::end),
        }
    }

    fn matches(&mut self, position: i64, frame: &[u8]) -> Result<bool, RecordFailed> {
        let log = self.log.as_ref().expect("the tap compares with a log that is open");
        assert!(position >= log.start && position < log.end());
        let at = (position - log.start) as usize;
        // What lies there need not be a frame's beginning.
        let recorded = log.bytes.get(at..at + frame.len()).unwrap_or_default();
        let is_start = log.frame_starts.binary_search(&position).is_ok();
        let same_length = recorded.get(..8) == frame.get(..8);
        Ok(is_start && same_length && is_same_frame(recorded, frame))
    }

    fn frame_start_at_or_before(&self, position: i64) -> i64 {
        let log = self.log.as_ref().expect("the tap asks about a log that is open");
        if position >= log.end() {
            return log.end();
        }
        let index = log.frame_starts.partition_point(|start| *start <= position);
        index.checked_sub(1).map_or(log.start, |index| log.frame_starts[index])
    }
}

fn is_same_frame(recorded: &[u8], frame: &[u8]) -> bool {
    if frame[6] == 0 {
        recorded[..12] == frame[..12] && recorded[20..] == frame[20..]
    } else {
        is_same_log(recorded, frame)
    }
}
