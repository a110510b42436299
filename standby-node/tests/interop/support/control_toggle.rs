//! A member's control toggle, set at once: starting a JVM for it takes longer than some moments last.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use consensus_tap::file::cnc::counters::CLUSTER_CONTROL_TOGGLE;
use consensus_tap::file::cnc::{CncLayout, HEADER_LENGTH};

/// Take a snapshot, then end.
pub(crate) const SHUTDOWN: i64 = 5;

const NEUTRAL: i64 = 1;
const TYPE_ID_OFFSET: usize = 4;

/// Sets the toggle in the cnc.dat of a leader. The file lies in memory, so what is written is at once what the
/// member reads from its mapping.
///
/// # Panics
/// If there is none, or it is not neutral.
pub(crate) fn set(aeron_dir: &Path, action: i64) {
    let path = aeron_dir.join("cnc.dat");
    let file = File::options().read(true).write(true).open(&path).expect("cnc.dat of a member");
    let file_length = file.metadata().expect("its length").len() as usize;
    let mut header = [0; HEADER_LENGTH];
    file.read_exact_at(&mut header, 0).expect("its header");
    let (layout, _) = CncLayout::decode(&header, file_length).expect("a cnc.dat");
    let i32_at = |offset: usize| {
        let mut bytes = [0; 4];
        file.read_exact_at(&mut bytes, offset as u64).expect("a field of cnc.dat");
        i32::from_le_bytes(bytes)
    };
    let is_toggle =
        |&id: &usize| i32_at(layout.metadata_offset(id) + TYPE_ID_OFFSET) == CLUSTER_CONTROL_TOGGLE;
    let id = (0..layout.counter_capacity()).find(is_toggle).expect("a control toggle in cnc.dat");
    let at = layout.value_offset(id) as u64;
    let mut value = [0; 8];
    file.read_exact_at(&mut value, at).expect("the toggle");
    assert_eq!(i64::from_le_bytes(value), NEUTRAL, "the toggle of {}", path.display());
    file.write_all_at(&action.to_le_bytes(), at).expect("the toggle can be set");
}
