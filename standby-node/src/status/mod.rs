//! What an operator sees: written by the agents into cnc.dat, read from there by `status` and by Aeron's tools.

mod activation_status;
mod archive_gauges;
mod backup;
mod cycle_gauges;
mod gauges;
mod lag_window;
mod leader_gauges;
mod report;
mod socket_gauges;
mod transition_gauges;

pub use activation_status::{ActivationStatus, LastActivation, MemberStatus};
pub use archive_gauges::ArchiveGauges;
pub use backup::{BackupGauges, BackupSchedule};
pub use cycle_gauges::CycleGauges;
pub use gauges::{FiguresError, ReceiverGauges, ServiceGauges, SnapshotGauges};
pub use lag_window::{LagFigures, LagWindow, WINDOW_NS};
pub use leader_gauges::{LeadingGauges, LogGauges, ModuleState, RoleGauges};
pub use report::{
    CheckLimits, LeadingReport, ServiceReport, SnapshotsReport, SocketsReport, StatusError, StatusReport,
    newest_snapshot_error,
};
pub use socket_gauges::{SocketGauges, SocketRole};
pub use transition_gauges::{SourceFigures, SourceGauges, TransitionGauges};
