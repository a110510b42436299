//! Consensus-module state that the log implies.
