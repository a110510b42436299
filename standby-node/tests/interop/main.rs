//! Tests against real Java clusters, and of the support for them.

mod access;
mod commit_safety;
mod failures;
mod following;
mod forks;
mod full_disk;
mod joining;
mod loss;
mod module_state;
mod smoke;
mod support;
mod versions;
