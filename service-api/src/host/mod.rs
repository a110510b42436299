//! For runtimes, not for services: what drives a service through a log.
//!
//! [`ServiceDriver`] owns a service and everything that the service's own view of the cluster consists of:
//! session table, cluster time, position, role. A runtime decodes the log and calls one method an event, takes
//! what the service emitted, and provides the way to clients ([`Egress`]) and the storage of snapshots. Nothing
//! here does any IO, and nothing allocates once buffers have grown, apart from the opening of sessions.

mod driver;
mod egress;
mod emissions;
mod session_table;

pub use driver::{ServiceDriver, StartPoint};
pub use egress::{Egress, EgressHeader, NoEgress};
pub use emissions::{EMISSIONS_LENGTH_MAX, Emission, Emissions, Request};
pub use session_table::Session;

pub(crate) use driver::HostState;
