//! Pinning the calling thread to a core.
