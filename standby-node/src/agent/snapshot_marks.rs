//! At which positions one reader of the log takes part in snapshots.
//!
//! Two things ask for one: an action in the log, which each reader meets at the same position, and a mark that the
//! receiver told every reader of before any could pass it. Both come down to message boundaries, which are the same for
//! all readers; so all take their parts at the same positions without talking to each other.
//!
//! The log may stand still at the end of an action that one reader hears of before a mark there and another after it. So
//! who has spoken of a position does not speak of it again, or the snapshot agent would wait for the others' second
//! words; unless what they said has come to nothing, and the mark says so.

use std::ops::ControlFlow;

use consensus_tap::codec::log::{ClusterAction, ClusterActionRequest};
use consensus_tap::log::{LogReader, PollLimits};

use super::log_ring::LogEnd;

/// One frame a poll: behind a mark, every frame may end a message.
const ONE_FRAME: usize = 1;

/// What one reader has been asked for and not come to yet.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotMarks {
    on_ordinary: bool,
    /// Behind this position the log is ours, and so are the snapshots that it asks for.
    leads_from: i64,
    mark: Option<i64>,
    is_due: bool,
    /// The last position at which a snapshot was due.
    answered_position: i64,
}

impl SnapshotMarks {
    /// Nothing is asked for. `on_ordinary`: also take part in the snapshots that members take for themselves.
    pub fn new(on_ordinary: bool) -> Self {
        Self { on_ordinary, leads_from: i64::MAX, mark: None, is_due: false, answered_position: i64::MIN }
    }

    /// The receiver told of an end.
    #[inline]
    pub fn on_log_end(&mut self, end: &LogEnd) {
        if let Some(mark) = end.snapshot_mark
            && (mark.position > self.answered_position || mark.again_at == Some(self.answered_position))
        {
            self.mark = Some(mark.position);
        }
        if let Some(position) = end.leads_from {
            self.leads_from = position;
        }
    }

    /// An action was read. Where it asks for a snapshot the reader is to stop behind it.
    pub fn on_action(&mut self, action: &ClusterActionRequest) -> ControlFlow<()> {
        let for_standbys = action.flags & ClusterActionRequest::STANDBY_SNAPSHOT != 0;
        let takes_ordinary = self.on_ordinary || action.log_position > self.leads_from;
        let is_asked = action.action == ClusterAction::Snapshot
            && (for_standbys || (action.flags == 0 && takes_ordinary));
        self.is_due |= is_asked;
        if is_asked { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// How far a poll may go that would go to `to` and do as much as `limits`: nowhere while a snapshot is due, up to a
    /// mark, and behind it frame by frame.
    #[inline]
    pub fn bound(&self, reader: &LogReader, to: i64, limits: PollLimits) -> (i64, PollLimits) {
        match self.mark {
            None => (to, limits),
            Some(mark) if reader.applied_position() >= mark => (reader.position(), limits),
            Some(mark) if reader.position() < mark => (to.min(mark), limits),
            Some(_) => (to, PollLimits { frame_count: ONE_FRAME, ..limits }),
        }
    }

    /// Whether a snapshot is due now that the reader has applied everything up to the message boundary
    /// `applied_position`. Answers yes once.
    #[inline]
    pub fn take_due(&mut self, applied_position: i64) -> bool {
        let is_marked = self.mark.is_some_and(|mark| applied_position >= mark);
        if is_marked {
            self.mark = None;
        }
        let is_due = std::mem::take(&mut self.is_due) || is_marked;
        if is_due {
            self.answered_position = applied_position;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use consensus_tap::codec::log::{LogEvent, SessionMessage};
    use consensus_tap::log::{LogStart, MidMessage};
    use consensus_tap::wire::data::{BEGIN, END, HEADER_LENGTH, UNFRAGMENTED};
    use consensus_tap::wire::{DataHeader, FrameType, StreamTerms, TermLength, align};

    use super::*;
    use crate::agent::log_ring::Mark;

    const TERMS: StreamTerms = StreamTerms { initial_term_id: 0, term_length: TermLength::MIN };
    const LIMITS: PollLimits = PollLimits { frame_count: 4096, byte_count: 1 << 20 };

    fn action(flags: i32) -> ClusterActionRequest {
        ClusterActionRequest {
            leadership_term_id: 0,
            log_position: 0,
            timestamp: 0,
            action: ClusterAction::Snapshot,
            flags,
        }
    }

    #[test]
    fn an_action_for_standbys_always_asks_and_an_ordinary_one_if_configured() {
        for on_ordinary in [false, true] {
            let mut marks = SnapshotMarks::new(on_ordinary);
            assert!(marks.on_action(&action(1)).is_break() && marks.take_due(64) && !marks.take_due(64));
            let ordinary = marks.on_action(&action(0)).is_break();
            assert_eq!((ordinary, marks.take_due(96)), (on_ordinary, on_ordinary));
            let suspend = ClusterActionRequest { action: ClusterAction::Suspend, ..action(1) };
            assert!(marks.on_action(&suspend).is_continue() && !marks.take_due(128));
        }
    }

    #[test]
    fn a_node_that_leads_takes_the_ordinary_snapshots_that_it_asked_for_itself() {
        let mut marks = SnapshotMarks::new(false);
        marks.on_log_end(&LogEnd { leads_from: Some(640), ..LogEnd::at(640, 0) });
        let ordinary_at = |log_position| ClusterActionRequest { log_position, ..action(0) };
        assert!(marks.on_action(&ordinary_at(640)).is_continue(), "the last of the leader before");
        assert!(marks.on_action(&ordinary_at(832)).is_break() && marks.take_due(832));
    }

    #[test]
    fn whoever_hears_of_a_mark_before_an_action_that_ends_there_speaks_as_often_as_who_hears_of_it_after() {
        let marked = LogEnd { snapshot_mark: Some(Mark::at(640)), ..LogEnd::at(640, 0) };
        let mut before = SnapshotMarks::new(false);
        before.on_log_end(&marked);
        assert!(before.on_action(&action(1)).is_break() && before.take_due(640) && !before.take_due(640));
        let mut after = SnapshotMarks::new(false);
        assert!(after.on_action(&action(1)).is_break() && after.take_due(640));
        after.on_log_end(&marked);
        assert!(!after.take_due(640));
        // What they said has come to nothing; or something else has, of which only others can have spoken.
        for marks in [&mut before, &mut after] {
            for (again_at, speaks) in [(Some(640), true), (Some(608), false), (None, false)] {
                let mark = Mark { position: 640, again_at };
                marks.on_log_end(&LogEnd { snapshot_mark: Some(mark), ..LogEnd::at(640, 0) });
                assert_eq!(marks.take_due(640), speaks, "{mark:?}");
            }
            marks.on_log_end(&LogEnd { snapshot_mark: Some(Mark::at(672)), ..LogEnd::at(672, 0) });
            assert!(!marks.take_due(640) && marks.take_due(672));
        }
    }

    /// A log of messages in 1 to 4 fragments, with padding at the end of each term.
    fn log() -> Vec<u8> {
        let mut log: Vec<u8> = Vec::new();
        let mut put = |flags: u8, frame_type, payload: &[u8], length: usize| {
            let position = log.len() as i64;
            let header = DataHeader {
                frame_length: length as i32,
                flags,
                frame_type,
                term_offset: TERMS.term_offset(position),
                session_id: 1,
                stream_id: 100,
                term_id: TERMS.term_id(position),
                reserved_value: 0,
            };
            log.extend_from_slice(&header.encode());
            log.extend_from_slice(payload);
            log.resize(position as usize + align(length), 0);
            log.len()
        };
        let mut end = 0;
        for i in 0..200 {
            let mut message = Vec::new();
            SessionMessage { leadership_term_id: 0, cluster_session_id: 1, timestamp: i, payload: &[] }
                .encode(&mut message);
            message.resize(600 + 31 * i as usize % 500, 7);
            let chunks: Vec<&[u8]> = message.chunks(330).collect();
            let room = 65_536 - end % 65_536;
            if room < 2048 {
                end = put(UNFRAGMENTED, FrameType::Pad, &[], room);
            }
            for (at, chunk) in chunks.iter().enumerate() {
                let begin = if at == 0 { BEGIN } else { 0 };
                let last = if at + 1 == chunks.len() { END } else { 0 };
                end = put(begin | last, FrameType::Data, chunk, HEADER_LENGTH + chunk.len());
            }
        }
        log
    }

    /// Reads the log as an agent does, told of these ends, and returns where it took snapshots.
    fn taken(log: &[u8], ends: &[LogEnd]) -> Vec<i64> {
        let mut reader = LogReader::new(LogStart {
            terms: TERMS,
            position: 0,
            leadership_term_id: Some(0),
            mid_message: MidMessage::Reject,
        });
        let mut marks = SnapshotMarks::new(false);
        let mut taken = Vec::new();
        for end in ends {
            marks.on_log_end(end);
            loop {
                let from = reader.position();
                let (to, limits) = marks.bound(&reader, end.position, LIMITS);
                let run = &log[from as usize..to as usize];
                let visit = |_: &LogEvent<'_>, _: i64| ControlFlow::Continue(());
                reader.poll(run, limits, visit).unwrap();
                if marks.take_due(reader.applied_position()) {
                    taken.push(reader.applied_position());
                } else if reader.position() >= end.position {
                    break;
                }
            }
        }
        taken
    }

    /// Starts of all frames.
    fn frame_starts(log: &[u8]) -> Vec<i64> {
        let mut starts = vec![0];
        while let Some(at) = starts.last().copied().filter(|at| (*at as usize) < log.len()) {
            let length = i32::from_le_bytes(log[at as usize..][..4].try_into().unwrap());
            starts.push(at + align(length as usize) as i64);
        }
        starts
    }

    #[test]
    fn readers_that_are_told_of_other_ends_take_their_snapshots_at_the_same_boundaries() {
        let log = log();
        let log_end = log.len() as i64;
        for mark in frame_starts(&log).into_iter().filter(|start| *start < log_end) {
            let at_once = [LogEnd { snapshot_mark: Some(Mark::at(mark)), ..LogEnd::at(log_end, 0) }];
            // One that stood at the mark when it was told, and one that had to wait for the mark and merged ends.
            let standing = [
                LogEnd::at(mark, 0),
                LogEnd { snapshot_mark: Some(Mark::at(mark)), ..LogEnd::at(mark, 0) },
                LogEnd::at(log_end, 0),
            ];
            // One that stood there, and was told of the mark with an end beyond it.
            let standing_and_going_on = [
                LogEnd::at(mark, 0),
                LogEnd { snapshot_mark: Some(Mark::at(mark)), ..LogEnd::at(log_end, 0) },
            ];
            let behind = [
                LogEnd::at(mark / 2 / 32 * 32, 0),
                LogEnd { snapshot_mark: Some(Mark::at(mark)), ..LogEnd::at(log_end, 0) },
            ];
            let expected = taken(&log, &at_once);
            assert_eq!(expected.len(), 1, "mark {mark}");
            assert!(expected[0] >= mark && expected[0] < mark + 2048 + 32, "mark {mark}: {expected:?}");
            assert_eq!(taken(&log, &standing), expected, "mark {mark}");
            assert_eq!(taken(&log, &standing_and_going_on), expected, "mark {mark}");
            if frame_starts(&log).contains(&behind[0].position) {
                assert_eq!(taken(&log, &behind), expected, "mark {mark}");
            }
        }
    }
}
