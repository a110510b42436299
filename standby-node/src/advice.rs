//! What an operator can do about an error of the system.

use std::io;

/// The next step, to stand behind the system's own words.
pub(crate) fn next_step(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "let the user of this process read and write there",
        io::ErrorKind::ReadOnlyFilesystem => "mount the file system read-write, or choose another directory",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free space on this file system, then start the node again"
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory | io::ErrorKind::AlreadyExists => {
            "move away what stands in its place"
        }
        io::ErrorKind::NotFound => "check the path",
        _ => "`dmesg` shows what the kernel knows of that file system",
    }
}
