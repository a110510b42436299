//! Where a test keeps its data (in memory) and its logs (below `target`).

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

const MEMORY: &str = "/dev/shm";
const PREFIX: &str = "standby-interop-";

/// A test's directories. Data is deleted on drop, logs too unless the test failed.
pub(crate) struct Scratch {
    data: PathBuf,
    logs: PathBuf,
}

impl Scratch {
    /// Makes fresh directories for the test of that name; two of one name at the same time would share their logs.
    pub(crate) fn new(test: &str) -> Self {
        static CLEANED: Once = Once::new();
        static NEXT: AtomicU32 = AtomicU32::new(0);
        CLEANED.call_once(remove_what_dead_tests_left);

        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let data = Path::new(MEMORY).join(format!("{PREFIX}{}-{number}", std::process::id()));
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target directory");
        let logs = target.join("interop").join(test);
        let _ = fs::remove_dir_all(&logs);
        fs::create_dir_all(&data).expect("a directory in /dev/shm");
        fs::create_dir_all(&logs).expect("a directory below target");
        Self { data, logs }
    }

    /// A directory for data; it is not made.
    pub(crate) fn data(&self, name: &str) -> PathBuf {
        self.data.join(name)
    }

    /// A file for a process's output.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let keeps = std::env::var_os("STANDBY_KEEP").is_some();
        if keeps || std::thread::panicking() {
            eprintln!("logs are in {}", self.logs.display());
        } else {
            let _ = fs::remove_dir_all(&self.logs);
        }
        if keeps {
            eprintln!("data is in {}", self.data.display());
        } else {
            let _ = fs::remove_dir_all(&self.data);
        }
    }
}

/// A test that was killed could not delete its data; its pid in the name tells that it is gone.
fn remove_what_dead_tests_left() {
    for entry in fs::read_dir(MEMORY).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid =
            name.to_str().and_then(|name| name.strip_prefix(PREFIX)).and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
