//! Messages of the replicated log (schema 111, stream 100).
