//! Puts the messages of a snapshot into the frames of its recording.

use super::message_framer::{FramedStream, MessageFramer};
use super::snapshot_reader::SnapshotKind;
use crate::wire::StreamTerms;

/// The stream that a snapshot's recording holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SnapshotStream {
    /// Whose snapshot: its stream id.
    pub kind: SnapshotKind,
    /// Session of the publication that the recording says it is of.
    pub session_id: i32,
    /// Its terms. Loaders begin at position 0.
    pub terms: StreamTerms,
    /// Longest frame with its header, a multiple of 32 bytes.
    pub mtu_length: i32,
}

impl SnapshotStream {
    /// The MTU that Aeron gives its IPC streams, which members write their snapshots to.
    pub const MTU_LENGTH: i32 = 1408;
}

/// Frames the messages of a snapshot one after the other, from position 0 on.
#[derive(Debug)]
pub struct SnapshotFramer {
    framer: MessageFramer,
}

impl SnapshotFramer {
    /// A framer at position 0.
    ///
    /// # Panics
    /// When the MTU leaves no room for a payload or is no multiple of 32.
    pub fn new(stream: SnapshotStream) -> Self {
        let SnapshotStream { kind, session_id, terms, mtu_length } = stream;
        let stream = FramedStream { session_id, stream_id: kind.stream_id(), terms, mtu_length };
        Self { framer: MessageFramer::new(stream, 0) }
    }

    /// Where the next frame begins; at the end, the recording's stop position.
    pub fn position(&self) -> i64 {
        self.framer.position()
    }

    /// The longest message, in bytes.
    pub fn message_length_max(&self) -> usize {
        self.framer.message_length_max()
    }

    /// Frames a message. `append` takes each run of frames with the position of its first byte: the padding that
    /// fills a term by its header alone, then the message.
    ///
    /// # Errors
    /// That of `append`; the framer is not to be used any more then.
    ///
    /// # Panics
    /// When the message is longer than [`Self::message_length_max`].
    pub fn push<E>(
        &mut self,
        message: &[u8],
        append: impl FnMut(i64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.framer.push([message, &[]], append)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::codec::log::ClusterTimeUnit;
    use crate::codec::snapshot::{ClientSession, SnapshotMark, SnapshotMarker};
    use crate::log::{PollLimits, SnapshotExpectation, SnapshotPart, SnapshotReader};
    use crate::wire::data::{BEGIN, END, HEADER_LENGTH, UNFRAGMENTED};
    use crate::wire::{DataFrame, TermLength, frames};

    const TERMS: StreamTerms = StreamTerms { initial_term_id: 0, term_length: TermLength::MIN };

    fn framer() -> SnapshotFramer {
        SnapshotFramer::new(SnapshotStream {
            kind: SnapshotKind::Service,
            session_id: -5,
            terms: TERMS,
            mtu_length: SnapshotStream::MTU_LENGTH,
        })
    }

    /// The recording that the messages make up, with each padding in its whole length.
    fn framed(messages: &[Vec<u8>]) -> Vec<u8> {
        let mut framer = framer();
        let mut recording = Vec::new();
        for message in messages {
            let pushed: Result<(), Infallible> = framer.push(message, |position, run| {
                recording.resize(position as usize, 0);
                recording.extend_from_slice(run);
                Ok(())
            });
            pushed.unwrap();
        }
        assert_eq!(framer.position(), recording.len() as i64);
        recording
    }

    fn marker(mark: SnapshotMark) -> Vec<u8> {
        let mut out = Vec::new();
        SnapshotMarker {
            type_id: SnapshotKind::Service.type_id(),
            log_position: 640,
            leadership_term_id: 2,
            index: 0,
            mark: Some(mark),
            time_unit: ClusterTimeUnit::Millis,
            app_version: 1,
        }
        .encode(&mut out);
        out
    }

    #[test]
    fn what_is_framed_reads_back_message_by_message() {
        let mut session = Vec::new();
        ClientSession {
            cluster_session_id: 3,
            response_stream_id: 102,
            response_channel: "aeron:udp?endpoint=a:1",
            encoded_principal: b"me",
        }
        .encode(&mut session);
        let mut application: Vec<Vec<u8>> = vec![Vec::new(), vec![1; 1376], vec![2; 1377], vec![3; 8192]];
        // Enough to fill several terms, and not evenly.
        application.extend((0..100).map(|i| vec![i as u8; 1 + i * 61]));
        let mut messages = vec![marker(SnapshotMark::Begin), session, marker(SnapshotMark::End)];
        messages.extend(application.iter().cloned());

        let recording = framed(&messages);
        assert!(recording.len() > 3 * 65_536, "{} bytes are too few for the test", recording.len());
        let mut reader = SnapshotReader::new(
            TERMS,
            SnapshotExpectation {
                kind: SnapshotKind::Service,
                app_version: Some(1),
                time_unit: None,
                log_position: Some((640, 2)),
            },
        );
        let mut read = Vec::new();
        let mut session_count = 0;
        let visited = reader.poll(&recording, PollLimits::NONE, |part| {
            match part {
                SnapshotPart::Application(bytes) => read.push(bytes.to_vec()),
                SnapshotPart::Message(_) => session_count += 1,
                _ => {}
            }
            Ok(())
        });
        visited.unwrap();
        reader.finish().unwrap();
        assert_eq!((read, session_count), (application, 1));
    }

    #[test]
    fn frames_are_those_of_an_ipc_publication() {
        let recording = framed(&[vec![7; 1376 * 2 + 1], vec![8; 5]]);
        let frames: Vec<DataFrame<'_>> = frames(&recording).map(|frame| frame.unwrap()).collect();
        let shape = |frame: &DataFrame<'_>| (frame.frame_length(), frame.flags(), frame.term_offset());
        assert_eq!(
            frames.iter().map(shape).collect::<Vec<_>>(),
            [(1408, BEGIN, 0), (1408, 0, 1408), (33, END, 2816), (37, UNFRAGMENTED, 2880),]
        );
        assert!(frames.iter().all(|frame| frame.stream_id() == 106 && frame.session_id() == -5));
    }

    #[test]
    fn a_message_without_room_in_its_term_begins_in_the_next_behind_padding() {
        let mut framer = framer();
        let mut runs = Vec::new();
        for _ in 0..10 {
            let pushed: Result<(), Infallible> = framer.push(&[1; 7000], |position, run| {
                runs.push((position, run.len()));
                Ok(())
            });
            pushed.unwrap();
        }
        // 5 whole frames and one of 160 bytes: the tenth message would end at 72,000.
        let length = 5 * 1408 + 160;
        assert_eq!(runs[8], (8 * length as i64, length));
        assert_eq!(runs[9], (9 * length as i64, HEADER_LENGTH), "padding comes by its header alone");
        assert_eq!(runs[10], (65_536, length));
    }

    #[test]
    fn a_message_that_fills_its_term_needs_no_padding() {
        let mut framer = framer();
        let mut runs = 0;
        for _ in 0..64 {
            let pushed: Result<(), Infallible> = framer.push(&[1; 1024 - HEADER_LENGTH], |_, _| {
                runs += 1;
                Ok(())
            });
            pushed.unwrap();
        }
        assert_eq!((runs, framer.position()), (64, 65_536));
    }
}
