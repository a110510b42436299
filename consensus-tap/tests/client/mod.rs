//! What the tests of the cluster client are made of.

pub(crate) mod cluster;
mod decisions;
pub(crate) mod listener;
pub(crate) mod member;
pub(crate) mod world;

use super::{network, rng};
