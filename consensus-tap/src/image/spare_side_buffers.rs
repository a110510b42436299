use super::side_buffer::SideBuffer;

/// Side buffers of images that are gone, for images to come.
///
/// A member answers every query over a publication of its own, so images come and go as long as it is followed. They
/// are all of one shape, and so take their buffers from one another instead of from the allocator.
#[derive(Debug)]
pub(crate) struct SpareSideBuffers {
    spares: Vec<SideBuffer>,
}

impl SpareSideBuffers {
    /// One is leaving while the next arrives; the rest would only hold memory.
    const COUNT_MAX: usize = 2;

    pub(crate) fn new() -> Self {
        Self { spares: Vec::with_capacity(Self::COUNT_MAX) }
    }

    /// An empty buffer of exactly this shape, used before or new.
    pub(super) fn take(&mut self, window_length: usize, mtu: usize) -> SideBuffer {
        match self.spares.iter().position(|spare| spare.is_of_shape(window_length, mtu)) {
            Some(index) => {
                let mut spare = self.spares.remove(index);
                spare.clear();
                spare
            }
            None => SideBuffer::new(window_length, mtu),
        }
    }

    /// Keeps a buffer; the one kept longest makes room for it.
    pub(super) fn keep(&mut self, buffer: SideBuffer) {
        if self.spares.len() == Self::COUNT_MAX {
            self.spares.remove(0);
        }
        self.spares.push(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::super::packet::Packet;
    use super::*;

    const BYTES: [u8; 64] = [7; 64];

    fn used(mut buffer: SideBuffer) -> SideBuffer {
        buffer.insert(Packet { position: 64, end_position: 128, bytes: &BYTES }, 0);
        assert!(buffer.first().is_some());
        buffer
    }

    fn address(buffer: &mut SideBuffer) -> *const u8 {
        buffer.insert(Packet { position: 64, end_position: 128, bytes: &BYTES }, 0);
        buffer.first().unwrap().bytes.as_ptr()
    }

    #[test]
    fn a_spare_is_used_again_and_empty() {
        let mut spares = SpareSideBuffers::new();
        let mut first = used(spares.take(4096, 1408));
        let first_address = address(&mut first);
        spares.keep(first);
        let mut second = spares.take(4096, 1408);
        assert!(second.first().is_none(), "nothing is left of the image before");
        assert_eq!(address(&mut second), first_address);
    }

    #[test]
    fn a_buffer_of_another_shape_is_not_taken() {
        let mut spares = SpareSideBuffers::new();
        let mut other = used(spares.take(4096, 1408));
        let other_address = address(&mut other);
        spares.keep(other);
        assert_ne!(address(&mut spares.take(8192, 1408)), other_address);
        assert_ne!(address(&mut spares.take(4096, 8192)), other_address);
        assert_eq!(address(&mut spares.take(4096, 1408)), other_address, "it was still there");
    }

    #[test]
    fn no_more_are_kept_than_are_of_use() {
        let mut spares = SpareSideBuffers::new();
        (0..10).for_each(|_| spares.keep(SideBuffer::new(4096, 1408)));
        assert_eq!(spares.spares.len(), SpareSideBuffers::COUNT_MAX);
    }
}
