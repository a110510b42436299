use std::path::Path;

use consensus_tap::file::cnc::CncLayout;
use consensus_tap::file::segment::RecordingGeometry;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;

use super::counters::{CountersManager, CountersReader};
use super::segment_preparer::{SegmentPreparer, segment_pipeline};
use crate::sys::disk;
use crate::sys::mapped::SharedFile;

const SEGMENT_LENGTH: i64 = 65536;

/// The writer wants two segments after one another and waits for neither. What it gets is whole and of the
/// right base, stays where it is, and what came too late is removed.
#[test]
fn a_prepared_segment_is_whole_or_not_there() {
    crate::in_every_order(|| {
        disk::format();
        let geometry = RecordingGeometry::new(0, 0, 65536, SEGMENT_LENGTH as i32, 0, 100).unwrap();
        let (mut supply, mut preparer) = segment_pipeline(Path::new("archive"), geometry);
        let preparing = thread::spawn(move || {
            preparer.do_work().unwrap();
            preparer.do_work().unwrap();
            preparer
        });
        let mut taken = Vec::new();
        for base_position in [SEGMENT_LENGTH, 2 * SEGMENT_LENGTH] {
            supply.want(base_position);
            if let Some(file) = supply.take(base_position) {
                assert_eq!(file.path(), Path::new("archive").join(geometry.prepared_name(base_position)));
                assert_eq!(file.populated() as i64, SEGMENT_LENGTH, "faulted in before it was handed over");
                taken.push(file);
            }
        }
        drop(supply);
        let mut preparer: SegmentPreparer = preparing.join().unwrap();
        preparer.do_work().unwrap();
        let files = disk::files();
        assert!(taken.iter().all(|file| files.iter().any(|path| path == file.path())), "what is used stays");
        // One that was pushed while the writer left stays in the ring; the next start removes it.
        assert!(files.len() <= taken.len() + 1, "{files:?}");
    });
}

#[test]
fn a_counter_is_found_whole_or_not_at_all() {
    crate::in_every_order(|| {
        let layout = CncLayout::new(64, 4096);
        let file = Arc::new(SharedFile::new(&layout));
        let owner = {
            let file = Arc::clone(&file);
            thread::spawn(move || {
                CountersManager::new(file, layout).allocate(220, b"key", "label", 7).unwrap();
            })
        };
        for counter in CountersReader::new(&file, layout).into_iter() {
            assert_eq!((counter.type_id, counter.value), (220, 7));
            assert_eq!((&counter.key[..4], &*counter.label), (&b"key\0"[..], "label"));
        }
        owner.join().unwrap();
        assert_eq!(CountersReader::new(&file, layout).into_iter().count(), 1);
    });
}

#[test]
fn who_sees_a_value_sees_what_was_written_before() {
    crate::in_every_order(|| {
        let layout = CncLayout::new(64, 4096);
        let file = Arc::new(SharedFile::new(&layout));
        let counter = CountersManager::new(file, layout).allocate(220, &[], "recorded", 0).unwrap();
        let written = Arc::new(AtomicU64::new(0));
        let writer = {
            let (counter, written) = (counter.clone(), Arc::clone(&written));
            thread::spawn(move || {
                written.store(1, Ordering::Relaxed);
                counter.set_ordered(1);
                written.store(2, Ordering::Relaxed);
                counter.add_ordered(1);
            })
        };
        let seen = counter.get_volatile();
        assert!(written.load(Ordering::Relaxed) as i64 >= seen, "{seen} was told");
        writer.join().unwrap();
    });
}

/// A control toggle: of two that would set it, one does; and what two threads count is all counted.
#[test]
fn threads_that_set_one_counter_lose_nothing() {
    crate::in_every_order(|| {
        let layout = CncLayout::new(64, 4096);
        let mut manager = CountersManager::new(Arc::new(SharedFile::new(&layout)), layout);
        let toggle = manager.allocate(223, &[], "toggle", 0).unwrap();
        let errors = manager.allocate(0, &[], "errors", 0).unwrap();
        let other = {
            let (toggle, errors) = (toggle.clone(), errors.clone());
            thread::spawn(move || {
                errors.add(1);
                toggle.compare_and_set(0, 1)
            })
        };
        errors.add(1);
        let was_ours = toggle.compare_and_set(0, 2);
        let was_theirs = other.join().unwrap();
        assert!(was_ours != was_theirs, "one of the two");
        assert_eq!(toggle.get_volatile(), if was_ours { 2 } else { 1 });
        assert_eq!(errors.get_volatile(), 2);
    });
}
