//! The send side of a stream.
//!
//! A publication frames messages into a term history in memory, sends them as far as the receiver's
//! status messages allow, and sends again what the receiver misses. Invariants:
//! - `sender_position <= producer position`, both at frame ends.
//! - The history holds at least one term below `sender_position` (less at the stream's start), which is
//!   more than a NAK may ask for.
//! - Nothing but padding leads the sender past the limit that a status message set.
//!
//! ```text
//!   CONNECTING -> CONNECTED <-> DISCONNECTED
//!        |            \___________/
//!        |                 | close              | revoke
//!        |              DRAINING -> LINGERING <-'
//!        '-- close --------+------------+-> gone
//! ```

mod params;
mod receivers;
mod retransmit;
mod term_history;
#[cfg(test)]
mod tests;

use crate::transport::{Port, SEGMENT_COUNT_MAX, SlabKey, Transmit};
use crate::wire::data::{EOS, REVOKED, UNFRAGMENTED};
use crate::wire::{DATAGRAM_LENGTH_MAX, DataHeader, ErrorFrame, FrameType, Nak, Rttm, Setup};
use crate::wire::{StatusMessage, StreamTerms, rttm, status_message};
use receivers::Receivers;
use retransmit::{Answer, Retransmitter};
use std::net::SocketAddr;
use std::ops::Range;
use term_history::TermHistory;

pub use params::PublicationParams;

/// A publication describes its stream this often until a receiver answers, in nanoseconds.
pub const SETUP_INTERVAL_NS: u64 = 100_000_000;
/// A publication that sends nothing else says that it is alive this often, in nanoseconds.
pub const HEARTBEAT_INTERVAL_NS: u64 = 100_000_000;
/// A receiver that is silent for this long is forgotten, in nanoseconds.
pub const RECEIVER_LIVENESS_TIMEOUT_NS: u64 = 5_000_000_000;

/// Names a publication of an endpoint.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PublicationId(pub(crate) SlabKey);

/// What a publication is doing.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum PublicationState {
    /// No receiver ever answered.
    Connecting,
    /// At least one receiver answered within the last 5 s.
    Connected,
    /// There was a receiver once.
    Disconnected,
    /// Closed or revoked by its user: sends what is left, then lingers to send again what was lost.
    Draining,
    /// Gone, or never there.
    Closed,
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum OfferError {
    /// No receiver: nothing is buffered for one that may come.
    NotConnected,
    /// Half a term waits to be sent already; try again.
    BackPressured,
    /// Longer than the stream's longest message.
    MessageTooLong,
    /// The stream reached the last position there is.
    PositionMax,
    /// The publication was closed, or never was.
    Closed,
}

impl std::fmt::Display for OfferError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotConnected => "no receiver is connected",
            Self::BackPressured => "half a term waits to be sent",
            Self::MessageTooLong => "the message is longer than the stream allows",
            Self::PositionMax => "the stream is at its last position",
            Self::Closed => "the publication is closed",
        })
    }
}

impl std::error::Error for OfferError {}

/// One stream, seen from the sending end.
#[derive(Debug)]
pub(crate) struct Publication {
    to: SocketAddr,
    session_id: i32,
    stream_id: i32,
    mtu: usize,
    linger_ns: u64,
    signals_end_of_stream: bool,
    history: TermHistory,
    sender_position: i64,
    /// How far the receiver lets us send.
    sender_limit: i64,
    receivers: Receivers,
    last_status_message_ns: Option<u64>,
    setup_elicited: bool,
    setup_due_ns: u64,
    heartbeat_due_ns: u64,
    retransmitter: Retransmitter,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Open,
    Draining,
    Lingering { until_ns: u64, revoked: bool },
    Gone,
}

impl Publication {
    /// # Panics
    /// When [`PublicationParams::check`] refuses the parameters.
    pub(crate) fn new(params: &PublicationParams, to: SocketAddr, now_ns: u64) -> Self {
        let (terms, position) = match params.check() {
            Ok(checked) => checked,
            Err(reject) => panic!("publication parameters: {reject}"),
        };
        Self {
            to,
            session_id: params.session_id,
            stream_id: params.stream_id,
            mtu: params.mtu as usize,
            linger_ns: params.linger_ns,
            signals_end_of_stream: params.signals_end_of_stream,
            history: TermHistory::new(terms, position, params.session_id, params.stream_id),
            sender_position: position,
            sender_limit: position,
            receivers: Receivers::default(),
            last_status_message_ns: None,
            setup_elicited: false,
            setup_due_ns: now_ns,
            heartbeat_due_ns: now_ns,
            retransmitter: Retransmitter::default(),
            phase: Phase::Open,
        }
    }

    pub(crate) fn is_of(&self, stream_id: i32, session_id: i32) -> bool {
        self.stream_id == stream_id && self.session_id == session_id
    }

    pub(crate) fn sends_to(&self, to: SocketAddr) -> bool {
        self.to == to
    }

    pub(crate) fn state(&self) -> PublicationState {
        match self.phase {
            Phase::Open if !self.receivers.is_empty() => PublicationState::Connected,
            Phase::Open if self.last_status_message_ns.is_none() => PublicationState::Connecting,
            Phase::Open => PublicationState::Disconnected,
            Phase::Draining | Phase::Lingering { .. } => PublicationState::Draining,
            Phase::Gone => PublicationState::Closed,
        }
    }

    /// Where the next message begins.
    pub(crate) fn position(&self) -> i64 {
        self.history.end_position()
    }

    /// Up to where everything was sent.
    pub(crate) fn sender_position(&self) -> i64 {
        self.sender_position
    }

    pub(crate) fn last_status_message_ns(&self) -> Option<u64> {
        self.last_status_message_ns
    }

    /// Frames a message, which comes in two parts, and returns where it ends.
    pub(crate) fn offer(&mut self, message: [&[u8]; 2]) -> Result<i64, OfferError> {
        if self.phase != Phase::Open {
            return Err(OfferError::Closed);
        }
        if message[0].len() + message[1].len() > self.terms().term_length.message_length_max() {
            return Err(OfferError::MessageTooLong);
        }
        if self.receivers.is_empty() {
            return Err(OfferError::NotConnected);
        }
        let half_term = i64::from(self.terms().term_length.bytes() / 2);
        if self.position() >= self.sender_position + half_term {
            return Err(OfferError::BackPressured);
        }
        if self.position() >= self.terms().position_max() - 2 * half_term {
            return Err(OfferError::PositionMax);
        }
        self.history.append(message, self.mtu);
        // The longest message with its padding is at most half a term, so a whole term of what was sent
        // is still there for NAKs.
        debug_assert!(self.position() <= self.sender_position + 2 * half_term);
        Ok(self.position())
    }

    /// Takes recorded frames, and returns how far they lead the stream.
    pub(crate) fn offer_recorded(&mut self, frames: &[u8]) -> Result<i64, OfferError> {
        if self.phase != Phase::Open {
            return Err(OfferError::Closed);
        }
        if self.receivers.is_empty() {
            return Err(OfferError::NotConnected);
        }
        let half_term = i64::from(self.terms().term_length.bytes() / 2);
        let room = self.sender_position + half_term - self.position();
        if room <= 0 {
            return Err(OfferError::BackPressured);
        }
        if self.position() >= self.terms().position_max() - 2 * half_term {
            return Err(OfferError::PositionMax);
        }
        Ok(self.history.append_recorded(frames, self.mtu, room))
    }

    pub(crate) fn close(&mut self) {
        if self.phase == Phase::Open {
            self.phase = if self.last_status_message_ns.is_none() { Phase::Gone } else { Phase::Draining };
        }
    }

    pub(crate) fn revoke(&mut self, now_ns: u64) {
        if self.last_status_message_ns.is_none() {
            self.phase = Phase::Gone;
        } else if self.phase != Phase::Gone {
            self.linger(true, now_ns);
        }
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.phase == Phase::Gone
    }

    pub(crate) fn on_status_message(&mut self, message: &StatusMessage, now_ns: u64, port: &mut Port) {
        port.counters.status_messages_received += 1;
        if message.flags & status_message::SEND_SETUP != 0 {
            // Its position and window mean nothing. A stream that has ended is not for newcomers.
            self.setup_elicited |= !matches!(self.phase, Phase::Lingering { .. });
            return;
        }
        let plausible = self.plausible_receiver_positions();
        let position =
            match self.terms().position(message.consumption_term_id, message.consumption_term_offset) {
                Ok(position) if plausible.contains(&position) => position,
                _ => {
                    port.counters.status_messages_rejected += 1;
                    return;
                }
            };
        if message.flags & status_message::END_OF_STREAM != 0 {
            self.receivers.remove(message.receiver_id);
        } else {
            self.receivers.heard_from(message.receiver_id, now_ns);
            let limit = position + i64::from(message.receiver_window.max(0));
            self.sender_limit = self.sender_limit.max(limit);
        }
        self.last_status_message_ns = Some(now_ns);
        if self.receivers.is_empty() && self.phase != Phase::Open {
            self.phase = Phase::Gone;
        }
    }

    pub(crate) fn on_nak(&mut self, nak: &Nak, now_ns: u64, port: &mut Port) {
        port.counters.naks_received += 1;
        let (terms, available) = (self.terms(), self.retransmittable());
        match self.retransmitter.on_nak(nak, &terms, available, now_ns) {
            Answer::Retransmit => {}
            Answer::Ignored => port.counters.naks_ignored += 1,
            Answer::Rejected => port.counters.naks_rejected += 1,
        }
    }

    pub(crate) fn on_error(&mut self, error: &ErrorFrame<'_>, port: &mut Port) {
        port.counters.error_frames_received += 1;
        self.receivers.remove(error.receiver_id);
        if self.receivers.is_empty() && self.phase != Phase::Open {
            self.phase = Phase::Gone;
        }
    }

    pub(crate) fn on_rttm(&self, rttm: &Rttm, port: &mut Port) {
        if rttm.flags & rttm::REPLY != 0 && port.send(self.to, &rttm.reply().encode()) {
            port.counters.rttm_replies_sent += 1;
        }
    }

    /// Sends what time demands.
    pub(crate) fn on_timeout(&mut self, now_ns: u64, port: &mut Port) {
        self.receivers.forget_silent(now_ns);
        match self.phase {
            Phase::Draining if self.receivers.is_empty() => self.phase = Phase::Gone,
            Phase::Draining if self.sender_position == self.position() => self.linger(false, now_ns),
            _ => {}
        }
        if self.phase == Phase::Gone {
            return;
        }
        if self.wants_setup() && now_ns >= self.setup_due_ns {
            self.send_setup(now_ns, port);
        }
        if self.last_status_message_ns.is_some() && now_ns >= self.heartbeat_due_ns {
            self.send_heartbeat(now_ns, port);
        }
        // Last, so that the end is told once at least, however short the linger time is.
        if matches!(self.phase, Phase::Lingering { until_ns, .. } if now_ns >= until_ns) {
            self.phase = Phase::Gone;
        }
    }

    /// When [`Self::on_timeout`] has something to do.
    pub(crate) fn due_ns(&self) -> u64 {
        let mut due_ns = self.receivers.due_ns();
        if self.wants_setup() {
            due_ns = due_ns.min(self.setup_due_ns);
        }
        if self.last_status_message_ns.is_some() {
            due_ns = due_ns.min(self.heartbeat_due_ns);
        }
        match self.phase {
            Phase::Gone => 0,
            Phase::Draining if self.receivers.is_empty() || self.sender_position == self.position() => 0,
            Phase::Open | Phase::Draining => due_ns,
            Phase::Lingering { until_ns, .. } => due_ns.min(until_ns),
        }
    }

    /// Hands out what was asked for again, then what is new, and returns how many datagrams that was.
    pub(crate) fn poll_transmit(
        &mut self,
        now_ns: u64,
        port: &mut Port,
        send: &mut impl FnMut(Transmit<'_>),
    ) -> usize {
        let mut datagram_count = 0;
        while let Some((position, end_position)) = self.retransmitter.next() {
            let run = self.send_run(position, end_position, send);
            self.retransmitter.sent(run.advance);
            if run.advance == 0 {
                break;
            }
            port.counters.retransmits_sent += run.datagram_count as u64;
            port.counters.retransmit_bytes_sent += run.length as u64;
            datagram_count += run.datagram_count;
        }
        if matches!(self.phase, Phase::Lingering { .. } | Phase::Gone) {
            return datagram_count;
        }
        let limit = self.sender_limit.min(self.position());
        while self.sender_position < limit {
            let run = self.send_run(self.sender_position, limit, send);
            if run.advance == 0 {
                break;
            }
            self.sender_position += run.advance;
            self.heartbeat_due_ns = now_ns.saturating_add(HEARTBEAT_INTERVAL_NS);
            port.counters.data_sent += run.datagram_count as u64;
            port.counters.data_bytes_sent += run.length as u64;
            datagram_count += run.datagram_count;
        }
        datagram_count
    }

    /// Sends, as one run, the datagrams of one length that lie at `position`, up to `limit`.
    fn send_run(&self, position: i64, limit: i64, send: &mut impl FnMut(Transmit<'_>)) -> SentRun {
        let mut run = SentRun { advance: 0, length: 0, datagram_count: 0 };
        let mut segment_length = 0;
        while run.datagram_count < SEGMENT_COUNT_MAX {
            let at = position + run.advance;
            let room = if segment_length == 0 { self.mtu } else { segment_length };
            let room = room.min(DATAGRAM_LENGTH_MAX - run.length);
            let room = usize::try_from(limit - at).map_or(0, |window| window.min(room));
            let packet = self.history.packet_at(at, room);
            if packet.length == 0 {
                break;
            }
            if segment_length == 0 {
                segment_length = packet.length;
            }
            run.advance += packet.advance;
            run.length += packet.length;
            run.datagram_count += 1;
            // A shorter datagram ends the run, and so does a term, behind whose padding the bytes jump.
            let is_term_end = self.terms().term_offset(position + run.advance) == 0;
            if packet.length < segment_length || is_term_end {
                break;
            }
        }
        if run.length > 0 {
            send(Transmit {
                to: self.to,
                bytes: self.history.bytes_at(position, run.length),
                segment_length,
            });
        }
        run
    }

    fn terms(&self) -> StreamTerms {
        self.history.terms()
    }

    /// Where a receiver can be: a term behind the sender, half a term ahead of it.
    ///
    /// Aeron's senders allow half a term behind. But padding leads the sender past any window, and a
    /// receiver that took half a term's window and lost its first datagram is then farther behind; if
    /// its status messages were dropped it would be taken for dead.
    fn plausible_receiver_positions(&self) -> Range<i64> {
        let term_length = i64::from(self.terms().term_length.bytes());
        self.sender_position - term_length..self.sender_position + term_length / 2 + 1
    }

    /// What a NAK may ask for: as far back as a receiver can be. (Aeron's senders allow half a term and
    /// one message, to which the same applies.)
    fn retransmittable(&self) -> Range<i64> {
        let start_position = self.plausible_receiver_positions().start;
        start_position.max(self.history.start_position())..self.sender_position
    }

    fn wants_setup(&self) -> bool {
        let never_connected = self.last_status_message_ns.is_none();
        (never_connected || self.setup_elicited) && !matches!(self.phase, Phase::Lingering { .. })
    }

    /// An end is told in the next heartbeat, no earlier than others would be: a Java archive that replicates a stopped
    /// recording looks whether it has all of it, and no longer looks once its image has ended.
    fn linger(&mut self, revoked: bool, now_ns: u64) {
        if revoked {
            self.heartbeat_due_ns = now_ns;
        }
        let until_ns = now_ns.saturating_add(self.linger_ns).max(self.heartbeat_due_ns);
        self.phase = Phase::Lingering { until_ns, revoked };
    }

    fn send_setup(&mut self, now_ns: u64, port: &mut Port) {
        let terms = self.terms();
        let setup = Setup {
            flags: 0,
            term_offset: terms.term_offset(self.sender_position),
            session_id: self.session_id,
            stream_id: self.stream_id,
            initial_term_id: terms.initial_term_id,
            active_term_id: terms.term_id(self.sender_position),
            term_length: terms.term_length.bytes(),
            mtu: self.mtu as i32,
            ttl: 0,
        };
        if port.send(self.to, &setup.encode()) {
            port.counters.setups_sent += 1;
            self.setup_elicited &= self.receivers.is_empty();
        }
        self.setup_due_ns = now_ns.saturating_add(SETUP_INTERVAL_NS);
    }

    /// The heartbeat names the position up to which everything was sent, also when the stream is revoked
    /// with more at hand: a receiver drops a position beyond its window.
    fn send_heartbeat(&mut self, now_ns: u64, port: &mut Port) {
        let flags = match self.phase {
            Phase::Lingering { revoked: true, .. } => UNFRAGMENTED | EOS | REVOKED,
            Phase::Lingering { .. } if self.signals_end_of_stream => UNFRAGMENTED | EOS,
            _ => UNFRAGMENTED,
        };
        let heartbeat = DataHeader {
            frame_length: 0,
            flags,
            frame_type: FrameType::Data,
            term_offset: self.terms().term_offset(self.sender_position),
            session_id: self.session_id,
            stream_id: self.stream_id,
            term_id: self.terms().term_id(self.sender_position),
            reserved_value: 0,
        };
        if port.send(self.to, &heartbeat.encode()) {
            port.counters.heartbeats_sent += 1;
        }
        self.heartbeat_due_ns = now_ns.saturating_add(HEARTBEAT_INTERVAL_NS);
    }
}

#[derive(Clone, Copy, Debug)]
struct SentRun {
    /// How far the stream advanced; with padding, more than the bytes sent.
    advance: i64,
    length: usize,
    datagram_count: usize,
}
