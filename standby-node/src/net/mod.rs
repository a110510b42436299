//! Datagrams in and out: one trait, two backends.
