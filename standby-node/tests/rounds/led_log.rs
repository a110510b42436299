//! The log in a node's directory, and what `audit` must have made of it: computed here once more from its
//! bytes.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use consensus_tap::codec::log::LogEvent;
use consensus_tap::log::{LogReader, LogStart, MidMessage, PollLimits};
use consensus_tap::wire::{DataFrame, StreamTerms, TermLength, data::frames};

const TERM_LENGTH: i32 = 1 << 20;
const FNV_OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x100_0000_01b3;

/// A client's message in the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoggedMessage {
    /// Its client's number.
    pub(crate) number: u64,
    /// Where it ends.
    pub(crate) position: i64,
    /// Cluster time, ms.
    pub(crate) timestamp: i64,
    /// Of a service that has applied it.
    pub(crate) hash: u64,
    /// Of a service that has applied it.
    pub(crate) count: i64,
}

/// A log from its beginning on.
#[derive(Debug)]
pub(crate) struct LedLog {
    /// Of the client, in the order of the log.
    pub(crate) messages: Vec<LoggedMessage>,
    /// Leadership terms, with the positions at which they begin.
    pub(crate) terms: Vec<(i64, i64)>,
    /// Of its last frame.
    pub(crate) end_position: i64,
    by_number: HashMap<u64, usize>,
    /// Behind each event: position, hash, count.
    states: Vec<(i64, u64, i64)>,
}

impl LedLog {
    /// Reads the log of a node that has ended.
    ///
    /// # Panics
    /// If it is not one log, or holds what no log holds.
    pub(crate) fn read(dir: &Path) -> Self {
        let bytes = recorded_bytes(&log_file(&dir.join("archive")));
        let mut frames = frames(&bytes);
        while frames.next().is_some_and(|frame| frame.is_ok()) {}
        let recorded = &bytes[..frames.walked_length()];
        let first = DataFrame::parse(recorded).expect("the first frame");
        let term_length = TermLength::new(TERM_LENGTH).expect("a term length");
        let mut reader = LogReader::new(LogStart {
            terms: StreamTerms { initial_term_id: first.term_id(), term_length },
            position: 0,
            leadership_term_id: None,
            mid_message: MidMessage::Reject,
        });
        let mut log = Self {
            messages: Vec::new(),
            terms: Vec::new(),
            end_position: recorded.len() as i64,
            by_number: HashMap::new(),
            states: vec![(0, FNV_OFFSET_BASIS, 0)],
        };
        let read = reader.poll(recorded, PollLimits::NONE, |event, position| {
            log.apply(event, position);
            ControlFlow::Continue(())
        });
        assert_eq!(read.expect("a log"), recorded.len());
        log
    }

    /// What the last leader appended; of the states before nothing is kept.
    pub(crate) fn into_last_term(mut self) -> Self {
        let &(_, base_position) = self.terms.last().expect("a term");
        self.messages.retain(|message| message.position > base_position);
        self.states.retain(|(position, ..)| *position > base_position);
        let numbers = self.messages.iter().enumerate();
        self.by_number = numbers.map(|(index, message)| (message.number, index)).collect();
        self
    }

    /// A client's message.
    pub(crate) fn message(&self, number: u64) -> Option<&LoggedMessage> {
        self.by_number.get(&number).map(|&index| &self.messages[index])
    }

    /// Hash and count of a service that has applied everything up to `position`.
    pub(crate) fn state_at(&self, position: i64) -> (u64, i64) {
        let behind = self.states.partition_point(|(end, ..)| *end <= position);
        let (_, hash, count) = self.states[behind - 1];
        (hash, count)
    }

    fn apply(&mut self, event: &LogEvent<'_>, position: i64) {
        let &(_, mut hash, mut count) = self.states.last().expect("it begins with one");
        match event {
            LogEvent::SessionMessage(message) => {
                hash = fnv_1a(hash, message.payload);
                count += 1;
                if message.cluster_session_id > 0 {
                    let number = message.payload[8..16].try_into().expect("8 bytes");
                    let number = u64::from_le_bytes(number);
                    self.by_number.insert(number, self.messages.len());
                    let timestamp = message.timestamp;
                    self.messages.push(LoggedMessage { number, position, timestamp, hash, count });
                }
            }
            LogEvent::Timer(timer) => {
                hash = fnv_1a(hash, &timer.correlation_id.to_le_bytes());
                count += 1;
            }
            LogEvent::SessionOpen(open) => hash = fnv_1a(hash, &open.cluster_session_id.to_le_bytes()),
            LogEvent::SessionClose(close) => {
                hash = fnv_1a(hash, &(close.cluster_session_id + 7).to_le_bytes());
            }
            LogEvent::NewLeadershipTerm(term) => {
                self.terms.push((term.leadership_term_id, term.term_base_log_position));
            }
            LogEvent::ClusterAction(_) | LogEvent::Ignored { .. } => {}
        }
        self.states.push((position, hash, count));
    }
}

/// The first segment of the only recording.
fn log_file(archive: &Path) -> PathBuf {
    let files = std::fs::read_dir(archive).expect("an archive").map(|entry| entry.expect("a file").path());
    let first: Vec<PathBuf> = files.filter(|file| file.to_string_lossy().ends_with("-0.rec")).collect();
    let [first] = first.as_slice() else { panic!("one recording: {first:?}") };
    first.clone()
}

/// What the file holds before its first frame that is none. Files are as long as a segment from the start.
fn recorded_bytes(file: &Path) -> Vec<u8> {
    let mut file = File::open(file).expect("a segment");
    let mut bytes = Vec::new();
    loop {
        let before = bytes.len();
        let read = (&mut file).take(TERM_LENGTH as u64).read_to_end(&mut bytes).expect("it can be read");
        let is_empty = bytes[before..].iter().all(|byte| *byte == 0);
        if read == 0 || is_empty {
            return bytes;
        }
    }
}

fn fnv_1a(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME))
}
