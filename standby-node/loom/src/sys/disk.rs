//! The names on a disk. They order nothing between threads, so they are no part of what loom explores: all
//! threads of a model are one thread of the process.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

thread_local! {
    static FILES: RefCell<BTreeSet<PathBuf>> = const { RefCell::new(BTreeSet::new()) };
}

/// Forgets the files of the execution before.
pub fn format() {
    FILES.with_borrow_mut(BTreeSet::clear);
}

/// The files that exist.
pub fn files() -> Vec<PathBuf> {
    FILES.with_borrow(|files| files.iter().cloned().collect())
}

/// Creates a file.
///
/// # Panics
/// When it exists.
pub fn create(path: &Path) {
    assert!(FILES.with_borrow_mut(|files| files.insert(path.to_owned())), "{} exists", path.display());
}

/// Removes a file.
///
/// # Panics
/// When there is none.
///
/// # Errors
/// None: it has the signature of the node's.
pub fn remove(path: &Path) -> io::Result<()> {
    assert!(FILES.with_borrow_mut(|files| files.remove(path)), "{} is not there", path.display());
    Ok(())
}
