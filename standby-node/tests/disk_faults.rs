//! The store on a disk that refuses, fills up, breaks, or loses power at any operation: it always restarts to a right
//! state, and records on from there to the same end.
//!
//! One seed decides the cluster's log, what the node does and in which order, when it is killed and what the disk
//! does. A failing seed is printed; it becomes a test with a name.

#[path = "disk_faults/cluster.rs"]
mod cluster;
#[path = "disk_faults/node.rs"]
mod node;
#[path = "disk_faults/random.rs"]
mod random;
#[path = "disk_faults/simulated_disk.rs"]
mod simulated_disk;

use std::cell::RefCell;

use standby_node::store::SyncLevel;
use standby_node::store::durability::BootId;

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

/// Lives until the log is complete at the latest.
const LIFE_COUNT_MAX: i32 = 60;

/// One node from its first start to the end of the cluster's log. Returns how many operations the disk saw.
fn run(seed: u64, faults: Faults) -> u64 {
    let story = Story::new(seed, faults);
    let mut random = Random::new(seed);
    let cluster = Cluster::new(seed);
    let level = *random.pick(&[SyncLevel::None, SyncLevel::Data, SyncLevel::All]);
    let mut disk = SimulatedDisk::new(seed);
    if let Faults::One(fault) = faults {
        disk.set_fault(fault);
    }
    let mut promises = Promises::default();
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
        let started = Node::start(&cluster, &root, level, &boot_id, life, &mut promises);
        let ended = started.and_then(|node| live(node, &disk, &mut random, is_last, &mut promises));
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
        match random.below(12) {
            0..=4 => node.record(1 + random.below(24) as usize, promises)?,
            5 | 6 => node.sync(promises)?,
            7 => node.prepare(),
            8 | 9 => node.follow(random.below(4) as usize)?,
            10 => node.take_snapshot_once(promises)?,
            _ => node.discard_snapshot()?,
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
    faults: Faults,
    events: RefCell<Vec<String>>,
}

impl Story {
    fn new(seed: u64, faults: Faults) -> Self {
        Self { seed, faults, events: RefCell::default() }
    }

    fn note(&self, event: String) {
        self.events.borrow_mut().push(event);
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.events.borrow().join("\n"));
            eprintln!("failed: run({}, Faults::{:?})", self.seed, self.faults);
        }
    }
}

fn is_long() -> bool {
    std::env::var_os("STANDBY_LONG").is_some_and(|value| value == "1")
}

#[test]
fn a_node_that_meets_fault_after_fault_records_the_whole_log() {
    // A seed to look at closer, or where to begin.
    let first = std::env::var("STANDBY_FIRST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    let count = if is_long() { 20_000 } else { 200 };
    for seed in first..first + count {
        run(seed, Faults::Random);
    }
}

#[test]
fn a_tail_is_cut_only_when_the_disk_no_longer_calls_it_durable() {
    // A mark whose sync had failed was on the disk all the same, and named what the next life cut off.
    run(298, Faults::Random);
}

#[test]
fn a_mark_file_whose_header_a_power_cut_lost_is_taken_for_none() {
    // The length was on the disk and the header was not: the next start asked the operator to remove the file.
    run(921, Faults::Random);
}

#[test]
fn a_catalog_whose_header_could_not_be_synced_has_it_synced_at_the_next_start() {
    // It was written again at the next start, but not synced; records behind it were written back, it was not.
    run(1737, Faults::Random);
}

#[test]
fn a_set_that_was_given_up_counts_no_more_when_a_power_cut_brings_its_rows_back() {
    // Its recordings had been withdrawn on the disk, and the sync of recording.log had failed.
    run(5440, Faults::Random);
}

#[test]
fn every_operation_may_fail_or_be_the_last_before_a_power_cut() {
    let (seeds, step) = if is_long() { (0..60, 1) } else { (0..4, 7) };
    for seed in seeds {
        let operation_count = run(seed, Faults::One(None));
        // In the short run every seventh, from another one on with each seed.
        for at in (seed..operation_count).step_by(step) {
            run(seed, Faults::One(Some(Fault::Refused { at, errno: libc::EIO })));
            run(seed, Faults::One(Some(Fault::Refused { at, errno: libc::ENOSPC })));
            run(seed, Faults::One(Some(Fault::Full { at })));
            run(seed, Faults::One(Some(Fault::PowerCut { at })));
        }
    }
}
