//! `<recording>-0.rec.crc32`: what the bytes of a snapshot's recording were when it was made.
//!
//! Frames tell a damaged header from a sound one, and nothing of what they carry: a bit that flips in a payload would
//! become the state of a service. So whoever makes a snapshot durable here writes its checksum too, and whoever loads,
//! verifies or hands on the snapshot reads to its end and compares. A Java archive passes the file over. Snapshots of
//! before have none, and are taken as they are.
//!
//! ```text
//!   0  u32  CRC-32 of the recording's bytes, from its start to its stop position
//!   4  u32  0
//!   8  i64  stop position
//!  16  u32  CRC-32 of the 16 bytes above
//!  20  u32  0
//! ```
//! Little-endian, as everything else in an archive.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use consensus_tap::file::segment::RecordingGeometry;

use super::recording_reader::RecordingReader;
use super::segment::{SegmentError, io_error};
use crate::sys::disk;
use crate::sys::mapped::Published;

/// What is appended to the name of a recording's first segment.
const SUFFIX: &str = ".crc32";
const FILE_LENGTH: usize = 24;
/// Bytes that [`FILE_LENGTH`] holds before the checksum of the file itself.
const SUMMED_LENGTH: usize = 16;

/// What a snapshot's recording is to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SnapshotChecksum {
    /// CRC-32 of all its bytes.
    pub crc: u32,
    /// Where it ends.
    pub stop_position: i64,
}

/// A snapshot is not what its checksum says.
#[derive(Debug, thiserror::Error)]
pub enum ChecksumError {
    /// The file cannot be read.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The file is not one, or of another recording.
    #[error(
        "{}: is no checksum of a recording that ends at {stop_position}: the file is damaged; without it the snapshot \
         is taken as it is",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the recording ends.
        stop_position: i64,
    },
    /// Something in the recording is not as it was written.
    #[error(
        "{}: the recording's bytes sum up to {found:08x}, {expected:08x} when they were written: something within is \
         damaged",
        path.display()
    )]
    Differs {
        /// The recording's first file.
        path: PathBuf,
        /// As written.
        expected: u32,
        /// As read.
        found: u32,
    },
}

impl SnapshotChecksum {
    /// Reads a complete recording, up to `stop_position`, and writes its checksum beside it, on the disk when this
    /// returns.
    ///
    /// # Errors
    /// [`SegmentError`].
    pub fn write(
        archive: &Path,
        geometry: &RecordingGeometry,
        stop_position: i64,
    ) -> Result<(), SegmentError> {
        let mut reader = RecordingReader::new(archive, *geometry, Published::new(stop_position));
        let mut hasher = crc32fast::Hasher::new();
        let mut position = geometry.start_position();
        while position < stop_position {
            let bytes = reader.frames(position, stop_position)?;
            hasher.update(bytes);
            position += bytes.len() as i64;
        }
        let checksum = Self { crc: hasher.finalize(), stop_position };
        let path = path_of(archive, geometry);
        remove_beside(&first_file(archive, geometry)).map_err(|error| io_error("remove", &path, error))?;
        let file = disk::create(&path).map_err(|error| io_error("create", &path, error))?;
        disk::write(&file, &path, 0, &checksum.encode())
            .and_then(|()| disk::sync_all(&file, &path))
            .map_err(|error| io_error("write", &path, error))?;
        disk::sync_directory(archive).map_err(|error| io_error("sync", archive, error))
    }

    /// The checksum of a recording that ends at `stop_position`; `None` where none was written.
    ///
    /// # Errors
    /// [`ChecksumError::Segment`], [`ChecksumError::Damaged`].
    pub fn read(
        archive: &Path,
        geometry: &RecordingGeometry,
        stop_position: i64,
    ) -> Result<Option<Self>, ChecksumError> {
        let path = path_of(archive, geometry);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("read", &path, error).into()),
        };
        match Self::decode(&bytes) {
            Some(checksum) if checksum.stop_position == stop_position => Ok(Some(checksum)),
            _ => Err(ChecksumError::Damaged { path, stop_position }),
        }
    }

    /// Compares with what was read.
    ///
    /// # Errors
    /// [`ChecksumError::Differs`].
    pub fn compare(
        &self,
        found: u32,
        archive: &Path,
        geometry: &RecordingGeometry,
    ) -> Result<(), ChecksumError> {
        if found == self.crc {
            return Ok(());
        }
        let path = first_file(archive, geometry);
        Err(ChecksumError::Differs { path, expected: self.crc, found })
    }

    fn encode(self) -> [u8; FILE_LENGTH] {
        let mut bytes = [0; FILE_LENGTH];
        bytes[..4].copy_from_slice(&self.crc.to_le_bytes());
        bytes[8..SUMMED_LENGTH].copy_from_slice(&self.stop_position.to_le_bytes());
        let sum = crc32fast::hash(&bytes[..SUMMED_LENGTH]);
        bytes[SUMMED_LENGTH..SUMMED_LENGTH + 4].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let crc = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?);
        let stop_position = i64::from_le_bytes(bytes.get(8..SUMMED_LENGTH)?.try_into().ok()?);
        let checksum = Self { crc, stop_position };
        (checksum.encode() == bytes).then_some(checksum)
    }
}

/// Removes the checksum that lies beside a segment, if there is one.
///
/// # Errors
/// Those of the system.
pub(super) fn remove_beside(segment: &Path) -> io::Result<()> {
    match disk::remove(&beside(segment)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn first_file(archive: &Path, geometry: &RecordingGeometry) -> PathBuf {
    archive.join(geometry.segment_name(geometry.first_segment_base()))
}

fn path_of(archive: &Path, geometry: &RecordingGeometry) -> PathBuf {
    beside(&first_file(archive, geometry))
}

fn beside(segment: &Path) -> PathBuf {
    let mut name = OsString::from(segment);
    name.push(SUFFIX);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_checksum_is_not_taken_for_one() {
        let checksum = SnapshotChecksum { crc: 7, stop_position: 640 };
        let bytes = checksum.encode();
        assert_eq!(SnapshotChecksum::decode(&bytes), Some(checksum));
        for at in 0..FILE_LENGTH {
            assert_eq!(SnapshotChecksum::decode(&bytes[..at]), None);
            for bit in 0..8 {
                let mut damaged = bytes;
                damaged[at] ^= 1 << bit;
                assert_eq!(SnapshotChecksum::decode(&damaged), None, "byte {at}");
            }
        }
    }
}
