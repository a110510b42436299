//! The receive side of a stream.
//!
//! An image is one publication seen from here. It hands frames to a sink strictly in order: a datagram
//! that begins where the last ended goes straight from the receive buffer to the sink, one that is ahead
//! waits in a side buffer of the window's length. Invariants:
//! - `rebuild_position` only grows, at frame ends, and everything below it was taken by the sink once.
//! - What waits in the side buffer lies behind `rebuild_position`, without overlaps.
//! - Nothing beyond the last status message's position plus half a term is looked at.
//!
//! ```text
//!   SETUP -> ANNOUNCING -> ACTIVE -> ENDED -> gone
//!                                    END_OF_STREAM, REVOKED, CLOSED: leaves with status messages, 1 s
//!                                    REFUSED: says so, then stays deaf until the sender is silent
//!                                    TIMED_OUT: gone at once
//! ```

mod fragment_assembler;
mod loss_detector;
mod packet;
mod side_buffer;
mod spare_side_buffers;
mod subscription;
#[cfg(test)]
mod tests;

use crate::transport::Port;
use crate::wire::data::{EOS, REVOKED};
use crate::wire::{DATAGRAM_LENGTH_MAX, DataFrame, ErrorFrame, FRAME_ALIGNMENT, Nak, Reject, Rttm, Setup};
use crate::wire::{StatusMessage, StreamTerms, TermLength, error_frame, rttm, status_message};
use loss_detector::{Gap, LossDetector};
use packet::Packet;
use side_buffer::{Insert, SideBuffer};
use std::net::SocketAddr;

pub use fragment_assembler::{AssembledMessage, FragmentAssembler};
pub use loss_detector::NakSettings;
pub(crate) use spare_side_buffers::SpareSideBuffers;
pub use subscription::{ImageKey, ImageSink, Refused, SubscriptionId, SubscriptionParams, UnavailableReason};

/// A status message is repeated after this long, in nanoseconds.
pub const STATUS_MESSAGE_TIMEOUT_NS: u64 = 200_000_000;
/// An image ends when its sender is silent for this long, in nanoseconds.
pub const IMAGE_LIVENESS_TIMEOUT_NS: u64 = 10_000_000_000;
/// How often a sender is told that an image ended.
const FAREWELL_COUNT: u32 = 5;
/// Why a sink's refusal happened is its own business; the sender is told this much.
const REFUSAL_TEXT: &[u8] = b"refused";

/// One publication, seen from the receiving end.
#[derive(Debug)]
pub(crate) struct Image {
    key: ImageKey,
    /// Where the SETUP came from, and where everything goes; never changed, as in Aeron.
    source: SocketAddr,
    geometry: ImageGeometry,
    window_length: i32,
    rebuild_position: i64,
    /// The highest end of a frame, or position of a heartbeat, seen.
    hwm_position: i64,
    /// The position in the last status message sent.
    status_position: i64,
    /// When to send the next status message or farewell at the latest.
    status_due_ns: u64,
    last_packet_ns: u64,
    end_of_stream_position: Option<i64>,
    /// Where the sink stopped to consume what it took.
    held_at: Option<i64>,
    phase: Phase,
    side_buffer: SideBuffer,
    loss_detector: LossDetector,
}

/// What a SETUP says about a stream, checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ImageGeometry {
    /// Maps the stream's term ids and offsets to positions.
    pub terms: StreamTerms,
    /// The longest datagram and frame, in bytes.
    pub mtu: i32,
    /// The sender's position when it sent the SETUP: where the image begins.
    pub join_position: i64,
}

impl ImageGeometry {
    /// Checks a SETUP against the window that is meant for its stream, and also returns the window as
    /// the term length allows it.
    ///
    /// A 1.51 sender drops status messages from more than half a term behind it, and padding, an eighth of
    /// a term at most but for headers, leads it past the window. So the window is three eighths of a term,
    /// where a Java receiver takes half: a datagram lost just before such padding costs us nothing.
    ///
    /// # Errors
    /// [`Reject::IllegalTermLength`], [`Reject::OutsideTerm`], [`Reject::Unaligned`], or
    /// [`Reject::IllegalMtu`], also when the MTU is larger than the window: not a single full frame could
    /// then be sent.
    pub(crate) fn of(setup: &Setup, receive_window_length: i32) -> Result<(Self, i32), Reject> {
        let term_length = TermLength::new(setup.term_length)?;
        let window_length = receive_window_length.min(term_length.bytes() / 8 * 3);
        if setup.mtu <= FRAME_ALIGNMENT as i32
            || setup.mtu > DATAGRAM_LENGTH_MAX as i32
            || setup.mtu % FRAME_ALIGNMENT as i32 != 0
            || setup.mtu > window_length
        {
            return Err(Reject::IllegalMtu);
        }
        if setup.term_offset >= term_length.bytes() {
            return Err(Reject::OutsideTerm);
        }
        let terms = StreamTerms { initial_term_id: setup.initial_term_id, term_length };
        let join_position = terms.position(setup.active_term_id, setup.term_offset)?;
        Ok((Self { terms, mtu: setup.mtu, join_position }, window_length))
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// Nobody was told of the image yet, so nothing is taken.
    Announcing,
    Active,
    Ended {
        reason: UnavailableReason,
        farewells_left: u32,
    },
}

impl Image {
    pub(crate) fn new(
        key: ImageKey,
        source: SocketAddr,
        geometry: ImageGeometry,
        window_length: i32,
        nak: NakSettings,
        spares: &mut SpareSideBuffers,
        now_ns: u64,
    ) -> Self {
        Self {
            key,
            source,
            geometry,
            window_length,
            rebuild_position: geometry.join_position,
            hwm_position: geometry.join_position,
            status_position: geometry.join_position,
            status_due_ns: now_ns,
            last_packet_ns: now_ns,
            end_of_stream_position: None,
            held_at: None,
            phase: Phase::Announcing,
            side_buffer: spares.take(window_length as usize, geometry.mtu as usize),
            loss_detector: LossDetector::new(nak),
        }
    }

    /// Leaves its memory to another image.
    pub(crate) fn recycle(self, spares: &mut SpareSideBuffers) {
        spares.keep(self.side_buffer);
    }

    pub(crate) fn key(&self) -> ImageKey {
        self.key
    }

    pub(crate) fn is_of(&self, stream_id: i32, session_id: i32) -> bool {
        self.key.stream_id == stream_id && self.key.session_id == session_id
    }

    /// Up to where the sink took everything.
    pub(crate) fn rebuild_position(&self) -> i64 {
        self.rebuild_position
    }

    /// The highest position seen, delivered or not.
    pub(crate) fn hwm_position(&self) -> i64 {
        self.hwm_position
    }

    /// Whether its sender said nothing for so long.
    pub(crate) fn is_silent(&self, silence_ns: u64, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.last_packet_ns) > silence_ns
    }

    pub(crate) fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended { .. })
    }

    /// The image's user knows of it now: data may come.
    pub(crate) fn announced(&mut self) {
        if self.phase == Phase::Announcing {
            self.phase = Phase::Active;
        }
    }

    /// Takes a datagram whose first frame is `first`, and returns why the image ended if it just did.
    ///
    /// # Errors
    /// Why the datagram was dropped because of what is in it.
    pub(crate) fn on_data(
        &mut self,
        first: &DataFrame<'_>,
        datagram: &[u8],
        now_ns: u64,
        port: &mut Port,
        sink: &mut impl ImageSink,
    ) -> Result<Option<UnavailableReason>, Reject> {
        match self.phase {
            Phase::Active => {}
            Phase::Announcing => {
                // The sender is alive; what it sent will be asked for again.
                self.last_packet_ns = now_ns;
                port.counters.data_before_announcement += 1;
                return Ok(None);
            }
            Phase::Ended { .. } => {
                self.last_packet_ns = now_ns;
                port.counters.no_interest += 1;
                return Ok(None);
            }
        }
        let ended = if first.is_heartbeat() {
            self.on_heartbeat(first, datagram, now_ns, port)?
        } else {
            self.on_packet(first, datagram, now_ns, port, sink)?
        };
        if let Some(reason) = ended {
            self.end(reason, now_ns);
            return Ok(ended);
        }
        if self.loss_detector.observe(self.first_gap(), now_ns)
            && let Some(gap) = self.first_gap()
        {
            port.counters.loss_gaps += 1;
            port.counters.loss_bytes += (gap.end_position - gap.position) as u64;
        }
        self.send_status_message_on_progress(now_ns, port);
        Ok(None)
    }

    /// The sink stopped to consume at a position, or goes on (`None`).
    pub(crate) fn set_held_at(&mut self, held_at: Option<i64>, now_ns: u64, port: &mut Port) {
        self.held_at = held_at;
        if self.phase == Phase::Active {
            self.send_status_message_on_progress(now_ns, port);
        }
    }

    /// Ends the image: nothing is delivered from here on, and the sender is told a few times.
    pub(crate) fn end(&mut self, reason: UnavailableReason, now_ns: u64) {
        let farewells_left = if reason == UnavailableReason::TimedOut { 0 } else { FAREWELL_COUNT };
        self.phase = Phase::Ended { reason, farewells_left };
        self.status_due_ns = now_ns;
    }

    /// Sends what time demands, and returns why the image ended if it just did.
    pub(crate) fn on_timeout(&mut self, now_ns: u64, port: &mut Port) -> Option<UnavailableReason> {
        if let Phase::Ended { reason, farewells_left } = self.phase {
            if now_ns >= self.status_due_ns && farewells_left > 0 {
                self.send_farewell(reason, now_ns, port);
                self.phase = Phase::Ended { reason, farewells_left: farewells_left - 1 };
            }
            return None;
        }
        if self.is_silent(IMAGE_LIVENESS_TIMEOUT_NS, now_ns) {
            self.end(UnavailableReason::TimedOut, now_ns);
            return Some(UnavailableReason::TimedOut);
        }
        if self.phase == Phase::Announcing {
            return None;
        }
        if now_ns >= self.status_due_ns {
            self.send_status_message(0, now_ns, port);
        }
        if let Some(gap) = self.loss_detector.on_timeout(now_ns) {
            self.send_nak(gap, port);
        }
        None
    }

    /// When [`Self::on_timeout`] has something to do.
    pub(crate) fn due_ns(&self) -> u64 {
        let silent_ns = self.last_packet_ns.saturating_add(IMAGE_LIVENESS_TIMEOUT_NS + 1);
        match self.phase {
            Phase::Announcing => silent_ns,
            Phase::Active => silent_ns.min(self.status_due_ns).min(self.loss_detector.due_ns()),
            Phase::Ended { reason: UnavailableReason::Refused, farewells_left: 0 } => silent_ns,
            Phase::Ended { .. } => self.status_due_ns,
        }
    }

    /// Whether an ended image has said its last word.
    ///
    /// A refused one is kept until its sender is silent: its next datagram would else ask for a new image,
    /// to be refused again.
    pub(crate) fn is_gone(&self, now_ns: u64) -> bool {
        match self.phase {
            Phase::Ended { farewells_left: 1.., .. } | Phase::Announcing | Phase::Active => false,
            Phase::Ended { reason: UnavailableReason::TimedOut, .. } => true,
            Phase::Ended { reason: UnavailableReason::Refused, .. } => {
                self.is_silent(IMAGE_LIVENESS_TIMEOUT_NS, now_ns)
            }
            Phase::Ended { .. } => now_ns >= self.status_due_ns,
        }
    }

    /// Answers a round trip measurement that is meant for this receiver.
    pub(crate) fn on_rttm(&self, rttm: &Rttm, from: SocketAddr, port: &mut Port) {
        let is_for_us = rttm.receiver_id == 0 || rttm.receiver_id == port.receiver_id;
        if rttm.flags & rttm::REPLY != 0 && is_for_us {
            let reply = Rttm { receiver_id: port.receiver_id, ..rttm.reply() };
            if port.send(from, &reply.encode()) {
                port.counters.rttm_replies_sent += 1;
            }
        }
    }

    fn on_heartbeat(
        &mut self,
        frame: &DataFrame<'_>,
        datagram: &[u8],
        now_ns: u64,
        port: &mut Port,
    ) -> Result<Option<UnavailableReason>, Reject> {
        if datagram.len() != FRAME_ALIGNMENT {
            return Err(Reject::BadLength);
        }
        let terms = self.geometry.terms;
        let position = terms.position(frame.term_id(), frame.term_offset())?;
        let term_length = i64::from(terms.term_length.bytes());
        // Padding may have led the sender past the window, so more is plausible than for data.
        if (position - self.status_position).abs() > term_length {
            port.counters.heartbeats_out_of_range += 1;
            return Ok(None);
        }
        port.counters.heartbeats_received += 1;
        self.last_packet_ns = now_ns;
        self.hwm_position = self.hwm_position.max(position);
        if frame.has_flags(EOS) {
            if frame.has_flags(REVOKED) {
                return Ok(Some(UnavailableReason::Revoked));
            }
            self.end_of_stream_position = self.end_of_stream_position.max(Some(position));
        }
        Ok(self.end_of_stream())
    }

    fn on_packet(
        &mut self,
        first: &DataFrame<'_>,
        datagram: &[u8],
        now_ns: u64,
        port: &mut Port,
        sink: &mut impl ImageSink,
    ) -> Result<Option<UnavailableReason>, Reject> {
        let packet = Packet::parse(&self.geometry.terms, self.geometry.mtu as usize, first, datagram)?;
        // Of padding only the header counts: it may lead the stream past any window.
        if packet.position + packet.bytes.len() as i64 > self.over_run_position() {
            port.counters.data_over_run += 1;
            return Ok(None);
        }
        if packet.end_position <= self.rebuild_position {
            if packet.position >= self.status_position - i64::from(self.window_length) {
                self.last_packet_ns = now_ns;
            }
            port.counters.data_duplicate += 1;
            return Ok(None);
        }
        self.last_packet_ns = now_ns;
        self.hwm_position = self.hwm_position.max(packet.end_position);
        if packet.position > self.rebuild_position {
            match self.side_buffer.insert(packet, self.rebuild_position) {
                Insert::Kept => port.counters.data_out_of_order += 1,
                Insert::Duplicate => port.counters.data_duplicate += 1,
                Insert::NoRoom => port.counters.data_without_room += 1,
            }
            return Ok(None);
        }
        port.counters.data_received += 1;
        Ok(match self.deliver(packet, port, sink) {
            Ok(()) => self.end_of_stream(),
            Err(Refused) => Some(UnavailableReason::Refused),
        })
    }

    /// Hands a packet that reaches the rebuild position to the sink, and all that waited for it.
    fn deliver(
        &mut self,
        packet: Packet<'_>,
        port: &mut Port,
        sink: &mut impl ImageSink,
    ) -> Result<(), Refused> {
        let mut append = |packet: Packet<'_>, rebuild_position: &mut i64| {
            if packet.end_position <= *rebuild_position {
                return Ok(());
            }
            let Some(news) = packet.skip_to(*rebuild_position) else {
                port.counters.data_misaligned += 1;
                return Ok(());
            };
            sink.append(self.key, news.position, news.bytes)?;
            *rebuild_position = news.end_position;
            Ok(())
        };
        append(packet, &mut self.rebuild_position)?;
        while let Some(waiting) =
            self.side_buffer.first().filter(|first| first.position <= self.rebuild_position)
        {
            append(waiting, &mut self.rebuild_position)?;
            self.side_buffer.remove_first();
        }
        self.hwm_position = self.hwm_position.max(self.rebuild_position);
        self.held_at = sink.held_at(self.key);
        Ok(())
    }

    fn end_of_stream(&self) -> Option<UnavailableReason> {
        let end_position = self.end_of_stream_position?;
        (self.rebuild_position >= end_position).then_some(UnavailableReason::EndOfStream)
    }

    /// The first missing range, cut at the end of its term, as a NAK names one term.
    fn first_gap(&self) -> Option<Gap> {
        let position = self.rebuild_position;
        let end_position = self.side_buffer.first_position().unwrap_or(self.hwm_position);
        let end_position = end_position.min(self.geometry.terms.term_end(position));
        (position < end_position).then_some(Gap { position, end_position })
    }

    /// Beyond this the sender had no leave to send anything.
    fn over_run_position(&self) -> i64 {
        self.status_position + i64::from(self.geometry.terms.term_length.bytes() / 2)
    }

    /// Up to where the sink consumed everything.
    fn consumption_position(&self) -> i64 {
        self.held_at.map_or(self.rebuild_position, |held_at| held_at.min(self.rebuild_position))
    }

    fn send_status_message_on_progress(&mut self, now_ns: u64, port: &mut Port) {
        if self.consumption_position() - self.status_position > i64::from(self.window_length / 4) {
            self.send_status_message(0, now_ns, port);
        }
    }

    /// Tells the sender where we are. Unlike a Java receiver's repetition this one names the current
    /// position: it is never farther from the sender's than the old one, and it opens a window whose rest
    /// is too small for the sender's next frame.
    fn send_status_message(&mut self, flags: u8, now_ns: u64, port: &mut Port) {
        let terms = self.geometry.terms;
        let position = self.consumption_position();
        let message = StatusMessage {
            flags,
            session_id: self.key.session_id,
            stream_id: self.key.stream_id,
            consumption_term_id: terms.term_id(position),
            consumption_term_offset: terms.term_offset(position),
            receiver_window: self.window_length,
            receiver_id: port.receiver_id,
            group_tag: None,
        };
        let (bytes, length) = message.encode();
        if port.send(self.source, &bytes[..length]) {
            port.counters.status_messages_sent += 1;
            self.status_position = position;
        }
        self.status_due_ns = now_ns.saturating_add(STATUS_MESSAGE_TIMEOUT_NS);
    }

    fn send_farewell(&mut self, reason: UnavailableReason, now_ns: u64, port: &mut Port) {
        if reason != UnavailableReason::Refused {
            self.send_status_message(status_message::END_OF_STREAM, now_ns, port);
            return;
        }
        let refusal = ErrorFrame {
            session_id: self.key.session_id,
            stream_id: self.key.stream_id,
            receiver_id: port.receiver_id,
            group_tag: None,
            error_code: error_frame::IMAGE_REJECTED,
            text: REFUSAL_TEXT,
        };
        let mut bytes = [0; error_frame::ERROR_LENGTH_MAX];
        let length = refusal.encode(&mut bytes);
        if port.send(self.source, &bytes[..length]) {
            port.counters.error_frames_sent += 1;
        }
        self.status_due_ns = now_ns.saturating_add(STATUS_MESSAGE_TIMEOUT_NS);
    }

    fn send_nak(&self, gap: Gap, port: &mut Port) {
        let terms = self.geometry.terms;
        let nak = Nak {
            session_id: self.key.session_id,
            stream_id: self.key.stream_id,
            term_id: terms.term_id(gap.position),
            term_offset: terms.term_offset(gap.position),
            length: (gap.end_position - gap.position) as i32,
        };
        if port.send(self.source, &nak.encode()) {
            port.counters.naks_sent += 1;
        }
    }
}
