//! System calls, mapped memory and processor features: the only code that holds `unsafe`.
#![allow(unsafe_code, reason = "this is the one place for it; every block carries its proof")]

pub mod affinity;
#[cfg(feature = "allocation-counts")]
pub mod allocations;
pub mod clock;
pub mod disk;
pub mod fnv;
pub mod mapped;
pub mod memory;
pub mod mmsg;
pub mod process_group;
pub mod readiness;
pub mod uring;
