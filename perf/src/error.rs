use std::io;
use std::path::PathBuf;

/// Why a bench did not come to an end. A missed target is no error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// The system refused.
    #[error("cannot {action}: {source}")]
    Io { action: &'static str, source: io::Error },
    /// The system refused something about a file.
    #[error("{}: cannot {action}: {source}", path.display())]
    File { path: PathBuf, action: &'static str, source: io::Error },
    /// A peer did not start, did not answer, or said that it failed.
    #[error("peer {peer}: {what}")]
    Peer { peer: &'static str, what: String },
    /// A run of ours failed: too slow to end, or wrong results.
    #[error("{0}")]
    Run(String),
}

impl BenchError {
    pub(crate) fn io(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, source }
    }

    pub(crate) fn file(path: impl Into<PathBuf>, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, action, source }
    }

    /// Wraps what went wrong in a crate under test.
    pub(crate) fn run(error: impl std::fmt::Display) -> Self {
        Self::Run(error.to_string())
    }
}
