//! The progress bar while catching up, fed from the node's own cnc.dat.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::status::StatusReport;

/// Less than this behind the source counts as caught up.
const CAUGHT_UP_BYTES: i64 = 64 * 1024;
/// Where nobody looks at a bar, a line is printed instead, this often.
const LINE_INTERVAL: Duration = Duration::from_secs(2);

/// Shows how far the services are, until they have caught up once.
#[derive(Debug)]
pub(crate) struct Progress {
    aeron_dir: PathBuf,
    bar: Option<ProgressBar>,
    is_terminal: bool,
    line_due: Instant,
    is_done: bool,
}

impl Progress {
    pub(crate) fn new(aeron_dir: &Path) -> Self {
        Self {
            aeron_dir: aeron_dir.to_owned(),
            bar: None,
            is_terminal: std::io::stderr().is_terminal(),
            line_due: Instant::now(),
            is_done: false,
        }
    }

    pub(crate) fn update(&mut self) {
        if self.is_done {
            return;
        }
        let Ok(report) = StatusReport::read(&self.aeron_dir) else { return };
        if report.source_position <= 0 || report.applied_position < 0 {
            return;
        }
        let (applied, source) = (report.applied_position, report.source_position);
        if source - applied <= CAUGHT_UP_BYTES {
            self.is_done = true;
            if let Some(bar) = self.bar.take() {
                bar.finish_and_clear();
            }
            tracing::info!(position = applied, "caught up");
            return;
        }
        if self.is_terminal {
            let bar = self.bar.get_or_insert_with(|| bar(applied));
            bar.set_length(source as u64);
            bar.set_position(applied as u64);
        } else if Instant::now() >= self.line_due {
            self.line_due = Instant::now() + LINE_INTERVAL;
            tracing::info!(applied, source, behind = source - applied, "catching up");
        }
    }
}

fn bar(applied: i64) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "catching up [{bar:40}] {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}",
    )
    .expect("the template is valid");
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style);
    bar.set_position(applied as u64);
    bar.reset_eta();
    bar
}
