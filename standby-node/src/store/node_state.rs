//! The newest candidate term, which keeps whoever leads from voting twice.

use std::path::Path;

use consensus_tap::file::node_state::{self, CandidateTerm, NodeState};

use super::mark::NEXT_STEP;
use super::{ControlFile, StoreError, SyncLevel};

/// `cluster/node-state.dat`.
#[derive(Debug)]
pub struct NodeStateFile {
    file: ControlFile,
    state: NodeState,
}

impl NodeStateFile {
    /// Opens the file, or creates one without a candidate term.
    ///
    /// # Errors
    /// [`StoreError::Format`], [`StoreError::Io`].
    pub fn open_or_create(path: &Path) -> Result<Self, StoreError> {
        let (file, _) = ControlFile::open_or_create(path)?;
        let length = u64::try_from(node_state::FILE_LENGTH).expect("a usize fits");
        let mut image = file.read(length)?;
        // All zeros is what a crash between creating and writing leaves.
        if image.iter().all(|byte| *byte == 0) {
            file.set_length(length)?;
            image = NodeState::encode_new(CandidateTerm::default());
            file.write(0, &image)?;
            file.sync(SyncLevel::All)?;
        }
        let state = NodeState::parse(&image).map_err(|error| file.bad(error, NEXT_STEP))?;
        Ok(Self { file, state })
    }

    /// Reads the file as it is, beside a running node as well; `None` when there is none.
    ///
    /// # Errors
    /// [`StoreError::Format`], [`StoreError::Io`].
    pub fn read(path: &Path) -> Result<Option<CandidateTerm>, StoreError> {
        let Some(file) = ControlFile::open_read_only(path)? else { return Ok(None) };
        let image = file.read(node_state::FILE_LENGTH as u64)?;
        let state = NodeState::parse(&image).map_err(|error| file.bad(error, NEXT_STEP))?;
        Ok(Some(state.candidate_term))
    }

    /// The newest candidate term.
    pub fn candidate_term(&self) -> CandidateTerm {
        self.state.candidate_term
    }

    /// Stores a candidate term, and syncs it as `level` says.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn update(&mut self, term: CandidateTerm, level: SyncLevel) -> Result<(), StoreError> {
        self.file.store(&self.state.edits(term))?;
        self.state.candidate_term = term;
        self.file.sync(level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_candidate_term_is_there_after_opening_again() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join(node_state::FILE_NAME);
        let term = CandidateTerm { candidate_term_id: 4, timestamp: 5, log_position: 6 };
        let mut file = NodeStateFile::open_or_create(&path).unwrap();
        assert_eq!(file.candidate_term(), CandidateTerm::default());
        file.update(term, SyncLevel::All).unwrap();
        assert_eq!(NodeStateFile::open_or_create(&path).unwrap().candidate_term(), term);
    }
}
