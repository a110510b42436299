//! `backup-query`: when a running node asks the members for newer snapshots next.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use consensus_tap::file::cnc::counters::BACKUP_QUERY_DEADLINE;

use super::output::print;
use crate::store::cnc::CncReader;
use crate::sys::clock;

#[derive(Args, Debug)]
pub(super) struct BackupQueryArgs {
    /// Directory of the node
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Directory of its cnc.dat [default: DIR/aeron]
    #[arg(long, value_name = "DIR")]
    aeron_dir: Option<PathBuf>,
    /// Ask after this time, e.g. 10m; 0s at once
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    delay: Option<Duration>,
}

pub(super) fn backup_query(args: &BackupQueryArgs) -> Result<ExitCode, String> {
    let aeron_dir = args.aeron_dir.clone().unwrap_or_else(|| args.dir.join("aeron"));
    let cnc = match args.delay {
        Some(_) => CncReader::open_writable(&aeron_dir),
        None => CncReader::open(&aeron_dir),
    };
    let cnc = cnc.map_err(|error| format!("{error}; is this the --dir of a node that has been started?"))?;
    let now_ms = clock::epoch_ms();
    if !cnc.is_alive(now_ms) {
        return Err(format!("{}: the node does not run", args.dir.display()));
    }
    let deadline = cnc.find(BACKUP_QUERY_DEADLINE, &[]).ok_or_else(|| {
        format!(
            "{}: the node fetches no snapshots of the members: start it with `service = [\"none\"]`, or with \
             `fetch_snapshots = true`",
            args.dir.display()
        )
    })?;
    let deadline_ms = match args.delay {
        Some(delay) => {
            let delay_ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
            let deadline_ms = now_ms.saturating_add(delay_ms);
            cnc.counter(deadline.id).set_ordered(deadline_ms);
            deadline_ms
        }
        None => deadline.value,
    };
    let left = Duration::from_secs(deadline_ms.saturating_sub(now_ms).max(0) as u64 / 1000);
    print(&format!("next backup query in {}\n", humantime::format_duration(left)))?;
    Ok(ExitCode::SUCCESS)
}
