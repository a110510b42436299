//! Drives every fuzz target on stable: over its corpus, over what is left of a seed when it is cut, flipped and
//! spliced, and over noise.
//!
//! `STANDBY_FUZZ_COUNT` sets how many mutated inputs each target gets (default 3,000; 100,000 with `STANDBY_LONG`),
//! `STANDBY_FUZZ_SEED` where the pseudo-random numbers begin. A failure prints target, seed and input; keep such an
//! input in the target's corpus.

#![allow(clippy::disallowed_methods, reason = "a test run is bounded by the clock, what it tests is not")]

#[path = "fuzz/mutation.rs"]
mod mutation;

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use consensus_tap_fuzz::{TARGETS, Target};
use mutation::{Mutator, Rng};

const INPUT_COUNT: u64 = 3_000;
const INPUT_COUNT_LONG: u64 = 100_000;
/// Targets that run a whole conversation get a share: what a run may take, unless it is a long one.
const TARGET_TIME: Duration = Duration::from_millis(1_000);
/// Seeds up to this length are cut at every length, longer ones at as many.
const CUT_COUNT_MAX: usize = 1_024;

#[test]
fn no_target_breaks_a_promise() {
    let is_long = std::env::var_os("STANDBY_LONG").is_some();
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let default_count = if is_long { INPUT_COUNT_LONG } else { INPUT_COUNT };
    let input_count = number("STANDBY_FUZZ_COUNT").unwrap_or(default_count);
    let first_seed = number("STANDBY_FUZZ_SEED").unwrap_or(1);
    let is_bounded = !is_long && number("STANDBY_FUZZ_COUNT").is_none();

    let mut broken = Vec::new();
    for target in TARGETS {
        let began = Instant::now();
        let time = is_bounded.then_some(TARGET_TIME);
        match drive(target, input_count, first_seed, time) {
            Ok(count) => println!("{:<22} {count:>8} inputs {:>8.1?}", target.name, began.elapsed()),
            Err(failure) => broken.push(failure),
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// Runs everything on one target. Returns how many inputs that were.
fn drive(target: &Target, input_count: u64, first_seed: u64, time: Option<Duration>) -> Result<u64, String> {
    let corpus = corpus(target);
    let mut count = 0;
    let mut run = |seed: u64, origin: &str, input: &[u8]| {
        count += 1;
        catch_unwind(AssertUnwindSafe(|| (target.run)(input))).map_err(|_| {
            let hex = hex::encode(input);
            format!(
                "target {} broke on {origin}, seed {seed}, input ({} bytes): {hex}",
                target.name,
                input.len()
            )
        })
    };
    run(0, "nothing", &[])?;
    for (path, seed) in &corpus {
        run(0, &format!("{}", path.display()), seed)?;
    }
    let began = Instant::now();
    let is_over = |share: u32| time.is_some_and(|time| began.elapsed() > time * share / 4);
    for (path, seed) in &corpus {
        let step = seed.len() / CUT_COUNT_MAX + 1;
        for length in (0..seed.len()).step_by(step).take_while(|_| !is_over(1)) {
            run(0, &format!("{} cut to {length}", path.display()), &seed[..length])?;
        }
    }
    for (path, seed) in &corpus {
        let step = seed.len() * 8 / CUT_COUNT_MAX + 1;
        let mut flipped = seed.clone();
        for bit in (0..seed.len() * 8).step_by(step).take_while(|_| !is_over(2)) {
            flipped[bit / 8] ^= 1 << (bit % 8);
            run(0, &format!("{} with bit {bit} flipped", path.display()), &flipped)?;
            flipped[bit / 8] ^= 1 << (bit % 8);
        }
    }
    let seeds: Vec<Vec<u8>> = corpus.into_iter().map(|(_, bytes)| bytes).collect();
    for seed in (first_seed..first_seed + input_count).take_while(|_| !is_over(4)) {
        let input = Mutator::new(&seeds, Rng::new(seed)).input();
        run(seed, "a mutation", &input)?;
    }
    Ok(count)
}

#[test]
fn every_target_has_seeds_and_a_cargo_fuzz_binary_and_nothing_else_has() {
    let targets: BTreeSet<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(targets.len(), TARGETS.len(), "two targets of one name");
    for target in TARGETS {
        assert!(!corpus(target).is_empty(), "corpus/{} holds no seed", target.name);
        let binary = fs::read_to_string(directory("fuzz_targets").join(format!("{}.rs", target.name)));
        let call = format!("consensus_tap_fuzz::{}(bytes)", target.name);
        assert!(binary.is_ok_and(|text| text.contains(&call)), "fuzz_targets/{}.rs", target.name);
    }
    let manifest = fs::read_to_string(directory("Cargo.toml")).expect("the crate's manifest");
    let listed: BTreeSet<&str> =
        manifest.split("[[bin]]").skip(1).filter_map(|section| section.split('"').nth(1)).collect();
    assert_eq!(listed, targets, "binaries in Cargo.toml");
    assert_eq!(names(&directory("corpus")), targets.iter().map(|name| (*name).to_owned()).collect());
    let binaries = names(&directory("fuzz_targets"));
    let stems: BTreeSet<&str> = binaries.iter().map(|name| name.trim_end_matches(".rs")).collect();
    assert_eq!(stems, targets, "files in fuzz_targets");
}

/// Whoever adds a `parse` or a `decode` adds a target, or names the file in one that drives it.
#[test]
fn every_source_file_that_parses_is_covered_by_a_target() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let covered: BTreeSet<&str> = TARGETS.iter().flat_map(|target| target.covers).copied().collect();
    for file in &covered {
        assert!(source.join(file).is_file(), "{file} is covered but not there");
    }
    let mut files = Vec::new();
    rust_files(&source, &mut files);
    let mut missing = Vec::new();
    for path in files {
        let name = path.strip_prefix(&source).expect("below src").display().to_string();
        let text = fs::read_to_string(&path).expect("a source file");
        let parses =
            ["pub fn parse", "pub fn decode", "pub fn scan", "pub fn on_message", "pub fn on_datagram"];
        let is_test = name.ends_with("tests.rs") || name.contains("/tests/");
        if !is_test && parses.iter().any(|pattern| text.contains(pattern)) && !covered.contains(name.as_str())
        {
            missing.push(name);
        }
    }
    assert!(missing.is_empty(), "no fuzz target names {missing:?}");
}

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
}

/// A target's seeds, by path, so that a run is the same everywhere.
fn corpus(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = directory("corpus").join(target.name);
    let seeds = names(&directory).into_iter().map(|name| directory.join(name));
    seeds.map(|path| (path.clone(), fs::read(path).expect("a seed"))).collect()
}

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

fn rust_files(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
