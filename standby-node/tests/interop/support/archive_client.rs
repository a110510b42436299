//! An official client of an archive, and an official archive that replicates from one.

use std::path::Path;
use std::time::Duration;

use super::cluster::field;
use super::java;
use super::process::Process;
use super::scratch::Scratch;

const TIMEOUT: Duration = Duration::from_secs(90);

/// A running ArchiveClient.java. Dropping it kills it.
pub(crate) struct ArchiveClient {
    process: Process,
}

/// What a command came to: its last line, and those before it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) details: Vec<String>,
    pub(crate) line: String,
}

impl ArchiveClient {
    /// Starts one for the archive at `control`; flags are those of ArchiveClient.java.
    pub(crate) fn start(scratch: &Scratch, name: &str, control: &str, flags: &[&str]) -> Self {
        let mut command = java::command("ArchiveClient", java::AERON_VERSION);
        command
            .args(["--control", control, "--aeron-dir"])
            .arg(scratch.data(&format!("driver-{name}")))
            .args(flags);
        Self { process: Process::spawn(name, &command, &scratch.log(name)) }
    }

    /// How connecting went: `connected archiveId=N` or `refused code=N …`.
    ///
    /// # Panics
    /// If neither comes.
    pub(crate) fn connected(&self) -> String {
        let is_outcome = |line: &str| line.starts_with("connected ") || line.starts_with("refused ");
        self.process
            .await_line(0, TIMEOUT, "an outcome", is_outcome)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Begins a command; [`Self::outcome`] waits for what it comes to.
    pub(crate) fn begin(&self, command: &str) -> usize {
        let from = self.process.lines().count();
        self.process.write_line(command);
        from
    }

    /// What the command that was begun there came to.
    ///
    /// # Panics
    /// If that is not known in time.
    pub(crate) fn outcome(&self, from: usize) -> Outcome {
        let is_outcome = |line: &str| line.starts_with("ok ") || line.starts_with("error ");
        let line = self.process.await_line(from, TIMEOUT, "an outcome", is_outcome);
        let line = line.unwrap_or_else(|error| panic!("{error}"));
        let details =
            self.process.lines().all().into_iter().skip(from).filter(|other| *other != line).collect();
        Outcome { details, line }
    }

    /// Runs a command that succeeds.
    ///
    /// # Panics
    /// If it does not.
    pub(crate) fn run(&self, command: &str) -> Outcome {
        let outcome = self.outcome(self.begin(command));
        assert!(outcome.line.starts_with("ok "), "{command}: {outcome:?}");
        outcome
    }

    /// Runs a command that is refused with this code and these words.
    ///
    /// # Panics
    /// If it is not.
    pub(crate) fn expect_error(&self, command: &str, code: i32, words: &str) {
        let outcome = self.outcome(self.begin(command));
        let is_expected =
            outcome.line.starts_with(&format!("error code={code} ")) && outcome.line.contains(words);
        assert!(is_expected, "{command}: expected code {code} and `{words}`, found {outcome:?}");
    }
}

impl Outcome {
    /// A number of the last line.
    ///
    /// # Panics
    /// If there is none of that name.
    pub(crate) fn number(&self, key: &str) -> i64 {
        number(&self.line, key)
    }

    /// A text of the last line.
    ///
    /// # Panics
    /// If there is none of that name.
    pub(crate) fn text(&self, key: &str) -> &str {
        field(&self.line, key).unwrap_or_else(|| panic!("no {key} in {}", self.line))
    }
}

/// A number of a line.
///
/// # Panics
/// If there is none of that name.
pub(crate) fn number(line: &str, key: &str) -> i64 {
    let value = field(line, key).and_then(|value| value.parse().ok());
    value.unwrap_or_else(|| panic!("no number {key} in {line}"))
}

/// The bytes of a recording in an archive's directory between two positions, its session ids left out: they are those
/// of whoever sent the bytes.
///
/// # Panics
/// If they are not there.
pub(crate) fn recorded(archive: &Path, recording_id: i64, from: i64, to: i64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut segments: Vec<(i64, std::path::PathBuf)> = std::fs::read_dir(archive)
        .expect("an archive's directory")
        .filter_map(|entry| {
            let path = entry.expect("a file").path();
            let name = path.file_name()?.to_str()?.strip_suffix(".rec")?;
            let (id, base) = name.split_once('-')?;
            (id.parse() == Ok(recording_id))
                .then(|| base.parse().ok())
                .flatten()
                .map(|base| (base, path.clone()))
        })
        .collect();
    segments.sort();
    for (base, path) in segments {
        let segment = std::fs::read(path).expect("a segment");
        let begin = (from - base).clamp(0, segment.len() as i64) as usize;
        let end = (to - base).clamp(0, segment.len() as i64) as usize;
        bytes.extend_from_slice(&segment[begin..end]);
    }
    assert_eq!(bytes.len() as i64, to - from, "recording {recording_id} in {}", archive.display());
    let mut at = 0;
    while at < bytes.len() {
        let length = i32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        assert!(length > 0, "no frame at {}", from + at as i64);
        bytes[at + 12..at + 16].fill(0);
        at += (length as usize).next_multiple_of(32);
    }
    bytes
}

/// What ArchiveClient.java hashes of a replay: of every DATA frame its end position, flags and payload. With how many
/// there are.
pub(crate) fn fingerprint(bytes: &[u8], position: i64) -> (i64, i64) {
    let mut crc = crc32fast::Hasher::new();
    let (mut at, mut count) = (0, 0);
    while at < bytes.len() {
        let length = i32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize;
        let end = at + length.next_multiple_of(32);
        let is_padding = bytes[at + 6] == 0;
        if !is_padding {
            crc.update(&(position + end as i64).to_le_bytes());
            crc.update(&bytes[at + 5..at + 6]);
            crc.update(&bytes[at + 32..at + length]);
            count += 1;
        }
        at = end;
    }
    (i64::from(crc.finalize()), count)
}
