//! `snapshot take`: ask a running node for a snapshot, through its control toggle, and wait for it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use consensus_tap::file::cnc::counters::{STANDBY_CONTROL_TOGGLE, TOGGLE_NEUTRAL};

use crate::cli::output::{files, print, print_json};
use crate::store::cnc::CncReader;
use crate::sys::clock;

#[derive(Args, Debug)]
pub(super) struct TakeArgs {
    /// Directory of the node, which must run
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Directory of its cnc.dat [default: DIR/aeron]
    #[arg(long, value_name = "DIR")]
    aeron_dir: Option<PathBuf>,
    /// Wait at most this long for the snapshot
    #[arg(long, value_name = "SECONDS")]
    wait: f64,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

/// Value of the toggle that asks for a snapshot.
const TOGGLE_SNAPSHOT: i64 = 2;
const POLL_INTERVAL: Duration = Duration::from_millis(20);

pub(super) fn take(args: &TakeArgs) -> Result<ExitCode, String> {
    let files = files(&args.dir)?;
    let newest = || {
        let sets = files.snapshot_sets(None).map_err(|error| error.to_string())?;
        Ok::<_, String>(sets.first().map(|set| (set.log_position, set.consensus_module)))
    };
    let wait = Duration::try_from_secs_f64(args.wait).map_err(|error| format!("--wait: {error}"))?;
    let before = newest()?;
    let aeron_dir = args.aeron_dir.clone().unwrap_or_else(|| args.dir.join("aeron"));
    let cnc = CncReader::open_writable(&aeron_dir).map_err(|error| error.to_string())?;
    if !cnc.is_alive(clock::epoch_ms()) {
        return Err(format!("{}: no node runs here; start it, or check --dir", args.dir.display()));
    }
    let toggle = cnc.find(STANDBY_CONTROL_TOGGLE, &[]).ok_or_else(|| {
        format!("{}: this node takes no snapshots: it has no control toggle (type 223)", args.dir.display())
    })?;
    let toggle = cnc.counter(toggle.id);
    if !toggle.compare_and_set(TOGGLE_NEUTRAL, TOGGLE_SNAPSHOT) {
        return Err(format!(
            "{}: the control toggle is at {}, not neutral: another request is being carried out; try again",
            args.dir.display(),
            toggle.get_volatile()
        ));
    }
    let deadline = Instant::now() + wait;
    while toggle.get_volatile() != TOGGLE_NEUTRAL {
        if Instant::now() >= deadline {
            return Err(format!(
                "no snapshot within {} s; the request stands, `snapshot list` shows when it is done",
                args.wait
            ));
        }
        std::thread::sleep(POLL_INTERVAL);
    }
    match newest()? {
        Some((log_position, _)) if newest()? != before => {
            if args.json {
                print_json(&serde_json::json!({ "log_position": log_position }))?;
            } else {
                print(&format!("snapshot taken at log position {log_position}\n"))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        _ => Err("the node took no snapshot: its error log says why (`describe`)".to_owned()),
    }
}
