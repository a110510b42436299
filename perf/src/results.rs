//! `results/<bench>/<time>/`: what a bench leaves behind beside its lines.
//!
//! ```text
//!   results.txt                     the RESULT and SPREAD lines
//!   host.json, host.txt             the machine
//!   <case>.<peer>.<side>.hlog       one interval for each run, HdrHistogram log with V2 histograms
//!   <case>.<peer>.<side>.hgrm       percentiles of all runs together
//! ```

use crate::error::BenchError;
use crate::host::HostDescription;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::IntervalLogWriterBuilder;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The directory of one invocation.
#[derive(Debug)]
pub(crate) struct ResultsDirectory {
    path: PathBuf,
}

impl ResultsDirectory {
    pub(crate) fn create(root: &Path, bench: &str) -> Result<Self, BenchError> {
        let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string().replace(':', "");
        let path = root.join(bench).join(time);
        fs::create_dir_all(&path).map_err(BenchError::file(&path, "create it"))?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn keep_line(&self, line: &str) -> Result<(), BenchError> {
        let path = self.path.join("results.txt");
        let file = OpenOptions::new().create(true).append(true).open(&path);
        file.and_then(|mut file| writeln!(file, "{line}")).map_err(BenchError::file(path, "append to it"))
    }

    pub(crate) fn keep_host(&self, host: &HostDescription) -> Result<(), BenchError> {
        let json = serde_json::to_string_pretty(host).expect("plain fields always serialize");
        self.write("host.json", json.as_bytes())?;
        self.write("host.txt", host.to_string().as_bytes())
    }

    /// Keeps the histograms of a side's runs, in nanoseconds; nothing when there are none.
    pub(crate) fn keep_histograms(&self, name: &str, runs: &[Histogram<u64>]) -> Result<(), BenchError> {
        let Some(first) = runs.first() else { return Ok(()) };
        let path = self.path.join(format!("{name}.hlog"));
        write_log(&path, runs).map_err(|error| BenchError::Run(format!("{}: {error}", path.display())))?;
        let mut all = first.clone();
        for run in &runs[1..] {
            all.add(run).map_err(BenchError::run)?;
        }
        self.write(&format!("{name}.hgrm"), percentiles(&all).as_bytes())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), BenchError> {
        let path = self.path.join(name);
        fs::write(&path, bytes).map_err(BenchError::file(path, "write it"))
    }
}

/// One interval a run. Their times are made up, a second each: what counts is which run a line is of.
fn write_log(path: &Path, runs: &[Histogram<u64>]) -> Result<(), Box<dyn std::error::Error>> {
    let mut file = File::create(path)?;
    let mut serializer = V2DeflateSerializer::new();
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment("[Histogram log format version 1.3]")
        .add_comment("[Values are nanoseconds; each interval is one run]")
        .begin_log_with(&mut file, &mut serializer)?;
    for (run, index) in runs.iter().zip(0..) {
        log.write_histogram(run, Duration::from_secs(index), Duration::from_secs(1), None)?;
    }
    Ok(())
}

/// The format of HdrHistogram's `outputPercentileDistribution`, values in microseconds.
fn percentiles(histogram: &Histogram<u64>) -> String {
    let mut text =
        format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let mut count = 0;
    for step in histogram.iter_quantiles(TICKS_PER_HALF_DISTANCE) {
        count += step.count_since_last_iteration();
        let value = step.value_iterated_to() as f64 / 1e3;
        let quantile = step.quantile_iterated_to();
        let _ = write!(text, "{value:12.3} {quantile:2.12} {count:10}");
        if quantile < 1.0 {
            let _ = write!(text, " {:14.2}", 1.0 / (1.0 - quantile));
        }
        text.push('\n');
    }
    let (mean, deviation) = (histogram.mean() / 1e3, histogram.stdev() / 1e3);
    let _ = writeln!(text, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]");
    let (max, total) = (histogram.max() as f64 / 1e3, histogram.len());
    let _ = writeln!(text, "#[Max     = {max:12.3}, Total count    = {total:12}]");
    let buckets = histogram.buckets();
    let _ = writeln!(text, "#[Buckets = {buckets:12}, SubBuckets     = {:12}]", histogram.distinct_values());
    text
}

const TICKS_PER_HALF_DISTANCE: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    fn histogram(values: impl IntoIterator<Item = u64>) -> Histogram<u64> {
        let mut histogram = Histogram::new(3).unwrap();
        for value in values {
            histogram.record(value).unwrap();
        }
        histogram
    }

    #[test]
    fn a_log_read_back_has_an_interval_for_each_run() {
        let directory = tempfile::tempdir().unwrap();
        let results = ResultsDirectory::create(directory.path(), "transport").unwrap();
        let runs = [histogram([5_500, 6_000]), histogram([7_000])];
        results.keep_histograms("rtt.ours", &runs).unwrap();

        let log = fs::read(results.path().join("rtt.ours.hlog")).unwrap();
        let read: Vec<u64> = IntervalLogIterator::new(&log)
            .map(|entry| match entry.unwrap() {
                LogEntry::Interval(interval) => {
                    use base64_of_log as decode;
                    let bytes = decode(interval.encoded_histogram());
                    let histogram: Histogram<u64> =
                        Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
                    histogram.len()
                }
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(read, [2, 1]);

        let text = fs::read_to_string(results.path().join("rtt.ours.hgrm")).unwrap();
        assert!(text.lines().any(|line| line.contains("1.000000000000") && line.contains('3')), "{text}");
        assert!(text.contains("Total count    =            3"), "{text}");
    }

    /// Standard base64, as the log has it.
    fn base64_of_log(text: &str) -> Vec<u8> {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut bits = 0_u32;
        let mut bit_count = 0;
        let mut bytes = Vec::new();
        for symbol in text.bytes().filter(|&symbol| symbol != b'=') {
            let value = ALPHABET.iter().position(|&letter| letter == symbol).unwrap();
            bits = (bits << 6 | u32::try_from(value).unwrap()) & 0xFFFF;
            bit_count += 6;
            if bit_count >= 8 {
                bit_count -= 8;
                bytes.push((bits >> bit_count) as u8);
            }
        }
        bytes
    }
}
