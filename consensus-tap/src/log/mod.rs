//! From recorded bytes to what they say: frame walk, reassembly, decoding, and the checks that a reader of
//! a log or a snapshot owes its consumer.
//!
//! ```text
//!  runs of whole frames ── MessageReader ── whole messages ─┬─ LogReader ──────── LogEvent, end position
//!                                                           └─ SnapshotReader ─── SnapshotPart
//! ```
//! The other way round, a framer makes the frames of a snapshot or of what a leader appends to its log.
//!
//! Nothing is ever stepped over: the first byte that a log cannot hold stops its reader for good, with the
//! position and what was expected there.

mod error;
mod message_framer;
mod message_reader;
mod reader;
mod snapshot_framer;
mod snapshot_reader;
#[cfg(test)]
pub(crate) mod test_frames;

pub(crate) use error::Version;
pub use error::{FrameFault, LogError, LogFault, SnapshotError, SnapshotFault};
pub(crate) use message_framer::{FramedStream, MessageFramer};
pub use message_reader::MidMessage;
pub use reader::{LogReader, LogStart, PollLimits};
pub use snapshot_framer::{SnapshotFramer, SnapshotStream};
pub use snapshot_reader::{SnapshotExpectation, SnapshotKind, SnapshotPart, SnapshotReader};
