//! Cutting a received payload, possibly merged by the kernel, back into datagrams.

use std::net::SocketAddr;

use super::IoCounters;

/// One received payload and how far it was handed over.
#[derive(Clone, Copy, Debug)]
pub struct Splitter {
    from: SocketAddr,
    segment_length: usize,
    offset: usize,
}

impl Splitter {
    /// A payload from `from`, in pieces of `segment_length`, or in one when that is `None`.
    pub fn new(from: SocketAddr, segment_length: Option<usize>) -> Self {
        Self { from, segment_length: segment_length.unwrap_or(usize::MAX), offset: 0 }
    }

    /// Hands over up to `limit` further datagrams of `payload` and counts them in `counters`. Returns how
    /// many, and whether all are through. An empty payload is one empty datagram.
    pub fn deliver(
        &mut self,
        payload: &[u8],
        limit: usize,
        counters: &mut IoCounters,
        mut on_datagram: impl FnMut(&[u8], SocketAddr),
    ) -> (usize, bool) {
        let start = self.offset;
        let (mut count, mut is_done) = (0, false);
        while count < limit && !is_done {
            let end = self.offset.saturating_add(self.segment_length).min(payload.len());
            on_datagram(&payload[self.offset..end], self.from);
            self.offset = end;
            count += 1;
            is_done = end == payload.len();
        }
        counters.datagrams_received += count as u64;
        counters.bytes_received += (self.offset - start) as u64;
        (count, is_done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deliver(splitter: &mut Splitter, payload: &[u8], limit: usize) -> (Vec<Vec<u8>>, bool) {
        let mut datagrams = Vec::new();
        let mut counters = IoCounters::default();
        let (count, is_done) =
            splitter.deliver(payload, limit, &mut counters, |bytes, _| datagrams.push(bytes.to_vec()));
        assert_eq!((count, counters.datagrams_received), (datagrams.len(), datagrams.len() as u64));
        assert_eq!(counters.bytes_received, datagrams.iter().map(Vec::len).sum::<usize>() as u64);
        (datagrams, is_done)
    }

    fn from() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 9))
    }

    #[test]
    fn a_merged_payload_goes_on_where_the_limit_stopped_it() {
        let mut splitter = Splitter::new(from(), Some(2));
        assert_eq!(deliver(&mut splitter, b"aabbc", 2), (vec![b"aa".to_vec(), b"bb".to_vec()], false));
        assert_eq!(deliver(&mut splitter, b"aabbc", 2), (vec![b"c".to_vec()], true));
    }

    #[test]
    fn a_limit_that_is_just_reached_leaves_nothing_behind() {
        assert!(deliver(&mut Splitter::new(from(), Some(2)), b"aabb", 2).1);
    }

    #[test]
    fn an_empty_payload_is_one_empty_datagram() {
        assert_eq!(deliver(&mut Splitter::new(from(), None), b"", 5), (vec![vec![]], true));
    }
}
