//! From the first member that listens to an open session.

use super::{ClientState, ClusterClient, ConnectFailure, ConnectStep, State};
use crate::codec::message::Secret;
use crate::codec::session::{CLUSTER_PROTOCOL_VERSION, SessionConnectRequest};
use crate::publication::OfferError;

/// How far the request for a session is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connecting {
    deadline_ns: u64,
    step: Step,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Step {
    /// Some member, or the one we were sent to, has to listen first.
    AwaitPublication,
    /// A message waits to be sent.
    Send,
    AwaitResponse,
}

impl Connecting {
    pub(super) fn new(deadline_ns: u64) -> Self {
        Self { deadline_ns, step: Step::AwaitPublication }
    }

    /// Another member is to be asked.
    pub(super) fn start_over(&mut self) {
        self.step = Step::AwaitPublication;
    }

    /// There is something else to send.
    pub(super) fn send(&mut self) {
        self.step = Step::Send;
    }
}

impl ClusterClient {
    pub(super) fn state_of_connecting(&mut self, change: impl FnOnce(&mut Connecting)) {
        if let State::Connecting(connecting) = &mut self.state {
            change(connecting);
        }
    }

    pub(super) fn go_on_connecting(&mut self) -> usize {
        let State::Connecting(connecting) = self.state else { return 0 };
        if self.now_ns >= connecting.deadline_ns {
            let failure = ConnectFailure::Timeout {
                timeout_ns: self.config.message_timeout_ns,
                step: self.connect_step(connecting.step),
                endpoints: self.ingress.endpoints_in_words(),
            };
            return self.finish(failure.into());
        }
        let mut work = 0;
        if connecting.step == Step::AwaitPublication && self.ingress.choose(&self.endpoint) {
            self.make_connect_request();
            self.state_of_connecting(Connecting::send);
            work += 1;
        }
        if matches!(self.state, State::Connecting(Connecting { step: Step::Send, .. })) {
            work += self.send_next();
        }
        work
    }

    fn make_connect_request(&mut self) {
        let correlation_id = self.session.expect_answer();
        let client_info = format!("name={} version={}", self.config.client_name, env!("CARGO_PKG_VERSION"));
        let mut message = std::mem::take(&mut self.session.outgoing);
        message.clear();
        SessionConnectRequest {
            correlation_id,
            response_stream_id: self.config.egress_stream_id,
            version: CLUSTER_PROTOCOL_VERSION,
            response_channel: &self.config.egress_channel,
            encoded_credentials: Secret(self.session.credentials().initial()),
            client_info: &client_info,
        }
        .encode(&mut message);
        self.session.outgoing = message;
    }

    fn send_next(&mut self) -> usize {
        let Some(publication) = self.ingress.publication() else { return 0 };
        match self.endpoint.offer(publication, &self.session.outgoing) {
            Ok(_) => {
                self.state_of_connecting(|connecting| connecting.step = Step::AwaitResponse);
                1
            }
            Err(OfferError::BackPressured) => 0,
            Err(OfferError::MessageTooLong) => {
                let length = self.session.outgoing.len();
                self.finish(ConnectFailure::TooLong { length }.into())
            }
            Err(OfferError::NotConnected | OfferError::Closed | OfferError::PositionMax) => {
                self.finish(ConnectFailure::Disconnected.into())
            }
        }
    }

    fn connect_step(&self, step: Step) -> ConnectStep {
        debug_assert_eq!(self.state(), ClientState::Connecting);
        match step {
            Step::AwaitPublication => self.ingress.step(),
            Step::Send => ConnectStep::Send,
            Step::AwaitResponse => ConnectStep::AwaitResponse,
        }
    }
}
