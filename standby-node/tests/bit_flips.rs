//! Every kind of file that a node keeps, with one bit flipped or its end cut off: whatever describes, verifies or starts
//! from it says so, with the file and the place, or nothing comes of it. Nothing panics, and nothing is silently used.
//!
//! Two things no reader can know. Aeron's formats carry no checksum over a frame's payload (nor over the fields of its
//! header that only the wire needs), so in the log a flip there is found only where the bytes have a structure; snapshots
//! have a checksum of our own beside them. And nothing holds the timestamp of a snapshot's row against anything. For
//! these, only the absence of panics is held.

mod support;

use std::fs;
use std::ops::{ControlFlow, Range};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use consensus_tap::file::archive_mark::ArchiveMark;
use consensus_tap::file::cluster_mark::ClusterMark;
use consensus_tap::file::node_state::CandidateTerm;
use consensus_tap::log::{LogReader, LogStart, MidMessage, PollLimits};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use standby_node::inspection::NodeFiles;
use standby_node::inspection::archive_report::{ArchiveReport, ArchiveVerification};
use standby_node::inspection::node_report::NodeReport;
use standby_node::inspection::recording_check::Depth;
use standby_node::inspection::recording_log_report::RecordingLogReport;
use standby_node::inspection::recovery_plan::RecoveryPlan;
use standby_node::inspection::snapshot_report::{SnapshotList, SnapshotReport, SnapshotVerification};
use standby_node::seed::seed;
use standby_node::status::StatusReport;
use standby_node::store::SyncLevel;
use standby_node::store::cnc::{CncFile, CncSettings};
use standby_node::store::directory::NodeDirectory;
use standby_node::store::history::History;
use standby_node::store::mark::{ArchiveMarkFile, ClusterMarkFile};
use standby_node::store::node_state::NodeStateFile;
use support::history::{Ending, Made, SEGMENT, make};

const NOW_MS: i64 = 1_800_000_000_000;
const HEADER: usize = 32;

/// What is done to a file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    /// Of the byte at this part of the range, this bit.
    Flip { at: prop::sample::Index, bit: u8 },
    /// The file ends at this part of the range.
    Cut { at: prop::sample::Index },
}

fn damages() -> impl Strategy<Value = Damage> {
    prop_oneof![
        9 => (any::<prop::sample::Index>(), 0_u8..8).prop_map(|(at, bit)| Damage::Flip { at, bit }),
        1 => any::<prop::sample::Index>().prop_map(|at| Damage::Cut { at }),
    ]
}

/// A directory of which one file is damaged.
struct Victim {
    made: Made,
    file: PathBuf,
    /// Which bytes of the file are damaged.
    range: Range<usize>,
    /// Bytes whose flips nobody can tell.
    is_free: Box<dyn Fn(usize) -> bool>,
    _temp: tempfile::TempDir,
}

fn victim(
    ending: Ending,
    file: impl Fn(&Made) -> String,
    range: impl Fn(&Made, usize) -> Range<usize>,
) -> Victim {
    // In memory where that is possible: every case copies the directory.
    let memory = Path::new("/dev/shm");
    let temp = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let temp = temp.expect("a temporary directory");
    let dir = temp.path().join("node");
    let made = make(&dir, SEGMENT * 3 - 4096, ending);
    let state = dir.join("cluster/node-state.dat");
    let term = CandidateTerm { candidate_term_id: 0, timestamp: 1, log_position: 2 };
    NodeStateFile::open_or_create(&state)
        .and_then(|mut file| file.update(term, SyncLevel::None))
        .expect("written");
    let settings = CncSettings { counter_capacity: 64, error_log_length: 4096, ..CncSettings::default() };
    drop(CncFile::create(&dir.join("aeron"), &settings, NOW_MS).expect("a cnc.dat"));
    let file = dir.join(file(&made));
    let length = fs::metadata(&file).expect("the file").len() as usize;
    let range = range(&made, length);
    Victim { made, file, range, is_free: Box::new(|_| false), _temp: temp }
}

impl Victim {
    fn free(self, is_free: impl Fn(usize) -> bool + 'static) -> Self {
        Self { is_free: Box::new(is_free), ..self }
    }

    /// Damages the file in many ways, and judges each.
    fn try_all(self, cases: u32) {
        let cases = if std::env::var_os("STANDBY_LONG").is_some() { cases * 10 } else { cases };
        let whole = fs::read(&self.file).expect("the file");
        let sound = Start::of(&self.made.dir).expect("a sound directory");
        let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
        let result = runner.run(&damages(), |damage| {
            let mut bytes = whole.clone();
            let at = match damage {
                Damage::Flip { at, bit } => {
                    let at = self.range.start + at.index(self.range.len());
                    bytes[at] ^= 1 << bit;
                    at
                }
                Damage::Cut { at } => {
                    let at = self.range.start + at.index(self.range.len());
                    bytes.truncate(at);
                    at
                }
            };
            fs::write(&self.file, &bytes).expect("written");
            let judged = catch_unwind(AssertUnwindSafe(|| self.judge(&sound, at)));
            fs::write(&self.file, &whole).expect("written");
            match judged {
                Ok(verdict) => verdict.map_err(|text| TestCaseError::fail(format!("byte {at}: {text}"))),
                Err(_) => Err(TestCaseError::fail(format!("byte {at}: a panic"))),
            }
        });
        if let Err(error) = result {
            panic!("{}: {error}", self.file.display());
        }
    }

    /// A segment that the start of a copy removed, on the word of a file that is damaged.
    fn removed_segment(&self) -> Option<String> {
        let names = |dir: &Path| -> Vec<String> {
            let entries = fs::read_dir(dir.join("archive")).expect("a directory");
            let names =
                entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
            names.filter(|name| name.ends_with(".rec")).collect()
        };
        let left = names(&copy_of(&self.made.dir));
        names(&self.made.dir).into_iter().find(|name| {
            let is_damaged = self.file.file_name().is_some_and(|file| file.to_str() == Some(name));
            !is_damaged && !left.contains(name)
        })
    }

    /// Runs everything that reads the directory. An error must name a file; a start must come to where it came before,
    /// or be refused, or have been found by a verb.
    fn judge(&self, sound: &Start, at: usize) -> Result<(), String> {
        let found = look(&self.made.dir)?;
        let start = Start::of(&self.made.dir);
        if let Some(removed) = self.removed_segment() {
            return Err(format!("a start removed {removed}: {start:?}"));
        }
        if (self.is_free)(at) {
            return Ok(());
        }
        match start {
            Err(error) if names_a_place(&error) => Ok(()),
            Err(error) => Err(format!("the error names no file and place: {error}")),
            Ok(start) if start.end == sound.end && start.is_of(&self.made) => Ok(()),
            Ok(_) if found => Ok(()),
            Ok(start) => Err(format!("silently used: {start:?} instead of {sound:?}")),
        }
    }
}

/// Describes and verifies everything; whether anything was found to be wrong. An error that names no file is one.
fn look(dir: &Path) -> Result<bool, String> {
    let files = NodeFiles::open(dir).map_err(|error| error.to_string())?;
    let mut errors = Vec::new();
    let mut faulty = false;
    let mut note = |error: String| errors.push(error);
    let _ = NodeReport::read(&files, NOW_MS).map(|report| report.to_text()).map_err(|e| note(e.to_string()));
    let _ = RecordingLogReport::read(&files).map(|report| report.to_text()).map_err(|e| note(e.to_string()));
    let _ = RecoveryPlan::read(&files, None).map(|plan| plan.to_text()).map_err(|e| note(e.to_string()));
    let _ = SnapshotList::read(&files, Some(1)).map(|list| list.to_text()).map_err(|e| note(e.to_string()));
    let _ = ArchiveReport::read(&files, None).map(|report| report.to_text()).map_err(|e| note(e.to_string()));
    match ArchiveVerification::run(&files, None, Depth::EverySegment, NOW_MS) {
        Ok(verification) => faulty |= verification.faulty_count > 0,
        Err(error) => note(error.to_string()),
    }
    match files.snapshot_sets(None).and_then(|sets| {
        for set in &sets {
            let _ = SnapshotReport::read(&files, set).map(|report| report.to_text());
        }
        SnapshotVerification::run(&files, &sets)
    }) {
        Ok(verification) => faulty |= verification.faulty_count > 0,
        Err(error) => note(error.to_string()),
    }
    let _ = StatusReport::read(&dir.join("aeron")).map(|status| status.to_text());
    let out = dir.with_file_name("member");
    if let Err(error) = seed(&files, &out, 0, Some(1), NOW_MS) {
        note(error.to_string());
    }
    let _ = fs::remove_dir_all(&out);
    match errors.iter().find(|error| !names_a_place(error)) {
        Some(error) => Err(format!("the error names no file and place: {error}")),
        None => Ok(faulty || !errors.is_empty()),
    }
}

/// Whether an error names a file, or which recording it is about.
fn names_a_place(error: &str) -> bool {
    error.contains("/node/")
        || error.contains("the log begins at position")
        || error.contains("recording 0 cannot be")
}

/// Where a start from a directory comes to.
#[derive(Debug)]
struct Start {
    /// Where the log ends, every event up to there having been read.
    end: i64,
    /// The snapshot it starts from.
    set_position: Option<i64>,
}

impl Start {
    /// Opens a copy of the directory as a node does, and reads the log from the newest sound set to its end.
    fn of(dir: &Path) -> Result<Self, String> {
        let copy = copy_of(dir);
        let _ = fs::remove_dir_all(&copy);
        copy_files(dir, &copy);
        Self::from(&copy)
    }

    fn from(dir: &Path) -> Result<Self, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let directory = NodeDirectory::open(dir, NOW_MS).map_err(|e| text(&e))?;
        ClusterMarkFile::activate(&directory, ClusterMark::default(), NOW_MS).map_err(|e| text(&e))?;
        ArchiveMarkFile::activate(&directory, ArchiveMark::default(), NOW_MS).map_err(|e| text(&e))?;
        NodeStateFile::open_or_create(&dir.join("cluster/node-state.dat")).map_err(|e| text(&e))?;
        let (_cnc, _counters) = CncFile::create_after(
            directory.previous_holders(),
            &directory.aeron(),
            &CncSettings::default(),
            NOW_MS,
        )
        .map_err(|e| text(&e))?;
        let mut history = History::open(&directory, SyncLevel::None).map_err(|e| text(&e))?;
        let Some(log) = history.recover_log().map_err(|e| text(&e))? else {
            return Ok(Self { end: 0, set_position: None });
        };
        let place = log.place;
        let files = NodeFiles::open(dir).map_err(|e| text(&e))?;
        let in_log = place.start_position()..=place.end_position();
        let sets = files.snapshot_sets(Some(1)).map_err(|e| text(&e))?;
        let sets: Vec<_> = sets.into_iter().filter(|set| in_log.contains(&set.log_position)).collect();
        let newest = sets.into_iter().next();
        if let Some(set) = &newest {
            let verification =
                SnapshotVerification::run(&files, std::slice::from_ref(set)).map_err(|e| text(&e))?;
            if let Some(fault) = verification.sets[0].faults.first() {
                return Err(fault.clone());
            }
        }
        if let Some(set) = &newest {
            for recording_id in [set.consensus_module, set.services[0]] {
                history.snapshot_place(recording_id).map_err(|e| text(&e))?;
            }
        }
        if place.end_position() < log.tail_end {
            // Kept, and not used before a source confirms it.
            return Ok(Self { end: log.tail_end, set_position: None });
        }
        let mut reader = LogReader::new(LogStart {
            terms: place.terms(),
            position: newest.as_ref().map_or(place.start_position(), |set| set.log_position),
            leadership_term_id: newest.as_ref().map(|set| set.leadership_term_id),
            mid_message: MidMessage::Reject,
        });
        let mut recording = place.reader();
        while reader.position() < place.end_position() {
            let run = recording.frames(reader.position(), place.end_position()).map_err(|e| text(&e))?;
            reader
                .poll(run, PollLimits::NONE, |_, _| ControlFlow::Continue(()))
                .map_err(|error| format!("{}/node/: {error}", dir.display()))?;
        }
        Ok(Self { end: reader.position(), set_position: newest.map(|set| set.log_position) })
    }

    /// Whether the set is one that was taken, or the log is there from its beginning.
    fn is_of(&self, made: &Made) -> bool {
        self.set_position.is_none_or(|position| made.sets.iter().any(|set| set.log_position == position))
    }
}

fn copy_of(dir: &Path) -> PathBuf {
    dir.with_file_name("copy").join("node")
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_files(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}

#[test]
fn the_catalog() {
    for ending in [Ending::Clean, Ending::Killed] {
        // Five records of 256 bytes, and some of the zeros behind them.
        victim(ending, |_| "archive/archive.catalog".into(), |_, _| 0..32 + 5 * 256 + 64).try_all(120);
    }
}

#[test]
fn the_recording_log() {
    for ending in [Ending::Clean, Ending::Killed] {
        victim(ending, |_| "cluster/recording.log".into(), |_, length| 0..length)
            // Timestamps, and what lies behind a row's last field.
            .free(|at| (32..40).contains(&(at % 64)) || at % 64 >= 48)
            .try_all(100);
    }
}

#[test]
fn mark_files_and_node_state_and_durable_position() {
    for (file, length) in [
        ("cluster/cluster-mark.dat", 512),
        ("archive/archive-mark.dat", 512),
        ("cluster/node-state.dat", 64),
        ("cluster/durable-position.dat", 1024),
    ] {
        victim(Ending::Killed, |_| file.into(), |_, _| 0..length).try_all(40);
    }
}

#[test]
fn cnc_dat() {
    victim(Ending::Clean, |_| "aeron/cnc.dat".into(), |_, length| 0..length).try_all(50);
}

#[test]
fn segments_of_the_log() {
    for ending in [Ending::Clean, Ending::Killed] {
        for segment in [0, 1, 2] {
            let victim =
                victim(ending, |_| format!("archive/0-{}.rec", SEGMENT * segment), |_, length| 0..length);
            let frames: Vec<usize> = (victim.made.frames.iter())
                .filter(|at| (SEGMENT * segment..SEGMENT * (segment + 1)).contains(*at))
                .map(|at| (at - SEGMENT * segment) as usize)
                .collect();
            victim.free(move |at| is_payload(&frames, at)).try_all(30);
        }
    }
}

#[test]
fn headers_of_the_log() {
    // Only headers, which are few among the bytes: the lengths, terms, offsets and streams.
    for ending in [Ending::Clean, Ending::Killed] {
        for segment in [0, 2] {
            let at = |made: &Made| {
                let base = SEGMENT * segment;
                made.frames.iter().filter(|at| **at >= base).nth(7).map_or(0, |at| (at - base) as usize)
            };
            victim(
                ending,
                |_| format!("archive/0-{}.rec", SEGMENT * segment),
                |made, _| at(made)..at(made) + HEADER,
            )
            .try_headers();
        }
    }
}

#[test]
fn segments_of_snapshots() {
    for is_module in [true, false] {
        let recording =
            |made: &Made| if is_module { made.sets[1].consensus_module } else { made.sets[1].services[0] };
        let victim =
            victim(Ending::Killed, |made| format!("archive/{}-0.rec", recording(made)), |_, _| 0..1024);
        let frames = frames_of(&victim.file);
        assert!(frames.len() > 3, "a snapshot has several frames: {frames:?}");
        // What lies behind the last frame belongs to nothing.
        let end = recorded_end(&victim.file, &frames);
        victim.free(move |at| at >= end).try_all(100);
    }
}

#[test]
fn checksums_of_snapshots() {
    let checksum = |made: &Made| format!("archive/{}-0.rec.crc32", made.sets[1].services[0]);
    victim(Ending::Killed, checksum, |_, length| 0..length).try_all(60);
}

/// Offsets of the frames in a segment.
fn frames_of(segment: &Path) -> Vec<usize> {
    let bytes = fs::read(segment).expect("a segment");
    let mut frames = Vec::new();
    let mut at = 0;
    while let Some(length) =
        bytes.get(at..at + 4).and_then(|length| length.try_into().ok()).map(u32::from_le_bytes)
    {
        if length == 0 {
            break;
        }
        frames.push(at);
        at += (length as usize).next_multiple_of(HEADER);
    }
    frames
}

/// Where the last of a segment's frames ends.
fn recorded_end(segment: &Path, frames: &[usize]) -> usize {
    let bytes = fs::read(segment).expect("a segment");
    let last = *frames.last().expect("a frame");
    let length = u32::from_le_bytes(bytes[last..last + 4].try_into().expect("four bytes"));
    last + (length as usize).next_multiple_of(HEADER)
}

impl Victim {
    /// Flips every bit of one frame's header that a recording depends on: length, type, term offset, stream and term id.
    fn try_headers(self) {
        let whole = fs::read(&self.file).expect("the file");
        let sound = Start::of(&self.made.dir).expect("a sound directory");
        let fields = [0..4, 6..8, 8..12, 16..20, 20..24].into_iter().flatten();
        for at in fields.map(|field| self.range.start + field) {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                fs::write(&self.file, &bytes).expect("written");
                let verdict = self.judge(&sound, at);
                fs::write(&self.file, &whole).expect("written");
                assert_eq!(verdict, Ok(()), "{}, byte {at}, bit {bit}", self.file.display());
            }
        }
    }
}

/// Whether a byte of a segment belongs to a payload, to a header's fields that only the wire needs, or to nothing yet.
fn is_payload(frames: &[usize], at: usize) -> bool {
    match frames.iter().rfind(|frame| **frame <= at) {
        None => true,
        Some(frame) => !matches!(at - frame, 0..4 | 6..12 | 16..24),
    }
}
