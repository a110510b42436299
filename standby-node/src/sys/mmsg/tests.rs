use super::sender::DIRECT_LENGTH_MIN;
use super::*;
use crate::net::DATAGRAM_LENGTH_MAX;
use crate::net::send_queue;
use crate::net::socket::BufferLengths;

fn open() -> MmsgIo {
    let buffers = BufferLengths { receive: Some(1 << 20), send: None };
    MmsgIo::new(NetworkSocket::open("test", "127.0.0.1:0", buffers).unwrap(), Offload::default())
}

fn receive_all(io: &mut MmsgIo) -> Vec<Vec<u8>> {
    let mut received = Vec::new();
    while io.receive(64, |bytes, _| received.push(bytes.to_vec())).unwrap() > 0 {}
    received
}

/// Five datagrams and a short one.
fn run() -> Vec<u8> {
    (0..5 * 100 + 30).map(|at| (at / 7) as u8).collect()
}

#[test]
fn a_run_that_the_kernel_will_not_cut_goes_out_datagram_by_datagram() {
    let (mut sender, mut receiver) = (open(), open());
    // Without checksums to fill in, the kernel refuses to cut: EINVAL, as for segments beyond the MTU.
    let one: libc::c_int = 1;
    let fd = sender.socket.as_raw_fd();
    // SAFETY: the value is four bytes long and outlives the call.
    let result =
        unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_NO_CHECK, (&raw const one).cast(), 4) };
    assert_eq!(result, 0);
    for segment_length in [100, 60, 100] {
        sender.send(receiver.local_addr(), &run(), segment_length).unwrap();
        sender.flush().unwrap();
        assert_eq!(receive_all(&mut receiver), run().chunks(segment_length).collect::<Vec<_>>());
    }
    assert_eq!(sender.sender.segment_length_max, 59, "runs of 60 were tried once, of 100 once");
    let long = vec![7; 20 * 1000];
    sender.send(receiver.local_addr(), &long, 1000).unwrap();
    sender.flush().unwrap();
    assert_eq!(receive_all(&mut receiver).concat(), long);
    assert_eq!(sender.counters().datagrams_refused, 0);
}

#[test]
fn a_device_that_cuts_nothing_is_not_asked_again() {
    let (mut sender, mut receiver) = (open(), open());
    sender.sender.injected_errors = [libc::EIO].into();
    sender.send(receiver.local_addr(), &run(), 100).unwrap();
    assert_eq!(sender.flush().unwrap(), 6);
    assert_eq!(receive_all(&mut receiver), run().chunks(100).collect::<Vec<_>>());
    assert_eq!(sender.sender.segment_length_max, 0);
}

#[test]
fn a_refused_destination_costs_its_datagrams_but_not_the_cutting_for_others() {
    let (mut sender, mut receiver) = (open(), open());
    // The run, then the first of its six datagrams.
    sender.sender.injected_errors = [libc::EINVAL; 2].into();
    let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
    sender.send(nobody, &run(), 100).unwrap();
    sender.send(receiver.local_addr(), b"next", 4).unwrap();
    assert_eq!(sender.flush().unwrap(), 1);
    assert_eq!(receive_all(&mut receiver), [b"next"]);
    assert_eq!(sender.counters().datagrams_refused, 6);
    assert_eq!(sender.sender.segment_length_max, DATAGRAM_LENGTH_MAX);
}

#[test]
fn no_room_in_the_kernel_keeps_everything_for_the_next_flush() {
    for code in [libc::EAGAIN, libc::ENOBUFS] {
        let (mut sender, mut receiver) = (open(), open());
        sender.sender.injected_errors = [code; 2].into();
        sender.send(receiver.local_addr(), &run(), 100).unwrap();
        assert_eq!(sender.flush().unwrap(), 0);
        assert_eq!(sender.flush().unwrap(), 0);
        assert_eq!(sender.counters().short_sends, 2);
        assert_eq!(sender.flush().unwrap(), 6);
        assert_eq!(receive_all(&mut receiver), run().chunks(100).collect::<Vec<_>>());
    }
}

#[test]
fn a_full_queue_refuses_whole_runs_and_sends_what_it_took() {
    let (mut sender, mut receiver) = (open(), open());
    sender.sender.injected_errors = [libc::EAGAIN; 100].into();
    let bytes = vec![3; 10_000];
    let mut taken = 0;
    let error = loop {
        match sender.send(receiver.local_addr(), &bytes, 1000) {
            Ok(()) => taken += 10,
            Err(error) => break error,
        }
        assert!(taken * 1000 <= send_queue::CAPACITY, "the queue is bounded");
    };
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    assert_eq!(sender.counters().queue_full, 1);
    sender.sender.injected_errors.clear();
    assert_eq!(sender.flush().unwrap(), taken);
    assert_eq!(receive_all(&mut receiver).len(), taken);
}

#[test]
fn a_long_run_waits_behind_what_is_queued() {
    let (mut sender, mut receiver) = (open(), open());
    sender.sender.injected_errors = [libc::EAGAIN].into();
    sender.send(receiver.local_addr(), b"first", 5).unwrap();
    sender.send(receiver.local_addr(), &[9; DIRECT_LENGTH_MIN], 1024).unwrap();
    assert_eq!(sender.flush().unwrap(), 1 + DIRECT_LENGTH_MIN / 1024);
    let received = receive_all(&mut receiver);
    assert_eq!(received[0], b"first");
    assert_eq!(received.len(), 1 + DIRECT_LENGTH_MIN / 1024);
}

#[test]
fn icmp_errors_are_counted_and_cost_no_datagram() {
    let (mut sender, mut receiver) = (open(), open());
    sender.sender.injected_errors = [libc::ECONNREFUSED; 3].into();
    sender.send(receiver.local_addr(), b"still", 5).unwrap();
    assert_eq!(sender.flush().unwrap(), 1);
    assert_eq!(sender.counters().icmp_errors, 3);
    assert_eq!(receive_all(&mut receiver), [b"still"]);

    sender.sender.injected_errors = [libc::ECONNREFUSED; 1000].into();
    sender.send(receiver.local_addr(), b"later", 5).unwrap();
    assert_eq!(sender.flush().unwrap(), 0, "a flood of them does not hold the thread");
}

#[test]
fn a_socket_of_no_more_use_is_an_error() {
    let mut sender = open();
    sender.sender.injected_errors = [libc::EBADF].into();
    sender.send(sender.local_addr(), b"x", 1).unwrap();
    assert_eq!(sender.flush().unwrap_err().raw_os_error(), Some(libc::EBADF));
}

#[test]
fn the_kernel_merges_a_run_behind_the_first_burst_so_that_one_payload_carries_it() {
    let (mut sender, mut receiver) = (open(), open());
    for is_merged in [false, true] {
        sender.send(receiver.local_addr(), &run(), 100).unwrap();
        sender.flush().unwrap();
        let fd = receiver.socket.as_raw_fd();
        assert_eq!(receiver.receiver.fill(fd, 1, &mut receiver.counters).unwrap(), 1);
        let length = if is_merged { run().len() } else { 100 };
        assert_eq!(receiver.receiver.headers[0].msg_len as usize, length);
        assert_eq!(receive_all(&mut receiver), run().chunks(100).collect::<Vec<_>>());
        assert_eq!(receiver.receiver.merging, Merging::On);
    }
}

#[test]
fn single_datagrams_one_after_the_other_are_no_burst() {
    let (mut sender, mut receiver) = (open(), open());
    for length in [100, 0, DATAGRAM_LENGTH_MAX, 100] {
        let bytes = vec![5; length];
        if length > 0 {
            sender.send(receiver.local_addr(), &bytes, length).unwrap();
            sender.flush().unwrap();
        } else {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.send_to(&[], receiver.local_addr()).unwrap();
        }
        assert_eq!(receive_all(&mut receiver), [bytes]);
    }
    assert_eq!(receiver.receiver.merging, Merging::AtFirstBurst);
}
