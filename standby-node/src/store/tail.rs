//! How much of a tail makes up a log: what lies behind a recording's end since the machine went down, and no source has
//! confirmed.
//!
//! Every frame there was found whole by its header ([`recovery`](super::recovery)). That says nothing of its payload:
//! a page that never came to the disk reads as zeros, or as it was when it last came. So a frame over several pages
//! must not look like that, and what the frames hold must be the messages of one log, of the term that it ended in.
//! Within one page a frame's length comes to the disk with what it covers.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::Path;

use consensus_tap::file::segment::{FRAME_HEADER_LENGTH, FrameHeader, RecordingGeometry, frame_may_be_torn};
use consensus_tap::log::{LogReader, LogStart, PollLimits};

/// Up to where a log can be read that begins at `start`, a message boundary, is recorded up to `end`, and has a tail up
/// to `tail_end`: never below `end`. Reads files that nobody writes meanwhile, and changes nothing. What cannot be read
/// ends the log.
pub(super) fn whole_up_to(
    directory: &Path,
    geometry: &RecordingGeometry,
    start: LogStart,
    end: i64,
    tail_end: i64,
) -> i64 {
    let mut at = start.position;
    let mut reader = LogReader::new(start);
    let mut frame = Vec::new();
    let mut segment = None;
    while at < tail_end {
        match read_frame(directory, geometry, at, &mut segment, &mut frame) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                tracing::warn!(position = at, %error, "the log's tail cannot be read on");
                break;
            }
        }
        let frame_end = at + frame.len() as i64;
        let may_be_torn = at >= end && frame_may_be_torn(&frame, geometry.segment_offset(at));
        if frame_end > tail_end || may_be_torn {
            break;
        }
        if let Err(error) = reader.poll(&frame, PollLimits::NONE, |_, _| ControlFlow::Continue(())) {
            tracing::warn!(%error, "the log's tail ends");
            at = error.position;
            break;
        }
        at = frame_end;
    }
    at.max(end)
}

/// Reads the frame at position `at`; false where there is none of this recording.
fn read_frame(
    directory: &Path,
    geometry: &RecordingGeometry,
    at: i64,
    segment: &mut Option<(i64, File)>,
    frame: &mut Vec<u8>,
) -> io::Result<bool> {
    let base = geometry.segment_base(at);
    let file = match segment.take() {
        Some((open, file)) if open == base => file,
        _ => File::open(directory.join(geometry.segment_name(base)))?,
    };
    let (_, file) = segment.insert((base, file));
    let offset = geometry.segment_offset(at) as u64;
    frame.resize(FRAME_HEADER_LENGTH, 0);
    file.read_exact_at(frame, offset)?;
    let header = FrameHeader::parse(frame);
    let header =
        header.filter(|header| header.fits(geometry, at) && header.stream_id == geometry.stream_id());
    let Some(header) = header else { return Ok(false) };
    frame.resize(header.aligned_length() as usize, 0);
    file.read_exact_at(&mut frame[FRAME_HEADER_LENGTH..], offset + FRAME_HEADER_LENGTH as u64)?;
    Ok(true)
}
