//! Answers: the handshake, the results of requests, and what an archive tells unasked.

use super::{ArchiveClient, REPLAYS_MAX, Replay, State};
use crate::archive::request::{Pending, Progress};
use crate::archive::{ArchiveEvent, ArchiveFailure, CorrelationId, Recording, RequestKind};
use crate::channel::URI_LENGTH_MAX;
use crate::codec::archive_control::{
    ARCHIVE_ID_VERSION, ArchiveErrorCode, ArchiveIdRequest, Challenge, ChallengeResponse, ControlResponse,
    ControlResponseCode, RecordingDescriptor, RecordingSignalEvent,
};
use crate::codec::message::Secret;

impl ArchiveClient {
    pub(super) fn on_control_response(&mut self, response: &ControlResponse<'_>) {
        if self.is_foreign(response.control_session_id) {
            return;
        }
        match self.state {
            State::Connecting { .. } if response.correlation_id == self.connect_correlation_id => {
                self.control_session_id = Some(response.control_session_id);
                self.on_connect_response(response);
            }
            State::AwaitArchiveId { correlation_id } if response.correlation_id == correlation_id => {
                if self.refused(response) {
                    return;
                }
                self.connected(Some(response.relevant_id));
            }
            State::Connected => self.on_request_response(response),
            _ => self.on_unexpected(response.correlation_id),
        }
    }

    fn on_connect_response(&mut self, response: &ControlResponse<'_>) {
        if self.refused(response) {
            return;
        }
        if response.version < ARCHIVE_ID_VERSION {
            self.connected(None);
            return;
        }
        let correlation_id = self.take_correlation_id();
        let control_session_id = response.control_session_id;
        self.outgoing.push(correlation_id, |out| {
            ArchiveIdRequest { control_session_id, correlation_id }.encode(out);
        });
        self.state = State::AwaitArchiveId { correlation_id };
    }

    /// Whether `response` refuses the session, which has failed then.
    fn refused(&mut self, response: &ControlResponse<'_>) -> bool {
        if response.code == ControlResponseCode::Ok {
            return false;
        }
        // An archive that refuses our version puts the session id where other errors have their code.
        let code = if response.relevant_id == response.control_session_id {
            ArchiveErrorCode::Generic
        } else {
            ArchiveErrorCode::from_relevant_id(response.relevant_id)
        };
        self.fail(ArchiveFailure::Refused { code, message: bounded(response.error_message) });
        true
    }

    pub(super) fn on_challenge(&mut self, challenge: &Challenge<'_>) {
        let is_ours = matches!(self.state, State::Connecting { .. })
            && challenge.correlation_id == self.connect_correlation_id;
        if self.is_foreign(challenge.control_session_id) {
            return;
        }
        if !is_ours {
            self.on_unexpected(challenge.correlation_id);
            return;
        }
        self.control_session_id = Some(challenge.control_session_id);
        let correlation_id = self.take_correlation_id();
        let Some(answer) = self.params.credentials.on_challenge(challenge.encoded_challenge) else {
            self.fail(ArchiveFailure::Challenged);
            return;
        };
        // Whatever was not sent yet is overtaken; an archive that challenges on and on fills no queue.
        self.outgoing.withdraw(self.connect_correlation_id);
        self.outgoing.push(correlation_id, |out| {
            ChallengeResponse {
                control_session_id: challenge.control_session_id,
                correlation_id,
                encoded_credentials: Secret(answer),
            }
            .encode(out);
        });
        self.connect_correlation_id = correlation_id;
        self.state = State::Connecting { was_challenged: true };
    }

    fn connected(&mut self, archive_id: Option<i64>) {
        self.state = State::Connected;
        if let Some(control_session_id) = self.control_session_id {
            self.push_keep_alive(control_session_id);
        }
        self.push_event(ArchiveEvent::Connected { archive_id });
    }

    fn on_request_response(&mut self, response: &ControlResponse<'_>) {
        let correlation_id = response.correlation_id;
        let Some(index) = self.pending.iter().position(|pending| pending.correlation_id == correlation_id)
        else {
            self.on_late_response(response);
            return;
        };
        let Pending { kind, progress, .. } = self.pending.remove(index);
        let is_listing_end =
            kind == RequestKind::ListRecordings && response.code == ControlResponseCode::RecordingUnknown;
        match progress {
            Progress::Listing { found, .. } if is_listing_end => {
                let correlation_id = CorrelationId(correlation_id);
                self.push_event(ArchiveEvent::ListingEnded { correlation_id, count: found });
            }
            _ if response.code != ControlResponseCode::Ok => {
                self.push_event(error_event(kind, response));
            }
            _ => {
                let relevant_id = response.relevant_id;
                match (kind, progress) {
                    (RequestKind::Replay | RequestKind::BoundedReplay, _) => {
                        if self.replays.len() == REPLAYS_MAX {
                            self.replays.pop_front();
                        }
                        self.replays.push_back(Replay {
                            correlation_id,
                            kind,
                            replay_session_id: relevant_id,
                        });
                    }
                    (_, Progress::StopReplay { replay_session_id }) => {
                        self.replays.retain(|replay| replay.replay_session_id != replay_session_id);
                    }
                    _ => {}
                }
                self.push_event(ArchiveEvent::Response {
                    correlation_id: CorrelationId(correlation_id),
                    request: kind,
                    relevant_id,
                });
            }
        }
    }

    /// A replay that was granted may fail afterwards: nobody subscribed, or the recording is broken.
    fn on_late_response(&mut self, response: &ControlResponse<'_>) {
        let correlation_id = response.correlation_id;
        let replay = self.replays.iter().position(|replay| replay.correlation_id == correlation_id);
        match replay {
            Some(index) if response.code != ControlResponseCode::Ok => {
                if let Some(Replay { kind, .. }) = self.replays.remove(index) {
                    self.push_event(error_event(kind, response));
                }
            }
            _ => self.on_unexpected(correlation_id),
        }
    }

    pub(super) fn on_descriptor(&mut self, descriptor: &RecordingDescriptor<'_>, now_ns: u64) {
        if self.is_foreign(descriptor.control_session_id) {
            return;
        }
        let channels = [descriptor.stripped_channel, descriptor.original_channel, descriptor.source_identity];
        if channels.iter().any(|channel| channel.len() > URI_LENGTH_MAX) {
            self.stats.malformed_count += 1;
            return;
        }
        let correlation_id = descriptor.correlation_id;
        let listing = self.pending.iter().position(|pending| pending.correlation_id == correlation_id);
        let Some((index, Progress::Listing { found, wanted })) =
            listing.map(|index| (index, self.pending[index].progress))
        else {
            self.on_unexpected(correlation_id);
            return;
        };
        let found = found + 1;
        let kind = self.pending[index].kind;
        self.push_event(ArchiveEvent::Descriptor {
            correlation_id: CorrelationId(correlation_id),
            recording: Recording::from(descriptor),
        });
        if self.is_over() {
            return;
        }
        if found < wanted {
            // A long listing is alive as long as it goes on.
            self.pending[index].deadline_ns = now_ns.saturating_add(self.params.message_timeout_ns);
            self.pending[index].progress = Progress::Listing { found, wanted };
            return;
        }
        self.pending.remove(index);
        if kind == RequestKind::ListRecordings {
            let correlation_id = CorrelationId(correlation_id);
            self.push_event(ArchiveEvent::ListingEnded { correlation_id, count: found });
        }
    }

    pub(super) fn on_signal(&mut self, signal: &RecordingSignalEvent) {
        if self.is_foreign(signal.control_session_id) {
            return;
        }
        if self.state != State::Connected {
            self.stats.unexpected_count += 1;
            return;
        }
        self.push_event(ArchiveEvent::Signal {
            correlation_id: CorrelationId(signal.correlation_id),
            recording_id: signal.recording_id,
            subscription_id: signal.subscription_id,
            position: signal.position,
            signal: signal.signal,
        });
    }

    fn on_unexpected(&mut self, correlation_id: i64) {
        // The archive repeats its OK until it hears of us; that is no news.
        if correlation_id != self.connect_correlation_id {
            self.stats.unexpected_count += 1;
        }
    }

    fn is_foreign(&mut self, control_session_id: i64) -> bool {
        let is_foreign = self.control_session_id.is_some_and(|ours| ours != control_session_id);
        self.stats.foreign_session_count += u64::from(is_foreign);
        is_foreign
    }
}

/// Bytes of an archive's error message that are kept.
const ERROR_MESSAGE_LENGTH_MAX: usize = 1024;

fn error_event(request: RequestKind, response: &ControlResponse<'_>) -> ArchiveEvent {
    let code = match response.code {
        ControlResponseCode::RecordingUnknown => ArchiveErrorCode::UnknownRecording,
        ControlResponseCode::SubscriptionUnknown => ArchiveErrorCode::UnknownSubscription,
        _ => ArchiveErrorCode::from_relevant_id(response.relevant_id),
    };
    let message = if response.error_message.is_empty() {
        format!("{request}: {code}: {}", response.relevant_id)
    } else {
        bounded(response.error_message)
    };
    let correlation_id = CorrelationId(response.correlation_id);
    ArchiveEvent::Error { correlation_id, request, code, message }
}

/// The codec lets only ASCII through, so every byte is a boundary.
fn bounded(message: &str) -> String {
    message.get(..ERROR_MESSAGE_LENGTH_MAX).unwrap_or(message).to_owned()
}
