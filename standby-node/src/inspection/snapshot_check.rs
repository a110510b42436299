//! Reads the recordings of a snapshot set to their ends, as loaders do, and says what is in them.

use std::path::PathBuf;

use consensus_tap::codec::snapshot::{ClientSession, SnapshotMarker, SnapshotMessage};
use consensus_tap::file::catalog::Catalog;
use consensus_tap::file::recording_log::SnapshotSet;
use consensus_tap::file::segment::FRAME_HEADER_LENGTH;
use consensus_tap::log::{SnapshotExpectation, SnapshotKind, SnapshotPart};
use consensus_tap::module::{ConsensusModuleState, ModuleLoader, SERVICE_COUNT_MAX};
use consensus_tap::wire::{StreamTerms, TermLength};

use super::recording_check::{Depth, RecordingFault, check_recording};
use super::{InspectionError, NodeFiles};
use crate::store::recorded_snapshot::{LoadError, RecordedSnapshot};
use crate::store::recording_reader::RecordingReader;
use crate::sys::mapped::Published;

/// What is wrong with a snapshot, and where.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotFault {
    /// Its recording.
    #[error("recording {recording_id}: {source}")]
    Recording {
        /// Which.
        recording_id: i64,
        /// What.
        source: RecordingFault,
    },
    /// The set or its recording is not to be had.
    #[error(transparent)]
    Inspection(#[from] InspectionError),
    /// Its recording was never completed, or does not begin at 0.
    #[error(
        "{}: recording {recording_id} runs from {start_position} to {stop_position}, a snapshot's from 0 to its end",
        path.display()
    )]
    Incomplete {
        /// The catalog.
        path: PathBuf,
        /// Which recording.
        recording_id: i64,
        /// Where it begins.
        start_position: i64,
        /// Where it ends, -1 for never.
        stop_position: i64,
    },
    /// More services than a node hosts.
    #[error("the set names {0} services, a node hosts at most {SERVICE_COUNT_MAX}")]
    ServiceCount(usize),
    /// What it holds.
    #[error("{}, recording {recording_id}: {source}", path.display())]
    Content {
        /// Its first segment file.
        path: PathBuf,
        /// Which recording.
        recording_id: i64,
        /// What is wrong.
        source: LoadError,
    },
}

/// A service's snapshot, as far as it is the cluster's and not the service's own.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServiceContent {
    /// The service.
    pub service_id: usize,
    /// Its recording.
    pub recording_id: i64,
    /// Bytes of the recording.
    pub length: i64,
    /// Ids of its sessions, ascending as written.
    pub session_ids: Vec<i64>,
    /// How many messages the service wrote itself.
    pub application_message_count: u64,
    /// Bytes of those.
    pub application_length: u64,
}

/// Reads the consensus module's snapshot of a set: markers, content, and the invariants that loading demands.
///
/// # Errors
/// [`SnapshotFault`].
pub fn read_module(
    files: &NodeFiles,
    catalog: &Catalog,
    set: &SnapshotSet,
) -> Result<ConsensusModuleState, SnapshotFault> {
    if set.services.len() > SERVICE_COUNT_MAX {
        return Err(SnapshotFault::ServiceCount(set.services.len()));
    }
    let recording = SnapshotRecording::open(files, catalog, set.consensus_module)?;
    let marker = recording.first_marker()?;
    let mut loader = ModuleLoader::new(set.services.len(), marker.map_or(0, |marker| marker.app_version));
    recording
        .reader(SnapshotKind::ConsensusModule, set)
        .read_all(|part| loader.on_part(part))
        .map_err(|source| recording.content_fault(source))?;
    Ok(loader.finish())
}

/// Reads a service's snapshot of a set.
///
/// # Errors
/// [`SnapshotFault`].
///
/// # Panics
/// When the set has no such service.
pub fn read_service(
    files: &NodeFiles,
    catalog: &Catalog,
    set: &SnapshotSet,
    service_id: usize,
) -> Result<ServiceContent, SnapshotFault> {
    let recording_id = set.services[service_id];
    let recording = SnapshotRecording::open(files, catalog, recording_id)?;
    let mut content = ServiceContent {
        service_id,
        recording_id,
        length: recording.stop_position,
        session_ids: Vec::new(),
        application_message_count: 0,
        application_length: 0,
    };
    recording
        .reader(SnapshotKind::Service, set)
        .read_all(|part| {
            match part {
                SnapshotPart::Message(SnapshotMessage::ClientSession(ClientSession {
                    cluster_session_id,
                    ..
                })) => content.session_ids.push(cluster_session_id),
                SnapshotPart::Application(bytes) => {
                    content.application_message_count += 1;
                    content.application_length += bytes.len() as u64;
                }
                SnapshotPart::Begin(_) | SnapshotPart::Message(_) | SnapshotPart::End(_) => {}
            }
            Ok(())
        })
        .map_err(|source| recording.content_fault(source))?;
    Ok(content)
}

/// A snapshot's recording whose frames were found whole up to the catalog's stop position.
struct SnapshotRecording {
    archive: PathBuf,
    geometry: consensus_tap::file::segment::RecordingGeometry,
    stop_position: i64,
}

impl SnapshotRecording {
    fn open(files: &NodeFiles, catalog: &Catalog, recording_id: i64) -> Result<Self, SnapshotFault> {
        let record = files.record(catalog, recording_id)?;
        let descriptor = &record.descriptor;
        let (start_position, stop_position) = (descriptor.start_position, descriptor.stop_position);
        let check =
            check_recording(&files.archive(), &files.catalog_path(), record, Depth::EverySegment, false);
        // A segment that is missing behind the data troubles tools, not a loader.
        if !check.faults.iter().all(RecordingFault::is_repairable) {
            let source = check.into_first_fault();
            return Err(SnapshotFault::Recording { recording_id, source });
        }
        if start_position != 0 || descriptor.is_active() {
            let path = files.catalog_path();
            return Err(SnapshotFault::Incomplete { path, recording_id, start_position, stop_position });
        }
        let geometry = check.geometry.expect("a recording without a fault has a shape");
        Ok(Self { archive: files.archive(), geometry, stop_position })
    }

    fn recording(&self) -> RecordingReader {
        RecordingReader::new(&self.archive, self.geometry, Published::new(self.stop_position))
    }

    /// The marker in the first frame. `None` for anything else: the reader then says what is wrong.
    fn first_marker(&self) -> Result<Option<SnapshotMarker>, SnapshotFault> {
        let mut recording = self.recording();
        let frames =
            recording.frames(0, self.stop_position).map_err(|error| self.content_fault(error.into()))?;
        match frames.get(FRAME_HEADER_LENGTH..).map(SnapshotMessage::decode) {
            Some(Ok(SnapshotMessage::Marker(marker))) => Ok(Some(marker)),
            _ => Ok(None),
        }
    }

    /// Expects what recording.log says. Which version of the application the node is configured with is not known here.
    fn reader(&self, kind: SnapshotKind, set: &SnapshotSet) -> RecordedSnapshot {
        let terms = StreamTerms {
            initial_term_id: self.geometry.initial_term_id(),
            term_length: TermLength::new(self.geometry.term_length())
                .expect("a geometry's term length is valid"),
        };
        let expectation = SnapshotExpectation {
            kind,
            app_version: None,
            time_unit: None,
            log_position: Some((set.log_position, set.leadership_term_id)),
        };
        RecordedSnapshot::new(self.recording(), terms, self.stop_position, expectation)
    }

    fn content_fault(&self, source: LoadError) -> SnapshotFault {
        let path = self.archive.join(self.geometry.segment_name(self.geometry.first_segment_base()));
        SnapshotFault::Content { path, recording_id: self.geometry.recording_id(), source }
    }
}
