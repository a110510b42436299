use super::{Cores, ROUND_TRIP_MESSAGE_LENGTH, RUN_LIMIT_NS, RoundTripPlan, RoundTrips};
use crate::error::BenchError;
use crate::report::Measured;
use standby_node::sys::affinity::pin_current_thread;
use standby_node::sys::clock::monotonic_ns;
use std::io::{self, ErrorKind};
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Ping-pong between two plain sockets that spin on `recv`: no frame, no window, nothing checked but the round's
/// number. The sockets are connected, which spares the kernel the route of every datagram; `recvmmsg` would only
/// add to the cost of a single one.
pub(super) fn run(cores: Cores, plan: RoundTripPlan) -> Result<Measured, BenchError> {
    let [ping, pong] = connected_pair().map_err(BenchError::io("open a pair of UDP sockets"))?;
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

fn connected_pair() -> io::Result<[UdpSocket; 2]> {
    let open = || {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_nonblocking(true)?;
        io::Result::Ok(socket)
    };
    let pair = [open()?, open()?];
    pair[0].connect(pair[1].local_addr()?)?;
    pair[1].connect(pair[0].local_addr()?)?;
    Ok(pair)
}

fn echo(socket: &UdpSocket, is_done: &AtomicBool) -> io::Result<()> {
    let mut message = [0; ROUND_TRIP_MESSAGE_LENGTH];
    while !is_done.load(Ordering::Relaxed) {
        match socket.recv(&mut message) {
            Ok(length) => {
                socket.send(&message[..length])?;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn measure(socket: &UdpSocket, plan: RoundTripPlan) -> Result<Measured, BenchError> {
    let limit_ns = monotonic_ns() + RUN_LIMIT_NS;
    let mut round_trips = RoundTrips::new(plan);
    let mut message = [0; ROUND_TRIP_MESSAGE_LENGTH];
    let mut echoed = [0; ROUND_TRIP_MESSAGE_LENGTH];
    for round in 0..plan.warm_up_count + plan.count {
        message[..8].copy_from_slice(&round.to_le_bytes());
        let start_ns = monotonic_ns();
        socket.send(&message).map_err(BenchError::io("send over UDP"))?;
        let mut poll_count = 0_u64;
        loop {
            match socket.recv(&mut echoed) {
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
