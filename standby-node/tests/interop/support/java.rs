//! How our Java programs are run.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock};

/// The version of Aeron that tests use unless they say otherwise.
pub(crate) const AERON_VERSION: &str = "1.51.0";

/// The command that runs a program of scripts/interop/java, to which flags are then added.
pub(crate) fn command(program: &str, aeron_version: &str) -> Command {
    class(&format!("io.standby.interop.{program}"), aeron_version)
}

/// Runs a program of Aeron's own to its end, and returns whether that was a good one, and all that it printed.
///
/// # Panics
/// If there is no Java.
pub(crate) fn run_official(class_name: &str, arguments: &[&str]) -> (bool, String) {
    let output = class(class_name, AERON_VERSION).args(arguments).output().expect("java runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

fn class(class_name: &str, aeron_version: &str) -> Command {
    let mut command = Command::new("java");
    command
        .arg(format!("@{}", interop_dir().join("jvm-options").display()))
        .arg("-cp")
        .arg(class_path(aeron_version))
        .arg(class_name);
    command
}

/// The command that runs one of Aeron's own tools, to which its arguments are then added.
pub(crate) fn aeron_tool(class: &str, properties: &[String]) -> Command {
    let mut command = Command::new("java");
    command
        .arg(format!("@{}", interop_dir().join("jvm-options").display()))
        .args(properties)
        .arg("-cp")
        .arg(class_path(AERON_VERSION))
        .arg(class);
    command
}

/// `STANDBY_INTEROP_CP`, or what scripts/interop/setup prints, which is run once for each version.
fn class_path(aeron_version: &str) -> String {
    static KNOWN: OnceLock<Mutex<HashMap<String, String>>> = OnceLock::new();
    if aeron_version == AERON_VERSION
        && let Ok(class_path) = std::env::var("STANDBY_INTEROP_CP")
    {
        return class_path;
    }
    let mut known = KNOWN.get_or_init(Mutex::default).lock().expect("class path lock");
    known.entry(aeron_version.to_owned()).or_insert_with(|| set_up(aeron_version)).clone()
}

fn set_up(aeron_version: &str) -> String {
    let setup = interop_dir().join("setup");
    let output = Command::new(&setup).arg(aeron_version).stderr(Stdio::inherit()).output();
    let output = output.unwrap_or_else(|error| panic!("cannot run {}: {error}", setup.display()));
    assert!(
        output.status.success(),
        "{} {aeron_version} failed; STANDBY_NO_JAVA=1 skips the tests that need Java",
        setup.display()
    );
    let text = String::from_utf8(output.stdout).expect("a class path in UTF-8");
    text.lines().last().expect("setup prints the class path").to_owned()
}

fn interop_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/interop")
}
