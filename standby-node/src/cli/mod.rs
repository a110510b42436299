//! The operator's verbs. A user's binary calls [`main`] with its own services and has all of them.

mod activate;
mod archive;
mod backup_query;
mod control;
mod deactivate;
mod directory;
mod hand_over;
mod output;
mod reseed;
mod run;
mod seed;
mod snapshot;
mod status;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use service_api::ClusteredService;

use self::activate::ActivateArgs;
use self::archive::ArchiveArgs;
use self::backup_query::BackupQueryArgs;
use self::control::{ControlArgs, ControlRequest};
use self::deactivate::DeactivateArgs;
use self::directory::RecoveryPlanArgs;
use self::hand_over::HandOverArgs;
use self::output::DirectoryArgs;
use self::reseed::ReseedArgs;
use self::run::RunArgs;
use self::seed::SeedArgs;
use self::snapshot::SnapshotArgs;
use self::status::StatusArgs;
use crate::config::NodeConfig;

/// A warm standby for Aeron Cluster: follows the log of an unmodified cluster and keeps a Rust service warm.
#[derive(Debug, Parser)]
#[command(name = "standby-node", version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Follow a cluster, or lead one of its own (--bootstrap), until SIGTERM or SIGINT
    Run(Box<RunArgs>),
    /// Have a running standby take over as the leader, or say what that would do
    Activate(ActivateArgs),
    /// Have a stopped node that has led follow again at its next start
    Deactivate(DeactivateArgs),
    /// Show what a node is doing
    Status(StatusArgs),
    /// Show who uses or used a directory, and what lies in it
    Describe(DirectoryArgs),
    /// Print the rows of recording.log
    RecordingLog(DirectoryArgs),
    /// Tell from which snapshots and which part of the log a node would start
    RecoveryPlan(RecoveryPlanArgs),
    /// Take a snapshot, look at snapshot sets, or invalidate one
    Snapshot(SnapshotArgs),
    /// Look at recordings
    Archive(ArchiveArgs),
    /// Write the directory of a member that lost its disk, beside a running node as well
    Seed(SeedArgs),
    /// Have the cluster that this node leads take no more of its clients, until `resume`
    Suspend(ControlArgs),
    /// Have a suspended cluster go on
    Resume(ControlArgs),
    /// Have the cluster that this node leads take a snapshot, and end the node
    Shutdown(ControlArgs),
    /// End the node that leads, without a snapshot
    Abort(ControlArgs),
    /// Give the cluster that this node leads back to fresh Java members
    HandOver(HandOverArgs),
    /// See, or set, when a running node asks the members for newer snapshots next
    BackupQuery(BackupQueryArgs),
    /// Move a node's history aside, so that its next start begins again from the members
    Reseed(ReseedArgs),
}

/// Makes a service from its configured name, or says which names there are.
pub type ServiceFactory = fn(&str, &NodeConfig) -> Result<Box<dyn ClusteredService>, String>;

/// Parses the command line, runs the verb, and returns the process's exit code: 0 for success, 1 for failure or a
/// failed check, 2 for a wrong command line; of `activate` also 3 for refused, 4 for not done in time.
pub fn main(services: ServiceFactory) -> ExitCode {
    let Cli { verb } = Cli::parse();
    let result = match verb {
        Verb::Run(args) => run::run(args, services),
        Verb::Activate(args) => activate::activate(&args),
        Verb::Deactivate(args) => deactivate::deactivate(&args),
        Verb::Status(args) => status::status(&args),
        Verb::Describe(args) => directory::describe(&args),
        Verb::RecordingLog(args) => directory::recording_log(&args),
        Verb::RecoveryPlan(args) => directory::recovery_plan(&args),
        Verb::Snapshot(args) => snapshot::snapshot(args),
        Verb::Archive(args) => archive::archive(args),
        Verb::Seed(args) => seed::seed(&args),
        Verb::Suspend(args) => control::control(&args, ControlRequest::Suspend),
        Verb::Resume(args) => control::control(&args, ControlRequest::Resume),
        Verb::Shutdown(args) => control::control(&args, ControlRequest::Shutdown),
        Verb::Abort(args) => control::control(&args, ControlRequest::Abort),
        Verb::HandOver(args) => hand_over::hand_over(&args),
        Verb::BackupQuery(args) => backup_query::backup_query(&args),
        Verb::Reseed(args) => reseed::reseed(&args),
    };
    match result {
        Ok(code) => code,
        Err(message) => {
            // Where even this cannot be written, the exit code is all that is left to say.
            let _ = writeln!(std::io::stderr(), "{}: {message}", program());
            ExitCode::FAILURE
        }
    }
}

/// The name under which this program runs: whoever embeds the verbs gives it its own.
fn program() -> String {
    let path = std::env::args_os().next().map(std::path::PathBuf::from);
    let name = path.as_deref().and_then(std::path::Path::file_name);
    name.map_or_else(|| "standby-node".to_owned(), |name| name.to_string_lossy().into_owned())
}
