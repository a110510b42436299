//! A UDP relay: what arrives at its address goes to a target, and what the target answers comes back from that
//! same address. Aeron connects a sender's socket to the endpoint, so an answer from elsewhere would be lost.
//!
//! ```text
//!   source A ──► listening address ──► socket of A ──► target
//!   source B ──►        │         ──► socket of B ──►   │
//!            ◄───────── ┘ ◄──────────────────────────── ┘
//! ```
//! One thread reads each socket and one more delivers what is due, so delays hold nobody up.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::faults::{Faults, Random, split_message_end};

const READ_TIMEOUT: Duration = Duration::from_millis(20);
const DATAGRAM_LENGTH_MAX: usize = 65_536;
const NO_STREAM: i64 = i64::MIN;

/// Which way a datagram goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Direction {
    ToTarget,
    FromTarget,
}

/// A running relay. Dropping it closes its sockets.
pub(crate) struct Relay {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Relay {
    /// Listens at 127.0.0.1:`port` (0 for any) for the target.
    ///
    /// # Panics
    /// If the port cannot be bound.
    pub(crate) fn start(port: u16, target: SocketAddr, seed: u64) -> Self {
        let listener = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).expect("the relay's port");
        listener.set_read_timeout(Some(READ_TIMEOUT)).expect("a read timeout");
        let shared = Arc::new(Shared {
            listener,
            target: Mutex::new(target),
            links: Mutex::default(),
            faults: Mutex::new([Faults::default(); 2]),
            random: Mutex::new(Random::new(seed)),
            queue: Mutex::default(),
            queued: Condvar::new(),
            is_closed: AtomicBool::new(false),
            is_cut: [AtomicBool::new(false), AtomicBool::new(false)],
            split_stream: AtomicI64::new(NO_STREAM),
            passed: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        });
        let (reading, delivering) = (Arc::clone(&shared), Arc::clone(&shared));
        let threads = vec![
            thread::spawn(move || Shared::read_sources(&reading)),
            thread::spawn(move || delivering.deliver_when_due()),
        ];
        Self { shared, threads }
    }

    /// As [`Self::start`], with a target `host:port` to be resolved, on any port.
    pub(crate) fn to(target: &str, seed: u64) -> Self {
        use std::net::ToSocketAddrs;
        let mut addresses = target.to_socket_addrs().expect("the relay's target resolves");
        let target = addresses.find(SocketAddr::is_ipv4).expect("the relay's target has an IPv4 address");
        Self::start(0, target, seed)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.shared.listener.local_addr().expect("a bound socket has an address")
    }

    /// `127.0.0.1:port`.
    pub(crate) fn endpoint(&self) -> String {
        self.address().to_string()
    }

    /// Sends what comes from now on to another target, with fresh sockets for every source.
    pub(crate) fn set_target(&self, target: SocketAddr) {
        *self.shared.target.lock().expect("target lock") = target;
        self.shared.links.lock().expect("links lock").clear();
    }

    pub(crate) fn set_faults(&self, direction: Direction, faults: Faults) {
        self.shared.faults.lock().expect("faults lock")[direction as usize] = faults;
    }

    /// Drops everything both ways, or ends that.
    pub(crate) fn set_partition(&self, is_cut: bool) {
        self.set_cut(Direction::ToTarget, is_cut);
        self.set_cut(Direction::FromTarget, is_cut);
    }

    /// Drops everything one way, or ends that.
    pub(crate) fn set_cut(&self, direction: Direction, is_cut: bool) {
        self.shared.is_cut[direction as usize].store(is_cut, Ordering::SeqCst);
    }

    /// From now on passes everything up to and including the first DATA frame of the stream that begins a message
    /// without ending it, either way, and then nothing at all: see [`Self::is_cut`].
    pub(crate) fn cut_inside_message(&self, stream_id: i32) {
        self.shared.split_stream.store(i64::from(stream_id), Ordering::SeqCst);
    }

    /// Whether both ways are cut.
    pub(crate) fn is_cut(&self) -> bool {
        self.shared.is_cut.iter().all(|cut| cut.load(Ordering::SeqCst))
    }

    /// Datagrams handed on, copies included.
    pub(crate) fn passed(&self) -> u64 {
        self.shared.passed.load(Ordering::Relaxed)
    }

    /// Datagrams lost by chance or by a cut.
    pub(crate) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.is_closed.store(true, Ordering::SeqCst);
        self.shared.queued.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

struct Shared {
    listener: UdpSocket,
    target: Mutex<SocketAddr>,
    /// The socket that stands for each source towards the target.
    links: Mutex<HashMap<SocketAddr, Arc<UdpSocket>>>,
    faults: Mutex<[Faults; 2]>,
    random: Mutex<Random>,
    queue: Mutex<Queue>,
    queued: Condvar,
    is_closed: AtomicBool,
    is_cut: [AtomicBool; 2],
    split_stream: AtomicI64,
    passed: AtomicU64,
    dropped: AtomicU64,
}

impl Shared {
    fn read_sources(self: &Arc<Self>) {
        let mut buffer = vec![0; DATAGRAM_LENGTH_MAX];
        while !self.is_closed() {
            // Errors are timeouts, or an unreachable peer told by ICMP; the next datagram may do better.
            let Ok((length, source)) = self.listener.recv_from(&mut buffer) else { continue };
            let link = self.link(source);
            let target = *self.target.lock().expect("target lock");
            self.relay(&buffer[..length], Direction::ToTarget, &link, target);
        }
    }

    /// The source's socket; a new one gets a thread that carries the answers back.
    fn link(self: &Arc<Self>, source: SocketAddr) -> Arc<UdpSocket> {
        let mut links = self.links.lock().expect("links lock");
        let link = links.entry(source).or_insert_with(|| {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port for a relayed source");
            socket.set_read_timeout(Some(READ_TIMEOUT)).expect("a read timeout");
            let socket = Arc::new(socket);
            let (shared, answers) = (Arc::clone(self), Arc::clone(&socket));
            thread::spawn(move || shared.read_answers(&answers, source));
            socket
        });
        Arc::clone(link)
    }

    fn read_answers(&self, link: &Arc<UdpSocket>, source: SocketAddr) {
        let mut buffer = vec![0; DATAGRAM_LENGTH_MAX];
        while !self.is_closed() && self.is_current(link, source) {
            let Ok((length, _)) = link.recv_from(&mut buffer) else { continue };
            self.relay(&buffer[..length], Direction::FromTarget, link, source);
        }
    }

    fn is_current(&self, link: &Arc<UdpSocket>, source: SocketAddr) -> bool {
        let links = self.links.lock().expect("links lock");
        links.get(&source).is_some_and(|current| Arc::ptr_eq(current, link))
    }

    fn relay(&self, datagram: &[u8], direction: Direction, link: &Arc<UdpSocket>, to: SocketAddr) {
        if self.is_cut[direction as usize].load(Ordering::SeqCst) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut datagram = datagram;
        let stream = self.split_stream.load(Ordering::SeqCst);
        if let Some(end) = i32::try_from(stream).ok().and_then(|stream| split_message_end(datagram, stream)) {
            // Two threads may find such a frame at once: only one of them is the last to pass.
            if self
                .split_stream
                .compare_exchange(stream, NO_STREAM, Ordering::SeqCst, Ordering::SeqCst)
                .is_err()
            {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                return;
            }
            datagram = &datagram[..end];
            self.is_cut.iter().for_each(|cut| cut.store(true, Ordering::SeqCst));
        }
        let faults = self.faults.lock().expect("faults lock")[direction as usize];
        let delays: Vec<_> = faults.draw(&mut self.random.lock().expect("random lock")).collect();
        if delays.is_empty() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        for delay in delays {
            if delay.is_zero() {
                self.send(datagram, direction, link, to);
            } else {
                let due = Instant::now() + delay;
                let datagram = datagram.to_vec();
                let mut queue = self.queue.lock().expect("queue lock");
                queue.push(Delayed { due, datagram, direction, link: Arc::clone(link), to });
                self.queued.notify_one();
            }
        }
    }

    fn deliver_when_due(&self) {
        let mut queue = self.queue.lock().expect("queue lock");
        while !self.is_closed() {
            let now = Instant::now();
            let wait = match queue.next_due() {
                Some(due) if due <= now => {
                    let delayed = queue.pop();
                    // A cut also swallows what was on its way.
                    if self.is_cut[delayed.direction as usize].load(Ordering::SeqCst) {
                        self.dropped.fetch_add(1, Ordering::Relaxed);
                    } else {
                        self.send(&delayed.datagram, delayed.direction, &delayed.link, delayed.to);
                    }
                    continue;
                }
                Some(due) => due - now,
                None => READ_TIMEOUT,
            };
            queue = self.queued.wait_timeout(queue, wait).expect("queue lock").0;
        }
    }

    fn send(&self, datagram: &[u8], direction: Direction, link: &UdpSocket, to: SocketAddr) {
        let socket = match direction {
            Direction::ToTarget => link,
            Direction::FromTarget => &self.listener,
        };
        // A datagram that cannot be sent is lost, as on any network.
        if socket.send_to(datagram, to).is_ok() {
            self.passed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }
}

struct Delayed {
    due: Instant,
    datagram: Vec<u8>,
    direction: Direction,
    link: Arc<UdpSocket>,
    to: SocketAddr,
}

/// Delayed datagrams by due time; equal times keep their order.
#[derive(Default)]
struct Queue {
    due: BinaryHeap<Reverse<(Instant, u64)>>,
    datagrams: HashMap<u64, Delayed>,
    next: u64,
}

impl Queue {
    fn push(&mut self, delayed: Delayed) {
        self.due.push(Reverse((delayed.due, self.next)));
        self.datagrams.insert(self.next, delayed);
        self.next += 1;
    }

    fn next_due(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse((due, _))| *due)
    }

    fn pop(&mut self) -> Delayed {
        let Reverse((_, number)) = self.due.pop().expect("asked for the next due before");
        self.datagrams.remove(&number).expect("each number is in both")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Pair {
        source: UdpSocket,
        target: UdpSocket,
        relay: Relay,
    }

    fn pair() -> Pair {
        let target = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let source = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let relay = Relay::start(0, target.local_addr().unwrap(), 1);
        // As Aeron does: an answer from any other address would not be received.
        source.connect(relay.address()).unwrap();
        for socket in [&source, &target] {
            socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        }
        Pair { source, target, relay }
    }

    impl Pair {
        fn target_receives(&self) -> Option<(Vec<u8>, SocketAddr)> {
            let mut buffer = [0; 2048];
            let (length, from) = self.target.recv_from(&mut buffer).ok()?;
            Some((buffer[..length].to_vec(), from))
        }
    }

    #[test]
    fn answers_come_back_from_the_listening_address() {
        let pair = pair();
        pair.source.send(b"there").unwrap();
        let (received, from) = pair.target_receives().unwrap();
        assert_eq!(received, b"there");

        pair.target.send_to(b"and back", from).unwrap();
        let mut buffer = [0; 64];
        let length = pair.source.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"and back");
    }

    #[test]
    fn nothing_passes_a_partition_until_it_heals() {
        let pair = pair();
        pair.relay.set_partition(true);
        pair.source.send(b"lost").unwrap();
        assert_eq!(pair.target_receives(), None);
        assert_eq!(pair.relay.dropped(), 1);

        pair.relay.set_partition(false);
        pair.source.send(b"kept").unwrap();
        assert_eq!(pair.target_receives().unwrap().0, b"kept");
    }

    #[test]
    fn a_cut_inside_a_message_passes_its_first_fragment_and_then_nothing() {
        let pair = pair();
        pair.relay.cut_inside_message(100);
        let mut fragment = [0_u8; 64];
        fragment[0..4].copy_from_slice(&64_i32.to_le_bytes());
        fragment[6] = 1;
        fragment[16] = 100;
        for flags in [0xC0, 0x80, 0x40] {
            fragment[5] = flags;
            pair.source.send(&fragment).unwrap();
        }
        assert_eq!(pair.target_receives().unwrap().0[5], 0xC0);
        assert_eq!(pair.target_receives().unwrap().0[5], 0x80);
        assert_eq!(pair.target_receives(), None);
        assert!(pair.relay.is_cut());
    }

    #[test]
    fn loss_and_duplication_happen_at_their_rates() {
        let pair = pair();
        let faults =
            Faults { loss: 0.5, duplication: 0.5, delay: Duration::from_millis(1), ..Faults::default() };
        pair.relay.set_faults(Direction::ToTarget, faults);
        for _ in 0..200 {
            pair.source.send(b"datagram").unwrap();
        }
        let received = std::iter::from_fn(|| pair.target_receives()).count();
        assert!((100..200).contains(&received), "{received} of 200 at half lost, half of the rest twice");
    }
}
