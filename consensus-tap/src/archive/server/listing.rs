//! A listing under way: descriptors in order of ids, as fast as the client takes them.

use super::session::ControlSession;
use super::store::RecordingStore;
use crate::archive::Recording;
use crate::codec::archive_control::{ControlResponseCode, RecordingDescriptor};
use crate::codec::sbe::HEADER_LENGTH;
use crate::file::catalog::padded_descriptor_length;

/// So many responses may wait before a listing goes on.
const WAITING_COUNT_MAX: usize = 8;
/// Most recordings that one duty cycle looks at.
const SCAN_COUNT_MAX: usize = 64;

/// What a client still wants to see. A session has one at most.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Listing {
    pub(super) correlation_id: i64,
    pub(super) next_recording_id: i64,
    /// Most descriptors still to send.
    pub(super) left_count: i32,
    /// The only stream that is wanted, and what its channel must contain.
    pub(super) stream: Option<(i32, String)>,
}

/// Goes on with a session's listing. Recordings that come or go meanwhile are listed as they are then.
pub(super) fn go_on(session: &mut ControlSession, store: &impl RecordingStore) -> usize {
    let Some(mut listing) = session.listing.take() else { return 0 };
    let recordings = store.recordings();
    let from = recordings.partition_point(|recording| recording.recording_id < listing.next_recording_id);
    let mut scanned_count = 0;
    for recording in &recordings[from..] {
        if listing.left_count <= 0 {
            return scanned_count;
        }
        if session.waiting_count() >= WAITING_COUNT_MAX || scanned_count == SCAN_COUNT_MAX {
            session.listing = Some(listing);
            return scanned_count;
        }
        scanned_count += 1;
        listing.next_recording_id = recording.recording_id + 1;
        let is_wanted = listing.stream.as_ref().is_none_or(|(stream_id, fragment)| {
            *stream_id == recording.stream_id && recording.original_channel.contains(fragment.as_str())
        });
        if is_wanted {
            send_descriptor(session, listing.correlation_id, recording);
            listing.left_count -= 1;
        }
    }
    if listing.left_count > 0 {
        let next_id = listing.next_recording_id;
        session.response(listing.correlation_id, next_id, ControlResponseCode::RecordingUnknown, "");
    }
    scanned_count + 1
}

/// Sends one descriptor, with the bytes of padding that the catalog's record ends with: a Java archive copies these
/// too.
pub(super) fn send_descriptor(session: &mut ControlSession, correlation_id: i64, recording: &Recording) {
    let descriptor = RecordingDescriptor {
        control_session_id: session.id,
        correlation_id,
        recording_id: recording.recording_id,
        start_timestamp: recording.start_timestamp,
        stop_timestamp: recording.stop_timestamp,
        start_position: recording.start_position,
        stop_position: recording.stop_position,
        initial_term_id: recording.initial_term_id,
        segment_file_length: recording.segment_file_length,
        term_buffer_length: recording.term_buffer_length,
        mtu_length: recording.mtu_length,
        session_id: recording.session_id,
        stream_id: recording.stream_id,
        stripped_channel: &recording.stripped_channel,
        original_channel: &recording.original_channel,
        source_identity: &recording.source_identity,
    };
    session.push(correlation_id, |out| {
        let begin = out.len();
        descriptor.encode(out);
        let length = out.len() - begin;
        out.resize(begin + HEADER_LENGTH + padded_descriptor_length(length - HEADER_LENGTH), 0);
    });
}
