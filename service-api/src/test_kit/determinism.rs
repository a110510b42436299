//! Whether copies of a service that see the same log stay the same.

use std::fmt;

use super::{Event, EventLog, TestKit};
use crate::{ClusteredService, MemorySnapshot, OfferError};

/// Runs `log` on several copies of a service and compares what they emit, reply and write into snapshots:
///
/// 1. twice on a leader (finds clocks, random numbers, the order of a `HashMap`),
/// 2. on a standby, and on a leader whose clients are not connected (finds state that depends on the role or on
///    the outcome of a reply),
/// 3. over a snapshot taken between two steps, restored into a fresh copy, and over one that is taken and
///    ignored (finds state that a snapshot forgets, and snapshots that change the state).
///
/// Snapshots are tried after every step of a short log, at 17 places of a long one.
///
/// # Panics
/// On the first difference, with the event at which it shows.
#[track_caller]
pub fn assert_deterministic<S: ClusteredService>(factory: impl FnMut() -> S, log: &EventLog) {
    if let Err(divergence) = check_determinism(factory, log) {
        panic!("the service is not deterministic: {divergence}");
    }
}

/// As [`assert_deterministic`], with the difference as a value.
///
/// # Errors
/// The first difference.
pub fn check_determinism<S: ClusteredService>(
    mut factory: impl FnMut() -> S,
    log: &EventLog,
) -> Result<(), Divergence> {
    let reference = Outcome::of(TestKit::new(factory()), log, 0);

    Outcome::of(TestKit::new(factory()), log, 0).compare(&reference, 0, true, "a second run")?;
    Outcome::of(TestKit::following(factory()), log, 0).compare(&reference, 0, false, "a run on a standby")?;
    let mut unheard = TestKit::new(factory());
    unheard.refuse_replies(Some(OfferError::NotConnected));
    Outcome::of(unheard, log, 0).compare(&reference, 0, false, "a run without connected clients")?;

    for split in splits(log.len()) {
        let mut kit = TestKit::new(factory());
        log.run_range(0..split, &mut kit);
        let saved = kit.save();
        let first_event = kit.events().len();
        Outcome::of(kit, log, split).compare(
            &reference,
            0,
            true,
            &format!("a run with a snapshot after step {split}"),
        )?;

        let run = format!("a run restored after step {split}");
        let refused = |what| Divergence { run: run.clone(), event: None, what };
        let mut kit = TestKit::restore(factory(), &saved)
            .map_err(|error| refused(format!("the snapshot was refused: {error}")))?;
        if let Some(what) = snapshot_difference(&saved.snapshot, &kit.save().snapshot) {
            return Err(refused(format!("right after the restore, {what}")));
        }
        Outcome::of(kit, log, split).compare(&reference, first_event, true, &run)?;
    }
    Ok(())
}

/// Where two copies of a service parted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Divergence {
    /// Which run differed from the first one.
    pub run: String,
    /// The index of the event, counted from the first term; `None` if only a snapshot taken at the end, or
    /// right after a restore, differs.
    pub event: Option<usize>,
    /// The difference in words.
    pub what: String,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} differs ", self.run)?;
        if let Some(event) = self.event {
            write!(f, "at event {event}, ")?;
        }
        f.write_str(&self.what)
    }
}

impl std::error::Error for Divergence {}

/// What one run left behind.
struct Outcome {
    events: Vec<Event>,
    last: MemorySnapshot,
}

impl Outcome {
    /// Runs what is left of `log` from `step` on.
    fn of<S: ClusteredService>(mut kit: TestKit<S>, log: &EventLog, step: usize) -> Self {
        log.run_range(step..log.len(), &mut kit);
        Self { last: kit.save().snapshot, events: kit.events().to_vec() }
    }

    /// Compares with the events of `reference` from `first_event` on.
    fn compare(
        &self,
        reference: &Self,
        first_event: usize,
        with_replies: bool,
        run: &str,
    ) -> Result<(), Divergence> {
        let diverged = |event, what| Err(Divergence { run: run.to_owned(), event, what });
        let expected = &reference.events[first_event..];
        for (index, (event, expected)) in self.events.iter().zip(expected).enumerate() {
            if let Some(what) = event_difference(expected, event, with_replies) {
                let what = format!("{} at {}: {what}", expected.description, expected.position);
                return diverged(Some(first_event + index), what);
            }
        }
        if self.events.len() != expected.len() {
            let count = self.events.len();
            return diverged(
                Some(first_event + count.min(expected.len())),
                format!("{count} events instead of {}", expected.len()),
            );
        }
        match snapshot_difference(&reference.last, &self.last) {
            Some(what) => diverged(None, format!("at the end, {what}")),
            None => Ok(()),
        }
    }
}

fn event_difference(expected: &Event, found: &Event, with_replies: bool) -> Option<String> {
    if (&expected.description, expected.position) != (&found.description, found.position) {
        return Some(format!("the event is {} at {}", found.description, found.position));
    }
    if expected.emitted != found.emitted {
        return Some(format!("emitted {:?} instead of {:?}", found.emitted, expected.emitted));
    }
    if with_replies && expected.replies != found.replies {
        return Some(format!("replied {:?} instead of {:?}", found.replies, expected.replies));
    }
    snapshot_difference(expected.snapshot.as_ref()?, found.snapshot.as_ref()?)
}

fn snapshot_difference(expected: &MemorySnapshot, found: &MemorySnapshot) -> Option<String> {
    let (expected, found) = (expected.messages(), found.messages());
    if let Some(index) = expected.iter().zip(found).position(|(expected, found)| expected != found) {
        return Some(format!(
            "message {index} of the snapshot is {:02x?} instead of {:02x?}",
            found[index], expected[index]
        ));
    }
    (expected.len() != found.len())
        .then(|| format!("the snapshot has {} messages instead of {}", found.len(), expected.len()))
}

/// Places at which to cut a log of `length` steps: all, or 17 of them spread evenly.
fn splits(length: usize) -> impl Iterator<Item = usize> {
    let count = length.min(SPLIT_COUNT_MAX);
    (0..=count).map(move |index| (index * length).checked_div(count).unwrap_or(0))
}

const SPLIT_COUNT_MAX: usize = 16;
