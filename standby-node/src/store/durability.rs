//! Up to where the log survives a power cut, kept where a power cut leaves it.
//!
//! ```text
//!  two slots of 512 bytes, written in turn, so that a torn write leaves the other:
//!   0       4          8          16             24         32        68
//!  | crc32 | version | sequence | recording id | position | boot id | zero …
//! ```
//! Little endian; the checksum covers everything behind it. The boot id tells a crash of the process, after which the
//! page cache still holds everything, from one of the machine, after which only synced bytes can be trusted.

use std::path::Path;

use super::{ControlFile, StoreError, SyncLevel};

/// Which boot of the machine this is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BootId(String);

impl BootId {
    /// The running kernel's. Where it does not tell, every start counts as one after a power cut.
    pub fn current() -> Self {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        Self(id.map_or_else(|_| format!("unknown-{}", std::process::id()), |id| id.trim().to_owned()))
    }

    /// One with a name, of at most 36 bytes: for tests of what a power cut leaves.
    pub fn named(name: &str) -> Self {
        assert!(name.len() <= BOOT_ID_LENGTH, "{name} is longer than a boot id");
        Self(name.to_owned())
    }
}

/// `cluster/durable-position.dat`.
#[derive(Debug)]
pub struct DurabilityFile {
    file: ControlFile,
    last: Option<Mark>,
    sequence: u64,
    boot: BootId,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Mark {
    recording_id: i64,
    position: i64,
    boot_id: String,
}

/// What the file says, as [`DurabilityFile::read`] finds it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DurableMark {
    /// Which recording.
    pub recording_id: i64,
    /// Everything below this position is on the disk.
    pub position: i64,
    /// Whether the machine has been up since, and no tail waits to be confirmed: then everything that was recorded
    /// counts.
    pub is_of_this_boot: bool,
}

/// What may be trusted of a recording that was found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trust {
    /// The machine has been up since it was written: every byte that is there.
    All,
    /// The machine went down: only what lies below this position was certainly on the disk.
    Below(i64),
}

/// The file's name in the cluster directory.
pub const FILE_NAME: &str = "durable-position.dat";

impl DurabilityFile {
    /// Opens the file, or creates it without a mark.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn open_or_create(path: &Path) -> Result<Self, StoreError> {
        Self::open_in_boot(path, BootId::current())
    }

    /// As [`Self::open_or_create`], in a boot of the caller's choice.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn open_in_boot(path: &Path, boot: BootId) -> Result<Self, StoreError> {
        let (file, _) = ControlFile::open_or_create(path)?;
        let (sequence, last) = newest(&file)?.unzip();
        let opened = Self { file, last, sequence: sequence.unwrap_or(0), boot };
        if let Some(mark) = &opened.last {
            // Its sync may have failed, or never have come: from here on the mark is taken to be on the disk.
            opened.write(opened.sequence, mark)?;
            opened.sync()?;
        }
        Ok(opened)
    }

    /// Reads the file as it is, beside a running node as well; `None` when there is none, or it holds no whole mark.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn read(path: &Path) -> Result<Option<DurableMark>, StoreError> {
        let Some(file) = ControlFile::open_read_only(path)? else { return Ok(None) };
        Ok(newest(&file)?.map(|(_, mark)| DurableMark {
            recording_id: mark.recording_id,
            position: mark.position,
            is_of_this_boot: mark.boot_id == BootId::current().0,
        }))
    }

    /// What may be trusted of a recording that begins at `start_position`. A mark that is missing or of another
    /// recording vouches for nothing.
    pub fn trust(&self, recording_id: i64, start_position: i64) -> Trust {
        match &self.last {
            Some(mark) if mark.recording_id == recording_id && mark.boot_id == self.boot.0 => Trust::All,
            _ => Trust::Below(self.position(recording_id, start_position)),
        }
    }

    /// Position below which a recording that begins at `start_position` is certainly on the disk.
    pub fn position(&self, recording_id: i64, start_position: i64) -> i64 {
        let mark = self.last.as_ref().filter(|mark| mark.recording_id == recording_id);
        mark.map_or(start_position, |mark| mark.position.max(start_position))
    }

    /// Everything of the recording below `position` is on the disk: says so, on the disk. `has_tail` while its files
    /// hold more than was recorded, left from before a power cut: then a crash of the process is no reason to trust
    /// them either.
    ///
    /// # Errors
    /// [`StoreError::Io`]; the mark before still holds then.
    pub fn mark(&mut self, recording_id: i64, position: i64, has_tail: bool) -> Result<(), StoreError> {
        let boot_id = if has_tail { NO_BOOT.to_owned() } else { self.boot.0.clone() };
        let mark = Mark { recording_id, position, boot_id };
        if self.last.as_ref() == Some(&mark) {
            return Ok(());
        }
        self.write(self.sequence + 1, &mark)?;
        self.sync()?;
        self.sequence += 1;
        self.last = Some(mark);
        Ok(())
    }

    /// A sync failed, and what was to be synced may be gone though no power was cut: the next start trusts the durable
    /// position alone. Not synced itself: after a power cut that is so anyway.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn distrust(&mut self) -> Result<(), StoreError> {
        let Some(mark) = &self.last else { return Ok(()) };
        let mark = Mark { boot_id: NO_BOOT.to_owned(), ..mark.clone() };
        self.write(self.sequence + 1, &mark)?;
        self.sequence += 1;
        self.last = Some(mark);
        Ok(())
    }

    /// Puts the last mark on the disk.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn sync(&self) -> Result<(), StoreError> {
        self.file.sync(SyncLevel::Data)
    }

    /// Writes a mark into the slot of its sequence; the one before stays in the other.
    fn write(&self, sequence: u64, mark: &Mark) -> Result<(), StoreError> {
        self.file.write(sequence % 2 * SLOT_LENGTH as u64, &encode(sequence, mark))
    }
}

const SLOT_LENGTH: usize = 512;
const VERSION: u32 = 1;
const BOOT_ID_OFFSET: usize = 32;
const BOOT_ID_LENGTH: usize = 36;
/// Equal to no boot's id.
const NO_BOOT: &str = "";

fn encode(sequence: u64, mark: &Mark) -> [u8; SLOT_LENGTH] {
    let mut slot = [0; SLOT_LENGTH];
    slot[4..8].copy_from_slice(&VERSION.to_le_bytes());
    slot[8..16].copy_from_slice(&sequence.to_le_bytes());
    slot[16..24].copy_from_slice(&mark.recording_id.to_le_bytes());
    slot[24..BOOT_ID_OFFSET].copy_from_slice(&mark.position.to_le_bytes());
    let boot_id = &mark.boot_id.as_bytes()[..mark.boot_id.len().min(BOOT_ID_LENGTH)];
    slot[BOOT_ID_OFFSET..BOOT_ID_OFFSET + boot_id.len()].copy_from_slice(boot_id);
    let checksum = crc32fast::hash(&slot[4..]);
    slot[..4].copy_from_slice(&checksum.to_le_bytes());
    slot
}

/// The sequence and mark of the slot that was written last.
fn newest(file: &ControlFile) -> Result<Option<(u64, Mark)>, StoreError> {
    let image = file.read(2 * SLOT_LENGTH as u64)?;
    for (offset, slot) in (0..).step_by(SLOT_LENGTH).zip(image.chunks(SLOT_LENGTH)) {
        if decode(slot).is_none() && slot.iter().any(|byte| *byte != 0) {
            tracing::warn!(path = %file.path.display(), offset, "a mark is torn or damaged, and is not used");
        }
    }
    Ok(image.chunks(SLOT_LENGTH).filter_map(decode).max_by_key(|(sequence, _)| *sequence))
}

/// A slot's sequence and mark; `None` for one that was never written, or torn.
fn decode(slot: &[u8]) -> Option<(u64, Mark)> {
    let slot: &[u8; SLOT_LENGTH] = slot.try_into().ok()?;
    let u32_at = |at: usize| u32::from_le_bytes([slot[at], slot[at + 1], slot[at + 2], slot[at + 3]]);
    let i64_at = |at: usize| i64::from_le_bytes(std::array::from_fn(|i| slot[at + i]));
    if u32_at(0) != crc32fast::hash(&slot[4..]) || u32_at(4) != VERSION {
        return None;
    }
    let boot_id = &slot[BOOT_ID_OFFSET..BOOT_ID_OFFSET + BOOT_ID_LENGTH];
    let boot_id = std::str::from_utf8(boot_id).ok()?.trim_end_matches('\0').to_owned();
    let mark = Mark { recording_id: i64_at(16), position: i64_at(24), boot_id };
    Some((i64_at(8) as u64, mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &Path, boot_id: &str) -> DurabilityFile {
        DurabilityFile::open_in_boot(&dir.join("durable-position.dat"), BootId::named(boot_id)).unwrap()
    }

    #[test]
    fn within_one_boot_everything_is_trusted_and_after_it_what_was_synced() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), "monday").mark(7, 4096, false).unwrap();
        assert_eq!(open(dir.path(), "monday").trust(7, 64), Trust::All);
        assert_eq!(open(dir.path(), "tuesday").trust(7, 64), Trust::Below(4096));
        assert_eq!(open(dir.path(), "tuesday").trust(8, 64), Trust::Below(64), "another recording");
    }

    #[test]
    fn a_tail_is_not_trusted_even_within_one_boot() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), "tuesday").mark(7, 4096, true).unwrap();
        assert_eq!(open(dir.path(), "tuesday").trust(7, 64), Trust::Below(4096));
        open(dir.path(), "tuesday").mark(7, 8192, false).unwrap();
        assert_eq!(open(dir.path(), "tuesday").trust(7, 64), Trust::All);
    }

    #[test]
    fn without_a_mark_nothing_is_trusted() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(open(dir.path(), "monday").trust(7, 64), Trust::Below(64));
    }

    #[test]
    fn a_torn_write_leaves_the_mark_before() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = open(dir.path(), "monday");
        file.mark(7, 64, false).unwrap();
        file.mark(7, 128, false).unwrap();
        drop(file);
        let path = dir.path().join("durable-position.dat");
        let mut bytes = std::fs::read(&path).unwrap();
        // The second mark went to the first slot.
        bytes[30] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(open(dir.path(), "tuesday").trust(7, 0), Trust::Below(64));
        bytes.truncate(100);
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(open(dir.path(), "tuesday").trust(7, 0), Trust::Below(0));
    }
}
