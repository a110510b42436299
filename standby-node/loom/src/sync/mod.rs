//! The counterpart of the node's `sync`, in loom.

pub mod ring;

pub use loom::sync::{Arc, atomic};
