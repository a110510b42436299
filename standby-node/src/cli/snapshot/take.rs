//! `snapshot take`: ask a running node for a snapshot, through its control toggle, and wait for it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use consensus_tap::file::cnc::counters::{
    SNAPSHOT_RESULT, STANDBY_CONTROL_TOGGLE, TOGGLE_INACTIVE, TOGGLE_NEUTRAL, TOGGLE_SNAPSHOT,
};

use crate::cli::output::{files, print, print_json};
use crate::status::newest_snapshot_error;
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
    /// Wait at most this long for the snapshot [default: do not wait]
    #[arg(long, value_name = "SECONDS")]
    wait: Option<f64>,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

const POLL_INTERVAL: Duration = Duration::from_millis(20);

pub(super) fn take(args: &TakeArgs) -> Result<ExitCode, String> {
    let wait = args.wait.map(Duration::try_from_secs_f64).transpose();
    let wait = wait.map_err(|error| format!("--wait: {error}"))?;
    let dir = args.dir.display();
    files(&args.dir)?;
    let aeron_dir = args.aeron_dir.clone().unwrap_or_else(|| args.dir.join("aeron"));
    let cnc = CncReader::open_writable(&aeron_dir).map_err(|error| format!("{dir}: {error}"))?;
    if !cnc.is_alive(clock::epoch_ms()) {
        return Err(format!("{dir}: no node runs here; start it, or check --dir"));
    }
    let counter = |type_id| {
        let record = cnc.find(type_id, &[]).ok_or_else(|| {
            format!("{dir}: this node takes no snapshots: it has no counter of type {type_id}")
        })?;
        Ok::<_, String>(cnc.counter(record.id))
    };
    let toggle = counter(STANDBY_CONTROL_TOGGLE)?;
    let result = counter(SNAPSHOT_RESULT.type_id)?;
    let begin_ms = clock::epoch_ms();
    if !toggle.compare_and_set(TOGGLE_NEUTRAL, TOGGLE_SNAPSHOT) {
        return Err(match toggle.get_volatile() {
            TOGGLE_INACTIVE => {
                format!("{dir}: no snapshot can be taken: the node's services do not run (yet); see `status`")
            }
            _ => format!("{dir}: another request is being carried out; try again when it is done"),
        });
    }
    let Some(wait) = wait else {
        print(if args.json { "{\n  \"requested\": true\n}\n" } else { "snapshot requested\n" })?;
        return Ok(ExitCode::SUCCESS);
    };
    let deadline = Instant::now() + wait;
    while toggle.get_volatile() == TOGGLE_SNAPSHOT {
        if !cnc.is_alive(clock::epoch_ms()) {
            return Err(format!("{dir}: the node ended before the snapshot was taken"));
        }
        if Instant::now() >= deadline {
            return Err(format!(
                "no snapshot within {} s: the request stands, and is carried out at the end of the next whole \
                 message in the log; `status` shows when it is done",
                wait.as_secs_f64()
            ));
        }
        std::thread::sleep(POLL_INTERVAL);
    }
    // The node sets the result before it gives the toggle back.
    let log_position = result.get_volatile();
    if log_position < 0 {
        let errors = cnc.errors();
        let reason = newest_snapshot_error(&errors).filter(|error| error.last_timestamp_ms >= begin_ms);
        return Err(reason.map_or_else(
            || "no snapshot was taken; the node's log says why".to_owned(),
            |error| error.text.clone(),
        ));
    }
    if args.json {
        print_json(&serde_json::json!({ "log_position": log_position }))?;
    } else {
        print(&format!("snapshot taken at log position {log_position}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}
