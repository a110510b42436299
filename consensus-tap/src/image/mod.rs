//! The receive side of a stream.
