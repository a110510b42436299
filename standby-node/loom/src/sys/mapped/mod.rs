//! Mapped memory: a word for the bytes of a segment, and the words of a cnc.dat that the tests touch.

#[path = "../../../../src/sys/mapped/published.rs"]
mod published;
mod shared;

use std::path::{Path, PathBuf};

use loom::sync::atomic::{AtomicUsize, Ordering};

use super::disk;

pub use published::Published;
pub use shared::SharedFile;

/// A file, and how many of its bytes are faulted in.
#[derive(Debug)]
pub struct MappedFile {
    path: PathBuf,
    populated: AtomicUsize,
}

/// Nothing fails here.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("never")]
pub enum MapError {}

impl MappedFile {
    /// Creates a file that is not faulted in.
    ///
    /// # Errors
    /// None.
    pub fn create(path: &Path, _length: usize) -> Result<Self, MapError> {
        disk::create(path);
        Ok(Self { path: path.to_owned(), populated: AtomicUsize::new(0) })
    }

    /// Faults a range in.
    ///
    /// # Errors
    /// None.
    pub fn populate(&mut self, offset: usize, length: usize) -> Result<(), MapError> {
        self.populated.store(offset + length, Ordering::Relaxed);
        Ok(())
    }

    /// How much of it was faulted in, as far as the caller can know.
    pub fn populated(&self) -> usize {
        self.populated.load(Ordering::Relaxed)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicU64;
    use loom::thread;

    use super::*;

    #[test]
    fn bytes_below_the_published_position_are_there_and_final() {
        crate::in_every_order(|| {
            let bytes = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
            let published = Published::new(0);
            // The reader is the thread that is started: loom remembers of a word who touched it last only, and
            // would not go back to a load that stands before the writer's own.
            let reader = {
                let (bytes, published) = (Arc::clone(&bytes), published.clone());
                thread::spawn(move || {
                    let position = published.position();
                    for bytes in &bytes[..position as usize] {
                        assert_eq!(bytes.load(Ordering::Relaxed), 7, "at {position}");
                    }
                    assert!(published.position() >= position, "it only grows");
                })
            };
            for (index, bytes) in bytes.iter().enumerate() {
                bytes.store(7, Ordering::Relaxed);
                published.publish(index as i64 + 1);
            }
            reader.join().unwrap();
            assert_eq!(published.position(), 2);
        });
    }
}
