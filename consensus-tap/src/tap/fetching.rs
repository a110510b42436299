//! The steps of a fetch: describe, open, replay, one recording of the set after another. The same before the log, where
//! the source stands and falls with it, and beside the log, where only the fetch does.

use super::channels::replay_channel;
use super::following::difference;
use super::snapshot_fetch::{FetchStep, SnapshotFetch, check_snapshot};
use super::{Phase, Recorder, RecordingKey, Tap, TapAction, TapReport, TapState, next_random};
use crate::archive::{CorrelationId, Recording, ReplayParams};
use crate::codec::consensus::SnapshotEntry;
use crate::image::{ImageGeometry, ImageKey, SubscriptionParams};

impl Tap {
    /// Asks for the first recording of a set.
    pub(super) fn begin_fetch(&mut self, set: Vec<SnapshotEntry>, now_ns: u64) {
        let Some(archive) = self.archive.as_mut() else { return };
        match archive.client.list_recording(set[0].recording_id, now_ns) {
            Ok(correlation_id) => self.fetch = Some(Box::new(SnapshotFetch::new(set, correlation_id))),
            Err(refused) => self.fetch_failed(&refused.to_string(), now_ns),
        }
    }

    pub(super) fn on_snapshot_descriptor(&mut self, descriptor: Recording, now_ns: u64) {
        if let Err(reason) = check_snapshot(&descriptor) {
            return self.fetch_failed(&reason, now_ns);
        }
        let Some(fetch) = self.fetch.as_mut() else { return };
        let (index, row) = (fetch.index(), *fetch.row());
        fetch.step = FetchStep::Opening { descriptor: Box::new(descriptor.clone()) };
        self.is_snapshot_opening = true;
        self.actions.push_back(TapAction::OpenSnapshot { index, row, descriptor });
    }

    /// Whether a snapshot's recording that can now be written is still wanted; if so, its replay is asked for.
    pub(super) fn on_snapshot_opened(&mut self, index: usize, now_ns: u64) -> bool {
        let Some(fetch) = self.fetch.as_mut().filter(|fetch| fetch.index() == index) else { return false };
        let FetchStep::Opening { descriptor } = &fetch.step else { return false };
        let Some(archive) = self.archive.as_mut() else { return false };
        let session_id = next_random(&mut self.random) as i32;
        let subscription = self.endpoint.add_subscription(SubscriptionParams {
            receive_window_length: self.config.receive_window_length,
            ..SubscriptionParams::of_session(descriptor.stream_id, session_id)
        });
        let descriptor = descriptor.clone();
        let asked = archive.client.replay(
            &ReplayParams {
                position: descriptor.start_position,
                length: descriptor.stop_position - descriptor.start_position,
                // Frames carry the stream id of the replay, and a snapshot of ours has to look as if recorded.
                ..ReplayParams::new(
                    descriptor.recording_id,
                    descriptor.stream_id,
                    &replay_channel(&self.config.response_endpoint, session_id),
                )
            },
            now_ns,
        );
        match asked {
            Ok(correlation_id) => {
                fetch.step = FetchStep::Replaying {
                    descriptor,
                    subscription,
                    correlation_id,
                    replay_session_id: None,
                    position: 0,
                    since_ns: now_ns,
                };
            }
            Err(refused) => {
                self.endpoint.remove_subscription(subscription, now_ns);
                self.fetch_failed(&refused.to_string(), now_ns);
            }
        }
        true
    }

    /// The image of a snapshot's replay is there: refused where it is not what the archive described.
    pub(super) fn on_snapshot_image(&mut self, key: ImageKey, geometry: &ImageGeometry, now_ns: u64) {
        let Some(FetchStep::Replaying { descriptor, subscription, .. }) =
            self.fetch.as_ref().map(|fetch| &fetch.step)
        else {
            return;
        };
        if *subscription != key.subscription {
            return;
        }
        if let Some(difference) = difference(geometry, descriptor, descriptor.start_position) {
            self.fetch_failed(&format!("its replay of a snapshot {difference}"), now_ns);
        }
    }

    /// The archive began to replay the current recording.
    pub(super) fn on_snapshot_replay(&mut self, asked: CorrelationId, session_id: i64) {
        if let Some(FetchStep::Replaying { correlation_id, replay_session_id, .. }) =
            self.fetch.as_mut().map(|fetch| &mut fetch.step)
            && *correlation_id == asked
        {
            *replay_session_id = Some(session_id);
        }
    }

    /// Goes on to the next recording of the set when the current one has arrived whole.
    pub(super) fn finish_snapshot(&mut self, now_ns: u64, recorder: &impl Recorder) {
        let Some(fetch) = self.fetch.as_mut() else { return };
        let arrived = recorder.position(RecordingKey::Snapshot(fetch.index())).unwrap_or(0);
        let FetchStep::Replaying { descriptor, subscription, position, since_ns, .. } = &mut fetch.step
        else {
            return;
        };
        if arrived > *position {
            *position = arrived;
            *since_ns = now_ns;
        }
        if arrived < descriptor.stop_position {
            if now_ns > *since_ns + self.config.progress_timeout_ns {
                self.fetch_failed("its replay of a snapshot does not move", now_ns);
            }
            return;
        }
        self.endpoint.remove_subscription(*subscription, now_ns);
        let Some(recording_id) = fetch.advance() else { return self.finish_fetch(now_ns) };
        let Some(archive) = self.archive.as_mut() else { return };
        match archive.client.list_recording(recording_id, now_ns) {
            Ok(correlation_id) => fetch.step = FetchStep::Describing { correlation_id },
            Err(refused) => self.fetch_failed(&refused.to_string(), now_ns),
        }
    }

    /// The whole set is here.
    fn finish_fetch(&mut self, now_ns: u64) {
        let Some(fetch) = self.fetch.take() else { return };
        self.watch.on_held(fetch.log_position());
        self.actions.push_back(TapAction::SnapshotsRecorded);
        if matches!(self.phase, Phase::Fetching) {
            self.fetched_log_position = Some(fetch.log_position());
            self.describe_log(now_ns);
        }
    }

    /// The set cannot be had: gives up the fetch, and before the log the source with it.
    pub(super) fn fetch_failed(&mut self, reason: &str, now_ns: u64) {
        if matches!(self.phase, Phase::Fetching) {
            return self.abandon(reason, now_ns);
        }
        self.drop_fetch(now_ns);
        self.watch.postpone(now_ns);
        let member_id = self.status.source_member_id;
        self.report(TapReport::SnapshotsNotFetched { member_id, reason: reason.to_owned() });
    }

    /// The runtime cannot record a snapshot. A log that is there goes on.
    pub(super) fn snapshot_not_recorded(&mut self, reason: String, now_ns: u64) {
        if self.stale_openings > 0 {
            // It was to belong to a set that was given up before.
            self.stale_openings -= 1;
            return;
        }
        self.is_snapshot_opening = false;
        if matches!(self.phase, Phase::Fetching) {
            self.halt(TapState::Failed, reason, now_ns);
        } else if self.fetch.is_some() {
            self.fetch_failed(&reason, now_ns);
        }
    }

    /// Leaves what was fetched of a set, if one is being fetched.
    pub(super) fn drop_fetch(&mut self, now_ns: u64) {
        let Some(fetch) = self.fetch.take() else { return };
        if let Some(subscription) = fetch.subscription() {
            self.endpoint.remove_subscription(subscription, now_ns);
        }
        if let (Some(archive), Some(replay_session_id)) = (self.archive.as_mut(), fetch.granted()) {
            let _ = archive.client.stop_replay(replay_session_id, now_ns);
        }
        self.stale_openings += usize::from(std::mem::take(&mut self.is_snapshot_opening));
        self.actions.push_back(TapAction::DiscardSnapshots);
    }
}
