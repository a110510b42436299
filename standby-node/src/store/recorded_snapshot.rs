//! A snapshot recording in our archive, as its loaders read it.

use consensus_tap::codec::snapshot::SnapshotMessage;
use consensus_tap::log::{
    LogError, PollLimits, SnapshotError, SnapshotExpectation, SnapshotFault, SnapshotPart, SnapshotReader,
};
use consensus_tap::wire::StreamTerms;
use service_api::host::{Egress, ServiceDriver};
use service_api::{ClusterSessionId, ClusterTimeUnit, ClusteredService, ServiceError};

use super::history::HistoryError;
use super::recording_reader::RecordingReader;
use super::segment::SegmentError;
use super::snapshot_checksum::{ChecksumError, SnapshotChecksum};

/// One frame a poll: a loader takes one part at a time.
const ONE_FRAME: PollLimits = PollLimits { frame_count: 1, byte_count: usize::MAX };

/// Reads one snapshot recording from its start to its stop position.
#[derive(Debug)]
pub struct RecordedSnapshot {
    recording: RecordingReader,
    stop_position: i64,
    reader: SnapshotReader,
    time_unit: Option<ClusterTimeUnit>,
    message: Vec<u8>,
    /// Why the service was told that it cannot read on.
    fault: Option<LoadError>,
    /// Of what was read.
    hasher: crc32fast::Hasher,
    hashed_position: i64,
}

/// Why a snapshot cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It is not in the archive, or not as a recording can be.
    #[error(transparent)]
    History(#[from] Box<HistoryError>),
    /// Its files cannot be read.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// It is not what was written.
    #[error(transparent)]
    Checksum(#[from] ChecksumError),
    /// Its content is not what it should be.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The service refuses it.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The log is not the one that it is of.
    #[error("the log does not go on from there: {0}")]
    Log(#[from] LogError),
}

/// Whose fault it is that a snapshot cannot be loaded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Blame {
    /// Its own: it never will be.
    Snapshot,
    /// Its own or the service's, which a snapshot that is loaded decides.
    SnapshotOrService,
    /// The machine's, or the log's: another start may load it.
    Neither,
}

impl LoadError {
    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Segment(_) | Self::Checksum(ChecksumError::Segment(_)) | Self::Log(_) => Blame::Neither,
            Self::History(_) | Self::Checksum(_) | Self::Snapshot(_) => Blame::Snapshot,
            Self::Service(_) => Blame::SnapshotOrService,
        }
    }
}

impl RecordedSnapshot {
    /// A reader at the start of a recording that ends at `stop_position`.
    pub fn new(
        recording: RecordingReader,
        terms: StreamTerms,
        stop_position: i64,
        expectation: SnapshotExpectation,
    ) -> Self {
        let reader = SnapshotReader::new(terms, expectation);
        let hashed_position = recording.geometry().start_position();
        let hasher = crc32fast::Hasher::new();
        Self {
            recording,
            stop_position,
            reader,
            time_unit: None,
            message: Vec::new(),
            fault: None,
            hasher,
            hashed_position,
        }
    }

    /// Why a service could not load it: its own words, unless it was this that could not be read.
    pub fn load_error(&mut self, told: ServiceError) -> LoadError {
        self.fault.take().unwrap_or(LoadError::Service(told))
    }

    /// Visits every part, to the end.
    ///
    /// # Errors
    /// [`LoadError`] where the recording is not a whole snapshot, or the visitor refuses a part.
    pub fn read_all(
        mut self,
        mut visit: impl FnMut(SnapshotPart<'_>) -> Result<(), SnapshotFault>,
    ) -> Result<(), LoadError> {
        while self.poll(PollLimits::NONE, &mut visit)? {}
        self.reader.finish()?;
        self.check()
    }

    /// Reads what nobody has read yet, and compares all of it with the checksum that was written with it, if one was. What
    /// was loaded counts only then.
    ///
    /// # Errors
    /// [`LoadError::Checksum`], [`LoadError::Segment`].
    pub fn check(&mut self) -> Result<(), LoadError> {
        let geometry = *self.recording.geometry();
        let archive = self.recording.directory().to_owned();
        let checksum = SnapshotChecksum::read(&archive, &geometry, self.stop_position)?;
        let Some(checksum) = checksum else { return Ok(()) };
        while self.hashed_position < self.stop_position {
            let rest = self.recording.frames(self.hashed_position, self.stop_position)?;
            self.hasher.update(rest);
            self.hashed_position += rest.len() as i64;
        }
        Ok(checksum.compare(self.hasher.clone().finalize(), &archive, &geometry)?)
    }

    /// Puts the snapshot's sessions into the driver's table; what the service itself wrote comes next.
    ///
    /// # Errors
    /// [`LoadError`] where the recording is not a service's snapshot.
    pub fn restore_sessions<S: ClusteredService, E: Egress + 'static>(
        &mut self,
        driver: &mut ServiceDriver<S, E>,
    ) -> Result<(), LoadError> {
        let mut refused = None;
        let mut time_unit = None;
        while !self.reader.is_done() {
            let more = self.poll(ONE_FRAME, &mut |part| {
                match part {
                    SnapshotPart::Begin(marker) => time_unit = Some(marker.time_unit),
                    SnapshotPart::Message(SnapshotMessage::ClientSession(session)) => {
                        refused = driver
                            .restore_session(
                                ClusterSessionId(session.cluster_session_id),
                                session.response_stream_id,
                                session.response_channel,
                                session.encoded_principal,
                            )
                            .err();
                    }
                    SnapshotPart::Message(_) | SnapshotPart::End(_) | SnapshotPart::Application(_) => {}
                }
                Ok(())
            })?;
            if let Some(error) = refused {
                return Err(error.into());
            }
            if !more && !self.reader.is_done() {
                self.reader.finish()?;
            }
        }
        self.time_unit = time_unit;
        Ok(())
    }

    /// The unit of cluster time in the snapshot, once its sessions are restored.
    pub fn time_unit(&self) -> Option<ClusterTimeUnit> {
        self.time_unit
    }

    /// Reads on; false at the end of the recording.
    fn poll(
        &mut self,
        limits: PollLimits,
        visit: &mut impl FnMut(SnapshotPart<'_>) -> Result<(), SnapshotFault>,
    ) -> Result<bool, LoadError> {
        let position = self.reader.position();
        if position >= self.stop_position {
            return Ok(false);
        }
        let run = self.recording.frames(position, self.stop_position)?;
        // A consensus module's snapshot ends with its END marker, whatever stands behind it.
        let goes_on = self.reader.poll(run, limits, visit)? > 0;
        let read_length = (self.reader.position() - position) as usize;
        self.hasher.update(&run[..read_length]);
        self.hashed_position = self.reader.position();
        Ok(goes_on)
    }

    fn next_message(&mut self) -> Result<bool, LoadError> {
        let mut message = std::mem::take(&mut self.message);
        let mut found = false;
        while !found {
            let more = self.poll(ONE_FRAME, &mut |part| {
                if let SnapshotPart::Application(bytes) = part {
                    message.clear();
                    message.extend_from_slice(bytes);
                    found = true;
                }
                Ok(())
            })?;
            if !more {
                break;
            }
        }
        self.message = message;
        if !found {
            self.reader.finish()?;
            self.check()?;
        }
        Ok(found)
    }
}

/// The service's own messages, behind the END marker.
impl service_api::SnapshotReader for RecordedSnapshot {
    fn read(&mut self) -> Result<Option<&[u8]>, ServiceError> {
        match self.next_message() {
            Ok(true) => Ok(Some(&self.message)),
            Ok(false) => Ok(None),
            Err(error) => {
                let told = ServiceError::new(error.to_string());
                self.fault = Some(error);
                Err(told)
            }
        }
    }
}
