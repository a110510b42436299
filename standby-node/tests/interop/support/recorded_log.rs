//! The cluster's log as a node recorded it, a member of Java or a node of ours: read from its files.

use std::fs;
use std::ops::{ControlFlow, Range};
use std::path::Path;

use consensus_tap::codec::log::LogEvent;
use consensus_tap::file::catalog::Catalog;
use consensus_tap::file::recording_log::RecordingLog;
use consensus_tap::log::{LogReader, LogStart, MidMessage, PollLimits};
use consensus_tap::wire::{StreamTerms, TermLength};

/// Whole frames from where the recording begins to where its data ends.
pub(crate) struct RecordedLog {
    start_position: i64,
    terms: StreamTerms,
    bytes: Vec<u8>,
}

impl RecordedLog {
    /// Reads the log of the node in this directory. It may run, and end farther at once.
    ///
    /// # Panics
    /// If there is none.
    pub(crate) fn read(dir: &Path) -> Self {
        let rows = fs::read(dir.join("cluster/recording.log")).expect("recording.log");
        let rows = RecordingLog::parse(rows).expect("a recording log");
        let recording_id = rows.log_recording_id().expect("a log");
        let archive = dir.join("archive");
        let catalog = fs::read(archive.join("archive.catalog")).expect("a catalog");
        let catalog = Catalog::parse(&catalog).expect("a catalog");
        let descriptor = &catalog.find(recording_id).expect("the log's recording").descriptor;
        let terms = StreamTerms {
            initial_term_id: descriptor.initial_term_id,
            term_length: TermLength::new(descriptor.term_buffer_length).expect("a term length"),
        };

        let segments = fs::read_dir(&archive).expect("an archive's directory").filter_map(|entry| {
            let path = entry.expect("a file").path();
            let (id, base) = path.file_name()?.to_str()?.strip_suffix(".rec")?.split_once('-')?;
            let base: i64 = base.parse().ok()?;
            (id.parse() == Ok(recording_id)).then_some((base, path))
        });
        let mut segments: Vec<_> = segments.collect();
        segments.sort();
        let mut bytes = Vec::new();
        for (base, path) in segments {
            let segment = fs::read(path).expect("a segment");
            let begin = (descriptor.start_position - base).max(0) as usize;
            bytes.extend_from_slice(&segment[begin..]);
        }
        let mut log = Self { start_position: descriptor.start_position, terms, bytes };
        let mut end = 0;
        while let Some(length) = log.frame_length(end) {
            // Whoever sent the bytes left its session in each frame.
            log.bytes[end + 12..end + 16].fill(0);
            end += length.next_multiple_of(32);
        }
        log.bytes.truncate(end);
        log
    }

    /// Where the data ends.
    pub(crate) fn end_position(&self) -> i64 {
        self.start_position + self.bytes.len() as i64
    }

    /// The bytes between two positions, session ids left out.
    ///
    /// # Panics
    /// If they are not there.
    pub(crate) fn bytes(&self, positions: Range<i64>) -> &[u8] {
        let index = |position: i64| usize::try_from(position - self.start_position).expect("in the log");
        &self.bytes[index(positions.start)..index(positions.end)]
    }

    /// Length and flags of the frame at a position.
    ///
    /// # Panics
    /// If none begins there.
    pub(crate) fn frame(&self, position: i64) -> (usize, u8) {
        let at = usize::try_from(position - self.start_position).expect("in the log");
        let length = self.frame_length(at).unwrap_or_else(|| panic!("no frame at {position}"));
        (length, self.bytes[at + 5])
    }

    /// What `find` makes of the events, with the position at which each ends.
    ///
    /// # Panics
    /// If these are no frames of a log.
    pub(crate) fn events<T>(&self, mut find: impl FnMut(&LogEvent<'_>, i64) -> Option<T>) -> Vec<T> {
        let mut reader = LogReader::new(LogStart {
            terms: self.terms,
            position: self.start_position,
            leadership_term_id: None,
            mid_message: MidMessage::Skip,
        });
        let mut found = Vec::new();
        let read = reader.poll(&self.bytes, PollLimits::NONE, |event, position| {
            found.extend(find(event, position));
            ControlFlow::Continue(())
        });
        assert_eq!(read, Ok(self.bytes.len()), "it is read to its end");
        found
    }

    fn frame_length(&self, at: usize) -> Option<usize> {
        let bytes = self.bytes.get(at..at + 4)?.try_into().expect("four bytes");
        usize::try_from(i32::from_le_bytes(bytes)).ok().filter(|length| *length > 0)
    }
}
