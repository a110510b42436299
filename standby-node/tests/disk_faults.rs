//! The store on a disk that refuses, fills up, breaks, or loses power at any operation: it always restarts to a right
//! state, and records on from there to the same end.
//!
//! One seed decides the cluster's log, what the node does and in which order, when it is killed and what the disk
//! does. A failing seed is printed; it becomes a test with a name.

#[path = "disk_faults/cluster.rs"]
mod cluster;
#[path = "disk_faults/duties.rs"]
mod duties;
#[path = "disk_faults/node.rs"]
mod node;
#[path = "disk_faults/random.rs"]
mod random;
#[path = "disk_faults/simulated_disk.rs"]
mod simulated_disk;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use standby_node::store::SyncLevel;
use standby_node::store::durability::BootId;
use standby_node::store::reseed::move_aside;

use crate::cluster::Cluster;
use crate::node::{Failure, Node, Promises};
use crate::random::Random;
use crate::simulated_disk::{Fault, SimulatedDisk};

/// When faults come.
#[derive(Clone, Copy, Debug)]
enum Faults {
    /// This one; kills and power cuts between operations besides.
    One(Option<Fault>),
    /// Again and again, at random.
    Random,
}

/// What the node does. A life of each kind draws other numbers, so seeds that were found belong to one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Duties {
    /// It records the log, and fetches snapshots from members.
    Following,
    /// It also takes snapshots of its own, purges and announces, and now and then its operator has it forget all.
    All,
}

/// Lives until the log is complete at the latest.
const LIFE_COUNT_MAX: i32 = 60;

/// One node from its first start to the end of the cluster's log. Returns how many operations the disk saw.
fn run(seed: u64, duties: Duties, faults: Faults) -> u64 {
    let story = Story::new(seed, duties, faults);
    let mut random = Random::new(seed);
    let cluster = Cluster::new(seed);
    let level = *random.pick(&[SyncLevel::None, SyncLevel::Data, SyncLevel::All]);
    let mut disk = SimulatedDisk::new(seed);
    if let Faults::One(fault) = faults {
        disk.set_fault(fault);
    }
    let mut promises = Promises::default();
    let mut reseeds = Reseeds::default();
    let mut boot = 0;
    for life in 1..=LIFE_COUNT_MAX {
        let is_last = life == LIFE_COUNT_MAX;
        if let Faults::Random = faults {
            disk.set_fault((!is_last).then(|| random_fault(&mut random, disk.operation_count())).flatten());
        }
        let boot_id = BootId::named(&format!("boot {boot}"));
        let root = disk.root().join("node");
        story.note(format!(
            "life {life}, {boot_id:?}, from operation {}: {:?}",
            disk.operation_count(),
            disk.fault()
        ));
        reseeds.check(&root);
        let ended = if duties == Duties::All && reseeds.are_wanted(&root, is_last, &mut random) {
            reseeds.forget(&root, &mut promises).map(|()| Ending::Killed)
        } else {
            let started = Node::start(&cluster, &root, level, &boot_id, life, &mut promises);
            started.and_then(|node| live(node, &disk, &mut random, duties, is_last, &mut promises))
        };
        match ended {
            Ok(Ending::Complete) => return disk.operation_count(),
            Ok(Ending::Killed) => story.note("killed".to_owned()),
            Ok(Ending::PowerCut) => disk.cut_power(),
            Err(failure) => {
                story.note(failure.clone());
                assert!(disk.has_failed(), "life {life} ended though the disk did nothing: {failure}");
            }
        }
        // The operator has made room, or has replaced the cable.
        if disk.has_failed() {
            disk.set_fault(None);
        }
        story.note(format!("{promises:?}"));
        if disk.is_off() {
            story.note("power cut".to_owned());
            disk = disk.power_on();
            // Only what is on the disk counts, until another life has looked.
            promises.is_confirmed = false;
            boot += 1;
        }
    }
    panic!("the last life did not end with a complete log");
}

enum Ending {
    Complete,
    Killed,
    PowerCut,
}

/// What a node does in one life.
fn live(
    mut node: Node<'_>,
    disk: &SimulatedDisk,
    random: &mut Random,
    duties: Duties,
    is_last: bool,
    promises: &mut Promises,
) -> Result<Ending, Failure> {
    node.create_log(promises)?;
    let action_count = if is_last { u64::MAX } else { random.below(40) };
    for _ in 0..action_count {
        if node.is_complete() {
            node.follow(usize::MAX)?;
            node.take_snapshot_once(promises)?;
            node.close(promises)?;
            return Ok(Ending::Complete);
        }
        let action_count = if duties == Duties::All { 20 } else { 12 };
        match random.below(action_count) {
            0..=4 => node.record(1 + random.below(24) as usize, promises)?,
            5 | 6 => node.sync(promises)?,
            7 => node.prepare(),
            8 | 9 => node.follow(random.below(4) as usize)?,
            10 => node.take_snapshot_once(promises)?,
            11 => node.discard_snapshot()?,
            12..=14 => node.take_own_snapshot_once(promises)?,
            15..=17 => node.purge(1 + random.below(2) as usize, promises)?,
            _ => node.announce(promises)?,
        }
        if disk.is_off() {
            return Err("the power has gone".to_owned());
        }
    }
    match random.below(4) {
        0 => node.close(promises).map(|()| Ending::Killed),
        1 => Ok(Ending::PowerCut),
        _ => Ok(Ending::Killed),
    }
}

/// The operator has the node forget everything, as often as it takes.
#[derive(Default)]
struct Reseeds {
    is_under_way: bool,
    done_count: u32,
    aside: Vec<PathBuf>,
}

impl Reseeds {
    fn are_wanted(&mut self, root: &Path, is_last: bool, random: &mut Random) -> bool {
        let may_begin = !is_last && self.done_count < 3 && root.join("cluster").is_dir();
        self.is_under_way |= may_begin && random.one_in(8);
        self.is_under_way
    }

    fn forget(&mut self, root: &Path, promises: &mut Promises) -> Result<(), Failure> {
        // The names of two that follow one another tell milliseconds.
        std::thread::sleep(Duration::from_millis(2));
        let aside = move_aside(root).map_err(|error| error.to_string())?;
        self.aside.push(aside.strip_prefix(root).expect("it is within").to_owned());
        *promises = Promises::default();
        self.is_under_way = false;
        self.done_count += 1;
        Ok(())
    }

    /// What was moved aside is there for good.
    fn check(&self, root: &Path) {
        for aside in &self.aside {
            assert!(root.join(aside).join("archive").is_dir(), "{aside:?} has no archive");
            assert!(root.join(aside).join("cluster").is_dir(), "{aside:?} has no cluster");
        }
    }
}

fn random_fault(random: &mut Random, operation_count: u64) -> Option<Fault> {
    let at = operation_count + random.below(120);
    Some(match random.below(8) {
        0 => Fault::Refused { at, errno: libc::EIO },
        1 => Fault::Refused { at, errno: libc::ENOSPC },
        2 => Fault::Full { at },
        3 => Fault::Broken { at },
        4..=6 => Fault::PowerCut { at },
        _ => return None,
    })
}

/// What happened so far, told only if it ends badly.
struct Story {
    seed: u64,
    duties: Duties,
    faults: Faults,
    events: RefCell<Vec<String>>,
}

impl Story {
    fn new(seed: u64, duties: Duties, faults: Faults) -> Self {
        Self { seed, duties, faults, events: RefCell::default() }
    }

    fn note(&self, event: String) {
        self.events.borrow_mut().push(event);
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.events.borrow().join("\n"));
            eprintln!("failed: run({}, Duties::{:?}, Faults::{:?})", self.seed, self.duties, self.faults);
        }
    }
}

/// A seed to look at closer, or where to begin.
fn first_seed() -> u64 {
    std::env::var("STANDBY_FIRST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0)
}

fn is_long() -> bool {
    std::env::var_os("STANDBY_LONG").is_some_and(|value| value == "1")
}

#[test]
fn a_node_that_meets_fault_after_fault_records_the_whole_log() {
    let first = first_seed();
    let count = if is_long() { 5_000 } else { 200 };
    for seed in first..first + count {
        run(seed, Duties::Following, Faults::Random);
    }
}

#[test]
fn a_standby_that_snapshots_purges_announces_and_is_reseeded_restarts_to_a_right_state() {
    let first = first_seed();
    let count = if is_long() { 5_000 } else { 100 };
    for seed in first..first + count {
        run(seed, Duties::All, Faults::Random);
    }
}

#[test]
fn a_tail_is_cut_only_when_the_disk_no_longer_calls_it_durable() {
    // A mark whose sync had failed was on the disk all the same, and named what the next life cut off.
    run(298, Duties::Following, Faults::Random);
}

#[test]
fn a_mark_file_whose_header_a_power_cut_lost_is_taken_for_none() {
    // The length was on the disk and the header was not: the next start asked the operator to remove the file.
    run(921, Duties::Following, Faults::Random);
}

#[test]
fn a_catalog_whose_header_could_not_be_synced_has_it_synced_at_the_next_start() {
    // It was written again at the next start, but not synced; records behind it were written back, it was not.
    run(1737, Duties::Following, Faults::Random);
}

#[test]
fn a_set_that_was_given_up_counts_no_more_when_a_power_cut_brings_its_rows_back() {
    // Its recordings had been withdrawn on the disk, and the sync of recording.log had failed.
    run(5440, Duties::Following, Faults::Random);
}

#[test]
fn a_mark_of_what_is_durable_whose_sync_failed_is_on_the_disk_once_a_start_has_read_it() {
    // The next life found the same position durable, had nothing to write, and said so; the disk had an older mark.
    run(78, Duties::All, Faults::Random);
}

#[test]
fn parts_of_lost_catalog_records_are_no_records_behind_later_ones() {
    // A power cut lost a record and kept the end of the next; another one kept a record in front of that.
    run(585, Duties::All, Faults::Random);
}

#[test]
fn a_record_that_was_given_up_before_its_descriptor_was_on_the_disk_is_passed_over() {
    // The state was on the disk and the rest of the record was not.
    run(1128, Duties::All, Faults::Random);
}

#[test]
fn every_operation_may_fail_or_be_the_last_before_a_power_cut() {
    let (seeds, step) = if is_long() { (0..12, 1) } else { (0..4, 7) };
    for seed in seeds {
        // In the short run every seventh, from another one on with each seed.
        every_fault(seed, Duties::Following, seed, step);
    }
}

#[test]
fn every_operation_of_a_standbys_duties_may_fail_or_be_the_last_before_a_power_cut() {
    let (seeds, step) = if is_long() { (0..8, 3) } else { (0..4, 41) };
    for seed in seeds {
        every_fault(seed, Duties::All, seed * 10, step);
    }
}

fn every_fault(seed: u64, duties: Duties, first: u64, step: usize) {
    let operation_count = run(seed, duties, Faults::One(None));
    for at in (first..operation_count).step_by(step) {
        run(seed, duties, Faults::One(Some(Fault::Refused { at, errno: libc::EIO })));
        run(seed, duties, Faults::One(Some(Fault::Refused { at, errno: libc::ENOSPC })));
        run(seed, duties, Faults::One(Some(Fault::Full { at })));
        run(seed, duties, Faults::One(Some(Fault::PowerCut { at })));
    }
}
