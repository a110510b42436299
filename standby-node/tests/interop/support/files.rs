//! Copies of a node's directory.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Copies a whole directory to a new one, holes and all.
///
/// # Panics
/// If that fails.
pub(crate) fn copy_directory(from: &Path, to: &Path) {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).expect("a directory");
    }
    let status = Command::new("cp").args(["-a", "--sparse=always"]).arg(from).arg(to).status();
    assert!(status.expect("cp runs").success(), "{} to {}", from.display(), to.display());
}
