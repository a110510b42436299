//! The machine that a bench ran on, and how busy others kept it meanwhile.

use crate::java;
use serde::Serialize;
use std::fmt;
use std::fs;
use std::process::Command;
use std::time::SystemTime;

/// Taken when a bench begins; ended when it ends.
#[derive(Debug)]
pub(crate) struct HostReport {
    times_at_start: CpuTimes,
    load_at_start: String,
    started: SystemTime,
}

/// What goes to host.json and host.txt.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct HostDescription {
    started: String,
    ended: String,
    commit: String,
    cpu_model: String,
    core_count: usize,
    memory: String,
    kernel: String,
    governor: String,
    clock_source: String,
    hypervisor: String,
    rmem_max: String,
    rustc: String,
    java: String,
    aeron: &'static str,
    load_average_at_start: String,
    load_average_at_end: String,
    /// Of all cores' time, in percent.
    stolen_percent: f64,
    /// Of all cores' time, in percent: what this host's processes used, the bench's own included.
    busy_percent: f64,
}

impl HostReport {
    pub(crate) fn begin() -> Self {
        Self { times_at_start: CpuTimes::now(), load_at_start: load_average(), started: SystemTime::now() }
    }

    /// Describes the machine; may be called once everything was measured, for it starts processes.
    pub(crate) fn end(&self) -> HostDescription {
        let spent = CpuTimes::now().since(&self.times_at_start);
        let time = |time| humantime::format_rfc3339_seconds(time).to_string();
        HostDescription {
            started: time(self.started),
            ended: time(SystemTime::now()),
            commit: commit(),
            cpu_model: field("/proc/cpuinfo", "model name"),
            core_count: std::thread::available_parallelism().map_or(0, usize::from),
            memory: field("/proc/meminfo", "MemTotal"),
            kernel: content("/proc/sys/kernel/osrelease"),
            governor: content("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            clock_source: content("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            hypervisor: content("/sys/class/dmi/id/sys_vendor"),
            rmem_max: content("/proc/sys/net/core/rmem_max"),
            rustc: first_line(Command::new("rustc").arg("--version")),
            java: first_line(Command::new("java").arg("--version")),
            aeron: java::AERON_VERSION,
            load_average_at_start: self.load_at_start.clone(),
            load_average_at_end: load_average(),
            stolen_percent: spent.percent(spent.stolen),
            busy_percent: spent.percent(spent.total - spent.idle),
        }
    }
}

impl HostDescription {
    /// How far the figures can be trusted, in one line.
    pub(crate) fn noise(&self) -> String {
        format!(
            "load average {} before, {} after; {:.1} % of all cores' time stolen",
            self.load_average_at_start, self.load_average_at_end, self.stolen_percent
        )
    }
}

impl fmt::Display for HostDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = serde_json::to_value(self).map_err(|_| fmt::Error)?;
        for (name, value) in value.as_object().into_iter().flatten() {
            match value.as_str() {
                Some(text) => writeln!(f, "{name:22} {text}")?,
                None => writeln!(f, "{name:22} {value}")?,
            }
        }
        Ok(())
    }
}

/// The first line of /proc/stat, in ticks since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct CpuTimes {
    total: f64,
    idle: f64,
    stolen: f64,
}

impl CpuTimes {
    fn now() -> Self {
        Self::parse(&fs::read_to_string("/proc/stat").unwrap_or_default())
    }

    /// `cpu  user nice system idle iowait irq softirq steal guest guest_nice`, see proc_stat(5). Guest time is
    /// part of user time.
    fn parse(text: &str) -> Self {
        let line = text.lines().next().unwrap_or_default();
        let ticks: Vec<f64> =
            line.split_whitespace().skip(1).take(8).map(|word| word.parse().unwrap_or_default()).collect();
        let at = |index: usize| ticks.get(index).copied().unwrap_or_default();
        Self { total: ticks.iter().sum(), idle: at(3) + at(4), stolen: at(7) }
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            total: self.total - before.total,
            idle: self.idle - before.idle,
            stolen: self.stolen - before.stolen,
        }
    }

    fn percent(&self, part: f64) -> f64 {
        if self.total == 0.0 { 0.0 } else { (1000.0 * part / self.total).round() / 10.0 }
    }
}

fn commit() -> String {
    let root = java::workspace_root();
    let head = first_line(Command::new("git").arg("-C").arg(&root).args(["rev-parse", "HEAD"]));
    let changes =
        first_line(Command::new("git").arg("-C").arg(&root).args(["status", "--porcelain", "-uno"]));
    if changes == UNKNOWN { head } else { format!("{head} and changes") }
}

fn load_average() -> String {
    content("/proc/loadavg").split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

fn content(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| UNKNOWN.to_owned(), |text| text.trim().to_owned())
}

/// The value behind `name :` in a file of /proc.
fn field(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let value = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim().to_owned());
    value.unwrap_or_else(|| UNKNOWN.to_owned())
}

fn first_line(command: &mut Command) -> String {
    let output = command.output().ok().filter(|output| output.status.success());
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.as_deref().and_then(|text| text.lines().next()).unwrap_or(UNKNOWN).to_owned()
}

const UNKNOWN: &str = "unknown";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_time_is_not_counted_twice() {
        let times = CpuTimes::parse("cpu  100 10 50 800 20 5 5 10 90 9\ncpu0 1 1 1 1\n");
        assert_eq!(times, CpuTimes { total: 1000.0, idle: 820.0, stolen: 10.0 });
        assert_eq!(times.percent(times.stolen), 1.0);
    }

    #[test]
    fn describes_this_machine() {
        let description = HostReport::begin().end();
        assert!(description.core_count > 0);
        assert_ne!(description.kernel, UNKNOWN);
        assert!(description.to_string().contains(&description.kernel));
    }
}
