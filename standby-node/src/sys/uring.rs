//! io_uring: multishot receive into provided buffers.
//!
//! One request stays armed; for every payload that arrives the kernel takes a buffer from a ring of them and
//! posts a completion that names it. While nothing arrives, polling is two loads from shared memory and no
//! system call, which is what this backend is for. See io_uring(7), io_uring_register_buf_ring(3).
//!
//! ```text
//!   a buffer:  0                  16       48                  80
//!             | lengths and flags | sender | control messages  | payload ... |
//! ```
//!
//! Sends go through the same `sendmmsg` as in [`super::mmsg`]. A UDP send finishes within the call that
//! submits it, so a submission would not save the system call, would add a completion to read, and would tell
//! of a full socket only later; one `sendmmsg` with GSO already carries thousands of datagrams.
//!
//! The ring belongs to the thread that first polls it (IORING_SETUP_SINGLE_ISSUER); it is created disabled so
//! that it may be built on another. The kernel writes to buffers only within calls of that thread
//! (IORING_SETUP_DEFER_TASKRUN).

use std::fs;
use std::io;
use std::mem::ManuallyDrop;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use io_uring::types::{BufRingEntry, CancelBuilder, Fd, RecvMsgOut, Timespec};
use io_uring::{IoUring, cqueue, opcode};
use thiserror::Error;

use super::memory::Region;
use super::mmsg::{PAYLOAD_LENGTH_MAX, Sender, Sockets, Trouble, classify, enable_merging};
use super::readiness::Readiness;
use crate::net::address::{ADDRESS_LENGTH_MAX, AddressParser};
use crate::net::control::{RECEIVE_CONTROL_LENGTH, merged_segment_length};
use crate::net::socket::{BufferLengths, NetworkSocket};
use crate::net::split::Splitter;
use crate::net::{DatagramIo, IoCounters, Offload};

/// A socket whose datagrams arrive through io_uring.
#[derive(Debug)]
pub struct UringIo {
    // Before the socket: the request ends before its file is closed.
    receiver: Receiver,
    sender: Sender,
    counters: IoCounters,
    socket: NetworkSocket,
}

/// Why there is no io_uring that suffices.
#[derive(Debug, Error)]
pub enum UringUnavailable {
    /// Switched off for this host.
    #[error(
        "io_uring is not available here: sysctl kernel.io_uring_disabled = {level} switches it off; \
         use network = \"mmsg\""
    )]
    Disabled {
        /// 1: for unprivileged processes; 2: for all.
        level: u8,
    },
    /// The system call is filtered out.
    #[error(
        "io_uring is not available here: a seccomp filter forbids it, as containers do by default; \
         use network = \"mmsg\""
    )]
    Forbidden,
    /// The kernel lacks it, or lacks something that is needed of it.
    #[error(
        "io_uring is not available here: it takes Linux 6.1 with io_uring, this is {release}; \
         use network = \"mmsg\""
    )]
    TooOld {
        /// The kernel's release.
        release: String,
    },
    /// The system refused something else.
    #[error("io_uring is not available here: {action} failed: {source}; use network = \"mmsg\"")]
    System {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Tries the whole way that this backend takes, with a datagram over loopback.
///
/// # Errors
///
/// Why it does not work on this host.
pub fn probe() -> Result<(), UringUnavailable> {
    let system = |action| move |source| UringUnavailable::System { action, source };
    let socket = NetworkSocket::open("probe", "127.0.0.1:0", BufferLengths::default())
        .map_err(|error| system("opening a socket")(io::Error::other(error)))?;
    let to = socket.local_addr();
    let mut io = UringIo::new(socket, Offload::default())?;
    io.send(to, b"probe", 5).and_then(|()| io.flush()).map_err(system("sending to itself"))?;

    let start = Instant::now();
    while start.elapsed() < PROBE_TIMEOUT {
        let received = io.receive(1, |_, _| ()).map_err(|error| unavailable("multishot receive", error))?;
        if received > 0 {
            return Ok(());
        }
        std::thread::yield_now();
    }
    Err(system("multishot receive")(io::ErrorKind::TimedOut.into()))
}

impl UringIo {
    /// Takes over `socket`. The thread that first calls [`receive`](DatagramIo::receive) must stay the one
    /// that does.
    ///
    /// # Errors
    ///
    /// When the host has no io_uring that suffices.
    pub fn new(socket: NetworkSocket, offload: Offload) -> Result<Self, UringUnavailable> {
        if offload.receive {
            let _ = enable_merging(socket.as_raw_fd());
        }
        let receiver = Receiver::new(socket.as_raw_fd(), BUFFER_COUNT)?;
        let sender = Sender::new(&socket, offload);
        Ok(Self { receiver, sender, counters: IoCounters::default(), socket })
    }
}

impl DatagramIo for UringIo {
    fn receive(&mut self, limit: usize, mut on_datagram: impl FnMut(&[u8], SocketAddr)) -> io::Result<usize> {
        let mut delivered = 0;
        while delivered < limit && self.receiver.next_payload(&mut self.counters)? {
            delivered += self.receiver.deliver(limit - delivered, &mut self.counters, &mut on_datagram);
        }
        Ok(delivered)
    }

    fn send(&mut self, to: SocketAddr, bytes: &[u8], segment_length: usize) -> io::Result<()> {
        self.sender.send(
            Sockets::single(self.socket.as_raw_fd()),
            to,
            bytes,
            segment_length,
            &mut self.counters,
        )
    }

    fn flush(&mut self) -> io::Result<usize> {
        self.sender.flush(Sockets::single(self.socket.as_raw_fd()), &mut self.counters)
    }

    fn local_addr(&self) -> SocketAddr {
        self.socket.local_addr()
    }

    fn counters(&self) -> IoCounters {
        self.counters
    }

    /// The ring itself: the socket is read by the request that is armed.
    fn sleep_at(&self, readiness: &mut Readiness) {
        readiness.add(self.receiver.ring.as_raw_fd());
    }
}

/// The armed request, the buffers it fills, and the payload that is being handed over.
struct Receiver {
    ring: IoUring,
    fd: RawFd,
    // Not dropped when the kernel might still write to them.
    memory: ManuallyDrop<Memory>,
    buffer_count: u16,
    /// Buffers given to the kernel so far; wraps as the kernel's own count does.
    tail: u16,
    state: State,
    current: Option<Payload>,
    addresses: AddressParser,
    #[cfg(test)]
    enter_count: u32,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver").field("fd", &self.fd).field("state", &self.state).finish_non_exhaustive()
    }
}

struct Memory {
    buffers: Region,
    /// The ring of free buffers that the kernel takes from.
    entries: Region,
    /// The `msghdr` that the armed request refers to: only how long the name and the control field are.
    template: Region,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Not yet polled.
    Disabled,
    /// The request has ended, or was not made yet.
    Idle,
    Armed,
}

#[derive(Clone, Copy, Debug)]
struct Payload {
    buffer_id: u16,
    length: usize,
    splitter: Splitter,
}

// SAFETY: the struct owns the memory and the ring; the kernel ties them to the thread that first polls, and
// refuses calls from another with an error.
unsafe impl Send for Receiver {}

impl Receiver {
    fn new(fd: RawFd, buffer_count: u16) -> Result<Self, UringUnavailable> {
        assert!(buffer_count.is_power_of_two(), "the kernel counts with a mask");
        let ring = IoUring::builder()
            .dontfork()
            .setup_r_disabled()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            // Every buffer filled, and the end of the request.
            .setup_cqsize(2 * u32::from(buffer_count))
            .build(SUBMISSION_COUNT)
            .map_err(|error| unavailable("io_uring_setup", error))?;
        let memory = Memory {
            buffers: Region::new(usize::from(buffer_count) * BUFFER_LENGTH),
            entries: Region::new(usize::from(buffer_count) * size_of::<BufRingEntry>()),
            template: Region::new(size_of::<libc::msghdr>()),
        };
        let template = template();
        let place: *mut libc::msghdr = memory.template.pointer(0, size_of::<libc::msghdr>()).cast();
        // SAFETY: the place is as long as a msghdr, page-aligned, and nobody else knows it yet.
        unsafe { place.write(template) };

        let mut receiver = Self {
            ring,
            fd,
            memory: ManuallyDrop::new(memory),
            buffer_count,
            tail: 0,
            state: State::Disabled,
            current: None,
            addresses: AddressParser::new(),
            #[cfg(test)]
            enter_count: 0,
        };
        for buffer_id in 0..buffer_count {
            receiver.give_back(buffer_id);
        }
        let entries = receiver.memory.entries.pointer(0, 0).addr() as u64;
        let submitter = receiver.ring.submitter();
        // SAFETY: the block is as long as the entries announced, page-aligned, and lives until `drop` has
        // ended the request, or for ever.
        unsafe { submitter.register_buf_ring_with_flags(entries, buffer_count, BUFFER_GROUP, 0) }
            .map_err(|error| unavailable("registering buffers", error))?;
        Ok(receiver)
    }

    /// Makes `current` the oldest payload that is not yet through; false when none waits.
    fn next_payload(&mut self, counters: &mut IoCounters) -> io::Result<bool> {
        if self.current.is_some() {
            return Ok(true);
        }
        let mut entered = false;
        loop {
            while let Some(completion) = self.next_completion() {
                if self.on_completion(&completion, counters)? {
                    return Ok(true);
                }
            }
            // All buffers are back with the kernel here, so a request that ran out of them can be made anew.
            if self.state != State::Armed && !entered {
                self.arm(counters)?;
            } else if !entered && self.ring.submission().taskrun() {
                self.enter(0)?;
            } else {
                return Ok(false);
            }
            entered = true;
        }
    }

    fn next_completion(&mut self) -> Option<cqueue::Entry> {
        self.ring.completion().next()
    }

    /// Whether the completion brought a payload.
    fn on_completion(&mut self, completion: &cqueue::Entry, counters: &mut IoCounters) -> io::Result<bool> {
        if !cqueue::more(completion.flags()) {
            self.state = State::Idle;
        }
        let Ok(length) = usize::try_from(completion.result()) else {
            return self.on_error(io::Error::from_raw_os_error(-completion.result()), counters);
        };
        let Some(buffer_id) = cqueue::buffer_select(completion.flags()) else { return Ok(false) };
        assert!(buffer_id < self.buffer_count, "the kernel returns what it was given");
        match self.parse(buffer_id, length) {
            Some(payload) => self.current = Some(payload),
            None => {
                counters.datagrams_malformed += 1;
                self.give_back(buffer_id);
            }
        }
        Ok(self.current.is_some())
    }

    /// An error ends the request; it is made anew unless the socket is of no more use.
    fn on_error(&mut self, error: io::Error, counters: &mut IoCounters) -> io::Result<bool> {
        match classify(&error) {
            // ENOBUFS among them: more arrived between two polls than there are buffers.
            Trouble::Busy => {}
            Trouble::Icmp => counters.icmp_errors += 1,
            Trouble::Refused | Trouble::Fatal => return Err(error),
        }
        Ok(false)
    }

    fn parse(&mut self, buffer_id: u16, length: usize) -> Option<Payload> {
        let start = usize::from(buffer_id) * BUFFER_LENGTH;
        // SAFETY: the kernel gave the buffer back with this completion and gets it again only by `give_back`,
        // which cannot run during this borrow.
        let buffer = unsafe { self.memory.buffers.bytes(start, length.min(BUFFER_LENGTH)) };
        let received = RecvMsgOut::parse(buffer, &template()).ok()?;
        if received.is_payload_truncated() {
            return None;
        }
        let from = self.addresses.parse(received.name_data())?;
        let splitter = Splitter::new(from, merged_segment_length(received.control_data()));
        Some(Payload { buffer_id, length: received.payload_data().len(), splitter })
    }

    fn deliver(
        &mut self,
        limit: usize,
        counters: &mut IoCounters,
        on_datagram: &mut impl FnMut(&[u8], SocketAddr),
    ) -> usize {
        let Some(payload) = &mut self.current else { return 0 };
        let start = usize::from(payload.buffer_id) * BUFFER_LENGTH + PAYLOAD_OFFSET;
        // SAFETY: the buffer is ours until `give_back` below, see `parse`.
        let bytes = unsafe { self.memory.buffers.bytes(start, payload.length) };
        let (count, is_done) = payload.splitter.deliver(bytes, limit, counters, on_datagram);
        if is_done {
            let buffer_id = payload.buffer_id;
            self.current = None;
            self.give_back(buffer_id);
        }
        count
    }

    /// Lets the kernel fill a buffer again.
    fn give_back(&mut self, buffer_id: u16) {
        let index = usize::from(self.tail % self.buffer_count);
        let entry_length = size_of::<BufRingEntry>();
        let entry: *mut BufRingEntry = self.memory.entries.pointer(index * entry_length, entry_length).cast();
        let start = usize::from(buffer_id) * BUFFER_LENGTH;
        let buffer = self.memory.buffers.pointer(start, BUFFER_LENGTH);
        // SAFETY: the entry lies within the ring, aligned and zeroed at its start; the kernel reads entries
        // only below the tail, which is raised after this borrow has ended.
        let entry = unsafe { &mut *entry };
        entry.set_addr(buffer.addr() as u64);
        entry.set_len(BUFFER_LENGTH as u32);
        entry.set_bid(buffer_id);
        self.tail = self.tail.wrapping_add(1);

        let first: *const BufRingEntry = self.memory.entries.pointer(0, entry_length).cast();
        // SAFETY: it is the first entry of the ring, initialized, and no reference to it is alive.
        let tail = unsafe { BufRingEntry::tail(first) }.cast_mut();
        // SAFETY: the tail lies within the first entry, aligned for a u16, and lives as long as `self`; other
        // threads, the kernel's, access it only atomically.
        let tail = unsafe { AtomicU16::from_ptr(tail) };
        // Pairs with the kernel's acquiring load: it sees the entry before the tail that covers it.
        tail.store(self.tail, Ordering::Release);
    }

    /// Makes the multishot request.
    fn arm(&mut self, counters: &mut IoCounters) -> io::Result<()> {
        if self.state == State::Disabled {
            self.ring.submitter().register_enable_rings()?;
        } else {
            counters.receive_rearms += 1;
        }
        let template: *const libc::msghdr = self.memory.template.pointer(0, size_of::<libc::msghdr>()).cast();
        let request = opcode::RecvMsgMulti::new(Fd(self.fd), template, BUFFER_GROUP).build();
        // SAFETY: the request refers to the socket, which its owner closes after this ring, to the template
        // and to the buffers, which live until `drop` has ended the request, or for ever.
        let pushed = unsafe { self.ring.submission().push(&request) };
        assert!(pushed.is_ok(), "at most one request is made at a time");
        self.state = State::Armed;
        self.enter(1)
    }

    /// Submits, and lets the kernel do what it has put off: receiving is done in here.
    fn enter(&mut self, submit_count: u32) -> io::Result<()> {
        #[cfg(test)]
        {
            self.enter_count += 1;
        }
        // SAFETY: without an argument the call reads nothing but the ring; what is submitted was checked in
        // `arm`; no slice of a buffer that the kernel owns is alive.
        let result = unsafe { self.ring.submitter().enter::<()>(submit_count, 0, GET_EVENTS, None) };
        match result {
            Ok(_) => Ok(()),
            Err(error) if classify(&error) == Trouble::Busy => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let timeout = Timespec::from(CANCEL_TIMEOUT);
        let is_quiet = self.state == State::Disabled
            || match self.ring.submitter().register_sync_cancel(Some(timeout), CancelBuilder::any()) {
                Ok(()) => true,
                Err(error) => error.kind() == io::ErrorKind::NotFound,
            };
        // On a thread other than the one that polled, the request ends with the ring, at some later time.
        // Then the memory stays for the process's life.
        if is_quiet {
            // SAFETY: not used again: this is `drop`, and the kernel has no request left.
            unsafe { ManuallyDrop::drop(&mut self.memory) };
        }
    }
}

fn template() -> libc::msghdr {
    // SAFETY: a header is integers and pointers, for which zero bytes are valid.
    let mut template: libc::msghdr = unsafe { std::mem::zeroed() };
    template.msg_namelen = NAME_LENGTH as libc::socklen_t;
    template.msg_controllen = RECEIVE_CONTROL_LENGTH;
    template
}

fn unavailable(action: &'static str, source: io::Error) -> UringUnavailable {
    let read = |path| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let level = read("/proc/sys/kernel/io_uring_disabled").parse().unwrap_or(0);
    explain(action, source, level, read("/proc/sys/kernel/osrelease"))
}

fn explain(action: &'static str, source: io::Error, level: u8, release: String) -> UringUnavailable {
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) if level > 0 => UringUnavailable::Disabled { level },
        Some(libc::EPERM | libc::EACCES) => UringUnavailable::Forbidden,
        Some(libc::ENOSYS | libc::EINVAL | libc::EOPNOTSUPP) => UringUnavailable::TooOld { release },
        _ => UringUnavailable::System { action, source },
    }
}

/// Payloads that the kernel may hand over at once before the request has to be made anew. Newer kernels stop
/// at 32 by themselves.
const BUFFER_COUNT: u16 = 64;
const BUFFER_GROUP: u16 = 0;
const BUFFER_LENGTH: usize = (PAYLOAD_OFFSET + PAYLOAD_LENGTH_MAX).next_multiple_of(64);
const PAYLOAD_OFFSET: usize = 16 + NAME_LENGTH + RECEIVE_CONTROL_LENGTH;
const NAME_LENGTH: usize = ADDRESS_LENGTH_MAX.next_multiple_of(8);

/// One request at a time.
const SUBMISSION_COUNT: u32 = 4;

/// IORING_ENTER_GETEVENTS, see io_uring_enter(2).
const GET_EVENTS: u32 = 1;

const CANCEL_TIMEOUT: Duration = Duration::from_secs(1);
const PROBE_TIMEOUT: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests;
