//! Pairs of runs, the lines printed for them, and the targets that they are held against.
//!
//! Ours and the peer's runs alternate, so that a machine that grows slower or busier meets both. The ratio of a
//! case is the median of its pairs' ratios, which one disturbed pair cannot move; the spread line shows them all.

use crate::error::BenchError;
use crate::host::HostReport;
use crate::results::ResultsDirectory;
use hdrhistogram::Histogram;
use std::fmt;

/// One row of the table in README.md.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) bench: &'static str,
    pub(crate) case: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) peer: &'static str,
    pub(crate) target: Target,
}

/// What the ratio ours / theirs must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    AtMost(f64),
    AtLeast(f64),
    /// Ours must be 0; there is nothing to divide by.
    Zero,
    /// Anything: the case is there to be read.
    None,
}

/// What one run came to.
#[derive(Debug)]
pub(crate) struct Measured {
    /// In the case's unit.
    pub(crate) value: f64,
    /// Latencies in nanoseconds, for benches that take them.
    pub(crate) latencies: Option<Histogram<u64>>,
}

impl Measured {
    pub(crate) fn value(value: f64) -> Self {
        Self { value, latencies: None }
    }
}

/// One invocation of a bench.
#[derive(Debug)]
pub(crate) struct Session {
    directory: ResultsDirectory,
    host: HostReport,
    is_quick: bool,
    all_met: bool,
    /// What holds for every case of the bench, as `key=value` words at the end of each line.
    conditions: String,
}

impl Session {
    pub(crate) fn new(directory: ResultsDirectory, is_quick: bool) -> Self {
        Self { directory, host: HostReport::begin(), is_quick, all_met: true, conditions: String::new() }
    }

    pub(crate) fn is_quick(&self) -> bool {
        self.is_quick
    }

    /// Has every line from here on say what holds on both sides, such as `file_sync_level=0`.
    pub(crate) fn state_condition(&mut self, condition: &str) {
        self.conditions = format!(" {condition}");
    }

    /// How often ours and theirs run.
    pub(crate) fn pair_count(&self) -> usize {
        if self.is_quick { PAIRS_QUICK } else { PAIRS }
    }

    /// Runs ours and theirs in turn and reports the case.
    pub(crate) fn compare(
        &mut self,
        case: &Case,
        mut ours: impl FnMut() -> Result<Measured, BenchError>,
        mut theirs: impl FnMut() -> Result<Measured, BenchError>,
    ) -> Result<(), BenchError> {
        let mut pairs = Pairs::default();
        let (mut our_histograms, mut their_histograms) = (Vec::new(), Vec::new());
        for _ in 0..self.pair_count() {
            let our_run = ours()?;
            let their_run = theirs()?;
            pairs.push(our_run.value, their_run.value);
            our_histograms.extend(our_run.latencies);
            their_histograms.extend(their_run.latencies);
        }
        self.keep_histograms(&format!("{}.{}", case.case, case.peer), &our_histograms, &their_histograms)?;
        self.report(case, &pairs)
    }

    /// Keeps the histograms of runs that were made elsewhere, in nanoseconds.
    pub(crate) fn keep_histograms(
        &self,
        name: &str,
        ours: &[Histogram<u64>],
        theirs: &[Histogram<u64>],
    ) -> Result<(), BenchError> {
        self.directory.keep_histograms(&format!("{name}.ours"), ours)?;
        self.directory.keep_histograms(&format!("{name}.theirs"), theirs)
    }

    /// Runs ours only, against a figure that does not move.
    pub(crate) fn against_constant(
        &mut self,
        case: &Case,
        theirs: f64,
        ours: impl FnMut() -> Result<Measured, BenchError>,
    ) -> Result<(), BenchError> {
        self.compare(case, ours, || Ok(Measured::value(theirs)))
    }

    /// Reports runs that were made elsewhere.
    pub(crate) fn report(&mut self, case: &Case, pairs: &Pairs) -> Result<(), BenchError> {
        let is_met = pairs.meets(case.target);
        self.all_met &= is_met;
        for line in [pairs.result_line(case), pairs.spread_line(case, is_met)] {
            let line = format!("{line}{}", self.conditions);
            println!("{line}");
            self.directory.keep_line(&line)?;
        }
        Ok(())
    }

    /// Keeps the description of the machine, and says whether every target was met.
    pub(crate) fn finish(self) -> Result<bool, BenchError> {
        let description = self.host.end();
        self.directory.keep_host(&description)?;
        println!("kept in {}; {}", self.directory.path().display(), description.noise());
        Ok(self.all_met)
    }
}

/// The values of a case's runs, in pairs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pairs {
    ours: Vec<f64>,
    theirs: Vec<f64>,
}

impl Pairs {
    pub(crate) fn push(&mut self, ours: f64, theirs: f64) {
        self.ours.push(ours);
        self.theirs.push(theirs);
    }

    fn ratios(&self) -> Vec<f64> {
        self.ours.iter().zip(&self.theirs).map(|(&ours, &theirs)| ratio(ours, theirs)).collect()
    }

    fn meets(&self, target: Target) -> bool {
        let ratio = median(&self.ratios());
        match target {
            Target::AtMost(limit) => ratio <= limit,
            Target::AtLeast(limit) => ratio >= limit,
            // The median would forgive a single run that is not 0.
            Target::Zero => self.ours.iter().all(|&ours| ours == 0.0),
            Target::None => true,
        }
    }

    fn result_line(&self, case: &Case) -> String {
        format!(
            "RESULT bench={} case={} unit={} ours={} peer={} theirs={} ratio={}",
            case.bench,
            case.case,
            case.unit,
            Figure(median(&self.ours)),
            case.peer,
            Figure(median(&self.theirs)),
            Figure(median(&self.ratios())),
        )
    }

    fn spread_line(&self, case: &Case, is_met: bool) -> String {
        let range = |values: &[f64]| {
            let (low, high) = extremes(values);
            format!("{}..{}", Figure(low), Figure(high))
        };
        format!(
            "SPREAD bench={} case={} peer={} pairs={} ours={} theirs={} ratio={} target={} {}",
            case.bench,
            case.case,
            case.peer,
            self.ours.len(),
            range(&self.ours),
            range(&self.theirs),
            range(&self.ratios()),
            case.target,
            if is_met { "met" } else { "missed" },
        )
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(limit) => write!(f, "<={limit}"),
            Self::AtLeast(limit) => write!(f, ">={limit}"),
            Self::Zero => f.write_str("0"),
            Self::None => f.write_str("none"),
        }
    }
}

/// A number with four significant digits and no exponent; only 0 itself is printed as 0.
struct Figure(f64);

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0.0 || !self.0.is_finite() {
            return write!(f, "{}", self.0.abs());
        }
        let magnitude = self.0.abs().log10().floor() as i32;
        let decimals = usize::try_from(3 - magnitude).unwrap_or(0).min(DECIMALS_MAX);
        write!(f, "{:.decimals$}", self.0)
    }
}

/// Against 0, equal is 0 and anything else is infinitely more.
fn ratio(ours: f64, theirs: f64) -> f64 {
    match (ours == 0.0, theirs == 0.0) {
        (true, true) => 0.0,
        (false, true) => f64::INFINITY,
        _ => ours / theirs,
    }
}

fn median(values: &[f64]) -> f64 {
    assert!(!values.is_empty(), "a case has runs");
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 || sorted[middle] == sorted[middle - 1] {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    }
}

/// What a quarter of the values does not exceed: what a thing takes while nothing disturbs it, where disturbances
/// only add.
pub(crate) fn lower_quartile(values: &[f64]) -> f64 {
    assert!(!values.is_empty(), "a pair has runs");
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len().div_ceil(4) - 1]
}

fn extremes(values: &[f64]) -> (f64, f64) {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (low, high)
}

const DECIMALS_MAX: usize = 12;
const PAIRS: usize = 5;
const PAIRS_QUICK: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn case(target: Target) -> Case {
        Case { bench: "transport", case: "rtt_p50", unit: "us", peer: "udp", target }
    }

    fn pairs(values: &[(f64, f64)]) -> Pairs {
        let mut pairs = Pairs::default();
        for &(ours, theirs) in values {
            pairs.push(ours, theirs);
        }
        pairs
    }

    #[test]
    fn the_ratio_is_the_median_of_the_pairs_not_the_ratio_of_the_medians() {
        let pairs = pairs(&[(1.0, 2.0), (20.0, 10.0), (30.0, 10.0)]);
        assert_eq!(
            pairs.result_line(&case(Target::AtMost(1.2))),
            "RESULT bench=transport case=rtt_p50 unit=us ours=20.00 peer=udp theirs=10.00 ratio=2.000"
        );
        let spread = pairs.spread_line(&case(Target::AtMost(1.2)), false);
        assert!(spread.ends_with("ratio=0.5000..3.000 target=<=1.2 missed"), "{spread}");
    }

    #[test]
    fn a_target_is_met_at_its_limit() {
        let pairs = pairs(&[(6.0, 5.0)]);
        assert!(pairs.meets(Target::AtMost(1.2)) && pairs.meets(Target::AtLeast(1.2)));
        assert!(!pairs.meets(Target::AtMost(1.1)) && !pairs.meets(Target::AtLeast(1.3)));
    }

    #[test]
    fn against_zero_every_run_must_be_zero() {
        let clean = pairs(&[(0.0, 0.0); 3]);
        assert!(clean.meets(Target::Zero));
        assert!(clean.result_line(&case(Target::Zero)).ends_with("ours=0 peer=udp theirs=0 ratio=0"));
        let dirty = pairs(&[(0.0, 0.0), (0.0, 0.0), (0.001, 0.0)]);
        assert!(!dirty.meets(Target::Zero));
        let tiny = pairs(&[(0.000_012_5, 0.0)]);
        assert!(
            tiny.result_line(&case(Target::Zero)).contains("ours=0.00001250 peer=udp theirs=0 ratio=inf")
        );
    }

    #[test]
    fn a_quarter_of_the_values_is_in_the_lower_quartile() {
        assert_eq!(lower_quartile(&[3.0]), 3.0);
        assert_eq!(lower_quartile(&[4.0, 2.0, 3.0, 1.0]), 1.0);
        assert_eq!(lower_quartile(&[9.0, 5.0, 4.0, 8.0, 7.0, 6.0, 3.0, 2.0]), 3.0);
    }

    #[test]
    fn an_even_number_of_runs_has_its_median_in_the_middle() {
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[f64::INFINITY, f64::INFINITY]), f64::INFINITY);
    }
}
