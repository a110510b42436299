//! Walks the frames of a recording and puts its messages together, refusing whatever a single publisher
//! cannot have written there.

use super::error::FrameFault;
use crate::image::FragmentAssembler;
use crate::wire::data::{BEGIN, END};
use crate::wire::position::MESSAGE_LENGTH_MAX;
use crate::wire::{DataFrame, FRAME_ALIGNMENT, Reject, StreamTerms};

/// What to do with a first frame that continues a message begun before it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MidMessage {
    /// It is an error: reading begins at a message boundary.
    Reject,
    /// Pass over the rest of that message: reading begins at some frame.
    Skip,
}

/// Messages out of frames. Invariant: `boundary <= position`, and they differ only within a message.
#[derive(Debug)]
pub(super) struct MessageReader {
    terms: StreamTerms,
    position: i64,
    boundary: i64,
    gathering: Gathering,
    /// Start of the PAD frame that ends at `position`.
    padding_begin: Option<i64>,
    assembler: FragmentAssembler,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Gathering {
    /// Nothing was read yet.
    Start(MidMessage),
    /// Between messages.
    Between,
    /// In the rest of a message that began before the first frame.
    Skipping,
    /// A message has begun and its END is not read.
    Begun { begin_position: i64 },
}

/// A whole message.
pub(super) struct RecordedMessage<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) begin_position: i64,
    pub(super) end_position: i64,
    /// Where an earlier message began that this one cut off; the caller decides whether that may be.
    pub(super) cut_off: Option<i64>,
    pub(super) before: Before,
}

/// What lies directly before a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Before {
    /// Another message, or part of one.
    Data,
    /// A PAD frame that begins there.
    Padding(i64),
    /// Reading began here.
    Unknown,
}

/// What one frame came to.
pub(super) enum Step<'a> {
    Message(RecordedMessage<'a>),
    /// A fragment or padding: nothing to deliver yet.
    Nothing,
}

impl MessageReader {
    pub(super) fn new(terms: StreamTerms, position: i64, mid_message: MidMessage) -> Self {
        assert!(
            position >= 0 && position <= terms.position_max(),
            "position {position} is outside the stream"
        );
        assert!(position % FRAME_ALIGNMENT as i64 == 0, "position {position} is no frame boundary");
        Self {
            terms,
            position,
            boundary: position,
            gathering: Gathering::Start(mid_message),
            padding_begin: None,
            assembler: FragmentAssembler::new(MESSAGE_LENGTH_MAX),
        }
    }

    /// Start of the next frame to read.
    pub(super) fn position(&self) -> i64 {
        self.position
    }

    /// End of the last whole message or padding.
    pub(super) fn boundary(&self) -> i64 {
        self.boundary
    }

    /// Start of the message that is not finished yet.
    pub(super) fn unfinished_since(&self) -> Option<i64> {
        match self.gathering {
            Gathering::Begun { begin_position } => Some(begin_position),
            _ => None,
        }
    }

    /// Takes the frame at the start of `run`, which lies at [`Self::position`], and moves behind it.
    /// After an error the position still is that frame's, and there is no going on.
    #[inline]
    pub(super) fn step<'a>(&'a mut self, run: &'a [u8]) -> Result<Step<'a>, FrameFault> {
        let frame = DataFrame::parse(run).map_err(FrameFault::Malformed)?;
        let length = frame.aligned_length();
        if length == 0 {
            return Err(FrameFault::Malformed(Reject::BadLength));
        }
        if length > run.len() {
            return Err(FrameFault::Malformed(Reject::Unaligned));
        }
        let begin_position = self.position;
        self.check_place(&frame, length)?;
        let end_position = begin_position + length as i64;

        if frame.is_padding() {
            // A publisher never pads within a message, so whatever was begun will not be finished; the
            // next message is told so. Padding itself is a boundary all the same.
            if matches!(self.gathering, Gathering::Start(_) | Gathering::Skipping) {
                self.gathering = Gathering::Between;
            }
            self.padding_begin = Some(begin_position);
            self.position = end_position;
            self.boundary = end_position;
            return Ok(Step::Nothing);
        }

        let begins = frame.has_flags(BEGIN);
        let ends = frame.has_flags(END);
        let mut cut_off = None;
        let before = match (self.padding_begin, self.gathering) {
            (Some(begin), _) => Before::Padding(begin),
            (None, Gathering::Start(_)) => Before::Unknown,
            (None, _) => Before::Data,
        };
        if begins {
            if let Gathering::Begun { begin_position } = self.gathering {
                // Only a new leader's first message may cut another off, and that is never fragmented.
                if !ends {
                    return Err(FrameFault::Unfinished { begin_position });
                }
                cut_off = Some(begin_position);
            }
        } else {
            match self.gathering {
                Gathering::Begun { .. } if self.padding_begin.is_none() => {}
                Gathering::Begun { begin_position } => {
                    return Err(FrameFault::Unfinished { begin_position });
                }
                Gathering::Start(MidMessage::Skip) | Gathering::Skipping => {
                    self.position = end_position;
                    self.gathering = Gathering::Skipping;
                    if ends {
                        self.gathering = Gathering::Between;
                        self.boundary = end_position;
                    }
                    return Ok(Step::Nothing);
                }
                Gathering::Start(MidMessage::Reject) | Gathering::Between => {
                    return Err(FrameFault::NotBegun);
                }
            }
        }

        if ends {
            let message = self.assembler.on_frame(&frame, begin_position).ok_or(FrameFault::TooLong)?;
            self.gathering = Gathering::Between;
            self.position = end_position;
            self.boundary = end_position;
            self.padding_begin = None;
            return Ok(Step::Message(RecordedMessage {
                bytes: message.bytes,
                begin_position: message.begin_position,
                end_position,
                cut_off,
                before,
            }));
        }
        let _ = self.assembler.on_frame(&frame, begin_position);
        if self.assembler.incomplete_since().is_none() {
            return Err(FrameFault::TooLong);
        }
        if begins {
            self.gathering = Gathering::Begun { begin_position };
        }
        self.position = end_position;
        self.padding_begin = None;
        Ok(Step::Nothing)
    }

    #[inline]
    fn check_place(&self, frame: &DataFrame<'_>, length: usize) -> Result<(), FrameFault> {
        let term_id = self.terms.term_id(self.position);
        let term_offset = self.terms.term_offset(self.position);
        if frame.term_id() != term_id || frame.term_offset() != term_offset {
            return Err(FrameFault::Misplaced {
                term_id,
                term_offset,
                found_term_id: frame.term_id(),
                found_term_offset: frame.term_offset(),
            });
        }
        if length as i64 > self.terms.term_end(self.position) - self.position {
            return Err(FrameFault::BeyondTerm);
        }
        Ok(())
    }
}
