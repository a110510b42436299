//! Control messages beside a datagram: into how long pieces the kernel shall cut what is sent (GSO), and
//! from how long pieces it merged what was received (GRO).
//!
//! ```text
//!   0        8       12     16
//!  | length | level | type | data, the next message at the next multiple of 8 |
//! ```
//! Same bytes as `struct cmsghdr` on 64-bit Linux, see cmsg(3); length counts header and data. Data is a
//! `u16` for UDP_SEGMENT and an `int` for UDP_GRO, see udp(7). All integers are native.

/// The control buffer that asks the kernel to cut the payload into datagrams of `segment_length` bytes.
pub fn segment_control(segment_length: u16) -> [u8; SEGMENT_CONTROL_LENGTH] {
    let mut control = [0; SEGMENT_CONTROL_LENGTH];
    control[..8].copy_from_slice(&(HEADER_LENGTH + size_of::<u16>()).to_ne_bytes());
    control[LEVEL_OFFSET..][..4].copy_from_slice(&libc::SOL_UDP.to_ne_bytes());
    control[TYPE_OFFSET..][..4].copy_from_slice(&libc::UDP_SEGMENT.to_ne_bytes());
    control[HEADER_LENGTH..][..2].copy_from_slice(&segment_length.to_ne_bytes());
    control
}

/// The length of the datagrams that were merged into one payload, the last of which may be shorter; `None`
/// when nothing was merged. Total: any bytes give an answer.
pub fn merged_segment_length(mut control: &[u8]) -> Option<usize> {
    while let Some((header, _)) = control.split_first_chunk::<HEADER_LENGTH>() {
        let [l0, l1, l2, l3, l4, l5, l6, l7, v0, v1, v2, v3, t0, t1, t2, t3] = *header;
        let length = usize::from_ne_bytes([l0, l1, l2, l3, l4, l5, l6, l7]);
        let level = i32::from_ne_bytes([v0, v1, v2, v3]);
        let kind = i32::from_ne_bytes([t0, t1, t2, t3]);
        let data = control.get(HEADER_LENGTH..length)?;
        if level == libc::SOL_UDP && kind == libc::UDP_GRO {
            let segment_length = i32::from_ne_bytes(*data.first_chunk()?);
            return usize::try_from(segment_length).ok().filter(|&length| length > 0);
        }
        control = control.get(length.checked_next_multiple_of(ALIGNMENT)?..)?;
    }
    None
}

/// Bytes of a control buffer that holds a segment length to send with.
pub const SEGMENT_CONTROL_LENGTH: usize = (HEADER_LENGTH + size_of::<u16>()).next_multiple_of(ALIGNMENT);

/// Bytes to provide for what the kernel says beside a received datagram.
pub const RECEIVE_CONTROL_LENGTH: usize = 32;

const HEADER_LENGTH: usize = size_of::<libc::cmsghdr>();
const LEVEL_OFFSET: usize = 8;
const TYPE_OFFSET: usize = 12;
const ALIGNMENT: usize = size_of::<usize>();
const _: () = assert!(HEADER_LENGTH == 16, "the layout above is that of 64-bit Linux");
const _: () = assert!(std::mem::offset_of!(libc::cmsghdr, cmsg_level) == LEVEL_OFFSET);
const _: () = assert!(std::mem::offset_of!(libc::cmsghdr, cmsg_type) == TYPE_OFFSET);
const _: () = assert!(RECEIVE_CONTROL_LENGTH >= HEADER_LENGTH + size_of::<i32>().next_multiple_of(ALIGNMENT));

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
        let mut bytes = (HEADER_LENGTH + data.len()).to_ne_bytes().to_vec();
        bytes.extend(level.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        bytes
    }

    #[test]
    fn finds_the_segment_length_behind_another_message() {
        let mut control = message(libc::SOL_SOCKET, libc::SCM_TIMESTAMP, &[1; 16]);
        assert_eq!(merged_segment_length(&control), None);
        control.extend(message(libc::SOL_UDP, libc::UDP_GRO, &1408_i32.to_ne_bytes()));
        assert_eq!(merged_segment_length(&control), Some(1408));
    }

    #[test]
    fn a_segment_length_that_is_not_positive_counts_as_none() {
        for length in [0, -1408] {
            let control = message(libc::SOL_UDP, libc::UDP_GRO, &i32::to_ne_bytes(length));
            assert_eq!(merged_segment_length(&control), None);
        }
    }

    #[test]
    fn asks_for_segments_as_the_kernel_reads_it() {
        let expected = message(libc::SOL_UDP, libc::UDP_SEGMENT, &1408_u16.to_ne_bytes());
        assert_eq!(segment_control(1408).as_slice(), expected);
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_answer(control in prop::collection::vec(any::<u8>(), 0..96)) {
            let _ = merged_segment_length(&control);
        }

        #[test]
        fn any_length_field_ends_the_walk(length in any::<usize>(), rest in any::<[u8; 40]>()) {
            let mut control = length.to_ne_bytes().to_vec();
            control.extend(rest);
            let _ = merged_segment_length(&control);
        }
    }
}
