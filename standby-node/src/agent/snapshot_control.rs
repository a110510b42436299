//! The conductor's part in standby snapshots: asks for them, gives them places in the archive, and makes them count.
//!
//! A set counts step by step, and what was written in one step is on the disk before the next one begins. The snapshot
//! agent syncs; this waits for nothing.

use std::collections::VecDeque;

use consensus_tap::codec::consensus::SnapshotEntry;
use consensus_tap::file::cnc::counters::{
    TOGGLE_ACTIVATE, TOGGLE_DRY_RUN, TOGGLE_INACTIVE, TOGGLE_NEUTRAL, TOGGLE_SNAPSHOT,
};
use consensus_tap::file::recording_log::{CONSENSUS_MODULE_ID, SnapshotSet};
use consensus_tap::wire::TermLength;
use rtrb::{Consumer, Producer};

use super::snapshot::{SnapshotNews, SnapshotOrder, WrittenSet};
use super::snapshot_schedule::SnapshotSchedule;
use crate::status::SnapshotGauges;
use crate::store::history::History;
use crate::store::snapshot_recording::{ReservedRecording, WrittenRecording};
use crate::sys::clock;

/// How every error about a snapshot begins, in the error log too: what an operator's verb looks for.
pub const SNAPSHOT_ERROR: &str = "standby snapshot";

/// What the conductor is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SnapshotEvent {
    /// Have the receiver mark the log's end in every reader; its answer goes to [`SnapshotControl::on_marked`].
    Mark,
    /// A set of our own counts: it may be announced.
    Published(SnapshotSet),
    /// The set that was fetched from a member counts.
    FetchedPublished(SnapshotSet),
    /// A set of our own was given up. The node goes on.
    GivenUp {
        /// Where in the log it was to be; `None` for a request that was none.
        log_position: Option<i64>,
        /// In words.
        error: String,
    },
    /// The set that was fetched from a member cannot count, in words.
    FetchedFailed(String),
}

/// See the module.
#[derive(Debug)]
pub struct SnapshotControl {
    service_count: usize,
    term_length: TermLength,
    schedule: SnapshotSchedule,
    gauges: SnapshotGauges,
    orders: Producer<SnapshotOrder>,
    news: Consumer<SnapshotNews>,
    /// Orders that found no room, in order.
    waiting: VecDeque<SnapshotOrder>,
    /// The one that we have asked the readers for.
    request: Option<Request>,
    /// The newest position of which every reader has spoken, and whether the set there counts. None speaks of it again
    /// where it does.
    ended: Option<(i64, bool)>,
    /// When the set that the snapshot agent has in hand begun.
    begun_ns: u64,
    /// The snapshot agent has one in hand.
    is_writing: bool,
    publication: Option<Publication>,
    /// Written while another one was being published.
    next: VecDeque<Publication>,
    events: VecDeque<SnapshotEvent>,
    now_ns: u64,
}

/// A snapshot that was asked for at the log's end, whatever that is when the receiver hears of it.
#[derive(Debug)]
struct Request {
    by_toggle: bool,
    /// Known once the receiver has answered.
    mark: Option<i64>,
    /// The newest set since then, and whether it counts.
    resolved: Option<(i64, bool)>,
}

/// A set on its way to count.
#[derive(Debug)]
struct Publication {
    origin: Origin,
    set: SnapshotSet,
    recordings: Vec<WrittenRecording>,
    done: Step,
    /// One of our own at this position was not needed, for this one is on its way: its end is the answer.
    is_awaited: bool,
}

#[derive(Debug)]
enum Origin {
    Own { begun_ns: u64, places: Vec<ReservedRecording> },
    Fetched,
}

/// What is written, and on the disk once the snapshot agent says so.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Step {
    Recordings,
    Stopped,
    Revealed,
    Entered,
}

impl SnapshotControl {
    /// For a node with `service_count` services. Nobody may ask for a snapshot before [`Self::start`].
    pub fn new(
        service_count: usize,
        term_length: TermLength,
        schedule: SnapshotSchedule,
        gauges: SnapshotGauges,
        orders: Producer<SnapshotOrder>,
        news: Consumer<SnapshotNews>,
    ) -> Self {
        Self {
            service_count,
            term_length,
            schedule,
            gauges,
            orders,
            news,
            waiting: VecDeque::new(),
            request: None,
            ended: None,
            begun_ns: 0,
            is_writing: false,
            publication: None,
            next: VecDeque::new(),
            events: VecDeque::new(),
            now_ns: 0,
        }
    }

    /// The services stand at `log_position` and run: snapshots can be asked for.
    pub fn start(&mut self, history: &History, log_position: i64, now_ns: u64) {
        self.schedule.start(log_position, now_ns);
        if let Some(set) = history.latest_snapshot_set(self.service_count) {
            self.gauges.position.set_ordered(set.log_position);
        }
        // A node without services cannot know what a consensus module has of them.
        if self.service_count > 0 {
            self.gauges.toggle.set_ordered(TOGGLE_NEUTRAL);
        }
    }

    /// Have a snapshot taken at the next message boundary that makes a new one, at most one a minute.
    pub fn request_soon(&mut self) {
        self.schedule.request_soon();
    }

    /// Whether no set is under way: the next one that is asked for finds every reader free.
    pub fn is_idle(&self) -> bool {
        self.request.is_none() && !self.is_writing && self.publication.is_none() && self.next.is_empty()
    }

    /// Whether a set that was fetched is yet to count.
    pub fn is_publishing_fetched(&self) -> bool {
        self.publications().any(|publication| matches!(publication.origin, Origin::Fetched))
    }

    /// Makes a set count that was fetched from a member and is on the disk. `rows` are that member's own, in the order of
    /// `recordings`: consensus module, service 0, 1, ….
    ///
    /// # Panics
    /// When there is no recording for each row, or the consensus module's row is not the first.
    pub fn publish_fetched(
        &mut self,
        rows: &[SnapshotEntry],
        recordings: Vec<WrittenRecording>,
        history: &mut History,
    ) {
        assert_eq!(rows.len(), recordings.len(), "a recording for each row");
        let module = &rows[0];
        assert_eq!(module.service_id, CONSENSUS_MODULE_ID, "the consensus module's row comes first");
        let mut recording_ids = recordings.iter().map(|recording| recording.recording_id);
        let set = SnapshotSet {
            leadership_term_id: module.leadership_term_id,
            term_base_log_position: module.term_base_log_position,
            log_position: module.log_position,
            timestamp: module.timestamp,
            consensus_module: recording_ids.next().expect("there is a row"),
            services: recording_ids.collect(),
        };
        self.next.push_back(Publication::new(Origin::Fetched, set, recordings));
        self.begin_next(history);
    }

    /// Sets were withdrawn: the newest may be among them, so every reader speaks again where the log stands still.
    pub fn on_sets_withdrawn(&mut self) {
        self.ended = self.ended.map(|(log_position, _)| (log_position, false));
    }

    /// Where the newest set was given up, if none counts since: a mark there asks every reader once more.
    pub fn given_up_at(&self) -> Option<i64> {
        self.ended.filter(|(_, counts)| !counts).map(|(log_position, _)| log_position)
    }

    /// The receiver has marked `position` in every reader.
    pub fn on_marked(&mut self, position: i64) {
        if let Some(request) = &mut self.request {
            request.mark = Some(position);
        }
        self.settle_request();
        // The log stands where a set counts already.
        if let Some((log_position, true)) = self.ended
            && self.request.is_some()
            && log_position >= position
        {
            self.on_taken(log_position);
        }
    }

    /// One duty cycle. `log_end` is where the recorded log ends. Returns how much was done.
    pub fn do_work(&mut self, history: &mut History, log_end: i64, now_ns: u64) -> usize {
        self.now_ns = now_ns;
        let mut work = 0;
        while let Ok(news) = self.news.pop() {
            self.on_news(news, history);
            work += 1;
        }
        self.ask(log_end);
        while !self.waiting.is_empty() && !self.orders.is_full() {
            let order = self.waiting.pop_front().expect("it is not empty");
            self.orders.push(order).expect("there is room, and only this end pushes");
            work += 1;
        }
        work
    }

    /// The next thing to be done about it.
    pub fn poll_event(&mut self) -> Option<SnapshotEvent> {
        self.events.pop_front()
    }

    /// Asks for a snapshot if the operator wants one or the schedule does, one at a time.
    fn ask(&mut self, log_end: i64) {
        let toggle = self.gauges.toggle.get_volatile();
        if toggle == TOGGLE_INACTIVE || self.request.is_some() {
            return;
        }
        let by_toggle = match toggle {
            TOGGLE_NEUTRAL => false,
            TOGGLE_SNAPSHOT => true,
            // Not this one's to answer, and no time for a snapshot.
            TOGGLE_ACTIVATE | TOGGLE_DRY_RUN => return,
            other => {
                let error =
                    format!("{SNAPSHOT_ERROR} control toggle: {other} is no request that this node knows");
                self.events.push_back(SnapshotEvent::GivenUp { log_position: None, error });
                self.gauges.toggle.set_ordered(TOGGLE_NEUTRAL);
                return;
            }
        };
        if by_toggle || self.schedule.is_due(log_end, self.now_ns) {
            self.request = Some(Request { by_toggle, mark: None, resolved: None });
            self.events.push_back(SnapshotEvent::Mark);
        }
    }

    fn on_news(&mut self, news: SnapshotNews, history: &mut History) {
        match news {
            SnapshotNews::Begun { log_position } => {
                self.begun_ns = self.now_ns;
                self.is_writing = true;
                let order = self.place(log_position, history);
                self.order(order);
            }
            SnapshotNews::Written(written) => {
                self.is_writing = false;
                self.on_written(written, history);
            }
            SnapshotNews::GivenUp { log_position, recording_ids, reason } => {
                self.is_writing = false;
                history.withdraw_snapshots(None, &recording_ids);
                match reason {
                    Some(reason) => self.give_up(log_position, &reason),
                    None => self.on_not_needed(log_position, history),
                }
            }
            SnapshotNews::Synced => self.step(history),
            SnapshotNews::SyncFailed { reason } => self.fail(&reason, history),
        }
    }

    fn place(&self, log_position: i64, history: &mut History) -> SnapshotOrder {
        let is_at = |publication: &Publication| publication.set.log_position == log_position;
        if self.counts(log_position, history) || self.publications().any(is_at) {
            return SnapshotOrder::NotNeeded;
        }
        match history.reserve_snapshots(self.service_count, self.term_length) {
            Ok(places) => SnapshotOrder::Reserved(places),
            Err(error) => SnapshotOrder::Refused { reason: error.to_string() },
        }
    }

    /// Sets on their way to count.
    fn publications(&self) -> impl Iterator<Item = &Publication> {
        self.publication.iter().chain(&self.next)
    }

    /// Whether recording.log has a set at `log_position`.
    fn counts(&self, log_position: i64, history: &History) -> bool {
        history.snapshot_sets(self.service_count).iter().any(|set| set.log_position == log_position)
    }

    /// A set was not wanted, for there was one at its position: that counts, is on its way to, or has failed since.
    fn on_not_needed(&mut self, log_position: i64, history: &History) {
        let mut publications = self.publication.iter_mut().chain(&mut self.next);
        if let Some(awaited) = publications.find(|publication| publication.set.log_position == log_position) {
            awaited.is_awaited = true;
        } else if self.counts(log_position, history) {
            self.on_taken(log_position);
        } else {
            self.resolve(log_position, false);
        }
    }

    fn on_written(&mut self, written: WrittenSet, history: &mut History) {
        let WrittenSet { point, recordings, places } = written;
        let (module, services) = recordings.split_last().expect("a set has a part of the module");
        let leadership_term_id = point.leadership_term_id;
        let Some(term_base_log_position) = history.term_base_log_position(leadership_term_id) else {
            let recording_ids: Vec<i64> = recordings.iter().map(|recording| recording.recording_id).collect();
            history.withdraw_snapshots(None, &recording_ids);
            self.order(SnapshotOrder::Remove(places));
            let reason = format!("recording.log has no row of leadership term {leadership_term_id}");
            return self.give_up(point.log_position, &reason);
        };
        let set = SnapshotSet {
            leadership_term_id,
            term_base_log_position,
            log_position: point.log_position,
            timestamp: point.timestamp,
            consensus_module: module.recording_id,
            services: services.iter().map(|service| service.recording_id).collect(),
        };
        let origin = Origin::Own { begun_ns: self.begun_ns, places };
        self.next.push_back(Publication::new(origin, set, recordings));
        self.begin_next(history);
    }

    /// What was written last is on the disk: writes what comes next.
    fn step(&mut self, history: &mut History) {
        let Some(publication) = &mut self.publication else { return };
        let written = match publication.done {
            Step::Recordings => history.stop_recordings(&publication.recordings),
            Step::Stopped => history.reveal_recordings(&publication.recordings),
            Step::Revealed => history.enter_snapshot_set(&publication.set),
            Step::Entered => return self.finish(history),
        };
        publication.done = publication.done.next();
        match written {
            Ok(file) => self.order(SnapshotOrder::Sync(file)),
            Err(error) => self.fail(&error.to_string(), history),
        }
    }

    fn finish(&mut self, history: &mut History) {
        let Some(Publication { origin, set, is_awaited, .. }) = self.publication.take() else { return };
        self.gauges.position.set_ordered(set.log_position);
        self.gauges.time_ms.set_ordered(clock::epoch_ms());
        match origin {
            Origin::Own { begun_ns, .. } => {
                self.gauges.duration_ns.set_ordered(self.now_ns.saturating_sub(begun_ns) as i64);
                self.gauges.count.add_ordered(1);
                let log_position = set.log_position;
                self.events.push_back(SnapshotEvent::Published(set));
                self.on_taken(log_position);
            }
            Origin::Fetched => {
                let log_position = set.log_position;
                self.events.push_back(SnapshotEvent::FetchedPublished(set));
                if is_awaited {
                    self.on_taken(log_position);
                }
            }
        }
        self.begin_next(history);
    }

    /// The set that is being published cannot count.
    fn fail(&mut self, reason: &str, history: &mut History) {
        let Some(publication) = self.publication.take() else { return };
        let (log_position, is_awaited) = (publication.set.log_position, publication.is_awaited);
        if self.take_back(publication, history) {
            self.give_up(log_position, reason);
        } else {
            self.events.push_back(SnapshotEvent::FetchedFailed(reason.to_owned()));
            if is_awaited {
                self.resolve(log_position, false);
            }
        }
        self.begin_next(history);
    }

    /// Leaves nothing of a set that anybody finds. Returns whether it was one of our own.
    fn take_back(&mut self, publication: Publication, history: &mut History) -> bool {
        let Publication { origin, set, recordings, done, .. } = publication;
        let recording_ids: Vec<i64> = recordings.iter().map(|recording| recording.recording_id).collect();
        history.withdraw_snapshots((done >= Step::Entered).then_some(&set), &recording_ids);
        match origin {
            Origin::Own { places, .. } => {
                self.order(SnapshotOrder::Remove(places));
                true
            }
            Origin::Fetched => false,
        }
    }

    /// Begins with the next set, unless one is being published. One whose position has a set by now is passed over: the
    /// rows of two sets at one place would be read as those of one.
    fn begin_next(&mut self, history: &mut History) {
        while self.publication.is_none()
            && let Some(next) = self.next.pop_front()
        {
            let log_position = next.set.log_position;
            if !self.counts(log_position, history) {
                self.publication = Some(next);
                self.step(history);
            } else if self.take_back(next, history) {
                self.on_taken(log_position);
            }
        }
    }

    /// A set of our own counts, or one that stands for it.
    fn on_taken(&mut self, log_position: i64) {
        self.schedule.on_taken(log_position, self.now_ns);
        self.resolve(log_position, true);
    }

    fn give_up(&mut self, log_position: i64, reason: &str) {
        self.gauges.failures.add_ordered(1);
        self.schedule.on_given_up(self.now_ns);
        tracing::warn!(log_position, reason, "standby snapshot given up");
        let error = format!("{SNAPSHOT_ERROR} given up: {reason}");
        self.events.push_back(SnapshotEvent::GivenUp { log_position: Some(log_position), error });
        self.resolve(log_position, false);
    }

    /// A set has come to its end.
    fn resolve(&mut self, log_position: i64, counts: bool) {
        if self.ended.is_none_or(|(ended, _)| ended <= log_position) {
            self.ended = Some((log_position, counts));
        }
        if let Some(request) = &mut self.request {
            request.resolved = Some((log_position, counts));
        }
        self.settle_request();
    }

    /// Tells the operator, once the set that was asked for has come to its end.
    fn settle_request(&mut self) {
        let Some(Request { by_toggle, mark: Some(mark), resolved: Some((log_position, counts)) }) =
            self.request
        else {
            return;
        };
        if log_position < mark {
            return;
        }
        self.request = None;
        if by_toggle {
            self.gauges.result.set_ordered(if counts { log_position } else { -1 });
            self.gauges.toggle.set_ordered(TOGGLE_NEUTRAL);
        }
    }

    fn order(&mut self, order: SnapshotOrder) {
        self.waiting.push_back(order);
    }
}

impl Publication {
    fn new(origin: Origin, set: SnapshotSet, recordings: Vec<WrittenRecording>) -> Self {
        Self { origin, set, recordings, done: Step::Recordings, is_awaited: false }
    }
}

impl Step {
    fn next(self) -> Self {
        match self {
            Self::Recordings => Self::Stopped,
            Self::Stopped => Self::Revealed,
            Self::Revealed | Self::Entered => Self::Entered,
        }
    }
}

#[cfg(test)]
mod tests;
