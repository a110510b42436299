use consensus_tap::client::EgressListener;
use consensus_tap::codec::session::{AdminResponse, AdminResponseCode, EventCode, SessionEvent};

/// Keeps what a client heard.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) messages: Vec<Vec<u8>>,
    pub(crate) events: Vec<(EventCode, String)>,
    pub(crate) new_leaders: Vec<(i64, i32)>,
    pub(crate) admin_responses: Vec<(i64, AdminResponseCode)>,
}

impl EgressListener for Heard {
    fn on_message(&mut self, _timestamp: i64, payload: &[u8]) {
        self.messages.push(payload.to_vec());
    }

    fn on_session_event(&mut self, event: &SessionEvent<'_>) {
        self.events.push((event.code, event.detail.to_owned()));
    }

    fn on_new_leader(&mut self, leadership_term_id: i64, leader_member_id: i32, _ingress_endpoints: &str) {
        self.new_leaders.push((leadership_term_id, leader_member_id));
    }

    fn on_admin_response(&mut self, response: &AdminResponse<'_>) {
        self.admin_responses.push((response.correlation_id, response.response_code));
    }
}
