use crate::image::{Image, ImageGeometry, ImageKey, UnavailableReason};
use crate::publication::PublicationId;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// What an endpoint's owner should know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EndpointEvent {
    /// A publication was found; its data follows, from `geometry.join_position` on.
    ImageAvailable {
        /// The image's name, as the sink will see it.
        key: ImageKey,
        /// What its sender says about the stream.
        geometry: ImageGeometry,
        /// Where its sender is.
        source: SocketAddr,
    },
    /// An image ended; the sink sees nothing of it any more.
    ImageUnavailable {
        /// The image.
        key: ImageKey,
        /// Up to where the sink took everything.
        position: i64,
        /// Why.
        reason: UnavailableReason,
    },
    /// A receiver refused a publication. The publication goes on for others.
    PublicationRejected {
        /// The publication.
        publication: PublicationId,
        /// The receiver's reason; [`crate::wire::error_frame::IMAGE_REJECTED`] is the only one in use.
        error_code: i32,
    },
}

/// Events that wait to be polled. Bounded: an owner who does not poll gets no further image.
#[derive(Debug)]
pub(super) struct Events {
    queue: VecDeque<EndpointEvent>,
    count_max: usize,
    /// Ends of images that were announced here, or will be, and did not end yet.
    reserved_count: usize,
}

impl Events {
    pub(super) fn new(image_count_max: usize) -> Self {
        let count_max = 4 * image_count_max.max(1);
        Self { queue: VecDeque::with_capacity(count_max), count_max, reserved_count: 0 }
    }

    /// Whether both the beginning and the end of one more image fit in.
    pub(super) fn has_room_for_image(&self) -> bool {
        self.queue.len() + self.reserved_count + 2 <= self.count_max
    }

    /// Queues an image's beginning, and keeps room for its end.
    pub(super) fn image_available(&mut self, event: EndpointEvent) {
        self.reserved_count += 1;
        self.queue.push_back(event);
    }

    pub(super) fn image_unavailable(&mut self, image: &Image, reason: UnavailableReason) {
        self.reserved_count -= 1;
        let (key, position) = (image.key(), image.rebuild_position());
        self.queue.push_back(EndpointEvent::ImageUnavailable { key, position, reason });
    }

    /// Queues a rejection, unless there is no room: the receiver repeats it.
    pub(super) fn publication_rejected(&mut self, publication: PublicationId, error_code: i32) {
        if self.queue.len() + self.reserved_count < self.count_max {
            self.queue.push_back(EndpointEvent::PublicationRejected { publication, error_code });
        }
    }

    pub(super) fn pop(&mut self) -> Option<EndpointEvent> {
        self.queue.pop_front()
    }
}
