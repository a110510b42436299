//! How long appending to a recording stalls the thread that does it, with and without syncing, against a plain
//! buffer that another thread writes out.
//!
//! ```text
//! cargo run --release -p standby-node --example segment_stall -- <directory> [seconds] [MB/s]
//! ```
//! Runs of 1,408 bytes are appended at the given rate (default 150 MB/s; 0: as fast as it goes), each timed.
//! Beside the times stand what the appending thread met meanwhile: page faults, which are the mapping's doing, and
//! how often the scheduler took its core away, which on a shared machine makes the largest times whatever the case.
//! The directory should lie on the disk that the archive would use; its segments are removed again.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use consensus_tap::file::segment::RecordingGeometry;
use hdrhistogram::Histogram;
use standby_node::store::recording_syncer::RecordingSyncer;
use standby_node::store::recording_writer::RecordingWriter;
use standby_node::store::segment_preparer::{SegmentPreparer, segment_pipeline};

const FRAME_LENGTH: usize = 1408;
const TERM_LENGTH: i32 = 64 << 20;
const SEGMENT_LENGTH: i32 = 128 << 20;
const STREAM_ID: i32 = 100;
const SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// Datagrams in the plain buffer that the other thread writes out.
const BUFFER_CAPACITY: usize = 1 << 16;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Sync {
    None,
    Range,
    WholeFile,
}

struct Outcome {
    histogram: Histogram<u64>,
    bytes: u64,
    took: Duration,
    faults: u64,
    preemptions: u64,
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().expect("usage: segment_stall <directory> [seconds] [MB/s]");
    let seconds = arguments.next().map_or(5, |text| text.parse().expect("seconds"));
    let rate = arguments.next().map_or(150, |text| text.parse().expect("MB/s"));
    let directory = Path::new(&directory);
    let duration = Duration::from_secs(seconds);
    println!("{FRAME_LENGTH}-byte runs, {rate} MB/s asked (0: unlimited), {seconds} s each; times in us");
    println!(
        "{:<44} {:>7} {:>8} {:>8} {:>8} {:>9} {:>10}",
        "case", "MB/s", "p50", "p99", "p99.9", "p99.99", "max"
    );
    for (name, sync) in [
        ("mapped, no sync", Sync::None),
        ("mapped, range synced each second", Sync::Range),
        ("mapped, whole file synced each second", Sync::WholeFile),
    ] {
        report(name, &mapped(directory, duration, rate, sync));
    }
    for (name, sync) in [
        ("plain buffer, written by another thread", Sync::None),
        ("plain buffer, written and synced by it", Sync::WholeFile),
    ] {
        report(name, &buffered(directory, duration, rate, sync));
    }
}

fn mapped(directory: &Path, duration: Duration, rate: u64, sync: Sync) -> Outcome {
    let geometry = RecordingGeometry::new(0, 0, TERM_LENGTH, SEGMENT_LENGTH, 0, STREAM_ID).expect("geometry");
    let (supply, mut preparer) = segment_pipeline(directory, geometry);
    let mut writer = RecordingWriter::create(directory, geometry, Some(supply)).expect("first segment");
    preparer.do_work().expect("second segment");
    let published = writer.published();
    let mut syncer = RecordingSyncer::new(directory, geometry, published.clone(), 0);
    let running = AtomicBool::new(true);
    let mut frame = vec![1; FRAME_LENGTH];
    let mut result = None;
    std::thread::scope(|scope| {
        scope.spawn(|| prepare_until_stopped(&mut preparer, &running));
        scope.spawn(|| {
            let mut base = 0;
            while running.load(Ordering::Relaxed) {
                std::thread::sleep(SYNC_INTERVAL);
                match sync {
                    Sync::None => {}
                    Sync::Range => drop(syncer.sync().expect("sync")),
                    Sync::WholeFile => {
                        let now = geometry.segment_base(published.position());
                        while base <= now {
                            let path = directory.join(geometry.segment_name(base));
                            std::fs::File::open(path).and_then(|file| file.sync_data()).expect("fdatasync");
                            base += i64::from(SEGMENT_LENGTH);
                        }
                        base = now;
                    }
                }
            }
        });
        result = Some(paced(duration, rate, || {
            let position = writer.recorded_position();
            let room = geometry.term_end(position) - position;
            if room < FRAME_LENGTH as i64 {
                write_header(&mut frame, room as i32, false, &geometry, position);
                writer.append(position, &frame[..32]).expect("padding");
            } else {
                write_header(&mut frame, FRAME_LENGTH as i32, true, &geometry, position);
                writer.append(position, &frame).expect("append");
            }
        }));
        running.store(false, Ordering::Relaxed);
    });
    if writer.late_segment_count() > 0 {
        println!("  ({} segments were not prepared in time)", writer.late_segment_count());
    }
    let last = writer.recorded_position();
    drop(writer);
    drop(preparer);
    for base in (0..=last).step_by(SEGMENT_LENGTH as usize) {
        let _ = std::fs::remove_file(directory.join(geometry.segment_name(base)));
    }
    result.expect("the scope ran")
}

fn buffered(directory: &Path, duration: Duration, rate: u64, sync: Sync) -> Outcome {
    use std::io::Write;
    let path = directory.join("segment_stall.plain");
    let (mut full, mut empty) = rtrb::RingBuffer::<u8>::new(BUFFER_CAPACITY * FRAME_LENGTH);
    // Fault the buffer in, as the mapping is.
    full.write_chunk_uninit(BUFFER_CAPACITY * FRAME_LENGTH)
        .expect("room")
        .fill_from_iter(std::iter::repeat(0));
    empty.read_chunk(BUFFER_CAPACITY * FRAME_LENGTH).expect("filled").commit_all();
    let running = AtomicBool::new(true);
    let frame = vec![1; FRAME_LENGTH];
    let mut result = None;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = std::fs::File::create(&path).expect("plain file");
            let mut last_sync = Instant::now();
            while running.load(Ordering::Relaxed) {
                let count = empty.slots().min(1 << 20);
                if count == 0 {
                    std::thread::sleep(Duration::from_micros(100));
                } else {
                    let chunk = empty.read_chunk(count).expect("counted");
                    let (first, second) = chunk.as_slices();
                    file.write_all(first).expect("write");
                    file.write_all(second).expect("write");
                    chunk.commit_all();
                }
                if sync != Sync::None && last_sync.elapsed() >= SYNC_INTERVAL {
                    file.sync_data().expect("fdatasync");
                    last_sync = Instant::now();
                }
            }
        });
        result = Some(paced(duration, rate, || {
            while full.slots() < FRAME_LENGTH {
                std::hint::spin_loop();
            }
            full.push_entire_slice(&frame).expect("room");
        }));
        running.store(false, Ordering::Relaxed);
    });
    let _ = std::fs::remove_file(&path);
    result.expect("the scope ran")
}

/// Calls `append` at the rate, and times each call. Late calls are made at once, as datagrams would queue.
fn paced(duration: Duration, rate: u64, mut append: impl FnMut()) -> Outcome {
    let mut histogram = Histogram::new(3).expect("histogram");
    let interval_ns = (FRAME_LENGTH as u64 * 1000).checked_div(rate).unwrap_or(0);
    let (faults_before, preemptions_before) = thread_usage();
    let start = Instant::now();
    let mut due_ns = 0;
    let mut count = 0;
    loop {
        let mut before = start.elapsed();
        while (before.as_nanos() as u64) < due_ns {
            std::hint::spin_loop();
            before = start.elapsed();
        }
        if before >= duration {
            let (faults, preemptions) = thread_usage();
            return Outcome {
                histogram,
                bytes: count * FRAME_LENGTH as u64,
                took: before,
                faults: faults - faults_before,
                preemptions: preemptions - preemptions_before,
            };
        }
        append();
        let after = start.elapsed();
        histogram.record((after - before).as_nanos() as u64).expect("in range");
        count += 1;
        due_ns += interval_ns;
    }
}

fn prepare_until_stopped(preparer: &mut SegmentPreparer, running: &AtomicBool) {
    while running.load(Ordering::Relaxed) {
        if preparer.do_work().expect("prepare") == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn write_header(frame: &mut [u8], length: i32, is_data: bool, geometry: &RecordingGeometry, position: i64) {
    frame[..4].copy_from_slice(&length.to_le_bytes());
    frame[4..6].copy_from_slice(&[0, 0xC0]);
    frame[6..8].copy_from_slice(&u16::from(is_data).to_le_bytes());
    frame[8..12].copy_from_slice(&geometry.term_offset(position).to_le_bytes());
    frame[12..16].copy_from_slice(&[0; 4]);
    frame[16..20].copy_from_slice(&STREAM_ID.to_le_bytes());
    frame[20..24].copy_from_slice(&geometry.term_id(position).to_le_bytes());
}

fn report(name: &str, outcome: &Outcome) {
    let us = |value: u64| value as f64 / 1000.0;
    let histogram = &outcome.histogram;
    println!(
        "{name:<40} {:>5.0} {:>7.2} {:>7.2} {:>7.2} {:>9.2} {:>10.1} {:>8} {:>10}",
        outcome.bytes as f64 / 1e6 / outcome.took.as_secs_f64(),
        us(histogram.value_at_quantile(0.5)),
        us(histogram.value_at_quantile(0.99)),
        us(histogram.value_at_quantile(0.999)),
        us(histogram.value_at_quantile(0.9999)),
        us(histogram.max()),
        outcome.faults,
        outcome.preemptions,
    );
}

/// Page faults (minor and major) of this thread so far, and how often the scheduler took its core away.
fn thread_usage() -> (u64, u64) {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("stat");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("a name").split_whitespace().collect();
    // Fields 10 and 12 of proc(5), of which the first two end with the name.
    let field = |number: usize| fields[number - 3].parse::<u64>().expect("a count");
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("status");
    let preemptions = status.lines().find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"));
    (field(10) + field(12), preemptions.expect("a count").trim().parse().expect("a count"))
}
