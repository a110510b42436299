//! How a service agent takes its part of a standby snapshot.

use std::fmt;
use std::str::FromStr;

use consensus_tap::codec::snapshot::{ClientSession, SERVICE_TYPE_ID, SnapshotMark, SnapshotMarker};
use serde::Deserialize;
use service_api::ClusteredService;
use service_api::host::{Egress, ServiceDriver};

use super::snapshot_marks::SnapshotMarks;
use super::snapshot_part::{PartContent, PartSender, SnapshotPoint};
use super::snapshot_stream::snapshot_stream;
use crate::message_buffer::{BufferedWriter, MessageBuffer};

/// Who writes a service's state.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum SnapshotMode {
    /// The service hands out a frozen view, and another thread writes it; one that has none is written as `Inline`.
    #[default]
    View,
    /// The service writes into memory between two messages, and another thread records that.
    Inline,
    /// A second copy of every service, on a thread of its own, writes; the first copies never stop.
    Replica,
}

impl FromStr for SnapshotMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "view" => Ok(Self::View),
            "inline" => Ok(Self::Inline),
            "replica" => Ok(Self::Replica),
            _ => Err(format!("\"{text}\" is not a way to take snapshots: write view, inline or replica")),
        }
    }
}

impl fmt::Display for SnapshotMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::View => "view",
            Self::Inline => "inline",
            Self::Replica => "replica",
        })
    }
}

/// What a service agent needs to take part.
#[derive(Debug)]
pub struct ServiceSnapshots {
    /// When.
    pub marks: SnapshotMarks,
    /// How. Of a replica: as `Replica`, which streams.
    pub mode: SnapshotMode,
    /// In the snapshot's marks, as every member is configured.
    pub app_version: i32,
    /// The longest message that a recording takes, bytes.
    pub message_length_max: usize,
    /// To the snapshot agent.
    pub parts: PartSender,
    /// Whether the log says already that the service has no view.
    pub is_missing_view_told: bool,
}

impl ServiceSnapshots {
    /// Takes the part at `log_position`, up to which the service has applied everything, or says why there is none.
    pub fn take<S: ClusteredService, E: Egress + 'static>(
        &mut self,
        driver: &mut ServiceDriver<S, E>,
        log_position: i64,
    ) {
        if self.parts.is_busy() {
            self.parts.skip(log_position, "the service's part of the snapshot before is still being written");
            return;
        }
        let point = SnapshotPoint {
            log_position,
            leadership_term_id: driver.leadership_term_id().0,
            timestamp: driver.time(),
            time_unit: driver.time_unit(),
        };
        match self.mode {
            SnapshotMode::View => match driver.freeze() {
                Some(view) => {
                    let head = self.head(driver, &point);
                    self.parts.send(point, head, PartContent::Frozen(view));
                }
                None => {
                    if !std::mem::replace(&mut self.is_missing_view_told, true) {
                        tracing::warn!(
                            "the service has no frozen view of its state (`freeze`), so it writes its snapshots itself \
                             and stands still meanwhile, as with snapshot_mode = \"inline\"; \"replica\" would not stop it"
                        );
                    }
                    self.take_inline(driver, &point);
                }
            },
            SnapshotMode::Inline => self.take_inline(driver, &point),
            SnapshotMode::Replica => {
                let (mut writer, reader) = snapshot_stream(self.message_length_max);
                let head = self.head(driver, &point);
                self.parts.send(point, head, PartContent::Stream(reader));
                let result = driver.take_snapshot(&mut writer);
                writer.end(result);
            }
        }
    }

    fn take_inline<S: ClusteredService, E: Egress + 'static>(
        &mut self,
        driver: &mut ServiceDriver<S, E>,
        point: &SnapshotPoint,
    ) {
        let mut writer = BufferedWriter::new(self.message_length_max);
        match driver.take_snapshot(&mut writer).and_then(|()| writer.into_messages()) {
            Ok(messages) => {
                let head = self.head(driver, point);
                self.parts.send(*point, head, PartContent::Messages(messages));
            }
            Err(error) => self.parts.skip(point.log_position, error.to_string()),
        }
    }

    /// What the cluster reads of a service's snapshot: marks around the open sessions.
    fn head<S: ClusteredService, E: Egress + 'static>(
        &self,
        driver: &ServiceDriver<S, E>,
        point: &SnapshotPoint,
    ) -> MessageBuffer {
        let marker = |mark| SnapshotMarker {
            type_id: SERVICE_TYPE_ID,
            log_position: point.log_position,
            leadership_term_id: point.leadership_term_id,
            index: 0,
            mark: Some(mark),
            time_unit: point.time_unit,
            app_version: self.app_version,
        };
        let mut head = MessageBuffer::new();
        head.encode(|out| marker(SnapshotMark::Begin).encode(out));
        for session in driver.sessions() {
            let session = ClientSession {
                cluster_session_id: session.id().0,
                response_stream_id: session.response_stream_id(),
                response_channel: session.response_channel(),
                encoded_principal: session.principal(),
            };
            head.encode(|out| session.encode(out));
        }
        head.encode(|out| marker(SnapshotMark::End).encode(out));
        head
    }
}

#[cfg(test)]
mod tests {
    use consensus_tap::codec::snapshot::SnapshotMessage;
    use service_api::host::StartPoint;
    use service_api::{
        ClientSession as Session, Cluster, ClusterSessionId, LeadershipTermId, LogPosition, MemberId,
        ServiceError, ServiceId, SnapshotReader, SnapshotWriter,
    };

    use super::*;
    use crate::agent::snapshot_part::{PartReceiver, SnapshotPart, part_ring};

    /// Refuses to be written, and has no view.
    struct Stubborn;

    impl ClusteredService for Stubborn {
        fn on_start(
            &mut self,
            _: &Cluster<'_>,
            _: Option<&mut dyn SnapshotReader>,
        ) -> Result<(), ServiceError> {
            Ok(())
        }

        fn on_session_message(&mut self, _: &Cluster<'_>, _: Option<Session<'_>>, _: i64, _: &[u8]) {}

        fn on_take_snapshot(
            &mut self,
            _: &Cluster<'_>,
            snapshot: &mut dyn SnapshotWriter,
        ) -> Result<(), ServiceError> {
            snapshot.write(&vec![1; snapshot.max_message_length() + 1])
        }
    }

    fn driver() -> ServiceDriver<Stubborn> {
        let mut driver = ServiceDriver::without_egress(Stubborn, MemberId(1), ServiceId(0));
        driver.restore_session(ClusterSessionId(3), 102, "aeron:udp?endpoint=a:1", b"me").unwrap();
        let point = StartPoint {
            log_position: LogPosition(640),
            leadership_term_id: LeadershipTermId(2),
            timestamp: 77,
            ..StartPoint::FRESH
        };
        driver.start(point, None).unwrap();
        driver
    }

    fn snapshots(mode: SnapshotMode) -> (ServiceSnapshots, PartReceiver) {
        let (parts, receiver) = part_ring(4);
        let marks = SnapshotMarks::new(false);
        (
            ServiceSnapshots {
                marks,
                mode,
                app_version: 1,
                message_length_max: 64,
                parts,
                is_missing_view_told: false,
            },
            receiver,
        )
    }

    fn reason(receiver: &mut PartReceiver) -> String {
        match receiver.poll() {
            Some(SnapshotPart::Skipped { log_position: 672, reason }) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_service_without_a_view_writes_its_state_itself() {
        let (mut snapshots, mut receiver) = snapshots(SnapshotMode::View);
        snapshots.take(&mut driver(), 672);
        assert!(reason(&mut receiver).contains("65 bytes"), "it was asked to write");
    }

    #[test]
    fn an_error_of_the_service_is_the_reason_and_the_service_goes_on() {
        let (mut snapshots, mut receiver) = snapshots(SnapshotMode::Inline);
        let mut driver = driver();
        snapshots.take(&mut driver, 672);
        assert!(reason(&mut receiver).contains("65 bytes"));
        driver.on_session_message(LogPosition(704), 78, ClusterSessionId(3), b"next").unwrap();
    }

    #[test]
    fn a_part_before_that_is_still_in_hand_is_the_reason_for_none() {
        let (mut snapshots, mut receiver) = snapshots(SnapshotMode::Replica);
        let point = SnapshotPoint {
            log_position: 640,
            leadership_term_id: 2,
            timestamp: 0,
            time_unit: service_api::ClusterTimeUnit::Millis,
        };
        snapshots.parts.send(point, MessageBuffer::new(), PartContent::None);
        let before = receiver.poll();
        snapshots.take(&mut driver(), 672);
        assert!(reason(&mut receiver).contains("still being written"));
        drop(before);
    }

    #[test]
    fn the_head_is_the_marks_and_the_sessions_between_them() {
        let (mut snapshots, mut receiver) = snapshots(SnapshotMode::Replica);
        let taking = std::thread::spawn(move || snapshots.take(&mut driver(), 672));
        let part = loop {
            if let Some(part) = receiver.poll() {
                break part;
            }
            std::thread::yield_now();
        };
        let SnapshotPart::Taken(part) = part else { panic!("{part:?}") };
        assert_eq!(
            (part.point.log_position, part.point.leadership_term_id, part.point.timestamp),
            (672, 2, 77)
        );
        let (head, content, _in_hand) = part.into_content();
        let messages: Vec<_> = head.iter().map(|bytes| SnapshotMessage::decode(bytes).unwrap()).collect();
        let [
            SnapshotMessage::Marker(begin),
            SnapshotMessage::ClientSession(session),
            SnapshotMessage::Marker(end),
        ] = messages[..]
        else {
            panic!("{messages:?}")
        };
        assert_eq!((begin.mark, end.mark), (Some(SnapshotMark::Begin), Some(SnapshotMark::End)));
        assert_eq!((begin.log_position, begin.leadership_term_id, begin.type_id), (672, 2, 2));
        assert_eq!((session.cluster_session_id, session.encoded_principal), (3, &b"me"[..]));
        let PartContent::Stream(stream) = content else { panic!("a replica streams") };
        let error = stream.write(&mut BufferedWriter::new(64)).unwrap_err().to_string();
        assert!(error.contains("65 bytes"), "{error}");
        taking.join().unwrap();
    }
}
