//! A network that misbehaves, for tests.
