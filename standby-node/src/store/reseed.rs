//! Puts a node's history aside when it can no longer be continued.

use std::path::{Path, PathBuf};

use super::directory::NodeDirectory;
use super::{StoreError, sync_directory};
use crate::sys::{clock, disk};

/// Moves archive and cluster files of the node in `root` into `root/before-reseed-<epoch ms>` and returns that
/// directory, once that is on the disk. Nothing is deleted: what to keep of it is the operator's decision.
///
/// A move that was interrupted is completed by another: what is left then goes to a directory of its own.
///
/// # Errors
/// [`StoreError::NoHistory`] when no node has run in `root`; [`StoreError::Locked`] while one runs;
/// [`StoreError::Io`].
pub fn move_aside(root: &Path) -> Result<PathBuf, StoreError> {
    // Opening the directory would create it, and what a typing error names must not look like a node's.
    if !NodeDirectory::has_been_used(root) {
        return Err(StoreError::NoHistory { path: root.to_owned() });
    }
    let now_ms = clock::epoch_ms();
    let directory = NodeDirectory::open(root, now_ms)?;
    let aside = directory.root().join(format!("before-reseed-{now_ms}"));
    let failed = |path: &Path, action, source| StoreError::Io { path: path.to_owned(), action, source };
    disk::create_directory(&aside).map_err(|source| failed(&aside, "create the directory", source))?;
    sync_directory(directory.root())?;
    // The cluster's files go last and later on the disk: while they are there, this can be done again. And a node that
    // starts anew must not meet, after a power cut, half of what it was to forget.
    for from in [directory.archive(), directory.cluster()] {
        let name = from.file_name().expect("both are named");
        disk::rename(&from, &aside.join(name)).map_err(|source| failed(&from, "move it aside", source))?;
        sync_directory(&aside)?;
        sync_directory(directory.root())?;
    }
    Ok(aside)
}
