//! From images to what they are for.

use super::log_replay::LogReplay;
use super::recorder::{Recorder, RecordingKey};
use crate::endpoint::Inbox;
use crate::image::{ImageKey, ImageSink, Refused, SubscriptionId};

/// Sends what images deliver to where it belongs.
pub(super) struct Router<'a, R> {
    pub(super) consensus: SubscriptionId,
    pub(super) archive: Option<SubscriptionId>,
    /// The snapshot being fetched, and its index in the set.
    pub(super) snapshot: Option<(SubscriptionId, usize)>,
    pub(super) inbox: &'a mut Inbox,
    pub(super) replay: Option<&'a mut LogReplay>,
    pub(super) recorder: &'a mut R,
}

impl<R: Recorder> ImageSink for Router<'_, R> {
    fn append(&mut self, key: ImageKey, position: i64, frames: &[u8]) -> Result<(), Refused> {
        let taken = match &mut self.replay {
            Some(replay) if replay.subscription == key.subscription => {
                replay.on_frames(position, frames, self.recorder)
            }
            _ if self.snapshot.is_some_and(|(id, _)| id == key.subscription) => {
                let key = RecordingKey::Snapshot(self.snapshot.map_or(0, |(_, index)| index));
                // A replay that begins elsewhere is its source's fault: it is refused, and that source given up.
                // Asked to append it, the recorder would find our own files at fault.
                self.recorder.position(key) == Some(position)
                    && self.recorder.append(key, position, frames).is_ok()
            }
            _ if key.subscription == self.consensus || Some(key.subscription) == self.archive => {
                self.inbox.on_frames(key, position, frames)
            }
            _ => false,
        };
        if taken { Ok(()) } else { Err(Refused) }
    }
}
