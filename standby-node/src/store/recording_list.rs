//! The recordings of this node as its archive serves them: a list that never changes, and a reader for whoever wants
//! one. A changed history makes a new list.

use std::sync::Arc;

use consensus_tap::archive::Recording;
use consensus_tap::archive::server::{RecordedFrames, RecordingStore};

use super::history::RecordingPlace;
use super::recording_reader::RecordingReader;

/// No log is recorded yet.
const NULL_POSITION: i64 = -1;

/// Recordings in order of ids, each with its place.
#[derive(Debug, Default)]
pub struct RecordingList {
    recordings: Vec<Recording>,
    places: Vec<RecordingPlace>,
    /// Index of the cluster's log.
    log: Option<usize>,
}

impl RecordingList {
    /// Adds one.
    ///
    /// # Panics
    /// When its id is not above those that are there: a catalog is in order.
    pub(super) fn push(&mut self, recording: Recording, place: RecordingPlace) {
        assert!(
            self.recordings.last().is_none_or(|last| last.recording_id < recording.recording_id),
            "recordings come in order of ids"
        );
        self.recordings.push(recording);
        self.places.push(place);
    }

    /// Says which of them is the cluster's log.
    pub(super) fn set_log(&mut self, recording_id: Option<i64>) {
        self.log = recording_id.and_then(|id| self.index_of(id));
    }

    /// What others are told of each, in order of ids.
    pub fn list(&self) -> &[Recording] {
        &self.recordings
    }

    fn index_of(&self, recording_id: i64) -> Option<usize> {
        self.recordings.binary_search_by_key(&recording_id, |recording| recording.recording_id).ok()
    }
}

/// The list of the moment.
#[derive(Clone, Debug, Default)]
pub struct ServedRecordings {
    list: Arc<RecordingList>,
}

impl ServedRecordings {
    /// Serves what `list` has.
    pub fn new(list: Arc<RecordingList>) -> Self {
        Self { list }
    }
}

impl RecordingStore for ServedRecordings {
    type Reader = RecordingReader;

    fn recordings(&self) -> &[Recording] {
        &self.list.recordings
    }

    fn reader(&self, recording_id: i64) -> Option<RecordingReader> {
        self.list.index_of(recording_id).map(|index| self.list.places[index].reader())
    }

    /// All that is recorded of the log is committed, and the counter shows no other position.
    fn commit_position(&self) -> i64 {
        self.list.log.map_or(NULL_POSITION, |index| self.list.places[index].end_position())
    }
}

impl RecordedFrames for RecordingReader {
    fn end_position(&self) -> i64 {
        self.published_position()
    }

    fn frames(&mut self, from: i64, to: i64) -> Result<&[u8], String> {
        Self::frames(self, from, to).map_err(|error| error.to_string())
    }
}
