//! Messages between a cluster and its clients (schema 111, streams 101 and 102).
