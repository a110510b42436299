//! Runs the shipped binary without a cluster.

pub(crate) mod history;
pub(crate) mod hostile;
pub(crate) mod load;
pub(crate) mod node;
