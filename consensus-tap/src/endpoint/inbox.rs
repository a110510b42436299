//! Control messages, put together from the images of a socket's control streams.

use crate::image::{FragmentAssembler, ImageKey};
use crate::wire::data::frames;

/// Control messages are small; what is longer than this is not for us.
const MESSAGE_LENGTH_MAX: usize = 256 * 1024;
/// Between two dispatches no honest peer fills more; beyond it an image is refused.
const BYTES_MAX: usize = 1024 * 1024;

/// Whole messages, in the order in which they were completed, until they are taken. The socket's owner feeds it
/// from its sink and drains it after every datagram.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    assemblers: Vec<(ImageKey, FragmentAssembler)>,
    bytes: Vec<u8>,
    messages: Vec<(ImageKey, usize)>,
}

impl Inbox {
    /// Takes contiguous frames of an image; false when the image must not go on.
    pub(crate) fn on_frames(&mut self, key: ImageKey, position: i64, bytes: &[u8]) -> bool {
        let index = match self.assemblers.iter().position(|(known, _)| *known == key) {
            Some(index) => index,
            None => {
                self.assemblers.push((key, FragmentAssembler::new(MESSAGE_LENGTH_MAX)));
                self.assemblers.len() - 1
            }
        };
        let assembler = &mut self.assemblers[index].1;
        let mut position = position;
        for frame in frames(bytes) {
            let Ok(frame) = frame else { return false };
            if let Some(message) = assembler.on_frame(&frame, position) {
                if self.bytes.len() + message.bytes.len() > BYTES_MAX {
                    return false;
                }
                self.bytes.extend_from_slice(message.bytes);
                self.messages.push((key, self.bytes.len()));
            }
            position += frame.aligned_length() as i64;
        }
        true
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Forgets what an image left unfinished.
    pub(crate) fn close(&mut self, key: ImageKey) {
        self.assemblers.retain(|(known, _)| *known != key);
    }

    /// Hands over every whole message.
    pub(crate) fn drain(&mut self, mut on_message: impl FnMut(ImageKey, &[u8])) {
        let mut start = 0;
        for &(key, end) in &self.messages {
            on_message(key, &self.bytes[start..end]);
            start = end;
        }
        self.messages.clear();
        self.bytes.clear();
    }
}
