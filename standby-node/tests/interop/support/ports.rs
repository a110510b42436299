//! Blocks of free ports below the ephemeral range.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicU16, Ordering};

/// Ten ports: what one node of a cluster uses, the last one being the mark that the block is taken.
pub(crate) const BLOCK_LENGTH: u16 = 10;

const FIRST_PORT: u16 = 12_000;
const BLOCK_COUNT: u16 = 2_000;
const _: () = assert!(FIRST_PORT as u32 + BLOCK_COUNT as u32 * BLOCK_LENGTH as u32 <= 32_768);

/// Consecutive blocks of ports, ours until dropped. The last port of each block stays bound, which is how test
/// processes that run at the same time keep out of each other's way.
pub(crate) struct Ports {
    base: u16,
    guards: Vec<UdpSocket>,
}

impl Ports {
    /// Takes `blocks` consecutive blocks.
    ///
    /// # Panics
    /// If there are none.
    pub(crate) fn allocate(blocks: u16) -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let start = (std::process::id() % u32::from(BLOCK_COUNT)) as u16;
        for _ in 0..BLOCK_COUNT {
            let offset = NEXT.fetch_add(blocks, Ordering::Relaxed) % BLOCK_COUNT;
            let first = (start + offset) % BLOCK_COUNT;
            if first + blocks > BLOCK_COUNT {
                continue;
            }
            let base = FIRST_PORT + first * BLOCK_LENGTH;
            let guards: Vec<_> = (0..blocks).map_while(|block| take(base + block * BLOCK_LENGTH)).collect();
            if guards.len() == usize::from(blocks) {
                return Self { base, guards };
            }
        }
        panic!("no {blocks} free blocks of ports");
    }

    /// The first port.
    pub(crate) fn base(&self) -> u16 {
        self.base
    }

    /// A port of the first block, from 0 to 8.
    pub(crate) fn port(&self, index: u16) -> u16 {
        assert!(index % BLOCK_LENGTH != BLOCK_LENGTH - 1, "port {index} of a block marks it as taken");
        self.base + index
    }
}

/// Binds the block's last port if all the others are free.
fn take(base: u16) -> Option<UdpSocket> {
    let guard = UdpSocket::bind(("127.0.0.1", base + BLOCK_LENGTH - 1)).ok()?;
    (base..base + BLOCK_LENGTH - 1).all(|port| UdpSocket::bind(("0.0.0.0", port)).is_ok()).then_some(guard)
}
