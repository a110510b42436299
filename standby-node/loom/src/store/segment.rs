//! What the preparer needs of segment files.

use std::path::Path;

use crate::sys::disk;
use crate::sys::mapped::MapError;

/// Nothing fails here.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum SegmentError {
    /// A file.
    #[error(transparent)]
    Map(#[from] MapError),
}

pub(super) fn remove(path: &Path) -> Result<(), SegmentError> {
    disk::remove(path).expect("the model removes what is there");
    Ok(())
}
