use consensus_tap::image::{FragmentAssembler, ImageGeometry, ImageKey, ImageSink, Refused};
use consensus_tap::wire::{frames, position::MESSAGE_LENGTH_MAX};
use std::collections::HashMap;

/// A sink that puts messages together, and insists that bytes come in order.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    images: HashMap<ImageKey, Record>,
    /// Messages since they were last taken.
    pub(crate) delivered: Vec<(ImageKey, Delivered)>,
}

#[derive(Debug)]
pub(crate) struct Delivered {
    pub(crate) begin_position: i64,
    pub(crate) end_position: i64,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Debug)]
struct Record {
    geometry: ImageGeometry,
    position: i64,
    assembler: FragmentAssembler,
}

impl Recorder {
    pub(crate) fn available(&mut self, key: ImageKey, geometry: ImageGeometry) {
        let record = Record {
            geometry,
            position: geometry.join_position,
            assembler: FragmentAssembler::new(MESSAGE_LENGTH_MAX),
        };
        assert!(self.images.insert(key, record).is_none(), "an image is announced once");
    }

    pub(crate) fn unavailable(&mut self, key: ImageKey, position: i64) {
        let record = self.images.remove(&key).expect("only what was announced can end");
        assert_eq!(record.position, position);
    }
}

impl ImageSink for Recorder {
    fn append(&mut self, image: ImageKey, position: i64, bytes: &[u8]) -> Result<(), Refused> {
        let record = self.images.get_mut(&image).expect("an image is announced before it delivers");
        assert_eq!(position, record.position, "bytes come once and in order");
        let mut walk = frames(bytes);
        let mut walked_length = 0;
        while let Some(frame) = walk.next() {
            let frame = frame.expect("frames come whole");
            let at = position + walked_length as i64;
            let terms = record.geometry.terms;
            assert_eq!(terms.position(frame.term_id(), frame.term_offset()), Ok(at));
            if let Some(message) = record.assembler.on_frame(&frame, at) {
                let delivered = Delivered {
                    begin_position: message.begin_position,
                    end_position: message.end_position,
                    bytes: message.bytes.to_vec(),
                };
                self.delivered.push((image, delivered));
            }
            walked_length = walk.walked_length();
        }
        record.position += walked_length as i64;
        assert_eq!(record.assembler.dropped_count(), 0, "fragments of one message follow each other");
        Ok(())
    }
}
