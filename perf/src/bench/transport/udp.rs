use super::{Cores, ROUND_TRIP_MESSAGE_LENGTH, RUN_LIMIT_NS, RoundTripPlan, RoundTrips};
use crate::error::BenchError;
use crate::report::Measured;
use standby_node::sys::affinity::pin_current_thread;
use standby_node::sys::clock::monotonic_ns;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Whether the sockets are bound to each other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Pairing {
    /// Each hears from anybody and names the receiver of every datagram, as a node's socket must.
    Open,
    /// Each knows only the other, which spares the kernel the route and the check of every datagram. No socket
    /// with more than one peer can have this.
    Connected,
}

/// Ping-pong between two plain sockets that spin on one datagram at a time: no frame, no window, nothing checked
/// but the echo. `recvmmsg` and `sendmmsg` would be slower here than `recvfrom` and `sendto`.
pub(super) fn run(cores: Cores, plan: RoundTripPlan, pairing: Pairing) -> Result<Measured, BenchError> {
    let [ping, pong] = Wire::pair(pairing).map_err(BenchError::io("open a pair of UDP sockets"))?;
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        let pong = scope.spawn(|| {
            pin_current_thread(cores.second).map_err(BenchError::run)?;
            echo(&pong, &is_done).map_err(BenchError::io("echo over UDP"))
        });
        let ping = scope.spawn(|| {
            pin_current_thread(cores.first).map_err(BenchError::run)?;
            measure(&ping, plan)
        });
        let measured = ping.join().expect("the ping thread does not panic");
        is_done.store(true, Ordering::Relaxed);
        pong.join().expect("the pong thread does not panic")?;
        measured
    })
}

/// A socket and the one that it talks to.
struct Wire {
    socket: UdpSocket,
    peer: SocketAddr,
    pairing: Pairing,
}

impl Wire {
    fn pair(pairing: Pairing) -> io::Result<[Self; 2]> {
        let open = || {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.set_nonblocking(true)?;
            io::Result::Ok(socket)
        };
        let (ping, pong) = (open()?, open()?);
        let (ping_address, pong_address) = (ping.local_addr()?, pong.local_addr()?);
        if pairing == Pairing::Connected {
            ping.connect(pong_address)?;
            pong.connect(ping_address)?;
        }
        Ok([
            Self { socket: ping, peer: pong_address, pairing },
            Self { socket: pong, peer: ping_address, pairing },
        ])
    }

    #[inline]
    fn send(&self, message: &[u8]) -> io::Result<usize> {
        match self.pairing {
            Pairing::Open => self.socket.send_to(message, self.peer),
            Pairing::Connected => self.socket.send(message),
        }
    }

    #[inline]
    fn receive(&self, message: &mut [u8]) -> io::Result<usize> {
        match self.pairing {
            Pairing::Open => self.socket.recv_from(message).map(|(length, _)| length),
            Pairing::Connected => self.socket.recv(message),
        }
    }
}

fn echo(wire: &Wire, is_done: &AtomicBool) -> io::Result<()> {
    let mut message = [0; ROUND_TRIP_MESSAGE_LENGTH];
    while !is_done.load(Ordering::Relaxed) {
        match wire.receive(&mut message) {
            Ok(length) => {
                wire.send(&message[..length])?;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn measure(wire: &Wire, plan: RoundTripPlan) -> Result<Measured, BenchError> {
    let limit_ns = monotonic_ns() + RUN_LIMIT_NS;
    let mut round_trips = RoundTrips::new(plan);
    let mut message = [0; ROUND_TRIP_MESSAGE_LENGTH];
    let mut echoed = [0; ROUND_TRIP_MESSAGE_LENGTH];
    for round in 0..plan.warm_up_count + plan.count {
        message[..8].copy_from_slice(&round.to_le_bytes());
        let start_ns = monotonic_ns();
        wire.send(&message).map_err(BenchError::io("send over UDP"))?;
        let mut poll_count = 0_u64;
        loop {
            match wire.receive(&mut echoed) {
                Ok(_) if echoed == message => break,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(BenchError::io("receive over UDP")(error)),
            }
            poll_count += 1;
            if poll_count.is_multiple_of(POLLS_PER_LIMIT_CHECK) && monotonic_ns() > limit_ns {
                return Err(BenchError::Run(format!("rtt over UDP: round {round} did not come back")));
            }
        }
        round_trips.record(round, monotonic_ns() - start_ns);
    }
    Ok(round_trips.measured())
}

const POLLS_PER_LIMIT_CHECK: u64 = 1 << 16;
