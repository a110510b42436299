use super::{
    Cores, MTU, ONE_WAY_MESSAGE_LENGTH, OneWayPlan, ROUND_TRIP_MESSAGE_LENGTH, RoundTripPlan, RoundTrips,
    SOCKET_BUFFER_LENGTH, megabytes_per_second,
};
use crate::error::BenchError;
use crate::java::JavaPeer;
use crate::report::Measured;
use std::fs;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

/// The same runs through Java Aeron: two threads, each with its own media driver, invoked inline.
#[derive(Debug)]
pub(super) struct JavaAeron {
    peer: JavaPeer,
    round_trips_path: PathBuf,
    /// Holds the drivers' directories; removed at the end.
    _directory: TempDir,
}

impl JavaAeron {
    pub(super) fn start(cores: Cores) -> Result<Self, BenchError> {
        // Where Aeron itself keeps its files by default: memory, not a disk.
        let shared_memory = PathBuf::from("/dev/shm");
        let parent = if shared_memory.is_dir() { shared_memory } else { std::env::temp_dir() };
        let directory = TempDir::with_prefix_in("perf-transport-", parent)
            .map_err(BenchError::io("make a directory for the drivers"))?;
        let path = directory.path().display().to_string();
        let numbers = [
            cores.first,
            cores.second,
            free_port()?,
            MTU as usize,
            TERM_LENGTH,
            WINDOW_LENGTH,
            SOCKET_BUFFER_LENGTH,
        ];
        let arguments: Vec<String> =
            [path].into_iter().chain(numbers.map(|number| number.to_string())).collect();
        let peer = JavaPeer::start("aeron-java", "io.standby.perf.TransportPeer", &arguments)?;
        Ok(Self { peer, round_trips_path: directory.path().join("round-trips"), _directory: directory })
    }

    /// Has everything compiled before the first pair.
    pub(super) fn warm_up(&mut self, is_quick: bool) -> Result<(), BenchError> {
        let (count, millis) = if is_quick { (100_000, 1_500) } else { (400_000, 5_000) };
        self.round_trips(RoundTripPlan { warm_up_count: count, count: 1 })?;
        self.one_way(OneWayPlan::of_millis(millis, 1))?;
        Ok(())
    }

    pub(super) fn round_trips(&mut self, plan: RoundTripPlan) -> Result<Measured, BenchError> {
        let RoundTripPlan { warm_up_count, count } = plan;
        let path = self.round_trips_path.display();
        let command = format!("rtt {warm_up_count} {count} {ROUND_TRIP_MESSAGE_LENGTH} {path}");
        self.peer.ask(&command, "done", TIMEOUT)?;
        let bytes = fs::read(&self.round_trips_path)
            .map_err(BenchError::file(&self.round_trips_path, "read the peer's round trips"))?;
        let mut round_trips = RoundTrips::new(plan);
        for nanos in bytes.as_chunks().0 {
            round_trips.record(warm_up_count, u64::from_le_bytes(*nanos));
        }
        Ok(round_trips.measured())
    }

    pub(super) fn one_way(&mut self, plan: OneWayPlan) -> Result<Measured, BenchError> {
        let (warm_up, measured) = (plan.warm_up.as_millis(), plan.measured.as_millis());
        let command = format!("one-way {warm_up} {measured} {ONE_WAY_MESSAGE_LENGTH}");
        let answer = self.peer.ask(&command, "taken", TIMEOUT)?;
        let mut words = answer.split(' ').map(str::parse::<u64>);
        let (Some(Ok(message_count)), Some(Ok(duration_ns))) = (words.next(), words.next()) else {
            return Err(BenchError::Peer { peer: "aeron-java", what: format!("took \"{answer}\"") });
        };
        Ok(Measured::value(megabytes_per_second(message_count, duration_ns)))
    }
}

/// The first of two neighbouring ports that nobody has at the moment.
fn free_port() -> Result<usize, BenchError> {
    for _ in 0..PORT_TRIES {
        let first = UdpSocket::bind("127.0.0.1:0").map_err(BenchError::io("find a free port"))?;
        let port = first.local_addr().map_err(BenchError::io("find a free port"))?.port();
        if port < u16::MAX && UdpSocket::bind(("127.0.0.1", port + 1)).is_ok() {
            return Ok(usize::from(port));
        }
    }
    Err(BenchError::Run("no two neighbouring UDP ports are free".to_owned()))
}

/// Aeron's defaults.
const TERM_LENGTH: usize = 16 * 1024 * 1024;
const WINDOW_LENGTH: usize = 128 * 1024;
const TIMEOUT: Duration = Duration::from_secs(40);
const PORT_TRIES: usize = 16;
