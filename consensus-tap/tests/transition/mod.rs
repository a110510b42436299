//! What the simulation of transitions is made of.

pub(crate) mod invariants;
pub(crate) mod node;
pub(crate) mod scenarios;
pub(crate) mod world;
