//! UDP frames: what parses is printed, and its own encoding parses to the same.

use std::fmt::Display;

use consensus_tap::wire::data::HEADER_LENGTH;
use consensus_tap::wire::error_frame::ERROR_LENGTH_MAX;
use consensus_tap::wire::{
    DataFrame, ErrorFrame, FrameType, Nak, Reject, ResolutionFrame, ResponseSetup, Rttm, Setup,
    StatusMessage, frames,
};

/// SETUP.
pub fn wire_setup(bytes: &[u8]) {
    check(Setup::parse(bytes), |setup| assert_eq!(Setup::parse(&setup.encode()), Ok(setup)));
}

/// Status message.
pub fn wire_status_message(bytes: &[u8]) {
    check(StatusMessage::parse(bytes), |message| {
        let (encoded, length) = message.encode();
        assert_eq!(StatusMessage::parse(&encoded[..length]), Ok(message));
    });
}

/// NAK.
pub fn wire_nak(bytes: &[u8]) {
    check(Nak::parse(bytes), |nak| assert_eq!(Nak::parse(&nak.encode()), Ok(nak)));
}

/// RTTM.
pub fn wire_rttm(bytes: &[u8]) {
    check(Rttm::parse(bytes), |rttm| {
        assert_eq!(Rttm::parse(&rttm.encode()), Ok(rttm));
        assert_eq!(rttm.reply().echo_timestamp_ns, rttm.echo_timestamp_ns);
    });
}

/// ERR.
pub fn wire_error(bytes: &[u8]) {
    check(ErrorFrame::parse(bytes), |error| {
        let mut encoded = [0; ERROR_LENGTH_MAX];
        let length = error.encode(&mut encoded);
        assert_eq!(ErrorFrame::parse(&encoded[..length]), Ok(error));
    });
}

/// Response setup.
pub fn wire_response_setup(bytes: &[u8]) {
    check(ResponseSetup::parse(bytes), |setup| assert_eq!(ResponseSetup::parse(&setup.encode()), Ok(setup)));
}

/// Name resolution.
pub fn wire_resolution(bytes: &[u8]) {
    check(ResolutionFrame::parse(bytes), |frame| {
        // An entry takes at least 16 bytes, so the walk is bounded by the datagram.
        assert!(frame.entries().count() <= bytes.len() / 16 + 1);
    });
}

/// DATA and PAD: one frame, and the walk over a datagram.
pub fn wire_data(bytes: &[u8]) {
    let _ = FrameType::of(bytes);
    check(DataFrame::parse(bytes), |frame| {
        assert_eq!(&frame.header().encode()[..4], &frame.header_bytes()[..4]);
        assert!(frame.payload().len() <= bytes.len() - HEADER_LENGTH);
    });
    let mut walk = frames(bytes);
    let walked: Vec<DataFrame<'_>> = walk.by_ref().map_while(Result::ok).collect();
    assert!(walked.len() * HEADER_LENGTH <= bytes.len());
    assert_eq!(walk.walked_length(), walked.iter().map(DataFrame::aligned_length).sum::<usize>());
}

fn check<T: Copy + Display>(parsed: Result<T, Reject>, property: impl FnOnce(T)) {
    match parsed {
        Ok(frame) => {
            // The longest text is that of an ERR or of resolution entries, four characters a byte at most.
            assert!(!frame.to_string().is_empty());
            property(frame);
        }
        Err(reject) => assert!(!reject.to_string().is_empty()),
    }
}
