//! Once the tap receives from a replay of the log, it never opens a window for an earlier one again.

use consensus_tap::wire::{StatusMessage, status_message};

#[derive(Debug, Default)]
pub(crate) struct Claim {
    sessions: Vec<i32>,
}

impl Claim {
    pub(super) fn on_sent(&mut self, datagram: &[u8], log_stream_id: i32) {
        let Ok(message) = StatusMessage::parse(datagram) else { return };
        let is_plain = message.flags & (status_message::END_OF_STREAM | status_message::SEND_SETUP) == 0;
        if message.stream_id != log_stream_id || !is_plain {
            return;
        }
        if !self.sessions.contains(&message.session_id) {
            self.sessions.push(message.session_id);
        }
        assert_eq!(self.sessions.last(), Some(&message.session_id), "an earlier source is heard again");
    }
}
