//! What the transport simulation is made of.

pub(crate) mod network;
pub(crate) mod recorder;
pub(crate) mod rng;
pub(crate) mod seeds;
pub(crate) mod stream;
pub(crate) mod world;
