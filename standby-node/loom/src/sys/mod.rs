//! Models of files and mapped memory.

pub mod disk;
pub mod mapped;
