//! `cluster/activation.dat`: that this node leads or led, what it promised to other standbys, and whom it
//! last heard named as members. A node that finds a decision to lead there never follows until `deactivate`
//! has taken it away.

use std::path::{Path, PathBuf};

use consensus_tap::file::activation::{Activation, LENGTH_MAX};

use super::standby_snapshots::replace_file;
use super::{ControlFile, StoreError};

/// The file's name in the cluster directory.
pub const FILE_NAME: &str = "activation.dat";

/// Where the file is in a cluster directory.
pub fn path_in(cluster_directory: &Path) -> PathBuf {
    cluster_directory.join(FILE_NAME)
}

/// Reads the file; where there is none, nothing was decided or promised.
///
/// # Errors
/// [`StoreError::Io`]; [`StoreError::Format`] for a file that is not whole: whether this node leads is not
/// guessed.
pub fn read(path: &Path) -> Result<Activation, StoreError> {
    let Some(file) = ControlFile::open_read_only(path)? else { return Ok(Activation::default()) };
    let bytes = file.read(LENGTH_MAX as u64 + 1)?;
    Activation::decode(&bytes).map_err(|source| {
        file.bad(
            source,
            "find out which node leads; then remove this file where this one is to follow, or restore it \
             from a backup",
        )
    })
}

/// Puts the file in the place of the one before, whole or not at all, on the disk.
///
/// # Errors
/// [`StoreError::Io`]: which of the two is there is then not known.
pub fn replace(path: &Path, activation: &Activation) -> Result<(), StoreError> {
    replace_file(path, &activation.encode())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_promised_is_read_again_and_a_damaged_file_is_an_error_with_a_next_step() {
        let dir = tempfile::tempdir().unwrap();
        let path = path_in(dir.path());
        assert_eq!(read(&path).unwrap(), Activation::default());
        let activation = Activation { grant: Some((101, 7)), ..Activation::default() };
        replace(&path, &activation).unwrap();
        replace(&path, &activation).unwrap();
        assert_eq!(read(&path).unwrap(), activation);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[75] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let message = read(&path).unwrap_err().to_string();
        assert!(message.contains(FILE_NAME) && message.contains("which node leads"), "{message}");
    }
}
