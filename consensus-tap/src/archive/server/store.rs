//! What is served: recordings and their bytes, which belong to the runtime.

use crate::archive::Recording;

/// The recordings of this node, as they are now.
pub trait RecordingStore {
    /// Reads one recording.
    type Reader: RecordedFrames;

    /// Every recording that counts, in order of ids. One that is being recorded has no stop position (-1).
    fn recordings(&self) -> &[Recording];

    /// Opens a recording of [`Self::recordings`]; `None` for one that is not there. The reader may outlive the
    /// recording's place in the list.
    fn reader(&self, recording_id: i64) -> Option<Self::Reader>;

    /// How far the cluster's log is known to be committed: what our commit-position counter shows; -1 while there
    /// is no log.
    fn commit_position(&self) -> i64;

    /// The recording of an id.
    fn find(&self, recording_id: i64) -> Option<&Recording> {
        let recordings = self.recordings();
        let index =
            recordings.binary_search_by_key(&recording_id, |recording| recording.recording_id).ok()?;
        recordings.get(index)
    }
}

/// The frames of one recording.
pub trait RecordedFrames: std::fmt::Debug {
    /// Position behind the last frame that is recorded.
    fn end_position(&self) -> i64;

    /// The bytes from position `from` on: as many as lie together, at most up to `to`. Padding takes its whole
    /// length. Empty only when `from == to`.
    ///
    /// Both positions lie between the recording's start and [`Self::end_position`].
    ///
    /// # Errors
    /// Why they cannot be read, in words.
    fn frames(&mut self, from: i64, to: i64) -> Result<&[u8], String>;
}
