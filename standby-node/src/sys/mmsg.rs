//! `recvmmsg` and `sendmmsg` with GRO and GSO.
//!
//! One call fetches up to 32 payloads of up to 64 KiB, each of which may be many datagrams of one peer that
//! the kernel merged; one call sends up to 64 runs, each of which the kernel may cut into many datagrams.
//! All memory is allocated once. See recvmmsg(2), sendmmsg(2), udp(7).
//!
//! A single datagram is fetched by `recvfrom` and sent by `sendto`, which are cheaper by the headers that the
//! kernel need not copy and check. Merging needs a word of the kernel beside each payload, so it is asked for
//! at the first burst and not before; for good, because a payload that waits merged could not be split without
//! that word.
//!
//! The peer that most datagrams come from gets a connected socket of its own, see `favourite`.

mod favourite;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};

use self::favourite::Favourite;
use super::memory::Region;
use super::readiness::Readiness;
use crate::net::address::{ADDRESS_LENGTH_MAX, AddressParser, RawAddress};
use crate::net::control::{
    RECEIVE_CONTROL_LENGTH, SEGMENT_CONTROL_LENGTH, merged_segment_length, segment_control,
};
use crate::net::send_queue::{self, Message, SendQueue};
use crate::net::socket::NetworkSocket;
use crate::net::split::Splitter;
use crate::net::{DATAGRAM_LENGTH_MAX, DatagramIo, IoCounters, Offload, RUN_LENGTH_MAX};

/// A socket driven by `recvmmsg` and `sendmmsg`.
#[derive(Debug)]
pub struct MmsgIo {
    socket: NetworkSocket,
    receiver: Receiver,
    favourite: Favourite,
    sender: Sender,
    counters: IoCounters,
}

impl MmsgIo {
    /// Takes over `socket`.
    pub fn new(socket: NetworkSocket, offload: Offload) -> Self {
        let merging = if offload.receive { Merging::AtFirstBurst } else { Merging::Never };
        let sender = Sender::new(&socket, offload);
        let favourite = Favourite::new(&socket, merging);
        Self { receiver: Receiver::new(merging), favourite, sender, counters: IoCounters::default(), socket }
    }
}

impl DatagramIo for MmsgIo {
    fn receive(&mut self, limit: usize, mut on_datagram: impl FnMut(&[u8], SocketAddr)) -> io::Result<usize> {
        let Self { socket, receiver, favourite, counters, .. } = self;
        let mut delivered = 0;
        if !favourite.lets_others_wait() {
            delivered = receiver.receive(socket.as_raw_fd(), limit, counters, &mut on_datagram)?;
            favourite.on_others(socket, receiver, delivered);
        }
        if delivered < limit {
            delivered += favourite.receive(limit - delivered, counters, &mut on_datagram);
        }
        Ok(delivered)
    }

    fn send(&mut self, to: SocketAddr, bytes: &[u8], segment_length: usize) -> io::Result<()> {
        self.sender.send(self.sockets(), to, bytes, segment_length, &mut self.counters)
    }

    fn flush(&mut self) -> io::Result<usize> {
        self.sender.flush(self.sockets(), &mut self.counters)
    }

    fn local_addr(&self) -> SocketAddr {
        self.socket.local_addr()
    }

    fn counters(&self) -> IoCounters {
        self.counters
    }

    fn sleep_at(&self, readiness: &mut Readiness) {
        readiness.add(self.socket.as_raw_fd());
        if let Some((_, favourite)) = self.favourite.route() {
            readiness.add(favourite);
        }
    }
}

impl MmsgIo {
    fn sockets(&self) -> Sockets {
        Sockets { own: self.socket.as_raw_fd(), favourite: self.favourite.route() }
    }
}

/// Payloads of one `recvmmsg` and how far they were handed over.
#[derive(Debug)]
struct Receiver {
    payloads: Region,
    /// Per payload the sender's address, then the control messages.
    sides: Region,
    headers: Vec<libc::mmsghdr>,
    /// Where the payloads lie; read by the kernel through `headers` too.
    vectors: Vec<libc::iovec>,
    /// How many payloads the next call asks for. A call that is given all it asked for returns at once; one that
    /// asked for more first looks again in vain, which a single datagram on its way to an answer must not pay for.
    asked: usize,
    merging: Merging,
    received: usize,
    current: usize,
    splitter: Option<Splitter>,
    addresses: AddressParser,
}

/// Whether the kernel may merge what is received.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Merging {
    /// Not wanted, or the kernel cannot.
    Never,
    /// When several datagrams were there at once.
    AtFirstBurst,
    /// It may: every payload needs its control messages.
    On,
}

// SAFETY: the pointers in `headers` and `vectors` lead only to memory that the same struct owns, which stays
// where it is when the struct moves, to another thread too.
unsafe impl Send for Receiver {}

impl Receiver {
    fn new(merging: Merging) -> Self {
        let payloads = Region::new(PAYLOAD_COUNT * PAYLOAD_LENGTH_MAX);
        let sides = Region::new(PAYLOAD_COUNT * SIDE_LENGTH);
        let mut vectors: Vec<libc::iovec> = (0..PAYLOAD_COUNT)
            .map(|index| libc::iovec {
                iov_base: payloads.pointer(index * PAYLOAD_LENGTH_MAX, PAYLOAD_LENGTH_MAX).cast(),
                iov_len: PAYLOAD_LENGTH_MAX,
            })
            .collect();
        let first_vector = vectors.as_mut_ptr();
        let headers = (0..PAYLOAD_COUNT)
            .map(|index| {
                let mut header = empty_header();
                let side = index * SIDE_LENGTH;
                header.msg_hdr.msg_name = sides.pointer(side, ADDRESS_LENGTH_MAX).cast();
                header.msg_hdr.msg_control =
                    sides.pointer(side + CONTROL_OFFSET, RECEIVE_CONTROL_LENGTH).cast();
                header.msg_hdr.msg_iov = first_vector.wrapping_add(index);
                header.msg_hdr.msg_iovlen = 1;
                reset_lengths(&mut header);
                header
            })
            .collect();
        Self {
            payloads,
            sides,
            headers,
            vectors,
            asked: 1,
            merging,
            received: 0,
            current: 0,
            splitter: None,
            addresses: AddressParser::new(),
        }
    }

    fn is_empty(&self) -> bool {
        self.current == self.received
    }

    /// As [`DatagramIo::receive`], from the socket `fd`.
    fn receive(
        &mut self,
        fd: RawFd,
        limit: usize,
        counters: &mut IoCounters,
        on_datagram: &mut impl FnMut(&[u8], SocketAddr),
    ) -> io::Result<usize> {
        let mut delivered = 0;
        let mut drained = false;
        while delivered < limit {
            if self.is_empty() {
                // The next call would find nothing, or little: what was taken is not to wait for it.
                if drained {
                    break;
                }
                let room = PAYLOAD_COUNT.min(limit - delivered);
                let count = self.fill(fd, room, counters)?;
                drained = count < room;
                continue;
            }
            delivered += self.deliver(limit - delivered, counters, on_datagram);
        }
        Ok(delivered)
    }

    /// Who sent what was delivered last.
    fn last_peer(&self) -> Option<SocketAddr> {
        self.addresses.last()
    }

    /// Asks the kernel for up to `room` payloads and returns how many it had. Only called when all earlier
    /// ones are through.
    fn fill(&mut self, fd: RawFd, room: usize, counters: &mut IoCounters) -> io::Result<usize> {
        assert!(self.is_empty(), "payloads would be overwritten");
        assert!(room <= PAYLOAD_COUNT, "there is memory for {PAYLOAD_COUNT} payloads");
        for header in &mut self.headers[..self.received] {
            reset_lengths(header);
        }
        self.current = 0;
        self.received = 0;
        let asked = self.asked.min(room);
        let result = match (asked, self.merging) {
            (1, Merging::On) => self.receive_one_with_control(fd),
            (1, _) => self.receive_one(fd),
            _ => self.receive_many(fd, asked),
        };
        if let Ok(count) = usize::try_from(result) {
            self.received = count;
            if count == asked {
                self.asked = (ASK_GROWTH * count).clamp(self.asked, PAYLOAD_COUNT);
                if count > 1 {
                    self.begin_merging(fd);
                }
            }
            return Ok(count);
        }
        self.asked = 1;
        let error = io::Error::last_os_error();
        match classify(&error) {
            Trouble::Busy => Ok(0),
            Trouble::Icmp => {
                counters.icmp_errors += 1;
                Ok(0)
            }
            Trouble::Refused | Trouble::Fatal => Err(error),
        }
    }

    /// Lets the kernel merge, if it is to one day. What waits already was not merged, and says so.
    fn begin_merging(&mut self, fd: RawFd) {
        if self.merging == Merging::AtFirstBurst {
            self.merging = if enable_merging(fd) { Merging::On } else { Merging::Never };
        }
    }

    /// Begins to merge at `fd` if `other` has done so at its socket.
    fn merge_as(&mut self, other: &Self, fd: RawFd) {
        if other.merging == Merging::On {
            self.begin_merging(fd);
        }
    }

    /// The number of payloads received, or -1. None of them is merged: there is nothing to be told beside it, and
    /// none is longer than the memory for it.
    fn receive_one(&mut self, fd: RawFd) -> libc::c_int {
        let (vector, header) = (&self.vectors[0], &mut self.headers[0]);
        // SAFETY: payload and name were pointed in `new` into `payloads` and `sides`, which live as long as `self`
        // and are as long as the lengths given; no slice of them is alive, for `deliver` keeps none.
        let length = unsafe {
            libc::recvfrom(
                fd,
                vector.iov_base,
                vector.iov_len,
                libc::MSG_DONTWAIT,
                header.msg_hdr.msg_name.cast(),
                &raw mut header.msg_hdr.msg_namelen,
            )
        };
        header.msg_hdr.msg_controllen = 0;
        header.msg_len = u32::try_from(length).unwrap_or(0);
        if length < 0 { -1 } else { 1 }
    }

    /// The number of payloads received, or -1. `recvmsg` is the cheaper call for a single one.
    fn receive_one_with_control(&mut self, fd: RawFd) -> libc::c_int {
        let header = &mut self.headers[0];
        // SAFETY: the header was filled in `new` with pointers into `sides`, `payloads` and `vectors`, which live
        // as long as `self` and are as long as the lengths in them say; no slice of them is alive, for `deliver`
        // keeps none.
        let length = unsafe { libc::recvmsg(fd, &raw mut header.msg_hdr, libc::MSG_DONTWAIT) };
        header.msg_len = u32::try_from(length).unwrap_or(0);
        if length < 0 { -1 } else { 1 }
    }

    /// The number of payloads received, or -1.
    fn receive_many(&mut self, fd: RawFd, asked: usize) -> libc::c_int {
        // SAFETY: as in `receive_one_with_control`, for all of the `PAYLOAD_COUNT` headers, of which `asked` is never more, as
        // `fill` asserts; a null timeout is allowed.
        unsafe {
            libc::recvmmsg(
                fd,
                self.headers.as_mut_ptr(),
                asked as libc::c_uint,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        }
    }

    fn deliver(
        &mut self,
        limit: usize,
        counters: &mut IoCounters,
        on_datagram: &mut impl FnMut(&[u8], SocketAddr),
    ) -> usize {
        let mut delivered = 0;
        while delivered < limit && self.current < self.received {
            let Some(mut splitter) = self.splitter.take().or_else(|| self.split()) else {
                counters.datagrams_malformed += 1;
                self.current += 1;
                continue;
            };
            let start = self.current * PAYLOAD_LENGTH_MAX;
            let length = self.headers[self.current].msg_len as usize;
            // SAFETY: the kernel writes to payloads only within `fill`, which cannot run during this borrow.
            let payload = unsafe { self.payloads.bytes(start, length) };
            let (count, is_done) = splitter.deliver(payload, limit - delivered, counters, &mut *on_datagram);
            delivered += count;
            if is_done {
                self.current += 1;
            } else {
                self.splitter = Some(splitter);
            }
        }
        delivered
    }

    /// Reads what the kernel says beside the current payload; `None` when that makes it useless.
    fn split(&mut self) -> Option<Splitter> {
        let header = &self.headers[self.current].msg_hdr;
        if header.msg_flags & libc::MSG_TRUNC != 0 {
            return None;
        }
        let side = self.current * SIDE_LENGTH;
        let address_length = (header.msg_namelen as usize).min(ADDRESS_LENGTH_MAX);
        // SAFETY: the kernel writes to `sides` only within `fill`, which cannot run during this borrow.
        let address = unsafe { self.sides.bytes(side, address_length) };
        let control_length = header.msg_controllen.min(RECEIVE_CONTROL_LENGTH);
        // SAFETY: as above.
        let control = unsafe { self.sides.bytes(side + CONTROL_OFFSET, control_length) };
        Some(Splitter::new(self.addresses.parse(address)?, merged_segment_length(control)))
    }
}

/// Where datagrams leave from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sockets {
    /// For every peer.
    pub(super) own: RawFd,
    /// Connected to the peer named.
    pub(super) favourite: Option<(SocketAddr, RawFd)>,
}

impl Sockets {
    /// One for every peer.
    pub(super) fn single(fd: RawFd) -> Self {
        Self { own: fd, favourite: None }
    }
}

/// Sends what a socket's queue holds; shared by both backends.
#[derive(Debug)]
pub(super) struct Sender {
    queue: SendQueue,
    messages: Vec<Message>,
    headers: Vec<libc::mmsghdr>,
    vectors: Vec<libc::iovec>,
    controls: Vec<Control>,
    /// Longest segments that the kernel has not refused to cut into; 0 when it cuts none.
    segment_length_max: usize,
    /// What `segment_length_max` was before the last run was refused. Not until a part of that run goes out
    /// by itself is it known that the cutting was at fault, not the destination.
    segment_length_max_before: Option<usize>,
    is_ipv4: bool,
    last_address: (SocketAddr, RawAddress),
    sent_since_flush: usize,
    /// Errors that the next calls meet in place of the kernel's answer.
    #[cfg(test)]
    injected_errors: std::collections::VecDeque<i32>,
}

/// As aligned as the kernel's own view of a control buffer.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
struct Control([u8; SEGMENT_CONTROL_LENGTH]);

// SAFETY: the pointers in `headers` and `vectors` are written right before the one system call that reads
// them and mean nothing afterwards.
unsafe impl Send for Sender {}

impl Sender {
    pub(super) fn new(socket: &NetworkSocket, offload: Offload) -> Self {
        let can_cut = offload.send && set_udp_option(socket.as_raw_fd(), libc::UDP_SEGMENT, 0).is_ok();
        Self {
            queue: SendQueue::new(send_queue::CAPACITY, send_queue::RUN_COUNT_MAX),
            messages: vec![Message::default(); MESSAGE_COUNT],
            headers: vec![empty_header(); MESSAGE_COUNT],
            vectors: vec![libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; MESSAGE_COUNT],
            controls: vec![Control([0; SEGMENT_CONTROL_LENGTH]); MESSAGE_COUNT],
            segment_length_max: if can_cut { DATAGRAM_LENGTH_MAX } else { 0 },
            segment_length_max_before: None,
            is_ipv4: socket.local_addr().is_ipv4(),
            last_address: (socket.local_addr(), RawAddress::new(socket.local_addr())),
            sent_since_flush: 0,
            #[cfg(test)]
            injected_errors: Default::default(),
        }
    }

    /// See [`DatagramIo::send`].
    pub(super) fn send(
        &mut self,
        sockets: Sockets,
        to: SocketAddr,
        bytes: &[u8],
        segment_length: usize,
        counters: &mut IoCounters,
    ) -> io::Result<()> {
        assert!(segment_length > 0, "a datagram has a length");
        assert!(bytes.len() <= RUN_LENGTH_MAX, "a run of {} bytes is too long", bytes.len());
        if segment_length.min(bytes.len()) > DATAGRAM_LENGTH_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a datagram longer than UDP allows"));
        }
        if to.is_ipv4() != self.is_ipv4 || to.port() == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a peer of this socket's family"));
        }

        let mut rest = bytes;
        if bytes.len() >= DIRECT_LENGTH_MIN {
            if !self.queue.is_empty() {
                self.send_queued(sockets, counters)?;
            }
            if self.queue.is_empty() {
                rest = self.send_direct(sockets.own, to, bytes, segment_length, counters);
            }
        }
        if self.queue.push(to, rest, segment_length) {
            return Ok(());
        }
        self.send_queued(sockets, counters)?;
        if self.queue.push(to, rest, segment_length) {
            return Ok(());
        }
        // What `send_direct` has sent needs no place in the queue, and what it left fits an empty one.
        assert_eq!(rest.len(), bytes.len(), "a run is queued whole or not at all");
        counters.queue_full += 1;
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// See [`DatagramIo::flush`].
    pub(super) fn flush(&mut self, sockets: Sockets, counters: &mut IoCounters) -> io::Result<usize> {
        if !self.queue.is_empty() {
            self.send_queued(sockets, counters)?;
            counters.short_sends += u64::from(!self.queue.is_empty());
        }
        Ok(std::mem::take(&mut self.sent_since_flush))
    }

    /// Sends until the queue is empty or the kernel has no room.
    fn send_queued(&mut self, sockets: Sockets, counters: &mut IoCounters) -> io::Result<()> {
        let mut icmp_errors = 0;
        while !self.queue.is_empty() {
            let count = self.prepare();
            match self.send_prepared(sockets, count) {
                Ok(sent) => {
                    self.segment_length_max_before = None;
                    for message in &self.messages[..sent] {
                        self.sent_since_flush += message.datagram_count();
                        counters.datagrams_sent += message.datagram_count() as u64;
                        counters.bytes_sent += message.length as u64;
                        self.queue.consume(message);
                    }
                }
                Err(error) => match (classify(&error), self.messages[0].segment_length) {
                    (Trouble::Busy, _) => break,
                    // Some earlier datagram's fault, told on the next call; this one was not sent.
                    (Trouble::Icmp, _) => {
                        counters.icmp_errors += 1;
                        icmp_errors += 1;
                        if icmp_errors == ICMP_ERRORS_MAX {
                            break;
                        }
                    }
                    // A run may be refused for being one; try its datagrams. EIO: the device cuts nothing.
                    // Otherwise the segments are longer than the path's MTU; shorter ones can still be cut.
                    (Trouble::Refused, Some(length)) => {
                        let cuts_none = error.raw_os_error() == Some(libc::EIO);
                        let limit = if cuts_none { 0 } else { usize::from(length) - 1 };
                        self.segment_length_max_before.get_or_insert(self.segment_length_max);
                        self.segment_length_max = limit;
                    }
                    // The rest of its run would meet the same.
                    (Trouble::Refused, None) => {
                        counters.datagrams_refused += self.queue.drop_run() as u64;
                        if let Some(before) = self.segment_length_max_before.take() {
                            self.segment_length_max = before;
                        }
                    }
                    (Trouble::Fatal, _) => return Err(error),
                },
            }
        }
        Ok(())
    }

    /// Points the headers at the oldest messages and returns how many.
    fn prepare(&mut self) -> usize {
        let count = self.queue.messages(self.segment_length_max, &mut self.messages);
        let bytes = self.queue.bytes();
        for (index, message) in self.messages[..count].iter().enumerate() {
            let payload = &bytes[message.start..][..message.length];
            let address = self.queue.address(message);
            let control = &mut self.controls[index];
            let vector = &mut self.vectors[index];
            point(&mut self.headers[index], vector, control, address, payload, message.segment_length);
        }
        count
    }

    fn send_prepared(&mut self, sockets: Sockets, count: usize) -> io::Result<usize> {
        #[cfg(test)]
        if let Some(code) = self.injected_errors.pop_front() {
            return Err(io::Error::from_raw_os_error(code));
        }
        if count == 1 && self.messages[0].segment_length.is_none() {
            return self.send_one(sockets);
        }
        // SAFETY: the first `count` headers were just written by `prepare` with pointers into `queue`,
        // `vectors` and `controls`, which nothing has changed since and which outlive the call; the kernel
        // only reads through them, and writes `msg_len` within `headers`.
        let result = unsafe {
            libc::sendmmsg(sockets.own, self.headers.as_mut_ptr(), count as libc::c_uint, libc::MSG_DONTWAIT)
        };
        usize::try_from(result).map_err(|_| io::Error::last_os_error())
    }

    /// Sends the oldest message, a single datagram: the kernel has neither header nor vector to fetch and check.
    fn send_one(&mut self, sockets: Sockets) -> io::Result<usize> {
        let (vector, header) = (&self.vectors[0], &self.headers[0].msg_hdr);
        if let Some((peer, fd)) = sockets.favourite
            && peer == self.queue.peer(&self.messages[0])
        {
            // SAFETY: `prepare` just pointed the vector into `queue`, with its length; nothing has changed since, it
            // outlives the call, and the kernel only reads it.
            let result = unsafe { libc::send(fd, vector.iov_base, vector.iov_len, libc::MSG_DONTWAIT) };
            if result >= 0 {
                return Ok(1);
            }
            let error = io::Error::last_os_error();
            if classify(&error) == Trouble::Busy {
                return Err(error);
            }
            // What else is wrong, above all an ICMP message about an earlier datagram, is the connection's alone.
        }
        let fd = sockets.own;
        // SAFETY: `prepare` just pointed the vector into `queue` and the header's name at an address there, with
        // their lengths; nothing has changed since, both outlive the call, and the kernel only reads them.
        let result = unsafe {
            libc::sendto(
                fd,
                vector.iov_base,
                vector.iov_len,
                libc::MSG_DONTWAIT,
                header.msg_name.cast(),
                header.msg_namelen,
            )
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(1) }
    }

    /// Sends a long run from where it lies: one call carries enough that gathering more would save less than
    /// the copy costs. Returns what the kernel did not take, whatever the reason; the queue deals with it.
    fn send_direct<'a>(
        &mut self,
        fd: RawFd,
        to: SocketAddr,
        bytes: &'a [u8],
        segment_length: usize,
        counters: &mut IoCounters,
    ) -> &'a [u8] {
        let mut rest = bytes;
        if self.last_address.0 != to {
            self.last_address = (to, RawAddress::new(to));
        }
        if segment_length > self.segment_length_max {
            return rest;
        }
        while rest.len() >= DIRECT_LENGTH_MIN {
            let (run, behind) = rest.split_at(rest.len().min(send_queue::run_length_max(segment_length)));
            let cut = (run.len() > segment_length).then_some(segment_length as u16);
            let (vector, control) = (&mut self.vectors[0], &mut self.controls[0]);
            point(&mut self.headers[0], vector, control, &self.last_address.1, run, cut);
            // SAFETY: the header was just written by `point` with pointers to the address, the vector and the
            // control buffer in `self` and to `run`, all of which outlive the call, which only reads them.
            let result = unsafe { libc::sendmsg(fd, &raw const self.headers[0].msg_hdr, libc::MSG_DONTWAIT) };
            if result < 0 {
                break;
            }
            let datagram_count = run.len().div_ceil(segment_length);
            self.sent_since_flush += datagram_count;
            counters.datagrams_sent += datagram_count as u64;
            counters.bytes_sent += run.len() as u64;
            rest = behind;
        }
        rest
    }
}

/// Points `header` at one message. The kernel only reads what is sent, whatever the pointers' types say.
fn point(
    header: &mut libc::mmsghdr,
    vector: &mut libc::iovec,
    control: &mut Control,
    address: &RawAddress,
    payload: &[u8],
    segment_length: Option<u16>,
) {
    vector.iov_base = payload.as_ptr().cast_mut().cast();
    vector.iov_len = payload.len();
    header.msg_hdr.msg_name = address.as_bytes().as_ptr().cast_mut().cast();
    header.msg_hdr.msg_namelen = address.as_bytes().len() as libc::socklen_t;
    header.msg_hdr.msg_iov = vector;
    header.msg_hdr.msg_iovlen = 1;
    header.msg_hdr.msg_control = std::ptr::null_mut();
    header.msg_hdr.msg_controllen = 0;
    if let Some(segment_length) = segment_length {
        control.0 = segment_control(segment_length);
        header.msg_hdr.msg_control = (&raw mut control.0).cast();
        header.msg_hdr.msg_controllen = SEGMENT_CONTROL_LENGTH;
    }
}

/// What an error of a send or a receive means for the node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Trouble {
    /// Nothing to receive, or no room to send: later.
    Busy,
    /// An ICMP message about an earlier datagram.
    Icmp,
    /// This run, or this datagram, cannot go where it should.
    Refused,
    /// The socket is of no more use.
    Fatal,
}

pub(super) fn classify(error: &io::Error) -> Trouble {
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::ENOBUFS | libc::EINTR | libc::ENOMEM) => Trouble::Busy,
        Some(libc::ECONNREFUSED | libc::ECONNRESET) => Trouble::Icmp,
        Some(
            libc::EMSGSIZE
            | libc::EINVAL
            | libc::EIO
            | libc::EOPNOTSUPP
            | libc::ENETUNREACH
            | libc::EHOSTUNREACH
            | libc::ENETDOWN
            | libc::EHOSTDOWN
            | libc::EPERM
            | libc::EACCES
            | libc::EADDRNOTAVAIL
            | libc::ENONET
            | libc::EPROTO
            | libc::ENOPROTOOPT,
        ) => Trouble::Refused,
        _ => Trouble::Fatal,
    }
}

/// Asks the kernel to merge datagrams on receive. A kernel before 5.0 cannot: then each comes by itself.
pub(super) fn enable_merging(fd: RawFd) -> bool {
    set_udp_option(fd, libc::UDP_GRO, 1).is_ok()
}

fn set_udp_option(fd: RawFd, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `value` is `length` bytes long and outlives the call, which only reads it.
    let result = unsafe { libc::setsockopt(fd, libc::SOL_UDP, option, (&raw const value).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn empty_header() -> libc::mmsghdr {
    // SAFETY: a header is integers and pointers, for which zero bytes are valid.
    unsafe { std::mem::zeroed() }
}

/// The kernel writes what it used over the lengths that it was offered.
fn reset_lengths(header: &mut libc::mmsghdr) {
    header.msg_hdr.msg_namelen = ADDRESS_LENGTH_MAX as libc::socklen_t;
    header.msg_hdr.msg_controllen = RECEIVE_CONTROL_LENGTH;
    header.msg_hdr.msg_flags = 0;
}

/// Payloads fetched at once. More than a sender that is not ours ever fills.
const PAYLOAD_COUNT: usize = 32;

/// Longest payload that the kernel merges, rounded up.
pub(super) const PAYLOAD_LENGTH_MAX: usize = 64 * 1024;

/// How much more is asked for after a call that was given all it asked for: 1, 4, 16, 32.
const ASK_GROWTH: usize = 4;

const SIDE_LENGTH: usize = CONTROL_OFFSET + RECEIVE_CONTROL_LENGTH;
const CONTROL_OFFSET: usize = ADDRESS_LENGTH_MAX.next_multiple_of(8);
const _: () = assert!(SIDE_LENGTH.is_multiple_of(8), "the kernel's control headers stay aligned");

/// Runs handed to the kernel at once.
const MESSAGE_COUNT: usize = 64;

/// From which length on a run is sent from where it lies.
const DIRECT_LENGTH_MIN: usize = 16 * 1024;

/// How often one flush tries again after an ICMP error; a flood of them must not hold the thread.
const ICMP_ERRORS_MAX: u32 = 8;

#[cfg(test)]
mod tests;
