//! What a service agent needs to begin: a state, and the log from there on.

use consensus_tap::log::LogReader;
use service_api::host::StartPoint;

use crate::store::recorded_snapshot::RecordedSnapshot;
use crate::store::recording_reader::RecordingReader;

/// The conductor's word to a service agent, once.
#[derive(Debug)]
pub struct ServiceStart {
    /// Where in the log the service stands.
    pub point: StartPoint,
    /// The snapshot that its state comes from, `None` at the beginning of the log.
    pub snapshot: Option<RecordedSnapshot>,
    /// Reads the log's events from that position on.
    pub log_reader: LogReader,
    /// Where the log lies.
    pub log_recording: RecordingReader,
}
