//! Tests against real Java clusters, and of the support for them.

mod commit_safety;
mod failures;
mod following;
mod forks;
mod loss;
mod smoke;
mod support;
