//! Messages of the egress stream, put together from the images of all members that send.

use super::EgressListener;
use super::session::Session;
use crate::image::{FragmentAssembler, ImageKey, ImageSink, Refused};
use crate::wire::data::frames;

/// Fragments on their way to being messages, image by image. There are as many as images, so few.
#[derive(Debug)]
pub(super) struct Assemblers {
    message_length_max: usize,
    by_image: Vec<(ImageKey, FragmentAssembler)>,
}

impl Assemblers {
    pub(super) fn new(message_length_max: usize) -> Self {
        Self { message_length_max, by_image: Vec::new() }
    }

    /// An image is there.
    pub(super) fn open(&mut self, image: ImageKey) {
        self.by_image.push((image, FragmentAssembler::new(self.message_length_max)));
    }

    /// An image has ended, and with it what it left unfinished.
    pub(super) fn close(&mut self, image: ImageKey) {
        self.by_image.retain(|(known, _)| *known != image);
    }

    /// Drops what is unfinished of all images but one.
    pub(super) fn reset_all_but(&mut self, image: Option<ImageKey>) {
        for (_, assembler) in self.by_image.iter_mut().filter(|(known, _)| Some(*known) != image) {
            assembler.reset();
        }
    }
}

/// Hands whole messages to the session while their datagram is read.
pub(super) struct EgressSink<'a, L> {
    pub(super) assemblers: &'a mut Assemblers,
    pub(super) session: &'a mut Session,
    pub(super) listener: &'a mut L,
}

impl<L: EgressListener> ImageSink for EgressSink<'_, L> {
    fn append(&mut self, image: ImageKey, position: i64, bytes: &[u8]) -> Result<(), Refused> {
        let mut assemblers = self.assemblers.by_image.iter_mut();
        let (_, assembler) = assemblers.find(|(known, _)| *known == image).ok_or(Refused)?;
        let mut position = position;
        for frame in frames(bytes) {
            let frame = frame.map_err(|_| Refused)?;
            if let Some(message) = assembler.on_frame(&frame, position) {
                self.session.on_message(image, message.bytes, self.listener);
            }
            position += frame.aligned_length() as i64;
        }
        Ok(())
    }
}
