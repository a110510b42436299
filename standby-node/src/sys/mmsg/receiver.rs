//! `recvmmsg`: payloads of a socket, split into their datagrams.

use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;

use super::{Trouble, classify, empty_header, enable_merging};
use crate::net::IoCounters;
use crate::net::address::{ADDRESS_LENGTH_MAX, AddressParser};
use crate::net::control::{RECEIVE_CONTROL_LENGTH, merged_segment_length};
use crate::net::split::Splitter;
use crate::sys::memory::Region;

/// Payloads of one `recvmmsg` and how far they were handed over.
#[derive(Debug)]
pub(super) struct Receiver {
    payloads: Region,
    /// Per payload the sender's address, then the control messages.
    sides: Region,
    pub(super) headers: Vec<libc::mmsghdr>,
    /// Where the payloads lie; read by the kernel through `headers` too.
    vectors: Vec<libc::iovec>,
    /// How many payloads the next call asks for. A call that is given all it asked for returns at once; one that
    /// asked for more first looks again in vain, which a single datagram on its way to an answer must not pay for.
    asked: usize,
    pub(super) merging: Merging,
    received: usize,
    current: usize,
    splitter: Option<Splitter>,
    addresses: AddressParser,
}

/// Whether the kernel may merge what is received.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Merging {
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
    pub(super) fn new(merging: Merging) -> Self {
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
    pub(super) fn receive(
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
    pub(super) fn last_peer(&self) -> Option<SocketAddr> {
        self.addresses.last()
    }

    /// Asks the kernel for up to `room` payloads and returns how many it had. Only called when all earlier
    /// ones are through.
    pub(super) fn fill(&mut self, fd: RawFd, room: usize, counters: &mut IoCounters) -> io::Result<usize> {
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
    pub(super) fn merge_as(&mut self, other: &Self, fd: RawFd) {
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

/// The kernel writes what it used over the lengths that it was offered.
fn reset_lengths(header: &mut libc::mmsghdr) {
    header.msg_hdr.msg_namelen = ADDRESS_LENGTH_MAX as libc::socklen_t;
    header.msg_hdr.msg_controllen = RECEIVE_CONTROL_LENGTH;
    header.msg_hdr.msg_flags = 0;
}

/// Payloads fetched at once. More than a sender that is not ours ever fills.
const PAYLOAD_COUNT: usize = 32;

/// Longest payload that the kernel merges, rounded up.
pub(in crate::sys) const PAYLOAD_LENGTH_MAX: usize = 64 * 1024;

/// How much more is asked for after a call that was given all it asked for: 1, 4, 16, 32.
const ASK_GROWTH: usize = 4;

const SIDE_LENGTH: usize = CONTROL_OFFSET + RECEIVE_CONTROL_LENGTH;
const CONTROL_OFFSET: usize = ADDRESS_LENGTH_MAX.next_multiple_of(8);
const _: () = assert!(SIDE_LENGTH.is_multiple_of(8), "the kernel's control headers stay aligned");
