//! Drives a service without a node.
