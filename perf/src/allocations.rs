//! Counts what this program allocates, thread by thread.

use standby_node::sys::allocations::CountingAllocator;
pub(crate) use standby_node::sys::allocations::{of_this_thread, of_threads_named};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;

    #[test]
    fn a_thread_counts_its_own_allocations_and_no_others() {
        let before = of_this_thread();
        black_box(Box::new(1_u64));
        assert_eq!(of_this_thread() - before, 1);

        let before = of_this_thread();
        let mut grown: Vec<u8> = black_box(Vec::with_capacity(1));
        grown.reserve_exact(100);
        assert_eq!(of_this_thread() - before, 2);

        let mut spent = 0;
        let before = of_this_thread();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..100 {
                    black_box(Box::new(1_u64));
                }
                spent = of_this_thread();
            });
        });
        assert!(spent >= 100);
        assert!(of_this_thread() - before < 100, "what starting a thread takes, not what it does");
    }

    #[test]
    fn a_thread_is_found_by_its_name_while_it_runs() {
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let (counted, counts) = std::sync::mpsc::channel();
        let allocating = std::thread::Builder::new().name("allocating".to_owned()).spawn(move || {
            black_box(Box::new(1_u64));
            counted.send(of_this_thread()).unwrap();
            receiver.recv()
        });
        let count = counts.recv().unwrap();
        assert!(of_threads_named(&["allocating"]).is_some_and(|found| found >= count && count > 0));
        assert_eq!(of_threads_named(&["allocating", "absent"]), None);
        sender.send(()).unwrap();
        allocating.unwrap().join().unwrap().unwrap();
    }

    #[test]
    fn work_without_allocations_counts_none() {
        let mut bytes = vec![0_u8; 4096];
        let before = of_this_thread();
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = black_box(index as u8);
        }
        assert_eq!(of_this_thread(), before);
        black_box(bytes);
    }
}
