pub(crate) mod node;
pub(crate) mod service;
pub(crate) mod world;
