use super::*;
use std::io::Write;
use std::net::UdpSocket;

/// `None`, and a line that says so, where the host lacks io_uring.
fn open() -> Option<UringIo> {
    if let Err(error) = probe() {
        // Not through `eprintln!`, which a passing test keeps to itself.
        writeln!(io::stderr(), "SKIPPED: {error}").unwrap();
        return None;
    }
    let buffers = BufferLengths { receive: Some(4 << 20), send: None };
    let socket = NetworkSocket::open("test", "127.0.0.1:0", buffers).unwrap();
    Some(UringIo::new(socket, Offload { send: true, receive: false }).unwrap())
}

fn receive_until(io: &mut UringIo, count: usize) -> Vec<Vec<u8>> {
    let mut received = Vec::new();
    let start = Instant::now();
    while received.len() < count {
        io.receive(7, |bytes, _| received.push(bytes.to_vec())).unwrap();
        assert!(start.elapsed() < Duration::from_secs(10), "{} of {count} arrived", received.len());
    }
    received
}

#[test]
fn the_probe_says_what_to_use_instead() {
    if let Err(error) = probe() {
        let text = error.to_string();
        assert!(text.starts_with("io_uring is not available here: "), "{text}");
        assert!(text.ends_with("use network = \"mmsg\""), "{text}");
    }
}

#[test]
fn each_refusal_is_explained_by_its_cause() {
    let explain = |code, level| {
        explain("io_uring_setup", io::Error::from_raw_os_error(code), level, "5.10.0".into()).to_string()
    };
    assert!(explain(libc::EPERM, 2).contains("kernel.io_uring_disabled = 2"));
    assert!(explain(libc::EPERM, 0).contains("seccomp"));
    assert!(explain(libc::EINVAL, 0).contains("this is 5.10.0"));
    assert!(explain(libc::ENOSYS, 0).contains("this is 5.10.0"));
    assert!(explain(libc::ENOMEM, 0).contains("io_uring_setup failed"));
}

#[test]
fn more_payloads_than_buffers_arrive_all_and_the_request_is_made_anew() {
    let Some(mut io) = open() else { return };
    // So few that the kernel runs out of them before it stops by itself.
    io.receiver = Receiver::new(io.socket.as_raw_fd(), 4).unwrap();
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    for round in 0..5_u16 {
        // Polled so that the request is made, then left alone while more arrives than fits.
        assert_eq!(io.receive(1, |_, _| ()).unwrap(), 0);
        let count = 200;
        for number in 0..count {
            peer.send_to(&(round * count + number).to_ne_bytes(), io.local_addr()).unwrap();
        }
        let received = receive_until(&mut io, usize::from(count));
        let numbers: Vec<u16> =
            received.iter().map(|bytes| u16::from_ne_bytes([bytes[0], bytes[1]])).collect();
        assert_eq!(numbers, (round * count..(round + 1) * count).collect::<Vec<_>>());
    }
    assert!(io.counters().receive_rearms > 0, "the buffers never ran out: {:?}", io.counters());
}

#[test]
fn every_buffer_comes_back() {
    let Some(mut io) = open() else { return };
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    // Past the wrap of the 16-bit tail.
    for batch in 0..70_000_u32 / 50 {
        for number in 0..50 {
            peer.send_to(&(batch * 50 + number).to_ne_bytes(), io.local_addr()).unwrap();
        }
        for (number, bytes) in receive_until(&mut io, 50).iter().enumerate() {
            assert_eq!(bytes[..], (batch * 50 + number as u32).to_ne_bytes());
        }
    }
}

#[test]
fn polling_enters_the_kernel_only_when_something_arrived() {
    let Some(mut io) = open() else { return };
    // The first poll makes the request.
    assert_eq!(io.receive(1, |_, _| ()).unwrap(), 0);
    assert_eq!(io.receiver.enter_count, 1);
    for _ in 0..1000 {
        assert_eq!(io.receive(1, |_, _| ()).unwrap(), 0);
    }
    assert_eq!(io.receiver.enter_count, 1);
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"x", io.local_addr()).unwrap();
    receive_until(&mut io, 1);
    assert_eq!(io.receiver.enter_count, 2);
}

#[test]
fn a_socket_opened_here_may_be_polled_there() {
    let Some(mut io) = open() else { return };
    let to = io.local_addr();
    let poller = std::thread::spawn(move || {
        let received = receive_until(&mut io, 1);
        (received, io)
    });
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"hello", to).unwrap();
    let (received, mut io) = poller.join().unwrap();
    assert_eq!(received, [b"hello"]);
    // The ring belongs to that thread: another is told so once the kernel has something for it to do.
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"again", to).unwrap();
    let start = Instant::now();
    let error = loop {
        match io.receive(1, |_, _| ()) {
            Err(error) => break Some(error),
            Ok(1) => break None,
            Ok(_) => assert!(start.elapsed() < Duration::from_secs(10)),
        }
    };
    assert!(error.is_some(), "polled from two threads");
}

#[test]
fn sockets_come_and_go_with_payloads_still_waiting() {
    for number in 0..50 {
        let Some(mut io) = open() else { return };
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..number {
            peer.send_to(&[1; 2000], io.local_addr()).unwrap();
        }
        io.receive(number / 2, |bytes, _| assert_eq!(bytes.len(), 2000)).unwrap();
    }
}
