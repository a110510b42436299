//! Sleeping until a datagram arrives, see poll(2).

use std::os::fd::RawFd;
use std::time::Duration;

/// Descriptors to sleep at.
#[derive(Debug, Default)]
pub struct Readiness {
    entries: Vec<libc::pollfd>,
}

impl Readiness {
    /// Sleep at this one, too. One that is closed meanwhile counts as ready.
    pub fn add(&mut self, descriptor: RawFd) {
        self.entries.push(libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 });
    }

    /// Forgets them; what memory they took is kept for others.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Whether there is nothing to sleep at.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Sleeps until one of them has something to be read or an error to be told, or for `timeout`, to which
    /// the system adds what it adds to every short sleep. Returns whether one of them is ready.
    pub fn wait(&mut self, timeout: Duration) -> bool {
        let timeout = libc::timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        let count = self.entries.len() as libc::nfds_t;
        // SAFETY: `entries` are `count` valid pollfds, exclusively borrowed for the call, which writes to
        // nothing else; `timeout` lives across it; a null signal mask leaves the thread's as it is.
        let ready =
            unsafe { libc::ppoll(self.entries.as_mut_ptr(), count, &raw const timeout, std::ptr::null()) };
        // A signal ends the sleep early, as it may any sleep. Nothing else can fail but for want of kernel
        // memory.
        ready > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;
    use std::thread;
    use std::time::Instant;

    const LONG: Duration = Duration::from_secs(20);

    fn sockets() -> (UdpSocket, UdpSocket, Readiness) {
        let [quiet, busy] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        let mut readiness = Readiness::default();
        [&quiet, &busy].iter().for_each(|socket| readiness.add(socket.as_raw_fd()));
        (quiet, busy, readiness)
    }

    #[test]
    fn a_datagram_at_any_of_the_sockets_ends_the_sleep() {
        let (_quiet, busy, mut readiness) = sockets();
        let to = busy.local_addr().unwrap();
        let sender = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"wake up", to).unwrap();
        });
        let begun = Instant::now();
        assert!(readiness.wait(LONG));
        assert!(begun.elapsed() < LONG / 2);
        sender.join().unwrap();
    }

    #[test]
    fn without_a_datagram_it_sleeps_as_long_as_told() {
        let (_quiet, _busy, mut readiness) = sockets();
        let begun = Instant::now();
        assert!(!readiness.wait(Duration::from_millis(20)));
        assert!(begun.elapsed() >= Duration::from_millis(20));
    }
}
