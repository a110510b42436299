//! Sessions whose close event is in the log: what is left to be sent to their clients.
//!
//! Services still handle what came before the close event, and reply to it; so a client hears that its
//! session is closed only once every service has handled that event and its replies are with us: as the last
//! word. A client that closed its session itself hears nothing more.

use super::egress::Egress;
use super::sessions::OpenSession;
use super::{Identity, Leader, LeaderAction};
use crate::codec::log::CloseReason;
use crate::codec::session::EventCode;
use crate::endpoint::Endpoint;

/// How long services' replies are waited for, and then the client, in nanoseconds.
const FAREWELL_NS: u64 = 5_000_000_000;

/// A session that is closed in the log.
#[derive(Debug)]
pub(super) struct LeavingSession {
    pub(super) id: i64,
    pub(super) egress: Egress,
    correlation_id: i64,
    close_reason: CloseReason,
    /// End of its close event.
    closed_position: i64,
    stage: Stage,
    deadline_ns: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// Replies of services may still come.
    Closing,
    /// The client was told, or never will be.
    Told,
}

impl Leader {
    /// Lets a session go whose close event ends at `closed_position`.
    pub(super) fn let_go(
        &mut self,
        mut session: OpenSession,
        (close_reason, closed_position): (CloseReason, i64),
        now_ns: u64,
    ) {
        let OpenSession { id, correlation_id, .. } = session;
        if close_reason == CloseReason::ClientAction || session.egress.is_unreachable() {
            session.egress.close(now_ns, &mut self.endpoint);
            self.actions.push_back(LeaderAction::SessionClosed { cluster_session_id: id, close_reason });
            return;
        }
        session.egress.open_gate(&mut self.endpoint);
        self.leaving.push(LeavingSession {
            id,
            egress: session.egress,
            correlation_id,
            close_reason,
            closed_position,
            stage: Stage::Closing,
            deadline_ns: now_ns.saturating_add(FAREWELL_NS),
        });
    }

    /// Says farewell to clients whose sessions are closed, and ends egress that has said all.
    pub(super) fn advance_leaving(&mut self, now_ns: u64) -> usize {
        let Self { leaving, endpoint, identity, message, actions, replied_position, .. } = self;
        let mut work = 0;
        leaving.retain_mut(|session| {
            work += session.egress.flush(endpoint);
            let is_last = session.closed_position <= *replied_position || now_ns >= session.deadline_ns;
            if session.stage == Stage::Closing && is_last {
                session.tell(now_ns, identity, message, endpoint);
                let LeavingSession { id, close_reason, .. } = *session;
                actions.push_back(LeaderAction::SessionClosed { cluster_session_id: id, close_reason });
                work += 1;
            }
            let is_over = session.stage == Stage::Told
                && (session.egress.backlog_length() == 0 || now_ns >= session.deadline_ns);
            if is_over {
                session.egress.close(now_ns, endpoint);
            }
            !is_over
        });
        work
    }
}

impl LeavingSession {
    /// Whether replies still find it.
    pub(super) fn takes_replies(&self) -> bool {
        self.stage != Stage::Told
    }

    fn tell(&mut self, now_ns: u64, identity: &Identity, message: &mut Vec<u8>, endpoint: &mut Endpoint) {
        let detail = match self.close_reason {
            CloseReason::ClientAction => "CLIENT_ACTION",
            CloseReason::ServiceAction => "SERVICE_ACTION",
            CloseReason::Timeout => "TIMEOUT",
        };
        message.clear();
        identity.session_event((self.id, self.correlation_id), EventCode::Closed, detail).encode(message);
        // One that does not listen will find out by itself.
        let _ = self.egress.offer([message, &[]], endpoint);
        self.stage = Stage::Told;
        self.deadline_ns = now_ns.saturating_add(FAREWELL_NS);
    }
}
