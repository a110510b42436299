//! What the tests of a server share.

use crate::archive::Recording;

/// A recording in terms of 64 KiB from term 5 on.
pub(super) fn recording(recording_id: i64, start_position: i64, stop_position: i64) -> Recording {
    Recording {
        recording_id,
        start_timestamp: 1,
        stop_timestamp: if stop_position == -1 { -1 } else { 2 },
        start_position,
        stop_position,
        initial_term_id: 5,
        segment_file_length: 131_072,
        term_buffer_length: 65_536,
        mtu_length: 1408,
        session_id: 900,
        stream_id: 100,
        stripped_channel: "aeron:udp?endpoint=a:1".to_owned(),
        original_channel: "aeron:udp?endpoint=a:1|alias=log".to_owned(),
        source_identity: "b:2".to_owned(),
    }
}
