//! The snapshot agent: records the parts of standby snapshots, and puts on the disk what the conductor must not wait
//! for.
//!
//! ```text
//!  services, module ── parts ──> gather by position ── Begun ──────────> conductor: places in the archive
//!                                 record each part  <─ Reserved ────────
//!                                 sync              ── Written ────────> stop positions
//!                                 sync the catalog  <─ Sync ───────────
//!                                                   ── Synced ─────────> recordings count
//!                                                     …                   set counts
//! ```
//! A set is recorded whole or given up; either way every reader's word about its position is taken off the rings.

use rtrb::{Consumer, Producer};
use service_api::ServiceError;

use super::snapshot_part::{PartContent, PartReceiver, SnapshotPart, SnapshotPoint, TakenPart};
use super::{Agent, AgentError};
use crate::store::ControlFileSync;
use crate::store::snapshot_recording::{ReservedRecording, SnapshotRecording, WrittenRecording};

/// What the conductor asks for.
#[derive(Debug)]
pub enum SnapshotOrder {
    /// Places for the set that begun: services by id, the module last. The answer to [`SnapshotNews::Begun`].
    Reserved(Vec<ReservedRecording>),
    /// The set that begun is not wanted, for it is there; another answer to [`SnapshotNews::Begun`].
    NotNeeded,
    /// The set that begun cannot be recorded; another answer to [`SnapshotNews::Begun`].
    Refused {
        /// In words.
        reason: String,
    },
    /// Put a file on the disk.
    Sync(ControlFileSync),
    /// Remove the files of recordings that were written and did not come to count.
    Remove(Vec<ReservedRecording>),
}

/// What the snapshot agent tells the conductor.
#[derive(Debug)]
pub enum SnapshotNews {
    /// The first part of a set is here.
    Begun {
        /// Where the set stands in the log.
        log_position: i64,
    },
    /// A set is recorded, and on the disk.
    Written(WrittenSet),
    /// A set is given up. Nothing is left of it but its hidden places.
    GivenUp {
        /// Where it would have stood.
        log_position: i64,
        /// Places that the conductor reserved for it.
        recording_ids: Vec<i64>,
        /// Why, in words; `None` where it was not needed.
        reason: Option<String>,
    },
    /// The file is on the disk.
    Synced,
    /// Something did not reach the disk.
    SyncFailed {
        /// In words.
        reason: String,
    },
}

/// A set that is recorded.
#[derive(Debug)]
pub struct WrittenSet {
    /// Where it stands.
    pub point: SnapshotPoint,
    /// Services by id, the module last.
    pub recordings: Vec<WrittenRecording>,
    /// The same, to be removed should they not come to count.
    pub places: Vec<ReservedRecording>,
}

/// The snapshot agent.
#[derive(Debug)]
pub struct Snapshot {
    /// Services by id, the module last.
    sources: Vec<PartReceiver>,
    orders: Consumer<SnapshotOrder>,
    news: Producer<SnapshotNews>,
    waiting: Vec<SnapshotNews>,
    set: Option<SetInHand>,
}

/// A set between its first part and its last.
#[derive(Debug)]
struct SetInHand {
    log_position: i64,
    point: Option<SnapshotPoint>,
    /// `None` until the conductor has answered.
    places: Option<Vec<ReservedRecording>>,
    /// One for each source.
    written: Vec<Option<WrittenRecording>>,
    /// Which sources have spoken of this position.
    heard: Vec<bool>,
    fate: Fate,
}

#[derive(Debug)]
enum Fate {
    Wanted,
    NotNeeded,
    GivenUp(String),
}

impl Snapshot {
    /// An agent that gathers from `sources`: services by id, the module last.
    pub fn new(
        sources: Vec<PartReceiver>,
        orders: Consumer<SnapshotOrder>,
        news: Producer<SnapshotNews>,
    ) -> Self {
        Self { sources, orders, news, waiting: Vec::new(), set: None }
    }

    fn on_order(&mut self, order: SnapshotOrder) {
        match order {
            SnapshotOrder::Reserved(places) => {
                if let Some(set) = &mut self.set {
                    set.places = Some(places);
                }
            }
            SnapshotOrder::NotNeeded => self.decide(Fate::NotNeeded),
            SnapshotOrder::Refused { reason } => self.decide(Fate::GivenUp(reason)),
            SnapshotOrder::Sync(file) => self.tell(match file.sync() {
                Ok(()) => SnapshotNews::Synced,
                Err(error) => SnapshotNews::SyncFailed { reason: error.to_string() },
            }),
            SnapshotOrder::Remove(places) => remove(&places),
        }
    }

    fn decide(&mut self, fate: Fate) {
        if let Some(set) = &mut self.set {
            set.fate = fate;
            set.places = Some(Vec::new());
        }
    }

    /// Takes the words of the readers about one position, in the order in which the readers have them, and records what
    /// there is to record.
    fn gather(&mut self) -> usize {
        if self.set.is_none() {
            let positions = self.sources.iter().filter_map(|source| Some(source.peek()?.log_position()));
            let Some(log_position) = positions.min() else { return 0 };
            self.set = Some(SetInHand::new(log_position, self.sources.len()));
            self.tell(SnapshotNews::Begun { log_position });
        }
        let Some(set) = self.set.as_mut().filter(|set| set.places.is_some()) else { return 0 };
        let mut work = 0;
        for (index, source) in self.sources.iter_mut().enumerate() {
            while !set.heard[index]
                && let Some(part) = source.peek()
            {
                work += 1;
                if part.log_position() > set.log_position {
                    // It stands for this position as well, and is left for the one that it names.
                    let reason = match part {
                        SnapshotPart::Skipped { reason, .. } => reason.clone(),
                        SnapshotPart::Taken(_) => "it has no part at this position".to_owned(),
                    };
                    set.heard[index] = true;
                    set.give_up(index, &reason);
                    break;
                }
                match source.poll().expect("it was just looked at") {
                    // Of a set that another reader's word has ended already.
                    part if part.log_position() < set.log_position => drop(part),
                    SnapshotPart::Skipped { reason, .. } => {
                        set.heard[index] = true;
                        set.give_up(index, &reason);
                    }
                    SnapshotPart::Taken(part) => {
                        set.heard[index] = true;
                        set.record(index, *part);
                    }
                }
            }
        }
        if set.heard.iter().all(|heard| *heard) {
            let news = self.set.take().expect("it is in hand").into_news();
            self.tell(news);
        }
        work
    }

    fn tell(&mut self, news: SnapshotNews) {
        self.waiting.push(news);
    }

    fn send_news(&mut self) {
        while !self.waiting.is_empty() && !self.news.is_full() {
            let news = self.waiting.remove(0);
            self.news.push(news).expect("there is room, and only this end pushes");
        }
    }
}

impl SetInHand {
    fn new(log_position: i64, source_count: usize) -> Self {
        Self {
            log_position,
            point: None,
            places: None,
            written: vec![None; source_count],
            heard: vec![false; source_count],
            fate: Fate::Wanted,
        }
    }

    fn give_up(&mut self, index: usize, reason: &str) {
        if matches!(self.fate, Fate::Wanted) {
            self.fate = Fate::GivenUp(format!("{}: {reason}", self.source_name(index)));
        }
    }

    /// Records a part, unless the set is lost already: what it holds is let go of then.
    fn record(&mut self, index: usize, part: TakenPart) {
        let point = *self.point.get_or_insert(part.point);
        if !matches!(self.fate, Fate::Wanted) {
            return;
        }
        if part.point != point {
            let reason = format!("it stands at {:?}, others at {point:?}", part.point);
            return self.give_up(index, &reason);
        }
        let place = &self.places.as_ref().expect("there are places before parts are taken")[index];
        match record(place, part) {
            Ok(written) => self.written[index] = Some(written),
            Err(reason) => self.give_up(index, &reason),
        }
    }

    fn source_name(&self, index: usize) -> String {
        if index + 1 == self.heard.len() { "consensus module".to_owned() } else { format!("service {index}") }
    }

    fn into_news(self) -> SnapshotNews {
        let places = self.places.unwrap_or_default();
        let recordings: Option<Vec<WrittenRecording>> = self.written.into_iter().collect();
        let reason = match (self.fate, recordings, self.point) {
            (Fate::Wanted, Some(recordings), Some(point)) => {
                return SnapshotNews::Written(WrittenSet { point, recordings, places });
            }
            (Fate::GivenUp(reason), ..) => Some(reason),
            (Fate::Wanted | Fate::NotNeeded, ..) => None,
        };
        remove(&places);
        SnapshotNews::GivenUp {
            log_position: self.log_position,
            recording_ids: places.iter().map(ReservedRecording::recording_id).collect(),
            reason,
        }
    }
}

/// Writes one part to its recording and makes it durable.
fn record(place: &ReservedRecording, part: TakenPart) -> Result<WrittenRecording, String> {
    let (head, content, _in_hand) = part.into_content();
    let mut recording = SnapshotRecording::create(place).map_err(|error| error.to_string())?;
    head.iter().try_for_each(|message| recording.append(message)).map_err(|error| error.to_string())?;
    let written = match content {
        PartContent::None => Ok(()),
        PartContent::Frozen(view) => view.write(&mut recording),
        PartContent::Messages(messages) => messages
            .iter()
            .try_for_each(|message| recording.append(message))
            .map_err(|error| ServiceError::new(error.to_string())),
        PartContent::Stream(stream) => stream.write(&mut recording),
    };
    written.map_err(|error| error.to_string())?;
    recording.finish().map_err(|error| error.to_string())
}

fn remove(places: &[ReservedRecording]) {
    for place in places {
        if let Err(error) = place.remove_files() {
            tracing::warn!(%error, "could not remove a snapshot that was given up");
        }
    }
}

impl Agent for Snapshot {
    fn name(&self) -> &str {
        "snapshot"
    }

    fn do_work(&mut self, _now_ns: u64) -> Result<usize, AgentError> {
        let mut work = 0;
        while let Ok(order) = self.orders.pop() {
            self.on_order(order);
            work += 1;
        }
        work += self.gather();
        self.send_news();
        Ok(work)
    }

    /// What is not published now never will be: the next start would find its files and remove them.
    fn on_close(&mut self) {
        if let Some(set) = self.set.take() {
            remove(&set.places.unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests;
