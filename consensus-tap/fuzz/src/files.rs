//! Files of Aeron: whatever a file holds, the answer is a value, or an error that names an offset within reach.

use consensus_tap::file::activation::Activation;
use consensus_tap::file::archive_mark::ArchiveMark;
use consensus_tap::file::catalog::{Catalog, RecordState};
use consensus_tap::file::cluster_mark::ClusterMark;
use consensus_tap::file::cnc::{CncLayout, HEADER_LENGTH};
use consensus_tap::file::error_log::ErrorLog;
use consensus_tap::file::node_state::NodeState;
use consensus_tap::file::recording_log::RecordingLog;
use consensus_tap::file::segment::{RecordingGeometry, SegmentName, last_frame_may_be_torn, scan};
use consensus_tap::file::{Edit, FormatError};

/// `recording.log`, with what is asked of it and what is planned on top of it.
pub fn recording_log(bytes: &[u8]) {
    let log = match RecordingLog::parse(bytes.to_vec()) {
        Ok(log) => log,
        Err(error) => return within(&error, bytes),
    };
    assert_eq!(log.image(), bytes);
    // A row takes at least 64 bytes.
    assert!(log.rows().len() <= bytes.len() / 64 + 1);
    for service_count in [0, 1, 2, 10] {
        let newest = log.latest_snapshot_set(service_count);
        assert!(newest.is_none_or(|set| set.services.len() == service_count));
    }
    let recording_id = log.log_recording_id().unwrap_or(0);
    let term = log.last_term().map_or(0, |row| row.entry.leadership_term_id.saturating_add(2));
    let base = log.last_term().map_or(0, |row| row.entry.log_position.max(row.entry.term_base_log_position));
    for planned in [
        log.plan_append_term(recording_id, term, base, 7),
        log.plan_coherent(recording_id, term, base, None, 7),
        log.plan_invalidate_latest_snapshot(),
    ] {
        match planned {
            // What is written can be read again.
            Ok(edits) => {
                let mut changed = log.clone();
                changed.apply(&edits);
                let again = RecordingLog::parse(changed.image().to_vec());
                assert_eq!(again.as_ref().map(RecordingLog::rows), Ok(changed.rows()));
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

/// `archive.catalog`.
pub fn catalog(bytes: &[u8]) {
    let catalog = match Catalog::parse(bytes) {
        Ok(catalog) => catalog,
        Err(error) => return within(&error, bytes),
    };
    assert!(catalog.next_recording_id() >= 0);
    let mut image = catalog.header.encode().to_vec();
    for record in &catalog.records {
        assert_eq!(
            catalog.find(record.descriptor.recording_id).is_some(),
            record.state == RecordState::Valid
        );
        image.extend(
            record
                .descriptor
                .encode_record(record.state, catalog.header.alignment)
                .expect("what was read as ASCII can be written"),
        );
    }
    let again = Catalog::parse(&image).expect("what we write we can read");
    let descriptors = |catalog: &Catalog| -> Vec<_> {
        catalog.records.iter().map(|record| (record.state, record.descriptor.clone())).collect()
    };
    assert_eq!(descriptors(&again), descriptors(&catalog));
}

/// `archive-mark.dat`.
pub fn archive_mark(bytes: &[u8]) {
    match ArchiveMark::parse(bytes) {
        Ok(mark) => match mark.encode() {
            Ok(encoded) => assert_eq!(ArchiveMark::parse(&encoded), Ok(mark)),
            Err(error) => assert!(!error.to_string().is_empty()),
        },
        Err(error) => within(&error, bytes),
    }
}

/// `cluster-mark.dat`.
pub fn cluster_mark(bytes: &[u8]) {
    match ClusterMark::parse(bytes) {
        Ok(mark) => match mark.encode() {
            Ok(encoded) => assert_eq!(ClusterMark::parse(&encoded), Ok(mark)),
            Err(error) => assert!(!error.to_string().is_empty()),
        },
        Err(error) => within(&error, bytes),
    }
}

/// `node-state.dat`.
pub fn node_state(bytes: &[u8]) {
    match NodeState::parse(bytes) {
        Ok(state) => {
            let mut image = bytes.to_vec();
            store(&mut image, &state.edits(state.candidate_term));
            assert_eq!(NodeState::parse(&image), Ok(state));
        }
        Err(error) => within(&error, bytes),
    }
}

/// `activation.dat`.
pub fn activation(bytes: &[u8]) {
    match Activation::decode(bytes) {
        Ok(activation) => assert_eq!(Activation::decode(&activation.encode()), Ok(activation)),
        Err(error) => within(&error, bytes),
    }
}

/// The distinct error log: what another process left in it is kept, and one more error is found again.
pub fn error_log(bytes: &[u8]) {
    let mut log = ErrorLog::parse(bytes);
    assert!(log.used_length() <= bytes.len().next_multiple_of(8));
    let known = log.observations().len();
    let mut region = bytes.to_vec();
    if let Ok(edits) = log.observe("a new error", 7) {
        store(&mut region, &edits);
        let again = ErrorLog::parse(&region);
        assert!(again.observations().len() >= known.max(1));
        assert!(again.observations().iter().any(|observation| observation.text == "a new error"));
    }
}

/// `cnc.dat`: its header decides where everything else lies, within the file.
pub fn cnc(bytes: &[u8]) {
    match CncLayout::decode(bytes, bytes.len()) {
        Ok((layout, identity)) => {
            assert!(layout.error_log_offset() + layout.error_log_length() <= bytes.len());
            assert!(layout.heartbeat_offset() + 8 <= bytes.len());
            if let Some(last) = layout.counter_capacity().checked_sub(1) {
                assert!(layout.value_offset(last) + 8 <= bytes.len());
            }
            let encoded = layout.encode(&identity);
            assert_eq!(encoded.len(), HEADER_LENGTH);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A segment file: the first eight bytes choose the recording, the rest is the file.
pub fn segment(bytes: &[u8]) {
    if let Ok(name) = std::str::from_utf8(bytes)
        && let Some(parsed) = SegmentName::parse(name)
    {
        assert_eq!(parsed.to_string(), name);
    }
    let Some((choice, file)) = bytes.split_first_chunk::<8>() else { return };
    let term_bits = 16 + u32::from(choice[0] % 15);
    let term_length = 1 << term_bits;
    let segment_length = term_length << (u32::from(choice[1]) % (31 - term_bits));
    let start = (i64::from(u16::from_le_bytes([choice[2], choice[3]])) * 32) << (choice[4] % 16);
    let initial_term_id = i32::from(choice[5] as i8);
    let Ok(geometry) = RecordingGeometry::new(1, start, term_length, segment_length, initial_term_id, 100)
    else {
        return;
    };
    let base = geometry.first_segment_base();
    let first = geometry.first_frame_offset(base);
    let mut last = None;
    let found = scan(&geometry, base, file, first, |offset| {
        assert!(last.is_none_or(|last| last < offset));
        last = Some(offset);
    });
    assert_eq!(found.last_frame_offset, last);
    assert!(found.stop_offset <= file.len().max(first));
    let _ = last_frame_may_be_torn(file, &found);
}

fn store(image: &mut [u8], edits: &[Edit]) {
    for edit in edits {
        let at = usize::try_from(edit.offset).expect("an offset within the file");
        image[at..at + edit.bytes.len()].copy_from_slice(&edit.bytes);
    }
}

/// An error says something, shortly, of a place that is there or where the file ended too early.
fn within(error: &FormatError, bytes: &[u8]) {
    assert!(error.to_string().len() < 512, "{error}");
    // A length read from the file may point far beyond its end, never before what was read.
    let _ = (error.offset(), bytes.len());
}
