//! What a service agent needs to begin: a state, and the log from there on.

use consensus_tap::log::LogReader;
use consensus_tap::module::ConsensusModuleState;
use service_api::host::StartPoint;

use crate::store::recorded_snapshot::{Blame, RecordedSnapshot};
use crate::store::recording_reader::RecordingReader;

/// The conductor's words to a service agent: any number of times what to load, then to begin.
///
/// A service begins only when all have loaded the same snapshot set, for an older one needs fresh services.
#[derive(Debug)]
pub enum ServiceOrder {
    /// Load this, into a fresh service if there was an order before. To be answered with a [`ServiceLoaded`].
    Load(Box<ServiceStart>),
    /// Apply the log from there on.
    Begin,
}

/// A service's answer to [`ServiceOrder::Load`]: why it cannot, in words, and whose fault that is.
pub type ServiceLoaded = Result<(), (String, Blame)>;

/// A state and the log behind it.
#[derive(Debug)]
pub struct ServiceStart {
    /// Where in the log the service stands.
    pub point: StartPoint,
    /// The longest message that the service may offer, in bytes.
    pub offer_length_max: usize,
    /// The snapshot that its state comes from, `None` at the beginning of the log.
    pub snapshot: Option<RecordedSnapshot>,
    /// Reads the log's events from that position on.
    pub log_reader: LogReader,
    /// Where the log lies.
    pub log_recording: RecordingReader,
}

/// The same for a module follower on another thread.
#[derive(Debug)]
pub struct ModuleStart {
    /// As every service stands; `None` without services, which a state needs.
    pub state: Option<ConsensusModuleState>,
    /// Reads the log's events from that position on.
    pub log_reader: LogReader,
    /// Where the log lies.
    pub log_recording: RecordingReader,
}
