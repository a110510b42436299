//! Archive control protocol messages (schema 101).
