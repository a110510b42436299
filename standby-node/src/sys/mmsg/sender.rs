//! `sendmmsg`: the runs of a queue, from one socket or two.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};

use super::{Trouble, classify, empty_header, set_udp_option};
use crate::net::address::RawAddress;
use crate::net::control::{SEGMENT_CONTROL_LENGTH, segment_control};
use crate::net::send_queue::{self, Message, SendQueue};
use crate::net::socket::NetworkSocket;
use crate::net::{DATAGRAM_LENGTH_MAX, IoCounters, Offload, RUN_LENGTH_MAX};

/// Where datagrams leave from.
#[derive(Clone, Copy, Debug)]
pub(in crate::sys) struct Sockets {
    /// For every peer.
    pub(in crate::sys) own: RawFd,
    /// Connected to the peer named.
    pub(in crate::sys) favourite: Option<(SocketAddr, RawFd)>,
}

impl Sockets {
    /// One for every peer.
    pub(in crate::sys) fn single(fd: RawFd) -> Self {
        Self { own: fd, favourite: None }
    }
}

/// Sends what a socket's queue holds; shared by both backends.
#[derive(Debug)]
pub(in crate::sys) struct Sender {
    queue: SendQueue,
    messages: Vec<Message>,
    headers: Vec<libc::mmsghdr>,
    vectors: Vec<libc::iovec>,
    controls: Vec<Control>,
    /// Longest segments that the kernel has not refused to cut into; 0 when it cuts none.
    pub(super) segment_length_max: usize,
    /// What `segment_length_max` was before the last run was refused. Not until a part of that run goes out
    /// by itself is it known that the cutting was at fault, not the destination.
    segment_length_max_before: Option<usize>,
    is_ipv4: bool,
    last_address: (SocketAddr, RawAddress),
    sent_since_flush: usize,
    /// Errors that the next calls meet in place of the kernel's answer.
    #[cfg(test)]
    pub(super) injected_errors: std::collections::VecDeque<i32>,
}

/// As aligned as the kernel's own view of a control buffer.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
struct Control([u8; SEGMENT_CONTROL_LENGTH]);

// SAFETY: the pointers in `headers` and `vectors` are written right before the one system call that reads
// them and mean nothing afterwards.
unsafe impl Send for Sender {}

impl Sender {
    pub(in crate::sys) fn new(socket: &NetworkSocket, offload: Offload) -> Self {
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
    pub(in crate::sys) fn send(
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
    pub(in crate::sys) fn flush(&mut self, sockets: Sockets, counters: &mut IoCounters) -> io::Result<usize> {
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

/// Runs handed to the kernel at once.
const MESSAGE_COUNT: usize = 64;

/// From which length on a run is sent from where it lies.
pub(super) const DIRECT_LENGTH_MIN: usize = 16 * 1024;

/// How often one flush tries again after an ICMP error; a flood of them must not hold the thread.
const ICMP_ERRORS_MAX: u32 = 8;
