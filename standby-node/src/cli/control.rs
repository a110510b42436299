//! `suspend`, `resume`, `shutdown` and `abort`: what `ClusterControl` does on a member, on a node that leads.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use consensus_tap::file::cnc::counters::{
    CLUSTER_CONTROL_TOGGLE, CONSENSUS_MODULE_STATE, CONTROL_ABORT, CONTROL_RESUME, CONTROL_SHUTDOWN,
    CONTROL_SUSPEND, TOGGLE_INACTIVE, TOGGLE_NEUTRAL,
};

use super::output::{files, print, stopped};
use crate::inspection::NodeFiles;
use crate::status::ModuleState;
use crate::store::cnc::CncReader;
use crate::store::counters::Counter;
use crate::sys::clock;

#[derive(Args, Debug)]
pub(super) struct ControlArgs {
    /// Directory of the node, which must run and lead
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Directory of its cnc.dat [default: DIR/aeron]
    #[arg(long, value_name = "DIR")]
    aeron_dir: Option<PathBuf>,
    /// Wait at most this long until it is done [default: do not wait]
    #[arg(long, value_name = "SECONDS")]
    wait: Option<f64>,
}

/// What is asked of the cluster.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ControlRequest {
    /// Take no more of clients.
    Suspend,
    /// Go on.
    Resume,
    /// Take a snapshot, and end the node.
    Shutdown,
    /// End the node.
    Abort,
}

const POLL_INTERVAL: Duration = Duration::from_millis(10);

pub(super) fn control(args: &ControlArgs, request: ControlRequest) -> Result<ExitCode, String> {
    let wait = args.wait.map(Duration::try_from_secs_f64).transpose();
    let wait = wait.map_err(|error| format!("--wait: {error}"))?;
    let files = files(&args.dir)?;
    // Nothing else needs to read there: a damaged recording.log is in nobody's way.
    let before = match request {
        ControlRequest::Shutdown if wait.is_some() => Some(newest_snapshot(&files)?),
        _ => None,
    };
    let aeron_dir = args.aeron_dir.clone().unwrap_or_else(|| args.dir.join("aeron"));
    let node = LeadingNode::find(&args.dir, &aeron_dir)?;
    node.request(request)?;
    match wait {
        Some(wait) => {
            node.await_done(request, wait)?;
            if let Some(before) = before
                && newest_snapshot(&files)? == before
            {
                let from =
                    before.map_or("the log's beginning".to_owned(), |at| format!("the snapshot at {at}"));
                return Err(format!(
                    "{}: the node has ended WITHOUT a snapshot, and its log says why it was given up; the next start \
                     replays from {from}",
                    args.dir.display()
                ));
            }
            print(&format!("{}\n", request.outcome()))?;
        }
        None => print(&format!("{} requested\n", request.name()))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Log position of the newest snapshot that counts.
fn newest_snapshot(files: &NodeFiles) -> Result<Option<i64>, String> {
    let sets = files.snapshot_sets(None).map_err(|error| error.to_string())?;
    Ok(sets.first().map(|set| set.log_position))
}

/// A node that leads, seen through its counters.
pub(super) struct LeadingNode {
    dir: PathBuf,
    cnc: CncReader,
    toggle: Counter,
    state: Counter,
}

impl LeadingNode {
    /// The node in `dir`.
    ///
    /// # Errors
    /// In words, when none runs there, or one that does not lead.
    pub(super) fn find(dir: &Path, aeron_dir: &Path) -> Result<Self, String> {
        let shown = dir.display();
        let cnc = CncReader::open_writable(aeron_dir).map_err(|error| format!("{shown}: {error}"))?;
        if !cnc.is_alive(clock::epoch_ms()) {
            return Err(format!("{shown}: no node runs here; start it, or check --dir"));
        }
        let counter = |type_id| cnc.find(type_id, &[]).map(|record| cnc.counter(record.id));
        let (Some(toggle), Some(state)) = (counter(CLUSTER_CONTROL_TOGGLE), counter(CONSENSUS_MODULE_STATE))
        else {
            return Err(format!("{shown}: this node cannot lead: it hosts no service"));
        };
        if toggle.get_volatile() == TOGGLE_INACTIVE {
            return Err(format!(
                "{shown}: this node does not lead; `status` shows whom it follows, and whoever leads is asked there"
            ));
        }
        Ok(Self { dir: dir.to_owned(), cnc, toggle, state })
    }

    /// Asks, and does not wait.
    ///
    /// # Errors
    /// In words, while something else is being done, or when this cannot be done now.
    pub(super) fn request(&self, request: ControlRequest) -> Result<(), String> {
        let (from, to) = match request {
            ControlRequest::Suspend => (TOGGLE_NEUTRAL, CONTROL_SUSPEND),
            ControlRequest::Resume => (CONTROL_SUSPEND, CONTROL_RESUME),
            ControlRequest::Shutdown => (TOGGLE_NEUTRAL, CONTROL_SHUTDOWN),
            ControlRequest::Abort => (TOGGLE_NEUTRAL, CONTROL_ABORT),
        };
        if self.toggle.compare_and_set(from, to) {
            return Ok(());
        }
        let (dir, name) = (self.dir.display(), request.name());
        Err(match (self.toggle.get_volatile(), request) {
            (CONTROL_SUSPEND, ControlRequest::Suspend) => format!("{dir}: it is suspended already"),
            (CONTROL_SUSPEND, _) => {
                format!("{dir}: no {name} while it is suspended, as on a member; `resume` it first")
            }
            (TOGGLE_NEUTRAL, ControlRequest::Resume) => format!("{dir}: it is not suspended"),
            _ => format!("{dir}: another request is being carried out; ask for the {name} when it is done"),
        })
    }

    /// Waits until what was asked for is done.
    ///
    /// # Errors
    /// In words, when it is not done in time, was refused, or the node has ended before.
    pub(super) fn await_done(&self, request: ControlRequest, wait: Duration) -> Result<(), String> {
        let deadline = Instant::now() + wait;
        loop {
            if self.is_done(request) {
                return Ok(());
            }
            let (dir, name) = (self.dir.display(), request.name());
            if !request.ends_node() && !self.cnc.is_alive(clock::epoch_ms()) {
                return Err(format!("{dir}: the node ended before the {name} was done"));
            }
            if request.ends_node() && self.toggle.get_volatile() == TOGGLE_NEUTRAL {
                return Err(format!("{dir}: the {name} was refused; `status` and the node's log say why"));
            }
            if Instant::now() >= deadline {
                return Err(format!(
                    "{dir}: the {name} was not done within {} s; the request stands, and `status` shows when it is done",
                    wait.as_secs_f64()
                ));
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    fn is_done(&self, request: ControlRequest) -> bool {
        let is_state = |state: ModuleState| self.state.get_volatile() == state as i64;
        match request {
            ControlRequest::Suspend => is_state(ModuleState::Suspended),
            ControlRequest::Resume => is_state(ModuleState::Active),
            // The counters may be closed before the files are; the directory's lock goes last.
            ControlRequest::Shutdown | ControlRequest::Abort => {
                !self.cnc.is_alive(clock::epoch_ms()) && stopped(&self.dir).is_ok()
            }
        }
    }
}

impl ControlRequest {
    fn name(self) -> &'static str {
        match self {
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Shutdown => "shutdown",
            Self::Abort => "abort",
        }
    }

    fn outcome(self) -> &'static str {
        match self {
            Self::Suspend => "suspended: clients wait",
            Self::Resume => "resumed: clients are served",
            Self::Shutdown => "a snapshot was taken and the node has ended",
            Self::Abort => "the node has ended",
        }
    }

    fn ends_node(self) -> bool {
        matches!(self, Self::Shutdown | Self::Abort)
    }
}
