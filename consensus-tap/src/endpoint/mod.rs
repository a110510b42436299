//! One socket's worth of images and publications: dispatch by frame type, stream and session.
//!
//! Subscriptions and publications share a socket, as Aeron answers to the port that it hears from. The
//! socket's owner drives it: [`Endpoint::on_datagram`] and [`Endpoint::on_timeout`] put bytes and time in,
//! after each [`Endpoint::poll_event`] and [`Endpoint::poll_transmit`] take out what follows. Memory is
//! allocated when publications and images are made, unless an image that is gone left its own, and their
//! number is bounded whatever the network sends.
//!
//! ```text
//!   DATA, PAD, SETUP     -> image by (stream, session), whatever the source
//!   SM, NAK, ERR         -> publication by (stream, session), from where it sends to only
//!   RTTM                 -> either
//! ```

mod event;
mod inbox;
mod name_lookups;
mod pending_setups;
mod response_channel;
#[cfg(test)]
mod tests;

use crate::image::{
    Image, ImageGeometry, ImageKey, ImageSink, SpareSideBuffers, SubscriptionId, SubscriptionParams,
    UnavailableReason,
};
use crate::publication::{OfferError, Publication, PublicationId, PublicationParams, PublicationState};
use crate::transport::{Port, Slab};
use crate::wire::data::EOS;
use crate::wire::{
    DataFrame, ErrorFrame, FrameType, Nak, Reject, Rttm, Setup, StatusMessage, status_message,
};
use event::Events;
use pending_setups::PendingSetups;
use std::net::SocketAddr;

pub use crate::transport::{Transmit, TransportCounters};
pub use event::EndpointEvent;
pub(crate) use inbox::Inbox;
pub use name_lookups::{LookupToken, NameLookups};
pub(crate) use response_channel::response_publication;

/// How much the network may make an endpoint hold.
#[derive(Clone, Copy, Debug)]
pub struct EndpointLimits {
    /// The most images at once, those that are taking leave included. Each holds a receive window.
    pub image_count_max: usize,
    /// How many of these are kept for subscriptions to one session. A subscription to all sessions of a stream takes
    /// what anybody sends, and must not leave those without one whose session was agreed on.
    pub reserved_image_count: usize,
    /// The most unknown sessions that are asked for a SETUP at once.
    pub pending_setup_count_max: usize,
}

impl Default for EndpointLimits {
    fn default() -> Self {
        Self { image_count_max: 32, reserved_image_count: 8, pending_setup_count_max: 64 }
    }
}

/// All images and publications that share one UDP socket.
#[derive(Debug)]
pub struct Endpoint {
    port: Port,
    limits: EndpointLimits,
    publications: Slab<Publication>,
    subscriptions: Slab<SubscriptionParams>,
    images: Vec<Image>,
    spare_side_buffers: SpareSideBuffers,
    /// Where the image of the last datagram is: the next one is most likely for it too.
    last_image_index: usize,
    image_generation: u32,
    pending_setups: PendingSetups,
    events: Events,
    /// Nothing is due before this.
    due_ns: u64,
}

impl Endpoint {
    /// An endpoint with default limits.
    ///
    /// `receiver_id` tells its receivers from all others of a stream: unique for every socket, and never
    /// 0, which stands for any receiver.
    pub fn new(receiver_id: i64) -> Self {
        Self::with_limits(receiver_id, EndpointLimits::default())
    }

    /// An endpoint with limits of its own.
    pub fn with_limits(receiver_id: i64, limits: EndpointLimits) -> Self {
        Self {
            port: Port::new(receiver_id),
            limits,
            publications: Slab::new(),
            subscriptions: Slab::new(),
            images: Vec::with_capacity(limits.image_count_max),
            spare_side_buffers: SpareSideBuffers::new(),
            last_image_index: 0,
            image_generation: 0,
            pending_setups: PendingSetups::new(limits.pending_setup_count_max),
            events: Events::new(limits.image_count_max),
            due_ns: u64::MAX,
        }
    }

    /// Adds a publication that sends to `to`. It describes itself there at once, and then every 100 ms
    /// until a receiver answers.
    ///
    /// # Panics
    /// When [`PublicationParams::check`] refuses the parameters.
    pub fn add_publication(
        &mut self,
        params: PublicationParams,
        to: SocketAddr,
        now_ns: u64,
    ) -> PublicationId {
        self.due_ns = 0;
        PublicationId(self.publications.insert(Publication::new(&params, to, now_ns)))
    }

    /// Takes a message to be sent by the next [`Self::poll_transmit`]s, and returns the position of its
    /// end.
    ///
    /// # Errors
    /// [`OfferError`]; nothing is taken then.
    pub fn offer(&mut self, id: PublicationId, message: &[u8]) -> Result<i64, OfferError> {
        self.publications.get_mut(id.0).ok_or(OfferError::Closed)?.offer([message, &[]])
    }

    /// As [`Self::offer`], for a message whose header and body lie apart: each is copied once, into the stream.
    ///
    /// # Errors
    /// [`OfferError`]; nothing is taken then.
    pub fn offer_parts(&mut self, id: PublicationId, header: &[u8], body: &[u8]) -> Result<i64, OfferError> {
        self.publications.get_mut(id.0).ok_or(OfferError::Closed)?.offer([header, body])
    }

    /// Takes frames that were recorded from a stream with the publication's terms and MTU, and returns how many
    /// bytes they lead it. Flags and reserved values stay; session and stream become the publication's. The first
    /// frame must lie at the publication's position. Taking ends, also with 0, before a frame that does not follow,
    /// crosses the term or is not whole, and where half a term waits to be sent. Padding may be its header alone, as
    /// the last frame.
    ///
    /// # Errors
    /// [`OfferError`]; nothing is taken then.
    pub fn offer_recorded(&mut self, id: PublicationId, frames: &[u8]) -> Result<i64, OfferError> {
        self.publications.get_mut(id.0).ok_or(OfferError::Closed)?.offer_recorded(frames)
    }

    /// What a publication is doing; [`PublicationState::Closed`] once it is gone.
    pub fn publication_state(&self, id: PublicationId) -> PublicationState {
        self.publications.get(id.0).map_or(PublicationState::Closed, Publication::state)
    }

    /// Whether some publication sends a session of a stream to `to`, also one that takes leave. Receivers there
    /// could not tell another one from it.
    pub fn is_session_in_use(&self, stream_id: i32, session_id: i32, to: SocketAddr) -> bool {
        let mut publications = self.publications.iter();
        publications
            .any(|(_, publication)| publication.is_of(stream_id, session_id) && publication.sends_to(to))
    }

    /// Where a publication's next message begins; `None` once it is gone.
    pub fn publication_position(&self, id: PublicationId) -> Option<i64> {
        self.publications.get(id.0).map(Publication::position)
    }

    /// Up to where a publication sent everything once; `None` once it is gone.
    pub fn sender_position(&self, id: PublicationId) -> Option<i64> {
        self.publications.get(id.0).map(Publication::sender_position)
    }

    /// When a receiver of the publication was last heard of; `None` if never, or once it is gone.
    pub fn last_status_message_ns(&self, id: PublicationId) -> Option<u64> {
        self.publications.get(id.0).and_then(Publication::last_status_message_ns)
    }

    /// Closes a publication: what it took is sent, receivers are told of the stream's end, and what they
    /// miss is sent again until they have everything or the linger time is over.
    pub fn close_publication(&mut self, id: PublicationId, _now_ns: u64) {
        if let Some(publication) = self.publications.get_mut(id.0) {
            publication.close();
            self.due_ns = 0;
        }
    }

    /// Revokes a publication: nothing more is sent, and receivers are told not to wait for it.
    pub fn revoke_publication(&mut self, id: PublicationId, now_ns: u64) {
        if let Some(publication) = self.publications.get_mut(id.0) {
            publication.revoke(now_ns);
            self.due_ns = 0;
        }
    }

    /// Adds a subscription. A subscription to one session comes before one to all sessions of the stream.
    ///
    /// # Panics
    /// When the receive window is less than 4096 bytes.
    pub fn add_subscription(&mut self, params: SubscriptionParams) -> SubscriptionId {
        assert!(params.receive_window_length >= 4096);
        SubscriptionId(self.subscriptions.insert(params))
    }

    /// Removes a subscription. Its images end, and their senders are told.
    pub fn remove_subscription(&mut self, id: SubscriptionId, now_ns: u64) {
        self.subscriptions.remove(id.0);
        self.end_images(UnavailableReason::Closed, now_ns, |key| key.subscription == id);
    }

    /// Ends an image as if the sink had refused it. Its session stays refused until it is silent for 10 s.
    pub fn refuse_image(&mut self, key: ImageKey, now_ns: u64) {
        self.end_images(UnavailableReason::Refused, now_ns, |other| other == key);
    }

    /// Ends images at once whose senders said nothing for `silence_ns`: those that `is_meant` names.
    pub(crate) fn end_silent_images(
        &mut self,
        silence_ns: u64,
        now_ns: u64,
        is_meant: impl Fn(ImageKey) -> bool,
    ) {
        let silent = |image: &Image| image.is_silent(silence_ns, now_ns) && is_meant(image.key());
        for image in self.images.iter_mut().filter(|image| silent(image) && !image.is_ended()) {
            image.end(UnavailableReason::TimedOut, now_ns);
            self.events.image_unavailable(image, UnavailableReason::TimedOut);
            self.due_ns = 0;
        }
    }

    /// Tells an image where its sink stopped to consume what it takes; `None` when it goes on. As the answer of
    /// [`ImageSink::held_at`], but at any time.
    pub(crate) fn set_image_held_at(&mut self, key: ImageKey, held_at: Option<i64>, now_ns: u64) {
        if let Some(image) = self.images.iter_mut().find(|image| image.key() == key) {
            image.set_held_at(held_at, now_ns, &mut self.port);
            self.due_ns = self.due_ns.min(image.due_ns());
        }
    }

    /// Up to where the sink took everything of an image; `None` once it is gone.
    pub fn image_position(&self, key: ImageKey) -> Option<i64> {
        self.images.iter().find(|image| image.key() == key).map(Image::rebuild_position)
    }

    /// The highest position of an image that was seen, delivered or not; `None` once it is gone.
    pub fn image_hwm_position(&self, key: ImageKey) -> Option<i64> {
        self.images.iter().find(|image| image.key() == key).map(Image::hwm_position)
    }

    /// How many publications, subscriptions and images there are, those that are taking leave included.
    pub fn stream_count(&self) -> usize {
        self.publications.iter().count() + self.subscriptions.iter().count() + self.images.len()
    }

    /// Takes a datagram. What it completes of an image goes to `sink` before this returns.
    pub fn on_datagram(&mut self, datagram: &[u8], from: SocketAddr, now_ns: u64, sink: &mut impl ImageSink) {
        self.port.counters.datagrams_received += 1;
        self.port.counters.bytes_received += datagram.len() as u64;
        if let Err(reject) = self.dispatch(datagram, from, now_ns, sink) {
            self.port.counters.count_invalid(reject);
        }
    }

    /// Does what time demands: status messages, NAKs, heartbeats, the end of what fell silent. Returns how
    /// much there was to do; a comparison when nothing is due.
    pub fn on_timeout(&mut self, now_ns: u64) -> usize {
        if now_ns < self.due_ns {
            return 0;
        }
        let mut work = 0;
        let mut due_ns = u64::MAX;

        let mut any_is_gone = false;
        for image in &mut self.images {
            if now_ns >= image.due_ns() {
                work += 1;
                if let Some(reason) = image.on_timeout(now_ns, &mut self.port) {
                    self.events.image_unavailable(image, reason);
                }
                any_is_gone |= image.is_gone(now_ns);
            }
            due_ns = due_ns.min(image.due_ns());
        }
        if any_is_gone {
            for image in self.images.extract_if(.., |image| image.is_gone(now_ns)) {
                image.recycle(&mut self.spare_side_buffers);
            }
        }

        let mut any_is_gone = false;
        for (_, publication) in self.publications.iter_mut() {
            if now_ns >= publication.due_ns() {
                work += 1;
                publication.on_timeout(now_ns, &mut self.port);
                any_is_gone |= publication.is_gone();
            }
            due_ns = due_ns.min(publication.due_ns());
        }
        if any_is_gone {
            self.publications.retain(|publication| !publication.is_gone());
        }

        self.due_ns = due_ns;
        work
    }

    /// Hands every datagram that is ready to `send`, control frames first, and returns how many there were.
    pub fn poll_transmit(&mut self, now_ns: u64, send: &mut impl FnMut(Transmit<'_>)) -> usize {
        let mut datagram_count = self.port.outbox.drain(send);
        for (_, publication) in self.publications.iter_mut() {
            let sent_count = publication.poll_transmit(now_ns, &mut self.port, send);
            if sent_count > 0 {
                self.due_ns = self.due_ns.min(publication.due_ns());
            }
            datagram_count += sent_count;
        }
        datagram_count
    }

    /// The next event, oldest first. An image takes data only after its `ImageAvailable` was returned.
    pub fn poll_event(&mut self) -> Option<EndpointEvent> {
        let event = self.events.pop()?;
        if let EndpointEvent::ImageAvailable { key, .. } = event
            && let Some(image) = self.images.iter_mut().find(|image| image.key() == key)
        {
            image.announced();
            self.due_ns = 0;
        }
        Some(event)
    }

    /// What happened so far.
    pub fn counters(&self) -> &TransportCounters {
        &self.port.counters
    }

    fn dispatch(
        &mut self,
        datagram: &[u8],
        from: SocketAddr,
        now_ns: u64,
        sink: &mut impl ImageSink,
    ) -> Result<(), Reject> {
        match FrameType::of(datagram)? {
            FrameType::Data | FrameType::Pad => self.on_data(datagram, from, now_ns, sink)?,
            FrameType::Setup => self.on_setup(&Setup::parse(datagram)?, from, now_ns)?,
            FrameType::StatusMessage => {
                let message = StatusMessage::parse(datagram)?;
                self.for_publication(message.stream_id, message.session_id, from, |_, publication, port| {
                    publication.on_status_message(&message, now_ns, port);
                });
            }
            FrameType::Nak => {
                let nak = Nak::parse(datagram)?;
                self.for_publication(nak.stream_id, nak.session_id, from, |_, publication, port| {
                    publication.on_nak(&nak, now_ns, port);
                });
            }
            FrameType::Error => self.on_error(&ErrorFrame::parse(datagram)?, from),
            FrameType::Rttm => self.on_rttm(&Rttm::parse(datagram)?, from),
            FrameType::Resolution | FrameType::ResponseSetup => return Err(Reject::UnexpectedType),
        }
        Ok(())
    }

    fn on_data(
        &mut self,
        datagram: &[u8],
        from: SocketAddr,
        now_ns: u64,
        sink: &mut impl ImageSink,
    ) -> Result<(), Reject> {
        let first = DataFrame::parse(datagram)?;
        let Some(index) = self.image_index(first.stream_id(), first.session_id()) else {
            self.on_unknown_session(&first, from, now_ns);
            return Ok(());
        };
        let image = &mut self.images[index];
        if let Some(reason) = image.on_data(&first, datagram, now_ns, &mut self.port, sink)? {
            self.events.image_unavailable(image, reason);
        }
        self.due_ns = self.due_ns.min(image.due_ns());
        Ok(())
    }

    /// Asks the sender of an unknown session to describe it, if the session is wanted and goes on.
    fn on_unknown_session(&mut self, first: &DataFrame<'_>, from: SocketAddr, now_ns: u64) {
        let (stream_id, session_id) = (first.stream_id(), first.session_id());
        if first.has_flags(EOS) || self.subscription_for(stream_id, session_id).is_none() {
            self.port.counters.no_interest += 1;
            return;
        }
        match self.pending_setups.ask(stream_id, session_id, now_ns) {
            pending_setups::Ask::Now => {
                let elicitation = StatusMessage {
                    flags: status_message::SEND_SETUP,
                    session_id,
                    stream_id,
                    consumption_term_id: 0,
                    consumption_term_offset: 0,
                    receiver_window: 0,
                    receiver_id: self.port.receiver_id,
                    group_tag: None,
                };
                let (bytes, length) = elicitation.encode();
                if self.port.send(from, &bytes[..length]) {
                    self.port.counters.setups_elicited += 1;
                }
            }
            pending_setups::Ask::Asked => {}
            pending_setups::Ask::TooMany => self.port.counters.elicitations_over_limit += 1,
        }
    }

    fn on_setup(&mut self, setup: &Setup, from: SocketAddr, now_ns: u64) -> Result<(), Reject> {
        let (stream_id, session_id) = (setup.stream_id, setup.session_id);
        let Some(subscription) = self.subscription_for(stream_id, session_id) else {
            self.port.counters.no_interest += 1;
            return Ok(());
        };
        self.port.counters.setups_received += 1;
        if self.image_index(stream_id, session_id).is_some() {
            return Ok(());
        }
        let Some(params) = self.subscriptions.get(subscription.0) else { return Ok(()) };
        let (geometry, window_length) = ImageGeometry::of(setup, params.receive_window_length)?;
        let image_count_max = match params.session_id {
            Some(_) => self.limits.image_count_max,
            None => self.limits.image_count_max.saturating_sub(self.limits.reserved_image_count),
        };
        if self.images.len() >= image_count_max || !self.events.has_room_for_image() {
            self.port.counters.setups_over_limit += 1;
            return Ok(());
        }
        let key = ImageKey { subscription, stream_id, session_id, generation: self.image_generation };
        self.image_generation = self.image_generation.wrapping_add(1);
        self.pending_setups.remove(stream_id, session_id);
        let spares = &mut self.spare_side_buffers;
        self.images.push(Image::new(key, from, geometry, window_length, params.nak, spares, now_ns));
        self.events.image_available(EndpointEvent::ImageAvailable { key, geometry, source: from });
        self.due_ns = 0;
        Ok(())
    }

    fn on_error(&mut self, error: &ErrorFrame<'_>, from: SocketAddr) {
        let mut rejected = None;
        self.for_publication(error.stream_id, error.session_id, from, |id, publication, port| {
            publication.on_error(error, port);
            rejected = Some(id);
        });
        if let Some(publication) = rejected {
            self.events.publication_rejected(publication, error.error_code);
        }
    }

    fn on_rttm(&mut self, rttm: &Rttm, from: SocketAddr) {
        match self.image_index(rttm.stream_id, rttm.session_id) {
            Some(index) => self.images[index].on_rttm(rttm, from, &mut self.port),
            None => self.for_publication(rttm.stream_id, rttm.session_id, from, |_, publication, port| {
                publication.on_rttm(rttm, port);
            }),
        }
    }

    /// Calls `on` with every publication of a session that sends to where a frame came from. There is one,
    /// or two while the earlier lingers.
    fn for_publication(
        &mut self,
        stream_id: i32,
        session_id: i32,
        from: SocketAddr,
        mut on: impl FnMut(PublicationId, &mut Publication, &mut Port),
    ) {
        let mut is_known = false;
        let mut is_taken = false;
        for (key, publication) in self.publications.iter_mut() {
            if !publication.is_of(stream_id, session_id) {
                continue;
            }
            is_known = true;
            if publication.sends_to(from) {
                is_taken = true;
                on(PublicationId(key), publication, &mut self.port);
                self.due_ns = self.due_ns.min(publication.due_ns());
            }
        }
        match (is_known, is_taken) {
            (_, true) => {}
            (true, false) => self.port.counters.unexpected_source += 1,
            (false, false) => self.port.counters.no_interest += 1,
        }
    }

    fn end_images(&mut self, reason: UnavailableReason, now_ns: u64, is_meant: impl Fn(ImageKey) -> bool) {
        for image in &mut self.images {
            if is_meant(image.key()) && !image.is_ended() {
                image.end(reason, now_ns);
                self.events.image_unavailable(image, reason);
                self.due_ns = 0;
            }
        }
    }

    fn image_index(&mut self, stream_id: i32, session_id: i32) -> Option<usize> {
        if !self.images.get(self.last_image_index).is_some_and(|image| image.is_of(stream_id, session_id)) {
            self.last_image_index =
                self.images.iter().position(|image| image.is_of(stream_id, session_id))?;
        }
        Some(self.last_image_index)
    }

    fn subscription_for(&self, stream_id: i32, session_id: i32) -> Option<SubscriptionId> {
        let mut to_all = None;
        for (key, params) in self.subscriptions.iter().filter(|(_, params)| params.stream_id == stream_id) {
            match params.session_id {
                Some(wanted) if wanted == session_id => return Some(SubscriptionId(key)),
                Some(_) => {}
                None => to_all = Some(SubscriptionId(key)),
            }
        }
        to_all
    }
}
