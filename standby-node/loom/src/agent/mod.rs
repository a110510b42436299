//! What agents hand to each other.

#[path = "../../../src/agent/emission_ring.rs"]
pub mod emission_ring;

#[cfg(test)]
mod tests {
    use loom::thread;

    use super::emission_ring::emission_ring;

    /// The second of two buffers waits for the first to come back: a position is told only once what belongs
    /// below it was sent.
    #[test]
    fn who_sees_a_position_finds_all_buffers_below_it() {
        crate::in_every_order(|| {
            let (mut sender, mut receiver) = emission_ring(1);
            let service = thread::spawn(move || {
                for position in 1..=2 {
                    while !sender.send(true, |_| {}) {
                        thread::yield_now();
                    }
                    sender.publish(position);
                }
            });
            let mut polled = 0;
            while polled < 2 {
                let through = receiver.through();
                while let Some(buffer) = receiver.poll() {
                    polled += 1;
                    receiver.recycle(buffer);
                }
                assert!(polled >= through.max(0), "{through} was told, and {polled} buffers are there");
                if polled < 2 {
                    thread::yield_now();
                }
            }
            service.join().unwrap();
            assert_eq!(receiver.through(), 2);
        });
    }
}
