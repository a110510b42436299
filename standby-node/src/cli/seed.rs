//! `seed`: write the directory of a member that lost its disk, from a node's directory or from what a node serves.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use service_api::ServiceError;

use super::output::{files, print, print_json};
use crate::config::{NodeConfig, Settings};
use crate::launch::launch;
use crate::status::StatusReport;
use crate::sys::{clock, disk};

#[derive(Args, Debug)]
pub(super) struct SeedArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// Address of this host as the node at `--from` reaches it
    #[arg(long, value_name = "HOST", requires = "from")]
    host: Option<String>,
    /// Give up when everything has not been fetched within this time
    #[arg(long, value_name = "SECONDS", requires = "from", default_value_t = 3600.0)]
    wait: f64,
    /// Id of the member that lost its disk
    #[arg(long, value_name = "N")]
    member_id: i32,
    /// Directory to be written, new or empty: `archive` and `cluster` in it are the member's
    #[arg(long, value_name = "MEMBER_DIR")]
    out: PathBuf,
    /// How many services the cluster has [default: as many as the newest snapshot]
    #[arg(long, value_name = "N")]
    services: Option<usize>,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct SourceArgs {
    /// Directory of the node, which may run
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Archive endpoint of a running standby, or consensus endpoint of a member: everything is fetched from there
    #[arg(long, value_name = "H:P", requires = "host")]
    from: Option<String>,
}

pub(super) fn seed(args: &SeedArgs) -> Result<ExitCode, String> {
    let report = match (&args.source.dir, &args.source.from, &args.host) {
        (Some(dir), _, _) => {
            crate::seed::seed(&files(dir)?, &args.out, args.member_id, args.services, clock::epoch_ms())
                .map_err(|error| error.to_string())?
        }
        (None, Some(from), Some(host)) => seed_from(args, from, host)?,
        _ => return Err("--dir, or --from with --host, is needed".to_owned()),
    };
    if args.json {
        print_json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = format!(
        "{} is ready for member {}: {}, log from {} to {}, no vote in terms up to {}\n",
        report.out.display(),
        report.member_id,
        report.snapshot_position.map_or_else(|| "no snapshot".to_owned(), |at| format!("snapshot at {at}")),
        report.log_start_position,
        report.log_end_position,
        report.candidate_term_id
    );
    for fault in &report.faulty_snapshots {
        let _ = writeln!(text, "not used: {fault}");
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Follows the node at `from` without a service until everything is here, and writes the member's directory from that.
fn seed_from(args: &SeedArgs, from: &str, host: &str) -> Result<crate::seed::SeedReport, String> {
    let wait = Duration::try_from_secs_f64(args.wait).map_err(|error| format!("--wait: {error}"))?;
    let mut name = args.out.clone().into_os_string();
    name.push(".fetching");
    let fetched = PathBuf::from(name);
    disk::create_directory(&fetched).map_err(|error| {
        format!("{}: cannot create the directory: {error}; move away what stands there", fetched.display())
    })?;
    let result = fetch(from, host, &fetched, wait).and_then(|()| {
        let files = files(&fetched)?;
        crate::seed::seed(&files, &args.out, args.member_id, args.services, clock::epoch_ms())
            .map_err(|error| error.to_string())
    });
    // What was fetched is of no use to anybody else.
    disk::remove_tree(&fetched)
        .map_err(|error| format!("{}: cannot remove it: {error}; remove it by hand", fetched.display()))?;
    result
}

fn fetch(from: &str, host: &str, dir: &Path, wait: Duration) -> Result<(), String> {
    let settings = Settings {
        dir: Some(dir.to_owned()),
        service: Some(vec!["none".to_owned()]),
        consensus_endpoints: Some(vec![from.to_owned()]),
        host: Some(host.to_owned()),
        routing: Some("single".to_owned()),
        member_id: Some(PASSING_MEMBER_ID),
        ..Settings::default()
    };
    let config = NodeConfig::new(settings, 1).map_err(|error| error.to_string())?;
    let aeron_dir = config.aeron_dir.clone();
    let node = launch(config, |_, _| Err(ServiceError::new("a seed hosts no service")))
        .map_err(|error| error.to_string())?;
    let deadline = Instant::now() + wait;
    let mut goal = None;
    let fetched = loop {
        let status = StatusReport::read(&aeron_dir).map_err(|error| error.to_string())?;
        if status.state == "FOLLOWING" && status.source_position >= 0 {
            // The first position that the source tells: what it records meanwhile the member gets from its leader.
            let goal = *goal.get_or_insert(status.source_position);
            if status.recorded_position >= goal {
                break Ok(());
            }
        }
        if node.has_failed() || Instant::now() >= deadline {
            break Err(format!(
                "{from}: not everything was fetched within {} s: state {}, recorded up to {} of {}",
                wait.as_secs_f64(),
                status.state,
                status.recorded_position,
                goal.map_or_else(|| "an unknown position".to_owned(), |goal| goal.to_string())
            ));
        }
        std::thread::sleep(POLL_INTERVAL);
    };
    let stopped = node.stop().map_err(|error| error.to_string());
    fetched.and(stopped)
}

const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Of the node that fetches: nobody else's, and gone when it has.
const PASSING_MEMBER_ID: i32 = i32::MAX;
