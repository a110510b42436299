//! Tests against real Java clusters, and of the support for them.

mod smoke;
mod support;
