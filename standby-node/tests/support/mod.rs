//! Runs the shipped binary without a cluster.

pub(crate) mod node;
