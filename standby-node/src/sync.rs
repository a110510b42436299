//! What threads share: atomics and rings. Code that names them by this module is also compiled against loom, by
//! the crate in `loom/`, which brings a module `sync` of its own and tries every order of the threads' steps.

pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic;

pub(crate) use rtrb as ring;
