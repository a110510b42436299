/// The bytes from `start` to `end` of two slices that lie back to back, again as two: framing joins a message
/// whose header and body lie apart, so that nobody else copies it.
///
/// # Panics
/// When the range exceeds the slices.
pub(crate) fn cut([first, second]: [&[u8]; 2], start: usize, end: usize) -> [&[u8]; 2] {
    let split = first.len();
    [
        &first[start.min(split)..end.min(split)],
        &second[start.saturating_sub(split)..end.saturating_sub(split)],
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_may_lie_in_the_first_in_the_second_or_in_both() {
        let joined = |start, end| cut([b"abcd", b"efg"], start, end).concat();
        assert_eq!(joined(0, 2), b"ab");
        assert_eq!(joined(2, 6), b"cdef");
        assert_eq!(joined(4, 7), b"efg");
        assert_eq!(joined(7, 7), b"");
    }
}
