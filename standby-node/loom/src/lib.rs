//! What the threads of a node share beside its rings, under loom: the very files of `standby-node`, compiled
//! once more with loom's atomics, and run in every order of the threads' steps and with every value that a load
//! may see.
//!
//! A file that is checked here names atomics, `Arc` and rings by `crate::sync`; in the node that is std and
//! rtrb, in this crate it is `sync`. What such a file needs of the disk and of mapped memory stands here as a
//! model below `sys`. The ring is a small one of our own, ordered as rtrb is and no stronger, since loom
//! cannot look into rtrb's.
//!
//! There is nothing to switch on: `cargo test` runs it.
#![cfg(test)]
#![forbid(unsafe_code)]

pub mod agent;
pub mod store;
pub mod sync;
pub mod sys;

/// Runs `threads` in every order in which at most three of the switches between them are forced: enough for
/// pieces of this size, and done in a moment.
fn in_every_order(threads: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(threads);
}
