//! The send side of a stream.
