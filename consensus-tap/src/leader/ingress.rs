//! What clients send, image by image, until the log takes it.
//!
//! A client's message goes from the datagram straight to the log as long as nothing is in its way. What
//! cannot go there now, because the log is full, the cluster is suspended or a message needs more than the
//! log, is held with all that follows it in its image; the sender learns where we stopped, and sends at most
//! a window more. So memory is bounded by windows, and order within an image is kept.

use std::net::SocketAddr;

use crate::image::{FragmentAssembler, ImageKey, ImageSink, Refused};
use crate::wire::data::HEADER_LENGTH;
use crate::wire::{DATAGRAM_LENGTH_MAX, DataFrame};

/// Frames of one image that are taken in one turn, when several wait: Aeron's ingress fragment limit.
const FRAME_LIMIT: usize = 50;

/// What became of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Intake {
    /// It is done with, for good or ill.
    Taken,
    /// It is dropped: no client of this cluster should send it.
    Invalid,
    /// It must come again: the log takes nothing now.
    LogFull,
    /// It must come again where more than the log is at hand.
    Control,
}

/// Every image of the ingress stream.
#[derive(Debug, Default)]
pub(super) struct Ingress {
    images: Vec<IngressImage>,
    message_length_max: usize,
    held_length_max: usize,
    image_count_max: usize,
    /// Messages of images that are gone which were too long or broken off.
    dropped_count: u64,
    /// Whether some image may wait, or may be gone: looked at anew only then.
    has_held: bool,
    has_ended: bool,
    /// Where the image of the last datagram is.
    last_index: usize,
    /// Whose turn it is among those that are held.
    turn: usize,
}

#[derive(Debug)]
struct IngressImage {
    key: ImageKey,
    source: SocketAddr,
    assembler: FragmentAssembler,
    /// Frames that wait, padding by its header alone; those before `taken_length` are taken.
    held: Vec<u8>,
    taken_length: usize,
    /// Of the first frame that waits.
    held_position: i64,
    /// It got on since the endpoint was last told where it waits.
    has_progress: bool,
    /// Messages that were dropped because of what is in them.
    invalid_count: u64,
    told: Offences,
    /// Nothing more will come; the image goes once what it left is taken.
    is_ended: bool,
    /// It ended while the leader took ingress.
    has_left: bool,
}

/// An image that ended and left nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct EndedImage {
    pub(super) key: ImageKey,
    /// Whether the leader took ingress when it ended, however long what it left waited then.
    pub(super) has_left: bool,
}

/// What the operator was told of one image.
#[derive(Clone, Copy, Debug, Default)]
struct Offences {
    is_invalid_told: bool,
    is_dropped_told: bool,
}

/// What a client does that it should not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Offence {
    /// It sends what is no message of a client.
    Invalid,
    /// It sends messages that are too long, or does not finish them.
    Dropped,
}

impl Ingress {
    /// `image_count_max` is how many images of the endpoint there can be at once.
    pub(super) fn new(message_length_max: usize, window_length: i32, image_count_max: usize) -> Self {
        let held_length_max = window_length as usize + DATAGRAM_LENGTH_MAX;
        Self { message_length_max, held_length_max, image_count_max, ..Self::default() }
    }

    pub(super) fn on_image_available(&mut self, key: ImageKey, source: SocketAddr) {
        self.images.push(IngressImage {
            key,
            source,
            assembler: FragmentAssembler::new(self.message_length_max),
            held: Vec::new(),
            taken_length: 0,
            held_position: 0,
            has_progress: false,
            invalid_count: 0,
            told: Offences::default(),
            is_ended: false,
            has_left: false,
        });
    }

    /// `is_taking` is whether the leader takes ingress now.
    pub(super) fn on_image_unavailable(&mut self, key: ImageKey, is_taking: bool) {
        // While nothing is taken, those who come and go must not leave more and more behind.
        let ended_count = self.images.iter().filter(|image| image.is_ended).count();
        let is_kept = ended_count < self.image_count_max;
        self.has_ended = true;
        if let Some(image) = self.image_mut(key) {
            image.is_ended = true;
            image.has_left = is_taking;
            if !is_kept {
                image.held = Vec::new();
                image.taken_length = 0;
            }
        }
    }

    /// The next image that ended and left nothing.
    pub(super) fn poll_ended(&mut self) -> Option<EndedImage> {
        if !self.has_ended {
            return None;
        }
        let is_over = |image: &IngressImage| image.is_ended && !image.is_held();
        let Some(index) = self.images.iter().position(is_over) else {
            self.has_ended = self.images.iter().any(|image| image.is_ended);
            return None;
        };
        let image = self.images.swap_remove(index);
        self.dropped_count += image.assembler.dropped_count();
        Some(EndedImage { key: image.key, has_left: image.has_left })
    }

    /// Whether some image waits for the log.
    pub(super) fn is_held(&self) -> bool {
        self.has_held
    }

    /// The next client that does what it should not; once for each image and kind.
    pub(super) fn poll_offence(&mut self) -> Option<(SocketAddr, Offence)> {
        self.images.iter_mut().find_map(|image| {
            if image.invalid_count > 0 && !image.told.is_invalid_told {
                image.told.is_invalid_told = true;
                return Some((image.source, Offence::Invalid));
            }
            if image.assembler.dropped_count() > 0 && !image.told.is_dropped_told {
                image.told.is_dropped_told = true;
                return Some((image.source, Offence::Dropped));
            }
            None
        })
    }

    /// How many messages were too long or broken off.
    pub(super) fn dropped_count(&self) -> u64 {
        self.dropped_count + self.images.iter().map(|image| image.assembler.dropped_count()).sum::<u64>()
    }

    /// A sink that hands messages to `on_message` from where they lie, or holds everything while `is_taking`
    /// is false.
    pub(super) fn sink<F>(&mut self, is_taking: bool, on_message: F) -> IngressSink<'_, F>
    where
        F: FnMut(ImageKey, &[u8]) -> Intake,
    {
        IngressSink { ingress: self, is_taking, on_message }
    }

    /// Hands over messages that wait, one turn for each image, or until the log is full. Returns how many
    /// were taken.
    pub(super) fn drain(
        &mut self,
        mut on_message: impl FnMut(ImageKey, SocketAddr, &[u8]) -> Intake,
    ) -> usize {
        let mut taken_count = 0;
        for _ in 0..self.images.len() {
            // Who comes first is another one each time, so that a log which takes little takes from all.
            self.turn = (self.turn + 1) % self.images.len();
            let (count, is_full) = self.images[self.turn].take_held(&mut on_message);
            taken_count += count;
            if is_full {
                break;
            }
        }
        self.has_held = self.images.iter().any(IngressImage::is_held);
        taken_count
    }

    /// The next image that got on, and where it still waits: for its sender.
    pub(super) fn poll_progress(&mut self) -> Option<(ImageKey, Option<i64>)> {
        let image = self.images.iter_mut().find(|image| image.has_progress)?;
        image.has_progress = false;
        Some((image.key, image.held_at()))
    }

    fn image_mut(&mut self, key: ImageKey) -> Option<&mut IngressImage> {
        if self.images.get(self.last_index).is_none_or(|image| image.key != key) {
            self.last_index = self.images.iter().position(|image| image.key == key)?;
        }
        self.images.get_mut(self.last_index)
    }
}

impl IngressImage {
    fn is_held(&self) -> bool {
        self.held.len() > self.taken_length
    }

    fn held_at(&self) -> Option<i64> {
        self.is_held().then_some(self.held_position)
    }

    /// Returns false when the sender sent more than it had leave to.
    fn hold(&mut self, position: i64, frames: &[u8], length_max: usize) -> bool {
        if !self.is_held() {
            self.held.clear();
            self.taken_length = 0;
            self.held_position = position;
        }
        if self.held.len() - self.taken_length + frames.len() > length_max {
            return false;
        }
        if self.taken_length > 0 && self.held.len() + frames.len() > length_max {
            self.held.drain(..self.taken_length);
            self.taken_length = 0;
        }
        self.held.extend_from_slice(frames);
        true
    }

    /// Takes frames that wait, at most a turn's. Returns how many messages were taken, and whether the log is
    /// full.
    fn take_held(
        &mut self,
        on_message: &mut impl FnMut(ImageKey, SocketAddr, &[u8]) -> Intake,
    ) -> (usize, bool) {
        let mut taken_count = 0;
        for _ in 0..FRAME_LIMIT {
            let rest = &self.held[self.taken_length..];
            // What is held was walked before; nothing but its end ends this.
            let Ok(frame) = DataFrame::parse(rest) else { break };
            let length = if frame.is_padding() { HEADER_LENGTH } else { frame.aligned_length() };
            if let Some(message) = self.assembler.on_frame(&frame, self.held_position) {
                let begin_position = message.begin_position;
                match on_message(self.key, self.source, message.bytes) {
                    Intake::Taken => {}
                    Intake::Invalid => self.invalid_count += 1,
                    Intake::LogFull | Intake::Control => {
                        self.assembler.put_back(&frame, begin_position, self.held_position);
                        return (taken_count, true);
                    }
                }
                taken_count += 1;
            }
            self.held_position += frame.aligned_length() as i64;
            self.taken_length += length;
            self.has_progress = true;
        }
        if !self.is_held() {
            self.held.clear();
            self.taken_length = 0;
        }
        (taken_count, false)
    }
}

/// See [`Ingress::sink`].
pub(super) struct IngressSink<'a, F> {
    ingress: &'a mut Ingress,
    is_taking: bool,
    on_message: F,
}

impl<F: FnMut(ImageKey, &[u8]) -> Intake> ImageSink for IngressSink<'_, F> {
    fn append(&mut self, key: ImageKey, position: i64, frames: &[u8]) -> Result<(), Refused> {
        let held_length_max = self.ingress.held_length_max;
        let image = self.ingress.image_mut(key).ok_or(Refused)?;
        let mut at = position;
        let mut rest = frames;
        if self.is_taking && !image.is_held() {
            while !rest.is_empty() {
                let frame = DataFrame::parse(rest).map_err(|_| Refused)?;
                if let Some(message) = image.assembler.on_frame(&frame, at) {
                    let begin_position = message.begin_position;
                    match (self.on_message)(key, message.bytes) {
                        Intake::Taken => {}
                        Intake::Invalid => image.invalid_count += 1,
                        Intake::LogFull | Intake::Control => {
                            image.assembler.put_back(&frame, begin_position, at);
                            break;
                        }
                    }
                }
                at += frame.aligned_length() as i64;
                rest = rest.get(frame.aligned_length()..).unwrap_or_default();
            }
        }
        if rest.is_empty() {
            return Ok(());
        }
        let is_kept = image.hold(at, rest, held_length_max);
        self.ingress.has_held = true;
        if is_kept { Ok(()) } else { Err(Refused) }
    }

    fn held_at(&self, key: ImageKey) -> Option<i64> {
        let Ingress { images, last_index, has_held, .. } = &*self.ingress;
        if !has_held {
            return None;
        }
        // It is nearly always asked behind `append`, of the same image.
        let last = images.get(*last_index).filter(|image| image.key == key);
        last.or_else(|| images.iter().find(|image| image.key == key))?.held_at()
    }
}
