//! Tests against real Java clusters, and of the support for them.

mod following;
mod smoke;
mod support;
