//! What two states at one position differ in, in words.

use super::ConsensusModuleState;
use super::sessions::{Session, SessionState};
use crate::codec::log::CloseReason;
use std::collections::BTreeMap;
use std::fmt::Display;

/// Fields that a member's own snapshot and our state at the same position may differ in, and why.
/// [`ConsensusModuleState::diff`] passes over them.
pub const LEGITIMATE_DIFFERENCES: &[(&str, &str)] = &[
    ("session.encoded_principal", "a consensus module's snapshot does not hold principals"),
    ("session.time_of_last_activity", "a snapshot always says -1"),
    (
        "session.state, theirs closing by CLIENT_ACTION or TIMEOUT where ours is open",
        "a leader marks such a session before it appends the close event, which no other node can know",
    ),
    ("cluster_time", "a snapshot does not hold it; recording.log does"),
    ("is_suspended", "a snapshot does not hold it"),
    (
        "app_version, but for its major part",
        "each node states its own, and only the major part must be the same",
    ),
    (
        "service.pending_message_capacity",
        "padding in the ring depends on when offers arrived between messages of the log, which differs \
         between nodes",
    ),
    (
        "service.next_service_session_id, with nothing pending",
        "a snapshot corrects it to follow the log's newest; what the service missed is told apart",
    ),
    (
        "pending_message.leadership_term_id and pending_message.timestamp",
        "the first is the term in which the service last heard of a leader, the second a leader's own mark of \
         what it has appended; both are written anew at the append",
    ),
];

/// Lines a kind of item gets before the rest is only counted.
const LINES_MAX: usize = 20;

impl ConsensusModuleState {
    /// What differs between this state and `theirs`, a line each, empty when nothing does that may not:
    /// see [`LEGITIMATE_DIFFERENCES`]. Long lists are cut short and their rest is counted.
    pub fn diff(&self, theirs: &Self) -> Vec<String> {
        let mut lines = Lines::default();
        lines.field("log_position", self.log_position, theirs.log_position);
        lines.field("leadership_term_id", self.leadership_term_id, theirs.leadership_term_id);
        lines.field("app_version major", self.app_version >> 16 & 0xff, theirs.app_version >> 16 & 0xff);
        lines.field("next_session_id", self.next_session_id, theirs.next_session_id);
        lines.field(
            "time_unit",
            format_args!("{:?}", self.time_unit.unwrap_or(crate::codec::log::ClusterTimeUnit::Millis)),
            format_args!("{:?}", theirs.time_unit.unwrap_or(crate::codec::log::ClusterTimeUnit::Millis)),
        );

        let ours_by_id: BTreeMap<i64, &Session> = self.sessions.iter().map(|s| (s.id, s)).collect();
        let theirs_by_id: BTreeMap<i64, &Session> = theirs.sessions.iter().map(|s| (s.id, s)).collect();
        lines.begin_kind("sessions");
        lines.maps("session", &ours_by_id, &theirs_by_id, session_diff);

        lines.begin_kind("timers");
        let deadlines = |state: &Self| state.timers.iter().collect::<BTreeMap<i64, i64>>();
        lines.maps("timer", &deadlines(self), &deadlines(theirs), |ours, theirs| {
            (ours != theirs).then(|| format!("deadline is {ours}, theirs is {theirs}"))
        });

        lines.begin_kind("services");
        lines.field("service count", self.services.len(), theirs.services.len());
        for (ours, theirs) in self.services.iter().zip(&theirs.services) {
            let id = ours.service_id();
            lines.field(
                &format!("service {id}: log_service_session_id"),
                ours.log_service_session_id(),
                theirs.log_service_session_id(),
            );
            lines.field(
                &format!("service {id}: next_service_session_id"),
                ours.corrected_next_service_session_id(),
                theirs.corrected_next_service_session_id(),
            );
            lines.field(
                &format!("service {id}: messages in the log that it never offered"),
                ours.missed_count(),
                theirs.missed_count(),
            );
            lines.begin_kind(&format!("pending messages of service {id}"));
            let pending = |service: &'_ super::PendingMessages| -> BTreeMap<i64, Vec<u8>> {
                service.iter().map(|m| (m.cluster_session_id, m.payload.to_vec())).collect()
            };
            lines.maps(
                &format!("service {id}: pending message"),
                &pending(ours),
                &pending(theirs),
                |ours, theirs| {
                    let at = ours.iter().zip(theirs).position(|(a, b)| a != b);
                    (ours != theirs).then(|| {
                        format!(
                            "payload of {} bytes, theirs of {}, differs from byte {}",
                            ours.len(),
                            theirs.len(),
                            at.unwrap_or(ours.len().min(theirs.len()))
                        )
                    })
                },
            );
        }
        lines.finish()
    }
}

fn session_diff(ours: &&Session, theirs: &&Session) -> Option<String> {
    let mut parts = Vec::new();
    let mut part = |name: &str, ours: &dyn Display, theirs: &dyn Display| {
        let (ours, theirs) = (ours.to_string(), theirs.to_string());
        if ours != theirs {
            parts.push(format!("{name} is {ours}, theirs is {theirs}"));
        }
    };
    part("correlation_id", &ours.correlation_id, &theirs.correlation_id);
    part("opened_log_position", &ours.opened_log_position, &theirs.opened_log_position);
    part("response_stream_id", &ours.response_stream_id, &theirs.response_stream_id);
    part("response_channel", &ours.response_channel, &theirs.response_channel);
    let leader_alone_knows = matches!(
        (ours.state, theirs.state),
        (SessionState::Open, SessionState::Closing(CloseReason::ClientAction | CloseReason::Timeout))
    );
    if !leader_alone_knows {
        part("state", &format_args!("{:?}", ours.state), &format_args!("{:?}", theirs.state));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// The lines so far, bounded for each kind of item.
#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    kind: String,
    kind_count: usize,
}

impl Lines {
    fn begin_kind(&mut self, kind: &str) {
        if self.kind_count > LINES_MAX {
            self.lines.push(format!("{} more differences in {}", self.kind_count - LINES_MAX, self.kind));
        }
        self.kind = kind.to_owned();
        self.kind_count = 0;
    }

    fn push(&mut self, line: impl FnOnce() -> String) {
        self.kind_count += 1;
        if self.kind_count <= LINES_MAX {
            self.lines.push(line());
        }
    }

    fn field(&mut self, name: &str, ours: impl Display, theirs: impl Display) {
        let (ours, theirs) = (ours.to_string(), theirs.to_string());
        if ours != theirs {
            self.push(|| format!("{name} is {ours}, theirs is {theirs}"));
        }
    }

    fn maps<T>(
        &mut self,
        name: &str,
        ours: &BTreeMap<i64, T>,
        theirs: &BTreeMap<i64, T>,
        difference: impl Fn(&T, &T) -> Option<String>,
    ) {
        for (id, our) in ours {
            match theirs.get(id) {
                None => self.push(|| format!("{name} {id} is missing from theirs")),
                Some(their) => {
                    if let Some(difference) = difference(our, their) {
                        self.push(|| format!("{name} {id}: {difference}"));
                    }
                }
            }
        }
        for id in theirs.keys().filter(|id| !ours.contains_key(id)) {
            self.push(|| format!("{name} {id} is missing from ours"));
        }
    }

    fn finish(mut self) -> Vec<String> {
        self.begin_kind("");
        self.lines
    }
}
