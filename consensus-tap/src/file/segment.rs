//! Segment files: written on their own branch.
