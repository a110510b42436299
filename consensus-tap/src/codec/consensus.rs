//! Messages between members and non-members (schema 111, stream 108).
