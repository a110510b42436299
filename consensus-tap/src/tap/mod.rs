//! Whom to follow, from where, how far.
