//! The memory behind a tap: recordings that belong to the runtime.

use std::fmt;

/// One of the recordings that a tap fills.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RecordingKey {
    /// The cluster's log.
    Log,
    /// A snapshot recording of the set being fetched, by its index in the set.
    Snapshot(usize),
}

/// The runtime cannot read what it recorded: its file is gone. Details are the runtime's to tell.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RecordFailed;

/// Why frames were not appended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AppendError {
    /// They are none that can follow what is recorded: whoever sent them is at fault, and the recording is as good as
    /// before.
    Misplaced,
    /// The runtime could not take them: its disk is full, its file is gone. Details are the runtime's to tell.
    Failed,
}

/// Where received bytes go, and where earlier ones are compared.
///
/// A recording only ever grows, and only by whole frames at its end; so what lies below
/// [`Self::position`] was received, is contiguous, and for the log is committed.
pub trait Recorder {
    /// Appends whole frames at exactly `position`, which is the recording's end. A padding frame comes as its
    /// header alone and takes its full length.
    ///
    /// # Errors
    /// [`AppendError`]; nothing of the bytes counts as recorded then.
    fn append(&mut self, key: RecordingKey, position: i64, frames: &[u8]) -> Result<(), AppendError>;

    /// The end of a recording, `None` when it is not open.
    fn position(&self, key: RecordingKey) -> Option<i64>;

    /// Whether one frame of the log at `position`, session and stream id aside, is what is recorded there.
    /// `frame` lies wholly below the log's end.
    ///
    /// # Errors
    /// [`RecordFailed`] when the recording cannot be read, which tells nothing about the frame.
    fn matches(&mut self, position: i64, frame: &[u8]) -> Result<bool, RecordFailed>;

    /// The highest known start of a frame of the log at or below `position`; the log's start when `position` lies
    /// before that.
    fn frame_start_at_or_before(&self, position: i64) -> i64;
}

impl fmt::Display for RecordingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log => f.write_str("log"),
            Self::Snapshot(index) => write!(f, "snapshot {index}"),
        }
    }
}
