//! The files by which others see that this node lives, and what went wrong in it.

use crate::store::StoreError;
use crate::store::cnc::CncFile;
use crate::store::counters::Counter;
use crate::store::mark::{ArchiveMarkFile, ClusterMarkFile};
use crate::sys::clock;

/// cnc.dat and both mark files.
#[derive(Debug)]
pub struct SignsOfLife {
    /// Aeron's counters and error log.
    pub cnc: CncFile,
    /// In the cluster directory.
    pub cluster_mark: ClusterMarkFile,
    /// In the archive directory.
    pub archive_mark: ArchiveMarkFile,
    /// That the error log is full was told.
    pub is_full_told: bool,
    /// How many errors there were, as a cluster backup counts them.
    pub backup_errors: Option<Counter>,
}

impl SignsOfLife {
    /// Tells readers that the files may be used.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn ready(&mut self) -> Result<(), StoreError> {
        let now_ms = clock::epoch_ms();
        self.cluster_mark.ready(now_ms)?;
        self.archive_mark.ready(now_ms)
    }

    /// Due every second.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn update(&mut self) -> Result<(), StoreError> {
        let now_ms = clock::epoch_ms();
        self.cnc.heartbeat(now_ms);
        self.cluster_mark.update(now_ms)?;
        self.archive_mark.update(now_ms)
    }

    /// Puts an error where the official tools look for it.
    pub fn record_error(&mut self, text: &str) {
        let is_kept = self.cnc.error_log().record(text, clock::epoch_ms());
        self.also_record(text, is_kept);
    }

    /// As [`Self::record_error`], for what ends following: there is room for it where no other error finds any.
    pub fn record_halt(&mut self, text: &str) {
        let is_kept = self.cnc.error_log().record_last(text, clock::epoch_ms());
        self.also_record(text, is_kept);
    }

    fn also_record(&mut self, text: &str, is_kept: bool) {
        if let Some(errors) = &self.backup_errors {
            errors.add_ordered(1);
        }
        if !is_kept && !std::mem::replace(&mut self.is_full_told, true) {
            tracing::warn!(
                "the error log of cnc.dat is full: new errors are only in this log until the next start"
            );
        }
        if let Err(error) = self.cluster_mark.record_error(text, clock::epoch_ms()) {
            tracing::warn!(%error, "could not enter an error into the mark file");
        }
    }

    /// Says that the node could not start: nobody shall take it for one that is about to.
    pub fn start_failed(&mut self) {
        for result in [self.cluster_mark.start_failed(), self.archive_mark.terminate()] {
            if let Err(error) = result {
                tracing::warn!(%error, "could not take leave in a mark file");
            }
        }
    }

    /// Says that the node has ended in order. cnc.dat says so when it is dropped.
    pub fn terminate(&mut self) {
        for result in [self.cluster_mark.terminate(), self.archive_mark.terminate()] {
            if let Err(error) = result {
                tracing::warn!(%error, "could not take leave in a mark file");
            }
        }
    }
}
