//! Runs the shipped binary without a cluster.

pub(crate) mod history;
pub(crate) mod node;
