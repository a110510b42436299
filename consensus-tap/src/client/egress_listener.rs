use crate::codec::session::{AdminResponse, SessionEvent};

/// What the cluster sends to a session, as Aeron's `EgressListener` hears it. Only what is meant for the
/// client's own session comes here. Bytes are borrowed from the network's buffers, for the call only. A
/// closure hears the messages alone.
pub trait EgressListener {
    /// A message of a service. `timestamp` is the cluster's time when it was sent, in the cluster's own unit.
    fn on_message(&mut self, timestamp: i64, payload: &[u8]);

    /// News of the session; the code `Closed` is its end.
    fn on_session_event(&mut self, event: &SessionEvent<'_>) {
        let _ = event;
    }

    /// Another member leads, and the session goes on with it. Of what was offered before and has no reply,
    /// some may be in the log and some may be lost.
    fn on_new_leader(&mut self, leadership_term_id: i64, leader_member_id: i32, ingress_endpoints: &str) {
        let _ = (leadership_term_id, leader_member_id, ingress_endpoints);
    }

    /// The outcome of a request for an operator's action.
    fn on_admin_response(&mut self, response: &AdminResponse<'_>) {
        let _ = response;
    }
}

impl<F: FnMut(i64, &[u8])> EgressListener for F {
    fn on_message(&mut self, timestamp: i64, payload: &[u8]) {
        self(timestamp, payload);
    }
}
