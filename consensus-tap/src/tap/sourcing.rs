//! The steps from a list of endpoints to a described log: query, connect, fetch, describe.

use super::archive_link::ArchiveLink;
use super::candidates::Verdict;
use super::config::ReplayStart;
use super::consensus_link::{ConsensusLink, LinkFault, Query};
use super::snapshot_fetch::check_shape;
use super::{
    Phase, Recorder, RecordingKey, Routing, Source, SourceError, Tap, TapAction, TapReport, TapState,
    next_random,
};
use crate::archive::{ArchiveEvent, CorrelationId, Recording, RequestRefused};
use crate::codec::consensus::{BackupResponse, ConsensusMessage};
use crate::codec::session::{EventCode, SessionEvent};

impl Tap {
    /// Asks the current candidate.
    pub(super) fn query(&mut self, now_ns: u64) {
        let endpoint = self.config.reached_at(self.candidates.current());
        let token = next_random(&mut self.random);
        self.link = Some(ConsensusLink::new(endpoint.clone(), token, now_ns, &self.config));
        self.actions.push_back(TapAction::Resolve { token, endpoint });
        self.status.state = TapState::BackupQuery;
        self.phase = Phase::Querying;
    }

    pub(super) fn drive_link(&mut self, now_ns: u64) {
        let Some(link) = self.link.as_mut() else { return };
        let next = &mut self.next_correlation_id;
        let correlation_id = || {
            *next += 1;
            *next
        };
        match link.on_timeout(&mut self.endpoint, &self.config, correlation_id, now_ns) {
            Ok(()) => {}
            // Its archive and replay say whether a source that answers no query still serves us.
            Err(LinkFault::NoAnswer) if matches!(self.phase, Phase::Following | Phase::Fetching) => {}
            Err(fault) => self.abandon(fault.in_words(), now_ns),
        }
    }

    pub(super) fn drive_archive(&mut self, now_ns: u64, recorder: &mut impl Recorder) {
        let Some(archive) = self.archive.as_mut() else { return };
        if let Err(reason) = archive.on_timeout(&mut self.endpoint, now_ns) {
            return self.abandon(reason, now_ns);
        }
        while let Some(event) = self.archive.as_mut().and_then(ArchiveLink::poll_event) {
            self.on_archive_event(event, now_ns, recorder);
        }
    }

    /// Takes what the inbox holds.
    pub(super) fn on_messages(&mut self, now_ns: u64, recorder: &mut impl Recorder) {
        let mut inbox = std::mem::take(&mut self.inbox);
        inbox.drain(|key, bytes| {
            if key.subscription == self.consensus_subscription {
                self.on_consensus_message(bytes, now_ns, recorder);
            } else if let Some(archive) =
                self.archive.as_mut().filter(|archive| archive.subscription == key.subscription)
            {
                // Only the archive that knows our session answers here. A consensus module answers also when its
                // whole member was restarted, and with it the archive that replayed to us.
                self.timers.source_alive_ns = now_ns;
                archive.client.on_message(bytes, now_ns);
            }
        });
        self.inbox = inbox;
    }

    fn on_consensus_message(&mut self, bytes: &[u8], now_ns: u64, recorder: &mut impl Recorder) {
        match ConsensusMessage::decode(bytes) {
            Ok(ConsensusMessage::BackupResponse(response)) => {
                let link = self.link.as_mut();
                if link.and_then(|link| link.take_answered(response.correlation_id)).is_some() {
                    self.timers.answered_ns = now_ns;
                    self.on_backup_response(&response, now_ns, recorder);
                }
            }
            Ok(ConsensusMessage::HeartbeatResponse(response)) => {
                let link = self.link.as_mut();
                if link.and_then(|link| link.take_answered(response.correlation_id)).is_some() {
                    self.timers.answered_ns = now_ns;
                    self.status.heartbeat_responses += 1;
                }
            }
            Ok(ConsensusMessage::SessionEvent(event)) => self.on_session_event(&event, now_ns),
            Ok(ConsensusMessage::Challenge(challenge)) => {
                let new_correlation_id = self.correlation_id();
                let credentials = &self.config.cluster_credentials;
                let answered = self
                    .link
                    .as_mut()
                    .is_none_or(|link| link.on_challenge(&challenge, credentials, new_correlation_id));
                if !answered {
                    self.abandon("it challenges our credentials: set `challenge_answer`", now_ns);
                }
            }
            Ok(_) => {}
            Err(_) => self.status.invalid_messages += 1,
        }
    }

    fn on_session_event(&mut self, event: &SessionEvent<'_>, now_ns: u64) {
        if matches!(event.code, EventCode::Ok | EventCode::Closed) {
            // Says nothing about a query: its answer is still to come.
            return;
        }
        let Some(query) = self.link.as_mut().and_then(|link| link.take_answered(event.correlation_id)) else {
            return;
        };
        self.timers.answered_ns = now_ns;
        match (query, event.code) {
            // Members before 1.49 authorise no heartbeat: the refusal shows that they live.
            (Query::Heartbeat, _) => self.status.heartbeat_responses += 1,
            (Query::Backup, EventCode::AuthenticationRejected) => {
                let detail = event.detail;
                self.abandon(
                    &format!(
                        "it rejects our credentials ({detail}): check `credentials` and `challenge_answer`, and \
                         that the member's authorisation service allows BackupQuery"
                    ),
                    now_ns,
                );
            }
            (Query::Backup, _) => {
                let detail = event.detail;
                self.abandon(&format!("it refuses our backup query: {detail}"), now_ns);
            }
        }
    }

    fn on_backup_response(
        &mut self,
        response: &BackupResponse<'_>,
        now_ns: u64,
        recorder: &mut impl Recorder,
    ) {
        if matches!(self.phase, Phase::Following)
            && let Some(source) = self.source.as_ref().filter(|source| source.is_as_in(response))
        {
            // The log may have told of a leader since; the member knows best.
            self.status.leader_member_id = source.leader_member_id;
            self.watch.on_told();
            return;
        }
        let source = match Source::from_response(response, self.config.member_id) {
            Ok(source) => source,
            Err(error @ (SourceError::OwnId(_) | SourceError::FollowsUs(_))) => {
                return self.leave(&error.to_string(), Verdict::Ineligible, now_ns);
            }
            Err(error) => return self.abandon(&error.to_string(), now_ns),
        };
        // Also from a member that will not do: it may name the one that will.
        if self.config.routing == Routing::All {
            for endpoint in &source.consensus_endpoints {
                self.candidates.add(endpoint.clone());
            }
        }
        if !self.config.source_type.accepts(source.member_id, source.leader_member_id) {
            let reason = format!("member {} is not of the configured source type", source.member_id);
            return self.leave(&reason, Verdict::Ineligible, now_ns);
        }
        self.status.leader_member_id = source.leader_member_id;
        self.status.leadership_term_id = self.status.leadership_term_id.max(source.leadership_term_id);
        self.status.source_member_id = source.member_id;
        match &self.phase {
            Phase::Querying => self.connect_archive(source, now_ns),
            Phase::Refreshing { .. } if self.is_same_source(&source) => {
                self.on_refreshed(source, now_ns, recorder);
            }
            Phase::Requesting(_) if self.is_same_source(&source) => {
                self.on_confirmed(source, now_ns, recorder);
            }
            Phase::Following if self.is_same_source(&source) => {
                self.watch.on_told();
                self.report(TapReport::SourceChanged(Box::new(source.clone())));
                let known = self.source.replace(source).map(|known| known.commit_position_counter_id);
                if known != self.source.as_ref().map(|source| source.commit_position_counter_id) {
                    self.abandon(
                        "its consensus module was restarted, and our replay is still bounded by the last",
                        now_ns,
                    );
                }
            }
            Phase::Refreshing { .. } | Phase::Requesting(_) | Phase::Following => {
                self.abandon("another member answers there now, or another recording holds its log", now_ns);
            }
            _ => {}
        }
    }

    /// Whether a response is of the member that we chose, and names the log that its archive described.
    fn is_same_source(&self, source: &Source) -> bool {
        let is_same_member = self.source.as_ref().is_some_and(|known| known.member_id == source.member_id);
        is_same_member && self.log.as_ref().is_some_and(|log| log.recording_id == source.log_recording_id)
    }

    fn connect_archive(&mut self, source: Source, now_ns: u64) {
        let endpoint = self.config.reached_at(&source.archive_endpoint);
        let token = next_random(&mut self.random);
        let session_id = next_random(&mut self.random) as i32;
        let correlation_seed = self.next_correlation_id + (1 << 40);
        self.archive = Some(ArchiveLink::new(
            token,
            session_id,
            correlation_seed,
            &mut self.endpoint,
            &self.config,
            now_ns,
        ));
        self.actions.push_back(TapAction::Resolve { token, endpoint });
        self.report(TapReport::SourceChosen(Box::new(source.clone())));
        self.source = Some(source);
        self.status.state = TapState::ArchiveConnect;
        self.phase = Phase::Connecting;
    }

    fn on_archive_event(&mut self, event: ArchiveEvent, now_ns: u64, recorder: &mut impl Recorder) {
        match event {
            ArchiveEvent::Connected { .. } => self.on_archive_connected(now_ns, recorder),
            ArchiveEvent::Descriptor { correlation_id, recording } => {
                self.on_descriptor(correlation_id, recording, now_ns, recorder);
            }
            ArchiveEvent::Response { correlation_id, relevant_id, .. } => {
                self.on_archive_response(correlation_id, relevant_id, now_ns);
            }
            ArchiveEvent::Error { correlation_id, code, message, .. } => {
                self.on_archive_error(correlation_id, code, message, now_ns);
            }
            ArchiveEvent::TimedOut { correlation_id, request } => {
                if self.position_query == Some(correlation_id) {
                    self.position_query = None;
                } else if self.fetch.as_ref().is_some_and(|fetch| fetch.waits_for(correlation_id)) {
                    self.fetch_failed(&format!("its archive did not answer in time: {request}"), now_ns);
                } else {
                    self.abandon(&format!("its archive did not answer in time: {request}"), now_ns);
                }
            }
            ArchiveEvent::Failed(failure) => self.abandon(&failure.to_string(), now_ns),
            ArchiveEvent::ListingEnded { .. } | ArchiveEvent::Signal { .. } => {}
        }
    }

    fn on_archive_connected(&mut self, now_ns: u64, recorder: &impl Recorder) {
        let has_log = self.is_log_opening || recorder.position(RecordingKey::Log).is_some();
        let begins_here = !has_log && self.fetched_log_position.is_none();
        if begins_here && self.config.replay_start == ReplayStart::LatestSnapshot {
            let set = self.source.as_ref().map(|source| source.snapshot_set(self.config.service_count));
            match set {
                Some(Ok(set)) if !set.is_empty() => {
                    self.status.state = TapState::SnapshotRetrieve;
                    self.phase = Phase::Fetching;
                    return self.begin_fetch(set, now_ns);
                }
                Some(Err(reason)) => return self.abandon(&reason, now_ns),
                _ => {}
            }
        }
        self.describe_log(now_ns);
    }

    /// Asks for a descriptor; gives the source up when its session takes no more requests.
    fn describe(&mut self, recording_id: i64, now_ns: u64) -> Option<CorrelationId> {
        let archive = self.archive.as_mut()?;
        let asked = archive.client.list_recording(recording_id, now_ns);
        self.asked(asked, now_ns)
    }

    /// The correlation id of a request, or the end of this source.
    pub(super) fn asked(
        &mut self,
        asked: Result<CorrelationId, RequestRefused>,
        now_ns: u64,
    ) -> Option<CorrelationId> {
        match asked {
            Ok(correlation_id) => Some(correlation_id),
            Err(refused) => {
                self.abandon(&refused.to_string(), now_ns);
                None
            }
        }
    }

    pub(super) fn describe_log(&mut self, now_ns: u64) {
        let Some(recording_id) = self.source.as_ref().map(|source| source.log_recording_id) else { return };
        let Some(correlation_id) = self.describe(recording_id, now_ns) else { return };
        self.status.state = TapState::LogReplay;
        self.phase = Phase::Describing { correlation_id };
    }

    fn on_descriptor(
        &mut self,
        correlation_id: CorrelationId,
        descriptor: Recording,
        now_ns: u64,
        recorder: &impl Recorder,
    ) {
        match &self.phase {
            Phase::Describing { correlation_id: expected } if *expected == correlation_id => {
                self.on_log_descriptor(descriptor, now_ns, recorder);
            }
            _ if self.fetch.as_ref().is_some_and(|fetch| fetch.waits_for(correlation_id)) => {
                self.on_snapshot_descriptor(descriptor, now_ns);
            }
            _ => {}
        }
    }

    fn on_log_descriptor(&mut self, descriptor: Recording, now_ns: u64, recorder: &impl Recorder) {
        if let Err(error) = check_shape(&descriptor) {
            return self.abandon(&format!("its archive describes a log that cannot be: {error}"), now_ns);
        }
        if let Some(end) = recorder.position(RecordingKey::Log) {
            if descriptor.start_position > end {
                let reason = format!(
                    "member {} has the log from position {} on, ours ends at {end}: what lies between was purged",
                    self.status.source_member_id, descriptor.start_position
                );
                return self.leave(&reason, Verdict::Purged, now_ns);
            }
            self.log = Some(descriptor);
            return self.refresh(None);
        }
        let start_position = self.fetched_log_position.unwrap_or(0);
        if descriptor.start_position > start_position {
            if self.has_snapshots_beyond(start_position) && self.fetched_log_position.take().is_some() {
                // The set that was fetched before is overtaken: what came after it is gone.
                return self.on_archive_connected(now_ns, recorder);
            }
            return self.abandon(
                &format!(
                    "its log begins at position {}, and neither a snapshot nor the log before that is there: \
                     we would have to begin at {start_position}",
                    descriptor.start_position
                ),
                now_ns,
            );
        }
        if !self.is_log_opening {
            self.is_log_opening = true;
            self.actions.push_back(TapAction::OpenLog { start_position, descriptor: descriptor.clone() });
        }
        self.log = Some(descriptor);
        self.phase = Phase::Opening;
    }

    fn has_snapshots_beyond(&self, position: i64) -> bool {
        let is_beyond = |source: &Source| source.snapshots.iter().any(|row| row.log_position > position);
        self.config.replay_start == ReplayStart::LatestSnapshot
            && !self.is_log_opening
            && self.source.as_ref().is_some_and(is_beyond)
    }

    pub(super) fn on_log_opened(&mut self) {
        self.is_log_opening = false;
        self.fetched_log_position = None;
        if matches!(self.phase, Phase::Opening) {
            self.refresh(None);
        }
    }
}
