//! What the network backends cost over loopback: round trips of small datagrams, and a stream of full ones.
//!
//! ```text
//! cargo run --release -p standby-node --example net_pingpong -- --help
//! ```
//!
//! Both ends spin on a core of their own, in one process. The stream is held to a window by a counter in
//! memory, so nothing is lost and nothing but the sockets is measured; every datagram is checked for order.

use std::error::Error;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use clap::Parser;
use hdrhistogram::Histogram;
use standby_node::net::backend::{NetworkBackend, NetworkIo};
use standby_node::net::socket::{BufferLengths, NetworkSocket};
use standby_node::net::{DatagramIo, IoCounters, Offload};
use standby_node::sys::readiness::Readiness;
use standby_node::sys::{affinity, clock};

#[derive(Clone, Debug, Parser)]
struct Arguments {
    /// mmsg, io_uring, or both when not given.
    #[arg(long)]
    backend: Option<NetworkBackend>,
    /// Bytes of a datagram that goes to and fro.
    #[arg(long, default_value_t = 96)]
    ping_length: usize,
    /// Round trips that are measured.
    #[arg(long, default_value_t = 300_000)]
    rounds: u64,
    /// Bytes of a datagram of the stream.
    #[arg(long, default_value_t = 1408)]
    stream_length: usize,
    /// Bytes of the stream, in MiB.
    #[arg(long, default_value_t = 4096)]
    stream_mib: u64,
    /// Bytes on the way at most, in KiB.
    #[arg(long, default_value_t = 512)]
    window_kib: u64,
    /// Cores of the two ends.
    #[arg(long, value_delimiter = ',', default_value = "0,1")]
    cores: Vec<usize>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    ping_pong(&arguments, "sendto, recvfrom", Bare::open()?, Bare::open()?)?;
    let backends = arguments.backend.map_or(NetworkBackend::ALL.to_vec(), |backend| vec![backend]);
    for backend in backends {
        if let Err(error) = backend.probe() {
            println!("{error}");
            continue;
        }
        let (near, far) = (open(backend, Offload::default())?, open(backend, Offload::default())?);
        ping_pong(&arguments, &backend.to_string(), near, far)?;
        for (send, receive) in [(false, false), (true, false), (true, true)] {
            stream(&arguments, backend, Offload { send, receive })?;
        }
    }
    Ok(())
}

fn open(backend: NetworkBackend, offload: Offload) -> Result<NetworkIo, Box<dyn Error>> {
    let buffers = BufferLengths { receive: Some(4 << 20), send: Some(4 << 20) };
    let socket = NetworkSocket::open("endpoint", "127.0.0.1:0", buffers)?;
    for shortfall in socket.shortfalls() {
        println!("{shortfall}");
    }
    Ok(backend.open(socket, offload)?)
}

fn ping_pong(
    arguments: &Arguments,
    name: &str,
    mut near: impl DatagramIo + Send,
    mut far: impl DatagramIo + Send,
) -> Result<(), Box<dyn Error>> {
    let (to, stop) = (far.local_addr(), &AtomicBool::new(false));
    let mut histogram = Histogram::<u64>::new_with_max(60_000_000_000, 3)?;

    thread::scope(|scope| {
        scope.spawn(move || {
            affinity::pin_current_thread(arguments.cores[1]).expect("the far end's core");
            echo(&mut far, arguments.ping_length, stop);
        });
        let near = scope.spawn(move || {
            affinity::pin_current_thread(arguments.cores[0]).expect("the near end's core");
            let ping = vec![7; arguments.ping_length];
            for round in 0..arguments.rounds + WARM_UP_ROUNDS {
                let start_ns = clock::monotonic_ns();
                near.send(to, &ping, ping.len()).expect("a ping is sent");
                near.flush().expect("a ping is flushed");
                while near.receive(1, |_, _| ()).expect("a pong is received") == 0 {}
                if round >= WARM_UP_ROUNDS {
                    histogram.saturating_record(clock::monotonic_ns() - start_ns);
                }
            }
            stop.store(true, Ordering::Relaxed);
            histogram
        });
        let histogram = near.join().expect("the near end ends");
        let micros = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        println!(
            "{name}: round trip of {} B: p50 {:.2} us, p90 {:.2}, p99 {:.2}, p99.9 {:.2}, max {:.0}",
            arguments.ping_length,
            micros(0.5),
            micros(0.9),
            micros(0.99),
            micros(0.999),
            micros(1.0)
        );
    });
    Ok(())
}

fn echo(io: &mut impl DatagramIo, length: usize, stop: &AtomicBool) {
    let mut pong = vec![0; length];
    while !stop.load(Ordering::Relaxed) {
        let mut to: Option<SocketAddr> = None;
        let received = io.receive(1, |bytes, from| {
            pong.copy_from_slice(bytes);
            to = Some(from);
        });
        received.expect("a ping is received");
        if let Some(to) = to {
            io.send(to, &pong, pong.len()).expect("a pong is sent");
            io.flush().expect("a pong is flushed");
        }
    }
}

fn stream(arguments: &Arguments, backend: NetworkBackend, offload: Offload) -> Result<(), Box<dyn Error>> {
    let (mut sender, mut receiver) = (open(backend, offload)?, open(backend, offload)?);
    let length = arguments.stream_length;
    let count = (arguments.stream_mib << 20) / length as u64;
    let window = ((arguments.window_kib << 10) / length as u64).max(1);
    let received = &AtomicU64::new(0);
    let to = receiver.local_addr();

    let start_ns = clock::monotonic_ns();
    let (send_calls, receive_calls) = thread::scope(|scope| {
        let sending = scope.spawn(move || {
            affinity::pin_current_thread(arguments.cores[0]).expect("the sender's core");
            send_stream(&mut sender, to, length, count, window, received)
        });
        let receiving = scope.spawn(move || {
            affinity::pin_current_thread(arguments.cores[1]).expect("the receiver's core");
            receive_stream(&mut receiver, count, received)
        });
        (sending.join().expect("the sender ends"), receiving.join().expect("the receiver ends"))
    });
    let seconds = (clock::monotonic_ns() - start_ns) as f64 / 1e9;
    println!(
        "{backend}: stream of {length} B, GSO {}, GRO {}: {:.0} MB/s, {:.0} k datagrams/s; {:.1} datagrams a \
         flush, {:.1} a receive",
        on_off(offload.send),
        on_off(offload.receive),
        (count * length as u64) as f64 / 1e6 / seconds,
        count as f64 / 1e3 / seconds,
        count as f64 / send_calls as f64,
        count as f64 / receive_calls as f64,
    );
    Ok(())
}

/// Sends runs as long as the window allows; returns how many.
fn send_stream(
    io: &mut NetworkIo,
    to: SocketAddr,
    length: usize,
    count: u64,
    window: u64,
    received: &AtomicU64,
) -> u64 {
    let per_run = (65_507 / length).min(64) as u64;
    let mut run = vec![1; per_run as usize * length];
    let (mut sent, mut calls) = (0, 0);
    while sent < count {
        let datagram_count = per_run.min(count - sent);
        if sent + datagram_count - received.load(Ordering::Acquire) > window {
            std::hint::spin_loop();
            continue;
        }
        for (number, datagram) in (sent..).zip(run.chunks_mut(length)) {
            datagram[..8].copy_from_slice(&number.to_ne_bytes());
        }
        io.send(to, &run[..datagram_count as usize * length], length).expect("a run is sent");
        io.flush().expect("a run is flushed");
        sent += datagram_count;
        calls += 1;
    }
    calls
}

/// Receives until all are there; returns how many calls brought something.
fn receive_stream(io: &mut NetworkIo, count: u64, received: &AtomicU64) -> u64 {
    let (mut next, mut calls) = (0_u64, 0);
    while next < count {
        let work = io.receive(256, |bytes, _| {
            let number = bytes[..8].try_into().expect("a number is 8 bytes");
            assert_eq!(u64::from_ne_bytes(number), next, "lost or out of order");
            next += 1;
        });
        calls += u64::from(work.expect("a stream is received") > 0);
        received.store(next, Ordering::Release);
    }
    calls
}

/// The measure for round trips: one system call a datagram, and nothing around it.
struct Bare {
    socket: UdpSocket,
    local_addr: SocketAddr,
    buffer: [u8; 2048],
}

impl Bare {
    fn open() -> io::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_nonblocking(true)?;
        Ok(Self { local_addr: socket.local_addr()?, socket, buffer: [0; 2048] })
    }
}

impl DatagramIo for Bare {
    fn receive(
        &mut self,
        _limit: usize,
        mut on_datagram: impl FnMut(&[u8], SocketAddr),
    ) -> io::Result<usize> {
        match self.socket.recv_from(&mut self.buffer) {
            Ok((length, from)) => {
                on_datagram(&self.buffer[..length], from);
                Ok(1)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn send(&mut self, to: SocketAddr, bytes: &[u8], _segment_length: usize) -> io::Result<()> {
        self.socket.send_to(bytes, to).map(|_| ())
    }

    fn flush(&mut self) -> io::Result<usize> {
        Ok(0)
    }

    fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    fn counters(&self) -> IoCounters {
        IoCounters::default()
    }

    fn sleep_at(&self, readiness: &mut Readiness) {
        readiness.add(self.socket.as_raw_fd());
    }
}

fn on_off(is_on: bool) -> &'static str {
    if is_on { "on" } else { "off" }
}

const WARM_UP_ROUNDS: u64 = 20_000;
