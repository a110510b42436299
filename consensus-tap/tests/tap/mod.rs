//! What the simulation of the tap is made of.

pub(crate) mod archive;
pub(crate) mod cluster;
mod decisions;
pub(crate) mod invariants;
pub(crate) mod log;
pub(crate) mod member;
pub(crate) mod recorder;
mod snapshots_beside;
pub(crate) mod standby;
pub(crate) mod world;

use super::{network, rng};
